// SPDX-License-Identifier: GPL-2.0-or-later
/* Workloads and services of a local configuration. */
#include "local_xds_priv.h"

#include "google/protobuf/wrappers.pb-c.h"
#include "workload.pb-c.h"

#include <string.h>

typedef Istio__Workload__Workload Workload;
typedef Istio__Workload__Workload__ServicesEntry Membership;
typedef Istio__Workload__Service Service;
typedef Istio__Workload__GatewayAddress Gateway;
typedef Istio__Workload__NetworkAddress NetAddress;
typedef Istio__Workload__Port Port;

#define NEW AMB_LXDS_NEW

/* Addresses */

/* "network/address", with @cidr "network/address/bits". NULL: it is something else. */
static NetAddress *net_address(struct amb_decode *d, const char *text, bool cidr)
{
	const char *slash = strchr(text, '/');
	struct amb_addr addr;
	NetAddress *m;
	uint8_t bits = 0;

	if (!slash ||
	    (cidr ? amb_decode_cidr(slash + 1, &addr, &bits) : amb_addr_parse(slash + 1, &addr)))
		return NULL;
	m = NEW(d, NetAddress, istio__workload__network_address__init);
	if (!m)
		return NULL;
	m->network = amb_lxds_text(d, text, slash - text);
	amb_lxds_bytes(d, &addr, &m->address);
	if (cidr) {
		m->prefix_case = ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX_LENGTH;
		m->length = bits;
	}
	return m;
}

static void *vip(struct amb_decode *d, const struct amb_yaml *v)
{
	NetAddress *m = net_address(d, v->text, false);

	if (!m)
		amb_decode_error(d, v, "has to be network/address, not \"%.100s\"", v->text);
	return m;
}

/* "network/10.0.0.0/8", or {network: x, cidr: 10.0.0.0/8}. */
static void *cidr_vip(struct amb_decode *d, const struct amb_yaml *v)
{
	static const char *const keys[] = { "network", "cidr", NULL };
	const char *network = "", *cidr = "";
	NetAddress *m;
	char *text;

	amb_decode_only(d, v, keys);
	amb_lxds_needed(d, v, "cidr");
	amb_decode_peek(d, v, "network", &network);
	amb_decode_peek(d, v, "cidr", &cidr);
	if (d->failed)
		return NULL;
	text = amb_arena_printf(d->arena, "%s/%s", network, cidr);
	m = text ? net_address(d, text, true) : NULL;
	if (!m)
		amb_decode_error_in(d, v, "cidr", -1, "\"%.100s\" is no range of addresses", cidr);
	return m;
}

static void destination(struct amb_decode *d, const struct amb_yaml *map, Gateway *m)
{
	const char *text = "", *slash;

	amb_decode_peek(d, map, "destination", &text);
	if (d->failed)
		return;
	m->address = net_address(d, text, false);
	if (m->address) {
		m->destination_case = ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_ADDRESS;
		return;
	}
	slash = strchr(text, '/');
	if (!slash || strchr(slash + 1, '/')) {
		amb_decode_error_in(d, map, "destination", -1,
				    "has to be network/address or namespace/host, not \"%.100s\"",
				    text);
		return;
	}
	m->hostname = NEW(d, Istio__Workload__NamespacedHostname,
			  istio__workload__namespaced_hostname__init);
	if (!m->hostname)
		return;
	m->destination_case = ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_HOSTNAME;
	m->hostname->namespace_ = amb_lxds_text(d, text, slash - text);
	m->hostname->hostname = amb_lxds_text(d, slash + 1, strlen(slash + 1));
}

static Gateway *gateway(struct amb_decode *d, const struct amb_yaml *map, const char *key)
{
	static const char *const keys[] = { "destination", "hboneMtlsPort", NULL };
	const struct amb_yaml *v = amb_decode_enter(d, map, key, AMB_YAML_MAP);
	Gateway *m = v ? NEW(d, Gateway, istio__workload__gateway_address__init) : NULL;
	int64_t port = 0;

	if (m) {
		amb_decode_only(d, v, keys);
		amb_lxds_needed(d, v, "destination");
		amb_lxds_needed(d, v, "hboneMtlsPort");
		destination(d, v, m);
		amb_decode_int(d, v, "hboneMtlsPort", 0, 65535, &port);
		m->hbone_mtls_port = port;
	}
	if (v)
		amb_decode_leave(d);
	return m;
}

