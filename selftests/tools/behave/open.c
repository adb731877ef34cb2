// SPDX-License-Identifier: GPL-2.0-or-later
/* Behaviours of beginnings: connecting, accepting, and who is at the other end. */
#include "behave.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define WAITING 20 /* connections that nobody has accepted yet */

static bool same_address(const struct name *a, const struct name *b)
{
	return !memcmp(&a->address, &b->address, sizeof(a->address));
}

/* Each end is called what the other one calls it. */
static void names(struct duo *d)
{
	struct name source, asked;

	EXPECT_EQ(d, ask(&d->near, OP_SOURCE), 0);
	source = d->near.reply.local;
	asked = d->near.reply.peer;
	EXPECT_EQ(d, ask(&d->near, OP_NAMES), 0);
	EXPECT_EQ(d, ask(&d->far, OP_NAMES), 0);
	EXPECT_EQ(d, same_address(&d->near.reply.local, &source), true);
	EXPECT_EQ(d, same_address(&d->near.reply.peer, &asked), true);
	EXPECT_EQ(d, d->near.reply.peer.port, d->port);
	EXPECT_EQ(d, d->near.reply.value[0], d->near.reply.value[1]);
	EXPECT_EQ(d, same_address(&d->far.reply.local, &asked), true);
	EXPECT_EQ(d, d->far.reply.local.port, d->port);
	EXPECT_EQ(d, same_address(&d->far.reply.peer, &source), true);
}

static void names_port(struct duo *d)
{
	EXPECT_EQ(d, ask(&d->near, OP_NAMES), 0);
	EXPECT_EQ(d, ask(&d->far, OP_NAMES), 0);
	EXPECT_EQ(d, d->far.reply.peer.port, d->near.reply.local.port);
}

static void bound(struct duo *d)
{
	int64_t port;

	EXPECT_EQ(d, duo_listen(d), true);
	EXPECT_EQ(d, ask(&d->near, OP_SOCKET), 0);
	port = ask(&d->near, OP_BIND);
	EXPECT(d, port, >, 0);
	EXPECT_EQ(d, ask(&d->near, OP_CONNECT, d->port), 0);
	EXPECT_EQ(d, ask(&d->far, OP_ACCEPT), 0);
	EXPECT_EQ(d, ask(&d->near, OP_NAMES), 0);
	EXPECT_EQ(d, d->near.reply.local.port, port);
	EXPECT_EQ(d, ask(&d->near, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(&d->far, OP_RECV, 10), 5);
}

static void nonblocking(struct duo *d)
{
	EXPECT_EQ(d, duo_listen(d), true);
	EXPECT_EQ(d, ask(d->a, OP_SOCKET), 0);
	EXPECT_EQ(d, ask(d->a, OP_CONNECT, d->port, 1), -EINPROGRESS);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_POLL, POLLOUT, POLLOUT), POLLOUT);
	EXPECT_EQ(d, ask(d->a, OP_GET, SOL_SOCKET, SO_ERROR), 0);
	/* The first one more tells of the success, the next ones that there is nothing to do. */
	EXPECT_EQ(d, ask(d->a, OP_CONNECT, d->port, 1), 0);
	EXPECT_EQ(d, ask(d->a, OP_CONNECT, d->port, 1), -EISCONN);
	EXPECT_EQ(d, ask(d->b, OP_ACCEPT), 0);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 10), 5);
}

/* A relay accepts before it has dialled; what it dials late must not meet the next listener. */
static int64_t connect_refused(struct duo *d, int64_t port)
{
	int64_t err = ask(d->a, OP_CONNECT, port);

	if (!err)
		ask(d->a, OP_RECV, 10);
	return err;
}

static void refused(struct duo *d)
{
	int64_t port = ask(d->b, OP_UNLISTEN);

	EXPECT(d, port, >, 0);
	EXPECT_EQ(d, ask(d->a, OP_SOCKET), 0);
	EXPECT_EQ(d, connect_refused(d, port), -ECONNREFUSED);
}

static void refused_nonblocking(struct duo *d)
{
	int64_t port = ask(d->b, OP_UNLISTEN);

	EXPECT(d, port, >, 0);
	EXPECT_EQ(d, ask(d->a, OP_SOCKET), 0);
	EXPECT_EQ(d, ask(d->a, OP_CONNECT, port, 1), -EINPROGRESS);
	EXPECT_EQ(d, ask(d->a, OP_WAIT_POLL, POLLIN | POLLOUT, POLLIN),
		  POLLIN | POLLOUT | POLLERR | POLLHUP);
	EXPECT_EQ(d, ask(d->a, OP_GET, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
}

/* Whatever a refusal looks like, nobody waits for bytes that cannot come. */
static void refused_ends(struct duo *d)
{
	int64_t port = ask(d->b, OP_UNLISTEN);

	EXPECT(d, port, >, 0);
	EXPECT_EQ(d, ask(d->a, OP_SOCKET), 0);
	ask(d->a, OP_CONNECT, port);
	EXPECT(d, ask(d->a, OP_RECV, 10), <=, 0);
}

/* A refused socket can be used for another attempt. */
static void again_after_refusal(struct duo *d)
{
	int64_t port = ask(d->b, OP_UNLISTEN);

	EXPECT(d, port, >, 0);
	EXPECT_EQ(d, ask(d->a, OP_SOCKET), 0);
	EXPECT_EQ(d, connect_refused(d, port), -ECONNREFUSED);
	EXPECT_EQ(d, duo_listen(d), true);
	EXPECT_EQ(d, ask(d->a, OP_CONNECT, d->port), 0);
	EXPECT_EQ(d, ask(d->b, OP_ACCEPT), 0);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 10), 5);
}

