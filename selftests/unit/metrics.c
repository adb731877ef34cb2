// SPDX-License-Identifier: GPL-2.0-or-later
/* Metrics: exact text, sums over workers, bounded label sets, content negotiation. */
#include "admin/metrics.h"
#include "admin/series.h"
#include "base/log.h"
#include "flow_data.h"
#include "harness.h"
#include "proxy/live.h"

#include <pthread.h>

static char *out;

static bool stats(void *ctx, struct amb_proxy_stats *st)
{
	(void)ctx;
	st->open_sockets[AMB_INBOUND] = 3;
	st->open_sockets[AMB_OUTBOUND] = 4;
	st->ways[AMB_WAY_TUNNEL] = 5;
	st->reasons[AMB_REASON_POLICY_DENY] = 6;
	st->handshakes = 7;
	return true;
}

static bool gauges(void *ctx, struct amb_metrics_gauges *g)
{
	(void)ctx;
	*g = (struct amb_metrics_gauges){ 2, 1, 5, 3, 40, 30, 20 };
	return true;
}

static bool xds(void *ctx, struct amb_metrics_xds *x)
{
	(void)ctx;
	*x = (struct amb_metrics_xds){
		.end = { { "ConnectionError", 3 }, { "Error", 0 }, { "Reconnect", 1 } },
		.type = { { "type/Address", 5, 600 }, { "type/Authorization", 0, 0 } },
	};
	return true;
}

static struct amb_metrics *create(void)
{
	struct amb_metrics_config config = {
		.workers = 2,
		.version = "1.30-\"x\"",
		.proxy = stats,
		.gauges = gauges,
		.xds = xds,
	};

	amb_log_set_filter("off");
	return amb_metrics_create(&config);
}

/* Reads the whole text in pieces of @piece bytes. */
static void scrape(struct amb_metrics *m, size_t piece)
{
	struct amb_scrape *s = amb_metrics_scrape(m);
	size_t len = 0;
	ssize_t n;

	CHECK(s);
	free(out);
	out = malloc(64 << 20);
	while ((n = amb_scrape_read(s, out + len, piece)) > 0)
		len += n;
	CHECK_EQ(n, 0);
	out[len] = 0;
	amb_scrape_destroy(s);
}

/* The lines of out that begin with @name, in a static buffer. */
static const char *lines(const char *name)
{
	static char buf[1 << 16];
	const char *p = out;
	size_t len = 0;

	while (*p) {
		size_t n = strcspn(p, "\n") + 1;

		if (!strncmp(p, name, strlen(name))) {
			memcpy(buf + len, p, n);
			len += n;
		}
		p += n;
	}
	buf[len] = 0;
	return buf;
}

#define PEERS                                                                                      \
	"source_workload=\"client\",source_canonical_service=\"client-app\","                      \
	"source_canonical_revision=\"v1\",source_workload_namespace=\"apps\","                     \
	"source_principal=\"spiffe://cluster.local/ns/apps/sa/client\",source_app=\"client-app\"," \
	"source_version=\"v1\",source_cluster=\"c1\","                                             \
	"destination_service=\"web.shop.svc.cluster.local\","                                      \
	"destination_service_namespace=\"shop\",destination_service_name=\"web\","                 \
	"destination_workload=\"web\",destination_canonical_service=\"web\","                      \
	"destination_canonical_revision=\"unknown\",destination_workload_namespace=\"shop\","      \
	"destination_principal=\"spiffe://cluster.local/ns/shop/sa/web\","                         \
	"destination_app=\"web\",destination_version=\"unknown\",destination_cluster=\"c1\","      \
	"request_protocol=\"tcp\","
#define LOCALITY                                                                                   \
	"connection_security_policy=\"mutual_tls\",source_region=\"unknown\","                     \
	"source_zone=\"unknown\",destination_region=\"r1\",destination_zone=\"z1\"} "

