#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Tests of the host once more, where hbone.ko carries the tunnels of their agents.
#
# Others of selftests/net, also those that take longer than a check may:
#   scripts/vm run KERNEL --timeout 3000 -- env KMOD_TESTS="behave envoy_peer" selftests/vm/kmod_net.sh
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/kmod.sh
. "$LIB_DIR/kmod.sh"

need_module
module_loads

# An agent that is asked for this tier, and cannot have it, does not start; but a connection that
# cannot stays with its agent, so finish tells what the module has had.
run() { AMBIENT_TIER=kmod "$LIB_DIR/net/$1.sh" >"$TMP/$1.log" 2>&1; }
for t in ${KMOD_TESTS:-curl_hbone double_hbone proxy_protocol}; do
	check "net/$t.sh" run "$t"
	at_least "net/$t.sh: checks" "$(grep -c "^ok" "$TMP/$t.log")" 2
	at_least "net/$t.sh: streams that the module carried" \
		"$(awk '/^# hbone.ko of node / { n += $NF } END { print n + 0 }' "$TMP/$t.log")" 1
	is "net/$t.sh: none failed, none was skipped" "$(grep -E "^not ok|# SKIP" "$TMP/$t.log")" ""
done
check "nobody holds the module" busywait rmmod hbone
finish
