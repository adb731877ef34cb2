// SPDX-License-Identifier: GPL-2.0
/*
 * From the tunnel to the applications: rx_work reads TLS records, the reader makes events of them,
 * and each event is handled here. It runs one at a time for a connection, so what is said to be
 * rx_work's needs no lock.
 *
 * Errors: of the connection, a handler returns -code and rx_work ends it; of a stream, it is closed
 * and reset, and the handler returns 0.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "conn.h"
#include "deliver.h"
#include "event.h"
#include "main.h"
#include "mib.h"
#include "rx.h"
#include "stream.h"
#include "trace.h"

/* Buffers in a row before others have their turn. */
#define RX_BUDGET 32

#define TLS_NEW_SESSION_TICKET 4

static int flooded(struct hbone_conn *c)
{
	hbone_mib_inc(c->hn, FLOODS);
	return -HBONE_H2_ENHANCE_YOUR_CALM;
}

/* A frame that costs its sender nothing. */
static int charge(struct hbone_conn *c)
{
	unsigned long more = jiffies_to_msecs(jiffies - c->calm_at) / HBONE_CONN_CALM_MS;

	if (more) {
		c->calm = min_t(unsigned long, c->calm + more, HBONE_CONN_CALM);
		c->calm_at = jiffies;
	}
	return c->calm-- > 0 ? 0 : flooded(c);
}

static bool is_idle(struct hbone_conn *c, u32 id)
{
	return id > READ_ONCE(*(hbone_conn_is_peers(c, id) ? &c->last_peer : &c->last_local));
}

/* RST_STREAM for a stream that has no object. */
static int refuse(struct hbone_conn *c, u32 id, u32 code)
{
	bool fits;

	spin_lock(&c->lock);
	fits = c->nrefusals < HBONE_CONN_REFUSALS;
	if (fits) {
		c->refusals[c->nrefusals].stream = id;
		c->refusals[c->nrefusals++].code = code;
	}
	spin_unlock(&c->lock);
	hbone_conn_kick_tx(c);
	/* One that drains says it by GOAWAY too, of which the peer may not know yet. */
	return fits || test_bit(HBONE_CONN_DRAINING, &c->flags) ? 0 : flooded(c);
}

static int stream_error(struct hbone_conn *c, u32 id, u32 code)
{
	struct hbone_stream *s;
	int ret;

	hbone_mib_inc(c->hn, STREAM_ERRORS);
	ret = charge(c);
	if (ret)
		return ret;
	s = hbone_stream_get(c, id);
	if (!s)
		return is_idle(c, id) ? -HBONE_H2_PROTOCOL_ERROR : 0;
	hbone_stream_close(s, HBONE_REASON_PROTOCOL, code);
	hbone_stream_put(s);
	return 0;
}

/* --- DATA ------------------------------------------------------------------------------------ */

/* Windows are charged for the whole frame when its first piece comes. */
static int data_window(struct hbone_conn *c, struct hbone_stream *s,
		       const struct hbone_h2_event *ev, bool *stream_bad)
{
	bool kick;
	int ret;

	spin_lock(&c->lock);
	ret = hbone_h2frame_window_take(&c->recv_window, ev->length);
	if (ret) {
		spin_unlock(&c->lock);
		return ret;
	}
	hbone_conn_owe(c, ev->length);
	kick = hbone_conn_credit(c);
	if (s && hbone_h2frame_window_take(&s->recv_window, ev->length))
		*stream_bad = true;
	spin_unlock(&c->lock);
	if (kick)
		hbone_conn_kick_tx(c);
	return 0;
}

