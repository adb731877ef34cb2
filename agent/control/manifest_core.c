// SPDX-License-Identifier: GPL-2.0-or-later
/* Kubernetes' own objects: Pod, Service, Endpoints, EndpointSlice, the ConfigMap istio. */
#include "manifest_object.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "workload.pb-c.h"

#include "mesh/names.h"

/* A port number 1..65535 of @key; 0 when it is not there. */
static uint16_t port_of(struct amb_decode *d, const struct amb_yaml *map, const char *key)
{
	int64_t port = 0;

	amb_decode_int(d, map, key, 1, 65535, &port);
	return (uint16_t)port;
}

static bool is_tcp(struct amb_decode *d, const struct amb_yaml *map)
{
	const char *protocol = "TCP";

	amb_decode_peek(d, map, "protocol", &protocol);
	return !strcmp(protocol, "TCP");
}

/* An address, as text under @key, which has to be there. */
static void address_of(struct amb_decode *d, const struct amb_yaml *map, const char *key,
		       struct amb_addr *out)
{
	const char *text = NULL;

	amb_decode_peek(d, map, key, &text);
	if (d->failed)
		return;
	if (!text)
		amb_decode_error(d, map, "has no %s", key);
	else if (amb_addr_parse(text, out))
		amb_decode_error_in(d, map, key, -1, "\"%.64s\" is not an IP address", text);
}

static bool all_digits(const char *s)
{
	return *s && !s[strspn(s, "0123456789")];
}

/*
 * The name of the Deployment and the like that owns a pod, out of the pod alone as istiod
 * guesses it: a ReplicaSet's name without its hash, a Job's without its time.
 */
static const char *owner_name(struct amb_decode *d, const struct amb_yaml *meta,
			      const struct amb_mobj *o)
{
	const struct amb_yaml *refs = amb_yaml_get(meta, "ownerReferences");
	const char *kind = NULL, *name = NULL, *hash;
	size_t n, h;
	uint32_t i;

	if (!amb_yaml_get(meta, "generateName") || !refs || refs->type != AMB_YAML_SEQ)
		return NULL;
	for (i = 0; i < refs->n && !name; i++) {
		const struct amb_yaml *flag = amb_yaml_get(refs->items[i], "controller");
		const struct amb_yaml *k = amb_yaml_get(refs->items[i], "kind");
		const struct amb_yaml *v = amb_yaml_get(refs->items[i], "name");
		bool controller = false;

		if (!flag || amb_yaml_bool(flag, &controller) || !controller || !k || !v ||
		    k->type != AMB_YAML_SCALAR || v->type != AMB_YAML_SCALAR)
			continue;
		kind = k->text;
		name = v->text;
	}
	if (!name)
		return NULL;
	n = strlen(name);
	if (!strcmp(kind, "ReplicaSet")) {
		hash = amb_kvs_get(&o->labels, "pod-template-hash");
		if (!hash)
			hash = amb_kvs_get(&o->labels, "rollouts-pod-template-hash");
		h = hash ? strlen(hash) : 0;
		if (h && n > h + 1 && name[n - h - 1] == '-' && !strcmp(name + n - h, hash))
			n -= h + 1;
	} else if (!strcmp(kind, "Job")) {
		const char *dash = strrchr(name, '-');

		if (dash && dash > name && all_digits(dash + 1) && strlen(dash + 1) >= 8 &&
		    strlen(dash + 1) <= 10)
			n = (size_t)(dash - name);
	}
	return amb_arena_strndup(d->arena, name, n);
}

static void pod_ips(struct amb_decode *d, const struct amb_yaml *status, struct amb_mpod *pod)
{
	const struct amb_yaml *list = amb_decode_enter(d, status, "podIPs", AMB_YAML_SEQ);
	struct amb_addr *ips;
	uint32_t i;

	if (list && list->n) {
		ips = amb_decode_alloc(d, list->n * sizeof(*ips));
		for (i = 0; ips && i < list->n; i++) {
			const struct amb_yaml *item = amb_decode_item(d, list, i, AMB_YAML_MAP);

			if (!item)
				break;
			address_of(d, item, "ip", &ips[i]);
			amb_decode_leave(d);
		}
		amb_decode_leave(d);
		pod->ips = ips;
		pod->nips = list->n;
		return;
	}
	if (list)
		amb_decode_leave(d);
	if (d->failed || !amb_yaml_get(status, "podIP") ||
	    amb_yaml_is_null(amb_yaml_get(status, "podIP")))
		return;
	ips = amb_decode_alloc(d, sizeof(*ips));
	if (ips)
		address_of(d, status, "podIP", ips);
	pod->ips = ips;
	pod->nips = 1;
}

