// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The programs at the ends of a pod's interface (bpf/tc.bpf.c) by BPF_PROG_RUN, with packets made
 * here as they would come from lo: the guard at the host's, what marks direct connections at
 * the pod's, and at both what keeps back that no agent is there.
 */
#include "bpftest.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>

#define LO 1
#define NEXT (-1)
#define DROP 2

enum { POD = 1, PEER };

#define OWN "10.0.0.1"
#define OWN6 "fd00::1"
#define MESH "10.9.0.1" /* of the mesh, elsewhere */
#define MESH6 "fd09::1"
#define OUT "192.0.2.1" /* not of the mesh */
#define OUT6 "2001:db8::1"

#define SYN 2
#define RST 4
#define ACK 16
#define LATER 256 /* not the number that an answer to a first packet has */

/* Headers behind the Ethernet header of 14 bytes are aligned. */
static _Alignas(8) uint8_t room[2 + 256];
static uint8_t *const packet = room + 2;
static size_t packet_len;

/* Headers, one behind the other */

static void *push(size_t n)
{
	void *at = packet + packet_len;

	memset(at, 0, n);
	packet_len += n;
	return at;
}

static void begin(uint16_t type)
{
	struct ethhdr *eth;

	packet_len = 0;
	eth = push(sizeof(*eth));
	memset(eth->h_dest, 2, ETH_ALEN);
	memset(eth->h_source, 4, ETH_ALEN);
	eth->h_proto = htons(type);
}

static void v4(const char *src, const char *dst, int proto, size_t options, uint16_t frag)
{
	struct iphdr *ih;

	begin(ETH_P_IP);
	ih = push(sizeof(*ih) + options);
	ih->version = 4;
	ih->ihl = 5 + options / 4;
	ih->ttl = 64;
	ih->protocol = proto;
	ih->frag_off = htons(frag);
	ih->saddr = inet_addr(src);
	ih->daddr = inet_addr(dst);
}

static void v6(const char *src, const char *dst, int next)
{
	struct ipv6hdr *ih;
	struct in6_addr a;

	begin(ETH_P_IPV6);
	ih = push(sizeof(*ih));
	ih->version = 6;
	ih->hop_limit = 64;
	ih->nexthdr = next;
	CHECK_EQ(inet_pton(AF_INET6, src, &a), 1);
	ih->saddr = a;
	CHECK_EQ(inet_pton(AF_INET6, dst, &a), 1);
	ih->daddr = a;
}

static void ext(int next, size_t len)
{
	uint8_t *h = push(len);

	h[0] = next;
	h[1] = len / 8 - 1;
}

static void tcp(uint16_t from, uint16_t to, int flags)
{
	struct tcphdr *th = push(sizeof(*th));

	th->source = htons(from);
	th->dest = htons(to);
	th->doff = 5;
	th->syn = !!(flags & SYN);
	th->rst = !!(flags & RST);
	th->ack = !!(flags & ACK);
	th->seq = htonl(flags & LATER ? 1 : 0);
}

static void udp(uint16_t from, uint16_t to)
{
	struct udphdr *uh = push(sizeof(*uh));

	uh->source = htons(from);
	uh->dest = htons(to);
	uh->len = htons(sizeof(*uh));
}

static void syn4(const char *src, const char *dst, uint16_t port)
{
	v4(src, dst, IPPROTO_TCP, 0, 0);
	tcp(40000, port, SYN);
}

static void syn6(const char *src, const char *dst, uint16_t port)
{
	v6(src, dst, IPPROTO_TCP);
	tcp(40000, port, SYN);
}

/* The world */

static void put_if(uint32_t flags)
{
	struct amb_if_row row = { .netns = COOKIE(POD), .flags = flags };
	uint32_t key = LO;

	CHECK_EQ(amb_rows_put(bt, AMB_BPF_IF, &key, &row), 0);
}