static int data_begins(struct hbone_conn *c, struct hbone_stream *s,
		       const struct hbone_h2_event *ev)
{
	bool over = false;
	int ret;

	ret = data_window(c, s, ev, &over);
	if (ret)
		return ret;
	if (!s) {
		if (is_idle(c, ev->stream))
			return -HBONE_H2_PROTOCOL_ERROR;
		hbone_mib_inc(c->hn, RX_LATE);
		return ev->length ? 0 : charge(c);
	}
	hbone_mib_inc(c->hn, RX_DATA);
	if (hbone_stream_is(s, HBONE_STREAM_RX_END))
		return stream_error(c, ev->stream, HBONE_H2_STREAM_CLOSED);
	if (over)
		return stream_error(c, ev->stream, HBONE_H2_FLOW_CONTROL_ERROR);
	if (ev->padding)
		hbone_deliver_none(s, ev->padding);
	/* Only the end may be empty. */
	return ev->length == ev->padding && !ev->end_stream ? charge(c) : 0;
}

static int on_data(struct hbone_conn *c, const struct hbone_h2_event *ev)
{
	struct hbone_stream *s = hbone_stream_get(c, ev->stream);
	int ret = 0;

	if (ev->first)
		ret = data_begins(c, s, ev);
	if (!s)
		return ret;
	if (ret || hbone_stream_is(s, HBONE_STREAM_CLOSED))
		goto out;
	if (ev->n) {
		spin_lock(&c->lock);
		s->rx_bytes += ev->n;
		c->rx_bytes += ev->n;
		spin_unlock(&c->lock);
		hbone_mib_add(c->hn, RX_BYTES, ev->n);
		/* The piece is in rx_buf or input: ours. */
		hbone_deliver_add(s, (u8 *)ev->p, ev->n);
	}
	if (ev->end_stream) {
		hbone_deliver_now(c);
		set_bit(HBONE_STREAM_RX_END, &s->flags);
		hbone_deliver_end(s);
	}
out:
	hbone_stream_put(s);
	return ret;
}

/* --- headers --------------------------------------------------------------------------------- */

/* The peer opens a stream. */
static int begin(struct hbone_conn *c, u32 id)
{
	struct hbone_stream *s;
	int ret;

	/* Servers open none, since nobody allows push. */
	if (!test_bit(HBONE_CONN_SERVER, &c->flags))
		return -HBONE_H2_PROTOCOL_ERROR;
	spin_lock(&c->lock);
	c->last_peer = id;
	spin_unlock(&c->lock);
	s = test_bit(HBONE_CONN_DRAINING, &c->flags) ? ERR_PTR(-ESHUTDOWN) :
						       hbone_stream_create(c, id);
	if (IS_ERR(s)) {
		c->block_refused = true;
		hbone_mib_inc(c->hn, STREAMS_REFUSED);
		ret = refuse(c, id, HBONE_H2_REFUSED_STREAM);
		return ret ?: charge(c);
	}
	hbone_stream_put(s);
	return 0;
}

/* HEADERS came; the block goes to the owner in any case, for the state of HPACK. */
static int on_headers(struct hbone_conn *c, const struct hbone_h2_event *ev)
{
	struct hbone_stream *s;
	int ret;

	hbone_mib_inc(c->hn, RX_HEADERS);
	c->block_refused = false;
	if (is_idle(c, ev->stream)) {
		if (!hbone_conn_is_peers(c, ev->stream))
			return -HBONE_H2_PROTOCOL_ERROR;
		ret = begin(c, ev->stream);
		if (ret || c->block_refused)
			return ret;
	}
	s = hbone_stream_get(c, ev->stream);
	if (!s) {
		c->block_refused = true;
		return charge(c);
	}
	ret = 0;
	if (!hbone_conn_is_peers(c, s->id))
		set_bit(HBONE_STREAM_ANSWERED, &s->flags);
	if (hbone_stream_is(s, HBONE_STREAM_RX_END)) {
		c->block_refused = true;
		ret = stream_error(c, ev->stream, HBONE_H2_STREAM_CLOSED);
	} else if (ev->end_stream) {
		set_bit(HBONE_STREAM_RX_END, &s->flags);
		hbone_deliver_end(s);
	}
	hbone_stream_put(s);
	return ret;
}

