/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HBONE connections and streams: HTTP/2 CONNECT in mutual TLS, bytes moved between a stream
 * and an application socket without a copy of our own (reference/byte-path). All of a
 * connection and its streams live on one worker thread.
 *
 * Layers: record.c (bytes protected), h2.c (frames as pure codec), hbone.c (connection:
 * handshake, frames, windows, pings), stream.c (stream <-> application socket).
 */
#ifndef AMB_HBONE_H
#define AMB_HBONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ambient/reason.h"
#include "base/addr.h"
#include "base/loop.h"
#include "mesh/baggage.h"
#include "mesh/decide.h"
#include "mesh/identity.h"
#include "proxy/tls.h"
#include "proxy/wire.h"

struct amb_hbone; /* a connection */
struct amb_stream; /* a CONNECT stream */
struct amb_cred;
struct amb_bytes; /* the thread's buffers */
struct amb_share; /* a pod's part of them */

/* HTTP/2 settings and limits (ztunnel-interop 4.6); configuration, same for all connections. */
struct amb_hbone_config {
	uint32_t stream_window; /* 4 MiB */
	uint32_t conn_window; /* 16 MiB */
	uint32_t frame_size; /* 1 MiB: largest frame we accept */
	uint32_t max_streams; /* 200: peers may open at once */
	uint64_t ping_interval_ns; /* 10 s */
	uint64_t ping_timeout_ns; /* 20 s */
	uint64_t handshake_timeout_ns; /* 10 s, inbound and outbound: until the peer's SETTINGS */
	uint64_t buffer_memory; /* 128 MiB: bound on buffers of one thread */
	uint64_t record_limit; /* AMB_RECORD_LIMIT: a connection retires there */
	enum amb_tier tier; /* who seals and opens records, where it can */
	bool rekeys; /* kernel TLS takes new keys for old (Linux 6.14) */
};
#define AMB_HBONE_DEFAULTS                                                                         \
	{                                                                                          \
		.stream_window = 4 << 20, .conn_window = 16 << 20, .frame_size = 1 << 20,          \
		.max_streams = 200, .ping_interval_ns = 10000000000ull,                            \
		.ping_timeout_ns = 20000000000ull, .handshake_timeout_ns = 10000000000ull,         \
		.buffer_memory = 128ull << 20, .record_limit = AMB_RECORD_LIMIT,                   \
	}
extern const struct amb_hbone_config amb_hbone_defaults;

/*
 * Buffers of one thread: borrowed while bytes move, returned when idle, bounded. @config NULL
 * means the defaults. Destroying ends every connection and relay made with it.
 */
struct amb_bytes *amb_bytes_create(struct amb_loop *loop, const struct amb_hbone_config *config);
void amb_bytes_destroy(struct amb_bytes *b);
/* Counted by the pod and by what was told to use it. NULL: out of memory. */
struct amb_share *amb_bytes_share_create(struct amb_bytes *b);
struct amb_share *amb_bytes_share_get(struct amb_share *s);
void amb_bytes_share_put(struct amb_share *s);

/* Ways to be a nuisance; each has a budget (conn.h), and who overdraws it is told to calm down. */
#define AMB_HBONE_ABUSES(X)                                                                        \
	X(PING, "ping")                                                                            \
	X(SETTINGS, "settings")                                                                    \
	X(RESET, "reset") /* streams opened and reset before they were answered */                 \
	X(EMPTY, "empty") /* frames and records without a byte of payload */                       \
	X(OTHER, "other") /* priority, unknown and late frames */                                  \
	X(ERROR, "error") /* stream errors that we answer with RST_STREAM */                       \
	X(KEYS, "keys") /* TLS key updates and tickets */
#define AMB_X(id, text) AMB_ABUSE_##id,
enum amb_hbone_abuse { AMB_HBONE_ABUSES(AMB_X) AMB_ABUSE_MAX };
#undef AMB_X

