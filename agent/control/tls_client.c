// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * TLS towards the control plane, over wolfSSL. The library verifies the chain; names are
 * compared here, because there may be two that are right and the library takes one. Nothing is
 * sent before the check: it is part of the handshake.
 */
#include "tls_client.h"

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/groups.h"
#include "base/util.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct amb_tls_client {
	WOLFSSL_CTX *ctx;
	WOLFSSL *ssl;
	char *host, *alt;
	bool named; /* the certificate is for one of the two */
	bool wants_write;
	int err;
	char text[256];
};

/* Where distributions keep the bundle, most common first; SSL_CERT_FILE comes before. */
static const char *const system_bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/cert.pem",
};

/* The first failure is the one that is told. */
static int AMB_PRINTF(3, 4) fail(struct amb_tls_client *t, int err, const char *fmt, ...)
{
	va_list ap;

	if (t->err)
		return t->err;
	t->err = err;
	va_start(ap, fmt);
	vsnprintf(t->text, sizeof(t->text), fmt, ap);
	va_end(ap);
	return err;
}

/* Names */

bool amb_tls_name_matches(const char *pattern, size_t len, const char *host)
{
	size_t hostlen = strlen(host);
	const char *dot;

	/* A name with its root dot is the same name. */
	if (hostlen && host[hostlen - 1] == '.')
		hostlen--;
	if (!len || !hostlen || memchr(pattern, 0, len))
		return false;
	if (len > 2 && pattern[0] == '*' && pattern[1] == '.') {
		dot = memchr(host, '.', hostlen);
		if (!dot || dot == host)
			return false;
		hostlen -= dot - host;
		host = dot;
		pattern++;
		len--;
		/* Not "*.com": what stands there has two labels at least. */
		if (!memchr(pattern + 1, '.', len - 1))
			return false;
	}
	return len == hostlen && !strncasecmp(pattern, host, len) && !memchr(pattern, '*', len);
}

static bool entry_is(const DNS_entry *e, const char *host)
{
	struct amb_addr want, is;

	if (!amb_addr_parse(host, &want))
		return e->type == ASN_IP_TYPE && !amb_addr_from_bytes(e->name, e->len, &is) &&
		       amb_addr_eq(&is, &want);
	return e->type == ASN_DNS_TYPE && amb_tls_name_matches(e->name, e->len, host);
}

static bool certificate_is_for(const uint8_t *der, size_t len, const char *host, const char *alt)
{
	_cleanup_free_ DecodedCert *dc = malloc(sizeof(*dc));
	const DNS_entry *e;
	bool found = false;

	if (!dc)
		return false;
	InitDecodedCert(dc, der, len, NULL);
	if (!ParseCert(dc, CERT_TYPE, NO_VERIFY, NULL)) {
		for (e = dc->altNames; e && !found; e = e->next)
			found = entry_is(e, host) || (alt && entry_is(e, alt));
	}
	FreeDecodedCert(dc);
	return found;
}

/* Called for each certificate of the chain, the leaf last; @x->error is the library's verdict. */
static int verify(int preverify, WOLFSSL_X509_STORE_CTX *x)
{
	struct amb_tls_client *t = x->userCtx;

	if (!preverify || x->error) {
		fail(t, -EKEYREJECTED, "certificate of %s: %s", t->host,
		     x->error == ASN_NO_SIGNER_E ? "not signed by our roots" :
						   wc_GetErrorString(x->error));
		return 0;
	}
	if (x->error_depth > 0)
		return 1;
	t->named = x->totalCerts > 0 &&
		   certificate_is_for(x->certs[0].buffer, x->certs[0].length, t->host, t->alt);
	if (!t->named)
		fail(t, -EKEYREJECTED, "certificate is not for %s%s%s", t->host,
		     t->alt ? " or " : "", t->alt ? t->alt : "");
	return t->named;
}

/* Beginning */

static int set_error(char *err, size_t errlen, int code, const char *what, const char *why)
{
	snprintf(err, errlen, "%s: %s", what, why);
	return code;
}

