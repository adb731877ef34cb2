/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The objects that standalone mode knows, reduced to what they mean for the node. */
#ifndef AMB_MANIFEST_OBJECT_H
#define AMB_MANIFEST_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "manifest_decode.h"

#define AMB_MOBJ_KINDS(X)                                                                          \
	X(NAMESPACE, "Namespace")                                                                  \
	X(NODE, "Node")                                                                            \
	X(POD, "Pod")                                                                              \
	X(SERVICE, "Service")                                                                      \
	X(ENDPOINTS, "Endpoints")                                                                  \
	X(ENDPOINTSLICE, "EndpointSlice")                                                          \
	X(SERVICEACCOUNT, "ServiceAccount")                                                        \
	X(CONFIGMAP, "ConfigMap")                                                                  \
	X(SERVICEENTRY, "ServiceEntry")                                                            \
	X(WORKLOADENTRY, "WorkloadEntry")                                                          \
	X(AUTHORIZATIONPOLICY, "AuthorizationPolicy")                                              \
	X(PEERAUTHENTICATION, "PeerAuthentication")                                                \
	X(GATEWAY, "Gateway")                                                                      \
	X(GATEWAYCLASS, "GatewayClass")

#define AMB_X(id, text) AMB_MOBJ_##id,
enum amb_mobj_kind { AMB_MOBJ_KINDS(AMB_X) AMB_MOBJ_MAX };
#undef AMB_X

/*
 * One object: a single allocation, immutable, counted (main thread). Annotations are only
 * those of Istio, of this project and of the topology.
 */
struct amb_mobj {
	uint32_t refs;
	enum amb_mobj_kind kind;
	bool stand_in; /* denies in place of a policy that was never good; ns "": mesh-wide */
	uint32_t line;
	const char *ns, *name; /* ns "" for what has no namespace */
	struct amb_kvs labels, annotations;
	const void *spec; /* struct amb_m<kind>, NULL where there is none */
};

struct amb_mport {
	const char *name; /* "" unnamed */
	const char *target_name; /* Service: targetPort by name, else NULL */
	uint16_t port, target; /* target 0: the same as port, or named */
	uint8_t app_protocol; /* as on the wire */
};

struct amb_maddr {
	struct amb_addr addr;
	uint8_t bits;
	const char *host; /* ServiceEntry status: which host it was given to, else NULL */
};

struct amb_mpod {
	const char *node, *sa, *workload, *netns, *reroute_ifs, *dns_search;
	const struct amb_addr *ips;
	const struct amb_mport *ports; /* named container ports */
	uint32_t nips, nports;
	bool ready, finished, host_network, ingress_mode, splice,
		dns_search_only;
	int8_t dns_capture;
};

enum amb_mdistribution { AMB_MDIST_NONE, AMB_MDIST_ZONE, AMB_MDIST_NODE };

struct amb_mservice {
	const struct amb_addr *vips;
	const struct amb_mport *ports;
	uint32_t nvips, nports;
	struct amb_kvs selector;
	uint8_t families; /* as on the wire */
	enum amb_mdistribution distribution;
	bool external_name, headless, local_only, publish_not_ready;
};

/* An address of an Endpoints or EndpointSlice. */
struct amb_mtarget {
	const struct amb_addr *addrs;
	uint32_t naddrs;
	bool ready;
	const char *pod; /* targetRef of kind Pod, else NULL */
};

struct amb_msubset {
	const struct amb_mport *ports;
	const struct amb_mtarget *targets;
	uint32_t nports, ntargets;
};

struct amb_mslice {
	const char *service; /* "" = of no service */
	const struct amb_msubset *subsets;
	uint32_t nsubsets;
};

/* A WorkloadEntry, or an endpoint of a ServiceEntry. */
struct amb_mentry {
	const char *address; /* as written: IP or host name */
	bool is_ip;
	struct amb_addr addr;
	const char *sa, *network, *locality;
	const struct amb_mport *ports; /* name -> port */
	uint32_t nports, weight;
	struct amb_kvs labels;
};

enum amb_mresolution { AMB_MRES_NONE, AMB_MRES_STATIC, AMB_MRES_DNS };

