// SPDX-License-Identifier: GPL-2.0
/*
 * From the applications to the tunnel: tx_work fills one buffer, of some TLS records, with what is
 * to be sent, and sends it; when the socket takes no more it returns, and the wait queue calls it
 * again. Bytes of applications are read to where they are sent from, after their frame's head, and
 * only as many as both windows allow: of them nothing but that buffer waits here, and behind it
 * what kernel TLS has sealed and TCP not taken. Header blocks wait in frames_out.
 *
 * Order: header blocks of the owner, answers to the peer, WINDOW_UPDATE and RST_STREAM of streams,
 * then DATA, one frame of each stream in turn.
 *
 * A stream is done when all that it sends is in the socket, not in the buffer: its connection may
 * end in between.
 *
 * tx_work runs one at a time for a connection. Only it takes frames off frames_out, and only it
 * makes send windows smaller, so a window that it has seen open does not shut, but by SETTINGS,
 * where RFC 9113 (6.9.2) allows what is on its way.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "conn.h"
#include "main.h"
#include "mib.h"
#include "stream.h"
#include "trace.h"
#include "tx.h"

/* Buffers in a row before others have their turn. */
#define TX_BUDGET 32
/* With less room left no DATA is begun, but in an empty buffer: heads are for payload. */
#define TX_LEAST_ROOM 1024

static u32 room(const struct hbone_conn *c)
{
	return c->tx_buf.size - c->tx_len;
}

static u8 *tail(struct hbone_conn *c)
{
	return (u8 *)page_address(c->tx_buf.page) + c->tx_len;
}

/* --- headers --------------------------------------------------------------------------------- */

/* The stream that HEADERS is for, referenced; begun if our side did not use its number before. */
static struct hbone_stream *stream_for(struct hbone_conn *c, u32 id, bool end)
{
	struct hbone_stream *s;

	if (!hbone_conn_is_peers(c, id) && id > c->last_local) {
		if (test_bit(HBONE_CONN_SERVER, &c->flags))
			return ERR_PTR(-EINVAL);
		if (test_bit(HBONE_CONN_GOAWAY_IN, &c->flags) ||
		    test_bit(HBONE_CONN_PEER_CLOSED, &c->flags))
			return ERR_PTR(-ESHUTDOWN);
		s = hbone_stream_create(c, id);
		if (IS_ERR(s))
			return s;
		spin_lock(&c->lock);
		c->last_local = id;
		spin_unlock(&c->lock);
		/* Beside rx_work, which looks for streams after it has said so. */
		if (test_bit(HBONE_CONN_PEER_CLOSED, &c->flags) ||
		    test_bit(HBONE_CONN_GOAWAY_IN, &c->flags)) {
			hbone_stream_close(s, HBONE_REASON_CONN, HBONE_STREAM_NO_RST);
			hbone_stream_put(s);
			return ERR_PTR(-ESHUTDOWN);
		}
		return s;
	}
	s = hbone_stream_get(c, id);
	if (!s)
		return ERR_PTR(-ENOENT);
	/* An attached application says itself when it ends. */
	if (hbone_stream_is(s, HBONE_STREAM_TX_END) ||
	    (end && hbone_stream_is(s, HBONE_STREAM_ATTACHED))) {
		hbone_stream_put(s);
		return ERR_PTR(-EBUSY);
	}
	return s;
}

static bool too_much(struct hbone_conn *c, u32 memory)
{
	bool ret;

	spin_lock(&c->lock);
	ret = c->frames_out_bytes + memory > HBONE_CONN_FRAMES_OUT;
	spin_unlock(&c->lock);
	return ret;
}

int hbone_tx_headers(struct hbone_conn *c, const u8 *p, u32 n)
{
	struct hbone_stream *s;
	struct hbone_frame *f;
	u32 id;
	bool end;
	int err;

	err = hbone_h2frame_check_headers(p, n, READ_ONCE(c->peer.max_frame), &id, &end);
	if (err)
		return err;
	f = hbone_conn_frame(n);
	if (!f)
		return -ENOMEM;
	memcpy(f->data, p, n);
	f->len = n;
	f->stream = end ? id : 0;
	err = -EAGAIN;
	if (too_much(c, sizeof(*f) + f->size))
		goto err_free;
	s = stream_for(c, id, end);
	if (IS_ERR(s)) {
		err = PTR_ERR(s);
		goto err_free;
	}
	spin_lock(&c->lock);
	/* Whoever closed it may have sent RST_STREAM, behind which nothing may come. */
	if (hbone_stream_is(s, HBONE_STREAM_CLOSED)) {
		spin_unlock(&c->lock);
		hbone_stream_put(s);
		err = -ENOENT;
		goto err_free;
	}
	/* Before tx_work sees it, which tells when it is sent. */
	if (end)
		set_bit(HBONE_STREAM_TX_END, &s->flags);
	list_add_tail(&f->node, &c->frames_out);
	c->frames_out_bytes += sizeof(*f) + f->size;
	spin_unlock(&c->lock);
	set_bit(HBONE_STREAM_TX_BEGUN, &s->flags);
	hbone_mib_inc(c->hn, TX_HEADERS);
	hbone_conn_kick_tx(c);
	hbone_stream_put(s);
	return 0;

err_free:
	kvfree(f);
	return err;
}

