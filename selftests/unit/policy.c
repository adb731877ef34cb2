// SPDX-License-Identifier: GPL-2.0-or-later
/* L4 policy: the tables of the reference, section 6, scopes, stamps and dry run. */
#include "policies.h"

#include "base/log.h"
#include "base/util.h"
#include "mesh/policy_set.h"

#include <pthread.h>
#include <unistd.h>

struct conn {
	const char *peer, *src, *dst;
};

static const struct conn conns[] = {
	{ NULL, "127.0.0.1:50000", "127.0.0.2:8080" },
	{ "spiffe://td/ns/namespace/sa/account", "127.0.0.1:50000", "127.0.0.2:8080" },
	{ "spiffe://td-alt/ns/ns-alt/sa/sa=alt", "127.0.0.3:50000", "127.0.0.4:9090" },
};
#define P 0
#define T 1
#define A 2

static void make_conn(const struct conn *c, struct amb_policy_conn *out)
{
	out->peer = c->peer ? amb_identity_parse(c->peer, strlen(c->peer)) : NULL;
	CHECK(!c->peer || out->peer);
	CHECK_EQ(amb_endpoint_parse(c->src, &out->src), 0);
	CHECK_EQ(amb_endpoint_parse(c->dst, &out->dst), 0);
}

static void note_dry(void *ctx, const char *policy, bool deny)
{
	char *to = ctx;

	snprintf(to + strlen(to), 200 - strlen(to), "%s%s:%s", *to ? " " : "", policy,
		 deny ? "deny" : "allow");
}

static void judge(struct amb_state *st, const struct conn *c, struct amb_verdict *v, char *dry)
{
	struct amb_policy_conn pc;

	make_conn(c, &pc);
	amb_state_read_begin(st);
	amb_policy_check(st, amb_state_workload_by_uid(st, "dst"), &pc, v, dry ? note_dry : NULL,
			 dry);
	amb_state_read_end(st);
	amb_identity_put((struct amb_identity *)pc.peer);
}

/* Section 6.6, "M" where the policy matches. */
static const struct {
	const char *what, *policy, *want; /* for P, T, A */
} vectors[] = {
	{ "1 no rules", "", "..." },
	{ "2 rule without clauses", "always", "MMM" },
	{ "3 clause without matches", "any", "MMM" },
	{ "4 empty match", "{}", "..." },
	{ "5 namespace", "ns=namespace", ".M." },
	{ "6 not namespace", "!ns=namespace", "M.M" },
	{ "7 service account", "sa=namespace/account", ".M." },
	{ "8 not service account", "!sa=namespace/account", "M.M" },
	{ "9 principal", "id=td/ns/namespace/sa/account", ".M." },
	{ "10 not principal", "!id=td/ns/namespace/sa/account", "M.M" },
	{ "11 principal presence", "id=*", ".MM" },
	{ "12 strict", "!id=*", "M.." },
	{ "13 principal prefix", "id=td/*", ".M." },
	{ "14 principal suffix", "id=*sa/account", ".M." },
	{ "15 principal with spiffe://", "id=spiffe://td/ns/namespace/sa/account", "..." },
	{ "16 source", "src=127.0.0.1/32", "MM." },
	{ "17 not source", "!src=127.0.0.1/32", "..M" },
	{ "18 destination", "dst=127.0.0.2/32", "MM." },
	{ "19 not destination", "!dst=127.0.0.2/32", "..M" },
	{ "20 destination network", "dst=127.0.0.1/24", "MMM" },
	{ "21 port", "port=8080", "MM." },
	{ "22 not port", "!port=8080", "..M" },
	{ "23 namespace and port in one match", "ns=namespace;port=9090", "..." },
	{ "24 two matches", "ns=namespace,ns=ns-alt", ".MM" },
	{ "25 two clauses", "ns=* & port=8080", ".M." },
	{ "26 two rules", "port=9090 | src=127.0.0.1/32", "MMM" },
	/* beyond the reference's table */
	{ "positive and negative of one field", "ns=*;!ns=ns-alt", ".M." },
	{ "several values", "port=1+9090+2", "..M" },
	{ "not, several values", "!port=1+9090+2", "MM." },
	{ "not namespace presence", "!ns=*", "M.." },
	{ "service account of any trust domain", "sa=ns-alt/sa=alt", "..M" },
	{ "principal of another trust domain", "id=td-alt/ns/ns-alt/sa/sa=alt", "..M" },
	{ "principal without its trust domain", "id=ns/namespace/sa/account", "..." },
	{ "namespace prefix", "ns=ns-*", "..M" },
	{ "namespace, empty prefix matches plaintext", "ns=<empty>", "M.." },
	{ "principal, prefix naming a namespace", "id=td/ns/namespace/*", ".M." },
	{ "principal, prefix ending within a namespace", "id=td/ns/names*", ".M." },
	{ "namespace is compared with case", "ns=Namespace", "..." },
	{ "source, all of IPv4", "src=0.0.0.0/0", "MMM" },
	{ "source, all of IPv6", "src=::/0", "..." },
	{ "source, mapped", "src=::ffff:127.0.0.1/128", "MM." },
	{ "source, mapped network", "src=::ffff:127.0.0.0/120", "MMM" },
	{ "port is cut to 16 bits", "port=73616", "MM." },
	{ "an empty match beside another", "{},port=8080", "MM." },
	{ "an empty match in a second clause", "port=8080 & {}", "..." },
	{ "strict but for a port", "!id=* & !port=8080", "..." },
	{ "strict on a port", "!id=*;port=8080", "M.." },
};

