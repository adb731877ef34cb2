// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Attempts by packets that no socket made. A connection of the pod's own address needs no
 * trick but one: a listener on its port whose filter drops everything, so that the kernel does
 * not reset what it knows nothing of. It needs CAP_NET_RAW, no more.
 */
#include "frame.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SYN_EVERY_MS 700 /* retransmission */
#define SYN_SEQUENCE 1000000

struct raw {
	const struct bypass *b;
	unsigned int how; /* enum how */
	int tap; /* sees every packet of the pod's, and sends frames */
	int ip; /* sends through the pod's own stack; or -1 */
	int ifindex;
	struct flow flow;
	unsigned char own_mac[6];
};

enum how {
	BY_STACK = 1 << 0, /* a raw IP socket instead of frames */
	AS_OTHER = 1 << 1, /* with the source of somebody else */
	CLAIM = 1 << 2, /* and telling the neighbours that it lives here */
	WRONG_MAC = 1 << 3,
	FROM_HBONE = 1 << 4, /* port 15008 */
	NO_HANDSHAKE = 1 << 5, /* one segment of an established connection's */
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

static void send_frame(struct raw *r, const struct packet *p)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_ifindex = r->ifindex };
	struct ether_header *eth;
	char frame[sizeof(*eth) + sizeof(p->data)];

	eth = (struct ether_header *)frame;
	memcpy(eth->ether_dhost, r->b->mac, ETH_ALEN);
	memcpy(eth->ether_shost, r->own_mac, ETH_ALEN);
	if (r->how & WRONG_MAC)
		eth->ether_shost[5] ^= 0x55;
	eth->ether_type = htons(p->ethertype);
	memcpy(frame + sizeof(*eth), p->data, p->len);
	sendto(r->tap, frame, sizeof(*eth) + p->len, 0, (struct sockaddr *)&ll, sizeof(ll));
}

/* Sends a segment in whatever the flow wants it wrapped in. */
static void send_segment(struct raw *r, uint8_t flags, uint32_t seq, uint32_t ack, const char *text)
{
	struct sockaddr_storage to = r->b->target;
	struct packet out[FRAME_MAX];
	int n = frame_build(&r->flow, flags, seq, ack, text, out);

	/* A raw socket of IPv6 takes no port. */
	((struct sockaddr_in *)&to)->sin_port = 0;
	for (int i = 0; i < n; i++) {
		if (r->ip >= 0)
			sendto(r->ip, out[i].data, out[i].len, 0, (struct sockaddr *)&to,
			       r->b->target_len);
		else
			send_frame(r, &out[i]);
	}
}

/* Tells the target that the source lives at this interface. */
static void claim(struct raw *r)
{
	struct packet p;

	if (!(r->how & CLAIM))
		return;
	frame_claim(&r->flow, r->own_mac, r->b->mac, &p);
	send_frame(r, &p);
}

/* The next segment for the flow, until @deadline. Returns false when there is none. */
static bool next_segment(struct raw *r, int64_t deadline, struct segment *s)
{
	/* What follows the Ethernet header is aligned as its structures want it. */
	_Alignas(8) unsigned char room[2 + 65536];
	unsigned char *buf = room + 2;
	struct sockaddr_ll from;
	socklen_t len;
	int64_t left;
	ssize_t n;

	while ((left = deadline - now_ms()) > 0) {
		struct pollfd p = { .fd = r->tap, .events = POLLIN };

		if (poll(&p, 1, left) != 1)
			continue;
		len = sizeof(from);
		n = recvfrom(r->tap, buf, sizeof(room) - 2, MSG_DONTWAIT, (struct sockaddr *)&from,
			     &len);
		if (n <= (ssize_t)sizeof(struct ether_header) ||
		    from.sll_pkttype == PACKET_OUTGOING)
			continue;
		if (ntohs(from.sll_protocol) == ETHERTYPE_ARP)
			claim(r);
		else if (frame_parse(&r->flow, buf + sizeof(struct ether_header),
				     n - sizeof(struct ether_header), s))
			return true;
	}
	return false;
}

static bool refused(const struct segment *s, struct outcome *o)
{
	if (!(s->flags & TH_RST))
		return false;
	o->err = ECONNREFUSED;
	return true;
}

/* Waits for the SYN-ACK, sends again meanwhile. Returns whether the connection stands. */
static bool shake_hands(struct raw *r, int64_t deadline, struct segment *s, struct outcome *o)
{
	int64_t again;

	while (now_ms() < deadline) {
		claim(r);
		send_segment(r, TH_SYN, SYN_SEQUENCE, 0, r->b->marker);
		again = now_ms() + SYN_EVERY_MS;
		if (again > deadline)
			again = deadline;
		while (next_segment(r, again, s)) {
			if (refused(s, o))
				return false;
			if (s->flags & TH_SYN && s->flags & TH_ACK)
				return true;
		}
	}
	o->err = ETIMEDOUT;
	return false;
}

