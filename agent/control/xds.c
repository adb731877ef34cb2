// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Delta ADS client. One stream at a time: idle (a timer runs to the next attempt) or open (a call
 * exists). What the stream brings goes to the intake; each whole answer is acknowledged, or
 * refused with the reasons, when it is in the state.
 */
#include "xds.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "mesh/state.h"
#include "node.h"
#include "xds_request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define METHOD "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
#define WILDCARD "*"
#define NAME_OVERHEAD 8 /* of a name on the wire: its tag and length */

struct wanted {
	bool answered;
	uint32_t next_free; /* number of the next free one, 0: none */
	struct amb_xds_waiter *waiters;
};

struct amb_xds {
	struct amb_loop *loop;
	struct amb_xds_config config;
	struct amb_intake *intake;
	struct amb_grpc_call *call;
	struct amb_timer retry;
	uint64_t backoff;
	bool brought; /* this stream has */
	bool acked[AMB_XDS_TYPES], synced;
	uint64_t since, terminations[AMB_XDS_ENDS], acks, nacks;
	struct {
		uint64_t messages, bytes;
	} type[AMB_XDS_TYPES + 1];
	char error[sizeof(((struct amb_grpc_status *)0)->message) + 32];
	char last_nack[512];
	/* on demand: the names asked for, and who waits for which */
	struct amb_held names;
	struct wanted *wanted; /* by the stamp of its name's entry, less one */
	uint32_t nwanted, capwanted, free;
};

/* Ends of streams */

const char *amb_xds_end_text(enum amb_xds_end end)
{
	static const char *const texts[] = {
		[AMB_XDS_END_CONNECTION] = "ConnectionError",
		[AMB_XDS_END_ERROR] = "Error",
		[AMB_XDS_END_RECONNECT] = "Reconnect",
		[AMB_XDS_END_COMPLETE] = "Complete",
	};

	return texts[end];
}

enum amb_xds_end amb_xds_end_of(const struct amb_grpc_status *status)
{
	if (status->unconnected)
		return AMB_XDS_END_CONNECTION;
	switch (status->code) {
	case AMB_GRPC_OK:
		return AMB_XDS_END_COMPLETE;
	case AMB_GRPC_UNKNOWN:
	case AMB_GRPC_CANCELLED:
	case AMB_GRPC_DEADLINE_EXCEEDED:
		return AMB_XDS_END_RECONNECT;
	case AMB_GRPC_UNAVAILABLE:
		return strstr(status->message, "transport is closing") ||
				       strstr(status->message, "received prior goaway") ?
			       AMB_XDS_END_RECONNECT :
			       AMB_XDS_END_ERROR;
	default:
		return AMB_XDS_END_ERROR;
	}
}

uint64_t amb_xds_backoff(uint64_t *next, enum amb_xds_end end, bool brought)
{
	uint64_t now = *next ?: AMB_XDS_BACKOFF_NS;

	if (brought && (end == AMB_XDS_END_RECONNECT || end == AMB_XDS_END_COMPLETE))
		now = AMB_XDS_BACKOFF_NS;
	*next = AMB_MIN(now * 2, (uint64_t)AMB_XDS_BACKOFF_MAX_NS);
	return now;
}

static void retry_later(struct amb_xds *x, enum amb_xds_end end)
{
	uint64_t delay = amb_xds_backoff(&x->backoff, end, x->brought);

	x->terminations[end]++;
	x->since = amb_util_now_ns();
	if (end == AMB_XDS_END_CONNECTION || end == AMB_XDS_END_ERROR)
		amb_warn(XDS, "%s: %s; trying again in %.2f s, continuing with what is known",
			 amb_grpc_target(x->config.channel), x->error, delay / 1e9);
	else
		amb_info(XDS, "%s: stream ended (%s), opening another",
			 amb_grpc_target(x->config.channel), x->error);
	if (amb_loop_timer_set(x->loop, &x->retry, x->since + delay))
		amb_err(XDS, "out of memory: nothing more will be heard of the control plane");
}

/* Ends the stream from our side: it cannot be gone on with. */
static void give_up(struct amb_xds *x, const char *why)
{
	snprintf(x->error, sizeof(x->error), "%s", why);
	amb_intake_drop(x->intake);
	if (x->call)
		amb_grpc_cancel(x->call);
	x->call = NULL;
	amb_grpc_renew(x->config.channel);
	retry_later(x, AMB_XDS_END_ERROR);
}

