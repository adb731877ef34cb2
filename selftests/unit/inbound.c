// SPDX-License-Identifier: GPL-2.0-or-later
/* What an inbound tunnel may ask for (reference 4.5), and how authorities are read. */
#include "mesh.h"

#include "base/util.h"
#include "mesh/decide.h"

#include <errno.h>

static const struct {
	const char *text;
	const char *want; /* NULL: refused */
} authorities[] = {
	{ "10.0.0.1:80", "addr 10.0.0.1:80" },
	{ "[fd00::1]:80", "addr [fd00::1]:80" },
	{ "[::ffff:10.0.0.1]:80", "addr 10.0.0.1:80" },
	{ "example.com:80", "host example.com 80" },
	{ "Example.COM:65535", "host example.com 65535" },
	{ "a_b-c.d:1", "host a_b-c.d 1" },
	{ "1.2.3:80", "host 1.2.3 80" },
	{ "", NULL },
	{ ":80", NULL },
	{ "10.0.0.1", NULL },
	{ "10.0.0.1:", NULL },
	{ "10.0.0.1:0", NULL },
	{ "10.0.0.1:65536", NULL },
	{ "10.0.0.1:80x", NULL },
	{ "10.0.0.1:+80", NULL },
	{ "10.0.0.1: 80", NULL },
	{ "fd00::1:80", NULL },
	{ "[fd00::1]", NULL },
	{ "[fd00::1%eth0]:80", NULL },
	{ "[10.0.0.1]:80", NULL },
	{ "[fd00::1:80", NULL },
	{ "example.com", NULL },
	{ "user@example.com:80", NULL },
	{ "exa mple.com:80", NULL },
	{ "a/b:80", NULL },
	{ "a:80:80", NULL },
	{ "h\xc3\xa4:80", NULL },
};

TEST(authority)
{
	char text[AMB_AUTHORITY_MAX + 64], big[AMB_AUTHORITY_MAX + 1], ep[AMB_ENDPOINT_STRLEN];
	struct amb_authority a;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(authorities); i++) {
		const char *t = authorities[i].text;
		int err = amb_authority_parse(t, strlen(t), &a);

		CASE(t);
		CHECK_EQ(err, authorities[i].want ? 0 : -EINVAL);
		if (err)
			continue;
		if (a.kind == AMB_AUTHORITY_ADDR)
			snprintf(text, sizeof(text), "addr %s", amb_endpoint_format(&a.addr, ep));
		else
			snprintf(text, sizeof(text), "host %s %u", a.host, a.addr.port);
		CHECK_STR(text, authorities[i].want);
	}
	CASE("a NUL within");
	CHECK_EQ(amb_authority_parse("a\0b:80", 6, &a), -EINVAL);
	CASE("too long");
	memset(big, 'a', sizeof(big));
	memcpy(big + sizeof(big) - 3, ":80", 3);
	CHECK_EQ(amb_authority_parse(big, sizeof(big), &a), -EINVAL);
	CHECK_EQ(amb_authority_parse(big + 2, sizeof(big) - 2, &a), 0);
}

#define SERVER                                                                                     \
	{                                                                                          \
		.uid = "server", .addrs = "10.0.0.1", .hbone = 1                                   \
	}
#define WAYPOINT                                                                                   \
	{                                                                                          \
		.uid = "wp", .addrs = "10.0.0.9", .hbone = 1, .native = 1                          \
	}

