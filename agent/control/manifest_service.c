// SPDX-License-Identifier: GPL-2.0-or-later
/* Service and ServiceEntry as services of the Workload API, and whom their selectors look for. */
#include "manifest_compile.h"

#include <stdlib.h>
#include <string.h>

#define LABEL_MANAGED "gateway.istio.io/managed"
#define LABEL_INGRESS "istio.io/ingress-use-waypoint"

static Istio__Workload__LoadBalancing *
balancing(struct amb_mbuild *b, Istio__Workload__LoadBalancing__Mode mode, uint32_t nscopes)
{
	static const Istio__Workload__LoadBalancing__Scope scopes[] = {
		ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__NETWORK,
		ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__REGION,
		ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__ZONE,
		ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__SUBZONE,
		ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__NODE,
	};
	Istio__Workload__LoadBalancing *lb = amb_mbuild_alloc(b, sizeof(*lb));

	if (!lb)
		return NULL;
	istio__workload__load_balancing__init(lb);
	lb->mode = mode;
	lb->routing_preference = amb_mbuild_alloc(b, sizeof(scopes));
	if (!lb->routing_preference)
		return NULL;
	memcpy(lb->routing_preference, scopes, nscopes * sizeof(*scopes));
	lb->n_routing_preference = nscopes;
	return lb;
}

static Istio__Workload__LoadBalancing *distribution(struct amb_mbuild *b, enum amb_mdistribution d)
{
	const Istio__Workload__LoadBalancing__Mode mode =
		ISTIO__WORKLOAD__LOAD_BALANCING__MODE__FAILOVER;

	switch (d) {
	case AMB_MDIST_ZONE:
		return balancing(b, mode, 3);
	case AMB_MDIST_NODE:
		return balancing(b, mode, 5);
	default:
		return NULL;
	}
}

static Istio__Workload__LoadBalancing *service_lb(struct amb_mbuild *b,
						  const struct amb_mservice *svc)
{
	Istio__Workload__LoadBalancing *lb = distribution(b, svc->distribution);

	if (svc->local_only) {
		lb = balancing(b, ISTIO__WORKLOAD__LOAD_BALANCING__MODE__STRICT, 1);
		if (lb)
			lb->routing_preference[0] = ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__NODE;
	}
	if (svc->publish_not_ready) {
		if (!lb)
			lb = balancing(b, ISTIO__WORKLOAD__LOAD_BALANCING__MODE__UNSPECIFIED_MODE,
				       0);
		if (lb)
			lb->health_policy =
				ISTIO__WORKLOAD__LOAD_BALANCING__HEALTH_POLICY__ALLOW_ALL;
	}
	return lb;
}

/* A second waypoint with a share of the connections. */
static void weigh(struct amb_mbuild *b, Istio__Workload__Service *s,
		  const struct amb_mwaypoint *first, const struct amb_mwaypoint *canary,
		  uint32_t percent)
{
	const struct amb_mwaypoint *of[2] = { first, canary };
	const uint32_t weights[2] = { 100 - percent, percent };
	uint32_t i;

	s->weighted_waypoints = amb_mbuild_alloc(b, 2 * sizeof(*s->weighted_waypoints));
	for (i = 0; s->weighted_waypoints && i < 2; i++) {
		Istio__Workload__WeightedWaypoint *w;

		if (!weights[i])
			continue;
		w = amb_mbuild_alloc(b, sizeof(*w));
		if (!w)
			return;
		istio__workload__weighted_waypoint__init(w);
		w->destination = of[i]->address;
		w->weight = weights[i];
		s->weighted_waypoints[s->n_weighted_waypoints++] = w;
	}
}

