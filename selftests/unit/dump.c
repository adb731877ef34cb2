// SPDX-License-Identifier: GPL-2.0-or-later
/* config_dump: the keys and spellings that istioctl reads; pieces; ten thousand workloads. */
#include "admin/dump.h"
#include "admin/shape.h"
#include "base/loop.h"
#include "base/util.h"
#include "policies.h"
#include "proxy/creds.h"
#include "proxy/proxy.h"

#include <jansson.h>
#include <pthread.h>

static struct amb_admin_ops ops;

static void each_pod(void *ctx, amb_admin_pod_fn *fn, void *arg)
{
	const struct amb_admin_pod p = { "c//Pod/ns/a", "ns", "a", "sa-a", "", true, "up", "" };

	(void)ctx;
	fn(arg, &p);
}

static void each_waiting_pod(void *ctx, amb_admin_pod_fn *fn, void *arg)
{
	const struct amb_admin_pod p = { "c//Pod/ns/b", "ns", "b", "", "", false, "", "no netns" };

	(void)ctx;
	fn(arg, &p);
}

static json_t *config(void *ctx)
{
	(void)ctx;
	return json_pack("{s:i}", "numWorkerThreads", 2);
}

static void start(void)
{
	ops = (struct amb_admin_ops){
		.state = mesh_state("net1"),
		.version = "1.2.3",
		.each_pod = each_pod,
		.config = config,
	};
	CHECK(ops.state);
}

static void stop(void)
{
	amb_state_destroy((struct amb_state *)ops.state);
	mesh_free();
}

/* Reads a dump in pieces of @piece bytes; a new reference. */
static json_t *dump(unsigned int sections, size_t piece)
{
	struct amb_dump *d = amb_dump_create(&ops, sections, NULL, NULL);
	size_t len = 0, cap = 1 << 20;
	char *text = malloc(cap);
	json_t *o;
	ssize_t n;

	CHECK(d && text);
	CHECK(amb_dump_is_ready(d));
	while ((n = amb_dump_read(d, text + len, piece)) > 0) {
		len += n;
		if (cap - len < piece)
			text = realloc(text, cap *= 2);
	}
	CHECK_EQ(n, 0);
	amb_dump_destroy(d);
	o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	free(text);
	CHECK(o);
	return o;
}

/* Compares with expected JSON, in which ' stands for ". Takes over @got. */
static void expect(json_t *got, const char *want)
{
	char *text = strdup(want), *p, *have;
	json_t *w;
	bool same;

	for (p = text; *p; p++) {
		if (*p == '\'')
			*p = '"';
	}
	w = json_loads(text, 0, NULL);
	CHECK(w);
	same = json_equal(got, w);
	if (!same) {
		have = json_dumps(got, JSON_COMPACT);
		printf("# got %s\n", have);
		free(have);
	}
	json_decref(w);
	json_decref(got);
	free(text);
	CHECK(same);
}

static json_t *first(json_t *dumped, const char *key)
{
	json_t *o = json_incref(json_array_get(json_object_get(dumped, key), 0));

	json_decref(dumped);
	return o;
}

TEST(workload)
{
	start();
	mesh_put_workload((struct amb_state *)ops.state,
			  (struct wl){ .uid = "c//Pod/ns/a",
				       .name = "a",
				       .sa = "sa-a",
				       .addrs = "10.0.0.1 fd00::1",
				       .network = "net1",
				       .node = "n1",
				       .cluster = "c",
				       .region = "r",
				       .zone = "z",
				       .subzone = "sz",
				       .waypoint = "ns/wp.ns:15008",
				       .gateway = "net2|10.9.9.9:15009",
				       .services = "ns/svc=80:8080",
				       .policies = "ns/p1 ns/p2",
				       .canonical = "app",
				       .revision = "v2",
				       .owner = "a-owner",
				       .hbone = 1,
				       .native = 1,
				       .unhealthy = 1,
				       .host_network = 1,
				       .app_port = 9000,
				       .app_proxy = 1,
				       .type = 2,
				       .capacity = 3 });
	expect(first(dump(AMB_DUMP_WORKLOADS, 7), "workloads"),
	       "{'workloadIps':['10.0.0.1','fd00::1'],"
	       "'waypoint':{'destination':'ns/wp.ns','hboneMtlsPort':15008},"
	       "'networkGateway':{'destination':'net2/10.9.9.9','hboneMtlsPort':15009},"
	       "'protocol':'HBONE','networkMode':'HostNetwork',"
	       "'applicationTunnel':{'protocol':'PROXY','port':9000},"
	       "'uid':'c//Pod/ns/a','name':'a','namespace':'ns','trustDomain':'cluster.local',"
	       "'serviceAccount':'sa-a','network':'net1','workloadName':'a-owner',"
	       "'workloadType':'pod','canonicalName':'app','canonicalRevision':'v2',"
	       "'hostname':'','node':'n1','nativeTunnel':true,"
	       "'authorizationPolicies':['ns/p1','ns/p2'],'services':['ns/svc'],"
	       "'status':'Unhealthy','clusterId':'c',"
	       "'locality':{'region':'r','zone':'z','subzone':'sz'},'capacity':3}");
	stop();
}

