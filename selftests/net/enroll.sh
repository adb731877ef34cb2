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
check "unenroll" ctl b unenroll demo/server
check "its listeners are gone" busywait not_enrolled server
is "and its rules" "$(pod_exec server nft list tables)" ""
check "enroll by pid" ctl b enroll demo/server --pid "$LAST_PID"
check "it is back" busywait enrolled server
check_fails "an unknown pod is refused" ctl b enroll demo/nobody --netns "$(pod_nspath server)"
check_fails "a path that is no namespace is refused" ctl b enroll demo/server --netns /etc/passwd
check "which changes nothing" enrolled server
out=$(ctl b enroll demo/server --pid 999999999 2>&1)
like "a process that is not there is what is told" "$out" "/proc/999999999/ns/net: No such file"
unlike "and not that the pod is unknown" "$out" "has that name"
check "unenroll again" ctl b unenroll demo/server
check "its listeners are gone again" busywait not_enrolled server
check "enroll by a name in /run/netns" ctl b enroll demo/server \
	--netns "$(basename "$(pod_nspath server)")"
check "and it is served" busywait enrolled server
finish
