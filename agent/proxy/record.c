// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * TLS 1.3 record protection in place. The nonce is the static iv xor the record's number, the
 * additional data is the record's header, the content type travels behind the plaintext.
 */
#include "record.h"

#include "aead.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/kdf.h>
#include <wolfssl/wolfcrypt/memory.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define IV_LEN AMB_AEAD_IV
#define TAG_LEN AMB_AEAD_TAG
#define SECRET_MAX 48

struct amb_record {
	struct amb_aead *aead;
	uint64_t seq;
	enum amb_record_suite suite;
	uint8_t iv[IV_LEN];
	uint8_t secret[SECRET_MAX];
	uint8_t secret_len;
	bool away; /* handed over */
};

static int digest(enum amb_record_suite suite)
{
	return suite == AMB_SUITE_AES128_GCM_SHA256 ? WC_SHA256 : WC_SHA384;
}

static int expand(const struct amb_record *r, const char *label, uint8_t *out, size_t n)
{
	static const uint8_t protocol[] = "tls13 ";
	int err;

	err = wc_Tls13_HKDF_Expand_Label(out, n, r->secret, r->secret_len, protocol, 6,
					 (const uint8_t *)label, strlen(label), NULL, 0,
					 digest(r->suite));
	return err ? -EIO : 0;
}

static size_t key_len(const struct amb_record *r)
{
	return r->suite == AMB_SUITE_AES128_GCM_SHA256 ? 16 : 32;
}

/* Key and iv of the present secret; numbers start again. */
static int set_keys(struct amb_record *r)
{
	size_t keylen = key_len(r);
	struct amb_aead *aead;
	uint8_t key[32];
	int err;

	if (r->away) {
		r->seq = 0;
		return expand(r, "iv", r->iv, IV_LEN);
	}
	err = expand(r, "key", key, keylen) ?: expand(r, "iv", r->iv, IV_LEN);
	aead = err ? NULL : amb_aead_create(key, keylen);
	wc_ForceZero(key, sizeof(key));
	if (!aead)
		return err ? err : -ENOMEM;
	amb_aead_destroy(r->aead);
	r->aead = aead;
	r->seq = 0;
	return 0;
}

struct amb_record *amb_record_create(enum amb_record_suite suite, const uint8_t *secret, size_t len)
{
	struct amb_record *r;

	if (!(suite == AMB_SUITE_AES128_GCM_SHA256 && len == 32) &&
	    !(suite == AMB_SUITE_AES256_GCM_SHA384 && len == 48)) {
		errno = EINVAL;
		return NULL;
	}
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->suite = suite;
	r->secret_len = len;
	memcpy(r->secret, secret, len);
	if (set_keys(r)) {
		amb_record_destroy(r);
		errno = ENOMEM;
		return NULL;
	}
	return r;
}

void amb_record_destroy(struct amb_record *r)
{
	if (!r)
		return;
	amb_aead_destroy(r->aead);
	wc_ForceZero(r, sizeof(*r));
	free(r);
}

static void nonce(const struct amb_record *r, uint8_t out[IV_LEN])
{
	uint64_t iv, be = __builtin_bswap64(r->seq);

	memcpy(out, r->iv, 4);
	memcpy(&iv, r->iv + 4, 8);
	iv ^= be;
	memcpy(out + 4, &iv, 8);
}

int amb_record_seal(struct amb_record *r, uint8_t *rec, size_t n, enum amb_record_type type)
{
	uint8_t *p = rec + AMB_RECORD_HEAD, iv[IV_LEN];
	size_t body = n + AMB_RECORD_TAIL;

	if (!n || n > AMB_RECORD_PLAIN_MAX || r->away)
		return -EINVAL;
	if (r->seq >= AMB_RECORD_HARD_LIMIT)
		return -EOVERFLOW;
	rec[0] = AMB_RECORD_DATA;
	rec[1] = 3;
	rec[2] = 3;
	rec[3] = body >> 8;
	rec[4] = body;
	p[n] = type;
	nonce(r, iv);
	if (amb_aead_seal(r->aead, p, n + 1, iv, rec, AMB_RECORD_HEAD))
		return -EIO;
	r->seq++;
	return AMB_RECORD_HEAD + body;
}

int amb_record_length(const uint8_t *rec, size_t n)
{
	size_t body;

	if (!n)
		return 0;
	/* After the handshake everything is wrapped; a clear alert or CCS is an intruder's. */
	if (rec[0] != AMB_RECORD_DATA)
		return -EBADMSG;
	if (n < AMB_RECORD_HEAD)
		return 0;
	body = rec[3] << 8 | rec[4];
	if (body < AMB_RECORD_TAIL || body > AMB_RECORD_PLAIN_MAX + 256)
		return -EBADMSG;
	return AMB_RECORD_HEAD + body;
}

int amb_record_open(struct amb_record *r, uint8_t *rec, size_t n, enum amb_record_type *type)
{
	uint8_t *p = rec + AMB_RECORD_HEAD, iv[IV_LEN];
	size_t len;

	if (amb_record_length(rec, n) != (int)n || n < AMB_RECORD_HEAD || r->away)
		return -EBADMSG;
	if (r->seq >= AMB_RECORD_HARD_LIMIT)
		return -EOVERFLOW;
	/* RFC 8446 5.4: content, type and padding together. */
	len = n - AMB_RECORD_HEAD - TAG_LEN;
	if (len > AMB_RECORD_PLAIN_MAX + 1)
		return -EBADMSG;
	nonce(r, iv);
	if (amb_aead_open(r->aead, p, len, iv, rec, AMB_RECORD_HEAD))
		return -EBADMSG;
	r->seq++;
	/* The type is the last byte that is not padding. */
	while (len && !p[len - 1])
		len--;
	if (!len)
		return -EBADMSG;
	len--;
	switch (p[len]) {
	case AMB_RECORD_DATA:
		break;
	case AMB_RECORD_ALERT:
	case AMB_RECORD_HANDSHAKE:
		if (!len)
			return -EBADMSG;
		break;
	default:
		return -EBADMSG;
	}
	*type = p[len];
	return len;
}

int amb_record_update(struct amb_record *r)
{
	uint8_t next[SECRET_MAX];
	int err = expand(r, "traffic upd", next, r->secret_len);

	if (!err) {
		memcpy(r->secret, next, r->secret_len);
		err = set_keys(r);
	}
	wc_ForceZero(next, sizeof(next));
	return err;
}

int amb_record_keys(const struct amb_record *r, struct amb_record_keys *out)
{
	memset(out, 0, sizeof(*out));
	out->suite = r->suite;
	out->seq = r->seq;
	memcpy(out->iv, r->iv, IV_LEN);
	return expand(r, "key", out->key, key_len(r));
}

void amb_record_hand_over(struct amb_record *r)
{
	amb_aead_destroy(r->aead);
	r->aead = NULL;
	r->away = true;
}

enum amb_record_suite amb_record_suite(const struct amb_record *r)
{
	return r->suite;
}

const char *amb_record_cipher(enum amb_record_suite suite)
{
	return suite == AMB_SUITE_AES128_GCM_SHA256 ? "AES-128-GCM" : "AES-256-GCM";
}

uint64_t amb_record_count(const struct amb_record *r)
{
	return r->seq;
}
