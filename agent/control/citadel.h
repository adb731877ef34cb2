/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * istiod's certificate service as an issuer of the certificate manager (ztunnel-interop 2): a
 * new P-256 key and a signing request for each certificate, on behalf of the pod's identity.
 */
#ifndef AMB_CITADEL_H
#define AMB_CITADEL_H

#include <stdbool.h>
#include <stdint.h>

#include "control/certs.h"

struct amb_citadel;
struct amb_grpc;

#define AMB_CITADEL_ANSWER_MAX (1u << 20) /* bytes of an answer */
#define AMB_CITADEL_WAIT_NS 30000000000ull /* for one */
#define AMB_CITADEL_DEBOUNCE_NS 2000000000ull /* after the last change beside the root file */

struct amb_citadel_config {
	struct amb_grpc *channel; /* outlives it */
	uint64_t ttl_s; /* life asked for */
	bool impersonate; /* for other identities than the token's: all but PROXY_MODE=dedicated */
	const char *roots; /* the channel's; when it is a file its directory is watched */
};

/* NULL: errno. */
struct amb_citadel *amb_citadel_create(struct amb_loop *loop,
				       const struct amb_citadel_config *config);
/* Answers what it was asked, with an error. Before the certificate manager's end. */
void amb_citadel_stop(struct amb_citadel *ci);
/* After stop. NULL is accepted. */
void amb_citadel_destroy(struct amb_citadel *ci);

/* For amb_certs_create(). */
struct amb_certs_issuer amb_citadel_interface(struct amb_citadel *ci);

/*
 * What an answer's list of @n PEM texts comes to: leaf and intermediates as one chain (to be
 * freed), the last element as roots (within the list), the leaf's dates. 0, or -EINVAL/-ENOMEM
 * and @err: fewer than two elements, not to be read, a leaf of another identity than @id's.
 */
int amb_citadel_chain(char *const *list, size_t n, const struct amb_identity *id,
		      struct amb_certs_result *out, char **chain, char *err, size_t errlen);

#endif
