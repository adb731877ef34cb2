/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a connection goes: the outbound decision (reference section 5), load balancing, and
 * the validation of what a tunnel asks for (4.5). Pure.
 */
#ifndef AMB_DECIDE_H
#define AMB_DECIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "ambient/ports.h"
#include "ambient/reason.h"
#include "base/addr.h"
#include "identity.h"
#include "state.h"

/* hostname of 253 and ":65535", with NUL */
#define AMB_AUTHORITY_MAX 264

enum amb_protocol { AMB_PROTO_TCP, AMB_PROTO_HBONE, AMB_PROTO_DOUBLE_HBONE };

struct amb_decision {
	enum amb_way way; /* PASSTHROUGH, TUNNEL or DENY (user-tier tables only) */
	enum amb_reason reason;
	enum amb_protocol protocol;
	struct amb_endpoint dial; /* where the TCP connection goes */
	/*
	 * Not NULL: the address must be resolved from this name first, and given to
	 * amb_decision_resolved(). The name (interned) lives as long as the decision.
	 */
	amb_str resolve;
	char authority[AMB_AUTHORITY_MAX]; /* of the (inner) CONNECT; "" for TCP */
	uint16_t target_port; /* of the workload: the port in its authority */
	struct amb_identset expect; /* identities the TLS peer may have; empty: none */
	struct amb_identset expect_inner; /* double HBONE: those of the inner peer */
	/* for telemetry; references, NULL when not known */
	struct amb_workload *workload; /* chosen destination (or waypoint/gateway when via) */
	struct amb_service *service; /* service that was addressed */
	bool via_waypoint;
	/*
	 * On demand: the name (reference 1.9) of what was looked for in vain; owned. The decision
	 * holds if there is no such thing.
	 */
	char *missing;
};

/*
 * Decides for a connection of @src to @dst. @src NULL is refused (NO_SOURCE). Does its own
 * read section and retries. Never fails: an error is way DENY with a reason. The caller
 * releases @out.
 */
void amb_decide_outbound(const struct amb_state *st, const struct amb_workload *src,
			 const struct amb_endpoint *dst, struct amb_decision *out);
void amb_decision_release(struct amb_decision *d);
/* Completes a decision that wanted @resolve with the address found. */
void amb_decision_resolved(struct amb_decision *d, const struct amb_addr *addr);

/*
 * The endpoints among which a connection of @src to @port of @s is drawn: those of the best rank,
 * each with its weight, the address it would be dialled at when @vip was asked for, and its
 * port. NULL address: it has none. Within a read section. False when @fn stopped the walk.
 */
typedef bool amb_decide_endpoint_fn(void *ctx, const struct amb_workload *w,
				    const struct amb_addr *addr, uint16_t port);
bool amb_decide_endpoints(const struct amb_state *st, const struct amb_workload *src,
			  const struct amb_service *s, const struct amb_addr *vip, uint16_t port,
			  amb_decide_endpoint_fn *fn, void *ctx);

enum amb_authority_kind { AMB_AUTHORITY_ADDR, AMB_AUTHORITY_HOST };
struct amb_authority {
	enum amb_authority_kind kind;
	struct amb_endpoint addr; /* kind ADDR; port always */
	char host[AMB_AUTHORITY_MAX]; /* kind HOST, lower case */
};
/* Reads "v4:port", "[v6]:port" or "host:port" of @len bytes. 0 or -EINVAL, @out untouched. */
int amb_authority_parse(const char *text, size_t len, struct amb_authority *out);

/* What an inbound tunnel asks for becomes a target, or an HTTP status (reference 4.4, 4.5). */
struct amb_inbound {
	int status; /* 200: connect; else 400, 503 with reason */
	enum amb_reason reason;
	struct amb_endpoint target;
	bool proxy; /* send a PROXY v2 header first */
	struct amb_endpoint proxy_dst; /* destination said in that header */
	struct amb_service *service; /* reference, the service addressed when known */
	char *missing; /* as of struct amb_decision */
};

/*
 * @local: the workload that owns the listener; NULL gives 503 NO_DESTINATION. @conn_dst: the
 * tunnel connection's own local address. @forwarded_host: host of the forwarded header, may
 * be NULL (telemetry: the service). Own read section. The caller releases @out.
 */
void amb_decide_inbound(const struct amb_state *st, const struct amb_workload *local,
			const struct amb_endpoint *conn_dst, const struct amb_authority *authority,
			const char *forwarded_host, struct amb_inbound *out);
void amb_inbound_release(struct amb_inbound *in);

/*
 * The names by which the control plane knows what has an address, and what has a host name
 * (reference 1.9). To be freed; NULL: out of memory.
 */
char *amb_decide_name_of_addr(const char *network, const struct amb_addr *addr);
char *amb_decide_name_of_host(const char *ns, const char *hostname);

/* True for the agent's own ports (self-call guard, 4.1). */
bool amb_decide_own_port(uint16_t port);

#endif
