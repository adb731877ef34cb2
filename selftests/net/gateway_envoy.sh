#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A service whose pods are on another network, with a real Envoy as the gateway in between: it ends
# the outer tunnel and hands on what is in it, by the name of the service; to its pod, or to the
# waypoint that the service has there.
#
#   client (a) ==outer== gateway (b, Envoy) --inner TLS--> server (b, network far)
#                                           \--inner TLS--> waypoint (b, Envoy) ==> server
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/envoy.sh
. "$LIB_DIR/envoy.sh"
# shellcheck source=selftests/mesh.sh
. "$LIB_DIR/mesh.sh"

need_envoy
need_agent
need nginx
nodes a b
for p in client other; do pod a $p; done
for p in server gateway waypoint; do pod b $p; done
mesh_defaults
for p in client other server; do pod_manifest $p; done
http_server server 80 hello
traffic_server server 9000 32
far_network "{name: http, port: 8000, targetPort: 80}, {name: echo, port: 9000}, {name: sink, port: 9001}" \
	"{number: 8000, name: http, protocol: TCP, targetPort: 80}, \
	{number: 9000, name: echo, protocol: TCP}, {number: 9001, name: sink, protocol: TCP}"
cp "$MANIFESTS"/{00-namespace,pod-server}.yaml "$TMP/far"
cp "$MANIFESTS"/{00-namespace,pod-client,pod-other}.yaml "$TMP/near"
MANIFESTS=$TMP/near agent_start a
MANIFESTS=$TMP/far agent_start b
agent_ready a b
for p in client other server; do wait_enrolled $p; done
HOST=web.demo.svc.cluster.local
gateway_start() {
	local p relays=()
	for p in 8000 9000 9001; do relays+=(--relay "$HOST:$p=${P4[server]}:15008"); done
	envoy gateway "${relays[@]}" "$@"
}
gateway_start
is "the page arrives through both tunnels" "$(fetch client http://10.96.0.1:8000/)" hello
check "the gateway is asked for the service by name, by the client's identity" wait_envoy gateway \
	connect_terminate ".authority == \"$HOST:8000\" and .peer == \"$SPIFFE/client\""
check "the pod's agent knows the client by the inner tunnel" busywait metric_at_least 1 b \
	istio_tcp_connections_opened_total reporter=destination source_principal=$SPIFFE/client
check "node a's knows the pod by its answer" busywait metric_at_least 1 a \
	istio_tcp_connections_opened_total reporter=source destination_service=$HOST \
	destination_workload=server destination_workload_namespace=demo
is "another client is another identity" "$(fetch other http://10.96.0.1:8000/)" hello
check "at the gateway" wait_envoy gateway connect_terminate ".peer == \"$SPIFFE/other\""
check "and at the pod" busywait metric_at_least 1 b \
	istio_tcp_connections_opened_total reporter=destination source_principal=$SPIFFE/other
pod_exec client "$TRAFFIC" rr -t 4 -s 1 10.96.0.1 >"$TMP/rr"
is "many round trips" "$(jq .errors "$TMP/rr")" 0
pod_exec client "$TRAFFIC" bulk -t 2 -s 1 10.96.0.1 >"$TMP/bulk"
is "and many bytes" "$(jq .errors "$TMP/bulk")" 0
MANIFESTS=$TMP/far policy no-other DENY "app: server" "$(from_principal cluster.local/ns/demo/sa/other)"
check "a policy of the far pod judges the inner identity" \
	busywait refused other http://10.96.0.1:8000/
is "and lets the client in" "$(fetch client http://10.96.0.1:8000/)" hello
envoy_stop gateway
gateway_start --id $SPIFFE/somebody
is "a gateway of another identity gets nothing" "$(fetch client http://10.96.0.1:8000/)" ""
envoy_stop gateway
gateway_start
is "the right one serves again" "$(fetch client http://10.96.0.1:8000/)" hello

# A waypoint at the far end: the inner tunnel is with it.
envoy waypoint --waypoint --service \
	"{\"at\": \"$HOST:8000\", \"rules\": [{\"prefix\": \"/a/\", \"rewrite\": \"/\", \"to\": [\"${P4[server]}:80\"]}]}"
envoy_stop gateway
envoy gateway --relay "$HOST:8000=${P4[waypoint]}:15008"
is "a waypoint where a pod is expected gets nothing" "$(fetch client http://10.96.0.1:8000/a/)" ""
sed -i "s|$SPIFFE/server|$SPIFFE/waypoint|" "$TMP/near/service.yaml"
check "one that is expected is reached, and routes the request" \
	busywait fetches client http://10.96.0.1:8000/a/
is "it knows the client by the inner tunnel" "$(fetch client http://10.96.0.1:8000/a/heard)" \
	$SPIFFE/client
check "and was asked for the service by name" wait_envoy waypoint connect_terminate \
	".authority == \"$HOST:8000\" and .peer == \"$SPIFFE/client\""
is "the pod sees the waypoint" "$(fetch client http://10.96.0.1:8000/a/from)" "${P4[waypoint]}"
check "and its agent the waypoint's identity" busywait metric_at_least 1 b \
	istio_tcp_connections_opened_total reporter=destination source_principal=$SPIFFE/waypoint
sed -i "s|$SPIFFE/waypoint|$SPIFFE/wrong|; s/serviceAccount: server/serviceAccount: wrong/" \
	"$TMP/near/service.yaml"
check "nobody but who is expected at the far end is answered" \
	busywait refused client http://10.96.0.1:8000/a/
finish
