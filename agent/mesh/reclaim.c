// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Deferred freeing. The thread takes all batches that wait and frees them after one grace
 * period. That interrupts each thread that may be reading, on whatever CPU it works, so in a storm
 * of updates the first waits a moment for others to share it, unless there is much to free.
 */
#include "reclaim.h"

#include "base/rcu.h"
#include "base/util.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GATHER_NS 50000000ull
#define GATHER_MAX 4096 /* entries that wait; with more it is time */

struct batch {
	struct batch *next;
	struct amb_reclaim_list list;
};

struct amb_reclaim {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct batch *first; /* newest first */
	size_t n; /* entries of all */
	bool stop;
};

int amb_reclaim_add(struct amb_reclaim_list *l, void *p, void (*fn)(void *p))
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		struct amb_reclaim_entry *v = realloc(l->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = (struct amb_reclaim_entry){ p, fn };
	return 0;
}

void amb_reclaim_run(struct amb_reclaim_list *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		l->v[i].fn(l->v[i].p);
	free(l->v);
	memset(l, 0, sizeof(*l));
}

static void wait_for_readers(void)
{
	urcu_memb_synchronize_rcu();
	AMB_RCU_RECLAIM();
}

/* With the lock held. */
static void gather(struct amb_reclaim *r)
{
	uint64_t end = amb_util_now_ns() + GATHER_NS;
	const struct timespec at = { end / 1000000000, end % 1000000000 };

	while (!r->stop && r->n < GATHER_MAX) {
		if (pthread_cond_timedwait(&r->work, &r->lock, &at))
			return;
	}
}

static void *reclaim(void *arg)
{
	struct amb_reclaim *r = arg;
	struct batch *b, *next;

	pthread_mutex_lock(&r->lock);
	while (r->first || !r->stop) {
		if (!r->first) {
			pthread_cond_wait(&r->work, &r->lock);
			continue;
		}
		gather(r);
		b = r->first;
		r->first = NULL;
		r->n = 0;
		pthread_mutex_unlock(&r->lock);
		wait_for_readers();
		for (; b; b = next) {
			next = b->next;
			amb_reclaim_run(&b->list);
			free(b);
		}
		pthread_mutex_lock(&r->lock);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

struct amb_reclaim *amb_reclaim_create(void)
{
	struct amb_reclaim *r = calloc(1, sizeof(*r));
	pthread_condattr_t attr;
	sigset_t all, old;
	int err;

	if (!r)
		return NULL;
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&attr);
	/* That of amb_util_now_ns. */
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->work, &attr);
	pthread_condattr_destroy(&attr);
	/* Signals are for the threads that expect them. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&r->thread, NULL, reclaim, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		pthread_cond_destroy(&r->work);
		pthread_mutex_destroy(&r->lock);
		free(r);
		return NULL;
	}
	return r;
}

void amb_reclaim_destroy(struct amb_reclaim *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_signal(&r->work);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	pthread_cond_destroy(&r->work);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void amb_reclaim_later(struct amb_reclaim *r, struct amb_reclaim_list *l)
{
	struct batch *b = malloc(sizeof(*b));
	size_t before;

	if (!b) {
		wait_for_readers();
		amb_reclaim_run(l);
		return;
	}
	b->list = *l;
	memset(l, 0, sizeof(*l));
	pthread_mutex_lock(&r->lock);
	before = r->n;
	b->next = r->first;
	r->first = b;
	r->n += b->list.n;
	/* Its first, or much now; in between nobody needs to wake. */
	if (!b->next || (before < GATHER_MAX && r->n >= GATHER_MAX))
		pthread_cond_signal(&r->work);
	pthread_mutex_unlock(&r->lock);
}
