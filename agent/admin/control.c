// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The control socket: clients and their streams. What the commands mean is in commands.c.
 *
 * Lifetime: a client is freed at its end, by its time limit or with the whole; a dump that still
 * collects connections for it is told so and cleans up after itself.
 */
#include "control.h"

#include "commands.h"
#include "dump.h"
#include "text.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/unix.h"
#include "base/util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PIECE 16384 /* bytes of an answer held for a client that does not read */

struct client {
	struct client *next, **prev;
	struct amb_control *c;
	struct amb_io io;
	struct amb_timer timer;
	struct amb_text in, out;
	struct amb_dump *dump;
	bool answering;
};

struct amb_control {
	const struct amb_admin_ops *ops;
	struct amb_io io;
	struct amb_timer pause; /* the table of descriptors was full */
	char *path;
	struct client *clients;
	unsigned int nclients;
};

static void client_close(struct client *cl)
{
	struct amb_control *c = cl->c;

	*cl->prev = cl->next;
	if (cl->next)
		cl->next->prev = cl->prev;
	amb_loop_timer_cancel(c->ops->loop, &cl->timer);
	amb_loop_del(c->ops->loop, &cl->io);
	close(cl->io.fd);
	amb_dump_destroy(cl->dump);
	amb_text_uninit(&cl->in);
	amb_text_uninit(&cl->out);
	free(cl);
	if (c->nclients-- == AMB_CONTROL_CLIENTS)
		amb_loop_mod(c->ops->loop, &c->io, EPOLLIN);
}

static void give_time(struct client *cl)
{
	amb_loop_timer_set(cl->c->ops->loop, &cl->timer,
			   amb_loop_now(cl->c->ops->loop) + AMB_CONTROL_SECONDS * 1000000000ull);
}

static void client_expired(struct amb_timer *t)
{
	client_close(AMB_CONTAINER_OF(t, struct client, timer));
}

/* Makes more of the answer. False when there is no more, or no memory for it. */
static bool refill(struct client *cl)
{
	char buf[PIECE];
	ssize_t n;

	if (!cl->dump)
		return false;
	n = amb_dump_read(cl->dump, buf, sizeof(buf));
	if (n <= 0)
		return false;
	amb_text_put(&cl->out, buf, n);
	return !cl->out.failed;
}

/* Sends what the socket takes, one piece a turn. */
static void client_send(struct client *cl)
{
	ssize_t n;

	if (!amb_text_left(&cl->out) && !refill(cl)) {
		client_close(cl);
		return;
	}
	n = send(cl->io.fd, cl->out.p + cl->out.at, amb_text_left(&cl->out), MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		client_close(cl);
		return;
	}
	if (n > 0) {
		cl->out.at += n;
		if (cl->out.at == cl->out.len)
			cl->out.at = cl->out.len = 0;
		give_time(cl);
	}
}

static void start_sending(void *ctx)
{
	struct client *cl = ctx;

	amb_loop_mod(cl->c->ops->loop, &cl->io, EPOLLOUT);
	give_time(cl);
}

static void answer(struct client *cl, const char *line, size_t len)
{
	unsigned int sections = 0;
	json_t *reply;

	cl->answering = true;
	/* Until the answer is there only the client's going away is of interest. */
	amb_loop_mod(cl->c->ops->loop, &cl->io, 0);
	reply = amb_commands_run(cl->c->ops, line, len, &sections);
	if (sections) {
		cl->dump = amb_dump_create(cl->c->ops, sections, start_sending, cl);
		if (!cl->dump)
			reply = json_pack("{s:s}", "error", "out of memory");
		else if (!amb_dump_is_ready(cl->dump))
			return;
	}
	if (!cl->dump) {
		amb_text_put_json(&cl->out, reply);
		amb_text_puts(&cl->out, "\n");
	}
	start_sending(cl);
}

