/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config_dump and its parts, as JSON text made piece by piece: ten thousand workloads neither
 * fill the memory nor hold up the main loop.
 */
#ifndef AMB_DUMP_H
#define AMB_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "ops.h"

struct amb_dump;

/* Top-level keys; a dump has those of its set, in this order. */
#define AMB_DUMP_WORKLOADS (1u << 0)
#define AMB_DUMP_SERVICES (1u << 1)
#define AMB_DUMP_POLICIES (1u << 2)
#define AMB_DUMP_STAGED (1u << 3)
#define AMB_DUMP_STATIC (1u << 4)
#define AMB_DUMP_VERSION (1u << 5)
#define AMB_DUMP_CONFIG (1u << 6)
#define AMB_DUMP_CERTIFICATES (1u << 7)
#define AMB_DUMP_PODS (1u << 8) /* workloadState, with live connections */
#define AMB_DUMP_ALL ((1u << 9) - 1) /* config_dump */
#define AMB_DUMP_CONNECTIONS (1u << 9) /* flat, all that is known of each: ambientctl */

/* Live connections that one dump shows; "truncated": true follows when there are more. */
#define AMB_DUMP_CONNS_MAX 50000

/*
 * Starts a dump on the main thread. When live connections are asked for, they are collected
 * first: @ready is called later (never from within) and the dump can be read from then on.
 * Otherwise it can be read at once and @ready is not called. NULL: out of memory.
 */
typedef void amb_dump_ready_fn(void *ctx);
struct amb_dump *amb_dump_create(const struct amb_admin_ops *ops, unsigned int sections,
				 amb_dump_ready_fn *ready, void *ctx);
bool amb_dump_is_ready(const struct amb_dump *d);

/* Gives the next bytes. 0: the end. -ENOMEM. */
ssize_t amb_dump_read(struct amb_dump *d, char *buf, size_t max);

/* At any time; ready() is not called afterwards. */
void amb_dump_destroy(struct amb_dump *d);

#endif
