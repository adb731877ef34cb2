/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of the mesh: workloads, services, policies. One way in (amb_state_apply with
 * Workload API resources, from xDS or from manifests), lock-free readers (RCU).
 *
 * Objects are immutable once published and counted; a reader may use what it finds until
 * amb_state_read_end(), or take a reference and keep it.
 */
#ifndef AMB_STATE_H
#define AMB_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/rcu.h"
#include "identity.h"
#include "str.h"

struct amb_state;
struct amb_policy_set;
struct Istio__Workload__Address;
struct Istio__Security__Authorization;

enum amb_tunnel { AMB_TUNNEL_NONE, AMB_TUNNEL_HBONE };
enum amb_wtype { AMB_WTYPE_DEPLOYMENT, AMB_WTYPE_CRONJOB, AMB_WTYPE_POD, AMB_WTYPE_JOB };
enum amb_lb_mode { AMB_LB_STANDARD, AMB_LB_STRICT, AMB_LB_FAILOVER, AMB_LB_PASSTHROUGH };
enum amb_ip_families { AMB_IPF_AUTO, AMB_IPF_V4, AMB_IPF_V6, AMB_IPF_DUAL };
enum amb_scope {
	AMB_SCOPE_NONE,
	AMB_SCOPE_REGION,
	AMB_SCOPE_ZONE,
	AMB_SCOPE_SUBZONE,
	AMB_SCOPE_NODE,
	AMB_SCOPE_CLUSTER,
	AMB_SCOPE_NETWORK,
};

/* Reference to a gateway or waypoint: by ns/host when hostname is not empty, else by address. */
struct amb_gateway {
	bool set;
	bool by_host;
	uint16_t port; /* hbone_mtls_port, 0 = 15008 */
	amb_str ns, hostname;
	amb_str network;
	struct amb_addr addr;
};

/* service_port -> target_port; target 0 = named port (ask the workload). Host order. */
struct amb_port {
	uint16_t service, target;
	uint8_t app_protocol;
};

struct amb_ports {
	uint32_t n;
	struct amb_port p[]; /* sorted by service port */
};

struct amb_membership {
	amb_str service; /* "ns/host" */
	struct amb_ports *ports;
};

struct amb_workload {
	uint32_t refs;
	uint32_t naddrs;
	struct amb_addr *addrs;
	amb_str uid, name, ns, network, node, hostname, cluster;
	amb_str workload_name, canonical_name, canonical_revision;
	amb_str region, zone, subzone;
	struct amb_identity *identity;
	enum amb_tunnel tunnel;
	enum amb_wtype type;
	bool native_tunnel, host_network, healthy;
	bool app_tunnel_proxy; /* application tunnel speaks PROXY protocol */
	uint16_t app_tunnel_port; /* 0 = no application tunnel or no port of its own */
	bool app_tunnel;
	uint32_t capacity; /* LB weight */
	struct amb_gateway waypoint, network_gateway;
	uint32_t nservices, npolicies;
	struct amb_membership *services;
	amb_str *policies; /* "ns/name" */
	uint64_t policy_memo; /* private to policy.c */
};

struct amb_vip {
	amb_str network;
	struct amb_addr addr;
	uint8_t bits; /* prefix in the address's own family; 32 or 128 = host */
};

/* Of one address, no range. */
static inline bool amb_state_vip_is_host(const struct amb_vip *v)
{
	return v->bits == (amb_addr_is_v4(&v->addr) ? 32 : 128);
}

struct amb_weighted_waypoint {
	struct amb_gateway gw;
	uint32_t weight;
};

struct amb_service {
	uint32_t refs;
	uint32_t nvips, nsans, nsan_ids, nwaypoints, nscopes;
	amb_str name, ns, hostname, key; /* key: "ns/host" */
	struct amb_vip *vips;
	struct amb_ports *ports;
	amb_str *sans;
	struct amb_identity **san_ids; /* those of sans that are SPIFFE identities */
	struct amb_gateway waypoint;
	struct amb_weighted_waypoint *waypoints;
	enum amb_lb_mode mode;
	enum amb_scope scopes[6];
	enum amb_ip_families families;
	bool allow_unhealthy, canonical, namespace_only, ingress_use_waypoint;
};

/*
 * Any thread; lock-free unless the last reference goes. NULL is accepted. The tables give up
 * their own reference a grace period after an object left them.
 */
struct amb_workload *amb_workload_get(const struct amb_workload *w);
void amb_workload_put(const struct amb_workload *w);
struct amb_service *amb_service_get(const struct amb_service *s);
void amb_service_put(const struct amb_service *s);

/* True when one of the workload's addresses is @addr. */
bool amb_workload_has_addr(const struct amb_workload *w, const struct amb_addr *addr);

struct amb_state_config {
	const char *network; /* own network id, "" common */
	const char *node; /* own node name */
	const char *domain; /* cluster domain, default cluster.local */
	const char *prefer_ns; /* PREFERED_SERVICE_NAMESPACE, may be NULL */
	bool on_demand; /* not all is there: decisions say what they missed */
};

/*
 * NULL when out of memory. Strings of @config are copied. Starts a thread that frees what
 * updates replace; destroy waits for it, and is called when no reader is left.
 */
struct amb_state *amb_state_create(const struct amb_state_config *config);
void amb_state_destroy(struct amb_state *st);

const char *amb_state_network(const struct amb_state *st);
const char *amb_state_node(const struct amb_state *st);
const char *amb_state_domain(const struct amb_state *st);

/* One resource of an update: @address or @authorization set, or both NULL to remove @name. */
struct amb_resource {
	const char *name; /* reference 1.9: uid, "ns/host", or policy "ns/name" */
	bool is_policy;
	const struct Istio__Workload__Address *address;
	const struct Istio__Security__Authorization *authorization;
};