static void run_vector(const char *what, const char *text, const char *want, int scope)
{
	struct wl w = { .uid = "dst", .ns = "own", .policies = scope == 2 ? "p/pol" : "" };
	struct amb_state *st = mesh_state("");
	struct amb_verdict v;
	int i;

	CASE(what);
	CHECK_EQ(mesh_put_workload(st, w), 0);
	/* DENY tells a match from none, and so does ALLOW. */
	for (i = P; i <= A; i++) {
		const char *ns = scope == 1 ? "own" : "p";

		CHECK_EQ(mesh_put_policy(st, mesh_policy(ns, "pol", scope, 1, false, text)), 0);
		judge(st, &conns[i], &v, NULL);
		CHECK_EQ(v.allow, want[i] != 'M');
		CHECK_EQ(v.reason, v.allow ? AMB_REASON_POLICY_NONE : AMB_REASON_POLICY_DENY);
		CHECK_STR(v.policy, v.allow ? "" : scope == 1 ? "own/pol" : "p/pol");
		CHECK_EQ(mesh_put_policy(st, mesh_policy(ns, "pol", scope, 0, false, text)), 0);
		judge(st, &conns[i], &v, NULL);
		CHECK_EQ(v.allow, want[i] == 'M');
		CHECK_EQ(v.reason,
			 v.allow ? AMB_REASON_POLICY_ALLOW : AMB_REASON_POLICY_NOT_ALLOWED);
	}
	amb_state_destroy(st);
	mesh_free();
}

TEST(vectors)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(vectors) * 3; i++)
		run_vector(vectors[i / 3].what, vectors[i / 3].policy, vectors[i / 3].want, i % 3);
}

/* What cannot be decoded must not make an ALLOW wider; a DENY is as ztunnel has it. */
static const struct {
	const char *what, *policy, *allow, *deny; /* M where it matches */
} bad[] = {
	{ "only a bad value", "ns=?", "...", "..." },
	{ "a bad value beside a good one", "ns=?+namespace", ".M.", ".M." },
	{ "a bad field beside a good one", "ns=?;port=8080", "...", "MM." },
	{ "a bad network", "src=bad", "...", "..." },
	{ "a bad network beside a port", "src=bad;port=8080", "...", "MM." },
	{ "a bad negated value", "!ns=?;port=8080", "...", "MM." },
	{ "a bad negated value beside a good one", "!ns=?+namespace", "...", "M.M" },
	{ "a bad prefix length", "src=127.0.0.1/33;port=8080", "...", "MM." },
	{ "a bad match beside a good one", "src=bad,port=8080", "MM.", "MM." },
};

