// SPDX-License-Identifier: GPL-2.0-or-later
/* ServiceEntry, WorkloadEntry, Gateway. */
#include "manifest_object.h"

#include <string.h>

static uint16_t port_of(struct amb_decode *d, const struct amb_yaml *map, const char *key)
{
	int64_t port = 0;

	amb_decode_int(d, map, key, 1, 65535, &port);
	return (uint16_t)port;
}

/* "ports: {http: 8080}" of a WorkloadEntry. */
static void entry_ports(struct amb_decode *d, const struct amb_yaml *map, struct amb_mentry *out)
{
	const struct amb_yaml *v = amb_decode_enter(d, map, "ports", AMB_YAML_MAP);
	struct amb_mport *ports;
	uint32_t i;

	if (!v)
		return;
	ports = amb_decode_alloc(d, v->n * sizeof(*ports));
	for (i = 0; ports && i < v->n; i++) {
		const char *name = v->pairs[i].key->text;

		ports[i].name = amb_arena_strndup(d->arena, name, strlen(name));
		ports[i].port = port_of(d, v, name);
	}
	amb_decode_leave(d);
	out->ports = ports;
	out->nports = v->n;
}

static void entry(struct amb_decode *d, const struct amb_yaml *map, struct amb_mentry *out)
{
	int64_t weight = 0;

	out->sa = out->network = out->locality = "";
	amb_decode_string(d, map, "address", &out->address);
	amb_decode_string(d, map, "serviceAccount", &out->sa);
	amb_decode_string(d, map, "network", &out->network);
	amb_decode_string(d, map, "locality", &out->locality);
	amb_decode_int(d, map, "weight", 0, INT32_MAX, &weight);
	out->weight = (uint32_t)weight;
	amb_decode_kvs(d, map, "labels", NULL, &out->labels);
	entry_ports(d, map, out);
	if (d->failed)
		return;
	if (*out->sa && !amb_decode_is_subdomain(out->sa))
		amb_decode_error_in(d, map, "serviceAccount", -1,
				    "\"%.260s\" is no service account name", out->sa);
	if (!out->address) {
		/* Without one it can only be reached by its network's gateway. */
		if (!*out->network)
			amb_decode_error(d, map, "has neither address nor network");
		out->address = "";
		return;
	}
	out->is_ip = !amb_addr_parse(out->address, &out->addr);
	if (!out->is_ip && !strncmp(out->address, "unix://", 7))
		amb_decode_error_in(d, map, "address", -1, "unix sockets are not served");
	else if (!out->is_ip && !amb_decode_is_subdomain(out->address))
		amb_decode_error_in(d, map, "address", -1,
				    "\"%.260s\" is neither an IP address nor a host name",
				    out->address);
}

/* Labels of the object win over those of the spec. */
static void merge_labels(struct amb_decode *d, const struct amb_kvs *over, struct amb_kvs *io)
{
	struct amb_kv *all;
	uint32_t i, n = over->n;

	if (!io->n) {
		*io = *over;
		return;
	}
	all = amb_decode_alloc(d, (over->n + io->n) * sizeof(*all));
	if (!all)
		return;
	if (over->n)
		memcpy(all, over->p, over->n * sizeof(*all));
	for (i = 0; i < io->n; i++)
		if (!amb_kvs_get(over, io->p[i].key))
			all[n++] = io->p[i];
	io->p = all;
	io->n = n;
}

const void *amb_mobj_decode_workloadentry(struct amb_decode *d, const struct amb_yaml *doc,
					  const struct amb_mobj *o)
{
	struct amb_mentry *e = amb_decode_alloc(d, sizeof(*e));
	const struct amb_yaml *spec;

	if (!e)
		return NULL;
	spec = amb_decode_enter(d, doc, "spec", AMB_YAML_MAP);
	if (!spec) {
		amb_decode_error(d, doc, "has no spec");
		return NULL;
	}
	entry(d, spec, e);
	merge_labels(d, &o->labels, &e->labels);
	amb_decode_leave(d);
	return e;
}

static void se_ports(struct amb_decode *d, const struct amb_yaml *spec,
		     struct amb_mserviceentry *se)
{
	const struct amb_yaml *list = amb_decode_enter(d, spec, "ports", AMB_YAML_SEQ);
	struct amb_mport *ports;
	uint32_t i;

	if (!list)
		return;
	ports = amb_decode_alloc(d, list->n * sizeof(*ports));
	for (i = 0; ports && i < list->n; i++) {
		const struct amb_yaml *p = amb_decode_item(d, list, i, AMB_YAML_MAP);

		if (!p)
			break;
		ports[i].name = "";
		amb_decode_string(d, p, "name", &ports[i].name);
		ports[i].port = port_of(d, p, "number");
		if (!d->failed && !ports[i].port)
			amb_decode_error(d, p, "has no number");
		ports[i].target = port_of(d, p, "targetPort");
		if (!ports[i].target)
			ports[i].target = ports[i].port;
		amb_decode_leave(d);
	}
	amb_decode_leave(d);
	se->ports = ports;
	se->nports = list->n;
}

