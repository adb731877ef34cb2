// SPDX-License-Identifier: GPL-2.0-or-later
/* The TLS 1.3 record layer: RFC 8448's own records, round trips, and every malformed record. */
#include "harness.h"

#include "proxy/aead.h"
#include "proxy/record.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/kdf.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

static const uint8_t secret32[32] = { 1, 2, 3 }, secret48[48] = { 4, 5, 6 };

static size_t unhex(const char *text, uint8_t *out)
{
	size_t n = 0;
	unsigned int v;

	for (; *text; text += *text == ' ' ? 1 : 2) {
		if (*text != ' ' && sscanf(text, "%2x", &v) == 1)
			out[n++] = v;
	}
	return n;
}

/* RFC 8448 section 3: traffic secrets and the first records under them. */
static const struct {
	const char *who, *secret, *plain, *record;
} rfc8448[] = {
	{ "client, application data",
	  "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5",
	  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	  "202122232425262728292a2b2c2d2e2f3031",
	  "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd5"
	  "4a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4" },
};

TEST(rfc8448_vectors)
{
	size_t i;

	for (i = 0; i < sizeof(rfc8448) / sizeof(rfc8448[0]); i++) {
		uint8_t secret[32], plain[256], want[256], rec[256];
		size_t n, len;
		struct amb_record *tx, *rx;
		enum amb_record_type type;

		CASE(rfc8448[i].who);
		CHECK_EQ(unhex(rfc8448[i].secret, secret), 32);
		n = unhex(rfc8448[i].plain, plain);
		len = unhex(rfc8448[i].record, want);
		tx = amb_record_create(AMB_SUITE_AES128_GCM_SHA256, secret, 32);
		rx = amb_record_create(AMB_SUITE_AES128_GCM_SHA256, secret, 32);
		memcpy(rec + AMB_RECORD_HEAD, plain, n);
		CHECK_EQ(amb_record_seal(tx, rec, n, AMB_RECORD_DATA), len);
		CHECK(!memcmp(rec, want, len));
		CHECK_EQ(amb_record_open(rx, want, len, &type), n);
		CHECK_EQ(type, AMB_RECORD_DATA);
		CHECK(!memcmp(want + AMB_RECORD_HEAD, plain, n));
		amb_record_destroy(tx);
		amb_record_destroy(rx);
	}
}

struct pair {
	struct amb_record *tx, *rx;
};

static struct pair make_pair(enum amb_record_suite suite)
{
	bool small = suite == AMB_SUITE_AES128_GCM_SHA256;
	const uint8_t *secret = small ? secret32 : secret48;
	struct pair p = { amb_record_create(suite, secret, small ? 32 : 48),
			  amb_record_create(suite, secret, small ? 32 : 48) };

	CHECK(p.tx && p.rx);
	return p;
}

static void free_pair(struct pair *p)
{
	amb_record_destroy(p->tx);
	amb_record_destroy(p->rx);
}

static const enum amb_record_suite suites[] = { AMB_SUITE_AES128_GCM_SHA256,
						AMB_SUITE_AES256_GCM_SHA384 };

TEST(round_trips_of_all_sizes)
{
	static const size_t sizes[] = { 1, 2, 15, 16, 17, 74, 255, 4096, 16375, 16383, 16384 };
	static uint8_t rec[AMB_RECORD_MAX], copy[AMB_RECORD_PLAIN_MAX];
	size_t s, i, j;

	for (s = 0; s < 2; s++) {
		struct pair p = make_pair(suites[s]);

		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			enum amb_record_type type;
			int n;

			for (j = 0; j < sizes[i]; j++)
				copy[j] = rec[AMB_RECORD_HEAD + j] = j * 7 + i;
			n = amb_record_seal(p.tx, rec, sizes[i], AMB_RECORD_DATA);
			CHECK_EQ(n, sizes[i] + AMB_RECORD_HEAD + AMB_RECORD_TAIL);
			CHECK_EQ(amb_record_length(rec, n), n);
			CHECK_EQ(amb_record_open(p.rx, rec, n, &type), sizes[i]);
			CHECK_EQ(type, AMB_RECORD_DATA);
			CHECK(!memcmp(rec + AMB_RECORD_HEAD, copy, sizes[i]));
			CHECK_EQ(amb_record_count(p.rx), i + 1);
		}
		free_pair(&p);
	}
}

