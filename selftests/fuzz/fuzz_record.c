// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Records from the wire, and inner plaintexts that are sealed properly, so that what is behind
 * the authentication is reached too. First byte: 0 raw bytes, else inner plaintext.
 */
#include "fuzz.h"

#include "proxy/record.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/kdf.h>

static const uint8_t secret[32] = { 7 };

static int expand(uint8_t *out, size_t n, const char *label)
{
	return wc_Tls13_HKDF_Expand_Label(out, n, secret, sizeof(secret), (uint8_t *)"tls13 ", 6,
					  (uint8_t *)label, strlen(label), NULL, 0, WC_SHA256);
}

static size_t seal(const uint8_t *inner, size_t n, uint8_t *rec)
{
	uint8_t key[16], iv[12];
	Aes aes;

	rec[0] = 23;
	rec[1] = rec[2] = 3;
	rec[3] = (n + 16) >> 8;
	rec[4] = n + 16;
	PROMISE(!expand(key, 16, "key") && !expand(iv, 12, "iv"));
	PROMISE(!wc_AesInit(&aes, NULL, INVALID_DEVID) && !wc_AesGcmSetKey(&aes, key, 16));
	PROMISE(!wc_AesGcmEncrypt(&aes, rec + 5, inner, n, iv, 12, rec + 5 + n, 16, rec, 5));
	wc_AesFree(&aes);
	return n + 21;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amb_record *r;
	enum amb_record_type type = 0;
	uint8_t *rec;
	size_t n;
	int ret;

	if (size < 2 || size > AMB_RECORD_MAX)
		return 0;
	rec = malloc(size + 32);
	r = amb_record_create(AMB_SUITE_AES128_GCM_SHA256, secret, sizeof(secret));
	PROMISE(rec && r);
	if (data[0]) {
		n = seal(data + 1, size - 1, rec);
	} else {
		n = size - 1;
		memcpy(rec, data + 1, n);
	}
	ret = amb_record_length(rec, n);
	PROMISE(ret < 0 || ret == 0 || (ret > AMB_RECORD_HEAD + 16 && ret <= AMB_RECORD_MAX));
	ret = amb_record_open(r, rec, n, &type);
	PROMISE(ret < (int)n && ret <= AMB_RECORD_PLAIN_MAX);
	/* Nobody seals by chance. */
	PROMISE(data[0] || ret < 0);
	if (ret >= 0) {
		PROMISE(type == AMB_RECORD_DATA || ret > 0);
		PROMISE(type >= AMB_RECORD_ALERT && type <= AMB_RECORD_DATA);
		PROMISE(data[1 + ret] == type);
		PROMISE(!memcmp(rec + AMB_RECORD_HEAD, data + 1, ret));
		PROMISE(amb_record_count(r) == 1);
	}
	amb_record_destroy(r);
	free(rec);
	return 0;
}
