// SPDX-License-Identifier: GPL-2.0
/*
 * Sockets of user space, as the module uses them.
 *
 * Events come by an entry in the socket's own wait queue, as for epoll, and not by taking over
 * sk_data_ready and its kin. kernel TLS puts its own functions there, keeps the former ones and
 * calls those for a whole record; who takes them over later is told of bytes of TCP, not of
 * records, and must give them back in the right order. A wait queue has none of that: all who
 * report readiness end there, whatever ULP is in between.
 *
 * Lifetime: a reference to the file keeps the socket, and with it the wait queue. The entry leaves
 * the queue under the queue's lock, so that no call of wake is under way afterwards; whoever frees
 * what wake looks at must have called hbone_sock_unwatch or hbone_sock_uninit before. Ours is often
 * the last reference, and dropped by work. Files of kernel threads are then closed by one work of
 * the system, one after the other, where SO_LINGER would have all of them wait for this peer.
 *
 * A socket is claimed by sk_user_data, under sk_callback_lock, as others do who use a socket for
 * themselves: so it is in use once, and a socket of a sockmap, whose programs would see our bytes,
 * is refused, and later cannot be put into one.
 *
 * All but wake is called in process context and without a lock, since these calls lock the socket.
 */
#include <linux/bvec.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/net.h>
#include <linux/netlink.h>
#include <linux/uio.h>
#include <net/sock.h>
#include <net/tcp.h>
#include <net/tls.h>

#include "sock.h"

#define SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)
#define HELD_TRIES 4

static const char owner_mark[8] __aligned(8) = "hbone";

static int claim(struct sock *sk)
{
	int err = -EBUSY;

	write_lock_bh(&sk->sk_callback_lock);
	if (!sk->sk_user_data) {
		__rcu_assign_sk_user_data_with_flags(sk, (void *)owner_mark, SK_USER_DATA_NOCOPY);
		err = 0;
	}
	write_unlock_bh(&sk->sk_callback_lock);
	return err;
}

static void unclaim(struct sock *sk)
{
	write_lock_bh(&sk->sk_callback_lock);
	rcu_assign_sk_user_data(sk, NULL);
	write_unlock_bh(&sk->sk_callback_lock);
}

static bool has_tls(const struct sock *sk)
{
	const struct tls_context *ctx;

	if (!inet_csk(sk)->icsk_ulp_ops || strcmp(inet_csk(sk)->icsk_ulp_ops->name, "tls"))
		return false;
	ctx = tls_get_ctx(sk);
	return ctx && ctx->tx_conf == TLS_SW && ctx->rx_conf == TLS_SW &&
	       ctx->prot_info.version == TLS_1_3_VERSION;
}

/* The socket's lock is held, so that no ULP comes while we look. */
static int check(struct sock *sk, bool tls, struct netlink_ext_ack *extack)
{
	if (sk->sk_state != TCP_ESTABLISHED && sk->sk_state != TCP_CLOSE_WAIT &&
	    (tls || (sk->sk_state != TCP_FIN_WAIT1 && sk->sk_state != TCP_FIN_WAIT2))) {
		NL_SET_ERR_MSG(extack, "the socket is not connected");
		return -ENOTCONN;
	}
	if (tls && !has_tls(sk)) {
		NL_SET_ERR_MSG(extack, "the socket has no kernel TLS 1.3 in both directions");
		return -EOPNOTSUPP;
	}
	if (!tls && inet_csk(sk)->icsk_ulp_ops) {
		NL_SET_ERR_MSG(extack, "the socket has an upper layer protocol");
		return -EOPNOTSUPP;
	}
	return 0;
}

int hbone_sock_init(struct hbone_sock *hs, int fd, bool tls, struct netlink_ext_ack *extack)
{
	struct socket *sock;
	struct sock *sk;
	int err;

	sock = sockfd_lookup(fd, &err);
	if (!sock) {
		NL_SET_ERR_MSG(extack, "the file descriptor is not of a socket");
		return err;
	}
	sk = sock->sk;
	if (!sk_is_tcp(sk)) {
		NL_SET_ERR_MSG(extack, "the socket is not of TCP");
		err = -EOPNOTSUPP;
		goto err_put;
	}
	lock_sock(sk);
	err = check(sk, tls, extack);
	release_sock(sk);
	if (err)
		goto err_put;
	err = claim(sk);
	if (err) {
		NL_SET_ERR_MSG(extack, "the socket is in use, here or by BPF");
		goto err_put;
	}
	INIT_LIST_HEAD(&hs->wait.entry);
	hs->sock = sock;
	return 0;

err_put:
	sockfd_put(sock);
	return err;
}

