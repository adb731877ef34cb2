/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The record layer of a connection on its socket: what seals, sends, receives and opens. It begins
 * in user space; in tier ktls each direction goes over to the kernel by itself, at the first border
 * between records.
 */
#ifndef AMB_WIRE_H
#define AMB_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/record.h"

struct iovec;
struct amb_wire;

/* Who seals and opens the records of tunnels. */
#define AMB_TIERS(X)                                                                               \
	X(USER, "user") /* the agent */                                                            \
	X(KTLS, "ktls") /* kernel TLS */                                                           \
	X(KMOD, "kmod") /* kernel TLS, and hbone.ko carries the bytes: kmod.h */
#define AMB_X(id, text) AMB_TIER_##id,
enum amb_tier { AMB_TIERS(AMB_X) AMB_TIER_MAX };
#undef AMB_X
const char *amb_tier_name(enum amb_tier tier);

/* What one call opened: a record's content, or of data any run of it. */
struct amb_wire_piece {
	uint8_t *p;
	size_t n;
	enum amb_record_type type;
};

struct amb_wire_rx {
	bool runs; /* of data one piece may be many records */
	/*
	 * Like recv(2), without waiting: bytes, 0 at the end, or -errno, among them those of open()
	 * below.
	 */
	ssize_t (*recv)(struct amb_wire *w, uint8_t *p, size_t room);
	/*
	 * Opens in place what begins at @p. Returns how many of the @n received bytes it took, 0
	 * when it needs more, -EPROTO for what is no record, -EBADMSG for one that does not open,
	 * -EOVERFLOW for a key that is used up.
	 */
	int (*open)(struct amb_wire *w, uint8_t *p, size_t n, struct amb_wire_piece *piece);
	/* The peer's next record is under its next key. 0 or -errno. */
	int (*update)(struct amb_wire *w);
	/* Records under the present key, as far as known without asking the kernel. */
	uint64_t (*count)(const struct amb_wire *w);
	/*
	 * NULL where open() shows them, else: nothing came though the socket said so. How many
	 * records without content that was, at least (may be 0); 1 when nobody knows.
	 */
	uint64_t (*empties)(struct amb_wire *w);
};

struct amb_wire_tx {
	uint8_t head, tail; /* room that a record needs before and behind its plaintext */
	bool apart; /* what is no data is sent by a call of its own, and counts from then on */
	/* Makes @n bytes of plaintext behind @head a record: its whole length, or -errno. */
	int (*seal)(struct amb_wire *w, uint8_t *rec, size_t n, enum amb_record_type type);
	/*
	 * Like writev(2), without waiting, for what was sealed: bytes or -errno. @type is that of
	 * records sent apart, else 0.
	 */
	ssize_t (*send)(struct amb_wire *w, struct iovec *iov, size_t n, uint8_t type);
	/* Our KeyUpdate was sealed, or sent: what comes is under the next key. 0 or -errno. */
	int (*update)(struct amb_wire *w);
	uint64_t (*count)(const struct amb_wire *w); /* as above */
};

/* One direction, as the kernel told of it last. */
struct amb_wire_use {
	uint64_t records;
	uint64_t look; /* bytes after which it is asked again */
	uint64_t bytes; /* since it was asked */
};

/* Zeroed, then amb_wire_init(). Until there are keys bytes go through as they are. */
struct amb_wire {
	int fd; /* the connection's */
	const struct amb_wire_rx *rx_ops;
	const struct amb_wire_tx *tx_ops;
	struct amb_record *rx, *tx; /* NULL until the handshake is over */
	struct amb_wire_use rx_use, tx_use; /* ktls */
	uint64_t limit; /* records of a key that call for another */
	uint8_t tier; /* enum amb_tier: aimed at, USER or KTLS; refused, it is USER */
	uint8_t type; /* ktls: of what recv() gave */
	bool ulp; /* ktls: the socket has it */
	bool rekeys; /* ktls: the kernel takes a new key for an old one */
	bool updating; /* our KeyUpdate is not sent yet */
	bool roomy; /* ktls: the socket's buffer was made larger for the last word */
};

void amb_wire_init(struct amb_wire *w, int fd);
/* Wipes keys; the descriptor stays. */
void amb_wire_uninit(struct amb_wire *w);

/*
 * With keys there: no record, or part of one, is between us and the socket in this direction. Is
 * the kernel to take over, it does so. 0: nothing changed; 1: the direction changed hands; else
 * -errno, and all stays in user space.
 */
int amb_wire_rx_border(struct amb_wire *w);
int amb_wire_tx_border(struct amb_wire *w);
/*
 * How many of @room bytes to receive behind @n bytes at @p: no more than the record lacks that
 * begins there, where the border behind it is waited for.
 */
size_t amb_wire_room(const struct amb_wire *w, const uint8_t *p, size_t n, size_t room);

/* Both directions are with the kernel: KTLS. */
enum amb_tier amb_wire_tier(const struct amb_wire *w);
/* We may tell the peer of new keys: none are on their way, and we can follow. */
bool amb_wire_may_update(const struct amb_wire *w);

/* Records under the present keys, asked for where the kernel counts: for whoever looks on. */
void amb_wire_counts(const struct amb_wire *w, uint64_t *sent, uint64_t *received);

#endif
