// SPDX-License-Identifier: GPL-2.0-or-later
/* The access log: exact lines, fields in order, absent ones left out, levels. */
#include "admin/access.h"
#include "base/log.h"
#include "flow_data.h"
#include "harness.h"

#include <unistd.h>

static char out[8192];

static const char *line_of(void (*write_line)(const struct amb_flow *f), const struct amb_flow *f)
{
	ssize_t n;
	int p[2];

	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(amb_log_init(p[1], false), 0);
	write_line(f);
	amb_log_uninit();
	close(p[1]);
	n = read(p[0], out, sizeof(out) - 1);
	out[n > 0 ? n : 0] = 0;
	close(p[0]);
	return n > 0 ? strchr(out, '\t') + 1 : "";
}

TEST(outbound_tunnel)
{
	struct amb_flow f = flow_outbound();

	CHECK_STR(line_of(amb_access_closed, &f),
		  "info\taccess\tconnection complete\tsrc.addr=10.0.0.5:40000 "
		  "src.workload=\"client-7\" src.namespace=\"apps\" "
		  "src.identity=\"spiffe://cluster.local/ns/apps/sa/client\" src.cluster=\"c1\" "
		  "dst.addr=10.0.1.9:15008 dst.hbone_addr=10.0.1.9:8080 "
		  "dst.service=\"web.shop.svc.cluster.local\" dst.workload=\"web-1\" "
		  "dst.namespace=\"shop\" dst.identity=\"spiffe://cluster.local/ns/shop/sa/web\" "
		  "dst.cluster=\"c1\" direction=\"outbound\" bytes_sent=100 bytes_recv=2000 "
		  "duration=\"12ms\"\n");
}

TEST(inbound_tunnel_swaps_sides)
{
	struct amb_flow f = flow_outbound();

	f.direction = AMB_INBOUND;
	f.dst = f.actual;
	CHECK_STR(line_of(amb_access_closed, &f),
		  "info\taccess\tconnection complete\tsrc.addr=10.0.0.5:40000 "
		  "src.workload=\"client-7\" src.namespace=\"apps\" "
		  "src.identity=\"spiffe://cluster.local/ns/apps/sa/client\" src.cluster=\"c1\" "
		  "dst.addr=10.0.1.9:15008 dst.hbone_addr=10.0.1.9:8080 "
		  "dst.service=\"web.shop.svc.cluster.local\" dst.workload=\"web-1\" "
		  "dst.namespace=\"shop\" dst.identity=\"spiffe://cluster.local/ns/shop/sa/web\" "
		  "dst.cluster=\"c1\" direction=\"inbound\" bytes_sent=2000 bytes_recv=100 "
		  "duration=\"12ms\"\n");
}

TEST(passthrough_knows_little)
{
	struct amb_flow f = flow_plain();

	CHECK_STR(line_of(amb_access_closed, &f),
		  "info\taccess\tconnection complete\tsrc.addr=10.0.0.5:40000 "
		  "src.workload=\"client-7\" src.namespace=\"apps\" src.cluster=\"c1\" "
		  "dst.addr=192.0.2.1:443 direction=\"outbound\" bytes_sent=7 bytes_recv=8 "
		  "duration=\"0ms\"\n");
}

TEST(baggage_where_state_knows_nothing)
{
	struct amb_baggage b = { .ns = "far", .workload = "caller\nx", .cluster = "c2" };
	struct amb_flow f = flow_plain();

	f.direction = AMB_INBOUND;
	f.src_workload = NULL;
	f.src_baggage = &b;
	CHECK_STR(line_of(amb_access_closed, &f),
		  "info\taccess\tconnection complete\tsrc.addr=10.0.0.5:40000 "
		  "src.workload=\"caller\\nx\" src.namespace=\"far\" src.cluster=\"c2\" "
		  "dst.addr=192.0.2.1:443 direction=\"inbound\" bytes_sent=8 bytes_recv=7 "
		  "duration=\"0ms\"\n");
}

TEST(denied)
{
	struct amb_flow f = flow_plain();

	f.flag = AMB_FLAG_DENY;
	f.reason = AMB_REASON_POLICY_NOT_ALLOWED;
	f.error = "connection closed due to policy rejection: allow policies exist, but none "
		  "allowed";
	CHECK_STR(line_of(amb_access_closed, &f),
		  "error\taccess\tconnection complete\tsrc.addr=10.0.0.5:40000 "
		  "src.workload=\"client-7\" src.namespace=\"apps\" src.cluster=\"c1\" "
		  "dst.addr=192.0.2.1:443 direction=\"outbound\" bytes_sent=7 bytes_recv=8 "
		  "duration=\"0ms\" error=\"connection closed due to policy rejection: allow "
		  "policies exist, but none allowed\"\n");
	f.error = NULL;
	CHECK(strstr(line_of(amb_access_closed, &f), " error=\"not allowed by any policy\"\n"));
}

TEST(early_reject)
{
	struct amb_flow f = flow_plain();

	f.reason = AMB_REASON_NO_SOURCE;
	CHECK_STR(line_of(amb_access_failed, &f),
		  "warn\taccess\tconnection failed\tsrc.addr=10.0.0.5:40000 "
		  "dst.addr=192.0.2.1:443 direction=\"outbound\" "
		  "error=\"source workload unknown\"\n");
}

TEST(opened_only_at_debug)
{
	struct amb_flow f = flow_plain();

	CHECK_STR(line_of(amb_access_opened, &f), "");
	amb_log_set_filter("info,access=debug");
	CHECK_STR(line_of(amb_access_opened, &f),
		  "debug\taccess\tconnection opened\tsrc.addr=10.0.0.5:40000 "
		  "src.workload=\"client-7\" src.namespace=\"apps\" src.cluster=\"c1\" "
		  "dst.addr=192.0.2.1:443 direction=\"outbound\"\n");
	amb_log_set_filter("info,access=off");
	f.flag = AMB_FLAG_DENY;
	CHECK_STR(line_of(amb_access_closed, &f), "");
	CHECK_STR(line_of(amb_access_failed, &f), "");
	amb_log_set_filter("info");
}

int main(void)
{
	return harness_run();
}
