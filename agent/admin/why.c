// SPDX-License-Identifier: GPL-2.0-or-later
/* What would happen to a connection, and why: asked of the same code that decides. */
#include "why.h"

#include "shape.h"

#include "base/reason.h"
#include "base/util.h"
#include "mesh/decide.h"
#include "mesh/policy.h"
#include "mesh/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A name or an address looked up; references. */
struct found {
	struct amb_workload *workload;
	struct amb_service *service;
	struct amb_addr addr;
	bool has_addr;
};

struct search {
	const char *ns, *name;
	size_t nslen;
	const struct amb_workload *workload;
	const struct amb_service *service;
};

static void found_clear(struct found *f)
{
	amb_workload_put(f->workload);
	amb_service_put(f->service);
	memset(f, 0, sizeof(*f));
}

static bool equal(const char *s, const char *part, size_t n)
{
	return strlen(s) == n && !memcmp(s, part, n);
}

static bool match_workload(void *ctx, const struct amb_workload *w)
{
	struct search *s = ctx;

	if (!equal(w->ns, s->ns, s->nslen) || strcmp(w->name, s->name))
		return true;
	s->workload = w;
	return false;
}

/* By hostname, or by its short name when the namespace fits. */
static bool match_service(void *ctx, const struct amb_service *svc)
{
	struct search *s = ctx;
	bool ns = !s->ns || equal(svc->ns, s->ns, s->nslen);

	if (!ns || (strcasecmp(svc->hostname, s->name) && (!s->ns || strcmp(svc->name, s->name))))
		return true;
	s->service = svc;
	return false;
}

static bool find_name(const struct amb_state *st, const char *text, struct search *s)
{
	const char *slash = strchr(text, '/'), *dot = strrchr(text, '.');
	char name[256];

	memset(s, 0, sizeof(*s));
	if (slash) {
		s->ns = text;
		s->nslen = slash - text;
		s->name = slash + 1;
		amb_state_each_workload(st, match_workload, s);
		if (!s->workload)
			amb_state_each_service(st, match_service, s);
		return s->workload || s->service;
	}
	s->name = text;
	amb_state_each_service(st, match_service, s);
	if (!s->service && dot && (size_t)(dot - text) < sizeof(name)) {
		memcpy(name, text, dot - text);
		name[dot - text] = 0;
		s->ns = dot + 1;
		s->nslen = strlen(s->ns);
		s->name = name;
		amb_state_each_service(st, match_service, s);
		s->name = NULL;
	}
	return s->service;
}

static bool first_vip(const struct amb_service *s, struct amb_addr *out)
{
	uint32_t i;

	for (i = 0; i < s->nvips; i++) {
		if (s->vips[i].bits != (amb_addr_is_v4(&s->vips[i].addr) ? 32 : 128))
			continue;
		*out = s->vips[i].addr;
		return true;
	}
	return false;
}

/* Between read_begin and read_end. */
static void find(const struct amb_state *st, const char *text, struct found *f)
{
	struct search s = { 0 };

	memset(f, 0, sizeof(*f));
	if (!amb_addr_parse(text, &f->addr)) {
		const char *network = amb_state_network(st);

		f->has_addr = true;
		s.workload = amb_state_workload_by_addr(st, network, &f->addr);
		if (!s.workload)
			s.service = amb_state_service_by_vip(st, network, &f->addr, "");
	} else if (find_name(st, text, &s)) {
		if (s.workload && s.workload->naddrs) {
			f->addr = s.workload->addrs[0];
			f->has_addr = true;
		} else if (s.service) {
			f->has_addr = first_vip(s.service, &f->addr);
		}
	}
	f->workload = s.workload ? amb_workload_get(s.workload) : NULL;
	f->service = s.service ? amb_service_get(s.service) : NULL;
}

static json_t *endpoint(const struct amb_endpoint *e)
{
	char text[AMB_ENDPOINT_STRLEN];

	return json_string(amb_endpoint_format(e, text));
}

static json_t *workload(const struct amb_workload *w)
{
	if (!w)
		return json_null();
	return json_pack("{s:o,s:o,s:o}", "name", json_sprintf("%s/%s", w->ns, w->name), "uid",
			 amb_shape_string(w->uid), "identity",
			 amb_shape_string(w->identity ? w->identity->spiffe : ""));
}

static json_t *identities(const struct amb_identset *set)
{
	json_t *a = json_array();
	uint32_t i;

	for (i = 0; i < set->n; i++)
		json_array_append_new(a, json_string(amb_identset_at(set, i)->spiffe));
	return a;
}

static json_t *address(const struct amb_addr *a)
{
	char text[AMB_ADDR_STRLEN];

	return json_string(amb_addr_format(a, text));
}

