# SPDX-License-Identifier: GPL-2.0-or-later
# The kernel "debug" of scripts/vm, which watches memory and locks and can make allocations fail:
# Debian's newest source package, with selftests/vm/debug.config and the machine's compiler. To be
# sourced after apt.sh, by bash.
#
# It is built where it stays, in $VMS/debug: source (with the package's version), build, and what
# other kernels have. A change of the configuration is a reason to build again, from what is there;
# a newer source is not. The stamp says what was built.

DEBUG=$VMS/debug
DEBUG_CONFIG=$TOP/selftests/vm/debug.config

# Remarks are no change.
debug_stamp() {
	cat "$DEBUG/source/version"
	grep '^CONFIG_' "$DEBUG_CONFIG" | sort | sha256sum
}

debug_current() { [ "$(cat "$DEBUG/stamp" 2>/dev/null)" = "$(debug_stamp 2>/dev/null)" ]; }

# debug_source SUITE META: the newest source package of that suite.
debug_source() {
	local package version
	[ ! -s "$DEBUG/source/version" ] || return 0
	private_lists deb "$1" || return 1
	package=$(private_apt cache depends "$2" | sed -n "s/^ *Depends: \($2-[0-9.]*\)$/\1/p")
	[ -n "$package" ] || return 1
	rm -rf "$DEBUG" "$WORK/debs" "$WORK/image"
	mkdir -p "$DEBUG" "$WORK/debs" "$WORK/image"
	cd "$WORK/debs"
	private_apt get download "$package" && unpack "$WORK/image" || return 1
	version=$(dpkg-deb -f ./*.deb Version) || return 1
	mkdir "$WORK/source"
	tar -C "$WORK/source" --strip-components 1 -xf "$WORK/image/usr/src/$package.tar.xz" || return 1
	echo "$package $version" >"$WORK/source/version"
	mv "$WORK/source" "$DEBUG/source"
	rm -rf "$WORK/debs" "$WORK/image"
}

# All that the fragment says must hold: what cannot be had would be missed in silence.
debug_configure() {
	mkdir -p "$DEBUG/build"
	cd "$DEBUG/source"
	scripts/kconfig/merge_config.sh -n -s -O "$DEBUG/build" "$DEBUG_CONFIG"
}

# debug_make TARGET...: becomes make, which ends when we do.
debug_make() {
	exec setpriv --pdeathsig TERM nice -n 19 make -C "$DEBUG/build" -j"$(nproc)" "$@"
}

# A line a minute tells how far it is.
debug_compile() {
	local pid seconds=0 objects
	debug_make bzImage modules &
	pid=$!
	while kill -0 $pid 2>/dev/null; do
		sleep 1
		((++seconds % 60)) && continue
		objects=$(find "$DEBUG/build" -name '*.o' | wc -l)
		say BUILD "kernel debug: $objects objects after $((seconds / 60)) minutes" >&3
	done
	wait $pid
}

# debug_build SUITE META: sets release.
debug_build() {
	rm -f "$DEBUG/release" "$DEBUG"/kvm-*
	debug_source "$1" "linux-$2" && debug_configure || return 1
	say BUILD "$(cat "$DEBUG/source/version") with selftests/vm/debug.config" >&3
	debug_compile || return 1
	release=$(make -s -C "$DEBUG/build" kernelrelease) || return 1
	rm -rf "$DEBUG/lib"
	(debug_make modules_install INSTALL_MOD_PATH="$DEBUG") || return 1
	cp "$DEBUG/build/arch/x86/boot/bzImage" "$DEBUG/vmlinuz" || return 1
	make_initrd "$DEBUG" || return 1
	debug_stamp >"$DEBUG/stamp"
	echo "$release" >"$DEBUG/release"
}
