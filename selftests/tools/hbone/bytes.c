// SPDX-License-Identifier: GPL-2.0-or-later
/* That bytes arrive: all, in order, and only when there is room. */
#include "cases.h"
#include "mesh.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct conn_spec plain = { .window = 0 };

/* Around the borders of frames, records, windows and their sums. */
static void around(size_t *sizes, size_t *n, size_t border)
{
	int d;

	for (d = -2; d <= 2; d++)
		if (border + d < (1u << 30))
			sizes[(*n)++] = border + d;
}

void case_sizes(void)
{
	static const size_t borders[] = { 2,	 9,	4096,  16375,  16384,  16393,
					  32750, 32768, 65535, 131070, 1048576 };
	size_t sizes[64], n = 0, i;
	struct tunnel t;
	struct app app[2];
	int fd[2];

	for (i = 0; i < sizeof(borders) / sizeof(borders[0]); i++)
		around(sizes, &n, borders[i]);
	tunnel_open(&t, &plain, &plain);
	for (i = 0; i < n; i++) {
		tunnel_stream(&t, fd);
		app_pair(&app[0], &app[1], fd, sizes[i], sizes[n - 1 - i]);
		pump(app, 2, 1 << 16);
	}
	tunnel_close(&t);
	expect_balance();
	EXPECT(stat_number("StreamsCreated") == 2 * n);
}

void case_chunks(void)
{
	static const size_t chunks[] = { 1, 7, 100, 1447, 4097, 16376, 65536 };
	struct tunnel t;
	struct app app[2];
	size_t i;
	int fd[2];

	tunnel_open(&t, &plain, &plain);
	for (i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
		size_t times = chunks[i] < 4096 ? 300 : 50;

		tunnel_stream(&t, fd);
		app_pair(&app[0], &app[1], fd, chunks[i] * times, chunks[i] * 30);
		pump(app, 2, chunks[i]);
	}
	tunnel_close(&t);
	expect_balance();
}

static void many(int streams, uint64_t most)
{
	struct app *app = calloc(2 * streams, sizeof(*app));
	struct tunnel t;
	int fd[2], i;

	EXPECT(app);
	tunnel_open(&t, &plain, &plain);
	for (i = 0; i < streams; i++) {
		uint64_t n = most * (i + 1) / streams;

		tunnel_stream(&t, fd);
		app_pair(&app[2 * i], &app[2 * i + 1], fd, n, most - n);
	}
	EXPECT(ask_number(t.nl, t.client, 0, HBONE_A_STREAMS) == streams);
	EXPECT(ask_number(t.nl, t.server, 0, HBONE_A_STREAMS) == streams);
	pump(app, 2 * streams, 1 << 14);
	tunnel_close(&t);
	free(app);
	expect_balance();
}

void case_many(void)
{
	many(1000, 20000);
}

/* Where TCP has little memory, from outside. */
void case_starved(void)
{
	many(50, 600000);
}

/* A server's connection with us as the client, and stream 1 with an application. */
static uint32_t raw_open(struct nl *nl, struct peer *p, const struct conn_spec *spec, int *app)
{
	struct conn_spec s = *spec;
	int tls[2], tcp[2];
	uint32_t conn;

	s.server = true;
	tls_pair(tls);
	tcp_pair(tcp);
	memset(p, 0, sizeof(*p));
	p->fd = tls[0];
	conn = conn_add(nl, tls[1], &s);
	peer_send(p, 1, 4, 1, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == 1);
	EXPECT(!stream_add(nl, conn, 1, tcp[0], 1));
	*app = tcp[1];
	return conn;
}

static void expect_bytes(int fd, const char *want)
{
	char got[256];
	size_t n = strlen(want);

	EXPECT(n <= sizeof(got) && read_all(fd, got, n));
	if (memcmp(got, want, n))
		FAIL("got \"%.*s\", not \"%s\"", (int)n, got, want);
}

/* To PING and SETTINGS, in any order. */
static void expect_answers(struct peer *p)
{
	bool ping = false, settings = false;

	while (!ping || !settings) {
		EXPECT(peer_read(p));
		EXPECT(p->flags == 1 && (p->type == 4 || p->type == 6));
		if (p->type == 4)
			settings = true;
		else
			ping = !memcmp(p->payload, "01234567", 8);
	}
}

