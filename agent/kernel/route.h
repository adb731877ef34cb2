/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policy routing inside a pod: what carries the return mark goes to the loopback device, and so
 * to the agent's transparent sockets, though its address is another machine's
 * (ztunnel-interop 3.7).
 */
#ifndef AMB_ROUTE_H
#define AMB_ROUTE_H

#include <stdbool.h>

#include "ambient/ports.h"

#define AMB_ROUTE_PRIORITY 32764
#define AMB_ROUTE_TABLE 100

/*
 * Adds the rules and routes in the calling thread's namespace, for IPv4 and, with @ipv6 and
 * where the namespace has it, IPv6. What is there already is fine; on failure what was added
 * is taken away. 1 when something was added, 0 when nothing had to be, or -errno with the
 * reason in @err.
 */
int amb_route_install(bool ipv6, char *err, unsigned long errlen);

/* Removes them; fine when nothing is there. 0 or -errno. */
int amb_route_remove(void);

#endif
