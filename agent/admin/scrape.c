// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A scrape: the metrics as OpenMetrics text, made piece by piece as the client takes it, so
 * that ten thousand label sets neither fill the memory nor hold up the main loop.
 */
#include "metrics.h"

#include "metrics_priv.h"
#include "text.h"

#include "base/util.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define PIECE 16384 /* bytes made at a time */

struct amb_scrape {
	struct amb_metrics *m;
	struct amb_text text;
	struct amb_series **series;
	long n, at;
	unsigned int metric;
	bool tail_done;
};

enum traffic { OPENED, CLOSED, RECEIVED, SENT, FAILED, TRAFFIC_MAX };

static const struct {
	const char *name, *help;
} traffic[TRAFFIC_MAX] = {
	[OPENED] = { "istio_tcp_connections_opened", "The total number of TCP connections opened" },
	[CLOSED] = { "istio_tcp_connections_closed", "The total number of TCP connections closed" },
	[RECEIVED] = { "istio_tcp_received_bytes",
		       "The size of total bytes received during request in case of a TCP "
		       "connection" },
	[SENT] = { "istio_tcp_sent_bytes",
		   "The size of total bytes sent during response in case of a TCP connection" },
	[FAILED] = { "istio_tcp_connections_failed",
		     "The total number of TCP connections that ended with an error" },
};

static const char *const flags[AMB_FLAG_MAX] = {
	[AMB_FLAG_NONE] = "-",
	[AMB_FLAG_DENY] = "DENY",
	[AMB_FLAG_CONNECT] = "CONNECT",
	[AMB_FLAG_TLS_FAILURE] = "TLS_FAILURE",
	[AMB_FLAG_H2_HANDSHAKE_FAILURE] = "H2_HANDSHAKE_FAILURE",
	[AMB_FLAG_NETWORK_POLICY] = "NETWORK_POLICY",
	[AMB_FLAG_IDENTITY_ERROR] = "IDENTITY_ERROR",
	[AMB_FLAG_CERT_REVOKED] = "CERT_REVOKED",
};

static void put_head(struct amb_text *t, const char *name, const char *type, const char *help)
{
	amb_text_printf(t, "# HELP %s %s.\n# TYPE %s %s\n", name, help, name, type);
}

static void put_escaped(struct amb_text *t, const char *s)
{
	for (;;) {
		size_t n = strcspn(s, "\\\"\n");

		amb_text_put(t, s, n);
		s += n;
		if (!*s)
			return;
		amb_text_puts(t, *s == '\n' ? "\\n" : *s == '"' ? "\\\"" : "\\\\");
		s++;
	}
}

static void put_label_after(struct amb_text *t, const char *before, const char *name,
			    const char *value)
{
	amb_text_puts(t, before);
	amb_text_puts(t, name);
	amb_text_puts(t, "=\"");
	put_escaped(t, value && *value ? value : "unknown");
	amb_text_puts(t, "\"");
}

static void put_label(struct amb_text *t, const char *name, const char *value)
{
	put_label_after(t, ",", name, value);
}

static void put_principal_and_rest(struct amb_text *t, const char *side, const char **part)
{
	char name[64];

	snprintf(name, sizeof(name), "%s_principal", side);
	put_label(t, name, part[AMB_PART_PRINCIPAL]);
	snprintf(name, sizeof(name), "%s_app", side);
	put_label(t, name, part[AMB_PART_CANONICAL]);
	snprintf(name, sizeof(name), "%s_version", side);
	put_label(t, name, part[AMB_PART_REVISION]);
	snprintf(name, sizeof(name), "%s_cluster", side);
	put_label(t, name, part[AMB_PART_CLUSTER]);
}

static void put_peer(struct amb_text *t, const char *before, const char *side, const char **part)
{
	char name[64];

	snprintf(name, sizeof(name), "%s_workload", side);
	put_label_after(t, before, name, part[AMB_PART_WORKLOAD]);
	snprintf(name, sizeof(name), "%s_canonical_service", side);
	put_label(t, name, part[AMB_PART_CANONICAL]);
	snprintf(name, sizeof(name), "%s_canonical_revision", side);
	put_label(t, name, part[AMB_PART_REVISION]);
	snprintf(name, sizeof(name), "%s_workload_namespace", side);
	put_label(t, name, part[AMB_PART_NS]);
	put_principal_and_rest(t, side, part);
}

