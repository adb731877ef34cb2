/* SPDX-License-Identifier: GPL-2.0 */
/*
 * DNS queries of captured pods go to the agent on the pod's loopback. What was asked for stays
 * with the socket: resolvers look whether an answer comes from the server that they asked.
 */
#ifndef AMB_BPF_DNS_H
#define AMB_BPF_DNS_H

#include "addr.h"
#include "agent.h"
#include "maps.h"

#define AMB_DNS_PORT 53

/* Is it a query of @pod to @dst:@port that the agent wants? */
static __always_inline bool amb_dns_wanted(const struct bpf_sock_addr *ctx,
					   const struct amb_pod_row *pod,
					   const struct amb_in6 *dst, __u16 port)
{
	__u32 flag = amb_addr_is4(dst) ? AMB_POD_DNS : AMB_POD_DNS6;

	return port == AMB_DNS_PORT && pod->flags & flag && ctx->sk && !amb_addr_loopback(dst) &&
	       !amb_addr_any(dst) && !amb_agent_owns(ctx->sk);
}

static __always_inline void amb_dns_agent(const struct amb_in6 *dst, struct amb_in6 *to)
{
	if (amb_addr_is4(dst)) {
		amb_addr_set4(to, bpf_htonl(0x7f000001));
	} else {
		*to = (struct amb_in6){};
		to->b[15] = 1;
	}
}

/* Notes what was asked for. False: it cannot be kept, so the answer would not be believed. */
static __always_inline bool amb_dns_note(struct bpf_sock_addr *ctx, const struct amb_in6 *dst)
{
	struct amb_sock_row *row;

	row = bpf_sk_storage_get(&amb_sock, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!row)
		return false;
	row->flight.dst = *dst;
	row->flight.dst_port = AMB_DNS_PORT;
	row->flight.way = AMB_WAY_NONE;
	row->peer_shown = 1;
	return true;
}

#endif
