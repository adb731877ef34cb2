// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What becomes of AuthorizationPolicy and PeerAuthentication (ztunnel-interop 6.4). STRICT is a
 * DENY policy for those without identity: one for all workloads, and one of its own for a
 * workload with exceptions for ports.
 *
 * Where istiod loses a port's strictness between the levels (a workload that is PERMISSIVE but
 * for a port, under a STRICT mesh; a namespace that is UNSET between both) what the levels
 * together say is enforced.
 */
#include "manifest_compile.h"

#include <stdlib.h>
#include <string.h>

#define STATIC_STRICT "istio_converted_static_strict"
#define CONVERTED "converted_peer_authentication_"

static void *arena_alloc(void *ctx, size_t size)
{
	return amb_arena_alloc(ctx, size);
}

static void arena_free(void *ctx, void *p)
{
	(void)ctx;
	(void)p;
}

/* Says what a policy that cannot be read costs. */
static void tell_stand_in(struct amb_mbuild *b, const struct amb_mref *ref, bool selector,
			  bool plain)
{
	const struct amb_mobj *o = ref->obj;
	bool mesh = !*o->ns || !strcmp(o->ns, b->set->root_ns);

	amb_mbuild_report(b, ref, true, "",
			  "until it is mended, all %sconnections to %s%s%s are denied",
			  plain ? "plaintext " : "",
			  selector ? "the workloads that it selects in " : "",
			  mesh ? "the whole mesh" : "namespace ", mesh ? "" : o->ns);
}

static void add_authz(struct amb_mbuild *b, const struct amb_mref *ref)
{
	ProtobufCAllocator alloc = { arena_alloc, arena_free, b->a };
	const struct amb_mauthz *pol = ref->obj->spec;
	Istio__Security__Authorization *a;
	const char *key, *ns = *ref->obj->ns ? ref->obj->ns : b->set->root_ns;

	if (!pol->packed)
		return;
	if (ref->obj->stand_in)
		tell_stand_in(b, ref, pol->selector.n, false);
	a = istio__security__authorization__unpack(&alloc, pol->len, pol->packed);
	key = amb_arena_printf(b->a, "%s/%s", ns, ref->obj->name);
	if (!a || !key) {
		b->failed = true;
		return;
	}
	a->name = (char *)ref->obj->name;
	a->namespace_ = (char *)ns;
	if (pol->selector.n) {
		bool root = !strcmp(ns, b->set->root_ns);

		a->scope = ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR;
		if (amb_mselect_add(b->by_policy, root ? NULL : ns, &pol->selector, (void *)key))
			b->failed = true;
	} else if (!strcmp(ns, b->set->root_ns)) {
		a->scope = ISTIO__SECURITY__SCOPE__GLOBAL;
	} else {
		a->scope = ISTIO__SECURITY__SCOPE__NAMESPACE;
	}
	b->out->policies += amb_mbuild_add(b, key, ref, NULL, a);
}

static int space_by_ns(const void *a, const void *b)
{
	const struct amb_mspace *x = a, *y = b;

	return strcmp(x->ns, y->ns);
}

/* Of two the older one counts, of equally old ones the first by name. */
static bool older(const struct amb_mobj *a, const struct amb_mobj *b)
{
	const struct amb_mpeerauth *x = a->spec, *y = b->spec;
	int c = strcmp(x->created, y->created);

	if (a->stand_in != b->stand_in)
		return a->stand_in;

	return c < 0 || (!c && strcmp(a->name, b->name) < 0);
}

static const struct amb_mref *space_peerauth(struct amb_mbuild *b, const char *ns)
{
	const struct amb_mspace key = { ns, NULL }, *s;

	s = b->nspaces ? bsearch(&key, b->spaces, b->nspaces, sizeof(key), space_by_ns) : NULL;
	return s ? s->peerauth : NULL;
}

