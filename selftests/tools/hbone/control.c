// SPDX-License-Identifier: GPL-2.0-or-later
/* TLS records that are not data: which are passed over, which are the end, and of what kind. */
#include "cases.h"
#include "mesh.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ALERT 21
#define HANDSHAKE 22

#define TICKET "\4\0\0\3abc"
/* Beyond what a peer may say for nothing. */
#define TICKETS 100000

static const struct conn_spec server = { .server = true };

static const struct {
	const char *what, *record;
	size_t n;
	uint8_t type;
	uint32_t reason, code; /* of the end; HBONE_REASON_CONN: there is none */
} rows[] = {
#define ROW(what, type, record, reason, code)                                                      \
	{                                                                                          \
		what, record, sizeof(record) - 1, type, reason, code                               \
	}
	ROW("a ticket", HANDSHAKE, TICKET, HBONE_REASON_CONN, 0),
	ROW("two tickets", HANDSHAKE, TICKET TICKET, HBONE_REASON_CONN, 0),
	ROW("an empty ticket", HANDSHAKE, "\4\0\0\0", HBONE_REASON_CONN, 0),
	ROW("a part of a ticket", HANDSHAKE, "\4\0\0\4abc", HBONE_REASON_TLS, 2),
	ROW("a part of its head", HANDSHAKE, "\4\0\0", HBONE_REASON_TLS, 2),
	ROW("a ticket and more", HANDSHAKE, TICKET "\x18\0\0\1\0", HBONE_REASON_TLS, 2),
	ROW("KeyUpdate", HANDSHAKE, "\x18\0\0\1\0", HBONE_REASON_TLS, 2),
	ROW("KeyUpdate, asking for one", HANDSHAKE, "\x18\0\0\1\1", HBONE_REASON_TLS, 2),
	ROW("CertificateRequest", HANDSHAKE, "\x0d\0\0\0", HBONE_REASON_TLS, 2),
	ROW("a fatal alert", ALERT, "\2\x28", HBONE_REASON_TLS, 2),
	ROW("an alert", ALERT, "\1\x5a", HBONE_REASON_TLS, 2),
	ROW("half an alert", ALERT, "\1", HBONE_REASON_TLS, 2),
	ROW("too long an alert", ALERT, "\1\0\0", HBONE_REASON_TLS, 2),
	ROW("close_notify", ALERT, "\1\0", HBONE_REASON_DONE, 0),
	/* As RFC 8446, 6.1, has it: whatever its level. */
	ROW("a fatal close_notify", ALERT, "\2\0", HBONE_REASON_DONE, 0),
	ROW("change of cipher", 20, "\1", HBONE_REASON_TLS, 2),
};

/* The first half of a frame of stream 1, whose application's other end is returned. */
static int half(struct nl *nl, uint32_t *conn, struct peer *p)
{
	int tls[2], tcp[2];

	tls_pair(tls);
	tcp_pair(tcp);
	memset(p, 0, sizeof(*p));
	p->fd = tls[0];
	*conn = conn_add(nl, tls[1], &server);
	peer_send(p, 1, 4, 1, "\x82", 1);
	EXPECT(headers_recv(nl, *conn) == 1);
	EXPECT(!stream_add(nl, *conn, 1, tcp[0], 0));
	EXPECT(write_all(p->fd, "\0\0\4\0\0\0\0\0\1be", 11));
	return tcp[1];
}

static void expect_goes_on(struct nl *nl, uint32_t conn, struct peer *p, int app)
{
	char b[4];

	EXPECT(write_all(p->fd, "st", 2));
	EXPECT(read_all(app, b, 4) && !memcmp(b, "best", 4));
	EXPECT(!conn_del(nl, conn, 0));
}

/* Its application has what came before, and hears of the end. */
static void expect_cut(int app)
{
	char b[2];

	EXPECT(read_all(app, b, 2) && !memcmp(b, "be", 2));
	EXPECT(read_some(app, b, 1) == -ECONNRESET);
}

static void run_row(struct nl *nl, struct nl *events, size_t i)
{
	bool goes_on = rows[i].reason == HBONE_REASON_CONN;
	struct peer p;
	uint32_t conn, reason, code;
	int app = half(nl, &conn, &p);

	EXPECT(tls_record(p.fd, rows[i].type, rows[i].record, rows[i].n));
	if (goes_on)
		expect_goes_on(nl, conn, &p, app);
	do
		event_expect(events, HBONE_CMD_CONN_CLOSED);
	while (nl_u32(events, HBONE_A_CONN) != conn);
	reason = nl_u32(events, HBONE_A_REASON);
	code = nl_u32(events, HBONE_A_ERROR);
	if (reason != (goes_on ? HBONE_REASON_REQUEST : rows[i].reason) || code != rows[i].code)
		FAIL("%s: reason %u, code %u", rows[i].what, reason, code);
	if (!goes_on)
		expect_cut(app);
	close(app);
	close(p.fd);
	conn_gone(nl, conn);
}

/* Without an end, until there is one. */
static void tickets(struct nl *nl, struct nl *events)
{
	struct peer p;
	uint32_t conn;
	int app = half(nl, &conn, &p), left = TICKETS;

	while (tls_record(p.fd, HANDSHAKE, TICKET, sizeof(TICKET) - 1))
		EXPECT(--left);
	event_expect(events, HBONE_CMD_CONN_CLOSED);
	EXPECT(nl_u32(events, HBONE_A_REASON) == HBONE_REASON_PROTOCOL);
	EXPECT(nl_u32(events, HBONE_A_ERROR) == 11);
	close(app);
	close(p.fd);
	conn_gone(nl, conn);
}

void case_control(void)
{
	struct nl *nl = nl_open(), *events = nl_open();
	size_t i;

	nl_listen(events);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		run_row(nl, events, i);
	EXPECT(stat_number("TlsControl") == i);
	tickets(nl, events);
	nl_close(events);
	nl_close(nl);
	expect_balance();
}