static void world(uint32_t flags)
{
	bt_clear();
	put_if(flags);
	bt_addr(OWN, COOKIE(POD), 1, AMB_ADDR_HBONE);
	bt_addr(OWN6, COOKIE(POD), 1, AMB_ADDR_HBONE);
	bt_addr("10.0.0.2", COOKIE(PEER), 2, AMB_ADDR_HBONE);
	bt_addr("fd00::2", COOKIE(PEER), 2, AMB_ADDR_HBONE);
	bt_addr(MESH, 0, 0, AMB_ADDR_HBONE);
	bt_addr(MESH6, 0, 0, AMB_ADDR_HBONE);
	bt_addr("10.9.0.2", 0, 0, 0);
	bt_addr("10.9.0.3", 0, 0, AMB_ADDR_AGENT);
	bt_addr("10.96.0.1", 0, 0, AMB_ADDR_SERVICE);
	bt_addr("fd96::1", 0, 0, AMB_ADDR_SERVICE);
	bt_addr("10.96.0.2", 0, 0, AMB_ADDR_SERVICE | AMB_ADDR_PASS);
	bt_cidr("198.51.100.0", 96 + 24, AMB_ADDR_SERVICE | AMB_ADDR_AGENT);
	bt_cidr("203.0.113.0", 96 + 24, AMB_ADDR_SERVICE | AMB_ADDR_PASS);
	CHECK_EQ(amb_rows_set_meta(bt, AMB_META_CIDR), 0);
}

static void put_flight(int netns, const char *src, const char *to, uint16_t port, enum amb_way way)
{
	struct amb_flight_key key = {
		.netns = COOKIE(netns), .to = ip(to), .to_port = port, .from_port = 40000
	};
	struct amb_flight_row row = { .src = ip(src), .dst = ip(to), .dst_port = port, .way = way };

	CHECK_EQ(amb_rows_put(bt, AMB_BPF_FLIGHT, &key, &row), 0);
}

/* Is the packet dropped, and counted as that? */

static int run(enum amb_bpf_prog prog)
{
	struct __sk_buff skb = { .ifindex = LO };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = packet_len,
		    .ctx_in = &skb, .ctx_size_in = sizeof(skb), .repeat = 1);

	CHECK_EQ(bpf_prog_test_run_opts(bt->prog[prog], &opts), 0);
	return (int)opts.retval;
}

static uint64_t all_dropped(const struct amb_stat_row *rows)
{
	uint64_t n = 0;
	int i;

	for (i = 0; i < AMB_STATS_MAX; i++)
		n += rows[i].dropped;
	return n;
}

/* @reason NONE: it must pass. */
static void check_at(enum amb_bpf_prog prog, const char *text, enum amb_reason reason)
{
	static struct amb_stat_row before[AMB_STATS_MAX], after[AMB_STATS_MAX];

	CASE(text);
	CHECK_EQ(amb_rows_stats(bt, before), 0);
	CHECK_EQ(run(prog), reason ? DROP : NEXT);
	CHECK_EQ(amb_rows_stats(bt, after), 0);
	CHECK_EQ(after[reason].dropped - before[reason].dropped, reason ? 1 : 0);
	CHECK_EQ(all_dropped(after) - all_dropped(before), reason ? 1 : 0);
}

static void check(const char *text, enum amb_reason reason)
{
	check_at(AMB_BPF_FROM_POD, text, reason);
}

#define PASSES AMB_REASON_NONE
#define BYPASS AMB_REASON_BYPASS
#define SPOOFED AMB_REASON_SPOOFED
#define WAITS AMB_REASON_ABSENT

TEST(interface_without_row)
{
	uint32_t key = LO;

	world(AMB_IF_STRICT);
	CHECK_EQ(amb_rows_del(bt, AMB_BPF_IF, &key), 0);
	syn4("10.0.0.2", MESH, 80);
	check("not a pod's", PASSES);
}

TEST(source)
{
	static const struct {
		const char *text, *src, *dst;
		enum amb_reason strict, loose;
	} rows[] = {
		{ "own", OWN, OUT, PASSES, PASSES },
		{ "own v6", OWN6, OUT6, PASSES, PASSES },
		{ "another pod's", "10.0.0.2", OUT, SPOOFED, SPOOFED },
		{ "another pod's v6", "fd00::2", OUT6, SPOOFED, SPOOFED },
		{ "a remote workload's", MESH, OUT, SPOOFED, SPOOFED },
		{ "a plain workload's", "10.9.0.2", OUT, SPOOFED, SPOOFED },
		{ "a service's", "10.96.0.1", OUT, SPOOFED, SPOOFED },
		{ "unknown", "172.16.0.1", OUT, SPOOFED, PASSES },
		{ "unknown v6", "2001:db8::9", OUT6, SPOOFED, PASSES },
		{ "v4 link-local", "169.254.7.127", OUT, SPOOFED, PASSES },
		{ "loopback", "127.0.0.1", OUT, SPOOFED, PASSES },
		{ "link-local", "fe80::1", "ff02::1", PASSES, PASSES },
		{ "its end", "febf::1", "ff02::1", PASSES, PASSES },
		{ "beyond", "fec0::1", "ff02::1", SPOOFED, PASSES },
		{ "the probes' address", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff", OUT6, SPOOFED,
		  PASSES },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool six = strchr(rows[i].src, ':');

		(six ? syn6 : syn4)(rows[i].src, rows[i].dst, 80);
		world(AMB_IF_STRICT);
		check(rows[i].text, rows[i].strict);
		world(0);
		check(rows[i].text, rows[i].loose);
	}
}

