// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Load balancing: endpoints are ranked by how near they are, as the service prefers, and one
 * of the best is drawn, weighted by capacity.
 *
 * Few endpoints are looked at one by one. What a large service offers to sources of one
 * place is found out once for each version of its entry and kept there, so that most
 * decisions are a draw and a binary search. (All sources of a node are in one place, so
 * there is hardly more than one such list for each port.)
 */
#include "lb.h"

#include "base/util.h"

#include <stdlib.h>
#include <string.h>

#define SMALL 8 /* endpoints that are looked at one by one */
#define CACHE_MAX 4 /* lists kept for a service; others are looked at one by one */
#define PLACES 6

struct amb_lb_cache {
	struct amb_lb_cache *next;
	amb_str place[PLACES]; /* of the sources; references */
	uint16_t port;
	enum amb_lb_purpose purpose;
	size_t n;
	struct {
		const struct amb_workload *w; /* borrowed: the entry's version has it */
		uint64_t until; /* sum of the capacities up to here */
	} ends[];
};

struct pick {
	const struct amb_svc *svc;
	const struct amb_workload *src;
	enum amb_lb_purpose purpose;
	uint16_t port;
	bool known; /* the service has the port */
	uint16_t target; /* the service's own target port, 0 = named or unknown */
};

static bool same(const struct amb_workload *a, const struct amb_workload *b, enum amb_scope scope)
{
	switch (scope) {
	case AMB_SCOPE_REGION:
		return a->region == b->region;
	case AMB_SCOPE_ZONE:
		return a->zone == b->zone;
	case AMB_SCOPE_SUBZONE:
		return a->subzone == b->subzone;
	case AMB_SCOPE_NODE:
		return a->node == b->node;
	case AMB_SCOPE_CLUSTER:
		return a->cluster == b->cluster;
	case AMB_SCOPE_NETWORK:
		return a->network == b->network;
	default:
		return false;
	}
}

/* Nearness by the service's preferences; negative: not to be used. */
static int rank(const struct amb_service *s, const struct amb_workload *src,
		const struct amb_workload *w)
{
	uint32_t i;
	int n = 0;

	if (s->mode != AMB_LB_STRICT && s->mode != AMB_LB_FAILOVER)
		return 0;
	for (i = 0; i < s->nscopes; i++) {
		bool network = !i && s->scopes[i] == AMB_SCOPE_NETWORK;

		if (same(src, w, s->scopes[i])) {
			/* The own network counts for more than all else together. */
			n += network ? (int)s->nscopes : 1;
			continue;
		}
		if (s->mode == AMB_LB_STRICT)
			return -1;
		if (!network)
			break;
	}
	return n;
}

static uint16_t target_port(const struct pick *p, const struct amb_workload *w)
{
	uint16_t port = amb_table_target(amb_table_ports(w, p->svc->key), p->port, NULL);

	if (port)
		return port;
	if (p->target)
		return p->target;
	return p->purpose == AMB_LB_WAYPOINT && w->app_tunnel ? p->port : 0;
}

static bool reachable(const struct pick *p, const struct amb_workload *w)
{
	return w->naddrs || *w->hostname ||
	       (w->network != p->src->network && w->network_gateway.set);
}

/* True when @w can take the connection; its nearness through @r. */
static bool eligible(const struct pick *p, const struct amb_workload *w, int *r)
{
	*r = rank(p->svc->service, p->src, w);
	return *r >= 0 && w->capacity && reachable(p, w) && (p->known || w->app_tunnel) &&
	       target_port(p, w);
}

static const struct amb_workload *draw_each(const struct pick *p)
{
	const struct amb_workload *w, *best = NULL;
	struct amb_trie_iter it;
	uint64_t total = 0;
	int best_rank = 0, r;

	for (w = amb_trie_first(&it, &p->svc->endpoints); w; w = amb_trie_next(&it)) {
		if (!eligible(p, w, &r) || r < best_rank)
			continue;
		if (r > best_rank)
			total = 0;
		best_rank = r;
		/* The n-th comes with its share of all so far: in the end each has its share. */
		total += w->capacity;
		if (total == w->capacity || amb_util_random() % total < w->capacity)
			best = w;
	}
	return best;
}

static void places(const struct amb_workload *w, amb_str *to)
{
	const amb_str from[PLACES] = { w->network, w->region,  w->zone,
				       w->subzone, w->cluster, w->node };

	memcpy(to, from, sizeof(from));
}

