// SPDX-License-Identifier: GPL-2.0-or-later
/* Gateways: waypoints and who uses them (ztunnel-interop 10.4), gateways of other networks. */
#include "manifest_compile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_FOR "istio.io/waypoint-for"
#define LABEL_USE "istio.io/use-waypoint"
#define LABEL_CANARY "istio.io/use-waypoint-canary"
#define LABEL_INSTANCE "gateway.networking.k8s.io/gateway-name"
#define LABEL_NETWORK "topology.istio.io/network"
#define BINDING "ambient.istio.io/waypoint-inbound-binding"
#define HBONE_PORT 15008

static bool is_waypoint_class(const char *class)
{
	return !strcmp(class, "istio-waypoint") || !strcmp(class, "istio-agentgateway-waypoint") ||
	       !strcmp(class, "istio-east-west");
}

static Istio__Workload__GatewayAddress *by_host(struct amb_mbuild *b, const char *ns,
						const char *host, uint32_t port)
{
	Istio__Workload__GatewayAddress *g = amb_mbuild_alloc(b, sizeof(*g));
	Istio__Workload__NamespacedHostname *h = amb_mbuild_alloc(b, sizeof(*h));

	if (!g || !h)
		return NULL;
	istio__workload__gateway_address__init(g);
	istio__workload__namespaced_hostname__init(h);
	h->namespace_ = (char *)ns;
	h->hostname = (char *)host;
	g->destination_case = ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_HOSTNAME;
	g->hostname = h;
	g->hbone_mtls_port = port;
	return g;
}

static Istio__Workload__GatewayAddress *by_addr(struct amb_mbuild *b, const char *network,
						const char *text, uint32_t port)
{
	Istio__Workload__GatewayAddress *g = amb_mbuild_alloc(b, sizeof(*g));
	struct amb_addr addr;

	if (!g || amb_addr_parse(text, &addr))
		return NULL;
	istio__workload__gateway_address__init(g);
	g->destination_case = ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_ADDRESS;
	g->address = amb_mbuild_address(b, network, &addr);
	g->hbone_mtls_port = port;
	return g->address ? g : NULL;
}

/*
 * Where a waypoint is: a host name of its status rather than an address, as istiod prefers.
 * Nobody fills in a status here, so the Service of the same name will do.
 */
static Istio__Workload__GatewayAddress *waypoint_address(struct amb_mbuild *b,
							 const struct amb_mref *ref)
{
	const struct amb_mgateway *gw = ref->obj->spec;
	const char *host;
	uint32_t i;

	for (i = 0; i < gw->nstatus; i++)
		if (gw->status[i].hostname)
			return by_host(b, ref->obj->ns, gw->status[i].value, HBONE_PORT);
	if (gw->nstatus)
		return by_addr(b, b->set->network, gw->status[0].value, HBONE_PORT);
	if (!is_waypoint_class(gw->class) && !amb_kvs_get(&ref->obj->labels, LABEL_FOR))
		return NULL;
	if (!amb_mtable_find(b->t, AMB_MOBJ_SERVICE, ref->obj->ns, ref->obj->name))
		return NULL;
	host = amb_arena_printf(b->a, "%s.%s.svc.%s", ref->obj->name, ref->obj->ns, b->set->domain);
	b->failed |= !host;
	return host ? by_host(b, ref->obj->ns, host, HBONE_PORT) : NULL;
}

static const char *own_or_class(const struct amb_mref *ref, const struct amb_mref *class,
				const char *label, const char *annotation)
{
	const char *v;

	v = label ? amb_kvs_get(&ref->obj->labels, label) :
		    amb_kvs_get(&ref->obj->annotations, annotation);
	if (v || !class)
		return v;
	return label ? amb_kvs_get(&class->obj->labels, label) :
		       amb_kvs_get(&class->obj->annotations, annotation);
}

