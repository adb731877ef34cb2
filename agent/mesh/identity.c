// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Identities, counted like strings. A number is not given again when its identity is gone: verdicts
 * in the kernel go by numbers, and may be there still.
 */
#include "identity.h"

#include "base/util.h"
#include "counted.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	struct amb_counted counted;
	struct amb_identity id; /* last: ends in a flexible array */
};

#define PREFIX "spiffe://"
#define NS "/ns/"
#define SA "/sa/"

/* What is asked for: @uri is the whole of @len bytes, its parts are known to be well formed. */
struct key {
	const char *uri;
	size_t len, td, ns, sa;
};

static struct entry *of(const struct amb_identity *id)
{
	return AMB_CONTAINER_OF(id, struct entry, id);
}

static bool is(const struct amb_counted *c, const void *key)
{
	const struct key *k = key;

	return !strcmp(AMB_CONTAINER_OF(c, struct entry, counted)->id.spiffe, k->uri);
}

/* Copies a part; returns where the next one goes. */
static char *put_part(const char **at, char *to, const char *text, size_t len)
{
	*at = to;
	memcpy(to, text, len);
	to[len] = 0;
	return to + len + 1;
}

static struct amb_counted *make(const void *key)
{
	static uint32_t last_number; /* under the table's lock */
	const struct key *k = key;
	struct entry *e = malloc(sizeof(*e) + k->len + 1 + k->td + k->ns + k->sa + 3);
	const char *uri = k->uri;
	char *to;

	if (!e)
		return NULL;
	/* Never 0, not even after four thousand million of them. */
	last_number += last_number == UINT32_MAX ? 2 : 1;
	e->id.number = last_number;
	e->id.td_len = k->td;
	e->id.ns_len = k->ns;
	e->id.sa_len = k->sa;
	memcpy(e->id.spiffe, uri, k->len + 1);
	to = e->id.spiffe + k->len + 1;
	uri += strlen(PREFIX);
	to = put_part(&e->id.td, to, uri, k->td);
	uri += k->td + strlen(NS);
	to = put_part(&e->id.ns, to, uri, k->ns);
	uri += k->ns + strlen(SA);
	put_part(&e->id.sa, to, uri, k->sa);
	return &e->counted;
}

static struct amb_counted_table table = AMB_COUNTED_TABLE(64, is, make);

static struct amb_identity *intern(const struct key *key)
{
	struct amb_counted *c =
		amb_counted_intern(&table, amb_util_hash(key->uri, key->len, amb_util_seed()), key);

	if (!c) {
		errno = ENOMEM;
		return NULL;
	}
	return &AMB_CONTAINER_OF(c, struct entry, counted)->id;
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
	return intern(&(const struct key){ uri, len, td, ns, sa });
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
		amb_counted_get(&of(id)->counted);
	return id;
}

void amb_identity_put(struct amb_identity *id)
{
	if (id)
		amb_counted_put(&table, &of(id)->counted);
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
