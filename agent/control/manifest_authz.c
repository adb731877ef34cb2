// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * AuthorizationPolicy and PeerAuthentication, read. What of an AuthorizationPolicy is layer 4
 * is converted as istiod does for node proxies (ztunnel-interop 6.4): a rule of an ALLOW
 * policy with an HTTP attribute falls away whole, in a DENY policy only the attribute does.
 *
 * Other than istiod, an address or port that cannot be read is an error and is not left out:
 * a policy without a condition that its author wrote is not what its author meant. For the same
 * reason a field that is not known is an error; a cluster's API server does not admit it either.
 */
#include "manifest_object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "authorization.pb-c.h"

/* The policy on its way into protobuf; memory is that of d->temp. */
struct policy {
	struct amb_decode *d;
	bool allow;
	bool l7; /* in the rule that is being read */
	char names[128]; /* HTTP attributes met in any rule */
};

static void *temp(struct policy *p, size_t n)
{
	void *mem = amb_arena_alloc(p->d->temp, n);

	if (!mem)
		amb_decode_error(p->d, NULL, "out of memory");
	return mem;
}

/* Strings of @key, kept in the temporary memory. */
static const struct amb_yaml *list_of(struct policy *p, const struct amb_yaml *map, const char *key)
{
	return amb_decode_enter(p->d, map, key, AMB_YAML_SEQ);
}

static const char *text_item(struct policy *p, const struct amb_yaml *list, uint32_t i)
{
	const struct amb_yaml *v = amb_decode_item(p->d, list, i, AMB_YAML_SCALAR);
	bool ignored;

	if (!v)
		return NULL;
	if (!amb_yaml_is_string(v)) {
		amb_decode_error(p->d, v, "has to be text: %s is a %s, write it in quotes",
				 *v->text ? v->text : "nothing",
				 amb_yaml_bool(v, &ignored) ? "number" : "boolean");
		return NULL;
	}
	if (!v->n) {
		amb_decode_error(p->d, v, "is empty");
		return NULL;
	}
	return v->text;
}

static char *part(struct policy *p, const char *s, size_t n)
{
	char *copy = amb_arena_strndup(p->d->temp, s, n);

	if (!copy)
		amb_decode_error(p->d, NULL, "out of memory");
	return copy;
}

static void string_match(struct policy *p, const char *v, Istio__Security__StringMatch *m)
{
	size_t n = strlen(v);

	istio__security__string_match__init(m);
	if (!strcmp(v, "*")) {
		m->match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE;
		m->presence = temp(p, sizeof(*m->presence));
		if (m->presence)
			google__protobuf__empty__init(m->presence);
	} else if (v[0] == '*') {
		m->match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX;
		m->suffix = part(p, v + 1, n - 1);
	} else if (v[n - 1] == '*') {
		m->match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PREFIX;
		m->prefix = part(p, v, n - 1);
	} else {
		m->match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT;
		m->exact = part(p, v, n);
	}
}

/* An array of @n pointers to structures of @size each, or NULL. */
static void *rows(struct policy *p, uint32_t n, size_t size)
{
	void **array = temp(p, n * sizeof(*array));
	uint32_t i;

	for (i = 0; array && i < n; i++) {
		array[i] = temp(p, size);
		if (!array[i])
			return NULL;
	}
	return array;
}

static void string_matches(struct policy *p, const struct amb_yaml *map, const char *key,
			   Istio__Security__StringMatch ***out, size_t *n)
{
	const struct amb_yaml *list = list_of(p, map, key);
	Istio__Security__StringMatch **m;
	uint32_t i;

	if (!list)
		return;
	m = rows(p, list->n, sizeof(**m));
	for (i = 0; m && i < list->n; i++) {
		const char *v = text_item(p, list, i);

		if (!v)
			return;
		string_match(p, v, m[i]);
		amb_decode_leave(p->d);
	}
	amb_decode_leave(p->d);
	*out = m;
	*n = list->n;
}

