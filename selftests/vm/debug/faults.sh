#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# hbone.ko when there is no memory: allocations that are made for it fail, one after the other, and
# at random. What it is asked for may then fail, but it loses nothing, and all ends.
#
#   amb-hbone: applications --TCP-- hbone.ko --kernel TLS-- hbone.ko, as in vm/hbone.sh
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../../lib.sh"
# shellcheck source=selftests/kmod.sh
. "$LIB_DIR/kmod.sh"

need_module
[ -e /proc/self/fail-nth ] || skip_all "this kernel cannot make allocations fail"

# faults NAME VALUE [NAME VALUE...]: of small allocations and of pages.
faults() {
	local dir
	while [ $# -gt 0 ]; do
		for dir in /sys/kernel/debug/failslab /sys/kernel/debug/fail_page_alloc; do
			[ ! -e "$dir/$1" ] || echo "$2" >"$dir/$1" || bail "$dir/$1 does not take $2"
		done
		shift 2
	done
}
# at_most N: so many of each may fail from now on.
at_most() { AT_MOST=$1 && faults times "$1"; }
# How many did.
failed() {
	cat /sys/kernel/debug/fail{slab,_page_alloc}/times |
		awk -v n="$AT_MOST" '{ failed += n - $1 } END { print failed }'
}
some_failed() { [ "$(failed)" -gt 0 ]; }
# nth N COMMAND...: the Nth allocation of that process fails, if it makes so many.
nth() {
	at_most 1000
	(
		echo "$1" >"/proc/$BASHPID/fail-nth"
		shift
		exec "$@"
	) >"$TMP/nth" 2>&1
}
# sweep WHAT UNDO COMMAND...: COMMAND with one of its allocations failing, each in its turn. It may
# bear that: then UNDO is for what it did.
sweep() {
	local what=$1 undo=$2 n bad=
	shift 2
	for ((n = 1; n < 500; n++)); do
		if nth "$n" "$@"; then
			$undo || bad="$bad; undo after $n"
			some_failed || break
		else
			some_failed || bad="$bad; without a reason, at $n: $(tail -n 1 "$TMP/nth")"
		fi
	done
	diag "$what: $((n - 1)) allocations"
	is "$what, when one allocation fails" "$bad" ""
	at_least "some failed" $((n - 1)) 1
}

# balanced NAMESPACE: what was made there is destroyed.
balanced() {
	ip netns exec "$1" awk '
		{ n[$1] = $2 }
		END {
			exit n["ConnsCreated"] != n["ConnsDestroyed"] ||
				n["StreamsCreated"] != n["StreamsDestroyed"]
		}' /proc/net/hbone_stat
}
all_ends() {
	busywait balanced "$1" && ip netns del "$1" && return 0
	ip netns exec "$1" cat /proc/net/hbone_stat
	return 1
}
namespace() { ip netns add "$1" && ip -n "$1" link set lo up; }

# Also those that would wait for memory, and of all sizes; without a trace for each. Only what has
# an address of some code on its stack fails: at first of what calls a module's start.
faults verbose 0 ignore-gfp-wait N ignore-gfp-highmem N min-order 0 stacktrace-depth 32 \
	probability 0 interval 1
check "module tls loads" modprobe tls
read -r start end < <(grep -m 1 -A 1 ' do_one_initcall$' /proc/kallsyms |
	awk '{ printf "0x%s ", $1 } END { print "" }')
faults require-start "$start" require-end "$end"
sweep "loading" "rmmod hbone" insmod "$(module "$VM_KERNEL")" orphan_seconds=1

module_loads orphan_seconds=1
read -r size start < <(awk '$1 == "hbone" { print $2, $6 }' /proc/modules)
faults require-start "$start" require-end "$(printf '0x%x' $((start + size)))"
sweep "a new namespace" : unshare --net true

# Each request of a process; amb-hbone counts for itself.
namespace requests
at_most 100000
check "requests, when one allocation fails" ip netns exec requests "$HBONE" no_memory
at_least "some failed" "$(failed)" 5
check "all ends" all_ends requests

# What the module's own work allocates, with traffic on the way: one,
for n in 1 2 3 5 8 13 21 34 55 89; do
	namespace one && traffic one
	at_most 1
	faults interval $n probability 100
	check "with traffic, one of $n allocations fails" busywait some_failed
	faults probability 0
	kill -KILL $LAST_PID 2>/dev/null
	wait $LAST_PID 2>/dev/null
	check "all ends" all_ends one
done
# and some in a hundred, until the applications are dead and on.
faults interval 1
for percent in 1 5 25; do
	namespace one && traffic one
	at_most 100000
	faults probability $percent
	check "with traffic, $percent of 100 allocations fail" busywait some_failed
	sleep 3
	kill -KILL $LAST_PID 2>/dev/null
	wait $LAST_PID 2>/dev/null
	sleep 1
	faults probability 0
	check "all ends" all_ends one
done
# Peers of all kinds. What a case expects may not come: it is not asked how it ended.
for case in many slow_reader settings errors refused mutated resets close_under_load orphan; do
	namespace one
	at_most 100000
	faults probability 1
	ip netns exec one timeout -s KILL 30 "$HBONE" "$case" >"$TMP/case" 2>&1
	faults probability 0
	diag "$case: $(failed) failed; $(tail -n 1 "$TMP/case")"
	check "$case, where 1 of 100 allocations fails: all ends" all_ends one
done

check "nobody holds it" busywait module_unused
module_leaks
check "it unloads" rmmod hbone
finish
