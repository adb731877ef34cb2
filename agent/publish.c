// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the kernel has to know of the mesh.
 *
 * A row of an address says what all that share it say together, so it is made anew from the state
 * whenever one of them changed, compared with what stands in the map, and written or taken away.
 * An update names the addresses that it touched; what it costs does not depend on how large the
 * mesh is. A pass over everything is made at the start, when an update touched too much to be
 * named, and after something could not be written. Until everything stands there, and again when
 * a map is full, the meta row says PARTIAL: then the kernel sends connections to unknown
 * addresses to the agent instead of letting them pass.
 *
 * Order: the pods' policies first, so that no verdict of old policies is used any longer than it
 * must; then addresses; then services, whose endpoints are looked up by address.
 */
#include "publish.h"

#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "kernel/rows.h"
#include "mesh/decide.h"
#include "mesh/policy.h"
#include "mesh/state.h"
#include "publish_range.h"
#include "publish_svc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pod {
	struct pod *next;
	uint64_t cookie;
	uint32_t flags;
	struct amb_addr v4, v6;
	char *ns, *name, *sa;
	struct amb_workload *workload; /* reference, NULL when unknown */
	struct amb_pod_row row; /* as it stands in the map */
	bool written;
	bool stale; /* what is written is not what should be */
};

struct amb_publish {
	struct amb_loop *loop;
	struct amb_state *st;
	const struct amb_bpf *b;
	struct amb_timer timer;
	uint64_t last; /* pass */
	struct pod *pods;
	struct amb_publish_svcs *svcs;
	struct amb_publish_ranges *ranges;
	uint32_t flags; /* of amb_meta, that stay */
	bool settled;
	bool whole; /* there was a pass, and what changed since stands there too */
	bool behind; /* what was in no list is not yet what it should be */
	bool due; /* a pass is, with the timer */
	bool missing; /* something that should stand in a map does not */
	bool full; /* and that was told */
	bool gone; /* pods have: what only they could use is still there */
};

/* Pods */

static struct pod *find(const struct amb_publish *p, uint64_t cookie)
{
	struct pod *pod;

	for (pod = p->pods; pod && pod->cookie != cookie; pod = pod->next)
		;
	return pod;
}

static const struct pod *find_workload(const struct amb_publish *p, const struct amb_workload *w)
{
	const struct pod *pod;

	for (pod = p->pods; pod && pod->workload != w; pod = pod->next)
		;
	return pod;
}

static void pod_free(struct pod *pod)
{
	amb_workload_put(pod->workload);
	free(pod->ns);
	free(pod->name);
	free(pod->sa);
	free(pod);
}

/* A workload of this node, as which services can be looked at; NULL: none is known. */
static const struct amb_workload *any_workload(const struct amb_publish *p)
{
	const struct pod *pod;

	for (pod = p->pods; pod && !pod->workload; pod = pod->next)
		;
	return pod ? pod->workload : NULL;
}

static void own_addrs(const struct pod *pod, struct amb_pod_row *row)
{
	const struct amb_workload *w = pod->workload;
	struct amb_addr none = { 0 };
	uint32_t i;

	if (!amb_addr_eq(&pod->v4, &none))
		row->v4 = amb_rows_addr(&pod->v4);
	if (!amb_addr_eq(&pod->v6, &none))
		row->v6 = amb_rows_addr(&pod->v6);
	/* Backwards, so that the first of a family is taken. */
	for (i = w ? w->naddrs : 0; i--;) {
		if (amb_addr_is_v4(&w->addrs[i]))
			row->v4 = amb_rows_addr(&w->addrs[i]);
		else
			row->v6 = amb_rows_addr(&w->addrs[i]);
	}
}

static void keep_identity(struct amb_publish *p, const struct pod *pod)
{
	const struct amb_identity *id = pod->workload->identity;
	struct amb_ident_row row = { 0 };

	snprintf(row.spiffe, sizeof(row.spiffe), "%s", id->spiffe);
	(void)amb_rows_put(p->b, AMB_BPF_IDENT, &id->number, &row);
}