static void addresses(struct policy *p, const struct amb_yaml *map, const char *key,
		      Istio__Security__Address ***out, size_t *n)
{
	const struct amb_yaml *list = list_of(p, map, key);
	Istio__Security__Address **a;
	uint32_t i;

	if (!list)
		return;
	a = rows(p, list->n, sizeof(**a));
	for (i = 0; a && i < list->n; i++) {
		const char *v = text_item(p, list, i);
		struct amb_addr addr;
		uint8_t bits;
		bool v4;

		if (!v)
			return;
		if (amb_decode_cidr(v, &addr, &bits)) {
			amb_decode_error(p->d, list->items[i],
					 "\"%.64s\" is neither an IP address nor a CIDR", v);
			return;
		}
		v4 = amb_addr_is_v4(&addr);
		istio__security__address__init(a[i]);
		a[i]->address.len = v4 ? 4 : 16;
		a[i]->address.data = temp(p, 16);
		if (!a[i]->address.data)
			return;
		memcpy(a[i]->address.data, addr.b + (v4 ? 12 : 0), a[i]->address.len);
		a[i]->length = bits;
		amb_decode_leave(p->d);
	}
	amb_decode_leave(p->d);
	*out = a;
	*n = list->n;
}

static void ports(struct policy *p, const struct amb_yaml *map, const char *key, uint32_t **out,
		  size_t *n)
{
	const struct amb_yaml *list = list_of(p, map, key);
	uint32_t *values, i;

	if (!list)
		return;
	values = temp(p, list->n * sizeof(*values));
	for (i = 0; values && i < list->n; i++) {
		const char *v = text_item(p, list, i);
		uint16_t port;

		if (!v)
			return;
		if (amb_util_parse_port(v, &port)) {
			amb_decode_error(p->d, list->items[i], "\"%.64s\" is not a port number", v);
			return;
		}
		values[i] = port;
		amb_decode_leave(p->d);
	}
	amb_decode_leave(p->d);
	*out = values;
	*n = list->n;
}

/* "sa" of the policy's own namespace, or "ns/sa". */
static void accounts(struct policy *p, const struct amb_yaml *map, const char *key, const char *ns,
		     Istio__Security__ServiceAccountMatch ***out, size_t *n)
{
	const struct amb_yaml *list = list_of(p, map, key);
	Istio__Security__ServiceAccountMatch **m;
	uint32_t i;

	if (!list)
		return;
	m = rows(p, list->n, sizeof(**m));
	for (i = 0; m && i < list->n; i++) {
		const char *v = text_item(p, list, i), *slash;

		if (!v)
			return;
		slash = strchr(v, '/');
		istio__security__service_account_match__init(m[i]);
		m[i]->namespace_ = slash ? part(p, v, (size_t)(slash - v)) :
					   part(p, ns, strlen(ns));
		m[i]->service_account = slash ? part(p, slash + 1, strlen(slash + 1)) :
						part(p, v, strlen(v));
		if (p->d->failed)
			return;
		if (!amb_decode_is_label(m[i]->namespace_) ||
		    !amb_decode_is_subdomain(m[i]->service_account)) {
			amb_decode_error(p->d, list->items[i],
					 "\"%.200s\" is neither NAME nor NAMESPACE/NAME", v);
			return;
		}
		amb_decode_leave(p->d);
	}
	amb_decode_leave(p->d);
	*out = m;
	*n = list->n;
}

static void note_l7(struct policy *p, const char *name)
{
	size_t at = strlen(p->names), n = strlen(name);
	const char *seen = strstr(p->names, name);

	p->l7 = true;
	while (seen && ((seen != p->names && seen[-1] != ' ') || (seen[n] && seen[n] != ',')))
		seen = strstr(seen + 1, name);
	if (!seen && at < sizeof(p->names) - 1)
		snprintf(p->names + at, sizeof(p->names) - at, "%s%s", at ? ", " : "", name);
}

/* Notes which of the HTTP attributes @keys are used. */
static void find_l7(struct policy *p, const struct amb_yaml *map, const char *const *keys)
{
	for (; *keys; keys++) {
		const struct amb_yaml *list = list_of(p, map, *keys);

		if (!list)
			continue;
		if (list->n)
			note_l7(p, *keys);
		amb_decode_leave(p->d);
	}
}

/* The mapping @key of item @i of @list; it has to be there, alone. Leave twice. */
static const struct amb_yaml *inner(struct policy *p, const struct amb_yaml *list, uint32_t i,
				    const char *key)
{
	const struct amb_yaml *item = amb_decode_item(p->d, list, i, AMB_YAML_MAP), *v;
	const char *const only[] = { key, NULL };

	if (!item)
		return NULL;
	amb_decode_only(p->d, item, only);
	v = amb_decode_enter(p->d, item, key, AMB_YAML_MAP);
	if (!v)
		amb_decode_error(p->d, item, "has no %s", key);
	return v;
}

