/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Workload API resources written short, for the tables of the mesh tests. */
#ifndef SELFTESTS_MESH_H
#define SELFTESTS_MESH_H

#include "authorization.pb-c.h"
#include "workload.pb-c.h"

#include "harness.h"
#include "mesh/policy.h"
#include "mesh/state.h"

#include <arpa/inet.h>

/* Rows of tables say what they are about and no more. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* Lists are separated by blanks. Gateways: "net|addr:port", "|addr:port" or "ns/host:port". */
struct wl {
	const char *uid, *name, *ns, *sa, *td, *addrs, *network, *node, *host, *cluster;
	const char *region, *zone, *subzone;
	const char *waypoint, *gateway;
	const char *services; /* "ns/host=80:8080,81:0 ns/other=" */
	const char *policies;
	const char *canonical, *revision, *owner;
	int hbone, native, unhealthy, host_network, app_port, app_proxy, type;
	int capacity; /* 0: not said, -1: zero */
};

struct sv {
	const char *ns, *host, *name;
	const char *vips; /* "net|addr net|addr/bits" */
	const char *ports; /* "80:8080,81:0" */
	const char *waypoint, *weighted; /* weighted: "gw*3 gw*1" */
	const char *sans;
	const char *scopes; /* "network region zone" */
	int mode, allow_all, families, canonical, visibility;
};

#define MESH_MAX_ALLOCS 65536
static void *mesh_allocs[MESH_MAX_ALLOCS];
static size_t mesh_nallocs;

/* Memory until mesh_free(). */
__attribute__((unused)) static void *mesh_alloc(size_t n)
{
	void *p = calloc(1, n ? n : 1);

	if (!p || mesh_nallocs == MESH_MAX_ALLOCS)
		abort();
	return mesh_allocs[mesh_nallocs++] = p;
}

__attribute__((unused)) static void mesh_free(void)
{
	while (mesh_nallocs)
		free(mesh_allocs[--mesh_nallocs]);
}

__attribute__((unused)) static char *mesh_text(const char *s)
{
	size_t n = s ? strlen(s) + 1 : 1;

	return memcpy(mesh_alloc(n), s ? s : "", n);
}

/* Splits a copy of @s at any of @sep; returns the count. */
__attribute__((unused)) static size_t mesh_split(const char *s, const char *sep, char ***out)
{
	char *copy = mesh_text(s), *save = NULL, *t;
	size_t n = 0;

	*out = mesh_alloc((strlen(copy) + 1) * sizeof(**out));
	for (t = strtok_r(copy, sep, &save); t; t = strtok_r(NULL, sep, &save))
		(*out)[n++] = t;
	return n;
}

__attribute__((unused)) static ProtobufCBinaryData mesh_addr(const char *text)
{
	ProtobufCBinaryData b = { .data = mesh_alloc(16) };

	if (inet_pton(AF_INET, text, b.data) == 1)
		b.len = 4;
	else if (inet_pton(AF_INET6, text, b.data) == 1)
		b.len = 16;
	else
		abort();
	return b;
}

#define MESH_NEW(type, init)                         \
	({                                           \
		type *_p = mesh_alloc(sizeof(type)); \
		init(_p);                            \
		_p;                                  \
	})

__attribute__((unused)) static Istio__Workload__NetworkAddress *mesh_netaddr(char *text)
{
	Istio__Workload__NetworkAddress *m =
		MESH_NEW(Istio__Workload__NetworkAddress, istio__workload__network_address__init);
	char *bar = strchr(text, '|'), *slash = strchr(text, '/');

	*bar = 0;
	if (slash) {
		*slash = 0;
		m->prefix_case = ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX_LENGTH;
		m->length = atoi(slash + 1);
	}
	m->network = text;
	m->address = mesh_addr(bar + 1);
	return m;
}

__attribute__((unused)) static Istio__Workload__GatewayAddress *mesh_gateway(const char *s)
{
	Istio__Workload__GatewayAddress *m;
	char *text, *colon;

	if (!s)
		return NULL;
	m = MESH_NEW(Istio__Workload__GatewayAddress, istio__workload__gateway_address__init);
	text = mesh_text(s);
	colon = strrchr(text, ':');
	*colon = 0;
	m->hbone_mtls_port = atoi(colon + 1);
	if (strchr(text, '|')) {
		m->destination_case = ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_ADDRESS;
		m->address = mesh_netaddr(text);
	} else if (strchr(text, '/')) {
		m->destination_case = ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_HOSTNAME;
		m->hostname = MESH_NEW(Istio__Workload__NamespacedHostname,
				       istio__workload__namespaced_hostname__init);
		m->hostname->hostname = strchr(text, '/') + 1;
		*strchr(text, '/') = 0;
		m->hostname->namespace_ = text;
	}
	return m;
}

