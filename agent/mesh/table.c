// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tables: look-ups, and the changes that an update makes to the next version.
 *
 * Buckets and service entries borrow their key strings. That holds because strings are
 * interned: every member of the bucket has the same string object, so it lives as long as
 * there is one, and a member that goes is freed a grace period later.
 */
#include "table.h"

#include "base/cleanup.h"
#include "base/util.h"
#include "lb.h"
#include "policy_set.h"
#include "str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t workload_hash(const void *item)
{
	const struct amb_workload *w = item;

	return amb_str_hash(w->uid);
}

static bool workload_eq(const void *item, const void *key)
{
	const struct amb_workload *w = item;

	return w->uid == key || !strcmp(w->uid, key);
}

static const struct amb_trie_ops workload_ops = { workload_hash, workload_eq };

static uint32_t svc_hash(const void *item)
{
	const struct amb_svc *svc = item;

	return amb_str_hash(svc->key);
}

static bool svc_eq(const void *item, const void *key)
{
	const struct amb_svc *svc = item;

	return svc->key == key || !strcmp(svc->key, key);
}

static const struct amb_trie_ops svc_ops = { svc_hash, svc_eq };

static uint32_t bucket_hash(const void *item)
{
	const struct amb_bucket *b = item;

	return b->key.hash;
}

static bool has_addr(enum amb_index_kind kind)
{
	return kind <= AMB_INDEX_CIDR;
}

static bool bucket_eq(const void *item, const void *key)
{
	const struct amb_bucket *b = item;
	const struct amb_index_key *k = key;

	if (b->key.hash != k->hash || b->key.kind != k->kind || b->key.bits != k->bits)
		return false;
	if (b->key.a != k->a && strcmp(b->key.a, k->a))
		return false;
	if (has_addr(k->kind))
		return amb_addr_eq(&b->key.addr, &k->addr);
	return b->key.b == k->b || !strcmp(b->key.b, k->b);
}

static const struct amb_trie_ops bucket_ops = { bucket_hash, bucket_eq };

static uint32_t text_hash(const char *s)
{
	return amb_str_hash_text(s, strlen(s));
}

static struct amb_index_key addr_key(enum amb_index_kind kind, const char *network,
				     const struct amb_addr *addr, uint8_t bits)
{
	struct amb_index_key k = { .kind = kind, .bits = bits, .a = network, .addr = *addr };

	k.hash = amb_addr_hash(addr, amb_util_seed() + kind * 256 + bits) ^ text_hash(network);
	return k;
}

static struct amb_index_key text_key(enum amb_index_kind kind, const char *a, const char *b)
{
	struct amb_index_key k = { .kind = kind, .a = a, .b = b };

	k.hash = (text_hash(a) * 31 + text_hash(b)) * 31 + kind;
	return k;
}

static const struct amb_bucket *bucket_find(const struct amb_root *r, const struct amb_index_key *k)
{
	return amb_trie_find(&r->index, &bucket_ops, k->hash, k);
}

const struct amb_workload *amb_table_workload(const struct amb_root *r, const char *uid)
{
	return amb_trie_find(&r->workloads, &workload_ops, text_hash(uid), uid);
}

const struct amb_svc *amb_table_svc(const struct amb_root *r, const char *key)
{
	return amb_trie_find(&r->services, &svc_ops, text_hash(key), key);
}

const struct amb_svc *amb_table_svc_host(const struct amb_root *r, const char *ns,
					 const char *hostname)
{
	char key[AMB_RESOURCE_TEXT * 2];
	int n = snprintf(key, sizeof(key), "%s/%s", ns, hostname);

	if (n < 0 || n >= (int)sizeof(key))
		return NULL;
	return amb_table_svc(r, key);
}

const struct amb_bucket *amb_table_bucket(const struct amb_root *r, enum amb_index_kind kind,
					  const char *a, const char *b)
{
	struct amb_index_key k = text_key(kind, a, b);

	return bucket_find(r, &k);
}

const struct amb_bucket *amb_table_vips(const struct amb_root *r, const char *network,
					const struct amb_addr *addr)
{
	struct amb_index_key k = addr_key(AMB_INDEX_VIP, network, addr, 0);

	return bucket_find(r, &k);
}