static Istio__Security__Clause *clause(struct policy *p, uint32_t n)
{
	Istio__Security__Clause *c = temp(p, sizeof(*c));
	uint32_t i;

	if (!c)
		return NULL;
	istio__security__clause__init(c);
	c->matches = rows(p, n, sizeof(**c->matches));
	if (!c->matches)
		return NULL;
	c->n_matches = n;
	for (i = 0; i < n; i++)
		istio__security__match__init(c->matches[i]);
	return c;
}

static Istio__Security__Clause *read_to(struct policy *p, const struct amb_yaml *list)
{
	static const char *const http[] = { "hosts", "notHosts", "methods", "notMethods",
					    "paths", "notPaths", NULL };
	static const char *const fields[] = { "hosts",	  "notHosts", "ports",
					      "notPorts", "methods",  "notMethods",
					      "paths",	  "notPaths", NULL };
	Istio__Security__Clause *c = clause(p, list->n);
	uint32_t i;

	for (i = 0; c && i < list->n; i++) {
		const struct amb_yaml *op = inner(p, list, i, "operation");
		Istio__Security__Match *m = c->matches[i];

		if (!op)
			return NULL;
		amb_decode_only(p->d, op, fields);
		find_l7(p, op, http);
		ports(p, op, "ports", &m->destination_ports, &m->n_destination_ports);
		ports(p, op, "notPorts", &m->not_destination_ports, &m->n_not_destination_ports);
		amb_decode_leave(p->d);
		amb_decode_leave(p->d);
	}
	return c;
}

static Istio__Security__Clause *read_from(struct policy *p, const struct amb_yaml *list,
					  const char *ns)
{
	static const char *const http[] = { "remoteIpBlocks", "notRemoteIpBlocks",
					    "requestPrincipals", "notRequestPrincipals", NULL };
	static const char *const fields[] = {
		"principals", "notPrincipals", "requestPrincipals", "notRequestPrincipals",
		"namespaces", "notNamespaces", "serviceAccounts",   "notServiceAccounts",
		"ipBlocks",   "notIpBlocks",   "remoteIpBlocks",    "notRemoteIpBlocks",
		NULL
	};
	Istio__Security__Clause *c = clause(p, list->n);
	uint32_t i;

	for (i = 0; c && i < list->n; i++) {
		const struct amb_yaml *s = inner(p, list, i, "source");
		Istio__Security__Match *m = c->matches[i];

		if (!s)
			return NULL;
		amb_decode_only(p->d, s, fields);
		find_l7(p, s, http);
		addresses(p, s, "ipBlocks", &m->source_ips, &m->n_source_ips);
		addresses(p, s, "notIpBlocks", &m->not_source_ips, &m->n_not_source_ips);
		string_matches(p, s, "namespaces", &m->namespaces, &m->n_namespaces);
		string_matches(p, s, "notNamespaces", &m->not_namespaces, &m->n_not_namespaces);
		accounts(p, s, "serviceAccounts", ns, &m->service_accounts, &m->n_service_accounts);
		accounts(p, s, "notServiceAccounts", ns, &m->not_service_accounts,
			 &m->n_not_service_accounts);
		string_matches(p, s, "principals", &m->principals, &m->n_principals);
		string_matches(p, s, "notPrincipals", &m->not_principals, &m->n_not_principals);
		amb_decode_leave(p->d);
		amb_decode_leave(p->d);
	}
	return c;
}

/* Attributes that only a waypoint can look at; what is none of these is a slip. */
static bool is_l7(const char *key)
{
	static const char *const exact[] = { "remote.ip", "source.serviceAccount",
					     "connection.sni" };
	static const char *const begin[] = { "request.headers[", "request.auth.", "experimental." };
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(exact); i++)
		if (!strcmp(key, exact[i]))
			return true;
	for (i = 0; i < AMB_ARRAY_SIZE(begin); i++)
		if (!strncmp(key, begin[i], strlen(begin[i])))
			return true;
	return false;
}

