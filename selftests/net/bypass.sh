#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A process of a pod, root and with all capabilities there, tries to get past the capture and to
# pass for another pod (amb-bypass). Towards another node it must end in the tunnel or nowhere,
# never in clear; towards a pod of its own node that wants mutual TLS it is refused, or let in as
# who it is.
#
#   attacker --.                                             .-- server
#   victim   --+-- br0, node a ==eth0 (captured)== node b ---'
#   stranger --|     (no mesh: stranger)
#   near     --'     (STRICT; its veth is captured)
#
# By BPF programs, or with CAPTURE=nft: rules inside a pod cannot see what is sent past its stack,
# nor stop who may mark packets, so for those nft has its own column, with the reason.
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

CAPTURE=${CAPTURE:-ebpf}
BYPASS=$BUILD/selftests/tools/amb-bypass
PORT=7200
OWN_PORT=7201
SECONDS_EACH=${SECONDS_EACH:-6}
need_agent
need tcpdump nsenter
[ -x "$BYPASS" ] || skip_all "needs $BYPASS (make tools)"

# What may become of an attempt:
#   tunnel   answered, as the attacker, and no wire showed the marker
#   clear    answered, as the attacker, and a wire showed it (on one node: the direct way)
#   lied     answered as somebody else
#   refused  not answered, and no wire showed it
#   reached  not answered, but a wire showed it
# NAME FAMILIES (4, 6, m: mapped), then for the server on the other node and for the STRICT pod
# on the own one what is allowed: by nft, by ebpf. "=": as nft.
ATTEMPTS="
plain              46m tunnel           =               tunnel           tunnel|clear
vip                4   tunnel           =               tunnel           tunnel|clear
cgroup             46  tunnel           =               tunnel           tunnel|clear
io-uring           46  tunnel           =               tunnel           tunnel|clear
mptcp              46  tunnel           =               tunnel           tunnel|clear
fastopen           46  tunnel           =               tunnel           tunnel|clear
fastopen-connect   46  tunnel           =               tunnel           tunnel|clear
ip-options         4   tunnel           refused|tunnel  tunnel           refused|tunnel|clear
hop-options        6   tunnel           refused|tunnel  tunnel           refused|tunnel|clear
dst-options        6   tunnel           refused|tunnel  tunnel           refused|tunnel|clear
source-15008       46  refused|tunnel   =               refused|tunnel   refused|tunnel|clear
bind-device        46  refused|tunnel   =               refused|tunnel   refused|tunnel|clear
mark-route         46  refused          refused|tunnel  refused          refused|tunnel|clear
mark-agent         46  clear            refused|tunnel  reached          refused|tunnel|clear
transparent        46  refused|tunnel   =               refused|tunnel   refused
repair             46  reached          refused         reached          refused|reached
raw-syn            46  refused|tunnel   =               refused|tunnel   refused|tunnel|clear
spoof-raw          46  refused          =               refused          =
packet-syn         46  clear            refused         reached          refused|clear
packet-mac         46  clear            refused         reached          refused|clear
packet-15008       46  reached          refused         reached          refused
packet-middle      46  reached          =               reached          =
packet-fragments   46  clear            refused         reached          refused|clear
packet-options     46  clear            refused         reached          refused|clear
packet-dst-options 6   clear            refused         reached          refused|clear
packet-atomic      6   clear            refused         reached          refused|clear
spoof              46  reached          refused         reached          refused
spoof-claim        46  reached          refused         reached          refused
spoof-probe        4   reached          refused         reached          refused
"
# Why ebpf lets something be seen:
#   packet-middle    segments of no connection are like datagrams: whoever sends and receives them
#                    by raw sockets needs no TCP for it. Nothing that listens gets them.
#   repair           where the direct way is open, nobody but the own pod's socket believes in the
#                    connection; elsewhere it is rewritten at connect() like any other.
# Why nft allows more:
#   mark-agent       0x539 is how the rules know the agent's packets; with CAP_NET_RAW or
#                    CAP_NET_ADMIN any process can set it. istio-cni's rules have the same gap.
#   repair           a connection without a SYN is nothing that the rules would translate.
#   packet-*, spoof  a frame from a packet socket meets no rule of its own pod's.
#   reached          the STRICT pod's own rules still lead it to the agent, which refuses it.

mac() { node_exec "$1" cat "/sys/class/net/$2/address"; }
pod_mac() { pod_exec "$1" cat /sys/class/net/eth0/address; }

