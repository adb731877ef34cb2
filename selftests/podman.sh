# SPDX-License-Identifier: GPL-2.0-or-later
# For tests with containers of podman, which is on its own: configuration, storage and networks are
# the test's. Sourced after lib.sh.
#
#   podman_set_up; pod_man NODE run ...
#
# It lives in a mount namespace of its own, with a cgroup tree that crun understands everywhere.
# CONTAINERS_CONF_MORE holds lines that go before the section [engine].

# What each container needs: no controllers, and limits below those of any machine.
PODMAN_RUN=(--cgroups=disabled --ulimit nofile=1024:1024 --ulimit nproc=1024:1024)

podman_set_up() {
	need podman crun
	unshare --mount --propagation private bash -c '
		umount -R /sys/fs/cgroup; umount -l /sys/fs/cgroup
		mount -t cgroup2 none /sys/fs/cgroup
		touch "$1"; exec sleep infinity' _ "$TMP/mounted" >"$TMP/mounts.log" 2>&1 &
	PODMAN_HOLDER=$!
	APP_PIDS+=("$PODMAN_HOLDER")
	busywait test -e "$TMP/mounted" || skip_all "no mount namespace: $(tail -n 1 "$TMP/mounts.log")"
	PODMAN_INSIDE=(nsenter "--mount=/proc/$PODMAN_HOLDER/ns/mnt")
	cat >"$TMP/containers.conf" <<-CONF
		${CONTAINERS_CONF_MORE:-}
		[engine]
		cgroup_manager = "cgroupfs"
		events_logger = "none"
		runtime = "crun"
	CONF
	PODMAN_NODE=$1
	AT_END=containers_end
}
# Containers have namespaces of podman's, in which nobody else looks for what is left.
containers_end() { pod_man rm -a -f -t 0; }

# pod_man ARGUMENTS: podman, in the network namespace of the node.
pod_man() {
	node_exec "$PODMAN_NODE" "${PODMAN_INSIDE[@]}" env CONTAINERS_CONF="$TMP/containers.conf" \
		podman --root "$TMP/storage" --runroot "$TMP/runroot" "$@" 2>&1
}
