/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policies that apply together (the global ones; those of one namespace; those that workloads
 * name), indexed so that a decision looks only at those that may match. Private to mesh/.
 *
 * Of each rule one clause is chosen whose matches all name exact things (a principal, a
 * service account, a network, a namespace, a port, "no identity"), and the rule is filed under
 * each of those; a rule without such a clause is filed as "any". A connection asks for its own
 * principal, account, ... and for "any", and evaluates what it finds in full, so the index can
 * only save work, never change a verdict.
 */
#ifndef AMB_POLICY_SPACE_H
#define AMB_POLICY_SPACE_H

#include "policy_rule.h"
#include "trie.h"

struct amb_space;

/* What a rule does in a decision; dry-run ones only speak. */
enum amb_policy_class { AMB_CLASS_DENY, AMB_CLASS_ALLOW, AMB_CLASS_DRY };

/*
 * @sp as it may be changed in @txn: itself, a copy (the caller retires the old one with
 * amb_space_free()), or without one a new one for namespace @ns. NULL without memory.
 */
struct amb_space *amb_space_edit(struct amb_txn *txn, struct amb_space *sp, amb_str ns);
/* Files @p in @sp, or takes it out; @stamp is new. 0 or -ENOMEM. */
int amb_space_file(struct amb_txn *txn, struct amb_space *sp, const struct amb_policy *p,
		   bool remove, uint64_t stamp);
bool amb_space_empty(const struct amb_space *sp);
amb_str amb_space_ns(const struct amb_space *sp);
/* Frees @p, a space, but not its lists, which a copy has. */
void amb_space_free(void *p);
/* Frees what @txn made of the space @item, NULL accepted. */
void amb_space_abort(struct amb_txn *txn, void *item);
/* Frees @p, a space or NULL, and its lists. */
void amb_space_destroy(void *p);

/* Of a space, NULL accepted: how many policies can allow (without dry-run), its stamp. */
size_t amb_space_allows(const struct amb_space *sp);
uint64_t amb_space_stamp(const struct amb_space *sp);
/* Which addresses its policies look at: enum amb_policy_input. NULL accepted. */
unsigned int amb_space_inputs(const struct amb_space *sp);
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

#endif
