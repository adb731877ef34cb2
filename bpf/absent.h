/* SPDX-License-Identifier: GPL-2.0 */
/*
 * While no agent runs: the kernel's own answer that nobody is there, to what needs an agent. With
 * AMB_META_WAIT it goes no further, so that whoever asked asks again, at TCP's or his own times,
 * until the next agent is there or he has had enough. Answers are held back here and nothing is
 * ever let through, least of all what asked: that goes to an agent's port, or nowhere.
 *
 * Whether an agent runs nobody has to know: one that listens is asked, and no such answer is made.
 */
#ifndef AMB_BPF_ABSENT_H
#define AMB_BPF_ABSENT_H

#include "addr.h"
#include "flight.h"
#include "maps.h"
#include "packet.h"
#include "policy.h"

static __always_inline bool amb_absent_waits(void)
{
	const struct amb_meta_row *meta;
	__u32 zero = 0;

	meta = bpf_map_lookup_elem(&amb_meta, &zero);
	return meta && meta->flags & AMB_META_WAIT;
}

/* @p of @skb, to a program in a pod: refuses it a connection or a query that is for the agent? */
static __always_inline bool amb_absent_outbound(struct __sk_buff *skb, const struct amb_packet *p)
{
	if (!amb_addr_loopback(&p->src))
		return p->refused && p->src_port == AMB_PORT_OUTBOUND;
	if (p->tcp)
		return p->refused && p->src_port == AMB_PORT_DNS;
	return amb_packet_untaken(skb) == AMB_PORT_DNS;
}

/*
 * @p, out of the pod in namespace @netns, refuses a connection. Is it one for the agent: a tunnel,
 * or in clear and not judged yet, as amb_lookup finds (lookup.bpf.c)?
 */
static __always_inline bool amb_absent_inbound(__u64 netns, const struct amb_packet *p)
{
	const struct amb_pod_row *pod = bpf_map_lookup_elem(&amb_pod, &netns);
	const struct amb_addr_row *own = bpf_map_lookup_elem(&amb_addr, &p->src);
	enum amb_reason reason = AMB_REASON_NONE;
	struct amb_addr_row *from;
	struct amb_flight_key key;

	if (!pod)
		return false;
	if (p->src_port == AMB_PORT_HBONE)
		return true;
	if (!(pod->flags & AMB_POD_INBOUND) || !own || own->netns != netns ||
	    amb_addr_own_port(p->src_port) || amb_addr_probe(&p->dst))
		return false;
	amb_flight_of(&p->dst, p->dst_port, &p->src, p->src_port, &key, &from);
	return amb_policy_find(pod, netns, from ? from->identity : 0, &p->dst, &p->src, p->src_port,
			       &reason) == AMB_VERDICT_NONE;
}

#endif
