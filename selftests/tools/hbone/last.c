// SPDX-License-Identifier: GPL-2.0-or-later
/* What was taken for a peer before its connection ended: it gets that, and then the end. */
#include "cases.h"
#include "mesh.h"

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

void case_last_frames(void)
{
	struct nl *nl = nl_open();
	int i;

	for (i = 0; i < ENDS; i++)
		answer_and_end(nl);
	nl_close(nl);
	expect_balance();
}
