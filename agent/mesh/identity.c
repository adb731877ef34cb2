// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Identities: a chained table under one mutex, counted like strings. A number is not given again
 * when its identity is gone: verdicts in the kernel go by numbers, and may be there still.
 */
#include "identity.h"

#include "base/cleanup.h"
#include "base/util.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	struct entry *next;
	uint32_t refs;
	uint32_t hash;
	struct amb_identity id; /* last: ends in a flexible array */
};

#define TABLE_MIN 64
#define PREFIX "spiffe://"
#define NS "/ns/"
#define SA "/sa/"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry **table;
static size_t size, count;
static uint32_t last_number;

static struct entry *of(const struct amb_identity *id)
{
	return AMB_CONTAINER_OF(id, struct entry, id);
}

static void resize(size_t want)
{
	struct entry **to = calloc(want, sizeof(*to));
	size_t i;

	if (!to)
		return;
	for (i = 0; i < size; i++) {
		struct entry *e, *next;

		for (e = table[i]; e; e = next) {
			next = e->next;
			e->next = to[e->hash & (want - 1)];
			to[e->hash & (want - 1)] = e;
		}
	}
	free(table);
	table = to;
	size = want;
}

/* The parts are known to be well formed; @uri is the whole of @len bytes. */
static struct amb_identity *intern(const char *uri, size_t len, size_t td, size_t ns, size_t sa)
{
	uint32_t hash = amb_util_hash(uri, len, amb_util_seed());
	struct entry *e = NULL;
	char *parts;

	pthread_mutex_lock(&lock);
	if (count >= size)
		resize(size ? size * 2 : TABLE_MIN);
	if (!size)
		goto out;
	for (e = table[hash & (size - 1)]; e; e = e->next) {
		if (e->hash == hash && !strcmp(e->id.spiffe, uri)) {
			__atomic_add_fetch(&e->refs, 1, __ATOMIC_RELAXED);
			goto out;
		}
	}
	e = malloc(sizeof(*e) + len + 1 + td + ns + sa + 3);
	if (!e)
		goto out;
	/* Never 0, not even after four thousand million of them. */
	last_number += last_number == UINT32_MAX ? 2 : 1;
	e->id.number = last_number;
	e->refs = 1;
	e->hash = hash;
	e->id.td_len = td;
	e->id.ns_len = ns;
	e->id.sa_len = sa;
	memcpy(e->id.spiffe, uri, len + 1);
	parts = e->id.spiffe + len + 1;
	uri += strlen(PREFIX);
	e->id.td = parts;
	memcpy(parts, uri, td);
	parts[td] = 0;
	e->id.ns = parts += td + 1;
	uri += td + strlen(NS);
	memcpy(parts, uri, ns);
	parts[ns] = 0;
	e->id.sa = parts += ns + 1;
	uri += ns + strlen(SA);
	memcpy(parts, uri, sa);
	parts[sa] = 0;
	e->next = table[hash & (size - 1)];
	table[hash & (size - 1)] = e;
	count++;
out:
	pthread_mutex_unlock(&lock);
	if (!e) {
		errno = ENOMEM;
		return NULL;
	}
	return &e->id;
}

/*
 * Length of the part at *p, which ends at @end ("" = end of text); *p moves behind that.
 * Negative when it is malformed.
 */
static int part(const char **p, const char *end, bool may_be_empty)
{
	size_t n;

	for (n = 0; (*p)[n] && (*p)[n] != '/'; n++) {
		if ((unsigned char)(*p)[n] <= ' ' || (*p)[n] == 0x7f)
			return -EINVAL;
	}
	if ((!n && !may_be_empty) || strncmp(*p + n, end, strlen(end)) || (!*end && (*p)[n]))
		return -EINVAL;
	*p += n + strlen(end);
	return n;
}

/* @uri is NUL-terminated, of @len bytes. */
static struct amb_identity *parse(const char *uri, size_t len, bool may_be_empty)
{
	const char *p = uri + strlen(PREFIX);
	int td, ns, sa;

	if (strncmp(uri, PREFIX, strlen(PREFIX)) || (td = part(&p, NS, false)) < 0 ||
	    (ns = part(&p, SA, may_be_empty)) < 0 || (sa = part(&p, "", may_be_empty)) < 0) {
		errno = EINVAL;
		return NULL;
	}
	return intern(uri, len, td, ns, sa);
}