const struct amb_bucket *amb_table_addrs(const struct amb_root *r, const char *network,
					 const struct amb_addr *addr)
{
	struct amb_index_key k = addr_key(AMB_INDEX_ADDR, network, addr, 0);

	return bucket_find(r, &k);
}

/* Of several workloads with one address: HBONE first, then Kubernetes pods, then the first. */
const struct amb_workload *amb_table_addr(const struct amb_root *r, const char *network,
					  const struct amb_addr *addr)
{
	const struct amb_bucket *b = amb_table_addrs(r, network, addr);
	const struct amb_workload *best = NULL;
	int best_rank = -1;
	uint32_t i;

	if (!b)
		return NULL;
	if (b->n == 1)
		return b->p[0];
	for (i = 0; i < b->n; i++) {
		const struct amb_workload *w = b->p[i];
		int rank = (w->tunnel == AMB_TUNNEL_HBONE) * 2 + !!strstr(w->uid, "//Pod/");

		if (rank > best_rank) {
			best = w;
			best_rank = rank;
		}
	}
	return best;
}

const struct amb_workload *amb_table_local(const struct amb_root *r, const char *ns,
					   const char *name, const char *sa)
{
	const struct amb_bucket *b = amb_table_bucket(r, AMB_INDEX_LOCAL, ns, name);
	uint32_t i;

	for (i = 0; b && i < b->n; i++) {
		const struct amb_workload *w = b->p[i];

		if (!strcmp(w->identity->sa, sa))
			return w;
	}
	return NULL;
}

static bool visible(const struct amb_service *s, const char *ns)
{
	return !s->namespace_only || !ns || !strcmp(s->ns, ns);
}

/* Best service of one prefix by same namespace, prefix length, canonical; then the first. */
static void rank_cidr(const struct amb_root *r, const char *network, const struct amb_addr *addr,
		      unsigned int bits, const char *ns, const struct amb_service **best,
		      unsigned int *best_rank)
{
	struct amb_addr net = amb_addr_mask(addr, bits);
	struct amb_index_key k = addr_key(AMB_INDEX_CIDR, network, &net, bits);
	const struct amb_bucket *b = bucket_find(r, &k);
	uint32_t i;

	for (i = 0; b && i < b->n; i++) {
		const struct amb_service *s = b->p[i];
		unsigned int rank = bits * 2 + s->canonical + 1;

		if (!visible(s, ns))
			continue;
		if (ns && !strcmp(s->ns, ns))
			rank += 1024;
		if (rank > *best_rank) {
			*best = s;
			*best_rank = rank;
		}
	}
}

const struct amb_service *amb_table_vip(const struct amb_root *r, const char *network,
					const struct amb_addr *addr, const char *ns)
{
	const struct amb_bucket *b = amb_table_vips(r, network, addr);
	const struct amb_service *best = NULL;
	bool v4 = amb_addr_is_v4(addr);
	unsigned int best_rank = 0, bits;
	uint32_t i;

	for (i = 0; b && i < b->n; i++) {
		const struct amb_service *s = b->p[i];
		unsigned int rank = 1 + s->canonical;

		if (!visible(s, ns))
			continue;
		if (ns && !strcmp(s->ns, ns))
			rank += 2;
		if (rank > best_rank) {
			best = s;
			best_rank = rank;
		}
	}
	if (best)
		return best;
	for (bits = 0; bits < (v4 ? AMB_TABLE_V4_BITS : AMB_TABLE_V6_BITS); bits++) {
		if (v4 ? r->cidr4[bits] : r->cidr6[bits])
			rank_cidr(r, network, addr, bits, ns, &best, &best_rank);
	}
	return best;
}

const struct amb_ports *amb_table_ports(const struct amb_workload *w, amb_str key)
{
	uint32_t i;

	for (i = 0; i < w->nservices; i++) {
		if (w->services[i].service == key)
			return w->services[i].ports;
	}
	return NULL;
}

uint16_t amb_table_target(const struct amb_ports *ports, uint16_t port, bool *known)
{
	uint32_t lo = 0, hi = ports ? ports->n : 0;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (ports->p[mid].service == port) {
			if (known)
				*known = true;
			return ports->p[mid].target;
		}
		if (ports->p[mid].service < port)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (known)
		*known = false;
	return 0;
}

