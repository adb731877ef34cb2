// SPDX-License-Identifier: GPL-2.0-or-later
/* The state: what is refused and why, store behaviour (reference 1.7, 1.10), references. */
#include "policies.h"

#include "base/util.h"

#include <errno.h>

static const struct amb_workload *by_uid(struct amb_state *st, const char *uid)
{
	return amb_state_workload_by_uid(st, uid);
}

struct names {
	char text[256];
};

static void add_name(struct names *n, const char *s)
{
	size_t at = strlen(n->text);

	snprintf(n->text + at, sizeof(n->text) - at, "%s%s", at ? " " : "", s);
}

static bool note_endpoint(void *ctx, const struct amb_workload *w, const struct amb_ports *ports)
{
	CHECK(ports);
	add_name(ctx, w->uid);
	return true;
}

static bool note_staged(void *ctx, const char *service, const struct amb_workload *w,
			const struct amb_ports *ports)
{
	char text[128];

	CHECK(ports);
	snprintf(text, sizeof(text), "%s:%s", service, w->uid);
	add_name(ctx, text);
	return true;
}

static int word_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Walks come in no order: sorted here. */
static void sort_names(struct names *n)
{
	char **words;
	size_t count = mesh_split(n->text, " ", &words), i;

	qsort(words, count, sizeof(*words), word_cmp);
	n->text[0] = 0;
	for (i = 0; i < count; i++)
		add_name(n, words[i]);
}

static struct names endpoints(struct amb_state *st, const char *ns, const char *host)
{
	struct names n = { "" };
	const struct amb_service *s;

	amb_state_read_begin(st);
	s = amb_state_service_by_host(st, ns, host);
	if (s)
		amb_state_each_endpoint(st, s, note_endpoint, &n);
	amb_state_read_end(st);
	sort_names(&n);
	return n;
}

static struct names staged(struct amb_state *st)
{
	struct names n = { "" };

	amb_state_read_begin(st);
	amb_state_each_staged(st, note_staged, &n);
	amb_state_read_end(st);
	sort_names(&n);
	return n;
}

#define ENDPOINTS(want) CHECK_STR(endpoints(st, "ns", "svc").text, want)
#define STAGED(want) CHECK_STR(staged(st).text, want)

TEST(staging)
{
	struct wl a = { .uid = "a", .addrs = "10.0.0.1", .services = "ns/svc=80:81" };
	struct wl b = {
		.uid = "b", .addrs = "10.0.0.2", .services = "ns/svc=80:81", .unhealthy = 1
	};
	struct sv s = { .host = "svc", .ports = "80:80" };
	struct amb_state *st = mesh_state("");

	CHECK_EQ(mesh_put_workload(st, a), 0);
	CHECK_EQ(mesh_put_workload(st, b), 0);
	STAGED("ns/svc:a ns/svc:b");
	CHECK_EQ(amb_state_count_services(st), 0);
	CHECK_EQ(mesh_put_service(st, s), 0);
	STAGED("");
	ENDPOINTS("a");
	CHECK_EQ(mesh_remove(st, "ns/svc", false), 0);
	STAGED("ns/svc:a");
	CHECK_EQ(amb_state_count_services(st), 0);
	CHECK_EQ(mesh_put_service(st, s), 0);
	ENDPOINTS("a");
	CHECK_EQ(mesh_remove(st, "a", false), 0);
	ENDPOINTS("");
	CHECK_EQ(mesh_remove(st, "ns/svc", false), 0);
	CHECK_EQ(mesh_remove(st, "b", false), 0);
	STAGED("");
	CHECK_EQ(amb_state_count_workloads(st), 0);
	amb_state_destroy(st);
	mesh_free();
}

TEST(health)
{
	struct wl a = { .uid = "a", .addrs = "10.0.0.1", .services = "ns/svc=80:81" };
	struct wl b = {
		.uid = "b", .addrs = "10.0.0.2", .services = "ns/svc=80:81", .unhealthy = 1
	};
	struct sv s = { .host = "svc", .ports = "80:80" }, all = s;
	struct amb_state *st = mesh_state("");

	all.allow_all = 1;
	CHECK_EQ(mesh_put_service(st, s), 0);
	mesh_put_workload(st, a);
	mesh_put_workload(st, b);
	ENDPOINTS("a");
	/* What was dropped does not come back by itself. */
	CHECK_EQ(mesh_put_service(st, all), 0);
	ENDPOINTS("a");
	b.canonical = "sent again";
	CHECK_EQ(mesh_put_workload(st, b), 0);
	ENDPOINTS("a b");
	CHECK_EQ(mesh_put_service(st, s), 0);
	ENDPOINTS("a");
	a.unhealthy = 1;
	CHECK_EQ(mesh_put_workload(st, a), 0);
	ENDPOINTS("");
	a.unhealthy = 0;
	CHECK_EQ(mesh_put_workload(st, a), 0);
	ENDPOINTS("a");
	amb_state_destroy(st);
	mesh_free();
}

