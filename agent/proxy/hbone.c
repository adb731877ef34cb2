// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HBONE connections: their life. States go one way only:
 *
 *   CONNECTING -> HANDSHAKE -> UP -> ENDING -> LINGER -> DEAD
 *
 * What goes wrong below a callback only marks the connection (amb_hbone_fail); it ends at the
 * turn's end, so no function here finds its connection gone under it. Only the owner's abort
 * ends it at once, and even then memory stays until the turn is over: parsers look at the
 * state after each callback, never at freed memory. ENDING: the owner has not been told yet,
 * because streams that are over for HTTP/2 still deliver. LINGER: the owner was told, our
 * last bytes and the peer's race; reading on keeps the kernel from answering with a reset.
 */
#include "hbone.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "conn.h"
#include "creds.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const struct amb_hbone_config amb_hbone_defaults = AMB_HBONE_DEFAULTS;

/* Floods are far above, honest peers far below (nghttp2 and h2 use figures like these). */
static const struct amb_hbone_budget budgets[AMB_ABUSE_MAX] = {
	[AMB_ABUSE_PING] = { 200, 20 },	   [AMB_ABUSE_SETTINGS] = { 50, 5 },
	[AMB_ABUSE_RESET] = { 500, 100 },  [AMB_ABUSE_EMPTY] = { 1000, 100 },
	[AMB_ABUSE_OTHER] = { 2000, 200 }, [AMB_ABUSE_ERROR] = { 500, 50 },
	[AMB_ABUSE_KEYS] = { 32, 2 },
};

#define SECOND 1000000000ull
/* Answers that a peer who does not read may pile up. */
#define BACKLOG_MAX (4 * AMB_HBONE_BACKLOG)

static void end(struct amb_hbone *c, enum amb_reason reason, uint32_t code, const char *text);

/* Failing */

void amb_hbone_later(struct amb_hbone *c)
{
	amb_loop_defer(c->bytes->loop, &c->work);
}

void amb_hbone_fail(struct amb_hbone *c, enum amb_reason reason, uint32_t code, const char *text)
{
	if (c->broken || c->state > AMB_CONN_UP)
		return;
	c->broken = true;
	c->fail_reason = reason;
	c->fail_code = code;
	c->fail_text = text;
	amb_hbone_later(c);
}

static void refill(struct amb_hbone *c)
{
	uint64_t now = amb_loop_now(c->bytes->loop), seconds = (now - c->refilled) / SECOND;
	int i;

	if (!seconds)
		return;
	c->refilled += seconds * SECOND;
	for (i = 0; i < AMB_ABUSE_MAX; i++)
		c->budget[i] = AMB_MIN(c->budget[i] + seconds * budgets[i].per_second,
				       (uint64_t)budgets[i].burst);
}

void amb_hbone_charge(struct amb_hbone *c, enum amb_hbone_abuse kind)
{
	if (!c->budget[kind])
		refill(c);
	if (c->budget[kind] && c->backlog < BACKLOG_MAX) {
		c->budget[kind]--;
		return;
	}
	if (!c->broken && c->state == AMB_CONN_UP)
		AMB_BYTES_COUNT(c->bytes, abuse[kind], 1);
	amb_hbone_fail(c, AMB_REASON_LIMIT, AMB_H2_ENHANCE_YOUR_CALM, "peer floods us");
}

/* Timers: handshake, then ping, at last linger */

void amb_hbone_arm(struct amb_hbone *c, uint64_t ns)
{
	if (amb_loop_timer_set(c->bytes->loop, &c->timer, amb_loop_now(c->bytes->loop) + ns))
		amb_hbone_fail(c, AMB_REASON_MEMORY, AMB_CONN_NO_GOAWAY, "no timer");
}

static void send_ping(struct amb_hbone *c, uint64_t payload)
{
	uint8_t frame[AMB_H2_SMALL_FRAME], bytes[8];

	memcpy(bytes, &payload, sizeof(bytes));
	amb_send_small(c, frame, amb_h2_write_ping(frame, false, bytes));
}

