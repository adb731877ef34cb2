// SPDX-License-Identifier: GPL-2.0-or-later
/* The mesh in the kernel's maps: a real state, published into real maps. */
#include "bpftest.h"
#include "policies.h"

#include "base/loop.h"
#include "base/util.h"
#include "publish.h"
#include "publish_svc.h"
#include "spin.h"

#include <bpf/bpf.h>
#include <dlfcn.h>
#include <stdbool.h>

#define NET "net"
#define HERE .node = "node", .network = NET, .hbone = 1
#define BOTH (AMB_POD_OUTBOUND | AMB_POD_INBOUND)

enum { A = 1, B, C };

static struct amb_loop *loop;
static struct amb_state *st;
static struct amb_publish *p;

/* What the kernel does not do with addresses now. */
static enum { NOTHING, UPDATE, DELETE, INSERT } fails;

static int fail(int err)
{
	errno = err;
	return -err;
}

/* After each change of a map: see TEST(ranges). */
static bool watching;
static void look(void);

/* In place of libbpf's. */
int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	int (*real)(int, const void *, const void *, __u64) = dlsym(RTLD_NEXT, __func__);

	if (fails == NOTHING || fd != bt->map[AMB_BPF_ADDR]) {
		int ret = real(fd, key, value, flags);

		if (watching)
			look();
		return ret;
	}
	if (fails == INSERT)
		return real(fd, key, value, BPF_EXIST) ? fail(E2BIG) : 0;
	return fails == UPDATE ? fail(ENOMEM) : real(fd, key, value, flags);
}

int bpf_map_delete_elem(int fd, const void *key)
{
	int (*real)(int, const void *) = dlsym(RTLD_NEXT, __func__);

	int ret;

	if (fails == DELETE && fd == bt->map[AMB_BPF_ADDR])
		return fail(ENOMEM);
	ret = real(fd, key);
	if (watching)
		look();
	return ret;
}

static void changed(void *ctx, const struct amb_state_change *change)
{
	(void)ctx;
	amb_publish_changed(p, change);
}

static void begin(void)
{
	loop = amb_loop_create();
	st = mesh_state(NET);
	p = amb_publish_create(loop, st, bt);
	CHECK(loop && st && p);
	CHECK_EQ(amb_state_listen(st, changed, NULL), 0);
}

static void start(void)
{
	bt_clear();
	begin();
}

/* A pass over everything, at once or soon. */
static void pass(void)
{
	const struct amb_state_change everything = { .many = true };

	amb_publish_changed(p, &everything);
}

static void stop(void)
{
	amb_publish_destroy(p);
	amb_state_destroy(st);
	amb_loop_destroy(loop);
	mesh_free();
	p = NULL;
}

static void stop_loop(struct amb_timer *t)
{
	(void)t;
	amb_loop_stop(loop);
}

/* Until what was put off is done. */
static void settle_down(void)
{
	struct amb_timer t = { .fn = stop_loop };

	CHECK_EQ(amb_loop_timer_set(loop, &t, amb_util_now_ns() + 2 * AMB_PUBLISH_NS), 0);
	CHECK_EQ(amb_loop_run(loop), 0);
}

static void workload(struct wl w)
{
	CHECK_EQ(mesh_put_workload(st, w), 0);
	CHECK_STR(mesh_reason, "");
}

static void service(struct sv s)
{
	CHECK_EQ(mesh_put_service(st, s), 0);
	CHECK_STR(mesh_reason, "");
}

static void pod(int n, const char *name)
{
	const struct amb_publish_pod what = {
		.cookie = COOKIE(n), .ns = "ns", .name = name, .sa = name, .flags = BOTH
	};

	CHECK_EQ(amb_publish_pod_add(p, &what), 0);
}

static bool nobody(void *ctx, uint64_t cookie)
{
	(void)ctx;
	(void)cookie;
	return false;
}

/* What stands there */

static struct amb_pod_row pod_row(int n)
{
	struct amb_pod_row row;
	uint64_t key = COOKIE(n);

	CHECK(amb_rows_get(bt, AMB_BPF_POD, &key, &row));
	return row;
}

static bool has_pod(int n)
{
	struct amb_pod_row row;
	uint64_t key = COOKIE(n);

	return amb_rows_get(bt, AMB_BPF_POD, &key, &row);
}

static bool has_addr(const char *addr)
{
	struct amb_in6 key = ip(addr);
	struct amb_addr_row row;

	return amb_rows_get(bt, AMB_BPF_ADDR, &key, &row);
}

/* @pod 0: nobody's of this node. */
static void addr_is(const char *addr, int pod, uint32_t flags)
{
	struct amb_in6 key = ip(addr);
	struct amb_addr_row row;

	CASE(addr);
	CHECK(amb_rows_get(bt, AMB_BPF_ADDR, &key, &row));
	CHECK_EQ(row.netns, pod ? COOKIE(pod) : 0);
	CHECK_EQ(row.flags, flags);
	CHECK_EQ(row.identity, pod ? pod_row(pod).identity : 0);
}

static uint32_t meta(void)
{
	struct amb_meta_row row;
	uint32_t zero = 0;

	CHECK(amb_rows_get(bt, AMB_BPF_META, &zero, &row));
	return row.flags;
}