TEST(exact_text)
{
	struct amb_metrics *m = create();
	const struct amb_flow_hooks *h = amb_metrics_hooks(m);
	struct amb_flow f = flow_outbound();
	void *a, *b, *c;

	a = h->opened(h->ctx, 0, &f);
	b = h->opened(h->ctx, 1, &f);
	c = h->opened(h->ctx, 1, &f);
	CHECK(b == c);
	CHECK(a != b);
	h->closed(h->ctx, 0, a, &f);
	f.flag = AMB_FLAG_DENY;
	h->closed(h->ctx, 1, b, &f);
	scrape(m, 100);
	CHECK_STR(lines("istio_tcp_connections_opened_total"),
		  "istio_tcp_connections_opened_total{reporter=\"source\"," PEERS
		  "response_flags=\"-\"," LOCALITY "3\n");
	CHECK_STR(lines("istio_tcp_connections_closed_total"),
		  "istio_tcp_connections_closed_total{reporter=\"source\"," PEERS
		  "response_flags=\"-\"," LOCALITY "1\n"
		  "istio_tcp_connections_closed_total{reporter=\"source\"," PEERS
		  "response_flags=\"DENY\"," LOCALITY "1\n");
	CHECK_STR(lines("istio_tcp_connections_failed_total"),
		  "istio_tcp_connections_failed_total{reporter=\"source\"," PEERS
		  "response_flags=\"DENY\"," LOCALITY "1\n");
	CHECK_STR(lines("istio_tcp_received_bytes_total"),
		  "istio_tcp_received_bytes_total{reporter=\"source\"," PEERS
		  "response_flags=\"-\"," LOCALITY "200\n");
	CHECK_STR(lines("istio_tcp_sent_bytes_total"),
		  "istio_tcp_sent_bytes_total{reporter=\"source\"," PEERS
		  "response_flags=\"-\"," LOCALITY "4000\n");
	CHECK_STR(lines("# TYPE istio_tcp_sent_bytes"), "# TYPE istio_tcp_sent_bytes counter\n");
	CHECK_STR(lines("istio_build"),
		  "istio_build{component=\"ztunnel\",tag=\"1.30-\\\"x\\\"\"} 1\n");
	CHECK_STR(lines("istio_tcp_sockets_open"),
		  "istio_tcp_sockets_open{reporter=\"destination\"} 3\n"
		  "istio_tcp_sockets_open{reporter=\"source\"} 4\n");
	CHECK_STR(lines("workload_manager_"), "workload_manager_active_proxy_count 2\n"
					      "workload_manager_pending_proxy_count 1\n"
					      "workload_manager_proxies_started_total 5\n"
					      "workload_manager_proxies_stopped_total 3\n");
	CHECK_STR(lines("amb_state_"), "amb_state_workloads 40\n"
				       "amb_state_services 30\n"
				       "amb_state_policies 20\n");
	CHECK_STR(lines("istio_xds_"),
		  "istio_xds_connection_terminations_total{reason=\"ConnectionError\"} 3\n"
		  "istio_xds_connection_terminations_total{reason=\"Reconnect\"} 1\n"
		  "istio_xds_message_total{url=\"type/Address\"} 5\n"
		  "istio_xds_message_bytes_total{url=\"type/Address\"} 600\n");
	CHECK_STR(lines("istio_crl_untracked_connections"),
		  "istio_crl_untracked_connections_total{reporter=\"source\"} 0\n"
		  "istio_crl_untracked_connections_total{reporter=\"destination\"} 0\n");
	CHECK_STR(lines("amb_connections_total"), "amb_connections_total{way=\"tunnel\"} 5\n");
	CHECK_STR(lines("amb_ended_total"), "amb_ended_total{reason=\"policy_deny\"} 6\n");
	CHECK(atoi(lines("process_open_fds ") + strlen("process_open_fds ")) >= 3);
	CHECK(!strcmp(out + strlen(out) - 6, "# EOF\n"));
	h->closed(h->ctx, 1, c, &f);
	amb_metrics_destroy(m);
}

