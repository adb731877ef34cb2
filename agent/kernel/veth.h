/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's ends of a pod's interfaces. */
#ifndef AMB_VETH_H
#define AMB_VETH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

struct amb_netns;

#define AMB_VETH_MAX 8 /* interfaces of a pod that are looked at */

struct amb_veth {
	int host; /* index in the agent's own namespace */
	int pod; /* and of the pod's end, in the pod's */
	bool primary; /* has one of the addresses that were asked for */
};

/*
 * Finds the veth interfaces of @ns whose other ends are in the agent's own namespace. Fills at
 * most AMB_VETH_MAX rows; returns their number (0: none such, for instance macvlan) or -errno.
 * @addrs, @naddrs: the pod's addresses, to know its primary interface. Leaves the thread anywhere.
 */
int amb_veth_find(struct amb_netns *ns, const struct amb_addr *addrs, size_t naddrs,
		  struct amb_veth *out);

#endif
