#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What opens the direct way past a CNI's rules outlives the agent and goes with it: killed, started
# again, two at once, removed, or never there; the CNI writes rules and takes pods away meanwhile.
# The pod remote is of the mesh, on a node without agent, and would answer in clear: nobody may
# ever see its page.
#
#   client --direct--> server (mesh, CNI), leaver (mesh, CNI)     node a        remote       node b
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/ways.sh
. "$LIB_DIR/ways.sh"

CAPTURE=cni
need_agent
need nginx nsenter iptables-nft iptables-legacy bpftool unshare
nodes a b
for p in client server leaver; do
	pod a $p
done
pod b remote
mesh_defaults
for p in client server leaver remote; do
	pod_manifest $p
done
http_server server 80 hello
http_server remote 80 clear
traffic_server server 9000 8
URL="http://${P4[server]}"
REMOTE="http://${P4[remote]}"
is "nobody is captured: remote answers in clear" "$(fetch client "$REMOTE/")" clear
zds_start a
for p in client server leaver; do
	cni_rules $p iptables-nft
	zds_pod register $p >/dev/null
done
alone() { # [OPTIONS]: the agent of node a, ready
	agent_start a --zds "$(zds_socket a)" "$@"
	agent_ready a
	wait_enrolled client
	wait_enrolled server
}
rewrite() { # FLAVOUR...: the CNI writes its rules anew
	cni_unrule client server
	cni_rules client "$@"
	cni_rules server "$@"
	RULES=$(cni_state client; cni_state server)
}
rules_are() { is "$1: the CNI's rules are as they were" "$(cni_state client; cni_state server)" "$RULES"; }
RULES=$(cni_state client; cni_state server)

is "rules that are compared" "$(grep -c 'to-ports 15001' <<<"$RULES")" 4

# Killed while it runs
alone
check "direct" busywait turns_direct fetch client "$URL/"
check "so are those that will be held" busywait turns_direct echo_once
hold client "${P4[server]}"
check "one is held" busywait held 1
agent_stop a KILL
check "killed: the held connection lives" held 1
check "what was decided still is" fetches client "$URL/"
check "what needs the agent is refused" refused client "$REMOTE/"
rules_are "killed"
rewrite nft
check "the CNI writes other rules: the held connection lives" held 1
check "and what was decided is direct" fetches client "$URL/"
check "what needs the agent is refused" refused client "$REMOTE/"
# Somebody tries to get out in clear, all the time from now on
pod_spawn client bash -c "while :; do curl -s -m 5 $REMOTE/ >>$TMP/leaked; : >$TMP/tried; done"
trying=$LAST_PID
zds a do=forget uid=uid-leaver >/dev/null
unlike "what is in the pod that leaves meanwhile" "$(ours_beside leaver)" '^$'
alone
check "the next agent finds the connection alive" held 1
shown() { ctl a connections -o json | jq -e '[.[] | select(.way == "direct")] | length == 2'; }
check "and shows it" busywait shown
clean() { [ -z "$(ours_beside leaver)" ]; }
check "and takes away what was in the pod that has left" busywait clean
policy cut DENY "app: server" "$(from_principal cluster.local/ns/demo/sa/client)"
check "and cuts the connection when a policy says so" busywait held 0
wait "$HELD" 2>/dev/null
manifest_remove policy-cut
wait_no_policy a cut
check "a new one is direct" busywait turns_direct fetch client "$URL/"

# Killed while it starts, at any moment
for i in 1 5 11 17 23 29 35 42 50 60 80 120 200; do
	agent_stop a KILL
	agent_start a --zds "$(zds_socket a)"
	sleep "$(printf '0.%03d' "$i")"
done
agent_stop a KILL
rules_are "killed 1 to 200 ms after its start"
alone
check "the next agent repairs what they left" busywait turns_direct fetch client "$URL/"
rm -f "$TMP/tried"
check "somebody tried all the time" busywait test -e "$TMP/tried"
kill_app "$trying"
is "not a byte got out in clear" "$(cat "$TMP/leaked")" ""