static void pod_status(struct amb_decode *d, const struct amb_yaml *doc, struct amb_mpod *pod)
{
	const struct amb_yaml *status = amb_decode_enter(d, doc, "status", AMB_YAML_MAP), *list;
	const char *phase = "";
	uint32_t i;

	pod->ready = true;
	if (!status)
		return;
	pod_ips(d, status, pod);
	amb_decode_peek(d, status, "phase", &phase);
	pod->finished = !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed");
	list = amb_decode_enter(d, status, "conditions", AMB_YAML_SEQ);
	if (list) {
		pod->ready = !list->n;
		for (i = 0; i < list->n; i++) {
			const struct amb_yaml *c = amb_decode_item(d, list, i, AMB_YAML_MAP);
			const char *type = "", *value = "";

			if (!c)
				break;
			amb_decode_peek(d, c, "type", &type);
			amb_decode_peek(d, c, "status", &value);
			if (!strcmp(type, "Ready"))
				pod->ready = !strcmp(value, "True");
			amb_decode_leave(d);
		}
		amb_decode_leave(d);
	}
	amb_decode_leave(d);
}

/* Containers' ports that have a name; two passes, count and fill. */
static uint32_t container_ports(struct amb_decode *d, const struct amb_yaml *spec, const char *key,
				struct amb_mport *out)
{
	const struct amb_yaml *list = amb_decode_enter(d, spec, key, AMB_YAML_SEQ);
	uint32_t i, j, n = 0;

	if (!list)
		return 0;
	for (i = 0; i < list->n; i++) {
		const struct amb_yaml *c = amb_decode_item(d, list, i, AMB_YAML_MAP), *ports;

		if (!c)
			break;
		ports = amb_decode_enter(d, c, "ports", AMB_YAML_SEQ);
		for (j = 0; ports && j < ports->n; j++) {
			const struct amb_yaml *p = amb_decode_item(d, ports, j, AMB_YAML_MAP);
			const struct amb_yaml *name = amb_yaml_get(p, "name");

			if (!p)
				break;
			if (name && !amb_yaml_is_null(name)) {
				if (out && is_tcp(d, p)) {
					amb_decode_string(d, p, "name", &out[n].name);
					out[n].port = port_of(d, p, "containerPort");
				}
				n++;
			}
			amb_decode_leave(d);
		}
		if (ports)
			amb_decode_leave(d);
		amb_decode_leave(d);
	}
	amb_decode_leave(d);
	return n;
}

static void add_search(struct amb_decode *d, char *list, const struct amb_yaml *map,
		       const char *key, int index, const char *text, size_t len)
{
	int err = amb_names_search_add(list, text, len);

	if (err == -ENOSPC)
		amb_decode_error_in(d, map, key, index, "is more than 32 domains, or 2048 bytes");
	else if (err)
		amb_decode_error_in(d, map, key, index, "\"%.*s\" is no domain name",
				    (int)AMB_MIN(len, (size_t)260), text);
}

/* Search domains by dnsPolicy and dnsConfig; "None" is the policy that adds no others. */
static void pod_dns(struct amb_decode *d, const struct amb_yaml *spec, struct amb_mpod *pod)
{
	char list[AMB_NAMES_SEARCH_TEXT] = "";
	const struct amb_yaml *config;
	const char *const *searches = NULL, *policy = "";
	uint32_t i, n = 0;

	amb_decode_peek(d, spec, "dnsPolicy", &policy);
	pod->dns_search_only = !strcmp(policy, "None");
	config = amb_decode_enter(d, spec, "dnsConfig", AMB_YAML_MAP);
	if (config) {
		amb_decode_strings(d, config, "searches", &searches, &n);
		for (i = 0; i < n && !d->failed; i++)
			if (strcmp(searches[i], "."))
				add_search(d, list, config, "searches", i, searches[i],
					   strlen(searches[i]));
		amb_decode_leave(d);
	}
	if (*list || pod->dns_search_only)
		pod->dns_search = amb_arena_strndup(d->arena, list, strlen(list));
}

