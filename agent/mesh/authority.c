// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an inbound tunnel asks for: its authority read, and made into a target of this
 * workload or a refusal (reference 4.4, 4.5).
 */
#include "decide.h"

#include "base/util.h"
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

int amb_authority_parse(const char *text, size_t len, struct amb_authority *out)
{
	struct amb_authority a = { .kind = AMB_AUTHORITY_HOST };
	char buf[AMB_AUTHORITY_MAX];
	char *colon;
	size_t i;

	if (len >= sizeof(buf) || memchr(text, 0, len))
		return -EINVAL;
	memcpy(buf, text, len);
	buf[len] = 0;
	if (!amb_endpoint_parse(buf, &a.addr)) {
		a.kind = AMB_AUTHORITY_ADDR;
		*out = a;
		return 0;
	}
	colon = strchr(buf, ':');
	if (!colon || colon == buf || amb_util_parse_port(colon + 1, &a.addr.port))
		return -EINVAL;
	*colon = 0;
	for (i = 0; buf[i]; i++) {
		char c = buf[i];

		if (c >= 'A' && c <= 'Z')
			c += 'a' - 'A';
		if (!host_char(c))
			return -EINVAL;
		a.host[i] = c;
	}
	*out = a;
	return 0;
}

struct inbound {
	const struct amb_state *st;
	const struct amb_root *root;
	const struct amb_workload *local;
	const struct amb_endpoint *conn;
	struct amb_inbound *out;
	bool no_memory;
};

/* The first one counts: it is asked for, and then the next is the first. */
static void missed(struct inbound *in, const char *ns, const char *host,
		   const struct amb_addr *addr)
{
	if (!in->st->on_demand || in->out->missing)
		return;
	in->out->missing = host ? amb_decide_name_of_host(ns, host) :
				  amb_decide_name_of_addr(ns, addr);
	in->no_memory |= !in->out->missing;
}

/* True when @gw means this workload: its waypoint service, or one of its addresses. */
static bool points_here(struct inbound *in, const struct amb_gateway *gw)
{
	const struct amb_workload *local = in->local;
	const struct amb_addr *conn = &in->conn->addr;
	const struct amb_root *r = in->root;
	const struct amb_workload *w;
	const struct amb_bucket *b;
	const struct amb_svc *svc;
	uint32_t i;

	if (!gw->set)
		return false;
	if (gw->by_host) {
		svc = amb_table_svc_host(r, gw->ns, gw->hostname);
		if (svc && svc->service)
			return amb_table_ports(local, svc->key);
		b = amb_table_bucket(r, AMB_INDEX_WL_HOST, gw->hostname, "");
		w = b ? b->p[0] : NULL;
		if (!w)
			missed(in, gw->ns, gw->hostname, NULL);
		return w && amb_workload_has_addr(w, conn);
	}
	b = amb_table_vips(r, gw->network, &gw->addr);
	for (i = 0; b && i < b->n; i++) {
		const struct amb_service *s = b->p[i];

		if (amb_table_ports(local, s->key))
			return true;
	}
	w = amb_table_addr(r, gw->network, &gw->addr);
	if (!w && !b)
		missed(in, gw->network, NULL, &gw->addr);
	return w && amb_workload_has_addr(w, conn);
}

/* True when the workload or service at @addr has this workload as its waypoint. */
static bool sandwiched(struct inbound *in, const struct amb_addr *addr)
{
	const struct amb_workload *local = in->local;
	const struct amb_root *r = in->root;
	const struct amb_workload *w = amb_table_addr(r, local->network, addr);
	const struct amb_service *s;
	uint32_t i;

	if (w)
		return points_here(in, &w->waypoint);
	s = amb_table_vip(r, local->network, addr, NULL);
	if (!s) {
		missed(in, local->network, NULL, addr);
		return false;
	}
	for (i = 0; i < s->nwaypoints; i++) {
		if (points_here(in, &s->waypoints[i].gw))
			return true;
	}
	return points_here(in, &s->waypoint);
}

static const struct amb_service *by_host(const struct amb_state *st, const struct amb_root *r,
					 const char *host, const char *ns)
{
	const struct amb_bucket *b = amb_table_bucket(r, AMB_INDEX_SVC_HOST, host, "");
	const struct amb_service *best = NULL;
	int best_rank = -1;
	uint32_t i;

	for (i = 0; b && i < b->n; i++) {
		const struct amb_service *s = b->p[i];
		int rank =
			(s->ns == ns) * 4 + s->canonical * 2 + (s->ns == st->prefer_ns && *s->ns);

		if (rank > best_rank) {
			best = s;
			best_rank = rank;
		}
	}
	return best;
}

