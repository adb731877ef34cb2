// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One pod's share of the programs.
 *
 * The way back: what the agent sends to an application on behalf of a client has the client's
 * address, so the application's answers would leave the pod. With tcp_fwmark_accept an accepted
 * socket has the mark of the packet that opened it, AMB_ROUTE_MARK, and policy routing sends what
 * has that mark to loopback, where the agent's transparent socket is. No NAT, no tracking.
 * With fwmark_reflect the kernel's own answer has it too: the reset when nobody listens.
 *
 * The guard is a filter of clsact, on every kernel: a link of tcx costs a grace period (7 to 15 ms
 * of the main thread, measured on 6.18), a filter a quarter of a millisecond, and each stays when
 * the agent goes. Ours is told from others by its handle.
 *
 * Where what needs an agent is to wait while none runs, a filter of the same kind at the pod's
 * loopback interface keeps from its programs that nobody is there. It costs each packet between
 * them and the agent a look, so it is there only where it is wanted.
 *
 * Under a CNI's rules the agent has no listener that is looked up, and its way back is the rules':
 * the routes that we would make are the CNI's, not to be taken away. What is opened there is a
 * second filter, at the pod's end, and a table beside the CNI's (nft.c).
 */
#include "attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pkt_sched.h>
#include <netlink/route/classifier.h>
#include <netlink/route/qdisc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "netns.h"
#include "nft.h"
#include "nl.h"
#include "pins.h"
#include "route.h"
#include "sockdiag.h"
#include "veth.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#define LO 1 /* index of every namespace's loopback interface */
#define FILTER_HANDLE 0x616d6264 /* AMB_MAGIC: nobody else's */
#define FILTER_PRIORITY 1 /* before what may let packets pass for good */

int amb_attach_cookie(struct amb_netns *ns, uint64_t *cookie)
{
	_cleanup_fd_ int fd = amb_netns_socket(ns, AF_INET, 0);
	socklen_t len = sizeof(*cookie);

	if (fd < 0)
		return fd;
	return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &len) ? -errno : 0;
}

static void lookup_name(char *to, size_t len, uint64_t cookie)
{
	snprintf(to, len, "pods/%llu-lookup", (unsigned long long)cookie);
}

/* The guard */

/*
 * @ours: the queueing discipline was not there before, or an agent before has a filter there whose
 * row is lost. Should it be another's after all, his filters keep it from being removed.
 */
static int add_filter(int ifindex, int prog, bool *ours)
{
	LIBBPF_OPTS(bpf_tc_opts, query, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = prog, .handle = FILTER_HANDLE,
		    .priority = FILTER_PRIORITY, .flags = BPF_TC_F_REPLACE);
	int err = bpf_tc_hook_create(&hook);

	*ours = !err || !bpf_tc_query(&hook, &query);
	if (err && err != -EEXIST)
		return err;
	return bpf_tc_attach(&hook, &opts);
}

/* Does any filter hang on the interface, of whomever? When in doubt: yes. */
static bool has_filters(int ifindex)
{
	static const uint32_t sides[] = { TC_H_MIN_INGRESS, TC_H_MIN_EGRESS };
	_cleanup_nl_ struct nl_sock *sk = NULL;
	bool any = amb_nl_open(&sk) != 0;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(sides) && !any; i++) {
		struct nl_cache *filters = NULL;

		any = rtnl_cls_alloc_cache(sk, ifindex, TC_H_MAKE(TC_H_CLSACT, sides[i]),
					   &filters) ||
		      nl_cache_nitems(filters);
		if (filters)
			nl_cache_free(filters);
	}
	return any;
}

static void remove_filter(int ifindex, bool ours)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);

	(void)bpf_tc_detach(&hook, &opts);
	if (!ours || has_filters(ifindex))
		return;
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	(void)bpf_tc_hook_destroy(&hook);
}

/* The filter at the pod's end, where @row says that there is one. */
static void remove_inner(struct amb_netns *ns, const struct amb_if_row *row)
{
	if (row->inner && ns && !amb_netns_enter(ns))
		remove_filter(row->inner, row->flags & AMB_IF_CLSACT_POD);
}

/* Puts @prog at interface @at of @ns. Who made the discipline is noted as @flag of the row. */
static int guard_end(const struct amb_bpf *b, struct amb_netns *ns, int at, enum amb_bpf_prog prog,
		     uint32_t ifindex, struct amb_if_row *row, enum amb_if_flag flag)
{
	int err = amb_netns_enter(ns);
	bool ours;

	if (!err)
		err = add_filter(at, b->prog[prog], &ours);
	if (err || !ours)
		return err;
	row->flags |= flag;
	return bpf_map_update_elem(b->map[AMB_BPF_IF], &ifindex, row, BPF_ANY) ? -errno : 0;
}