/* The same frames, in two records, cut at each byte; then one record a byte. */
void case_split(void)
{
	struct nl *nl = nl_open();
	uint8_t b[256], at = 0;
	struct peer p;
	uint32_t conn;
	size_t n = 0, cut;
	int app;

	n += frame(b + n, 0, 0, 1, "hello", 5);
	n += frame(b + n, 6, 0, 0, "01234567", 8);
	n += frame(b + n, 0, 8, 1, "\2 world\0\0", 9);
	n += frame(b + n, 8, 0, 1, "\0\0\0\1", 4);
	n += frame(b + n, 4, 0, 0, "\0\4\0\1\0\0", 6);
	n += frame(b + n, 0x55, 0, 3, "unknown", 7);
	n += frame(b + n, 0, 0, 1, "", 0);
	n += frame(b + n, 0, 0, 1, "!", 1);
	conn = raw_open(nl, &p, &plain, &app);
	for (cut = 0; cut <= n; cut++) {
		EXPECT(!cut || write_all(p.fd, b, cut));
		EXPECT(cut == n || write_all(p.fd, b + cut, n - cut));
		expect_bytes(app, "hello world!");
		expect_answers(&p);
	}
	for (; at < n; at++)
		EXPECT(write_all(p.fd, b + at, 1));
	expect_bytes(app, "hello world!");
	EXPECT(ask_number(nl, conn, 1, HBONE_A_RX_BYTES) == (int64_t)(12 * (n + 2)));
	close(app);
	close(p.fd);
	conn_gone(nl, conn);
	nl_close(nl);
	expect_balance();
}

/* Padding counts against the windows and comes back to them: more of it than the windows hold. */
void case_padded(void)
{
	struct conn_spec spec = { .window = 4096, .recv_window = 8192 };
	uint8_t b[300] = { 255 }, got[44];
	struct nl *nl = nl_open();
	int32_t window = 4096, conn_window = 8192;
	struct peer p;
	uint32_t conn;
	int app, i;

	memset(b + 1, 'x', 44);
	conn = raw_open(nl, &p, &spec, &app);
	for (i = 0; i < 200; i++) {
		while (window < 300 || conn_window < 300) {
			EXPECT(peer_read(&p) && p.type == 8);
			if (p.stream)
				window += peer_u32(&p, 0);
			else
				conn_window += peer_u32(&p, 0);
			EXPECT(window <= 4096 && conn_window <= 8192);
		}
		peer_send(&p, 0, 8, 1, b, 300);
		window -= 300;
		conn_window -= 300;
		EXPECT(read_all(app, got, 44) && !memcmp(got, b + 1, 44));
	}
	peer_send(&p, 0, 9, 1, "\0", 1);
	EXPECT(read_some(app, got, 1) == 0);
	shutdown(app, SHUT_WR);
	peer_expect(&p, 0, 1);
	EXPECT(p.flags == 1 && !p.length);
	WAIT_FOR(ask_number(nl, conn, 1, HBONE_A_STREAM) == -ENOENT, "the stream ends");
	close(app);
	close(p.fd);
	conn_gone(nl, conn);
	nl_close(nl);
	expect_balance();
}

/* Bytes that come before there is an application, and bytes that were read before the handover. */
void case_early(void)
{
	struct nl *nl = nl_open();
	uint8_t input[128];
	struct conn_spec spec = { .server = true, .input = input };
	struct peer p = { .fd = -1 };
	int tls[2], tcp[2];
	uint32_t conn;

	spec.ninput = frame(input, 1, 4, 1, "\x82", 1);
	spec.ninput += frame(input + spec.ninput, 0, 0, 1, "input,", 6) - 2;
	tls_pair(tls);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &spec);
	EXPECT(write_all(p.fd, "t,", 2));
	peer_send(&p, 0, 1, 1, "early", 5);
	EXPECT(headers_recv(nl, conn) == 1);
	WAIT_FOR(ask_number(nl, conn, 1, HBONE_A_BACKLOG) == 11, "all bytes are there");
	EXPECT(ask_number(nl, conn, 0, HBONE_A_BACKLOG) == 11);
	tcp_pair(tcp);
	EXPECT(!stream_add(nl, conn, 1, tcp[0], 0));
	expect_bytes(tcp[1], "input,early");
	EXPECT(read_some(tcp[1], input, 1) == 0);
	close(tcp[1]);
	close(p.fd);
	conn_gone(nl, conn);
	nl_close(nl);
	expect_balance();
}

