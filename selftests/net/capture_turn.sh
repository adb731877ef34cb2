#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An agent takes over pods that the one before, killed, had captured the other way: by programs
# alone, or beside a CNI's rules. What it does not use itself goes.
#
#   client --direct--> server (mesh)     stranger (no mesh) --> server        node a
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/ways.sh
. "$LIB_DIR/ways.sh"

need_agent
need nginx nsenter iptables-nft
nodes a
pod a client
pod a server
pod a stranger
mesh_defaults
pod_manifest client
pod_manifest server
http_server server 80 hello
URL="http://${P4[server]}/"
zds_start a
zds_pod register client >/dev/null
zds_pod register server >/dev/null
start() { # CAPTURE [OPTIONS]
	CAPTURE=$1
	agent_start a "${@:2}"
	agent_ready a
	wait_enrolled client
	wait_enrolled server
}
switched() { pod_exec server sysctl -n $SWITCHES | sort -u; }
lookups() { find "$(agent_pins a)/pods" -type f 2>/dev/null | wc -l; }
table() { pod_exec server nft list tables | grep -c ambientd-direct; }
inner() { pod_exec server tc qdisc show dev eth0 | grep -c clsact; }

start ebpf
check "by programs alone: direct" busywait turns_direct fetch client "$URL"
is "switched on" "$(switched)" 1
is "look-up programs" "$(lookups)" 2
agent_stop a KILL

cni_rules client nft
cni_rules server nft
start cni --zds "$(zds_socket a)"
is "beside rules: switched off again" "$(switched)" 0
is "no look-up program is left" "$(lookups)" 0
is "a table leads past the rules" "$(table)" 1
is "and a filter is at the pod's end" "$(inner)" 1
check "direct" busywait turns_direct fetch client "$URL"
is "who is not of the mesh is served" "$(fetch stranger "$URL")" hello
agent_stop a KILL

cni_unrule client server
start ebpf
is "by programs alone again: the table is gone" "$(table)" 0
is "so is the filter at the pod's end" "$(inner)" 0
is "switched on" "$(switched)" 1
check "direct" busywait turns_direct fetch client "$URL"
is "who is not of the mesh is served" "$(fetch stranger "$URL")" hello
finish
