// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Connections that the kernel carries by itself.
 *
 * One connection has one row in amb_conn and one entry here, though it may have two reports: a
 * direct one is outbound for one captured pod and inbound for the other, and both are told as
 * they would be told of a tunnel within the node.
 *
 * Lifetime: an entry is made by OPEN, or from the map at the start, and goes with CLOSE. If the
 * ring was full meanwhile events are missing: then the entries are compared with the map.
 */
#include "flows.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/reason.h"
#include "base/util.h"
#include "kernel/events.h"
#include "kernel/rows.h"
#include "kernel/sockdiag.h"
#include "mesh/decide.h"
#include "mesh/policy.h"
#include "publish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_NS (50 * 1000000ull) /* between two looks at the ring while events come */
#define CALM_NS (500 * 1000000ull) /* and while none come */
#define DENIALS 64 /* told one by one between two looks; all are counted in the kernel */
#define BUCKETS_MIN 64

enum report { SOURCE, DESTINATION, REPORTS };

struct conn {
	struct conn *next;
	uint64_t cookie;
	struct amb_conn_row row;
	struct amb_workload *src, *dst; /* references, NULL when unknown */
	struct amb_service *service[REPORTS];
	void *hook[REPORTS];
	bool told[REPORTS];
	uint64_t stamp; /* of the policies that allowed it, while it is */
	bool allowed;
	bool cut; /* by a policy */
	bool told_stuck; /* that it is to be cut, and cannot be */
	bool seen; /* in this comparison */
};

struct amb_flows {
	struct amb_loop *loop;
	struct amb_flows_config config;
	struct amb_events *events;
	struct amb_timer timer;
	struct conn **buckets;
	size_t nbuckets, n;
	unsigned int denials;
	bool deaf; /* events are not for us yet */
	bool missed; /* connections, for want of memory: nobody judges them */
	bool stuck; /* some are to be cut, and could not be */
	uint64_t lost; /* events that the kernel had no room for, when last looked at */
	uint64_t opened[2], closed[2];
};

/* The table */

static struct conn **slot(const struct amb_flows *f, uint64_t cookie)
{
	struct conn **at = &f->buckets[cookie & (f->nbuckets - 1)];

	while (*at && (*at)->cookie != cookie)
		at = &(*at)->next;
	return at;
}

static void resize(struct amb_flows *f, size_t nbuckets)
{
	struct conn **buckets = calloc(nbuckets, sizeof(*buckets));
	size_t i;

	/* Longer chains then. */
	if (!buckets)
		return;
	for (i = 0; i < f->nbuckets; i++) {
		while (f->buckets[i]) {
			struct conn *c = f->buckets[i];

			f->buckets[i] = c->next;
			c->next = buckets[c->cookie & (nbuckets - 1)];
			buckets[c->cookie & (nbuckets - 1)] = c;
		}
	}
	free(f->buckets);
	f->buckets = buckets;
	f->nbuckets = nbuckets;
}

static void conn_uninit(struct conn *c)
{
	amb_workload_put(c->src);
	amb_workload_put(c->dst);
	amb_service_put(c->service[SOURCE]);
	amb_service_put(c->service[DESTINATION]);
}

static void conn_free(struct conn *c)
{
	conn_uninit(c);
	free(c);
}

static void drop(struct amb_flows *f, struct conn **at)
{
	struct conn *c = *at;

	*at = c->next;
	conn_free(c);
	f->n--;
	if (f->nbuckets > BUCKETS_MIN && f->n < f->nbuckets / 8)
		resize(f, f->nbuckets / 2);
}

/* What is known of it */

static struct amb_endpoint endpoint(const struct amb_in6 *a, uint16_t port)
{
	return (struct amb_endpoint){ amb_rows_addr_of(a), port };
}

static struct amb_workload *workload_at(const struct amb_flows *f, const struct amb_in6 *a)
{
	const struct amb_state *st = f->config.state;
	struct amb_addr addr = amb_rows_addr_of(a);

	return amb_workload_get(amb_state_workload_by_addr(st, amb_state_network(st), &addr));
}

