// SPDX-License-Identifier: GPL-2.0-or-later
/* Names of the mesh, as pods see them: the vectors of ztunnel-interop 8.5, and search domains. */
#include "mesh.h"

#include "mesh/names.h"

#include <errno.h>

static struct amb_state *st;

static const struct wl workloads[] = {
	{ "client", "client", "ns1", .network = "nw1", .addrs = "10.0.0.1", .node = "node" },
	{ "far", "far", "ns9", .network = "nw1", .addrs = "10.0.0.9", .node = "node" },
	{ "p0", "pod0", "ns1", .network = "nw1", .addrs = "30.30.30.30 2001:db8::30",
	  .services = "ns1/headless.ns1.svc.cluster.local=80:80 "
		      "ns1/headless4.ns1.svc.cluster.local=80:80 "
		      "ns1/headless.example.com=80:80" },
	{ "p1", "pod1", "ns1", .network = "nw1", .addrs = "31.31.31.31 2001:db8::31",
	  .services = "ns1/headless.ns1.svc.cluster.local=80:80" },
	{ "p2", "pod2", "ns1", .network = "nw2", .addrs = "32.32.32.32",
	  .services = "ns1/headless.ns1.svc.cluster.local=80:80" },
	{ "p3", "pod3", "ns1", .network = "nw1", .addrs = "33.33.33.33 2001:db8::33",
	  .services = "ns1/headless6.ns1.svc.cluster.local=80:80" },
	{ "p4", "pod4", "ns1", .network = "nw1", .addrs = "34.34.34.34", .unhealthy = 1,
	  .services = "ns1/headless.ns1.svc.cluster.local=80:80" },
};

#define PORT80 .ports = "80:80"
static const struct sv services[] = {
	{ "ns1", "www.google.com", .vips = "nw1|1.1.1.1", PORT80 },
	{ "ns1", "productpage.ns1.svc.cluster.local", .vips = "nw1|9.9.9.9", PORT80 },
	{ "ns2", "example.ns2.svc.cluster.local", .vips = "nw1|10.10.10.10", PORT80 },
	{ "ns2", "details.ns2.svc.cluster.remote", PORT80,
	  .vips = "nw1|11.11.11.11 nw1|12.12.12.12 nw1|13.13.13.13 nw1|14.14.14.14" },
	{ "ns1", "dual.localhost", .vips = "nw1|2.2.2.2 nw1|2001:db8::ff00:42:8329", PORT80 },
	{ "ns1", "ipv4.localhost", .vips = "nw1|3.3.3.3", PORT80 },
	{ "ns1", "ipv6.localhost", .vips = "nw1|2001:db8::4", PORT80 },
	{ "ns1", "*.wildcard", .vips = "nw1|10.10.10.10", PORT80 },
	{ "ns1", "*.b.wildcard", .vips = "nw1|11.11.11.11", PORT80 },
	{ "ns1", "*.svc.mesh.company.net", .vips = "nw1|10.1.2.3", PORT80 },
	{ "ns1", "nw2-only.ns1.svc.cluster.local", .vips = "nw2|20.20.20.20", PORT80 },
	{ "ns1", "both-networks.ns1.svc.cluster.local", .vips = "nw1|21.21.21.21 nw2|22.22.22.22",
	  PORT80 },
	{ "ns1", "headless.ns1.svc.cluster.local", PORT80 },
	{ "ns1", "headless4.ns1.svc.cluster.local", PORT80, .families = 1 },
	{ "ns1", "headless6.ns1.svc.cluster.local", PORT80, .families = 2 },
	{ "ns1", "empty.ns1.svc.cluster.local", PORT80 },
	{ "ns1", "headless.example.com", PORT80 },
	{ "ns1", "headless-no-endpoints.example.com", PORT80 },
	{ "ns1", "range.example.com", .vips = "nw1|10.9.0.0/16", PORT80 },
	{ "ns1", "range-and-one.example.com", .vips = "nw1|10.8.0.0/16 nw1|10.8.0.1", PORT80 },
	{ "ns8", "preferred.io", .vips = "nw1|10.10.10.208", PORT80 },
	{ "preferred-ns", "preferred.io", .vips = "nw1|10.10.10.211", PORT80 },
	{ "ns7", "preferred.io", .vips = "nw1|10.10.10.207", PORT80 },
	{ "ns3", "everywhere.io", .vips = "nw1|10.10.10.113", PORT80 },
	{ "ns1", "everywhere.io", .vips = "nw1|10.10.10.112", PORT80 },
	{ "preferred-ns", "everywhere.io", .vips = "nw1|10.10.10.111", PORT80 },
	{ "ns3", "canonical.io", .vips = "nw1|10.10.10.143", PORT80 },
	{ "ns4", "canonical.io", .vips = "nw1|10.10.10.141", PORT80, .canonical = 1 },
	{ "preferred-ns", "canonical.io", .vips = "nw1|10.10.10.142", PORT80 },
	{ "ns4", "canonical.with.local", .vips = "nw1|10.10.10.151", PORT80, .canonical = 1 },
	{ "ns1", "canonical.with.local", .vips = "nw1|10.10.10.150", PORT80 },
	{ "ns5", "hidden.io", .vips = "nw1|10.10.10.160", PORT80, .visibility = 1 },
	{ "ns1", "mine.io", .vips = "nw1|10.10.10.161", PORT80, .visibility = 1 },
	{ "ns5", "partly.io", .vips = "nw1|10.10.10.162", PORT80, .visibility = 1, .canonical = 1 },
	{ "ns6", "partly.io", .vips = "nw1|10.10.10.163", PORT80 },
};