static const char *const policies[] = {
	[AMB_SECURITY_NONE] = "unknown",
	[AMB_SECURITY_MTLS] = "mutual_tls",
	[AMB_SECURITY_NODE] = "node_local",
};

static void put_labels(struct amb_text *t, const struct amb_series *s, enum amb_flag flag)
{
	const char *part[AMB_PART_MAX], **src = part + AMB_PART_SRC, **dst = part + AMB_PART_DST;
	struct amb_series_head head;
	unsigned int i;

	memcpy(&head, s->key, sizeof(head));
	for (i = 0; i < AMB_PART_MAX; i++)
		part[i] = i ? part[i - 1] + strlen(part[i - 1]) + 1 : amb_series_part(s, 0);
	amb_text_printf(t, "{reporter=\"%s\"",
			head.direction == AMB_INBOUND ? "destination" : "source");
	put_peer(t, ",", "source", src);
	put_label(t, "destination_service", part[AMB_PART_SVC_HOST]);
	put_label(t, "destination_service_namespace", part[AMB_PART_SVC_NS]);
	put_label(t, "destination_service_name", part[AMB_PART_SVC_NAME]);
	put_peer(t, ",", "destination", dst);
	put_label(t, "request_protocol", "tcp");
	put_label(t, "response_flags", flags[flag]);
	put_label(t, "connection_security_policy", policies[head.security]);
	if (head.locality) {
		put_label(t, "source_region", src[AMB_PART_REGION]);
		put_label(t, "source_zone", src[AMB_PART_ZONE]);
		put_label(t, "destination_region", dst[AMB_PART_REGION]);
		put_label(t, "destination_zone", dst[AMB_PART_ZONE]);
	}
	amb_text_puts(t, "}");
}

static void put_sample(struct amb_text *t, enum traffic metric, const struct amb_series *s,
		       enum amb_flag flag, uint64_t value)
{
	amb_text_puts(t, traffic[metric].name);
	amb_text_puts(t, "_total");
	put_labels(t, s, flag);
	amb_text_printf(t, " %llu\n", (unsigned long long)value);
}

/* Both only grow, so the larger one does: ended connections may have left more than was shown. */
static uint64_t larger(const uint64_t *a, const uint64_t *b)
{
	uint64_t x = amb_series_read(a), y = amb_series_read(b);

	return AMB_MAX(x, y);
}

/* One metric of the series of one label set, which are @n neighbours. */
static void put_group(struct amb_text *t, enum traffic metric, struct amb_series **s, long n)
{
	uint64_t opened = 0, sent = 0, received = 0, closed[AMB_FLAG_MAX] = { 0 };
	unsigned int flag;
	long i;

	for (i = 0; i < n; i++) {
		opened += amb_series_read(&s[i]->opened);
		sent += larger(&s[i]->shown_sent, &s[i]->sent);
		received += larger(&s[i]->shown_received, &s[i]->received);
		for (flag = 0; flag < AMB_FLAG_MAX; flag++)
			closed[flag] += amb_series_read(&s[i]->closed[flag]);
	}
	if (!opened)
		return;
	if (metric == OPENED)
		put_sample(t, metric, *s, AMB_FLAG_NONE, opened);
	else if (metric == RECEIVED)
		put_sample(t, metric, *s, AMB_FLAG_NONE, received);
	else if (metric == SENT)
		put_sample(t, metric, *s, AMB_FLAG_NONE, sent);
	else
		for (flag = metric == FAILED; flag < AMB_FLAG_MAX; flag++)
			if (closed[flag])
				put_sample(t, metric, *s, flag, closed[flag]);
}

static bool same_key(const struct amb_series *a, const struct amb_series *b)
{
	return a->keylen == b->keylen && !memcmp(a->key, b->key, a->keylen);
}

/* Goes on with the traffic metrics; false when all of them are done. */
static bool step_traffic(struct amb_scrape *s)
{
	long n = 1;

	if (s->metric == TRAFFIC_MAX)
		return false;
	if (!s->at)
		put_head(&s->text, traffic[s->metric].name, "counter", traffic[s->metric].help);
	if (s->at < s->n) {
		while (s->at + n < s->n && same_key(s->series[s->at], s->series[s->at + n]))
			n++;
		put_group(&s->text, s->metric, s->series + s->at, n);
		s->at += n;
	}
	if (s->at >= s->n) {
		s->metric++;
		s->at = 0;
	}
	return true;
}