static const struct inbound {
	const char *what;
	struct wl w[4];
	struct sv s[2];
	const char *local, *conn, *authority, *host;
	const char *want; /* "status target[ proxy dst][ service]" */
	enum amb_reason reason;
} inbounds[] = {
	{ "plain, own address",
	  { SERVER },
	  {},
	  "server",
	  "10.0.0.1:15008",
	  "10.0.0.1:80",
	  NULL,
	  "200 10.0.0.1:80" },
	{ "plain, by service name",
	  { { .uid = "server", .addrs = "10.0.0.1", .services = "ns/svc=8080:81" } },
	  { { .host = "svc", .ports = "8080:80" } },
	  "server",
	  "10.0.0.1:15008",
	  "svc:8080",
	  NULL,
	  "200 10.0.0.1:81 svc" },
	{ "plain, by service name, the service's own target",
	  { { .uid = "server", .addrs = "10.0.0.1", .services = "ns/svc=" } },
	  { { .host = "svc", .ports = "8080:80" } },
	  "server",
	  "10.0.0.1:15008",
	  "SVC:8080",
	  NULL,
	  "200 10.0.0.1:80 svc" },
	{ "plain, own address, IPv6",
	  { { .uid = "server", .addrs = "10.0.0.1 fd00::1" } },
	  {},
	  "server",
	  "[fd00::1]:15008",
	  "[fd00::1]:80",
	  NULL,
	  "200 [fd00::1]:80" },
	{ "name of another namespace only",
	  { SERVER },
	  { { .ns = "x", .host = "svc", .ports = "80:1" } },
	  "server",
	  "10.0.0.1:15008",
	  "svc:80",
	  NULL,
	  "200 10.0.0.1:1 svc" },
	{ "unknown name",
	  { SERVER },
	  {},
	  "server",
	  "10.0.0.1:15008",
	  "svc:8080",
	  NULL,
	  "503",
	  AMB_REASON_UNKNOWN_HOST },
	{ "port that the service has not",
	  { SERVER },
	  { { .host = "svc", .ports = "8080:80" } },
	  "server",
	  "10.0.0.1:15008",
	  "svc:8081",
	  NULL,
	  "503",
	  AMB_REASON_NO_PORT },
	{ "named port that this workload does not map",
	  { SERVER },
	  { { .host = "svc", .ports = "8080:0" } },
	  "server",
	  "10.0.0.1:15008",
	  "svc:8080",
	  NULL,
	  "503",
	  AMB_REASON_NO_PORT },
	{ "name in two namespaces: the own one",
	  { SERVER },
	  { { .ns = "x", .host = "svc", .ports = "80:1", .canonical = 1 },
	    { .host = "svc", .ports = "80:2" } },
	  "server",
	  "10.0.0.1:15008",
	  "svc:80",
	  NULL,
	  "200 10.0.0.1:2 svc" },
	{ "name in two other namespaces: the canonical one",
	  { SERVER },
	  { { .ns = "x", .host = "svc", .ports = "80:1" },
	    { .ns = "y", .host = "svc", .ports = "80:2", .canonical = 1 } },
	  "server",
	  "10.0.0.1:15008",
	  "svc:80",
	  NULL,
	  "200 10.0.0.1:2 svc" },
	{ "another pod's address",
	  { SERVER, { .uid = "o", .addrs = "10.0.0.2" } },
	  {},
	  "server",
	  "10.0.0.1:15008",
	  "10.0.0.2:80",
	  NULL,
	  "400",
	  AMB_REASON_WRONG_ADDRESS },
	{ "an address nobody has",
	  { SERVER },
	  {},
	  "server",
	  "10.0.0.1:15008",
	  "10.9.9.9:80",
	  NULL,
	  "400",
	  AMB_REASON_WRONG_ADDRESS },
	{ "waypoint of a workload, by pod address",
	  { WAYPOINT, { .uid = "o", .addrs = "10.0.0.2", .waypoint = "|10.0.0.9:15008" } },
	  {},
	  "wp",
	  "10.0.0.9:15008",
	  "10.0.0.2:80",
	  NULL,
	  "200 10.0.0.9:80" },
	{ "waypoint of a workload, by its service's VIP",
	  { { .uid = "wp", .addrs = "10.0.0.9", .services = "ns/wp=15008:15008" },
	    { .uid = "o", .addrs = "10.0.0.2", .waypoint = "|10.1.0.9:15008" } },
	  { { .host = "wp", .vips = "|10.1.0.9", .ports = "15008:15008" } },
	  "wp",
	  "10.0.0.9:15008",
	  "10.0.0.2:80",
	  NULL,
	  "200 10.0.0.9:80" },
	{ "waypoint of a workload, by name",
	  { { .uid = "wp", .addrs = "10.0.0.9", .services = "ns/wp=15008:15008" },
	    { .uid = "o", .addrs = "10.0.0.2", .waypoint = "ns/wp:15008" } },
	  { { .host = "wp", .ports = "15008:15008" } },
	  "wp",
	  "10.0.0.9:15008",
	  "10.0.0.2:80",
	  NULL,
	  "200 10.0.0.9:80" },
	{ "waypoint of a workload, by its own host name",
	  { { .uid = "wp", .addrs = "10.0.0.9", .host = "wp.host" },
	    { .uid = "o", .addrs = "10.0.0.2", .waypoint = "ns/wp.host:15008" } },
	  {},
	  "wp",
	  "10.0.0.9:15008",
	  "10.0.0.2:80",
	  NULL,
	  "200 10.0.0.9:80" },
	{ "the same with an application tunnel",
	  { { .uid = "wp",
	      .addrs = "10.0.0.9",
	      .services = "ns/wp=15008:15008",
	      .app_port = 15088,
	      .app_proxy = 1 },
	    { .uid = "o", .addrs = "10.0.0.2", .waypoint = "ns/wp:15008" } },
	  { { .host = "wp", .ports = "15008:15008" } },
	  "wp",
	  "10.0.0.9:15008",
	  "10.0.0.2:80",
	  NULL,
	  "200 10.0.0.9:15088 proxy 10.0.0.2:80" },
	{ "an application tunnel takes any address",
	  { { .uid = "wp", .addrs = "10.0.0.9", .app_port = 15088, .app_proxy = 1 } },
	  {},
	  "wp",
	  "10.0.0.9:15008",
	  "10.9.9.9:80",
	  NULL,
	  "200 10.0.0.9:15088 proxy 10.9.9.9:80" },
	{ "an application tunnel's port without PROXY",
	  { { .uid = "wp", .addrs = "10.0.0.9", .app_port = 9000 } },
	  {},
	  "wp",
	  "10.0.0.9:15008",
	  "10.9.9.9:80",
	  NULL,
	  "200 10.0.0.9:9000" },
	{ "an application tunnel, a name",
	  { { .uid = "wp", .addrs = "10.0.0.9", .app_port = 15088, .app_proxy = 1 } },
	  { { .host = "svc", .vips = "|10.1.0.3", .ports = "80:81" } },
	  "wp",
	  "10.0.0.9:15008",
	  "svc:80",
	  NULL,
	  "200 10.0.0.9:15088 proxy 10.1.0.3:80 svc" },
	{ "an application tunnel, a name: the own network before IPv4",
	  { { .uid = "wp", .addrs = "10.0.0.9", .app_port = 15088, .app_proxy = 1 } },
	  { { .host = "svc", .vips = "x|10.2.0.3 |fd00::3", .ports = "80:81" } },
	  "wp",
	  "10.0.0.9:15008",
	  "svc:80",
	  NULL,
	  "200 10.0.0.9:15088 proxy [fd00::3]:80 svc" },
	{ "an application tunnel without PROXY and port",
	  { { .uid = "wp", .addrs = "10.0.0.9", .app_port = 0, .app_proxy = 1 } },
	  { { .host = "svc", .vips = "|fd00::3 |10.1.0.3 x|10.2.0.3", .ports = "80:81" } },
	  "wp",
	  "10.0.0.9:15008",
	  "svc:80",
	  NULL,
	  "200 10.0.0.9:81 proxy 10.1.0.3:80 svc" },
	{ "an application tunnel, a name without address",
	  { { .uid = "wp", .addrs = "10.0.0.9", .app_port = 15088, .app_proxy = 1 } },
	  { { .host = "svc", .ports = "80:81" } },
	  "wp",
	  "10.0.0.9:15008",
	  "svc:80",
	  NULL,
	  "503",
	  AMB_REASON_NO_ADDRESS },
	{ "waypoint of a service, by VIP",
	  { WAYPOINT },
	  { { .host = "svc", .vips = "|10.1.0.3", .ports = "80:80", .waypoint = "|10.0.0.9:15008" } },
	  "wp",
	  "10.0.0.9:15008",
	  "10.1.0.3:80",
	  NULL,
	  "200 10.0.0.9:80" },
	{ "waypoint of a service, by its own service's VIP",
	  { { .uid = "wp", .addrs = "10.0.0.9", .services = "ns/wp=15008:15008" } },
	  { { .host = "svc", .vips = "|10.1.0.3", .ports = "80:80", .waypoint = "|10.1.0.9:15008" },
	    { .host = "wp", .vips = "|10.1.0.9", .ports = "15008:15008" } },
	  "wp",
	  "10.0.0.9:15008",
	  "10.1.0.3:80",
	  NULL,
	  "200 10.0.0.9:80" },
	{ "waypoint of a service, by its own service's name",
	  { { .uid = "wp", .addrs = "10.0.0.9", .services = "ns/wp=15008:15008" } },
	  { { .host = "svc", .vips = "|10.1.0.3", .ports = "80:80", .waypoint = "ns/wp:15008" },
	    { .host = "wp", .ports = "15008:15008" } },
	  "wp",
	  "10.0.0.9:15008",
	  "10.1.0.3:80",
	  NULL,
	  "200 10.0.0.9:80" },
	{ "waypoint of a service, with an application tunnel",
	  { { .uid = "wp",
	      .addrs = "10.0.0.9",
	      .services = "ns/wp=15008:15008",
	      .app_port = 15088,
	      .app_proxy = 1 } },
	  { { .host = "svc", .vips = "|10.1.0.3", .ports = "80:80", .waypoint = "ns/wp:15008" },
	    { .host = "wp", .ports = "15008:15008" } },
	  "wp",
	  "10.0.0.9:15008",
	  "10.1.0.3:80",
	  NULL,
	  "200 10.0.0.9:15088 proxy 10.1.0.3:80" },
	{ "one of a service's weighted waypoints",
	  { WAYPOINT },
	  { { .host = "svc",
	      .vips = "|10.1.0.3",
	      .ports = "80:80",
	      .weighted = "|10.0.0.8:15008*1 |10.0.0.9:15008*1" } },
	  "wp",
	  "10.0.0.9:15008",
	  "10.1.0.3:80",
	  NULL,
	  "200 10.0.0.9:80" },
	{ "waypoint that nothing names",
	  { WAYPOINT, { .uid = "o", .addrs = "10.0.0.2" } },
	  {},
	  "wp",
	  "10.0.0.9:15008",
	  "10.0.0.2:80",
	  NULL,
	  "400",
	  AMB_REASON_WRONG_ADDRESS },
	{ "waypoint of the service only, by pod address",
	  { WAYPOINT, { .uid = "o", .addrs = "10.0.0.2", .services = "ns/svc=80:80" } },
	  { { .host = "svc", .vips = "|10.1.0.3", .ports = "80:80", .waypoint = "|10.0.0.9:15008" } },
	  "wp",
	  "10.0.0.9:15008",
	  "10.0.0.2:80",
	  NULL,
	  "400",
	  AMB_REASON_WRONG_ADDRESS },
	{ "waypoint of the workload only, by VIP",
	  { WAYPOINT,
	    { .uid = "o",
	      .addrs = "10.0.0.2",
	      .services = "ns/svc=80:80",
	      .waypoint = "|10.0.0.9:15008" } },
	  { { .host = "svc", .vips = "|10.1.0.3", .ports = "80:80" } },
	  "wp",
	  "10.0.0.9:15008",
	  "10.1.0.3:80",
	  NULL,
	  "400",
	  AMB_REASON_WRONG_ADDRESS },
	{ "waypoint of a workload of another network",
	  { WAYPOINT,
	    { .uid = "o", .addrs = "10.0.0.2", .network = "x", .waypoint = "|10.0.0.9:15008" } },
	  {},
	  "wp",
	  "10.0.0.9:15008",
	  "10.0.0.2:80",
	  NULL,
	  "400",
	  AMB_REASON_WRONG_ADDRESS },
	{ "waypoint of another",
	  { WAYPOINT,
	    { .uid = "w2", .addrs = "10.0.0.8" },
	    { .uid = "o", .addrs = "10.0.0.2", .waypoint = "|10.0.0.8:15008" } },
	  {},
	  "wp",
	  "10.0.0.9:15008",
	  "10.0.0.2:80",
	  NULL,
	  "400",
	  AMB_REASON_WRONG_ADDRESS },
	{ "the tunnel's own port",
	  { SERVER },
	  {},
	  "server",
	  "10.0.0.1:15008",
	  "10.0.0.1:15008",
	  NULL,
	  "503",
	  AMB_REASON_LOOP },
	{ "the outbound port",
	  { SERVER },
	  {},
	  "server",
	  "10.0.0.1:15008",
	  "10.0.0.1:15001",
	  NULL,
	  "503",
	  AMB_REASON_LOOP },
	{ "the plain inbound port",
	  { SERVER },
	  {},
	  "server",
	  "10.0.0.1:15008",
	  "10.0.0.1:15006",
	  NULL,
	  "503",
	  AMB_REASON_LOOP },
	{ "a name that resolves to the tunnel's port",
	  { SERVER },
	  { { .host = "svc", .ports = "80:15008" } },
	  "server",
	  "10.0.0.1:15008",
	  "svc:80",
	  NULL,
	  "503",
	  AMB_REASON_LOOP },
	{ "nobody there",
	  {},
	  {},
	  "server",
	  "10.0.0.1:15008",
	  "10.0.0.1:80",
	  NULL,
	  "503",
	  AMB_REASON_NO_DESTINATION },
	{ "forwarded host says the service",
	  { { .uid = "server", .addrs = "10.0.0.1", .services = "ns/a=80:80 ns/b=80:80" } },
	  { { .host = "a", .ports = "80:80" }, { .host = "b", .ports = "80:80" } },
	  "server",
	  "10.0.0.1:15008",
	  "10.0.0.1:80",
	  "b",
	  "200 10.0.0.1:80 b" },
	{ "forwarded host that is none of the workload's services",
	  { { .uid = "server", .addrs = "10.0.0.1", .services = "ns/b=80:80" } },
	  { { .host = "a", .ports = "80:80" }, { .host = "b", .ports = "80:80" } },
	  "server",
	  "10.0.0.1:15008",
	  "10.0.0.1:80",
	  "a",
	  "200 10.0.0.1:80 b" },
	{ "service by target port",
	  { { .uid = "server", .addrs = "10.0.0.1", .services = "ns/a=80:81 ns/b=80:82" } },
	  { { .host = "a", .ports = "80:81" }, { .host = "b", .ports = "80:82" } },
	  "server",
	  "10.0.0.1:15008",
	  "10.0.0.1:82",
	  NULL,
	  "200 10.0.0.1:82 b" },
};

