/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TCP connects out of a pod's network namespace, asynchronous, with a deadline. */
#ifndef AMB_DIAL_H
#define AMB_DIAL_H

#include <stdbool.h>

#include "ambient/reason.h"
#include "base/addr.h"
#include "base/loop.h"

struct amb_netns;

/* Embedded in what dials. Zero-initialised is idle. */
struct amb_dial {
	struct amb_io io;
	struct amb_timer timer;
	struct amb_loop *loop; /* NULL: idle */
	/* @fd connected and owned by the callee, or -errno (-ETIMEDOUT: the deadline) */
	void (*done)(struct amb_dial *d, int fd);
};

struct amb_dial_to {
	struct amb_netns *netns;
	struct amb_endpoint dst;
	const struct amb_addr *src; /* not NULL: connect from this address */
	bool transparent; /* @src is not the pod's: IP_TRANSPARENT, IP_FREEBIND */
	bool src_required; /* fail rather than go without @src */
	bool local; /* within the pod: the kernel tells of its end, no keepalive needed */
	bool marked_back; /* answers to a foreign @src are routed back by AMB_ROUTE_MARK */
	uint64_t timeout_ns;
};

/*
 * Returns the connected descriptor when that took no wait (the usual case over veth and
 * loopback), -EINPROGRESS when done() will be called, or another -errno.
 */
int amb_dial_start(struct amb_dial *d, struct amb_loop *loop, const struct amb_dial_to *to);
/* The reason that goes with a failed dial: TIMEOUT, LIMIT (no descriptors, memory) or CONNECT. */
enum amb_reason amb_dial_reason(int err);
/* Gives up; done() is not called. Harmless when idle. */
void amb_dial_cancel(struct amb_dial *d);

#endif
