/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What ztunnel's environment says of the control plane (ztunnel-interop 1.1, 1.3, 8.3): names
 * and meanings are its own, so that its DaemonSet needs another image and nothing else.
 */
#ifndef AMB_ISTIOD_ENV_H
#define AMB_ISTIOD_ENV_H

#include <stdbool.h>
#include <stddef.h>

#include "control/grpc.h"

#define AMB_ISTIOD_ROOTS "./var/run/secrets/istio/root-cert.pem"
#define AMB_ISTIOD_TOKEN "./var/run/secrets/tokens/istio-token"

/* Strings are the environment's, or live as long as the process. */
struct amb_istiod_env {
	bool given; /* something says that there is a control plane */
	bool used; /* it is where knowledge comes from: given, and no --standalone */
	const char *xds, *ca; /* addresses; NULL: that one is not to be used */
	const char *xds_roots, *ca_roots;
	const char *xds_alt, *ca_alt; /* another name of the server, or NULL */
	const char *token;
	const char *instance_ip, *pod_name, *pod_namespace;
	bool on_demand;
	const char *local_path, *local_text; /* of a static state; at most one, else NULL */
	bool dedicated; /* PROXY_MODE=dedicated: for one workload, in whose netns we run */
	const char *workload; /* of it: "ns/name/sa" */
	struct amb_grpc_header xds_headers[AMB_GRPC_HEADERS_MAX];
	struct amb_grpc_header ca_headers[AMB_GRPC_HEADERS_MAX];
	size_t nxds_headers, nca_headers;
};

/* Reads it; ends the process (64, one line) on a value that cannot be meant. */
void amb_istiod_env_read(struct amb_istiod_env *e);

/*
 * Names of variables of @environment that look like ztunnel's and have no effect, blank
 * separated, into @buf: those that nobody knows, then those of features that this release does
 * not have. Services' addresses, which Kubernetes puts into every pod, are neither. Returns
 * whether there are any.
 */
bool amb_istiod_env_strange(const char *const *environment, char *unknown, char *unused,
			    size_t room);

#endif