/* {80: 8080} in the value of @key. */
static void ports(struct amb_decode *d, const struct amb_yaml *map, const char *key, Port ***out,
		  size_t *n)
{
	const struct amb_yaml *v = amb_decode_enter(d, map, key, AMB_YAML_MAP);
	Port **p = v ? amb_decode_alloc(d, (v->n + 1) * sizeof(*p)) : NULL;
	int64_t port;
	uint32_t i;

	for (i = 0; p && i < v->n && !d->failed; i++) {
		const struct amb_yaml *from = v->pairs[i].key;
		int64_t target = 0;

		if (amb_yaml_int(from, &port) || port < 1 || port > 65535) {
			amb_decode_error(d, from, "\"%.40s\" is no port", from->text);
			break;
		}
		amb_decode_int(d, v, from->text, 0, 65535, &target);
		p[i] = NEW(d, Port, istio__workload__port__init);
		if (!p[i])
			break;
		p[i]->service_port = port;
		p[i]->target_port = target;
	}
	if (p && !d->failed) {
		*out = p;
		*n = v->n;
	}
	if (v)
		amb_decode_leave(d);
}

/* Workloads */

static const struct {
	const char *key;
	size_t field;
} strings[] = {
	{ "uid", offsetof(Workload, uid) },
	{ "name", offsetof(Workload, name) },
	{ "namespace", offsetof(Workload, namespace_) },
	{ "trustDomain", offsetof(Workload, trust_domain) },
	{ "serviceAccount", offsetof(Workload, service_account) },
	{ "network", offsetof(Workload, network) },
	{ "workloadName", offsetof(Workload, workload_name) },
	{ "canonicalName", offsetof(Workload, canonical_name) },
	{ "canonicalRevision", offsetof(Workload, canonical_revision) },
	{ "hostname", offsetof(Workload, hostname) },
	{ "node", offsetof(Workload, node) },
	{ "clusterId", offsetof(Workload, cluster_id) },
};

static void addresses(struct amb_decode *d, const struct amb_yaml *map, Workload *m)
{
	const char *const *texts = NULL;
	struct amb_addr addr;
	uint32_t i, n = 0;

	amb_decode_strings(d, map, "workloadIps", &texts, &n);
	m->addresses = amb_decode_alloc(d, (n + 1) * sizeof(*m->addresses));
	for (i = 0; m->addresses && i < n; i++) {
		if (amb_addr_parse(texts[i], &addr)) {
			amb_decode_error_in(d, map, "workloadIps", i, "\"%.60s\" is no address",
					    texts[i]);
			return;
		}
		amb_lxds_bytes(d, &addr, &m->addresses[i]);
	}
	m->n_addresses = m->addresses ? n : 0;
}

static void memberships(struct amb_decode *d, const struct amb_yaml *map, Workload *m)
{
	const struct amb_yaml *v = amb_decode_enter(d, map, "services", AMB_YAML_MAP);
	Membership **e = v ? amb_decode_alloc(d, (v->n + 1) * sizeof(*e)) : NULL;
	uint32_t i;

	for (i = 0; e && i < v->n && !d->failed; i++) {
		const char *name = v->pairs[i].key->text;

		if (!strchr(name, '/')) {
			amb_decode_error(d, v->pairs[i].key,
					 "has to be namespace/host, not \"%.100s\"", name);
			break;
		}
		e[i] = NEW(d, Membership, istio__workload__workload__services_entry__init);
		if (!e[i])
			break;
		e[i]->key = amb_lxds_text(d, name, strlen(name));
		e[i]->value = NEW(d, Istio__Workload__PortList, istio__workload__port_list__init);
		if (e[i]->value)
			ports(d, v, name, &e[i]->value->ports, &e[i]->value->n_ports);
	}
	if (e && !d->failed) {
		m->services = e;
		m->n_services = v->n;
	}
	if (v)
		amb_decode_leave(d);
}

static void locality(struct amb_decode *d, const struct amb_yaml *map, Workload *m)
{
	static const char *const keys[] = { "region", "zone", "subzone", NULL };
	const struct amb_yaml *v = amb_decode_enter(d, map, "locality", AMB_YAML_MAP);

	if (!v)
		return;
	amb_decode_only(d, v, keys);
	m->locality = NEW(d, Istio__Workload__Locality, istio__workload__locality__init);
	if (m->locality) {
		amb_lxds_string(d, v, "region", &m->locality->region);
		amb_lxds_string(d, v, "zone", &m->locality->zone);
		amb_lxds_string(d, v, "subzone", &m->locality->subzone);
	}
	amb_decode_leave(d);
}

