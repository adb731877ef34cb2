// SPDX-License-Identifier: GPL-2.0-or-later
/* ztunnel's local configuration: what it becomes in the state, and what is said of mistakes. */
#include "mesh.h"

#include "base/util.h"
#include "control/local_xds.h"

#include <errno.h>
#include <unistd.h>

static const char whole[] =
	"workloads:\n"
	"- uid: c1//v1/Pod/shop/web\n"
	"  name: web\n"
	"  namespace: shop\n"
	"  serviceAccount: seller\n"
	"  trustDomain: td\n"
	"  workloadIps: [\"10.0.0.1\", \"fd00::1\"]\n"
	"  protocol: HBONE\n"
	"  node: n1\n"
	"  network: \"\"\n"
	"  clusterId: c1\n"
	"  workloadType: deployment\n"
	"  workloadName: web\n"
	"  canonicalName: web\n"
	"  canonicalRevision: v2\n"
	"  status: Unhealthy\n"
	"  nativeTunnel: true\n"
	"  capacity: 7\n"
	"  networkMode: Standard\n"
	"  locality: {region: r, zone: z, subzone: s}\n"
	"  waypoint: {destination: /10.0.0.9, hboneMtlsPort: 15008}\n"
	"  networkGateway: {destination: shop/gw.shop, hboneMtlsPort: 15009}\n"
	"  applicationTunnel: {protocol: PROXY, port: 8888}\n"
	"  authorizationPolicies: [shop/some]\n"
	"  services:\n"
	"    \"shop/web.shop\":\n"
	"      80: 8080\n"
	"      443: 0\n"
	"- uid: plain\n"
	"  namespace: shop\n"
	"  workloadIps: []\n"
	"services:\n"
	"- name: web\n"
	"  namespace: shop\n"
	"  hostname: web.shop\n"
	"  vips: [/10.96.0.1, far/fd00::96]\n"
	"  cidrVips: [{network: \"\", cidr: 10.97.0.0/16}]\n"
	"  ports: {80: 8080}\n"
	"  endpoints: {}\n"
	"  subjectAltNames: [spiffe://td/ns/shop/sa/seller]\n"
	"  waypoint: {destination: shop/wp.shop, hboneMtlsPort: 15008}\n"
	"  weightedWaypoints:\n"
	"  - {destination: {destination: /10.0.0.8, hboneMtlsPort: 15008}, weight: 3}\n"
	"  loadBalancer: {routingPreferences: [Region, Zone], mode: Failover, healthPolicy: AllowAll}\n"
	"  ipFamilies: Dual\n"
	"  visibility: Namespace\n"
	"  canonical: true\n"
	"policies:\n"
	"- name: some\n"
	"  namespace: shop\n"
	"  scope: WorkloadSelector\n"
	"  action: Deny\n"
	"  rules:\n"
	"  - - - principals: [!Exact spiffe://td/ns/shop/sa/a, !Presence []]\n"
	"        notNamespaces: [{Prefix: kube-}, !Suffix -test]\n"
	"        sourceIps: [10.0.0.0/8]\n"
	"        destinationPorts: [80, 443]\n"
	"        serviceAccounts: [{namespace: shop, serviceAccount: a}]\n"
	"  dryRun: false\n";

static struct amb_state *loaded(const char *text)
{
	struct amb_state *st = mesh_state("");
	char err[512] = "";
	int ret = amb_local_xds_load(st, NULL, text, err, sizeof(err));

	if (ret)
		printf("# %s\n", err);
	CHECK_EQ(ret, 0);
	CHECK_STR(err, "");
	return st;
}

static void check_web(const struct amb_workload *w)
{
	CHECK(w);
	CHECK_STR(w->identity->spiffe, "spiffe://td/ns/shop/sa/seller");
	CHECK(w->tunnel == AMB_TUNNEL_HBONE && w->native_tunnel && !w->healthy && !w->host_network);
	CHECK_EQ(w->naddrs, 2);
	CHECK_STR(w->node, "n1");
	CHECK_STR(w->cluster, "c1");
	CHECK_STR(w->canonical_revision, "v2");
	CHECK_EQ(w->type, AMB_WTYPE_DEPLOYMENT);
	CHECK_EQ(w->capacity, 7);
	CHECK_STR(w->subzone, "s");
	CHECK(w->waypoint.set && !w->waypoint.by_host);
	CHECK(w->network_gateway.by_host && w->network_gateway.port == 15009);
	CHECK_STR(w->network_gateway.hostname, "gw.shop");
	CHECK(w->app_tunnel && w->app_tunnel_proxy && w->app_tunnel_port == 8888);
	CHECK_EQ(w->npolicies, 1);
	CHECK_EQ(w->nservices, 1);
	CHECK_EQ(w->services[0].ports->n, 2);
	CHECK_EQ(w->services[0].ports->p[0].target, 8080);
}

