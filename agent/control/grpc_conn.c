// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A connection of a gRPC channel: NEW (a name is being resolved), CONNECT, HANDSHAKE, OPEN. Each
 * phase has its deadline on the one timer; when it is open the timer is the ping's, or the end of
 * an idle connection.
 *
 * Lifetime: only amb_gconn_destroy() frees, and is called from the loop (events, timer, deferred
 * work) but never from within nghttp2: what happens there sets the timer or the work.
 */
#include "grpc_priv.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "tls_client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define KEEP_IDLE_S 300
#define KEEP_INTERVAL_S 75
#define KEEP_PROBES 9
#define RECORD 16384 /* plaintext of one TLS record */
#define TURN_BYTES (256u << 10) /* read in one turn of the loop */
#define STREAM_WINDOW (1 << 20)
#define CONN_WINDOW (4 << 20)

static void arm(struct amb_gconn *c, uint64_t delay)
{
	/* Without a timer it would wait forever: better to be asked at once. */
	if (amb_loop_timer_set(c->ch->loop, &c->timer, amb_util_now_ns() + delay))
		amb_err(XDS, "%s: out of memory, no deadline is kept", c->ch->authority);
}

static void fail(struct amb_gconn *c, const char *what, const char *why)
{
	char text[400];

	snprintf(text, sizeof(text), "%s%s%s", what, why ? ": " : "", why ? why : "");
	amb_gconn_destroy(c, text);
}

/* Sending and receiving */

static void poll_out(struct amb_gconn *c, bool on)
{
	if (on != c->polling_out)
		amb_loop_mod(c->ch->loop, &c->io, EPOLLIN | (on ? EPOLLOUT : 0));
	c->polling_out = on;
}

static ssize_t write_bytes(struct amb_gconn *c, const char **why)
{
	ssize_t n;

	if (c->tls) {
		n = amb_tls_client_write(c->tls, c->out, c->nout);
		if (n < 0)
			*why = amb_tls_client_error(c->tls);
		return n;
	}
	n = send(c->io.fd, c->out, c->nout, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0) {
		*why = strerror(errno);
		return -errno;
	}
	return n;
}

static ssize_t read_bytes(struct amb_gconn *c, uint8_t *buf, size_t max, const char **why)
{
	ssize_t n;

	if (c->tls) {
		n = amb_tls_client_read(c->tls, buf, max);
		if (n < 0)
			*why = amb_tls_client_error(c->tls);
		return n;
	}
	n = recv(c->io.fd, buf, max, MSG_DONTWAIT);
	if (n < 0) {
		*why = strerror(errno);
		return -errno;
	}
	return n;
}

/* 0, or -errno with the reason in *@why. */
static int send_frames(struct amb_gconn *c, const char **why)
{
	ssize_t n;

	for (;;) {
		if (!c->nout) {
			n = nghttp2_session_mem_send(c->h2, &c->out);
			if (n < 0) {
				*why = nghttp2_strerror(n);
				return -EPROTO;
			}
			if (!n)
				return 0;
			c->nout = n;
		}
		n = write_bytes(c, why);
		if (n < 0)
			return n == -EAGAIN ? 0 : n;
		c->out += n;
		c->nout -= n;
	}
}

/* 0; 1: the other side ended it; -errno with the reason. */
static int receive_frames(struct amb_gconn *c, const char **why)
{
	uint8_t buf[RECORD];
	size_t taken = 0;
	ssize_t n, used;

	while (taken < TURN_BYTES) {
		n = read_bytes(c, buf, sizeof(buf), why);
		if (n == -EAGAIN)
			return 0;
		if (!n)
			*why = "transport is closing";
		if (n <= 0)
			return n ?: 1;
		used = nghttp2_session_mem_recv(c->h2, buf, n);
		/* Keys come this way (sds.c). */
		explicit_bzero(buf, n);
		if (used < 0) {
			*why = nghttp2_strerror(used);
			return -EPROTO;
		}
		taken += n;
	}
	/* What the TLS library holds back raises no event. */
	amb_gconn_wake(c);
	return 0;
}

