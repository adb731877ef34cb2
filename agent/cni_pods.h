/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pods that a CNI hands over by ZDS: joins control/zds.h to pods.h and to the readiness. The CNI
 * has written its rules in them, so the agent writes none there.
 */
#ifndef AMB_CNI_PODS_H
#define AMB_CNI_PODS_H

#include <stdbool.h>

#define AMB_ZDS_SOCKET "/var/run/ztunnel/ztunnel.sock" /* ztunnel's */

struct amb_cni_pods;
struct amb_http;
struct amb_loop;
struct amb_pods;

/*
 * Serves the pods that the CNI at @path (INPOD_UDS) names, with @dns their queries too. While
 * it has not named all of them, or one of them does not start, the agent is not ready ("workload
 * proxy manager"). @synced is called each time that it has. All that is given outlives the
 * result. NULL: errno, see amb_zds_create().
 */
struct amb_cni_pods *amb_cni_pods_start(struct amb_loop *loop, struct amb_pods *pods,
					struct amb_http *http, const char *path, bool dns,
					void (*synced)(void *ctx), void *ctx);
/* Has it named all pods that there are? */
bool amb_cni_pods_synced(const struct amb_cni_pods *c);
/* Hears the CNI no more; the pods are served on. NULL is accepted. */
void amb_cni_pods_stop(struct amb_cni_pods *c);

#endif
