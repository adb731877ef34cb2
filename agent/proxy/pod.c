// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pods. amb_pod_info lives as long as anybody names it (main's table, snapshots); amb_pod
 * lives from create to destroy on its worker, and destroy leaves nothing that points to it:
 * it ends listeners, setups, entries, inbound connections and pools in that order, each of
 * which calls back before it returns.
 */
#include "pod.h"

#include "adopt.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/reason.h"
#include "base/util.h"
#include "dns.h"
#include "inbound.h"
#include "kernel/netns.h"
#include "kernel/rows.h"
#include "live.h"
#include "mesh/baggage.h"
#include "mesh/decide.h"
#include "outbound.h"
#include "plain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_POLL_NS 50000000ull /* looks at the state's version while somebody waits */

static const char *put_string(char **at, const char *text)
{
	const char *start = *at;
	size_t n = strlen(text) + 1;

	memcpy(*at, text, n);
	*at += n;
	return start;
}

struct amb_pod_info *amb_pod_info_create(const struct amb_proxy_pod *pod, unsigned int workers)
{
	const char *search = pod->dns_search ? pod->dns_search : "";
	size_t text = strlen(pod->uid) + strlen(pod->ns) + strlen(pod->name) + strlen(pod->sa) +
		      strlen(search) + 5;
	struct amb_pod_info *info =
		calloc(1, sizeof(*info) + workers * sizeof(struct amb_pod *) + text);
	char *at;

	if (!info)
		return NULL;
	at = (char *)&info->in[workers];
	info->refs = 1;
	info->netns = amb_netns_get(pod->netns);
	info->cookie = pod->cookie;
	info->captured = pod->cookie && !pod->ruled;
	info->ingress_mode = pod->ingress_mode;
	info->uid = put_string(&at, pod->uid);
	info->ns = put_string(&at, pod->ns);
	info->name = put_string(&at, pod->name);
	info->sa = put_string(&at, pod->sa);
	info->dns = pod->dns;
	info->dns_search = put_string(&at, search);
	info->dns_search_only = pod->dns_search_only;
	return info;
}

struct amb_pod_info *amb_pod_info_get(struct amb_pod_info *info)
{
	__atomic_add_fetch(&info->refs, 1, __ATOMIC_RELAXED);
	return info;
}

void amb_pod_info_put(struct amb_pod_info *info)
{
	if (!info || __atomic_sub_fetch(&info->refs, 1, __ATOMIC_ACQ_REL))
		return;
	amb_netns_put(info->netns);
	free(info);
}

bool amb_pod_charge(struct amb_pod *pod)
{
	uint32_t *conns = &pod->info->conns;

	if (__atomic_add_fetch(conns, 1, __ATOMIC_RELAXED) <=
	    pod->worker->env->config.max_conns_per_pod)
		return true;
	__atomic_sub_fetch(conns, 1, __ATOMIC_RELAXED);
	amb_worker_reason(pod->worker, AMB_REASON_LIMIT);
	return false;
}

void amb_pod_uncharge(struct amb_pod *pod)
{
	__atomic_sub_fetch(&pod->info->conns, 1, __ATOMIC_RELAXED);
}

/* The pod's own workload */

static struct amb_workload *look_up(struct amb_pod *pod)
{
	const struct amb_pod_info *info = pod->info;
	const struct amb_state *st = pod->worker->env->st;
	struct amb_workload *w = NULL;
	uint64_t seq;
	bool again;

	do {
		amb_workload_put(w);
		seq = amb_state_read_begin(st);
		w = amb_workload_get(amb_state_workload_local(st, info->ns, info->name, info->sa));
		again = amb_state_read_retry(st, seq);
		amb_state_read_end(st);
	} while (again);
	return w;
}

struct amb_workload *amb_pod_workload(struct amb_pod *pod)
{
	uint64_t version = amb_state_version(pod->worker->env->st);
	struct amb_workload *w;
	char buf[AMB_BAGGAGE_MAX];

	if (pod->version == version)
		return pod->workload;
	w = look_up(pod);
	if (w != pod->workload) {
		free(pod->baggage);
		pod->baggage = w && amb_baggage_write(w, buf, sizeof(buf)) ? strdup(buf) : NULL;
	}
	amb_workload_put(pod->workload);
	pod->workload = w;
	pod->version = version;
	return w;
}

