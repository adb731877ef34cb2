// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Services that the kernel can resolve by itself: all endpoints that a pod of this node would
 * draw from are captured pods of this node. All pods of a node are in one place, so one of them
 * stands for all.
 *
 * A service's weights become slots, so that the kernel draws with one look-up. A change gets a
 * new number: its slots are written before the service's row names them, and the old ones go
 * when nobody can find them any more.
 */
#include "publish_svc.h"

#include "base/util.h"
#include "kernel/rows.h"
#include "mesh/decide.h"
#include "mesh/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct svc {
	struct svc *next;
	amb_str name; /* of the service, a reference */
	struct amb_svc_key key;
	uint32_t number, n;
	bool seen; /* in this pass */
	struct amb_end_row slots[];
};

struct amb_publish_svcs {
	struct amb_state *st;
	const struct amb_bpf *b;
	amb_publish_row_fn *row_of;
	void *ctx;
	const struct amb_workload *src; /* of this pass */
	struct svc *first;
	uint32_t numbers;
	bool wanting; /* one found no room */
	bool again; /* or no memory */
	bool dropped;
};

struct draw {
	const struct amb_publish_svcs *s;
	uint32_t n;
	struct {
		struct amb_end_row row;
		uint32_t weight;
	} ends[AMB_PUBLISH_SLOTS];
};

static bool add_end(void *ctx, const struct amb_workload *w, const struct amb_addr *addr,
		    uint16_t port)
{
	struct draw *d = ctx;
	struct amb_addr_row row;

	if (!addr || d->n == AMB_PUBLISH_SLOTS)
		return false;
	/* A row with its address is of another then. */
	if (w->host_network || w->network != amb_state_network(d->s->st))
		return false;
	d->ends[d->n].row = (struct amb_end_row){ .addr = amb_rows_addr(addr), .port = port };
	d->ends[d->n].weight = w->capacity;
	if (!d->s->row_of(d->s->ctx, &d->ends[d->n].row.addr, &row) || !row.netns ||
	    row.flags & AMB_ADDR_AGENT)
		return false;
	d->n++;
	return true;
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t c = a % b;

		a = b;
		b = c;
	}
	return a;
}

/* Slots of the endpoints drawn, in @to; 0 when there are none, or too many. */
static uint32_t fill_slots(const struct draw *d, struct amb_end_row *to)
{
	uint32_t unit = 0, i, k, n = 0;
	uint64_t total = 0;

	for (i = 0; i < d->n; i++)
		unit = gcd(d->ends[i].weight, unit);
	for (i = 0; i < d->n; i++)
		total += d->ends[i].weight / unit;
	if (total > AMB_PUBLISH_SLOTS)
		return 0;
	for (i = 0; i < d->n; i++) {
		for (k = d->ends[i].weight / unit; k; k--)
			to[n++] = d->ends[i].row;
	}
	return n;
}

static struct svc **find(struct amb_publish_svcs *s, const struct amb_svc_key *key)
{
	struct svc **at = &s->first;

	while (*at && memcmp(&(*at)->key, key, sizeof(*key)))
		at = &(*at)->next;
	return at;
}

static void svc_free(struct svc *svc)
{
	amb_str_put(svc->name);
	free(svc);
}

static void remove_slots(const struct amb_publish_svcs *s, const struct svc *svc)
{
	struct amb_end_key key = { .number = svc->number };

	for (key.slot = 0; key.slot < svc->n; key.slot++)
		(void)amb_rows_del(s->b, AMB_BPF_END, &key);
}

static void drop(struct amb_publish_svcs *s, struct svc **at)
{
	struct svc *svc = *at;

	*at = svc->next;
	s->dropped = true;
	(void)amb_rows_del(s->b, AMB_BPF_SVC, &svc->key);
	remove_slots(s, svc);
	svc_free(svc);
}

static int write_svc(struct amb_publish_svcs *s, const struct svc *svc)
{
	struct amb_svc_row row = { .number = svc->number, .slots = svc->n };
	struct amb_end_key key = { .number = svc->number };
	int err = 0;

	for (key.slot = 0; key.slot < svc->n && !err; key.slot++)
		err = amb_rows_put(s->b, AMB_BPF_END, &key, &svc->slots[key.slot]);
	return err ?: amb_rows_put(s->b, AMB_BPF_SVC, &svc->key, &row);
}

/* Without room, or memory, the service is the agent's as it was. */
static void put(struct amb_publish_svcs *s, amb_str name, const struct amb_svc_key *key,
		const struct amb_end_row *slots, uint32_t n)
{
	struct svc **at = find(s, key), *old = *at, *svc;
	int err;

	if (old && old->name == name && old->n == n &&
	    !memcmp(old->slots, slots, n * sizeof(*slots))) {
		old->seen = true;
		return;
	}
	svc = malloc(sizeof(*svc) + n * sizeof(*slots));
	if (!svc) {
		s->again = true;
		return;
	}
	*svc = (struct svc){
		.name = amb_str_get(name),
		.key = *key,
		.number = ++s->numbers,
		.n = n,
		.seen = true,
	};
	memcpy(svc->slots, slots, n * sizeof(*slots));
	err = write_svc(s, svc);
	if (err) {
		s->wanting |= err == -E2BIG;
		s->again |= err != -E2BIG;
		remove_slots(s, svc);
		svc_free(svc);
		return;
	}
	if (old) {
		remove_slots(s, old);
		svc->next = old->next;
		*at = svc;
		svc_free(old);
	} else {
		svc->next = s->first;
		s->first = svc;
	}
}