/* Of one thread; gauges where said, else counters. */
struct amb_bytes_stats {
	uint64_t mapped, used; /* gauges: buffer bytes mapped, and of these out */
	uint64_t conns, streams; /* gauges: objects */
	uint64_t buffers_refused; /* times that the bound made somebody wait */
	uint64_t evicted; /* streams reset because their reader filled the memory */
	uint64_t refused_streams; /* over max_streams */
	uint64_t conn_errors, stream_errors; /* HTTP/2 errors of peers */
	uint64_t tls_errors; /* handshakes that failed, records that did not open */
	uint64_t handshake_timeouts, ping_timeouts;
	uint64_t tiers[AMB_TIER_MAX]; /* connections by tier */
	uint64_t tier_refused; /* connections that stayed in a lower tier against our will */
	uint64_t rekeys_refused; /* ended because the kernel could not follow the peer's key */
	uint64_t abuse[AMB_ABUSE_MAX];
};
/* Any thread. */
void amb_bytes_get_stats(const struct amb_bytes *b, struct amb_bytes_stats *out);

/* Header fields of a CONNECT; strings are valid during the call only, NULL when absent. */
struct amb_hbone_request {
	const char *method;
	const char *authority;
	size_t authority_len;
	const char *forwarded;
	const char *traceparent;
	const char *forwarded_network; /* x-forwarded-network */
	struct amb_baggage baggage;
	bool has_baggage;
	bool bad; /* not a well formed CONNECT: answer 400 */
};

struct amb_hbone_ops {
	/*
	 * Handshake done, settings sent; the peer is known. A client's in tier kmod: and the
	 * peer's came.
	 */
	void (*up)(struct amb_hbone *c, void *owner);
	/* Server: a request; answer now or later by accept, reject or reset. */
	void (*request)(struct amb_hbone *c, void *owner, struct amb_stream *s,
			const struct amb_hbone_request *req);
	/* Client: slots became free, more, or none (GOAWAY): see amb_hbone_slots. */
	void (*room)(struct amb_hbone *c, void *owner);
	/*
	 * The end; after the closed() of each of its streams. The object is freed after this
	 * call. @reason NONE for a peaceful end. @text may be NULL.
	 */
	void (*closed)(struct amb_hbone *c, void *owner, enum amb_reason reason, const char *text);
};

/*
 * A connection over @fd (connected, or connecting for the client; owned from here on, closed
 * on failure too). References are taken on @cred and @expect. NULL: errno; no callback then.
 */
struct amb_hbone *amb_hbone_client(struct amb_bytes *b, int fd, struct amb_cred *cred,
				   const struct amb_identset *expect,
				   const struct amb_hbone_ops *ops, void *owner);
struct amb_hbone *amb_hbone_server(struct amb_bytes *b, int fd, struct amb_cred *cred,
				   const struct amb_hbone_ops *ops, void *owner);

/*
 * The agent carries the connection's bytes whatever the tier: the application of one of its streams
 * will be no TCP socket. To be said before the turn is over.
 */
void amb_hbone_keep(struct amb_hbone *c);
/* Whose buffers it uses; a reference is taken. To be said before the turn is over. */
void amb_hbone_share(struct amb_hbone *c, struct amb_share *s);

bool amb_hbone_is_up(const struct amb_hbone *c);
/* After up. */
const struct amb_tls_peer *amb_hbone_peer(const struct amb_hbone *c);
/* The record layer: records under the present keys, of both directions. */
struct amb_hbone_records {
	enum amb_tier tier;
	uint64_t sent, received;
};
/* After up. Asks the kernel at most once a turn, where it is the one to know. */
struct amb_hbone_records amb_hbone_records(struct amb_hbone *c);
struct amb_cred *amb_hbone_cred(const struct amb_hbone *c);
unsigned int amb_hbone_streams(const struct amb_hbone *c);
/*
 * Streams that may be opened now: follows the peer's SETTINGS (100 before they come), 0 after
 * GOAWAY, near the record limit, or when closing.
 */