/* Keeps the oldest PeerAuthentication of each namespace that has no selector. */
static void find_spaces(struct amb_mbuild *b, uint32_t most)
{
	uint32_t i, n = 0, k = 0;

	b->spaces = amb_mbuild_alloc(b, most * sizeof(*b->spaces));
	if (!b->spaces)
		return;
	for (i = 0; i < b->t->n; i++) {
		const struct amb_mref *ref = &b->t->rows[i];
		const struct amb_mpeerauth *pa = ref->obj->spec;

		if (ref->obj->kind == AMB_MOBJ_PEERAUTHENTICATION && !pa->selector.n)
			b->spaces[n++] = (struct amb_mspace){ ref->obj->ns, ref };
	}
	if (n)
		qsort(b->spaces, n, sizeof(*b->spaces), space_by_ns);
	for (i = 0; i < n; i++) {
		if (k && !strcmp(b->spaces[k - 1].ns, b->spaces[i].ns)) {
			const struct amb_mref *other = b->spaces[i].peerauth, *ref = other;

			if (older(other->obj, b->spaces[k - 1].peerauth->obj)) {
				ref = b->spaces[k - 1].peerauth;
				b->spaces[k - 1].peerauth = other;
			} else {
				other = b->spaces[k - 1].peerauth;
			}
			amb_mbuild_report(b, ref, false, "",
					  "has no effect: %s of this namespace is older",
					  other->obj->name);
			continue;
		}
		b->spaces[k++] = b->spaces[i];
	}
	b->nspaces = k;
}

static enum amb_mtls mode_of(const struct amb_mref *ref)
{
	return ref ? ((const struct amb_mpeerauth *)ref->obj->spec)->mode : AMB_MTLS_UNSET;
}

/* What holds in @ns for workloads that no selector matches. */
static bool space_strict(struct amb_mbuild *b, const char *ns)
{
	const struct amb_mref *mesh = space_peerauth(b, b->set->root_ns);
	enum amb_mtls mode = mode_of(space_peerauth(b, ns));

	return (mode == AMB_MTLS_UNSET ? mode_of(mesh) : mode) == AMB_MTLS_STRICT;
}

static bool workload_strict(struct amb_mbuild *b, const struct amb_mref *ref)
{
	enum amb_mtls mode = mode_of(ref);

	return mode == AMB_MTLS_UNSET ? space_strict(b, ref->obj->ns) : mode == AMB_MTLS_STRICT;
}

static bool is_open(uint8_t mode)
{
	return mode == AMB_MTLS_PERMISSIVE || mode == AMB_MTLS_DISABLE;
}

/* True when its ports differ from the rest, so that it needs a policy of its own. */
static bool has_exceptions(struct amb_mbuild *b, const struct amb_mref *ref)
{
	const struct amb_mpeerauth *pa = ref->obj->spec;
	bool strict = workload_strict(b, ref);
	uint32_t i;

	for (i = 0; i < pa->nports; i++)
		if (strict ? is_open(pa->ports[i].mode) : pa->ports[i].mode == AMB_MTLS_STRICT)
			return true;
	return false;
}

/* Adds a clause of one match to @rule, which has room. */
static Istio__Security__Match *add_match(struct amb_mbuild *b, Istio__Security__Rule *rule)
{
	Istio__Security__Clause *c = amb_mbuild_alloc(b, sizeof(*c));
	Istio__Security__Match *m = amb_mbuild_alloc(b, sizeof(*m));
	Istio__Security__Match **list = amb_mbuild_alloc(b, sizeof(*list));

	if (!c || !m || !list)
		return NULL;
	istio__security__clause__init(c);
	istio__security__match__init(m);
	list[0] = m;
	c->matches = list;
	c->n_matches = 1;
	rule->clauses[rule->n_clauses++] = c;
	return m;
}

