// SPDX-License-Identifier: GPL-2.0-or-later
/* Requests of which one allocation fails, each in its turn: a kernel of ours counts them. */
#include "cases.h"
#include "mesh.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct conn_spec plain = { .window = 0 };
static int nth;

/* The @n-th allocation of this thread fails, of those that selftests/vm/debug/faults.sh chose. */
static void arm(int n)
{
	char b[16];
	int len = snprintf(b, sizeof(b), "%d", n);

	if (pwrite(nth, b, len, 0) != len)
		err(1, "fail-nth");
}

/* Whether it did; no more will. */
static bool failed(void)
{
	char b[16] = "";

	if (pread(nth, b, sizeof(b) - 1, 0) <= 0)
		err(1, "fail-nth");
	arm(0);
	return !atoi(b);
}

/* Who is told that there is no memory asks again, and gets it: nothing is left of the first try. */
static void conn_adds(struct nl *nl)
{
	struct conn_spec spec = { .server = true, .input = "\0\0\1\1\4\0\0\0\1\x82", .ninput = 10 };
	int tls[2], n = 0, ret;
	bool hit;

	do {
		tls_pair(tls);
		arm(++n);
		ret = conn_try(nl, dup(tls[1]), &spec);
		hit = failed();
		if (ret < 0) {
			EXPECT(hit && ret == -ENOMEM);
			ret = conn_add(nl, dup(tls[1]), &spec);
		}
		EXPECT(!conn_del(nl, ret, 0));
		conn_gone(nl, ret);
		close(tls[0]);
		close(tls[1]);
	} while (hit);
	EXPECT(n > 3);
}

static void frames(struct tunnel *t)
{
	int n = 0, ret;
	bool hit;

	do {
		arm(++n);
		ret = headers_send(t->nl, t->client, t->next, false);
		hit = failed();
		if (ret) {
			EXPECT(hit && ret == -ENOMEM);
			EXPECT(!headers_send(t->nl, t->client, t->next, false));
		}
		EXPECT(headers_recv(t->nl, t->server) == t->next);
		t->next += 2;
	} while (hit);
	EXPECT(n > 2);
	n = 0;
	do {
		EXPECT(!headers_send(t->nl, t->client, t->next, false));
		WAIT_FOR(ask_number(t->nl, t->server, 0, HBONE_A_FRAMES) == 1, "a frame comes");
		arm(++n);
		ret = frame_recv(t->nl, t->server);
		hit = failed();
		if (ret) {
			EXPECT(hit && ret == -ENOMEM);
			EXPECT(headers_recv(t->nl, t->server) == t->next);
		}
		t->next += 2;
	} while (hit);
	EXPECT(n > 1);
}

static void gets(struct tunnel *t, uint32_t stream)
{
	int n = 0;
	int64_t ret;
	bool hit;

	do {
		arm(++n);
		ret = ask_number(t->nl, t->client, stream, HBONE_A_CONN);
		hit = failed();
		EXPECT(ret == t->client || (hit && ret == -ENOMEM));
	} while (hit);
	EXPECT(n > 1);
}

/* Whether the end of that stream is told, or that there is something that is not. */
static bool told(struct nl *events, uint32_t conn, uint32_t stream)
{
	uint8_t byte;

	for (;;) {
		if (recv(events->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
			return errno == ENOBUFS;
		EXPECT(nl_event(events, 0));
		if (events->cmd == HBONE_CMD_STREAM_CLOSED &&
		    nl_u32(events, HBONE_A_CONN) == conn &&
		    nl_u32(events, HBONE_A_STREAM) == stream)
			return true;
	}
}

static void ends(struct tunnel *t, struct nl *events)
{
	uint32_t last = t->next, id = 1;
	int app[2], n = 0;
	bool hit;

	for (; id < last; id += 2)
		EXPECT(!stream_del(t->nl, t->client, id, 8) && told(events, t->client, id));
	do {
		id = tunnel_stream(t, app);
		arm(++n);
		EXPECT(!stream_del(t->nl, t->client, id, 8));
		hit = failed();
		if (!told(events, t->client, id))
			FAIL("the end of stream %u is not told, nor that it was missed", id);
		close(app[0]);
		close(app[1]);
	} while (hit);
	EXPECT(n > 1);
}

void case_no_memory(void)
{
	struct nl *events = nl_open();
	struct tunnel t;

	nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (nth < 0)
		err(1, "fail-nth");
	nl_listen(events);
	tunnel_open(&t, &plain, &plain);
	conn_adds(t.nl);
	frames(&t);
	gets(&t, 0);
	gets(&t, 1);
	ends(&t, events);
	tunnel_close(&t);
	nl_close(events);
	expect_destroyed();
}