/* Before a pod has an address it may ask for one. */
TEST(no_source)
{
	world(AMB_IF_STRICT);
	v4("0.0.0.0", "255.255.255.255", IPPROTO_UDP, 0, 0);
	udp(68, 67);
	check("DHCP", PASSES);
	v6("::", "ff02::1:ff00:1", IPPROTO_ICMPV6);
	push(24);
	check("duplicate address detection", PASSES);
	syn4("0.0.0.0", OUT, 80);
	check("TCP from nowhere", SPOOFED);
	syn6("::", OUT6, 80);
	check("TCP from nowhere, v6", SPOOFED);
}

TEST(not_ip)
{
	world(AMB_IF_STRICT);
	begin(ETH_P_ARP);
	push(28);
	check("ARP", PASSES);
	begin(0x88cc);
	push(46);
	check("LLDP", PASSES);
	begin(ETH_P_8021Q);
	push(4);
	check("a frame in a frame", BYPASS);
	begin(ETH_P_8021AD);
	push(4);
	check("802.1ad", BYPASS);
	world(0);
	begin(ETH_P_8021Q);
	push(4);
	check("on an interface of its own it may", PASSES);
}

TEST(cut_off)
{
	/* BPF_PROG_RUN itself refuses a packet that ends in its IP header. */
	world(AMB_IF_STRICT);
	syn4(OWN, OUT, 80);
	packet_len -= 1;
	check("in the TCP header", BYPASS);
	world(0);
	check("in the TCP header, not strict", PASSES);
	world(AMB_IF_STRICT);
	v4(OWN, OUT, IPPROTO_TCP, 40, 0);
	packet_len -= 20;
	check("in the options", BYPASS);
	syn6(OWN6, OUT6, 80);
	packet_len -= 1;
	check("in the TCP header behind IPv6", BYPASS);
	v6(OWN6, OUT6, IPPROTO_DSTOPTS);
	check("before an extension", BYPASS);
	syn4(OWN, OUT, 80);
	((struct iphdr *)(packet + ETH_HLEN))->ihl = 4;
	check("a header shorter than it can be", BYPASS);
	syn4(OWN, OUT, 80);
	((struct iphdr *)(packet + ETH_HLEN))->version = 6;
	check("IPv6 that says it is IPv4", BYPASS);
	syn6(OWN6, OUT6, 80);
	((struct ipv6hdr *)(packet + ETH_HLEN))->version = 4;
	check("IPv4 that says it is IPv6", BYPASS);
}

TEST(first_packet)
{
	static const struct {
		const char *text, *dst;
		int port;
		enum amb_reason want;
	} rows[] = {
		{ "workload", MESH, 80, BYPASS },
		{ "HBONE", MESH, 15008, PASSES },
		{ "other ports of the agent", MESH, 15001, BYPASS },
		{ "plaintext port", MESH, 15006, BYPASS },
		{ "pod of this node", "10.0.0.2", 80, BYPASS },
		{ "its HBONE", "10.0.0.2", 15008, PASSES },
		{ "plain workload", "10.9.0.2", 80, PASSES },
		{ "the agent's", "10.9.0.3", 80, BYPASS },
		{ "the agent's, not known to speak HBONE", "10.9.0.3", 15008, BYPASS },
		{ "service", "10.96.0.1", 80, BYPASS },
		{ "a service is no HBONE peer", "10.96.0.1", 15008, BYPASS },
		{ "passthrough service", "10.96.0.2", 80, PASSES },
		{ "range", "198.51.100.9", 80, BYPASS },
		{ "range of a passthrough service", "203.0.113.9", 80, PASSES },
		{ "stranger", OUT, 80, PASSES },
	};
	size_t i;

	world(AMB_IF_STRICT);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		syn4(OWN, rows[i].dst, rows[i].port);
		check(rows[i].text, rows[i].want);
	}
	syn6(OWN6, MESH6, 80);
	check("workload v6", BYPASS);
	syn6(OWN6, "fd96::1", 80);
	check("service v6", BYPASS);
	syn6(OWN6, MESH6, 15008);
	check("HBONE v6", PASSES);
	CHECK_EQ(amb_rows_set_meta(bt, 0), 0);
	syn4(OWN, "198.51.100.9", 80);
	check("no ranges are said to be there", PASSES);
}

