// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Keys and certificates over wolfCrypt's generator. Two extensions the library does not write
 * itself are encoded here: the alternative name (it wants them ready made) and the name
 * constraint. One random generator serves the process, under a lock.
 */
#include "x509.h"

#include "x509_priv.h"

#include "base/cleanup.h"
#include "base/der.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/memory.h>
#include <wolfssl/wolfcrypt/random.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define URI_MAX 1024
#define NAME_CONSTRAINTS_OID "2.5.29.30"
#define TAG_URI AMB_DER_CONTEXT(6) /* of GeneralName */
#define TAG_PERMITTED 0xa0 /* [0] of NameConstraints */

struct amb_x509_key {
	ecc_key ecc;
};

static WC_RNG rng;
static bool rng_ready;
static pthread_mutex_t rng_lock = PTHREAD_MUTEX_INITIALIZER;

int amb_x509_init(void)
{
	int ret = 0;

	pthread_mutex_lock(&rng_lock);
	if (!rng_ready) {
		ret = wolfCrypt_Init() || wc_InitRng(&rng) ? -EIO : 0;
		rng_ready = !ret;
	}
	pthread_mutex_unlock(&rng_lock);
	return ret;
}

static int to_errno(int err)
{
	return err == MEMORY_E ? -ENOMEM : err ? -EIO : 0;
}

/* Keys */

static struct amb_x509_key *new_key(void)
{
	struct amb_x509_key *key = calloc(1, sizeof(*key));

	if (key && wc_ecc_init(&key->ecc)) {
		free(key);
		key = NULL;
	}
	if (!key)
		errno = ENOMEM;
	return key;
}

struct amb_x509_key *amb_x509_key_create(enum amb_x509_curve curve)
{
	struct amb_x509_key *key = new_key();
	int err;

	if (!key)
		return NULL;
	pthread_mutex_lock(&rng_lock);
	err = rng_ready ?
		      wc_ecc_make_key_ex(&rng, 0, &key->ecc,
					 curve == AMB_X509_P384 ? ECC_SECP384R1 : ECC_SECP256R1) :
		      BAD_STATE_E;
	pthread_mutex_unlock(&rng_lock);
	if (err) {
		amb_x509_key_destroy(key);
		errno = -to_errno(err);
		return NULL;
	}
	return key;
}

struct amb_x509_key *amb_x509_key_read(const char *pem)
{
	struct amb_x509_key *key = new_key();
	const char *begin = pem, *end;
	uint8_t der[AMB_X509_KEY_PEM_MAX];
	uint32_t at = 0;
	int n = -1;

	if (!key)
		return NULL;
	/* Blocks of other kinds may stand before it. */
	while ((begin = strstr(begin, "-----BEGIN ")) != NULL) {
		end = strstr(begin, "-----END ");
		if (strncmp(begin, "-----BEGIN PRIVATE KEY-----", 27) &&
		    strncmp(begin, "-----BEGIN EC PRIVATE KEY-----", 30)) {
			begin++;
			continue;
		}
		if (end)
			end = strchr(end, '\n') ?: end + strlen(end);
		if (end)
			n = wc_KeyPemToDer((const uint8_t *)begin, end - begin, der, sizeof(der),
					   NULL);
		break;
	}
	if (n > 0)
		n = wc_EccPrivateKeyDecode(der, &at, &key->ecc, n) ? -1 : n;
	/* A SEC1 key may come without its public half. */
	if (n > 0 && key->ecc.type == ECC_PRIVATEKEY_ONLY && wc_ecc_make_pub(&key->ecc, NULL))
		n = -1;
	wc_ForceZero(der, sizeof(der));
	if (n <= 0) {
		amb_x509_key_destroy(key);
		errno = EINVAL;
		return NULL;
	}
	return key;
}

