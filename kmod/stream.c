// SPDX-License-Identifier: GPL-2.0
/*
 * Streams.
 *
 * States: begun (no socket: what the peer sends waits in the backlog), attached, and in each
 * direction open, ended, done: the other side's socket took all. Both done, or a reset from
 * anywhere: closed.
 *
 * Lifetime, by reference count:
 *   - the table (conn->streams) holds one, from hbone_stream_create to hbone_stream_close;
 *   - conn->ctl holds one while the stream is on it, also after close, for its RST_STREAM;
 *   - conn->tx_ends holds one while its END_STREAM is in tx_buf;
 *   - conn->dropped holds one, after close, until rx_work has freed the backlog;
 *   - whoever found it by a lookup or on a ready list holds one while he looks at it.
 * The ready lists hold none: close takes the stream off them after CLOSED is set, and what comes
 * after CLOSED puts it on none. The wait-queue entry of the application's socket holds none: it
 * is removed by close, and again, since attach may run beside close, with the last reference,
 * before memory is freed. Lookups are under RCU, so freeing waits for a grace period. The
 * connection outlives its streams: it is freed only when its table, its lists and its work are
 * gone, and who else has a reference to a stream has one to its connection.
 *
 * Locks: conn->lock for windows and counters, conn->ready_lock (irqs off) for the ready lists, and
 * inside the socket's wait-queue lock. Neither is held when a socket is called.
 */
#include <linux/netlink.h>
#include <linux/slab.h>

#include "conn.h"
#include "event.h"
#include "main.h"
#include "mib.h"
#include "stream.h"
#include "trace.h"

/* Idle it is this, its place in the table and its note: for 4 KB all three have room. */
static_assert(sizeof(struct hbone_stream) < 2048);

void hbone_stream_free_backlog(struct hbone_stream *s)
{
	struct hbone_chunk *chunk, *next;

	list_for_each_entry_safe(chunk, next, &s->backlog, node) kfree(chunk);
	INIT_LIST_HEAD(&s->backlog);
}

static bool may_begin(struct hbone_conn *c, u32 id)
{
	if (hbone_conn_is_peers(c, id)) {
		/*
		 * To the peer, and in memory, one lives until its RST_STREAM went; those on tx_ends
		 * need not to the peer. Without an owner nobody would answer; hbone_conn_owner_gone
		 * looks for streams next.
		 */
		if (!c->owner || c->npeer + c->nresets >= c->local.max_streams + c->nends)
			return false;
		c->npeer++;
		return true;
	}
	if (c->nlocal >= c->peer.max_streams)
		return false;
	c->nlocal++;
	return true;
}

static void not_begun(struct hbone_conn *c, u32 id)
{
	if (hbone_conn_is_peers(c, id))
		c->npeer--;
	else
		c->nlocal--;
}

static struct hbone_stream *alloc_stream(struct hbone_conn *c, u32 id)
{
	struct hbone_stream *s = kzalloc(sizeof(*s), HBONE_CONN_GFP);

	if (!s)
		return NULL;
	/* For the table and for the caller. */
	refcount_set(&s->refs, 2);
	s->id = id;
	s->conn = c;
	INIT_LIST_HEAD(&s->rd_node);
	INIT_LIST_HEAD(&s->wr_node);
	INIT_LIST_HEAD(&s->ctl_node);
	INIT_LIST_HEAD(&s->end_node);
	INIT_LIST_HEAD(&s->backlog);
	s->recv_window = c->local.initial_window;
	return s;
}

struct hbone_stream *hbone_stream_create(struct hbone_conn *c, u32 id)
{
	struct hbone_stream *s;
	int err;

