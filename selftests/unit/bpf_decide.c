// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel's decision (bpf/decide.h) as BPF_PROG_RUN answers it: every way and every reason.
 *
 * The mesh of all tests: pods of this node (own namespaces, by COOKIE), workloads elsewhere,
 * services.
 */
#include "bpftest.h"

#define BOTH (AMB_POD_OUTBOUND | AMB_POD_INBOUND)
#define LOCAL AMB_ADDR_HBONE
#define STAMP(n) (1000ull + (n))

enum { A = 1, B, TUNNEL, INGRESS, GONE, SPLICE, SPLICED };

static void put_pod(int n, uint32_t flags, uint32_t inputs, const char *v4, const char *v6)
{
	struct amb_pod_row row = {
		.identity = 100 + n,
		.flags = flags,
		.inputs = inputs,
		.stamp = STAMP(n),
		.v4 = ip(v4),
		.v6 = ip(v6),
	};
	uint64_t key = COOKIE(n);

	CHECK_EQ(amb_rows_put(bt, AMB_BPF_POD, &key, &row), 0);
	bt_addr(v4, key, 100 + n, LOCAL);
	bt_addr(v6, key, 100 + n, LOCAL);
}

static void put_verdict(int pod, int from, int port, const char *src, const char *dst,
			uint64_t stamp, bool allow, enum amb_reason reason)
{
	struct amb_policy_key key = { .netns = COOKIE(pod),
				      .identity = from ? 100 + from : 0,
				      .port = port };
	struct amb_policy_row row = { .stamp = stamp, .allow = allow, .reason = reason };

	if (src)
		key.src = ip(src);
	if (dst)
		key.dst = ip(dst);
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_POLICY, &key, &row), 0);
}

static void put_svc(const char *vip, int port, uint32_t number, uint32_t slots)
{
	struct amb_svc_key key = { .addr = ip(vip), .port = port };
	struct amb_svc_row row = { .number = number, .slots = slots };

	CHECK_EQ(amb_rows_put(bt, AMB_BPF_SVC, &key, &row), 0);
}

static void put_end(uint32_t number, uint32_t slot, const char *addr, int port)
{
	struct amb_end_key key = { .number = number, .slot = slot };
	struct amb_end_row row = { .addr = ip(addr), .port = port };

	CHECK_EQ(amb_rows_put(bt, AMB_BPF_END, &key, &row), 0);
}

