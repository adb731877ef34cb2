#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Programs and rows outlive the agent: killed at any moment, started again, upgraded, absent. The
# pod remote is of the mesh, on a node without agent, and would answer in clear: nobody in a
# captured pod may ever see its page.
#
#   client --direct--> server (a)        client --nothing--> remote (b)        stranger (a)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/ways.sh
. "$LIB_DIR/ways.sh"

CAPTURE=ebpf
need_agent
need nginx bpftool
nodes a b
pod a client
pod a server
pod a stranger
pod b remote
mesh_defaults
pod_manifest client
pod_manifest server
pod_manifest remote
pod_manifest stranger demo stranger "app: stranger, istio.io/dataplane-mode: none"
service_manifest web 10.96.0.1 "app: server" "{name: h, port: 80}"
http_server server 80 hello
http_server remote 80 clear
http_server stranger 80 stranger
traffic_server server 9000 8
URL="http://${P4[server]}"
REMOTE="http://${P4[remote]}"
pins() { agent_pins a; }
alone() { # [OPTIONS]: the agent of node a only, up and with its pods
	agent_start a "$@"
	agent_ready a
	wait_enrolled client
	wait_enrolled server
}
mine() { "$1" | grep -cF "$(pins)/"; }
is "nobody is captured: remote answers in clear" "$(fetch client "$REMOTE/")" clear
alone
at_least "its programs are found attached" "$(mine attached)" 10
is "none as left" "$(mine attached_left)" 0
check "captured: it does not" refused client "$REMOTE/"
check "connections within the node become direct" busywait turns_direct fetch client "$URL/"
check "so do those that will be held" busywait turns_direct echo_once
hold client "${P4[server]}"
check "one is held" busywait held 1
fetch client "http://${P4[stranger]}/" >/dev/null
fetch client http://10.96.0.1/ >/dev/null

# bpftool reads every map
manifest range <<-YAML
	apiVersion: networking.istio.io/v1
	kind: ServiceEntry
	metadata: {name: range, namespace: demo}
	spec:
	  hosts: [range.example.com]
	  addresses: [198.51.100.0/24]
	  ports: [{number: 80, name: http, protocol: HTTP}]
	  resolution: STATIC
	  endpoints: [{address: 10.99.0.1}]
YAML
# A direct connection that nobody accepts leaves what it asked for; the first one is a tunnel.
fetch client "http://${P4[server]}:4/"
fetch client "http://${P4[server]}:4/"
dump() { bpftool -j map dump pinned "$(pins)/$1"; }
names() { dump "$1" | jq -e --arg f "$2" '[.[0].formatted | .. | objects | has($f)] | any'; }
while read -r map field; do
	check "bpftool map dump of $map has $field" busywait names "$map" "$field"
done <<-FIELDS
	amb_meta agent_pid
	amb_pod stamp
	amb_addr identity
	amb_cidr flags
	amb_svc slots
	amb_end port
	amb_policy reason
	amb_flight dst_port
	amb_conn dst_identity
	amb_ident spiffe
	amb_if netns
	amb_stat dropped
FIELDS
name() { dump amb_pod | jq -r '.[].formatted.value.name' | sort | tr '\n' ' '; }
is "pods by their names" "$(name)" "demo/client demo/server "
manifest_remove range

# A second agent
out=$(nsenter --net="/run/netns/$(node_ns b)" "$AMBIENTD" --standalone "$MANIFESTS" --node b \
	--ca "$CA" --socket "$TMP/second.sock" --bpf-dir "$(pins)" --capture auto 2>&1)
is "a second agent with the same pins ends" $? 70
like "and says why" "$out" "another agent uses"
out=$(nsenter --net="/run/netns/$(node_ns b)" "$AMBIENTD" --standalone "$MANIFESTS" --node b \
	--ca "$CA" --socket "$TMP/second.sock" --bpf-dir "$(pins)" --capture nft 2>&1)
is "one that captures by rules, too" $? 70
like "and says why" "$out" "another agent uses"

# Killed while it runs
agent_stop a KILL
check "killed: a held connection lives" held 1
check "what needs the agent is refused" denied client "$REMOTE/"
check "what was decided still is" fetches client "$URL/"
alone
check "the next agent finds the connection alive" held 1
shown() { ctl a connections -o json | jq -e '[.[] | select(.way == "direct")] | length == 2'; }
check "and shows it" busywait shown
moves() { [ "$(metric a istio_tcp_received_bytes_total reporter=source)" -gt 10000 ]; }
check "and counts its bytes" busywait moves
policy cut DENY "app: server" "$(from_principal cluster.local/ns/demo/sa/client)"
check "and cuts it when a policy says so" busywait held 0
wait "$HELD" 2>/dev/null
manifest_remove policy-cut
wait_no_policy a cut
check "a new one is direct" busywait turns_direct fetch client "$URL/"

