#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The demo holds what it claims: what a newcomer sees first must not rot.
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
need_root
need_agent
log=$TMP/demo.log
check "the demo ends with status 0" bash -c '"$1"/../demo/run >"$2" 2>&1' _ "$(dirname "$0")" "$log"
check "every claim held" grep -Eq '^All [0-9]+ claims hold' "$log"
[ "$TAP_FAILED" -eq 0 ] || tail -n 40 "$log" | sed 's/^/# /'
finish
