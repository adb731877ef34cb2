/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Certificates that their issuers revoked (RFC 5280 5), of one file of lists. What no list speaks
 * of is good, and a list's age does not matter (ztunnel-interop 2.4).
 */
#ifndef AMB_CRL_H
#define AMB_CRL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pem.h"

#define AMB_CRL_BYTES_MAX (16u << 20) /* of the file */
#define AMB_CRL_LISTS_MAX 4096 /* in it; ambientctl ca revoke appends one each time */

struct amb_signer;

/* A certificate as lists name it. */
struct amb_crl_id {
	uint64_t cert; /* hash of issuer and serial number */
	uint64_t key; /* hash of the issuer's key identifier, 0: it does not say */
	struct amb_signer *signer; /* the issuer's key, a reference; NULL: not known */
};

/*
 * From now on what the lists in @data name is revoked: PEM blocks "X509 CRL", of which there
 * may be none, or one list in DER; no bytes are no lists. *@revoked: certificates named. 0;
 * -EBADMSG (@err says what is wrong), -EFBIG, -ENOMEM, and then all stays as it was.
 *
 * A list revokes certificates whose issuer's key signed it, no others. Whether it did is not
 * known here but where such a certificate is shown: amb_crl_find() warns, once, of one that names
 * a certificate in vain.
 */
int amb_crl_load(const void *data, size_t len, size_t *revoked, char *err, size_t errlen);
/* There are no lists. */
void amb_crl_unload(void);

/* How many times they changed; 0: there are none and have never been. Any thread, as below. */
uint32_t amb_crl_generation(void);

/*
 * What lists would name the certificates of @chain by, which was verified; issuers are looked for
 * in it and in @roots (may be NULL). 0 and references for amb_crl_ids_put(), or -EBADMSG, -ENOMEM.
 */
int amb_crl_ids(const struct amb_der *chain, size_t n, const struct amb_pem *roots,
		struct amb_crl_id *out);
void amb_crl_ids_put(struct amb_crl_id *ids, size_t n);
/* The number of the first of @ids that is revoked; @n when none is. */
size_t amb_crl_find(const struct amb_crl_id *ids, size_t n);

#endif
