// SPDX-License-Identifier: GPL-2.0
/*
 * HTTP/2 frames and windows. The reader is a state machine over three states: gathering the head
 * (nhead < 9), in the payload (left), skipping padding (pad). Whatever a frame's head can prove
 * wrong is refused there, before a byte of payload is used.
 */
#include "h2frame.h"

#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/string.h>
#else
#include <errno.h>
#include <string.h>
#endif

static u32 get32(const u8 *p)
{
	return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
}

static void put32(u8 *p, u32 value)
{
	p[0] = value >> 24;
	p[1] = value >> 16;
	p[2] = value >> 8;
	p[3] = value;
}

static u32 head_length(const u8 *head)
{
	return (u32)head[0] << 16 | (u32)head[1] << 8 | head[2];
}

static u32 head_stream(const u8 *head)
{
	return get32(head + 5) & HBONE_H2_STREAM_MAX;
}

void hbone_h2frame_init(struct hbone_h2frame *f, u32 max_frame)
{
	memset(f, 0, sizeof(*f));
	f->max_frame = max_frame;
}

/* A payload of exactly @length, of the connection or (@on_stream) of a stream. */
static int check_fixed(const struct hbone_h2frame *f, u32 length, bool on_stream)
{
	if (on_stream != !!f->stream)
		return -HBONE_H2_PROTOCOL_ERROR;
	return f->length == length ? 0 : -HBONE_H2_FRAME_SIZE_ERROR;
}

static int check_settings(const struct hbone_h2frame *f)
{
	if (f->stream)
		return -HBONE_H2_PROTOCOL_ERROR;
	if (f->flags & HBONE_H2_ACK)
		return f->length ? -HBONE_H2_FRAME_SIZE_ERROR : 0;
	if (f->length % 6)
		return -HBONE_H2_FRAME_SIZE_ERROR;
	return f->length / 6 > HBONE_H2_SETTINGS_MAX ? -HBONE_H2_ENHANCE_YOUR_CALM : 0;
}

static int check_data(struct hbone_h2frame *f)
{
	if (!f->stream)
		return -HBONE_H2_PROTOCOL_ERROR;
	f->pad_due = f->flags & HBONE_H2_PADDED;
	return f->pad_due && !f->length ? -HBONE_H2_FRAME_SIZE_ERROR : 0;
}

/* HEADERS, and CONTINUATION, which nothing may come between (RFC 9113, 6.10). */
static int check_block(struct hbone_h2frame *f)
{
	bool continues = f->type == HBONE_H2_CONTINUATION;

	if (!f->stream || continues != !!f->block)
		return -HBONE_H2_PROTOCOL_ERROR;
	if (f->length > HBONE_H2_HEADERS_MAX)
		return -HBONE_H2_ENHANCE_YOUR_CALM;
	f->continuations = f->block ? f->continuations + 1 : 0;
	if (f->continuations > HBONE_H2_CONTINUATIONS_MAX)
		return -HBONE_H2_ENHANCE_YOUR_CALM;
	f->block = f->flags & HBONE_H2_END_HEADERS ? 0 : f->stream;
	return 0;
}

static int check_head(struct hbone_h2frame *f)
{
	if (f->length > f->max_frame)
		return -HBONE_H2_FRAME_SIZE_ERROR;
	if (f->block && (f->type != HBONE_H2_CONTINUATION || f->stream != f->block))
		return -HBONE_H2_PROTOCOL_ERROR;
	switch (f->type) {
	case HBONE_H2_DATA:
		return check_data(f);
	case HBONE_H2_HEADERS:
	case HBONE_H2_CONTINUATION:
		return check_block(f);
	case HBONE_H2_PRIORITY:
		return f->stream ? 0 : -HBONE_H2_PROTOCOL_ERROR;
	case HBONE_H2_RST_STREAM:
		return check_fixed(f, 4, true);
	case HBONE_H2_SETTINGS:
		return check_settings(f);
	case HBONE_H2_PUSH_PROMISE:
		/* Nobody who speaks HBONE allows it. */
		return -HBONE_H2_PROTOCOL_ERROR;
	case HBONE_H2_PING:
		return check_fixed(f, 8, false);
	case HBONE_H2_GOAWAY:
		if (f->stream)
			return -HBONE_H2_PROTOCOL_ERROR;
		return f->length < 8 ? -HBONE_H2_FRAME_SIZE_ERROR : 0;
	case HBONE_H2_WINDOW_UPDATE:
		return f->length == 4 ? 0 : -HBONE_H2_FRAME_SIZE_ERROR;
	}
	return 0;
}

