/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signatures on certificates and revocation lists, and whose key made them: ECDSA and RSA (PKCS #1
 * v1.5) with SHA-256, SHA-384 or SHA-512.
 */
#ifndef AMB_SIGNER_H
#define AMB_SIGNER_H

#include <stddef.h>
#include <stdint.h>

#include "base/der.h"

/*
 * A public key, one copy of each in the process, counted: many peers' certificates are of few
 * issuers. Immutable, any thread.
 */
struct amb_signer;

#define AMB_SIGNER_MAX 2048 /* bytes of a SubjectPublicKeyInfo; RSA of 8192 bits has 1062 */

/* A reference to the one of this SubjectPublicKeyInfo. NULL: errno ENOMEM, or EMSGSIZE. */
struct amb_signer *amb_signer_intern(const struct amb_der *spki);
/* NULL is accepted. */
struct amb_signer *amb_signer_get(struct amb_signer *s);
void amb_signer_put(struct amb_signer *s);
/* How many live; for tests. */
size_t amb_signer_count(void);

/* What is kept of something signed; to be freed with free(). */
struct amb_signature;

/*
 * That of @der, a whole certificate or list: SEQUENCE { what is signed, algorithm, BIT STRING }.
 * 0; -EBADMSG; -EOPNOTSUPP: an algorithm that is none of the above; -ENOMEM.
 */
int amb_signature_read(const struct amb_der *der, struct amb_signature **out);

/* Did this key make it? 1, 0, or -ENOMEM. */
int amb_signer_made(const struct amb_signer *s, const struct amb_signature *sig);

#endif