TEST(decided)
{
	static const struct {
		const char *text;
		enum amb_way way;
		enum amb_reason want;
	} rows[] = {
		{ "direct", AMB_WAY_DIRECT, PASSES },
		{ "splice", AMB_WAY_SPLICE, PASSES },
		{ "the agent", AMB_WAY_NONE, PASSES },
		{ "to be tunnelled", AMB_WAY_TUNNEL, BYPASS },
		{ "denied", AMB_WAY_DENY, BYPASS },
		{ "passthrough", AMB_WAY_PASSTHROUGH, BYPASS },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		world(AMB_IF_STRICT);
		put_flight(POD, OWN, MESH, 80, rows[i].way);
		put_flight(POD, OWN6, MESH6, 80, rows[i].way);
		syn4(OWN, MESH, 80);
		check(rows[i].text, rows[i].want);
		syn6(OWN6, MESH6, 80);
		check(rows[i].text, rows[i].want);
	}
	world(AMB_IF_STRICT);
	put_flight(PEER, OWN, MESH, 80, AMB_WAY_DIRECT);
	put_flight(POD, OWN, MESH, 81, AMB_WAY_DIRECT);
	syn4(OWN, MESH, 80);
	check("another pod's, another port's", BYPASS);
}

/*
 * A CNI's rules capture the pod: what they let pass is theirs, but nobody has a captured pod's
 * address. What else the mesh knows proves nothing, and may be the pod itself, not named yet.
 */
TEST(beside_rules)
{
	world(AMB_IF_RULES);
	syn4(OWN, MESH, 80);
	check("not decided", PASSES);
	v4(OWN, MESH, IPPROTO_TCP, 0, 0x2000);
	tcp(40000, 80, SYN);
	check("hidden", PASSES);
	syn4("172.16.0.1", OUT, 80);
	check("an address that nobody knows", PASSES);
	syn4("10.0.0.2", MESH, 80);
	check("another pod's", SPOOFED);
	syn6("fd00::2", MESH6, 15008);
	check("another pod's v6", SPOOFED);
	syn4(MESH, OUT, 80);
	check("a remote workload's", PASSES);
}

/* Into a pod: the mark that a packet with @mark has afterwards. */
static uint32_t mark_of(uint32_t mark)
{
	struct __sk_buff skb = { .ifindex = LO, .mark = mark }, out = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = packet_len,
		    .ctx_in = &skb, .ctx_size_in = sizeof(skb), .ctx_out = &out,
		    .ctx_size_out = sizeof(out), .repeat = 1);

	CHECK_EQ(bpf_prog_test_run_opts(bt->prog[AMB_BPF_TO_POD], &opts), 0);
	CHECK_EQ((int)opts.retval, NEXT);
	return out.mark;
}

enum { STAMP = 7 };

static void peer_world(uint32_t pod_flags, bool allow, uint64_t stamp)
{
	const struct amb_pod_row pod = { .identity = 2, .flags = pod_flags, .stamp = STAMP };
	const struct amb_policy_key key = { .netns = COOKIE(PEER), .identity = 1, .port = 80 };
	const struct amb_policy_row row = { .stamp = stamp, .allow = allow };
	const uint64_t cookie = COOKIE(PEER);

	world(AMB_IF_RULES);
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_POD, &cookie, &pod), 0);
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_POLICY, &key, &row), 0);
	put_flight(POD, OWN, "10.0.0.2", 80, AMB_WAY_DIRECT);
	put_flight(POD, OWN6, "fd00::2", 80, AMB_WAY_SPLICE);
	syn4(OWN, "10.0.0.2", 80);
}

#define RULED (AMB_POD_OUTBOUND | AMB_POD_INBOUND | AMB_POD_RULES)

