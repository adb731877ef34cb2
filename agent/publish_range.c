// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Ranges, compared as sorted lists: those that stand in the map and those that should. A trie
 * cannot be asked for a row of its own, only for the longest that matches.
 */
#include "publish_range.h"

#include "kernel/rows.h"
#include "mesh/state.h"
#include "publish_svc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct range {
	struct amb_cidr_key key;
	struct amb_cidr_row row;
};

struct ranges {
	struct range *v; /* sorted by key */
	size_t n, cap;
};

struct amb_publish_ranges {
	struct amb_state *st;
	const struct amb_bpf *b;
	struct ranges now, before; /* before: of the change under way, else none */
	bool failed; /* out of memory: now is not all */
};

static bool add(struct amb_publish_ranges *r, const struct amb_vip *vip, uint32_t flags)
{
	const struct amb_addr net = amb_addr_mask(&vip->addr, vip->bits);
	struct ranges *to = &r->now;

	if (to->n == to->cap) {
		size_t cap = to->cap ? to->cap * 2 : 16;
		struct range *v = reallocarray(to->v, cap, sizeof(*v));

		if (!v)
			return false;
		to->v = v;
		to->cap = cap;
	}
	/* Ranges that overlap are ranked by more than length: the agent decides. */
	to->v[to->n++] = (struct range){
		.key = { .bits = vip->bits + (amb_addr_is_v4(&net) ? 96 : 0),
			 .addr = amb_rows_addr(&net) },
		.row = { .flags = flags | AMB_ADDR_AGENT },
	};
	return true;
}

static bool add_those_of(void *ctx, const struct amb_service *s)
{
	struct amb_publish_ranges *r = ctx;
	uint32_t i;

	for (i = 0; i < s->nvips && !r->failed; i++) {
		if (s->vips[i].network == amb_state_network(r->st) &&
		    !amb_state_vip_is_host(&s->vips[i]))
			r->failed = !add(r, &s->vips[i], amb_publish_svcs_flags(s));
	}
	return !r->failed;
}

static int range_cmp(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return memcmp(&x->key, &y->key, sizeof(x->key));
}

static const struct range *find(const struct ranges *in, const struct amb_cidr_key *key)
{
	const struct range what = { .key = *key };

	return in->n ? bsearch(&what, in->v, in->n, sizeof(in->v[0]), range_cmp) : NULL;
}

/* Of several that have one range one row remains, which says what all of them do. */
static void merge(struct ranges *r)
{
	size_t i, n = 0;

	if (!r->n)
		return;
	qsort(r->v, r->n, sizeof(r->v[0]), range_cmp);
	for (i = 1; i < r->n; i++) {
		if (range_cmp(&r->v[n], &r->v[i]))
			r->v[++n] = r->v[i];
		else
			r->v[n].row.flags |= r->v[i].row.flags;
	}
	r->n = n + 1;
}

int amb_publish_ranges_begin(struct amb_publish_ranges *r)
{
	r->before = r->now;
	r->now = (struct ranges){ 0 };
	r->failed = false;
	amb_state_each_service(r->st, add_those_of, r);
	if (r->failed) {
		/* What stands there stays. */
		free(r->now.v);
		r->now = r->before;
		r->before = (struct ranges){ 0 };
		return AMB_PUBLISH_RANGE_MISSING | AMB_PUBLISH_RANGE_AGAIN;
	}
	merge(&r->now);
	return 0;
}

bool amb_publish_ranges_any(const struct amb_publish_ranges *r)
{
	return r->now.n || r->before.n;
}

/* There is room when others go; for memory nobody tells. */
static int write_one(const struct amb_publish_ranges *r, const struct range *range)
{
	int err = amb_rows_put(r->b, AMB_BPF_CIDR, &range->key, &range->row);

	if (!err)
		return 0;
	return AMB_PUBLISH_RANGE_MISSING |
	       (err == -ENOSPC || err == -E2BIG ? 0 : AMB_PUBLISH_RANGE_AGAIN);
}

int amb_publish_ranges_write(struct amb_publish_ranges *r)
{
	size_t i, n = 0;
	int ret = 0, one;

	for (i = 0; !r->failed && i < r->now.n; i++) {
		const struct range *range = &r->now.v[i], *is = find(&r->before, &range->key);

		one = is && is->row.flags == range->row.flags ? 0 : write_one(r, range);
		ret |= one;
		/* Of one that is not written the row before goes, too. */
		if (!one)
			r->now.v[n++] = *range;
	}
	if (!r->failed)
		r->now.n = n;
	return ret;
}

static int take_away(const struct amb_publish_ranges *r, const struct amb_cidr_key *key)
{
	return amb_rows_del(r->b, AMB_BPF_CIDR, key) ? AMB_PUBLISH_RANGE_AGAIN :
						       AMB_PUBLISH_RANGE_ROOM;
}

int amb_publish_ranges_end(struct amb_publish_ranges *r)
{
	int ret = 0;
	size_t i;

	for (i = 0; i < r->before.n; i++) {
		if (!find(&r->now, &r->before.v[i].key))
			ret |= take_away(r, &r->before.v[i].key);
	}
	free(r->before.v);
	r->before = (struct ranges){ 0 };
	return ret;
}

static bool is_wanted(void *ctx, const void *key)
{
	return find(ctx, key);
}

int amb_publish_ranges_sweep(struct amb_publish_ranges *r)
{
	long n = amb_rows_sweep(r->b, AMB_BPF_CIDR, is_wanted, &r->now);

	return n < 0 ? AMB_PUBLISH_RANGE_AGAIN : n ? AMB_PUBLISH_RANGE_ROOM : 0;
}

struct amb_publish_ranges *amb_publish_ranges_create(struct amb_state *st, const struct amb_bpf *b)
{
	struct amb_publish_ranges *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->st = st;
	r->b = b;
	return r;
}

void amb_publish_ranges_destroy(struct amb_publish_ranges *r)
{
	if (!r)
		return;
	free(r->now.v);
	free(r->before.v);
	free(r);
}
