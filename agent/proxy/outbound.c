// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Connections that a pod's applications open (15001).
 *
 * Steps: original destination, source workload (waited for), decision (what it misses is asked
 * for), name (resolved), then one of: TCP dialled and relayed, a stream in a pooled tunnel, a
 * tunnel in such a stream. One object carries a connection through them; it goes when the engine
 * has taken over, or when a step fails. It waits for one thing at a time, abort() cancels all of
 * them.
 */
#include "outbound.h"

#include "base/cleanup.h"
#include "base/reason.h"
#include "base/resolve.h"
#include "base/util.h"
#include "creds.h"
#include "demand.h"
#include "dial.h"
#include "double.h"
#include "kernel/netns.h"
#include "kernel/rows.h"
#include "live.h"
#include "mesh/baggage.h"
#include "mesh/decide.h"
#include "pod.h"
#include "pool.h"
#include "verdict.h"
#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define REFUSALS_MAX 3
#define FORWARDED_MAX 400 /* for="[v6]:port";host=253 bytes */

struct headers;

struct outbound {
	struct amb_setup setup; /* first: amb_setup_create() */
	struct amb_pod *pod;
	int fd;
	uint64_t start_ns;
	struct amb_endpoint src, dst;
	struct amb_workload *source;
	struct amb_decision decision;
	struct amb_live *live; /* from classification on */
	struct amb_pod_waiter source_wait;
	struct amb_demand_waiter demand;
	char *asked; /* the last name asked for */
	unsigned int asks;
	struct amb_resolve_waiter resolve;
	struct amb_dial dial;
	struct amb_pool_waiter pool;
	struct amb_double *inner;
	struct headers *headers; /* of @inner */
	unsigned int refusals; /* by tunnels that had room */
};

/* Header values of a CONNECT, and where they are kept until it is opened. */
struct headers {
	struct amb_stream_headers h;
	char forwarded[FORWARDED_MAX];
	char traceparent[AMB_TRACEPARENT_LEN + 1];
	char baggage[AMB_BAGGAGE_MAX];
};

static void release(struct outbound *o)
{
	amb_pod_unwait(&o->source_wait);
	amb_demand_cancel(&o->demand);
	amb_resolve_cancel(o->pod->worker->env->resolver, &o->resolve);
	amb_dial_cancel(&o->dial);
	amb_pool_cancel(&o->pool);
	amb_double_cancel(o->inner);
	cds_list_del(&o->setup.node);
	amb_cleanup_fd(&o->fd);
	amb_workload_put(o->source);
	amb_decision_release(&o->decision);
	free(o->headers);
	free(o->asked);
	free(o);
}

static void fill_flow(const struct outbound *o, struct amb_flow *f)
{
	const struct amb_decision *d = &o->decision;
	bool tunnel = d->protocol != AMB_PROTO_TCP;

	memset(f, 0, sizeof(*f));
	f->direction = AMB_OUTBOUND;
	f->way = d->way;
	f->protocol = d->protocol;
	f->src = o->src;
	f->dst = o->dst;
	f->actual = d->dial;
	f->src_workload = o->source;
	f->dst_workload = d->workload;
	f->dst_service = d->service;
	f->mtls = tunnel;
	if (tunnel)
		f->authority = d->authority;
	if (tunnel && o->source)
		f->src_identity = o->source->identity;
	if (tunnel && d->workload)
		f->dst_identity = d->workload->identity;
	f->start_ns = o->start_ns;
}

static void fail(struct outbound *o, enum amb_reason reason, enum amb_flag flag, const char *text)
{
	struct amb_worker *w = o->pod->worker;
	struct amb_flow f;

	if (o->live) {
		amb_live_close(o->live, flag, reason, text);
	} else {
		fill_flow(o, &f);
		f.flag = flag;
		amb_live_failed(o->pod, &f, reason, text);
		amb_pod_uncharge(o->pod);
		amb_worker_count(&w->stats.open_sockets[AMB_OUTBOUND], -1);
	}
	release(o);
}

static void abort_setup(struct amb_setup *s, enum amb_reason reason)
{
	fail(AMB_CONTAINER_OF(s, struct outbound, setup), reason, AMB_FLAG_NONE, NULL);
}

