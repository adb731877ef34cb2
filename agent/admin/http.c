// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent's HTTP servers on the main loop: the library brings an epoll descriptor, which the
 * loop watches, and is run when that is readable or when its own time has come.
 *
 * Lifetime: a request that waits (for live connections, for the end of the agent) is suspended
 * in the library and stands in h->waiting; the library refuses to stop while one is suspended,
 * so destroy() resumes them all first.
 */
#include "http.h"

#include "dump.h"
#include "http_priv.h"

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#define BACKLOG 64
#define FLUSH_TURNS 50 /* runs of a server at the end, so that last answers leave */

#define SECOND 1000000000ull

/* Running */

static void run(struct http_server *s)
{
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(s->daemon);
	amb_loop_timer_cancel(s->h->ops->loop, &s->timer);
	if (MHD_get_timeout(s->daemon, &ms) != MHD_YES)
		return;
	/* Work that is ready now waits for the next turn: the loop has others to serve. */
	if (!ms)
		amb_loop_defer(s->h->ops->loop, &s->work);
	else
		amb_loop_timer_set(s->h->ops->loop, &s->timer,
				   amb_loop_now(s->h->ops->loop) + ms * 1000000);
}

/* The library would look at a client that it cannot accept again and again. */
static void pause_if_full(struct http_server *s)
{
	struct pollfd p = { .fd = s->io.fd, .events = POLLIN };
	struct amb_loop *loop = s->h->ops->loop;

	if (poll(&p, 1, 0) == 1 && amb_util_fds_used_up() &&
	    !amb_loop_timer_set(loop, &s->pause, amb_loop_now(loop) + AMB_HTTP_PAUSE_NS))
		amb_loop_mod(loop, &s->io, 0);
}

static void resume(struct amb_timer *t)
{
	struct http_server *s = AMB_CONTAINER_OF(t, struct http_server, pause);

	amb_loop_mod(s->h->ops->loop, &s->io, EPOLLIN);
}

static void run_io(struct amb_io *io, uint32_t events)
{
	struct http_server *s = AMB_CONTAINER_OF(io, struct http_server, io);

	(void)events;
	run(s);
	pause_if_full(s);
}

static void run_timer(struct amb_timer *t)
{
	run(AMB_CONTAINER_OF(t, struct http_server, timer));
}

static void run_work(struct amb_work *w)
{
	run(AMB_CONTAINER_OF(w, struct http_server, work));
}

/* Time limit of a head: the library only knows of idle connections, not of slow ones. */

static void check_conns(struct amb_timer *t)
{
	struct amb_http *h = AMB_CONTAINER_OF(t, struct amb_http, conns_timer);
	uint64_t now = amb_loop_now(h->ops->loop), next = 0;
	struct http_conn *c;

	for (c = h->conns; c; c = c->next) {
		if (!c->deadline)
			continue;
		if (c->deadline <= now) {
			/* The library sees the end of the stream and lets go. */
			shutdown(c->fd, SHUT_RDWR);
			c->deadline = 0;
		} else if (!next || c->deadline < next) {
			next = c->deadline;
		}
	}
	if (next)
		amb_loop_timer_set(h->ops->loop, &h->conns_timer, next);
}

static void set_deadline(struct amb_http *h, struct http_conn *c, uint64_t deadline)
{
	c->deadline = deadline;
	if (deadline && (!h->conns_timer.index || h->conns_timer.due > deadline))
		amb_loop_timer_set(h->ops->loop, &h->conns_timer, deadline);
}

static struct http_conn *conn_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *i =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return i ? i->socket_context : NULL;
}

static void notify_connection(void *cls, struct MHD_Connection *connection, void **context,
			      enum MHD_ConnectionNotificationCode code)
{
	struct http_server *s = cls;
	struct http_conn *c = *context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *i =
			MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