static Istio__Security__Clause *read_when(struct policy *p, const struct amb_yaml *w)
{
	static const char *const fields[] = { "key", "values", "notValues", NULL };
	Istio__Security__Clause *c = clause(p, 1);
	Istio__Security__Match *m;
	const char *key = NULL;

	amb_decode_only(p->d, w, fields);
	amb_decode_peek(p->d, w, "key", &key);
	if (!c || p->d->failed)
		return NULL;
	if (!key) {
		amb_decode_error(p->d, w, "has no key");
		return NULL;
	}
	m = c->matches[0];
	if (!strcmp(key, "source.namespace")) {
		string_matches(p, w, "values", &m->namespaces, &m->n_namespaces);
		string_matches(p, w, "notValues", &m->not_namespaces, &m->n_not_namespaces);
	} else if (!strcmp(key, "source.principal")) {
		string_matches(p, w, "values", &m->principals, &m->n_principals);
		string_matches(p, w, "notValues", &m->not_principals, &m->n_not_principals);
	} else if (!strcmp(key, "source.ip")) {
		addresses(p, w, "values", &m->source_ips, &m->n_source_ips);
		addresses(p, w, "notValues", &m->not_source_ips, &m->n_not_source_ips);
	} else if (!strcmp(key, "destination.ip")) {
		addresses(p, w, "values", &m->destination_ips, &m->n_destination_ips);
		addresses(p, w, "notValues", &m->not_destination_ips, &m->n_not_destination_ips);
	} else if (!strcmp(key, "destination.port")) {
		ports(p, w, "values", &m->destination_ports, &m->n_destination_ports);
		ports(p, w, "notValues", &m->not_destination_ports, &m->n_not_destination_ports);
	} else if (is_l7(key)) {
		note_l7(p, key);
		return c;
	} else {
		amb_decode_error_in(p->d, w, "key", -1, "attribute \"%.100s\" is not known", key);
		return c;
	}
	if (!p->d->failed && !amb_yaml_get(w, "values") && !amb_yaml_get(w, "notValues"))
		amb_decode_error(p->d, w, "has neither values nor notValues");
	return c;
}

/* One rule; NULL when it falls away or after an error. */
static Istio__Security__Rule *read_rule(struct policy *p, const struct amb_yaml *v, const char *ns)
{
	static const char *const fields[] = { "from", "to", "when", NULL };
	const struct amb_yaml *to, *from, *when;
	Istio__Security__Rule *rule = temp(p, sizeof(*rule));
	uint32_t i;

	if (!rule)
		return NULL;
	amb_decode_only(p->d, v, fields);
	istio__security__rule__init(rule);
	p->l7 = false;
	when = amb_yaml_get(v, "when");
	rule->clauses = temp(p, (2 + (when && when->type == AMB_YAML_SEQ ? when->n : 0)) *
					sizeof(*rule->clauses));
	if (!rule->clauses)
		return NULL;
	to = list_of(p, v, "to");
	if (to) {
		if (to->n)
			rule->clauses[rule->n_clauses++] = read_to(p, to);
		amb_decode_leave(p->d);
	}
	from = list_of(p, v, "from");
	if (from) {
		if (from->n)
			rule->clauses[rule->n_clauses++] = read_from(p, from, ns);
		amb_decode_leave(p->d);
	}
	when = list_of(p, v, "when");
	for (i = 0; when && i < when->n; i++) {
		const struct amb_yaml *w = amb_decode_item(p->d, when, i, AMB_YAML_MAP);

		if (!w)
			return NULL;
		rule->clauses[rule->n_clauses++] = read_when(p, w);
		amb_decode_leave(p->d);
	}
	if (when)
		amb_decode_leave(p->d);
	if (p->d->failed || (p->l7 && p->allow))
		return NULL;
	return rule;
}

static void read_rules(struct policy *p, const struct amb_yaml *spec, const char *ns,
		       Istio__Security__Authorization *a)
{
	const struct amb_yaml *list = list_of(p, spec, "rules");
	uint32_t i;

	if (!list)
		return;
	a->rules = temp(p, list->n * sizeof(*a->rules));
	for (i = 0; a->rules && i < list->n; i++) {
		const struct amb_yaml *v = amb_decode_item(p->d, list, i, AMB_YAML_MAP);
		Istio__Security__Rule *rule;

		if (!v)
			return;
		rule = read_rule(p, v, ns);
		if (rule)
			a->rules[a->n_rules++] = rule;
		amb_decode_leave(p->d);
	}
	amb_decode_leave(p->d);
}

