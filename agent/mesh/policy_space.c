// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The index of the policies of one space. Keys are 64-bit hashes under the process's secret
 * seed; two things with one hash only share a list, since what is found there is looked at in
 * full, its class too.
 */
#include "policy_space.h"

#include "authorization.pb-c.h"

#include "base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What a rule is filed under; the order is that of preference, best first. */
enum kind {
	KIND_PRINCIPAL,
	KIND_ACCOUNT,
	KIND_SRC,
	KIND_NAMESPACE,
	KIND_DST,
	KIND_PORT,
	KIND_NO_PEER, /* the match wants a connection without identity */
	KIND_ANY,
	KIND_MAX,
};

#define CLASSES 3

/* Networks wider than this say too little to file by. */
#define CIDR_MIN_V4 (96 + 8)
#define CIDR_MIN_V6 16

/* Which prefix lengths are in use: by class, source or destination, family. */
struct lengths {
	uint32_t n[CLASSES][2][2][129];
};

struct amb_space {
	uint64_t txn;
	amb_str ns;
	uint64_t stamp;
	size_t npolicies, nallow;
	size_t ninputs[2]; /* policies that look at source, at destination addresses */
	uint32_t kinds[CLASSES][KIND_MAX]; /* rules filed under each kind */
	struct lengths *lengths; /* NULL until a network is named */
	struct amb_trie lists; /* of struct list */
};

struct ref {
	const struct amb_policy *policy;
	uint32_t rule;
};

struct list {
	uint64_t txn;
	uint64_t key;
	uint32_t n, cap;
	struct ref refs[];
};

static uint32_t list_hash(const void *item)
{
	const struct list *l = item;

	return l->key;
}

static bool list_eq(const void *item, const void *key)
{
	const struct list *l = item;

	return l->key == *(const uint64_t *)key;
}

static const struct amb_trie_ops list_ops = { list_hash, list_eq };

enum amb_policy_class amb_policy_class(const struct amb_policy *p)
{
	if (p->dry_run)
		return AMB_CLASS_DRY;
	return p->action == ISTIO__SECURITY__ACTION__DENY ? AMB_CLASS_DENY : AMB_CLASS_ALLOW;
}

static uint64_t hash64(enum kind kind, enum amb_policy_class class, uint32_t more, const void *data,
		       size_t len)
{
	/* Spread: the hash takes in the first word as it takes in the seed. */
	uint32_t seed = (amb_util_seed() + kind * CLASSES + class) * 0x9e3779b1u;
	uint64_t lo = amb_util_hash(data, len, seed ^ more * 0x9e3779b9u);

	return lo | (uint64_t)amb_util_hash(data, len, ~seed ^ more) << 32;
}

static uint64_t key_text(enum kind kind, enum amb_policy_class class, const char *s, size_t len)
{
	return hash64(kind, class, 0, s, len);
}

static uint64_t key_account(enum amb_policy_class class, const char *ns, const char *sa)
{
	return hash64(KIND_ACCOUNT, class, amb_util_hash(ns, strlen(ns), amb_util_seed()), sa,
		      strlen(sa));
}

static uint64_t key_cidr(enum kind kind, enum amb_policy_class class, const struct amb_rule_cidr *c)
{
	return hash64(kind, class, c->bits * 2 + c->v4, c->net.b, sizeof(c->net.b));
}

static uint64_t key_port(enum amb_policy_class class, uint16_t port)
{
	return hash64(KIND_PORT, class, 0, &port, sizeof(port));
}

static uint64_t key_bare(enum kind kind, enum amb_policy_class class)
{
	return hash64(kind, class, 0, NULL, 0);
}

/*
 * The namespace that a principal must be in when it starts with @t: "td/ns/<namespace>/".
 * Returns its length, 0 when the prefix does not say.
 */
static size_t prefix_namespace(const struct amb_rule_text *t, const char **ns)
{
	const char *slash = memchr(t->s, '/', t->len), *end = t->s + t->len;

	if (!slash || end - slash < 5 || memcmp(slash, "/ns/", 4))
		return 0;
	*ns = slash + 4;
	slash = memchr(*ns, '/', end - *ns);
	return slash ? slash - *ns : 0;
}

