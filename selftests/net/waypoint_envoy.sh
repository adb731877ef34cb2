#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A real Envoy as waypoint: what uses it goes through it, from whichever node, is routed by it, and
# reaches the pods with its identity; each hop knows the one before. The waypoints and who uses
# them come from manifests.
#
#   client, other (a) ==CONNECT 10.96.0.1:80==> waypoint (b, Envoy) ==CONNECT pod:80==> one (b)
#                                               canary (a, Envoy)                  \==> two (a)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/envoy.sh
. "$LIB_DIR/envoy.sh"

need_envoy
need_agent
need nginx
nodes a b
for p in client other two canary; do pod a $p; done
for p in one solo shop waypoint near; do pod b $p; done
mesh_defaults
manifest 00-team <<-YAML
	apiVersion: v1
	kind: Namespace
	metadata: {name: team, labels: {istio.io/dataplane-mode: ambient}}
YAML
for p in client other near; do pod_manifest $p; done
for p in one two; do pod_manifest $p demo $p "app: web"; done
pod_manifest solo demo solo "app: solo, istio.io/use-waypoint: waypoint"
pod_manifest shop team
for p in waypoint canary; do
	pod_manifest $p demo $p \
		"app: $p, networking.istio.io/tunnel: http, istio.io/dataplane-mode: none"
done
service_manifest waypoint 10.96.0.15 "app: waypoint" "{name: mesh, port: 15008}"
service_manifest canary 10.96.0.16 "app: canary" "{name: mesh, port: 15008}"
# gateway NAME ALLOWED-NAMESPACES
gateway() {
	manifest "gateway-$1" <<-YAML
		apiVersion: gateway.networking.k8s.io/v1
		kind: Gateway
		metadata: {name: $1, namespace: demo, labels: {istio.io/waypoint-for: all}}
		spec:
		  gatewayClassName: istio-waypoint
		  listeners:
		  - {name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: $2}}}
	YAML
}
gateway waypoint Same
gateway canary Same
# used_service NAME NAMESPACE VIPS SELECTOR PORTS LABELS [ANNOTATIONS]: one that uses a waypoint.
used_service() {
	service_manifest "$1" "$3" "$4" "$5" "$2"
	sed -i "s|^  name: $1\$|&\n  labels: {$6}\n  annotations: {${7:-}}|" "$MANIFESTS/service-$1.yaml"
}
used_service web demo 10.96.0.1,fd96::1 "app: web" "{port: 80}" "istio.io/use-waypoint: waypoint"
used_service echo demo 10.96.0.2 "app: web" "{name: echo, port: 9000}, {name: sink, port: 9001}" \
	"istio.io/use-waypoint: waypoint"
used_service shop team 10.96.0.3 "app: shop" "{port: 80}" \
	"istio.io/use-waypoint: waypoint, istio.io/use-waypoint-namespace: demo"
for p in one two solo shop; do http_server $p 80; done
mkdir "$TMP/http-two-80/html/v2"
echo two-v2 >"$TMP/http-two-80/html/v2/index.html"
traffic_server one 9000 32
SECRETS=$TMP/secrets/sds
agent_start a --sds-server "$SECRETS" --sds-uid $ENVOY_UID
agent_start b
agent_ready a b
for p in client other near one two solo shop; do wait_enrolled $p; done

