# SPDX-License-Identifier: GPL-2.0-or-later
# For namespace tests on node a: which way connections take, as telemetry and ambientctl tell it.
# Sourced after lib.sh.

# opened REPORTER SECURITY [LABEL=VALUE]...
opened() {
	metric a istio_tcp_connections_opened_total reporter="$1" \
		connection_security_policy="$2" "${@:3}"
}
more_opened() { [ "$(opened "${@:2}")" -gt "$1" ]; }
# A connection of FETCH... is counted as SECURITY by both reporters.
goes() { # SECURITY COMMAND...
	local s d
	s=$(opened source "$1") d=$(opened destination "$1")
	"${@:2}" >/dev/null || return 1
	busywait more_opened "$s" source "$1" && busywait more_opened "$d" destination "$1"
}
goes_direct() { goes node_local "$@"; }
# Until a connection was direct, after what makes the kernel ask anew.
turns_direct() {
	local before
	before=$(opened source node_local)
	"$@" >/dev/null && more_opened "$before" source node_local
}
# Live connections to the port of the server: one line each of WAY DIRECTION SOURCE DESTINATION.
live() {
	ctl a connections -o json | jq -r --arg p ":$1" '.[] | select(.originalDst | endswith($p)) |
		[.way, .direction, .srcIdentity, .dstIdentity] | join(" ")' | sort
}
live_is() { [ "$(live "$1")" = "$2" ]; }
ended() { ! kill -0 "$1" 2>/dev/null || [ "$(ps -o state= -p "$1")" = Z ]; }
denied() { # POD URL: refused at connect(), not later
	pod_exec "$1" curl -s -m 20 -o /dev/null "$2"
	[ $? -eq 7 ]
}

# Connections to port 9000 of pod server: how many there are; one of POD to ADDRESS, HELD is its pid.
held() { [ "$(pod_exec server ss -Htn state established "sport = :9000" | wc -l)" -eq "$1" ]; }
hold() { # POD ADDRESS
	pod_spawn "$1" "$TRAFFIC" rr -s 600 "$2"
	HELD=$LAST_PID
}

strict() { # MODE
	manifest peerauth <<-YAML
		apiVersion: security.istio.io/v1
		kind: PeerAuthentication
		metadata: {name: strict, namespace: demo}
		spec: {mtls: {mode: $1}}
	YAML
}

# What a CNI has written into a pod, in all the forms that the kernel has, without counters; what
# agents put beside it is left out.
cni_state() { # POD
	pod_exec "$1" bash -c '
		for t in ip{,6}tables-{legacy,nft}-save; do
			"$t" 2>/dev/null | grep -v "^#" | sed "s/\[[0-9:]*\]//"
		done
		nft list tables | grep -v ambientd-direct | while read -r _ t; do
			nft -s list table $t 2>/dev/null
		done
		for t in -4 -6; do
			ip $t rule show
			ip $t route show table 100
		done
		sysctl net.ipv4.tcp_fwmark_accept net.ipv4.fwmark_reflect net.ipv6.fwmark_reflect'
}
# What agents have put into a pod and at its interface.
ours_beside() { # POD
	pod_exec "$1" nft list tables | grep ambientd
	pod_exec "$1" tc qdisc show dev eth0 | grep clsact
	node_exec "${NODE_OF[$1]}" tc qdisc show dev "v${P4[$1]##*.}" | grep clsact
	return 0
}
