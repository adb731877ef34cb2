// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a connection says: frames are written as plaintext where their record will be, sealed
 * in place when the record is full or the turn ends, and sent with one call. Bytes of
 * applications are received at that very place.
 *
 * The chain c->out holds sealed bytes; the last buffer may end in an open record: its head is
 * reserved at w, plaintext follows. c->open counts that plaintext + 1, w moves on sealing.
 */
#include "conn.h"

#include "base/util.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define FRAME_MIN 2048u /* a record with less room than this is not worth another read */
#define IOVS 64

static void out_of_memory(struct amb_hbone *c)
{
	amb_hbone_fail(c, AMB_REASON_MEMORY, AMB_CONN_NO_GOAWAY, "no buffer to send from");
}

static uint32_t space(const struct amb_hbone *c)
{
	return c->out_tail ? c->out_tail->cap - c->out_tail->w : 0;
}

static int append(struct amb_hbone *c, enum amb_bytes_kind kind, enum amb_bytes_need need)
{
	struct amb_buf *buf = amb_bytes_get(c->share, kind, need);

	if (!buf)
		return -ENOBUFS;
	if (c->out_tail)
		c->out_tail->next = buf;
	else
		c->out = buf;
	c->out_tail = buf;
	return 0;
}

/* What a record needs beside its plaintext. */
static uint32_t overhead(const struct amb_hbone *c)
{
	return c->wire.tx_ops->head + c->wire.tx_ops->tail;
}

/* Bytes that the open record still takes. */
static uint32_t room(const struct amb_hbone *c)
{
	uint32_t n = c->open - 1;

	if (!c->open)
		return 0;
	return AMB_MIN(AMB_RECORD_PLAIN_MAX - n, space(c) - overhead(c) - n);
}

static uint8_t *cursor(const struct amb_hbone *c)
{
	return c->out_tail->d + c->out_tail->w + c->wire.tx_ops->head + c->open - 1;
}

static void put(struct amb_hbone *c, uint32_t n)
{
	c->open += n;
	c->backlog += n;
}

/*
 * A connection retires long before its key is renewed: not every peer can follow (kernel TLS before
 * Linux 6.14), and by then most streams have gone elsewhere.
 */
static uint64_t renew_at(const struct amb_hbone *c)
{
	return 2 * c->wire.limit;
}

static void worn(struct amb_hbone *c)
{
	if (!c->retired)
		c->retired = c->tell_room = true;
	if (c->wire.tx_ops->count(&c->wire) >= renew_at(c))
		amb_send_key_update(c);
}

static void seal_as(struct amb_hbone *c, enum amb_record_type type)
{
	uint32_t n = c->open - 1;
	int len;

	if (!c->open)
		return;
	c->open = 0;
	if (!n)
		return;
	len = c->wire.tx_ops->seal(&c->wire, c->out_tail->d + c->out_tail->w, n, type);
	if (len < 0) {
		c->backlog -= n;
		amb_hbone_fail(c, AMB_REASON_INTERNAL, AMB_CONN_NO_GOAWAY, "cannot seal a record");
		return;
	}
	c->out_tail->w += len;
	c->backlog += len - n;
	if (amb_unlikely(c->wire.tx_ops->count(&c->wire) >= c->wire.limit) &&
	    type == AMB_RECORD_DATA)
		worn(c);
}

static void seal(struct amb_hbone *c)
{
	seal_as(c, AMB_RECORD_DATA);
}

/* Opens a record with room for @n bytes of plaintext. */
static int open_record(struct amb_hbone *c, uint32_t n, enum amb_bytes_need need)
{
	int err = 0;

	seal(c);
	if (space(c) < n + overhead(c))
		err = append(c, AMB_BYTES_SMALL, need);
	if (!err)
		c->open = 1;
	return err;
}

uint8_t *amb_send_want(struct amb_hbone *c, uint32_t n)
{
	if (c->broken || c->state > AMB_CONN_UP)
		return NULL;
	if (room(c) < n && open_record(c, n, AMB_BYTES_MUST)) {
		out_of_memory(c);
		return NULL;
	}
	amb_hbone_later(c);
	return cursor(c);
}

void amb_send_small(struct amb_hbone *c, const uint8_t *frame, uint32_t n)
{
	uint8_t *to = amb_send_want(c, n);

	if (!to)
		return;
	memcpy(to, frame, n);
	put(c, n);
}

