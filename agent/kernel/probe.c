// SPDX-License-Identifier: GPL-2.0-or-later
/* What this kernel lets the agent do, found by doing it. */
#include "probe.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "khbone.h"
#include "netns.h"
#include "probe_ktls.h"

int amb_probe_failed(struct amb_probe *row, const char *step)
{
	int err = errno ? -errno : -EIO;

	snprintf(row->detail, sizeof(row->detail), "%s", step);
	return err;
}

static int probe_netns(struct amb_probe *row)
{
	struct amb_netns *ns = amb_netns_open("/proc/self/ns/net");
	int err;

	if (!ns)
		return amb_probe_failed(row, "open network namespace");
	err = amb_netns_enter(ns);
	amb_netns_put(ns);
	if (!err)
		err = amb_netns_enter(NULL);
	errno = -err;
	return err ? amb_probe_failed(row, "enter network namespace") : 0;
}

static int probe_mark(struct amb_probe *row)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int mark = AMB_MARK;

	if (fd < 0)
		return amb_probe_failed(row, "socket");
	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		return amb_probe_failed(row, "SO_MARK");
	return 0;
}

static int probe_transparent(struct amb_probe *row)
{
	/* A documentation address (RFC 5737) that no host has. */
	struct sockaddr_in foreign = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(0xc0000201) };
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		return amb_probe_failed(row, "socket");
	if (setsockopt(fd, SOL_IP, IP_TRANSPARENT, &one, sizeof(one)))
		return amb_probe_failed(row, "IP_TRANSPARENT");
	if (bind(fd, (struct sockaddr *)&foreign, sizeof(foreign)))
		return amb_probe_failed(row, "bind to a foreign address");
	return 0;
}

static int probe_ipv6(struct amb_probe *row)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	_cleanup_fd_ int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return amb_probe_failed(row, "socket");
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)))
		return amb_probe_failed(row, "bind");
	return 0;
}

static int probe_cubic(struct amb_probe *row)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return amb_probe_failed(row, "socket");
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, AMB_CONGESTION, strlen(AMB_CONGESTION)))
		return amb_probe_failed(row, "TCP_CONGESTION " AMB_CONGESTION);
	return 0;
}

static int probe_kmod(struct amb_probe *row)
{
	errno = -amb_khbone_probe();
	return errno ? amb_probe_failed(row, "generic netlink family " HBONE_GENL_NAME) : 0;
}

static const struct {
	const char *name, *purpose;
	bool needed, used;
	int (*fn)(struct amb_probe *row);
} probes[] = {
	{ "netns", "listen and connect inside pods", true, true, probe_netns },
	{ "mark", "keep the agent's own sockets out of capture", true, true, probe_mark },
	{ "transparent", "keep the client's address towards the application", false, true,
	  probe_transparent },
	{ "ipv6", "pods with IPv6 addresses", false, true, probe_ipv6 },
	{ AMB_CONGESTION, "fast node-local legs on hosts that default to bbr", false, true,
	  probe_cubic },
	{ AMB_PROBE_KTLS, "records of tunnels made by the kernel", false, false, amb_probe_ktls },
	{ AMB_PROBE_REKEY, "kernel TLS takes new keys for old", false, false, amb_probe_rekey },
	{ AMB_PROBE_KMOD, "bytes of tunnels carried by hbone.ko", false, false, probe_kmod },
};

_Static_assert(AMB_ARRAY_SIZE(probes) <= AMB_PROBE_MAX, "rows fit");

size_t amb_probe_run(struct amb_probe *rows)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(probes); i++) {
		rows[i] = (struct amb_probe){
			.name = probes[i].name,
			.purpose = probes[i].purpose,
			.needed = probes[i].needed,
			.used = probes[i].used,
		};
		rows[i].err = probes[i].fn(&rows[i]);
	}
	return i;
}

struct amb_probe *amb_probe_find(struct amb_probe *rows, size_t n, const char *name)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	}
	return NULL;
}