static void app_tunnel(struct amb_decode *d, const struct amb_yaml *map, Workload *m)
{
	static const char *const keys[] = { "protocol", "port", NULL };
	static const char *const protocols[] = { "NONE", "PROXY", NULL };
	const struct amb_yaml *v = amb_decode_enter(d, map, "applicationTunnel", AMB_YAML_MAP);
	int protocol = 0;
	int64_t port = 0;

	if (!v)
		return;
	amb_decode_only(d, v, keys);
	amb_decode_enum(d, v, "protocol", protocols, &protocol);
	amb_decode_int(d, v, "port", 0, 65535, &port);
	m->application_tunnel = NEW(d, Istio__Workload__ApplicationTunnel,
				    istio__workload__application_tunnel__init);
	if (m->application_tunnel) {
		m->application_tunnel->protocol = protocol;
		m->application_tunnel->port = port;
	}
	amb_decode_leave(d);
}

static void kinds(struct amb_decode *d, const struct amb_yaml *map, Workload *m)
{
	static const char *const protocols[] = { "TCP", "HBONE", NULL };
	static const char *const modes[] = { "Standard", "HostNetwork", NULL };
	static const char *const health[] = { "Healthy", "Unhealthy", NULL };
	static const char *const types[] = { "deployment", "cronjob", "pod", "job", NULL };
	int protocol = 0, mode = 0, status = 0;
	int type = ISTIO__WORKLOAD__WORKLOAD_TYPE__POD;

	amb_decode_enum(d, map, "protocol", protocols, &protocol);
	amb_decode_enum(d, map, "networkMode", modes, &mode);
	amb_decode_enum(d, map, "status", health, &status);
	amb_decode_enum(d, map, "workloadType", types, &type);
	m->tunnel_protocol = protocol;
	m->network_mode = mode;
	m->status = status;
	m->workload_type = type;
}

static void capacity(struct amb_decode *d, const struct amb_yaml *map, Workload *m)
{
	int64_t v = -1;

	amb_decode_int(d, map, "capacity", 0, UINT32_MAX, &v);
	if (v < 0)
		return;
	m->capacity = NEW(d, Google__Protobuf__UInt32Value, google__protobuf__uint32_value__init);
	if (m->capacity)
		m->capacity->value = v;
}

void amb_lxds_workload(struct amb_decode *d, const struct amb_yaml *v, Workload *m)
{
	static const char *const keys[] = {
		"uid",
		"name",
		"namespace",
		"trustDomain",
		"serviceAccount",
		"network",
		"workloadName",
		"canonicalName",
		"hostname",
		"node",
		"canonicalRevision",
		"clusterId",
		"workloadIps",
		"waypoint",
		"networkGateway",
		"protocol",
		"networkMode",
		"workloadType",
		"nativeTunnel",
		"applicationTunnel",
		"status",
		"authorizationPolicies",
		"locality",
		"services",
		"capacity",
		NULL,
	};
	const char *const *policies = NULL;
	uint32_t n = 0;
	size_t i;

	amb_decode_only(d, v, keys);
	amb_lxds_needed(d, v, "uid");
	amb_lxds_needed(d, v, "namespace");
	amb_lxds_needed(d, v, "workloadIps");
	for (i = 0; i < AMB_ARRAY_SIZE(strings); i++)
		amb_lxds_string(d, v, strings[i].key, (char **)((char *)m + strings[i].field));
	addresses(d, v, m);
	kinds(d, v, m);
	amb_lxds_flag(d, v, "nativeTunnel", &m->native_tunnel);
	m->waypoint = gateway(d, v, "waypoint");
	m->network_gateway = gateway(d, v, "networkGateway");
	amb_decode_strings(d, v, "authorizationPolicies", &policies, &n);
	m->authorization_policies = (char **)policies;
	m->n_authorization_policies = n;
	app_tunnel(d, v, m);
	locality(d, v, m);
	memberships(d, v, m);
	capacity(d, v, m);
}

/* Services */

static void *weighted(struct amb_decode *d, const struct amb_yaml *v)
{
	static const char *const keys[] = { "destination", "weight", NULL };
	Istio__Workload__WeightedWaypoint *m =
		NEW(d, Istio__Workload__WeightedWaypoint, istio__workload__weighted_waypoint__init);
	int64_t weight = 0;

	if (!m)
		return NULL;
	amb_decode_only(d, v, keys);
	amb_lxds_needed(d, v, "destination");
	m->destination = gateway(d, v, "destination");
	amb_decode_int(d, v, "weight", 0, UINT32_MAX, &weight);
	m->weight = weight;
	return m;
}

