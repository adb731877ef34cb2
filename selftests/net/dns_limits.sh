#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# DNS of a pod that floods, stalls and babbles: what it costs is bounded, and another pod does not
# notice.
#
#   pod evil  --.
#   pod quiet --+-- br0 (node a) -- dns_server.py 10.11.0.1
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
need_agent
need dig
need_python dns

nodes a
pod a evil
pod a quiet
mesh_defaults
pod_manifest evil
pod_manifest quiet
service_manifest web 10.96.0.1 "app: quiet" "{port: 80}"
ip netns exec "$(node_ns a)" "$PYTHON" "$PEERS/dns_server.py" 10.11.0.1 >"$TMP/app-first.log" 2>&1 &
APP_PIDS+=("$!")
busywait grep -q ready "$TMP/app-first.log" || bail "no name server"
echo nameserver 10.11.0.1 >"$TMP/resolv.conf"
agents_start --workers 1 --resolv-conf "$TMP/resolv.conf"
# A change of DNS capture would cut connections, so it is a pod's start that counts.
ask() { pod_exec "$1" dig +short +tries=1 +time=8 @192.0.2.53 "${@:2}"; }
is "before" "$(ask quiet web.demo)" 10.96.0.1
peer() { pod_exec evil "$PYTHON" "$PEERS/dns_client.py" "$@"; }
PID=${AGENT_PID[a]}
fds() { find "/proc/$PID/fd" -mindepth 1 | wc -l; }
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$PID/status"; }
limits() { metric a amb_ended_total reason=limit; }
fds_before=$(fds)
peer flood x.ok.test 200 >/dev/null
busywait agent_settled a
rss_before=$(rss)

# --- a flood that nobody answers
peer --wait 7 flood x.never.test 20000 >"$TMP/flood" &
FLOOD=$!
busywait metric_at_least 1 a amb_ended_total reason=limit
most=$(fds)
slowest=0
answered=0
for i in $(seq 10); do
	before=$(date +%s%N)
	got=$(ask quiet "q$i.ok.test")
	took=$((($(date +%s%N) - before) / 1000000))
	[ "$got" != 192.0.2.1 ] || answered=$((answered + 1))
	[ $took -le $slowest ] || slowest=$took
	now=$(fds)
	[ "$now" -le "$most" ] || most=$now
done
is "another pod has its answers meanwhile (slowest $slowest ms)" $answered 10
is "and the mesh's names" "$(ask quiet web.demo)" 10.96.0.1
check "open files are bounded ($fds_before, at most $most)" test "$most" -le $((fds_before + 280))
wait "$FLOOD"
# How many the kernel drops before the agent sees them depends on who has the CPU.
at_least "what was too much got an error" "$(jq '.SERVFAIL // 0' "$TMP/flood")" 100
is "nothing else" "$(jq -c 'keys' "$TMP/flood")" '["SERVFAIL"]'
at_least "counted" "$(limits)" 100
check "all is closed again" busywait eval '[ "$(fds)" -le $((fds_before + 2)) ]'
[ -n "${AMB_SANITIZED:-}" ] ||
	check "memory is bounded ($rss_before kB, $(rss) kB)" test "$(rss)" -lt $((rss_before + 4096))
is "the pod itself is served again" "$(ask evil web.demo)$(ask evil x.ok.test)" \
	"10.96.0.1192.0.2.1"

# --- a flood of names that are known
peer --wait 2 flood web.demo 20000 >"$TMP/flood"
is "known names need no limit" "$(jq -c 'keys' "$TMP/flood")" '["NOERROR"]'

# --- TCP
is "connections of one pod are bounded" "$(peer connections 40 | jq .kept)" 32
at_least "... and time" "$(peer connections 3 | jq .seconds)" 4
# The name server needs its time for answers that the kernel's buffers do not hold.
stuck=$(peer --wait 120 stuck x.n-4000.test 600)
is "who does not read is let go ($stuck)" "$(jq .let_go <<<"$stuck")" true
check "what the kernel held for it is bounded" test "$(jq .bytes <<<"$stuck")" -lt 20000000
check "... and not read from ($(grep -c n-4000 "$TMP/app-first.log") of 600)" test \
	"$(grep -c n-4000 "$TMP/app-first.log")" -lt 300
check "all is closed again" busywait eval '[ "$(fds)" -le $((fds_before + 2)) ]'

# --- nonsense
is "answers to nonsense" "$(peer nonsense | jq -cS .)" \
	'{"FORMERR":3,"NOTIMP":1,"closed":3,"nothing":5}'
is "still there" "$(ask evil web.demo)" 10.96.0.1

# --- a pod that goes while its queries wait
peer --wait 0 flood x.never.test 200 >/dev/null
pod_exec evil timeout 3 dig +tcp +tries=1 +time=3 @192.0.2.53 x.never.test >/dev/null &
DIG=$!
busywait eval '[ "$(fds)" -gt $((fds_before + 100)) ]'
manifest_remove pod-evil
check "goes" busywait not_enrolled evil
wait "$DIG"
check "nothing of it is left" busywait eval '[ "$(fds)" -le "$fds_before" ]'
is "the other one goes on" "$(ask quiet x.ok.test)" 192.0.2.1
finish
