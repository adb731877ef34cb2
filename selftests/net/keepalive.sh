#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# KEEPALIVE_*: how the agent's TCP connections are probed, as the kernel shows it.
#
#   client (a) --held--> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods_alone
export KEEPALIVE_TIME=40s KEEPALIVE_INTERVAL=3s KEEPALIVE_RETRIES=2
agents_start
traffic_server server 9000 4
pod_spawn client "$TRAFFIC" rr -t 1 -s 3600 "${P4[server]}"
check "a connection is carried" busywait held_min 1
# timer FILTER: seconds to the next probe of the agent's sockets in pod client.
timer() {
	pod_exec client ss -Htno state established "$1" |
		sed -n 's/.*timer:(keepalive,\([0-9]*\)[^,]*sec,.*/\1/p' | sort -n | tail -n 1
}
between() { [ -n "$1" ] && [ "$1" -gt "$2" ] && [ "$1" -le "$3" ]; }
idle() { between "$(timer "$1")" 30 40; }
check "what the application opened is probed after so long" busywait idle "sport = :15001"
check "what the agent dialled too" busywait idle "dport = :15008"
is "config_dump says so" "$(config_dump a | jq -cS .config.socketConfig)" \
	'{"keepaliveEnabled":true,"keepaliveInterval":3,"keepaliveRetries":2,"keepaliveTime":40,"userTimeoutEnabled":false}'
agent_stop a
export KEEPALIVE_ENABLED=false
agent_start a
agent_ready a
wait_enrolled client
pod_spawn client "$TRAFFIC" hold -n 1 "${P4[server]}"
check "another connection, which says nothing" busywait grep -q '"hold","count":1,' "$TMP/app-client.log"
# A socket has one timer at a time to show: that of what is on its way, if anything is.
sockets() { pod_exec client ss -Htno state established "sport = :15001 or dport = :15008"; }
quiet() {
	local s
	s=$(sockets)
	[ "$(wc -l <<<"$s")" -ge 2 ] && [[ $s != *"timer:(on"* ]]
}
check "nothing is on its way in either of its sockets" busywait quiet
unlike "nothing is probed when that is off" "$(sockets)" 'timer:\(keepalive'
for bad in KEEPALIVE_TIME=0s KEEPALIVE_TIME=10h KEEPALIVE_RETRIES=0 KEEPALIVE_ENABLED=maybe; do
	is "$bad is refused" "$(env "$bad" "$AMBIENTD" --standalone "$MANIFESTS" --node x \
		2>&1 >/dev/null | grep -c "^ambientd: ${bad%%=*}: ")" 1
done
finish