static void run_inbound(const struct inbound *in)
{
	char text[256] = "", ep[AMB_ENDPOINT_STRLEN];
	struct amb_state *st = mesh_state("");
	const struct amb_workload *local;
	struct amb_authority a;
	struct amb_endpoint conn;
	struct amb_inbound out;
	size_t nw = 0, ns = 0;

	CASE(in->what);
	while (nw < AMB_ARRAY_SIZE(in->w) && in->w[nw].uid)
		nw++;
	while (ns < AMB_ARRAY_SIZE(in->s) && in->s[ns].host)
		ns++;
	CHECK_EQ(mesh_apply(st, in->w, nw, in->s, ns), 0);
	CHECK_EQ(amb_authority_parse(in->authority, strlen(in->authority), &a), 0);
	CHECK_EQ(amb_endpoint_parse(in->conn, &conn), 0);
	amb_state_read_begin(st);
	local = amb_workload_get(amb_state_workload_by_uid(st, in->local));
	amb_state_read_end(st);
	amb_decide_inbound(st, local, &conn, &a, in->host, &out);
	if (out.status == 200)
		snprintf(text, sizeof(text), "200 %s", amb_endpoint_format(&out.target, ep));
	else
		snprintf(text, sizeof(text), "%d", out.status);
	if (out.proxy)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " proxy %s",
			 amb_endpoint_format(&out.proxy_dst, ep));
	if (out.service)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s",
			 out.service->hostname);
	CHECK_STR(text, in->want);
	CHECK_EQ(out.reason, in->reason);
	amb_inbound_release(&out);
	amb_workload_put(local);
	amb_state_destroy(st);
	mesh_free();
}

TEST(inbound)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(inbounds); i++)
		run_inbound(&inbounds[i]);
}

TEST(own_ports)
{
	CHECK(amb_decide_own_port(15001) && amb_decide_own_port(15006));
	CHECK(amb_decide_own_port(15008) && !amb_decide_own_port(15007));
	CHECK(!amb_decide_own_port(80) && !amb_decide_own_port(0));
}

int main(void)
{
	int rc;

	urcu_memb_register_thread();
	rc = harness_run();
	urcu_memb_unregister_thread();
	return rc;
}