	/* rx_work begins what is beyond last_peer, requests the rest, one at a time. */
	if (xa_load(&c->streams, id))
		return ERR_PTR(-EEXIST);
	s = alloc_stream(c, id);
	if (!s)
		return ERR_PTR(-ENOMEM);
	/* A place first: it is filled under the lock, where SETTINGS change all in the table. */
	err = xa_reserve(&c->streams, id, HBONE_CONN_GFP);
	if (err)
		goto err_free;
	spin_lock(&c->lock);
	err = -ENOSPC;
	if (!may_begin(c, id))
		goto err_unlock;
	s->send_window = c->peer.initial_window;
	err = xa_err(xa_store(&c->streams, id, s, GFP_ATOMIC));
	if (err) {
		not_begun(c, id);
		goto err_unlock;
	}
	spin_unlock(&c->lock);
	hbone_mib_inc(c->hn, STREAMS_CREATED);
	/* In the table before we look; hbone_conn_end and rx_work set first and look then. */
	smp_mb();
	/* It may have come after hbone_conn_end took all out of the table. */
	if (hbone_conn_ending(c)) {
		hbone_stream_close(s, HBONE_REASON_CONN, HBONE_STREAM_NO_RST);
		hbone_stream_put(s);
		return ERR_PTR(-ESHUTDOWN);
	}
	return s;

err_unlock:
	spin_unlock(&c->lock);
	xa_release(&c->streams, id);
err_free:
	kfree(s);
	return ERR_PTR(err);
}

struct hbone_stream *hbone_stream_get(struct hbone_conn *c, u32 id)
{
	struct hbone_stream *s;

	rcu_read_lock();
	s = xa_load(&c->streams, id);
	if (s && !refcount_inc_not_zero(&s->refs))
		s = NULL;
	rcu_read_unlock();
	return s;
}

struct hbone_stream *hbone_stream_get_next(struct hbone_conn *c, unsigned long *id)
{
	struct hbone_stream *s;

	rcu_read_lock();
	s = xa_find(&c->streams, id, ULONG_MAX, XA_PRESENT);
	while (s && !refcount_inc_not_zero(&s->refs))
		s = xa_find_after(&c->streams, id, ULONG_MAX, XA_PRESENT);
	rcu_read_unlock();
	return s;
}

void hbone_stream_put(struct hbone_stream *s)
{
	if (!refcount_dec_and_test(&s->refs))
		return;
	hbone_sock_uninit(&s->app);
	hbone_stream_free_backlog(s);
	kfree(s->note);
	hbone_mib_inc(s->conn->hn, STREAMS_DESTROYED);
	kfree_rcu(s, rcu);
}

/* In any context, with the socket's wait queue locked. */
static void app_wake(struct hbone_sock *hs, __poll_t events)
{
	struct hbone_stream *s = container_of(hs, struct hbone_stream, app);

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))
		hbone_stream_rd_ready(s);
	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		hbone_stream_wr_ready(s);
}

int hbone_stream_attach(struct hbone_stream *s, const struct hbone_stream_params *params,
			struct netlink_ext_ack *extack)
{
	void *note = NULL;
	int err;

	/* Requests come one at a time (generic netlink's mutex), so nobody attaches beside us. */
	if (hbone_stream_is(s, HBONE_STREAM_ATTACHED)) {
		NL_SET_ERR_MSG(extack, "the stream has a socket");
		return -EALREADY;
	}
	if (params->note_len) {
		note = kmemdup(params->note, params->note_len, GFP_KERNEL_ACCOUNT);
		if (!note)
			return -ENOMEM;
	}
	err = hbone_sock_init(&s->app, params->fd, false, extack);
	if (err) {
		kfree(note);
		return err;
	}
	s->cookie = params->cookie;
	s->note = note;
	s->note_len = params->note_len;
	/* Who sees the flag reads them: rx_work app, dumps the note. */
	smp_mb__before_atomic();
	set_bit(HBONE_STREAM_ATTACHED, &s->flags);
	hbone_sock_watch(&s->app, app_wake);
	/* What came before nobody told us. */
	hbone_stream_rd_ready(s);
	hbone_stream_wr_ready(s);
	return 0;
}

static void leave_ready(struct hbone_stream *s)
{
	struct hbone_conn *c = s->conn;
	unsigned long flags;

	spin_lock_irqsave(&c->ready_lock, flags);
	list_del_init(&s->rd_node);
	list_del_init(&s->wr_node);
	spin_unlock_irqrestore(&c->ready_lock, flags);
}

