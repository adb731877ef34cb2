#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A full table of descriptors: connections beyond are refused, those that live go on, and
# afterwards everything is as before.
#
#   client (a) --400 connections--> server (b, agent with 300 descriptors)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need prlimit
need_agent
need nginx
nodes a b
pod a client
pod b server
mesh_defaults
pod_manifest client
pod_manifest server
http_server server 80 hello
traffic_server server 9000 8
agent_start a
AMB_WRAP="${AMB_WRAP:+$AMB_WRAP }prlimit --nofile=300:300" agent_start b
agent_ready a b
wait_enrolled client
wait_enrolled server
pod_spawn client "$TRAFFIC" rr -t 2 -s 300 "${P4[server]}"
innocent=$LAST_PID
carrying() { [ "$(pod_exec server ss -Htn state established "sport = :9000" | wc -l)" -ge 2 ]; }
busywait carrying
for i in 1 2 3 4; do
	pod_spawn client "$TRAFFIC" hold -n 100 "${P4[server]}"
	HOLDERS="${HOLDERS:-} $LAST_PID"
done
fds() { ls "/proc/${AGENT_PID[b]}/fd" | wc -l; }
full() { [ "$(fds)" -ge 280 ] && grep -q 'Too many open files' "$(agent_log b)"; }
check "the table is full" busywait full
sleep 1
check "the agent lives" kill -0 "${AGENT_PID[b]}"
check "connections that live go on" kill -0 "$innocent"
burnt() { awk '{ print $14 + $15 }' "/proc/${AGENT_PID[b]}/stat"; }
kill -STOP "$innocent"
before=$(burnt)
sleep 1
kill -CONT "$innocent"
check "it does not spin ($(($(burnt) - before)) ticks in a second)" test $(($(burnt) - before)) \
	-lt 60
for p in $HOLDERS; do kill_app "$p"; done
check "afterwards it serves again" busywait fetches client "http://${P4[server]}/"
check "the first connections were carried all the time" kill -0 "$innocent"
finish
