// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A revocation list of one certificate (RFC 5280 5): a file of lists grows by appending one. It is
 * written from its end to its beginning, so that each length is known when its turn comes.
 */
#include "x509.h"

#include "x509_priv.h"

#include "base/cleanup.h"
#include "base/der.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/coding.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define TAG_KEY_ID AMB_DER_CONTEXT(0) /* of AuthorityKeyIdentifier */
#define TAG_EXTENSIONS AMB_DER_EXPLICIT(0)

#define SIGNATURE_ROOM 160 /* of P-384, with its algorithm and all lengths */

struct back {
	uint8_t *buf;
	size_t at;
	bool full;
};

static void put(struct back *b, const void *p, size_t n)
{
	if (b->full || n > b->at) {
		b->full = true;
		return;
	}
	b->at -= n;
	memcpy(b->buf + b->at, p, n);
}

/* What was written since @end becomes the value of an element. */
static void wrap(struct back *b, size_t end, uint8_t tag)
{
	size_t len = end - b->at;
	uint8_t head[4] = { tag, len }, n = 2;

	if (len > 0xff) {
		head[1] = 0x82;
		head[2] = len >> 8;
		head[3] = len;
		n = 4;
	} else if (len > 0x7f) {
		head[1] = 0x81;
		head[2] = len;
		n = 3;
	}
	put(b, head, n);
}

/* A number without a sign. */
static void put_number(struct back *b, const uint8_t *p, size_t n)
{
	size_t end = b->at;

	put(b, p, n);
	if (n && p[0] & 0x80)
		put(b, "", 1);
	wrap(b, end, AMB_DER_INTEGER);
}

/* An extension of id-ce whose value was written since @end. */
static void wrap_extension(struct back *b, size_t end, uint8_t id)
{
	const uint8_t oid[] = { 0x06, 0x03, 0x55, 0x1d, id };

	wrap(b, end, AMB_DER_OCTETS);
	put(b, oid, sizeof(oid));
	wrap(b, end, AMB_DER_SEQUENCE);
}

static void put_extensions(struct back *b, const DecodedCert *issuer, int64_t now)
{
	const uint8_t number[] = { now >> 32, now >> 24, now >> 16, now >> 8, now };
	size_t end = b->at, one = end;

	put_number(b, number, sizeof(number));
	wrap_extension(b, one, 20);
	one = b->at;
	put(b, issuer->extSubjKeyId, KEYID_SIZE);
	wrap(b, one, TAG_KEY_ID);
	wrap(b, one, AMB_DER_SEQUENCE);
	wrap_extension(b, one, 35);
	wrap(b, end, AMB_DER_SEQUENCE);
	wrap(b, end, TAG_EXTENSIONS);
}

static int put_date(struct back *b, int64_t when)
{
	uint8_t date[AMB_X509_DATE_MAX];
	int n = amb_x509_date(when, date);

	if (n > 0)
		put(b, date, n);
	return n > 0 ? 0 : n;
}

static void put_algorithm(struct back *b, bool p384)
{
	/* ecdsa-with-SHA256, ecdsa-with-SHA384 */
	const uint8_t oid[] = {
		0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, p384 ? 3 : 2,
	};
	size_t end = b->at;

	put(b, oid, sizeof(oid));
	wrap(b, end, AMB_DER_SEQUENCE);
}

static int put_list(struct back *b, const DecodedCert *issuer, const DecodedCert *cert, bool p384,
		    int64_t now, int64_t next)
{
	static const uint8_t v2 = 1;
	size_t end = b->at, from;
	int err;

	put_extensions(b, issuer, now);
	from = b->at;
	err = put_date(b, now);
	put_number(b, cert->serial, cert->serialSz);
	wrap(b, from, AMB_DER_SEQUENCE);
	wrap(b, from, AMB_DER_SEQUENCE);
	err = err ?: put_date(b, next) ?: put_date(b, now);
	from = b->at;
	put(b, issuer->subjectRaw, issuer->subjectRawLen);
	wrap(b, from, AMB_DER_SEQUENCE);
	put_algorithm(b, p384);
	put_number(b, &v2, 1);
	wrap(b, end, AMB_DER_SEQUENCE);
	return err ?: b->full ? -ENOSPC : 0;
}

static char *to_pem(const uint8_t *der, size_t len)
{
	word32 n = len * 2 + 64;
	_cleanup_free_ uint8_t *text = malloc(n + 1);
	char *pem = NULL;

	if (!text || Base64_Encode(der, len, text, &n))
		return NULL;
	text[n] = 0;
	if (asprintf(&pem, "-----BEGIN X509 CRL-----\n%s-----END X509 CRL-----\n", text) < 0)
		return NULL;
	return pem;
}

static int parse(DecodedCert *dc, const struct amb_der *der)
{
	InitDecodedCert(dc, der->data, der->len, NULL);
	return ParseCert(dc, CERT_TYPE, NO_VERIFY, NULL) ? -EBADMSG : 0;
}

int amb_x509_crl(const struct amb_der *cert, const struct amb_x509_key *issuer_key,
		 const struct amb_der *issuer, int64_t now, int64_t next, char **pem)
{
	_cleanup_free_ DecodedCert *dc = calloc(2, sizeof(*dc));
	uint8_t buf[AMB_X509_CERT_MAX];
	struct back b = { .buf = buf, .at = sizeof(buf) - SIGNATURE_ROOM };
	size_t len;
	int n;

	if (!dc)
		return -ENOMEM;
	n = parse(&dc[0], issuer) ?: parse(&dc[1], cert);
	n = n ?: put_list(&b, &dc[0], &dc[1], amb_x509_is_p384(issuer_key), now, next);
	FreeDecodedCert(&dc[0]);
	FreeDecodedCert(&dc[1]);
	if (n)
		return n;
	len = sizeof(buf) - SIGNATURE_ROOM - b.at;
	memmove(buf, buf + b.at, len);
	n = amb_x509_sign_der(issuer_key, buf, len, sizeof(buf));
	if (n < 0)
		return n;
	*pem = to_pem(buf, n);
	return *pem ? 0 : -ENOMEM;
}