TEST(first_packet_in)
{
	peer_world(RULED, true, STAMP);
	CASE("direct");
	CHECK_EQ(mark_of(0), AMB_DIRECT_MARK);
	CASE("whatever mark it had");
	CHECK_EQ(mark_of(0x539), AMB_DIRECT_MARK);
	syn6(OWN6, "fd00::2", 80);
	CASE("splice, v6");
	CHECK_EQ(mark_of(0), AMB_DIRECT_MARK);
	v4(OWN, "10.0.0.2", IPPROTO_TCP, 8, 0);
	tcp(40000, 80, SYN);
	CASE("with options");
	CHECK_EQ(mark_of(0), AMB_DIRECT_MARK);
	v4(OWN, "10.0.0.2", IPPROTO_TCP, 0, 0);
	tcp(40000, 80, ACK);
	CASE("a later packet is the connection's, not ours");
	CHECK_EQ(mark_of(0), 0);
	CHECK_EQ(mark_of(5), 5);
	syn4(OWN, "10.0.0.2", 81);
	CASE("to another port");
	CHECK_EQ(mark_of(0), 0);
	v4(OWN, "10.0.0.2", IPPROTO_TCP, 0, 0);
	tcp(40001, 80, SYN);
	CASE("from another port");
	CHECK_EQ(mark_of(0), 0);
	syn4(MESH, "10.0.0.2", 80);
	CASE("from elsewhere");
	CHECK_EQ(mark_of(0), 0);
	CHECK_EQ(mark_of(7), 7);
	CASE("our mark is nobody's to give");
	CHECK_EQ(mark_of(AMB_DIRECT_MARK), 0);
	v4(OWN, "10.0.0.2", IPPROTO_TCP, 0, 0x2000);
	tcp(40000, 80, SYN);
	CASE("a fragment");
	CHECK_EQ(mark_of(0), 0);
}

TEST(first_packet_in_without_proof)
{
	peer_world(RULED, true, STAMP);
	put_flight(POD, OWN, "10.0.0.2", 80, AMB_WAY_TUNNEL);
	CASE("not let connect directly");
	CHECK_EQ(mark_of(0), 0);
	put_flight(POD, "10.0.0.9", "10.0.0.2", 80, AMB_WAY_DIRECT);
	CASE("let connect from another address");
	CHECK_EQ(mark_of(0), 0);
	peer_world(RULED, false, STAMP);
	CASE("denied by now");
	CHECK_EQ(mark_of(0), 0);
	peer_world(RULED, true, STAMP - 1);
	CASE("policies have changed");
	CHECK_EQ(mark_of(0), 0);
	peer_world(AMB_POD_OUTBOUND | AMB_POD_RULES, true, STAMP);
	CASE("the pod takes none");
	CHECK_EQ(mark_of(0), 0);
	bt_addr("10.0.0.2", 0, 2, AMB_ADDR_HBONE);
	CASE("no pod of this node");
	CHECK_EQ(mark_of(0), 0);
}

TEST(not_the_first_packet)
{
	world(AMB_IF_STRICT);
	v4(OWN, MESH, IPPROTO_TCP, 0, 0);
	tcp(80, 40000, SYN | ACK);
	check("answer", PASSES);
	v4(OWN, MESH, IPPROTO_TCP, 0, 0);
	tcp(40000, 80, ACK);
	check("data", PASSES);
	v6(OWN6, MESH6, IPPROTO_TCP);
	tcp(40000, 80, ACK);
	check("data v6", PASSES);
	v4(OWN, MESH, IPPROTO_UDP, 0, 0);
	udp(40000, 80);
	check("UDP", PASSES);
	v4(OWN, MESH, IPPROTO_ICMP, 0, 0);
	push(8);
	check("ping", PASSES);
	v6(OWN6, MESH6, IPPROTO_UDP);
	udp(40000, 80);
	check("UDP v6", PASSES);
}

TEST(v4_options_and_fragments)
{
	world(AMB_IF_STRICT);
	v4(OWN, MESH, IPPROTO_TCP, 40, 0);
	tcp(40000, 80, SYN);
	check("all options that there can be", BYPASS);
	v4(OWN, MESH, IPPROTO_TCP, 8, 0);
	tcp(40000, 15008, SYN);
	check("options do not move the port", PASSES);
	v4(OWN, MESH, IPPROTO_TCP, 0, 0x2000);
	tcp(40000, 15008, SYN);
	check("first fragment", BYPASS);
	v4(OWN, MESH, IPPROTO_TCP, 0, 1);
	push(8);
	check("a later one", BYPASS);
	put_flight(POD, OWN, MESH, 80, AMB_WAY_DIRECT);
	v4(OWN, MESH, IPPROTO_TCP, 0, 0x2000);
	tcp(40000, 80, SYN);
	check("of a connection that was decided too", BYPASS);
	v4(OWN, OUT, IPPROTO_TCP, 0, 0x2000);
	tcp(40000, 80, SYN);
	check("to a stranger", PASSES);
	v4(OWN, MESH, IPPROTO_UDP, 0, 0x2000);
	udp(40000, 80);
	check("of UDP", PASSES);
	v4(OWN, MESH, IPPROTO_TCP, 0, 0x4000);
	tcp(40000, 15008, SYN);
	check("don't fragment is no fragment", PASSES);
}

