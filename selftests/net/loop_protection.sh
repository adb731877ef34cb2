#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Nobody gets at the agent's own ports, by any way in, and nothing goes round in circles.
#
#   client (mesh), stranger (no mesh) --> 15001, 15006, 15008 of server
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
nothing() { # POD HOST PORT: no HTTP answer and no hang
	local out
	out=$(pod_exec "$1" curl -s -m 30 -o /dev/null -w '%{http_code} %{exitcode}' \
		"http://$2:$3/")
	case $out in "000 28" | [1-9]*) echo "$out"; return 1 ;; esac
}
for port in 15001 15006 15008; do
	check "a stranger calls port $port" nothing stranger "${P4[server]}" $port
	check "a pod of the mesh calls port $port" nothing client "${P4[server]}" $port
	check "a pod calls its own port $port by its address" nothing client "${P4[client]}" $port
	check "and by loopback" nothing client 127.0.0.1 $port
	check "and by v6 loopback" nothing client "[::1]" $port
done
service_manifest loop 10.96.0.66 "app: server" "{port: 80, targetPort: 15008}"
service_known() { config_dump a | jq -e '.services[] | select(.name == "loop")' >/dev/null; }
check "the service is known" busywait service_known
check "a service whose target is the agent's port" nothing client 10.96.0.66 80
is "the agents go on" "$(fetch client "http://${P4[server]}/")" hello
calm() { [ "$(pod_exec server ss -Htn state established | wc -l)" -lt 20 ]; }
check "no crowd of connections is left" busywait calm
finish
