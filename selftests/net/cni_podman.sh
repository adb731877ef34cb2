#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The CNI plugin under a real container runtime: podman starts and stops containers on a network
# whose list ends with ambient-cni, and they are pods of the mesh.
#
#   client, server --cni0 (node a, made by podman's bridge plugin)
#
# podman says a name and no namespace. The agent lives in its mount namespace.
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/podman.sh
. "$LIB_DIR/podman.sh"

need_agent
need gcc
CAPTURE=nft # programs would need the host's mount namespace
CNI_PLUGINS=${CNI_PLUGINS:-/usr/lib/cni}
[ -x "$CNI_PLUGINS/bridge" ] || skip_all "needs containernetworking-plugins"
[ -x "$BUILD/ambient-cni" ] || skip_all "needs $BUILD/ambient-cni (make)"
nodes a

mkdir -p "$TMP/root/bin" "$TMP/net" "$TMP/bin"
ln -s "$CNI_PLUGINS"/* "$BUILD/ambient-cni" "$TMP/bin/"
gcc -static -x c -o "$TMP/root/bin/pause" - <<<'#include <unistd.h>
int main(void) { for (;;) pause(); }' || skip_all "needs a static C library"
CONTAINERS_CONF_MORE="[network]
network_backend = \"cni\"
network_config_dir = \"$TMP/net\"
cni_plugin_dirs = [\"$TMP/bin\"]"
podman_set_up a
jq -n --arg ipam "$TMP/ipam" --arg socket "$(agent_socket a)" --arg dir "$TMP/attached" '{
	cniVersion: "0.4.0", name: "pods", plugins: [
	{type: "bridge", bridge: "cni0", isGateway: true, ipam: {type: "host-local", dataDir: $ipam,
	 ranges: [[{subnet: "10.244.0.0/24"}]], routes: [{dst: "0.0.0.0/0"}]}},
	{type: "ambient-cni", namespace: "demo", socket: $socket, attachmentDir: $dir}]}' >"$TMP/net/10-pods.conflist"
start_container() {
	pod_man run -d --rm "${PODMAN_RUN[@]}" --name "$1" --network "${2:-pods}" \
		--rootfs "$TMP/root" /bin/pause
}
out=$(start_container try none) || skip_all "podman cannot start a container here: $out"
pod_man rm -f -t 0 try >/dev/null

# in_container NAME COMMAND...: in its network.
in_container() {
	local pid
	pid=$(pod_man inspect -f '{{.State.Pid}}' "$1")
	nsenter "--net=/proc/$pid/ns/net" "${@:2}"
}
listens() { [ -n "$(in_container "$1" ss -Hltn "sport = :$2")" ]; }

mesh_defaults
P4[client]=10.244.0.2 P4[server]=10.244.0.3 NODE_OF[client]=a NODE_OF[server]=a
for p in client server; do
	pod_document $p | grep -v '^ *\(annotations:\|ambientd.io\)' | manifest "pod-$p"
done
out=$(start_container client)
like "without an agent no container starts on this network" "$out" "ambientd does not answer"
AMB_WRAP="${PODMAN_INSIDE[*]}" agent_start a --cni-dir "$TMP/attached"
agent_ready a
rm -rf "$TMP/ipam" # the failed start has taken the first address

check "a container starts" start_container client
check "it is in the mesh" listens client 15001
check "another" start_container server
check "is too" listens server 15008
like "its rules are there" "$(in_container server nft list tables)" ambientd
mkdir "$TMP/www"
echo hello >"$TMP/www/index.html"
in_container server "$PYTHON" -m http.server -d "$TMP/www" 80 >"$TMP/app-server.log" 2>&1 &
APP_PIDS+=($!)
check "a server listens" busywait listens server 80
is "a page" "$(in_container client curl -s -m 5 "http://${P4[server]}/")" hello
check "with mutual TLS" metric_at_least 1 a istio_tcp_connections_opened_total \
	reporter=destination connection_security_policy=mutual_tls
agent_stop a
AMB_WRAP="${PODMAN_INSIDE[*]}" agent_start a --cni-dir "$TMP/attached"
agent_ready a
check "a new agent knows them" busywait listens server 15008
is "a page again" "$(in_container client curl -s -m 5 "http://${P4[server]}/")" hello
check "a container stops" pod_man rm -f -t 0 server
is "and the plugin has let go of it" "$(find "$TMP/attached" -type f | wc -l)" 1
check "a container comes again" start_container server
check "and is in the mesh" listens server 15008
check "all stop" pod_man rm -f -t 0 client server
is "nothing is attached" "$(find "$TMP/attached" -type f)" ""
is "the agent serves nobody" "$(ctl a status -o json | jq '[.pods[] | select(.up)] | length')" 0
finish
