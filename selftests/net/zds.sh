#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Pods that a CNI prepared and hands over by ZDS: traffic under istio-cni's rules of each flavour
# and of two at once, deletes at once, pods and traffic that outlive the CNI.
#
#   client (a) ==15008==> server (b)      a CNI on each node tells its agent of the pods
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

CAPTURE=none # the CNI does it
need_agent
need nginx nsenter iptables-nft iptables-legacy
nodes a b
pod a client
pod b server
pod b other
pod a stranger
mesh_defaults
for p in client server other; do pod_manifest $p; done
http_server server 80 hello
http_server other 80 other
traffic_server server 9000 8
zds_start a b
# Known before the agent comes: they are in the first snapshot.
zds_pod register client >/dev/null
agent_start a --zds "$(zds_socket a)"
agent_start b --zds "$(zds_socket b)"
agent_ready a b
check "a pod of the snapshot is served when the agent is ready" enrolled client
is "the hello says version 1" "$(zds_status b '.open[0].hello')" 1
check "the manifests' annotations do not matter here" not_enrolled server
is "a pod is accepted" "$(zds_pod add server)" '{"answer": ""}'
check "and served by then" enrolled server
is "the agent wrote no rules" "$(pod_exec server nft list tables)" ""
is "the same again is fine" "$(zds_pod add server)" '{"answer": ""}'
is "another" "$(zds_pod add other)" '{"answer": ""}'
like "ambientctl shows them" "$(ctl b status)" "demo +server +up +net:\[$(stat -Lc %i \
	"$(pod_nspath server)")\]"
is "commands do not meddle" "$(ctl b unenroll demo/server 2>&1 | grep -c 'the CNI at')" 1

# tunnelled DESCRIPTION: both families, source addresses kept, mutual TLS on the wire.
tunnelled() {
	local before after
	before=$(metric b istio_tcp_connections_opened_total reporter=destination \
		connection_security_policy=mutual_tls)
	is "$1: IPv4" "$(fetch client "http://${P4[server]}/from" 10)" "${P4[client]}"
	is "$1: IPv6" "$(fetch client "http://[${P6[server]}]/from" 10)" "${P6[client]}"
	is "$1: in clear from outside of the mesh" "$(fetch stranger "http://${P4[server]}/from")" \
		"${P4[stranger]}"
	is "$1: held" "$(pod_exec client "$TRAFFIC" rr -t 4 -s 1 "${P4[server]}" | jq .errors)" 0
	after=$(metric b istio_tcp_connections_opened_total reporter=destination \
		connection_security_policy=mutual_tls)
	is "$1: six connections by mutual TLS" $((after - before)) 6
}
for flavour in nft iptables-nft iptables-legacy "iptables-legacy nft" \
	"iptables-nft iptables-legacy"; do
	# shellcheck disable=SC2086
	cni_rules client $flavour
	# shellcheck disable=SC2086
	cni_rules server $flavour
	tunnelled "$flavour"
	cni_unrule client server
done
cni_rules client iptables-nft
cni_rules server nft

# --- deletes
cni_rules other nft
pod_spawn client "$TRAFFIC" rr -s 300 "${P4[server]}"
held=$LAST_PID
is "a page of the other" "$(fetch client "http://${P4[other]}/")" other
out=$(zds b do=del uid=uid-other)
is "a delete is acknowledged" "$out" '{"answers": [{"answer": ""}]}'
check "and done by then" not_enrolled other
check "others are carried" kill -0 "$held"
is "a delete of what is not there is fine" "$(zds b do=del uid=nobody)" \
	'{"answers": [{"answer": ""}]}'
zds_pod add other >/dev/null
check "it comes again" enrolled other

# --- the CNI goes and comes
zds b do=down >/dev/null
check "without a CNI the agent is not ready" busywait eval '! ready b'
like "and says what is pending" "$(node_exec b curl -s http://127.0.0.1:15021/healthz/ready)" \
	"workload proxy manager"
is "but serves on" "$(fetch client "http://${P4[server]}/")" hello
zds b do=hide uid=uid-server >/dev/null
zds b do=forget uid=uid-other >/dev/null
zds b do=up >/dev/null
check "it connects anew" busywait zds_connections b 2
check "and is ready" busywait ready b
check "a pod that is only kept is kept" enrolled server
check "a pod that is no longer named is let go" not_enrolled other
check "connections were carried all the time" kill -0 "$held"
kill_app "$held"
is "nothing was sent unasked" "$(zds_status b '[.open[], .past[]] | map(.why) | unique | .[]' |
	grep -c asked)" 0

# --- a pod that moves to another namespace
pod b moved
http_server moved 80 moved
is "the same uid elsewhere" "$(zds b do=add uid=uid-server ns=demo name=server sa=server \
	netns="$(pod_nspath moved)")" '{"answer": ""}'
check "is served there" enrolled moved
check "and no longer here" not_enrolled server

# --- refused
pod_spawn other "$PYTHON" -c '
import socket, time
s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("::", 15008)); s.listen(); time.sleep(300)'
squatter=$LAST_PID
wait_listen other 15008
like "a pod whose port is taken is refused" "$(zds_pod add other)" \
	'"answer": "failure to start proxy: listeners: Address already in use"'
check "the agent is not ready" eval '! ready b'
kill_app "$squatter"
check "it is tried again" busywait enrolled other
check "and then the agent is ready" busywait ready b
cni_unrule client server other moved
finish