void amb_send_raw(struct amb_hbone *c, const uint8_t *p, size_t n)
{
	while (n) {
		uint32_t k;

		if (!space(c) && append(c, AMB_BYTES_SMALL, AMB_BYTES_MUST)) {
			out_of_memory(c);
			return;
		}
		k = AMB_MIN(n, space(c));
		memcpy(c->out_tail->d + c->out_tail->w, p, k);
		c->out_tail->w += k;
		c->backlog += k;
		p += k;
		n -= k;
	}
	amb_hbone_later(c);
}

void amb_send_preface(struct amb_hbone *c)
{
	const struct amb_hbone_config *f = &c->bytes->config;
	uint32_t entries[][2] = {
		{ AMB_H2_INITIAL_WINDOW_SIZE, f->stream_window },
		{ AMB_H2_MAX_FRAME_SIZE, f->frame_size },
		{ AMB_H2_MAX_HEADER_LIST_SIZE,
		  c->server ? AMB_HBONE_LIST_SERVER : AMB_HBONE_LIST_CLIENT },
		{ c->server ? AMB_H2_MAX_CONCURRENT_STREAMS : AMB_H2_ENABLE_PUSH,
		  c->server ? f->max_streams : 0 },
		{ AMB_H2_EARLY_DATA, 1 }, /* a server's */
	};
	uint8_t frame[AMB_H2_HEAD + sizeof(entries)];

	if (!c->server)
		amb_send_small(c, (const uint8_t *)AMB_H2_PREFACE, AMB_H2_PREFACE_LEN);
	amb_send_small(c, frame, amb_h2_write_settings(frame, entries, c->server ? 5 : 4));
	c->recv_window = AMB_H2_WINDOW;
	if (f->conn_window > AMB_H2_WINDOW) {
		amb_send_small(c, frame,
			       amb_h2_write_u32(frame, AMB_H2_WINDOW_UPDATE, 0,
						f->conn_window - AMB_H2_WINDOW));
		c->recv_window = f->conn_window;
	}
}

void amb_send_rst(struct amb_hbone *c, uint32_t stream, uint32_t code)
{
	uint8_t frame[AMB_H2_SMALL_FRAME];

	if (c->kmod == AMB_KMOD_THERE)
		amb_kmod_reset(c, stream, code);
	else
		amb_send_small(c, frame, amb_h2_write_u32(frame, AMB_H2_RST_STREAM, stream, code));
}

void amb_send_fin(struct amb_stream *s)
{
	uint8_t frame[AMB_H2_HEAD];

	s->fin_tx = true;
	amb_send_small(s->c, frame,
		       amb_h2_write_head(frame, 0, AMB_H2_DATA, AMB_H2_END_STREAM, s->id));
}

/* A record of @n bytes that is no data. */
static void send_control(struct amb_hbone *c, const uint8_t *p, uint32_t n,
			 enum amb_record_type type)
{
	bool apart = c->wire.tx_ops->apart;
	uint8_t *to;

	seal(c);
	if (apart && append(c, AMB_BYTES_TINY, AMB_BYTES_MUST)) {
		out_of_memory(c);
		return;
	}
	to = amb_send_want(c, n);
	if (!to)
		return;
	memcpy(to, p, n);
	put(c, n);
	seal_as(c, type);
	if (!apart || c->broken)
		return;
	/* What follows begins a buffer of its own. */
	c->out_tail->type = type;
	c->out_tail->cap = c->out_tail->w;
}

void amb_send_alert(struct amb_hbone *c, uint8_t description)
{
	/* fatal but for close_notify, RFC 8446 6 */
	const uint8_t alert[2] = { description ? 2 : 1, description };

	send_control(c, alert, sizeof(alert), AMB_RECORD_ALERT);
}

static bool update_keys(struct amb_hbone *c)
{
	if (!c->wire.tx_ops->update(&c->wire))
		return true;
	amb_hbone_fail(c, AMB_REASON_INTERNAL, AMB_CONN_NO_GOAWAY, "cannot update keys");
	return false;
}

void amb_send_key_update(struct amb_hbone *c)
{
	uint8_t message[AMB_TLS_KEY_UPDATE_LEN];

	if (!amb_wire_may_update(&c->wire))
		return;
	amb_tls_key_update(message, false);
	c->wire.updating = true;
	send_control(c, message, sizeof(message), AMB_RECORD_HANDSHAKE);
	if (!c->broken && !c->wire.tx_ops->apart)
		(void)update_keys(c);
}

