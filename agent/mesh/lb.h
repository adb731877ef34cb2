/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Load balancing: one endpoint of a service (reference 5.3). Private to mesh/. */
#ifndef AMB_LB_H
#define AMB_LB_H

#include "table.h"

enum amb_lb_purpose { AMB_LB_TRAFFIC, AMB_LB_WAYPOINT };

/*
 * Chooses an endpoint of @svc (with a service) for a connection of @src to @port, and its
 * target port. NULL when there is none that is eligible.
 */
const struct amb_workload *amb_lb_pick(const struct amb_svc *svc, const struct amb_workload *src,
				       uint16_t port, enum amb_lb_purpose purpose,
				       uint16_t *target);

/* Calls @fn for each endpoint that amb_lb_pick() would draw from, until it returns false. */
bool amb_lb_each(const struct amb_svc *svc, const struct amb_workload *src, uint16_t port,
		 bool (*fn)(void *ctx, const struct amb_workload *w, uint16_t target), void *ctx);

/* NULL is accepted. */
void amb_lb_cache_free(struct amb_lb_cache *c);

#endif
