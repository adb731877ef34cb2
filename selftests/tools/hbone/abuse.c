// SPDX-License-Identifier: GPL-2.0-or-later
/* Peers that break HTTP/2: which scope is hit, and that nothing else is. */
#include "cases.h"
#include "mesh.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const struct conn_spec server = { .server = true, .recv_window = 100000 };

#define HEAD(len, type, flags, sid) "\0" len type flags "\0\0\0" sid
#define OPEN(sid) HEAD("\0\1", "\1", "\4", sid) "\x82"

/* What is said to frames on a server's connection, where stream 1 is open, 3 is not. */
static const struct {
	const char *what, *frames;
	size_t n;
	uint8_t type; /* of the frame that must come: 3 RST_STREAM, 7 GOAWAY, 6 PING: nothing */
	uint32_t code; /* in it */
} rows[] = {
#define ROW(what, frames, type, code)                                                              \
	{                                                                                          \
		what, frames, sizeof(frames) - 1, type, code                                       \
	}
	ROW("unknown frame", HEAD("\0\3", "\x7f", "\xff", "\1") "abc", 6, 0),
	ROW("priority", HEAD("\0\5", "\2", "\0", "\1") "\0\0\0\0\1", 6, 0),
	ROW("settings unknown", HEAD("\0\6", "\4", "\0", "\0") "\x33\x33\0\0\0\1", 6, 0),
	ROW("settings ack unasked", HEAD("\0\0", "\4", "\1", "\0"), 6, 0),
	ROW("ping ack unasked", HEAD("\0\10", "\6", "\1", "\0") "abcdefgh", 6, 0),
	ROW("empty data", HEAD("\0\0", "\0", "\0", "\1"), 6, 0),
	ROW("reset, then late data",
	    HEAD("\0\4", "\3", "\0", "\1") "\0\0\0\2" HEAD("\0\1", "\0", "\0", "\1") "x", 6, 0),
	ROW("reset, then window",
	    HEAD("\0\4", "\3", "\0", "\1") "\0\0\0\2" HEAD("\0\4", "\10", "\0", "\1") "\0\0\0\1", 6,
	    0),
	ROW("window of zero on a stream", HEAD("\0\4", "\10", "\0", "\1") "\0\0\0\0", 3, 1),
	ROW("window overflow on a stream", HEAD("\0\4", "\10", "\0", "\1") "\x7f\xff\xff\xff", 3,
	    3),
	ROW("priority of wrong length", HEAD("\0\4", "\2", "\0", "\1") "\0\0\0\0", 3, 6),
	ROW("data after its end", HEAD("\0\0", "\0", "\1", "\1") HEAD("\0\1", "\0", "\0", "\1") "x",
	    3, 5),
	ROW("headers after its end", HEAD("\0\0", "\0", "\1", "\1") HEAD("\0\0", "\1", "\5", "\1"),
	    3, 5),
	ROW("data on the connection", HEAD("\0\1", "\0", "\0", "\0") "x", 7, 1),
	ROW("data on an idle stream", HEAD("\0\1", "\0", "\0", "\5") "x", 7, 1),
	ROW("data on an even stream", HEAD("\0\1", "\0", "\0", "\2") "x", 7, 1),
	ROW("headers on an even stream", HEAD("\0\1", "\1", "\4", "\2") "\x82", 7, 1),
	ROW("rst of an idle stream", HEAD("\0\4", "\3", "\0", "\5") "\0\0\0\0", 7, 1),
	ROW("window of an idle stream", HEAD("\0\4", "\10", "\0", "\5") "\0\0\0\1", 7, 1),
	ROW("window overflow", HEAD("\0\4", "\10", "\0", "\0") "\x7f\xff\xff\xff", 7, 3),
	ROW("window of zero", HEAD("\0\4", "\10", "\0", "\0") "\0\0\0\0", 7, 1),
	ROW("push", HEAD("\0\4", "\5", "\4", "\1") "\0\0\0\2", 7, 1),
	ROW("continuation", HEAD("\0\1", "\11", "\4", "\1") "x", 7, 1),
	ROW("a frame in a block", HEAD("\0\1", "\1", "\0", "\3") "x" HEAD("\0\0", "\0", "\0", "\1"),
	    7, 1),
	ROW("settings of wrong length", HEAD("\0\5", "\4", "\0", "\0") "12345", 7, 6),
	ROW("settings: frame size", HEAD("\0\6", "\4", "\0", "\0") "\0\5\0\0\0\1", 7, 1),
	ROW("settings: window", HEAD("\0\6", "\4", "\0", "\0") "\0\4\xff\xff\xff\xff", 7, 3),
	ROW("settings: window over a grown one",
	    HEAD("\0\4", "\10", "\0", "\1") "\x7f\0\0\0" HEAD("\0\6", "\4", "\0",
							      "\0") "\0\4\x7f\xff\xff\xff",
	    7, 3),
	ROW("padding longer than data", HEAD("\0\2", "\0", "\10", "\1") "\2x", 7, 1),
	ROW("too long a frame", "\0\x40\1\0\0\0\0\0\1", 7, 6),
};