# Two at once: who comes second has the rules only, until the first is gone
agent_beside() {
	mkdir -p "$TMP/run-a2"
	[ -z "${AMB_SANITIZED:-}$AMB_WRAP" ] || set -- "$@" --privileged
	# shellcheck disable=SC2086
	nsenter --net="/run/netns/$(node_ns a)" $AMB_WRAP "$AMBIENTD" --standalone "$MANIFESTS" \
		--node a --ca "$CA" --socket "$(agent_socket a2)" --bpf-dir "$(agent_pins a)" \
		--capture cni --zds "$(zds_socket a)" --admin-port 16000 --metrics-port 16020 \
		--ready-port 16021 "$@" >>"$(agent_log a2)" 2>&1 &
	AGENT_PID[a2]=$!
}
second_ready() { node_exec a curl -sf -m 5 -o /dev/null http://127.0.0.1:16021/healthz/ready; }
second_direct() {
	node_exec a curl -sf -m 20 http://127.0.0.1:16020/metrics |
		grep '^istio_tcp_connections_opened_total.*node_local' | awk '{ s += $NF } END { print s + 0 }'
}
second_turns_direct() {
	local before
	before=$(second_direct)
	fetch client "$URL/" >/dev/null && [ "$(second_direct)" -gt "$before" ]
}
check "port 9000 is direct" busywait turns_direct echo_once
hold client "${P4[server]}"
check "one is held" busywait held 1
from=$(log_lines a)
agent_beside
check "a second agent starts" busywait second_ready
check "and says that it cannot open direct ways" log_has a2 "none direct: another agent uses"
check "the first one's ways are as they were" goes_direct fetches client "$URL/"
check "a held one lives" held 1
agent_stop a
check "it ends, and so do its direct connections, as its tunnels" busywait ended "$HELD"
check "told when they did" log_has a "src\.addr=${P4[client]}:[0-9]+ .*dst\.addr=${P4[server]}:9000" \
	"$from"
check "the second takes over" wait_log a2 "the other agent is gone"
check "and opens them" busywait second_turns_direct
rules_are "two agents"
agent_stop a2
for p in client server; do
	is "it ends: nothing is left in $p" "$(ours_beside $p)" ""
done
rules_are "the end"

# Killed, and removed for good
alone
check "direct" busywait turns_direct fetch client "$URL/"
agent_stop a KILL
unlike "a killed agent leaves things" "$(ours_beside client)" '^$'
like "uninstall removes them" "$(uninstall a)" "^removed: "
for p in client server; do
	is "uninstall: nothing is left in $p" "$(ours_beside $p)" ""
done
check "no pins are left" [ ! -e "$(agent_pins a)" ]
rules_are "uninstall"
check "under which nobody gets out in clear" refused client "$REMOTE/"

# Where BPF cannot be had
AGENT_EXIT=()
alone --bpf-dir /proc/nowhere/ambient
is "without BPF: said once" "$(grep -c 'by tunnel, none direct: no bpffs at' "$(agent_log a)")" 1
is "and it is the CNI's rules alone" "$(ctl a status -o json | jq -r .capture)" cni
is "nothing is in the pods" "$(ours_beside client; ours_beside server)" ""
check "connections go by tunnel" goes mutual_tls fetches client "$URL/"
check "all of them" goes mutual_tls fetches client "$URL/"
agent_stop a

# Where they are not wanted
alone --always-tunnel
check "--always-tunnel: connections go by tunnel" goes mutual_tls fetches client "$URL/"
check "all of them" goes mutual_tls fetches client "$URL/"
agent_stop a
is "it ends: nothing is in the pods" "$(ours_beside client; ours_beside server)" ""

# Where what an agent left is not to be had, or not wanted any more
left_alone() { # an agent with a held direct connection is killed
	alone
	check "direct" busywait turns_direct echo_once
	hold client "${P4[server]}"
	check "one is held" busywait held 1
	agent_stop a KILL
	check "it outlives the agent" held 1
}
left_alone
find "$(agent_pins a)" -type f -delete
alone
check "pins are lost: direct connections that nobody knows are ended" busywait ended "$HELD"
check "which is told" log_has a "1 direct connections of an agent before are ended"
check "new ones are direct" busywait turns_direct fetch client "$URL/"
agent_stop a
left_alone
CAPTURE=none
alone
check "--capture none: what an agent before left is ended" busywait ended "$HELD"
is "nothing of it is in the pods" "$(ours_beside client; ours_beside server)" ""
check "connections go by tunnel" goes mutual_tls fetches client "$URL/"
check "all of them" goes mutual_tls fetches client "$URL/"
agent_stop a
rules_are "all that"
cni_unrule client server leaver
finish