static void mesh(void)
{
	uint64_t gone = COOKIE(GONE);

	bt_clear();
	put_pod(A, BOTH, 0, "10.0.0.1", "fd00::1");
	put_pod(B, BOTH, 0, "10.0.0.2", "fd00::2");
	put_pod(TUNNEL, BOTH | AMB_POD_ALWAYS_TUNNEL, 0, "10.0.0.3", "fd00::3");
	put_pod(INGRESS, AMB_POD_OUTBOUND, 0, "10.0.0.4", "fd00::4");
	put_pod(GONE, BOTH, 0, "10.0.0.5", "fd00::5");
	CHECK_EQ(amb_rows_del(bt, AMB_BPF_POD, &gone), 0);
	bt_addr("10.9.0.1", 0, 0, AMB_ADDR_HBONE);
	bt_addr("fd09::1", 0, 0, AMB_ADDR_HBONE);
	bt_addr("10.9.0.2", 0, 0, 0);
	bt_addr("10.9.0.3", 0, 0, AMB_ADDR_HBONE | AMB_ADDR_AGENT);
	bt_addr("10.9.0.4", 0, 0, AMB_ADDR_HBONE | AMB_ADDR_SERVICE | AMB_ADDR_AGENT);
	/* Policies have said: */
	put_verdict(B, A, 80, NULL, NULL, STAMP(B), true, AMB_REASON_POLICY_ALLOW);
	put_verdict(B, A, 81, NULL, NULL, STAMP(B), true, AMB_REASON_POLICY_NONE);
	put_verdict(B, A, 82, NULL, NULL, STAMP(B), false, AMB_REASON_POLICY_DENY);
	put_verdict(B, A, 83, NULL, NULL, STAMP(B), false, AMB_REASON_POLICY_NOT_ALLOWED);
	put_verdict(B, A, 84, NULL, NULL, STAMP(B) - 1, true, AMB_REASON_POLICY_ALLOW);
	put_verdict(B, A, 85, NULL, NULL, STAMP(B) - 1, false, AMB_REASON_POLICY_DENY);
	put_verdict(B, 0, 86, NULL, NULL, STAMP(B), true, AMB_REASON_POLICY_ALLOW);
	put_verdict(B, TUNNEL, 80, NULL, NULL, STAMP(B), true, AMB_REASON_POLICY_ALLOW);
	put_verdict(TUNNEL, A, 80, NULL, NULL, STAMP(TUNNEL), true, AMB_REASON_POLICY_ALLOW);
	put_verdict(INGRESS, A, 80, NULL, NULL, STAMP(INGRESS), true, AMB_REASON_POLICY_ALLOW);
	put_verdict(GONE, A, 80, NULL, NULL, STAMP(GONE), true, AMB_REASON_POLICY_ALLOW);
	put_verdict(B, A, 15001, NULL, NULL, STAMP(B), true, AMB_REASON_POLICY_ALLOW);
	put_verdict(B, A, 15006, NULL, NULL, STAMP(B), true, AMB_REASON_POLICY_ALLOW);
	put_verdict(B, A, 15008, NULL, NULL, STAMP(B), true, AMB_REASON_POLICY_ALLOW);
	/* Services: resolvable, without a row, without slots, ... */
	bt_addr("10.96.0.1", 0, 0, AMB_ADDR_SERVICE);
	put_svc("10.96.0.1", 8080, 1, 1);
	put_end(1, 0, "10.0.0.2", 80);
	put_svc("10.96.0.1", 8082, 2, 1);
	put_end(2, 0, "10.0.0.2", 82);
	put_svc("10.96.0.1", 8083, 3, 1);
	put_end(3, 0, "10.0.0.2", 8383);
	put_svc("10.96.0.1", 8084, 4, 0);
	put_svc("10.96.0.1", 8085, 5, 1);
	put_svc("10.96.0.1", 8086, 6, 1);
	put_end(6, 0, "10.0.0.99", 80);
	put_svc("10.96.0.1", 8087, 7, 1);
	put_end(7, 0, "10.9.0.1", 80);
	put_svc("10.96.0.1", 8088, 8, 1);
	put_end(8, 0, "10.0.0.3", 80);
	put_svc("10.96.0.1", 8089, 9, 1);
	put_end(9, 0, "10.0.0.1", 80);
	bt_addr("fd96::1", 0, 0, AMB_ADDR_SERVICE);
	put_svc("fd96::1", 8080, 10, 1);
	put_end(10, 0, "fd00::2", 80);
	bt_addr("10.96.0.2", 0, 0, AMB_ADDR_SERVICE);
	bt_addr("10.96.0.9", 0, 0, AMB_ADDR_SERVICE | AMB_ADDR_PASS);
	bt_addr("10.96.0.10", 0, 0, AMB_ADDR_SERVICE | AMB_ADDR_PASS | AMB_ADDR_AGENT);
}

static struct amb_ask ask(int from, const char *dst, int port)
{
	struct amb_ask a = { .netns = COOKIE(from), .dst = ip(dst), .port = port };

	CHECK_EQ(amb_bpf_ask(bt, &a), 0);
	return a;
}

static void check(int from, const char *dst, int port, enum amb_way way, enum amb_reason reason,
		  const char *to, int to_port)
{
	struct amb_ask a = ask(from, dst, port);
	struct amb_in6 want = ip(to ? to : dst);

	CHECK_EQ(a.way, way);
	CHECK_EQ(a.reason, reason);
	CHECK(!memcmp(&a.to, &want, sizeof(want)));
	CHECK_EQ(a.to_port, to_port ? to_port : port);
}

struct row {
	const char *text;
	int from;
	const char *dst;
	int port, way, reason;
	const char *to;
	int to_port;
};

