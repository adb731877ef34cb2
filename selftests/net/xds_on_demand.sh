#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# XDS_ON_DEMAND: what a connection needs is asked for when it comes, and it waits for that; what
# the control plane does not say is not reached, least of all in clear.
#
#   client (a) --> 10.96.0.1 --> server (b)    outside (a), istiod (a): not of the mesh
#          other (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/cluster.sh
. "$LIB_DIR/cluster.sh"

need_plane
need_peers
need nginx
nodes a b
pod a client
pod b server
pod b other
pod a outside
pod a istiod
http_server server 8080 hello
http_server other 8080 other
http_server outside 8080 outside
plane_start
put "$(workload client)" "$(workload server "$(member web 80 8080)")" "$(workload other)" \
	"$(vip_service web 10.96.0.1 80 8080)"
cluster_agents_start XDS_ON_DEMAND=true ISTIO_META_DNS_CAPTURE=false
enroll client
enroll server
enroll other
check "the node's own workloads are known" knows_workload a client
check "others are not" knows_no workload a server
check "nor services" knows_no service a web

like "programs capture" "$(ctl a status --output json | jq -r .capture)" ebpf
stream_a=$(plane_event 'select(.event == "node" and .metadata.NODE_NAME == "a") | .stream' |
	tail -n 1)

like "why says what it would ask for" "$(ctl a why demo/client 10.96.0.1 80)" \
	'but first +the control plane is asked for /10.96.0.1'
is "a service is asked for, and reached" "$(fetch client http://10.96.0.1/)" hello
check "it is known now" knows_service a web
check "and who is behind it" knows_workload a server
check "by its address" plane_told '.event == "more" and (.names | index("/10.96.0.1"))'
check "with mutual TLS" metric_at_least 1 b istio_tcp_connections_opened_total \
	reporter=destination connection_security_policy=mutual_tls source_workload=client
check "the other side asked who is calling" plane_told \
	".event == \"more\" and (.names | index(\"/${P4[client]}\"))"
is "a pod by its address" "$(fetch client "http://${P4[other]}:8080/")" other
check "with mutual TLS too" metric_at_least 1 a istio_tcp_connections_opened_total \
	reporter=source connection_security_policy=mutual_tls destination_workload=other
is "what is not of the mesh is asked for, and passes" \
	"$(fetch client "http://${P4[outside]}:8080/")" outside
is "and again" "$(fetch client "http://${P4[outside]}:8080/")" outside
is "asked for each time: it may be of the mesh by now" "$(plane_event "select(.event == \"more\") | .names[] |
	select(. == \"/${P4[outside]}\")" | wc -l)" 2
is "plaintext from outside is served" "$(fetch outside "http://${P4[server]}:8080/")" hello
check "its source was asked for too, by the other node" plane_told \
	".event == \"more\" and .stream != $stream_a and (.names | index(\"/${P4[outside]}\"))"

# A workload comes to have an address that was asked for in vain.
put "$(workload outside)"
check "what comes to be at a known name is heard of" busywait knows_workload a outside
plane remove address cluster1//Pod/demo/outside >/dev/null
check "and what goes" busywait knows_no workload a outside

# The control plane does not answer.
plane silent on >/dev/null
from=$(plane_lines)
check "an unknown address is refused when nobody says what it is" refused client \
	http://10.96.0.2/
check "though it was asked for" wait_plane '.event == "more" and (.names | index("/10.96.0.2"))' \
	"$from"
check "with the reason" busywait metric_at_least 1 a amb_ended_total \
	reason=not_told
is "what is known is reached" "$(fetch client http://10.96.0.1/)" hello
plane silent off >/dev/null
put "$(vip_service late 10.96.0.2 80 8080)" \
	"$(workload server "$(jq -s add <<<"$(member web 80 8080) $(member late 80 8080)")")"
plane reset OK >/dev/null
check "with the next stream it is" busywait fetches client http://10.96.0.2/

# What a tunnel asks for: a foreign peer names what the server's node does not know.
services() { jq -s add <<<"$(for n in "$@"; do member "$n" 80 8080; done)"; }
code() { hbone_client outside --to "${P4[server]}" --timeout 20 "$@" | jq '.status // .rst // .closed'; }
put "$(vip_service named 10.96.0.4 80 8080)" "$(workload server "$(services web late named)")"
check "a service of the peer's choice is not known" knows_no service b named
is "it is asked for by its host name, and reached" \
	"$(code --authority named.demo.svc.cluster.local:80 status)" 200
check "so it is" plane_told \
	'.event == "more" and (.names | index("demo/named.demo.svc.cluster.local"))'
is "one that there is not" "$(code --authority no.demo.svc.cluster.local:80 status)" 503
check "was asked for" plane_told '.event == "more" and (.names | index("demo/no.demo.svc.cluster.local"))'
is "a foreign address" "$(code --authority 192.0.2.1:80 status)" 400
check "was asked for" plane_told '.event == "more" and (.names | index("/192.0.2.1"))'
plane silent on >/dev/null
is "and nothing is served while nobody answers" "$(code --authority 192.0.2.2:80 status)" 503
check "for that reason" busywait metric_at_least 1 b amb_ended_total reason=not_told
plane silent off >/dev/null
plane reset OK >/dev/null

# Waypoints are asked for by name.
waypoint='{"waypoint": {"hostname": {"namespace": "demo", "hostname": "wp.demo.svc.cluster.local"},
	"hboneMtlsPort": 15008}}'
put "$(vip_service behind 10.96.0.3 80 8080 | jq --argjson w "$waypoint" '.service += $w')"
from=$(plane_lines)
check "a waypoint that there is not" refused client http://10.96.0.3/
check "was asked for" plane_told \
	'.event == "more" and (.names | index("demo/wp.demo.svc.cluster.local"))' "$from"
finish