/* The connection, with stream 1 attached; what was said so far is nothing. */
static uint32_t open_with(struct nl *nl, const struct conn_spec *spec, struct peer *p, int *app)
{
	int tls[2], tcp[2];
	uint32_t conn;

	tls_pair(tls);
	tcp_pair(tcp);
	memset(p, 0, sizeof(*p));
	p->fd = tls[0];
	conn = conn_add(nl, tls[1], spec);
	peer_send(p, 1, 4, 1, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == 1);
	EXPECT(!stream_add(nl, conn, 1, tcp[0], 0));
	*app = tcp[1];
	return conn;
}

static uint32_t open_one(struct nl *nl, struct peer *p, int *app)
{
	return open_with(nl, &server, p, app);
}

/* The PING is answered, and the stream is reset or not; in any order. */
static void expect_alive(struct peer *p, size_t i)
{
	bool ping = false, reset = rows[i].type != 3;

	while (!ping || !reset) {
		if (!peer_read(p))
			FAIL("%s: the connection ended", rows[i].what);
		if (p->type == 7 || (p->type == 3 && reset))
			FAIL("%s: frame %u, code %u", rows[i].what, p->type,
			     peer_u32(p, p->type == 7 ? 4 : 0));
		if (p->type == 3) {
			if (p->stream != 1 || peer_u32(p, 0) != rows[i].code)
				FAIL("%s: code %u", rows[i].what, peer_u32(p, 0));
			reset = true;
		}
		ping = ping || p->type == 6;
	}
}

static void run_row(struct nl *nl, size_t i)
{
	struct peer p;
	uint32_t conn;
	char byte;
	int app;

	conn = open_one(nl, &p, &app);
	EXPECT(write_all(p.fd, rows[i].frames, rows[i].n));
	if (rows[i].type != 7) {
		EXPECT(write_all(p.fd, HEAD("\0\10", "\6", "\0", "\0") "01234567", 17));
		expect_alive(&p, i);
		/* Its end may have come before. */
		if (rows[i].type == 3)
			EXPECT(read_some(app, &byte, 1) <= 0);
		close(p.fd);
	} else {
		do {
			if (!peer_read(&p))
				FAIL("%s: no GOAWAY", rows[i].what);
		} while (p.type != 7);
		if (peer_u32(&p, 4) != rows[i].code)
			FAIL("%s: code %u", rows[i].what, peer_u32(&p, 4));
		EXPECT(!peer_read(&p));
		EXPECT(read_some(app, &byte, 1) == -ECONNRESET);
		close(p.fd);
	}
	close(app);
	conn_gone(nl, conn);
}

