#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A machine that is ready is left alone; one that is not gets one sentence and a command.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. selftests/tap.sh
unset MAKEFLAGS MFLAGS MAKELEVEL

is "a second set-up does nothing and says nothing" "$(scripts/setup 2>&1; echo $?)" 0
is "nothing is missing" "$(scripts/setup --check 2>&1; echo $?)" 0
out=$(make -n PKG_CONFIG=false 2>&1)
like "without libraries make says one sentence" "$(wc -l <<<"$out"): $out" '^1: .*Run: .*scripts/setup'
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
out=$(make -n WOLFSSL="$empty" 2>&1)
like "without wolfSSL make says one sentence" "$(wc -l <<<"$out"): $out" '^1: .*Run: .*scripts/setup'
out=$(AMBIENT_CACHE=$empty HOME=$empty scripts/setup --unknown 2>&1)
like "an unknown option is refused" "${out%%$'\n'*}" '^setup: unknown option --unknown'
is "and leaves nothing" "$(find "$empty" -mindepth 1)" ""
tap_end