static uint16_t target_of(const struct amb_service *s, const struct amb_ports *ports, uint16_t port)
{
	uint16_t target = amb_table_target(ports, port, NULL);

	return target ? target : amb_table_target(s->ports, port, NULL);
}

/* The VIP told to the application tunnel: own network first, IPv4 first. */
static const struct amb_addr *best_vip(const struct amb_service *s, const char *network)
{
	const struct amb_addr *best = NULL;
	int best_rank = -1;
	uint32_t i;

	for (i = 0; i < s->nvips; i++) {
		const struct amb_vip *v = &s->vips[i];
		bool v4 = amb_addr_is_v4(&v->addr);
		int rank = (v->network == network) * 2 + v4;

		if (v->bits == (v4 ? 32 : 128) && rank > best_rank) {
			best = &v->addr;
			best_rank = rank;
		}
	}
	return best;
}

/* Who was meant, for telemetry: the name that was forwarded, else who has such a target. */
static const struct amb_service *guess(const struct amb_root *r, const struct amb_workload *local,
				       const char *host, uint16_t port)
{
	uint32_t i, j;

	for (i = 0; host && i < local->nservices; i++) {
		const struct amb_svc *svc = amb_table_svc(r, local->services[i].service);

		if (svc && svc->service && !strcmp(svc->service->hostname, host))
			return svc->service;
	}
	for (i = 0; i < local->nservices; i++) {
		const struct amb_svc *svc = amb_table_svc(r, local->services[i].service);
		const struct amb_ports *own = local->services[i].ports;

		if (!svc || !svc->service)
			continue;
		for (j = 0; j < own->n; j++) {
			if (own->p[j].target == port)
				return svc->service;
		}
		for (j = 0; j < svc->service->ports->n; j++) {
			if (svc->service->ports->p[j].target == port)
				return svc->service;
		}
	}
	return NULL;
}

static void refuse(struct amb_inbound *out, int status, enum amb_reason reason)
{
	out->status = status;
	out->reason = reason;
}

static void decide(struct inbound *in, const struct amb_authority *a, const char *forwarded)
{
	const struct amb_workload *local = in->local;
	const struct amb_endpoint *conn = in->conn;
	const struct amb_root *r = in->root;
	struct amb_inbound *out = in->out;
	const struct amb_service *s = NULL;
	const struct amb_addr *vip = NULL;
	uint16_t port = a->addr.port;

	if (a->kind == AMB_AUTHORITY_HOST) {
		s = by_host(in->st, r, a->host, local->ns);
		if (!s) {
			missed(in, local->ns, a->host, NULL);
			refuse(out, 503, AMB_REASON_UNKNOWN_HOST);
			return;
		}
		port = target_of(s, amb_table_ports(local, s->key), port);
		vip = best_vip(s, local->network);
		if (local->app_tunnel_proxy && !vip) {
			refuse(out, 503, AMB_REASON_NO_ADDRESS);
			return;
		}
	} else if (!amb_addr_eq(&a->addr.addr, &conn->addr) && !local->app_tunnel &&
		   !sandwiched(in, &a->addr.addr)) {
		refuse(out, 400, AMB_REASON_WRONG_ADDRESS);
		return;
	}
	if (local->app_tunnel_port)
		port = local->app_tunnel_port;
	if (!port) {
		refuse(out, 503, AMB_REASON_NO_PORT);
		return;
	}
	if (amb_decide_own_port(port)) {
		refuse(out, 503, AMB_REASON_LOOP);
		return;
	}
	out->status = 200;
	out->target = (struct amb_endpoint){ conn->addr, port };
	out->proxy = local->app_tunnel_proxy;
	out->proxy_dst = (struct amb_endpoint){ vip ? *vip : a->addr.addr, a->addr.port };
	out->service = amb_service_get(s ? s : guess(r, local, forwarded, port));
}

void amb_decide_inbound(const struct amb_state *st, const struct amb_workload *local,
			const struct amb_endpoint *conn_dst, const struct amb_authority *authority,
			const char *forwarded_host, struct amb_inbound *out)
{
	struct inbound in = { .st = st, .local = local, .conn = conn_dst, .out = out };

	memset(out, 0, sizeof(*out));
	if (!local) {
		refuse(out, 503, AMB_REASON_NO_DESTINATION);
		return;
	}
	amb_rcu_read_lock();
	in.root = amb_table_root(st);
	decide(&in, authority, forwarded_host);
	amb_rcu_read_unlock();
	if (in.no_memory)
		refuse(out, 503, AMB_REASON_MEMORY);
}

void amb_inbound_release(struct amb_inbound *in)
{
	amb_service_put(in->service);
	in->service = NULL;
	free(in->missing);
	in->missing = NULL;
}