static void count_end(struct hbone_stream *s, u32 by)
{
	struct hbone_conn *c = s->conn;

	if (!hbone_conn_is_peers(c, s->id))
		return;
	spin_lock(&c->lock);
	c->nends += by;
	spin_unlock(&c->lock);
}

/* END_STREAM is in the buffer. Takes a reference. */
static void put_end(struct hbone_stream *s)
{
	list_add_tail(&s->end_node, &s->conn->tx_ends);
	count_end(s, 1);
}

static void put_end_of(struct hbone_conn *c, u32 id)
{
	struct hbone_stream *s = hbone_stream_get(c, id);

	if (s)
		put_end(s);
}

/* Frames may be longer than the buffer: the rest follows in the next one. */
static void put_frames(struct hbone_conn *c)
{
	struct hbone_frame *f;
	u32 n;

	while (room(c)) {
		spin_lock(&c->lock);
		f = list_first_entry_or_null(&c->frames_out, struct hbone_frame, node);
		spin_unlock(&c->lock);
		if (!f)
			return;
		n = min(room(c), f->len - c->frame_off);
		memcpy(tail(c), f->data + c->frame_off, n);
		c->tx_len += n;
		c->frame_off += n;
		if (c->frame_off < f->len)
			return;
		c->frame_off = 0;
		spin_lock(&c->lock);
		list_del(&f->node);
		c->frames_out_bytes -= sizeof(*f) + f->size;
		spin_unlock(&c->lock);
		if (f->stream)
			put_end_of(c, f->stream);
		kvfree(f);
	}
}

/* --- answers --------------------------------------------------------------------------------- */

static void put_pings(struct hbone_conn *c)
{
	u32 i;

	for (i = 0; i < c->npings && room(c) >= HBONE_H2_SMALL; i++)
		c->tx_len += hbone_h2frame_write_ping_ack(tail(c), c->pings[i]);
	c->npings -= i;
	memmove(c->pings[0], c->pings[i], c->npings * sizeof(c->pings[0]));
}

static void put_refusals(struct hbone_conn *c)
{
	u32 i;

	for (i = 0; i < c->nrefusals && room(c) >= HBONE_H2_SMALL; i++) {
		c->tx_len += hbone_h2frame_write_u32(tail(c), HBONE_H2_RST_STREAM,
						     c->refusals[i].stream, c->refusals[i].code);
		hbone_mib_inc(c->hn, TX_RESETS);
	}
	c->nrefusals -= i;
	memmove(&c->refusals[0], &c->refusals[i], c->nrefusals * sizeof(c->refusals[0]));
}

/*
 * c->lock, or nobody else is left. The peer may have retried elsewhere what an earlier one left
 * out, so streams that came, and were refused, since do not count (RFC 9113, 6.8).
 */
static size_t write_goaway(struct hbone_conn *c, u8 *to, u32 code)
{
	c->goaway_last = min(c->goaway_last, c->last_peer);
	return hbone_h2frame_write_goaway(to, c->goaway_last, code);
}

/* c->lock */
static void put_goaway(struct hbone_conn *c)
{
	if (c->goaway_sent == c->goaway || room(c) < HBONE_H2_SMALL)
		return;
	if (c->goaway == HBONE_CONN_GOAWAY_SOON)
		c->tx_len +=
			hbone_h2frame_write_goaway(tail(c), HBONE_H2_STREAM_MAX, HBONE_H2_NO_ERROR);
	else
		c->tx_len += write_goaway(c, tail(c), HBONE_H2_NO_ERROR);
	c->goaway_sent = c->goaway;
}