/* "-": not known; else "[name -> ]addresses", sorted. */
static const struct {
	const char *what, *name;
	int v6;
	const char *expect;
} cases[] = {
	{ "external, known", "www.google.com", 0, "1.1.1.1" },
	{ "external with search domain", "www.google.com.ns1.svc.cluster.local", 0,
	  "www.google.com -> 1.1.1.1" },
	{ "external with the second", "www.google.com.svc.cluster.local", 0,
	  "www.google.com -> 1.1.1.1" },
	{ "external with the third", "www.google.com.cluster.local", 0,
	  "www.google.com -> 1.1.1.1" },
	{ "search domain of another namespace", "www.google.com.ns2.svc.cluster.local", 0, "-" },
	{ "not known", "www.bing.com", 0, "-" },
	{ "full name", "productpage.ns1.svc.cluster.local", 0, "9.9.9.9" },
	{ "name.namespace", "productpage.ns1", 0, "9.9.9.9" },
	{ "name.namespace.svc", "productpage.ns1.svc", 0, "9.9.9.9" },
	{ "short name", "productpage", 0, "9.9.9.9" },
	{ "name.namespace with search domain", "productpage.ns1.ns1.svc.cluster.local", 0,
	  "productpage.ns1.svc.cluster.local -> 9.9.9.9" },
	{ "short name with search domain", "productpage.cluster.local", 0,
	  "productpage.ns1.svc.cluster.local -> 9.9.9.9" },
	{ "the family it does not have", "productpage.ns1.ns1.svc.cluster.local", 1,
	  "productpage.ns1.svc.cluster.local -> " },
	{ "other namespace", "example.ns2", 0, "10.10.10.10" },
	{ "other namespace, full", "example.ns2.svc.cluster.local", 0, "10.10.10.10" },
	{ "other namespace, svc", "example.ns2.svc", 0, "10.10.10.10" },
	{ "other namespace, short", "example", 0, "-" },
	{ "other domain, full", "details.ns2.svc.cluster.remote", 0,
	  "11.11.11.11 12.12.12.12 13.13.13.13 14.14.14.14" },
	{ "other domain, short", "details.ns2", 0, "-" },
	{ "dual, A", "dual.localhost", 0, "2.2.2.2" },
	{ "dual, AAAA", "dual.localhost", 1, "2001:db8::ff00:42:8329" },
	{ "only IPv6, A", "ipv6.localhost", 0, "" },
	{ "only IPv4, AAAA", "ipv4.localhost", 1, "" },
	{ "wildcard", "foo.wildcard", 0, "10.10.10.10" },
	{ "wildcard over labels", "x.y.wildcard", 0, "10.10.10.10" },
	{ "the more specific wildcard", "a.b.wildcard", 0, "11.11.11.11" },
	{ "a wildcard is not its own domain", "wildcard", 0, "-" },
	{ "wildcard of a domain", "foo.svc.mesh.company.net", 0, "10.1.2.3" },
	{ "wildcard, namespace and domain", "foo.foons.svc.mesh.company.net", 0, "10.1.2.3" },
	{ "wildcard with search domain", "foo.svc.mesh.company.net.ns1.svc.cluster.local", 0,
	  "10.1.2.3" },
	{ "not on this network", "nw2-only.ns1.svc.cluster.local", 0, "" },
	{ "of this network only", "both-networks.ns1.svc.cluster.local", 0, "21.21.21.21" },
	{ "headless, A", "headless.ns1.svc.cluster.local", 0, "30.30.30.30 31.31.31.31" },
	{ "headless, AAAA", "headless.ns1.svc.cluster.local", 1, "2001:db8::30 2001:db8::31" },
	{ "headless of IPv4, A", "headless4", 0, "30.30.30.30" },
	{ "headless of IPv4, AAAA", "headless4", 1, "" },
	{ "headless of IPv6, AAAA", "headless6.ns1.svc.cluster.local", 1, "2001:db8::33" },
	{ "headless of IPv6, A", "headless6.ns1.svc.cluster.local", 0, "" },
	{ "headless without endpoints", "empty", 0, "" },
	{ "pod of a headless service", "pod0.headless.ns1.svc.cluster.local", 0, "30.30.30.30" },
	{ "the same, AAAA", "pod0.headless.ns1.svc.cluster.local", 1, "2001:db8::30" },
	{ "the same, short", "pod1.headless", 0, "31.31.31.31" },
	{ "the same, with namespace", "pod1.headless.ns1", 0, "31.31.31.31" },
	{ "the same, with svc", "pod1.headless.ns1.svc", 0, "31.31.31.31" },
	{ "the same, with search domain", "pod1.headless.svc.cluster.local", 0,
	  "pod1.headless.ns1.svc.cluster.local -> 31.31.31.31" },
	{ "pod of a family it is not served in", "pod0.headless4", 1, "" },
	{ "pod that does not exist", "pod9.headless.ns1.svc.cluster.local", 0, "-" },
	{ "pod's name too long by one", "pod01.headless.ns1.svc.cluster.local", 0, "-" },
	{ "pod's name too short by one", "pod.headless.ns1.svc.cluster.local", 0, "-" },
	{ "pod of a service with VIP", "pod0.productpage.ns1.svc.cluster.local", 0, "-" },
	{ "headless, external", "headless.example.com", 0, "-" },
	{ "pod of it", "pod0.headless.example.com", 0, "-" },
	{ "headless, external, without endpoints", "headless-no-endpoints.example.com", 0, "-" },
	{ "a range is no address", "range.example.com", 0, "-" },
	{ "a range and an address", "range-and-one.example.com", 0, "10.8.0.1" },
	{ "preferred namespace", "preferred.io", 0, "10.10.10.211" },
	{ "own namespace", "everywhere.io", 0, "10.10.10.112" },
	{ "canonical before preferred and first", "canonical.io", 0, "10.10.10.141" },
	{ "own namespace before canonical", "canonical.with.local", 0, "10.10.10.150" },
	{ "not to be seen from here", "hidden.io", 0, "-" },
	{ "to be seen only from here", "mine.io", 0, "10.10.10.161" },
	{ "the one that can be seen", "partly.io", 0, "10.10.10.163" },
	{ "only the search domain", "ns1.svc.cluster.local", 0, "-" },
	{ "only the cluster", "svc.cluster.local", 0, "-" },
	{ "only the domain", "cluster.local", 0, "-" },
	{ "one label", "x", 0, "-" },
	{ "nothing", "", 0, "-" },
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What @name is for workload @uid, as in the table. */
static const char *look(const char *uid, const struct amb_names_search *search, const char *name,
			int v6)
{
	static const struct amb_names_search none;
	static char text[65536];
	static char addrs[AMB_NAMES_ADDRS][AMB_ADDR_STRLEN];
	static char *sorted[AMB_NAMES_ADDRS];
	static struct amb_names_answer a;
	struct amb_workload *client;
	size_t len = 0;
	bool known;
	uint32_t i;

	amb_state_read_begin(st);
	client = amb_workload_get(amb_state_workload_by_uid(st, uid));
	amb_state_read_end(st);
	CHECK(client);
	known = amb_names_resolve(st, client, search ? search : &none, name, v6, &a);
	amb_workload_put(client);
	if (!known)
		return "-";
	for (i = 0; i < a.n; i++) {
		amb_addr_format(&a.addrs[i], addrs[i]);
		sorted[i] = addrs[i];
	}
	qsort(sorted, a.n, sizeof(sorted[0]), by_text);
	text[0] = 0;
	if (*a.canonical)
		len = sprintf(text, "%s -> ", a.canonical);
	for (i = 0; i < a.n; i++)
		len += sprintf(text + len, "%s%s", i ? " " : "", sorted[i]);
	return text;
}

static void set_up(void)
{
	struct amb_state_config c = { .network = "nw1",
				      .node = "node",
				      .prefer_ns = "preferred-ns" };

	st = amb_state_create(&c);
	CHECK(st);
	CHECK_EQ(mesh_apply(st, workloads, sizeof(workloads) / sizeof(workloads[0]), services,
			    sizeof(services) / sizeof(services[0])),
		 0);
}

static void tear_down(void)
{
	amb_state_destroy(st);
	mesh_free();
}

TEST(vectors)
{
	size_t i;

	set_up();
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CASE(cases[i].what);
		CHECK_STR(look("client", NULL, cases[i].name, cases[i].v6), cases[i].expect);
	}
	CASE("another namespace");
	CHECK_STR(look("far", NULL, "productpage", 0), "-");
	CHECK_STR(look("far", NULL, "mine.io", 0), "-");
	CHECK_STR(look("far", NULL, "www.google.com.ns9.svc.cluster.local", 0),
		  "www.google.com -> 1.1.1.1");
	tear_down();
}