/* The service that was asked for by its address. */
static struct amb_service *service_asked(const struct amb_flows *f, const struct conn *c)
{
	const struct amb_state *st = f->config.state;
	struct amb_addr addr = amb_rows_addr_of(&c->row.asked);

	return amb_service_get(amb_state_service_by_vip(st, amb_state_network(st), &addr,
							c->src ? c->src->ns : NULL));
}

/* The service that a destination guesses from the port (reference 7.2). */
static struct amb_service *service_guessed(const struct amb_flows *f, const struct conn *c)
{
	const struct amb_endpoint dst = endpoint(&c->row.dst, c->row.dst_port);
	struct amb_authority authority = { .kind = AMB_AUTHORITY_ADDR, .addr = dst };
	struct amb_service *s;
	struct amb_inbound in;

	amb_decide_inbound(f->config.state, c->dst, &dst, &authority, NULL, &in);
	s = amb_service_get(in.service);
	amb_inbound_release(&in);
	return s;
}

static bool reports(const struct amb_conn_row *row, enum report r)
{
	bool direct = row->way == AMB_WAY_DIRECT || row->way == AMB_WAY_SPLICE || row->peer;

	return direct || (r == DESTINATION) == row->inbound;
}

/*
 * The namespace of the socket that connected says whose it is, not the address: one that is
 * another pod's can be bound, and though no packet leaves from there, the failure is told of.
 */
static struct amb_workload *source_of(const struct amb_flows *f, const struct conn *c)
{
	struct amb_workload *w = NULL;

	if (!c->row.inbound)
		w = amb_publish_workload(f->config.publish, c->row.netns);
	return w ?: workload_at(f, &c->row.src);
}

static void look_up(struct amb_flows *f, struct conn *c)
{
	amb_state_read_begin(f->config.state);
	c->src = source_of(f, c);
	c->dst = workload_at(f, &c->row.dst);
	if (reports(&c->row, SOURCE))
		c->service[SOURCE] = service_asked(f, c);
	amb_state_read_end(f->config.state);
	if (reports(&c->row, DESTINATION) && c->dst)
		c->service[DESTINATION] = service_guessed(f, c);
}

static const struct amb_identity *identity_of(const struct amb_workload *w, uint32_t number)
{
	return w && number ? w->identity : NULL;
}

static void fill_flow(const struct conn *c, enum report r, struct amb_flow *f)
{
	memset(f, 0, sizeof(*f));
	f->direction = r == SOURCE ? AMB_OUTBOUND : AMB_INBOUND;
	/* A refused one is told as of the way that it would have gone. */
	f->way = c->row.way == AMB_WAY_DENY && c->row.peer ? AMB_WAY_DIRECT : c->row.way;
	f->protocol = AMB_PROTO_TCP;
	f->src = endpoint(&c->row.src, c->row.src_port);
	f->actual = endpoint(&c->row.dst, c->row.dst_port);
	f->dst = r == SOURCE ? endpoint(&c->row.asked, c->row.asked_port) : f->actual;
	f->src_workload = c->src;
	f->dst_workload = c->dst;
	f->dst_service = c->service[r];
	/* Proven by the namespaces of the sockets, or not at all. */
	if (c->row.peer) {
		f->src_identity = identity_of(c->src, c->row.src_identity);
		f->dst_identity = identity_of(c->dst, c->row.dst_identity);
	}
	f->start_ns = c->row.start_ns;
}

/* Policy */

/* By the policies of its destination @w. Within a read section. */
static void check(const struct amb_flows *f, const struct conn *c, const struct amb_workload *w,
		  struct amb_verdict *v)
{
	struct amb_policy_conn conn = {
		.peer = c->row.peer ? identity_of(c->src, c->row.src_identity) : NULL,
		.src = endpoint(&c->row.src, c->row.src_port),
		.dst = endpoint(&c->row.dst, c->row.dst_port),
	};

	amb_policy_check(f->config.state, w, &conn, v, NULL, NULL);
}

