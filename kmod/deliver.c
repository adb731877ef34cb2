// SPDX-License-Identifier: GPL-2.0
/*
 * What came through the tunnel, to its application: all of this is of rx_work alone.
 *
 * An application that does not take its bytes keeps them in its stream's backlog, at most as many
 * as its window allows, and stops nobody else. The connection's window is given back as soon as
 * bytes are read, so that one slow stream does not shut it for the others, but for what is in
 * backlogs beyond HBONE_CONN_BACKLOG. The backlog of a stream that was closed is freed before more
 * is read, however long its RST_STREAM waits. Thus a connection holds at most that and one window.
 */
#include <linux/slab.h>

#include "conn.h"
#include "deliver.h"
#include "mib.h"
#include "stream.h"

/* @n bytes need no room any more: the peer may send as many. @from_backlog: they were in it. */
static void taken(struct hbone_stream *s, u32 n, bool from_backlog)
{
	struct hbone_conn *c = s->conn;
	bool kick;

	spin_lock(&c->lock);
	if (hbone_stream_is(s, HBONE_STREAM_CLOSED)) {
		spin_unlock(&c->lock);
		return;
	}
	if (from_backlog) {
		s->backlog_bytes -= n;
		c->backlog -= n;
	}
	s->taken += n;
	kick = hbone_conn_credit(c);
	if (s->taken >= max(1U, c->local.initial_window / 2) &&
	    !hbone_stream_is(s, HBONE_STREAM_RX_END)) {
		s->recv_window += s->taken;
		s->credit += s->taken;
		s->taken = 0;
		hbone_stream_owe_ctl(s);
		kick = true;
	}
	spin_unlock(&c->lock);
	if (kick)
		hbone_conn_kick_tx(c);
}

void hbone_deliver_none(struct hbone_stream *s, u32 n)
{
	taken(s, n, false);
}

/* RFC 9113, 8.5; who reads CANCEL takes it for the end. */
static void app_failed(struct hbone_stream *s)
{
	hbone_stream_close(s, HBONE_REASON_APP_RESET, HBONE_H2_CONNECT_ERROR);
}

void hbone_deliver_unheard(struct hbone_stream *s)
{
	if (hbone_stream_is(s, HBONE_STREAM_UNHEARD) && hbone_stream_is(s, HBONE_STREAM_ATTACHED))
		hbone_stream_rd_ready(s);
}

void hbone_deliver_end(struct hbone_stream *s)
{
	if (!hbone_stream_is(s, HBONE_STREAM_RX_END))
		return;
	if (hbone_stream_is(s, HBONE_STREAM_ATTACHED) && list_empty(&s->backlog) &&
	    !test_and_set_bit(HBONE_STREAM_RX_DONE, &s->flags)) {
		hbone_sock_shutdown(&s->app);
		hbone_deliver_unheard(s);
	}
	hbone_stream_check_done(s);
}

/* Of @n bytes that are in a chunk as many as there is room for. */
static u32 fill_chunk(struct hbone_chunk *chunk, const u8 *p, u32 n)
{
	u32 at = chunk->off + chunk->len;

	n = min_t(u32, n, HBONE_STREAM_CHUNK_DATA - at);
	memcpy(chunk->data + at, p, n);
	chunk->len += n;
	return n;
}

static struct hbone_chunk *new_chunk(struct hbone_stream *s)
{
	struct hbone_chunk *chunk = kmalloc(HBONE_STREAM_CHUNK, HBONE_CONN_GFP);

	if (!chunk)
		return NULL;
	chunk->off = 0;
	chunk->len = 0;
	list_add_tail(&chunk->node, &s->backlog);
	return chunk;
}

/* What the application does not take now. */
static void keep(struct hbone_stream *s, const u8 *p, u32 n)
{
	struct hbone_conn *c = s->conn;
	struct hbone_chunk *chunk;
	u32 part;

	spin_lock(&c->lock);
	if (!hbone_stream_is(s, HBONE_STREAM_CLOSED)) {
		s->backlog_bytes += n;
		c->backlog += n;
	}
	spin_unlock(&c->lock);
	while (n) {
		chunk = list_empty(&s->backlog) ?
				new_chunk(s) :
				list_last_entry(&s->backlog, struct hbone_chunk, node);
		if (chunk && chunk->off + chunk->len == HBONE_STREAM_CHUNK_DATA)
			chunk = new_chunk(s);
		if (!chunk) {
			hbone_mib_inc(c->hn, NO_MEMORY);
			hbone_stream_close(s, HBONE_REASON_MEMORY, HBONE_H2_INTERNAL_ERROR);
			return;
		}
		part = fill_chunk(chunk, p, n);
		p += part;
		n -= part;
	}
}

