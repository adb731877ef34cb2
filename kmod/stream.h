/* SPDX-License-Identifier: GPL-2.0 */
/* A stream: one tunnelled TCP connection. */
#ifndef HBONE_STREAM_H
#define HBONE_STREAM_H

#include <linux/hbone.h>
#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/types.h>

#include "sock.h"

struct hbone_conn;
struct netlink_ext_ack;

enum hbone_stream_flags {
	HBONE_STREAM_ATTACHED, /* set once: app is there */
	HBONE_STREAM_ANSWERED, /* ours, and the peer sent HEADERS: the owner attaches or resets */
	HBONE_STREAM_TOLD, /* the owner took headers of it: who knows what it did */
	HBONE_STREAM_TX_BEGUN, /* it sent some */
	HBONE_STREAM_RX_END, /* the peer sends no more */
	HBONE_STREAM_RX_DONE, /* and the application was told */
	HBONE_STREAM_UNHEARD, /* the peer wants nothing more of it, and its application what came */
	HBONE_STREAM_TX_END, /* we send no more */
	HBONE_STREAM_TX_DONE, /* and the connection's socket has all, or */
	HBONE_STREAM_TX_LOST, /* never will: set before TX_DONE */
	HBONE_STREAM_NO_WINDOW, /* not read before its window opens; conn->lock */
	HBONE_STREAM_CLOSED, /* set once: no table has it any more */
};

/* A piece of what the application did not take yet. */
struct hbone_chunk {
	struct list_head node;
	u16 off, len;
	u8 data[];
};

#define HBONE_STREAM_CHUNK 4096 /* of memory, with the head */
#define HBONE_STREAM_CHUNK_DATA (HBONE_STREAM_CHUNK - offsetof(struct hbone_chunk, data))

struct hbone_stream {
	refcount_t refs;
	u32 id;
	struct hbone_conn *conn; /* outlives it */
	unsigned long flags; /* enum hbone_stream_flags */
	u64 cookie; /* the owner's */
	struct hbone_sock app; /* valid once ATTACHED */
	void *note; /* the owner's, as app; NULL when there is none */
	u32 note_len;
	struct rcu_head rcu;

	struct list_head rd_node, wr_node; /* conn->ready_lock */

	/* conn->rx_work alone; freed when it is closed */
	struct list_head backlog; /* struct hbone_chunk */

	struct list_head end_node; /* conn->tx_work alone */

	/* conn->lock */
	struct list_head ctl_node;
	s32 send_window, recv_window;
	u32 taken; /* by the application, and not given back to the window */
	u32 credit; /* WINDOW_UPDATE due */
	u32 backlog_bytes;
	bool rst_due;
	u32 rst_code; /* of the RST_STREAM that came or goes */
	u64 rx_bytes, tx_bytes;
};

/*
 * Begins stream @id, with the windows of the SETTINGS. Referenced for the caller, or ERR_PTR:
 * -EEXIST, -ENOMEM, -ENOSPC (too many live), -ESHUTDOWN.
 */
struct hbone_stream *hbone_stream_create(struct hbone_conn *c, u32 id);
/* Referenced, or NULL. */
struct hbone_stream *hbone_stream_get(struct hbone_conn *c, u32 id);
/* The first of at least *@id. */
struct hbone_stream *hbone_stream_get_next(struct hbone_conn *c, unsigned long *id);
void hbone_stream_put(struct hbone_stream *s);

/* What HBONE_CMD_STREAM_ADD says. */
struct hbone_stream_params {
	int fd;
	u64 cookie;
	const void *note;
	u32 note_len;
};

/* Gives it its application's socket. 0 or -errno, and it is as before. */
int hbone_stream_attach(struct hbone_stream *s, const struct hbone_stream_params *params,
			struct netlink_ext_ack *extack);

/*
 * Ends it, once. @code: the HTTP/2 code to reset it with on the tunnel, if not both directions
 * ended there, or HBONE_STREAM_NO_RST. The application's socket is reset, unless @reason is
 * HBONE_REASON_DONE. Process context.
 */
void hbone_stream_close(struct hbone_stream *s, enum hbone_reason reason, u32 code);
#define HBONE_STREAM_NO_RST 0xffffffffu

/* The HTTP/2 code for one without application when there will be none. */
u32 hbone_stream_orphan_code(const struct hbone_stream *s);

/* Ends it if both directions did, and what they carried was handed on. */
void hbone_stream_check_done(struct hbone_stream *s);

/* Puts it among those with something to do. Any context. */
void hbone_stream_rd_ready(struct hbone_stream *s);
void hbone_stream_wr_ready(struct hbone_stream *s);
/* The same for tx_work and rx_work themselves, which come to it anyway. */
void hbone_stream_rd_again(struct hbone_stream *s);
void hbone_stream_wr_again(struct hbone_stream *s);
/* The first of them, referenced, or NULL. */
struct hbone_stream *hbone_stream_next_rd(struct hbone_conn *c);
struct hbone_stream *hbone_stream_next_wr(struct hbone_conn *c);
/* For rx_work, or who is the last: one stream's; those of all that were closed with one. */
void hbone_stream_free_backlog(struct hbone_stream *s);
void hbone_stream_free_dropped(struct hbone_conn *c);

/* Has tx_work send what it owes; conn->lock is held. */
void hbone_stream_owe_ctl(struct hbone_stream *s);

static inline bool hbone_stream_is(const struct hbone_stream *s, enum hbone_stream_flags flag)
{
	/* Pairs with hbone_stream_attach, which fills app first. */
	return test_bit_acquire(flag, &s->flags);
}

#endif