static void pod_spec(struct amb_decode *d, const struct amb_yaml *doc, struct amb_mpod *pod)
{
	const struct amb_yaml *spec = amb_decode_enter(d, doc, "spec", AMB_YAML_MAP);
	struct amb_mport *ports;
	uint32_t n, side;

	pod->node = "";
	pod->sa = "default";
	if (!spec)
		return;
	amb_decode_string(d, spec, "nodeName", &pod->node);
	amb_decode_string(d, spec, "serviceAccountName", &pod->sa);
	if (!d->failed && !amb_decode_is_subdomain(pod->sa))
		amb_decode_error_in(d, spec, "serviceAccountName", -1,
				    "\"%.260s\" is no service account name", pod->sa);
	amb_decode_bool(d, spec, "hostNetwork", &pod->host_network);
	pod_dns(d, spec, pod);
	n = container_ports(d, spec, "containers", NULL);
	side = container_ports(d, spec, "initContainers", NULL);
	if (n + side) {
		ports = amb_decode_alloc(d, (n + side) * sizeof(*ports));
		if (ports) {
			container_ports(d, spec, "containers", ports);
			container_ports(d, spec, "initContainers", ports + n);
		}
		pod->ports = ports;
		pod->nports = n + side;
	}
	amb_decode_leave(d);
}

/* The annotation is the whole list, as in the "search" line of a resolv.conf. */
static void dns_search(struct amb_decode *d, const struct amb_yaml *at, const char *text,
		       struct amb_mpod *pod)
{
	char list[AMB_NAMES_SEARCH_TEXT] = "";
	size_t n;

	for (text += strspn(text, " ,\n"); *text && !d->failed; text += strspn(text, " ,\n")) {
		n = strcspn(text, " ,\n");
		add_search(d, list, at, AMB_MANIFEST_DNS_SEARCH, -1, text, n);
		text += n;
	}
	pod->dns_search = amb_arena_strndup(d->arena, list, strlen(list));
	pod->dns_search_only = true;
}

static void pod_annotations(struct amb_decode *d, const struct amb_yaml *meta,
			    const struct amb_mobj *o, struct amb_mpod *pod)
{
	const struct amb_yaml *at = amb_decode_enter(d, meta, "annotations", AMB_YAML_MAP);
	const char *v;

	pod->dns_capture = -1;
	if (!at)
		return;
	v = amb_kvs_get(&o->annotations, AMB_MANIFEST_NETNS);
	if (v && (!*v || strstr(v, "..") || (v[0] != '/' && strchr(v, '/'))))
		amb_decode_error_in(
			d, at, AMB_MANIFEST_NETNS, -1,
			"\"%.200s\" is neither an absolute path nor a name of /run/netns", v);
	else if (v && v[0] == '/')
		pod->netns = amb_arena_strndup(d->arena, v, strlen(v));
	else if (v)
		pod->netns = amb_arena_printf(d->arena, "/run/netns/%s", v);
	v = amb_kvs_get(&o->annotations, "ambient.istio.io/bypass-inbound-capture");
	pod->ingress_mode = v && !strcmp(v, "true");
	v = amb_kvs_get(&o->annotations, AMB_MANIFEST_SPLICE);
	pod->splice = v && !strcmp(v, "true");
	v = amb_kvs_get(&o->annotations, "ambient.istio.io/dns-capture");
	if (v)
		pod->dns_capture = !strcmp(v, "true");
	v = amb_kvs_get(&o->annotations, AMB_MANIFEST_DNS_SEARCH);
	if (v)
		dns_search(d, at, v, pod);
	pod->reroute_ifs = amb_kvs_get(&o->annotations, "istio.io/reroute-virtual-interfaces");
	amb_decode_leave(d);
}

