/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kernel TLS as far as the record layer uses it, made of the socket calls of this program: what
 * proxy/ktls.c does can be tested on any kernel, and made to be refused. Records that the socket
 * has no room for are kept, as the kernel does, and lost when FIN comes before them.
 */
#ifndef SELFTESTS_FAKEKTLS_H
#define SELFTESTS_FAKEKTLS_H

#include "proxy/aead.h"
#include "proxy/record.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FAKE_FDS 1024

/* How the kernel is today. */
static struct {
	bool off; /* its own calls; refusals are ours even then */
	int no_ulp, no_tx, no_rx; /* errno to refuse with */
	bool rekeys;
	unsigned int taken[2]; /* keys installed: receiving, sending */
	unsigned int lost; /* bytes that FIN overtook */
} fake;

struct fake_dir {
	struct amb_aead *aead;
	uint8_t iv[12];
	uint64_t seq;
};

struct fake_sock {
	bool ulp, rekey_due;
	struct fake_dir rx, tx;
	uint8_t in[1 << 18], out[1 << 20], plain[AMB_RECORD_PLAIN_MAX + 256];
	size_t nin, nout, outat, nplain, plainat;
	uint8_t type; /* of plain */
};

static struct fake_sock *fake_sock[FAKE_FDS];

static struct fake_sock *fake_of(int fd)
{
	return !fake.off && fd >= 0 && fd < FAKE_FDS ? fake_sock[fd] : NULL;
}

static void fake_nonce(const struct fake_dir *d, uint8_t out[12])
{
	int i;

	memcpy(out, d->iv, 12);
	for (i = 0; i < 8; i++)
		out[4 + i] ^= d->seq >> (56 - 8 * i);
}

static int fake_keys(struct fake_dir *d, const void *p, socklen_t len)
{
	const struct tls12_crypto_info_aes_gcm_128 *a = p;
	const struct tls12_crypto_info_aes_gcm_256 *b = p;
	bool small = a->info.cipher_type == TLS_CIPHER_AES_GCM_128;
	uint64_t be;

	if (len != (small ? sizeof(*a) : sizeof(*b)) || a->info.version != TLS_1_3_VERSION)
		return EINVAL;
	amb_aead_destroy(d->aead);
	d->aead = amb_aead_create(small ? a->key : b->key, small ? 16 : 32);
	memcpy(d->iv, small ? a->salt : b->salt, 4);
	memcpy(d->iv + 4, small ? a->iv : b->iv, 8);
	memcpy(&be, small ? a->rec_seq : b->rec_seq, 8);
	d->seq = __builtin_bswap64(be);
	return 0;
}