/* Section 7.3: opened says nothing of it, closed says it, and all but "-" have failed, too. */
TEST(flags)
{
	static const struct {
		enum amb_flag flag;
		const char *text;
	} rows[] = {
		{ AMB_FLAG_NONE, "-" },
		{ AMB_FLAG_DENY, "DENY" },
		{ AMB_FLAG_CONNECT, "CONNECT" },
		{ AMB_FLAG_TLS_FAILURE, "TLS_FAILURE" },
		{ AMB_FLAG_H2_HANDSHAKE_FAILURE, "H2_HANDSHAKE_FAILURE" },
		{ AMB_FLAG_NETWORK_POLICY, "NETWORK_POLICY" },
		{ AMB_FLAG_IDENTITY_ERROR, "IDENTITY_ERROR" },
		{ AMB_FLAG_CERT_REVOKED, "CERT_REVOKED" },
	};
	char want[4096];
	size_t i;

	CHECK_EQ(sizeof(rows) / sizeof(rows[0]), AMB_FLAG_MAX);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct amb_metrics *m = create();
		const struct amb_flow_hooks *h = amb_metrics_hooks(m);
		struct amb_flow f = flow_outbound();
		void *cookie = h->opened(h->ctx, 0, &f);

		CASE(rows[i].text);
		f.flag = rows[i].flag;
		h->closed(h->ctx, 0, cookie, &f);
		scrape(m, 1 << 20);
		CHECK_STR(lines("istio_tcp_connections_opened_total"),
			  "istio_tcp_connections_opened_total{reporter=\"source\"," PEERS
			  "response_flags=\"-\"," LOCALITY "1\n");
		snprintf(want, sizeof(want),
			 "istio_tcp_connections_closed_total{reporter=\"source\"," PEERS
			 "response_flags=\"%s\"," LOCALITY "1\n",
			 rows[i].text);
		CHECK_STR(lines("istio_tcp_connections_closed_total"), want);
		snprintf(want, sizeof(want),
			 "istio_tcp_connections_failed_total{reporter=\"source\"," PEERS
			 "response_flags=\"%s\"," LOCALITY "1\n",
			 rows[i].text);
		CHECK_STR(lines("istio_tcp_connections_failed_total"),
			  rows[i].flag == AMB_FLAG_NONE ? "" : want);
		amb_metrics_destroy(m);
	}
}

