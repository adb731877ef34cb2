// SPDX-License-Identifier: GPL-2.0-or-later
/* Generic netlink by hand. */
#include "nl.h"

#include <err.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void begin(struct nl *nl, uint16_t type, uint8_t cmd, uint16_t flags)
{
	struct nlmsghdr *h = (struct nlmsghdr *)nl->out;
	struct genlmsghdr *g = NLMSG_DATA(h);

	memset(nl->out, 0, NLMSG_LENGTH(GENL_HDRLEN));
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	h->nlmsg_seq = ++nl->seq;
	g->cmd = cmd;
	g->version = HBONE_GENL_VERSION;
	nl->n = NLMSG_LENGTH(GENL_HDRLEN);
}

void nl_begin(struct nl *nl, uint8_t cmd, uint16_t flags)
{
	begin(nl, nl->family, cmd, flags ? flags : NLM_F_ACK);
}

void nl_put(struct nl *nl, uint16_t attr, const void *p, size_t n)
{
	struct nlattr *a = (struct nlattr *)(nl->out + nl->n);

	if (nl->n + NLA_HDRLEN + NLA_ALIGN(n) > sizeof(nl->out))
		errx(1, "a request of too many bytes");
	a->nla_type = attr;
	a->nla_len = NLA_HDRLEN + n;
	memset((uint8_t *)a + NLA_HDRLEN, 0, NLA_ALIGN(n));
	memcpy((uint8_t *)a + NLA_HDRLEN, p, n);
	nl->n += NLA_HDRLEN + NLA_ALIGN(n);
}

void nl_put32(struct nl *nl, uint16_t attr, uint32_t value)
{
	nl_put(nl, attr, &value, sizeof(value));
}

void nl_put64(struct nl *nl, uint16_t attr, uint64_t value)
{
	nl_put(nl, attr, &value, sizeof(value));
}

void nl_put_settings(struct nl *nl, uint16_t attr, uint32_t window, uint32_t frame,
		     uint32_t streams)
{
	struct nlattr *a = (struct nlattr *)(nl->out + nl->n);

	nl_put(nl, attr | NLA_F_NESTED, NULL, 0);
	nl_put32(nl, HBONE_SET_INITIAL_WINDOW, window);
	nl_put32(nl, HBONE_SET_MAX_FRAME, frame);
	nl_put32(nl, HBONE_SET_MAX_STREAMS, streams);
	a->nla_len = nl->out + nl->n - (uint8_t *)a;
}

static void parse(const void *p, size_t n, const struct nlattr **a, int max)
{
	const struct nlattr *at = p;

	memset(a, 0, (max + 1) * sizeof(a[0]));
	while (n >= NLA_HDRLEN && at->nla_len >= NLA_HDRLEN && at->nla_len <= n) {
		size_t step = NLA_ALIGN(at->nla_len);

		if ((at->nla_type & NLA_TYPE_MASK) <= max)
			a[at->nla_type & NLA_TYPE_MASK] = at;
		if (step >= n)
			return;
		n -= step;
		at = (const struct nlattr *)((const uint8_t *)at + step);
	}
}

static void parse_message(struct nl *nl, const struct nlmsghdr *h)
{
	const struct genlmsghdr *g = NLMSG_DATA(h);

	nl->cmd = g->cmd;
	parse((const uint8_t *)g + GENL_HDRLEN, h->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), nl->a,
	      HBONE_A_MAX);
}

static int parse_error(struct nl *nl, const struct nlmsghdr *h)
{
	const struct nlmsgerr *e = NLMSG_DATA(h);
	const struct nlattr *a[NLMSGERR_ATTR_MAX + 1];
	size_t skip = sizeof(*e);

	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
		return e->error;
	if (!(h->nlmsg_flags & NLM_F_CAPPED))
		skip += e->msg.nlmsg_len - NLMSG_HDRLEN;
	parse((const uint8_t *)e + skip, h->nlmsg_len - NLMSG_HDRLEN - skip, a, NLMSGERR_ATTR_MAX);
	if (a[NLMSGERR_ATTR_MSG])
		strncpy(nl->error, (const char *)a[NLMSGERR_ATTR_MSG] + NLA_HDRLEN,
			sizeof(nl->error) - 1);
	return e->error;
}

static ssize_t receive(struct nl *nl)
{
	ssize_t n = recv(nl->fd, nl->in, sizeof(nl->in), 0);

	if (n < 0)
		err(1, "netlink recv");
	return n;
}

/* Reads up to the acknowledgement. */
static int answers(struct nl *nl, void (*each)(struct nl *nl, void *ctx), void *ctx)
{
	const struct nlmsghdr *h;
	int count = 0;
	ssize_t n;

	for (;;) {
		n = receive(nl);
		for (h = (void *)nl->in; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_seq != nl->seq)
				continue;
			if (h->nlmsg_type == NLMSG_ERROR) {
				int e = parse_error(nl, h);

				return e ? e : count;
			}
			if (h->nlmsg_type == NLMSG_DONE) {
				int e = *(int *)NLMSG_DATA(h);

				return e ? e : count;
			}
			parse_message(nl, h);
			if (each)
				each(nl, ctx);
			count++;
		}
	}
}

