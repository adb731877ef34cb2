// SPDX-License-Identifier: GPL-2.0-or-later
/* Whichever library was chosen, the bytes are those of wolfCrypt, and forgeries are refused. */
#include "proxy/aead.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>

#include <errno.h>

#include "base/util.h"
#include "harness.h"

#define BIG 16385

static uint8_t plain[BIG], ours[BIG + AMB_AEAD_TAG], theirs[BIG + AMB_AEAD_TAG];

static void fill(uint8_t *p, size_t n)
{
	while (n--)
		*p++ = amb_util_random();
}

static void compare(size_t keylen, size_t n)
{
	uint8_t key[32], iv[AMB_AEAD_IV], aad[5];
	struct amb_aead *a;
	Aes aes;

	fill(key, sizeof(key));
	fill(iv, sizeof(iv));
	fill(aad, sizeof(aad));
	fill(plain, n);
	a = amb_aead_create(key, keylen);
	CHECK(a);
	CHECK_EQ(wc_AesInit(&aes, NULL, INVALID_DEVID), 0);
	CHECK_EQ(wc_AesGcmSetKey(&aes, key, keylen), 0);
	CHECK_EQ(wc_AesGcmEncrypt(&aes, theirs, plain, n, iv, AMB_AEAD_IV, theirs + n, AMB_AEAD_TAG,
				  aad, sizeof(aad)),
		 0);
	memcpy(ours, plain, n);
	CHECK_EQ(amb_aead_seal(a, ours, n, iv, aad, sizeof(aad)), 0);
	CHECK_EQ(memcmp(ours, theirs, n + AMB_AEAD_TAG), 0);
	CHECK_EQ(amb_aead_open(a, ours, n, iv, aad, sizeof(aad)), 0);
	CHECK_EQ(memcmp(ours, plain, n), 0);
	/* one bit anywhere: text, tag, additional data */
	memcpy(ours, theirs, n + AMB_AEAD_TAG);
	ours[amb_util_random() % (n + AMB_AEAD_TAG)] ^= 1 << amb_util_random() % 8;
	CHECK_EQ(amb_aead_open(a, ours, n, iv, aad, sizeof(aad)), -EBADMSG);
	memcpy(ours, theirs, n + AMB_AEAD_TAG);
	aad[4] ^= 0x80;
	CHECK_EQ(amb_aead_open(a, ours, n, iv, aad, sizeof(aad)), -EBADMSG);
	wc_AesFree(&aes);
	amb_aead_destroy(a);
}

TEST(same_bytes_as_wolfcrypt)
{
	size_t n;

	printf("# chosen here: %s\n", amb_aead_library());
	for (n = 1; n < 700; n++) {
		compare(16, n);
		compare(32, n);
	}
	for (n = 700; n <= BIG; n += 1 + amb_util_random() % 211) {
		compare(16, n);
		compare(32, n);
	}
	compare(16, BIG);
	compare(32, BIG);
}

/* A library may be chosen by a record's size: one key's records are of all sizes. */
TEST(sizes_change_under_one_key)
{
	static const size_t sizes[] = { 20, BIG, 64, 2047, 2048, 1, 4096, 300, BIG };
	uint8_t key[32], iv[AMB_AEAD_IV] = { 0 }, aad[5] = { 23, 3, 3, 0, 0 };
	struct amb_aead *a;
	Aes aes;
	size_t i;

	fill(key, sizeof(key));
	a = amb_aead_create(key, sizeof(key));
	CHECK(a);
	CHECK_EQ(wc_AesInit(&aes, NULL, INVALID_DEVID), 0);
	CHECK_EQ(wc_AesGcmSetKey(&aes, key, sizeof(key)), 0);
	for (i = 0; i < AMB_ARRAY_SIZE(sizes); i++) {
		size_t n = sizes[i];

		iv[11] = i;
		fill(plain, n);
		memcpy(ours, plain, n);
		CHECK_EQ(amb_aead_seal(a, ours, n, iv, aad, sizeof(aad)), 0);
		CHECK_EQ(wc_AesGcmEncrypt(&aes, theirs, plain, n, iv, AMB_AEAD_IV, theirs + n,
					  AMB_AEAD_TAG, aad, sizeof(aad)),
			 0);
		CHECK_EQ(memcmp(ours, theirs, n + AMB_AEAD_TAG), 0);
		/* A forgery spoils nothing for the next one. */
		ours[n] ^= 1;
		CHECK_EQ(amb_aead_open(a, ours, n, iv, aad, sizeof(aad)), -EBADMSG);
		CHECK_EQ(amb_aead_open(a, theirs, n, iv, aad, sizeof(aad)), 0);
		CHECK_EQ(memcmp(theirs, plain, n), 0);
	}
	wc_AesFree(&aes);
	amb_aead_destroy(a);
}

TEST(keys_of_other_lengths_are_refused)
{
	static const uint8_t key[64];

	CHECK(!amb_aead_create(key, 24));
	CHECK_EQ(errno, EINVAL);
	CHECK(!amb_aead_create(key, 0));
	amb_aead_destroy(NULL);
}

int main(void)
{
	return harness_run();
}
