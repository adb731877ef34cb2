// SPDX-License-Identifier: GPL-2.0-or-later
/* What the module keeps for a stream: its owner's note, and how much memory in all. */
#include "cases.h"
#include "mesh.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct conn_spec server = { .server = true };

/* Byte for byte what the stream was given; the cookie tells how many. */
static void see_note(struct nl *nl, void *ctx)
{
	uint32_t *streams = ctx, id = nl_u32(nl, HBONE_A_STREAM);
	size_t want = nl_u64(nl, HBONE_A_COOKIE), n, i;
	const uint8_t *p;

	++*streams;
	if (!want) {
		EXPECT(!nl->a[HBONE_A_NOTE]);
		return;
	}
	EXPECT(nl->a[HBONE_A_NOTE]);
	p = nl_bytes(nl, HBONE_A_NOTE, &n);
	EXPECT(n == want);
	for (i = 0; i < n; i++)
		EXPECT(p[i] == pattern(id, i));
}

/* A stream of the peer's, @with a note, of @n bytes. The application's end. */
static int noted(struct nl *nl, uint32_t conn, struct peer *p, uint32_t id, size_t n, bool with)
{
	uint8_t note[HBONE_NOTE_MAX + 1];
	size_t i;
	int tcp[2];

	tcp_pair(tcp);
	for (i = 0; i < sizeof(note); i++)
		note[i] = pattern(id, i);
	peer_send(p, 1, 4, id, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == id);
	/* What fails leaves nothing. */
	EXPECT(stream_note(nl, conn, id, dup(tcp[0]), 7, note, sizeof(note)) == -ERANGE);
	EXPECT(nl->error[0]);
	EXPECT(stream_note(nl, conn, id, dup(nl->fd), 7, note, HBONE_NOTE_MAX) == -EOPNOTSUPP);
	EXPECT(ask_number(nl, conn, id, HBONE_A_COOKIE) == 0 && !nl->a[HBONE_A_NOTE]);
	EXPECT(!stream_note(nl, conn, id, tcp[0], n, with ? note : NULL, n));
	return tcp[1];
}

#define NOTED 40 /* more than one message of a dump holds */
#define LEAKS 1200

/* Again and again, until what is lost each time would show. */
static void note_leaks(struct nl *nl, uint32_t conn, struct peer *p, uint32_t id)
{
	uint64_t before = 0;
	int i;

	for (i = -LEAKS / 10; i < LEAKS; i++, id += 2) {
		if (!i)
			before = slab_bytes();
		close(noted(nl, conn, p, id, HBONE_NOTE_MAX, true));
		EXPECT(!stream_del(nl, conn, id, 8));
		peer_expect(p, 3, id);
	}
	/* Freed after a grace period. */
	for (i = 0; i < 100 && slab_bytes() > before + LEAKS * HBONE_NOTE_MAX / 2; i++)
		usleep(100000);
	if (i == 100)
		FAIL("slabs grew by %lld bytes", (long long)(slab_bytes() - before));
}

