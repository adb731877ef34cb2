// SPDX-License-Identifier: GPL-2.0-or-later
/* Sockets and frames for tests of hbone.ko. */
#include "peer.h"

#include <arpa/inet.h>
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <linux/tls.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

void peer_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	_exit(1);
}

void tcp_pair(int fd[2])
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	int one = 1, l;

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l < 0 || fd[0] < 0 || bind(l, (void *)&sa, sizeof(sa)) || listen(l, 1) ||
	    getsockname(l, (void *)&sa, &len) || connect(fd[0], (void *)&sa, sizeof(sa)))
		err(1, "connect over loopback");
	fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	if (fd[1] < 0)
		err(1, "accept");
	close(l);
	setsockopt(fd[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void set_key(int fd, int direction, uint8_t key, uint64_t records)
{
	uint64_t be = htobe64(records);
	struct tls12_crypto_info_aes_gcm_128 info = {
		.info = { .version = TLS_1_3_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128 },
	};

	memset(info.key, key, sizeof(info.key));
	memcpy(info.rec_seq, &be, sizeof(info.rec_seq));
	if (setsockopt(fd, SOL_TLS, direction, &info, sizeof(info)))
		err(1, "keys for kernel TLS");
}

void tls_pair_used(int fd[2], uint64_t records)
{
	int i;

	tcp_pair(fd);
	for (i = 0; i < 2; i++) {
		if (setsockopt(fd[i], IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")))
			err(1, "kernel TLS");
		set_key(fd[i], TLS_TX, 'a' + i, records);
		set_key(fd[i], TLS_RX, 'b' - i, records);
	}
}

void tls_pair(int fd[2])
{
	tls_pair_used(fd, 0);
}

void tls_pair_narrow(int fd[2])
{
	int small = 16384;

	tls_pair(fd);
	setsockopt(fd[0], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
}

bool tls_record(int fd, uint8_t type, const void *p, size_t n)
{
	union {
		struct cmsghdr head;
		uint8_t b[CMSG_SPACE(1)];
	} control = { .head = {
			      .cmsg_len = CMSG_LEN(1),
			      .cmsg_level = SOL_TLS,
			      .cmsg_type = TLS_SET_RECORD_TYPE,
		      } };
	struct iovec v = { (void *)p, n };
	struct msghdr m = {
		.msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	*CMSG_DATA(&control.head) = type;
	return sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)n;
}

void reset(int fd)
{
	struct linger now = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static void wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (poll(&p, 1, PEER_MS) <= 0)
		FAIL("nothing happens on a socket that should be %s",
		     events & POLLIN ? "readable" : "writable");
}

bool write_all(int fd, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n) {
		ssize_t ret = send(fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (ret < 0 && errno == EAGAIN) {
			wait_for(fd, POLLOUT);
			continue;
		}
		if (ret <= 0)
			return false;
		at += ret;
		n -= ret;
	}
	return true;
}

int read_some(int fd, void *p, size_t n)
{
	ssize_t ret;

	for (;;) {
		ret = recv(fd, p, n, MSG_DONTWAIT);
		if (ret >= 0 || errno != EAGAIN)
			return ret < 0 ? -errno : ret;
		wait_for(fd, POLLIN);
	}
}

bool read_all(int fd, void *p, size_t n)
{
	uint8_t *at = p;
	int ret;

	while (n) {
		ret = read_some(fd, at, n);
		if (ret <= 0)
			return false;
		at += ret;
		n -= ret;
	}
	return true;
}

uint8_t pattern(uint32_t seed, uint64_t at)
{
	uint64_t x = (at >> 3) * 0x9e3779b97f4a7c15ull + seed * 0xbf58476d1ce4e5b9ull;

	x ^= x >> 29;
	return x >> (at & 7) * 4;
}

size_t frame(uint8_t *to, uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
	     size_t n)
{
	to[0] = n >> 16;
	to[1] = n >> 8;
	to[2] = n;
	to[3] = type;
	to[4] = flags;
	to[5] = stream >> 24;
	to[6] = stream >> 16;
	to[7] = stream >> 8;
	to[8] = stream;
	if (n)
		memcpy(to + 9, payload, n);
	return n + 9;
}

void peer_send(struct peer *p, uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
	       size_t n)
{
	uint8_t b[1 << 15];

	frame(b, type, flags, stream, payload, n);
	if (!write_all(p->fd, b, n + 9))
		FAIL("the connection ended while a frame was sent");
}

void peer_send32(struct peer *p, uint8_t type, uint32_t stream, uint32_t value)
{
	uint8_t b[4] = { value >> 24, value >> 16, value >> 8, value };

	peer_send(p, type, 0, stream, b, 4);
}

static bool peer_bytes(struct peer *p, void *to, size_t n)
{
	uint8_t *at = to;
	size_t more;
	int ret;

	while (n) {
		if (p->used == p->n) {
			ret = read_some(p->fd, p->in, sizeof(p->in));
			/* An alert is a record that a plain read does not take. */
			if (ret <= 0)
				return false;
			p->n = ret;
			p->used = 0;
		}
		more = p->n - p->used < n ? p->n - p->used : n;
		memcpy(at, p->in + p->used, more);
		p->used += more;
		at += more;
		n -= more;
	}
	return true;
}

bool peer_read(struct peer *p)
{
	uint8_t h[9];

	if (!peer_bytes(p, h, 9))
		return false;
	p->length = h[0] << 16 | h[1] << 8 | h[2];
	p->type = h[3];
	p->flags = h[4];
	p->stream = (h[5] & 0x7f) << 24 | h[6] << 16 | h[7] << 8 | h[8];
	if (p->length > sizeof(p->payload))
		FAIL("a frame of %u bytes", p->length);
	return peer_bytes(p, p->payload, p->length);
}

uint32_t peer_u32(const struct peer *p, size_t at)
{
	const uint8_t *b = p->payload + at;

	return (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

void peer_expect(struct peer *p, uint8_t type, uint32_t stream)
{
	do {
		if (!peer_read(p))
			FAIL("the connection ended before frame %u of stream %u", type, stream);
	} while (p->type != type || p->stream != stream);
}
