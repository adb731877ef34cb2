#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A real Envoy as waypoint that leaves mutual TLS to the agent of its node (sandwich): the agent
# ends HBONE in the waypoint's pod and tells by PROXY protocol who calls whom; what Envoy then
# sends in clear the agent captures and tunnels with the waypoint's identity.
#
#   client (a) ==CONNECT 10.96.0.1:80==> agent --PROXY--> Envoy --plain--> agent ==> one (a), two (b)
#                                        '------- in pod waypoint (b) --------'
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
for p in client other one; do pod a $p; done
for p in waypoint two; do pod b $p; done
mesh_defaults
for p in client other; do pod_manifest $p; done
for p in one two; do
	pod_manifest $p demo $p "app: web"
	http_server $p
done
sandwich
agents_start
WEB="\"rules\": [{\"header\": [\"x-version\", \"2\"], \"to\": [\"${P4[two]}:80\"]},
	{\"to\": [\"${P4[one]}:80\"]}]}"
envoy waypoint --sandwich 15088 --service "{\"at\": \"10.96.0.1:80\", $WEB" \
	--service "{\"at\": \"[fd96::1]:80\", $WEB"

is "a request is routed by the waypoint" "$(fetch client http://10.96.0.1/)" one
is "by a header to another pod" \
	"$(pod_exec client curl -s -m 20 -H 'x-version: 2' http://10.96.0.1/)" two
is "by IPv6 too" "$(fetch client "http://[fd96::1]/")" one
for p in client other; do
	is "it was told $p's identity" "$(fetch $p http://10.96.0.1/heard)" $SPIFFE/$p
done
check "and address" wait_envoy waypoint 'inbound-vip|10.96.0.1:80' \
	".from[:$((${#P4[client]} + 1))] == \"${P4[client]}:\" and .local == \"10.96.0.1:80\""
is "the pod sees the waypoint's address" "$(fetch client http://10.96.0.1/from)" "${P4[waypoint]}"
check "its agent saw the waypoint's identity" busywait metric_at_least 1 a \
	istio_tcp_connections_opened_total reporter=destination \
	source_principal=$SPIFFE/waypoint destination_workload=one
policy only-waypoint ALLOW "app: web" "$(from_principal cluster.local/ns/demo/sa/waypoint)"
check "a policy that lets only the waypoint in denies who goes past it" \
	busywait refused client "http://${P4[one]}/"
is "and nobody who goes through" "$(fetch client http://10.96.0.1/)" one
is "also on the waypoint's node" \
	"$(pod_exec client curl -s -m 20 -H 'x-version: 2' http://10.96.0.1/)" two
policy not-other DENY "app: waypoint" "$(from_principal cluster.local/ns/demo/sa/other)"
check "a policy of the waypoint's is the agent's to judge" busywait refused other http://10.96.0.1/
is "and lets others in" "$(fetch client http://10.96.0.1/)" one
envoy_stop waypoint
is "without Envoy nothing goes past it" "$(fetch client http://10.96.0.1/)" ""
finish
