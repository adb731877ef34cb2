// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Network namespaces: opened once, entered per thread, sockets made inside.
 *
 * Where a thread is, is remembered by device and inode of the namespace, not by object: while
 * the thread is inside, the kernel cannot give that inode to another namespace.
 */
#include "netns.h"

#include "base/cleanup.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* Of linux/netfilter_ipv4.h and ip6_tables.h, which do not go together with netinet/in.h. */
#define SO_ORIGINAL_DST 80
#define IP6T_SO_ORIGINAL_DST 80

static pthread_once_t own_once = PTHREAD_ONCE_INIT;
static uint32_t packet_mark = AMB_MARK;
static struct amb_keepalive keepalive = AMB_KEEPALIVE_DEFAULTS;
static struct amb_netns *own; /* the namespace the agent was started in; lives for ever */

static __thread struct {
	bool known;
	dev_t dev;
	ino_t ino;
} here;

struct amb_netns *amb_netns_take(int fd)
{
	_cleanup_fd_ int owned = fd;
	struct amb_netns *ns;
	struct stat st;
	int type;

	type = ioctl(owned, NS_GET_NSTYPE);
	if (type < 0 && errno != ENOTTY)
		return NULL;
	if (type != CLONE_NEWNET) {
		errno = EINVAL;
		return NULL;
	}
	if (fstat(owned, &st) < 0 || fcntl(owned, F_SETFD, FD_CLOEXEC) < 0)
		return NULL;
	ns = malloc(sizeof(*ns));
	if (!ns)
		return NULL;
	*ns = (struct amb_netns){
		.refs = 1,
		.diag = -1,
		.dev = st.st_dev,
		.ino = st.st_ino,
	};
	ns->fd = take_fd(&owned);
	return ns;
}

struct amb_netns *amb_netns_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? NULL : amb_netns_take(fd);
}

struct amb_netns *amb_netns_get(struct amb_netns *ns)
{
	__atomic_add_fetch(&ns->refs, 1, __ATOMIC_RELAXED);
	return ns;
}

void amb_netns_put(struct amb_netns *ns)
{
	if (!ns || __atomic_sub_fetch(&ns->refs, 1, __ATOMIC_ACQ_REL))
		return;
	amb_cleanup_fd(&ns->diag);
	close(ns->fd);
	free(ns);
}

static void open_own(void)
{
	/* Nobody has moved yet, so the first asker's namespace is the agent's. */
	own = amb_netns_open("/proc/thread-self/ns/net");
}

bool amb_netns_is_own(const struct amb_netns *ns)
{
	pthread_once(&own_once, open_own);
	return own && amb_netns_eq(own, ns);
}

int amb_netns_enter(struct amb_netns *ns)
{
	struct stat st;

	pthread_once(&own_once, open_own);
	if (!own)
		return -ENOSYS;
	if (!ns)
		ns = own;
	/* A new thread starts where its creator was at that moment. */
	if (!here.known) {
		if (stat("/proc/thread-self/ns/net", &st) < 0)
			return -errno;
		here.dev = st.st_dev;
		here.ino = st.st_ino;
		here.known = true;
	}
	if (here.ino == ns->ino && here.dev == ns->dev)
		return 0;
	if (setns(ns->fd, CLONE_NEWNET) < 0)
		return -errno;
	here.dev = ns->dev;
	here.ino = ns->ino;
	return 0;
}

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int set_keepalive(int fd)
{
	const struct amb_keepalive *k = &keepalive;
	int err = 0;

	if (k->enabled) {
		err = set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
		if (!err)
			err = set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, k->time_s);
		if (!err)
			err = set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, k->interval_s);
		if (!err)
			err = set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, k->probes);
	}
	/* The time after which probes would have given up. */
	if (!err && k->user_timeout)
		err = set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
			      1000 * AMB_MIN(k->time_s + k->probes * k->interval_s,
					     INT_MAX / 1000));
	return err;
}

/* On a dual-stack socket the IPv6 option covers IPv4 peers too: the kernel has one bit. */
static int set_transparent(int fd, int family)
{
	if (family == AF_INET6)
		return set_int(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
	return set_int(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
}

static int set_listener(int fd, int family, unsigned int flags)
{
	int err;

	err = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (!err && !(flags & AMB_SOCK_EXCLUSIVE))
		err = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!err && family == AF_INET6)
		err = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	return err;
}

void amb_netns_set_mark(uint32_t mark)
{
	packet_mark = mark;
}

void amb_netns_set_keepalive(const struct amb_keepalive *k)
{
	keepalive = *k;
}

static int make_socket(int family, unsigned int flags)
{
	if (flags & AMB_SOCK_UDP)
		return socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
	return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
}

static int set_tcp(int fd)
{
	/* A kernel without it still carries the bytes: not an error. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, AMB_CONGESTION,
			 sizeof(AMB_CONGESTION) - 1);
	return set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

int amb_netns_socket(struct amb_netns *ns, int family, unsigned int flags)
{
	_cleanup_fd_ int fd = -1;
	int err;

	err = amb_netns_enter(ns);
	if (err)
		return err;
	fd = make_socket(family, flags);
	if (fd < 0)
		return -errno;
	err = set_int(fd, SOL_SOCKET, SO_MARK,
		      flags & AMB_SOCK_BACK ? AMB_ROUTE_MARK : packet_mark);
	if (!err && !(flags & AMB_SOCK_UDP))
		err = set_tcp(fd);
	if (!err && (flags & AMB_SOCK_TRANSPARENT))
		err = set_transparent(fd, family);
	if (!err && (flags & AMB_SOCK_LISTENER))
		err = set_listener(fd, family, flags);
	if (!err && (flags & AMB_SOCK_KEEPALIVE))
		err = set_keepalive(fd);
	return err ? err : take_fd(&fd);
}

int amb_netns_original_dst(int fd, struct amb_endpoint *out)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	/*
	 * An IPv6 socket may carry an IPv4 peer, so the socket's family does not say which to
	 * ask. IPv4 first: it finds nothing for a true IPv6 connection.
	 */
	if (getsockopt(fd, IPPROTO_IP, SO_ORIGINAL_DST, &ss, &len) < 0) {
		len = sizeof(ss);
		if (getsockopt(fd, IPPROTO_IPV6, IP6T_SO_ORIGINAL_DST, &ss, &len) < 0)
			return -errno;
	}
	return amb_endpoint_from_sockaddr((struct sockaddr *)&ss, out);
}
