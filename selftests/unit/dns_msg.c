// SPDX-License-Identifier: GPL-2.0-or-later
/* DNS messages against libldns, which reads what we write and writes what we read. */
#include "harness.h"

#include "proxy/dns_conf.h"
#include "proxy/dns_msg.h"

#include <ldns/ldns.h>

#include <errno.h>

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

static uint8_t out[AMB_DNS_MSG_MAX];

/* A query by libldns. The caller frees. */
static uint8_t *query(const char *name, int type, int edns_size, bool dnssec, size_t *len)
{
	ldns_rdf *dname = ldns_dname_new_frm_str(name);
	ldns_pkt *pkt = ldns_pkt_query_new(dname, type, LDNS_RR_CLASS_IN, LDNS_RD);
	uint8_t *wire;

	CHECK(pkt);
	ldns_pkt_set_id(pkt, 0x1234);
	if (edns_size)
		ldns_pkt_set_edns_udp_size(pkt, edns_size);
	if (dnssec)
		ldns_pkt_set_edns_do(pkt, true);
	CHECK_EQ(ldns_pkt2wire(&wire, pkt, len), LDNS_STATUS_OK);
	ldns_pkt_free(pkt);
	return wire;
}

TEST(questions)
{
	static const struct {
		const char *name;
		int type, edns;
		bool dnssec;
		const char *text;
		int size;
	} cases[] = {
		{ "web.demo.svc.cluster.local.", 1, 0, false, "web.demo.svc.cluster.local", 512 },
		{ "WEB.Demo.", 28, 1232, false, "web.demo", 1232 },
		{ "a-b_c.1.", 16, 100, true, "a-b_c.1", 512 },
		{ "x.", 1, 65535, false, "x", 65535 },
		{ ".", 2, 0, false, "", 512 },
		{ "two\\032words.example.", 1, 0, false, "", 512 },
		{ "dot\\.ted.example.", 1, 0, false, "", 512 },
		{ "*.example.", 1, 0, false, "", 512 },
		{ "\\255.example.", 1, 0, false, "", 512 },
		{ "x\\000y.example.", 1, 0, false, "", 512 },
	};
	size_t i, len;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *wire =
			query(cases[i].name, cases[i].type, cases[i].edns, cases[i].dnssec, &len);
		struct amb_dns_question q;

		CASE(cases[i].name);
		CHECK_EQ(amb_dns_msg_read(wire, len, &q), 0);
		CHECK_EQ(q.id, 0x1234);
		CHECK_EQ(q.type, cases[i].type);
		CHECK_EQ(q.class, 1);
		CHECK_EQ(q.recursion, 1);
		CHECK_EQ(q.edns, cases[i].edns || cases[i].dnssec);
		CHECK_EQ(q.dnssec_ok, cases[i].dnssec);
		CHECK_EQ(q.udp_size, cases[i].size);
		CHECK_STR(q.name, cases[i].text);
		free(wire);
	}
}

#define HEAD(flags, qd, an, ns, ar) "\x12\x34" flags qd an ns ar
#define N0 "\0\0"
#define N1 "\0\1"
#define ASK "\3foo\3bar\0\0\1\0\1"
#define OPT "\0\0\x29\x10\0\0\0\0\0\0\0"