/* "selector: {matchLabels: {...}}"; nothing in it is as good as none. */
static void read_selector(struct amb_decode *d, const struct amb_yaml *spec, struct amb_kvs *out)
{
	static const char *const fields[] = { "matchLabels", NULL };
	const struct amb_yaml *sel = amb_decode_enter(d, spec, "selector", AMB_YAML_MAP);

	if (!sel)
		return;
	amb_decode_only(d, sel, fields);
	amb_decode_kvs(d, sel, "matchLabels", NULL, out);
	amb_decode_leave(d);
}

static const char *const document_fields[] = { "apiVersion", "kind",   "metadata",
					       "spec",	     "status", NULL };

static bool has_targets(const struct amb_yaml *spec)
{
	const struct amb_yaml *one = amb_yaml_get(spec, "targetRef");
	const struct amb_yaml *many = amb_yaml_get(spec, "targetRefs");

	return (one && !amb_yaml_is_null(one)) || (many && many->type == AMB_YAML_SEQ && many->n);
}

const void *amb_mobj_decode_authz(struct amb_decode *d, const struct amb_yaml *doc,
				  const struct amb_mobj *o)
{
	static const char *const actions[] = { "ALLOW", "DENY", "AUDIT", "CUSTOM", NULL };
	static const char *const fields[] = { "selector", "targetRef", "targetRefs", "rules",
					      "action",	  "provider",  NULL };
	struct amb_mauthz *pol = amb_decode_alloc(d, sizeof(*pol));
	Istio__Security__Authorization a = ISTIO__SECURITY__AUTHORIZATION__INIT;
	const struct amb_yaml *spec;
	const char *dry;
	struct policy p = { .d = d };
	int action = 0;
	uint8_t *bytes;

	if (!pol)
		return NULL;
	amb_arena_reset(d->temp);
	amb_decode_only(d, doc, document_fields);
	/* Without a spec it allows nothing, as in a cluster. */
	spec = amb_decode_enter(d, doc, "spec", AMB_YAML_MAP);
	amb_decode_only(d, spec, fields);
	if (spec && has_targets(spec))
		return pol;
	amb_decode_enum(d, spec, "action", actions, &action);
	if (action > 1) {
		amb_decode_warn_in(d, spec, "action", -1, "%s is not enforced at layer 4",
				   actions[action]);
		return pol;
	}
	p.allow = action == 0;
	a.action = p.allow ? ISTIO__SECURITY__ACTION__ALLOW : ISTIO__SECURITY__ACTION__DENY;
	dry = amb_kvs_get(&o->annotations, "istio.io/dry-run");
	a.dry_run = dry && !strcmp(dry, "true");
	read_selector(d, spec, &pol->selector);
	read_rules(&p, spec, o->ns, &a);
	if (d->failed)
		return NULL;
	if (p.names[0])
		amb_decode_warn(d, spec,
				p.allow ? "HTTP attributes (%s) need a waypoint; the "
					  "rules that have them allow nothing here" :
					  "HTTP attributes (%s) need a waypoint; the "
					  "rest of their rules is enforced without them",
				p.names);
	if (!p.allow && !a.n_rules)
		amb_decode_warn(d, spec, "DENY without rules denies nothing");
	pol->len = (uint32_t)istio__security__authorization__get_packed_size(&a);
	bytes = amb_decode_alloc(d, pol->len ? pol->len : 1);
	if (!bytes)
		return NULL;
	istio__security__authorization__pack(&a, bytes);
	pol->packed = bytes;
	if (spec)
		amb_decode_leave(d);
	return pol;
}

static const char *const mtls_modes[] = { "UNSET", "DISABLE", "PERMISSIVE", "STRICT", NULL };

static int by_port(const void *a, const void *b)
{
	const struct amb_mportmtls *x = a, *y = b;

	return (x->port > y->port) - (x->port < y->port);
}