static void se_addresses(struct amb_decode *d, const struct amb_yaml *spec,
			 struct amb_mserviceentry *se)
{
	const char *const *texts = NULL;
	struct amb_maddr *addrs;
	uint32_t n = 0, i;

	amb_decode_strings(d, spec, "addresses", &texts, &n);
	addrs = amb_decode_alloc(d, n * sizeof(*addrs));
	for (i = 0; addrs && i < n; i++)
		if (amb_decode_cidr(texts[i], &addrs[i].addr, &addrs[i].bits))
			amb_decode_error_in(d, spec, "addresses", (int)i,
					    "\"%.64s\" is neither an IP address "
					    "nor a CIDR",
					    texts[i]);
	se->addrs = addrs;
	se->naddrs = n;
}

/* status.addresses: what an allocator gave to hosts without an address of their own. */
static void se_auto(struct amb_decode *d, const struct amb_yaml *doc, struct amb_mserviceentry *se)
{
	const struct amb_yaml *status = amb_decode_enter(d, doc, "status", AMB_YAML_MAP), *list;
	struct amb_maddr *addrs;
	uint32_t i;

	if (!status)
		return;
	list = amb_decode_enter(d, status, "addresses", AMB_YAML_SEQ);
	if (list) {
		addrs = amb_decode_alloc(d, list->n * sizeof(*addrs));
		for (i = 0; addrs && i < list->n; i++) {
			const struct amb_yaml *a = amb_decode_item(d, list, i, AMB_YAML_MAP);
			const char *value = "";

			if (!a)
				break;
			amb_decode_peek(d, a, "value", &value);
			amb_decode_string(d, a, "host", &addrs[i].host);
			if (!d->failed && amb_decode_cidr(value, &addrs[i].addr, &addrs[i].bits))
				amb_decode_error_in(d, a, "value", -1,
						    "\"%.64s\" is not an IP address", value);
			amb_decode_leave(d);
		}
		amb_decode_leave(d);
		se->auto_addrs = addrs;
		se->nauto = list->n;
	}
	amb_decode_leave(d);
}

static void se_hosts(struct amb_decode *d, const struct amb_yaml *spec,
		     struct amb_mserviceentry *se)
{
	uint32_t i;

	amb_decode_strings(d, spec, "hosts", &se->hosts, &se->nhosts);
	if (!d->failed && !se->nhosts)
		amb_decode_error(d, spec, "has no hosts");
	for (i = 0; !d->failed && i < se->nhosts; i++) {
		const char *h = se->hosts[i];

		if (!amb_decode_is_subdomain(strncmp(h, "*.", 2) ? h : h + 2))
			amb_decode_error_in(d, spec, "hosts", (int)i, "\"%.260s\" is no host name",
					    h);
	}
}

static void se_endpoints(struct amb_decode *d, const struct amb_yaml *spec,
			 struct amb_mserviceentry *se)
{
	const struct amb_yaml *list = amb_decode_enter(d, spec, "endpoints", AMB_YAML_SEQ);
	struct amb_mentry *endpoints;
	uint32_t i;

	if (!list)
		return;
	endpoints = amb_decode_alloc(d, list->n * sizeof(*endpoints));
	for (i = 0; endpoints && i < list->n; i++) {
		const struct amb_yaml *e = amb_decode_item(d, list, i, AMB_YAML_MAP);

		if (!e)
			break;
		entry(d, e, &endpoints[i]);
		amb_decode_leave(d);
	}
	amb_decode_leave(d);
	se->endpoints = endpoints;
	se->nendpoints = list->n;
}

const void *amb_mobj_decode_serviceentry(struct amb_decode *d, const struct amb_yaml *doc,
					 const struct amb_mobj *o)
{
	static const char *const resolutions[] = { "NONE",	  "STATIC",
						   "DNS",	  "DNS_ROUND_ROBIN",
						   "DYNAMIC_DNS", NULL };
	struct amb_mserviceentry *se = amb_decode_alloc(d, sizeof(*se));
	const struct amb_yaml *spec, *sel;
	int res = 0;

	(void)o;
	if (!se)
		return NULL;
	spec = amb_decode_enter(d, doc, "spec", AMB_YAML_MAP);
	if (!spec) {
		amb_decode_error(d, doc, "has no spec");
		return NULL;
	}
	se_hosts(d, spec, se);
	se_addresses(d, spec, se);
	se_ports(d, spec, se);
	amb_decode_enum(d, spec, "resolution", resolutions, &res);
	se->resolution = res > AMB_MRES_DNS ? AMB_MRES_DNS : (enum amb_mresolution)res;
	se_endpoints(d, spec, se);
	sel = amb_decode_enter(d, spec, "workloadSelector", AMB_YAML_MAP);
	if (sel) {
		se->has_selector = true;
		amb_decode_kvs(d, sel, "labels", NULL, &se->selector);
		amb_decode_leave(d);
	}
	if (se->has_selector && se->nendpoints)
		amb_decode_error(d, spec, "has both endpoints and a workloadSelector");
	amb_decode_strings(d, spec, "subjectAltNames", &se->sans, &se->nsans);
	amb_decode_leave(d);
	se_auto(d, doc, se);
	return se;
}