/* Slots of the service's port that lead to @addr; -1: no such row. */
static int slots(const char *vip, uint16_t port, const char *addr)
{
	struct amb_svc_key key = { .addr = ip(vip), .port = port };
	struct amb_in6 want = ip(addr);
	struct amb_end_row end;
	struct amb_svc_row row;
	uint32_t i;
	int n = 0;

	if (!amb_rows_get(bt, AMB_BPF_SVC, &key, &row))
		return -1;
	for (i = 0; i < row.slots; i++) {
		struct amb_end_key at = { .number = row.number, .slot = i };

		CHECK(amb_rows_get(bt, AMB_BPF_END, &at, &end));
		n += !memcmp(&end.addr, &want, sizeof(want));
	}
	return n;
}

TEST(workloads)
{
	start();
	workload((struct wl){ "near", HERE, .addrs = "10.0.0.1 fd00::1" });
	workload((struct wl){ "far", .network = NET, .node = "other", .hbone = 1,
			      .addrs = "10.0.0.2" });
	workload((struct wl){ "plain", .network = NET, .addrs = "10.0.0.3" });
	workload((struct wl){ "host", HERE, .addrs = "10.0.0.4", .host_network = 1 });
	workload((struct wl){ "away", .network = "elsewhere", .hbone = 1, .addrs = "10.0.0.5" });
	workload((struct wl){ "way", .network = NET, .hbone = 1, .addrs = "10.0.0.6",
			      .waypoint = NET "|10.0.0.9:15008" });
	settle_down();
	addr_is("10.0.0.1", 0, AMB_ADDR_HBONE);
	addr_is("fd00::1", 0, AMB_ADDR_HBONE);
	addr_is("10.0.0.2", 0, AMB_ADDR_HBONE);
	addr_is("10.0.0.3", 0, 0);
	addr_is("10.0.0.6", 0, AMB_ADDR_HBONE | AMB_ADDR_AGENT);
	CHECK(!has_addr("10.0.0.4"));
	CHECK(!has_addr("10.0.0.5"));
	CHECK_EQ(bt_count(AMB_BPF_ADDR), 5);
	CASE("PARTIAL until it is all there");
	CHECK_EQ(meta(), AMB_META_PARTIAL);
	amb_publish_settle(p, nobody, NULL);
	CHECK_EQ(meta(), 0);
	CASE("an address changes, a workload goes");
	workload((struct wl){ "near", HERE, .addrs = "10.0.0.7" });
	CHECK_EQ(mesh_remove(st, "far", false), 0);
	settle_down();
	CHECK(!has_addr("10.0.0.1") && !has_addr("fd00::1") && !has_addr("10.0.0.2"));
	addr_is("10.0.0.7", 0, AMB_ADDR_HBONE);
	CHECK_EQ(bt_count(AMB_BPF_ADDR), 3);
	stop();
}

TEST(never_all_there)
{
	start();
	amb_publish_partial(p);
	CHECK_EQ(meta(), AMB_META_PARTIAL);
	amb_publish_settle(p, nobody, NULL);
	workload((struct wl){ "far", .network = NET, .node = "other", .hbone = 1,
			      .addrs = "10.0.0.2" });
	settle_down();
	addr_is("10.0.0.2", 0, AMB_ADDR_HBONE);
	CHECK_EQ(meta(), AMB_META_PARTIAL);
	stop();
}

TEST(services_as_addresses)
{
	start();
	service((struct sv){ .host = "s1", .vips = NET "|10.96.0.1", .ports = "80:80" });
	service((struct sv){ .host = "s2",
			     .vips = NET "|10.96.0.2",
			     .ports = "80:80",
			     .waypoint = NET "|10.0.0.9:15008" });
	service((struct sv){ .host = "s3", .vips = NET "|10.96.0.3", .ports = "80:80", .mode = 3 });
	service((struct sv){ .host = "s4", .vips = "elsewhere|10.96.0.4", .ports = "80:80" });
	service((struct sv){ .host = "s5", .vips = NET "|10.97.0.0/16", .ports = "80:80" });
	service((struct sv){ .host = "s6", .vips = NET "|fd97::/64", .ports = "80:80" });
	service((struct sv){ .host = "s7",
			     .vips = NET "|10.96.0.7",
			     .ports = "80:80",
			     .visibility = ISTIO__WORKLOAD__SERVICE__VISIBILITY__NAMESPACE });
	amb_publish_settle(p, nobody, NULL);
	settle_down();
	addr_is("10.96.0.1", 0, AMB_ADDR_SERVICE);
	addr_is("10.96.0.2", 0, AMB_ADDR_SERVICE | AMB_ADDR_AGENT);
	addr_is("10.96.0.3", 0, AMB_ADDR_SERVICE | AMB_ADDR_PASS);
	CASE("visible from its namespace only");
	addr_is("10.96.0.7", 0, AMB_ADDR_SERVICE | AMB_ADDR_AGENT);
	CHECK(!has_addr("10.96.0.4"));
	CHECK_EQ(meta(), AMB_META_CIDR);
	CHECK_EQ(bt_count(AMB_BPF_CIDR), 2);
	CASE("ranges go");
	CHECK_EQ(mesh_remove(st, "ns/s5", false), 0);
	CHECK_EQ(mesh_remove(st, "ns/s6", false), 0);
	settle_down();
	CHECK_EQ(bt_count(AMB_BPF_CIDR), 0);
	CHECK_EQ(meta(), 0);
	stop();
}

