#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# hbone.ko as a module: it loads in the kernel it was built for and in no other, is not unloaded in
# use or under traffic, and leaves nothing; nor does it when a namespace ends.
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/vm/debug/leaks.sh
. "$(dirname "$0")/debug/leaks.sh"

[ -n "${VM_KERNEL:-}" ] || skip_all "runs in a VM: scripts/vm run KERNEL -- $0"
module() { echo "$BUILD/vm/$1/kmod/hbone.ko"; }
HBONE=$BUILD/selftests/tools/amb-hbone
if [ ! -r "$(module "$VM_KERNEL")" ]; then
	diag "$(tail -n 20 "$BUILD/vm/$VM_KERNEL/log" 2>&1)"
	bail "no $(module "$VM_KERNEL") (make vm-modules)"
fi

refs() { awk '$1 == "hbone" { print $3 }' /proc/modules; }
unused() { [ "$(refs)" = 0 ]; }
# hold NAMESPACE: traffic in it; LAST_PID.
hold() {
	ip netns exec "$1" "$HBONE" hold >"$TMP/hold-$1" 2>&1 &
	LAST_PID=$!
	busywait grep -q up "$TMP/hold-$1" || bail "no traffic: $(cat "$TMP/hold-$1")"
}

check "module tls loads" modprobe tls
check "hbone loads" insmod "$(module "$VM_KERNEL")" orphan_seconds=1
is "nobody holds it" "$(refs)" 0
is "its counters are there, and 0" "$(awk '$2 != 0' /proc/net/hbone_stat)" ""

ip netns add one && ip -n one link set lo up
hold one
pid=$LAST_PID
is "two connections hold it" "$(refs)" 2
check_fails "it is not unloaded under traffic" rmmod hbone
check "traffic goes on" kill -0 "$pid"
kill -KILL "$pid"
wait "$pid" 2>/dev/null
# The applications died too, so the streams end, and what nobody owns.
check "nobody holds it when all are dead" busywait unused

hold one
pid=$LAST_PID
kill -KILL "$pid"
ip netns del one
wait "$pid" 2>/dev/null
check "nor after a namespace ended with tunnels" busywait unused
leaks hbone

ip netns add two && ip -n two link set lo up
hold two
pid=$LAST_PID
kill -KILL "$pid"
wait "$pid" 2>/dev/null
check "rmmod as soon as it can be" busywait rmmod hbone
check "nothing is left of it" test ! -e /proc/net/hbone_stat
ip netns del two
for other in 6.1 6.12 newest; do
	[ "$other" != "$VM_KERNEL" ] && [ -r "$(module "$other")" ] || continue
	check_fails "the one for $other does not load" insmod "$(module "$other")"
done
finish