/* One that was allowed still is while the stamp is the same. */
static bool is_denied(const struct amb_flows *f, struct conn *c)
{
	struct amb_workload *w = amb_publish_workload(f->config.publish, c->row.netns);
	struct amb_verdict v;
	uint64_t stamp;

	if (!w)
		return false;
	amb_state_read_begin(f->config.state);
	stamp = amb_policy_stamp(f->config.state, w);
	if (!c->allowed || c->stamp != stamp) {
		check(f, c, w, &v);
		c->allowed = v.allow;
		c->stamp = stamp;
	}
	amb_state_read_end(f->config.state);
	amb_workload_put(w);
	return !c->allowed;
}

static void judge_now(struct amb_flows *f, struct conn *c)
{
	struct amb_sockdiag_id id = {
		.local = endpoint(&c->row.dst, c->row.dst_port),
		.remote = endpoint(&c->row.src, c->row.src_port),
		.cookie = c->cookie,
	};
	char src[AMB_ENDPOINT_STRLEN], dst[AMB_ENDPOINT_STRLEN];
	struct amb_netns *ns;
	int err;

	if (!c->row.inbound || c->cut || !is_denied(f, c))
		return;
	ns = f->config.netns(f->config.ctx, c->row.netns);
	err = ns ? amb_sockdiag_destroy(ns, &id) : -ESRCH;
	c->cut = !err;
	if (!err || err == -ENOENT)
		return;
	/* Nothing else may change before it would be looked at again. */
	f->stuck = true;
	if (!c->told_stuck)
		amb_err(POLICY, "%s -> %s is denied now, but cannot be ended: %s, trying again",
			amb_endpoint_format(&id.remote, src), amb_endpoint_format(&id.local, dst),
			strerror(-err));
	c->told_stuck = true;
}

/* Telling */

static void tell_opened(struct amb_flows *f, struct conn *c)
{
	const struct amb_flow_hooks *h = f->config.hooks;
	struct amb_flow flow;
	enum report r;

	for (r = SOURCE; r < REPORTS; r++) {
		if (!reports(&c->row, r))
			continue;
		fill_flow(c, r, &flow);
		c->hook[r] = h->opened(h->ctx, f->config.worker, &flow);
		c->told[r] = true;
		f->opened[flow.direction]++;
	}
}

static void tell_closed(struct amb_flows *f, struct conn *c, const struct amb_event *e,
			const enum amb_flag flags[REPORTS], const char *error)
{
	const struct amb_flow_hooks *h = f->config.hooks;
	struct amb_flow flow;
	enum report r;

	for (r = SOURCE; r < REPORTS; r++) {
		if (!c->told[r])
			continue;
		fill_flow(c, r, &flow);
		flow.bytes_to_dst = e->to_dst;
		flow.bytes_to_src = e->to_src;
		flow.end_ns = AMB_MAX(e->now_ns, c->row.start_ns);
		flow.flag = flags[r];
		flow.reason = e->reason;
		flow.error = error;
		h->closed(h->ctx, f->config.worker, c->hook[r], &flow);
		f->closed[flow.direction]++;
	}
}

static struct conn *enter(struct amb_flows *f, uint64_t cookie, const struct amb_conn_row *row)
{
	struct conn *c;

	if (*slot(f, cookie))
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c) {
		f->missed = true;
		return NULL;
	}
	c->cookie = cookie;
	c->row = *row;
	if (f->n >= f->nbuckets)
		resize(f, f->nbuckets * 2);
	c->next = f->buckets[cookie & (f->nbuckets - 1)];
	f->buckets[cookie & (f->nbuckets - 1)] = c;
	f->n++;
	look_up(f, c);
	tell_opened(f, c);
	/* Policies may have changed between the verdict and now. */
	judge_now(f, c);
	return c;
}

static const enum amb_flag ended_well[REPORTS];
static const enum amb_flag cut_flags[REPORTS] = { AMB_FLAG_NONE, AMB_FLAG_DENY };
static const enum amb_flag failed_flags[REPORTS] = { AMB_FLAG_CONNECT, AMB_FLAG_CONNECT };
/* A tunnel's client hears of a denial as a status that is not 200. */
static const enum amb_flag denied_flags[REPORTS] = { AMB_FLAG_CONNECT, AMB_FLAG_DENY };

