// SPDX-License-Identifier: GPL-2.0-or-later
/* What ztunnel's environment says of the control plane (reference 1.1, 8.3). */
#include "harness.h"

#include "base/util.h"
#include "istiod_env.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(defaults)
{
	struct amb_istiod_env e;

	clearenv();
	amb_istiod_env_read(&e);
	CHECK(!e.given && !e.on_demand && !e.dedicated);
	CHECK_STR(e.xds, "https://localhost:15012");
	CHECK_STR(e.ca, "https://localhost:15012");
	CHECK_STR(e.xds_roots, AMB_ISTIOD_ROOTS);
	CHECK_STR(e.token, AMB_ISTIOD_TOKEN);
	CHECK_STR(e.instance_ip, "1.1.1.1");
	setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
	amb_istiod_env_read(&e);
	CHECK(e.given);
	CHECK_STR(e.xds, "https://istiod.istio-system.svc:15012");
	CHECK_STR(e.ca, "https://istiod.istio-system.svc:15012");
}

TEST(addresses)
{
	struct amb_istiod_env e;

	clearenv();
	setenv("XDS_ADDRESS", "istiod.x.svc:15012", 1);
	setenv("ALT_CA_HOSTNAME", "other", 1);
	setenv("XDS_ON_DEMAND", "true", 1);
	setenv("CA_ROOT_CA", "SYSTEM", 1);
	amb_istiod_env_read(&e);
	CHECK(e.given && e.on_demand && !e.xds_alt);
	CHECK_STR(e.xds, "istiod.x.svc:15012");
	CHECK_STR(e.ca, "https://localhost:15012");
	CHECK_STR(e.ca_alt, "other");
	CHECK_STR(e.ca_roots, "SYSTEM");
	/* An empty address turns it off. */
	setenv("XDS_ADDRESS", "", 1);
	amb_istiod_env_read(&e);
	CHECK(!e.given && !e.xds && e.ca);
}

TEST(headers)
{
	struct amb_istiod_env e;

	clearenv();
	setenv("XDS_HEADER_X-Tenant", "blue", 1);
	setenv("XDS_HEADER_", "nothing", 1);
	setenv("CA_HEADER_a", "1=2", 1);
	amb_istiod_env_read(&e);
	CHECK(e.nxds_headers == 1 && e.nca_headers == 1);
	CHECK_STR(e.xds_headers[0].name, "x-tenant");
	CHECK_STR(e.xds_headers[0].value, "blue");
	CHECK_STR(e.ca_headers[0].name, "a");
	CHECK_STR(e.ca_headers[0].value, "1=2");
	free((char *)e.xds_headers[0].name);
	free((char *)e.ca_headers[0].name);
}

/* Exit status of a process that reads an environment with one variable. */
static int status_with(const char *name, const char *value)
{
	struct amb_istiod_env e;
	int status = -1;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		clearenv();
		setenv(name, value, 1);
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		amb_istiod_env_read(&e);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(values_that_cannot_be_meant)
{
	CHECK_EQ(status_with("XDS_ADDRESS", "http://istiod:15010"), 64);
	CHECK_EQ(status_with("CA_ADDRESS", "istiod:99999"), 64);
	CHECK_EQ(status_with("XDS_ON_DEMAND", "maybe"), 64);
	CHECK_EQ(status_with("PROXY_MODE", "sidecar"), 64);
	CHECK_EQ(status_with("PROXY_MODE", "dedicated"), 64);
	CHECK_EQ(status_with("PROXY_MODE", "shared"), 0);
	CHECK_EQ(status_with("XDS_ADDRESS", "istiod:15012"), 0);
}

TEST(dedicated)
{
	struct amb_istiod_env e;

	clearenv();
	setenv("PROXY_MODE", "dedicated", 1);
	setenv("PROXY_WORKLOAD_INFO", "ns/name/sa", 1);
	amb_istiod_env_read(&e);
	CHECK(e.dedicated);
	CHECK_STR(e.workload, "ns/name/sa");
}

TEST(strange_variables)
{
	static const char *const environment[] = {
		"PATH=/bin",
		"AMBIENT_CACHE=x",
		"AMBIENT_RESOLV_CONF=x",
		"AMBIENT_SOCKET=x",
		"AMBIENT_TIER=ktls",
		"AMBIENT_WORKERS=1",
		"XDS_ADDRESS=x",
		"XDS_HEADER_FOO=x",
		"XDS_ADRESS=x",
		"ISTIO_META_ANYTHING=x",
		"ISTIO_PILOT=x",
		"ISTIO_INGRESSGATEWAY_SERVICE_HOST=10.0.0.1",
		"ISTIO_INGRESSGATEWAY_PORT_80_TCP_ADDR=10.0.0.1",
		"PROXY_PORT=tcp://10.0.0.1:80",
		"CRL_PATH=/x",
		"FAKE_CA=true",
		"CA_HEADER_X=y",
		"CA_THING=y",
		NULL,
	};
	static const char *const plain[] = { "PATH=/bin", "NODE_NAME=x", "KUBERNETES_PORT=1",
					     NULL };
	char unknown[256], unused[256];

	CHECK(amb_istiod_env_strange(environment, unknown, unused, sizeof(unknown)));
	CHECK_STR(unknown, "AMBIENT_CACHE XDS_ADRESS ISTIO_PILOT CA_THING");
	CHECK_STR(unused, "FAKE_CA");
	CHECK(!amb_istiod_env_strange(plain, unknown, unused, sizeof(unknown)));
}

/* Section 8.3: those of ztunnel's that have no effect here, one by one and named in the log. */
TEST(variables_without_effect)
{
	static const char *const rows[] = {
		"ENABLE_PROXY=false",
		"FAKE_CA=true",
		"TLS12_ENABLED=true",
		"UNSTABLE_ENABLE_SOCKS5=true",
		"ZTUNNEL_CPU_LIMIT=1",
		"ZTUNNEL_RESOURCE_CPU_LIMIT=1",
		"ZTUNNEL_RESOURCE_CPU_REQUEST=1",
	};
	char unknown[256], unused[256], name[64];
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		const char *const environment[] = { "PATH=/bin", rows[i], NULL };

		CASE(rows[i]);
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(rows[i], "="), rows[i]);
		CHECK(amb_istiod_env_strange(environment, unknown, unused, sizeof(unknown)));
		CHECK_STR(unused, name);
		CHECK_STR(unknown, "");
	}
}

int main(void)
{
	return harness_run();
}