TEST(plain_workload_says_little)
{
	json_t *o;

	start();
	mesh_put_workload((struct amb_state *)ops.state,
			  (struct wl){ .uid = "u", .addrs = "10.0.0.1" });
	o = first(dump(AMB_DUMP_WORKLOADS, 4096), "workloads");
	CHECK_STR(json_string_value(json_object_get(o, "protocol")), "TCP");
	CHECK_STR(json_string_value(json_object_get(o, "status")), "Healthy");
	CHECK(!json_object_get(o, "waypoint"));
	CHECK(!json_object_get(o, "networkGateway"));
	CHECK(!json_object_get(o, "applicationTunnel"));
	CHECK(!json_object_get(o, "authorizationPolicies"));
	CHECK(!json_object_get(o, "locality"));
	json_decref(o);
	stop();
}

TEST(service)
{
	start();
	mesh_put_service((struct amb_state *)ops.state,
			 (struct sv){ .host = "svc.ns",
				      .name = "svc",
				      .vips = "net1|10.96.0.1 net1|fd00:96::1 net1|10.97.0.0/16",
				      .ports = "80:8080,443:0",
				      .waypoint = "net1|10.0.0.9:15008",
				      .sans = "spiffe://x",
				      .scopes = "network region",
				      .mode = 1,
				      .families = 3,
				      .canonical = 1 });
	mesh_put_workload((struct amb_state *)ops.state,
			  (struct wl){ .uid = "u",
				       .addrs = "10.0.0.1",
				       .network = "net1",
				       .services = "ns/svc.ns=80:8081" });
	expect(first(dump(AMB_DUMP_SERVICES, 100), "services"),
	       "{'name':'svc','namespace':'ns','hostname':'svc.ns',"
	       "'vips':['net1/10.96.0.1','net1/fd00:96::1'],"
	       "'cidrVips':[{'network':'net1','cidr':'10.97.0.0/16'}],"
	       "'ports':{'80':8080,'443':0},'subjectAltNames':['spiffe://x'],"
	       "'waypoint':{'destination':'net1/10.0.0.9','hboneMtlsPort':15008},"
	       "'loadBalancer':{'routingPreferences':['Network','Region'],'mode':'Strict',"
	       "'healthPolicy':'OnlyHealthy'},'ipFamilies':'Dual','canonical':true,"
	       "'visibility':'Public',"
	       "'endpoints':{'u':{'workloadUid':'u','port':{'80':8081},'status':'Healthy'}}}");
	stop();
}

TEST(weighted_waypoints)
{
	json_t *o;

	start();
	mesh_put_service((struct amb_state *)ops.state,
			 (struct sv){ .host = "s", .weighted = "n|10.0.0.9:15008*3 ns/h:0*1" });
	o = first(dump(AMB_DUMP_SERVICES, 100), "services");
	expect(json_incref(json_object_get(o, "weightedWaypoints")),
	       "[{'destination':{'destination':'n/10.0.0.9','hboneMtlsPort':15008},'weight':3},"
	       "{'destination':{'destination':'ns/h','hboneMtlsPort':15008},'weight':1}]");
	json_decref(o);
	stop();
}

TEST(staged_endpoints_wait_for_their_service)
{
	start();
	mesh_put_workload(
		(struct amb_state *)ops.state,
		(struct wl){ .uid = "u", .addrs = "10.0.0.1", .services = "ns/later=80:8081" });
	expect(dump(AMB_DUMP_STAGED, 100),
	       "{'stagedServices':{'ns/later':"
	       "{'u':{'workloadUid':'u','port':{'80':8081},'status':'Healthy'}}}}");
	stop();
}

