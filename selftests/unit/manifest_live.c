// SPDX-License-Identifier: GPL-2.0-or-later
/* A directory that is edited while it is used: what the state then has, what is told and kept. */
#include "harness.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/util.h"
#include "control/manifest.h"
#include "mesh/policy.h"
#include "mesh/state.h"

#define DEADLINE_NS 20000000000ull
#define LOOK_NS 5000000ull

#define POD(name, ip)                                                                              \
	"---\n{apiVersion: v1, kind: Pod, metadata: {namespace: w, name: " name                    \
	", labels: {app: x}}, spec: {nodeName: here}, status: {podIP: " ip "}}\n"

static char dir[64], path[160];
static struct amb_loop *loop;
static struct amb_state *st;
static struct amb_manifest *m;

static const char *in_dir(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(in_dir(name), "w");

	CHECK(f);
	fputs(text, f);
	fclose(f);
}

static void begin(void)
{
	struct amb_manifest_config config = { .dir = dir, .node = "here" };
	struct amb_state_config sc = { .node = "here", .domain = "cluster.local" };

	loop = amb_loop_create();
	CHECK(loop);
	m = amb_manifest_create(loop, &config);
	CHECK(m);
	sc.network = amb_manifest_mesh(m)->network;
	st = amb_state_create(&sc);
	CHECK(st);
	CHECK_EQ(amb_manifest_start(m, st), 0);
}

static void end(void)
{
	char command[160];

	amb_manifest_destroy(m);
	amb_state_destroy(st);
	amb_loop_destroy(loop);
	snprintf(command, sizeof(command), "rm -rf %s %s-old", dir, dir);
	CHECK_EQ(system(command), 0);
}

static void new_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/amb-live-XXXXXX");
	CHECK(mkdtemp(dir));
}

struct wait {
	struct amb_timer timer;
	bool (*done)(void);
	uint64_t deadline;
	bool ok;
};

static void look(struct amb_timer *t)
{
	struct wait *w = AMB_CONTAINER_OF(t, struct wait, timer);

	w->ok = w->done();
	if (w->ok || amb_util_now_ns() > w->deadline)
		amb_loop_stop(loop);
	else
		amb_loop_timer_set(loop, t, amb_util_now_ns() + LOOK_NS);
}

/* Runs the loop until @done says so. */
static bool until(bool (*done)(void))
{
	struct wait w = { .timer.fn = look,
			  .done = done,
			  .deadline = amb_util_now_ns() + DEADLINE_NS };

	amb_loop_timer_set(loop, &w.timer, amb_util_now_ns() + LOOK_NS);
	amb_loop_run(loop);
	return w.ok;
}

static struct amb_manifest_status status(void)
{
	struct amb_manifest_status s;

	amb_manifest_status(m, &s);
	return s;
}

static uint64_t loads;

static bool loaded(void)
{
	return status().loads > loads;
}

/* After a change of the directory: waits for the load that sees it. */
static void settle(void)
{
	CHECK(until(loaded));
	loads = status().loads;
}

static bool has_pod(const char *name, const char *ip)
{
	struct amb_addr addr;
	const struct amb_workload *w;
	char uid[64];
	bool yes;

	snprintf(uid, sizeof(uid), "Kubernetes//Pod/w/%s", name);
	if (amb_addr_parse(ip, &addr))
		return false;
	amb_state_read_begin(st);
	w = amb_state_workload_by_uid(st, uid);
	yes = w && amb_workload_has_addr(w, &addr);
	amb_state_read_end(st);
	return yes;
}

static char problems[4096];

static void collect(void *ctx, bool error, const char *text)
{
	size_t at = strlen(problems);

	(void)ctx;
	snprintf(problems + at, sizeof(problems) - at, "%s %s\n", error ? "error" : "warning",
		 strncmp(text, dir, strlen(dir)) ? text : text + strlen(dir) + 1);
}

static const char *told(void)
{
	char *at;

	problems[0] = 0;
	amb_manifest_each_problem(m, collect, NULL);
	while ((at = strstr(problems, dir)))
		memmove(at, at + strlen(dir) + 1, strlen(at + strlen(dir)));
	return problems;
}