TEST(membership)
{
	struct wl a = { .uid = "a", .addrs = "10.0.0.1", .services = "ns/svc=80:81 ns/two=80:81" };
	struct amb_state *st = mesh_state("");

	CHECK_EQ(mesh_put_service(st, (struct sv){ .host = "svc", .ports = "80:80" }), 0);
	CHECK_EQ(mesh_put_service(st, (struct sv){ .host = "two", .ports = "80:80" }), 0);
	CHECK_EQ(mesh_put_workload(st, a), 0);
	ENDPOINTS("a");
	CHECK_STR(endpoints(st, "ns", "two").text, "a");
	/* A new version of the service keeps its endpoints. */
	CHECK_EQ(mesh_put_service(st, (struct sv){ .host = "svc", .ports = "81:80" }), 0);
	ENDPOINTS("a");
	a.services = "ns/two=80:81 ns/three=80:81";
	CHECK_EQ(mesh_put_workload(st, a), 0);
	ENDPOINTS("");
	CHECK_STR(endpoints(st, "ns", "two").text, "a");
	STAGED("ns/three:a");
	CHECK_EQ(mesh_remove(st, "a", false), 0);
	STAGED("");
	CHECK_STR(endpoints(st, "ns", "two").text, "");
	amb_state_destroy(st);
	mesh_free();
}

/* An address changes hands within one update, and from one to the next. */
TEST(addresses)
{
	struct amb_state *st = mesh_state("");
	struct wl w[] = { { .uid = "a", .addrs = "10.0.0.2" },
			  { .uid = "b", .addrs = "10.0.0.1" } };
	struct amb_addr one, two;

	amb_addr_parse("10.0.0.1", &one);
	amb_addr_parse("10.0.0.2", &two);
	CHECK_EQ(mesh_put_workload(st, (struct wl){ .uid = "a", .addrs = "10.0.0.1" }), 0);
	CHECK_EQ(mesh_apply(st, w, 2, NULL, 0), 0);
	amb_state_read_begin(st);
	CHECK_STR(amb_state_workload_by_addr(st, "", &one)->uid, "b");
	CHECK_STR(amb_state_workload_by_addr(st, "", &two)->uid, "a");
	CHECK(!amb_state_workload_by_addr(st, "other", &two));
	amb_state_read_end(st);
	CHECK_EQ(mesh_remove(st, "b", false), 0);
	amb_state_read_begin(st);
	CHECK(!amb_state_workload_by_addr(st, "", &one));
	amb_state_read_end(st);
	amb_state_destroy(st);
	mesh_free();
}

TEST(local)
{
	struct amb_state *st = mesh_state("");
	struct wl w[] = {
		{ .uid = "far", .name = "pod", .sa = "x", .node = "elsewhere" },
		{ .uid = "near", .name = "pod", .sa = "x", .node = "node" },
		{ .uid = "near2", .name = "pod", .sa = "y", .node = "node" },
	};

	CHECK_EQ(mesh_apply(st, w, 3, NULL, 0), 0);
	amb_state_read_begin(st);
	CHECK_STR(amb_state_workload_local(st, "ns", "pod", "x")->uid, "near");
	CHECK_STR(amb_state_workload_local(st, "ns", "pod", "y")->uid, "near2");
	CHECK(!amb_state_workload_local(st, "ns", "pod", "z"));
	CHECK(!amb_state_workload_local(st, "other", "pod", "x"));
	amb_state_read_end(st);
	amb_state_destroy(st);
	mesh_free();
}

