// SPDX-License-Identifier: GPL-2.0-or-later
/* What the command line and the environment say, with defaults. */
#include "options.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/util.h"
#include "cni/attachment.h"
#include "cni_pods.h"
#include "ctl/ask.h"
#include "kernel/netns.h"
#include "pconf.h"
#include "proxy/dns.h"

const char *argp_program_version = "ambientd " AMB_VERSION;

enum {
	OPT_STANDALONE = 256,
	OPT_NODE,
	OPT_CA,
	OPT_SOCKET,
	OPT_ZDS,
	OPT_CNI_DIR,
	OPT_NETWORK,
	OPT_CLUSTER,
	OPT_DOMAIN,
	OPT_TRUST_DOMAIN,
	OPT_ROOT_NS,
	OPT_LOG,
	OPT_LOG_JSON,
	OPT_KEEP,
	OPT_ABSENT,
	OPT_CAPTURE,
	OPT_NO_INTERCEPT,
	OPT_ALWAYS_TUNNEL,
	OPT_TIER,
	OPT_BPF_DIR,
	OPT_CGROUP,
	OPT_NO_DNS,
	OPT_SDS,
	OPT_SDS_CERT,
	OPT_SDS_ROOTS,
	OPT_CRL,
	OPT_SDS_SERVER,
	OPT_SDS_UID,
	OPT_RESOLV_CONF,
	OPT_PRIVILEGED,
	OPT_CERT_TTL,
	OPT_DRAIN,
	OPT_WORKERS,
	OPT_ADMIN_PORT,
	OPT_METRICS_PORT,
	OPT_READY_PORT,
};