/* One socket, two connections after another. */
static void reconnect(struct duo *d)
{
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 10), 5);
	EXPECT_EQ(d, ask(d->a, OP_DISCONNECT), 0);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 10), -ECONNRESET);
	EXPECT_EQ(d, ask(d->b, OP_CLOSE), 0);
	EXPECT_EQ(d, ask(d->a, OP_CONNECT, d->port), 0);
	EXPECT_EQ(d, ask(d->b, OP_ACCEPT), 0);
	EXPECT_EQ(d, ask(d->a, OP_NAMES), 0);
	EXPECT_EQ(d, d->a->reply.peer.port, d->port);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 10), 5);
}

static void accept_flags(struct duo *d)
{
	EXPECT_EQ(d, duo_listen(d), true);
	for (int i = 0; i < 4; i++) {
		int flags = (i & 1 ? SOCK_NONBLOCK : 0) | (i & 2 ? SOCK_CLOEXEC : 0);

		EXPECT_EQ(d, ask(d->a, OP_SOCKET), 0);
		EXPECT_EQ(d, ask(d->a, OP_CONNECT, d->port), 0);
		EXPECT_EQ(d, ask(d->b, OP_ACCEPT, flags), 0);
		EXPECT_EQ(d, d->b->reply.value[0], i & 1);
		EXPECT_EQ(d, d->b->reply.value[1], i >> 1);
		EXPECT_EQ(d, ask(d->b, OP_RECV, 10, MSG_DONTWAIT), -EAGAIN);
		EXPECT_EQ(d, ask(d->a, OP_CLOSE), 0);
		EXPECT_EQ(d, ask(d->b, OP_CLOSE), 0);
	}
}

/* Connections wait for accept, and what they carry with them. */
static void waiting(struct duo *d)
{
	EXPECT_EQ(d, duo_listen(d), true);
	for (int i = 0; i < WAITING; i++) {
		EXPECT_EQ(d, ask(d->a, OP_SOCKET), 0);
		EXPECT_EQ(d, ask(d->a, OP_CONNECT, d->port), 0);
		EXPECT_EQ(d, ask(d->a, OP_SEND, 10), 10);
		EXPECT_EQ(d, ask(d->a, OP_CLOSE), 0);
	}
	for (int i = 0; i < WAITING; i++) {
		EXPECT_EQ(d, ask(d->b, OP_ACCEPT), 0);
		EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, 100), 10);
		EXPECT_EQ(d, ask(d->b, OP_CLOSE), 0);
	}
}

/* Who speaks is told of only when it has spoken. */
static void defer_accept(struct duo *d)
{
	EXPECT_EQ(d, duo_listen(d), true);
	EXPECT_EQ(d, ask(d->b, OP_SET, IPPROTO_TCP, TCP_DEFER_ACCEPT, 10), 0);
	EXPECT_EQ(d, ask(d->a, OP_SOCKET), 0);
	EXPECT_EQ(d, ask(d->a, OP_CONNECT, d->port), 0);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(d->b, OP_ACCEPT), 0);
	EXPECT_EQ(d, ask(d->b, OP_RECV, 10), 5);
}

static void fastopen(struct duo *d)
{
	EXPECT_EQ(d, duo_listen(d), true);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(d, ask(d->a, OP_SOCKET), 0);
		EXPECT_EQ(d, ask(d->a, OP_FASTOPEN, d->port, 50), 50);
		EXPECT_EQ(d, ask(d->b, OP_ACCEPT), 0);
		EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, 50), 50);
		EXPECT_EQ(d, ask(d->a, OP_NAMES), 0);
		EXPECT_EQ(d, d->a->reply.peer.port, d->port);
		EXPECT_EQ(d, ask(d->a, OP_CLOSE), 0);
		EXPECT_EQ(d, ask(d->b, OP_CLOSE), 0);
	}
}

static void fastopen_connect(struct duo *d)
{
	EXPECT_EQ(d, duo_listen(d), true);
	EXPECT_EQ(d, ask(d->a, OP_SOCKET), 0);
	EXPECT_EQ(d, ask(d->a, OP_SET, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1), 0);
	EXPECT_EQ(d, ask(d->a, OP_CONNECT, d->port), 0);
	EXPECT_EQ(d, ask(d->a, OP_SEND, 50), 50);
	EXPECT_EQ(d, ask(d->b, OP_ACCEPT), 0);
	EXPECT_EQ(d, ask(d->b, OP_RECV_ALL, 50), 50);
}

/* Who accepts may speak first. */
static void server_first(struct duo *d)
{
	EXPECT_EQ(d, ask(&d->far, OP_SEND, 5), 5);
	EXPECT_EQ(d, ask(&d->near, OP_RECV, 10), 5);
}

const struct behaviour behave_open[] = {
	{ "names", names, ONE_END },
	{ "names-port", names_port, ONE_END },
	{ "bound", bound, ONE_OWN },
	{ "nonblocking", nonblocking, ONE_OWN },
	{ "refused", refused, ONE_OWN },
	{ "refused-nonblocking", refused_nonblocking, ONE_OWN },
	{ "refused-ends", refused_ends, ONE_OWN },
	{ "again-after-refusal", again_after_refusal, ONE_OWN },
	{ "reconnect", reconnect, ONE_END },
	{ "accept-flags", accept_flags, ONE_OWN },
	{ "waiting", waiting, ONE_OWN },
	{ "defer-accept", defer_accept, ONE_OWN },
	{ "fastopen", fastopen, ONE_OWN },
	{ "fastopen-connect", fastopen_connect, ONE_OWN },
	{ "server-first", server_first, ONE_END },
	{ 0 },
};
