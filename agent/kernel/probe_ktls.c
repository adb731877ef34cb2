// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whether this kernel's TLS does what the record layer needs of it. Attaching the protocol succeeds
 * on kernels that then refuse keys, and keys may be taken by one that then moves no bytes: so a
 * connection over loopback gets keys at both ends, and bytes go both ways.
 */
#include "probe_ktls.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "probe.h"

#define PATIENCE_S 20 /* loopback needs none, but on a machine without a breath left */
#define BYTES 20000 /* more than a record */
#define RECORD_HANDSHAKE 22
#define RECORD_DATA 23

union keys {
	struct tls_crypto_info info;
	struct tls12_crypto_info_aes_gcm_128 aes128;
	struct tls12_crypto_info_aes_gcm_256 aes256;
};

static const struct {
	uint16_t number;
	socklen_t len;
	const char *tx, *rx, *there, *back;
} ciphers[] = {
	{ TLS_CIPHER_AES_GCM_128, sizeof(struct tls12_crypto_info_aes_gcm_128),
	  "TLS_TX keys for AES-128-GCM", "TLS_RX keys for AES-128-GCM", "bytes by AES-128-GCM",
	  "bytes back by AES-128-GCM" },
	{ TLS_CIPHER_AES_GCM_256, sizeof(struct tls12_crypto_info_aes_gcm_256),
	  "TLS_TX keys for AES-256-GCM", "TLS_RX keys for AES-256-GCM", "bytes by AES-256-GCM",
	  "bytes back by AES-256-GCM" },
};

static int tcp_pair(int pair[2])
{
	struct timeval patience = { .tv_sec = PATIENCE_S };
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	_cleanup_fd_ int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_fd_ int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int a, i;

	if (l < 0 || c < 0 || bind(l, (struct sockaddr *)&addr, len) || listen(l, 1) ||
	    getsockname(l, (struct sockaddr *)&addr, &len) ||
	    connect(c, (struct sockaddr *)&addr, len))
		return -1;
	a = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	if (a < 0)
		return -1;
	pair[0] = a;
	pair[1] = take_fd(&c);
	for (i = 0; i < 2; i++) {
		setsockopt(pair[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		setsockopt(pair[i], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	}
	return 0;
}

/* Keys that protect nothing but the probe's own zeros. */
static int make_keys(union keys *k, uint16_t cipher)
{
	if (getrandom(k, sizeof(*k), 0) != sizeof(*k))
		return -1;
	k->info.version = TLS_1_3_VERSION;
	k->info.cipher_type = cipher;
	return 0;
}

static int send_type(int fd, const uint8_t *p, size_t n, uint8_t type)
{
	union {
		struct cmsghdr head;
		uint8_t room[CMSG_SPACE(sizeof(uint8_t))];
	} control = { .room = { 0 } };
	struct iovec iov = { (uint8_t *)p, n };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	control.head.cmsg_level = SOL_TLS;
	control.head.cmsg_type = TLS_SET_RECORD_TYPE;
	control.head.cmsg_len = CMSG_LEN(sizeof(uint8_t));
	*CMSG_DATA(&control.head) = type;
	return sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -1;
}

/* Bytes received, and their type; -1: errno. */
static ssize_t recv_type(int fd, uint8_t *p, size_t n, uint8_t *type)
{
	union {
		struct cmsghdr head;
		uint8_t room[CMSG_SPACE(sizeof(uint8_t))];
	} control;
	struct iovec iov = { p, n };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t k = recvmsg(fd, &m, 0);
	struct cmsghdr *cmsg = k > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	errno = k < 0 ? errno : EBADMSG;
	if (!cmsg || cmsg->cmsg_level != SOL_TLS || cmsg->cmsg_type != TLS_GET_RECORD_TYPE)
		return -1;
	*type = *CMSG_DATA(cmsg);
	return k;
}

/* Known bytes arrive as they were sent. */
static int carry(int from, int to)
{
	uint8_t out[BYTES], in[BYTES], type;
	size_t at = 0, i;

	for (i = 0; i < BYTES; i++)
		out[i] = i * 7 + (i >> 8);
	if (send_type(from, out, BYTES, RECORD_DATA))
		return -1;
	while (at < BYTES) {
		ssize_t n = recv_type(to, in + at, BYTES - at, &type);

		if (n < 0)
			return -1;
		errno = EBADMSG;
		if (type != RECORD_DATA)
			return -1;
		at += n;
	}
	errno = EBADMSG;
	return memcmp(in, out, BYTES) ? -1 : 0;
}

static int probe_cipher(struct amb_probe *row, size_t i, const int pair[2])
{
	union keys k[2];
	int end;

	if (make_keys(&k[0], ciphers[i].number) || make_keys(&k[1], ciphers[i].number))
		return amb_probe_failed(row, "random keys");
	for (end = 0; end < 2; end++) {
		if (setsockopt(pair[end], IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")))
			return amb_probe_failed(row, "TCP_ULP tls");
		if (setsockopt(pair[end], SOL_TLS, TLS_TX, &k[end], ciphers[i].len))
			return amb_probe_failed(row, ciphers[i].tx);
		if (setsockopt(pair[end], SOL_TLS, TLS_RX, &k[!end], ciphers[i].len))
			return amb_probe_failed(row, ciphers[i].rx);
	}
	if (carry(pair[0], pair[1]))
		return amb_probe_failed(row, ciphers[i].there);
	if (carry(pair[1], pair[0]))
		return amb_probe_failed(row, ciphers[i].back);
	return 0;
}

int amb_probe_ktls(struct amb_probe *row)
{
	size_t i;
	int err = 0;

	for (i = 0; i < AMB_ARRAY_SIZE(ciphers) && !err; i++) {
		_cleanup_fd_ int a = -1;
		_cleanup_fd_ int b = -1;
		int pair[2];

		if (tcp_pair(pair))
			return amb_probe_failed(row, "connection over loopback");
		a = pair[0];
		b = pair[1];
		err = probe_cipher(row, i, pair);
	}
	return err;
}

/* A KeyUpdate, as TLS does it: said, sent under the new key, followed. */
static int rekey(struct amb_probe *row, const int pair[2])
{
	static const uint8_t update[] = { 24, 0, 0, 1, 0 };
	uint8_t got[sizeof(update)], type;
	union keys k;

	if (make_keys(&k, ciphers[0].number))
		return amb_probe_failed(row, "random keys");
	if (send_type(pair[0], update, sizeof(update), RECORD_HANDSHAKE))
		return amb_probe_failed(row, "a record that is no data");
	if (setsockopt(pair[0], SOL_TLS, TLS_TX, &k, ciphers[0].len))
		return amb_probe_failed(row, "TLS_TX keys again");
	if (recv_type(pair[1], got, sizeof(got), &type) != sizeof(update) ||
	    type != RECORD_HANDSHAKE)
		return amb_probe_failed(row, "a record that is no data, received");
	if (setsockopt(pair[1], SOL_TLS, TLS_RX, &k, ciphers[0].len))
		return amb_probe_failed(row, "TLS_RX keys again");
	return carry(pair[0], pair[1]) ? amb_probe_failed(row, "bytes under the new key") : 0;
}

int amb_probe_rekey(struct amb_probe *row)
{
	_cleanup_fd_ int a = -1;
	_cleanup_fd_ int b = -1;
	int pair[2], err;

	if (tcp_pair(pair))
		return amb_probe_failed(row, "connection over loopback");
	a = pair[0];
	b = pair[1];
	err = probe_cipher(row, 0, pair);
	return err ? err : rekey(row, pair);
}
