#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What an application may expect of a TCP socket (amb-behave: some sixty behaviours, most looked
# at from both ends) by each way that a connection can take. Plain TCP between two pods has all
# of them; a way is good when its lines are plain's, but for those named with a reason here.
#
#   node a: plain, stranger (no mesh), client, near, shy (always-tunnel), quick, quicker (splice)
#   node b: server
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

CAPTURE=${CAPTURE:-ebpf}
BEHAVE=$BUILD/selftests/tools/amb-behave
need_agent
[ -x "$BEHAVE" ] || skip_all "needs $BEHAVE (make tools)"

# NAME REASON: differs, and must: else the list would outlive its reasons. ?NAME: it may.
#
# A relay is two connections: it cannot know that one is refused before the other is made, and
# every leg has a port, an urgent pointer and buffers of its own.
RELAY="
refused                 the agent accepts before it has dialled; then a reset
refused-nonblocking     the same
again-after-refusal     the same
names-port              the agent dials from a port of its own
urgent                  there is no urgent data in HBONE, and a relay has no use for it
urgent/accepted
urgent-inline
urgent-inline/accepted
?buffers-bound          the agent's buffers come on top, if it gets to fill them in time
?buffers-bound/accepted
"
# Past TCP, by sockmap: what SPLICE of ambientd(8) warns of. What is a matter of moments may differ.
SPLICE="
tcp-info                    bytes that no segment carried
tcp-info/accepted
?waitall                    a receive ends with the first message
?waitall/accepted
?waitall-end
?waitall-end/accepted
?vectored                   the same
?vectored/accepted
?splice-in                  splice(2) looks into the queue of TCP only
?splice-in/accepted
?splice-waiting
?splice-waiting/accepted
?zerocopy                   no completion ever comes
?zerocopy/accepted
urgent                      a message is a message
urgent/accepted
urgent-inline
urgent-inline/accepted
low-water                   any message wakes
low-water/accepted
?buffers-bound              bounded by the program, not by the sockets' buffers
?buffers-bound/accepted
?user-timeout               nothing is in flight that could time out
?user-timeout/accepted
half-closed-send            a send after one's own end is not noticed
half-closed-send/accepted
?half-closed
?half-closed/accepted
?shutdown-recv              EAGAIN before the end, or before the reset
?shutdown-recv/accepted
?reset-while-reading
?reset-while-reading/accepted
?reset-while-writing        EPIPE instead of the reset
?reset-while-writing/accepted
?close-unread               what was moved is not unread, so no reset is due
?close-unread/accepted
"
NONE=""
# In a VM that its host lets wait the tick is late, also as a time limit begins: plain TCP has it so.
[ -z "${VM_KERNEL:-}" ] || NONE="
?recv-timeout
?recv-timeout/accepted
?send-timeout
?send-timeout/accepted
"

# Seconds for what takes milliseconds where nothing is emulated.
PATIENCE=20
[ -z "${VM_KERNEL:-}" ] || PATIENCE=60
declare -A RUNNING=() PORTS=()
PORT_NEXT=7101

families() { echo "${P4[$1]}" "${P6[$1]}" "::ffff:${P4[$1]}"; }

# behave_start WAY FROM TO: all address families at once, in the background.
behave_start() {
	local way=$1 from=$2 to=$3 a patience=$PATIENCE

	# It hangs where it is known to, and should not for long.
	[ "$way" != splice ] || [ -z "$SPLICE" ] || patience=8
	for a in $(families "$to"); do
		PORTS[$way-$a]=$((PORT_NEXT++))
		if [ "${4:-}" = alone ] && ! busywait alone "$from" "$a" "${PORTS[$way-$a]}"; then
			not_ok "$way to $a: goes without a relay"
			diag "$(alone "$from" "$a" "${PORTS[$way-$a]}")"
		fi
		ip netns exec "$(pod_ns "$from")" "$BEHAVE" client "$a" \
			--data-port "${PORTS[$way-$a]}" --patience $patience \
			>"$TMP/behave-$way-$a" 2>"$TMP/behave-$way-$a.err" &
		RUNNING[$way-$a]=$!
	done
}
# The first connection of its kind is the agent's; it leaves the row that decides the next ones.
alone() { pod_exec "$1" "$BEHAVE" client "$2" --data-port "$3" --only names-port; }

