// SPDX-License-Identifier: GPL-2.0-or-later
/* Policies of a local configuration. */
#include "local_xds_priv.h"

#include "authorization.pb-c.h"
#include "google/protobuf/empty.pb-c.h"

#include <string.h>

typedef Istio__Security__Authorization Policy;
typedef Istio__Security__Rule Rule;
typedef Istio__Security__Clause Clause;
typedef Istio__Security__Match Match;
typedef Istio__Security__StringMatch StringMatch;

#define NEW AMB_LXDS_NEW

static const char *const variants[] = { "", "Exact", "Prefix", "Suffix", "Presence" };

/* !Exact x, or {Exact: x}. */
static void *string_match(struct amb_decode *d, const struct amb_yaml *v)
{
	StringMatch *m = NEW(d, StringMatch, istio__security__string_match__init);
	const struct amb_yaml *value = v;
	const char *tag = v->tag;
	uint32_t i = 0;

	if (v->type == AMB_YAML_MAP && v->n == 1) {
		tag = v->pairs[0].key->text;
		value = v->pairs[0].value;
	}
	while (tag && i < AMB_ARRAY_SIZE(variants) && strcmp(variants[i], tag))
		i++;
	if (!i || i == AMB_ARRAY_SIZE(variants)) {
		amb_decode_error(d, v, "has to be one of !Exact, !Prefix, !Suffix, !Presence");
		return NULL;
	}
	/* Taken for "", it would be a prefix of everything. */
	if (i != ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE &&
	    (value->type != AMB_YAML_SCALAR || amb_yaml_is_null(value))) {
		amb_decode_error(d, v, "!%s needs a text", variants[i]);
		return NULL;
	}
	if (!m)
		return NULL;
	m->match_type_case = i;
	if (i == ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE)
		m->presence = NEW(d, Google__Protobuf__Empty, google__protobuf__empty__init);
	else
		m->exact = amb_lxds_text(d, value->text, strlen(value->text));
	return m;
}

static void *account(struct amb_decode *d, const struct amb_yaml *v)
{
	static const char *const keys[] = { "namespace", "serviceAccount", NULL };
	Istio__Security__ServiceAccountMatch *m = NEW(d, Istio__Security__ServiceAccountMatch,
						      istio__security__service_account_match__init);

	if (!m)
		return NULL;
	amb_decode_only(d, v, keys);
	amb_lxds_string(d, v, "namespace", &m->namespace_);
	amb_lxds_string(d, v, "serviceAccount", &m->service_account);
	return m;
}

static void *range(struct amb_decode *d, const struct amb_yaml *v)
{
	Istio__Security__Address *m =
		NEW(d, Istio__Security__Address, istio__security__address__init);
	struct amb_addr addr;
	uint8_t bits;

	if (!m)
		return NULL;
	if (amb_decode_cidr(v->text, &addr, &bits)) {
		amb_decode_error(d, v, "\"%.60s\" is no range of addresses", v->text);
		return NULL;
	}
	amb_lxds_bytes(d, &addr, &m->address);
	m->length = bits;
	return m;
}

static void port_list(struct amb_decode *d, const struct amb_yaml *map, const char *key,
		      uint32_t **out, size_t *n)
{
	const struct amb_yaml *seq = amb_decode_enter(d, map, key, AMB_YAML_SEQ);
	uint32_t *v = seq ? amb_decode_alloc(d, (seq->n + 1) * sizeof(*v)) : NULL;
	int64_t port;
	uint32_t i;

	for (i = 0; v && i < seq->n && !d->failed; i++) {
		const struct amb_yaml *item = seq->items[i];

		if (amb_yaml_int(item, &port) || port < 0 || port > 65535)
			amb_decode_error(d, item, "[%u] is no port", i);
		v[i] = port;
	}
	if (v && !d->failed) {
		*out = v;
		*n = seq->n;
	}
	if (seq)
		amb_decode_leave(d);
}

