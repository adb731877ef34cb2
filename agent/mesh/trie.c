// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Persistent hash tries (HAMT): 5 bits of the hash a level, bitmaps for items and for child
 * nodes, no empty slots. Seven levels use up the 32 bits; what still collides is a flat
 * list below them. A node with one item and no child is pulled up into its parent, so equal
 * content has equal shape.
 *
 * When an allocation fails the tables are as before: a node is replaced in its parent in
 * place when the parent is of this transaction, and then nothing can fail; otherwise the
 * child was older too and has only been copied, and the copy is freed.
 */
#include "trie.h"

#include "base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BITS 5
#define LEVELS 7

struct amb_trie_node {
	uint64_t txn;
	uint32_t items; /* bitmap; below the last level: the count */
	uint32_t nodes; /* bitmap */
	void *slot[]; /* items, then nodes */
};

void amb_txn_begin(struct amb_txn *txn, uint64_t id)
{
	memset(txn, 0, sizeof(*txn));
	txn->id = id;
}

void *amb_txn_alloc(struct amb_txn *txn, size_t size)
{
	void *p = malloc(size);

	if (!p)
		txn->err = -ENOMEM;
	return p;
}

void amb_txn_retire(struct amb_txn *txn, void *p, amb_txn_free_fn *fn)
{
	if (amb_reclaim_add(&txn->retired, p, fn))
		txn->err = -ENOMEM;
}

int amb_txn_made(struct amb_txn *txn, void *p, amb_txn_free_fn *fn)
{
	if (!amb_reclaim_add(&txn->made, p, fn))
		return 0;
	txn->err = -ENOMEM;
	return -ENOMEM;
}

void amb_txn_commit(struct amb_txn *txn, struct amb_reclaim *r)
{
	free(txn->made.v);
	amb_reclaim_later(r, &txn->retired);
}

void amb_txn_abort(struct amb_txn *txn)
{
	amb_reclaim_run(&txn->made);
	free(txn->retired.v);
}

static unsigned int nitems(const struct amb_trie_node *n, int level)
{
	return level == LEVELS ? n->items : (unsigned int)__builtin_popcount(n->items);
}

static unsigned int nnodes(const struct amb_trie_node *n)
{
	return __builtin_popcount(n->nodes);
}

static uint32_t bit_of(uint32_t hash, int level)
{
	return 1u << (hash >> level * BITS & ((1u << BITS) - 1));
}

static unsigned int below(uint32_t map, uint32_t bit)
{
	return __builtin_popcount(map & (bit - 1));
}

static struct amb_trie_node *node_alloc(struct amb_txn *txn, unsigned int slots)
{
	struct amb_trie_node *n;

	n = amb_txn_alloc(txn, sizeof(*n) + slots * sizeof(n->slot[0]));
	if (n) {
		n->txn = txn->id;
		n->items = n->nodes = 0;
	}
	return n;
}

/* Frees now what nobody has seen, later what readers may be looking at. */
static void node_drop(struct amb_txn *txn, struct amb_trie_node *n)
{
	if (n->txn == txn->id)
		free(n);
	else
		amb_txn_retire(txn, n, free);
}

/* Copies with @add slots made free at @at, or @cut slots left out there; the old one goes. */
static struct amb_trie_node *node_resize(struct amb_txn *txn, struct amb_trie_node *n,
					 unsigned int slots, unsigned int at, unsigned int add,
					 unsigned int cut)
{
	struct amb_trie_node *to = node_alloc(txn, slots + add - cut);

	if (!to)
		return NULL;
	to->items = n->items;
	to->nodes = n->nodes;
	memcpy(to->slot, n->slot, at * sizeof(n->slot[0]));
	memcpy(to->slot + at + add, n->slot + at + cut, (slots - at - cut) * sizeof(n->slot[0]));
	node_drop(txn, n);
	return to;
}

/* The node itself when it may be changed, else a copy. */
static struct amb_trie_node *node_edit(struct amb_txn *txn, struct amb_trie_node *n,
				       unsigned int slots)
{
	if (n->txn == txn->id)
		return n;
	return node_resize(txn, n, slots, 0, 0, 0);
}

void *amb_trie_find(const struct amb_trie *t, const struct amb_trie_ops *ops, uint32_t hash,
		    const void *key)
{
	const struct amb_trie_node *n = t->root;
	unsigned int i;
	int level;

	for (level = 0; n && level < LEVELS; level++) {
		uint32_t bit = bit_of(hash, level);

		if (n->items & bit) {
			void *item = n->slot[below(n->items, bit)];

			return ops->eq(item, key) ? item : NULL;
		}
		if (!(n->nodes & bit))
			return NULL;
		n = n->slot[__builtin_popcount(n->items) + below(n->nodes, bit)];
	}
	for (i = 0; n && i < n->items; i++) {
		if (ops->eq(n->slot[i], key))
			return n->slot[i];
	}
	return NULL;
}