TEST(causes_of_flags)
{
	static const struct {
		enum amb_reason reason;
		enum amb_flag flag;
	} rows[] = {
		{ AMB_REASON_NONE, AMB_FLAG_NONE },
		{ AMB_REASON_POLICY_DENY, AMB_FLAG_DENY },
		{ AMB_REASON_POLICY_NOT_ALLOWED, AMB_FLAG_DENY },
		{ AMB_REASON_POLICY_CHANGE, AMB_FLAG_DENY },
		{ AMB_REASON_CONNECT, AMB_FLAG_CONNECT },
		{ AMB_REASON_CONNECT_STATUS, AMB_FLAG_CONNECT },
		{ AMB_REASON_TIMEOUT, AMB_FLAG_CONNECT },
		{ AMB_REASON_TLS, AMB_FLAG_TLS_FAILURE },
		{ AMB_REASON_CERT_EXPIRED, AMB_FLAG_TLS_FAILURE },
		{ AMB_REASON_H2, AMB_FLAG_H2_HANDSHAKE_FAILURE },
		{ AMB_REASON_NO_CERT, AMB_FLAG_IDENTITY_ERROR },
		{ AMB_REASON_PEER_IDENTITY, AMB_FLAG_IDENTITY_ERROR },
		{ AMB_REASON_CERT_REVOKED, AMB_FLAG_CERT_REVOKED },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(amb_live_flag(rows[i].reason), rows[i].flag);
}

/* Section 7.2; a counter's samples end with _total, its name does not. */
TEST(types)
{
	static const char *const rows[][2] = {
		{ "istio_tcp_connections_opened", "counter" },
		{ "istio_tcp_connections_closed", "counter" },
		{ "istio_tcp_received_bytes", "counter" },
		{ "istio_tcp_sent_bytes", "counter" },
		{ "istio_tcp_connections_failed", "counter" },
		{ "istio_tcp_sockets_open", "gauge" },
		{ "istio_on_demand_dns", "counter" },
		{ "istio_crl_policy_rejections", "counter" },
		{ "istio_crl_untracked_connections", "counter" },
		{ "istio_build", "gauge" },
		{ "istio_xds_connection_terminations", "counter" },
		{ "istio_xds_message", "counter" },
		{ "istio_xds_message_bytes", "counter" },
		{ "istio_dns_requests", "counter" },
		{ "istio_dns_upstream_requests", "counter" },
		{ "istio_dns_upstream_failures", "counter" },
		{ "istio_dns_upstream_request_duration_seconds", "histogram" },
		{ "workload_manager_active_proxy_count", "gauge" },
		{ "workload_manager_pending_proxy_count", "gauge" },
		{ "workload_manager_proxies_started", "counter" },
		{ "workload_manager_proxies_stopped", "counter" },
		{ "process_open_fds", "gauge" },
		{ "process_max_fds", "gauge" },
	};
	struct amb_metrics *m = create();
	char head[128], want[160];
	size_t i;

	scrape(m, 1 << 20);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CASE(rows[i][0]);
		snprintf(head, sizeof(head), "# TYPE %s ", rows[i][0]);
		snprintf(want, sizeof(want), "%s%s\n", head, rows[i][1]);
		CHECK_STR(lines(head), want);
	}
	amb_metrics_destroy(m);
}

/* The bytes of a live connection, as a worker tells them at a scrape. */
static void tell(const struct amb_flow_hooks *h, void *cookie, uint64_t to_dst, uint64_t to_src)
{
	h->bytes_begin(h->ctx, 0);
	if (cookie)
		h->bytes(h->ctx, 0, cookie, to_dst, to_src);
	h->bytes_end(h->ctx, 0);
}

static unsigned long long received(struct amb_metrics *m)
{
	const char *line;

	scrape(m, 1 << 20);
	line = lines("istio_tcp_received_bytes_total");
	return strtoull(strrchr(line, ' '), NULL, 10);
}

TEST(long_connections_count_while_they_live)
{
	struct amb_metrics *m = create();
	const struct amb_flow_hooks *h = amb_metrics_hooks(m);
	struct amb_flow f = flow_outbound();
	void *a = h->opened(h->ctx, 0, &f), *b = h->opened(h->ctx, 0, &f);

	CHECK_EQ(received(m), 0);
	tell(h, a, 50, 1);
	CHECK_EQ(received(m), 50);
	tell(h, a, 60, 1);
	CHECK_EQ(received(m), 60);
	/* Ended with 100: not both what it told and what it left. */
	h->closed(h->ctx, 0, a, &f);
	CHECK_EQ(received(m), 100);
	tell(h, b, 7, 1);
	CHECK_EQ(received(m), 107);
	h->closed(h->ctx, 0, b, &f);
	tell(h, NULL, 0, 0);
	CHECK_EQ(received(m), 200);
	amb_metrics_destroy(m);
}

TEST(unknown_peers)
{
	struct amb_metrics *m = create();
	const struct amb_flow_hooks *h = amb_metrics_hooks(m);
	struct amb_flow f = flow_plain();

	f.src_workload = NULL;
	f.direction = AMB_INBOUND;
	h->closed(h->ctx, 0, h->opened(h->ctx, 0, &f), &f);
	scrape(m, 1 << 20);
	CHECK(strstr(lines("istio_tcp_connections_opened_total"),
		     "_total{reporter=\"destination\",source_workload=\"unknown\""));
	/* No peer is known: no locality labels at all. */
	CHECK(strstr(lines("istio_tcp_connections_opened_total"),
		     "response_flags=\"-\",connection_security_policy=\"unknown\"} 1\n"));
	amb_metrics_destroy(m);
}