/* What the connection itself owes the peer; c->lock. */
static void put_answers(struct hbone_conn *c)
{
	/*
	 * Who closed has no use for them, and a socket that nobody reads any more answers with a
	 * reset: the next write would fail, and take along streams that wait for their application.
	 */
	if (test_bit(HBONE_CONN_PEER_CLOSED, &c->flags))
		return;
	for (; c->nacks && room(c) >= HBONE_H2_SMALL; c->nacks--)
		c->tx_len +=
			hbone_h2frame_write_head(tail(c), 0, HBONE_H2_SETTINGS, HBONE_H2_ACK, 0);
	put_pings(c);
	put_refusals(c);
	if (c->credit && room(c) >= HBONE_H2_SMALL) {
		c->tx_len += hbone_h2frame_write_u32(tail(c), HBONE_H2_WINDOW_UPDATE, 0, c->credit);
		c->credit = 0;
	}
	put_goaway(c);
}

/* c->lock; there is room for one small frame. */
static void put_stream_ctl(struct hbone_stream *s)
{
	struct hbone_conn *c = s->conn;

	if (s->rst_due) {
		c->tx_len +=
			hbone_h2frame_write_u32(tail(c), HBONE_H2_RST_STREAM, s->id, s->rst_code);
		s->rst_due = false;
		c->nresets -= hbone_conn_is_peers(c, s->id);
		hbone_mib_inc(c->hn, TX_RESETS);
	} else if (s->credit) {
		c->tx_len +=
			hbone_h2frame_write_u32(tail(c), HBONE_H2_WINDOW_UPDATE, s->id, s->credit);
		s->credit = 0;
	}
}

/* Streams that owe a WINDOW_UPDATE or RST_STREAM; a closed one owes no more than the latter. */
static void put_ctl(struct hbone_conn *c)
{
	struct hbone_stream *s;

	while (room(c) >= HBONE_H2_SMALL) {
		spin_lock(&c->lock);
		/* HEADERS that came after put_frames go first. */
		s = list_empty(&c->frames_out) ?
			    list_first_entry_or_null(&c->ctl, struct hbone_stream, ctl_node) :
			    NULL;
		if (s) {
			list_del_init(&s->ctl_node);
			put_stream_ctl(s);
		}
		spin_unlock(&c->lock);
		if (!s)
			return;
		hbone_stream_put(s);
	}
}

/* --- DATA ------------------------------------------------------------------------------------ */

/* What both windows allow; 0 remembers that the stream waits for its own. */
static u32 allowed(struct hbone_stream *s, bool *conn_shut)
{
	struct hbone_conn *c = s->conn;
	u32 n;

	spin_lock(&c->lock);
	n = hbone_h2frame_window_room(c->send_window, s->send_window,
				      min(room(c) - HBONE_H2_HEAD, c->peer.max_frame));
	if (!n && s->send_window <= 0)
		set_bit(HBONE_STREAM_NO_WINDOW, &s->flags);
	*conn_shut = c->send_window <= 0;
	spin_unlock(&c->lock);
	if (!n)
		hbone_mib_inc(c->hn, TX_NO_WINDOW);
	return n;
}

static void put_head(struct hbone_stream *s, u32 n, u8 flags)
{
	struct hbone_conn *c = s->conn;

	hbone_h2frame_write_head(tail(c), n, HBONE_H2_DATA, flags, s->id);
	c->tx_len += HBONE_H2_HEAD + n;
	trace_hbone_tx_data(c->id, s->id, n, flags);
	spin_lock(&c->lock);
	c->send_window -= n;
	s->send_window -= n;
	c->tx_bytes += n;
	s->tx_bytes += n;
	spin_unlock(&c->lock);
	hbone_mib_inc(c->hn, TX_DATA);
	hbone_mib_add(c->hn, TX_BYTES, n);
}

static void tx_done(struct hbone_stream *s, bool lost)
{
	if (lost && !hbone_stream_is(s, HBONE_STREAM_UNHEARD))
		set_bit(HBONE_STREAM_TX_LOST, &s->flags);
	/* Who sees TX_DONE sees TX_LOST. */
	smp_mb__before_atomic();
	set_bit(HBONE_STREAM_TX_DONE, &s->flags);
	hbone_stream_check_done(s);
}

/* @ret: of a read from the application that brought no bytes. */
static void no_bytes(struct hbone_stream *s, int ret)
{
	if (ret == -EAGAIN)
		return;
	if (ret < 0) {
		hbone_stream_close(s, HBONE_REASON_APP_RESET, HBONE_H2_CONNECT_ERROR);
		return;
	}
	put_head(s, 0, HBONE_H2_END_STREAM);
	set_bit(HBONE_STREAM_TX_END, &s->flags);
	refcount_inc(&s->refs);
	put_end(s);
}

