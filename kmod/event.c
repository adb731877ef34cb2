// SPDX-License-Identifier: GPL-2.0
/*
 * Messages to user space. Values are copied under conn->lock first and put into the message
 * without it, so what changes under it is of one moment. A stream's flags do not: each tells that
 * it was set by then. An event is lost when there is no memory for it or a listener's socket is
 * full; the listener hears of either (ENOBUFS) and asks by a dump.
 */
#include <net/genetlink.h>

#include "conn.h"
#include "event.h"
#include "genl.h"
#include "main.h"
#include "mib.h"
#include "stream.h"

static void event_lost(struct hbone_net *hn)
{
	hbone_mib_inc(hn, EVENTS_LOST);
	/* Of the only group. */
	genl_set_err(&hbone_genl_family, hn->net, 0, 0, -ENOBUFS);
}

/* NULL: it is lost, and that was told. */
#define EVENT_SIZE 256 /* the longest, of a stream, takes half of it */

static struct sk_buff *event_new(struct hbone_net *hn, u8 cmd, void **head)
{
	struct sk_buff *skb = genlmsg_new(EVENT_SIZE, GFP_KERNEL);

	if (!skb) {
		event_lost(hn);
		return NULL;
	}
	*head = genlmsg_put(skb, 0, 0, &hbone_genl_family, 0, cmd);
	return skb;
}

static void event_send(struct hbone_net *hn, struct sk_buff *skb, void *head, int err)
{
	if (err) {
		nlmsg_free(skb);
		event_lost(hn);
		return;
	}
	genlmsg_end(skb, head);
	err = genlmsg_multicast_netns(&hbone_genl_family, hn->net, skb, 0, 0, GFP_KERNEL);
	if (err && err != -ESRCH)
		hbone_mib_inc(hn, EVENTS_LOST);
}

void hbone_event_frame_ready(struct hbone_conn *c)
{
	void *head;
	struct sk_buff *skb = event_new(c->hn, HBONE_CMD_FRAME_READY, &head);

	if (skb)
		event_send(c->hn, skb, head, nla_put_u32(skb, HBONE_A_CONN, c->id));
}

void hbone_event_stream_closed(struct hbone_stream *s, enum hbone_reason reason)
{
	struct hbone_conn *c = s->conn;
	void *head;
	struct sk_buff *skb = event_new(c->hn, HBONE_CMD_STREAM_CLOSED, &head);
	int err;

	if (!skb)
		return;
	err = hbone_event_put_stream(skb, s);
	if (!err)
		err = nla_put_u32(skb, HBONE_A_REASON, reason);
	if (!err)
		err = nla_put_u32(skb, HBONE_A_ERROR, READ_ONCE(s->rst_code));
	event_send(c->hn, skb, head, err);
}

void hbone_event_goaway(struct hbone_conn *c, u32 last, u32 code)
{
	void *head;
	struct sk_buff *skb = event_new(c->hn, HBONE_CMD_GOAWAY, &head);

	if (!skb)
		return;
	event_send(c->hn, skb, head,
		   nla_put_u32(skb, HBONE_A_CONN, c->id)	 ?:
			   nla_put_u32(skb, HBONE_A_ERROR, code) ?:
			   nla_put_u32(skb, HBONE_A_LAST_LOCAL, last));
}

void hbone_event_conn_closed(struct hbone_conn *c)
{
	void *head;
	struct sk_buff *skb = event_new(c->hn, HBONE_CMD_CONN_CLOSED, &head);

	if (!skb)
		return;
	event_send(c->hn, skb, head,
		   nla_put_u32(skb, HBONE_A_CONN, c->id)				      ?:
			   nla_put_u32(skb, HBONE_A_REASON, c->end_reason)		      ?:
			   nla_put_u32(skb, HBONE_A_ERROR, c->end_code)			      ?:
			   nla_put_u32(skb, HBONE_A_ERRNO, -c->end_errno)		      ?:
			   nla_put_u64_64bit(skb, HBONE_A_RX_BYTES, c->rx_bytes, HBONE_A_PAD) ?:
			   nla_put_u64_64bit(skb, HBONE_A_TX_BYTES, c->tx_bytes, HBONE_A_PAD));
}

