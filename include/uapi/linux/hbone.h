/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Documentation
 * =============
 *
 * HBONE is a tunnel of TCP connections: HTTP/2 CONNECT streams over TLS 1.3. A program does the
 * handshakes, gives the keys to kernel TLS, and speaks HTTP/2 headers; the module hbone carries
 * the bytes: it frames DATA, keeps both levels of flow control, answers PING and SETTINGS, and
 * moves data between an application's socket and the tunnel. What it carries does not need the
 * program any more.
 *
 * Two objects are known here by number:
 *
 *   connection  a TCP socket with kernel TLS in both directions (TLS 1.3), on which the HTTP/2
 *               preface and the SETTINGS of both sides were exchanged and acknowledged
 *   stream      of a connection; by its HTTP/2 number. It begins with its first HEADERS, sent or
 *               received, and may have an application's TCP socket attached, at once or later:
 *               what the peer sends before waits, within the stream's window
 *
 * All requests go to generic netlink family HBONE_GENL_NAME, version HBONE_GENL_VERSION, and need
 * CAP_NET_ADMIN in the user namespace that owns the caller's network namespace. Connections
 * belong to the network namespace of the caller; the sockets may be of any, having their file
 * descriptors is leave to use them. Attributes that a command does not list below are refused.
 * Errors come with an extended-ACK message, or the attribute that is missing, but for ENOMEM, and
 * ENOBUFS of a full socket.
 *
 * HBONE_CMD_CONN_ADD
 * ------------------
 * Hands a connection over, which has no streams that live: DATA of numbers up to the LAST_ ones
 * counts as late. From then on only the module may read or write the socket; the caller should
 * close its descriptor. The answer has the new HBONE_A_CONN. When the caller's socket has no room
 * for it (ENOBUFS) the connection is ended at once.
 *
 *    HBONE_A_VERSION: NLA_U32, HBONE_GENL_VERSION; others are refused with EPROTONOSUPPORT
 *    HBONE_A_FD: NLA_U32, the socket
 *    HBONE_A_FLAGS: NLA_U32, HBONE_F_SERVER if the peer opens streams. Optional
 *    HBONE_A_LOCAL: NLA_NESTED, HBONE_SET_*: what we told the peer in SETTINGS. Optional
 *    HBONE_A_PEER: NLA_NESTED, HBONE_SET_*: what it told us. Optional
 *    HBONE_A_SEND_WINDOW: NLA_S32, what the connection's window lets us send now
 *    HBONE_A_RECV_WINDOW: NLA_S32, what it lets the peer send now. It is kept at this size, so
 *                         announce all of it before
 *    HBONE_A_LAST_LOCAL: NLA_U32, highest stream that we opened. Optional, default 0
 *    HBONE_A_LAST_PEER: NLA_U32, highest stream that the peer opened. Optional, default 0
 *    HBONE_A_INPUT: NLA_BINARY, at most HBONE_INPUT_MAX: bytes that were read from the socket and
 *                   not looked at, as they came. Optional
 *
 * The caller becomes the connection's owner: when its netlink socket closes, the connection lives
 * on with the streams that have their application, and ends when it had no stream for a while
 * (module parameter orphan_seconds). It drains (HBONE_CMD_CONN_DRAIN, HBONE_F_FINAL), and streams
 * without application are reset: nobody else could decode their headers. In a network namespace
 * that another than the initial user namespace owns it ends with its owner.
 *
 * HBONE_CMD_CONN_OWN
 * ------------------
 * Makes the caller the owner, as after the former one died.
 *
 *    HBONE_A_CONN: NLA_U32
 *
 * HBONE_CMD_CONN_DEL
 * ------------------
 * Resets the application's sockets of what streams are left, and forgets the connection. What waits
 * for the peer, GOAWAY and close_notify are sent, and its last is waited for, without the caller:
 * as long as the peer takes something at least each second, and for 10 s at most.
 *
 *    HBONE_A_CONN: NLA_U32
 *    HBONE_A_ERROR: NLA_U32, HTTP/2 error code. Optional, default 0
 *
 * HBONE_CMD_CONN_DRAIN
 * --------------------
 * Tells the peer that it should open no more streams here (RFC 9113, 6.8); those that live go on,
 * and the owner deletes the connection when it has none any more. Without HBONE_F_FINAL by a GOAWAY
 * that excludes none: the peer stops when it hears of it, and what it opened before is taken. With
 * it by one that names the last stream that it opened: later ones are refused from now on. A
 * client's peer opens none, so there it is the latter always; what the owner opens is up to him.
 * Again, or in the wrong order, nothing new is sent.
 *
 *    HBONE_A_CONN: NLA_U32
 *    HBONE_A_FLAGS: NLA_U32, HBONE_F_FINAL. Optional
 *
 * HBONE_CMD_CONN_GET
 * ------------------
 * One (HBONE_A_CONN) or, as a dump, all. The answer:
 *
 *    HBONE_A_CONN, HBONE_A_LAST_LOCAL, HBONE_A_LAST_PEER, HBONE_A_SEND_WINDOW,
 *    HBONE_A_RECV_WINDOW, HBONE_A_LOCAL, HBONE_A_PEER: as above
 *    HBONE_A_FLAGS: NLA_U32, HBONE_F_SERVER, HBONE_F_DRAINING
 *    HBONE_A_OWNER: NLA_U32, port of the owner, 0 when there is none
 *    HBONE_A_STREAMS: NLA_U32, streams that live
 *    HBONE_A_FRAMES: NLA_U32, frames that wait for HBONE_CMD_FRAME_RECV
 *    HBONE_A_BACKLOG: NLA_U32, bytes received that applications did not take yet
 *    HBONE_A_RX_BYTES, HBONE_A_TX_BYTES: NLA_U64, payload of DATA
 *    HBONE_A_COOKIE: NLA_U64, the socket's cookie (SO_COOKIE); 0 when nobody had asked for it
 *    HBONE_A_ERROR: NLA_U32, of a GOAWAY that came; absent when none did
 *
 * HBONE_CMD_STREAM_ADD
 * --------------------
 * Attaches an application's connected TCP socket. The caller should close its descriptor. Bytes of
 * the application may follow at once, so on a stream that the peer opened HEADERS are sent before.
 *
 *    HBONE_A_CONN: NLA_U32
 *    HBONE_A_STREAM: NLA_U32, a stream that began on this connection
 *    HBONE_A_FD: NLA_U32
 *    HBONE_A_COOKIE: NLA_U64, told again with this stream, for the caller's use. Optional
 *    HBONE_A_NOTE: NLA_BINARY, at most HBONE_NOTE_MAX, told by HBONE_CMD_STREAM_GET and not looked
 *                  at: what the next owner needs to know. An empty one is none. Optional
 *
 * HBONE_CMD_STREAM_DEL
 * --------------------
 * Resets a stream on both sides.
 *
 *    HBONE_A_CONN, HBONE_A_STREAM: NLA_U32
 *    HBONE_A_ERROR: NLA_U32, HTTP/2 error code. Optional, default CANCEL (8)
 *
 * HBONE_CMD_STREAM_GET
 * --------------------
 * One (HBONE_A_CONN, HBONE_A_STREAM) or, as a dump, all of a connection (HBONE_A_CONN). The
 * answer:
 *
 *    HBONE_A_CONN, HBONE_A_STREAM, HBONE_A_SEND_WINDOW, HBONE_A_RECV_WINDOW, HBONE_A_COOKIE,
 *    HBONE_A_BACKLOG, HBONE_A_RX_BYTES, HBONE_A_TX_BYTES: as above
 *    HBONE_A_FLAGS: NLA_U32, HBONE_F_ATTACHED, HBONE_F_RX_END, HBONE_F_TX_END
 *    HBONE_A_NOTE: as it was given; absent when none was
 *
 * HBONE_CMD_FRAME_RECV
 * --------------------
 * Takes the oldest HEADERS or CONTINUATION frame that came, in the answer, as it was on the wire,
 * with its head. EAGAIN when none waits; ENOBUFS when the caller's socket has no room for it, and
 * it still waits. A stream that the peer opened beyond its limit, or while
 * the connection drains, was refused already, but its headers are told: HPACK needs them.
 * PUSH_PROMISE is an error of the peer's, PRIORITY and unknown frames are nobody's.
 *
 *    HBONE_A_CONN: NLA_U32; in the answer too
 *    HBONE_A_FRAME: NLA_BINARY, answer only
 *    HBONE_A_FLAGS: NLA_U32, answer only: HBONE_F_REFUSED
 *
 * HBONE_CMD_FRAME_SEND
 * --------------------
 * Sends frames in the order of the calls. HEADERS of a number that our side did not use yet opens
 * a stream, END_STREAM in a stream's frame ends our direction of it. EAGAIN when too much waits
 * for the peer to take it.
 *
 *    HBONE_A_CONN: NLA_U32
 *    HBONE_A_FRAME: NLA_BINARY, at most HBONE_FRAME_SEND_MAX: one whole header block, as HEADERS
 *                   and CONTINUATION frames with their heads
 *
 * Events
 * ------
 * Multicast group HBONE_GENL_GROUP, in the network namespace of the connection, for those with
 * CAP_NET_ADMIN. Who misses some
 * (ENOBUFS) asks by the dumps.
 *
 *    HBONE_CMD_FRAME_READY: HBONE_A_CONN. A frame waits where none did: take all, until EAGAIN
 *    HBONE_CMD_STREAM_CLOSED: as HBONE_CMD_STREAM_GET tells, without HBONE_A_NOTE, but with
 *                             HBONE_A_REASON, HBONE_A_ERROR
 *    HBONE_CMD_GOAWAY: HBONE_A_CONN, HBONE_A_ERROR, HBONE_A_LAST_LOCAL: the last of our streams
 *                      that the peer looks at. Streams beyond it were closed, as refused
 *    HBONE_CMD_CONN_CLOSED: HBONE_A_CONN, HBONE_A_REASON, HBONE_A_ERROR (HTTP/2), HBONE_A_ERRNO,
 *                           HBONE_A_RX_BYTES, HBONE_A_TX_BYTES. Its streams were told before, but
 *                           for those that a request is ending meanwhile. Its last words, and with
 *                           them its socket, take as long as those of HBONE_CMD_CONN_DEL
 */
