/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An HBONE connection and its streams as the parts of the byte path see them: hbone.c (life),
 * recv.c, records.c and frames.c (what the peer says), send.c (what we say), stream.c
 * (applications), kmod.c (connections that the kernel carries).
 */
#ifndef AMB_CONN_H
#define AMB_CONN_H

#include "bytes.h"
#include "h2.h"
#include "hbone.h"
#include "kmod.h"
#include "wire.h"

struct nghttp2_hd_deflater;
struct nghttp2_hd_inflater;

/* Sealed and unsent bytes of a connection beyond which its applications are not read. */
#define AMB_HBONE_BACKLOG (1024 << 10)
/*
 * What one stream takes from its application before the next one has its turn. Less is fairer by
 * microseconds and dearer by half: small pieces of many streams wake many applications.
 */
#define AMB_STREAM_SHARE (4 * AMB_BYTES_READ)
/*
 * What a stream may send before it is answered, where the peer said that it takes that: what an
 * application says first, in one record with the CONNECT when it is there by then.
 */
#define AMB_STREAM_EARLY AMB_BYTES_FRAME
/* Receives of one connection in one turn. */
#define AMB_HBONE_RECEIVES 4
/* Streams over at HTTP/2's level whose application still reads, per connection, in max_streams. */
#define AMB_HBONE_LINGERERS 4
/* After our last byte: how long, and for how many bytes, we read on so that it is not lost. */
#define AMB_HBONE_LINGER_NS 1000000000ull
#define AMB_HBONE_LINGER_BYTES (4u << 20)
/* Header lists, as SETTINGS_MAX_HEADER_LIST_SIZE counts them. */
#define AMB_HBONE_LIST_SERVER (64 << 10)
#define AMB_HBONE_LIST_CLIENT (16 << 10)
/* Longest header block that we write. */
#define AMB_HBONE_BLOCK 8192
/* WINDOW_UPDATEs that one DATA frame of ours may bring, and how many may be saved up. */
#define AMB_HBONE_UPDATES 16
#define AMB_HBONE_UPDATES_MAX 65536
/* Streams a client assumes before the peer's SETTINGS. */
#define AMB_HBONE_SLOTS 100

/* Budgets against abuse: a burst, and what comes back per second (see enum amb_hbone_abuse). */
struct amb_hbone_budget {
	uint16_t burst, per_second;
};

enum amb_hbone_state {
	AMB_CONN_CONNECTING, /* TCP */
	AMB_CONN_HANDSHAKE, /* TLS */
	AMB_CONN_UP,
	AMB_CONN_ENDING, /* nothing to send or receive any more; last streams reach their apps */
	AMB_CONN_LINGER, /* owner was told; our last bytes are on their way */
	AMB_CONN_DEAD, /* freed at the turn's end */
};

struct amb_hbone {
	union {
		struct amb_io io;
		struct amb_bytes_grave grave;
	};
	struct amb_bytes *bytes;
	struct amb_share *share;
	struct amb_hbone *next, **pprev; /* bytes->conns */
	const struct amb_hbone_ops *ops;
	void *owner;
	struct amb_work work; /* the turn's end */
	struct amb_timer timer; /* handshake, ping, linger: whatever the state waits for */
	struct amb_bytes_waiter waiter;
	struct amb_cred *cred;
	struct amb_tls *tls; /* until up */
	struct amb_tls_peer peer;
	struct amb_wire wire;
	uint64_t counted_ns, counted[2]; /* records sent and received, for whoever looks on */

	uint8_t state; /* enum amb_hbone_state */
	bool server;
	bool rdhup; /* the peer said FIN: read until it shows */
	bool more; /* unread bytes are left in the socket: this turn had its share */
	bool starved; /* waits for buffers */
	bool tell_room; /* owner hears at the turn's end */
	bool settled; /* the peer's SETTINGS came */
	bool early; /* it takes DATA before it answers (AMB_H2_EARLY_DATA) */
	bool goaway_in, goaway_out, goaway_last;
	bool draining; /* ends when the last stream does */
	bool retired; /* record limit or stream numbers used up: no new streams */
	bool broken; /* fails at the turn's end, with: */
	bool close_notify; /* the peer's alert came: no more records */
	bool pinging;
	bool eof; /* the socket has no more to read */
	bool shut; /* FIN went to the peer */
	bool keep; /* amb_hbone_keep */
	uint8_t kmod; /* enum amb_kmod_state */
	bool kmod_gone; /* the module ended it */
	bool kmod_left; /* it lives on there without us */
	uint8_t fail_reason; /* enum amb_reason */
	uint32_t fail_code; /* HTTP/2 code, or NO_GOAWAY */
	const char *fail_text;