TEST(search_domains_of_the_pod)
{
	struct amb_names_search s = { .list = "lab.example corp.example" };

	set_up();
	CASE("besides those of Kubernetes");
	CHECK_STR(look("client", &s, "www.google.com.corp.example", 0),
		  "www.google.com -> 1.1.1.1");
	CHECK_STR(look("client", &s, "www.google.com.lab.example", 0), "www.google.com -> 1.1.1.1");
	CHECK_STR(look("client", &s, "productpage.lab.example", 0),
		  "productpage.ns1.svc.cluster.local -> 9.9.9.9");
	CHECK_STR(look("client", &s, "www.google.com.svc.cluster.local", 0),
		  "www.google.com -> 1.1.1.1");
	CHECK_STR(look("client", &s, "www.google.com.xlab.example", 0), "-");
	CHECK_STR(look("client", &s, "lab.example", 0), "-");
	CASE("instead of those");
	s.only = true;
	CHECK_STR(look("client", &s, "www.google.com.corp.example", 0),
		  "www.google.com -> 1.1.1.1");
	CHECK_STR(look("client", &s, "www.google.com.svc.cluster.local", 0), "-");
	CHECK_STR(look("client", &s, "productpage.ns1.svc.cluster.local", 0), "9.9.9.9");
	CASE("none at all");
	s.list = NULL;
	CHECK_STR(look("client", &s, "www.google.com.cluster.local", 0), "-");
	tear_down();
}

