/* SPDX-License-Identifier: GPL-2.0 */
/*
 * HTTP/2 frames and flow-control windows (RFC 9113) as pure functions: bytes in, events out. No
 * I/O, no streams, no allocation, so that the same file runs in the module and in user space.
 */
#ifndef HBONE_H2FRAME_H
#define HBONE_H2FRAME_H

#include <linux/types.h>
#ifndef __KERNEL__
#include <stdbool.h>
#include <stddef.h>
#define u8 __u8
#define u16 __u16
#define u32 __u32
#define s32 __s32
#define s64 __s64
#endif

#define HBONE_H2_HEAD 9
#define HBONE_H2_WINDOW 65535 /* before SETTINGS and WINDOW_UPDATE say otherwise */
#define HBONE_H2_WINDOW_MAX 0x7fffffff
#define HBONE_H2_STREAM_MAX 0x7fffffffu
#define HBONE_H2_FRAME_MIN 16384 /* least SETTINGS_MAX_FRAME_SIZE, and its default */
#define HBONE_H2_FRAME_MAX 16777215
#define HBONE_H2_SMALL (HBONE_H2_HEAD + 8) /* longest frame that the writers make */

/* Limits of a peer's frames; beyond them the connection is in error. */
#define HBONE_H2_SETTINGS_MAX 64 /* entries in one SETTINGS */
#define HBONE_H2_CONTINUATIONS_MAX 16 /* frames that continue one header block */
#define HBONE_H2_HEADERS_MAX 32768 /* payload of one HEADERS or CONTINUATION */

enum hbone_h2_type {
	HBONE_H2_DATA = 0,
	HBONE_H2_HEADERS = 1,
	HBONE_H2_PRIORITY = 2,
	HBONE_H2_RST_STREAM = 3,
	HBONE_H2_SETTINGS = 4,
	HBONE_H2_PUSH_PROMISE = 5,
	HBONE_H2_PING = 6,
	HBONE_H2_GOAWAY = 7,
	HBONE_H2_WINDOW_UPDATE = 8,
	HBONE_H2_CONTINUATION = 9,
};

#define HBONE_H2_ACK 0x01
#define HBONE_H2_END_STREAM 0x01
#define HBONE_H2_END_HEADERS 0x04
#define HBONE_H2_PADDED 0x08

enum hbone_h2_setting {
	HBONE_H2_ENABLE_PUSH = 2,
	HBONE_H2_MAX_CONCURRENT_STREAMS = 3,
	HBONE_H2_INITIAL_WINDOW_SIZE = 4,
	HBONE_H2_MAX_FRAME_SIZE = 5,
};

enum hbone_h2_error {
	HBONE_H2_NO_ERROR = 0,
	HBONE_H2_PROTOCOL_ERROR = 1,
	HBONE_H2_INTERNAL_ERROR = 2,
	HBONE_H2_FLOW_CONTROL_ERROR = 3,
	HBONE_H2_STREAM_CLOSED = 5,
	HBONE_H2_FRAME_SIZE_ERROR = 6,
	HBONE_H2_REFUSED_STREAM = 7,
	HBONE_H2_CANCEL = 8,
	HBONE_H2_CONNECT_ERROR = 10,
	HBONE_H2_ENHANCE_YOUR_CALM = 11,
};

/* A reader of frames. Its fields are its own, except where said. */
struct hbone_h2frame {
	u8 head[HBONE_H2_HEAD]; /* of the frame under way; valid during RAW events */
	u8 nhead; /* of head; HBONE_H2_HEAD while in a payload */
	u8 type, flags;
	u8 small[8]; /* fixed-size payloads are gathered here */
	u8 nsmall;
	u8 continuations;
	bool first; /* the next piece is the frame's first */
	bool pad_due; /* the pad length is still to come */
	u32 stream, length;
	u32 left; /* payload still to come, padding not counted */
	u32 pad; /* padding still to come */
	u32 block; /* stream whose header block is not over, or 0 */
	u32 max_frame; /* longest payload that we said we take */
};

