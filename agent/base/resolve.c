// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names resolved by a few threads, answers kept in a bounded table.
 *
 * Lifetime: a thread may sit in getaddrinfo() for as long as resolv.conf says, so nobody
 * waits for it: they are detached and hold references; destroy() marks the resolver dead and
 * whoever drops the last reference frees it. A waiter is either on a job (w->job, under the
 * lock) or posted to its own loop, where cancel can take it back.
 */
#include "resolve.h"

#include "cleanup.h"
#include "util.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <urcu/list.h>

#define BUCKETS 1024
#define ADDRS_MAX 16 /* kept of one name */
#define THREADS_MAX 4 /* a name whose servers are silent holds one for long */

struct answer {
	struct cds_list_head bucket, age;
	uint64_t expires;
	unsigned int n; /* 0: does not resolve */
	struct amb_addr addrs[ADDRS_MAX];
	char name[];
};

struct amb_resolve_job {
	struct cds_list_head node;
	struct amb_resolve_waiter *waiters;
	bool taken; /* a thread works on it */
	char name[];
};

struct amb_resolver {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	unsigned int refs; /* all below: lock */
	bool dead;
	unsigned int nthreads, nsleeping;
	struct cds_list_head jobs;
	unsigned int njobs, nanswers;
	struct cds_list_head buckets[BUCKETS], ages;
};

static struct cds_list_head *bucket_of(struct amb_resolver *r, const char *name)
{
	return &r->buckets[amb_util_hash(name, strlen(name), amb_util_seed()) % BUCKETS];
}

static void answer_free(struct amb_resolver *r, struct answer *a)
{
	cds_list_del(&a->bucket);
	cds_list_del(&a->age);
	r->nanswers--;
	free(a);
}

static struct answer *answer_find(struct amb_resolver *r, const char *name, uint64_t now)
{
	struct answer *a;

	cds_list_for_each_entry(a, bucket_of(r, name), bucket) {
		if (strcmp(a->name, name))
			continue;
		if (a->expires > now)
			return a;
		answer_free(r, a);
		return NULL;
	}
	return NULL;
}

static int answer_pick(const struct answer *a, bool prefer_v6, struct amb_addr *out)
{
	unsigned int i, n = 0, at[ADDRS_MAX];

	if (!a->n)
		return -ENOENT;
	for (i = 0; i < a->n; i++)
		if (amb_addr_is_v4(&a->addrs[i]) != prefer_v6)
			at[n++] = i;
	*out = a->addrs[n ? at[amb_util_random() % n] : amb_util_random() % a->n];
	return 0;
}

static void unlock_put(struct amb_resolver *r)
{
	unsigned int left = --r->refs;

	pthread_mutex_unlock(&r->lock);
	if (left)
		return;
	while (!cds_list_empty(&r->ages))
		answer_free(r, cds_list_first_entry(&r->ages, struct answer, age));
	while (!cds_list_empty(&r->jobs)) {
		struct amb_resolve_job *job =
			cds_list_first_entry(&r->jobs, struct amb_resolve_job, node);

		cds_list_del(&job->node);
		free(job);
	}
	pthread_cond_destroy(&r->wake);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* The slow part, without the lock. */
static struct answer *ask(const char *name)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct answer *a = calloc(1, sizeof(*a) + strlen(name) + 1);
	struct addrinfo *list = NULL, *ai;
	struct amb_endpoint e;

	if (!a)
		return NULL;
	strcpy(a->name, name);
	if (getaddrinfo(name, NULL, &hints, &list))
		list = NULL;
	for (ai = list; ai && a->n < ADDRS_MAX; ai = ai->ai_next)
		if (!amb_endpoint_from_sockaddr(ai->ai_addr, &e))
			a->addrs[a->n++] = e.addr;
	if (list)
		freeaddrinfo(list);
	a->expires = amb_util_now_ns() + (a->n ? AMB_RESOLVE_TTL_NS : AMB_RESOLVE_NEGATIVE_NS);
	return a;
}

static void answer_add(struct amb_resolver *r, struct answer *a)
{
	struct answer *old = answer_find(r, a->name, 0);

	if (old)
		answer_free(r, old);
	if (r->nanswers >= AMB_RESOLVE_CACHE)
		answer_free(r, cds_list_first_entry(&r->ages, struct answer, age));
	cds_list_add(&a->bucket, bucket_of(r, a->name));
	cds_list_add_tail(&a->age, &r->ages);
	r->nanswers++;
}

