// SPDX-License-Identifier: GPL-2.0-or-later
/* What an agent does with hbone.ko, for tests. */
#include "mesh.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int conn_try(struct nl *nl, int fd, const struct conn_spec *s)
{
	uint32_t frame = s->max_frame ? s->max_frame : 16384;
	uint32_t streams = s->max_streams ? s->max_streams : 1000;
	int ret;

	nl_begin(nl, HBONE_CMD_CONN_ADD, 0);
	nl_put32(nl, HBONE_A_VERSION, HBONE_GENL_VERSION);
	nl_put32(nl, HBONE_A_FD, fd);
	nl_put32(nl, HBONE_A_FLAGS, s->server ? HBONE_F_SERVER : 0);
	nl_put_settings(nl, HBONE_A_LOCAL, s->window ? s->window : WINDOW, frame, streams);
	nl_put_settings(nl, HBONE_A_PEER, s->peer_window ? s->peer_window : WINDOW, 16384, 1000);
	nl_put32(nl, HBONE_A_SEND_WINDOW, s->send_window ? s->send_window : CONN_WINDOW);
	nl_put32(nl, HBONE_A_RECV_WINDOW, s->recv_window ? s->recv_window : CONN_WINDOW);
	if (s->ninput)
		nl_put(nl, HBONE_A_INPUT, s->input, s->ninput);
	ret = nl_ask(nl);
	close(fd);
	return ret ? ret : (int)nl_u32(nl, HBONE_A_CONN);
}

uint32_t conn_add(struct nl *nl, int fd, const struct conn_spec *spec)
{
	int ret = conn_try(nl, fd, spec);

	if (ret < 0)
		FAIL("connection refused: %s (%s)", strerror(-ret), nl->error);
	return ret;
}

int conn_del(struct nl *nl, uint32_t conn, uint32_t code)
{
	nl_begin(nl, HBONE_CMD_CONN_DEL, 0);
	nl_put32(nl, HBONE_A_CONN, conn);
	nl_put32(nl, HBONE_A_ERROR, code);
	return nl_ask(nl);
}

int conn_drain(struct nl *nl, uint32_t conn, uint32_t flags)
{
	nl_begin(nl, HBONE_CMD_CONN_DRAIN, 0);
	nl_put32(nl, HBONE_A_CONN, conn);
	if (flags)
		nl_put32(nl, HBONE_A_FLAGS, flags);
	return nl_ask(nl);
}

int64_t ask_number(struct nl *nl, uint32_t conn, uint32_t stream, int attr)
{
	int ret;

	nl_begin(nl, stream ? HBONE_CMD_STREAM_GET : HBONE_CMD_CONN_GET, 0);
	nl_put32(nl, HBONE_A_CONN, conn);
	if (stream)
		nl_put32(nl, HBONE_A_STREAM, stream);
	ret = nl_ask(nl);
	if (ret)
		return ret;
	return nl->a[attr]->nla_len == NLA_HDRLEN + 8 ? (int64_t)nl_u64(nl, attr) :
							(int32_t)nl_u32(nl, attr);
}

void conn_gone(struct nl *nl, uint32_t conn)
{
	WAIT_FOR(ask_number(nl, conn, 0, HBONE_A_CONN) == -ENOENT, "a connection ends");
}

int stream_note(struct nl *nl, uint32_t conn, uint32_t stream, int fd, uint64_t cookie,
		const void *note, size_t n)
{
	int ret;

	nl_begin(nl, HBONE_CMD_STREAM_ADD, 0);
	nl_put32(nl, HBONE_A_CONN, conn);
	nl_put32(nl, HBONE_A_STREAM, stream);
	nl_put32(nl, HBONE_A_FD, fd);
	nl_put64(nl, HBONE_A_COOKIE, cookie);
	if (note)
		nl_put(nl, HBONE_A_NOTE, note, n);
	ret = nl_ask(nl);
	close(fd);
	return ret;
}

int stream_add(struct nl *nl, uint32_t conn, uint32_t stream, int fd, uint64_t cookie)
{
	return stream_note(nl, conn, stream, fd, cookie, NULL, 0);
}