TEST(undecodable)
{
	size_t i, j;

	for (i = 0; i < AMB_ARRAY_SIZE(bad); i++) {
		struct amb_state *st = mesh_state("");
		struct amb_verdict v;

		CASE(bad[i].what);
		CHECK_EQ(mesh_put_workload(st, (struct wl){ .uid = "dst" }), 0);
		for (j = P; j <= A; j++) {
			mesh_put_policy(st, mesh_policy("", "p", 0, 0, false, bad[i].policy));
			judge(st, &conns[j], &v, NULL);
			CHECK_EQ(v.allow, bad[i].allow[j] == 'M');
			mesh_put_policy(st, mesh_policy("", "p", 0, 1, false, bad[i].policy));
			judge(st, &conns[j], &v, NULL);
			CHECK_EQ(v.allow, bad[i].deny[j] != 'M');
		}
		amb_state_destroy(st);
		mesh_free();
	}
}

/* The string table, on namespaces; "" is a connection without identity. */
static const struct {
	const char *value, *ns;
	int want;
} strings[] = {
	{ "foo", "foo", 1 },	 { "foo", "not", 0 },	  { "foo", "", 0 },
	{ "foo*", "foobar", 1 }, { "foo*", "notfoo", 0 }, { "foo*", "", 0 },
	{ "*foo", "barfoo", 1 }, { "*foo", "foonot", 0 }, { "*foo", "", 0 },
	{ "*", "foo", 1 },	 { "*", "", 0 },
};

TEST(strings)
{
	struct amb_state *st = mesh_state("");
	struct amb_verdict v;
	size_t i;

	CHECK_EQ(mesh_put_workload(st, (struct wl){ .uid = "dst" }), 0);
	for (i = 0; i < AMB_ARRAY_SIZE(strings); i++) {
		struct conn c = conns[T];
		char peer[64], text[64];

		CASE(strings[i].value);
		snprintf(peer, sizeof(peer), "spiffe://td/ns/%s/sa/x", strings[i].ns);
		c.peer = *strings[i].ns ? peer : NULL;
		snprintf(text, sizeof(text), "ns=%s", strings[i].value);
		mesh_put_policy(st, mesh_policy("", "p", 0, 0, false, text));
		judge(st, &c, &v, NULL);
		CHECK_EQ(v.allow, strings[i].want);
	}
	amb_state_destroy(st);
	mesh_free();
}

