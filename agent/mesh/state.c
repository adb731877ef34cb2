// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state: updates from the main thread, versions for everybody else.
 *
 * An update is prepared as the next version of the tables, beside the present one, and then
 * takes its place by one store; short of memory it is given up and nobody saw anything. What
 * it replaced is freed after a grace period.
 */
#include "state.h"

#include "workload.pb-c.h"

#include "change.h"
#include "policy_set.h"
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct amb_state *amb_state_create(const struct amb_state_config *config)
{
	const char *domain = config->domain ? config->domain : "cluster.local";
	const char *prefer = config->prefer_ns ? config->prefer_ns : "";
	const char *network = config->network ? config->network : "";
	const char *node = config->node ? config->node : "";
	struct amb_state *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->on_demand = config->on_demand;
	st->root = calloc(1, sizeof(*st->root));
	st->reclaim = amb_reclaim_create();
	st->network = amb_str_intern(network, strlen(network));
	st->node = amb_str_intern(node, strlen(node));
	st->domain = amb_str_intern(domain, strlen(domain));
	st->prefer_ns = amb_str_intern(prefer, strlen(prefer));
	if (!st->root || !st->reclaim || !st->network || !st->node || !st->domain ||
	    !st->prefer_ns) {
		amb_state_destroy(st);
		return NULL;
	}
	return st;
}

void amb_state_destroy(struct amb_state *st)
{
	if (!st)
		return;
	/* What was replaced before; then, without readers, what is there. */
	amb_reclaim_destroy(st->reclaim);
	AMB_RCU_RECLAIM();
	if (st->root)
		amb_table_destroy(st->root);
	amb_str_put(st->network);
	amb_str_put(st->node);
	amb_str_put(st->domain);
	amb_str_put(st->prefer_ns);
	free(st);
}

const char *amb_state_network(const struct amb_state *st)
{
	return st->network;
}

const char *amb_state_node(const struct amb_state *st)
{
	return st->node;
}

const char *amb_state_domain(const struct amb_state *st)
{
	return st->domain;
}

int amb_state_listen(struct amb_state *st, amb_state_listener_fn *fn, void *ctx)
{
	if (st->nlisteners == sizeof(st->listeners) / sizeof(st->listeners[0]))
		return -ENOSPC;
	st->listeners[st->nlisteners].fn = fn;
	st->listeners[st->nlisteners++].ctx = ctx;
	return 0;
}

/* An update under way. */
struct amb_update {
	struct amb_state *st;
	struct amb_txn txn;
	struct amb_root *root; /* the next version */
	struct amb_change change;
	amb_state_refused_fn *refused;
	void *ctx;
	int nrefused;
};

static void refuse(struct amb_update *u, const struct amb_resource *r, const char *reason)
{
	u->nrefused++;
	if (u->refused)
		u->refused(u->ctx, r, reason);
}

static void put_workload(void *p)
{
	amb_workload_put(p);
}

static void put_service(void *p)
{
	amb_service_put(p);
}

static bool same_policies(const struct amb_workload *a, const struct amb_workload *b)
{
	return a->npolicies == b->npolicies && a->ns == b->ns &&
	       (!a->npolicies ||
		!memcmp(a->policies, b->policies, a->npolicies * sizeof(a->policies[0])));
}

static int apply_workload(struct amb_update *u, const struct amb_resource *r)
{
	char reason[AMB_RESOURCE_REASON] = "";
	const struct amb_workload *old;
	struct amb_workload *w;

	w = amb_resource_workload(r->address->workload, reason);
	if (!w && errno == EINVAL) {
		refuse(u, r, reason);
		return 0;
	}
	if (!w)
		return -ENOMEM;
	old = amb_table_workload(u->root, w->uid);
	if (old && amb_resource_workload_eq(old, w)) {
		amb_workload_put(w);
		return 0;
	}
	if (amb_txn_made(&u->txn, w, put_workload)) {
		amb_workload_put(w);
		return -ENOMEM;
	}
	if (old && !same_policies(old, w))
		u->change.told.policies = true;
	if (old)
		amb_change_workload(&u->change, u->st, old);
	amb_change_workload(&u->change, u->st, w);
	return amb_table_put_workload(&u->txn, u->root, u->st, w);
}