const void *amb_mobj_decode_pod(struct amb_decode *d, const struct amb_yaml *doc,
				const struct amb_mobj *o)
{
	struct amb_mpod *pod = amb_decode_alloc(d, sizeof(*pod));
	const struct amb_yaml *meta, *deleted;

	if (!pod)
		return NULL;
	pod_spec(d, doc, pod);
	pod_status(d, doc, pod);
	meta = amb_decode_enter(d, doc, "metadata", AMB_YAML_MAP);
	if (!meta)
		return NULL;
	deleted = amb_yaml_get(meta, "deletionTimestamp");
	if (deleted && !amb_yaml_is_null(deleted))
		pod->ready = false;
	pod->workload = amb_kvs_get(&o->labels, "service.istio.io/workload-name");
	if (!pod->workload)
		pod->workload = owner_name(d, meta, o);
	if (!pod->workload)
		pod->workload = o->name;
	pod_annotations(d, meta, o, pod);
	amb_decode_leave(d);
	if (pod->netns && !*pod->node)
		amb_decode_warn(d, doc,
				"has annotation " AMB_MANIFEST_NETNS
				" but no spec.nodeName, so no node serves it");
	return pod;
}

static uint8_t app_protocol(const char *said, const char *name)
{
	static const struct {
		const char *text;
		uint8_t wire;
	} table[] = {
		{ "http", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__HTTP11 },
		{ "kubernetes.io/h2c", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__HTTP2 },
		{ "http2", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__HTTP2 },
		{ "grpc", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__GRPC },
		{ "grpc-web", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__GRPC },
		{ "tcp", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TCP },
		{ "tls", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TLS },
		{ "https", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TLS },
	};
	const char *text = said ? said : name;
	size_t i, n;

	for (i = 0; i < AMB_ARRAY_SIZE(table); i++) {
		n = strlen(table[i].text);
		if (strncmp(text, table[i].text, n))
			continue;
		/* A port name says it with its first part: "http-admin". */
		if (!text[n] || (!said && text[n] == '-'))
			return table[i].wire;
	}
	return ISTIO__WORKLOAD__PORT__APP_PROTOCOL__UNKNOWN;
}

static void service_port(struct amb_decode *d, const struct amb_yaml *p, struct amb_mport *out)
{
	const struct amb_yaml *target;
	const char *app = NULL;
	int64_t n;

	out->name = "";
	amb_decode_string(d, p, "name", &out->name);
	out->port = port_of(d, p, "port");
	if (!d->failed && !out->port)
		amb_decode_error(d, p, "has no port");
	amb_decode_peek(d, p, "appProtocol", &app);
	if (!d->failed)
		out->app_protocol = app_protocol(app, out->name);
	target = amb_decode_enter(d, p, "targetPort", AMB_YAML_SCALAR);
	if (!target)
		return;
	if (!amb_yaml_int(target, &n)) {
		if (n < 0 || n > 65535)
			amb_decode_error(d, target, "%s is not in 1..65535", target->text);
		else
			out->target = (uint16_t)n;
	} else if (!target->n || all_digits(target->text)) {
		amb_decode_error(d, target,
				 "\"%s\" is a name without a letter: write the number "
				 "without quotes",
				 target->text);
	} else {
		out->target_name = amb_arena_strndup(d->arena, target->text, target->n);
	}
	amb_decode_leave(d);
}

static void service_ports(struct amb_decode *d, const struct amb_yaml *spec,
			  struct amb_mservice *svc)
{
	const struct amb_yaml *list = amb_decode_enter(d, spec, "ports", AMB_YAML_SEQ);
	struct amb_mport *ports;
	uint32_t i, j, n = 0;

	if (!list)
		return;
	ports = amb_decode_alloc(d, list->n * sizeof(*ports));
	for (i = 0; ports && i < list->n; i++) {
		const struct amb_yaml *p = amb_decode_item(d, list, i, AMB_YAML_MAP);

		if (!p)
			break;
		/* UDP and SCTP do not pass through the mesh. */
		if (is_tcp(d, p)) {
			service_port(d, p, &ports[n]);
			for (j = 0; j < n && !d->failed; j++)
				if (ports[j].port == ports[n].port)
					amb_decode_error(d, p, "port %u is given twice",
							 ports[n].port);
			n++;
		}
		amb_decode_leave(d);
	}
	amb_decode_leave(d);
	svc->ports = ports;
	svc->nports = n;
}

