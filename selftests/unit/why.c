// SPDX-License-Identifier: GPL-2.0-or-later
/* "why": names are found, and the answer is the decision's and the policy engine's. */
#include "admin/why.h"
#include "base/util.h"
#include "policies.h"

#include <jansson.h>

static struct amb_state *st;

static void start(void)
{
	static const struct wl w[] = {
		{ .uid = "c//Pod/ns/client",
		  .name = "client",
		  .sa = "client",
		  .addrs = "10.0.0.1",
		  .node = "node",
		  .hbone = 1 },
		{ .uid = "c//Pod/ns/web",
		  .name = "web",
		  .sa = "web",
		  .addrs = "10.0.0.2 fd00::2",
		  .node = "far",
		  .hbone = 1,
		  .services = "ns/web.ns.svc=80:8080",
		  .policies = "ns/only-client" },
		{ .uid = "c//Pod/ns/plain", .name = "plain", .addrs = "10.0.0.3" },
		{ .uid = "c//Pod/ns/guarded",
		  .name = "guarded",
		  .sa = "g",
		  .addrs = "10.0.0.4",
		  .hbone = 1,
		  .waypoint = "|10.0.0.5:15008" },
		{ .uid = "c//Pod/ns/wp", .name = "wp", .sa = "wp", .addrs = "10.0.0.5", .hbone = 1 },
		{ .uid = "c//Pod/ns/lost",
		  .name = "lost",
		  .sa = "l",
		  .addrs = "10.0.0.6",
		  .hbone = 1,
		  .waypoint = "|10.9.9.9:15008" },
	};
	static const struct sv s[] = {
		{ .host = "web.ns.svc", .name = "web", .vips = "|10.96.0.1", .ports = "80:8080" },
		{ .host = "headless.ns.svc", .name = "headless", .ports = "80:8080" },
	};

	st = mesh_state("");
	CHECK(st);
	CHECK_EQ(mesh_apply(st, w, AMB_ARRAY_SIZE(w), s, AMB_ARRAY_SIZE(s)), 0);
	CHECK_EQ(mesh_put_policy(st, mesh_policy("ns", "only-client", 2, 0, false,
						 "id=cluster.local/ns/ns/sa/client;port=8080")),
		 0);
}

static void stop(void)
{
	amb_state_destroy(st);
	mesh_free();
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

TEST(answers)
{
	static const struct {
		const char *src, *dst, *port;
		const char *way, *protocol, *dial, *workload;
		const char *policy; /* "allow NAME", "deny NAME", "" for none asked */
	} rows[] = {
		{ "ns/client", "ns/web", "8080", "tunnel", "HBONE", "10.0.0.2:15008", "ns/web",
		  "allow ns/only-client" },
		{ "10.0.0.1", "10.0.0.2", "9090", "tunnel", "HBONE", "10.0.0.2:15008", "ns/web",
		  "deny " },
		{ "ns/wp", "ns/web", "8080", "tunnel", "HBONE", "10.0.0.2:15008", "ns/web",
		  "deny " },
		{ "ns/client", "ns/web.ns.svc", "80", "tunnel", "HBONE", "10.0.0.2:15008", "ns/web",
		  "allow ns/only-client" },
		{ "ns/client", "web.ns", "80", "tunnel", "HBONE", "10.0.0.2:15008", "ns/web",
		  "allow ns/only-client" },
		{ "ns/client", "WEB.ns.svc", "80", "tunnel", "HBONE", "10.0.0.2:15008", "ns/web",
		  "allow ns/only-client" },
		{ "ns/client", "10.96.0.1", "80", "tunnel", "HBONE", "10.0.0.2:15008", "ns/web",
		  "allow ns/only-client" },
		{ "ns/client", "fd00::2", "8080", "tunnel", "HBONE", "[fd00::2]:15008", "ns/web",
		  "allow ns/only-client" },
		{ "ns/client", "ns/plain", "80", "passthrough", "TCP", "10.0.0.3:80", "ns/plain",
		  "" },
		{ "ns/client", "192.0.2.1", "443", "passthrough", "TCP", "192.0.2.1:443", "", "" },
		{ "ns/client", "ns/guarded", "80", "tunnel", "HBONE", "10.0.0.5:15008", "ns/wp",
		  "" },
		{ "ns/client", "ns/lost", "80", "deny", "", "", "", "" },
	};
	char err[256], policy[256];
	size_t i;

	start();
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		json_t *o, *p;

		CASE(rows[i].dst);
		o = amb_why(st, rows[i].src, rows[i].dst, rows[i].port, err, sizeof(err));
		CHECK(o);
		CHECK_STR(text(o, "way"), rows[i].way);
		CHECK_STR(text(o, "protocol"), rows[i].protocol);
		CHECK_STR(text(o, "dial"), rows[i].dial);
		CHECK_STR(text(json_object_get(o, "workload"), "name"), rows[i].workload);
		p = json_object_get(o, "policy");
		snprintf(policy, sizeof(policy), "%s %s",
			 json_is_true(json_object_get(p, "allow")) ? "allow" : "deny",
			 text(p, "policy"));
		CHECK_STR(p ? policy : "", rows[i].policy);
		json_decref(o);
	}
	stop();
}

TEST(errors_name_the_object)
{
	static const struct {
		const char *src, *dst, *port, *error;
	} rows[] = {
		{ "ns/nobody", "ns/web", "80", "source \"ns/nobody\": no such workload is known" },
		{ "web.ns", "ns/web", "80", "source \"web.ns\": no such workload is known" },
		{ "ns/client", "ns/nobody", "80",
		  "destination \"ns/nobody\": no such workload or service is known" },
		{ "ns/client", "", "80", "destination \"\": no such workload or service is known" },
		{ "ns/client", "/", "80",
		  "destination \"/\": no such workload or service is known" },
		{ "ns/client", "ns/headless", "80",
		  "destination \"ns/headless\": it has no address; name one of its pods" },
		{ "ns/client", "ns/web", "0", "port \"0\": not a number from 1 to 65535" },
		{ "ns/client", "ns/web", "http", "port \"http\": not a number from 1 to 65535" },
	};
	char err[256];
	size_t i;

	start();
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].error);
		CHECK(!amb_why(st, rows[i].src, rows[i].dst, rows[i].port, err, sizeof(err)));
		CHECK_STR(err, rows[i].error);
	}
	stop();
}

int main(void)
{
	int err;

	urcu_memb_register_thread();
	err = harness_run();
	urcu_memb_unregister_thread();
	return err;
}
