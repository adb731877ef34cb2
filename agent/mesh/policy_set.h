/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All policies of one version of the state, indexed so that a decision looks only at those
 * that may match. Private to mesh/.
 *
 * Policies of a kind that apply together (global; of one namespace; named by workloads) form
 * a space. Of each rule one clause is chosen whose matches all name exact things (a
 * principal, a service account, a network, a namespace, a port, "no identity"), and the rule
 * is filed under each of those; a rule without such a clause is filed as "any". A connection
 * asks for its own principal, account, ... and for "any", and evaluates what it finds in full,
 * so the index can only save work, never change a verdict.
 */
#ifndef AMB_POLICY_SET_H
#define AMB_POLICY_SET_H

#include "policy_rule.h"
#include "trie.h"

struct amb_space;

struct amb_policy_set {
	uint64_t txn;
	uint64_t version; /* grows with every change; given to what changes */
	struct amb_trie policies; /* of struct amb_policy, by "ns/name" */
	struct amb_trie namespaces; /* of struct amb_space; "" is the global one */
	struct amb_space *selected; /* policies that workloads name; NULL when empty */
};

/* What a rule does in a decision; dry-run ones only speak. */
enum amb_policy_class { AMB_CLASS_DENY, AMB_CLASS_ALLOW, AMB_CLASS_DRY };

/*
 * Puts or replaces; *@set (NULL for none) becomes the next version's. 0, -EINVAL with
 * @reason, or -ENOMEM. txn->changed is set unless the policy was there already, equal.
 */
int amb_policy_set_put(struct amb_txn *txn, struct amb_policy_set **set,
		       const struct Istio__Security__Authorization *m, char *reason);
/* 0, -ENOENT or -ENOMEM. */
int amb_policy_set_del(struct amb_txn *txn, struct amb_policy_set **set, const char *key);
void amb_policy_set_abort(struct amb_txn *txn, struct amb_policy_set *set);
void amb_policy_set_destroy(struct amb_policy_set *set);

/* Look-ups; NULL when unknown. @key an interned string or any text. */
const struct amb_policy *amb_policy_set_find(const struct amb_policy_set *set, const char *key);
const struct amb_space *amb_policy_set_space(const struct amb_policy_set *set, const char *ns);

/* Of a space, NULL accepted: how many policies can allow (without dry-run), its stamp. */
size_t amb_space_allows(const struct amb_space *sp);
uint64_t amb_space_stamp(const struct amb_space *sp);
/* How many rules a decision for @rc would evaluate. */
size_t amb_space_candidates(const struct amb_space *sp, enum amb_policy_class class,
			    const struct amb_rule_conn *rc);
/*
 * Calls @fn for each policy of @class with a rule that holds, until it returns false. @want
 * (may be NULL) is asked first, and policies that it refuses are not evaluated. A policy may
 * come more than once.
 */
bool amb_space_each(const struct amb_space *sp, enum amb_policy_class class,
		    const struct amb_rule_conn *rc,
		    bool (*want)(const void *ctx, const struct amb_policy *p), const void *wctx,
		    bool (*fn)(void *ctx, const struct amb_policy *p), void *ctx);

enum amb_policy_class amb_policy_class(const struct amb_policy *p);

/* A workload that names more than so many has its list sorted by amb_policy_sort(). */
#define AMB_WORKLOAD_POLICIES_SORTED 16
void amb_policy_sort(struct amb_workload *w);

#endif