static void wait_done(struct amb_pod_waiter *w, bool known)
{
	amb_pod_unwait(w);
	w->fn(w, known);
}

static void wait_poll(struct amb_timer *t)
{
	struct amb_worker *worker = AMB_CONTAINER_OF(t, struct amb_worker, wait_timer);
	uint64_t now = amb_loop_now(worker->loop);
	struct amb_pod_waiter *w;
	CDS_LIST_HEAD(turn);

	/* Taken aside first: a waiter's fn may end others. */
	cds_list_splice(&worker->waiters, &turn);
	CDS_INIT_LIST_HEAD(&worker->waiters);
	while (!cds_list_empty(&turn)) {
		w = cds_list_first_entry(&turn, struct amb_pod_waiter, node);
		cds_list_move(&w->node, &worker->waiters);
		if (amb_pod_workload(w->pod))
			wait_done(w, true);
		else if (now >= w->due)
			wait_done(w, false);
	}
	if (!cds_list_empty(&worker->waiters))
		amb_loop_timer_set(worker->loop, t, now + WAIT_POLL_NS);
}

void amb_pod_wait(struct amb_pod *pod, struct amb_pod_waiter *w)
{
	struct amb_worker *worker = pod->worker;
	uint64_t now = amb_loop_now(worker->loop);

	w->pod = pod;
	w->due = now + worker->env->config.source_wait_ns;
	cds_list_add(&w->node, &worker->waiters);
	worker->wait_timer.fn = wait_poll;
	if (!worker->wait_timer.index)
		amb_loop_timer_set(worker->loop, &worker->wait_timer, now + WAIT_POLL_NS);
}

void amb_pod_unwait(struct amb_pod_waiter *w)
{
	if (!w->node.next)
		return;
	cds_list_del(&w->node);
	w->node.next = w->node.prev = NULL;
}

/* Policy */

struct dry_run {
	struct amb_pod *pod;
	const struct amb_policy_conn *conn;
};

static void log_verdict(struct amb_pod *pod, const struct amb_policy_conn *conn, const char *policy,
			const char *what)
{
	bool info = pod->worker->env->config.policy_log;
	char src[AMB_ENDPOINT_STRLEN], dst[AMB_ENDPOINT_STRLEN];

	if (!amb_log_enabled(AMB_LOG_POLICY, info ? AMB_LOG_INFO : AMB_LOG_DEBUG))
		return;
	amb_log(AMB_LOG_POLICY, info ? AMB_LOG_INFO : AMB_LOG_DEBUG, "%s -> %s (%s): %s%s%s",
		amb_endpoint_format(&conn->src, src), amb_endpoint_format(&conn->dst, dst),
		conn->peer ? conn->peer->spiffe : "plaintext", what, *policy ? " " : "", policy);
}

static void log_dry_run(void *ctx, const char *policy, bool deny)
{
	const struct dry_run *d = ctx;

	log_verdict(d->pod, d->conn, policy,
		    deny ? "dry run: would be denied by" : "dry run: would be allowed by");
}

void amb_pod_judge(struct amb_pod *pod, const struct amb_workload *local,
		   const struct amb_policy_conn *conn, struct amb_verdict *verdict, uint64_t *stamp)
{
	const struct amb_state *st = pod->worker->env->st;
	struct dry_run dry = { pod, conn };
	uint64_t seq;
	bool again;

	do {
		seq = amb_state_read_begin(st);
		*stamp = amb_policy_stamp(st, local);
		amb_policy_check(st, local, conn, verdict, log_dry_run, &dry);
		again = amb_state_read_retry(st, seq);
		amb_state_read_end(st);
	} while (again);
	log_verdict(pod, conn, verdict->policy, amb_reason_text(verdict->reason));
}

/* Life */

