// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is wrong only beside the rest, and in a cluster could not be: two pods with one address or
 * in one network namespace; and a label whose value nobody reads.
 */
#include "manifest_compile.h"

#include <stdlib.h>
#include <string.h>

#define LABEL_MODE "istio.io/dataplane-mode"

/* A pod and what should be its own. */
struct claim {
	const struct amb_mref *ref; /* rows of one table, so their order is that of the files */
	const struct amb_addr *addr;
	const char *node, *netns;
};

static int by_ref(const struct claim *x, const struct claim *y)
{
	return (x->ref > y->ref) - (x->ref < y->ref);
}

static int by_addr(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int c = memcmp(x->addr, y->addr, sizeof(*x->addr));

	return c ? c : by_ref(x, y);
}

static int by_netns(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int c = strcmp(x->node, y->node);

	if (!c)
		c = strcmp(x->netns, y->netns);
	return c ? c : by_ref(x, y);
}

static bool is_pod(const struct amb_mobj *o)
{
	const struct amb_mpod *pod = o->spec;

	return o->kind == AMB_MOBJ_POD && !pod->finished && !pod->host_network;
}

/* Whoever comes first may keep it; the others are told whose it is. */
static void tell_addrs(struct amb_mbuild *b, struct claim *c, uint32_t n)
{
	char text[AMB_ADDR_STRLEN];
	uint32_t i, first = 0;

	qsort(c, n, sizeof(*c), by_addr);
	for (i = 1; i < n; i++) {
		const struct amb_mref *of = c[first].ref;

		if (!amb_addr_eq(c[i].addr, c[first].addr)) {
			first = i;
			continue;
		}
		if (c[i].ref != of)
			amb_mbuild_report(b, c[i].ref, false, "status.podIP",
					  "%s is the address of Pod %s/%s too (%s:%u)",
					  amb_addr_format(c[i].addr, text), of->obj->ns,
					  of->obj->name, of->file, of->obj->line);
	}
}

static void tell_netns(struct amb_mbuild *b, struct claim *c, uint32_t n)
{
	uint32_t i, first = 0;

	qsort(c, n, sizeof(*c), by_netns);
	for (i = 1; i < n; i++) {
		const struct amb_mref *of = c[first].ref;

		if (strcmp(c[i].node, c[first].node) || strcmp(c[i].netns, c[first].netns)) {
			first = i;
			continue;
		}
		amb_mbuild_report(
			b, c[i].ref, true, "metadata.annotations[" AMB_MANIFEST_NETNS "]",
			"%s is the network namespace of Pod %s/%s too (%s:%u): which of the "
			"two speaks could not be told",
			c[i].netns, of->obj->ns, of->obj->name, of->file, of->obj->line);
	}
}

static void check_pods(struct amb_mbuild *b)
{
	uint32_t i, j, n = 0, naddrs = 0, nnetns = 0;
	struct claim *addrs, *netns;

	for (i = 0; i < b->t->n; i++) {
		const struct amb_mpod *pod = b->t->rows[i].obj->spec;

		if (is_pod(b->t->rows[i].obj))
			n += pod->nips + 1;
	}
	addrs = amb_mbuild_alloc(b, n * sizeof(*addrs));
	netns = amb_mbuild_alloc(b, n * sizeof(*netns));
	for (i = 0; addrs && netns && i < b->t->n; i++) {
		const struct amb_mref *ref = &b->t->rows[i];
		const struct amb_mpod *pod = ref->obj->spec;

		if (!is_pod(ref->obj))
			continue;
		for (j = 0; j < pod->nips; j++)
			addrs[naddrs++] = (struct claim){ .ref = ref, .addr = &pod->ips[j] };
		if (pod->netns && amb_mcompile_enrolled(b->t, ref->obj))
			netns[nnetns++] = (struct claim){ ref, NULL, pod->node, pod->netns };
	}
	if (naddrs)
		tell_addrs(b, addrs, naddrs);
	if (nnetns)
		tell_netns(b, netns, nnetns);
}

static void check_mode(struct amb_mbuild *b, const struct amb_mref *ref)
{
	const char *mode = amb_kvs_get(&ref->obj->labels, LABEL_MODE);

	if (mode && strcmp(mode, "ambient") && strcmp(mode, "none"))
		amb_mbuild_report(
			b, ref, false, "metadata.labels[" LABEL_MODE "]",
			"\"%.64s\" is neither ambient nor none, so it takes nobody into the "
			"mesh",
			mode);
}

void amb_mbuild_check(struct amb_mbuild *b)
{
	uint32_t i;

	for (i = 0; i < b->t->n; i++) {
		enum amb_mobj_kind kind = b->t->rows[i].obj->kind;

		if (kind == AMB_MOBJ_NAMESPACE || kind == AMB_MOBJ_POD)
			check_mode(b, &b->t->rows[i]);
	}
	check_pods(b);
}
