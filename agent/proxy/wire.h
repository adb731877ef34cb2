/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The record layer of a connection on its socket: what seals, sends, receives and opens. The two
 * directions are apart, since they change hands at different moments.
 */
#ifndef AMB_WIRE_H
#define AMB_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/record.h"

struct iovec;
struct amb_wire;

/* What one call opened: a record's content, or of data any run of it. */
struct amb_wire_piece {
	uint8_t *p;
	size_t n;
	enum amb_record_type type;
};

struct amb_wire_rx {
	/* Like recv(2), without waiting: bytes, 0 at the end, or -errno. */
	ssize_t (*recv)(struct amb_wire *w, uint8_t *p, size_t room);
	/*
	 * Opens in place what begins at @p. Returns how many of the @n received bytes it took, 0
	 * when it needs more, -EPROTO for what is no record, -EBADMSG for one that does not open.
	 */
	int (*open)(struct amb_wire *w, uint8_t *p, size_t n, struct amb_wire_piece *piece);
	/* The peer's next record is under its next key. 0 or -errno. */
	int (*update)(struct amb_wire *w);
};

struct amb_wire_tx {
	uint8_t head, tail; /* room that a record needs before and behind its plaintext */
	/* Makes @n bytes of plaintext behind @head a record: its whole length, or -errno. */
	int (*seal)(struct amb_wire *w, uint8_t *rec, size_t n, enum amb_record_type type);
	/* Like writev(2), without waiting, for what was sealed: bytes or -errno. */
	ssize_t (*send)(struct amb_wire *w, struct iovec *iov, size_t n);
	/* Our KeyUpdate was sealed: what comes is under the next key. 0 or -errno. */
	int (*update)(struct amb_wire *w);
};

/* Zeroed, then amb_wire_init(). Until there are keys bytes go through as they are. */
struct amb_wire {
	int fd; /* the connection's */
	const struct amb_wire_rx *rx_ops;
	const struct amb_wire_tx *tx_ops;
	struct amb_record *rx, *tx; /* NULL until the handshake is over */
};

void amb_wire_init(struct amb_wire *w, int fd);
/* Wipes keys; the descriptor stays. */
void amb_wire_uninit(struct amb_wire *w);

/* Records under the present keys. */
uint64_t amb_wire_sent(const struct amb_wire *w);

#endif
