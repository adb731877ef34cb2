// SPDX-License-Identifier: GPL-2.0-or-later
/* ztunnel's environment (reference 8.3): what is so without it, and what each variable changes. */
#include "harness.h"

#include "base/util.h"
#include "options.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum kind { TEXT, BOOL, INT, U8, U16, U32, U64 };

/* The kind is the field's own. */
#define AT(field)                                                                                  \
	_Generic(((struct amb_options *)0)->field, const char *: TEXT, bool: BOOL, int: INT,       \
		 uint8_t: U8, uint16_t: U16, uint32_t: U32, uint64_t: U64),                        \
		offsetof(struct amb_options, field)

static const struct row {
	const char *set[2];
	enum kind kind;
	size_t at;
	const char *want;
} rows[] = {
	{ {}, AT(istiod.on_demand), "0" },
	{ { "XDS_ON_DEMAND=true" }, AT(istiod.on_demand), "1" },
	{ {}, AT(istiod.xds_roots), "./var/run/secrets/istio/root-cert.pem" },
	{ {}, AT(istiod.ca_roots), "./var/run/secrets/istio/root-cert.pem" },
	{ { "XDS_ROOT_CA=/r" }, AT(istiod.xds_roots), "/r" },
	{ { "CA_ROOT_CA=SYSTEM" }, AT(istiod.ca_roots), "SYSTEM" },
	{ { "XDS_ADDRESS=https://i:1" }, AT(istiod.xds), "https://i:1" },
	{ { "CA_ADDRESS=https://i:2" }, AT(istiod.ca), "https://i:2" },
	{ {}, AT(istiod.xds_alt), "(none)" },
	{ { "ALT_XDS_HOSTNAME=a" }, AT(istiod.xds_alt), "a" },
	{ {}, AT(istiod.ca_alt), "(none)" },
	{ { "ALT_CA_HOSTNAME=b" }, AT(istiod.ca_alt), "b" },
	{ {}, AT(istiod.local_path), "(none)" },
	{ { "LOCAL_XDS_PATH=/l" }, AT(istiod.local_path), "/l" },
	{ {}, AT(istiod.local_text), "(none)" },
	{ { "LOCAL_XDS=workloads: []" }, AT(istiod.local_text), "workloads: []" },
	{ {}, AT(istiod.token), "./var/run/secrets/tokens/istio-token" },
	{ { "AUTH_TOKEN=/t" }, AT(istiod.token), "/t" },
	{ {}, AT(istiod.instance_ip), "1.1.1.1" },
	{ { "INSTANCE_IP=10.0.0.1" }, AT(istiod.instance_ip), "10.0.0.1" },
	{ {}, AT(istiod.pod_name), "" },
	{ { "POD_NAME=p" }, AT(istiod.pod_name), "p" },
	{ {}, AT(istiod.pod_namespace), "" },
	{ { "POD_NAMESPACE=ns" }, AT(istiod.pod_namespace), "ns" },
	{ {}, AT(istiod.dedicated), "0" },
	{ {}, AT(cluster), "Kubernetes" },
	{ { "ISTIO_META_CLUSTER_ID=c1" }, AT(cluster), "c1" },
	{ { "ISTIO_META_CLUSTER_ID=c1", "CLUSTER_ID=c2" }, AT(cluster), "c2" },
	{ {}, AT(domain), "cluster.local" },
	{ { "CLUSTER_DOMAIN=example.org" }, AT(domain), "example.org" },
	{ {}, AT(network), "" },
	{ { "NETWORK=n1" }, AT(network), "n1" },
	{ { "TRUST_DOMAIN=td" }, AT(trust_domain), "td" },
	{ { "PREFERED_SERVICE_NAMESPACE=ns" }, AT(prefer_ns), "ns" },
	{ {}, AT(cert_ttl), "86400000000000" },
	{ { "SECRET_TTL=1h" }, AT(cert_ttl), "3600000000000" },
	{ { "INPOD_UDS=/s" }, AT(zds), "/s" },
	{ {}, AT(proxy.port_reuse), "1" },
	{ { "INPOD_PORT_REUSE=false" }, AT(proxy.port_reuse), "0" },
	{ {}, AT(packet_mark), "1337" },
	{ { "PACKET_MARK=7" }, AT(packet_mark), "7" },
	{ {}, AT(proxy.orig_src), "-1" },
	{ { "ENABLE_ORIG_SRC=true" }, AT(proxy.orig_src), "1" },
	{ { "ENABLE_ORIG_SRC=false" }, AT(proxy.orig_src), "0" },
	{ {}, AT(proxy.ipv6), "1" },
	{ { "IPV6_ENABLED=false" }, AT(proxy.ipv6), "0" },
	{ {}, AT(keepalive.enabled), "1" },
	{ { "KEEPALIVE_ENABLED=false" }, AT(keepalive.enabled), "0" },
	{ {}, AT(keepalive.time_s), "180" },
	{ { "KEEPALIVE_TIME=60s" }, AT(keepalive.time_s), "60" },
	{ {}, AT(keepalive.interval_s), "180" },
	{ { "KEEPALIVE_INTERVAL=1m" }, AT(keepalive.interval_s), "60" },
	{ {}, AT(keepalive.probes), "9" },
	{ { "KEEPALIVE_RETRIES=3" }, AT(keepalive.probes), "3" },
	{ {}, AT(keepalive.user_timeout), "0" },
	{ { "USER_TIMEOUT_ENABLED=true" }, AT(keepalive.user_timeout), "1" },
	{ {}, AT(proxy.hbone.stream_window), "4194304" },
	{ { "HTTP2_STREAM_WINDOW_SIZE=65535" }, AT(proxy.hbone.stream_window), "65535" },
	{ {}, AT(proxy.hbone.conn_window), "16777216" },
	{ { "HTTP2_CONNECTION_WINDOW_SIZE=65536" }, AT(proxy.hbone.conn_window), "65536" },
	{ {}, AT(proxy.hbone.frame_size), "1048576" },
	{ { "HTTP2_FRAME_SIZE=16384" }, AT(proxy.hbone.frame_size), "16384" },
	{ {}, AT(proxy.hbone.max_streams), "200" },
	/* 4.2, 4.6; no variable changes them */
	{ {}, AT(proxy.hbone.ping_interval_ns), "10000000000" },
	{ {}, AT(proxy.hbone.ping_timeout_ns), "20000000000" },
	{ {}, AT(proxy.dial_timeout_ns), "10000000000" },
	{ {}, AT(proxy.pool_streams), "100" },
	{ { "POOL_MAX_STREAMS_PER_CONNECTION=5" }, AT(proxy.pool_streams), "5" },
	{ {}, AT(proxy.pool_idle_ns), "300000000000" },
	{ { "POOL_UNUSED_RELEASE_TIMEOUT=10s" }, AT(proxy.pool_idle_ns), "10000000000" },
	{ {}, AT(drain), "5000000000" },
	{ { "CONNECTION_TERMINATION_DEADLINE=7s" }, AT(drain), "7000000000" },
	{ { "TERMINATION_GRACE_PERIOD_SECONDS=30" }, AT(drain), "25000000000" },
	{ { "TERMINATION_GRACE_PERIOD_SECONDS=11" }, AT(drain), "6000000000" },
	{ { "TERMINATION_GRACE_PERIOD_SECONDS=10" }, AT(drain), "9000000000" },
	{ { "TERMINATION_GRACE_PERIOD_SECONDS=1" }, AT(drain), "0" },
	{ { "TERMINATION_GRACE_PERIOD_SECONDS=30", "CONNECTION_TERMINATION_DEADLINE=7s" },
	  AT(drain),
	  "7000000000" },
	{ { "CRL_PATH=/c" }, AT(crl), "/c" },
	{ {}, AT(compliance), "(none)" },
	{ { "COMPLIANCE_POLICY=pqc" }, AT(compliance), "pqc" },
	{ {}, AT(proxy.localhost_app_tunnel), "1" },
	{ { "LOCALHOST_APP_TUNNEL=false" }, AT(proxy.localhost_app_tunnel), "0" },
	{ {}, AT(proxy.response_baggage), "1" },
	{ { "ENABLE_RESPONSE_BAGGAGE=false" }, AT(proxy.response_baggage), "0" },
	{ {}, AT(proxy.policy_log), "0" },
	{ { "AUTHZ_POLICY_INFO_LOGGING=true" }, AT(proxy.policy_log), "1" },
	{ {}, AT(log_filter), "info" },
	{ { "RUST_LOG=info,access=warn" }, AT(log_filter), "info,access=warn" },
	{ {}, AT(log_json), "0" },
	{ { "LOG_FORMAT=plain" }, AT(log_json), "0" },
	{ { "LOG_FORMAT=json" }, AT(log_json), "1" },
	{ {}, AT(dns), "1" },
	{ { "ISTIO_META_DNS_CAPTURE=false" }, AT(dns), "0" },
	{ {}, AT(proxy.dns_at.port), "15053" },
	{ { "ISTIO_META_DNS_PROXY_ADDR=localhost:53" }, AT(proxy.dns_at.port), "53" },
	{ {}, AT(admin_port), "15000" },
	{ {}, AT(metrics_port), "15020" },
	{ {}, AT(ready_port), "15021" },
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

static char asked[128][64];
static size_t nasked;

/* In place of the library's: it notes what is asked for. */
char *getenv(const char *name)
{
	size_t len = strlen(name), i;
	char **v;

	for (i = 0; i < nasked && strcmp(asked[i], name); i++)
		;
	if (i == nasked && nasked < AMB_ARRAY_SIZE(asked))
		snprintf(asked[nasked++], sizeof(asked[0]), "%s", name);
	for (v = environ; v && *v; v++) {
		if (!strncmp(*v, name, len) && (*v)[len] == '=')
			return *v + len + 1;
	}
	return NULL;
}

/* Nobody is told that a variable has no effect which the options come from. */
TEST(no_variable_that_is_read_is_strange)
{
	char *argv[] = { "ambientd", "--standalone", "/x", "--node", "n", NULL };
	char unknown[256], unused[256], set[80];
	const char *const environment[] = { set, NULL };
	struct amb_options o;
	size_t i;

	clearenv();
	nasked = 0;
	amb_options_parse(&o, AMB_ARRAY_SIZE(argv) - 1, argv);
	CHECK(nasked > 40 && nasked < AMB_ARRAY_SIZE(asked));
	for (i = 0; i < nasked; i++) {
		CASE(asked[i]);
		snprintf(set, sizeof(set), "%.63s=x", asked[i]);
		amb_istiod_env_strange(environment, unknown, unused, sizeof(unknown));
		CHECK_STR(unknown, "");
		CHECK_STR(unused, "");
	}
}

/* Status with which a process ends that parses @argv, and the first line that it says. */
static int status_of(int argc, char **argv, char *line, int size)
{
	int p[2], status = -1;
	struct amb_options o;
	FILE *f;
	pid_t pid;

	fflush(stdout);
	CHECK_EQ(pipe(p), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		dup2(p[1], STDOUT_FILENO);
		dup2(p[1], STDERR_FILENO);
		close(p[0]);
		amb_options_parse(&o, argc, argv);
		_exit(99);
	}
	close(p[1]);
	f = fdopen(p[0], "r");
	CHECK(f);
	if (!fgets(line, size, f))
		*line = 0;
	/* All of it, so that nobody writes to a pipe that is closed. */
	while (fgetc(f) != EOF)
		;
	fclose(f);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(workers)
{
	char *argv[] = { "ambientd", "--standalone", "/x", "--node", "n", NULL };
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	const struct {
		const char *value, *ours;
		long want;
	} rows[] = {
		{ NULL, NULL, cpus < 2 ? 1 : 2 },
		{ "", NULL, cpus < 2 ? 1 : 2 },
		{ "0", NULL, cpus },
		{ "3", NULL, 3 },
		{ "1000", NULL, 64 },
		{ "100%", NULL, cpus },
		{ "0.001%", NULL, 1 },
		{ "50%", NULL, (cpus + 1) / 2 },
		{ "51%", NULL, (cpus * 51 + 99) / 100 },
		{ "3", "4", 4 },
	};
	static const char *const bad[] = { "x", "-1", "1.5", "0%", "101%", "-5%", "%", "5%%" };
	struct amb_options o;
	char line[200];
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].value ?: "unset");
		clearenv();
		if (rows[i].value)
			setenv("ZTUNNEL_WORKER_THREADS", rows[i].value, 1);
		if (rows[i].ours)
			setenv("AMBIENT_WORKERS", rows[i].ours, 1);
		amb_options_parse(&o, AMB_ARRAY_SIZE(argv) - 1, argv);
		CHECK_EQ(o.proxy.workers, AMB_MIN(rows[i].want, 64));
	}
	unsetenv("AMBIENT_WORKERS");
	for (i = 0; i < AMB_ARRAY_SIZE(bad); i++) {
		CASE(bad[i]);
		setenv("ZTUNNEL_WORKER_THREADS", bad[i], 1);
		CHECK_EQ(status_of(AMB_ARRAY_SIZE(argv) - 1, argv, line, sizeof(line)), 64);
		CHECK(strstr(line, "ZTUNNEL_WORKER_THREADS"));
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

TEST(sub_commands)
{
	static const struct {
		const char *word[2], *says;
		int status;
	} rows[] = {
		{ { "version" }, "ambientd " AMB_VERSION "\n", 0 },
		{ { "help" }, "Usage: ambientd", 0 },
		{ { "prox" }, "ambientd: Too many arguments", 64 },
		{ { "proxy", "version" }, "ambientd: Too many arguments", 64 },
	};
	size_t i;

	clearenv();
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		char *argv[] = { "ambientd", (char *)rows[i].word[0], (char *)rows[i].word[1],
				 NULL };
		char line[200];

		CASE(rows[i].word[0]);
		CHECK_EQ(status_of(rows[i].word[1] ? 3 : 2, argv, line, sizeof(line)),
			 rows[i].status);
		line[strlen(rows[i].says)] = 0;
		CHECK_STR(line, rows[i].says);
	}
}

TEST(absent)
{
	char *argv[] = { "ambientd", "--standalone", "/x", "--node", "n", NULL, NULL };
	struct amb_options o;

	clearenv();
	amb_options_parse(&o, 5, argv);
	CHECK(!o.wait);
	CHECK_EQ(setenv("AMBIENT_ABSENT", "wait", 1), 0);
	amb_options_parse(&o, 5, argv);
	CHECK(o.wait);
	argv[5] = "--absent=refuse";
	amb_options_parse(&o, 6, argv);
	CHECK(!o.wait);
	CHECK_EQ(unsetenv("AMBIENT_ABSENT"), 0);
	argv[5] = "--absent=wait";
	amb_options_parse(&o, 6, argv);
	CHECK(o.wait);
	clearenv();
}

int main(void)
{
	return harness_run();
}