enum hbone_h2_kind {
	HBONE_H2_EV_DATA, /* a piece of DATA: p, n, first, last, end_stream */
	HBONE_H2_EV_RAW, /* a piece of HEADERS or CONTINUATION, as it is; end_stream of HEADERS */
	HBONE_H2_EV_SETTING, /* one entry: id, value; checked */
	HBONE_H2_EV_SETTINGS_END, /* all entries of one frame were told */
	HBONE_H2_EV_SETTINGS_ACK,
	HBONE_H2_EV_PING, /* p, n = 8; ack */
	HBONE_H2_EV_RST, /* value: error code */
	HBONE_H2_EV_WINDOW, /* value: increment; stream 0 is the connection */
	HBONE_H2_EV_GOAWAY, /* last: stream; value: error code */
	HBONE_H2_EV_STREAM_ERROR, /* value: the code to reset the stream with */
	HBONE_H2_EV_IGNORED, /* PRIORITY or unknown: nothing to do but to count it */
};

struct hbone_h2_event {
	u8 kind; /* enum hbone_h2_kind */
	u8 type; /* of the frame, on the wire */
	bool first, last;
	bool end_stream; /* DATA: with the last piece. RAW: of HEADERS, with each piece */
	bool ack;
	u16 id;
	u32 stream;
	u32 length; /* of the frame: what counts against the windows */
	u32 padding; /* of it, with its length byte */
	u32 value;
	u32 goaway_last;
	const u8 *p; /* valid until the next call */
	size_t n;
};

/* @max_frame: the SETTINGS_MAX_FRAME_SIZE that the peer was told. */
void hbone_h2frame_init(struct hbone_h2frame *f, u32 max_frame);

/*
 * Takes bytes from *@in (of *@n) up to the next event. Returns 1 with *@ev; 0 when all bytes are
 * taken and more are needed; or -code (enum hbone_h2_error): the connection is in error and the
 * reader must not be used again. Pieces of DATA and RAW point into @in.
 */
int hbone_h2frame_next(struct hbone_h2frame *f, const u8 **in, size_t *n,
		       struct hbone_h2_event *ev);

/*
 * Checks bytes that are sent for somebody: one whole header block, as HEADERS and CONTINUATION
 * frames of at most @max_frame. 0 with the stream and whether HEADERS ends it, or -EINVAL.
 */
int hbone_h2frame_check_headers(const u8 *p, size_t n, u32 max_frame, u32 *stream, bool *end);

/* Writers: each returns the length. @to holds HBONE_H2_SMALL. */
size_t hbone_h2frame_write_head(u8 *to, u32 length, u8 type, u8 flags, u32 stream);
size_t hbone_h2frame_write_u32(u8 *to, u8 type, u32 stream, u32 value);
size_t hbone_h2frame_write_ping_ack(u8 *to, const u8 payload[8]);
size_t hbone_h2frame_write_goaway(u8 *to, u32 last, u32 code);

/*
 * Windows. A send window may be negative after SETTINGS (RFC 9113, 6.9.2), a receive window never.
 */

/* WINDOW_UPDATE. 0, or -HBONE_H2_FLOW_CONTROL_ERROR with the window as it was. */
int hbone_h2frame_window_grow(s32 *window, u32 increment);
/* SETTINGS_INITIAL_WINDOW_SIZE goes from @old to @new. As above. */
int hbone_h2frame_window_shift(s32 *window, u32 old, u32 new);
/* A frame of @length came in. 0, or -HBONE_H2_FLOW_CONTROL_ERROR. */
int hbone_h2frame_window_take(s32 *window, u32 length);
/* What may be sent now: the least of both windows and @room, never negative. */
u32 hbone_h2frame_window_room(s32 conn, s32 stream, u32 room);

#endif
