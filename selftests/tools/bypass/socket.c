// SPDX-License-Identifier: GPL-2.0-or-later
/* Attempts by ordinary sockets with something about them that a capture may forget. */
#include "bypass.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define REPAIR_SEQUENCE 1000

static int new_socket(const struct bypass *b, int type, int protocol)
{
	int fd = socket(b->target.ss_family, type | SOCK_CLOEXEC, protocol);
	struct timeval t = { .tv_sec = b->seconds };

	if (fd < 0)
		return -errno;
	/* A connect is bounded by it too. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	return fd;
}

/* Takes over @fd. */
static int connected(const struct bypass *b, int fd)
{
	int err;

	if (fd < 0 || !connect(fd, (const struct sockaddr *)&b->target, b->target_len))
		return fd;
	err = errno == EINPROGRESS ? ETIMEDOUT : errno;
	close(fd);
	return -err;
}

static int with_option(const struct bypass *b, int level, int name, const void *value,
		       socklen_t len)
{
	int fd = new_socket(b, SOCK_STREAM, 0), err;

	if (fd < 0 || !setsockopt(fd, level, name, value, len))
		return connected(b, fd);
	err = errno;
	close(fd);
	return -err;
}

static int plain(const struct bypass *b)
{
	return connected(b, new_socket(b, SOCK_STREAM, 0));
}

static int udp(const struct bypass *b)
{
	return connected(b, new_socket(b, SOCK_DGRAM, 0));
}

static int multipath(const struct bypass *b)
{
	int fd = new_socket(b, SOCK_STREAM, IPPROTO_MPTCP);

	if (fd == -EPROTONOSUPPORT || fd == -ENOPROTOOPT)
		return -ENOSYS;
	return connected(b, fd);
}

static int bind_device(const struct bypass *b)
{
	return with_option(b, SOL_SOCKET, SO_BINDTODEVICE, b->device, strlen(b->device));
}

static int mark_agent(const struct bypass *b)
{
	return with_option(b, SOL_SOCKET, SO_MARK, &(int){ AGENT_MARK }, sizeof(int));
}

static int mark_route(const struct bypass *b)
{
	return with_option(b, SOL_SOCKET, SO_MARK, &(int){ AGENT_ROUTE_MARK }, sizeof(int));
}

/* Router alert for IPv4; for IPv6 each header is one option: padding. */
static int ip_options(const struct bypass *b)
{
	static const unsigned char alert[] = { 148, 4, 0, 0 };

	return with_option(b, IPPROTO_IP, IP_OPTIONS, alert, sizeof(alert));
}

static const unsigned char padding[8] = { 0, 0, 1, 4 };

static int hop_options(const struct bypass *b)
{
	return with_option(b, IPPROTO_IPV6, IPV6_HOPOPTS, padding, sizeof(padding));
}

static int destination_options(const struct bypass *b)
{
	return with_option(b, IPPROTO_IPV6, IPV6_DSTOPTS, padding, sizeof(padding));
}

static int bound(const struct bypass *b, const struct sockaddr_storage *to, int fd)
{
	int err;

	if (fd < 0 || !bind(fd, (const struct sockaddr *)to, bypass_len(to)))
		return connected(b, fd);
	err = errno;
	close(fd);
	return -err;
}

static int source_hbone(const struct bypass *b)
{
	struct sockaddr_storage own;
	int err = bypass_own(b, &own);

	((struct sockaddr_in *)&own)->sin_port = htons(HBONE_PORT);
	return err ? err : bound(b, &own, new_socket(b, SOCK_STREAM, 0));
}

/* Another pod's address, with the right to use addresses that are not one's own. */
static int transparent(const struct bypass *b)
{
	bool v4 = b->target.ss_family == AF_INET;
	int fd = new_socket(b, SOCK_STREAM, 0), one = 1;

	if (setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT,
		       &one, sizeof(one)))
		return -errno;
	return bound(b, &b->source, fd);
}

/* A connect that was interrupted goes on; here by the ring's own work. */
static int interrupted(const struct bypass *b, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = ETIMEDOUT;

	if (poll(&p, 1, b->seconds * 1000) == 1)
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
	return -err;
}

static int io_uring(const struct bypass *b)
{
	int fd = new_socket(b, SOCK_STREAM, 0);
	int err = fd < 0 ? fd : uring_connect(fd, &b->target, b->target_len);

	if (err == -EINTR)
		err = interrupted(b, fd);
	return err ? err : fd;
}

/* The marker goes with the SYN, where the kernel may send it so. */
static void fastopen(const struct bypass *b, struct outcome *o)
{
	int fd = new_socket(b, SOCK_STREAM, 0);

	if (fd < 0 || sendto(fd, b->marker, strlen(b->marker), MSG_FASTOPEN | MSG_NOSIGNAL,
			     (const struct sockaddr *)&b->target, b->target_len) < 0) {
		o->err = errno;
		return;
	}
	bypass_exchange(b, fd, true, o);
}

