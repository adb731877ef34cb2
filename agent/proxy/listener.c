// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Listening sockets in pods. Accepting is bounded per turn, so that one pod's rush does not
 * hold up the others' bytes; a full fd table pauses the listener instead of spinning on it.
 */
#include "listener.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "kernel/netns.h"
#include "pod.h"
#include "worker.h"

#include <errno.h>
#include <sys/socket.h>

static bool is_shortage(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM;
}

static void pause_accept(struct amb_listener *l, int err)
{
	struct amb_worker *w = l->pod->worker;

	amb_worker_reason(w, AMB_REASON_LIMIT);
	if (cds_list_empty(&w->paused))
		amb_warn(PROXY, "worker %u: cannot accept (error %d), pausing", w->index, err);
	amb_loop_del(w->loop, &l->io);
	cds_list_add_tail(&l->paused, &w->paused);
	if (!w->pause_timer.index)
		amb_loop_timer_set(w->loop, &w->pause_timer,
				   amb_loop_now(w->loop) + AMB_LISTENER_PAUSE_NS);
}

void amb_listener_resume(struct amb_timer *t)
{
	struct amb_worker *w = AMB_CONTAINER_OF(t, struct amb_worker, pause_timer);
	struct amb_listener *l, *next;

	cds_list_for_each_entry_safe(l, next, &w->paused, paused) {
		/* epoll itself may lack memory: then once more later */
		if (amb_loop_add(w->loop, &l->io, EPOLLIN))
			continue;
		cds_list_del_init(&l->paused);
	}
	if (!cds_list_empty(&w->paused))
		amb_loop_timer_set(w->loop, t, amb_loop_now(w->loop) + AMB_LISTENER_PAUSE_NS);
}

/*
 * Level-triggered: what a turn leaves comes again. The burst follows the load, so that a
 * lone connection does not pay a second accept4() only to hear EAGAIN.
 */
static void accept_event(struct amb_io *io, uint32_t events)
{
	struct amb_listener *l = AMB_CONTAINER_OF(io, struct amb_listener, io);
	struct amb_pod *pod = l->pod;
	unsigned int i;

	(void)events;
	for (i = 0; i < l->burst; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		struct amb_endpoint src;
		int fd =
			accept4(io->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && errno == EAGAIN) {
			l->burst = i ?: 1;
			return;
		}
		if (fd < 0 && is_shortage(errno)) {
			pause_accept(l, errno);
			return;
		}
		if (fd >= 0 && amb_util_fd_kept(fd)) {
			close(fd);
			pause_accept(l, EMFILE);
			return;
		}
		if (fd < 0) /* of that connection only: ECONNABORTED and the like */
			continue;
		if (amb_endpoint_from_sockaddr((struct sockaddr *)&ss, &src)) {
			close(fd);
			continue;
		}
		l->accepted(pod, fd, &src);
	}
	l->burst = AMB_MIN(l->burst * 2, AMB_LISTENER_BURST);
}

static int make_socket(struct amb_netns *ns, int family, const struct amb_endpoint *at,
		       unsigned int flags)
{
	struct sockaddr_storage ss;
	_cleanup_fd_ int fd = amb_netns_socket(ns, family, flags);
	socklen_t len;

	if (fd < 0)
		return fd;
	len = amb_endpoint_to_sockaddr(at, family, &ss);
	if (bind(fd, (struct sockaddr *)&ss, len) || listen(fd, AMB_LISTENER_BACKLOG))
		return -errno;
	return take_fd(&fd);
}

static int make_any_family(struct amb_pod *pod, uint16_t port, unsigned int flags)
{
	struct amb_endpoint any6 = { .port = port }, any4 = any6;
	struct amb_netns *ns = pod->info->netns;
	int fd = -EAFNOSUPPORT;

	any4.addr.b[10] = any4.addr.b[11] = 0xff;
	if (pod->worker->env->config.ipv6)
		fd = make_socket(ns, AF_INET6, &any6, flags);
	if (fd < 0 && fd != -EADDRINUSE && fd != -EMFILE)
		fd = make_socket(ns, AF_INET, &any4, flags);
	return fd;
}

/* Takes @fd over, also on failure. */
static int start(struct amb_listener *l, struct amb_pod *pod, int fd, amb_listener_fn *accepted)
{
	int err;

	l->io.fn = accept_event;
	l->io.fd = fd;
	l->pod = pod;
	l->accepted = accepted;
	l->burst = 1;
	CDS_INIT_LIST_HEAD(&l->paused);
	err = amb_loop_add(pod->worker->loop, &l->io, EPOLLIN);
	if (err) {
		close(fd);
		l->io.fd = -1;
	}
	return err;
}

unsigned int amb_listener_flags(const struct amb_pod *pod)
{
	return AMB_SOCK_LISTENER | (pod->worker->env->config.port_reuse ? 0 : AMB_SOCK_EXCLUSIVE);
}

int amb_listener_open(struct amb_listener *l, struct amb_pod *pod, uint16_t port, bool keepalive,
		      bool *transparent, amb_listener_fn *accepted)
{
	unsigned int flags = amb_listener_flags(pod) | (keepalive ? AMB_SOCK_KEEPALIVE : 0);
	bool got = *transparent;
	int fd = -EPERM, err;

	if (got)
		fd = make_any_family(pod, port, flags | AMB_SOCK_TRANSPARENT);
	if (fd < 0) {
		got = false;
		fd = make_any_family(pod, port, flags);
	}
	err = fd < 0 ? fd : start(l, pod, fd, accepted);
	if (!err)
		*transparent = got;
	return err;
}

int amb_listener_open_at(struct amb_listener *l, struct amb_pod *pod, const struct amb_endpoint *at,
			 amb_listener_fn *accepted)
{
	int family = amb_addr_is_v4(&at->addr) ? AF_INET : AF_INET6;
	int fd = make_socket(pod->info->netns, family, at, amb_listener_flags(pod));

	return fd < 0 ? fd : start(l, pod, fd, accepted);
}

void amb_listener_close(struct amb_listener *l)
{
	if (l->io.fd < 0)
		return;
	amb_loop_del(l->pod->worker->loop, &l->io);
	cds_list_del_init(&l->paused);
	close(l->io.fd);
	l->io.fd = -1;
}