void amb_x509_key_destroy(struct amb_x509_key *key)
{
	if (!key)
		return;
	wc_ecc_free(&key->ecc);
	wc_ForceZero(key, sizeof(*key));
	free(key);
}

/* The library takes keys as not const where it only reads. */
static ecc_key *ecc_of(const struct amb_x509_key *key)
{
	return (ecc_key *)&key->ecc;
}

int amb_x509_key_der(const struct amb_x509_key *key, uint8_t out[AMB_X509_KEY_DER_MAX])
{
	uint32_t len = AMB_X509_KEY_DER_MAX;
	int n = wc_EccKeyToPKCS8(ecc_of(key), out, &len);

	return n > 0 ? n : -EIO;
}

int amb_x509_der_pem(const uint8_t *der, size_t len, char out[AMB_X509_KEY_PEM_MAX])
{
	int n = wc_DerToPem(der, len, (uint8_t *)out, AMB_X509_KEY_PEM_MAX - 1,
			    PKCS8_PRIVATEKEY_TYPE);

	if (n <= 0)
		return -EIO;
	out[n] = 0;
	return 0;
}

int amb_x509_key_pem(const struct amb_x509_key *key, char out[AMB_X509_KEY_PEM_MAX])
{
	uint8_t der[AMB_X509_KEY_DER_MAX];
	int n = amb_x509_key_der(key, der);

	n = n > 0 ? amb_x509_der_pem(der, n, out) : -EIO;
	wc_ForceZero(der, sizeof(der));
	return n;
}

/* Decodes @cert without judging it; to be freed with free_decoded() whatever it returned. */
static int decode(const struct amb_der *cert, DecodedCert **out)
{
	DecodedCert *dc = malloc(sizeof(*dc));

	*out = dc;
	if (!dc)
		return -ENOMEM;
	InitDecodedCert(dc, cert->data, cert->len, NULL);
	return ParseCert(dc, CERT_TYPE, NO_VERIFY, NULL) ? -EBADMSG : 0;
}

static void free_decoded(DecodedCert **dc)
{
	if (*dc)
		FreeDecodedCert(*dc);
	free(*dc);
}

int amb_x509_key_matches(const struct amb_x509_key *key, const struct amb_der *cert)
{
	_cleanup_(free_decoded) DecodedCert *dc = NULL;
	ecc_key pub;
	uint32_t at = 0;
	int err = decode(cert, &dc);

	if (err)
		return err;
	if (dc->keyOID != ECDSAk)
		return 0;
	if (wc_ecc_init(&pub))
		return -ENOMEM;
	err = wc_EccPublicKeyDecode(dc->publicKey, &at, &pub, dc->pubKeySize);
	if (!err)
		err = wc_ecc_cmp_point(&pub.pubkey, ecc_of(key)->type == ECC_PRIVATEKEY_ONLY ?
							    &pub.pubkey :
							    &ecc_of(key)->pubkey) == MP_EQ;
	else
		err = -EBADMSG;
	wc_ecc_free(&pub);
	return err;
}

int amb_x509_leaf_of(const char *chain, const char *uri, const struct amb_x509_key *key,
		     struct amb_pem_info *info, char *err, size_t errlen)
{
	_cleanup_(amb_pem_clear) struct amb_pem pem = { 0 };
	int ret = amb_pem_read(chain, &pem);

	ret = ret ?: amb_pem_info(&pem.cert[0], info);
	if (ret == -ENOMEM)
		return ret;
	if (ret) {
		snprintf(err, errlen, "its certificate cannot be read");
		return -EINVAL;
	}
	if (strcmp(info->uri, uri)) {
		snprintf(err, errlen, "its certificate is for %.150s",
			 *info->uri ? info->uri : "nobody");
		return -EINVAL;
	}
	if (key && amb_x509_key_matches(key, &pem.cert[0]) != 1) {
		snprintf(err, errlen, "its key is not that of its certificate");
		return -EINVAL;
	}
	return 0;
}

/* Extensions */