# try ID NAME ADDRESS OPTIONS...: in the attacker's network namespace and nothing else of a pod,
# for "ip netns exec" hides the cgroups. Prints the outcome.
try() {
	nsenter --net="$(pod_nspath attacker)" "$BYPASS" try "$2" "$3" --port $PORT \
		--marker "$(marker "$1")" --seconds "$SECONDS_EACH" "${@:4}" 2>&1
}
marker() { echo "amb-clear-$1."; }

# capture NAME NODE DEVICE: everything that passes, in $TMP/wire-NAME.
declare -A WIRES=()
capture() {
	ip netns exec "$(node_ns "$2")" tcpdump --immediate-mode -U -s 512 -i "$3" \
		-w "$TMP/wire-$1" >"$TMP/tcpdump-$1.log" 2>&1 &
	APP_PIDS+=("$!")
	busywait test -s "$TMP/wire-$1" || bail "tcpdump: $(cat "$TMP/tcpdump-$1.log")"
}
seen() { grep -qaF "$(marker "$2")" "$TMP/wire-$1"; }
# A wire keeps the order: when what was sent last is seen, everything before was written.
flushed() {
	try "$3" udp "$2" --seconds 1
	seen "$1" "$3"
}

# address POD FAMILY
address() {
	case $2 in
	4) echo "${P4[$1]}" ;;
	6) echo "${P6[$1]}" ;;
	m) echo "::ffff:${P4[$1]}" ;;
	esac
}

# attempt_start ID NAME FAMILY POD VIP MAC: the outcome goes to $TMP/try-ID.
attempt_start() {
	local id=$1 name=$2 family=$3 to victim
	to=$(address "$4" "$family")
	victim=$(address victim "$family")
	case $name in
	vip) name=plain to=$5 ;;
	spoof-probe) name=spoof victim=169.254.7.127 ;;
	esac
	try "$id" "$name" "$to" --mac "$6" --source "$victim" >"$TMP/try-$id" &
	TRIES+=("$!")
}

# verdict ID WIRE FAMILY
verdict() {
	local what who shown=
	read -r what who <"$TMP/try-$1"
	seen "$2" "$1" && shown=1
	case $what:$shown in
	answered:*)
		if [ "$who" != "$(address attacker "${3/m/4}")" ]; then
			echo lied
		else
			[ -n "$shown" ] && echo clear || echo tunnel
		fi
		;;
	none:) echo refused ;;
	none:1) echo reached ;;
	unsupported:) echo unsupported ;;
	*) echo "broken: $what $who" ;;
	esac
}

# attempts_all POD WIRE VIP MAC NFT-COLUMN EBPF-COLUMN
attempts_all() {
	local pod=$1 wire=$2 line f w id wanted got
	local -a words
	TRIES=()
	while read -r line; do
		read -ra w <<<"$line"
		for f in $(sed 's/./& /g' <<<"${w[1]}"); do
			attempt_start "$pod-${w[0]}-$f" "${w[0]}" "$f" "$pod" "$3" "$4"
		done
	done <<<"$ROWS"
	wait "${TRIES[@]}"
	check "$pod: the wire was looked at to the end" busywait flushed "$wire" \
		"${P4[$pod]}" "$pod-last"
	while read -r line; do
		read -ra w <<<"$line"
		wanted=${w[$5]}
		[ "$CAPTURE" = nft ] || [ "${w[$6]}" = = ] || wanted=${w[$6]}
		for f in $(sed 's/./& /g' <<<"${w[1]}"); do
			id=$pod-${w[0]}-$f
			got=$(verdict "$id" "$wire" "$f")
			if [ "$got" = unsupported ]; then
				skip "$pod: ${w[0]}, v$f" "$(cat "$TMP/try-$id")"
				continue
			fi
			like "$pod: ${w[0]}, v$f: $wanted" "$got" "^($wanted)\$" ||
				diag "$(cat "$TMP/try-$id")"
		done
	done <<<"$ROWS"
}
ROWS=$(awk 'NF' <<<"$ATTEMPTS")

nodes a b
for p in attacker victim stranger near; do
	pod a $p
done
pod b server
mesh_defaults
for p in attacker victim near server; do
	pod_manifest $p
