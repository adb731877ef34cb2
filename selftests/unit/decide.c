// SPDX-License-Identifier: GPL-2.0-or-later
/* The outbound decision and load balancing: the tables of the reference, 5.3 and 5.5. */
#include "mesh.h"

#include "base/util.h"
#include "mesh/decide.h"
#include "mesh/lb.h"
#include "mesh/table.h"

#define SRC                                                                                        \
	{                                                                                          \
		.uid = "c//Pod/ns/src", .addrs = "127.0.0.1", .node = "node", .hbone = 1           \
	}

#define SRC_FAR                                                                                    \
	{                                                                                          \
		.uid = "c//Pod/ns/src", .addrs = "127.0.0.1", .network = "far", .hbone = 1         \
	}

static const char *const ways[] = { "none", "pass", "direct", "splice", "tunnel", "deny" };
static const char *const protocols[] = { "tcp", "hbone", "double" };

struct outbound {
	const char *what;
	struct wl w[6];
	struct sv s[3];
	const char *dst;
	const char *want; /* "way protocol dial authority", "deny" */
	enum amb_reason reason;
	const char *expect, *inner; /* identities, td/ns/x/sa/y, any order; NULL: not looked at */
};

static const struct outbound outbounds[] = {
	{ "unknown address",
	  { SRC },
	  {},
	  "1.2.3.4:80",
	  "pass tcp 1.2.3.4:80 ",
	  AMB_REASON_NOT_IN_MESH,
	  "",
	  "" },
	{ "pod without tunnel",
	  { SRC, { .uid = "d", .addrs = "127.0.0.2" } },
	  {},
	  "127.0.0.2:80",
	  "pass tcp 127.0.0.2:80 ",
	  AMB_REASON_PLAIN_WORKLOAD,
	  "",
	  "" },
	{ "pod of another node",
	  { SRC, { .uid = "d", .addrs = "127.0.0.2", .node = "far", .hbone = 1 } },
	  {},
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:80",
	  AMB_REASON_WORKLOAD,
	  "cluster.local/ns/ns/sa/default",
	  "" },
	{ "pod of the same node",
	  { SRC, { .uid = "d", .addrs = "127.0.0.2", .node = "node", .hbone = 1 } },
	  {},
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:80",
	  AMB_REASON_WORKLOAD },
	{ "pod with a waypoint by address",
	  { SRC,
	    { .uid = "d", .addrs = "127.0.0.2", .hbone = 1, .waypoint = "|127.0.0.10:15008" },
	    { .uid = "wp", .addrs = "127.0.0.10", .hbone = 1, .native = 1, .sa = "wp" } },
	  {},
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.10:15008 127.0.0.2:80",
	  AMB_REASON_WORKLOAD_WAYPOINT,
	  "cluster.local/ns/ns/sa/wp" },
	{ "pod with a waypoint by service name",
	  { SRC,
	    { .uid = "d", .addrs = "127.0.0.2", .hbone = 1, .waypoint = "ns/wp.ns:15008" },
	    { .uid = "wp",
	      .addrs = "127.0.0.10",
	      .hbone = 1,
	      .native = 1,
	      .sa = "wp",
	      .services = "ns/wp.ns=15008:15018" } },
	  { { .host = "wp.ns",
	      .ports = "15008:15018",
	      .sans = "spiffe://cluster.local/ns/ns/sa/other not-an-id" } },
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.10:15018 127.0.0.2:80",
	  AMB_REASON_WORKLOAD_WAYPOINT,
	  "cluster.local/ns/ns/sa/wp cluster.local/ns/ns/sa/other" },
	{ "pod with a waypoint by workload name",
	  { SRC,
	    { .uid = "d", .addrs = "127.0.0.2", .hbone = 1, .waypoint = "ns/wp.host:15008" },
	    { .uid = "wp", .addrs = "127.0.0.10", .hbone = 1, .host = "wp.host" } },
	  {},
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.10:15008 127.0.0.2:80",
	  AMB_REASON_WORKLOAD_WAYPOINT },
	{ "IPv6 pod with an IPv4 waypoint",
	  { SRC,
	    { .uid = "d", .addrs = "ff06::c3", .hbone = 1, .waypoint = "|127.0.0.10:15008" },
	    { .uid = "wp", .addrs = "127.0.0.10", .hbone = 1 } },
	  {},
	  "[ff06::c3]:80",
	  "tunnel hbone 127.0.0.10:15008 [ff06::c3]:80",
	  AMB_REASON_WORKLOAD_WAYPOINT },
	{ "unknown waypoint",
	  { SRC,
	    { .uid = "d", .addrs = "127.0.0.2", .hbone = 1, .waypoint = "|127.0.0.10:15008" } },
	  {},
	  "127.0.0.2:80",
	  "deny",
	  AMB_REASON_NO_WAYPOINT },
	{ "waypoint service without endpoints",
	  { SRC, { .uid = "d", .addrs = "127.0.0.2", .hbone = 1, .waypoint = "ns/wp.ns:15008" } },
	  { { .host = "wp.ns", .ports = "15008:15008" } },
	  "127.0.0.2:80",
	  "deny",
	  AMB_REASON_NO_WAYPOINT },
	{ "VIP with a service waypoint",
	  { SRC,
	    { .uid = "wp", .addrs = "127.0.0.10", .hbone = 1 },
	    { .uid = "e", .addrs = "127.0.0.2", .hbone = 1, .services = "ns/svc=80:8080" } },
	  { { .host = "svc",
	      .vips = "|127.0.0.3",
	      .ports = "80:8080",
	      .waypoint = "|127.0.0.10:15008" } },
	  "127.0.0.3:80",
	  "tunnel hbone 127.0.0.10:15008 127.0.0.3:80",
	  AMB_REASON_SERVICE_WAYPOINT },
	{ "VIP with weighted waypoints, one of weight zero",
	  { SRC,
	    { .uid = "wp", .addrs = "127.0.0.10", .hbone = 1 },
	    { .uid = "wp2", .addrs = "127.0.0.11", .hbone = 1 } },
	  { { .host = "svc",
	      .vips = "|127.0.0.3",
	      .ports = "80:8080",
	      .waypoint = "|127.0.0.10:15008",
	      .weighted = "|127.0.0.10:15008*0 |127.0.0.11:15008*3" } },
	  "127.0.0.3:80",
	  "tunnel hbone 127.0.0.11:15008 127.0.0.3:80",
	  AMB_REASON_SERVICE_WAYPOINT },
	{ "VIP with an unknown service waypoint",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .hbone = 1, .services = "ns/svc=80:8080" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080", .waypoint = "ns/no:15008" } },
	  "127.0.0.3:80",
	  "deny",
	  AMB_REASON_NO_WAYPOINT },
	{ "pod of a service with waypoint, by its own address",
	  { SRC,
	    { .uid = "wp", .addrs = "127.0.0.10", .hbone = 1 },
	    { .uid = "e", .addrs = "127.0.0.2", .hbone = 1, .services = "ns/svc=80:8080" } },
	  { { .host = "svc",
	      .vips = "|127.0.0.3",
	      .ports = "80:8080",
	      .waypoint = "|127.0.0.10:15008" } },
	  "127.0.0.2:8080",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:8080",
	  AMB_REASON_WORKLOAD },
	{ "VIP without endpoints",
	  { SRC },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080" } },
	  "127.0.0.3:80",
	  "deny",
	  AMB_REASON_NO_ENDPOINT },
	{ "VIP, a port the service has not",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .hbone = 1, .services = "ns/svc=80:8080" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080" } },
	  "127.0.0.3:81",
	  "deny",
	  AMB_REASON_NO_PORT },
	{ "VIP, HBONE endpoint with its own target port, SANs",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .hbone = 1, .services = "ns/svc=80:8081" } },
	  { { .host = "svc",
	      .vips = "|127.0.0.3",
	      .ports = "80:8080",
	      .sans = "spiffe://cluster.local/ns/x/sa/y spiffe://bad" } },
	  "127.0.0.3:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:8081",
	  AMB_REASON_SERVICE,
	  "cluster.local/ns/ns/sa/default cluster.local/ns/x/sa/y",
	  "" },
	{ "VIP, endpoint without mapping: the service's number",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .hbone = 1, .services = "ns/svc=" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080" } },
	  "127.0.0.3:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:8080",
	  AMB_REASON_SERVICE },
	{ "VIP, named port mapped by one endpoint only",
	  { SRC,
	    { .uid = "e", .addrs = "127.0.0.2", .hbone = 1, .services = "ns/svc=80:0" },
	    { .uid = "f", .addrs = "127.0.0.4", .hbone = 1, .services = "ns/svc=80:9000" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:0" } },
	  "127.0.0.3:80",
	  "tunnel hbone 127.0.0.4:15008 127.0.0.4:9000",
	  AMB_REASON_SERVICE },
	{ "VIP, plain endpoint",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .services = "ns/svc=80:8081" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080" } },
	  "127.0.0.3:80",
	  "pass tcp 127.0.0.2:8081 ",
	  AMB_REASON_PLAIN_WORKLOAD },
	{ "VIP, host-network endpoint",
	  { SRC,
	    { .uid = "e", .addrs = "192.168.0.1", .host_network = 1, .services = "ns/svc=80:8081" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080" } },
	  "127.0.0.3:80",
	  "pass tcp 192.168.0.1:8081 ",
	  AMB_REASON_PLAIN_WORKLOAD },
	{ "VIP, a waypoint of the endpoint is not for service traffic",
	  { SRC,
	    { .uid = "e",
	      .addrs = "127.0.0.2",
	      .hbone = 1,
	      .services = "ns/svc=80:8081",
	      .waypoint = "|127.0.0.10:15008" },
	    { .uid = "wp", .addrs = "127.0.0.10", .hbone = 1 } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080" } },
	  "127.0.0.3:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:8081",
	  AMB_REASON_SERVICE },
	{ "VIP, endpoint of another network without gateway",
	  { SRC,
	    { .uid = "e",
	      .addrs = "127.0.0.2",
	      .hbone = 1,
	      .network = "remote",
	      .services = "ns/svc=80:8080" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080" } },
	  "127.0.0.3:80",
	  "deny",
	  AMB_REASON_NO_GATEWAY },
	{ "VIP, endpoint of another network, gateway by address",
	  { SRC,
	    { .uid = "e",
	      .hbone = 1,
	      .network = "remote",
	      .gateway = "remote|10.22.1.1:15009",
	      .services = "ns/example.com=80:8080" },
	    { .uid = "gw", .addrs = "10.22.1.1", .hbone = 1, .network = "remote", .sa = "gw" } },
	  { { .host = "example.com",
	      .vips = "|127.0.0.3",
	      .ports = "80:8080",
	      .sans = "spiffe://cluster.local/ns/r/sa/e" } },
	  "127.0.0.3:80",
	  "tunnel double 10.22.1.1:15009 example.com:80",
	  AMB_REASON_REMOTE_NETWORK,
	  "cluster.local/ns/ns/sa/gw",
	  "cluster.local/ns/r/sa/e" },
	{ "VIP, endpoint of another network, gateway by name",
	  { SRC,
	    { .uid = "e",
	      .hbone = 1,
	      .network = "remote",
	      .gateway = "ns/gw.remote:15009",
	      .services = "ns/example.com=80:8080" },
	    { .uid = "gw",
	      .addrs = "10.22.1.1",
	      .hbone = 1,
	      .network = "remote",
	      .sa = "gw",
	      .services = "ns/gw.remote=15009:15008" } },
	  { { .host = "example.com", .vips = "|127.0.0.3", .ports = "80:8080" },
	    { .host = "gw.remote",
	      .ports = "15009:15008",
	      .sans = "spiffe://cluster.local/ns/r/sa/gw2" } },
	  "127.0.0.3:80",
	  "tunnel double 10.22.1.1:15008 example.com:80",
	  AMB_REASON_REMOTE_NETWORK,
	  "cluster.local/ns/ns/sa/gw cluster.local/ns/r/sa/gw2",
	  "" },
	{ "VIP, gateway that nobody knows",
	  { SRC,
	    { .uid = "e",
	      .hbone = 1,
	      .network = "remote",
	      .gateway = "remote|10.22.1.1:15009",
	      .services = "ns/svc=80:8080" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080" } },
	  "127.0.0.3:80",
	  "deny",
	  AMB_REASON_NO_GATEWAY },
	{ "VIP with a waypoint on another network",
	  { SRC,
	    { .uid = "wp",
	      .hbone = 1,
	      .network = "remote",
	      .gateway = "remote|10.22.1.1:15009",
	      .services = "ns/wp.remote=15008:15008" },
	    { .uid = "gw", .addrs = "10.22.1.1", .hbone = 1, .network = "remote", .sa = "gw" } },
	  { { .host = "svc.com",
	      .vips = "|127.0.0.3",
	      .ports = "80:8080",
	      .waypoint = "ns/wp.remote:15008",
	      .sans = "spiffe://cluster.local/ns/r/sa/wp" },
	    { .host = "wp.remote", .ports = "15008:15008" } },
	  "127.0.0.3:80",
	  "tunnel double 10.22.1.1:15009 svc.com:80",
	  AMB_REASON_REMOTE_NETWORK,
	  "cluster.local/ns/ns/sa/gw",
	  "cluster.local/ns/r/sa/wp" },
	{ "passthrough service",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .hbone = 1, .services = "ns/svc=80:8080" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080", .mode = 3, .allow_all = 1 } },
	  "127.0.0.3:80",
	  "pass tcp 127.0.0.3:80 ",
	  AMB_REASON_SERVICE_PASSTHROUGH },
	{ "source with a waypoint of its own",
	  { { .uid = "c//Pod/ns/src",
	      .addrs = "127.0.0.1",
	      .node = "node",
	      .hbone = 1,
	      .waypoint = "|127.0.0.10:15008" },
	    { .uid = "wp", .addrs = "127.0.0.10", .hbone = 1 },
	    { .uid = "d", .addrs = "127.0.0.2", .hbone = 1 } },
	  {},
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:80",
	  AMB_REASON_WORKLOAD },
	{ "source is the waypoint of the destination",
	  { { .uid = "c//Pod/ns/src", .addrs = "127.0.0.1", .node = "node", .hbone = 1 },
	    { .uid = "d", .addrs = "127.0.0.2", .hbone = 1, .waypoint = "|127.0.0.1:15008" } },
	  {},
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:80",
	  AMB_REASON_OWN_WAYPOINT },
	{ "another workload with the waypoint's identity is not the waypoint",
	  { SRC,
	    { .uid = "d", .addrs = "127.0.0.2", .hbone = 1, .waypoint = "|127.0.0.10:15008" },
	    { .uid = "wp", .addrs = "127.0.0.10", .hbone = 1 } },
	  {},
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.10:15008 127.0.0.2:80",
	  AMB_REASON_WORKLOAD_WAYPOINT },
	{ "host-network workload by its node's address",
	  { SRC, { .uid = "d", .addrs = "192.168.0.1", .hbone = 1, .host_network = 1 } },
	  {},
	  "192.168.0.1:80",
	  "pass tcp 192.168.0.1:80 ",
	  AMB_REASON_NOT_IN_MESH },
	{ "service of another namespace that is not visible",
	  { SRC,
	    { .uid = "e", .addrs = "127.0.0.2", .hbone = 1, .services = "other/svc=80:8080" } },
	  { { .ns = "other",
	      .host = "svc",
	      .vips = "|127.0.0.3",
	      .ports = "80:8080",
	      .visibility = 1 } },
	  "127.0.0.3:80",
	  "pass tcp 127.0.0.3:80 ",
	  AMB_REASON_NOT_IN_MESH },
	{ "service visible in its own namespace",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .hbone = 1, .services = "ns/svc=80:8080" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080", .visibility = 1 } },
	  "127.0.0.3:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:8080",
	  AMB_REASON_SERVICE },
	{ "unknown visibility is public",
	  { SRC,
	    { .uid = "e", .addrs = "127.0.0.2", .hbone = 1, .services = "other/svc=80:8080" } },
	  { { .ns = "other",
	      .host = "svc",
	      .vips = "|127.0.0.3",
	      .ports = "80:8080",
	      .visibility = 9 } },
	  "127.0.0.3:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:8080",
	  AMB_REASON_SERVICE },
	{ "an address that is a workload's and a VIP: service, but not its waypoint",
	  { SRC,
	    { .uid = "e", .addrs = "127.0.0.3", .hbone = 1, .services = "ns/svc=80:8080" },
	    { .uid = "wp", .addrs = "127.0.0.10", .hbone = 1 } },
	  { { .host = "svc",
	      .vips = "|127.0.0.3",
	      .ports = "80:8080",
	      .waypoint = "|127.0.0.10:15008" } },
	  "127.0.0.3:80",
	  "tunnel hbone 127.0.0.3:15008 127.0.0.3:8080",
	  AMB_REASON_SERVICE },
	{ "dual-stack endpoint, dialled by IPv6",
	  { SRC,
	    { .uid = "e", .addrs = "127.0.0.2 fd00::2", .hbone = 1, .services = "ns/svc=80:8080" } },
	  { { .host = "svc", .vips = "|127.0.0.3 |fd00::3", .ports = "80:8080", .families = 3 } },
	  "[fd00::3]:80",
	  "tunnel hbone [fd00::2]:15008 [fd00::2]:8080",
	  AMB_REASON_SERVICE },
	{ "IPv4-only service, dual-stack endpoint",
	  { SRC,
	    { .uid = "e", .addrs = "127.0.0.2 fd00::2", .hbone = 1, .services = "ns/svc=80:8080" } },
	  { { .host = "svc", .vips = "|127.0.0.3 |fd00::3", .ports = "80:8080", .families = 1 } },
	  "[fd00::3]:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:8080",
	  AMB_REASON_SERVICE },
	{ "IPv6-only service, IPv4 endpoint",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .hbone = 1, .services = "ns/svc=80:8080" } },
	  { { .host = "svc", .vips = "|fd00::3", .ports = "80:8080", .families = 2 } },
	  "[fd00::3]:80",
	  "deny",
	  AMB_REASON_NO_ADDRESS },
	{ "endpoint of the other family when there is no better",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .hbone = 1, .services = "ns/svc=80:8080" } },
	  { { .host = "svc", .vips = "|fd00::3", .ports = "80:8080" } },
	  "[fd00::3]:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:8080",
	  AMB_REASON_SERVICE },
	{ "v4-mapped destination",
	  { SRC, { .uid = "d", .addrs = "127.0.0.2", .hbone = 1 } },
	  {},
	  "[::ffff:127.0.0.2]:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:80",
	  AMB_REASON_WORKLOAD },
	{ "v4-mapped address of a workload",
	  { SRC, { .uid = "d", .addrs = "::ffff:127.0.0.2", .hbone = 1 } },
	  {},
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:80",
	  AMB_REASON_WORKLOAD },
	{ "endpoint with a hostname",
	  { SRC, { .uid = "e", .host = "db.example.com", .services = "ns/svc=80:8080" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080" } },
	  "127.0.0.3:80",
	  "pass tcp db.example.com:8080 ",
	  AMB_REASON_PLAIN_WORKLOAD },
	{ "HBONE endpoint with a hostname",
	  { SRC,
	    { .uid = "e", .host = "db.example.com", .hbone = 1, .services = "ns/svc=80:8080" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080" } },
	  "127.0.0.3:80",
	  "tunnel hbone db.example.com:15008 ",
	  AMB_REASON_SERVICE },
	{ "waypoint with an application tunnel and no port of that number",
	  { SRC,
	    { .uid = "d", .addrs = "127.0.0.2", .hbone = 1, .waypoint = "ns/wp.ns:15008" },
	    { .uid = "wp",
	      .addrs = "127.0.0.10",
	      .hbone = 1,
	      .app_port = 15088,
	      .app_proxy = 1,
	      .services = "ns/wp.ns=80:80" } },
	  { { .host = "wp.ns", .ports = "80:80" } },
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.10:15008 127.0.0.2:80",
	  AMB_REASON_WORKLOAD_WAYPOINT },
	{ "CIDR VIP: the longest prefix",
	  { SRC,
	    { .uid = "e", .addrs = "127.0.0.2", .services = "ns/narrow=80:81 ns/wide=80:82" } },
	  { { .host = "wide", .vips = "|10.0.0.0/8", .ports = "80:1" },
	    { .host = "narrow", .vips = "|10.1.0.0/16", .ports = "80:1" } },
	  "10.1.2.3:80",
	  "pass tcp 127.0.0.2:81 ",
	  AMB_REASON_PLAIN_WORKLOAD },
	{ "CIDR VIP: own namespace before a longer prefix",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .services = "b/narrow=80:81 ns/wide=80:82" } },
	  { { .host = "wide", .vips = "|10.0.0.0/8", .ports = "80:1" },
	    { .ns = "b",
	      .host = "narrow",
	      .vips = "|10.1.0.0/16",
	      .ports = "80:1",
	      .canonical = 1 } },
	  "10.1.2.3:80",
	  "pass tcp 127.0.0.2:82 ",
	  AMB_REASON_PLAIN_WORKLOAD },
	{ "CIDR VIP: an exact VIP comes first",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .services = "b/exact=80:81 ns/wide=80:82" } },
	  { { .host = "wide", .vips = "|10.0.0.0/8", .ports = "80:1" },
	    { .ns = "b", .host = "exact", .vips = "|10.1.2.3/32", .ports = "80:1" } },
	  "10.1.2.3:80",
	  "pass tcp 127.0.0.2:81 ",
	  AMB_REASON_PLAIN_WORKLOAD },
	{ "CIDR VIP: IPv6",
	  { SRC, { .uid = "e", .addrs = "fd00::2", .services = "ns/s=80:81" } },
	  { { .host = "s", .vips = "|fd01::/16", .ports = "80:1" } },
	  "[fd01:2::3]:80",
	  "pass tcp [fd00::2]:81 ",
	  AMB_REASON_PLAIN_WORKLOAD },
	{ "CIDR VIP: IPv6's widest does not take IPv4",
	  { SRC, { .uid = "e", .addrs = "fd00::2", .services = "ns/s=80:81" } },
	  { { .host = "s", .vips = "|::/0", .ports = "80:1" } },
	  "10.1.2.3:80",
	  "pass tcp 10.1.2.3:80 ",
	  AMB_REASON_NOT_IN_MESH },
	{ "CIDR VIP: canonical of two that are alike",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .services = "b/one=80:81 c/two=80:82" } },
	  { { .ns = "b", .host = "one", .vips = "|10.1.0.0/16", .ports = "80:1" },
	    { .ns = "c", .host = "two", .vips = "|10.1.0.0/16", .ports = "80:1", .canonical = 1 } },
	  "10.1.2.3:80",
	  "pass tcp 127.0.0.2:82 ",
	  AMB_REASON_PLAIN_WORKLOAD },
	{ "shared VIP: one that can be seen before a canonical one that cannot",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .services = "b/one=80:81 c/two=80:82" } },
	  { { .ns = "b",
	      .host = "one",
	      .vips = "|10.1.2.3",
	      .ports = "80:1",
	      .canonical = 1,
	      .visibility = 1 },
	    { .ns = "c", .host = "two", .vips = "|10.1.2.3", .ports = "80:1" } },
	  "10.1.2.3:80",
	  "pass tcp 127.0.0.2:82 ",
	  AMB_REASON_PLAIN_WORKLOAD },
	{ "shared VIP: canonical before the first",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .services = "b/one=80:81 c/two=80:82" } },
	  { { .ns = "b", .host = "one", .vips = "|10.1.2.3", .ports = "80:1" },
	    { .ns = "c", .host = "two", .vips = "|10.1.2.3", .ports = "80:1", .canonical = 1 } },
	  "10.1.2.3:80",
	  "pass tcp 127.0.0.2:82 ",
	  AMB_REASON_PLAIN_WORKLOAD },
	{ "shared VIP: own namespace before canonical",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .services = "ns/one=80:81 c/two=80:82" } },
	  { { .ns = "c", .host = "two", .vips = "|10.1.2.3", .ports = "80:1", .canonical = 1 },
	    { .host = "one", .vips = "|10.1.2.3", .ports = "80:1" } },
	  "10.1.2.3:80",
	  "pass tcp 127.0.0.2:81 ",
	  AMB_REASON_PLAIN_WORKLOAD },
	{ "VIP of another network is not ours",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .services = "ns/one=80:81" } },
	  { { .host = "one", .vips = "remote|10.1.2.3", .ports = "80:1" } },
	  "10.1.2.3:80",
	  "pass tcp 10.1.2.3:80 ",
	  AMB_REASON_NOT_IN_MESH },
	{ "several workloads with one address: HBONE first",
	  { SRC,
	    { .uid = "a//Pod/x", .addrs = "127.0.0.2" },
	    { .uid = "b", .addrs = "127.0.0.2", .hbone = 1 } },
	  {},
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:80",
	  AMB_REASON_WORKLOAD },
	{ "several workloads with one address: then a pod",
	  { SRC,
	    { .uid = "a", .addrs = "127.0.0.2", .hbone = 1, .sa = "a" },
	    { .uid = "c//Pod/ns/b", .addrs = "127.0.0.2", .hbone = 1, .sa = "b" } },
	  {},
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:80",
	  AMB_REASON_WORKLOAD,
	  "cluster.local/ns/ns/sa/b" },
	{ "pod that speaks HBONE itself",
	  { SRC, { .uid = "d", .addrs = "127.0.0.2", .hbone = 1, .native = 1 } },
	  {},
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:80",
	  AMB_REASON_WORKLOAD },
	{ "pod with a waypoint by its service's VIP",
	  { SRC,
	    { .uid = "d", .addrs = "127.0.0.2", .hbone = 1, .waypoint = "|10.1.0.9:15008" },
	    { .uid = "wp",
	      .addrs = "127.0.0.10",
	      .hbone = 1,
	      .native = 1,
	      .sa = "wp",
	      .services = "ns/wp.ns=15008:15018" } },
	  { { .host = "wp.ns", .vips = "|10.1.0.9", .ports = "15008:15008" } },
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.10:15018 127.0.0.2:80",
	  AMB_REASON_WORKLOAD_WAYPOINT,
	  "cluster.local/ns/ns/sa/wp" },
	{ "pod with a waypoint that has no such port and no application tunnel",
	  { SRC,
	    { .uid = "d", .addrs = "127.0.0.2", .hbone = 1, .waypoint = "ns/wp.ns:15008" },
	    { .uid = "wp", .addrs = "127.0.0.10", .hbone = 1, .services = "ns/wp.ns=80:80" } },
	  { { .host = "wp.ns", .ports = "80:80" } },
	  "127.0.0.2:80",
	  "deny",
	  AMB_REASON_NO_WAYPOINT },
	{ "pod with a waypoint on another network: it has no service's name to go by",
	  { SRC,
	    { .uid = "d", .addrs = "127.0.0.2", .hbone = 1, .waypoint = "ns/wp.remote:15008" },
	    { .uid = "wp",
	      .hbone = 1,
	      .network = "remote",
	      .gateway = "remote|10.22.1.1:15009",
	      .services = "ns/wp.remote=15008:15008" },
	    { .uid = "gw", .addrs = "10.22.1.1", .hbone = 1, .network = "remote" } },
	  { { .host = "wp.remote", .ports = "15008:15008" } },
	  "127.0.0.2:80",
	  "deny",
	  AMB_REASON_NO_GATEWAY },
	{ "VIP with a waypoint by its service's name, SANs",
	  { SRC,
	    { .uid = "wp",
	      .addrs = "127.0.0.10",
	      .hbone = 1,
	      .native = 1,
	      .sa = "wp",
	      .services = "ns/wp.ns=15008:15008" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:80", .waypoint = "ns/wp.ns:15008" },
	    { .host = "wp.ns",
	      .ports = "15008:15008",
	      .sans = "spiffe://cluster.local/ns/ns/sa/other" } },
	  "127.0.0.3:80",
	  "tunnel hbone 127.0.0.10:15008 127.0.0.3:80",
	  AMB_REASON_SERVICE_WAYPOINT,
	  "cluster.local/ns/ns/sa/wp cluster.local/ns/ns/sa/other" },
	{ "VIP, only an endpoint without address or name",
	  { SRC, { .uid = "e", .hbone = 1, .services = "ns/svc=80:8080" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080" } },
	  "127.0.0.3:80",
	  "deny",
	  AMB_REASON_NO_ENDPOINT },
	{ "VIP, the address that was dialled before the endpoint's others",
	  { SRC,
	    { .uid = "e",
	      .addrs = "127.0.0.7 127.0.0.8 127.0.0.9 127.0.0.3",
	      .hbone = 1,
	      .services = "ns/svc=80:8080" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080" } },
	  "127.0.0.3:80",
	  "tunnel hbone 127.0.0.3:15008 127.0.0.3:8080",
	  AMB_REASON_SERVICE },
	{ "VIP, endpoint of another network, gateway by its service's VIP",
	  { SRC,
	    { .uid = "e",
	      .hbone = 1,
	      .network = "remote",
	      .gateway = "remote|10.2.2.2:15009",
	      .services = "ns/example.com=80:8080" },
	    { .uid = "gw",
	      .addrs = "10.22.1.1",
	      .hbone = 1,
	      .network = "remote",
	      .sa = "gw",
	      .services = "ns/gw.remote=15009:15008" } },
	  { { .host = "example.com", .vips = "|127.0.0.3", .ports = "80:8080" },
	    { .host = "gw.remote", .vips = "remote|10.2.2.2", .ports = "15009:15008" } },
	  "127.0.0.3:80",
	  "tunnel double 10.22.1.1:15008 example.com:80",
	  AMB_REASON_REMOTE_NETWORK,
	  "cluster.local/ns/ns/sa/gw",
	  "" },
	{ "source of another network than the agent's: a pod of its own",
	  { SRC_FAR, { .uid = "d", .addrs = "127.0.0.2", .network = "far", .hbone = 1 } },
	  {},
	  "127.0.0.2:80",
	  "tunnel hbone 127.0.0.2:15008 127.0.0.2:80",
	  AMB_REASON_WORKLOAD },
	{ "source of another network than the agent's: a pod of the agent's",
	  { SRC_FAR, { .uid = "d", .addrs = "127.0.0.2", .hbone = 1 } },
	  {},
	  "127.0.0.2:80",
	  "pass tcp 127.0.0.2:80 ",
	  AMB_REASON_NOT_IN_MESH },
	{ "source of another network than the agent's: a VIP of its own",
	  { SRC_FAR,
	    { .uid = "e", .addrs = "127.0.0.2", .network = "far", .services = "ns/svc=80:81" } },
	  { { .host = "svc", .vips = "far|127.0.0.3", .ports = "80:81" } },
	  "127.0.0.3:80",
	  "pass tcp 127.0.0.2:81 ",
	  AMB_REASON_PLAIN_WORKLOAD },
	{ "own port on loopback", { SRC }, {}, "127.0.0.1:15001", "deny", AMB_REASON_LOOP },
	{ "own port elsewhere",
	  { SRC },
	  {},
	  "1.2.3.4:15001",
	  "pass tcp 1.2.3.4:15001 ",
	  AMB_REASON_NOT_IN_MESH },
	{ "endpoint without capacity is not chosen",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .services = "ns/svc=80:81", .capacity = -1 } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:1" } },
	  "127.0.0.3:80",
	  "deny",
	  AMB_REASON_NO_ENDPOINT },
	{ "unhealthy endpoint is not chosen",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .services = "ns/svc=80:81", .unhealthy = 1 } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:1" } },
	  "127.0.0.3:80",
	  "deny",
	  AMB_REASON_NO_ENDPOINT },
	{ "unhealthy endpoint of a service that wants all",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .services = "ns/svc=80:81", .unhealthy = 1 } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:1", .allow_all = 1 } },
	  "127.0.0.3:80",
	  "pass tcp 127.0.0.2:81 ",
	  AMB_REASON_PLAIN_WORKLOAD },
};

static const char *describe(const struct amb_decision *d, char *buf, size_t len)
{
	char dial[AMB_ENDPOINT_STRLEN];

	if (d->way == AMB_WAY_DENY)
		return "deny";
	if (d->resolve)
		snprintf(buf, len, "%s %s %s:%u %s", ways[d->way], protocols[d->protocol],
			 d->resolve, d->dial.port, d->authority);
	else
		snprintf(buf, len, "%s %s %s %s", ways[d->way], protocols[d->protocol],
			 amb_endpoint_format(&d->dial, dial), d->authority);
	return buf;
}

static void check_set(const struct amb_identset *set, const char *want)
{
	char **names;
	size_t n, i;
	uint32_t j;

	if (!want)
		return;
	n = mesh_split(want, " ", &names);
	CHECK_EQ(set->n, n);
	for (i = 0; i < n; i++) {
		for (j = 0; j < set->n; j++) {
			if (!strcmp(amb_identset_at(set, j)->spiffe + 9, names[i]))
				break;
		}
		CHECK(j < set->n);
	}
}

static const struct amb_workload *source(struct amb_state *st)
{
	const struct amb_workload *w;

	amb_state_read_begin(st);
	w = amb_workload_get(amb_state_workload_by_uid(st, "c//Pod/ns/src"));
	amb_state_read_end(st);
	CHECK(w);
	return w;
}

static void run_outbound(const struct outbound *o)
{
	struct amb_state *st = mesh_state("");
	const struct amb_workload *src;
	struct amb_endpoint dst;
	struct amb_decision d;
	size_t nw = 0, ns = 0;
	char text[512];

	CASE(o->what);
	while (nw < AMB_ARRAY_SIZE(o->w) && o->w[nw].uid)
		nw++;
	while (ns < AMB_ARRAY_SIZE(o->s) && o->s[ns].host)
		ns++;
	CHECK_EQ(mesh_apply(st, o->w, nw, o->s, ns), 0);
	CHECK_EQ(amb_endpoint_parse(o->dst, &dst), 0);
	src = source(st);
	amb_decide_outbound(st, src, &dst, &d);
	CHECK_STR(describe(&d, text, sizeof(text)), o->want);
	CHECK_EQ(d.reason, o->reason);
	check_set(&d.expect, o->expect);
	check_set(&d.expect_inner, o->inner);
	CHECK_EQ(d.via_waypoint, d.reason == AMB_REASON_WORKLOAD_WAYPOINT ||
					 d.reason == AMB_REASON_SERVICE_WAYPOINT);
	amb_decision_release(&d);
	amb_workload_put(src);
	amb_state_destroy(st);
	mesh_free();
}

TEST(outbound)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(outbounds); i++)
		run_outbound(&outbounds[i]);
}