# Killed while it starts, at any moment; somebody tries all the time
pod_spawn client bash -c "while :; do curl -s -m 5 $REMOTE/ >>$TMP/leaked; done"
trying=$LAST_PID
bad=
for i in 1 3 5 8 11 14 17 20 23 26 29 32 35 38 42 46 50 55 60 70 80 100 120 150 200 300; do
	agent_stop a KILL
	denied client "$REMOTE/" || bad="$bad $i(dead)"
	agent_start a
	sleep "$(printf '0.%03d' "$i")"
done
agent_stop a KILL
is "killed 1 to 300 ms after its start: refused" "$bad" ""
check "a pod that is captured cannot reach its neighbour in clear either" \
	eval '[ -z "$(fetch client "http://${P4[server]}:81/")" ]'
alone
kill_app "$trying"
check "somebody tried all the time" test -e "$TMP/leaked"
is "not a byte got out in clear" "$(cat "$TMP/leaked" 2>/dev/null)" ""
check "the next agent repairs what they left" busywait turns_direct fetch client "$URL/"
check "by the service" busywait turns_direct fetch client http://10.96.0.1/
is "nothing half made is left" "$(find "$(pins)" -name '*-new')" ""

# Other terms, and a start that fails: the pod stays captured; somebody tries all the time
terms() { # true | false
	pod_document client | sed "s|^  annotations:|&\n    ambientd.io/always-tunnel: \"$1\"|" |
		manifest pod-client
}
joins() { grep -c "pod demo/client: joined" "$(agent_log a)"; }
joined_again() { [ "$(joins)" -gt "$1" ]; }
pod_spawn client bash -c "while :; do curl -s -m 5 $REMOTE/ >>$TMP/leaked; : >$TMP/tried; sleep 0.01; done"
trying=$LAST_PID
for i in {1..10}; do
	before=$(joins)
	terms $([ $((i % 2)) -eq 1 ] && echo true || echo false)
	busywait joined_again "$before" || bail "client did not join again"
done
from=$(log_lines a)
rm -r "$(pins)/pods"
terms true
check "a pod that cannot be captured again is told" wait_log a 'pod demo/client: .*trying again' "$from"
rm -f "$TMP/tried"
check "somebody tries" busywait test -e "$TMP/tried"
check "and is cut off" denied client "$REMOTE/"
mkdir "$(pins)/pods"
check "until it can" busywait fetches client "$URL/"
kill_app "$trying"
is "not a byte got out in clear meanwhile" "$(cat "$TMP/leaked")" ""
pod_manifest client

# Stopped, with all kept
agent_stop a
check "stopped without --keep: no pins" [ ! -e "$(pins)" ]
is "and nobody is captured" "$(fetch client "$REMOTE/")" clear
alone --keep
check "direct again" busywait turns_direct fetch client "$URL/"
agent_stop a
is "--keep: ends well" "${AGENT_EXIT[a]}" 0
check "--keep: the rest is refused" denied client "$REMOTE/"
check "--keep: direct ways stay open" fetches client "$URL/"

# Rows of another version
bpftool map update pinned "$(pins)/amb_meta" key 0 0 0 0 value hex \
	64 62 6d 61 63 00 00 00 00 00 00 00 00 00 00 00
from=$(log_lines a)
agent_start a
wait "${AGENT_PID[a]}"
is "pins of another ABI: the agent ends" $? 70
unset "AGENT_PID[a]"
check "and says why" log_has a "is of ABI 99, this agent speaks 1; 'ambientctl uninstall'" "$from"
check "and leaves them" [ -e "$(pins)/links/connect4" ]
check "captured as before" denied client "$REMOTE/"
bpftool map update pinned "$(pins)/amb_meta" key 0 0 0 0 value hex \
	64 62 6d 61 01 00 00 00 00 00 00 00 00 00 00 00

# A start that fails
for CAPTURE in ebpf nft; do
	from=$(log_lines a)
	agent_start a --metrics-port 15000
	wait "${AGENT_PID[a]}"
	is "$CAPTURE: without a port for metrics the agent ends" $? 70
	unset "AGENT_PID[a]"
	check "$CAPTURE: and says so" log_has a "HTTP: " "$from"
	check "$CAPTURE: and leaves what was pinned" [ -e "$(pins)/links/connect4" ]
	check "$CAPTURE: captured as before" denied client "$REMOTE/"
