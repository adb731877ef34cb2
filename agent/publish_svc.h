/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Services that the kernel can resolve by itself. Part of publish.c. */
#ifndef AMB_PUBLISH_SVC_H
#define AMB_PUBLISH_SVC_H

#include <stdbool.h>
#include <stdint.h>

#include "mesh/str.h"

struct amb_addr_row;
struct amb_bpf;
struct amb_in6;
struct amb_publish_svcs;
struct amb_service;
struct amb_state;
struct amb_workload;

#define AMB_PUBLISH_SLOTS 256 /* of a service's port; weights that need more go to the agent */

/* The row of @addr that stands in amb_addr; false: none. */
typedef bool amb_publish_row_fn(void *ctx, const struct amb_in6 *addr, struct amb_addr_row *row);

struct amb_publish_svcs *amb_publish_svcs_create(struct amb_state *st, const struct amb_bpf *b,
						 amb_publish_row_fn *row_of, void *ctx);
void amb_publish_svcs_destroy(struct amb_publish_svcs *s);

/*
 * Writes those services all of whose endpoints, as @src of this node would draw from them, stand
 * in amb_addr as captured pods; takes the others away. @src NULL: none. Within a read section.
 * True: one found no room or memory, and may the next time.
 */
bool amb_publish_svcs_update(struct amb_publish_svcs *s, const struct amb_workload *src);
/* The same for one service, "ns/host", that may be gone. */
bool amb_publish_svcs_changed(struct amb_publish_svcs *s, const struct amb_workload *src,
			      amb_str name);

/* What the row of an address of @s says (enum amb_addr_flag). */
uint32_t amb_publish_svcs_flags(const struct amb_service *s);

/* Takes away what an agent before left. */
void amb_publish_svcs_sweep(struct amb_publish_svcs *s);

#endif
