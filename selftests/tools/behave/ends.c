// SPDX-License-Identifier: GPL-2.0-or-later
/* Behaviours of ends: half-closed, closed and reset connections, at rest and in use. */
#include "behave.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define ROUNDS 30
#define PENDING 100000
#define LINGER_SECONDS 10

/* A request, its end, and the answer after it; several times because a lost race is rare. */
static void shutdown_recv(struct duo *d)
{
	for (int i = 0; i < ROUNDS; i++) {
		EXPECT_EQ(d, duo_connect(d), true);
		EXPECT_EQ(d, ask(d->a, OP_SEND, 5), 5);
		EXPECT_EQ(d, ask(d->a, OP_SHUTDOWN, SHUT_WR), 0);
		begin(d->a, OP_RECV_ALL, 1000);
		EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, 1000), 5);
		EXPECT_EQ(d, ask(d->b, OP_SEND, 50), 50);
		EXPECT_EQ(d, ask(d->b, OP_CLOSE), 0);
		EXPECT_EQ(d, end_await(d->a), 50);
		EXPECT_EQ(d, ask(d->a, OP_RECV, 10), 0);
		EXPECT_EQ(d, ask(d->a, OP_CLOSE), 0);
	}
}

/* The direction that is still open stays so, whatever it carries. */
static void half_closed(struct duo *d)
{
	EXPECT_EQ(d, ask(d->b, OP_SHUTDOWN, SHUT_WR), 0);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 10), 0);
	begin(d->b, OP_RECV_ALL, 4 << 20);
	EXPECT_EQ(d, ask(d->a, OP_SEND_ALL, 4 << 20, 10000), 4 << 20);
	EXPECT_EQ(d, end_await(d->b), 4 << 20);
	EXPECT_EQ(d, ask(d->a, OP_SHUTDOWN, SHUT_WR), 0);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 10), 0);
}

static void half_closed_send(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_SHUTDOWN, SHUT_WR), 0);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5, MSG_NOSIGNAL), -EPIPE);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 10), 0);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 10), 5);
}

static void both_shut(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 6), 6);
	EXPECT_EQ(d, ask(d->a, OP_SHUTDOWN, SHUT_WR), 0);
	EXPECT_EQ(d, ask(d->b, OP_SHUTDOWN, SHUT_WR), 0);
	EXPECT_EQ(d, ask(d->a, OP_RECV_ALL, 100), 6);
	EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, 100), 5);
}

static void shut_reading(struct duo *d)
{
	begin(d->a, OP_RECV, 10);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 5), 5);
	EXPECT_EQ(d, end_await(d->a), 5);
	EXPECT_EQ(d, ask(d->a, OP_SHUTDOWN, SHUT_RD), 0);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 10), 0);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 10), 5);
}

static void end_while_reading(struct duo *d)
{
	begin(d->a, OP_RECV, 10);
	EXPECT_EQ(d, ask(d->b, OP_CLOSE), 0);
	EXPECT_EQ(d, end_await(d->a), 0);
}

static void reset_while_reading(struct duo *d)
{
	for (int i = 0; i < ROUNDS; i++) {
		EXPECT_EQ(d, duo_connect(d), true);
		EXPECT_EQ(d, ask(d->a, OP_SEND, 5), 5);
		EXPECT_EQ(d, ask(d->b, OP_RECV, 10), 5);
		begin(d->a, OP_RECV, 10);
		EXPECT_EQ(d, ask(d->b, OP_RESET), 0);
		EXPECT_EQ(d, end_await(d->a), -ECONNRESET);
		EXPECT_EQ(d, ask(d->a, OP_RECV, 10), 0);
		EXPECT_EQ(d, ask(d->a, OP_CLOSE), 0);
	}
}

/* The error comes once; then the socket is one that has ended. */
static void reset_while_writing(struct duo *d)
{
	begin(d->a, OP_SEND_ALL, 2 * FILL_LIMIT, 1 << 20);
	EXPECT(d, ask(d->b, OP_WAIT_POLL, POLLIN, POLLIN), >, 0);
	EXPECT_EQ(d, ask(d->b, OP_RESET), 0);
	EXPECT_EQ(d, end_await(d->a), -ECONNRESET);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5, MSG_NOSIGNAL), -EPIPE);
}

static void close_unread(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_SEND, 1000), 1000);
	EXPECT_EQ(d, ask(d->b, OP_WAIT_IOCTL, FIONREAD, 1000), 1000);
	begin(d->a, OP_RECV, 10);
	EXPECT_EQ(d, ask(d->b, OP_CLOSE), 0);
	EXPECT_EQ(d, end_await(d->a), -ECONNRESET);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5, MSG_NOSIGNAL), -EPIPE);
}

static void close_pending(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_SEND, PENDING), PENDING);
	EXPECT_EQ(d, ask(d->a, OP_CLOSE), 0);
	EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, 2 * PENDING), PENDING);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 10), 0);
}

/* What had arrived before the reset is still to be had. */
static void reset_pending(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_SEND, 1000), 1000);
	EXPECT_EQ(d, ask(d->b, OP_WAIT_IOCTL, FIONREAD, 1000), 1000);
	EXPECT_EQ(d, ask(d->a, OP_RESET), 0);
	EXPECT_EQ(d, ask(d->b, OP_WAIT_POLL, 0, POLLERR) & POLLERR, POLLERR);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 2000), 1000);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 10), -ECONNRESET);
}

static void linger(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_LINGER, LINGER_SECONDS), 0);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 1000), 1000);
	EXPECT_EQ(d, ask(d->a, OP_CLOSE), 0);
	EXPECT(d, d->a->reply.ms, <, LINGER_SECONDS * 1000);
	EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, 2000), 1000);
}

/* The first send is lost, and answered by a reset; the second one is told so. */
static void send_after_end(struct duo *d)
{
	EXPECT_EQ(d, ask(d->b, OP_CLOSE), 0);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_POLL, POLLRDHUP, POLLRDHUP), POLLRDHUP);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_POLL, 0, POLLERR | POLLHUP), POLLERR | POLLHUP);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5, MSG_NOSIGNAL), -EPIPE);
	EXPECT_EQ(d, ask(d->a, OP_SIGPIPES), 0);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5), -EPIPE);
	EXPECT_EQ(d, ask(d->a, OP_SIGPIPES), 1);
}

const struct behaviour behave_end[] = {
	{ "shutdown-recv", shutdown_recv, BOTH_OWN },
	{ "half-closed", half_closed, BOTH_ENDS },
	{ "half-closed-send", half_closed_send, BOTH_ENDS },
	{ "both-shut", both_shut, BOTH_ENDS },
	{ "shut-reading", shut_reading, BOTH_ENDS },
	{ "end-while-reading", end_while_reading, BOTH_ENDS },
	{ "reset-while-reading", reset_while_reading, BOTH_OWN },
	{ "reset-while-writing", reset_while_writing, BOTH_ENDS },
	{ "close-unread", close_unread, BOTH_ENDS },
	{ "close-pending", close_pending, BOTH_ENDS },
	{ "reset-pending", reset_pending, BOTH_ENDS },
	{ "linger", linger, BOTH_ENDS },
	{ "send-after-end", send_after_end, BOTH_ENDS },
	{ 0 },
};
