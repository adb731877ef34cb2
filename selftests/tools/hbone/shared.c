// SPDX-License-Identifier: GPL-2.0-or-later
/* Sockets that others prepared. */
#include "cases.h"
#include "mesh.h"

#include <err.h>
#include <stdio.h>
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
