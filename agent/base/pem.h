/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PEM bundles and DER certificates: what the CA, the trust store and config_dump share. */
#ifndef AMB_PEM_H
#define AMB_PEM_H

#include "der.h"

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define AMB_PEM_CERTS_MAX 64 /* certificates of one bundle */
#define AMB_PEM_BYTES_MAX (256 * 1024) /* of its text */

/* The certificates of a PEM text, in its order. Zero-initialised is empty. */
struct amb_pem {
	size_t n;
	struct amb_der *cert;
	uint8_t *store;
};

/*
 * Reads every CERTIFICATE block of @text; other blocks and text between are passed over.
 * 0, -ENODATA when there is none, -EBADMSG for a block that is not base64, -EFBIG, -ENOMEM.
 */
int amb_pem_read(const char *text, struct amb_pem *out);
void amb_pem_clear(struct amb_pem *p);

/* One certificate as a PEM block, to be freed; NULL: ENOMEM or EINVAL in errno. */
char *amb_pem_write(const uint8_t *der, size_t len);

/* What is shown of a certificate. */
struct amb_pem_info {
	char serial[64]; /* decimal, or 0x... when longer than 64 bits */
	char subject[128], issuer[128]; /* printable ASCII, cut */
	int64_t not_before, not_after; /* wall clock seconds */
	char uri[1024]; /* first URI name, "" when there is none */
	int is_ca;
};

/* Reads what is shown; signature and dates are not checked. 0, -EBADMSG or -ENOMEM. */
int amb_pem_info(const struct amb_der *cert, struct amb_pem_info *out);

/* An ASN.1 time (with tag and length) as wall clock seconds; -1 when it cannot be read. */
int64_t amb_pem_time(const uint8_t *field, size_t len);

/* "2026-11-23T18:00:00Z" into @buf of at least AMB_PEM_TIME_LEN bytes. Returns @buf. */
#define AMB_PEM_TIME_LEN 32
const char *amb_pem_time_text(int64_t t, char *buf);

#endif