		c = calloc(1, sizeof(*c));
		if (!c)
			return;
		c->fd = i->connect_fd;
		c->next = s->h->conns;
		c->prev = &s->h->conns;
		if (c->next)
			c->next->prev = &c->next;
		s->h->conns = c;
		*context = c;
		set_deadline(s->h, c,
			     amb_loop_now(s->h->ops->loop) + AMB_HTTP_HEADER_SECONDS * SECOND);
	} else if (c) {
		*c->prev = c->next;
		if (c->next)
			c->next->prev = c->prev;
		free(c);
		*context = NULL;
	}
}

/* Requests */

void amb_http_suspend(struct http_request *r)
{
	struct amb_http *h = r->server->h;

	r->waiting = true;
	r->next = h->waiting;
	r->prev = &h->waiting;
	if (r->next)
		r->next->prev = &r->next;
	h->waiting = r;
	MHD_suspend_connection(r->conn);
}

void amb_http_resume(struct http_request *r)
{
	if (!r->waiting)
		return;
	r->waiting = false;
	*r->prev = r->next;
	if (r->next)
		r->next->prev = r->prev;
	MHD_resume_connection(r->conn);
	amb_loop_defer(r->server->h->ops->loop, &r->server->work);
}

static void notify_completed(void *cls, struct MHD_Connection *connection, void **context,
			     enum MHD_RequestTerminationCode code)
{
	struct http_server *s = cls;
	struct http_request *r = *context;
	struct http_conn *c = conn_of(connection);

	(void)code;
	if (c)
		/* Idle at most one time limit, then one more for the next head. */
		set_deadline(s->h, c,
			     amb_loop_now(s->h->ops->loop) + 2 * AMB_HTTP_HEADER_SECONDS * SECOND);
	MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT,
				  (unsigned int)AMB_HTTP_HEADER_SECONDS);
	if (!r)
		return;
	amb_dump_destroy(r->dump);
	if (r->told)
		r->told->r = NULL;
	free(r);
	*context = NULL;
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *path,
			      const char *method, const char *version, const char *body,
			      size_t *body_size, void **context)
{
	struct http_request *r = *context;
	struct http_conn *c = conn_of(connection);

	(void)version;
	(void)body;
	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r)
			return MHD_NO;
		r->server = cls;
		r->conn = connection;
		*context = r;
		if (c)
			set_deadline(r->server->h, c, 0);
		MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT,
					  (unsigned int)AMB_HTTP_BODY_SECONDS);
		return MHD_YES;
	}
	/* No page reads a body. */
	if (*body_size) {
		*body_size = 0;
		return MHD_YES;
	}
	return amb_http_page(r, method, path);
}

/* Servers */

static void library_log(void *cls, const char *fmt, va_list ap)
{
	char text[256];
	int n;

	(void)cls;
	n = vsnprintf(text, sizeof(text), fmt, ap);
	while (n > 0 && (size_t)n < sizeof(text) && text[n - 1] == '\n')
		text[--n] = 0;
	amb_debug(ADMIN, "http: %s", text);
}

static int listen_on(int family, const struct in6_addr *addr6, in_addr_t addr4, uint16_t port)
{
	_cleanup_fd_ int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	int one = 1, only6 = addr6 && !IN6_IS_ADDR_UNSPECIFIED(addr6), err;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	a4.sin_addr.s_addr = htonl(addr4);
	if (family == AF_INET6) {
		a6.sin6_addr = *addr6;
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, sizeof(only6));
		err = bind(fd, (struct sockaddr *)&a6, sizeof(a6));
	} else {
		err = bind(fd, (struct sockaddr *)&a4, sizeof(a4));
	}
	if (err || listen(fd, BACKLOG))
		return -errno;
	return take_fd(&fd);
}

/* Admin listens on both loopbacks, the others on all addresses of both families. */
static int open_socket(enum http_kind kind, uint16_t port)
{
	int fd;

	if (kind == HTTP_ADMIN)
		return listen_on(AF_INET, NULL, INADDR_LOOPBACK, port);
	if (kind == HTTP_ADMIN6)
		return listen_on(AF_INET6, &in6addr_loopback, 0, port);
	fd = listen_on(AF_INET6, &in6addr_any, 0, port);
	if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
		fd = listen_on(AF_INET, NULL, INADDR_ANY, port);
	return fd;
}

