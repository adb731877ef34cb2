/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an update changed, gathered while it is prepared. Private to mesh/. */
#ifndef AMB_CHANGE_H
#define AMB_CHANGE_H

#include "state.h"

struct amb_change {
	struct amb_state_change told; /* its lists are the next two */
	struct amb_addr *addrs;
	amb_str *names; /* a reference of each */
	size_t capaddrs, capnames;
};

/*
 * The object comes, goes or is replaced, then for both the old and the new one. Short of memory
 * the lists are given up (told.many), which is no error.
 */
void amb_change_workload(struct amb_change *c, const struct amb_state *st,
			 const struct amb_workload *w);
void amb_change_service(struct amb_change *c, const struct amb_state *st,
			const struct amb_service *s);
/* Frees the lists. */
void amb_change_release(struct amb_change *c);

#endif
