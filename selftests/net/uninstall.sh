#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a killed agent leaves in the kernel: `ambientctl uninstall` removes all of it.
#
#   client (a) --> near (a)     captured by programs, then by rules
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_agent
need nginx unshare bpftool
nodes a
pod a client
pod a near
mesh_defaults
pod_manifest client
pod_manifest near
http_server near 80
http_server near 8080

leftovers() {
	local p
	for p in client near; do
		pod_exec $p nft list tables
		ip -n "$(pod_ns $p)" rule show priority 32764
		ip -n "$(pod_ns $p)" route show table 100 2>/dev/null
		pod_exec $p sysctl -n $SWITCHES | grep -v 0
	done
	node_exec a tc qdisc show | grep clsact
	ls "$(agent_pins a)" 2>/dev/null
	return 0
}

for CAPTURE in ebpf nft; do
	agents_start
	[ $CAPTURE = nft ] || like "ebpf: while an agent runs it is refused" "$(uninstall a)" \
		"an agent uses"
	like "$CAPTURE: while one answers it is refused" \
		"$(AMBIENT_SOCKET=$(agent_socket a) uninstall a)" "an agent answers at .*: stop it first"
	is "$CAPTURE: traffic" "$(fetch client "http://${P4[near]}/")" near
	agent_stop a KILL
	AGENT_EXIT=([a]=0)
	check "$CAPTURE: its socket is no agent" test -S "$(agent_socket a)"
	unlike "$CAPTURE: a killed agent leaves things" "$(leftovers)" '^$'
	is "$CAPTURE: which keep pods from talking" "$(fetch client "http://${P4[near]}:8080/")" ""
	[ $CAPTURE = nft ] || is "ebpf: but where the kernel had decided" \
		"$(fetch client "http://${P4[near]}/")" near
	like "$CAPTURE: uninstall tells what it removes" \
		"$(AMBIENT_SOCKET=$(agent_socket a) uninstall a)" "^removed: "
	is "$CAPTURE: nothing is left" "$(leftovers)" ""
	is "$CAPTURE: the pods talk again, outside of the mesh" \
		"$(fetch client "http://${P4[near]}/")" near
	like "$CAPTURE: nothing is left to remove" "$(uninstall a)" "^nothing was left"
done

# From a container that sees neither names nor processes of pods
CAPTURE=ebpf
agents_start --absent wait
agent_stop a KILL
AGENT_EXIT=([a]=0)
out=$(nsenter --net="/run/netns/$(node_ns a)" unshare --mount --pid --fork --mount-proc \
	sh -c 'mount -t tmpfs none /run/netns && exec "$@"' - \
	"$AMBIENTCTL" uninstall --bpf-dir "$(agent_pins a)")
like "it says that it did not see the pods" "$out" "^the network namespaces of 2 pods are gone, or not"
is "what is outside of them is gone" "$(node_exec a tc qdisc show | grep clsact)" ""
check "and the pins" test ! -e "$(agent_pins a)"
unlike "what is inside is not" "$(leftovers)" '^$'
like "neither is the filter for those that wait" "$(pod_exec client tc filter show dev lo ingress)" amb_lo
fetch client "http://${P4[client]}:15001/"
is "but nobody waits any more" $? 7
for p in client near; do
	for f in -4 -6; do
		ip -n "$(pod_ns $p)" $f rule del priority 32764
		ip -n "$(pod_ns $p)" $f route flush table 100
	done
	for s in $SWITCHES; do pod_exec $p sysctl -qw "$s=0"; done
	pod_exec $p tc qdisc del dev lo clsact
done
finish