static void check_rows(const struct row *r, size_t n)
{
	for (; n--; r++) {
		CASE(r->text);
		check(r->from, r->dst, r->port, r->way, r->reason, r->to, r->to_port);
	}
}

#define W(way) AMB_WAY_##way
#define R(reason) AMB_REASON_##reason
#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof((rows)[0]))

TEST(left_alone)
{
	static const struct row rows[] = {
		{ "loopback", A, "127.0.0.1", 80, W(NONE), R(NONE) },
		{ "all of its range", A, "127.9.9.9", 80, W(NONE), R(NONE) },
		{ "loopback v6", A, "::1", 80, W(NONE), R(NONE) },
		{ "any means loopback", A, "0.0.0.0", 80, W(NONE), R(NONE) },
		{ "any v6", A, "::", 80, W(NONE), R(NONE) },
		{ "its own address", A, "10.0.0.1", 80, W(NONE), R(NONE) },
		{ "its own v6", A, "fd00::1", 80, W(NONE), R(NONE) },
		{ "of a pod that always tunnels", TUNNEL, "10.0.0.3", 80, W(NONE), R(NONE) },
	};

	mesh();
	CHECK_ROWS(rows);
}

TEST(unknown_addresses)
{
	static const struct row whole[] = {
		{ "stranger", A, "192.0.2.1", 80, W(PASSTHROUGH), R(NOT_IN_MESH) },
		{ "stranger v6", A, "2001:db8::1", 80, W(PASSTHROUGH), R(NOT_IN_MESH) },
		{ "always-tunnel does not care", TUNNEL, "192.0.2.1", 80, W(PASSTHROUGH),
		  R(NOT_IN_MESH) },
		{ "not loopback", A, "::2", 80, W(PASSTHROUGH), R(NOT_IN_MESH) },
		{ "v4 is not its v6 namesake", A, "::a00:2", 80, W(PASSTHROUGH), R(NOT_IN_MESH) },
	};
	static const struct row partial[] = {
		{ "PARTIAL: to the agent", A, "192.0.2.1", 80, W(TUNNEL), R(NONE) },
		{ "v6", A, "2001:db8::1", 80, W(TUNNEL), R(NONE) },
		{ "known ones are known", A, "10.9.0.2", 80, W(PASSTHROUGH), R(PLAIN_WORKLOAD) },
	};
	static const struct row ranges[] = {
		{ "in a range", A, "198.51.100.77", 80, W(TUNNEL), R(SERVICE) },
		{ "beside it", A, "198.51.101.1", 80, W(PASSTHROUGH), R(NOT_IN_MESH) },
		{ "in a v6 range", A, "2001:db8:1::5", 80, W(TUNNEL), R(SERVICE) },
		{ "beside it", A, "2001:db8:2::5", 80, W(PASSTHROUGH), R(NOT_IN_MESH) },
	};

	mesh();
	bt_cidr("198.51.100.0", 96 + 24, AMB_ADDR_SERVICE | AMB_ADDR_AGENT);
	bt_cidr("2001:db8:1::", 48, AMB_ADDR_SERVICE | AMB_ADDR_AGENT);
	CHECK_ROWS(whole);
	CASE("rows of ranges that the meta row does not name yet");
	check(A, "198.51.100.77", 80, W(PASSTHROUGH), R(NOT_IN_MESH), NULL, 0);
	CHECK_EQ(amb_rows_set_meta(bt, AMB_META_PARTIAL | AMB_META_CIDR), 0);
	CHECK_ROWS(partial);
	CHECK_EQ(amb_rows_set_meta(bt, AMB_META_CIDR), 0);
	CHECK_ROWS(ranges);
	CHECK_ROWS(whole);
}

TEST(elsewhere)
{
	static const struct row rows[] = {
		{ "HBONE", A, "10.9.0.1", 80, W(TUNNEL), R(WORKLOAD) },
		{ "HBONE v6", A, "fd09::1", 80, W(TUNNEL), R(WORKLOAD) },
		{ "plain workload", A, "10.9.0.2", 80, W(PASSTHROUGH), R(PLAIN_WORKLOAD) },
		{ "waypoint and the like", A, "10.9.0.3", 80, W(TUNNEL), R(NONE) },
		{ "workload and service", A, "10.9.0.4", 80, W(TUNNEL), R(NONE) },
		{ "passthrough service", A, "10.96.0.9", 80, W(PASSTHROUGH),
		  R(SERVICE_PASSTHROUGH) },
		{ "the agent decides first", A, "10.96.0.10", 80, W(TUNNEL), R(NONE) },
	};

	mesh();
	CHECK_ROWS(rows);
}

