// SPDX-License-Identifier: GPL-2.0-or-later
/* Behaviours of bytes: whatever they are sent and received by, they arrive in order. */
#include "behave.h"

#include <linux/sockios.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define MIB (1 << 20)

/* Both directions, and counters that are this connection's own. */
static void echo(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_SEND, 64), 64);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 100), 64);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 64), 64);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 100), 64);
}

static void tcp_info(struct duo *d)
{
	echo(d);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_IOCTL, SIOCOUTQ, 0), 0);
	EXPECT_EQ(d, ask(d->a, OP_TCP_INFO), 0);
	EXPECT_EQ(d, d->a->reply.value[INFO_STATE], TCP_ESTABLISHED);
	EXPECT_EQ(d, d->a->reply.value[INFO_SENT], 64);
	EXPECT_EQ(d, d->a->reply.value[INFO_RECEIVED], 64);
	/* Of the connecting side the SYN counts too. */
	EXPECT(d, d->a->reply.value[INFO_ACKED], >=, 64);
	EXPECT(d, d->a->reply.value[INFO_ACKED], <=, 66);
	EXPECT(d, d->a->reply.value[INFO_DATA_SEGMENTS], >=, 1);
}

static void peek(struct duo *d)
{
	EXPECT_EQ(d, ask(d->b, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_IOCTL, FIONREAD, 10), 10);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 3, MSG_PEEK), 3);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 20, MSG_PEEK), 10);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 20), 10);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 20, MSG_DONTWAIT), -EAGAIN);
}

static void waitall(struct duo *d)
{
	begin(d->a, OP_RECV, 1000, MSG_WAITALL);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 400), 400);
	EXPECT_EQ(d, ask(d->b, OP_WAIT_IOCTL, SIOCOUTQ, 0), 0);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 600), 600);
	EXPECT_EQ(d, end_await(d->a), 1000);
}

static void waitall_end(struct duo *d)
{
	begin(d->a, OP_RECV, 1000, MSG_WAITALL);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 400), 400);
	EXPECT_EQ(d, ask(d->b, OP_CLOSE), 0);
	EXPECT_EQ(d, end_await(d->a), 400);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 10), 0);
}

static void fionread(struct duo *d)
{
	EXPECT_EQ(d, ask(d->b, OP_SEND, 1234), 1234);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_IOCTL, FIONREAD, 1234), 1234);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 234), 234);
	EXPECT_EQ(d, ask(d->a, OP_IOCTL, FIONREAD), 1000);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 2000), 1000);
	EXPECT_EQ(d, ask(d->a, OP_IOCTL, FIONREAD), 0);
}

/* What the other side does not take is to be seen as not sent. */
static void outq(struct duo *d)
{
	int64_t filled;

	EXPECT_EQ(d, ask(d->a, OP_SEND, 1000), 1000);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_IOCTL, SIOCOUTQ, 0), 0);
	filled = ask(d->a, OP_FILL);
	EXPECT(d, filled, >, 0);
	EXPECT(d, ask(d->a, OP_IOCTL, SIOCOUTQ), >, 0);
	EXPECT(d, ask(d->a, OP_IOCTL, SIOCOUTQNSD), >, 0);
	EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, filled + 1000), filled + 1000);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_IOCTL, SIOCOUTQ, 0), 0);
}

static void discard(struct duo *d)
{
	EXPECT_EQ(d, ask(d->b, OP_SEND, 150), 150);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_IOCTL, FIONREAD, 150), 150);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 100, MSG_TRUNC), 100);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 100), 50);
}

/* Nothing is sent, and it is not taken for the end. */
static void empty_send(struct duo *d)
{
	EXPECT_EQ(d, ask(d->b, OP_SEND, 0), 0);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 7), 7);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 100), 7);
}

static void vectored(struct duo *d)
{
	begin(d->a, OP_RECV_VECTOR, MIB, 300);
	EXPECT_EQ(d, ask(d->b, OP_SEND_VECTOR, MIB, 1024), MIB);
	EXPECT_EQ(d, end_await(d->a), MIB);
}

static void bulk(struct duo *d)
{
	begin(d->a, OP_RECV_ALL, 16 * MIB);
	EXPECT_EQ(d, ask(d->b, OP_SEND_ALL, 16 * MIB, MIB), 16 * MIB);
	EXPECT_EQ(d, end_await(d->a), 16 * MIB);
}

static void many_small(struct duo *d)
{
	begin(d->a, OP_RECV_ALL, 8000);
	EXPECT_EQ(d, ask(d->b, OP_SEND_ALL, 8000, 4), 8000);
	EXPECT_EQ(d, end_await(d->a), 8000);
}

static void duplex(struct duo *d)
{
	begin(d->a, OP_DUPLEX, 4 * MIB);
	begin(d->b, OP_DUPLEX, 4 * MIB);
	EXPECT_EQ(d, end_await(d->a), 4 * MIB);
	EXPECT_EQ(d, end_await(d->b), 4 * MIB);
}

/* 50 pieces: one segment, or two when the machine stood still for the cork's 200 ms. */
static void cork(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_SET, IPPROTO_TCP, TCP_NODELAY, 1), 0);
	EXPECT(d, ask(d->a, OP_SEND_CORKED, 50, 0), <=, 2);
	EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, 500), 500);
}

static void msg_more(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_SET, IPPROTO_TCP, TCP_NODELAY, 1), 0);
	EXPECT(d, ask(d->a, OP_SEND_CORKED, 50, 1), <=, 2);
	EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, 500), 500);
}

