// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The proxy as its caller sees it: workers, the table of pods, and calls that go to every
 * worker and come back.
 *
 * A call is posted to all workers at once, each runs its part and posts it back; when all are
 * back, finish() runs on the main loop. Messages to a worker keep their order, so a pod that
 * is deleted while it is being added is added first and then deleted, everywhere.
 *
 * Calls that look at live connections again are made at the start, and stay: what is forbidden now
 * must not go on because memory is short.
 */
#include "proxy.h"

#include "adopt.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/resolve.h"
#include "base/util.h"
#include "bytes.h"
#include "dns.h"
#include "kmod.h"
#include "live.h"
#include "mesh/state.h"
#include "pod.h"
#include "pool.h"
#include "recheck.h"
#include "record.h"
#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <urcu/list.h>

#define WORKERS_MAX 64
#define POD_BUCKETS 256
#define DRAIN_POLL_NS 50000000ull
#define LEAVE_NS 1500000000ull /* for what peers opened before they heard of GOAWAY */

const struct amb_proxy_config amb_proxy_defaults = {
	.workers = 2,
	.hbone = AMB_HBONE_DEFAULTS,
	.pool_streams = 100,
	.pool_idle_ns = 300000000000ull,
	.dial_timeout_ns = 10000000000ull,
	.source_wait_ns = 5000000000ull,
	.max_conns_per_pod = 65536,
	.max_handshakes_per_peer = 64,
	.orig_src = -1,
	.ipv6 = true,
	.port_reuse = true,
	.localhost_app_tunnel = true,
	.response_baggage = true,
	.dns_at = { .port = AMB_DNS_LISTEN },
	.resolv_conf = AMB_DNS_RESOLV_CONF,
};

struct call;

struct part {
	struct amb_work work;
	struct call *call;
	struct amb_worker *worker;
	int err;
	struct amb_live_rows rows; /* each_conn */
	struct amb_timer timer; /* drain */
	uint64_t left; /* drain: connections that the kernel carries are let go */
	uint64_t deadline;
};

struct call {
	struct cds_list_head node; /* of the proxy's calls */
	struct amb_proxy *proxy;
	void (*run)(struct part *part); /* worker thread; calls reply() once, then or later */
	void (*finish)(struct call *call); /* main thread */
	struct amb_pod_info *info;
	amb_proxy_done_fn *done;
	void (*each)(void *ctx, const struct amb_proxy_conn *c);
	void *ctx;
	bool query; /* told when it is given up */
	bool again; /* one that stays: asked for while it was under way */
	int err; /* the first of the parts */
	unsigned int left;
	struct part parts[];
};

/* A pod in main's table. */
struct entry {
	struct cds_list_head node;
	struct amb_pod_info *info;
};

struct amb_proxy {
	struct amb_env env;
	struct amb_loop *main;
	struct amb_worker *workers[WORKERS_MAX];
	struct cds_list_head pods[POD_BUCKETS];
	unsigned int npods;
	struct cds_list_head calls;
	struct call *rejudge, *recheck; /* that stay */
};

/* Calls */

static void call_free(struct call *call)
{
	unsigned int i;

	cds_list_del(&call->node);
	for (i = 0; i < call->proxy->env.config.workers; i++)
		amb_live_rows_clear(&call->parts[i].rows);
	amb_pod_info_put(call->info);
	free(call);
}

static bool stays(const struct call *call)
{
	return call == call->proxy->rejudge || call == call->proxy->recheck;
}

static void part_back(struct amb_work *work)
{
	struct part *part = AMB_CONTAINER_OF(work, struct part, work);
	struct call *call = part->call;

	if (part->err && !call->err)
		call->err = part->err;
	if (--call->left)
		return;
	call->finish(call);
	if (!stays(call))
		call_free(call);
}

static void reply(struct part *part, int err)
{
	part->err = err;
	part->work.fn = part_back;
	amb_loop_post(part->call->proxy->main, &part->work);
}

static void part_run(struct amb_work *work)
{
	struct part *part = AMB_CONTAINER_OF(work, struct part, work);

	part->call->run(part);
}

