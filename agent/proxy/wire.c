// SPDX-License-Identifier: GPL-2.0-or-later
/* The record layer in user space: records are sealed and opened in place, by record.c. */
#include "wire.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

static ssize_t user_recv(struct amb_wire *w, uint8_t *p, size_t room)
{
	ssize_t n = recv(w->fd, p, room, MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

static int user_open(struct amb_wire *w, uint8_t *p, size_t n, struct amb_wire_piece *piece)
{
	int len = amb_record_length(p, n), got;

	if (len < 0)
		return -EPROTO;
	if (!len || (size_t)len > n)
		return 0;
	got = amb_record_open(w->rx, p, len, &piece->type);
	if (got < 0)
		return -EBADMSG;
	piece->p = p + AMB_RECORD_HEAD;
	piece->n = got;
	return len;
}

static int user_update_rx(struct amb_wire *w)
{
	return amb_record_update(w->rx);
}

static const struct amb_wire_rx user_rx = {
	.recv = user_recv,
	.open = user_open,
	.update = user_update_rx,
};

static int user_seal(struct amb_wire *w, uint8_t *rec, size_t n, enum amb_record_type type)
{
	return amb_record_seal(w->tx, rec, n, type);
}

static ssize_t user_send(struct amb_wire *w, struct iovec *iov, size_t n)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t k;

	k = n == 1 ? send(w->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT) :
		     sendmsg(w->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	return k < 0 ? -errno : k;
}

static int user_update_tx(struct amb_wire *w)
{
	return amb_record_update(w->tx);
}

static const struct amb_wire_tx user_tx = {
	.head = AMB_RECORD_HEAD,
	.tail = AMB_RECORD_TAIL,
	.seal = user_seal,
	.send = user_send,
	.update = user_update_tx,
};

void amb_wire_init(struct amb_wire *w, int fd)
{
	w->fd = fd;
	w->rx_ops = &user_rx;
	w->tx_ops = &user_tx;
}

void amb_wire_uninit(struct amb_wire *w)
{
	amb_record_destroy(w->rx);
	amb_record_destroy(w->tx);
	w->rx = w->tx = NULL;
}

uint64_t amb_wire_sent(const struct amb_wire *w)
{
	return amb_record_count(w->tx);
}