/* Whether its socket may go with nothing unread; a connection that is over waits for no reader. */
static bool may_go(struct hbone_stream *s)
{
	return hbone_stream_is(s, HBONE_STREAM_RX_DONE) &&
	       (hbone_sock_heard(&s->app) || test_bit(HBONE_CONN_PEER_CLOSED, &s->conn->flags));
}

/*
 * What the application still says nobody hears. It is read nevertheless, until it ended or has all
 * of what came: TCP resets a socket that is closed with bytes unread, and forgets what is on its
 * way. False: there may be more, for the next buffer, so that others have their turn.
 */
static bool take_unheard(struct hbone_stream *s)
{
	struct hbone_conn *c = s->conn;
	int n = hbone_sock_recv(&s->app, c->tx_buf.page, c->tx_len, room(c));

	if (n > 0) {
		hbone_stream_rd_ready(s);
		return false;
	}
	if (n < 0 && n != -EAGAIN)
		no_bytes(s, n);
	else if (!n || may_go(s))
		tx_done(s, false);
	return true;
}

/* One frame of a stream. False: the connection's window is shut, for all, or see above. */
static bool put_data(struct hbone_stream *s)
{
	struct hbone_conn *c = s->conn;
	bool conn_shut;
	u32 most;
	int n;

	if (!hbone_stream_is(s, HBONE_STREAM_ATTACHED) || hbone_stream_is(s, HBONE_STREAM_CLOSED))
		return true;
	if (hbone_stream_is(s, HBONE_STREAM_TX_END)) {
		if (hbone_stream_is(s, HBONE_STREAM_UNHEARD) &&
		    !hbone_stream_is(s, HBONE_STREAM_TX_DONE))
			return take_unheard(s);
		/* It ended, but can still fail. */
		n = hbone_sock_error(&s->app);
		if (n < 0)
			no_bytes(s, n);
		return true;
	}
	most = allowed(s, &conn_shut);
	if (!most) {
		/* The end needs no window. */
		n = hbone_sock_peek(&s->app);
		if (n <= 0) {
			no_bytes(s, n);
			return true;
		}
		if (conn_shut)
			hbone_stream_rd_again(s);
		return !conn_shut;
	}
	n = hbone_sock_recv(&s->app, c->tx_buf.page, c->tx_len + HBONE_H2_HEAD, most);
	if (n <= 0) {
		no_bytes(s, n);
		return true;
	}
	put_head(s, n, 0);
	/* Less than there was room for: the socket is empty, and tells when it is not. */
	if (n == most || hbone_sock_at_end(&s->app))
		hbone_stream_rd_again(s);
	return true;
}

static bool frames_wait(struct hbone_conn *c)
{
	bool ret;

	spin_lock(&c->lock);
	ret = !list_empty(&c->frames_out);
	spin_unlock(&c->lock);
	return ret;
}

static void put_streams(struct hbone_conn *c)
{
	struct hbone_stream *s;
	bool more = true;

	while (more && (!c->tx_len || room(c) >= TX_LEAST_ROOM)) {
		s = hbone_stream_next_rd(c);
		if (!s)
			return;
		/* Asked after it was ready: by then its HEADERS are queued. */
		more = !frames_wait(c);
		if (more)
			more = put_data(s);
		else
			hbone_stream_rd_again(s);
		hbone_stream_put(s);
	}
}

/* --- sending --------------------------------------------------------------------------------- */

static void fill(struct hbone_conn *c)
{
	c->tx_off = 0;
	c->tx_len = 0;
	put_frames(c);
	/* Nothing may come into a header block. */
	if (c->frame_off)
		return;
	spin_lock(&c->lock);
	put_answers(c);
	spin_unlock(&c->lock);
	put_ctl(c);
	put_streams(c);
}

/* The buffer is gone, to the socket or, @lost, nowhere: so are the ends that were in it. */
static void tell_ends(struct hbone_conn *c, bool lost)
{
	struct hbone_stream *s;

	c->tx_off = c->tx_len;
	while ((s = list_first_entry_or_null(&c->tx_ends, struct hbone_stream, end_node))) {
		list_del_init(&s->end_node);
		tx_done(s, lost);
		/* No sooner: it counts as one that lives up to there. */
		count_end(s, -1);
		hbone_stream_put(s);
	}
}

/* Nothing more is sent: the end of no stream that has not been will be. */
static void lose_ends(struct hbone_conn *c)
{
	struct hbone_stream *s;
	unsigned long id = 0;

	tell_ends(c, true);
	for (; (s = hbone_stream_get_next(c, &id)); id++) {
		if (hbone_stream_is(s, HBONE_STREAM_TX_END) &&
		    !hbone_stream_is(s, HBONE_STREAM_TX_DONE))
			tx_done(s, true);
		hbone_stream_put(s);
	}
}

