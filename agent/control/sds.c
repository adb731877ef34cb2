// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A client of Envoy's secret discovery service. A subscription is one secret and its stream:
 *
 *   streaming  a call is open; each answer is acknowledged, or refused with the reason
 *   resting    the call ended; its timer is armed for the next, the secret stays good
 *
 * One that has a ticket of the certificate manager answers it as soon as it has both a
 * certificate and the roots; a certificate that comes without a ticket is told to the manager,
 * which then asks for it.
 */
#include "sds.h"

#include "sds.pb-c.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "grpc.h"
#include "sds_secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BUCKETS 256

struct sub {
	struct sub *next;
	struct amb_sds *sds;
	struct amb_identity *id; /* NULL: the roots */
	const char *name; /* of the secret */
	struct amb_grpc_call *call;
	struct amb_timer retry, limit;
	unsigned int failures; /* streams that ended, since the last good answer */
	struct amb_certs_ticket *ticket;
	struct amb_grpc_whole answer; /* that is coming in */
	char version[AMB_SDS_VERSION_MAX]; /* of the last that was good */
	struct amb_sds_secret secret;
	char error[AMB_SDS_ERROR_MAX]; /* why there is none, or no newer one */
};

struct amb_sds {
	struct amb_loop *loop;
	struct amb_grpc *channel;
	struct amb_certs *certs;
	char *node, *cert_name, *roots_name;
	struct sub roots;
	struct sub *bucket[BUCKETS];
	bool stopped;
};

/* Answers to the manager */

static void conclude(struct sub *sub, const struct amb_certs_result *result, const char *error)
{
	struct amb_certs_ticket *ticket = take_ptr(sub->ticket);
	struct amb_sds *s = sub->sds;
	char text[AMB_SDS_ERROR_MAX + 200];

	amb_loop_timer_cancel(s->loop, &sub->limit);
	if (!ticket)
		return;
	snprintf(text, sizeof(text), "%s: %s", amb_grpc_target(s->channel), error ? error : "");
	amb_certs_done(s->certs, ticket, result, result ? NULL : text);
}

/* True when the ticket is answered. */
static bool try_answer(struct sub *sub)
{
	const struct amb_sds_secret *secret = &sub->secret;
	const struct amb_certs_result result = {
		.key = secret->key,
		.keylen = secret->keylen,
		.chain_pem = secret->chain,
		.roots_pem = sub->sds->roots.secret.roots,
		.not_before = secret->not_before,
		.not_after = secret->not_after,
	};

	if (!sub->ticket || !secret->chain || !result.roots_pem || secret->not_after <= time(NULL))
		return false;
	conclude(sub, &result, NULL);
	return true;
}

static void each(struct amb_sds *s, void (*fn)(struct sub *sub))
{
	struct sub *sub, *next;
	unsigned int i;

	for (i = 0; i < BUCKETS; i++) {
		for (sub = s->bucket[i]; sub; sub = next) {
			next = sub->next;
			fn(sub);
		}
	}
}

static void roots_came(struct sub *sub)
{
	(void)try_answer(sub);
}

/* Secrets */

static bool same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

static void take_roots(struct sub *sub, struct amb_sds_secret *secret)
{
	struct amb_sds *s = sub->sds;
	bool changed = sub->secret.roots && !same(sub->secret.roots, secret->roots);
	int err = 0;

	if (changed)
		err = amb_certs_roots(s->certs, secret->roots);
	if (err) {
		amb_err(CA, "%s: roots cannot be taken over: %s; the present ones are used",
			sub->name, strerror(-err));
		/* When they come again they are news again. */
		amb_sds_secret_clear(secret);
		return;
	}
	if (changed)
		amb_info(CA, "%s: the roots changed", sub->name);
	amb_sds_secret_clear(&sub->secret);
	sub->secret = *secret;
	each(s, roots_came);
}

static void take_certificate(struct sub *sub, struct amb_sds_secret *secret)
{
	bool changed = !same(sub->secret.chain, secret->chain);
	bool asked = sub->ticket;

	amb_sds_secret_clear(&sub->secret);
	sub->secret = *secret;
	/* The same once more, after a new stream, is no news. */
	if (!try_answer(sub) && !asked && changed)
		amb_certs_renewed(sub->sds->certs, sub->id);
}

/* Streams */

static void start_stream(struct sub *sub);

