// SPDX-License-Identifier: GPL-2.0-or-later
/* The ways in which a worker of amb-behave sends and receives. */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE 10 /* bytes of OP_SEND_CORKED */
#define PIPE_BYTES (64 << 10)
#define CHUNK (64 << 10)
#define QUIET_MS 200 /* a connection that takes nothing for so long is full */
#define MAX_PIECES 1024 /* IOV_MAX */

void worker_pattern(char *buf, uint64_t at, size_t n)
{
	/* Knuth's multiplier: neighbours and far apart pieces differ alike. */
	for (size_t i = 0; i < n; i++)
		buf[i] = ((uint32_t)(at + i) * 2654435761u) >> 24;
}

static bool is_pattern(const char *buf, uint64_t at, size_t n)
{
	char want[256];
	size_t part;

	for (; n; buf += part, at += part, n -= part) {
		part = n < sizeof(want) ? n : sizeof(want);
		worker_pattern(want, at, part);
		if (memcmp(want, buf, part))
			return false;
	}
	return true;
}

static size_t bounded(int64_t n)
{
	return n < 0 ? 0 : n > WORKER_BUFFER ? WORKER_BUFFER : n;
}

/* --- sending --- */

int64_t worker_send(struct worker *w, const int64_t *arg, struct reply *r)
{
	size_t n = bounded(arg[0]);
	int64_t ret;

	(void)r;
	worker_pattern(w->buf, w->sent, n);
	ret = worker_result(send(w->fd, w->buf, n, arg[1]));
	w->sent += ret > 0 ? ret : 0;
	return ret;
}

int64_t worker_send_all(struct worker *w, const int64_t *arg, struct reply *r)
{
	int64_t ret, done = 0;

	while (done < arg[0]) {
		int64_t left = arg[0] - done;
		const int64_t one[] = { left < arg[1] ? left : arg[1], MSG_NOSIGNAL };

		ret = worker_send(w, one, r);
		r->value[0] = done;
		if (ret < 0)
			return ret;
		done += ret;
	}
	return done;
}

/* Pieces of unlike length over one buffer. */
static int pieces(struct iovec *iov, char *buf, size_t n, size_t count)
{
	size_t i, part;

	count = count > MAX_PIECES ? MAX_PIECES : count;
	for (i = 0; i + 1 < count; i++) {
		part = n / (count - i) / 2 + i % 3;
		part = part < n ? part : n;
		iov[i] = (struct iovec){ buf, part };
		buf += part;
		n -= part;
	}
	iov[i] = (struct iovec){ buf, n };
	return i + 1;
}

int64_t worker_send_vector(struct worker *w, const int64_t *arg, struct reply *r)
{
	struct iovec iov[MAX_PIECES];
	size_t n = bounded(arg[0]);
	int64_t ret;

	(void)r;
	worker_pattern(w->buf, w->sent, n);
	ret = worker_result(writev(w->fd, iov, pieces(iov, w->buf, n, arg[1])));
	w->sent += ret > 0 ? ret : 0;
	return ret;
}

int64_t worker_send_corked(struct worker *w, const int64_t *arg, struct reply *r)
{
	int64_t before, err, i;

	err = worker_tcp_info(w, arg, r);
	before = r->value[INFO_DATA_SEGMENTS];
	if (!arg[1])
		err = err ?: setsockopt(w->fd, IPPROTO_TCP, TCP_CORK, &(int){ 1 }, sizeof(int));
	for (i = 0; i < arg[0]; i++) {
		const int64_t one[] = { PIECE, arg[1] && i + 1 < arg[0] ? MSG_MORE : 0 };

		if (worker_send(w, one, r) != PIECE)
			return -EIO;
	}
	if (!arg[1])
		err = err ?: setsockopt(w->fd, IPPROTO_TCP, TCP_CORK, &(int){ 0 }, sizeof(int));
	err = err ?: worker_tcp_info(w, arg, r);
	return err ? -EIO : r->value[INFO_DATA_SEGMENTS] - before;
}

