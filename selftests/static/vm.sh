#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# scripts/vm says what is wrong with its arguments, or what is missing, before it does anything.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
export AMBIENT_CACHE=$empty/cache TMPDIR=$empty
. selftests/tap.sh

# refused WANTED-PATTERN ARGUMENT...: status 1 and one line that matches.
refused() {
	local wanted=$1 got
	shift
	got=$(scripts/vm "$@" 2>&1 </dev/null; echo "status $?")
	printf 'got: %s\nwanted: %s\n' "$got" "$wanted"
	# shellcheck disable=SC2053
	[[ $got == vm:\ $wanted$'\n'"status 1" ]]
}
refuses() { check "$1" refused "${@:2}"; }

unknown="unknown kernel 5.4 (known: 6.1 6.12 newest debug)"
refuses "run of an unknown kernel" "$unknown" run 5.4 -- true
refuses "set-up of an unknown kernel, also beside a known one" "$unknown" setup 6.1 5.4
refuses "headers of an unknown kernel" "$unknown" headers 5.4
refuses "kbuild for an unknown kernel" "$unknown" kbuild 5.4 .
refuses "run without a kernel" "run needs a kernel: 6.1 6.12 newest debug" run
missing="kernel 6.12 is not in $AMBIENT_CACHE/vm. Run: scripts/vm setup 6.12"
refuses "run of a kernel that was not fetched" "$missing" run 6.12 -- true
refuses "its headers" "$missing" headers 6.12
refuses "a module for it" "$missing" kbuild 6.12 .
refuses "run without a command" "no command: *" run 6.12
refuses "run with an empty command" "no command: *" run 6.12 --
refuses "an unknown option" "unknown option --fast *" run 6.12 --fast -- true
refuses "an option without its value" "*" run 6.12 --memory
refuses "a number that is none" "--memory, --cpus, --timeout want *" run 6.12 --cpus two -- true
refuses "a directory that qemu cannot name" "cannot use a path with blanks *" \
	run 6.12 --out "$empty/a b" -- true
is "list tells what is not fetched" "$(scripts/vm list)" \
	"$(printf '%s not fetched\n' 6.1 6.12 newest debug)"
is "nothing was written" "$(find "$empty" -type f)" ""
tap_end
