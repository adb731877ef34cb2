#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Agents whose tunnels hbone.ko carries: what tests of the host say of connections holds here too,
# and the agent has nothing to do with bytes.
#
#   client (a) ==15008== server (b), both tier kmod
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/kmod.sh
. "$LIB_DIR/kmod.sh"

need_module
module_loads
unset AMBIENT_TIER

two_pods --keep
# A thread for each of the streams that are held below.
traffic_server server 9000 104
S=${P4[server]}
tunnel() { ctl "$1" connections -o json | jq -r '[.[] | select(.way == "tunnel")][0] | '"$2"; }
shown() { [ "$(tunnel "$1" .tier)" = "$2" ]; }
pod_spawn client "$TRAFFIC" rr -t 2 -s 3600 "$S"
RR=$LAST_PID
check "auto is the module where it is loaded" busywait shown a kmod
check "on both sides" busywait shown b kmod

# Bytes pass without the agents: none of their threads has a turn for each of them.
turns() { awk '/ctxt_switches/ { n += $2 } END { print n }' /proc/"${AGENT_PID[$1]}"/task/*/status; }
kill_app "$RR"
is "round trips had no error" "$(traffic_result client rr '"\(.errors) \(.error // "")"')" "0 "
head -c 8000003 /dev/urandom >"$TMP/http-server-80/html/random"
fetch client "http://$S/" >"$TMP/first"
sent=$(module_count b TxBytes) a=$(turns a) b=$(turns b)
is "8 MB arrive as they are" "$(fetch client "http://$S/random" 120 | sha256sum)" \
	"$(sha256sum <"$TMP/http-server-80/html/random")"
sent=$(($(module_count b TxBytes) - sent)) a=$(($(turns a) - a)) b=$(($(turns b) - b))
at_least "the module of b sent them" $sent 8000003
diag "turns of the agents' threads meanwhile: a $a, b $b"
check "the agent of a has no turn for each record" test $a -lt 300
check "nor has that of b" test $b -lt 300
check "the access log has the bytes" wait_log b "bytes_sent=800[0-9]{4}\b"

# What is decided while connections live.
: >"$TMP/app-client.log"
pod_spawn client "$TRAFFIC" rr -t 4 -s 3600 "$S"
check "connections are held" busywait held_min 4
passed() { [ "$(tunnel b '.bytesToDst')" -gt 1000 ]; }
check "their bytes are shown while they live" busywait passed
policy cut DENY "app: server" "$(from_principal cluster.local/ns/demo/sa/client)"
check "a DENY cuts them in the kernel" busywait held 0
wait "$LAST_PID"
is "the client notices" "$?" 1
check "the reason is in the access log" wait_log b 'policy change'
manifest_remove policy-cut
wait_no_policy b cut
is "a page is fetched again" "$(fetch client "http://$S/")" hello
no_streams() { [ "$(module_count "$1" StreamsCreated)" = "$(module_count "$1" StreamsDestroyed)" ]; }
check "no stream is left in b" busywait no_streams b
check "nor in a" busywait no_streams a

# Agents come and go, and the kernel carries on: 100 round-trip streams and 8 of bulk. They take what
# others leave of the only CPU, for beside them agents are to start; what the module does for them is
# not of their priority, so each makes a round trip in two seconds.
: >"$TMP/app-client.log"
pod_spawn client chrt --idle 0 "$TRAFFIC" rr -t 100 --pace 2000 -s 3600 --grace 150 "$S"
RR=$LAST_PID
check "they are held" busywait held_min 100
pod_spawn client chrt --idle 0 "$TRAFFIC" bulk -t 8 -s 3600 --grace 150 "$S"
BULK=$LAST_PID
# What the module has not got yet dies with the agent; bytes pass where it has. Asking takes the CPU
# from them.
moving() {
	sleep 3
	[ "$(ctl "$1" connections -o json |
		jq '[.[] | select(.tier == "kmod" and .bytesToDst > 0)] | length')" -ge 108 ]
}
check "the module of a carries all of them" busywait moving a
check "and that of b" busywait moving b
adopted() { log_has "$1" "kernel carried on" "$2"; }
moved() { [ "$(module_count "$1" RxBytes)" -ge $(($2 + 1000)) ]; }
again() { # NODE SIGNAL
	local from before
	from=$(log_lines "$1")
	agent_stop "$1" "$2"
	before=$(module_count "$1" RxBytes)
	check "$1 after $2: bytes pass while no agent runs" busywait moved "$1" "$before"
	agent_start "$1" --keep
	agent_ready "$1"
	check "$1 after $2: the next one adopts what is there" busywait adopted "$1" "$from"
	shows() { [ "$(ctl "$1" connections -o json | jq '[.[] | select(.tier == "kmod")] | length')" -ge 108 ]; }
	check "$1 after $2: and shows it" busywait shows "$1"
}
again b KILL
again a KILL
again b TERM
again a TERM
# A handshake beside bulk, on one emulated CPU.
is "new connections are served as well" "$(fetch client "http://$S/" "$DEADLINE")" hello
check "all are held still" held_min 100
# Told, not judged: what an emulated CPU gives to whom is no property of the module. An answer takes
# a starved VM up to 18 s, so it is asked once; bench/vm, case restart, looks at each restart.
diag "longest gaps of round trips over all (ms, median and worst of 100): $(traffic_gaps client $RR)"
kill_app $RR
kill_app $BULK
is "round trips had no error" "$(traffic_result client rr '"\(.errors) \(.error // "")"')" "0 "
is "bulk had none" "$(traffic_result client bulk '"\(.errors) \(.error // "")"')" "0 "
diag "$(traffic_result client rr '"round trips: \(.count), p99 \(.p99_us) us"')"

# What was adopted is judged as everything else.
: >"$TMP/app-client.log"
pod_spawn client "$TRAFFIC" rr -t 4 -s 3600 "$S"
check "connections are held" busywait held_min 4
agent_stop b KILL
policy cut DENY "app: server" "$(from_principal cluster.local/ns/demo/sa/client)"
sleep 0.3
check "without an agent they go on" held_min 4
agent_start b --keep
agent_ready b
check "a policy that came meanwhile cuts them" busywait held 0
manifest_remove policy-cut

for n in a b; do agent_stop $n KILL; done
AGENT_EXIT=([a]=0 [b]=0)
check "uninstall ends what is left" uninstall a
check "and there" uninstall b
check "nobody holds the module" busywait rmmod hbone
finish