TEST(defaults)
{
	struct amb_state *st = mesh_state("");
	const struct amb_workload *w;

	CHECK_EQ(mesh_put_workload(st, (struct wl){ .uid = "a" }), 0);
	amb_state_read_begin(st);
	w = by_uid(st, "a");
	CHECK_STR(w->identity->spiffe, "spiffe://cluster.local/ns/ns/sa/default");
	CHECK_STR(w->cluster, "Kubernetes");
	CHECK_EQ(w->capacity, 1);
	CHECK_STR(w->region, "");
	CHECK_STR(w->waypoint.hostname, "");
	CHECK(w->healthy && !w->waypoint.set);
	amb_state_read_end(st);
	CHECK_EQ(mesh_put_workload(
			 st, (struct wl){ .uid = "c//Pod/e/f", .td = "td", .ns = "", .sa = "s" }),
		 0);
	amb_state_read_begin(st);
	CHECK_STR(by_uid(st, "c//Pod/e/f")->identity->spiffe, "spiffe://td/ns//sa/s");
	amb_state_read_end(st);
	CHECK_STR(amb_state_domain(st), "cluster.local");
	CHECK_STR(amb_state_node(st), "node");
	amb_state_destroy(st);
	mesh_free();
}

/* A reference outlives the object's place in the tables, the state, and all its texts. */
TEST(references)
{
	struct amb_state *st = mesh_state("");
	struct wl a = { .uid = "a", .addrs = "10.0.0.1", .services = "ns/svc=80:81", .region = "r" };
	const struct amb_workload *w;
	const struct amb_service *s;

	mesh_put_workload(st, a);
	mesh_put_service(st, (struct sv){ .host = "svc", .ports = "80:80", .sans = "x" });
	amb_state_read_begin(st);
	w = amb_workload_get(by_uid(st, "a"));
	s = amb_service_get(amb_state_service_by_host(st, "ns", "svc"));
	amb_state_read_end(st);
	CHECK_EQ(mesh_remove(st, "a", false), 0);
	CHECK_EQ(mesh_remove(st, "ns/svc", false), 0);
	mesh_free();
	amb_state_destroy(st);
	CHECK_STR(w->region, "r");
	CHECK_STR(w->services[0].service, "ns/svc");
	CHECK_EQ(w->services[0].ports->p[0].target, 81);
	CHECK_STR(w->identity->ns, "ns");
	CHECK_STR(s->sans[0], "x");
	amb_workload_put(w);
	amb_service_put(s);
	amb_workload_put(NULL);
	amb_service_put(NULL);
	CHECK_EQ(amb_str_count(), 0);
}

static struct amb_state_change changes;
static int nchanges;

static void on_change(void *ctx, const struct amb_state_change *change)
{
	CHECK(ctx == &nchanges);
	changes = *change;
	nchanges++;
}

TEST(listeners)
{
	struct amb_state *st = mesh_state("");
	struct wl a = { .uid = "a", .addrs = "10.0.0.1" };
	uint64_t version;
	int i;

	CHECK_EQ(amb_state_listen(st, on_change, &nchanges), 0);
	nchanges = 0;
	mesh_put_workload(st, a);
	CHECK(nchanges == 1 && changes.workloads && !changes.policies && !changes.services);
	version = amb_state_version(st);
	/* The same again is no change. */
	mesh_put_workload(st, a);
	CHECK(nchanges == 1 && amb_state_version(st) == version);
	CHECK_EQ(mesh_remove(st, "nobody", false), 0);
	CHECK_EQ(nchanges, 1);
	a.policies = "ns/p";
	mesh_put_workload(st, a);
	CHECK(nchanges == 2 && changes.workloads && changes.policies);
	CHECK_EQ(amb_state_version(st), version + 1);
	mesh_put_service(st, (struct sv){ .host = "svc" });
	CHECK(nchanges == 3 && changes.services && !changes.workloads);
	for (i = 1; i < 8; i++)
		CHECK_EQ(amb_state_listen(st, on_change, &nchanges), 0);
	CHECK_EQ(amb_state_listen(st, on_change, &nchanges), -ENOSPC);
	amb_state_destroy(st);
	mesh_free();
}

static char told[512];

/* What changed, as text: flags, addresses, names; each only once. */
static void write_change(void *ctx, const struct amb_state_change *c)
{
	char text[AMB_ADDR_STRLEN];
	size_t i;

	(void)ctx;
	snprintf(told, sizeof(told), "%s%s%s", c->local ? "local " : "", c->ranges ? "ranges " : "",
		 c->many ? "many " : "");
	for (i = 0; i < c->naddrs; i++) {
		amb_addr_format(&c->addrs[i], text);
		if (!strstr(told, text))
			snprintf(told + strlen(told), sizeof(told) - strlen(told), "%s ", text);
	}
	for (i = 0; i < c->nnames; i++) {
		if (!strstr(told, c->names[i]))
			snprintf(told + strlen(told), sizeof(told) - strlen(told), "%s ",
				 c->names[i]);
	}
}