static int send_request(struct sub *sub, const char *nonce, const char *refused)
{
	Sds__DiscoveryRequest m = SDS__DISCOVERY_REQUEST__INIT;
	Sds__Node node = SDS__NODE__INIT;
	Sds__Status status = SDS__STATUS__INIT;
	char *names[] = { (char *)sub->name };
	uint8_t *buf;

	node.id = sub->sds->node;
	m.version_info = sub->version;
	m.node = &node;
	m.n_resource_names = 1;
	m.resource_names = names;
	m.type_url = AMB_SDS_TYPE;
	m.response_nonce = (char *)nonce;
	if (refused) {
		status.code = AMB_GRPC_INVALID_ARGUMENT;
		status.message = (char *)refused;
		m.error_detail = &status;
	}
	buf = amb_grpc_send(sub->call, sds__discovery_request__get_packed_size(&m));
	if (!buf)
		return -ENOMEM;
	sds__discovery_request__pack(&m, buf);
	return 0;
}

static void refuse(struct sub *sub, const char *why)
{
	amb_warn(CA, "%s: %s: %s%s", amb_grpc_target(sub->sds->channel), sub->name, why,
		 sub->secret.chain || sub->secret.roots ? "; the present one is used, continuing" :
							  "");
	snprintf(sub->error, sizeof(sub->error), "%s", why);
	conclude(sub, NULL, why);
}

/* Acknowledges first: what follows may end the subscription. */
static int take_answer(struct sub *sub)
{
	char err[AMB_SDS_ERROR_MAX] = "";
	struct amb_sds_answer a;
	int ret = amb_sds_answer_read(sub->answer.p, sub->answer.len, sub->name, sub->id, &a, err);

	if (ret == -EBADMSG || ret == -ENOMEM)
		return ret;
	if (ret >= 0)
		memcpy(sub->version, a.version, sizeof(sub->version));
	if (send_request(sub, a.nonce, ret < 0 ? err : NULL)) {
		amb_sds_secret_clear(&a.secret);
		return -ENOMEM;
	}
	if (ret < 0) {
		refuse(sub, err);
		return 0;
	}
	sub->failures = 0;
	sub->error[0] = 0;
	if (ret && sub->id)
		take_certificate(sub, &a.secret);
	else if (ret)
		take_roots(sub, &a.secret);
	explicit_bzero(&a, sizeof(a));
	return 0;
}

static int message(void *ctx, const struct amb_grpc_piece *piece)
{
	struct sub *sub = ctx;
	int ret = amb_grpc_gather(&sub->answer, piece);

	if (ret <= 0)
		return ret;
	ret = take_answer(sub);
	amb_grpc_whole_clear(&sub->answer);
	return ret;
}

static void stream_ended(struct sub *sub, const char *why)
{
	struct amb_sds *s = sub->sds;
	uint64_t ns = AMB_SDS_RETRY_NS;
	unsigned int i;

	for (i = 0; i < sub->failures && ns < AMB_SDS_RETRY_MAX_NS; i++)
		ns *= 2;
	ns = AMB_MIN(ns, AMB_SDS_RETRY_MAX_NS);
	/* Once, and not for each try. */
	if (!sub->failures++)
		amb_warn(CA, "%s: %s: %s, trying again", amb_grpc_target(s->channel), sub->name,
			 why);
	snprintf(sub->error, sizeof(sub->error), "%s", why);
	amb_grpc_whole_clear(&sub->answer);
	if (amb_loop_timer_set(s->loop, &sub->retry,
			       amb_util_now_ns() + ns / 2 + amb_util_random() % (ns / 2)))
		amb_err(CA, "%s: out of memory, not asked for again", sub->name);
	conclude(sub, NULL, why);
}

static void done(void *ctx, const struct amb_grpc_status *status)
{
	struct sub *sub = ctx;
	char text[AMB_SDS_ERROR_MAX];

	sub->call = NULL;
	snprintf(text, sizeof(text), "%s%s%.200s", amb_grpc_code_text(status->code),
		 *status->message ? ": " : "", status->message);
	stream_ended(sub, text);
}

static const struct amb_grpc_handler handler = { .message = message, .done = done };

static void start_stream(struct sub *sub)
{
	struct amb_sds *s = sub->sds;

	amb_loop_timer_cancel(s->loop, &sub->retry);
	sub->version[0] = 0;
	sub->call = amb_grpc_open(s->channel, AMB_SDS_METHOD, AMB_SDS_ANSWER_MAX, &handler, sub);
	if (sub->call && !send_request(sub, "", NULL))
		return;
	if (sub->call)
		amb_grpc_cancel(take_ptr(sub->call));
	stream_ended(sub, "out of memory");
}

static void retry(struct amb_timer *t)
{
	start_stream(AMB_CONTAINER_OF(t, struct sub, retry));
}

static void too_late(struct amb_timer *t)
{
	struct sub *sub = AMB_CONTAINER_OF(t, struct sub, limit);
	const struct sub *roots = &sub->sds->roots;

	if (!roots->secret.roots)
		conclude(sub, NULL, *roots->error ? roots->error : "no roots within 10 s");
	else if (sub->secret.chain)
		conclude(sub, NULL, "its certificate has expired, and no newer one came");
	else
		conclude(sub, NULL, *sub->error ? sub->error : "no certificate within 10 s");
}