TEST(state_comes_before_baggage)
{
	struct amb_metrics *m = create();
	const struct amb_flow_hooks *h = amb_metrics_hooks(m);
	struct amb_baggage b = { .ns = "far", .workload = "other", .service = "app" };
	struct amb_flow f = flow_outbound();

	f.src_baggage = f.dst_baggage = &b;
	h->closed(h->ctx, 0, h->opened(h->ctx, 0, &f), &f);
	scrape(m, 1 << 20);
	CHECK_STR(lines("istio_tcp_connections_opened_total"),
		  "istio_tcp_connections_opened_total{reporter=\"source\"," PEERS
		  "response_flags=\"-\"," LOCALITY "1\n");
	/* Of another network only the answer's baggage tells. */
	f.dst_workload = NULL;
	h->closed(h->ctx, 0, h->opened(h->ctx, 0, &f), &f);
	scrape(m, 1 << 20);
	CHECK(strstr(out, "destination_workload=\"other\",destination_canonical_service=\"app\","
			  "destination_canonical_revision=\"unknown\","
			  "destination_workload_namespace=\"far\""));
	amb_metrics_destroy(m);
}

TEST(principals_need_mtls)
{
	struct amb_metrics *m = create();
	const struct amb_flow_hooks *h = amb_metrics_hooks(m);
	struct amb_flow f = flow_outbound();

	f.mtls = false;
	h->closed(h->ctx, 0, h->opened(h->ctx, 0, &f), &f);
	scrape(m, 1 << 20);
	CHECK(!strstr(out, "spiffe://"));
	amb_metrics_destroy(m);
}

TEST(peers_text_cannot_break_the_format)
{
	struct amb_metrics *m = create();
	const struct amb_flow_hooks *h = amb_metrics_hooks(m);
	struct amb_baggage b = { .ns = "a\"b\\c\nd", .workload = "x\xff\xc3\xa9" };
	struct amb_flow f = flow_plain();

	f.src_workload = NULL;
	f.src_baggage = &b;
	h->closed(h->ctx, 0, h->opened(h->ctx, 0, &f), &f);
	scrape(m, 1 << 20);
	CHECK(strstr(lines("istio_tcp_connections_opened_total"),
		     "source_workload=\"x?\xc3\xa9\""));
	CHECK(strstr(lines("istio_tcp_connections_opened_total"),
		     "source_workload_namespace=\"a\\\"b\\\\c\\nd\""));
	amb_metrics_destroy(m);
}

TEST(label_sets_are_bounded)
{
	struct amb_metrics *m = create();
	const struct amb_flow_hooks *h = amb_metrics_hooks(m);
	struct amb_baggage b = { .workload = "" };
	struct amb_flow f = flow_plain();
	void *live;
	int i;

	f.src_workload = NULL;
	f.src_baggage = &b;
	strcpy(b.workload, "keeper");
	live = h->opened(h->ctx, 0, &f);
	for (i = 0; i < AMB_METRICS_SERIES + 10; i++) {
		snprintf(b.workload, sizeof(b.workload), "w%d", i);
		h->closed(h->ctx, 0, h->opened(h->ctx, 0, &f), &f);
	}
	scrape(m, 1 << 20);
	CHECK_STR(lines("amb_metrics_overflow_total"), "amb_metrics_overflow_total 11\n");
	CHECK(strstr(lines("istio_tcp_connections_opened_total{reporter=\"source\",source_workload="
			   "\"unknown\""),
		     "} 11\n"));
	/* Sets nobody used for long make room, sets of live connections do not. */
	f.start_ns = f.end_ns = AMB_METRICS_STALE_NS + 2;
	strcpy(b.workload, "fresh");
	h->closed(h->ctx, 0, h->opened(h->ctx, 0, &f), &f);
	strcpy(b.workload, "keeper");
	CHECK(h->opened(h->ctx, 0, &f) == live);
	scrape(m, 1 << 20);
	CHECK(strstr(out, "\"fresh\""));
	CHECK(strstr(out, "\"keeper\""));
	CHECK(!strstr(out, "\"w17\""));
	CHECK_STR(lines("amb_metrics_overflow_total"), "amb_metrics_overflow_total 11\n");
	h->closed(h->ctx, 0, live, &f);
	h->closed(h->ctx, 0, live, &f);
	amb_metrics_destroy(m);
}