/*
 * The owner does not take frames, or is dead, or there was no memory for one. Streams that have
 * their application live on; new ones cannot be, since what follows cannot be decoded without what
 * was lost.
 */
static void headers_lost(struct hbone_conn *c, u32 id)
{
	struct hbone_stream *s;

	hbone_mib_inc(c->hn, RX_HEADERS_LOST);
	set_bit(HBONE_CONN_HEADERS_LOST, &c->flags);
	hbone_conn_drain(c, HBONE_CONN_GOAWAY_FINAL);
	s = hbone_stream_get(c, id);
	if (!s)
		return;
	if (!hbone_stream_is(s, HBONE_STREAM_ATTACHED))
		hbone_stream_close(s, HBONE_REASON_MEMORY, hbone_stream_orphan_code(s));
	hbone_stream_put(s);
}

/* The frame under way begins; without memory there is none, and its pieces are for nobody. */
static void raw_begins(struct hbone_conn *c, const struct hbone_h2_event *ev)
{
	struct hbone_frame *f = hbone_conn_frame(HBONE_H2_HEAD + ev->length);

	c->rx_frame = f;
	if (!f) {
		hbone_mib_inc(c->hn, NO_MEMORY);
		return;
	}
	memcpy(f->data, c->reader.head, HBONE_H2_HEAD);
	f->len = HBONE_H2_HEAD;
	f->stream = ev->stream;
}

static int on_raw(struct hbone_conn *c, const struct hbone_h2_event *ev)
{
	struct hbone_frame *f;

	if (ev->first)
		raw_begins(c, ev);
	f = c->rx_frame;
	if (f) {
		memcpy(f->data + f->len, ev->p, ev->n);
		f->len += ev->n;
	}
	if (!ev->last)
		return 0;
	c->rx_frame = NULL;
	if (ev->type == HBONE_H2_HEADERS) {
		int ret = on_headers(c, ev);

		if (ret) {
			kvfree(f);
			return ret;
		}
	}
	if (!f || test_bit(HBONE_CONN_HEADERS_LOST, &c->flags)) {
		kvfree(f);
	} else {
		f->refused = c->block_refused;
		if (hbone_conn_frame_in(c, f))
			return 0;
	}
	headers_lost(c, ev->stream);
	return 0;
}

/* --- the rest -------------------------------------------------------------------------------- */

static int initial_window(struct hbone_conn *c, u32 value)
{
	struct hbone_stream *s;
	unsigned long id;
	int ret = 0;

	spin_lock(&c->lock);
	rcu_read_lock();
	xa_for_each(&c->streams, id, s)
	{
		ret = hbone_h2frame_window_shift(&s->send_window, c->peer.initial_window, value);
		if (ret)
			break;
		if (s->send_window > 0 && test_and_clear_bit(HBONE_STREAM_NO_WINDOW, &s->flags))
			hbone_stream_rd_ready(s);
	}
	rcu_read_unlock();
	c->peer.initial_window = value;
	spin_unlock(&c->lock);
	return ret;
}

static int on_setting(struct hbone_conn *c, const struct hbone_h2_event *ev)
{
	switch (ev->id) {
	case HBONE_H2_INITIAL_WINDOW_SIZE:
		/* The last of a frame counts: each change is a walk over all streams. */
		c->new_window = ev->value;
		c->has_new_window = true;
		break;
	case HBONE_H2_MAX_FRAME_SIZE:
		spin_lock(&c->lock);
		c->peer.max_frame = ev->value;
		spin_unlock(&c->lock);
		break;
	case HBONE_H2_MAX_CONCURRENT_STREAMS:
		spin_lock(&c->lock);
		c->peer.max_streams = min_t(u32, ev->value, HBONE_STREAMS_MAX);
		spin_unlock(&c->lock);
		break;
	}
	return 0;
}

