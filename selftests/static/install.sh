#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make install puts everything under DESTDIR and PREFIX, and uninstall takes it away again; the
# package holds the same.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${AMB_BUILD:-build}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL
. selftests/tap.sh
files() { (cd "$1" && find . -type f | sort); }

is "install" "$(make O="$build" DESTDIR="$dir/a" PREFIX=/opt/x install 2>&1 |
	grep -v -e '^make' -e '^  '; echo "${PIPESTATUS[0]}")" 0
is "all files are where they belong" "$(files "$dir/a/opt/x")" "./bin/ambientctl
./lib/cni/ambient-cni
./lib/systemd/system/ambientd.service
./sbin/ambientd
./share/ambientd/daemonset-direct.yaml
./share/ambientd/daemonset.yaml
./share/bash-completion/completions/ambientctl
./share/man/man1/ambientctl.1
./share/man/man7/ambient.7
./share/man/man8/ambient-cni.8
./share/man/man8/ambientd.8"
is "nothing beside the prefix" "$(cd "$dir/a" && find . -type f -not -path './opt/x/*')" ""
version=$(sed -n 's/^VERSION *[:?]*= *//p' Makefile)
is "the installed program runs" "$("$dir/a/opt/x/sbin/ambientd" --version)" "ambientd $version"
is "the unit starts the installed program" \
	"$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$dir/a/opt/x/lib/systemd/system/ambientd.service")" \
	/opt/x/sbin/ambientd
make O="$build" DESTDIR="$dir/a" PREFIX=/opt/x uninstall >/dev/null 2>&1
is "uninstall leaves no file" "$(find "$dir/a" -type f)" ""

is "deb" "$(make O="$build" DEB="$dir/x.deb" deb 2>&1 | grep -v -e '^make' -e '^  '; echo "${PIPESTATUS[0]}")" 0
is "the package's name and version" "$(dpkg-deb -f "$dir/x.deb" Package Version)" \
	"Package: ambientd
Version: $version"
dpkg-deb -x "$dir/x.deb" "$dir/d"
is "the package's programs" "$(cd "$dir/d" && find . -type f -perm -1 | sort)" \
	"./usr/bin/ambientctl
./usr/lib/cni/ambient-cni
./usr/sbin/ambientd"
is "it names the libraries it needs" \
	"$(dpkg-deb -f "$dir/x.deb" Depends | grep -oE '\b(libc6|libnghttp2-14)\b' | sort -u)" \
	"libc6
libnghttp2-14"
tap_end