static void put_value(struct amb_text *t, const char *name, const char *type, const char *help,
		      uint64_t value)
{
	put_head(t, name, type, help);
	amb_text_printf(t, "%s%s %llu\n", name, strcmp(type, "counter") ? "" : "_total",
			(unsigned long long)value);
}

static uint64_t open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint64_t n = 0;

	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	/* less ".", ".." and the directory itself */
	return n > 3 ? n - 3 : 0;
}

static void put_process(struct amb_text *t)
{
	struct rlimit lim = { 0 };

	getrlimit(RLIMIT_NOFILE, &lim);
	put_value(t, "process_open_fds", "gauge", "Number of open file descriptors", open_fds());
	put_value(t, "process_max_fds", "gauge", "Maximum number of open file descriptors",
		  lim.rlim_cur);
}

static void put_gauges(struct amb_text *t, const struct amb_metrics_config *config)
{
	struct amb_metrics_gauges g = { 0 };

	if (!config->gauges || !config->gauges(config->ctx, &g))
		return;
	put_value(t, "workload_manager_active_proxy_count", "gauge",
		  "The total number current workloads with active proxies", g.active);
	put_value(t, "workload_manager_pending_proxy_count", "gauge",
		  "The total number current workloads with pending proxies", g.pending);
	put_value(t, "workload_manager_proxies_started", "counter",
		  "The total number of proxies that were started", g.started);
	put_value(t, "workload_manager_proxies_stopped", "counter",
		  "The total number of proxies that were stopped", g.stopped);
	put_value(t, "amb_state_workloads", "gauge", "Workloads known", g.workloads);
	put_value(t, "amb_state_services", "gauge", "Services known", g.services);
	put_value(t, "amb_state_policies", "gauge", "Policies known", g.policies);
}

static void put_xds(struct amb_text *t, const struct amb_metrics_config *config)
{
	struct amb_metrics_xds x = { 0 };
	int i;

	if (!config->xds || !config->xds(config->ctx, &x))
		return;
	put_head(t, "istio_xds_connection_terminations", "counter",
		 "The total number of completed connections to xds server");
	for (i = 0; i < AMB_METRICS_XDS_ENDS; i++) {
		if (x.end[i].n)
			amb_text_printf(
				t, "istio_xds_connection_terminations_total{reason=\"%s\"} %llu\n",
				x.end[i].reason, (unsigned long long)x.end[i].n);
	}
	put_head(t, "istio_xds_message", "counter", "Total number of messages received");
	for (i = 0; i < AMB_METRICS_XDS_TYPES; i++) {
		if (x.type[i].messages)
			amb_text_printf(t, "istio_xds_message_total{url=\"%s\"} %llu\n",
					x.type[i].url, (unsigned long long)x.type[i].messages);
	}
	put_head(t, "istio_xds_message_bytes", "counter", "Total number of bytes received");
	for (i = 0; i < AMB_METRICS_XDS_TYPES; i++) {
		if (x.type[i].messages)
			amb_text_printf(t, "istio_xds_message_bytes_total{url=\"%s\"} %llu\n",
					x.type[i].url, (unsigned long long)x.type[i].bytes);
	}
}

#define AMB_X(n, id, text) #id,
static const char *const reason_ids[] = { AMB_REASONS(AMB_X) };
static const char *const way_ids[] = { AMB_WAYS(AMB_X) };
#undef AMB_X

/* One sample for each entry of @ids that counted something. */
static void put_by(struct amb_text *t, const char *name, const char *help, const char *label,
		   const char *const *ids, const uint64_t *values, size_t n)
{
	size_t i;

	put_head(t, name, "counter", help);
	for (i = 0; i < n; i++) {
		char id[64];
		size_t c;

		if (!values[i])
			continue;
		for (c = 0; ids[i][c] && c < sizeof(id) - 1; c++)
			id[c] = tolower((unsigned char)ids[i][c]);
		id[c] = 0;
		amb_text_printf(t, "%s_total{%s=\"%s\"} %llu\n", name, label, id,
				(unsigned long long)values[i]);
	}
}

static void put_revoked(struct amb_text *t, const char *reporter, uint64_t n)
{
	if (n)
		amb_text_printf(t, "istio_crl_policy_rejections_total{reporter=\"%s\"} %llu\n",
				reporter, (unsigned long long)n);
}

/*
 * Always 0, so that who watches it sees that it is: a peer that cannot be held against the lists
 * is refused (tls.c), a connection whose peer was not kept in mind is ended (recheck.c, adopt.c).
 */
