// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kernel TLS. Plaintext goes to the socket and comes from it; a control message tells the type of
 * what is no data. What the kernel keeps to itself is how many records that made: they have at
 * least a byte each, so it is asked again when half as many bytes went by as records are left.
 *
 * A TLS socket must never be in a sockmap (kernel-facts 1): the connections of tunnels are the
 * agent's own, which no program of bpf/ puts there.
 */
#include "ktls.h"

#include "base/util.h"
#include "wire.h"

#include <linux/tls.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/memory.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* One call opens as many records as it has bytes of room: a peer may put one byte in each. */
#define RECV_MAX (128u << 10)

union crypto_info {
	struct tls_crypto_info info;
	struct tls12_crypto_info_aes_gcm_128 aes128;
	struct tls12_crypto_info_aes_gcm_256 aes256;
};

#define FILL(to, keys, number)                                                                     \
	do {                                                                                       \
		uint64_t be_ = __builtin_bswap64((keys)->seq);                                     \
                                                                                                   \
		(to)->info.version = TLS_1_3_VERSION;                                              \
		(to)->info.cipher_type = (number);                                                 \
		memcpy((to)->salt, (keys)->iv, sizeof((to)->salt));                                \
		memcpy((to)->iv, (keys)->iv + sizeof((to)->salt), sizeof((to)->iv));               \
		memcpy((to)->key, (keys)->key, sizeof((to)->key));                                 \
		memcpy((to)->rec_seq, &be_, sizeof((to)->rec_seq));                                \
	} while (0)

/* Returns the size that goes with the cipher. */
static socklen_t fill(union crypto_info *ci, const struct amb_record_keys *k)
{
	memset(ci, 0, sizeof(*ci));
	if (k->suite == AMB_SUITE_AES128_GCM_SHA256) {
		FILL(&ci->aes128, k, TLS_CIPHER_AES_GCM_128);
		return sizeof(ci->aes128);
	}
	FILL(&ci->aes256, k, TLS_CIPHER_AES_GCM_256);
	return sizeof(ci->aes256);
}

