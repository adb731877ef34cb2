/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TCP segments as packets: built in all the wrappings that a classifier may stumble over. */
#ifndef AMB_BYPASS_FRAME_H
#define AMB_BYPASS_FRAME_H

#include "bypass.h"

#define FRAME_MAX 2 /* packets of one segment */
#define PACKET_MAX 512

enum wrap {
	WRAP_NONE,
	WRAP_OPTIONS, /* IPv4: options; IPv6: hop-by-hop */
	WRAP_DST_OPTIONS, /* IPv6 alone */
	WRAP_ATOMIC, /* IPv6 alone: a fragment header, but whole */
	WRAP_FRAGMENTS, /* two; the marker is in the second */
};

struct flow {
	bool v6;
	unsigned char source[16], target[16]; /* the first 4 for IPv4 */
	uint16_t sport, dport; /* host order */
	enum wrap wrap;
	uint32_t id; /* of fragments; counts */
};

struct packet {
	uint16_t ethertype;
	size_t len;
	unsigned char data[PACKET_MAX];
};

struct segment {
	uint8_t flags;
	uint32_t seq, ack;
	const char *text; /* in the buffer that was parsed */
	size_t len;
};

void frame_flow(struct flow *f, const struct sockaddr_storage *source,
		const struct sockaddr_storage *target, enum wrap wrap);
/* Another source address; the port stays. */
void frame_source(struct flow *f, const struct sockaddr_storage *source);
/* Builds a segment with @text; returns how many packets it takes. */
int frame_build(struct flow *f, uint8_t flags, uint32_t seq, uint32_t ack, const char *text,
		struct packet out[FRAME_MAX]);
/* An ARP reply or neighbour advertisement: the flow's source is at @mac. */
void frame_claim(const struct flow *f, const unsigned char mac[6], const unsigned char to[6],
		 struct packet *p);
/* Is it a TCP segment for the flow's source and port? From whom does not matter. */
bool frame_parse(const struct flow *f, const unsigned char *data, size_t n, struct segment *s);

#endif
