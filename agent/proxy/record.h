/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS 1.3 record protection (RFC 8446 section 5), in place: our own record layer over the
 * library's AEAD, taken over after the handshake. Pure: bytes in, bytes out.
 */
#ifndef AMB_RECORD_H
#define AMB_RECORD_H

#include <stddef.h>
#include <stdint.h>

#define AMB_RECORD_HEAD 5 /* before the plaintext */
#define AMB_RECORD_TAIL 17 /* behind it: content type and tag */
#define AMB_RECORD_PLAIN_MAX 16384 /* plaintext of one record */
#define AMB_RECORD_MAX (AMB_RECORD_HEAD + AMB_RECORD_PLAIN_MAX + 256) /* RFC 8446 5.2 */

enum amb_record_type {
	AMB_RECORD_CCS = 20,
	AMB_RECORD_ALERT = 21,
	AMB_RECORD_HANDSHAKE = 22,
	AMB_RECORD_DATA = 23,
};

enum amb_record_suite {
	AMB_SUITE_AES128_GCM_SHA256 = 0x1301,
	AMB_SUITE_AES256_GCM_SHA384 = 0x1302,
};

/* One direction: key, iv, sequence number, traffic secret (for KeyUpdate). */
struct amb_record;

/*
 * From a traffic secret of @len bytes (32 for SHA-256, 48 for SHA-384), sequence number 0.
 * NULL: errno ENOMEM or EINVAL. The secret is copied and wiped on destroy.
 */
struct amb_record *amb_record_create(enum amb_record_suite suite, const uint8_t *secret,
				     size_t len);
void amb_record_destroy(struct amb_record *r);

/*
 * Seals in place: @rec has AMB_RECORD_HEAD free bytes, @n (1..AMB_RECORD_PLAIN_MAX) bytes of
 * plaintext, AMB_RECORD_TAIL free bytes. Returns the record's whole length, or -errno.
 */
int amb_record_seal(struct amb_record *r, uint8_t *rec, size_t n, enum amb_record_type type);

/*
 * Length of the record that starts at @rec when @n bytes of it are there: 0 for "need more to
 * tell", -EBADMSG for a header that no TLS 1.3 peer sends, else the whole length (which may be
 * more than @n).
 */
int amb_record_length(const uint8_t *rec, size_t n);

/*
 * Opens a whole record in place. Plaintext begins at @rec + AMB_RECORD_HEAD; returns its
 * length (0 is legal for data) and the inner type, or -EBADMSG.
 */
int amb_record_open(struct amb_record *r, uint8_t *rec, size_t n, enum amb_record_type *type);

/* Next traffic secret, sequence number 0 (RFC 8446 7.2). 0 or -errno. */
int amb_record_update(struct amb_record *r);

/* What another implementation needs to go on from here. To be wiped by who asked. */
struct amb_record_keys {
	enum amb_record_suite suite;
	uint8_t key[32]; /* 16 bytes of it for AES-128 */
	uint8_t iv[12];
	uint64_t seq; /* of the next record */
};
/* 0 or -errno. */
int amb_record_keys(const struct amb_record *r, struct amb_record_keys *out);
/*
 * Another goes on with those keys: the cipher's state is freed, nothing can be sealed or opened
 * here any more. The secret stays, for updates.
 */
void amb_record_hand_over(struct amb_record *r);

enum amb_record_suite amb_record_suite(const struct amb_record *r);
/* "AES-128-GCM", ... */
const char *amb_record_cipher(enum amb_record_suite suite);

/*
 * Records so far under the present key: connections retire at AMB_RECORD_LIMIT, renew their key at
 * twice that.
 */
#define AMB_RECORD_LIMIT (1ull << 23)
/* Past 2^24.5 full records under one key AES-GCM loses its margin (RFC 8446 5.5): not one more. */
#define AMB_RECORD_HARD_LIMIT (23726566ull)
uint64_t amb_record_count(const struct amb_record *r);

#endif