static void send_goaway(struct amb_hbone *c, uint32_t last, uint32_t code)
{
	uint8_t frame[AMB_H2_SMALL_FRAME];

	amb_send_small(c, frame, amb_h2_write_goaway(frame, last, code));
}

static void ping_due(struct amb_hbone *c)
{
	if (!c->pinging) {
		c->pinging = true;
		/* The pong that the last GOAWAY waits for is known by the number as it is. */
		if (!c->goaway_out || c->goaway_last)
			c->ping_id = amb_util_random();
		send_ping(c, c->ping_id);
		amb_hbone_arm(c, c->bytes->config.ping_timeout_ns);
		return;
	}
	AMB_BYTES_COUNT(c->bytes, ping_timeouts, 1);
	amb_hbone_fail(c, AMB_REASON_TIMEOUT, c->server ? AMB_H2_NO_ERROR : AMB_CONN_NO_GOAWAY,
		       "ping timed out");
}

void amb_hbone_pong(struct amb_hbone *c, const uint8_t payload[8])
{
	uint64_t id;

	memcpy(&id, payload, sizeof(id));
	if (c->pinging && id == c->ping_id) {
		c->pinging = false;
		amb_hbone_arm(c, c->bytes->config.ping_interval_ns);
	} else if (c->goaway_out && !c->goaway_last && id == ~c->ping_id) {
		/* What the peer opened before it heard of the first GOAWAY is here now. */
		c->goaway_last = true;
		send_goaway(c, c->last_id, AMB_H2_NO_ERROR);
	} else {
		amb_hbone_charge(c, AMB_ABUSE_OTHER);
	}
}

void amb_hbone_settled(struct amb_hbone *c)
{
	c->settled = true;
	amb_hbone_arm(c, c->bytes->config.ping_interval_ns);
}

static void bury(struct amb_hbone *c);

/* What the module does not do by itself. */
static void kernel_due(struct amb_hbone *c)
{
	if (c->goaway_out && !c->goaway_last) {
		/* What the peer opened before it heard of the first GOAWAY is here by now. */
		c->goaway_last = true;
		amb_kmod_drain(c, true);
		amb_hbone_later(c);
	}
	amb_kmod_look(c);
	amb_hbone_arm(c, c->bytes->config.ping_interval_ns);
}

static void on_timer(struct amb_timer *t)
{
	struct amb_hbone *c = AMB_CONTAINER_OF(t, struct amb_hbone, timer);

	if (c->state == AMB_CONN_LINGER) {
		bury(c);
	} else if (c->kmod == AMB_KMOD_THERE) {
		kernel_due(c);
	} else if (c->state == AMB_CONN_UP && c->settled) {
		ping_due(c);
	} else if (c->state <= AMB_CONN_UP) {
		AMB_BYTES_COUNT(c->bytes, handshake_timeouts, 1);
		amb_hbone_fail(c, AMB_REASON_TIMEOUT, AMB_CONN_NO_GOAWAY, "handshake timed out");
	}
}

/* The end */

static void fini(void *p)
{
	struct amb_hbone *c = p;

	amb_tls_destroy(c->tls);
	amb_wire_uninit(&c->wire);
	if (c->inflater)
		nghttp2_hd_inflate_del(c->inflater);
	if (c->deflater)
		nghttp2_hd_deflate_del(c->deflater);
	amb_h2_uninit(&c->parser);
	amb_identity_put(c->peer.identity);
	amb_tls_certs_destroy(c->peer.certs);
	free(c->held);
	amb_cred_put(c->cred);
	amb_bytes_share_put(c->share);
	free(c->table);
}