static struct amb_lb_cache *cache_build(const struct pick *p)
{
	struct amb_lb_cache *c;
	struct amb_trie_iter it;
	struct amb_workload *w;
	uint64_t total = 0;
	int best_rank = 0, r, i;

	c = malloc(sizeof(*c) + p->svc->endpoints.n * sizeof(c->ends[0]));
	if (!c)
		return NULL;
	c->n = 0;
	c->port = p->port;
	c->purpose = p->purpose;
	places(p->src, c->place);
	for (i = 0; i < PLACES; i++)
		amb_str_get(c->place[i]);
	for (w = amb_trie_first(&it, &p->svc->endpoints); w; w = amb_trie_next(&it)) {
		if (!eligible(p, w, &r) || r < best_rank)
			continue;
		if (r > best_rank)
			total = c->n = 0;
		best_rank = r;
		total += w->capacity;
		c->ends[c->n].w = w;
		c->ends[c->n++].until = total;
	}
	return c;
}

void amb_lb_cache_free(struct amb_lb_cache *c)
{
	struct amb_lb_cache *next;
	int i;

	for (; c; c = next) {
		next = c->next;
		for (i = 0; i < PLACES; i++)
			amb_str_put(c->place[i]);
		free(c);
	}
}

/* The list for this pick, made and left for others when there is none; NULL: go without. */
static const struct amb_lb_cache *cache_get(const struct pick *p)
{
	struct amb_lb_cache **at = (struct amb_lb_cache **)&p->svc->cache;
	struct amb_lb_cache *first = __atomic_load_n(at, __ATOMIC_ACQUIRE), *c;
	amb_str place[PLACES];
	int n = 0;

	places(p->src, place);
	for (c = first; c; c = c->next, n++) {
		if (c->port == p->port && c->purpose == p->purpose &&
		    !memcmp(c->place, place, sizeof(place)))
			return c;
	}
	if (n >= CACHE_MAX)
		return NULL;
	c = cache_build(p);
	if (!c)
		return NULL;
	/* Somebody was quicker: perhaps with the same list, so look again next time. */
	c->next = first;
	if (__atomic_compare_exchange_n(at, &first, c, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		return c;
	c->next = NULL;
	amb_lb_cache_free(c);
	return NULL;
}

static const struct amb_workload *draw_cached(const struct amb_lb_cache *c)
{
	size_t lo = 0, hi = c->n;
	uint64_t x;

	if (!c->n)
		return NULL;
	x = amb_util_random() % c->ends[c->n - 1].until;
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->ends[mid - 1].until <= x)
			lo = mid;
		else
			hi = mid;
	}
	return c->ends[lo].w;
}

const struct amb_workload *amb_lb_pick(const struct amb_svc *svc, const struct amb_workload *src,
				       uint16_t port, enum amb_lb_purpose purpose, uint16_t *target)
{
	struct pick p = { .svc = svc, .src = src, .purpose = purpose, .port = port };
	const struct amb_lb_cache *c = NULL;
	const struct amb_workload *w;

	p.target = amb_table_target(svc->service->ports, port, &p.known);
	if (!p.known && purpose == AMB_LB_TRAFFIC)
		return NULL;
	if (svc->endpoints.n > SMALL)
		c = cache_get(&p);
	w = c ? draw_cached(c) : draw_each(&p);
	if (w)
		*target = target_port(&p, w);
	return w;
}

bool amb_lb_each(const struct amb_svc *svc, const struct amb_workload *src, uint16_t port,
		 bool (*fn)(void *ctx, const struct amb_workload *w, uint16_t target), void *ctx)
{
	struct pick p = { .svc = svc, .src = src, .purpose = AMB_LB_TRAFFIC, .port = port };
	const struct amb_workload *w;
	struct amb_trie_iter it;
	int best = -1, r;

	p.target = amb_table_target(svc->service->ports, port, &p.known);
	if (!p.known)
		return true;
	for (w = amb_trie_first(&it, &svc->endpoints); w; w = amb_trie_next(&it)) {
		if (eligible(&p, w, &r) && r > best)
			best = r;
	}
	for (w = amb_trie_first(&it, &svc->endpoints); w; w = amb_trie_next(&it)) {
		if (eligible(&p, w, &r) && r == best && !fn(ctx, w, target_port(&p, w)))
			return false;
	}
	return true;
}
