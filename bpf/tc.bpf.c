// SPDX-License-Identifier: GPL-2.0
/*
 * Packets at the ends of a pod's interface.
 *
 * What comes out of a pod is looked at at the host's end, where nobody in the pod can take the
 * program away.
 *
 * A pod speaks with its own addresses only, so that an address claims nothing it does not own.
 * And nothing begins in clear what should have been tunnelled: a first packet to the mesh is let
 * through when it goes to HBONE's port, or when a socket was let connect to just there. That
 * catches what the hook at connect() did not see: raw sockets, kernels whose MPTCP does not call
 * it, whatever else somebody thinks of. Where a CNI's rules capture the pod that is their job.
 *
 * What goes into such a pod is looked at at the pod's end, for a mark does not live beyond a
 * namespace: the first packet of a direct connection, told by what its other end left at
 * connect(), gets the mark that leads it past the rules. What gets none is theirs, so whoever
 * takes this program away in his pod, or the rules of ours, has his connections tunnelled.
 *
 * Where that is wanted, what says that no agent is there gets neither out of a pod nor to programs
 * inside. Those it would reach by the loopback interface, which has a program of its own then:
 * who takes it away in his pod has his connections refused.
 */
#include "absent.h"
#include "addr.h"
#include "events.h"
#include "flight.h"
#include "maps.h"
#include "packet.h"
#include "policy.h"

char LICENSE[] SEC("license") = "GPL";

/* Mean the same to clsact and tcx: the next program decides; the packet goes no further. */
#define NEXT (-1)
#define DROP 2

static __always_inline int drop(enum amb_reason reason)
{
	amb_event_dropped(reason);
	return DROP;
}

static __always_inline bool owns(const struct amb_if_row *port, const struct amb_packet *p)
{
	const struct amb_addr_row *row = bpf_map_lookup_elem(&amb_addr, &p->src);

	/* Under a CNI's rules an address proves something only where it is a captured pod's. */
	if (row)
		return row->netns == port->netns || (port->flags & AMB_IF_RULES && !row->netns);
	if (!(port->flags & AMB_IF_STRICT))
		return true;
	/* What neighbours and configuration need, and no connection of the mesh has. */
	return amb_addr_linklocal6(&p->src) || (amb_addr_any(&p->src) && !p->tcp);
}

/* Must a connection to @dst have been decided? */
static __always_inline bool guarded(const struct amb_packet *p)
{
	const struct amb_addr_row *row = bpf_map_lookup_elem(&amb_addr, &p->dst);
	struct amb_cidr_key key = { .bits = 128, .addr = p->dst };
	const struct amb_meta_row *meta;
	const struct amb_cidr_row *cidr;
	__u32 zero = 0, flags = 0;

	if (row) {
		flags = row->flags;
	} else {
		meta = bpf_map_lookup_elem(&amb_meta, &zero);
		if (meta && meta->flags & AMB_META_CIDR) {
			cidr = bpf_map_lookup_elem(&amb_cidr, &key);
			flags = cidr ? cidr->flags : 0;
		}
	}
	if (flags & AMB_ADDR_PASS)
		return false;
	if (p->dst_port == AMB_PORT_HBONE && flags & AMB_ADDR_HBONE)
		return false;
	return flags & (AMB_ADDR_HBONE | AMB_ADDR_SERVICE | AMB_ADDR_AGENT);
}

static __always_inline bool decided(const struct amb_if_row *port, const struct amb_packet *p)
{
	const struct amb_flight_row *flight;
	struct amb_flight_key key;

	amb_flight_key_set(&key, port->netns, &p->dst, p->dst_port, p->src_port);
	flight = bpf_map_lookup_elem(&amb_flight, &key);
	return flight && (flight->way == AMB_WAY_DIRECT || flight->way == AMB_WAY_SPLICE ||
			  flight->way == AMB_WAY_NONE);
}

SEC("tc")
int amb_from_pod(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const struct amb_if_row *port = bpf_map_lookup_elem(&amb_if, &ifindex);
	struct amb_packet p = {};

	if (!port)
		return NEXT;
	switch (amb_packet_parse(skb, &p)) {
	case AMB_PARSE_OTHER:
		return NEXT;
	case AMB_PARSE_BAD:
		return port->flags & AMB_IF_STRICT ? drop(AMB_REASON_BYPASS) : NEXT;
	case AMB_PARSE_IP:
		break;
	}
	if (!owns(port, &p))
		return drop(AMB_REASON_SPOOFED);
	if (port->flags & AMB_IF_RULES)
		return NEXT;
	if ((p.syn || p.hidden) && guarded(&p) && (p.hidden || !decided(port, &p)))
		return drop(AMB_REASON_BYPASS);
	if (p.refused && amb_absent_waits() && amb_absent_inbound(port->netns, &p))
		return drop(AMB_REASON_ABSENT);
	return NEXT;
}

SEC("tc")
int amb_lo(struct __sk_buff *skb)
{
	struct amb_packet p = {};

	if (amb_packet_parse(skb, &p) != AMB_PARSE_IP)
		return NEXT;
	if (amb_absent_outbound(skb, &p) && amb_absent_waits())
		return drop(AMB_REASON_ABSENT);
	return NEXT;
}

/* Begins @p a connection that is to reach the application by itself? */
static __always_inline bool is_direct(const struct amb_packet *p)
{
	const struct amb_addr_row *to = bpf_map_lookup_elem(&amb_addr, &p->dst);
	enum amb_reason reason = AMB_REASON_NONE;
	const struct amb_pod_row *pod;
	struct amb_addr_row *from;
	struct amb_flight_key key;
	__u64 netns;

	if (!to || !to->netns)
		return false;
	netns = to->netns;
	pod = bpf_map_lookup_elem(&amb_pod, &netns);
	if (!pod || !(pod->flags & AMB_POD_INBOUND) ||
	    !amb_flight_of(&p->src, p->src_port, &p->dst, p->dst_port, &key, &from))
		return false;
	/* Policies may have changed since; the agent says so to the other end then. */
	return amb_policy_find(pod, netns, from->identity, &p->src, &p->dst, p->dst_port,
			       &reason) == AMB_VERDICT_ALLOW;
}

SEC("tc")
int amb_to_pod(struct __sk_buff *skb)
{
	struct amb_packet p = {};
	__u32 mark;

	if (amb_packet_parse(skb, &p) != AMB_PARSE_IP || !p.syn)
		return NEXT;
	/* Nobody else gives our mark. */
	mark = skb->mark == AMB_DIRECT_MARK ? 0 : skb->mark;
	skb->mark = is_direct(&p) ? AMB_DIRECT_MARK : mark;
	return NEXT;
}
