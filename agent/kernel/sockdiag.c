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
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netns.h"

#define ANSWER_BYTES 4096 /* a socket with its tcp_info is below 600 */

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

int amb_sockdiag_bytes(struct amb_netns *ns, const struct amb_sockdiag_id *id, uint64_t *out,
		       uint64_t *in)
{
	_Alignas(struct nlmsghdr) char answer[ANSWER_BYTES];
	ssize_t n = ask(ns, SOCK_DIAG_BY_FAMILY, id, answer);
	struct nlmsghdr *nlh = (struct nlmsghdr *)answer;
	struct rtattr *attr;
	int left;

	if (n < 0)
		return n;
	if (nlh->nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return -EIO;
	attr = (struct rtattr *)((char *)NLMSG_DATA(nlh) +
				 NLMSG_ALIGN(sizeof(struct inet_diag_msg)));
	left = NLMSG_PAYLOAD(nlh, NLMSG_ALIGN(sizeof(struct inet_diag_msg)));
	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		const struct tcp_info *info = RTA_DATA(attr);

		if (attr->rta_type != INET_DIAG_INFO ||
		    RTA_PAYLOAD(attr) < offsetof(struct tcp_info, tcpi_segs_out))
			continue;
		*out = info->tcpi_bytes_acked;
		*in = info->tcpi_bytes_received;
		return 0;
	}
	return -ENODATA;
}
