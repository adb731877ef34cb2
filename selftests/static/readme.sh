#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# README's manifest is one that validate is content with, and its commands are commands.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${AMB_BUILD:-build}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
. selftests/tap.sh

# From "apiVersion" to the next line that is not indented.
awk '/^    apiVersion/ { on = 1 } /^[^ ]/ { on = 0 } on { print substr($0, 5) }' README \
	>"$dir/readme.yaml"
is "the manifest is read" "$("$build/ambientctl" validate "$dir" | sed 's/;.*//')" \
	"1 file, 2 objects: 1 workload, 0 services, 0 policies"
is "without an error" "$("$build/ambientctl" validate "$dir" >/dev/null; echo $?)" 0
is "the CA is made where nothing is" "$("$build/ambientctl" ca init "$dir/etc/ambient/ca" &&
	"$build/ambientctl" ca node "$dir/etc/ambient/ca" node-1; echo $?)" 0
commands=$(sed -n 's/^ .*ambientctl \([a-z| ]*\).*/\1/p' README | tr '|' '\n' |
	awk 'NF { print $1 }' | sort -u)
at_least "commands are found" "$(wc -w <<<"$commands")" 3
is "ambientctl's commands exist" "$(while read -r c; do
	"$build/ambientctl" "$c" --help >/dev/null 2>&1 || echo "$c"
done <<<"$commands")" ""
# Read whole: a reader that has seen enough would end the writer, and fail the pipe.
help=$("$build/ambientd" --help)
is "ambientd's options exist" "$(grep -oE 'ambientd --.*' README | grep -oE -- '--[a-z-]+' |
	sort -u | while read -r o; do
	grep -q -- "$o" <<<"$help" || echo "$o"
done)" ""
tap_end
