/* SPDX-License-Identifier: GPL-2.0 */
/* A connection: one kTLS socket and its streams. */
#ifndef HBONE_CONN_H
#define HBONE_CONN_H

#include <linux/hbone.h>
#include <linux/list.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/uio.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "buffer.h"
#include "h2frame.h"
#include "sock.h"
#include "work.h"

struct hbone_net;
struct hbone_stream;
struct mem_cgroup;
struct page;

/* Of DATA that are given to an application at once. */
#define HBONE_CONN_PIECES 8

/*
 * What work allocates is its creator's, as what requests allocate is the caller's. A cgroup at its
 * limit loses a stream and not, for a peer's bytes, a process.
 */
#define HBONE_CONN_GFP (GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/* Limits of what waits: in bytes of memory where not said otherwise. */
#define HBONE_CONN_BACKLOG 1048576 /* received, not taken; beyond it the window shuts */
#define HBONE_CONN_FRAMES_IN 262144 /* header frames for the owner */
#define HBONE_CONN_FRAMES_OUT 262144 /* header frames for the peer */
#define HBONE_CONN_PINGS 64 /* answers that wait */
#define HBONE_CONN_ACKS 64 /* the same for SETTINGS */
#define HBONE_CONN_REFUSALS 64 /* RST_STREAM for streams that never were */

/*
 * Records under one key, in either direction: behind 2^24.5 AES-GCM loses its margin (RFC 8446,
 * 5.5). A few are left for a buffer on its way and the good-bye. Owners drain long before; who has
 * none ends here.
 */
#define HBONE_CONN_RECORDS (23726566 - 8)

/* The good-bye is over when the peer took nothing for so long, or after that many in all. */
#define HBONE_CONN_BYE_QUIET_MS 1000
#define HBONE_CONN_BYE_MS 10000

/* Limits of frames that cost a peer nothing: a bucket, and its refill. */
#define HBONE_CONN_CALM 1024
#define HBONE_CONN_CALM_MS 4 /* for one more */
#define HBONE_CONN_UPDATES 1024 /* WINDOW_UPDATEs beyond those that our data explains */
#define HBONE_CONN_UPDATE_BYTES 64 /* of our data that explain one */

enum hbone_conn_flags {
	HBONE_CONN_SERVER, /* constant: the peer opens streams */
	HBONE_CONN_ENDING, /* set once; no more work begins */
	HBONE_CONN_GONE, /* set once: it was told, and is found by nobody; its socket lives on */
	HBONE_CONN_HURRY, /* no more than one try for its good-bye */
	HBONE_CONN_PEER_CLOSED, /* nothing more comes; it ends with its last stream */
	HBONE_CONN_DRAINING, /* the last GOAWAY went, or is to: no new streams from the peer */
	HBONE_CONN_GOAWAY_IN, /* the peer sent GOAWAY */
	HBONE_CONN_HEADERS_LOST, /* the owner missed a block: HPACK is out of step for good */
};

/* What the peer hears of the streams that it may open here; it only gets stricter. */
enum hbone_conn_goaway {
	HBONE_CONN_GOAWAY_NONE,
	HBONE_CONN_GOAWAY_SOON, /* that it should stop; what it opens meanwhile is taken */
	HBONE_CONN_GOAWAY_FINAL, /* where it ended; DRAINING is set */
};

/* A header frame on its way to or from the owner. */
struct hbone_frame {
	struct list_head node;
	u32 len, size;
	u32 stream; /* to the peer: the one that it ends, or 0 */
	bool refused;
	u8 data[];
};

/* Pieces of DATA that its application gets at once. */
struct hbone_gather {
	struct hbone_stream *s; /* referenced; NULL when there are none */
	u32 n, len; /* pieces, and bytes of all */
	struct kvec vec[HBONE_CONN_PIECES];
};

/* What one side said in SETTINGS. */
struct hbone_settings {
	u32 initial_window, max_frame, max_streams;
};

struct hbone_conn {
	refcount_t refs;
	u32 id;
	struct hbone_net *hn;
	unsigned long flags; /* enum hbone_conn_flags */
	u64 cookie;
	struct mem_cgroup *memcg; /* pays for what its work allocates */
	struct hbone_settings local; /* constant */
	struct hbone_sock tls;

	struct hbone_work rx_work, tx_work;
	struct delayed_work end_work;
	struct delayed_work retry_work; /* kicks both, when memory was short */
	struct delayed_work orphan_work;
	struct delayed_work abort_work; /* what keeps end_work waiting */
	bool orphan_waits; /* orphan_work's: for what is to be sent, once */

	/* rx_work alone */
	struct hbone_h2frame reader;
	struct hbone_buffer rx_buf; /* while it runs */
	struct hbone_gather gather; /* of rx_buf or input */
	struct hbone_frame *rx_frame; /* being gathered */
	bool block_refused; /* the header block under way is of no live stream */
	u8 *input; /* of HBONE_A_INPUT, until rx_work saw it */
	u32 input_len;
	s32 calm; /* bucket of cheap frames */
	unsigned long calm_at; /* jiffies of the last refill */
	u64 updates; /* WINDOW_UPDATEs that came */
	u32 new_window; /* INITIAL_WINDOW_SIZE of the SETTINGS under way */
	bool has_new_window;

	/* tx_work alone, and after it end_work */
	struct hbone_buffer tx_buf; /* while bytes are in it */
	u32 tx_off, tx_len; /* of tx_buf: sent, and in all */
	u32 frame_off; /* of the first of frames_out: already in tx_buf */
	struct list_head tx_ends; /* streams whose END_STREAM is in tx_buf; referenced */
	bool said_goaway; /* it is in tx_buf, or gone: the last that is */
	bool said_all; /* and close_notify behind it */

