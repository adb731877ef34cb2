// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One credential: a certificate chain, its key, and the roots that peers are judged by, with
 * the TLS library's contexts that handshakes of it share. Immutable but for the retired flag
 * and the contexts, which are made once, under a lock. Lives while anybody holds a reference:
 * store, handshakes, connections.
 */
#include "cred.h"

#include "base/cleanup.h"
#include "base/groups.h"
#include "base/pem.h"
#include "creds.h"
#include "trust.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/memory.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct amb_cred {
	atomic_uint refs;
	atomic_bool retired;
	struct amb_identity *id;
	struct amb_trust *trust;
	int64_t not_before, not_after;
	pthread_mutex_t lock; /* of ctx */
	WOLFSSL_CTX *ctx[2]; /* client, server */
	char *chain_pem;
	uint8_t *key;
	size_t keylen;
};

struct amb_cred *amb_cred_get(struct amb_cred *c)
{
	if (c)
		atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void amb_cred_put(struct amb_cred *c)
{
	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	wolfSSL_CTX_free(c->ctx[0]);
	wolfSSL_CTX_free(c->ctx[1]);
	if (c->key)
		wc_ForceZero(c->key, c->keylen);
	free(c->key);
	free(c->chain_pem);
	pthread_mutex_destroy(&c->lock);
	amb_trust_put(c->trust);
	amb_identity_put(c->id);
	free(c);
}

struct amb_identity *amb_cred_identity(const struct amb_cred *c)
{
	return c->id;
}

bool amb_cred_retired(const struct amb_cred *c)
{
	return atomic_load_explicit(&c->retired, memory_order_relaxed);
}

void amb_cred_retire(struct amb_cred *c)
{
	atomic_store_explicit(&c->retired, true, memory_order_relaxed);
}

int64_t amb_cred_not_before(const struct amb_cred *c)
{
	return c->not_before;
}

int64_t amb_cred_not_after(const struct amb_cred *c)
{
	return c->not_after;
}

struct amb_trust *amb_cred_trust(const struct amb_cred *c)
{
	return c->trust;
}

const char *amb_cred_chain(const struct amb_cred *c)
{
	return c->chain_pem;
}

static WOLFSSL_CTX *make_context(const struct amb_cred *c, bool server)
{
	WOLFSSL_CTX *ctx =
		wolfSSL_CTX_new(server ? wolfTLSv1_3_server_method() : wolfTLSv1_3_client_method());

	if (!ctx)
		return NULL;
	if (wolfSSL_CTX_use_certificate_chain_buffer(ctx, (const uint8_t *)c->chain_pem,
						     strlen(c->chain_pem)) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_use_PrivateKey_buffer(ctx, c->key, c->keylen, WOLFSSL_FILETYPE_ASN1) !=
		    WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_set_cipher_list(ctx, "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384") !=
		    WOLFSSL_SUCCESS ||
	    amb_groups_set(ctx) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_SetMinRsaKey_Sz(ctx, 2048) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_set_group_messages(ctx) != WOLFSSL_SUCCESS) {
		wolfSSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

WOLFSSL_CTX *amb_cred_context(struct amb_cred *c, bool server)
{
	WOLFSSL_CTX *ctx;

	pthread_mutex_lock(&c->lock);
	if (!c->ctx[server])
		c->ctx[server] = make_context(c, server);
	ctx = c->ctx[server];
	pthread_mutex_unlock(&c->lock);
	return ctx;
}

static struct amb_cred *copy_in(struct amb_identity *id, const uint8_t *key, size_t keylen,
				const char *chain_pem, struct amb_trust *trust)
{
	struct amb_cred *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	atomic_init(&c->refs, 1);
	pthread_mutex_init(&c->lock, NULL);
	c->id = amb_identity_get(id);
	c->trust = amb_trust_get(trust);
	c->chain_pem = strdup(chain_pem);
	c->key = malloc(keylen);
	c->keylen = keylen;
	if (c->key)
		memcpy(c->key, key, keylen);
	if (!c->key || !c->chain_pem) {
		amb_cred_put(c);
		errno = ENOMEM;
		return NULL;
	}
	return c;
}

/* The leaf's name and dates. */
static int read_leaf(struct amb_cred *c, char *err, size_t errlen)
{
	struct amb_pem pem = { 0 };
	struct amb_pem_info info;
	int e = amb_pem_read(c->chain_pem, &pem);

	if (!e)
		e = amb_pem_info(&pem.cert[0], &info);
	amb_pem_clear(&pem);
	if (e) {
		snprintf(err, errlen, "certificate chain cannot be read: %s",
			 e == -ENODATA ? "no certificate in it" : strerror(-e));
		return e == -ENOMEM ? e : -EINVAL;
	}
	if (strcmp(info.uri, c->id->spiffe)) {
		snprintf(err, errlen, "certificate is for \"%s\", not for %s", info.uri,
			 c->id->spiffe);
		return -EINVAL;
	}
	c->not_before = info.not_before;
	c->not_after = info.not_after;
	return 0;
}

struct amb_cred *amb_cred_create(struct amb_identity *id, const uint8_t *key, size_t keylen,
				 const char *chain_pem, struct amb_trust *trust, char *err,
				 size_t errlen)
{
	struct amb_cred *c = NULL;
	WOLFSSL_CTX *ctx;
	int e = -EINVAL;

	if (!keylen)
		snprintf(err, errlen, "private key is empty");
	else
		c = copy_in(id, key, keylen, chain_pem, trust);
	if (!c) {
		if (keylen) {
			snprintf(err, errlen, "out of memory");
			e = -ENOMEM;
		}
		errno = -e;
		return NULL;
	}
	e = read_leaf(c, err, errlen);
	if (!e) {
		ctx = amb_cred_context(c, true);
		if (!ctx || wolfSSL_CTX_check_private_key(ctx) != WOLFSSL_SUCCESS) {
			snprintf(err, errlen,
				 ctx ? "private key does not belong to the certificate" :
				       "private key or chain is not usable for TLS");
			e = -EINVAL;
		}
	}
	if (e) {
		amb_cred_put(c);
		errno = -e;
		return NULL;
	}
	return c;
}

struct amb_cred *amb_cred_with_trust(struct amb_cred *c, struct amb_trust *trust)
{
	struct amb_cred *n = copy_in(c->id, c->key, c->keylen, c->chain_pem, trust);

	if (!n)
		return NULL;
	n->not_before = c->not_before;
	n->not_after = c->not_after;
	return n;
}