/* D1 to D15; a policy: "scope action[dry] text", scope g, n<ns>, s. */
static const struct {
	const char *what;
	struct {
		int scope, action;
		bool dry;
		const char *ns, *text;
	} p[3];
	const char *list;
	const char *conns; /* which of P, T, A */
	bool allow;
	const char *dry;
} verdicts[] = {
	{ "D1", { { 0 } }, "", "PTA", true, "" },
	{ "D2", { { 0, 0, false, "r", "ns=namespace" } }, "", "T", true, "" },
	{ "D3", { { 0, 0, false, "r", "ns=namespace" } }, "", "P", false, "" },
	{ "D4", { { 0, 1, false, "r", "!id=*" } }, "", "P", false, "" },
	{ "D5", { { 0, 1, false, "r", "!id=*" } }, "", "T", true, "" },
	{ "D6",
	  { { 0, 0, false, "r", "always" }, { 0, 1, false, "r", "ns=namespace" } },
	  "",
	  "T",
	  false,
	  "" },
	{ "D7",
	  { { 0, 0, false, "r", "always" }, { 0, 1, false, "r", "ns=namespace" } },
	  "",
	  "A",
	  true,
	  "" },
	{ "D8", { { 0, 0, false, "r", "" } }, "", "T", false, "" },
	{ "D9", { { 0, 1, false, "r", "" } }, "", "T", true, "" },
	{ "D10", { { 0, 1, true, "r", "always" } }, "", "T", true, "r/0:deny" },
	{ "D11", { { 0, 0, true, "r", "ns=namespace" } }, "", "P", true, "" },
	{ "D12",
	  { { 0, 1, true, "r", "always" }, { 0, 0, false, "r", "ns=namespace" } },
	  "",
	  "P",
	  false,
	  "r/0:deny" },
	{ "D13", { { 1, 0, false, "other", "ns=nobody" } }, "", "PTA", true, "" },
	{ "D14", { { 2, 0, false, "own", "ns=nobody" } }, "", "PTA", true, "" },
	{ "D15", { { 0 } }, "ns/x", "PTA", true, "" },
	{ "a selected policy that is listed",
	  { { 2, 0, false, "own", "ns=nobody" } },
	  "own/0",
	  "PTA",
	  false,
	  "" },
	{ "a selected policy of another namespace",
	  { { 2, 0, false, "x", "ns=nobody" } },
	  "x/0 x/9",
	  "PTA",
	  false,
	  "" },
	{ "a policy of the own namespace",
	  { { 1, 0, false, "own", "ns=namespace" } },
	  "",
	  "PA",
	  false,
	  "" },
	{ "dry run of a selected one",
	  { { 2, 0, true, "own", "port=8080 | port=1 | port=8080+1" } },
	  "own/0",
	  "PT",
	  true,
	  "own/0:allow" },
	{ "deny in one scope, allow in another",
	  { { 0, 0, false, "r", "always" }, { 2, 1, false, "own", "port=8080" } },
	  "own/1",
	  "PT",
	  false,
	  "" },
};

TEST(verdicts)
{
	size_t i, j;

	for (i = 0; i < AMB_ARRAY_SIZE(verdicts); i++) {
		struct amb_state *st = mesh_state("");
		const char *c;

		CASE(verdicts[i].what);
		CHECK_EQ(mesh_put_workload(st, (struct wl){ .uid = "dst",
							    .ns = "own",
							    .policies = verdicts[i].list }),
			 0);
		for (j = 0; j < 3 && verdicts[i].p[j].ns; j++) {
			char name[2] = { '0' + j };

			CHECK_EQ(mesh_put_policy(st, mesh_policy(verdicts[i].p[j].ns, name,
								 verdicts[i].p[j].scope,
								 verdicts[i].p[j].action,
								 verdicts[i].p[j].dry,
								 verdicts[i].p[j].text)),
				 0);
		}
		for (c = verdicts[i].conns; *c; c++) {
			struct amb_verdict v;
			char dry[200] = "";

			judge(st, &conns[*c == 'P' ? P : *c == 'T' ? T : A], &v, dry);
			CHECK_EQ(v.allow, verdicts[i].allow);
			CHECK_STR(dry, verdicts[i].dry);
		}
		amb_state_destroy(st);
		mesh_free();
	}
}

static void *judge_often(void *st)
{
	struct amb_verdict v;
	int i;

	urcu_memb_register_thread();
	for (i = 0; i < 3; i++)
		judge(st, &conns[P], &v, NULL);
	urcu_memb_unregister_thread();
	return NULL;
}

/* D15's warning: once, in a thread of its own, for lines are limited by thread. */
static void told_once(struct amb_state *st, const char *what)
{
	char line[512] = "";
	pthread_t thread;
	int p[2];
	FILE *f;

	CASE(what);
	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(amb_log_init(p[1], false), 0);
	CHECK_EQ(pthread_create(&thread, NULL, judge_often, st), 0);
	pthread_join(thread, NULL);
	amb_log_uninit();
	close(p[1]);
	f = fdopen(p[0], "r");
	CHECK(f && fgets(line, sizeof(line), f));
	CHECK(strstr(line, "warn") && strstr(line, "dst names unknown policy ns/"));
	CHECK(strstr(line, ", skipped\n"));
	CHECK(!fgets(line, sizeof(line), f));
	fclose(f);
}

