// SPDX-License-Identifier: GPL-2.0-or-later
/* ztunnel's environment (reference 8.3): what is so without it, and what each variable changes. */
#include "harness.h"

#include "base/util.h"
#include "options.h"

#include <stddef.h>
#include <stdlib.h>

enum kind { TEXT, BOOL, INT, U8, U16, U32, U64 };

#define AT(kind, field) kind, offsetof(struct amb_options, field)

static const struct row {
	const char *set[2];
	enum kind kind;
	size_t at;
	const char *want;
} rows[] = {
	{ {}, AT(BOOL, istiod.on_demand), "0" },
	{ { "XDS_ON_DEMAND=true" }, AT(BOOL, istiod.on_demand), "1" },
	{ {}, AT(TEXT, istiod.xds_roots), "./var/run/secrets/istio/root-cert.pem" },
	{ {}, AT(TEXT, istiod.ca_roots), "./var/run/secrets/istio/root-cert.pem" },
	{ { "XDS_ROOT_CA=/r" }, AT(TEXT, istiod.xds_roots), "/r" },
	{ {}, AT(TEXT, istiod.token), "./var/run/secrets/tokens/istio-token" },
	{ { "AUTH_TOKEN=/t" }, AT(TEXT, istiod.token), "/t" },
	{ {}, AT(TEXT, istiod.instance_ip), "1.1.1.1" },
	{ {}, AT(BOOL, istiod.dedicated), "0" },
	{ {}, AT(TEXT, cluster), "Kubernetes" },
	{ { "ISTIO_META_CLUSTER_ID=c1" }, AT(TEXT, cluster), "c1" },
	{ { "ISTIO_META_CLUSTER_ID=c1", "CLUSTER_ID=c2" }, AT(TEXT, cluster), "c2" },
	{ {}, AT(TEXT, domain), "cluster.local" },
	{ { "CLUSTER_DOMAIN=example.org" }, AT(TEXT, domain), "example.org" },
	{ {}, AT(TEXT, network), "" },
	{ { "NETWORK=n1" }, AT(TEXT, network), "n1" },
	{ { "TRUST_DOMAIN=td" }, AT(TEXT, trust_domain), "td" },
	{ { "PREFERED_SERVICE_NAMESPACE=ns" }, AT(TEXT, prefer_ns), "ns" },
	{ {}, AT(U64, cert_ttl), "86400000000000" },
	{ { "SECRET_TTL=1h" }, AT(U64, cert_ttl), "3600000000000" },
	{ { "INPOD_UDS=/s" }, AT(TEXT, zds), "/s" },
	{ {}, AT(BOOL, proxy.port_reuse), "1" },
	{ { "INPOD_PORT_REUSE=false" }, AT(BOOL, proxy.port_reuse), "0" },
	{ {}, AT(U32, packet_mark), "1337" },
	{ { "PACKET_MARK=7" }, AT(U32, packet_mark), "7" },
	{ {}, AT(INT, proxy.orig_src), "-1" },
	{ { "ENABLE_ORIG_SRC=true" }, AT(INT, proxy.orig_src), "1" },
	{ { "ENABLE_ORIG_SRC=false" }, AT(INT, proxy.orig_src), "0" },
	{ {}, AT(BOOL, proxy.ipv6), "1" },
	{ { "IPV6_ENABLED=false" }, AT(BOOL, proxy.ipv6), "0" },
	{ {}, AT(BOOL, keepalive.enabled), "1" },
	{ { "KEEPALIVE_ENABLED=false" }, AT(BOOL, keepalive.enabled), "0" },
	{ {}, AT(U16, keepalive.time_s), "180" },
	{ { "KEEPALIVE_TIME=60s" }, AT(U16, keepalive.time_s), "60" },
	{ {}, AT(U16, keepalive.interval_s), "180" },
	{ { "KEEPALIVE_INTERVAL=1m" }, AT(U16, keepalive.interval_s), "60" },
	{ {}, AT(U8, keepalive.probes), "9" },
	{ { "KEEPALIVE_RETRIES=3" }, AT(U8, keepalive.probes), "3" },
	{ {}, AT(BOOL, keepalive.user_timeout), "0" },
	{ { "USER_TIMEOUT_ENABLED=true" }, AT(BOOL, keepalive.user_timeout), "1" },
	{ {}, AT(U32, proxy.hbone.stream_window), "4194304" },
	{ { "HTTP2_STREAM_WINDOW_SIZE=65535" }, AT(U32, proxy.hbone.stream_window), "65535" },
	{ {}, AT(U32, proxy.hbone.conn_window), "16777216" },
	{ { "HTTP2_CONNECTION_WINDOW_SIZE=65536" }, AT(U32, proxy.hbone.conn_window), "65536" },
	{ {}, AT(U32, proxy.hbone.frame_size), "1048576" },
	{ { "HTTP2_FRAME_SIZE=16384" }, AT(U32, proxy.hbone.frame_size), "16384" },
	{ {}, AT(U32, proxy.hbone.max_streams), "200" },
	{ {}, AT(U32, proxy.pool_streams), "100" },
	{ { "POOL_MAX_STREAMS_PER_CONNECTION=5" }, AT(U32, proxy.pool_streams), "5" },
	{ {}, AT(U64, proxy.pool_idle_ns), "300000000000" },
	{ { "POOL_UNUSED_RELEASE_TIMEOUT=10s" }, AT(U64, proxy.pool_idle_ns), "10000000000" },
	{ {}, AT(U64, drain), "5000000000" },
	{ { "CONNECTION_TERMINATION_DEADLINE=7s" }, AT(U64, drain), "7000000000" },
	{ { "TERMINATION_GRACE_PERIOD_SECONDS=30" }, AT(U64, drain), "25000000000" },
	{ { "TERMINATION_GRACE_PERIOD_SECONDS=11" }, AT(U64, drain), "6000000000" },
	{ { "TERMINATION_GRACE_PERIOD_SECONDS=10" }, AT(U64, drain), "9000000000" },
	{ { "TERMINATION_GRACE_PERIOD_SECONDS=1" }, AT(U64, drain), "0" },
	{ { "TERMINATION_GRACE_PERIOD_SECONDS=30", "CONNECTION_TERMINATION_DEADLINE=7s" },
	  AT(U64, drain),
	  "7000000000" },
	{ { "CRL_PATH=/c" }, AT(TEXT, crl), "/c" },
	{ {}, AT(BOOL, proxy.localhost_app_tunnel), "1" },
	{ { "LOCALHOST_APP_TUNNEL=false" }, AT(BOOL, proxy.localhost_app_tunnel), "0" },
	{ {}, AT(BOOL, proxy.response_baggage), "1" },
	{ { "ENABLE_RESPONSE_BAGGAGE=false" }, AT(BOOL, proxy.response_baggage), "0" },
	{ {}, AT(BOOL, proxy.policy_log), "0" },
	{ { "AUTHZ_POLICY_INFO_LOGGING=true" }, AT(BOOL, proxy.policy_log), "1" },
	{ {}, AT(TEXT, log_filter), "info" },
	{ { "RUST_LOG=info,access=warn" }, AT(TEXT, log_filter), "info,access=warn" },
	{ {}, AT(BOOL, log_json), "0" },
	{ { "LOG_FORMAT=plain" }, AT(BOOL, log_json), "0" },
	{ { "LOG_FORMAT=json" }, AT(BOOL, log_json), "1" },
	{ {}, AT(BOOL, dns), "1" },
	{ { "ISTIO_META_DNS_CAPTURE=false" }, AT(BOOL, dns), "0" },
	{ {}, AT(U16, proxy.dns_at.port), "15053" },
	{ { "ISTIO_META_DNS_PROXY_ADDR=localhost:53" }, AT(U16, proxy.dns_at.port), "53" },
	{ {}, AT(U16, admin_port), "15000" },
	{ {}, AT(U16, metrics_port), "15020" },
	{ {}, AT(U16, ready_port), "15021" },
};

