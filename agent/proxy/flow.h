/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A connection as telemetry sees it, and the hooks by which the proxy tells of it. main.c
 * joins them to admin/, so that proxy/ knows nothing of metrics.
 */
#ifndef AMB_FLOW_H
#define AMB_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "ambient/reason.h"
#include "base/addr.h"
#include "mesh/baggage.h"
#include "mesh/decide.h"
#include "mesh/identity.h"
#include "mesh/state.h"

enum amb_direction { AMB_INBOUND, AMB_OUTBOUND };

/* response_flags of ztunnel-interop 7.3 */
enum amb_flag {
	AMB_FLAG_NONE,
	AMB_FLAG_DENY,
	AMB_FLAG_CONNECT,
	AMB_FLAG_TLS_FAILURE,
	AMB_FLAG_H2_HANDSHAKE_FAILURE,
	AMB_FLAG_NETWORK_POLICY,
	AMB_FLAG_IDENTITY_ERROR,
	AMB_FLAG_CERT_REVOKED,
	AMB_FLAG_MAX,
};

/*
 * What is known of a connection while the hooks run. Built on the stack when a connection is
 * classified and when it ends; @cookie is what the opened hook returned and is all that a
 * live connection keeps for telemetry (memory budget: 0.6 KB per idle connection in all).
 */
struct amb_flow {
	enum amb_direction direction;
	enum amb_way way;
	enum amb_protocol protocol;
	struct amb_endpoint src, dst; /* dst: original destination; inbound HBONE: pod:15008 */
	const char *authority; /* HBONE: dst.hbone_addr; may be NULL */
	struct amb_endpoint actual; /* where it was really sent */
	const struct amb_workload *src_workload, *dst_workload; /* NULL when unknown */
	const struct amb_baggage *src_baggage, *dst_baggage; /* where the state has none */
	const struct amb_service *dst_service;
	const struct amb_identity *src_identity, *dst_identity;
	bool mtls;
	uint64_t start_ns, end_ns; /* monotonic */
	uint64_t bytes_to_dst, bytes_to_src; /* downstream -> upstream, upstream -> downstream */
	enum amb_flag flag;
	enum amb_reason reason;
	const char *error; /* NULL when it ended well */
	const char *policy; /* "ns/name" that decided, or NULL */
};

/* Label connection_security_policy: how it is known who talks to whom. */
enum amb_security {
	AMB_SECURITY_NONE, /* it is not */
	AMB_SECURITY_MTLS,
	AMB_SECURITY_NODE, /* by the namespaces of the sockets, both of this node; not encrypted */
};

static inline enum amb_security amb_flow_security(const struct amb_flow *f)
{
	if (f->mtls)
		return AMB_SECURITY_MTLS;
	return f->way == AMB_WAY_DIRECT || f->way == AMB_WAY_SPLICE ? AMB_SECURITY_NODE :
								      AMB_SECURITY_NONE;
}

/* A DNS query, when it is answered. */
struct amb_flow_dns {
	const struct amb_workload *workload; /* that asked; NULL when unknown */
	const char *type; /* "a"; a constant */
	bool tcp;
	bool forwarded, failed; /* to a name server; none answered */
	uint64_t duration_ns; /* of that */
};

struct amb_flow_hooks {
	void *ctx;
	/* Connection classified; @worker 0.. tells the thread. Returns a cookie. */
	void *(*opened)(void *ctx, unsigned int worker, const struct amb_flow *f);
	/* Connection ended; the flow has all of its bytes. */
	void (*closed)(void *ctx, unsigned int worker, void *cookie, const struct amb_flow *f);
	/* Early reject: no opened() was called for it. */
	void (*failed)(void *ctx, unsigned int worker, const struct amb_flow *f);
	/*
	 * Asked for by amb_proxy_tell_bytes(): begin, one bytes() for each live connection that
	 * was opened, with its bytes so far; end. All on the worker's thread, nothing between.
	 */
	void (*bytes_begin)(void *ctx, unsigned int worker);
	void (*bytes)(void *ctx, unsigned int worker, void *cookie, uint64_t to_dst,
		      uint64_t to_src);
	void (*bytes_end)(void *ctx, unsigned int worker);
	/* May be NULL. */
	void (*dns)(void *ctx, unsigned int worker, const struct amb_flow_dns *d);
	/*
	 * A connection of @source goes to an endpoint that is known by its name @host only, whose
	 * address the agent looks up, in its cache or beyond. Any worker; may be NULL.
	 */
	void (*resolve)(void *ctx, const struct amb_workload *source, amb_str host);
};

#endif