static void bury(struct amb_hbone *c)
{
	struct amb_bytes *b = c->bytes;

	if (c->state == AMB_CONN_DEAD)
		return;
	c->state = AMB_CONN_DEAD;
	amb_loop_timer_cancel(b->loop, &c->timer);
	amb_loop_undefer(b->loop, &c->work);
	amb_bytes_unwait(c->share, &c->waiter);
	amb_loop_del(b->loop, &c->io);
	if (c->io.fd >= 0)
		close(c->io.fd);
	amb_send_drop(c);
	amb_bytes_put(b, take_ptr(c->stash));
	*c->pprev = c->next;
	if (c->next)
		c->next->pprev = c->pprev;
	AMB_BYTES_COUNT(b, conns, -1ull);
	amb_bytes_bury(b, &c->grave, fini);
}

/* Sends what is left, says FIN, reads on for a while. */
static void wind_down(struct amb_hbone *c, bool may_read)
{
	if (!c->shut && !c->out_blocked && amb_send_flush(c) != -EAGAIN) {
		c->shut = true;
		shutdown(c->io.fd, SHUT_WR);
	}
	while (may_read && !c->eof && c->linger_read < AMB_HBONE_LINGER_BYTES) {
		uint8_t *area = amb_bytes_scratch(c->bytes);
		ssize_t n = area ? c->wire.rx_ops->recv(&c->wire, area, AMB_BYTES_SCRATCH) : 0;

		if (n == -EAGAIN)
			break;
		if (n <= 0)
			c->eof = true;
		else
			c->linger_read += n;
	}
	if (c->state == AMB_CONN_LINGER &&
	    ((c->shut && c->eof) || c->linger_read >= AMB_HBONE_LINGER_BYTES))
		bury(c);
}

static void tell_closed(struct amb_hbone *c)
{
	bool spoken = c->fail_text != NULL;

	if (c->state != AMB_CONN_ENDING || c->nobjects)
		return;
	c->state = AMB_CONN_LINGER;
	if (c->ops->closed)
		c->ops->closed(c, c->owner, c->fail_reason, spoken ? c->fail_text : NULL);
	amb_hbone_arm(c, AMB_HBONE_LINGER_NS);
	wind_down(c, false);
}

/* Any stream that the end of the connection takes with it. */
static struct amb_stream *victim(const struct amb_hbone *c, bool all)
{
	struct amb_stream *s;

	for (s = c->streams; s; s = s->next) {
		if (all || s->in_table)
			return s;
	}
	return NULL;
}

static void end_streams(struct amb_hbone *c, bool all)
{
	enum amb_reason reason = c->fail_reason ? c->fail_reason : AMB_REASON_RESET;
	struct amb_stream *s;

	while ((s = victim(c, all)))
		amb_stream_finish(s, reason, c->fail_text);
}

static void end(struct amb_hbone *c, enum amb_reason reason, uint32_t code, const char *text)
{
	c->broken = false;
	if (c->kmod == AMB_KMOD_THERE) {
		amb_kmod_end(c, code == AMB_CONN_NO_GOAWAY ? AMB_H2_NO_ERROR : code);
	} else if (c->state == AMB_CONN_UP) {
		if (code != AMB_CONN_NO_GOAWAY)
			send_goaway(c, c->last_id, code);
		/* Sent apart, it also takes along what the kernel has not sent yet. */
		if (!c->eof || c->wire.tx_ops->apart)
			amb_send_alert(c, 0);
	}
	c->fail_reason = reason;
	c->fail_text = text;
	c->state = AMB_CONN_ENDING;
	amb_loop_timer_cancel(c->bytes->loop, &c->timer);
	amb_bytes_put(c->bytes, take_ptr(c->stash));
	end_streams(c, false);
	if (c->state == AMB_CONN_ENDING)
		wind_down(c, false);
	tell_closed(c);
}

void amb_hbone_abort(struct amb_hbone *c, enum amb_reason reason, const char *text)
{
	if (c->state <= AMB_CONN_UP)
		end(c, reason, AMB_H2_NO_ERROR, text);
	if (c->state == AMB_CONN_ENDING) {
		end_streams(c, true);
		tell_closed(c);
	}
}

