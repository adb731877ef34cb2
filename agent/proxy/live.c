// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Live connections.
 *
 * States of an entry: SETUP (carried by a struct amb_setup, which closes it), then STREAM or
 * RELAY (carried by the engine, whose closed() closes it). An entry is on its pod's lives, or
 * on pending while the answer to an outbound CONNECT is awaited. It never outlives its pod:
 * amb_pod_destroy() ends setups first, then aborts what the engine carries, and each of those
 * calls back before it returns.
 */
#include "live.h"

#include "base/log.h"
#include "base/reason.h"
#include "base/util.h"
#include "h2.h"
#include "mesh/policy.h"
#include "note.h"
#include "pod.h"
#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct amb_live) <= 250, "idle connections are many: keep them small");

static struct amb_worker *worker_of(const struct amb_live *l)
{
	return l->pod->worker;
}

/* Names of policies */

void amb_live_policy_put(struct amb_live_policy *p)
{
	if (p && !--p->refs)
		free(p);
}

/* Neighbours are mostly allowed by the same policy, so the pod keeps the last name. */
static struct amb_live_policy *policy_get(struct amb_pod *pod, const char *name)
{
	struct amb_live_policy *p = pod->policy;
	size_t n;

	if (!name || !*name)
		return NULL;
	if (!p || strcmp(p->name, name)) {
		n = strlen(name) + 1;
		p = malloc(sizeof(*p) + n);
		if (!p)
			return NULL;
		p->refs = 1;
		memcpy(p->name, name, n);
		amb_live_policy_put(pod->policy);
		pod->policy = p;
	}
	p->refs++;
	return p;
}

/* Baggage is kept packed: its strings one after the other, a tenth of the struct's size */

#define FIELD(name)                                                                                \
	{                                                                                          \
		offsetof(struct amb_baggage, name), sizeof(((struct amb_baggage *)0)->name)        \
	}
static const struct {
	size_t at, size;
} baggage_fields[] = { FIELD(cluster), FIELD(ns),     FIELD(workload), FIELD(service),
		       FIELD(version), FIELD(region), FIELD(zone) };

static char *baggage_pack(const struct amb_baggage *b)
{
	char text[sizeof(*b)], *p = text, *copy;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(baggage_fields); i++)
		p = stpcpy(p, (const char *)b + baggage_fields[i].at) + 1;
	copy = malloc(p - text);
	return copy ? memcpy(copy, text, p - text) : NULL;
}

static void baggage_unpack(const char *packed, struct amb_baggage *b)
{
	size_t i, n;

	for (i = 0; i < AMB_ARRAY_SIZE(baggage_fields); i++) {
		n = strlen(packed) + 1;
		memcpy((char *)b + baggage_fields[i].at, packed, n);
		packed += n;
	}
}

/* Entries and flows */

/* @baggage: room for what the flow then points to. */
static void fill_flow(const struct amb_live *l, struct amb_flow *f, struct amb_baggage *baggage)
{
	memset(f, 0, sizeof(*f));
	f->direction = l->direction;
	f->way = l->way;
	f->protocol = l->protocol;
	f->src = l->src;
	f->dst = l->dst;
	f->actual = l->actual;
	f->authority = l->authority;
	f->src_workload = l->src_workload;
	/* Only the gateway was known; whoever is behind it told by the answer. */
	if (l->protocol != AMB_PROTO_DOUBLE_HBONE || !l->baggage)
		f->dst_workload = l->dst_workload;
	if (l->baggage) {
		baggage_unpack(l->baggage, baggage);
		*(l->direction == AMB_INBOUND ? &f->src_baggage : &f->dst_baggage) = baggage;
	}
	f->dst_service = l->service;
	f->src_identity = l->src_id;
	f->dst_identity = l->dst_id;
	f->mtls = l->mtls;
	f->start_ns = l->start_ns;
	f->policy = l->policy ? l->policy->name : NULL;
}

static void announce(struct amb_live *l, const struct amb_flow *f)
{
	struct amb_worker *w = worker_of(l);

	l->opened = true;
	amb_worker_count(&w->stats.opened[l->direction], 1);
	amb_worker_count(&w->stats.ways[l->way], 1);
	l->cookie = w->env->hooks.opened(w->env->hooks.ctx, w->index, f);
}