static void *churn(void *arg)
{
	const struct amb_flow_hooks *h = arg;
	struct amb_baggage b = { .workload = "" };
	struct amb_flow f = flow_plain();
	int i;

	f.src_workload = NULL;
	f.src_baggage = &b;
	for (i = 0; i < 3 * AMB_METRICS_SERIES; i++) {
		f.start_ns = f.end_ns = i * (AMB_METRICS_STALE_NS / 4096);
		snprintf(b.workload, sizeof(b.workload), "w%d", i);
		h->closed(h->ctx, 1, h->opened(h->ctx, 1, &f), &f);
	}
	return NULL;
}

TEST(scrapes_beside_a_busy_worker)
{
	struct amb_metrics *m = create();
	pthread_t thread;
	int i;

	CHECK_EQ(pthread_create(&thread, NULL, churn, (void *)amb_metrics_hooks(m)), 0);
	for (i = 0; i < 5; i++)
		scrape(m, 4096);
	pthread_join(thread, NULL);
	scrape(m, 4096);
	CHECK(strstr(out, "\"w24575\""));
	CHECK(!strstr(out, "\"w0\""));
	amb_metrics_destroy(m);
}

TEST(content_type)
{
	static const struct {
		const char *accept;
		bool openmetrics;
	} rows[] = {
		{ NULL, false },
		{ "", false },
		{ "*/*", false },
		{ "text/plain;version=0.0.4", false },
		{ "application/openmetrics-text", true },
		{ "Application/OpenMetrics-Text; version=1.0.0;q=0.5,text/plain", true },
		{ "text/plain;q=0.3, application/openmetrics-text;version=0.0.1", true },
		{ "application/openmetrics-textual", false },
		{ "text/plain;x=application/openmetrics-text", false },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CASE(rows[i].accept ? rows[i].accept : "(none)");
		CHECK_STR(amb_metrics_content_type(rows[i].accept),
			  rows[i].openmetrics ?
				  "application/openmetrics-text;charset=utf-8;version=1.0.0" :
				  "text/plain; charset=utf-8");
	}
}

static const struct amb_workload *asker(const char *canonical)
{
	static struct amb_workload w;

	amb_str_put(w.canonical_name);
	amb_str_put(w.canonical_revision);
	w.canonical_name = amb_str_intern(canonical, strlen(canonical));
	w.canonical_revision = amb_str_intern("v1", 2);
	return &w;
}

#define DNS(metric, type, protocol, service, revision)                                             \
	"istio_dns_" metric "{request_query_type=\"" type "\",request_protocol=\"" protocol        \
	"\",source_canonical_service=\"" service "\",source_canonical_revision=\"" revision "\"}"

