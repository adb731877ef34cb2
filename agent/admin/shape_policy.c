// SPDX-License-Identifier: GPL-2.0-or-later
/* Policies as JSON: the readable source of what the engine compiled. */
#include "shape.h"

#include "authorization.pb-c.h"

#include <string.h>

typedef Istio__Security__StringMatch string_match;
typedef Istio__Security__Address address_match;
typedef Istio__Security__ServiceAccountMatch account_match;

static void set_array(json_t *o, const char *key, json_t *array)
{
	if (json_array_size(array))
		json_object_set_new(o, key, array);
	else
		json_decref(array);
}

static json_t *one_string(const string_match *m)
{
	json_t *o = json_object();

	switch (m->match_type_case) {
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT:
		json_object_set_new(o, "Exact", amb_shape_string(m->exact));
		break;
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PREFIX:
		json_object_set_new(o, "Prefix", amb_shape_string(m->prefix));
		break;
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX:
		json_object_set_new(o, "Suffix", amb_shape_string(m->suffix));
		break;
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE:
		json_object_set_new(o, "Presence", json_array());
		break;
	default:
		break;
	}
	return o;
}

static void set_strings(json_t *o, const char *key, string_match *const *list, size_t n)
{
	json_t *array = json_array();
	size_t i;

	for (i = 0; i < n; i++)
		json_array_append_new(array, one_string(list[i]));
	set_array(o, key, array);
}

static void set_cidrs(json_t *o, const char *key, address_match *const *list, size_t n)
{
	json_t *array = json_array();
	char text[AMB_ADDR_STRLEN];
	struct amb_addr a;
	size_t i;

	for (i = 0; i < n; i++) {
		if (amb_addr_from_bytes(list[i]->address.data, list[i]->address.len, &a))
			continue;
		json_array_append_new(array, json_sprintf("%s/%u", amb_addr_format(&a, text),
							  list[i]->length));
	}
	set_array(o, key, array);
}

static void set_ports(json_t *o, const char *key, const uint32_t *list, size_t n)
{
	json_t *array = json_array();
	size_t i;

	for (i = 0; i < n; i++)
		json_array_append_new(array, json_integer(list[i]));
	set_array(o, key, array);
}

static void set_accounts(json_t *o, const char *key, account_match *const *list, size_t n)
{
	json_t *array = json_array();
	size_t i;

	for (i = 0; i < n; i++) {
		json_t *a = json_object();

		json_object_set_new(a, "namespace", amb_shape_string(list[i]->namespace_));
		json_object_set_new(a, "serviceAccount",
				    amb_shape_string(list[i]->service_account));
		json_array_append_new(array, a);
	}
	set_array(o, key, array);
}

static json_t *match(const Istio__Security__Match *m)
{
	json_t *o = json_object();

	set_strings(o, "namespaces", m->namespaces, m->n_namespaces);
	set_strings(o, "notNamespaces", m->not_namespaces, m->n_not_namespaces);
	set_accounts(o, "serviceAccounts", m->service_accounts, m->n_service_accounts);
	set_accounts(o, "notServiceAccounts", m->not_service_accounts, m->n_not_service_accounts);
	set_strings(o, "principals", m->principals, m->n_principals);
	set_strings(o, "notPrincipals", m->not_principals, m->n_not_principals);
	set_cidrs(o, "sourceIps", m->source_ips, m->n_source_ips);
	set_cidrs(o, "notSourceIps", m->not_source_ips, m->n_not_source_ips);
	set_cidrs(o, "destinationIps", m->destination_ips, m->n_destination_ips);
	set_cidrs(o, "notDestinationIps", m->not_destination_ips, m->n_not_destination_ips);
	set_ports(o, "destinationPorts", m->destination_ports, m->n_destination_ports);
	set_ports(o, "notDestinationPorts", m->not_destination_ports, m->n_not_destination_ports);
	return o;
}

static json_t *rules(const Istio__Security__Authorization *a)
{
	json_t *all = json_array();
	size_t r, c, m;

	for (r = 0; r < a->n_rules; r++) {
		const Istio__Security__Rule *rule = a->rules[r];
		json_t *clauses = json_array();

		for (c = 0; c < rule->n_clauses; c++) {
			json_t *matches = json_array();

			for (m = 0; m < rule->clauses[c]->n_matches; m++)
				json_array_append_new(matches, match(rule->clauses[c]->matches[m]));
			json_array_append_new(clauses, matches);
		}
		json_array_append_new(all, clauses);
	}
	return all;
}

json_t *amb_shape_policy(const struct amb_policy_info *p)
{
	static const char *const scopes[] = { "Global", "Namespace", "WorkloadSelector" };
	json_t *o = json_object();

	json_object_set_new(o, "name", amb_shape_string(p->name));
	json_object_set_new(o, "namespace", amb_shape_string(p->ns));
	json_object_set_new(o, "scope", json_string(p->scope < 3 ? scopes[p->scope] : "Unknown"));
	json_object_set_new(o, "action", json_string(p->action ? "Deny" : "Allow"));
	json_object_set_new(o, "rules", p->source ? rules((const void *)p->source) : json_array());
	json_object_set_new(o, "dryRun", json_boolean(p->dry_run));
	return o;
}