TEST(an_edit_sends_only_what_it_changed)
{
	uint64_t sent, version;

	new_dir();
	put("a.yaml", POD("a", "10.0.0.1") POD("b", "10.0.0.2"));
	put("b.yaml", POD("c", "10.0.0.3"));
	put("README", "not a manifest");
	begin();
	CHECK(has_pod("a", "10.0.0.1") && has_pod("b", "10.0.0.2") && has_pod("c", "10.0.0.3"));
	CHECK_EQ(status().changed, 3);
	CHECK_EQ(status().counts.files, 2);
	CHECK(status().watching);
	loads = status().loads;

	put("a.yaml", POD("a", "10.0.0.1") POD("b", "10.0.0.9"));
	settle();
	CHECK(has_pod("a", "10.0.0.1") && has_pod("b", "10.0.0.9"));
	CHECK_EQ(status().changed, 4);

	/* Two files at once are one update. */
	sent = status().changed;
	version = amb_state_version(st);
	put("a.yaml", POD("b", "10.0.0.9"));
	put("b.yaml", POD("c", "10.0.0.4"));
	settle();
	CHECK(!has_pod("a", "10.0.0.1") && has_pod("c", "10.0.0.4"));
	CHECK_EQ(status().changed, sent + 2);
	CHECK_EQ(amb_state_version(st), version + 1);

	CHECK_EQ(unlink(in_dir("b.yaml")), 0);
	settle();
	CHECK(!has_pod("c", "10.0.0.4") && has_pod("b", "10.0.0.9"));
	CHECK_EQ(amb_state_count_workloads(st), 1);
	end();
}

TEST(a_broken_object_keeps_its_last_good_state)
{
	new_dir();
	put("a.yaml", POD("a", "10.0.0.1") POD("b", "10.0.0.2"));
	begin();
	loads = status().loads;

	put("a.yaml", POD("a", "10.0.0.300") POD("b", "10.0.0.8"));
	settle();
	CHECK(has_pod("a", "10.0.0.1") && has_pod("b", "10.0.0.8"));
	CHECK_STR(told(), "error a.yaml:2: Pod w/a: status.podIP: \"10.0.0.300\" is not an IP "
			  "address\n");
	CHECK_EQ(status().counts.errors, 1);

	/* Still told, and still kept, when another file changes. */
	put("b.yaml", POD("c", "10.0.0.3"));
	settle();
	CHECK(has_pod("a", "10.0.0.1") && has_pod("c", "10.0.0.3"));
	CHECK_EQ(status().counts.errors, 1);

	/* One that does not say who it is may be any of the file's. */
	put("a.yaml", POD("b", "10.0.0.7") "---\n{apiVersion: v1, kind: Pod, metadata: {}}\n");
	settle();
	CHECK(has_pod("a", "10.0.0.1") && has_pod("b", "10.0.0.7"));

	put("a.yaml", POD("b", "10.0.0.7"));
	settle();
	CHECK(!has_pod("a", "10.0.0.1") && has_pod("b", "10.0.0.7"));
	CHECK_STR(told(), "");
	end();
}

#define AUTHZ(meta, spec)                                                                          \
	"---\n{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: " meta       \
	", spec: " spec "}\n"
#define BAD "rules: 7"

static bool show_policy(void *ctx, const struct amb_policy_info *p)
{
	size_t at = strlen(problems);

	(void)ctx;
	snprintf(problems + at, sizeof(problems) - at, "%s/%s %d %d\n", p->ns, p->name, p->scope,
		 p->action);
	return true;
}

static const char *policies(void)
{
	problems[0] = 0;
	amb_state_read_begin(st);
	amb_policy_each(st, show_policy, NULL);
	amb_state_read_end(st);
	return problems;
}