static void put_untracked(struct amb_text *t)
{
	put_head(t, "istio_crl_untracked_connections", "counter",
		 "The total number of connections not tracked for CRL enforcement (unstable)");
	amb_text_puts(t, "istio_crl_untracked_connections_total{reporter=\"source\"} 0\n"
			 "istio_crl_untracked_connections_total{reporter=\"destination\"} 0\n");
}

static void put_tiers(struct amb_text *t, const struct amb_proxy_stats *st)
{
	const char *names[AMB_TIER_MAX];
	size_t i;

	for (i = 0; i < AMB_TIER_MAX; i++)
		names[i] = amb_tier_name(i);
	put_by(t, "amb_tunnels", "Tunnel connections by who carries and encrypts them", "tier",
	       names, st->tiers, AMB_TIER_MAX);
}

static void put_proxy(struct amb_text *t, const struct amb_metrics_config *config)
{
	struct amb_proxy_stats st = { 0 };

	if (!config->proxy || !config->proxy(config->ctx, &st))
		return;
	put_head(t, "istio_tcp_sockets_open", "gauge", "The number of sockets open now");
	amb_text_printf(t, "istio_tcp_sockets_open{reporter=\"destination\"} %llu\n",
			(unsigned long long)st.open_sockets[AMB_INBOUND]);
	amb_text_printf(t, "istio_tcp_sockets_open{reporter=\"source\"} %llu\n",
			(unsigned long long)st.open_sockets[AMB_OUTBOUND]);
	put_by(t, "amb_connections", "Connections by the way they took", "way", way_ids, st.ways,
	       AMB_WAY_MAX);
	put_by(t, "amb_ended", "Connections refused or ended by reason", "reason", reason_ids,
	       st.reasons, AMB_REASON_MAX);
	put_value(t, "amb_handshakes", "counter", "TLS handshakes that succeeded", st.handshakes);
	put_value(t, "amb_handshake_failures", "counter", "TLS handshakes that failed",
		  st.handshake_failures);
	put_head(t, "istio_crl_policy_rejections", "counter",
		 "The total number of connections rejected due to CRL certificate revocation "
		 "(unstable)");
	put_revoked(t, "source", st.revoked[AMB_OUTBOUND]);
	put_revoked(t, "destination", st.revoked[AMB_INBOUND]);
	put_untracked(t);
	put_tiers(t, &st);
	put_value(t, "amb_tier_refused", "counter",
		  "Tunnel connections that the kernel took no keys of, or hbone.ko did not take",
		  st.tier_refused);
	put_value(t, "amb_rekeys_refused", "counter",
		  "Tunnel connections that ended because the kernel took no new key",
		  st.rekeys_refused);
	put_value(t, "amb_pool_hits", "counter", "Streams put on a connection that was there",
		  st.pool_hits);
	put_value(t, "amb_pool_dials", "counter", "Tunnel connections dialled", st.pool_dials);
}

static const struct {
	const char *name, *help;
} dns_counters[AMB_DNS_COUNTERS] = {
	[AMB_DNS_REQUESTS] = { "istio_dns_requests", "Total number of DNS requests (unstable)" },
	[AMB_DNS_UPSTREAM] = { "istio_dns_upstream_requests",
			       "Total number of DNS requests forwarded to upstream (unstable)" },
	[AMB_DNS_FAILURES] = { "istio_dns_upstream_failures",
			       "Total number of DNS requests that failed to forward upstream "
			       "(unstable)" },
};

static void put_dns_labels(struct amb_text *t, const struct amb_dns_row *r)
{
	amb_text_printf(t, "{request_query_type=\"%s\",request_protocol=\"%s\"", r->type,
			r->tcp ? "tcp" : "udp");
	put_label(t, "source_canonical_service", r->canonical);
	put_label(t, "source_canonical_revision", r->revision);
}

static void put_dns_histogram(struct amb_text *t, const struct amb_dns_row *r)
{
	static const char name[] = "istio_dns_upstream_request_duration_seconds";
	static const char *const bounds[AMB_DNS_BUCKETS] = AMB_DNS_BOUNDS_TEXT;
	unsigned long long sum = 0;
	unsigned int i;

	for (i = 0; i < AMB_DNS_BUCKETS; i++) {
		sum += r->buckets[i];
		amb_text_printf(t, "%s_bucket", name);
		put_dns_labels(t, r);
		amb_text_printf(t, ",le=\"%s\"} %llu\n", bounds[i], sum);
	}
	amb_text_printf(t, "%s_count", name);
	put_dns_labels(t, r);
	amb_text_printf(t, "} %llu\n%s_sum", sum, name);
	put_dns_labels(t, r);
	amb_text_printf(t, "} %.6f\n", r->sum_ns / 1e9);
}