int64_t worker_send_file(struct worker *w, const int64_t *arg, struct reply *r)
{
	int fd = memfd_create("amb-behave", MFD_CLOEXEC);
	size_t n = bounded(arg[0]), done = 0;
	int64_t ret = 0;

	(void)r;
	worker_pattern(w->buf, w->sent, n);
	if (fd < 0 || write(fd, w->buf, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET))
		ret = -EIO;
	while (!ret && done < n) {
		ret = worker_result(sendfile(w->fd, fd, NULL, n - done));
		done += ret > 0 ? ret : 0;
		ret = !ret ? -EIO : ret > 0 ? 0 : ret;
	}
	if (fd >= 0)
		close(fd);
	w->sent += done;
	return ret ? ret : (int64_t)done;
}

/* Moves what is in the pipe to the socket. */
static int64_t drain(int from, int to, size_t n)
{
	int64_t ret;

	while (n) {
		ret = worker_result(splice(from, NULL, to, NULL, n, 0));
		if (ret <= 0)
			return ret ? ret : -EIO;
		n -= ret;
	}
	return 0;
}

int64_t worker_send_splice(struct worker *w, const int64_t *arg, struct reply *r)
{
	size_t n = bounded(arg[0]), done = 0, part;
	int64_t err = 0;
	int fds[2];

	(void)r;
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	worker_pattern(w->buf, w->sent, n);
	for (; !err && done < n; done += part) {
		part = n - done < PIPE_BYTES ? n - done : PIPE_BYTES;
		if (write(fds[1], w->buf + done, part) != (ssize_t)part)
			err = -EIO;
		else
			err = drain(fds[0], w->fd, part);
	}
	close(fds[0]);
	close(fds[1]);
	w->sent += done;
	return err ? err : (int64_t)done;
}

/* The pages belong to the kernel until it says that it has done with them. */
static int64_t completion(struct worker *w, int64_t *origin)
{
	char control[256];
	struct msghdr m = { .msg_control = control, .msg_controllen = sizeof(control) };
	struct pollfd p = { .fd = w->fd };
	struct sock_extended_err *e;
	struct cmsghdr *c;

	if (poll(&p, 1, WORKER_WAIT_MS) != 1)
		return -ETIME;
	if (recvmsg(w->fd, &m, MSG_ERRQUEUE) < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&m);
	if (!c)
		return -ENOMSG;
	e = (struct sock_extended_err *)CMSG_DATA(c);
	*origin = e->ee_origin;
	return 0;
}

int64_t worker_send_zerocopy(struct worker *w, const int64_t *arg, struct reply *r)
{
	const int64_t one[] = { arg[0], MSG_ZEROCOPY };
	int64_t n, err;

	if (setsockopt(w->fd, SOL_SOCKET, SO_ZEROCOPY, &(int){ 1 }, sizeof(int)))
		return -errno;
	n = worker_send(w, one, r);
	err = n < 0 ? n : completion(w, &r->value[0]);
	return err ? err : n;
}

static int pass_fd(int via, int fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = u.room,
			    .msg_controllen = sizeof(u.room) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	if (fd < 0) {
		if (recvmsg(via, &m, 0) != 1 || !CMSG_FIRSTHDR(&m))
			return -1;
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
		return fd;
	}
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(via, &m, 0) == 1 ? 0 : -1;
}

/* In the child: sends by the descriptor that it has, has as a copy, or is given. */
static _Noreturn void child(struct worker *w, int64_t how, size_t n, int via)
{
	int fd = w->fd;

	if (how == CHILD_DUP)
		fd = dup(fd);
	if (how != CHILD_FORKED)
		close(w->fd);
	if (how == CHILD_PASSED)
		fd = pass_fd(via, -1);
	_exit(fd >= 0 && send(fd, w->buf, n, 0) == (ssize_t)n ? 0 : 1);
}

int64_t worker_send_child(struct worker *w, const int64_t *arg, struct reply *r)
{
	size_t n = bounded(arg[0]);
	int via[2], status = 0;
	pid_t pid;

	(void)r;
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, via))
		return -errno;
	worker_pattern(w->buf, w->sent, n);
	pid = fork();
	if (!pid)
		child(w, arg[1], n, via[1]);
	if (arg[1] == CHILD_PASSED)
		pass_fd(via[0], w->fd);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		status = -ECHILD;
	close(via[0]);
	close(via[1]);
	w->sent += status ? 0 : n;
	return status ? status : (int64_t)n;
}

/* --- receiving --- */

