// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The outbound decision (reference 5.1, 5.2, 5.4). The steps are those of the reference, in
 * its order; whatever cannot be decided is refused.
 */
#include "decide.h"

#include "base/util.h"
#include "lb.h"
#include "table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct decide {
	const struct amb_root *root;
	const struct amb_state *st;
	const struct amb_workload *src;
	const struct amb_endpoint *dst;
	struct amb_decision *out;
	bool no_memory;
};

/* What a waypoint's or gateway's address stands for. */
struct via {
	const struct amb_workload *workload;
	const struct amb_svc *svc; /* NULL when it is a workload's own address */
	uint16_t port;
};

bool amb_decide_own_port(uint16_t port)
{
	return port == AMB_PORT_OUTBOUND || port == AMB_PORT_INBOUND_PLAIN ||
	       port == AMB_PORT_HBONE;
}

static void deny(struct decide *d, enum amb_reason reason)
{
	d->out->way = AMB_WAY_DENY;
	d->out->reason = reason;
	d->out->protocol = AMB_PROTO_TCP;
	d->out->resolve = NULL;
	d->out->authority[0] = 0;
	amb_identset_clear(&d->out->expect);
	amb_identset_clear(&d->out->expect_inner);
}

char *amb_decide_name_of_addr(const char *network, const struct amb_addr *addr)
{
	char text[AMB_ADDR_STRLEN], *name;

	if (asprintf(&name, "%s/%s", network, amb_addr_format(addr, text)) < 0)
		return NULL;
	return name;
}

char *amb_decide_name_of_host(const char *ns, const char *hostname)
{
	char *name;

	return asprintf(&name, "%s/%s", ns, hostname) < 0 ? NULL : name;
}

/* The last one counts: nothing is looked for behind it. */
static void missed(struct decide *d, char *name)
{
	d->no_memory |= !name;
	free(d->out->missing);
	d->out->missing = name;
}

static void missed_addr(struct decide *d, const char *network, const struct amb_addr *addr)
{
	if (d->st->on_demand)
		missed(d, amb_decide_name_of_addr(network, addr));
}

static void missed_host(struct decide *d, const struct amb_gateway *gw)
{
	if (d->st->on_demand)
		missed(d, amb_decide_name_of_host(gw->ns, gw->hostname));
}

static void pass(struct decide *d, enum amb_reason reason, const struct amb_service *s)
{
	d->out->way = AMB_WAY_PASSTHROUGH;
	d->out->reason = reason;
	d->out->dial = *d->dst;
	d->out->service = amb_service_get(s);
}

static bool family_ok(const struct amb_service *s, bool v4)
{
	if (!s || s->families == AMB_IPF_AUTO || s->families == AMB_IPF_DUAL)
		return true;
	return v4 == (s->families == AMB_IPF_V4);
}

/*
 * The address of a chosen workload: the one that was dialled when it is the workload's own,
 * else one of the families the service allows, of the same family as the original rather
 * than of the other.
 */
static const struct amb_addr *pick_addr(const struct amb_workload *w, const struct amb_service *s,
					const struct amb_addr *dst)
{
	const struct amb_addr *best = NULL;
	bool want4 = amb_addr_is_v4(dst), best_same = false;
	uint32_t n = 0, i;

	if (amb_workload_has_addr(w, dst))
		return dst;
	for (i = 0; i < w->naddrs; i++) {
		bool v4 = amb_addr_is_v4(&w->addrs[i]), same = v4 == want4;

		if (!family_ok(s, v4) || (best_same && !same))
			continue;
		if (same && !best_same) {
			best_same = true;
			n = 0;
		}
		if (!n++ || !(amb_util_random() % n))
			best = &w->addrs[i];
	}
	return best;
}

static int expect(struct amb_identset *set, const struct amb_workload *w,
		  const struct amb_service *s)
{
	uint32_t i;

	if (w && amb_identset_add(set, w->identity))
		return -ENOMEM;
	for (i = 0; s && i < s->nsan_ids; i++) {
		if (amb_identset_add(set, s->san_ids[i]))
			return -ENOMEM;
	}
	return 0;
}

