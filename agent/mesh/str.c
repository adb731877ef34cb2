// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Interned strings. A chained table under one mutex; a string leaves it when its last
 * reference goes, which is the only put that takes the mutex.
 */
#include "str.h"

#include "base/util.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct str {
	struct str *next;
	uint32_t refs;
	uint32_t hash;
	char text[];
};

#define TABLE_MIN 256

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct str **table;
static size_t size, count;

static struct {
	struct str *next;
	uint32_t refs, hash;
	char text[1];
} empty;

static struct str *of(amb_str s)
{
	return AMB_CONTAINER_OF(s, struct str, text);
}

uint32_t amb_str_hash_text(const char *text, size_t len)
{
	return len ? amb_util_hash(text, len, amb_util_seed()) : 0;
}

uint32_t amb_str_hash(amb_str s)
{
	return of(s)->hash;
}

/* A table that cannot grow only gets slower. */
static void resize(size_t want)
{
	struct str **to = calloc(want, sizeof(*to));
	size_t i;

	if (!to)
		return;
	for (i = 0; i < size; i++) {
		struct str *s, *next;

		for (s = table[i]; s; s = next) {
			next = s->next;
			s->next = to[s->hash & (want - 1)];
			to[s->hash & (want - 1)] = s;
		}
	}
	free(table);
	table = to;
	size = want;
}

amb_str amb_str_intern(const char *text, size_t len)
{
	uint32_t hash = amb_str_hash_text(text, len);
	struct str *s = NULL;

	if (!len)
		return empty.text;
	pthread_mutex_lock(&lock);
	if (count >= size)
		resize(size ? size * 2 : TABLE_MIN);
	if (!size)
		goto out;
	for (s = table[hash & (size - 1)]; s; s = s->next) {
		if (s->hash == hash && !strncmp(s->text, text, len) && !s->text[len]) {
			__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
			goto out;
		}
	}
	s = malloc(sizeof(*s) + len + 1);
	if (!s)
		goto out;
	s->refs = 1;
	s->hash = hash;
	memcpy(s->text, text, len);
	s->text[len] = 0;
	s->next = table[hash & (size - 1)];
	table[hash & (size - 1)] = s;
	count++;
out:
	pthread_mutex_unlock(&lock);
	return s ? s->text : NULL;
}

amb_str amb_str_get(amb_str s)
{
	if (s && s != empty.text)
		__atomic_add_fetch(&of(s)->refs, 1, __ATOMIC_RELAXED);
	return s;
}

void amb_str_put(amb_str text)
{
	struct str *s, **at;
	uint32_t refs;

	if (!text || text == empty.text)
		return;
	s = of(text);
	refs = __atomic_load_n(&s->refs, __ATOMIC_RELAXED);
	while (refs > 1) {
		if (__atomic_compare_exchange_n(&s->refs, &refs, refs - 1, true, __ATOMIC_RELEASE,
						__ATOMIC_RELAXED))
			return;
	}
	/* Perhaps the last: only under the lock, so that nobody finds it half gone. */
	pthread_mutex_lock(&lock);
	if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL)) {
		pthread_mutex_unlock(&lock);
		return;
	}
	for (at = &table[s->hash & (size - 1)]; *at != s; at = &(*at)->next)
		;
	*at = s->next;
	if (!--count) {
		free(table);
		table = NULL;
		size = 0;
	} else if (size > TABLE_MIN && count < size / 8) {
		resize(size / 4);
	}
	pthread_mutex_unlock(&lock);
	free(s);
}

size_t amb_str_count(void)
{
	size_t n;

	pthread_mutex_lock(&lock);
	n = count;
	pthread_mutex_unlock(&lock);
	return n;
}
