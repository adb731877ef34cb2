// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names with versions: a table with open addressing, linear probing, at most three quarters
 * full. Names are interned, so that the state and this table keep one copy; an entry and its
 * slot cost about 60 bytes more.
 */
#include "xds_held.h"

#include "base/util.h"

#include <stdlib.h>
#include <string.h>

#define CAP_MIN 64

static size_t home(const struct amb_held *h, uint32_t hash)
{
	return hash & (h->cap - 1);
}

/* Where @name is, or the empty place where it would be. */
static size_t place(const struct amb_held *h, const char *name, uint32_t hash)
{
	size_t i = home(h, hash);

	while (h->slot[i] && strcmp(h->slot[i]->name, name))
		i = (i + 1) & (h->cap - 1);
	return i;
}

static int grow(struct amb_held *h)
{
	struct amb_held to = { .n = h->n, .cap = h->cap ? h->cap * 2 : CAP_MIN };
	size_t i;

	to.slot = calloc(to.cap, sizeof(*to.slot));
	if (!to.slot)
		return -1;
	for (i = 0; i < h->cap; i++) {
		struct amb_held_entry *e = h->slot[i];

		if (e)
			to.slot[place(&to, e->name, amb_str_hash(e->name))] = e;
	}
	free(h->slot);
	*h = to;
	return 0;
}

struct amb_held_entry *amb_held_find(const struct amb_held *h, const char *name)
{
	return h->cap ? h->slot[place(h, name, amb_str_hash_text(name, strlen(name)))] : NULL;
}

static void entry_free(struct amb_held_entry *e)
{
	if (e)
		amb_str_put(e->name);
	free(e);
}

struct amb_held_entry *amb_held_put(struct amb_held *h, const char *name, const char *version,
				    uint32_t stamp)
{
	size_t len = strlen(version) + 1, i;
	struct amb_held_entry *e;
	amb_str s;

	if (4 * (h->n + 1) > 3 * h->cap && grow(h))
		return NULL;
	s = amb_str_intern(name, strlen(name));
	e = s ? malloc(sizeof(*e) + len) : NULL;
	if (!e) {
		amb_str_put(s);
		return NULL;
	}
	*e = (struct amb_held_entry){ .name = s, .stamp = stamp, .told = true };
	memcpy(e->version, version, len);
	i = place(h, name, amb_str_hash(s));
	h->n += !h->slot[i];
	entry_free(h->slot[i]);
	h->slot[i] = e;
	return e;
}

void amb_held_del(struct amb_held *h, struct amb_held_entry *e)
{
	size_t mask = h->cap - 1, hole = place(h, e->name, amb_str_hash(e->name)), i;

	entry_free(e);
	h->n--;
	/* Those behind it move up, unless that would take them before their home. */
	for (i = (hole + 1) & mask; h->slot[i]; i = (i + 1) & mask) {
		size_t at = home(h, amb_str_hash(h->slot[i]->name));

		if (((i - at) & mask) < ((i - hole) & mask))
			continue;
		h->slot[hole] = h->slot[i];
		hole = i;
	}
	h->slot[hole] = NULL;
}

void amb_held_blank(struct amb_held *h, uint32_t stamp)
{
	struct amb_held_entry *e;
	size_t at = 0;

	while ((e = amb_held_next(h, &at))) {
		if (e->stamp == stamp)
			e->version[0] = 0;
		if (e->removed == stamp)
			e->removed = 0;
	}
}

void amb_held_clear(struct amb_held *h)
{
	struct amb_held_entry *e;
	size_t at = 0;

	while ((e = amb_held_next(h, &at)))
		entry_free(e);
	free(h->slot);
	*h = (struct amb_held){ 0 };
}

struct amb_held_entry *amb_held_next(const struct amb_held *h, size_t *at)
{
	while (*at < h->cap) {
		struct amb_held_entry *e = h->slot[(*at)++];

		if (e)
			return e;
	}
	return NULL;
}
