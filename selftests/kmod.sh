# SPDX-License-Identifier: GPL-2.0-or-later
# For tests in a VM (scripts/vm run KERNEL -- TEST): hbone.ko, as it was built for its kernel.
# Sourced after lib.sh.

HBONE=$BUILD/selftests/tools/amb-hbone

need_vm() { [ -n "${VM_KERNEL:-}" ] || skip_all "runs in a VM: scripts/vm run KERNEL -- $0"; }

# module KERNEL: the file.
module() { echo "$BUILD/vm/$1/kmod/hbone.ko"; }
need_module() {
	need_vm
	if [ ! -r "$(module "$VM_KERNEL")" ]; then
		diag "$(tail -n 20 "$BUILD/vm/$VM_KERNEL/log" 2>&1)"
		bail "no $(module "$VM_KERNEL") (make vm-modules)"
	fi
}
# module_loads [PARAMETER=VALUE]...: checks that it does.
module_loads() {
	# A test that failed may have left it.
	[ ! -e /proc/net/hbone_stat ] || busywait rmmod hbone
	check "module tls loads" modprobe tls
	check "hbone loads" insmod "$(module "$VM_KERNEL")" "$@"
}
module_refs() { awk '$1 == "hbone" { print $3 }' /proc/modules; }
module_unused() { [ "$(module_refs)" = 0 ]; }

KMEMLEAK=/sys/kernel/debug/kmemleak
# module_leaks: it lost no memory, says a kernel that can say it; others are not asked. The module
# must still be loaded, for without it the kernel does not know its functions' names.
module_leaks() {
	[ -e $KMEMLEAK ] || return 0
	# Only what is 5 s old, and was the same in the scan before, is told.
	sleep 6
	check "memory is looked through for leaks" eval "echo scan >$KMEMLEAK && echo scan >$KMEMLEAK"
	unlike "hbone lost none" "$(cat $KMEMLEAK)" '\[hbone\]'
}

# traffic NAMESPACE: in it, held by LAST_PID.
traffic() {
	# What the one before said there counts no more.
	: >"$TMP/hold-$1"
	ip netns exec "$1" "$HBONE" hold >"$TMP/hold-$1" 2>&1 &
	LAST_PID=$!
	busywait grep -q up "$TMP/hold-$1" || bail "no traffic: $(cat "$TMP/hold-$1")"
}