enum how { READS, GONE, RESETS };

/*
 * The peer ends a stream and then the connection: it may still read of it, or is gone, or resets
 * it. A slow application still gets all.
 */
static void late_reader(enum how how)
{
	struct conn_spec spec = { .window = 8 << 20, .recv_window = 8 << 20 };
	size_t total = 6 << 20, at = 0, k;
	struct nl *nl = nl_open(), *events = nl_open();
	uint8_t b[16384];
	struct peer p;
	uint32_t conn;
	int app, ret, small = 65536;

	nl_listen(events);
	conn = raw_open(nl, &p, &spec, &app);
	/* So that nothing is given back to the peer before it is gone. */
	setsockopt(app, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	shutdown(app, SHUT_WR);
	peer_expect(&p, 0, 1);
	/* This one does not outlive the peer, so it shows when its end was seen. */
	peer_send(&p, 1, 4, 3, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == 3);
	for (; at < total; at += 8192) {
		for (k = 0; k < 8192; k++)
			b[k] = pattern(3, at + k);
		peer_send(&p, 0, at + 8192 == total, 1, b, 8192);
	}
	/* A reset takes along what is still on its way. */
	WAIT_FOR(ask_number(nl, conn, 1, HBONE_A_RX_BYTES) == (int64_t)total, "all is there");
	if (how == RESETS)
		reset(p.fd);
	else
		shutdown(p.fd, SHUT_WR);
	WAIT_FOR(ask_number(nl, conn, 3, HBONE_A_STREAM) == -ENOENT, "the end is seen");
	EXPECT(ask_number(nl, conn, 1, HBONE_A_BACKLOG) > 0);
	if (how == GONE)
		close(p.fd);
	if (how != READS) {
		EXPECT(!conn_drain(nl, conn, 0) && !conn_drain(nl, conn, HBONE_F_FINAL));
	}
	for (at = 0; (ret = read_some(app, b, sizeof(b))) > 0; at += ret)
		for (k = 0; k < (size_t)ret; k++)
			EXPECT(b[k] == pattern(3, at + k));
	EXPECT(!ret && at == total);
	event_expect(events, HBONE_CMD_CONN_CLOSED);
	EXPECT(nl_u32(events, HBONE_A_REASON) ==
	       (how == RESETS ? HBONE_REASON_SOCKET : HBONE_REASON_DONE));
	EXPECT(nl_u32(events, HBONE_A_ERRNO) == (how == RESETS ? ECONNRESET : 0));
	conn_gone(nl, conn);
	if (how == READS)
		close(p.fd);
	close(app);
	nl_close(events);
	nl_close(nl);
	expect_balance();
}

void case_late_reader(void)
{
	late_reader(READS);
	late_reader(GONE);
	late_reader(RESETS);
}

/* An application that does not read holds up nobody, and no more than its window. */
void case_slow_reader(void)
{
	struct conn_spec spec = { .window = 1 << 18, .recv_window = 1 << 18 };
	struct tunnel t;
	int fd[2], i, tries = PEER_MS;
	struct app app[4];

	tunnel_open(&t, &spec, &spec);
	for (i = 0; i < 2; i++) {
		tunnel_stream(&t, fd);
		app_pair(&app[2 * i], &app[2 * i + 1], fd, 12 << 20, 1000);
	}
	/*
	 * Stream 1 writes as much as goes; nobody reads. Sockets may grow to take some megabytes,
	 * then the window shuts.
	 */
	for (;;) {
		uint8_t b[4096];
		size_t k, left = app[0].tx - app[0].tx_at;
		ssize_t n = 0;

		for (k = 0; k < sizeof(b) && k < left; k++)
			b[k] = pattern(app[0].tx_seed, app[0].tx_at + k);
		if (k)
			n = send(app[0].fd, b, k, MSG_DONTWAIT);
		if (n > 0) {
			app[0].tx_at += n;
			continue;
		}
		if (ask_number(t.nl, t.server, 1, HBONE_A_BACKLOG) > 0 &&
		    ask_number(t.nl, t.server, 1, HBONE_A_RECV_WINDOW) == 0)
			break;
		if (!tries--)
			FAIL("the window does not shut");
		usleep(1000);
	}
	EXPECT(ask_number(t.nl, t.server, 1, HBONE_A_BACKLOG) <= 1 << 18);
	/* The other has its way, far beyond the connection's window. */
	pump(app + 2, 2, 1 << 16);
	pump(app, 2, 1 << 16);
	tunnel_close(&t);
	expect_balance();
}

/* We as the peer open windows by single bytes: never is more sent than they allow. */
void case_slow_window(void)
{
	struct conn_spec spec = { .peer_window = 10, .send_window = 15 };
	struct nl *nl = nl_open();
	uint64_t at = 0;
	struct peer p;
	uint32_t conn, i, k, allowed = 10, opened = 15;
	uint8_t b[4096];
	int app;

	conn = raw_open(nl, &p, &spec, &app);
	for (k = 0; k < sizeof(b); k++)
		b[k] = pattern(7, k);
	EXPECT(write_all(app, b, 2000));
	shutdown(app, SHUT_WR);
	for (i = 0; at < 2000; i++) {
		peer_expect(&p, 0, 1);
		for (k = 0; k < p.length; k++)
			EXPECT(p.payload[k] == pattern(7, at + k));
		at += p.length;
		EXPECT(at <= allowed && at <= opened);
		if (at == allowed) {
			peer_send32(&p, 8, 1, 1 + i % 50);
			allowed += 1 + i % 50;
		}
		if (at == opened) {
			peer_send32(&p, 8, 0, 1 + i % 70);
			opened += 1 + i % 70;
		}
	}
	if (!(p.flags & 1)) {
		/* The end needs no window. */
		peer_expect(&p, 0, 1);
		EXPECT(p.flags == 1 && !p.length);
	}
	close(app);
	close(p.fd);
	conn_gone(nl, conn);
	nl_close(nl);
	expect_balance();
}

/* SETTINGS_INITIAL_WINDOW_SIZE takes from windows what was given, and MAX_FRAME_SIZE holds. */
void case_settings(void)
{
	struct conn_spec spec = { .peer_window = 1000 };
	struct nl *nl = nl_open();
	uint8_t b[40000] = { 1 };
	uint32_t conn, got = 0, longest = 0;
	struct peer p;
	int app;

	conn = raw_open(nl, &p, &spec, &app);
	EXPECT(write_all(app, b, sizeof(b)));
	while (got < 1000) {
		peer_expect(&p, 0, 1);
		got += p.length;
	}
	EXPECT(got == 1000);
	peer_send(&p, 4, 0, 0, "\0\4\0\0\0\144", 6); /* 100 */
	peer_expect(&p, 4, 0);
	EXPECT(ask_number(nl, conn, 1, HBONE_A_SEND_WINDOW) == -900);
	peer_send32(&p, 8, 1, 900);
	peer_send(&p, 6, 0, 0, "01234567", 8);
	peer_expect(&p, 6, 0);
	EXPECT(ask_number(nl, conn, 1, HBONE_A_SEND_WINDOW) == 0);
	EXPECT(ask_number(nl, conn, 1, HBONE_A_TX_BYTES) == 1000);
	/* 100 000, and frames of 20 000. */
	peer_send(&p, 4, 0, 0, "\0\4\0\1\x86\xa0\0\5\0\0\x4e\x20", 12);
	while (got < sizeof(b)) {
		peer_expect(&p, 0, 1);
		got += p.length;
		longest = p.length > longest ? p.length : longest;
	}
	EXPECT(longest > 1000 && longest <= 20000);
	close(app);
	close(p.fd);
	conn_gone(nl, conn);
	nl_close(nl);
	expect_balance();
}
