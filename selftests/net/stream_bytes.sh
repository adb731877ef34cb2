#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A TCP stream through the mesh is a TCP stream: bytes, half-close, resets, back-pressure;
# through the tunnel, in plain into the mesh, and in plain out of it.
#
#   client (mesh) --> server (mesh);  stranger (no mesh) --> server;  client --> stranger
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
trials() { # FROM TO-ADDRESS TEXT
	local line
	while read -r line; do
		case $line in
		"ok - "*) ok "$3: ${line#ok - }" ;;
		*) not_ok "$3: ${line#not ok - }" ;;
		esac
	done < <(pod_exec "$1" "$PYTHON" "$PEERS/streams.py" try "$2" 7000 2>&1)
}
for p in server stranger; do
	pod_spawn $p "$PYTHON" "$PEERS/streams.py" serve 7000
	wait_listen $p 7000
done
trials stranger "${P4[stranger]}" "no mesh at all"
trials client "${P4[server]}" tunnel
trials client "${P6[server]}" "tunnel over v6"
trials stranger "${P4[server]}" "plain into the mesh"
trials client "${P4[stranger]}" "plain out of the mesh"
at_least "all trials were made" $TAP_COUNT 45
finish