TEST(dns)
{
	struct amb_metrics *m = create();
	const struct amb_flow_hooks *h = amb_metrics_hooks(m);
	struct amb_flow_dns d = { .type = "a", .workload = asker("web") };

	CASE("none yet: the names are there");
	scrape(m, 4096);
	CHECK_STR(lines("istio_dns_"), "");
	CHECK(strstr(out, "# TYPE istio_dns_requests counter\n"));
	/* over two workers, which are added up */
	h->dns(h->ctx, 0, &d);
	h->dns(h->ctx, 1, &d);
	d.forwarded = true;
	d.duration_ns = 400000;
	h->dns(h->ctx, 0, &d);
	d.duration_ns = 500000;
	h->dns(h->ctx, 0, &d);
	d.duration_ns = 500001;
	h->dns(h->ctx, 1, &d);
	d.duration_ns = 6000000000ull;
	d.failed = true;
	h->dns(h->ctx, 1, &d);
	d = (struct amb_flow_dns){ .type = "aaaa", .tcp = true };
	h->dns(h->ctx, 0, &d);
	CASE("counted");
	scrape(m, 4096);
	CHECK_STR(lines("istio_dns_requests"), DNS("requests_total", "a", "udp", "web",
						   "v1") " 6\n" DNS("requests_total", "aaaa", "tcp",
								    "unknown", "unknown") " 1\n");
	CHECK_STR(lines("istio_dns_upstream_requests"),
		  DNS("upstream_requests_total", "a", "udp", "web", "v1") " 4\n");
	CHECK_STR(lines("istio_dns_upstream_failures"),
		  DNS("upstream_failures_total", "a", "udp", "web", "v1") " 1\n");
#define BUCKET(le, n)                                                                              \
	"istio_dns_upstream_request_duration_seconds_bucket{request_query_type=\"a\","             \
	"request_protocol=\"udp\",source_canonical_service=\"web\","                               \
	"source_canonical_revision=\"v1\",le=\"" le "\"} " n "\n"
	CHECK_STR(lines("istio_dns_upstream_request_duration_seconds_bucket"),
		  BUCKET("0.0005", "2") BUCKET("0.001", "3") BUCKET("0.01", "3") BUCKET("0.1", "3")
			  BUCKET("1.0", "3") BUCKET("5.0", "3") BUCKET("+Inf", "4"));
	CHECK_STR(lines("istio_dns_upstream_request_duration_seconds_count"),
		  DNS("upstream_request_duration_seconds_count", "a", "udp", "web", "v1") " 4\n");
	CHECK_STR(lines("istio_dns_upstream_request_duration_seconds_sum"),
		  DNS("upstream_request_duration_seconds_sum", "a", "udp", "web",
		      "v1") " 6.001400\n");
	amb_metrics_destroy(m);
}

/* A node has so many workloads with DNS; what is more counts, without its name. */
TEST(dns_is_bounded)
{
	struct amb_metrics *m = create();
	const struct amb_flow_hooks *h = amb_metrics_hooks(m);
	struct amb_flow_dns d = { .type = "a" };
	unsigned int i, n = 0;
	const char *p;
	char name[32];

	for (i = 0; i < AMB_METRICS_DNS_SERIES + 100; i++) {
		snprintf(name, sizeof(name), "w%u", i);
		d.workload = asker(name);
		h->dns(h->ctx, 0, &d);
	}
	scrape(m, 4096);
	for (p = out; (p = strstr(p, "istio_dns_requests_total{")); p++)
		n++;
	CHECK_EQ(n, AMB_METRICS_DNS_SERIES + 1);
	CHECK(strstr(out, DNS("requests_total", "other", "udp", "unknown", "unknown") " 100\n"));
	CASE("those that are there go on");
	d.workload = asker("w0");
	h->dns(h->ctx, 0, &d);
	scrape(m, 4096);
	CHECK(strstr(out, DNS("requests_total", "a", "udp", "w0", "v1") " 2\n"));
	amb_metrics_destroy(m);
}

static amb_str text(const char *s)
{
	return amb_str_intern(s, strlen(s));
}

/* A workload of which telemetry reads the names; to be let go with forget(). */
static struct amb_workload named(const char *workload, const char *revision)
{
	return (struct amb_workload){
		.workload_name = text(workload),
		.canonical_name = text("shop-app"),
		.canonical_revision = text(revision),
		.ns = text("apps"),
		.cluster = text("c1"),
		.identity = amb_identity_intern("cluster.local", "apps", "shop"),
	};
}

