/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent in a cluster: knowledge and certificates come from istiod. Joins control/, admin/
 * and the rest of the agent for main.c.
 */
#ifndef AMB_CLUSTER_H
#define AMB_CLUSTER_H

#include <jansson.h>

#include "admin/metrics.h"
#include "control/certs.h"

struct amb_agent;
struct amb_cluster;

/* Makes the clients; nothing is sent yet. NULL: errno, and why in @err. */
struct amb_cluster *amb_cluster_create(struct amb_agent *a, char *err, size_t errlen);
/* Who signs. */
struct amb_certs_issuer amb_cluster_issuer(struct amb_cluster *c);
/* The state and the admin side are there: starts asking. 0 or -errno. */
int amb_cluster_start(struct amb_cluster *c);
/* Ends what is under way. Before the certificate manager's and the state's end; NULL is fine. */
void amb_cluster_stop(struct amb_cluster *c);
void amb_cluster_destroy(struct amb_cluster *c);

/* For ambientctl status, a new reference; and for metrics (false: nothing to count). */
json_t *amb_cluster_status(const struct amb_cluster *c);
bool amb_cluster_metrics(const struct amb_cluster *c, struct amb_metrics_xds *out);

/*
 * The pods that the state has for this node become the wanted ones, each waiting for somebody
 * to say where its network namespace is. Called after changes, unless a CNI says which pods
 * there are.
 */
void amb_cluster_sync_pods(struct amb_cluster *c);

#endif
