/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's HTTP servers (ztunnel-interop 8.1): admin on loopback, metrics and readiness on
 * all addresses. They run on the main loop; no thread of their own.
 */
#ifndef AMB_HTTP_H
#define AMB_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "ops.h"

struct amb_http;

#define AMB_HTTP_HEADER_SECONDS 2 /* for a client to send its request's head */
#define AMB_HTTP_BODY_SECONDS 30 /* without progress, once the request is there */
#define AMB_HTTP_PAUSE_NS 100000000ull /* after the table of descriptors was full */
#define AMB_HTTP_CONNECTIONS 32 /* of one server; more are refused */
#define AMB_HTTP_PER_ADDRESS 8 /* of one client of metrics and readiness */
#define AMB_HTTP_POOL 16384 /* bytes of memory for one connection's head */
#define AMB_HTTP_TASKS 8 /* names of pending tasks */

struct amb_http_config {
	uint16_t admin, metrics, ready; /* ports, 0: no such server */
};

/*
 * Opens the servers in the calling thread's network namespace. @ops outlives the result. NULL:
 * errno, and one line in the log names the port.
 */
struct amb_http *amb_http_create(const struct amb_admin_ops *ops,
				 const struct amb_http_config *config);

/*
 * Answers whoever waits for the end (/quitquitquit), then closes. Before the proxy's end,
 * which cleans up after dumps that are under way.
 */
void amb_http_destroy(struct amb_http *h);

/*
 * /healthz/ready says 200 while no task is pending. Names are constants ("state manager",
 * "proxy", "workload proxy manager"); at most AMB_HTTP_TASKS at a time, a further one counts
 * as nameless.
 */
void amb_http_pending(struct amb_http *h, const char *task, bool pending);

#endif
