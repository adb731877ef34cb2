// SPDX-License-Identifier: GPL-2.0-or-later
/* Signatures over wolfCrypt; of what was signed only the digest is kept. */
#include "signer.h"

#include "base/cleanup.h"
#include "base/util.h"
#include "mesh/counted.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SIGNATURE_MAX 1024 /* RSA of 8192 bits */

struct amb_signer {
	struct amb_counted counted;
	size_t len;
	uint8_t spki[];
};

enum kind { ECDSA, RSA };

struct amb_signature {
	enum kind kind;
	enum wc_HashType hash;
	uint16_t digest_len, len;
	uint8_t digest[WC_MAX_DIGEST_SIZE];
	uint8_t sig[];
};

/* Keys */

static struct amb_signer *of(const struct amb_counted *c)
{
	return AMB_CONTAINER_OF(c, struct amb_signer, counted);
}

static bool same(const struct amb_counted *c, const void *key)
{
	return amb_der_equal(&(struct amb_der){ of(c)->spki, of(c)->len }, key);
}

static struct amb_counted *make(const void *key)
{
	const struct amb_der *spki = key;
	struct amb_signer *s = malloc(sizeof(*s) + spki->len);

	if (!s)
		return NULL;
	s->len = spki->len;
	memcpy(s->spki, spki->data, spki->len);
	return &s->counted;
}

static struct amb_counted_table table = AMB_COUNTED_TABLE(8, same, make);

struct amb_signer *amb_signer_intern(const struct amb_der *spki)
{
	struct amb_counted *c;

	if (spki->len > AMB_SIGNER_MAX) {
		errno = EMSGSIZE;
		return NULL;
	}
	c = amb_counted_intern(&table, amb_util_hash(spki->data, spki->len, amb_util_seed()), spki);
	if (!c) {
		errno = ENOMEM;
		return NULL;
	}
	return of(c);
}

struct amb_signer *amb_signer_get(struct amb_signer *s)
{
	if (s)
		amb_counted_get(&s->counted);
	return s;
}

void amb_signer_put(struct amb_signer *s)
{
	if (s)
		amb_counted_put(&table, &s->counted);
}

size_t amb_signer_count(void)
{
	return amb_counted_number(&table);
}

/* Signatures */

static const struct algorithm {
	uint8_t oid[9], len;
	enum kind kind;
	enum wc_HashType hash;
} algorithms[] = {
	/* ecdsa-with-SHA256, -SHA384, -SHA512 (RFC 5758) */
	{ { 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2 }, 8, ECDSA, WC_HASH_TYPE_SHA256 },
	{ { 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3 }, 8, ECDSA, WC_HASH_TYPE_SHA384 },
	{ { 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4 }, 8, ECDSA, WC_HASH_TYPE_SHA512 },
	/* sha256WithRSAEncryption, sha384..., sha512... (RFC 4055) */
	{ { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11 }, 9, RSA, WC_HASH_TYPE_SHA256 },
	{ { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12 }, 9, RSA, WC_HASH_TYPE_SHA384 },
	{ { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13 }, 9, RSA, WC_HASH_TYPE_SHA512 },
};

static const struct algorithm *algorithm_of(struct amb_der id)
{
	struct amb_der oid;
	size_t i;

	if (amb_der_expect(&id, AMB_DER_OID, &oid, NULL))
		return NULL;
	for (i = 0; i < AMB_ARRAY_SIZE(algorithms); i++) {
		if (oid.len == algorithms[i].len && !memcmp(oid.data, algorithms[i].oid, oid.len))
			return &algorithms[i];
	}
	return NULL;
}

int amb_signature_read(const struct amb_der *der, struct amb_signature **out)
{
	struct amb_der in = *der, outer, value, body, id, bits;
	_cleanup_free_ struct amb_signature *s = NULL;
	const struct algorithm *a;

	if (amb_der_expect(&in, AMB_DER_SEQUENCE, &outer, NULL) ||
	    amb_der_expect(&outer, AMB_DER_SEQUENCE, &value, &body) ||
	    amb_der_expect(&outer, AMB_DER_SEQUENCE, &id, NULL) ||
	    amb_der_expect(&outer, AMB_DER_BITS, &bits, NULL))
		return -EBADMSG;
	/* Whole bytes. */
	if (bits.len < 2 || bits.data[0] || bits.len - 1 > SIGNATURE_MAX)
		return -EBADMSG;
	a = algorithm_of(id);
	if (!a)
		return -EOPNOTSUPP;
	s = malloc(sizeof(*s) + bits.len - 1);
	if (!s)
		return -ENOMEM;
	s->kind = a->kind;
	s->hash = a->hash;
	s->digest_len = wc_HashGetDigestSize(a->hash);
	s->len = bits.len - 1;
	memcpy(s->sig, bits.data + 1, s->len);
	if (wc_Hash(a->hash, body.data, body.len, s->digest, sizeof(s->digest)))
		return -ENOMEM;
	*out = take_ptr(s);
	return 0;
}

static int verdict(int err, bool good)
{
	return err == MEMORY_E ? -ENOMEM : !err && good;
}

static int ecdsa_made(const struct amb_signer *s, const struct amb_signature *sig)
{
	int err, good = 0;
	word32 at = 0;
	ecc_key key;

	if (wc_ecc_init(&key))
		return -ENOMEM;
	err = wc_EccPublicKeyDecode(s->spki, &at, &key, s->len) ?:
		      wc_ecc_verify_hash(sig->sig, sig->len, sig->digest, sig->digest_len, &good,
					 &key);
	wc_ecc_free(&key);
	return verdict(err, good == 1);
}

static int rsa_made(const struct amb_signer *s, const struct amb_signature *sig)
{
	/* The digest with its algorithm, as it should be and as it is. */
	uint8_t want[WC_MAX_DIGEST_SIZE + 32], is[SIGNATURE_MAX];
	word32 at = 0, n;
	RsaKey key;
	int ret;

	if (wc_InitRsaKey(&key, NULL))
		return -ENOMEM;
	ret = wc_RsaPublicKeyDecode(s->spki, &at, &key, s->len) ?:
		      wc_RsaSSL_Verify(sig->sig, sig->len, is, sizeof(is), &key);
	wc_FreeRsaKey(&key);
	n = wc_EncodeSignature(want, sig->digest, sig->digest_len, wc_GetCTC_HashOID(sig->hash));
	return verdict(ret < 0 ? ret : 0, n && (word32)ret == n && !memcmp(is, want, n));
}

int amb_signer_made(const struct amb_signer *s, const struct amb_signature *sig)
{
	return sig->kind == ECDSA ? ecdsa_made(s, sig) : rsa_made(s, sig);
}
