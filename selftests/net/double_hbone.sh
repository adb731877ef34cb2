#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A service whose pods are on another network: a tunnel to the gateway and in it one to the pod.
#
#   client (a) ==outer== gateway (b, Python, relays) --inner TLS--> server (b, network far)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/mesh.sh
. "$LIB_DIR/mesh.sh"

need_peers
need_agent
need nginx
nodes a b
pod a client
pod b server
pod b gateway
mesh_defaults
pod_manifest client
pod_manifest gateway demo gateway \
	"app: gateway, networking.istio.io/tunnel: http, istio.io/dataplane-mode: none"
pod_manifest server
http_server server 80 hello
far_network "{port: 8000, targetPort: 80}" "{number: 8000, name: http, protocol: TCP, targetPort: 80}"
cp "$MANIFESTS"/{00-namespace,pod-server}.yaml "$TMP/far"
cp "$MANIFESTS"/{00-namespace,pod-client}.yaml "$TMP/near"
MANIFESTS=$TMP/near agent_start a
MANIFESTS=$TMP/far agent_start b
agent_ready a b
wait_enrolled client
wait_enrolled server
hbone_server gateway --id $SPIFFE/gateway --backend "${P4[server]}:15008"
check "the page arrives through both" busywait fetches client http://10.96.0.1:8000/
asked() { peer_log gateway | jq -rs "map(select(.authority))[0].$1"; }
is "the gateway is asked for the service by name" "$(asked authority)" \
	web.demo.svc.cluster.local:8000
is "by the client's identity" "$(asked peer)" $SPIFFE/client
is "without a header that would mark it as a gateway" "$(asked 'headers["x-istio-source"]')" null
check "the pod's agent knows the client by the inner tunnel" metric_at_least 1 b \
	istio_tcp_connections_opened_total reporter=destination source_principal=$SPIFFE/client
check "node a knows the pod by its answer" metric_at_least 1 a istio_tcp_connections_opened_total \
	reporter=source destination_service=web.demo.svc.cluster.local destination_workload=server \
	destination_workload_namespace=demo
sed -i "s|$SPIFFE/server|$SPIFFE/other|; s/serviceAccount: server/serviceAccount: other/" \
	"$TMP/near/service.yaml"
check "a pod of another identity at the far end is refused" \
	busywait refused client http://10.96.0.1:8000/
finish
