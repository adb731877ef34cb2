/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Authorization resources written as text, for the tables of the policy tests. */
#ifndef SELFTESTS_POLICIES_H
#define SELFTESTS_POLICIES_H

#include "mesh.h"

/*
 * rules are separated by '|', clauses by '&', matches by ',', fields by ';', values by '+':
 *   "ns=a+b*;!port=80,sa=x/y & src=10.0.0.0/8 | always"
 * "always" is a rule without clauses, "any" a clause without matches, "{}" a match without
 * fields, "?" a value that cannot be decoded, "<empty>" the empty text. Blanks are ignored.
 */

__attribute__((unused)) static Istio__Security__StringMatch *mesh_string(const char *s)
{
	Istio__Security__StringMatch *m =
		MESH_NEW(Istio__Security__StringMatch, istio__security__string_match__init);
	char *text = mesh_text(strcmp(s, "<empty>") ? s : "");
	size_t n = strlen(text);

	if (!strcmp(s, "?"))
		return m;
	if (!strcmp(s, "*")) {
		m->match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE;
		m->presence = MESH_NEW(Google__Protobuf__Empty, google__protobuf__empty__init);
	} else if (n && text[0] == '*') {
		m->match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX;
		m->suffix = text + 1;
	} else if (n && text[n - 1] == '*') {
		text[n - 1] = 0;
		m->match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PREFIX;
		m->prefix = text;
	} else {
		m->match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT;
		m->exact = text;
	}
	return m;
}

__attribute__((unused)) static Istio__Security__Address *mesh_cidr(char *s)
{
	Istio__Security__Address *m =
		MESH_NEW(Istio__Security__Address, istio__security__address__init);
	char *slash = strchr(s, '/');

	if (!slash)
		return m;
	*slash = 0;
	m->address = mesh_addr(s);
	m->length = atoi(slash + 1);
	return m;
}

__attribute__((unused)) static void mesh_field(Istio__Security__Match *m, char *text)
{
	bool negated = *text == '!';
	char *eq = strchr(text, '='), **values;
	size_t n = mesh_split(eq + 1, "+", &values), i;
	void **p = mesh_alloc(n * sizeof(*p));
	uint32_t *ports = mesh_alloc(n * sizeof(*ports));

	*eq = 0;
	text += negated;
	for (i = 0; i < n; i++) {
		if (!strcmp(text, "ns") || !strcmp(text, "id")) {
			p[i] = mesh_string(values[i]);
		} else if (!strcmp(text, "src") || !strcmp(text, "dst")) {
			p[i] = mesh_cidr(values[i]);
		} else if (!strcmp(text, "port")) {
			ports[i] = atoi(values[i]);
		} else {
			Istio__Security__ServiceAccountMatch *a;

			a = MESH_NEW(Istio__Security__ServiceAccountMatch,
				     istio__security__service_account_match__init);
			a->namespace_ = values[i];
			a->service_account = strchr(values[i], '/') + 1;
			*strchr(values[i], '/') = 0;
			p[i] = a;
		}
	}
#define MESH_FIELD(name, plural, values)                                                           \
	if (!strcmp(text, name)) {                                                                 \
		if (negated) {                                                                     \
			m->n_not_##plural = n;                                                     \
			m->not_##plural = (void *)values;                                          \
		} else {                                                                           \
			m->n_##plural = n;                                                         \
			m->plural = (void *)values;                                                \
		}                                                                                  \
	}
	MESH_FIELD("ns", namespaces, p)
	MESH_FIELD("id", principals, p)
	MESH_FIELD("sa", service_accounts, p)
	MESH_FIELD("src", source_ips, p)
	MESH_FIELD("dst", destination_ips, p)
	MESH_FIELD("port", destination_ports, ports)
#undef MESH_FIELD
}

__attribute__((unused)) static Istio__Security__Clause *mesh_clause(const char *text)
{
	Istio__Security__Clause *c =
		MESH_NEW(Istio__Security__Clause, istio__security__clause__init);
	char **matches, **fields;
	size_t n, i, j;

	if (!strcmp(text, "any"))
		return c;
	c->n_matches = mesh_split(text, ",", &matches);
	c->matches = mesh_alloc(c->n_matches * sizeof(*c->matches));
	for (i = 0; i < c->n_matches; i++) {
		c->matches[i] = MESH_NEW(Istio__Security__Match, istio__security__match__init);
		if (!strcmp(matches[i], "{}"))
			continue;
		n = mesh_split(matches[i], ";", &fields);
		for (j = 0; j < n; j++)
			mesh_field(c->matches[i], fields[j]);
	}
	return c;
}

/* @action 0 allow, 1 deny; @scope 0 global, 1 namespace, 2 selector. */
__attribute__((unused)) static Istio__Security__Authorization *
mesh_policy(const char *ns, const char *name, int scope, int action, bool dry, const char *text)
{
	Istio__Security__Authorization *a =
		MESH_NEW(Istio__Security__Authorization, istio__security__authorization__init);
	char **rules, **clauses, *bare = mesh_text(text), *from, *to;
	size_t i, j;

	for (from = to = bare; *from; from++) {
		if (*from != ' ')
			*to++ = *from;
	}
	*to = 0;
	a->namespace_ = mesh_text(ns);
	a->name = mesh_text(name);
	a->scope = scope;
	a->action = action;
	a->dry_run = dry;
	a->n_rules = mesh_split(bare, "|", &rules);
	a->rules = mesh_alloc(a->n_rules * sizeof(*a->rules));
	for (i = 0; i < a->n_rules; i++) {
		a->rules[i] = MESH_NEW(Istio__Security__Rule, istio__security__rule__init);
		if (!strcmp(rules[i], "always"))
			continue;
		a->rules[i]->n_clauses = mesh_split(rules[i], "&", &clauses);
		a->rules[i]->clauses =
			mesh_alloc(a->rules[i]->n_clauses * sizeof(*a->rules[i]->clauses));
		for (j = 0; j < a->rules[i]->n_clauses; j++)
			a->rules[i]->clauses[j] = mesh_clause(clauses[j]);
	}
	return a;
}

#endif
