#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The chained CNI plugin behind the real bridge and host-local plugins, called as a container
# runtime calls them: a pod that ought to be in the mesh is in it when ADD returns.
#
#   client 10.244.0.2 --.
#   server 10.244.0.3 --cni0 (node a, made by the bridge plugin)
#   stranger, late    --'
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_agent
need nginx
CAPTURE=nft # at first: its rules can be seen
CNI_PLUGINS=${CNI_PLUGINS:-/usr/lib/cni}
[ -x "$CNI_PLUGINS/bridge" ] && [ -x "$CNI_PLUGINS/host-local" ] ||
	skip_all "needs containernetworking-plugins"
PLUGIN=$BUILD/ambient-cni
[ -x "$PLUGIN" ] || skip_all "needs $PLUGIN (make)"
nodes a
mesh_defaults
ATTACHED=$TMP/attached

BRIDGE=$(jq -nc --arg dir "$TMP/ipam" '{cniVersion: "1.0.0", name: "pods", type: "bridge",
	bridge: "cni0", isGateway: true, ipam: {type: "host-local", dataDir: $dir,
	ranges: [[{subnet: "10.244.0.0/24"}]], routes: [{dst: "0.0.0.0/0"}]}}')
AMBIENT=$(jq -nc --arg socket "$(agent_socket a)" --arg dir "$ATTACHED" '{cniVersion: "1.0.0",
	name: "pods", type: "ambient-cni", socket: $socket, attachmentDir: $dir,
	excludeNamespaces: ["kube-system"]}')

# call PLUGIN COMMAND POD CONF [NAMESPACE]: as libcni calls a plugin.
call() {
	ip netns exec "$(node_ns a)" env CNI_COMMAND="$2" CNI_CONTAINERID="c-$3" CNI_IFNAME=eth0 \
		CNI_NETNS="$(pod_nspath "$3")" CNI_PATH="$CNI_PLUGINS" CNI_ARGS="IgnoreUnknown=1;\
K8S_POD_NAMESPACE=${5:-demo};K8S_POD_NAME=$3;K8S_POD_INFRA_CONTAINER_ID=c-$3" "$1" <<<"$4"
}
# ambient COMMAND POD [NAMESPACE]: our plugin, with the result of the one before it.
ambient() {
	local conf=$AMBIENT
	[ ! -f "$TMP/result-$2" ] || conf=$(jq -c --slurpfile r "$TMP/result-$2" \
		'. + {prevResult: $r[0]}' <<<"$AMBIENT")
	call "$PLUGIN" "$1" "$2" "$conf" "${3:-demo}"
}
# container NAME: an empty network namespace, with an interface by the bridge plugin.
container() {
	netns_add "$(pod_ns "$1")"
	PODS+=("$1")
	NODE_OF[$1]=a
	call "$CNI_PLUGINS/bridge" ADD "$1" "$BRIDGE" >"$TMP/result-$1" ||
		bail "the bridge plugin: $(cat "$TMP/result-$1")"
	P4[$1]=$(jq -r '.ips[0].address | split("/")[0]' "$TMP/result-$1")
}
# Pods of the mesh without a word about where they are.
pod_unplaced() { pod_document "$@" | grep -v '^ *\(annotations:\|ambientd.io\)' | manifest "pod-$1"; }
code() { jq -r .code <<<"$1"; }

like "VERSION" "$(call "$PLUGIN" VERSION x '{"cniVersion": "1.1.0"}')" '"1\.1\.0"\]'
P4[client]=10.244.0.2 P4[server]=10.244.0.3 NODE_OF[client]=a NODE_OF[server]=a
pod_unplaced client
pod_unplaced server
agent_start a --cni-dir "$ATTACHED"
agent_ready a
is "STATUS" "$(ambient STATUS x; echo $?)" 0

# --- in the mesh when ADD returns
container client
out=$(ambient ADD client)
check "ADD: the pod is in the mesh when it returns" enrolled client
like "and its rules are there" "$(pod_exec client nft list tables)" ambientd
is "the result is the one of the plugin before" "$(jq -S . <<<"$out")" \
	"$(jq -S . "$TMP/result-client")"
