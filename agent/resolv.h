/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The resolver's configuration of a pod, as far as its network namespace leads to one. */
#ifndef AMB_RESOLV_H
#define AMB_RESOLV_H

/*
 * The search domains (mesh/names.h) in the resolv.conf of the pod whose namespace is at @netns:
 * that of the process for /proc/PID/ns/net, what ip-netns(8) gives to programs in it for
 * /run/netns/NAME. The caller frees. NULL: not known.
 */
char *amb_resolv_search(const char *netns);

#endif