/* An answer is due; the peer must not ask faster than it takes them. */
static int on_settings_end(struct hbone_conn *c)
{
	int ret = c->has_new_window ? initial_window(c, c->new_window) : 0;
	bool fits;

	c->has_new_window = false;
	if (ret)
		return ret;
	hbone_mib_inc(c->hn, RX_SETTINGS);
	spin_lock(&c->lock);
	fits = c->nacks < HBONE_CONN_ACKS;
	c->nacks += fits;
	spin_unlock(&c->lock);
	hbone_conn_kick_tx(c);
	return fits ? charge(c) : flooded(c);
}

static int on_ping(struct hbone_conn *c, const struct hbone_h2_event *ev)
{
	bool fits;

	hbone_mib_inc(c->hn, RX_PINGS);
	if (ev->ack)
		return charge(c);
	spin_lock(&c->lock);
	fits = c->npings < HBONE_CONN_PINGS;
	if (fits)
		memcpy(c->pings[c->npings++], ev->p, 8);
	spin_unlock(&c->lock);
	hbone_conn_kick_tx(c);
	return fits ? charge(c) : flooded(c);
}

/*
 * NO_ERROR and CANCEL after 200: the peer has all it wanted; what it sent before still counts.
 * tx_work says when the application's socket may go.
 */
static void peer_gone(struct hbone_stream *s)
{
	set_bit(HBONE_STREAM_RX_END, &s->flags);
	set_bit(HBONE_STREAM_UNHEARD, &s->flags);
	/* Who sees TX_END sees UNHEARD. */
	smp_mb__before_atomic();
	set_bit(HBONE_STREAM_TX_END, &s->flags);
	hbone_deliver_end(s);
	hbone_deliver_unheard(s);
}

static int on_rst(struct hbone_conn *c, const struct hbone_h2_event *ev)
{
	struct hbone_stream *s = hbone_stream_get(c, ev->stream);
	bool answered, again;

	hbone_mib_inc(c->hn, RX_RESETS);
	if (!s)
		return is_idle(c, ev->stream) ? -HBONE_H2_PROTOCOL_ERROR : charge(c);
	spin_lock(&c->lock);
	s->rst_code = ev->value;
	spin_unlock(&c->lock);
	answered = hbone_stream_is(s, HBONE_STREAM_ATTACHED) ||
		   hbone_stream_is(s, HBONE_STREAM_ANSWERED);
	again = hbone_stream_is(s, HBONE_STREAM_UNHEARD);
	if (answered && (ev->value == HBONE_H2_NO_ERROR || ev->value == HBONE_H2_CANCEL))
		peer_gone(s);
	else
		hbone_stream_close(s, HBONE_REASON_PEER_RESET, HBONE_STREAM_NO_RST);
	hbone_stream_put(s);
	/* What was opened and reset at once cost its sender nothing, nor what is said once more. */
	return answered && !again ? 0 : charge(c);
}

static int window_of_stream(struct hbone_conn *c, const struct hbone_h2_event *ev)
{
	struct hbone_stream *s = hbone_stream_get(c, ev->stream);
	bool ready = false;
	int ret;

	if (!s)
		return is_idle(c, ev->stream) ? -HBONE_H2_PROTOCOL_ERROR : 0;
	spin_lock(&c->lock);
	ret = hbone_h2frame_window_grow(&s->send_window, ev->value);
	if (s->send_window > 0)
		ready = test_and_clear_bit(HBONE_STREAM_NO_WINDOW, &s->flags);
	spin_unlock(&c->lock);
	if (ready)
		hbone_stream_rd_ready(s);
	hbone_stream_put(s);
	return ret ? stream_error(c, ev->stream, -ret) : 0;
}

static int on_window(struct hbone_conn *c, const struct hbone_h2_event *ev)
{
	u64 explained;
	int ret;

	spin_lock(&c->lock);
	explained = c->tx_bytes / HBONE_CONN_UPDATE_BYTES + HBONE_CONN_UPDATES;
	ret = ev->stream ? 0 : hbone_h2frame_window_grow(&c->send_window, ev->value);
	spin_unlock(&c->lock);
	if (++c->updates > explained && charge(c))
		return -HBONE_H2_ENHANCE_YOUR_CALM;
	if (ev->stream)
		return window_of_stream(c, ev);
	if (!ret)
		hbone_conn_kick_tx(c);
	return ret;
}

