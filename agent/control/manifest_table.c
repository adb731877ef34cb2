// SPDX-License-Identifier: GPL-2.0-or-later
/* Objects by identity, and selectors by the labels they ask for. */
#include "manifest_table.h"

#include "base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t hash3(uint32_t seed, const char *a, const char *b, const char *c)
{
	seed = amb_util_hash(a, strlen(a), seed);
	seed = amb_util_hash(b, strlen(b), seed);
	return amb_util_hash(c, strlen(c), seed);
}

static uint32_t identity_hash(enum amb_mobj_kind kind, const char *ns, const char *name)
{
	return hash3(amb_util_seed() + kind, ns, name, "");
}

static int grow(struct amb_mtable *t)
{
	uint32_t cap = t->cap ? t->cap * 2 : 256, nslots = cap * 2, i;
	struct amb_mref *rows = realloc(t->rows, cap * sizeof(*rows));
	uint32_t *slots;

	if (!rows)
		return -ENOMEM;
	t->rows = rows;
	slots = calloc(nslots, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(t->slots);
	t->slots = slots;
	t->nslots = nslots;
	t->cap = cap;
	for (i = 0; i < t->n; i++) {
		const struct amb_mobj *o = rows[i].obj;
		uint32_t at = identity_hash(o->kind, o->ns, o->name) & (nslots - 1);

		while (slots[at])
			at = (at + 1) & (nslots - 1);
		slots[at] = i + 1;
	}
	return 0;
}

int amb_mtable_add(struct amb_mtable *t, struct amb_mobj *obj, const char *file)
{
	uint32_t at;
	int err;

	if (t->n == t->cap) {
		err = grow(t);
		if (err)
			return err;
	}
	at = identity_hash(obj->kind, obj->ns, obj->name) & (t->nslots - 1);
	while (t->slots[at])
		at = (at + 1) & (t->nslots - 1);
	t->rows[t->n] = (struct amb_mref){ obj, file };
	t->slots[at] = ++t->n;
	return 0;
}

const struct amb_mref *amb_mtable_find(const struct amb_mtable *t, enum amb_mobj_kind kind,
				       const char *ns, const char *name)
{
	uint32_t at;

	if (!t->n)
		return NULL;
	for (at = identity_hash(kind, ns, name) & (t->nslots - 1); t->slots[at];
	     at = (at + 1) & (t->nslots - 1)) {
		const struct amb_mref *r = &t->rows[t->slots[at] - 1];

		if (r->obj->kind == kind && !strcmp(r->obj->name, name) && !strcmp(r->obj->ns, ns))
			return r;
	}
	return NULL;
}

void amb_mtable_free(struct amb_mtable *t)
{
	free(t->rows);
	free(t->slots);
	*t = (struct amb_mtable){ 0 };
}

struct entry {
	const char *ns;
	const struct amb_kvs *want;
	void *what;
	uint32_t hash; /* of the label it is kept under */
	uint32_t next; /* entry + 1 */
};

#define FOUND_MAX 64 /* matches that are sorted without an allocation */

struct amb_mselect {
	struct entry *e;
	uint32_t n, cap, pairs;
	uint32_t *heads, nheads;
};

struct amb_mselect *amb_mselect_create(void)
{
	return calloc(1, sizeof(struct amb_mselect));
}

void amb_mselect_destroy(struct amb_mselect *s)
{
	if (!s)
		return;
	free(s->e);
	free(s->heads);
	free(s);
}

int amb_mselect_add(struct amb_mselect *s, const char *ns, const struct amb_kvs *want, void *what)
{
	if (s->n == s->cap) {
		uint32_t cap = s->cap ? s->cap * 2 : 64;
		struct entry *e = realloc(s->e, cap * sizeof(*e));

		if (!e)
			return -ENOMEM;
		s->e = e;
		s->cap = cap;
	}
	s->e[s->n++] = (struct entry){ .ns = ns, .want = want, .what = what };
	s->pairs += want->n;
	return 0;
}

static uint32_t pair_hash(const char *ns, const struct amb_kv *kv)
{
	return hash3(ns ? 1 : 2, ns ? ns : "", kv->key, kv->value);
}

int amb_mselect_seal(struct amb_mselect *s)
{
	uint32_t size = 64, *counts, i, j;

	while (size < 2 * s->pairs)
		size *= 2;
	/* Two labels on one count make a choice a little worse, never wrong. */
	counts = calloc(size, sizeof(*counts));
	free(s->heads);
	s->heads = calloc(size, sizeof(*s->heads));
	s->nheads = size;
	if (!counts || !s->heads) {
		free(counts);
		return -ENOMEM;
	}
	for (i = 0; i < s->n; i++)
		for (j = 0; j < s->e[i].want->n; j++)
			counts[pair_hash(s->e[i].ns, &s->e[i].want->p[j]) & (size - 1)]++;
	for (i = s->n; i-- > 0;) {
		struct entry *e = &s->e[i];
		uint32_t best = UINT32_MAX;

		for (j = 0; j < e->want->n; j++) {
			uint32_t h = pair_hash(e->ns, &e->want->p[j]);

			if (counts[h & (size - 1)] < best) {
				best = counts[h & (size - 1)];
				e->hash = h;
			}
		}
		e->next = s->heads[e->hash & (size - 1)];
		s->heads[e->hash & (size - 1)] = i + 1;
	}
	free(counts);
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

void amb_mselect_find(const struct amb_mselect *s, const char *ns, const struct amb_kvs *have,
		      void (*fn)(void *ctx, void *what), void *ctx)
{
	uint32_t found[FOUND_MAX], n = 0, i, any;

	if (!s->n)
		return;
	for (i = 0; i < have->n; i++) {
		for (any = 0; any < 2; any++) {
			uint32_t h = pair_hash(any ? NULL : ns, &have->p[i]), at;

			for (at = s->heads[h & (s->nheads - 1)]; at; at = s->e[at - 1].next) {
				const struct entry *e = &s->e[at - 1];

				if (e->hash != h || (e->ns ? any : !any) ||
				    (e->ns && strcmp(e->ns, ns)) || !amb_kvs_match(e->want, have))
					continue;
				if (n == FOUND_MAX) {
					/* Rare; the order only matters to keep loads alike. */
					uint32_t k;

					qsort(found, n, sizeof(*found), by_number);
					for (k = 0; k < n; k++)
						fn(ctx, s->e[found[k]].what);
					n = 0;
				}
				found[n++] = at - 1;
			}
		}
	}
	qsort(found, n, sizeof(*found), by_number);
	for (i = 0; i < n; i++)
		fn(ctx, s->e[found[i]].what);
}
