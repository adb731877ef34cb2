#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What bash offers behind ambientctl: every command that the program has, its options, the names
# of pods that the agent knows, folders where a folder is meant.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${AMB_BUILD:-build}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
. selftests/tap.sh
# An agent with two pods, as "ambientctl status -o json" prints them.
mkdir -p "$dir/bin" "$dir/work/manifests" "$dir/work/other"
touch "$dir/work/file"
cat >"$dir/bin/ambientctl" <<-'STATUS'
	#!/bin/sh
	cat <<-JSON
	{
	  "node": "n1",
	  "pods": [
	    {
	      "uid": "Kubernetes//Pod/shop/web",
	      "namespace": "shop",
	      "name": "web",
	      "serviceAccount": "web"
	    },
	    {
	      "uid": "Kubernetes//Pod/shop/db",
	      "namespace": "shop",
	      "name": "db",
	      "serviceAccount": "db"
	    }
	  ]
	}
	JSON
STATUS
chmod +x "$dir/bin/ambientctl"
# shellcheck source=scripts/ambientctl.bash
. scripts/ambientctl.bash
top=$PWD
# offered WORDS...: for the last one, sorted.
offered() {
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	COMPREPLY=()
	cd "$dir/work" || exit 1
	PATH=$dir/bin:$PATH _ambientctl 2>/dev/null
	cd "$top" || exit 1
	printf '%s\n' "${COMPREPLY[@]}" | sort | paste -s -d ' '
}
commands=$("$build/ambientctl" --help | sed -n 's/^  \([a-z]\+\)  .*/\1/p' | sort)
is "all commands" "$(offered ambientctl "" | tr ' ' '\n' | grep -v -e '^-' -e '^help$')" "$commands"
is "the beginning of one" "$(offered ambientctl conn)" connections
is "a command after an option with a value" "$(offered ambientctl -o json val)" validate
is "formats" "$(offered ambientctl status -o "")" "json table"
is "actions of ca" "$(offered ambientctl ca r)" "retire revoke rotate"
is "pods that the agent knows" "$(offered ambientctl why shop/)" "shop/db shop/web"
is "the same to unenroll" "$(offered ambientctl unenroll shop/w)" shop/web
is "where a pod's namespace is" "$(offered ambientctl enroll shop/web --n)" --netns
is "folders to validate" "$(offered ambientctl validate "")" "manifests other"
is "folders of a CA" "$(offered ambientctl ca init m)" manifests
is "options of ca" "$(offered ambientctl ca init --t)" --trust-domain
is "every option offered is one" "$(for c in $commands; do
	for o in $(offered ambientctl "$c" --); do
		"$build/ambientctl" "$c" --help | grep -q -- "$o" || echo "$c $o"
	done
done)" ""
tap_end