/* Bytes that the application took, or negative; a full socket is 0. */
static int give(struct hbone_stream *s, struct kvec *vec, u32 n, u32 len)
{
	int ret = hbone_sock_send_vec(&s->app, vec, n, len);

	if (ret == -EAGAIN)
		ret = 0;
	if (ret >= 0 && ret < len)
		hbone_mib_inc(s->conn->hn, RX_BLOCKED);
	return ret;
}

/* What was gathered, but for its first @done bytes, to the backlog. */
static void keep_rest(struct hbone_gather *g, u32 done)
{
	u32 i, n;

	for (i = 0; i < g->n && !hbone_stream_is(g->s, HBONE_STREAM_CLOSED); i++) {
		n = min_t(u32, done, g->vec[i].iov_len);
		done -= n;
		if (n < g->vec[i].iov_len)
			keep(g->s, g->vec[i].iov_base + n, g->vec[i].iov_len - n);
	}
}

static void give_gathered(struct hbone_gather *g)
{
	struct hbone_stream *s = g->s;
	int ret = 0;

	if (hbone_stream_is(s, HBONE_STREAM_ATTACHED) && list_empty(&s->backlog)) {
		ret = give(s, g->vec, g->n, g->len);
		if (ret < 0) {
			app_failed(s);
			return;
		}
		taken(s, ret, false);
	}
	if (ret == g->len)
		return;
	keep_rest(g, ret);
	/* It has room again, or no memory: drain tells which. */
	if (hbone_stream_is(s, HBONE_STREAM_ATTACHED) && hbone_sock_starved(&s->app))
		hbone_stream_wr_ready(s);
}

/* Before anything else is done about the stream, and before the buffer is used again. */
void hbone_deliver_now(struct hbone_conn *c)
{
	struct hbone_gather *g = &c->gather;

	if (!g->s)
		return;
	if (!hbone_stream_is(g->s, HBONE_STREAM_CLOSED))
		give_gathered(g);
	/* Closed meanwhile, perhaps with these bytes not yet counted. */
	if (hbone_stream_is(g->s, HBONE_STREAM_CLOSED))
		hbone_stream_free_backlog(g->s);
	hbone_stream_put(g->s);
	g->s = NULL;
}

void hbone_deliver_add(struct hbone_stream *s, u8 *p, u32 n)
{
	struct hbone_gather *g = &s->conn->gather;

	if (g->s != s || g->n == HBONE_CONN_PIECES)
		hbone_deliver_now(s->conn);
	if (!g->s) {
		refcount_inc(&s->refs);
		g->s = s;
		g->n = 0;
		g->len = 0;
	}
	g->vec[g->n].iov_base = p;
	g->vec[g->n++].iov_len = n;
	g->len += n;
}

/*
 * The application has room, or there is an application now. False: the system has no memory, and
 * it is for a later try.
 */
static bool drain(struct hbone_stream *s)
{
	struct hbone_chunk *chunk;
	bool starved = false;
	struct kvec vec;
	int ret;

	if (!hbone_stream_is(s, HBONE_STREAM_ATTACHED))
		return true;
	while (!hbone_stream_is(s, HBONE_STREAM_CLOSED)) {
		chunk = list_first_entry_or_null(&s->backlog, struct hbone_chunk, node);
		if (!chunk) {
			hbone_deliver_end(s);
			return true;
		}
		vec.iov_base = chunk->data + chunk->off;
		vec.iov_len = chunk->len;
		ret = give(s, &vec, 1, chunk->len);
		if (ret < 0) {
			app_failed(s);
			return true;
		}
		if (!ret) {
			/* Full: it tells when it is not. */
			if (!hbone_sock_starved(&s->app))
				return true;
			if (starved)
				return false;
			/* It may have been emptied since. */
			starved = true;
			continue;
		}
		starved = false;
		taken(s, ret, true);
		chunk->off += ret;
		chunk->len -= ret;
		if (chunk->len)
			continue;
		list_del(&chunk->node);
		kfree(chunk);
	}
	return true;
}

void hbone_deliver_ready(struct hbone_conn *c)
{
	struct hbone_stream *s;
	bool more = true;

	hbone_stream_free_dropped(c);
	while (more && (s = hbone_stream_next_wr(c))) {
		more = drain(s);
		if (!more) {
			hbone_stream_wr_again(s);
			hbone_conn_retry(c);
		}
		hbone_stream_put(s);
	}
}