static void port_level(struct amb_decode *d, const struct amb_yaml *spec, struct amb_mpeerauth *pa)
{
	static const char *const fields[] = { "mode", NULL };
	const struct amb_yaml *map = amb_decode_enter(d, spec, "portLevelMtls", AMB_YAML_MAP);
	struct amb_mportmtls *list;
	uint32_t i;

	if (!map)
		return;
	list = amb_decode_alloc(d, map->n * sizeof(*list));
	for (i = 0; list && i < map->n; i++) {
		const struct amb_yaml *key = map->pairs[i].key, *v;
		int mode = AMB_MTLS_UNSET;

		v = amb_decode_enter(d, map, key->text, AMB_YAML_MAP);
		if (amb_util_parse_port(key->text, &list[i].port))
			amb_decode_error(d, key, "\"%.64s\" is not a port number", key->text);
		if (v) {
			amb_decode_only(d, v, fields);
			amb_decode_enum(d, v, "mode", mtls_modes, &mode);
			amb_decode_leave(d);
		}
		list[i].mode = (uint8_t)mode;
	}
	if (d->failed)
		return;
	amb_decode_leave(d);
	if (map->n)
		qsort(list, map->n, sizeof(*list), by_port);
	pa->ports = list;
	pa->nports = map->n;
}

const void *amb_mobj_decode_peerauth(struct amb_decode *d, const struct amb_yaml *doc,
				     const struct amb_mobj *o)
{
	static const char *const fields[] = { "selector", "mtls", "portLevelMtls", NULL };
	static const char *const mtls_fields[] = { "mode", NULL };
	struct amb_mpeerauth *pa = amb_decode_alloc(d, sizeof(*pa));
	const struct amb_yaml *spec, *mtls, *meta;
	int mode = AMB_MTLS_UNSET;

	(void)o;
	if (!pa)
		return NULL;
	amb_decode_only(d, doc, document_fields);
	pa->created = "";
	meta = amb_decode_enter(d, doc, "metadata", AMB_YAML_MAP);
	if (!meta)
		return NULL;
	amb_decode_string(d, meta, "creationTimestamp", &pa->created);
	amb_decode_leave(d);
	spec = amb_decode_enter(d, doc, "spec", AMB_YAML_MAP);
	if (!spec)
		return pa;
	amb_decode_only(d, spec, fields);
	read_selector(d, spec, &pa->selector);
	mtls = amb_decode_enter(d, spec, "mtls", AMB_YAML_MAP);
	if (mtls) {
		amb_decode_only(d, mtls, mtls_fields);
		amb_decode_enum(d, mtls, "mode", mtls_modes, &mode);
		amb_decode_leave(d);
	}
	pa->mode = (enum amb_mtls)mode;
	port_level(d, spec, pa);
	if (!d->failed && pa->nports && !pa->selector.n)
		amb_decode_warn_in(d, spec, "portLevelMtls", -1,
				   "needs a selector, without one it has no effect");
	amb_decode_leave(d);
	return pa;
}

/* The selector if it reads well; without one the policy is for all of its namespace. */
static struct amb_kvs any_selector(struct amb_decode *d, const struct amb_yaml *doc)
{
	const struct amb_yaml *spec = doc ? amb_yaml_get(doc, "spec") : NULL;
	struct amb_kvs kvs = { 0 };

	if (!spec || spec->type != AMB_YAML_MAP)
		return kvs;
	read_selector(d, spec, &kvs);
	if (d->failed)
		kvs = (struct amb_kvs){ 0 };
	d->failed = false;
	d->npath = 0;
	return kvs;
}

const void *amb_mobj_deny_all(struct amb_decode *d, enum amb_mobj_kind kind,
			      const struct amb_yaml *doc)
{
	Istio__Security__Authorization a = ISTIO__SECURITY__AUTHORIZATION__INIT;
	Istio__Security__Rule rule = ISTIO__SECURITY__RULE__INIT, *rules[] = { &rule };
	struct amb_kvs selector = any_selector(d, doc);
	struct amb_mpeerauth *pa;
	struct amb_mauthz *pol;
	uint8_t *bytes;

	if (kind == AMB_MOBJ_PEERAUTHENTICATION) {
		pa = amb_decode_alloc(d, sizeof(*pa));
		if (pa)
			*pa = (struct amb_mpeerauth){ .selector = selector,
						      .created = "",
						      .mode = AMB_MTLS_STRICT };
		return pa;
	}
	a.action = ISTIO__SECURITY__ACTION__DENY;
	a.rules = rules;
	a.n_rules = 1;
	pol = amb_decode_alloc(d, sizeof(*pol));
	bytes = amb_decode_alloc(d, istio__security__authorization__get_packed_size(&a));
	if (!pol || !bytes)
		return NULL;
	pol->selector = selector;
	pol->len = (uint32_t)istio__security__authorization__pack(&a, bytes);
	pol->packed = bytes;
	return pol;
}
