// SPDX-License-Identifier: GPL-2.0-or-later
/* The set of all policies: by name, and each filed in the space it belongs to. */
#include "policy_set.h"

#include "authorization.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t policy_hash(const void *item)
{
	const struct amb_policy *p = item;

	return amb_str_hash(p->key);
}

static bool policy_eq(const void *item, const void *key)
{
	const struct amb_policy *p = item;

	return p->key == key || !strcmp(p->key, key);
}

static const struct amb_trie_ops policy_ops = { policy_hash, policy_eq };

static uint32_t space_hash(const void *item)
{
	const struct amb_space *sp = item;

	return amb_str_hash(amb_space_ns(sp));
}

static bool space_eq(const void *item, const void *key)
{
	const struct amb_space *sp = item;

	return amb_space_ns(sp) == key || !strcmp(amb_space_ns(sp), key);
}

static const struct amb_trie_ops space_ops = { space_hash, space_eq };

/* Files @p in, or out of, the space it belongs to, which comes and goes with its policies. */
static int set_file(struct amb_txn *txn, struct amb_policy_set *set, const struct amb_policy *p,
		    bool remove)
{
	bool selected = p->scope == ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR;
	amb_str ns = p->scope == ISTIO__SECURITY__SCOPE__NAMESPACE ? p->ns : amb_str_intern("", 0);
	struct amb_space *sp, *to;

	sp = selected ? set->selected :
			amb_trie_find(&set->namespaces, &space_ops, amb_str_hash(ns), ns);
	to = amb_space_edit(txn, sp, ns);
	if (!to)
		return -ENOMEM;
	if (to != sp) {
		if (selected) {
			set->selected = to;
		} else if (amb_trie_set(txn, &set->namespaces, &space_ops, amb_str_hash(ns), ns, to,
					NULL)) {
			amb_space_free(to);
			return -ENOMEM;
		}
		if (sp)
			amb_txn_retire(txn, sp, amb_space_free);
	}
	if (amb_space_file(txn, to, p, remove, ++set->version))
		return -ENOMEM;
	if (!amb_space_empty(to))
		return 0;
	if (selected)
		set->selected = NULL;
	else if (amb_trie_del(txn, &set->namespaces, &space_ops, amb_str_hash(ns), ns, NULL))
		return -ENOMEM;
	amb_space_free(to);
	return 0;
}

static struct amb_policy_set *set_edit(struct amb_txn *txn, struct amb_policy_set **at)
{
	struct amb_policy_set *set = *at, *to;

	if (set && set->txn == txn->id)
		return set;
	to = amb_txn_alloc(txn, sizeof(*to));
	if (!to)
		return NULL;
	if (set)
		*to = *set;
	else
		memset(to, 0, sizeof(*to));
	to->txn = txn->id;
	if (set)
		amb_txn_retire(txn, set, free);
	*at = to;
	return to;
}

static void policy_free(void *p)
{
	amb_rule_free(p);
}

int amb_policy_set_put(struct amb_txn *txn, struct amb_policy_set **at,
		       const Istio__Security__Authorization *m, char *reason)
{
	struct amb_policy *p = amb_rule_compile(m, reason), *old = NULL;
	struct amb_policy_set *set;
	int err = -errno;

	if (!p) {
		if (err == -ENOMEM)
			txn->err = err;
		return err;
	}
	if (*at)
		old = amb_trie_find(&(*at)->policies, &policy_ops, amb_str_hash(p->key), p->key);
	if (old && old->packed_len == p->packed_len &&
	    !memcmp(old->packed, p->packed, p->packed_len)) {
		amb_rule_free(p);
		return 0;
	}
	if (amb_txn_made(txn, p, policy_free)) {
		amb_rule_free(p);
		return -ENOMEM;
	}
	set = set_edit(txn, at);
	if (!set || (old && set_file(txn, set, old, true)))
		return -ENOMEM;
	p->version = ++set->version;
	if (amb_trie_set(txn, &set->policies, &policy_ops, amb_str_hash(p->key), p->key, p, NULL) ||
	    set_file(txn, set, p, false))
		return -ENOMEM;
	if (old)
		amb_txn_retire(txn, old, policy_free);
	txn->changed = true;
	return 0;
}

int amb_policy_set_del(struct amb_txn *txn, struct amb_policy_set **at, const char *key)
{
	struct amb_policy_set *set = *at;
	struct amb_policy *p;

	p = (struct amb_policy *)amb_policy_set_find(set, key);
	if (!p)
		return -ENOENT;
	set = set_edit(txn, at);
	if (!set || set_file(txn, set, p, true) ||
	    amb_trie_del(txn, &set->policies, &policy_ops, amb_str_hash(p->key), p->key, NULL))
		return -ENOMEM;
	set->version++;
	amb_txn_retire(txn, p, policy_free);
	txn->changed = true;
	return 0;
}

void amb_policy_set_abort(struct amb_txn *txn, struct amb_policy_set *set)
{
	if (!set || set->txn != txn->id)
		return;
	amb_trie_abort(txn, &set->policies, NULL);
	amb_trie_abort(txn, &set->namespaces, amb_space_abort);
	amb_space_abort(txn, set->selected);
	free(set);
}

void amb_policy_set_destroy(struct amb_policy_set *set)
{
	if (!set)
		return;
	amb_trie_destroy(&set->namespaces, amb_space_destroy);
	amb_space_destroy(set->selected);
	amb_trie_destroy(&set->policies, policy_free);
	free(set);
}

const struct amb_policy *amb_policy_set_find(const struct amb_policy_set *set, const char *key)
{
	if (!set)
		return NULL;
	return amb_trie_find(&set->policies, &policy_ops, amb_str_hash_text(key, strlen(key)), key);
}

const struct amb_space *amb_policy_set_space(const struct amb_policy_set *set, const char *ns)
{
	if (!set)
		return NULL;
	return amb_trie_find(&set->namespaces, &space_ops, amb_str_hash_text(ns, strlen(ns)), ns);
}
