// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pods that come and go leave nothing: short-lived network namespaces, each with an interface,
 * are captured and let go. AMB_ENROLMENTS says how many (300; slow/enrol_many.sh: 10 000).
 */
#include "bpftest.h"
#include "mesh.h"

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/util.h"
#include "capture.h"
#include "kernel/netns.h"
#include "kernel/nft.h"
#include "publish.h"

#include <dirent.h>
#include <fcntl.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <pthread.h>
#include <stdbool.h>

#define PODS 5000

static int home = -1;

/* In a namespace of its own: one end of a pair here, the other at home. */
static int make_veth(void)
{
	struct nl_sock *sk = nl_socket_alloc();
	struct rtnl_link *link = rtnl_link_veth_alloc();
	int err = sk && link ? nl_connect(sk, NETLINK_ROUTE) : -ENOMEM;

	if (!err) {
		struct rtnl_link *peer = rtnl_link_veth_get_peer(link);

		rtnl_link_set_name(link, "eth0");
		rtnl_link_set_ns_fd(peer, home);
		rtnl_link_put(peer);
		err = rtnl_link_add(sk, link, NLM_F_CREATE);
	}
	rtnl_link_put(link);
	nl_socket_free(sk);
	return err;
}

static void *make_pod(void *arg)
{
	if (!unshare(CLONE_NEWNET) && !make_veth())
		*(struct amb_netns **)arg = amb_netns_open("/proc/thread-self/ns/net");
	return NULL;
}

static struct amb_netns *fresh_pod(void)
{
	struct amb_netns *ns = NULL;
	pthread_t t;

	CHECK_EQ(pthread_create(&t, NULL, make_pod, &ns), 0);
	pthread_join(t, NULL);
	CHECK(ns);
	return ns;
}

