// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Connections that the kernel carries. Their rows are written by the test, the sockets are real,
 * of this process: what is said to be a pod's namespace is its own.
 */
#include "bpftest.h"
#include "policies.h"

#include "base/loop.h"
#include "flows.h"
#include "kernel/netns.h"
#include "nomem.h"
#include "publish.h"
#include "spin.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdbool.h>
#include <sys/socket.h>

#define NET "net"

enum { A = 1 };

static struct amb_loop *loop;
static struct amb_state *st;
static struct amb_publish *p;
static struct amb_flows *f;
static struct amb_netns *home;
static bool away; /* the pod's namespace cannot be found */

static struct {
	int opened, closed;
	enum amb_flag flag; /* of the last one closed */
	enum amb_reason reason;
} told;

static void *opened(void *ctx, unsigned int worker, const struct amb_flow *flow)
{
	(void)ctx;
	(void)worker;
	(void)flow;
	told.opened++;
	return NULL;
}

static void closed(void *ctx, unsigned int worker, void *cookie, const struct amb_flow *flow)
{
	(void)ctx;
	(void)worker;
	(void)cookie;
	told.closed++;
	told.flag = flow->flag;
	told.reason = flow->reason;
}

static struct amb_netns *netns_of(void *ctx, uint64_t cookie)
{
	(void)ctx;
	return cookie == COOKIE(A) && !away ? home : NULL;
}

static const char *uid_of(void *ctx, uint64_t cookie)
{
	(void)ctx;
	(void)cookie;
	return NULL;
}

/* The pod is there, its policies are not. */
static void changed(void *ctx, const struct amb_state_change *change)
{
	(void)ctx;
	amb_publish_changed(p, change);
}

static void start(void)
{
	static const struct amb_flow_hooks hooks = { .opened = opened, .closed = closed };
	const struct amb_publish_pod pod = { .cookie = COOKIE(A),
					     .ns = "ns",
					     .name = "a",
					     .sa = "a",
					     .flags = AMB_POD_OUTBOUND | AMB_POD_INBOUND };
	struct amb_flows_config config = {
		.bpf = bt, .hooks = &hooks, .netns = netns_of, .uid = uid_of
	};

	bt_clear();
	memset(&told, 0, sizeof(told));
	away = false;
	loop = amb_loop_create();
	st = mesh_state(NET);
	p = amb_publish_create(loop, st, bt);
	CHECK(loop && st && p);
	CHECK_EQ(amb_state_listen(st, changed, NULL), 0);
	config.state = st;
	config.publish = p;
	f = amb_flows_create(loop, &config);
	CHECK(f);
	CHECK_EQ(mesh_put_workload(st, (struct wl){ "a", .node = "node", .network = NET, .hbone = 1,
						    .sa = "a", .addrs = "10.0.0.1" }),
		 0);
	CHECK_EQ(amb_publish_pod_add(p, &pod), 0);
}

static void stop(void)
{
	amb_flows_destroy(f);
	amb_publish_destroy(p);
	amb_state_destroy(st);
	amb_loop_destroy(loop);
	mesh_free();
}

static void policy(bool deny)
{
	CHECK_EQ(mesh_put_policy(st, mesh_policy("ns", "p", 1, 1, false,
						 deny ? "always" : "src=192.0.2.0/24")),
		 0);
}

/* A connection of this process that came in to the pod. */
struct live {
	int client, server;
	uint64_t cookie;
};

static void name_of(int fd, bool peer, struct amb_in6 *addr, uint16_t *port)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct amb_endpoint e;

	CHECK_EQ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&ss, &len), 0);
	CHECK_EQ(amb_endpoint_from_sockaddr((struct sockaddr *)&ss, &e), 0);
	*addr = amb_rows_addr(&e.addr);
	*port = e.port;
}

static struct live come_in(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct amb_conn_row row = { .netns = COOKIE(A), .way = AMB_WAY_PASSTHROUGH, .inbound = 1 };
	socklen_t len = sizeof(sin);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct live l = { .client = socket(AF_INET, SOCK_STREAM, 0) };

	CHECK_EQ(bind(listener, (struct sockaddr *)&sin, sizeof(sin)), 0);
	CHECK_EQ(listen(listener, 1), 0);
	CHECK_EQ(getsockname(listener, (struct sockaddr *)&sin, &len), 0);
	CHECK_EQ(connect(l.client, (struct sockaddr *)&sin, sizeof(sin)), 0);
	l.server = accept(listener, NULL, NULL);
	CHECK(l.server >= 0);
	close(listener);
	len = sizeof(l.cookie);
	CHECK_EQ(getsockopt(l.server, SOL_SOCKET, SO_COOKIE, &l.cookie, &len), 0);
	name_of(l.server, true, &row.src, &row.src_port);
	name_of(l.server, false, &row.dst, &row.dst_port);
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_CONN, &l.cookie, &row), 0);
	return l;
}

