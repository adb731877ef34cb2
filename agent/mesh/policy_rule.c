// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One policy: from the resource to arrays in a few chunks of memory, and their evaluation.
 * Rules are ORed, clauses ANDed, matches ORed, fields ANDed, values ORed.
 */
#include "policy_rule.h"

#include "authorization.pb-c.h"

#include "base/util.h"
#include "table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_MIN 256

struct amb_rule_chunk {
	struct amb_rule_chunk *next;
	size_t used, size;
	max_align_t data[];
};

/* Zeroed memory that lives as long as the policy. */
static void *take(struct amb_policy *p, size_t size)
{
	struct amb_rule_chunk *c = p->chunks;
	void *at;

	size = (size + 7) & ~(size_t)7;
	if (!c || c->size - c->used < size) {
		size_t room = AMB_MAX(size, (size_t)CHUNK_MIN);

		c = calloc(1, sizeof(*c) + room);
		if (!c)
			return NULL;
		c->size = room;
		c->next = p->chunks;
		p->chunks = c;
	}
	at = (char *)c->data + c->used;
	c->used += size;
	return at;
}

static char *take_text(struct amb_policy *p, const char *s)
{
	size_t n = strlen(s) + 1;
	char *to = take(p, n);

	if (to)
		memcpy(to, s, n);
	return to;
}

struct amb_addr amb_rule_mask(const struct amb_addr *a, unsigned int bits)
{
	struct amb_addr out = { 0 };

	memcpy(out.b, a->b, bits / 8);
	if (bits % 8)
		out.b[bits / 8] = a->b[bits / 8] & 0xff00 >> bits % 8;
	return out;
}

/* A match in the making; @never: it must not hold, whatever its conditions. */
struct build {
	struct amb_policy *p;
	struct amb_rule_match *m;
	bool never;
};

/* Room for a condition of @n values of @size bytes; the caller fills and counts them. */
static struct amb_rule_cond *cond_begin(struct build *b, enum amb_rule_field field, bool negated,
					size_t n, size_t size)
{
	struct amb_rule_cond *c = &b->m->conds[b->m->n];

	*c = (struct amb_rule_cond){ .field = field, .negated = negated };
	c->texts = take(b->p, n * size);
	return c->texts ? c : NULL;
}

static void cond_end(struct build *b, const struct amb_rule_cond *c, size_t from)
{
	bool allow = b->p->action == ISTIO__SECURITY__ACTION__ALLOW;

	if (c->n)
		b->m->n++;
	if (allow && (c->negated ? c->n < from : !c->n))
		b->never = true;
}

static int add_texts(struct build *b, enum amb_rule_field field, bool negated, size_t n,
		     Istio__Security__StringMatch **from)
{
	struct amb_rule_cond *c;
	size_t i;

	if (!n)
		return 0;
	c = cond_begin(b, field, negated, n, sizeof(c->texts[0]));
	if (!c)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		struct amb_rule_text *t = &c->texts[c->n];
		const char *s;

		switch (from[i]->match_type_case) {
		case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT:
			t->op = AMB_RULE_EXACT;
			s = from[i]->exact;
			break;
		case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PREFIX:
			t->op = AMB_RULE_PREFIX;
			s = from[i]->prefix;
			break;
		case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX:
			t->op = AMB_RULE_SUFFIX;
			s = from[i]->suffix;
			break;
		case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE:
			t->op = AMB_RULE_PRESENCE;
			s = "";
			break;
		default:
			continue;
		}
		t->s = take_text(b->p, s);
		if (!t->s)
			return -ENOMEM;
		t->len = strlen(s);
		c->n++;
	}
	cond_end(b, c, n);
	return 0;
}

static int add_accounts(struct build *b, bool negated, size_t n,
			Istio__Security__ServiceAccountMatch **from)
{
	struct amb_rule_cond *c;
	size_t i;

	if (!n)
		return 0;
	c = cond_begin(b, AMB_RULE_ACCOUNT, negated, n, sizeof(c->accounts[0]));
	if (!c)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		c->accounts[i].ns = take_text(b->p, from[i]->namespace_);
		c->accounts[i].sa = take_text(b->p, from[i]->service_account);
		if (!c->accounts[i].ns || !c->accounts[i].sa)
			return -ENOMEM;
	}
	c->n = n;
	cond_end(b, c, n);
	return 0;
}

