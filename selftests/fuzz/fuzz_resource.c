// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Workload API resources as they come: a series of {kind, length (2 bytes), bytes}, applied
 * one by one. What was refused changes nothing; what is there can be walked, decided by and
 * taken away again.
 */
#include "fuzz.h"

#include "authorization.pb-c.h"
#include "workload.pb-c.h"

#include "mesh/baggage.h"
#include "mesh/decide.h"
#include "mesh/policy.h"
#include "mesh/state.h"

enum { ADDRESS, POLICY, REMOVE, REMOVE_POLICY, KINDS };

struct seen {
	struct amb_state *st;
	size_t workloads, services, endpoints;
};

static void on_refused(void *ctx, const struct amb_resource *r, const char *reason)
{
	(void)r;
	PROMISE(*reason && strlen(reason) < 200);
	++*(int *)ctx;
}

static bool use_endpoint(void *ctx, const struct amb_workload *w, const struct amb_ports *ports)
{
	struct seen *seen = ctx;

	PROMISE(ports && amb_state_workload_by_uid(seen->st, w->uid) == w);
	seen->endpoints++;
	return true;
}

static bool use_service(void *ctx, const struct amb_service *s)
{
	struct seen *seen = ctx;

	PROMISE(amb_state_service_by_host(seen->st, s->ns, s->hostname) == s);
	amb_state_each_endpoint(seen->st, s, use_endpoint, seen);
	seen->services++;
	return true;
}

static bool use_staged(void *ctx, const char *service, const struct amb_workload *w,
		       const struct amb_ports *ports)
{
	PROMISE(strchr(service, '/'));
	return use_endpoint(ctx, w, ports);
}

static void decide(struct amb_state *st, const struct amb_workload *w,
		   const struct amb_endpoint *dst)
{
	struct amb_authority a = { .addr = *dst };
	struct amb_decision d;
	struct amb_inbound in;

	amb_decide_outbound(st, w, dst, &d);
	PROMISE(d.way == AMB_WAY_PASSTHROUGH || d.way == AMB_WAY_TUNNEL || d.way == AMB_WAY_DENY);
	/* A tunnel says whom it expects, and what it asks for. */
	PROMISE(d.way != AMB_WAY_TUNNEL || (d.expect.n && (d.resolve || *d.authority)));
	amb_decision_release(&d);
	amb_decide_inbound(st, w, dst, &a, NULL, &in);
	PROMISE(in.status == 200 || in.status == 400 || in.status == 503);
	amb_inbound_release(&in);
}

static bool use_workload(void *ctx, const struct amb_workload *w)
{
	struct amb_policy_conn c = { .peer = w->identity, .dst.port = 80 };
	char text[AMB_BAGGAGE_MAX];
	struct seen *seen = ctx;
	struct amb_verdict v;
	uint32_t i;

	for (i = 0; i < w->naddrs; i++) {
		c.src.addr = c.dst.addr = w->addrs[i];
		decide(seen->st, w, &c.dst);
	}
	amb_policy_check(seen->st, w, &c, &v, NULL, NULL);
	c.peer = NULL;
	amb_policy_check(seen->st, w, &c, &v, NULL, NULL);
	amb_policy_stamp(seen->st, w);
	amb_baggage_write(w, text, sizeof(text));
	seen->workloads++;
	return true;
}

static bool use_vips(void *ctx, const struct amb_service *s)
{
	struct seen *seen = ctx;
	uint32_t i;

	for (i = 0; i < s->nvips; i++) {
		struct amb_endpoint e = { s->vips[i].addr,
					  s->ports->n ? s->ports->p[0].service : 80 };
		const struct amb_workload *w;

		w = amb_state_workload_by_uid(seen->st, "src");
		if (w)
			decide(seen->st, w, &e);
	}
	return true;
}

static bool use_policy(void *ctx, const struct amb_policy_info *p)
{
	PROMISE(p->source && *p->name);
	++*(size_t *)ctx;
	return true;
}

static void look(struct amb_state *st)
{
	struct seen seen = { .st = st };
	size_t policies = 0;

	amb_state_read_begin(st);
	amb_state_each_workload(st, use_workload, &seen);
	amb_state_each_service(st, use_service, &seen);
	amb_state_each_service(st, use_vips, &seen);
	amb_state_each_staged(st, use_staged, &seen);
	amb_policy_each(st, use_policy, &policies);
	amb_state_read_end(st);
	PROMISE(seen.workloads == amb_state_count_workloads(st));
	PROMISE(seen.services == amb_state_count_services(st));
	PROMISE(policies == amb_state_count_policies(st));
}

static void apply(struct amb_state *st, int kind, const uint8_t *data, size_t size)
{
	struct amb_resource r = { .is_policy = kind == POLICY || kind == REMOVE_POLICY };
	Istio__Security__Authorization *policy = NULL;
	Istio__Workload__Address *address = NULL;
	uint64_t version = amb_state_version(st);
	char *text = fuzz_text(data, size);
	int refused = 0, n;

	if (kind == ADDRESS)
		r.address = address = istio__workload__address__unpack(NULL, size, data);
	else if (kind == POLICY)
		r.authorization = policy = istio__security__authorization__unpack(NULL, size, data);
	else
		r.name = text;
	/* What cannot be unpacked does not get here. */
	if (address || policy || r.name) {
		n = amb_state_apply(st, &r, 1, on_refused, &refused);
		PROMISE(n == refused && (!n || amb_state_version(st) == version));
	}
	if (address)
		istio__workload__address__free_unpacked(address, NULL);
	if (policy)
		istio__security__authorization__free_unpacked(policy, NULL);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amb_state_config config = { .node = "node" };
	static bool registered;
	struct amb_state *st;

	if (!registered)
		urcu_memb_register_thread();
	registered = true;
	st = amb_state_create(&config);
	PROMISE(st);
	while (size >= 3) {
		int kind = data[0] % KINDS;
		size_t len = data[1] << 8 | data[2];

		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		apply(st, kind, data, len);
		data += len;
		size -= len;
	}
	look(st);
	amb_state_destroy(st);
	PROMISE(!amb_str_count());
	return 0;
}
