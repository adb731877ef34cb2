/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The outgoing HBONE connections of one pod on one worker, shared by streams of equal source
 * identity, destination and expected identities.
 */
#ifndef AMB_POOL_H
#define AMB_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <urcu/list.h>

#include "flow.h"
#include "hbone.h"

struct amb_pod;
struct amb_pool_peer;

#define AMB_POOL_IDLE_MAX 500 /* connections without streams per pod and worker */
#define AMB_POOL_SPARE_NS 500000000ull /* a second idle connection to the same peer is kept */
#define AMB_POOL_DIALS_MAX 4 /* at once to one peer */
#define AMB_POOL_WAITERS_MAX 16384 /* for one peer */

struct amb_pool {
	struct amb_pod *pod;
	struct amb_pool_peer **buckets;
	uint32_t nbuckets, npeers, ntunnels;
};

struct amb_pool_key {
	struct amb_identity *src;
	struct amb_endpoint dst;
	const struct amb_identset *expect;
	bool keep; /* see amb_hbone_keep */
};

/* Why there is no connection; @text is valid during the call only. */
struct amb_pool_error {
	enum amb_reason reason;
	enum amb_flag flag;
	const char *text;
};

/*
 * Embedded in what waits. fn is called once: @c has room for a stream now, or is NULL with
 * @err.
 */
struct amb_pool_waiter {
	struct cds_list_head node;
	struct amb_pool_peer *peer; /* NULL: not waiting */
	void (*fn)(struct amb_pool_waiter *w, struct amb_hbone *c,
		   const struct amb_pool_error *err);
};

void amb_pool_init(struct amb_pool *pool, struct amb_pod *pod);

/*
 * Calls w->fn with a connection that has room: at once when there is one, else when one is
 * dialled. The key is copied.
 */
void amb_pool_get(struct amb_pool *pool, const struct amb_pool_key *key, struct amb_pool_waiter *w);
/* Gives up waiting; harmless when not waiting. */
void amb_pool_cancel(struct amb_pool_waiter *w);

/* Housekeeping: releases idle and retired connections. True while any is left. */
bool amb_pool_sweep(struct amb_pool *pool, uint64_t now);
/* GOAWAY on all; they end with their streams. */
void amb_pool_drain(struct amb_pool *pool);
/* Ends all connections at once; waiters get @reason. The pool can be used again. */
void amb_pool_abort(struct amb_pool *pool, enum amb_reason reason);
void amb_pool_uninit(struct amb_pool *pool);

#endif
