/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is not known of the mesh, asked for by name (ztunnel-interop 1.4, 1.9) and waited for:
 * XDS_ON_DEMAND. Workers wait, the main thread asks, once for all who wait for a name.
 */
#ifndef AMB_DEMAND_H
#define AMB_DEMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

struct amb_addr;
struct amb_demand;
struct amb_demand_entry;
struct amb_env;

#define AMB_DEMAND_STEPS 8 /* names that one connection may need: address, waypoint, gateway */
#define AMB_DEMAND_WAIT_NS 5000000000ull /* for what a decision needs */
#define AMB_DEMAND_TELL_NS 1000000000ull /* for what telemetry only would like to know */

/*
 * Asks the control plane for @name (valid during the call); main thread. Each ask is answered
 * once, by amb_demand_answer(), from within or later.
 */
typedef void amb_demand_ask_fn(void *ctx, const char *name);

/* @main outlives it. NULL: out of memory. */
struct amb_demand *amb_demand_create(struct amb_loop *main, amb_demand_ask_fn *ask, void *ctx);
/* Nobody waits any more, the main loop does not run. NULL is accepted. */
void amb_demand_destroy(struct amb_demand *d);

/* What there is of @name is in the state by now (@err 0), or it cannot be known. Main thread. */
void amb_demand_answer(struct amb_demand *d, const char *name, int err);

/* Embedded in what waits, zero-initialised; the owner sets fn, all else is the store's. */
struct amb_demand_waiter {
	/* 0, -ETIMEDOUT, or why it cannot be known. */
	void (*fn)(struct amb_demand_waiter *w, int err);
	struct amb_demand *demand;
	struct amb_loop *loop; /* NULL: does not wait */
	struct amb_demand_entry *entry; /* under the lock; NULL: answered */
	struct amb_demand_waiter *next, **prev; /* of the entry */
	struct amb_work work;
	struct amb_timer timer;
	int err;
};

/*
 * Waits up to @timeout_ns. 0: fn will be called on @loop, whose thread this is, never from
 * within; or -ENOMEM.
 */
int amb_demand_wait(struct amb_demand *d, const char *name, struct amb_loop *loop,
		    uint64_t timeout_ns, struct amb_demand_waiter *w);
/*
 * Waits a moment for the workload of a connection's source, for telemetry. False: no need to,
 * nothing is asked on demand, or it is known.
 */
bool amb_demand_source(const struct amb_env *env, struct amb_loop *loop, const struct amb_addr *src,
		       struct amb_demand_waiter *w);
/* Gives up; fn is not called. Loop thread. Idempotent. */
void amb_demand_cancel(struct amb_demand_waiter *w);

#endif