static void serve(struct amb_gconn *c)
{
	const char *why = "";
	int err = receive_frames(c, &why);

	if (!err) {
		amb_gcall_submit(c);
		err = send_frames(c, &why);
	}
	if (!err && !nghttp2_session_want_read(c->h2) && !nghttp2_session_want_write(c->h2)) {
		why = "transport is closing";
		err = 1;
	}
	if (err > 0)
		fail(c, why, NULL);
	else if (err)
		fail(c, "transport is closing", why);
	else
		poll_out(c, c->nout || (c->tls && amb_tls_client_wants_write(c->tls)));
}

/* Opening */

static int open_session(struct amb_gconn *c)
{
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 32768 },
	};

	c->h2 = amb_gcall_session(c);
	return c->h2 &&
			       !nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, settings,
							AMB_ARRAY_SIZE(settings)) &&
			       !nghttp2_session_set_local_window_size(c->h2, NGHTTP2_FLAG_NONE, 0,
								      CONN_WINDOW) ?
		       0 :
		       -ENOMEM;
}

static void opened(struct amb_gconn *c)
{
	if (open_session(c)) {
		fail(c, "out of memory", NULL);
		return;
	}
	c->phase = AMB_GPHASE_OPEN;
	amb_debug(XDS, "%s: connected", amb_grpc_target(c->ch));
	if (c->ncalls)
		amb_gconn_busy(c);
	else
		amb_gconn_idle(c);
	serve(c);
}

static void handshake(struct amb_gconn *c)
{
	int err = amb_tls_client_handshake(c->tls);

	if (err == -EAGAIN)
		poll_out(c, amb_tls_client_wants_write(c->tls));
	else if (err)
		fail(c, "TLS", amb_tls_client_error(c->tls));
	else
		opened(c);
}

static void connected(struct amb_gconn *c)
{
	struct amb_grpc *ch = c->ch;
	char text[200] = "";
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &err, &len))
		err = errno;
	if (err) {
		fail(c, "connect", strerror(err));
		return;
	}
	if (*ch->path) {
		opened(c);
		return;
	}
	c->tls = amb_tls_client_create(c->io.fd, ch->roots, ch->host, ch->alt_name, text,
				       sizeof(text));
	if (!c->tls) {
		fail(c, "roots", text);
		return;
	}
	c->phase = AMB_GPHASE_HANDSHAKE;
	arm(c, AMB_GRPC_HANDSHAKE_NS);
	handshake(c);
}

static void event(struct amb_io *io, uint32_t events)
{
	struct amb_gconn *c = AMB_CONTAINER_OF(io, struct amb_gconn, io);

	(void)events;
	if (c->phase == AMB_GPHASE_CONNECT)
		connected(c);
	else if (c->phase == AMB_GPHASE_HANDSHAKE)
		handshake(c);
	else
		serve(c);
}

static int dial(struct amb_gconn *c)
{
	struct sockaddr_storage ss;
	socklen_t len = amb_endpoint_to_sockaddr(&c->peer, AF_UNSPEC, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1, idle = KEEP_IDLE_S, interval = KEEP_INTERVAL_S, probes = KEEP_PROBES;

	if (fd < 0)
		return -errno;
	c->io.fd = fd;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	if (connect(fd, (struct sockaddr *)&ss, len) && errno != EINPROGRESS)
		return -errno;
	c->phase = AMB_GPHASE_CONNECT;
	c->polling_out = true;
	return amb_loop_add(c->ch->loop, &c->io, EPOLLIN | EPOLLOUT);
}

static int dial_path(struct amb_gconn *c)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	c->io.fd = fd;
	memcpy(un.sun_path, c->ch->path, sizeof(un.sun_path));
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)))
		return -errno;
	c->phase = AMB_GPHASE_CONNECT;
	c->polling_out = true;
	return amb_loop_add(c->ch->loop, &c->io, EPOLLIN | EPOLLOUT);
}

static void resolved(struct amb_resolve_waiter *w, int err, const struct amb_addr *addr)
{
	struct amb_gconn *c = AMB_CONTAINER_OF(w, struct amb_gconn, resolve);

	if (!err) {
		c->peer.addr = *addr;
		err = dial(c);
		if (err)
			fail(c, "connect", strerror(-err));
	} else {
		fail(c, c->ch->host, err == -ENOENT ? "name does not resolve" : strerror(-err));
	}
}