TEST(policies_that_nobody_knows)
{
	struct amb_state *st = mesh_state("");
	struct wl w = { .uid = "dst", .ns = "own", .policies = "ns/x" };
	char list[1000] = "";
	int i;

	CHECK_EQ(mesh_put_workload(st, w), 0);
	told_once(st, "there is none at all");
	CHECK_EQ(mesh_put_policy(st, mesh_policy("o", "p", 1, 0, false, "always")), 0);
	told_once(st, "there is another");
	for (i = 0; i < AMB_WORKLOAD_POLICIES_SORTED + 1; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), " ns/%d", i);
	w.policies = list;
	CHECK_EQ(mesh_put_workload(st, w), 0);
	told_once(st, "a long list");
	amb_state_destroy(st);
	mesh_free();
}

static uint64_t stamp(struct amb_state *st)
{
	uint64_t s;

	amb_state_read_begin(st);
	s = amb_policy_stamp(st, amb_state_workload_by_uid(st, "dst"));
	amb_state_read_end(st);
	return s;
}

static bool saw_policies;

static void on_change(void *ctx, const struct amb_state_change *change)
{
	(void)ctx;
	saw_policies |= change->policies;
}

/* Applies one step; the stamp must change exactly when @changes. */
#define STEP(what, changes, ...)                                                                   \
	do {                                                                                       \
		uint64_t _was = stamp(st);                                                         \
		CASE(what);                                                                        \
		saw_policies = false;                                                              \
		CHECK_EQ(__VA_ARGS__, 0);                                                          \
		CHECK_EQ(stamp(st) != _was, changes);                                              \
		CHECK(!(changes) || saw_policies);                                                 \
	} while (0)

TEST(stamps)
{
	struct amb_state *st = mesh_state("");
	struct wl w = { .uid = "dst", .ns = "own", .policies = "own/sel own/absent" };
	struct wl moved = w, other = { .uid = "other", .ns = "own" };
	uint64_t before;

	CHECK_EQ(amb_state_listen(st, on_change, NULL), 0);
	CHECK_EQ(mesh_put_workload(st, w), 0);
	STEP("a global one comes", true,
	     mesh_put_policy(st, mesh_policy("r", "g", 0, 0, 0, "any")));
	STEP("the same again", false, mesh_put_policy(st, mesh_policy("r", "g", 0, 0, 0, "any")));
	CHECK(!saw_policies);
	STEP("it changes", true, mesh_put_policy(st, mesh_policy("r", "g", 0, 0, 0, "port=1")));
	STEP("one of the namespace", true,
	     mesh_put_policy(st, mesh_policy("own", "n", 1, 0, 0, "any")));
	STEP("one of another namespace", false,
	     mesh_put_policy(st, mesh_policy("x", "n", 1, 0, 0, "any")));
	STEP("a selected one", true,
	     mesh_put_policy(st, mesh_policy("own", "sel", 2, 0, 0, "any")));
	STEP("one that others select", false,
	     mesh_put_policy(st, mesh_policy("own", "sel2", 2, 0, 0, "any")));
	moved.policies = "own/sel own/absent own/sel2";
	STEP("the list grows", true, mesh_put_workload(st, moved));
	moved.policies = "own/sel2 own/absent";
	STEP("the list changes", true, mesh_put_workload(st, moved));
	STEP("another workload comes", false, mesh_put_workload(st, other));
	before = stamp(st);
	STEP("removed", true, mesh_remove(st, "own/sel2", true));
	STEP("and put again", true,
	     mesh_put_policy(st, mesh_policy("own", "sel2", 2, 0, 0, "any")));
	CHECK(stamp(st) != before);
	STEP("an unknown one is removed", false, mesh_remove(st, "own/nothing", true));
	CHECK(!saw_policies);
	STEP("the global one goes", true, mesh_remove(st, "r/g", true));
	STEP("scope changes", true, mesh_put_policy(st, mesh_policy("own", "n", 0, 0, 0, "any")));
	amb_state_destroy(st);
	mesh_free();
}

