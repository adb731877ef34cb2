// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pooled HBONE connections.
 *
 * A peer is one key: its tunnels, and who waits for room in one. A tunnel goes through
 * CERT (its credential is asked for), CONNECT (TCP), HANDSHAKE (the engine has it) and UP;
 * a retired one stays until its streams end and takes no new ones. One dial at a time, more
 * only when more wait than it can carry. A failed dial fails everybody who waits, so that a
 * black hole costs one deadline and not one each.
 *
 * Lifetime: the engine owns an amb_hbone and its closed() frees the tunnel; before that the
 * tunnel frees itself when it fails. A peer goes when it has neither tunnels nor waiters;
 * holds is raised while its functions are on the stack, because callbacks may end tunnels.
 */
#include "pool.h"

#include "base/addr.h"
#include "base/log.h"
#include "base/reason.h"
#include "base/util.h"
#include "creds.h"
#include "dial.h"
#include "pod.h"
#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BUCKETS 8

enum tunnel_state { TUNNEL_CERT, TUNNEL_CONNECT, TUNNEL_HANDSHAKE, TUNNEL_UP };

struct amb_pool_peer {
	struct amb_pool_peer *next;
	struct amb_pool *pool;
	struct amb_identity *src;
	struct amb_endpoint dst;
	struct amb_identset expect;
	bool keep;
	struct cds_list_head tunnels, waiters;
	uint32_t nwaiters, ndials, holds;
};

struct tunnel {
	struct cds_list_head node;
	struct amb_pool_peer *peer;
	enum tunnel_state state;
	bool retired;
	struct amb_hbone *hbone; /* from HANDSHAKE on */
	struct amb_cred *cred; /* CONNECT */
	struct amb_creds_waiter creds;
	struct amb_timer timer; /* CERT */
	struct amb_dial dial; /* CONNECT */
	uint64_t last_used;
};

static const struct amb_hbone_ops tunnel_ops;

static struct amb_worker *worker_of(const struct amb_pool *pool)
{
	return pool->pod->worker;
}

static const struct amb_proxy_config *config_of(const struct amb_pool *pool)
{
	return &worker_of(pool)->env->config;
}

/* Peers */

static uint32_t key_hash(const struct amb_pool_key *key)
{
	return amb_addr_hash(&key->dst.addr, amb_util_seed() ^ key->dst.port);
}

static bool key_is(const struct amb_pool_peer *peer, const struct amb_pool_key *key)
{
	return peer->src == key->src && amb_endpoint_eq(&peer->dst, &key->dst) &&
	       peer->keep == key->keep && amb_identset_eq(&peer->expect, key->expect);
}

static struct amb_pool_peer **bucket_of(struct amb_pool *pool, uint32_t hash)
{
	return &pool->buckets[hash & (pool->nbuckets - 1)];
}

static int grow(struct amb_pool *pool)
{
	uint32_t i, n = pool->nbuckets ? pool->nbuckets * 2 : FIRST_BUCKETS;
	struct amb_pool_peer **old = pool->buckets, *peer;
	uint32_t nold = pool->nbuckets;

	if (pool->npeers < nold * 2)
		return 0;
	pool->buckets = calloc(n, sizeof(*pool->buckets));
	if (!pool->buckets) {
		pool->buckets = old;
		return old ? 0 : -ENOMEM;
	}
	pool->nbuckets = n;
	for (i = 0; i < nold; i++) {
		while ((peer = old[i])) {
			struct amb_pool_key key = { peer->src, peer->dst, &peer->expect,
						    peer->keep };
			struct amb_pool_peer **b = bucket_of(pool, key_hash(&key));

			old[i] = peer->next;
			peer->next = *b;
			*b = peer;
		}
	}
	free(old);
	return 0;
}

static struct amb_pool_peer *peer_create(struct amb_pool *pool, const struct amb_pool_key *key)
{
	struct amb_pool_peer *peer, **b;

	if (grow(pool))
		return NULL;
	peer = calloc(1, sizeof(*peer));
	if (!peer || amb_identset_copy(&peer->expect, key->expect)) {
		free(peer);
		return NULL;
	}
	peer->pool = pool;
	peer->src = amb_identity_get(key->src);
	peer->dst = key->dst;
	peer->keep = key->keep;
	CDS_INIT_LIST_HEAD(&peer->tunnels);
	CDS_INIT_LIST_HEAD(&peer->waiters);
	b = bucket_of(pool, key_hash(key));
	peer->next = *b;
	*b = peer;
	pool->npeers++;
	return peer;
}