/* Replaces @b (NULL: none yet) under @k by a copy without @out and with @in. */
static int bucket_change(struct amb_txn *txn, struct amb_root *r, const struct amb_index_key *k,
			 const struct amb_bucket *b, const void *out, void *in)
{
	uint32_t n = b ? b->n : 0, i;
	struct amb_bucket *to;

	if (!in && n == 1) {
		if (amb_trie_del(txn, &r->index, &bucket_ops, k->hash, k, NULL))
			return -ENOMEM;
	} else {
		to = amb_txn_alloc(txn, sizeof(*to) + (n + 1) * sizeof(to->p[0]));
		if (!to)
			return -ENOMEM;
		to->txn = txn->id;
		to->n = 0;
		for (i = 0; i < n; i++) {
			if (b->p[i] != out)
				to->p[to->n++] = b->p[i];
		}
		if (in)
			to->p[to->n++] = in;
		to->key = *k;
		if (amb_trie_set(txn, &r->index, &bucket_ops, k->hash, k, to, NULL)) {
			free(to);
			return -ENOMEM;
		}
	}
	if (!b)
		return 0;
	if (b->txn == txn->id)
		free((void *)b);
	else
		amb_txn_retire(txn, (void *)b, free);
	return 0;
}

static bool bucket_has(const struct amb_bucket *b, const void *p)
{
	uint32_t i;

	for (i = 0; b && i < b->n; i++) {
		if (b->p[i] == p)
			return true;
	}
	return false;
}

static int index_add(struct amb_txn *txn, struct amb_root *r, struct amb_index_key k, void *p)
{
	const struct amb_bucket *b = bucket_find(r, &k);

	if (bucket_has(b, p))
		return 0;
	return bucket_change(txn, r, &k, b, NULL, p);
}

static int index_del(struct amb_txn *txn, struct amb_root *r, struct amb_index_key k, const void *p)
{
	const struct amb_bucket *b = bucket_find(r, &k);

	if (!bucket_has(b, p))
		return 0;
	return bucket_change(txn, r, &k, b, p, NULL);
}

typedef int index_fn(struct amb_txn *txn, struct amb_root *r, struct amb_index_key k, void *p);

static int index_del_any(struct amb_txn *txn, struct amb_root *r, struct amb_index_key k, void *p)
{
	return index_del(txn, r, k, p);
}

/* All keys of a workload, for adding and removing alike. */
static int index_workload(struct amb_txn *txn, struct amb_root *r, const struct amb_state *st,
			  const struct amb_workload *cw, index_fn *fn)
{
	struct amb_workload *w = (struct amb_workload *)cw;
	uint32_t i;
	int err = 0;

	/* A host-network pod has its node's addresses, which are not its own. */
	for (i = 0; i < w->naddrs && !w->host_network && !err; i++)
		err = fn(txn, r, addr_key(AMB_INDEX_ADDR, w->network, &w->addrs[i], 0), w);
	if (!err && w->node == st->node)
		err = fn(txn, r, text_key(AMB_INDEX_LOCAL, w->ns, w->name), w);
	if (!err && *w->hostname)
		err = fn(txn, r, text_key(AMB_INDEX_WL_HOST, w->hostname, ""), w);
	return err;
}

static int index_service(struct amb_txn *txn, struct amb_root *r, const struct amb_service *cs,
			 index_fn *fn, int count)
{
	struct amb_service *s = (struct amb_service *)cs;
	uint32_t i;
	int err;

	err = fn(txn, r, text_key(AMB_INDEX_SVC_HOST, s->hostname, ""), s);
	for (i = 0; i < s->nvips && !err; i++) {
		const struct amb_vip *v = &s->vips[i];
		struct amb_addr net;

		if (amb_state_vip_is_host(v)) {
			err = fn(txn, r, addr_key(AMB_INDEX_VIP, v->network, &v->addr, 0), s);
			continue;
		}
		net = amb_addr_mask(&v->addr, v->bits);
		(amb_addr_is_v4(&v->addr) ? r->cidr4 : r->cidr6)[v->bits] += count;
		err = fn(txn, r, addr_key(AMB_INDEX_CIDR, v->network, &net, v->bits), s);
	}
	return err;
}