TEST(v6_extensions)
{
	static const struct {
		const char *text;
		int kind;
		enum amb_reason first, hbone;
	} rows[] = {
		{ "hop by hop", IPPROTO_HOPOPTS, BYPASS, PASSES },
		{ "routing", IPPROTO_ROUTING, BYPASS, PASSES },
		{ "destination", IPPROTO_DSTOPTS, BYPASS, PASSES },
		{ "fragment", IPPROTO_FRAGMENT, BYPASS, BYPASS },
		{ "authentication", IPPROTO_AH, BYPASS, BYPASS },
		{ "encrypted", IPPROTO_ESP, BYPASS, BYPASS },
		{ "mobility", IPPROTO_MH, BYPASS, BYPASS },
		{ "one that nobody knows", 253, BYPASS, BYPASS },
	};
	size_t i;
	int n;

	world(AMB_IF_STRICT);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		v6(OWN6, MESH6, rows[i].kind);
		ext(IPPROTO_TCP, 16);
		tcp(40000, 80, SYN);
		check(rows[i].text, rows[i].first);
		v6(OWN6, MESH6, rows[i].kind);
		ext(IPPROTO_TCP, 16);
		tcp(40000, 15008, SYN);
		check(rows[i].text, rows[i].hbone);
		v6(OWN6, OUT6, rows[i].kind);
		ext(IPPROTO_TCP, 16);
		tcp(40000, 80, SYN);
		check("to a stranger", PASSES);
	}
	for (n = 2; n <= 8; n++) {
		v6(OWN6, MESH6, IPPROTO_DSTOPTS);
		for (i = 1; i < (size_t)n; i++)
			ext(IPPROTO_DSTOPTS, 8);
		ext(IPPROTO_TCP, 8);
		tcp(40000, 15008, SYN);
		check(n <= 6 ? "nested" : "nested too deep", n <= 6 ? PASSES : BYPASS);
	}
	v6(OWN6, MESH6, IPPROTO_DSTOPTS);
	ext(IPPROTO_DSTOPTS, 8);
	packet[packet_len - 7] = 200;
	check("longer than the packet", BYPASS);
	v6(OWN6, MESH6, IPPROTO_NONE);
	check("nothing behind it", PASSES);
	v6(OWN6, MESH6, IPPROTO_DSTOPTS);
	ext(IPPROTO_UDP, 8);
	udp(40000, 80);
	check("UDP behind one", PASSES);
}

/* Nobody is there */

static void reset4(const char *src, uint16_t port, const char *dst, int flags)
{
	v4(src, dst, IPPROTO_TCP, 0, 0);
	tcp(port, 40000, flags);
}

static void reset6(const char *src, uint16_t port, const char *dst, int flags)
{
	v6(src, dst, IPPROTO_TCP);
	tcp(port, 40000, flags);
}

#define REFUSED (RST | ACK)

/* An answer from @port, and what becomes of it. */
struct refusal {
	const char *text, *addr, *addr6; /* whom it goes to; inside a pod whom it comes from */
	int port, flags;
	enum amb_reason want;
};

static void put_verdict(uint32_t identity, uint16_t port, uint64_t stamp, bool allow)
{
	const struct amb_policy_key key = { .netns = COOKIE(POD),
					    .identity = identity,
					    .port = port };
	const struct amb_policy_row row = { .stamp = stamp, .allow = allow };

	CHECK_EQ(amb_rows_put(bt, AMB_BPF_POLICY, &key, &row), 0);
}

/* Nobody listens on 80 of the pod, nobody may reach 81, nobody asked yet for others. */
static void absent_world(uint32_t pod_flags, uint32_t if_flags, bool wait)
{
	const struct amb_pod_row pod = { .identity = 1, .flags = pod_flags, .stamp = STAMP };
	const uint64_t cookie = COOKIE(POD);

	world(if_flags);
	CHECK_EQ(amb_rows_put(bt, AMB_BPF_POD, &cookie, &pod), 0);
	put_verdict(0, 80, STAMP, true);
	put_verdict(0, 81, STAMP, false);
	put_verdict(0, 83, STAMP - 1, true);
	put_verdict(2, 84, STAMP, true);
	CHECK_EQ(amb_rows_set_meta(bt, AMB_META_CIDR | (wait ? AMB_META_WAIT : 0)), 0);
}