static int on_goaway(struct hbone_conn *c, const struct hbone_h2_event *ev)
{
	struct hbone_stream *s;
	unsigned long id = ev->goaway_last + 1;

	hbone_mib_inc(c->hn, RX_GOAWAYS);
	spin_lock(&c->lock);
	c->goaway_in = ev->value;
	set_bit(HBONE_CONN_GOAWAY_IN, &c->flags);
	/* Who begins a stream puts it into the table first, and looks then. */
	smp_mb__after_atomic();
	spin_unlock(&c->lock);
	hbone_event_goaway(c, ev->goaway_last, ev->value);
	for (; (s = hbone_stream_get_next(c, &id)); id++) {
		if (!hbone_conn_is_peers(c, s->id)) {
			spin_lock(&c->lock);
			s->rst_code = HBONE_H2_REFUSED_STREAM;
			spin_unlock(&c->lock);
			hbone_stream_close(s, HBONE_REASON_PEER_RESET, HBONE_STREAM_NO_RST);
		}
		hbone_stream_put(s);
	}
	return charge(c);
}

static int on_event(struct hbone_conn *c, const struct hbone_h2_event *ev)
{
	if (ev->kind != HBONE_H2_EV_DATA)
		hbone_deliver_now(c);
	switch (ev->kind) {
	case HBONE_H2_EV_DATA:
		return on_data(c, ev);
	case HBONE_H2_EV_RAW:
		return on_raw(c, ev);
	case HBONE_H2_EV_SETTING:
		return on_setting(c, ev);
	case HBONE_H2_EV_SETTINGS_END:
		return on_settings_end(c);
	case HBONE_H2_EV_SETTINGS_ACK:
		return charge(c);
	case HBONE_H2_EV_PING:
		return on_ping(c, ev);
	case HBONE_H2_EV_RST:
		return on_rst(c, ev);
	case HBONE_H2_EV_WINDOW:
		return on_window(c, ev);
	case HBONE_H2_EV_GOAWAY:
		return on_goaway(c, ev);
	case HBONE_H2_EV_STREAM_ERROR:
		return stream_error(c, ev->stream, ev->value);
	}
	hbone_mib_inc(c->hn, RX_IGNORED);
	return charge(c);
}

static void take_bytes(struct hbone_conn *c, const u8 *p, size_t n)
{
	struct hbone_h2_event ev;
	int ret;

	while ((ret = hbone_h2frame_next(&c->reader, &p, &n, &ev)) > 0) {
		trace_hbone_rx_frame(c->id, &ev);
		ret = on_event(c, &ev);
		if (ret || hbone_conn_ending(c))
			break;
	}
	hbone_deliver_now(c);
	if (ret < 0)
		hbone_conn_end(c, HBONE_REASON_PROTOCOL, -ret, 0);
}

/* --- TLS ------------------------------------------------------------------------------------- */

/* Session tickets are of no use to anybody here; all else needs new keys, or is the end. */
static bool only_tickets(const u8 *p, u32 n)
{
	u32 length;

	while (n >= 4 && p[0] == TLS_NEW_SESSION_TICKET) {
		length = (p[1] << 16 | p[2] << 8 | p[3]) + 4;
		if (length > n)
			return false;
		p += length;
		n -= length;
	}
	return !n;
}

/*
 * The peer closed. What it owes or waits for is cut off; streams that ended in both directions live
 * until their application took what came.
 */
static void peer_closed(struct hbone_conn *c)
{
	struct hbone_stream *s;
	unsigned long id = 0;

	set_bit(HBONE_CONN_PEER_CLOSED, &c->flags);
	/* Who begins a stream puts it into the table first, and looks then. */
	smp_mb__after_atomic();
	for (; (s = hbone_stream_get_next(c, &id)); id++) {
		if (!hbone_stream_is(s, HBONE_STREAM_RX_END) ||
		    !hbone_stream_is(s, HBONE_STREAM_TX_END))
			hbone_stream_close(s, HBONE_REASON_CONN, HBONE_STREAM_NO_RST);
		else
			hbone_deliver_unheard(s);
		hbone_stream_put(s);
	}
}

