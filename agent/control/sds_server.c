// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A secret discovery service for an Envoy beside the agent.
 *
 * State of the world: an answer has all secrets that the stream asks for and that are there. One
 * answer is under way at a time: what changes before the client has answered it is sent then.
 * A name that is not known (yet) is waited for, in silence, as Envoy expects.
 */
#include "sds_server.h"

#include "sds.pb-c.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "grpc_server.h"
#include "sds.h"
#include "x509.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct secret {
	struct secret *next;
	struct amb_identity *id; /* NULL: the roots */
	char *chain, *roots;
	char key[AMB_X509_KEY_PEM_MAX];
	uint64_t version;
};

struct stream {
	struct stream *next, **prev;
	struct amb_sds_server *server;
	struct amb_gserver_call *call;
	char **names;
	size_t nnames;
	uint64_t sent; /* newest version in the last answer */
	uint64_t nonce; /* of the last answer */
	bool waiting; /* for the client's word on it */
};

struct amb_sds_server {
	struct amb_gserver *grpc;
	struct secret *secrets;
	struct secret roots;
	struct stream *streams;
	uint64_t version;
};

/* Secrets */

static const char *name_of(const struct secret *s)
{
	return s->id ? s->id->spiffe : AMB_SDS_ROOTS;
}

static const struct secret *find(const struct amb_sds_server *s, const char *name)
{
	const struct secret *p;

	if (!strcmp(name, AMB_SDS_ROOTS))
		return s->roots.roots ? &s->roots : NULL;
	for (p = s->secrets; p && strcmp(p->id->spiffe, name); p = p->next)
		;
	return p;
}

static void set_inline(Sds__DataSource *source, const char *text)
{
	sds__data_source__init(source);
	source->specifier_case = SDS__DATA_SOURCE__SPECIFIER_INLINE_BYTES;
	source->inline_bytes.data = (uint8_t *)text;
	source->inline_bytes.len = strlen(text);
}

/* A secret as bytes, to be wiped and freed; its length through @len. NULL: out of memory. */
static uint8_t *pack_secret(const struct secret *s, size_t *len)
{
	Sds__Secret m = SDS__SECRET__INIT;
	Sds__TlsCertificate cert = SDS__TLS_CERTIFICATE__INIT;
	Sds__CertificateValidationContext context = SDS__CERTIFICATE_VALIDATION_CONTEXT__INIT;
	Sds__DataSource a, b;
	uint8_t *out;

	m.name = (char *)name_of(s);
	set_inline(&a, s->id ? s->chain : s->roots);
	set_inline(&b, s->key);
	if (s->id) {
		cert.certificate_chain = &a;
		cert.private_key = &b;
		m.type_case = SDS__SECRET__TYPE_TLS_CERTIFICATE;
		m.tls_certificate = &cert;
	} else {
		context.trusted_ca = &a;
		m.type_case = SDS__SECRET__TYPE_VALIDATION_CONTEXT;
		m.validation_context = &context;
	}
	*len = sds__secret__get_packed_size(&m);
	out = malloc(*len + 1);
	if (out)
		sds__secret__pack(&m, out);
	return out;
}

/* Streams */

/* An answer with @n secrets. 0, or -errno: EAGAIN when the last one is not sent yet. */
static int send_answer(struct stream *st, const struct secret *const *secrets, size_t n)
{
	Sds__DiscoveryResponse m = SDS__DISCOVERY_RESPONSE__INIT;
	Google__Protobuf__Any any[AMB_SDS_SERVER_NAMES], *anys[AMB_SDS_SERVER_NAMES];
	char version[24], nonce[24];
	uint8_t *buf;
	int err = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		google__protobuf__any__init(&any[i]);
		any[i].type_url = AMB_SDS_TYPE;
		any[i].value.data = pack_secret(secrets[i], &any[i].value.len);
		err = any[i].value.data ? err : -ENOMEM;
		anys[i] = &any[i];
	}
	snprintf(version, sizeof(version), "%llu", (unsigned long long)st->server->version);
	snprintf(nonce, sizeof(nonce), "%llu", (unsigned long long)st->nonce + 1);
	m.version_info = version;
	m.nonce = nonce;
	m.type_url = AMB_SDS_TYPE;
	m.n_resources = n;
	m.resources = anys;
	if (!err) {
		buf = amb_gserver_send(st->call, sds__discovery_response__get_packed_size(&m));
		err = buf ? 0 : -errno;
		if (buf)
			sds__discovery_response__pack(&m, buf);
	}
	for (i = 0; i < n; i++) {
		if (any[i].value.data)
			explicit_bzero(any[i].value.data, any[i].value.len);
		free(any[i].value.data);
	}
	return err;
}

/* Sends what is new of what it asks for. */
static void push(struct stream *st)
{
	const struct secret *secrets[AMB_SDS_SERVER_NAMES];
	uint64_t newest = 0;
	size_t i, n = 0;
	int err;

	if (st->waiting)
		return;
	for (i = 0; i < st->nnames; i++) {
		const struct secret *s = find(st->server, st->names[i]);

		if (!s)
			continue;
		secrets[n++] = s;
		newest = AMB_MAX(newest, s->version);
	}
	if (newest <= st->sent)
		return;
	err = send_answer(st, secrets, n);
	if (err && err != -EAGAIN)
		amb_warn(CA, "secrets cannot be sent: %s, continuing", strerror(-err));
	if (err)
		return;
	st->sent = newest;
	st->nonce++;
	st->waiting = true;
}

static void push_all(struct amb_sds_server *s)
{
	struct stream *st;

	s->version++;
	for (st = s->streams; st; st = st->next)
		push(st);
}

