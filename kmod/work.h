/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Work that is called for while it runs, and then looks again by itself. Were it queued instead, an
 * idle worker would wake up only to find that it runs, and hand it back: once for each record that
 * comes while one is read.
 *
 * Who calls sets AGAIN and looks at RUNS; the work clears RUNS and looks at AGAIN. So one of them
 * sees the other, and queues it.
 */
#ifndef HBONE_WORK_H
#define HBONE_WORK_H

#include <linux/bitops.h>
#include <linux/workqueue.h>

#include "main.h"

enum hbone_work_flags {
	HBONE_WORK_AGAIN, /* something happened since it looked */
	HBONE_WORK_RUNS,
};

struct hbone_work {
	struct work_struct work;
	unsigned long flags; /* enum hbone_work_flags */
};

/* Has it done, soon. Any context. */
static inline void hbone_work_kick(struct hbone_work *w)
{
	/* Set already: it is queued, or has yet to look. */
	if (!test_and_set_bit(HBONE_WORK_AGAIN, &w->flags) &&
	    !test_bit(HBONE_WORK_RUNS, &w->flags))
		queue_work(hbone_main_wq, &w->work);
}

/* The work itself, from here on: all that happened until now is about to be looked at. */
static inline void hbone_work_look(struct hbone_work *w)
{
	clear_bit(HBONE_WORK_AGAIN, &w->flags);
	/* Before we look: what happens behind that sets it again. */
	smp_mb__after_atomic();
}

static inline bool hbone_work_again(const struct hbone_work *w)
{
	return test_bit(HBONE_WORK_AGAIN, &w->flags);
}

static inline void hbone_work_begin(struct hbone_work *w)
{
	set_bit(HBONE_WORK_RUNS, &w->flags);
	hbone_work_look(w);
}

static inline void hbone_work_end(struct hbone_work *w)
{
	clear_bit(HBONE_WORK_RUNS, &w->flags);
	/* Before we look at the other: see the head. */
	smp_mb__after_atomic();
	if (hbone_work_again(w))
		queue_work(hbone_main_wq, &w->work);
}

#endif
