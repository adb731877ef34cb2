// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ZDS client.
 *
 * DOWN --connect, hello--> SNAPSHOT --snapshot_sent--> SYNCED, and back to DOWN whenever the
 * connection ends or the two sides do not understand each other.
 *
 * One request is looked at at a time: while a pod starts, the socket is not read, so answers
 * cannot get out of order. One timer is enough, since its purposes exclude each other: to
 * connect anew (DOWN), to answer before the CNI gives up (a pod starts), to tell that no
 * snapshot comes (SNAPSHOT).
 *
 * The uids that were named outlive the connection: what a new snapshot does not name again is
 * let go of when that snapshot is complete, not before.
 */
#include "zds.h"

#include "zds_packet.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define FAILED "failure to start proxy" /* ztunnel's words */
#define FDS_MAX 4 /* room to see that there is more than the one descriptor of a pod */

struct entry {
	struct entry *next;
	uint64_t session; /* that named it last */
	char uid[];
};

enum state { DOWN, SNAPSHOT, SYNCED };

struct amb_zds {
	struct amb_loop *loop;
	struct amb_zds_ops ops;
	struct sockaddr_un address;
	struct amb_io io; /* fd -1: DOWN */
	struct amb_timer timer;
	enum state state;
	uint64_t session; /* counts connections */
	uint64_t retry_ns;
	char complaint[160]; /* the last one, since the last snapshot */
	char *doing; /* uid of the request that is not answered yet */
	struct entry *first;
	size_t n;
};

/* Names */

static struct entry **find(struct amb_zds *z, const char *uid)
{
	struct entry **e;

	for (e = &z->first; *e && strcmp((*e)->uid, uid); e = &(*e)->next)
		;
	return e;
}

/* Notes that this session named @uid. 0, -ENOMEM or -ENOSPC. */
static int name(struct amb_zds *z, const char *uid)
{
	struct entry *e = *find(z, uid);
	size_t len = strlen(uid) + 1;

	if (!e) {
		if (z->n == AMB_ZDS_PODS_MAX)
			return -ENOSPC;
		e = malloc(sizeof(*e) + len);
		if (!e)
			return -ENOMEM;
		memcpy(e->uid, uid, len);
		e->next = z->first;
		z->first = e;
		z->n++;
	}
	e->session = z->session;
	return 0;
}

static void drop(struct amb_zds *z, struct entry **at)
{
	struct entry *e = *at;

	if (!e)
		return;
	*at = e->next;
	z->n--;
	free(e);
}

/* Lets go of what this session did not name. */
static void reconcile(struct amb_zds *z)
{
	struct entry **at = &z->first;

	while (*at) {
		struct entry *e = *at;

		if (e->session == z->session) {
			at = &e->next;
			continue;
		}
		/* None of these waits for an answer. */
		(void)z->ops.del(z->ops.ctx, e->uid);
		drop(z, at);
	}
}

/* The connection */

static void timer_in(struct amb_zds *z, uint64_t ns)
{
	if (amb_loop_timer_set(z->loop, &z->timer, amb_util_now_ns() + ns))
		amb_err(ZDS, "%s: out of memory for a timer", z->address.sun_path);
}

static void hang_up(struct amb_zds *z)
{
	if (z->io.fd >= 0) {
		amb_loop_del(z->loop, &z->io);
		close(take_fd(&z->io.fd));
	}
	free(take_ptr(z->doing));
	amb_loop_timer_cancel(z->loop, &z->timer);
}

/* Ends the connection, if there is one, and arranges for the next. */
static void lose(struct amb_zds *z, const char *why, const char *more)
{
	bool synced = z->state == SYNCED;
	char text[sizeof(z->complaint)];

	snprintf(text, sizeof(text), "%s%s%s", why, more ? ": " : "", more ? more : "");
	hang_up(z);
	z->state = DOWN;
	/* One line for one kind of trouble, not one each retry. */
	if (strcmp(text, z->complaint))
		amb_warn(ZDS, "%s: %s, connecting anew; pods are served on", z->address.sun_path,
			 text);
	memcpy(z->complaint, text, sizeof(text));
	timer_in(z, z->retry_ns);
	z->retry_ns = AMB_MIN(z->retry_ns * 2, AMB_ZDS_RETRY_MAX_NS);
	if (synced)
		z->ops.synced(z->ops.ctx, false);
}