static void check_service(const struct amb_service *s)
{
	CHECK(s);
	CHECK_EQ(s->nvips, 3);
	CHECK_EQ(s->vips[2].bits, 16);
	CHECK_STR(s->vips[1].network, "far");
	CHECK_EQ(s->ports->n, 1);
	CHECK_EQ(s->nsan_ids, 1);
	CHECK(s->waypoint.by_host && s->nwaypoints == 1 && s->waypoints[0].weight == 3);
	CHECK_EQ(s->mode, AMB_LB_FAILOVER);
	CHECK_EQ(s->nscopes, 2);
	CHECK(s->allow_unhealthy && s->canonical && s->namespace_only);
	CHECK_EQ(s->families, AMB_IPF_DUAL);
}

/* A connection of @peer to 10.0.0.1:@port. */
static bool allowed(struct amb_state *st, const char *account, uint16_t port)
{
	struct amb_policy_conn conn = { .peer = amb_identity_intern("td", "shop", account) };
	struct amb_verdict v;

	amb_addr_parse("10.1.1.1", &conn.src.addr);
	amb_addr_parse("10.0.0.1", &conn.dst.addr);
	conn.dst.port = port;
	amb_state_read_begin(st);
	amb_policy_check(st, amb_state_workload_by_uid(st, "c1//v1/Pod/shop/web"), &conn, &v, NULL,
			 NULL);
	amb_state_read_end(st);
	amb_identity_put((struct amb_identity *)conn.peer);
	return v.allow;
}

TEST(what_it_becomes)
{
	struct amb_state *st = loaded(whole);

	CHECK_EQ(amb_state_count_workloads(st), 2);
	CHECK_EQ(amb_state_count_services(st), 1);
	CHECK_EQ(amb_state_count_policies(st), 1);
	amb_state_read_begin(st);
	check_web(amb_state_workload_by_uid(st, "c1//v1/Pod/shop/web"));
	check_service(amb_state_service_by_host(st, "shop", "web.shop"));
	amb_state_read_end(st);
	CHECK(!allowed(st, "a", 80));
	CHECK(allowed(st, "b", 80));
	CHECK(allowed(st, "a", 81));
	amb_state_destroy(st);
}

TEST(nothing)
{
	amb_state_destroy(loaded(""));
	amb_state_destroy(loaded("{}"));
	amb_state_destroy(loaded("workloads: []\nservices: []\n"));
}

#define W "workloads:\n- uid: u\n  namespace: n\n  workloadIps: []\n"
#define S "services:\n- name: s\n  namespace: n\n  hostname: h\n"
#define P "policies:\n- name: p\n  namespace: n\n  scope: Global\n  action: Allow\n"

