#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Live connections are judged again when a policy, or the workload's list of policies, changes;
# connections that stay allowed do not notice.
#
#   client, other (a) --held--> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
pod a other
pod_manifest other
traffic_server server 9000 8
wait_enrolled other
hold() { # POD: connections that do round trips until they fail
	: >"$TMP/app-$1.log"
	pod_spawn "$1" "$TRAFFIC" rr -t 2 -s 3600 "${P4[server]}"
	HELD=$LAST_PID
}
# Says nothing more after its first byte, so that nothing but the agents' word tells it of the end.
SILENT='import socket, sys
s = socket.create_connection((sys.argv[1], 9003), timeout=120)
s.sendall(b"x"), s.recv(1)
print("silent: held", flush=True)
try: print("silent: got", s.recv(1))
except OSError as e: print("silent:", e.strerror)'
silent() { grep -q "^silent: $1" "$TMP/app-other.log"; }
hold client; client=$HELD
hold other
check "four connections are carried" busywait held_min 4
pod_spawn other "$PYTHON" -c "$SILENT" "${P4[server]}"
check "and one of other that is silent" busywait silent held
policy cut DENY "app: server" "$(from_principal cluster.local/ns/demo/sa/other)"
check "a new DENY cuts those of other" busywait held 2
check "the silent one is reset, it has not just ended" busywait silent "Connection reset by peer"
check "the client's are not touched" kill -0 "$client"
check "the reason is in the access log" wait_log b 'policy change'
check "and in the metrics" busywait metric_at_least 2 b istio_tcp_connections_failed_total \
	reporter=destination response_flags=DENY source_workload=other
manifest_remove policy-cut
wait_no_policy b cut
policy selected DENY "app: other-server" "[{}]"
wait_policy b selected
sleep 0.3
check "a policy that selects other pods cuts nothing" held 2
pod_manifest server demo server "app: other-server"
check "the pod's labels change so that the policy selects it: cut" busywait held 0
finish
