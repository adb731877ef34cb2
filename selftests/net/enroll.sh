#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Pods come and go by command: enroll by path and by pid, unenroll; nothing is left in a pod
# that went.
#
#   client (a) --> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_agent
need nginx
nodes a b
pod a client
pod b server
mesh_defaults
pod_manifest client
pod_document server | grep -v ambientd.io/netns | sed 's/^  annotations:$/  annotations: {}/' |
	manifest pod-server
http_server server 80 hello
WEB_PID=$LAST_PID
agent_start a
agent_start b
agent_ready a b
wait_enrolled client
check "a pod without a known namespace waits" not_enrolled server
check "enroll by path" ctl b enroll demo/server --netns "$(pod_nspath server)"
check "now it is in the mesh" busywait enrolled server
is "and answers through the tunnel" "$(fetch client "http://${P4[server]}/")" hello
check "with mutual TLS" metric_at_least 1 b istio_tcp_connections_opened_total \
	reporter=destination connection_security_policy=mutual_tls
# An application of the pod that holds a connection, and says nothing.
pod_spawn client "$PYTHON" -c 'import socket, time
s = socket.create_server(("", 9100)); c = s.accept(); time.sleep(3600)'
wait_listen client 9100
# shellcheck disable=SC2016
pod_spawn server bash -c 'exec 3<>"/dev/tcp/$1/9100"; read -r <&3' _ "${P4[client]}"
HELD=$LAST_PID
carrying() { [ -n "$(pod_exec client ss -Htn state established "sport = :9100")" ]; }
check "a connection is held" busywait carrying
check "unenroll" ctl b unenroll demo/server
check "the application hears of its end" busywait eval '! kill -0 "$HELD"'
check "its listeners are gone" busywait not_enrolled server
check "and its rules" busywait eval '[ -z "$(pod_exec server nft list tables)" ]'
check "enroll by pid" ctl b enroll demo/server --pid "$WEB_PID"
check "it is back" busywait enrolled server
check_fails "an unknown pod is refused" ctl b enroll demo/nobody --netns "$(pod_nspath server)"
check_fails "a path that is no namespace is refused" ctl b enroll demo/server --netns /etc/passwd
check "which changes nothing" enrolled server
pod_document server demo other | sed "s|^  name: server|  name: twin|; s|${P4[server]}|10.12.0.99|g
	/ambientd.io.netns/d; s/^  annotations:$/  annotations: {}/; s/, {ip: \"fd12[^}]*}//" |
	manifest pod-twin
twin() { ctl b status -o json | jq -r '.pods[] | select(.name == "twin") | .error'; }
check "another pod is known" busywait eval '[ -n "$(ctl b status -o json | grep twin)" ]'
ctl b enroll demo/twin --netns "$(pod_nspath server)"
check "a namespace that is another pod's is not served twice" \
	busywait eval '[[ $(twin) == *"is that of pod demo/server"* ]]'
ctl b enroll demo/twin --pid "${AGENT_PID[b]}"
check "nor is the agent's own" busywait eval '[[ $(twin) == *"the agent'"'"'s own"* ]]'
is "which has no rules" "$(node_exec b nft list tables)" ""
check "the other one is served still" enrolled server
manifest_remove pod-twin
out=$(ctl b enroll demo/server --pid 999999999 2>&1)
like "a process that is not there is what is told" "$out" "/proc/999999999/ns/net: No such file"
unlike "and not that the pod is unknown" "$out" "has that name"
check "unenroll again" ctl b unenroll demo/server
check "its listeners are gone again" busywait not_enrolled server
check "enroll by a name in /run/netns" ctl b enroll demo/server \
	--netns "$(basename "$(pod_nspath server)")"
check "and it is served" busywait enrolled server
finish
