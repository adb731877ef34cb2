# SPDX-License-Identifier: GPL-2.0-or-later
# Shared by the scripts that fetch from Debian: where the cache is, which mirror the machine uses,
# and apt with sources and lists of our own. To be sourced, by bash.

if [ -n "${AMBIENT_CACHE:-}" ]; then
	CACHE=$AMBIENT_CACHE
elif [ "$(id -u)" = 0 ]; then
	CACHE=/var/cache/ambient
else
	CACHE=$HOME/.cache/ambient
fi

say() { printf '  %-7s %s\n' "$1" "$2"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# mirror [SUITE]: the Debian mirror that this machine already uses, for that suite.
mirror() {
	local uri label=Debian path=debian
	case ${1:-} in *-security) label=Debian-Security path=debian-security ;; esac
	uri=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' \
		'Created-By: Packages' 2>/dev/null | sed -n "s/^$label //p" | head -n 1)
	# Without downloaded lists there are no labels yet, only addresses.
	[ -n "$uri" ] || uri=$(apt-get indextargets --format '$(REPO_URI)' \
		'Created-By: Packages' 2>/dev/null | grep -m 1 "/$path/*\$") || true
	[ -n "$uri" ] || die "found no $label mirror in this machine's apt configuration"
	echo "$uri"
}

# private_lists TYPE SUITE: makes $WORK ready for private_apt, TYPE being deb or deb-src. apt
# checks every file against the suite's signed index.
private_lists() {
	local keys=/usr/share/keyrings/debian-archive-keyring.gpg uri
	uri=$(mirror "$2") || return 1
	rm -rf "$WORK/lists" "$WORK/apt"
	mkdir -p "$WORK/lists/partial" "$WORK/apt/archives/partial"
	echo "$1 [signed-by=$keys check-valid-until=no] $uri $2 main" >"$WORK/sources.list"
	: >"$WORK/status"
	private_apt get update
}

# private_apt get|cache ARGUMENTS: apt with the sources, lists and packages of $WORK: the
# machine's are neither read nor changed.
private_apt() {
	local tool=$1
	shift
	"apt-$tool" -q -o Dir::Etc::SourceList="$WORK/sources.list" \
		-o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$WORK/lists" \
		-o Dir::State::status="$WORK/status" -o Dir::Cache="$WORK/apt" \
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
		-o Acquire::Languages=none -o APT::Sandbox::User=root "$@"
}
