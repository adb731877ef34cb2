# SPDX-License-Identifier: GPL-2.0-or-later
# TAP output for tests in bash. A test that needs nothing else of lib.sh ends with tap_end.

TAP_COUNT=0
TAP_FAILED=0
TAP_SKIPPED=0

diag() { printf '%s\n' "$*" | sed 's/^/# /'; }

ok() {
	TAP_COUNT=$((TAP_COUNT + 1))
	echo "ok $TAP_COUNT - $*"
}

not_ok() {
	TAP_COUNT=$((TAP_COUNT + 1))
	TAP_FAILED=$((TAP_FAILED + 1))
	echo "not ok $TAP_COUNT - $*"
}

# One check cannot be made here: visible, counted; selftests/run knows which are allowed.
skip() {
	TAP_COUNT=$((TAP_COUNT + 1))
	TAP_SKIPPED=$((TAP_SKIPPED + 1))
	echo "ok $TAP_COUNT - $1 # SKIP $2"
}

# check DESCRIPTION COMMAND...: the command must succeed; its output is shown when it does not.
check() {
	local what=$1 out rc
	shift
	out=$("$@" 2>&1)
	rc=$?
	if [ $rc -eq 0 ]; then
		ok "$what"
	else
		not_ok "$what"
		diag "exit status $rc of: $*"
		[ -z "$out" ] || diag "${out:0:2000}"
	fi
	return $rc
}

# check_fails DESCRIPTION COMMAND...: the command must fail.
check_fails() {
	local what=$1 out
	shift
	if out=$("$@" 2>&1); then
		not_ok "$what"
		diag "succeeded, but must not: $*"
		[ -z "$out" ] || diag "${out:0:2000}"
		return 1
	fi
	ok "$what"
}

# is DESCRIPTION GOT WANTED
is() {
	if [ "$2" = "$3" ]; then
		ok "$1"
		return 0
	fi
	not_ok "$1"
	diag "     got: $2"
	diag "expected: $3"
	return 1
}

# like DESCRIPTION TEXT EXTENDED-REGEX
like() {
	if grep -Eq -- "$3" <<<"$2"; then
		ok "$1"
		return 0
	fi
	not_ok "$1"
	diag "     got: ${2:0:1500}"
	diag "no match: $3"
	return 1
}

unlike() {
	if grep -Eq -- "$3" <<<"$2"; then
		not_ok "$1"
		diag "     got: ${2:0:1500}"
		diag "must not match: $3"
		return 1
	fi
	ok "$1"
}

# at_least DESCRIPTION NUMBER MINIMUM
at_least() {
	if awk -v a="${2:-nan}" -v b="$3" 'BEGIN { exit !(a + 0 >= b + 0 && a != "nan") }'; then
		ok "$1"
		return 0
	fi
	not_ok "$1"
	diag "got $2, expected at least $3"
	return 1
}

tap_end() {
	echo "1..$TAP_COUNT"
	[ $TAP_FAILED -eq 0 ] || exit 1
	exit 0
}