static struct call *call_create(struct amb_proxy *p, void (*run)(struct part *part),
				void (*finish)(struct call *call), amb_proxy_done_fn *done,
				void *ctx)
{
	unsigned int i, n = p->env.config.workers;
	struct call *call = calloc(1, sizeof(*call) + n * sizeof(struct part));

	if (!call)
		return NULL;
	call->proxy = p;
	call->run = run;
	call->finish = finish;
	call->done = done;
	call->ctx = ctx;
	for (i = 0; i < n; i++) {
		call->parts[i].call = call;
		call->parts[i].worker = p->workers[i];
	}
	cds_list_add(&call->node, &p->calls);
	return call;
}

static void call_post(struct call *call)
{
	unsigned int i, n = call->proxy->env.config.workers;

	call->left = n;
	for (i = 0; i < n; i++) {
		call->parts[i].work.fn = part_run;
		amb_loop_post(call->parts[i].worker->loop, &call->parts[i].work);
	}
}

/* One that stays. Workers that have looked may have looked too early, hence once more. */
static void ask_again(struct call *call)
{
	call->again = call->left;
	if (!call->left)
		call_post(call);
}

static void finish_again(struct call *call)
{
	if (call->again)
		ask_again(call);
}

static void finish_done(struct call *call)
{
	if (call->done)
		call->done(call->ctx, call->err);
}

/* Policies and revocation */

static void run_rejudge(struct part *part)
{
	struct amb_pod *pod;

	cds_list_for_each_entry(pod, &part->worker->pods, node)
		amb_live_rejudge(pod);
	reply(part, 0);
}

void amb_proxy_rejudge(struct amb_proxy *p)
{
	ask_again(p->rejudge);
}

static void run_recheck(struct part *part)
{
	amb_recheck_conns(part->worker->bytes);
	reply(part, 0);
}

void amb_proxy_recheck(struct amb_proxy *p)
{
	ask_again(p->recheck);
}

/* Life */

static void stop_workers(struct amb_proxy *p)
{
	unsigned int i;

	for (i = 0; i < p->env.config.workers; i++) {
		amb_worker_stop(p->workers[i]);
		p->workers[i] = NULL;
	}
}

static int start_workers(struct amb_proxy *p)
{
	unsigned int i;

	for (i = 0; i < p->env.config.workers; i++) {
		p->workers[i] = amb_worker_start(&p->env, i);
		if (!p->workers[i])
			return -errno;
	}
	p->rejudge = call_create(p, run_rejudge, finish_again, NULL, NULL);
	p->recheck = call_create(p, run_recheck, finish_again, NULL, NULL);
	return p->rejudge && p->recheck ? 0 : -ENOMEM;
}