static void done(void *ctx, const struct amb_grpc_status *status)
{
	struct amb_xds *x = ctx;

	x->call = NULL;
	amb_intake_drop(x->intake);
	/* Roots are read and names resolved anew. */
	amb_grpc_renew(x->config.channel);
	snprintf(x->error, sizeof(x->error), "%s%s%s", amb_grpc_code_text(status->code),
		 *status->message ? ": " : "", status->message);
	retry_later(x, amb_xds_end_of(status));
}

/* Answers */

static void acknowledge(struct amb_xds *x, const struct amb_intake_result *r)
{
	const struct amb_xds_request request = { .type_url = r->type_url,
						 .nonce = r->nonce,
						 .error = r->nack };
	int i;

	if (amb_xds_request_send(x->call, &request)) {
		give_up(x, "out of memory");
		return;
	}
	if (r->nack) {
		x->nacks++;
		snprintf(x->last_nack, sizeof(x->last_nack), "%s", r->nack);
		amb_warn(XDS, "refused %zu of %zu resources of %s: %s", r->refused, r->resources,
			 r->type_url, r->nack);
		return;
	}
	x->acks++;
	if (x->synced || r->type == AMB_XDS_OTHER)
		return;
	x->acked[r->type] = true;
	for (i = 0; i < AMB_XDS_TYPES; i++) {
		if (!x->acked[i] && !(x->config.on_demand && i == AMB_XDS_ADDRESS))
			return;
	}
	x->synced = true;
	if (x->config.synced)
		x->config.synced(x->config.ctx);
}

static int answered(struct amb_xds *x, uint32_t len)
{
	struct amb_intake_result r;
	int err = amb_intake_end(x->intake, &r);

	if (err)
		return err;
	x->type[r.type].messages++;
	x->type[r.type].bytes += len;
	amb_debug(XDS, "%s: %zu resources, %zu removed, %u bytes, nonce %s", r.type_url,
		  r.resources, r.removed, len, r.nonce);
	acknowledge(x, &r);
	return 0;
}

static int message(void *ctx, const struct amb_grpc_piece *piece)
{
	struct amb_xds *x = ctx;
	int err;

	if (!x->brought)
		amb_info(XDS, "%s: connected", amb_grpc_target(x->config.channel));
	x->brought = true;
	if (piece->first)
		amb_intake_begin(x->intake, piece->len);
	err = amb_intake_feed(x->intake, piece->p, piece->n);
	if (!err && piece->last)
		err = answered(x, piece->len);
	return err;
}

static const struct amb_grpc_handler handler = { .message = message, .done = done };

/* Streams */

/* The names asked for so far; to be freed, NULL: out of memory. */
static const char **wanted_names(const struct amb_xds *x)
{
	const char **names = calloc(x->names.n + 1, sizeof(*names));
	struct amb_held_entry *e;
	size_t at = 0, n = 0;

	while (names && (e = amb_held_next(&x->names, &at)))
		names[n++] = e->name;
	return names;
}

/* How many of @names go into one request: peers of the mesh can make us ask for many. */
static size_t fitting(const char *const *names, size_t n)
{
	size_t bytes = 0, i;

	for (i = 0; i < n; i++) {
		bytes += strlen(names[i]) + NAME_OVERHEAD;
		if (i && bytes > AMB_XDS_NAMES_MAX)
			break;
	}
	return i;
}

/* Names beside those of a first request, as many requests as it takes. 0 or -errno. */
static int send_names(const struct amb_xds *x, const char *const *names, size_t n, bool subscribe)
{
	struct amb_xds_request r = { .type_url = amb_xds_type_url(AMB_XDS_ADDRESS) };
	size_t some;
	int err = 0;

	for (; n && !err; names += some, n -= some) {
		some = fitting(names, n);
		if (subscribe) {
			r.subscribe = names;
			r.nsubscribe = some;
		} else {
			r.unsubscribe = names;
			r.nunsubscribe = some;
		}
		err = amb_xds_request_send(x->call, &r);
	}
	return err;
}