static void tell_ended(struct amb_flows *f, struct conn *c, const struct amb_event *e)
{
	struct amb_event cut = *e;

	if (c->cut) {
		cut.reason = AMB_REASON_POLICY_CHANGE;
		tell_closed(f, c, &cut, cut_flags, amb_reason_text(cut.reason));
	} else {
		tell_closed(f, c, e, ended_well, NULL);
	}
}

/* One that never lived: opened and closed at once, as the agent does with its own. */
static void stillborn(struct amb_flows *f, const struct amb_event *e,
		      const enum amb_flag flags[REPORTS])
{
	struct conn c = { .cookie = e->cookie, .row = e->conn };

	look_up(f, &c);
	tell_opened(f, &c);
	tell_closed(f, &c, e, flags, amb_reason_text(e->reason));
	conn_uninit(&c);
}

static void event(void *ctx, const struct amb_event *e)
{
	struct amb_flows *f = ctx;
	struct conn **at;

	if (f->deaf)
		return;
	switch (e->type) {
	case AMB_EVENT_OPEN:
		enter(f, e->cookie, &e->conn);
		break;
	case AMB_EVENT_CLOSE:
		at = slot(f, e->cookie);
		if (*at) {
			tell_ended(f, *at, e);
			drop(f, at);
		}
		break;
	case AMB_EVENT_FAIL:
		stillborn(f, e, failed_flags);
		break;
	case AMB_EVENT_DENY:
		if (f->denials++ < DENIALS)
			stillborn(f, e, denied_flags);
		break;
	}
}

/* What the ring lost */

static void compare(struct amb_flows *f)
{
	struct amb_event gone = { .type = AMB_EVENT_CLOSE, .now_ns = amb_util_now_ns() };
	struct amb_conn_row row;
	uint64_t key = 0, next;
	bool more = amb_rows_next(f->config.bpf, AMB_BPF_CONN, true, &key);
	size_t i;

	for (i = 0; i < f->nbuckets; i++) {
		struct conn *c;

		for (c = f->buckets[i]; c; c = c->next)
			c->seen = false;
	}
	while (more) {
		next = key;
		more = amb_rows_next(f->config.bpf, AMB_BPF_CONN, false, &next);
		if (amb_rows_get(f->config.bpf, AMB_BPF_CONN, &key, &row)) {
			struct conn *c = *slot(f, key);

			if (!c)
				c = enter(f, key, &row);
			if (c)
				c->seen = true;
		}
		key = next;
	}
	for (i = 0; i < f->nbuckets; i++) {
		struct conn **at = &f->buckets[i];

		while (*at) {
			struct conn *c = *at;

			if (c->seen) {
				at = &c->next;
				continue;
			}
			tell_ended(f, c, &gone);
			/* Not by drop(): that may make the table smaller under our feet. */
			*at = c->next;
			conn_free(c);
			f->n--;
		}
	}
}

static uint64_t lost_events(const struct amb_flows *f)
{
	struct amb_stat_row row;

	return amb_rows_stat(f->config.bpf, AMB_REASON_EVENTS_LOST, &row) ? f->lost : row.dropped;
}

/* Who looks at the entries reads first, and finds what was lost. Returns the number of events. */
static int take_events(struct amb_flows *f)
{
	int n = amb_events_read(f->events);
	uint64_t lost = lost_events(f);

	f->denials = 0;
	if ((lost == f->lost && !f->missed) || f->deaf)
		return n;
	amb_warn(KERNEL, "%llu events were lost%s, comparing with the map",
		 (unsigned long long)(lost - f->lost),
		 f->missed ? ", and there was no memory for others" : "");
	f->lost = lost;
	f->missed = false;
	compare(f);
	return n;
}

void amb_flows_read(struct amb_flows *f)
{
	(void)take_events(f);
}

