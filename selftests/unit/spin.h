/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a loop until a condition holds, with a deadline that only a broken test meets. */
#ifndef SELFTESTS_SPIN_H
#define SELFTESTS_SPIN_H

#include "base/loop.h"
#include "base/util.h"

#include <stdbool.h>

#define SPIN_DEADLINE_NS 60000000000ull
#define SPIN_STEP_NS 5000000ull

struct spin {
	struct amb_timer timer;
	struct amb_loop *loop;
	bool (*done)(void);
	uint64_t end;
	bool met;
};

__attribute__((unused)) static void spin_step(struct amb_timer *t)
{
	struct spin *s = AMB_CONTAINER_OF(t, struct spin, timer);
	uint64_t now = amb_util_now_ns();

	s->met = s->done && s->done();
	if (s->met || now >= s->end)
		amb_loop_stop(s->loop);
	else
		amb_loop_timer_set(s->loop, t, now + SPIN_STEP_NS);
}

/* True when @done held; with @done NULL runs for @ns. */
__attribute__((unused)) static bool spin_for(struct amb_loop *loop, bool (*done)(void), uint64_t ns)
{
	struct spin s = { .timer.fn = spin_step, .loop = loop, .done = done };

	s.end = amb_util_now_ns() + ns;
	amb_loop_timer_set(loop, &s.timer, 0);
	amb_loop_run(loop);
	amb_loop_timer_cancel(loop, &s.timer);
	return s.met;
}

__attribute__((unused)) static bool spin(struct amb_loop *loop, bool (*done)(void))
{
	return spin_for(loop, done, SPIN_DEADLINE_NS);
}

#endif