/* What an owner writes on a stream the next one reads. */
void case_notes(void)
{
	static const size_t length[] = { 0, 0, 1, 2, 3, 4, 5, 1000, 1023 };
	struct nl *nl = nl_open(), *events = nl_open();
	struct peer p = { .fd = -1 };
	uint32_t conn, id, streams = 0;
	int tls[2], app[NOTED], i;

	tls_pair(tls);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &server);
	for (i = 0, id = 1; i < NOTED; i++, id += 2)
		app[i] = noted(nl, conn, &p, id, i < 9 ? length[i] : HBONE_NOTE_MAX, i);
	nl_close(nl);

	nl = nl_open();
	EXPECT(ask_number(nl, conn, 0, HBONE_A_OWNER) == 0);
	nl_begin(nl, HBONE_CMD_STREAM_GET, NLM_F_DUMP);
	nl_put32(nl, HBONE_A_CONN, conn);
	EXPECT(nl_dump(nl, see_note, &streams) == NOTED && streams == NOTED);
	nl_begin(nl, HBONE_CMD_STREAM_GET, 0);
	nl_put32(nl, HBONE_A_CONN, conn);
	nl_put32(nl, HBONE_A_STREAM, 2 * NOTED - 1);
	EXPECT(!nl_ask(nl) && nl_u64(nl, HBONE_A_COOKIE) == HBONE_NOTE_MAX);
	see_note(nl, &streams);

	/* Not for all who listen. */
	nl_listen(events);
	EXPECT(!stream_del(nl, conn, 2 * NOTED - 1, 8));
	event_expect(events, HBONE_CMD_STREAM_CLOSED);
	EXPECT(nl_u64(events, HBONE_A_COOKIE) == HBONE_NOTE_MAX && !events->a[HBONE_A_NOTE]);
	nl_close(events);
	close(p.fd);
	for (i = 0; i < NOTED; i++)
		close(app[i]);
	conn_gone(nl, conn);

	tls_pair(tls);
	p = (struct peer){ .fd = tls[0] };
	conn = conn_add(nl, tls[1], &server);
	note_leaks(nl, conn, &p, 1);
	close(p.fd);
	conn_gone(nl, conn);
	nl_close(nl);
	expect_balance();
}

#define IDLE_CONNS 200
#define IDLE_STREAMS 1000

#define CALM 65536 /* bytes: what others take and give in a moment */

/* What the slabs hold when they have taken back what was freed before. */
static uint64_t calm_slab_bytes(void)
{
	uint64_t before, now = slab_bytes();
	int tries = 50;

	do {
		before = now;
		usleep(100000);
		now = slab_bytes();
	} while (before > now + CALM && --tries);
	return now;
}

/* What @n of them took, beside sockets, which were there before. The most that one may: @most. */
static void expect_memory(const char *what, uint64_t before, int n, uint64_t most)
{
	int64_t each = ((int64_t)slab_bytes() - (int64_t)before) / n;

	printf("%s: %lld bytes of slab\n", what, (long long)each);
	/* It is all of the machine's: others may have given back more. */
	EXPECT(each < (int64_t)most);
}

static void idle_conns(struct nl *nl)
{
	uint32_t conn[IDLE_CONNS];
	int tls[IDLE_CONNS][2], i;
	uint64_t before;

	for (i = 0; i < IDLE_CONNS; i++)
		tls_pair(tls[i]);
	before = calm_slab_bytes();
	for (i = 0; i < IDLE_CONNS; i++)
		conn[i] = conn_add(nl, tls[i][1], &server);
	expect_memory("an idle connection", before, IDLE_CONNS, 32768);
	for (i = 0; i < IDLE_CONNS; i++) {
		close(tls[i][0]);
		conn_gone(nl, conn[i]);
	}
}

/* Of which each was answered, has its application and the longest note. */
static void idle_streams(struct nl *nl)
{
	static int tcp[IDLE_STREAMS][2];
	static const uint8_t note[HBONE_NOTE_MAX];
	struct peer p = { .fd = -1 };
	uint64_t before;
	uint32_t conn;
	int tls[2], i;

	tls_pair(tls);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &server);
	for (i = 0; i < IDLE_STREAMS; i++)
		tcp_pair(tcp[i]);
	before = calm_slab_bytes();
	for (i = 0; i < IDLE_STREAMS; i++) {
		uint32_t id = 2 * i + 1;

		peer_send(&p, 1, 4, id, "\x82", 1);
		EXPECT(headers_recv(nl, conn) == id);
		EXPECT(!stream_note(nl, conn, id, tcp[i][0], 0, note, sizeof(note)));
		EXPECT(!headers_send(nl, conn, id, false));
		peer_expect(&p, 1, id);
	}
	expect_memory("an idle stream", before, IDLE_STREAMS, 4096);
	EXPECT(ask_number(nl, conn, 0, HBONE_A_STREAMS) == IDLE_STREAMS);
	close(p.fd);
	for (i = 0; i < IDLE_STREAMS; i++)
		close(tcp[i][1]);
	conn_gone(nl, conn);
}