static bool decode_cidr(const Istio__Security__Address *from, struct amb_rule_cidr *to)
{
	struct amb_addr a;

	if (amb_addr_from_bytes(from->address.data, from->address.len, &a) ||
	    from->length > from->address.len * 8)
		return false;
	to->bits = from->length + (from->address.len == 4 ? 96 : 0);
	/* A mapped IPv6 prefix means IPv4 as long as it says so. */
	to->v4 = amb_addr_is_v4(&a) && to->bits >= 96;
	to->net = amb_rule_mask(&a, to->bits);
	return true;
}

static int add_cidrs(struct build *b, enum amb_rule_field field, bool negated, size_t n,
		     Istio__Security__Address **from)
{
	struct amb_rule_cond *c;
	size_t i;

	if (!n)
		return 0;
	c = cond_begin(b, field, negated, n, sizeof(c->cidrs[0]));
	if (!c)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		c->n += decode_cidr(from[i], &c->cidrs[c->n]);
	cond_end(b, c, n);
	return 0;
}

static int add_ports(struct build *b, bool negated, size_t n, const uint32_t *from)
{
	struct amb_rule_cond *c;
	size_t i;

	if (!n)
		return 0;
	c = cond_begin(b, AMB_RULE_PORT, negated, n, sizeof(c->ports[0]));
	if (!c)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		c->ports[i] = from[i];
	c->n = n;
	cond_end(b, c, n);
	return 0;
}

static size_t count_conds(const Istio__Security__Match *m)
{
	return !!m->n_destination_ports + !!m->n_not_destination_ports + !!m->n_namespaces +
	       !!m->n_not_namespaces + !!m->n_principals + !!m->n_not_principals +
	       !!m->n_service_accounts + !!m->n_not_service_accounts + !!m->n_source_ips +
	       !!m->n_not_source_ips + !!m->n_destination_ips + !!m->n_not_destination_ips;
}

static int compile_match(struct amb_policy *p, const Istio__Security__Match *m,
			 struct amb_rule_match *to)
{
	struct build b = { .p = p, .m = to };
	int err;

	to->conds = take(p, count_conds(m) * sizeof(to->conds[0]));
	if (!to->conds)
		return -ENOMEM;
	err = add_ports(&b, false, m->n_destination_ports, m->destination_ports);
	if (!err)
		err = add_ports(&b, true, m->n_not_destination_ports, m->not_destination_ports);
	if (!err)
		err = add_texts(&b, AMB_RULE_NAMESPACE, false, m->n_namespaces, m->namespaces);
	if (!err)
		err = add_texts(&b, AMB_RULE_NAMESPACE, true, m->n_not_namespaces,
				m->not_namespaces);
	if (!err)
		err = add_texts(&b, AMB_RULE_PRINCIPAL, false, m->n_principals, m->principals);
	if (!err)
		err = add_texts(&b, AMB_RULE_PRINCIPAL, true, m->n_not_principals,
				m->not_principals);
	if (!err)
		err = add_accounts(&b, false, m->n_service_accounts, m->service_accounts);
	if (!err)
		err = add_accounts(&b, true, m->n_not_service_accounts, m->not_service_accounts);
	if (!err)
		err = add_cidrs(&b, AMB_RULE_SRC, false, m->n_source_ips, m->source_ips);
	if (!err)
		err = add_cidrs(&b, AMB_RULE_SRC, true, m->n_not_source_ips, m->not_source_ips);
	if (!err)
		err = add_cidrs(&b, AMB_RULE_DST, false, m->n_destination_ips, m->destination_ips);
	if (!err)
		err = add_cidrs(&b, AMB_RULE_DST, true, m->n_not_destination_ips,
				m->not_destination_ips);
	if (m->n_source_ips || m->n_not_source_ips)
		p->inputs |= AMB_POLICY_SRC;
	if (m->n_destination_ips || m->n_not_destination_ips)
		p->inputs |= AMB_POLICY_DST;
	if (b.never)
		to->n = 0;
	return err;
}