/* Where to dial @w on @port. False when it has neither address nor name. */
static bool dial(struct decide *d, const struct amb_workload *w, const struct amb_service *s,
		 uint16_t port)
{
	const struct amb_addr *a = pick_addr(w, s, &d->dst->addr);

	d->out->dial.port = port;
	if (a)
		d->out->dial.addr = *a;
	else if (*w->hostname)
		d->out->resolve = w->hostname;
	else
		return false;
	return true;
}

/* 5.4, and the gateways of step 9: by name or by address, a service before a workload. */
static bool resolve(struct decide *d, const struct amb_gateway *gw, struct via *via)
{
	const struct amb_bucket *b;
	const struct amb_service *s;

	*via = (struct via){ .port = gw->port ? gw->port : AMB_PORT_HBONE };
	if (gw->by_host) {
		via->svc = amb_table_svc_host(d->root, gw->ns, gw->hostname);
		if (via->svc && !via->svc->service)
			via->svc = NULL;
		if (!via->svc) {
			b = amb_table_bucket(d->root, AMB_INDEX_WL_HOST, gw->hostname, "");
			via->workload = b ? b->p[0] : NULL;
			if (!via->workload)
				missed_host(d, gw);
			return via->workload;
		}
	} else {
		s = amb_table_vip(d->root, gw->network, &gw->addr, NULL);
		if (!s) {
			via->workload = amb_table_addr(d->root, gw->network, &gw->addr);
			if (!via->workload)
				missed_addr(d, gw->network, &gw->addr);
			return via->workload;
		}
		via->svc = amb_table_svc(d->root, s->key);
	}
	via->workload = amb_lb_pick(via->svc, d->src, via->port, AMB_LB_WAYPOINT, &via->port);
	return via->workload;
}

/* Step 9: through the gateway of @w's network; inside, to the service by its name. */
static void to_gateway(struct decide *d, const struct amb_workload *w, const struct amb_service *s)
{
	struct via gw;
	int n;

	if (!s || !w->network_gateway.set || !resolve(d, &w->network_gateway, &gw)) {
		deny(d, AMB_REASON_NO_GATEWAY);
		return;
	}
	if (!dial(d, gw.workload, gw.svc ? gw.svc->service : NULL, gw.port)) {
		deny(d, AMB_REASON_NO_ADDRESS);
		return;
	}
	n = snprintf(d->out->authority, sizeof(d->out->authority), "%s:%u", s->hostname,
		     d->dst->port);
	if (n < 0 || n >= (int)sizeof(d->out->authority)) {
		deny(d, AMB_REASON_UNKNOWN_HOST);
		return;
	}
	if (expect(&d->out->expect, gw.workload, gw.svc ? gw.svc->service : NULL) ||
	    expect(&d->out->expect_inner, NULL, s)) {
		deny(d, AMB_REASON_MEMORY);
		return;
	}
	d->out->way = AMB_WAY_TUNNEL;
	d->out->reason = AMB_REASON_REMOTE_NETWORK;
	d->out->protocol = AMB_PROTO_DOUBLE_HBONE;
	d->out->target_port = d->dst->port;
	d->out->workload = amb_workload_get(gw.workload);
}

static void to_waypoint(struct decide *d, const struct via *wp, enum amb_reason reason)
{
	const struct amb_service *s = wp->svc ? wp->svc->service : NULL;

	if (!dial(d, wp->workload, s, wp->port)) {
		deny(d, AMB_REASON_NO_ADDRESS);
		return;
	}
	if (expect(&d->out->expect, wp->workload, s)) {
		deny(d, AMB_REASON_MEMORY);
		return;
	}
	amb_endpoint_format(d->dst, d->out->authority);
	d->out->way = AMB_WAY_TUNNEL;
	d->out->reason = reason;
	d->out->protocol = AMB_PROTO_HBONE;
	d->out->target_port = d->dst->port;
	d->out->workload = amb_workload_get(wp->workload);
	d->out->via_waypoint = true;
}

