#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Traffic to a service that uses a waypoint goes through it, and not past it; the waypoint
# reaches the pod with its own identity. The waypoint is a foreign one.
#
#   client (a) ==CONNECT 10.96.0.1:80==> waypoint (b, Python) ==CONNECT pod:80==> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_peers
need_agent
need nginx
nodes a b
pod a client
pod b server
pod b waypoint
mesh_defaults
pod_manifest client
pod_manifest server
pod_manifest waypoint demo waypoint \
	"app: waypoint, networking.istio.io/tunnel: http, istio.io/dataplane-mode: none"
service_manifest waypoint 10.96.0.15 "app: waypoint" "{name: mesh, port: 15008}"
service_manifest plain 10.96.0.2 "app: server" "{port: 80}"
manifest waypoint <<-YAML
	apiVersion: gateway.networking.k8s.io/v1
	kind: Gateway
	metadata: {name: waypoint, namespace: demo}
	spec:
	  gatewayClassName: istio-waypoint
	  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
	---
	apiVersion: v1
	kind: Service
	metadata:
	  name: web
	  namespace: demo
	  labels: {istio.io/use-waypoint: waypoint}
	spec:
	  clusterIP: 10.96.0.1
	  selector: {app: server}
	  ports: [{port: 80}]
YAML
http_server server 80 hello
agents_start
hbone_server waypoint --id $SPIFFE/waypoint --backend "hbone:${P4[server]}:80"
WAYPOINT_PID=$LAST_PID
check "through the waypoint the page arrives" busywait fetches client http://10.96.0.1/
asked() { peer_log waypoint | jq -rs "map(select(.authority))[0].$1"; }
is "it is asked for the service's address" "$(asked authority)" 10.96.0.1:80
is "by the client's identity" "$(asked peer)" $SPIFFE/client
is "the pod sees the waypoint's address" "$(fetch client http://10.96.0.1/from)" "${P4[waypoint]}"
check "and the waypoint's identity" metric_at_least 1 b istio_tcp_connections_opened_total \
	reporter=destination source_principal=$SPIFFE/waypoint
is "a service without waypoint goes straight" "$(fetch client http://10.96.0.2/from)" \
	"${P4[client]}"
policy only-waypoint ALLOW "app: server" "$(from_principal cluster.local/ns/demo/sa/waypoint)"
check "a policy can demand the waypoint" busywait refused client http://10.96.0.2/
is "who comes through it may" "$(fetch client http://10.96.0.1/)" hello
kill_app "$WAYPOINT_PID"
is "without the waypoint nothing goes past it" "$(fetch client http://10.96.0.1/)" ""
pod_manifest waypoint demo waypoint \
	"app: other, networking.istio.io/tunnel: http, istio.io/dataplane-mode: none"
no_pod() {
	config_dump a | jq -e '.services[] | select(.name == "waypoint").endpoints | length == 0'
}
check "the waypoint's pod is one no longer" busywait no_pod
is "nor when it has no pod" "$(fetch client http://10.96.0.1/)" ""
finish
