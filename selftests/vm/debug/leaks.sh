# SPDX-License-Identifier: GPL-2.0-or-later
# To be sourced after lib.sh.

KMEMLEAK=/sys/kernel/debug/kmemleak

# leaks MODULE: it lost no memory, says a kernel that can say it; others are not asked. MODULE must
# still be loaded, for without it the kernel does not know its functions' names.
leaks() {
	[ -e $KMEMLEAK ] || return 0
	# Only what is 5 s old, and was the same in the scan before, is told.
	sleep 6
	check "memory is looked through for leaks" eval "echo scan >$KMEMLEAK && echo scan >$KMEMLEAK"
	unlike "$1 lost none" "$(cat $KMEMLEAK)" "\\[$1\\]"
}
