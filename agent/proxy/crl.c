// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Revocation lists become sorted arrays of hashes: what a connection has to keep of its peer's
 * chain, to be judged again when the lists change, is 24 bytes a certificate, and
 * one copy of each issuer's key. The hashes are SHA-256, cut; who could choose a certificate that
 * meets another one's would only get itself refused.
 *
 * A list counts for a certificate when the key of that certificate's issuer signed the list. That
 * is asked when a list names one, which is rare, and the answer is kept. Two roots may have the
 * same name, as those that istiod makes for itself have: key identifiers tell them apart where list
 * and certificate have one, before a signature has to.
 *
 * What the issuer's certificate lets its key be used for is not asked: that of a CA which signs
 * what revokes its own certificates means it.
 */
#include "crl.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "crl_priv.h"
#include "signer.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/coding.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG_KEY_ID AMB_DER_CONTEXT(0) /* of AuthorityKeyIdentifier */
#define TAG_INDIRECT AMB_DER_CONTEXT(4) /* of IssuingDistributionPoint */

struct list {
	uint64_t key;
	size_t n, cap;
	uint64_t *cert; /* sorted */
	struct amb_signature *sig;
	/* lock: the key that was tried last, a reference, and whether it made @sig */
	struct amb_signer *tried;
	bool good, said;
};

