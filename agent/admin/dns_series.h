/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Label sets of DNS metrics (ztunnel-interop 7.2) and their counters. Private to metrics and
 * scrape. The names in them are the state's interned strings, so equal ones are the same.
 */
#ifndef AMB_DNS_SERIES_H
#define AMB_DNS_SERIES_H

#include "labels.h"

#include "proxy/flow.h"

enum amb_dns_counter { AMB_DNS_REQUESTS, AMB_DNS_UPSTREAM, AMB_DNS_FAILURES, AMB_DNS_COUNTERS };

/* Upper bounds in nanoseconds, as numbers and as they stand in the text, in seconds. */
#define AMB_DNS_BUCKETS 7
#define AMB_DNS_BOUNDS                                                                             \
	{                                                                                          \
		500000, 1000000, 10000000, 100000000, 1000000000, 5000000000, UINT64_MAX           \
	}
#define AMB_DNS_BOUNDS_TEXT                                                                        \
	{                                                                                          \
		"0.0005", "0.001", "0.01", "0.1", "1.0", "5.0", "+Inf"                             \
	}

/* One label set. */
struct amb_dns_row {
	amb_str canonical, revision; /* references; NULL unknown */
	const char *type; /* a constant */
	uintptr_t tcp; /* 0 or 1; as wide as the others, so that there is no padding */
	uint64_t counters[AMB_DNS_COUNTERS];
	uint64_t buckets[AMB_DNS_BUCKETS]; /* each for itself, not summed up */
	uint64_t sum_ns;
};

/* For one worker, which alone counts; the table's lock is for those who show it. */
void amb_dns_series_init(struct amb_labels *t);

/* Counts a query. Worker. */
void amb_dns_series_count(struct amb_labels *t, const struct amb_flow_dns *d);

/*
 * The rows of @n tables, those of one label set added up. Returns how many, or -ENOMEM. The
 * caller gives them back.
 */
long amb_dns_series_rows(struct amb_labels *tables, unsigned int n, struct amb_dns_row **out);
void amb_dns_series_put(struct amb_dns_row *rows, long n);

#endif
