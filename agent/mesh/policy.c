// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The verdict (reference 6.1, 6.2) over the global policies, those of the destination's
 * namespace, and those it names.
 *
 * A workload names few policies as a rule: those are looked up and evaluated one by one. For
 * a long list the index of all named policies is asked, and what it offers is kept when the
 * workload names it; whichever of the two ways looks at less.
 */
#include "policy.h"

#include "authorization.pb-c.h"

#include "base/log.h"
#include "base/util.h"
#include "policy_set.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a check carries along. */
struct check {
	const struct amb_policy_set *set;
	const struct amb_workload *dst;
	const struct amb_space *spaces[2]; /* global, namespace */
	struct amb_rule_conn rc;
	uint32_t nnamed; /* of a short list, looked up once */
	const struct amb_policy *named[AMB_WORKLOAD_POLICIES_SORTED];
};

/* policy_memo of a workload: the set's version, and what that said of its list. */
#define MEMO_ALLOW 1u /* names a policy that can allow */
#define MEMO_UNFILED 2u /* names one that is not in the index of named policies */
#define MEMO_SHIFT 2

#define UNKNOWN_NS 10000000000ull /* between two lines of a thread on unknown policies */

static bool sorted(const struct amb_workload *w)
{
	return w->npolicies > AMB_WORKLOAD_POLICIES_SORTED;
}

static int text_cmp(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t) * (const amb_str *)a, y = (uintptr_t) * (const amb_str *)b;

	return (x > y) - (x < y);
}

void amb_policy_sort(struct amb_workload *w)
{
	if (sorted(w))
		qsort(w->policies, w->npolicies, sizeof(w->policies[0]), text_cmp);
}

static bool names(const void *ctx, const struct amb_policy *p)
{
	const struct amb_workload *w = ctx;

	return bsearch(&p->key, w->policies, w->npolicies, sizeof(w->policies[0]), text_cmp);
}

/* Whoever wrote that list means that the policy protects it; every connection comes here. */
static void tell_unknown(const struct amb_workload *w, const char *policy)
{
	static __thread struct amb_log_limit limit;
	char more[64] = "";
	uint64_t held;

	if (!amb_log_limit(&limit, amb_util_now_ns(), UNKNOWN_NS, &held))
		return;
	if (held)
		snprintf(more, sizeof(more), " (%llu more of this since the last such line)",
			 (unsigned long long)held);
	amb_warn(POLICY, "%s names unknown policy %s, skipped%s", w->uid, policy, more);
}

/* What the workload's long list amounts to, found out once for each version of the set. */
static uint64_t memo(const struct amb_policy_set *set, const struct amb_workload *w)
{
	uint64_t *at = (uint64_t *)&w->policy_memo;
	uint64_t m = __atomic_load_n(at, __ATOMIC_RELAXED);
	uint32_t i;

	if (m >> MEMO_SHIFT == set->version)
		return m;
	m = set->version << MEMO_SHIFT;
	for (i = 0; i < w->npolicies && (m & 3) != 3; i++) {
		const struct amb_policy *p = amb_policy_set_find(set, w->policies[i]);

		if (!p)
			tell_unknown(w, w->policies[i]);
		if (p && amb_policy_class(p) == AMB_CLASS_ALLOW)
			m |= MEMO_ALLOW;
		if (p && p->scope != ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR)
			m |= MEMO_UNFILED;
	}
	__atomic_store_n(at, m, __ATOMIC_RELAXED);
	return m;
}

static void check_init(struct check *c, const struct amb_state *st, const struct amb_workload *dst,
		       const struct amb_policy_conn *conn)
{
	uint32_t i;

	c->set = amb_table_root(st)->policies;
	c->dst = dst;
	c->nnamed = 0;
	if (!c->set && dst->npolicies)
		tell_unknown(dst, dst->policies[0]);
	if (!c->set)
		return;
	amb_rule_conn_init(&c->rc, conn);
	c->spaces[0] = amb_policy_set_space(c->set, "");
	c->spaces[1] = *dst->ns ? amb_policy_set_space(c->set, dst->ns) : NULL;
	for (i = 0; i < dst->npolicies && !sorted(dst); i++) {
		const struct amb_policy *p = amb_policy_set_find(c->set, dst->policies[i]);

		if (p)
			c->named[c->nnamed++] = p;
		else
			tell_unknown(dst, dst->policies[i]);
	}
}

static bool one_by_one(const struct check *c, enum amb_policy_class class,
		       bool (*fn)(void *ctx, const struct amb_policy *p), void *ctx)
{
	bool more = sorted(c->dst);
	uint32_t n = more ? c->dst->npolicies : c->nnamed, i;

	for (i = 0; i < n; i++) {
		const struct amb_policy *p =
			more ? amb_policy_set_find(c->set, c->dst->policies[i]) : c->named[i];

		if (p && amb_policy_class(p) == class && amb_rule_policy_holds(p, &c->rc) &&
		    !fn(ctx, p))
			return false;
	}
	return true;
}

/* Calls @fn for each policy of @class that applies and holds, until it returns false. */
static bool each(const struct check *c, enum amb_policy_class class,
		 bool (*fn)(void *ctx, const struct amb_policy *p), void *ctx)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(c->spaces); i++) {
		if (!amb_space_each(c->spaces[i], class, &c->rc, NULL, NULL, fn, ctx))
			return false;
	}
	if (!sorted(c->dst) || memo(c->set, c->dst) & MEMO_UNFILED ||
	    amb_space_candidates(c->set->selected, class, &c->rc) > c->dst->npolicies)
		return one_by_one(c, class, fn, ctx);
	return amb_space_each(c->set->selected, class, &c->rc, names, c->dst, fn, ctx);
}