TEST(a_policy_that_never_was_good_denies)
{
	static const struct {
		const char *text, *policy, *says;
	} cases[] = {
		{ AUTHZ("{namespace: w, name: p}", "{selector: {matchLabels: {app: x}}, " BAD "}"),
		  "w/p 2 1\n", "all connections to the workloads that it selects in namespace w" },
		{ AUTHZ("{namespace: w, name: p}", "{selector: 3, " BAD "}"), "w/p 1 1\n",
		  "all connections to namespace w" },
		{ AUTHZ("{namespace: istio-system, name: p}", "{" BAD "}"), "istio-system/p 0 1\n",
		  "all connections to the whole mesh" },
		{ AUTHZ("{namespace: [], name: p}", "{" BAD "}"),
		  "istio-system/unreadable-a.yaml 0 1\n", "all connections to the whole mesh" },
		{ "kind: [", "istio-system/unreadable-a.yaml 0 1\n",
		  "all connections to the whole mesh" },
		{ "---\n{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: "
		  "{namespace: w, name: p}, spec: {mtls: {mode: STRICTT}}}\n",
		  "istio-system/istio_converted_static_strict 2 1\n",
		  "all plaintext connections to namespace w" },
		{ "---\n{apiVersion: v1, kind: Pod, metadata: {}}\n", "", "has no name" },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		new_dir();
		put("a.yaml", cases[i].text);
		begin();
		CHECK_STR(policies(), cases[i].policy);
		CHECK(strstr(told(), cases[i].says));
		loads = status().loads;
		put("a.yaml", POD("a", "10.0.0.1"));
		settle();
		CHECK_STR(policies(), "");
		CHECK_STR(told(), "");
		end();
	}
}

TEST(a_file_that_is_no_yaml_keeps_its_objects)
{
	new_dir();
	put("a.yaml", POD("a", "10.0.0.1") POD("b", "10.0.0.2"));
	begin();
	loads = status().loads;

	put("a.yaml", POD("a", "10.0.0.5") "---\n{a: [\n");
	settle();
	CHECK(has_pod("a", "10.0.0.1") && has_pod("b", "10.0.0.2"));
	CHECK_EQ(status().counts.errors, 1);
	CHECK_EQ(status().failures, 1);

	put("a.yaml", POD("a", "10.0.0.5"));
	settle();
	CHECK(has_pod("a", "10.0.0.5") && !has_pod("b", "10.0.0.2"));
	CHECK_EQ(status().counts.errors, 0);
	end();
}

TEST(of_two_with_one_name_the_first_stays)
{
	new_dir();
	put("b.yaml", POD("a", "10.0.0.2"));
	begin();
	loads = status().loads;

	/* Sorts before, but came later. */
	put("a.yaml", POD("a", "10.0.0.1"));
	settle();
	CHECK(has_pod("a", "10.0.0.2"));
	CHECK_STR(told(), "error a.yaml:2: Pod w/a: is also at b.yaml:2, which is used\n");

	put("b.yaml", POD("a", "10.0.0.3"));
	settle();
	CHECK(has_pod("a", "10.0.0.3"));

	CHECK_EQ(unlink(in_dir("b.yaml")), 0);
	settle();
	CHECK(has_pod("a", "10.0.0.1"));
	CHECK_STR(told(), "");
	end();
}

TEST(a_mounted_configmap_changes_by_its_link)
{
	char from[200];

	new_dir();
	CHECK_EQ(mkdir(in_dir("..1"), 0755), 0);
	CHECK_EQ(mkdir(in_dir("..2"), 0755), 0);
	put("..1/a.yaml", POD("a", "10.0.0.1"));
	put("..2/a.yaml", POD("a", "10.0.0.2"));
	CHECK_EQ(symlink("..1", in_dir("..data")), 0);
	CHECK_EQ(symlink("..data/a.yaml", in_dir("a.yaml")), 0);
	begin();
	CHECK(has_pod("a", "10.0.0.1"));
	loads = status().loads;

	CHECK_EQ(symlink("..2", in_dir("..data_tmp")), 0);
	snprintf(from, sizeof(from), "%s", path);
	CHECK_EQ(rename(from, in_dir("..data")), 0);
	settle();
	CHECK(has_pod("a", "10.0.0.2"));
	end();
}

static bool replaced(void)
{
	return has_pod("a", "10.0.0.2") && status().watching;
}

TEST(a_directory_that_vanishes_says_nothing)
{
	char old[80];

	new_dir();
	put("a.yaml", POD("a", "10.0.0.1"));
	begin();
	loads = status().loads;

	snprintf(old, sizeof(old), "%s-old", dir);
	CHECK_EQ(rename(dir, old), 0);
	settle();
	CHECK(has_pod("a", "10.0.0.1"));
	CHECK(!status().watching);
	CHECK_EQ(status().counts.errors, 1);

	CHECK_EQ(mkdir(dir, 0755), 0);
	put("a.yaml", POD("a", "10.0.0.2"));
	CHECK(until(replaced));
	CHECK_EQ(status().counts.errors, 0);

	/* And is watched as before. */
	loads = status().loads;
	put("a.yaml", POD("a", "10.0.0.3"));
	settle();
	CHECK(has_pod("a", "10.0.0.3"));
	end();
}

