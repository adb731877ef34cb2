#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Delta ADS with a foreign control plane: what is told at first, ACK and NACK as the server sees
# them, updates and removals, and traffic by what was learnt.
#
#   client (a) --> 10.96.0.1 --> server (b)          istiod (pod on a, outside of the mesh)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/cluster.sh
. "$LIB_DIR/cluster.sh"

need_plane
need nginx
nodes a b
pod a client
pod b server
pod a istiod
http_server server 8080 hello
# As istiod is without further words: one RSA root for everything.
plane_root rsa
PLANE_CA=$ISTIOD/ca
plane_start
put "$(workload client)" "$(workload server "$(member web 80 8080)")" \
	"$(vip_service web 10.96.0.1 80 8080)"
cluster_agents_start "XDS_HEADER_X-Test=yes" 'ISTIO_METAJSON_LABELS={"app": "ztunnel"}' \
	'PROXY_CONFIG={discoveryAddress: nowhere:1, proxyMetadata: {ISTIO_META_MESH_ID: m1}}'
check "node a knows the workload of node b" knows_workload a server
check "and the service" knows_service a web

# What the server was told.
node=$(plane_event 'select(.event == "node") | select(.metadata.NODE_NAME == "a")' | head -n 1)
is "the node's id" "$(jq -r .id <<<"$node")" \
	"ztunnel~10.9.9.9~ztunnel-a.istio-system~istio-system.svc.cluster.local"
is "metadata" "$(jq -cS .metadata <<<"$node")" "$(jq -cS . <<-JSON
	{"NAME": "ztunnel-a", "NAMESPACE": "istio-system", "INSTANCE_IPS": "10.9.9.9",
	 "NODE_NAME": "a", "CLUSTER_ID": "cluster1", "ISTIO_VERSION": "1.31.0", "MESH_ID": "m1",
	 "LABELS": {"app": "ztunnel"}}
JSON
)"
is "token, cluster and extra header" \
	"$(plane_event 'select(.event == "stream") | [.token, .cluster, .headers["x-test"]]' |
		sort -u)" '["Bearer token-1","cluster1","yes"]'
is "both types are wildcards" "$(plane_event 'select(.event == "subscribe") | .wildcard' |
	sort | uniq -c | xargs)" "4 true"
check "every answer is acknowledged, none stale" wait_plane '.event == "ack"'
is "and none refused" "$(plane_stat nacks)" 0

# Traffic.
enroll client
enroll server
is "the service is reached" "$(fetch client http://10.96.0.1/)" hello
check "with mutual TLS" metric_at_least 1 b istio_tcp_connections_opened_total \
	reporter=destination connection_security_policy=mutual_tls
like "the identity is istiod's to give" "$(certificate a client .identity)" "$SPIFFE/client"

# Updates.
put '{"policy": {"name": "deny", "namespace": "demo", "scope": "NAMESPACE", "action": "DENY",
	"rules": [{"clauses": [{"matches": [{"destinationPorts": [8080]}]}]}]}}'
check "a policy arrives" busywait knows_policy b deny
check "and is obeyed" busywait refused client http://10.96.0.1/
plane remove policy demo/deny >/dev/null
check "it goes" busywait knows_no policy b deny
check "and traffic passes" busywait fetches client http://10.96.0.1/
put "$(vip_service other 10.96.0.2 80 8080)" \
	"$(workload server "$(jq -s add <<<"$(member web 80 8080) $(member other 80 8080)")")"
check "a service comes" busywait fetches client http://10.96.0.2/
plane remove address demo/other.demo.svc.cluster.local >/dev/null
check "and goes" busywait knows_no service a other
check "not with it the pod's connections" fetches client http://10.96.0.1/

# Refusals.
from=$(plane_lines)
put "$(workload client)" '{"workload": {"uid": "bad", "name": "bad", "namespace": "demo",
	"addresses": ["AQID"], "tunnelProtocol": "HBONE"}}' \
	"$(jq '.workload.name = "better"' <<<"$(workload client "" '{"uid": "good"}')")"
check "a bad resource is refused" wait_plane '.event == "nack"' "$from"
nack=$(tail -n "+$from" "$ISTIOD/log" | jq -c 'select(.event == "nack")' | head -n 1)
like "with its name and the reason" "$(jq -r .text <<<"$nack")" '^bad: .*address'
is "the answer was not stale, the code 0" "$(jq -c '[.stale, .code]' <<<"$nack")" "[false,0]"
check "the good ones of that answer are taken" busywait knows_workload a better
check "the bad one is not" knows_no workload a bad
from=$(plane_lines)
plane raw address torn 0a05ff >/dev/null
check "one that cannot be decoded is refused" wait_plane \
	'.event == "nack" and (.text | startswith("torn: "))' "$from"
from=$(plane_lines)
plane huge big 5000000 >/dev/null
check "one that is too large is refused" wait_plane \
	'.event == "nack" and (.text | test("^big: .*larger"))' "$from"
from=$(plane_lines)
plane raw type.googleapis.com/istio.unknown.Type x 0a00 >/dev/null
check "an unknown type is acknowledged" wait_plane \
	'.event == "ack" and (.type | endswith("unknown.Type"))' "$from"
from=$(plane_lines)
plane answer '{"typeUrl": "type.googleapis.com/istio.workload.Address", "nonce": "games",
	"removedResources": ["nobody", "good", "a/b/c"]}' >/dev/null
check "a nonce of any form comes back" wait_plane '.event == "ack" and .nonce == "games"' "$from"
check "what it removes is gone" busywait knows_no workload a better
from=$(plane_lines)
plane answer "$(workload client "" '{"uid": "both", "name": "both"}' | jq '{nonce: "both",
	typeUrl: "type.googleapis.com/istio.workload.Address", removedResources: ["both"],
	resources: ([["both", .], ["one", (.workload.uid = "one" | .workload.name = "one")]] |
		map({name: .[0], version: "1", resource: (.[1] + {
			"@type": "type.googleapis.com/istio.workload.Address"})}))}')" >/dev/null
check "an answer that updates and removes the same" wait_plane \
	'.event == "ack" and .nonce == "both"' "$from"
check "has updated what it does not remove" busywait knows_workload a one
check "and removed what it updates" knows_no workload a both
# An answer that takes its time: nothing waits for it.
plane slow 5000 >/dev/null
from=$(plane_lines)
put "$(workload client "" '{"uid": "late", "name": "late"}')"
check "one that is late is not known at once" knows_no workload a late
is "traffic passes meanwhile" "$(fetch client http://10.96.0.1/)" hello
check "it is acknowledged later" wait_plane '.event == "ack"' "$from"
check "and known" busywait knows_workload a late
plane slow 0 >/dev/null
is "all of it over the two streams" "$(plane_stat open)" 2
at_least "messages are counted" "$(metric a istio_xds_message_total \
	url=type.googleapis.com/istio.workload.Address)" 3
at_least "and their bytes" "$(metric a istio_xds_message_bytes_total \
	url=type.googleapis.com/istio.workload.Address)" 300
like "status tells of the stream" "$(ctl a status --output json | jq -c .xds)" '"connected":true'
is "traffic passes" "$(fetch client http://10.96.0.1/)" hello
finish
