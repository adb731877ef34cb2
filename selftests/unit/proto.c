// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Numbers on the wire: the tables of the reference (1.2, 1.7, 1.8, 2.1, 3.2). Peers of our own
 * tests are made from the same .proto files, so they would not see a wrong one.
 */
#include "harness.h"

#include "authorization.pb-c.h"
#include "discovery.pb-c.h"
#include "istioca.pb-c.h"
#include "workload.pb-c.h"
#include "zds.pb-c.h"

#include "base/util.h"

#define M(name) &name##__descriptor

static const struct {
	const ProtobufCMessageDescriptor *desc;
	const char *fields;
} messages[] = {
	/* 1.2 */
	{ M(discovery__delta_discovery_request),
	  "node=1 type_url=2 resource_names_subscribe=3 resource_names_unsubscribe=4 "
	  "initial_resource_versions=5 response_nonce=6 error_detail=7" },
	{ M(discovery__delta_discovery_response),
	  "system_version_info=1 resources=2 type_url=4 nonce=5 removed_resources=6" },
	{ M(discovery__resource), "version=1 resource=2 name=3 aliases=4" },
	{ M(discovery__node), "id=1 cluster=2 metadata=3" },
	{ M(discovery__status), "code=1 message=2" },
	{ M(google__protobuf__any), "type_url=1 value=2" },
	{ M(google__protobuf__struct), "fields=1" },
	{ M(google__protobuf__value),
	  "null_value=1 number_value=2 string_value=3 bool_value=4 struct_value=5 list_value=6" },
	/* 1.7 */
	{ M(istio__workload__address), "workload=1 service=2" },
	{ M(istio__workload__workload),
	  "name=1 namespace=2 addresses=3 network=4 tunnel_protocol=5 trust_domain=6 "
	  "service_account=7 waypoint=8 node=9 canonical_name=10 canonical_revision=11 "
	  "workload_type=12 workload_name=13 native_tunnel=14 authorization_policies=16 status=17 "
	  "cluster_id=18 network_gateway=19 uid=20 hostname=21 services=22 application_tunnel=23 "
	  "locality=24 network_mode=25 extensions=26 capacity=27" },
	{ M(istio__workload__service),
	  "name=1 namespace=2 hostname=3 addresses=4 ports=5 subject_alt_names=6 waypoint=7 "
	  "load_balancing=8 ip_families=9 extensions=10 canonical=11 ingress_use_waypoint=12 "
	  "weighted_waypoints=13 visibility=14" },
	{ M(istio__workload__application_tunnel), "protocol=1 port=2" },
	{ M(istio__workload__locality), "region=1 zone=2 subzone=3" },
	{ M(istio__workload__weighted_waypoint), "destination=1 weight=2" },
	{ M(istio__workload__network_address), "network=1 address=2 length=3" },
	{ M(istio__workload__gateway_address), "hostname=1 address=2 hbone_mtls_port=3" },
	{ M(istio__workload__namespaced_hostname), "namespace=1 hostname=2" },
	{ M(istio__workload__port_list), "ports=1" },
	{ M(istio__workload__port), "service_port=1 target_port=2 app_protocol=3" },
	{ M(istio__workload__load_balancing), "routing_preference=1 mode=2 health_policy=3" },
	{ M(istio__workload__extension), "name=1 config=2" },
	/* 1.8 */
	{ M(istio__security__authorization),
	  "name=1 namespace=2 scope=3 action=4 rules=5 dry_run=6 extensions=7" },
	{ M(istio__security__rule), "clauses=1" },
	{ M(istio__security__clause), "matches=2" },
	{ M(istio__security__match),
	  "namespaces=1 not_namespaces=2 principals=3 not_principals=4 source_ips=5 "
	  "not_source_ips=6 destination_ips=7 not_destination_ips=8 destination_ports=9 "
	  "not_destination_ports=10 service_accounts=11 not_service_accounts=12 extensions=13" },
	{ M(istio__security__string_match), "exact=1 prefix=2 suffix=3 presence=4" },
	{ M(istio__security__address), "address=1 length=2" },
	{ M(istio__security__service_account_match), "namespace=1 service_account=2" },
	/* 2.1 */
	{ M(istio__v1__auth__istio_certificate_request), "csr=1 validity_duration=3 metadata=4" },
	{ M(istio__v1__auth__istio_certificate_response), "cert_chain=1" },
	/* 3.2 */
	{ M(istio__workload__zds__zds_hello), "version=1" },
	{ M(istio__workload__zds__workload_request), "add=1 del=2 snapshot_sent=3 keep=5" },
	{ M(istio__workload__zds__add_workload), "uid=1 workload_info=2" },
	{ M(istio__workload__zds__workload_info), "name=1 namespace=2 service_account=3" },
	{ M(istio__workload__zds__del_workload), "uid=2" },
	{ M(istio__workload__zds__keep_workload), "uid=1" },
	{ M(istio__workload__zds__snapshot_sent), "" },
	{ M(istio__workload__zds__workload_response), "ack=1" },
	{ M(istio__workload__zds__ack), "error=1" },
};