static int compile_rule(struct amb_policy *p, const Istio__Security__Rule *m, struct amb_rule *to)
{
	size_t i, j;

	to->clauses = take(p, m->n_clauses * sizeof(to->clauses[0]));
	if (!to->clauses)
		return -ENOMEM;
	to->n = m->n_clauses;
	for (i = 0; i < m->n_clauses; i++) {
		struct amb_rule_clause *c = &to->clauses[i];

		c->matches = take(p, m->clauses[i]->n_matches * sizeof(c->matches[0]));
		if (!c->matches)
			return -ENOMEM;
		c->n = m->clauses[i]->n_matches;
		for (j = 0; j < c->n; j++) {
			if (compile_match(p, m->clauses[i]->matches[j], &c->matches[j]))
				return -ENOMEM;
		}
	}
	return 0;
}

static void *again_alloc(void *failed, size_t size)
{
	void *p = malloc(size);

	*(bool *)failed |= !p;
	return p;
}

static void again_free(void *failed, void *p)
{
	(void)failed;
	free(p);
}

/*
 * The resource as dumps show it. Unknown fields are kept, and protobuf-c takes in some (number
 * 0, in a tag longer than need be) that it refuses when it reads what it wrote itself.
 */
static int keep_source(struct amb_policy *p, const Istio__Security__Authorization *m)
{
	bool failed = false;
	ProtobufCAllocator heap = { again_alloc, again_free, &failed };
	Istio__Security__Authorization *again;
	uint8_t *to;

	p->packed_len = istio__security__authorization__get_packed_size(m);
	to = take(p, p->packed_len);
	if (!to)
		return -ENOMEM;
	istio__security__authorization__pack(m, to);
	p->packed = to;
	again = istio__security__authorization__unpack(&heap, p->packed_len, to);
	if (!again)
		return failed ? -ENOMEM : -EINVAL;
	istio__security__authorization__free_unpacked(again, &heap);
	return 0;
}

static int compile(struct amb_policy *p, const Istio__Security__Authorization *m)
{
	char key[AMB_POLICY_NAME_MAX];
	size_t i;

	snprintf(key, sizeof(key), "%s/%s", m->namespace_, m->name);
	p->key = amb_str_intern(key, strlen(key));
	p->ns = amb_str_intern(m->namespace_, strlen(m->namespace_));
	p->name = amb_str_intern(m->name, strlen(m->name));
	p->rules = take(p, m->n_rules * sizeof(p->rules[0]));
	if (!p->key || !p->ns || !p->name || !p->rules)
		return -ENOMEM;
	p->scope = m->scope;
	p->action = m->action;
	p->dry_run = m->dry_run;
	p->n = m->n_rules;
	for (i = 0; i < p->n; i++) {
		if (compile_rule(p, m->rules[i], &p->rules[i]))
			return -ENOMEM;
	}
	return keep_source(p, m);
}

/* NULL when @m can be compiled. */
static const char *refusal(const Istio__Security__Authorization *m)
{
	if ((unsigned int)m->scope > ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR)
		return "scope: unknown value";
	if ((unsigned int)m->action > ISTIO__SECURITY__ACTION__DENY)
		return "action: unknown value";
	if (!*m->name || strchr(m->name, '/') || strchr(m->namespace_, '/') ||
	    !amb_resource_text_ok(m->name) || !amb_resource_text_ok(m->namespace_) ||
	    strlen(m->name) + strlen(m->namespace_) + 2 > AMB_POLICY_NAME_MAX)
		return "name or namespace: empty, too long or not a name";
	return NULL;
}

struct amb_policy *amb_rule_compile(const Istio__Security__Authorization *m, char *reason)
{
	const char *why = refusal(m);
	struct amb_policy *p;
	int err;

	if (why) {
		snprintf(reason, AMB_RESOURCE_REASON, "%s", why);
		errno = EINVAL;
		return NULL;
	}
	p = calloc(1, sizeof(*p));
	err = p ? compile(p, m) : -ENOMEM;
	if (!err)
		return p;
	if (err == -EINVAL)
		snprintf(reason, AMB_RESOURCE_REASON, "fields that cannot be read back");
	amb_rule_free(p);
	errno = -err;
	return NULL;
}

void amb_rule_free(struct amb_policy *p)
{
	struct amb_rule_chunk *c, *next;

	if (!p)
		return;
	for (c = p->chunks; c; c = next) {
		next = c->next;
		free(c);
	}
	amb_str_put(p->key);
	amb_str_put(p->ns);
	amb_str_put(p->name);
	free(p);
}

