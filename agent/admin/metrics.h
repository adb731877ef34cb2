/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metrics with the names, labels and rules of ztunnel-interop 7.2 and 7.3, as OpenMetrics text.
 *
 * Each worker counts into label sets of its own without locks; a connection keeps a pointer to
 * its label set and nothing else. A scrape takes references and sums over workers.
 */
#ifndef AMB_METRICS_H
#define AMB_METRICS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/flow.h"
#include "proxy/proxy.h"

struct amb_metrics;
struct amb_scrape;

/*
 * Label sets of one worker. When they are full, those without a live connection that were not
 * used for AMB_METRICS_STALE_NS make room; when none is, the connection counts into a set whose
 * names are all "unknown" (and into amb_metrics_overflow_total).
 */
#define AMB_METRICS_SERIES 8192
#define AMB_METRICS_STALE_NS 600000000000ull

/* Label sets of DNS queries of one worker; what goes over that counts as "unknown". */
#define AMB_METRICS_DNS_SERIES 1024
/* Names resolved for connections, by who opened them; the same. */
#define AMB_METRICS_HOST_SERIES 1024

/* What others count: pods served and coming up, pods since start, sizes of the state's tables. */
struct amb_metrics_gauges {
	uint64_t active, pending;
	uint64_t started, stopped;
	uint64_t workloads, services, policies;
};

/* What the control plane's client counts: ends of streams, answers by type. */
#define AMB_METRICS_XDS_ENDS 4
#define AMB_METRICS_XDS_TYPES 3
struct amb_metrics_xds {
	struct {
		const char *reason;
		uint64_t n;
	} end[AMB_METRICS_XDS_ENDS];
	struct {
		const char *url;
		uint64_t messages, bytes;
	} type[AMB_METRICS_XDS_TYPES];
};

struct amb_metrics_config {
	unsigned int workers;
	const char *version; /* tag of istio_build */
	/* Asked at each scrape, on the scraping thread; each may be NULL; false: nothing. */
	bool (*proxy)(void *ctx, struct amb_proxy_stats *out);
	bool (*gauges)(void *ctx, struct amb_metrics_gauges *out);
	bool (*xds)(void *ctx, struct amb_metrics_xds *out);
	void *ctx;
};

/* NULL: out of memory. */
struct amb_metrics *amb_metrics_create(const struct amb_metrics_config *config);
/* After the proxy's end. */
void amb_metrics_destroy(struct amb_metrics *m);

/* Hooks for amb_proxy_create(): they count, and write the access log. */
const struct amb_flow_hooks *amb_metrics_hooks(struct amb_metrics *m);

/* Content type for a request with this Accept header (7.1; NULL: it has none). A constant. */
const char *amb_metrics_content_type(const char *accept);

/*
 * Starts a scrape: what is shown is chosen here, values are read as the text is made. NULL: out
 * of memory.
 */
struct amb_scrape *amb_metrics_scrape(struct amb_metrics *m);
/* Gives the next bytes of the text. 0: the end. -ENOMEM. */
ssize_t amb_scrape_read(struct amb_scrape *s, char *buf, size_t max);
void amb_scrape_destroy(struct amb_scrape *s);

#endif