TEST(shared_addresses)
{
	start();
	workload((struct wl){ "a", HERE, .sa = "a", .addrs = "10.0.0.1" });
	workload((struct wl){ "b", HERE, .sa = "b", .addrs = "10.0.0.1" });
	workload((struct wl){ "c", HERE, .sa = "c", .addrs = "10.0.0.3" });
	workload((struct wl){ "entry", .network = NET, .addrs = "10.0.0.3" });
	service((struct sv){ .host = "s", .vips = NET "|10.0.0.4", .ports = "80:80", .mode = 3 });
	workload((struct wl){ "d", .network = NET, .addrs = "10.0.0.4" });
	settle_down();
	addr_is("10.0.0.1", 0, AMB_ADDR_HBONE | AMB_ADDR_AGENT);
	CASE("a service and a workload: the agent, no passthrough");
	addr_is("10.0.0.4", 0, AMB_ADDR_SERVICE | AMB_ADDR_AGENT);
	pod(C, "c");
	addr_is("10.0.0.3", C, AMB_ADDR_HBONE | AMB_ADDR_AGENT);
	settle_down();
	CASE("of a pod and an entry it is the pod's");
	addr_is("10.0.0.3", C, AMB_ADDR_HBONE | AMB_ADDR_AGENT);
	pod(A, "a");
	settle_down();
	addr_is("10.0.0.1", A, AMB_ADDR_HBONE | AMB_ADDR_AGENT);
	pod(B, "b");
	CASE("of two pods it is nobody's, at once");
	addr_is("10.0.0.1", 0, AMB_ADDR_HBONE | AMB_ADDR_AGENT);
	settle_down();
	addr_is("10.0.0.1", 0, AMB_ADDR_HBONE | AMB_ADDR_AGENT);
	amb_publish_pod_del(p, COOKIE(B));
	settle_down();
	addr_is("10.0.0.1", A, AMB_ADDR_HBONE | AMB_ADDR_AGENT);
	stop();
}

TEST(pods_come_and_go)
{
	struct amb_in6 own = ip("10.0.0.1"), own6 = ip("fd00::1");
	struct amb_policy_key verdict = { .netns = COOKIE(A), .identity = 1, .port = 80 };
	struct amb_policy_row allow = { .allow = 1 };
	struct amb_flight_key flight = { .netns = COOKIE(A), .from_port = 1 };
	struct amb_flight_row passed = { .way = AMB_WAY_PASSTHROUGH };
	uint32_t first;

	start();
	CASE("before the mesh knows it");
	pod(A, "a");
	CHECK_EQ(pod_row(A).identity, 0);
	CHECK_EQ(pod_row(A).flags, BOTH);
	CHECK_STR(pod_row(A).name, "ns/a");
	CASE("known");
	workload((struct wl){ "a", HERE, .sa = "a", .addrs = "10.0.0.1 fd00::1 10.0.0.9" });
	CHECK(pod_row(A).identity);
	CHECK(!memcmp(pod_row(A).v4.b, &own, sizeof(own)));
	CHECK(!memcmp(pod_row(A).v6.b, &own6, sizeof(own6)));
	settle_down();
	addr_is("10.0.0.9", A, AMB_ADDR_HBONE);
	CHECK_EQ(bt_count(AMB_BPF_IDENT), 1);
	first = pod_row(A).identity;
	CASE("gone");
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_POLICY, &verdict, &allow), 0);
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_FLIGHT, &flight, &passed), 0);
	amb_publish_pod_del(p, COOKIE(A));
	CHECK(!has_pod(A));
	addr_is("10.0.0.1", 0, AMB_ADDR_HBONE);
	CHECK_EQ(bt_count(AMB_BPF_IDENT), 0);
	CHECK_EQ(mesh_remove(st, "a", false), 0);
	settle_down();
	CHECK(!has_addr("10.0.0.1"));
	CHECK_EQ(bt_count(AMB_BPF_POLICY) + bt_count(AMB_BPF_FLIGHT), 0);
	CASE("the next service account does not inherit the number, nor what goes by it");
	workload((struct wl){ "b", HERE, .sa = "b", .addrs = "10.0.0.1" });
	pod(B, "b");
	CHECK(pod_row(B).identity != first);
	stop();
}

/* What policies say is in force when the update returns, however short ago the last. */
TEST(policies)
{
	uint64_t stamp;
	int i;

	start();
	workload((struct wl){ "a", HERE, .sa = "a", .addrs = "10.0.0.1" });
	pod(A, "a");
	stamp = pod_row(A).stamp;
	CHECK_EQ(pod_row(A).inputs, 0);
	for (i = 0; i < 4; i++) {
		CHECK_EQ(mesh_put_policy(st, mesh_policy("ns", "p", 1, 1, false,
							 i % 2 ? "src=10.0.0.0/8" : "port=80")),
			 0);
		CHECK(pod_row(A).stamp != stamp);
		CHECK_EQ(pod_row(A).inputs, i % 2 ? AMB_INPUT_SRC : 0);
		stamp = pod_row(A).stamp;
	}
	CHECK_EQ(mesh_put_policy(st, mesh_policy("ns", "p", 1, 1, false, "dst=10.0.0.0/8")), 0);
	CHECK_EQ(pod_row(A).inputs, AMB_INPUT_DST);
	CASE("another namespace's");
	stamp = pod_row(A).stamp;
	CHECK_EQ(mesh_put_policy(st, mesh_policy("other", "p", 1, 1, false, "always")), 0);
	CHECK_EQ(pod_row(A).stamp, stamp);
	CASE("one that selects it, by the workload's list");
	CHECK_EQ(mesh_put_policy(st, mesh_policy("ns", "q", 2, 1, false, "src=10.0.0.0/8")), 0);
	CHECK_EQ(pod_row(A).stamp, stamp);
	workload((struct wl){ "a", HERE, .sa = "a", .addrs = "10.0.0.1", .policies = "ns/q" });
	CHECK(pod_row(A).stamp != stamp);
	CHECK_EQ(pod_row(A).inputs, AMB_INPUT_SRC | AMB_INPUT_DST);
	stop();
}