/* What waits for its next byte costs no more than it may. */
void case_idle(void)
{
	struct nl *nl = nl_open();

	/* In this order: what the latter give back must not hide what the former take. */
	idle_streams(nl);
	idle_conns(nl);
	nl_close(nl);
	expect_balance();
}

#define DROPPED 150
#define DROPPED_FRAME 16000

/* A stream with as much as its window takes, which nobody does; then the peer errs on it. */
static void send_and_err(struct peer *p, uint32_t id)
{
	static const uint8_t zeros[DROPPED_FRAME];
	int i;

	peer_send(p, 1, 4, id, "\x82", 1);
	for (i = 0; i < WINDOW / DROPPED_FRAME; i++)
		peer_send(p, 0, 0, id, zeros, sizeof(zeros));
	peer_send(p, 2, 0, id, zeros, 4);
}

#define LAST_FRAMES 250

/* What came goes when its connection ended, though the peer takes its time to hear of that. */
static void dropped_at_end(struct nl *nl)
{
	static const struct conn_spec spec = { .server = true,
					       .window = 1 << 22,
					       .recv_window = 1 << 23 };
	static const uint8_t zeros[DROPPED_FRAME];
	struct peer p = { .fd = -1 };
	uint64_t before, half = sizeof(zeros) * LAST_FRAMES / 2;
	uint32_t conn;
	int tls[2], i;

	tls_pair_narrow(tls);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &spec);
	peer_send(&p, 1, 4, 1, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == 1);
	before = calm_slab_bytes();
	for (i = 0; i < LAST_FRAMES; i++)
		peer_send(&p, 0, 0, 1, zeros, sizeof(zeros));
	WAIT_FOR(slab_bytes() > before + half, "it is kept");
	EXPECT(fill_frames(nl, conn) > 4);
	EXPECT(!conn_del(nl, conn, 0));
	for (i = 0; slab_bytes() > before + half; i++) {
		EXPECT(i < 12);
		usleep(300000);
		EXPECT(peer_read(&p));
	}
	EXPECT(stat_number("ConnsCreated") == stat_number("ConnsDestroyed") + 1);
	close(p.fd);
	conn_gone(nl, conn);
}

/* What came for a stream goes with it, though its RST_STREAM waits: the peer does not read. */
void case_dropped(void)
{
	static const struct conn_spec spec = { .server = true,
					       .peer_window = 1 << 24,
					       .send_window = 1 << 24 };
	static const uint8_t zeros[1 << 16];
	struct nl *nl = nl_open();
	struct peer p = { .fd = -1 };
	int tls[2], tcp[2], i;
	uint64_t before;
	uint32_t conn;

	tls_pair_narrow(tls);
	tcp_pair(tcp);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &spec);
	peer_send(&p, 1, 4, 1, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == 1);
	EXPECT(!stream_add(nl, conn, 1, tcp[0], 0));
	EXPECT(write_all(tcp[1], zeros, sizeof(zeros)) && write_all(tcp[1], zeros, sizeof(zeros)));
	WAIT_FOR(stat_number("TxBlocked") > 0, "the tunnel is full");
	before = calm_slab_bytes();
	for (i = 0; i < DROPPED; i++)
		send_and_err(&p, 2 * i + 3);
	WAIT_FOR(stat_number("StreamErrors") == DROPPED, "all were in error");
	EXPECT(stat_number("StreamsDestroyed") == 0);
	expect_memory("a stream in error", before, DROPPED, 2 * DROPPED_FRAME);
	close(p.fd);
	close(tcp[1]);
	conn_gone(nl, conn);
	expect_destroyed();
	dropped_at_end(nl);
	nl_close(nl);
	expect_balance();
}