/* True: all of the buffer is gone. */
static bool flush(struct hbone_conn *c)
{
	int n;

	while (c->tx_off < c->tx_len) {
		if (hbone_conn_used_up(c, true))
			return false;
		n = hbone_sock_send(&c->tls, c->tx_buf.page, c->tx_off, c->tx_len - c->tx_off);
		if (n == -EAGAIN) {
			hbone_mib_inc(c->hn, TX_BLOCKED);
			if (hbone_sock_starved(&c->tls))
				hbone_conn_retry(c);
			return false;
		}
		if (n < 0) {
			/* Nobody hears it; rx_work ends the connection with its last stream. */
			if (test_bit(HBONE_CONN_PEER_CLOSED, &c->flags)) {
				tell_ends(c, true);
				return true;
			}
			/* What came before is still to be read, and rx_work finds the end. */
			if (hbone_sock_ended(&c->tls)) {
				/* Not if rx_work was told why: this is no more than that it did. */
				cmpxchg(&c->failed, 0, n);
				lose_ends(c);
				hbone_conn_kick_rx(c);
				return false;
			}
			hbone_conn_end(c, HBONE_REASON_SOCKET, HBONE_H2_INTERNAL_ERROR, n);
			return false;
		}
		hbone_mib_inc(c->hn, TX_WRITES);
		c->tx_off += n;
	}
	tell_ends(c, false);
	return true;
}

/* Until there is nothing to send or no room for it, or the budget is spent: then true. */
static bool tx_run(struct hbone_conn *c)
{
	int budget = TX_BUDGET;

	while (!hbone_conn_ending(c)) {
		if (!budget--)
			return true;
		hbone_work_look(&c->tx_work);
		if (!flush(c))
			return false;
		fill(c);
		if (!c->tx_len && !hbone_work_again(&c->tx_work))
			return false;
	}
	return false;
}

void hbone_tx_work(struct work_struct *work)
{
	struct hbone_conn *c = container_of(work, struct hbone_conn, tx_work.work);
	struct mem_cgroup *old;

	if (hbone_conn_ending(c))
		return;
	old = set_active_memcg(c->memcg);
	hbone_work_begin(&c->tx_work);
	if (READ_ONCE(c->failed))
		lose_ends(c);
	else if ((c->tx_buf.page || hbone_conn_borrow(c, &c->tx_buf)) && tx_run(c))
		hbone_conn_kick_tx(c);
	if (c->tx_off == c->tx_len)
		hbone_buffer_put(&c->tx_buf);
	hbone_work_end(&c->tx_work);
	set_active_memcg(old);
}

/* All of the buffer: 0, or what the socket says instead. */
static int send_buffer(struct hbone_conn *c)
{
	int n;

	while (c->tx_off < c->tx_len) {
		n = hbone_sock_send(&c->tls, c->tx_buf.page, c->tx_off, c->tx_len - c->tx_off);
		if (n < 0)
			return n;
		hbone_mib_inc(c->hn, TX_WRITES);
		c->tx_off += n;
	}
	return 0;
}

/* But not into the middle of a frame: its rest was not to be sent, since the key is used up. */
static void put_last_goaway(struct hbone_conn *c)
{
	if (c->frame_off)
		return;
	spin_lock(&c->lock);
	c->tx_len += write_goaway(c, tail(c), c->end_code);
	spin_unlock(&c->lock);
}

/* The same for all that waits, GOAWAY behind it, and close_notify. */
static int say_all(struct hbone_conn *c)
{
	int err;

	if (c->said_all)
		return 0;
	if (!c->tx_buf.page && !hbone_buffer_get(&c->tx_buf))
		return -EAGAIN;
	while (!c->said_goaway) {
		err = send_buffer(c);
		if (err)
			return err;
		c->tx_off = 0;
		c->tx_len = 0;
		if (hbone_sock_records(&c->tls, true) < HBONE_CONN_RECORDS)
			fill(c);
		if (c->tx_len)
			continue;
		put_last_goaway(c);
		c->said_goaway = true;
	}
	err = send_buffer(c);
	if (!err)
		err = hbone_sock_close_notify(&c->tls);
	c->said_all = !err;
	return err;
}

int hbone_tx_goodbye(struct hbone_conn *c)
{
	int err = say_all(c);

	if (c->tx_off == c->tx_len)
		hbone_buffer_put(&c->tx_buf);
	if (!err && !hbone_sock_tls_sent(&c->tls))
		err = -EAGAIN;
	return err;
}