TEST(within_the_node)
{
	static const struct row rows[] = {
		{ "allowed", A, "10.0.0.2", 80, W(DIRECT), R(POLICY_ALLOW) },
		{ "v6", A, "fd00::2", 80, W(DIRECT), R(POLICY_ALLOW) },
		{ "no policy", A, "10.0.0.2", 81, W(DIRECT), R(POLICY_NONE) },
		{ "denied", A, "10.0.0.2", 82, W(DENY), R(POLICY_DENY) },
		{ "not allowed", A, "fd00::2", 83, W(DENY), R(POLICY_NOT_ALLOWED) },
		{ "allowed by old policies", A, "10.0.0.2", 84, W(TUNNEL), R(NO_VERDICT) },
		{ "denied by old policies", A, "10.0.0.2", 85, W(TUNNEL), R(NO_VERDICT) },
		{ "a plaintext verdict is nobody's", A, "10.0.0.2", 86, W(TUNNEL), R(NO_VERDICT) },
		{ "never asked", A, "10.0.0.2", 90, W(TUNNEL), R(NO_VERDICT) },
		{ "another source", INGRESS, "10.0.0.2", 80, W(TUNNEL), R(NO_VERDICT) },
		{ "the other direction", B, "10.0.0.1", 80, W(TUNNEL), R(NO_VERDICT) },
		{ "inbound left alone", A, "10.0.0.4", 80, W(TUNNEL), R(WORKLOAD) },
		{ "pod row is gone", A, "10.0.0.5", 80, W(TUNNEL), R(WORKLOAD) },
		{ "port 15001", A, "10.0.0.2", 15001, W(TUNNEL), R(WORKLOAD) },
		{ "port 15006", A, "10.0.0.2", 15006, W(TUNNEL), R(WORKLOAD) },
		{ "port 15008", A, "fd00::2", 15008, W(TUNNEL), R(WORKLOAD) },
		{ "destination always tunnels", A, "10.0.0.3", 80, W(TUNNEL), R(ALWAYS_TUNNEL) },
		{ "source always tunnels", TUNNEL, "10.0.0.2", 80, W(TUNNEL), R(ALWAYS_TUNNEL) },
	};

	mesh();
	CHECK_ROWS(rows);
}

/* Both ends have opted in, and the program is there: all three. */
TEST(spliced)
{
	static const struct row with[] = {
		{ "both opted in", SPLICE, "10.0.0.7", 80, W(SPLICE), R(POLICY_ALLOW) },
		{ "v6", SPLICE, "fd00::7", 80, W(SPLICE), R(POLICY_ALLOW) },
		{ "by a service", SPLICE, "10.96.2.1", 8080, W(SPLICE), R(POLICY_ALLOW), "10.0.0.7",
		  80 },
		{ "denied", SPLICE, "10.0.0.7", 82, W(DENY), R(POLICY_DENY) },
		{ "the source has not", A, "10.0.0.7", 80, W(DIRECT), R(POLICY_ALLOW) },
		{ "the destination has not", SPLICE, "10.0.0.2", 80, W(DIRECT), R(POLICY_ALLOW) },
	};
	static const struct row without[] = {
		{ "no program", SPLICE, "10.0.0.7", 80, W(DIRECT), R(POLICY_ALLOW) },
		{ "no program, v6", SPLICE, "fd00::7", 80, W(DIRECT), R(POLICY_ALLOW) },
	};

	mesh();
	put_pod(SPLICE, BOTH | AMB_POD_SPLICE, 0, "10.0.0.6", "fd00::6");
	put_pod(SPLICED, BOTH | AMB_POD_SPLICE, 0, "10.0.0.7", "fd00::7");
	put_verdict(SPLICED, SPLICE, 80, NULL, NULL, STAMP(SPLICED), true, AMB_REASON_POLICY_ALLOW);
	put_verdict(SPLICED, SPLICE, 82, NULL, NULL, STAMP(SPLICED), false, AMB_REASON_POLICY_DENY);
	put_verdict(SPLICED, A, 80, NULL, NULL, STAMP(SPLICED), true, AMB_REASON_POLICY_ALLOW);
	put_verdict(B, SPLICE, 80, NULL, NULL, STAMP(B), true, AMB_REASON_POLICY_ALLOW);
	bt_addr("10.96.2.1", 0, 0, AMB_ADDR_SERVICE);
	put_svc("10.96.2.1", 8080, 60, 1);
	put_end(60, 0, "10.0.0.7", 80);
	CHECK_EQ(amb_rows_set_meta(bt, 0), 0);
	CHECK_ROWS(without);
	CHECK_EQ(amb_rows_set_meta(bt, AMB_META_SPLICE), 0);
	CHECK_ROWS(with);
	CHECK_EQ(amb_rows_set_meta(bt, 0), 0);
	CHECK_ROWS(without);
}

