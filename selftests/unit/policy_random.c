// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The indexed engine against a plain one: random policies that come and go, random
 * connections, the same verdicts. The plain evaluator is written from the reference's text
 * and looks at the resources themselves.
 */
#include "policies.h"

#include "base/util.h"

#include <stdarg.h>

#define POLICIES 60
#define ROUNDS 400
#define CONNS 40

static uint64_t seed = 1;

static unsigned int rnd(unsigned int n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % n;
}

static const char *pick(const char *const *v, size_t n)
{
	return v[rnd(n)];
}

#define PICK(v) pick(v, AMB_ARRAY_SIZE(v))

static const char *const spaces[] = { "a", "ab", "b" };
static const char *const peers[] = {
	NULL,
	"spiffe://td/ns/a/sa/x",
	"spiffe://td/ns/a/sa/y",
	"spiffe://td/ns/ab/sa/x",
	"spiffe://td2/ns/a/sa/x",
	"spiffe://td2/ns/b/sa/y",
};
static const char *const addrs[] = {
	"10.0.0.1", "10.0.1.1", "10.1.0.1", "192.168.1.1", "fd00::1", "fd00:1::1", "::1",
};
static const char *const names[] = {
	"a", "b", "ab", "a*", "*b", "*", "?", "<empty>", "c",
};
static const char *const ids[] = {
	"td/ns/a/sa/x",
	"td/ns/a/sa/y",
	"td2/ns/b/sa/y",
	"td/*",
	"td/ns/a*",
	"td/ns/a/*",
	"td2/ns/*",
	"*sa/x",
	"*",
	"?",
	"spiffe://td/ns/a/sa/x",
	"td/ns/ab/sa/x",
	"td/ns/ab/s*",
};
static const char *const accounts[] = { "a/x", "a/y", "b/y", "ab/x", "b/z" };
static const char *const nets[] = {
	"10.0.0.1/32", "10.0.0.0/24",	      "10.0.0.0/16", "10.0.0.0/8",  "0.0.0.0/0",
	"fd00::/16",   "fd00::1/128",	      "::/0",	     "bad",	    "10.0.0.1/33",
	"10.1.0.0/15", "::ffff:10.0.0.0/104", "::1/127",     "192.0.0.0/4",
};
static const char *const ports[] = { "80", "81", "8080", "65616" };

static void add(char *to, size_t len, const char *fmt, ...)
{
	size_t n = strlen(to);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(to + n, len - n, fmt, ap);
	va_end(ap);
}

static void random_field(char *to, size_t len)
{
	static const struct {
		const char *name;
		const char *const *values;
		size_t n;
	} fields[] = {
		{ "ns", names, AMB_ARRAY_SIZE(names) },
		{ "id", ids, AMB_ARRAY_SIZE(ids) },
		{ "sa", accounts, AMB_ARRAY_SIZE(accounts) },
		{ "src", nets, AMB_ARRAY_SIZE(nets) },
		{ "dst", nets, AMB_ARRAY_SIZE(nets) },
		{ "port", ports, AMB_ARRAY_SIZE(ports) },
	};
	unsigned int f = rnd(AMB_ARRAY_SIZE(fields)), n = 1 + rnd(3), i;

	add(to, len, "%s%s=", rnd(4) ? "" : "!", fields[f].name);
	for (i = 0; i < n; i++)
		add(to, len, "%s%s", i ? "+" : "", pick(fields[f].values, fields[f].n));
}

static void random_text(char *to, size_t len)
{
	unsigned int rules = rnd(4), r, c, m, f;

	*to = 0;
	for (r = 0; r < rules; r++) {
		unsigned int clauses = rnd(8) ? 1 + rnd(2) : 0;

		add(to, len, "%s%s", r ? "|" : "", clauses ? "" : "always");
		for (c = 0; c < clauses; c++) {
			unsigned int matches = rnd(10) ? 1 + rnd(3) : 0;

			add(to, len, "%s%s", c ? "&" : "", matches ? "" : "any");
			for (m = 0; m < matches; m++) {
				unsigned int fields = rnd(10) ? 1 + rnd(3) : 0;

				add(to, len, "%s%s", m ? "," : "", fields ? "" : "{}");
				for (f = 0; f < fields; f++) {
					add(to, len, "%s", f ? ";" : "");
					random_field(to, len);
				}
			}
		}
	}
}

/* The plain evaluator: 6.3, field by field. */

enum { NO, YES, UNDECODABLE };

static int string_holds(const Istio__Security__StringMatch *m, const char *s)
{
	size_t n = strlen(s), k;

	switch (m->match_type_case) {
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT:
		return !strcmp(m->exact, s);
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PREFIX:
		return !strncmp(s, m->prefix, strlen(m->prefix));
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX:
		k = strlen(m->suffix);
		return n >= k && !strcmp(s + n - k, m->suffix);
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE:
		return n > 0;
	default:
		return UNDECODABLE;
	}
}

