// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the peer says: frames turned into changes of windows, settings and streams. An error
 * of a stream is answered on that stream, an error of the connection ends it; anything cheap
 * to send and dear to handle has a budget (enum amb_hbone_abuse).
 */
#include "conn.h"

#include "base/util.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

static void conn_error(struct amb_hbone *c, uint32_t code)
{
	if (!c->broken)
		AMB_BYTES_COUNT(c->bytes, conn_errors, 1);
	amb_hbone_fail(c, AMB_REASON_H2, code, amb_h2_error_text(code));
}

static void stream_error(struct amb_stream *s, uint32_t code)
{
	struct amb_hbone *c = s->c;

	AMB_BYTES_COUNT(c->bytes, stream_errors, 1);
	amb_hbone_charge(c, AMB_ABUSE_ERROR);
	amb_stream_error(s, code);
}

/* Never opened by anybody so far: frames on it are errors of the connection. */
static bool idle(const struct amb_hbone *c, uint32_t id)
{
	return !(id & 1) || (c->server ? id > c->last_id : id >= c->next_id);
}

/* DATA */

static struct amb_stream *data_stream(struct amb_hbone *c, const struct amb_h2_event *ev)
{
	struct amb_stream *s = amb_stream_find(c, ev->stream);

	if (!s) {
		/* On its way when we ended the stream, or a peer that does not care. */
		c->late -= ev->length;
		if (c->late < 0)
			conn_error(c, AMB_H2_STREAM_CLOSED);
		return NULL;
	}
	if (s->fin_rx) {
		stream_error(s, AMB_H2_STREAM_CLOSED);
		return NULL;
	}
	if (!c->server && !s->open) {
		stream_error(s, AMB_H2_PROTOCOL_ERROR);
		return NULL;
	}
	s->recv_window -= ev->length;
	if (s->recv_window < 0) {
		stream_error(s, AMB_H2_FLOW_CONTROL_ERROR);
		return NULL;
	}
	return s;
}

static void on_data(struct amb_hbone *c, const struct amb_h2_event *ev)
{
	struct amb_stream *s;

	if (ev->first) {
		c->recv_window -= ev->length;
		if (idle(c, ev->stream)) {
			conn_error(c, AMB_H2_PROTOCOL_ERROR);
			return;
		}
		if (c->recv_window < 0) {
			conn_error(c, AMB_H2_FLOW_CONTROL_ERROR);
			return;
		}
		if (!ev->end_stream && ev->padding >= ev->length)
			amb_hbone_charge(c, AMB_ABUSE_EMPTY);
		c->cur = data_stream(c, ev);
	}
	s = c->cur;
	if (ev->padding) {
		amb_send_conn_credit(c, ev->padding);
		if (s)
			amb_send_stream_credit(s, ev->padding);
	}
	if (ev->n && s)
		amb_stream_deliver(s, ev->p, ev->n);
	else if (ev->n)
		amb_send_conn_credit(c, ev->n);
	/* Delivery may have ended the stream. */
	if (ev->end_stream && c->cur)
		amb_stream_deliver_end(c->cur);
}

/* HEADERS */

/* Copies of the fields that matter: HPACK's own are gone with the next one. */
struct fields {
	struct amb_hbone_request req;
	char status[4];
	uint32_t used;
	char text[4096];
};

static bool named(const char *name, size_t len, const char *what)
{
	return len == strlen(what) && !memcmp(name, what, len);
}

static const char *copy(struct fields *f, const char *value, size_t len)
{
	char *to = f->text + f->used;

	if (len + 1 > sizeof(f->text) - f->used)
		return NULL;
	memcpy(to, value, len);
	to[len] = 0;
	f->used += len + 1;
	return to;
}

static void on_field(void *ctx, const char *name, size_t namelen, const char *value,
		     size_t valuelen)
{
	struct fields *f = ctx;
	struct amb_hbone_request *req = &f->req;

	if (named(name, namelen, ":authority")) {
		req->authority = copy(f, value, valuelen);
		req->authority_len = req->authority ? valuelen : 0;
	} else if (named(name, namelen, ":method")) {
		req->method = copy(f, value, valuelen);
	} else if (named(name, namelen, ":status")) {
		if (valuelen < sizeof(f->status))
			memcpy(f->status, value, valuelen);
	} else if (named(name, namelen, "baggage")) {
		amb_baggage_parse(value, valuelen, &req->baggage);
		req->has_baggage = true;
	} else if (named(name, namelen, "forwarded")) {
		req->forwarded = copy(f, value, valuelen);
	} else if (named(name, namelen, "traceparent")) {
		req->traceparent = copy(f, value, valuelen);
	} else if (named(name, namelen, "x-forwarded-network")) {
		req->forwarded_network = copy(f, value, valuelen);
	}
}

