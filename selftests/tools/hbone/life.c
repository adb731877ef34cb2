// SPDX-License-Identifier: GPL-2.0-or-later
/* How streams and connections end, and who owns them. */
#include "cases.h"
#include "mesh.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct conn_spec plain = { .window = 0 };

static void expect_reset(int fd)
{
	char b[4096];
	int ret;

	do
		ret = read_some(fd, b, sizeof(b));
	while (ret > 0);
	EXPECT(ret == -ECONNRESET);
	close(fd);
}

static void expect_end(int fd, const char *before)
{
	char b[64] = "";

	EXPECT(read_all(fd, b, strlen(before)) && !strcmp(b, before));
	EXPECT(read_some(fd, b, 1) == 0);
}

/* Resets are carried as resets, ends as ends, and say so. */
void case_resets(void)
{
	struct nl *events = nl_open();
	struct pollfd p = { 0 };
	struct tunnel t;
	uint32_t id;
	int app[2];

	nl_listen(events);
	tunnel_open(&t, &plain, &plain);
	id = tunnel_stream(&t, app);
	EXPECT(write_all(app[0], "a", 1));
	expect_end((shutdown(app[0], SHUT_WR), app[1]), "a");
	EXPECT(write_all(app[1], "b", 1));
	close(app[1]);
	expect_end(app[0], "b");
	close(app[0]);
	event_expect(events, HBONE_CMD_STREAM_CLOSED);
	EXPECT(nl_u32(events, HBONE_A_STREAM) == id);
	EXPECT(nl_u32(events, HBONE_A_REASON) == HBONE_REASON_DONE);
	EXPECT(nl_u64(events, HBONE_A_RX_BYTES) == 1 && nl_u64(events, HBONE_A_TX_BYTES) == 1);
	event_expect(events, HBONE_CMD_STREAM_CLOSED);

	/* An application's reset, at either side. */
	tunnel_stream(&t, app);
	reset(app[0]);
	expect_reset(app[1]);
	event_expect(events, HBONE_CMD_STREAM_CLOSED);
	EXPECT(nl_u32(events, HBONE_A_REASON) == HBONE_REASON_APP_RESET);
	event_expect(events, HBONE_CMD_STREAM_CLOSED);
	EXPECT(nl_u32(events, HBONE_A_REASON) == HBONE_REASON_PEER_RESET);
	EXPECT(nl_u32(events, HBONE_A_ERROR) == 10);
	tunnel_stream(&t, app);
	reset(app[1]);
	expect_reset(app[0]);
	/* After the end of one direction. */
	tunnel_stream(&t, app);
	expect_end((shutdown(app[0], SHUT_WR), app[1]), "");
	reset(app[1]);
	expect_reset(app[0]);

	/* By bytes for one that has closed: whoever sent them is past the end, and hears still. */
	tunnel_stream(&t, app);
	expect_end((close(app[1]), app[0]), "");
	EXPECT(write_all(app[0], "late", 4));
	p.fd = app[0];
	EXPECT(poll(&p, 1, PEER_MS) == 1 && p.revents == (POLLERR | POLLHUP));
	close(app[0]);

	/* By request; CANCEL after an answer is the end of what the peer sends. */
	id = tunnel_stream(&t, app);
	EXPECT(!stream_del(t.nl, t.client, id, 2));
	expect_reset(app[0]);
	expect_reset(app[1]);
	id = tunnel_stream(&t, app);
	EXPECT(write_all(app[0], "all", 3));
	WAIT_FOR(ask_number(t.nl, t.server, id, HBONE_A_RX_BYTES) == 3, "all bytes are there");
	EXPECT(!stream_del(t.nl, t.client, id, 8));
	expect_end(app[1], "all");
	close(app[0]);
	close(app[1]);

	tunnel_close(&t);
	nl_close(events);
	expect_balance();
}

#define LOADED 20

static void load(struct tunnel *t, int (*app)[2])
{
	static uint8_t b[1 << 16];
	int i, k, n;

	for (i = 0; i < LOADED; i++) {
		tunnel_stream(t, app[i]);
		/* Far more than the windows. */
		for (k = 0; k < 2; k++)
			for (n = 0; n < 8 && send(app[i][k], b, sizeof(b), MSG_DONTWAIT) > 0; n++)
				;
	}
}

