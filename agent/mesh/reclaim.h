/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frees what readers may still look at, a grace period later, on a thread of its own. (Not
 * liburcu's call_rcu: its thread cannot be joined, and so leaves its stack behind at exit.)
 */
#ifndef AMB_RECLAIM_H
#define AMB_RECLAIM_H

#include <stddef.h>

struct amb_reclaim;

struct amb_reclaim_entry {
	void *p;
	void (*fn)(void *p);
};

/* An array that grows by doubling, freed with free(). */
struct amb_reclaim_list {
	struct amb_reclaim_entry *v;
	size_t n, cap;
};

/* 0 or -ENOMEM. */
int amb_reclaim_add(struct amb_reclaim_list *l, void *p, void (*fn)(void *p));
/* Runs all of it now, and empties it. */
void amb_reclaim_run(struct amb_reclaim_list *l);

/* NULL when there is no memory or no thread to be had. */
struct amb_reclaim *amb_reclaim_create(void);
/* Waits until everything handed over is freed. NULL is accepted. */
void amb_reclaim_destroy(struct amb_reclaim *r);

/*
 * Takes @l over, to be run after a grace period. Never fails: short of memory it waits for
 * the grace period itself. Not within a read section.
 */
void amb_reclaim_later(struct amb_reclaim *r, struct amb_reclaim_list *l);

#endif