#define LIST(key, type, one, field)                                                                \
	{                                                                                          \
		key, type, one, offsetof(Match, field), offsetof(Match, n_##field)                 \
	}

static const struct {
	const char *key;
	int type;
	amb_lxds_one_fn *one;
	size_t array, n; /* where they are in a Match */
} lists[] = {
	LIST("namespaces", AMB_LXDS_ANY, string_match, namespaces),
	LIST("notNamespaces", AMB_LXDS_ANY, string_match, not_namespaces),
	LIST("principals", AMB_LXDS_ANY, string_match, principals),
	LIST("notPrincipals", AMB_LXDS_ANY, string_match, not_principals),
	LIST("serviceAccounts", AMB_YAML_MAP, account, service_accounts),
	LIST("notServiceAccounts", AMB_YAML_MAP, account, not_service_accounts),
	LIST("sourceIps", AMB_YAML_SCALAR, range, source_ips),
	LIST("notSourceIps", AMB_YAML_SCALAR, range, not_source_ips),
	LIST("destinationIps", AMB_YAML_SCALAR, range, destination_ips),
	LIST("notDestinationIps", AMB_YAML_SCALAR, range, not_destination_ips),
};

static void *match(struct amb_decode *d, const struct amb_yaml *v)
{
	static const char *const keys[] = {
		"namespaces",
		"notNamespaces",
		"serviceAccounts",
		"notServiceAccounts",
		"principals",
		"notPrincipals",
		"sourceIps",
		"notSourceIps",
		"destinationIps",
		"notDestinationIps",
		"destinationPorts",
		"notDestinationPorts",
		NULL,
	};
	Match *m = NEW(d, Match, istio__security__match__init);
	size_t i;

	if (!m)
		return NULL;
	amb_decode_only(d, v, keys);
	for (i = 0; i < AMB_ARRAY_SIZE(lists); i++)
		amb_lxds_list(d, v, lists[i].key, lists[i].type, lists[i].one,
			      (char *)m + lists[i].array, (size_t *)((char *)m + lists[i].n));
	port_list(d, v, "destinationPorts", &m->destination_ports, &m->n_destination_ports);
	port_list(d, v, "notDestinationPorts", &m->not_destination_ports,
		  &m->n_not_destination_ports);
	return m;
}

static void *clause(struct amb_decode *d, const struct amb_yaml *v)
{
	Clause *m = NEW(d, Clause, istio__security__clause__init);

	if (m)
		amb_lxds_items(d, v, AMB_YAML_MAP, match, &m->matches, &m->n_matches);
	return m;
}

static void *rule(struct amb_decode *d, const struct amb_yaml *v)
{
	Rule *m = NEW(d, Rule, istio__security__rule__init);

	if (m)
		amb_lxds_items(d, v, AMB_YAML_SEQ, clause, &m->clauses, &m->n_clauses);
	return m;
}

void amb_lxds_policy(struct amb_decode *d, const struct amb_yaml *v, Policy *m)
{
	static const char *const keys[] = { "name",  "namespace", "scope", "action",
					    "rules", "dryRun",	  NULL };
	static const char *const scopes[] = { "Global", "Namespace", "WorkloadSelector", NULL };
	static const char *const actions[] = { "Allow", "Deny", NULL };
	int scope = 0, action = 0;
	size_t i;

	amb_decode_only(d, v, keys);
	/* What a policy without them would mean is not to be guessed. */
	for (i = 0; i < 5; i++)
		amb_lxds_needed(d, v, keys[i]);
	amb_lxds_string(d, v, "name", &m->name);
	amb_lxds_string(d, v, "namespace", &m->namespace_);
	amb_decode_enum(d, v, "scope", scopes, &scope);
	amb_decode_enum(d, v, "action", actions, &action);
	m->scope = scope;
	m->action = action;
	amb_lxds_list(d, v, "rules", AMB_YAML_SEQ, rule, &m->rules, &m->n_rules);
	amb_lxds_flag(d, v, "dryRun", &m->dry_run);
}
