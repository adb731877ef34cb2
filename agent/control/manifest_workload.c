// SPDX-License-Identifier: GPL-2.0-or-later
/* Pods, WorkloadEntries and endpoints as workloads of the Workload API. */
#include "manifest_compile.h"

#include <stdlib.h>
#include <string.h>

Istio__Workload__Workload *amb_mbuild_workload(struct amb_mbuild *b, Istio__Workload__Address **out)
{
	Istio__Workload__Address *a = amb_mbuild_alloc(b, sizeof(*a));
	Istio__Workload__Workload *w = amb_mbuild_alloc(b, sizeof(*w));

	if (!a || !w)
		return NULL;
	istio__workload__address__init(a);
	istio__workload__workload__init(w);
	a->type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a->workload = w;
	w->network = (char *)b->set->network;
	w->cluster_id = (char *)b->set->cluster;
	if (strcmp(b->set->trust_domain, "cluster.local"))
		w->trust_domain = (char *)b->set->trust_domain;
	w->workload_type = ISTIO__WORKLOAD__WORKLOAD_TYPE__POD;
	*out = a;
	return w;
}

void amb_mbuild_workload_addrs(struct amb_mbuild *b, Istio__Workload__Workload *w,
			       const struct amb_addr *addrs, uint32_t n)
{
	ProtobufCBinaryData *list = amb_mbuild_alloc(b, n * sizeof(*list));
	uint32_t i;

	for (i = 0; list && i < n; i++) {
		bool v4 = amb_addr_is_v4(&addrs[i]);

		/* Objects live as long as the compilation; their bytes need no copy. */
		list[i].len = v4 ? 4 : 16;
		list[i].data = (uint8_t *)addrs[i].b + (v4 ? 12 : 0);
	}
	w->addresses = list;
	w->n_addresses = list ? n : 0;
}

/* Name and revision that telemetry shows (service.istio.io labels, else the usual ones). */
static void canonical(Istio__Workload__Workload *w, const struct amb_kvs *labels)
{
	static const char *const names[] = { "service.istio.io/canonical-name",
					     "app.kubernetes.io/name", "app" };
	static const char *const revisions[] = { "service.istio.io/canonical-revision",
						 "app.kubernetes.io/version", "version" };
	const char *name = NULL, *revision = NULL;
	size_t i;

	for (i = 0; i < 3; i++) {
		if (!name)
			name = amb_kvs_get(labels, names[i]);
		if (!revision)
			revision = amb_kvs_get(labels, revisions[i]);
	}
	w->canonical_name = name ? (char *)name : w->workload_name;
	w->canonical_revision = revision ? (char *)revision : "latest";
}

/* Label networking.istio.io/tunnel: the workload speaks HBONE itself. */
static void native_tunnel(Istio__Workload__Workload *w, const struct amb_kvs *labels)
{
	const char *v = amb_kvs_get(labels, "networking.istio.io/tunnel");

	while (v && *v) {
		size_t n = strcspn(v, ",");

		if (n == 4 && !memcmp(v, "http", 4)) {
			w->tunnel_protocol = ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
			w->native_tunnel = true;
			return;
		}
		v += n + (v[n] == ',');
	}
}

static void set_locality(struct amb_mbuild *b, Istio__Workload__Workload *w, const char *region,
			 const char *zone, const char *subzone)
{
	Istio__Workload__Locality *l;

	if (!region && !zone && !subzone)
		return;
	l = amb_mbuild_alloc(b, sizeof(*l));
	if (!l)
		return;
	istio__workload__locality__init(l);
	if (region)
		l->region = (char *)region;
	if (zone)
		l->zone = (char *)zone;
	if (subzone)
		l->subzone = (char *)subzone;
	w->locality = l;
}

