// SPDX-License-Identifier: GPL-2.0-or-later
/* What ztunnel's environment says of the control plane. */
#include "istiod_env.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/util.h"

static void __attribute__((noreturn, format(printf, 1, 2))) refuse(const char *fmt, ...)
{
	va_list ap;

	fputs("ambientd: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(EX_USAGE);
}

static const char *string(const char *name, const char *otherwise)
{
	const char *v = getenv(name);

	return v && *v ? v : otherwise;
}

static bool boolean(const char *name)
{
	const char *v = string(name, NULL);
	bool on = false;

	if (v && amb_util_parse_bool(v, &on))
		refuse("%s: '%s' is neither true nor false", name, v);
	return on;
}

/* An empty value turns the thing off. */
static const char *address(const char *name, bool *given)
{
	const char *v = getenv(name);
	char host[AMB_GRPC_HOST_MAX];
	uint16_t port;

	if (!v) {
		v = getenv("KUBERNETES_SERVICE_HOST") ? "https://istiod.istio-system.svc:15012" :
							"https://localhost:15012";
		*given |= getenv("KUBERNETES_SERVICE_HOST") != NULL;
		return v;
	}
	*given |= *v != 0;
	if (*v && amb_grpc_parse_url(v, host, &port))
		refuse("%s: '%s' is not https://host:port", name, v);
	return *v ? v : NULL;
}

/* PREFIX_NAME=value is a header "name: value". */
static size_t headers(const char *prefix, struct amb_grpc_header *out)
{
	size_t len = strlen(prefix), n = 0;
	char **v, *name, *p;

	for (v = environ; v && *v; v++) {
		const char *eq = strchr(*v, '=');

		if (strncmp(*v, prefix, len) || !eq || eq == *v + len)
			continue;
		if (n == AMB_GRPC_HEADERS_MAX - 1)
			refuse("%s: more than %d of these", prefix, AMB_GRPC_HEADERS_MAX - 1);
		name = strndup(*v + len, eq - *v - len);
		if (!name)
			refuse("out of memory");
		for (p = name; *p; p++)
			*p = tolower((unsigned char)*p);
		out[n++] = (struct amb_grpc_header){ name, eq + 1 };
	}
	return n;
}

void amb_istiod_env_read(struct amb_istiod_env *e)
{
	const char *mode = string("PROXY_MODE", "shared");
	int end = 0;

	*e = (struct amb_istiod_env){
		.xds_roots = string("XDS_ROOT_CA", AMB_ISTIOD_ROOTS),
		.ca_roots = string("CA_ROOT_CA", AMB_ISTIOD_ROOTS),
		.xds_alt = string("ALT_XDS_HOSTNAME", NULL),
		.ca_alt = string("ALT_CA_HOSTNAME", NULL),
		.token = string("AUTH_TOKEN", AMB_ISTIOD_TOKEN),
		.instance_ip = string("INSTANCE_IP", "1.1.1.1"),
		.pod_name = string("POD_NAME", ""),
		.pod_namespace = string("POD_NAMESPACE", ""),
		.on_demand = boolean("XDS_ON_DEMAND"),
		.dedicated = !strcmp(mode, "dedicated"),
		.workload = string("PROXY_WORKLOAD_INFO", NULL),
		.local_path = string("LOCAL_XDS_PATH", NULL),
		.local_text = string("LOCAL_XDS", NULL),
	};
	e->xds = address("XDS_ADDRESS", &e->given);
	e->ca = address("CA_ADDRESS", &e->given);
	e->given |= e->local_path || e->local_text;
	if (e->local_path && e->local_text)
		refuse("only one of LOCAL_XDS_PATH and LOCAL_XDS may be set");
	if (!e->dedicated && strcmp(mode, "shared"))
		refuse("PROXY_MODE: '%s' is neither shared nor dedicated", mode);
	if (e->dedicated && (!e->workload || sscanf(e->workload, "%*[^/]/%*[^/]/%*[^/]%n", &end) ||
			     !end || e->workload[end]))
		refuse("PROXY_MODE=dedicated needs PROXY_WORKLOAD_INFO=namespace/name/account");
	e->nxds_headers = headers("XDS_HEADER_", e->xds_headers);
	e->nca_headers = headers("CA_HEADER_", e->ca_headers);
}

/* Strange variables */

/* Have an effect here. A name that ends with '*' stands for all that begin so. */
static const char *const known[] = {
	"ALT_CA_HOSTNAME",
	"ALT_XDS_HOSTNAME",
	"AMBIENT_ABSENT",
	"AMBIENT_RESOLV_CONF",
	"AMBIENT_SOCKET", /* ambientctl's */
	"AMBIENT_TIER",
	"AMBIENT_WORKERS",
	"AUTHZ_POLICY_INFO_LOGGING",
	"AUTH_TOKEN",
	"CA_ADDRESS",
	"CA_HEADER_*",
	"CA_ROOT_CA",
	"CLUSTER_DOMAIN",
	"CLUSTER_ID",
	"COMPLIANCE_POLICY",
	"CONNECTION_TERMINATION_DEADLINE",
	"CRL_PATH",
	"ENABLE_ORIG_SRC",
	"ENABLE_RESPONSE_BAGGAGE",
	"HTTP2_CONNECTION_WINDOW_SIZE",
	"HTTP2_FRAME_SIZE",
	"HTTP2_STREAM_WINDOW_SIZE",
	"INPOD_PORT_REUSE",
	"INPOD_UDS",
	"INSTANCE_IP",
	"IPV6_ENABLED",
	"ISTIO_META_*",
	"ISTIO_METAJSON_*",
	"KEEPALIVE_ENABLED",
	"KEEPALIVE_INTERVAL",
	"KEEPALIVE_RETRIES",
	"KEEPALIVE_TIME",
	"LOCALHOST_APP_TUNNEL",
	"LOCAL_XDS",
	"LOCAL_XDS_PATH",
	"LOG_FORMAT",
	"NETWORK",
	"NODE_NAME",
	"PACKET_MARK",
	"POD_NAME",
	"POD_NAMESPACE",
	"POOL_MAX_STREAMS_PER_CONNECTION",
	"POOL_UNUSED_RELEASE_TIMEOUT",
	"PREFERED_SERVICE_NAMESPACE",
	"PROXY_CONFIG",
	"PROXY_MODE",
	"PROXY_WORKLOAD_INFO",
	"RUST_LOG",
	"SECRET_TTL",
	"TERMINATION_GRACE_PERIOD_SECONDS",
	"TRUST_DOMAIN",
	"USER_TIMEOUT_ENABLED",
	"XDS_ADDRESS",
	"XDS_HEADER_*",
	"XDS_ON_DEMAND",
	"XDS_ROOT_CA",
	"ZTUNNEL_WORKER_THREADS",
};

/* ztunnel's, of features that are not here. */
static const char *const elsewhere[] = {
	"ENABLE_PROXY",
	"FAKE_CA",
	"TLS12_ENABLED",
	"UNSTABLE_ENABLE_SOCKS5",
	"ZTUNNEL_CPU_LIMIT",
	"ZTUNNEL_RESOURCE_CPU_LIMIT",
	"ZTUNNEL_RESOURCE_CPU_REQUEST",
};

/* What begins so is meant for us, or for ztunnel. */
static const char *const ours[] = {
	"ALT_*",   "AMBIENT_*", "AUTHZ_*",    "CA_*",	     "COMPLIANCE_*",
	"HTTP2_*", "INPOD_*",	"ISTIO_*",    "KEEPALIVE_*", "LOCAL_XDS*",
	"POOL_*",  "PROXY_*",	"UNSTABLE_*", "XDS_*",	     "ZTUNNEL_*",
};

static bool in(const char *const *list, size_t n, const char *name)
{
	size_t i;

	for (i = 0; i < n; i++) {
		size_t len = strlen(list[i]);

		if (list[i][len - 1] == '*' ? !strncmp(list[i], name, len - 1) :
					      !strcmp(list[i], name))
			return true;
	}
	return false;
}

/* REDIS_SERVICE_HOST, REDIS_PORT_6379_TCP_ADDR: Kubernetes names every Service so. */
static bool of_a_service(const char *name)
{
	size_t len = strlen(name);

	return strstr(name, "_SERVICE_HOST") || strstr(name, "_SERVICE_PORT") ||
	       strstr(name, "_PORT_") || (len > 5 && !strcmp(name + len - 5, "_PORT"));
}

static void append(char *buf, size_t room, const char *name)
{
	size_t at = strlen(buf);

	snprintf(buf + at, room - at, "%s%s", at ? " " : "", name);
}

bool amb_istiod_env_strange(const char *const *environment, char *unknown, char *unused,
			    size_t room)
{
	char name[128];

	*unknown = *unused = 0;
	for (; environment && *environment; environment++) {
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(*environment, "="), *environment);
		if (in(known, AMB_ARRAY_SIZE(known), name))
			continue;
		if (in(elsewhere, AMB_ARRAY_SIZE(elsewhere), name))
			append(unused, room, name);
		else if (in(ours, AMB_ARRAY_SIZE(ours), name) && !of_a_service(name))
			append(unknown, room, name);
	}
	return *unknown || *unused;
}