/* Without any the agent is asked, whatever the pod's row says. */
static bool not_of(void *ctx, const void *key)
{
	const struct amb_policy_key *k = key;

	return k->netns != *(uint64_t *)ctx;
}

static void forget_verdicts(struct amb_publish *p, uint64_t cookie)
{
	(void)amb_rows_sweep(p->b, AMB_BPF_POLICY, not_of, &cookie);
}

/* Later, but soon. */
static void tidy_later(struct amb_publish *p)
{
	if (!p->timer.index)
		amb_loop_timer_set(p->loop, &p->timer, amb_loop_now(p->loop) + AMB_PUBLISH_NS);
}

static void publish_later(struct amb_publish *p)
{
	p->whole = false;
	p->due = true;
	tidy_later(p);
}

static void not_written(struct amb_publish *p, struct pod *pod)
{
	if (!pod->stale)
		amb_err(KERNEL, "pod %s/%s: its row cannot be written: %s", pod->ns, pod->name,
			strerror(errno));
	pod->stale = true;
	/* The old row stays, by whose stamp verdicts of old policies are good. */
	if (pod->written) {
		forget_verdicts(p, pod->cookie);
		publish_later(p);
	}
}

static void write_pod(struct amb_publish *p, struct pod *pod)
{
	struct amb_pod_row row = { .flags = pod->flags };
	const struct amb_workload *w = pod->workload;

	own_addrs(pod, &row);
	snprintf(row.name, sizeof(row.name), "%s/%s", pod->ns, pod->name);
	/* Nobody knows what applies to it: whoever comes is sent to the agent, which waits. */
	row.stamp = (uint64_t)amb_util_random() << 32 | amb_util_random();
	if (w) {
		row.identity = w->identity->number;
		row.stamp = amb_policy_stamp(p->st, w);
		row.inputs = amb_policy_inputs(p->st, w);
		if (row.identity != pod->row.identity)
			keep_identity(p, pod);
	} else if (pod->written && !pod->row.identity) {
		return;
	}
	if (pod->written && !memcmp(&row, &pod->row, sizeof(row)))
		return;
	if (amb_rows_put(p->b, AMB_BPF_POD, &pod->cookie, &row)) {
		not_written(p, pod);
		return;
	}
	pod->row = row;
	pod->written = true;
	pod->stale = false;
}

/* Addresses */

/* What those who have one address say of it together. */
struct at {
	const struct amb_publish *p;
	struct amb_addr_row row;
	size_t n;
	bool pods; /* more than one captured pod */
};

/*
 * A captured pod has the address before others who have it; of two neither does. Two pods, a
 * workload and a service, two services: which is meant depends on who asks, so the agent decides.
 */
static void join(struct at *at, const struct amb_addr_row *row)
{
	struct amb_addr_row *to = &at->row;

	if (!at->n++) {
		*to = *row;
		return;
	}
	to->flags |= row->flags | AMB_ADDR_AGENT;
	to->flags &= ~AMB_ADDR_PASS;
	at->pods |= to->netns && row->netns;
	if (!to->netns) {
		to->netns = row->netns;
		to->identity = row->identity;
	}
}

static bool join_workload(void *ctx, const struct amb_workload *w)
{
	struct at *at = ctx;
	struct amb_addr_row row = { 0 };
	const struct pod *pod;

	if (w->tunnel == AMB_TUNNEL_HBONE)
		row.flags |= AMB_ADDR_HBONE;
	if (w->waypoint.set)
		row.flags |= AMB_ADDR_AGENT;
	pod = w->node == amb_state_node(at->p->st) ? find_workload(at->p, w) : NULL;
	if (pod) {
		row.netns = pod->cookie;
		row.identity = w->identity->number;
	}
	join(at, &row);
	return true;
}

static bool join_service(void *ctx, const struct amb_service *s)
{
	struct amb_addr_row row = { .flags = amb_publish_svcs_flags(s) };

	join(ctx, &row);
	return true;
}

