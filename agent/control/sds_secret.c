// SPDX-License-Identifier: GPL-2.0-or-later
/* Secrets out of the answers of a secret discovery service, checked. */
#include "sds_secret.h"

#include "sds.pb-c.h"

#include "base/cleanup.h"
#include "base/pem.h"
#include "base/util.h"
#include "base/wipe.h"
#include "sds.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int AMB_PRINTF(2, 3) complain(char err[AMB_SDS_ERROR_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, AMB_SDS_ERROR_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* What protobuf-c allocates holds keys. */
static void *take(void *data, size_t n)
{
	(void)data;
	return amb_wipe_alloc(n);
}

static void give(void *data, void *p)
{
	(void)data;
	amb_wipe_free(p);
}

static ProtobufCAllocator wiping = { .alloc = take, .free = give };

static void cleanup_response(Sds__DiscoveryResponse **m)
{
	if (*m)
		sds__discovery_response__free_unpacked(*m, &wiping);
}

static void cleanup_secret(Sds__Secret **m)
{
	if (*m)
		sds__secret__free_unpacked(*m, &wiping);
}

void amb_sds_secret_clear(struct amb_sds_secret *s)
{
	free(s->chain);
	free(s->roots);
	explicit_bzero(s, sizeof(*s));
}

/* The text of a data source, to be freed; NULL: it is elsewhere, or no text (EINVAL, ENOMEM). */
static char *text_of(const Sds__DataSource *source)
{
	const char *p = NULL;
	size_t n = 0;

	errno = EINVAL;
	if (source && source->specifier_case == SDS__DATA_SOURCE__SPECIFIER_INLINE_BYTES) {
		p = (const char *)source->inline_bytes.data;
		n = source->inline_bytes.len;
	} else if (source && source->specifier_case == SDS__DATA_SOURCE__SPECIFIER_INLINE_STRING) {
		p = source->inline_string;
		n = strlen(p);
	}
	return n && n <= AMB_PEM_BYTES_MAX && !memchr(p, 0, n) ? strndup(p, n) : NULL;
}

static int take_chain(const Sds__TlsCertificate *m, const struct amb_identity *id,
		      struct amb_sds_secret *out, struct amb_x509_key *key, char *err)
{
	struct amb_pem_info info;
	int ret;

	out->chain = text_of(m->certificate_chain);
	if (!out->chain)
		return errno == ENOMEM ? -ENOMEM : complain(err, "it has no inline certificate");
	ret = amb_x509_leaf_of(out->chain, id->spiffe, key, &info, err, AMB_SDS_ERROR_MAX);
	if (ret)
		return ret;
	out->not_before = info.not_before;
	out->not_after = info.not_after;
	return 0;
}

static int take_certificate(const Sds__Secret *m, const struct amb_identity *id,
			    struct amb_sds_secret *out, char *err)
{
	_cleanup_(amb_wipe_text) char *text = NULL;
	struct amb_x509_key *key;
	int n, ret;

	if (m->type_case != SDS__SECRET__TYPE_TLS_CERTIFICATE || !m->tls_certificate)
		return complain(err, "it is no certificate");
	text = text_of(m->tls_certificate->private_key);
	if (!text)
		return errno == ENOMEM ? -ENOMEM : complain(err, "it has no inline key");
	key = amb_x509_key_read(text);
	if (!key)
		return errno == ENOMEM ? -ENOMEM :
					 complain(err, "its key is none of P-256 or P-384");
	n = amb_x509_key_der(key, out->key);
	out->keylen = n > 0 ? n : 0;
	ret = n > 0 ? take_chain(m->tls_certificate, id, out, key, err) :
		      complain(err, "its key cannot be used");
	amb_x509_key_destroy(key);
	return ret;
}

static int take_roots(const Sds__Secret *m, struct amb_sds_secret *out, char *err)
{
	_cleanup_(amb_pem_clear) struct amb_pem pem = { 0 };
	int ret;

	if (m->type_case != SDS__SECRET__TYPE_VALIDATION_CONTEXT || !m->validation_context)
		return complain(err, "it is no validation context");
	out->roots = text_of(m->validation_context->trusted_ca);
	if (!out->roots)
		return errno == ENOMEM ? -ENOMEM : complain(err, "it has no inline roots");
	ret = amb_pem_read(out->roots, &pem);
	if (ret && ret != -ENOMEM)
		return complain(err, "its roots cannot be read");
	return ret;
}

/* 1: it is @name's, 0: another's. */
static int take_secret(const Google__Protobuf__Any *any, const char *name,
		       const struct amb_identity *id, struct amb_sds_secret *out, char *err)
{
	_cleanup_(cleanup_secret) Sds__Secret *m = NULL;
	int ret;

	if (strcmp(any->type_url, AMB_SDS_TYPE))
		return complain(err, "it is of type %.150s", any->type_url);
	m = sds__secret__unpack(&wiping, any->value.len, any->value.data);
	if (!m)
		return complain(err, "it cannot be decoded");
	if (strcmp(m->name, name))
		return 0;
	ret = id ? take_certificate(m, id, out, err) : take_roots(m, out, err);
	return ret ? ret : 1;
}

int amb_sds_answer_read(const uint8_t *data, size_t len, const char *name,
			const struct amb_identity *id, struct amb_sds_answer *out,
			char err[AMB_SDS_ERROR_MAX])
{
	_cleanup_(cleanup_response) Sds__DiscoveryResponse *m = NULL;
	int ret = 0;
	size_t i;

	memset(out, 0, sizeof(*out));
	m = sds__discovery_response__unpack(&wiping, len, data);
	if (!m || strlen(m->version_info) >= AMB_SDS_VERSION_MAX ||
	    strlen(m->nonce) >= AMB_SDS_VERSION_MAX)
		return -EBADMSG;
	strcpy(out->version, m->version_info);
	strcpy(out->nonce, m->nonce);
	for (i = 0; i < m->n_resources && !ret; i++)
		ret = take_secret(m->resources[i], name, id, &out->secret, err);
	if (ret < 0)
		amb_sds_secret_clear(&out->secret);
	return ret;
}
