#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What hbone.ko does with bytes, peers and owners: each case of amb-hbone, in a namespace of its own
# whose counters it balances. HBONE_CASES="drain notes": only those.
#
#   applications --TCP-- hbone.ko --kernel TLS-- hbone.ko, or a peer that speaks raw HTTP/2
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/kmod.sh
. "$LIB_DIR/kmod.sh"

need_module
module_loads orphan_seconds=1
# run CASE
run() {
	local started=$SECONDS
	if [ "$1" = paid ] && ! grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
		skip "$1" "this kernel counts no memory for cgroups"
		return
	fi
	ip netns add "$1" && ip -n "$1" link set lo up
	ip netns exec "$1" "$HBONE" "$1" >"$TMP/said" 2>&1
	is "$1" $? 0
	[ ! -s "$TMP/said" ] || diag "$(cat "$TMP/said")"
	diag "$1: $((SECONDS - started)) s;" \
		"$(ip netns exec "$1" awk '$2 { printf "%s %s ", $1, $2 }' /proc/net/hbone_stat)"
	ip netns del "$1"
}
for case in ${HBONE_CASES:-$("$HBONE" | grep -vxE "hold|starved|no_memory")}; do
	run "$case"
done

# For a moment TCP of the whole machine has no memory, so that sockets with room take nothing, and
# nobody tells when that is over.
count() { ip netns exec starved awk -v name="$1" '$1 == name { print $2 }' /proc/net/hbone_stat; }
beyond() { [ "$(count "$1")" -gt "$2" ]; }
ip netns add starved && ip -n starved link set lo up
pages=$(sysctl -n net.ipv4.tcp_mem)
ip netns exec starved "$HBONE" starved >"$TMP/starved" 2>&1 &
pid=$!
check "bytes are on their way" busywait beyond RxBytes 1000000
sysctl -qw net.ipv4.tcp_mem="1 1 1"
check "sends fail for want of memory" busywait beyond Starved 0
sysctl -qw net.ipv4.tcp_mem="$pages"
wait $pid
is "all arrives when there is some again" "$?$(cat "$TMP/starved")" 0
ip netns del starved

check "nobody holds it" busywait module_unused
module_leaks
check "it unloads" rmmod hbone
finish
