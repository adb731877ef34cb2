#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# ambientctl: each command answers, as a table and as JSON; the socket is for root only.
#
#   client (a) --held--> web (service) --> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
service_manifest web 10.96.0.1 "app: server" "{name: echo, port: 9000}"
traffic_server server 9000 8
policy allow-client ALLOW "app: server" "$(from_principal cluster.local/ns/demo/sa/client)"
wait_policy b allow-client
pod_spawn client "$TRAFFIC" rr -s 300 10.96.0.1
carrying() { [ -n "$(pod_exec server ss -Htn state established "sport = :9000")" ]; }
check "a connection is held" busywait carrying
is "the socket's mode" "$(stat -c %a "$(agent_socket a)")" 600
for c in status workloads services policies certs connections; do
	out=$(ctl b $c 2>&1)
	is "$c: status" $? 0
	at_least "$c: a table" "$(wc -l <<<"$out")" 1
	check "$c: JSON" jq -e . <<<"$(ctl b $c -o json)"
	unlike "$c: no colour off a terminal" "$out" $'\e'
done
# on_terminal NAME=VALUE COMMAND...: what it writes there.
on_terminal() { script -qec "env $(printf '%q ' "$@")" /dev/null </dev/null; }
need script
certs=("$AMBIENTCTL" certs --socket "$(agent_socket b)")
like "colour on a terminal" "$(on_terminal NO_COLOR= "${certs[@]}")" $'\e\\[32mAvailable'
unlike "unless NO_COLOR says no" "$(on_terminal NO_COLOR=1 "${certs[@]}")" $'\e'
unlike "no colour for a program" "$(on_terminal NO_COLOR= "${certs[@]}" -o json)" $'\e'
like "workloads has the pod" "$(ctl a workloads)" "demo/server|demo +server"
like "services has the service" "$(ctl a services)" web
like "its address stands without the network's slash" "$(ctl a services)" " 10\.96\.0\.1 "
like "policies has the policy" "$(ctl b policies)" allow-client
like "certs has the identity" "$(ctl b certs)" "$SPIFFE/server|ns/demo/sa/server"
out=$(ctl b connections)
diag "$out"
like "connections: from" "$out" "client"
like "connections: way" "$out" "tunnel|HBONE"
like "connections: policy" "$(ctl b connections -o json)" "allow-client"
out=$(ctl b why demo/client demo/server 9000)
diag "$out"
like "why: allowed, and by which policy" "$out" "allow-client"
out=$(ctl b why demo/stranger demo/server 9000)
like "why: not allowed" "$out" "not allowed|den"
check "probe" ctl a probe
check "log: tells" ctl a log
check "log: sets" ctl a log debug
check "the agent logs more" node_exec a sh -c \
	"curl -s -X POST http://127.0.0.1:15000/logging | grep -q debug"
check_fails "an unknown command" "$AMBIENTCTL" frobnicate
check_fails "no daemon" "$AMBIENTCTL" status --socket "$TMP/none"
like "says so" "$("$AMBIENTCTL" status --socket "$TMP/none" 2>&1)" "none"
finish