static int open_listeners(struct amb_pod *pod)
{
	int orig_src = pod->worker->env->config.orig_src;
	bool transparent = orig_src != 0, all = transparent;
	int err;

	err = amb_listener_open(&pod->outbound, pod, AMB_PORT_OUTBOUND, true, &transparent,
				amb_outbound_accepted);
	all &= transparent;
	if (!err && !pod->info->ingress_mode)
		err = amb_listener_open(&pod->plain, pod, AMB_PORT_INBOUND_PLAIN, true,
					&transparent, amb_plain_accepted);
	all &= transparent;
	/* One worker's socket is enough: the kernel chooses among those that share the port. */
	if (!err && pod->info->captured && !pod->info->ingress_mode)
		err = amb_rows_listener(amb_env_bpf(pod->worker->env), pod->info->cookie,
					pod->plain.io.fd);
	/* No keepalive: HTTP/2 pings there. */
	if (!err)
		err = amb_listener_open(&pod->hbone, pod, AMB_PORT_HBONE, false, &transparent,
					amb_inbound_accepted);
	all &= transparent;
	if (!err && orig_src > 0 && !all)
		err = -EPERM;
	pod->transparent = all;
	return err ? err : amb_dns_open(pod);
}

int amb_pod_create(struct amb_worker *w, struct amb_pod_info *info)
{
	struct amb_pod *pod = calloc(1, sizeof(*pod));
	int err;

	if (!pod)
		return -ENOMEM;
	pod->share = amb_bytes_share_create(w->bytes);
	if (!pod->share) {
		free(pod);
		return -ENOMEM;
	}
	pod->worker = w;
	pod->info = amb_pod_info_get(info);
	pod->version = UINT64_MAX;
	pod->outbound.io.fd = pod->plain.io.fd = pod->hbone.io.fd = -1;
	CDS_INIT_LIST_HEAD(&pod->setups);
	CDS_INIT_LIST_HEAD(&pod->pending);
	CDS_INIT_LIST_HEAD(&pod->lives);
	CDS_INIT_LIST_HEAD(&pod->tunnels);
	cds_list_add_tail(&pod->node, &w->pods);
	amb_pool_init(&pod->pool, pod);
	err = open_listeners(pod);
	if (err) {
		amb_pod_destroy(pod, AMB_REASON_INTERNAL);
		return err;
	}
	info->in[w->index] = pod;
	amb_adopt_pod(pod);
	return 0;
}

void *amb_setup_create(struct amb_pod *pod, int fd, enum amb_direction direction, size_t size)
{
	struct amb_setup *s;

	if (!amb_pod_charge(pod)) {
		close(fd);
		return NULL;
	}
	s = calloc(1, size);
	if (!s) {
		amb_pod_uncharge(pod);
		amb_worker_reason(pod->worker, AMB_REASON_MEMORY);
		close(fd);
		return NULL;
	}
	amb_worker_count(&pod->worker->stats.open_sockets[direction], 1);
	cds_list_add_tail(&s->node, &pod->setups);
	return s;
}

static void close_listeners(struct amb_pod *pod)
{
	amb_listener_close(&pod->outbound);
	amb_listener_close(&pod->plain);
	amb_listener_close(&pod->hbone);
}

void amb_pod_destroy(struct amb_pod *pod, enum amb_reason reason)
{
	if (!pod)
		return;
	close_listeners(pod);
	amb_dns_close(pod);
	amb_pod_unwait(&pod->adopted);
	while (!cds_list_empty(&pod->setups)) {
		struct amb_setup *s = cds_list_first_entry(&pod->setups, struct amb_setup, node);

		s->abort(s, reason);
	}
	amb_live_abort_all(pod, reason);
	amb_inbound_abort_all(pod, reason);
	amb_pool_uninit(&pod->pool);
	pod->info->in[pod->worker->index] = NULL;
	cds_list_del(&pod->node);
	amb_workload_put(pod->workload);
	amb_live_policy_put(pod->policy);
	amb_pod_info_put(pod->info);
	amb_bytes_share_put(pod->share);
	free(pod->baggage);
	free(pod);
}

/* DNS goes on to the end: as long as the rules stand there is nobody else to ask. */
void amb_pod_drain(struct amb_pod *pod)
{
	close_listeners(pod);
	amb_inbound_drain(pod);
	amb_pool_drain(&pod->pool);
}

bool amb_pod_idle(struct amb_pod *pod)
{
	return cds_list_empty(&pod->setups) && cds_list_empty(&pod->pending) &&
	       cds_list_empty(&pod->lives) && cds_list_empty(&pod->tunnels);
}
