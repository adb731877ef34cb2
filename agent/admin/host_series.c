// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Label sets of resolved names. There are as many as the node's workloads have endpoints that are
 * known by name only. When the table is full, those that nobody asked for long make room.
 */
#include "host_series.h"

#include "metrics.h"

#include "base/util.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

struct amb_host_series {
	struct amb_host_series *next;
	uint64_t used_ns;
	struct amb_host_row row;
};

static void row_get(struct amb_host_row *to, const struct amb_host_row *from)
{
	*to = (struct amb_host_row){
		.workload = amb_str_get(from->workload),
		.canonical = amb_str_get(from->canonical),
		.revision = amb_str_get(from->revision),
		.ns = amb_str_get(from->ns),
		.cluster = amb_str_get(from->cluster),
		.identity = amb_identity_get(from->identity),
		.host = amb_str_get(from->host),
		.n = from->n,
	};
}

static void row_put(struct amb_host_row *r)
{
	amb_str_put(r->workload);
	amb_str_put(r->canonical);
	amb_str_put(r->revision);
	amb_str_put(r->ns);
	amb_str_put(r->cluster);
	amb_identity_put(r->identity);
	amb_str_put(r->host);
}

static void series_free(struct amb_host_series *s)
{
	if (!s)
		return;
	row_put(&s->row);
	free(s);
}

void amb_host_table_init(struct amb_host_table *t)
{
	*t = (struct amb_host_table){ 0 };
	pthread_mutex_init(&t->lock, NULL);
}

void amb_host_table_uninit(struct amb_host_table *t)
{
	unsigned int i;

	for (i = 0; i < AMB_HOST_HASH; i++) {
		while (t->hash[i]) {
			struct amb_host_series *s = t->hash[i];

			t->hash[i] = s->next;
			series_free(s);
		}
	}
	series_free(t->overflow);
	pthread_mutex_destroy(&t->lock);
}

static struct amb_host_series **bucket(struct amb_host_table *t, const struct amb_host_row *k)
{
	uintptr_t mix =
		(uintptr_t)k->host / 8 + (uintptr_t)k->workload / 16 + (uintptr_t)k->identity / 32;

	return &t->hash[(mix ^ mix >> 6) % AMB_HOST_HASH];
}

/* Interned: the same text is the same pointer. */
static bool equal(const struct amb_host_row *a, const struct amb_host_row *b)
{
	return a->workload == b->workload && a->canonical == b->canonical &&
	       a->revision == b->revision && a->ns == b->ns && a->cluster == b->cluster &&
	       a->identity == b->identity && a->host == b->host;
}

static struct amb_host_series *series_create(const struct amb_host_row *k)
{
	struct amb_host_series *s = calloc(1, sizeof(*s));

	if (s)
		row_get(&s->row, k);
	return s;
}

static void drop_stale(struct amb_host_table *t, uint64_t now)
{
	unsigned int i;

	for (i = 0; i < AMB_HOST_HASH; i++) {
		struct amb_host_series **p = &t->hash[i];

		while (*p) {
			struct amb_host_series *s = *p;

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

/* With the lock held. NULL: out of memory. */
static struct amb_host_series *series_add(struct amb_host_table *t, const struct amb_host_row *k,
					  uint64_t now)
{
	static const struct amb_host_row unknown;
	struct amb_host_series *s;

	if (t->n >= AMB_METRICS_HOST_SERIES)
		drop_stale(t, now);
	if (t->n >= AMB_METRICS_HOST_SERIES) {
		if (!t->overflow)
			t->overflow = series_create(&unknown);
		return t->overflow;
	}
	s = series_create(k);
	if (!s)
		return NULL;
	s->next = *bucket(t, k);
	*bucket(t, k) = s;
	t->n++;
	return s;
}

void amb_host_table_count(struct amb_host_table *t, const struct amb_workload *source, amb_str host)
{
	const struct amb_host_row k = {
		.workload = source->workload_name,
		.canonical = source->canonical_name,
		.revision = source->canonical_revision,
		.ns = source->ns,
		.cluster = source->cluster,
		.identity = source->identity,
		.host = host,
	};
	uint64_t now = amb_util_now_ns();
	struct amb_host_series *s;

	pthread_mutex_lock(&t->lock);
	for (s = *bucket(t, &k); s && !equal(&s->row, &k); s = s->next)
		;
	if (!s)
		s = series_add(t, &k, now);
	if (s) {
		s->used_ns = now;
		s->row.n++;
	}
	pthread_mutex_unlock(&t->lock);
}

long amb_host_table_rows(struct amb_host_table *t, struct amb_host_row **out)
{
	const struct amb_host_series *s;
	struct amb_host_row *rows;
	unsigned int i;
	long n = 0;

	pthread_mutex_lock(&t->lock);
	rows = malloc((t->n + 1) * sizeof(*rows));
	for (i = 0; rows && i < AMB_HOST_HASH; i++)
		for (s = t->hash[i]; s; s = s->next)
			row_get(&rows[n++], &s->row);
	if (rows && t->overflow)
		row_get(&rows[n++], &t->overflow->row);
	pthread_mutex_unlock(&t->lock);
	*out = rows;
	return rows ? n : -ENOMEM;
}

void amb_host_table_put(struct amb_host_row *rows, long n)
{
	while (n > 0)
		row_put(&rows[--n]);
	free(rows);
}
