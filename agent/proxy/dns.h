/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DNS proxy of a pod (ztunnel-interop 8.5): listens on the loopback addresses of its
 * namespace, where the interception rules send its queries, by UDP and TCP. What the mesh knows
 * is answered, the rest goes to the name servers of the agent's own resolv.conf, out of the pod's
 * namespace.
 *
 * One worker serves a pod's queries, so that a pod that floods hurts the others least.
 */
#ifndef AMB_DNS_H
#define AMB_DNS_H

#include "ambient/ports.h"

struct amb_pod;
struct amb_worker;

#define AMB_DNS_LISTEN AMB_PORT_DNS
#define AMB_DNS_RESOLV_CONF "/etc/resolv.conf"

#define AMB_DNS_WAITING 256 /* queries of one pod that wait for others' answers */
#define AMB_DNS_WAITING_WORKER 4096 /* of all pods of a worker */
#define AMB_DNS_BURST 32 /* queries by UDP that are taken in one turn */
#define AMB_DNS_TRIES 8 /* messages to name servers for one query */
#define AMB_DNS_TRY_NS 1500000000ull /* until the next is tried, unless resolv.conf says */
#define AMB_DNS_DEADLINE_NS 5000000000ull /* of a query in all */
#define AMB_DNS_RECHECK_NS 1000000000ull /* how old what is known of resolv.conf may be */
#define AMB_DNS_DETOUR_NS 30000000000ull /* how long a server that did not answer comes last */
#define AMB_DNS_CLIENTS 32 /* TCP connections of one pod */
#define AMB_DNS_PIPELINE 4 /* queries of one of them that wait */
#define AMB_DNS_IDLE_NS 5000000000ull /* until one without a query is closed */
#define AMB_DNS_UNSENT 131072 /* bytes of answers for one of them, else it is closed */

/* Opens when the pod wants it and this worker is the one. 0, or -errno and nothing is open. */
int amb_dns_open(struct amb_pod *pod);
/* Gives up all that waits; harmless when not open. */
void amb_dns_close(struct amb_pod *pod);
/* Frees what a worker keeps for all its pods. */
void amb_dns_worker_uninit(struct amb_worker *w);

#endif
