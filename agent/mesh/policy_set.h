/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All policies of one version of the state. Private to mesh/. */
#ifndef AMB_POLICY_SET_H
#define AMB_POLICY_SET_H

#include "policy_space.h"

struct amb_policy_set {
	uint64_t txn;
	uint64_t version; /* grows with every change; given to what changes */
	struct amb_trie policies; /* of struct amb_policy, by "ns/name" */
	struct amb_trie namespaces; /* of struct amb_space; "" is the global one */
	struct amb_space *selected; /* policies that workloads name; NULL when empty */
};

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

/* A workload that names more than so many has its list sorted by amb_policy_sort(). */
#define AMB_WORKLOAD_POLICIES_SORTED 16
void amb_policy_sort(struct amb_workload *w);

#endif
