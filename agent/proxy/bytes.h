/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buffers of one worker thread: borrowed while bytes move, given back when idle, bounded, and
 * shared fairly among pods. Private to the byte path (hbone, send, stream, relay).
 */
#ifndef AMB_BYTES_H
#define AMB_BYTES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "proxy/hbone.h"
#include "proxy/record.h"

/* Plaintext of DATA in one full record: frame header and payload fill it. */
#define AMB_BYTES_FRAME (AMB_RECORD_PLAIN_MAX - 9)
/* Most that is read from an application in one call: sixteen full records. */
#define AMB_BYTES_READ (16 * AMB_BYTES_FRAME)
/* Most that is read from a tunnel or a relayed socket in one call. */
#define AMB_BYTES_SCRATCH (512 << 10)

enum amb_bytes_kind {
	AMB_BYTES_TINY, /* 4 KiB: what few bytes wait in */
	AMB_BYTES_SMALL, /* two records */
	AMB_BYTES_BIG, /* sixteen records */
	AMB_BYTES_KINDS,
};

/* How much a caller minds not getting a buffer: shares of the thread's bound. */
enum amb_bytes_need {
	AMB_BYTES_NICE, /* half of the bound: larger reads, credit before delivery */
	AMB_BYTES_DATA, /* seven eighths: who cannot have it waits */
	AMB_BYTES_MUST, /* all: control frames, bytes that a window promised */
};

/* A buffer: bytes [r, w) of d are waiting. */
struct amb_buf {
	struct amb_buf *next;
	struct amb_share *share; /* who has it */
	uint32_t cap, r, w;
	uint8_t kind;
	uint8_t type; /* of a record that is sent apart (wire.h), else 0 */
	uint8_t d[] __attribute__((aligned(64)));
};

/*
 * A pod's part of a thread's buffers: no more than what it leaves to the others, so that those who
 * come later find some however many of its connections are stuck. A pod alone may have nearly half.
 */
struct amb_share {
	struct amb_bytes *bytes;
	struct amb_share *next, **pprev; /* bytes->shares */
	uint64_t used;
	uint32_t refs; /* the pod, its connections and relays */
	struct amb_bytes_waiter *wait_head, **wait_tail;
	/* most that was out, of all and with @used once more, when one of them found too little */
	uint64_t wait_all, wait_sum;
};

/* Returns an empty buffer, or NULL when a bound is reached or memory is out. */
struct amb_buf *amb_bytes_get(struct amb_share *s, enum amb_bytes_kind kind,
			      enum amb_bytes_need need);
/* Gives it back; NULL is accepted. */
void amb_bytes_put(struct amb_bytes *b, struct amb_buf *buf);
/* Gives back a whole chain. */
void amb_bytes_put_chain(struct amb_bytes *b, struct amb_buf *buf);
/* True when @n more bytes could be had for @need. */
bool amb_bytes_has(const struct amb_share *s, uint32_t n, enum amb_bytes_need need);

/*
 * The thread's receive area of AMB_BYTES_SCRATCH bytes: whoever handles an event may use it
 * until it returns to the loop. NULL when memory is out.
 */
uint8_t *amb_bytes_scratch(struct amb_bytes *b);

/* Appends @n bytes to a chain of waiting buffers. 0 or -ENOBUFS (then nothing was added). */
int amb_bytes_keep(struct amb_share *s, struct amb_buf **head, struct amb_buf **tail,
		   const uint8_t *p, uint32_t n, enum amb_bytes_need need);

/* Somebody who waits for buffers; fn runs once, at a turn's end, after some were given back. */
struct amb_bytes_waiter {
	void (*fn)(struct amb_bytes_waiter *w);
	struct amb_bytes_waiter *next;
	bool queued;
};
void amb_bytes_wait(struct amb_share *s, struct amb_bytes_waiter *w);
void amb_bytes_unwait(struct amb_share *s, struct amb_bytes_waiter *w);

/*
 * Frees @p (with @fini before, may be NULL) at the end of the turn, when no function of the
 * byte path is on the stack. The first word of *@p is overwritten at once.
 */
struct amb_bytes_grave {
	struct amb_bytes_grave *next;
	void (*fini)(void *p);
};
void amb_bytes_bury(struct amb_bytes *b, struct amb_bytes_grave *g, void (*fini)(void *p));

/* A piece of received plaintext that waits for delivery in this turn. */
struct amb_slice {
	uint8_t *p;
	uint32_t n;
	int32_t next;
};
#define AMB_BYTES_SLICES 1024

struct amb_bytes {
	struct amb_loop *loop;
	struct amb_hbone_config config;
	struct amb_bytes_stats stats;

	struct amb_buf *free[AMB_BYTES_KINDS];
	uint32_t nfree[AMB_BYTES_KINDS], low[AMB_BYTES_KINDS]; /* low: fewest since the last trim */
	uint64_t used; /* bytes of buffers that are out */
	uint8_t *scratch;
	bool scratch_used;
	bool trimming;
	uint32_t freed; /* objects freed since the heap was trimmed */
	struct amb_timer trim;

	struct amb_share *shares;
	struct amb_share own; /* of those that no pod was named for */
	uint32_t nwaiting;
	struct amb_work wake;

	struct amb_bytes_grave *grave;
	struct amb_work bury;

	struct amb_slice slice[AMB_BYTES_SLICES];
	int32_t nslice;
	struct amb_stream *dirty; /* streams with slices or an end to deliver */

	struct amb_hbone *conns;
	struct amb_relay *relays;
	struct amb_kmod *kmod; /* NULL: no tier of ours */
};

/* Counters are read by other threads, written by one. */
#define AMB_BYTES_COUNT(b, field, n)                                                               \
	__atomic_store_n(&(b)->stats.field, (b)->stats.field + (n), __ATOMIC_RELAXED)

#endif
