/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network namespaces: opened once, entered per thread, sockets made inside. */
#ifndef AMB_NETNS_H
#define AMB_NETNS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ambient/ports.h"
#include "base/addr.h"

/* A namespace held by descriptor. Counted; equal ones have equal dev and ino. */
struct amb_netns {
	uint32_t refs;
	int fd;
	int diag; /* of sockdiag.c, -1: not yet; main thread */
	dev_t dev;
	ino_t ino;
};

/*
 * Takes over @fd (of /proc/PID/ns/net or a bind mount), also on failure; checks that it is a
 * netns (else EINVAL). NULL: errno.
 */
struct amb_netns *amb_netns_take(int fd);
/* Opens by path ("/run/netns/x", "/proc/PID/ns/net"). NULL: errno. */
struct amb_netns *amb_netns_open(const char *path);
struct amb_netns *amb_netns_get(struct amb_netns *ns);
void amb_netns_put(struct amb_netns *ns);

/*
 * Puts the calling thread into @ns (NULL: the agent's own). Free of cost when it is there
 * already: a thread stays where it was last, so everything that cares says where. The first call
 * in the process must come from the agent's own namespace. 0 or -errno.
 */
int amb_netns_enter(struct amb_netns *ns);

static inline bool amb_netns_eq(const struct amb_netns *a, const struct amb_netns *b)
{
	return a->ino == b->ino && a->dev == b->dev;
}
/* True when @ns is the namespace that the agent was started in. */
bool amb_netns_is_own(const struct amb_netns *ns);
/* Another mark than AMB_MARK, for a CNI whose rules know another (PACKET_MARK). */
void amb_netns_set_mark(uint32_t mark);

/* What AMB_SOCK_KEEPALIVE stands for. Seconds from 1 to 32767, probes from 1 to 127. */
struct amb_keepalive {
	bool enabled;
	bool user_timeout; /* data that is not acknowledged ends a connection as probes would */
	uint16_t time_s, interval_s;
	uint8_t probes;
};
#define AMB_KEEPALIVE_DEFAULTS                                                                     \
	{                                                                                          \
		.enabled = true, .time_s = 180, .interval_s = 180, .probes = 9                     \
	}
#define AMB_KEEPALIVE_S_MAX 32767
#define AMB_KEEPALIVE_PROBES_MAX 127
/* Before any thread makes sockets. */
void amb_netns_set_keepalive(const struct amb_keepalive *k);

#define AMB_SOCK_TRANSPARENT (1u << 0) /* IP_TRANSPARENT, binds any address; failure is an error */
#define AMB_SOCK_LISTENER (1u << 1) /* SO_REUSEADDR, SO_REUSEPORT; v6 sockets are dual stack */
#define AMB_SOCK_KEEPALIVE (1u << 2) /* probed, and given up, as amb_netns_set_keepalive() said */
#define AMB_SOCK_BACK (1u << 3) /* marked AMB_ROUTE_MARK instead: attach.h's way back */
#define AMB_SOCK_EXCLUSIVE (1u << 4) /* a listener without SO_REUSEPORT */
#define AMB_SOCK_UDP (1u << 5) /* instead of TCP, without what only TCP has */

/*
 * A non-blocking TCP socket made inside @ns: marked, TCP_NODELAY, congestion control
 * AMB_CONGESTION (a host's bbr is slow on veth: kernel-facts 3). Returns the descriptor or
 * -errno.
 */
#define AMB_CONGESTION "cubic"
int amb_netns_socket(struct amb_netns *ns, int family, unsigned int flags);

/* Original destination of a redirected connection (SO_ORIGINAL_DST, v4 and v6). 0 or -errno. */
int amb_netns_original_dst(int fd, struct amb_endpoint *out);

#endif