/* More data than a stream's window allows. */
static void overflow(struct nl *nl)
{
	uint8_t b[16384] = { 0 };
	struct peer p;
	uint32_t conn, left = WINDOW;
	int app, tcp[2];

	conn = open_one(nl, &p, &app);
	/* Stream 3 has no application, so nothing goes back to its window. */
	peer_send(&p, 1, 4, 3, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == 3);
	for (; left > sizeof(b); left -= sizeof(b))
		peer_send(&p, 0, 0, 3, b, sizeof(b));
	peer_send(&p, 0, 0, 3, b, left);
	peer_send(&p, 0, 0, 3, b, 1);
	peer_expect(&p, 3, 3);
	EXPECT(peer_u32(&p, 0) == 3);
	/* Others live. */
	peer_send(&p, 0, 1, 1, "fine", 4);
	EXPECT(read_all(app, b, 4) && !memcmp(b, "fine", 4));
	tcp_pair(tcp);
	EXPECT(stream_add(nl, conn, 3, tcp[0], 0) == -ENOENT);
	close(tcp[1]);
	close(p.fd);
	close(app);
	conn_gone(nl, conn);
}

/* What the module keeps before the connection's window shuts. */
#define BACKLOG 1048576
#define PART (WINDOW / 5)

/* More than the connection's, which is given back as long as less than that waits. */
static void overflow_conn(struct nl *nl)
{
	static uint8_t b[PART];
	struct peer p;
	uint32_t conn, stream = 3;
	int64_t left, sent = 0;
	int app, n = 0;

	conn = open_one(nl, &p, &app);
	for (;;) {
		left = ask_number(nl, conn, 0, HBONE_A_RECV_WINDOW);
		if (left < PART)
			break;
		if (n % 5 == 0) {
			stream += n ? 2 : 0;
			peer_send(&p, 1, 4, stream, "\x82", 1);
			EXPECT(headers_recv(nl, conn) == stream);
		}
		peer_send(&p, 0, 0, stream, b, PART);
		sent += PART;
		n++;
		WAIT_FOR(ask_number(nl, conn, 0, HBONE_A_RX_BYTES) == sent, "a frame is read");
	}
	EXPECT(sent > BACKLOG && sent < 2 * BACKLOG && n % 5);
	peer_send(&p, 0, 0, stream, b, left + 1);
	peer_expect(&p, 7, 0);
	EXPECT(peer_u32(&p, 4) == 3 && !peer_read(&p));
	EXPECT(read_some(app, b, 1) == -ECONNRESET);
	close(p.fd);
	close(app);
	conn_gone(nl, conn);
}

void case_errors(void)
{
	struct nl *nl = nl_open();
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		run_row(nl, i);
	overflow(nl);
	overflow_conn(nl);
	nl_close(nl);
	expect_balance();
	EXPECT(stat_number("ConnErrors") == 18);
}

/* One frame again and again, until the connection ends for it. */
static void flood_on(struct nl *nl, uint32_t conn, struct peer *p, const char *what,
		     const char *frames, size_t n)
{
	uint8_t b[16384];
	uint32_t code = 0;
	size_t at, sent;

	for (at = 0; at + n <= sizeof(b); at += n)
		memcpy(b + at, frames, n);
	/* Nobody reads answers meanwhile. */
	for (sent = 0; sent < 64 << 20 && write_all(p->fd, b, at); sent += at) {
		if (ask_number(nl, conn, 0, HBONE_A_CONN) < 0)
			break;
	}
	if (sent >= 64 << 20)
		FAIL("%s: nobody minds", what);
	while (peer_read(p))
		if (p->type == 7)
			code = peer_u32(p, 4);
	/* Unless a reset overtook it. */
	if (code && code != 11)
		FAIL("%s: code %u", what, code);
	close(p->fd);
	conn_gone(nl, conn);
}

static void flood(struct nl *nl, const char *what, const char *frames, size_t n)
{
	struct peer p;
	int app;
	uint32_t conn = open_one(nl, &p, &app);

	flood_on(nl, conn, &p, what, frames, n);
	close(app);
}

/* More than TCP takes for an application that does not read. */
#define UNREAD_FRAMES 13
#define UNREAD_FRAME 16000