static const struct {
	const char *text, *error;
} bad[] = {
	{ "workload: []\n",
	  "LOCAL_XDS:1: has no field \"workload\", only workloads, policies, services" },
	{ "workloads: 3\n", "LOCAL_XDS:1: workloads: has to be a list, not a single value" },
	{ "workloads:\n- uid: u\n  workloadIps: []\n",
	  "LOCAL_XDS:2: workloads[0].namespace: is needed" },
	{ W "  protocol: HBON\n", "LOCAL_XDS:5: workloads[0].protocol: " },
	{ W "  nam: x\n", "LOCAL_XDS:5: workloads[0]: has no field \"nam\", only " },
	{ W "  waypoint: {destination: x, hboneMtlsPort: 1}\n",
	  "LOCAL_XDS:5: workloads[0].waypoint.destination: has to be network/address or "
	  "namespace/host, not \"x\"" },
	{ W "  waypoint: {destination: /10.0.0.1}\n",
	  "LOCAL_XDS:5: workloads[0].waypoint.hboneMtlsPort: is needed" },
	{ W "  services: {a/b: {80: 70000}}\n",
	  "LOCAL_XDS:5: workloads[0].services[a/b].80: 70000 is not in 0..65535" },
	{ W "  services: {a/b: {x: 80}}\n",
	  "LOCAL_XDS:5: workloads[0].services[a/b]: \"x\" is no port" },
	{ W "  services: {b: {80: 80}}\n",
	  "LOCAL_XDS:5: workloads[0].services: has to be namespace/host, not \"b\"" },
	{ "workloads:\n- uid: u\n  namespace: n\n  workloadIps:\n  - 10.0.0.1\n  - 10.0.0.x\n",
	  "LOCAL_XDS:6: workloads[0].workloadIps[1]: \"10.0.0.x\" is no address" },
	{ S "  vips: [10.0.0.1]\n",
	  "LOCAL_XDS:5: services[0].vips[0]: has to be network/address, not \"10.0.0.1\"" },
	{ S "  cidrVips: [{cidr: 10.0.0.0/40}]\n",
	  "LOCAL_XDS:5: services[0].cidrVips[0].cidr: \"10.0.0.0/40\" is no range of addresses" },
	{ S "  loadBalancer: {routingPreferences: [Region, Planet]}\n",
	  "LOCAL_XDS:5: services[0].loadBalancer.routingPreferences[1]: \"Planet\" is no scope" },
	{ S "  endpoints: {u: {}}\n",
	  "LOCAL_XDS:5: services[0].endpoints: belong to the workloads' services" },
	{ P, "LOCAL_XDS:2: policies[0].rules: is needed" },
	{ P "  rules:\n  - - - principals: [x]\n",
	  "LOCAL_XDS:7: policies[0].rules[0][0][0].principals[0]: has to be one of !Exact, "
	  "!Prefix, !Suffix, !Presence" },
	{ P "  rules:\n  - - - principals: [{Prefix: [a]}]\n",
	  "LOCAL_XDS:7: policies[0].rules[0][0][0].principals[0]: !Prefix needs a text" },
	{ P "  rules:\n  - - - namespaces: [{Suffix: ~}]\n",
	  "LOCAL_XDS:7: policies[0].rules[0][0][0].namespaces[0]: !Suffix needs a text" },
	{ P "  rules:\n  - - - destinationPorts: [80, 70000]\n",
	  "LOCAL_XDS:7: policies[0].rules[0][0][0].destinationPorts: [1] is no port" },
	{ P "  rules:\n  - - destinationPorts: [80]\n",
	  "LOCAL_XDS:7: policies[0].rules[0][0]: has to be a list, not a mapping" },
	{ "workloads:\n- uid: \"\"\n  namespace: n\n  workloadIps: []\n",
	  "LOCAL_XDS:2: workloads[0]: uid: empty" },
	{ "a: [\n", "LOCAL_XDS:" },
};

TEST(mistakes)
{
	char err[512];
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(bad); i++) {
		struct amb_state *st = mesh_state("");

		CASE(bad[i].text);
		CHECK(amb_local_xds_load(st, NULL, bad[i].text, err, sizeof(err)) < 0);
		if (strncmp(err, bad[i].error, strlen(bad[i].error)))
			CHECK_STR(err, bad[i].error);
		CHECK_EQ(amb_state_count_workloads(st), 0);
		amb_state_destroy(st);
	}
}

TEST(files)
{
	struct amb_state *st = mesh_state("");
	char path[] = "/tmp/local_xds.XXXXXX", err[512], want[128];
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, whole, sizeof(whole) - 1), sizeof(whole) - 1);
	CHECK_EQ(amb_local_xds_load(st, path, NULL, err, sizeof(err)), 0);
	CHECK_EQ(amb_state_count_workloads(st), 2);
	CHECK_EQ(ftruncate(fd, 20), 0);
	CHECK(amb_local_xds_load(st, path, NULL, err, sizeof(err)) < 0);
	snprintf(want, sizeof(want), "%s:2: ", path);
	CHECK(!strncmp(err, want, strlen(want)));
	close(fd);
	unlink(path);
	CHECK_EQ(amb_local_xds_load(st, path, NULL, err, sizeof(err)), -ENOENT);
	amb_state_destroy(st);
}

int main(void)
{
	int rc;

	urcu_memb_register_thread();
	rc = harness_run();
	urcu_memb_unregister_thread();
	return rc;
}
