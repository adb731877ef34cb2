#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A large mesh: 10 000 workloads and 1 000 services in one answer, then churn, then one answer of
# 190 MB, with what each costs in memory, as lines "# memory: ...". Times are printed too, and
# not judged.
#
#   agent (a) --> istiod (pod on a)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/cluster.sh
. "$LIB_DIR/cluster.sh"

need_plane
nodes a b
pod a istiod
plane_start

# memory FIELD: of the agent's address space, KiB.
memory() { awk -v f="$1:" '$1 == f { print $2 }' "/proc/${AGENT_PID[a]}/status"; }
# Under a sanitizer, memory is the sanitizer's.
within() {
	if [ -n "${AMB_SANITIZED:-}" ]; then
		diag "$1: $2 KiB (not judged)"
	else
		check "$1: $2 KiB, at most $3" test "$2" -le "$3"
	fi
}
# From here on VmHWM is the highest (proc(5), clear_refs).
new_peak() { echo 5 >"/proc/${AGENT_PID[a]}/clear_refs"; }
now_ms() { date +%s%3N; }

started=$(now_ms)
cluster_agent_start a
agent_ready a
diag "ready with an empty mesh after $(($(now_ms) - started)) ms"
busywait agent_settled a
empty=$(memory VmRSS)
diag "memory: $empty KiB with an empty mesh"
agent_stop a
plane many 10000 1000 >/dev/null
started=$(now_ms)
cluster_agent_start a
agent_ready a
diag "ready with 10 000 workloads and 1 000 services after $(($(now_ms) - started)) ms"
busywait agent_settled a
full=$(memory VmRSS)
counts() { metric a amb_state_workloads; metric a amb_state_services; }
is "workloads and services" "$(counts | xargs)" "10000 1000"
within "memory: 10 000 workloads and 1 000 services need" $((full - empty)) 10240
diag "memory: $(memory VmHWM) KiB at the most"

# Churn: whole, and no growth.
rate=${CHURN_RATE:-500} seconds=${CHURN_SECONDS:-5}
sent=$(plane churn "$rate" "$seconds")
changed() {
	config_dump a | jq '[.workloads[] | select(.canonicalRevision | startswith("c"))] | length'
}
settled() { [ "$(changed)" = $((sent < 10000 ? sent : 10000)) ]; }
check "$sent changes at $rate a second are taken" busywait settled
is "all are there" "$(counts | xargs)" "10000 1000"
within "memory: after it, more than before" $(($(memory VmRSS) - full)) 6144

# One answer that is larger than the agent.
new_peak
before=$(memory VmRSS)
from=$(plane_lines)
size=$(plane giant 100 190000000)
check "an answer of $size bytes is taken" wait_plane '.event == "ack"' "$from"
peak=$(memory VmHWM)
is "what was in it is known" "$(config_dump a |
	jq '[.workloads[] | select(.name | startswith("giant-"))] | length')" 100
within "memory: it needed at the most" $((peak - before)) 16384
is "nothing was refused" "$(plane_stat nacks)" 0
finish