/* What a decision without all knowledge has to ask for; "" where it needs no more. */
struct demand {
	const char *what;
	struct wl w[4];
	struct sv s[3];
	const char *dst;
	const char *missing;
	enum amb_way way;
};

static const struct demand demands[] = {
	{ "unknown address", { SRC }, {}, "1.2.3.4:80", "/1.2.3.4", AMB_WAY_PASSTHROUGH },
	{ "unknown IPv6 address", { SRC }, {}, "[fd00::1]:80", "/fd00::1", AMB_WAY_PASSTHROUGH },
	{ "known workload",
	  { SRC, { .uid = "d", .addrs = "127.0.0.2", .hbone = 1 } },
	  {},
	  "127.0.0.2:80",
	  "",
	  AMB_WAY_TUNNEL },
	{ "service without endpoints",
	  { SRC },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:80" } },
	  "127.0.0.3:80",
	  "",
	  AMB_WAY_DENY },
	{ "waypoint by address",
	  { SRC,
	    { .uid = "d", .addrs = "127.0.0.2", .hbone = 1, .waypoint = "|127.0.0.10:15008" } },
	  {},
	  "127.0.0.2:80",
	  "/127.0.0.10",
	  AMB_WAY_DENY },
	{ "waypoint of a service by name",
	  { SRC, { .uid = "e", .addrs = "127.0.0.2", .hbone = 1, .services = "ns/svc=80:80" } },
	  { { .host = "svc",
	      .vips = "|127.0.0.3",
	      .ports = "80:80",
	      .waypoint = "other/wp.other:15008" } },
	  "127.0.0.3:80",
	  "other/wp.other",
	  AMB_WAY_DENY },
	{ "gateway of another network",
	  { SRC,
	    { .uid = "e",
	      .network = "far",
	      .hbone = 1,
	      .gateway = "far|10.9.9.9:15009",
	      .services = "ns/svc=80:80" } },
	  { { .host = "svc", .vips = "|127.0.0.3", .ports = "80:80" } },
	  "127.0.0.3:80",
	  "far/10.9.9.9",
	  AMB_WAY_DENY },
};

