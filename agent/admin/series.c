// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Label sets of traffic metrics, one table a worker.
 *
 * Lifetime: a series is counted. Its table holds one reference, scrapes take more. It leaves
 * the table only on its worker's thread and only when no connection is live in it, since the
 * cookie of a connection is a bare pointer.
 */
#include "series.h"

#include "metrics.h"

#include "base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 400 /* of a label's value, so that all parts fit in a key */
#define BUCKETS_MIN 64
#define SCAN_NS 1000000000ull /* a full table is searched for stale series this often */

_Static_assert(AMB_PART_MAX *(VALUE_MAX + 1) + sizeof(struct amb_series_head) <= AMB_SERIES_KEY_MAX,
	       "a key of longest values fits");

struct key {
	char *p;
	size_t len;
};

/*
 * Names come from peers too (baggage): what is not UTF-8 would make the scraper refuse
 * everything.
 */
static void add(struct key *k, const char *value)
{
	size_t n = 0;

	while (value && *value && n < VALUE_MAX) {
		size_t seq = amb_util_ascii_len(value, VALUE_MAX - n);

		if (!seq)
			seq = amb_util_utf8_len(value);
		if (n + seq > VALUE_MAX)
			break;
		if (seq) {
			memcpy(k->p + k->len + n, value, seq);
			value += seq;
			n += seq;
		} else {
			k->p[k->len + n++] = '?';
			value++;
		}
	}
	k->len += n;
	k->p[k->len++] = 0;
}

static void add_peer(struct key *k, const struct amb_workload *w, const struct amb_baggage *b,
		     const struct amb_identity *id)
{
	/* Order of enum amb_series_part. */
	add(k, w ? w->workload_name : b ? b->workload : NULL);
	add(k, w ? w->canonical_name : b ? b->service : NULL);
	add(k, w ? w->canonical_revision : b ? b->version : NULL);
	add(k, w ? w->ns : b ? b->ns : NULL);
	add(k, id ? id->spiffe : NULL);
	add(k, w ? w->cluster : b ? b->cluster : NULL);
	add(k, w ? w->region : b ? b->region : NULL);
	add(k, w ? w->zone : b ? b->zone : NULL);
}

size_t amb_series_key(const struct amb_flow *f, char key[AMB_SERIES_KEY_MAX])
{
	struct amb_series_head head = {
		.direction = f->direction,
		.security = amb_flow_security(f),
		.locality = f->src_workload || f->dst_workload || f->src_baggage || f->dst_baggage,
	};
	struct key k = { .p = key, .len = sizeof(head) };

	memcpy(key, &head, sizeof(head));
	add_peer(&k, f->src_workload, f->src_baggage, head.security ? f->src_identity : NULL);
	add_peer(&k, f->dst_workload, f->dst_baggage, head.security ? f->dst_identity : NULL);
	add(&k, f->dst_service ? f->dst_service->hostname : NULL);
	add(&k, f->dst_service ? f->dst_service->ns : NULL);
	add(&k, f->dst_service ? f->dst_service->name : NULL);
	return k.len;
}

const char *amb_series_part(const struct amb_series *s, unsigned int i)
{
	const char *p = s->key + sizeof(struct amb_series_head);

	while (i--)
		p += strlen(p) + 1;
	return p;
}

static struct amb_series *series_create(const char *key, size_t len, uint32_t hash)
{
	struct amb_series *s = calloc(1, sizeof(*s) + len);

	if (!s)
		return NULL;
	s->refs = 1;
	s->hash = hash;
	s->keylen = len;
	memcpy(s->key, key, len);
	return s;
}