/* Head of a DER element before @p, which goes down; lengths below 64 KiB. */
static uint8_t *der_head(uint8_t *p, uint8_t tag, size_t len)
{
	if (len < 128) {
		*--p = len;
	} else {
		*--p = len;
		if (len > 255) {
			*--p = len >> 8;
			*--p = 0x82;
		} else {
			*--p = 0x81;
		}
	}
	*--p = tag;
	return p;
}

/* SEQUENCE { [6] uri } in @buf, which is filled from its end. Returns the length. */
static int alt_name(const char *uri, uint8_t *buf, size_t room, uint8_t **out)
{
	size_t len = strlen(uri);
	uint8_t *end = buf + room, *p = end - len;

	if (!len || len > URI_MAX)
		return -EINVAL;
	memcpy(p, uri, len);
	p = der_head(p, TAG_URI, len);
	p = der_head(p, AMB_DER_SEQUENCE, end - p);
	*out = p;
	return end - p;
}

/* NameConstraints { permittedSubtrees [0] { GeneralSubtree { [6] host } } } */
static int name_constraint(const char *host, uint8_t *buf, size_t room, uint8_t **out)
{
	size_t len = strlen(host);
	uint8_t *end = buf + room, *p = end - len;

	if (!len || len > URI_MAX)
		return -EINVAL;
	memcpy(p, host, len);
	p = der_head(p, TAG_URI, len);
	p = der_head(p, AMB_DER_SEQUENCE, end - p);
	p = der_head(p, TAG_PERMITTED, end - p);
	p = der_head(p, AMB_DER_SEQUENCE, end - p);
	*out = p;
	return end - p;
}

_Static_assert(AMB_X509_DATE_MAX == CTC_DATE_SIZE, "date");

/* RFC 5280 4.1.2.5: two-digit years up to 2049. Returns the bytes written. */
int amb_x509_date(int64_t when, uint8_t out[AMB_X509_DATE_MAX])
{
	time_t t = when;
	struct tm tm;
	bool utc;
	size_t n;

	if (!gmtime_r(&t, &tm) || tm.tm_year < 70 || tm.tm_year > 8099)
		return -EINVAL;
	utc = tm.tm_year < 150;
	n = strftime((char *)out + 2, CTC_DATE_SIZE - 2, utc ? "%y%m%d%H%M%SZ" : "%Y%m%d%H%M%SZ",
		     &tm);
	out[0] = utc ? ASN_UTC_TIME : ASN_GENERALIZED_TIME;
	out[1] = n;
	return n + 2;
}

/* Certificates */

static int set_dates(Cert *c, const struct amb_x509_template *tmpl)
{
	c->beforeDateSz = amb_x509_date(tmpl->not_before, c->beforeDate);
	c->afterDateSz = amb_x509_date(tmpl->not_after, c->afterDate);
	return c->beforeDateSz < 0 || c->afterDateSz < 0 || tmpl->not_before > tmpl->not_after ?
		       -EINVAL :
		       0;
}

static int set_subject(Cert *c, const struct amb_x509_template *tmpl)
{
	if (tmpl->kind == AMB_X509_LEAF)
		return 0;
	if (strlen(tmpl->organization) >= CTC_NAME_SIZE ||
	    strlen(tmpl->common_name) >= CTC_NAME_SIZE)
		return -EINVAL;
	strcpy(c->subject.org, tmpl->organization);
	strcpy(c->subject.commonName, tmpl->common_name);
	return 0;
}

static int set_usage(Cert *c, const struct amb_x509_template *tmpl)
{
	c->basicConstSet = 1;
	c->basicConstCrit = 1;
	if (tmpl->kind != AMB_X509_LEAF) {
		c->isCA = 1;
		c->pathLenSet = tmpl->kind == AMB_X509_NODE;
		c->pathLen = 0;
		return to_errno(wc_SetKeyUsage(c, "keyCertSign,cRLSign"));
	}
	return to_errno(wc_SetKeyUsage(c, "digitalSignature") ?:
				wc_SetExtKeyUsage(c, "serverAuth,clientAuth"));
}