/* Ends while all buffers are full: of a connection by request, of its socket, of its peer. */
void case_close_under_load(void)
{
	int app[LOADED][2], i, how;
	struct tunnel t;

	for (how = 0; how < 3; how++) {
		tunnel_open(&t, &plain, &plain);
		load(&t, app);
		if (how == 0) {
			EXPECT(!conn_del(t.nl, t.server, 2));
		} else if (how == 1) {
			for (i = 0; i < LOADED; i++)
				EXPECT(!stream_del(t.nl, t.client, 2 * i + 1, 8));
			EXPECT(!conn_del(t.nl, t.client, 0));
		} else {
			for (i = 0; i < LOADED; i++)
				reset(app[i][i & 1]);
			for (i = 0; i < LOADED; i++)
				expect_reset(app[i][!(i & 1)]);
			EXPECT(!conn_del(t.nl, t.client, 0));
		}
		conn_gone(t.nl, t.client);
		conn_gone(t.nl, t.server);
		for (i = 0; i < LOADED && how < 2; i++) {
			close(app[i][0]);
			close(app[i][1]);
		}
		nl_close(t.nl);
	}
	expect_balance();
}

struct seen {
	uint32_t conns, conn[2], streams;
	uint64_t cookies;
};

static void see_conn(struct nl *nl, void *ctx)
{
	struct seen *s = ctx;

	EXPECT(s->conns < 2);
	EXPECT(nl_u32(nl, HBONE_A_OWNER) == 0);
	s->conn[s->conns++] = nl_u32(nl, HBONE_A_CONN);
}

static void see_stream(struct nl *nl, void *ctx)
{
	struct seen *s = ctx;

	s->streams++;
	s->cookies += nl_u64(nl, HBONE_A_COOKIE);
	EXPECT(nl_u32(nl, HBONE_A_FLAGS) == HBONE_F_ATTACHED);
}

#define ADOPTED 50

/* The other process opens the tunnel and is killed; its applications are ours. */
static void open_and_die(int to)
{
	struct tunnel t;
	int app[2], i;

	tunnel_open(&t, &plain, &plain);
	for (i = 0; i < ADOPTED; i++) {
		char control[CMSG_SPACE(sizeof(app))] = { 0 };
		struct iovec iov = { "x", 1 };
		struct msghdr m = { .msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = control,
				    .msg_controllen = sizeof(control) };
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);

		tunnel_stream(&t, app);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(app));
		memcpy(CMSG_DATA(c), app, sizeof(app));
		if (sendmsg(to, &m, 0) != 1)
			err(1, "sendmsg");
		close(app[0]);
		close(app[1]);
	}
	/* One that nobody has answered yet. */
	EXPECT(!headers_send(t.nl, t.client, 2 * ADOPTED + 1, false));
	EXPECT(headers_recv(t.nl, t.server) == 2 * ADOPTED + 1);
	for (;;)
		pause();
}

static void take_fds(int from, int fd[2])
{
	char control[CMSG_SPACE(2 * sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };

	if (recvmsg(from, &m, 0) != 1)
		err(1, "recvmsg");
	memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), 2 * sizeof(int));
}

