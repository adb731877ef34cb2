// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two plaintext sockets joined. What one gives is written to the other at once; what that one
 * does not take waits in borrowed buffers, and until they are empty the first is not read.
 * An end of one direction is passed on as FIN, an error as a reset of both sockets.
 */
#include "relay.h"

#include "base/util.h"
#include "bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define ASK_MIN (16 << 10)
#define SHARE AMB_BYTES_SCRATCH /* of one direction in one turn */
#define IOVS 16

struct side {
	struct amb_io io;
	struct amb_buf *pend, *pend_tail; /* to be written to this socket */
	uint64_t bytes; /* read from this socket */
	uint32_t npend;
	uint32_t ask; /* next read's size */
	bool up; /* which of the two it is */
	bool readable, rdhup;
	bool eof; /* nothing more comes from here */
	bool out_blocked; /* the socket is full */
	bool shut; /* FIN went out here */
};

struct amb_relay {
	struct amb_bytes_grave grave;
	struct amb_bytes *bytes;
	struct amb_share *share;
	struct amb_relay *next, **pprev; /* bytes->relays */
	const struct amb_relay_ops *ops;
	void *owner;
	struct amb_work work; /* the share of a turn was used up */
	struct amb_bytes_waiter waiter;
	struct side side[2];
	bool dead;
};

static struct amb_relay *relay_of(struct side *d)
{
	return AMB_CONTAINER_OF(d - d->up, struct amb_relay, side);
}

static struct side *other(struct side *d)
{
	return d->up ? d - 1 : d + 1;
}

static void fini(void *p)
{
	amb_bytes_share_put(((struct amb_relay *)p)->share);
}

static void finish(struct amb_relay *r, enum amb_reason reason, const char *text)
{
	struct amb_bytes *b = r->bytes;
	struct linger now = { .l_onoff = 1 };
	int i;

	if (r->dead)
		return;
	r->dead = true;
	for (i = 0; i < 2; i++) {
		struct side *d = &r->side[i];

		if (reason != AMB_REASON_NONE)
			setsockopt(d->io.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		amb_loop_del(b->loop, &d->io);
		close(d->io.fd);
		amb_bytes_put_chain(b, d->pend);
	}
	amb_loop_undefer(b->loop, &r->work);
	amb_bytes_unwait(r->share, &r->waiter);
	*r->pprev = r->next;
	if (r->next)
		r->next->pprev = r->pprev;
	if (r->ops->closed)
		r->ops->closed(r, r->owner, reason, text);
	amb_bytes_bury(b, &r->grave, fini);
}

static void failed(struct amb_relay *r, int err)
{
	finish(r, AMB_REASON_RESET, strerrordesc_np(err));
}

static void check_end(struct side *to)
{
	struct amb_relay *r = relay_of(to);

	if (!other(to)->eof || to->npend)
		return;
	if (!to->shut) {
		to->shut = true;
		shutdown(to->io.fd, SHUT_WR);
	}
	if (r->side[0].shut && r->side[1].shut)
		finish(r, AMB_REASON_NONE, NULL);
}

/* Returns what the socket took, or -errno. */
static ssize_t take(struct side *to, ssize_t n, size_t want)
{
	if (n < 0 && errno != EAGAIN)
		return -errno;
	n = n < 0 ? 0 : n;
	to->out_blocked = (size_t)n < want;
	return n;
}

/* 0, or -errno. */
static int flush(struct side *to)
{
	while (to->npend && !to->out_blocked) {
		struct iovec iov[IOVS];
		struct msghdr m = { .msg_iov = iov };
		struct amb_buf *buf;
		size_t want = 0;
		ssize_t n;

		for (buf = to->pend; buf && m.msg_iovlen < IOVS; buf = buf->next) {
			iov[m.msg_iovlen].iov_base = buf->d + buf->r;
			iov[m.msg_iovlen++].iov_len = buf->w - buf->r;
			want += buf->w - buf->r;
		}
		n = take(to, sendmsg(to->io.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT), want);
		if (n < 0)
			return n;
		to->npend -= n;
		while (n) {
			uint32_t k;

			buf = to->pend;
			k = AMB_MIN((uint32_t)n, buf->w - buf->r);
			buf->r += k;
			n -= k;
			if (buf->r < buf->w)
				break;
			to->pend = buf->next;
			if (!to->pend)
				to->pend_tail = NULL;
			amb_bytes_put(relay_of(to)->bytes, buf);
		}
	}
	return 0;
}

/* Passes on @n bytes: 0 or -errno. */
static int pass(struct side *to, const uint8_t *p, size_t n)
{
	ssize_t k = take(to, send(to->io.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT), n);

	if (k < 0)
		return k;
	if ((size_t)k == n)
		return 0;
	if (amb_bytes_keep(relay_of(to)->share, &to->pend, &to->pend_tail, p + k, n - k,
			   AMB_BYTES_MUST))
		return -ENOBUFS;
	to->npend += n - k;
	return 0;
}

/* Bytes that may be read now: what the other socket may leave over must have a place. */
static uint32_t allowance(struct side *from)
{
	struct amb_share *s = relay_of(from)->share;

	if (amb_bytes_has(s, 2 * from->ask, AMB_BYTES_NICE))
		return from->ask;
	if (amb_bytes_has(s, 8 * ASK_MIN, AMB_BYTES_DATA))
		return ASK_MIN;
	amb_bytes_wait(s, &relay_of(from)->waiter);
	return 0;
}

static void adapt(struct side *from, uint32_t got, uint32_t want)
{
	if (got == want && want == from->ask)
		from->ask = AMB_MIN(from->ask * 4, (uint32_t)AMB_BYTES_SCRATCH);
	else if (got < from->ask / 4 && from->ask > ASK_MIN)
		from->ask /= 2;
}

/* Returns 0, or -errno when the relay is over. */
static int pull(struct side *from)
{
	struct amb_relay *r = relay_of(from);
	struct side *to = other(from);
	uint8_t *area = amb_bytes_scratch(r->bytes);
	uint32_t share = SHARE;

	if (!area)
		return -ENOMEM;
	while (from->readable && !from->eof && !to->npend) {
		uint32_t want = allowance(from);
		ssize_t n;
		int err;

		if (!want)
			return 0;
		if (!share) {
			amb_loop_defer(r->bytes->loop, &r->work);
			return 0;
		}
		want = AMB_MIN(want, share);
		n = recv(from->io.fd, area, want, MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n <= 0) {
			from->readable = false;
			from->eof = !n;
			break;
		}
		from->bytes += n;
		share -= n;
		err = pass(to, area, n);
		if (err)
			return err;
		adapt(from, n, want);
		if (n < want && !from->rdhup)
			from->readable = false;
	}
	return 0;
}

/* One side's socket is ready for something: moves what can be moved in both directions. */
static void move(struct amb_relay *r, struct side *from)
{
	int err = pull(from);

	if (err)
		failed(r, -err);
	else
		check_end(other(from));
}

static void on_event(struct amb_io *io, uint32_t events)
{
	struct side *d = AMB_CONTAINER_OF(io, struct side, io);
	struct amb_relay *r = relay_of(d);

	if (events & EPOLLERR) {
		socklen_t len = sizeof(int);
		int err = 0;

		if (!getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &err, &len) && err) {
			failed(r, err);
			return;
		}
	}
	if (events & EPOLLOUT && d->out_blocked) {
		int err;

		d->out_blocked = false;
		err = flush(d);
		if (err) {
			failed(r, -err);
			return;
		}
		check_end(d);
		if (!r->dead && !d->npend)
			move(r, other(d));
		if (r->dead)
			return;
	}
	if (events & (EPOLLRDHUP | EPOLLHUP))
		d->rdhup = true;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) {
		d->readable = true;
		move(r, d);
	}
}