static void job_done(struct amb_resolver *r, struct amb_resolve_job *job, const struct answer *a)
{
	struct amb_resolve_waiter *w, *next;

	for (w = job->waiters; w; w = next) {
		next = w->next;
		w->job = NULL;
		w->err = a ? answer_pick(a, w->prefer_v6, &w->addr) : -ENOMEM;
		amb_loop_post(w->loop, &w->work);
	}
	cds_list_del(&job->node);
	r->njobs--;
	free(job);
}

static struct amb_resolve_job *job_next(struct amb_resolver *r)
{
	struct amb_resolve_job *job;

	cds_list_for_each_entry(job, &r->jobs, node)
		if (!job->taken)
			return job;
	return NULL;
}

static void *run(void *arg)
{
	struct amb_resolver *r = arg;
	struct amb_resolve_job *job;
	struct answer *a;

	pthread_setname_np(pthread_self(), "amb-resolver");
	pthread_mutex_lock(&r->lock);
	for (;;) {
		r->nsleeping++;
		while (!r->dead && !(job = job_next(r)))
			pthread_cond_wait(&r->wake, &r->lock);
		r->nsleeping--;
		if (r->dead)
			break;
		job->taken = true;
		pthread_mutex_unlock(&r->lock);
		a = ask(job->name);
		pthread_mutex_lock(&r->lock);
		if (!r->dead)
			job_done(r, job, a);
		if (a)
			answer_add(r, a);
	}
	unlock_put(r);
	return NULL;
}

static int start_thread(struct amb_resolver *r)
{
	sigset_t all, old;
	pthread_t thread;
	int err;

	if (r->nsleeping || r->nthreads >= THREADS_MAX)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&thread, NULL, run, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return r->nthreads ? 0 : -err;
	pthread_detach(thread);
	r->nthreads++;
	r->refs++;
	return 0;
}

struct amb_resolver *amb_resolver_create(void)
{
	struct amb_resolver *r = calloc(1, sizeof(*r));
	unsigned int i;

	if (!r)
		return NULL;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->wake, NULL);
	r->refs = 1;
	CDS_INIT_LIST_HEAD(&r->jobs);
	CDS_INIT_LIST_HEAD(&r->ages);
	for (i = 0; i < BUCKETS; i++)
		CDS_INIT_LIST_HEAD(&r->buckets[i]);
	return r;
}

void amb_resolver_destroy(struct amb_resolver *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->dead = true;
	pthread_cond_broadcast(&r->wake);
	unlock_put(r);
}

static struct amb_resolve_job *job_for(struct amb_resolver *r, const char *name)
{
	struct amb_resolve_job *job;

	cds_list_for_each_entry(job, &r->jobs, node)
		if (!strcmp(job->name, name))
			return job;
	if (r->njobs >= AMB_RESOLVE_QUEUE || start_thread(r))
		return NULL;
	job = calloc(1, sizeof(*job) + strlen(name) + 1);
	if (!job)
		return NULL;
	strcpy(job->name, name);
	cds_list_add_tail(&job->node, &r->jobs);
	r->njobs++;
	pthread_cond_signal(&r->wake);
	return job;
}

static void answered(struct amb_work *work)
{
	struct amb_resolve_waiter *w = AMB_CONTAINER_OF(work, struct amb_resolve_waiter, work);

	w->loop = NULL;
	w->fn(w, w->err, &w->addr);
}

int amb_resolve(struct amb_resolver *r, const char *name, bool prefer_v6, struct amb_loop *loop,
		struct amb_resolve_waiter *w, struct amb_addr *out)
{
	struct answer *a;
	int err = -EBUSY;

	pthread_mutex_lock(&r->lock);
	a = answer_find(r, name, amb_util_now_ns());
	if (a) {
		err = answer_pick(a, prefer_v6, out);
	} else {
		w->job = job_for(r, name);
		if (w->job) {
			w->loop = loop;
			w->prefer_v6 = prefer_v6;
			w->work.fn = answered;
			w->next = w->job->waiters;
			w->job->waiters = w;
			err = -EINPROGRESS;
		}
	}
	pthread_mutex_unlock(&r->lock);
	return err;
}

void amb_resolve_cancel(struct amb_resolver *r, struct amb_resolve_waiter *w)
{
	struct amb_resolve_waiter **p;
	struct amb_loop *loop;

	/* Set and cleared on this thread only; read by the resolver's under the lock. */
	loop = w->loop;
	if (!loop)
		return;
	pthread_mutex_lock(&r->lock);
	w->loop = NULL;
	if (w->job) {
		for (p = &w->job->waiters; *p != w; p = &(*p)->next)
			;
		*p = w->next;
		w->job = NULL;
		loop = NULL;
	}
	pthread_mutex_unlock(&r->lock);
	if (loop)
		amb_loop_unpost(loop, &w->work);
}