void case_adopt(void)
{
	struct app app[2 * ADOPTED];
	struct seen seen = { 0 };
	struct tunnel t = { .next = 2 * ADOPTED + 3 };
	uint64_t want = 0;
	int sv[2], fd[2], i, status;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv))
		err(1, "socketpair");
	pid = fork();
	if (!pid)
		open_and_die(sv[1]);
	for (i = 0; i < ADOPTED; i++) {
		take_fds(sv[0], fd);
		app_pair(&app[2 * i], &app[2 * i + 1], fd, 300000, 200000);
	}
	/* While bytes are on their way. */
	if (!fork()) {
		usleep(100000);
		kill(pid, SIGKILL);
		_exit(0);
	}
	pump(app, ADOPTED, 1 << 14);
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	/*
	 * Applications have all before the last of their streams are gone, at both ends; so is the
	 * one that waited for its application.
	 */
	WAIT_FOR(stat_number("StreamsDestroyed") == ADOPTED + 2, "half of the streams end");

	t.nl = nl_open();
	EXPECT(nl_dump((nl_begin(t.nl, HBONE_CMD_CONN_GET, NLM_F_DUMP), t.nl), see_conn, &seen) ==
	       2);
	for (i = 0; i < 2; i++) {
		nl_begin(t.nl, HBONE_CMD_STREAM_GET, NLM_F_DUMP);
		nl_put32(t.nl, HBONE_A_CONN, seen.conn[i]);
		EXPECT(nl_dump(t.nl, see_stream, &seen) == ADOPTED / 2);
		nl_begin(t.nl, HBONE_CMD_CONN_OWN, 0);
		nl_put32(t.nl, HBONE_A_CONN, seen.conn[i]);
		EXPECT(!nl_ask(t.nl));
		EXPECT(ask_number(t.nl, seen.conn[i], 0, HBONE_A_OWNER) == (int32_t)t.nl->port);
	}
	for (i = 0, want = 0; i < ADOPTED / 2; i++)
		want += 2 * (2 * (ADOPTED / 2 + i) + 1) * 10 + 1;
	EXPECT(seen.streams == ADOPTED && seen.cookies == want);

	/* But there are no new ones: nobody knows what their headers may refer to. */
	t.client = seen.conn[0];
	t.server = seen.conn[1];
	EXPECT(ask_number(t.nl, t.server, 0, HBONE_A_FLAGS) == (HBONE_F_SERVER | HBONE_F_DRAINING));
	EXPECT(headers_send(t.nl, t.client, t.next, false) == -ESHUTDOWN);
	pump(app + ADOPTED, ADOPTED, 1 << 14);
	tunnel_close(&t);
	expect_balance();
}

/* What a peer hears of streams that have no application when their owner dies. */
static void expect_codes(void)
{
	/* One that was answered; one whose headers were taken; one that nobody looked at. */
	static const uint32_t code[] = { 10, 2, 7 };
	static const struct conn_spec server = { .server = true };
	struct nl *nl = nl_open(), *other = nl_open();
	static struct peer p;
	uint32_t conn, i;
	int tls[2];

	tls_pair(tls);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &server);
	for (i = 0; i < 3; i++) {
		peer_send(&p, 1, 4, 2 * i + 1, "\x82", 1);
		EXPECT(i == 2 || headers_recv(nl, conn) == 2 * i + 1);
	}
	EXPECT(!headers_send(nl, conn, 1, false));
	WAIT_FOR(ask_number(nl, conn, 5, HBONE_A_RX_BYTES) == 0, "the last one is there");
	nl_close(nl);
	for (i = 0; i < 3; i++) {
		peer_expect(&p, 3, 2 * i + 1);
		EXPECT(peer_u32(&p, 0) == code[i]);
	}
	close(p.fd);
	conn_gone(other, conn);
	nl_close(other);
}

/* Needs orphan_seconds of 1. */
void case_orphan(void)
{
	struct tunnel t;
	struct app a[2];
	int app[2];

	tunnel_open(&t, &plain, &plain);
	tunnel_stream(&t, app);
	nl_close(t.nl);
	/* With a stream it lives, */
	sleep(3);
	EXPECT(stat_number("ConnsDestroyed") == 0);
	app_pair(&a[0], &a[1], app, 100000, 100000);
	pump(a, 2, 1 << 14);
	/* without it ends. */
	expect_balance();
	expect_codes();
	expect_balance();
}

#define KEY_RECORDS 23726566
#define KEY_LEFT 20

/* Each of them a record for the peer; how many it got. */
static unsigned int send_bytes(int app, struct peer *p)
{
	unsigned int n = 0;

	for (; write_all(app, "x", 1); n++) {
		EXPECT(n < KEY_LEFT);
		do
			if (!peer_read(p))
				return n;
		while (p->type != 0);
	}
	return n;
}

/* The same from it. */
static unsigned int receive_bytes(int app, struct peer *p)
{
	unsigned int n = 0;
	char b;

	for (;; n++) {
		EXPECT(n < KEY_LEFT);
		peer_send(p, 0, 0, 1, "x", 1);
		if (read_some(app, &b, 1) != 1)
			return n;
	}
}

