// SPDX-License-Identifier: GPL-2.0-or-later
/* Tables by identity: chained, by its number. */
#include "by_id.h"

#include "identity.h"

#include <errno.h>
#include <stdlib.h>

#define BUCKETS_MIN 64

static size_t place(const struct amb_identity *id, size_t nbuckets)
{
	return id->number & (nbuckets - 1);
}

static struct amb_by_id **slot(const struct amb_by_id_table *t, const struct amb_identity *id)
{
	struct amb_by_id **at = &t->bucket[place(id, t->nbuckets)];

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

/* A larger table is an improvement, not a need: without memory the old one goes on. */
static void grow(struct amb_by_id_table *t)
{
	size_t i, n = t->nbuckets * 2;
	struct amb_by_id **bucket = calloc(n, sizeof(*bucket)), *e;

	if (!bucket)
		return;
	for (i = 0; i < t->nbuckets; i++) {
		while ((e = t->bucket[i])) {
			t->bucket[i] = e->next;
			e->next = bucket[place(e->id, n)];
			bucket[place(e->id, n)] = e;
		}
	}
	free(t->bucket);
	t->bucket = bucket;
	t->nbuckets = n;
}

int amb_by_id_init(struct amb_by_id_table *t)
{
	*t = (struct amb_by_id_table){ .bucket = calloc(BUCKETS_MIN, sizeof(*t->bucket)) };
	if (!t->bucket)
		return -ENOMEM;
	t->nbuckets = BUCKETS_MIN;
	return 0;
}

void amb_by_id_uninit(struct amb_by_id_table *t)
{
	free(t->bucket);
	*t = (struct amb_by_id_table){ 0 };
}

void *amb_by_id_find(const struct amb_by_id_table *t, const struct amb_identity *id)
{
	return *slot(t, id);
}

void *amb_by_id_add(struct amb_by_id_table *t, struct amb_identity *id, size_t size)
{
	struct amb_by_id *e = calloc(1, size);

	if (!e)
		return NULL;
	if (t->n >= t->nbuckets)
		grow(t);
	e->id = amb_identity_get(id);
	*slot(t, id) = e;
	t->n++;
	return e;
}

void amb_by_id_remove(struct amb_by_id_table *t, void *thing)
{
	struct amb_by_id *e = thing;

	*slot(t, e->id) = e->next;
	t->n--;
}

void *amb_by_id_next(const struct amb_by_id_table *t, const void *thing)
{
	const struct amb_by_id *e = thing;
	size_t i = e ? place(e->id, t->nbuckets) + 1 : 0;

	if (e && e->next)
		return e->next;
	while (i < t->nbuckets && !t->bucket[i])
		i++;
	return i < t->nbuckets ? t->bucket[i] : NULL;
}
