/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Secrets out of the answers of a secret discovery service, checked. Pure. */
#ifndef AMB_SDS_SECRET_H
#define AMB_SDS_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "control/x509.h"
#include "mesh/identity.h"

/* Either a certificate with its key, or roots. Zero-initialised is empty. */
struct amb_sds_secret {
	char *chain; /* PEM, leaf first */
	uint8_t key[AMB_X509_KEY_DER_MAX]; /* PKCS#8 */
	size_t keylen;
	int64_t not_before, not_after; /* wall clock seconds */
	char *roots; /* PEM */
};
/* Wipes. */
void amb_sds_secret_clear(struct amb_sds_secret *s);

#define AMB_SDS_VERSION_MAX 256 /* bytes of a version or nonce with its NUL */
#define AMB_SDS_ERROR_MAX 256

struct amb_sds_answer {
	char version[AMB_SDS_VERSION_MAX], nonce[AMB_SDS_VERSION_MAX];
	struct amb_sds_secret secret;
};

/*
 * Reads a DiscoveryResponse and takes the secret @name out of it: the certificate of @id, or
 * roots when @id is NULL. 1: there it is; 0: nothing about @name; -EBADMSG: not a response;
 * -EINVAL: the secret cannot be used, @err says why (version and nonce are good); -ENOMEM.
 */
int amb_sds_answer_read(const uint8_t *data, size_t len, const char *name,
			const struct amb_identity *id, struct amb_sds_answer *out,
			char err[AMB_SDS_ERROR_MAX]);

#endif