static struct amb_pool_peer *peer_find(struct amb_pool *pool, const struct amb_pool_key *key)
{
	struct amb_pool_peer *peer;

	if (pool->nbuckets)
		for (peer = *bucket_of(pool, key_hash(key)); peer; peer = peer->next)
			if (key_is(peer, key))
				return peer;
	return peer_create(pool, key);
}

static void peer_hold(struct amb_pool_peer *peer)
{
	peer->holds++;
}

static void peer_release(struct amb_pool_peer *peer)
{
	struct amb_pool_key key = { peer->src, peer->dst, &peer->expect, peer->keep };
	struct amb_pool *pool = peer->pool;
	struct amb_pool_peer **p;

	if (--peer->holds || !cds_list_empty(&peer->tunnels) || !cds_list_empty(&peer->waiters))
		return;
	for (p = bucket_of(pool, key_hash(&key)); *p != peer; p = &(*p)->next)
		;
	*p = peer->next;
	pool->npeers--;
	amb_identity_put(peer->src);
	amb_identset_clear(&peer->expect);
	free(peer);
}

/* Waiters */

static struct amb_pool_waiter *take_waiter(struct amb_pool_peer *peer)
{
	struct amb_pool_waiter *w;

	if (cds_list_empty(&peer->waiters))
		return NULL;
	w = cds_list_first_entry(&peer->waiters, struct amb_pool_waiter, node);
	cds_list_del(&w->node);
	w->peer = NULL;
	peer->nwaiters--;
	return w;
}

void amb_pool_cancel(struct amb_pool_waiter *w)
{
	struct amb_pool_peer *peer = w->peer;

	if (!peer)
		return;
	peer_hold(peer);
	cds_list_del(&w->node);
	w->peer = NULL;
	peer->nwaiters--;
	peer_release(peer);
}

/* Those who come while the failed are told wait for a dial of their own. */
static void fail_waiters(struct amb_pool_peer *peer, const struct amb_pool_error *err)
{
	struct amb_pool_waiter *w;
	uint32_t n = peer->nwaiters;

	while (n-- && (w = take_waiter(peer)))
		w->fn(w, NULL, err);
}

/* Tunnels */

static void tunnel_free(struct tunnel *t)
{
	struct amb_pool *pool = t->peer->pool;
	struct amb_worker *w = worker_of(pool);

	amb_creds_cancel(w->env->creds, &t->creds);
	amb_loop_timer_cancel(w->loop, &t->timer);
	amb_dial_cancel(&t->dial);
	amb_cred_put(t->cred);
	if (t->state != TUNNEL_UP)
		t->peer->ndials--;
	cds_list_del(&t->node);
	pool->ntunnels--;
	free(t);
}

static void tunnel_retire(struct tunnel *t)
{
	if (t->retired)
		return;
	t->retired = true;
	amb_hbone_drain(t->hbone);
}

static unsigned int tunnel_room(const struct tunnel *t)
{
	uint32_t limit = config_of(t->peer->pool)->pool_streams;
	uint32_t used;

	if (t->state != TUNNEL_UP || t->retired)
		return 0;
	used = amb_hbone_streams(t->hbone);
	return used < limit ? AMB_MIN(limit - used, amb_hbone_slots(t->hbone)) : 0;
}

/* The first with room: connections are filled one after the other, which batches best. */
static struct tunnel *find_room(struct amb_pool_peer *peer)
{
	struct tunnel *t, *next;

	cds_list_for_each_entry_safe(t, next, &peer->tunnels, node) {
		if (t->state == TUNNEL_UP && !t->retired &&
		    amb_cred_retired(amb_hbone_cred(t->hbone))) {
			/* drain may free it at once; others of the list stay */
			tunnel_retire(t);
			continue;
		}
		if (tunnel_room(t))
			return t;
	}
	return NULL;
}

static void tunnel_use(struct tunnel *t)
{
	t->last_used = amb_loop_now(worker_of(t->peer->pool)->loop);
}

static void serve(struct amb_pool_peer *peer)
{
	struct amb_pool_waiter *w;
	struct tunnel *t;

	while (!cds_list_empty(&peer->waiters) && (t = find_room(peer))) {
		w = take_waiter(peer);
		tunnel_use(t);
		w->fn(w, t->hbone, NULL);
	}
}

