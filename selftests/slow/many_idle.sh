#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A thousand idle connections cost little, and nothing once they are closed.
#
#   client (a) --1000 held--> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
traffic_server server 9000 8
rss() { awk '/^VmRSS/ { print $2 }' "/proc/${AGENT_PID[$1]}/status"; }
fetch client "http://${P4[server]}/" >/dev/null
before=$(rss a)
pod_spawn client "$TRAFFIC" hold -n 1000 "${P4[server]}"
held() { grep -q '"count":1000,' "$TMP/app-client.log"; }
check "a thousand connections are held" busywait held
sleep 1
is "they are all live" "$(pod_exec server ss -Htn state established "sport = :9003" | wc -l)" 1000
check "for less than 3 MB ($(($(rss a) - before)) kB)" test $(($(rss a) - before)) -lt 3072
is "the agent lists them" \
	"$(ctl b connections -o json | jq '[.. | objects | select(has("direction"))] | length')" \
	1000
kill_app "$LAST_PID"
closed() { [ "$(metric a istio_tcp_sockets_open)" = 0 ]; }
check "all are closed" busywait closed
at_least "and counted" "$(metric a istio_tcp_connections_closed_total reporter=source)" 1000
finish