TEST(policy)
{
	start();
	mesh_put_policy((struct amb_state *)ops.state,
			mesh_policy("ns", "p", 2, 1, false,
				    "ns=a+b*;!port=80,sa=x/y & src=10.0.0.0/8 | id=*"));
	expect(first(dump(AMB_DUMP_POLICIES, 100), "policies"),
	       "{'name':'p','namespace':'ns','scope':'WorkloadSelector','action':'Deny',"
	       "'rules':[[[{'namespaces':[{'Exact':'a'},{'Prefix':'b'}],"
	       "'notDestinationPorts':[80]},"
	       "{'serviceAccounts':[{'namespace':'x','serviceAccount':'y'}]}],"
	       "[{'sourceIps':['10.0.0.0/8']}]],"
	       "[[{'principals':[{'Presence':[]}]}]]],'dryRun':false}");
	stop();
}

TEST(every_field_of_a_match)
{
	start();
	mesh_put_policy((struct amb_state *)ops.state,
			mesh_policy("root", "p", 0, 0, true,
				    "ns=a+b*+*c+*;!ns=d;id=td/*;!id=*;sa=x/y;!sa=z/w;"
				    "src=10.0.0.0/8;!src=10.1.0.0/16;dst=fd00::/64;"
				    "!dst=10.2.3.4/32;port=80;!port=81+82"));
	expect(first(dump(AMB_DUMP_POLICIES, 100), "policies"),
	       "{'name':'p','namespace':'root','scope':'Global','action':'Allow','dryRun':true,"
	       "'rules':[[[{"
	       "'namespaces':[{'Exact':'a'},{'Prefix':'b'},{'Suffix':'c'},{'Presence':[]}],"
	       "'notNamespaces':[{'Exact':'d'}],'principals':[{'Prefix':'td/'}],"
	       "'notPrincipals':[{'Presence':[]}],"
	       "'serviceAccounts':[{'namespace':'x','serviceAccount':'y'}],"
	       "'notServiceAccounts':[{'namespace':'z','serviceAccount':'w'}],"
	       "'sourceIps':['10.0.0.0/8'],'notSourceIps':['10.1.0.0/16'],"
	       "'destinationIps':['fd00::/64'],'notDestinationIps':['10.2.3.4/32'],"
	       "'destinationPorts':[80],'notDestinationPorts':[81,82]}]]]}");
	stop();
}

/* The words of reference 8.2, each under its key. */
TEST(words)
{
	static const struct {
		struct wl w;
		struct sv s;
		const char *in, *key, *want; /* in: of an object within, or NULL */
	} rows[] = {
		{ { .uid = "u" }, {}, NULL, "workloadType", "deployment" },
		{ { .uid = "u", .type = 1 }, {}, NULL, "workloadType", "cronjob" },
		{ { .uid = "u", .type = 2 }, {}, NULL, "workloadType", "pod" },
		{ { .uid = "u", .type = 3 }, {}, NULL, "workloadType", "job" },
		{ { .uid = "u" }, {}, NULL, "protocol", "TCP" },
		{ { .uid = "u", .hbone = 1 }, {}, NULL, "protocol", "HBONE" },
		{ { .uid = "u" }, {}, NULL, "networkMode", "Standard" },
		{ { .uid = "u", .host_network = 1 }, {}, NULL, "networkMode", "HostNetwork" },
		{ { .uid = "u" }, {}, NULL, "status", "Healthy" },
		{ { .uid = "u", .unhealthy = 1 }, {}, NULL, "status", "Unhealthy" },
		{ { .uid = "u", .app_port = 1 }, {}, "applicationTunnel", "protocol", "NONE" },
		{ { .uid = "u", .app_proxy = 1 }, {}, "applicationTunnel", "protocol", "PROXY" },
		{ { .uid = "u", .waypoint = "n|10.0.0.1:1" },
		  {},
		  "waypoint",
		  "destination",
		  "n/10.0.0.1" },
		{ { .uid = "u", .gateway = "ns/h:1" }, {}, "networkGateway", "destination", "ns/h" },
		{ {}, { .host = "s", .families = 1 }, NULL, "ipFamilies", "IPv4" },
		{ {}, { .host = "s", .families = 2 }, NULL, "ipFamilies", "IPv6" },
		{ {}, { .host = "s", .families = 3 }, NULL, "ipFamilies", "Dual" },
		{ {}, { .host = "s" }, NULL, "visibility", "Public" },
		{ {}, { .host = "s", .visibility = 1 }, NULL, "visibility", "Namespace" },
		{ {}, { .host = "s", .scopes = "node" }, "loadBalancer", "mode", "Standard" },
		{ {}, { .host = "s", .mode = 1 }, "loadBalancer", "mode", "Strict" },
		{ {}, { .host = "s", .mode = 2 }, "loadBalancer", "mode", "Failover" },
		{ {}, { .host = "s", .mode = 3 }, "loadBalancer", "mode", "Passthrough" },
		{ {}, { .host = "s", .mode = 1 }, "loadBalancer", "healthPolicy", "OnlyHealthy" },
		{ {}, { .host = "s", .allow_all = 1 }, "loadBalancer", "healthPolicy", "AllowAll" },
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		struct amb_state *st;
		json_t *o, *at;

		CASE(rows[i].want);
		start();
		st = (struct amb_state *)ops.state;
		CHECK_EQ(rows[i].w.uid ? mesh_put_workload(st, rows[i].w) :
					 mesh_put_service(st, rows[i].s),
			 0);
		o = rows[i].w.uid ? first(dump(AMB_DUMP_WORKLOADS, 100), "workloads") :
				    first(dump(AMB_DUMP_SERVICES, 100), "services");
		at = rows[i].in ? json_object_get(o, rows[i].in) : o;
		CHECK_STR(json_string_value(json_object_get(at, rows[i].key)), rows[i].want);
		json_decref(o);
		stop();
	}
}

