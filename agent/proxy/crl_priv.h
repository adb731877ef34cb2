/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lists (crl.c) and the certificates that they name (crl_id.c) share. */
#ifndef AMB_CRL_PRIV_H
#define AMB_CRL_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/der.h"

struct amb_crl_extension {
	struct amb_der oid, value;
	bool critical;
};

/* Takes the next one of a sequence of extensions off. 0 or -EBADMSG. */
int amb_crl_extension(struct amb_der *in, struct amb_crl_extension *x);

/* Last numbers under id-ce, 2.5.29. */
#define AMB_CRL_OID_SUBJECT_KEY 14
#define AMB_CRL_OID_DISTRIBUTION_POINT 28
#define AMB_CRL_OID_AUTHORITY_KEY 35
bool amb_crl_extension_is(const struct amb_crl_extension *x, uint8_t last);

/* The key identifier of an AuthorityKeyIdentifier; left as it was when there is none. */
int amb_crl_authority_key(const struct amb_crl_extension *x, struct amb_der *id);

/* SHA-256 of both (@b may be NULL), cut; never 0 but when memory is short. */
uint64_t amb_crl_hash(const struct amb_der *a, const struct amb_der *b);

/* Leading zeros of a number are no part of it. */
struct amb_der amb_crl_number(struct amb_der v);

#endif
