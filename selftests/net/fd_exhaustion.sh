#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A full table of descriptors: connections beyond are refused, those that live go on, and
# afterwards everything is as before.
#
#   client (a) --400 connections--> server (b, agent with 300 descriptors)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need prlimit
two_pods_alone
traffic_server server 9000 8
agent_start a
AMB_WRAP="${AMB_WRAP:+$AMB_WRAP }prlimit --nofile=300:300" agent_start b
agent_ready a b
wait_enrolled client
wait_enrolled server
pod_spawn client "$TRAFFIC" rr -t 2 -s 300 "${P4[server]}"
innocent=$LAST_PID
check "two connections are carried" busywait held_min 2
for i in 1 2 3 4; do
	pod_spawn client "$TRAFFIC" hold -n 100 "${P4[server]}"
	HOLDERS="${HOLDERS:-} $LAST_PID"
done
fds() { ls "/proc/${AGENT_PID[b]}/fd" | wc -l; }
full() { [ "$(fds)" -ge 260 ] && grep -q 'Too many open files' "$(agent_log b)"; }
check "the table is full" busywait full
sleep 1
check "the agent lives" kill -0 "${AGENT_PID[b]}"
check "connections that live go on" kill -0 "$innocent"
kill -STOP "$innocent"
seen=$(at_work b)
kill -CONT "$innocent"
check "it does not spin (at work in $seen of 20 looks)" test "$seen" -le 15
check "it says that it is ready" ready b
check "and answers ambientctl" ctl b status
check "and what it counted" test "$(metric b amb_ended_total reason=limit)" -gt 0
# Not even the descriptors that are kept for these are left.
prlimit --pid "${AGENT_PID[b]}" --nofile=64:300
node_exec b curl -s -m 30 http://127.0.0.1:15021/healthz/ready >"$TMP/late-ready" &
READY_PID=$!
"$AMBIENTCTL" status --socket "$(agent_socket b)" >"$TMP/late-status" 2>&1 &
STATUS_PID=$!
waiting() { [ -n "$(node_exec b ss -Htn state established "sport = :15021")" ]; }
check "somebody asks" busywait waiting
kill -STOP "$innocent"
seen=$(at_work b)
kill -CONT "$innocent"
check "it does not spin over those who ask (at work in $seen of 20 looks)" test "$seen" -le 15
prlimit --pid "${AGENT_PID[b]}" --nofile=300:300
wait "$READY_PID" "$STATUS_PID"
is "who had to wait is answered" "$(cat "$TMP/late-ready")" ready
like "ambientctl too" "$(cat "$TMP/late-status")" '^node +b'
for p in $HOLDERS; do kill_app "$p"; done
check "afterwards it serves again" busywait fetches client "http://${P4[server]}/"
check "the first connections were carried all the time" kill -0 "$innocent"
finish