TEST(every_preference)
{
	json_t *o;

	start();
	mesh_put_service((struct amb_state *)ops.state,
			 (struct sv){ .host = "s",
				      .scopes = "region zone subzone node cluster network",
				      .mode = 2 });
	o = first(dump(AMB_DUMP_SERVICES, 100), "services");
	expect(json_incref(
		       json_object_get(json_object_get(o, "loadBalancer"), "routingPreferences")),
	       "['Region','Zone','Subzone','Node','Cluster','Network']");
	json_decref(o);
	stop();
}

TEST(whole)
{
	start();
	expect(dump(AMB_DUMP_ALL, 1000),
	       "{'workloads':[],'services':[],'policies':[],'stagedServices':{},"
	       "'staticConfig':{},'version':{'version':'1.2.3','istioVersion':'1.2.3',"
	       "'cryptoProvider':'wolfssl'},'config':{'numWorkerThreads':2},'certificates':[],"
	       "'workloadState':{'c//Pod/ns/a':{'state':'Up',"
	       "'connections':{'inbound':[],'outbound':[]},"
	       "'info':{'name':'a','namespace':'ns','trustDomain':'','serviceAccount':'sa-a'}}}}");
	stop();
}

TEST(a_pod_that_waits)
{
	start();
	ops.each_pod = each_waiting_pod;
	expect(dump(AMB_DUMP_PODS, 100),
	       "{'workloadState':{'c//Pod/ns/b':{'state':'Pending',"
	       "'connections':{'inbound':[],'outbound':[]},"
	       "'info':{'name':'b','namespace':'ns','trustDomain':'','serviceAccount':''}}}}");
	stop();
}

TEST(connections)
{
	struct amb_proxy_conn c = {
		.pod_uid = "c//Pod/ns/a",
		.direction = AMB_INBOUND,
		.way = AMB_WAY_TUNNEL,
		.protocol = AMB_PROTO_DOUBLE_HBONE,
		.src_identity = "spiffe://cluster.local/ns/ns/sa/b",
		.dst_identity = "",
		.src_name = "ns/b\xff",
		.dst_name = "ns/a",
		.policy = "ns/p",
		.bytes_to_dst = 5,
		.bytes_to_src = 6,
		.age_ns = 7900000,
	};

	CHECK(!amb_endpoint_parse("10.0.0.2:1000", &c.src));
	CHECK(!amb_endpoint_parse("[fd00::1]:80", &c.original_dst));
	CHECK(!amb_endpoint_parse("10.0.0.1:8080", &c.actual_dst));
	expect(amb_shape_connection(&c), "{'src':'10.0.0.2:1000','originalDst':'[fd00::1]:80',"
					 "'actualDst':'10.0.0.1:8080','protocol':'DOUBLEHBONE'}");
	expect(amb_shape_connection_full(&c),
	       "{'src':'10.0.0.2:1000','originalDst':'[fd00::1]:80',"
	       "'actualDst':'10.0.0.1:8080','protocol':'DOUBLEHBONE','pod':'c//Pod/ns/a',"
	       "'direction':'inbound','way':'tunnel',"
	       "'srcIdentity':'spiffe://cluster.local/ns/ns/sa/b','dstIdentity':'',"
	       "'srcName':'ns/b?','dstName':'ns/a','policy':'ns/p','bytesToDst':5,"
	       "'bytesToSrc':6,'ageMs':7}");
}