TEST(what_changed)
{
	struct amb_state *st = mesh_state("net");
	struct wl a = {
		.uid = "a", .network = "net", .addrs = "10.0.0.1", .services = "ns/s=80:80"
	};
	struct sv s = { .host = "s", .vips = "net|10.96.0.1 away|10.96.0.2", .ports = "80:80" };
	struct amb_resource *res = calloc(AMB_STATE_TOLD_MAX + 1, sizeof(*res));
	struct wl *many = calloc(AMB_STATE_TOLD_MAX + 1, sizeof(*many));
	char(*text)[2][24] = calloc(AMB_STATE_TOLD_MAX + 1, sizeof(*text));
	int i;

	CHECK(res && many && text);
	CHECK_EQ(amb_state_listen(st, write_change, NULL), 0);
	mesh_put_workload(st, a);
	CHECK_STR(told, "10.0.0.1 ns/s ");
	CASE("what it was, and what it is");
	a.addrs = "10.0.0.2";
	a.services = "ns/t=80:80";
	mesh_put_workload(st, a);
	CHECK_STR(told, "10.0.0.1 10.0.0.2 ns/s ns/t ");
	CASE("another network's addresses are nobody's here");
	a.network = "away";
	mesh_put_workload(st, a);
	CHECK_STR(told, "10.0.0.2 ns/t ");
	CASE("of this node");
	a = (struct wl){ .uid = "b", .node = "node" };
	mesh_put_workload(st, a);
	CHECK_STR(told, "local ");
	CHECK_EQ(mesh_remove(st, "b", false), 0);
	CHECK_STR(told, "local ");
	CASE("services");
	mesh_put_service(st, s);
	CHECK_STR(told, "10.96.0.1 ns/s ");
	s.vips = "net|10.97.0.0/16";
	mesh_put_service(st, s);
	CHECK_STR(told, "ranges 10.96.0.1 ns/s ");
	CHECK_EQ(mesh_remove(st, "ns/s", false), 0);
	CHECK_STR(told, "ranges ns/s ");
	CASE("a policy touches no address");
	CHECK_EQ(mesh_put_policy(st, mesh_policy("ns", "p", 1, 1, false, "always")), 0);
	CHECK_STR(told, "");
	CASE("as many as are told, and one more");
	for (i = 0; i <= AMB_STATE_TOLD_MAX; i++) {
		snprintf(text[i][0], sizeof(text[i][0]), "w%d", i);
		snprintf(text[i][1], sizeof(text[i][1]), "10.1.%d.%d", i / 256, i % 256);
		many[i] = (struct wl){ .uid = text[i][0], .network = "net", .addrs = text[i][1] };
		res[i].address = mesh_workload(&many[i]);
	}
	CHECK_EQ(amb_state_apply(st, res, AMB_STATE_TOLD_MAX, NULL, NULL), 0);
	CHECK(!strncmp(told, "10.1.0.0 10.1.0.1 ", 18));
	CHECK_EQ(amb_state_apply(st, res, AMB_STATE_TOLD_MAX + 1, NULL, NULL), 0);
	CHECK(!strncmp(told, "10.1.4.0 ", 9));
	for (i = 0; i <= AMB_STATE_TOLD_MAX; i++)
		res[i] = (struct amb_resource){ .name = text[i][0] };
	CHECK_EQ(amb_state_apply(st, res, AMB_STATE_TOLD_MAX + 1, NULL, NULL), 0);
	CHECK_STR(told, "many ");
	free(text);
	free(many);
	free(res);
	amb_state_destroy(st);
	mesh_free();
	CHECK_EQ(amb_str_count(), 0);
}

/* Resources first, removals after, wherever they stand. */
TEST(order)
{
	struct amb_state *st = mesh_state("");
	struct wl a = { .uid = "a" };
	struct amb_resource res[] = { { .name = "a" }, { .address = mesh_workload(&a) } };

	CHECK_EQ(amb_state_apply(st, res, 2, NULL, NULL), 0);
	CHECK_EQ(amb_state_count_workloads(st), 0);
	amb_state_destroy(st);
	mesh_free();
}