static int status_of(const struct fields *f)
{
	int i, n = 0;

	for (i = 0; i < 3; i++) {
		if (f->status[i] < '0' || f->status[i] > '9')
			return -1;
		n = n * 10 + f->status[i] - '0';
	}
	return n >= 100 ? n : -1;
}

/* Every block is decoded, wanted or not: HPACK's state is the connection's. */
static int inflate(struct amb_hbone *c, const struct amb_h2_event *ev, enum amb_h2_block_kind kind,
		   struct fields *f)
{
	int r;

	memset(f, 0, offsetof(struct fields, text));
	r = amb_h2_inflate(c->inflater, ev->p, ev->n, kind,
			   c->server ? AMB_HBONE_LIST_SERVER : AMB_HBONE_LIST_CLIENT, on_field, f);
	if (r < 0)
		conn_error(c, -r);
	return r;
}

static void refuse(struct amb_hbone *c, uint32_t id)
{
	AMB_BYTES_COUNT(c->bytes, refused_streams, 1);
	c->late += c->bytes->config.stream_window;
	amb_hbone_charge(c, AMB_ABUSE_ERROR);
	amb_send_rst(c, id, AMB_H2_REFUSED_STREAM);
}

static void on_request(struct amb_hbone *c, const struct amb_h2_event *ev)
{
	uint32_t most = c->bytes->config.max_streams;
	struct amb_stream *s;
	struct fields f;
	int r = inflate(c, ev, AMB_H2_REQUEST, &f);

	if (r < 0)
		return;
	c->last_id = ev->stream;
	/* The module has looked at its own limits; what it told of ends may not be read yet. */
	if (c->kmod != AMB_KMOD_THERE && (c->goaway_last || c->nactive >= most ||
					  c->nobjects >= most * (1 + AMB_HBONE_LINGERERS))) {
		refuse(c, ev->stream);
		return;
	}
	s = amb_stream_new(c, ev->stream);
	if (!s) {
		refuse(c, ev->stream);
		return;
	}
	s->fin_rx = ev->end_stream;
	f.req.bad = r == AMB_H2_BLOCK_BAD || !f.req.authority || !f.req.method;
	c->ops->request(c, c->owner, s, &f.req);
}

static void on_trailers(struct amb_hbone *c, struct amb_stream *s, const struct amb_h2_event *ev)
{
	struct fields f;
	int r = inflate(c, ev, AMB_H2_TRAILERS, &f);

	if (r < 0)
		return;
	if (!s)
		amb_hbone_charge(c, AMB_ABUSE_OTHER);
	else if (s->fin_rx)
		stream_error(s, AMB_H2_STREAM_CLOSED);
	else if (r == AMB_H2_BLOCK_BAD || !ev->end_stream)
		stream_error(s, AMB_H2_PROTOCOL_ERROR);
	else if (c->kmod != AMB_KMOD_THERE)
		amb_stream_deliver_end(s);
}

static void on_response(struct amb_hbone *c, struct amb_stream *s, const struct amb_h2_event *ev)
{
	struct fields f;
	int r = inflate(c, ev, AMB_H2_RESPONSE, &f), status;

	if (r < 0)
		return;
	status = status_of(&f);
	if (r == AMB_H2_BLOCK_BAD || status < 0 || (status < 200 && ev->end_stream)) {
		stream_error(s, AMB_H2_PROTOCOL_ERROR);
		return;
	}
	if (status < 200) {
		amb_hbone_charge(c, AMB_ABUSE_OTHER);
		return;
	}
	amb_stream_answered(s, status, f.req.has_baggage ? &f.req.baggage : NULL);
	if (ev->end_stream && !s->dead && c->kmod != AMB_KMOD_THERE)
		amb_stream_deliver_end(s);
}

