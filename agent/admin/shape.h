/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of the mesh as JSON, in the shapes of ztunnel's config_dump (ztunnel-interop
 * 8.2), which istioctl reads. All return a new reference, NULL when out of memory.
 */
#ifndef AMB_SHAPE_H
#define AMB_SHAPE_H

#include <jansson.h>

#include "mesh/policy.h"
#include "mesh/state.h"

struct amb_cred_info;
struct amb_proxy_conn;

json_t *amb_shape_workload(const struct amb_workload *w);

/* "endpoints" is added by the caller. */
json_t *amb_shape_service(const struct amb_service *s);
/* One value of a service's "endpoints" (its key is the uid); @ports may be NULL. */
json_t *amb_shape_endpoint(const struct amb_workload *w, const struct amb_ports *ports);

json_t *amb_shape_policy(const struct amb_policy_info *p);

json_t *amb_shape_certificate(const struct amb_cred_info *info);

/* {src, originalDst, actualDst, protocol}, as in workloadState. */
json_t *amb_shape_connection(const struct amb_proxy_conn *c);
/* The same with all that is known, for ambientctl. */
json_t *amb_shape_connection_full(const struct amb_proxy_conn *c);

/* A text that may not be UTF-8 (a peer's name) as a JSON string, cleaned. */
json_t *amb_shape_string(const char *s);

#endif