static int take_head(struct hbone_h2frame *f, const u8 **in, size_t *n)
{
	size_t more = HBONE_H2_HEAD - f->nhead;

	if (more > *n)
		more = *n;
	memcpy(f->head + f->nhead, *in, more);
	f->nhead += more;
	*in += more;
	*n -= more;
	if (f->nhead < HBONE_H2_HEAD)
		return 0;
	f->length = head_length(f->head);
	f->left = f->length;
	f->type = f->head[3];
	f->flags = f->head[4];
	f->stream = head_stream(f->head);
	f->first = true;
	f->pad_due = false;
	f->nsmall = 0;
	return check_head(f);
}

/* Gathers @need bytes of payload. */
static bool gather(struct hbone_h2frame *f, u8 need, const u8 **in, size_t *n)
{
	size_t more = need - f->nsmall;

	if (more > *n)
		more = *n;
	memcpy(f->small + f->nsmall, *in, more);
	f->nsmall += more;
	f->left -= more;
	*in += more;
	*n -= more;
	return f->nsmall == need;
}

static bool skip(u32 *left, const u8 **in, size_t *n)
{
	size_t take = *left < *n ? *left : *n;

	*left -= take;
	*in += take;
	*n -= take;
	return !*left;
}

static void frame_over(struct hbone_h2frame *f)
{
	f->nhead = 0;
}

static int take_pad_length(struct hbone_h2frame *f, const u8 **in, size_t *n)
{
	if (!*n)
		return 0;
	f->pad = **in;
	f->left--;
	++*in;
	--*n;
	if (f->pad > f->left)
		return -HBONE_H2_PROTOCOL_ERROR;
	f->left -= f->pad;
	f->pad_due = false;
	return 1;
}

/* A piece of DATA or of a header block. */
static int next_piece(struct hbone_h2frame *f, const u8 **in, size_t *n, struct hbone_h2_event *ev)
{
	if (f->left && !*n)
		return 0;
	ev->n = f->left < *n ? f->left : *n;
	ev->p = *in;
	*in += ev->n;
	*n -= ev->n;
	f->left -= ev->n;
	ev->first = f->first;
	ev->last = !f->left;
	ev->padding = f->type == HBONE_H2_DATA && f->flags & HBONE_H2_PADDED ? f->pad + 1 : 0;
	f->first = false;
	if (f->type == HBONE_H2_DATA) {
		ev->kind = HBONE_H2_EV_DATA;
		ev->end_stream = ev->last && f->flags & HBONE_H2_END_STREAM;
	} else {
		ev->kind = HBONE_H2_EV_RAW;
		ev->end_stream = f->type == HBONE_H2_HEADERS && f->flags & HBONE_H2_END_STREAM;
	}
	if (ev->last && !f->pad)
		frame_over(f);
	return 1;
}

static int next_data(struct hbone_h2frame *f, const u8 **in, size_t *n, struct hbone_h2_event *ev)
{
	int ret;

	if (f->pad_due) {
		ret = take_pad_length(f, in, n);
		if (ret <= 0)
			return ret;
	}
	if (f->left || f->first)
		return next_piece(f, in, n, ev);
	if (skip(&f->pad, in, n))
		frame_over(f);
	return 0;
}

static int check_setting(u16 id, u32 value)
{
	switch (id) {
	case HBONE_H2_ENABLE_PUSH:
		return value > 1 ? -HBONE_H2_PROTOCOL_ERROR : 0;
	case HBONE_H2_INITIAL_WINDOW_SIZE:
		return value > HBONE_H2_WINDOW_MAX ? -HBONE_H2_FLOW_CONTROL_ERROR : 0;
	case HBONE_H2_MAX_FRAME_SIZE:
		if (value < HBONE_H2_FRAME_MIN || value > HBONE_H2_FRAME_MAX)
			return -HBONE_H2_PROTOCOL_ERROR;
	}
	return 0;
}