static void key_ends(unsigned int (*use)(int app, struct peer *p))
{
	struct nl *nl = nl_open(), *events = nl_open();
	struct peer p = { .fd = -1 };
	unsigned int n;
	uint32_t conn;
	int tls[2], tcp[2];

	nl_listen(events);
	tls_pair_used(tls, KEY_RECORDS - KEY_LEFT);
	tcp_pair(tcp);
	p.fd = tls[0];
	conn = conn_add(nl, tls[1], &plain);
	EXPECT(!headers_send(nl, conn, 1, false));
	EXPECT(!stream_add(nl, conn, 1, tcp[0], 0));
	peer_expect(&p, 1, 1);
	n = use(tcp[1], &p);
	EXPECT(n >= KEY_LEFT / 2);
	event_expect(events, HBONE_CMD_CONN_CLOSED);
	EXPECT(nl_u32(events, HBONE_A_REASON) == HBONE_REASON_KEY);
	conn_gone(nl, conn);
	close(p.fd);
	close(tcp[1]);
	nl_close(events);
	nl_close(nl);
}

/* AES-GCM is good for 2^24.5 records (RFC 8446, 5.5), whoever owns the connection. */
void case_key(void)
{
	key_ends(send_bytes);
	key_ends(receive_bytes);
	expect_balance();
}

static int ask_with(struct nl *nl, uint8_t cmd, uint16_t attr, uint32_t value)
{
	nl_begin(nl, cmd, 0);
	nl_put32(nl, attr, value);
	return nl_ask(nl);
}

static void drop_net_admin(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d))
		err(1, "capget");
	d[0].effective &= ~(1u << CAP_NET_ADMIN);
	if (syscall(SYS_capset, &h, d))
		err(1, "capset");
}

static int add_with(struct nl *nl, int fd, uint32_t version, uint16_t extra)
{
	nl_begin(nl, HBONE_CMD_CONN_ADD, 0);
	nl_put32(nl, HBONE_A_VERSION, version);
	nl_put32(nl, HBONE_A_FD, fd);
	nl_put32(nl, HBONE_A_SEND_WINDOW, 1);
	nl_put32(nl, HBONE_A_RECV_WINDOW, 1);
	if (extra)
		nl_put32(nl, extra, 0);
	return nl_ask(nl);
}