TEST(protocols_of_connections)
{
	static const struct {
		enum amb_protocol protocol;
		const char *want;
	} rows[] = {
		{ AMB_PROTO_TCP, "TCP" },
		{ AMB_PROTO_HBONE, "HBONE" },
		{ AMB_PROTO_DOUBLE_HBONE, "DOUBLEHBONE" },
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		struct amb_proxy_conn c = { .protocol = rows[i].protocol };
		json_t *o = amb_shape_connection(&c);

		CASE(rows[i].want);
		CHECK_STR(json_string_value(json_object_get(o, "protocol")), rows[i].want);
		json_decref(o);
	}
}

/* A certificate with a serial number of 128 bits. */
static const char long_serial[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBoDCCAUagAwIBAgIRAP7cuph2VDIQ/ty6mHZUMhAwCgYIKoZIzj0EAwIwDzEN\n"
	"MAsGA1UECgwEdGVzdDAgFw0yNjExMjMxOTMzMzhaGA8yMTI2MTAzMDE5MzMzOFow\n"
	"DzENMAsGA1UECgwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABKfubjcP\n"
	"nYcu2i5vPh2G2KvKBo/a1bpdPYZxbD+R37p8k+i04a5jRkiKPxh1BlL0cs6WFrlj\n"
	"TgESSFkGFFjQJ56jgYAwfjAdBgNVHQ4EFgQUiQBs+OvX4dtuVL+n917rGQ/tby4w\n"
	"HwYDVR0jBBgwFoAUiQBs+OvX4dtuVL+n917rGQ/tby4wDwYDVR0TAQH/BAUwAwEB\n"
	"/zArBgNVHREEJDAihiBzcGlmZmU6Ly9jbHVzdGVyLmxvY2FsL25zL2Evc2EvYjAK\n"
	"BggqhkjOPQQDAgNIADBFAiBHF0ltfSXCNDkFXZT7/bqq4yEkGPdsdX0vUCwzJtZ/\n"
	"BwIhAJXUI3pz2tNBQ5tLz8bc99YwzRu9VBUsyydrLjd38V8w\n"
	"-----END CERTIFICATE-----\n";

TEST(certificate)
{
	struct amb_identity *id = amb_identity_intern("cluster.local", "a", "b");
	struct amb_cred_info info = {
		.id = id,
		.state = "Available",
		.chain_pem = long_serial,
		.roots_pem = "nonsense",
	};
	json_t *o = amb_shape_certificate(&info),
	       *c = json_array_get(json_object_get(o, "certChain"), 0);

	CHECK_STR(json_string_value(json_object_get(o, "identity")),
		  "spiffe://cluster.local/ns/a/sa/b");
	CHECK_STR(json_string_value(json_object_get(o, "state")), "Available");
	CHECK_EQ(json_array_size(json_object_get(o, "certChain")), 1);
	CHECK_EQ(json_array_size(json_object_get(o, "rootCerts")), 0);
	CHECK_STR(json_string_value(json_object_get(c, "serialNumber")),
		  "338770000845734292534325025077361652240");
	CHECK_STR(json_string_value(json_object_get(c, "validFrom")), "2026-11-23T19:33:38Z");
	CHECK_STR(json_string_value(json_object_get(c, "expirationTime")), "2126-10-30T19:33:38Z");
	/* Base64 of the PEM text: "-----BEGIN CERT" */
	CHECK(!strncmp(json_string_value(json_object_get(c, "pem")), "LS0tLS1CRUdJTiBDRVJU", 20));
	json_decref(o);
	info.chain_pem = NULL;
	info.state = "Initializing";
	o = amb_shape_certificate(&info);
	CHECK_EQ(json_array_size(json_object_get(o, "certChain")), 0);
	json_decref(o);
	amb_identity_put(id);
}

#define MANY 10000

TEST(many_in_bounded_pieces)
{
	struct amb_state *st;
	struct wl *w;
	char name[32];
	json_t *o;
	int i;

	start();
	st = (struct amb_state *)ops.state;
	for (i = 0; i < MANY; i++) {
		char addr[32];

		snprintf(name, sizeof(name), "w%d", i);
		snprintf(addr, sizeof(addr), "10.1.%d.%d", i / 250, i % 250);
		w = mesh_alloc(sizeof(*w));
		*w = (struct wl){ .uid = name, .addrs = addr };
		CHECK_EQ(mesh_put_workload(st, *w), 0);
		mesh_free();
	}
	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		CHECK_EQ(mesh_put_policy(st, mesh_policy("ns", name, 1, 0, false, "port=80")), 0);
		mesh_free();
	}
	o = dump(AMB_DUMP_WORKLOADS | AMB_DUMP_POLICIES, 16384);
	CHECK_EQ(json_array_size(json_object_get(o, "workloads")), MANY);
	CHECK_EQ(json_array_size(json_object_get(o, "policies")), 1000);
	json_decref(o);
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