static bool may_allow(const struct check *c)
{
	uint32_t i;

	if (amb_space_allows(c->spaces[0]) || amb_space_allows(c->spaces[1]))
		return true;
	if (sorted(c->dst))
		return memo(c->set, c->dst) & MEMO_ALLOW;
	for (i = 0; i < c->nnamed; i++) {
		if (amb_policy_class(c->named[i]) == AMB_CLASS_ALLOW)
			return true;
	}
	return false;
}

static void verdict(struct amb_verdict *out, enum amb_reason reason, const struct amb_policy *p)
{
	out->allow = reason == AMB_REASON_POLICY_ALLOW || reason == AMB_REASON_POLICY_NONE;
	out->reason = reason;
	snprintf(out->policy, sizeof(out->policy), "%s", p ? p->key : "");
}

static bool first(void *ctx, const struct amb_policy *p)
{
	*(const struct amb_policy **)ctx = p;
	return false;
}

struct dry {
	amb_policy_dry_fn *fn;
	void *ctx;
	const struct amb_policy *last;
};

static bool tell(void *ctx, const struct amb_policy *p)
{
	struct dry *d = ctx;

	/* several rules of one policy may hold */
	if (p != d->last)
		d->fn(d->ctx, p->key, p->action == ISTIO__SECURITY__ACTION__DENY);
	d->last = p;
	return true;
}

void amb_policy_check(const struct amb_state *st, const struct amb_workload *dst,
		      const struct amb_policy_conn *conn, struct amb_verdict *out,
		      amb_policy_dry_fn *dry, void *ctx)
{
	const struct amb_policy *p = NULL;
	struct check c;

	check_init(&c, st, dst, conn);
	if (!c.set) {
		verdict(out, AMB_REASON_POLICY_NONE, NULL);
		return;
	}
	if (dry) {
		struct dry d = { dry, ctx, NULL };

		each(&c, AMB_CLASS_DRY, tell, &d);
	}
	if (!each(&c, AMB_CLASS_DENY, first, &p))
		verdict(out, AMB_REASON_POLICY_DENY, p);
	else if (!may_allow(&c))
		verdict(out, AMB_REASON_POLICY_NONE, NULL);
	else if (!each(&c, AMB_CLASS_ALLOW, first, &p))
		verdict(out, AMB_REASON_POLICY_ALLOW, p);
	else
		verdict(out, AMB_REASON_POLICY_NOT_ALLOWED, NULL);
}

/* splitmix64's finish: sums of such are as good as unique. */
static uint64_t mix(uint64_t z)
{
	z += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t amb_policy_stamp(const struct amb_state *st, const struct amb_workload *dst)
{
	const struct amb_policy_set *set = amb_table_root(st)->policies;
	uint64_t stamp = 0;
	uint32_t i;

	if (!set)
		return 0;
	stamp = mix(amb_space_stamp(amb_policy_set_space(set, "")) * 4 + 1);
	if (*dst->ns)
		stamp += mix(amb_space_stamp(amb_policy_set_space(set, dst->ns)) * 4 + 2);
	for (i = 0; i < dst->npolicies; i++) {
		const struct amb_policy *p = amb_policy_set_find(set, dst->policies[i]);

		if (p)
			stamp += mix(p->version * 4 + 3);
	}
	return stamp;
}

unsigned int amb_policy_inputs(const struct amb_state *st, const struct amb_workload *dst)
{
	const struct amb_policy_set *set = amb_table_root(st)->policies;
	unsigned int inputs;
	uint32_t i;

	if (!set)
		return 0;
	inputs = amb_space_inputs(amb_policy_set_space(set, ""));
	if (*dst->ns)
		inputs |= amb_space_inputs(amb_policy_set_space(set, dst->ns));
	for (i = 0; i < dst->npolicies; i++) {
		const struct amb_policy *p = amb_policy_set_find(set, dst->policies[i]);

		if (p)
			inputs |= p->inputs;
	}
	return inputs;
}

struct walk {
	bool (*fn)(void *ctx, const struct amb_policy_info *p);
	void *ctx;
};

static bool show(void *ctx, void *item)
{
	const struct amb_policy *p = item;
	struct walk *w = ctx;
	Istio__Security__Authorization *m;
	struct amb_policy_info info = {
		.name = p->name,
		.ns = p->ns,
		.scope = p->scope,
		.action = p->action,
		.dry_run = p->dry_run,
	};
	bool more;

	m = istio__security__authorization__unpack(NULL, p->packed_len, p->packed);
	if (!m)
		return false;
	info.source = m;
	more = w->fn(w->ctx, &info);
	istio__security__authorization__free_unpacked(m, NULL);
	return more;
}

void amb_policy_each(const struct amb_state *st,
		     bool (*fn)(void *ctx, const struct amb_policy_info *p), void *ctx)
{
	const struct amb_policy_set *set = amb_table_root(st)->policies;
	struct walk w = { fn, ctx };

	if (set)
		amb_trie_each(&set->policies, show, &w);
}