static int apply_service(struct amb_update *u, const struct amb_resource *r)
{
	char reason[AMB_RESOURCE_REASON] = "";
	const struct amb_svc *old;
	struct amb_service *s;

	s = amb_resource_service(r->address->service, reason);
	if (!s && errno == EINVAL) {
		refuse(u, r, reason);
		return 0;
	}
	if (!s)
		return -ENOMEM;
	if (amb_txn_made(&u->txn, s, put_service)) {
		amb_service_put(s);
		return -ENOMEM;
	}
	old = amb_table_svc(u->root, s->key);
	if (old && old->service)
		amb_change_service(&u->change, u->st, old->service);
	amb_change_service(&u->change, u->st, s);
	return amb_table_put_service(&u->txn, u->root, s);
}

static int apply_policy(struct amb_update *u, const struct amb_resource *r)
{
	char reason[AMB_RESOURCE_REASON] = "";
	int err;

	u->txn.changed = false;
	err = amb_policy_set_put(&u->txn, &u->root->policies, r->authorization, reason);
	if (err == -EINVAL) {
		refuse(u, r, reason);
		return 0;
	}
	u->change.told.policies |= u->txn.changed;
	return err;
}

static int apply_one(struct amb_update *u, const struct amb_resource *r)
{
	if (r->is_policy)
		return r->authorization ? apply_policy(u, r) : 0;
	if (!r->address)
		return 0;
	switch (r->address->type_case) {
	case ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD:
		return apply_workload(u, r);
	case ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE:
		return apply_service(u, r);
	default:
		refuse(u, r, "type: neither workload nor service");
		return 0;
	}
}

static int remove_one(struct amb_update *u, const struct amb_resource *r)
{
	const struct amb_workload *w;
	const struct amb_svc *svc;
	const char *slash;
	int err;

	if (r->authorization || r->address)
		return 0;
	if (!r->name) {
		refuse(u, r, "a removal without a name");
		return 0;
	}
	if (r->is_policy) {
		err = amb_policy_set_del(&u->txn, &u->root->policies, r->name);
		u->change.told.policies |= !err;
		return err == -ENOENT ? 0 : err;
	}
	/* A uid has more slashes than the one of a service's name (1.5). */
	w = amb_table_workload(u->root, r->name);
	if (w) {
		amb_change_workload(&u->change, u->st, w);
		return amb_table_del_workload(&u->txn, u->root, u->st, w);
	}
	slash = strchr(r->name, '/');
	svc = slash && !strchr(slash + 1, '/') ? amb_table_svc(u->root, r->name) : NULL;
	if (!svc || !svc->service)
		return 0;
	amb_change_service(&u->change, u->st, svc->service);
	return amb_table_del_service(&u->txn, u->root, svc);
}

static void give_up(struct amb_update *u)
{
	amb_table_abort(&u->txn, u->root);
	amb_txn_abort(&u->txn);
	amb_change_release(&u->change);
	u->st->update = NULL;
}

static void publish(struct amb_update *u)
{
	struct amb_state *st = u->st;
	struct amb_root *old = st->root;
	size_t i;

	u->root->version = old->version + 1;
	AMB_RCU_RELEASE(u->root);
	__atomic_store_n(&st->root, u->root, __ATOMIC_RELEASE);
	amb_txn_commit(&u->txn, st->reclaim);
	/* A listener may begin the next update. */
	st->update = NULL;
	for (i = 0; i < st->nlisteners; i++)
		st->listeners[i].fn(st->listeners[i].ctx, &u->change.told);
	amb_change_release(&u->change);
}

static int start(struct amb_update *u)
{
	struct amb_state *st = u->st;

	if (st->update)
		return -EBUSY;
	u->root = malloc(sizeof(*u->root));
	if (!u->root)
		return -ENOMEM;
	amb_txn_begin(&u->txn, ++st->txn);
	*u->root = *st->root;
	st->update = u;
	return 0;
}