static void run_demand(const struct demand *t, bool on_demand)
{
	struct amb_state *st = amb_state_create(
		&(struct amb_state_config){ .node = "node", .on_demand = on_demand });
	const struct amb_workload *src;
	struct amb_endpoint dst;
	struct amb_decision d;
	size_t nw = 0, ns = 0;

	CASE(t->what);
	while (nw < AMB_ARRAY_SIZE(t->w) && t->w[nw].uid)
		nw++;
	while (ns < AMB_ARRAY_SIZE(t->s) && t->s[ns].host)
		ns++;
	CHECK_EQ(mesh_apply(st, t->w, nw, t->s, ns), 0);
	CHECK_EQ(amb_endpoint_parse(t->dst, &dst), 0);
	src = source(st);
	amb_decide_outbound(st, src, &dst, &d);
	CHECK_EQ(d.way, t->way);
	CHECK_STR(d.missing ? d.missing : "", on_demand ? t->missing : "");
	amb_decision_release(&d);
	CHECK(!d.missing);
	amb_workload_put(src);
	amb_state_destroy(st);
	mesh_free();
}

TEST(demand)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(demands); i++) {
		run_demand(&demands[i], true);
		run_demand(&demands[i], false);
	}
}

/* The same of a tunnel's request to the workload "src" at 127.0.0.1. */
static const struct {
	const char *what;
	struct wl w[3];
	const char *authority, *missing;
	int status;
} demands_in[] = {
	{ "own address", { SRC }, "127.0.0.1:80", "", 200 },
	{ "unknown address", { SRC }, "127.0.0.9:80", "/127.0.0.9", 400 },
	{ "unknown waypoint of it",
	  { SRC, { .uid = "d", .addrs = "127.0.0.9", .waypoint = "ns/wp:15008" } },
	  "127.0.0.9:80",
	  "ns/wp",
	  400 },
	{ "known waypoint, not this one",
	  { SRC,
	    { .uid = "d", .addrs = "127.0.0.9", .waypoint = "|127.0.0.8:15008" },
	    { .uid = "wp", .addrs = "127.0.0.8" } },
	  "127.0.0.9:80",
	  "",
	  400 },
	{ "unknown name", { SRC }, "web.ns.svc:80", "ns/web.ns.svc", 503 },
};