void amb_series_put(struct amb_series *s)
{
	if (s && !__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
		free(s);
}

int amb_series_table_init(struct amb_series_table *t, uint32_t max)
{
	char key[AMB_SERIES_KEY_MAX];
	unsigned int i;

	memset(t, 0, sizeof(*t));
	pthread_mutex_init(&t->lock, NULL);
	t->max = max;
	t->nbuckets = BUCKETS_MIN;
	t->bucket = calloc(t->nbuckets, sizeof(struct amb_series *));
	for (i = 0; i < 2; i++) {
		struct amb_flow f = { .direction = i };
		struct amb_series *s = series_create(key, amb_series_key(&f, key), 0);

		if (!s || !t->bucket) {
			free(s);
			return -ENOMEM;
		}
		t->overflow[i] = s;
		s->next = t->list;
		t->list = s;
	}
	return 0;
}

void amb_series_table_uninit(struct amb_series_table *t)
{
	struct amb_series *s, *next;

	for (s = t->list; s; s = next) {
		next = s->next;
		amb_series_put(s);
	}
	free(t->bucket);
	pthread_mutex_destroy(&t->lock);
}

static void grow(struct amb_series_table *t)
{
	uint32_t n = t->nbuckets * 2, i;
	struct amb_series **bucket = calloc(n, sizeof(struct amb_series *));

	/* Without memory the chains get longer, that is all. */
	if (!bucket)
		return;
	for (i = 0; i < t->nbuckets; i++) {
		while (t->bucket[i]) {
			struct amb_series *s = t->bucket[i];

			t->bucket[i] = s->chain;
			s->chain = bucket[s->hash & (n - 1)];
			bucket[s->hash & (n - 1)] = s;
		}
	}
	free(t->bucket);
	t->bucket = bucket;
	t->nbuckets = n;
}

static void unchain(struct amb_series_table *t, struct amb_series *s)
{
	struct amb_series **p = &t->bucket[s->hash & (t->nbuckets - 1)];

	while (*p != s)
		p = &(*p)->chain;
	*p = s->chain;
}

static bool is_stale(const struct amb_series_table *t, const struct amb_series *s, uint64_t now)
{
	return !s->live && s->used_ns + AMB_METRICS_STALE_NS < now && s != t->overflow[0] &&
	       s != t->overflow[1];
}

static void drop_stale(struct amb_series_table *t, uint64_t now)
{
	struct amb_series **p = &t->list;

	if (now < t->next_scan_ns)
		return;
	t->next_scan_ns = now + SCAN_NS;
	pthread_mutex_lock(&t->lock);
	while (*p) {
		struct amb_series *s = *p;

		if (!is_stale(t, s, now)) {
			p = &s->next;
			continue;
		}
		*p = s->next;
		unchain(t, s);
		t->n--;
		amb_series_put(s);
	}
	pthread_mutex_unlock(&t->lock);
}

struct amb_series *amb_series_find(struct amb_series_table *t, const struct amb_flow *f)
{
	char key[AMB_SERIES_KEY_MAX];
	size_t len = amb_series_key(f, key);
	uint32_t hash = amb_util_hash(key, len, amb_util_seed());
	struct amb_series *s;

	for (s = t->bucket[hash & (t->nbuckets - 1)]; s; s = s->chain) {
		if (s->hash == hash && s->keylen == len && !memcmp(s->key, key, len))
			return s;
	}
	if (t->n >= t->max)
		drop_stale(t, f->start_ns);
	if (t->n < t->max)
		s = series_create(key, len, hash);
	if (!s) {
		amb_series_add(&t->overflows, 1);
		return t->overflow[f->direction];
	}
	if (t->n >= t->nbuckets)
		grow(t);
	s->chain = t->bucket[hash & (t->nbuckets - 1)];
	t->bucket[hash & (t->nbuckets - 1)] = s;
	t->n++;
	pthread_mutex_lock(&t->lock);
	s->next = t->list;
	t->list = s;
	pthread_mutex_unlock(&t->lock);
	return s;
}

static int by_key(const void *a, const void *b)
{
	const struct amb_series *x = *(struct amb_series *const *)a;
	const struct amb_series *y = *(struct amb_series *const *)b;
	int c = memcmp(x->key, y->key, AMB_MIN(x->keylen, y->keylen));

	return c ? c : (x->keylen > y->keylen) - (x->keylen < y->keylen);
}

/* Adds the table's series to @all. Returns the new count, or -ENOMEM. */
static long collect(struct amb_series_table *t, struct amb_series ***all, long n)
{
	struct amb_series **more, *s;
	long count = 0;

	pthread_mutex_lock(&t->lock);
	for (s = t->list; s; s = s->next)
		count++;
	more = realloc(*all, (n + count) * sizeof(struct amb_series *));
	if (more) {
		*all = more;
		for (s = t->list; s; s = s->next) {
			__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
			more[n++] = s;
		}
	}
	pthread_mutex_unlock(&t->lock);
	return more ? n : -ENOMEM;
}

long amb_series_snapshot(struct amb_series_table *tables, unsigned int n, struct amb_series ***out)
{
	struct amb_series **all = NULL;
	long count = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		long now = collect(&tables[i], &all, count);

		if (now < 0) {
			while (count--)
				amb_series_put(all[count]);
			free(all);
			return now;
		}
		count = now;
	}
	qsort(all, count, sizeof(struct amb_series *), by_key);
	*out = all;
	return count;
}
