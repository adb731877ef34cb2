#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who encrypts tunnels, and who carries their bytes (--tier): what was asked for, what this kernel
# can, what a connection got, and that two nodes need not agree; with kernel TLS also what the
# kernel says of it, peers that change their keys, and a kernel that takes no keys any more.
#
#   client (a), stranger (no mesh) ==15008== server (b): echo, files
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_peers
need openssl
# The agents' tiers are this test's to choose.
unset AMBIENT_TIER
two_pods_alone
pod a stranger
pod_manifest stranger demo stranger "app: stranger, istio.io/dataplane-mode: none"
traffic_server server 9000 16
S=${P4[server]}

status_of() { "$AMBIENTD" --standalone "$MANIFESTS" --node a "$@" >"$TMP/out" 2>&1; echo $?; }
is "an unknown tier is refused" "$(status_of --tier fast)" 64
like "with the tiers there are" "$(cat "$TMP/out")" "'fast' is none of auto, user, ktls, kmod"
is "also in the environment" "$(AMBIENT_TIER=kernel status_of)" 64

# tiers A B: agents anew, and a connection through the tunnel that stays open.
tiers() {
	local n
	for n in a b; do agent_stop $n; done
	: >"$TMP/app-client.log"
	agent_start a --tier "$1"
	agent_start b --tier "$2"
	agent_ready a b
	wait_enrolled client
	wait_enrolled server
	# Paced: in a VM it would else have the CPU on which agents start and files are fetched.
	pod_spawn client "$TRAFFIC" rr -t 1 --pace 10 -s 3600 "$S"
	LOAD_PID=$LAST_PID
}
tunnel() { ctl "$1" connections -o json | jq -r '[.[] | select(.way == "tunnel")][0] | '"$2"; }
shown() { [ "$(tunnel "$1" '"\(.tier) \(.cipher)"')" = "$2" ]; }
tunnels() { metric "$1" amb_tunnels_total "tier=$2"; }
# The load went on, without an error, to its end.
load_is_good() {
	kill_app "$LOAD_PID"
	is "$1: the connection had no error" "$(traffic_result client rr '"\(.errors) \(.error // "")"')" "0 "
	at_least "$1: and was in use" "$(traffic_result client rr .count)" 10
}

tiers auto auto
check "auto is the agent itself" busywait shown a "user AES-128-GCM"
check "on both sides" busywait shown b "user AES-128-GCM"
at_least "it counts records" "$(tunnel a .recordsSent)" 2
at_least "tunnels are counted by tier" "$(tunnels a user)" 1
like "a table shows both" "$(ctl a connections)" "tunnel +user +AES-128-GCM"
like "the agent's own tier works" "$(ctl a probe)" "user +yes .*with (wolfCrypt|libgcrypt|libipsec-mb)$"
is "a client that changes its keys is followed" "$(hbone_key_update stranger | jq -c '[.echoed, .closed]')" "[3,false]"
load_is_good auto

probe_of() { ctl a probe -o json | jq -r --arg n "$1" '.[$n] | "\(.ok) \(.detail)"'; }
KTLS=$(probe_of ktls) REKEYS=$(probe_of ktls-rekey)
if [[ $KTLS != true* ]]; then
	is "this is no machine of ours, where it has to be" "${VM_KERNEL:-}" ""
	like "why kernel TLS is not there" "$KTLS" "^false .*: [A-Za-z_ ]+.*: [A-Z]"
	agent_stop a
	agent_start a --tier ktls
	wait "${AGENT_PID[a]}"
	is "who insists is told" $? 70
	unset "AGENT_PID[a]"
	like "what is missing" "$(tail -n 3 "$(agent_log a)")" "tier ktls: .*: [A-Z]"
	skip "kernel TLS carries tunnels" "this kernel has no TLS"
	finish
fi

kernel_count() { pod_exec "$1" awk -v n="$2" '$1 == n { print $2 }' /proc/net/tls_stat; }
head -c 3000017 /dev/urandom >"$TMP/http-server-80/html/random"
sum() { sha256sum | cut -d' ' -f1; }
WANTED=$(sum <"$TMP/http-server-80/html/random")
if [ -n "${VM_KERNEL:-}" ]; then
	like "without hbone.ko there is no tier kmod" "$(status_of --tier kmod; tail -n 3 "$TMP/out")" \
		"tier kmod: .*: No such file or directory \(the kernel has no module hbone\)"
	check "hbone.ko loads" insmod "$BUILD/vm/$VM_KERNEL/kmod/hbone.ko"
	PAIRS=("kmod user" "user kmod" "ktls user" "user ktls" "ktls ktls")
else
	PAIRS=("ktls user" "user ktls" "ktls ktls")
	skip "hbone.ko carries tunnels" "the module is not loaded into this machine's kernel"
fi
# These kernels give no keys to a socket that is in a sockmap: who has them is in none.
for pair in "${PAIRS[@]}"; do
	read -r ta tb <<<"$pair"
	before_a=$(kernel_count client TlsTxSw) before_b=$(kernel_count server TlsTxSw)
	tiers "$ta" "$tb"
	check "$pair: a has what it should" busywait shown a "$ta AES-128-GCM"
	check "$pair: b too" busywait shown b "$tb AES-128-GCM"
	is "$pair: three megabytes arrive as they are" \
		"$(fetch client "http://$S/random" 120 | sum)" "$WANTED"
	for n in a:client:$ta:$before_a b:server:$tb:$before_b; do
		IFS=: read -r node name tier before <<<"$n"
		at_least "$pair: tunnels of $node" "$(tunnels $node "$tier")" 1
		more=$(($(kernel_count "$name" TlsTxSw) - before))
		if [ "$tier" != user ]; then
			at_least "$pair: the kernel took keys in $name" "$more" 1
			at_least "$pair: and counts records" "$(tunnel $node .recordsSent)" 3
		else
			is "$pair: the kernel took no keys in $name" "$more" 0
		fi
		is "$pair: nothing was refused on $node" "$(metric $node amb_tier_refused_total)" 0
		[ "$tier" = kmod ] || continue
		at_least "$pair: hbone.ko of $node carried them" \
			$(($(module_count $node RxBytes) + $(module_count $node TxBytes))) 3000000
	done
	load_is_good "$pair"
done
is "the config says so" "$(config_dump a | jq -r .config.tier)" ktls

got=$(hbone_client stranger --to "$S" --authority "$S:9000" --bytes 300000 echo)
is "a foreign client gets its odd frames back" "$(jq .echoed <<<"$got")" true
got=$(hbone_key_update stranger)
if [[ $REKEYS == true* ]]; then
	is "a client that changes its keys is followed by the kernel" \
		"$(jq -c '[.echoed, .closed]' <<<"$got")" "[3,false]"
	is "no key was refused" "$(metric b amb_rekeys_refused_total)" 0
else
	like "the probe says what this kernel lacks" "$REKEYS" "keys again: Device or resource busy"
	is "a client that changes its keys is told goodbye" \
		"$(jq -c '[.echoed, .closed, .goaway]' <<<"$got")" "[1,true,0]"
	is "with the reason counted" "$(metric b amb_ended_total reason=rekey)" 1
	is "and the connection" "$(metric b amb_rekeys_refused_total)" 1
fi

# A kernel that takes no keys any more: new tunnels stay with the agent.
for n in a b; do agent_stop $n; done
[ -z "${VM_KERNEL:-}" ] || check "hbone.ko unloads when its agents are gone" busywait rmmod hbone
from=$(log_lines a)
agent_start a --tier ktls
agent_start b --tier ktls
agent_ready a b
wait_enrolled client
wait_enrolled server
if [ -n "${VM_KERNEL:-}" ]; then
	mkdir -p /etc/modprobe.d
	echo "install tls /bin/false" >/etc/modprobe.d/no-tls.conf
	check "the module goes when nobody uses it" busywait rmmod tls
	is "a page is fetched all the same" "$(fetch client "http://$S/" 60)" hello
	check "by the agent itself" busywait metric_at_least 1 a amb_tunnels_total tier=user
	at_least "counted" "$(metric a amb_tier_refused_total)" 1
	check "and said" log_has a "kernel TLS took no keys" "$from"
	rm /etc/modprobe.d/no-tls.conf
	modprobe tls
else
	skip "a kernel that takes no keys any more" "the module is the machine's, not this test's"
fi
finish