static int fastopen_connect(const struct bypass *b)
{
	return with_option(b, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &(int){ 1 }, sizeof(int));
}

/* Established without a handshake; what is sent is the middle of a stream. */
static int repair(const struct bypass *b)
{
	static const int queues[] = { TCP_SEND_QUEUE, TCP_RECV_QUEUE };
	/* Else the peer's window is taken for shut, and nothing but a probe would be sent. */
	struct tcp_repair_window window = { .snd_wl1 = REPAIR_SEQUENCE,
					    .snd_wnd = 65535,
					    .max_window = 65535,
					    .rcv_wnd = 65535,
					    .rcv_wup = REPAIR_SEQUENCE };
	int fd = new_socket(b, SOCK_STREAM, 0), v = TCP_REPAIR_ON;

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &v, sizeof(v)))
		return -errno;
	for (int i = 0; i < 2; i++) {
		if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queues[i], sizeof(int)) ||
		    setsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &(int){ REPAIR_SEQUENCE },
			       sizeof(int)))
			return -errno;
	}
	fd = connected(b, fd);
	v = TCP_REPAIR_OFF_NO_WP;
	if (fd >= 0 && (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, sizeof(window)) ||
			setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &v, sizeof(v))))
		return -errno;
	return fd;
}

/* --- another cgroup --- */

/* Where cgroup v2 is mounted, and this process's place in it. */
static int find_cgroup(char *mount, char *path)
{
	bool have_mount = false, have_path = false;
	char line[1024];
	FILE *f;

	f = fopen("/proc/self/mountinfo", "re");
	while (f && !have_mount && fgets(line, sizeof(line), f))
		have_mount = strstr(line, " - cgroup2 ") &&
			     sscanf(line, "%*s %*s %*s %*s %255s", mount) == 1;
	if (f)
		fclose(f);
	f = fopen("/proc/self/cgroup", "re");
	while (f && !have_path && fgets(line, sizeof(line), f))
		have_path = sscanf(line, "0::%255s", path) == 1;
	if (f)
		fclose(f);
	return have_mount && have_path ? 0 : -ENOSYS;
}

static int move_to(const char *dir)
{
	char path[600];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, "0", 1);
	close(fd);
	return n == 1 ? 0 : -EIO;
}

/* The whole exchange happens in a new child of the root, beside all others. */
static void other_cgroup(const struct bypass *b, struct outcome *o)
{
	char mount[256], path[256], home[520], away[300];
	int fd;

	o->err = -find_cgroup(mount, path);
	if (o->err) {
		o->kind = OUTCOME_UNSUPPORTED;
		return;
	}
	snprintf(home, sizeof(home), "%s%s", mount, path);
	snprintf(away, sizeof(away), "%s/amb-bypass-%d", mount, getpid());
	if (mkdir(away, 0755) || move_to(away)) {
		o->err = errno;
		rmdir(away);
		return;
	}
	fd = plain(b);
	if (fd < 0)
		o->err = -fd;
	else
		bypass_exchange(b, fd, false, o);
	if (move_to(home) || rmdir(away))
		perror("amb-bypass: cgroup");
}

/* --- a socket of another network namespace --- */

static _Noreturn void accomplice(const struct bypass *b, int via)
{
	char room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { "", 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = room,
			    .msg_controllen = sizeof(room) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int ns = open(b->netns, O_RDONLY | O_CLOEXEC), fd;

	if (ns < 0 || setns(ns, CLONE_NEWNET))
		_exit(1);
	fd = new_socket(b, SOCK_STREAM, 0);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	_exit(fd >= 0 && sendmsg(via, &m, 0) == 1 ? 0 : 1);
}

static int passed(const struct bypass *b)
{
	char room[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = room,
			    .msg_controllen = sizeof(room) };
	int via[2], fd;
	pid_t pid;

	if (!b->netns || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, via))
		return -EINVAL;
	pid = fork();
	if (!pid)
		accomplice(b, via[1]);
	close(via[1]);
	if (recvmsg(via[0], &m, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&m))
		return -EIO;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	waitpid(pid, NULL, 0);
	close(via[0]);
	return connected(b, fd);
}

const struct attempt bypass_socket[] = {
	{ "plain", plain, NULL },
	{ "udp", udp, NULL },
	{ "cgroup", NULL, other_cgroup },
	{ "bind-device", bind_device, NULL },
	{ "mptcp", multipath, NULL },
	{ "fastopen", NULL, fastopen },
	{ "fastopen-connect", fastopen_connect, NULL },
	{ "io-uring", io_uring, NULL },
	{ "mark-agent", mark_agent, NULL },
	{ "mark-route", mark_route, NULL },
	{ "ip-options", ip_options, NULL },
	{ "hop-options", hop_options, NULL },
	{ "dst-options", destination_options, NULL },
	{ "source-15008", source_hbone, NULL },
	{ "transparent", transparent, NULL },
	{ "repair", repair, NULL },
	{ "passed", passed, NULL },
	{ 0 },
};