/* The row that @addr should have; false: none. */
static bool wanted_row(const struct amb_publish *p, const struct amb_addr *addr,
		       struct amb_addr_row *row)
{
	struct at at = { .p = p };

	amb_state_each_at(p->st, addr, join_workload, join_service, &at);
	*row = at.row;
	if (at.pods)
		row->netns = row->identity = 0;
	return at.n;
}

/* Those of an agent before stand there, too, until all is known. */
static uint32_t flags_now(const struct amb_publish *p)
{
	bool ranges = amb_publish_ranges_any(p->ranges) || (p->b->adopted && !p->settled);

	return p->flags | (ranges ? AMB_META_CIDR : 0);
}

/* Unknown addresses go to the agent from now on. */
static void set_partial(const struct amb_publish *p)
{
	(void)amb_rows_set_meta(p->b, flags_now(p) | AMB_META_PARTIAL);
}

static void is_missing(struct amb_publish *p)
{
	p->missing = true;
	set_partial(p);
}

/*
 * When it cannot be written nothing stands there, and the agent is asked: by an old row somebody
 * might pass whom the new one would stop.
 */
static void write_row(struct amb_publish *p, const struct amb_in6 *key,
		      const struct amb_addr_row *row)
{
	int err = amb_rows_put(p->b, AMB_BPF_ADDR, key, row);

	if (!err)
		return;
	is_missing(p);
	/* There is room when others go. */
	if (amb_rows_del(p->b, AMB_BPF_ADDR, key) || err != -E2BIG)
		publish_later(p);
}

static void take_away(struct amb_publish *p, const struct amb_in6 *key)
{
	if (amb_rows_del(p->b, AMB_BPF_ADDR, key) || p->missing)
		publish_later(p);
}

static bool is_endpoint(const struct amb_workload *w, amb_str service)
{
	uint32_t i;

	for (i = 0; w && i < w->nservices; i++) {
		if (w->services[i].service == service)
			return true;
	}
	return false;
}

/* The kernel resolves none without an endpoint here: most of a mesh's need no look. */
static void publish_svc(struct amb_publish *p, amb_str name)
{
	const struct pod *pod;

	for (pod = p->pods; pod && !is_endpoint(pod->workload, name); pod = pod->next)
		;
	if (amb_publish_svcs_changed(p->svcs, pod ? pod->workload : NULL, name))
		publish_later(p);
}

static bool publish_svcs_of(void *ctx, const struct amb_workload *w)
{
	uint32_t i;

	for (i = 0; i < w->nservices; i++)
		publish_svc(ctx, w->services[i].service);
	return true;
}

static bool publish_svc_itself(void *ctx, const struct amb_service *s)
{
	publish_svc(ctx, s->key);
	return true;
}

/* True: its row is another now. */
static bool publish_row(struct amb_publish *p, const struct amb_addr *addr)
{
	struct amb_in6 key = amb_rows_addr(addr);
	struct amb_addr_row is, row;
	bool stands = amb_rows_get(p->b, AMB_BPF_ADDR, &key, &is);

	if (!wanted_row(p, addr, &row)) {
		if (stands || p->missing)
			take_away(p, &key);
		return stands;
	}
	if (stands && !memcmp(&is, &row, sizeof(row)))
		return false;
	write_row(p, &key, &row);
	return true;
}

/* Within a read section, and with the services that it is an endpoint or the address of. */
static void publish_addr(struct amb_publish *p, const struct amb_addr *addr)
{
	if (publish_row(p, addr))
		amb_state_each_at(p->st, addr, publish_svcs_of, publish_svc_itself, p);
}

static void publish_addrs_of(struct amb_publish *p, const struct amb_workload *w)
{
	uint32_t i;

	if (!w || w->network != amb_state_network(p->st))
		return;
	for (i = 0; i < w->naddrs; i++)
		publish_addr(p, &w->addrs[i]);
}