static void begin(struct amb_gconn *c)
{
	struct amb_grpc *ch = c->ch;
	struct amb_addr addr;
	int err = 0;

	c->peer.port = ch->port;
	arm(c, AMB_GRPC_CONNECT_NS);
	if (*ch->path) {
		err = dial_path(c);
		if (err)
			fail(c, "connect", strerror(-err));
		return;
	}
	if (amb_addr_parse(ch->host, &addr)) {
		c->resolve.fn = resolved;
		err = amb_resolve(ch->resolver, ch->host, false, ch->loop, &c->resolve, &addr);
		if (err == -EINPROGRESS)
			return;
	}
	resolved(&c->resolve, err, &addr);
}

static void run_work(struct amb_work *w)
{
	struct amb_gconn *c = AMB_CONTAINER_OF(w, struct amb_gconn, work);

	if (c->phase == AMB_GPHASE_OPEN)
		serve(c);
	else if (c->phase == AMB_GPHASE_NEW && !c->timer.index)
		begin(c);
}

/* Time */

static void due(struct amb_timer *t)
{
	struct amb_gconn *c = AMB_CONTAINER_OF(t, struct amb_gconn, timer);

	if (c->phase == AMB_GPHASE_HANDSHAKE) {
		fail(c, "TLS", "no handshake within 10 s");
	} else if (c->phase != AMB_GPHASE_OPEN) {
		fail(c, "connect", "no connection within 5 s");
	} else if (!c->ncalls) {
		amb_gconn_destroy(c, NULL);
	} else if (c->pinged) {
		fail(c, "transport is closing", "no answer to a ping within 10 s");
	} else if (nghttp2_submit_ping(c->h2, NGHTTP2_FLAG_NONE, NULL)) {
		fail(c, "out of memory", NULL);
	} else {
		c->pinged = true;
		arm(c, AMB_GRPC_PING_WAIT_NS);
		amb_gconn_wake(c);
	}
}

void amb_gconn_pong(struct amb_gconn *c)
{
	if (!c->pinged)
		return;
	c->pinged = false;
	arm(c, AMB_GRPC_PING_NS - AMB_GRPC_PING_WAIT_NS);
}

void amb_gconn_busy(struct amb_gconn *c)
{
	if (c->phase == AMB_GPHASE_OPEN)
		arm(c, AMB_GRPC_PING_NS);
}

void amb_gconn_idle(struct amb_gconn *c)
{
	c->pinged = false;
	if (c->phase == AMB_GPHASE_OPEN)
		arm(c, c->ch->conn == c ? AMB_GRPC_IDLE_NS : 0);
}

/* Life */

void amb_gconn_wake(struct amb_gconn *c)
{
	amb_loop_defer(c->ch->loop, &c->work);
}

void amb_gconn_drain(struct amb_gconn *c)
{
	if (c->ch->conn == c)
		c->ch->conn = NULL;
	if (!c->ncalls)
		amb_gconn_idle(c);
}

void amb_gconn_goaway(struct amb_gconn *c)
{
	amb_debug(XDS, "%s: the server takes no new calls on this connection", c->ch->authority);
	amb_gconn_drain(c);
}

struct amb_gconn *amb_gconn_create(struct amb_grpc *ch)
{
	struct amb_gconn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->ch = ch;
	c->io = (struct amb_io){ .fn = event, .fd = -1, .slot = -1 };
	c->timer.fn = due;
	c->work.fn = run_work;
	c->prev = &ch->conns;
	c->next = ch->conns;
	if (c->next)
		c->next->prev = &c->next;
	ch->conns = c;
	ch->conn = c;
	return c;
}

void amb_gconn_destroy(struct amb_gconn *c, const char *text)
{
	struct amb_grpc *ch = c->ch;
	bool open = c->phase == AMB_GPHASE_OPEN;

	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	if (ch->conn == c)
		ch->conn = NULL;
	amb_loop_timer_cancel(ch->loop, &c->timer);
	amb_resolve_cancel(ch->resolver, &c->resolve);
	if (c->io.fd >= 0)
		amb_loop_del(ch->loop, &c->io);
	if (c->h2)
		nghttp2_session_del(c->h2);
	c->h2 = NULL;
	c->phase = AMB_GPHASE_DEAD;
	if (open && c->tls)
		amb_tls_client_close(c->tls);
	amb_tls_client_destroy(c->tls);
	amb_cleanup_fd(&c->io.fd);
	/* Handlers may open calls again: they find no connection, and make one. */
	amb_gcall_end(c, !open, text);
	amb_loop_undefer(ch->loop, &c->work);
	free(c);
}
