#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two agents on a node at once, as a DaemonSet does with maxSurge: both listen in each pod, the
# new one gets what is added, both hear what is deleted, and nothing fails when the old one ends.
#
#   client (a) ==15008==> server, other (b: agent b, then agent b2 beside it)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

CAPTURE=none # the CNI does it
need_agent
need nginx nsenter iptables-nft
nodes a b
pod a client
pod b server
pod b other
pod b late
mesh_defaults
for p in client server other late; do pod_manifest $p; done
http_server server 80 hello
http_server late 80 late
traffic_server server 9000 16
zds_start a b
for p in client server other; do zds_pod register $p >/dev/null; done
cni_rules client nft
for p in server other late; do cni_rules $p iptables-nft; done

# agent_beside NODE NAME OPTIONS...: a second agent; AGENT_PID[NAME], ports 16000 and following.
agent_beside() {
	mkdir -p "$TMP/run-$2"
	[ -z "${AMB_SANITIZED:-}$AMB_WRAP" ] || set -- "$@" --privileged
	# shellcheck disable=SC2086
	ip netns exec "$(node_ns "$1")" $AMB_WRAP "$AMBIENTD" --standalone "$MANIFESTS" \
		--node "$1" --ca "$CA" --socket "$(agent_socket "$2")" --admin-port 16000 \
		--metrics-port 16020 --ready-port 16021 "${@:3}" >>"$(agent_log "$2")" 2>&1 &
	AGENT_PID[$2]=$!
}
beside_ready() { node_exec "$1" curl -sf -m 5 -o /dev/null http://127.0.0.1:16021/healthz/ready; }
sockets() { pod_exec "$1" ss -Hltnp "sport = :15008" | grep -o "pid=$2," | wc -l; }

agent_start a --zds "$(zds_socket a)"
agent_start b --zds "$(zds_socket b)" --drain 3s
agent_ready a b
is "one agent: a page" "$(fetch client "http://${P4[server]}/")" hello
pod_spawn client "$TRAFFIC" crr -t 2 -s 300 "${P4[server]}"
caller=$LAST_PID

agent_beside b b2 --zds "$(zds_socket b)"
check "the second agent becomes ready" busywait beside_ready b
at_least "the old one listens" "$(sockets server "${AGENT_PID[b]}")" 1
at_least "and so does the new one" "$(sockets server "${AGENT_PID[b2]}")" 1
is "the CNI has two connections" "$(zds_status b '.open | length')" 2
is "a new pod is told to the new one" "$(zds_pod add late)" '{"answer": ""}'
is "not to the old one" "$(sockets late "${AGENT_PID[b]}")" 0
at_least "which serves it" "$(sockets late "${AGENT_PID[b2]}")" 1
is "it is reached" "$(fetch client "http://${P4[late]}/")" late
is "a delete is told to both" "$(zds b do=del uid=uid-other | jq -c .answers)" \
	'[{"answer":""},{"answer":""}]'
check "and both obey" not_enrolled other

agent_stop b
is "the old one ends" "${AGENT_EXIT[b]}" 0
is "the new one carries" "$(fetch client "http://${P4[server]}/")" hello
at_least "it was the old one that let go" "$(sockets server "${AGENT_PID[b2]}")" 1
check "the CNI notices that the old one is gone" busywait eval \
	'[ "$(zds_status b ".open | length")" = 1 ]'
kill -INT "$caller"
wait "$caller"
count=$(grep '"crr"' "$TMP/app-client.log" | jq .count)
errors=$(grep '"crr"' "$TMP/app-client.log" | jq .errors)
at_least "connections were made all the time" "$count" 100
# What the old agent accepted in the moment of its end may be lost, as with ztunnel.
check "and carried ($errors of $count lost)" test "$errors" -le 1

# --- with ports of its own an agent does not share
INPOD_PORT_REUSE=false agent_start b --zds "$TMP/nowhere"
check "an agent without a CNI answers, not ready" busywait ctl b status
agent_stop b
agent_stop b2
INPOD_PORT_REUSE=false agent_start b --zds "$(zds_socket b)"
agent_ready b
is "one socket a port" "$(pod_exec server ss -Hltn "sport = :15008" | wc -l)" 1
agent_beside b b3 --zds "$(zds_socket b)"
check "which nobody else shares" busywait log_has b3 "Address already in use"
check_fails "so the second is not ready" beside_ready b
agent_stop b
check "until the first ends" busywait beside_ready b
is "and serves" "$(fetch client "http://${P4[server]}/")" hello
cni_unrule client server other late
finish