/* rx_work frees it, which may be about to look at it, before it reads more. wr_node is free now. */
static void drop_backlog(struct hbone_stream *s)
{
	struct hbone_conn *c = s->conn;
	unsigned long flags;

	refcount_inc(&s->refs);
	spin_lock_irqsave(&c->ready_lock, flags);
	list_add_tail(&s->wr_node, &c->dropped);
	spin_unlock_irqrestore(&c->ready_lock, flags);
	hbone_conn_kick_rx(c);
}

/* Its backlog is nobody's any more; what it took of the connection's window is free. */
static void leave_table(struct hbone_stream *s, u32 code)
{
	struct hbone_conn *c = s->conn;
	bool kept;

	xa_erase(&c->streams, s->id);
	spin_lock(&c->lock);
	not_begun(c, s->id);
	kept = s->backlog_bytes;
	c->backlog -= s->backlog_bytes;
	s->backlog_bytes = 0;
	s->credit = 0;
	hbone_conn_credit(c);
	if (code != HBONE_STREAM_NO_RST) {
		s->rst_due = true;
		c->nresets += hbone_conn_is_peers(c, s->id);
		hbone_stream_owe_ctl(s);
	}
	spin_unlock(&c->lock);
	if (kept)
		drop_backlog(s);
	hbone_conn_kick_tx(c);
	/* It may have been the last that kept the connection. */
	if (test_bit(HBONE_CONN_PEER_CLOSED, &c->flags))
		hbone_conn_kick_rx(c);
}

void hbone_stream_close(struct hbone_stream *s, enum hbone_reason reason, u32 code)
{
	struct hbone_conn *c = s->conn;

	if (test_and_set_bit(HBONE_STREAM_CLOSED, &s->flags))
		return;
	/* For the peer it is closed: nothing may follow (RFC 9113, 5.1), and it would charge us. */
	if (hbone_stream_is(s, HBONE_STREAM_RX_END) && hbone_stream_is(s, HBONE_STREAM_TX_END))
		code = HBONE_STREAM_NO_RST;
	if (hbone_stream_is(s, HBONE_STREAM_ATTACHED)) {
		hbone_sock_unwatch(&s->app);
		if (reason != HBONE_REASON_DONE)
			hbone_sock_abort(&s->app);
	}
	leave_ready(s);
	trace_hbone_stream_close(c->id, s->id, reason, code);
	if (code != HBONE_STREAM_NO_RST) {
		spin_lock(&c->lock);
		s->rst_code = code;
		spin_unlock(&c->lock);
	}
	/* Before the number can be seen to be free. */
	hbone_event_stream_closed(s, reason);
	leave_table(s, code);
	hbone_stream_put(s);
}

u32 hbone_stream_orphan_code(const struct hbone_stream *s)
{
	if (!hbone_conn_is_peers(s->conn, s->id))
		return HBONE_H2_CANCEL;
	if (hbone_stream_is(s, HBONE_STREAM_TX_END))
		return HBONE_H2_NO_ERROR;
	/* To the peer it is a connection, which breaks. */
	if (hbone_stream_is(s, HBONE_STREAM_TX_BEGUN))
		return HBONE_H2_CONNECT_ERROR;
	/*
	 * That it may be tried again is true of what nobody has begun (RFC 9113, 8.7); who took its
	 * headers may have dialled.
	 */
	return hbone_stream_is(s, HBONE_STREAM_TOLD) ? HBONE_H2_INTERNAL_ERROR :
						       HBONE_H2_REFUSED_STREAM;
}

