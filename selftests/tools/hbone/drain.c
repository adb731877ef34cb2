// SPDX-License-Identifier: GPL-2.0-or-later
/* Connections that peers are to leave: what is said, what is refused, and that
 * streams go on. */
#include "cases.h"
#include "mesh.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const struct conn_spec client = { .server = false }, server = { .server = true };

/* GOAWAY is the next of its kind, and names @last. */
static void expect_goaway(struct peer *p, uint32_t last)
{
	peer_expect(p, 7, 0);
	if (peer_u32(p, 0) != last || peer_u32(p, 4))
		FAIL("GOAWAY: last %u, code %u", peer_u32(p, 0), peer_u32(p, 4));
}

/* What was due when we asked goes out, at the latest, right after the first
 * answer. */
static void expect_no_goaway(struct peer *p)
{
	int i;

	for (i = 0; i < 2; i++) {
		peer_send(p, 6, 0, 0, "silence?", 8);
		do {
			EXPECT(peer_read(p));
			EXPECT(p->type != 7);
		} while (p->type != 6);
	}
}

static void expect_both_ways(struct peer *p, uint32_t stream, int app)
{
	char b[4];

	peer_send(p, 0, 0, stream, "down", 4);
	EXPECT(read_all(app, b, 4) && !memcmp(b, "down", 4));
	EXPECT(write_all(app, "up", 2));
	peer_expect(p, 0, stream);
	EXPECT(p->length == 2 && !memcmp(p->payload, "up", 2));
}

/* The peer's stream @id gets an application, whose other end is returned. */
static int serve(struct nl *nl, uint32_t conn, struct peer *p, uint32_t id)
{
	int tcp[2];

	tcp_pair(tcp);
	peer_send(p, 1, 4, id, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == id && !nl_u32(nl, HBONE_A_FLAGS));
	EXPECT(!stream_add(nl, conn, id, tcp[0], 0));
	return tcp[1];
}

static void drain_server(struct nl *nl)
{
	struct peer p = { .fd = -1 };
	uint32_t conn;
	int tls[2], one, three;

	tls_pair(tls);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &server);
	one = serve(nl, conn, &p, 1);
	EXPECT(!conn_drain(nl, conn, 0));
	expect_goaway(&p, 0x7fffffff);
	EXPECT(ask_number(nl, conn, 0, HBONE_A_FLAGS) == HBONE_F_SERVER);
	/* This one was on its way. */
	three = serve(nl, conn, &p, 3);
	EXPECT(!conn_drain(nl, conn, 0));
	expect_no_goaway(&p);

	EXPECT(!conn_drain(nl, conn, HBONE_F_FINAL));
	expect_goaway(&p, 3);
	EXPECT(ask_number(nl, conn, 0, HBONE_A_FLAGS) == (HBONE_F_SERVER | HBONE_F_DRAINING));
	peer_send(&p, 1, 4, 5, "\x82", 1);
	peer_expect(&p, 3, 5);
	EXPECT(peer_u32(&p, 0) == 7);
	EXPECT(headers_recv(nl, conn) == 5);
	EXPECT(nl_u32(nl, HBONE_A_FLAGS) == HBONE_F_REFUSED);
	EXPECT(!conn_drain(nl, conn, HBONE_F_FINAL) && !conn_drain(nl, conn, 0));
	expect_no_goaway(&p);
	EXPECT(ask_number(nl, conn, 0, HBONE_A_STREAMS) == 2);
	expect_both_ways(&p, 1, one);
	expect_both_ways(&p, 3, three);

	EXPECT(!conn_del(nl, conn, 0));
	expect_goaway(&p, 3);
	EXPECT(!peer_read(&p));
	close(p.fd);
	close(one);
	close(three);
	conn_gone(nl, conn);
}