static int entries(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	CHECK(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Rows that only pods cause. */
static size_t rows(const struct amb_bpf *b)
{
	static const enum amb_bpf_map maps[] = { AMB_BPF_POD,	 AMB_BPF_ADDR,	  AMB_BPF_CIDR,
						 AMB_BPF_SVC,	 AMB_BPF_END,	  AMB_BPF_POLICY,
						 AMB_BPF_FLIGHT, AMB_BPF_CONN,	  AMB_BPF_IDENT,
						 AMB_BPF_IF,	 AMB_BPF_LISTENER };
	size_t n = 0, i;

	bt = (struct amb_bpf *)b;
	for (i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
		n += bt_count(maps[i]);
	bt = NULL;
	return n;
}

static void come_and_go(struct amb_capture *c, struct amb_state *st, int i, uint64_t *spent)
{
	struct amb_netns *ns = fresh_pod();
	struct amb_capture_want want = {
		.uid = "uid", .ns = "ns", .name = "pod", .sa = "sa", .netns = ns
	};
	struct wl w = { "uid",
			.name = "pod",
			.sa = "sa",
			.network = "net",
			.node = "node",
			.hbone = 1,
			.addrs = "10.0.0.1 fd00::1" };
	char err[128] = "";
	uint64_t start;
	bool ruled;

	/* Known before, after, or never. */
	if (i % 3 == 0)
		CHECK_EQ(mesh_put_workload(st, w), 0);
	start = amb_util_now_ns();
	CHECK_EQ(amb_capture_pod_add(c, &want, err, sizeof(err)), 0);
	*spent += amb_util_now_ns() - start;
	CASE(err);
	if (i % 3 == 1)
		CHECK_EQ(mesh_put_workload(st, w), 0);
	if (i == 0) {
		CHECK(rows(amb_capture_bpf(c)) > 3);
		bt = (struct amb_bpf *)amb_capture_bpf(c);
		CHECK_EQ(bt_count(AMB_BPF_IF), 1);
		bt = NULL;
	}
	ruled = amb_capture_mode(c) == AMB_CAPTURE_CNI;
	if (ruled)
		CHECK(amb_nft_direct_has(ns));
	amb_capture_pod_del(c, ns);
	if (ruled)
		CHECK(!amb_nft_direct_has(ns));
	amb_netns_put(ns);
	if (i % 3 < 2)
		CHECK_EQ(mesh_remove(st, "uid", false), 0);
	if (mesh_nallocs > MESH_MAX_ALLOCS / 2)
		mesh_free();
}

static void stop_loop(struct amb_timer *t)
{
	(void)t;
	amb_loop_stop(*(struct amb_loop **)(t + 1));
}

/* Until what was put off is done. */
static void settle_down(struct amb_loop *loop)
{
	struct {
		struct amb_timer t;
		struct amb_loop *loop;
	} end = { { .fn = stop_loop }, loop };

	CHECK_EQ(amb_loop_timer_set(loop, &end.t, amb_util_now_ns() + 2 * AMB_PUBLISH_NS), 0);
	CHECK_EQ(amb_loop_run(loop), 0);
}

static void changed(void *ctx, const struct amb_state_change *change)
{
	amb_capture_changed(ctx, change);
}

static void nothing_left(enum amb_capture_mode mode, int n)
{
	const struct amb_capture_config config = { .mode = mode,
						   .bpf = { .dir = bt_dir },
						   .ipv6 = true };
	int i, fds, pins;
	struct amb_loop *loop = amb_loop_create();
	struct amb_state *st = mesh_state("net");
	struct amb_capture *c;
	uint64_t spent = 0;
	char err[256] = "", path[128];

	c = amb_capture_create(loop, st, &config, err, sizeof(err));
	CASE(err);
	CHECK(c);
	CHECK_EQ(amb_state_listen(st, changed, c), 0);
	snprintf(path, sizeof(path), "%s/pods", bt_dir);
	pins = entries(path);
	come_and_go(c, st, 0, &spent);
	fds = entries("/proc/self/fd");
	for (i = 1; i < n; i++)
		come_and_go(c, st, i, &spent);
	printf("# %d enrolments, %.2f ms each\n", n, spent / 1e6 / n);
	settle_down(loop);
	CASE("");
	CHECK_EQ(rows(amb_capture_bpf(c)), 0);
	CHECK_EQ(entries(path), pins);
	CHECK_EQ(entries("/proc/self/fd"), fds);
	amb_capture_destroy(c, false);
	amb_state_destroy(st);
	amb_loop_destroy(loop);
	mesh_free();
	CHECK(access(bt_dir, F_OK) != 0);
}

static int enrolments(int otherwise)
{
	const char *many = getenv("AMB_ENROLMENTS");

	return many ? atoi(many) : otherwise;
}

TEST(nothing_is_left)
{
	nothing_left(AMB_CAPTURE_EBPF, enrolments(300));
}

/* The kernel waits a while for each table that goes. */
TEST(nothing_is_left_beside_rules)
{
	nothing_left(AMB_CAPTURE_CNI, enrolments(300) / 10);
}

static char names[PODS][16], addrs[PODS][48];

static void put_workloads(struct amb_state *st)
{
	int i;

	for (i = 0; i < PODS; i++) {
		snprintf(names[i], sizeof(names[i]), "pod-%d", i);
		snprintf(addrs[i], sizeof(addrs[i]), "10.%d.%d.1 fd00::%x", i / 256, i % 256,
			 i + 1);
		CHECK_EQ(mesh_put_workload(st, (struct wl){ names[i], .sa = names[i],
							    .network = "net", .node = "node",
							    .hbone = 1, .addrs = addrs[i] }),
			 0);
		mesh_free();
	}
}

static void published(void *ctx, const struct amb_state_change *change)
{
	amb_publish_changed(ctx, change);
}

TEST(many_at_once)
{
	struct amb_loop *loop = amb_loop_create();
	struct amb_state *st = mesh_state("net");
	char err[256] = "";
	struct amb_policy_key key = { .netns = COOKIE(PODS), .port = 80 };
	struct amb_policy_row row = { .allow = 1, .reason = AMB_REASON_POLICY_ALLOW };
	struct amb_ask ask = { .netns = COOKIE(1), .dst = ip("fd00::1388"), .port = 80 };
	struct amb_pod_row first, last;
	struct amb_publish *p;
	uint64_t start;
	int i;

	CHECK(bt_load(err, sizeof(err)));
	p = amb_publish_create(loop, st, bt);
	CHECK_EQ(amb_state_listen(st, published, p), 0);
	put_workloads(st);
	start = amb_util_now_ns();
	for (i = 0; i < PODS; i++) {
		struct amb_publish_pod pod = { .cookie = COOKIE(i + 1),
					       .ns = "ns",
					       .name = names[i],
					       .sa = names[i],
					       .flags = 3 };

		CHECK_EQ(amb_publish_pod_add(p, &pod), 0);
	}
	printf("# %d pods: %.3f ms each\n", PODS, (amb_util_now_ns() - start) / 1e6 / PODS);
	settle_down(loop);
	CHECK_EQ(bt_count(AMB_BPF_POD), PODS);
	CHECK_EQ(bt_count(AMB_BPF_ADDR), 2 * PODS);
	CHECK_EQ(bt_count(AMB_BPF_IDENT), PODS);
	CHECK_EQ(amb_bpf_ask(bt, &ask), 0);
	CHECK_EQ(ask.way, AMB_WAY_TUNNEL);
	CHECK_EQ(ask.reason, AMB_REASON_NO_VERDICT);
	ask.netns = COOKIE(1);
	CHECK(amb_rows_get(bt, AMB_BPF_POD, &ask.netns, &first));
	CHECK(amb_rows_get(bt, AMB_BPF_POD, &key.netns, &last));
	CHECK_STR(last.name, "ns/pod-4999");
	key.identity = first.identity;
	row.stamp = last.stamp;
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_POLICY, &key, &row), 0);
	CHECK_EQ(amb_bpf_ask(bt, &ask), 0);
	CHECK_EQ(ask.way, AMB_WAY_DIRECT);
	CASE("half of them leave");
	for (i = 0; i < PODS; i += 2)
		amb_publish_pod_del(p, COOKIE(i + 1));
	settle_down(loop);
	CHECK_EQ(bt_count(AMB_BPF_POD), PODS / 2);
	CHECK_EQ(bt_count(AMB_BPF_ADDR), 2 * PODS);
	CHECK_EQ(bt_count(AMB_BPF_IDENT), PODS / 2);
	ask.netns = COOKIE(2);
	CHECK_EQ(amb_bpf_ask(bt, &ask), 0);
	CHECK_EQ(ask.way, AMB_WAY_TUNNEL);
	amb_publish_destroy(p);
	amb_bpf_close(bt, false);
	bt = NULL;
	amb_state_destroy(st);
	amb_loop_destroy(loop);
	mesh_free();
}

int main(void)
{
	if (!bt_begin())
		return KSFT_SKIP;
	amb_bpf_close(bt, false);
	bt = NULL;
	if (unshare(CLONE_NEWNET)) {
		printf("1..0 # SKIP no network namespace: %s\n", strerror(errno));
		return KSFT_SKIP;
	}
	home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return harness_run();
}