static void set_authority(struct amb_decision *out)
{
	struct amb_endpoint e = { out->dial.addr, out->target_port };

	amb_endpoint_format(&e, out->authority);
}

static void direct(struct decide *d, const struct amb_workload *w, const struct amb_service *s,
		   uint16_t port, enum amb_reason reason)
{
	bool hbone = w->tunnel == AMB_TUNNEL_HBONE;

	if (!dial(d, w, s, hbone ? AMB_PORT_HBONE : port)) {
		deny(d, AMB_REASON_NO_ADDRESS);
		return;
	}
	d->out->target_port = port;
	d->out->workload = amb_workload_get(w);
	if (!hbone) {
		d->out->way = AMB_WAY_PASSTHROUGH;
		d->out->reason = AMB_REASON_PLAIN_WORKLOAD;
		return;
	}
	if (expect(&d->out->expect, w, s)) {
		deny(d, AMB_REASON_MEMORY);
		return;
	}
	d->out->way = AMB_WAY_TUNNEL;
	d->out->reason = reason;
	d->out->protocol = AMB_PROTO_HBONE;
	if (!d->out->resolve)
		set_authority(d->out);
}

/* The waypoint of a service: one of the weighted ones, else the plain one; NULL without. */
static const struct amb_gateway *service_waypoint(const struct amb_service *s)
{
	const struct amb_gateway *best = NULL;
	uint64_t total = 0;
	uint32_t i;

	for (i = 0; i < s->nwaypoints; i++) {
		uint32_t weight = s->waypoints[i].weight;

		total += weight;
		if (weight && amb_util_random() % total < weight)
			best = &s->waypoints[i].gw;
	}
	if (best)
		return best;
	/* Weights that are all zero name a waypoint all the same: it must not be left out. */
	if (s->nwaypoints && !s->waypoint.set)
		return &s->waypoints[0].gw;
	return s->waypoint.set ? &s->waypoint : NULL;
}

/* True when the source is (a replica of) the waypoint itself. */
static bool is_self(const struct decide *d, const struct via *wp)
{
	uint32_t i;

	if (wp->workload->identity != d->src->identity)
		return false;
	for (i = 0; i < d->src->naddrs; i++) {
		if (amb_workload_has_addr(wp->workload, &d->src->addrs[i]))
			return true;
	}
	return wp->svc && amb_table_ports(d->src, wp->svc->key);
}

static void to_workload(struct decide *d, const struct amb_workload *w, const struct amb_service *s,
			uint16_t port)
{
	enum amb_reason reason = s ? AMB_REASON_SERVICE : AMB_REASON_WORKLOAD;
	struct via wp;

	if (w->network != d->src->network) {
		to_gateway(d, w, s);
		return;
	}
	if (!s && w->waypoint.set) {
		if (!resolve(d, &w->waypoint, &wp)) {
			deny(d, AMB_REASON_NO_WAYPOINT);
			return;
		}
		if (!is_self(d, &wp)) {
			if (wp.workload->network != d->src->network)
				to_gateway(d, wp.workload, NULL);
			else
				to_waypoint(d, &wp, AMB_REASON_WORKLOAD_WAYPOINT);
			return;
		}
		reason = AMB_REASON_OWN_WAYPOINT;
	}
	direct(d, w, s, port, reason);
}

static void to_service(struct decide *d, const struct amb_service *s)
{
	const struct amb_workload *w;
	const struct amb_svc *svc;
	uint16_t port;
	bool known;

	if (s->mode == AMB_LB_PASSTHROUGH) {
		pass(d, AMB_REASON_SERVICE_PASSTHROUGH, s);
		return;
	}
	d->out->service = amb_service_get(s);
	svc = amb_table_svc(d->root, s->key);
	w = amb_lb_pick(svc, d->src, d->dst->port, AMB_LB_TRAFFIC, &port);
	if (!w) {
		amb_table_target(s->ports, d->dst->port, &known);
		deny(d, known ? AMB_REASON_NO_ENDPOINT : AMB_REASON_NO_PORT);
		return;
	}
	to_workload(d, w, s, port);
}