void nl_send(struct nl *nl)
{
	((struct nlmsghdr *)nl->out)->nlmsg_len = nl->n;
	if (send(nl->fd, nl->out, nl->n, 0) != (ssize_t)nl->n)
		err(1, "netlink send");
}

static int ask(struct nl *nl, void (*each)(struct nl *nl, void *ctx), void *ctx)
{
	nl->error[0] = '\0';
	nl_send(nl);
	return answers(nl, each, ctx);
}

/* The answer comes before the acknowledgement, in the same or another read: keep a copy. */
static void keep(struct nl *nl, void *ctx)
{
	uint8_t *copy = ctx;
	size_t i;

	memcpy(copy, nl->in, sizeof(nl->in));
	for (i = 0; i <= HBONE_A_MAX; i++)
		if (nl->a[i])
			nl->a[i] = (void *)(copy + ((const uint8_t *)nl->a[i] - nl->in));
}

int nl_ask(struct nl *nl)
{
	static __thread uint8_t copy[sizeof(nl->in)] __attribute__((aligned(8)));
	int ret;

	memset(nl->a, 0, sizeof(nl->a));
	ret = ask(nl, keep, copy);
	return ret < 0 ? ret : 0;
}

int nl_dump(struct nl *nl, void (*each)(struct nl *nl, void *ctx), void *ctx)
{
	return ask(nl, each, ctx);
}

struct nl *nl_open(void)
{
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK };
	struct nl *nl = calloc(1, sizeof(*nl));
	socklen_t len = sizeof(sa);
	const struct nlattr *a[CTRL_ATTR_MAX + 1], *g[CTRL_ATTR_MCAST_GRP_MAX + 1];
	const struct nlmsghdr *h;
	int one = 1;
	ssize_t n;

	nl->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (nl->fd < 0 || bind(nl->fd, (void *)&sa, sizeof(sa)) ||
	    getsockname(nl->fd, (void *)&sa, &len) ||
	    setsockopt(nl->fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one)) ||
	    setsockopt(nl->fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one)))
		err(1, "netlink");
	nl->port = sa.nl_pid;
	begin(nl, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
	nl_put(nl, CTRL_ATTR_FAMILY_NAME, HBONE_GENL_NAME, sizeof(HBONE_GENL_NAME));
	((struct nlmsghdr *)nl->out)->nlmsg_len = nl->n;
	if (send(nl->fd, nl->out, nl->n, 0) < 0)
		err(1, "netlink send");
	n = receive(nl);
	h = (void *)nl->in;
	if (!NLMSG_OK(h, n) || h->nlmsg_type == NLMSG_ERROR)
		errx(1, "no netlink family %s: is the module there?", HBONE_GENL_NAME);
	parse((uint8_t *)NLMSG_DATA(h) + GENL_HDRLEN, h->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), a,
	      CTRL_ATTR_MAX);
	nl->family = *(const uint16_t *)((const uint8_t *)a[CTRL_ATTR_FAMILY_ID] + NLA_HDRLEN);
	/* One group in a nest of nests. */
	parse((const uint8_t *)a[CTRL_ATTR_MCAST_GROUPS] + 2 * NLA_HDRLEN,
	      a[CTRL_ATTR_MCAST_GROUPS]->nla_len - 2 * NLA_HDRLEN, g, CTRL_ATTR_MCAST_GRP_MAX);
	nl->group = *(const uint32_t *)((const uint8_t *)g[CTRL_ATTR_MCAST_GRP_ID] + NLA_HDRLEN);
	return nl;
}

void nl_close(struct nl *nl)
{
	close(nl->fd);
	free(nl);
}

void nl_listen(struct nl *nl)
{
	if (setsockopt(nl->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &nl->group, sizeof(nl->group)))
		err(1, "netlink group");
}

bool nl_event(struct nl *nl, int ms)
{
	struct pollfd p = { .fd = nl->fd, .events = POLLIN };
	const struct nlmsghdr *h = (void *)nl->in;
	ssize_t n;

	if (poll(&p, 1, ms) <= 0)
		return false;
	n = receive(nl);
	if (!NLMSG_OK(h, n) || h->nlmsg_type != nl->family)
		errx(1, "an event that is none");
	parse_message(nl, h);
	return true;
}

static const void *value(const struct nl *nl, int attr, size_t n)
{
	if (!nl->a[attr] || nl->a[attr]->nla_len < NLA_HDRLEN + n)
		errx(1, "attribute %d is missing in message %u", attr, nl->cmd);
	return (const uint8_t *)nl->a[attr] + NLA_HDRLEN;
}

uint32_t nl_u32(const struct nl *nl, int attr)
{
	return *(const uint32_t *)value(nl, attr, sizeof(uint32_t));
}

uint64_t nl_u64(const struct nl *nl, int attr)
{
	uint64_t v;

	memcpy(&v, value(nl, attr, sizeof(v)), sizeof(v));
	return v;
}

const uint8_t *nl_bytes(const struct nl *nl, int attr, size_t *n)
{
	const uint8_t *p = value(nl, attr, 0);

	*n = nl->a[attr]->nla_len - NLA_HDRLEN;
	return p;
}