static int signature_type(const struct amb_x509_key *issuer)
{
	return wc_ecc_size(ecc_of(issuer)) > 32 ? CTC_SHA384wECDSA : CTC_SHA256wECDSA;
}

static int fill(Cert *c, const struct amb_x509_template *tmpl, const struct amb_x509_key *subject,
		const struct amb_x509_key *issuer_key, const struct amb_der *issuer)
{
	uint8_t buf[URI_MAX + 32], *san;
	int n, err;

	c->sigType = signature_type(issuer_key);
	c->selfSigned = !issuer;
	err = set_dates(c, tmpl) ?: set_subject(c, tmpl) ?: set_usage(c, tmpl);
	if (err)
		return err;
	n = alt_name(tmpl->uri, buf, sizeof(buf), &san);
	if (n < 0)
		return n;
	memcpy(c->altNames, san, n);
	c->altNamesSz = n;
	/* RFC 5280 4.2.1.6: critical where the subject is empty. */
	c->altNamesCrit = tmpl->kind == AMB_X509_LEAF;
	err = wc_SetSubjectKeyIdFromPublicKey_ex(c, ECC_TYPE, ecc_of(subject));
	if (!err && issuer)
		err = wc_SetIssuerBuffer(c, issuer->data, issuer->len) ?:
			      wc_SetAuthKeyIdFromCert(c, issuer->data, issuer->len);
	return to_errno(err);
}

static int make_and_sign(Cert *c, const struct amb_x509_key *subject,
			 const struct amb_x509_key *issuer_key, uint8_t out[AMB_X509_CERT_MAX])
{
	int n;

	pthread_mutex_lock(&rng_lock);
	n = rng_ready ? wc_MakeCert_ex(c, out, AMB_X509_CERT_MAX, ECC_TYPE, ecc_of(subject), &rng) :
			BAD_STATE_E;
	if (n > 0)
		n = wc_SignCert_ex(c->bodySz, c->sigType, out, AMB_X509_CERT_MAX, ECC_TYPE,
				   ecc_of(issuer_key), &rng);
	pthread_mutex_unlock(&rng_lock);
	return n > 0 ? n : to_errno(n ?: ASN_PARSE_E);
}

bool amb_x509_is_p384(const struct amb_x509_key *key)
{
	return signature_type(key) == CTC_SHA384wECDSA;
}

int amb_x509_sign_der(const struct amb_x509_key *key, uint8_t *buf, size_t len, size_t room)
{
	int n;

	pthread_mutex_lock(&rng_lock);
	n = rng_ready ? wc_SignCert_ex(len, signature_type(key), buf, room, ECC_TYPE, ecc_of(key),
				       &rng) :
			BAD_STATE_E;
	pthread_mutex_unlock(&rng_lock);
	return n > 0 ? n : to_errno(n ?: ASN_PARSE_E);
}

int amb_x509_sign(const struct amb_x509_template *tmpl, const struct amb_x509_key *subject,
		  const struct amb_x509_key *issuer_key, const struct amb_der *issuer,
		  uint8_t out[AMB_X509_CERT_MAX])
{
	_cleanup_free_ Cert *c = malloc(sizeof(*c));
	uint8_t buf[URI_MAX + 32], *nc;
	int n, err;

	if (!c || wc_InitCert(c))
		return -ENOMEM;
	err = fill(c, tmpl, subject, issuer_key, issuer);
	if (!err && tmpl->kind == AMB_X509_NODE) {
		n = name_constraint(tmpl->permitted_host, buf, sizeof(buf), &nc);
		err = n < 0 ? n :
			      to_errno(wc_SetCustomExtension(c, 1, NAME_CONSTRAINTS_OID, nc, n));
	}
	n = err ?: make_and_sign(c, subject, issuer_key, out);
	return n;
}

