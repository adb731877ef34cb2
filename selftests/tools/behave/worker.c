// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A worker of amb-behave: one end of a data connection, and what can be asked of it. Making and
 * ending connections, options and waiting stand here, bytes in bytes.c.
 */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STEP_MS 1 /* between two looks at a condition */
#define BACKLOG 64

struct sockaddr_storage worker_target;

int64_t worker_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

void worker_step(void)
{
	poll(NULL, 0, STEP_MS);
}

int64_t worker_result(int64_t ret)
{
	return ret < 0 ? -errno : ret;
}

/* --- making connections --- */

static void fresh(struct worker *w, int fd)
{
	w->fd = fd;
	w->sent = 0;
	w->received = 0;
}

static struct sockaddr_storage target_port(int64_t port, socklen_t *len)
{
	struct sockaddr_storage ss = worker_target;

	/* The port stands at the same place in both families. */
	((struct sockaddr_in *)&ss)->sin_port = htons(port);
	*len = ss.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	return ss;
}

static int64_t do_socket(struct worker *w, const int64_t *arg, struct reply *r)
{
	int fd = socket(worker_target.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)arg;
	(void)r;
	if (fd >= 0)
		fresh(w, fd);
	return fd < 0 ? -errno : 0;
}

static int64_t do_source(struct worker *w, const int64_t *arg, struct reply *r);

static struct name name_of(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
	const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
	struct name n = { .port = ntohs(in->sin_port) };

	if (ss->ss_family == AF_INET6) {
		n.address = in6->sin6_addr;
		return n;
	}
	n.address.s6_addr[10] = n.address.s6_addr[11] = 0xff;
	memcpy(&n.address.s6_addr[12], &in->sin_addr, 4);
	return n;
}

static int64_t do_bind(struct worker *w, const int64_t *arg, struct reply *r)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (do_source(w, arg, r) < 0)
		return -errno;
	ss = w->source;
	((struct sockaddr_in *)&ss)->sin_port = 0;
	if (bind(w->fd, (struct sockaddr *)&ss, sizeof(ss)) < 0 ||
	    getsockname(w->fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	return name_of(&ss).port;
}

static int64_t do_connect(struct worker *w, const int64_t *arg, struct reply *r)
{
	int flags = fcntl(w->fd, F_GETFL);
	struct sockaddr_storage ss;
	socklen_t len;
	int64_t ret;

	(void)r;
	ss = target_port(arg[0], &len);
	if (arg[1])
		fcntl(w->fd, F_SETFL, flags | O_NONBLOCK);
	ret = worker_result(connect(w->fd, (struct sockaddr *)&ss, len));
	if (arg[1])
		fcntl(w->fd, F_SETFL, flags);
	return ret;
}

static int64_t do_disconnect(struct worker *w, const int64_t *arg, struct reply *r)
{
	struct sockaddr sa = { .sa_family = AF_UNSPEC };

	(void)arg;
	(void)r;
	fresh(w, w->fd);
	return worker_result(connect(w->fd, &sa, sizeof(sa)));
}

static int64_t do_fastopen(struct worker *w, const int64_t *arg, struct reply *r)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int64_t ret;

	(void)r;
	ss = target_port(arg[0], &len);
	worker_pattern(w->buf, w->sent, arg[1]);
	ret = worker_result(sendto(w->fd, w->buf, arg[1], MSG_FASTOPEN | MSG_NOSIGNAL,
				   (struct sockaddr *)&ss, len));
	w->sent += ret > 0 ? ret : 0;
	return ret;
}

static int64_t do_port(struct worker *w, const int64_t *arg, struct reply *r)
{
	(void)r;
	w->port = arg[0];
	return 0;
}

static int64_t try_listen(struct worker *w)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_port = htons(w->port) };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), err;
	socklen_t len = sizeof(sa);

	if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) &&
	    !bind(fd, (struct sockaddr *)&sa, sizeof(sa)) && !listen(fd, BACKLOG) &&
	    !getsockname(fd, (struct sockaddr *)&sa, &len)) {
		w->listener = fd;
		w->port = ntohs(sa.sin6_port);
		return w->port;
	}
	err = errno;
	if (fd >= 0)
		close(fd);
	return -err;
}

