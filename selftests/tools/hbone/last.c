// SPDX-License-Identifier: GPL-2.0-or-later
/* What was taken for a peer before its connection ended: it gets that, and then the end. */
#include "cases.h"
#include "mesh.h"

#include <err.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct conn_spec server = { .server = true };

#define ENDS 50

/* An answer and the end, in a row: before its work may have begun. */
static void answer_and_end(struct nl *nl)
{
	struct peer p = { .fd = -1 };
	uint32_t conn;
	int tls[2];

	tls_pair(tls);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &server);
	peer_send(&p, 1, 5, 1, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == 1);
	EXPECT(!headers_send(nl, conn, 1, true));
	EXPECT(!conn_del(nl, conn, 0));
	EXPECT(peer_read(&p) && p.type == 1 && p.stream == 1);
	peer_expect(&p, 7, 0);
	EXPECT(!peer_read(&p));
	close(p.fd);
	conn_gone(nl, conn);
}

/*
 * All that was taken, to who begins to read only then. Who never does is not waited for. As long as
 * it may be lost none of it is told as done.
 */
static void frames_and_end(struct nl *nl, struct nl *events, bool reads)
{
	struct peer p = { .fd = -1 };
	int tls[2], blocks;
	uint32_t conn;

	tls_pair_narrow(tls);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &server);
	peer_send(&p, 1, 4, 1, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == 1);
	peer_send(&p, 1, 5, 3, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == 3);
	blocks = fill_frames(nl, conn);
	EXPECT(blocks > 4);
	EXPECT(!headers_send(nl, conn, 3, true));
	EXPECT(!conn_del(nl, conn, 0));
	do
		event_expect(events, HBONE_CMD_STREAM_CLOSED);
	while (nl_u32(events, HBONE_A_STREAM) != 3);
	EXPECT(nl_u32(events, HBONE_A_REASON) == HBONE_REASON_CONN);
	conn_gone(nl, conn);
	for (; reads && blocks; blocks--) {
		EXPECT(peer_read(&p) && p.type == 1);
		EXPECT(peer_read(&p) && p.type == 9);
	}
	if (reads) {
		EXPECT(peer_read(&p) && p.type == 1 && p.stream == 3);
		peer_expect(&p, 7, 0);
		EXPECT(!peer_read(&p));
	}
	expect_destroyed();
	close(p.fd);
}

void case_last_frames(void)
{
	struct nl *nl = nl_open(), *events = nl_open();
	int i;

	for (i = 0; i < ENDS; i++)
		answer_and_end(nl);
	nl_listen(events);
	frames_and_end(nl, events, true);
	frames_and_end(nl, events, false);
	nl_close(events);
	nl_close(nl);
	expect_balance();
}

#define LAST_BYTES (1 << 20)

/* An application that has written all, in a process of its own, and is gone. */
static void write_and_go(int app, int other)
{
	uint8_t b[1 << 14];
	size_t at, k;

	if (fork()) {
		close(app);
		return;
	}
	close(other);
	for (at = 0; at < LAST_BYTES; at += sizeof(b)) {
		for (k = 0; k < sizeof(b); k++)
			b[k] = pattern(5, at + k);
		EXPECT(write_all(app, b, sizeof(b)));
	}
	_exit(0);
}

/* The next frame with bytes or the end of stream 1; its bytes are the next, and are taken. */
static bool take_last(struct peer *p, size_t *at)
{
	size_t k;

	peer_expect(p, 0, 1);
	for (k = 0; k < p->length; k++)
		EXPECT(p->payload[k] == pattern(5, *at + k));
	*at += p->length;
	return p->flags & 1;
}

/*
 * A peer that takes its time gets all of a stream that was told as done, though the connection ends
 * then, and though it still says something, as long as it has not seen that.
 */
