// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Revocation lists become sorted arrays of hashes: what a connection has to keep of its peer's
 * chain, to be judged again when the lists change, is 16 bytes a certificate. The hashes are
 * SHA-256, cut; who could choose a certificate that meets another one's would only get itself
 * refused.
 *
 * Two roots may have the same name, as those that istiod makes for itself have. Key identifiers
 * tell them apart where list and certificate have one.
 */
#include "crl.h"

#include "base/cleanup.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/coding.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG_INTEGER 0x02
#define TAG_BITS 0x03
#define TAG_OCTETS 0x04
#define TAG_OID 0x06
#define TAG_BOOL 0x01
#define TAG_UTC_TIME 0x17
#define TAG_GENERAL_TIME 0x18
#define TAG_SEQUENCE 0x30
#define TAG_KEY_ID 0x80 /* [0] of AuthorityKeyIdentifier */
#define TAG_INDIRECT 0x84 /* [4] of IssuingDistributionPoint */
#define TAG_EXPLICIT(n) (0xa0 | (n))

struct list {
	uint64_t key;
	size_t n, cap;
	uint64_t *cert; /* sorted */
};

struct lists {
	size_t n;
	struct list v[AMB_CRL_LISTS_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lists *lists; /* lock */
static uint32_t generation; /* atomic; written with the lock held */

/* DER */

struct der {
	const uint8_t *p;
	size_t n;
};

/* Takes the next element of @in off: its tag, its value, and (unless NULL) all of it. */
static int next(struct der *in, uint8_t *tag, struct der *value, struct der *whole)
{
	const uint8_t *start = in->p;
	size_t head = 2, len, i;

	if (in->n < 2 || (in->p[0] & 0x1f) == 0x1f)
		return -EBADMSG;
	len = in->p[1];
	if (len & 0x80) {
		size_t bytes = len & 0x7f;

		if (!bytes || bytes > 4 || in->n < 2 + bytes)
			return -EBADMSG;
		for (len = 0, i = 0; i < bytes; i++)
			len = len << 8 | in->p[2 + i];
		head += bytes;
	}
	if (len > in->n - head)
		return -EBADMSG;
	*tag = in->p[0];
	*value = (struct der){ in->p + head, len };
	if (whole)
		*whole = (struct der){ start, head + len };
	in->p += head + len;
	in->n -= head + len;
	return 0;
}

static int expect(struct der *in, uint8_t want, struct der *value, struct der *whole)
{
	uint8_t tag;

	return next(in, &tag, value, whole) ?: tag == want ? 0 : -EBADMSG;
}

static bool next_is(const struct der *in, uint8_t tag)
{
	return in->n && in->p[0] == tag;
}

/* One that may be there. */
static int skip(struct der *in, uint8_t tag)
{
	struct der value;

	return next_is(in, tag) ? expect(in, tag, &value, NULL) : 0;
}

struct extension {
	struct der oid, value;
	bool critical;
};

static int next_extension(struct der *in, struct extension *x)
{
	struct der seq, critical;
	int err;

	err = expect(in, TAG_SEQUENCE, &seq, NULL) ?: expect(&seq, TAG_OID, &x->oid, NULL);
	x->critical = false;
	if (!err && next_is(&seq, TAG_BOOL)) {
		err = expect(&seq, TAG_BOOL, &critical, NULL);
		x->critical = !err && critical.n == 1 && critical.p[0];
	}
	return err ?: expect(&seq, TAG_OCTETS, &x->value, NULL);
}

static bool oid_is(const struct extension *x, uint8_t last)
{
	/* id-ce: 2.5.29 */
	return x->oid.n == 3 && x->oid.p[0] == 0x55 && x->oid.p[1] == 0x1d && x->oid.p[2] == last;
}

#define OID_DISTRIBUTION_POINT 28
#define OID_AUTHORITY_KEY 35

/* Hashes */

static uint64_t hash(const struct der *a, const struct der *b)
{
	uint8_t out[WC_SHA256_DIGEST_SIZE];
	wc_Sha256 sha;
	uint64_t v;
	int err;

	err = wc_InitSha256(&sha) ?: wc_Sha256Update(&sha, a->p, a->n);
	if (!err && b)
		err = wc_Sha256Update(&sha, b->p, b->n);
	if (err || wc_Sha256Final(&sha, out))
		return 0;
	wc_Sha256Free(&sha);
	memcpy(&v, out, sizeof(v));
	/* 0 is none. */
	return v ?: 1;
}

/* Leading zeros of a number are no part of it. */
static struct der number(struct der v)
{
	while (v.n > 1 && !v.p[0]) {
		v.p++;
		v.n--;
	}
	return v;
}

static int key_of(const struct extension *x, uint64_t *key)
{
	struct der in = x->value, seq, id;
	int err = expect(&in, TAG_SEQUENCE, &seq, NULL);

	if (err || !next_is(&seq, TAG_KEY_ID))
		return err;
	err = expect(&seq, TAG_KEY_ID, &id, NULL);
	if (!err)
		*key = hash(&id, NULL);
	return err;
}

/* Lists */

struct reading {
	const char *wrong;
	size_t revoked;
};

static int bad(struct reading *r, const char *what)
{
	r->wrong = what;
	return -EBADMSG;
}

static int list_extensions(struct reading *r, struct der in, struct list *l)
{
	struct extension x;
	struct der seq, point, flag;
	uint8_t tag;

	if (expect(&in, TAG_SEQUENCE, &seq, NULL))
		return bad(r, "extensions");
	while (seq.n) {
		if (next_extension(&seq, &x))
			return bad(r, "an extension");
		if (oid_is(&x, OID_AUTHORITY_KEY)) {
			if (key_of(&x, &l->key))
				return bad(r, "the authority's key identifier");
		} else if (oid_is(&x, OID_DISTRIBUTION_POINT)) {
			struct der value = x.value;

			if (expect(&value, TAG_SEQUENCE, &point, NULL))
				return bad(r, "the distribution point");
			while (point.n) {
				if (next(&point, &tag, &flag, NULL))
					return bad(r, "the distribution point");
				if (tag == TAG_INDIRECT && flag.n == 1 && flag.p[0])
					return bad(r, "it is an indirect list");
			}
		} else if (x.critical) {
			return bad(r, "a critical extension that is not known, as of delta lists");
		}
	}
	return 0;
}

static int add(struct list *l, uint64_t cert)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		uint64_t *v = reallocarray(l->cert, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->cert = v;
		l->cap = cap;
	}
	l->cert[l->n++] = cert;
	return cert ? 0 : -ENOMEM;
}

static int entry(struct reading *r, struct der *in, const struct der *issuer, struct list *l)
{
	struct der seq, serial, date, extensions = { 0 };
	struct extension x;
	uint8_t tag;

	if (expect(in, TAG_SEQUENCE, &seq, NULL) || expect(&seq, TAG_INTEGER, &serial, NULL) ||
	    next(&seq, &tag, &date, NULL) || (tag != TAG_UTC_TIME && tag != TAG_GENERAL_TIME) ||
	    (seq.n && expect(&seq, TAG_SEQUENCE, &extensions, NULL)))
		return bad(r, "an entry");
	while (extensions.n) {
		if (next_extension(&extensions, &x))
			return bad(r, "an entry's extension");
		if (x.critical)
			return bad(r, "an entry's critical extension, as of another issuer's");
	}
	serial = number(serial);
	r->revoked++;
	return add(l, hash(issuer, &serial));
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* RFC 5280 5.1: who, when, whom. */
static int read_list(struct reading *r, struct der in, struct list *l)
{
	struct der outer, tbs, value, issuer, entries = { 0 };
	uint8_t tag;
	int err = 0;

	if (expect(&in, TAG_SEQUENCE, &outer, NULL) || expect(&outer, TAG_SEQUENCE, &tbs, NULL) ||
	    expect(&outer, TAG_SEQUENCE, &value, NULL) || expect(&outer, TAG_BITS, &value, NULL) ||
	    outer.n || in.n || skip(&tbs, TAG_INTEGER) ||
	    expect(&tbs, TAG_SEQUENCE, &value, NULL) || expect(&tbs, TAG_SEQUENCE, &value, &issuer))
		return bad(r, "it is no certificate revocation list");
	if (next(&tbs, &tag, &value, NULL) || (tag != TAG_UTC_TIME && tag != TAG_GENERAL_TIME) ||
	    skip(&tbs, TAG_UTC_TIME) || skip(&tbs, TAG_GENERAL_TIME))
		return bad(r, "its times");
	if (next_is(&tbs, TAG_SEQUENCE) && expect(&tbs, TAG_SEQUENCE, &entries, NULL))
		return bad(r, "its entries");
	if (next_is(&tbs, TAG_EXPLICIT(0))) {
		if (expect(&tbs, TAG_EXPLICIT(0), &value, NULL))
			return bad(r, "extensions");
		err = list_extensions(r, value, l);
	}
	while (!err && entries.n)
		err = entry(r, &entries, &issuer, l);
	if (!err && tbs.n)
		return bad(r, "there is more than belongs to it");
	if (!err && l->n)
		qsort(l->cert, l->n, sizeof(*l->cert), by_number);
	return err;
}

static void lists_free(struct lists *l)
{
	if (!l)
		return;
	while (l->n)
		free(l->v[--l->n].cert);
	free(l);
}

/* Counted before it is read, so that what was read of a bad one is freed. */
static int add_list(struct reading *r, struct lists *l, struct der der)
{
	if (l->n == AMB_CRL_LISTS_MAX)
		return -EFBIG;
	return read_list(r, der, &l->v[l->n++]);
}

#define BEGIN "-----BEGIN X509 CRL-----"
#define END "-----END X509 CRL-----"
#define ANY_BEGIN "-----BEGIN "

static int read_pem(struct reading *r, struct lists *l, const char *text)
{
	const char *at, *end;
	int err = 0;

	for (at = strstr(text, BEGIN); at && !err; at = strstr(end, BEGIN)) {
		_cleanup_free_ uint8_t *der = NULL;
		word32 n;

		at += strlen(BEGIN);
		end = strstr(at, END);
		if (!end)
			return bad(r, "its PEM block does not end");
		n = end - at;
		der = malloc(n ?: 1);
		if (!der)
			return -ENOMEM;
		if (Base64_Decode((const uint8_t *)at, end - at, der, &n))
			return bad(r, "its PEM block is not base64");
		err = add_list(r, l, (struct der){ der, n });
	}
	return err;
}

static int read_any(struct reading *r, struct lists *l, const uint8_t *data, size_t len)
{
	_cleanup_free_ char *text = NULL;

	if (!len)
		return 0;
	if (data[0] == TAG_SEQUENCE)
		return add_list(r, l, (struct der){ data, len });
	text = malloc(len + 1);
	if (!text)
		return -ENOMEM;
	memcpy(text, data, len);
	text[len] = 0;
	if (!strstr(text, ANY_BEGIN))
		return bad(r, "it is neither PEM nor DER");
	return read_pem(r, l, text);
}

static void swap(struct lists *to)
{
	struct lists *old;

	pthread_mutex_lock(&lock);
	old = lists;
	lists = to;
	/* 0 is that of no lists. */
	__atomic_store_n(&generation, generation + 1 ?: 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&lock);
	lists_free(old);
}

int amb_crl_load(const void *data, size_t len, size_t *revoked, char *err, size_t errlen)
{
	struct lists *l = calloc(1, sizeof(*l));
	struct reading r = { 0 };
	int e = !l ? -ENOMEM : len > AMB_CRL_BYTES_MAX ? -EFBIG : read_any(&r, l, data, len);

	if (!e) {
		*revoked = r.revoked;
		swap(l);
		return 0;
	}
	if (r.wrong)
		snprintf(err, errlen, "list %zu: %s", l->n, r.wrong);
	else
		snprintf(err, errlen, "%s", strerror(-e));
	lists_free(l);
	return e;
}

void amb_crl_unload(void)
{
	swap(NULL);
	__atomic_store_n(&generation, 0, __ATOMIC_RELEASE);
}

/* Certificates */

uint32_t amb_crl_generation(void)
{
	return __atomic_load_n(&generation, __ATOMIC_ACQUIRE);
}

/* Extensions of a certificate, whatever stands between. */
static int cert_key(struct der tbs, uint64_t *key)
{
	struct der value, seq;
	struct extension x;
	uint8_t tag;

	while (tbs.n) {
		if (next(&tbs, &tag, &value, NULL))
			return -EBADMSG;
		if (tag != TAG_EXPLICIT(3))
			continue;
		if (expect(&value, TAG_SEQUENCE, &seq, NULL))
			return -EBADMSG;
		while (seq.n) {
			if (next_extension(&seq, &x) ||
			    (oid_is(&x, OID_AUTHORITY_KEY) && key_of(&x, key)))
				return -EBADMSG;
		}
	}
	return 0;
}

static int cert_id(const struct amb_der *cert, struct amb_crl_id *id)
{
	struct der in = { cert->data, cert->len }, outer, tbs, value, serial, issuer;

	*id = (struct amb_crl_id){ 0 };
	if (expect(&in, TAG_SEQUENCE, &outer, NULL) || expect(&outer, TAG_SEQUENCE, &tbs, NULL) ||
	    skip(&tbs, TAG_EXPLICIT(0)) || expect(&tbs, TAG_INTEGER, &serial, NULL) ||
	    expect(&tbs, TAG_SEQUENCE, &value, NULL) || expect(&tbs, TAG_SEQUENCE, &value, &issuer))
		return -EBADMSG;
	serial = number(serial);
	id->cert = hash(&issuer, &serial);
	return id->cert ? cert_key(tbs, &id->key) : -EBADMSG;
}

int amb_crl_ids(const struct amb_der *chain, size_t n, struct amb_crl_id *out)
{
	size_t i;
	int err = 0;

	for (i = 0; i < n && !err; i++)
		err = cert_id(&chain[i], &out[i]);
	return err;
}

static bool names(const struct list *l, const struct amb_crl_id *id)
{
	if (l->key && id->key && l->key != id->key)
		return false;
	return l->n && bsearch(&id->cert, l->cert, l->n, sizeof(*l->cert), by_number);
}

size_t amb_crl_find(const struct amb_crl_id *ids, size_t n)
{
	size_t i = 0, j;
	bool found = false;

	pthread_mutex_lock(&lock);
	while (lists && i < n) {
		for (j = 0; j < lists->n && !found; j++)
			found = names(&lists->v[j], &ids[i]);
		if (found)
			break;
		i++;
	}
	if (!lists)
		i = n;
	pthread_mutex_unlock(&lock);
	return i;
}