int stream_del(struct nl *nl, uint32_t conn, uint32_t stream, uint32_t code)
{
	nl_begin(nl, HBONE_CMD_STREAM_DEL, 0);
	nl_put32(nl, HBONE_A_CONN, conn);
	nl_put32(nl, HBONE_A_STREAM, stream);
	nl_put32(nl, HBONE_A_ERROR, code);
	return nl_ask(nl);
}

int headers_send(struct nl *nl, uint32_t conn, uint32_t stream, bool end)
{
	uint8_t b[16];

	nl_begin(nl, HBONE_CMD_FRAME_SEND, 0);
	nl_put32(nl, HBONE_A_CONN, conn);
	nl_put(nl, HBONE_A_FRAME, b, frame(b, 1, end ? 5 : 4, stream, "\x88", 1));
	return nl_ask(nl);
}

/* Neither a multiple nor a part of what the module sends at once. */
#define BLOCK 32700

int fill_frames(struct nl *nl, uint32_t conn)
{
	static uint8_t zero[16384], block[BLOCK];
	size_t n = frame(block, 1, 0, 1, zero, sizeof(zero));
	int blocks = 0, ret;

	frame(block + n, 9, 4, 1, zero, BLOCK - n - 9);
	for (;; blocks++) {
		nl_begin(nl, HBONE_CMD_FRAME_SEND, 0);
		nl_put32(nl, HBONE_A_CONN, conn);
		nl_put(nl, HBONE_A_FRAME, block, BLOCK);
		ret = nl_ask(nl);
		if (ret)
			break;
	}
	EXPECT(ret == -EAGAIN);
	return blocks;
}

int frame_recv(struct nl *nl, uint32_t conn)
{
	nl_begin(nl, HBONE_CMD_FRAME_RECV, 0);
	nl_put32(nl, HBONE_A_CONN, conn);
	return nl_ask(nl);
}

uint32_t headers_recv(struct nl *nl, uint32_t conn)
{
	const uint8_t *p;
	size_t n;
	int ret;

	WAIT_FOR((ret = frame_recv(nl, conn)) != -EAGAIN, "a header frame comes");
	if (ret)
		FAIL("no frame: %s (%s)", strerror(-ret), nl->error);
	p = nl_bytes(nl, HBONE_A_FRAME, &n);
	EXPECT(n >= 9);
	return (uint32_t)p[5] << 24 | p[6] << 16 | p[7] << 8 | p[8];
}

void event_expect(struct nl *events, uint8_t cmd)
{
	do {
		if (!nl_event(events, PEER_MS))
			FAIL("event %u does not come", cmd);
	} while (events->cmd != cmd);
}

void tunnel_open(struct tunnel *t, const struct conn_spec *client, const struct conn_spec *server)
{
	struct conn_spec c = *client, s = *server;
	int fd[2];

	s.server = true;
	if (!c.window)
		c.window = WINDOW;
	if (!s.window)
		s.window = WINDOW;
	c.peer_window = s.window;
	s.peer_window = c.window;
	tls_pair(fd);
	t->nl = nl_open();
	t->client = conn_add(t->nl, fd[0], &c);
	t->server = conn_add(t->nl, fd[1], &s);
	t->next = 1;
}

uint32_t tunnel_stream(struct tunnel *t, int app[2])
{
	uint32_t id = t->next;
	int a[2], b[2];

	t->next += 2;
	tcp_pair(a);
	tcp_pair(b);
	EXPECT(!headers_send(t->nl, t->client, id, false));
	EXPECT(headers_recv(t->nl, t->server) == id);
	EXPECT(!stream_add(t->nl, t->server, id, b[0], id * 10));
	EXPECT(!headers_send(t->nl, t->server, id, false));
	EXPECT(headers_recv(t->nl, t->client) == id);
	EXPECT(!stream_add(t->nl, t->client, id, a[0], id * 10 + 1));
	app[0] = a[1];
	app[1] = b[1];
	return id;
}

void tunnel_close(struct tunnel *t)
{
	EXPECT(!conn_del(t->nl, t->client, 0));
	conn_gone(t->nl, t->client);
	conn_gone(t->nl, t->server);
	nl_close(t->nl);
}