TEST(it_may_come_later)
{
	new_dir();
	CHECK_EQ(rmdir(dir), 0);
	begin();
	CHECK_EQ(amb_state_count_workloads(st), 0);
	CHECK_EQ(status().counts.errors, 1);
	CHECK_EQ(mkdir(dir, 0755), 0);
	put("a.yaml", POD("a", "10.0.0.2"));
	CHECK(until(replaced));
	end();
}

static unsigned int pods_changed;

static void on_pods(void *ctx)
{
	(void)ctx;
	pods_changed++;
}

static bool show_pod(void *ctx, const struct amb_manifest_pod *pod)
{
	(void)ctx;
	snprintf(problems + strlen(problems), sizeof(problems) - strlen(problems),
		 "%s sa=%s netns=%s enrolled=%d ingress=%d dns=%d", pod->uid, pod->sa,
		 pod->netns ? pod->netns : "-", pod->enrolled, pod->ingress_mode, pod->dns_capture);
	if (pod->dns_search)
		snprintf(problems + strlen(problems), sizeof(problems) - strlen(problems),
			 " search=%s%s", pod->dns_search, pod->dns_search_only ? " only" : "");
	strcat(problems, "\n");
	return true;
}

static const char LOCAL_PODS[] =
	"{apiVersion: v1, kind: Namespace, metadata: {name: w}}\n"
	/* of another node */
	"---\n{apiVersion: v1, kind: Pod, metadata: {name: far}, spec: {nodeName: there},"
	" status: {podIP: 10.0.0.2}}\n"
	/* with all that can be said */
	"---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: b\n  annotations:\n"
	"    ambientd.io/netns: /run/netns/b\n"
	"    ambient.istio.io/bypass-inbound-capture: 'true'\n"
	"    ambient.istio.io/dns-capture: 'false'\n"
	"spec: {nodeName: here, serviceAccountName: s}\nstatus: {podIP: 10.0.0.3}\n" POD(
		"a", "10.0.0.1");

#define DNS_POD(annotations, spec)                                                                 \
	"---\n{apiVersion: v1, kind: Pod, metadata: {name: x, annotations: {" annotations          \
	"}}, spec: {nodeName: here, " spec "}, status: {podIP: 10.0.0.1}}\n"

TEST(search_domains_of_pods)
{
	static const struct {
		const char *spec, *annotations, *expect;
	} cases[] = {
		{ "", "", "" },
		{ "dnsPolicy: ClusterFirst", "", "" },
		{ "dnsPolicy: Default", "", "" },
		{ "dnsPolicy: None", "", " search= only" },
		{ "dnsConfig: {searches: [B.example, c.]}", "", " search=b.example c" },
		{ "dnsConfig: {searches: [., a]}", "", " search=a" },
		{ "dnsConfig: {nameservers: [10.0.0.1]}", "", "" },
		{ "dnsPolicy: None, dnsConfig: {searches: [a]}", "", " search=a only" },
		{ "dnsConfig: {searches: [a]}", "ambientd.io/dns-search: 'b, c  d'",
		  " search=b c d only" },
		{ "", "ambientd.io/dns-search: ''", " search= only" },
	};
	size_t i;

	new_dir();
	put("a.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: w}}\n");
	begin();
	loads = status().loads;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[1024], expect[512];

		snprintf(text, sizeof(text), DNS_POD("%s", "%s"), cases[i].annotations,
			 cases[i].spec);
		snprintf(expect, sizeof(expect),
			 "Kubernetes//Pod/default/x sa=default netns=- enrolled=0 ingress=0 "
			 "dns=-1%s\n",
			 cases[i].expect);
		CASE(text);
		put("a.yaml", text);
		settle();
		problems[0] = 0;
		amb_manifest_each_pod(m, show_pod, NULL);
		CHECK_STR(problems, expect);
	}
	end();
}

