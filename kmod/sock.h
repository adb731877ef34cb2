/* SPDX-License-Identifier: GPL-2.0 */
/* A socket of user space that the module reads and writes. */
#ifndef HBONE_SOCK_H
#define HBONE_SOCK_H

#include <linux/poll.h>
#include <linux/types.h>
#include <linux/wait.h>

struct kvec;
struct netlink_ext_ack;
struct page;
struct socket;

/* Types of TLS records. */
#define HBONE_SOCK_ALERT 21
#define HBONE_SOCK_HANDSHAKE 22
#define HBONE_SOCK_DATA 23

struct hbone_sock {
	struct socket *sock; /* a reference to its file; NULL before init */
	struct wait_queue_entry wait; /* on sock->wq, while watched */
	bool held; /* the last send of bytes did not begin: see hbone_sock_starved */
	void (*wake)(struct hbone_sock *hs, __poll_t events);
};

/*
 * Takes the TCP socket @fd, connected, for the module alone. With @tls it must have kernel TLS 1.3
 * in both directions, otherwise none. -EBADF, -ENOTSOCK, -EOPNOTSUPP, -ENOTCONN, -EBUSY.
 */
int hbone_sock_init(struct hbone_sock *hs, int fd, bool tls, struct netlink_ext_ack *extack);
/* Gives it back: nothing of ours is called any more. Again, or without init, is allowed. */
void hbone_sock_uninit(struct hbone_sock *hs);

/*
 * From now on @wake is called, in any context and with the socket's wait queue locked, when
 * something happened: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP; all of them if it is not known.
 */
void hbone_sock_watch(struct hbone_sock *hs, void (*wake)(struct hbone_sock *, __poll_t));
/* When it returns no call is under way. Again, or without watch, is allowed. */
void hbone_sock_unwatch(struct hbone_sock *hs);

/*
 * Never block. @page is of __GFP_COMP; return as sock_recvmsg and sock_sendmsg. To send: on a
 * socket with kernel TLS.
 */
int hbone_sock_recv(struct hbone_sock *hs, struct page *page, u32 off, u32 len);
int hbone_sock_send(struct hbone_sock *hs, struct page *page, u32 off, u32 len);
/* @n pieces of @len bytes in all, on one without. */
int hbone_sock_send_vec(struct hbone_sock *hs, struct kvec *vec, u32 n, u32 len);
/* 1: there are bytes, or 0: the end, or negative. */
int hbone_sock_peek(struct hbone_sock *hs);
/* Why the socket failed, once, or 0: a read behind its end says only that it ended. */
int hbone_sock_error(struct hbone_sock *hs);

/* As hbone_sock_recv, of a socket with kernel TLS; *@type: of the record. */
int hbone_sock_recv_record(struct hbone_sock *hs, struct page *page, u32 len, u8 *type);
/* Records that kernel TLS has sent on it, or received. Not while another call does the same. */
u64 hbone_sock_records(const struct hbone_sock *hs, bool sent);
/* Whether kernel TLS gave TCP all that it took. */
bool hbone_sock_tls_sent(const struct hbone_sock *hs);
/* Moves as the peer takes bytes. */
u32 hbone_sock_acked(const struct hbone_sock *hs);
/* Says on a TLS socket that nothing follows. 0, or negative as sock_sendmsg. */
int hbone_sock_close_notify(struct hbone_sock *hs);

/*
 * After -EAGAIN from a send: whether there is room in the socket, but no memory, or another's call
 * keeps kernel TLS from taking anything. Nobody tells when that is over.
 */
bool hbone_sock_starved(const struct hbone_sock *hs);
/* Whether the end, an error or a mark of urgent data is there, perhaps behind bytes. */
bool hbone_sock_at_end(const struct hbone_sock *hs);
/* Whether reading comes to an end, behind what is still there: whatever that end may be. */
bool hbone_sock_ended(const struct hbone_sock *hs);
/* Whether our FIN was acknowledged, and with it all before. When that comes wake is called. */
bool hbone_sock_heard(const struct hbone_sock *hs);
/* FIN; RST. */
void hbone_sock_shutdown(struct hbone_sock *hs);
void hbone_sock_abort(struct hbone_sock *hs);
/* Both directions, without RST. */
void hbone_sock_close(struct hbone_sock *hs);

#endif
