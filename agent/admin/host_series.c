// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Label sets of resolved names. There are as many as the node's workloads have endpoints that are
 * known by name only.
 */
#include "host_series.h"

#include "metrics.h"

static const struct amb_labels_kind kind = {
	.size = sizeof(struct amb_host_row),
	.labels = offsetof(struct amb_host_row, n),
	.strs = 6,
	.identity = true,
	.max = AMB_METRICS_HOST_SERIES,
	.overflow = &(const struct amb_host_row){ 0 },
};
_Static_assert(offsetof(struct amb_host_row, identity) == 6 * sizeof(amb_str),
	       "strings come first");
_Static_assert(offsetof(struct amb_host_row, n) == 7 * sizeof(void *), "no padding among labels");

void amb_host_series_init(struct amb_labels *t)
{
	amb_labels_init(t, &kind);
}

void amb_host_series_count(struct amb_labels *t, const struct amb_workload *source, amb_str host)
{
	const struct amb_host_row key = {
		.workload = source->workload_name,
		.canonical = source->canonical_name,
		.revision = source->canonical_revision,
		.ns = source->ns,
		.cluster = source->cluster,
		.host = host,
		.identity = source->identity,
	};
	struct amb_host_row *r;

	pthread_mutex_lock(&t->lock);
	r = amb_labels_row(t, &key);
	if (r)
		r->n++;
	pthread_mutex_unlock(&t->lock);
}

long amb_host_series_rows(struct amb_labels *t, struct amb_host_row **out)
{
	void *rows = NULL;
	long n = amb_labels_copy(&kind, t, 1, &rows);

	*out = rows;
	return n;
}

void amb_host_series_put(struct amb_host_row *rows, long n)
{
	amb_labels_put(&kind, rows, n);
}