static void service_port(struct amb_publish_svcs *s, const struct amb_service *svc,
			 const struct amb_vip *vip, uint16_t port)
{
	struct amb_svc_key key = { .addr = amb_rows_addr(&vip->addr), .port = port };
	struct amb_end_row slots[AMB_PUBLISH_SLOTS];
	struct draw d = { .s = s };
	uint32_t n = 0;

	if (amb_decide_endpoints(s->st, s->src, svc, &vip->addr, port, add_end, &d) && d.n)
		n = fill_slots(&d, slots);
	if (n)
		put(s, svc->key, &key, slots, n);
}

static bool service(void *ctx, const struct amb_service *svc)
{
	struct amb_publish_svcs *s = ctx;
	struct amb_addr_row row;
	struct amb_in6 addr;
	uint32_t i, k;

	if (!svc->ports || svc->mode == AMB_LB_PASSTHROUGH)
		return true;
	for (i = 0; i < svc->nvips; i++) {
		/* The row is of the own network's. */
		if (svc->vips[i].network != amb_state_network(s->st))
			continue;
		addr = amb_rows_addr(&svc->vips[i].addr);
		if (!s->row_of(s->ctx, &addr, &row) || row.flags != AMB_ADDR_SERVICE)
			continue;
		for (k = 0; k < svc->ports->n; k++)
			service_port(s, svc, &svc->vips[i], svc->ports->p[k].service);
	}
	return true;
}

static void drop_unseen(struct amb_publish_svcs *s)
{
	struct svc **at = &s->first;

	while (*at) {
		if ((*at)->seen)
			at = &(*at)->next;
		else
			drop(s, at);
	}
}

/* Takes away what was not seen. True: there may be room now for one that found none. */
static bool finish(struct amb_publish_svcs *s)
{
	bool again;

	s->dropped = false;
	drop_unseen(s);
	again = s->again || (s->wanting && s->dropped);
	s->again = false;
	return again;
}

bool amb_publish_svcs_update(struct amb_publish_svcs *s, const struct amb_workload *src)
{
	struct svc *svc;

	s->wanting = false;
	for (svc = s->first; svc; svc = svc->next)
		svc->seen = false;
	s->src = src;
	if (src)
		amb_state_each_service(s->st, service, s);
	return finish(s);
}

bool amb_publish_svcs_changed(struct amb_publish_svcs *s, const struct amb_workload *src,
			      amb_str name)
{
	const struct amb_service *is = src ? amb_state_service_by_key(s->st, name) : NULL;
	struct svc *svc;

	for (svc = s->first; svc; svc = svc->next)
		svc->seen = svc->name != name;
	s->src = src;
	if (is)
		service(s, is);
	return finish(s);
}

uint32_t amb_publish_svcs_flags(const struct amb_service *s)
{
	if (s->waypoint.set || s->nwaypoints || s->namespace_only)
		return AMB_ADDR_SERVICE | AMB_ADDR_AGENT;
	return AMB_ADDR_SERVICE | (s->mode == AMB_LB_PASSTHROUGH ? AMB_ADDR_PASS : 0);
}

static bool is_wanted(void *ctx, const void *key)
{
	return *find(ctx, key);
}

static bool is_wanted_end(void *ctx, const void *key)
{
	const struct amb_publish_svcs *s = ctx;
	const struct amb_end_key *end = key;
	const struct svc *svc;

	for (svc = s->first; svc && svc->number != end->number; svc = svc->next)
		;
	return svc;
}

void amb_publish_svcs_sweep(struct amb_publish_svcs *s)
{
	(void)amb_rows_sweep(s->b, AMB_BPF_SVC, is_wanted, s);
	(void)amb_rows_sweep(s->b, AMB_BPF_END, is_wanted_end, s);
}

struct amb_publish_svcs *amb_publish_svcs_create(struct amb_state *st, const struct amb_bpf *b,
						 amb_publish_row_fn *row_of, void *ctx)
{
	struct amb_publish_svcs *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->st = st;
	s->b = b;
	s->row_of = row_of;
	s->ctx = ctx;
	/* Numbers of an agent before must not be taken for ours. */
	s->numbers = amb_util_random();
	return s;
}

void amb_publish_svcs_destroy(struct amb_publish_svcs *s)
{
	if (!s)
		return;
	while (s->first) {
		struct svc *svc = s->first;

		s->first = svc->next;
		svc_free(svc);
	}
	free(s);
}
