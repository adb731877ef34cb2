// SPDX-License-Identifier: GPL-2.0-or-later
#include "frame.h"

#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOPS 64
/*
 * Where a segment is cut. The least that IPv4 can, so that even the flags are in the second part;
 * IPv6 wants the whole header in the first (RFC 7112).
 */
#define CUT_V4 8
#define CUT_V6 24
#define MORE_FRAGMENTS_V6 1
/* Before the marker, so that it is whole in the second fragment. */
#define LEAD "\n\n\n\n"

static void set_address(unsigned char *to, const struct sockaddr_storage *ss)
{
	if (ss->ss_family == AF_INET6)
		memcpy(to, &((const struct sockaddr_in6 *)ss)->sin6_addr, 16);
	else
		memcpy(to, &((const struct sockaddr_in *)ss)->sin_addr, 4);
}

void frame_flow(struct flow *f, const struct sockaddr_storage *source,
		const struct sockaddr_storage *target, enum wrap wrap)
{
	memset(f, 0, sizeof(*f));
	f->v6 = target->ss_family == AF_INET6;
	f->wrap = wrap;
	f->id = getpid();
	set_address(f->source, source);
	set_address(f->target, target);
	f->sport = ntohs(((const struct sockaddr_in *)source)->sin_port);
	f->dport = ntohs(((const struct sockaddr_in *)target)->sin_port);
}

void frame_source(struct flow *f, const struct sockaddr_storage *source)
{
	set_address(f->source, source);
}

/* --- building --- */

static uint32_t sum(uint32_t s, const void *data, size_t n)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < n; i++)
		s += i & 1 ? p[i] : p[i] << 8;
	return s;
}

static uint16_t folded(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return htons(~s);
}

/* Over the pseudo header of either family: addresses, length, protocol. */
static uint16_t checksum(const struct flow *f, int protocol, const void *data, size_t n)
{
	size_t len = f->v6 ? 16 : 4;

	return folded(sum(sum(sum(protocol + n, f->source, len), f->target, len), data, n));
}

static size_t build_segment(const struct flow *f, uint8_t flags, uint32_t seq, uint32_t ack,
			    const char *text, unsigned char *out)
{
	struct tcphdr *tcp = (struct tcphdr *)out;
	size_t n = strlen(text);

	memset(tcp, 0, sizeof(*tcp));
	tcp->th_sport = htons(f->sport);
	tcp->th_dport = htons(f->dport);
	tcp->th_seq = htonl(seq);
	tcp->th_ack = htonl(ack);
	tcp->th_off = sizeof(*tcp) / 4;
	tcp->th_flags = flags;
	tcp->th_win = htons(65535);
	memcpy(out + sizeof(*tcp), text, n);
	tcp->th_sum = checksum(f, IPPROTO_TCP, out, sizeof(*tcp) + n);
	return sizeof(*tcp) + n;
}

static void wrap_v4(const struct flow *f, const unsigned char *data, size_t n, uint16_t offset,
		    struct packet *p)
{
	static const unsigned char alert[] = { 148, 4, 0, 0 };
	size_t options = f->wrap == WRAP_OPTIONS ? sizeof(alert) : 0;
	struct ip ip = { .ip_v = 4,
			 .ip_hl = (sizeof(ip) + options) / 4,
			 .ip_len = htons(sizeof(ip) + options + n),
			 .ip_id = htons(f->id),
			 .ip_off = htons(offset),
			 .ip_ttl = HOPS,
			 .ip_p = IPPROTO_TCP };

	memcpy(&ip.ip_src, f->source, 4);
	memcpy(&ip.ip_dst, f->target, 4);
	ip.ip_sum = folded(sum(sum(0, &ip, sizeof(ip)), alert, options));
	p->ethertype = ETHERTYPE_IP;
	memcpy(p->data, &ip, sizeof(ip));
	memcpy(p->data + sizeof(ip), alert, options);
	memcpy(p->data + sizeof(ip) + options, data, n);
	p->len = sizeof(ip) + options + n;
}

/* The header that stands before TCP, if any. Returns its number. */
static int extension(const struct flow *f, uint16_t offset, unsigned char ext[8])
{
	static const unsigned char padding[8] = { IPPROTO_TCP, 0, 1, 4 };
	struct ip6_frag frag = { .ip6f_nxt = IPPROTO_TCP,
				 .ip6f_offlg = htons(offset),
				 .ip6f_ident = htonl(f->id) };

	switch (f->wrap) {
	case WRAP_OPTIONS:
		memcpy(ext, padding, sizeof(padding));
		return IPPROTO_HOPOPTS;
	case WRAP_DST_OPTIONS:
		memcpy(ext, padding, sizeof(padding));
		return IPPROTO_DSTOPTS;
	case WRAP_ATOMIC:
	case WRAP_FRAGMENTS:
		memcpy(ext, &frag, sizeof(frag));
		return IPPROTO_FRAGMENT;
	case WRAP_NONE:
		break;
	}
	return IPPROTO_TCP;
}

static void wrap_v6(const struct flow *f, const unsigned char *data, size_t n, uint16_t offset,
		    struct packet *p)
{
	unsigned char ext[8];
	int next = extension(f, offset, ext);
	size_t extra = next == IPPROTO_TCP ? 0 : sizeof(ext);
	struct ip6_hdr ip = { .ip6_hlim = HOPS, .ip6_plen = htons(extra + n), .ip6_nxt = next };