/* Within a read section. */
static void publish_pod(struct amb_publish *p, struct pod *pod)
{
	struct amb_workload *before = pod->workload;

	pod->workload =
		amb_workload_get(amb_state_workload_local(p->st, pod->ns, pod->name, pod->sa));
	write_pod(p, pod);
	/* Its addresses may be in no list: what was hidden by another of its name is found now. */
	if (pod->workload != before) {
		publish_addrs_of(p, before);
		publish_addrs_of(p, pod->workload);
	}
	amb_workload_put(before);
}

static bool publish_workload(void *ctx, const struct amb_workload *w)
{
	struct amb_publish *p = ctx;
	uint32_t i;

	for (i = 0; w->network == amb_state_network(p->st) && i < w->naddrs; i++)
		publish_row(p, &w->addrs[i]);
	return true;
}

static bool publish_service(void *ctx, const struct amb_service *s)
{
	struct amb_publish *p = ctx;
	uint32_t i;

	for (i = 0; i < s->nvips; i++) {
		if (s->vips[i].network == amb_state_network(p->st) &&
		    amb_state_vip_is_host(&s->vips[i]))
			publish_row(p, &s->vips[i].addr);
	}
	return true;
}

static bool row_of(void *ctx, const struct amb_in6 *key, struct amb_addr_row *row)
{
	const struct amb_publish *p = ctx;

	return amb_rows_get(p->b, AMB_BPF_ADDR, key, row);
}

/* Ranges */

static void note(struct amb_publish *p, int ret)
{
	if (ret & AMB_PUBLISH_RANGE_MISSING)
		is_missing(p);
	if (ret & AMB_PUBLISH_RANGE_AGAIN || (ret & AMB_PUBLISH_RANGE_ROOM && p->missing))
		publish_later(p);
}

/* What comes; addresses follow, and then amb_publish_ranges_end(). */
static void put_ranges(struct amb_publish *p)
{
	bool had = amb_publish_ranges_any(p->ranges);

	note(p, amb_publish_ranges_begin(p->ranges));
	/* Nobody looks there before the meta row says so. */
	if (!had && amb_publish_ranges_any(p->ranges))
		set_partial(p);
	note(p, amb_publish_ranges_write(p->ranges));
}

/* Sweeping */

static bool is_wanted_addr(void *ctx, const void *key)
{
	const struct amb_addr addr = amb_rows_addr_of(key);
	struct amb_addr_row row;

	return wanted_row(ctx, &addr, &row);
}

/* Rows that nobody asks for, of an agent before or that could not be taken away. */
static void sweep_addrs(struct amb_publish *p)
{
	long n = amb_rows_sweep(p->b, AMB_BPF_ADDR, is_wanted_addr, p);

	if (n < 0 || (n && p->missing))
		publish_later(p);
}

struct wanted {
	const struct amb_publish *p;
	bool (*fn)(void *ctx, uint64_t cookie);
	void *ctx;
};

static bool is_wanted_pod(void *ctx, const void *key)
{
	const uint64_t *cookie = key;
	const struct wanted *w = ctx;

	return find(w->p, *cookie) || w->fn(w->ctx, *cookie);
}

static bool is_wanted_ident(void *ctx, const void *key)
{
	const struct amb_publish *p = ctx;
	const uint32_t *identity = key;
	const struct pod *pod;

	for (pod = p->pods; pod && pod->row.identity != *identity; pod = pod->next)
		;
	return pod;
}

/* The key begins with the namespace of a pod. */
static bool is_of_a_pod(void *ctx, const void *key)
{
	const struct amb_publish *p = ctx;
	struct amb_pod_row row;

	_Static_assert(offsetof(struct amb_policy_key, netns) == 0, "verdict");
	_Static_assert(offsetof(struct amb_flight_key, netns) == 0, "flight");
	return amb_rows_get(p->b, AMB_BPF_POD, key, &row);
}

static bool is_partial(const struct amb_publish *p)
{
	return p->missing || p->behind || !p->settled;
}