TEST(what_is_refused)
{
#define ROW(what, bytes, ret)                                                                      \
	{                                                                                          \
		what, bytes, sizeof(bytes) - 1, ret                                                \
	}
	static const struct {
		const char *what, *bytes;
		size_t len;
		int ret;
	} cases[] = {
		ROW("good", HEAD("\1\0", N1, N0, N0, N0) ASK, 0),
		ROW("good, EDNS", HEAD("\1\0", N1, N0, N0, N1) ASK OPT, 0),
		ROW("nothing", "", -EINVAL),
		ROW("11 bytes", "\x12\x34\1\0\0\1\0\0\0\0\0", -EINVAL),
		ROW("an answer", HEAD("\x81\0", N1, N0, N0, N0) ASK, -EINVAL),
		ROW("a status query", HEAD("\x11\0", N1, N0, N0, N0) ASK, AMB_DNS_NOTIMP),
		ROW("an update", HEAD("\x29\0", N1, N0, N0, N0) ASK, AMB_DNS_NOTIMP),
		ROW("no question", HEAD("\1\0", N0, N0, N0, N0), AMB_DNS_FORMERR),
		ROW("two questions", HEAD("\1\0", "\0\2", N0, N0, N0) ASK ASK, AMB_DNS_FORMERR),
		ROW("no question where one is said", HEAD("\1\0", N1, N0, N0, N0), AMB_DNS_FORMERR),
		ROW("name cut", HEAD("\1\0", N1, N0, N0, N0) "\3fo", AMB_DNS_FORMERR),
		ROW("no end of the name", HEAD("\1\0", N1, N0, N0, N0) "\3foo", AMB_DNS_FORMERR),
		ROW("no type", HEAD("\1\0", N1, N0, N0, N0) "\3foo\0\0\1\0", AMB_DNS_FORMERR),
		ROW("pointer to itself", HEAD("\1\0", N1, N0, N0, N0) "\xc0\x0c\0\1\0\1",
		    AMB_DNS_FORMERR),
		ROW("label of 64", HEAD("\1\0", N1, N0, N0, N0) "\x40\0\0\1\0\1", AMB_DNS_FORMERR),
		ROW("more behind", HEAD("\1\0", N1, N0, N0, N0) ASK "x", AMB_DNS_FORMERR),
		ROW("EDNS missing", HEAD("\1\0", N1, N0, N0, N1) ASK, AMB_DNS_FORMERR),
		ROW("EDNS cut", HEAD("\1\0", N1, N0, N0, N1) ASK "\0\0\x29\x10\0\0\0\0\0\0",
		    AMB_DNS_FORMERR),
		ROW("EDNS twice", HEAD("\1\0", N1, N0, N0, "\0\2") ASK OPT OPT, AMB_DNS_FORMERR),
		ROW("EDNS among answers", HEAD("\1\0", N1, N1, N0, N0) ASK OPT, AMB_DNS_FORMERR),
		ROW("EDNS with a name",
		    HEAD("\1\0", N1, N0, N0, N1) ASK "\1x\0\0\x29\x10\0\0\0\0\0\0\0",
		    AMB_DNS_FORMERR),
		ROW("EDNS options longer than the message",
		    HEAD("\1\0", N1, N0, N0, N1) ASK "\0\0\x29\x10\0\0\0\0\0\0\4\0\3\0",
		    AMB_DNS_FORMERR),
		ROW("a signature behind EDNS",
		    HEAD("\1\0", N1, N0, N0, "\0\2") ASK OPT "\xc0\x0c\0\xfa\0\xff\0\0\0\0\0\1x",
		    0),
		ROW("pointer cut", HEAD("\1\0", N1, N0, N0, N1) ASK "\xc0", AMB_DNS_FORMERR),
		ROW("65535 records", HEAD("\1\0", N1, "\xff\xff", "\xff\xff", "\xff\xff") ASK,
		    AMB_DNS_FORMERR),
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* At its exact size, so that a step too far is seen. */
		uint8_t *msg = malloc(cases[i].len + !cases[i].len);
		struct amb_dns_question q;
		int ret;

		CASE(cases[i].what);
		memcpy(msg, cases[i].bytes, cases[i].len);
		ret = amb_dns_msg_read(msg, cases[i].len, &q);
		if (ret > 0) {
			size_t n = amb_dns_msg_error(msg, &q, ret, false, out);
			ldns_pkt *pkt;

			CHECK_EQ(ldns_wire2pkt(&pkt, out, n), LDNS_STATUS_OK);
			CHECK_EQ(ldns_pkt_id(pkt), 0x1234);
			CHECK_EQ(ldns_pkt_get_rcode(pkt), ret);
			CHECK(ldns_pkt_qr(pkt));
			ldns_pkt_free(pkt);
		}
		free(msg);
		CHECK_EQ(ret, cases[i].ret);
	}
}

