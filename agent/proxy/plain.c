// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Plaintext connections into a pod (15006, ztunnel-interop 4.10): own ports refused, policies
 * without an identity, then on to the original destination from the client's address.
 */
#include "plain.h"

#include "base/cleanup.h"
#include "base/reason.h"
#include "base/util.h"
#include "demand.h"
#include "dial.h"
#include "kernel/netns.h"
#include "kernel/rows.h"
#include "live.h"
#include "mesh/decide.h"
#include "pod.h"
#include "verdict.h"
#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct plain {
	struct amb_setup setup; /* first: amb_setup_create() */
	struct amb_pod *pod;
	int fd;
	uint64_t start_ns, version;
	struct amb_endpoint src, dst;
	struct amb_workload *local, *peer;
	struct amb_service *service;
	bool proven; /* a direct connection of @peer that came before its verdict */
	struct amb_live *live;
	struct amb_pod_waiter local_wait;
	struct amb_demand_waiter demand;
	struct amb_dial dial;
};

static void release(struct plain *p)
{
	amb_pod_unwait(&p->local_wait);
	amb_demand_cancel(&p->demand);
	amb_dial_cancel(&p->dial);
	cds_list_del(&p->setup.node);
	amb_cleanup_fd(&p->fd);
	amb_workload_put(p->local);
	amb_workload_put(p->peer);
	amb_service_put(p->service);
	free(p);
}

static void fill_flow(const struct plain *p, struct amb_flow *f)
{
	memset(f, 0, sizeof(*f));
	f->direction = AMB_INBOUND;
	f->way = p->proven ? AMB_WAY_DIRECT : AMB_WAY_PASSTHROUGH;
	f->protocol = AMB_PROTO_TCP;
	f->src = p->src;
	f->dst = f->actual = p->dst;
	f->src_workload = p->peer;
	f->dst_workload = p->local;
	f->dst_service = p->service;
	if (p->proven) {
		f->src_identity = p->peer->identity;
		f->dst_identity = p->local->identity;
	}
	f->start_ns = p->start_ns;
}

static void fail(struct plain *p, enum amb_reason reason, enum amb_flag flag, const char *text)
{
	struct amb_flow f;

	if (p->live) {
		amb_live_close(p->live, flag, reason, text);
	} else {
		fill_flow(p, &f);
		f.flag = flag;
		amb_live_failed(p->pod, &f, reason, text);
		amb_pod_uncharge(p->pod);
		amb_worker_count(&p->pod->worker->stats.open_sockets[AMB_INBOUND], -1);
	}
	release(p);
}

static void abort_setup(struct amb_setup *s, enum amb_reason reason)
{
	fail(AMB_CONTAINER_OF(s, struct plain, setup), reason, AMB_FLAG_NONE, NULL);
}

static bool judge(struct plain *p, struct amb_verdict *verdict, uint64_t *stamp)
{
	struct amb_policy_conn conn = {
		.peer = p->proven ? p->peer->identity : NULL,
		.src = p->src,
		.dst = p->dst,
	};
	const struct amb_workload *now;

	p->version = amb_state_version(p->pod->worker->env->st);
	/* As the workload is now: its list of policies may be what changed. */
	now = amb_pod_workload(p->pod);
	amb_pod_judge(p->pod, now ? now : p->local, &conn, verdict, stamp);
	return verdict->allow;
}

static void denied(struct plain *p, const struct amb_verdict *v)
{
	char text[AMB_POLICY_NAME_MAX + 64];

	snprintf(text, sizeof(text), "%s%s%s", amb_reason_text(v->reason), *v->policy ? ": " : "",
		 v->policy);
	fail(p, v->reason, AMB_FLAG_DENY, text);
}

static void connected(struct plain *p, int up)
{
	struct amb_verdict verdict;
	struct amb_relay *r;

	/* Re-judging does not see what is being set up, so an update is looked at here. */
	if (p->version != amb_state_version(p->pod->worker->env->st) &&
	    !judge(p, &verdict, &p->live->stamp)) {
		close(up);
		denied(p, &verdict);
		return;
	}
	r = amb_relay_start(p->pod->worker->bytes, p->fd, up, &amb_live_relay_ops, p->live);
	if (!r) {
		close(up);
		fail(p, AMB_REASON_MEMORY, AMB_FLAG_NONE, NULL);
		return;
	}
	amb_relay_share(r, p->pod->share);
	take_fd(&p->fd);
	amb_live_relay(take_ptr(p->live), r);
	release(p);
}

static void dial_failed(struct plain *p, int err)
{
	char text[96];

	snprintf(text, sizeof(text), "connection to the application failed: %s", strerror(-err));
	fail(p, amb_dial_reason(err), AMB_FLAG_CONNECT, text);
}

static void dialled(struct amb_dial *d, int fd)
{
	struct plain *p = AMB_CONTAINER_OF(d, struct plain, dial);

	if (fd < 0)
		dial_failed(p, fd);
	else
		connected(p, fd);
}