TEST(demand_inbound)
{
	struct amb_authority authority;
	const struct amb_workload *local;
	struct amb_endpoint conn;
	struct amb_inbound in;
	size_t i, nw;

	amb_endpoint_parse("127.0.0.1:15008", &conn);
	for (i = 0; i < AMB_ARRAY_SIZE(demands_in); i++) {
		struct amb_state *st = amb_state_create(
			&(struct amb_state_config){ .node = "node", .on_demand = true });

		CASE(demands_in[i].what);
		for (nw = 0; nw < 3 && demands_in[i].w[nw].uid;)
			nw++;
		CHECK_EQ(mesh_apply(st, demands_in[i].w, nw, NULL, 0), 0);
		local = source(st);
		CHECK_EQ(amb_authority_parse(demands_in[i].authority,
					     strlen(demands_in[i].authority), &authority),
			 0);
		amb_decide_inbound(st, local, &conn, &authority, NULL, &in);
		CHECK_EQ(in.status, demands_in[i].status);
		CHECK_STR(in.missing ? in.missing : "", demands_in[i].missing);
		amb_inbound_release(&in);
		amb_workload_put(local);
		amb_state_destroy(st);
		mesh_free();
	}
}

TEST(no_source)
{
	struct amb_state *st = mesh_state("");
	struct amb_endpoint dst;
	struct amb_decision d;

	amb_endpoint_parse("1.2.3.4:80", &dst);
	amb_decide_outbound(st, NULL, &dst, &d);
	CHECK_EQ(d.way, AMB_WAY_DENY);
	CHECK_EQ(d.reason, AMB_REASON_NO_SOURCE);
	amb_decision_release(&d);
	amb_state_destroy(st);
}