/* A pod whose workload is not known yet, and verdicts on plaintext: they are not its own. */
TEST(nobody_yet)
{
	const uint64_t cookie = COOKIE(A);
	struct amb_pod_row row;

	mesh();
	put_verdict(B, 0, 87, NULL, NULL, STAMP(B), false, AMB_REASON_POLICY_DENY);
	CHECK(amb_rows_get(bt, AMB_BPF_POD, &cookie, &row));
	row.identity = 0;
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_POD, &cookie, &row), 0);
	CASE("allowed");
	check(A, "10.0.0.2", 86, AMB_WAY_TUNNEL, AMB_REASON_NO_VERDICT, NULL, 0);
	CASE("denied");
	check(A, "10.0.0.2", 87, AMB_WAY_TUNNEL, AMB_REASON_NO_VERDICT, NULL, 0);
}

TEST(services)
{
	static const struct row rows[] = {
		{ "resolved, allowed", A, "10.96.0.1", 8080, W(DIRECT), R(POLICY_ALLOW), "10.0.0.2",
		  80 },
		{ "resolved v6", A, "fd96::1", 8080, W(DIRECT), R(POLICY_ALLOW), "fd00::2", 80 },
		{ "resolved, denied", A, "10.96.0.1", 8082, W(DENY), R(POLICY_DENY), "10.0.0.2",
		  82 },
		{ "no such port", A, "10.96.0.1", 80, W(TUNNEL), R(SERVICE) },
		{ "no slots", A, "10.96.0.1", 8084, W(TUNNEL), R(SERVICE) },
		{ "slot is missing", A, "10.96.0.1", 8085, W(TUNNEL), R(SERVICE) },
		{ "endpoint unknown", A, "10.96.0.1", 8086, W(TUNNEL), R(SERVICE) },
		{ "endpoint not local any more", A, "10.96.0.1", 8087, W(TUNNEL), R(SERVICE) },
		{ "no rows at all", A, "10.96.0.2", 8080, W(TUNNEL), R(SERVICE) },
		{ "source always tunnels", TUNNEL, "10.96.0.1", 8080, W(TUNNEL), R(ALWAYS_TUNNEL) },
	};

	mesh();
	CHECK_ROWS(rows);
	/* The agent draws anew: what it is told is that way and reason, whatever the kernel drew. */
	CASE("no verdict for the endpoint");
	CHECK_EQ(ask(A, "10.96.0.1", 8083).way, AMB_WAY_TUNNEL);
	CHECK_EQ(ask(A, "10.96.0.1", 8083).reason, AMB_REASON_NO_VERDICT);
	CASE("endpoint always tunnels");
	CHECK_EQ(ask(A, "10.96.0.1", 8088).way, AMB_WAY_TUNNEL);
	CHECK_EQ(ask(A, "10.96.0.1", 8088).reason, AMB_REASON_ALWAYS_TUNNEL);
	CASE("the endpoint is the source itself: no verdict, so the agent's");
	CHECK_EQ(ask(A, "10.96.0.1", 8089).way, AMB_WAY_TUNNEL);
}