void amb_live_announce(struct amb_live *l, const struct amb_baggage *baggage)
{
	struct amb_baggage room;
	struct amb_flow f;

	if (l->opened)
		return;
	if (baggage && !l->baggage)
		l->baggage = baggage_pack(baggage);
	fill_flow(l, &f, &room);
	announce(l, &f);
}

static void free_entry(struct amb_live *l)
{
	amb_workload_put(l->src_workload);
	amb_workload_put(l->dst_workload);
	amb_service_put(l->service);
	amb_identity_put(l->src_id);
	amb_identity_put(l->dst_id);
	amb_live_policy_put(l->policy);
	free(l->authority);
	free(l->baggage);
	free(l);
}

/* Most tunnels ask for the address that they go to; then the text is not kept. */
static int keep_authority(struct amb_live *l, const char *authority)
{
	struct amb_authority a;

	if (!authority)
		return 0;
	if (!amb_authority_parse(authority, strlen(authority), &a) &&
	    a.kind == AMB_AUTHORITY_ADDR && amb_addr_eq(&a.addr.addr, &l->actual.addr)) {
		l->authority_port = a.addr.port;
		return 0;
	}
	l->authority = strdup(authority);
	return l->authority ? 0 : -ENOMEM;
}

static int keep_baggage(struct amb_live *l, const struct amb_baggage *baggage)
{
	if (!baggage || l->src_workload)
		return 0;
	l->baggage = baggage_pack(baggage);
	return l->baggage ? 0 : -ENOMEM;
}

struct amb_live *amb_live_open(struct amb_pod *pod, const struct amb_flow *f, uint64_t stamp,
			       bool quiet)
{
	struct amb_live *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->pod = pod;
	l->direction = f->direction;
	l->way = f->way;
	l->protocol = f->protocol;
	l->mtls = f->mtls;
	l->src = f->src;
	l->dst = f->dst;
	l->actual = f->actual;
	l->stamp = stamp;
	l->start_ns = f->start_ns;
	l->src_workload = amb_workload_get(f->src_workload);
	l->dst_workload = amb_workload_get(f->dst_workload);
	l->service = amb_service_get(f->dst_service);
	l->src_id = amb_identity_get((struct amb_identity *)f->src_identity);
	l->dst_id = amb_identity_get((struct amb_identity *)f->dst_identity);
	l->policy = policy_get(pod, f->policy);
	if (keep_authority(l, f->authority) || keep_baggage(l, f->src_baggage)) {
		free_entry(l);
		return NULL;
	}
	cds_list_add_tail(&l->node, &pod->lives);
	amb_worker_enter(pod->worker);
	if (!quiet)
		announce(l, f);
	return l;
}

void amb_live_stream(struct amb_live *l, struct amb_stream *s, bool pending)
{
	l->kind = AMB_LIVE_STREAM;
	l->stream = s;
	if (!pending)
		return;
	cds_list_del(&l->node);
	cds_list_add_tail(&l->node, &l->pod->pending);
	amb_worker_tick(worker_of(l));
}

void amb_live_relay(struct amb_live *l, struct amb_relay *r)
{
	l->kind = AMB_LIVE_RELAY;
	l->relay = r;
}

void amb_live_answered(struct amb_live *l)
{
	cds_list_del(&l->node);
	cds_list_add_tail(&l->node, &l->pod->lives);
}

static void read_bytes(const struct amb_live *l, uint64_t *to_dst, uint64_t *to_src)
{
	*to_dst = *to_src = 0;
	if (l->kind == AMB_LIVE_RELAY)
		amb_relay_bytes(l->relay, to_dst, to_src);
	else if (l->kind == AMB_LIVE_STREAM && l->direction == AMB_INBOUND)
		amb_stream_bytes(l->stream, to_dst, to_src);
	else if (l->kind == AMB_LIVE_STREAM)
		amb_stream_bytes(l->stream, to_src, to_dst);
}

/* @room: for what the flow then points to. */
static void fill_authority(const struct amb_live *l, struct amb_flow *f, char *room)
{
	const struct amb_endpoint e = { l->actual.addr, l->authority_port };

	if (l->authority_port)
		f->authority = amb_endpoint_format(&e, room);
}