/* "PROXY/15088", "PROXY", "NONE": what instances of the waypoint want instead of HBONE. */
static void read_binding(struct amb_mbuild *b, struct amb_mwaypoint *w, const char *text)
{
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	uint16_t port = 0;
	bool proxy = n == 5 && !memcmp(text, "PROXY", 5);

	if ((!proxy && (n != 4 || memcmp(text, "NONE", 4))) ||
	    (slash && amb_util_parse_port(slash + 1, &port))) {
		amb_mbuild_report(b, w->ref, true, "metadata.annotations[" BINDING "]",
				  "\"%.64s\" is not PROXY, PROXY/PORT or NONE", text);
		return;
	}
	w->bound = true;
	istio__workload__application_tunnel__init(&w->tunnel);
	w->tunnel.protocol = proxy ? ISTIO__WORKLOAD__APPLICATION_TUNNEL__PROTOCOL__PROXY :
				     ISTIO__WORKLOAD__APPLICATION_TUNNEL__PROTOCOL__NONE;
	w->tunnel.port = port;
}

/* The listener whose allowedRoutes say which namespaces may use the waypoint. */
static const struct amb_mlistener *routes(const struct amb_mwaypoint *w)
{
	const struct amb_mgateway *gw = w->ref->obj->spec;
	bool proxy = w->tunnel.protocol == ISTIO__WORKLOAD__APPLICATION_TUNNEL__PROTOCOL__PROXY;
	uint32_t i;

	for (i = 0; w->bound && i < gw->nlisteners; i++)
		if (w->tunnel.port ? gw->listeners[i].port == w->tunnel.port :
				     proxy && gw->listeners[i].proxy)
			return &gw->listeners[i];
	for (i = 0; i < gw->nlisteners; i++)
		if (gw->listeners[i].hbone && gw->listeners[i].port == HBONE_PORT)
			return &gw->listeners[i];
	return NULL;
}

static void add_waypoint(struct amb_mbuild *b, const struct amb_mref *ref,
			 Istio__Workload__GatewayAddress *address)
{
	const struct amb_mgateway *gw = ref->obj->spec;
	const struct amb_mref *class = amb_mtable_find(b->t, AMB_MOBJ_GATEWAYCLASS, "", gw->class);
	struct amb_mwaypoint *w = &b->waypoints[b->nwaypoints++];
	const char *kind, *binding;

	w->ref = ref;
	w->address = address;
	kind = own_or_class(ref, class, LABEL_FOR, NULL);
	if (!kind)
		kind = "service";
	w->for_service = !strcmp(kind, "service") || !strcmp(kind, "all");
	w->for_workload = !strcmp(kind, "workload") || !strcmp(kind, "all");
	if (!w->for_service && !w->for_workload && strcmp(kind, "none"))
		amb_mbuild_report(b, ref, true, "metadata.labels[" LABEL_FOR "]",
				  "\"%.64s\" is not service, workload, all or none", kind);
	binding = own_or_class(ref, class, NULL, BINDING);
	if (binding)
		read_binding(b, w, binding);
	w->routes = routes(w);
}

static bool may_use(struct amb_mbuild *b, const struct amb_mwaypoint *w, const char *ns)
{
	const struct amb_mref *space;

	switch (w->routes ? w->routes->from : AMB_MFROM_SAME) {
	case AMB_MFROM_ALL:
		return true;
	case AMB_MFROM_SELECTOR:
		space = amb_mtable_find(b->t, AMB_MOBJ_NAMESPACE, "", ns);
		return space && amb_kvs_match(&w->routes->from_labels, &space->obj->labels);
	default:
		return !strcmp(w->ref->obj->ns, ns);
	}
}

