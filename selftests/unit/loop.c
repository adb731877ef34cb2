// SPDX-License-Identifier: GPL-2.0-or-later
/* The event loop: order of timers, of what has come and what is overdue, and undoing from within. */
#include "harness.h"

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/util.h"

#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000ull

static struct amb_loop *loop;
static char told[64];

static void tell(char c)
{
	size_t n = strlen(told);

	told[n] = c;
	told[n + 1] = 0;
}

struct named {
	struct amb_timer timer;
	char name;
	bool last;
};

static void fire(struct amb_timer *t)
{
	struct named *n = AMB_CONTAINER_OF(t, struct named, timer);

	tell(n->name);
	if (n->last)
		amb_loop_stop(loop);
}

static void begin(void)
{
	amb_loop_destroy(loop);
	loop = amb_loop_create();
	CHECK(loop);
	told[0] = 0;
}

TEST(timers_fire_in_their_order)
{
	struct named t[] = {
		{ { .fn = fire }, 'c', true },
		{ { .fn = fire }, 'a', false },
		{ { .fn = fire }, 'x', false },
		{ { .fn = fire }, 'b', false },
	};
	uint64_t now;

	begin();
	now = amb_util_now_ns();
	CHECK_EQ(amb_loop_timer_set(loop, &t[0].timer, now + 30 * MS), 0);
	CHECK_EQ(amb_loop_timer_set(loop, &t[1].timer, now + 40 * MS), 0);
	CHECK_EQ(amb_loop_timer_set(loop, &t[2].timer, now + 5 * MS), 0);
	CHECK_EQ(amb_loop_timer_set(loop, &t[3].timer, now + 20 * MS), 0);
	/* moved, and taken back */
	CHECK_EQ(amb_loop_timer_set(loop, &t[1].timer, now + 10 * MS), 0);
	amb_loop_timer_cancel(loop, &t[2].timer);
	CHECK_EQ(amb_loop_run(loop), 0);
	CHECK_STR(told, "abc");
}

struct pipe_end {
	struct amb_io io;
	struct amb_timer *deadline;
};

static void readable(struct amb_io *io, uint32_t events)
{
	struct pipe_end *p = AMB_CONTAINER_OF(io, struct pipe_end, io);
	char c;

	(void)events;
	CHECK_EQ(read(io->fd, &c, 1), 1);
	tell('r');
	amb_loop_timer_cancel(loop, p->deadline);
	amb_loop_stop(loop);
}

/*
 * A process that stood still finds the answer and its deadline at once: the answer counts. The
 * timer's descriptor was ready first, so epoll tells of it first.
 */
TEST(an_answer_comes_before_its_deadline)
{
	const struct timespec still = { .tv_nsec = 30 * MS };
	struct named deadline = { { .fn = fire }, 'd', true };
	_cleanup_fd_ int in = -1, out = -1;
	struct pipe_end p = { .io.fn = readable, .deadline = &deadline.timer };
	int fds[2];

	begin();
	CHECK_EQ(pipe(fds), 0);
	in = p.io.fd = fds[0];
	out = fds[1];
	CHECK_EQ(amb_loop_add(loop, &p.io, EPOLLIN), 0);
	CHECK_EQ(amb_loop_timer_set(loop, &deadline.timer, amb_util_now_ns() + MS), 0);
	nanosleep(&still, NULL);
	CHECK_EQ(write(out, "!", 1), 1);
	CHECK_EQ(amb_loop_run(loop), 0);
	CHECK_STR(told, "r");
	amb_loop_del(loop, &p.io);
}

/* Two that are ready in one turn; the first to run takes the other away. */
static struct pipe_end pair[2];

static void take_other(struct amb_io *io, uint32_t events)
{
	(void)events;
	tell('1');
	amb_loop_del(loop, &pair[io == &pair[0].io].io);
	amb_loop_stop(loop);
}

TEST(what_is_deleted_in_a_turn_is_not_told)
{
	int fds[2], i;

	begin();
	CHECK_EQ(pipe(fds), 0);
	CHECK_EQ(write(fds[1], "!", 1), 1);
	for (i = 0; i < 2; i++) {
		pair[i].io.fn = take_other;
		pair[i].io.fd = i ? dup(fds[0]) : fds[0];
		CHECK_EQ(amb_loop_add(loop, &pair[i].io, EPOLLIN), 0);
	}
	CHECK_EQ(amb_loop_run(loop), 0);
	CHECK_STR(told, "1");
	for (i = 0; i < 2; i++)
		close(pair[i].io.fd);
	close(fds[1]);
}

static void work(struct amb_work *w);
static struct amb_work works[3] = { { .fn = work }, { .fn = work }, { .fn = work } };

/* The first defers itself once more and takes back the third. */
static void work(struct amb_work *w)
{
	tell('0' + (w - works));
	if (w != &works[0])
		return;
	amb_loop_undefer(loop, &works[2]);
	if (strlen(told) > 1)
		amb_loop_stop(loop);
	else
		amb_loop_defer(loop, w);
}

TEST(work_deferred_by_work_runs_in_the_next_turn)
{
	int i;

	begin();
	for (i = 0; i < 3; i++)
		amb_loop_defer(loop, &works[i]);
	CHECK_EQ(amb_loop_run(loop), 0);
	CHECK_STR(told, "010");
}

int main(void)
{
	int bad = harness_run();

	amb_loop_destroy(loop);
	return bad;
}