static void without_identity(struct amb_mbuild *b, Istio__Security__Match *m)
{
	Istio__Security__StringMatch *s = amb_mbuild_alloc(b, sizeof(*s));
	Istio__Security__StringMatch **list = amb_mbuild_alloc(b, sizeof(*list));
	Google__Protobuf__Empty *empty = amb_mbuild_alloc(b, sizeof(*empty));

	if (!m || !s || !list || !empty)
		return;
	istio__security__string_match__init(s);
	google__protobuf__empty__init(empty);
	s->match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE;
	s->presence = empty;
	list[0] = s;
	m->not_principals = list;
	m->n_not_principals = 1;
}

static uint32_t *one_port(struct amb_mbuild *b, uint16_t port)
{
	uint32_t *p = amb_mbuild_alloc(b, sizeof(*p));

	if (p)
		*p = port;
	return p;
}

/* A DENY policy of @nrules rules, each with room for @nclauses. */
static Istio__Security__Authorization *deny(struct amb_mbuild *b, const char *ns, const char *name,
					    uint32_t nrules, uint32_t nclauses)
{
	Istio__Security__Authorization *a = amb_mbuild_alloc(b, sizeof(*a));
	uint32_t i;

	if (!a)
		return NULL;
	istio__security__authorization__init(a);
	a->name = (char *)name;
	a->namespace_ = (char *)ns;
	a->scope = ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR;
	a->action = ISTIO__SECURITY__ACTION__DENY;
	a->rules = amb_mbuild_alloc(b, nrules * sizeof(*a->rules));
	for (i = 0; a->rules && i < nrules; i++) {
		Istio__Security__Rule *rule = amb_mbuild_alloc(b, sizeof(*rule));

		if (!rule)
			return NULL;
		istio__security__rule__init(rule);
		rule->clauses = amb_mbuild_alloc(b, nclauses * sizeof(*rule->clauses));
		if (!rule->clauses)
			return NULL;
		a->rules[a->n_rules++] = rule;
	}
	return a->rules ? a : NULL;
}

static const char *converted_key(struct amb_mbuild *b, const struct amb_mref *ref)
{
	const char *key =
		amb_arena_printf(b->a, "%s/" CONVERTED "%s", ref->obj->ns, ref->obj->name);

	b->failed |= !key;
	return key;
}

static void add_converted(struct amb_mbuild *b, const struct amb_mref *ref)
{
	const struct amb_mpeerauth *pa = ref->obj->spec;
	const char *key = converted_key(b, ref), *name;
	Istio__Security__Authorization *a;
	Istio__Security__Match *m;
	uint32_t i;

	if (!key)
		return;
	name = strchr(key, '/') + 1;
	if (workload_strict(b, ref)) {
		a = deny(b, ref->obj->ns, name, 1, pa->nports + 1);
		if (a && pa->mode == AMB_MTLS_STRICT)
			without_identity(b, add_match(b, a->rules[0]));
		for (i = 0; a && i < pa->nports; i++) {
			if (!is_open(pa->ports[i].mode))
				continue;
			m = add_match(b, a->rules[0]);
			if (!m)
				return;
			m->not_destination_ports = one_port(b, pa->ports[i].port);
			m->n_not_destination_ports = 1;
		}
		if (a && pa->mode != AMB_MTLS_STRICT)
			without_identity(b, add_match(b, a->rules[0]));
	} else {
		a = deny(b, ref->obj->ns, name, pa->nports, 1);
		if (a)
			a->n_rules = 0;
		for (i = 0; a && i < pa->nports; i++) {
			if (pa->ports[i].mode != AMB_MTLS_STRICT)
				continue;
			m = add_match(b, a->rules[a->n_rules++]);
			if (!m)
				return;
			without_identity(b, m);
			m->destination_ports = one_port(b, pa->ports[i].port);
			m->n_destination_ports = 1;
		}
	}
	if (!a || b->failed)
		return;
	b->out->policies += amb_mbuild_add(b, key, ref, NULL, a);
}

static void add_static(struct amb_mbuild *b)
{
	Istio__Security__Authorization *a = deny(b, b->set->root_ns, STATIC_STRICT, 1, 1);

	b->static_strict = amb_arena_printf(b->a, "%s/" STATIC_STRICT, b->set->root_ns);
	if (!a || !b->static_strict) {
		b->failed = true;
		return;
	}
	without_identity(b, add_match(b, a->rules[0]));
	b->out->policies += amb_mbuild_add(b, b->static_strict, NULL, NULL, a);
}

