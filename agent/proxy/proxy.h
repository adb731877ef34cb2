/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The proxy as a whole: workers, pods, live connections. Called by main.c and admin/. */
#ifndef AMB_PROXY_H
#define AMB_PROXY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "proxy/flow.h"
#include "proxy/hbone.h"

struct amb_bpf;
struct amb_demand;
struct amb_proxy;
struct amb_state;
struct amb_creds;
struct amb_netns;

struct amb_proxy_config {
	unsigned int workers; /* 1..64 */
	struct amb_hbone_config hbone;
	uint32_t pool_streams; /* POOL_MAX_STREAMS_PER_CONNECTION, 100 */
	uint64_t pool_idle_ns; /* POOL_UNUSED_RELEASE_TIMEOUT, 5 min */
	uint64_t dial_timeout_ns; /* 10 s */
	uint64_t source_wait_ns; /* 5 s: for the source workload to become known */
	uint32_t max_conns_per_pod; /* 65536: per-pod bound, both directions */
	uint32_t max_handshakes_per_peer; /* 64: unfinished inbound handshakes per source address */
	int orig_src; /* ENABLE_ORIG_SRC: -1 auto, 0 never, 1 required */
	bool ipv6;
	bool port_reuse; /* INPOD_PORT_REUSE, true; false needs one worker */
	bool localhost_app_tunnel; /* true */
	bool response_baggage; /* true */
	bool policy_log; /* AUTHZ_POLICY_INFO_LOGGING */
	bool leave; /* at the end: connections that the kernel carries are for the next agent */
	/* asks for what is not known; NULL: all that there is is known */
	struct amb_demand *demand;
	const struct amb_bpf *bpf; /* that know pods which have a cookie; NULL: none, or not yet */
	/* ISTIO_META_DNS_PROXY_ADDR; an unspecified address: both loopbacks of the pod */
	struct amb_endpoint dns_at;
	const char *resolv_conf; /* names the servers for what the mesh does not know */
};
extern const struct amb_proxy_config amb_proxy_defaults;

/*
 * @main is the caller's loop (callbacks run there). State, creds and hooks outlive the proxy.
 * NULL: errno.
 */
struct amb_proxy *amb_proxy_create(struct amb_loop *main, const struct amb_proxy_config *config,
				   struct amb_state *st, struct amb_creds *creds,
				   const struct amb_flow_hooks *hooks);
/* Stops and joins the workers; connections that are left are aborted. */
void amb_proxy_destroy(struct amb_proxy *p);

/* A pod to serve. Strings are copied, @netns is referenced. */
struct amb_proxy_pod {
	const char *uid, *ns, *name, *sa;
	struct amb_netns *netns;
	uint64_t cookie; /* of @netns when BPF programs know the pod, else 0 */
	bool ruled; /* but rules capture it, not they */
	bool ingress_mode; /* no listener on 15006, 15008 stays */
	bool dns; /* answer its DNS queries */
	const char *dns_search; /* its search domains (mesh/names.h), may be NULL */
	bool dns_search_only; /* those alone, without the ones of a Kubernetes pod */
};

/*
 * Opens the pod's listeners in every worker and calls @done on the main loop: 0, or -errno
 * and then nothing is left open. -EEXIST for a uid that is served.
 */
typedef void amb_proxy_done_fn(void *ctx, int err);
int amb_proxy_pod_add(struct amb_proxy *p, const struct amb_proxy_pod *pod, amb_proxy_done_fn *done,
		      void *ctx);
/* Lets go of a pod at once: listeners, connections, pools. @done may be NULL. */
void amb_proxy_pod_del(struct amb_proxy *p, const char *uid, amb_proxy_done_fn *done, void *ctx);
unsigned int amb_proxy_pods(const struct amb_proxy *p);
/* Programs that could not be had before are there, for good. */
void amb_proxy_set_bpf(struct amb_proxy *p, const struct amb_bpf *bpf);

/* Policies or policy lists changed: every live inbound connection is judged again. */
void amb_proxy_rejudge(struct amb_proxy *p);

/* Revocation lists changed (crl.h): live tunnels whose peer is named now end. */
void amb_proxy_recheck(struct amb_proxy *p);

/*
 * Graceful stop: listeners close, GOAWAY, connections end by themselves until @deadline_ns from
 * now, then by force; @done on the main loop.
 */
void amb_proxy_drain(struct amb_proxy *p, uint64_t deadline_ns, amb_proxy_done_fn *done, void *ctx);

/* A live connection, for ctl and config_dump. Strings are the row's own (fixed buffers). */
struct amb_proxy_conn {
	const char *pod_uid;
	enum amb_direction direction;
	enum amb_way way;
	enum amb_protocol protocol;
	struct amb_endpoint src, original_dst, actual_dst;
	const char *src_identity, *dst_identity; /* SPIFFE or "" */
	const char *src_name, *dst_name; /* "ns/workload", "ns/service host" or "" */
	const char *policy; /* that allowed it, or "" */
	uint64_t bytes_to_dst, bytes_to_src, age_ns;
	/* of the tunnel that carries it, perhaps among others; "" when none does */
	const char *tier, *cipher;
	uint64_t records_sent, records_received; /* under the present keys */
};
/*
 * Collects the live connections of all workers (asked by message, so the byte path takes no
 * lock) and calls @fn for each on the main loop, then @done; that with -ECANCELED from
 * amb_proxy_destroy(), and with -ENOMEM from within.
 */
void amb_proxy_each_conn(struct amb_proxy *p, void (*fn)(void *ctx, const struct amb_proxy_conn *c),
			 amb_proxy_done_fn *done, void *ctx);

/*
 * Has every worker tell the bytes of its live connections through the hooks, then calls @done
 * on the main loop, as above: what a scrape needs to see long connections. A worker takes a
 * walk over its connections for it, some 0.1 us each.
 */
void amb_proxy_tell_bytes(struct amb_proxy *p, amb_proxy_done_fn *done, void *ctx);

/* Totals over workers; monotonic counters but for gauges. Any thread, relaxed reads. */
struct amb_proxy_stats {
	uint64_t open_sockets[2]; /* gauge, by enum amb_direction */
	uint64_t opened[2], closed[2];
	uint64_t ways[AMB_WAY_MAX];
	uint64_t reasons[AMB_REASON_MAX]; /* refused or ended by reason */
	uint64_t handshakes, handshake_failures, pool_hits, pool_dials;
	uint64_t revoked[2]; /* handshakes that a revoked certificate ended, by direction */
	uint64_t tiers[AMB_TIER_MAX]; /* tunnels by who carries and encrypts them */
	uint64_t tier_refused; /* whose keys the kernel did not take, or themselves hbone.ko */
	uint64_t rekeys_refused; /* that ended because the kernel took no new key */
};
void amb_proxy_stats(const struct amb_proxy *p, struct amb_proxy_stats *out);

#endif
