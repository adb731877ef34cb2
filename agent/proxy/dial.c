// SPDX-License-Identifier: GPL-2.0-or-later
/* TCP connects out of a pod's network namespace, asynchronous, with a deadline. */
#include "dial.h"

#include "base/cleanup.h"
#include "base/util.h"
#include "kernel/netns.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static int socket_error(int fd)
{
	int err = 0;
	socklen_t len = sizeof(err);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) ? -errno : -err;
}

static void finish(struct amb_dial *d, int result)
{
	struct amb_loop *loop = d->loop;

	amb_loop_del(loop, &d->io);
	amb_loop_timer_cancel(loop, &d->timer);
	d->loop = NULL;
	if (result < 0)
		close(d->io.fd);
	d->io.fd = -1;
	d->done(d, result);
}

static void writable(struct amb_io *io, uint32_t events)
{
	struct amb_dial *d = AMB_CONTAINER_OF(io, struct amb_dial, io);
	int err = socket_error(io->fd);

	(void)events;
	finish(d, err ? err : io->fd);
}

static void expired(struct amb_timer *t)
{
	finish(AMB_CONTAINER_OF(t, struct amb_dial, timer), -ETIMEDOUT);
}

/* The port is chosen at connect, per destination, so that few ports serve many clients. */
static int bind_source(int fd, int family, const struct amb_addr *src)
{
	struct amb_endpoint from = { .addr = *src };
	struct sockaddr_storage ss;
	socklen_t len = amb_endpoint_to_sockaddr(&from, family, &ss);
	int one = 1;

	if (!len)
		return -EAFNOSUPPORT;
	if (setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&ss, len))
		return -errno;
	return 0;
}

static int make_socket(const struct amb_dial_to *to, int family)
{
	unsigned int flags = to->local ? 0 : AMB_SOCK_KEEPALIVE;
	_cleanup_fd_ int fd = -1;
	int err;

	if (to->src) {
		fd = amb_netns_socket(to->netns, family,
				      flags | (to->transparent ? AMB_SOCK_TRANSPARENT : 0) |
					      (to->marked_back ? AMB_SOCK_BACK : 0));
		err = fd < 0 ? fd : bind_source(fd, family, to->src);
		if (!err)
			return take_fd(&fd);
		if (to->src_required)
			return err;
		if (fd >= 0)
			close(take_fd(&fd));
	}
	return amb_netns_socket(to->netns, family, flags);
}

/*
 * Over veth and loopback the whole handshake happens within connect(), though it says
 * EINPROGRESS: one poll() that does not wait saves a turn of the loop.
 */
static int settled(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	if (poll(&p, 1, 0) <= 0)
		return -EINPROGRESS;
	return socket_error(fd);
}

int amb_dial_start(struct amb_dial *d, struct amb_loop *loop, const struct amb_dial_to *to)
{
	int family = amb_addr_is_v4(&to->dst.addr) ? AF_INET : AF_INET6;
	struct sockaddr_storage ss;
	socklen_t len = amb_endpoint_to_sockaddr(&to->dst, family, &ss);
	_cleanup_fd_ int fd = make_socket(to, family);
	int err;

	if (fd < 0)
		return fd;
	if (amb_util_fd_kept(fd))
		return -EMFILE;
	if (!connect(fd, (struct sockaddr *)&ss, len))
		return take_fd(&fd);
	err = errno == EINPROGRESS ? settled(fd) : -errno;
	if (!err)
		return take_fd(&fd);
	if (err != -EINPROGRESS)
		return err;
	d->io.fn = writable;
	d->io.fd = fd;
	d->timer.fn = expired;
	err = amb_loop_timer_set(loop, &d->timer, amb_loop_now(loop) + to->timeout_ns);
	if (err)
		return err;
	err = amb_loop_add(loop, &d->io, EPOLLOUT | EPOLLET);
	if (err) {
		amb_loop_timer_cancel(loop, &d->timer);
		return err;
	}
	d->loop = loop;
	take_fd(&fd);
	return -EINPROGRESS;
}

void amb_dial_cancel(struct amb_dial *d)
{
	if (!d->loop)
		return;
	amb_loop_del(d->loop, &d->io);
	amb_loop_timer_cancel(d->loop, &d->timer);
	close(d->io.fd);
	d->io.fd = -1;
	d->loop = NULL;
}

enum amb_reason amb_dial_reason(int err)
{
	switch (-err) {
	case ETIMEDOUT:
		return AMB_REASON_TIMEOUT;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return AMB_REASON_LIMIT;
	default:
		return AMB_REASON_CONNECT;
	}
}
