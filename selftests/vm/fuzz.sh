#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Malicious peers of agents whose tunnels hbone.ko carries: their handshakes are good, then they send
# frames and records at random. Others are served meanwhile, all of it ends, and the kernel has
# nothing to say.
#
#   stranger (a), fuzz.py client ==15008== server (b)
#   client (a) ==15008== evil (b), fuzz.py server
#   client ==15008== server: round trips that nothing may happen to
#
# FUZZ_SECONDS=300 FUZZ_SEED=7: for so long, with that seed (0: another one each time); the seed is
# told, and the number of each connection in the logs, so FUZZ_FIRST=N goes on from there.
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/kmod.sh
. "$LIB_DIR/kmod.sh"

FUZZ_SECONDS=${FUZZ_SECONDS:-30}
FUZZ_SEED=${FUZZ_SEED:-1}
[ "$FUZZ_SEED" != 0 ] || FUZZ_SEED=$((RANDOM << 15 | RANDOM))
need_peers
need_module
module_loads
export AMBIENT_TIER=kmod

two_pods_alone
pod a stranger
pod_manifest stranger demo stranger "app: stranger, istio.io/dataplane-mode: none"
pod b evil
pod_manifest evil demo evil "app: evil, networking.istio.io/tunnel: http, istio.io/dataplane-mode: none"
traffic_server server 9000 200
agents_start
S=${P4[server]}
pod_spawn client "$TRAFFIC" rr -t 4 --pace 100 -s 3600 --grace 60 "$S"
RR=$LAST_PID
check "innocent connections are held" busywait held_min 4

diag "seed $FUZZ_SEED, from connection ${FUZZ_FIRST:=0}, $FUZZ_SECONDS s"
fuzz() { # POD PART OPTION...
	local options=(--seed "$FUZZ_SEED" --first "$FUZZ_FIRST" --seconds "$FUZZ_SECONDS")
	peer_ca
	pod_spawn "$1" "$PYTHON" "$PEERS/fuzz.py" "$2" "${PEER_CA[@]}" "${options[@]}" "${@:3}"
}
# Here, too: what a VM that panics has said is all that is left.
saying() { tail -n +1 -f --pid=$$ "$TMP/app-$1.log" 2>/dev/null | sed -u "s/^# /# $1: /" & }
fuzz evil server --id "$SPIFFE/evil"
wait_listen evil 15008
fuzz stranger client --to "$S" --authority "$S:9000" --id "$SPIFFE/stranger"
CLIENT=$LAST_PID
: >"$TMP/app-caller.log"
ip netns exec "$(pod_ns client)" "$PYTHON" "$PEERS/fuzz.py" call --to "${P4[evil]}:9000" \
	--seed "$FUZZ_SEED" --seconds "$FUZZ_SECONDS" >"$TMP/app-caller.log" 2>&1 &
CALLER=$!
APP_PIDS+=($CALLER)
saying stranger
saying evil
wait $CLIENT
is "a malicious client says what it has to" $? 0 || diag "$(tail -n 5 "$TMP/app-stranger.log")"
wait $CALLER
is "applications meet a malicious server" $? 0 || diag "$(tail -n 5 "$TMP/app-caller.log")"
said() { grep -h '^{' "$TMP/app-$1.log" | jq -r "$2"; }
diag "client: $(said stranger tostring)"
diag "callers of the server: $(said caller tostring)"
at_least "the client had connections" "$(said stranger .connections)" $((FUZZ_SECONDS / 10))
at_least "that were carried" "$(said stranger .answered)" $((FUZZ_SECONDS / 20))
at_least "so had the server" "$(grep -c ' steps in ' "$TMP/app-evil.log")" $((FUZZ_SECONDS / 20))
check "round trips go on" kill -0 $RR
check "all of them" held_min 4
is "another one is served as well" "$(fetch client "http://$S/" "$DEADLINE")" hello
kill_app $RR
is "none had an error" "$(traffic_result client rr '"\(.errors) \(.error // "")"')" "0 "
for n in a b; do
	for c in ConnsCreated StreamsCreated ConnErrors StreamErrors RxBytes; do
		diag "$n: $c $(module_count $n $c)"
	done
done
at_least "connections broke in the module of b" "$(module_count b ConnErrors)" 1
at_least "streams too" "$(module_count b StreamErrors)" 1
at_least "and in that of a" "$(($(module_count a ConnErrors) + $(module_count a StreamErrors)))" 1

for n in a b; do agent_stop $n; done
balanced() { [ "$(module_count "$1" "$2Created")" = "$(module_count "$1" "$2Destroyed")" ]; }
for n in a b; do
	check "no stream is left in $n" busywait balanced $n Streams
	check "no connection either" busywait balanced $n Conns
done
check "nobody holds the module" busywait module_unused
module_leaks
check "it unloads" busywait rmmod hbone
unset AMBIENT_TIER
finish