static void set_waypoint(struct amb_mbuild *b, const struct amb_mref *ref,
			 Istio__Workload__Service *s)
{
	const struct amb_mwaypoint *canary = NULL, *w;
	const struct amb_mobj *o = ref->obj;
	const char *managed = amb_kvs_get(&o->labels, LABEL_MANAGED), *ingress;
	const struct amb_mref *gw = amb_mtable_find(b->t, AMB_MOBJ_GATEWAY, o->ns, o->name);
	const struct amb_mref *space;
	uint32_t weight = 0;

	/* What leads to a waypoint has none itself. */
	if ((managed && !strcmp(managed, "istio.io-mesh-controller")) ||
	    (gw && o->kind == AMB_MOBJ_SERVICE))
		return;
	w = amb_mbuild_waypoint(b, ref, o->ns, &o->labels, true, &canary, &weight);
	if (!w)
		return;
	s->waypoint = w->address;
	if (canary)
		weigh(b, s, w, canary, weight);
	ingress = amb_kvs_get(&o->labels, LABEL_INGRESS);
	space = ingress ? NULL : amb_mtable_find(b->t, AMB_MOBJ_NAMESPACE, "", o->ns);
	if (space)
		ingress = amb_kvs_get(&space->obj->labels, LABEL_INGRESS);
	s->ingress_use_waypoint = ingress && !strcmp(ingress, "true");
}

static Istio__Workload__Service *new_service(struct amb_mbuild *b, const struct amb_mref *ref,
					     const char *host, Istio__Workload__Address **out)
{
	Istio__Workload__Address *a = amb_mbuild_alloc(b, sizeof(*a));
	Istio__Workload__Service *s = amb_mbuild_alloc(b, sizeof(*s));

	if (!a || !s)
		return NULL;
	istio__workload__address__init(a);
	istio__workload__service__init(s);
	a->type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE;
	a->service = s;
	s->name = (char *)ref->obj->name;
	s->namespace_ = (char *)ref->obj->ns;
	s->hostname = (char *)host;
	*out = a;
	return s;
}

/* The service's own port list; also the members' when each target port is a number. */
static Istio__Workload__PortList *service_ports(struct amb_mbuild *b, Istio__Workload__Service *s,
						const struct amb_mport *ports, uint32_t n)
{
	Istio__Workload__PortList *list = amb_mbuild_ports(b, n);
	bool named = false;
	uint32_t i;

	for (i = 0; list && i < n; i++) {
		const struct amb_mport *p = &ports[i];
		uint16_t target = p->target_name ? 0 : p->target ? p->target : p->port;

		named |= !!p->target_name;
		amb_mbuild_port(b, list, p->port, target, p->app_protocol);
	}
	if (b->failed)
		return NULL;
	s->ports = list->ports;
	s->n_ports = list->n_ports;
	return named ? NULL : list;
}

static void add_service(struct amb_mbuild *b, const struct amb_mref *ref)
{
	const struct amb_mservice *svc = ref->obj->spec;
	struct amb_mmember *m = &b->members[b->nmembers++];
	Istio__Workload__Address *address;
	Istio__Workload__Service *s;
	uint32_t i;

	m->ref = ref;
	m->ns = ref->obj->ns;
	m->ports = svc->ports;
	m->nports = svc->nports;
	m->key = amb_arena_printf(b->a, "%s/%s.%s.svc.%s", m->ns, ref->obj->name, m->ns,
				  b->set->domain);
	b->failed |= !m->key;
	if (!m->key)
		return;
	m->host = strchr(m->key, '/') + 1;
	/* Left to the DNS, and to what its name leads to. */
	if (svc->external_name)
		return;
	s = new_service(b, ref, m->host, &address);
	if (!s)
		return;
	s->canonical = true;
	s->ip_families = (Istio__Workload__IPFamilies)svc->families;
	s->load_balancing = service_lb(b, svc);
	m->plain = service_ports(b, s, svc->ports, svc->nports);
	s->addresses = amb_mbuild_alloc(b, svc->nvips * sizeof(*s->addresses));
	for (i = 0; s->addresses && i < svc->nvips; i++)
		s->addresses[s->n_addresses++] =
			amb_mbuild_address(b, b->set->network, &svc->vips[i]);
	set_waypoint(b, ref, s);
	if (!amb_mbuild_add(b, m->key, ref, address, NULL))
		return;
	b->out->services++;
	if (svc->selector.n && amb_mselect_add(b->by_service, m->ns, &svc->selector, m))
		b->failed = true;
}

