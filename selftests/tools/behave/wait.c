// SPDX-License-Identifier: GPL-2.0-or-later
/* Behaviours of waiting: wake-ups, timeouts, low-water marks, and back-pressure. */
#include "behave.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define ROUNDS 50
#define TIMEOUT_MS 200
#define USER_TIMEOUT_MS 400
#define SMALL_BUFFER 16384
/* Both buffers as the kernel doubles them, and what it lets overhang. */
#define SMALL_BOUND (16 * SMALL_BUFFER)

static void epoll_level(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_EPOLL_ADD, EPOLLIN | EPOLLRDHUP), 0);
	EXPECT_EQ(d, ask(d->a, OP_EPOLL, 0), 0);
	begin(d->a, OP_EPOLL, WORKER_WAIT_MS);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 2), 2);
	EXPECT_EQ(d, end_await(d->a), 1);
	EXPECT_EQ(d, d->a->reply.value[0], EPOLLIN);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_IOCTL, FIONREAD, 2), 2);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 1), 1);
	EXPECT_EQ(d, ask(d->a, OP_EPOLL, 0), 1);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 1), 1);
	EXPECT_EQ(d, ask(d->a, OP_EPOLL, 0), 0);
}

static void epoll_hangup(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_EPOLL_ADD, EPOLLIN | EPOLLRDHUP), 0);
	begin(d->a, OP_EPOLL, WORKER_WAIT_MS);
	EXPECT_EQ(d, ask(d->b, OP_SHUTDOWN, SHUT_WR), 0);
	EXPECT_EQ(d, end_await(d->a), 1);
	EXPECT_EQ(d, d->a->reply.value[0], EPOLLIN | EPOLLRDHUP);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 1), 0);
	EXPECT_EQ(d, ask(d->a, OP_SHUTDOWN, SHUT_WR), 0);
	EXPECT_EQ(d, ask(d->a, OP_EPOLL, 0), 1);
	EXPECT_EQ(d, d->a->reply.value[0], EPOLLIN | EPOLLRDHUP | EPOLLHUP);
}

/* One event a message, and none for what was told already. */
static void epoll_edge(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_EPOLL_ADD, EPOLLIN | EPOLLET), 0);
	for (int i = 0; i < ROUNDS; i++) {
		begin(d->a, OP_EPOLL, WORKER_WAIT_MS);
		EXPECT_EQ(d, ask(d->b, OP_SEND, 1), 1);
		EXPECT_EQ(d, end_await(d->a), 1);
		EXPECT_EQ(d, ask(d->a, OP_EPOLL, 0), 0);
		EXPECT_EQ(d, ask(d->a, OP_RECV, 10), 1);
		EXPECT_EQ(d, ask(d->a, OP_EPOLL, 0), 0);
	}
}

static void poll_reset(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_SEND, 1), 1);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 1), 1);
	EXPECT_EQ(d, ask(d->b, OP_RESET), 0);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_POLL, POLLIN | POLLRDHUP, POLLERR | POLLHUP),
		  POLLIN | POLLRDHUP | POLLERR | POLLHUP);
	EXPECT_EQ(d, ask(d->a, OP_GET, SOL_SOCKET, SO_ERROR), ECONNRESET);
	EXPECT_EQ(d, ask(d->a, OP_GET, SOL_SOCKET, SO_ERROR), 0);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 1), 0);
}

static void recv_timeout(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_TIMEOUT, SO_RCVTIMEO, TIMEOUT_MS), 0);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 10), -EAGAIN);
	EXPECT(d, d->a->reply.ms, >=, TIMEOUT_MS - 1);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_IOCTL, FIONREAD, 5), 5);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 10), 5);
}

/* A part may go at the last moment; what counts is that the writer gets to know. */
static void send_timeout(struct duo *d)
{
	int64_t sent;

	EXPECT_EQ(d, ask(d->a, OP_TIMEOUT, SO_SNDTIMEO, TIMEOUT_MS), 0);
	EXPECT_EQ(d, ask(d->a, OP_SEND_ALL, FILL_LIMIT, WORKER_BUFFER), -EAGAIN);
	EXPECT(d, d->a->reply.ms, >=, TIMEOUT_MS - 1);
	sent = d->a->reply.value[0];
	EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, sent), sent);
}

/*
 * Less than the mark is there, and poll does not say so. No blocking recv: Linux compares what is
 * left to read with the mark, so one that took a part of it already waits for ever.
 */
static void low_water(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_SET, SOL_SOCKET, SO_RCVLOWAT, 100), 0);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 10), 10);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_IOCTL, FIONREAD, 10), 10);
	EXPECT_EQ(d, ask(d->a, OP_POLL, POLLIN, 0), 0);
	begin(d->a, OP_POLL, POLLIN, WORKER_WAIT_MS);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 40), 40);
	EXPECT_EQ(d, ask(d->b, OP_WAIT_IOCTL, SIOCOUTQ, 0), 0);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 50), 50);
	EXPECT_EQ(d, end_await(d->a), POLLIN);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 1000), 100);
}