static void set_flags(struct amb_publish *p)
{
	uint32_t flags = flags_now(p);

	if (p->missing && !p->full)
		amb_err(KERNEL,
			"not all addresses of the mesh are in the kernel's map, which is full or "
			"has no memory; connections to unknown ones go through the agent");
	p->full = p->missing;
	if (is_partial(p))
		flags |= AMB_META_PARTIAL;
	(void)amb_rows_set_meta(p->b, flags);
}

/* What only pods could use that are gone. */
static void tidy(struct amb_publish *p)
{
	if (!p->gone)
		return;
	p->gone = false;
	(void)amb_rows_sweep(p->b, AMB_BPF_POLICY, is_of_a_pod, p);
	(void)amb_rows_sweep(p->b, AMB_BPF_FLIGHT, is_of_a_pod, p);
}

static void publish_pods(struct amb_publish *p)
{
	struct pod *pod;

	for (pod = p->pods; pod; pod = pod->next)
		publish_pod(p, pod);
}

/* Everything. */
static void publish(struct amb_publish *p)
{
	/* Not what an agent before left, until that has its time. */
	bool sweep = p->settled || !p->b->adopted;

	/* What was put off is done now; what cannot be done puts it off again. */
	amb_loop_timer_cancel(p->loop, &p->timer);
	p->due = false;
	p->missing = false;
	amb_state_read_begin(p->st);
	publish_pods(p);
	put_ranges(p);
	amb_state_each_workload(p->st, publish_workload, p);
	amb_state_each_service(p->st, publish_service, p);
	note(p, amb_publish_ranges_end(p->ranges));
	if (sweep) {
		sweep_addrs(p);
		note(p, amb_publish_ranges_sweep(p->ranges));
	}
	if (amb_publish_svcs_update(p->svcs, any_workload(p)))
		publish_later(p);
	amb_state_read_end(p->st);
	p->whole = !p->due;
	p->behind = false;
	set_flags(p);
	tidy(p);
	p->last = amb_loop_now(p->loop);
}

static void due(struct amb_timer *t)
{
	struct amb_publish *p = AMB_CONTAINER_OF(t, struct amb_publish, timer);

	if (p->due)
		publish(p);
	else
		tidy(p);
}

static void publish_change(struct amb_publish *p, const struct amb_state_change *change)
{
	size_t i;

	amb_state_read_begin(p->st);
	/* What was forbidden must not wait. */
	if (change->policies || change->local)
		publish_pods(p);
	if (change->ranges)
		put_ranges(p);
	for (i = 0; i < change->naddrs; i++)
		publish_addr(p, &change->addrs[i]);
	for (i = 0; i < change->nnames; i++)
		publish_svc(p, change->names[i]);
	if (change->ranges)
		note(p, amb_publish_ranges_end(p->ranges));
	amb_state_read_end(p->st);
	if (change->ranges || is_partial(p))
		set_flags(p);
}

void amb_publish_changed(struct amb_publish *p, const struct amb_state_change *change)
{
	/* Nobody passes to what this brings and the kernel does not know yet. */
	if (change->many) {
		p->whole = false;
		p->behind = true;
		set_partial(p);
	}
	publish_change(p, change);
	if (!change->many)
		return;
	if (amb_loop_now(p->loop) - p->last >= AMB_PUBLISH_NS)
		publish(p);
	else
		publish_later(p);
}

static struct pod *unlink_pod(struct amb_publish *p, uint64_t cookie)
{
	struct pod **at = &p->pods, *pod;

	while (*at && (*at)->cookie != cookie)
		at = &(*at)->next;
	pod = *at;
	if (pod)
		*at = pod->next;
	return pod;
}

/* Its addresses and its identity; @pod is in no list any more. */
static void disown(struct amb_publish *p, struct pod *pod)
{
	uint32_t identity = pod->row.identity;

	amb_state_read_begin(p->st);
	publish_addrs_of(p, pod->workload);
	amb_state_read_end(p->st);
	pod_free(pod);
	for (pod = p->pods; pod && pod->row.identity != identity; pod = pod->next)
		;
	if (!pod && identity)
		(void)amb_rows_del(p->b, AMB_BPF_IDENT, &identity);
}