/* "region/zone/subzone"; label values cannot hold a slash, there it is "region.zone". */
static void locality_text(struct amb_mbuild *b, Istio__Workload__Workload *w, const char *text,
			  char sep)
{
	const char *parts[3] = { NULL, NULL, NULL };
	char *copy, *next;
	int i;

	if (!*text)
		return;
	copy = amb_arena_strndup(b->a, text, strlen(text));
	b->failed |= !copy;
	for (i = 0; copy && i < 3; i++) {
		next = i < 2 ? strchr(copy, sep) : NULL;
		if (next)
			*next++ = 0;
		parts[i] = copy;
		copy = next;
	}
	set_locality(b, w, parts[0], parts[1], parts[2]);
}

static void pod_locality(struct amb_mbuild *b, const struct amb_mobj *pod,
			 Istio__Workload__Workload *w)
{
	const struct amb_mpod *spec = pod->spec;
	const struct amb_mref *node = amb_mtable_find(b->t, AMB_MOBJ_NODE, "", spec->node);
	const struct amb_kvs *labels = node ? &node->obj->labels : &pod->labels;
	const char *text = amb_kvs_get(&pod->labels, "istio-locality");

	if (text)
		locality_text(b, w, text, strchr(text, '/') ? '/' : '.');
	else
		set_locality(b, w, amb_kvs_get(labels, "topology.kubernetes.io/region"),
			     amb_kvs_get(labels, "topology.kubernetes.io/zone"),
			     amb_kvs_get(labels, "topology.istio.io/subzone"));
}

/* The port that the name of a target port means for a workload; 0 when it has none. */
static uint16_t named_port(const struct amb_mport *ports, uint32_t n, const char *name)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		if (ports[i].name && !strcmp(ports[i].name, name))
			return ports[i].port;
	return 0;
}

/*
 * What a member's ports are, given its own named ones. Ports of a Service whose name it does not
 * have are left out. A ServiceEntry has no named target ports: there the name of the port itself
 * can be given another number by @entry endpoints.
 */
static Istio__Workload__PortList *member_ports(struct amb_mbuild *b, const struct amb_mmember *m,
					       const struct amb_mport *own, uint32_t nown,
					       bool entry)
{
	Istio__Workload__PortList *list;
	uint32_t i;

	if (m->plain && (!m->entry || !entry || !nown))
		return m->plain;
	list = amb_mbuild_ports(b, m->nports);
	for (i = 0; list && i < m->nports; i++) {
		const struct amb_mport *p = &m->ports[i];
		uint16_t target = p->target ? p->target : p->port, named = 0;

		if (p->target_name) {
			target = named_port(own, nown, p->target_name);
			if (!target)
				continue;
		} else if (m->entry && entry) {
			named = named_port(own, nown, p->name);
		}
		amb_mbuild_port(b, list, p->port, named ? named : target, p->app_protocol);
	}
	return list;
}

#define MEMBER_MAX 1024 /* services of one workload */

struct members {
	struct amb_mmember *m[MEMBER_MAX];
	uint32_t n;
};

static void on_member(void *ctx, void *what)
{
	struct members *f = ctx;

	if (f->n < MEMBER_MAX)
		f->m[f->n] = what;
	f->n++;
}

static int by_pod(const void *a, const void *b)
{
	const struct amb_mbacked *x = a, *y = b;
	int c = strcmp(x->ns, y->ns);

	return c ? c : strcmp(x->pod, y->pod);
}

/* Services without a selector whose EndpointSlices name the pod. */
static void slice_members(struct amb_mbuild *b, const struct amb_mobj *pod, struct members *f)
{
	const struct amb_mbacked key = { pod->ns, pod->name, NULL }, *at, *end;
	uint32_t i;

	if (!b->nbacked)
		return;
	at = bsearch(&key, b->backed, b->nbacked, sizeof(key), by_pod);
	end = b->backed + b->nbacked;
	while (at && at > b->backed && !by_pod(at - 1, &key))
		at--;
	for (; at && at < end && !by_pod(at, &key); at++) {
		for (i = 0; i < f->n && i < MEMBER_MAX && f->m[i] != at->member; i++)
			;
		if (i == f->n)
			on_member(f, at->member);
	}
}