static int guard(const struct amb_bpf *b, struct amb_netns *ns, const struct amb_attach *a,
		 const struct amb_veth *v)
{
	struct amb_if_row row = { 0 }, old;
	uint32_t ifindex = v->host;
	int err;

	/* An agent before may have made the disciplines, and wanted both ends looked at. */
	if (!bpf_map_lookup_elem(b->map[AMB_BPF_IF], &ifindex, &old) && old.netns == a->cookie) {
		row.flags = old.flags & AMB_IF_CLSACT;
		if (a->rules)
			row.flags |= old.flags & AMB_IF_CLSACT_POD;
		else
			remove_inner(ns, &old);
	}
	row.netns = a->cookie;
	/* What the mesh does not know it by is no concern of the direct way. */
	if (a->rules)
		row.flags |= AMB_IF_RULES;
	else if (v->primary)
		row.flags |= AMB_IF_STRICT;
	row.inner = a->rules ? v->pod : 0;
	/* First the row: a guard without one lets everything pass. */
	if (bpf_map_update_elem(b->map[AMB_BPF_IF], &ifindex, &row, BPF_ANY))
		return -errno;
	err = guard_end(b, NULL, ifindex, AMB_BPF_FROM_POD, ifindex, &row, AMB_IF_CLSACT);
	if (!err && a->rules)
		err = guard_end(b, ns, v->pod, AMB_BPF_TO_POD, ifindex, &row, AMB_IF_CLSACT_POD);
	return err;
}

static int guard_all(const struct amb_bpf *b, struct amb_netns *ns, struct amb_attach *a)
{
	struct amb_veth veths[AMB_VETH_MAX];
	int n = amb_veth_find(ns, a->addrs, a->naddrs, veths), i, err;

	a->guarded = 0;
	for (i = 0; i < n; i++) {
		err = guard(b, ns, a, &veths[i]);
		if (err)
			return err;
		a->guarded++;
	}
	return n < 0 ? n : 0;
}

/* The pod's row says already who made the discipline. */
static int guard_lo(const struct amb_bpf *b, struct amb_netns *ns)
{
	bool ours;

	return amb_netns_enter(ns) ?: add_filter(LO, b->prog[AMB_BPF_LO], &ours);
}

void amb_attach_unwait(struct amb_netns *ns, uint32_t flags)
{
	if (flags & AMB_POD_WAIT && !amb_netns_enter(ns))
		remove_filter(LO, flags & AMB_POD_CLSACT);
}

static void unguard_end(const struct amb_bpf *b, struct amb_netns *ns, uint32_t ifindex,
			const struct amb_if_row *row)
{
	if (!amb_netns_enter(NULL))
		remove_filter(ifindex, row->flags & AMB_IF_CLSACT);
	remove_inner(ns, row);
	bpf_map_delete_elem(b->map[AMB_BPF_IF], &ifindex);
}

/* Of all pods that @is says are meant; @ns is theirs, or NULL. */
static void unguard(const struct amb_bpf *b, struct amb_netns *ns,
		    bool (*is)(void *ctx, uint64_t cookie), void *ctx)
{
	uint32_t key, next;
	struct amb_if_row row;
	bool more = !bpf_map_get_next_key(b->map[AMB_BPF_IF], NULL, &key);

	while (more) {
		more = !bpf_map_get_next_key(b->map[AMB_BPF_IF], &key, &next);
		if (!bpf_map_lookup_elem(b->map[AMB_BPF_IF], &key, &row) && is(ctx, row.netns))
			unguard_end(b, ns, key, &row);
		key = next;
	}
}

static bool is_pod(void *ctx, uint64_t cookie)
{
	return *(const uint64_t *)ctx == cookie;
}

/* The way back */

static const struct {
	uint32_t flag;
	const char *path;
} switches[] = {
	{ AMB_POD_FWMARK, "/proc/sys/net/ipv4/tcp_fwmark_accept" },
	{ AMB_POD_REFLECT, "/proc/sys/net/ipv4/fwmark_reflect" },
	{ AMB_POD_REFLECT6, "/proc/sys/net/ipv6/fwmark_reflect" },
};

static int write_switch(const char *path, const char *value)
{
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, value, 1) != 1 ? -errno : 0;
}

/* 1, 0, or -errno. */
static int read_switch(const char *path)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char now;

	return fd < 0 || read(fd, &now, 1) != 1 ? -errno : now != '0';
}

/* 1, 0, or -errno. */
static int has_clsact(int ifindex)
{
	_cleanup_nl_ struct nl_sock *sk = NULL;
	struct rtnl_qdisc *found;
	struct nl_cache *all;
	int err = amb_nl_open(&sk);

	if (!err)
		err = amb_nl_errno(rtnl_qdisc_alloc_cache(sk, &all));
	if (err)
		return err;
	found = rtnl_qdisc_get(all, ifindex, TC_H_MAKE(TC_H_CLSACT, 0));
	rtnl_qdisc_put(found);
	nl_cache_free(all);
	return !!found;
}

int amb_attach_off(struct amb_netns *ns, bool wait)
{
	int ret = amb_netns_enter(ns), on;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(switches) && ret >= 0; i++) {
		on = read_switch(switches[i].path);
		/* Without IPv6 there is none. */
		if (on < 0 && !(on == -ENOENT && switches[i].flag == AMB_POD_REFLECT6))
			ret = on;
		else if (!on)
			ret |= (int)switches[i].flag;
	}
	if (ret < 0 || !wait)
		return ret;
	on = has_clsact(LO);
	return on < 0 ? on : on ? ret : ret | AMB_POD_CLSACT;
}

