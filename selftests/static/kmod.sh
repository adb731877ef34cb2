#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# hbone.ko before sparse and the kernel's checkpatch.pl. The one needs but headers, the other comes
# with the source of the debug kernel: where these are not in the cache, nothing is fetched for it.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. selftests/tap.sh
. scripts/apt.sh

SPARSE_KERNEL=6.1
CHECKPATCH=$CACHE/vm/debug/source/scripts/checkpatch.pl
# TRACE_EVENT is laid out as in the kernel, and versions are what compat.h is for.
ALLOWED=OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT,LINUX_VERSION_CODE,CONSTANT_COMPARISON

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# What it says of the module, and how many files it looked at: a build from nothing.
sparse_says() {
	mkdir "$dir/include" && cp -r Kbuild kmod "$dir/" && cp -r include/uapi "$dir/include/" &&
		scripts/vm kbuild "$SPARSE_KERNEL" "$dir" C=2 CF=-D__CHECK_ENDIAN__ \
			>"$dir/log" 2>&1 || tail -5 "$dir/log"
	grep -E ': (warning|error): ' "$dir/log"
	grep -c '^  CHECK' "$dir/log"
}

if ! command -v sparse >/dev/null; then
	skip "sparse" "no sparse"
elif ! scripts/vm headers "$SPARSE_KERNEL" >/dev/null 2>&1; then
	skip "sparse" "no headers of $SPARSE_KERNEL in the cache"
else
	is "sparse" "$(sparse_says)" "$(find kmod -name '*.c' | wc -l)"
fi

if [ -s "$CHECKPATCH" ]; then
	is "checkpatch" "$(perl "$CHECKPATCH" --no-tree --strict --terse --show-types \
		--ignore "$ALLOWED" --file kmod/*.[ch] include/uapi/linux/hbone.h 2>&1 |
		grep -v ' 0 errors, 0 warnings, 0 checks,')" ""
else
	skip "checkpatch" "no source of a kernel in the cache"
fi
tap_end
