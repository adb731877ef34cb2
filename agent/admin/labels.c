// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Label sets in a table of fixed size. When as many are in it as may be, those that nobody counted
 * into for long make room.
 */
#include "labels.h"

#include "metrics.h"

#include "base/util.h"
#include "mesh/identity.h"
#include "mesh/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct amb_labels_entry {
	struct amb_labels_entry *next;
	uint64_t used_ns;
	_Alignas(uint64_t) char row[];
};

static struct amb_identity *identity(const struct amb_labels_kind *kind, const void *row)
{
	const amb_str *strs = row;

	return kind->identity ? *(struct amb_identity *const *)(strs + kind->strs) : NULL;
}

static void row_get(const struct amb_labels_kind *kind, const void *row)
{
	const amb_str *strs = row;
	unsigned int i;

	for (i = 0; i < kind->strs; i++)
		amb_str_get(strs[i]);
	amb_identity_get(identity(kind, row));
}

void amb_labels_row_put(const struct amb_labels_kind *kind, const void *row)
{
	const amb_str *strs = row;
	unsigned int i;

	for (i = 0; i < kind->strs; i++)
		amb_str_put(strs[i]);
	amb_identity_put(identity(kind, row));
}

static void entry_free(const struct amb_labels *t, struct amb_labels_entry *e)
{
	if (!e)
		return;
	amb_labels_row_put(t->kind, e->row);
	free(e);
}

void amb_labels_init(struct amb_labels *t, const struct amb_labels_kind *kind)
{
	*t = (struct amb_labels){ .kind = kind };
	pthread_mutex_init(&t->lock, NULL);
}

void amb_labels_uninit(struct amb_labels *t)
{
	unsigned int i;

	for (i = 0; i < AMB_LABELS_HASH; i++) {
		while (t->hash[i]) {
			struct amb_labels_entry *e = t->hash[i];

			t->hash[i] = e->next;
			entry_free(t, e);
		}
	}
	entry_free(t, t->overflow);
	pthread_mutex_destroy(&t->lock);
}

static struct amb_labels_entry **bucket(struct amb_labels *t, const void *key)
{
	return &t->hash[amb_util_hash(key, t->kind->labels, amb_util_seed()) % AMB_LABELS_HASH];
}

static struct amb_labels_entry *entry_create(const struct amb_labels *t, const void *key)
{
	struct amb_labels_entry *e = malloc(sizeof(*e) + t->kind->size);

	if (!e)
		return NULL;
	memcpy(e->row, key, t->kind->size);
	row_get(t->kind, e->row);
	return e;
}

static void drop_stale(struct amb_labels *t, uint64_t now)
{
	unsigned int i;

	for (i = 0; i < AMB_LABELS_HASH; i++) {
		struct amb_labels_entry **p = &t->hash[i];

		while (*p) {
			struct amb_labels_entry *e = *p;

			if (now - e->used_ns < AMB_METRICS_STALE_NS) {
				p = &e->next;
				continue;
			}
			*p = e->next;
			entry_free(t, e);
			t->n--;
		}
	}
}

static struct amb_labels_entry *add(struct amb_labels *t, const void *key, uint64_t now)
{
	struct amb_labels_entry *e;

	if (t->n >= t->kind->max)
		drop_stale(t, now);
	if (t->n >= t->kind->max) {
		if (!t->overflow)
			t->overflow = entry_create(t, t->kind->overflow);
		return t->overflow;
	}
	e = entry_create(t, key);
	if (!e)
		return NULL;
	e->next = *bucket(t, key);
	*bucket(t, key) = e;
	t->n++;
	return e;
}

void *amb_labels_row(struct amb_labels *t, const void *key)
{
	struct amb_labels_entry *e = *bucket(t, key);
	uint64_t now = amb_util_now_ns();

	while (e && memcmp(e->row, key, t->kind->labels))
		e = e->next;
	if (!e)
		e = add(t, key, now);
	if (!e)
		return NULL;
	e->used_ns = now;
	return e->row;
}

/* Returns where the next row goes. */
static char *copy_row(const struct amb_labels *t, char *to, const struct amb_labels_entry *e)
{
	memcpy(to, e->row, t->kind->size);
	row_get(t->kind, to);
	return to + t->kind->size;
}

static char *copy_table(struct amb_labels *t, char *to)
{
	const struct amb_labels_entry *e;
	unsigned int i;

	pthread_mutex_lock(&t->lock);
	for (i = 0; i < AMB_LABELS_HASH; i++)
		for (e = t->hash[i]; e; e = e->next)
			to = copy_row(t, to, e);
	if (t->overflow)
		to = copy_row(t, to, t->overflow);
	pthread_mutex_unlock(&t->lock);
	return to;
}

long amb_labels_copy(const struct amb_labels_kind *kind, struct amb_labels *tables, unsigned int n,
		     void **out)
{
	/* As many as there can be, since tables may grow meanwhile; unused pages cost nothing. */
	char *rows = malloc(n * (kind->max + 1) * kind->size), *to = rows;
	unsigned int i;

	if (!rows)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		to = copy_table(&tables[i], to);
	*out = rows;
	return (to - rows) / kind->size;
}

void amb_labels_put(const struct amb_labels_kind *kind, void *rows, long n)
{
	while (n > 0)
		amb_labels_row_put(kind, (char *)rows + --n * kind->size);
	free(rows);
}