static void dial_failed(struct tunnel *t, enum amb_reason reason, enum amb_flag flag,
			const char *text)
{
	struct amb_pool_error err = { reason, flag, text ? text : amb_reason_text(reason) };
	struct amb_pool_peer *peer = t->peer;
	char dst[AMB_ENDPOINT_STRLEN];

	amb_debug(POOL, "%s as %s: %s", amb_endpoint_format(&peer->dst, dst), peer->src->spiffe,
		  err.text);
	peer_hold(peer);
	tunnel_free(t);
	/* Another dial under way may still do for them. */
	if (!peer->ndials)
		fail_waiters(peer, &err);
	peer_release(peer);
}

static void tunnel_handshake(struct tunnel *t, int fd)
{
	struct amb_pool_peer *peer = t->peer;
	struct amb_worker *w = worker_of(peer->pool);

	t->state = TUNNEL_HANDSHAKE;
	t->hbone = amb_hbone_client(w->bytes, fd, t->cred, &peer->expect, &tunnel_ops, t);
	if (!t->hbone) {
		dial_failed(t, AMB_REASON_MEMORY, AMB_FLAG_CONNECT, strerror(errno));
		return;
	}
	amb_hbone_share(t->hbone, peer->pool->pod->share);
	if (peer->keep)
		amb_hbone_keep(t->hbone);
}

static void connect_failed(struct tunnel *t, int err)
{
	char dst[AMB_ENDPOINT_STRLEN], text[160];

	snprintf(text, sizeof(text), "connection to %s failed: %s",
		 amb_endpoint_format(&t->peer->dst, dst), strerror(-err));
	/* A SYN that nobody answers at 15008 is mostly a packet filter. */
	if (err == -ETIMEDOUT)
		dial_failed(t, AMB_REASON_TIMEOUT, AMB_FLAG_NETWORK_POLICY, text);
	else
		dial_failed(t, amb_dial_reason(err), AMB_FLAG_CONNECT, text);
}

static void connected(struct amb_dial *d, int fd)
{
	struct tunnel *t = AMB_CONTAINER_OF(d, struct tunnel, dial);

	if (fd < 0)
		connect_failed(t, fd);
	else
		tunnel_handshake(t, fd);
}

/* @cred: a reference, taken over. */
static void tunnel_connect(struct tunnel *t, struct amb_cred *cred)
{
	struct amb_pool *pool = t->peer->pool;
	struct amb_worker *w = worker_of(pool);
	struct amb_dial_to to = {
		.netns = pool->pod->info->netns,
		.dst = t->peer->dst,
		.timeout_ns = w->env->config.dial_timeout_ns,
	};
	int fd;

	amb_loop_timer_cancel(w->loop, &t->timer);
	t->cred = cred;
	t->state = TUNNEL_CONNECT;
	t->dial.done = connected;
	fd = amb_dial_start(&t->dial, w->loop, &to);
	if (fd >= 0)
		tunnel_handshake(t, fd);
	else if (fd != -EINPROGRESS)
		connect_failed(t, fd);
}

static void cert_failed(struct tunnel *t, const char *why)
{
	char text[256];

	snprintf(text, sizeof(text), "no certificate for %s: %s", t->peer->src->spiffe,
		 why && *why ? why : "unavailable");
	dial_failed(t, AMB_REASON_NO_CERT, AMB_FLAG_IDENTITY_ERROR, text);
}

static void cert_came(struct amb_creds_waiter *cw, struct amb_cred *cred, const char *error)
{
	struct tunnel *t = AMB_CONTAINER_OF(cw, struct tunnel, creds);

	if (cred)
		tunnel_connect(t, cred);
	else
		cert_failed(t, error);
}

static void cert_late(struct amb_timer *timer)
{
	cert_failed(AMB_CONTAINER_OF(timer, struct tunnel, timer), "the issuer does not answer");
}

/* Makes place for a new tunnel where a pod holds many idle ones. */
static void evict(struct amb_pool *pool)
{
	struct amb_pool_peer *peer;
	struct tunnel *t, *oldest = NULL;
	uint32_t i;

	if (pool->ntunnels < AMB_POOL_IDLE_MAX)
		return;
	for (i = 0; i < pool->nbuckets; i++)
		for (peer = pool->buckets[i]; peer; peer = peer->next)
			cds_list_for_each_entry(t, &peer->tunnels, node)
				if (t->state == TUNNEL_UP && !t->retired &&
				    !amb_hbone_streams(t->hbone) &&
				    (!oldest || t->last_used < oldest->last_used))
					oldest = t;
	if (oldest)
		tunnel_retire(oldest);
}

