/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trust anchors and the check of a peer's chain (ztunnel-interop 4.2), with a cache of chains
 * that were found good: a signature check costs 75 us, a look into the cache 3.
 */
#ifndef AMB_TRUST_H
#define AMB_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ambient/reason.h"
#include "base/pem.h"
#include "mesh/identity.h"

/* A root bundle. Immutable, counted, any thread. */
struct amb_trust;

/* NULL: errno, and @err says which certificate is wrong and why. */
struct amb_trust *amb_trust_create(const char *roots_pem, char *err, size_t errlen);
struct amb_trust *amb_trust_get(struct amb_trust *t);
void amb_trust_put(struct amb_trust *t);
const char *amb_trust_pem(const struct amb_trust *t);
const struct amb_pem *amb_trust_roots(const struct amb_trust *t);

#define AMB_TRUST_DEPTH 8 /* certificates of a peer's chain */
#define AMB_TRUST_IDS 4 /* SPIFFE names of a leaf that are looked at */

/* A leaf found good; @id holds references to its SPIFFE names in their order, at least one. */
struct amb_leaf {
	unsigned int n;
	struct amb_identity *id[AMB_TRUST_IDS];
	int64_t not_before, not_after;
	uint8_t fingerprint[32];
};
void amb_leaf_clear(struct amb_leaf *leaf);

/*
 * Checks @chain (leaf first, intermediates in any order, a root among them does not matter):
 * signatures up to a root, CA flags, path lengths, name constraints, validity at this moment,
 * at least one SPIFFE name. Key usage for TLS is the TLS library's to check.
 * 0, or -errno with @reason and @err: -EKEYREJECTED not signed by our roots, -EKEYEXPIRED
 * outside validity, -EPERM no SPIFFE name, -EBADMSG not to be read, -ENOMEM.
 */
int amb_trust_verify(struct amb_trust *t, const struct amb_der *chain, size_t n,
		     struct amb_leaf *leaf, enum amb_reason *reason, char *err, size_t errlen);

/* Chains taken from the cache and checked in full so far, for tests and metrics. */
void amb_trust_stats(uint64_t *cached, uint64_t *checked);
/* Empties the cache. */
void amb_trust_flush(void);

#endif
