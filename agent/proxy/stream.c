// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A stream and its application socket. Each direction ends on its own: END_STREAM becomes
 * shutdown(SHUT_WR) once everything before it was written, FIN becomes END_STREAM. A stream
 * is alive for HTTP/2 (in_table) until both ends were said or it was reset; the object lives
 * on until the application took what came. It is freed at the turn's end, so that lists being
 * walked and callbacks that abort anything find valid memory with dead set.
 */
#include "hbone.h"

#include "base/util.h"
#include "conn.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define TABLE_MIN 8
#define TABLE_MAX 256
#define IOVS 64
#define EVICT_MIN (64 << 10) /* who holds less is not worth a reset */
#define EVICT_TRIES 4

static void leave_ready(struct amb_stream *s);

/* The table of a connection */

static struct amb_stream **bucket(const struct amb_hbone *c, uint32_t id)
{
	return &c->table[(id >> 1) & c->mask];
}

static int grow(struct amb_hbone *c)
{
	uint32_t n = c->table ? (c->mask + 1) * 2 : TABLE_MIN;
	struct amb_stream **table, *s;

	if (c->table && (c->nactive <= c->mask || n > TABLE_MAX))
		return 0;
	table = calloc(n, sizeof(*table));
	if (!table)
		return c->table ? 0 : -ENOMEM;
	free(c->table);
	c->table = table;
	c->mask = n - 1;
	for (s = c->streams; s; s = s->next) {
		if (!s->in_table)
			continue;
		s->hnext = *bucket(c, s->id);
		*bucket(c, s->id) = s;
	}
	return 0;
}

struct amb_stream *amb_stream_find(const struct amb_hbone *c, uint32_t id)
{
	struct amb_stream *s = c->table ? *bucket(c, id) : NULL;

	while (s && s->id != id)
		s = s->hnext;
	return s;
}

static void leave_table(struct amb_stream *s)
{
	struct amb_hbone *c = s->c;
	struct amb_stream **p;

	if (!s->in_table)
		return;
	for (p = bucket(c, s->id); *p != s; p = &(*p)->hnext)
		;
	*p = s->hnext;
	s->in_table = false;
	c->nactive--;
	if (!s->fin_rx && s->recv_window > 0)
		c->late += s->recv_window;
	if (c->cur == s)
		c->cur = NULL;
	leave_ready(s);
	c->tell_room = true;
	amb_hbone_later(c);
}

struct amb_stream *amb_stream_new(struct amb_hbone *c, uint32_t id)
{
	struct amb_stream *s;

	if (grow(c))
		return NULL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->io.fd = -1;
	s->c = c;
	s->id = id;
	s->send_window = c->peer_window;
	s->recv_window = c->bytes->config.stream_window;
	s->ask = AMB_BYTES_FRAME;
	s->slice_head = s->slice_tail = -1;
	s->next = c->streams;
	s->pprev = &c->streams;
	if (s->next)
		s->next->pprev = &s->next;
	c->streams = s;
	s->hnext = *bucket(c, id);
	*bucket(c, id) = s;
	s->in_table = true;
	c->nactive++;
	c->nobjects++;
	AMB_BYTES_COUNT(c->bytes, streams, 1);
	return s;
}

/* The end */