/* Closing it does not wait. One with a time of zero does not, and asks for a reset: it may. */
static void no_linger(struct sock *sk)
{
	lock_sock(sk);
	if (sk->sk_lingertime)
		sock_reset_flag(sk, SOCK_LINGER);
	release_sock(sk);
}

void hbone_sock_uninit(struct hbone_sock *hs)
{
	if (!hs->sock)
		return;
	hbone_sock_unwatch(hs);
	unclaim(hs->sock->sk);
	no_linger(hs->sock->sk);
	sockfd_put(hs->sock);
	hs->sock = NULL;
}

static int wake(struct wait_queue_entry *wait, unsigned int mode, int sync, void *key)
{
	struct hbone_sock *hs = container_of(wait, struct hbone_sock, wait);
	__poll_t events = key_to_poll(key);

	hs->wake(hs, events ? events : EPOLLIN | EPOLLOUT | EPOLLERR);
	return 0;
}

void hbone_sock_watch(struct hbone_sock *hs, void (*on_wake)(struct hbone_sock *, __poll_t))
{
	hs->wake = on_wake;
	init_waitqueue_func_entry(&hs->wait, wake);
	add_wait_queue(&hs->sock->wq.wait, &hs->wait);
}

void hbone_sock_unwatch(struct hbone_sock *hs)
{
	struct wait_queue_head *head;
	unsigned long flags;

	if (!hs->sock)
		return;
	head = &hs->sock->wq.wait;
	spin_lock_irqsave(&head->lock, flags);
	list_del_init(&hs->wait.entry);
	spin_unlock_irqrestore(&head->lock, flags);
}

static void set_page(struct msghdr *msg, struct bio_vec *bv, struct page *page, u32 off, u32 len,
		     unsigned int direction)
{
	bvec_set_page(bv, page, len, off);
	iov_iter_bvec(&msg->msg_iter, direction, bv, 1, len);
}

/* An end without FIN is a failure that another call was told of: that is told once. */
static int end_or_failure(const struct hbone_sock *hs, int ret)
{
	return ret || sock_flag(hs->sock->sk, SOCK_DONE) ? ret : -ECONNRESET;
}

int hbone_sock_recv(struct hbone_sock *hs, struct page *page, u32 off, u32 len)
{
	struct msghdr msg = {};
	struct bio_vec bv;

	set_page(&msg, &bv, page, off, len, ITER_DEST);
	return end_or_failure(hs, sock_recvmsg(hs->sock, &msg, MSG_DONTWAIT));
}

/*
 * Whether another sends on a socket with kernel TLS and sleeps in that call: tx_lock, which he has,
 * is waited for whatever the flags. Kernel TLS's own work has it too, for a moment, and the
 * socket's lock with it, as has who does not sleep.
 */
static bool held(struct hbone_sock *hs)
{
	struct sock *sk = hs->sock->sk;
	struct tls_context *ctx = tls_get_ctx(sk);
	int tries = HELD_TRIES;

	while (mutex_is_locked(&ctx->tx_lock) && tries--) {
		lock_sock(sk);
		release_sock(sk);
		/* He takes the one before the other, and gives it back after. */
		if (mutex_is_locked(&ctx->tx_lock))
			usleep_range(20, 50);
	}
	return tries < 0;
}

int hbone_sock_send(struct hbone_sock *hs, struct page *page, u32 off, u32 len)
{
	struct msghdr msg = { .msg_flags = SEND_FLAGS };
	struct bio_vec bv;

	hs->held = held(hs);
	if (hs->held)
		return -EAGAIN;
	set_page(&msg, &bv, page, off, len, ITER_SOURCE);
	return sock_sendmsg(hs->sock, &msg);
}

int hbone_sock_send_vec(struct hbone_sock *hs, struct kvec *vec, u32 n, u32 len)
{
	struct msghdr msg = { .msg_flags = SEND_FLAGS };

	return kernel_sendmsg(hs->sock, &msg, vec, n, len);
}

int hbone_sock_peek(struct hbone_sock *hs)
{
	struct msghdr msg = {};
	struct kvec vec;
	u8 byte;

	vec.iov_base = &byte;
	vec.iov_len = 1;
	return end_or_failure(hs,
			      kernel_recvmsg(hs->sock, &msg, &vec, 1, 1, MSG_DONTWAIT | MSG_PEEK));
}

