/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names that the agent resolved for connections, by who opened them and which name
 * (istio_on_demand_dns_total of ztunnel-interop 7.2). Private to metrics and scrape. One table for
 * all workers: resolving takes a lock that they share anyhow.
 */
#ifndef AMB_HOST_SERIES_H
#define AMB_HOST_SERIES_H

#include "labels.h"

#include "mesh/identity.h"
#include "mesh/state.h"

/* One label set; references, NULL unknown. */
struct amb_host_row {
	amb_str workload, canonical, revision, ns, cluster; /* of the source */
	amb_str host;
	struct amb_identity *identity; /* of the source */
	uint64_t n;
};

void amb_host_series_init(struct amb_labels *t);

/* A connection of @source needed the address of @host, an interned string. Any thread. */
void amb_host_series_count(struct amb_labels *t, const struct amb_workload *source, amb_str host);

/* Copies of the rows. Returns how many, or -ENOMEM. The caller gives them back. */
long amb_host_series_rows(struct amb_labels *t, struct amb_host_row **out);
void amb_host_series_put(struct amb_host_row *rows, long n);

#endif