TEST(a_list_of_search_domains)
{
	static const struct {
		const char *add;
		int ret;
		const char *list;
	} steps[] = {
		{ "a.example", 0, "a.example" },
		{ "B.Example.", 0, "a.example b.example" },
		{ "A.EXAMPLE", 0, "a.example b.example" },
		{ "c", 0, "a.example b.example c" },
		{ "", -EINVAL, "a.example b.example c" },
		{ ".", -EINVAL, "a.example b.example c" },
		{ "a..b", -EINVAL, "a.example b.example c" },
		{ ".a", -EINVAL, "a.example b.example c" },
		{ "a b", -EINVAL, "a.example b.example c" },
		{ "a\nb", -EINVAL, "a.example b.example c" },
		{ "under_score", 0, "a.example b.example c under_score" },
	};
	char list[AMB_NAMES_SEARCH_TEXT] = "", name[512];
	size_t i;

	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		CASE(steps[i].add);
		CHECK_EQ(amb_names_search_add(list, steps[i].add, strlen(steps[i].add)),
			 steps[i].ret);
		CHECK_STR(list, steps[i].list);
	}
	CASE("a label of 64, a name of 254");
	memset(name, 'x', sizeof(name));
	CHECK_EQ(amb_names_search_add(list, name, 64), -EINVAL);
	for (i = 50; i < sizeof(name); i += 50)
		name[i] = '.';
	CHECK_EQ(amb_names_search_add(list, name, 254), -EINVAL);
	CHECK_EQ(amb_names_search_add(list, name, 253), 0);
	CASE("33 domains");
	list[0] = 0;
	for (i = 0; i < AMB_NAMES_SEARCH; i++) {
		sprintf(name, "d%zu", i);
		CHECK_EQ(amb_names_search_add(list, name, strlen(name)), 0);
	}
	CHECK_EQ(amb_names_search_add(list, "one.more", 8), -ENOSPC);
	CASE("too much text");
	list[0] = 0;
	memset(name, 'x', sizeof(name));
	for (i = 50; i < sizeof(name); i += 50)
		name[i] = '.';
	for (i = 0; i < 8; i++) {
		name[0] = 'a' + i;
		CHECK_EQ(amb_names_search_add(list, name, 253), 0);
	}
	name[0] = 'a' + i;
	CHECK_EQ(amb_names_search_add(list, name, 253), -ENOSPC);
}