static bool all_exact(const struct amb_rule_cond *c)
{
	uint32_t i;

	for (i = 0; i < c->n; i++) {
		if (c->texts[i].op != AMB_RULE_EXACT)
			return false;
	}
	return true;
}

static bool all_in_namespaces(const struct amb_rule_cond *c)
{
	const char *ns;
	uint32_t i;

	for (i = 0; i < c->n; i++) {
		if (c->texts[i].op != AMB_RULE_PREFIX || !prefix_namespace(&c->texts[i], &ns))
			return false;
	}
	return true;
}

static bool all_narrow(const struct amb_rule_cond *c)
{
	uint32_t i;

	for (i = 0; i < c->n; i++) {
		if (c->cidrs[i].bits < (c->cidrs[i].v4 ? CIDR_MIN_V4 : CIDR_MIN_V6))
			return false;
	}
	return true;
}

static bool any_presence(const struct amb_rule_cond *c)
{
	uint32_t i;

	for (i = 0; i < c->n; i++) {
		if (c->texts[i].op == AMB_RULE_PRESENCE)
			return true;
	}
	return false;
}

/* What @c can be filed under. A condition holds only for connections that ask for that. */
static enum kind cond_kind(const struct amb_rule_cond *c)
{
	if (c->negated)
		return c->field == AMB_RULE_PRINCIPAL && any_presence(c) ? KIND_NO_PEER : KIND_ANY;
	switch (c->field) {
	case AMB_RULE_PRINCIPAL:
		if (all_exact(c))
			return KIND_PRINCIPAL;
		return all_in_namespaces(c) ? KIND_NAMESPACE : KIND_ANY;
	case AMB_RULE_ACCOUNT:
		return KIND_ACCOUNT;
	case AMB_RULE_NAMESPACE:
		return all_exact(c) ? KIND_NAMESPACE : KIND_ANY;
	case AMB_RULE_SRC:
		return all_narrow(c) ? KIND_SRC : KIND_ANY;
	case AMB_RULE_DST:
		return all_narrow(c) ? KIND_DST : KIND_ANY;
	default:
		return KIND_PORT;
	}
}

static const struct amb_rule_cond *best_cond(const struct amb_rule_match *m, enum kind *kind)
{
	const struct amb_rule_cond *best = NULL;
	uint32_t i;

	*kind = KIND_ANY;
	for (i = 0; i < m->n; i++) {
		enum kind k = cond_kind(&m->conds[i]);

		if (k < *kind) {
			best = &m->conds[i];
			*kind = k;
		}
	}
	return best;
}

/* The clause that says most, judged by its weakest match; NULL when none says anything. */
static const struct amb_rule_clause *best_clause(const struct amb_rule *rule)
{
	const struct amb_rule_clause *best = NULL;
	enum kind best_kind = KIND_ANY;
	uint32_t i, j;

	for (i = 0; i < rule->n; i++) {
		const struct amb_rule_clause *c = &rule->clauses[i];
		int worst = c->n ? -1 : (int)KIND_ANY;

		for (j = 0; j < c->n; j++) {
			enum kind k;

			/* A match without conditions never holds: it asks for nothing. */
			best_cond(&c->matches[j], &k);
			if (c->matches[j].n && (int)k > worst)
				worst = k;
		}
		if (worst < (int)best_kind) {
			best = c;
			best_kind = AMB_MAX(worst, 0);
			if (worst < 0)
				break;
		}
	}
	return best;
}

/* Filing and unfiling walk the same keys. */
struct filing {
	struct amb_txn *txn;
	struct amb_space *sp;
	const struct amb_policy *policy;
	enum amb_policy_class class;
	uint32_t rule;
	bool remove;
};