/* A name is first a workload's, then a service's, if it is of two parts (reference 1.5). */
TEST(removals)
{
	static const struct {
		const char *name;
		size_t workloads, services; /* that are left */
	} rows[] = {
		{ "svc", 2, 2 },      { "ns/nobody", 2, 2 }, { "ns/svc", 1, 2 },
		{ "ns/svc", 1, 1 },   { "ns/svc", 1, 1 },    { "ns/two/", 1, 1 },
		{ "c/ns/two", 1, 1 }, { "ns/two", 1, 0 },    { "c//Pod/ns/a", 0, 0 },
	};
	struct wl w[] = { { .uid = "ns/svc" }, { .uid = "c//Pod/ns/a" } };
	struct sv s[] = { { .host = "svc" }, { .host = "two" } };
	struct amb_state *st = mesh_state("");
	size_t i;

	CHECK_EQ(mesh_apply(st, w, 2, s, 2), 0);
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].name);
		CHECK_EQ(mesh_remove(st, rows[i].name, false), 0);
		CHECK_EQ(amb_state_count_workloads(st), rows[i].workloads);
		CHECK_EQ(amb_state_count_services(st), rows[i].services);
	}
	amb_state_destroy(st);
	mesh_free();
}

/* What each row does to a workload or service that is well otherwise. */
enum {
	TUNNEL,
	TUNNEL_9,
	TYPE,
	STATUS,
	MODE,
	APP,
	APP_PORT,
	ADDR_LEN,
	WAYPOINT,
	GATEWAY,
	WAYPOINT_ADDR,
	WAYPOINT_PORT,
	SERVICE_KEY,
	SERVICE_KEY_2,
	PORT_NUMBER,
	PORT_PROTO,
	UID,
	TEXT,
	TEXT_UTF8,
	IDENTITY,
	S_LB_MODE,
	S_HEALTH,
	S_SCOPE,
	S_SCOPE_0,
	S_FAMILIES,
	S_VIP,
	S_VIP_BITS,
	S_WAYPOINT,
	S_WEIGHTED,
	S_WEIGHTED_NONE,
	S_PORT,
	S_HOST,
	S_SLASH,
	NEITHER,
};

static const struct {
	int what;
	const char *reason;
} refusals[] = {
	{ TUNNEL, "tunnel_protocol: unknown value 2" },
	{ TUNNEL_9, "tunnel_protocol: unknown value 9" },
	{ TYPE, "workload_type: unknown value 4" },
	{ STATUS, "status: unknown value 2" },
	{ MODE, "network_mode: unknown value 2" },
	{ APP, "application_tunnel.protocol: unknown value 2" },
	{ APP_PORT, "application_tunnel.port: 65536 is not a port" },
	{ ADDR_LEN, "addresses: address of 5 bytes" },
	{ WAYPOINT, "waypoint: neither hostname nor address" },
	{ GATEWAY, "network_gateway: neither hostname nor address" },
	{ WAYPOINT_ADDR, "waypoint: address of 3 bytes" },
	{ WAYPOINT_PORT, "waypoint: 70000 is not a port" },
	{ SERVICE_KEY, "services: key is not namespace/hostname" },
	{ SERVICE_KEY_2, "services: key is not namespace/hostname" },
	{ PORT_NUMBER, "services.ports: 70000 is not a port" },
	{ PORT_PROTO, "services.ports.app_protocol: unknown value 6" },
	{ UID, "uid: empty" },
	{ TEXT, "name: not a text, or too long" },
	{ TEXT_UTF8, "node: not a text, or too long" },
	{ IDENTITY, "trust_domain, namespace or service_account: no SPIFFE identity" },
	{ S_LB_MODE, "load_balancing.mode: unknown value 4" },
	{ S_HEALTH, "load_balancing.health_policy: unknown value 2" },
	{ S_SCOPE, "load_balancing.routing_preference: unknown value 7" },
	{ S_SCOPE_0, "load_balancing.routing_preference: unknown value 0" },
	{ S_FAMILIES, "ip_families: unknown value 4" },
	{ S_VIP, "addresses: address of 15 bytes" },
	{ S_VIP_BITS, "addresses: prefix length 33" },
	{ S_WAYPOINT, "waypoint: neither hostname nor address" },
	{ S_WEIGHTED, "weighted_waypoints: neither hostname nor address" },
	{ S_WEIGHTED_NONE, "weighted_waypoints: no destination" },
	{ S_PORT, "ports: 65536 is not a port" },
	{ S_HOST, "hostname or namespace: empty or with a slash" },
	{ S_SLASH, "hostname or namespace: empty or with a slash" },
	{ NEITHER, "type: neither workload nor service" },
};