static int first_request(struct amb_xds *x, enum amb_xds_type type)
{
	static const char *const wildcard[] = { WILDCARD };
	_cleanup_free_ const char **names = NULL;
	struct amb_xds_request r = {
		.type_url = amb_xds_type_url(type),
		.node = amb_node_message(x->config.node),
		.held = amb_intake_held(x->intake, type),
		.held_max = AMB_XDS_INITIAL_MAX,
	};
	size_t n = 0;
	int err;

	if (x->config.on_demand && type == AMB_XDS_ADDRESS) {
		names = wanted_names(x);
		if (!names)
			return -ENOMEM;
		n = fitting(names, x->names.n);
		r.subscribe = names;
		r.nsubscribe = n;
		/* There is no word for "nothing": everything, and no more of it. */
		if (!x->names.n) {
			r.subscribe = r.unsubscribe = wildcard;
			r.nsubscribe = r.nunsubscribe = 1;
		}
	}
	err = amb_xds_request_send(x->call, &r);
	return err || !names ? err : send_names(x, names + n, x->names.n - n, true);
}

static void connect_now(struct amb_timer *t)
{
	struct amb_xds *x = AMB_CONTAINER_OF(t, struct amb_xds, retry);
	int err = 0, i;

	x->brought = false;
	x->since = amb_util_now_ns();
	x->call = amb_grpc_open(x->config.channel, METHOD, AMB_XDS_MESSAGE_MAX, &handler, x);
	if (x->call)
		amb_intake_stream(x->intake, !x->config.on_demand);
	for (i = 0; x->call && i < AMB_XDS_TYPES && !err; i++)
		err = first_request(x, i);
	if (err || !x->call)
		give_up(x, "out of memory");
}

/* On demand */

static void name_answered(void *ctx, const char *name)
{
	struct amb_xds *x = ctx;
	struct amb_held_entry *e = amb_held_find(&x->names, name);
	struct amb_xds_waiter *w;

	if (!e)
		return;
	x->wanted[e->stamp - 1].answered = true;
	while ((w = x->wanted[e->stamp - 1].waiters)) {
		amb_xds_unwait(w);
		w->fn(w);
	}
}

static void unwait_all(struct amb_xds *x)
{
	uint32_t i;

	for (i = 0; i < x->nwanted; i++) {
		while (x->wanted[i].waiters)
			amb_xds_unwait(x->wanted[i].waiters);
	}
}

/* True when the state has something by that name. */
static bool stands(const struct amb_xds *x, const char *name)
{
	const struct amb_state *st = x->config.state;
	const char *slash = strchr(name, '/');
	struct amb_addr addr;
	char network[256];
	bool yes;

	if (amb_held_find(amb_intake_held(x->intake, AMB_XDS_ADDRESS), name))
		return true;
	if (!slash || amb_addr_parse(slash + 1, &addr))
		return false;
	snprintf(network, sizeof(network), "%.*s", (int)(slash - name), name);
	amb_state_read_begin(st);
	yes = amb_state_workload_by_addr(st, network, &addr) ||
	      amb_state_service_by_vip(st, network, &addr, NULL);
	amb_state_read_end(st);
	return yes;
}

/*
 * Names that were answered and stand for nothing: of addresses outside of the mesh, and of what
 * is gone. When they are needed again they are asked for again.
 */
static void forget_some(struct amb_xds *x)
{
	_cleanup_free_ struct amb_held_entry **gone = calloc(x->names.n + 1, sizeof(*gone));
	_cleanup_free_ const char **names = calloc(x->names.n + 1, sizeof(*names));
	struct amb_held_entry *e;
	size_t at = 0, n = 0, i;

	while (gone && names && (e = amb_held_next(&x->names, &at))) {
		const struct wanted *want = &x->wanted[e->stamp - 1];

		if (!want->answered || want->waiters || stands(x, e->name))
			continue;
		gone[n] = e;
		names[n++] = e->name;
	}
	if (x->call && send_names(x, names, n, false))
		give_up(x, "out of memory");
	for (i = 0; i < n; i++) {
		uint32_t number = gone[i]->stamp;

		x->wanted[number - 1] = (struct wanted){ .next_free = x->free };
		x->free = number;
		amb_held_del(&x->names, gone[i]);
	}
}

/* Room for one more: its number, or 0 and errno. */
static uint32_t want_number(struct amb_xds *x)
{
	uint32_t number;

	if (!x->free && x->nwanted == x->config.wanted_max)
		forget_some(x);
	number = x->free;
	if (number) {
		x->free = x->wanted[number - 1].next_free;
		return number;
	}
	if (x->nwanted == x->config.wanted_max) {
		errno = ENOSPC;
		return 0;
	}
	if (x->nwanted == x->capwanted) {
		uint32_t cap = x->capwanted ? x->capwanted * 2 : 64, i;
		struct wanted *v = calloc(cap, sizeof(*v));

		if (!v)
			return 0;
		for (i = 0; i < x->nwanted; i++) {
			v[i] = x->wanted[i];
			if (v[i].waiters)
				v[i].waiters->prev = &v[i].waiters;
		}
		free(x->wanted);
		x->wanted = v;
		x->capwanted = cap;
	}
	return ++x->nwanted;
}