TEST(refusals_out_of_a_pod)
{
	static const struct refusal rows[] = {
		{ "tunnel", MESH, MESH6, 15008, REFUSED, WAITS },
		{ "tunnel of a stranger", OUT, OUT6, 15008, REFUSED, WAITS },
		{ "a tunnel that was there", MESH, MESH6, 15008, REFUSED | LATER, PASSES },
		{ "reset without acknowledgement", MESH, MESH6, 15008, RST, PASSES },
		{ "listener of a tunnel", MESH, MESH6, 15008, SYN | ACK, PASSES },
		{ "allowed, not listening", OUT, OUT6, 80, REFUSED, PASSES },
		{ "denied", OUT, OUT6, 81, REFUSED, PASSES },
		{ "nobody has asked", OUT, OUT6, 82, REFUSED, WAITS },
		{ "from a workload", MESH, MESH6, 82, REFUSED, WAITS },
		{ "was there", OUT, OUT6, 82, REFUSED | LATER, PASSES },
		{ "data", OUT, OUT6, 82, ACK, PASSES },
		{ "policies have changed since", OUT, OUT6, 83, REFUSED, WAITS },
		{ "allowed for the pod that asks only", OUT, OUT6, 84, REFUSED, WAITS },
		{ "port for outbound", OUT, OUT6, 15001, REFUSED, PASSES },
		{ "port for plaintext", OUT, OUT6, 15006, REFUSED, PASSES },
		{ "kubelet's probe", "169.254.7.127", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff", 82,
		  REFUSED, PASSES },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		absent_world(AMB_POD_INBOUND, AMB_IF_STRICT, true);
		reset4(OWN, rows[i].port, rows[i].addr, rows[i].flags);
		check(rows[i].text, rows[i].want);
		reset6(OWN6, rows[i].port, rows[i].addr6, rows[i].flags);
		check(rows[i].text, rows[i].want);
		absent_world(AMB_POD_INBOUND, AMB_IF_STRICT, false);
		check(rows[i].text, PASSES);
		reset4(OWN, rows[i].port, rows[i].addr, rows[i].flags);
		check(rows[i].text, PASSES);
	}
}

TEST(refusals_out_of_other_pods)
{
	uint64_t cookie = COOKIE(POD);

	absent_world(AMB_POD_INBOUND, AMB_IF_STRICT, true);
	put_flight(PEER, "10.0.0.2", OWN, 84, AMB_WAY_DIRECT);
	reset4(OWN, 84, "10.0.0.2", REFUSED);
	check("direct: allowed, not listening", PASSES);
	put_flight(PEER, "10.0.0.2", OWN, 84, AMB_WAY_TUNNEL);
	check("not let connect directly", WAITS);
	absent_world(AMB_POD_OUTBOUND, AMB_IF_STRICT, true);
	reset4(OWN, 82, OUT, REFUSED);
	check("clear text is not ours there", PASSES);
	reset4(OWN, 15008, OUT, REFUSED);
	check("tunnels are", WAITS);
	absent_world(AMB_POD_INBOUND, 0, true);
	reset4("172.16.0.1", 82, OUT, REFUSED);
	check("an address that the mesh does not know", PASSES);
	absent_world(AMB_POD_INBOUND, AMB_IF_RULES, true);
	reset4(OWN, 15008, OUT, REFUSED);
	check("a CNI's rules", PASSES);
	absent_world(AMB_POD_INBOUND, AMB_IF_STRICT, true);
	CHECK_EQ(amb_rows_del(bt, AMB_BPF_POD, &cookie), 0);
	check("not a pod any more", PASSES);
}

static void lo_case(const char *text, enum amb_reason want)
{
	CHECK_EQ(amb_rows_set_meta(bt, AMB_META_WAIT), 0);
	check_at(AMB_BPF_LO, text, want);
	CHECK_EQ(amb_rows_set_meta(bt, 0), 0);
	check_at(AMB_BPF_LO, text, PASSES);
}