void amb_mbuild_policies(struct amb_mbuild *b)
{
	uint32_t i, peerauths = 0;

	for (i = 0; i < b->t->n && !b->failed; i++) {
		const struct amb_mref *ref = &b->t->rows[i];

		if (ref->obj->kind == AMB_MOBJ_AUTHORIZATIONPOLICY)
			add_authz(b, ref);
		if (ref->obj->kind != AMB_MOBJ_PEERAUTHENTICATION)
			continue;
		peerauths++;
		if (ref->obj->stand_in)
			tell_stand_in(b, ref,
				      ((const struct amb_mpeerauth *)ref->obj->spec)->selector.n,
				      true);
	}
	if (peerauths) {
		find_spaces(b, peerauths);
		add_static(b);
	}
	for (i = 0; peerauths && i < b->t->n && !b->failed; i++) {
		const struct amb_mref *ref = &b->t->rows[i];
		const struct amb_mpeerauth *pa = ref->obj->spec;

		if (ref->obj->kind != AMB_MOBJ_PEERAUTHENTICATION || !pa->selector.n)
			continue;
		if (!strcmp(ref->obj->ns, b->set->root_ns)) {
			amb_mbuild_report(b, ref, false, "spec.selector",
					  "has no effect in the root namespace");
			continue;
		}
		if (amb_mselect_add(b->by_peerauth, ref->obj->ns, &pa->selector, (void *)ref))
			b->failed = true;
		if (has_exceptions(b, ref))
			add_converted(b, ref);
	}
	if (amb_mselect_seal(b->by_policy) || amb_mselect_seal(b->by_peerauth))
		b->failed = true;
}

#define POLICIES_MAX 1024 /* selector-scoped policies of one workload */

struct found {
	const char *names[POLICIES_MAX];
	uint32_t n;
	const struct amb_mref *peerauth;
};

static void on_policy(void *ctx, void *what)
{
	struct found *f = ctx;

	if (f->n < POLICIES_MAX)
		f->names[f->n] = what;
	f->n++;
}

static void on_peerauth(void *ctx, void *what)
{
	struct found *f = ctx;
	const struct amb_mref *ref = what;

	if (!f->peerauth || older(ref->obj, f->peerauth->obj))
		f->peerauth = ref;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void amb_mbuild_workload_policies(struct amb_mbuild *b, const struct amb_mref *ref, const char *ns,
				  const struct amb_kvs *labels, char ***out, size_t *n)
{
	const char *converted = NULL;
	struct found f;
	bool strict;
	char **list;

	f.n = 0;
	f.peerauth = NULL;
	amb_mselect_find(b->by_policy, ns, labels, on_policy, &f);
	if (f.n > POLICIES_MAX) {
		amb_mbuild_report(b, ref, true, "metadata.labels",
				  "more than 1024 policies select it; the others do not apply");
		f.n = POLICIES_MAX;
	}
	if (f.n)
		qsort(f.names, f.n, sizeof(*f.names), by_text);
	amb_mselect_find(b->by_peerauth, ns, labels, on_peerauth, &f);
	strict = f.peerauth ? workload_strict(b, f.peerauth) : space_strict(b, ns);
	if (f.peerauth && has_exceptions(b, f.peerauth))
		converted = converted_key(b, f.peerauth);
	*n = f.n + (converted || strict);
	if (!*n)
		return;
	list = amb_mbuild_alloc(b, *n * sizeof(*list));
	if (!list) {
		*n = 0;
		return;
	}
	memcpy(list, f.names, f.n * sizeof(*list));
	/* The converted policy says STRICT itself, the static one would undo its exceptions. */
	if (converted)
		list[f.n] = (char *)converted;
	else if (strict)
		list[f.n] = (char *)b->static_strict;
	*out = list;
}