static void close_app(struct amb_stream *s, bool reset)
{
	struct linger now = { .l_onoff = 1 };

	if (s->io.fd < 0)
		return;
	if (reset)
		setsockopt(s->io.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	amb_loop_del(s->c->bytes->loop, &s->io);
	close(s->io.fd);
	s->io.fd = -1;
}

void amb_stream_finish(struct amb_stream *s, enum amb_reason reason, const char *text)
{
	struct amb_hbone *c = s->c;

	if (s->dead)
		return;
	s->dead = true;
	leave_table(s);
	close_app(s, reason != AMB_REASON_NONE);
	amb_bytes_put_chain(c->bytes, s->pend);
	s->pend = s->pend_tail = NULL;
	amb_send_conn_credit(c, s->npend - s->prepaid);
	*s->pprev = s->next;
	if (s->next)
		s->next->pprev = s->pprev;
	c->nobjects--;
	AMB_BYTES_COUNT(c->bytes, streams, -1ull);
	if (s->ops && s->ops->closed)
		s->ops->closed(s, s->owner, reason, text);
	amb_bytes_bury(c->bytes, &s->grave, NULL);
	amb_hbone_later(c);
}

static void abort_with(struct amb_stream *s, uint32_t code, enum amb_reason reason,
		       const char *text)
{
	if (s->dead)
		return;
	if (s->c->kmod == AMB_KMOD_THERE)
		amb_kmod_count(s);
	if (s->in_table)
		amb_send_rst(s->c, s->id, code);
	amb_stream_finish(s, reason, text);
}

void amb_stream_abort(struct amb_stream *s, uint32_t code, enum amb_reason reason)
{
	abort_with(s, code, reason, NULL);
}

void amb_stream_error(struct amb_stream *s, uint32_t code)
{
	abort_with(s, code, AMB_REASON_H2, amb_h2_error_text(code));
}

/*
 * A TCP error of the application, RFC 9113 8.5; a reset on one side is one on the other. ztunnel
 * says CANCEL, but reads that as the end, and this as an error (reference 4.8).
 */
static void app_failed(struct amb_stream *s, int err)
{
	abort_with(s, AMB_H2_CONNECT_ERROR, AMB_REASON_RESET, strerrordesc_np(err));
}

/* Looks whether a direction, or all, is over. */
static void check_ends(struct amb_stream *s)
{
	if (s->dead)
		return;
	if (s->fin_rx && s->fin_tx)
		leave_table(s);
	if (!s->fin_rx || !s->open || s->npend || s->slice_head >= 0)
		return;
	/* Where its own end was read before, close() says FIN as well. */
	if (!s->shut && (!s->fin_tx || s->peer_gone)) {
		s->shut = true;
		shutdown(s->io.fd, SHUT_WR);
	}
	if (s->fin_tx)
		amb_stream_finish(s, AMB_REASON_NONE, NULL);
}

/* Tunnel to application */

static void delivered(struct amb_stream *s, uint32_t n, uint32_t prepaid)
{
	s->to_app += n;
	amb_send_conn_credit(s->c, n - prepaid);
	amb_send_stream_credit(s, n);
}

/*
 * @all: nothing else waits. Where nothing else comes either, check_ends() follows with a FIN, and
 * MSG_MORE has it leave with the bytes: one segment and one wake-up of the application, not two.
 */
static ssize_t write_app(struct amb_stream *s, struct iovec *iov, int n, size_t want, bool all)
{
	int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (all && s->fin_rx ? MSG_MORE : 0);
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t r;

	r = n == 1 ? send(s->io.fd, iov->iov_base, want, flags) : sendmsg(s->io.fd, &m, flags);
	if (r < 0 && errno != EAGAIN) {
		app_failed(s, errno);
		return -1;
	}
	r = r < 0 ? 0 : r;
	s->out_blocked = (size_t)r < want;
	return r;
}

/* Writes what waits; a stream's bytes never pass those before them. */
static void flush_pend(struct amb_stream *s)
{
	struct amb_bytes *b = s->c->bytes;

	while (s->npend && !s->out_blocked) {
		struct iovec iov[IOVS];
		struct amb_buf *buf;
		size_t want = 0;
		uint32_t prepaid;
		ssize_t r;
		int n = 0;

		for (buf = s->pend; buf && n < IOVS; buf = buf->next) {
			iov[n].iov_base = buf->d + buf->r;
			iov[n++].iov_len = buf->w - buf->r;
			want += buf->w - buf->r;
		}
		r = write_app(s, iov, n, want, want == s->npend && s->slice_head < 0);
		if (r < 0)
			return;
		prepaid = AMB_MIN(s->prepaid, (uint32_t)r);
		s->prepaid -= prepaid;
		s->npend -= r;
		delivered(s, r, prepaid);
		while (r) {
			uint32_t k;

			buf = s->pend;
			k = AMB_MIN((uint32_t)r, buf->w - buf->r);
			buf->r += k;
			r -= k;
			if (buf->r < buf->w)
				break;
			s->pend = buf->next;
			if (!s->pend)
				s->pend_tail = NULL;
			amb_bytes_put(b, buf);
		}
	}
	check_ends(s);
}

static bool fuller(const struct amb_stream *s, const struct amb_stream *than)
{
	uint64_t a = s->c->share->used, b = than->c->share->used;

	return a != b ? a > b : s->npend > than->npend;
}

/*
 * Memory is full of bytes whose applications do not read. Of the pod with most, which @own may be,
 * the one with most goes, so that the others live. False when there is none.
 */
static bool evict(struct amb_share *own)
{
	struct amb_bytes *b = own->bytes;
	struct amb_stream *s, *most = NULL;
	struct amb_hbone *c;

	for (c = b->conns; c; c = c->next) {
		for (s = c->streams; s && c->share->used >= own->used; s = s->next) {
			if (s->npend >= EVICT_MIN && (!most || fuller(s, most)))
				most = s;
		}
	}
	if (!most)
		return false;
	AMB_BYTES_COUNT(b, evicted, 1);
	abort_with(most, AMB_H2_ENHANCE_YOUR_CALM, AMB_REASON_LIMIT,
		   "application does not read and memory is full");
	return true;
}

static void keep(struct amb_stream *s, const uint8_t *p, uint32_t n)
{
	struct amb_share *share = s->c->share;
	int tries;

	for (tries = 0; tries < EVICT_TRIES && !s->dead; tries++) {
		if (!amb_bytes_keep(share, &s->pend, &s->pend_tail, p, n, AMB_BYTES_DATA)) {
			s->npend += n;
			/*
			 * While memory is plenty, one who does not read fills its own window
			 * only, not the one that all streams share.
			 */
			if (amb_bytes_has(share, 0, AMB_BYTES_NICE)) {
				s->prepaid += n;
				amb_send_conn_credit(s->c, n);
			}
			return;
		}
		if (!evict(share))
			break;
	}
	amb_send_conn_credit(s->c, n);
	abort_with(s, AMB_H2_ENHANCE_YOUR_CALM, AMB_REASON_MEMORY, "no buffer for received bytes");
}

static int16_t slice_iov(const struct amb_bytes *b, int16_t at, struct iovec *iov, int *n,
			 size_t *want)
{
	*n = 0;
	*want = 0;
	for (; at >= 0 && *n < IOVS; at = b->slice[at].next) {
		iov[*n].iov_base = b->slice[at].p;
		iov[(*n)++].iov_len = b->slice[at].n;
		*want += b->slice[at].n;
	}
	return at;
}

/* Returns the first slice that is left, its front cut. */
static int16_t write_slices(struct amb_stream *s, int16_t at)
{
	struct amb_bytes *b = s->c->bytes;

	while (at >= 0 && !s->out_blocked && !s->npend) {
		struct iovec iov[IOVS];
		size_t want;
		int16_t rest;
		ssize_t r;
		int n;

		rest = slice_iov(b, at, iov, &n, &want);
		r = write_app(s, iov, n, want, rest < 0);
		if (r < 0)
			return at;
		delivered(s, r, 0);
		if ((size_t)r == want) {
			at = rest;
			continue;
		}
		for (; (size_t)r >= b->slice[at].n; at = b->slice[at].next)
			r -= b->slice[at].n;
		b->slice[at].p += r;
		b->slice[at].n -= r;
	}
	return at;
}

static void flush_slices(struct amb_stream *s)
{
	struct amb_bytes *b = s->c->bytes;
	int16_t at = s->slice_head;

	s->dirty = false;
	s->slice_head = s->slice_tail = -1;
	if (s->open && !s->dead)
		at = write_slices(s, at);
	for (; at >= 0; at = b->slice[at].next) {
		if (s->dead)
			amb_send_conn_credit(s->c, b->slice[at].n);
		else
			keep(s, b->slice[at].p, b->slice[at].n);
	}
	check_ends(s);
}

void amb_stream_flush_all(struct amb_bytes *b)
{
	struct amb_stream *s;

	/* Applications that are ended on the way stay on the list, dead. */
	while ((s = b->dirty)) {
		b->dirty = s->dnext;
		flush_slices(s);
	}
	b->nslice = 0;
}

static void make_dirty(struct amb_stream *s)
{
	struct amb_bytes *b = s->c->bytes;

	if (s->dirty)
		return;
	s->dirty = true;
	s->dnext = b->dirty;
	b->dirty = s;
}

void amb_stream_deliver(struct amb_stream *s, uint8_t *p, uint32_t n)
{
	struct amb_bytes *b = s->c->bytes;
	struct amb_slice *slice;
	int16_t at;

	if (b->nslice == AMB_BYTES_SLICES) {
		amb_stream_flush_all(b);
		if (s->dead) {
			amb_send_conn_credit(s->c, n);
			return;
		}
	}
	at = b->nslice++;
	slice = &b->slice[at];
	slice->p = p;
	slice->n = n;
	slice->next = -1;
	if (s->slice_head < 0)
		s->slice_head = at;
	else
		b->slice[s->slice_tail].next = at;
	s->slice_tail = at;
	make_dirty(s);
}

void amb_stream_deliver_end(struct amb_stream *s)
{
	s->fin_rx = true;
	make_dirty(s);
}

void amb_stream_peer_reset(struct amb_stream *s, uint32_t code)
{
	s->recv_window = 0; /* nothing comes after it */
	leave_table(s);
	if (s->open && (code == AMB_H2_NO_ERROR || code == AMB_H2_CANCEL)) {
		/* The end of what it sends (reference 4.8); what we send it does not want. */
		s->peer_gone = s->fin_rx = s->fin_tx = true;
		make_dirty(s);
		return;
	}
	amb_stream_finish(s, code == AMB_H2_REFUSED_STREAM ? AMB_REASON_H2 : AMB_REASON_RESET,
			  amb_h2_error_text(code));
}

/* Application to tunnel */

bool amb_stream_may_send(const struct amb_hbone *c)
{
	return c->state == AMB_CONN_UP && c->kmod != AMB_KMOD_THERE && !c->broken && !c->starved &&
	       c->send_window > 0 && c->backlog < AMB_HBONE_BACKLOG;
}

static void enter_ready(struct amb_stream *s)
{
	struct amb_hbone *c = s->c;

	if (s->in_ready)
		return;
	s->in_ready = true;
	s->rnext = NULL;
	*c->ready_tail = s;
	c->ready_tail = &s->rnext;
	c->nready++;
	amb_hbone_later(c);
}

static void leave_ready(struct amb_stream *s)
{
	struct amb_hbone *c = s->c;
	struct amb_stream **p;

	if (!s->in_ready)
		return;
	for (p = &c->ready; *p != s; p = &(*p)->rnext)
		;
	*p = s->rnext;
	if (!*p)
		c->ready_tail = p;
	s->in_ready = false;
	c->nready--;
}

/* A read that was filled asks for more next time, one hardly used for less. */
static void adapt(struct amb_stream *s, long got, uint32_t want)
{
	if (got == (long)s->ask && s->ask < AMB_BYTES_READ)
		s->ask = AMB_MIN(s->ask * 4, (uint32_t)AMB_BYTES_READ);
	else if (got < (long)want && s->ask > AMB_BYTES_FRAME && got < (long)s->ask / 4)
		s->ask /= 2;
}

/* How many bytes of the application may go now: before the answer few, or none. */
static uint32_t allowance(const struct amb_stream *s)
{
	if (!s->readable || s->fin_tx)
		return 0;
	return s->open ? AMB_STREAM_SHARE : s->early;
}

static void pull(struct amb_stream *s)
{
	uint32_t share = AMB_STREAM_SHARE, most;
	struct amb_hbone *c = s->c;

	while ((most = allowance(s))) {
		uint32_t want = 0, max;
		long n;

		if (s->send_window <= 0)
			return; /* WINDOW_UPDATE kicks it */
		if (!share || !amb_stream_may_send(c)) {
			enter_ready(s);
			return;
		}
		max = AMB_MIN(AMB_MIN(s->send_window, c->send_window),
			      (int64_t)AMB_MIN(AMB_MIN(s->ask, most), share));
		n = amb_send_read(s, max, &want);
		if (n == -ENOBUFS) {
			c->starved = true;
			amb_bytes_wait(c->share, &c->waiter);
			enter_ready(s);
			return;
		}
		if (n == -EAGAIN) {
			s->readable = false;
		} else if (n < 0) {
			app_failed(s, -n);
			return;
		} else if (!n && !s->open) {
			s->early = 0; /* the end is read again, and said, after the answer */
		} else if (!n) {
			s->readable = false;
			amb_send_fin(s);
			check_ends(s);
		} else {
			share -= n;
			if (!s->open)
				s->early -= n;
			adapt(s, n, want);
			/* Less than asked: drained. But a FIN seen must be read to its end. */
			if (n < (long)want && !s->rdhup)
				s->readable = false;
		}
	}
}

void amb_stream_kick(struct amb_stream *s)
{
	if (allowance(s) && s->in_table && s->send_window > 0)
		enter_ready(s);
}

void amb_stream_run_ready(struct amb_hbone *c)
{
	uint32_t n = c->nready;

	while (n-- && c->ready && amb_stream_may_send(c)) {
		struct amb_stream *s = c->ready;

		leave_ready(s);
		pull(s);
	}
}

static void on_event(struct amb_io *io, uint32_t events)
{
	struct amb_stream *s = AMB_CONTAINER_OF(io, struct amb_stream, io);

	if (events & EPOLLERR) {
		socklen_t len = sizeof(int);
		int err = 0;

		if (!getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &err, &len) && err) {
			app_failed(s, err);
			return;
		}
	}
	if (events & EPOLLOUT && s->out_blocked) {
		s->out_blocked = false;
		flush_pend(s);
		if (s->dead)
			return;
	}
	if (events & (EPOLLRDHUP | EPOLLHUP))
		s->rdhup = true;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) {
		s->readable = true;
		/* One that waits its turn goes on waiting. */
		if (!s->in_ready)
			pull(s);
	}
}

