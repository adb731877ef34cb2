/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP/2 frames (RFC 9113) as a pure codec: bytes in, events out; no I/O, no streams. HPACK
 * is nghttp2's.
 */
#ifndef AMB_H2_H
#define AMB_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AMB_H2_HEAD 9
#define AMB_H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define AMB_H2_PREFACE_LEN 24
#define AMB_H2_WINDOW_MAX 0x7fffffff
#define AMB_H2_WINDOW 65535 /* initial, both scopes */
#define AMB_H2_STREAM_MAX 0x7fffffffu

/* Limits of a peer's frames; beyond them the connection is in error. */
#define AMB_H2_SETTINGS_MAX 64 /* entries in one SETTINGS */
#define AMB_H2_CONTINUATIONS_MAX 16 /* frames that continue one header block */
#define AMB_H2_FIELDS_MAX 256 /* header fields in one block */

enum amb_h2_type {
	AMB_H2_DATA,
	AMB_H2_HEADERS,
	AMB_H2_PRIORITY,
	AMB_H2_RST_STREAM,
	AMB_H2_SETTINGS,
	AMB_H2_PUSH_PROMISE,
	AMB_H2_PING,
	AMB_H2_GOAWAY,
	AMB_H2_WINDOW_UPDATE,
	AMB_H2_CONTINUATION,
};

#define AMB_H2_ACK 0x1 /* SETTINGS, PING */
#define AMB_H2_END_STREAM 0x1
#define AMB_H2_END_HEADERS 0x4
#define AMB_H2_PADDED 0x8
#define AMB_H2_HAS_PRIORITY 0x20

enum amb_h2_setting {
	AMB_H2_HEADER_TABLE_SIZE = 1,
	AMB_H2_ENABLE_PUSH,
	AMB_H2_MAX_CONCURRENT_STREAMS,
	AMB_H2_INITIAL_WINDOW_SIZE,
	AMB_H2_MAX_FRAME_SIZE,
	AMB_H2_MAX_HEADER_LIST_SIZE,
	/*
	 * Of ours, from the numbers for experiments (RFC 7540 11.3); who does not know it ignores
	 * it. 1 from a server: the DATA of a CONNECT may come before its answer.
	 */
	AMB_H2_EARLY_DATA = 0xfed0,
};

enum amb_h2_error {
	AMB_H2_NO_ERROR,
	AMB_H2_PROTOCOL_ERROR,
	AMB_H2_INTERNAL_ERROR,
	AMB_H2_FLOW_CONTROL_ERROR,
	AMB_H2_SETTINGS_TIMEOUT,
	AMB_H2_STREAM_CLOSED,
	AMB_H2_FRAME_SIZE_ERROR,
	AMB_H2_REFUSED_STREAM,
	AMB_H2_CANCEL,
	AMB_H2_COMPRESSION_ERROR,
	AMB_H2_CONNECT_ERROR,
	AMB_H2_ENHANCE_YOUR_CALM,
	AMB_H2_INADEQUATE_SECURITY,
	AMB_H2_HTTP_1_1_REQUIRED,
};

/* "PROTOCOL_ERROR"; "unknown error" for numbers not in the RFC. */
const char *amb_h2_error_text(uint32_t code);

struct amb_h2_parser {
	uint8_t head[AMB_H2_HEAD];
	uint8_t nhead; /* of head; AMB_H2_HEAD while in a frame */
	uint8_t preface; /* bytes of the client's preface still to come */
	uint8_t type, flags;
	uint8_t state; /* private: what the payload is being used for */
	uint8_t continuations;
	bool server;
	bool started; /* the peer's first SETTINGS came */
	bool first; /* next DATA event is the frame's first */
	bool block_end; /* END_STREAM of the header block under way */
	uint32_t stream, length;
	uint32_t left; /* payload bytes still to come */
	uint32_t pad; /* of them padding */
	uint32_t block_stream; /* CONTINUATION is due for this stream */
	uint32_t max_frame, max_block;
	uint32_t n, cap, need; /* of buf; need: gather up to here */
	uint8_t *buf;
	uint8_t small[8];
};