# behave_all WAY TO EXPECTED-DIFFERENCES: one check a behaviour and family.
behave_all() {
	local way=$1 to=$2 a name line
	local -A differ=()

	while read -r name line; do
		case $name in
		\?*) differ[${name#\?}]=? ;;
		?*) differ[$name]=1 ;;
		esac
	done <<<"$3"
	for a in $(families "$to"); do
		wait "${RUNNING[$way-$a]}"
		check "$way to $a: every behaviour was tried" diff <("$BEHAVE" list) \
			<(sed 's/^\(not \)\?ok //; s/ - .*//' "$TMP/behave-$way-$a"{,.err})
		while read -r line; do
			name=${line#not }
			name=${name#ok }
			name=${name%% *}
			case "${differ[$name]:-0}$line" in
			"0ok $name") ok "$way to $a: $name" ;;
			"1not ok $name - "*) ok "$way to $a: $name differs" ;;
			"?ok $name" | "?not ok $name - "*) ok "$way to $a: $name may differ" ;;
			1*) not_ok "$way to $a: $name does not differ any more" ;;
			*) not_ok "$way to $a: $line" ;;
			esac
		done <"$TMP/behave-$way-$a"
	done
}

nodes a b
for p in plain stranger client near shy quick quicker; do
	pod a $p
done
pod b server
mesh_defaults
annotated() { pod_document "$1" | sed "s|^  annotations:|&\n    $2|" | manifest "pod-$1"; }
for p in client near server; do
	pod_manifest $p
done
annotated shy 'ambientd.io/always-tunnel: "true"'
for p in quick quicker; do
	annotated $p 'ambientd.io/splice: "true"'
done
for p in stranger near shy quicker server; do
	pod_spawn $p "$BEHAVE" server
	wait_listen $p 7100
done

# Alone: it says what this kernel does.
behave_start plain plain stranger
behave_all plain stranger "$NONE"

agents_start
# NAME FROM TO LIST; "alone": no relay has a part in it.
case $CAPTURE in
ebpf)
	ways="
	tunnel client server RELAY
	tunnel-same-node client shy RELAY
	direct client near NONE alone
	splice quick quicker SPLICE alone
	into-the-mesh plain near NONE alone
	out-of-the-mesh client stranger NONE alone
	"
	;;
nft)
	# The agent dials with the caller's address from a port of its own choice, which may be the
	# one that the caller takes next: then the pod's connection tracking takes the two for one
	# and the caller waits in vain. Rare between machines, but pods of one machine draw their
	# ports from one sequence, and who connects in a row meets it every few hundred times.
	pod_exec plain sysctl -qw net.ipv4.ip_local_port_range="20000 30000"
	ways="
	tunnel client server RELAY
	tunnel-same-node client near RELAY
	into-the-mesh plain near RELAY
	out-of-the-mesh client stranger RELAY
	"
	;;
esac
# A VM is there for another kernel, and takes minutes for a way: the one that is the kernel's alone.
[ -z "${VM_KERNEL:-}" ] || ways=$(grep -E '^\s*direct ' <<<"$ways")
# Linux 6.1 cannot splice, and does better then.
if [ "$CAPTURE" = ebpf ] && log_has a "splice.* connections go direct instead"; then
	diag "$(grep "go direct instead" "$(agent_log a)" | tail -n 1)"
	SPLICE=$NONE
fi
while read -r way from to list alone; do
	[ -z "$way" ] || behave_start "$way" "$from" "$to" "$alone"
done <<<"$ways"
while read -r way from to list alone; do
	[ -z "$way" ] || behave_all "$way" "$to" "${!list}"
done <<<"$ways"
finish
