// SPDX-License-Identifier: GPL-2.0-or-later
/* Workloads, services and connections as JSON, in the shapes of ztunnel's config_dump. */
#include "shape.h"

#include "base/reason.h"
#include "base/util.h"
#include "proxy/proxy.h"

#include <stdio.h>
#include <string.h>

#define HBONE_PORT 15008
#define STRING_MAX 4096

json_t *amb_shape_string(const char *s)
{
	char clean[STRING_MAX];
	size_t n = 0;

	while (*s && n < sizeof(clean) - 4) {
		size_t seq = amb_util_utf8_len(s), i;

		clean[n] = '?';
		for (i = 0; i < seq; i++)
			clean[n + i] = s[i];
		n += seq ? seq : 1;
		s += seq ? seq : 1;
	}
	return json_stringn(clean, n);
}

static void set_string(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, amb_shape_string(value ? value : ""));
}

static void set_nonempty(json_t *o, const char *key, const char *value)
{
	if (value && *value)
		set_string(o, key, value);
}

/* Adds an array unless it is empty; takes over @array. */
static void set_array(json_t *o, const char *key, json_t *array)
{
	if (json_array_size(array))
		json_object_set_new(o, key, array);
	else
		json_decref(array);
}

static json_t *address(const char *network, const struct amb_addr *a)
{
	char text[AMB_ADDR_STRLEN];

	return json_sprintf("%s/%s", network, amb_addr_format(a, text));
}

static json_t *gateway(const struct amb_gateway *g)
{
	json_t *o = json_object();

	if (g->by_host)
		json_object_set_new(o, "destination", json_sprintf("%s/%s", g->ns, g->hostname));
	else
		json_object_set_new(o, "destination", address(g->network, &g->addr));
	json_object_set_new(o, "hboneMtlsPort", json_integer(g->port ? g->port : HBONE_PORT));
	return o;
}

static void set_identity(json_t *o, const struct amb_identity *id)
{
	set_string(o, "trustDomain", id ? id->td : "");
	set_string(o, "serviceAccount", id ? id->sa : "");
}

static void set_lists(json_t *o, const struct amb_workload *w)
{
	json_t *policies = json_array(), *services = json_array();
	uint32_t i;

	for (i = 0; i < w->npolicies; i++)
		json_array_append_new(policies, amb_shape_string(w->policies[i]));
	for (i = 0; i < w->nservices; i++)
		json_array_append_new(services, amb_shape_string(w->services[i].service));
	set_array(o, "authorizationPolicies", policies);
	set_array(o, "services", services);
}

static void set_locality(json_t *o, const struct amb_workload *w)
{
	json_t *l;

	if (!*w->region && !*w->zone && !*w->subzone)
		return;
	l = json_object();
	set_nonempty(l, "region", w->region);
	set_nonempty(l, "zone", w->zone);
	set_nonempty(l, "subzone", w->subzone);
	json_object_set_new(o, "locality", l);
}

static void set_tunnels(json_t *o, const struct amb_workload *w)
{
	if (w->waypoint.set)
		json_object_set_new(o, "waypoint", gateway(&w->waypoint));
	if (w->network_gateway.set)
		json_object_set_new(o, "networkGateway", gateway(&w->network_gateway));
	set_string(o, "protocol", w->tunnel == AMB_TUNNEL_HBONE ? "HBONE" : "TCP");
	set_string(o, "networkMode", w->host_network ? "HostNetwork" : "Standard");
	if (w->app_tunnel) {
		json_t *t = json_object();

		set_string(t, "protocol", w->app_tunnel_proxy ? "PROXY" : "NONE");
		if (w->app_tunnel_port)
			json_object_set_new(t, "port", json_integer(w->app_tunnel_port));
		json_object_set_new(o, "applicationTunnel", t);
	}
}