static int add(struct amb_update *u, const struct amb_resource *r)
{
	int err = apply_one(u, r) ?: remove_one(u, r);

	if (err)
		u->txn.err = err;
	return err;
}

static int finish(struct amb_update *u)
{
	const struct amb_state_change *c = &u->change.told;
	bool changed = c->policies || c->workloads || c->services;

	if (!u->txn.err && changed)
		amb_txn_retire(&u->txn, u->st->root, free);
	if (u->txn.err) {
		give_up(u);
		return -ENOMEM;
	}
	if (changed)
		publish(u);
	else
		give_up(u);
	return u->nrefused;
}

int amb_state_apply(struct amb_state *st, const struct amb_resource *res, size_t n,
		    amb_state_refused_fn *refused, void *ctx)
{
	struct amb_update u = { .st = st, .refused = refused, .ctx = ctx };
	int err = start(&u);
	size_t i;

	if (err)
		return err;
	for (i = 0; i < n && !err; i++)
		err = apply_one(&u, &res[i]);
	for (i = 0; i < n && !err; i++)
		err = remove_one(&u, &res[i]);
	if (err)
		u.txn.err = err;
	return finish(&u);
}

struct amb_update *amb_update_begin(struct amb_state *st, amb_state_refused_fn *refused, void *ctx)
{
	struct amb_update *u = calloc(1, sizeof(*u));
	int err = -ENOMEM;

	if (u) {
		*u = (struct amb_update){ .st = st, .refused = refused, .ctx = ctx };
		err = start(u);
	}
	if (err) {
		free(u);
		errno = -err;
		return NULL;
	}
	return u;
}

int amb_update_add(struct amb_update *u, const struct amb_resource *r)
{
	return u->txn.err ? -ENOMEM : add(u, r) ? -ENOMEM : 0;
}

int amb_update_commit(struct amb_update *u)
{
	int ret = finish(u);

	free(u);
	return ret;
}

void amb_update_abort(struct amb_update *u)
{
	if (!u)
		return;
	give_up(u);
	free(u);
}

uint64_t amb_state_read_begin(const struct amb_state *st)
{
	amb_rcu_read_lock();
	return amb_state_version(st);
}

bool amb_state_read_retry(const struct amb_state *st, uint64_t seq)
{
	return amb_state_version(st) != seq;
}

void amb_state_read_end(const struct amb_state *st)
{
	(void)st;
	amb_rcu_read_unlock();
}

uint64_t amb_state_version(const struct amb_state *st)
{
	uint64_t version;

	/* also asked outside read sections */
	amb_rcu_read_lock();
	version = amb_table_root(st)->version;
	amb_rcu_read_unlock();
	return version;
}

const struct amb_workload *amb_state_workload_by_uid(const struct amb_state *st, const char *uid)
{
	return amb_table_workload(amb_table_root(st), uid);
}

const struct amb_workload *amb_state_workload_by_addr(const struct amb_state *st,
						      const char *network,
						      const struct amb_addr *addr)
{
	return amb_table_addr(amb_table_root(st), network, addr);
}

const struct amb_workload *amb_state_workload_local(const struct amb_state *st, const char *ns,
						    const char *name, const char *sa)
{
	return amb_table_local(amb_table_root(st), ns, name, sa);
}

const struct amb_service *amb_state_service_by_key(const struct amb_state *st, amb_str key)
{
	const struct amb_svc *svc = amb_table_svc(amb_table_root(st), key);

	return svc ? svc->service : NULL;
}

const struct amb_service *amb_state_service_by_host(const struct amb_state *st, const char *ns,
						    const char *hostname)
{
	const struct amb_svc *svc = amb_table_svc_host(amb_table_root(st), ns, hostname);

	return svc ? svc->service : NULL;
}

const struct amb_service *amb_state_service_by_vip(const struct amb_state *st, const char *network,
						   const struct amb_addr *addr, const char *ns)
{
	return amb_table_vip(amb_table_root(st), network, addr, ns);
}