	ip.ip6_vfc = 6 << 4;
	memcpy(&ip.ip6_src, f->source, 16);
	memcpy(&ip.ip6_dst, f->target, 16);
	p->ethertype = ETHERTYPE_IPV6;
	memcpy(p->data, &ip, sizeof(ip));
	memcpy(p->data + sizeof(ip), ext, extra);
	memcpy(p->data + sizeof(ip) + extra, data, n);
	p->len = sizeof(ip) + extra + n;
}

int frame_build(struct flow *f, uint8_t flags, uint32_t seq, uint32_t ack, const char *text,
		struct packet out[FRAME_MAX])
{
	void (*wrap)(const struct flow *, const unsigned char *, size_t, uint16_t,
		     struct packet *) = f->v6 ? wrap_v6 : wrap_v4;
	size_t cut = f->v6 ? CUT_V6 : CUT_V4, n;
	_Alignas(4) unsigned char data[PACKET_MAX / 2];
	char led[BYPASS_MARKER + sizeof(LEAD)] = "";

	f->id++;
	if (f->wrap == WRAP_FRAGMENTS && *text) {
		strcpy(led, LEAD);
		text = strncat(led, text, BYPASS_MARKER);
	}
	n = build_segment(f, flags, seq, ack, text, data);
	if (f->wrap != WRAP_FRAGMENTS || n <= cut) {
		wrap(f, data, n, 0, &out[0]);
		return 1;
	}
	/* IPv4 counts in eights; IPv6 too, but in the upper bits. */
	wrap(f, data, cut, f->v6 ? MORE_FRAGMENTS_V6 : IP_MF, &out[0]);
	wrap(f, data + cut, n - cut, f->v6 ? cut : cut / 8, &out[1]);
	return 2;
}

static void claim_v6(const struct flow *f, const unsigned char mac[6], struct packet *p)
{
	struct {
		struct nd_neighbor_advert na;
		unsigned char type, units, mac[6];
	} m = { .type = ND_OPT_TARGET_LINKADDR, .units = 1 };
	struct flow plain = *f;
	struct ip6_hdr *ip = (struct ip6_hdr *)p->data;

	m.na.nd_na_type = ND_NEIGHBOR_ADVERT;
	m.na.nd_na_flags_reserved = ND_NA_FLAG_SOLICITED | ND_NA_FLAG_OVERRIDE;
	memcpy(&m.na.nd_na_target, f->source, 16);
	memcpy(m.mac, mac, 6);
	m.na.nd_na_cksum = checksum(f, IPPROTO_ICMPV6, &m, sizeof(m));
	plain.wrap = WRAP_NONE;
	wrap_v6(&plain, (unsigned char *)&m, sizeof(m), 0, p);
	ip->ip6_nxt = IPPROTO_ICMPV6;
	/* Neighbours believe only what no router passed on. */
	ip->ip6_hlim = 255;
}

void frame_claim(const struct flow *f, const unsigned char mac[6], const unsigned char to[6],
		 struct packet *p)
{
	struct ether_arp *arp = (struct ether_arp *)p->data;

	if (f->v6) {
		claim_v6(f, mac, p);
		return;
	}
	memset(arp, 0, sizeof(*arp));
	arp->arp_hrd = htons(ARPHRD_ETHER);
	arp->arp_pro = htons(ETHERTYPE_IP);
	arp->arp_hln = 6;
	arp->arp_pln = 4;
	arp->arp_op = htons(ARPOP_REPLY);
	memcpy(arp->arp_sha, mac, 6);
	memcpy(arp->arp_spa, f->source, 4);
	memcpy(arp->arp_tha, to, 6);
	memcpy(arp->arp_tpa, f->target, 4);
	p->ethertype = ETHERTYPE_ARP;
	p->len = sizeof(*arp);
}

/* --- parsing --- */

bool frame_parse(const struct flow *f, const unsigned char *data, size_t n, struct segment *s)
{
	const struct ip6_hdr *ip6 = (const struct ip6_hdr *)data;
	const struct ip *ip = (const struct ip *)data;
	const struct tcphdr *tcp;
	size_t at, end;

	if (f->v6) {
		if (n < sizeof(*ip6) || ip6->ip6_nxt != IPPROTO_TCP ||
		    memcmp(&ip6->ip6_dst, f->source, 16))
			return false;
		at = sizeof(*ip6);
		end = at + ntohs(ip6->ip6_plen);
	} else {
		if (n < sizeof(*ip) || ip->ip_v != 4 || ip->ip_p != IPPROTO_TCP ||
		    memcmp(&ip->ip_dst, f->source, 4))
			return false;
		at = ip->ip_hl * 4;
		end = ntohs(ip->ip_len);
	}
	end = end < n ? end : n;
	if (at + sizeof(*tcp) > end)
		return false;
	tcp = (const struct tcphdr *)(data + at);
	at += tcp->th_off * 4;
	if (ntohs(tcp->th_dport) != f->sport || at > end)
		return false;
	s->flags = tcp->th_flags;
	s->seq = ntohl(tcp->th_seq);
	s->ack = ntohl(tcp->th_ack);
	s->text = (const char *)data + at;
	s->len = end - at;
	return true;
}
