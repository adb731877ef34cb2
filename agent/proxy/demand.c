// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A table of the names that are being asked for. An entry is made by the first who waits and
 * goes with its answer, also when nobody waits any more: so each name is asked for once at a
 * time, and there are never more entries than the control plane's client takes names.
 *
 * A waiter is in an entry's list (w->entry), or posted to its own loop, where cancel takes it
 * back.
 */
#include "demand.h"

#include "base/cleanup.h"
#include "base/util.h"
#include "mesh/decide.h"
#include "mesh/state.h"
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256

struct amb_demand_entry {
	struct amb_demand_entry *next, *next_new;
	struct amb_demand_waiter *waiters;
	char name[];
};

struct amb_demand {
	struct amb_loop *main;
	amb_demand_ask_fn *ask;
	void *ctx;
	struct amb_work work; /* there are new entries */
	pthread_mutex_t lock; /* of everything below */
	bool posted;
	struct amb_demand_entry *fresh, **last; /* not asked for yet, oldest first */
	struct amb_demand_entry *bucket[BUCKETS];
};

/* Table, lock held */

static struct amb_demand_entry **slot(struct amb_demand *d, const char *name)
{
	uint32_t hash = amb_util_hash(name, strlen(name), amb_util_seed());
	struct amb_demand_entry **p = &d->bucket[hash % BUCKETS];

	while (*p && strcmp((*p)->name, name))
		p = &(*p)->next;
	return p;
}

static struct amb_demand_entry *find_or_add(struct amb_demand *d, const char *name)
{
	struct amb_demand_entry **p = slot(d, name), *e = *p;
	size_t len = strlen(name) + 1;

	if (e)
		return e;
	e = calloc(1, sizeof(*e) + len);
	if (!e)
		return NULL;
	memcpy(e->name, name, len);
	*p = e;
	*d->last = e;
	d->last = &e->next_new;
	return e;
}

static void leave(struct amb_demand_waiter *w)
{
	*w->prev = w->next;
	if (w->next)
		w->next->prev = w->prev;
	w->entry = NULL;
}

/* Asking */

static void ask_fresh(struct amb_work *work)
{
	struct amb_demand *d = AMB_CONTAINER_OF(work, struct amb_demand, work);
	struct amb_demand_entry *e, *next;

	pthread_mutex_lock(&d->lock);
	e = d->fresh;
	d->fresh = NULL;
	d->last = &d->fresh;
	d->posted = false;
	pthread_mutex_unlock(&d->lock);
	/* An entry goes by its answer only, on this thread: maybe from within. */
	for (; e; e = next) {
		next = e->next_new;
		d->ask(d->ctx, e->name);
	}
}

struct amb_demand *amb_demand_create(struct amb_loop *main, amb_demand_ask_fn *ask, void *ctx)
{
	struct amb_demand *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->main = main;
	d->ask = ask;
	d->ctx = ctx;
	d->work.fn = ask_fresh;
	d->last = &d->fresh;
	pthread_mutex_init(&d->lock, NULL);
	return d;
}

void amb_demand_destroy(struct amb_demand *d)
{
	struct amb_demand_entry *e;
	size_t i;

	if (!d)
		return;
	amb_loop_unpost(d->main, &d->work);
	for (i = 0; i < BUCKETS; i++) {
		while ((e = d->bucket[i])) {
			d->bucket[i] = e->next;
			free(e);
		}
	}
	pthread_mutex_destroy(&d->lock);
	free(d);
}

void amb_demand_answer(struct amb_demand *d, const char *name, int err)
{
	struct amb_demand_entry **p, *e;
	struct amb_demand_waiter *w;

	pthread_mutex_lock(&d->lock);
	p = slot(d, name);
	e = *p;
	if (e)
		*p = e->next;
	/* Posted with the lock held, so that cancel finds them in the entry or in the loop. */
	while (e && (w = e->waiters)) {
		leave(w);
		w->err = err;
		amb_loop_post(w->loop, &w->work);
	}
	pthread_mutex_unlock(&d->lock);
	free(e);
}

/* Waiting */

static void answered(struct amb_work *work)
{
	struct amb_demand_waiter *w = AMB_CONTAINER_OF(work, struct amb_demand_waiter, work);

	amb_loop_timer_cancel(w->loop, &w->timer);
	w->loop = NULL;
	w->fn(w, w->err);
}

static void late(struct amb_timer *t)
{
	struct amb_demand_waiter *w = AMB_CONTAINER_OF(t, struct amb_demand_waiter, timer);

	amb_demand_cancel(w);
	w->fn(w, -ETIMEDOUT);
}

int amb_demand_wait(struct amb_demand *d, const char *name, struct amb_loop *loop,
		    uint64_t timeout_ns, struct amb_demand_waiter *w)
{
	struct amb_demand_entry *e;
	bool post = false;

	w->work = (struct amb_work){ .fn = answered };
	w->timer.fn = late;
	if (amb_loop_timer_set(loop, &w->timer, amb_loop_now(loop) + timeout_ns))
		return -ENOMEM;
	pthread_mutex_lock(&d->lock);
	e = find_or_add(d, name);
	if (e) {
		w->demand = d;
		w->loop = loop;
		w->entry = e;
		w->next = e->waiters;
		w->prev = &e->waiters;
		if (w->next)
			w->next->prev = &w->next;
		e->waiters = w;
		post = d->fresh && !d->posted;
		d->posted |= post;
	}
	pthread_mutex_unlock(&d->lock);
	if (post)
		amb_loop_post(d->main, &d->work);
	if (!e)
		amb_loop_timer_cancel(loop, &w->timer);
	return e ? 0 : -ENOMEM;
}

bool amb_demand_source(const struct amb_env *env, struct amb_loop *loop, const struct amb_addr *src,
		       struct amb_demand_waiter *w)
{
	const char *network = amb_state_network(env->st);
	_cleanup_free_ char *name = NULL;
	bool known;

	if (!env->config.demand)
		return false;
	amb_state_read_begin(env->st);
	known = amb_state_workload_by_addr(env->st, network, src);
	amb_state_read_end(env->st);
	name = known ? NULL : amb_decide_name_of_addr(network, src);
	return name && !amb_demand_wait(env->config.demand, name, loop, AMB_DEMAND_TELL_NS, w);
}

void amb_demand_cancel(struct amb_demand_waiter *w)
{
	bool waits;

	/* Set and cleared on this thread only. */
	if (!w->loop)
		return;
	pthread_mutex_lock(&w->demand->lock);
	waits = w->entry;
	if (waits)
		leave(w);
	pthread_mutex_unlock(&w->demand->lock);
	if (!waits)
		amb_loop_unpost(w->loop, &w->work);
	amb_loop_timer_cancel(w->loop, &w->timer);
	w->loop = NULL;
}
