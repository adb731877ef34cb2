/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes keys and certificates: the three kinds that the embedded CA needs, nothing else. */
#ifndef AMB_X509_H
#define AMB_X509_H

#include <stddef.h>
#include <stdint.h>

#include "base/pem.h"

/* An ECDSA key pair. */
struct amb_x509_key;

enum amb_x509_curve { AMB_X509_P256, AMB_X509_P384 };

/* Once per process, before the first key; the second call does nothing. 0 or -EIO. */
int amb_x509_init(void);

/* NULL: errno ENOMEM or EIO. */
struct amb_x509_key *amb_x509_key_create(enum amb_x509_curve curve);
/* The first private key (PKCS#8 or SEC1) of a PEM text. NULL: errno EINVAL or ENOMEM. */
struct amb_x509_key *amb_x509_key_read(const char *pem);
/* Wipes it. */
void amb_x509_key_destroy(struct amb_x509_key *key);

#define AMB_X509_KEY_DER_MAX 256
#define AMB_X509_KEY_PEM_MAX 512
/* PKCS#8. Returns the length, or -errno. The caller wipes the buffer. */
int amb_x509_key_der(const struct amb_x509_key *key, uint8_t out[AMB_X509_KEY_DER_MAX]);
/* A key in PKCS#8 as text with a NUL. 0 or -EIO. The caller wipes the buffer. */
int amb_x509_der_pem(const uint8_t *der, size_t len, char out[AMB_X509_KEY_PEM_MAX]);
/* The same of a key pair. 0 or -errno. */
int amb_x509_key_pem(const struct amb_x509_key *key, char out[AMB_X509_KEY_PEM_MAX]);

/* 1 when @key is the one in the certificate, 0 when not, -errno when that cannot be told. */
int amb_x509_key_matches(const struct amb_x509_key *key, const struct amb_der *cert);

enum amb_x509_kind {
	AMB_X509_ROOT, /* self-signed CA */
	AMB_X509_NODE, /* CA that may sign leafs only (path length 0), within one trust domain */
	AMB_X509_LEAF, /* workload: empty subject, server and client */
};

struct amb_x509_template {
	enum amb_x509_kind kind;
	const char *organization, *common_name; /* CAs */
	const char *uri; /* the one alternative name */
	const char *permitted_host; /* NODE: name constraint (RFC 5280 4.2.1.10) */
	int64_t not_before, not_after; /* wall clock seconds */
};

#define AMB_X509_CERT_MAX 4096
/*
 * Makes a certificate of @subject's public key, signed by @issuer_key; @issuer is its
 * certificate, NULL for a root. Returns the length of the DER, -EINVAL or -ENOMEM or -EIO.
 */
int amb_x509_sign(const struct amb_x509_template *tmpl, const struct amb_x509_key *subject,
		  const struct amb_x509_key *issuer_key, const struct amb_der *issuer,
		  uint8_t out[AMB_X509_CERT_MAX]);

/*
 * Makes a signing request (RFC 2986) for @key: empty subject, @uri its one alternative name.
 * Returns the length of the DER, -EINVAL or -ENOMEM or -EIO.
 */
int amb_x509_request(const struct amb_x509_key *key, const char *uri,
		     uint8_t out[AMB_X509_CERT_MAX]);
/* The same as text, to be freed; NULL: errno. */
char *amb_x509_request_pem(const struct amb_x509_key *key, const char *uri);

/* The host that a CA certificate's URI name constraint permits. 0, -ENOENT, -errno. */
int amb_x509_permitted_host(const struct amb_der *cert, char *out, size_t room);

/*
 * What is shown of the first certificate of the PEM text @chain, when it is @uri's and, unless
 * @key is NULL, that key's; signature and dates are not judged. 0, -ENOMEM, or -EINVAL and a
 * sentence about "it" in @err.
 */
int amb_x509_leaf_of(const char *chain, const char *uri, const struct amb_x509_key *key,
		     struct amb_pem_info *info, char *err, size_t errlen);

/*
 * A revocation list that names @cert, signed by @issuer_key, whose certificate is @issuer; the
 * next one is due at @next. 0 and its PEM text, to be freed; or -errno.
 */
int amb_x509_crl(const struct amb_der *cert, const struct amb_x509_key *issuer_key,
		 const struct amb_der *issuer, int64_t now, int64_t next, char **pem);

/* 0 when a CA of @roots signed @cert, -EKEYREJECTED when not, -errno. Dates are not judged. */
int amb_x509_signed_by(const struct amb_der *cert, const struct amb_pem *roots);

#endif