/* The service that the next test is about, from now on with this preference of endpoints. */
static void prefer(enum amb_lb_mode mode, const char *scopes)
{
	service((struct sv){ .host = "s",
			     .vips = NET "|10.96.0.1",
			     .ports = "80:8080",
			     .mode = mode,
			     .scopes = scopes });
	settle_down();
}

TEST(services_of_this_node)
{
	start();
	workload((struct wl){ "a", HERE, .sa = "a", .addrs = "10.0.0.1", .services = "ns/s=80:8080",
			      .capacity = 2 });
	workload((struct wl){ "b", HERE, .sa = "b", .addrs = "10.0.0.2", .services = "ns/s=80:8080",
			      .capacity = 6 });
	service((struct sv){ .host = "s", .vips = NET "|10.96.0.1", .ports = "80:8080" });
	pod(A, "a");
	settle_down();
	CASE("one endpoint is not captured");
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.1"), -1);
	pod(B, "b");
	settle_down();
	CASE("slots are the weights, divided by what they have in common");
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.1"), 1);
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.2"), 3);
	CHECK_EQ(bt_count(AMB_BPF_END), 4);
	CASE("a pod that the mesh does not know yet");
	pod(C, "c");
	settle_down();
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.2"), 3);
	amb_publish_pod_del(p, COOKIE(C));
	CASE("a weight changes");
	workload((struct wl){ "b", HERE, .sa = "b", .addrs = "10.0.0.2", .services = "ns/s=80:8080",
			      .capacity = 2 });
	settle_down();
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.1"), 1);
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.2"), 1);
	CHECK_EQ(bt_count(AMB_BPF_END), 2);
	CASE("an endpoint of another network, where the address is another's");
	workload((struct wl){ "c", .network = "elsewhere", .node = "other", .hbone = 1,
			      .addrs = "10.0.0.2", .services = "ns/s=80:8080", .capacity = 2 });
	settle_down();
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.1"), -1);
	CHECK_EQ(mesh_remove(st, "c", false), 0);
	settle_down();
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.1"), 1);
	CASE("another network's service with the same address");
	service((struct sv){ .host = "t", .vips = "elsewhere|10.96.0.1", .ports = "80:8080" });
	workload((struct wl){ "a", HERE, .sa = "a", .addrs = "10.0.0.1",
			      .services = "ns/s=80:8080 ns/t=80:9", .capacity = 2 });
	settle_down();
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.2"), 1);
	CHECK_EQ(mesh_remove(st, "ns/t", false), 0);
	CASE("weights that need too many slots");
	workload((struct wl){ "b", HERE, .sa = "b", .addrs = "10.0.0.2", .services = "ns/s=80:8080",
			      .capacity = 2 * AMB_PUBLISH_SLOTS });
	settle_down();
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.2"), -1);
	CHECK_EQ(bt_count(AMB_BPF_END), 0);
	CASE("as many as there may be");
	workload((struct wl){ "b", HERE, .sa = "b", .addrs = "10.0.0.2", .services = "ns/s=80:8080",
			      .capacity = 2 * AMB_PUBLISH_SLOTS - 2 });
	settle_down();
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.2"), AMB_PUBLISH_SLOTS - 1);
	CASE("an endpoint elsewhere");
	workload((struct wl){ "c", .network = NET, .node = "other", .hbone = 1, .addrs = "10.0.0.3",
			      .services = "ns/s=80:8080" });
	settle_down();
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.1"), -1);
	CASE("an endpoint elsewhere, and the service prefers this node");
	prefer(AMB_LB_FAILOVER, "node");
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.1"), 1);
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.3"), 0);
	CASE("it prefers the network, which both are in");
	prefer(AMB_LB_FAILOVER, "network");
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.1"), -1);
	CASE("it takes nothing but this node");
	prefer(AMB_LB_STRICT, "node");
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.1"), 1);
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.3"), 0);
	prefer(AMB_LB_STANDARD, NULL);
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.1"), -1);
	CHECK_EQ(mesh_remove(st, "c", false), 0);
	settle_down();
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.1"), 1);
	CASE("an endpoint with a waypoint");
	workload((struct wl){ "b", HERE, .sa = "b", .addrs = "10.0.0.2", .services = "ns/s=80:8080",
			      .waypoint = NET "|10.0.0.9:15008" });
	settle_down();
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.1"), -1);
	CASE("the service goes");
	workload((struct wl){ "b", HERE, .sa = "b", .addrs = "10.0.0.2",
			      .services = "ns/s=80:8080" });
	settle_down();
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.2") > 0, 1);
	CHECK_EQ(mesh_remove(st, "ns/s", false), 0);
	settle_down();
	CHECK_EQ(bt_count(AMB_BPF_SVC), 0);
	CHECK_EQ(bt_count(AMB_BPF_END), 0);
	stop();
}

