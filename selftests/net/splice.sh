#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Splice: two pods of one node that opted in. Their connections are those of the direct way, with
# identity, policy, bytes and telemetry, but what they send does not pass TCP.
#
#   client, server (opted in): echo 9000, hold 9003; other (not opted in)        all on node a
#
# The program needs a function of Linux 6.2; without it such connections go direct.
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/ways.sh
. "$LIB_DIR/ways.sh"

CAPTURE=ebpf
need_agent
need bpftool
nodes a
for p in client server other; do
	pod a $p
done
mesh_defaults
for p in client server; do
	pod_document $p | sed 's|^  annotations:|&\n    ambientd.io/splice: "true"|' |
		manifest "pod-$p"
done
pod_manifest other
traffic_server server 9000 8
agents_start

way_of() { ctl a why "demo/$1" "${P4[server]}" 9000 -o json | jq -r .kernel.way; }
# One connection goes by the agent, and leaves the row by which the kernel decides the next ones.
becomes() { # WAY POD
	echo_once "$2" >/dev/null
	[ "$(way_of "$2")" = "$1" ]
}
SPLICE_WORD='splice, which pod demo/[a-z]* wants: .*; connections go direct instead'
if grep -qw bpf_rdonly_cast /proc/kallsyms; then
	way=splice words=0
else
	way=direct words=1
fi
diag "this kernel's way for them: $way"
is "the agent says once that a kernel cannot, and only then" \
	"$(grep -c "$SPLICE_WORD" "$(agent_log a)")" $words
check "both have opted in: $way" busywait becomes $way client
check "the source has not: direct" busywait becomes direct other

# Rows of ends, and what they moved
dump() { bpftool -j map dump pinned "$(agent_pins a)/amb_spliced"; }
ends() { dump | jq length; }
ends_are() { [ "$(ends)" = "$1" ]; }
moved() { dump | jq '[.[].formatted.value.moved] | min // 0'; }

# So many bytes each way, and an orderly end, which TCP counts as one more byte, by whatever way.
EXACT='import socket, sys
s = socket.create_connection((sys.argv[1], 9000), timeout=60)
for i in range(16):
	s.sendall(bytes(4096))
	left = 4096
	while left:
		left -= len(s.recv(left))
s.close()'
told_exactly() {
	[ "$(grep 'connection complete' "$(agent_log a)" | grep -F 'src.workload="client"' |
		grep -c 'bytes_sent=6553[67] bytes_recv=6553[67]')" = 2 ]
}
security() { opened "$1" node_local source_principal=$SPIFFE/client \
	destination_principal=$SPIFFE/server; }
tunnels() { opened source mutual_tls source_workload=client; }
source=$(security source) destination=$(security destination) tunnel=$(tunnels)
check "64 KiB there and back" pod_exec client "$PYTHON" -c "$EXACT" "${P4[server]}"
check "both ends log them, none more" busywait told_exactly
check "it leaves no rows" busywait ends_are 0
opened_now() { [ "$(security source) $(security destination)" = "$1 $2" ]; }
check "counted by both reporters, within the node, with both principals" busywait opened_now \
	$((source + 1)) $((destination + 1))
is "not as a tunnel" "$(tunnels)" "$tunnel"

# A live one
hold client "${P4[server]}"
check "one is held" busywait held 1
check "ctl connections: its way, once for each end, with both identities" busywait live_is 9000 \
	"$(both_ends | sed "s/^direct/$way/")"
bytes() {
	ctl a connections -o json | jq --arg w $way \
		'[.[] | select(.way == $w) | .bytesToDst, .bytesToSrc] | min'
}
check "its bytes are seen while it lives" busywait grows 100000
counted() { metric a istio_tcp_received_bytes_total reporter="$1" \
	connection_security_policy=node_local source_workload=client; }
for r in source destination; do
	before=$(counted $r)
	counts() { [ "$(counted $r)" -gt $((before + 100000)) ]; }
	check "and counted, by the $r" busywait counts
done
if [ $way = splice ]; then
	is "bpftool: a row for each end" "$(ends)" 2
	at_least "both moved what they sent" "$(moved)" 100000
	is "and not by TCP" "$(dump | jq '[.[].formatted.value.by_tcp] | add')" 0
	# What TCP carried of it: its first segments, before the other end was there.
	carried() { pod_exec client ss -Htin state established "dport = :9000" |
		grep -o 'bytes_acked:[0-9]*' | cut -d: -f2; }
	check "TCP knows of little" [ "$(carried)" -lt 10000 ]
else
	is "bpftool: no rows" "$(ends)" 0
fi

# Policy
policy cut DENY "app: server" "$(from_principal cluster.local/ns/demo/sa/client)"
check "a policy against it cuts it" busywait held 0
check "the application notices" busywait ended "$HELD"
check "told as cut" wait_log a 'policy change'
check "no rows are left" busywait ends_are 0
refused_now() { [ "$(way_of client)" = deny ]; }
echo_once >/dev/null 2>&1
check "new ones are refused by the kernel" busywait refused_now
manifest_remove policy-cut
wait_no_policy a cut
check "without the policy: $way" busywait becomes $way client

# Killed
hold client "${P4[server]}"
check "one is held" busywait held 1
busywait live_is 9000 "$(both_ends | sed "s/^direct/$way/")"
kill -KILL "$HELD"
wait "$HELD" 2>/dev/null
check "its program is killed: no rows are left" busywait ends_are 0
check "nor a connection" busywait live_is 9000 ""
finish