/* Names from one label to one byte too many, as wire. */
TEST(the_longest_name)
{
	uint8_t msg[400] = { 0x12, 0x34, 1, 0, 0, 1 };
	struct amb_dns_question q;
	size_t at = AMB_DNS_HEADER, last;

	for (; at < AMB_DNS_HEADER + 3 * 64; at += 64) {
		msg[at] = 63;
		memset(msg + at + 1, 'x', 63);
	}
	for (last = 1; last < 64; last++) {
		msg[at] = last;
		memset(msg + at + 1, 'y', last);
		memset(msg + at + 1 + last, 0, 5);
		msg[at + 1 + last + 2] = 1;
		msg[at + 1 + last + 4] = 1;
		/* 192 bytes of three labels, this one with its length, and the end: 255 at most */
		CHECK_EQ(amb_dns_msg_read(msg, at + 1 + last + 5, &q),
			 192 + 1 + last + 1 <= 255 ? 0 : AMB_DNS_FORMERR);
		if (last == 61) {
			CHECK_EQ(strlen(q.name), 253);
			CHECK_EQ(q.end, AMB_DNS_HEADER + 255 + 4);
		}
	}
}

static void fill(struct amb_names_answer *a, bool v4, uint32_t n, const char *canonical)
{
	uint32_t i;

	memset(a, 0, sizeof(*a));
	strcpy(a->canonical, canonical);
	a->n = n;
	for (i = 0; i < n; i++) {
		memcpy(a->addrs[i].b, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0", 14);
		if (!v4)
			memcpy(a->addrs[i].b, "\x20\1\xd\xb8", 4);
		a->addrs[i].b[14] = i >> 8;
		a->addrs[i].b[15] = i;
	}
}

TEST(answers)
{
	static const char LONG[] = "a23456789.b23456789.c23456789.d23456789.e23456789.f23456789."
				   "g23456789.h23456789.i23456789.j23456789.k23456789.l23456789."
				   "m23456789.n23456789.o23456789.p23456789.q23456789.r23456789."
				   "s23456789.t23456789.u23456789.v23456789.w23456789.x23456789.";
	static const struct {
		const char *what, *name;
		bool v4;
		int edns;
		uint32_t n;
		const char *canonical;
		size_t limit;
		int answers; /* with the CNAME */
		bool truncated;
	} cases[] = {
		{ "one", "Web.Demo.", true, 0, 1, "", 512, 1, false },
		{ "none", "web.demo.", true, 0, 0, "", 512, 0, false },
		{ "none, of another name", "web.x.", true, 0, 0, "web", 512, 0, false },
		{ "one IPv6", "web.demo.", false, 1232, 1, "", 1232, 1, false },
		{ "an alias", "www.google.com.ns.svc.cluster.local.", true, 0, 2, "www.google.com",
		  512, 3, false },
		{ "an alias, IPv6, EDNS", "www.google.com.ns.svc.cluster.local.", false, 4096, 2,
		  "www.google.com", 4096, 3, false },
		{ "as many as go into 512", "x.", true, 0, 30, "", 512, 30, false },
		{ "one more", "x.", true, 0, 31, "", 512, 30, true },
		{ "with EDNS", "x.", true, 512, 31, "", 512, 30, true },
		{ "IPv6 in 512", "x.", false, 0, 30, "", 512, 17, true },
		{ "all of them", "x.", false, 0, 1024, "", 65535, 1024, false },
		{ "long names in 512: the alias alone", LONG, true, 0, 1, LONG, 512, 1, true },
		{ "long names and EDNS in 512: nothing", LONG, true, 512, 1, LONG, 512, 0, true },
		{ "long names in 600", LONG, true, 600, 1, LONG, 600, 2, false },
	};
	static struct amb_names_answer a;
	size_t i, j, len, n;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *wire =
			query(cases[i].name, cases[i].v4 ? 1 : 28, cases[i].edns, false, &len);
		char canonical[300], *text;
		struct amb_dns_question q;
		ldns_rr_list *rrs;
		ldns_pkt *pkt;

		CASE(cases[i].what);
		CHECK_EQ(amb_dns_msg_read(wire, len, &q), 0);
		strcpy(canonical, cases[i].canonical);
		if (*canonical && canonical[strlen(canonical) - 1] == '.')
			canonical[strlen(canonical) - 1] = 0;
		fill(&a, cases[i].v4, cases[i].n, canonical);
		n = amb_dns_msg_answer(wire, &q, &a, cases[i].limit, out);
		CHECK(n <= cases[i].limit);
		CHECK_EQ(ldns_wire2pkt(&pkt, out, n), LDNS_STATUS_OK);
		CHECK_EQ(ldns_pkt_id(pkt), 0x1234);
		CHECK(ldns_pkt_qr(pkt) && ldns_pkt_aa(pkt) && ldns_pkt_rd(pkt) && ldns_pkt_ra(pkt));
		CHECK_EQ(ldns_pkt_tc(pkt), cases[i].truncated);
		CHECK_EQ(ldns_pkt_get_rcode(pkt), 0);
		CHECK_EQ(ldns_pkt_edns(pkt), !!cases[i].edns);
		rrs = ldns_pkt_question(pkt);
		CHECK_EQ(ldns_rr_list_rr_count(rrs), 1);
		text = ldns_rdf2str(ldns_rr_owner(ldns_rr_list_rr(rrs, 0)));
		CHECK_STR(text, cases[i].name);
		free(text);
		rrs = ldns_pkt_answer(pkt);
		CHECK_EQ(ldns_rr_list_rr_count(rrs), cases[i].answers);
		CHECK_EQ(amb_dns_msg_count(out), cases[i].answers);
		for (j = 0; j < ldns_rr_list_rr_count(rrs); j++) {
			const ldns_rr *rr = ldns_rr_list_rr(rrs, j);
			bool cname = *canonical && !j;

			CHECK_EQ(ldns_rr_ttl(rr), 30);
			CHECK_EQ(ldns_rr_get_type(rr), cname ? 5 : cases[i].v4 ? 1 : 28);
			text = ldns_rdf2str(ldns_rr_owner(rr));
			if (!*canonical || cname)
				CHECK_STR(text, cases[i].name);
			else
				CHECK(!strncmp(text, canonical, strlen(canonical)));
			free(text);
			if (cname)
				continue;
			CHECK(!memcmp(ldns_rdf_data(ldns_rr_rdf(rr, 0)),
				      a.addrs[j - !!*canonical].b + (cases[i].v4 ? 12 : 0),
				      cases[i].v4 ? 4 : 16));
		}
		ldns_pkt_free(pkt);
		free(wire);
	}
}

