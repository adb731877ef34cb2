#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The demo holds what it claims: what a newcomer sees first must not rot.
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
need_root
need_agent
log=$TMP/demo.log
demo=$(dirname "$0")/../demo/run
# What `down` has to end, and what it has to remove.
living() {
	local n p inodes=" "
	for n in /run/netns/demo-*; do
		[ ! -e "$n" ] || inodes="$inodes$(stat -Lc %i "$n") "
	done
	for p in /proc/[0-9]*; do
		[[ $inodes != *" $(stat -Lc %i "$p/ns/net" 2>/dev/null || echo none) "* ]] ||
			echo "${p#/proc/}"
	done
}
rest() {
	ip netns list | grep '^demo-'
	grep -o ' /tmp/demo\.[^ ]*' /proc/mounts
	compgen -G '/tmp/demo.*'
}
gone() {
	local p
	for p in $1; do [ ! -e "/proc/$p" ] || return 1; done
}
asks() { ip netns exec "demo-p-$1" curl -s -m 20 http://10.96.0.10/; }
# Whatever happens to this test, the demo that it left running is ended.
AT_END=end_demo
end_demo() { [ -z "${LEFT:-}" ] || "$demo" down; }

check "the demo ends with status 0" bash -c '"$1" >"$2" 2>&1' _ "$demo" "$log"
check "every claim held" grep -Eq '^All [0-9]+ claims hold' "$log"
check "it says how long it took" grep -Eq 'each of the [89] steps was shown, in [0-9]+ s' "$log"
is "nothing is left" "$(rest)" ""

LEFT=yes
check "with KEEP=1 it ends with status 0" bash -c 'KEEP=1 "$1" >"$2" 2>&1' _ "$demo" "$log"
check "and says how to look around" grep -q 'It runs on\.' "$log"
like "frontend still gets the page" "$(asks frontend)" '^web-[12] '
is "stranger does not" "$(asks stranger)" ""
check_fails "another demo beside it is refused" "$demo"
pids=$(living)
at_least "it left processes" "$(wc -w <<<"$pids")" 8
check "down ends with status 0" "$demo" down
check "its processes are gone" busywait gone "$pids"
is "and nothing is left" "$(rest)" ""
LEFT=
[ "$TAP_FAILED" -eq 0 ] || tail -n 40 "$log" | sed 's/^/# /'
finish