#ifndef _UAPI_LINUX_HBONE_H
#define _UAPI_LINUX_HBONE_H

#define HBONE_GENL_NAME "hbone"
#define HBONE_GENL_VERSION 1
#define HBONE_GENL_GROUP "events"

#define HBONE_INPUT_MAX 32768
#define HBONE_FRAME_SEND_MAX 32768
#define HBONE_NOTE_MAX 1024

enum hbone_cmd {
	HBONE_CMD_UNSPEC,
	HBONE_CMD_CONN_ADD,
	HBONE_CMD_CONN_OWN,
	HBONE_CMD_CONN_DEL,
	HBONE_CMD_CONN_DRAIN,
	HBONE_CMD_CONN_GET,
	HBONE_CMD_STREAM_ADD,
	HBONE_CMD_STREAM_DEL,
	HBONE_CMD_STREAM_GET,
	HBONE_CMD_FRAME_RECV,
	HBONE_CMD_FRAME_SEND,
	/* Events */
	HBONE_CMD_FRAME_READY,
	HBONE_CMD_STREAM_CLOSED,
	HBONE_CMD_GOAWAY,
	HBONE_CMD_CONN_CLOSED,
	__HBONE_CMD_MAX
};

#define HBONE_CMD_MAX (__HBONE_CMD_MAX - 1)