TEST(order_matters_and_replays_fail)
{
	struct pair p = make_pair(suites[0]);
	uint8_t a[64], b[64], again[64];
	enum amb_record_type type;
	int n;

	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	n = amb_record_seal(p.tx, a, 10, AMB_RECORD_DATA);
	CHECK_EQ(amb_record_seal(p.tx, b, 10, AMB_RECORD_DATA), n);
	memcpy(again, b, sizeof(b));
	CHECK_EQ(amb_record_open(p.rx, again, n, &type), -EBADMSG);
	memcpy(again, a, sizeof(a));
	CHECK_EQ(amb_record_open(p.rx, a, n, &type), 10);
	CHECK_EQ(amb_record_open(p.rx, again, n, &type), -EBADMSG);
	CHECK_EQ(amb_record_open(p.rx, b, n, &type), 10);
	free_pair(&p);
}

TEST(key_update)
{
	size_t s;

	for (s = 0; s < 2; s++) {
		struct pair p = make_pair(suites[s]);
		enum amb_record_type type;
		uint8_t rec[64];
		int i, n;

		for (i = 0; i < 3; i++) {
			CHECK_EQ(amb_record_update(p.tx), 0);
			CHECK_EQ(amb_record_count(p.tx), 0);
			n = amb_record_seal(p.tx, rec, 5, AMB_RECORD_HANDSHAKE);
			CHECK_EQ(amb_record_open(p.rx, rec, n, &type), -EBADMSG);
			CHECK_EQ(amb_record_update(p.rx), 0);
			memset(rec + AMB_RECORD_HEAD, i, 5);
			CHECK_EQ(amb_record_update(p.tx), 0);
			CHECK_EQ(amb_record_update(p.rx), 0);
			n = amb_record_seal(p.tx, rec, 5, AMB_RECORD_HANDSHAKE);
			CHECK_EQ(amb_record_open(p.rx, rec, n, &type), 5);
			CHECK_EQ(type, AMB_RECORD_HANDSHAKE);
			CHECK_EQ(rec[AMB_RECORD_HEAD + 4], i);
		}
		free_pair(&p);
	}
}

TEST(each_flipped_bit_is_seen)
{
	uint8_t good[64], bad[64];
	enum amb_record_type type = AMB_RECORD_DATA;
	struct pair p = make_pair(suites[0]);
	int n, i;

	memset(good, 0x55, sizeof(good));
	n = amb_record_seal(p.tx, good, 7, AMB_RECORD_DATA);
	for (i = 0; i < n * 8; i++) {
		memcpy(bad, good, n);
		bad[i / 8] ^= 1 << i % 8;
		CHECK_EQ(amb_record_open(p.rx, bad, n, &type), -EBADMSG);
	}
	/* None of them moved the counter. */
	CHECK_EQ(amb_record_open(p.rx, good, n, &type), 7);
	free_pair(&p);
}

static const struct {
	const char *what;
	uint8_t head[5];
	size_t n;
	int want;
} heads[] = {
	{ "nothing yet", { 0 }, 0, 0 },
	{ "type only", { 23 }, 1, 0 },
	{ "four bytes", { 23, 3, 3, 0 }, 4, 0 },
	{ "shortest", { 23, 3, 3, 0, 17 }, 5, 22 },
	{ "no room for a tag", { 23, 3, 3, 0, 16 }, 5, -EBADMSG },
	{ "empty", { 23, 3, 3, 0, 0 }, 5, -EBADMSG },
	{ "longest", { 23, 3, 3, 0x41, 0x00 }, 5, 16645 },
	{ "one more", { 23, 3, 3, 0x41, 0x01 }, 5, -EBADMSG },
	{ "most", { 23, 3, 3, 0xff, 0xff }, 5, -EBADMSG },
	{ "legacy version is not looked at", { 23, 3, 1, 1, 0 }, 5, 261 },
	{ "clear alert", { 21, 3, 3, 0, 2 }, 5, -EBADMSG },
	{ "clear handshake", { 22, 3, 3, 1, 0 }, 5, -EBADMSG },
	{ "change cipher spec", { 20, 3, 3, 0, 1 }, 5, -EBADMSG },
	{ "HTTP", { 'P', 'R', 'I', ' ', '*' }, 5, -EBADMSG },
	{ "wrong type is seen at once", { 'G' }, 1, -EBADMSG },
};

