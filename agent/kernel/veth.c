// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host's ends of a pod's interfaces.
 *
 * In the pod an interface tells the index of its other end and the number that the pod's
 * namespace has for the namespace where that is. An index alone says nothing: every namespace
 * counts for itself.
 */
#include "veth.h"

#include "base/cleanup.h"
#include "base/util.h"
#include "netns.h"
#include "nl.h"

#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <string.h>

static void cache_free(struct nl_cache **cache)
{
	if (*cache)
		nl_cache_free(*cache);
}

#define _cleanup_cache_ _cleanup_(cache_free)

static int get_nsid(struct nl_msg *msg, void *arg)
{
	struct nlattr *tb[NETNSA_MAX + 1];

	if (!nlmsg_parse(nlmsg_hdr(msg), sizeof(struct rtgenmsg), tb, NETNSA_MAX, NULL) &&
	    tb[NETNSA_NSID])
		*(int *)arg = (int32_t)nla_get_u32(tb[NETNSA_NSID]);
	return NL_OK;
}

/* The number that the socket's namespace has for the namespace @fd; -1: none. */
static int nsid_of(struct nl_sock *sk, int fd)
{
	struct rtgenmsg hdr = { .rtgen_family = AF_UNSPEC };
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETNSID, 0);
	int nsid = -1;

	if (!msg)
		return -1;
	nl_socket_modify_cb(sk, NL_CB_VALID, NL_CB_CUSTOM, get_nsid, &nsid);
	if (nlmsg_append(msg, &hdr, sizeof(hdr), NLMSG_ALIGNTO) ||
	    nla_put_u32(msg, NETNSA_FD, fd) || nl_send_auto(sk, msg) < 0 ||
	    nl_recvmsgs_default(sk) < 0)
		nsid = -1;
	else
		/* An error is the only answer; what went well is acknowledged as well. */
		(void)nl_wait_for_ack(sk);
	nlmsg_free(msg);
	return nsid;
}

static bool has_addr(struct nl_cache *addrs, int ifindex, const struct amb_addr *want, size_t n)
{
	struct nl_object *o;
	size_t i;

	for (o = nl_cache_get_first(addrs); o; o = nl_cache_get_next(o)) {
		struct rtnl_addr *ra = (struct rtnl_addr *)o;
		struct nl_addr *local = rtnl_addr_get_local(ra);
		struct amb_addr a;

		if (rtnl_addr_get_ifindex(ra) != ifindex || !local ||
		    amb_addr_from_bytes(nl_addr_get_binary_addr(local), nl_addr_get_len(local), &a))
			continue;
		for (i = 0; i < n; i++) {
			if (amb_addr_eq(&a, &want[i]))
				return true;
		}
	}
	return false;
}

int amb_veth_find(struct amb_netns *ns, const struct amb_addr *addrs, size_t naddrs,
		  struct amb_veth *out)
{
	_cleanup_fd_ int own = -1;
	_cleanup_nl_ struct nl_sock *sk = NULL;
	_cleanup_cache_ struct nl_cache *links = NULL, *have = NULL;
	struct nl_object *o;
	int err, nsid, n = 0;

	err = amb_netns_enter(NULL);
	if (err)
		return err;
	own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return -errno;
	err = amb_netns_enter(ns) ?: amb_nl_open(&sk);
	if (err)
		return err;
	err = rtnl_link_alloc_cache(sk, AF_UNSPEC, &links);
	if (!err)
		err = rtnl_addr_alloc_cache(sk, &have);
	if (err)
		return amb_nl_errno(err);
	nsid = nsid_of(sk, own);
	for (o = nl_cache_get_first(links); o && n < AMB_VETH_MAX; o = nl_cache_get_next(o)) {
		struct rtnl_link *l = (struct rtnl_link *)o;
		const char *type = rtnl_link_get_type(l);
		int32_t there = -1;

		if (!type || strcmp(type, "veth") || rtnl_link_get_link_netnsid(l, &there) ||
		    nsid < 0 || there != nsid)
			continue;
		out[n].host = rtnl_link_get_link(l);
		out[n].pod = rtnl_link_get_ifindex(l);
		out[n].primary = has_addr(have, rtnl_link_get_ifindex(l), addrs, naddrs);
		n++;
	}
	return n;
}