TEST(an_error_says_what_it_has_to)
{
	struct amb_dns_question q;
	ldns_pkt *pkt;
	size_t len, n;
	uint8_t *wire = query("x.example.", 1, 1232, true, &len);

	CHECK_EQ(amb_dns_msg_read(wire, len, &q), 0);
	n = amb_dns_msg_error(wire, &q, AMB_DNS_BADVERS, false, out);
	CHECK(n <= AMB_DNS_ERROR_MAX);
	CHECK_EQ(ldns_wire2pkt(&pkt, out, n), LDNS_STATUS_OK);
	CHECK_EQ(ldns_pkt_get_rcode(pkt), 0);
	CHECK_EQ(ldns_pkt_edns_extended_rcode(pkt), 1);
	CHECK_EQ(ldns_pkt_edns_version(pkt), 0);
	CHECK(ldns_pkt_edns_do(pkt));
	ldns_pkt_free(pkt);
	n = amb_dns_msg_error(wire, &q, AMB_DNS_NOERROR, true, out);
	CHECK_EQ(ldns_wire2pkt(&pkt, out, n), LDNS_STATUS_OK);
	CHECK(ldns_pkt_tc(pkt) && !ldns_pkt_aa(pkt));
	ldns_pkt_free(pkt);
	free(wire);
}

