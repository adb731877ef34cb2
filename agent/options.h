/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the command line and the environment say, with defaults. */
#ifndef AMB_OPTIONS_H
#define AMB_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "capture.h"
#include "istiod_env.h"
#include "kernel/netns.h"
#include "proxy/proxy.h"

#define AMB_OPTIONS_UIDS 16
#define AMB_OPTIONS_WORKERS 64
#define AMB_OPTIONS_TIER_AUTO (-1)

/* Strings point into argv, the environment or constants. Durations are nanoseconds. */
struct amb_options {
	const char *manifests; /* --standalone */
	const char *node;
	const char *ca_dir;
	bool ca_given; /* by --ca */
	const char *socket;
	const char *cni_dir; /* where the CNI plugin notes what it did */
	const char *zds; /* socket of the CNI that says which pods to serve, or NULL */
	bool as_ztunnel; /* "proxy ztunnel" */
	const char *network;
	const char *cluster;
	const char *domain;
	const char *trust_domain;
	const char *root_ns;
	const char *prefer_ns;
	const char *log_filter;
	bool log_json;
	bool keep; /* leave capture in place on exit */
	bool wait; /* what needs an agent waits while none runs */
	enum amb_capture_mode capture;
	bool always_tunnel; /* no direct ways */
	int tier; /* enum amb_tier, AMB_OPTIONS_TIER_AUTO */
	const char *bpf_dir;
	const char *cgroup; /* NULL: looked for */
	const char *crl; /* file of revocation lists, or NULL */
	const char *sds; /* socket that certificates come from, NULL: a CA signs them */
	const char *sds_server; /* socket that an Envoy takes them from, or NULL */
	uid_t sds_uids[AMB_OPTIONS_UIDS]; /* users who may, besides our own */
	size_t nsds_uids;
	const char *sds_cert, *sds_roots; /* names of secrets there, NULL: the usual */
	const char *compliance; /* COMPLIANCE_POLICY, or NULL */
	bool dns; /* capture DNS of pods that do not say */
	bool privileged; /* keep all capabilities (debugging) */
	struct amb_keepalive keepalive; /* of TCP connections that do not ping otherwise */
	uint32_t packet_mark; /* SO_MARK of sockets in pods */
	uint64_t cert_ttl;
	uint64_t drain;
	uint16_t admin_port, metrics_port, ready_port;
	struct amb_proxy_config proxy;
	struct amb_istiod_env istiod;
};

/*
 * Reads both; the command line wins. Ends the process on --help, --version (0) and on what it
 * cannot understand (64, with one line that names the option or variable).
 */
void amb_options_parse(struct amb_options *o, int argc, char **argv);

#endif