static const char *read_field(const struct amb_options *o, const struct row *r)
{
	const void *p = (const char *)o + r->at;
	static char text[32];

	switch (r->kind) {
	case TEXT:
		return *(const char *const *)p ?: "(none)";
	case BOOL:
		snprintf(text, sizeof(text), "%d", *(const bool *)p);
		break;
	case INT:
		snprintf(text, sizeof(text), "%d", *(const int *)p);
		break;
	case U8:
		snprintf(text, sizeof(text), "%u", *(const uint8_t *)p);
		break;
	case U16:
		snprintf(text, sizeof(text), "%u", *(const uint16_t *)p);
		break;
	case U32:
		snprintf(text, sizeof(text), "%u", *(const uint32_t *)p);
		break;
	case U64:
		snprintf(text, sizeof(text), "%llu", (unsigned long long)*(const uint64_t *)p);
		break;
	}
	return text;
}

TEST(environment)
{
	char *argv[] = { "ambientd", "--standalone", "/x", "--node", "n", "--no-intercept", NULL };
	struct amb_options o;
	size_t i, j;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].set[0] ? rows[i].set[0] : rows[i].want);
		clearenv();
		for (j = 0; j < 2 && rows[i].set[j]; j++)
			CHECK_EQ(putenv((char *)rows[i].set[j]), 0);
		amb_options_parse(&o, AMB_ARRAY_SIZE(argv) - 1, argv);
		CHECK_STR(read_field(&o, &rows[i]), rows[i].want);
	}
	clearenv();
}

/* As its DaemonSet starts it. */
TEST(proxy_ztunnel)
{
	char *argv[] = { "ambientd", "proxy", "ztunnel", NULL };
	struct amb_options o;

	clearenv();
	CHECK_EQ(setenv("NODE_NAME", "n1", 1), 0);
	amb_options_parse(&o, AMB_ARRAY_SIZE(argv) - 1, argv);
	CHECK(o.as_ztunnel && o.istiod.used);
	CHECK_STR(o.node, "n1");
	CHECK_STR(o.zds, "/var/run/ztunnel/ztunnel.sock");
	CHECK_STR(o.trust_domain, "cluster.local");
	CHECK_EQ(o.capture, AMB_CAPTURE_CNI);
	clearenv();
}

int main(void)
{
	return harness_run();
}
