// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * istiod's certificate service as an issuer. Each request is one unary call; the certificate
 * manager decides how many run at once, in which order, and when to try again.
 */
#include "citadel.h"

#include "istioca.pb-c.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "grpc.h"
#include "x509.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define METHOD "/istio.v1.auth.IstioCertificateService/CreateCertificate"
#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE)

struct request {
	struct request *next, **prev;
	struct amb_citadel *ci;
	struct amb_certs *certs;
	struct amb_certs_ticket *ticket;
	struct amb_identity *id;
	struct amb_x509_key *key;
	struct amb_grpc_call *call;
	struct amb_timer limit;
	struct amb_grpc_whole answer;
	bool answered;
};

struct amb_citadel {
	struct amb_loop *loop;
	struct amb_grpc *channel;
	struct request *requests;
	uint64_t ttl_s;
	bool impersonate;
	struct amb_io watch; /* fd -1: roots are no file */
	struct amb_timer changed;
	char *watched;
};

/* Answers */

static char *concatenate(char *const *list, size_t n)
{
	size_t len = 1, at = 0, i;
	char *out;

	for (i = 0; i < n; i++)
		len += strlen(list[i]) + 1;
	out = malloc(len);
	for (i = 0; out && i < n; i++)
		at += sprintf(out + at, "%s\n", list[i]);
	return out;
}

int amb_citadel_chain(char *const *list, size_t n, const struct amb_identity *id,
		      struct amb_certs_result *out, char **chain, char *err, size_t errlen)
{
	struct amb_pem_info info;
	int ret;

	if (n < 2) {
		snprintf(err, errlen, "it sent %zu certificates: no root among them", n);
		return -EINVAL;
	}
	ret = amb_x509_leaf_of(list[0], id->spiffe, NULL, &info, err, errlen);
	if (ret)
		return ret;
	*chain = concatenate(list, n - 1);
	if (!*chain)
		return -ENOMEM;
	out->not_before = info.not_before;
	out->not_after = info.not_after;
	out->chain_pem = *chain;
	out->roots_pem = list[n - 1];
	return 0;
}

/* Requests */

static void request_free(struct request *r)
{
	*r->prev = r->next;
	if (r->next)
		r->next->prev = r->prev;
	amb_loop_timer_cancel(r->ci->loop, &r->limit);
	amb_x509_key_destroy(r->key);
	amb_identity_put(r->id);
	amb_grpc_whole_clear(&r->answer);
	free(r);
}

/* The one answer to the manager. */
static void conclude(struct request *r, const struct amb_certs_result *result, const char *error)
{
	struct amb_certs_ticket *ticket = r->ticket;
	struct amb_certs *certs = r->certs;
	char text[400];

	if (result) {
		amb_certs_done(certs, ticket, result, NULL);
		request_free(r);
		return;
	}
	snprintf(text, sizeof(text), "%s: %s", amb_grpc_target(r->ci->channel), error);
	request_free(r);
	amb_certs_done(certs, ticket, NULL, text);
}

static void use_answer(struct request *r)
{
	Istio__V1__Auth__IstioCertificateResponse *m;
	_cleanup_free_ char *chain = NULL;
	uint8_t der[AMB_X509_KEY_DER_MAX];
	struct amb_certs_result result = { .key = der };
	char err[256] = "out of memory";
	int n, ret;

	m = istio__v1__auth__istio_certificate_response__unpack(NULL, r->answer.len, r->answer.p);
	if (!m) {
		conclude(r, NULL, "its answer cannot be decoded");
		return;
	}
	ret = amb_citadel_chain(m->cert_chain, m->n_cert_chain, r->id, &result, &chain, err,
				sizeof(err));
	n = amb_x509_key_der(r->key, der);
	if (!ret && n > 0) {
		result.keylen = n;
		conclude(r, &result, NULL);
	} else {
		conclude(r, NULL, err);
	}
	explicit_bzero(der, sizeof(der));
	istio__v1__auth__istio_certificate_response__free_unpacked(m, NULL);
}

static int message(void *ctx, const struct amb_grpc_piece *piece)
{
	struct request *r = ctx;
	int ret;

	/* There is one answer. */
	if (piece->first && r->answer.p)
		return -EPROTO;
	ret = amb_grpc_gather(&r->answer, piece);
	r->answered = ret > 0;
	return ret < 0 ? ret : 0;
}

static void done(void *ctx, const struct amb_grpc_status *status)
{
	struct request *r = ctx;
	char text[300];

	r->call = NULL;
	if (status->code == AMB_GRPC_OK && r->answered) {
		use_answer(r);
	} else {
		snprintf(text, sizeof(text), "%s%s%s", amb_grpc_code_text(status->code),
			 *status->message ? ": " : "", status->message);
		conclude(r, NULL, status->code == AMB_GRPC_OK ? "it sent no answer" : text);
	}
}

static const struct amb_grpc_handler handler = { .message = message, .done = done };

static void too_late(struct amb_timer *t)
{
	struct request *r = AMB_CONTAINER_OF(t, struct request, limit);

	amb_grpc_cancel(r->call);
	conclude(r, NULL, "no answer within 30 s");
}