static void service_vips(struct amb_decode *d, const struct amb_yaml *doc,
			 const struct amb_yaml *spec, struct amb_mservice *svc)
{
	const char *single = NULL, *const *list = NULL;
	struct amb_addr *vips;
	uint32_t n = 0, i;

	amb_decode_peek(d, spec, "clusterIP", &single);
	amb_decode_strings(d, spec, "clusterIPs", &list, &n);
	if (d->failed)
		return;
	if (!n && single && *single) {
		list = &single;
		n = 1;
	}
	if (!n && !svc->external_name)
		amb_decode_warn(d, doc,
				"has no clusterIP: nothing gives it one here, so it has no "
				"address of its own");
	if (n && !strcmp(list[0], "None")) {
		svc->headless = true;
		return;
	}
	vips = amb_decode_alloc(d, n * sizeof(*vips));
	for (i = 0; vips && i < n; i++)
		if (amb_addr_parse(list[i], &vips[i]))
			amb_decode_error_in(d, spec, list == &single ? "clusterIP" : "clusterIPs",
					    list == &single ? -1 : (int)i,
					    "\"%.64s\" is not an IP address", list[i]);
	svc->vips = vips;
	svc->nvips = n;
}

static void service_families(struct amb_decode *d, const struct amb_yaml *spec,
			     struct amb_mservice *svc)
{
	const char *const *list = NULL;
	uint32_t n = 0;

	amb_decode_strings(d, spec, "ipFamilies", &list, &n);
	if (n == 2)
		svc->families = ISTIO__WORKLOAD__IPFAMILIES__DUAL;
	else if (n == 1)
		svc->families = strcmp(list[0], "IPv4") ? ISTIO__WORKLOAD__IPFAMILIES__IPV6_ONLY :
							  ISTIO__WORKLOAD__IPFAMILIES__IPV4_ONLY;
}

const void *amb_mobj_decode_service(struct amb_decode *d, const struct amb_yaml *doc,
				    const struct amb_mobj *o)
{
	static const char *const types[] = { "ClusterIP", "NodePort", "LoadBalancer",
					     "ExternalName", NULL };
	static const char *const policies[] = { "Cluster", "Local", NULL };
	/* PreferClose is the old name of PreferSameZone. */
	static const char *const distributions[] = { "", "PreferSameZone", "PreferSameNode",
						     "PreferClose", NULL };
	struct amb_mservice *svc = amb_decode_alloc(d, sizeof(*svc));
	const struct amb_yaml *spec;
	int type = 0, policy = 0, dist = 0;
	const char *legacy;

	if (!svc)
		return NULL;
	spec = amb_decode_enter(d, doc, "spec", AMB_YAML_MAP);
	if (!spec) {
		amb_decode_error(d, doc, "has no spec");
		return NULL;
	}
	amb_decode_enum(d, spec, "type", types, &type);
	svc->external_name = type == 3;
	amb_decode_enum(d, spec, "internalTrafficPolicy", policies, &policy);
	svc->local_only = policy == 1;
	amb_decode_enum(d, spec, "trafficDistribution", distributions, &dist);
	legacy = amb_kvs_get(&o->annotations, "networking.istio.io/traffic-distribution");
	if (!dist && legacy && !strcmp(legacy, "PreferClose"))
		dist = 1;
	svc->distribution = dist == 2 ? AMB_MDIST_NODE : dist ? AMB_MDIST_ZONE : AMB_MDIST_NONE;
	amb_decode_bool(d, spec, "publishNotReadyAddresses", &svc->publish_not_ready);
	amb_decode_kvs(d, spec, "selector", NULL, &svc->selector);
	service_vips(d, doc, spec, svc);
	service_families(d, spec, svc);
	service_ports(d, spec, svc);
	amb_decode_leave(d);
	return svc;
}