/* What a frame, or a piece of a DATA frame, says. */
struct amb_h2_event {
	uint8_t type; /* enum amb_h2_type, or any unknown one: ignore it */
	bool ack; /* SETTINGS, PING */
	bool first; /* DATA: first piece of its frame */
	bool end_stream; /* DATA: on the last piece; HEADERS */
	uint32_t stream;
	uint32_t length; /* of the frame; for DATA what counts against the windows */
	uint32_t value; /* error code, or window increment */
	uint32_t last; /* GOAWAY: last stream */
	uint32_t error; /* stream error to answer with; nothing else is valid but stream */
	uint32_t padding; /* DATA: bytes of this piece that were padding */
	uint8_t *p; /* DATA, header block, SETTINGS entries, PING payload; until the next call */
	uint32_t n;
};

/* @max_frame: largest frame we said we take. @max_block: largest header block, wire bytes. */
void amb_h2_init(struct amb_h2_parser *p, bool server, uint32_t max_frame, uint32_t max_block);
void amb_h2_uninit(struct amb_h2_parser *p);

/*
 * Takes bytes from *@in (of *@n) up to the next event. Returns 1 with *@ev, 0 when all bytes
 * are taken and more are needed, or -code: the connection is in error with that HTTP/2 code.
 * Pieces of DATA point into @in.
 */
int amb_h2_next(struct amb_h2_parser *p, uint8_t **in, size_t *n, struct amb_h2_event *ev);

/* Reads entry @i of a SETTINGS event. */
void amb_h2_setting_at(const struct amb_h2_event *ev, uint32_t i, uint16_t *id, uint32_t *value);
/* Checks a setting's value: 0 or -code. */
int amb_h2_setting_check(uint16_t id, uint32_t value, bool server);

/* Writers; each returns the frame's length. Buffers hold AMB_H2_HEAD and the payload. */
uint32_t amb_h2_write_head(uint8_t *to, uint32_t length, uint8_t type, uint8_t flags,
			   uint32_t stream);
uint32_t amb_h2_write_u32(uint8_t *to, uint8_t type, uint32_t stream, uint32_t value);
uint32_t amb_h2_write_ping(uint8_t *to, bool ack, const uint8_t payload[8]);
uint32_t amb_h2_write_goaway(uint8_t *to, uint32_t last, uint32_t code);
/* @n pairs of id and value. */
uint32_t amb_h2_write_settings(uint8_t *to, const uint32_t (*entries)[2], uint32_t n);
#define AMB_H2_SMALL_FRAME (AMB_H2_HEAD + 8) /* PING, GOAWAY, WINDOW_UPDATE, RST_STREAM */

/* Header fields. */

struct nghttp2_hd_inflater;
struct nghttp2_hd_deflater;

/* What a block turned out to be. */
enum amb_h2_block {
	AMB_H2_BLOCK_OK,
	AMB_H2_BLOCK_BAD, /* decoded, but malformed: RFC 9113 8.2, 8.3, 8.5 */
};

enum amb_h2_block_kind { AMB_H2_REQUEST, AMB_H2_RESPONSE, AMB_H2_TRAILERS };

/* One decoded field; valid during the call only, both NUL-terminated. */
typedef void amb_h2_field_fn(void *ctx, const char *name, size_t namelen, const char *value,
			     size_t valuelen);

/*
 * Decodes a whole block and checks it for its @kind. For requests: a CONNECT has :method and
 * :authority and no other pseudo field; other methods are well formed with :scheme and :path
 * too (fields are told, the caller refuses). @max_list bounds the list as RFC 9113 6.5.2
 * counts it. Returns enum amb_h2_block, or -code for the connection.
 */
int amb_h2_inflate(struct nghttp2_hd_inflater *inf, const uint8_t *block, size_t n,
		   enum amb_h2_block_kind kind, uint32_t max_list, amb_h2_field_fn *field,
		   void *ctx);

#endif
