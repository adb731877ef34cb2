/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ZDS packets read and written: pure, no I/O (ztunnel-interop 3.2). */
#ifndef AMB_ZDS_PACKET_H
#define AMB_ZDS_PACKET_H

#include <stddef.h>
#include <stdint.h>

#define AMB_ZDS_PACKET_MAX 1024 /* bytes of a packet: the buffers of both sides */
#define AMB_ZDS_ERROR_MAX 512 /* bytes of an answer's text; longer ones are cut */

enum amb_zds_kind {
	AMB_ZDS_ADD,
	AMB_ZDS_DEL,
	AMB_ZDS_KEEP,
	AMB_ZDS_SNAPSHOT_SENT,
	AMB_ZDS_UNKNOWN, /* of a later version: it has to be refused by an answer */
};

/* A request. Strings belong to it. */
struct amb_zds_packet {
	enum amb_zds_kind kind;
	const char *uid; /* add, del, keep */
	const char *ns, *name, *sa; /* add */
	const char *fault; /* add: why this pod cannot be served, or NULL */
	void *message;
};

/*
 * Reads a packet of @len bytes that came with @nfds descriptors. 0, and the caller owes an
 * amb_zds_packet_uninit(); or -EPROTO with a reason in @why when the two sides do not
 * understand each other: no packet, or descriptors that do not fit to it.
 */
int amb_zds_packet_read(struct amb_zds_packet *p, const void *data, size_t len, unsigned int nfds,
			const char **why);
void amb_zds_packet_uninit(struct amb_zds_packet *p);

/* Write the hello, or the answer (@error NULL or "": done), and return the length. */
size_t amb_zds_packet_hello(uint8_t buf[AMB_ZDS_PACKET_MAX]);
size_t amb_zds_packet_answer(const char *error, uint8_t buf[AMB_ZDS_PACKET_MAX]);

#endif
