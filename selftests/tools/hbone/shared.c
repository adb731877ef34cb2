// SPDX-License-Identifier: GPL-2.0-or-later
/* Sockets that others prepared, hold, or have in another namespace. */
#include "cases.h"
#include "mesh.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

/* More than TCP takes for an application that does not read, less than the other side keeps. */
#define UNREAD 200000

static const struct conn_spec server = { .server = true, .window = 1 << 18 };

/* That this namespace has, without those of TIME_WAIT. */
static unsigned int sockets(void)
{
	FILE *f = fopen("/proc/net/sockstat", "re");
	unsigned int n;

	if (!f || fscanf(f, "sockets: used %u", &n) != 1)
		err(1, "/proc/net/sockstat");
	fclose(f);
	return n;
}

/* The peer opens stream @id, whose application's socket is @fd. */
static void open_stream(struct nl *nl, uint32_t conn, struct peer *p, uint32_t id, int fd)
{
	peer_send(p, 1, 4, id, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == id);
	EXPECT(!stream_add(nl, conn, id, fd, 0));
}

/* Both sides end it, the peer behind @n bytes. */
static void end_stream(struct peer *p, uint32_t id, int app, uint32_t n)
{
	static uint8_t b[16384];
	uint32_t part;

	for (; n; n -= part) {
		part = n < sizeof(b) ? n : sizeof(b);
		peer_send(p, 0, 0, id, b, part);
	}
	peer_send(p, 0, 1, id, NULL, 0);
	shutdown(app, SHUT_WR);
	do
		peer_expect(p, 0, id);
	while (!(p->flags & 1));
}

/* A socket that would wait for its peer when it is closed holds up no other. */
void case_linger(void)
{
	struct linger ten_minutes = { 1, 600 };
	struct nl *nl = nl_open();
	struct peer p = { .fd = -1 };
	int tls[2], slow[2], tcp[2], size = 1 << 20, least = 1;
	unsigned int before;
	uint32_t conn;

	tls_pair(tls);
	tcp_pair(slow);
	EXPECT(!setsockopt(slow[0], SOL_SOCKET, SO_LINGER, &ten_minutes, sizeof(ten_minutes)));
	setsockopt(slow[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(slow[1], SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &server);
	open_stream(nl, conn, &p, 1, slow[0]);
	end_stream(&p, 1, slow[1], UNREAD);
	WAIT_FOR(stat_number("StreamsDestroyed") == 1, "a stream ends");

	before = sockets();
	tcp_pair(tcp);
	open_stream(nl, conn, &p, 3, tcp[0]);
	end_stream(&p, 3, tcp[1], 0);
	close(tcp[1]);
	WAIT_FOR(stat_number("StreamsDestroyed") == 2, "another stream ends");
	WAIT_FOR(sockets() == before, "its socket is closed");
	reset(slow[1]);
	close(p.fd);
	conn_gone(nl, conn);
	nl_close(nl);
	expect_balance();
}

/* Requests for a new namespace, which nothing else keeps. */
static struct nl *nl_elsewhere(void)
{
	int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	struct nl *nl;

	if (here < 0 || unshare(CLONE_NEWNET))
		err(1, "a network namespace");
	nl = nl_open();
	if (setns(here, CLONE_NEWNET))
		err(1, "back from a network namespace");
	close(here);
	return nl;
}

#define TRACING "/sys/kernel/tracing/"

static void trace_ends(void)
{
	int fd;

	/* Below "ip netns exec" /sys is another one. */
	if (mount("tracefs", TRACING, "tracefs", 0, NULL) && errno != EBUSY)
		err(1, "tracefs");
	fd = open(TRACING "events/hbone/hbone_conn_end/enable", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) != 1)
		err(1, "tracing");
	close(fd);
}

/* How often a connection ended for that reason since. */
static unsigned int traced_ends(enum hbone_reason reason)
{
	FILE *f = fopen(TRACING "trace", "re");
	char line[256], what[32];
	unsigned int n = 0;

	if (!f)
		err(1, "the trace");
	snprintf(what, sizeof(what), " reason=%d ", reason);
	while (fgets(line, sizeof(line), f))
		n += !!strstr(line, what);
	fclose(f);
	return n;
}

/* The peer hears that it is over, and has nothing against it. */
static void expect_over(struct peer *p)
{
	bool told = false;

	while (peer_read(p)) {
		EXPECT(p->type != 7 || peer_u32(p, 4) == 0);
		told = told || p->type == 7;
	}
	EXPECT(told);
	close(p->fd);
}

/* A namespace ends its connections, whose sockets are of another; streams that live do not help. */
static void namespace_ends(void)
{
	struct nl *nl = nl_elsewhere();
	struct peer p = { .fd = -1 };
	int tls[2], tcp[2];
	uint32_t conn;
	char byte;

	tls_pair(tls);
	tcp_pair(tcp);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &server);
	open_stream(nl, conn, &p, 1, tcp[0]);
	EXPECT(write_all(tcp[1], "x", 1));
	peer_expect(&p, 0, 1);
	nl_close(nl);
	expect_over(&p);
	EXPECT(read_some(tcp[1], &byte, 1) == -ECONNRESET);
	close(tcp[1]);
}

struct sender {
	int fd;
	atomic_ulong sent;
	atomic_int error;
};

/* Sends, blocking, with a descriptor that it kept. */
static void *send_on(void *arg)
{
	static uint8_t b[16384];
	struct sender *s = arg;
	ssize_t n;

	while ((n = send(s->fd, b, sizeof(b), MSG_NOSIGNAL)) > 0)
		s->sent += n;
	s->error = errno;
	return NULL;
}

/* Until it sleeps in there. */
static void wait_blocked(struct sender *s)
{
	unsigned long before;

	do {
		before = s->sent;
		usleep(300000);
	} while (!before || before != s->sent);
}

/* Who blocks a connection's socket does not keep its namespace, nor those of others. */
static void sender_blocks(void)
{
	struct sender s = { .fd = -1 };
	struct nl *nl = nl_elsewhere();
	struct peer p = { .fd = -1 };
	pthread_t thread;
	uint32_t conn;
	int tls[2], i;

	tls_pair(tls);
	s.fd = dup(tls[1]);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &server);
	EXPECT(!pthread_create(&thread, NULL, send_on, &s));
	wait_blocked(&s);
	for (i = 0; i < 4; i++)
		peer_send(&p, 6, 0, 0, "answer!!", 8);
	/* Time to try. */
	usleep(100000);
	EXPECT(ask_number(nl, conn, 0, HBONE_A_STREAMS) == 0);
	for (i = 0; i < 2; i++)
		namespace_ends();
	EXPECT(!s.error);
	nl_close(nl);
	WAIT_FOR(s.error, "who sends is told of the end");
	EXPECT(!pthread_join(thread, NULL));
	namespace_ends();
	close(s.fd);
	close(p.fd);
}

void case_netns(void)
{
	unsigned int before;

	trace_ends();
	before = traced_ends(HBONE_REASON_NETNS);
	namespace_ends();
	WAIT_FOR(traced_ends(HBONE_REASON_NETNS) == before + 1, "the reason is told");
	sender_blocks();
}
