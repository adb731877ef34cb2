/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The embedded CA as an issuer of the certificate manager: signs with a node's intermediate,
 * and watches the CA's directory for a new intermediate or root bundle.
 */
#ifndef AMB_ISSUER_H
#define AMB_ISSUER_H

#include <stdint.h>

#include "base/loop.h"
#include "control/certs.h"

struct amb_issuer;

#define AMB_ISSUER_DEBOUNCE_NS 200000000ull /* after the last change of a file */
#define AMB_ISSUER_RECHECK_NS 60000000000ull /* files are looked at anyway (other file systems) */
#define AMB_ISSUER_RETRY_NS 2000000000ull /* the same while there is nothing to sign with */

/*
 * Leafs live @ttl_s seconds. The directory, or what this node needs in it, need not be there
 * yet: requests fail with the reason until it is. NULL: errno.
 */
struct amb_issuer *amb_issuer_create(struct amb_loop *loop, const char *dir, const char *node,
				     uint64_t ttl_s);
/* After the certificate manager that uses it. */
void amb_issuer_destroy(struct amb_issuer *is);

/* For amb_certs_create(). */
struct amb_certs_issuer amb_issuer_interface(struct amb_issuer *is);
/* Who hears of changes. */
void amb_issuer_set_certs(struct amb_issuer *is, struct amb_certs *certs);

/* NULL when it can sign, else why not (which file, what about it); lives until the next turn. */
const char *amb_issuer_error(const struct amb_issuer *is);
/* The trust domain it signs for; NULL while it cannot. */
const char *amb_issuer_trust_domain(const struct amb_issuer *is);

#endif