static struct pod *pod_create(const struct amb_publish_pod *what)
{
	struct pod *pod = calloc(1, sizeof(*pod));

	if (!pod)
		return NULL;
	pod->cookie = what->cookie;
	pod->flags = what->flags;
	pod->v4 = what->v4;
	pod->v6 = what->v6;
	pod->ns = strdup(what->ns);
	pod->name = strdup(what->name);
	pod->sa = strdup(what->sa);
	if (!pod->ns || !pod->name || !pod->sa) {
		pod_free(pod);
		return NULL;
	}
	return pod;
}

int amb_publish_pod_add(struct amb_publish *p, const struct amb_publish_pod *what)
{
	struct pod *pod = pod_create(what), *old;

	if (!pod)
		return -ENOMEM;
	/* Its row is written over, not taken away: at no moment is the pod not captured. */
	old = unlink_pod(p, what->cookie);
	if (old)
		disown(p, old);
	pod->next = p->pods;
	p->pods = pod;
	amb_state_read_begin(p->st);
	publish_pod(p, pod);
	amb_state_read_end(p->st);
	if (is_partial(p))
		set_flags(p);
	return pod->written ? 0 : -E2BIG;
}

void amb_publish_pod_del(struct amb_publish *p, uint64_t cookie)
{
	struct pod *pod = unlink_pod(p, cookie);

	p->gone = true;
	(void)amb_rows_del(p->b, AMB_BPF_POD, &cookie);
	if (pod)
		disown(p, pod);
	tidy_later(p);
}

void amb_publish_settle(struct amb_publish *p, bool (*wanted)(void *ctx, uint64_t cookie),
			void *ctx)
{
	struct wanted w = { p, wanted, ctx };

	if (p->settled)
		return;
	p->settled = true;
	if (p->b->adopted) {
		(void)amb_rows_sweep(p->b, AMB_BPF_POD, is_wanted_pod, &w);
		p->gone = true;
	}
	if (p->whole && !p->b->adopted)
		set_flags(p);
	else
		publish(p);
	if (p->b->adopted) {
		(void)amb_rows_sweep(p->b, AMB_BPF_IDENT, is_wanted_ident, p);
		amb_publish_svcs_sweep(p->svcs);
	}
}

void amb_publish_partial(struct amb_publish *p)
{
	p->flags |= AMB_META_PARTIAL;
	(void)amb_rows_set_meta(p->b, p->flags);
}

void amb_publish_splice(struct amb_publish *p)
{
	if (p->flags & AMB_META_SPLICE)
		return;
	p->flags |= AMB_META_SPLICE;
	publish(p);
}

struct amb_workload *amb_publish_workload(const struct amb_publish *p, uint64_t cookie)
{
	const struct pod *pod = find(p, cookie);

	return pod ? amb_workload_get(pod->workload) : NULL;
}

struct amb_publish *amb_publish_create(struct amb_loop *loop, struct amb_state *st,
				       const struct amb_bpf *b)
{
	struct amb_publish *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->svcs = amb_publish_svcs_create(st, b, row_of, p);
	p->ranges = amb_publish_ranges_create(st, b);
	if (!p->svcs || !p->ranges) {
		amb_publish_svcs_destroy(p->svcs);
		amb_publish_ranges_destroy(p->ranges);
		free(p);
		return NULL;
	}
	p->loop = loop;
	p->st = st;
	p->b = b;
	p->flags = b->wait ? AMB_META_WAIT : 0;
	p->timer.fn = due;
	return p;
}

void amb_publish_destroy(struct amb_publish *p)
{
	if (!p)
		return;
	amb_loop_timer_cancel(p->loop, &p->timer);
	while (p->pods) {
		struct pod *pod = p->pods;

		p->pods = pod->next;
		pod_free(pod);
	}
	amb_publish_svcs_destroy(p->svcs);
	amb_publish_ranges_destroy(p->ranges);
	free(p);
}
