/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A secret discovery service for an Envoy beside the agent: the certificates of this node's
 * workloads by their SPIFFE IDs and the roots as ROOTCA, pushed when they change, to processes
 * of the users that are allowed. Keys are copies, kept only while there is such a server.
 */
#ifndef AMB_SDS_SERVER_H
#define AMB_SDS_SERVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/loop.h"
#include "mesh/identity.h"

struct amb_sds_server;

#define AMB_SDS_SERVER_NAMES 64 /* secrets that one stream asks for */

/* Serves @uids and our own user. NULL: errno. */
struct amb_sds_server *amb_sds_server_create(struct amb_loop *loop, const char *path,
					     const uid_t *uids, size_t n);
/* Wipes keys. NULL is accepted. */
void amb_sds_server_destroy(struct amb_sds_server *s);

/* As the sink of the certificate manager hears of them: PKCS#8 key, PEM. 0 or -errno. */
int amb_sds_server_install(struct amb_sds_server *s, struct amb_identity *id, const uint8_t *key,
			   size_t keylen, const char *chain, const char *roots);
void amb_sds_server_forget(struct amb_sds_server *s, const struct amb_identity *id);
int amb_sds_server_roots(struct amb_sds_server *s, const char *roots);

#endif
