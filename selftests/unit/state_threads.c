// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One writer, many readers: an update is seen whole or not at all, and references outlive
 * what they refer to. For ThreadSanitizer as much as for the checks.
 *
 * Two workloads swap their addresses with each update, and their policy goes from ALLOW to
 * DENY and back in the same update, so a reader that sees one without the other tells.
 */
#include "policies.h"

#include "base/util.h"
#include "mesh/decide.h"

#include <pthread.h>

#define READERS 4
#define UPDATES 2000
#define ENDPOINTS 50

static struct amb_state *st;
static bool stop;
static struct amb_addr addrs[2];

struct reader {
	pthread_t thread;
	unsigned long reads, retries, torn, wrong;
};

/* What must agree: who has the first address, and what the policy says. */
static bool agrees(struct reader *r)
{
	struct amb_policy_conn c = { .dst.port = 80 };
	const struct amb_workload *a, *b;
	struct amb_verdict v;
	uint64_t seq;
	bool ok;

	do {
		seq = amb_state_read_begin(st);
		a = amb_state_workload_by_addr(st, "", &addrs[0]);
		amb_policy_check(st, a, &c, &v, NULL, NULL);
		b = amb_state_workload_by_addr(st, "", &addrs[1]);
		ok = a != b && v.allow == !strcmp(a->uid, "even") && !strcmp(a->name, b->name);
		if (!amb_state_read_retry(st, seq))
			break;
		r->retries++;
		amb_state_read_end(st);
	} while (true);
	amb_state_read_end(st);
	return ok;
}

static void *read_on(void *arg)
{
	struct reader *r = arg;
	struct amb_endpoint vip;

	urcu_memb_register_thread();
	amb_endpoint_parse("10.1.0.1:80", &vip);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED) || r->reads < 100) {
		const struct amb_workload *src;
		struct amb_decision d;

		r->reads++;
		r->torn += !agrees(r);
		amb_state_read_begin(st);
		src = amb_workload_get(amb_state_workload_by_uid(st, "even"));
		amb_state_read_end(st);
		amb_decide_outbound(st, src, &vip, &d);
		r->wrong += d.way != AMB_WAY_TUNNEL || strncmp(d.workload->uid, "end", 3) ||
			    strcmp(d.service->hostname, "svc");
		amb_workload_put(src);
		amb_decision_release(&d);
	}
	urcu_memb_unregister_thread();
	return NULL;
}

static void update(int i)
{
	char name[16], end[16], addr[32];
	struct wl w[] = {
		{ .uid = "even",
		  .name = name,
		  .hbone = 1,
		  .addrs = i % 2 ? "10.0.0.2" : "10.0.0.1" },
		{ .uid = "odd", .name = name, .hbone = 1, .addrs = i % 2 ? "10.0.0.1" : "10.0.0.2" },
		{ .uid = end, .name = name, .hbone = 1, .addrs = addr, .services = "ns/svc=80:80" },
	};
	struct sv s = { .host = "svc", .vips = "|10.1.0.1", .ports = "80:80" };
	struct amb_resource res[] = {
		{ .address = mesh_workload(&(struct wl){ .uid = "x" }) },
		{ 0 },
		{ 0 },
		{ 0 },
		{ .is_policy = true,
		  .authorization = mesh_policy("r", "p", 0, i % 2, false, "port=80") },
		{ 0 },
	};

	snprintf(name, sizeof(name), "v%d", i);
	snprintf(end, sizeof(end), "end%d", i % ENDPOINTS);
	snprintf(addr, sizeof(addr), "10.2.%d.%d", i / 250 % 250, i % 250 + 1);
	res[1].address = mesh_workload(&w[i % 2]);
	res[2].address = mesh_workload(&w[!(i % 2)]);
	res[3].address = mesh_workload(&w[2]);
	res[5].address = mesh_service(&s);
	CHECK_EQ(amb_state_apply(st, res, AMB_ARRAY_SIZE(res), NULL, NULL), 0);
	mesh_free();
}

TEST(churn)
{
	struct reader readers[READERS] = { 0 };
	unsigned long reads = 0, torn = 0, wrong = 0;
	int i;

	st = mesh_state("");
	amb_addr_parse("10.0.0.1", &addrs[0]);
	amb_addr_parse("10.0.0.2", &addrs[1]);
	update(0);
	for (i = 0; i < READERS; i++)
		CHECK_EQ(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
	for (i = 1; i < UPDATES; i++)
		update(i);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		reads += readers[i].reads;
		torn += readers[i].torn;
		wrong += readers[i].wrong;
	}
	printf("# %d updates, %lu reads\n", UPDATES, reads);
	amb_state_destroy(st);
	CHECK_EQ(torn, 0);
	CHECK_EQ(wrong, 0);
	CHECK_EQ(amb_str_count(), 0);
}

int main(void)
{
	int rc;

	urcu_memb_register_thread();
	rc = harness_run();
	urcu_memb_unregister_thread();
	return rc;
}