static const struct amb_mwaypoint *find(struct amb_mbuild *b, const char *ns, const char *name)
{
	const struct amb_mref *ref = amb_mtable_find(b->t, AMB_MOBJ_GATEWAY, ns, name);
	uint32_t lo = 0, hi = b->nwaypoints;

	while (ref && lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (b->waypoints[mid].ref == ref)
			return &b->waypoints[mid];
		if (b->waypoints[mid].ref < ref)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

const struct amb_mwaypoint *amb_mbuild_waypoint_of_instance(struct amb_mbuild *b, const char *ns,
							    const struct amb_kvs *labels)
{
	const char *name = amb_kvs_get(labels, LABEL_INSTANCE);

	return name ? find(b, ns, name) : NULL;
}

/*
 * The waypoint that @label of @labels names for something in @ns; @ref, when given, hears why
 * there is none. Without a waypoint its traffic goes straight, as in a cluster.
 */
static const struct amb_mwaypoint *named(struct amb_mbuild *b, const struct amb_mref *ref,
					 const char *ns, const struct amb_kvs *labels,
					 const char *label, bool service)
{
	const char *name = amb_kvs_get(labels, label), *space;
	bool canary = !strcmp(label, LABEL_CANARY);
	const struct amb_mwaypoint *w;
	char field[96];

	space = amb_kvs_get(labels, canary ? LABEL_CANARY "-namespace" : LABEL_USE "-namespace");
	if (!space)
		space = ns;
	w = find(b, space, name);
	if (w && may_use(b, w, ns) && (service ? w->for_service : w->for_workload))
		return w;
	if (!ref)
		return NULL;
	snprintf(field, sizeof(field), "metadata.labels[%s]", label);
	if (!w)
		amb_mbuild_report(b, ref, false, field,
				  "Gateway %s/%s is not there or has no address; traffic passes no "
				  "waypoint",
				  space, name);
	else if (!may_use(b, w, ns))
		amb_mbuild_report(b, ref, false, field,
				  "Gateway %s/%s does not allow namespace %s; traffic passes no "
				  "waypoint",
				  space, name, ns);
	else
		amb_mbuild_report(b, ref, false, field,
				  "Gateway %s/%s is not for %s (label " LABEL_FOR
				  "); traffic passes no waypoint",
				  space, name, service ? "services" : "workloads");
	return NULL;
}

static uint32_t canary_weight(struct amb_mbuild *b, const struct amb_mref *owner)
{
	const char *text = amb_kvs_get(&owner->obj->annotations, LABEL_CANARY "-weight");
	char *end;
	long v;

	if (!text)
		return 0;
	v = strtol(text, &end, 10);
	if (end != text && !*end && v >= 0 && v <= 100)
		return (uint32_t)v;
	amb_mbuild_report(b, owner, true, "metadata.annotations[" LABEL_CANARY "-weight]",
			  "\"%.64s\" is not in 0..100", text);
	return 0;
}

const struct amb_mwaypoint *amb_mbuild_waypoint(struct amb_mbuild *b, const struct amb_mref *ref,
						const char *ns, const struct amb_kvs *labels,
						bool service, const struct amb_mwaypoint **canary,
						uint32_t *weight)
{
	const char *use = amb_kvs_get(labels, LABEL_USE);
	const struct amb_mref *owner = ref;
	const struct amb_mwaypoint *w;

	if (!use) {
		/* What a namespace's label leads to is told once, for the namespace. */
		owner = amb_mtable_find(b->t, AMB_MOBJ_NAMESPACE, "", ns);
		if (!owner)
			return NULL;
		ref = NULL;
		labels = &owner->obj->labels;
		use = amb_kvs_get(labels, LABEL_USE);
	}
	if (!use || !strcmp(use, "none"))
		return NULL;
	w = named(b, ref, ns, labels, LABEL_USE, service);
	if (w && canary && owner && amb_kvs_get(labels, LABEL_CANARY)) {
		*weight = canary_weight(b, owner);
		if (*weight)
			*canary = named(b, ref, ns, labels, LABEL_CANARY, service);
	}
	return w;
}

void amb_mbuild_waypoints(struct amb_mbuild *b)
{
	uint32_t i, n = 0;

	for (i = 0; i < b->t->n; i++)
		n += b->t->rows[i].obj->kind == AMB_MOBJ_GATEWAY;
	b->waypoints = amb_mbuild_alloc(b, n * sizeof(*b->waypoints));
	for (i = 0; n && i < b->t->n && !b->failed; i++) {
		Istio__Workload__GatewayAddress *address;
		const struct amb_mref *ref = &b->t->rows[i];

		if (ref->obj->kind != AMB_MOBJ_GATEWAY)
			continue;
		address = waypoint_address(b, ref);
		if (address)
			add_waypoint(b, ref, address);
	}
	for (i = 0; i < b->t->n && !b->failed; i++) {
		const struct amb_mref *ref = &b->t->rows[i];
		const char *use;

		if (ref->obj->kind != AMB_MOBJ_NAMESPACE)
			continue;
		use = amb_kvs_get(&ref->obj->labels, LABEL_USE);
		if (use && strcmp(use, "none") &&
		    !named(b, NULL, ref->obj->name, &ref->obj->labels, LABEL_USE, false))
			named(b, ref, ref->obj->name, &ref->obj->labels, LABEL_USE, true);
	}
}

/* The way into another network: a Gateway of class istio-remote with the network's label. */
static const struct amb_mgwaddr *remote(const struct amb_mref *ref, const char **network,
					uint32_t *port)
{
	const struct amb_mgateway *gw = ref->obj->spec;
	uint32_t i;

	if (ref->obj->kind != AMB_MOBJ_GATEWAY || strcmp(gw->class, "istio-remote"))
		return NULL;
	*network = amb_kvs_get(&ref->obj->labels, LABEL_NETWORK);
	if (!*network || !**network)
		return NULL;
	for (i = 0; i < gw->nlisteners; i++) {
		if (!gw->listeners[i].hbone || !gw->listeners[i].port)
			continue;
		*port = gw->listeners[i].port;
		return gw->nstatus ? gw->status : gw->naddrs ? gw->addrs : NULL;
	}
	return NULL;
}

void amb_mbuild_network_gateways(struct amb_mbuild *b)
{
	uint32_t i, port;

	for (i = 0; i < b->t->n && !b->failed; i++) {
		const struct amb_mref *ref = &b->t->rows[i];
		Istio__Workload__Address *address;
		Istio__Workload__Workload *w;
		const struct amb_mgwaddr *at;
		struct amb_addr *addr;
		const char *network, *sa;

		at = remote(ref, &network, &port);
		if (!at)
			continue;
		w = amb_mbuild_workload(b, &address);
		if (!w)
			return;
		w->uid =
			amb_arena_printf(b->a, "NetworkGateway/%s/%s/%u", network, at->value, port);
		w->namespace_ = (char *)ref->obj->ns;
		w->network = (char *)network;
		sa = amb_kvs_get(&ref->obj->annotations, "gateway.istio.io/service-account");
		w->service_account = sa ? (char *)sa :
					  amb_arena_printf(b->a, "%s-istio-remote", ref->obj->name);
		addr = amb_mbuild_alloc(b, sizeof(*addr));
		if (!addr)
			return;
		if (!amb_addr_parse(at->value, addr))
			amb_mbuild_workload_addrs(b, w, addr, 1);
		else
			w->hostname = (char *)at->value;
		if (!w->uid || !w->service_account) {
			b->failed = true;
			return;
		}
		b->out->workloads += amb_mbuild_add(b, w->uid, ref, address, NULL);
	}
}

Istio__Workload__GatewayAddress *amb_mbuild_network_gateway(struct amb_mbuild *b,
							    const char *network)
{
	uint32_t i, port;

	/* Only workloads of other networks ask, which are few. */
	for (i = 0; i < b->t->n; i++) {
		const struct amb_mref *ref = &b->t->rows[i];
		const struct amb_mgwaddr *at;
		const char *of;

		at = remote(ref, &of, &port);
		if (!at || strcmp(of, network))
			continue;
		return at->hostname ? by_host(b, ref->obj->ns, at->value, port) :
				      by_addr(b, network, at->value, port);
	}
	return NULL;
}