__attribute__((unused)) static size_t mesh_ports(const char *s, Istio__Workload__Port ***out)
{
	char **parts;
	size_t n = mesh_split(s, ",", &parts), i;

	*out = mesh_alloc(n * sizeof(**out));
	for (i = 0; i < n; i++) {
		(*out)[i] = MESH_NEW(Istio__Workload__Port, istio__workload__port__init);
		(*out)[i]->service_port = atoi(parts[i]);
		(*out)[i]->target_port = atoi(strchr(parts[i], ':') + 1);
	}
	return n;
}

__attribute__((unused)) static Istio__Workload__Address *mesh_workload(const struct wl *w)
{
	Istio__Workload__Address *a =
		MESH_NEW(Istio__Workload__Address, istio__workload__address__init);
	Istio__Workload__Workload *m =
		MESH_NEW(Istio__Workload__Workload, istio__workload__workload__init);
	char **parts;
	size_t i;

	a->type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a->workload = m;
	m->uid = mesh_text(w->uid);
	m->name = mesh_text(w->name ? w->name : w->uid);
	m->namespace_ = mesh_text(w->ns ? w->ns : "ns");
	m->service_account = mesh_text(w->sa);
	m->trust_domain = mesh_text(w->td);
	m->network = mesh_text(w->network);
	m->node = mesh_text(w->node);
	m->hostname = mesh_text(w->host);
	m->cluster_id = mesh_text(w->cluster);
	m->canonical_name = mesh_text(w->canonical);
	m->canonical_revision = mesh_text(w->revision);
	m->workload_name = mesh_text(w->owner);
	m->workload_type = w->type;
	m->tunnel_protocol = w->hbone;
	m->native_tunnel = w->native;
	m->status = w->unhealthy;
	m->network_mode = w->host_network;
	m->waypoint = mesh_gateway(w->waypoint);
	m->network_gateway = mesh_gateway(w->gateway);
	if (w->region || w->zone || w->subzone) {
		m->locality = MESH_NEW(Istio__Workload__Locality, istio__workload__locality__init);
		m->locality->region = mesh_text(w->region);
		m->locality->zone = mesh_text(w->zone);
		m->locality->subzone = mesh_text(w->subzone);
	}
	if (w->app_port || w->app_proxy) {
		m->application_tunnel = MESH_NEW(Istio__Workload__ApplicationTunnel,
						 istio__workload__application_tunnel__init);
		m->application_tunnel->port = w->app_port;
		m->application_tunnel->protocol = w->app_proxy;
	}
	if (w->capacity) {
		m->capacity = MESH_NEW(Google__Protobuf__UInt32Value,
				       google__protobuf__uint32_value__init);
		m->capacity->value = w->capacity < 0 ? 0 : w->capacity;
	}
	m->n_addresses = mesh_split(w->addrs, " ", &parts);
	m->addresses = mesh_alloc(m->n_addresses * sizeof(m->addresses[0]));
	for (i = 0; i < m->n_addresses; i++)
		m->addresses[i] = mesh_addr(parts[i]);
	m->n_authorization_policies = mesh_split(w->policies, " ", &m->authorization_policies);
	m->n_services = mesh_split(w->services, " ", &parts);
	m->services = mesh_alloc(m->n_services * sizeof(m->services[0]));
	for (i = 0; i < m->n_services; i++) {
		Istio__Workload__Workload__ServicesEntry *e;
		char *eq = strchr(parts[i], '=');

		e = MESH_NEW(Istio__Workload__Workload__ServicesEntry,
			     istio__workload__workload__services_entry__init);
		m->services[i] = e;
		e->value = MESH_NEW(Istio__Workload__PortList, istio__workload__port_list__init);
		if (eq) {
			*eq = 0;
			e->value->n_ports = mesh_ports(eq + 1, &e->value->ports);
		}
		e->key = parts[i];
	}
	return a;
}

