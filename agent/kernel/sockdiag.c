// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sockets of others.
 *
 * The kernel looks for a socket by family, addresses and ports, then compares the cookie. An
 * IPv4 connection may be of an IPv6 socket, which the look-up by IPv4 finds too: both are in one
 * table, by what is on the wire.
 */
#include "sockdiag.h"

#include <errno.h>
#include <linux/bpf.h> /* states of TCP */
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "netns.h"

#define ANSWER_BYTES 4096 /* a socket with its tcp_info is below 600 */
#define LIST_BYTES 16384 /* the kernel fills no more with one part of a list */

struct request {
	struct nlmsghdr nlh;
	struct inet_diag_req_v2 req;
};

static void set_addr(__be32 *to, const struct amb_addr *a, bool v4)
{
	if (v4)
		memcpy(to, a->b + 12, 4);
	else
		memcpy(to, a->b, 16);
}

static void fill(struct request *r, uint16_t type, const struct amb_sockdiag_id *id)
{
	bool v4 = amb_addr_is_v4(&id->remote.addr);

	*r = (struct request){
		.nlh = {
			.nlmsg_len = sizeof(*r),
			.nlmsg_type = type,
			.nlmsg_flags = NLM_F_REQUEST |
				       (type == SOCK_DESTROY ? NLM_F_ACK : 0),
		},
		.req = {
			.sdiag_family = v4 ? AF_INET : AF_INET6,
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_ext = 1 << (INET_DIAG_INFO - 1),
			.idiag_states = ~0u,
			.id = {
				.idiag_sport = htons(id->local.port),
				.idiag_dport = htons(id->remote.port),
				.idiag_cookie = { id->cookie, id->cookie >> 32 },
			},
		},
	};
	set_addr(r->req.id.idiag_src, &id->local.addr, v4);
	set_addr(r->req.id.idiag_dst, &id->remote.addr, v4);
}

/* The namespace's socket for questions, made for the first of them. It or -errno. */
static int diag_of(struct amb_netns *ns)
{
	int err;

	if (ns->diag >= 0)
		return ns->diag;
	err = amb_netns_enter(ns);
	if (err)
		return err;
	ns->diag = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	err = ns->diag < 0 ? -errno : 0;
	/* The socket stays where it was made; the thread must not. */
	(void)amb_netns_enter(NULL);
	return err ?: ns->diag;
}

/* One message there, one back. The answer's length or -errno. */
static ssize_t exchange(int fd, const struct request *r, void *answer)
{
	const struct nlmsghdr *nlh = answer;
	ssize_t n;

	if (send(fd, r, sizeof(*r), 0) != sizeof(*r))
		return -errno;
	n = recv(fd, answer, ANSWER_BYTES, 0);
	if (n < 0)
		return -errno;
	return n < (ssize_t)sizeof(*nlh) || nlh->nlmsg_len > (size_t)n ? -EIO : n;
}

static ssize_t ask(struct amb_netns *ns, uint16_t type, const struct amb_sockdiag_id *id,
		   void *answer)
{
	const struct nlmsghdr *nlh = answer;
	int fd = diag_of(ns);
	struct request r;
	ssize_t n;

	if (fd < 0)
		return fd;
	fill(&r, type, id);
	n = exchange(fd, &r, answer);
	/* What might still come must not be the answer to the next question. */
	if (n < 0) {
		close(ns->diag);
		ns->diag = -1;
	} else if (nlh->nlmsg_type == NLMSG_ERROR) {
		return ((const struct nlmsgerr *)NLMSG_DATA(nlh))->error;
	}
	return n;
}

int amb_sockdiag_destroy(struct amb_netns *ns, const struct amb_sockdiag_id *id)
{
	_Alignas(struct nlmsghdr) char answer[ANSWER_BYTES];
	ssize_t n = ask(ns, SOCK_DESTROY, id, answer);

	return n < 0 ? n : 0;
}

/* What of the counts is no byte: the SYN that connected, and FINs, which the state tells. */
static unsigned int syn_fin_out(unsigned int state, bool connected)
{
	return connected + (state == BPF_TCP_FIN_WAIT2);
}

static unsigned int syn_fin_in(unsigned int state)
{
	return state == BPF_TCP_CLOSE_WAIT || state == BPF_TCP_LAST_ACK || state == BPF_TCP_CLOSING;
}

static uint64_t less(uint64_t n, unsigned int by)
{
	return n > by ? n - by : 0;
}

