/* SPDX-License-Identifier: GPL-2.0 */
/* What a pod's packet says of itself, as far as anybody needs it. */
#ifndef AMB_BPF_PACKET_H
#define AMB_BPF_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "addr.h"

#define AMB_PACKET_EXTENSIONS 6 /* IPv6 extension headers looked through */

/* linux/icmp.h wants more of the C library than there is here. */
struct amb_packet_icmp {
	__u8 type, code;
	__u8 rest[6];
};

enum amb_packet_unreach {
	AMB_PACKET_UNREACH = 3,
	AMB_PACKET_UNREACH_PORT = 3,
	AMB_PACKET_UNREACH6 = 1,
	AMB_PACKET_UNREACH6_PORT = 4,
};

struct amb_packet {
	struct amb_in6 src, dst;
	__u16 src_port, dst_port;
	bool tcp;
	bool syn; /* TCP, begins a connection */
	bool refused; /* TCP, answers such a packet: nobody listens */
	bool hidden; /* TCP, or perhaps, whose ports cannot be seen: a fragment, odd headers */
};

enum amb_parse {
	AMB_PARSE_OTHER, /* not IP: ARP and the like */
	AMB_PARSE_IP,
	AMB_PARSE_BAD, /* cut off, or a frame in a frame */
};

/* Reads @len bytes at @off. Headers may lie outside of the linear part of a crafted packet. */
static __always_inline bool amb_packet_read(struct __sk_buff *skb, __u32 off, void *to, __u32 len)
{
	return !bpf_skb_load_bytes(skb, off, to, len);
}

static __always_inline enum amb_parse amb_packet_tcp(struct __sk_buff *skb, __u32 off,
						     struct amb_packet *p)
{
	struct tcphdr th;

	p->tcp = true;
	if (!amb_packet_read(skb, off, &th, sizeof(th)))
		return AMB_PARSE_BAD;
	p->src_port = bpf_ntohs(th.source);
	p->dst_port = bpf_ntohs(th.dest);
	p->syn = th.syn && !th.ack;
	/* The reset of a connection that was there has a number (RFC 9293, 3.10.7.1). */
	p->refused = th.rst && th.ack && !th.seq;
	return AMB_PARSE_IP;
}

static __always_inline enum amb_parse amb_packet_ip4(struct __sk_buff *skb, struct amb_packet *p)
{
	struct iphdr ih;

	if (!amb_packet_read(skb, ETH_HLEN, &ih, sizeof(ih)) || ih.version != 4 || ih.ihl < 5)
		return AMB_PARSE_BAD;
	amb_addr_set4(&p->src, ih.saddr);
	amb_addr_set4(&p->dst, ih.daddr);
	if (ih.protocol != IPPROTO_TCP)
		return AMB_PARSE_IP;
	if (ih.frag_off & bpf_htons(0x3fff)) {
		p->tcp = p->hidden = true;
		return AMB_PARSE_IP;
	}
	return amb_packet_tcp(skb, ETH_HLEN + ih.ihl * 4, p);
}

static __always_inline enum amb_parse amb_packet_ip6(struct __sk_buff *skb, struct amb_packet *p)
{
	__u32 off = ETH_HLEN + sizeof(struct ipv6hdr);
	struct ipv6hdr ih;
	__u8 next, ext[2];
	int i;

	if (!amb_packet_read(skb, ETH_HLEN, &ih, sizeof(ih)) || ih.version != 6)
		return AMB_PARSE_BAD;
	__builtin_memcpy(&p->src, &ih.saddr, sizeof(p->src));
	__builtin_memcpy(&p->dst, &ih.daddr, sizeof(p->dst));
	next = ih.nexthdr;
	for (i = 0; i <= AMB_PACKET_EXTENSIONS; i++) {
		switch (next) {
		case IPPROTO_TCP:
			return amb_packet_tcp(skb, off, p);
		case IPPROTO_UDP:
		case IPPROTO_ICMPV6:
		case IPPROTO_NONE:
			return AMB_PARSE_IP;
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
			if (!amb_packet_read(skb, off, ext, sizeof(ext)))
				return AMB_PARSE_BAD;
			next = ext[0];
			off += (ext[1] + 1) * 8;
			continue;
		default: /* fragments too */
			p->hidden = true;
			return AMB_PARSE_IP;
		}
	}
	p->hidden = true;
	return AMB_PARSE_IP;
}

/* Reads a packet with an Ethernet header. @p is filled with IP. */
static __always_inline enum amb_parse amb_packet_parse(struct __sk_buff *skb, struct amb_packet *p)
{
	if (skb->vlan_present)
		return AMB_PARSE_BAD;
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return amb_packet_ip4(skb, p);
	case bpf_htons(ETH_P_IPV6):
		return amb_packet_ip6(skb, p);
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		return AMB_PARSE_BAD;
	default:
		return AMB_PARSE_OTHER;
	}
}

/*
 * The port that a packet by UDP went to which nobody took, where @skb says so of one without
 * options; else 0.
 */
static __always_inline __u16 amb_packet_untaken(struct __sk_buff *skb)
{
	struct {
		struct iphdr ih;
		struct amb_packet_icmp icmp;
		struct iphdr about;
		struct udphdr uh;
	} v4;
	struct {
		struct ipv6hdr ih;
		struct amb_packet_icmp icmp;
		struct ipv6hdr about;
		struct udphdr uh;
	} v6;

	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		if (!amb_packet_read(skb, ETH_HLEN, &v4, sizeof(v4)) || v4.ih.ihl != 5 ||
		    v4.ih.protocol != IPPROTO_ICMP || v4.icmp.type != AMB_PACKET_UNREACH ||
		    v4.icmp.code != AMB_PACKET_UNREACH_PORT || v4.about.ihl != 5 ||
		    v4.about.protocol != IPPROTO_UDP)
			return 0;
		return bpf_ntohs(v4.uh.dest);
	case bpf_htons(ETH_P_IPV6):
		if (!amb_packet_read(skb, ETH_HLEN, &v6, sizeof(v6)) ||
		    v6.ih.nexthdr != IPPROTO_ICMPV6 ||
		    v6.icmp.type != AMB_PACKET_UNREACH6 ||
		    v6.icmp.code != AMB_PACKET_UNREACH6_PORT ||
		    v6.about.nexthdr != IPPROTO_UDP)
			return 0;
		return bpf_ntohs(v6.uh.dest);
	default:
		return 0;
	}
}

#endif