/* The worker before may still be about to end, and have the port. */
static int64_t do_listen(struct worker *w, const int64_t *arg, struct reply *r)
{
	int64_t end = worker_now_ms() + WORKER_WAIT_MS, port;

	(void)arg;
	(void)r;
	if (w->listener >= 0)
		return w->port;
	while ((port = try_listen(w)) == -EADDRINUSE && worker_now_ms() < end)
		worker_step();
	return port;
}

static int64_t do_unlisten(struct worker *w, const int64_t *arg, struct reply *r)
{
	int64_t port = do_listen(w, arg, r);

	if (port < 0)
		return port;
	close(w->listener);
	w->listener = -1;
	return port;
}

static int64_t do_accept(struct worker *w, const int64_t *arg, struct reply *r)
{
	int fd = accept4(w->listener, NULL, NULL, arg[0]);

	if (fd < 0)
		return -errno;
	fresh(w, fd);
	r->value[0] = !!(fcntl(fd, F_GETFL) & O_NONBLOCK);
	r->value[1] = !!(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	return 0;
}

static int64_t do_close(struct worker *w, const int64_t *arg, struct reply *r)
{
	int64_t ret = worker_result(close(w->fd));

	(void)arg;
	(void)r;
	fresh(w, -1);
	return ret;
}

static int64_t do_reset(struct worker *w, const int64_t *arg, struct reply *r)
{
	struct linger l = { .l_onoff = 1 };

	if (setsockopt(w->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)))
		return -errno;
	return do_close(w, arg, r);
}

static int64_t do_shutdown(struct worker *w, const int64_t *arg, struct reply *r)
{
	(void)r;
	return worker_result(shutdown(w->fd, arg[0]));
}

static int64_t do_names(struct worker *w, const int64_t *arg, struct reply *r)
{
	struct sockaddr_storage local = { 0 }, peer = { 0 };
	socklen_t a = sizeof(local), b = sizeof(peer);

	(void)arg;
	if (getsockname(w->fd, (struct sockaddr *)&local, &a) ||
	    getpeername(w->fd, (struct sockaddr *)&peer, &b))
		return -errno;
	r->local = name_of(&local);
	r->peer = name_of(&peer);
	r->value[0] = local.ss_family;
	r->value[1] = peer.ss_family;
	return 0;
}