static struct list *list_edit(struct amb_txn *txn, struct amb_space *sp, struct list *l,
			      uint64_t key)
{
	uint32_t n = l ? l->n : 0, cap = n + 1 + n / 2;
	struct list *to;

	if (l && l->txn == txn->id && l->n < l->cap)
		return l;
	to = amb_txn_alloc(txn, sizeof(*to) + cap * sizeof(to->refs[0]));
	if (!to)
		return NULL;
	*to = (struct list){ .txn = txn->id, .key = key, .n = n, .cap = cap };
	if (l)
		memcpy(to->refs, l->refs, n * sizeof(to->refs[0]));
	if (amb_trie_set(txn, &sp->lists, &list_ops, (uint32_t)key, &key, to, NULL)) {
		free(to);
		return NULL;
	}
	if (l && l->txn == txn->id)
		free(l);
	else if (l)
		amb_txn_retire(txn, l, free);
	return to;
}

static int list_drop(struct amb_txn *txn, struct amb_space *sp, struct list *l)
{
	if (amb_trie_del(txn, &sp->lists, &list_ops, (uint32_t)l->key, &l->key, NULL))
		return -ENOMEM;
	if (l->txn == txn->id)
		free(l);
	else
		amb_txn_retire(txn, l, free);
	return 0;
}

static struct ref *ref_find(struct list *l, const struct filing *f)
{
	uint32_t i;

	/* from the end: what is changed was often filed of late */
	for (i = l ? l->n : 0; i-- > 0;) {
		if (l->refs[i].policy == f->policy && l->refs[i].rule == f->rule)
			return &l->refs[i];
	}
	return NULL;
}

/* Returns 1 when something was filed or unfiled, 0 when it was so already, or -ENOMEM. */
static int file_key(struct filing *f, enum kind kind, uint64_t key)
{
	struct list *l = amb_trie_find(&f->sp->lists, &list_ops, (uint32_t)key, &key);
	struct ref *ref = NULL;

	/* The rule's own doubles (one principal in two matches) are at the end. */
	if (f->remove)
		ref = ref_find(l, f);
	else if (l && l->n && l->refs[l->n - 1].policy == f->policy &&
		 l->refs[l->n - 1].rule == f->rule)
		return 0;
	if (f->remove != !!ref)
		return 0;
	if (f->remove && l->n == 1) {
		if (list_drop(f->txn, f->sp, l))
			return -ENOMEM;
	} else {
		l = list_edit(f->txn, f->sp, l, key);
		if (!l)
			return -ENOMEM;
		if (f->remove) {
			ref = ref_find(l, f);
			*ref = l->refs[--l->n];
		} else {
			l->refs[l->n++] = (struct ref){ f->policy, f->rule };
		}
	}
	f->sp->kinds[f->class][kind] += f->remove ? -1 : 1;
	return 1;
}

static int file_cidr(struct filing *f, enum kind kind, const struct amb_rule_cidr *c)
{
	int n = file_key(f, kind, key_cidr(kind, f->class, c));

	if (n == 1) {
		uint32_t *count;

		count = &f->sp->lengths->n[f->class][kind == KIND_DST][c->v4][c->bits];
		*count += f->remove ? -1 : 1;
	}
	return n;
}

static int file_cond(struct filing *f, const struct amb_rule_cond *c, enum kind kind)
{
	uint32_t i;
	int n = 0;

	if (kind == KIND_NO_PEER)
		return file_key(f, kind, key_bare(kind, f->class));
	for (i = 0; i < c->n && n >= 0; i++) {
		const struct amb_rule_text *t = &c->texts[i];
		const char *s;
		size_t len;

		switch (c->field) {
		case AMB_RULE_PRINCIPAL:
			s = t->s;
			len = kind == KIND_NAMESPACE ? prefix_namespace(t, &s) : t->len;
			n = file_key(f, kind, key_text(kind, f->class, s, len));
			break;
		case AMB_RULE_NAMESPACE:
			n = file_key(f, kind, key_text(kind, f->class, t->s, t->len));
			break;
		case AMB_RULE_ACCOUNT:
			n = file_key(f, kind,
				     key_account(f->class, c->accounts[i].ns, c->accounts[i].sa));
			break;
		case AMB_RULE_SRC:
		case AMB_RULE_DST:
			n = file_cidr(f, kind, &c->cidrs[i]);
			break;
		default:
			n = file_key(f, kind, key_port(f->class, c->ports[i]));
			break;
		}
	}
	return AMB_MIN(n, 0);
}