static void judge_all(struct amb_flows *f)
{
	size_t i;

	f->stuck = false;
	for (i = 0; i < f->nbuckets; i++) {
		struct conn *c;

		for (c = f->buckets[i]; c; c = c->next)
			judge_now(f, c);
	}
}

static void due(struct amb_timer *t)
{
	struct amb_flows *f = AMB_CONTAINER_OF(t, struct amb_flows, timer);
	int n = take_events(f);

	if (f->stuck)
		judge_all(f);
	amb_loop_timer_set(f->loop, t, amb_loop_now(f->loop) + (n ? BUSY_NS : CALM_NS));
}

/* Policies have changed */

void amb_flows_rejudge(struct amb_flows *f)
{
	amb_flows_read(f);
	judge_all(f);
}

/* Asking */

/* Bytes that one end of a spliced connection sent past TCP, which so knows nothing of them. */
static uint64_t moved_by(const struct amb_flows *f, const struct amb_sockdiag_id *end)
{
	struct amb_splice_key key = {
		.local = amb_rows_addr(&end->local.addr),
		.remote = amb_rows_addr(&end->remote.addr),
		.local_port = end->local.port,
		.remote_port = end->remote.port,
	};
	struct amb_splice_row row;

	return amb_rows_get(f->config.bpf, AMB_BPF_SPLICED, &key, &row) ? row.moved : 0;
}

static void bytes_of(const struct amb_flows *f, const struct conn *c, uint64_t *to_dst,
		     uint64_t *to_src)
{
	bool in = c->row.inbound;
	struct amb_sockdiag_id id = {
		.local = endpoint(in ? &c->row.dst : &c->row.src,
				  in ? c->row.dst_port : c->row.src_port),
		.remote = endpoint(in ? &c->row.src : &c->row.dst,
				   in ? c->row.src_port : c->row.dst_port),
		.cookie = c->cookie,
	};
	struct amb_netns *ns = f->config.netns(f->config.ctx, c->row.netns);
	uint64_t sent = 0, received = 0;

	if (ns)
		(void)amb_sockdiag_bytes(ns, &id, !in, &sent, &received);
	if (c->row.way == AMB_WAY_SPLICE) {
		const struct amb_sockdiag_id other = { .local = id.remote, .remote = id.local };

		sent += moved_by(f, &id);
		received += moved_by(f, &other);
	}
	*to_dst = in ? received : sent;
	*to_src = in ? sent : received;
}

void amb_flows_tell_bytes(struct amb_flows *f)
{
	const struct amb_flow_hooks *h = f->config.hooks;
	uint64_t to_dst, to_src;
	enum report r;
	size_t i;

	amb_flows_read(f);
	h->bytes_begin(h->ctx, f->config.worker);
	for (i = 0; i < f->nbuckets; i++) {
		struct conn *c;

		for (c = f->buckets[i]; c; c = c->next) {
			bytes_of(f, c, &to_dst, &to_src);
			for (r = SOURCE; r < REPORTS; r++) {
				if (c->told[r])
					h->bytes(h->ctx, f->config.worker, c->hook[r], to_dst,
						 to_src);
			}
		}
	}
	h->bytes_end(h->ctx, f->config.worker);
}

static const char *name_of(char *to, size_t len, const struct amb_workload *w)
{
	if (!w)
		return "";
	snprintf(to, len, "%s/%s", w->ns, w->name);
	return to;
}

static void verdict_of(const struct amb_flows *f, const struct conn *c, struct amb_verdict *v)
{
	struct amb_workload *w = amb_publish_workload(f->config.publish, c->row.netns);

	if (!w)
		return;
	amb_state_read_begin(f->config.state);
	check(f, c, w, v);
	amb_state_read_end(f->config.state);
	amb_workload_put(w);
}

