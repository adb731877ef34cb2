// SPDX-License-Identifier: GPL-2.0-or-later
/* What this kernel lets the agent do, found by doing it. */
#include "probe.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "netns.h"

#ifndef TCP_ULP
#define TCP_ULP 31
#endif
#ifndef SOL_TLS
#define SOL_TLS 282
#endif

/* Notes the step that failed; to be called before anything can change errno. */
static int failed(struct amb_probe *row, const char *step)
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
		return failed(row, "open network namespace");
	err = amb_netns_enter(ns);
	amb_netns_put(ns);
	if (!err)
		err = amb_netns_enter(NULL);
	errno = -err;
	return err ? failed(row, "enter network namespace") : 0;
}

static int probe_mark(struct amb_probe *row)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int mark = AMB_MARK;

	if (fd < 0)
		return failed(row, "socket");
	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		return failed(row, "SO_MARK");
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
		return failed(row, "socket");
	if (setsockopt(fd, SOL_IP, IP_TRANSPARENT, &one, sizeof(one)))
		return failed(row, "IP_TRANSPARENT");
	if (bind(fd, (struct sockaddr *)&foreign, sizeof(foreign)))
		return failed(row, "bind to a foreign address");
	return 0;
}

static int probe_ipv6(struct amb_probe *row)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	_cleanup_fd_ int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return failed(row, "socket");
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)))
		return failed(row, "bind");
	return 0;
}

static int probe_cubic(struct amb_probe *row)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return failed(row, "socket");
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, AMB_CONGESTION, strlen(AMB_CONGESTION)))
		return failed(row, "TCP_CONGESTION " AMB_CONGESTION);
	return 0;
}

/* A connected pair on loopback: kernel TLS wants an established socket. */
static int tcp_pair(int pair[2])
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	_cleanup_fd_ int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_fd_ int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int a;

	if (l < 0 || c < 0 || bind(l, (struct sockaddr *)&addr, len) || listen(l, 1) ||
	    getsockname(l, (struct sockaddr *)&addr, &len) ||
	    connect(c, (struct sockaddr *)&addr, len))
		return -1;
	a = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	if (a < 0)
		return -1;
	pair[0] = a;
	pair[1] = take_fd(&c);
	return 0;
}

/* Attaching the ULP succeeds on kernels that then refuse keys: only keys tell. */
static int probe_ktls(struct amb_probe *row)
{
	struct tls12_crypto_info_aes_gcm_128 key = {
		.info = { .version = TLS_1_3_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128 },
	};
	_cleanup_fd_ int a = -1;
	_cleanup_fd_ int b = -1;
	int pair[2];

	if (tcp_pair(pair))
		return failed(row, "connection over loopback");
	a = pair[0];
	b = pair[1];
	if (setsockopt(a, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")))
		return failed(row, "TCP_ULP tls");
	if (setsockopt(a, SOL_TLS, TLS_TX, &key, sizeof(key)))
		return failed(row, "TLS_TX keys");
	if (setsockopt(a, SOL_TLS, TLS_RX, &key, sizeof(key)))
		return failed(row, "TLS_RX keys");
	return 0;
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
	{ "ktls", "record layer in the kernel", false, false, probe_ktls },
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