static void spoil_workload(Istio__Workload__Workload *m, int what)
{
	m->tunnel_protocol = what == TUNNEL ? 2 : what == TUNNEL_9 ? 9 : m->tunnel_protocol;
	m->workload_type = what == TYPE ? 4 : m->workload_type;
	m->status = what == STATUS ? 2 : m->status;
	m->network_mode = what == MODE ? 2 : m->network_mode;
	m->application_tunnel->protocol = what == APP ? 2 : m->application_tunnel->protocol;
	m->application_tunnel->port = what == APP_PORT ? 65536 : m->application_tunnel->port;
	m->addresses[0].len = what == ADDR_LEN ? 5 : m->addresses[0].len;
	m->waypoint->destination_case = what == WAYPOINT ? 0 : m->waypoint->destination_case;
	m->network_gateway->destination_case =
		what == GATEWAY ? 0 : m->network_gateway->destination_case;
	m->waypoint->address->address.len = what == WAYPOINT_ADDR ? 3 : 4;
	m->waypoint->hbone_mtls_port = what == WAYPOINT_PORT ? 70000 : 15008;
	if (what == SERVICE_KEY || what == SERVICE_KEY_2)
		m->services[0]->key = mesh_text(what == SERVICE_KEY ? "svc" : "a/b/c");
	m->services[0]->value->ports[0]->target_port = what == PORT_NUMBER ? 70000 : 80;
	m->services[0]->value->ports[0]->app_protocol = what == PORT_PROTO ? 6 : 0;
	m->uid = mesh_text(what == UID ? "" : "a");
	m->name = what == TEXT ? mesh_text("a\nb") : m->name;
	m->node = what == TEXT_UTF8 ? mesh_text("a\xc0\xaf") : m->node;
	m->service_account = what == IDENTITY ? mesh_text("a/b") : m->service_account;
}

static void spoil_service(Istio__Workload__Service *m, int what)
{
	m->load_balancing->mode = what == S_LB_MODE ? 4 : m->load_balancing->mode;
	m->load_balancing->health_policy = what == S_HEALTH ? 2 : m->load_balancing->health_policy;
	m->load_balancing->routing_preference[0] = what == S_SCOPE ? 7 : what == S_SCOPE_0 ? 0 : 1;
	m->ip_families = what == S_FAMILIES ? 4 : 0;
	m->addresses[0]->address.len = what == S_VIP ? 15 : 4;
	m->addresses[0]->length = what == S_VIP_BITS ? 33 : 32;
	m->waypoint->destination_case = what == S_WAYPOINT ? 0 : m->waypoint->destination_case;
	if (what == S_WEIGHTED)
		m->weighted_waypoints[0]->destination->destination_case = 0;
	if (what == S_WEIGHTED_NONE)
		m->weighted_waypoints[0]->destination = NULL;
	m->ports[0]->service_port = what == S_PORT ? 65536 : 80;
	if (what == S_HOST || what == S_SLASH)
		m->hostname = mesh_text(what == S_HOST ? "" : "a/b");
}

TEST(refused)
{
	struct wl w = { .uid = "a",
			.addrs = "10.0.0.1",
			.services = "ns/svc=80:80",
			.app_port = 1,
			.waypoint = "|10.0.0.9:15008",
			.gateway = "ns/host:15008" };
	struct sv s = { .host = "svc",
			.vips = "|10.0.0.3/32",
			.ports = "80:80",
			.scopes = "node",
			.waypoint = "|10.0.0.9:15008",
			.weighted = "|10.0.0.9:15008*1" };
	struct amb_state *st = mesh_state("");
	const struct amb_workload *old;
	uint64_t version;
	size_t i;

	CHECK_EQ(mesh_apply(st, &w, 1, &s, 1), 0);
	version = amb_state_version(st);
	amb_state_read_begin(st);
	old = by_uid(st, "a");
	amb_state_read_end(st);
	for (i = 0; i < AMB_ARRAY_SIZE(refusals); i++) {
		int what = refusals[i].what;
		Istio__Workload__Address *a = what < S_LB_MODE ? mesh_workload(&w) :
								 mesh_service(&s);
		struct amb_resource r = { .name = "a", .address = a };

		CASE(refusals[i].reason);
		if (what == NEITHER)
			a->type_case = ISTIO__WORKLOAD__ADDRESS__TYPE__NOT_SET;
		else if (what < S_LB_MODE)
			spoil_workload(a->workload, what);
		else
			spoil_service(a->service, what);
		CHECK_EQ(amb_state_apply(st, &r, 1, mesh_refused, NULL), 1);
		CHECK_STR(mesh_reason, refusals[i].reason);
		CHECK_EQ(amb_state_version(st), version);
		amb_state_read_begin(st);
		CHECK(by_uid(st, "a") == old);
		amb_state_read_end(st);
	}
	amb_state_destroy(st);
	mesh_free();
}

