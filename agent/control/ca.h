/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The embedded CA: a root whose key can stay offline, an intermediate for each node, and the
 * leafs that the agent of a node signs with it. A directory holds it all:
 *
 *   root.pem          every root that is trusted, the newest first              0644
 *   root.key          key and certificate of the newest root; may be elsewhere  0600
 *   nodes/NODE.key    key and certificate of a node's intermediate              0600
 *   crl.pem           lists of revoked intermediates                            0644
 *
 * An agent needs root.pem and its own nodes/NODE.key, and reads nothing else. Each file is
 * replaced whole. Every CA certificate names its trust domain as spiffe://TD; an intermediate
 * may sign leafs of that trust domain only (critical name constraint, path length 0), and
 * amb_ca_issue() refuses others before.
 *
 * Changing the root without losing a connection:
 *   1. amb_ca_rotate()  a new root beside the old: root.pem holds both, root.key the new one.
 *      Copy root.pem to every node; agents pick it up and trust both.
 *   2. amb_ca_node() for each node: its intermediate is signed by the new root. Agents pick it
 *      up and renew their leafs.
 *   3. amb_ca_retire()  when no leaf of the old root is left (a leaf's life after 2): root.pem
 *      holds the new root only.
 */
#ifndef AMB_CA_H
#define AMB_CA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/identity.h"

#define AMB_CA_ERROR_LEN 512
#define AMB_CA_ROOT_DAYS 3650
#define AMB_CA_NODE_DAYS 365
#define AMB_CA_LEAF_TTL_S (24 * 3600) /* the default life of a leaf */
#define AMB_CA_CRL_MAX (1u << 20) /* bytes of crl.pem */
#define AMB_CA_BACKDATE_S 120 /* leafs are valid from so long before now */

struct amb_ca_options {
	bool p384; /* key of the root or intermediate; default P-256 */
	unsigned int days; /* life; 0: AMB_CA_ROOT_DAYS or AMB_CA_NODE_DAYS */
};

/*
 * All of these return 0 or -errno, and say in @err (AMB_CA_ERROR_LEN bytes) which file or
 * value is the matter. A failure leaves every file as it was.
 */

/* Makes @dir, with what is missing above it, and a root. -EEXIST when there is one. */
int amb_ca_init(const char *dir, const char *trust_domain, const struct amb_ca_options *o,
		char *err);
/* A new root beside the present ones, for the same trust domain. */
int amb_ca_rotate(const char *dir, const struct amb_ca_options *o, char *err);
/* Ends trust in all roots but the newest. */
int amb_ca_retire(const char *dir, char *err);
/* Makes or replaces @node's intermediate, signed by the newest root. Needs root.key. */
int amb_ca_node(const char *dir, const char *node, const struct amb_ca_options *o, char *err);

/*
 * Revokes @node's intermediate, and with it all leafs that it signed: a list that says so is
 * appended to crl.pem, for the agents' --crl. Needs root.key; -EKEYREJECTED when another root
 * signed it.
 */
int amb_ca_revoke(const char *dir, const char *node, char *err);

/* A node's intermediate, ready to sign. One thread at a time. */
struct amb_ca;

/*
 * Reads what @node needs. NULL with errno: ENOENT no such file, EPERM a key that others can
 * read, EKEYREJECTED key, certificate and roots do not belong together, EKEYEXPIRED outside
 * its validity (or the clock is wrong), EINVAL not to be read, ENOMEM.
 */
struct amb_ca *amb_ca_load(const char *dir, const char *node, char *err);
void amb_ca_destroy(struct amb_ca *ca);

const char *amb_ca_roots(const struct amb_ca *ca); /* PEM bundle */
const char *amb_ca_trust_domain(const struct amb_ca *ca);
int64_t amb_ca_not_after(const struct amb_ca *ca); /* of the intermediate */
/* Do both sign with the same certificate? */
bool amb_ca_same_signer(const struct amb_ca *a, const struct amb_ca *b);

struct amb_ca_issued {
	uint8_t key[256]; /* PKCS#8 */
	size_t keylen;
	char *chain_pem; /* leaf, intermediate */
	int64_t not_before, not_after;
};

/*
 * A new key and a certificate of @id for @ttl_s seconds from now (cut at the end of the
 * intermediate). -EPERM for an identity of another trust domain, -EKEYEXPIRED when the
 * intermediate is outside its validity. To be cleared with amb_ca_issued_clear().
 */
int amb_ca_issue(struct amb_ca *ca, const struct amb_identity *id, uint64_t ttl_s,
		 struct amb_ca_issued *out, char *err);
/* Wipes the key. */
void amb_ca_issued_clear(struct amb_ca_issued *issued);

#endif
