// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Load balancing: endpoints are ranked by how near they are, as the service prefers, and one
 * of the best is drawn, weighted by capacity. One pass, nothing allocated.
 */
#include "lb.h"

#include "base/util.h"

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

const struct amb_workload *amb_lb_pick(const struct amb_svc *svc, const struct amb_workload *src,
				       uint16_t port, enum amb_lb_purpose purpose, uint16_t *target)
{
	struct pick p = { .svc = svc, .src = src, .purpose = purpose, .port = port };
	const struct amb_workload *w, *best = NULL;
	struct amb_trie_iter it;
	uint64_t total = 0;
	int best_rank = 0;

	p.target = amb_table_target(svc->service->ports, port, &p.known);
	if (!p.known && purpose == AMB_LB_TRAFFIC)
		return NULL;
	for (w = amb_trie_first(&it, &svc->endpoints); w; w = amb_trie_next(&it)) {
		int r = rank(svc->service, src, w);

		if (r < best_rank || !w->capacity || !reachable(&p, w))
			continue;
		if (!p.known && !w->app_tunnel)
			continue;
		if (!target_port(&p, w))
			continue;
		if (r > best_rank) {
			best_rank = r;
			total = 0;
		}
		/* The n-th comes with its share of all so far: in the end each has its share. */
		total += w->capacity;
		if (total == w->capacity || amb_util_random() % total < w->capacity)
			best = w;
	}
	if (best)
		*target = target_port(&p, best);
	return best;
}