static void fake_push(int fd)
{
	struct fake_sock *s = fake_of(fd);
	long n;

	while (s && s->outat < s->nout) {
		n = syscall(SYS_sendto, fd, s->out + s->outat, s->nout - s->outat,
			    MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
		if (n <= 0)
			return;
		s->outat += n;
	}
	if (s)
		s->outat = s->nout = 0;
}

static int fake_set(int fd, int option, const void *p, socklen_t len)
{
	struct fake_sock *s = fake_of(fd);
	bool tx = option == TLS_TX;
	struct fake_dir *d;
	int err = 0;

	if (!s)
		return ENOPROTOOPT;
	if (option == TLS_RX_EXPECT_NO_PAD)
		return 0;
	d = tx ? &s->tx : &s->rx;
	if (d->aead && !fake.rekeys)
		err = EBUSY;
	if (!err)
		err = fake_keys(d, p, len);
	if (err)
		return err;
	fake.taken[tx]++;
	if (!tx)
		s->rekey_due = false;
	return 0;
}

int setsockopt(int fd, int level, int option, const void *p, socklen_t len)
{
	bool ulp = level == IPPROTO_TCP && option == TCP_ULP;
	bool keys = level == SOL_TLS && option != TLS_RX_EXPECT_NO_PAD;
	int err;

	err = ulp ? fake.no_ulp : keys ? option == TLS_TX ? fake.no_tx : fake.no_rx : 0;
	if (!err && (fake.off || !(ulp || level == SOL_TLS)))
		return syscall(SYS_setsockopt, fd, level, option, p, len);
	if (!err && level == SOL_TLS)
		err = fake_set(fd, option, p, len);
	if (!err && level != SOL_TLS && !fake_sock[fd])
		fake_sock[fd] = calloc(1, sizeof(*fake_sock[fd]));
	errno = err;
	return err ? -1 : 0;
}

int getsockopt(int fd, int level, int option, void *p, socklen_t *len)
{
	struct fake_sock *s = fake_of(fd);
	struct fake_dir *d;
	uint64_t be;

	if (fake.off || level != SOL_TLS)
		return syscall(SYS_getsockopt, fd, level, option, p, len);
	d = s ? option == TLS_TX ? &s->tx : &s->rx : NULL;
	if (!d || !d->aead) {
		errno = EBUSY;
		return -1;
	}
	be = __builtin_bswap64(d->seq);
	memset(p, 0xa5, *len);
	/* The record's number is what both structures end with. */
	memcpy((uint8_t *)p + *len - 8, &be, 8);
	return 0;
}

static void fake_seal(struct fake_sock *s, const uint8_t *p, size_t n, uint8_t type)
{
	uint8_t *rec = s->out + s->nout, iv[12];
	size_t body = n + 17;

	memcpy(rec, (uint8_t[]){ 23, 3, 3, body >> 8, body }, 5);
	memcpy(rec + 5, p, n);
	rec[5 + n] = type;
	fake_nonce(&s->tx, iv);
	amb_aead_seal(s->tx.aead, rec + 5, n + 1, iv, rec, 5);
	s->tx.seq++;
	s->nout += 5 + body;
}

static ssize_t fake_send(int fd, const struct msghdr *m)
{
	struct fake_sock *s = fake_of(fd);
	const struct cmsghdr *cmsg = m->msg_controllen ? CMSG_FIRSTHDR(m) : NULL;
	uint8_t type = cmsg ? *CMSG_DATA(cmsg) : 23, rec[AMB_RECORD_PLAIN_MAX];
	size_t total = 0, n = 0, i, at;

	fake_push(fd);
	if (s->nout) {
		errno = EAGAIN;
		return -1;
	}
	for (i = 0; i < m->msg_iovlen; i++) {
		for (at = 0; at < m->msg_iov[i].iov_len; at++) {
			rec[n++] = ((uint8_t *)m->msg_iov[i].iov_base)[at];
			total++;
			if (n < sizeof(rec))
				continue;
			fake_seal(s, rec, n, type);
			n = 0;
			fake_push(fd);
			if (s->nout)
				return total;
		}
	}
	if (n)
		fake_seal(s, rec, n, type);
	fake_push(fd);
	return total;
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	struct fake_sock *s = fake_of(fd);

	return s && s->tx.aead ? fake_send(fd, m) : syscall(SYS_sendmsg, fd, m, flags);
}

int shutdown(int fd, int how)
{
	struct fake_sock *s = fake_of(fd);

	fake_push(fd);
	if (s && how != SHUT_RD)
		fake.lost += s->nout - s->outat;
	return syscall(SYS_shutdown, fd, how);
}

int close(int fd)
{
	struct fake_sock *s = fd >= 0 && fd < FAKE_FDS ? fake_sock[fd] : NULL;

	if (s) {
		amb_aead_destroy(s->rx.aead);
		amb_aead_destroy(s->tx.aead);
		free(s);
		fake_sock[fd] = NULL;
	}
	return syscall(SYS_close, fd);
}

int epoll_wait(int epfd, struct epoll_event *ev, int n, int timeout)
{
	int fd;

	for (fd = 0; fd < FAKE_FDS; fd++)
		fake_push(fd);
	return syscall(SYS_epoll_wait, epfd, ev, n, timeout);
}

/* Opens the next record of what is there: 1, 0 for more, or -errno. */
static int fake_open(struct fake_sock *s)
{
	size_t body, len;
	uint8_t iv[12];

	if (s->nin < 5)
		return 0;
	body = s->in[3] << 8 | s->in[4];
	if (s->in[1] != 3 || s->in[2] != 3)
		return -EINVAL;
	if (body > AMB_RECORD_PLAIN_MAX + 17)
		return -EMSGSIZE;
	if (body < 16)
		return -EBADMSG;
	if (s->nin < 5 + body)
		return 0;
	fake_nonce(&s->rx, iv);
	if (amb_aead_open(s->rx.aead, s->in + 5, body - 16, iv, s->in, 5))
		return -EBADMSG;
	s->rx.seq++;
	for (len = body - 16; len && !s->in[5 + len - 1]; len--)
		;
	if (!len)
		return -EBADMSG;
	s->type = s->in[5 + len - 1];
	memcpy(s->plain, s->in + 5, len - 1);
	s->nplain = len - 1;
	s->plainat = 0;
	s->rekey_due = s->type == 22 && len > 1 && s->plain[0] == 24;
	s->nin -= 5 + body;
	memmove(s->in, s->in + 5 + body, s->nin);
	return 1;
}

/* Runs of data, or one record of another type; those of data without content are skipped. */
static ssize_t fake_recv(int fd, struct msghdr *m)
{
	struct fake_sock *s = fake_of(fd);
	uint8_t *to = m->msg_iov->iov_base, type = 0;
	size_t room = m->msg_iov->iov_len, total = 0, k;
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(m);
	long n;
	int ret;

	while (total < room) {
		if (s->plainat == s->nplain) {
			n = 0;
			ret = s->rekey_due ? -EKEYEXPIRED : fake_open(s);
			if (!ret)
				n = syscall(SYS_recvfrom, fd, s->in + s->nin,
					    sizeof(s->in) - s->nin, MSG_DONTWAIT, NULL, NULL);
			if (!ret && n > 0) {
				s->nin += n;
				continue;
			}
			if (ret < 1) {
				if (total)
					break;
				if (ret)
					errno = -ret;
				return ret || n < 0 ? -1 : 0;
			}
			if (!s->nplain)
				continue;
		}
		if (type && (type != s->type || type != 23))
			break;
		type = s->type;
		k = room - total < s->nplain - s->plainat ? room - total : s->nplain - s->plainat;
		memcpy(to + total, s->plain + s->plainat, k);
		s->plainat += k;
		total += k;
	}
	cmsg->cmsg_level = SOL_TLS;
	cmsg->cmsg_type = TLS_GET_RECORD_TYPE;
	cmsg->cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(cmsg) = type;
	return total;
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	struct fake_sock *s = fake_of(fd);

	return s && s->rx.aead ? fake_recv(fd, m) : syscall(SYS_recvmsg, fd, m, flags);
}

#endif
