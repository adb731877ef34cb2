#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# SIGTERM: not ready at once, no new connections, the old ones may finish until the deadline.
#
#   client (a) --held--> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods --drain 6s
traffic_server server 9000 8
pod_spawn client "$TRAFFIC" rr -t 2 -s 300 "${P4[server]}"
short=$LAST_PID
pod_spawn client "$TRAFFIC" rr -t 1 -s 300 "${P4[server]}"
long=$LAST_PID
check "three connections are carried" busywait held_min 3
begin=$SECONDS
kill -TERM "${AGENT_PID[b]}"
check "not ready" busywait eval '! ready b'
check "listeners are closed" busywait eval '! listening server 15008'
kill_app "$short"
is "a connection that ends within the deadline ends well" \
	"$(grep '"rr"' "$TMP/app-client.log" | head -n 1 | jq -r .errors)" 0
wait "${AGENT_PID[b]}"
AGENT_EXIT[b]=$?
unset "AGENT_PID[b]"
took=$((SECONDS - begin))
# Nothing else would end it within five minutes.
check "the agent ends by the deadline ($took s)" test $took -lt 120
wait "$long"
is "what was left was ended" "$(grep '"rr"' "$TMP/app-client.log" | tail -n 1 | jq -r .errors)" 1
check "and the access log says so" log_has b 'failed to drain|drain'
is "the rules are gone" "$(pod_exec server nft list tables)" ""
finish
