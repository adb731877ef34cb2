/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From objects to Workload API resources, as istiod compiles them for node proxies. */
#ifndef AMB_MANIFEST_COMPILE_H
#define AMB_MANIFEST_COMPILE_H

#include "manifest_table.h"

#include "authorization.pb-c.h"
#include "workload.pb-c.h"

struct amb_mresource {
	const char *name;
	const struct amb_mref *from; /* whose it is; NULL: of the mesh as a whole */
	Istio__Workload__Address *address;
	Istio__Security__Authorization *authorization;
};

struct amb_msettings {
	const char *cluster, *domain, *network, *trust_domain, *root_ns;
};

/* What a compilation makes. Resources and their strings live in @arena. */
struct amb_mcompiled {
	struct amb_arena arena;
	struct amb_mresource *res; /* policies, services, workloads */
	uint32_t n, cap;
	uint32_t workloads, services, policies;
	uint32_t *slots, nslots; /* resources by name; no two have the same */
};

/*
 * Compiles all of @t. Resources that clash or mean nothing are reported and left out.
 * 0 or -ENOMEM; amb_mcompiled_free() either way.
 */
int amb_mcompile(const struct amb_mtable *t, const struct amb_msettings *settings,
		 amb_manifest_report_fn *report, void *ctx, struct amb_mcompiled *out);
void amb_mcompiled_free(struct amb_mcompiled *c);

/* True when a pod is to be captured: label of the pod, else of its namespace. */
bool amb_mcompile_enrolled(const struct amb_mtable *t, const struct amb_mobj *pod);
/* By an annotation of the pod, else of its namespace. */
bool amb_mcompile_always_tunnel(const struct amb_mtable *t, const struct amb_mobj *pod);

/* The uid of a pod, written to @buf. Returns @buf. */
const char *amb_mcompile_pod_uid(const char *cluster, const struct amb_mobj *pod, char *buf,
				 size_t len);

/* Inside: one compilation under way, shared by the files that make it. */

struct amb_mwaypoint {
	const struct amb_mref *ref;
	Istio__Workload__GatewayAddress *address;
	bool for_service, for_workload;
	bool bound; /* instances take an application tunnel */
	Istio__Workload__ApplicationTunnel tunnel;
	const struct amb_mlistener *routes; /* who may use it; NULL: the same namespace */
};

/* A service as members see it. */
struct amb_mmember {
	const struct amb_mref *ref;
	const char *key, *ns, *host;
	const struct amb_mport *ports;
	uint32_t nports;
	bool entry; /* of a ServiceEntry */
	Istio__Workload__PortList *plain; /* when all target ports are numbers, else NULL */
};

/* A pod that an EndpointSlice names for a service. */
struct amb_mbacked {
	const char *ns, *pod;
	struct amb_mmember *member;
};

/* The PeerAuthentication without selector of a namespace. */
struct amb_mspace {
	const char *ns;
	const struct amb_mref *peerauth;
};

struct amb_mbuild {
	const struct amb_mtable *t;
	const struct amb_msettings *set;
	struct amb_mcompiled *out;
	struct amb_arena *a;
	amb_manifest_report_fn *report;
	void *ctx;
	bool failed; /* out of memory */

	struct amb_mselect *by_service, *by_policy, *by_peerauth;
	struct amb_mspace *spaces; /* sorted */
	uint32_t nspaces;
	const char *static_strict; /* "ns/name" of the policy that says STRICT */
	struct amb_mwaypoint *waypoints; /* in the order of their refs */
	uint32_t nwaypoints;
	struct amb_mmember *members; /* services, those of Service objects first, in their order */
	uint32_t nmembers, nkube;
	struct amb_mbacked *backed; /* pods that EndpointSlices name; sorted */
	uint32_t nbacked;
};

void *amb_mbuild_alloc(struct amb_mbuild *b, size_t size);
void amb_mbuild_report(struct amb_mbuild *b, const struct amb_mref *ref, bool error,
		       const char *field, const char *fmt, ...) AMB_PRINTF(5, 6);
/* Adds a resource and counts nothing; false when its name is taken (reported). */
bool amb_mbuild_add(struct amb_mbuild *b, const char *name, const struct amb_mref *from,
		    Istio__Workload__Address *address, Istio__Security__Authorization *policy);
Istio__Workload__NetworkAddress *amb_mbuild_address(struct amb_mbuild *b, const char *network,
						    const struct amb_addr *addr);
Istio__Workload__PortList *amb_mbuild_ports(struct amb_mbuild *b, uint32_t most);
/* Adds to a list with room. */
void amb_mbuild_port(struct amb_mbuild *b, Istio__Workload__PortList *list, uint16_t port,
		     uint16_t target, uint8_t app_protocol);

/* manifest_waypoint.c: gateways, and who uses which. */
void amb_mbuild_waypoints(struct amb_mbuild *b);
void amb_mbuild_network_gateways(struct amb_mbuild *b);
/* The gateway of another network, or NULL. */
Istio__Workload__GatewayAddress *amb_mbuild_network_gateway(struct amb_mbuild *b,
							    const char *network);
const struct amb_mwaypoint *amb_mbuild_waypoint_of_instance(struct amb_mbuild *b, const char *ns,
							    const struct amb_kvs *labels);
/*
 * The waypoint for the traffic of a service (else of a workload) with those labels. @ref is who
 * hears of labels that lead nowhere, NULL: nobody. @canary and @weight (percent) are set for
 * services with a second one.
 */
const struct amb_mwaypoint *amb_mbuild_waypoint(struct amb_mbuild *b, const struct amb_mref *ref,
						const char *ns, const struct amb_kvs *labels,
						bool service, const struct amb_mwaypoint **canary,
						uint32_t *weight);

/* manifest_policy.c: what becomes of AuthorizationPolicy and PeerAuthentication. */
void amb_mbuild_policies(struct amb_mbuild *b);
/* Names of the selector-scoped policies of a workload. */
void amb_mbuild_workload_policies(struct amb_mbuild *b, const struct amb_mref *ref, const char *ns,
				  const struct amb_kvs *labels, char ***out, size_t *n);

/* manifest_service.c: Service, ServiceEntry. */
void amb_mbuild_services(struct amb_mbuild *b);
/* The service of a Service object, or NULL. */
struct amb_mmember *amb_mbuild_member(struct amb_mbuild *b, const char *ns, const char *name);

/* manifest_workload.c: Pod, WorkloadEntry, endpoints. */
void amb_mbuild_workloads(struct amb_mbuild *b);
/* A workload with what all have in common, or NULL. */
Istio__Workload__Workload *amb_mbuild_workload(struct amb_mbuild *b,
					       Istio__Workload__Address **address);
/* @addrs lives as long as the compilation. */
void amb_mbuild_workload_addrs(struct amb_mbuild *b, Istio__Workload__Workload *w,
			       const struct amb_addr *addrs, uint32_t n);

/* manifest_check.c: reports what objects do to each other. */
void amb_mbuild_check(struct amb_mbuild *b);

#endif