/* All rows of a map, in an order of their own. */
struct rows {
	uint8_t row[256][96];
	size_t n, key, value;
};

static int row_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(((struct rows *)0)->row[0]));
}

static void read_rows(enum amb_bpf_map map, size_t key, size_t value, struct rows *r)
{
	uint8_t at[96];
	bool more = amb_rows_next(bt, map, true, at);

	*r = (struct rows){ .key = key, .value = value };
	for (; more; more = amb_rows_next(bt, map, false, at)) {
		CHECK(r->n < 256 && key + value <= sizeof(r->row[0]));
		memcpy(r->row[r->n], at, key);
		CHECK(amb_rows_get(bt, map, at, r->row[r->n++] + key));
	}
	qsort(r->row, r->n, sizeof(r->row[0]), row_cmp);
}

/* Of these a pass over everything would change nothing. */
static void rows_are_as_after_a_pass(void)
{
	static const struct {
		enum amb_bpf_map map;
		size_t key, value;
		const char *name;
	} maps[] = {
		{ AMB_BPF_ADDR, sizeof(struct amb_in6), sizeof(struct amb_addr_row), "addresses" },
		{ AMB_BPF_SVC, sizeof(struct amb_svc_key), sizeof(struct amb_svc_row), "services" },
		{ AMB_BPF_END, sizeof(struct amb_end_key), sizeof(struct amb_end_row), "slots" },
		{ AMB_BPF_CIDR, sizeof(struct amb_cidr_key), sizeof(struct amb_cidr_row),
		  "ranges" },
	};
	static struct rows before[4], after;
	size_t i;

	for (i = 0; i < 4; i++)
		read_rows(maps[i].map, maps[i].key, maps[i].value, &before[i]);
	pass();
	settle_down();
	for (i = 0; i < 4; i++) {
		CASE(maps[i].name);
		read_rows(maps[i].map, maps[i].key, maps[i].value, &after);
		CHECK_EQ(after.n, before[i].n);
		CHECK(!memcmp(after.row, before[i].row, sizeof(after.row)));
	}
}

static const char *one_of(const char *const *v, size_t n)
{
	return v[amb_util_random() % n];
}
#define ONE_OF(v) one_of(v, sizeof(v) / sizeof((v)[0]))

/* Few names and few addresses, so that much is shared, hidden and found again. */
static void random_workload(void)
{
	static const char *const uids[] = { "u1", "u2", "u3", "u4", "u5", "u6" };
	static const char *const names[] = { "a", "b", "c" };
	static const char *const addrs[] = {
		"10.0.0.1",	    "10.0.0.2", "10.0.0.2 fd00::2", "10.0.0.3 fd00::1", "10.0.0.4",
		"10.0.0.3 fd00::2", ""
	};
	static const char *const away[] = { NET, "elsewhere" };
	static const char *const services[] = { "", "ns/s=80:8080", "ns/s=80:8080 ns/t=80:80",
						"ns/t=80:80" };
	static const char *const waypoints[] = { NULL, NULL, NULL, NET "|10.0.0.9:15008" };
	const char *uid = ONE_OF(uids), *name = ONE_OF(names);
	bool here = amb_util_random() % 4;

	if (amb_util_random() % 4 == 0) {
		CHECK_EQ(mesh_remove(st, uid, false), 0);
		return;
	}
	workload((struct wl){ uid, .name = name, .sa = name, .addrs = ONE_OF(addrs),
			      .node = here ? "node" : "other", .network = here ? NET : ONE_OF(away),
			      .services = ONE_OF(services), .waypoint = ONE_OF(waypoints),
			      .hbone = amb_util_random() % 4 != 0,
			      .unhealthy = amb_util_random() % 8 == 0,
			      .host_network = amb_util_random() % 8 == 0,
			      .capacity = 1 + amb_util_random() % 3 });
}

static void random_service(void)
{
	static const char *const hosts[] = { "s", "t" };
	static const char *const vips[] = {
		NET "|10.96.0.1", NET "|10.96.0.2",    NET "|10.96.0.1 " NET "|fd96::1",
		NET "|10.0.0.4",  NET "|10.97.1.0/16", "elsewhere|10.96.0.1"
	};
	static const char *const ports[] = { "80:8080", "80:80,81:81" };
	const char *host = ONE_OF(hosts);

	if (amb_util_random() % 4 == 0)
		CHECK_EQ(mesh_remove(st, host[0] == 's' ? "ns/s" : "ns/t", false), 0);
	else
		service((struct sv){ .host = host,
				     .vips = ONE_OF(vips),
				     .ports = ONE_OF(ports),
				     .mode = amb_util_random() % 4 });
}

static void random_pod(void)
{
	static const char *const names[] = { "a", "b", "c" };
	int n = amb_util_random() % 3;

	if (amb_util_random() % 3 == 0)
		amb_publish_pod_del(p, COOKIE(A + n));
	else
		pod(A + n, names[n]);
}