struct amb_mserviceentry {
	const char *const *hosts, *const *sans;
	const struct amb_maddr *addrs, *auto_addrs;
	const struct amb_mport *ports;
	const struct amb_mentry *endpoints;
	uint32_t nhosts, nsans, naddrs, nauto, nports, nendpoints;
	enum amb_mresolution resolution;
	bool has_selector;
	struct amb_kvs selector;
};

/* The L4 part, ready for the wire except for name, namespace and scope. */
struct amb_mauthz {
	struct amb_kvs selector; /* empty: the whole namespace */
	const uint8_t *packed; /* istio.security.Authorization; NULL: not for us */
	uint32_t len;
};

enum amb_mtls { AMB_MTLS_UNSET, AMB_MTLS_DISABLE, AMB_MTLS_PERMISSIVE, AMB_MTLS_STRICT };

struct amb_mportmtls {
	uint16_t port;
	uint8_t mode;
};

struct amb_mpeerauth {
	struct amb_kvs selector;
	const char *created; /* RFC 3339, "" unknown: older than all */
	enum amb_mtls mode;
	const struct amb_mportmtls *ports; /* sorted */
	uint32_t nports;
};

enum amb_mfrom { AMB_MFROM_SAME, AMB_MFROM_ALL, AMB_MFROM_SELECTOR };

struct amb_mlistener {
	uint16_t port;
	bool hbone, proxy;
	enum amb_mfrom from;
	struct amb_kvs from_labels;
};

struct amb_mgwaddr {
	bool hostname;
	const char *value;
};

struct amb_mgateway {
	const char *class;
	const struct amb_mlistener *listeners;
	const struct amb_mgwaddr *addrs, *status;
	uint32_t nlisteners, naddrs, nstatus;
};

/* Settings out of the ConfigMap istio; NULL: not said. */
struct amb_mmesh {
	const char *trust_domain, *root_ns;
};

const char *amb_mobj_kind_text(enum amb_mobj_kind kind);

/* What a document was. */
enum amb_mobj_result {
	AMB_MOBJ_OK, /* @obj is it */
	AMB_MOBJ_BROKEN, /* reported; @kind, @ns and @name tell which when @named */
	AMB_MOBJ_IGNORED, /* of no interest here */
	AMB_MOBJ_UNKNOWN, /* a kind that is not known: @what is "kind Foo (example.com/v1)" */
	AMB_MOBJ_NOMEM,
};

struct amb_mobj_read {
	const char *file;
	amb_manifest_report_fn *report;
	void *ctx;
	struct amb_arena *scratch, *temp; /* reset by each read */

	struct amb_mobj *obj; /* one reference */
	bool named;
	enum amb_mobj_kind kind;
	char ns[64], name[254], what[160], object[400];
};

/* Reads one document. @list_kind as amb_yaml_next() gives it. */
enum amb_mobj_result amb_mobj_read(struct amb_mobj_read *r, const struct amb_yaml *doc,
				   const char *list_kind);

/*
 * What denies everything in place of a policy with an error: DENY of all, or STRICT, for the
 * selector of @doc when it reads well (@doc may be NULL). NULL: out of memory.
 */
struct amb_mobj *amb_mobj_stand_in(struct amb_mobj_read *r, enum amb_mobj_kind kind, const char *ns,
				   const char *name, const struct amb_yaml *doc, uint32_t line);

struct amb_mobj *amb_mobj_get(struct amb_mobj *o);
void amb_mobj_put(struct amb_mobj *o);

/* Per kind: value for amb_mobj.spec, or NULL after an error. */
typedef const void *amb_mobj_decode_fn(struct amb_decode *d, const struct amb_yaml *doc,
				       const struct amb_mobj *o);
amb_mobj_decode_fn amb_mobj_decode_pod, amb_mobj_decode_service, amb_mobj_decode_endpoints,
	amb_mobj_decode_slice, amb_mobj_decode_configmap, amb_mobj_decode_serviceentry,
	amb_mobj_decode_workloadentry, amb_mobj_decode_authz, amb_mobj_decode_peerauth,
	amb_mobj_decode_gateway;

/* The spec of a stand-in; NULL when out of memory. */
const void *amb_mobj_deny_all(struct amb_decode *d, enum amb_mobj_kind kind,
			      const struct amb_yaml *doc);

#endif
