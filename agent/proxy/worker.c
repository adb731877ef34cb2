// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A worker thread: runs its loop until stop, keeps house for its pods.
 *
 * Lifetime: everything a worker owns hangs on its pods. stop() runs as posted work on the
 * thread itself: it destroys the pods, lets some turns pass so that what frees itself at the
 * end of a turn, or on the end of the other half of a socket pair, has done so, and then
 * ends the loop.
 */
#include "worker.h"

#include "base/log.h"
#include "base/rcu.h"
#include "base/trim.h"
#include "base/util.h"
#include "adopt.h"
#include "bytes.h"
#include "dns.h"
#include "kmod.h"
#include "listener.h"
#include "pod.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define TICK_NS 1000000000ull
#define CROWD 1000 /* connections whose memory is worth to be given back */
#define CALM_TICKS 3 /* from the end of a crowd to giving its memory back */
#define STOP_TURNS 8

static bool crowd_gone(const struct amb_worker *w)
{
	return w->peak >= CROWD && w->nlives < w->peak / 4;
}

static void tick(struct amb_timer *t)
{
	struct amb_worker *w = AMB_CONTAINER_OF(t, struct amb_worker, tick);
	uint64_t now = amb_loop_now(w->loop);
	/* The peer may wait for its own dial, so its answer has twice our time. */
	uint64_t patience = 2 * w->env->config.dial_timeout_ns;
	struct amb_pod *pod;
	bool more = false;

	cds_list_for_each_entry(pod, &w->pods, node) {
		more |= amb_pool_sweep(&pod->pool, now);
		more |= amb_live_expire(pod, now > patience ? now - patience : 0);
	}
	/* Spare tunnels end a little later than their streams, here or at the peer. */
	if (!crowd_gone(w)) {
		w->calm = 0;
	} else if (++w->calm < CALM_TICKS) {
		more = true;
	} else {
		w->peak = w->nlives;
		amb_trim();
	}
	if (more)
		amb_worker_tick(w);
}

void amb_worker_enter(struct amb_worker *w)
{
	if (++w->nlives > w->peak)
		w->peak = w->nlives;
}

void amb_worker_leave(struct amb_worker *w)
{
	w->nlives--;
	if (crowd_gone(w))
		amb_worker_tick(w);
}

void amb_worker_tick(struct amb_worker *w)
{
	if (w->tick.index)
		return;
	if (amb_loop_timer_set(w->loop, &w->tick, amb_loop_now(w->loop) + TICK_NS))
		amb_warn(PROXY, "worker %u: no memory for housekeeping, continuing", w->index);
}

static void stop(struct amb_work *work)
{
	struct amb_worker *w = AMB_CONTAINER_OF(work, struct amb_worker, stop);
	struct amb_pod *pod, *next;

	amb_adopt_stop(w);
	if (w->env->config.leave && w->bytes->kmod)
		amb_kmod_leave(w->bytes);
	cds_list_for_each_entry_safe(pod, next, &w->pods, node)
		amb_pod_destroy(pod, AMB_REASON_DRAIN);
	if (w->stop_turns++ < STOP_TURNS)
		amb_loop_defer(w->loop, &w->stop);
	else
		amb_loop_stop(w->loop);
}

static void *run(void *arg)
{
	struct amb_worker *w = arg;
	char name[16];
	int err;

	snprintf(name, sizeof(name), "amb-worker-%u", w->index);
	pthread_setname_np(pthread_self(), name);
	urcu_memb_register_thread();
	err = amb_loop_run(w->loop);
	if (err)
		amb_err(PROXY, "worker %u: event loop ended: error %d", w->index, -err);
	urcu_memb_unregister_thread();
	return NULL;
}

static int start_thread(struct amb_worker *w)
{
	sigset_t all, old;
	int err;

	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

struct amb_worker *amb_worker_start(const struct amb_env *env, unsigned int index)
{
	struct amb_worker *w = calloc(1, sizeof(*w));
	unsigned int i;
	int err = ENOMEM;

	if (!w)
		return NULL;
	w->env = env;
	w->index = index;
	w->stop.fn = stop;
	w->tick.fn = tick;
	w->pause_timer.fn = amb_listener_resume;
	CDS_INIT_LIST_HEAD(&w->pods);
	CDS_INIT_LIST_HEAD(&w->waiters);
	CDS_INIT_LIST_HEAD(&w->paused);
	for (i = 0; i < AMB_WORKER_BUCKETS; i++)
		CDS_INIT_LIST_HEAD(&w->unfinished[i]);
	w->loop = amb_loop_create();
	if (!w->loop)
		err = errno;
	w->bytes = w->loop ? amb_bytes_create(w->loop, &env->config.hbone) : NULL;
	if (w->bytes) {
		err = -amb_adopt_start(w) ?: start_thread(w);
		if (!err)
			return w;
	}
	amb_bytes_destroy(w->bytes);
	amb_loop_destroy(w->loop);
	free(w);
	errno = err;
	return NULL;
}

void amb_worker_stop(struct amb_worker *w)
{
	if (!w)
		return;
	amb_loop_post(w->loop, &w->stop);
	pthread_join(w->thread, NULL);
	amb_dns_worker_uninit(w);
	amb_bytes_destroy(w->bytes);
	amb_loop_destroy(w->loop);
	free(w);
}