static void converse(struct raw *r, struct outcome *o)
{
	int64_t deadline = now_ms() + r->b->seconds * 1000;
	const char *marker = r->b->marker;
	struct segment s;
	uint32_t ack;

	if (r->how & NO_HANDSHAKE) {
		send_segment(r, TH_ACK | TH_PUSH, SYN_SEQUENCE, SYN_SEQUENCE, marker);
		o->err = next_segment(r, deadline, &s) ? ECONNREFUSED : ETIMEDOUT;
		return;
	}
	if (!shake_hands(r, deadline, &s, o))
		return;
	ack = s.seq + 1;
	/* What came with the SYN may have been taken: fast open without a cookie. */
	if (s.ack == SYN_SEQUENCE + 1)
		send_segment(r, TH_ACK | TH_PUSH, s.ack, ack, marker);
	else
		send_segment(r, TH_ACK, s.ack, ack, "");
	while (next_segment(r, deadline, &s)) {
		if (refused(&s, o))
			return;
		if (bypass_answer(s.text, s.len, o) || s.flags & TH_FIN)
			break;
	}
	if (o->kind != OUTCOME_ANSWERED)
		o->err = s.flags & TH_FIN ? 0 : ETIMEDOUT;
	send_segment(r, TH_RST, SYN_SEQUENCE + 1 + strlen(marker), 0, "");
}

/* --- setting up --- */

/* A port of our own, and silence on it. */
static int quiet_listener(const struct raw *r, struct sockaddr_storage *own)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = { 1, &drop };
	int fd = socket(own->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = bypass_len(own);

	if (r->how & FROM_HBONE)
		((struct sockaddr_in *)own)->sin_port = htons(HBONE_PORT);
	/* The agent has 15008 already, and will be the one who resets. */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ||
	    (bind(fd, (struct sockaddr *)own, len) && !(r->how & FROM_HBONE)) || listen(fd, 1) ||
	    ((r->how & FROM_HBONE) == 0 && getsockname(fd, (struct sockaddr *)own, &len)))
		return -errno;
	return fd;
}

static int open_raw(struct raw *r)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct ifreq ifr = { 0 };

	r->tap = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	strncpy(ifr.ifr_name, r->b->device, IFNAMSIZ - 1);
	if (r->tap < 0 || ioctl(r->tap, SIOCGIFINDEX, &ifr))
		return -errno;
	r->ifindex = ifr.ifr_ifindex;
	if (ioctl(r->tap, SIOCGIFHWADDR, &ifr))
		return -errno;
	memcpy(r->own_mac, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	/* All interfaces: who is captured is answered over loopback. */
	if (bind(r->tap, (struct sockaddr *)&ll, sizeof(ll)))
		return -errno;
	if (r->how & BY_STACK) {
		r->ip = socket(r->b->target.ss_family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
		return r->ip < 0 ? -errno : 0;
	}
	return 0;
}

static void attempt(const struct bypass *b, unsigned int how, enum wrap wrap, struct outcome *o)
{
	struct raw r = { .b = b, .how = how, .tap = -1, .ip = -1 };
	struct sockaddr_storage own;
	int quiet;

	o->err = -bypass_own(b, &own);
	if (o->err)
		return;
	quiet = quiet_listener(&r, &own);
	o->err = quiet < 0 ? -quiet : -open_raw(&r);
	if (!o->err) {
		frame_flow(&r.flow, &own, &b->target, wrap);
		if (how & AS_OTHER)
			frame_source(&r.flow, &b->source);
		converse(&r, o);
	}
	if (quiet >= 0)
		close(quiet);
	if (r.tap >= 0)
		close(r.tap);
	if (r.ip >= 0)
		close(r.ip);
}

#define ATTEMPT(fn, how, wrap)                                                                     \
	static void fn(const struct bypass *b, struct outcome *o)                                  \
	{                                                                                          \
		attempt(b, how, wrap, o);                                                          \
	}
ATTEMPT(raw_syn, BY_STACK, WRAP_NONE)
ATTEMPT(packet_syn, 0, WRAP_NONE)
ATTEMPT(packet_mac, WRONG_MAC, WRAP_NONE)
ATTEMPT(packet_15008, FROM_HBONE, WRAP_NONE)
ATTEMPT(packet_middle, NO_HANDSHAKE, WRAP_NONE)
ATTEMPT(packet_fragments, 0, WRAP_FRAGMENTS)
ATTEMPT(packet_options, 0, WRAP_OPTIONS)
ATTEMPT(packet_dst_options, 0, WRAP_DST_OPTIONS)
ATTEMPT(packet_atomic, 0, WRAP_ATOMIC)
ATTEMPT(spoof, AS_OTHER, WRAP_NONE)
ATTEMPT(spoof_raw, AS_OTHER | BY_STACK, WRAP_NONE)
ATTEMPT(spoof_claim, AS_OTHER | CLAIM, WRAP_NONE)

const struct attempt bypass_packet[] = {
	{ "raw-syn", NULL, raw_syn },
	{ "packet-syn", NULL, packet_syn },
	{ "packet-mac", NULL, packet_mac },
	{ "packet-15008", NULL, packet_15008 },
	{ "packet-middle", NULL, packet_middle },
	{ "packet-fragments", NULL, packet_fragments },
	{ "packet-options", NULL, packet_options },
	{ "packet-dst-options", NULL, packet_dst_options },
	{ "packet-atomic", NULL, packet_atomic },
	{ "spoof", NULL, spoof },
	{ "spoof-raw", NULL, spoof_raw },
	{ "spoof-claim", NULL, spoof_claim },
	{ 0 },
};
