// SPDX-License-Identifier: GPL-2.0-or-later
/* Policy routing inside a pod, by libnl. */
#include "route.h"

#include "base/cleanup.h"
#include "base/util.h"
#include "nl.h"

#include <netlink/netlink.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <netlink/route/rule.h>

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#define LOOPBACK_INDEX 1 /* the kernel gives every namespace's lo this index */
#define MAX_DUPLICATES 16 /* equal rules that a removal takes away */

static void cleanup_rule(struct rtnl_rule **r)
{
	rtnl_rule_put(*r);
}

static void cleanup_route(struct rtnl_route **r)
{
	rtnl_route_put(*r);
}

static void cleanup_addr(struct nl_addr **a)
{
	nl_addr_put(*a);
}

static struct rtnl_rule *make_rule(int family)
{
	struct rtnl_rule *rule = rtnl_rule_alloc();

	if (!rule)
		return NULL;
	rtnl_rule_set_family(rule, family);
	rtnl_rule_set_mark(rule, AMB_ROUTE_MARK);
	rtnl_rule_set_mask(rule, AMB_ROUTE_MASK);
	rtnl_rule_set_prio(rule, AMB_ROUTE_PRIORITY);
	rtnl_rule_set_table(rule, AMB_ROUTE_TABLE);
	rtnl_rule_set_action(rule, FR_ACT_TO_TBL);
	return rule;
}

/* "local default dev lo table 100" */
static struct rtnl_route *make_route(int family)
{
	_cleanup_(cleanup_route) struct rtnl_route *route = rtnl_route_alloc();
	_cleanup_(cleanup_addr) struct nl_addr *any = nl_addr_build(family, NULL, 0);
	struct rtnl_nexthop *hop;

	if (!route || !any || rtnl_route_set_family(route, family) < 0 ||
	    rtnl_route_set_dst(route, any) < 0)
		return NULL;
	rtnl_route_set_table(route, AMB_ROUTE_TABLE);
	rtnl_route_set_type(route, RTN_LOCAL);
	rtnl_route_set_protocol(route, RTPROT_STATIC);
	rtnl_route_set_scope(route, family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE);
	hop = rtnl_route_nh_alloc();
	if (!hop)
		return NULL;
	rtnl_route_nh_set_ifindex(hop, LOOPBACK_INDEX);
	rtnl_route_add_nexthop(route, hop);
	return take_ptr(route);
}

/* @added: whether the rule is new, so that a failure later on can undo it. */
static int add_family(struct nl_sock *sock, int family, bool *added)
{
	_cleanup_(cleanup_rule) struct rtnl_rule *rule = make_rule(family);
	_cleanup_(cleanup_route) struct rtnl_route *route = make_route(family);
	int err;

	if (!rule || !route)
		return -ENOMEM;
	err = amb_nl_errno(rtnl_route_add(sock, route, NLM_F_REPLACE));
	if (err && err != -EEXIST)
		return err;
	err = amb_nl_errno(rtnl_rule_add(sock, rule, NLM_F_EXCL));
	*added = !err;
	return err == -EEXIST ? 0 : err;
}

static int remove_family(struct nl_sock *sock, int family)
{
	_cleanup_(cleanup_rule) struct rtnl_rule *rule = make_rule(family);
	_cleanup_(cleanup_route) struct rtnl_route *route = make_route(family);
	int err, i;

	if (!rule || !route)
		return -ENOMEM;
	for (i = 0, err = 0; i < MAX_DUPLICATES && !err; i++)
		err = amb_nl_errno(rtnl_rule_delete(sock, rule, 0));
	if (err && err != -ENOENT)
		return err;
	err = amb_nl_errno(rtnl_route_delete(sock, route, 0));
	return err == -ENOENT ? 0 : err;
}

/* The loopback device has an IPv6 address wherever IPv6 is in use at all. */
static bool have_ipv6(void)
{
	_cleanup_file_ FILE *f = fopen("/proc/thread-self/net/if_inet6", "re");

	return f && fgetc(f) != EOF;
}

int amb_route_install(bool ipv6, char *err, unsigned long errlen)
{
	_cleanup_nl_ struct nl_sock *sock = NULL;
	bool added[2] = { false, false };
	int code;

	code = amb_nl_open(&sock);
	if (!code)
		code = add_family(sock, AF_INET, &added[0]);
	if (!code && ipv6 && have_ipv6())
		code = add_family(sock, AF_INET6, &added[1]);
	if (!code)
		return added[0] || added[1];
	snprintf(err, errlen, "policy routing: %s", strerror(-code));
	if (sock && added[0])
		(void)remove_family(sock, AF_INET);
	return code;
}

int amb_route_remove(void)
{
	_cleanup_nl_ struct nl_sock *sock = NULL;
	int err, err6;

	err = amb_nl_open(&sock);
	if (err)
		return err;
	err = remove_family(sock, AF_INET);
	err6 = remove_family(sock, AF_INET6);
	/* A kernel without IPv6 has nothing to remove. */
	if (err6 == -EAFNOSUPPORT || err6 == -EOPNOTSUPP)
		err6 = 0;
	return err ? err : err6;
}
