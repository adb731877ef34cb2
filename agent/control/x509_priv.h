/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What certificates (x509.c) and revocation lists (x509_crl.c) share. */
#ifndef AMB_X509_PRIV_H
#define AMB_X509_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct amb_x509_key;

/* An ASN.1 time, with tag and length. Returns its length, or -EINVAL. */
#define AMB_X509_DATE_MAX 32
int amb_x509_date(int64_t when, uint8_t out[AMB_X509_DATE_MAX]);

/* Signs with SHA-384 instead of SHA-256. */
bool amb_x509_is_p384(const struct amb_x509_key *key);

/*
 * What is to be signed, @len bytes at @buf, becomes that with its signature, in place. Returns the
 * length, or -errno.
 */
int amb_x509_sign_der(const struct amb_x509_key *key, uint8_t *buf, size_t len, size_t room);

#endif