void amb_live_close(struct amb_live *l, enum amb_flag flag, enum amb_reason reason,
		    const char *text)
{
	struct amb_worker *w = worker_of(l);
	char authority[AMB_ENDPOINT_STRLEN];
	struct amb_baggage baggage;
	struct amb_flow f;

	fill_flow(l, &f, &baggage);
	if (!l->opened)
		announce(l, &f);
	fill_authority(l, &f, authority);
	read_bytes(l, &f.bytes_to_dst, &f.bytes_to_src);
	f.end_ns = amb_util_now_ns();
	f.flag = flag;
	f.reason = reason;
	if (reason != AMB_REASON_NONE) {
		amb_worker_reason(w, reason);
		if (reason != AMB_REASON_RESET)
			f.error = text && *text ? text : amb_reason_text(reason);
	}
	amb_worker_count(&w->stats.closed[l->direction], 1);
	w->env->hooks.closed(w->env->hooks.ctx, w->index, l->cookie, &f);
	cds_list_del(&l->node);
	amb_worker_leave(w);
	amb_pod_uncharge(l->pod);
	if (l->direction == AMB_OUTBOUND || l->protocol == AMB_PROTO_TCP)
		amb_worker_count(&w->stats.open_sockets[l->direction], -1);
	free_entry(l);
}

void amb_live_failed(struct amb_pod *pod, const struct amb_flow *f, enum amb_reason reason,
		     const char *text)
{
	struct amb_worker *w = pod->worker;
	struct amb_flow copy = *f;

	copy.reason = reason;
	copy.error = text ? text : amb_reason_text(reason);
	copy.end_ns = amb_util_now_ns();
	amb_worker_reason(w, reason);
	w->env->hooks.failed(w->env->hooks.ctx, w->index, &copy);
}

enum amb_flag amb_live_flag(enum amb_reason reason)
{
	switch (reason) {
	case AMB_REASON_POLICY_DENY:
	case AMB_REASON_POLICY_NOT_ALLOWED:
	case AMB_REASON_POLICY_CHANGE:
		return AMB_FLAG_DENY;
	case AMB_REASON_CONNECT:
	case AMB_REASON_CONNECT_STATUS:
	case AMB_REASON_TIMEOUT:
		return AMB_FLAG_CONNECT;
	case AMB_REASON_TLS:
	case AMB_REASON_CERT_EXPIRED:
		return AMB_FLAG_TLS_FAILURE;
	case AMB_REASON_H2:
		return AMB_FLAG_H2_HANDSHAKE_FAILURE;
	case AMB_REASON_NO_CERT:
	case AMB_REASON_PEER_IDENTITY:
		return AMB_FLAG_IDENTITY_ERROR;
	case AMB_REASON_CERT_REVOKED:
		return AMB_FLAG_CERT_REVOKED;
	default:
		return AMB_FLAG_NONE;
	}
}

/* The same at the end of one that was set up. */
static enum amb_flag flag_at_end(enum amb_reason reason)
{
	if (reason == AMB_REASON_POLICY_CHANGE || reason == AMB_REASON_CERT_REVOKED)
		return amb_live_flag(reason);
	return AMB_FLAG_NONE;
}

/* Callbacks of the engine */

static void stream_response(struct amb_stream *s, void *owner, int status,
			    const struct amb_baggage *baggage)
{
	struct amb_live *l = owner;

	(void)s;
	if (status != 200) {
		l->status = status;
		return;
	}
	amb_live_answered(l);
	amb_live_announce(l, baggage);
}

static void stream_closed(struct amb_stream *s, void *owner, enum amb_reason reason,
			  const char *text)
{
	struct amb_live *l = owner;
	char status[32];

	(void)s;
	if (l->status) {
		snprintf(status, sizeof(status), "http status: %u", l->status);
		amb_live_close(l, AMB_FLAG_CONNECT, AMB_REASON_CONNECT_STATUS, status);
		return;
	}
	amb_live_close(l, flag_at_end(reason), reason, text);
}