/* Who does not hear the number of his connection does not get one. */
static void add_unheard(struct nl *nl)
{
	struct nl *full = nl_open();
	struct peer p = { .fd = -1 };
	int tls[2], least = 1, i;

	setsockopt(full->fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
	for (i = 0; i < 64; i++) {
		nl_begin(full, HBONE_CMD_CONN_GET, 0);
		nl_put32(full, HBONE_A_CONN, 77);
		nl_send(full);
	}
	tls_pair(tls);
	nl_begin(full, HBONE_CMD_CONN_ADD, 0);
	nl_put32(full, HBONE_A_VERSION, HBONE_GENL_VERSION);
	nl_put32(full, HBONE_A_FD, tls[1]);
	nl_put32(full, HBONE_A_SEND_WINDOW, 1);
	nl_put32(full, HBONE_A_RECV_WINDOW, 1);
	nl_send(full);
	EXPECT(stat_number("ConnsCreated") == 1);
	close(tls[1]);
	p.fd = tls[0];
	peer_expect(&p, 7, 0);
	EXPECT(peer_u32(&p, 4) == 0 && !peer_read(&p));
	close(tls[0]);
	WAIT_FOR((nl_begin(nl, HBONE_CMD_CONN_GET, NLM_F_DUMP), nl_dump(nl, NULL, NULL)) == 0,
		 "what nobody knows ends");
	nl_close(full);
}

/* What is wrong is refused, and with words. */
void case_abi(void)
{
	struct nl *nl = nl_open();
	struct conn_spec spec = { .server = true };
	int tls[2], tcp[2], again, pipes[2];
	uint32_t conn;

	add_unheard(nl);
	tls_pair(tls);
	tcp_pair(tcp);
	EXPECT(!pipe(pipes));
	EXPECT(add_with(nl, tls[0], HBONE_GENL_VERSION + 1, 0) == -EPROTONOSUPPORT && nl->error[0]);
	EXPECT(add_with(nl, tls[0], HBONE_GENL_VERSION, HBONE_A_MAX + 1) == -EINVAL &&
	       nl->error[0]);
	EXPECT(add_with(nl, tls[0], HBONE_GENL_VERSION, HBONE_A_STREAM) == -EINVAL && nl->error[0]);
	EXPECT(add_with(nl, pipes[0], HBONE_GENL_VERSION, 0) == -ENOTSOCK && nl->error[0]);
	EXPECT(add_with(nl, 8000, HBONE_GENL_VERSION, 0) == -EBADF);
	EXPECT(add_with(nl, tcp[0], HBONE_GENL_VERSION, 0) == -EOPNOTSUPP && nl->error[0]);
	EXPECT(add_with(nl, nl->fd, HBONE_GENL_VERSION, 0) == -EOPNOTSUPP && nl->error[0]);
	EXPECT(ask_with(nl, HBONE_CMD_CONN_ADD, HBONE_A_FD, tls[0]) == -EINVAL);
	EXPECT(ask_with(nl, HBONE_CMD_CONN_GET, HBONE_A_CONN, 77) == -ENOENT && nl->error[0]);
	EXPECT(ask_with(nl, HBONE_CMD_CONN_DEL, HBONE_A_STREAM, 77) == -EINVAL);
	EXPECT(ask_with(nl, HBONE_CMD_CONN_DRAIN, HBONE_A_CONN, 77) == -ENOENT && nl->error[0]);
	EXPECT(ask_with(nl, HBONE_CMD_CONN_DRAIN, HBONE_A_FLAGS, HBONE_F_FINAL) == -EINVAL);
	EXPECT(ask_with(nl, HBONE_CMD_FRAME_READY, HBONE_A_CONN, 1) == -EOPNOTSUPP);

	again = dup(tls[1]);
	conn = conn_add(nl, tls[1], &spec);
	EXPECT(conn_try(nl, again, &spec) == -EBUSY && nl->error[0]);
	EXPECT(conn_drain(nl, conn, HBONE_F_DRAINING) == -EINVAL && nl->error[0]);
	EXPECT(ask_with(nl, HBONE_CMD_FRAME_RECV, HBONE_A_CONN, conn) == -EAGAIN && nl->error[0]);
	EXPECT(stream_add(nl, conn, 1, dup(tcp[0]), 0) == -ENOENT && nl->error[0]);
	/* A server opens no streams. */
	EXPECT(headers_send(nl, conn, 2, false) == -EINVAL && nl->error[0]);
	EXPECT(headers_send(nl, conn, 1, false) == -ENOENT && nl->error[0]);
	EXPECT(write_all(tls[0], "\0\0\1\1\4\0\0\0\1\x82", 10));
	EXPECT(headers_recv(nl, conn) == 1);
	EXPECT(stream_add(nl, conn, 1, dup(tls[0]), 0) == -EOPNOTSUPP && nl->error[0]);
	again = dup(tcp[0]);
	EXPECT(!stream_add(nl, conn, 1, tcp[0], 0));
	EXPECT(stream_add(nl, conn, 1, dup(tcp[1]), 0) == -EALREADY && nl->error[0]);
	EXPECT(write_all(tls[0], "\0\0\1\1\4\0\0\0\3\x82", 10));
	EXPECT(headers_recv(nl, conn) == 3);
	EXPECT(stream_add(nl, conn, 3, again, 0) == -EBUSY && nl->error[0]);
	/* The application says itself when it ends. */
	EXPECT(headers_send(nl, conn, 1, true) == -EBUSY && nl->error[0]);
	EXPECT(!headers_send(nl, conn, 3, true));
	EXPECT(headers_send(nl, conn, 3, false) == -EBUSY && nl->error[0]);
	drop_net_admin();
	EXPECT(ask_with(nl, HBONE_CMD_CONN_GET, HBONE_A_CONN, conn) == -EPERM);
	close(tls[0]);
	expect_balance();
}

void case_hold(void)
{
	struct tunnel t;
	uint8_t b[4096] = { 0 };
	int app[4][2], i;

	tunnel_open(&t, &plain, &plain);
	for (i = 0; i < 4; i++)
		tunnel_stream(&t, app[i]);
	puts("up");
	fflush(stdout);
	for (;;) {
		for (i = 0; i < 4; i++) {
			EXPECT(write_all(app[i][i & 1], b, sizeof(b)));
			EXPECT(read_all(app[i][!(i & 1)], b, sizeof(b)));
		}
	}
}