/* A key has those addresses only that the destination's policies look at. */
TEST(inputs)
{
	static const struct {
		const char *text;
		uint32_t inputs;
		const char *src, *dst, *to;
		enum amb_way way;
	} rows[] = {
		{ "none", 0, NULL, NULL, "10.0.0.2", W(DIRECT) },
		{ "none, v6", 0, NULL, NULL, "fd00::2", W(DIRECT) },
		{ "row too narrow for it", 0, "10.0.0.1", NULL, "10.0.0.2", W(TUNNEL) },
		{ "source", AMB_INPUT_SRC, "10.0.0.1", NULL, "10.0.0.2", W(DIRECT) },
		{ "source missing in the row", AMB_INPUT_SRC, NULL, NULL, "10.0.0.2", W(TUNNEL) },
		{ "another source", AMB_INPUT_SRC, "10.0.0.9", NULL, "10.0.0.2", W(TUNNEL) },
		{ "the other family", AMB_INPUT_SRC, "10.0.0.1", NULL, "fd00::2", W(TUNNEL) },
		{ "source v6", AMB_INPUT_SRC, "fd00::1", NULL, "fd00::2", W(DIRECT) },
		{ "destination", AMB_INPUT_DST, NULL, "10.0.0.2", "10.0.0.2", W(DIRECT) },
		{ "its other address", AMB_INPUT_DST, NULL, "10.0.0.2", "fd00::2", W(TUNNEL) },
		{ "both", AMB_INPUT_SRC | AMB_INPUT_DST, "fd00::1", "fd00::2", "fd00::2",
		  W(DIRECT) },
		{ "one of both", AMB_INPUT_SRC | AMB_INPUT_DST, "fd00::1", NULL, "fd00::2",
		  W(TUNNEL) },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CASE(rows[i].text);
		mesh();
		put_pod(B, BOTH, rows[i].inputs, "10.0.0.2", "fd00::2");
		/* Of that port no other row may answer. */
		put_verdict(B, A, 4444, rows[i].src, rows[i].dst, STAMP(B), true,
			    AMB_REASON_POLICY_ALLOW);
		CHECK_EQ(ask(A, rows[i].to, 4444).way, rows[i].way);
	}
}

TEST(weights)
{
	enum { ASKS = 8000 };
	int near = 0, far = 0, i;
	struct amb_in6 b;

	mesh();
	b = ip("10.0.0.2");
	put_pod(SPLICE, BOTH | AMB_POD_SPLICE, 0, "10.0.0.6", "fd00::6");
	put_verdict(SPLICE, A, 80, NULL, NULL, STAMP(SPLICE), true, AMB_REASON_POLICY_ALLOW);
	bt_addr("10.96.1.1", 0, 0, AMB_ADDR_SERVICE);
	put_svc("10.96.1.1", 80, 50, 4);
	for (i = 0; i < 3; i++)
		put_end(50, i, "10.0.0.2", 80);
	put_end(50, 3, "10.0.0.6", 80);
	for (i = 0; i < ASKS; i++) {
		struct amb_ask a = ask(A, "10.96.1.1", 80);

		CHECK_EQ(a.way, AMB_WAY_DIRECT);
		if (!memcmp(&a.to, &b, sizeof(b)))
			near++;
		else
			far++;
	}
	/* 3 : 1; the standard deviation is 39. */
	CHECK(near > 5700 && near < 6300);
	CHECK_EQ(near + far, ASKS);
}

TEST(who_asks)
{
	struct amb_ask a = { .netns = COOKIE(GONE), .dst = ip("10.0.0.2"), .port = 80 };

	mesh();
	CASE("a pod without row");
	CHECK_EQ(amb_bpf_ask(bt, &a), -ENOENT);
}