TEST(resolved)
{
	struct wl w[] = {
		SRC,
		{ .uid = "e", .host = "db.example.com", .hbone = 1, .services = "ns/svc=80:8080" }
	};
	struct sv s = { .host = "svc", .vips = "|127.0.0.3", .ports = "80:8080" };
	struct amb_state *st = mesh_state("");
	const struct amb_workload *src;
	struct amb_endpoint dst;
	struct amb_decision d;
	struct amb_addr found;
	char text[512];

	CHECK_EQ(mesh_apply(st, w, 2, &s, 1), 0);
	src = source(st);
	amb_endpoint_parse("127.0.0.3:80", &dst);
	amb_decide_outbound(st, src, &dst, &d);
	CHECK_STR(d.resolve, "db.example.com");
	amb_addr_parse("10.9.8.7", &found);
	amb_decision_resolved(&d, &found);
	CHECK_STR(describe(&d, text, sizeof(text)), "tunnel hbone 10.9.8.7:15008 10.9.8.7:8080");
	amb_decision_release(&d);
	amb_workload_put(src);
	amb_state_destroy(st);
	mesh_free();
}

/* Section 5.3. */
struct balance {
	const char *what;
	int mode;
	const char *network, *region, *zone;
	const char *want; /* last bytes of the addresses that come, all of them */
	const char *scopes;
	int from; /* endpoints that are there: from this one on */
};

