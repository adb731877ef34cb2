/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One credential (struct amb_cred of creds.h) as the store makes it and the handshake uses
 * it. Others use creds.h only.
 */
#ifndef AMB_CRED_H
#define AMB_CRED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/identity.h"

struct WOLFSSL_CTX;
struct amb_cred;
struct amb_trust;

/*
 * Takes copies and references of all it is given. Checks that key and leaf belong together
 * and that the leaf's first URI name is @id's. NULL: errno EINVAL or ENOMEM, @err says what.
 */
struct amb_cred *amb_cred_create(struct amb_identity *id, const uint8_t *key, size_t keylen,
				 const char *chain_pem, struct amb_trust *trust, char *err,
				 size_t errlen);
/* The same certificate with other roots. NULL: ENOMEM. */
struct amb_cred *amb_cred_with_trust(struct amb_cred *c, struct amb_trust *trust);
void amb_cred_retire(struct amb_cred *c);

/* All of these live as long as the credential. */
struct amb_trust *amb_cred_trust(const struct amb_cred *c);
const char *amb_cred_chain(const struct amb_cred *c);
/* Made when first asked for, any thread; NULL when out of memory. */
struct WOLFSSL_CTX *amb_cred_context(struct amb_cred *c, bool server);

#endif