static void forget(struct amb_workload *w)
{
	amb_str_put(w->workload_name);
	amb_str_put(w->canonical_name);
	amb_str_put(w->canonical_revision);
	amb_str_put(w->ns);
	amb_str_put(w->cluster);
	amb_identity_put(w->identity);
}

#define RESOLVED(workload, principal, app, revision, ns, cluster, host)                            \
	"istio_on_demand_dns_total{source_workload=\"" workload                                    \
	"\",source_canonical_service=\"" app "\",source_canonical_revision=\"" revision            \
	"\",source_workload_namespace=\"" ns "\",source_principal=\"" principal                    \
	"\",source_app=\"" app "\",source_version=\"" revision "\",source_cluster=\"" cluster      \
	"\",hostname=\"" host "\"} "
#define SHOP "spiffe://cluster.local/ns/apps/sa/shop"

TEST(names_resolved_for_connections)
{
	struct amb_workload w[] = { named("shop", "v1"), named("shop", ""), named("other", "v1") };
	size_t before = amb_str_count(), i;
	struct amb_metrics *m = create();
	const struct amb_flow_hooks *h = amb_metrics_hooks(m);
	amb_str db = text("db.example.com"), quoted = text("a\"b");

	CASE("none yet: the name is there");
	scrape(m, 4096);
	CHECK_STR(lines("istio_on_demand_dns"), "");
	CASE("counted by who and which name");
	h->resolve(h->ctx, &w[0], db);
	h->resolve(h->ctx, &w[0], db);
	scrape(m, 4096);
	CHECK_STR(lines("istio_on_demand_dns"),
		  RESOLVED("shop", SHOP, "shop-app", "v1", "apps", "c1", "db.example.com") "2\n");
	h->resolve(h->ctx, &w[1], db);
	h->resolve(h->ctx, &w[2], db);
	h->resolve(h->ctx, &w[0], quoted);
	scrape(m, 4096);
	CHECK(strstr(out, RESOLVED("shop", SHOP, "shop-app", "v1", "apps", "c1",
				   "db.example.com") "2\n"));
	CHECK(strstr(out, RESOLVED("shop", SHOP, "shop-app", "unknown", "apps", "c1",
				   "db.example.com") "1\n"));
	CHECK(strstr(out, RESOLVED("other", SHOP, "shop-app", "v1", "apps", "c1",
				   "db.example.com") "1\n"));
	CHECK(strstr(out, RESOLVED("shop", SHOP, "shop-app", "v1", "apps", "c1", "a\\\"b") "1\n"));
	amb_metrics_destroy(m);
	amb_str_put(db);
	amb_str_put(quoted);
	CASE("nothing is kept");
	CHECK_EQ(amb_str_count(), before);
	for (i = 0; i < 3; i++)
		forget(&w[i]);
}

TEST(resolved_names_are_bounded)
{
	struct amb_workload w = named("shop", "v1");
	struct amb_metrics *m = create();
	const struct amb_flow_hooks *h = amb_metrics_hooks(m);
	unsigned int i, n = 0;
	const char *p;
	char name[32];

	for (i = 0; i < AMB_METRICS_HOST_SERIES + 100; i++) {
		amb_str host;

		snprintf(name, sizeof(name), "h%u", i);
		host = text(name);
		h->resolve(h->ctx, &w, host);
		amb_str_put(host);
	}
	scrape(m, 4096);
	for (p = out; (p = strstr(p, "istio_on_demand_dns_total{")); p++)
		n++;
	CHECK_EQ(n, AMB_METRICS_HOST_SERIES + 1);
	CHECK(strstr(out, RESOLVED("unknown", "unknown", "unknown", "unknown", "unknown", "unknown",
				   "unknown") "100\n"));
	amb_metrics_destroy(m);
	forget(&w);
}

int main(void)
{
	int err = harness_run();

	free(out);
	return err;
}
