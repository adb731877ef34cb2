// SPDX-License-Identifier: GPL-2.0-or-later
/* The resolver's configuration of a pod, as far as its network namespace leads to one. */
#include "resolv.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "proxy/dns_conf.h"

/*
 * Opens @path below @root, a process's. What is there belongs to the pod: links must not lead
 * out of it, and opening must not wait for whoever holds the other end of a pipe.
 */
static int open_below(const char *root, const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	_cleanup_fd_ int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

static int open_conf(const char *netns)
{
	static const char named[] = "/run/netns/";
	char root[512];
	int pid, used = 0;

	if (sscanf(netns, "/proc/%d/ns/net%n", &pid, &used) == 1 && used && !netns[used]) {
		snprintf(root, sizeof(root), "/proc/%d/root", pid);
		return open_below(root, "etc/resolv.conf");
	}
	/* Of one workload, whose namespace and files are our own too. */
	if (!strcmp(netns, "/proc/self/ns/net"))
		return open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (!strncmp(netns, "/var", 4))
		netns += 4;
	if (strncmp(netns, named, sizeof(named) - 1) || strchr(netns + sizeof(named) - 1, '/'))
		return -1;
	snprintf(root, sizeof(root), "/etc/netns/%.300s/resolv.conf", netns + sizeof(named) - 1);
	return open(root, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

char *amb_resolv_search(const char *netns)
{
	_cleanup_free_ char *text = malloc(AMB_DNS_CONF_MAX + 1);
	_cleanup_free_ struct amb_dns_conf *conf = malloc(sizeof(*conf));
	_cleanup_fd_ int fd = open_conf(netns);
	struct stat st;
	ssize_t n;

	if (fd < 0 || !text || !conf || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return NULL;
	n = read(fd, text, AMB_DNS_CONF_MAX);
	if (n < 0)
		return NULL;
	text[n] = 0;
	amb_dns_conf_parse(text, conf);
	return strdup(conf->search);
}