static int load_text(WOLFSSL_CTX *ctx, const char *text, size_t len, int flags, const char *what,
		     char *err, size_t errlen)
{
	int ret = wolfSSL_CTX_load_verify_buffer_ex(ctx, (const uint8_t *)text, len,
						    WOLFSSL_FILETYPE_PEM, 0,
						    flags | WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY);

	if (ret == WOLFSSL_SUCCESS)
		return 0;
	return set_error(err, errlen, ret == MEMORY_E ? -ENOMEM : -EINVAL, what,
			 ret == ASN_NO_PEM_HEADER ? "no certificate in it" :
						    wc_GetErrorString(ret));
}

static int load_file(WOLFSSL_CTX *ctx, const char *path, int flags, char *err, size_t errlen)
{
	_cleanup_free_ char *text = NULL;
	long n = amb_util_read_file(path, AMB_TLS_ROOTS_MAX, &text);

	if (n < 0)
		return set_error(err, errlen, n, path, strerror(-n));
	return load_text(ctx, text, n, flags, path, err, errlen);
}

static int load_system(WOLFSSL_CTX *ctx, char *err, size_t errlen)
{
	const char *path = getenv("SSL_CERT_FILE");
	size_t i;

	/* A bundle of many: one that we cannot read does not spoil the others. */
	if (path && *path)
		return load_file(ctx, path, WOLFSSL_LOAD_FLAG_IGNORE_ERR, err, errlen);
	for (i = 0; i < AMB_ARRAY_SIZE(system_bundles); i++) {
		if (!access(system_bundles[i], R_OK))
			return load_file(ctx, system_bundles[i], WOLFSSL_LOAD_FLAG_IGNORE_ERR, err,
					 errlen);
	}
	return set_error(err, errlen, -ENOENT, "system roots", "this system has no bundle");
}

static int load_roots(WOLFSSL_CTX *ctx, const char *roots, char *err, size_t errlen)
{
	if (!strcmp(roots, AMB_TLS_ROOTS_SYSTEM))
		return load_system(ctx, err, errlen);
	if (strstr(roots, "-----BEGIN "))
		return load_text(ctx, roots, strlen(roots), 0, "roots", err, errlen);
	return load_file(ctx, roots, 0, err, errlen);
}

static WOLFSSL_CTX *make_context(const char *roots, char *err, size_t errlen)
{
	WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
	int ret = -ENOMEM;

	snprintf(err, errlen, "out of memory");
	if (ctx &&
	    wolfSSL_CTX_set_cipher_list(ctx, "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384") ==
		    WOLFSSL_SUCCESS &&
	    amb_groups_set(ctx) == WOLFSSL_SUCCESS &&
	    wolfSSL_CTX_SetMinRsaKey_Sz(ctx, 2048) == WOLFSSL_SUCCESS)
		ret = load_roots(ctx, roots, err, errlen);
	if (!ret)
		return ctx;
	wolfSSL_CTX_free(ctx);
	errno = -ret;
	return NULL;
}

static int start(struct amb_tls_client *t, int fd, const char *host, const char *alt)
{
	struct amb_addr addr;

	t->host = strdup(host);
	t->alt = alt ? strdup(alt) : NULL;
	t->ssl = wolfSSL_new(t->ctx);
	if (!t->host || (alt && !t->alt) || !t->ssl)
		return -ENOMEM;
	/* RFC 6066 3: an address is no server name. */
	if (amb_addr_parse(host, &addr) &&
	    wolfSSL_UseSNI(t->ssl, WOLFSSL_SNI_HOST_NAME, host, strlen(host)) != WOLFSSL_SUCCESS)
		return -ENOMEM;
	wolfSSL_set_verify(t->ssl, WOLFSSL_VERIFY_PEER, verify);
	wolfSSL_SetCertCbCtx(t->ssl, t);
	if (wolfSSL_set_fd(t->ssl, fd) != WOLFSSL_SUCCESS ||
	    wolfSSL_UseALPN(t->ssl, (char[]){ "h2" }, 2, WOLFSSL_ALPN_FAILED_ON_MISMATCH) !=
		    WOLFSSL_SUCCESS ||
	    wolfSSL_UseKeyShare(t->ssl, amb_groups_share()) != WOLFSSL_SUCCESS)
		return -ENOMEM;
	return 0;
}

