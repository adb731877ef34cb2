/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host names, resolved by the agent's own resolver in its own network namespace, off the
 * loops' threads, with a bounded cache.
 */
#ifndef AMB_RESOLVE_H
#define AMB_RESOLVE_H

#include <stdbool.h>

#include "addr.h"
#include "loop.h"

struct amb_resolver;
struct amb_resolve_job;

#define AMB_RESOLVE_CACHE 4096 /* names */
#define AMB_RESOLVE_QUEUE 1024 /* names being resolved or waiting for it */
#define AMB_RESOLVE_TTL_NS 30000000000ull /* getaddrinfo() does not tell a TTL */
#define AMB_RESOLVE_NEGATIVE_NS 5000000000ull /* a name that does not resolve */

/* NULL: out of memory. The thread starts with the first name. */
struct amb_resolver *amb_resolver_create(void);
/* Names under way are given up; no waiter may be left. NULL is accepted. */
void amb_resolver_destroy(struct amb_resolver *r);

/* Embedded in what waits. */
struct amb_resolve_waiter {
	struct amb_work work;
	struct amb_loop *loop;
	struct amb_resolve_job *job; /* NULL: not waiting */
	bool prefer_v6;
	int err;
	struct amb_addr addr;
	void (*fn)(struct amb_resolve_waiter *w, int err, const struct amb_addr *addr);
	struct amb_resolve_waiter *next;
};

/*
 * One of the addresses of @name, at random, of the preferred family when there is one. 0 and
 * @out; -EINPROGRESS: w->fn is called on @loop; -ENOENT: does not resolve; -EBUSY: too many.
 */
int amb_resolve(struct amb_resolver *r, const char *name, bool prefer_v6, struct amb_loop *loop,
		struct amb_resolve_waiter *w, struct amb_addr *out);
/* Gives up; fn is not called. On the waiter's loop thread; harmless when not waiting. */
void amb_resolve_cancel(struct amb_resolver *r, struct amb_resolve_waiter *w);

#endif