static void dial(struct amb_pool_peer *peer)
{
	struct amb_pool *pool = peer->pool;
	struct amb_worker *w = worker_of(pool);
	struct amb_cred *cred;
	struct tunnel *t;

	evict(pool);
	t = calloc(1, sizeof(*t));
	if (!t) {
		struct amb_pool_error err = { AMB_REASON_MEMORY, AMB_FLAG_CONNECT,
					      amb_reason_text(AMB_REASON_MEMORY) };

		fail_waiters(peer, &err);
		return;
	}
	t->peer = peer;
	t->dial.io.fd = -1;
	t->creds.fn = cert_came;
	t->timer.fn = cert_late;
	peer->ndials++;
	pool->ntunnels++;
	cds_list_add_tail(&t->node, &peer->tunnels);
	tunnel_use(t);
	amb_worker_count(&w->stats.pool_dials, 1);
	amb_worker_tick(w);
	cred = amb_creds_wait(w->env->creds, peer->src, w->loop, &t->creds);
	if (cred)
		tunnel_connect(t, cred);
	else if (errno != EAGAIN)
		cert_failed(t, t->creds.error);
	else
		amb_loop_timer_set(w->loop, &t->timer,
				   amb_loop_now(w->loop) + w->env->config.dial_timeout_ns);
}

/* Dials while more wait than what is being dialled can carry. */
static void dial_for_waiters(struct amb_pool_peer *peer)
{
	uint32_t each = config_of(peer->pool)->pool_streams;

	uint32_t tries;

	/* Tries are bounded too: a dial may fail before it returns. */
	for (tries = 0; tries < AMB_POOL_DIALS_MAX; tries++) {
		if (peer->ndials >= AMB_POOL_DIALS_MAX || peer->nwaiters <= peer->ndials * each)
			return;
		dial(peer);
	}
}

static void tunnel_up(struct amb_hbone *c, void *owner)
{
	static const struct amb_pool_error none = { AMB_REASON_H2, AMB_FLAG_H2_HANDSHAKE_FAILURE,
						    "the peer admits no streams" };
	struct tunnel *t = owner;
	struct amb_pool_peer *peer = t->peer;
	struct amb_worker *w = worker_of(peer->pool);

	amb_worker_count(&w->stats.handshakes, 1);
	peer_hold(peer);
	t->state = TUNNEL_UP;
	peer->ndials--;
	amb_cred_put(t->cred);
	t->cred = NULL;
	tunnel_use(t);
	if (!amb_hbone_slots(c))
		fail_waiters(peer, &none);
	serve(peer);
	dial_for_waiters(peer);
	peer_release(peer);
}

static void tunnel_more(struct amb_hbone *c, void *owner)
{
	struct tunnel *t = owner;
	struct amb_pool_peer *peer = t->peer;

	(void)c;
	if (t->state != TUNNEL_UP)
		return;
	tunnel_use(t);
	peer_hold(peer);
	serve(peer);
	peer_release(peer);
}

static void tunnel_closed(struct amb_hbone *c, void *owner, enum amb_reason reason,
			  const char *text)
{
	struct tunnel *t = owner;
	struct amb_pool_peer *peer = t->peer;

	(void)c;
	if (t->state != TUNNEL_UP) {
		if (reason == AMB_REASON_NONE)
			reason = AMB_REASON_CONNECT;
		amb_worker_count(&worker_of(peer->pool)->stats.handshake_failures, 1);
		if (reason == AMB_REASON_CERT_REVOKED)
			amb_worker_count(&worker_of(peer->pool)->stats.revoked[AMB_OUTBOUND], 1);
		dial_failed(t, reason,
			    reason == AMB_REASON_TIMEOUT ? AMB_FLAG_TLS_FAILURE :
							   amb_live_flag(reason),
			    text);
		return;
	}
	peer_hold(peer);
	tunnel_free(t);
	serve(peer);
	dial_for_waiters(peer);
	peer_release(peer);
}

static const struct amb_hbone_ops tunnel_ops = {
	.up = tunnel_up,
	.room = tunnel_more,
	.closed = tunnel_closed,
};

/* The pool */

void amb_pool_init(struct amb_pool *pool, struct amb_pod *pod)
{
	memset(pool, 0, sizeof(*pool));
	pool->pod = pod;
}

static void refuse(struct amb_pool_waiter *w, enum amb_reason reason)
{
	struct amb_pool_error err = { reason, AMB_FLAG_CONNECT, amb_reason_text(reason) };

	w->fn(w, NULL, &err);
}