static int watch(struct amb_stream *s, int fd)
{
	int err;

	s->io.fn = on_event;
	s->io.fd = fd;
	err = amb_loop_add(s->c->bytes->loop, &s->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (err)
		s->io.fd = -1;
	return err;
}

/* Opening and answering */

static nghttp2_nv field(const char *name, const char *value, uint8_t flags)
{
	return (nghttp2_nv){
		.name = (uint8_t *)name,
		.namelen = strlen(name),
		.value = (uint8_t *)value,
		.valuelen = strlen(value),
		.flags = flags,
	};
}

struct amb_stream *amb_stream_open(struct amb_hbone *c, int fd, const struct amb_stream_headers *h,
				   const struct amb_stream_ops *ops, void *owner)
{
	struct amb_stream *s;
	nghttp2_nv nv[6];
	uint32_t n = 0;
	int err;

	if (!amb_hbone_slots(c)) {
		errno = EBUSY;
		return NULL;
	}
	s = amb_stream_new(c, c->next_id);
	if (!s) {
		errno = ENOMEM;
		return NULL;
	}
	nv[n++] = field(":method", "CONNECT", 0);
	nv[n++] = field(":authority", h->authority, 0);
	if (h->baggage && *h->baggage)
		nv[n++] = field("baggage", h->baggage, 0);
	/* New with each connection: not worth a place in HPACK's table. */
	if (h->forwarded)
		nv[n++] = field("forwarded", h->forwarded, NGHTTP2_NV_FLAG_NO_INDEX);
	if (h->traceparent)
		nv[n++] = field("traceparent", h->traceparent, NGHTTP2_NV_FLAG_NO_INDEX);
	if (h->forwarded_network)
		nv[n++] = field("x-forwarded-network", h->forwarded_network, 0);
	err = watch(s, fd);
	if (!err)
		err = amb_send_headers(c, s->id, nv, n, false);
	if (err) {
		if (s->io.fd >= 0)
			amb_loop_del(c->bytes->loop, &s->io);
		s->io.fd = -1;
		amb_stream_finish(s, AMB_REASON_INTERNAL, NULL);
		errno = -err;
		return NULL;
	}
	s->ops = ops;
	s->owner = owner;
	/* It mostly spoke by now: at the turn's end that goes along. */
	if (c->early && c->kmod == AMB_KMOD_NO) {
		s->early = AMB_STREAM_EARLY;
		s->readable = true;
		amb_stream_kick(s);
	}
	c->next_id += 2;
	if (c->next_id >= AMB_H2_STREAM_MAX)
		c->retired = true;
	return s;
}

static void give_to_module(struct amb_stream *s)
{
	int err = amb_kmod_attach(s);

	/* One that is gone was told, and that is read next. */
	if (err && err != -ENOENT && err != -ECONNRESET)
		abort_with(s, AMB_H2_INTERNAL_ERROR, AMB_REASON_INTERNAL,
			   "hbone.ko does not take the application's socket");
}

void amb_stream_answered(struct amb_stream *s, int status, const struct amb_baggage *baggage)
{
	s->open = status == 200;
	if (s->ops->response)
		s->ops->response(s, s->owner, status, baggage);
	if (s->dead)
		return;
	if (!s->open)
		abort_with(s, AMB_H2_CANCEL, AMB_REASON_CONNECT_STATUS, NULL);
	else if (s->c->kmod == AMB_KMOD_THERE)
		give_to_module(s);
	else
		amb_stream_kick(s);
}

void amb_stream_set_owner(struct amb_stream *s, const struct amb_stream_ops *ops, void *owner)
{
	s->ops = ops;
	s->owner = owner;
}

int amb_stream_accept(struct amb_stream *s, int fd, const char *baggage)
{
	nghttp2_nv nv[2] = { field(":status", "200", 0) };
	int err;

	if (s->dead || s->open || !s->in_table)
		return -EPIPE;
	err = watch(s, fd);
	if (err)
		return err;
	if (baggage && *baggage) {
		nv[1] = field("baggage", baggage, 0);
		err = amb_send_headers(s->c, s->id, nv, 2, false);
	}
	if (!baggage || !*baggage || err)
		err = amb_send_headers(s->c, s->id, nv, 1, false);
	/* Gone in the module: that was told, and is read next. */
	if (err == -ENOENT && s->c->kmod == AMB_KMOD_THERE)
		return 0;
	if (err) {
		amb_loop_del(s->c->bytes->loop, &s->io);
		s->io.fd = -1;
		return err;
	}
	s->open = true;
	if (s->c->kmod == AMB_KMOD_THERE) {
		give_to_module(s);
		return 0;
	}
	/* What came early goes with the first event: no callback from within this call. */
	s->out_blocked = s->npend > 0;
	if (s->fin_rx && !s->npend && s->slice_head < 0 && !s->shut) {
		s->shut = true;
		shutdown(fd, SHUT_WR);
	}
	return 0;
}

void amb_stream_reject(struct amb_stream *s, int status, enum amb_reason reason)
{
	char text[4] = { '0' + status / 100 % 10, '0' + status / 10 % 10, '0' + status % 10, 0 };
	nghttp2_nv nv[1] = { field(":status", text, 0) };

	if (s->dead || s->open)
		return;
	if (s->in_table) {
		int err = amb_send_headers(s->c, s->id, nv, 1, true);

		s->fin_tx = true;
		/* The answer is whole; the rest of the request is not wanted (RFC 9113 8.1). */
		if (!s->fin_rx || err)
			amb_send_rst(s->c, s->id, err ? AMB_H2_INTERNAL_ERROR : AMB_H2_NO_ERROR);
	}
	amb_stream_finish(s, reason, NULL);
}

/* Questions */

void amb_stream_bytes(const struct amb_stream *s, uint64_t *to_app, uint64_t *from_app)
{
	if (s->c->kmod == AMB_KMOD_THERE)
		amb_kmod_count((struct amb_stream *)s);
	*to_app = s->to_app;
	*from_app = s->from_app;
}

struct amb_hbone *amb_stream_conn(const struct amb_stream *s)
{
	return s->c;
}
