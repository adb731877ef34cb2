// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the kernel has to know of the mesh.
 *
 * Each time the state changes, the rows that it asks for are made anew, sorted, and compared with
 * those that stand in the map: a walk over 10 000 workloads takes some milliseconds, and what did
 * not change is not written. Until everything stands there, and again when a map is full, the
 * meta row says PARTIAL: then the kernel sends connections to unknown addresses to the agent
 * instead of letting them pass.
 *
 * Order of one pass: the pods' policies first, so that no verdict of old policies is used any
 * longer than it must; then addresses; then services, whose endpoints are looked up by address.
 */
#include "publish.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "kernel/rows.h"
#include "mesh/decide.h"
#include "mesh/policy.h"
#include "mesh/state.h"
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

struct addr {
	struct amb_in6 key;
	struct amb_addr_row row;
};

struct addrs {
	struct addr *v;
	size_t n, cap;
	bool failed; /* out of memory: what is there is not all */
};

struct amb_publish {
	struct amb_loop *loop;
	struct amb_state *st;
	const struct amb_bpf *b;
	struct amb_timer timer;
	uint64_t last; /* pass */
	struct pod *pods;
	struct addrs addrs; /* that stand in the map, sorted */
	struct amb_publish_svcs *svcs;
	uint32_t ncidrs;
	uint32_t flags; /* of amb_meta, that stay */
	bool settled, full;
	bool sweep; /* rows that are in no list could not be taken away */
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
static void forget_verdicts(struct amb_publish *p, uint64_t cookie)
{
	struct amb_policy_key key, next;
	bool more = amb_rows_next(p->b, AMB_BPF_POLICY, true, &key);

	while (more) {
		next = key;
		more = amb_rows_next(p->b, AMB_BPF_POLICY, false, &next);
		if (key.netns == cookie)
			(void)amb_rows_del(p->b, AMB_BPF_POLICY, &key);
		key = next;
	}
}

/* Later, but soon. */
static void publish_later(struct amb_publish *p)
{
	if (!p->timer.index)
		amb_loop_timer_set(p->loop, &p->timer, amb_loop_now(p->loop) + AMB_PUBLISH_NS);
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

/* Within a read section. */
static void publish_pod(struct amb_publish *p, struct pod *pod)
{
	struct amb_pod_row row = { .flags = pod->flags };
	struct amb_workload *w;

	w = amb_workload_get(amb_state_workload_local(p->st, pod->ns, pod->name, pod->sa));
	amb_workload_put(pod->workload);
	pod->workload = w;
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

static void pod_free(struct pod *pod)
{
	amb_workload_put(pod->workload);
	free(pod->ns);
	free(pod->name);
	free(pod->sa);
	free(pod);
}

/* Addresses */

static void add(struct addrs *a, const struct amb_addr *addr, const struct amb_addr_row *row)
{
	if (a->n == a->cap) {
		size_t cap = a->cap ? a->cap * 2 : 256;
		struct addr *v = reallocarray(a->v, cap, sizeof(*v));

		if (!v) {
			a->failed = true;
			return;
		}
		a->v = v;
		a->cap = cap;
	}
	a->v[a->n].key = amb_rows_addr(addr);
	a->v[a->n++].row = *row;
}

struct pass {
	struct amb_publish *p;
	struct addrs want;
	uint32_t ncidrs;
};

static bool add_workload(void *ctx, const struct amb_workload *w)
{
	struct pass *pass = ctx;
	struct amb_publish *p = pass->p;
	struct amb_addr_row row = { 0 };
	const struct pod *pod;
	uint32_t i;

	/* Not known by address: the host's own (reference 1.10), and other networks'. */
	if (w->host_network || strcmp(w->network, amb_state_network(p->st)))
		return true;
	if (w->tunnel == AMB_TUNNEL_HBONE)
		row.flags |= AMB_ADDR_HBONE;
	if (w->waypoint.set)
		row.flags |= AMB_ADDR_AGENT;
	pod = find_workload(p, w);
	if (pod) {
		row.netns = pod->cookie;
		row.identity = w->identity->number;
	}
	for (i = 0; i < w->naddrs; i++)
		add(&pass->want, &w->addrs[i], &row);
	return !pass->want.failed;
}

static void add_cidr(struct pass *pass, const struct amb_vip *vip, uint32_t flags)
{
	struct amb_cidr_key key = {
		.bits = vip->bits + (amb_addr_is_v4(&vip->addr) ? 96 : 0),
		.addr = amb_rows_addr(&vip->addr),
	};
	struct amb_cidr_row row = { .flags = flags };

	pass->ncidrs++;
	if (amb_rows_put(pass->p->b, AMB_BPF_CIDR, &key, &row))
		pass->want.failed = true;
}

static bool add_service(void *ctx, const struct amb_service *s)
{
	struct pass *pass = ctx;
	struct amb_addr_row row = { .flags = AMB_ADDR_SERVICE };
	uint32_t i;

	if (s->waypoint.set || s->nwaypoints || s->namespace_only)
		row.flags |= AMB_ADDR_AGENT;
	else if (s->mode == AMB_LB_PASSTHROUGH)
		row.flags |= AMB_ADDR_PASS;
	for (i = 0; i < s->nvips; i++) {
		const struct amb_vip *vip = &s->vips[i];
		bool host = vip->bits == (amb_addr_is_v4(&vip->addr) ? 32 : 128);

		if (strcmp(vip->network, amb_state_network(pass->p->st)))
			continue;
		/* Ranges that overlap are ranked by more than length: the agent decides. */
		if (host)
			add(&pass->want, &vip->addr, &row);
		else
			add_cidr(pass, vip, row.flags | AMB_ADDR_AGENT);
	}
	return !pass->want.failed;
}

static int addr_cmp(const void *a, const void *b)
{
	const struct addr *x = a, *y = b;
	int d = memcmp(&x->key, &y->key, sizeof(x->key));

	return d ? d : memcmp(&x->row, &y->row, sizeof(x->row));
}

/* Of a captured pod and others the pod has the address; of two captured pods neither. */
static void share(struct amb_addr_row *to, const struct amb_addr_row *other)
{
	if (!to->netns) {
		to->netns = other->netns;
		to->identity = other->identity;
	} else if (other->netns && other->netns != to->netns) {
		to->netns = to->identity = 0;
	}
}

/*
 * Of several that share an address one row remains. Two captured pods, a workload and a service,
 * two services: which of them is meant depends on who asks, so the agent decides.
 */
static void merge(struct addrs *a)
{
	size_t i, n = 0;

	if (!a->n)
		return;
	qsort(a->v, a->n, sizeof(a->v[0]), addr_cmp);
	for (i = 1; i < a->n; i++) {
		struct addr *last = &a->v[n];

		if (memcmp(&last->key, &a->v[i].key, sizeof(last->key))) {
			a->v[++n] = a->v[i];
			continue;
		}
		last->row.flags |= a->v[i].row.flags | AMB_ADDR_AGENT;
		last->row.flags &= ~AMB_ADDR_PASS;
		share(&last->row, &a->v[i].row);
	}
	a->n = n + 1;
}

/*
 * Writes @new over @old, which may be NULL. What stands there then, NULL: nothing, and the agent is
 * asked. By the old row somebody might pass whom the new one would stop.
 */
static const struct addr *change(struct amb_publish *p, const struct addr *old,
				 const struct addr *new)
{
	int err = amb_rows_put(p->b, AMB_BPF_ADDR, &new->key, &new->row);

	if (!err)
		return new;
	/* There is room when others go, which is a change. */
	if (err != -E2BIG)
		publish_later(p);
	if (!old || amb_rows_set_meta(p->b, p->flags | AMB_META_PARTIAL) ||
	    amb_rows_del(p->b, AMB_BPF_ADDR, &old->key))
		return old;
	return NULL;
}

static void take_away(struct amb_publish *p, const struct amb_in6 *key)
{
	if (!amb_rows_del(p->b, AMB_BPF_ADDR, key))
		return;
	p->sweep = true;
	publish_later(p);
}

/*
 * Makes the map what @want says. What could not be written is not in @want afterwards, but what
 * stands there: the next pass must not take it for done. True when all of it stands there.
 */
static bool write_diff(struct amb_publish *p, struct addrs *want)
{
	size_t o = 0, n = 0, kept = 0;
	bool all = true;

	while (o < p->addrs.n || n < want->n) {
		const struct addr *old = o < p->addrs.n ? &p->addrs.v[o] : NULL;
		const struct addr *new = n < want->n ? &want->v[n] : NULL, *now = new;
		int d = !old ? 1 : !new ? -1 : memcmp(&old->key, &new->key, sizeof(old->key));

		if (d < 0) {
			take_away(p, &old->key);
			o++;
			continue;
		}
		o += !d;
		n++;
		if (d || memcmp(&old->row, &new->row, sizeof(old->row)))
			now = change(p, d ? NULL : old, new);
		all &= now == new;
		if (now)
			want->v[kept++] = *now;
	}
	want->n = kept;
	return all;
}

static struct addr *find_addr(struct amb_publish *p, const struct amb_in6 *key)
{
	size_t lo = 0, hi = p->addrs.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int d = memcmp(key, &p->addrs.v[mid].key, sizeof(*key));

		if (!d)
			return &p->addrs.v[mid];
		if (d < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

static const struct amb_addr_row *row_of(void *ctx, const struct amb_in6 *key)
{
	const struct addr *a = find_addr(ctx, key);

	return a ? &a->row : NULL;
}

static void clear_cidrs(struct amb_publish *p)
{
	struct amb_cidr_key key;

	while (amb_rows_next(p->b, AMB_BPF_CIDR, true, &key) &&
	       !amb_rows_del(p->b, AMB_BPF_CIDR, &key))
		;
}

/* Rows that nobody asks for, of an agent before or that could not be taken away. */
static void sweep_addrs(struct amb_publish *p)
{
	struct amb_in6 key, next;
	bool more = amb_rows_next(p->b, AMB_BPF_ADDR, true, &key);

	while (more) {
		next = key;
		more = amb_rows_next(p->b, AMB_BPF_ADDR, false, &next);
		if (!find_addr(p, &key))
			take_away(p, &key);
		key = next;
	}
}

static void sweep_pods(struct amb_publish *p, bool (*wanted)(void *ctx, uint64_t cookie), void *ctx)
{
	uint64_t key = 0, next;
	bool more = amb_rows_next(p->b, AMB_BPF_POD, true, &key);

	while (more) {
		next = key;
		more = amb_rows_next(p->b, AMB_BPF_POD, false, &next);
		if (!find(p, key) && !wanted(ctx, key))
			(void)amb_rows_del(p->b, AMB_BPF_POD, &key);
		key = next;
	}
}

static void sweep_idents(struct amb_publish *p)
{
	uint32_t key, next;
	bool more = amb_rows_next(p->b, AMB_BPF_IDENT, true, &key);
	const struct pod *pod;

	while (more) {
		next = key;
		more = amb_rows_next(p->b, AMB_BPF_IDENT, false, &next);
		for (pod = p->pods; pod && pod->row.identity != key; pod = pod->next)
			;
		if (!pod)
			(void)amb_rows_del(p->b, AMB_BPF_IDENT, &key);
		key = next;
	}
}

/* Rows of @map whose key, of at most KEY_MAX bytes, begins with the namespace of no pod. */
#define KEY_MAX 64
static void sweep_by_netns(struct amb_publish *p, enum amb_bpf_map map)
{
	union {
		uint64_t netns;
		uint8_t bytes[KEY_MAX];
	} key, next;
	bool more = amb_rows_next(p->b, map, true, &key);
	struct amb_pod_row row;

	_Static_assert(offsetof(struct amb_policy_key, netns) == 0 &&
			       sizeof(struct amb_policy_key) <= KEY_MAX,
		       "verdict");
	_Static_assert(offsetof(struct amb_flight_key, netns) == 0 &&
			       sizeof(struct amb_flight_key) <= KEY_MAX,
		       "flight");
	while (more) {
		next = key;
		more = amb_rows_next(p->b, map, false, &next);
		if (!amb_rows_get(p->b, AMB_BPF_POD, &key.netns, &row))
			(void)amb_rows_del(p->b, map, &key);
		key = next;
	}
}

static void set_flags(struct amb_publish *p, const struct pass *pass, bool full)
{
	uint32_t flags = p->flags | (pass->ncidrs ? AMB_META_CIDR : 0);

	if (full && !p->full)
		amb_err(KERNEL,
			"not all addresses of the mesh are in the kernel's map, which is full or "
			"has no memory; connections to unknown ones go through the agent");
	p->full = full;
	if (full || !p->settled)
		flags |= AMB_META_PARTIAL;
	(void)amb_rows_set_meta(p->b, flags);
}

static void publish(struct amb_publish *p)
{
	struct pass pass = { .p = p };
	/* Not what an agent before left, until that has its time. */
	bool full, sweep = p->sweep && p->settled;
	struct pod *pod;

	/* What was put off is done now. */
	amb_loop_timer_cancel(p->loop, &p->timer);
	p->sweep &= !sweep;
	p->last = amb_loop_now(p->loop);
	amb_state_read_begin(p->st);
	for (pod = p->pods; pod; pod = pod->next)
		publish_pod(p, pod);
	/* Unknown addresses go to the agent while ranges are not all there. */
	if (p->ncidrs) {
		(void)amb_rows_set_meta(p->b, p->flags | AMB_META_PARTIAL);
		clear_cidrs(p);
	}
	amb_state_each_workload(p->st, add_workload, &pass);
	amb_state_each_service(p->st, add_service, &pass);
	/* Rows of addresses that are still in the mesh are about to go. */
	if (pass.want.failed)
		(void)amb_rows_set_meta(p->b, p->flags | AMB_META_PARTIAL);
	merge(&pass.want);
	full = !write_diff(p, &pass.want) || pass.want.failed;
	free(p->addrs.v);
	p->addrs = pass.want;
	if (sweep)
		sweep_addrs(p);
	p->ncidrs = pass.ncidrs;
	amb_publish_svcs_update(p->svcs, any_workload(p));
	amb_state_read_end(p->st);
	set_flags(p, &pass, full);
	if (p->gone) {
		sweep_by_netns(p, AMB_BPF_POLICY);
		sweep_by_netns(p, AMB_BPF_FLIGHT);
	}
	p->gone = false;
}

static void due(struct amb_timer *t)
{
	publish(AMB_CONTAINER_OF(t, struct amb_publish, timer));
}

void amb_publish_changed(struct amb_publish *p)
{
	struct pod *pod;

	if (amb_loop_now(p->loop) - p->last >= AMB_PUBLISH_NS) {
		publish(p);
		return;
	}
	/* What was forbidden must not wait. */
	amb_state_read_begin(p->st);
	for (pod = p->pods; pod; pod = pod->next)
		publish_pod(p, pod);
	amb_state_read_end(p->st);
	publish_later(p);
}

/*
 * The rows of one pod's addresses say whose they are now, @cookie 0: nobody's of this node. The
 * rest of the mesh did not change, and services can wait for the next pass.
 */
static void set_owner(struct amb_publish *p, const struct amb_workload *w, uint64_t cookie)
{
	uint32_t i;

	for (i = 0; w && i < w->naddrs; i++) {
		struct amb_in6 key = amb_rows_addr(&w->addrs[i]);
		struct addr *a = find_addr(p, &key);
		struct amb_addr_row row;

		/* Not there yet, or perhaps shared by several: whose it is takes a whole pass. */
		if (!a || a->row.flags & AMB_ADDR_AGENT) {
			publish(p);
			return;
		}
		row = a->row;
		row.netns = cookie;
		row.identity = cookie ? w->identity->number : 0;
		if (!amb_rows_put(p->b, AMB_BPF_ADDR, &key, &row))
			a->row = row;
		else
			amb_err(KERNEL, "workload %s: an address cannot be written: %s", w->uid,
				strerror(errno));
	}
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

	set_owner(p, pod->workload, 0);
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
	set_owner(p, pod->workload, pod->cookie);
	return pod->written ? 0 : -E2BIG;
}

void amb_publish_pod_del(struct amb_publish *p, uint64_t cookie)
{
	struct pod *pod = unlink_pod(p, cookie);

	p->gone = true;
	(void)amb_rows_del(p->b, AMB_BPF_POD, &cookie);
	if (pod)
		disown(p, pod);
	else
		publish_later(p);
}

void amb_publish_settle(struct amb_publish *p, bool (*wanted)(void *ctx, uint64_t cookie),
			void *ctx)
{
	if (p->settled)
		return;
	p->settled = true;
	if (p->b->adopted) {
		/* Nobody looks there before the meta row says so. */
		(void)amb_rows_set_meta(p->b, p->flags | AMB_META_PARTIAL);
		clear_cidrs(p);
		sweep_pods(p, wanted, ctx);
		p->gone = true;
	}
	publish(p);
	if (p->b->adopted) {
		sweep_addrs(p);
		sweep_idents(p);
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

size_t amb_publish_rows(const struct amb_publish *p)
{
	return p->addrs.n + p->ncidrs;
}

struct amb_publish *amb_publish_create(struct amb_loop *loop, struct amb_state *st,
				       const struct amb_bpf *b)
{
	struct amb_publish *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->svcs = amb_publish_svcs_create(st, b, row_of, p);
	if (!p->svcs) {
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
	free(p->addrs.v);
	free(p);
}