/* Ports of an EndpointSlice or a subset of Endpoints: service port name -> number. */
static const struct amb_mport *slice_ports(struct amb_decode *d, const struct amb_yaml *map,
					   uint32_t *out)
{
	const struct amb_yaml *list = amb_decode_enter(d, map, "ports", AMB_YAML_SEQ);
	struct amb_mport *ports;
	uint32_t i, n = 0;

	if (!list)
		return NULL;
	ports = amb_decode_alloc(d, list->n * sizeof(*ports));
	for (i = 0; ports && i < list->n; i++) {
		const struct amb_yaml *p = amb_decode_item(d, list, i, AMB_YAML_MAP);

		if (!p)
			break;
		if (is_tcp(d, p)) {
			ports[n].name = "";
			amb_decode_string(d, p, "name", &ports[n].name);
			ports[n].port = port_of(d, p, "port");
			n += !!ports[n].port;
		}
		amb_decode_leave(d);
	}
	amb_decode_leave(d);
	*out = n;
	return ports;
}

/* The pod behind an address: targetRef {kind: Pod}. */
static const char *target_pod(struct amb_decode *d, const struct amb_yaml *map)
{
	const struct amb_yaml *ref = amb_decode_enter(d, map, "targetRef", AMB_YAML_MAP);
	const char *kind = "", *name = NULL;

	if (!ref)
		return NULL;
	amb_decode_peek(d, ref, "kind", &kind);
	amb_decode_string(d, ref, "name", &name);
	amb_decode_leave(d);
	return !strcmp(kind, "Pod") ? name : NULL;
}

static void slice_endpoint(struct amb_decode *d, const struct amb_yaml *e, struct amb_mtarget *out)
{
	const struct amb_yaml *conditions;
	const char *const *texts = NULL;
	struct amb_addr *addrs;
	uint32_t n = 0, i;

	amb_decode_strings(d, e, "addresses", &texts, &n);
	addrs = amb_decode_alloc(d, n * sizeof(*addrs));
	for (i = 0; addrs && i < n; i++)
		if (amb_addr_parse(texts[i], &addrs[i]))
			amb_decode_error_in(d, e, "addresses", (int)i,
					    "\"%.64s\" is not an IP address", texts[i]);
	out->addrs = addrs;
	out->naddrs = n;
	out->ready = true;
	conditions = amb_decode_enter(d, e, "conditions", AMB_YAML_MAP);
	if (conditions) {
		amb_decode_bool(d, conditions, "ready", &out->ready);
		amb_decode_leave(d);
	}
	out->pod = target_pod(d, e);
}

const void *amb_mobj_decode_slice(struct amb_decode *d, const struct amb_yaml *doc,
				  const struct amb_mobj *o)
{
	struct amb_mslice *slice = amb_decode_alloc(d, sizeof(*slice));
	struct amb_msubset *subset = amb_decode_alloc(d, sizeof(*subset));
	const struct amb_yaml *list;
	struct amb_mtarget *targets;
	const char *type = "";
	uint32_t i;

	if (!slice || !subset)
		return NULL;
	slice->service = amb_kvs_get(&o->labels, "kubernetes.io/service-name");
	if (!slice->service)
		slice->service = "";
	amb_decode_peek(d, doc, "addressType", &type);
	if (!strcmp(type, "FQDN")) {
		amb_decode_warn_in(d, doc, "addressType", -1, "FQDN addresses are not used");
		return slice;
	}
	subset->ports = slice_ports(d, doc, &subset->nports);
	list = amb_decode_enter(d, doc, "endpoints", AMB_YAML_SEQ);
	if (list) {
		targets = amb_decode_alloc(d, list->n * sizeof(*targets));
		for (i = 0; targets && i < list->n; i++) {
			const struct amb_yaml *e = amb_decode_item(d, list, i, AMB_YAML_MAP);

			if (!e)
				break;
			slice_endpoint(d, e, &targets[i]);
			amb_decode_leave(d);
		}
		amb_decode_leave(d);
		subset->targets = targets;
		subset->ntargets = list->n;
	}
	slice->subsets = subset;
	slice->nsubsets = 1;
	return slice;
}

/* "addresses" and "notReadyAddresses" of a subset behind each other. */
static void subset_targets(struct amb_decode *d, const struct amb_yaml *map,
			   struct amb_msubset *out)
{
	static const char *const keys[] = { "addresses", "notReadyAddresses" };
	struct amb_mtarget *targets;
	uint32_t n = 0, i, k;

