#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The VM is what scripts/vm promises: the kernel that was asked for, what a booted machine mounts,
# kernel TLS that takes keys, namespaces that pass traffic.
#
#   pod one --br0 (node a)-- pod two: nginx
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/kmod.sh
. "$LIB_DIR/kmod.sh"

need_vm
case $VM_KERNEL in newest) series= ;; *) series=$VM_KERNEL. ;; esac
is "the kernel is the one of the cache" "$(uname -r)" "$VM_RELEASE"
is "and of the series that was asked for" "${VM_RELEASE#"$series"}" "${VM_RELEASE:${#series}}"
while read -r where type; do
	is "$where is a $type" "$(stat -fc %T "$where")" "$type"
done <<-MOUNTS
	/sys/fs/bpf bpf_fs
	/sys/fs/cgroup cgroup2fs
	/sys/kernel/tracing tracefs
	/sys/kernel/debug debugfs
	/dev/shm tmpfs
	/run tmpfs
	/tmp tmpfs
	/dev/pts devpts
MOUNTS
at_least "the kernel describes its types (BTF), bytes" "$(stat -c %s /sys/kernel/btf/vmlinux)" 1000000
check "sysctls can be set" sysctl -qw net.ipv4.ip_forward=1
is "loopback is up" "$(ip -br link show up | awk '{ print $1 }')" lo
is "and the only device" "$(ip -br link show | awk '{ print $1 }')" lo
check "a file of the tree can be written" touch "$TOP/Makefile"

check "module tls loads" modprobe tls
check "kernel TLS takes keys and carries data" "$PYTHON" "$(dirname "$0")/ktls.py"

nodes a
pod a one
pod a two
http_server two 80 hello
is "namespaces pass traffic over IPv4" "$(fetch one "http://${P4[two]}/" 30)" hello
is "and over IPv6" "$(fetch one "http://[${P6[two]}]/" 30)" hello
finish
