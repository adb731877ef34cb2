// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a large mesh costs: memory of 10 000 workloads and 1 000 services, the time to take
 * them in, churn, decisions with many endpoints and many policies. Times are printed, never
 * judged; memory is.
 */
#include "policies.h"

#include "base/util.h"
#include "mesh/decide.h"

#include <malloc.h>

#define WORKLOADS 10000
#define SERVICES 1000
#define PER_SERVICE (WORKLOADS / SERVICES)

static double ms(uint64_t from)
{
	return (amb_util_now_ns() - from) / 1e6;
}

static size_t used(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static void workload(int i, int rev, struct amb_resource *out)
{
	char uid[160], name[96], addr[32], node[32], owner[64], services[256], ns[32], v[16];
	struct wl w = { .uid = uid,
			.name = name,
			.ns = ns,
			.addrs = addr,
			.node = node,
			.hbone = 1,
			.owner = owner,
			.canonical = owner,
			.revision = v,
			.services = services,
			.cluster = "Kubernetes",
			.region = "region-1",
			.zone = "zone-1",
			.type = 2,
			.sa = owner };
	int s = i / PER_SERVICE;

	snprintf(ns, sizeof(ns), "namespace-%d", s % 50);
	snprintf(owner, sizeof(owner), "service-%d", s);
	snprintf(name, sizeof(name), "service-%d-7c9fbc6d8-%05x", s, i);
	snprintf(uid, sizeof(uid), "Kubernetes//Pod/%s/%s", ns, name);
	snprintf(addr, sizeof(addr), "10.%d.%d.%d", i / 62500, i / 250 % 250, i % 250 + 1);
	snprintf(node, sizeof(node), "node-%d", i % 100);
	snprintf(services, sizeof(services), "%s/%s.%s.svc.cluster.local=80:8080,443:8443", ns,
		 owner, ns);
	snprintf(v, sizeof(v), "v%d", rev);
	out->address = mesh_workload(&w);
}

static void service(int s, struct amb_resource *out)
{
	char ns[32], name[64], host[128], vip[32];
	struct sv sv = { .ns = ns,
			 .name = name,
			 .host = host,
			 .vips = vip,
			 .canonical = 1,
			 .ports = "80:8080,443:8443" };

	snprintf(ns, sizeof(ns), "namespace-%d", s % 50);
	snprintf(name, sizeof(name), "service-%d", s);
	snprintf(host, sizeof(host), "%s.%s.svc.cluster.local", name, ns);
	snprintf(vip, sizeof(vip), "|10.96.%d.%d", s / 250, s % 250 + 1);
	out->address = mesh_service(&sv);
}

TEST(mesh)
{
	struct amb_resource *res = calloc(WORKLOADS + SERVICES, sizeof(*res));
	size_t before, after, i;
	struct amb_state *st;
	uint64_t from;

	/* In parts: the helpers' memory is bounded. */
	st = mesh_state("");
	before = used();
	for (i = 0; i < SERVICES; i++)
		service(i, &res[i]);
	from = amb_util_now_ns();
	CHECK_EQ(amb_state_apply(st, res, SERVICES, NULL, NULL), 0);
	printf("# %d services in %.1f ms\n", SERVICES, ms(from));
	mesh_free();
	for (i = 0; i < WORKLOADS; i += 1000) {
		size_t j;

		for (j = 0; j < 1000; j++)
			workload(i + j, 0, &res[j]);
		from = amb_util_now_ns();
		CHECK_EQ(amb_state_apply(st, res, 1000, NULL, NULL), 0);
		if (!i)
			printf("# first 1000 workloads in %.1f ms\n", ms(from));
		mesh_free();
	}
	printf("# last 1000 workloads in %.1f ms\n", ms(from));
	malloc_trim(0);
	after = used();
	printf("# %d workloads, %d services: %zu KB\n", WORKLOADS, SERVICES,
	       (after - before) / 1024);
	CHECK_EQ(amb_state_count_workloads(st), WORKLOADS);
	CHECK_EQ(amb_state_count_services(st), SERVICES);
	CHECK((after - before) < 10u << 20);

	for (i = 0; i < 1000; i++)
		workload(i * 7, 1, &res[i]);
	from = amb_util_now_ns();
	for (i = 0; i < 1000; i++)
		CHECK_EQ(amb_state_apply(st, &res[i], 1, NULL, NULL), 0);
	printf("# 1000 single updates in %.1f ms\n", ms(from));
	mesh_free();
	CHECK_EQ(amb_state_count_workloads(st), WORKLOADS);
	amb_state_destroy(st);
	free(res);
	CHECK_EQ(amb_str_count(), 0);
}

static void decisions(struct amb_state *st, const char *what, const char *to, int n)
{
	const struct amb_workload *src;
	struct amb_endpoint dst;
	uint64_t from;
	int i, tunnels = 0;

	CHECK_EQ(amb_endpoint_parse(to, &dst), 0);
	amb_state_read_begin(st);
	src = amb_workload_get(amb_state_workload_by_uid(st, "src"));
	amb_state_read_end(st);
	CHECK(src);
	from = amb_util_now_ns();
	for (i = 0; i < n; i++) {
		struct amb_decision d;

		amb_decide_outbound(st, src, &dst, &d);
		tunnels += d.way == AMB_WAY_TUNNEL;
		amb_decision_release(&d);
	}
	printf("# %s: %.0f ns a decision\n", what, ms(from) * 1e6 / n);
	CHECK_EQ(tunnels, n);
	amb_workload_put(src);
}

/* One service with thousands of endpoints: to choose among them, and to change one. */
TEST(large_service)
{
	static const char *const scopes[] = { NULL, "network region zone" };
	struct amb_resource *res = calloc(5000, sizeof(*res));
	struct amb_state *st = mesh_state("");
	uint64_t from;
	int i, k;

	CHECK_EQ(mesh_put_workload(st, (struct wl){ .uid = "src",
						    .addrs = "10.9.0.1",
						    .region = "r",
						    .zone = "z1" }),
		 0);
	for (i = 0; i < 5000; i++) {
		char uid[32], addr[32], zone[8];
		struct wl w = { .uid = uid,
				.addrs = addr,
				.hbone = 1,
				.services = "ns/big=80:8080",
				.region = "r",
				.zone = zone };

		snprintf(uid, sizeof(uid), "end-%d", i);
		snprintf(addr, sizeof(addr), "10.8.%d.%d", i / 250, i % 250 + 1);
		snprintf(zone, sizeof(zone), "z%d", i % 3);
		res[i].address = mesh_workload(&w);
		if (i % 1000 == 999) {
			CHECK_EQ(amb_state_apply(st, res + i - 999, 1000, NULL, NULL), 0);
			mesh_free();
		}
	}
	for (k = 0; k < 2; k++) {
		CHECK_EQ(mesh_put_service(st, (struct sv){ .host = "big",
							   .vips = "|10.96.0.1",
							   .ports = "80:8080",
							   .scopes = scopes[k],
							   .mode = k * 2 }),
			 0);
		decisions(st, k ? "5000 endpoints, by locality" : "5000 endpoints, any",
			  "10.96.0.1:80", 1000);
	}
	decisions(st, "a pod by its address", "10.8.0.1:80", 100000);
	for (i = 0; i < 1000; i++) {
		char uid[32];
		struct wl w = {
			.uid = uid, .addrs = "10.8.200.1", .hbone = 1, .services = "ns/big=80:8080"
		};

		snprintf(uid, sizeof(uid), "end-%d", i);
		res[i].address = mesh_workload(&w);
	}
	from = amb_util_now_ns();
	for (i = 0; i < 1000; i++)
		CHECK_EQ(amb_state_apply(st, &res[i], 1, NULL, NULL), 0);
	printf("# 1000 single updates of its endpoints in %.1f ms\n", ms(from));
	mesh_free();
	amb_state_destroy(st);
	free(res);
}

enum { PRINCIPALS, NAMESPACES, ACCOUNTS, PORTS, SOURCES, KINDS };
static const char *const kind_names[] = { "principals", "namespaces", "service accounts", "ports",
					  "source networks" };

static void fill(struct amb_state *st, int kind, int n, int scope)
{
	struct amb_resource *res = calloc(n, sizeof(*res));
	uint64_t from = amb_util_now_ns();
	int i, j;

	for (i = 0; i < n; i += j) {
		for (j = 0; j < 1000 && i + j < n; j++) {
			char name[32], text[128];
			int k = i + j;

			snprintf(name, sizeof(name), "p%d", k);
			if (kind == PRINCIPALS)
				snprintf(text, sizeof(text), "id=td/ns/n%d/sa/a;port=80", k);
			else if (kind == NAMESPACES)
				snprintf(text, sizeof(text), "ns=n%d;port=80", k);
			else if (kind == ACCOUNTS)
				snprintf(text, sizeof(text), "sa=n/a%d;port=80", k);
			else if (kind == PORTS)
				snprintf(text, sizeof(text), "port=%d;id=*", 1000 + k);
			else
				snprintf(text, sizeof(text), "src=11.%d.%d.0/24;port=80", k / 250,
					 k % 250);
			res[j].is_policy = true;
			res[j].authorization = mesh_policy("ns", name, scope, k % 2, false, text);
		}
		CHECK_EQ(amb_state_apply(st, res, j, NULL, NULL), 0);
		mesh_free();
	}
	free(res);
	if (n > 1000)
		printf("# %d policies naming %s, taken in in %.1f ms (with their making)\n", n,
		       kind_names[kind], ms(from));
}

static double judge(struct amb_state *st, bool allow, int n)
{
	static const char peer[] = "spiffe://td/ns/client/sa/client";
	struct amb_policy_conn c = { .peer = amb_identity_parse(peer, strlen(peer)) };
	uint64_t from;
	int i, allowed = 0;

	amb_endpoint_parse("10.0.0.1:1234", &c.src);
	amb_endpoint_parse("10.0.0.2:80", &c.dst);
	from = amb_util_now_ns();
	for (i = 0; i < n; i++) {
		struct amb_verdict v;

		amb_state_read_begin(st);
		amb_policy_check(st, amb_state_workload_by_uid(st, "dst"), &c, &v, NULL, NULL);
		amb_state_read_end(st);
		allowed += v.allow;
	}
	CHECK_EQ(allowed, allow ? n : 0);
	amb_identity_put((struct amb_identity *)c.peer);
	return ms(from) * 1e6 / n;
}

TEST(policies)
{
	static const int counts[] = { 0, 100, 10000 };
	size_t kind, i, scope;

	for (kind = 0; kind < KINDS; kind++) {
		for (scope = 0; scope < 3; scope++) {
			for (i = 0; i < AMB_ARRAY_SIZE(counts); i++) {
				struct amb_state *st = mesh_state("");
				size_t len = counts[i] * 16 + 1, at = 0;
				char *list = calloc(1, len);
				uint64_t from;
				int k;

				for (k = 0; scope == 2 && k < counts[i]; k++)
					at += snprintf(list + at, len - at, "ns/p%d ", k);
				CHECK_EQ(mesh_put_workload(st, (struct wl){ .uid = "dst",
									    .policies = list }),
					 0);
				fill(st, kind, counts[i], scope);
				printf("# %d policies (scope %zu) naming %s: %.0f ns a verdict\n",
				       counts[i], scope, kind_names[kind],
				       judge(st, !counts[i], 20000));
				from = amb_util_now_ns();
				for (k = 0; counts[i] == 10000 && k < 100; k++) {
					CHECK_EQ(mesh_put_policy(
							 st, mesh_policy("ns", "more", scope, 1, 0,
									 k % 2 ? "ns=x" : "id=y")),
						 0);
				}
				if (k)
					printf("# one policy more: %.1f us\n", ms(from) * 1000 / k);
				mesh_free();
				free(list);
				amb_state_destroy(st);
			}
		}
	}
}

int main(void)
{
	int rc;

	urcu_memb_register_thread();
	rc = harness_run();
	urcu_memb_unregister_thread();
	return rc;
}