static int put_settings(struct sk_buff *skb, int attr, const struct hbone_settings *set)
{
	struct nlattr *nest = nla_nest_start(skb, attr);

	if (!nest || nla_put_u32(skb, HBONE_SET_INITIAL_WINDOW, set->initial_window) ||
	    nla_put_u32(skb, HBONE_SET_MAX_FRAME, set->max_frame) ||
	    nla_put_u32(skb, HBONE_SET_MAX_STREAMS, set->max_streams))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

struct conn_row {
	struct hbone_settings peer;
	s32 send_window, recv_window;
	u32 last_local, last_peer, owner, streams, frames, backlog, goaway, flags;
	u64 rx_bytes, tx_bytes;
	bool goaway_came;
};

/* conn->lock */
static u32 conn_flags(const struct hbone_conn *c)
{
	u32 flags = 0;

	if (test_bit(HBONE_CONN_SERVER, &c->flags))
		flags |= HBONE_F_SERVER;
	if (test_bit(HBONE_CONN_DRAINING, &c->flags))
		flags |= HBONE_F_DRAINING;
	return flags;
}

static void read_conn(struct hbone_conn *c, struct conn_row *row)
{
	spin_lock(&c->lock);
	row->peer = c->peer;
	row->send_window = c->send_window;
	row->recv_window = c->recv_window;
	row->last_local = c->last_local;
	row->last_peer = c->last_peer;
	row->owner = c->owner;
	row->streams = c->nlocal + c->npeer;
	row->frames = c->nframes_in;
	row->backlog = c->backlog;
	row->goaway = c->goaway_in;
	row->goaway_came = test_bit(HBONE_CONN_GOAWAY_IN, &c->flags);
	row->rx_bytes = c->rx_bytes;
	row->tx_bytes = c->tx_bytes;
	row->flags = conn_flags(c);
	spin_unlock(&c->lock);
}

int hbone_event_put_conn(struct sk_buff *skb, struct hbone_conn *c)
{
	struct conn_row row;

	read_conn(c, &row);
	if (nla_put_u32(skb, HBONE_A_CONN, c->id) || nla_put_u32(skb, HBONE_A_FLAGS, row.flags) ||
	    nla_put_u64_64bit(skb, HBONE_A_COOKIE, c->cookie, HBONE_A_PAD) ||
	    nla_put_u32(skb, HBONE_A_OWNER, row.owner) ||
	    nla_put_s32(skb, HBONE_A_SEND_WINDOW, row.send_window) ||
	    nla_put_s32(skb, HBONE_A_RECV_WINDOW, row.recv_window) ||
	    nla_put_u32(skb, HBONE_A_LAST_LOCAL, row.last_local) ||
	    nla_put_u32(skb, HBONE_A_LAST_PEER, row.last_peer) ||
	    nla_put_u32(skb, HBONE_A_STREAMS, row.streams) ||
	    nla_put_u32(skb, HBONE_A_FRAMES, row.frames) ||
	    nla_put_u32(skb, HBONE_A_BACKLOG, row.backlog) ||
	    nla_put_u64_64bit(skb, HBONE_A_RX_BYTES, row.rx_bytes, HBONE_A_PAD) ||
	    nla_put_u64_64bit(skb, HBONE_A_TX_BYTES, row.tx_bytes, HBONE_A_PAD) ||
	    put_settings(skb, HBONE_A_LOCAL, &c->local) ||
	    put_settings(skb, HBONE_A_PEER, &row.peer))
		return -EMSGSIZE;
	if (row.goaway_came && nla_put_u32(skb, HBONE_A_ERROR, row.goaway))
		return -EMSGSIZE;
	return 0;
}

static u32 stream_flags(const struct hbone_stream *s)
{
	u32 flags = 0;

	if (hbone_stream_is(s, HBONE_STREAM_ATTACHED))
		flags |= HBONE_F_ATTACHED;
	if (hbone_stream_is(s, HBONE_STREAM_RX_END))
		flags |= HBONE_F_RX_END;
	if (hbone_stream_is(s, HBONE_STREAM_TX_END))
		flags |= HBONE_F_TX_END;
	return flags;
}

int hbone_event_put_stream(struct sk_buff *skb, struct hbone_stream *s)
{
	struct hbone_conn *c = s->conn;
	s32 send_window, recv_window;
	u64 rx_bytes, tx_bytes, cookie;
	u32 backlog, flags;

	spin_lock(&c->lock);
	flags = stream_flags(s);
	/* Before the flag is seen attach may be writing it. */
	cookie = flags & HBONE_F_ATTACHED ? s->cookie : 0;
	send_window = s->send_window;
	recv_window = s->recv_window;
	rx_bytes = s->rx_bytes;
	tx_bytes = s->tx_bytes;
	backlog = s->backlog_bytes;
	spin_unlock(&c->lock);
	if (nla_put_u32(skb, HBONE_A_CONN, c->id) || nla_put_u32(skb, HBONE_A_STREAM, s->id) ||
	    nla_put_u32(skb, HBONE_A_FLAGS, flags) ||
	    nla_put_u64_64bit(skb, HBONE_A_COOKIE, cookie, HBONE_A_PAD) ||
	    nla_put_s32(skb, HBONE_A_SEND_WINDOW, send_window) ||
	    nla_put_s32(skb, HBONE_A_RECV_WINDOW, recv_window) ||
	    nla_put_u32(skb, HBONE_A_BACKLOG, backlog) ||
	    nla_put_u64_64bit(skb, HBONE_A_RX_BYTES, rx_bytes, HBONE_A_PAD) ||
	    nla_put_u64_64bit(skb, HBONE_A_TX_BYTES, tx_bytes, HBONE_A_PAD))
		return -EMSGSIZE;
	return 0;
}