struct walk {
	bool (*workload)(void *ctx, const struct amb_workload *w);
	bool (*service)(void *ctx, const struct amb_service *s);
	bool (*endpoint)(void *ctx, const struct amb_workload *w, const struct amb_ports *ports);
	bool (*staged)(void *ctx, const char *service, const struct amb_workload *w,
		       const struct amb_ports *ports);
	void *ctx;
	const struct amb_svc *svc;
};

static bool walk_workload(void *ctx, void *item)
{
	const struct walk *w = ctx;

	return w->workload(w->ctx, item);
}

void amb_state_each_workload(const struct amb_state *st,
			     bool (*fn)(void *ctx, const struct amb_workload *w), void *ctx)
{
	struct walk w = { .workload = fn, .ctx = ctx };

	amb_trie_each(&amb_table_root(st)->workloads, walk_workload, &w);
}

void amb_state_each_at(const struct amb_state *st, const struct amb_addr *addr,
		       bool (*workload)(void *ctx, const struct amb_workload *w),
		       bool (*service)(void *ctx, const struct amb_service *s), void *ctx)
{
	const struct amb_root *r = amb_table_root(st);
	const struct amb_bucket *b = amb_table_addrs(r, st->network, addr);
	uint32_t i;

	for (i = 0; b && i < b->n; i++) {
		if (!workload(ctx, b->p[i]))
			return;
	}
	b = amb_table_vips(r, st->network, addr);
	for (i = 0; b && i < b->n; i++) {
		if (!service(ctx, b->p[i]))
			return;
	}
}

static bool walk_service(void *ctx, void *item)
{
	const struct amb_svc *svc = item;
	const struct walk *w = ctx;

	return !svc->service || w->service(w->ctx, svc->service);
}

void amb_state_each_service(const struct amb_state *st,
			    bool (*fn)(void *ctx, const struct amb_service *s), void *ctx)
{
	struct walk w = { .service = fn, .ctx = ctx };

	amb_trie_each(&amb_table_root(st)->services, walk_service, &w);
}

static bool walk_endpoint(void *ctx, void *item)
{
	const struct walk *w = ctx;

	return w->endpoint(w->ctx, item, amb_table_ports(item, w->svc->key));
}

void amb_state_each_endpoint(const struct amb_state *st, const struct amb_service *s,
			     bool (*fn)(void *ctx, const struct amb_workload *w,
					const struct amb_ports *ports),
			     void *ctx)
{
	struct walk w = { .endpoint = fn, .ctx = ctx };

	w.svc = amb_table_svc(amb_table_root(st), s->key);
	if (w.svc)
		amb_trie_each(&w.svc->endpoints, walk_endpoint, &w);
}

static bool walk_waiting(void *ctx, void *item)
{
	const struct walk *w = ctx;

	return w->staged(w->ctx, w->svc->key, item, amb_table_ports(item, w->svc->key));
}

static bool walk_staged(void *ctx, void *item)
{
	struct walk *w = ctx;

	w->svc = item;
	return w->svc->service || amb_trie_each(&w->svc->endpoints, walk_waiting, w);
}

void amb_state_each_staged(const struct amb_state *st,
			   bool (*fn)(void *ctx, const char *service, const struct amb_workload *w,
				      const struct amb_ports *ports),
			   void *ctx)
{
	struct walk w = { .staged = fn, .ctx = ctx };

	amb_trie_each(&amb_table_root(st)->services, walk_staged, &w);
}

static size_t count(const struct amb_state *st, int what)
{
	const struct amb_root *r;
	size_t n;

	amb_rcu_read_lock();
	r = amb_table_root(st);
	if (what == 0)
		n = r->workloads.n;
	else if (what == 1)
		n = r->nservices;
	else
		n = r->policies ? r->policies->policies.n : 0;
	amb_rcu_read_unlock();
	return n;
}

size_t amb_state_count_workloads(const struct amb_state *st)
{
	return count(st, 0);
}

size_t amb_state_count_services(const struct amb_state *st)
{
	return count(st, 1);
}

size_t amb_state_count_policies(const struct amb_state *st)
{
	return count(st, 2);
}