static int way_back(struct amb_netns *ns, const struct amb_attach *a, char *err, size_t errlen)
{
	int code = amb_netns_enter(ns);
	size_t i;

	if (!code)
		code = amb_route_install(a->ipv6, err, errlen);
	if (code < 0)
		return code;
	for (i = 0, code = 0; i < AMB_ARRAY_SIZE(switches) && !code; i++) {
		if (switches[i].flag == AMB_POD_REFLECT6 && !a->ipv6)
			continue;
		code = write_switch(switches[i].path, "1");
		if (code == -ENOENT && switches[i].flag == AMB_POD_REFLECT6)
			code = 0;
		if (code)
			snprintf(err, errlen, "%s", switches[i].path);
	}
	return code;
}

/* Beside a CNI's rules. Without the guard an address proves nothing there, so all of it or none. */
static int beside_rules(const struct amb_bpf *b, struct amb_netns *ns, struct amb_attach *a,
			char *err, size_t errlen)
{
	int code = amb_nft_direct_install(ns, a->ipv6, err, errlen);

	if (code)
		return code;
	code = guard_all(b, ns, a);
	if (code)
		snprintf(err, errlen, "guard at the ends of an interface");
	if (!code && !a->guarded) {
		snprintf(err, errlen,
			 "no veth interface with its other end in the agent's "
			 "network namespace");
		code = -ENODEV;
	}
	return code;
}

/* All of it */

int amb_attach_pod(const struct amb_bpf *b, struct amb_netns *ns, struct amb_attach *a, char *err,
		   size_t errlen)
{
	char name[64];
	int code;

	if (a->rules)
		return beside_rules(b, ns, a, err, errlen);
	code = way_back(ns, a, err, errlen);
	if (!code) {
		code = guard_all(b, ns, a);
		if (code)
			snprintf(err, errlen, "guard at the host's end of an interface");
	}
	if (!code && a->wait) {
		code = guard_lo(b, ns);
		if (code)
			snprintf(err, errlen, "filter at the loopback interface");
	}
	if (!code) {
		lookup_name(name, sizeof(name), a->cookie);
		code = amb_pins_link(b->dir, b->path, name, b->prog[AMB_BPF_LOOKUP], ns->fd,
				     BPF_SK_LOOKUP);
		if (code)
			snprintf(err, errlen, "socket look-up program");
	}
	return code;
}

static void remove_lookup(const struct amb_bpf *b, uint64_t cookie)
{
	char name[64];

	lookup_name(name, sizeof(name), cookie);
	amb_pins_remove(b->dir, name);
}

/* Those of @flags, in the namespace that the thread is in. */
static void switch_off(uint32_t flags)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(switches); i++)
		if (flags & switches[i].flag)
			(void)write_switch(switches[i].path, "0");
}

static void remove_direct(struct amb_netns *ns)
{
	int err = amb_nft_direct_remove(ns);

	if (err)
		amb_warn(KERNEL,
			 "the table that leads past a CNI's rules stays in a pod: %s, continuing",
			 strerror(-err));
}

void amb_attach_remove(const struct amb_bpf *b, struct amb_netns *ns, uint64_t cookie,
		       uint32_t flags)
{
	remove_lookup(b, cookie);
	unguard(b, ns, is_pod, &cookie);
	if (!ns || amb_netns_enter(ns))
		return;
	if (flags & AMB_POD_RULES) {
		remove_direct(ns);
		/* As its tunnels do; nobody would judge them any more. */
		(void)amb_sockdiag_destroy_marked(ns, AMB_DIRECT_MARK);
		return;
	}
	(void)amb_route_remove();
	switch_off(flags);
	amb_attach_unwait(ns, flags);
}

void amb_attach_turn(const struct amb_bpf *b, struct amb_netns *ns, uint64_t cookie, uint32_t flags)
{
	if (flags & AMB_POD_RULES) {
		remove_direct(ns);
		return;
	}
	remove_lookup(b, cookie);
	amb_attach_unwait(ns, flags);
	/* The routes are the CNI's by now, which makes the same. */
	if (!amb_netns_enter(ns))
		switch_off(flags);
}

struct sweep {
	bool (*wanted)(void *ctx, uint64_t cookie);
	void *ctx;
};

static bool is_unwanted(void *ctx, uint64_t cookie)
{
	const struct sweep *s = ctx;

	return !s->wanted(s->ctx, cookie);
}

void amb_attach_sweep(const struct amb_bpf *b, bool (*wanted)(void *ctx, uint64_t cookie),
		      void *ctx)
{
	struct sweep s = { wanted, ctx };
	int fd = openat(b->dir, "pods", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	unguard(b, NULL, is_unwanted, &s);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((d = readdir(dir))) {
		uint64_t cookie = strtoull(d->d_name, NULL, 10);

		if (cookie && !wanted(ctx, cookie))
			unlinkat(fd, d->d_name, 0);
	}
	closedir(dir);
}