void app_pair(struct app *a, struct app *b, const int fd[2], uint64_t ab, uint64_t ba)
{
	static uint32_t seed;

	*a = (struct app){ .fd = fd[0], .tx = ab, .rx = ba };
	*b = (struct app){ .fd = fd[1], .tx = ba, .rx = ab };
	a->tx_seed = b->rx_seed = ++seed;
	b->tx_seed = a->rx_seed = ++seed;
}

static void app_write(struct app *a, size_t chunk)
{
	uint8_t b[1 << 16];
	size_t n = a->tx - a->tx_at < chunk ? a->tx - a->tx_at : chunk, i;
	ssize_t ret;

	for (i = 0; i < n; i++)
		b[i] = pattern(a->tx_seed, a->tx_at + i);
	ret = n ? send(a->fd, b, n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
	if (ret < 0 && errno != EAGAIN)
		FAIL("an application's write: %s, at %llu of %llu", strerror(errno),
		     (unsigned long long)a->tx_at, (unsigned long long)a->tx);
	if (ret > 0)
		a->tx_at += ret;
	if (a->tx_at == a->tx) {
		shutdown(a->fd, SHUT_WR);
		a->tx_done = true;
	}
}

static void app_read(struct app *a)
{
	uint8_t b[1 << 16];
	ssize_t n = recv(a->fd, b, sizeof(b), MSG_DONTWAIT), i;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0)
		FAIL("an application's read: %s, at %llu of %llu", strerror(errno),
		     (unsigned long long)a->rx_at, (unsigned long long)a->rx);
	for (i = 0; i < n; i++)
		if (b[i] != pattern(a->rx_seed, a->rx_at + i))
			FAIL("byte %llu is another", (unsigned long long)a->rx_at + i);
	a->rx_at += n;
	if (a->rx_at > a->rx || (!n && a->rx_at != a->rx))
		FAIL("%llu bytes came, not %llu", (unsigned long long)a->rx_at,
		     (unsigned long long)a->rx);
	a->rx_done = !n;
}

void pump(struct app *apps, size_t n, size_t chunk)
{
	struct pollfd *p = calloc(n, sizeof(*p));
	size_t i, left;

	EXPECT(p && chunk <= 1 << 16);
	for (;;) {
		for (i = left = 0; i < n; i++) {
			bool done = apps[i].tx_done && apps[i].rx_done;

			left += !done;
			p[i].fd = done ? -1 : apps[i].fd;
			p[i].events = (apps[i].tx_done ? 0 : POLLOUT) |
				      (apps[i].rx_done ? 0 : POLLIN);
		}
		if (!left)
			break;
		if (poll(p, n, PEER_MS) <= 0)
			FAIL("%zu of %zu applications stand still; the first at tx %llu, rx %llu",
			     left, n, (unsigned long long)apps[0].tx_at,
			     (unsigned long long)apps[0].rx_at);
		for (i = 0; i < n; i++) {
			if (p[i].revents & (POLLIN | POLLHUP | POLLERR) && !apps[i].rx_done)
				app_read(&apps[i]);
			if (p[i].revents & (POLLOUT | POLLERR) && !apps[i].tx_done)
				app_write(&apps[i], chunk);
		}
	}
	for (i = 0; i < n; i++)
		close(apps[i].fd);
	free(p);
}

uint64_t file_number(const char *path, const char *name)
{
	FILE *f = fopen(path, "re");
	char key[64] = "";
	unsigned long long value = 0;

	if (!f)
		err(1, "%s", path);
	while (fscanf(f, "%63s %llu%*[^\n]", key, &value) == 2 && strcmp(key, name))
		;
	fclose(f);
	if (strcmp(key, name))
		FAIL("no %s in %s", name, path);
	return value;
}

uint64_t stat_number(const char *name)
{
	return file_number("/proc/net/hbone_stat", name);
}

uint64_t slab_bytes(void)
{
	return file_number("/proc/meminfo", "Slab:") * 1024;
}

void expect_destroyed(void)
{
	WAIT_FOR(stat_number("ConnsCreated") == stat_number("ConnsDestroyed") &&
			 stat_number("StreamsCreated") == stat_number("StreamsDestroyed"),
		 "all that was created is destroyed");
}

void expect_balance(void)
{
	expect_destroyed();
	EXPECT(stat_number("EventsLost") == 0 && stat_number("NoMemory") == 0);
}