static void on_headers(struct amb_hbone *c, const struct amb_h2_event *ev)
{
	struct amb_stream *s;

	if (idle(c, ev->stream)) {
		if (c->server && ev->stream & 1)
			on_request(c, ev);
		else
			conn_error(c, AMB_H2_PROTOCOL_ERROR);
		return;
	}
	s = amb_stream_find(c, ev->stream);
	if (s && !c->server && !s->open)
		on_response(c, s, ev);
	else
		on_trailers(c, s, ev);
}

/* SETTINGS */

static void set_window(struct amb_hbone *c, uint32_t value)
{
	int64_t delta = (int64_t)value - c->peer_window;
	struct amb_stream *s;

	c->peer_window = value;
	for (s = c->streams; s; s = s->next) {
		s->send_window += delta;
		if (s->send_window > AMB_H2_WINDOW_MAX) {
			conn_error(c, AMB_H2_FLOW_CONTROL_ERROR);
			return;
		}
		amb_stream_kick(s);
	}
}

static void on_setting(struct amb_hbone *c, uint16_t id, uint32_t value)
{
	int err = amb_h2_setting_check(id, value, c->server);

	if (err) {
		conn_error(c, -err);
		return;
	}
	switch (id) {
	case AMB_H2_HEADER_TABLE_SIZE:
		if (nghttp2_hd_deflate_change_table_size(c->deflater, AMB_MIN(value, 4096u)))
			conn_error(c, AMB_H2_INTERNAL_ERROR);
		return;
	case AMB_H2_MAX_CONCURRENT_STREAMS:
		c->peer_streams = value;
		c->tell_room = true;
		return;
	case AMB_H2_INITIAL_WINDOW_SIZE:
		set_window(c, value);
		return;
	case AMB_H2_MAX_HEADER_LIST_SIZE:
		c->peer_list = value;
		return;
	case AMB_H2_EARLY_DATA:
		c->early = value == 1;
		return;
	default: /* our frames are smaller than any legal MAX_FRAME_SIZE */
		return;
	}
}

static void on_settings(struct amb_hbone *c, const struct amb_h2_event *ev)
{
	uint8_t frame[AMB_H2_HEAD];
	uint32_t i, value;
	uint16_t id;

	if (ev->ack)
		return;
	amb_hbone_charge(c, AMB_ABUSE_SETTINGS);
	/* A peer that says no limit has none; ours holds until it spoke. */
	if (!c->settled && !c->server)
		c->peer_streams = AMB_H2_STREAM_MAX;
	for (i = 0; i < ev->n / 6 && !c->broken; i++) {
		amb_h2_setting_at(ev, i, &id, &value);
		on_setting(c, id, value);
	}
	if (c->broken)
		return;
	amb_send_small(c, frame, amb_h2_write_head(frame, 0, AMB_H2_SETTINGS, AMB_H2_ACK, 0));
	if (!c->settled) {
		c->tell_room = true;
		amb_hbone_settled(c);
	}
}

/* The rest */

static void on_window(struct amb_hbone *c, const struct amb_h2_event *ev)
{
	struct amb_stream *s;

	if (c->updates)
		c->updates--;
	else
		amb_hbone_charge(c, AMB_ABUSE_OTHER);
	if (!ev->stream) {
		c->send_window += ev->value;
		if (c->send_window > AMB_H2_WINDOW_MAX)
			conn_error(c, AMB_H2_FLOW_CONTROL_ERROR);
		amb_hbone_later(c);
		return;
	}
	s = amb_stream_find(c, ev->stream);
	if (!s)
		return;
	s->send_window += ev->value;
	if (s->send_window > AMB_H2_WINDOW_MAX)
		stream_error(s, AMB_H2_FLOW_CONTROL_ERROR);
	else
		amb_stream_kick(s);
}

static void on_ping(struct amb_hbone *c, const struct amb_h2_event *ev)
{
	uint8_t frame[AMB_H2_SMALL_FRAME];

	if (ev->ack) {
		amb_hbone_pong(c, ev->p);
		return;
	}
	amb_hbone_charge(c, AMB_ABUSE_PING);
	amb_send_small(c, frame, amb_h2_write_ping(frame, true, ev->p));
}

static struct amb_stream *beyond(const struct amb_hbone *c, uint32_t last)
{
	struct amb_stream *s;

	for (s = c->streams; s; s = s->next) {
		if (s->in_table && s->id > last)
			return s;
	}
	return NULL;
}