static void client_receive(struct client *cl)
{
	char buf[4096], *end;
	ssize_t n = recv(cl->io.fd, buf, sizeof(buf), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		amb_text_put(&cl->in, buf, n);
	if (n <= 0 || cl->in.failed || cl->in.len > AMB_CONTROL_REQUEST_MAX) {
		client_close(cl);
		return;
	}
	end = memchr(cl->in.p, '\n', cl->in.len);
	if (end)
		answer(cl, cl->in.p, end - cl->in.p);
}

static void client_event(struct amb_io *io, uint32_t events)
{
	struct client *cl = AMB_CONTAINER_OF(io, struct client, io);

	if (events & (EPOLLHUP | EPOLLERR))
		client_close(cl);
	else if (cl->answering)
		client_send(cl);
	else
		client_receive(cl);
}

/* The socket's mode keeps others out; this also holds when somebody widens it. */
static bool may_ask(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) &&
	       (cred.uid == 0 || cred.uid == geteuid());
}

/* The client stays in the backlog, so the socket stays readable: no use to look at once. */
static void pause_accept(struct amb_control *c)
{
	if (amb_loop_timer_set(c->ops->loop, &c->pause,
			       amb_loop_now(c->ops->loop) + AMB_CONTROL_PAUSE_NS))
		return;
	amb_loop_mod(c->ops->loop, &c->io, 0);
}

static void resume_accept(struct amb_timer *t)
{
	struct amb_control *c = AMB_CONTAINER_OF(t, struct amb_control, pause);

	if (c->nclients < AMB_CONTROL_CLIENTS)
		amb_loop_mod(c->ops->loop, &c->io, EPOLLIN);
}

static void accept_event(struct amb_io *io, uint32_t events)
{
	struct amb_control *c = AMB_CONTAINER_OF(io, struct amb_control, io);
	_cleanup_fd_ int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *cl;

	(void)events;
	if (fd < 0) {
		if (amb_util_fds_used_up())
			pause_accept(c);
		return;
	}
	cl = may_ask(fd) ? calloc(1, sizeof(*cl)) : NULL;
	if (!cl)
		return;
	cl->c = c;
	cl->io = (struct amb_io){ .fn = client_event, .fd = fd, .slot = -1 };
	cl->timer.fn = client_expired;
	if (amb_loop_add(c->ops->loop, &cl->io, EPOLLIN)) {
		free(cl);
		return;
	}
	take_fd(&fd);
	cl->next = c->clients;
	cl->prev = &c->clients;
	if (cl->next)
		cl->next->prev = &cl->next;
	c->clients = cl;
	give_time(cl);
	if (++c->nclients == AMB_CONTROL_CLIENTS)
		amb_loop_mod(c->ops->loop, &c->io, 0);
}

struct amb_control *amb_control_create(const struct amb_admin_ops *ops, const char *path)
{
	struct amb_control *c = calloc(1, sizeof(*c));
	int err = -ENOMEM;

	if (!c)
		return NULL;
	c->ops = ops;
	c->io = (struct amb_io){ .fn = accept_event, .fd = -1, .slot = -1 };
	c->pause.fn = resume_accept;
	err = amb_unix_listen(path, 0600, AMB_CONTROL_CLIENTS);
	if (err >= 0) {
		c->io.fd = err;
		c->path = strdup(path);
		err = c->path ? amb_loop_add(ops->loop, &c->io, EPOLLIN) : -ENOMEM;
	}
	if (err) {
		amb_err(ADMIN, "cannot listen on control socket %s: %s", path, strerror(-err));
		amb_control_destroy(c);
		errno = -err;
		return NULL;
	}
	return c;
}

void amb_control_destroy(struct amb_control *c)
{
	if (!c)
		return;
	while (c->clients)
		client_close(c->clients);
	amb_loop_timer_cancel(c->ops->loop, &c->pause);
	if (c->io.fd >= 0) {
		amb_loop_del(c->ops->loop, &c->io);
		close(c->io.fd);
	}
	if (c->path)
		unlink(c->path);
	free(c->path);
	free(c);
}