static int file_rule(struct filing *f, const struct amb_rule *rule)
{
	const struct amb_rule_clause *c = best_clause(rule);
	uint32_t i;
	int n = 0;

	if (!c)
		return AMB_MIN(file_key(f, KIND_ANY, key_bare(KIND_ANY, f->class)), 0);
	for (i = 0; i < c->n && n >= 0; i++) {
		const struct amb_rule_cond *cond;
		enum kind kind;

		cond = best_cond(&c->matches[i], &kind);
		if (cond)
			n = file_cond(f, cond, kind);
	}
	return AMB_MIN(n, 0);
}

void amb_space_free(void *p)
{
	struct amb_space *sp = p;

	amb_str_put(sp->ns);
	free(sp->lengths);
	free(sp);
}

struct amb_space *amb_space_edit(struct amb_txn *txn, struct amb_space *sp, amb_str ns)
{
	struct amb_space *to;

	if (sp && sp->txn == txn->id)
		return sp;
	to = amb_txn_alloc(txn, sizeof(*to));
	if (!to)
		return NULL;
	if (sp)
		*to = *sp;
	else
		memset(to, 0, sizeof(*to));
	to->txn = txn->id;
	to->ns = amb_str_get(ns);
	if (sp && sp->lengths) {
		to->lengths = amb_txn_alloc(txn, sizeof(*to->lengths));
		if (!to->lengths) {
			amb_space_free(to);
			return NULL;
		}
		*to->lengths = *sp->lengths;
	}
	return to;
}

int amb_space_file(struct amb_txn *txn, struct amb_space *sp, const struct amb_policy *p,
		   bool remove, uint64_t stamp)
{
	struct filing f = { .txn = txn, .sp = sp, .policy = p, .remove = remove };
	int err = 0;

	sp->stamp = stamp;
	if (!sp->lengths && p->inputs) {
		sp->lengths = amb_txn_alloc(txn, sizeof(*sp->lengths));
		if (!sp->lengths)
			return -ENOMEM;
		memset(sp->lengths, 0, sizeof(*sp->lengths));
	}
	f.class = amb_policy_class(p);
	for (f.rule = 0; f.rule < p->n && !err; f.rule++)
		err = file_rule(&f, &p->rules[f.rule]);
	if (remove) {
		sp->npolicies--;
		sp->nallow -= f.class == AMB_CLASS_ALLOW;
		sp->ninputs[0] -= !!(p->inputs & AMB_POLICY_SRC);
		sp->ninputs[1] -= !!(p->inputs & AMB_POLICY_DST);
	} else {
		sp->npolicies++;
		sp->nallow += f.class == AMB_CLASS_ALLOW;
		sp->ninputs[0] += !!(p->inputs & AMB_POLICY_SRC);
		sp->ninputs[1] += !!(p->inputs & AMB_POLICY_DST);
	}
	return err;
}

static void abort_list(struct amb_txn *txn, void *item)
{
	struct list *l = item;

	if (l->txn == txn->id)
		free(l);
}

void amb_space_abort(struct amb_txn *txn, void *item)
{
	struct amb_space *sp = item;

	if (!sp || sp->txn != txn->id)
		return;
	amb_trie_abort(txn, &sp->lists, abort_list);
	amb_space_free(sp);
}

void amb_space_destroy(void *p)
{
	struct amb_space *sp = p;

	if (!sp)
		return;
	amb_trie_destroy(&sp->lists, free);
	amb_space_free(sp);
}

bool amb_space_empty(const struct amb_space *sp)
{
	return !sp->npolicies;
}

amb_str amb_space_ns(const struct amb_space *sp)
{
	return sp->ns;
}

size_t amb_space_allows(const struct amb_space *sp)
{
	return sp ? sp->nallow : 0;
}

unsigned int amb_space_inputs(const struct amb_space *sp)
{
	if (!sp)
		return 0;
	return (sp->ninputs[0] ? AMB_POLICY_SRC : 0) | (sp->ninputs[1] ? AMB_POLICY_DST : 0);
}