static void abort_nodes(struct amb_txn *txn, struct amb_trie_node *n, int level,
			void (*fn)(struct amb_txn *txn, void *item))
{
	unsigned int items, i;

	if (!n || n->txn != txn->id)
		return;
	items = nitems(n, level);
	for (i = 0; fn && i < items; i++)
		fn(txn, n->slot[i]);
	for (i = 0; i < nnodes(n); i++)
		abort_nodes(txn, n->slot[items + i], level + 1, fn);
	free(n);
}

void amb_trie_abort(struct amb_txn *txn, struct amb_trie *t,
		    void (*fn)(struct amb_txn *txn, void *item))
{
	abort_nodes(txn, t->root, 0, fn);
	t->root = NULL;
	t->n = 0;
}

/* The smallest tree that holds two items whose hashes agree above @level. */
static struct amb_trie_node *pair(struct amb_txn *txn, int level, void *a, uint32_t ahash, void *b,
				  uint32_t bhash)
{
	uint32_t abit, bbit;
	struct amb_trie_node *n = node_alloc(txn, 2);

	if (!n)
		return NULL;
	if (level == LEVELS) {
		n->items = 2;
		n->slot[0] = a;
		n->slot[1] = b;
		return n;
	}
	abit = bit_of(ahash, level);
	bbit = bit_of(bhash, level);
	if (abit == bbit) {
		n->nodes = abit;
		n->slot[0] = pair(txn, level + 1, a, ahash, b, bhash);
		if (!n->slot[0]) {
			free(n);
			return NULL;
		}
		return n;
	}
	n->items = abit | bbit;
	n->slot[abit > bbit] = a;
	n->slot[abit < bbit] = b;
	return n;
}

static struct amb_trie_node *set(struct amb_txn *txn, struct amb_trie_node *n, int level,
				 const struct amb_trie_ops *ops, uint32_t hash, const void *key,
				 void *item, void **old)
{
	struct amb_trie_node *child, *to;
	unsigned int items, slots, at;
	uint32_t bit;

	if (!n) {
		n = node_alloc(txn, 1);
		if (!n)
			return NULL;
		n->items = level == LEVELS ? 1 : bit_of(hash, level);
		n->slot[0] = item;
		return n;
	}
	items = nitems(n, level);
	slots = items + nnodes(n);
	if (level == LEVELS) {
		for (at = 0; at < items && !ops->eq(n->slot[at], key); at++)
			;
		if (at < items) {
			n = node_edit(txn, n, slots);
			if (!n)
				return NULL;
			*old = n->slot[at];
		} else {
			n = node_resize(txn, n, slots, at, 1, 0);
			if (!n)
				return NULL;
			n->items++;
		}
		n->slot[at] = item;
		return n;
	}
	bit = bit_of(hash, level);
	at = below(n->items, bit);
	if (n->nodes & bit) {
		at = items + below(n->nodes, bit);
		child = n->slot[at];
		to = set(txn, child, level + 1, ops, hash, key, item, old);
		if (!to || to == child)
			return to ? n : NULL;
		n = node_edit(txn, n, slots);
		if (!n) {
			abort_nodes(txn, to, level + 1, NULL);
			return NULL;
		}
		n->slot[at] = to;
		return n;
	}
	if (!(n->items & bit)) {
		n = node_resize(txn, n, slots, at, 1, 0);
		if (!n)
			return NULL;
		n->items |= bit;
		n->slot[at] = item;
		return n;
	}
	if (ops->eq(n->slot[at], key)) {
		n = node_edit(txn, n, slots);
		if (!n)
			return NULL;
		*old = n->slot[at];
		n->slot[at] = item;
		return n;
	}
	child = pair(txn, level + 1, n->slot[at], ops->hash(n->slot[at]), item, hash);
	if (!child)
		return NULL;
	n = node_edit(txn, n, slots);
	if (!n) {
		abort_nodes(txn, child, level + 1, NULL);
		return NULL;
	}
	/* One slot less among the items, one more among the nodes: the size stays. */
	n->items &= ~bit;
	n->nodes |= bit;
	slots = items - 1 + below(n->nodes, bit);
	memmove(n->slot + at, n->slot + at + 1, (slots - at) * sizeof(n->slot[0]));
	n->slot[slots] = child;
	return n;
}

int amb_trie_set(struct amb_txn *txn, struct amb_trie *t, const struct amb_trie_ops *ops,
		 uint32_t hash, const void *key, void *item, void **old)
{
	struct amb_trie_node *root;
	void *was = NULL;

	root = set(txn, t->root, 0, ops, hash, key, item, &was);
	if (!root)
		return -ENOMEM;
	t->root = root;
	t->n += !was;
	if (old)
		*old = was;
	return 0;
}