static bool put(struct amb_zds *z, const void *packet, size_t len)
{
	/* The CNI reads each answer before its next request, so there is always room. */
	return send(z->io.fd, packet, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static void answer(struct amb_zds *z, const char *error)
{
	uint8_t buf[AMB_ZDS_PACKET_MAX];

	if (!put(z, buf, amb_zds_packet_answer(error, buf)))
		lose(z, "cannot answer", strerror(errno));
}

static void refuse(struct amb_zds *z, const char *why)
{
	char text[AMB_ZDS_ERROR_MAX];

	snprintf(text, sizeof(text), FAILED ": %s", why);
	answer(z, text);
}

/* Requests */

/* The CNI hears of it when it is done; until then only its going away is of interest. */
static void answer_later(struct amb_zds *z, char *uid)
{
	z->doing = uid;
	timer_in(z, AMB_ZDS_ANSWER_NS);
	if (amb_loop_mod(z->loop, &z->io, 0))
		lose(z, "cannot wait", NULL);
}

static void answer_now(struct amb_zds *z, const char *error)
{
	free(take_ptr(z->doing));
	amb_loop_timer_cancel(z->loop, &z->timer);
	if (z->state == SNAPSHOT)
		timer_in(z, AMB_ZDS_PATIENCE_NS);
	if (amb_loop_mod(z->loop, &z->io, EPOLLIN)) {
		lose(z, "cannot listen", NULL);
		return;
	}
	if (error)
		refuse(z, error);
	else
		answer(z, NULL);
}

void amb_zds_done(struct amb_zds *z, const char *uid, const char *error)
{
	if (z->doing && !strcmp(z->doing, uid))
		answer_now(z, error);
}

static void on_add(struct amb_zds *z, const struct amb_zds_packet *p, int netns)
{
	const struct amb_zds_pod pod = { p->uid, p->ns, p->name, p->sa };
	_cleanup_fd_ int fd = netns;
	_cleanup_free_ char *uid = NULL;
	char err[AMB_ZDS_ERROR_MAX] = "";
	int ret;

	if (p->fault) {
		refuse(z, p->fault);
		return;
	}
	uid = strdup(p->uid);
	ret = uid ? name(z, uid) : -ENOMEM;
	if (ret) {
		refuse(z, ret == -ENOSPC ? "too many pods" : strerror(-ret));
		return;
	}
	ret = z->ops.add(z->ops.ctx, &pod, take_fd(&fd), err, sizeof(err));
	if (ret == -EINPROGRESS) {
		answer_later(z, take_ptr(uid));
		return;
	}
	if (ret)
		refuse(z, *err ? err : strerror(-ret));
	else
		answer(z, NULL);
}

static void on_snapshot_sent(struct amb_zds *z)
{
	if (z->state == SYNCED) {
		lose(z, "protocol error", "a second end of the snapshot");
		return;
	}
	reconcile(z);
	z->state = SYNCED;
	z->retry_ns = AMB_ZDS_RETRY_MIN_NS;
	z->complaint[0] = 0;
	amb_loop_timer_cancel(z->loop, &z->timer);
	amb_info(ZDS, "%s: the CNI named %zu pods", z->address.sun_path, z->n);
	z->ops.synced(z->ops.ctx, true);
	answer(z, NULL);
}

static void on_keep(struct amb_zds *z, const char *uid)
{
	if (z->state == SYNCED) {
		lose(z, "protocol error", "keep after the snapshot");
		return;
	}
	/* Of a pod that we do not have there is nothing to keep; its add comes when it can. */
	if (*find(z, uid))
		(void)name(z, uid);
	answer(z, NULL);
}

static void on_del(struct amb_zds *z, const char *uid)
{
	_cleanup_free_ char *copy = strdup(uid);
	int ret = z->ops.del(z->ops.ctx, uid);

	drop(z, find(z, uid));
	if (ret == -EINPROGRESS && copy)
		answer_later(z, take_ptr(copy));
	else
		answer(z, NULL);
}

/* @fd: the packet's first descriptor or -1, owned. */
static void on_packet(struct amb_zds *z, const struct amb_zds_packet *p, int netns)
{
	_cleanup_fd_ int fd = netns;

	switch (p->kind) {
	case AMB_ZDS_ADD:
		on_add(z, p, take_fd(&fd));
		return;
	case AMB_ZDS_DEL:
		on_del(z, p->uid);
		return;
	case AMB_ZDS_KEEP:
		on_keep(z, p->uid);
		return;
	case AMB_ZDS_SNAPSHOT_SENT:
		on_snapshot_sent(z);
		return;
	case AMB_ZDS_UNKNOWN:
		answer(z, "unknown request");
		return;
	}
}

/* Descriptors of a message, all of them ours now. Returns their number. */
static unsigned int collect_fds(struct msghdr *msg, int fds[FDS_MAX])
{
	unsigned int n = 0, i;
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) && n < FDS_MAX; i++)
			memcpy(&fds[n++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	return n;
}

static void read_packet(struct amb_zds *z)
{
	union {
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	uint8_t buf[AMB_ZDS_PACKET_MAX];
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct amb_zds_packet packet;
	const char *why = "a packet larger than 1024 bytes, or with too many descriptors";
	int fds[FDS_MAX] = { -1, -1, -1, -1 }, err = -EPROTO;
	unsigned int n, i;
	ssize_t len;

	len = recvmsg(z->io.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0) {
		lose(z, "the connection ended", len ? strerror(errno) : NULL);
		return;
	}
	n = collect_fds(&msg, fds);
	if (!(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		err = amb_zds_packet_read(&packet, buf, len, n, &why);
	if (err) {
		lose(z, "protocol error", why);
	} else {
		on_packet(z, &packet, take_fd(&fds[0]));
		amb_zds_packet_uninit(&packet);
	}
	for (i = 0; i < FDS_MAX; i++)
		amb_cleanup_fd(&fds[i]);
}

static void on_event(struct amb_io *io, uint32_t events)
{
	struct amb_zds *z = AMB_CONTAINER_OF(io, struct amb_zds, io);

	/* What was sent before the end is not worth an answer: nobody reads it. */
	if (events & (EPOLLHUP | EPOLLERR))
		lose(z, "the connection ended", NULL);
	else
		read_packet(z);
}

/* Whoever tells us whom to trust has to be root, or who we are. */
static bool is_trusted(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static void connect_now(struct amb_zds *z)
{
	uint8_t buf[AMB_ZDS_PACKET_MAX];

	z->io.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (z->io.fd < 0 || connect(z->io.fd, (struct sockaddr *)&z->address, sizeof(z->address))) {
		lose(z, "cannot connect", strerror(errno));
		return;
	}
	if (!is_trusted(z->io.fd)) {
		lose(z, "cannot connect", "who listens there is not root");
		return;
	}
	z->state = SNAPSHOT;
	z->session++;
	if (amb_loop_add(z->loop, &z->io, EPOLLIN) || !put(z, buf, amb_zds_packet_hello(buf))) {
		lose(z, "cannot say hello", strerror(errno));
		return;
	}
	timer_in(z, AMB_ZDS_PATIENCE_NS);
}

static void on_timer(struct amb_timer *t)
{
	struct amb_zds *z = AMB_CONTAINER_OF(t, struct amb_zds, timer);

	if (z->doing) {
		/* It was accepted, and is being seen to. */
		answer_now(z, NULL);
	} else if (z->state == DOWN) {
		connect_now(z);
	} else {
		amb_warn(ZDS, "%s: connected, but the CNI sends no snapshot, waiting",
			 z->address.sun_path);
	}
}

struct amb_zds *amb_zds_create(struct amb_loop *loop, const char *path,
			       const struct amb_zds_ops *ops)
{
	struct amb_zds *z = calloc(1, sizeof(*z));

	if (!z)
		return NULL;
	if (strlen(path) >= sizeof(z->address.sun_path)) {
		free(z);
		errno = ENAMETOOLONG;
		return NULL;
	}
	z->loop = loop;
	z->ops = *ops;
	z->address.sun_family = AF_UNIX;
	strcpy(z->address.sun_path, path);
	z->io = (struct amb_io){ .fn = on_event, .fd = -1, .slot = -1 };
	z->timer.fn = on_timer;
	z->retry_ns = AMB_ZDS_RETRY_MIN_NS;
	if (amb_loop_timer_set(loop, &z->timer, amb_util_now_ns())) {
		free(z);
		errno = ENOMEM;
		return NULL;
	}
	return z;
}

void amb_zds_destroy(struct amb_zds *z)
{
	if (!z)
		return;
	hang_up(z);
	while (z->first)
		drop(z, &z->first);
	free(z);
}