void amb_pool_get(struct amb_pool *pool, const struct amb_pool_key *key, struct amb_pool_waiter *w)
{
	struct amb_pool_peer *peer = peer_find(pool, key);
	struct tunnel *t;

	w->peer = NULL;
	if (!peer) {
		refuse(w, AMB_REASON_MEMORY);
		return;
	}
	peer_hold(peer);
	t = cds_list_empty(&peer->waiters) ? find_room(peer) : NULL;
	if (t) {
		amb_worker_count(&worker_of(pool)->stats.pool_hits, 1);
		tunnel_use(t);
		w->fn(w, t->hbone, NULL);
	} else if (peer->nwaiters >= AMB_POOL_WAITERS_MAX) {
		refuse(w, AMB_REASON_LIMIT);
	} else {
		w->peer = peer;
		cds_list_add_tail(&w->node, &peer->waiters);
		peer->nwaiters++;
		dial_for_waiters(peer);
	}
	peer_release(peer);
}

/* Calls @fn for each tunnel; it may end the one that it is called for. */
static void each_tunnel(struct amb_pool *pool, void (*fn)(struct tunnel *t, void *ctx), void *ctx)
{
	struct amb_pool_peer *peer, *nextpeer;
	struct tunnel *t, *next;
	uint32_t i;

	for (i = 0; i < pool->nbuckets; i++) {
		for (peer = pool->buckets[i]; peer; peer = nextpeer) {
			peer_hold(peer);
			cds_list_for_each_entry_safe(t, next, &peer->tunnels, node)
				fn(t, ctx);
			nextpeer = peer->next;
			peer_release(peer);
		}
	}
}

struct sweep {
	uint64_t now;
	struct amb_pool_peer *peer;
	bool spare; /* of @peer: one without streams is kept already */
};

/*
 * One tunnel without streams stays for pool_idle_ns; the others that a crowd needed go soon,
 * they hold memory on both sides.
 */
static void sweep_one(struct tunnel *t, void *ctx)
{
	uint64_t keep = config_of(t->peer->pool)->pool_idle_ns;
	struct sweep *s = ctx;

	if (s->peer != t->peer)
		s->spare = false;
	s->peer = t->peer;
	if (t->state != TUNNEL_UP || t->retired)
		return;
	if (amb_cred_retired(amb_hbone_cred(t->hbone))) {
		tunnel_retire(t);
		return;
	}
	if (amb_hbone_streams(t->hbone))
		return;
	if (s->spare)
		keep = AMB_MIN(keep, AMB_POOL_SPARE_NS);
	if (t->last_used + keep <= s->now)
		tunnel_retire(t);
	else
		s->spare = true;
}

bool amb_pool_sweep(struct amb_pool *pool, uint64_t now)
{
	struct sweep s = { .now = now };

	each_tunnel(pool, sweep_one, &s);
	return pool->ntunnels;
}

static void drain_one(struct tunnel *t, void *ctx)
{
	(void)ctx;
	if (t->state == TUNNEL_UP)
		tunnel_retire(t);
}

void amb_pool_drain(struct amb_pool *pool)
{
	each_tunnel(pool, drain_one, NULL);
}

static struct tunnel *any_tunnel(struct amb_pool *pool)
{
	struct amb_pool_peer *peer;
	uint32_t i;

	for (i = 0; i < pool->nbuckets; i++)
		for (peer = pool->buckets[i]; peer; peer = peer->next)
			if (!cds_list_empty(&peer->tunnels))
				return cds_list_first_entry(&peer->tunnels, struct tunnel, node);
	return NULL;
}

/* One by one from the start: what ends one tunnel may end others, but makes none. */
void amb_pool_abort(struct amb_pool *pool, enum amb_reason reason)
{
	struct tunnel *t;

	while ((t = any_tunnel(pool))) {
		struct amb_pool_peer *peer = t->peer;
		struct amb_pool_error err = { reason, AMB_FLAG_NONE, amb_reason_text(reason) };

		peer_hold(peer);
		fail_waiters(peer, &err);
		if (t->state >= TUNNEL_HANDSHAKE)
			amb_hbone_abort(t->hbone, reason, NULL);
		else
			tunnel_free(t);
		peer_release(peer);
	}
}

void amb_pool_uninit(struct amb_pool *pool)
{
	amb_pool_abort(pool, AMB_REASON_POD_GONE);
	free(pool->buckets);
	pool->buckets = NULL;
	pool->nbuckets = 0;
}
