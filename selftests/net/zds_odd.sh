#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A CNI that misbehaves: the agent goes on, carries its pods, and is in order after the next
# proper snapshot.
#
#   client (a) ==15008==> server (b)      the CNI of b is odd
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

CAPTURE=none # the CNI does it
need nsenter iptables-nft
two_pods_alone
traffic_server server 9000 8
zds_start a b
zds_pod register client >/dev/null
zds_pod register server >/dev/null
cni_rules client nft
cni_rules server iptables-nft
agent_start a --zds "$(zds_socket a)"
agent_start b --zds "$(zds_socket b)"
agent_ready a b
pod_spawn client "$TRAFFIC" rr -t 2 -s 300 "${P4[server]}"
held=$LAST_PID
connected() { [ -n "$(pod_exec server ss -Htn state established "sport = :9000")" ]; }
check "a connection is held" busywait connected

# Its own and the pod's.
namespaces() { find "/proc/${AGENT_PID[b]}/fd" -lname 'net:*' -o -lname '/run/netns/*' | wc -l; }
is "the agent holds two namespaces" "$(namespaces)" 2

# anew WHAT: the CNI sends it, the agent hangs up and comes back.
n=1
anew() {
	like "$1: the agent hangs up" "$(zds b do=send what="$1")" '"closed":'
	n=$((n + 1))
	check "$1: and comes back" busywait zds_connections b $n
}
for what in add-without-fd add-two-fds add-eight-fds add-no-info keep-with-fd del-with-fd \
	late-keep second-snapshot garbage cut empty long; do
	anew $what
done
is "a pod without a proper name is refused" "$(zds b do=send what=add-bad-name |
	jq -r .answer)" \
	"failure to start proxy: uid, namespace, name and service account have to be names"
like "so is one without uid" "$(zds b do=send what=add-no-uid | jq -r .answer)" "have to be names"
is "a descriptor that is no namespace is refused" "$(zds b do=send what=add-no-netns |
	jq -r .answer)" "failure to start proxy: Invalid argument"
is "a request of a later version is refused" "$(zds b do=send what=unknown | jq -r .answer)" \
	"unknown request"
is "with a descriptor too" "$(zds b do=send what=unknown-with-fd | jq -r .answer)" \
	"unknown request"
is "fields of a later version are skipped" "$(zds b do=send what=newer)" '{"answer": ""}'
is "requests sent without waiting are answered in order" \
	"$(zds b do=send what=pipelined | jq -c .answer)" '["","","","unknown request"]'
is "on that connection" "$(zds_status b '.open[-1].number')" $n
zds b do=send what=half >/dev/null
n=$((n + 1))
check "closed in the middle: it comes back" busywait zds_connections b $n
check "all that time the connection was carried" kill -0 "$held"
is "each answer came in time" "$(zds_status b '[.open[], .past[]] | map(.slowest < 5) | all')" true

# --- no snapshot
zds b do=mode mode=refuse >/dev/null
zds b do=drop >/dev/null
check "not ready while the CNI hangs up" busywait eval '! ready b'
zds b do=mode mode=silent >/dev/null
zds b do=drop >/dev/null
check "a CNI that does not even read" busywait eval \
	'[ "$(zds_status b ".open[-1].hello")" = null ]'
zds b do=mode mode=nosnapshot >/dev/null
zds b do=drop >/dev/null
check "a CNI that sends no snapshot" busywait eval \
	'[ "$(zds_status b ".open[-1] | [.hello, .snapshot] | @csv")" = "1,false" ]'
check_fails "the agent is not ready" ready b
check "but carries" kill -0 "$held"
is "a pod may be added meanwhile" "$(fetch client "http://${P4[server]}/")" hello
zds b do=mode mode=normal >/dev/null
zds b do=drop >/dev/null
check "a proper snapshot at last" busywait ready b
check "all that time the connection was carried" kill -0 "$held"
kill_app "$held"
is "descriptors do not add up" "$(namespaces)" 2
cni_unrule client server
finish