static struct wanted *want_new(struct amb_xds *x, const char *name)
{
	struct amb_xds_request r = {
		.type_url = amb_xds_type_url(AMB_XDS_ADDRESS),
		.subscribe = &name,
		.nsubscribe = 1,
	};
	uint32_t number = want_number(x);
	struct wanted *want;

	if (!number)
		return NULL;
	want = &x->wanted[number - 1];
	*want = (struct wanted){ 0 };
	if (!amb_held_put(&x->names, name, "", number)) {
		want->next_free = x->free;
		x->free = number;
		errno = ENOMEM;
		return NULL;
	}
	/* Without a stream, or with one that fails: the next one begins with all names. */
	if (x->call && amb_xds_request_send(x->call, &r))
		give_up(x, "out of memory");
	return want;
}

/*
 * "Nothing" at an address does not stay true: what comes there is pushed by a name of its own, a
 * uid, which nobody has asked for. Two requests, since in one the subscription would change
 * nothing, and is not answered then.
 */
static void ask_again(struct amb_xds *x, struct wanted *want, const char *name)
{
	want->answered = false;
	if (send_names(x, &name, 1, false) || send_names(x, &name, 1, true))
		give_up(x, "out of memory");
}

int amb_xds_want(struct amb_xds *x, const char *name, struct amb_xds_waiter *w)
{
	struct amb_held_entry *e;
	struct wanted *want;

	if (!x->config.on_demand)
		return -ENOTSUP;
	e = amb_held_find(&x->names, name);
	want = e ? &x->wanted[e->stamp - 1] : want_new(x, name);
	if (!want)
		return errno == ENOSPC ? -ENOSPC : -ENOMEM;
	if (want->answered && (!x->call || stands(x, name)))
		return -EALREADY;
	if (want->answered)
		ask_again(x, want, name);
	w->prev = &want->waiters;
	w->next = want->waiters;
	if (w->next)
		w->next->prev = &w->next;
	want->waiters = w;
	return 0;
}

void amb_xds_unwait(struct amb_xds_waiter *w)
{
	if (!w->prev)
		return;
	*w->prev = w->next;
	if (w->next)
		w->next->prev = w->prev;
	w->prev = NULL;
}

/* Life */

struct amb_xds *amb_xds_create(struct amb_loop *loop, const struct amb_xds_config *config)
{
	struct amb_xds *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->loop = loop;
	x->config = *config;
	x->config.wanted_max = config->wanted_max ?: AMB_XDS_WANTED_MAX;
	x->retry.fn = connect_now;
	x->since = amb_util_now_ns();
	x->intake = amb_intake_create(config->state);
	if (!x->intake || amb_loop_timer_set(loop, &x->retry, 0)) {
		amb_xds_destroy(x);
		return NULL;
	}
	if (config->on_demand)
		amb_intake_on_name(x->intake, name_answered, x);
	return x;
}

void amb_xds_destroy(struct amb_xds *x)
{
	if (!x)
		return;
	amb_loop_timer_cancel(x->loop, &x->retry);
	if (x->call)
		amb_grpc_cancel(x->call);
	amb_intake_destroy(x->intake);
	amb_held_clear(&x->names);
	unwait_all(x);
	free(x->wanted);
	free(x);
}

void amb_xds_stats(const struct amb_xds *x, struct amb_xds_stats *out)
{
	int i;

	*out = (struct amb_xds_stats){
		.connected = x->call && x->brought,
		.synced = x->synced,
		.since = x->since,
		.acks = x->acks,
		.nacks = x->nacks,
		.server = amb_grpc_target(x->config.channel),
		.error = x->error,
		.last_nack = x->last_nack,
	};
	memcpy(out->terminations, x->terminations, sizeof(out->terminations));
	for (i = 0; i <= AMB_XDS_TYPES; i++) {
		out->type[i].messages = x->type[i].messages;
		out->type[i].bytes = x->type[i].bytes;
		if (i < AMB_XDS_TYPES)
			out->type[i].held = amb_intake_held(x->intake, i)->n;
	}
}