static int start_server(struct amb_http *h, enum http_kind kind, uint16_t port)
{
	unsigned int per_address = kind >= HTTP_METRICS ? AMB_HTTP_PER_ADDRESS : 0;
	struct http_server *s = &h->server[kind];
	const union MHD_DaemonInfo *info;
	_cleanup_fd_ int fd = -1;

	if (!port)
		return 0;
	fd = open_socket(kind, port);
	/* A machine without IPv6 has no ::1. */
	if (kind == HTTP_ADMIN6 && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL))
		return 0;
	if (fd < 0)
		return fd;
	s->h = h;
	s->kind = kind;
	s->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, handle,
		s, MHD_OPTION_EXTERNAL_LOGGER, library_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)AMB_HTTP_CONNECTIONS,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, per_address, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)AMB_HTTP_HEADER_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)AMB_HTTP_POOL, MHD_OPTION_NOTIFY_COMPLETED, notify_completed, s,
		MHD_OPTION_NOTIFY_CONNECTION, notify_connection, s, MHD_OPTION_END);
	if (!s->daemon)
		return -ENOMEM;
	take_fd(&fd);
	info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	s->io = (struct amb_io){ .fn = run_io, .fd = info ? info->epoll_fd : -1, .slot = -1 };
	s->timer.fn = run_timer;
	s->pause.fn = resume;
	s->work.fn = run_work;
	return amb_loop_add(h->ops->loop, &s->io, EPOLLIN);
}

struct amb_http *amb_http_create(const struct amb_admin_ops *ops,
				 const struct amb_http_config *config)
{
	const uint16_t ports[HTTP_KINDS] = { config->admin, config->admin, config->metrics,
					     config->ready };
	struct amb_http *h = calloc(1, sizeof(*h));
	unsigned int i;

	if (!h)
		return NULL;
	h->ops = ops;
	h->conns_timer.fn = check_conns;
	amb_log_filter(h->first_filter, sizeof(h->first_filter));
	for (i = 0; i < HTTP_KINDS; i++) {
		int err = start_server(h, i, ports[i]);

		if (!err)
			continue;
		amb_err(ADMIN, "cannot serve HTTP on port %u: %s", ports[i], strerror(-err));
		amb_http_destroy(h);
		errno = -err;
		return NULL;
	}
	return h;
}

static void stop_server(struct http_server *s)
{
	struct amb_loop *loop;
	unsigned int i;

	if (!s->daemon)
		return;
	loop = s->h->ops->loop;
	for (i = 0; i < FLUSH_TURNS; i++)
		MHD_run(s->daemon);
	amb_loop_del(loop, &s->io);
	amb_loop_timer_cancel(loop, &s->timer);
	amb_loop_timer_cancel(loop, &s->pause);
	amb_loop_undefer(loop, &s->work);
	MHD_stop_daemon(s->daemon);
	amb_loop_undefer(loop, &s->work);
}

void amb_http_destroy(struct amb_http *h)
{
	struct http_request *r, *next;
	unsigned int i;

	if (!h)
		return;
	h->stopping = true;
	for (r = h->waiting; r; r = next) {
		next = r->next;
		amb_http_resume(r);
	}
	for (i = 0; i < HTTP_KINDS; i++)
		stop_server(&h->server[i]);
	amb_loop_timer_cancel(h->ops->loop, &h->conns_timer);
	free(h);
}

void amb_http_pending(struct amb_http *h, const char *task, bool pending)
{
	unsigned int i;

	for (i = 0; i < h->ntasks && strcmp(h->tasks[i], task); i++)
		;
	if (pending && i == h->ntasks) {
		if (i == AMB_HTTP_TASKS)
			h->nameless++;
		else
			h->tasks[h->ntasks++] = task;
	} else if (!pending && i < h->ntasks) {
		h->tasks[i] = h->tasks[--h->ntasks];
	} else if (!pending && h->nameless) {
		h->nameless--;
	}
}