/* Of more endpoints than an answer holds, each is given now and then, in every order. */
TEST(many_endpoints)
{
	enum { N = AMB_NAMES_ADDRS + 200 };
	static struct amb_names_answer a;
	static unsigned int seen[N], first[N];
	struct amb_names_search none = { 0 };
	struct wl *w = mesh_alloc(N * sizeof(*w));
	struct amb_workload *client;
	unsigned int i, round, missing = 0, firsts = 0;

	set_up();
	for (i = 0; i < N; i++) {
		char uid[32], addr[32];

		sprintf(uid, "many%u", i);
		sprintf(addr, "10.77.%u.%u", i / 256, i % 256);
		w[i] = (struct wl){ mesh_text(uid), .ns = "ns1", .network = "nw1",
				    .addrs = mesh_text(addr),
				    .services = "ns1/many.ns1.svc.cluster.local=80:80" };
	}
	CHECK_EQ(mesh_apply(st, w, N, NULL, 0), 0);
	CHECK_EQ(mesh_put_service(st, (struct sv){ "ns1", "many.ns1.svc.cluster.local",
						   .ports = "80:80" }),
		 0);
	amb_state_read_begin(st);
	client = amb_workload_get(amb_state_workload_by_uid(st, "client"));
	amb_state_read_end(st);
	for (round = 0; round < 40; round++) {
		CHECK(amb_names_resolve(st, client, &none, "many", false, &a));
		CHECK_EQ(a.n, AMB_NAMES_ADDRS);
		for (i = 0; i < a.n; i++) {
			unsigned int at = a.addrs[i].b[14] * 256 + a.addrs[i].b[15];

			CHECK(at < N && seen[at] <= round);
			seen[at] = round + 1;
			first[at] += !i;
		}
	}
	for (i = 0; i < N; i++) {
		missing += !seen[i];
		firsts += !!first[i];
	}
	CHECK_EQ(missing, 0);
	CHECK(firsts > 20);
	amb_workload_put(client);
	tear_down();
}

int main(void)
{
	return harness_run();
}