static const struct {
	const char *what, *ns, *name;
	int scope, action;
	const char *reason;
} refusals[] = {
	{ "unknown scope", "ns", "p", 3, 0, "scope: unknown value" },
	{ "unknown action", "ns", "p", 0, 2, "action: unknown value" },
	{ "no name", "ns", "", 0, 0, "name or namespace: empty, too long or not a name" },
	{ "a slash", "ns", "a/b", 0, 0, "name or namespace: empty, too long or not a name" },
	{ "control characters", "ns", "a\nb", 0, 0,
	  "name or namespace: empty, too long or not a name" },
};

TEST(refusals)
{
	struct amb_state *st = mesh_state("");
	size_t i;

	CHECK_EQ(mesh_put_policy(st, mesh_policy("ns", "p", 0, 1, 0, "any")), 0);
	for (i = 0; i < AMB_ARRAY_SIZE(refusals); i++) {
		uint64_t version = amb_state_version(st);

		CASE(refusals[i].what);
		CHECK_EQ(mesh_put_policy(st,
					 mesh_policy(refusals[i].ns, refusals[i].name,
						     refusals[i].scope, refusals[i].action, 0, "")),
			 1);
		CHECK_STR(mesh_reason, refusals[i].reason);
		CHECK_EQ(amb_state_count_policies(st), 1);
		CHECK_EQ(amb_state_version(st), version);
	}
	amb_state_destroy(st);
	mesh_free();
}

/* Field number 0 is none; protobuf-c takes it in when its tag is longer than need be. */
TEST(unreadable)
{
	static const uint8_t bytes[] = { 0x0a, 1, 'p', 0x12, 2, 'n', 's', 0x85, 0, 1, 2, 3, 4 };
	struct amb_state *st = mesh_state("");
	Istio__Security__Authorization *m;

	CHECK_EQ(mesh_put_policy(st, mesh_policy("ns", "p", 0, 1, 0, "any")), 0);
	m = istio__security__authorization__unpack(NULL, sizeof(bytes), bytes);
	CHECK(m);
	CHECK_EQ(m ? mesh_put_policy(st, m) : 0, 1);
	CHECK_STR(mesh_reason, "fields that cannot be read back");
	CHECK_EQ(amb_state_count_policies(st), 1);
	if (m)
		istio__security__authorization__free_unpacked(m, NULL);
	amb_state_destroy(st);
	mesh_free();
}

static bool look(void *ctx, const struct amb_policy_info *p)
{
	CHECK_STR(p->name, "p");
	CHECK_STR(p->ns, "ns");
	CHECK_EQ(p->scope, 1);
	CHECK_EQ(p->action, 1);
	CHECK_EQ(p->source->n_rules, 2);
	CHECK_EQ(p->source->rules[0]->clauses[0]->matches[0]->destination_ports[0], 80);
	++*(int *)ctx;
	return true;
}

TEST(dump)
{
	struct amb_state *st = mesh_state("");
	int n = 0;

	mesh_put_policy(st, mesh_policy("ns", "p", 1, 1, 0, "port=80 | id=*"));
	mesh_free();
	amb_state_read_begin(st);
	amb_policy_each(st, look, &n);
	amb_state_read_end(st);
	CHECK_EQ(n, 1);
	amb_state_destroy(st);
}

int main(void)
{
	int rc;

	urcu_memb_register_thread();
	rc = harness_run();
	urcu_memb_unregister_thread();
	return rc;
}