/* Subscriptions */

static void sub_init(struct sub *sub, struct amb_sds *s, struct amb_identity *id, const char *name)
{
	sub->sds = s;
	sub->id = id;
	sub->name = name;
	sub->retry.fn = retry;
	sub->limit.fn = too_late;
}

static void sub_clear(struct sub *sub)
{
	struct amb_loop *loop = sub->sds->loop;

	if (sub->call)
		amb_grpc_cancel(take_ptr(sub->call));
	amb_loop_timer_cancel(loop, &sub->retry);
	amb_loop_timer_cancel(loop, &sub->limit);
	amb_grpc_whole_clear(&sub->answer);
	amb_sds_secret_clear(&sub->secret);
}

static struct sub **find(struct amb_sds *s, const struct amb_identity *id)
{
	struct sub **p = &s->bucket[id->number % BUCKETS];

	while (*p && (*p)->id != id)
		p = &(*p)->next;
	return p;
}

static void issue(void *ctx, struct amb_certs *certs, struct amb_certs_ticket *ticket,
		  struct amb_identity *id)
{
	struct amb_sds *s = ctx;
	struct sub **p = find(s, id), *sub = *p;

	if (!sub && !s->stopped)
		sub = *p = calloc(1, sizeof(*sub));
	if (!sub || s->stopped) {
		amb_certs_done(certs, ticket, NULL,
			       s->stopped ? "the agent ends" : "out of memory");
		return;
	}
	if (!sub->sds)
		sub_init(sub, s, amb_identity_get(id), s->cert_name ? s->cert_name : id->spiffe);
	sub->ticket = ticket;
	if (try_answer(sub))
		return;
	/* Before a stream starts, which may fail at once. */
	if (amb_loop_timer_set(s->loop, &sub->limit, amb_util_now_ns() + AMB_SDS_WAIT_NS))
		conclude(sub, NULL, "out of memory");
	else if (!sub->call)
		start_stream(sub);
}

static void forget(void *ctx, struct amb_identity *id)
{
	struct amb_sds *s = ctx;
	struct sub **p = find(s, id), *sub = *p;

	if (!sub)
		return;
	*p = sub->next;
	id = sub->id;
	conclude(sub, NULL, "it is not wanted any more");
	sub_clear(sub);
	free(sub);
	amb_identity_put(id);
}

struct amb_certs_issuer amb_sds_interface(struct amb_sds *s)
{
	return (struct amb_certs_issuer){
		.ctx = s,
		.pushes = true,
		.forget = forget,
		.issue = issue,
	};
}

/* Life */

struct amb_sds *amb_sds_create(struct amb_loop *loop, const struct amb_sds_config *config)
{
	_cleanup_free_ char *url = NULL;
	struct amb_grpc_config grpc = { 0 };
	struct amb_sds *s;

	if (asprintf(&url, "%s%s", *config->socket == '/' ? "unix:" : "", config->socket) < 0)
		return NULL;
	if (!amb_grpc_url_path(url)) {
		errno = EINVAL;
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->loop = loop;
	grpc.url = url;
	s->channel = amb_x509_init() ? NULL : amb_grpc_create(loop, NULL, &grpc);
	s->node = strdup(config->node);
	s->cert_name = config->cert_name ? strdup(config->cert_name) : NULL;
	s->roots_name = strdup(config->roots_name ? config->roots_name : AMB_SDS_ROOTS);
	sub_init(&s->roots, s, NULL, s->roots_name);
	if (s->channel && s->node && s->roots_name && (!config->cert_name || s->cert_name))
		return s;
	amb_sds_destroy(s);
	errno = ENOMEM;
	return NULL;
}

int amb_sds_set_certs(struct amb_sds *s, struct amb_certs *certs)
{
	s->certs = certs;
	start_stream(&s->roots);
	return s->roots.call ? 0 : -ENOMEM;
}

static void stop_sub(struct sub *sub)
{
	conclude(sub, NULL, "the agent ends");
	sub_clear(sub);
}

void amb_sds_stop(struct amb_sds *s)
{
	if (!s)
		return;
	s->stopped = true;
	each(s, stop_sub);
	sub_clear(&s->roots);
}

static void destroy_sub(struct sub *sub)
{
	sub_clear(sub);
	amb_identity_put(sub->id);
	free(sub);
}

void amb_sds_destroy(struct amb_sds *s)
{
	if (!s)
		return;
	each(s, destroy_sub);
	sub_clear(&s->roots);
	amb_grpc_destroy(s->channel);
	free(s->node);
	free(s->cert_name);
	free(s->roots_name);
	free(s);
}
