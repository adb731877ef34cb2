// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One pod's share of the programs.
 *
 * The way back: what the agent sends to an application on behalf of a client has the client's
 * address, so the application's answers would leave the pod. With tcp_fwmark_accept an accepted
 * socket has the mark of the packet that opened it, AMB_ROUTE_MARK, and policy routing sends what
 * has that mark to loopback, where the agent's transparent socket is. No NAT, no tracking.
 *
 * The guard hangs by tcx where the kernel has it (6.6), whose link the pin keeps, else as a
 * filter of clsact, which stays with the interface by itself.
 */
#include "attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pkt_sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "netns.h"
#include "pins.h"
#include "route.h"
#include "veth.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
/* Of linux/bpf.h from 6.6 on. */
#define TCX_INGRESS 46

#define FWMARK_ACCEPT "/proc/sys/net/ipv4/tcp_fwmark_accept"
#define FILTER_HANDLE 1
#define FILTER_PRIORITY 1

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

static void guard_name(char *to, size_t len, uint64_t cookie, uint32_t ifindex)
{
	snprintf(to, len, "pods/%llu-if%u", (unsigned long long)cookie, ifindex);
}

/* The guard */

static int guard_by_filter(int ifindex, int prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = prog, .handle = FILTER_HANDLE,
		    .priority = FILTER_PRIORITY, .flags = BPF_TC_F_REPLACE);
	int err = bpf_tc_hook_create(&hook);

	if (err && err != -EEXIST)
		return err;
	return bpf_tc_attach(&hook, &opts);
}

static void unguard_by_filter(int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);

	(void)bpf_tc_detach(&hook, &opts);
	/* The queueing discipline stays when somebody else hangs there too. */
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	LIBBPF_OPTS(bpf_tc_opts, any);
	if (bpf_tc_query(&hook, &any) == -ENOENT)
		(void)bpf_tc_hook_destroy(&hook);
}

static int guard(const struct amb_bpf *b, uint64_t cookie, const struct amb_veth *v)
{
	const struct amb_if_row row = {
		.netns = cookie,
		.flags = v->primary ? AMB_IF_STRICT : 0,
	};
	uint32_t ifindex = v->host;
	char name[64];
	int err;

	/* First the row: a guard without one lets everything pass. */
	if (bpf_map_update_elem(b->map[AMB_BPF_IF], &ifindex, &row, BPF_ANY))
		return -errno;
	err = amb_netns_enter(NULL);
	if (err)
		return err;
	guard_name(name, sizeof(name), cookie, ifindex);
	err = amb_pins_link(b->dir, b->path, name, b->prog[AMB_BPF_FROM_POD], ifindex,
			    (enum bpf_attach_type)TCX_INGRESS);
	return err == -EINVAL ? guard_by_filter(ifindex, b->prog[AMB_BPF_FROM_POD]) : err;
}

static int guard_all(const struct amb_bpf *b, struct amb_netns *ns, struct amb_attach *a)
{
	struct amb_veth veths[AMB_VETH_MAX];
	int n = amb_veth_find(ns, a->addrs, a->naddrs, veths), i, err;

	a->guarded = 0;
	for (i = 0; i < n; i++) {
		err = guard(b, a->cookie, &veths[i]);
		if (err)
			return err;
		a->guarded++;
	}
	return n < 0 ? n : 0;
}

static void unguard(const struct amb_bpf *b, uint64_t cookie)
{
	uint32_t key, next;
	struct amb_if_row row;
	bool more = !bpf_map_get_next_key(b->map[AMB_BPF_IF], NULL, &key);
	char name[64];

	while (more) {
		more = !bpf_map_get_next_key(b->map[AMB_BPF_IF], &key, &next);
		if (!bpf_map_lookup_elem(b->map[AMB_BPF_IF], &key, &row) && row.netns == cookie) {
			guard_name(name, sizeof(name), cookie, key);
			if (faccessat(b->dir, name, F_OK, 0) && !amb_netns_enter(NULL))
				unguard_by_filter(key);
			amb_pins_remove(b->dir, name);
			bpf_map_delete_elem(b->map[AMB_BPF_IF], &key);
		}
		key = next;
	}
}

/* The way back */

static int write_fwmark(const char *value)
{
	_cleanup_fd_ int fd = open(FWMARK_ACCEPT, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, value, 1) != 1 ? -errno : 0;
}

int amb_attach_fwmark(struct amb_netns *ns)
{
	_cleanup_fd_ int fd = -1;
	int err = amb_netns_enter(ns);
	char now = 0;

	if (err)
		return err;
	fd = open(FWMARK_ACCEPT, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, &now, 1) != 1)
		return -errno;
	return now != '0';
}

static int way_back(struct amb_netns *ns, const struct amb_attach *a, char *err, size_t errlen)
{
	int code = amb_netns_enter(ns);

	if (!code)
		code = amb_route_install(a->ipv6, err, errlen);
	if (code < 0)
		return code;
	code = write_fwmark("1");
	if (code)
		snprintf(err, errlen, FWMARK_ACCEPT);
	return code;
}

/* All of it */

int amb_attach_pod(const struct amb_bpf *b, struct amb_netns *ns, struct amb_attach *a, char *err,
		   size_t errlen)
{
	char name[64];
	int code;

	code = way_back(ns, a, err, errlen);
	if (!code) {
		code = guard_all(b, ns, a);
		if (code)
			snprintf(err, errlen, "guard at the host's end of an interface");
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

void amb_attach_remove(const struct amb_bpf *b, struct amb_netns *ns, uint64_t cookie, bool fwmark)
{
	char name[64];

	lookup_name(name, sizeof(name), cookie);
	amb_pins_remove(b->dir, name);
	unguard(b, cookie);
	if (!ns || amb_netns_enter(ns))
		return;
	(void)amb_route_remove();
	if (fwmark)
		(void)write_fwmark("0");
}

void amb_attach_sweep(const struct amb_bpf *b, bool (*wanted)(void *ctx, uint64_t cookie),
		      void *ctx)
{
	int fd = openat(b->dir, "pods", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((d = readdir(dir))) {
		uint64_t cookie = strtoull(d->d_name, NULL, 10);

		if (cookie && !wanted(ctx, cookie)) {
			unguard(b, cookie);
			unlinkat(fd, d->d_name, 0);
		}
	}
	closedir(dir);
}
