/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A listening socket in a pod's network namespace, one per worker and port. */
#ifndef AMB_LISTENER_H
#define AMB_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <urcu/list.h>

#include "base/addr.h"
#include "base/loop.h"

struct amb_pod;
struct amb_worker;

/* @fd is owned by the callee; @src is the TCP peer. */
typedef void amb_listener_fn(struct amb_pod *pod, int fd, const struct amb_endpoint *src);

struct amb_listener {
	struct amb_io io; /* fd -1: closed */
	struct cds_list_head paused;
	struct amb_pod *pod;
	amb_listener_fn *accepted;
	uint8_t burst; /* accepts to try in one turn */
};

#define AMB_LISTENER_BACKLOG 1024
#define AMB_LISTENER_BURST 16 /* connections a listener may take per turn */
#define AMB_LISTENER_PAUSE_NS 100000000ull /* after the fd table was full */

/*
 * Listens on @port of the pod: [::] dual stack when @ipv6 and there, else 0.0.0.0.
 * @keepalive: accepted sockets inherit it. *@transparent: in, ask for it; out, got it.
 * 0 or -errno.
 */
int amb_listener_open(struct amb_listener *l, struct amb_pod *pod, uint16_t port, bool keepalive,
		      bool *transparent, amb_listener_fn *accepted);
/* Listens on address and port @at alone, in its own family. 0 or -errno. */
int amb_listener_open_at(struct amb_listener *l, struct amb_pod *pod, const struct amb_endpoint *at,
			 amb_listener_fn *accepted);
void amb_listener_close(struct amb_listener *l);
/* Of amb_netns_socket(), for what listens in @pod. */
unsigned int amb_listener_flags(const struct amb_pod *pod);

/* Timer function of the worker: tries again after a full fd table. */
void amb_listener_resume(struct amb_timer *t);

#endif
