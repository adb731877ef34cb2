/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who we are, as istiod wants to be told (ztunnel-interop 1.3). */
#ifndef AMB_NODE_H
#define AMB_NODE_H

#include <stddef.h>

struct amb_node;
struct Discovery__Node;

#define AMB_NODE_META_MAX 512 /* entries of metadata */
#define AMB_NODE_JSON_DEPTH 32 /* of an ISTIO_METAJSON_ value */

/* NULL members take the default in brackets. */
struct amb_node_config {
	const char *instance_ip; /* [1.1.1.1] */
	const char *pod_name, *pod_namespace, *node_name; /* [""] */
	/*
	 * "NAME=value" as in environ(7), ended by NULL: ISTIO_META_X=v becomes X: "v",
	 * ISTIO_METAJSON_X=v becomes X: v read as JSON; others are passed over.
	 */
	const char *const *environment;
};

/* NULL: ENOMEM, or EINVAL with @err saying which variable cannot be read. */
struct amb_node *amb_node_create(const struct amb_node_config *config, char *err, size_t errlen);
void amb_node_destroy(struct amb_node *n);

/* The message; as long as the node. */
struct Discovery__Node *amb_node_message(struct amb_node *n);

#endif