unsigned int amb_hbone_slots(const struct amb_hbone *c);
size_t amb_hbone_memory(const struct amb_hbone *c);

/* Graceful end: GOAWAY, existing streams go on, closed() when the last is done. */
void amb_hbone_drain(struct amb_hbone *c);
/* At once: streams are reset with @reason, closed() comes before this returns. */
void amb_hbone_abort(struct amb_hbone *c, enum amb_reason reason, const char *text);

struct amb_stream_ops {
	/* Client: the answer; 200 has begun to relay already. @baggage NULL when none came. */
	void (*response)(struct amb_stream *s, void *owner, int status,
			 const struct amb_baggage *baggage);
	/*
	 * The end, once, whatever happened; the application socket is closed (reset when the
	 * stream ended by error) and the stream is freed after the call. Byte counts are still
	 * readable. @reason NONE when both sides ended properly.
	 */
	void (*closed)(struct amb_stream *s, void *owner, enum amb_reason reason, const char *text);
	/*
	 * Tier kmod, the module takes the application's socket: writes what the next agent should
	 * know of the stream. The length, 0 when there is nothing to know. May be NULL.
	 */
	size_t (*note)(struct amb_stream *s, void *owner, char *to, size_t room);
};

/* Header fields to send with a CONNECT; all but authority may be NULL. Copied. */
struct amb_stream_headers {
	const char *authority, *baggage, *forwarded, *traceparent, *forwarded_network;
};

/*
 * Client: opens a stream for application socket @fd (owned from here on; reading starts with
 * the 200). Needs amb_hbone_slots() > 0. NULL: errno, and @fd is untouched.
 */
struct amb_stream *amb_stream_open(struct amb_hbone *c, int fd, const struct amb_stream_headers *h,
				   const struct amb_stream_ops *ops, void *owner);

/* Server: who hears of this stream's end; to be set within request(). */
void amb_stream_set_owner(struct amb_stream *s, const struct amb_stream_ops *ops, void *owner);
/* Server: 200 with @baggage (may be NULL), then relay to connected @fd (owned). 0 or -errno. */
int amb_stream_accept(struct amb_stream *s, int fd, const char *baggage);
/* Server: an error status with END_STREAM; then closed() with @reason. */
void amb_stream_reject(struct amb_stream *s, int status, enum amb_reason reason);
/*
 * Either side: RST_STREAM with @code (enum amb_h2_error), app socket reset; closed() before it
 * returns. A peer may read CANCEL as the end (ztunnel-interop 4.8), CONNECT_ERROR it does not.
 */
void amb_stream_abort(struct amb_stream *s, uint32_t code, enum amb_reason reason);

/* Payload bytes so far: @to_app from the tunnel to the application, @from_app the reverse. */
void amb_stream_bytes(const struct amb_stream *s, uint64_t *to_app, uint64_t *from_app);
struct amb_hbone *amb_stream_conn(const struct amb_stream *s);

/* Two plaintext sockets joined, same rules: back-pressure, half-close and reset carried. */
struct amb_relay;
struct amb_relay_ops {
	void (*closed)(struct amb_relay *r, void *owner, enum amb_reason reason, const char *text);
};
/* Both descriptors connected and owned from here on. NULL: errno, descriptors untouched. */
struct amb_relay *amb_relay_start(struct amb_bytes *b, int down, int up,
				  const struct amb_relay_ops *ops, void *owner);
/* As amb_hbone_share(). */
void amb_relay_share(struct amb_relay *r, struct amb_share *s);
void amb_relay_abort(struct amb_relay *r, enum amb_reason reason);
/* @to_up: bytes from down to up. */
void amb_relay_bytes(const struct amb_relay *r, uint64_t *to_up, uint64_t *to_down);

#endif