static void on_control(struct hbone_conn *c, u8 type, const u8 *p, u32 n)
{
	hbone_mib_inc(c->hn, TLS_CONTROL);
	if (type == HBONE_SOCK_HANDSHAKE && only_tickets(p, n)) {
		if (charge(c))
			hbone_conn_end(c, HBONE_REASON_PROTOCOL, HBONE_H2_ENHANCE_YOUR_CALM, 0);
		return;
	}
	/* close_notify */
	if (type == HBONE_SOCK_ALERT && n == 2 && !p[1])
		peer_closed(c);
	else
		hbone_conn_end(c, HBONE_REASON_TLS, HBONE_H2_INTERNAL_ERROR, -EBADMSG);
}

/* True: there may be more. */
static bool read_once(struct hbone_conn *c)
{
	u8 *p = page_address(c->rx_buf.page), type;
	int n;

	n = hbone_sock_recv_record(&c->tls, c->rx_buf.page, c->rx_buf.size, &type);
	if (n == -EAGAIN)
		return false;
	hbone_mib_inc(c->hn, RX_READS);
	if (!n) {
		peer_closed(c);
	} else if (n < 0 && hbone_sock_ended(&c->tls) && !READ_ONCE(c->failed)) {
		/* Told before what had come, which is still there. */
		WRITE_ONCE(c->failed, n);
		hbone_conn_kick_tx(c);
	} else if (n < 0) {
		hbone_conn_end(c, HBONE_REASON_SOCKET, HBONE_H2_INTERNAL_ERROR, n);
	} else if (type != HBONE_SOCK_DATA) {
		on_control(c, type, p, n);
	} else {
		take_bytes(c, p, n);
	}
	hbone_conn_used_up(c, false);
	return true;
}

/* Until nothing is left, or the budget is spent: then true. */
static bool rx_run(struct hbone_conn *c)
{
	int budget = RX_BUDGET;

	while (!hbone_conn_ending(c)) {
		if (!budget--)
			return true;
		/* TLS tells of a record while it is read. */
		hbone_work_look(&c->rx_work);
		hbone_deliver_ready(c);
		if (test_bit(HBONE_CONN_PEER_CLOSED, &c->flags)) {
			hbone_conn_check_done(c);
			return false;
		}
		if (!read_once(c) && !hbone_work_again(&c->rx_work))
			return false;
	}
	return false;
}

void hbone_rx_work(struct work_struct *work)
{
	struct hbone_conn *c = container_of(work, struct hbone_conn, rx_work.work);
	struct mem_cgroup *old;

	if (hbone_conn_ending(c))
		return;
	old = set_active_memcg(c->memcg);
	hbone_work_begin(&c->rx_work);
	if (c->input) {
		take_bytes(c, c->input, c->input_len);
		kvfree(c->input);
		c->input = NULL;
	}
	/* This needs no memory, and may give some back. */
	hbone_deliver_ready(c);
	if (hbone_conn_borrow(c, &c->rx_buf) && rx_run(c))
		hbone_conn_kick_rx(c);
	hbone_buffer_put(&c->rx_buf);
	hbone_work_end(&c->rx_work);
	set_active_memcg(old);
}

bool hbone_rx_discard(struct hbone_conn *c)
{
	int budget = RX_BUDGET, n;
	u8 type;

	if (!hbone_buffer_get(&c->rx_buf))
		return false;
	do
		n = hbone_sock_recv_record(&c->tls, c->rx_buf.page, c->rx_buf.size, &type);
	while (n > 0 && --budget);
	hbone_buffer_put(&c->rx_buf);
	return n <= 0 && n != -EAGAIN;
}
