/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Envoy's secret discovery service as an issuer of the certificate manager: somebody on this
 * machine (SPIRE's agent, istio-agent) has the certificates and keys, and pushes them over a unix
 * socket, for each identity and for the roots, whenever there are new ones.
 *
 * A stream a secret: SPIRE ends a stream that asks for an identity which it does not give out.
 */
#ifndef AMB_SDS_H
#define AMB_SDS_H

#include <stdint.h>

#include "base/loop.h"
#include "control/certs.h"

struct amb_sds;

#define AMB_SDS_ANSWER_MAX (1u << 20) /* bytes of an answer */
#define AMB_SDS_WAIT_NS 10000000000ull /* for the first answer, until its request has failed */
#define AMB_SDS_RETRY_NS 1000000000ull /* after a stream ended; doubled each time */
#define AMB_SDS_RETRY_MAX_NS 60000000000ull
#define AMB_SDS_ROOTS "ROOTCA"
#define AMB_SDS_TYPE "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
#define AMB_SDS_METHOD "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"

struct amb_sds_config {
	const char *socket; /* path, or "unix:/path", "unix:///path" */
	const char *node; /* what we call ourselves */
	const char *cert_name; /* of every certificate; NULL: its identity, as SPIRE has it */
	const char *roots_name; /* NULL: AMB_SDS_ROOTS */
};

/* NULL: errno, EINVAL for a path that cannot be one. Strings are copied. */
struct amb_sds *amb_sds_create(struct amb_loop *loop, const struct amb_sds_config *config);
/* For amb_certs_create(). */
struct amb_certs_issuer amb_sds_interface(struct amb_sds *s);
/* Who hears of pushes; from here on the roots are asked for. 0 or -ENOMEM. */
int amb_sds_set_certs(struct amb_sds *s, struct amb_certs *certs);
/* Answers what it was asked, with an error. Before the certificate manager's end. */
void amb_sds_stop(struct amb_sds *s);
/* After stop; wipes keys. NULL is accepted. */
void amb_sds_destroy(struct amb_sds *s);

#endif
