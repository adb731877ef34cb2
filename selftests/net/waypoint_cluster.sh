#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A real Envoy as waypoint in a cluster: who uses it, and where it is, comes by xDS as istiod says
# it; certificates of pods by CSR.
#
#   client (a) ==CONNECT 10.96.0.1:80==> waypoint (b, Envoy) ==CONNECT pod:80==> one (b), two (a)
#   istiod (a, no mesh)                  canary (b, Envoy)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/cluster.sh
. "$LIB_DIR/cluster.sh"
# shellcheck source=selftests/envoy.sh
. "$LIB_DIR/envoy.sh"

need_envoy
need_plane
need nginx
nodes a b
for p in istiod client two; do pod a $p; done
for p in one solo waypoint canary; do pod b $p; done
for p in one two solo; do http_server $p; done
plane_start

by_host() { # SERVICE
	jq -n --arg h "$1.demo.svc.cluster.local" \
		'{hostname: {namespace: "demo", hostname: $h}, hboneMtlsPort: 15008}'
}
by_address() { # ADDRESS
	jq -n --arg a "$(addr_base64 "$1")" '{address: {address: $a}, hboneMtlsPort: 15008}'
}
# service NAME VIP [EXTRA-JSON]
service() { vip_service "$1" "$2" 80 80 | jq --argjson more "${3:-{\}}" '.service += $more'; }
mesh_service() { vip_service "$1" "$2" 15008 15008; }
native() { workload "$1" "$(member "$1" 15008 15008)" '{"nativeTunnel": true}'; }
put "$(workload client)" "$(workload one "$(member web 80 80)")" \
	"$(workload two "$(member web 80 80)")" \
	"$(workload solo '{}' "{\"waypoint\": $(by_address 10.96.0.15)}")" \
	"$(native waypoint)" "$(native canary)" \
	"$(mesh_service waypoint 10.96.0.15)" "$(mesh_service canary 10.96.0.16)" \
	"$(service web 10.96.0.1 "{\"waypoint\": $(by_host waypoint)}")"
cluster_agents_start
for p in client one two solo; do enroll $p; done
WEB="{\"at\": \"10.96.0.1:80\", \"rules\": [{\"header\": [\"x-version\", \"2\"],
	\"to\": [\"${P4[two]}:80\"]}, {\"to\": [\"${P4[one]}:80\"]}]}"
for p in waypoint canary; do
	envoy $p --waypoint --service "$WEB" \
		--service "{\"at\": \"${P4[solo]}:80\", \"rules\": [{\"to\": [\"${P4[solo]}:80\"]}]}"
done

busywait knows_service a web
is "a request is routed by the waypoint" "$(fetch client http://10.96.0.1/)" one
is "by a header to another pod" \
	"$(pod_exec client curl -s -m 20 -H 'x-version: 2' http://10.96.0.1/)" two
is "it saw the client" "$(fetch client http://10.96.0.1/heard)" $SPIFFE/client
is "the pod sees the waypoint" "$(fetch client http://10.96.0.1/from)" "${P4[waypoint]}"
for n in a b; do
	check "and node $n's agent its identity" busywait metric_at_least 1 $n \
		istio_tcp_connections_opened_total reporter=destination \
		source_principal=$SPIFFE/waypoint
done
is "a pod's waypoint, by the address of a service" "$(fetch client "http://${P4[solo]}/heard")" \
	$SPIFFE/client
is "is passed" "$(fetch client "http://${P4[solo]}/from")" "${P4[waypoint]}"
# by POD URL: what the pod at the other end sees.
by() { [ "$(fetch client "$2/from")" = "${P4[$1]}" ]; }
put "$(workload solo '{}' "{\"waypoint\": $(by_address "${P4[canary]}")}")"
check "by the address of a waypoint's pod" busywait by canary "http://${P4[solo]}"
put "$(workload solo)"
check "and without one" busywait by client "http://${P4[solo]}"

jq -n '{policy: {name: "only-waypoint", namespace: "demo", scope: "NAMESPACE", action: "ALLOW",
	rules: [{clauses: [{matches: [{principals: [
		{exact: "cluster.local/ns/demo/sa/waypoint"}, {exact: "cluster.local/ns/demo/sa/canary"}]}]}]}]}}' |
	jq -s . | plane put >/dev/null
check "a policy that lets only waypoints in denies who goes past them" \
	busywait refused client "http://${P4[one]}/"
is "and nobody who goes through" "$(fetch client http://10.96.0.1/)" one

weighted() { # WAYPOINT CANARY
	service web 10.96.0.1 "$(jq -n --argjson w "$(by_host waypoint)" --argjson c "$(by_host canary)" \
		--argjson ww "$1" --argjson cw "$2" '{waypoint: $w, weightedWaypoints: [
			{destination: $w, weight: $ww}, {destination: $c, weight: $cw}]}')"
}
ways() { for _ in $(seq 8); do fetch client http://10.96.0.1/from; done | sort -u | paste -sd' '; }
all_by() { [ "$(ways)" = "$1" ]; }
put "$(weighted 1 1)"
check "by weight, half of it through the canary" busywait all_by \
	"$(printf '%s\n' "${P4[waypoint]}" "${P4[canary]}" | sort | paste -sd' ')"
put "$(weighted 0 1)"
check "all of it" busywait all_by "${P4[canary]}"
put "$(service web 10.96.0.1)"
check "a service that has no waypoint any more goes straight, which the policy denies" \
	busywait refused client http://10.96.0.1/
put "$(service web 10.96.0.1 "{\"waypoint\": $(by_host nobody)}")"
unknown() { refused client http://10.96.0.1/ && log_has a 'dst.addr=10.96.0.1:80 .*unknown waypoint'; }
check "one whose waypoint nobody knows is not reached at all" busywait unknown
finish