int amb_x509_request(const struct amb_x509_key *key, const char *uri,
		     uint8_t out[AMB_X509_CERT_MAX])
{
	_cleanup_free_ Cert *c = malloc(sizeof(*c));
	uint8_t buf[URI_MAX + 32], *san;
	int n;

	if (!c || wc_InitCert(c))
		return -ENOMEM;
	n = alt_name(uri, buf, sizeof(buf), &san);
	if (n < 0)
		return n;
	memcpy(c->altNames, san, n);
	c->altNamesSz = n;
	c->altNamesCrit = 1;
	c->version = 0;
	c->sigType = signature_type(key);
	pthread_mutex_lock(&rng_lock);
	n = rng_ready ? wc_MakeCertReq_ex(c, out, AMB_X509_CERT_MAX, ECC_TYPE, ecc_of(key)) :
			BAD_STATE_E;
	if (n > 0)
		n = wc_SignCert_ex(c->bodySz, c->sigType, out, AMB_X509_CERT_MAX, ECC_TYPE,
				   ecc_of(key), &rng);
	pthread_mutex_unlock(&rng_lock);
	return n > 0 ? n : to_errno(n ?: ASN_PARSE_E);
}

char *amb_x509_request_pem(const struct amb_x509_key *key, const char *uri)
{
	uint8_t der[AMB_X509_CERT_MAX];
	int n = amb_x509_request(key, uri, der), len;
	char *text;

	if (n < 0) {
		errno = -n;
		return NULL;
	}
	text = malloc(n * 2 + 128);
	len = text ? wc_DerToPem(der, n, (uint8_t *)text, n * 2 + 127, CERTREQ_TYPE) : MEMORY_E;
	if (len <= 0) {
		free(text);
		errno = -to_errno(len);
		return NULL;
	}
	text[len] = 0;
	return text;
}

int amb_x509_permitted_host(const struct amb_der *cert, char *out, size_t room)
{
	_cleanup_(free_decoded) DecodedCert *dc = NULL;
	const Base_entry *e;
	int err = decode(cert, &dc);

	if (err)
		return err;
	for (e = dc->permittedNames; e; e = e->next) {
		if (e->type != ASN_URI_TYPE)
			continue;
		if ((size_t)e->nameSz >= room)
			return -ENAMETOOLONG;
		memcpy(out, e->name, e->nameSz);
		out[e->nameSz] = 0;
		return 0;
	}
	return -ENOENT;
}

static WOLFSSL_CERT_MANAGER *load(const struct amb_pem *roots)
{
	WOLFSSL_CERT_MANAGER *cm = wolfSSL_CertManagerNew();
	size_t i;

	for (i = 0; cm && i < roots->n; i++) {
		if (wolfSSL_CertManagerLoadCABuffer_ex(
			    cm, roots->cert[i].data, roots->cert[i].len, WOLFSSL_FILETYPE_ASN1, 0,
			    WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY) != WOLFSSL_SUCCESS) {
			wolfSSL_CertManagerFree(cm);
			return NULL;
		}
	}
	return cm;
}

int amb_x509_signed_by(const struct amb_der *cert, const struct amb_pem *roots)
{
	_cleanup_free_ DecodedCert *dc = malloc(sizeof(*dc));
	WOLFSSL_CERT_MANAGER *cm;
	int ret;

	if (!dc)
		return -ENOMEM;
	cm = load(roots);
	if (!cm)
		return -EBADMSG;
	InitDecodedCert(dc, cert->data, cert->len, NULL);
	ret = ParseCert(dc, CERT_TYPE, VERIFY_SKIP_DATE, cm);
	FreeDecodedCert(dc);
	wolfSSL_CertManagerFree(cm);
	return ret ? -EKEYREJECTED : 0;
}