int amb_sockdiag_bytes(struct amb_netns *ns, const struct amb_sockdiag_id *id, bool connected,
		       uint64_t *out, uint64_t *in)
{
	_Alignas(struct nlmsghdr) char answer[ANSWER_BYTES];
	ssize_t n = ask(ns, SOCK_DIAG_BY_FAMILY, id, answer);
	struct nlmsghdr *nlh = (struct nlmsghdr *)answer;
	const struct inet_diag_msg *msg;
	struct rtattr *attr;
	int left;

	if (n < 0)
		return n;
	if (nlh->nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return -EIO;
	msg = NLMSG_DATA(nlh);
	attr = (struct rtattr *)((char *)NLMSG_DATA(nlh) + NLMSG_ALIGN(sizeof(*msg)));
	left = NLMSG_PAYLOAD(nlh, NLMSG_ALIGN(sizeof(*msg)));
	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		const struct tcp_info *info = RTA_DATA(attr);

		if (attr->rta_type != INET_DIAG_INFO ||
		    RTA_PAYLOAD(attr) < offsetof(struct tcp_info, tcpi_segs_out))
			continue;
		*out = less(info->tcpi_bytes_acked, syn_fin_out(msg->idiag_state, connected));
		*in = less(info->tcpi_bytes_received, syn_fin_in(msg->idiag_state));
		return 0;
	}
	return -ENODATA;
}

/* Lists of sockets, by their mark */

struct list_request {
	struct nlmsghdr nlh;
	struct inet_diag_req_v2 req;
	struct rtattr attr;
	struct inet_diag_bc_op op;
	struct inet_diag_markcond mark;
};

static struct list_request list_request(int family, uint32_t mark)
{
	const size_t code = sizeof(struct inet_diag_bc_op) + sizeof(struct inet_diag_markcond);

	return (struct list_request){
		.nlh = {
			.nlmsg_len = sizeof(struct list_request),
			.nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		},
		.req = {
			.sdiag_family = family,
			.sdiag_protocol = IPPROTO_TCP,
			/* What waits for the end of its time is no connection any more. */
			.idiag_states = ~(1u << BPF_TCP_TIME_WAIT | 1u << BPF_TCP_LISTEN),
		},
		.attr = { RTA_LENGTH(code), INET_DIAG_REQ_BYTECODE },
		/* To the end of the code when it has the mark; else beyond, which is a no. */
		.op = { INET_DIAG_BC_MARK_COND, code, code + 4 },
		.mark = { mark, ~0u },
	};
}

struct ids {
	struct amb_sockdiag_id *v;
	size_t n, cap;
};

static struct amb_endpoint endpoint_of(const struct inet_diag_msg *m, const __be32 *addr,
				       __be16 port)
{
	struct amb_endpoint e = { .port = ntohs(port) };

	(void)amb_addr_from_bytes((const uint8_t *)addr, m->idiag_family == AF_INET ? 4 : 16,
				  &e.addr);
	return e;
}

static int add_id(struct ids *ids, const struct inet_diag_msg *m)
{
	if (ids->n == ids->cap) {
		size_t cap = ids->cap ? ids->cap * 2 : 16;
		struct amb_sockdiag_id *v = reallocarray(ids->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		ids->v = v;
		ids->cap = cap;
	}
	ids->v[ids->n++] = (struct amb_sockdiag_id){
		.local = endpoint_of(m, m->id.idiag_src, m->id.idiag_sport),
		.remote = endpoint_of(m, m->id.idiag_dst, m->id.idiag_dport),
		.cookie = m->id.idiag_cookie[0] | (uint64_t)m->id.idiag_cookie[1] << 32,
	};
	return 0;
}

/* 1: there is more to read, 0: that was all, or -errno. */
static int read_list(int fd, void *buf, struct ids *ids)
{
	ssize_t n = recv(fd, buf, LIST_BYTES, 0);
	struct nlmsghdr *nlh = buf;
	int err = 0;

	if (n < 0)
		return -errno;
	for (; !err && NLMSG_OK(nlh, (size_t)n); nlh = NLMSG_NEXT(nlh, n)) {
		if (nlh->nlmsg_type == NLMSG_DONE)
			return 0;
		if (nlh->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(nlh))->error ?: -EIO;
		err = add_id(ids, NLMSG_DATA(nlh));
	}
	return err ?: 1;
}

static int list(struct amb_netns *ns, int family, uint32_t mark, struct ids *ids)
{
	const struct list_request r = list_request(family, mark);
	_cleanup_free_ void *buf = malloc(LIST_BYTES);
	_cleanup_fd_ int fd = -1;
	int err = amb_netns_enter(ns);

	if (err || !buf)
		return err ?: -ENOMEM;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0 || send(fd, &r, sizeof(r), 0) != sizeof(r))
		return -errno;
	do {
		err = read_list(fd, buf, ids);
	} while (err > 0);
	return err;
}

int amb_sockdiag_destroy_marked(struct amb_netns *ns, uint32_t mark)
{
	struct ids ids = { 0 };
	int err, n = 0;
	size_t i;

	err = list(ns, AF_INET, mark, &ids);
	if (!err)
		err = list(ns, AF_INET6, mark, &ids);
	(void)amb_netns_enter(NULL);
	for (i = 0; i < ids.n; i++)
		n += !amb_sockdiag_destroy(ns, &ids.v[i]);
	free(ids.v);
	return err ?: n;
}