/* At once: a connection that has no time. */
static void drain_final(struct nl *nl)
{
	struct peer p = { .fd = -1 };
	uint32_t conn;
	int tls[2], one;

	tls_pair(tls);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &server);
	one = serve(nl, conn, &p, 1);
	EXPECT(!conn_drain(nl, conn, HBONE_F_FINAL));
	expect_goaway(&p, 1);
	EXPECT(!conn_drain(nl, conn, 0));
	expect_no_goaway(&p);
	expect_both_ways(&p, 1, one);
	close(p.fd);
	close(one);
	conn_gone(nl, conn);
}

/* Its peer opens nothing: one GOAWAY is all there is to say. */
static void drain_client(struct nl *nl)
{
	struct peer p = { .fd = -1 };
	uint32_t conn;
	int tls[2], tcp[2];

	tls_pair(tls);
	tcp_pair(tcp);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &client);
	EXPECT(!headers_send(nl, conn, 1, false));
	EXPECT(!stream_add(nl, conn, 1, tcp[0], 0));
	peer_expect(&p, 1, 1);
	EXPECT(ask_number(nl, conn, 0, HBONE_A_FLAGS) == 0);
	EXPECT(!conn_drain(nl, conn, 0));
	expect_goaway(&p, 0);
	EXPECT(ask_number(nl, conn, 0, HBONE_A_FLAGS) == HBONE_F_DRAINING);
	EXPECT(!conn_drain(nl, conn, HBONE_F_FINAL) && !conn_drain(nl, conn, 0));
	expect_no_goaway(&p);
	expect_both_ways(&p, 1, tcp[1]);
	close(p.fd);
	close(tcp[1]);
	conn_gone(nl, conn);
}

/* GOAWAY waits for the end of a header block, and what waits before it here is but such. */
static void drain_in_block(struct nl *nl)
{
	struct peer p = { .fd = -1 };
	uint32_t conn;
	int tls[2], blocks;
	bool inside = false;

	tls_pair_narrow(tls);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &server);
	peer_send(&p, 1, 4, 1, "\x82", 1);
	EXPECT(headers_recv(nl, conn) == 1);
	blocks = fill_frames(nl, conn);
	EXPECT(blocks > 4);
	EXPECT(!conn_drain(nl, conn, 0));
	do {
		EXPECT(peer_read(&p));
		EXPECT(p.type == (inside ? 9 : blocks ? 1 : 7));
		inside = p.type == 1;
		blocks -= p.type == 9;
	} while (p.type != 7);
	EXPECT(peer_u32(&p, 0) == 0x7fffffff);
	close(p.fd);
	conn_gone(nl, conn);
}

/* Both sides ours: what the one says the other's owner hears. */
static void drain_tunnel(void)
{
	struct nl *events = nl_open();
	struct app a[2];
	struct tunnel t;
	int app[2];

	nl_listen(events);
	tunnel_open(&t, &client, &server);
	tunnel_stream(&t, app);
	EXPECT(!conn_drain(t.nl, t.server, 0));
	event_expect(events, HBONE_CMD_GOAWAY);
	EXPECT(nl_u32(events, HBONE_A_CONN) == t.client);
	EXPECT(nl_u32(events, HBONE_A_LAST_LOCAL) == 0x7fffffff);
	EXPECT(headers_send(t.nl, t.client, 3, false) == -ESHUTDOWN);
	EXPECT(!conn_drain(t.nl, t.server, HBONE_F_FINAL));
	event_expect(events, HBONE_CMD_GOAWAY);
	EXPECT(nl_u32(events, HBONE_A_LAST_LOCAL) == 1);
	app_pair(&a[0], &a[1], app, 100000, 100000);
	pump(a, 2, 1 << 14);
	tunnel_close(&t);
	nl_close(events);
}

/* Peers are told to go elsewhere, and what they have here goes on. */
void case_drain(void)
{
	struct nl *nl = nl_open();

	drain_server(nl);
	drain_final(nl);
	drain_client(nl);
	drain_in_block(nl);
	drain_tunnel();
	nl_close(nl);
	expect_balance();
	EXPECT(stat_number("StreamsRefused") == 1 && stat_number("ConnErrors") == 0);
}