/* Through @out what takes @n's place: NULL when nothing is left. */
static int del(struct amb_txn *txn, struct amb_trie_node *n, int level,
	       const struct amb_trie_ops *ops, uint32_t hash, const void *key, void **old,
	       struct amb_trie_node **out)
{
	unsigned int items = nitems(n, level), slots = items + nnodes(n), at;
	struct amb_trie_node *child, *to;
	uint32_t bit = 0;
	int err;

	if (level == LEVELS) {
		for (at = 0; at < items && !ops->eq(n->slot[at], key); at++)
			;
		if (at == items)
			return -ENOENT;
	} else {
		bit = bit_of(hash, level);
		at = below(n->items, bit);
		if (!(n->items & bit) || !ops->eq(n->slot[at], key))
			at = slots;
	}
	if (at < slots) {
		*old = n->slot[at];
		if (slots == 1) {
			node_drop(txn, n);
			*out = NULL;
			return 0;
		}
		to = node_resize(txn, n, slots, at, 0, 1);
		if (!to)
			return -ENOMEM;
		if (level == LEVELS)
			to->items--;
		else
			to->items &= ~bit;
		*out = to;
		return 0;
	}
	if (!(n->nodes & bit))
		return -ENOENT;
	at = items + below(n->nodes, bit);
	child = n->slot[at];
	err = del(txn, child, level + 1, ops, hash, key, old, &to);
	if (err)
		return err;
	/* A child had at least two items, or a child itself, so something is left. */
	*out = n;
	if (to->nodes || nitems(to, level + 1) > 1) {
		if (to == child)
			return 0;
		n = node_edit(txn, n, slots);
		if (!n) {
			abort_nodes(txn, to, level + 1, NULL);
			return -ENOMEM;
		}
		n->slot[at] = to;
		*out = n;
		return 0;
	}
	n = node_edit(txn, n, slots);
	if (!n) {
		abort_nodes(txn, to, level + 1, NULL);
		return -ENOMEM;
	}
	items = below(n->items, bit);
	memmove(n->slot + items + 1, n->slot + items, (at - items) * sizeof(n->slot[0]));
	n->slot[items] = to->slot[0];
	n->items |= bit;
	n->nodes &= ~bit;
	free(to);
	*out = n;
	return 0;
}

int amb_trie_del(struct amb_txn *txn, struct amb_trie *t, const struct amb_trie_ops *ops,
		 uint32_t hash, const void *key, void **old)
{
	struct amb_trie_node *root;
	void *was = NULL;
	int err;

	if (!t->root)
		return -ENOENT;
	err = del(txn, t->root, 0, ops, hash, key, &was, &root);
	if (err)
		return err;
	t->root = root;
	t->n--;
	if (old)
		*old = was;
	return 0;
}

static bool each(const struct amb_trie_node *n, int level, bool (*fn)(void *ctx, void *item),
		 void *ctx)
{
	unsigned int items = nitems(n, level), i;

	for (i = 0; i < items; i++) {
		if (!fn(ctx, n->slot[i]))
			return false;
	}
	for (i = 0; i < nnodes(n); i++) {
		if (!each(n->slot[items + i], level + 1, fn, ctx))
			return false;
	}
	return true;
}

bool amb_trie_each(const struct amb_trie *t, bool (*fn)(void *ctx, void *item), void *ctx)
{
	return !t->root || each(t->root, 0, fn, ctx);
}

static void destroy(struct amb_trie_node *n, int level, amb_txn_free_fn *fn)
{
	unsigned int items = nitems(n, level), i;

	for (i = 0; fn && i < items; i++)
		fn(n->slot[i]);
	for (i = 0; i < nnodes(n); i++)
		destroy(n->slot[items + i], level + 1, fn);
	free(n);
}

void amb_trie_destroy(struct amb_trie *t, amb_txn_free_fn *fn)
{
	if (t->root)
		destroy(t->root, 0, fn);
	t->root = NULL;
	t->n = 0;
}

void *amb_trie_first(struct amb_trie_iter *it, const struct amb_trie *t)
{
	it->depth = t->root ? 0 : -1;
	it->node[0] = t->root;
	it->at[0] = 0;
	return amb_trie_next(it);
}

void *amb_trie_next(struct amb_trie_iter *it)
{
	while (it->depth >= 0) {
		const struct amb_trie_node *n = it->node[it->depth];
		unsigned int items = nitems(n, it->depth);
		uint32_t at = it->at[it->depth]++;

		if (at < items)
			return n->slot[at];
		if (at < items + nnodes(n)) {
			it->depth++;
			it->node[it->depth] = n->slot[at];
			it->at[it->depth] = 0;
		} else {
			it->depth--;
		}
	}
	return NULL;
}
