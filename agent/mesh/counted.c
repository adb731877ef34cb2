// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tables of counted things: chained, under one mutex. A thing leaves its table when its last
 * reference goes, which is the only put that takes the mutex.
 */
#include "counted.h"

#include <stdlib.h>

static struct amb_counted **slot(const struct amb_counted_table *t, uint32_t hash)
{
	return &t->bucket[hash & (t->size - 1)];
}

/* A table that cannot grow only gets slower. */
static void resize(struct amb_counted_table *t, size_t want)
{
	struct amb_counted **to = calloc(want, sizeof(*to));
	size_t i;

	if (!to)
		return;
	for (i = 0; i < t->size; i++) {
		struct amb_counted *c, *next;

		for (c = t->bucket[i]; c; c = next) {
			next = c->next;
			c->next = to[c->hash & (want - 1)];
			to[c->hash & (want - 1)] = c;
		}
	}
	free(t->bucket);
	t->bucket = to;
	t->size = want;
}

struct amb_counted *amb_counted_intern(struct amb_counted_table *t, uint32_t hash, const void *key)
{
	struct amb_counted *c = NULL;

	pthread_mutex_lock(&t->lock);
	if (t->count >= t->size)
		resize(t, t->size ? t->size * 2 : t->min);
	if (!t->size)
		goto out;
	for (c = *slot(t, hash); c; c = c->next) {
		if (c->hash == hash && t->is(c, key)) {
			amb_counted_get(c);
			goto out;
		}
	}
	c = t->make(key);
	if (!c)
		goto out;
	c->refs = 1;
	c->hash = hash;
	c->next = *slot(t, hash);
	*slot(t, hash) = c;
	t->count++;
out:
	pthread_mutex_unlock(&t->lock);
	return c;
}

void amb_counted_get(struct amb_counted *c)
{
	__atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
}

void amb_counted_put(struct amb_counted_table *t, struct amb_counted *c)
{
	uint32_t refs = __atomic_load_n(&c->refs, __ATOMIC_RELAXED);
	struct amb_counted **at;

	while (refs > 1) {
		if (__atomic_compare_exchange_n(&c->refs, &refs, refs - 1, true, __ATOMIC_RELEASE,
						__ATOMIC_RELAXED))
			return;
	}
	/* Perhaps the last: only under the lock, so that nobody finds it half gone. */
	pthread_mutex_lock(&t->lock);
	if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL)) {
		pthread_mutex_unlock(&t->lock);
		return;
	}
	for (at = slot(t, c->hash); *at != c; at = &(*at)->next)
		;
	*at = c->next;
	if (!--t->count) {
		free(t->bucket);
		t->bucket = NULL;
		t->size = 0;
	} else if (t->size > t->min && t->count < t->size / 8) {
		resize(t, t->size / 4);
	}
	pthread_mutex_unlock(&t->lock);
	free(c);
}

size_t amb_counted_number(struct amb_counted_table *t)
{
	size_t n;

	pthread_mutex_lock(&t->lock);
	n = t->count;
	pthread_mutex_unlock(&t->lock);
	return n;
}