TEST(parts_are_the_whole)
{
	int i, k;

	start();
	amb_publish_settle(p, nobody, NULL);
	for (i = 0; i < 50; i++) {
		for (k = amb_util_random() % 6; k >= 0; k--) {
			switch (amb_util_random() % 8) {
			case 0:
				random_service();
				break;
			case 1:
				random_pod();
				break;
			default:
				random_workload();
			}
		}
		rows_are_as_after_a_pass();
	}
	stop();
}

TEST(put_off_and_done_at_once)
{
	struct amb_in6 key = ip("10.0.0.1");

	start();
	pass();
	workload((struct wl){ "a", HERE, .addrs = "10.0.0.1" });
	CASE("put off, since there was a pass just now");
	pass();
	amb_publish_settle(p, nobody, NULL);
	CASE("a pass writes what does not stand there: there is no other one");
	CHECK_EQ(amb_rows_del(bt, AMB_BPF_ADDR, &key), 0);
	settle_down();
	CHECK(!has_addr("10.0.0.1"));
	stop();
}

static bool has_range(const char *net, uint32_t bits)
{
	struct amb_cidr_key key = { .bits = bits + 96, .addr = ip(net) }, at;
	bool more = amb_rows_next(bt, AMB_BPF_CIDR, true, &at);

	for (; more && memcmp(&at, &key, sizeof(at));
	     more = amb_rows_next(bt, AMB_BPF_CIDR, false, &at))
		;
	return more;
}

/* What was known is not for a moment an address that nobody knows. */
static bool unknown;

static void look(void)
{
	unknown |= !(meta() & AMB_META_PARTIAL) && !has_addr("10.97.0.1") &&
		   !(meta() & AMB_META_CIDR && has_range("10.97.0.0", 16));
}

TEST(ranges)
{
	struct sv s = { .host = "s", .vips = NET "|10.97.0.1", .ports = "80:80" };

	start();
	amb_publish_settle(p, nobody, NULL);
	service(s);
	watching = true;
	CASE("an address becomes a range, at once");
	s.vips = NET "|10.97.0.9/16";
	service(s);
	CHECK(has_range("10.97.0.0", 16) && !has_addr("10.97.0.1"));
	CHECK_EQ(meta(), AMB_META_CIDR);
	CASE("a range an address");
	s.vips = NET "|10.97.0.1";
	service(s);
	CHECK(!has_range("10.97.0.0", 16) && has_addr("10.97.0.1"));
	CHECK_EQ(meta(), 0);
	CHECK(!unknown);
	watching = false;
	CASE("two that are the same, one goes");
	s.vips = NET "|10.97.1.1/16";
	service(s);
	service((struct sv){ .host = "t", .vips = NET "|10.97.2.2/16", .ports = "80:80" });
	CHECK_EQ(bt_count(AMB_BPF_CIDR), 1);
	CHECK_EQ(mesh_remove(st, "ns/s", false), 0);
	CHECK(has_range("10.97.0.0", 16));
	CASE("another network's is none here");
	service((struct sv){ .host = "t", .vips = "elsewhere|10.97.2.2/16", .ports = "80:80" });
	CHECK_EQ(bt_count(AMB_BPF_CIDR), 0);
	CHECK_EQ(meta(), 0);
	stop();
}

/* Many addresses at once: those that the kernel does not know yet are the agent's meanwhile. */
TEST(more_than_is_told)
{
	struct amb_resource *res = calloc(AMB_STATE_TOLD_MAX + 1, sizeof(*res));
	static char text[AMB_STATE_TOLD_MAX + 1][2][16];
	static struct wl w[AMB_STATE_TOLD_MAX + 1];
	int i;

	start();
	CHECK(res);
	amb_publish_settle(p, nobody, NULL);
	pass();
	for (i = 0; i <= AMB_STATE_TOLD_MAX; i++) {
		snprintf(text[i][0], sizeof(text[i][0]), "w%d", i);
		snprintf(text[i][1], sizeof(text[i][1]), "10.1.%d.%d", i / 256, i % 256);
		w[i] = (struct wl){ text[i][0], HERE, .addrs = text[i][1] };
		res[i].address = mesh_workload(&w[i]);
	}
	CHECK_EQ(amb_state_apply(st, res, AMB_STATE_TOLD_MAX + 1, NULL, NULL), 0);
	CHECK(!has_addr("10.1.0.0"));
	CHECK_EQ(meta(), AMB_META_PARTIAL);
	settle_down();
	CHECK_EQ(bt_count(AMB_BPF_ADDR), AMB_STATE_TOLD_MAX + 1);
	CHECK_EQ(meta(), 0);
	CASE("and gone");
	for (i = 0; i <= AMB_STATE_TOLD_MAX; i++)
		res[i] = (struct amb_resource){ .name = text[i][0] };
	CHECK_EQ(amb_state_apply(st, res, AMB_STATE_TOLD_MAX + 1, NULL, NULL), 0);
	settle_down();
	CHECK_EQ(bt_count(AMB_BPF_ADDR), 0);
	free(res);
	stop();
}