static void entry_addresses(struct amb_mbuild *b, const struct amb_mserviceentry *se,
			    const char *host, Istio__Workload__Service *s)
{
	bool allocated = !se->naddrs && host[0] != '*' && se->resolution != AMB_MRES_NONE;
	const struct amb_maddr *addrs = allocated ? se->auto_addrs : se->addrs;
	uint32_t n = allocated ? se->nauto : se->naddrs, i;

	s->addresses = amb_mbuild_alloc(b, n * sizeof(*s->addresses));
	for (i = 0; s->addresses && i < n; i++) {
		Istio__Workload__NetworkAddress *a;

		if (allocated && addrs[i].host && strcmp(addrs[i].host, host))
			continue;
		a = amb_mbuild_address(b, b->set->network, &addrs[i].addr);
		if (!a)
			return;
		if (addrs[i].bits != (amb_addr_is_v4(&addrs[i].addr) ? 32 : 128)) {
			a->prefix_case = ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX_LENGTH;
			a->length = addrs[i].bits;
		}
		s->addresses[s->n_addresses++] = a;
	}
}

static void add_entry_host(struct amb_mbuild *b, const struct amb_mref *ref, const char *host)
{
	const struct amb_mserviceentry *se = ref->obj->spec;
	struct amb_mmember *m = &b->members[b->nmembers];
	Istio__Workload__Address *address;
	Istio__Workload__Service *s;
	const char *far;

	*m = (struct amb_mmember){ .ref = ref,
				   .ns = ref->obj->ns,
				   .host = host,
				   .entry = true,
				   .ports = se->ports,
				   .nports = se->nports };
	m->key = amb_arena_printf(b->a, "%s/%s", m->ns, host);
	b->failed |= !m->key;
	s = new_service(b, ref, host, &address);
	if (!m->key || !s)
		return;
	far = amb_kvs_get(&ref->obj->annotations, "networking.istio.io/traffic-distribution");
	if (far && !strcmp(far, "PreferClose"))
		s->load_balancing = distribution(b, AMB_MDIST_ZONE);
	if (se->resolution == AMB_MRES_NONE) {
		s->load_balancing =
			balancing(b, ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH, 0);
		if (!s->load_balancing)
			return;
		s->load_balancing->health_policy =
			ISTIO__WORKLOAD__LOAD_BALANCING__HEALTH_POLICY__ALLOW_ALL;
	}
	m->plain = service_ports(b, s, se->ports, se->nports);
	s->subject_alt_names = (char **)se->sans;
	s->n_subject_alt_names = se->nsans;
	entry_addresses(b, se, host, s);
	set_waypoint(b, ref, s);
	if (!amb_mbuild_add(b, m->key, ref, address, NULL))
		return;
	b->out->services++;
	b->nmembers++;
	if (se->has_selector && se->selector.n &&
	    amb_mselect_add(b->by_service, m->ns, &se->selector, m))
		b->failed = true;
}

struct amb_mmember *amb_mbuild_member(struct amb_mbuild *b, const char *ns, const char *name)
{
	const struct amb_mref *ref = amb_mtable_find(b->t, AMB_MOBJ_SERVICE, ns, name);
	uint32_t lo = 0, hi = b->nkube;

	while (ref && lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (b->members[mid].ref == ref)
			return &b->members[mid];
		if (b->members[mid].ref < ref)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

void amb_mbuild_services(struct amb_mbuild *b)
{
	uint32_t i, j, most = 0;

	for (i = 0; i < b->t->n; i++) {
		const struct amb_mobj *o = b->t->rows[i].obj;

		if (o->kind == AMB_MOBJ_SERVICE)
			most++;
		else if (o->kind == AMB_MOBJ_SERVICEENTRY)
			most += ((const struct amb_mserviceentry *)o->spec)->nhosts;
	}
	b->members = amb_mbuild_alloc(b, most * sizeof(*b->members));
	for (i = 0; i < b->t->n && !b->failed; i++)
		if (b->t->rows[i].obj->kind == AMB_MOBJ_SERVICE)
			add_service(b, &b->t->rows[i]);
	b->nkube = b->nmembers;
	for (i = 0; i < b->t->n && !b->failed; i++) {
		const struct amb_mref *ref = &b->t->rows[i];
		const struct amb_mserviceentry *se = ref->obj->spec;

		if (ref->obj->kind != AMB_MOBJ_SERVICEENTRY)
			continue;
		for (j = 0; j < se->nhosts && !b->failed; j++)
			add_entry_host(b, ref, se->hosts[j]);
	}
	if (amb_mselect_seal(b->by_service))
		b->failed = true;
}
