/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: how ambientctl asks. A client of the same user as the agent, or root,
 * sends one line of JSON and gets one JSON object and the end of the stream:
 *
 *   {"command": "why", "src": "ns/pod", "dst": "ns/service", "port": "80"}
 *   {"error": "destination \"x\": no such workload or service is known"}
 *
 * command      further keys                 answer
 * status                                    version, pods[], counters, and what main adds
 * workloads services policies certificates connections
 *                                           {"<command>": [...]}, streamed
 * dump                                      all of config_dump, streamed
 * why          src, dst, port               see why.h
 * enroll       pod, netns                   {}
 * unenroll     pod                          {}
 * attach       pod, netns                   {"wanted", "up", "failed", "reason"}; for the CNI
 *                                           plugin, which asks again until it is up
 * detach       pod, netns                   {}
 * reload                                    {}
 * log          filter, reset (optional)     {"filter": text}
 * probe                                     {"<capability>": {"ok", "detail"}}
 */
#ifndef AMB_CONTROL_H
#define AMB_CONTROL_H

#include "ops.h"

struct amb_control;

#define AMB_CONTROL_REQUEST_MAX 65536 /* bytes of a request */
#define AMB_CONTROL_CLIENTS 16 /* at a time; further ones wait in the backlog */
#define AMB_CONTROL_PAUSE_NS 100000000ull /* after the table of descriptors was full */
#define AMB_CONTROL_SECONDS 10 /* for a request to come, or a client to take anything */

/*
 * Listens at @path, mode 0600, its folder made when missing; a socket that nobody listens on
 * any more is replaced. @ops outlives the result. NULL: errno (EADDRINUSE: another agent
 * listens), and one line in the log.
 */
struct amb_control *amb_control_create(const struct amb_admin_ops *ops, const char *path);
/* Closes and removes the socket. Before the proxy's end, as amb_http_destroy(). */
void amb_control_destroy(struct amb_control *c);

#endif