/* The same reset again and again, of a stream that its application keeps. */
static void flood_resets(struct nl *nl)
{
	static const struct conn_spec spec = { .server = true, .window = 1 << 18 };
	static const uint8_t zeros[UNREAD_FRAME];
	struct peer p;
	int app, i, least = 1;
	uint32_t conn = open_with(nl, &spec, &p, &app);

	setsockopt(app, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
	for (i = 0; i < UNREAD_FRAMES; i++)
		peer_send(&p, 0, 0, 1, zeros, sizeof(zeros));
	flood_on(nl, conn, &p, "resets", HEAD("\0\4", "\3", "\0", "\1") "\0\0\0\10", 13);
	close(app);
}

void case_floods(void)
{
	struct nl *nl = nl_open();

#define FLOOD(what, frames) flood(nl, what, frames, sizeof(frames) - 1)
	FLOOD("ping", HEAD("\0\10", "\6", "\0", "\0") "abcdefgh");
	FLOOD("settings", HEAD("\0\0", "\4", "\0", "\0"));
	FLOOD("settings with content", HEAD("\0\6", "\4", "\0", "\0") "\0\4\0\0\xff\xff");
	FLOOD("empty data", HEAD("\0\0", "\0", "\0", "\1"));
	FLOOD("priority", HEAD("\0\5", "\2", "\0", "\1") "\0\0\0\0\1");
	FLOOD("unknown", HEAD("\0\0", "\x7f", "\0", "\0"));
	FLOOD("windows", HEAD("\0\4", "\10", "\0", "\1") "\0\0\0\1");
	flood_resets(nl);
	nl_close(nl);
	expect_balance();
	EXPECT(stat_number("Floods") == 8 && stat_number("ConnErrors") == 8);
}

/* More streams than there may be, and headers that nobody takes. */
void case_refused(void)
{
	struct conn_spec spec = { .server = true, .max_streams = 3 };
	struct nl *nl = nl_open();
	uint32_t conn, id, refused = 0, last;
	uint8_t big[16000] = { 0 };
	struct peer p = { .fd = -1 };
	int tls[2], tcp[2];

	tls_pair(tls);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &spec);
	for (id = 1; id <= 9; id += 2)
		peer_send(&p, 1, 4, id, "\x82", 1);
	peer_expect(&p, 3, 7);
	EXPECT(peer_u32(&p, 0) == 7);
	peer_expect(&p, 3, 9);
	for (id = 1; id <= 9; id += 2) {
		EXPECT(headers_recv(nl, conn) == id);
		refused += nl_u32(nl, HBONE_A_FLAGS) == HBONE_F_REFUSED;
	}
	EXPECT(refused == 2 && stat_number("StreamsRefused") == 2);
	tcp_pair(tcp);
	EXPECT(!stream_add(nl, conn, 1, tcp[0], 0));
	EXPECT(!stream_del(nl, conn, 3, 7));
	peer_expect(&p, 3, 3);
	/* Its place is free again. */
	peer_send(&p, 1, 5, 11, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == 11);
	EXPECT(nl_u32(nl, HBONE_A_FLAGS) == 0);
	/* Now nobody takes them: more than the module keeps. */
	EXPECT(!stream_del(nl, conn, 5, 8) && !stream_del(nl, conn, 11, 8));
	for (id = 13; id < 13 + 2 * 20; id += 2)
		peer_send(&p, 1, 4, id, big, sizeof(big));
	peer_expect(&p, 7, 0);
	EXPECT(peer_u32(&p, 4) == 0);
	last = peer_u32(&p, 0);
	EXPECT(stat_number("RxHeadersLost") > 0);
	EXPECT(ask_number(nl, conn, 0, HBONE_A_FLAGS) == (HBONE_F_SERVER | HBONE_F_DRAINING));
	/* What lives lives on. */
	peer_send(&p, 0, 0, 1, "alive", 5);
	EXPECT(read_all(tcp[1], big, 5) && !memcmp(big, "alive", 5));
	/* What was refused since is in no later GOAWAY either. */
	peer_send(&p, 1, 4, id, "\x82", 1);
	peer_expect(&p, 3, id);
	EXPECT(peer_u32(&p, 0) == 7);
	EXPECT(!conn_del(nl, conn, 0));
	peer_expect(&p, 7, 0);
	EXPECT(peer_u32(&p, 0) == last && last < id);
	close(tcp[1]);
	close(p.fd);
	conn_gone(nl, conn);
	nl_close(nl);
	expect_balance();
}

