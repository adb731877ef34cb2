// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Label sets of DNS metrics. There are few: some types of records for each workload of the node.
 * When a table is full, those of workloads that asked nothing for long make room.
 */
#include "dns_series.h"

#include "metrics.h"

#include "base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct amb_dns_series {
	struct amb_dns_series *next;
	uint64_t used_ns;
	struct amb_dns_row row;
};

static const uint64_t bounds[AMB_DNS_BUCKETS] = AMB_DNS_BOUNDS;

static void series_free(struct amb_dns_series *s)
{
	if (!s)
		return;
	amb_str_put(s->row.canonical);
	amb_str_put(s->row.revision);
	free(s);
}

void amb_dns_table_init(struct amb_dns_table *t)
{
	pthread_mutex_init(&t->lock, NULL);
}

void amb_dns_table_uninit(struct amb_dns_table *t)
{
	unsigned int i;

	for (i = 0; i < AMB_DNS_HASH; i++) {
		while (t->hash[i]) {
			struct amb_dns_series *s = t->hash[i];

			t->hash[i] = s->next;
			series_free(s);
		}
	}
	series_free(t->overflow);
	pthread_mutex_destroy(&t->lock);
}

/* What distinguishes a label set. */
struct key {
	const char *type;
	amb_str canonical, revision;
	bool tcp;
};

static struct amb_dns_series **bucket(struct amb_dns_table *t, const struct key *k)
{
	uintptr_t mix = (uintptr_t)k->canonical / 8 + (uintptr_t)k->revision / 16 +
			(uintptr_t)k->type * 2 + k->tcp;

	return &t->hash[(mix ^ mix >> 8) % AMB_DNS_HASH];
}

static bool equal(const struct amb_dns_row *r, const struct key *k)
{
	return r->type == k->type && r->tcp == k->tcp && r->canonical == k->canonical &&
	       r->revision == k->revision;
}

static struct amb_dns_series *series_create(const struct key *k, uint64_t now)
{
	struct amb_dns_series *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->used_ns = now;
	s->row.type = k->type;
	s->row.tcp = k->tcp;
	s->row.canonical = k->canonical ? amb_str_get(k->canonical) : NULL;
	s->row.revision = k->revision ? amb_str_get(k->revision) : NULL;
	return s;
}

static void drop_stale(struct amb_dns_table *t, uint64_t now)
{
	unsigned int i;

	for (i = 0; i < AMB_DNS_HASH; i++) {
		struct amb_dns_series **p = &t->hash[i];

		while (*p) {
			struct amb_dns_series *s = *p;

			if (now - s->used_ns < AMB_METRICS_STALE_NS) {
				p = &s->next;
				continue;
			}
			*p = s->next;
			series_free(s);
			t->n--;
		}
	}
}

/* With the table's lock held. NULL: out of memory. */
static struct amb_dns_series *series_add(struct amb_dns_table *t, const struct key *k, uint64_t now)
{
	static const struct key unknown = { .type = "other" };
	struct amb_dns_series *s;

	if (t->n >= AMB_METRICS_DNS_SERIES)
		drop_stale(t, now);
	if (t->n >= AMB_METRICS_DNS_SERIES) {
		if (!t->overflow)
			t->overflow = series_create(&unknown, now);
		return t->overflow;
	}
	s = series_create(k, now);
	if (!s)
		return NULL;
	s->next = *bucket(t, k);
	*bucket(t, k) = s;
	t->n++;
	return s;
}

