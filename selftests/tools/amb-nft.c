// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent's interception and sockets without the agent, for tests.
 *
 *   amb-nft install NETNS [ipv4] [dns] [ingress]    ("ipv4": no rules for IPv6)
 *   amb-nft remove NETNS
 *   amb-nft listen NETNS PORT      prints "ready", then "PEER -> ORIGINAL-DESTINATION" each
 *   amb-nft dial NETNS ADDRESS:PORT [SOURCE]   a marked socket: prints one line received
 */
#include "base/cleanup.h"
#include "kernel/netns.h"
#include "kernel/nft.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, int err)
{
	fprintf(stderr, "amb-nft: %s: %s\n", what, strerror(-err));
	return 1;
}

static int install(struct amb_netns *ns, char **words)
{
	struct amb_nft_config config = { .ipv6 = true };
	char text[160] = "";
	int err;

	for (; *words; words++) {
		if (!strcmp(*words, "ipv4"))
			config.ipv6 = false;
		else if (!strcmp(*words, "dns"))
			config.dns_capture = true;
		else if (!strcmp(*words, "ingress"))
			config.ingress_mode = true;
		else
			return fail(*words, -EINVAL);
	}
	err = amb_nft_install(ns, &config, text, sizeof(text));
	return err ? fail(text, err) : 0;
}

/* Accepts for ever; each client gets the line that is printed, then the end. */
static int listen_on(struct amb_netns *ns, const char *port)
{
	_cleanup_fd_ int fd = -1;
	struct sockaddr_storage ss;
	struct amb_endpoint e = { 0 };
	socklen_t len;

	fd = amb_netns_socket(ns, AF_INET6, AMB_SOCK_LISTENER | AMB_SOCK_TRANSPARENT);
	if (fd < 0)
		return fail("socket", fd);
	e.port = atoi(port);
	len = amb_endpoint_to_sockaddr(&e, AF_INET6, &ss);
	if (bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, 16) < 0)
		return fail("listen", -errno);
	fcntl(fd, F_SETFL, 0);
	puts("ready");
	fflush(stdout);
	for (;;) {
		char peer[AMB_ENDPOINT_STRLEN], orig[AMB_ENDPOINT_STRLEN];
		_cleanup_fd_ int conn = -1;
		struct amb_endpoint from, to;
		int err;

		len = sizeof(ss);
		conn = accept(fd, (struct sockaddr *)&ss, &len);
		if (conn < 0)
			return fail("accept", -errno);
		amb_endpoint_from_sockaddr((struct sockaddr *)&ss, &from);
		err = amb_netns_original_dst(conn, &to);
		/* Where no rule is, nothing remembers connections: it came as it is. */
		if (err == -ENOENT || err == -ENOPROTOOPT) {
			len = sizeof(ss);
			getsockname(conn, (struct sockaddr *)&ss, &len);
			err = amb_endpoint_from_sockaddr((struct sockaddr *)&ss, &to);
		}
		if (err)
			return fail("original destination", err);
		dprintf(conn, "%s\n", amb_endpoint_format(&to, orig));
		printf("%s -> %s\n", amb_addr_format(&from.addr, peer), orig);
		fflush(stdout);
	}
}

static int dial(struct amb_netns *ns, const char *to, const char *source)
{
	struct amb_endpoint e, src = { 0 };
	struct sockaddr_storage ss;
	struct pollfd p = { .events = POLLOUT };
	_cleanup_fd_ int fd = -1;
	char line[128];
	socklen_t len;
	ssize_t n;

	if (amb_endpoint_parse(to, &e) || (source && amb_addr_parse(source, &src.addr)))
		return fail(to, -EINVAL);
	len = amb_endpoint_to_sockaddr(&e, AF_UNSPEC, &ss);
	fd = amb_netns_socket(ns, ss.ss_family, source ? AMB_SOCK_TRANSPARENT : 0);
	if (fd < 0)
		return fail("socket", fd);
	if (source) {
		struct sockaddr_storage from;
		socklen_t flen = amb_endpoint_to_sockaddr(&src, AF_UNSPEC, &from);

		if (bind(fd, (struct sockaddr *)&from, flen) < 0)
			return fail("bind", -errno);
	}
	fcntl(fd, F_SETFL, 0);
	if (connect(fd, (struct sockaddr *)&ss, len) < 0)
		return fail("connect", -errno);
	p.fd = fd;
	p.events = POLLIN;
	if (poll(&p, 1, 20000) != 1)
		return fail("read", -ETIMEDOUT);
	n = read(fd, line, sizeof(line));
	if (n <= 0)
		return fail("read", n ? -errno : -ECONNRESET);
	fwrite(line, 1, n, stdout);
	return 0;
}

int main(int argc, char **argv)
{
	struct amb_netns *ns;
	int rc = 2;

	if (argc < 3)
		return 2;
	ns = amb_netns_open(argv[2]);
	if (!ns)
		return fail(argv[2], -errno);
	if (!strcmp(argv[1], "install"))
		rc = install(ns, argv + 3);
	else if (!strcmp(argv[1], "remove"))
		rc = amb_nft_remove(ns) ? 1 : 0;
	else if (!strcmp(argv[1], "listen") && argc == 4)
		rc = listen_on(ns, argv[3]);
	else if (!strcmp(argv[1], "dial") && argc >= 4)
		rc = dial(ns, argv[3], argv[4]);
	amb_netns_put(ns);
	return rc;
}