	/* receive */
	struct amb_buf *stash; /* beginning of a record */
	struct amb_h2_parser parser;
	struct nghttp2_hd_inflater *inflater;
	struct amb_stream *cur; /* whose DATA frame is being read; NULL: nobody's */
	struct amb_tls_post post;
	int64_t recv_window; /* what the peer may send */
	int64_t late; /* DATA that may still come for streams that we ended */
	uint32_t credit; /* to be given back */
	uint32_t updates; /* WINDOW_UPDATEs that our DATA was worth */
	uint32_t linger_read;

	/* send: sealed bytes in a chain of buffers; at the tail perhaps an open record */
	struct nghttp2_hd_deflater *deflater;
	struct amb_buf *out, *out_tail;
	uint32_t backlog; /* bytes in out, open record included */
	uint32_t open; /* plaintext bytes in the open record + 1, 0 = none is open */
	bool out_blocked; /* the socket took less than we had */
	int64_t send_window;
	uint32_t peer_window, peer_streams, peer_list;

	/* streams */
	struct amb_stream *streams; /* all objects */
	struct amb_stream **table; /* by number: those alive at HTTP/2's level */
	uint32_t mask; /* of table; table is NULL for 0 */
	uint32_t nobjects, nactive;
	uint32_t next_id, last_id; /* ours to open next; the peer's highest */
	uint32_t goaway_id; /* peer's last stream of ours */
	struct amb_stream *ready, **ready_tail; /* readable applications that wait their turn */
	uint32_t nready;

	/* kmod.c */
	uint32_t kmod_id;
	uint32_t nheld;
	uint8_t *held; /* read, and for the module to look at */
	struct amb_hbone *kmod_next;

	uint64_t ping_id;
	uint64_t refilled; /* budgets, ns */
	uint16_t budget[AMB_ABUSE_MAX];
};
#define AMB_CONN_NO_GOAWAY 0xffffffffu

struct amb_stream {
	union {
		struct amb_io io;
		struct amb_bytes_grave grave;
	};
	struct amb_hbone *c;
	struct amb_stream *next, **pprev; /* c->streams */
	struct amb_stream *hnext; /* c->table */
	struct amb_stream *rnext; /* c->ready */
	struct amb_stream *dnext; /* bytes->dirty */
	const struct amb_stream_ops *ops;
	void *owner;
	struct amb_buf *pend, *pend_tail; /* received bytes that wait for the application */
	uint64_t to_app, from_app;
	uint64_t before[2]; /* kmod: bytes that another agent counted, in that order */
	int64_t send_window, recv_window;
	uint32_t id;
	uint32_t credit; /* to be given back */
	uint32_t npend; /* bytes in pend */
	uint32_t prepaid; /* of them, what the connection's window got back already */
	uint32_t ask; /* next read's size */
	uint32_t early; /* bytes that may yet go before the answer */
	int16_t slice_head, slice_tail; /* bytes->slice, -1 = none */

	bool open : 1; /* answered with 200: bytes flow */
	bool in_table : 1; /* alive at HTTP/2's level */
	bool in_ready : 1;
	bool dirty : 1;
	bool readable : 1; /* the application may have more for us */
	bool rdhup : 1;
	bool out_blocked : 1; /* the application's socket is full */
	bool fin_rx : 1; /* END_STREAM came */
	bool fin_tx : 1; /* END_STREAM went */
	bool shut : 1; /* FIN went to the application */
	bool peer_gone : 1; /* reset without an error: what came is delivered, then the end */
	bool dead : 1;
};

/* hbone.c */

/* The connection fails at the turn's end; first caller's words count. Reenters nothing. */
void amb_hbone_fail(struct amb_hbone *c, enum amb_reason reason, uint32_t code, const char *text);
/* Asks for a look at @c at the turn's end: flush, ready streams, endings. */
void amb_hbone_later(struct amb_hbone *c);
/* Takes one from a budget; overdrawn, the connection fails with ENHANCE_YOUR_CALM. */
void amb_hbone_charge(struct amb_hbone *c, enum amb_hbone_abuse kind);
/* One that is in the kernel already, of an agent before; it takes no new streams. */
struct amb_hbone *amb_hbone_adopt(struct amb_bytes *b, bool server, struct amb_identity *peer,
				  uint16_t suite);
/* Has the timer fire in @ns; what for depends on the state. */
void amb_hbone_arm(struct amb_hbone *c, uint64_t ns);
/* A pong came. */
void amb_hbone_pong(struct amb_hbone *c, const uint8_t payload[8]);
/* The peer's first SETTINGS came. */
void amb_hbone_settled(struct amb_hbone *c);
/* Ends whatever is left of the thread's connections. */
void amb_hbone_end_all(struct amb_bytes *b);