void amb_hbone_end_all(struct amb_bytes *b)
{
	struct amb_hbone *c;

	while ((c = b->conns)) {
		amb_hbone_abort(c, AMB_REASON_DRAIN, NULL);
		bury(c);
	}
}

void amb_hbone_drain(struct amb_hbone *c)
{
	if (c->state > AMB_CONN_UP || c->draining)
		return;
	c->draining = true;
	if (c->state < AMB_CONN_UP) {
		amb_hbone_fail(c, AMB_REASON_DRAIN, AMB_CONN_NO_GOAWAY, NULL);
		return;
	}
	c->goaway_out = true;
	if (c->kmod == AMB_KMOD_THERE) {
		c->goaway_last = !c->server;
		amb_kmod_drain(c, c->goaway_last);
		amb_hbone_arm(c, SECOND);
		amb_hbone_later(c);
		return;
	}
	if (c->server) {
		send_goaway(c, AMB_H2_STREAM_MAX, AMB_H2_NO_ERROR);
		if (!c->pinging)
			c->ping_id = amb_util_random();
		send_ping(c, ~c->ping_id);
	} else {
		c->goaway_last = true;
		send_goaway(c, 0, AMB_H2_NO_ERROR);
	}
	amb_hbone_later(c);
}

void amb_hbone_peer_closed(struct amb_hbone *c)
{
	c->eof = true;
	if (c->state == AMB_CONN_HANDSHAKE)
		amb_hbone_fail(c, AMB_REASON_TLS, AMB_CONN_NO_GOAWAY,
			       "peer closed the connection during the handshake");
	else if (c->nactive)
		amb_hbone_fail(c, AMB_REASON_RESET, AMB_CONN_NO_GOAWAY,
			       "peer closed the connection");
	else
		amb_hbone_fail(c, AMB_REASON_NONE, AMB_CONN_NO_GOAWAY, NULL);
}

/* One that fails to go over is no worse than before. */
bool amb_hbone_taken(struct amb_hbone *c, int ret)
{
	struct amb_bytes *b = c->bytes;

	if (ret > 0 && amb_wire_tier(&c->wire) == AMB_TIER_KTLS && c->kmod == AMB_KMOD_NO)
		AMB_BYTES_COUNT(b, tiers[AMB_TIER_KTLS], 1);
	if (ret >= 0)
		return ret;
	/* One on its way to the module is counted when it is there, or stays. */
	if (c->kmod == AMB_KMOD_NO)
		AMB_BYTES_COUNT(b, tiers[AMB_TIER_USER], 1);
	/* The inner one of two tunnels has no TCP below; a peer that is gone takes no keys. */
	if (ret == -EOPNOTSUPP || ret == -ENOTCONN)
		return false;
	if (!b->stats.tier_refused)
		amb_warn(TLS, "kernel TLS took no keys (%s), continuing in the agent; counted",
			 strerror(-ret));
	AMB_BYTES_COUNT(b, tier_refused, 1);
	return false;
}

/* Events */

static void connected(struct amb_hbone *c)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &err, &len))
		err = errno;
	if (err) {
		amb_hbone_fail(c, AMB_REASON_CONNECT, AMB_CONN_NO_GOAWAY, strerrordesc_np(err));
		return;
	}
	c->state = AMB_CONN_HANDSHAKE;
	amb_recv_handshake(c, NULL, 0);
}

static void on_event(struct amb_io *io, uint32_t events)
{
	struct amb_hbone *c = AMB_CONTAINER_OF(io, struct amb_hbone, io);

	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->rdhup = true;
	if (events & EPOLLOUT && c->out_blocked) {
		c->out_blocked = false;
		amb_hbone_later(c);
	}
	if (c->state > AMB_CONN_UP) {
		wind_down(c, true);
		return;
	}
	if (c->state == AMB_CONN_CONNECTING)
		connected(c);
	if (c->broken || c->more || c->state == AMB_CONN_CONNECTING)
		return;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		amb_recv_run(c, events & EPOLLIN);
}