uint64_t amb_space_stamp(const struct amb_space *sp)
{
	return sp ? sp->stamp : 0;
}

/* Calls @fn for each list that a connection asks for, until it returns false. */
static bool each_list(const struct amb_space *sp, enum amb_policy_class class,
		      const struct amb_rule_conn *rc, bool (*fn)(void *ctx, const struct list *l),
		      void *ctx)
{
	const struct amb_identity *peer = rc->c->peer;
	int kind;

	for (kind = 0; kind < KIND_MAX; kind++) {
		uint64_t key = 0;
		const struct list *l;

		if (!sp->kinds[class][kind])
			continue;
		switch (kind) {
		case KIND_PRINCIPAL:
			if (!peer)
				continue;
			key = key_text(kind, class, rc->principal, rc->principal_len);
			break;
		case KIND_ACCOUNT:
			if (!peer)
				continue;
			key = key_account(class, peer->ns, peer->sa);
			break;
		case KIND_NAMESPACE:
			key = key_text(kind, class, rc->ns, rc->ns_len);
			break;
		case KIND_PORT:
			key = key_port(class, rc->c->dst.port);
			break;
		case KIND_NO_PEER:
			if (peer)
				continue;
			key = key_bare(kind, class);
			break;
		case KIND_SRC:
		case KIND_DST: {
			bool dst = kind == KIND_DST;
			struct amb_rule_cidr c = { .v4 = dst ? rc->dst_v4 : rc->src_v4 };
			const struct amb_addr *a = dst ? &rc->c->dst.addr : &rc->c->src.addr;
			const uint32_t *n = sp->lengths->n[class][dst][c.v4];
			unsigned int bits;

			for (bits = c.v4 ? CIDR_MIN_V4 : CIDR_MIN_V6; bits <= 128; bits++) {
				if (!n[bits])
					continue;
				c.bits = bits;
				c.net = amb_rule_mask(a, bits);
				key = key_cidr(kind, class, &c);
				l = amb_trie_find(&sp->lists, &list_ops, (uint32_t)key, &key);
				if (l && !fn(ctx, l))
					return false;
			}
			continue;
		}
		default:
			key = key_bare(kind, class);
		}
		l = amb_trie_find(&sp->lists, &list_ops, (uint32_t)key, &key);
		if (l && !fn(ctx, l))
			return false;
	}
	return true;
}

static bool count_list(void *ctx, const struct list *l)
{
	*(size_t *)ctx += l->n;
	return true;
}

size_t amb_space_candidates(const struct amb_space *sp, enum amb_policy_class class,
			    const struct amb_rule_conn *rc)
{
	size_t n = 0;

	if (sp)
		each_list(sp, class, rc, count_list, &n);
	return n;
}

struct walk {
	enum amb_policy_class class;
	const struct amb_rule_conn *rc;
	bool (*want)(const void *ctx, const struct amb_policy *p);
	const void *wctx;
	bool (*fn)(void *ctx, const struct amb_policy *p);
	void *ctx;
};

static bool walk_list(void *ctx, const struct list *l)
{
	const struct walk *w = ctx;
	uint32_t i;

	for (i = 0; i < l->n; i++) {
		const struct amb_policy *p = l->refs[i].policy;

		if (amb_policy_class(p) != w->class || (w->want && !w->want(w->wctx, p)) ||
		    !amb_rule_holds(&p->rules[l->refs[i].rule], w->rc))
			continue;
		if (!w->fn(w->ctx, p))
			return false;
	}
	return true;
}

bool amb_space_each(const struct amb_space *sp, enum amb_policy_class class,
		    const struct amb_rule_conn *rc,
		    bool (*want)(const void *ctx, const struct amb_policy *p), const void *wctx,
		    bool (*fn)(void *ctx, const struct amb_policy *p), void *ctx)
{
	struct walk w = { class, rc, want, wctx, fn, ctx };

	return !sp || each_list(sp, class, rc, walk_list, &w);
}