static size_t stream_note(struct amb_stream *s, void *owner, char *to, size_t room)
{
	char authority[AMB_ENDPOINT_STRLEN];
	const struct amb_live *l = owner;
	struct amb_baggage baggage;
	struct amb_flow f;

	fill_flow(l, &f, &baggage);
	fill_authority(l, &f, authority);
	return amb_note_write(l->pod->info->uid, &f, amb_hbone_peer(amb_stream_conn(s))->suite, to,
			      room);
}

const struct amb_stream_ops amb_live_stream_ops = {
	.response = stream_response,
	.closed = stream_closed,
	.note = stream_note,
};

static void relay_closed(struct amb_relay *r, void *owner, enum amb_reason reason, const char *text)
{
	struct amb_live *l = owner;

	(void)r;
	amb_live_close(l, flag_at_end(reason), reason, text);
}

const struct amb_relay_ops amb_live_relay_ops = { relay_closed };

/* Ends */

/* What is cut off must not look whole. */
static void abort_one(struct amb_live *l, enum amb_reason reason)
{
	if (l->kind == AMB_LIVE_RELAY)
		amb_relay_abort(l->relay, reason);
	else
		amb_stream_abort(l->stream, AMB_H2_CONNECT_ERROR, reason);
}

/* From the head each time: ending one may end others (a connection that breaks on the way). */
static void abort_list(struct cds_list_head *list, enum amb_reason reason)
{
	while (!cds_list_empty(list))
		abort_one(cds_list_first_entry(list, struct amb_live, node), reason);
}

void amb_live_abort_all(struct amb_pod *pod, enum amb_reason reason)
{
	abort_list(&pod->pending, reason);
	abort_list(&pod->lives, reason);
}

bool amb_live_expire(struct amb_pod *pod, uint64_t before)
{
	while (!cds_list_empty(&pod->pending)) {
		struct amb_live *l = cds_list_first_entry(&pod->pending, struct amb_live, node);

		if (l->start_ns > before)
			return true;
		abort_one(l, AMB_REASON_TIMEOUT);
	}
	return false;
}

/* Policies */

static bool denied_now(struct amb_live *l, const struct amb_workload *local)
{
	struct amb_policy_conn conn = { .src = l->src, .dst = l->actual };
	struct amb_verdict verdict;

	conn.peer = l->mtls ? l->src_id : NULL;
	amb_pod_judge(l->pod, local, &conn, &verdict, &l->stamp);
	if (!verdict.allow)
		return true;
	/* It may be another policy that allows it now. */
	amb_live_policy_put(l->policy);
	l->policy = policy_get(l->pod, verdict.policy);
	return false;
}

/*
 * By the workload as it is now, not as it was at accept: its list of policies may be what
 * changed. Entries in setup compare state versions themselves when they are done.
 */
void amb_live_rejudge(struct amb_pod *pod)
{
	const struct amb_state *st = pod->worker->env->st;
	const struct amb_workload *local = amb_pod_workload(pod);
	struct amb_live *l, *next;
	CDS_LIST_HEAD(doomed);
	uint64_t stamp;

	if (!local)
		return;
	amb_state_read_begin(st);
	stamp = amb_policy_stamp(st, local);
	amb_state_read_end(st);
	cds_list_for_each_entry_safe(l, next, &pod->lives, node) {
		if (l->direction != AMB_INBOUND || l->kind == AMB_LIVE_SETUP || l->stamp == stamp)
			continue;
		if (denied_now(l, local))
			cds_list_move(&l->node, &doomed);
	}
	abort_list(&doomed, AMB_REASON_POLICY_CHANGE);
}

/* Snapshots */

static struct amb_live_row *rows_add(struct amb_live_rows *rows)
{
	if (rows->n == rows->cap) {
		uint32_t cap = rows->cap ? rows->cap * 2 : 64;
		struct amb_live_row *row = realloc(rows->row, cap * sizeof(*row));

		if (!row)
			return NULL;
		rows->row = row;
		rows->cap = cap;
	}
	return &rows->row[rows->n++];
}

static void read_records(const struct amb_live *l, struct amb_live_row *r)
{
	struct amb_hbone *c = l->kind == AMB_LIVE_STREAM ? amb_stream_conn(l->stream) : NULL;

	r->suite = c ? amb_hbone_peer(c)->suite : 0;
	if (c)
		r->records = amb_hbone_records(c);
}