ONE=${P4[one]}:80 TWO=${P4[two]}:80
# A header, a path, and the rest.
WEB="\"rules\": [{\"header\": [\"x-version\", \"2\"], \"to\": [\"$TWO\"]},
	{\"prefix\": \"/new/\", \"rewrite\": \"/v2/\", \"to\": [\"$TWO\"]}, {\"to\": [\"$ONE\"]}]}"
services=()
for p in 9000 9001; do
	services+=(--service "{\"at\": \"10.96.0.2:$p\", \"tcp\": true, \"rules\": [{\"to\": [\"${P4[one]}:$p\"]}]}")
done
waypoint_start() {
	envoy "$@" --waypoint --service "{\"at\": \"10.96.0.1:80\", $WEB" \
		--service "{\"at\": \"[fd96::1]:80\", $WEB" "${services[@]}" \
		--service "{\"at\": \"10.96.0.3:80\", \"rules\": [{\"to\": [\"${P4[shop]}:80\"]}]}" \
		--service "{\"at\": \"${P4[solo]}:80\", \"rules\": [{\"to\": [\"${P4[solo]}:80\"]}]}"
}
waypoint_start waypoint
WEB_URL=http://10.96.0.1

is "a request is routed by the waypoint" "$(fetch client $WEB_URL/)" one
is "by a header to another pod, on the caller's node" \
	"$(pod_exec client curl -s -m 20 -H 'x-version: 2' $WEB_URL/)" two
is "by its path, which is rewritten" "$(fetch client $WEB_URL/new/)" two-v2
is "by IPv6 as well" "$(pod_exec client curl -s -m 20 -H 'x-version: 2' "http://[fd96::1]/")" two
is "from the waypoint's own node" "$(fetch near $WEB_URL/)" one
for p in client other near; do
	is "the waypoint saw $p, and tells the pod" "$(fetch $p $WEB_URL/heard)" $SPIFFE/$p
done
check "it was asked for the service's address" wait_envoy waypoint connect_terminate \
	".authority == \"10.96.0.1:80\" and .peer == \"$SPIFFE/client\" and .status == 200"
check "or its other one" wait_envoy waypoint connect_terminate ".authority == \"[fd96::1]:80\""
is "the pod sees the waypoint's address" "$(fetch client $WEB_URL/from)" "${P4[waypoint]}"
for n in a b; do
	check "node $n's agent saw the waypoint's identity" busywait metric_at_least 1 $n \
		istio_tcp_connections_opened_total reporter=destination \
		source_principal=$SPIFFE/waypoint source_workload=waypoint
done
check "node a's knew whom it went to" busywait metric_at_least 1 a \
	istio_tcp_connections_opened_total reporter=source source_workload=client \
	destination_principal=$SPIFFE/waypoint destination_service=web.demo.svc.cluster.local
pod_exec client "$TRAFFIC" rr -t 4 -s 1 10.96.0.2 >"$TMP/rr"
is "bytes without HTTP go through it" "$(jq .errors "$TMP/rr")" 0
pod_exec client "$TRAFFIC" bulk -t 2 -s 1 10.96.0.2 >"$TMP/bulk"
is "many too" "$(jq .errors "$TMP/bulk")" 0
check "it asks the pods by their own addresses" wait_envoy waypoint connect_originate \
	".local == \"${P4[one]}:9000\" and .to == \"${P4[one]}:15008\" and .server == \"$SPIFFE/one\""
check "and carries the bytes" wait_envoy waypoint 'inbound-vip|10.96.0.2:9001' '.received > 1000000'

# Past it: by the pod's own address.
is "straight, a pod answers" "$(fetch client "http://$ONE/from")" "${P4[client]}"
policy only-waypoint ALLOW "app: web" "$(from_principal cluster.local/ns/demo/sa/waypoint)"
check "a policy that lets only the waypoint in denies that" busywait refused client "http://$ONE/"
check "and on the caller's node" busywait refused client "http://$TWO/"
is "through it, nothing has changed" "$(fetch client $WEB_URL/)" one
is "to either" "$(pod_exec client curl -s -m 20 -H 'x-version: 2' $WEB_URL/)" two
manifest_remove policy-only-waypoint

is "a pod's own waypoint is passed by who calls the pod" "$(fetch client "http://${P4[solo]}/heard")" \
	$SPIFFE/client
check "which asks it for the pod's address" wait_envoy waypoint connect_terminate \
	".authority == \"${P4[solo]}:80\" and .peer == \"$SPIFFE/client\""
is "and the pod sees it" "$(fetch client "http://${P4[solo]}/from")" "${P4[waypoint]}"

is "a waypoint that allows its own namespace only is not used by another's" \
	"$(fetch client http://10.96.0.3/from)" "${P4[client]}"
gateway waypoint All
by_waypoint() { [ "$(fetch client http://10.96.0.3/from)" = "${P4[waypoint]}" ]; }
check "one that allows all is" busywait by_waypoint
is "and tells it the client" "$(fetch client http://10.96.0.3/heard)" $SPIFFE/client

# Two waypoints by weight, one of them with its certificate from the agent of its node.
waypoint_start canary --sds "$SECRETS"
canary() {
	used_service web demo 10.96.0.1,fd96::1 "app: web" "{port: 80}" \
		"istio.io/use-waypoint: waypoint, istio.io/use-waypoint-canary: canary" \
		"istio.io/use-waypoint-canary-weight: \"$1\""
}
# Which waypoints a number of requests came by.
ways() { for _ in $(seq "$1"); do fetch client $WEB_URL/from; done | sort -u | paste -sd' '; }
both=$(printf '%s\n' "${P4[waypoint]}" "${P4[canary]}" | sort | paste -sd' ')
all_by() { [ "$(ways 8)" = "$1" ]; }
canary 50
some_by_both() { [ "$(ways 8)" = "$both" ]; }
check "half of it goes through the canary" busywait some_by_both
canary 100
check "all of it" busywait all_by "${P4[canary]}"
canary 0
check "none of it" busywait all_by "${P4[waypoint]}"

envoy_stop waypoint
is "without the waypoint nothing goes past it" "$(fetch client $WEB_URL/)" ""
waypoint_start waypoint
is "the next one is used" "$(fetch client $WEB_URL/)" one
finish