/* Plain TCP */

static void relay(struct outbound *o, int up)
{
	struct amb_relay *r =
		amb_relay_start(o->pod->worker->bytes, o->fd, up, &amb_live_relay_ops, o->live);

	if (!r) {
		close(up);
		fail(o, AMB_REASON_MEMORY, AMB_FLAG_NONE, NULL);
		return;
	}
	amb_relay_share(r, o->pod->share);
	take_fd(&o->fd);
	amb_live_relay(take_ptr(o->live), r);
	release(o);
}

static void dial_failed(struct outbound *o, int err)
{
	char dst[AMB_ENDPOINT_STRLEN], text[160];

	snprintf(text, sizeof(text), "connection to %s failed: %s",
		 amb_endpoint_format(&o->decision.dial, dst), strerror(-err));
	fail(o, amb_dial_reason(err), AMB_FLAG_CONNECT, text);
}

static void dialled(struct amb_dial *d, int fd)
{
	struct outbound *o = AMB_CONTAINER_OF(d, struct outbound, dial);

	if (fd < 0)
		dial_failed(o, fd);
	else
		relay(o, fd);
}

static void go_tcp(struct outbound *o)
{
	struct amb_worker *w = o->pod->worker;
	struct amb_dial_to to = {
		.netns = o->pod->info->netns,
		.dst = o->decision.dial,
		.timeout_ns = w->env->config.dial_timeout_ns,
	};
	int fd;

	o->dial.done = dialled;
	fd = amb_dial_start(&o->dial, w->loop, &to);
	if (fd >= 0)
		relay(o, fd);
	else if (fd != -EINPROGRESS)
		dial_failed(o, fd);
}

/* HBONE */

static void fill_headers(const struct outbound *o, struct headers *h)
{
	const struct amb_service *service = o->decision.service;

	memset(&h->h, 0, sizeof(h->h));
	h->h.authority = o->decision.authority;
	if (o->pod->baggage) {
		snprintf(h->baggage, sizeof(h->baggage), "%s", o->pod->baggage);
		h->h.baggage = h->baggage;
	}
	if (amb_forwarded_write(&o->src, service ? service->hostname : NULL, h->forwarded,
				sizeof(h->forwarded)))
		h->h.forwarded = h->forwarded;
	amb_traceparent_write(h->traceparent);
	h->h.traceparent = h->traceparent;
}

static void go_tunnel(struct outbound *o);

static void go_stream(struct outbound *o, struct amb_hbone *c)
{
	struct amb_stream *s;
	struct headers h;
	bool refused;

	fill_headers(o, &h);
	s = amb_stream_open(c, o->fd, &h.h, &amb_live_stream_ops, o->live);
	/* The kernel knew better whether there was room: another tunnel, then. */
	refused = !s && (errno == ESHUTDOWN || errno == ENOSPC || errno == ENOENT);
	if (refused && ++o->refusals <= REFUSALS_MAX) {
		go_tunnel(o);
		return;
	}
	if (!s) {
		fail(o, refused ? AMB_REASON_H2 : AMB_REASON_MEMORY, AMB_FLAG_CONNECT, NULL);
		return;
	}
	take_fd(&o->fd);
	amb_live_stream(take_ptr(o->live), s, true);
	release(o);
}

static void inner_open(void *ctx, struct amb_stream *inner)
{
	struct outbound *o = ctx;

	take_fd(&o->fd);
	o->inner = NULL;
	amb_live_stream(take_ptr(o->live), inner, true);
	release(o);
}

static void inner_failed(void *ctx, enum amb_reason reason, const char *text)
{
	struct outbound *o = ctx;

	o->inner = NULL;
	fail(o, reason, amb_live_flag(reason), text);
}