void hbone_stream_check_done(struct hbone_stream *s)
{
	bool rx_done;

	/* rx_work and tx_work each set one flag and look at the other's: one of them sees both. */
	smp_mb();
	rx_done = hbone_stream_is(s, HBONE_STREAM_RX_DONE);
	/* Without an application what came is for nobody, unless there is one to be. */
	if (!hbone_stream_is(s, HBONE_STREAM_ATTACHED))
		rx_done = hbone_stream_is(s, HBONE_STREAM_RX_END) &&
			  !hbone_stream_is(s, HBONE_STREAM_ANSWERED);
	if (!rx_done || !hbone_stream_is(s, HBONE_STREAM_TX_DONE))
		return;
	hbone_stream_close(
		s, hbone_stream_is(s, HBONE_STREAM_TX_LOST) ? HBONE_REASON_CONN : HBONE_REASON_DONE,
		HBONE_STREAM_NO_RST);
}

/* True: it was put there. */
static bool make_ready(struct hbone_stream *s, struct list_head *node, struct list_head *list)
{
	struct hbone_conn *c = s->conn;
	unsigned long flags;
	bool added = false;

	spin_lock_irqsave(&c->ready_lock, flags);
	if (list_empty(node) && !hbone_stream_is(s, HBONE_STREAM_CLOSED)) {
		list_add_tail(node, list);
		added = true;
	}
	spin_unlock_irqrestore(&c->ready_lock, flags);
	return added;
}

void hbone_stream_rd_ready(struct hbone_stream *s)
{
	if (make_ready(s, &s->rd_node, &s->conn->rd_ready))
		hbone_conn_kick_tx(s->conn);
}

void hbone_stream_rd_again(struct hbone_stream *s)
{
	make_ready(s, &s->rd_node, &s->conn->rd_ready);
}

void hbone_stream_wr_again(struct hbone_stream *s)
{
	make_ready(s, &s->wr_node, &s->conn->wr_ready);
}

void hbone_stream_wr_ready(struct hbone_stream *s)
{
	if (make_ready(s, &s->wr_node, &s->conn->wr_ready))
		hbone_conn_kick_rx(s->conn);
}

struct hbone_stream *hbone_stream_next_rd(struct hbone_conn *c)
{
	struct hbone_stream *s;
	unsigned long flags;

	spin_lock_irqsave(&c->ready_lock, flags);
	s = list_first_entry_or_null(&c->rd_ready, struct hbone_stream, rd_node);
	if (s) {
		list_del_init(&s->rd_node);
		/* The table's, or that of who is about to close it. */
		refcount_inc(&s->refs);
	}
	spin_unlock_irqrestore(&c->ready_lock, flags);
	return s;
}

/*
 * This and the next are asked for each record. Who puts one there kicks rx_work behind it, but
 * rx_work itself: so none is missed without the lock.
 */
struct hbone_stream *hbone_stream_next_wr(struct hbone_conn *c)
{
	struct hbone_stream *s;
	unsigned long flags;

	if (list_empty(&c->wr_ready))
		return NULL;
	spin_lock_irqsave(&c->ready_lock, flags);
	s = list_first_entry_or_null(&c->wr_ready, struct hbone_stream, wr_node);
	if (s) {
		list_del_init(&s->wr_node);
		refcount_inc(&s->refs);
	}
	spin_unlock_irqrestore(&c->ready_lock, flags);
	return s;
}

static struct hbone_stream *next_dropped(struct hbone_conn *c)
{
	struct hbone_stream *s;
	unsigned long flags;

	if (list_empty(&c->dropped))
		return NULL;
	spin_lock_irqsave(&c->ready_lock, flags);
	s = list_first_entry_or_null(&c->dropped, struct hbone_stream, wr_node);
	if (s)
		list_del_init(&s->wr_node);
	spin_unlock_irqrestore(&c->ready_lock, flags);
	return s;
}

void hbone_stream_free_dropped(struct hbone_conn *c)
{
	struct hbone_stream *s;

	while ((s = next_dropped(c))) {
		hbone_stream_free_backlog(s);
		hbone_stream_put(s);
	}
}

void hbone_stream_owe_ctl(struct hbone_stream *s)
{
	if (!list_empty(&s->ctl_node))
		return;
	list_add_tail(&s->ctl_node, &s->conn->ctl);
	refcount_inc(&s->refs);
}