static void on_goaway(struct amb_hbone *c, const struct amb_h2_event *ev)
{
	struct amb_stream *s;

	amb_hbone_charge(c, AMB_ABUSE_OTHER);
	if (ev->last > c->goaway_id) {
		conn_error(c, AMB_H2_PROTOCOL_ERROR);
		return;
	}
	c->goaway_id = ev->last;
	c->goaway_in = c->tell_room = true;
	amb_hbone_later(c);
	/* The peer says that it did not and will not look at them. */
	while (!c->server && (s = beyond(c, ev->last)))
		amb_stream_finish(s, AMB_REASON_H2, "peer goes away");
}

static void on_reset(struct amb_hbone *c, const struct amb_h2_event *ev)
{
	struct amb_stream *s = amb_stream_find(c, ev->stream);

	if (!s) {
		amb_hbone_charge(c, AMB_ABUSE_OTHER);
		return;
	}
	/*
	 * Opened and reset before an answer, or before a byte went either way: work for us and for
	 * the application, none for the peer (CVE-2023-44487).
	 */
	if (c->server && (!s->open || (!s->to_app && !s->from_app)))
		amb_hbone_charge(c, AMB_ABUSE_RESET);
	amb_stream_peer_reset(s, ev->value);
}

static void on_stream_error(struct amb_hbone *c, const struct amb_h2_event *ev)
{
	struct amb_stream *s = amb_stream_find(c, ev->stream);

	if (s)
		stream_error(s, ev->error);
	else
		amb_hbone_charge(c, AMB_ABUSE_ERROR);
}

static void dispatch(struct amb_hbone *c, const struct amb_h2_event *ev)
{
	bool on_stream = ev->type == AMB_H2_RST_STREAM ||
			 (ev->type == AMB_H2_WINDOW_UPDATE && ev->stream);

	if (on_stream && idle(c, ev->stream)) {
		conn_error(c, AMB_H2_PROTOCOL_ERROR);
		return;
	}
	if (ev->error) {
		on_stream_error(c, ev);
		return;
	}
	switch (ev->type) {
	case AMB_H2_DATA:
		on_data(c, ev);
		break;
	case AMB_H2_HEADERS:
		on_headers(c, ev);
		break;
	case AMB_H2_RST_STREAM:
		on_reset(c, ev);
		break;
	case AMB_H2_SETTINGS:
		on_settings(c, ev);
		break;
	case AMB_H2_PING:
		on_ping(c, ev);
		break;
	case AMB_H2_GOAWAY:
		on_goaway(c, ev);
		break;
	case AMB_H2_WINDOW_UPDATE:
		on_window(c, ev);
		break;
	default:
		amb_hbone_charge(c, AMB_ABUSE_OTHER);
		break;
	}
}

void amb_frames_input(struct amb_hbone *c, uint8_t *p, size_t n)
{
	struct amb_h2_event ev;
	int r;

	while (!c->broken && c->state == AMB_CONN_UP) {
		if (amb_unlikely(c->kmod != AMB_KMOD_NO && c->settled)) {
			amb_kmod_hold(c, p, n);
			return;
		}
		r = amb_h2_next(&c->parser, &p, &n, &ev);
		if (!r)
			return;
		if (r < 0)
			conn_error(c, -r);
		else
			dispatch(c, &ev);
	}
}

/* The block of a stream that is nobody's: it may open one, and changes HPACK's table. */
static void on_refused(struct amb_hbone *c, const struct amb_h2_event *ev)
{
	struct fields f;

	if (c->server && idle(c, ev->stream)) {
		c->last_id = ev->stream;
		AMB_BYTES_COUNT(c->bytes, refused_streams, 1);
	}
	inflate(c, ev, AMB_H2_TRAILERS, &f);
}

void amb_frames_headers(struct amb_hbone *c, uint8_t *p, size_t n, bool refused)
{
	struct amb_h2_event ev;
	int r;

	while (!c->broken && c->state == AMB_CONN_UP) {
		r = amb_h2_next(&c->parser, &p, &n, &ev);
		if (!r)
			return;
		if (r < 0)
			conn_error(c, -r);
		else if (ev.type == AMB_H2_HEADERS && refused)
			on_refused(c, &ev);
		else if (ev.type == AMB_H2_HEADERS)
			on_headers(c, &ev);
	}
}