__attribute__((unused)) static Istio__Workload__Address *mesh_service(const struct sv *s)
{
	static const char *const scopes[] = { "",     "region",	 "zone",   "subzone",
					      "node", "cluster", "network" };
	Istio__Workload__Address *a =
		MESH_NEW(Istio__Workload__Address, istio__workload__address__init);
	Istio__Workload__Service *m =
		MESH_NEW(Istio__Workload__Service, istio__workload__service__init);
	char **parts;
	size_t n, i, j;

	a->type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE;
	a->service = m;
	m->name = mesh_text(s->name ? s->name : s->host);
	m->namespace_ = mesh_text(s->ns ? s->ns : "ns");
	m->hostname = mesh_text(s->host);
	m->waypoint = mesh_gateway(s->waypoint);
	m->ip_families = s->families;
	m->canonical = s->canonical;
	m->visibility = s->visibility;
	m->n_addresses = mesh_split(s->vips, " ", &parts);
	m->addresses = mesh_alloc(m->n_addresses * sizeof(m->addresses[0]));
	for (i = 0; i < m->n_addresses; i++)
		m->addresses[i] = mesh_netaddr(parts[i]);
	m->n_ports = mesh_ports(s->ports, &m->ports);
	m->n_subject_alt_names = mesh_split(s->sans, " ", &m->subject_alt_names);
	m->n_weighted_waypoints = mesh_split(s->weighted, " ", &parts);
	m->weighted_waypoints = mesh_alloc(m->n_weighted_waypoints * sizeof(void *));
	for (i = 0; i < m->n_weighted_waypoints; i++) {
		char *star = strchr(parts[i], '*');

		m->weighted_waypoints[i] = MESH_NEW(Istio__Workload__WeightedWaypoint,
						    istio__workload__weighted_waypoint__init);
		*star = 0;
		m->weighted_waypoints[i]->destination = mesh_gateway(parts[i]);
		m->weighted_waypoints[i]->weight = atoi(star + 1);
	}
	if (!s->mode && !s->allow_all && !s->scopes)
		return a;
	m->load_balancing =
		MESH_NEW(Istio__Workload__LoadBalancing, istio__workload__load_balancing__init);
	m->load_balancing->mode = s->mode;
	m->load_balancing->health_policy = s->allow_all;
	n = mesh_split(s->scopes, " ", &parts);
	m->load_balancing->n_routing_preference = n;
	m->load_balancing->routing_preference =
		mesh_alloc(n * sizeof(m->load_balancing->routing_preference[0]));
	for (i = 0; i < n; i++) {
		for (j = 1; j < 7; j++) {
			if (!strcmp(parts[i], scopes[j]))
				m->load_balancing->routing_preference[i] = j;
		}
	}
	return a;
}

static char mesh_reason[512];
static int mesh_nrefused;

__attribute__((unused)) static void mesh_refused(void *ctx, const struct amb_resource *r,
						 const char *reason)
{
	(void)ctx;
	(void)r;
	mesh_nrefused++;
	snprintf(mesh_reason, sizeof(mesh_reason), "%s", reason);
}

/* Applies all of it as one update; returns what amb_state_apply() does. */
__attribute__((unused)) static int mesh_apply(struct amb_state *st, const struct wl *w, size_t nw,
					      const struct sv *s, size_t ns)
{
	struct amb_resource *res = mesh_alloc((nw + ns) * sizeof(*res));
	size_t i;

	for (i = 0; i < nw; i++)
		res[i].address = mesh_workload(&w[i]);
	for (i = 0; i < ns; i++)
		res[nw + i].address = mesh_service(&s[i]);
	mesh_nrefused = 0;
	mesh_reason[0] = 0;
	return amb_state_apply(st, res, nw + ns, mesh_refused, NULL);
}

__attribute__((unused)) static int mesh_put_workload(struct amb_state *st, struct wl w)
{
	return mesh_apply(st, &w, 1, NULL, 0);
}

__attribute__((unused)) static int mesh_put_service(struct amb_state *st, struct sv s)
{
	return mesh_apply(st, NULL, 0, &s, 1);
}

__attribute__((unused)) static int mesh_remove(struct amb_state *st, const char *name, bool policy)
{
	struct amb_resource r = { .name = name, .is_policy = policy };

	return amb_state_apply(st, &r, 1, mesh_refused, NULL);
}

__attribute__((unused)) static int mesh_put_policy(struct amb_state *st,
						   const Istio__Security__Authorization *a)
{
	struct amb_resource r = { .is_policy = true, .authorization = a };

	mesh_reason[0] = 0;
	return amb_state_apply(st, &r, 1, mesh_refused, NULL);
}

__attribute__((unused)) static struct amb_state *mesh_state(const char *network)
{
	struct amb_state_config c = { .network = network, .node = "node" };

	return amb_state_create(&c);
}

#endif