static void nodelay(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_GET, IPPROTO_TCP, TCP_NODELAY), 0);
	EXPECT_EQ(d, ask(d->a, OP_SET, IPPROTO_TCP, TCP_NODELAY, 1), 0);
	EXPECT_EQ(d, ask(d->a, OP_GET, IPPROTO_TCP, TCP_NODELAY), 1);
	EXPECT_EQ(d, ask(d->b, OP_GET, IPPROTO_TCP, TCP_NODELAY), 0);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 1), 1);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 1), 1);
}

static void sendfile_out(struct duo *d)
{
	begin(d->b, OP_RECV_ALL, MIB);
	EXPECT_EQ(d, ask(d->a, OP_SEND_FILE, MIB), MIB);
	EXPECT_EQ(d, end_await(d->b), MIB);
}

static void splice_out(struct duo *d)
{
	begin(d->b, OP_RECV_ALL, MIB);
	EXPECT_EQ(d, ask(d->a, OP_SEND_SPLICE, MIB), MIB);
	EXPECT_EQ(d, end_await(d->b), MIB);
}

static void splice_in(struct duo *d)
{
	begin(d->a, OP_RECV_SPLICE, MIB + 1);
	EXPECT_EQ(d, ask(d->b, OP_SEND_ALL, MIB, 5000), MIB);
	EXPECT_EQ(d, ask(d->b, OP_SHUTDOWN, SHUT_WR), 0);
	EXPECT_EQ(d, end_await(d->a), MIB);
}

/* What is there already, and no more. */
static void splice_waiting(struct duo *d)
{
	EXPECT_EQ(d, ask(d->b, OP_SEND, 5000), 5000);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_IOCTL, FIONREAD, 5000), 5000);
	EXPECT_EQ(d, ask(d->a, OP_RECV_SPLICE, 5000), 5000);
}

static void zerocopy(struct duo *d)
{
	begin(d->b, OP_RECV_ALL, 60000);
	EXPECT_EQ(d, ask(d->a, OP_SEND_ZEROCOPY, 60000), 60000);
	EXPECT_EQ(d, d->a->reply.value[0], SO_EE_ORIGIN_ZEROCOPY);
	EXPECT_EQ(d, end_await(d->b), 60000);
}

/*
 * The byte beside the stream is the pattern's next one, so what follows fits again. The end after
 * it arrives last, so what has not come by then does not come.
 */
static void send_urgent(struct duo *d)
{
	EXPECT_EQ(d, ask(d->b, OP_SEND, 3), 3);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 1, MSG_OOB), 1);
	EXPECT_EQ(d, ask(d->b, OP_SHUTDOWN, SHUT_WR), 0);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_POLL, POLLRDHUP, POLLRDHUP), POLLRDHUP);
}

static void urgent(struct duo *d)
{
	send_urgent(d);
	EXPECT_EQ(d, ask(d->a, OP_POLL, POLLPRI, 0), POLLPRI);
	EXPECT(d, ask(d->a, OP_RECV_URGENT), >=, 0);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 10), 3);
	EXPECT_EQ(d, ask(d->a, OP_IOCTL, SIOCATMARK), 1);
}

static void urgent_inline(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_SET, SOL_SOCKET, SO_OOBINLINE, 1), 0);
	send_urgent(d);
	EXPECT_EQ(d, ask(d->a, OP_IOCTL, FIONREAD), 4);
	/* The mark ends a receive, then the byte comes in line. */
	EXPECT_EQ(d, ask(d->a, OP_RECV, 10), 3);
	EXPECT_EQ(d, ask(d->a, OP_IOCTL, SIOCATMARK), 1);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 10), 1);
}

static void by_child(struct duo *d, int how)
{
	EXPECT_EQ(d, ask(d->a, OP_SEND, 10), 10);
	EXPECT_EQ(d, ask(d->a, OP_SEND_CHILD, 5000, how), 5000);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 10), 10);
	EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, 5020), 5020);
	EXPECT_EQ(d, ask(d->b, OP_SEND, 10), 10);
	EXPECT_EQ(d, ask(d->a, OP_RECV, 100), 10);
}

static void forked(struct duo *d)
{
	by_child(d, CHILD_FORKED);
}

static void duplicated(struct duo *d)
{
	by_child(d, CHILD_DUP);
}

static void passed(struct duo *d)
{
	by_child(d, CHILD_PASSED);
}

const struct behaviour behave_data[] = {
	{ "echo", echo, BOTH_ENDS },
	{ "tcp-info", tcp_info, BOTH_ENDS },
	{ "peek", peek, BOTH_ENDS },
	{ "waitall", waitall, BOTH_ENDS },
	{ "waitall-end", waitall_end, BOTH_ENDS },
	{ "fionread", fionread, BOTH_ENDS },
	{ "outq", outq, BOTH_ENDS },
	{ "discard", discard, BOTH_ENDS },
	{ "empty-send", empty_send, BOTH_ENDS },
	{ "vectored", vectored, BOTH_ENDS },
	{ "bulk", bulk, BOTH_ENDS },
	{ "many-small", many_small, BOTH_ENDS },
	{ "duplex", duplex, ONE_END },
	{ "cork", cork, BOTH_ENDS },
	{ "msg-more", msg_more, BOTH_ENDS },
	{ "nodelay", nodelay, BOTH_ENDS },
	{ "sendfile", sendfile_out, BOTH_ENDS },
	{ "splice-out", splice_out, BOTH_ENDS },
	{ "splice-in", splice_in, BOTH_ENDS },
	{ "splice-waiting", splice_waiting, BOTH_ENDS },
	{ "zerocopy", zerocopy, BOTH_ENDS },
	{ "urgent", urgent, BOTH_ENDS },
	{ "urgent-inline", urgent_inline, BOTH_ENDS },
	{ "forked-writer", forked, BOTH_ENDS },
	{ "dup-descriptor", duplicated, BOTH_ENDS },
	{ "passed-descriptor", passed, BOTH_ENDS },
	{ 0 },
};