static void done_and_end(struct nl *nl, struct nl *events)
{
	struct conn_spec spec = { .server = true,
				  .peer_window = 2 * LAST_BYTES,
				  .send_window = 2 * LAST_BYTES };
	struct peer p = { .fd = -1 };
	int tls[2], tcp[2];
	uint32_t conn;
	size_t at = 0;
	bool end = false, told = false;

	tls_pair_narrow(tls);
	tcp_pair(tcp);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &spec);
	peer_send(&p, 1, 5, 1, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == 1);
	EXPECT(!headers_send(nl, conn, 1, false));
	EXPECT(!stream_add(nl, conn, 1, tcp[0], 1));
	write_and_go(tcp[1], p.fd);
	while (!told && !end) {
		told = nl_event(events, 0) && events->cmd == HBONE_CMD_STREAM_CLOSED;
		if (!told)
			end = take_last(&p, &at);
	}
	/* Work that waited for a CPU in between tells it when the peer has all. */
	if (!told)
		event_expect(events, HBONE_CMD_STREAM_CLOSED);
	EXPECT(nl_u32(events, HBONE_A_REASON) == HBONE_REASON_DONE);
	EXPECT(!conn_del(nl, conn, 0));
	while (!end) {
		peer_send32(&p, 8, 0, 1);
		end = take_last(&p, &at);
	}
	EXPECT(at == LAST_BYTES);
	peer_expect(&p, 7, 0);
	EXPECT(!peer_read(&p));
	close(p.fd);
	conn_gone(nl, conn);
}

void case_last_bytes(void)
{
	struct nl *nl = nl_open(), *events = nl_open();
	int i;

	nl_listen(events);
	for (i = 0; i < 2; i++)
		done_and_end(nl, events);
	nl_close(events);
	nl_close(nl);
	expect_balance();
}

/* A namespace ends with a connection in it, whose sockets are elsewhere; it may be deleted. */
static void netns_ends(bool deleted)
{
	struct peer p = { .fd = -1 };
	int tls[2], status;
	uint32_t conn;
	struct nl *nl;

	tls_pair_narrow(tls);
	p.fd = tls[0];
	if (!fork()) {
		if (unshare(CLONE_NEWNET))
			err(1, "unshare");
		nl = nl_open();
		conn = conn_add(nl, tls[1], &server);
		peer_send(&p, 1, 4, 1, "\x82", 1);
		EXPECT(headers_recv(nl, conn) == 1);
		EXPECT(fill_frames(nl, conn) > 4);
		EXPECT(!deleted || !conn_del(nl, conn, 0));
		_exit(0);
	}
	close(tls[1]);
	EXPECT(wait(&status) > 0 && !status);
	while (peer_read(&p))
		;
	close(p.fd);
}

void case_last_netns(void)
{
	netns_ends(true);
	netns_ends(false);
	expect_balance();
}

#define UNREAD_BYTES 60000

/* @code after a whole answer: the application gets that, though nobody reads what it says. */
static void unread(struct nl *nl, struct nl *events, uint32_t code, bool goes_on)
{
	static uint8_t b[UNREAD_BYTES];
	struct conn_spec spec = { .server = true, .peer_window = 10 };
	struct peer p = { .fd = -1 };
	int tls[2], tcp[2], small = 4096, big = 1 << 18;
	uint32_t conn;
	size_t at, k;

	tls_pair(tls);
	tcp_pair(tcp);
	/* What it does not read stays with us. */
	setsockopt(tcp[0], SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
	setsockopt(tcp[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &spec);
	peer_send(&p, 1, 4, 1, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == 1);
	EXPECT(!headers_send(nl, conn, 1, false));
	EXPECT(!stream_add(nl, conn, 1, tcp[0], 1));
	EXPECT(write_all(tcp[1], b, 5000));
	peer_expect(&p, 0, 1);
	for (k = 0; k < sizeof(b); k++)
		b[k] = pattern(6, k);
	for (at = 0; at < sizeof(b); at += 10000)
		peer_send(&p, 0, 0, 1, b + at, 10000);
	peer_send32(&p, 3, 1, code);
	peer_send(&p, 6, 0, 0, "01234567", 8);
	peer_expect(&p, 6, 0);
	if (goes_on)
		EXPECT(write_all(tcp[1], b, sizeof(b)));
	EXPECT(read_all(tcp[1], b, sizeof(b)));
	for (k = 0; k < sizeof(b); k++)
		EXPECT(b[k] == pattern(6, k));
	EXPECT(read_some(tcp[1], b, 1) == 0);
	/* It is not waited for then. */
	event_expect(events, HBONE_CMD_STREAM_CLOSED);
	EXPECT(nl_u32(events, HBONE_A_REASON) == HBONE_REASON_DONE);
	close(tcp[1]);
	close(p.fd);
	conn_gone(nl, conn);
}

void case_last_unread(void)
{
	struct nl *nl = nl_open(), *events = nl_open();
	int i;

	nl_listen(events);
	for (i = 0; i < 4; i++)
		unread(nl, events, i & 1 ? 0 : 8, i & 2);
	nl_close(events);
	nl_close(nl);
	expect_balance();
}