TEST(lengths)
{
	size_t i;

	for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		CASE(heads[i].what);
		CHECK_EQ(amb_record_length(heads[i].head, heads[i].n), heads[i].want);
	}
}

static int expand(uint8_t *out, size_t n, const char *label)
{
	return wc_Tls13_HKDF_Expand_Label(out, n, secret32, 32, (uint8_t *)"tls13 ", 6,
					  (uint8_t *)label, strlen(label), NULL, 0, WC_SHA256);
}

/* Seals any inner plaintext, also such as amb_record_seal() would never make. */
static int seal_raw(const uint8_t *inner, size_t n, uint8_t *rec)
{
	uint8_t key[16], iv[12];
	Aes aes;
	int err;

	err = expand(key, 16, "key") ?: expand(iv, 12, "iv");
	rec[0] = 23;
	rec[1] = rec[2] = 3;
	rec[3] = (n + 16) >> 8;
	rec[4] = n + 16;
	err = err ?: wc_AesInit(&aes, NULL, INVALID_DEVID) ?: wc_AesGcmSetKey(&aes, key, 16);
	err = err ?: wc_AesGcmEncrypt(&aes, rec + 5, inner, n, iv, 12, rec + 5 + n, 16, rec, 5);
	wc_AesFree(&aes);
	CHECK_EQ(err, 0);
	return n + 21;
}

static const struct {
	const char *what;
	size_t zeros; /* of content, before inner */
	uint8_t inner[8];
	size_t n, pad;
	int want;
	enum amb_record_type type;
} inners[] = {
	{ "data", 0, { 'h', 'i', 23 }, 3, 0, 2, AMB_RECORD_DATA },
	{ "padded", 0, { 'h', 'i', 23 }, 3, 100, 2, AMB_RECORD_DATA },
	{ "content that ends in zeros", 0, { 'h', 0, 0, 23 }, 4, 3, 3, AMB_RECORD_DATA },
	{ "empty data", 0, { 23 }, 1, 0, 0, AMB_RECORD_DATA },
	{ "empty data, padded", 0, { 23 }, 1, 9, 0, AMB_RECORD_DATA },
	{ "alert", 0, { 1, 0, 21 }, 3, 0, 2, AMB_RECORD_ALERT },
	{ "handshake", 0, { 24, 0, 0, 1, 0, 22 }, 6, 0, 5, AMB_RECORD_HANDSHAKE },
	{ "empty handshake", 0, { 22 }, 1, 0, -EBADMSG, 0 },
	{ "empty alert", 0, { 21 }, 1, 4, -EBADMSG, 0 },
	{ "padding only", 0, { 0 }, 1, 0, -EBADMSG, 0 },
	{ "much padding only", 0, { 0 }, 1, 1000, -EBADMSG, 0 },
	{ "inner change cipher spec", 0, { 1, 20 }, 2, 0, -EBADMSG, 0 },
	{ "unknown inner type", 0, { 1, 99 }, 2, 0, -EBADMSG, 0 },
	{ "largest content", 16383, { 1, 23 }, 2, 0, 16384, AMB_RECORD_DATA },
	{ "content too large", 16384, { 1, 23 }, 2, 0, -EBADMSG, 0 },
	{ "padded to the limit", 16000, { 1, 23 }, 2, 383, 16001, AMB_RECORD_DATA },
	{ "padded past the limit", 16000, { 1, 23 }, 2, 384, -EBADMSG, 0 },
};

TEST(inner_plaintexts)
{
	static uint8_t plain[AMB_RECORD_MAX], rec[AMB_RECORD_MAX];
	size_t i;

	for (i = 0; i < sizeof(inners) / sizeof(inners[0]); i++) {
		struct pair p = make_pair(suites[0]);
		enum amb_record_type type = 0;
		int n;

		CASE(inners[i].what);
		memset(plain, 0, sizeof(plain));
		memcpy(plain + inners[i].zeros, inners[i].inner, inners[i].n);
		n = seal_raw(plain, inners[i].zeros + inners[i].n + inners[i].pad, rec);
		CHECK_EQ(amb_record_open(p.rx, rec, n, &type), inners[i].want);
		CHECK_EQ(type, inners[i].type);
		free_pair(&p);
	}
}

