// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The record layer in user space (records are sealed and opened in place, by record.c), and when
 * the kernel takes over: receiving, when every byte that was read is opened; sending, when every
 * byte that was sealed is in the socket's queue. Then the next record's number is what the kernel
 * has to begin with, whatever came or went together with the handshake.
 */
#include "wire.h"

#include "base/util.h"
#include "ktls.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define AMB_X(id, text) text,
static const char *const names[] = { AMB_TIERS(AMB_X) };
#undef AMB_X

const char *amb_tier_name(enum amb_tier tier)
{
	return names[tier];
}

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
		return got == -EOVERFLOW ? got : -EBADMSG;
	piece->p = p + AMB_RECORD_HEAD;
	piece->n = got;
	return len;
}

static int user_update_rx(struct amb_wire *w)
{
	return amb_record_update(w->rx);
}

static uint64_t user_count_rx(const struct amb_wire *w)
{
	return amb_record_count(w->rx);
}

static const struct amb_wire_rx user_rx = {
	.recv = user_recv,
	.open = user_open,
	.update = user_update_rx,
	.count = user_count_rx,
};

static int user_seal(struct amb_wire *w, uint8_t *rec, size_t n, enum amb_record_type type)
{
	return amb_record_seal(w->tx, rec, n, type);
}

static ssize_t user_send(struct amb_wire *w, struct iovec *iov, size_t n, uint8_t type)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t k;

	(void)type;
	k = n == 1 ? send(w->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT) :
		     sendmsg(w->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	return k < 0 ? -errno : k;
}

static int user_update_tx(struct amb_wire *w)
{
	w->updating = false;
	return amb_record_update(w->tx);
}

static uint64_t user_count_tx(const struct amb_wire *w)
{
	return amb_record_count(w->tx);
}

static const struct amb_wire_tx user_tx = {
	.head = AMB_RECORD_HEAD,
	.tail = AMB_RECORD_TAIL,
	.seal = user_seal,
	.send = user_send,
	.update = user_update_tx,
	.count = user_count_tx,
};

void amb_wire_init(struct amb_wire *w, int fd)
{
	w->fd = fd;
	w->rx_ops = &user_rx;
	w->tx_ops = &user_tx;
	w->limit = AMB_RECORD_LIMIT;
}

void amb_wire_uninit(struct amb_wire *w)
{
	amb_record_destroy(w->rx);
	amb_record_destroy(w->tx);
	w->rx = w->tx = NULL;
}

/* Borders */

static bool rx_waits(const struct amb_wire *w)
{
	return w->tier == AMB_TIER_KTLS && w->rx && w->rx_ops == &user_rx;
}

static bool tx_waits(const struct amb_wire *w)
{
	return w->tier == AMB_TIER_KTLS && w->tx && w->tx_ops == &user_tx;
}

static int taken(struct amb_wire *w, int err)
{
	if (!err)
		return 1;
	w->tier = AMB_TIER_USER;
	return err;
}

int amb_wire_rx_border(struct amb_wire *w)
{
	return rx_waits(w) ? taken(w, amb_ktls_take_rx(w)) : 0;
}

int amb_wire_tx_border(struct amb_wire *w)
{
	return tx_waits(w) ? taken(w, amb_ktls_take_tx(w)) : 0;
}

size_t amb_wire_room(const struct amb_wire *w, const uint8_t *p, size_t n, size_t room)
{
	int len = n && rx_waits(w) ? amb_record_length(p, n) : -1;

	if (len < 0)
		return room;
	return AMB_MIN(room, (len ? (size_t)len : AMB_RECORD_HEAD) - n);
}

enum amb_tier amb_wire_tier(const struct amb_wire *w)
{
	return w->rx_ops != &user_rx && w->tx_ops != &user_tx ? AMB_TIER_KTLS : AMB_TIER_USER;
}

bool amb_wire_may_update(const struct amb_wire *w)
{
	return !w->updating && (w->tx_ops == &user_tx || w->rekeys);
}

void amb_wire_counts(const struct amb_wire *w, uint64_t *sent, uint64_t *received)
{
	*sent = *received = 0;
	if (!w->tx || !w->rx)
		return;
	if (w->tx_ops == &user_tx || amb_ktls_records(w, true, sent))
		*sent = w->tx_ops->count(w);
	if (w->rx_ops == &user_rx || amb_ktls_records(w, false, received))
		*received = w->rx_ops->count(w);
}