	for (k = 0; k < 2; k++) {
		const struct amb_yaml *list = amb_yaml_get(map, keys[k]);

		if (list && list->type == AMB_YAML_SEQ)
			n += list->n;
	}
	targets = amb_decode_alloc(d, n * sizeof(*targets));
	n = 0;
	for (k = 0; targets && k < 2; k++) {
		const struct amb_yaml *list = amb_decode_enter(d, map, keys[k], AMB_YAML_SEQ);

		for (i = 0; list && i < list->n; i++) {
			const struct amb_yaml *e = amb_decode_item(d, list, i, AMB_YAML_MAP);
			struct amb_addr *addr;

			if (!e)
				break;
			addr = amb_decode_alloc(d, sizeof(*addr));
			if (addr)
				address_of(d, e, "ip", addr);
			targets[n].addrs = addr;
			targets[n].naddrs = 1;
			targets[n].ready = !k;
			targets[n++].pod = target_pod(d, e);
			amb_decode_leave(d);
		}
		if (list)
			amb_decode_leave(d);
	}
	out->targets = targets;
	out->ntargets = n;
}

const void *amb_mobj_decode_endpoints(struct amb_decode *d, const struct amb_yaml *doc,
				      const struct amb_mobj *o)
{
	struct amb_mslice *slice = amb_decode_alloc(d, sizeof(*slice));
	const struct amb_yaml *list;
	struct amb_msubset *subsets;
	uint32_t i;

	if (!slice)
		return NULL;
	slice->service = o->name;
	list = amb_decode_enter(d, doc, "subsets", AMB_YAML_SEQ);
	if (!list)
		return slice;
	subsets = amb_decode_alloc(d, list->n * sizeof(*subsets));
	for (i = 0; subsets && i < list->n; i++) {
		const struct amb_yaml *s = amb_decode_item(d, list, i, AMB_YAML_MAP);

		if (!s)
			break;
		subsets[i].ports = slice_ports(d, s, &subsets[i].nports);
		subset_targets(d, s, &subsets[i]);
		amb_decode_leave(d);
	}
	amb_decode_leave(d);
	slice->subsets = subsets;
	slice->nsubsets = list->n;
	return slice;
}

/* data.mesh is YAML in YAML: the MeshConfig, of which two settings are ours. */
const void *amb_mobj_decode_configmap(struct amb_decode *d, const struct amb_yaml *doc,
				      const struct amb_mobj *o)
{
	struct amb_mmesh *mesh = amb_decode_alloc(d, sizeof(*mesh));
	const struct amb_yaml *data, *text, *inner = NULL;
	struct amb_yaml_reader *r;
	const char *list_kind;
	uint32_t line;
	int err;

	(void)o;
	data = amb_decode_enter(d, doc, "data", AMB_YAML_MAP);
	if (!mesh || !data)
		return mesh;
	text = amb_decode_enter(d, data, "mesh", AMB_YAML_SCALAR);
	if (!text) {
		amb_decode_leave(d);
		return mesh;
	}
	r = amb_yaml_open(-1, text->text, text->n);
	if (!r) {
		amb_decode_error(d, text, "out of memory");
		return NULL;
	}
	err = amb_yaml_next(r, &inner, &list_kind);
	if (err < 0) {
		const char *why = amb_yaml_problem(r, &line);

		amb_decode_error(d, text, "line %u of it: %s", line, why);
	} else if (err) {
		amb_decode_string(d, inner, "trustDomain", &mesh->trust_domain);
		amb_decode_string(d, inner, "rootNamespace", &mesh->root_ns);
		if (mesh->trust_domain && !amb_decode_is_subdomain(mesh->trust_domain))
			amb_decode_error(d, text, "trustDomain \"%.260s\" is no domain name",
					 mesh->trust_domain);
		if (mesh->root_ns && !amb_decode_is_label(mesh->root_ns))
			amb_decode_error(d, text, "rootNamespace \"%.260s\" is no namespace name",
					 mesh->root_ns);
	}
	amb_yaml_close(r);
	amb_decode_leave(d);
	amb_decode_leave(d);
	return d->failed ? NULL : mesh;
}
