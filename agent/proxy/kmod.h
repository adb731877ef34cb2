/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tier kmod: connections whose bytes hbone.ko carries. The agent hands one over when the peer's
 * SETTINGS came, before its first stream, and keeps what needs it: headers, decisions, the end.
 *
 * WANTED (handshake, SETTINGS) -> HELD (what was read behind them waits, until both directions are
 * with kernel TLS and our own words are out) -> THERE. Whatever fails on the way: NO, and the agent
 * goes on by itself. Private to the byte path.
 */
#ifndef AMB_KMOD_H
#define AMB_KMOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct amb_bytes;
struct amb_hbone;
struct amb_identity;
struct amb_kmod; /* of one thread */
struct amb_stream;

enum amb_kmod_state { AMB_KMOD_NO, AMB_KMOD_WANTED, AMB_KMOD_HELD, AMB_KMOD_THERE };

/* NULL: errno (amb_khbone_create). */
struct amb_kmod *amb_kmod_create(struct amb_bytes *b);
void amb_kmod_destroy(struct amb_kmod *m);

/* The peer's SETTINGS came, or more behind them: keeps what is not to be looked at here. */
void amb_kmod_hold(struct amb_hbone *c, const uint8_t *p, size_t n);
/* Nothing more is to be read here: the rest is for the module. */
bool amb_kmod_full(const struct amb_hbone *c);
/* The turn's end: hands the connection over when it is time. */
void amb_kmod_turn(struct amb_hbone *c);

/* Of a connection that is THERE. */

/* GOAWAY, see amb_khbone_drain. */
void amb_kmod_drain(struct amb_hbone *c, bool final);
/* Ends it for the peer, with GOAWAY @code, if the module has not. */
void amb_kmod_end(struct amb_hbone *c, uint32_t code);
/* One whole header block. 0 or -errno, and nothing was sent. */
int amb_kmod_send(struct amb_hbone *c, const uint8_t *frame, size_t n);
/* The stream's application is the module's from now on. 0 or -errno. */
int amb_kmod_attach(struct amb_stream *s);
void amb_kmod_reset(struct amb_hbone *c, uint32_t stream, uint32_t code);
/* Brings the stream's byte counts up to date. */
void amb_kmod_count(struct amb_stream *s);
/* Looks, now and then, how much of its keys a connection has used. */
void amb_kmod_look(struct amb_hbone *c);

/* From one agent to the next. */

/*
 * All connections with streams whose application the module has stay in the kernel, those streams
 * are over here without an error; all others end.
 */
void amb_kmod_leave(struct amb_bytes *b);

/* Lists anew what agents that are gone left. True: there is something. */
bool amb_kmod_list_orphans(struct amb_bytes *b);
/* Calls @fn for each stream of the list; it returns true for one that it takes off. */
struct amb_khbone_orphan;
void amb_kmod_each_orphan(struct amb_bytes *b,
			  bool (*fn)(void *ctx, const struct amb_khbone_orphan *o), void *ctx);
/* Ends what was on the list for so long. */
#define AMB_KMOD_ORPHAN_NS 120000000000ull
void amb_kmod_end_orphans(struct amb_bytes *b);
/* 0 or -errno, and it goes on. */
int amb_kmod_end_orphan(struct amb_bytes *b, const struct amb_khbone_orphan *o);
/*
 * Takes over the orphan's connection, if that is not done, and the stream; to be given an owner.
 * @peer: as shown when it began; NULL when unknown. NULL: errno.
 */
struct amb_stream *amb_kmod_adopt(struct amb_bytes *b, const struct amb_khbone_orphan *o,
				  struct amb_identity *peer, uint16_t suite);

#endif