/* A writer whose reader sleeps gets EAGAIN, can go on when it wakes, and nothing is lost. */
static void pressure(struct duo *d)
{
	int64_t filled = ask(d->a, OP_FILL);

	EXPECT(d, filled, >, 0);
	EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, filled), filled);
	EXPECT_EQ(d, ask(d->a, OP_POLL, POLLOUT, WORKER_WAIT_MS), POLLOUT);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 1, MSG_DONTWAIT), 1);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 10), 1);
}

/* The same for a writer that waits in send. */
static void pressure_blocking(struct duo *d)
{
	begin(d->a, OP_SEND_ALL, FILL_LIMIT / 2, 100000);
	EXPECT(d, ask(d->b, OP_WAIT_POLL, POLLIN, POLLIN), >, 0);
	EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, FILL_LIMIT / 2), FILL_LIMIT / 2);
	EXPECT_EQ(d, end_await(d->a), FILL_LIMIT / 2);
}

static bool small_buffers(struct duo *d)
{
	struct end *ends[] = { &d->near, &d->far };

	if (!duo_listen(d) || ask(&d->near, OP_SOCKET))
		return false;
	for (int i = 0; i < 2; i++) {
		ask(ends[i], OP_SET, SOL_SOCKET, SO_RCVBUF, SMALL_BUFFER);
		ask(ends[i], OP_SET, SOL_SOCKET, SO_SNDBUF, SMALL_BUFFER);
	}
	return !ask(&d->near, OP_CONNECT, d->port) && !ask(&d->far, OP_ACCEPT);
}

static void buffers_kept(struct duo *d)
{
	EXPECT_EQ(d, small_buffers(d), true);
	EXPECT_EQ(d, ask(d->a, OP_GET, SOL_SOCKET, SO_RCVBUF), 2 * SMALL_BUFFER);
	EXPECT_EQ(d, ask(d->a, OP_GET, SOL_SOCKET, SO_SNDBUF), 2 * SMALL_BUFFER);
	EXPECT_EQ(d, ask(d->b, OP_GET, SOL_SOCKET, SO_RCVBUF), 2 * SMALL_BUFFER);
	EXPECT_EQ(d, ask(d->b, OP_GET, SOL_SOCKET, SO_SNDBUF), 2 * SMALL_BUFFER);
	begin(d->a, OP_DUPLEX, 1 << 20);
	begin(d->b, OP_DUPLEX, 1 << 20);
	EXPECT_EQ(d, end_await(d->a), 1 << 20);
	EXPECT_EQ(d, end_await(d->b), 1 << 20);
}

static void buffers_bound(struct duo *d)
{
	int64_t filled;

	EXPECT_EQ(d, small_buffers(d), true);
	filled = ask(d->a, OP_FILL);
	EXPECT(d, filled, >, 0);
	EXPECT(d, filled, <=, SMALL_BOUND);
	EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, filled), filled);
}

/* Nothing gets through for so long: the connection is given up. */
static void user_timeout(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_SET, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS), 0);
	EXPECT_EQ(d, ask(d->a, OP_SEND_ALL, FILL_LIMIT, WORKER_BUFFER), -ETIMEDOUT);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5, MSG_NOSIGNAL), -EPIPE);
}

/* Probes go out and are answered; the connection lives and counts no bytes for them. */
static void keepalive(struct duo *d)
{
	int64_t segments;

	EXPECT_EQ(d, ask(d->a, OP_SET, SOL_SOCKET, SO_KEEPALIVE, 1), 0);
	EXPECT_EQ(d, ask(d->a, OP_SET, IPPROTO_TCP, TCP_KEEPIDLE, 1), 0);
	EXPECT_EQ(d, ask(d->a, OP_SET, IPPROTO_TCP, TCP_KEEPINTVL, 1), 0);
	EXPECT_EQ(d, ask(d->a, OP_SET, IPPROTO_TCP, TCP_KEEPCNT, 2), 0);
	EXPECT_EQ(d, ask(d->a, OP_TCP_INFO), 0);
	segments = d->a->reply.value[INFO_SEGMENTS];
	EXPECT(d, ask(d->a, OP_WAIT_SEGMENTS, segments + 3), >=, segments + 3);
	EXPECT_EQ(d, d->a->reply.value[INFO_SENT], 0);
	EXPECT_EQ(d, d->a->reply.value[INFO_STATE], TCP_ESTABLISHED);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 10), 5);
}

const struct behaviour behave_wait[] = {
	{ "epoll-level", epoll_level, BOTH_ENDS },
	{ "epoll-hangup", epoll_hangup, BOTH_ENDS },
	{ "epoll-edge", epoll_edge, BOTH_ENDS },
	{ "poll-reset", poll_reset, BOTH_ENDS },
	{ "recv-timeout", recv_timeout, BOTH_ENDS },
	{ "send-timeout", send_timeout, BOTH_ENDS },
	{ "low-water", low_water, BOTH_ENDS },
	{ "pressure", pressure, BOTH_ENDS },
	{ "pressure-blocking", pressure_blocking, BOTH_ENDS },
	{ "buffers-kept", buffers_kept, BOTH_OWN },
	{ "buffers-bound", buffers_bound, BOTH_OWN },
	{ "user-timeout", user_timeout, BOTH_ENDS },
	{ "keepalive", keepalive, BOTH_ENDS },
	{ 0 },
};