int amb_send_headers(struct amb_hbone *c, uint32_t stream, void *nv, uint32_t n, bool end_stream)
{
	uint8_t frame[AMB_H2_HEAD + AMB_HBONE_BLOCK], *block = frame + AMB_H2_HEAD, *to;
	bool there = c->kmod == AMB_KMOD_THERE;
	nghttp2_nv *fields = nv;
	uint32_t list = 0, i;
	ssize_t len;

	for (i = 0; i < n; i++) {
		list += fields[i].namelen + fields[i].valuelen + 32;
		/* What the module refuses must not be in HPACK's table. */
		if (there)
			fields[i].flags |= NGHTTP2_NV_FLAG_NO_INDEX;
	}
	if (list > c->peer_list ||
	    nghttp2_hd_deflate_bound(c->deflater, fields, n) > AMB_HBONE_BLOCK)
		return -EMSGSIZE;
	len = nghttp2_hd_deflate_hd(c->deflater, block, AMB_HBONE_BLOCK, fields, n);
	if (len < 0) {
		/* Its table and the peer's may differ from here on. */
		amb_hbone_fail(c, AMB_REASON_INTERNAL, AMB_H2_INTERNAL_ERROR, "HPACK");
		return 0;
	}
	amb_h2_write_head(frame, len, AMB_H2_HEADERS,
			  AMB_H2_END_HEADERS | (end_stream ? AMB_H2_END_STREAM : 0), stream);
	if (there)
		return amb_kmod_send(c, frame, AMB_H2_HEAD + len);
	to = amb_send_want(c, AMB_H2_HEAD + len);
	if (!to)
		return 0;
	memcpy(to, frame, AMB_H2_HEAD + len);
	put(c, AMB_H2_HEAD + len);
	return 0;
}

/* Windows are opened again when half of them is used up. */

static void send_update(struct amb_hbone *c, uint32_t stream, uint32_t n)
{
	uint8_t frame[AMB_H2_SMALL_FRAME];

	amb_send_small(c, frame, amb_h2_write_u32(frame, AMB_H2_WINDOW_UPDATE, stream, n));
}

void amb_send_conn_credit(struct amb_hbone *c, uint32_t n)
{
	c->credit += n;
	/* Bytes kept for slow readers may eat the other half: then any credit is worth a word. */
	if (!c->credit ||
	    (c->credit < c->bytes->config.conn_window / 2 && c->recv_window > (int64_t)c->credit))
		return;
	send_update(c, 0, c->credit);
	c->recv_window += c->credit;
	c->credit = 0;
}

void amb_send_stream_credit(struct amb_stream *s, uint32_t n)
{
	struct amb_hbone *c = s->c;

	if (s->fin_rx || !s->in_table)
		return;
	s->credit += n;
	if (s->credit < c->bytes->config.stream_window / 2)
		return;
	send_update(c, s->id, s->credit);
	s->recv_window += s->credit;
	s->credit = 0;
}

/* Application bytes */

static void frame_done(struct amb_hbone *c, const struct amb_stream *s, uint32_t n)
{
	amb_h2_write_head(cursor(c), n, AMB_H2_DATA, 0, s->id);
	put(c, AMB_H2_HEAD + n);
}

static void count_sent(struct amb_stream *s, long n)
{
	s->send_window -= n;
	s->c->send_window -= n;
	s->from_app += n;
	s->c->updates = AMB_MIN(s->c->updates + AMB_HBONE_UPDATES, (uint32_t)AMB_HBONE_UPDATES_MAX);
	amb_hbone_later(s->c);
}

/* One read into the open record, beside what other streams put there. */
static long read_one(struct amb_stream *s, uint32_t max, uint32_t *want)
{
	struct amb_hbone *c = s->c;
	ssize_t n;

	if (room(c) < AMB_H2_HEAD + AMB_MIN(max, FRAME_MIN) &&
	    open_record(c, AMB_RECORD_PLAIN_MAX, AMB_BYTES_DATA))
		return -ENOBUFS;
	*want = AMB_MIN(max, room(c) - AMB_H2_HEAD);
	n = recv(s->io.fd, cursor(c) + AMB_H2_HEAD, *want, MSG_DONTWAIT);
	if (n <= 0)
		return n ? -errno : 0;
	frame_done(c, s, n);
	count_sent(s, n);
	return n;
}