TEST(removed_before_all_is_known)
{
	start();
	workload((struct wl){ "a", HERE, .addrs = "10.0.0.1" });
	pass();
	fails = DELETE;
	CHECK_EQ(mesh_remove(st, "a", false), 0);
	CHECK(has_addr("10.0.0.1"));
	fails = NOTHING;
	settle_down();
	CHECK(!has_addr("10.0.0.1"));
	stop();
}

TEST(map_is_full)
{
	static char vips[(AMB_CIDRS_MAX + 1) * 24];
	size_t n = 0;
	int i;

	start();
	amb_publish_settle(p, nobody, NULL);
	for (i = 0; i <= AMB_CIDRS_MAX; i++)
		n += snprintf(vips + n, sizeof(vips) - n, NET "|100.%d.%d.0/24 ", i / 256, i % 256);
	service((struct sv){ .host = "s", .vips = vips, .ports = "80:80" });
	settle_down();
	CHECK_EQ(bt_count(AMB_BPF_CIDR), AMB_CIDRS_MAX);
	CASE("what is unknown is the agent's");
	CHECK(meta() & AMB_META_PARTIAL);
	CHECK_EQ(mesh_remove(st, "ns/s", false), 0);
	settle_down();
	CHECK_EQ(meta(), 0);
	stop();
}

static bool has_b(void)
{
	return has_addr("10.0.0.2");
}

TEST(no_room_for_addresses)
{
	start();
	workload((struct wl){ "a", HERE, .addrs = "10.0.0.1" });
	workload((struct wl){ "c", HERE, .addrs = "10.0.0.3" });
	amb_publish_settle(p, nobody, NULL);
	CHECK_EQ(meta(), 0);
	fails = INSERT;
	workload((struct wl){ "b", HERE, .addrs = "10.0.0.2" });
	CHECK(!has_b());
	CHECK(meta() & AMB_META_PARTIAL);
	CASE("a pass finds no room either");
	pass();
	settle_down();
	CHECK(!has_b());
	CHECK(meta() & AMB_META_PARTIAL);
	CASE("those that stand there may change");
	workload((struct wl){ "a", HERE, .addrs = "10.0.0.1", .waypoint = NET "|10.0.0.9:15008" });
	addr_is("10.0.0.1", 0, AMB_ADDR_HBONE | AMB_ADDR_AGENT);
	CHECK(meta() & AMB_META_PARTIAL);
	CASE("there is room when another goes");
	fails = NOTHING;
	CHECK_EQ(mesh_remove(st, "c", false), 0);
	CHECK(spin(loop, has_b));
	CHECK_EQ(meta(), 0);
	stop();
}

/* Writing to a map fails in the middle of a life: the descriptor is lent out for a moment. */
TEST(row_is_not_written)
{
	int fd;

	start();
	workload((struct wl){ "a", HERE, .addrs = "10.0.0.1" });
	amb_publish_settle(p, nobody, NULL);
	settle_down();
	fd = bt->map[AMB_BPF_ADDR];
	bt->map[AMB_BPF_ADDR] = -1;
	workload((struct wl){ "a", HERE, .addrs = "10.0.0.1", .waypoint = NET "|10.0.0.9:15008" });
	settle_down();
	bt->map[AMB_BPF_ADDR] = fd;
	addr_is("10.0.0.1", 0, AMB_ADDR_HBONE);
	CASE("the next pass writes it");
	pass();
	settle_down();
	addr_is("10.0.0.1", 0, AMB_ADDR_HBONE | AMB_ADDR_AGENT);
	CHECK_EQ(meta(), 0);
	stop();
}

static bool way_is_new(void)
{
	struct amb_in6 key = ip("10.0.0.1");
	struct amb_addr_row row;

	return amb_rows_get(bt, AMB_BPF_ADDR, &key, &row) && row.flags & AMB_ADDR_AGENT;
}

static bool is_gone(void)
{
	return !has_addr("10.0.0.1");
}

/* The kernel has no memory for the new row, and could free the old one. */
TEST(row_is_not_changed)
{
	start();
	workload((struct wl){ "a", HERE, .addrs = "10.0.0.1" });
	amb_publish_settle(p, nobody, NULL);
	CHECK_EQ(meta(), 0);
	settle_down();
	fails = UPDATE;
	workload((struct wl){ "a", HERE, .addrs = "10.0.0.1", .waypoint = NET "|10.0.0.9:15008" });
	CASE("nobody goes by the old one: the agent is asked");
	CHECK(!has_addr("10.0.0.1"));
	CHECK(meta() & AMB_META_PARTIAL);
	fails = NOTHING;
	CASE("it is tried again");
	CHECK(spin(loop, way_is_new));
	CHECK_EQ(meta(), 0);
	CASE("one that cannot be taken away, too");
	settle_down();
	fails = DELETE;
	CHECK_EQ(mesh_remove(st, "a", false), 0);
	CHECK(has_addr("10.0.0.1"));
	fails = NOTHING;
	CHECK(spin(loop, is_gone));
	stop();
}