container server
http_server server 80 hello
begin=$(date +%s%N)
ambient STATUS server >/dev/null
took=$(date +%s%N)
ambient ADD server >/dev/null
diag "ADD took $((($(date +%s%N) - took - (took - begin)) / 1000000)) ms longer than STATUS"
is "a page" "$(fetch client "http://${P4[server]}/")" hello
check "with mutual TLS" metric_at_least 1 a istio_tcp_connections_opened_total \
	reporter=destination connection_security_policy=mutual_tls
is "CHECK" "$(ambient CHECK server; echo $?)" 0
is "ADD again is fine" "$(jq -S . <<<"$(ambient ADD server)")" "$(jq -S . "$TMP/result-server")"
is "and changes nothing" "$(fetch client "http://${P4[server]}/")" hello

# --- pods that are not to be served pass
container stranger
pod_unplaced stranger demo stranger "app: stranger, istio.io/dataplane-mode: none"
is "ADD of a pod outside of the mesh passes" "$(jq -S . <<<"$(ambient ADD stranger)")" \
	"$(jq -S . "$TMP/result-stranger")"
check "and is not in the mesh" not_enrolled stranger
is "CHECK of it" "$(ambient CHECK stranger; echo $?)" 0
container late
ambient ADD late >/dev/null
check "a pod that nobody knows is not in the mesh" not_enrolled late
pod_unplaced late
check "it joins when the mesh hears of it" busywait enrolled late

# --- the agent restarts
agent_stop a
is "its rules go with it" "$(pod_exec server nft list tables)" ""
out=$(ambient ADD server)
is "without an agent ADD fails" "$(code "$out")" 11
like "says why" "$out" "ambientd does not answer: .*No such file.*is ambientd running"
is "STATUS says that it would" "$(code "$(ambient STATUS x)")" 50
check "excluded namespaces do not mind" ambient ADD server kube-system
ambient DEL server >/dev/null
check "DEL needs no agent" test ! -e "$ATTACHED/c-server-eth0.json"
CAPTURE= agent_start a --cni-dir "$ATTACHED"
agent_ready a
check "a new agent knows who is there" busywait enrolled client
check "and who is gone" not_enrolled server
ambient ADD server >/dev/null
is "a page again" "$(fetch client "http://${P4[server]}/")" hello

# --- ADD that cannot be done
container squatter
pod_unplaced squatter
busywait eval 'ctl a workloads | grep -q squatter'
pod_spawn squatter "$PYTHON" -c '
import socket, time
s = socket.socket(socket.AF_INET6); s.bind(("::", 15008)); s.listen(); time.sleep(300)'
squatter=$LAST_PID
wait_listen squatter 15008
out=$(ambient ADD squatter)
is "a pod that cannot be served does not start" "$(code "$out")" 11
like "and its runtime hears why" "$out" "pod demo/squatter cannot join.*Address already in use"
check "nothing of it is kept" test ! -e "$ATTACHED/c-squatter-eth0.json"
kill_app "$squatter"
ambient ADD squatter >/dev/null
check "it is fine another time" enrolled squatter

# --- DEL
check "DEL" ambient DEL server
check "the pod has left when it returns" busywait not_enrolled server
check "DEL again" ambient DEL server
check "DEL without a namespace" env CNI_COMMAND=DEL CNI_CONTAINERID=c-late CNI_IFNAME=eth0 \
	"$PLUGIN" <<<"$AMBIENT"
check "lets go all the same" busywait not_enrolled late
is "the bridge plugin takes its interface" "$(call "$CNI_PLUGINS/bridge" DEL server "$BRIDGE"
	echo $?)" 0
# A namespace that went without DEL.
ambient DEL client >/dev/null
ambient ADD squatter >/dev/null
ip netns del "$(pod_ns squatter)"
out=$(jq -c '. + {cniVersion: "1.1.0", "cni.dev/valid-attachments": [
	{containerID: "c-stranger", ifname: "eth0"}]}' <<<"$AMBIENT")
check "GC" call "$PLUGIN" GC x "$out"
is "leaves what is valid" "$(ls "$ATTACHED")" c-stranger-eth0.json
finish