static void listener(struct amb_decode *d, const struct amb_yaml *l, struct amb_mlistener *out)
{
	static const char *const froms[] = { "Same", "All", "Selector", NULL };
	const struct amb_yaml *routes, *spaces, *sel;
	const char *protocol = "";
	int from = AMB_MFROM_SAME;

	out->port = port_of(d, l, "port");
	amb_decode_peek(d, l, "protocol", &protocol);
	out->hbone = !strcmp(protocol, "HBONE");
	out->proxy = !strcmp(protocol, "istio.io/PROXY");
	routes = amb_decode_enter(d, l, "allowedRoutes", AMB_YAML_MAP);
	if (!routes)
		return;
	spaces = amb_decode_enter(d, routes, "namespaces", AMB_YAML_MAP);
	if (spaces) {
		amb_decode_enum(d, spaces, "from", froms, &from);
		sel = amb_decode_enter(d, spaces, "selector", AMB_YAML_MAP);
		if (sel) {
			if (amb_yaml_get(sel, "matchExpressions"))
				amb_decode_error(d, sel,
						 "matchExpressions are not known here, "
						 "only matchLabels");
			amb_decode_kvs(d, sel, "matchLabels", NULL, &out->from_labels);
			amb_decode_leave(d);
		}
		amb_decode_leave(d);
	}
	out->from = (enum amb_mfrom)from;
	amb_decode_leave(d);
}

static const struct amb_mgwaddr *gateway_addrs(struct amb_decode *d, const struct amb_yaml *map,
					       uint32_t *n)
{
	const struct amb_yaml *list = amb_decode_enter(d, map, "addresses", AMB_YAML_SEQ);
	struct amb_mgwaddr *addrs;
	uint32_t i;

	if (!list)
		return NULL;
	addrs = amb_decode_alloc(d, list->n * sizeof(*addrs));
	for (i = 0; addrs && i < list->n; i++) {
		const struct amb_yaml *a = amb_decode_item(d, list, i, AMB_YAML_MAP);
		const char *type = "IPAddress";
		struct amb_addr ignored;

		if (!a)
			break;
		amb_decode_peek(d, a, "type", &type);
		addrs[i].hostname = !strcmp(type, "Hostname");
		amb_decode_string(d, a, "value", &addrs[i].value);
		if (!d->failed && !addrs[i].value)
			amb_decode_error(d, a, "has no value");
		else if (!d->failed && !addrs[i].hostname &&
			 amb_addr_parse(addrs[i].value, &ignored))
			amb_decode_error_in(d, a, "value", -1, "\"%.64s\" is not an IP address",
					    addrs[i].value);
		amb_decode_leave(d);
	}
	amb_decode_leave(d);
	*n = list->n;
	return addrs;
}

const void *amb_mobj_decode_gateway(struct amb_decode *d, const struct amb_yaml *doc,
				    const struct amb_mobj *o)
{
	struct amb_mgateway *gw = amb_decode_alloc(d, sizeof(*gw));
	const struct amb_yaml *spec, *status, *list;
	struct amb_mlistener *listeners;
	uint32_t i;

	(void)o;
	if (!gw)
		return NULL;
	gw->class = "";
	spec = amb_decode_enter(d, doc, "spec", AMB_YAML_MAP);
	if (!spec) {
		amb_decode_error(d, doc, "has no spec");
		return NULL;
	}
	amb_decode_string(d, spec, "gatewayClassName", &gw->class);
	gw->addrs = gateway_addrs(d, spec, &gw->naddrs);
	list = amb_decode_enter(d, spec, "listeners", AMB_YAML_SEQ);
	if (list) {
		listeners = amb_decode_alloc(d, list->n * sizeof(*listeners));
		for (i = 0; listeners && i < list->n; i++) {
			const struct amb_yaml *l = amb_decode_item(d, list, i, AMB_YAML_MAP);

			if (!l)
				break;
			listener(d, l, &listeners[i]);
			amb_decode_leave(d);
		}
		amb_decode_leave(d);
		gw->listeners = listeners;
		gw->nlisteners = list->n;
	}
	amb_decode_leave(d);
	status = amb_decode_enter(d, doc, "status", AMB_YAML_MAP);
	if (status) {
		gw->status = gateway_addrs(d, status, &gw->nstatus);
		amb_decode_leave(d);
	}
	return gw;
}
