/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections as the proxy tells of them, for tests of metrics and access log. */
#ifndef SELFTESTS_FLOW_DATA_H
#define SELFTESTS_FLOW_DATA_H

#include "proxy/flow.h"

#include <stdlib.h>

static struct amb_workload flow_client = {
	.name = "client-7",
	.ns = "apps",
	.cluster = "c1",
	.workload_name = "client",
	.canonical_name = "client-app",
	.canonical_revision = "v1",
	.region = "",
	.zone = "",
};

static struct amb_workload flow_web = {
	.name = "web-1",
	.ns = "shop",
	.cluster = "c1",
	.workload_name = "web",
	.canonical_name = "web",
	.canonical_revision = "",
	.region = "r1",
	.zone = "z1",
};

static struct amb_service flow_service = {
	.name = "web",
	.ns = "shop",
	.hostname = "web.shop.svc.cluster.local",
};

/* The parts that telemetry reads; made by hand, so that only this module is under test. */
static struct amb_identity *flow_identity(const char *spiffe)
{
	struct amb_identity *id = calloc(1, sizeof(*id) + 128);

	if (!id)
		abort();
	memcpy(id->spiffe, spiffe, strlen(spiffe) + 1);
	return id;
}

static struct amb_endpoint flow_endpoint(const char *text)
{
	struct amb_endpoint e;

	if (amb_endpoint_parse(text, &e))
		abort();
	return e;
}

__attribute__((unused)) static struct amb_flow flow_outbound(void)
{
	static struct amb_identity *src, *dst;

	if (!src) {
		src = flow_identity("spiffe://cluster.local/ns/apps/sa/client");
		dst = flow_identity("spiffe://cluster.local/ns/shop/sa/web");
	}
	return (struct amb_flow){
		.direction = AMB_OUTBOUND,
		.way = AMB_WAY_TUNNEL,
		.protocol = AMB_PROTO_HBONE,
		.src = flow_endpoint("10.0.0.5:40000"),
		.dst = flow_endpoint("10.96.0.1:80"),
		.actual = flow_endpoint("10.0.1.9:15008"),
		.authority = "10.0.1.9:8080",
		.src_workload = &flow_client,
		.dst_workload = &flow_web,
		.dst_service = &flow_service,
		.src_identity = src,
		.dst_identity = dst,
		.mtls = true,
		.start_ns = 1000000000,
		.end_ns = 1012900000,
		.bytes_to_dst = 100,
		.bytes_to_src = 2000,
	};
}

__attribute__((unused)) static struct amb_flow flow_plain(void)
{
	return (struct amb_flow){
		.direction = AMB_OUTBOUND,
		.way = AMB_WAY_PASSTHROUGH,
		.protocol = AMB_PROTO_TCP,
		.src = flow_endpoint("10.0.0.5:40000"),
		.dst = flow_endpoint("192.0.2.1:443"),
		.actual = flow_endpoint("192.0.2.1:443"),
		.src_workload = &flow_client,
		.bytes_to_dst = 7,
		.bytes_to_src = 8,
	};
}

#endif