#define MUTATED 250
#define MUTATED_BYTES 4096

static uint32_t chance;

static uint32_t random_number(uint32_t below)
{
	chance = chance * 1664525 + 1013904223;
	return (chance >> 8) % below;
}

/* A frame that is right, mostly. */
static size_t random_frame(uint8_t *to)
{
	static const uint8_t types[] = { 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 6, 8, 8, 8, 0x20, 7 };
	uint8_t payload[64] = { 0 }, type = types[random_number(sizeof(types))], flags = 0;
	size_t k = type == 3 || type == 8 ? 4 : type == 6 || type == 7 ? 8 : random_number(60), i;
	uint32_t stream = 1 + 2 * random_number(4);

	for (i = 0; i < k; i++)
		payload[i] = random_number(256);
	if (type == 8)
		memcpy(payload, "\0\0\1", 3);
	if (type == 2)
		k = 5;
	if (type == 4)
		k = k / 6 * 6;
	for (i = 0; type == 4 && i < k; i += 6)
		memcpy(payload + i, random_number(2) ? "\0\4\0" : "\0\3\0", 3);
	if (type == 0 && k && !random_number(3)) {
		flags = 8;
		payload[0] = random_number(k);
	}
	if ((type == 0 || type == 1) && !random_number(20))
		flags |= 1;
	if (type == 1)
		flags |= 4;
	if (type == 4 || type == 6 || type == 7 || (type == 8 && random_number(2)))
		stream = 0;
	/* A few resets, not all. */
	if (type == 3 && random_number(4))
		type = 0x30;
	if (!random_number(150))
		type = random_number(256);
	return frame(to, type, flags, stream, payload, k);
}

static size_t random_frames(uint8_t *b, size_t size)
{
	size_t n = 0, i;

	for (i = 3; i <= 7; i += 2)
		n += frame(b + n, 1, 4, i, "\x82", 1);
	while (n + 9 + 64 < size)
		n += random_frame(b + n);
	for (i = random_number(3); i; i--)
		b[random_number(n)] = random_number(256);
	return n;
}

static void run_mutated(struct nl *nl)
{
	uint8_t b[MUTATED_BYTES];
	size_t n = random_frames(b, sizeof(b)), at = 0, step;
	struct peer p;
	uint32_t conn;
	int app;

	conn = open_one(nl, &p, &app);
	while (at < n) {
		step = 1 + random_number(700);
		if (step > n - at)
			step = n - at;
		if (!write_all(p.fd, b + at, step))
			break;
		at += step;
	}
	if (!random_number(2))
		shutdown(app, SHUT_WR);
	close(p.fd);
	close(app);
	conn_gone(nl, conn);
}

static unsigned long setting(const char *name)
{
	const char *value = getenv(name);

	return value ? strtoul(value, NULL, 10) : 0;
}

/*
 * A number makes a connection. FUZZ_SECONDS has it go on for so long, from number FUZZ_SEED times a
 * million; who fails or panics has told the last one a second ago.
 */
void case_mutated(void)
{
	uint32_t first = setting("FUZZ_SEED") * 1000000, i;
	time_t end = time(NULL) + setting("FUZZ_SECONDS"), told = 0, now;
	struct nl *nl = nl_open();

	for (i = 0; i < MUTATED || time(NULL) < end; i++) {
		chance = first + i;
		now = time(NULL);
		if (now != told && now < end)
			fprintf(stderr, "mutated: number %u\n", chance);
		told = now;
		run_mutated(nl);
	}
	nl_close(nl);
	expect_balance();
	EXPECT(stat_number("ConnsCreated") == i && stat_number("ConnErrors") > 0);
	EXPECT(stat_number("StreamErrors") > 0 && stat_number("RxBytes") > MUTATED * 100);
}