int hbone_sock_error(struct hbone_sock *hs)
{
	return sock_error(hs->sock->sk);
}

int hbone_sock_recv_record(struct hbone_sock *hs, struct page *page, u32 len, u8 *type)
{
	union {
		struct cmsghdr cmsg;
		u8 buf[CMSG_SPACE(sizeof(u8))];
	} u;
	struct msghdr msg = {
		.msg_control = &u,
		.msg_controllen = sizeof(u),
	};
	struct bio_vec bv;
	int ret;

	set_page(&msg, &bv, page, 0, len, ITER_DEST);
	ret = sock_recvmsg(hs->sock, &msg, MSG_DONTWAIT);
	*type = HBONE_SOCK_DATA;
	if (ret > 0 && msg.msg_controllen != sizeof(u) && u.cmsg.cmsg_level == SOL_TLS &&
	    u.cmsg.cmsg_type == TLS_GET_RECORD_TYPE)
		*type = *(u8 *)CMSG_DATA(&u.cmsg);
	return ret;
}

u64 hbone_sock_records(const struct hbone_sock *hs, bool sent)
{
	const struct tls_context *ctx = tls_get_ctx(hs->sock->sk);
	__be64 next;

	memcpy(&next, sent ? ctx->tx.rec_seq : ctx->rx.rec_seq, sizeof(next));
	return be64_to_cpu(next);
}

bool hbone_sock_tls_sent(const struct hbone_sock *hs)
{
	struct sock *sk = hs->sock->sk;
	bool ret;

	/* A record leaves the list when all of it is TCP's. */
	lock_sock(sk);
	ret = list_empty(&tls_sw_ctx_tx(tls_get_ctx(sk))->tx_list);
	release_sock(sk);
	return ret;
}

u32 hbone_sock_acked(const struct hbone_sock *hs)
{
	return READ_ONCE(tcp_sk(hs->sock->sk)->snd_una);
}

int hbone_sock_close_notify(struct hbone_sock *hs)
{
	u8 alert[2] = { 1, 0 }; /* warning, close_notify */
	union {
		struct cmsghdr cmsg;
		u8 buf[CMSG_SPACE(sizeof(u8))];
	} u = { .cmsg = {
			.cmsg_level = SOL_TLS,
			.cmsg_type = TLS_SET_RECORD_TYPE,
			.cmsg_len = CMSG_LEN(sizeof(u8)),
		} };
	struct msghdr msg = {
		.msg_flags = SEND_FLAGS,
		.msg_control = &u,
		.msg_controllen = sizeof(u),
	};
	struct kvec vec = { .iov_base = alert, .iov_len = sizeof(alert) };

	*(u8 *)CMSG_DATA(&u.cmsg) = HBONE_SOCK_ALERT;
	if (held(hs))
		return -EAGAIN;
	return min(kernel_sendmsg(hs->sock, &msg, &vec, 1, sizeof(alert)), 0);
}

bool hbone_sock_starved(const struct hbone_sock *hs)
{
	return hs->held || sk_stream_is_writeable(hs->sock->sk);
}

bool hbone_sock_at_end(const struct hbone_sock *hs)
{
	const struct sock *sk = hs->sock->sk;

	return READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN || READ_ONCE(sk->sk_err) ||
	       READ_ONCE(tcp_sk(sk)->urg_data);
}

bool hbone_sock_ended(const struct hbone_sock *hs)
{
	return READ_ONCE(hs->sock->sk->sk_shutdown) & RCV_SHUTDOWN;
}

bool hbone_sock_heard(const struct hbone_sock *hs)
{
	return (1 << inet_sk_state_load(hs->sock->sk)) & (TCPF_FIN_WAIT2 | TCPF_CLOSE);
}

void hbone_sock_shutdown(struct hbone_sock *hs)
{
	kernel_sock_shutdown(hs->sock, SHUT_WR);
}

void hbone_sock_abort(struct hbone_sock *hs)
{
	struct sock *sk = hs->sock->sk;

	/* As SOCK_DESTROY does; whatever other descriptors it has, the other side hears of it. */
	sk->sk_prot->diag_destroy(sk, ECONNRESET);
}

void hbone_sock_close(struct hbone_sock *hs)
{
	kernel_sock_shutdown(hs->sock, SHUT_RDWR);
}