struct lists {
	size_t n;
	struct list v[AMB_CRL_LISTS_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lists *lists; /* lock */
static uint32_t generation; /* atomic; written with the lock held */

/* Parts */

int amb_crl_extension(struct amb_der *in, struct amb_crl_extension *x)
{
	struct amb_der seq, critical;
	int err;

	err = amb_der_expect(in, AMB_DER_SEQUENCE, &seq, NULL) ?:
		      amb_der_expect(&seq, AMB_DER_OID, &x->oid, NULL);
	x->critical = false;
	if (!err && amb_der_is(&seq, AMB_DER_BOOL)) {
		err = amb_der_expect(&seq, AMB_DER_BOOL, &critical, NULL);
		x->critical = !err && critical.len == 1 && critical.data[0];
	}
	return err ?: amb_der_expect(&seq, AMB_DER_OCTETS, &x->value, NULL);
}

bool amb_crl_extension_is(const struct amb_crl_extension *x, uint8_t last)
{
	return x->oid.len == 3 && x->oid.data[0] == 0x55 && x->oid.data[1] == 0x1d &&
	       x->oid.data[2] == last;
}

uint64_t amb_crl_hash(const struct amb_der *a, const struct amb_der *b)
{
	uint8_t out[WC_SHA256_DIGEST_SIZE];
	wc_Sha256 sha;
	uint64_t v;
	int err;

	err = wc_InitSha256(&sha) ?: wc_Sha256Update(&sha, a->data, a->len);
	if (!err && b)
		err = wc_Sha256Update(&sha, b->data, b->len);
	if (err || wc_Sha256Final(&sha, out))
		return 0;
	wc_Sha256Free(&sha);
	memcpy(&v, out, sizeof(v));
	/* 0 is none. */
	return v ?: 1;
}

struct amb_der amb_crl_number(struct amb_der v)
{
	while (v.len > 1 && !v.data[0]) {
		v.data++;
		v.len--;
	}
	return v;
}

int amb_crl_authority_key(const struct amb_crl_extension *x, struct amb_der *id)
{
	struct amb_der in = x->value, seq;
	int err = amb_der_expect(&in, AMB_DER_SEQUENCE, &seq, NULL);

	if (err || !amb_der_is(&seq, TAG_KEY_ID))
		return err;
	return amb_der_expect(&seq, TAG_KEY_ID, id, NULL);
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

static int list_extensions(struct reading *r, struct amb_der in, struct list *l)
{
	struct amb_crl_extension x;
	struct amb_der seq, point, flag, key = { 0 };
	uint8_t tag;

	if (amb_der_expect(&in, AMB_DER_SEQUENCE, &seq, NULL))
		return bad(r, "extensions");
	while (seq.len) {
		if (amb_crl_extension(&seq, &x))
			return bad(r, "an extension");
		if (amb_crl_extension_is(&x, AMB_CRL_OID_AUTHORITY_KEY)) {
			if (amb_crl_authority_key(&x, &key))
				return bad(r, "the authority's key identifier");
			l->key = key.len ? amb_crl_hash(&key, NULL) : 0;
		} else if (amb_crl_extension_is(&x, AMB_CRL_OID_DISTRIBUTION_POINT)) {
			struct amb_der value = x.value;

			if (amb_der_expect(&value, AMB_DER_SEQUENCE, &point, NULL))
				return bad(r, "the distribution point");
			while (point.len) {
				if (amb_der_next(&point, &tag, &flag, NULL))
					return bad(r, "the distribution point");
				if (tag == TAG_INDIRECT && flag.len == 1 && flag.data[0])
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

static int entry(struct reading *r, struct amb_der *in, const struct amb_der *issuer,
		 struct list *l)
{
	struct amb_der seq, serial, date, extensions = { 0 };
	struct amb_crl_extension x;
	uint8_t tag;

	if (amb_der_expect(in, AMB_DER_SEQUENCE, &seq, NULL) ||
	    amb_der_expect(&seq, AMB_DER_INTEGER, &serial, NULL) ||
	    amb_der_next(&seq, &tag, &date, NULL) ||
	    (tag != AMB_DER_UTC_TIME && tag != AMB_DER_GENERAL_TIME) ||
	    (seq.len && amb_der_expect(&seq, AMB_DER_SEQUENCE, &extensions, NULL)))
		return bad(r, "an entry");
	while (extensions.len) {
		if (amb_crl_extension(&extensions, &x))
			return bad(r, "an entry's extension");
		if (x.critical)
			return bad(r, "an entry's critical extension, as of another issuer's");
	}
	serial = amb_crl_number(serial);
	r->revoked++;
	return add(l, amb_crl_hash(issuer, &serial));
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* RFC 5280 5.1: who, when, whom. */
static int read_list(struct reading *r, struct amb_der in, struct list *l)
{
	const struct amb_der whole = in;
	struct amb_der outer, tbs, value, issuer, signed_as, says, entries = { 0 };
	uint8_t tag;
	int err = 0;

	if (amb_der_expect(&in, AMB_DER_SEQUENCE, &outer, NULL) ||
	    amb_der_expect(&outer, AMB_DER_SEQUENCE, &tbs, NULL) ||
	    amb_der_expect(&outer, AMB_DER_SEQUENCE, &signed_as, NULL) ||
	    amb_der_expect(&outer, AMB_DER_BITS, &value, NULL) || outer.len || in.len ||
	    amb_der_skip(&tbs, AMB_DER_INTEGER) ||
	    amb_der_expect(&tbs, AMB_DER_SEQUENCE, &says, NULL) ||
	    amb_der_expect(&tbs, AMB_DER_SEQUENCE, &value, &issuer))
		return bad(r, "it is no certificate revocation list");
	if (!amb_der_equal(&signed_as, &says))
		return bad(r, "it is signed by another algorithm than it says");
	if (amb_der_next(&tbs, &tag, &value, NULL) ||
	    (tag != AMB_DER_UTC_TIME && tag != AMB_DER_GENERAL_TIME) ||
	    amb_der_skip(&tbs, AMB_DER_UTC_TIME) || amb_der_skip(&tbs, AMB_DER_GENERAL_TIME))
		return bad(r, "its times");
	if (amb_der_is(&tbs, AMB_DER_SEQUENCE) &&
	    amb_der_expect(&tbs, AMB_DER_SEQUENCE, &entries, NULL))
		return bad(r, "its entries");
	if (amb_der_is(&tbs, AMB_DER_EXPLICIT(0))) {
		if (amb_der_expect(&tbs, AMB_DER_EXPLICIT(0), &value, NULL))
			return bad(r, "extensions");
		err = list_extensions(r, value, l);
	}
	while (!err && entries.len)
		err = entry(r, &entries, &issuer, l);
	if (!err && tbs.len)
		return bad(r, "there is more than belongs to it");
	err = err ?: amb_signature_read(&whole, &l->sig);
	if (err == -EOPNOTSUPP)
		return bad(r, "it is signed by an algorithm that is not known");
	if (err == -EBADMSG && !r->wrong)
		return bad(r, "its signature");
	if (!err && l->n)
		qsort(l->cert, l->n, sizeof(*l->cert), by_number);
	return err;
}

static void lists_free(struct lists *l)
{
	if (!l)
		return;
	while (l->n) {
		struct list *one = &l->v[--l->n];

		free(one->cert);
		free(one->sig);
		amb_signer_put(one->tried);
	}
	free(l);
}

/* Counted before it is read, so that what was read of a bad one is freed. */
static int add_list(struct reading *r, struct lists *l, struct amb_der der)
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
		err = add_list(r, l, (struct amb_der){ der, n });
	}
	return err;
}

static int read_any(struct reading *r, struct lists *l, const uint8_t *data, size_t len)
{
	_cleanup_free_ char *text = NULL;

	if (!len)
		return 0;
	if (data[0] == AMB_DER_SEQUENCE)
		return add_list(r, l, (struct amb_der){ data, len });
	/* What is behind it would be passed over. */
	if (memchr(data, 0, len))
		return bad(r, "there is a NUL in the text");
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

uint32_t amb_crl_generation(void)
{
	return __atomic_load_n(&generation, __ATOMIC_ACQUIRE);
}

/* Certificates */

static void warn(struct list *l)
{
	if (!l->said)
		amb_warn(TLS,
			 "revocation list %zu is not signed by the issuer of a certificate that it "
			 "names: it does not count for that one",
			 (size_t)(l - lists->v) + 1);
	l->said = true;
}

/* The issuer's key is asked about a list that names one of its certificates; @lock held. */
static bool counts(struct list *l, struct amb_signer *issuer)
{
	int made;

	if (!issuer)
		return false;
	if (l->tried != issuer) {
		made = amb_signer_made(issuer, l->sig);
		/* Without memory nobody is let in. */
		if (made < 0)
			return true;
		amb_signer_put(l->tried);
		l->tried = amb_signer_get(issuer);
		l->good = made;
	}
	if (!l->good)
		warn(l);
	return l->good;
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
			found = names(&lists->v[j], &ids[i]) && counts(&lists->v[j], ids[i].signer);
		if (found)
			break;
		i++;
	}
	if (!lists)
		i = n;
	pthread_mutex_unlock(&lock);
	return i;
}