void amb_dns_table_count(struct amb_dns_table *t, const struct amb_flow_dns *d)
{
	const struct amb_workload *w = d->workload;
	const struct key k = { d->type, w ? w->canonical_name : NULL,
			       w ? w->canonical_revision : NULL, d->tcp };
	uint64_t now = amb_util_now_ns();
	struct amb_dns_series *s;
	unsigned int i = 0;

	pthread_mutex_lock(&t->lock);
	for (s = *bucket(t, &k); s && !equal(&s->row, &k); s = s->next)
		;
	if (!s)
		s = series_add(t, &k, now);
	if (s) {
		s->used_ns = now;
		s->row.counters[AMB_DNS_REQUESTS]++;
		s->row.counters[AMB_DNS_UPSTREAM] += d->forwarded;
		s->row.counters[AMB_DNS_FAILURES] += d->failed;
		while (d->duration_ns > bounds[i])
			i++;
		s->row.buckets[i] += d->forwarded;
		s->row.sum_ns += d->forwarded ? d->duration_ns : 0;
	}
	pthread_mutex_unlock(&t->lock);
}

static void row_add(struct amb_dns_row *to, const struct amb_dns_row *from)
{
	unsigned int i;

	for (i = 0; i < AMB_DNS_COUNTERS; i++)
		to->counters[i] += from->counters[i];
	for (i = 0; i < AMB_DNS_BUCKETS; i++)
		to->buckets[i] += from->buckets[i];
	to->sum_ns += from->sum_ns;
}

/* A copy with references of its own, and no NULL. */
static int row_copy(struct amb_dns_row *to, const struct amb_dns_row *from)
{
	*to = *from;
	to->canonical = from->canonical ? amb_str_get(from->canonical) : amb_str_intern("", 0);
	to->revision = from->revision ? amb_str_get(from->revision) : amb_str_intern("", 0);
	if (to->canonical && to->revision)
		return 0;
	amb_str_put(to->canonical);
	amb_str_put(to->revision);
	return -ENOMEM;
}

static int by_labels(const void *a, const void *b)
{
	const struct amb_dns_row *x = a, *y = b;
	int c = strcmp(x->type, y->type);

	c = c ? c : (int)x->tcp - (int)y->tcp;
	c = c ? c : strcmp(x->canonical, y->canonical);
	return c ? c : strcmp(x->revision, y->revision);
}

/* Neighbours of one label set become one. */
static long merge(struct amb_dns_row *rows, long n)
{
	long i, m = 0;

	for (i = 0; i < n; i++) {
		if (m && !by_labels(&rows[m - 1], &rows[i])) {
			row_add(&rows[m - 1], &rows[i]);
			amb_str_put(rows[i].canonical);
			amb_str_put(rows[i].revision);
		} else {
			rows[m++] = rows[i];
		}
	}
	return m;
}

static int copy_table(struct amb_dns_table *t, struct amb_dns_row *rows, long *n)
{
	const struct amb_dns_series *s;
	unsigned int i;
	int err = 0;

	pthread_mutex_lock(&t->lock);
	for (i = 0; i < AMB_DNS_HASH && !err; i++) {
		for (s = t->hash[i]; s && !err; s = s->next) {
			err = row_copy(&rows[*n], &s->row);
			*n += !err;
		}
	}
	if (t->overflow && !err) {
		err = row_copy(&rows[*n], &t->overflow->row);
		*n += !err;
	}
	pthread_mutex_unlock(&t->lock);
	return err;
}

long amb_dns_table_rows(struct amb_dns_table *tables, unsigned int n, struct amb_dns_row **out)
{
	struct amb_dns_row *rows;
	unsigned int i;
	long have = 0;
	int err = 0;

	/* As many as there can be, since tables may grow meanwhile; unused pages cost nothing. */
	rows = malloc(n * (AMB_METRICS_DNS_SERIES + 1) * sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	for (i = 0; i < n && !err; i++)
		err = copy_table(&tables[i], rows, &have);
	if (err) {
		amb_dns_table_put(rows, have);
		return err;
	}
	qsort(rows, have, sizeof(*rows), by_labels);
	*out = rows;
	return merge(rows, have);
}

void amb_dns_table_put(struct amb_dns_row *rows, long n)
{
	while (n > 0) {
		n--;
		amb_str_put(rows[n].canonical);
		amb_str_put(rows[n].revision);
	}
	free(rows);
}