static const struct argp_option options[] = {
	{ "standalone", OPT_STANDALONE, "DIR", 0,
	  "Serve the mesh that the Kubernetes and Istio YAML in DIR describes; without it istiod "
	  "says what there is (XDS_ADDRESS, CA_ADDRESS)",
	  1 },
	{ "node", OPT_NODE, "NAME", 0, "This node's name (spec.nodeName of its pods; NODE_NAME)",
	  1 },
	{ "ca", OPT_CA, "DIR", 0,
	  "Embedded CA: a directory made by 'ambientctl ca' (default /etc/ambient/ca)", 1 },
	{ "cert-ttl", OPT_CERT_TTL, "TIME", 0,
	  "Life of workload certificates (default 24h; SECRET_TTL)", 1 },
	{ "sds", OPT_SDS, "SOCKET", 0,
	  "Take certificates from the secret discovery service at this unix socket: SPIRE's agent, "
	  "istio-agent (SPIFFE_ENDPOINT_SOCKET)",
	  1 },
	{ "sds-cert", OPT_SDS_CERT, "NAME", 0,
	  "Name of every certificate there (default: its SPIFFE ID)", 1 },
	{ "sds-roots", OPT_SDS_ROOTS, "NAME", 0, "Name of the roots there (default ROOTCA)", 1 },
	{ "crl", OPT_CRL, "FILE", 0,
	  "Revocation lists, PEM or DER: peers that they name are refused (CRL_PATH)", 1 },
	{ "sds-server", OPT_SDS_SERVER, "SOCKET", 0,
	  "Serve the certificates of this node's workloads to an Envoy beside the agent", 1 },
	{ "sds-uid", OPT_SDS_UID, "UID", 0,
	  "A user who may have them, besides the agent's own; several if need be", 1 },
	{ "network", OPT_NETWORK, "ID", 0, "This node's network (NETWORK)", 2 },
	{ "cluster", OPT_CLUSTER, "ID", 0, "Cluster name (default Kubernetes; CLUSTER_ID)", 2 },
	{ "cluster-domain", OPT_DOMAIN, "NAME", 0,
	  "DNS domain of services (default cluster.local; CLUSTER_DOMAIN)", 2 },
	{ "trust-domain", OPT_TRUST_DOMAIN, "NAME", 0,
	  "SPIFFE trust domain (default: the CA's; TRUST_DOMAIN)", 2 },
	{ "root-namespace", OPT_ROOT_NS, "NAME", 0,
	  "Namespace of mesh-wide policies (default istio-system)", 2 },
	{ "workers", OPT_WORKERS, "N", 0,
	  "Threads that carry bytes (default: CPUs, at most 2; AMBIENT_WORKERS)", 3 },
	{ "drain", OPT_DRAIN, "TIME", 0,
	  "How long connections may finish on exit (default 5s; CONNECTION_TERMINATION_DEADLINE)",
	  3 },
	{ "capture", OPT_CAPTURE, "MODE", 0,
	  "How connections of pods come here: ebpf, nft, cni (a CNI's rules do it, see --zds), "
	  "none (somebody else's rules do it), or auto (default): cni with --zds, else ebpf where "
	  "it works, else nft",
	  3 },
	{ "no-intercept", OPT_NO_INTERCEPT, NULL, 0, "The same as --capture none", 3 },
	{ "always-tunnel", OPT_ALWAYS_TUNNEL, NULL, 0,
	  "Encrypt within the node too: no direct connections between its pods", 3 },
	{ "tier", OPT_TIER, "TIER", 0,
	  "Who encrypts tunnels: user (the agent), ktls (kernel TLS), kmod (kernel TLS, and "
	  "hbone.ko carries their bytes), or auto (default): kmod where the module is loaded, "
	  "else user (AMBIENT_TIER)",
	  3 },
	{ "no-dns", OPT_NO_DNS, NULL, 0,
	  "Leave the DNS queries of pods alone (ISTIO_META_DNS_CAPTURE=false)", 3 },
	{ "resolv-conf", OPT_RESOLV_CONF, "FILE", 0,
	  "Names the servers for names that are not of the mesh (default " AMB_DNS_RESOLV_CONF
	  "; AMBIENT_RESOLV_CONF)",
	  3 },
	{ "keep", OPT_KEEP, NULL, 0,
	  "Leave capture in place on exit: for the next agent, and fail closed until it comes", 3 },
	{ "absent", OPT_ABSENT, "ACTION", 0,
	  "What becomes of new connections that need an agent while none runs: refuse (default), "
	  "or wait for the next one (AMBIENT_ABSENT)",
	  3 },
	{ "bpf-dir", OPT_BPF_DIR, "DIR", 0,
	  "Where BPF maps and links are pinned (default " AMB_BPF_DIR ")", 4 },
	{ "cgroup", OPT_CGROUP, "DIR", 0, "Root of cgroup v2 (default: looked for)", 4 },
	{ "zds", OPT_ZDS, "PATH", 0,
	  "Serve the pods that the CNI at this socket hands over (INPOD_UDS; default with 'proxy "
	  "ztunnel': " AMB_ZDS_SOCKET "); '' for none",
	  3 },
	{ "cni-dir", OPT_CNI_DIR, "DIR", 0,
	  "Where the CNI plugin notes which pods it attached (default " AMB_ATTACHMENT_DIR ")", 3 },
	{ "socket", OPT_SOCKET, "PATH", 0,
	  "Control socket of ambientctl (default " AMB_ASK_SOCKET ")", 4 },
	{ "admin-port", OPT_ADMIN_PORT, "PORT", 0, "config_dump and logging (default 15000)", 4 },
	{ "metrics-port", OPT_METRICS_PORT, "PORT", 0, "Metrics (default 15020)", 4 },
	{ "ready-port", OPT_READY_PORT, "PORT", 0, "Readiness (default 15021)", 4 },
	{ "log", OPT_LOG, "FILTER", 0,
	  "Log levels: LEVEL or TARGET=LEVEL, comma separated (default info; RUST_LOG)", 5 },
	{ "log-json", OPT_LOG_JSON, NULL, 0, "Log JSON lines (LOG_FORMAT=json)", 5 },
	{ "privileged", OPT_PRIVILEGED, NULL, 0,
	  "Keep all capabilities and system calls (for debuggers)", 5 },
	{ 0 },
};

static uint64_t duration(const char *name, const char *text)
{
	uint64_t ns;

	if (amb_util_parse_duration(text, &ns)) {
		fprintf(stderr, "ambientd: %s: '%s' is not a duration (5s, 10m, 24h)\n", name,
			text);
		exit(EX_USAGE);
	}
	return ns;
}

static uint32_t number(const char *name, const char *text, uint32_t min, uint32_t max)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || v < min || v > max) {
		fprintf(stderr, "ambientd: %s: '%s' is not a number from %u to %u\n", name, text,
			min, max);
		exit(EX_USAGE);
	}
	return v;
}

