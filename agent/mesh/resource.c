// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Workload API resources become workloads and services, checked as ztunnel checks them
 * (reference 1.7): what it would refuse is refused, with the field's name in the reason.
 * Each object is one allocation, its arrays behind it.
 */
#include "table.h"

#include "workload.pb-c.h"

#include "base/util.h"
#include "policy_set.h"
#include "str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRUST_DOMAIN "cluster.local"
#define SERVICE_ACCOUNT "default"
#define CLUSTER "Kubernetes"

/* Room behind an object, cut off in order of falling alignment. */
struct tail {
	char *at;
};

static void *cut(struct tail *t, size_t size)
{
	void *p = t->at;

	t->at += size;
	return p;
}

AMB_PRINTF(2, 3) static int refuse(char *reason, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, AMB_RESOURCE_REASON, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* Length of the UTF-8 sequence at @p, 0 when there is no valid one (prost refuses those). */
static size_t utf8_len(const unsigned char *p)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4, i;

	if (p[0] > 0xf4)
		return 0;
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

bool amb_resource_text_ok(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	while (*p) {
		size_t n = utf8_len(p);

		if (!n || *p < ' ' || *p == 0x7f)
			return false;
		p += n;
	}
	return p - (const unsigned char *)text < AMB_RESOURCE_TEXT;
}

static int take(amb_str *out, const char *text, const char *field, char *reason)
{
	if (!amb_resource_text_ok(text))
		return refuse(reason, "%s: not a text, or too long", field);
	*out = amb_str_intern(text, strlen(text));
	return *out ? 0 : -ENOMEM;
}

static int take_port(uint16_t *out, uint32_t port, const char *field, char *reason)
{
	if (port > UINT16_MAX)
		return refuse(reason, "%s: %u is not a port", field, port);
	*out = port;
	return 0;
}

static int take_addr(struct amb_addr *out, const ProtobufCBinaryData *b, const char *field,
		     char *reason)
{
	if (amb_addr_from_bytes(b->data, b->len, out))
		return refuse(reason, "%s: address of %zu bytes", field, b->len);
	return 0;
}

static int take_gateway(struct amb_gateway *gw, const Istio__Workload__GatewayAddress *m,
			const char *field, char *reason)
{
	int err;

	if (!m)
		return 0;
	gw->set = true;
	err = take_port(&gw->port, m->hbone_mtls_port, field, reason);
	if (err)
		return err;
	switch (m->destination_case) {
	case ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_HOSTNAME:
		gw->by_host = true;
		err = take(&gw->ns, m->hostname->namespace_, field, reason);
		return err ? err : take(&gw->hostname, m->hostname->hostname, field, reason);
	case ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_ADDRESS:
		err = take(&gw->network, m->address->network, field, reason);
		return err ? err : take_addr(&gw->addr, &m->address->address, field, reason);
	default:
		return refuse(reason, "%s: neither hostname nor address", field);
	}
}

static void gateway_free(struct amb_gateway *gw)
{
	amb_str_put(gw->ns);
	amb_str_put(gw->hostname);
	amb_str_put(gw->network);
}

/* Texts are never NULL; the empty one always exists. */
static void gateway_fill(struct amb_gateway *gw)
{
	if (!gw->ns)
		gw->ns = amb_str_intern("", 0);
	if (!gw->hostname)
		gw->hostname = amb_str_intern("", 0);
	if (!gw->network)
		gw->network = amb_str_intern("", 0);
}

static size_t ports_size(size_t n)
{
	/* rounded, so that the next list is aligned too */
	return (sizeof(struct amb_ports) + n * sizeof(struct amb_port) + 3) & ~(size_t)3;
}

static int port_cmp(const void *a, const void *b)
{
	const struct amb_port *x = a, *y = b;

	return (x->service > y->service) - (x->service < y->service);
}

static int take_ports(struct amb_ports *ports, Istio__Workload__Port **m, size_t n,
		      const char *field, char *reason)
{
	size_t i, j;

	for (i = 0; i < n; i++) {
		struct amb_port p = { 0 };
		int err = take_port(&p.service, m[i]->service_port, field, reason);

		if (!err)
			err = take_port(&p.target, m[i]->target_port, field, reason);
		if (err)
			return err;
		if ((unsigned int)m[i]->app_protocol > ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TLS)
			return refuse(reason, "%s.app_protocol: unknown value %d", field,
				      m[i]->app_protocol);
		p.app_protocol = m[i]->app_protocol;
		/* It is a map on the other side: the last of a kind counts. */
		for (j = 0; j < ports->n && ports->p[j].service != p.service; j++)
			;
		ports->p[j] = p;
		ports->n += j == ports->n;
	}
	qsort(ports->p, ports->n, sizeof(ports->p[0]), port_cmp);
	return 0;
}

static int membership_cmp(const void *a, const void *b)
{
	const struct amb_membership *x = a, *y = b;

	return strcmp(x->service, y->service);
}

static int take_services(struct amb_workload *w, const Istio__Workload__Workload *m, struct tail *t,
			 char *reason)
{
	size_t i;

	for (i = 0; i < m->n_services; i++) {
		const Istio__Workload__Workload__ServicesEntry *e = m->services[i];
		size_t n = e->value ? e->value->n_ports : 0;
		struct amb_membership *to = &w->services[w->nservices];
		const char *slash = strchr(e->key, '/');
		uint32_t j;
		int err;

		if (!slash || strchr(slash + 1, '/'))
			return refuse(reason, "services: key is not namespace/hostname");
		err = take(&to->service, e->key, "services", reason);
		if (err)
			return err;
		to->ports = cut(t, ports_size(n));
		for (j = 0; j < w->nservices; j++) {
			if (w->services[j].service == to->service) {
				amb_str_put(to->service);
				return refuse(reason, "services: a key comes twice");
			}
		}
		w->nservices++;
		err = n ? take_ports(to->ports, e->value->ports, n, "services.ports", reason) : 0;
		if (err)
			return err;
	}
	qsort(w->services, w->nservices, sizeof(w->services[0]), membership_cmp);
	return 0;
}

static int take_enum(unsigned int value, unsigned int max, const char *field, char *reason)
{
	if (value <= max)
		return 0;
	return refuse(reason, "%s: unknown value %u", field, value);
}

static int take_enums(struct amb_workload *w, const Istio__Workload__Workload *m, char *reason)
{
	int err;

	/* LEGACY_ISTIO_MTLS is known and refused all the same. */
	err = take_enum(m->tunnel_protocol, AMB_TUNNEL_HBONE, "tunnel_protocol", reason);
	if (!err)
		err = take_enum(m->workload_type, AMB_WTYPE_JOB, "workload_type", reason);
	if (!err)
		err = take_enum(m->status, 1, "status", reason);
	if (!err)
		err = take_enum(m->network_mode, 1, "network_mode", reason);
	if (!err && m->application_tunnel)
		err = take_enum(m->application_tunnel->protocol, 1, "application_tunnel.protocol",
				reason);
	if (!err && m->application_tunnel)
		err = take_port(&w->app_tunnel_port, m->application_tunnel->port,
				"application_tunnel.port", reason);
	if (err)
		return err;
	w->tunnel = (enum amb_tunnel)m->tunnel_protocol;
	w->type = (enum amb_wtype)m->workload_type;
	w->healthy = m->status == ISTIO__WORKLOAD__WORKLOAD_STATUS__HEALTHY;
	w->host_network = m->network_mode == ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK;
	w->native_tunnel = m->native_tunnel;
	w->capacity = m->capacity ? m->capacity->value : 1;
	if (m->application_tunnel) {
		w->app_tunnel = true;
		w->app_tunnel_proxy = m->application_tunnel->protocol ==
				      ISTIO__WORKLOAD__APPLICATION_TUNNEL__PROTOCOL__PROXY;
	}
	return 0;
}

static const char * or (const char *text, const char *otherwise)
{
	return *text ? text : otherwise;
}

static int take_texts(struct amb_workload *w, const Istio__Workload__Workload *m, char *reason)
{
	const Istio__Workload__Locality *l = m->locality;
	const struct {
		amb_str *to;
		const char *text, *field;
	} texts[] = {
		{ &w->uid, m->uid, "uid" },
		{ &w->name, m->name, "name" },
		{ &w->ns, m->namespace_, "namespace" },
		{ &w->network, m->network, "network" },
		{ &w->node, m->node, "node" },
		{ &w->hostname, m->hostname, "hostname" },
		{ &w->cluster, or (m->cluster_id, CLUSTER), "cluster_id" },
		{ &w->workload_name, m->workload_name, "workload_name" },
		{ &w->canonical_name, m->canonical_name, "canonical_name" },
		{ &w->canonical_revision, m->canonical_revision, "canonical_revision" },
		{ &w->region, l ? l->region : "", "locality.region" },
		{ &w->zone, l ? l->zone : "", "locality.zone" },
		{ &w->subzone, l ? l->subzone : "", "locality.subzone" },
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(texts); i++) {
		int err = take(texts[i].to, texts[i].text, texts[i].field, reason);

		if (err)
			return err;
	}
	if (!*w->uid)
		return refuse(reason, "uid: empty");
	w->identity = amb_identity_workload(or (m->trust_domain, TRUST_DOMAIN), m->namespace_,
					    or (m->service_account, SERVICE_ACCOUNT));
	if (w->identity)
		return 0;
	if (errno == ENOMEM)
		return -ENOMEM;
	return refuse(reason, "trust_domain, namespace or service_account: no SPIFFE identity");
}

static int workload_fill(struct amb_workload *w, const Istio__Workload__Workload *m, struct tail *t,
			 char *reason)
{
	size_t i;
	int err;

	w->services = cut(t, m->n_services * sizeof(w->services[0]));
	w->policies = cut(t, m->n_authorization_policies * sizeof(w->policies[0]));
	err = take_services(w, m, t, reason);
	w->addrs = cut(t, m->n_addresses * sizeof(w->addrs[0]));
	for (i = 0; i < m->n_addresses && !err; i++) {
		err = take_addr(&w->addrs[i], &m->addresses[i], "addresses", reason);
		w->naddrs += !err;
	}
	for (i = 0; i < m->n_authorization_policies && !err; i++) {
		err = take(&w->policies[i], m->authorization_policies[i], "authorization_policies",
			   reason);
		w->npolicies += !err;
	}
	if (!err)
		err = take_texts(w, m, reason);
	if (!err)
		err = take_enums(w, m, reason);
	if (!err)
		err = take_gateway(&w->waypoint, m->waypoint, "waypoint", reason);
	if (!err)
		err = take_gateway(&w->network_gateway, m->network_gateway, "network_gateway",
				   reason);
	gateway_fill(&w->waypoint);
	gateway_fill(&w->network_gateway);
	amb_policy_sort(w);
	return err;
}

struct amb_workload *amb_resource_workload(const Istio__Workload__Workload *m, char *reason)
{
	size_t size = sizeof(struct amb_workload), i;
	struct amb_workload *w;
	struct tail t;
	int err;

	size += m->n_services * sizeof(w->services[0]);
	size += m->n_authorization_policies * sizeof(w->policies[0]);
	size += m->n_addresses * sizeof(w->addrs[0]);
	for (i = 0; i < m->n_services; i++)
		size += ports_size(m->services[i]->value ? m->services[i]->value->n_ports : 0);
	w = calloc(1, size);
	if (!w) {
		errno = ENOMEM;
		return NULL;
	}
	w->refs = 1;
	t.at = (char *)(w + 1);
	err = workload_fill(w, m, &t, reason);
	if (err) {
		amb_workload_put(w);
		errno = -err;
		return NULL;
	}
	return w;
}

bool amb_resource_workload_eq(const struct amb_workload *a, const struct amb_workload *b)
{
	const size_t from = offsetof(struct amb_workload, uid);
	const size_t to = offsetof(struct amb_workload, services);
	uint32_t i;

	/* Texts and identities are interned, so what lies between is compared as it is. */
	if (memcmp((const char *)a + from, (const char *)b + from, to - from) ||
	    a->naddrs != b->naddrs || memcmp(a->addrs, b->addrs, a->naddrs * sizeof(a->addrs[0])) ||
	    memcmp(a->policies, b->policies, a->npolicies * sizeof(a->policies[0])))
		return false;
	for (i = 0; i < a->nservices; i++) {
		const struct amb_ports *x = a->services[i].ports, *y = b->services[i].ports;

		if (a->services[i].service != b->services[i].service || x->n != y->n ||
		    memcmp(x->p, y->p, x->n * sizeof(x->p[0])))
			return false;
	}
	return true;
}

struct amb_workload *amb_workload_get(const struct amb_workload *cw)
{
	struct amb_workload *w = (struct amb_workload *)cw;

	if (w)
		__atomic_add_fetch(&w->refs, 1, __ATOMIC_RELAXED);
	return w;
}

void amb_workload_put(const struct amb_workload *cw)
{
	struct amb_workload *w = (struct amb_workload *)cw;
	uint32_t i;

	if (!w || __atomic_sub_fetch(&w->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (i = 0; i < w->nservices; i++)
		amb_str_put(w->services[i].service);
	for (i = 0; i < w->npolicies; i++)
		amb_str_put(w->policies[i]);
	amb_str_put(w->uid);
	amb_str_put(w->name);
	amb_str_put(w->ns);
	amb_str_put(w->network);
	amb_str_put(w->node);
	amb_str_put(w->hostname);
	amb_str_put(w->cluster);
	amb_str_put(w->workload_name);
	amb_str_put(w->canonical_name);
	amb_str_put(w->canonical_revision);
	amb_str_put(w->region);
	amb_str_put(w->zone);
	amb_str_put(w->subzone);
	amb_identity_put(w->identity);
	gateway_free(&w->waypoint);
	gateway_free(&w->network_gateway);
	free(w);
}

bool amb_workload_has_addr(const struct amb_workload *w, const struct amb_addr *addr)
{
	uint32_t i;

	for (i = 0; i < w->naddrs; i++) {
		if (amb_addr_eq(&w->addrs[i], addr))
			return true;
	}
	return false;
}

static int take_vip(struct amb_vip *v, const Istio__Workload__NetworkAddress *m, char *reason)
{
	bool v4;
	uint32_t max;
	int err;

	err = take(&v->network, m->network, "addresses", reason);
	if (!err)
		err = take_addr(&v->addr, &m->address, "addresses", reason);
	if (err)
		return err;
	v4 = amb_addr_is_v4(&v->addr);
	max = m->address.len * 8;
	v->bits = v4 ? 32 : 128;
	if (m->prefix_case != ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX_LENGTH)
		return 0;
	if (m->length > max)
		return refuse(reason, "addresses: prefix length %u", m->length);
	if (v4 && max == 128) {
		/* written as IPv6, so counted in IPv6 */
		if (m->length < 96)
			return refuse(reason, "addresses: prefix length %u", m->length);
		v->bits = m->length - 96;
	} else {
		v->bits = m->length;
	}
	return 0;
}

static int take_lb(struct amb_service *s, const Istio__Workload__LoadBalancing *m, char *reason)
{
	size_t i;
	int err;

	if (!m)
		return 0;
	err = take_enum(m->mode, AMB_LB_PASSTHROUGH, "load_balancing.mode", reason);
	if (!err)
		err = take_enum(m->health_policy, 1, "load_balancing.health_policy", reason);
	if (err)
		return err;
	for (i = 0; i < m->n_routing_preference; i++) {
		unsigned int scope = m->routing_preference[i];

		/* Unspecified is no scope at all: ztunnel refuses it too. */
		if (scope == AMB_SCOPE_NONE || scope > AMB_SCOPE_NETWORK)
			return refuse(reason, "load_balancing.routing_preference: unknown value %u",
				      scope);
		if (s->nscopes == AMB_ARRAY_SIZE(s->scopes))
			return refuse(reason, "load_balancing.routing_preference: too many");
		s->scopes[s->nscopes++] = (enum amb_scope)scope;
	}
	s->mode = (enum amb_lb_mode)m->mode;
	s->allow_unhealthy = m->health_policy ==
			     ISTIO__WORKLOAD__LOAD_BALANCING__HEALTH_POLICY__ALLOW_ALL;
	return 0;
}

static int take_sans(struct amb_service *s, const Istio__Workload__Service *m, char *reason)
{
	size_t i;

	for (i = 0; i < m->n_subject_alt_names; i++) {
		const char *san = m->subject_alt_names[i];
		struct amb_identity *id;
		int err = take(&s->sans[i], san, "subject_alt_names", reason);

		if (err)
			return err;
		s->nsans++;
		/* Others than SPIFFE identities are carried, but expect nobody (4.2). */
		id = amb_identity_parse(san, strlen(san));
		if (!id && errno == ENOMEM)
			return -ENOMEM;
		if (id)
			s->san_ids[s->nsan_ids++] = id;
	}
	return 0;
}

static int take_waypoints(struct amb_service *s, const Istio__Workload__Service *m, char *reason)
{
	size_t i;

	for (i = 0; i < m->n_weighted_waypoints; i++) {
		const Istio__Workload__WeightedWaypoint *from = m->weighted_waypoints[i];
		struct amb_weighted_waypoint *to = &s->waypoints[s->nwaypoints++];
		int err;

		to->weight = from->weight;
		if (!from->destination)
			err = refuse(reason, "weighted_waypoints: no destination");
		else
			err = take_gateway(&to->gw, from->destination, "weighted_waypoints",
					   reason);
		gateway_fill(&to->gw);
		if (err)
			return err;
	}
	return 0;
}

static int service_fill(struct amb_service *s, const Istio__Workload__Service *m, struct tail *t,
			char *reason)
{
	char key[AMB_RESOURCE_TEXT * 2];
	size_t i;
	int err;

	s->vips = cut(t, m->n_addresses * sizeof(s->vips[0]));
	s->sans = cut(t, m->n_subject_alt_names * sizeof(s->sans[0]));
	s->san_ids = cut(t, m->n_subject_alt_names * sizeof(s->san_ids[0]));
	s->waypoints = cut(t, m->n_weighted_waypoints * sizeof(s->waypoints[0]));
	s->ports = cut(t, ports_size(m->n_ports));
	err = take(&s->name, m->name, "name", reason);
	if (!err)
		err = take(&s->ns, m->namespace_, "namespace", reason);
	if (!err)
		err = take(&s->hostname, m->hostname, "hostname", reason);
	if (!err && (!*s->hostname || strchr(s->hostname, '/') || strchr(s->ns, '/')))
		err = refuse(reason, "hostname or namespace: empty or with a slash");
	if (!err) {
		snprintf(key, sizeof(key), "%s/%s", s->ns, s->hostname);
		s->key = amb_str_intern(key, strlen(key));
		err = s->key ? 0 : -ENOMEM;
	}
	for (i = 0; i < m->n_addresses && !err; i++)
		err = take_vip(&s->vips[s->nvips++], m->addresses[i], reason);
	if (!err)
		err = take_ports(s->ports, m->ports, m->n_ports, "ports", reason);
	if (!err)
		err = take_sans(s, m, reason);
	if (!err)
		err = take_gateway(&s->waypoint, m->waypoint, "waypoint", reason);
	if (!err)
		err = take_waypoints(s, m, reason);
	if (!err)
		err = take_lb(s, m->load_balancing, reason);
	if (!err)
		err = take_enum(m->ip_families, AMB_IPF_DUAL, "ip_families", reason);
	gateway_fill(&s->waypoint);
	s->families = (enum amb_ip_families)m->ip_families;
	s->canonical = m->canonical;
	/* An unknown visibility is public, alone of all the enums (1.7). */
	s->namespace_only = m->visibility == ISTIO__WORKLOAD__SERVICE__VISIBILITY__NAMESPACE;
	s->ingress_use_waypoint = m->ingress_use_waypoint;
	return err;
}

struct amb_service *amb_resource_service(const Istio__Workload__Service *m, char *reason)
{
	struct amb_service *s;
	struct tail t;
	int err;

	s = calloc(1, sizeof(*s) + m->n_addresses * sizeof(s->vips[0]) +
			      m->n_subject_alt_names * sizeof(s->sans[0]) +
			      m->n_subject_alt_names * sizeof(s->san_ids[0]) +
			      m->n_weighted_waypoints * sizeof(s->waypoints[0]) +
			      ports_size(m->n_ports));
	if (!s) {
		errno = ENOMEM;
		return NULL;
	}
	s->refs = 1;
	t.at = (char *)(s + 1);
	err = service_fill(s, m, &t, reason);
	if (err) {
		amb_service_put(s);
		errno = -err;
		return NULL;
	}
	return s;
}

struct amb_service *amb_service_get(const struct amb_service *cs)
{
	struct amb_service *s = (struct amb_service *)cs;

	if (s)
		__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

void amb_service_put(const struct amb_service *cs)
{
	struct amb_service *s = (struct amb_service *)cs;
	uint32_t i;

	if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (i = 0; i < s->nvips; i++)
		amb_str_put(s->vips[i].network);
	for (i = 0; i < s->nsans; i++)
		amb_str_put(s->sans[i]);
	for (i = 0; i < s->nsan_ids; i++)
		amb_identity_put(s->san_ids[i]);
	for (i = 0; i < s->nwaypoints; i++)
		gateway_free(&s->waypoints[i].gw);
	gateway_free(&s->waypoint);
	amb_str_put(s->name);
	amb_str_put(s->ns);
	amb_str_put(s->hostname);
	amb_str_put(s->key);
	free(s);
}