json_t *amb_shape_workload(const struct amb_workload *w)
{
	static const char *const types[] = {
		[AMB_WTYPE_DEPLOYMENT] = "deployment",
		[AMB_WTYPE_CRONJOB] = "cronjob",
		[AMB_WTYPE_POD] = "pod",
		[AMB_WTYPE_JOB] = "job",
	};
	json_t *o = json_object(), *ips = json_array();
	char text[AMB_ADDR_STRLEN];
	uint32_t i;

	for (i = 0; i < w->naddrs; i++)
		json_array_append_new(ips, json_string(amb_addr_format(&w->addrs[i], text)));
	json_object_set_new(o, "workloadIps", ips);
	set_tunnels(o, w);
	set_string(o, "uid", w->uid);
	set_string(o, "name", w->name);
	set_string(o, "namespace", w->ns);
	set_identity(o, w->identity);
	set_string(o, "network", w->network);
	set_string(o, "workloadName", w->workload_name);
	set_string(o, "workloadType", types[w->type]);
	set_string(o, "canonicalName", w->canonical_name);
	set_string(o, "canonicalRevision", w->canonical_revision);
	set_string(o, "hostname", w->hostname);
	set_string(o, "node", w->node);
	json_object_set_new(o, "nativeTunnel", json_boolean(w->native_tunnel));
	set_lists(o, w);
	set_string(o, "status", w->healthy ? "Healthy" : "Unhealthy");
	set_string(o, "clusterId", w->cluster);
	set_locality(o, w);
	json_object_set_new(o, "capacity", json_integer(w->capacity));
	return o;
}

static json_t *port_map(const struct amb_ports *ports)
{
	json_t *o = json_object();
	char key[8];
	uint32_t i;

	for (i = 0; ports && i < ports->n; i++) {
		snprintf(key, sizeof(key), "%u", ports->p[i].service);
		json_object_set_new(o, key, json_integer(ports->p[i].target));
	}
	return o;
}

json_t *amb_shape_endpoint(const struct amb_workload *w, const struct amb_ports *ports)
{
	json_t *o = json_object();

	set_string(o, "workloadUid", w->uid);
	json_object_set_new(o, "port", port_map(ports));
	set_string(o, "status", w->healthy ? "Healthy" : "Unhealthy");
	return o;
}

static void set_vips(json_t *o, const struct amb_service *s)
{
	json_t *vips = json_array(), *cidrs = json_array();
	char text[AMB_ADDR_STRLEN];
	uint32_t i;

	for (i = 0; i < s->nvips; i++) {
		const struct amb_vip *v = &s->vips[i];
		json_t *c;

		if (amb_state_vip_is_host(v)) {
			json_array_append_new(vips, address(v->network, &v->addr));
			continue;
		}
		c = json_object();
		set_string(c, "network", v->network);
		json_object_set_new(
			c, "cidr", json_sprintf("%s/%u", amb_addr_format(&v->addr, text), v->bits));
		json_array_append_new(cidrs, c);
	}
	json_object_set_new(o, "vips", vips);
	set_array(o, "cidrVips", cidrs);
}

static void set_balancer(json_t *o, const struct amb_service *s)
{
	static const char *const modes[] = {
		[AMB_LB_STANDARD] = "Standard",
		[AMB_LB_STRICT] = "Strict",
		[AMB_LB_FAILOVER] = "Failover",
		[AMB_LB_PASSTHROUGH] = "Passthrough",
	};
	static const char *const scopes[] = {
		[AMB_SCOPE_NONE] = "Unspecified", [AMB_SCOPE_REGION] = "Region",
		[AMB_SCOPE_ZONE] = "Zone",	  [AMB_SCOPE_SUBZONE] = "Subzone",
		[AMB_SCOPE_NODE] = "Node",	  [AMB_SCOPE_CLUSTER] = "Cluster",
		[AMB_SCOPE_NETWORK] = "Network",
	};
	json_t *lb, *prefer;
	uint32_t i;

	if (s->mode == AMB_LB_STANDARD && !s->nscopes && !s->allow_unhealthy)
		return;
	lb = json_object();
	prefer = json_array();
	for (i = 0; i < s->nscopes; i++)
		json_array_append_new(prefer, json_string(scopes[s->scopes[i]]));
	json_object_set_new(lb, "routingPreferences", prefer);
	set_string(lb, "mode", modes[s->mode]);
	set_string(lb, "healthPolicy", s->allow_unhealthy ? "AllowAll" : "OnlyHealthy");
	json_object_set_new(o, "loadBalancer", lb);
}