static void set_members(struct amb_mbuild *b, const struct amb_mref *ref, struct members *f,
			const struct amb_mport *own, uint32_t nown, bool entry,
			Istio__Workload__Workload *w)
{
	uint32_t i;

	if (f->n > MEMBER_MAX) {
		amb_mbuild_report(b, ref, true, "metadata.labels",
				  "more than 1024 services select it; it is left out of the rest");
		f->n = MEMBER_MAX;
	}
	if (!f->n)
		return;
	w->services = amb_mbuild_alloc(b, f->n * sizeof(*w->services));
	for (i = 0; w->services && i < f->n; i++) {
		Istio__Workload__Workload__ServicesEntry *e = amb_mbuild_alloc(b, sizeof(*e));

		if (!e)
			return;
		istio__workload__workload__services_entry__init(e);
		e->key = (char *)f->m[i]->key;
		e->value = member_ports(b, f->m[i], own, nown, entry);
		w->services[w->n_services++] = e;
	}
}

/* Waypoint of the workload, or the tunnel it wants when it is one. */
static void set_waypoint(struct amb_mbuild *b, const struct amb_mref *ref, const char *ns,
			 const struct amb_kvs *labels, Istio__Workload__Workload *w)
{
	const struct amb_mwaypoint *wp = amb_mbuild_waypoint_of_instance(b, ns, labels);

	if (wp) {
		if (wp->bound)
			w->application_tunnel = (Istio__Workload__ApplicationTunnel *)&wp->tunnel;
		return;
	}
	wp = amb_mbuild_waypoint(b, ref, ns, labels, false, NULL, NULL);
	if (wp)
		w->waypoint = wp->address;
}

static void finish(struct amb_mbuild *b, const struct amb_mref *ref, Istio__Workload__Workload *w,
		   Istio__Workload__Address *address)
{
	if (!w->uid) {
		b->failed = true;
		return;
	}
	if (!b->failed && amb_mbuild_add(b, w->uid, ref, address, NULL))
		b->out->workloads++;
}

static void add_pod(struct amb_mbuild *b, const struct amb_mref *ref, struct members *f)
{
	const struct amb_mobj *o = ref->obj;
	const struct amb_mpod *pod = o->spec;
	Istio__Workload__Address *address;
	Istio__Workload__Workload *w;
	bool enrolled;

	if (pod->finished)
		return;
	enrolled = amb_mcompile_enrolled(b->t, o);
	if (!pod->nips) {
		if (enrolled)
			amb_mbuild_report(b, ref, false, "status.podIP",
					  "is not there, so the pod is not part of the mesh");
		return;
	}
	w = amb_mbuild_workload(b, &address);
	if (!w)
		return;
	w->uid = amb_arena_printf(b->a, "%s//Pod/%s/%s", b->set->cluster, o->ns, o->name);
	w->name = (char *)o->name;
	w->namespace_ = (char *)o->ns;
	w->node = (char *)pod->node;
	w->service_account = (char *)pod->sa;
	w->workload_name = (char *)pod->workload;
	amb_mbuild_workload_addrs(b, w, pod->ips, pod->nips);
	canonical(w, &o->labels);
	if (enrolled)
		w->tunnel_protocol = ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
	native_tunnel(w, &o->labels);
	if (pod->host_network)
		w->network_mode = ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK;
	if (!pod->ready)
		w->status = ISTIO__WORKLOAD__WORKLOAD_STATUS__UNHEALTHY;
	pod_locality(b, o, w);
	f->n = 0;
	amb_mselect_find(b->by_service, o->ns, &o->labels, on_member, f);
	slice_members(b, o, f);
	set_members(b, ref, f, pod->ports, pod->nports, false, w);
	amb_mbuild_workload_policies(b, ref, o->ns, &o->labels, &w->authorization_policies,
				     &w->n_authorization_policies);
	set_waypoint(b, ref, o->ns, &o->labels, w);
	finish(b, ref, w, address);
}