static int cidr_holds(const Istio__Security__Address *m, const struct amb_addr *a)
{
	bool v4 = amb_addr_is_v4(a);
	struct amb_addr net;
	unsigned int bits = m->length, i;

	if ((m->address.len != 4 && m->address.len != 16) || bits > m->address.len * 8)
		return UNDECODABLE;
	amb_addr_from_bytes(m->address.data, m->address.len, &net);
	if (m->address.len == 4)
		bits += 96;
	if (v4 != (amb_addr_is_v4(&net) && bits >= 96))
		return NO;
	for (i = 0; i < bits; i++) {
		if ((a->b[i / 8] ^ net.b[i / 8]) >> (7 - i % 8) & 1)
			return NO;
	}
	return YES;
}

/* One field: counts of its values by outcome make it hold, fail, or be no condition. */
struct field {
	int allow;
	bool some; /* the match has a condition */
	bool fails;
};

static void judge_field(struct field *f, bool negated, const int *outcomes, size_t n)
{
	size_t yes = 0, known = 0, i;

	if (!n)
		return;
	for (i = 0; i < n; i++) {
		known += outcomes[i] != UNDECODABLE;
		yes += outcomes[i] == YES;
	}
	if (f->allow && ((!negated && !known) || (negated && known < n)))
		f->fails = true;
	if (!known)
		return;
	f->some = true;
	if (negated ? yes : !yes)
		f->fails = true;
}

#define FIELD(list, n_list, negated, expr)                                                         \
	do {                                                                                       \
		int _o[8];                                                                         \
		size_t _i;                                                                         \
		for (_i = 0; _i < m->n_list; _i++) {                                               \
			__typeof__(m->list[0]) v = m->list[_i];                                    \
			_o[_i] = (expr);                                                           \
		}                                                                                  \
		judge_field(&f, negated, _o, m->n_list);                                           \
	} while (0)

static bool match_holds(const Istio__Security__Match *m, bool allow,
			const struct amb_policy_conn *c)
{
	const char *ns = c->peer ? c->peer->ns : "", *id = c->peer ? c->peer->spiffe + 9 : "";
	struct field f = { .allow = allow };

#define ID(v) ((v)->match_type_case && !c->peer ? NO : string_holds(v, id))
#define SA(v)                                                                                      \
	(c->peer && !strcmp((v)->namespace_, c->peer->ns) &&                                       \
	 !strcmp((v)->service_account, c->peer->sa))
	FIELD(namespaces, n_namespaces, false, string_holds(v, ns));
	FIELD(not_namespaces, n_not_namespaces, true, string_holds(v, ns));
	FIELD(principals, n_principals, false, ID(v));
	FIELD(not_principals, n_not_principals, true, ID(v));
	FIELD(service_accounts, n_service_accounts, false, SA(v));
	FIELD(not_service_accounts, n_not_service_accounts, true, SA(v));
	FIELD(source_ips, n_source_ips, false, cidr_holds(v, &c->src.addr));
	FIELD(not_source_ips, n_not_source_ips, true, cidr_holds(v, &c->src.addr));
	FIELD(destination_ips, n_destination_ips, false, cidr_holds(v, &c->dst.addr));
	FIELD(not_destination_ips, n_not_destination_ips, true, cidr_holds(v, &c->dst.addr));
	FIELD(destination_ports, n_destination_ports, false, (uint16_t)v == c->dst.port);
	FIELD(not_destination_ports, n_not_destination_ports, true, (uint16_t)v == c->dst.port);
	return f.some && !f.fails;
}

static bool policy_holds(const Istio__Security__Authorization *p, const struct amb_policy_conn *c)
{
	size_t r, i, j;

	for (r = 0; r < p->n_rules; r++) {
		const Istio__Security__Rule *rule = p->rules[r];
		bool all = true;

		for (i = 0; i < rule->n_clauses; i++) {
			const Istio__Security__Clause *cl = rule->clauses[i];
			bool any = !cl->n_matches;

			for (j = 0; j < cl->n_matches; j++)
				any |= match_holds(cl->matches[j], !p->action, c);
			all &= any;
		}
		if (all)
			return true;
	}
	return false;
}

struct world {
	Istio__Security__Authorization *p[POLICIES]; /* NULL: not there */
	const char *ns; /* of the destination */
	bool listed[POLICIES];
};

static bool applies(const struct world *w, int i)
{
	const Istio__Security__Authorization *p = w->p[i];

	if (!p)
		return false;
	return w->listed[i] || p->scope == 0 || (p->scope == 1 && !strcmp(p->namespace_, w->ns));
}

/* 6.2, and which dry-run policies hold, as bits. */
static enum amb_reason plain(const struct world *w, const struct amb_policy_conn *c, uint64_t *dry)
{
	bool deny = false, may = false, allow = false;
	int i;