enum hbone_attr {
	HBONE_A_UNSPEC,
	HBONE_A_PAD,
	HBONE_A_VERSION,
	HBONE_A_CONN,
	HBONE_A_STREAM,
	HBONE_A_FD,
	HBONE_A_FLAGS,
	HBONE_A_LOCAL,
	HBONE_A_PEER,
	HBONE_A_SEND_WINDOW,
	HBONE_A_RECV_WINDOW,
	HBONE_A_LAST_LOCAL,
	HBONE_A_LAST_PEER,
	HBONE_A_INPUT,
	HBONE_A_FRAME,
	HBONE_A_COOKIE,
	HBONE_A_ERROR,
	HBONE_A_ERRNO,
	HBONE_A_REASON,
	HBONE_A_OWNER,
	HBONE_A_STREAMS,
	HBONE_A_FRAMES,
	HBONE_A_BACKLOG,
	HBONE_A_RX_BYTES,
	HBONE_A_TX_BYTES,
	HBONE_A_NOTE,
	__HBONE_A_MAX
};

#define HBONE_A_MAX (__HBONE_A_MAX - 1)

/* In HBONE_A_LOCAL and HBONE_A_PEER, all NLA_U32 with HTTP/2's defaults and limits. */
enum hbone_set {
	HBONE_SET_UNSPEC,
	HBONE_SET_INITIAL_WINDOW, /* of streams: 65535, at most 2^31 - 1 */
	HBONE_SET_MAX_FRAME, /* 16384, at most 2^24 - 1 */
	HBONE_SET_MAX_STREAMS, /* that the other side may have open: HBONE_STREAMS_MAX, the most */
	__HBONE_SET_MAX
};

#define HBONE_SET_MAX (__HBONE_SET_MAX - 1)
#define HBONE_STREAMS_MAX 4096

#define HBONE_F_SERVER (1U << 0)
#define HBONE_F_RX_END (1U << 1) /* the peer sends no more */
#define HBONE_F_TX_END (1U << 2) /* the application sends no more */
#define HBONE_F_ATTACHED (1U << 3)
#define HBONE_F_REFUSED (1U << 4)
#define HBONE_F_FINAL (1U << 5)
#define HBONE_F_DRAINING (1U << 6) /* streams that the peer opens are refused */

/* Why something ended. New ones are appended. */
enum hbone_reason {
	HBONE_REASON_DONE, /* both directions ended; a connection: the peer closed it */
	HBONE_REASON_PEER_RESET, /* the peer reset the stream */
	HBONE_REASON_APP_RESET, /* the application's socket failed */
	HBONE_REASON_REQUEST, /* it was deleted */
	HBONE_REASON_PROTOCOL, /* the peer broke HTTP/2, or a limit; HBONE_A_ERROR */
	HBONE_REASON_CONN, /* a stream ended with its connection */
	HBONE_REASON_SOCKET, /* the connection's socket failed; HBONE_A_ERRNO */
	HBONE_REASON_TLS, /* a record that is not data: alert, key update */
	HBONE_REASON_MEMORY, /* no memory; of streams alone */
	HBONE_REASON_ORPHAN, /* no owner, and no streams for long; a stream: no application */
	HBONE_REASON_NETNS, /* its network namespace ended */
	HBONE_REASON_KEY, /* as many records as one key is good for */
};

#endif /* _UAPI_LINUX_HBONE_H */