static void drop_names(struct stream *st)
{
	while (st->nnames)
		free(st->names[--st->nnames]);
	free(take_ptr(st->names));
}

static bool same_names(const struct stream *st, char **names, size_t n)
{
	size_t i;

	for (i = 0; i < n && i < st->nnames && !strcmp(names[i], st->names[i]); i++)
		;
	return i == n && n == st->nnames;
}

static int set_names(struct stream *st, char **names, size_t n)
{
	size_t i;

	drop_names(st);
	st->names = calloc(n + 1, sizeof(*st->names));
	for (i = 0; st->names && i < n; i++) {
		st->names[i] = strdup(names[i]);
		if (!st->names[i])
			return -ENOMEM;
		st->nnames++;
	}
	/* What it asks for now is news to it. */
	st->sent = 0;
	return st->names ? 0 : -ENOMEM;
}

static int take_request(struct stream *st, const Sds__DiscoveryRequest *m)
{
	char nonce[24];

	if ((*m->type_url && strcmp(m->type_url, AMB_SDS_TYPE)) ||
	    m->n_resource_names > AMB_SDS_SERVER_NAMES)
		return -EINVAL;
	snprintf(nonce, sizeof(nonce), "%llu", (unsigned long long)st->nonce);
	/* A word on an answer that was overtaken says nothing. */
	if (*m->response_nonce && strcmp(m->response_nonce, nonce))
		return 0;
	if (m->error_detail)
		amb_warn(CA, "a client refuses its secrets: %.200s", m->error_detail->message);
	st->waiting = false;
	if (!same_names(st, m->resource_names, m->n_resource_names) &&
	    set_names(st, m->resource_names, m->n_resource_names))
		return -ENOMEM;
	push(st);
	return 0;
}

static void *stream_open(void *ctx, struct amb_gserver_call *call, const char *path)
{
	struct amb_sds_server *s = ctx;
	struct stream *st = strcmp(path, AMB_SDS_METHOD) ? NULL : calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->server = s;
	st->call = call;
	st->prev = &s->streams;
	st->next = s->streams;
	if (st->next)
		st->next->prev = &st->next;
	s->streams = st;
	return st;
}

static int stream_message(void *ctx, const uint8_t *data, size_t n)
{
	Sds__DiscoveryRequest *m = sds__discovery_request__unpack(NULL, n, data);
	int ret = m ? take_request(ctx, m) : -EINVAL;

	if (m)
		sds__discovery_request__free_unpacked(m, NULL);
	return ret;
}

static void stream_room(void *ctx)
{
	push(ctx);
}

static void stream_close(void *ctx)
{
	struct stream *st = ctx;

	*st->prev = st->next;
	if (st->next)
		st->next->prev = st->prev;
	drop_names(st);
	free(st);
}

static const struct amb_gserver_handler handler = {
	.open = stream_open,
	.message = stream_message,
	.room = stream_room,
	.close = stream_close,
};

/* What the certificate manager tells */

static void secret_clear(struct secret *s)
{
	amb_identity_put(s->id);
	free(s->chain);
	free(s->roots);
	explicit_bzero(s, sizeof(*s));
}

static struct secret **slot(struct amb_sds_server *s, const struct amb_identity *id)
{
	struct secret **p;

	for (p = &s->secrets; *p && (*p)->id != id; p = &(*p)->next)
		;
	return p;
}

int amb_sds_server_roots(struct amb_sds_server *s, const char *roots)
{
	char *copy;

	if (s->roots.roots && !strcmp(s->roots.roots, roots))
		return 0;
	copy = strdup(roots);
	if (!copy)
		return -ENOMEM;
	free(s->roots.roots);
	s->roots.roots = copy;
	s->roots.version = s->version + 1;
	push_all(s);
	return 0;
}

int amb_sds_server_install(struct amb_sds_server *s, struct amb_identity *id, const uint8_t *key,
			   size_t keylen, const char *chain, const char *roots)
{
	struct secret **p = slot(s, id), *secret = *p;
	char *copy = strdup(chain);
	int err;

	if (!secret)
		secret = calloc(1, sizeof(*secret));
	if (!copy || !secret) {
		free(copy);
		if (!*p)
			free(secret);
		return -ENOMEM;
	}
	if (!*p) {
		secret->id = amb_identity_get(id);
		*p = secret;
	}
	free(secret->chain);
	secret->chain = copy;
	err = amb_x509_der_pem(key, keylen, secret->key);
	if (err) {
		amb_sds_server_forget(s, id);
		return err;
	}
	secret->version = s->version + 1;
	push_all(s);
	return amb_sds_server_roots(s, roots);
}

void amb_sds_server_forget(struct amb_sds_server *s, const struct amb_identity *id)
{
	struct secret **p = slot(s, id), *secret = *p;

	if (!secret)
		return;
	*p = secret->next;
	secret_clear(secret);
	free(secret);
}

struct amb_sds_server *amb_sds_server_create(struct amb_loop *loop, const char *path,
					     const uid_t *uids, size_t n)
{
	struct amb_sds_server *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return NULL;
	s->grpc = amb_gserver_create(loop, path, uids, n, &handler, s);
	if (s->grpc)
		return s;
	err = errno;
	free(s);
	errno = err;
	return NULL;
}

void amb_sds_server_destroy(struct amb_sds_server *s)
{
	if (!s)
		return;
	amb_gserver_destroy(s->grpc);
	while (s->secrets)
		amb_sds_server_forget(s, s->secrets->id);
	secret_clear(&s->roots);
	free(s);
}