	*dry = 0;
	for (i = 0; i < POLICIES; i++) {
		bool holds;

		if (!applies(w, i))
			continue;
		holds = policy_holds(w->p[i], c);
		if (w->p[i]->dry_run) {
			*dry |= (uint64_t)holds << i;
		} else if (w->p[i]->action) {
			deny |= holds;
		} else {
			may = true;
			allow |= holds;
		}
	}
	if (deny)
		return AMB_REASON_POLICY_DENY;
	if (!may)
		return AMB_REASON_POLICY_NONE;
	return allow ? AMB_REASON_POLICY_ALLOW : AMB_REASON_POLICY_NOT_ALLOWED;
}

static void note(void *ctx, const char *policy, bool deny)
{
	(void)deny;
	*(uint64_t *)ctx |= 1ull << atoi(strchr(policy, '/') + 1);
}

static void change(struct amb_state *st, struct world *w, int i)
{
	char text[2048], name[16];

	snprintf(name, sizeof(name), "%d", i);
	if (w->p[i] && rnd(2)) {
		char key[64];

		snprintf(key, sizeof(key), "%s/%d", w->p[i]->namespace_, i);
		CHECK_EQ(mesh_remove(st, key, true), 0);
		w->p[i] = NULL;
		return;
	}
	random_text(text, sizeof(text));
	/* The namespace is part of the name, so it stays. */
	w->p[i] = mesh_policy(spaces[i % 3], name, rnd(3), rnd(2), !rnd(5), text);
	CHECK_EQ(mesh_put_policy(st, w->p[i]), 0);
}

static void list(struct amb_state *st, struct world *w)
{
	char text[POLICIES * 8] = "a/unknown";
	unsigned int share = rnd(3) ? 10 : 2;
	int i;

	w->ns = PICK(spaces);
	for (i = 0; i < POLICIES; i++) {
		w->listed[i] = !rnd(share);
		if (w->listed[i])
			add(text, sizeof(text), " %s/%d", spaces[i % 3], i);
	}
	CHECK_EQ(mesh_put_workload(st, (struct wl){ .uid = "dst", .ns = w->ns, .policies = text }),
		 0);
}

static int reasons[AMB_REASON_MAX];

static void compare(struct amb_state *st, const struct world *w)
{
	struct amb_policy_conn c = { 0 };
	const char *peer = PICK(peers);
	uint64_t want_dry, dry = 0;
	enum amb_reason want;
	struct amb_verdict v;

	if (peer)
		c.peer = amb_identity_parse(peer, strlen(peer));
	CHECK_EQ(amb_addr_parse(PICK(addrs), &c.src.addr), 0);
	CHECK_EQ(amb_addr_parse(PICK(addrs), &c.dst.addr), 0);
	c.dst.port = 80 + rnd(3);
	want = plain(w, &c, &want_dry);
	reasons[want]++;
	amb_state_read_begin(st);
	amb_policy_check(st, amb_state_workload_by_uid(st, "dst"), &c, &v, note, &dry);
	amb_state_read_end(st);
	CHECK_EQ(v.reason, want);
	CHECK_EQ(v.allow, want == AMB_REASON_POLICY_ALLOW || want == AMB_REASON_POLICY_NONE);
	CHECK_EQ(dry, want_dry);
	if (want == AMB_REASON_POLICY_DENY || want == AMB_REASON_POLICY_ALLOW) {
		int i = atoi(strchr(v.policy, '/') + 1);

		CHECK(applies(w, i) && policy_holds(w->p[i], &c));
		CHECK_EQ(w->p[i]->action, want == AMB_REASON_POLICY_DENY);
	}
	amb_identity_put((struct amb_identity *)c.peer);
}

TEST(random)
{
	struct amb_state *st = mesh_state("");
	struct world w = { .ns = "a" };
	int round, i;
	char name[32];

	for (round = 0; round < ROUNDS; round++) {
		snprintf(name, sizeof(name), "round %d", round);
		CASE(name);
		/* from few policies, where ALLOW decides, to many, where something denies */
		for (i = 0; i < 4; i++)
			change(st, &w, rnd(1 + round % POLICIES));
		if (round % 4 == 0)
			list(st, &w);
		for (i = 0; i < CONNS; i++)
			compare(st, &w);
		if (round % 100 == 99) {
			/* the plain side keeps its resources, so start over with both */
			for (i = 0; i < POLICIES; i++)
				w.p[i] = NULL;
			amb_state_destroy(st);
			mesh_free();
			st = mesh_state("");
			list(st, &w);
		}
	}
	amb_state_destroy(st);
	mesh_free();
	/* Random is of use only as far as it gets around. */
	CHECK(reasons[AMB_REASON_POLICY_DENY] > 100 &&
	      reasons[AMB_REASON_POLICY_NOT_ALLOWED] > 100);
	CHECK(reasons[AMB_REASON_POLICY_ALLOW] > 100 && reasons[AMB_REASON_POLICY_NONE] > 100);
}

int main(void)
{
	const char *env = getenv("SEED");
	int rc;

	if (env)
		seed = strtoull(env, NULL, 0);
	urcu_memb_register_thread();
	rc = harness_run();
	urcu_memb_unregister_thread();
	return rc;
}
