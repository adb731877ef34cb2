#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# hbone.ko as a module: it loads in the kernel it was built for and in no other, is not unloaded in
# use or under traffic, and leaves nothing; nor does it when a namespace ends.
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/kmod.sh
. "$LIB_DIR/kmod.sh"

need_module
module_loads orphan_seconds=1
is "nobody holds it" "$(module_refs)" 0
is "its counters are there, and 0" "$(awk '$2 != 0' /proc/net/hbone_stat)" ""

ip netns add one && ip -n one link set lo up
traffic one
pid=$LAST_PID
is "two connections hold it" "$(module_refs)" 2
check_fails "it is not unloaded under traffic" rmmod hbone
check "traffic goes on" kill -0 "$pid"
kill -KILL "$pid"
wait "$pid" 2>/dev/null
# The applications died too, so the streams end, and what nobody owns.
check "nobody holds it when all are dead" busywait module_unused

traffic one
pid=$LAST_PID
kill -KILL "$pid"
ip netns del one
wait "$pid" 2>/dev/null
check "nor after a namespace ended with tunnels" busywait module_unused
module_leaks

ip netns add two && ip -n two link set lo up
traffic two
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