static void svc_free(void *p)
{
	struct amb_svc *svc = p;

	amb_lb_cache_free(svc->cache);
	free(svc);
}

/* The service's entry as it may be changed; made, staged, when there is none yet. */
static struct amb_svc *svc_edit(struct amb_txn *txn, struct amb_root *r, amb_str key)
{
	struct amb_svc *svc = amb_trie_find(&r->services, &svc_ops, amb_str_hash(key), key);
	struct amb_svc *to;

	if (svc && svc->txn == txn->id)
		return svc;
	to = amb_txn_alloc(txn, sizeof(*to));
	if (!to)
		return NULL;
	/* Not the cache: readers may be writing it, and it is of the old version. */
	*to = (struct amb_svc){ .txn = txn->id, .key = key };
	if (svc) {
		to->service = svc->service;
		to->endpoints = svc->endpoints;
	}
	if (amb_trie_set(txn, &r->services, &svc_ops, amb_str_hash(key), key, to, NULL)) {
		free(to);
		return NULL;
	}
	if (svc)
		amb_txn_retire(txn, svc, svc_free);
	return to;
}

/* Drops an entry that has become empty; it is of this transaction. */
static int svc_trim(struct amb_txn *txn, struct amb_root *r, struct amb_svc *svc)
{
	if (svc->service || svc->endpoints.n)
		return 0;
	if (amb_trie_del(txn, &r->services, &svc_ops, amb_str_hash(svc->key), svc->key, NULL))
		return -ENOMEM;
	free(svc);
	return 0;
}

/* The filter is applied when an endpoint comes, as ztunnel does (1.10). */
static bool endpoint_wanted(const struct amb_service *s, const struct amb_workload *w)
{
	return !s || w->healthy || s->allow_unhealthy;
}

static int endpoint_del(struct amb_txn *txn, struct amb_root *r, amb_str key,
			const struct amb_workload *w)
{
	const struct amb_svc *is = amb_trie_find(&r->services, &svc_ops, amb_str_hash(key), key);
	uint32_t hash = amb_str_hash(w->uid);
	struct amb_svc *svc;

	if (!is || !amb_trie_find(&is->endpoints, &workload_ops, hash, w->uid))
		return 0;
	svc = svc_edit(txn, r, key);
	if (!svc || amb_trie_del(txn, &svc->endpoints, &workload_ops, hash, w->uid, NULL))
		return -ENOMEM;
	return svc_trim(txn, r, svc);
}

static int endpoint_put(struct amb_txn *txn, struct amb_root *r, amb_str key,
			struct amb_workload *w)
{
	const struct amb_svc *is = amb_trie_find(&r->services, &svc_ops, amb_str_hash(key), key);
	struct amb_svc *svc;

	if (!endpoint_wanted(is ? is->service : NULL, w))
		return endpoint_del(txn, r, key, w);
	svc = svc_edit(txn, r, key);
	if (!svc)
		return -ENOMEM;
	return amb_trie_set(txn, &svc->endpoints, &workload_ops, amb_str_hash(w->uid), w->uid, w,
			    NULL);
}

static void put_workload(void *p)
{
	amb_workload_put(p);
}

static void put_service(void *p)
{
	amb_service_put(p);
}

int amb_table_del_workload(struct amb_txn *txn, struct amb_root *r, const struct amb_state *st,
			   const struct amb_workload *w)
{
	uint32_t i;

	if (index_workload(txn, r, st, w, index_del_any))
		return -ENOMEM;
	for (i = 0; i < w->nservices; i++) {
		if (endpoint_del(txn, r, w->services[i].service, w))
			return -ENOMEM;
	}
	if (amb_trie_del(txn, &r->workloads, &workload_ops, amb_str_hash(w->uid), w->uid, NULL))
		return -ENOMEM;
	amb_txn_retire(txn, (void *)w, put_workload);
	return 0;
}

int amb_table_put_workload(struct amb_txn *txn, struct amb_root *r, const struct amb_state *st,
			   struct amb_workload *w)
{
	const struct amb_workload *old = amb_table_workload(r, w->uid);
	uint32_t i;