/* A refused resource does not keep the others from being taken. */
TEST(partly)
{
	struct amb_state *st = mesh_state("");
	struct wl w[] = { { .uid = "a" }, { .uid = "b", .hbone = 2 }, { .uid = "c" } };

	CHECK_EQ(mesh_apply(st, w, 3, NULL, 0), 1);
	CHECK_EQ(mesh_nrefused, 1);
	CHECK_EQ(amb_state_count_workloads(st), 2);
	amb_state_destroy(st);
	mesh_free();
}

/* An update in pieces: nothing is seen before its end, and nothing at all when it is given up. */
TEST(in_pieces)
{
	struct amb_state *st = mesh_state("");
	struct wl a = { .uid = "a", .addrs = "10.0.0.1" }, b = { .uid = "b", .hbone = 2 },
		  c = { .uid = "c", .services = "ns/svc=80:81" };
	struct sv s = { .host = "svc", .ports = "80:80" };
	struct amb_resource put[] = { { .address = mesh_workload(&a) },
				      { .address = mesh_workload(&b) },
				      { .address = mesh_workload(&c) },
				      { .address = mesh_service(&s) } };
	struct amb_resource gone = { .name = "a" };
	struct amb_update *u;
	uint64_t version;
	size_t i;

	CHECK_EQ(mesh_put_workload(st, (struct wl){ .uid = "old" }), 0);
	version = amb_state_version(st);
	u = amb_update_begin(st, mesh_refused, NULL);
	CHECK(u);
	mesh_nrefused = 0;
	for (i = 0; i < AMB_ARRAY_SIZE(put); i++)
		CHECK_EQ(amb_update_add(u, &put[i]), 0);
	CHECK_EQ(mesh_nrefused, 1);
	CHECK_EQ(amb_state_version(st), version);
	CHECK_EQ(amb_state_count_workloads(st), 1);
	/* No other may begin meanwhile. */
	CHECK(!amb_update_begin(st, NULL, NULL) && errno == EBUSY);
	CHECK_EQ(amb_state_apply(st, &gone, 1, NULL, NULL), -EBUSY);
	amb_update_abort(u);
	CHECK_EQ(amb_state_version(st), version);
	CHECK_EQ(amb_state_count_workloads(st), 1);
	u = amb_update_begin(st, mesh_refused, NULL);
	CHECK(u);
	for (i = 0; i < AMB_ARRAY_SIZE(put); i++)
		CHECK_EQ(amb_update_add(u, &put[i]), 0);
	CHECK_EQ(amb_update_add(u, &gone), 0);
	CHECK_EQ(amb_update_commit(u), 1);
	CHECK_EQ(amb_state_version(st), version + 1);
	CHECK_EQ(amb_state_count_workloads(st), 2);
	ENDPOINTS("c");
	/* One without a change is no version. */
	u = amb_update_begin(st, NULL, NULL);
	CHECK(u);
	CHECK_EQ(amb_update_add(u, &gone), 0);
	CHECK_EQ(amb_update_commit(u), 0);
	CHECK_EQ(amb_state_version(st), version + 1);
	amb_state_destroy(st);
	mesh_free();
}

TEST(retry)
{
	struct amb_state *st = mesh_state("");
	uint64_t seq = amb_state_read_begin(st);

	CHECK(!amb_state_read_retry(st, seq));
	amb_state_read_end(st);
	mesh_put_workload(st, (struct wl){ .uid = "a" });
	CHECK(amb_state_read_retry(st, seq));
	amb_state_destroy(st);
	mesh_free();
}

int main(void)
{
	int rc;

	urcu_memb_register_thread();
	rc = harness_run();
	urcu_memb_unregister_thread();
	return rc;
}
