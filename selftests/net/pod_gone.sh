#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Pods that vanish with connections open, mid-handshake too: let go at once, others untouched.
#
#   client (a) --> server, brief (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
pod b brief
pod_manifest brief
traffic_server server 9000 8
traffic_server brief 9000 8
wait_enrolled brief
pod_spawn client "$TRAFFIC" rr -t 2 -s 300 "${P4[server]}"
innocent=$LAST_PID
pod_spawn client "$TRAFFIC" crr -t 4 -s 300 "${P4[brief]}"
caller=$LAST_PID
connected() { [ -n "$(pod_exec "$1" ss -Htn state established "sport = :15008")" ]; }
check "connections are open" busywait connected brief
manifest_remove pod-brief
check "a pod without a manifest is let go" busywait not_enrolled brief
check "others are carried" kill -0 "$innocent"
kill_app "$caller"
pod b second
pod_manifest second
traffic_server second 9000 8
wait_enrolled second
pod_spawn client "$TRAFFIC" crr -t 4 -s 300 "${P4[second]}"
caller=$LAST_PID
check "and to the next pod" busywait connected second
# The namespace dies before the mesh hears of it.
kill_app "${APP_PIDS[${#APP_PIDS[@]}-2]}"
ip netns del "$(pod_ns second)"
sleep 0.5
manifest_remove pod-second
check "the server is reached" fetches client "http://${P4[server]}/"
kill_app "$caller"
check "others were carried all the time" kill -0 "$innocent"
one_pod() { [ "$(ctl b status -o json | jq -c '[.pods[].name]')" = '["server"]' ]; }
check "the agent knows one pod" busywait one_pod

# Handshakes that are under way: one into a pod, which says nothing after its first bytes, and one
# out of a pod, to a server that says nothing at all. Each ends with its pod, not by a time limit.
pod b third
pod b caller
pod b silent
pod_manifest third
pod_manifest caller
pod_manifest silent demo silent \
	"app: silent, networking.istio.io/tunnel: http, istio.io/dataplane-mode: none"
wait_enrolled third
wait_enrolled caller
pod_spawn silent "$PYTHON" -c 'import socket, time
s = socket.create_server(("", 15008)); time.sleep(3600)'
wait_listen silent 15008
# waits POD ADDRESS PORT [BYTES]: a connection that only waits for its end.
waits() {
	# shellcheck disable=SC2016
	pod_spawn "$1" bash -c 'exec 3<>"/dev/tcp/$1/$2"; printf "$3" >&3; read -r <&3' _ "${@:2}"
}
waits stranger "${P4[third]}" 15008 '\x16\x03\x01\x00'
INTO=$LAST_PID
waits caller "${P4[silent]}" 80
OUT_OF=$LAST_PID
begun() { connected third && connected silent; }
check "two handshakes are under way" busywait begun
check "neither has ended" kill -0 "$INTO" "$OUT_OF"
manifest_remove pod-third
manifest_remove pod-caller
ended() { ! kill -0 "$INTO" 2>/dev/null; }
check "the one into a pod ends with it" busywait ended
check "so does the one out of a pod" wait_log b 'src\.workload="caller".*the pod went away'
unlike "and neither by the time limit" "$(cat "$(agent_log b)")" "handshake timed out"
check "the agent lives" ready b
check "others were carried all the time" kill -0 "$innocent"
finish