#define NEAR "network region zone"
static const struct balance balances[] = {
	{ "strict, no locality", 1, "", "", "", "", NEAR },
	{ "strict, full locality", 1, "network", "reg", "zone", "1", NEAR },
	{ "failover, nothing matches", 2, "no-match", "no-match", "no-match", "1 2 3 4", NEAR },
	{ "failover, full locality", 2, "network", "reg", "zone", "1", NEAR },
	{ "failover, no zone", 2, "network", "reg", "", "1 2", NEAR },
	{ "standard looks at no locality", 0, "network", "reg", "zone", "1 2 3 4", NEAR },
	{ "strict on the zone alone", 1, "network", "x", "not-zone", "2", "zone" },
	{ "strict on an empty region", 1, "network", "", "zone", "3", "region" },
	{ "failover, first mismatch stops the walk", 2, "network", "x", "not-zone", "1 2 3 4",
	  "region zone" },
	{ "failover, the own network before the nearest of another", 2, "network", "reg", "zone",
	  "3", NEAR, 2 },
};

static void run_balance(const struct balance *b)
{
	const struct wl ends[] = {
		{ .uid = "match",
		  .addrs = "10.0.0.1",
		  .network = "network",
		  .region = "reg",
		  .zone = "zone",
		  .services = "ns/svc=80:80" },
		{ .uid = "almost",
		  .addrs = "10.0.0.2",
		  .network = "network",
		  .region = "reg",
		  .zone = "not-zone",
		  .services = "ns/svc=80:80" },
		{ .uid = "noloc",
		  .addrs = "10.0.0.3",
		  .network = "network",
		  .services = "ns/svc=80:80" },
		{ .uid = "other",
		  .addrs = "10.0.0.4",
		  .network = "other",
		  .region = "reg",
		  .zone = "zone",
		  .services = "ns/svc=80:80" },
		{ .uid = "noip",
		  .network = "network",
		  .region = "reg",
		  .zone = "zone",
		  .services = "ns/svc=80:80" },
	};
	struct wl src = { .uid = "c//Pod/ns/src",
			  .addrs = "127.0.0.1",
			  .network = b->network,
			  .region = b->region,
			  .zone = b->zone };
	struct sv s = { .host = "svc", .ports = "80:80", .scopes = b->scopes, .mode = b->mode };
	struct amb_state *st = mesh_state("");
	int seen[5] = { 0 }, want[5] = { 0 }, i;
	const struct amb_workload *from, *to;
	char **parts;
	uint16_t port;
	size_t n;

	CASE(b->what);
	CHECK_EQ(mesh_apply(st, ends + b->from, AMB_ARRAY_SIZE(ends) - b->from, &s, 1), 0);
	CHECK_EQ(mesh_put_workload(st, src), 0);
	n = mesh_split(b->want, " ", &parts);
	while (n)
		want[atoi(parts[--n])] = 1;
	from = source(st);
	for (i = 0; i < 400; i++) {
		amb_state_read_begin(st);
		to = amb_lb_pick(amb_table_svc(amb_table_root(st), "ns/svc"), from, 80,
				 AMB_LB_TRAFFIC, &port);
		if (to)
			seen[to->naddrs ? to->addrs[0].b[15] : 0]++;
		amb_state_read_end(st);
	}
	for (i = 0; i < 5; i++)
		CHECK_EQ(!!seen[i], want[i]);
	amb_workload_put(from);
	amb_state_destroy(st);
	mesh_free();
}