TEST(row_of_a_pod_is_not_written)
{
	struct amb_policy_key of_a = { .netns = COOKIE(A), .port = 80 };
	struct amb_policy_key of_b = { .netns = COOKIE(B), .port = 80 };
	struct amb_policy_row allow = { .allow = 1 };
	uint64_t stamp;
	int fd;

	start();
	workload((struct wl){ "a", HERE, .sa = "a", .addrs = "10.0.0.1" });
	pod(A, "a");
	settle_down();
	stamp = allow.stamp = pod_row(A).stamp;
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_POLICY, &of_a, &allow), 0);
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_POLICY, &of_b, &allow), 0);
	fd = bt->map[AMB_BPF_POD];
	bt->map[AMB_BPF_POD] = -1;
	CHECK_EQ(mesh_put_policy(st, mesh_policy("ns", "p", 1, 1, false, "always")), 0);
	bt->map[AMB_BPF_POD] = fd;
	CHECK_EQ(pod_row(A).stamp, stamp);
	CASE("nothing is allowed by it");
	CHECK(!amb_rows_get(bt, AMB_BPF_POLICY, &of_a, &allow));
	CHECK(amb_rows_get(bt, AMB_BPF_POLICY, &of_b, &allow));
	CASE("it is tried again");
	settle_down();
	CHECK(pod_row(A).stamp != stamp);
	stop();
}

static bool wants_b(void *ctx, uint64_t cookie)
{
	(void)ctx;
	return cookie == COOKIE(B);
}

TEST(rows_of_an_agent_before)
{
	char err[256] = "";

	start();
	workload(
		(struct wl){ "a", HERE, .sa = "a", .addrs = "10.0.0.1", .services = "ns/s=80:80" });
	workload((struct wl){ "b", HERE, .sa = "b", .addrs = "10.0.0.2" });
	workload((struct wl){ "c", HERE, .sa = "c", .addrs = "10.0.0.3" });
	service((struct sv){
		.host = "s", .vips = NET "|10.96.0.1 " NET "|10.97.0.0/16", .ports = "80:80" });
	pod(A, "a");
	pod(B, "b");
	pod(C, "c");
	amb_publish_settle(p, nobody, NULL);
	settle_down();
	CHECK_EQ(slots("10.96.0.1", 80, "10.0.0.1"), 1);
	stop();
	amb_bpf_close(bt, true);
	CHECK(bt_load(err, sizeof(err)));
	begin();
	workload((struct wl){ "a", HERE, .sa = "a", .addrs = "10.0.0.1" });
	pod(A, "a");
	settle_down();
	CASE("before all is known: what was there, unknown ones to the agent");
	CHECK(has_addr("10.0.0.3") && has_pod(C));
	CHECK(meta() & AMB_META_PARTIAL);
	amb_publish_settle(p, wants_b, NULL);
	addr_is("10.0.0.1", A, AMB_ADDR_HBONE);
	CHECK(!has_addr("10.0.0.2") && !has_addr("10.0.0.3") && !has_addr("10.96.0.1"));
	CASE("a pod that is wanted stays captured");
	CHECK(has_pod(A) && has_pod(B) && !has_pod(C));
	CHECK_EQ(bt_count(AMB_BPF_SVC), 0);
	CHECK_EQ(bt_count(AMB_BPF_END), 0);
	CASE("ranges");
	CHECK_EQ(bt_count(AMB_BPF_CIDR), 0);
	CASE("identities");
	CHECK_EQ(bt_count(AMB_BPF_IDENT), 1);
	CHECK_EQ(meta(), 0);
	stop();
}

TEST(what_needs_an_agent_waits)
{
	const struct amb_bpf_config config = { .dir = bt_dir, .wait = true };
	char err[256] = "";

	CASE("from the first moment on");
	amb_bpf_close(bt, true);
	bt = amb_bpf_open(&config, err, sizeof(err));
	CHECK(bt);
	CHECK_EQ(meta(), AMB_META_PARTIAL | AMB_META_WAIT);
	start();
	pod(A, "a");
	amb_publish_settle(p, nobody, NULL);
	CHECK_EQ(meta(), AMB_META_WAIT);
	CASE("also while an agent takes over");
	stop();
	bt->adopted = true;
	start();
	pod(A, "a");
	workload((struct wl){ "a", HERE, .sa = "a", .addrs = "10.0.0.1" });
	CHECK_EQ(meta(), AMB_META_PARTIAL | AMB_META_WAIT | AMB_META_CIDR);
	amb_publish_settle(p, nobody, NULL);
	CHECK_EQ(meta(), AMB_META_WAIT);
	stop();
	CASE("not for the next one");
	amb_bpf_close(bt, true);
	CHECK(bt_load(err, sizeof(err)));
	CHECK_EQ(meta(), AMB_META_PARTIAL);
}

/* What cannot be opened is not what is not there. */
TEST(agent_before_cannot_be_read)
{
	char err[256] = "", meta[96], away[96];

	start();
	pod(A, "a");
	stop();
	amb_bpf_close(bt, true);
	snprintf(meta, sizeof(meta), "%s/amb_meta", bt_dir);
	snprintf(away, sizeof(away), "%s/away", bt_dir);
	CHECK_EQ(rename(meta, away), 0);
	CHECK_EQ(symlink("amb_meta", meta), 0);
	CHECK(!bt_load(err, sizeof(err)));
	CHECK_EQ(errno, ELOOP);
	CHECK_EQ(rename(away, meta), 0);
	CASE("and all of it stays");
	CHECK(bt_load(err, sizeof(err)));
	CHECK(bt->adopted);
	CHECK(has_pod(A));
}

int main(void)
{
	if (!bt_begin())
		return KSFT_SKIP;
	return bt_end(harness_run());
}