/* One read into as many records as it may fill; between them room for tails and heads. */
static long read_many(struct amb_stream *s, uint32_t max, uint32_t *want)
{
	struct amb_hbone *c = s->c;
	const uint32_t stride = AMB_RECORD_PLAIN_MAX + overhead(c);
	struct iovec iov[AMB_BYTES_READ / AMB_BYTES_FRAME];
	struct msghdr m = { .msg_iov = iov };
	uint32_t left, i;
	uint8_t *at;
	long n;

	seal(c);
	if (space(c) < stride * 2 && append(c, AMB_BYTES_BIG, AMB_BYTES_NICE))
		return -ENOBUFS;
	*want = AMB_MIN(max, space(c) / stride * AMB_BYTES_FRAME);
	at = c->out_tail->d + c->out_tail->w + c->wire.tx_ops->head + AMB_H2_HEAD;
	for (left = *want, i = 0; left; i++, at += stride) {
		iov[i].iov_base = at;
		iov[i].iov_len = AMB_MIN(left, (uint32_t)AMB_BYTES_FRAME);
		left -= iov[i].iov_len;
	}
	m.msg_iovlen = i;
	n = recvmsg(s->io.fd, &m, MSG_DONTWAIT);
	if (n <= 0)
		return n ? -errno : 0;
	for (left = n, i = 0; left && !c->broken; i++) {
		uint32_t k = AMB_MIN(left, (uint32_t)iov[i].iov_len);

		/* A key update could move the place of what was read: it waits for the end. */
		c->open = 1;
		frame_done(c, s, k);
		left -= k;
		if (left)
			seal(c);
	}
	count_sent(s, n);
	return n;
}

long amb_send_read(struct amb_stream *s, uint32_t max, uint32_t *want)
{
	struct amb_hbone *c = s->c;
	long n;

	if (max > AMB_BYTES_FRAME &&
	    c->wire.tx_ops->count(&c->wire) + 2 * AMB_BYTES_READ / AMB_BYTES_FRAME < renew_at(c)) {
		n = read_many(s, max, want);
		if (n != -ENOBUFS)
			return n;
	}
	return read_one(s, AMB_MIN(max, (uint32_t)AMB_BYTES_FRAME), want);
}

/* Out */

static void sent(struct amb_hbone *c, size_t n)
{
	c->backlog -= n;
	while (c->out) {
		struct amb_buf *buf = c->out;
		uint32_t k = AMB_MIN(n, (size_t)(buf->w - buf->r));

		buf->r += k;
		n -= k;
		if (buf->r < buf->w)
			return;
		c->out = buf->next;
		if (!c->out)
			c->out_tail = NULL;
		amb_bytes_put(c->bytes, buf);
	}
}

/* What goes out in one call: buffers up to the next one that is sent apart, or that one. */
static size_t gather(const struct amb_buf *buf, struct iovec iov[IOVS], size_t *want)
{
	uint8_t type = buf->type;
	size_t n = 0;

	*want = 0;
	do {
		iov[n].iov_base = (uint8_t *)buf->d + buf->r;
		iov[n++].iov_len = buf->w - buf->r;
		*want += buf->w - buf->r;
		buf = buf->next;
	} while (buf && n < IOVS && !type && !buf->type);
	return n;
}

int amb_send_flush(struct amb_hbone *c)
{
	seal(c);
	while (c->backlog) {
		struct iovec iov[IOVS];
		uint8_t type = c->out->type;
		size_t want, iovs;
		ssize_t n;

		iovs = gather(c->out, iov, &want);
		n = c->wire.tx_ops->send(&c->wire, iov, iovs, type);
		if (n < 0 && n != -EAGAIN)
			return n;
		if (n >= 0)
			sent(c, n);
		if (type == AMB_RECORD_HANDSHAKE && n == (ssize_t)want) {
			if (!update_keys(c)) {
				/* The peer could not open what follows. */
				amb_send_drop(c);
				return 0;
			}
		}
		if (n < (ssize_t)want) {
			c->out_blocked = true;
			return -EAGAIN;
		}
	}
	/* Only empty buffers can be left: an open record without plaintext. */
	amb_send_drop(c);
	if (c->state == AMB_CONN_UP)
		amb_hbone_taken(c, amb_wire_tx_border(&c->wire));
	return 0;
}

void amb_send_drop(struct amb_hbone *c)
{
	amb_bytes_put_chain(c->bytes, c->out);
	c->out = c->out_tail = NULL;
	c->open = c->backlog = 0;
}