static int tier(const char *name, const char *text)
{
	int i;

	for (i = 0; i < AMB_TIER_MAX; i++) {
		if (!strcmp(text, amb_tier_name(i)))
			return i;
	}
	if (!strcmp(text, "auto"))
		return AMB_OPTIONS_TIER_AUTO;
	fprintf(stderr, "ambientd: %s: '%s' is none of auto, user, ktls, kmod\n", name, text);
	exit(EX_USAGE);
}

/* Is it "wait"? */
static bool absent(const char *name, const char *text)
{
	bool wait = !strcmp(text, "wait");

	if (wait || !strcmp(text, "refuse"))
		return wait;
	fprintf(stderr, "ambientd: %s: '%s' is neither refuse nor wait\n", name, text);
	exit(EX_USAGE);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct amb_options *o = state->input;

	switch (key) {
	case OPT_STANDALONE:
		o->manifests = arg;
		return 0;
	case OPT_NODE:
		o->node = arg;
		return 0;
	case OPT_CA:
		o->ca_dir = arg;
		o->ca_given = true;
		return 0;
	case OPT_SOCKET:
		o->socket = arg;
		return 0;
	case OPT_CNI_DIR:
		o->cni_dir = arg;
		return 0;
	case OPT_ZDS:
		o->zds = arg;
		return 0;
	case OPT_NETWORK:
		o->network = arg;
		return 0;
	case OPT_CLUSTER:
		o->cluster = arg;
		return 0;
	case OPT_DOMAIN:
		o->domain = arg;
		return 0;
	case OPT_TRUST_DOMAIN:
		o->trust_domain = arg;
		return 0;
	case OPT_ROOT_NS:
		o->root_ns = arg;
		return 0;
	case OPT_LOG:
		o->log_filter = arg;
		return 0;
	case OPT_LOG_JSON:
		o->log_json = true;
		return 0;
	case OPT_KEEP:
		o->keep = true;
		return 0;
	case OPT_ABSENT:
		o->wait = absent("--absent", arg);
		return 0;
	case OPT_CAPTURE:
		if (amb_capture_mode_parse(arg, &o->capture))
			argp_error(state, "--capture: '%s' is none of auto, ebpf, nft, cni, none",
				   arg);
		return 0;
	case OPT_NO_INTERCEPT:
		o->capture = AMB_CAPTURE_NONE;
		return 0;
	case OPT_ALWAYS_TUNNEL:
		o->always_tunnel = true;
		return 0;
	case OPT_TIER:
		o->tier = tier("--tier", arg);
		return 0;
	case OPT_BPF_DIR:
		o->bpf_dir = arg;
		return 0;
	case OPT_CGROUP:
		o->cgroup = arg;
		return 0;
	case OPT_SDS:
		o->sds = arg;
		return 0;
	case OPT_SDS_CERT:
		o->sds_cert = arg;
		return 0;
	case OPT_SDS_ROOTS:
		o->sds_roots = arg;
		return 0;
	case OPT_CRL:
		o->crl = arg;
		return 0;
	case OPT_SDS_SERVER:
		o->sds_server = arg;
		return 0;
	case OPT_SDS_UID:
		if (o->nsds_uids == AMB_OPTIONS_UIDS)
			argp_error(state, "--sds-uid: more than %d users", AMB_OPTIONS_UIDS);
		else
			o->sds_uids[o->nsds_uids++] = number("--sds-uid", arg, 0, UINT32_MAX - 1);
		return 0;
	case OPT_NO_DNS:
		o->dns = false;
		return 0;
	case OPT_RESOLV_CONF:
		o->proxy.resolv_conf = arg;
		return 0;
	case OPT_PRIVILEGED:
		o->privileged = true;
		return 0;
	case OPT_CERT_TTL:
		o->cert_ttl = duration("--cert-ttl", arg);
		return 0;
	case OPT_DRAIN:
		o->drain = duration("--drain", arg);
		return 0;
	case OPT_WORKERS:
		o->proxy.workers = number("--workers", arg, 1, AMB_OPTIONS_WORKERS);
		return 0;
	case OPT_ADMIN_PORT:
		o->admin_port = number("--admin-port", arg, 1, 65535);
		return 0;
	case OPT_METRICS_PORT:
		o->metrics_port = number("--metrics-port", arg, 1, 65535);
		return 0;
	case OPT_READY_PORT:
		o->ready_port = number("--ready-port", arg, 1, 65535);
		return 0;
	case ARGP_KEY_ARG:
		/* ztunnel's own command line. */
		if (!state->arg_num && !strcmp(arg, "version")) {
			puts(argp_program_version);
			exit(0);
		}
		if (!state->arg_num && !strcmp(arg, "help"))
			argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
		if (strcmp(arg, state->arg_num ? "ztunnel" : "proxy") || state->arg_num > 1)
			return ARGP_ERR_UNKNOWN;
		o->istiod.given = o->as_ztunnel = true;
		return 0;
	case ARGP_KEY_END:
		o->istiod.used = !o->manifests && o->istiod.given;
		if (!o->manifests && !o->istiod.used)
			argp_error(state, "--standalone DIR or XDS_ADDRESS is needed");
		if (o->istiod.used && !o->trust_domain)
			o->trust_domain = "cluster.local";
		if (!o->node || !*o->node)
			argp_error(state, "--node NAME is needed");
		/* A DaemonSet has a CNI beside it; a pod of its own has nobody to ask. */
		if (!o->zds && o->as_ztunnel && o->istiod.used)
			o->zds = AMB_ZDS_SOCKET;
		if (o->zds && (!*o->zds || (o->istiod.used && o->istiod.dedicated)))
			o->zds = NULL;
		/* In a pod's own namespace somebody wrote rules that let the agent out. */
		if (o->istiod.used && o->istiod.dedicated && o->capture == AMB_CAPTURE_AUTO)
			o->capture = AMB_CAPTURE_NONE;
		if (o->istiod.used && o->istiod.dedicated && o->capture != AMB_CAPTURE_NONE)
			argp_error(state, "PROXY_MODE=dedicated goes with --capture none");
		/* The CNI has captured its pods. */
		if (o->zds && o->capture == AMB_CAPTURE_AUTO)
			/* Its rules may know another mark, what opens ways past them does not. */
			o->capture = o->packet_mark == AMB_MARK ? AMB_CAPTURE_CNI :
								  AMB_CAPTURE_NONE;
		if (o->zds && o->capture != AMB_CAPTURE_CNI && o->capture != AMB_CAPTURE_NONE)
			argp_error(state, "--zds goes with --capture cni or none");
		if (!o->zds && o->capture == AMB_CAPTURE_CNI)
			argp_error(state, "--capture cni goes with --zds");
		if (o->wait && o->capture != AMB_CAPTURE_EBPF && o->capture != AMB_CAPTURE_AUTO)
			argp_error(state,
				   "--absent wait (AMBIENT_ABSENT) goes with --capture ebpf");
		if (o->packet_mark != AMB_MARK && o->capture != AMB_CAPTURE_NONE)
			argp_error(state,
				   "PACKET_MARK=%u needs --zds or --capture none: "
				   "what captures pods knows no other mark than %u",
				   o->packet_mark, AMB_MARK);
		/* Ports that are not shared with another agent are not shared among threads. */
		if (!o->proxy.port_reuse)
			o->proxy.workers = 1;
		if (!o->zds && o->capture != AMB_CAPTURE_NONE &&
		    o->proxy.dns_at.port != AMB_DNS_LISTEN)
			argp_error(state,
				   "ISTIO_META_DNS_PROXY_ADDR: the interception rules redirect to "
				   "port %d, another one needs --no-intercept",
				   AMB_DNS_LISTEN);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void env_string(const char *name, const char **to)
{
	const char *v = getenv(name);

	if (v && *v)
		*to = v;
}

static void env_number(const char *name, uint32_t *to, uint32_t min, uint32_t max)
{
	const char *v = getenv(name);

	if (v && *v)
		*to = number(name, v, min, max);
}

static void env_duration(const char *name, uint64_t *to)
{
	const char *v = getenv(name);

	if (v && *v)
		*to = duration(name, v);
}

static void env_bool(const char *name, bool *to)
{
	const char *v = getenv(name);

	if (v && *v && amb_util_parse_bool(v, to)) {
		fprintf(stderr, "ambientd: %s: '%s' is neither true nor false\n", name, v);
		exit(EX_USAGE);
	}
}

static void env_seconds(const char *name, uint16_t *to)
{
	uint64_t ns = *to * 1000000000ull;

	env_duration(name, &ns);
	if (ns < 1000000000ull || ns / 1000000000ull > AMB_KEEPALIVE_S_MAX) {
		fprintf(stderr, "ambientd: %s: '%s' is not from 1s to %ds\n", name, getenv(name),
			AMB_KEEPALIVE_S_MAX);
		exit(EX_USAGE);
	}
	*to = ns / 1000000000ull;
}

static void env_keepalive(struct amb_keepalive *k)
{
	uint32_t probes = k->probes;

	env_bool("KEEPALIVE_ENABLED", &k->enabled);
	env_bool("USER_TIMEOUT_ENABLED", &k->user_timeout);
	env_seconds("KEEPALIVE_TIME", &k->time_s);
	env_seconds("KEEPALIVE_INTERVAL", &k->interval_s);
	env_number("KEEPALIVE_RETRIES", &probes, 1, AMB_KEEPALIVE_PROBES_MAX);
	k->probes = probes;
}

static void env_absent(const char *name, bool *wait)
{
	const char *v = getenv(name);

	if (v && *v)
		*wait = absent(name, v);
}

static void env_tier(const char *name, int *to)
{
	const char *v = getenv(name);

	if (v && *v)
		*to = tier(name, v);
}

static uint32_t workers_of(double n)
{
	return AMB_MAX(AMB_MIN(n, (double)AMB_OPTIONS_WORKERS), 1.0);
}

/* "4", "50%" of the processors, rounded up, or 0: as many as there are. */
static void env_threads(const char *name, uint32_t *to)
{
	const char *v = getenv(name);
	double cpus = sysconf(_SC_NPROCESSORS_ONLN), percent;
	char *end;

	if (!v || !*v)
		return;
	percent = strtod(v, &end);
	if (strcmp(end, "%")) {
		uint32_t n = number(name, v, 0, UINT32_MAX);

		*to = workers_of(n ? n : cpus);
	} else if (percent > 0 && percent <= 100) {
		*to = workers_of(ceil(cpus * percent / 100));
	} else {
		fprintf(stderr, "ambientd: %s: '%s' is not more than 0%% and at most 100%%\n", name,
			v);
		exit(EX_USAGE);
	}
}

/* "localhost:15053", or an address with a port. */
static void env_dns_at(const char *name, struct amb_endpoint *to)
{
	static const char local[] = "localhost:";
	const char *v = getenv(name);
	struct amb_endpoint at = { .port = 0 };

	if (!v || !*v)
		return;
	if (strncmp(v, local, sizeof(local) - 1) ?
		    amb_endpoint_parse(v, &at) :
		    amb_util_parse_port(v + sizeof(local) - 1, &at.port)) {
		fprintf(stderr, "ambientd: %s: '%s' is no address with a port\n", name, v);
		exit(EX_USAGE);
	}
	*to = at;
}

/* What Kubernetes gives before it kills, less what ending itself takes (ztunnel-interop 8.3). */
static void env_grace(const char *name, uint64_t *to)
{
	uint32_t s = UINT32_MAX;

	env_number(name, &s, 0, 30 * 24 * 3600);
	if (s != UINT32_MAX)
		*to = (s > 10 ? s - 5 : s - !!s) * 1000000000ull;
}

/* Names and meanings of ztunnel's environment (ztunnel-interop 8.3), as far as they apply. */
static void environment(struct amb_options *o)
{
	const char *format = getenv("LOG_FORMAT");
	const char *orig_src = getenv("ENABLE_ORIG_SRC");
	bool spoof;

	env_string("NODE_NAME", &o->node);
	env_string("NETWORK", &o->network);
	env_string("ISTIO_META_CLUSTER_ID", &o->cluster);
	env_string("CLUSTER_ID", &o->cluster);
	env_string("CLUSTER_DOMAIN", &o->domain);
	env_string("TRUST_DOMAIN", &o->trust_domain);
	env_string("PREFERED_SERVICE_NAMESPACE", &o->prefer_ns);
	env_string("INPOD_UDS", &o->zds);
	env_string("RUST_LOG", &o->log_filter);
	o->log_json = format && !strcmp(format, "json");
	env_duration("SECRET_TTL", &o->cert_ttl);
	env_grace("TERMINATION_GRACE_PERIOD_SECONDS", &o->drain);
	env_duration("CONNECTION_TERMINATION_DEADLINE", &o->drain);
	env_duration("POOL_UNUSED_RELEASE_TIMEOUT", &o->proxy.pool_idle_ns);
	env_number("POOL_MAX_STREAMS_PER_CONNECTION", &o->proxy.pool_streams, 1, 1u << 20);
	env_threads("ZTUNNEL_WORKER_THREADS", &o->proxy.workers);
	env_number("AMBIENT_WORKERS", &o->proxy.workers, 1, AMB_OPTIONS_WORKERS);
	env_number("HTTP2_STREAM_WINDOW_SIZE", &o->proxy.hbone.stream_window, 65535, INT32_MAX);
	env_number("HTTP2_CONNECTION_WINDOW_SIZE", &o->proxy.hbone.conn_window, 65535, INT32_MAX);
	env_number("HTTP2_FRAME_SIZE", &o->proxy.hbone.frame_size, 16384, (1u << 24) - 1);
	env_number("PACKET_MARK", &o->packet_mark, 1, UINT32_MAX);
	env_keepalive(&o->keepalive);
	env_bool("INPOD_PORT_REUSE", &o->proxy.port_reuse);
	env_bool("IPV6_ENABLED", &o->proxy.ipv6);
	env_bool("LOCALHOST_APP_TUNNEL", &o->proxy.localhost_app_tunnel);
	env_bool("ENABLE_RESPONSE_BAGGAGE", &o->proxy.response_baggage);
	env_bool("AUTHZ_POLICY_INFO_LOGGING", &o->proxy.policy_log);
	env_bool("ISTIO_META_DNS_CAPTURE", &o->dns);
	env_dns_at("ISTIO_META_DNS_PROXY_ADDR", &o->proxy.dns_at);
	env_tier("AMBIENT_TIER", &o->tier);
	env_absent("AMBIENT_ABSENT", &o->wait);
	env_string("AMBIENT_RESOLV_CONF", &o->proxy.resolv_conf);
	env_string("SPIFFE_ENDPOINT_SOCKET", &o->sds);
	env_string("CRL_PATH", &o->crl);
	env_string("COMPLIANCE_POLICY", &o->compliance);
	if (orig_src && *orig_src) {
		env_bool("ENABLE_ORIG_SRC", &spoof);
		o->proxy.orig_src = spoof;
	}
}

static unsigned int default_workers(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 2 ? 1 : 2;
}

static void use_pconf(struct amb_options *o, const struct amb_pconf *p)
{
	if (p->admin_port)
		o->admin_port = p->admin_port;
	if (p->stats_port)
		o->metrics_port = p->stats_port;
	if (p->concurrency > 0)
		o->proxy.workers = AMB_MIN(p->concurrency, AMB_OPTIONS_WORKERS);
	else if (!p->concurrency)
		o->proxy.workers = workers_of(sysconf(_SC_NPROCESSORS_ONLN));
}

void amb_options_parse(struct amb_options *o, int argc, char **argv)
{
	struct amb_pconf pconf;

	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "[proxy ztunnel]\nversion\nhelp",
		.doc = "The node data plane of a service mesh: gives the pods of this node mutual "
		       "TLS with SPIFFE identities, L4 policy and telemetry.\v"
		       "See ambientd(8), and ambient(7) for how a connection becomes a tunnel.",
	};

	amb_pconf_read(&pconf);
	*o = (struct amb_options){
		.ca_dir = "/etc/ambient/ca",
		.socket = AMB_ASK_SOCKET,
		.cni_dir = AMB_ATTACHMENT_DIR,
		.network = "",
		.cluster = "Kubernetes",
		.domain = "cluster.local",
		.root_ns = "istio-system",
		.log_filter = "info",
		.bpf_dir = AMB_BPF_DIR,
		.packet_mark = AMB_MARK,
		.keepalive = AMB_KEEPALIVE_DEFAULTS,
		.tier = AMB_OPTIONS_TIER_AUTO,
		.dns = true,
		.cert_ttl = 24 * 3600 * 1000000000ull,
		.drain = 5 * 1000000000ull,
		.admin_port = 15000,
		.metrics_port = 15020,
		.ready_port = 15021,
		.proxy = amb_proxy_defaults,
	};
	o->proxy.workers = default_workers();
	use_pconf(o, &pconf);
	environment(o);
	amb_istiod_env_read(&o->istiod);
	argp_err_exit_status = EX_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, o);
}