static void flush(struct amb_hbone *c)
{
	int err;

	if (c->out_blocked || !c->backlog)
		return;
	err = amb_send_flush(c);
	if (err && err != -EAGAIN)
		amb_hbone_fail(c, AMB_REASON_RESET, AMB_CONN_NO_GOAWAY,
			       "connection was reset by the peer");
}

static bool finished(const struct amb_hbone *c)
{
	return !c->nactive && (c->goaway_in || (c->draining && c->goaway_last));
}

/* The turn's end: everything that was queued for this connection goes out in one call. */
static void on_work(struct amb_work *w)
{
	struct amb_hbone *c = AMB_CONTAINER_OF(w, struct amb_hbone, work);

	if (c->state > AMB_CONN_UP) {
		tell_closed(c);
		return;
	}
	if (c->more && !c->broken)
		amb_recv_run(c, false);
	if (c->state == AMB_CONN_UP && !c->broken) {
		if (c->backlog >= AMB_HBONE_BACKLOG)
			flush(c);
		amb_stream_run_ready(c);
		if (c->retired)
			amb_hbone_drain(c);
	}
	if (!c->broken && c->state <= AMB_CONN_UP)
		flush(c);
	amb_kmod_turn(c);
	if (c->ready && amb_stream_may_send(c))
		amb_hbone_later(c);
	if (c->tell_room && !c->broken && c->state == AMB_CONN_UP) {
		c->tell_room = false;
		if (c->ops->room)
			c->ops->room(c, c->owner);
	}
	if (c->state > AMB_CONN_UP)
		return;
	if (c->broken)
		end(c, c->fail_reason, c->fail_code, c->fail_text);
	else if (c->state == AMB_CONN_UP && finished(c))
		end(c, AMB_REASON_NONE, c->goaway_last ? AMB_CONN_NO_GOAWAY : AMB_H2_NO_ERROR,
		    NULL);
}

static void on_buffers(struct amb_bytes_waiter *w)
{
	struct amb_hbone *c = AMB_CONTAINER_OF(w, struct amb_hbone, waiter);

	c->starved = false;
	amb_hbone_later(c);
}

/* Beginning */

static struct amb_hbone *create(struct amb_bytes *b, int fd, struct amb_cred *cred,
				const struct amb_hbone_ops *ops, void *owner)
{
	struct amb_hbone *c = calloc(1, sizeof(*c));
	int i;

	if (!c)
		return NULL;
	c->io.fd = fd;
	c->io.fn = on_event;
	amb_wire_init(&c->wire, fd);
	c->bytes = b;
	c->share = amb_bytes_share_get(&b->own);
	c->ops = ops;
	c->owner = owner;
	c->work.fn = on_work;
	c->timer.fn = on_timer;
	c->waiter.fn = on_buffers;
	c->cred = amb_cred_get(cred);
	c->send_window = AMB_H2_WINDOW;
	c->peer_window = AMB_H2_WINDOW;
	c->peer_streams = AMB_HBONE_SLOTS;
	c->peer_list = UINT32_MAX;
	c->next_id = 1;
	c->goaway_id = AMB_H2_STREAM_MAX;
	c->ready_tail = &c->ready;
	c->refilled = amb_loop_now(b->loop);
	for (i = 0; i < AMB_ABUSE_MAX; i++)
		c->budget[i] = budgets[i].burst;
	return c;
}

static void enlist(struct amb_hbone *c)
{
	struct amb_bytes *b = c->bytes;

	c->next = b->conns;
	c->pprev = &b->conns;
	if (c->next)
		c->next->pprev = &c->next;
	b->conns = c;
	AMB_BYTES_COUNT(b, conns, 1);
}

static struct amb_hbone *start(struct amb_hbone *c, struct amb_tls *tls)
{
	struct amb_bytes *b = c->bytes;
	int err = tls ? 0 : -errno;