TEST(balance)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(balances); i++)
		run_balance(&balances[i]);
}

/*
 * Each scope by itself, and the lists that Services come with (reference 1.9). Places are
 * network, region, zone, subzone, node and cluster; the source is at "n r z s node c".
 */
static const struct {
	const char *what;
	int mode;
	const char *scopes, *near, *far;
	bool picked; /* the near one, and never the far one; else none */
} scopes[] = {
	{ "network", 1, "network", "n x x x x x", "x r z s node c", true },
	{ "region", 1, "region", "x r x x x x", "n x z s node c", true },
	{ "zone", 1, "zone", "x x z x x x", "n r x s node c", true },
	{ "subzone", 1, "subzone", "x x x s x x", "n r z x node c", true },
	{ "node", 1, "node", "x x x x node x", "n r z s x c", true },
	{ "cluster", 1, "cluster", "x x x x x c", "n r z s node x", true },
	{ "internalTrafficPolicy Local, nobody on the node", 1, "node", "n r z s x c",
	  "n r z s y c", false },
	{ "PreferSameZone", 2, NEAR, "n r z x x x", "n r x s node c", true },
	{ "PreferSameZone, nobody in the zone", 2, NEAR, "n r x x x x", "n x z s node c", true },
	{ "PreferSameNode", 2, NEAR " subzone node", "n r z s node x", "n r z s x c", true },
	{ "PreferSameNode, nobody on the node", 2, NEAR " subzone node", "n r z s x x",
	  "n r z x node c", true },
	{ "PreferSameNode, nobody of the network", 2, NEAR " subzone node", "x r z s node x",
	  "x r z s x c", true },
};

