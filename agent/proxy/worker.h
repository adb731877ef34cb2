/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker: one thread with a loop, buffers, and its own listeners, pools and connections of
 * every pod. Nothing on the byte path is shared between workers.
 */
#ifndef AMB_WORKER_H
#define AMB_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <urcu/list.h>

#include "base/loop.h"
#include "proxy.h"

struct amb_dns_upstreams;
struct amb_resolver;

/* What all workers share; read-only after amb_proxy_create(), but for config.bpf. */
struct amb_env {
	struct amb_proxy_config config;
	struct amb_state *st;
	struct amb_creds *creds;
	struct amb_flow_hooks hooks;
	struct amb_resolver *resolver;
};

/* NULL: no programs. What was there once stays. */
static inline const struct amb_bpf *amb_env_bpf(const struct amb_env *env)
{
	return __atomic_load_n(&env->config.bpf, __ATOMIC_ACQUIRE);
}

#define AMB_WORKER_BUCKETS 64

struct amb_worker {
	const struct amb_env *env;
	unsigned int index;
	pthread_t thread;
	struct amb_loop *loop;
	struct amb_bytes *bytes;
	struct amb_work stop;
	unsigned int stop_turns;
	bool draining;

	struct cds_list_head pods;
	struct amb_timer tick; /* housekeeping, armed while something needs it */
	struct amb_timer adopt; /* adopt.c: looks for what agents left */
	uint64_t adopt_listed; /* when that was listed for a new pod */

	struct cds_list_head waiters; /* for a workload to become known (pod.c) */
	struct amb_timer wait_timer;

	struct cds_list_head paused; /* listeners that ran into a full fd table (listener.c) */
	struct amb_timer pause_timer;

	/* inbound handshakes under way, by hash of the source address (inbound.c) */
	struct cds_list_head unfinished[AMB_WORKER_BUCKETS];
	unsigned int nunfinished;

	struct amb_dns_upstreams *upstreams; /* dns_up.c: name servers, NULL: not read yet */
	unsigned int ndns; /* DNS queries that wait */

	uint32_t nlives, peak; /* connections, and their most since memory was given back */
	unsigned int calm; /* ticks since the crowd has gone */

	struct amb_proxy_stats stats; /* written by this thread only, relaxed */
};

/* Starts the thread. NULL: errno. */
struct amb_worker *amb_worker_start(const struct amb_env *env, unsigned int index);
/* Aborts all that is left on the worker, joins it, frees it. NULL is accepted. */
void amb_worker_stop(struct amb_worker *w);

/* Asks for housekeeping (pools, answers that are due) until nothing needs it. */
void amb_worker_tick(struct amb_worker *w);

/* A connection more or less; after a crowd has gone its memory is given back. */
void amb_worker_enter(struct amb_worker *w);
void amb_worker_leave(struct amb_worker *w);

/* Adds to one of the worker's own counters; other threads read it. */
static inline void amb_worker_count(uint64_t *counter, int64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* Counts a connection that was refused or ended by @reason. */
static inline void amb_worker_reason(struct amb_worker *w, enum amb_reason reason)
{
	amb_worker_count(&w->stats.reasons[reason], 1);
}

#endif
