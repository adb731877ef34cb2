// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HTTP/2 frames as a pure codec. A frame's payload is used in one of four ways: DATA is
 * passed on in the pieces that arrive, a few leading bytes of short frames are gathered in
 * place, SETTINGS and header blocks are gathered whole when a record cuts them, the rest is
 * skipped. Stream errors are events; connection errors are return values.
 */
#include "h2.h"

#include "base/util.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

enum { IN_DATA, IN_PAD_LENGTH, IN_GATHER, IN_SKIP };

static inline uint32_t get24(const uint8_t *p)
{
	return (uint32_t)p[0] << 16 | p[1] << 8 | p[2];
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static inline void put32(uint8_t *p, uint32_t v)
{
	p[0] = v >> 24;
	p[1] = v >> 16;
	p[2] = v >> 8;
	p[3] = v;
}

const char *amb_h2_error_text(uint32_t code)
{
	static const char *const texts[] = {
		"NO_ERROR",
		"PROTOCOL_ERROR",
		"INTERNAL_ERROR",
		"FLOW_CONTROL_ERROR",
		"SETTINGS_TIMEOUT",
		"STREAM_CLOSED",
		"FRAME_SIZE_ERROR",
		"REFUSED_STREAM",
		"CANCEL",
		"COMPRESSION_ERROR",
		"CONNECT_ERROR",
		"ENHANCE_YOUR_CALM",
		"INADEQUATE_SECURITY",
		"HTTP_1_1_REQUIRED",
	};

	return code < AMB_ARRAY_SIZE(texts) ? texts[code] : "unknown error";
}

void amb_h2_init(struct amb_h2_parser *p, bool server, uint32_t max_frame, uint32_t max_block)
{
	memset(p, 0, sizeof(*p));
	p->server = server;
	p->preface = server ? AMB_H2_PREFACE_LEN : 0;
	p->max_frame = max_frame;
	p->max_block = max_block;
}

static void drop_buf(struct amb_h2_parser *p)
{
	free(p->buf);
	p->buf = NULL;
	p->n = p->cap = 0;
}

void amb_h2_uninit(struct amb_h2_parser *p)
{
	drop_buf(p);
}

/* Frame heads: everything that can be judged before the payload. */

static bool on_connection(uint8_t type)
{
	return type == AMB_H2_SETTINGS || type == AMB_H2_PING || type == AMB_H2_GOAWAY;
}

static int check_head(struct amb_h2_parser *p)
{
	if (p->length > p->max_frame)
		return -AMB_H2_FRAME_SIZE_ERROR;
	if (!p->started && (p->type != AMB_H2_SETTINGS || p->flags & AMB_H2_ACK))
		return -AMB_H2_PROTOCOL_ERROR;
	if (p->block_stream && (p->type != AMB_H2_CONTINUATION || p->stream != p->block_stream))
		return -AMB_H2_PROTOCOL_ERROR;
	if (p->type > AMB_H2_CONTINUATION)
		return 0;
	if (p->type != AMB_H2_WINDOW_UPDATE && !p->stream != on_connection(p->type))
		return -AMB_H2_PROTOCOL_ERROR;
	return 0;
}

/* What is wanted of the payload; 0 or -code. */
static int plan_block(struct amb_h2_parser *p)
{
	p->state = IN_GATHER;
	if (p->type == AMB_H2_HEADERS) {
		p->n = 0;
		p->continuations = 0;
		p->block_end = p->flags & AMB_H2_END_STREAM;
	} else {
		if (!p->block_stream)
			return -AMB_H2_PROTOCOL_ERROR;
		if (++p->continuations > AMB_H2_CONTINUATIONS_MAX)
			return -AMB_H2_ENHANCE_YOUR_CALM;
	}
	if (p->length > p->max_block || p->n + p->length > p->max_block)
		return -AMB_H2_ENHANCE_YOUR_CALM;
	p->need = p->length;
	return 0;
}

static int plan(struct amb_h2_parser *p)
{
	static const uint8_t exact[] = {
		[AMB_H2_RST_STREAM] = 4,
		[AMB_H2_PING] = 8,
		[AMB_H2_WINDOW_UPDATE] = 4,
	};

	switch (p->type) {
	case AMB_H2_DATA:
		p->first = true;
		p->pad = 0;
		p->state = p->flags & AMB_H2_PADDED ? IN_PAD_LENGTH : IN_DATA;
		if (p->state == IN_PAD_LENGTH && !p->length)
			return -AMB_H2_FRAME_SIZE_ERROR;
		return 0;
	case AMB_H2_HEADERS:
	case AMB_H2_CONTINUATION:
		return plan_block(p);
	case AMB_H2_PRIORITY:
		/* The wrong length is an error of the stream only; told when the frame is over. */
		p->state = IN_SKIP;
		return 0;
	case AMB_H2_RST_STREAM:
	case AMB_H2_PING:
	case AMB_H2_WINDOW_UPDATE:
		p->state = IN_GATHER;
		p->need = exact[p->type];
		return p->length == p->need ? 0 : -AMB_H2_FRAME_SIZE_ERROR;
	case AMB_H2_SETTINGS:
		if (p->length % 6 || (p->flags & AMB_H2_ACK && p->length))
			return -AMB_H2_FRAME_SIZE_ERROR;
		if (p->length > 6 * AMB_H2_SETTINGS_MAX)
			return -AMB_H2_ENHANCE_YOUR_CALM;
		p->started = true;
		p->state = IN_GATHER;
		p->need = p->length;
		return 0;
	case AMB_H2_PUSH_PROMISE:
		return -AMB_H2_PROTOCOL_ERROR;
	case AMB_H2_GOAWAY:
		p->state = IN_GATHER;
		p->need = 8;
		return p->length >= 8 ? 0 : -AMB_H2_FRAME_SIZE_ERROR;
	default:
		p->state = IN_SKIP;
		return 0;
	}
}

static int take_head(struct amb_h2_parser *p, uint8_t **in, size_t *n)
{
	const uint8_t *h = *in;
	int err;

	if (p->nhead || *n < AMB_H2_HEAD) {
		size_t k = AMB_MIN(*n, (size_t)AMB_H2_HEAD - p->nhead);

		memcpy(p->head + p->nhead, *in, k);
		p->nhead += k;
		*in += k;
		*n -= k;
		if (p->nhead < AMB_H2_HEAD)
			return 0;
		h = p->head;
	} else {
		p->nhead = AMB_H2_HEAD;
		*in += AMB_H2_HEAD;
		*n -= AMB_H2_HEAD;
	}
	p->length = p->left = get24(h);
	p->type = h[3];
	p->flags = h[4];
	p->stream = get32(h + 5) & AMB_H2_STREAM_MAX;
	err = check_head(p);
	if (!err)
		err = plan(p);
	return err ? err : 1;
}

/* Payloads */

static void event_init(const struct amb_h2_parser *p, struct amb_h2_event *ev)
{
	memset(ev, 0, sizeof(*ev));
	ev->type = p->type;
	ev->stream = p->stream;
	ev->length = p->length;
}

static int data_piece(struct amb_h2_parser *p, uint8_t **in, size_t *n, struct amb_h2_event *ev)
{
	uint32_t take = AMB_MIN(*n, p->left), body = p->left - AMB_MIN(p->left, p->pad);

	event_init(p, ev);
	ev->p = *in;
	ev->n = AMB_MIN(take, body);
	ev->padding = take - ev->n;
	ev->first = p->first;
	if (p->first && p->flags & AMB_H2_PADDED)
		ev->padding++; /* the pad length byte counts too */
	p->first = false;
	p->left -= take;
	*in += take;
	*n -= take;
	if (!p->left) {
		p->nhead = 0;
		ev->end_stream = p->flags & AMB_H2_END_STREAM;
	}
	return 1;
}

static int pad_length(struct amb_h2_parser *p, uint8_t **in, size_t *n)
{
	p->pad = **in;
	(*in)++;
	(*n)--;
	p->left--;
	p->state = IN_DATA;
	return p->pad > p->left ? -AMB_H2_PROTOCOL_ERROR : 0;
}

/* Strips padding and priority of a HEADERS payload. 0 or -code. */
static int strip(const struct amb_h2_parser *p, uint8_t **q, uint32_t *n)
{
	uint32_t pad = 0;

	if (p->flags & AMB_H2_PADDED) {
		if (!*n)
			return -AMB_H2_FRAME_SIZE_ERROR;
		pad = **q;
		(*q)++;
		(*n)--;
	}
	if (p->flags & AMB_H2_HAS_PRIORITY) {
		if (*n < 5)
			return -AMB_H2_FRAME_SIZE_ERROR;
		*q += 5;
		*n -= 5;
	}
	if (pad > *n)
		return -AMB_H2_PROTOCOL_ERROR;
	*n -= pad;
	return 0;
}

static int reserve(struct amb_h2_parser *p, uint32_t n)
{
	uint8_t *more;

	if (n <= p->cap)
		return 0;
	more = realloc(p->buf, n);
	if (!more)
		return -AMB_H2_INTERNAL_ERROR;
	p->buf = more;
	p->cap = n;
	return 0;
}

/* The payload @q of a HEADERS or CONTINUATION is complete. */
static int block_frame(struct amb_h2_parser *p, uint8_t *q, struct amb_h2_event *ev)
{
	uint32_t n = p->length;
	int err = 0;

	if (p->type == AMB_H2_HEADERS)
		err = strip(p, &q, &n);
	if (err)
		return err;
	if (p->type == AMB_H2_HEADERS && p->flags & AMB_H2_END_HEADERS) {
		p->n = 0;
	} else {
		err = reserve(p, p->n + n);
		if (err)
			return err;
		if (n)
			memmove(p->buf + p->n, q, n);
		p->n += n;
		p->block_stream = p->stream;
		if (!(p->flags & AMB_H2_END_HEADERS))
			return 0;
		q = p->buf;
		n = p->n;
		p->n = 0;
	}
	p->block_stream = 0;
	ev->type = AMB_H2_HEADERS;
	ev->end_stream = p->block_end;
	ev->p = q;
	ev->n = n;
	return 1;
}

/* The gathered bytes @q are complete: 1 for an event, 0 for none yet, or -code. */
static int gathered(struct amb_h2_parser *p, uint8_t *q, struct amb_h2_event *ev)
{
	event_init(p, ev);
	switch (p->type) {
	case AMB_H2_HEADERS:
	case AMB_H2_CONTINUATION:
		return block_frame(p, q, ev);
	case AMB_H2_WINDOW_UPDATE:
		ev->value = get32(q) & AMB_H2_WINDOW_MAX;
		if (!ev->value && !p->stream)
			return -AMB_H2_PROTOCOL_ERROR;
		if (!ev->value)
			ev->error = AMB_H2_PROTOCOL_ERROR;
		return 1;
	case AMB_H2_RST_STREAM:
		ev->value = get32(q);
		return 1;
	case AMB_H2_GOAWAY:
		ev->last = get32(q) & AMB_H2_STREAM_MAX;
		ev->value = get32(q + 4);
		return 1;
	default: /* SETTINGS, PING */
		ev->ack = p->flags & AMB_H2_ACK;
		ev->p = q;
		ev->n = p->need;
		return 1;
	}
}

static int gather(struct amb_h2_parser *p, uint8_t **in, size_t *n, struct amb_h2_event *ev)
{
	uint32_t have = p->length - p->left, take, at;
	bool block = p->type == AMB_H2_HEADERS || p->type == AMB_H2_CONTINUATION;
	uint8_t *to;
	int err;

	if (!have && *n >= p->need) {
		uint8_t *q = *in;

		*in += p->need;
		*n -= p->need;
		p->left -= p->need;
		p->state = IN_SKIP;
		return gathered(p, q, ev);
	}
	at = block ? p->n : 0;
	if (p->need > sizeof(p->small) || block) {
		err = reserve(p, at + p->need);
		if (err)
			return err;
		to = p->buf + at;
	} else {
		to = p->small;
	}
	take = AMB_MIN(*n, p->need - have);
	if (take)
		memcpy(to + have, *in, take);
	*in += take;
	*n -= take;
	p->left -= take;
	if (have + take < p->need)
		return 0;
	p->state = IN_SKIP;
	return gathered(p, to, ev);
}

static int skip(struct amb_h2_parser *p, uint8_t **in, size_t *n, struct amb_h2_event *ev)
{
	uint32_t take = AMB_MIN(*n, p->left);
	bool told = p->type <= AMB_H2_CONTINUATION && p->type != AMB_H2_PRIORITY;

	*in += take;
	*n -= take;
	p->left -= take;
	if (p->left)
		return 0;
	p->nhead = 0;
	if (told)
		return 0;
	event_init(p, ev);
	if (p->type == AMB_H2_PRIORITY && p->length != 5)
		ev->error = AMB_H2_FRAME_SIZE_ERROR;
	return 1;
}

static int take_preface(struct amb_h2_parser *p, uint8_t **in, size_t *n)
{
	size_t k = AMB_MIN(*n, (size_t)p->preface);

	if (memcmp(*in, &AMB_H2_PREFACE[AMB_H2_PREFACE_LEN - p->preface], k))
		return -AMB_H2_PROTOCOL_ERROR;
	p->preface -= k;
	*in += k;
	*n -= k;
	return 0;
}

int amb_h2_next(struct amb_h2_parser *p, uint8_t **in, size_t *n, struct amb_h2_event *ev)
{
	int r = 0;

	/* What the last event pointed at is not needed any more; an idle connection owns none. */
	if (p->cap && !p->block_stream && p->state != IN_GATHER)
		drop_buf(p);
	if (p->preface && *n) {
		r = take_preface(p, in, n);
		if (r)
			return r;
	}
	for (;;) {
		/* A frame without payload, or all of it gathered, is finished without input. */
		if (p->nhead < AMB_H2_HEAD) {
			if (!*n)
				return 0;
			r = take_head(p, in, n);
			if (r <= 0)
				return r;
		}
		if (!*n && p->left)
			return 0;
		switch (p->state) {
		case IN_PAD_LENGTH:
			r = pad_length(p, in, n);
			if (!r && !*n && p->left)
				return 0;
			break;
		case IN_DATA:
			return data_piece(p, in, n, ev);
		case IN_GATHER:
			r = gather(p, in, n, ev);
			break;
		default:
			r = skip(p, in, n, ev);
			break;
		}
		if (r)
			return r;
	}
}

void amb_h2_setting_at(const struct amb_h2_event *ev, uint32_t i, uint16_t *id, uint32_t *value)
{
	const uint8_t *q = ev->p + 6 * i;

	*id = q[0] << 8 | q[1];
	*value = get32(q + 2);
}

int amb_h2_setting_check(uint16_t id, uint32_t value, bool server)
{
	switch (id) {
	case AMB_H2_ENABLE_PUSH:
		/* A server may only say 0. */
		return value > (server ? 1 : 0) ? -AMB_H2_PROTOCOL_ERROR : 0;
	case AMB_H2_INITIAL_WINDOW_SIZE:
		return value > AMB_H2_WINDOW_MAX ? -AMB_H2_FLOW_CONTROL_ERROR : 0;
	case AMB_H2_MAX_FRAME_SIZE:
		return value < 16384 || value > 0xffffff ? -AMB_H2_PROTOCOL_ERROR : 0;
	default:
		return 0;
	}
}

/* Writers */

uint32_t amb_h2_write_head(uint8_t *to, uint32_t length, uint8_t type, uint8_t flags,
			   uint32_t stream)
{
	to[0] = length >> 16;
	to[1] = length >> 8;
	to[2] = length;
	to[3] = type;
	to[4] = flags;
	put32(to + 5, stream);
	return AMB_H2_HEAD;
}

uint32_t amb_h2_write_u32(uint8_t *to, uint8_t type, uint32_t stream, uint32_t value)
{
	amb_h2_write_head(to, 4, type, 0, stream);
	put32(to + AMB_H2_HEAD, value);
	return AMB_H2_HEAD + 4;
}

uint32_t amb_h2_write_ping(uint8_t *to, bool ack, const uint8_t payload[8])
{
	amb_h2_write_head(to, 8, AMB_H2_PING, ack ? AMB_H2_ACK : 0, 0);
	memcpy(to + AMB_H2_HEAD, payload, 8);
	return AMB_H2_HEAD + 8;
}

uint32_t amb_h2_write_goaway(uint8_t *to, uint32_t last, uint32_t code)
{
	amb_h2_write_head(to, 8, AMB_H2_GOAWAY, 0, 0);
	put32(to + AMB_H2_HEAD, last);
	put32(to + AMB_H2_HEAD + 4, code);
	return AMB_H2_HEAD + 8;
}

uint32_t amb_h2_write_settings(uint8_t *to, const uint32_t (*entries)[2], uint32_t n)
{
	uint32_t i;

	amb_h2_write_head(to, 6 * n, AMB_H2_SETTINGS, 0, 0);
	to += AMB_H2_HEAD;
	for (i = 0; i < n; i++, to += 6) {
		to[0] = entries[i][0] >> 8;
		to[1] = entries[i][0];
		put32(to + 2, entries[i][1]);
	}
	return AMB_H2_HEAD + 6 * n;
}

/* Header fields */

enum { P_METHOD = 1, P_AUTHORITY = 2, P_SCHEME = 4, P_PATH = 8, P_STATUS = 16, P_OTHER = 32 };

static int pseudo(const nghttp2_nv *nv)
{
	static const struct {
		const char *name;
		int bit;
	} known[] = {
		{ ":method", P_METHOD }, { ":authority", P_AUTHORITY }, { ":scheme", P_SCHEME },
		{ ":path", P_PATH },	 { ":status", P_STATUS },
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(known); i++) {
		if (nv->namelen == strlen(known[i].name) &&
		    !memcmp(nv->name, known[i].name, nv->namelen))
			return known[i].bit;
	}
	return P_OTHER;
}

static bool is(const nghttp2_nv *nv, const char *name)
{
	return nv->namelen == strlen(name) && !memcmp(nv->name, name, nv->namelen);
}

/* Fields of a connection in HTTP/1 have no place here (RFC 9113 8.2.2). */
static bool forbidden(const nghttp2_nv *nv)
{
	static const char *const names[] = { "connection", "proxy-connection", "keep-alive",
					     "transfer-encoding", "upgrade" };
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(names); i++) {
		if (is(nv, names[i]))
			return true;
	}
	return is(nv, "te") && (nv->valuelen != 8 || memcmp(nv->value, "trailers", 8));
}