static struct wl at(const char *uid, const char *addr, const char *place)
{
	char **p;

	CHECK_EQ(mesh_split(place, " ", &p), 6);
	return (struct wl){ .uid = uid,
			    .addrs = addr,
			    .services = "ns/svc=80:80",
			    .network = p[0],
			    .region = p[1],
			    .zone = p[2],
			    .subzone = p[3],
			    .node = p[4],
			    .cluster = p[5] };
}

TEST(scopes)
{
	const struct amb_workload *from, *to;
	uint16_t port;
	size_t i;
	int n;

	for (i = 0; i < AMB_ARRAY_SIZE(scopes); i++) {
		struct sv s = { .host = "svc",
				.ports = "80:80",
				.scopes = scopes[i].scopes,
				.mode = scopes[i].mode };
		struct wl w[] = { at("near", "10.0.0.1", scopes[i].near),
				  at("far", "10.0.0.2", scopes[i].far),
				  at("c//Pod/ns/src", "10.0.0.3", "n r z s node c") };
		struct amb_state *st = mesh_state("n");

		CASE(scopes[i].what);
		w[2].services = "";
		CHECK_EQ(mesh_apply(st, w, 3, &s, 1), 0);
		from = source(st);
		for (n = 0; n < 50; n++) {
			amb_state_read_begin(st);
			to = amb_lb_pick(amb_table_svc(amb_table_root(st), "ns/svc"), from, 80,
					 AMB_LB_TRAFFIC, &port);
			CHECK_STR(to ? to->uid : "none", scopes[i].picked ? "near" : "none");
			amb_state_read_end(st);
		}
		amb_workload_put(from);
		amb_state_destroy(st);
		mesh_free();
	}
}

/* Shares by capacity, with few endpoints (drawn one by one) and with many (kept lists). */
static void run_weights(int filler)
{
	struct amb_state *st = mesh_state("");
	struct wl w[] = {
		SRC,
		{ .uid = "light", .addrs = "10.0.0.1", .services = "ns/svc=80:80", .zone = "z" },
		{ .uid = "heavy",
		  .addrs = "10.0.0.2",
		  .services = "ns/svc=80:80",
		  .zone = "z",
		  .capacity = 3 },
		{ .uid = "none",
		  .addrs = "10.0.0.3",
		  .services = "ns/svc=80:80",
		  .zone = "z",
		  .capacity = -1 },
	};
	struct sv s = { .host = "svc", .ports = "80:80,81:0", .scopes = "zone", .mode = 2 };
	const struct amb_workload *from, *to;
	int seen[4] = { 0 }, i;
	uint16_t port;

	w[0].zone = "z";
	CHECK_EQ(mesh_apply(st, w, 4, &s, 1), 0);
	for (i = 0; i < filler; i++) {
		char uid[16];

		snprintf(uid, sizeof(uid), "far%d", i);
		CHECK_EQ(mesh_put_workload(st, (struct wl){ .uid = uid,
							    .addrs = "10.0.1.1",
							    .services = "ns/svc=80:80" }),
			 0);
	}
	from = source(st);
	for (i = 0; i < 8000; i++) {
		amb_state_read_begin(st);
		to = amb_lb_pick(amb_table_svc(amb_table_root(st), "ns/svc"), from, 80,
				 AMB_LB_TRAFFIC, &port);
		CHECK(to && to->addrs[0].b[14] == 0 && port == 80);
		seen[to->addrs[0].b[15]]++;
		/* other ports have lists of their own, and nothing in them here */
		CHECK(!amb_lb_pick(amb_table_svc(amb_table_root(st), "ns/svc"), from, 82 + i % 8,
				   AMB_LB_WAYPOINT, &port));
		amb_state_read_end(st);
	}
	/* 2000 and 6000 expected; ten standard deviations are 390 */
	CHECK(seen[1] > 1600 && seen[1] < 2400 && seen[1] + seen[2] == 8000);
	/* A change of one endpoint is a change of the list. */
	CHECK_EQ(mesh_remove(st, "light", false), 0);
	amb_state_read_begin(st);
	for (i = 0; i < 100; i++) {
		to = amb_lb_pick(amb_table_svc(amb_table_root(st), "ns/svc"), from, 80,
				 AMB_LB_TRAFFIC, &port);
		CHECK_STR(to->uid, "heavy");
	}
	amb_state_read_end(st);
	amb_workload_put(from);
	amb_state_destroy(st);
	mesh_free();
}

TEST(weights)
{
	CASE("few");
	run_weights(0);
	CASE("many");
	run_weights(100);
}

int main(void)
{
	int rc;

	urcu_memb_register_thread();
	rc = harness_run();
	urcu_memb_unregister_thread();
	return rc;
}
