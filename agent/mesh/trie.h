/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent hash tries: readers walk a version that never changes, the one writer makes the
 * next version by copying the path it changes, within a transaction.
 *
 * A node (or any object with the transaction's id in it) that was made in the running
 * transaction is not visible yet and is changed in place. What a transaction replaces is
 * retired: freed a grace period after the new version is published, or kept when the
 * transaction is aborted.
 */
#ifndef AMB_TRIE_H
#define AMB_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reclaim.h"

typedef void amb_txn_free_fn(void *p);

struct amb_txn {
	uint64_t id; /* never 0, never used twice */
	int err; /* sticky -ENOMEM: the transaction can only be aborted */
	bool changed; /* something visible would change */
	struct amb_reclaim_list retired; /* freed after commit and grace period */
	struct amb_reclaim_list made; /* freed on abort */
};

void amb_txn_begin(struct amb_txn *txn, uint64_t id);
/* Memory for the next version; NULL sets txn->err. */
void *amb_txn_alloc(struct amb_txn *txn, size_t size);
/* @p leaves the tables: @fn runs on it when no reader can see it any more. */
void amb_txn_retire(struct amb_txn *txn, void *p, amb_txn_free_fn *fn);
/* @p was made for the next version: @fn runs on it when that is given up. 0 or -ENOMEM. */
int amb_txn_made(struct amb_txn *txn, void *p, amb_txn_free_fn *fn);
/* After publication: hands over what was retired. Not within a read section. */
void amb_txn_commit(struct amb_txn *txn, struct amb_reclaim *r);
/* The tries were given back by amb_trie_abort() before. */
void amb_txn_abort(struct amb_txn *txn);

struct amb_trie_node;

/* A trie is its root and its count: copied by value into the next version. */
struct amb_trie {
	struct amb_trie_node *root;
	size_t n;
};

struct amb_trie_ops {
	uint32_t (*hash)(const void *item);
	bool (*eq)(const void *item, const void *key);
};

/* Reader and writer. NULL when there is none. */
void *amb_trie_find(const struct amb_trie *t, const struct amb_trie_ops *ops, uint32_t hash,
		    const void *key);

/*
 * Puts @item under @key, in place of the item that was there (returned through @old, may be
 * NULL). 0 or -ENOMEM, the trie unchanged.
 */
int amb_trie_set(struct amb_txn *txn, struct amb_trie *t, const struct amb_trie_ops *ops,
		 uint32_t hash, const void *key, void *item, void **old);

/* Removes; the removed item through @old. -ENOENT when there was none, or -ENOMEM. */
int amb_trie_del(struct amb_txn *txn, struct amb_trie *t, const struct amb_trie_ops *ops,
		 uint32_t hash, const void *key, void **old);

/* Calls @fn for each item until it returns false; returns false then. */
bool amb_trie_each(const struct amb_trie *t, bool (*fn)(void *ctx, void *item), void *ctx);

/*
 * Frees the nodes that @txn made; @fn is called for each item of those nodes (which may be
 * older than they are), may be NULL.
 */
void amb_trie_abort(struct amb_txn *txn, struct amb_trie *t,
		    void (*fn)(struct amb_txn *txn, void *item));

/* Frees all nodes; @fn on each item, may be NULL. No reader is left. */
void amb_trie_destroy(struct amb_trie *t, amb_txn_free_fn *fn);

/*
 * Iteration without callbacks, for loops that are run on each connection:
 *
 *   struct amb_trie_iter it;
 *   for (item = amb_trie_first(&it, t); item; item = amb_trie_next(&it))
 */
#define AMB_TRIE_DEPTH 8
struct amb_trie_iter {
	const struct amb_trie_node *node[AMB_TRIE_DEPTH];
	uint32_t at[AMB_TRIE_DEPTH];
	int depth;
};
void *amb_trie_first(struct amb_trie_iter *it, const struct amb_trie *t);
void *amb_trie_next(struct amb_trie_iter *it);

#endif
