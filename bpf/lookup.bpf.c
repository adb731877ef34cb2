// SPDX-License-Identifier: GPL-2.0
/*
 * Who may reach a pod's application without a tunnel: judged where the kernel looks for the
 * listening socket, in the pod's own namespace.
 *
 * Allowed connections go to the application's listener as if nobody had looked; what nobody has
 * judged yet goes to the agent's listener on 15006, whose address and port stay the original
 * ones; the rest finds no listener, which the other side sees as a refused connection.
 *
 * The context does not tell the namespace, so the pod is found by the address that was dialled.
 * An address that the mesh does not know the pod by has no verdict, hence no way in.
 */
#include "addr.h"
#include "events.h"
#include "flight.h"
#include "maps.h"
#include "policy.h"

char LICENSE[] SEC("license") = "GPL";

struct party {
	struct amb_in6 src, dst;
	__u16 src_port, dst_port;
};

/* The agent's listener in the pod; a socket of another namespace would be refused. */
static __always_inline int to_agent(struct bpf_sk_lookup *ctx, __u64 netns)
{
	struct bpf_sock *sk = bpf_map_lookup_elem(&amb_listener, &netns);
	long err;

	if (!sk)
		return SK_DROP;
	err = bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	return err ? SK_DROP : SK_PASS;
}

static __always_inline void tell_denied(const struct party *p, const struct amb_addr_row *to,
					const struct amb_pod_row *pod,
					const struct amb_addr_row *from, enum amb_reason reason)
{
	struct amb_conn_row conn = {
		.netns = to->netns,
		.peer = from ? from->netns : 0,
		.start_ns = bpf_ktime_get_ns(),
		.way = AMB_WAY_DENY,
		.inbound = 1,
		.src_identity = from ? from->identity : 0,
		.dst_identity = pod->identity,
		.src = p->src,
		.dst = p->dst,
		.asked = p->dst,
		.src_port = p->src_port,
		.dst_port = p->dst_port,
		.asked_port = p->dst_port,
	};

	amb_event_tell(AMB_EVENT_DENY, reason, 0, &conn, 0, 0);
}

static __always_inline int judge(struct bpf_sk_lookup *ctx, const struct party *p)
{
	const struct amb_addr_row *to = bpf_map_lookup_elem(&amb_addr, &p->dst);
	enum amb_reason reason = AMB_REASON_NONE;
	struct amb_addr_row *from;
	const struct amb_pod_row *pod;
	struct amb_flight_key key;
	__u64 netns;

	if (!to || !to->netns)
		goto unknown;
	netns = to->netns;
	pod = bpf_map_lookup_elem(&amb_pod, &netns);
	if (!pod)
		goto unknown;
	if (!(pod->flags & AMB_POD_INBOUND))
		return SK_PASS;
	/* The pod itself, or the agent inside it, perhaps with a client's address. */
	if (amb_addr_same(&p->src, &p->dst))
		return SK_PASS;
	amb_flight_key_set(&key, netns, &p->dst, p->dst_port, p->src_port);
	if (amb_flight_agent(&key, &p->src))
		return SK_PASS;
	if (amb_addr_own_port(p->dst_port)) {
		amb_event_count(AMB_WAY_DENY, AMB_REASON_LOOP);
		return SK_DROP;
	}
	amb_flight_of(&p->src, p->src_port, &p->dst, p->dst_port, &key, &from);
	switch (amb_policy_find(pod, netns, from ? from->identity : 0, &p->src, &p->dst,
				p->dst_port, &reason)) {
	case AMB_VERDICT_ALLOW:
		/* The other end has counted a direct one. */
		if (!from)
			amb_event_count(AMB_WAY_PASSTHROUGH, reason);
		return SK_PASS;
	case AMB_VERDICT_DENY:
		amb_event_count(AMB_WAY_DENY, reason);
		tell_denied(p, to, pod, from, reason);
		return SK_DROP;
	default:
		return to_agent(ctx, netns);
	}
unknown:
	amb_event_count(AMB_WAY_DENY, AMB_REASON_UNKNOWN_ADDRESS);
	return SK_DROP;
}

SEC("sk_lookup")
int amb_lookup(struct bpf_sk_lookup *ctx)
{
	struct party p = {
		.src_port = bpf_ntohs(ctx->remote_port),
		.dst_port = ctx->local_port,
	};

	if (ctx->protocol != AMB_TCP || p.dst_port == AMB_PORT_HBONE)
		return SK_PASS;
	if (ctx->family == AMB_AF_INET) {
		amb_addr_set4(&p.src, ctx->remote_ip4);
		amb_addr_set4(&p.dst, ctx->local_ip4);
	} else {
		AMB_ADDR_SET6(&p.src, ctx->remote_ip6);
		AMB_ADDR_SET6(&p.dst, ctx->local_ip6);
	}
	if (amb_addr_loopback(&p.dst) || amb_addr_probe(&p.src))
		return SK_PASS;
	return judge(ctx, &p);
}