done
CAPTURE=ebpf

# A pod whose namespace nobody has named yet
pod_document client | sed "s|netns: .*|netns: $TMP/not-yet|" | manifest pod-client
agent_start a
wait_enrolled server
check "a pod that waits for its namespace is cut off" denied client "$REMOTE/"
check "it is no way in either" refused client "$URL:9999/"
pod_manifest client
wait_enrolled client
check "until it has it" busywait fetches client "$URL/"
agent_stop a KILL
pod_document client | sed "s|netns: .*|netns: $TMP/not-yet|" | manifest pod-client
agent_start a
wait_enrolled server
agent_stop a
is "an agent that is stopped meanwhile sets it free" "$(fetch client "$REMOTE/")" clear
is "and leaves nothing in it" "$(pod_exec client sysctl -n $SWITCHES | sort -u
	ip -n "$(pod_ns client)" rule show priority 32764)" 0
is "nor around it" "$(node_exec a tc qdisc show | grep -c clsact)" 0
pod_manifest client

# A pod that has switched on for itself what the way back needs
# shellcheck disable=SC2086
switches() { pod_exec server sysctl -n $SWITCHES | paste -sd' '; }
is "nothing of the way back is on" "$(switches)" "0 0 0"
pod_exec server sysctl -qw net.ipv4.fwmark_reflect=1
agent_start a
wait_enrolled server
is "all of it, for a pod of the mesh" "$(switches)" "1 1 1"
agent_stop a KILL
agent_start a
wait_enrolled server
agent_stop a
is "in the end only what the pod itself had on" "$(switches)" "0 1 0"
pod_exec server sysctl -qw net.ipv4.fwmark_reflect=0

# Killed, and the next one cannot load programs: its rules take over. Somebody tries all the time.
alone
check "direct" busywait turns_direct echo_once
hold client "${P4[server]}"
check "one is held" busywait held 1
agent_stop a KILL
: >"$TMP/leaked"
pod_spawn client bash -c "while :; do curl -s -m 5 $REMOTE/ >>$TMP/leaked; : >$TMP/tried; sleep 0.01; done"
trying=$LAST_PID
rm -f "$TMP/tried"
check "somebody tries" busywait test -e "$TMP/tried"
CAPTURE=auto
from=$(log_lines a)
alone --cgroup /proc/nowhere
is "capture by rules" "$(ctl a status -o json | jq -r .capture)" nft
check "the programs go" busywait test ! -e "$(pins)"
check "which is told" log_has a "programs of an agent before are removed" "$from"
is "nothing of the way back is on" "$(switches)" "0 0 0"
is "no guard is left" "$(node_exec a tc qdisc show | grep -c clsact)" 0
check "connections go by tunnel" goes mutual_tls fetches client "$URL/"
check "a direct one, which nobody would judge any more, is ended" busywait held 0
wait "$HELD" 2>/dev/null
is "who is not of the mesh is served" "$(fetch stranger "$URL/")" hello
rm -f "$TMP/tried"
check "somebody tried all the time" busywait test -e "$TMP/tried"
kill_app "$trying"
is "not a byte got out in clear" "$(cat "$TMP/leaked")" ""
agent_stop a KILL
like "killed, it leaves its rules" "$(pod_exec client nft list tables)" ambientd
CAPTURE=ebpf
alone
is "programs again: they are gone" "$(pod_exec client nft list tables)" ""
check "connections become direct" busywait turns_direct fetch client "$URL/"
is "who is not of the mesh is served" "$(fetch stranger "$URL/")" hello
check "what needs the agent goes there" refused client "$REMOTE/"
agent_stop a
is "it ends: nothing is left" "$(pod_exec client nft list tables; switches)" "0 0 0"

# Where BPF cannot be had
from=$(log_lines a)
CAPTURE=auto
agent_start a --bpf-dir /proc/nowhere/ambient
agent_ready a
wait_enrolled client
wait_enrolled server
is "capture by nftables instead, said once" \
	"$(tail -n "+$from" "$(agent_log a)" | grep -c 'by nftables instead of BPF')" 1
check "with the cause" log_has a 'instead of BPF programs: no bpffs at' "$from"
is "and it is" "$(ctl a status -o json | jq -r .capture)" nft
check "which works" busywait fetches client "$URL/"
check "and is closed" refused client "$REMOTE/"
finish