	/* end_work alone */
	unsigned long bye_began, bye_moved; /* jiffies; the peer took something */
	u32 bye_acked;
	bool bye_shut, bye_heard; /* FIN went; the peer's came */

	/* Streams that have something to do; also taken in wake functions: irqs off */
	spinlock_t ready_lock;
	struct list_head rd_ready; /* their application may have bytes for us: tx_work */
	struct list_head wr_ready; /* it may take bytes: rx_work */
	struct list_head dropped; /* closed with a backlog; referenced: rx_work */

	int failed; /* why the socket did, told once, to rx_work or tx_work: nothing more is sent */

	struct xarray streams; /* by number; its own lock, RCU for readers */

	/* Everything below; process context */
	spinlock_t lock;
	struct hbone_settings peer;
	s32 send_window, recv_window;
	u32 recv_full; /* recv_window when nothing is on the way */
	u32 owed; /* received, and not given back to the window */
	u32 backlog; /* of it, not taken by applications */
	u32 credit; /* WINDOW_UPDATE due */
	u32 last_local, last_peer; /* highest streams opened */
	u32 nlocal, npeer; /* streams that live, by who opened them */
	u32 nresets; /* the peer's that closed, and whose RST_STREAM still waits */
	u32 nends; /* the peer's on tx_ends: it may know already that they ended */
	u32 goaway_in; /* its error code */
	u32 owner; /* netlink port */
	struct list_head ctl; /* streams that owe a WINDOW_UPDATE or RST_STREAM; referenced */
	struct list_head frames_in, frames_out; /* struct hbone_frame */
	u32 frames_in_bytes, frames_out_bytes, nframes_in;
	u8 pings[HBONE_CONN_PINGS][8];
	u32 npings, nacks;
	struct {
		u32 stream, code;
	} refusals[HBONE_CONN_REFUSALS];
	u32 nrefusals;
	/* GOAWAY with NO_ERROR, others end the connection: is to go, and went */
	u8 goaway, goaway_sent; /* enum hbone_conn_goaway */
	u32 goaway_last; /* the stream that the last one named: it never grows */
	u64 rx_bytes, tx_bytes;
	u8 end_reason; /* enum hbone_reason, of the first who called hbone_conn_end */
	u32 end_code; /* HTTP/2 */
	int end_errno;
};

/* What HBONE_CMD_CONN_ADD says. */
struct hbone_conn_params {
	int fd;
	bool server;
	struct hbone_settings local, peer;
	s32 send_window, recv_window;
	u32 last_local, last_peer, owner;
	const u8 *input;
	u32 input_len;
};

/*
 * Takes a connection over. Its number is returned, or -errno. @extack may be NULL.
 */
int hbone_conn_create(struct hbone_net *hn, const struct hbone_conn_params *params,
		      struct netlink_ext_ack *extack);

/* The connection of that number, referenced, or NULL, also when it is GONE. Process context. */
struct hbone_conn *hbone_conn_get(struct hbone_net *hn, u32 id);
/* The first of at least *@id. */
struct hbone_conn *hbone_conn_get_next(struct hbone_net *hn, unsigned long *id);
void hbone_conn_put(struct hbone_conn *c);

/*
 * Ends it, once: the first reason counts. @code goes into GOAWAY. May be called from the
 * connection's own work; does not wait.
 */
void hbone_conn_end(struct hbone_conn *c, enum hbone_reason reason, u32 code, int err);
/* The same if the peer closed and nothing is left to do. */
void hbone_conn_check_done(struct hbone_conn *c);
/* All of a namespace, and waits until they are gone, but not for their peers. */
void hbone_conn_end_all(struct hbone_net *hn);

/* Has the peer told, unless it was; a client's connection has but FINAL. Process context. */
void hbone_conn_drain(struct hbone_conn *c, enum hbone_conn_goaway what);

void hbone_conn_own(struct hbone_conn *c, u32 portid);
void hbone_conn_owner_gone(struct hbone_net *hn, u32 portid);

/* Whether its key for what it sends, or receives, is used up; then it ends. Of that work alone. */
bool hbone_conn_used_up(struct hbone_conn *c, bool sent);

/* Have their work done, soon, if the connection is not about to end. Any context. */
void hbone_conn_kick_rx(struct hbone_conn *c);
void hbone_conn_kick_tx(struct hbone_conn *c);

/*
 * As long as others may keep a connection from its end, by their calls on its socket: long for a
 * machine that is only slow.
 */
#define HBONE_CONN_END_MS 5000

/* Both, after HBONE_CONN_RETRY_MS. */
void hbone_conn_retry(struct hbone_conn *c);
#define HBONE_CONN_RETRY_MS 20

static inline bool hbone_conn_ending(const struct hbone_conn *c)
{
	return test_bit(HBONE_CONN_ENDING, &c->flags);
}

/* Whether streams of that number are opened by the peer. */
static inline bool hbone_conn_is_peers(const struct hbone_conn *c, u32 stream)
{
	return (stream & 1) == test_bit(HBONE_CONN_SERVER, &c->flags);
}

/* Bytes of frames came and count against the connection's window; under lock. */
void hbone_conn_owe(struct hbone_conn *c, u32 bytes);
/* Looks whether the peer's window may be opened; under lock. True: kick tx. */
bool hbone_conn_credit(struct hbone_conn *c);

/* hbone_buffer_get, and when there is no memory the work is called again later. */
bool hbone_conn_borrow(struct hbone_conn *c, struct hbone_buffer *buf);

/* A frame's memory, empty; NULL when there is none. */
struct hbone_frame *hbone_conn_frame(u32 size);
/* Queues a frame for the owner; takes it. False: too many wait, it is gone. */
bool hbone_conn_frame_in(struct hbone_conn *c, struct hbone_frame *f);

#endif