static void decide(struct decide *d)
{
	const char *ns = d->src->ns;
	const struct amb_addr *addr = &d->dst->addr;
	const struct amb_workload *w;
	const struct amb_service *s = NULL;
	const struct amb_gateway *gw;
	struct via wp;

	/* Steps 3 and 4: an address that is a workload's has no service waypoint. */
	if (!amb_table_addr(d->root, d->st->network, addr))
		s = amb_table_vip(d->root, d->st->network, addr, ns);
	gw = s ? service_waypoint(s) : NULL;
	if (gw) {
		d->out->service = amb_service_get(s);
		if (!resolve(d, gw, &wp))
			deny(d, AMB_REASON_NO_WAYPOINT);
		else if (wp.workload->network != d->src->network)
			to_gateway(d, wp.workload, s);
		else
			to_waypoint(d, &wp, AMB_REASON_SERVICE_WAYPOINT);
		return;
	}
	/* Steps 5 and 6: now the service comes first. */
	if (!s || d->src->network != d->st->network)
		s = amb_table_vip(d->root, d->src->network, addr, ns);
	if (s) {
		to_service(d, s);
		return;
	}
	w = amb_table_addr(d->root, d->src->network, addr);
	if (w) {
		to_workload(d, w, NULL, d->dst->port);
		return;
	}
	missed_addr(d, d->src->network, addr);
	pass(d, AMB_REASON_NOT_IN_MESH, NULL);
}

struct endpoints {
	const struct amb_service *s;
	const struct amb_addr *vip;
	amb_decide_endpoint_fn *fn;
	void *ctx;
};

static bool endpoint(void *ctx, const struct amb_workload *w, uint16_t port)
{
	const struct endpoints *e = ctx;

	return e->fn(e->ctx, w, pick_addr(w, e->s, e->vip), port);
}

bool amb_decide_endpoints(const struct amb_state *st, const struct amb_workload *src,
			  const struct amb_service *s, const struct amb_addr *vip, uint16_t port,
			  amb_decide_endpoint_fn *fn, void *ctx)
{
	const struct amb_svc *svc = amb_table_svc(amb_table_root(st), s->key);
	struct endpoints e = { s, vip, fn, ctx };

	return !svc || svc->service != s || amb_lb_each(svc, src, port, endpoint, &e);
}

void amb_decide_outbound(const struct amb_state *st, const struct amb_workload *src,
			 const struct amb_endpoint *dst, struct amb_decision *out)
{
	struct decide d = { .st = st, .src = src, .dst = dst, .out = out };

	memset(out, 0, sizeof(*out));
	if (!src) {
		deny(&d, AMB_REASON_NO_SOURCE);
		return;
	}
	if (amb_addr_is_loopback(&dst->addr) && amb_decide_own_port(dst->port)) {
		deny(&d, AMB_REASON_LOOP);
		return;
	}
	amb_rcu_read_lock();
	d.root = amb_table_root(st);
	decide(&d);
	amb_rcu_read_unlock();
	if (d.no_memory)
		deny(&d, AMB_REASON_MEMORY);
}

void amb_decision_resolved(struct amb_decision *d, const struct amb_addr *addr)
{
	d->dial.addr = *addr;
	d->resolve = NULL;
	if (d->protocol == AMB_PROTO_HBONE && !d->authority[0])
		set_authority(d);
}

void amb_decision_release(struct amb_decision *d)
{
	amb_identset_clear(&d->expect);
	amb_identset_clear(&d->expect_inner);
	amb_workload_put(d->workload);
	amb_service_put(d->service);
	d->workload = NULL;
	d->service = NULL;
	d->resolve = NULL;
	free(d->missing);
	d->missing = NULL;
}