TEST(refused_arguments)
{
	static uint8_t rec[AMB_RECORD_MAX + 64];
	struct pair p = make_pair(suites[0]);
	enum amb_record_type type;
	int n;

	CHECK_EQ(amb_record_seal(p.tx, rec, 0, AMB_RECORD_DATA), -EINVAL);
	CHECK_EQ(amb_record_seal(p.tx, rec, AMB_RECORD_PLAIN_MAX + 1, AMB_RECORD_DATA), -EINVAL);
	n = amb_record_seal(p.tx, rec, 100, AMB_RECORD_DATA);
	CHECK_EQ(amb_record_open(p.rx, rec, n - 1, &type), -EBADMSG);
	CHECK_EQ(amb_record_open(p.rx, rec, n + 1, &type), -EBADMSG);
	CHECK_EQ(amb_record_open(p.rx, rec, 3, &type), -EBADMSG);
	CHECK_EQ(amb_record_open(p.rx, rec, 0, &type), -EBADMSG);
	CHECK(!amb_record_create(AMB_SUITE_AES128_GCM_SHA256, secret48, 48));
	CHECK_EQ(errno, EINVAL);
	CHECK(!amb_record_create(AMB_SUITE_AES256_GCM_SHA384, secret32, 32));
	CHECK_EQ(errno, EINVAL);
	CHECK(!amb_record_create(0x1303, secret32, 32));
	CHECK_EQ(errno, EINVAL);
	amb_record_destroy(NULL);
	free_pair(&p);
}

/* Whoever has the keys goes on with the next record, also after an update. */
TEST(handed_over)
{
	static uint8_t rec[AMB_RECORD_MAX];
	size_t s, round;

	for (s = 0; s < 2; s++) {
		struct pair p = make_pair(suites[s]);
		enum amb_record_type type;
		int n;

		CASE(amb_record_cipher(suites[s]));
		CHECK_STR(amb_record_cipher(suites[s]), s ? "AES-256-GCM" : "AES-128-GCM");
		CHECK_EQ(amb_record_suite(p.tx), suites[s]);
		for (n = 0; n < 3; n++)
			CHECK(amb_record_seal(p.tx, rec, 10, AMB_RECORD_DATA) > 0);
		for (round = 0; round < 2; round++) {
			struct amb_record_keys k;
			struct amb_aead *aead;
			uint8_t iv[12];
			int i;

			CHECK(!amb_record_keys(p.rx, &k));
			CHECK_EQ(k.suite, suites[s]);
			CHECK_EQ(k.seq, 0);
			CHECK(!amb_record_keys(p.tx, &k));
			CHECK_EQ(k.seq, round ? 0 : 3);
			/* The other side seals number 3 by itself, then number 0 of the next key. */
			memset(rec + AMB_RECORD_HEAD, 0x5a, 100);
			for (i = 0; i <= (int)k.seq; i++) {
				memset(rec + AMB_RECORD_HEAD, 0x5a, 100);
				n = amb_record_seal(p.rx, rec, 100, AMB_RECORD_DATA);
			}
			memcpy(iv, k.iv, 12);
			iv[11] ^= k.seq;
			aead = amb_aead_create(k.key, s ? 32 : 16);
			CHECK(!amb_aead_open(aead, rec + AMB_RECORD_HEAD, 101, iv, rec,
					     AMB_RECORD_HEAD));
			CHECK(rec[AMB_RECORD_HEAD] == 0x5a && rec[AMB_RECORD_HEAD + 99] == 0x5a);
			CHECK_EQ(rec[AMB_RECORD_HEAD + 100], AMB_RECORD_DATA);
			amb_aead_destroy(aead);
			amb_record_hand_over(p.tx);
			CHECK_EQ(amb_record_seal(p.tx, rec, 10, AMB_RECORD_DATA), -EINVAL);
			CHECK_EQ(amb_record_open(p.tx, rec, n, &type), -EBADMSG);
			CHECK(!amb_record_update(p.tx) && !amb_record_update(p.rx));
		}
		free_pair(&p);
	}
}

int main(void)
{
	return harness_run();
}