static void set_waypoints(json_t *o, const struct amb_service *s)
{
	json_t *list = json_array();
	uint32_t i;

	if (s->waypoint.set)
		json_object_set_new(o, "waypoint", gateway(&s->waypoint));
	for (i = 0; i < s->nwaypoints; i++) {
		json_t *w = json_object();

		json_object_set_new(w, "destination", gateway(&s->waypoints[i].gw));
		json_object_set_new(w, "weight", json_integer(s->waypoints[i].weight));
		json_array_append_new(list, w);
	}
	set_array(o, "weightedWaypoints", list);
}

json_t *amb_shape_service(const struct amb_service *s)
{
	static const char *const families[] = {
		[AMB_IPF_AUTO] = NULL,
		[AMB_IPF_V4] = "IPv4",
		[AMB_IPF_V6] = "IPv6",
		[AMB_IPF_DUAL] = "Dual",
	};
	json_t *o = json_object(), *sans = json_array();
	uint32_t i;

	set_string(o, "name", s->name);
	set_string(o, "namespace", s->ns);
	set_string(o, "hostname", s->hostname);
	set_vips(o, s);
	json_object_set_new(o, "ports", port_map(s->ports));
	for (i = 0; i < s->nsans; i++)
		json_array_append_new(sans, amb_shape_string(s->sans[i]));
	set_array(o, "subjectAltNames", sans);
	set_waypoints(o, s);
	set_balancer(o, s);
	set_nonempty(o, "ipFamilies", families[s->families]);
	json_object_set_new(o, "canonical", json_boolean(s->canonical));
	set_string(o, "visibility", s->namespace_only ? "Namespace" : "Public");
	return o;
}

static const char *protocol(const struct amb_proxy_conn *c)
{
	switch (c->protocol) {
	case AMB_PROTO_HBONE:
		return "HBONE";
	case AMB_PROTO_DOUBLE_HBONE:
		return "DOUBLEHBONE";
	case AMB_PROTO_TCP:
		break;
	}
	return "TCP";
}

static void set_endpoint(json_t *o, const char *key, const struct amb_endpoint *e)
{
	char text[AMB_ENDPOINT_STRLEN];

	set_string(o, key, amb_endpoint_format(e, text));
}

json_t *amb_shape_connection(const struct amb_proxy_conn *c)
{
	json_t *o = json_object();

	set_endpoint(o, "src", &c->src);
	set_endpoint(o, "originalDst", &c->original_dst);
	set_endpoint(o, "actualDst", &c->actual_dst);
	set_string(o, "protocol", protocol(c));
	return o;
}

json_t *amb_shape_connection_full(const struct amb_proxy_conn *c)
{
	json_t *o = amb_shape_connection(c);

	set_string(o, "pod", c->pod_uid);
	set_string(o, "direction", c->direction == AMB_INBOUND ? "inbound" : "outbound");
	set_string(o, "way", amb_reason_way_text(c->way));
	set_string(o, "srcIdentity", c->src_identity);
	set_string(o, "dstIdentity", c->dst_identity);
	set_string(o, "srcName", c->src_name);
	set_string(o, "dstName", c->dst_name);
	set_string(o, "policy", c->policy);
	json_object_set_new(o, "bytesToDst", json_integer(c->bytes_to_dst));
	json_object_set_new(o, "bytesToSrc", json_integer(c->bytes_to_src));
	json_object_set_new(o, "ageMs", json_integer(c->age_ns / 1000000));
	if (!c->tier || !*c->tier)
		return o;
	set_string(o, "tier", c->tier);
	set_string(o, "cipher", c->cipher);
	json_object_set_new(o, "recordsSent", json_integer(c->records_sent));
	json_object_set_new(o, "recordsReceived", json_integer(c->records_received));
	return o;
}