/* What a WorkloadEntry and an endpoint of a ServiceEntry have in common. */
static void entry(struct amb_mbuild *b, const struct amb_mentry *e, Istio__Workload__Workload *w)
{
	w->service_account = (char *)e->sa;
	if (e->is_ip)
		amb_mbuild_workload_addrs(b, w, &e->addr, 1);
	else
		w->hostname = (char *)e->address;
	if (*e->network && strcmp(e->network, b->set->network)) {
		w->network = (char *)e->network;
		w->network_gateway = amb_mbuild_network_gateway(b, e->network);
	}
	locality_text(b, w, e->locality, '/');
	if (e->weight) {
		w->capacity = amb_mbuild_alloc(b, sizeof(*w->capacity));
		if (!w->capacity)
			return;
		google__protobuf__uint32_value__init(w->capacity);
		w->capacity->value = e->weight;
	}
}

static void add_workload_entry(struct amb_mbuild *b, const struct amb_mref *ref, struct members *f)
{
	const struct amb_mobj *o = ref->obj;
	const struct amb_mentry *e = o->spec;
	Istio__Workload__Address *address;
	Istio__Workload__Workload *w = amb_mbuild_workload(b, &address);
	const char *name, *mode;

	if (!w)
		return;
	w->uid = amb_arena_printf(b->a, "%s/networking.istio.io/WorkloadEntry/%s/%s",
				  b->set->cluster, o->ns, o->name);
	w->name = (char *)o->name;
	w->namespace_ = (char *)o->ns;
	name = amb_kvs_get(&o->annotations, "istio.io/autoRegistrationGroup");
	if (!name)
		name = amb_kvs_get(&e->labels, "service.istio.io/workload-name");
	w->workload_name = name ? (char *)name : (char *)o->name;
	canonical(w, &e->labels);
	entry(b, e, w);
	/* No CNI speaks for it, so only its own label or annotation says that it is captured. */
	mode = amb_kvs_get(&e->labels, "istio.io/dataplane-mode");
	name = amb_kvs_get(&o->annotations, "ambient.istio.io/redirection");
	if ((mode && !strcmp(mode, "ambient")) || (name && !strcmp(name, "enabled")))
		w->tunnel_protocol = ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
	native_tunnel(w, &e->labels);
	f->n = 0;
	amb_mselect_find(b->by_service, o->ns, &e->labels, on_member, f);
	set_members(b, ref, f, e->ports, e->nports, true, w);
	amb_mbuild_workload_policies(b, ref, o->ns, &e->labels, &w->authorization_policies,
				     &w->n_authorization_policies);
	set_waypoint(b, ref, o->ns, &e->labels, w);
	finish(b, ref, w, address);
}

