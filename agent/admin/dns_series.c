// SPDX-License-Identifier: GPL-2.0-or-later
/* Label sets of DNS metrics. There are few: some types of records for each workload of the node. */
#include "dns_series.h"

#include "metrics.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t bounds[AMB_DNS_BUCKETS] = AMB_DNS_BOUNDS;

static const struct amb_labels_kind kind = {
	.size = sizeof(struct amb_dns_row),
	.labels = offsetof(struct amb_dns_row, counters),
	.strs = 2,
	.max = AMB_METRICS_DNS_SERIES,
	.overflow = &(const struct amb_dns_row){ .type = "other" },
};
_Static_assert(offsetof(struct amb_dns_row, type) == 2 * sizeof(amb_str), "strings come first");
_Static_assert(offsetof(struct amb_dns_row, counters) == 4 * sizeof(void *),
	       "no padding among labels");

void amb_dns_series_init(struct amb_labels *t)
{
	amb_labels_init(t, &kind);
}

void amb_dns_series_count(struct amb_labels *t, const struct amb_flow_dns *d)
{
	const struct amb_workload *w = d->workload;
	const struct amb_dns_row key = {
		.type = d->type,
		.tcp = d->tcp,
		.canonical = w ? w->canonical_name : NULL,
		.revision = w ? w->canonical_revision : NULL,
	};
	struct amb_dns_row *r;
	unsigned int i = 0;

	pthread_mutex_lock(&t->lock);
	r = amb_labels_row(t, &key);
	if (r) {
		r->counters[AMB_DNS_REQUESTS]++;
		r->counters[AMB_DNS_UPSTREAM] += d->forwarded;
		r->counters[AMB_DNS_FAILURES] += d->failed;
		while (d->duration_ns > bounds[i])
			i++;
		r->buckets[i] += d->forwarded;
		r->sum_ns += d->forwarded ? d->duration_ns : 0;
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

static int by_text(amb_str a, amb_str b)
{
	return strcmp(a ?: "", b ?: "");
}

static int by_labels(const void *a, const void *b)
{
	const struct amb_dns_row *x = a, *y = b;
	int c = strcmp(x->type, y->type);

	c = c ? c : (int)x->tcp - (int)y->tcp;
	c = c ? c : by_text(x->canonical, y->canonical);
	return c ? c : by_text(x->revision, y->revision);
}

/* Neighbours of one label set become one. */
static long merge(struct amb_dns_row *rows, long n)
{
	long i, m = 0;

	for (i = 0; i < n; i++) {
		if (m && !by_labels(&rows[m - 1], &rows[i])) {
			row_add(&rows[m - 1], &rows[i]);
			amb_labels_row_put(&kind, &rows[i]);
		} else {
			rows[m++] = rows[i];
		}
	}
	return m;
}

long amb_dns_series_rows(struct amb_labels *tables, unsigned int n, struct amb_dns_row **out)
{
	void *rows = NULL;
	long have = amb_labels_copy(&kind, tables, n, &rows);

	if (have < 0)
		return have;
	qsort(rows, have, sizeof(**out), by_labels);
	*out = rows;
	return merge(rows, have);
}

void amb_dns_series_put(struct amb_dns_row *rows, long n)
{
	amb_labels_put(&kind, rows, n);
}