static void go_double(struct outbound *o, struct amb_hbone *c)
{
	struct amb_double_to to = {
		.cred = amb_hbone_cred(c),
		.expect = &o->decision.expect_inner,
		.fd = o->fd,
		.live = o->live,
		.open = inner_open,
		.failed = inner_failed,
		.ctx = o,
	};

	o->headers = malloc(sizeof(*o->headers));
	if (o->headers) {
		fill_headers(o, o->headers);
		to.outer = to.inner = o->headers->h;
		to.inner.forwarded_network = amb_state_network(o->pod->worker->env->st);
		o->inner = amb_double_start(o->pod, c, &to);
	}
	if (!o->inner)
		fail(o, AMB_REASON_MEMORY, AMB_FLAG_CONNECT, NULL);
}

static void tunnel_there(struct amb_pool_waiter *w, struct amb_hbone *c,
			 const struct amb_pool_error *err)
{
	struct outbound *o = AMB_CONTAINER_OF(w, struct outbound, pool);

	if (!c)
		fail(o, err->reason, err->flag, err->text);
	else if (o->decision.protocol == AMB_PROTO_DOUBLE_HBONE)
		go_double(o, c);
	else
		go_stream(o, c);
}

static void go_tunnel(struct outbound *o)
{
	struct amb_pool_key key = {
		.src = o->source->identity,
		.dst = o->decision.dial,
		.expect = &o->decision.expect,
		.keep = o->decision.protocol == AMB_PROTO_DOUBLE_HBONE,
	};

	o->pool.fn = tunnel_there;
	amb_pool_get(&o->pod->pool, &key, &o->pool);
}

/* Decision */

static void go(struct outbound *o)
{
	bool late = o->decision.protocol == AMB_PROTO_DOUBLE_HBONE;
	struct amb_flow f;

	/* The far side of a double tunnel is known by its answer only: told then. */
	fill_flow(o, &f);
	o->live = amb_live_open(o->pod, &f, 0, late);
	if (!o->live)
		fail(o, AMB_REASON_MEMORY, AMB_FLAG_NONE, NULL);
	else if (o->decision.protocol == AMB_PROTO_TCP)
		go_tcp(o);
	else
		go_tunnel(o);
}

static void resolved(struct amb_resolve_waiter *w, int err, const struct amb_addr *addr)
{
	struct outbound *o = AMB_CONTAINER_OF(w, struct outbound, resolve);
	char text[320];

	if (err) {
		snprintf(text, sizeof(text), "name %s: %s", o->decision.resolve,
			 err == -EBUSY ? "too many names to resolve" : "does not resolve");
		fail(o, err == -EBUSY ? AMB_REASON_LIMIT : AMB_REASON_UNKNOWN_HOST, AMB_FLAG_NONE,
		     text);
		return;
	}
	amb_decision_resolved(&o->decision, addr);
	go(o);
}

static void go_resolve(struct outbound *o)
{
	struct amb_worker *w = o->pod->worker;
	const struct amb_flow_hooks *hooks = &w->env->hooks;
	struct amb_addr addr;
	int err;

	if (hooks->resolve)
		hooks->resolve(hooks->ctx, o->source, o->decision.resolve);
	o->resolve.fn = resolved;
	err = amb_resolve(w->env->resolver, o->decision.resolve, !amb_addr_is_v4(&o->dst.addr),
			  w->loop, &o->resolve, &addr);
	if (err != -EINPROGRESS)
		resolved(&o->resolve, err, &addr);
}

/* Within the node the kernel could settle it: it gets the verdict for the next time. */
static void hand_down(const struct outbound *o)
{
	const struct amb_decision *d = &o->decision;
	struct amb_endpoint dst = { d->dial.addr, d->target_port };

	if (o->pod->info->cookie && d->way == AMB_WAY_TUNNEL && d->protocol == AMB_PROTO_HBONE &&
	    !d->via_waypoint && !d->resolve && d->workload->node == o->source->node)
		amb_verdict_keep(o->pod->worker->env, d->workload, o->source->identity, &o->src,
				 &dst);
}

static void decide(struct outbound *o);

static void not_told(struct outbound *o, int err)
{
	char text[320];

	snprintf(text, sizeof(text), "%s: %.200s: %s", amb_reason_text(AMB_REASON_NOT_TOLD),
		 o->asked, strerror(-err));
	fail(o, AMB_REASON_NOT_TOLD, AMB_FLAG_NONE, text);
}