/* The first service of a ServiceEntry; its others follow. */
static uint32_t first_member(struct amb_mbuild *b, const struct amb_mref *ref)
{
	uint32_t lo = b->nkube, hi = b->nmembers;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (b->members[mid].ref < ref)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* An endpoint of a ServiceEntry, member of all of its hosts or of @only. */
static void add_endpoint(struct amb_mbuild *b, const struct amb_mref *ref,
			 const struct amb_mentry *e, struct amb_mmember *only, struct members *f)
{
	const struct amb_mobj *o = ref->obj;
	Istio__Workload__Address *address;
	Istio__Workload__Workload *w = amb_mbuild_workload(b, &address);
	const char *mode;
	uint32_t i;

	if (!w)
		return;
	w->uid = amb_arena_printf(b->a, "%s/networking.istio.io/ServiceEntry/%s/%s/%s",
				  b->set->cluster, o->ns, o->name,
				  *e->address ? e->address : e->network);
	w->name = (char *)o->name;
	w->namespace_ = (char *)o->ns;
	w->workload_name = (char *)o->name;
	canonical(w, &o->labels);
	entry(b, e, w);
	mode = amb_kvs_get(&e->labels, "istio.io/dataplane-mode");
	if (mode && !strcmp(mode, "ambient"))
		w->tunnel_protocol = ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
	native_tunnel(w, amb_kvs_get(&e->labels, "networking.istio.io/tunnel") ? &e->labels :
										 &o->labels);
	f->n = 0;
	if (only)
		on_member(f, only);
	for (i = first_member(b, ref); !only && i < b->nmembers && b->members[i].ref == ref; i++)
		on_member(f, &b->members[i]);
	set_members(b, ref, f, e->ports, e->nports, true, w);
	amb_mbuild_workload_policies(b, ref, o->ns, &o->labels, &w->authorization_policies,
				     &w->n_authorization_policies);
	if (!only)
		set_waypoint(b, NULL, o->ns, &e->labels, w);
	finish(b, ref, w, address);
}

static void add_service_entry(struct amb_mbuild *b, const struct amb_mref *ref, struct members *f)
{
	const struct amb_mserviceentry *se = ref->obj->spec;
	uint32_t i;

	for (i = 0; i < se->nendpoints && !b->failed; i++)
		add_endpoint(b, ref, &se->endpoints[i], NULL, f);
	if (se->nendpoints || se->resolution != AMB_MRES_DNS || se->has_selector)
		return;
	/* DNS without endpoints: each host is its own. */
	for (i = first_member(b, ref); i < b->nmembers && !b->failed; i++) {
		struct amb_mentry *e;

		if (b->members[i].ref != ref)
			break;
		if (b->members[i].host[0] == '*')
			continue;
		e = amb_mbuild_alloc(b, sizeof(*e));
		if (!e)
			return;
		e->address = b->members[i].host;
		e->sa = e->network = e->locality = "";
		add_endpoint(b, ref, e, &b->members[i], f);
	}
}

/* Ports of a slice are said by the name of the service's port. */
static Istio__Workload__PortList *slice_ports(struct amb_mbuild *b, const struct amb_msubset *s,
					      const struct amb_mmember *m)
{
	Istio__Workload__PortList *list = amb_mbuild_ports(b, s->nports);
	uint32_t i, j;

	for (i = 0; list && i < s->nports; i++) {
		for (j = 0; j < m->nports; j++) {
			if (strcmp(m->ports[j].name, s->ports[i].name))
				continue;
			amb_mbuild_port(b, list, m->ports[j].port, s->ports[i].port,
					m->ports[j].app_protocol);
			break;
		}
	}
	return list;
}

static void add_target(struct amb_mbuild *b, const struct amb_mref *ref,
		       const struct amb_mtarget *t, const struct amb_mmember *m,
		       Istio__Workload__PortList *ports)
{
	const struct amb_mobj *o = ref->obj;
	Istio__Workload__Workload__ServicesEntry *e = amb_mbuild_alloc(b, sizeof(*e));
	Istio__Workload__Address *address;
	Istio__Workload__Workload *w = amb_mbuild_workload(b, &address);
	char text[AMB_ADDR_STRLEN];

	if (!w || !e)
		return;
	w->uid = amb_arena_printf(b->a, "%s/discovery.k8s.io/EndpointSlice/%s/%s/%s",
				  b->set->cluster, o->ns, o->name,
				  amb_addr_format(&t->addrs[0], text));
	w->name = (char *)o->name;
	w->namespace_ = (char *)o->ns;
	amb_mbuild_workload_addrs(b, w, t->addrs, t->naddrs);
	/* Nothing is known of who has the address; it may be a pod's or a node's too. */
	w->network_mode = ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK;
	if (!t->ready)
		w->status = ISTIO__WORKLOAD__WORKLOAD_STATUS__UNHEALTHY;
	w->services = amb_mbuild_alloc(b, sizeof(*w->services));
	if (!w->services)
		return;
	istio__workload__workload__services_entry__init(e);
	e->key = (char *)m->key;
	e->value = ports;
	w->services[0] = e;
	w->n_services = 1;
	finish(b, ref, w, address);
}

static bool is_slice(const struct amb_mobj *o)
{
	return o->kind == AMB_MOBJ_ENDPOINTSLICE || o->kind == AMB_MOBJ_ENDPOINTS;
}

/* True when a service has EndpointSlices; its Endpoints then say the same once more. */
static bool has_slices(struct amb_mbuild *b, const struct amb_mobj *endpoints)
{
	uint32_t i;

	for (i = 0; i < b->t->n; i++) {
		const struct amb_mobj *o = b->t->rows[i].obj;
		const struct amb_mslice *slice = o->spec;

		if (o->kind == AMB_MOBJ_ENDPOINTSLICE && !strcmp(o->ns, endpoints->ns) &&
		    !strcmp(slice->service, endpoints->name))
			return true;
	}
	return false;
}

/* Calls @fn for each address of slices that belong to a service. */
static void each_target(struct amb_mbuild *b, bool slices,
			void (*fn)(struct amb_mbuild *b, const struct amb_mref *ref,
				   const struct amb_msubset *s, struct amb_mmember *m))
{
	uint32_t i, j;

	for (i = 0; i < b->t->n && !b->failed; i++) {
		const struct amb_mref *ref = &b->t->rows[i];
		const struct amb_mslice *slice = ref->obj->spec;
		struct amb_mmember *m;

		if (!is_slice(ref->obj) || !*slice->service)
			continue;
		m = amb_mbuild_member(b, ref->obj->ns, slice->service);
		if (!m ||
		    (slices && ref->obj->kind == AMB_MOBJ_ENDPOINTS && has_slices(b, ref->obj)))
			continue;
		for (j = 0; j < slice->nsubsets && !b->failed; j++)
			fn(b, ref, &slice->subsets[j], m);
	}
}

static void count_backed(struct amb_mbuild *b, const struct amb_mref *ref,
			 const struct amb_msubset *s, struct amb_mmember *m)
{
	uint32_t i;

	for (i = 0; i < s->ntargets; i++) {
		if (!s->targets[i].pod)
			continue;
		if (b->backed)
			b->backed[b->nbacked] =
				(struct amb_mbacked){ ref->obj->ns, s->targets[i].pod, m };
		b->nbacked++;
	}
}

static void add_targets(struct amb_mbuild *b, const struct amb_mref *ref,
			const struct amb_msubset *s, struct amb_mmember *m)
{
	Istio__Workload__PortList *ports = slice_ports(b, s, m);
	uint32_t i;

	for (i = 0; i < s->ntargets && !b->failed; i++)
		if (!s->targets[i].pod && s->targets[i].naddrs)
			add_target(b, ref, &s->targets[i], m, ports);
}

void amb_mbuild_workloads(struct amb_mbuild *b)
{
	struct members f;
	uint32_t i;

	each_target(b, false, count_backed);
	if (b->nbacked) {
		b->backed = amb_mbuild_alloc(b, b->nbacked * sizeof(*b->backed));
		b->nbacked = 0;
		if (!b->backed)
			return;
		each_target(b, false, count_backed);
		qsort(b->backed, b->nbacked, sizeof(*b->backed), by_pod);
	}
	for (i = 0; i < b->t->n && !b->failed; i++) {
		const struct amb_mref *ref = &b->t->rows[i];

		switch (ref->obj->kind) {
		case AMB_MOBJ_POD:
			add_pod(b, ref, &f);
			break;
		case AMB_MOBJ_WORKLOADENTRY:
			add_workload_entry(b, ref, &f);
			break;
		case AMB_MOBJ_SERVICEENTRY:
			add_service_entry(b, ref, &f);
			break;
		default:
			break;
		}
	}
	each_target(b, true, add_targets);
}