struct amb_proxy *amb_proxy_create(struct amb_loop *main, const struct amb_proxy_config *config,
				   struct amb_state *st, struct amb_creds *creds,
				   const struct amb_flow_hooks *hooks)
{
	struct amb_proxy *p;
	unsigned int i;
	int err = -ENOMEM;

	if (!config->workers || config->workers > WORKERS_MAX || !config->pool_streams) {
		errno = EINVAL;
		return NULL;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->main = main;
	p->env.config = *config;
	p->env.st = st;
	p->env.creds = creds;
	p->env.hooks = *hooks;
	CDS_INIT_LIST_HEAD(&p->calls);
	for (i = 0; i < POD_BUCKETS; i++)
		CDS_INIT_LIST_HEAD(&p->pods[i]);
	p->env.resolver = amb_resolver_create();
	if (p->env.resolver)
		err = start_workers(p);
	if (!err)
		return p;
	amb_proxy_destroy(p);
	errno = -err;
	return NULL;
}

static void entry_free(struct amb_proxy *p, struct entry *e)
{
	cds_list_del(&e->node);
	p->npods--;
	amb_pod_info_put(e->info);
	free(e);
}

/* Answers that were under way are taken back: their callers are going away too. */
void amb_proxy_destroy(struct amb_proxy *p)
{
	struct entry *e, *nexte;
	struct call *call, *nextc;
	unsigned int i;

	if (!p)
		return;
	stop_workers(p);
	cds_list_for_each_entry_safe(call, nextc, &p->calls, node) {
		for (i = 0; i < p->env.config.workers; i++)
			amb_loop_unpost(p->main, &call->parts[i].work);
		if (call->query)
			call->done(call->ctx, -ECANCELED);
		call_free(call);
	}
	for (i = 0; i < POD_BUCKETS; i++)
		cds_list_for_each_entry_safe(e, nexte, &p->pods[i], node)
			entry_free(p, e);
	amb_resolver_destroy(p->env.resolver);
	free(p);
}

/* Pods */

static struct cds_list_head *bucket_of(struct amb_proxy *p, const char *uid)
{
	return &p->pods[amb_util_hash(uid, strlen(uid), amb_util_seed()) % POD_BUCKETS];
}

static struct entry *entry_find(struct amb_proxy *p, const char *uid)
{
	struct entry *e;

	cds_list_for_each_entry(e, bucket_of(p, uid), node)
		if (!strcmp(e->info->uid, uid))
			return e;
	return NULL;
}

static void run_add(struct part *part)
{
	reply(part, amb_pod_create(part->worker, part->call->info));
}

static void run_del(struct part *part)
{
	amb_pod_destroy(part->call->info->in[part->worker->index], AMB_REASON_POD_GONE);
	reply(part, 0);
}

/* After a failed add: the caller hears of the failure when everything is closed again. */
static void finish_undo(struct call *call)
{
	if (call->done)
		call->done(call->ctx, call->err ? call->err : -ECANCELED);
}

static void finish_add(struct call *call)
{
	struct amb_proxy *p = call->proxy;
	struct entry *e = entry_find(p, call->info->uid);
	struct call *undo;

	if (!call->err) {
		/* Deleted meanwhile: that call follows this one. */
		if (!e || e->info != call->info)
			call->err = -ECANCELED;
		finish_done(call);
		return;
	}
	if (e && e->info == call->info)
		entry_free(p, e);
	undo = call_create(p, run_del, finish_undo, call->done, call->ctx);
	if (!undo) {
		amb_err(PROXY, "pod %s: no memory to close its listeners", call->info->uid);
		finish_done(call);
		return;
	}
	undo->err = call->err;
	undo->info = amb_pod_info_get(call->info);
	call_post(undo);
}

int amb_proxy_pod_add(struct amb_proxy *p, const struct amb_proxy_pod *pod, amb_proxy_done_fn *done,
		      void *ctx)
{
	_cleanup_free_ struct entry *e = NULL;
	struct call *call;

	if (entry_find(p, pod->uid))
		return -EEXIST;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->info = amb_pod_info_create(pod, p->env.config.workers);
	if (!e->info)
		return -ENOMEM;
	call = call_create(p, run_add, finish_add, done, ctx);
	if (!call) {
		amb_pod_info_put(e->info);
		return -ENOMEM;
	}
	call->info = amb_pod_info_get(e->info);
	cds_list_add(&e->node, bucket_of(p, pod->uid));
	take_ptr(e);
	p->npods++;
	call_post(call);
	return 0;
}

void amb_proxy_pod_del(struct amb_proxy *p, const char *uid, amb_proxy_done_fn *done, void *ctx)
{
	struct entry *e = entry_find(p, uid);
	struct call *call;

	if (!e) {
		if (done)
			done(ctx, -ENOENT);
		return;
	}
	call = call_create(p, run_del, finish_done, done, ctx);
	if (!call) {
		amb_err(PROXY, "pod %s: no memory to let go of it", uid);
		if (done)
			done(ctx, -ENOMEM);
		return;
	}
	call->info = amb_pod_info_get(e->info);
	entry_free(p, e);
	call_post(call);
}

void amb_proxy_set_bpf(struct amb_proxy *p, const struct amb_bpf *bpf)
{
	__atomic_store_n(&p->env.config.bpf, bpf, __ATOMIC_RELEASE);
}

unsigned int amb_proxy_pods(const struct amb_proxy *p)
{
	return p->npods;
}

/* Drain */

static bool worker_idle(struct amb_worker *w)
{
	struct amb_pod *pod;
	bool idle = true;

	cds_list_for_each_entry(pod, &w->pods, node) {
		/* what was dialled meanwhile */
		amb_pool_drain(&pod->pool);
		idle &= amb_pod_idle(pod);
	}
	return idle;
}

static void drain_poll(struct amb_timer *t)
{
	struct part *part = AMB_CONTAINER_OF(t, struct part, timer);
	struct amb_worker *w = part->worker;
	uint64_t now = amb_loop_now(w->loop);
	struct amb_pod *pod, *next;

	if (w->env->config.leave && w->bytes->kmod && now >= AMB_MIN(part->left, part->deadline))
		amb_kmod_leave(w->bytes);
	if (worker_idle(w)) {
		reply(part, 0);
	} else if (now >= part->deadline) {
		cds_list_for_each_entry_safe(pod, next, &w->pods, node)
			amb_pod_destroy(pod, AMB_REASON_DRAIN);
		reply(part, -ETIMEDOUT);
	} else if (amb_loop_timer_set(w->loop, t, now + DRAIN_POLL_NS)) {
		reply(part, -ENOMEM);
	}
}

static void run_drain(struct part *part)
{
	struct amb_worker *w = part->worker;
	struct amb_pod *pod;

	w->draining = true;
	amb_adopt_stop(w);
	part->left = amb_loop_now(w->loop) + LEAVE_NS;
	cds_list_for_each_entry(pod, &w->pods, node)
		amb_pod_drain(pod);
	part->timer.fn = drain_poll;
	drain_poll(&part->timer);
}

void amb_proxy_drain(struct amb_proxy *p, uint64_t deadline_ns, amb_proxy_done_fn *done, void *ctx)
{
	struct call *call = call_create(p, run_drain, finish_done, done, ctx);
	unsigned int i;

	if (!call) {
		done(ctx, -ENOMEM);
		return;
	}
	for (i = 0; i < p->env.config.workers; i++)
		call->parts[i].deadline = amb_util_now_ns() + deadline_ns;
	call_post(call);
}

/* Live connections and counters */

static void run_each(struct part *part)
{
	struct amb_pod *pod;
	int err = 0;

	cds_list_for_each_entry(pod, &part->worker->pods, node)
		err = err ?: amb_live_snapshot(pod, &part->rows);
	reply(part, err);
}

static void finish_each(struct call *call)
{
	uint64_t now = amb_util_now_ns();
	unsigned int i;

	for (i = 0; i < call->proxy->env.config.workers; i++)
		amb_live_rows_each(&call->parts[i].rows, now, call->each, call->ctx);
	finish_done(call);
}

void amb_proxy_each_conn(struct amb_proxy *p, void (*fn)(void *ctx, const struct amb_proxy_conn *c),
			 amb_proxy_done_fn *done, void *ctx)
{
	struct call *call = call_create(p, run_each, finish_each, done, ctx);

	if (!call) {
		done(ctx, -ENOMEM);
		return;
	}
	call->each = fn;
	call->query = true;
	call_post(call);
}

static void run_tell(struct part *part)
{
	struct amb_worker *w = part->worker;
	const struct amb_flow_hooks *hooks = &w->env->hooks;
	struct amb_pod *pod;

	if (hooks->bytes) {
		hooks->bytes_begin(hooks->ctx, w->index);
		cds_list_for_each_entry(pod, &w->pods, node)
			amb_live_tell_bytes(pod);
		hooks->bytes_end(hooks->ctx, w->index);
	}
	reply(part, 0);
}

void amb_proxy_tell_bytes(struct amb_proxy *p, amb_proxy_done_fn *done, void *ctx)
{
	struct call *call = call_create(p, run_tell, finish_done, done, ctx);

	if (!call) {
		done(ctx, -ENOMEM);
		return;
	}
	call->query = true;
	call_post(call);
}

static void add(uint64_t *to, const uint64_t *from, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		to[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

_Static_assert(sizeof(struct amb_proxy_stats) % sizeof(uint64_t) == 0, "counters only");

void amb_proxy_stats(const struct amb_proxy *p, struct amb_proxy_stats *out)
{
	unsigned int i;

	memset(out, 0, sizeof(*out));
	for (i = 0; i < p->env.config.workers; i++) {
		struct amb_bytes_stats bytes;

		add((uint64_t *)out, (const uint64_t *)&p->workers[i]->stats,
		    sizeof(*out) / sizeof(uint64_t));
		amb_bytes_get_stats(p->workers[i]->bytes, &bytes);
		add(out->tiers, bytes.tiers, AMB_TIER_MAX);
		out->tier_refused += bytes.tier_refused;
		out->rekeys_refused += bytes.rekeys_refused;
	}
}