static void told(struct amb_demand_waiter *w, int err)
{
	struct outbound *o = AMB_CONTAINER_OF(w, struct outbound, demand);

	if (err)
		not_told(o, err);
	else
		decide(o);
}

/* False when the decision misses nothing, or what it misses does not exist: it was asked for. */
static bool ask(struct outbound *o)
{
	struct amb_worker *w = o->pod->worker;
	int err;

	if (!w->env->config.demand || !o->decision.missing ||
	    (o->asked && !strcmp(o->asked, o->decision.missing)))
		return false;
	free(o->asked);
	o->asked = take_ptr(o->decision.missing);
	amb_decision_release(&o->decision);
	memset(&o->decision, 0, sizeof(o->decision));
	o->demand.fn = told;
	err = o->asks++ < AMB_DEMAND_STEPS ?
		      amb_demand_wait(w->env->config.demand, o->asked, w->loop, AMB_DEMAND_WAIT_NS,
				      &o->demand) :
		      -ELOOP;
	if (err)
		not_told(o, err);
	return true;
}

static void decide(struct outbound *o)
{
	amb_decide_outbound(o->pod->worker->env->st, o->source, &o->dst, &o->decision);
	if (ask(o))
		return;
	hand_down(o);
	if (o->decision.way == AMB_WAY_DENY)
		fail(o, o->decision.reason, AMB_FLAG_NONE, NULL);
	else if (o->decision.resolve)
		go_resolve(o);
	else
		go(o);
}

static void source_there(struct amb_pod_waiter *w, bool known)
{
	struct outbound *o = AMB_CONTAINER_OF(w, struct outbound, source_wait);

	if (!known) {
		fail(o, AMB_REASON_NO_SOURCE, AMB_FLAG_NONE, NULL);
		return;
	}
	o->source = amb_workload_get(o->pod->workload);
	decide(o);
}

/*
 * Nobody means the agent's own ports, so a connection there was not redirected, or would be
 * again and again (ztunnel-interop 4.11).
 */
static bool is_loop(int fd, const struct amb_endpoint *dst)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct amb_endpoint local;

	if (!amb_decide_own_port(dst->port))
		return false;
	if (amb_addr_is_loopback(&dst->addr))
		return true;
	if (getsockname(fd, (struct sockaddr *)&ss, &len) ||
	    amb_endpoint_from_sockaddr((struct sockaddr *)&ss, &local))
		return true;
	return amb_addr_eq(&local.addr, &dst->addr);
}

/* What the application asked for: told by the program at connect(), or by rules. */
static int original_dst(struct outbound *o)
{
	const struct amb_pod_info *info = o->pod->info;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct amb_endpoint to;

	if (info->captured && !getsockname(o->fd, (struct sockaddr *)&ss, &len) &&
	    !amb_endpoint_from_sockaddr((struct sockaddr *)&ss, &to) &&
	    !amb_rows_flight_take(amb_env_bpf(o->pod->worker->env), info->cookie, &o->src, &to,
				  &o->dst))
		return 0;
	return amb_netns_original_dst(o->fd, &o->dst);
}

static void start(struct outbound *o)
{
	int err = original_dst(o);

	if (err) {
		fail(o, AMB_REASON_LOOP, AMB_FLAG_NONE, "connection was not redirected");
		return;
	}
	if (is_loop(o->fd, &o->dst)) {
		fail(o, AMB_REASON_LOOP, AMB_FLAG_NONE, NULL);
		return;
	}
	o->source = amb_workload_get(amb_pod_workload(o->pod));
	if (o->source) {
		decide(o);
		return;
	}
	o->source_wait.fn = source_there;
	amb_pod_wait(o->pod, &o->source_wait);
}

void amb_outbound_accepted(struct amb_pod *pod, int fd, const struct amb_endpoint *src)
{
	struct outbound *o = amb_setup_create(pod, fd, AMB_OUTBOUND, sizeof(*o));

	if (!o)
		return;
	o->setup.abort = abort_setup;
	o->pod = pod;
	o->fd = fd;
	o->dial.io.fd = -1;
	o->start_ns = amb_util_now_ns();
	o->src = *src;
	start(o);
}
