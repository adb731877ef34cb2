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
# What live prints of one direct connection of client's.
both_ends() {
	printf '%s\n' "direct inbound $SPIFFE/client $SPIFFE/server" \
		"direct outbound $SPIFFE/client $SPIFFE/server"
}
# The least that a live direct connection has carried, either way.
bytes() {
	ctl a connections -o json | jq '[.[] | select(.way == "direct") | .bytesToDst, .bytesToSrc] |
		min'
}
grows() { [ "$(bytes)" -gt "$1" ]; }
ended() { ! kill -0 "$1" 2>/dev/null || [ "$(ps -o state= -p "$1")" = Z ]; }
denied() { # POD URL: refused at connect(), not later
	pod_exec "$1" curl -s -m 20 -o /dev/null "$2"
	[ $? -eq 7 ]
}

# Connections to port 9000 of pod server: one of POD that is over at once; one of POD to ADDRESS, HELD
# is its pid.
echo_once() { pod_exec "${1:-client}" "$TRAFFIC" rr -s 0.1 "${P4[server]}"; }
hold() { # POD ADDRESS
	pod_spawn "$1" "$TRAFFIC" rr -s 600 "$2"
	HELD=$LAST_PID
}

# Checks of pods client and server, whose page is at $URL: that no connection between them is direct
# before one has gone by tunnel;
first_by_tunnel() {
	local r
	check "the first connection goes by tunnel" goes mutual_tls fetches client "$URL/"
	is "and is no direct one" "$(opened source node_local)" 0
	check "the second is direct, told by both ends" goes_direct fetches client "$URL/"
	for r in source destination; do
		check "$r: both principals" [ "$(opened $r node_local source_principal=$SPIFFE/client \
			destination_principal=$SPIFFE/server source_workload=client \
			destination_workload=server)" -ge 1 ]
	done
}
# and that a policy cuts HELD, the only connection to port 9000, and keeps the client out, also of
# service 10.96.0.1:8080. The policy, cut, stays.
denials() {
	metric a istio_tcp_connections_failed_total reporter=destination response_flags=DENY \
		source_principal=$SPIFFE/client connection_security_policy=node_local
}
more_denials() { [ "$(denials)" -gt "$1" ]; }
policy_cuts() {
	local before
	policy cut DENY "app: server" "$(from_principal cluster.local/ns/demo/sa/client)"
	check "a policy against it cuts it" busywait held 0
	check "the application notices" busywait ended "$HELD"
	check "told as cut" wait_log a 'policy change'
	check "and counted" busywait metric_at_least 1 a istio_tcp_connections_failed_total \
		reporter=destination response_flags=DENY source_workload=client
	check "a new connection is refused at connect()" busywait denied client "$URL/"
	before=$(denials)
	check "so is the next, by the kernel" denied client "$URL/"
	check "and by the service" busywait denied client http://10.96.0.1:8080/
	check "counted with flag DENY for the destination" busywait more_denials "$before"
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