/*
 * What amb_wire_tx_border() or amb_wire_rx_border() returned: counted, and said when new. True: the
 * direction changed hands.
 */
bool amb_hbone_taken(struct amb_hbone *c, int ret);
/* The peer said, or its socket shows, that nothing comes any more. */
void amb_hbone_peer_closed(struct amb_hbone *c);

/* recv.c */

/* Reads what is there. @told: the socket said that there is something. */
void amb_recv_run(struct amb_hbone *c, bool told);
/* Takes bytes of the handshake; of none it begins. Returns how many it took. */
size_t amb_recv_handshake(struct amb_hbone *c, const uint8_t *p, size_t n);

/* records.c */

/*
 * Takes the record at @p, or a run of data. Returns how many bytes it took, or 0 when it is not
 * whole or not good.
 */
size_t amb_records_input(struct amb_hbone *c, uint8_t *p, size_t n);
/* Receiving, or opening, failed with @err: the connection does. */
void amb_records_failed(struct amb_hbone *c, int err);

/* frames.c */

/* Takes plaintext of the connection. What goes wrong ends in amb_hbone_fail(). */
void amb_frames_input(struct amb_hbone *c, uint8_t *p, size_t n);
/* Takes one frame of a header block from the module. @refused: nobody's, but for HPACK. */
void amb_frames_headers(struct amb_hbone *c, uint8_t *p, size_t n, bool refused);

/* send.c; all but flush only queue, and fail the connection when memory is out */

void amb_send_raw(struct amb_hbone *c, const uint8_t *p, size_t n);
/* @n contiguous bytes of the open record to be filled; NULL when the connection failed. */
uint8_t *amb_send_want(struct amb_hbone *c, uint32_t n);
void amb_send_small(struct amb_hbone *c, const uint8_t *frame, uint32_t n);
void amb_send_preface(struct amb_hbone *c);
void amb_send_rst(struct amb_hbone *c, uint32_t stream, uint32_t code);
void amb_send_fin(struct amb_stream *s);
void amb_send_alert(struct amb_hbone *c, uint8_t description);
/* Answers a KeyUpdate, or begins one. */
void amb_send_key_update(struct amb_hbone *c);
/*
 * @nv are nghttp2_nv. 0, or -EMSGSIZE, or what the module says to a connection of its own, and
 * nothing was queued.
 */
int amb_send_headers(struct amb_hbone *c, uint32_t stream, void *nv, uint32_t n, bool end_stream);
/* @n received bytes left for the application, or nobody wants them: windows open again. */
void amb_send_conn_credit(struct amb_hbone *c, uint32_t n);
void amb_send_stream_credit(struct amb_stream *s, uint32_t n);
/*
 * Reads from the application straight into records: at most @max bytes, at most one record or
 * AMB_BYTES_READ. Returns bytes, 0 at the end, -errno (-ENOBUFS: no buffer, nothing was read);
 * *@want is what it asked the socket for.
 */
long amb_send_read(struct amb_stream *s, uint32_t max, uint32_t *want);
/* Seals and sends. 0, -EAGAIN when the socket is full, else -errno. */
int amb_send_flush(struct amb_hbone *c);
void amb_send_drop(struct amb_hbone *c);

/* stream.c */

struct amb_stream *amb_stream_new(struct amb_hbone *c, uint32_t id);
struct amb_stream *amb_stream_find(const struct amb_hbone *c, uint32_t id);
/* The window opened. */
void amb_stream_kick(struct amb_stream *s);
/* Reads from streams that wait, in turn, as far as windows and backlog allow. */
void amb_stream_run_ready(struct amb_hbone *c);
bool amb_stream_may_send(const struct amb_hbone *c);
void amb_stream_deliver(struct amb_stream *s, uint8_t *p, uint32_t n);
void amb_stream_deliver_end(struct amb_stream *s);
/* Hands this turn's slices to the applications. */
void amb_stream_flush_all(struct amb_bytes *b);
/* The client's answer came. @baggage may be NULL. */
void amb_stream_answered(struct amb_stream *s, int status, const struct amb_baggage *baggage);
/* RST_STREAM came. */
void amb_stream_peer_reset(struct amb_stream *s, uint32_t code);
/* Stream error of the peer: RST_STREAM with @code. */
void amb_stream_error(struct amb_stream *s, uint32_t code);
/* The end without a word to the peer. */
void amb_stream_finish(struct amb_stream *s, enum amb_reason reason, const char *text);

#endif