static const struct {
	const ProtobufCEnumDescriptor *desc;
	const char *values;
} enums[] = {
	{ M(istio__workload__tunnel_protocol), "NONE=0 HBONE=1 LEGACY_ISTIO_MTLS=2" },
	{ M(istio__workload__workload_type), "DEPLOYMENT=0 CRONJOB=1 POD=2 JOB=3" },
	{ M(istio__workload__workload_status), "HEALTHY=0 UNHEALTHY=1" },
	{ M(istio__workload__network_mode), "STANDARD=0 HOST_NETWORK=1" },
	{ M(istio__workload__application_tunnel__protocol), "NONE=0 PROXY=1" },
	{ M(istio__workload__ipfamilies), "AUTOMATIC=0 IPV4_ONLY=1 IPV6_ONLY=2 DUAL=3" },
	{ M(istio__workload__service__visibility), "PUBLIC=0 NAMESPACE=1" },
	{ M(istio__workload__port__app_protocol), "UNKNOWN=0 HTTP11=1 HTTP2=2 GRPC=3 TCP=4 TLS=5" },
	{ M(istio__workload__load_balancing__scope),
	  "UNSPECIFIED_SCOPE=0 REGION=1 ZONE=2 SUBZONE=3 NODE=4 CLUSTER=5 NETWORK=6" },
	{ M(istio__workload__load_balancing__mode),
	  "UNSPECIFIED_MODE=0 STRICT=1 FAILOVER=2 PASSTHROUGH=3" },
	{ M(istio__workload__load_balancing__health_policy), "ONLY_HEALTHY=0 ALLOW_ALL=1" },
	{ M(istio__security__scope), "GLOBAL=0 NAMESPACE=1 WORKLOAD_SELECTOR=2" },
	{ M(istio__security__action), "ALLOW=0 DENY=1" },
	{ M(istio__workload__zds__version), "NOT_USED=0 V1=1" },
};

static int field(const void *desc, const char *name)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(desc, name);

	return f ? (int)f->id : -1;
}

static int value(const void *desc, const char *name)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value_by_name(desc, name);

	return v ? v->value : -1;
}

/* Every "name=number" of @list is so in @desc; returns how many there are. */
static unsigned int check(const void *desc, const char *list,
			  int (*number)(const void *desc, const char *name))
{
	char text[1024], *save = NULL, *name, *eq;
	unsigned int n = 0;

	CHECK(strlen(list) < sizeof(text));
	strcpy(text, list);
	for (name = strtok_r(text, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
		eq = strchr(name, '=');
		*eq = 0;
		CASE(name);
		CHECK_EQ(number(desc, name), atoi(eq + 1));
		n++;
	}
	return n;
}

TEST(fields)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(messages); i++) {
		unsigned int n = check(messages[i].desc, messages[i].fields, field);

		CASE(messages[i].desc->name);
		CHECK_EQ(messages[i].desc->n_fields, n);
	}
}

TEST(values)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(enums); i++) {
		unsigned int n = check(enums[i].desc, enums[i].values, value);

		CASE(enums[i].desc->name);
		CHECK_EQ(enums[i].desc->n_value_names, n);
	}
}

int main(void)
{
	return harness_run();
}