static void set_decision(json_t *o, const struct amb_decision *d)
{
	static const char *const protocols[] = {
		[AMB_PROTO_TCP] = "TCP",
		[AMB_PROTO_HBONE] = "HBONE",
		[AMB_PROTO_DOUBLE_HBONE] = "DOUBLEHBONE",
	};

	json_object_set_new(o, "way", json_string(amb_reason_way_text(d->way)));
	json_object_set_new(o, "reason", json_string(amb_reason_text(d->reason)));
	/* Unless the control plane, once asked, knows of it. */
	if (d->missing)
		json_object_set_new(o, "missing", amb_shape_string(d->missing));
	if (d->way == AMB_WAY_DENY)
		return;
	json_object_set_new(o, "protocol", json_string(protocols[d->protocol]));
	json_object_set_new(o, "dial", endpoint(&d->dial));
	if (d->resolve)
		json_object_set_new(o, "resolve", amb_shape_string(d->resolve));
	if (*d->authority)
		json_object_set_new(o, "authority", amb_shape_string(d->authority));
	json_object_set_new(o, "expect", identities(&d->expect));
	if (d->protocol == AMB_PROTO_DOUBLE_HBONE)
		json_object_set_new(o, "expectInner", identities(&d->expect_inner));
	json_object_set_new(o, "viaWaypoint", json_boolean(d->via_waypoint));
	json_object_set_new(o, "workload", workload(d->workload));
	json_object_set_new(o, "service",
			    d->service ? amb_shape_string(d->service->key) : json_null());
}

static void add_dry(void *ctx, const char *policy, bool deny)
{
	json_array_append_new(ctx, json_pack("{s:s,s:b}", "policy", policy, "deny", deny));
}

/* What the destination's own policies say: of the waypoint, where one stands between. */
static void set_policy(const struct amb_state *st, json_t *o, const struct found *src,
		       const struct amb_decision *d)
{
	struct amb_policy_conn conn = { .dst = d->dial };
	json_t *dry = json_array(), *p;
	struct amb_authority authority;
	struct amb_verdict v;
	uint32_t i;

	if (d->protocol != AMB_PROTO_TCP) {
		conn.peer = src->workload->identity;
		if (amb_authority_parse(d->authority, strlen(d->authority), &authority) ||
		    authority.kind != AMB_AUTHORITY_ADDR) {
			json_decref(dry);
			return;
		}
		conn.dst = authority.addr;
	}
	conn.src.addr = src->addr;
	for (i = 0; i < src->workload->naddrs; i++) {
		if (amb_addr_is_v4(&src->workload->addrs[i]) == amb_addr_is_v4(&conn.dst.addr))
			conn.src.addr = src->workload->addrs[i];
	}
	amb_state_read_begin(st);
	amb_policy_check(st, d->workload, &conn, &v, add_dry, dry);
	amb_state_read_end(st);
	p = json_object();
	json_object_set_new(p, "allow", json_boolean(v.allow));
	json_object_set_new(p, "reason", json_string(amb_reason_text(v.reason)));
	if (*v.policy)
		json_object_set_new(p, "policy", amb_shape_string(v.policy));
	json_object_set_new(p, "target", endpoint(&conn.dst));
	json_object_set_new(p, "peer", json_string(conn.peer ? conn.peer->spiffe : ""));
	if (json_array_size(dry))
		json_object_set_new(p, "dryRun", dry);
	else
		json_decref(dry);
	json_object_set_new(o, "policy", p);
}

json_t *amb_why(const struct amb_state *st, const char *src, const char *dst, const char *port,
		char *err, size_t errlen)
{
	struct found from, to;
	struct amb_endpoint target;
	struct amb_decision d;
	json_t *o = NULL;

	if (amb_util_parse_port(port, &target.port)) {
		snprintf(err, errlen, "port \"%s\": not a number from 1 to 65535", port);
		return NULL;
	}
	amb_state_read_begin(st);
	find(st, src, &from);
	find(st, dst, &to);
	amb_state_read_end(st);
	if (!from.workload) {
		snprintf(err, errlen, "source \"%s\": no such workload is known", src);
	} else if (!to.has_addr) {
		snprintf(err, errlen, "destination \"%s\": %s", dst,
			 to.workload || to.service ? "it has no address; name one of its pods" :
						     "no such workload or service is known");
	} else {
		target.addr = to.addr;
		amb_decide_outbound(st, from.workload, &target, &d);
		o = json_object();
		json_object_set_new(o, "source", workload(from.workload));
		json_object_set_new(o, "sourceAddress", address(&from.addr));
		json_object_set_new(o, "destination", endpoint(&target));
		set_decision(o, &d);
		/* A workload that does not speak HBONE has no agent that would enforce anything. */
		if (d.way != AMB_WAY_DENY && d.workload && !d.via_waypoint &&
		    d.workload->tunnel == AMB_TUNNEL_HBONE)
			set_policy(st, o, &from, &d);
		amb_decision_release(&d);
	}
	found_clear(&from);
	found_clear(&to);
	return o;
}