	c->tls = tls;
	if (!err)
		err = amb_loop_timer_set(b->loop, &c->timer,
					 amb_loop_now(b->loop) + b->config.handshake_timeout_ns);
	if (!err)
		err = amb_loop_add(b->loop, &c->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (err) {
		amb_loop_timer_cancel(b->loop, &c->timer);
		close(c->io.fd);
		fini(c);
		free(c);
		errno = -err;
		return NULL;
	}
	enlist(c);
	return c;
}

struct amb_hbone *amb_hbone_client(struct amb_bytes *b, int fd, struct amb_cred *cred,
				   const struct amb_identset *expect,
				   const struct amb_hbone_ops *ops, void *owner)
{
	struct amb_hbone *c = create(b, fd, cred, ops, owner);

	if (!c) {
		close(fd);
		errno = ENOMEM;
		return NULL;
	}
	return start(c, amb_tls_client(cred, expect));
}

struct amb_hbone *amb_hbone_server(struct amb_bytes *b, int fd, struct amb_cred *cred,
				   const struct amb_hbone_ops *ops, void *owner)
{
	struct amb_hbone *c = create(b, fd, cred, ops, owner);

	if (!c) {
		close(fd);
		errno = ENOMEM;
		return NULL;
	}
	c->server = true;
	c->state = AMB_CONN_HANDSHAKE;
	return start(c, amb_tls_server(cred));
}

static const struct amb_hbone_ops nobody;

struct amb_hbone *amb_hbone_adopt(struct amb_bytes *b, bool server, struct amb_identity *peer,
				  uint16_t suite)
{
	struct amb_hbone *c = create(b, -1, NULL, &nobody, NULL);

	if (!c) {
		errno = ENOMEM;
		return NULL;
	}
	c->server = server;
	c->state = AMB_CONN_UP;
	c->settled = c->draining = c->goaway_out = c->goaway_last = true;
	c->peer.identity = amb_identity_get(peer);
	c->peer.suite = suite;
	enlist(c);
	return c;
}

/* Questions */

void amb_hbone_keep(struct amb_hbone *c)
{
	c->keep = true;
}

void amb_hbone_share(struct amb_hbone *c, struct amb_share *s)
{
	amb_bytes_share_put(c->share);
	c->share = amb_bytes_share_get(s);
}

bool amb_hbone_is_up(const struct amb_hbone *c)
{
	return c->state == AMB_CONN_UP;
}

const struct amb_tls_peer *amb_hbone_peer(const struct amb_hbone *c)
{
	return &c->peer;
}

struct amb_hbone_records amb_hbone_records(struct amb_hbone *c)
{
	uint64_t now = amb_loop_now(c->bytes->loop);

	if (c->counted_ns != now) {
		amb_wire_counts(&c->wire, &c->counted[0], &c->counted[1]);
		c->counted_ns = now;
	}
	return (struct amb_hbone_records){
		c->kmod == AMB_KMOD_THERE ? AMB_TIER_KMOD : amb_wire_tier(&c->wire),
		c->counted[0],
		c->counted[1],
	};
}

struct amb_cred *amb_hbone_cred(const struct amb_hbone *c)
{
	return c->cred;
}

unsigned int amb_hbone_streams(const struct amb_hbone *c)
{
	return c->nactive;
}

unsigned int amb_hbone_slots(const struct amb_hbone *c)
{
	if (c->server || c->state != AMB_CONN_UP || c->broken || c->goaway_in || c->draining ||
	    c->retired || c->nactive >= c->peer_streams)
		return 0;
	return c->peer_streams - c->nactive;
}

size_t amb_hbone_memory(const struct amb_hbone *c)
{
	const struct amb_stream *s;
	const struct amb_buf *buf;
	size_t n = sizeof(*c) + c->nobjects * sizeof(struct amb_stream);

	if (c->table)
		n += (c->mask + 1) * sizeof(*c->table);
	for (buf = c->out; buf; buf = buf->next)
		n += buf->cap;
	for (s = c->streams; s; s = s->next)
		n += s->npend;
	return n;
}