static int install(struct amb_wire *w, int direction, const struct amb_record *r)
{
	struct amb_record_keys keys;
	union crypto_info ci;
	socklen_t len;
	int err;

	if (!w->ulp && setsockopt(w->fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")))
		return -errno;
	w->ulp = true;
	err = amb_record_keys(r, &keys);
	if (!err) {
		len = fill(&ci, &keys);
		if (setsockopt(w->fd, SOL_TLS, direction, &ci, len))
			err = -errno;
	}
	wc_ForceZero(&keys, sizeof(keys));
	wc_ForceZero(&ci, sizeof(ci));
	return err;
}

static int records(int fd, int direction, enum amb_record_suite suite, uint64_t *out)
{
	bool small = suite == AMB_SUITE_AES128_GCM_SHA256;
	union crypto_info ci;
	socklen_t len = small ? sizeof(ci.aes128) : sizeof(ci.aes256);
	uint64_t be;
	int err = getsockopt(fd, SOL_TLS, direction, &ci, &len) ? -errno : 0;

	if (!err) {
		memcpy(&be, small ? ci.aes128.rec_seq : ci.aes256.rec_seq, sizeof(be));
		*out = __builtin_bswap64(be);
	}
	/* The key came along. */
	wc_ForceZero(&ci, sizeof(ci));
	return err;
}

int amb_ktls_records(const struct amb_wire *w, bool sent, uint64_t *out)
{
	const struct amb_record *r = sent ? w->tx : w->rx;

	return records(w->fd, sent ? TLS_TX : TLS_RX, amb_record_suite(r), out);
}

static void look_later(const struct amb_wire *w, struct amb_wire_use *use)
{
	uint64_t next = use->records < w->limit	    ? w->limit :
			use->records < w->limit * 2 ? w->limit * 2 :
						      AMB_RECORD_HARD_LIMIT;

	use->look = use->records < next ? (next - use->records + 1) / 2 : 0;
}

static void begin(const struct amb_wire *w, struct amb_wire_use *use, uint64_t records)
{
	use->records = records;
	use->bytes = 0;
	look_later(w, use);
}

/* @n bytes went by. */
static void used(const struct amb_wire *w, struct amb_wire_use *use, bool sent, size_t n)
{
	uint64_t now;

	use->bytes += n;
	if (use->bytes < use->look)
		return;
	/* Who does not tell is taken to have made as many as it could. */
	if (amb_ktls_records(w, sent, &now))
		now = use->records + use->bytes;
	begin(w, use, now);
}

/* Receiving */

static int failed(int fd, int err)
{
	socklen_t len = sizeof(int);
	int ignored;

	if (err != EBADMSG && err != EMSGSIZE && err != EINVAL)
		return -err;
	/* A bad record is held against the whole socket, which has an alert to send. */
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &ignored, &len);
	return err == EBADMSG ? -EBADMSG : -EPROTO;
}

static ssize_t ktls_recv(struct amb_wire *w, uint8_t *p, size_t room)
{
	union {
		struct cmsghdr align;
		uint8_t room[CMSG_SPACE(sizeof(uint8_t))];
	} control;
	struct iovec iov = { p, AMB_MIN(room, (size_t)RECV_MAX) };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	ssize_t n;

	if (w->rx_use.records >= AMB_RECORD_HARD_LIMIT)
		return -EOVERFLOW;
	n = recvmsg(w->fd, &m, MSG_DONTWAIT);
	if (n < 0)
		return failed(w->fd, errno);
	cmsg = CMSG_FIRSTHDR(&m);
	if (!n && !cmsg)
		return 0;
	if (!cmsg || cmsg->cmsg_level != SOL_TLS || cmsg->cmsg_type != TLS_GET_RECORD_TYPE)
		return -EPROTO;
	w->type = *CMSG_DATA(cmsg);
	/* No data, then the end; or a record of another type that says nothing (RFC 8446 5.1). */
	if (!n)
		return w->type == AMB_RECORD_DATA ? 0 : -EBADMSG;
	used(w, &w->rx_use, false, n);
	return n;
}

static int ktls_open(struct amb_wire *w, uint8_t *p, size_t n, struct amb_wire_piece *piece)
{
	*piece = (struct amb_wire_piece){ .p = p, .n = n, .type = w->type };
	return n;
}

/* Before Linux 6.14 the kernel keeps the key it has: -EBUSY. */
static int ktls_update_rx(struct amb_wire *w)
{
	int err = amb_record_update(w->rx) ?: install(w, TLS_RX, w->rx);

	if (!err)
		begin(w, &w->rx_use, 0);
	return err;
}

static uint64_t ktls_count_rx(const struct amb_wire *w)
{
	return w->rx_use.records;
}

/*
 * Whatever had content is no more than there were bytes. None at all is no offence: before Linux
 * 6.5 the socket says that there is something while a record is not whole yet.
 */
static uint64_t ktls_empties(struct amb_wire *w)
{
	uint64_t bytes = w->rx_use.bytes, before = w->rx_use.records, now;

	if (amb_ktls_records(w, false, &now))
		return 1;
	begin(w, &w->rx_use, now);
	return now > before + bytes ? now - before - bytes : 0;
}

static const struct amb_wire_rx ktls_rx = {
	.runs = true,
	.empties = ktls_empties,
	.recv = ktls_recv,
	.open = ktls_open,
	.update = ktls_update_rx,
	.count = ktls_count_rx,
};

int amb_ktls_take_rx(struct amb_wire *w)
{
	int one = 1, err = install(w, TLS_RX, w->rx);

	if (err)
		return err;
	/* Nobody we know pads; who does is opened twice. A kernel without it copies once more. */
	setsockopt(w->fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD, &one, sizeof(one));
	begin(w, &w->rx_use, amb_record_count(w->rx));
	amb_record_hand_over(w->rx);
	w->rx_ops = &ktls_rx;
	return 0;
}

/* Sending */

static int ktls_seal(struct amb_wire *w, uint8_t *rec, size_t n, enum amb_record_type type)
{
	(void)rec;
	(void)type;
	return w->tx_use.records >= AMB_RECORD_HARD_LIMIT ? -EOVERFLOW : (int)n;
}

/*
 * Records that were taken while the socket was full go out when it has room, unless we say FIN
 * before: then they are lost. The last word makes room, so that it takes along what waits.
 */
static void make_room(struct amb_wire *w)
{
	int size, fd = w->fd;
	socklen_t len = sizeof(size);

	if (w->roomy)
		return;
	w->roomy = true;
	/* It says twice what one sets, so this doubles. */
	if (!getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static ssize_t ktls_send(struct amb_wire *w, struct iovec *iov, size_t n, uint8_t type)
{
	union {
		struct cmsghdr head;
		uint8_t room[CMSG_SPACE(sizeof(uint8_t))];
	} control = { .room = { 0 } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t k;

	if (type) {
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		control.head.cmsg_level = SOL_TLS;
		control.head.cmsg_type = TLS_SET_RECORD_TYPE;
		control.head.cmsg_len = CMSG_LEN(sizeof(uint8_t));
		*CMSG_DATA(&control.head) = type;
		if (type == AMB_RECORD_ALERT)
			make_room(w);
	}
	k = sendmsg(w->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (k < 0)
		return -errno;
	used(w, &w->tx_use, true, k);
	return k;
}

static int ktls_update_tx(struct amb_wire *w)
{
	int err = amb_record_update(w->tx) ?: install(w, TLS_TX, w->tx);

	w->updating = false;
	if (!err)
		begin(w, &w->tx_use, 0);
	return err;
}

static uint64_t ktls_count_tx(const struct amb_wire *w)
{
	return w->tx_use.records;
}

static const struct amb_wire_tx ktls_tx = {
	.apart = true,
	.seal = ktls_seal,
	.send = ktls_send,
	.update = ktls_update_tx,
	.count = ktls_count_tx,
};

int amb_ktls_take_tx(struct amb_wire *w)
{
	int err = install(w, TLS_TX, w->tx);

	if (err)
		return err;
	begin(w, &w->tx_use, amb_record_count(w->tx));
	amb_record_hand_over(w->tx);
	w->tx_ops = &ktls_tx;
	return 0;
}