/* What an agent before allowed says nothing: its numbers are others' now. Its pods stay captured. */
TEST(taken_over)
{
	uint64_t a = COOKIE(A);
	struct amb_pod_row row;
	char err[256] = "";

	mesh();
	check(A, "10.0.0.2", 80, W(DIRECT), R(POLICY_ALLOW), NULL, 0);
	amb_bpf_close(bt, true);
	CHECK(bt_load(err, sizeof(err)));
	CHECK(bt->adopted);
	CHECK_EQ(bt_count(AMB_BPF_POLICY), 0);
	CHECK(amb_rows_get(bt, AMB_BPF_POD, &a, &row));
	CHECK_EQ(row.identity, 0);
	CHECK_EQ(row.flags, BOTH);
	check(A, "10.0.0.2", 80, W(TUNNEL), R(NO_VERDICT), NULL, 0);
	CASE("a verdict as the agent before had it");
	put_verdict(B, A, 80, NULL, NULL, STAMP(B), true, AMB_REASON_POLICY_ALLOW);
	check(A, "10.0.0.2", 80, W(TUNNEL), R(NO_VERDICT), NULL, 0);
	CASE("unknown addresses, until all is published");
	check(A, "192.0.2.1", 80, W(TUNNEL), R(NONE), NULL, 0);
	check(A, "10.9.0.1", 80, W(TUNNEL), R(WORKLOAD), NULL, 0);
}

/* Who comes from A's address and A's port is A only if the row says so. */
TEST(proof_of_a_flight)
{
	const struct amb_flight_key key = {
		.netns = COOKIE(A), .to = ip("10.0.0.2"), .to_port = 80, .from_port = 1000
	};
	struct amb_flight_row row = { .src = ip("10.0.0.1"), .way = AMB_WAY_DIRECT };
	struct amb_endpoint src = { .port = 1000 }, dst = { .port = 80 };

	mesh();
	CHECK_EQ(amb_addr_parse("10.0.0.1", &src.addr), 0);
	CHECK_EQ(amb_addr_parse("10.0.0.2", &dst.addr), 0);
	CHECK(!amb_rows_flight_proves(bt, &src, &dst));
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_FLIGHT, &key, &row), 0);
	CHECK(amb_rows_flight_proves(bt, &src, &dst));
	CASE("it began at another address of the pod");
	row.src = ip("fd00::1");
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_FLIGHT, &key, &row), 0);
	CHECK(!amb_rows_flight_proves(bt, &src, &dst));
	CASE("it was not let go directly");
	row = (struct amb_flight_row){ .src = ip("10.0.0.1"), .way = AMB_WAY_PASSTHROUGH };
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_FLIGHT, &key, &row), 0);
	CHECK(!amb_rows_flight_proves(bt, &src, &dst));
}

TEST(verdicts_that_are_kept)
{
	struct amb_rows_verdict v = { .identity = 100 + A, .dst.port = 99, .allow = true };
	size_t before;

	mesh();
	before = bt_count(AMB_BPF_POLICY);
	CHECK_EQ(amb_addr_parse("10.0.0.2", &v.dst.addr), 0);
	v.stamp = STAMP(B);
	v.reason = AMB_REASON_POLICY_ALLOW;
	amb_rows_verdict_keep(bt, &v);
	CHECK_EQ(bt_count(AMB_BPF_POLICY), before + 1);
	check(A, "10.0.0.2", 99, W(DIRECT), R(POLICY_ALLOW), NULL, 0);
	CASE("of nobody's pod");
	CHECK_EQ(amb_addr_parse("10.9.0.1", &v.dst.addr), 0);
	amb_rows_verdict_keep(bt, &v);
	CHECK_EQ(bt_count(AMB_BPF_POLICY), before + 1);
	CASE("to a pod that no direct way leads to");
	CHECK_EQ(amb_addr_parse("10.0.0.3", &v.dst.addr), 0);
	amb_rows_verdict_keep(bt, &v);
	CHECK_EQ(bt_count(AMB_BPF_POLICY), before + 1);
	CASE("but plaintext may come in there");
	v.identity = 0;
	amb_rows_verdict_keep(bt, &v);
	CHECK_EQ(bt_count(AMB_BPF_POLICY), before + 2);
}

int main(void)
{
	if (!bt_begin())
		return KSFT_SKIP;
	return bt_end(harness_run());
}