static struct amb_identity *compose(const char *td, const char *ns, const char *sa,
				    bool may_be_empty)
{
	char uri[AMB_IDENTITY_MAX];
	int n = snprintf(uri, sizeof(uri), PREFIX "%s" NS "%s" SA "%s", td, ns, sa);

	/* Slashes within a part would make it look like another identity. */
	if (n < 0 || n >= (int)sizeof(uri) || strchr(td, '/') || strchr(ns, '/') ||
	    strchr(sa, '/')) {
		errno = EINVAL;
		return NULL;
	}
	return parse(uri, n, may_be_empty);
}

struct amb_identity *amb_identity_intern(const char *td, const char *ns, const char *sa)
{
	return compose(td, ns, sa, false);
}

struct amb_identity *amb_identity_workload(const char *td, const char *ns, const char *sa)
{
	return compose(td, ns, sa, true);
}

struct amb_identity *amb_identity_parse(const char *text, size_t len)
{
	char uri[AMB_IDENTITY_MAX];

	if (len >= sizeof(uri) || memchr(text, 0, len)) {
		errno = EINVAL;
		return NULL;
	}
	memcpy(uri, text, len);
	uri[len] = 0;
	return parse(uri, len, false);
}

struct amb_identity *amb_identity_get(struct amb_identity *id)
{
	if (id)
		__atomic_add_fetch(&of(id)->refs, 1, __ATOMIC_RELAXED);
	return id;
}

void amb_identity_put(struct amb_identity *id)
{
	struct entry *e, **at;
	uint32_t refs;

	if (!id)
		return;
	e = of(id);
	refs = __atomic_load_n(&e->refs, __ATOMIC_RELAXED);
	while (refs > 1) {
		if (__atomic_compare_exchange_n(&e->refs, &refs, refs - 1, true, __ATOMIC_RELEASE,
						__ATOMIC_RELAXED))
			return;
	}
	pthread_mutex_lock(&lock);
	if (__atomic_sub_fetch(&e->refs, 1, __ATOMIC_ACQ_REL)) {
		pthread_mutex_unlock(&lock);
		return;
	}
	for (at = &table[e->hash & (size - 1)]; *at != e; at = &(*at)->next)
		;
	*at = e->next;
	if (!--count) {
		free(table);
		table = NULL;
		size = 0;
	} else if (size > TABLE_MIN && count < size / 8) {
		resize(size / 4);
	}
	pthread_mutex_unlock(&lock);
	free(e);
}

struct amb_identity *amb_identset_at(const struct amb_identset *set, uint32_t i)
{
	return set->n > AMB_IDENTSET_INLINE ? set->more[i] : set->inl[i];
}

bool amb_identset_has(const struct amb_identset *set, const struct amb_identity *id)
{
	uint32_t i;

	for (i = 0; i < set->n; i++) {
		if (amb_identset_at(set, i) == id)
			return true;
	}
	return false;
}

int amb_identset_add(struct amb_identset *set, struct amb_identity *id)
{
	if (amb_identset_has(set, id))
		return 0;
	if (set->n < AMB_IDENTSET_INLINE) {
		set->inl[set->n++] = amb_identity_get(id);
		return 0;
	}
	/* Room grows by doubling: full whenever n is a power of two. */
	if (!(set->n & (set->n - 1))) {
		struct amb_identity **more;

		more = realloc(set->more, set->n * 2 * sizeof(*more));
		if (!more)
			return -ENOMEM;
		if (set->n == AMB_IDENTSET_INLINE)
			memcpy(more, set->inl, sizeof(set->inl));
		set->more = more;
	}
	set->more[set->n++] = amb_identity_get(id);
	return 0;
}

bool amb_identset_eq(const struct amb_identset *a, const struct amb_identset *b)
{
	uint32_t i;

	if (a->n != b->n)
		return false;
	for (i = 0; i < a->n; i++) {
		if (!amb_identset_has(b, amb_identset_at(a, i)))
			return false;
	}
	return true;
}

int amb_identset_copy(struct amb_identset *to, const struct amb_identset *from)
{
	struct amb_identset set = { 0 };
	uint32_t i;

	for (i = 0; i < from->n; i++) {
		if (amb_identset_add(&set, amb_identset_at(from, i))) {
			amb_identset_clear(&set);
			return -ENOMEM;
		}
	}
	amb_identset_clear(to);
	*to = set;
	return 0;
}

void amb_identset_clear(struct amb_identset *set)
{
	uint32_t i;

	for (i = 0; i < set->n; i++)
		amb_identity_put(amb_identset_at(set, i));
	free(set->more);
	memset(set, 0, sizeof(*set));
}