static void dial_app(struct plain *p)
{
	struct amb_worker *w = p->pod->worker;
	const struct amb_proxy_config *config = &w->env->config;
	bool spoof = p->pod->transparent && !amb_addr_eq(&p->src.addr, &p->dst.addr);
	struct amb_dial_to to = {
		.netns = p->pod->info->netns,
		.dst = p->dst,
		.src = spoof ? &p->src.addr : NULL,
		.transparent = true,
		.src_required = config->orig_src > 0,
		.local = true,
		.marked_back = p->pod->info->captured,
		.timeout_ns = config->dial_timeout_ns,
	};
	int fd;

	p->dial.done = dialled;
	fd = amb_dial_start(&p->dial, w->loop, &to);
	if (fd >= 0)
		connected(p, fd);
	else if (fd != -EINPROGRESS)
		dial_failed(p, fd);
}

/* Who is behind the source address, and which service the port belongs to: for telemetry. */
static void look_up(struct plain *p)
{
	const struct amb_state *st = p->pod->worker->env->st;
	struct amb_authority authority = { .kind = AMB_AUTHORITY_ADDR, .addr = p->dst };
	struct amb_inbound in;

	amb_state_read_begin(st);
	p->peer = amb_workload_get(
		amb_state_workload_by_addr(st, amb_state_network(st), &p->src.addr));
	amb_state_read_end(st);
	amb_decide_inbound(st, p->local, &p->dst, &authority, NULL, &in);
	p->service = amb_service_get(in.service);
	amb_inbound_release(&in);
}

static void classify(struct plain *p)
{
	const struct amb_env *env = p->pod->worker->env;
	const struct amb_bpf *bpf = amb_env_bpf(env);
	struct amb_verdict verdict;
	struct amb_flow f;
	uint64_t stamp;
	bool allow;

	look_up(p);
	p->proven = p->pod->info->cookie && bpf && p->peer &&
		    amb_rows_flight_proves(bpf, &p->src, &p->dst);
	allow = judge(p, &verdict, &stamp);
	if (p->pod->info->cookie)
		amb_verdict_keep(env, p->local, p->proven ? p->peer->identity : NULL, &p->src,
				 &p->dst);
	fill_flow(p, &f);
	f.policy = *verdict.policy ? verdict.policy : NULL;
	p->live = amb_live_open(p->pod, &f, stamp, false);
	if (!p->live)
		fail(p, AMB_REASON_MEMORY, AMB_FLAG_NONE, NULL);
	else if (!allow)
		denied(p, &verdict);
	else
		dial_app(p);
}

static void told(struct amb_demand_waiter *w, int err)
{
	(void)err;
	classify(AMB_CONTAINER_OF(w, struct plain, demand));
}

/* Telemetry would like to know the source: no more than a moment is spent on it. */
static void ask(struct plain *p)
{
	struct amb_worker *w = p->pod->worker;

	p->demand.fn = told;
	if (!amb_demand_source(w->env, w->loop, &p->src.addr, &p->demand))
		classify(p);
}

static void local_there(struct amb_pod_waiter *w, bool known)
{
	struct plain *p = AMB_CONTAINER_OF(w, struct plain, local_wait);

	if (!known) {
		fail(p, AMB_REASON_NO_DESTINATION, AMB_FLAG_NONE, NULL);
		return;
	}
	p->local = amb_workload_get(p->pod->workload);
	ask(p);
}

/* A program's choice of the listener leaves the address as it was; rules translate it. */
static int original_dst(struct plain *p)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (p->pod->info->captured && !getsockname(p->fd, (struct sockaddr *)&ss, &len) &&
	    !amb_endpoint_from_sockaddr((struct sockaddr *)&ss, &p->dst) &&
	    p->dst.port != AMB_PORT_INBOUND_PLAIN)
		return 0;
	return amb_netns_original_dst(p->fd, &p->dst);
}

static void start(struct plain *p)
{
	if (original_dst(p) || amb_decide_own_port(p->dst.port)) {
		fail(p, AMB_REASON_LOOP, AMB_FLAG_NONE, NULL);
		return;
	}
	p->local = amb_workload_get(amb_pod_workload(p->pod));
	if (p->local) {
		ask(p);
		return;
	}
	p->local_wait.fn = local_there;
	amb_pod_wait(p->pod, &p->local_wait);
}

void amb_plain_accepted(struct amb_pod *pod, int fd, const struct amb_endpoint *src)
{
	struct plain *p = amb_setup_create(pod, fd, AMB_INBOUND, sizeof(*p));

	if (!p)
		return;
	p->setup.abort = abort_setup;
	p->pod = pod;
	p->fd = fd;
	p->dial.io.fd = -1;
	p->start_ns = amb_util_now_ns();
	p->src = *src;
	start(p);
}
