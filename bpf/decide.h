/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The decision: which way a connection of a captured pod takes, and why. One function, called
 * by thin wrappers at connect() and, for tests and `ambientctl why`, through BPF_PROG_RUN.
 *
 * It only reads. What the rows do not settle goes to the agent by way TUNNEL: the agent decides
 * again from all that it knows, and leaves a row for the next time where there can be one. So a
 * row that is missing costs time, never safety.
 */
#ifndef AMB_BPF_DECIDE_H
#define AMB_BPF_DECIDE_H

#include "addr.h"
#include "maps.h"
#include "policy.h"

struct amb_choice {
	enum amb_way way; /* NONE: none of our business */
	enum amb_reason reason;
	struct amb_in6 to; /* DIRECT: an endpoint, when a service was asked for */
	__u16 to_port;
	__u64 peer; /* DIRECT, DENY: the destination's namespace */
	__u32 peer_identity;
};

static __always_inline void amb_decide_is(struct amb_choice *c, enum amb_way way,
					  enum amb_reason reason)
{
	c->way = way;
	c->reason = reason;
}

/* Both have opted in, and there is a program that does it. */
static __always_inline bool amb_decide_splices(const struct amb_pod_row *src,
					       const struct amb_pod_row *dst)
{
	const struct amb_meta_row *meta;
	__u32 zero = 0;

	if (!(src->flags & dst->flags & AMB_POD_SPLICE))
		return false;
	meta = bpf_map_lookup_elem(&amb_meta, &zero);
	return meta && meta->flags & AMB_META_SPLICE;
}

/* To a captured pod of this node. */
static __always_inline void amb_decide_local(const struct amb_pod_row *pod,
					     const struct amb_addr_row *to, struct amb_choice *c)
{
	const struct amb_in6 *src = amb_addr_is4(&c->to) ? &pod->v4 : &pod->v6;
	__u64 netns = to->netns;
	const struct amb_pod_row *dst = bpf_map_lookup_elem(&amb_pod, &netns);
	enum amb_reason reason = AMB_REASON_NO_VERDICT;

	if (!dst || !(dst->flags & AMB_POD_INBOUND) || amb_addr_own_port(c->to_port)) {
		amb_decide_is(c, AMB_WAY_TUNNEL, AMB_REASON_WORKLOAD);
		return;
	}
	if ((pod->flags | dst->flags) & AMB_POD_ALWAYS_TUNNEL) {
		amb_decide_is(c, AMB_WAY_TUNNEL, AMB_REASON_ALWAYS_TUNNEL);
		return;
	}
	/* Not known yet is not nobody: verdicts on plaintext are not his. The agent waits. */
	if (!pod->identity) {
		amb_decide_is(c, AMB_WAY_TUNNEL, AMB_REASON_NO_VERDICT);
		return;
	}
	c->peer = netns;
	c->peer_identity = dst->identity;
	switch (amb_policy_find(dst, netns, pod->identity, src, &c->to, c->to_port, &reason)) {
	case AMB_VERDICT_ALLOW:
		amb_decide_is(c, amb_decide_splices(pod, dst) ? AMB_WAY_SPLICE : AMB_WAY_DIRECT,
			      reason);
		break;
	case AMB_VERDICT_DENY:
		amb_decide_is(c, AMB_WAY_DENY, reason);
		break;
	default:
		amb_decide_is(c, AMB_WAY_TUNNEL, AMB_REASON_NO_VERDICT);
	}
}

/* The address is a service's: an endpoint of it, if all of them are of this node. */
static __always_inline void amb_decide_service(const struct amb_pod_row *pod, struct amb_choice *c)
{
	struct amb_svc_key key = { .addr = c->to, .port = c->to_port };
	struct amb_svc_row *svc = bpf_map_lookup_elem(&amb_svc, &key);
	const struct amb_addr_row *to;
	struct amb_end_key slot = {};
	struct amb_end_row *end;

	amb_decide_is(c, AMB_WAY_TUNNEL, AMB_REASON_SERVICE);
	if (!svc || !svc->slots)
		return;
	slot.number = svc->number;
	slot.slot = bpf_get_prandom_u32() % svc->slots;
	end = bpf_map_lookup_elem(&amb_end, &slot);
	if (!end)
		return;
	to = bpf_map_lookup_elem(&amb_addr, &end->addr);
	if (!to || !to->netns)
		return;
	c->to = end->addr;
	c->to_port = end->port;
	amb_decide_local(pod, to, c);
}

static __always_inline void amb_decide_unknown(struct amb_choice *c)
{
	struct amb_cidr_key key = { .bits = 128, .addr = c->to };
	const struct amb_meta_row *meta;
	__u32 zero = 0;

	meta = bpf_map_lookup_elem(&amb_meta, &zero);
	if (!meta || meta->flags & AMB_META_PARTIAL)
		amb_decide_is(c, AMB_WAY_TUNNEL, AMB_REASON_NONE);
	else if (meta->flags & AMB_META_CIDR && bpf_map_lookup_elem(&amb_cidr, &key))
		amb_decide_is(c, AMB_WAY_TUNNEL, AMB_REASON_SERVICE);
	else
		amb_decide_is(c, AMB_WAY_PASSTHROUGH, AMB_REASON_NOT_IN_MESH);
}

/*
 * Decides for the pod @pod in namespace @netns, which asks for @dst:@port. Fills all of @c:
 * where the connection goes is @dst:@port, unless the way says DIRECT or DENY and @c another.
 */
static __always_inline void amb_decide(const struct amb_pod_row *pod, __u64 netns,
				       const struct amb_in6 *dst, __u16 port, struct amb_choice *c)
{
	const struct amb_addr_row *to;

	*c = (struct amb_choice){ .to = *dst, .to_port = port };
	if (amb_addr_any(dst) || amb_addr_loopback(dst))
		return;
	to = bpf_map_lookup_elem(&amb_addr, dst);
	if (!to)
		amb_decide_unknown(c);
	else if (to->netns == netns)
		return;
	else if (to->flags & AMB_ADDR_AGENT)
		amb_decide_is(c, AMB_WAY_TUNNEL, AMB_REASON_NONE);
	else if (to->flags & AMB_ADDR_PASS)
		amb_decide_is(c, AMB_WAY_PASSTHROUGH, AMB_REASON_SERVICE_PASSTHROUGH);
	else if (to->flags & AMB_ADDR_SERVICE && pod->flags & AMB_POD_ALWAYS_TUNNEL)
		amb_decide_is(c, AMB_WAY_TUNNEL, AMB_REASON_ALWAYS_TUNNEL);
	else if (to->flags & AMB_ADDR_SERVICE)
		amb_decide_service(pod, c);
	else if (!(to->flags & AMB_ADDR_HBONE))
		amb_decide_is(c, AMB_WAY_PASSTHROUGH, AMB_REASON_PLAIN_WORKLOAD);
	else if (to->netns)
		amb_decide_local(pod, to, c);
	else
		amb_decide_is(c, AMB_WAY_TUNNEL, AMB_REASON_WORKLOAD);
}

#endif