struct amb_tls_client *amb_tls_client_create(int fd, const char *roots, const char *host,
					     const char *alt, char *err, size_t errlen)
{
	struct amb_tls_client *t = calloc(1, sizeof(*t));

	if (!t) {
		snprintf(err, errlen, "out of memory");
		errno = ENOMEM;
		return NULL;
	}
	t->ctx = make_context(roots, err, errlen);
	if (!t->ctx) {
		free(t);
		return NULL;
	}
	if (start(t, fd, host, alt)) {
		amb_tls_client_destroy(t);
		snprintf(err, errlen, "out of memory");
		errno = ENOMEM;
		return NULL;
	}
	return t;
}

void amb_tls_client_destroy(struct amb_tls_client *t)
{
	if (!t)
		return;
	wolfSSL_free(t->ssl);
	wolfSSL_CTX_free(t->ctx);
	free(t->host);
	free(t->alt);
	free(t);
}

/* Going on */

/* What a call of the library that did not succeed means. */
static int explain(struct amb_tls_client *t, int ret)
{
	int code = wolfSSL_get_error(t->ssl, ret);
	WOLFSSL_ALERT_HISTORY history;

	t->wants_write = code == WOLFSSL_ERROR_WANT_WRITE;
	switch (code) {
	case WOLFSSL_ERROR_WANT_READ:
	case WOLFSSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case MEMORY_E:
	case MEMORY_ERROR:
		return fail(t, -ENOMEM, "out of memory");
	case UNKNOWN_ALPN_PROTOCOL_NAME_E:
		return fail(t, -EPROTO, "%s does not speak h2 (ALPN)", t->host);
	case VERSION_ERROR:
		return fail(t, -EPROTO, "%s does not speak TLS 1.3", t->host);
	case UNKNOWN_RECORD_TYPE:
		return fail(t, -EPROTO, "%s does not speak TLS", t->host);
	case SOCKET_PEER_CLOSED_E:
	case SOCKET_ERROR_E:
	case FATAL_ERROR:
		if (wolfSSL_get_alert_history(t->ssl, &history) == WOLFSSL_SUCCESS &&
		    history.last_rx.code > 0)
			return fail(t, -EPROTO, "%s sent alert %d", t->host, history.last_rx.code);
		return fail(t, -ECONNRESET, "connection closed by %s", t->host);
	default:
		return fail(t, -EPROTO, "%s", wolfSSL_ERR_reason_error_string(code));
	}
}

int amb_tls_client_handshake(struct amb_tls_client *t)
{
	unsigned short len = 0;
	char *alpn = NULL;
	int ret;

	if (t->err)
		return t->err;
	ret = wolfSSL_connect(t->ssl);
	if (ret != WOLFSSL_SUCCESS)
		return explain(t, ret);
	t->wants_write = false;
	if (!t->named)
		return fail(t, -EKEYREJECTED, "%s was not authenticated", t->host);
	if (wolfSSL_ALPN_GetProtocol(t->ssl, &alpn, &len) != WOLFSSL_SUCCESS || len != 2 ||
	    memcmp(alpn, "h2", 2))
		return fail(t, -EPROTO, "%s does not speak h2 (ALPN)", t->host);
	return 0;
}

ssize_t amb_tls_client_read(struct amb_tls_client *t, uint8_t *buf, size_t max)
{
	int n, code;

	if (t->err)
		return t->err;
	n = wolfSSL_read(t->ssl, buf, max);
	if (n > 0)
		return n;
	code = wolfSSL_get_error(t->ssl, n);
	if (code == WOLFSSL_ERROR_ZERO_RETURN || code == SOCKET_PEER_CLOSED_E)
		return 0;
	return explain(t, n);
}

ssize_t amb_tls_client_write(struct amb_tls_client *t, const uint8_t *buf, size_t n)
{
	int ret;

	if (t->err)
		return t->err;
	ret = wolfSSL_write(t->ssl, buf, n);
	if (ret <= 0)
		return explain(t, ret);
	t->wants_write = false;
	return ret;
}

bool amb_tls_client_wants_write(const struct amb_tls_client *t)
{
	return t->wants_write;
}

void amb_tls_client_close(struct amb_tls_client *t)
{
	if (!t->err && t->named)
		wolfSSL_shutdown(t->ssl);
}

const char *amb_tls_client_error(const struct amb_tls_client *t)
{
	return t->text;
}
