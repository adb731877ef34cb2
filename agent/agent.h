/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent's parts, as main.c starts them, and what the admin side may ask of them. */
#ifndef AMB_AGENT_H
#define AMB_AGENT_H

#include "admin/ops.h"
#include "kernel/probe.h"
#include "options.h"
#include "pods.h"

struct amb_ca;
struct amb_capture;
struct amb_certs;
struct amb_cluster;
struct amb_cni_pods;
struct amb_control;
struct amb_http;
struct amb_manifest;

struct amb_agent {
	struct amb_options opt;
	struct amb_loop *loop;
	struct amb_state *state;
	struct amb_creds *creds;
	struct amb_certs *certs;
	struct amb_manifest *manifest; /* --standalone, else NULL */
	struct amb_cluster *cluster; /* the other way round */
	struct amb_metrics *metrics;
	struct amb_proxy *proxy;
	struct amb_capture *capture;
	struct amb_pods *pods;
	struct amb_cni_pods *cni; /* NULL: the manifests say which pods to serve */
	struct amb_http *http;
	struct amb_control *control;
	struct amb_probe probes[AMB_PROBE_MAX];
	size_t nprobes;
	int64_t started_at; /* wall clock seconds */
	bool stopping;
	bool known; /* the mesh: who looks at its pods may begin, see amb_agent_pods_known() */
	struct amb_admin_ops ops;
};

/* Fills a->ops from the parts that are there by now. */
void amb_agent_set_ops(struct amb_agent *a);

/* Makes the pods that the manifests want the proxy's; called after each load. */
void amb_agent_sync_pods(void *agent);

/*
 * The mesh is known, and so are the pods of the start, but for those that a CNI names: when it has,
 * what an agent before left of others may go.
 */
void amb_agent_pods_known(struct amb_agent *a);

/* Takes over what the CNI plugin told an earlier agent. */
void amb_agent_read_attachments(struct amb_agent *a);

/* Begins the graceful stop; the loop ends when connections are done or out of time. */
void amb_agent_stop(struct amb_agent *a);

#endif