/*
 * Called for each resource that was refused (it keeps its old state); @reason is for NACKs
 * and logs ("unknown tunnel protocol 2").
 */
typedef void amb_state_refused_fn(void *ctx, const struct amb_resource *r, const char *reason);

/*
 * Applies resources first, removals after (reference 1.5); readers see all of it or nothing.
 * Main thread only. Returns the number of refused resources, or -ENOMEM (then nothing of the
 * update is visible), or -EBUSY while another update grows. Resources are not kept; the caller
 * frees them.
 */
int amb_state_apply(struct amb_state *st, const struct amb_resource *res, size_t n,
		    amb_state_refused_fn *refused, void *ctx);

/*
 * The same for updates that are too large to be held in memory as resources: it grows one
 * resource at a time, over as many turns of the loop as it takes, beside the version that
 * readers see, and then becomes visible whole or is given up. One at a time. Main thread only.
 */
struct amb_update;
/* NULL: errno ENOMEM, or EBUSY while another one grows. */
struct amb_update *amb_update_begin(struct amb_state *st, amb_state_refused_fn *refused, void *ctx);
/*
 * Puts or removes one resource, in order of calls. 0, also when it was refused; -ENOMEM: the
 * update can only be given up. @r is not kept.
 */
int amb_update_add(struct amb_update *u, const struct amb_resource *r);
/* Makes it visible. Number of refused resources, or -ENOMEM: nothing of it is. Frees @u. */
int amb_update_commit(struct amb_update *u);
/* Nothing of it was. NULL is accepted. */
void amb_update_abort(struct amb_update *u);

/*
 * Called on the main thread after each apply that changed something, outside any lock.
 * One listener per slot, up to 8.
 */
#define AMB_STATE_TOLD_MAX 1024 /* entries of each list; changes of more are not told one by one */
struct amb_state_change {
	bool policies; /* an authorization or a policy list: live connections are to be judged */
	bool workloads;
	bool services;
	bool local; /* workloads of this node are among those */
	bool ranges; /* addresses of services are, that are ranges */
	/*
	 * Addresses of the own network that have come, gone, or belong to what changed; and
	 * services ("ns/host") that changed, or whose endpoints did. Either may say one twice. They
	 * are the state's, until the listener returns. @many: there are more, and no lists.
	 */
	bool many;
	size_t naddrs, nnames;
	const struct amb_addr *addrs;
	const amb_str *names;
};
typedef void amb_state_listener_fn(void *ctx, const struct amb_state_change *change);
int amb_state_listen(struct amb_state *st, amb_state_listener_fn *fn, void *ctx);

/*
 * Readers. Between begin and end a reader sees one version: amb_state_read_retry() tells
 * afterwards whether an update went by meanwhile, and the reader then does its look-ups
 * again (as with a seqlock; updates are rare, look-ups are microseconds). Threads that read
 * registered with urcu_memb_register_thread() before.
 */
uint64_t amb_state_read_begin(const struct amb_state *st);
bool amb_state_read_retry(const struct amb_state *st, uint64_t seq);
void amb_state_read_end(const struct amb_state *st);

/* Grows by one with every visible update. */
uint64_t amb_state_version(const struct amb_state *st);

/* Look-ups, between read_begin and read_end; NULL when unknown. */
const struct amb_workload *amb_state_workload_by_uid(const struct amb_state *st, const char *uid);
const struct amb_workload *amb_state_workload_by_addr(const struct amb_state *st,
						      const char *network,
						      const struct amb_addr *addr);
/* The workload of this node with that ns/name/service account (reference 5.1 step 2). */
const struct amb_workload *amb_state_workload_local(const struct amb_state *st, const char *ns,
						    const char *name, const char *sa);
/* That of the interned key "ns/host". */
const struct amb_service *amb_state_service_by_key(const struct amb_state *st, amb_str key);
const struct amb_service *amb_state_service_by_host(const struct amb_state *st, const char *ns,
						    const char *hostname);
/* VIP look-up with the rank of 5.1 step 3 (exact, then CIDR) as namespace @ns sees it; NULL all. */
const struct amb_service *amb_state_service_by_vip(const struct amb_state *st, const char *network,
						   const struct amb_addr *addr, const char *ns);

/*
 * All that has the address @addr in the own network: its workloads but those of the host's network,
 * and services, but for ranges. Callbacks return false to stop.
 */
void amb_state_each_at(const struct amb_state *st, const struct amb_addr *addr,
		       bool (*workload)(void *ctx, const struct amb_workload *w),
		       bool (*service)(void *ctx, const struct amb_service *s), void *ctx);

/* Walks, for config_dump and ctl; the callback returns false to stop. */
void amb_state_each_workload(const struct amb_state *st,
			     bool (*fn)(void *ctx, const struct amb_workload *w), void *ctx);
void amb_state_each_service(const struct amb_state *st,
			    bool (*fn)(void *ctx, const struct amb_service *s), void *ctx);
/* Endpoints of a service: workload and its port mapping, may be NULL. */
void amb_state_each_endpoint(const struct amb_state *st, const struct amb_service *s,
			     bool (*fn)(void *ctx, const struct amb_workload *w,
					const struct amb_ports *ports),
			     void *ctx);
/* Endpoints that wait for their service (dump key stagedServices). */
void amb_state_each_staged(const struct amb_state *st,
			   bool (*fn)(void *ctx, const char *service, const struct amb_workload *w,
				      const struct amb_ports *ports),
			   void *ctx);
size_t amb_state_count_workloads(const struct amb_state *st);
size_t amb_state_count_services(const struct amb_state *st);
size_t amb_state_count_policies(const struct amb_state *st);

#endif