static void scopes(struct amb_decode *d, const struct amb_yaml *map,
		   Istio__Workload__LoadBalancing *m)
{
	static const char *const names[] = { "",     "Region",	"Zone",	  "Subzone",
					     "Node", "Cluster", "Network" };
	const char *const *texts = NULL;
	uint32_t i, j, n = 0;

	amb_decode_strings(d, map, "routingPreferences", &texts, &n);
	m->routing_preference = amb_decode_alloc(d, (n + 1) * sizeof(*m->routing_preference));
	for (i = 0; m->routing_preference && i < n; i++) {
		for (j = 1; j < AMB_ARRAY_SIZE(names) && strcmp(names[j], texts[i]); j++)
			;
		if (j == AMB_ARRAY_SIZE(names)) {
			amb_decode_error_in(d, map, "routingPreferences", i,
					    "\"%.40s\" is no scope", texts[i]);
			return;
		}
		m->routing_preference[i] = j;
	}
	m->n_routing_preference = m->routing_preference ? n : 0;
}

static void load_balancer(struct amb_decode *d, const struct amb_yaml *map, Service *m)
{
	static const char *const keys[] = { "routingPreferences", "mode", "healthPolicy", NULL };
	static const char *const modes[] = { "Standard", "Strict", "Failover", "Passthrough",
					     NULL };
	static const char *const policies[] = { "OnlyHealthy", "AllowAll", NULL };
	const struct amb_yaml *v = amb_decode_enter(d, map, "loadBalancer", AMB_YAML_MAP);
	int mode = 0, policy = 0;

	if (!v)
		return;
	amb_decode_only(d, v, keys);
	amb_decode_enum(d, v, "mode", modes, &mode);
	amb_decode_enum(d, v, "healthPolicy", policies, &policy);
	m->load_balancing =
		NEW(d, Istio__Workload__LoadBalancing, istio__workload__load_balancing__init);
	if (m->load_balancing) {
		m->load_balancing->mode = mode;
		m->load_balancing->health_policy = policy;
		scopes(d, v, m->load_balancing);
	}
	amb_decode_leave(d);
}

static void all_vips(struct amb_decode *d, const struct amb_yaml *v, Service *m)
{
	NetAddress **vips = NULL, **cidrs = NULL, **all;
	size_t nvips = 0, ncidrs = 0;

	amb_lxds_list(d, v, "vips", AMB_YAML_SCALAR, vip, &vips, &nvips);
	amb_lxds_list(d, v, "cidrVips", AMB_YAML_MAP, cidr_vip, &cidrs, &ncidrs);
	all = amb_decode_alloc(d, (nvips + ncidrs + 1) * sizeof(*all));
	if (!all)
		return;
	if (nvips)
		memcpy(all, vips, nvips * sizeof(*all));
	if (ncidrs)
		memcpy(all + nvips, cidrs, ncidrs * sizeof(*all));
	m->addresses = all;
	m->n_addresses = nvips + ncidrs;
}

void amb_lxds_service(struct amb_decode *d, const struct amb_yaml *v, Service *m)
{
	static const char *const keys[] = {
		"name",
		"namespace",
		"hostname",
		"vips",
		"cidrVips",
		"ports",
		"subjectAltNames",
		"waypoint",
		"weightedWaypoints",
		"loadBalancer",
		"ipFamilies",
		"canonical",
		"visibility",
		"endpoints",
		NULL,
	};
	static const char *const families[] = { "", "IPv4", "IPv6", "Dual", NULL };
	static const char *const visibilities[] = { "Public", "Namespace", NULL };
	const struct amb_yaml *endpoints = amb_yaml_get(v, "endpoints");
	const char *const *sans = NULL;
	int family = 0, visibility = 0;
	uint32_t n = 0;

	amb_decode_only(d, v, keys);
	amb_lxds_needed(d, v, "name");
	amb_lxds_needed(d, v, "namespace");
	amb_lxds_needed(d, v, "hostname");
	/* As of a dump: they are those of the workloads. */
	if (endpoints && endpoints->n)
		amb_decode_error_in(d, v, "endpoints", -1, "belong to the workloads' services");
	amb_lxds_string(d, v, "name", &m->name);
	amb_lxds_string(d, v, "namespace", &m->namespace_);
	amb_lxds_string(d, v, "hostname", &m->hostname);
	all_vips(d, v, m);
	ports(d, v, "ports", &m->ports, &m->n_ports);
	amb_decode_strings(d, v, "subjectAltNames", &sans, &n);
	m->subject_alt_names = (char **)sans;
	m->n_subject_alt_names = n;
	m->waypoint = gateway(d, v, "waypoint");
	amb_lxds_list(d, v, "weightedWaypoints", AMB_YAML_MAP, weighted, &m->weighted_waypoints,
		      &m->n_weighted_waypoints);
	load_balancer(d, v, m);
	amb_decode_enum(d, v, "ipFamilies", families, &family);
	amb_decode_enum(d, v, "visibility", visibilities, &visibility);
	m->ip_families = family;
	m->visibility = visibility;
	amb_lxds_flag(d, v, "canonical", &m->canonical);
}
