// SPDX-License-Identifier: GPL-2.0-or-later
/* PROXY v2 headers, byte for byte (haproxy's proxy-protocol.txt, section 2.2). */
#include "harness.h"

#include "proxy/proxy_proto.h"

#define SIG "0d0a0d0a000d0a515549540a"

static const struct {
	const char *desc, *src, *dst, *spiffe;
	size_t len;
	const char *expect; /* hex, "" = refused */
} rows[] = {
	{ "two IPv4 addresses", "10.0.0.1:4660", "10.0.0.2:80", NULL, 64,
	  SIG "2111000c0a0000010a00000212340050" },
	{ "two IPv6 addresses", "[fd00::1]:1", "[fd00::2]:65535", NULL, 64,
	  SIG "21210024"
	      "fd000000000000000000000000000001fd0000000000000000000000000000020001ffff" },
	{ "mixed families are mapped", "10.0.0.1:1", "[fd00::2]:2", NULL, 64,
	  SIG "21210024"
	      "00000000000000000000ffff0a000001fd00000000000000000000000000000200010002" },
	{ "identity in TLV 0xD0", "10.0.0.1:1", "10.0.0.2:2", "spiffe://t/ns/a/sa/b", 64,
	  SIG "211100230a0000010a00000200010002"
	      "d000147370696666653a2f2f742f6e732f612f73612f62" },
	{ "exactly fitting", "10.0.0.1:1", "10.0.0.2:2", NULL, 28,
	  SIG "2111000c0a0000010a00000200010002" },
	{ "one byte short", "10.0.0.1:1", "10.0.0.2:2", NULL, 27, "" },
	{ "no place for the identity", "10.0.0.1:1", "10.0.0.2:2", "spiffe://t/ns/a/sa/b", 50, "" },
};

TEST(headers)
{
	size_t i, j;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t buf[AMB_PROXY_PROTO_MAX];
		char hex[2 * sizeof(buf) + 1] = "";
		struct amb_endpoint src, dst;
		size_t n;

		CASE(rows[i].desc);
		CHECK_EQ(amb_endpoint_parse(rows[i].src, &src), 0);
		CHECK_EQ(amb_endpoint_parse(rows[i].dst, &dst), 0);
		n = amb_proxy_proto_write(&src, &dst, rows[i].spiffe, buf, rows[i].len);
		for (j = 0; j < n; j++)
			sprintf(hex + 2 * j, "%02x", buf[j]);
		CHECK_STR(hex, rows[i].expect);
	}
}

TEST(longest_identity)
{
	struct amb_endpoint e = { .port = 1 };
	char spiffe[AMB_IDENTITY_MAX + 2];
	uint8_t buf[AMB_PROXY_PROTO_MAX + 64];

	memset(spiffe, 'a', sizeof(spiffe));
	spiffe[AMB_IDENTITY_MAX - 1] = 0;
	CHECK_EQ(amb_proxy_proto_write(&e, &e, spiffe, buf, sizeof(buf)), AMB_PROXY_PROTO_MAX - 1);
	spiffe[AMB_IDENTITY_MAX - 1] = 'a';
	spiffe[AMB_IDENTITY_MAX + 1] = 0;
	CHECK_EQ(amb_proxy_proto_write(&e, &e, spiffe, buf, sizeof(buf)), 0);
}

int main(void)
{
	return harness_run();
}
