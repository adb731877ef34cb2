// SPDX-License-Identifier: GPL-2.0
/*
 * DNS queries by UDP of sockets that are not connected, and where answers seem to come from;
 * those that connect are turned in connect.bpf.c.
 */
#include "dns.h"

char LICENSE[] SEC("license") = "GPL";

#define ALLOW 1

static __always_inline bool turn(struct bpf_sock_addr *ctx, const struct amb_in6 *dst,
				 struct amb_in6 *to)
{
	struct amb_pod_row *pod;
	__u64 netns;

	/* What is no query pays for no look-up. */
	if (ctx->user_port != bpf_htons(AMB_DNS_PORT))
		return false;
	netns = bpf_get_netns_cookie(ctx);
	pod = bpf_map_lookup_elem(&amb_pod, &netns);
	if (!pod || !amb_dns_wanted(ctx, pod, dst, AMB_DNS_PORT) || !amb_dns_note(ctx, dst))
		return false;
	amb_dns_agent(dst, to);
	return true;
}

SEC("cgroup/sendmsg4")
int amb_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct amb_in6 dst, to;

	amb_addr_set4(&dst, ctx->user_ip4);
	if (turn(ctx, &dst, &to)) {
		ctx->user_ip4 = ((__u32 *)&to)[3];
		ctx->user_port = bpf_htons(AMB_PORT_DNS);
	}
	return ALLOW;
}

SEC("cgroup/sendmsg6")
int amb_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct amb_in6 dst, to;
	__u32 *w = (__u32 *)&to;

	AMB_ADDR_SET6(&dst, ctx->user_ip6);
	if (turn(ctx, &dst, &to)) {
		ctx->user_ip6[0] = w[0];
		ctx->user_ip6[1] = w[1];
		ctx->user_ip6[2] = w[2];
		ctx->user_ip6[3] = w[3];
		ctx->user_port = bpf_htons(AMB_PORT_DNS);
	}
	return ALLOW;
}

/* The agent's answer is that of the server which was asked. */
static __always_inline const struct amb_flight_row *answered(struct bpf_sock_addr *ctx,
							     const struct amb_in6 *src)
{
	struct amb_sock_row *row;

	if (ctx->user_port != bpf_htons(AMB_PORT_DNS) || !amb_addr_loopback(src) || !ctx->sk)
		return NULL;
	row = bpf_sk_storage_get(&amb_sock, ctx->sk, 0, 0);
	return row && row->peer_shown && row->flight.dst_port == AMB_DNS_PORT ? &row->flight : NULL;
}

SEC("cgroup/recvmsg4")
int amb_recvmsg4(struct bpf_sock_addr *ctx)
{
	const struct amb_flight_row *f;
	struct amb_in6 src;

	amb_addr_set4(&src, ctx->user_ip4);
	f = answered(ctx, &src);
	if (f) {
		ctx->user_ip4 = ((__u32 *)&f->dst)[3];
		ctx->user_port = bpf_htons(AMB_DNS_PORT);
	}
	return ALLOW;
}

SEC("cgroup/recvmsg6")
int amb_recvmsg6(struct bpf_sock_addr *ctx)
{
	const struct amb_flight_row *f;
	struct amb_in6 src;
	const __u32 *w;

	AMB_ADDR_SET6(&src, ctx->user_ip6);
	f = answered(ctx, &src);
	if (f) {
		w = (const __u32 *)&f->dst;
		ctx->user_ip6[0] = w[0];
		ctx->user_ip6[1] = w[1];
		ctx->user_ip6[2] = w[2];
		ctx->user_ip6[3] = w[3];
		ctx->user_port = bpf_htons(AMB_DNS_PORT);
	}
	return ALLOW;
}