TEST(pods_of_this_node)
{
	new_dir();
	put("a.yaml", LOCAL_PODS);
	begin();
	amb_manifest_on_pods(m, on_pods, NULL);
	loads = status().loads;
	pods_changed = 0;
	problems[0] = 0;
	amb_manifest_each_pod(m, show_pod, NULL);
	CHECK_STR(problems,
		  "Kubernetes//Pod/default/b sa=s netns=/run/netns/b enrolled=0 ingress=1 dns=0\n"
		  "Kubernetes//Pod/w/a sa=default netns=- enrolled=0 ingress=0 dns=-1\n");

	/* A label of the namespace enrols; a pod of another node is of no interest. */
	put("b.yaml", "{apiVersion: v1, kind: Node, metadata: {name: here}}\n");
	settle();
	CHECK_EQ(pods_changed, 0);
	put("c.yaml", "{apiVersion: v1, kind: Pod, metadata: {name: far2}, spec: {nodeName: there},"
		      " status: {podIP: 10.0.0.4}}\n");
	settle();
	CHECK_EQ(pods_changed, 0);
	put("a.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: w, labels: "
		      "{istio.io/dataplane-mode: ambient}}}\n" POD("a", "10.0.0.1"));
	settle();
	CHECK_EQ(pods_changed, 1);
	problems[0] = 0;
	amb_manifest_each_pod(m, show_pod, NULL);
	CHECK_STR(problems, "Kubernetes//Pod/w/a sa=default netns=- enrolled=1 ingress=0 dns=-1\n");
	end();
}

static const char MESH[] =
	"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n"
	"data:\n  mesh: |-\n    trustDomain: example.org\n    rootNamespace: root\n"
	"---\n{apiVersion: v1, kind: Namespace, metadata: {name: root, labels: "
	"{topology.istio.io/network: n1}}}\n" POD("a", "10.0.0.1");

TEST(settings_of_the_mesh)
{
	const struct amb_workload *w;

	new_dir();
	put("a.yaml", MESH);
	begin();
	CHECK_STR(amb_manifest_mesh(m)->trust_domain, "example.org");
	CHECK_STR(amb_manifest_mesh(m)->root_ns, "root");
	CHECK_STR(amb_manifest_mesh(m)->network, "n1");
	amb_state_read_begin(st);
	w = amb_state_workload_by_uid(st, "Kubernetes//Pod/w/a");
	CHECK(w);
	CHECK_STR(w->identity->spiffe, "spiffe://example.org/ns/w/sa/default");
	CHECK_STR(w->network, "n1");
	amb_state_read_end(st);
	loads = status().loads;

	CHECK_EQ(unlink(in_dir("a.yaml")), 0);
	settle();
	/* Certificates are bound to the one, the state to the other. */
	CHECK_STR(amb_manifest_mesh(m)->trust_domain, "example.org");
	CHECK_STR(amb_manifest_mesh(m)->network, "n1");
	CHECK_STR(amb_manifest_mesh(m)->root_ns, "istio-system");
	CHECK(strstr(told(), "ConfigMap istio: trustDomain: changes with the next start"));
	end();
}

static uint32_t validated;

static void on_problem(void *ctx, const struct amb_manifest_problem *p)
{
	(void)ctx;
	validated += p->error;
	CHECK(*p->file && *p->reason);
}

TEST(validate)
{
	struct amb_manifest_counts counts;

	new_dir();
	put("a.yaml", POD("a", "10.0.0.1") POD("b", "x"));
	put("b.yaml", "a: [");
	validated = 0;
	CHECK_EQ(amb_manifest_validate(dir, on_problem, NULL, &counts), 0);
	/* Of b.yaml also what it would cost. */
	CHECK_EQ(validated, 3);
	CHECK_EQ(counts.errors, 3);
	CHECK_EQ(counts.files, 2);
	CHECK_EQ(counts.objects, 2);
	CHECK_EQ(counts.workloads, 1);
	CHECK_EQ(amb_manifest_validate("/nonexistent/manifests", on_problem, NULL, &counts),
		 -ENOENT);
	CHECK_EQ(unlink(in_dir("a.yaml")), 0);
	CHECK_EQ(unlink(in_dir("b.yaml")), 0);
	CHECK_EQ(rmdir(dir), 0);
}

int main(void)
{
	int r;

	urcu_memb_register_thread();
	r = harness_run();
	urcu_memb_unregister_thread();
	return r;
}