done
pod_manifest stranger demo stranger "app: stranger, istio.io/dataplane-mode: none"
service_manifest server 10.96.0.20 "app: server" "{port: $PORT}"
service_manifest near 10.96.0.21 "app: near" "{port: $PORT}"
manifest peerauth <<-YAML
	apiVersion: security.istio.io/v1
	kind: PeerAuthentication
	metadata: {name: strict, namespace: demo}
	spec: {selector: {matchLabels: {app: near}}, mtls: {mode: STRICT}}
YAML
for p in attacker near server; do
	# Data in a SYN without a cookie: what fast open can do at worst.
	pod_exec $p sysctl -qw net.ipv4.tcp_fastopen=0x207
done
# Else the connection tracking of the attacker's own pod gets in the way of his packets.
pod_exec attacker sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0
serve() {
	pod_spawn "$1" "$BYPASS" server --port "$2"
	wait_listen "$1" "$2"
}
serve server $PORT
serve near $PORT
# Not the port of the others: who gets back into his own pod shall not be taken for answered.
serve attacker $OWN_PORT
agents_start
is "the attacker is captured by $CAPTURE" \
	"$(pod_exec attacker nft list tables | grep -q ambientd && echo nft || echo ebpf)" "$CAPTURE"
is "a stranger gets no answer of the STRICT pod" "$(nsenter --net="$(pod_nspath stranger)" \
	"$BYPASS" try plain "${P4[near]}" --port $PORT | cut -d' ' -f1)" none
capture link a eth0
capture near a "v${P4[near]##*.}"

# --- what must be left alone, which shows that the capture of the wires works too
is "UDP is left alone" "$(try udp-own udp "${P4[server]}")" "answered ${P4[attacker]}"
check "and is seen on the link" busywait seen link udp-own
is "so it is over v6" "$(try udp-own6 udp "${P6[server]}")" "answered ${P6[attacker]}"
is "UDP inside the node" "$(try udp-near udp "${P4[near]}")" "answered ${P4[attacker]}"
check "and is seen at the pod's veth" busywait seen near udp-near
is "a pod calls itself by its address" "$(try own plain "${P4[attacker]}" --port $OWN_PORT)" \
	"answered ${P4[attacker]}"
is "over v6" "$(try own6 plain "${P6[attacker]}" --port $OWN_PORT)" "answered ${P6[attacker]}"
is "and by loopback" "$(try loopback plain 127.0.0.1 --port $OWN_PORT)" "answered 127.0.0.1"
is "over v6" "$(try loopback6 plain ::1 --port $OWN_PORT)" "answered ::1"

# --- to get out
attempts_all server link 10.96.0.20 "$(mac a br0)" 2 3
attempts_all near near 10.96.0.21 "$(pod_mac near)" 4 5

# --- the namespace that a socket was made in decides, not who holds it
is "with a stranger's socket one is a stranger" \
	"$(try foreign passed "${P4[server]}" --netns "$(pod_nspath stranger)")" \
	"answered ${P4[stranger]}"
is "whom the STRICT pod refuses" \
	"$(try foreign-near passed "${P4[near]}" --netns "$(pod_nspath stranger)" |
		cut -d' ' -f1)" none
out_by() { # ID ADDRESS: the node's namespace uses a socket of the attacker's
	node_exec a "$BYPASS" try passed "$2" --port $PORT --marker "$(marker "$1")" \
		--netns "$(pod_nspath attacker)"
}
is "a pod's socket in other hands is the pod's" "$(out_by lent "${P4[server]}")" \
	"answered ${P4[attacker]}"
is "to the STRICT pod too" "$(out_by lent-near "${P4[near]}")" "answered ${P4[attacker]}"
check "the link was looked at to the end" busywait flushed link "${P4[server]}" end
check_fails "and it goes by the tunnel" seen link lent
is "the node itself is a stranger" "$(node_exec a "$BYPASS" try plain "${P4[near]}" \
	--port $PORT | cut -d' ' -f1)" none

# --- and whatever was tried, nobody was taken for the victim
for n in a b; do
	is "node $n knows no connection by the victim's identity" "$(metric $n \
		istio_tcp_connections_opened_total "source_principal=$SPIFFE/victim")" 0
	# In plain, nft can but believe the address.
	[ "$CAPTURE" = nft ] || is "nor by its address" "$(metric $n \
		istio_tcp_connections_opened_total source_workload=victim)" 0
done
at_least "and the attacker's under its own name" "$(metric b istio_tcp_connections_opened_total \
	reporter=destination source_workload=attacker connection_security_policy=mutual_tls)" 10
finish