static void put_dns(struct amb_text *t, const struct amb_metrics *m)
{
	struct amb_dns_row *rows = NULL;
	unsigned int c;
	long n, i;

	n = amb_dns_series_rows(m->dns, m->config.workers, &rows);
	if (n < 0)
		t->failed = true;
	for (c = 0; c < AMB_DNS_COUNTERS; c++) {
		put_head(t, dns_counters[c].name, "counter", dns_counters[c].help);
		for (i = 0; i < n; i++) {
			if (!rows[i].counters[c])
				continue;
			amb_text_printf(t, "%s_total", dns_counters[c].name);
			put_dns_labels(t, &rows[i]);
			amb_text_printf(t, "} %llu\n", (unsigned long long)rows[i].counters[c]);
		}
	}
	put_head(t, "istio_dns_upstream_request_duration_seconds", "histogram",
		 "Total time in seconds Istio takes to get DNS response from upstream (unstable)");
	for (i = 0; i < n; i++)
		if (rows[i].counters[AMB_DNS_UPSTREAM])
			put_dns_histogram(t, &rows[i]);
	amb_dns_series_put(rows, n);
}

static void put_hosts(struct amb_text *t, struct amb_metrics *m)
{
	struct amb_host_row *rows = NULL;
	long i, n = amb_host_series_rows(&m->hosts, &rows);

	if (n < 0)
		t->failed = true;
	put_head(t, "istio_on_demand_dns", "counter",
		 "The total number of requests that used on-demand DNS (unstable)");
	for (i = 0; i < n; i++) {
		const char *part[AMB_PART_PEER_MAX] = {
			[AMB_PART_WORKLOAD] = rows[i].workload,
			[AMB_PART_CANONICAL] = rows[i].canonical,
			[AMB_PART_REVISION] = rows[i].revision,
			[AMB_PART_NS] = rows[i].ns,
			[AMB_PART_PRINCIPAL] = rows[i].identity ? rows[i].identity->spiffe : NULL,
			[AMB_PART_CLUSTER] = rows[i].cluster,
		};

		amb_text_puts(t, "istio_on_demand_dns_total");
		put_peer(t, "{", "source", part);
		put_label(t, "hostname", rows[i].host);
		amb_text_printf(t, "} %llu\n", (unsigned long long)rows[i].n);
	}
	amb_host_series_put(rows, n);
}

static void put_tail(struct amb_scrape *s)
{
	struct amb_metrics *m = s->m;
	struct amb_text *t = &s->text;
	uint64_t overflows = 0;
	unsigned int i;

	put_proxy(t, &m->config);
	put_dns(t, m);
	put_hosts(t, m);
	put_head(t, "istio_build", "gauge", "Istio component build info");
	amb_text_puts(t, "istio_build{component=\"ztunnel\",tag=\"");
	put_escaped(t, m->version);
	amb_text_puts(t, "\"} 1\n");
	put_gauges(t, &m->config);
	put_xds(t, &m->config);
	put_process(t);
	for (i = 0; i < m->config.workers; i++)
		overflows += amb_series_read(&m->tables[i].overflows);
	put_value(t, "amb_metrics_overflow", "counter",
		  "Connections counted without names because there are too many label sets",
		  overflows);
	amb_text_puts(t, "# EOF\n");
}

struct amb_scrape *amb_metrics_scrape(struct amb_metrics *m)
{
	struct amb_scrape *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->m = m;
	s->n = amb_series_snapshot(m->tables, m->config.workers, &s->series);
	if (s->n < 0) {
		free(s);
		return NULL;
	}
	return s;
}

ssize_t amb_scrape_read(struct amb_scrape *s, char *buf, size_t max)
{
	while (amb_text_left(&s->text) < AMB_MIN(max, (size_t)PIECE) && !s->tail_done) {
		if (step_traffic(s))
			continue;
		put_tail(s);
		s->tail_done = true;
	}
	if (s->text.failed)
		return -ENOMEM;
	return amb_text_take(&s->text, buf, max);
}

void amb_scrape_destroy(struct amb_scrape *s)
{
	if (!s)
		return;
	while (s->n > 0)
		amb_series_put(s->series[--s->n]);
	free(s->series);
	amb_text_uninit(&s->text);
	free(s);
}