/* A connected datagram socket asks the routes and sends nothing. */
static int64_t do_source(struct worker *w, const int64_t *arg, struct reply *r)
{
	int fd = socket(worker_target.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;
	socklen_t len, got = sizeof(w->source);
	struct sockaddr_storage ss;

	(void)arg;
	ss = target_port(9, &len);
	if (fd < 0 || connect(fd, (struct sockaddr *)&ss, len) ||
	    getsockname(fd, (struct sockaddr *)&w->source, &got))
		err = -errno;
	if (fd >= 0)
		close(fd);
	r->local = name_of(&w->source);
	r->peer = name_of(&ss);
	return err;
}

/* --- options --- */

static int option_fd(const struct worker *w)
{
	return w->fd >= 0 ? w->fd : w->listener;
}

static int64_t do_set(struct worker *w, const int64_t *arg, struct reply *r)
{
	int v = arg[2];

	(void)r;
	return worker_result(setsockopt(option_fd(w), arg[0], arg[1], &v, sizeof(v)));
}

static int64_t do_get(struct worker *w, const int64_t *arg, struct reply *r)
{
	socklen_t len = sizeof(int);
	int v = 0;

	(void)r;
	if (getsockopt(option_fd(w), arg[0], arg[1], &v, &len))
		return -errno;
	return v;
}

static int64_t do_timeout(struct worker *w, const int64_t *arg, struct reply *r)
{
	struct timeval t = { .tv_sec = arg[1] / 1000, .tv_usec = arg[1] % 1000 * 1000 };

	(void)r;
	return worker_result(setsockopt(w->fd, SOL_SOCKET, arg[0], &t, sizeof(t)));
}

static int64_t do_linger(struct worker *w, const int64_t *arg, struct reply *r)
{
	struct linger l = { .l_onoff = 1, .l_linger = arg[0] };

	(void)r;
	return worker_result(setsockopt(w->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
}

int64_t worker_tcp_info(struct worker *w, const int64_t *arg, struct reply *r)
{
	struct tcp_info i = { 0 };
	socklen_t len = sizeof(i);

	(void)arg;
	if (getsockopt(w->fd, IPPROTO_TCP, TCP_INFO, &i, &len))
		return -errno;
	r->value[INFO_STATE] = i.tcpi_state;
	r->value[INFO_SENT] = i.tcpi_bytes_sent;
	r->value[INFO_RECEIVED] = i.tcpi_bytes_received;
	r->value[INFO_ACKED] = i.tcpi_bytes_acked;
	r->value[INFO_SEGMENTS] = i.tcpi_segs_out;
	r->value[INFO_DATA_SEGMENTS] = i.tcpi_data_segs_out;
	return 0;
}

/* --- waiting --- */

static int64_t do_ioctl(struct worker *w, const int64_t *arg, struct reply *r)
{
	int v = 0;

	(void)r;
	return ioctl(w->fd, arg[0], &v) < 0 ? -errno : v;
}

static int64_t do_wait_ioctl(struct worker *w, const int64_t *arg, struct reply *r)
{
	int64_t end = worker_now_ms() + WORKER_WAIT_MS, v;

	while ((v = do_ioctl(w, arg, r)) >= 0 && v != arg[1] && worker_now_ms() < end)
		worker_step();
	return v;
}

static int64_t do_wait_segments(struct worker *w, const int64_t *arg, struct reply *r)
{
	int64_t end = worker_now_ms() + WORKER_WAIT_MS, err;

	while (!(err = worker_tcp_info(w, arg, r)) && r->value[INFO_SEGMENTS] < arg[0] &&
	       worker_now_ms() < end)
		worker_step();
	return err ? err : r->value[INFO_SEGMENTS];
}

int64_t worker_poll(struct worker *w, const int64_t *arg, struct reply *r)
{
	struct pollfd p = { .fd = w->fd, .events = arg[0] };

	(void)r;
	return poll(&p, 1, arg[1]) < 0 ? -errno : p.revents;
}

static int64_t do_wait_poll(struct worker *w, const int64_t *arg, struct reply *r)
{
	int64_t end = worker_now_ms() + WORKER_WAIT_MS, got;
	const int64_t look[] = { arg[0], 0 };

	while ((got = worker_poll(w, look, r)) >= 0 && (got & arg[1]) != arg[1] &&
	       worker_now_ms() < end)
		worker_step();
	return got;
}

static int64_t do_epoll_add(struct worker *w, const int64_t *arg, struct reply *r)
{
	struct epoll_event ev = { .events = arg[0] };

	(void)r;
	if (w->epoll < 0)
		w->epoll = epoll_create1(EPOLL_CLOEXEC);
	return worker_result(epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->fd, &ev));
}

static int64_t do_epoll(struct worker *w, const int64_t *arg, struct reply *r)
{
	struct epoll_event ev = { 0 };
	int n = epoll_wait(w->epoll, &ev, 1, arg[0]);

	r->value[0] = n > 0 ? ev.events : 0;
	return worker_result(n);
}

static volatile sig_atomic_t sigpipes;

static void on_sigpipe(int sig)
{
	(void)sig;
	sigpipes++;
}

static int64_t do_sigpipes(struct worker *w, const int64_t *arg, struct reply *r)
{
	(void)w;
	(void)arg;
	(void)r;
	return sigpipes;
}

/* --- the loop --- */

static int64_t (*const ops[OP_MAX])(struct worker *w, const int64_t *arg, struct reply *r) = {
	[OP_SOCKET] = do_socket,
	[OP_BIND] = do_bind,
	[OP_CONNECT] = do_connect,
	[OP_DISCONNECT] = do_disconnect,
	[OP_FASTOPEN] = do_fastopen,
	[OP_PORT] = do_port,
	[OP_LISTEN] = do_listen,
	[OP_UNLISTEN] = do_unlisten,
	[OP_ACCEPT] = do_accept,
	[OP_CLOSE] = do_close,
	[OP_RESET] = do_reset,
	[OP_SHUTDOWN] = do_shutdown,
	[OP_NAMES] = do_names,
	[OP_SOURCE] = do_source,
	[OP_SET] = do_set,
	[OP_GET] = do_get,
	[OP_TIMEOUT] = do_timeout,
	[OP_LINGER] = do_linger,
	[OP_TCP_INFO] = worker_tcp_info,
	[OP_SEND] = worker_send,
	[OP_SEND_ALL] = worker_send_all,
	[OP_SEND_VECTOR] = worker_send_vector,
	[OP_SEND_CORKED] = worker_send_corked,
	[OP_SEND_FILE] = worker_send_file,
	[OP_SEND_SPLICE] = worker_send_splice,
	[OP_SEND_ZEROCOPY] = worker_send_zerocopy,
	[OP_SEND_CHILD] = worker_send_child,
	[OP_RECV] = worker_recv,
	[OP_RECV_ALL] = worker_recv_all,
	[OP_RECV_VECTOR] = worker_recv_vector,
	[OP_RECV_SPLICE] = worker_recv_splice,
	[OP_RECV_URGENT] = worker_recv_urgent,
	[OP_DUPLEX] = worker_duplex,
	[OP_FILL] = worker_fill,
	[OP_IOCTL] = do_ioctl,
	[OP_WAIT_IOCTL] = do_wait_ioctl,
	[OP_WAIT_SEGMENTS] = do_wait_segments,
	[OP_POLL] = worker_poll,
	[OP_WAIT_POLL] = do_wait_poll,
	[OP_EPOLL_ADD] = do_epoll_add,
	[OP_EPOLL] = do_epoll,
	[OP_SIGPIPES] = do_sigpipes,
};

/* A worker that blocks in a call must end too when its director is gone. */
static void *watch(void *arg)
{
	struct pollfd p = { .fd = (intptr_t)arg, .events = POLLRDHUP };

	while (poll(&p, 1, -1) <= 0)
		;
	_exit(0);
}

static bool whole(int fd, void *buf, size_t n, bool out)
{
	char *at = buf;
	ssize_t r;

	while (n) {
		r = out ? send(fd, at, n, MSG_NOSIGNAL) : recv(fd, at, n, MSG_WAITALL);
		if (r <= 0)
			return false;
		at += r;
		n -= r;
	}
	return true;
}

void worker_run(int control)
{
	struct sigaction sa = { .sa_handler = on_sigpipe };
	struct worker w = { .fd = -1, .listener = -1, .epoll = -1 };
	struct request q;
	struct reply r;
	int64_t start;
	pthread_t t;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGPIPE, &sa, NULL);
	signal(SIGCHLD, SIG_DFL);
	w.buf = malloc(WORKER_BUFFER);
	if (!w.buf || pthread_create(&t, NULL, watch, (void *)(intptr_t)control))
		_exit(1);
	while (whole(control, &q, sizeof(q), false)) {
		memset(&r, 0, sizeof(r));
		start = worker_now_ms();
		r.ret = q.op >= 0 && q.op < OP_MAX && ops[q.op] ? ops[q.op](&w, q.arg, &r) :
								  -ENOSYS;
		r.ms = worker_now_ms() - start;
		if (!whole(control, &r, sizeof(r), true))
			break;
	}
	_exit(0);
}
