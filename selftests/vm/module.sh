#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A module built against the headers of scripts/vm loads in the kernel they belong to, and goes
# again; one of another kernel does not load.
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

[ -n "${VM_KERNEL:-}" ] || skip_all "runs in a VM: scripts/vm run KERNEL -- $0"
module() { echo "$BUILD/vm/$1/amb_vmtest.ko"; }
if [ ! -r "$(module "$VM_KERNEL")" ]; then
	diag "$(tail -n 20 "$BUILD/vm/$VM_KERNEL/log" 2>&1)"
	bail "no $(module "$VM_KERNEL") (make vm-modules)"
fi

check "it loads" insmod "$(module "$VM_KERNEL")"
is "it runs, built for this kernel" "$(cat /proc/net/amb_vmtest)" "$VM_RELEASE $VM_RELEASE"
is "nobody holds it" "$(awk '$1 == "amb_vmtest" { print $3 }' /proc/modules)" 0
check "it unloads" rmmod amb_vmtest
check "nothing is left of it" test ! -e /proc/net/amb_vmtest
for other in 6.1 6.12 newest; do
	[ "$other" != "$VM_KERNEL" ] && [ -r "$(module "$other")" ] || continue
	check_fails "the one for $other does not load" insmod "$(module "$other")"
done
finish