struct block {
	enum amb_h2_block_kind kind;
	int seen; /* pseudo fields */
	bool regular, connect, bad;
};

static void check_field(struct block *b, const nghttp2_nv *nv)
{
	if (!nv->namelen || !nghttp2_check_header_value(nv->value, nv->valuelen)) {
		b->bad = true;
	} else if (nv->name[0] == ':') {
		int bit = pseudo(nv);

		/* Before the others, once each, none that we do not know, none in trailers. */
		if (b->regular || b->seen & bit || bit == P_OTHER || b->kind == AMB_H2_TRAILERS ||
		    (bit == P_STATUS) != (b->kind == AMB_H2_RESPONSE))
			b->bad = true;
		b->seen |= bit;
		if (bit == P_METHOD)
			b->connect = nv->valuelen == 7 && !memcmp(nv->value, "CONNECT", 7);
	} else {
		b->regular = true;
		if (!nghttp2_check_header_name(nv->name, nv->namelen) || forbidden(nv))
			b->bad = true;
	}
}

static void check_block(struct block *b)
{
	if (b->kind == AMB_H2_RESPONSE && b->seen != P_STATUS)
		b->bad = true;
	if (b->kind != AMB_H2_REQUEST)
		return;
	if (b->connect ? b->seen != (P_METHOD | P_AUTHORITY) :
			 (b->seen | P_AUTHORITY) != (P_METHOD | P_AUTHORITY | P_SCHEME | P_PATH))
		b->bad = true;
}