TEST(replies)
{
	struct amb_dns_question q;
	size_t len, other_len;
	uint8_t *wire = query("Foo.Example.", 1, 0, false, &len), *other;
	uint8_t reply[512];

	CHECK_EQ(amb_dns_msg_read(wire, len, &q), 0);
	memcpy(reply, wire, len);
	CHECK(!amb_dns_msg_is_reply(wire, &q, 0x1234, reply, len));
	reply[2] |= 0x80;
	CHECK(amb_dns_msg_is_reply(wire, &q, 0x1234, reply, len));
	CASE("another id");
	CHECK(!amb_dns_msg_is_reply(wire, &q, 0x1235, reply, len));
	amb_dns_msg_set_id(reply, 0x1235);
	CHECK(amb_dns_msg_is_reply(wire, &q, 0x1235, reply, len));
	CASE("in other letters");
	reply[AMB_DNS_HEADER + 1] ^= 0x20;
	CHECK(amb_dns_msg_is_reply(wire, &q, 0x1235, reply, len));
	CASE("cut");
	CHECK(!amb_dns_msg_is_reply(wire, &q, 0x1235, reply, len - 1));
	CHECK(!amb_dns_msg_is_reply(wire, &q, 0x1235, reply, 11));
	CASE("another operation");
	reply[2] |= 0x28;
	CHECK(!amb_dns_msg_is_reply(wire, &q, 0x1235, reply, len));
	reply[2] &= ~0x28;
	CASE("without the question: only as an error");
	reply[5] = 0;
	CHECK(!amb_dns_msg_is_reply(wire, &q, 0x1235, reply, AMB_DNS_HEADER));
	reply[3] |= AMB_DNS_FORMERR;
	CHECK(amb_dns_msg_is_reply(wire, &q, 0x1235, reply, AMB_DNS_HEADER));
	CASE("another question");
	other = query("Foo.Exampla.", 1, 0, false, &other_len);
	other[2] |= 0x80;
	CHECK(!amb_dns_msg_is_reply(wire, &q, 0x1234, other, other_len));
	free(other);
	other = query("Foo.Example.", 28, 0, false, &other_len);
	other[2] |= 0x80;
	CHECK(!amb_dns_msg_is_reply(wire, &q, 0x1234, other, other_len));
	free(other);
	free(wire);
}

TEST(resolv_conf)
{
	static const struct {
		const char *what, *text, *servers, *search;
		unsigned int timeout;
	} cases[] = {
		{ "usual", "search a.example B.example\nnameserver 10.0.0.1\noptions ndots:5\n",
		  "10.0.0.1:53", "a.example b.example" },
		{ "empty: the machine itself", "", "127.0.0.1:53", "" },
		{ "comments", "# nameserver 10.0.0.1\n; nameserver 10.0.0.2\nnameserver 10.0.0.3",
		  "10.0.0.3:53", "" },
		{ "several, both families", "nameserver 10.0.0.1\nnameserver fd00::1\n",
		  "10.0.0.1:53 [fd00::1]:53", "" },
		{ "blanks and line ends", "\tnameserver\t 10.0.0.1 \r\n  search\tx \r\n",
		  "10.0.0.1:53", "x" },
		{ "what cannot be read",
		  "nameserver\nnameserver foo\nnameserver fe80::1%eth0\n"
		  "nameserverx 10.0.0.9\nnameserver 10.0.0.1\n",
		  "10.0.0.1:53", "" },
		{ "the last search counts", "search a b\nsearch c\n", "127.0.0.1:53", "c" },
		{ "domain", "search a b\ndomain d.\n", "127.0.0.1:53", "d" },
		{ "timeout", "options rotate timeout:3 attempts:2\n", "127.0.0.1:53", "", 3 },
		{ "too long a timeout", "options timeout:99999999999999999999\n", "127.0.0.1:53",
		  "", 30 },
		{ "no timeout", "options timeout:x timeout:\n", "127.0.0.1:53", "" },
		{ "four servers",
		  "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n"
		  "nameserver 10.0.0.4\n",
		  "10.0.0.1:53 10.0.0.2:53 10.0.0.3:53", "" },
	};
	size_t i;
	unsigned int j;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[1024] = "", one[AMB_ENDPOINT_STRLEN];
		struct amb_dns_conf conf;

		CASE(cases[i].what);
		amb_dns_conf_parse(cases[i].text, &conf);
		for (j = 0; j < conf.n; j++)
			sprintf(text + strlen(text), "%s%s", j ? " " : "",
				amb_endpoint_format(&conf.servers[j], one));
		CHECK_STR(text, cases[i].servers);
		CHECK_STR(conf.search, cases[i].search);
		CHECK_EQ(conf.timeout_s, cases[i].timeout);
	}
}

TEST(names_of_types)
{
	CHECK_STR(amb_dns_msg_type(1), "a");
	CHECK_STR(amb_dns_msg_type(28), "aaaa");
	CHECK_STR(amb_dns_msg_type(65), "https");
	CHECK_STR(amb_dns_msg_type(12345), "other");
}

int main(void)
{
	return harness_run();
}