TEST(refusals_inside_a_pod)
{
	static const struct refusal rows[] = {
		{ "outbound", OWN, OWN6, 15001, REFUSED, WAITS },
		{ "was there", OWN, OWN6, 15001, REFUSED | LATER, PASSES },
		{ "reset without acknowledgement", OWN, OWN6, 15001, RST, PASSES },
		{ "taken", OWN, OWN6, 15001, SYN | ACK, PASSES },
		{ "data", OWN, OWN6, 15001, ACK, PASSES },
		{ "the pod's talk with itself", "127.0.0.1", "::1", 15001, REFUSED, PASSES },
		{ "that too", OWN, OWN6, 80, REFUSED, PASSES },
		{ "inbound is not for programs of the pod", OWN, OWN6, 15006, REFUSED, PASSES },
		{ "nor are tunnels", OWN, OWN6, 15008, REFUSED, PASSES },
		{ "DNS", "127.0.0.1", "::1", 15053, REFUSED, WAITS },
		{ "elsewhere", OWN, OWN6, 15053, REFUSED, PASSES },
	};
	size_t i;

	world(0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		reset4(rows[i].addr, rows[i].port, OWN, rows[i].flags);
		lo_case(rows[i].text, rows[i].want);
		reset6(rows[i].addr6, rows[i].port, OWN6, rows[i].flags);
		lo_case(rows[i].text, rows[i].want);
	}
	v4(OWN, OWN, IPPROTO_TCP, 0, 0);
	tcp(40000, 15001, SYN);
	lo_case("what asks", PASSES);
	v4(OWN, OWN, IPPROTO_TCP, 0, 0x2000);
	tcp(15001, 40000, REFUSED);
	lo_case("a fragment", PASSES);
	begin(ETH_P_ARP);
	push(28);
	lo_case("ARP", PASSES);
}

/* Says that nobody took a packet to @port by @proto. */
static void untaken4(const char *from, int code, int proto, uint16_t port)
{
	struct icmphdr *icmp;
	struct iphdr *ih;

	v4(from, from, IPPROTO_ICMP, 0, 0);
	icmp = push(sizeof(*icmp));
	icmp->type = ICMP_DEST_UNREACH;
	icmp->code = code;
	ih = push(sizeof(*ih));
	ih->version = 4;
	ih->ihl = 5;
	ih->protocol = proto;
	udp(40000, port);
}

static void untaken6(const char *from, int code, int proto, uint16_t port)
{
	struct icmp6hdr *icmp;
	struct ipv6hdr *ih;

	v6(from, from, IPPROTO_ICMPV6);
	icmp = push(sizeof(*icmp));
	icmp->icmp6_type = ICMPV6_DEST_UNREACH;
	icmp->icmp6_code = code;
	ih = push(sizeof(*ih));
	ih->version = 6;
	ih->nexthdr = proto;
	udp(40000, port);
}

TEST(queries_inside_a_pod)
{
	world(0);
	untaken4("127.0.0.1", ICMP_PORT_UNREACH, IPPROTO_UDP, 15053);
	lo_case("nobody took a query", WAITS);
	packet_len -= 1;
	lo_case("cut off", PASSES);
	untaken6("::1", ICMPV6_PORT_UNREACH, IPPROTO_UDP, 15053);
	lo_case("nor one by IPv6", WAITS);
	packet_len -= 1;
	lo_case("cut off", PASSES);
	untaken4("127.0.0.1", ICMP_PORT_UNREACH, IPPROTO_UDP, 53);
	lo_case("another port", PASSES);
	untaken6("::1", ICMPV6_PORT_UNREACH, IPPROTO_UDP, 15001);
	lo_case("that of TCP", PASSES);
	untaken4("127.0.0.1", ICMP_HOST_UNREACH, IPPROTO_UDP, 15053);
	lo_case("another reason", PASSES);
	untaken6("::1", ICMPV6_NOROUTE, IPPROTO_UDP, 15053);
	lo_case("another reason", PASSES);
	untaken4("127.0.0.1", ICMP_PORT_UNREACH, IPPROTO_UDPLITE, 15053);
	lo_case("another protocol", PASSES);
	untaken6("::1", ICMPV6_PORT_UNREACH, IPPROTO_UDPLITE, 15053);
	lo_case("another protocol", PASSES);
	untaken4(OWN, ICMP_PORT_UNREACH, IPPROTO_UDP, 15053);
	lo_case("not where queries go", PASSES);
	v4("127.0.0.1", "127.0.0.1", IPPROTO_UDP, 0, 0);
	udp(40000, 15053);
	lo_case("a query", PASSES);
}

int main(void)
{
	if (!bt_begin())
		return KSFT_SKIP;
	return bt_end(harness_run());
}