void amb_rule_conn_init(struct amb_rule_conn *rc, const struct amb_policy_conn *c)
{
	rc->c = c;
	rc->principal = c->peer ? c->peer->spiffe + strlen("spiffe://") : "";
	rc->principal_len = strlen(rc->principal);
	rc->ns = c->peer ? c->peer->ns : "";
	rc->ns_len = c->peer ? c->peer->ns_len : 0;
	rc->src_v4 = amb_addr_is_v4(&c->src.addr);
	rc->dst_v4 = amb_addr_is_v4(&c->dst.addr);
}

static bool text_holds(const struct amb_rule_text *t, const char *s, size_t len)
{
	switch (t->op) {
	case AMB_RULE_EXACT:
		return len == t->len && !memcmp(s, t->s, len);
	case AMB_RULE_PREFIX:
		return len >= t->len && !memcmp(s, t->s, t->len);
	case AMB_RULE_SUFFIX:
		return len >= t->len && !memcmp(s + len - t->len, t->s, t->len);
	default:
		return len != 0;
	}
}

static bool any_text(const struct amb_rule_cond *c, const char *s, size_t len)
{
	uint32_t i;

	for (i = 0; i < c->n; i++) {
		if (text_holds(&c->texts[i], s, len))
			return true;
	}
	return false;
}

static bool any_account(const struct amb_rule_cond *c, const struct amb_identity *peer)
{
	uint32_t i;

	for (i = 0; peer && i < c->n; i++) {
		if (!strcmp(c->accounts[i].ns, peer->ns) && !strcmp(c->accounts[i].sa, peer->sa))
			return true;
	}
	return false;
}

static bool cidr_holds(const struct amb_rule_cidr *n, const struct amb_addr *a, bool v4)
{
	unsigned int bytes = n->bits / 8, bits = n->bits % 8;

	if (n->v4 != v4 || memcmp(a->b, n->net.b, bytes))
		return false;
	return !bits || !((a->b[bytes] ^ n->net.b[bytes]) >> (8 - bits));
}

static bool any_cidr(const struct amb_rule_cond *c, const struct amb_addr *a, bool v4)
{
	uint32_t i;

	for (i = 0; i < c->n; i++) {
		if (cidr_holds(&c->cidrs[i], a, v4))
			return true;
	}
	return false;
}

static bool any_port(const struct amb_rule_cond *c, uint16_t port)
{
	uint32_t i;

	for (i = 0; i < c->n; i++) {
		if (c->ports[i] == port)
			return true;
	}
	return false;
}

static bool cond_holds(const struct amb_rule_cond *c, const struct amb_rule_conn *rc)
{
	bool any = false;

	switch (c->field) {
	case AMB_RULE_NAMESPACE:
		any = any_text(c, rc->ns, rc->ns_len);
		break;
	case AMB_RULE_PRINCIPAL:
		/* Without identity nothing matches, not even an empty prefix. */
		any = rc->c->peer && any_text(c, rc->principal, rc->principal_len);
		break;
	case AMB_RULE_ACCOUNT:
		any = any_account(c, rc->c->peer);
		break;
	case AMB_RULE_SRC:
		any = any_cidr(c, &rc->c->src.addr, rc->src_v4);
		break;
	case AMB_RULE_DST:
		any = any_cidr(c, &rc->c->dst.addr, rc->dst_v4);
		break;
	case AMB_RULE_PORT:
		any = any_port(c, rc->c->dst.port);
		break;
	}
	return any != c->negated;
}

static bool match_holds(const struct amb_rule_match *m, const struct amb_rule_conn *rc)
{
	uint32_t i;

	for (i = 0; i < m->n; i++) {
		if (!cond_holds(&m->conds[i], rc))
			return false;
	}
	return m->n;
}

static bool clause_holds(const struct amb_rule_clause *c, const struct amb_rule_conn *rc)
{
	uint32_t i;

	for (i = 0; i < c->n; i++) {
		if (match_holds(&c->matches[i], rc))
			return true;
	}
	return !c->n;
}

bool amb_rule_holds(const struct amb_rule *rule, const struct amb_rule_conn *rc)
{
	uint32_t i;

	for (i = 0; i < rule->n; i++) {
		if (!clause_holds(&rule->clauses[i], rc))
			return false;
	}
	return true;
}

bool amb_rule_policy_holds(const struct amb_policy *p, const struct amb_rule_conn *rc)
{
	uint32_t i;

	for (i = 0; i < p->n; i++) {
		if (amb_rule_holds(&p->rules[i], rc))
			return true;
	}
	return false;
}