static bool is_cut(const struct live *l)
{
	char c;

	return recv(l->server, &c, 1, MSG_DONTWAIT) < 0 && errno == ECONNABORTED;
}

static const struct live *waits; /* for is_ended */

static bool is_ended(void)
{
	return is_cut(waits);
}

static void go(struct live *l)
{
	CHECK_EQ(amb_rows_del(bt, AMB_BPF_CONN, &l->cookie), 0);
	close(l->client);
	close(l->server);
}

TEST(adopted_ones_are_judged)
{
	struct live l;

	start();
	l = come_in();
	policy(true);
	amb_flows_adopt(f);
	CHECK_EQ(told.opened, 1);
	CHECK(is_cut(&l));
	go(&l);
	stop();
}

/* As the programs do when the ring is full. */
static void lose_an_event(void)
{
	struct amb_stat_row *each = calloc(libbpf_num_possible_cpus(), sizeof(*each));
	uint32_t key = AMB_REASON_EVENTS_LOST;

	CHECK(each);
	CHECK_EQ(bpf_map_lookup_elem(bt->map[AMB_BPF_STAT], &key, each), 0);
	each[0].dropped++;
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_STAT, &key, each), 0);
	free(each);
}

TEST(events_are_lost)
{
	struct live a, b;

	start();
	lose_an_event();
	a = come_in();
	amb_flows_read(f);
	CASE("not before they are for us");
	CHECK_EQ(told.opened, 0);
	amb_flows_adopt(f);
	CHECK_EQ(told.opened, 1);
	CASE("whoever reads the ring finds what is missing");
	b = come_in();
	lose_an_event();
	amb_flows_rejudge(f);
	CHECK_EQ(told.opened, 2);
	go(&a);
	go(&b);
	lose_an_event();
	amb_flows_read(f);
	CHECK_EQ(told.closed, 2);
	CHECK_EQ(told.flag, AMB_FLAG_NONE);
	CASE("judged like others");
	policy(true);
	a = come_in();
	lose_an_event();
	amb_flows_read(f);
	CHECK(is_cut(&a));
	go(&a);
	stop();
}

TEST(policies_change)
{
	struct live l;

	start();
	l = come_in();
	amb_flows_adopt(f);
	policy(false);
	amb_flows_rejudge(f);
	CHECK(!is_cut(&l));
	policy(true);
	amb_flows_rejudge(f);
	CHECK(is_cut(&l));
	go(&l);
	CASE("its end was lost, not why it ended");
	lose_an_event();
	amb_flows_read(f);
	CHECK_EQ(told.closed, 1);
	CHECK_EQ(told.flag, AMB_FLAG_DENY);
	CHECK_EQ(told.reason, AMB_REASON_POLICY_CHANGE);
	stop();
}

TEST(cannot_be_ended)
{
	struct live l;

	start();
	l = come_in();
	amb_flows_adopt(f);
	policy(true);
	away = true;
	amb_flows_rejudge(f);
	CHECK(!is_cut(&l));
	CASE("tried again, though nothing has changed and nobody asks");
	away = false;
	waits = &l;
	CHECK(spin(loop, is_ended));
	go(&l);
	stop();
}

#ifdef NOMEM
TEST(there_was_no_memory_for_it)
{
	struct live l;

	start();
	amb_flows_adopt(f);
	policy(true);
	l = come_in();
	lose_an_event();
	/* The first is to read the counter by. */
	nomem_stays = true;
	nomem_left = 1;
	amb_flows_read(f);
	nomem_left = -1;
	CHECK(nomem_failed);
	CHECK_EQ(told.opened, 0);
	CASE("looked for again");
	waits = &l;
	CHECK(spin(loop, is_ended));
	go(&l);
	stop();
}
#endif

int main(void)
{
	int status;

	if (!bt_begin())
		return KSFT_SKIP;
	home = amb_netns_open("/proc/thread-self/ns/net");
	status = harness_run();
	amb_netns_put(home);
	return bt_end(status);
}