int amb_h2_inflate(struct nghttp2_hd_inflater *inf, const uint8_t *block, size_t n,
		   enum amb_h2_block_kind kind, uint32_t max_list, amb_h2_field_fn *field,
		   void *ctx)
{
	struct block b = { .kind = kind };
	uint32_t list = 0, fields = 0;

	for (;;) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t r = nghttp2_hd_inflate_hd2(inf, &nv, &flags, block, n, 1);

		if (r < 0)
			return r == NGHTTP2_ERR_NOMEM ? -AMB_H2_INTERNAL_ERROR :
							-AMB_H2_COMPRESSION_ERROR;
		block += r;
		n -= r;
		if (flags & NGHTTP2_HD_INFLATE_EMIT) {
			list += nv.namelen + nv.valuelen + 32;
			if (list > max_list || ++fields > AMB_H2_FIELDS_MAX)
				return -AMB_H2_ENHANCE_YOUR_CALM;
			check_field(&b, &nv);
			if (!b.bad)
				field(ctx, (const char *)nv.name, nv.namelen,
				      (const char *)nv.value, nv.valuelen);
		}
		if (flags & NGHTTP2_HD_INFLATE_FINAL)
			break;
		if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && !n)
			return -AMB_H2_COMPRESSION_ERROR;
	}
	nghttp2_hd_inflate_end_headers(inf);
	check_block(&b);
	return b.bad ? AMB_H2_BLOCK_BAD : AMB_H2_BLOCK_OK;
}