static void show(const struct amb_flows *f, const struct conn *c, enum report r,
		 void (*fn)(void *ctx, const struct amb_proxy_conn *row), void *ctx)
{
	char src[320], dst[320];
	struct amb_verdict v = { .policy = "" };
	struct amb_flow flow;
	struct amb_proxy_conn row;
	/* The socket's own pod, or the one at the other end. */
	bool own = (r == DESTINATION) == c->row.inbound;
	const char *uid = f->config.uid(f->config.ctx, own ? c->row.netns : c->row.peer);

	fill_flow(c, r, &flow);
	if (c->row.inbound)
		verdict_of(f, c, &v);
	row = (struct amb_proxy_conn){
		.pod_uid = uid ? uid : "",
		.direction = flow.direction,
		.way = flow.way,
		.protocol = flow.protocol,
		.src = flow.src,
		.original_dst = flow.dst,
		.actual_dst = flow.actual,
		.src_identity = flow.src_identity ? flow.src_identity->spiffe : "",
		.dst_identity = flow.dst_identity ? flow.dst_identity->spiffe : "",
		.src_name = name_of(src, sizeof(src), c->src),
		.dst_name = name_of(dst, sizeof(dst), c->dst),
		.policy = v.policy,
		.age_ns = amb_util_now_ns() - c->row.start_ns,
	};
	bytes_of(f, c, &row.bytes_to_dst, &row.bytes_to_src);
	fn(ctx, &row);
}

void amb_flows_each(struct amb_flows *f, void (*fn)(void *ctx, const struct amb_proxy_conn *c),
		    void *ctx)
{
	enum report r;
	size_t i;

	amb_flows_read(f);
	for (i = 0; i < f->nbuckets; i++) {
		struct conn *c;

		for (c = f->buckets[i]; c; c = c->next) {
			for (r = SOURCE; r < REPORTS; r++) {
				if (c->told[r])
					show(f, c, r, fn, ctx);
			}
		}
	}
}

void amb_flows_stats(struct amb_flows *f, struct amb_proxy_stats *out)
{
	struct amb_stat_row rows[AMB_REASON_MAX];
	unsigned int i;

	amb_flows_read(f);
	for (i = 0; i < 2; i++) {
		out->opened[i] += f->opened[i];
		out->closed[i] += f->closed[i];
		out->open_sockets[i] += f->opened[i] - f->closed[i];
	}
	if (amb_rows_stats(f->config.bpf, rows))
		return;
	for (i = 0; i < AMB_REASON_MAX; i++) {
		/* Tunnels are the agent's, which counts them itself. */
		out->ways[AMB_WAY_PASSTHROUGH] += rows[i].passthrough;
		out->ways[AMB_WAY_DIRECT] += rows[i].direct;
		out->ways[AMB_WAY_SPLICE] += rows[i].splice;
		out->ways[AMB_WAY_DENY] += rows[i].deny;
		/* What waits for an agent is not ended. */
		if (i != AMB_REASON_ABSENT)
			out->reasons[i] += rows[i].deny + rows[i].dropped;
	}
}

/* Life */

struct amb_flows *amb_flows_create(struct amb_loop *loop, const struct amb_flows_config *config)
{
	struct amb_flows *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->loop = loop;
	f->config = *config;
	f->timer.fn = due;
	resize(f, BUCKETS_MIN);
	if (f->buckets)
		f->events = amb_events_create(loop, config->bpf, event, f);
	if (!f->events || amb_loop_timer_set(loop, &f->timer, amb_loop_now(loop) + CALM_NS)) {
		amb_flows_destroy(f);
		return NULL;
	}
	/* Events that an agent before did not read: what they lead to stands in the map. */
	f->deaf = true;
	return f;
}

void amb_flows_adopt(struct amb_flows *f)
{
	(void)take_events(f);
	/* Whatever was lost until now the comparison finds. */
	f->lost = lost_events(f);
	f->deaf = false;
	compare(f);
}

void amb_flows_destroy(struct amb_flows *f)
{
	size_t i;

	if (!f)
		return;
	amb_loop_timer_cancel(f->loop, &f->timer);
	amb_events_destroy(f->events);
	for (i = 0; i < f->nbuckets; i++) {
		while (f->buckets[i]) {
			struct conn *c = f->buckets[i];

			f->buckets[i] = c->next;
			conn_free(c);
		}
	}
	free(f->buckets);
	free(f);
}
