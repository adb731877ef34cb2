#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# hbone.ko as a module: it loads in the kernel it was built for and in no other, and leaves nothing.
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

[ -n "${VM_KERNEL:-}" ] || skip_all "runs in a VM: scripts/vm run KERNEL -- $0"
module() { echo "$BUILD/vm/$1/kmod/hbone.ko"; }
if [ ! -r "$(module "$VM_KERNEL")" ]; then
	diag "$(tail -n 20 "$BUILD/vm/$VM_KERNEL/log" 2>&1)"
	bail "no $(module "$VM_KERNEL") (make vm-modules)"
fi

refs() { awk '$1 == "hbone" { print $3 }' /proc/modules; }

check "module tls loads" modprobe tls
check "hbone loads" insmod "$(module "$VM_KERNEL")" orphan_seconds=1
is "nobody holds it" "$(refs)" 0
is "its counters are there, and 0" "$(awk '$2 != 0' /proc/net/hbone_stat)" ""

check "it unloads" rmmod hbone
check "nothing is left of it" test ! -e /proc/net/hbone_stat
for other in 6.1 6.12 newest; do
	[ "$other" != "$VM_KERNEL" ] && [ -r "$(module "$other")" ] || continue
	check_fails "the one for $other does not load" insmod "$(module "$other")"
done
finish