static int send_request(struct request *r, char *csr)
{
	Istio__V1__Auth__IstioCertificateRequest m =
		ISTIO__V1__AUTH__ISTIO_CERTIFICATE_REQUEST__INIT;
	Google__Protobuf__Struct metadata = GOOGLE__PROTOBUF__STRUCT__INIT;
	Google__Protobuf__Struct__FieldsEntry field = GOOGLE__PROTOBUF__STRUCT__FIELDS_ENTRY__INIT,
					      *fields[] = { &field };
	Google__Protobuf__Value value = GOOGLE__PROTOBUF__VALUE__INIT;
	uint8_t *buf;

	m.csr = csr;
	m.validity_duration = r->ci->ttl_s;
	if (r->ci->impersonate) {
		value.kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
		value.string_value = r->id->spiffe;
		field.key = "ImpersonatedIdentity";
		field.value = &value;
		metadata.n_fields = 1;
		metadata.fields = fields;
		m.metadata = &metadata;
	}
	buf = amb_grpc_send(r->call,
			    istio__v1__auth__istio_certificate_request__get_packed_size(&m));
	if (!buf)
		return -ENOMEM;
	istio__v1__auth__istio_certificate_request__pack(&m, buf);
	amb_grpc_send_end(r->call);
	return 0;
}

static int start(struct request *r)
{
	_cleanup_free_ char *csr = NULL;

	r->key = amb_x509_key_create(AMB_X509_P256);
	csr = r->key ? amb_x509_request_pem(r->key, r->id->spiffe) : NULL;
	if (!csr)
		return -errno;
	r->limit.fn = too_late;
	if (amb_loop_timer_set(r->ci->loop, &r->limit, amb_util_now_ns() + AMB_CITADEL_WAIT_NS))
		return -ENOMEM;
	r->call = amb_grpc_open(r->ci->channel, METHOD, AMB_CITADEL_ANSWER_MAX, &handler, r);
	if (!r->call)
		return -ENOMEM;
	return send_request(r, csr);
}

static void issue(void *ctx, struct amb_certs *certs, struct amb_certs_ticket *ticket,
		  struct amb_identity *id)
{
	struct amb_citadel *ci = ctx;
	struct request *r = calloc(1, sizeof(*r));
	int err;

	if (!r) {
		amb_certs_done(certs, ticket, NULL, "out of memory");
		return;
	}
	r->ci = ci;
	r->certs = certs;
	r->ticket = ticket;
	r->id = amb_identity_get(id);
	r->prev = &ci->requests;
	r->next = ci->requests;
	if (r->next)
		r->next->prev = &r->next;
	ci->requests = r;
	err = start(r);
	if (!err)
		return;
	if (r->call)
		amb_grpc_cancel(r->call);
	conclude(r, NULL, strerror(-err));
}

struct amb_certs_issuer amb_citadel_interface(struct amb_citadel *ci)
{
	return (struct amb_certs_issuer){ .ctx = ci, .issue = issue };
}

/* Roots */

static void renew(struct amb_timer *t)
{
	struct amb_citadel *ci = AMB_CONTAINER_OF(t, struct amb_citadel, changed);

	amb_info(CA, "%s changed: the next request goes over a new connection", ci->watched);
	amb_grpc_renew(ci->channel);
}

static void changed(struct amb_io *io, uint32_t events)
{
	struct amb_citadel *ci = AMB_CONTAINER_OF(io, struct amb_citadel, watch);
	char buf[4096];

	(void)events;
	while (read(io->fd, buf, sizeof(buf)) > 0)
		;
	amb_loop_timer_set(ci->loop, &ci->changed, amb_util_now_ns() + AMB_CITADEL_DEBOUNCE_NS);
}

/* The directory, because files of volumes are replaced by renaming links. */
static int watch(struct amb_citadel *ci, const char *roots)
{
	char *slash;

	if (!strchr(roots, '/') || strstr(roots, "-----BEGIN "))
		return 0;
	ci->watched = strdup(roots);
	ci->watch.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (!ci->watched)
		return -ENOMEM;
	if (ci->watch.fd < 0)
		return -errno;
	slash = strrchr(ci->watched, '/');
	*slash = 0;
	/* Connections that are made later read the file anyway. */
	if (inotify_add_watch(ci->watch.fd, *ci->watched ? ci->watched : "/", EVENTS) < 0)
		amb_warn(CA, "%s: %s: changes of the roots are seen late, continuing", roots,
			 strerror(errno));
	*slash = '/';
	return amb_loop_add(ci->loop, &ci->watch, EPOLLIN);
}

/* Life */

struct amb_citadel *amb_citadel_create(struct amb_loop *loop,
				       const struct amb_citadel_config *config)
{
	struct amb_citadel *ci = calloc(1, sizeof(*ci));
	int err;

	if (!ci)
		return NULL;
	ci->loop = loop;
	ci->channel = config->channel;
	ci->ttl_s = config->ttl_s;
	ci->impersonate = config->impersonate;
	ci->watch = (struct amb_io){ .fn = changed, .fd = -1, .slot = -1 };
	ci->changed.fn = renew;
	err = amb_x509_init() ?: watch(ci, config->roots);
	if (err) {
		amb_citadel_destroy(ci);
		errno = -err;
		return NULL;
	}
	return ci;
}

void amb_citadel_stop(struct amb_citadel *ci)
{
	while (ci && ci->requests) {
		if (ci->requests->call)
			amb_grpc_cancel(ci->requests->call);
		conclude(ci->requests, NULL, "the agent ends");
	}
}

void amb_citadel_destroy(struct amb_citadel *ci)
{
	if (!ci)
		return;
	amb_loop_timer_cancel(ci->loop, &ci->changed);
	if (ci->watch.fd >= 0)
		amb_loop_del(ci->loop, &ci->watch);
	amb_cleanup_fd(&ci->watch.fd);
	free(ci->watched);
	free(ci);
}