	if (old) {
		if (index_workload(txn, r, st, old, index_del_any))
			return -ENOMEM;
		/* Memberships that stay are replaced below, in place. */
		for (i = 0; i < old->nservices; i++) {
			if (!amb_table_ports(w, old->services[i].service) &&
			    endpoint_del(txn, r, old->services[i].service, old))
				return -ENOMEM;
		}
	}
	if (amb_trie_set(txn, &r->workloads, &workload_ops, amb_str_hash(w->uid), w->uid, w, NULL))
		return -ENOMEM;
	if (old)
		amb_txn_retire(txn, (void *)old, put_workload);
	if (index_workload(txn, r, st, w, index_add))
		return -ENOMEM;
	for (i = 0; i < w->nservices; i++) {
		if (endpoint_put(txn, r, w->services[i].service, w))
			return -ENOMEM;
	}
	return 0;
}

static int drop_unhealthy(struct amb_txn *txn, struct amb_svc *svc)
{
	_cleanup_free_ struct amb_workload **gone = NULL;
	struct amb_trie_iter it;
	struct amb_workload *w;
	size_t n = 0, i;

	if (!svc->endpoints.n)
		return 0;
	/* Noted first: a deletion may free the nodes under the iterator. */
	gone = amb_txn_alloc(txn, svc->endpoints.n * sizeof(*gone));
	if (!gone)
		return -ENOMEM;
	for (w = amb_trie_first(&it, &svc->endpoints); w; w = amb_trie_next(&it)) {
		if (!endpoint_wanted(svc->service, w))
			gone[n++] = w;
	}
	for (i = 0; i < n; i++) {
		if (amb_trie_del(txn, &svc->endpoints, &workload_ops, amb_str_hash(gone[i]->uid),
				 gone[i]->uid, NULL))
			return -ENOMEM;
	}
	return 0;
}

int amb_table_put_service(struct amb_txn *txn, struct amb_root *r, struct amb_service *s)
{
	struct amb_svc *svc = svc_edit(txn, r, s->key);
	struct amb_service *old;

	if (!svc)
		return -ENOMEM;
	old = svc->service;
	if (old && index_service(txn, r, old, index_del_any, -1))
		return -ENOMEM;
	r->nservices += !old;
	svc->service = s;
	if (old)
		amb_txn_retire(txn, old, put_service);
	/* Only a change to healthy-only, or the end of staging, can drop endpoints. */
	if (!s->allow_unhealthy && (!old || old->allow_unhealthy) && drop_unhealthy(txn, svc))
		return -ENOMEM;
	return index_service(txn, r, s, index_add, 1);
}

int amb_table_del_service(struct amb_txn *txn, struct amb_root *r, const struct amb_svc *is)
{
	struct amb_service *s = is->service;
	struct amb_svc *svc;

	if (index_service(txn, r, s, index_del_any, -1))
		return -ENOMEM;
	svc = svc_edit(txn, r, is->key);
	if (!svc)
		return -ENOMEM;
	/* Endpoints that still name the service wait for it to come back. */
	svc->service = NULL;
	r->nservices--;
	amb_txn_retire(txn, s, put_service);
	return svc_trim(txn, r, svc);
}

static void abort_svc(struct amb_txn *txn, void *item)
{
	struct amb_svc *svc = item;

	if (svc->txn != txn->id)
		return;
	amb_trie_abort(txn, &svc->endpoints, NULL);
	free(svc);
}

static void abort_bucket(struct amb_txn *txn, void *item)
{
	struct amb_bucket *b = item;

	if (b->txn == txn->id)
		free(b);
}

void amb_table_abort(struct amb_txn *txn, struct amb_root *r)
{
	amb_trie_abort(txn, &r->workloads, NULL);
	amb_trie_abort(txn, &r->services, abort_svc);
	amb_trie_abort(txn, &r->index, abort_bucket);
	amb_policy_set_abort(txn, r->policies);
	free(r);
}

static void destroy_svc(void *item)
{
	struct amb_svc *svc = item;

	amb_trie_destroy(&svc->endpoints, NULL);
	amb_service_put(svc->service);
	svc_free(svc);
}

void amb_table_destroy(struct amb_root *r)
{
	amb_trie_destroy(&r->index, free);
	amb_trie_destroy(&r->services, destroy_svc);
	amb_trie_destroy(&r->workloads, put_workload);
	amb_policy_set_destroy(r->policies);
	free(r);
}