static int64_t received(struct worker *w, int64_t ret, bool check, bool advance)
{
	if (ret > 0 && check && !is_pattern(w->buf, w->received, ret))
		return -EBADMSG;
	if (ret > 0 && advance)
		w->received += ret;
	return ret;
}

int64_t worker_recv(struct worker *w, const int64_t *arg, struct reply *r)
{
	int64_t ret = worker_result(recv(w->fd, w->buf, bounded(arg[0]), arg[1]));

	(void)r;
	/* To TCP, MSG_TRUNC means to throw away. */
	return received(w, ret, !(arg[1] & MSG_TRUNC), !(arg[1] & MSG_PEEK));
}

int64_t worker_recv_all(struct worker *w, const int64_t *arg, struct reply *r)
{
	int64_t ret, done = 0;

	while (done < arg[0]) {
		int64_t left = arg[0] - done;
		const int64_t one[] = { left < CHUNK ? left : CHUNK, 0 };

		ret = worker_recv(w, one, r);
		r->value[0] = done;
		if (ret < 0)
			return ret;
		if (!ret)
			break;
		done += ret;
	}
	return done;
}

int64_t worker_recv_vector(struct worker *w, const int64_t *arg, struct reply *r)
{
	struct iovec iov[MAX_PIECES];
	struct msghdr m = { .msg_iov = iov };

	(void)r;
	m.msg_iovlen = pieces(iov, w->buf, bounded(arg[0]), arg[1]);
	return received(w, worker_result(recvmsg(w->fd, &m, MSG_WAITALL)), true, true);
}

int64_t worker_recv_splice(struct worker *w, const int64_t *arg, struct reply *r)
{
	int64_t ret = 0, done = 0;
	int fds[2];

	(void)r;
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	while (done < arg[0]) {
		ret = worker_result(splice(w->fd, NULL, fds[1], NULL, arg[0] - done, 0));
		if (ret <= 0)
			break;
		if (read(fds[0], w->buf, ret) != ret)
			ret = -EIO;
		ret = received(w, ret, true, true);
		if (ret < 0)
			break;
		done += ret;
	}
	close(fds[0]);
	close(fds[1]);
	return ret < 0 ? ret : done;
}

int64_t worker_recv_urgent(struct worker *w, const int64_t *arg, struct reply *r)
{
	unsigned char byte;
	ssize_t n = recv(w->fd, &byte, 1, MSG_OOB);

	(void)arg;
	(void)r;
	return n < 0 ? -errno : n ? byte : -ENODATA;
}

/* --- both --- */

int64_t worker_duplex(struct worker *w, const int64_t *arg, struct reply *r)
{
	int64_t sent = 0, got = 0, n, events;

	while (sent < arg[0] || got < arg[0]) {
		const int64_t look[] = { POLLIN | (sent < arg[0] ? POLLOUT : 0), WORKER_WAIT_MS };
		int64_t left = arg[0] - sent;
		const int64_t out[] = { left < CHUNK ? left : CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL };
		const int64_t in[] = { CHUNK, MSG_DONTWAIT };

		events = worker_poll(w, look, r);
		if (!events)
			return -ETIME;
		if (events & POLLOUT && left) {
			n = worker_send(w, out, r);
			if (n < 0 && n != -EAGAIN)
				return n;
			sent += n > 0 ? n : 0;
		}
		if (events & ~POLLOUT) {
			n = worker_recv(w, in, r);
			if (n < 0 && n != -EAGAIN)
				return n;
			if (!n)
				return got;
			got += n > 0 ? n : 0;
		}
	}
	return got;
}

/*
 * Full is what takes nothing in two attempts with a pause between. The pause is not left to poll
 * alone: it tells of room only when a third of the buffer is free, and send takes a byte earlier.
 */
int64_t worker_fill(struct worker *w, const int64_t *arg, struct reply *r)
{
	const int64_t one[] = { CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL };
	const int64_t look[] = { POLLOUT, QUIET_MS };
	int64_t n, done = 0, before;

	(void)arg;
	do {
		before = done;
		while ((n = worker_send(w, one, r)) > 0) {
			done += n;
			if (done > FILL_LIMIT)
				return -ENOBUFS;
		}
		if (n != -EAGAIN)
			return n;
		worker_poll(w, look, r);
	} while (done > before);
	return done;
}