static void move_both(struct amb_relay *r)
{
	move(r, &r->side[0]);
	if (!r->dead)
		move(r, &r->side[1]);
}

static void on_work(struct amb_work *w)
{
	move_both(AMB_CONTAINER_OF(w, struct amb_relay, work));
}

static void on_buffers(struct amb_bytes_waiter *w)
{
	move_both(AMB_CONTAINER_OF(w, struct amb_relay, waiter));
}

struct amb_relay *amb_relay_start(struct amb_bytes *b, int down, int up,
				  const struct amb_relay_ops *ops, void *owner)
{
	struct amb_relay *r = calloc(1, sizeof(*r));
	int fd[2] = { down, up }, i, err;

	if (!r) {
		errno = ENOMEM;
		return NULL;
	}
	r->bytes = b;
	r->share = &b->own;
	r->ops = ops;
	r->owner = owner;
	r->work.fn = on_work;
	r->waiter.fn = on_buffers;
	for (i = 0; i < 2; i++) {
		struct side *d = &r->side[i];

		d->io.fn = on_event;
		d->io.fd = fd[i];
		d->up = i;
		d->ask = ASK_MIN;
		err = amb_loop_add(b->loop, &d->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
		if (err) {
			if (i)
				amb_loop_del(b->loop, &r->side[0].io);
			free(r);
			errno = -err;
			return NULL;
		}
	}
	amb_bytes_share_get(r->share);
	r->next = b->relays;
	r->pprev = &b->relays;
	if (r->next)
		r->next->pprev = &r->next;
	b->relays = r;
	return r;
}

void amb_relay_share(struct amb_relay *r, struct amb_share *s)
{
	amb_bytes_share_put(r->share);
	r->share = amb_bytes_share_get(s);
}

void amb_relay_abort(struct amb_relay *r, enum amb_reason reason)
{
	finish(r, reason, NULL);
}

void amb_relay_end_all(struct amb_bytes *b)
{
	while (b->relays)
		finish(b->relays, AMB_REASON_DRAIN, NULL);
}

void amb_relay_bytes(const struct amb_relay *r, uint64_t *to_up, uint64_t *to_down)
{
	*to_up = r->side[0].bytes;
	*to_down = r->side[1].bytes;
}
