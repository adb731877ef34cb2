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
connected() { [ -n "$(pod_exec brief ss -Htn state established "sport = :15008")" ]; }
busywait connected
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
sleep 0.5
# The namespace dies before the mesh hears of it.
kill_app "${APP_PIDS[${#APP_PIDS[@]}-2]}"
ip netns del "$(pod_ns second)"
sleep 0.5
manifest_remove pod-second
check "the server is reached" fetches client "http://${P4[server]}/"
kill_app "$caller"
check "others were carried all the time" kill -0 "$innocent"
is "the agent knows one pod" "$(ctl b status -o json | jq -r '.. | .pods? // empty' | head -n 1 |
	grep -c . )" 1
finish