static int next_setting(struct hbone_h2frame *f, const u8 **in, size_t *n,
			struct hbone_h2_event *ev)
{
	int ret;

	if (f->flags & HBONE_H2_ACK || !f->left) {
		/* A partly gathered entry keeps left above 0: lengths are multiples of 6. */
		ev->kind = f->flags & HBONE_H2_ACK ? HBONE_H2_EV_SETTINGS_ACK :
						     HBONE_H2_EV_SETTINGS_END;
		frame_over(f);
		return 1;
	}
	if (!gather(f, 6, in, n))
		return 0;
	f->nsmall = 0;
	ev->kind = HBONE_H2_EV_SETTING;
	ev->id = (u16)(f->small[0] << 8 | f->small[1]);
	ev->value = get32(f->small + 2);
	ret = check_setting(ev->id, ev->value);
	return ret ? ret : 1;
}

static int next_window(struct hbone_h2frame *f, struct hbone_h2_event *ev)
{
	ev->kind = HBONE_H2_EV_WINDOW;
	ev->value = get32(f->small) & HBONE_H2_WINDOW_MAX;
	if (ev->value)
		return 1;
	if (!f->stream)
		return -HBONE_H2_PROTOCOL_ERROR;
	ev->kind = HBONE_H2_EV_STREAM_ERROR;
	ev->value = HBONE_H2_PROTOCOL_ERROR;
	return 1;
}

/* RST_STREAM, PING, WINDOW_UPDATE: all of the payload, then the event. */
static int next_fixed(struct hbone_h2frame *f, const u8 **in, size_t *n, struct hbone_h2_event *ev)
{
	if (!gather(f, f->length, in, n))
		return 0;
	frame_over(f);
	switch (f->type) {
	case HBONE_H2_RST_STREAM:
		ev->kind = HBONE_H2_EV_RST;
		ev->value = get32(f->small);
		return 1;
	case HBONE_H2_PING:
		ev->kind = HBONE_H2_EV_PING;
		ev->ack = f->flags & HBONE_H2_ACK;
		ev->p = f->small;
		ev->n = 8;
		return 1;
	}
	return next_window(f, ev);
}

/* Told when the frame is over; the debug data is nobody's. */
static int next_goaway(struct hbone_h2frame *f, const u8 **in, size_t *n, struct hbone_h2_event *ev)
{
	if (f->nsmall < 8 && !gather(f, 8, in, n))
		return 0;
	if (!skip(&f->left, in, n))
		return 0;
	frame_over(f);
	ev->kind = HBONE_H2_EV_GOAWAY;
	ev->goaway_last = get32(f->small) & HBONE_H2_STREAM_MAX;
	ev->value = get32(f->small + 4);
	return 1;
}

static int next_ignored(struct hbone_h2frame *f, const u8 **in, size_t *n,
			struct hbone_h2_event *ev)
{
	if (!skip(&f->left, in, n))
		return 0;
	frame_over(f);
	ev->kind = HBONE_H2_EV_IGNORED;
	if (f->type == HBONE_H2_PRIORITY && f->length != 5) {
		ev->kind = HBONE_H2_EV_STREAM_ERROR;
		ev->value = HBONE_H2_FRAME_SIZE_ERROR;
	}
	return 1;
}

static int next_in_frame(struct hbone_h2frame *f, const u8 **in, size_t *n,
			 struct hbone_h2_event *ev)
{
	switch (f->type) {
	case HBONE_H2_DATA:
		return next_data(f, in, n, ev);
	case HBONE_H2_HEADERS:
	case HBONE_H2_CONTINUATION:
		return next_piece(f, in, n, ev);
	case HBONE_H2_SETTINGS:
		return next_setting(f, in, n, ev);
	case HBONE_H2_GOAWAY:
		return next_goaway(f, in, n, ev);
	case HBONE_H2_RST_STREAM:
	case HBONE_H2_PING:
	case HBONE_H2_WINDOW_UPDATE:
		return next_fixed(f, in, n, ev);
	}
	return next_ignored(f, in, n, ev);
}