static int snapshot_list(struct cds_list_head *list, struct amb_live_rows *rows)
{
	struct amb_live *l;

	cds_list_for_each_entry(l, list, node) {
		struct amb_live_row *r = rows_add(rows);

		if (!r)
			return -ENOMEM;
		r->l = *l;
		r->info = amb_pod_info_get(l->pod->info);
		r->policy = l->policy ? strdup(l->policy->name) : NULL;
		amb_workload_get(l->src_workload);
		amb_workload_get(l->dst_workload);
		amb_service_get(l->service);
		amb_identity_get(l->src_id);
		amb_identity_get(l->dst_id);
		read_bytes(l, &r->bytes_to_dst, &r->bytes_to_src);
		read_records(l, r);
	}
	return 0;
}

int amb_live_snapshot(struct amb_pod *pod, struct amb_live_rows *rows)
{
	return snapshot_list(&pod->lives, rows) ?: snapshot_list(&pod->pending, rows);
}

void amb_live_tell_bytes(struct amb_pod *pod)
{
	const struct amb_flow_hooks *hooks = &pod->worker->env->hooks;
	struct amb_live *l;

	cds_list_for_each_entry(l, &pod->lives, node) {
		uint64_t to_dst, to_src;

		if (!l->opened)
			continue;
		read_bytes(l, &to_dst, &to_src);
		hooks->bytes(hooks->ctx, pod->worker->index, l->cookie, to_dst, to_src);
	}
}

void amb_live_rows_clear(struct amb_live_rows *rows)
{
	uint32_t i;

	for (i = 0; i < rows->n; i++) {
		struct amb_live_row *r = &rows->row[i];

		amb_workload_put(r->l.src_workload);
		amb_workload_put(r->l.dst_workload);
		amb_service_put(r->l.service);
		amb_identity_put(r->l.src_id);
		amb_identity_put(r->l.dst_id);
		amb_pod_info_put(r->info);
		free(r->policy);
	}
	free(rows->row);
	memset(rows, 0, sizeof(*rows));
}

#define NAME_MAX_TEXT 512 /* 63 + 1 + 253 by Kubernetes' rules; longer is cut */

static const char *name_of(const char *ns, const char *name, char *buf)
{
	snprintf(buf, NAME_MAX_TEXT, "%s/%s", ns, name);
	return buf;
}

static void tell(const struct amb_live_row *r, uint64_t now,
		 void (*fn)(void *ctx, const struct amb_proxy_conn *c), void *ctx)
{
	const struct amb_live *l = &r->l;
	char src[NAME_MAX_TEXT], dst[NAME_MAX_TEXT];
	struct amb_proxy_conn c = {
		.pod_uid = r->info->uid,
		.direction = l->direction,
		.way = l->way,
		.protocol = l->protocol,
		.src = l->src,
		.original_dst = l->dst,
		.actual_dst = l->actual,
		.src_identity = l->src_id ? l->src_id->spiffe : "",
		.dst_identity = l->dst_id ? l->dst_id->spiffe : "",
		.src_name = "",
		.dst_name = "",
		.policy = r->policy ? r->policy : "",
		.bytes_to_dst = r->bytes_to_dst,
		.bytes_to_src = r->bytes_to_src,
		.age_ns = now - l->start_ns,
		.tier = r->suite ? amb_tier_name(r->records.tier) : "",
		.cipher = r->suite ? amb_record_cipher(r->suite) : "",
	};

	if (r->suite) {
		c.records_sent = r->records.sent;
		c.records_received = r->records.received;
	}

	if (l->src_workload)
		c.src_name = name_of(l->src_workload->ns, l->src_workload->name, src);
	if (l->service)
		c.dst_name = name_of(l->service->ns, l->service->hostname, dst);
	else if (l->dst_workload)
		c.dst_name = name_of(l->dst_workload->ns, l->dst_workload->name, dst);
	fn(ctx, &c);
}

void amb_live_rows_each(const struct amb_live_rows *rows, uint64_t now,
			void (*fn)(void *ctx, const struct amb_proxy_conn *c), void *ctx)
{
	uint32_t i;

	for (i = 0; i < rows->n; i++)
		tell(&rows->row[i], now, fn, ctx);
}
