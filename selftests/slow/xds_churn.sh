#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A minute of 1 000 updates a second in a mesh of 10 000 workloads and 1 000 services, one in five
# by removal and return: the agent's memory is flat, and connections go on as if nothing was. What
# it costs round trips is shown here and judged by the bench (case xds).
#
#   client, agent (a) --> istiod (pod on a)          server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/cluster.sh
. "$LIB_DIR/cluster.sh"
# shellcheck source=selftests/ways.sh
. "$LIB_DIR/ways.sh"

need_plane
need nginx
nodes a b
pod a client
pod b server
pod a istiod
http_server server 8080 hello
traffic_server server 9000 8
plane_start
plane many 10000 1000 >/dev/null
put "$(workload client)" "$(workload server "$(member web 80 8080)")" \
	"$(vip_service web 10.96.0.1 80 8080)"
cluster_agents_start
enroll client
enroll server
memory() { awk '$1 == "VmRSS:" { print $2 }' "/proc/${AGENT_PID[a]}/status"; }

# rr SECONDS: round trips of 64 bytes through the tunnel, one connection; p50 in microseconds.
rr() { pod_exec client "$TRAFFIC" rr -t 1 -s "$1" "${P4[server]}" | jq '.p50_us | floor'; }
opened=$(opened source mutual_tls)
quiet=$(rr 2) quiet="$quiet $(rr 3) $(rr 3) $(rr 3)"
check "they go by tunnel" busywait more_opened $((opened + 3)) source mutual_tls
plane churn 1000 60 >"$TMP/sent" &
churn=$!
sleep 2
busy="$(rr 3) $(rr 3) $(rr 3) $(rr 3)"
samples=() failed=0
while kill -0 $churn 2>/dev/null; do
	sleep 2
	samples+=("$(memory)")
	fetches client http://10.96.0.1/ || failed=$((failed + 1))
done
wait $churn
diag "$(cat "$TMP/sent") updates; KiB each 2 s: ${samples[*]}"
diag "round trip, p50 us: before $quiet; meanwhile $busy; after $(rr 3) $(rr 3)"
sent=$(cat "$TMP/sent")
at_least "updates" "$sent" 48000
# The last one of each: they go round.
arrived() {
	config_dump a | jq '[.workloads[].canonicalRevision | select(startswith("c"))[1:] | tonumber] |
		"\(length) \(min) \(max)"' -r
}
settled() { [ "$(arrived)" = "10000 $((sent - 9999)) $sent" ]; }
check "all of them arrived" busywait settled
is "connections that failed meanwhile" "$failed" 0
is "answers that were refused" "$(plane_stat nacks)" 0
# The first quarter is for what a mesh under way needs; then what is needed does not grow.
mean() { printf '%s\n' "$@" | awk '{ s += $1 } END { printf "%d", s / NR }'; }
n=${#samples[@]}
second=$(mean "${samples[@]:n / 4:n / 4}")
last=$(mean "${samples[@]:n - n / 4}")
check "memory in the last quarter, less that in the second: $((last - second)) KiB" \
	test $((last - second)) -le 2048
is "workloads" "$(metric a amb_state_workloads)" 10002
finish