int hbone_h2frame_next(struct hbone_h2frame *f, const u8 **in, size_t *n, struct hbone_h2_event *ev)
{
	int ret;

	for (;;) {
		if (f->nhead < HBONE_H2_HEAD) {
			if (!*n)
				return 0;
			ret = take_head(f, in, n);
			if (ret)
				return ret;
			if (f->nhead < HBONE_H2_HEAD)
				return 0;
		}
		memset(ev, 0, sizeof(*ev));
		ev->type = f->type;
		ev->stream = f->stream;
		ev->length = f->length;
		ret = next_in_frame(f, in, n, ev);
		/* A frame that ended without an event had padding. */
		if (ret || !*n)
			return ret;
	}
}

int hbone_h2frame_check_headers(const u8 *p, size_t n, u32 max_frame, u32 *stream, bool *end)
{
	u8 type = HBONE_H2_HEADERS;
	u32 length;

	for (;;) {
		if (n < HBONE_H2_HEAD || p[3] != type || !head_stream(p))
			return -EINVAL;
		length = head_length(p);
		if (length > max_frame || length > n - HBONE_H2_HEAD)
			return -EINVAL;
		if (type == HBONE_H2_HEADERS) {
			*stream = head_stream(p);
			*end = p[4] & HBONE_H2_END_STREAM;
		} else if (*stream != head_stream(p)) {
			return -EINVAL;
		}
		type = HBONE_H2_CONTINUATION;
		n -= HBONE_H2_HEAD + length;
		if (p[4] & HBONE_H2_END_HEADERS)
			return n ? -EINVAL : 0;
		p += HBONE_H2_HEAD + length;
	}
}

size_t hbone_h2frame_write_head(u8 *to, u32 length, u8 type, u8 flags, u32 stream)
{
	put32(to, length << 8 | type);
	to[4] = flags;
	put32(to + 5, stream);
	return HBONE_H2_HEAD;
}

size_t hbone_h2frame_write_u32(u8 *to, u8 type, u32 stream, u32 value)
{
	hbone_h2frame_write_head(to, 4, type, 0, stream);
	put32(to + HBONE_H2_HEAD, value);
	return HBONE_H2_HEAD + 4;
}

size_t hbone_h2frame_write_ping_ack(u8 *to, const u8 payload[8])
{
	hbone_h2frame_write_head(to, 8, HBONE_H2_PING, HBONE_H2_ACK, 0);
	memcpy(to + HBONE_H2_HEAD, payload, 8);
	return HBONE_H2_HEAD + 8;
}

size_t hbone_h2frame_write_goaway(u8 *to, u32 last, u32 code)
{
	hbone_h2frame_write_head(to, 8, HBONE_H2_GOAWAY, 0, 0);
	put32(to + HBONE_H2_HEAD, last);
	put32(to + HBONE_H2_HEAD + 4, code);
	return HBONE_H2_HEAD + 8;
}

int hbone_h2frame_window_grow(s32 *window, u32 increment)
{
	s64 sum = (s64)*window + increment;

	if (sum > HBONE_H2_WINDOW_MAX)
		return -HBONE_H2_FLOW_CONTROL_ERROR;
	*window = (s32)sum;
	return 0;
}

int hbone_h2frame_window_shift(s32 *window, u32 old, u32 new)
{
	s64 sum = (s64)*window + new - old;

	/* Never below -(2^31 - 1), as no window was above it: no check for that side. */
	if (sum > HBONE_H2_WINDOW_MAX)
		return -HBONE_H2_FLOW_CONTROL_ERROR;
	*window = (s32)sum;
	return 0;
}

int hbone_h2frame_window_take(s32 *window, u32 length)
{
	if (*window < 0 || length > (u32)*window)
		return -HBONE_H2_FLOW_CONTROL_ERROR;
	*window -= (s32)length;
	return 0;
}

u32 hbone_h2frame_window_room(s32 conn, s32 stream, u32 room)
{
	s32 least = conn < stream ? conn : stream;

	if (least <= 0)
		return 0;
	return (u32)least < room ? (u32)least : room;
}
