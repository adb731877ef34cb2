#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The direct way: pods of one node speak over their own sockets, with identity, policy and
# telemetry; and plaintext that policy allows goes to the application without the agent.
#
#   client, other (mesh), stranger (no mesh) --> server: nginx 80, echo 9000      all on node a
#   web (service, endpoint server), far (service, endpoint without netns, of node b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/ways.sh
. "$LIB_DIR/ways.sh"

CAPTURE=ebpf
need_agent
need nginx
nodes a
for p in client other server stranger; do
	pod a $p
done
mesh_defaults
for p in client other server; do
	pod_manifest $p
done
pod_manifest stranger demo stranger "app: stranger, istio.io/dataplane-mode: none"
service_manifest web 10.96.0.1,fd96::1 "app: server" "{name: h, port: 8080, targetPort: 80}, \
	{name: e, port: 9000}"
http_server server 80 hello
traffic_server server 9000 8
agents_start
URL="http://${P4[server]}"
PYTHON_PEER='import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
s.sendall(b"GET / HTTP/1.0\r\n\r\n")
s.recv(1)
print(*s.getpeername()[:2], *s.getsockname()[:1])'

# First by a tunnel, then direct
first_by_tunnel
line="src\.workload=\"?client\"? .*src\.identity=\"?$SPIFFE/client"
line="$line.*dst\.identity=\"?$SPIFFE/server"
check "access log: outbound" wait_log a "dst\.addr=${P4[server]}:80 .*direction=\"outbound\""
check "access log: inbound" wait_log a "dst\.addr=${P4[server]}:80 .*direction=\"inbound\""
check "access log: both identities" wait_log a "$line"
check "IPv6 after its first" busywait turns_direct fetch client "http://[${P6[server]}]/"
check "v4-mapped is the same connection" goes_direct fetches client "http://[::ffff:${P4[server]}]/"
is "the application sees the real peer" "$(fetch client "$URL/from")" "${P4[client]}"

# By a service
check "by the service's address" busywait turns_direct fetch client http://10.96.0.1:8080/
is "the application sees the address it asked for" \
	"$(pod_exec client "$PYTHON" -c "$PYTHON_PEER" 10.96.0.1 8080)" \
	"10.96.0.1 8080 ${P4[client]}"
check "by its IPv6 address" busywait turns_direct fetch client "http://[fd96::1]:8080/"
is "getpeername of IPv6" "$(pod_exec client "$PYTHON" -c "$PYTHON_PEER" fd96::1 8080)" \
	"fd96::1 8080 ${P6[client]}"
is "of a mapped address" \
	"$(pod_exec client "$PYTHON" -c "$PYTHON_PEER" ::ffff:10.96.0.1 8080)" \
	"::ffff:10.96.0.1 8080 ::ffff:${P4[client]}"
# The same socket, first to the service, then to one of the pod's own
AGAIN='import ctypes, socket
listener = socket.create_server(("127.0.0.1", 0))
s = socket.create_connection(("10.96.0.1", 8080), timeout=20)
before = s.getpeername()
ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16)
s.connect(listener.getsockname())
print(*before, s.getpeername() == listener.getsockname())'
is "a socket that connects anew shows its new peer" \
	"$(pod_exec client "$PYTHON" -c "$AGAIN")" "10.96.0.1 8080 True"
check "the service is named by the source" busywait more_opened 0 source node_local \
	destination_service_name=web

# A long one: lists and bytes
check "port 9000 becomes direct" busywait turns_direct echo_once
hold client "${P4[server]}"
check "a connection is held" busywait held 1
check "ctl connections: once for each end, with both identities" busywait live_is 9000 "$(both_ends)"
check "its bytes are seen" busywait grows 100000
counted() { metric a istio_tcp_received_bytes_total reporter="$1" \
	connection_security_policy=node_local destination_workload=server; }
counts() { [ "$(counted "$1")" -gt "$2" ]; }
check "and counted while it lives, by the source" busywait counts source 100000
check "by the destination" busywait counts destination 100000

# Policy
policy cut DENY "app: server" "$(from_principal cluster.local/ns/demo/sa/other)"
wait_policy a cut
check "a policy against others leaves it alone" held 1
policy_cuts
check "other is not" fetches other "$URL/"
manifest_remove policy-cut
wait_no_policy a cut
check "without the policy it is direct again" busywait turns_direct fetch client "$URL/"

check "port 9000 too" busywait turns_direct echo_once
hold client "${P4[server]}"
check "held again" busywait held 1
policy selected DENY "app: other-server" "[{}]"
wait_policy a selected
check "a policy that selects other pods leaves it alone" held 1
pod_manifest server demo server "app: other-server"
check "the pod's labels change, so that the policy is its: cut" busywait held 0
pod_manifest server
manifest_remove policy-selected
wait_no_policy a selected
check "direct again" busywait turns_direct fetch client "$URL/"

only_client() { # WHAT RULES: they allow the client, not other
	policy what ALLOW "app: server" "$2"
	wait_policy a what
	check "$1: refused" busywait refused other "$URL/"
	check "$1: at connect()" busywait denied other "$URL/"
	check "$1: allowed" busywait turns_direct fetch client "$URL/"
	manifest_remove policy-what
	wait_no_policy a what
}
only_client "by principal" "$(from_principal cluster.local/ns/demo/sa/client)"
only_client "by address" "[{from: [{source: {ipBlocks: [\"${P4[client]}/32\"]}}]}]"
check "without it" busywait turns_direct fetch other "$URL/"
policy what ALLOW "app: server" '[{to: [{operation: {ports: ["80"]}}]}]'
check "by port: another is refused" busywait eval '! echo_once | jq -e ".count > 0"'
check "by port: that one is direct" busywait turns_direct fetch other "$URL/"
policy what ALLOW "app: server" '[{from: [{source: {namespaces: ["elsewhere"]}}]}]'
check "by namespace: refused" busywait denied client "$URL/"
policy what ALLOW "app: server" '[{from: [{source: {namespaces: ["demo"]}}]}]'
check "by namespace: direct" busywait turns_direct fetch client "$URL/"
manifest_remove policy-what
wait_no_policy a what

# A stranger
check "a stranger is let in" busywait fetches stranger "$URL/"
is "his address is real" "$(fetch stranger "$URL/from")" "${P4[stranger]}"
echo_once stranger >/dev/null
hold stranger "${P4[server]}"
check "a connection of his is held, without relay" busywait live_is 9000 "passthrough inbound  "
is "by one socket" "$(pod_exec server ss -Htn state established "( sport = :9000 or dport = :9000 )" |
	wc -l)" 1
check "beside one of the client" busywait turns_direct echo_once
hold client "${P4[server]}"
check "which is held" busywait held 2
strict STRICT
check "STRICT cuts the stranger's, not the client's" busywait held 1
check "the stranger is refused at connect()" busywait denied stranger "$URL/"
check "the client's new ones stay direct" busywait turns_direct fetch client "$URL/"
is "the one that lives is the client's" "$(live 9000)" "$(both_ends)"
kill_app "$HELD"
manifest_remove peerauth
check "and in again" busywait fetches stranger "$URL/"

# Nobody listens
failed() { metric a istio_tcp_connections_failed_total reporter="$1" response_flags=CONNECT \
	connection_security_policy=node_local source_principal=$SPIFFE/client; }
more_failed() { [ "$(failed "$1")" -gt "$2" ]; }
fetch client "$URL:81/"
before=$(failed source)
check "a closed port refuses" denied client "$URL:81/"
check "which counts as a failed connection" busywait more_failed source "$before"

# Outside of the mesh
pod_spawn stranger "$TRAFFIC" server --port 7000 --threads 8
wait_listen stranger 7003
pod_spawn client "$TRAFFIC" rr -s 600 -p 7000 "${P4[stranger]}"
check "out of the mesh: the application's own socket" busywait live_is 7000 \
	"passthrough outbound  "

# To the byte, whoever ends it, and in whatever state it is looked at
for p in server stranger; do
	pod_spawn $p "$PYTHON" "$PEERS/ends.py" serve 9100
	wait_listen $p 9100
done
ends() { pod_exec client "$PYTHON" "$PEERS/ends.py" "${P4[$1]}" 9100 "${@:2}"; }
told_of() { # POD DIRECTION SENT RECEIVED FROM
	wait_log a "dst\.addr=${P4[$1]}:9100 .*direction=\"$2\" bytes_sent=$3 bytes_recv=$4 " "$5"
}
carries() { # [WAY BYTES-THERE BYTES-BACK]...: what lives on port 9100
	local is
	is=$(ctl a connections -o json | jq -r '[.[] | select(.originalDst | endswith(":9100")) |
		.way, .bytesToDst, .bytesToSrc] | join(" ")')
	[ "$is" = "$*" ]
}
half_closed() { pod_exec "$1" ss -Htn state fin-wait-2 "sport = :9100" | grep -q .; }
to_the_byte() { # POD WAY DIRECTION...
	local who how d from
	for who in client server; do
		for how in close reset; do
			from=$(log_lines a)
			check "$1: the $who ends it by $how" ends "$1" $who $how
			check "told by the source" told_of "$1" outbound 1000 3000 "$from"
			[ "$2" = passthrough ] && continue
			check "by the destination" told_of "$1" inbound 3000 1000 "$from"
		done
		exec {go}> >(ends "$1" $who close wait >"$TMP/carried")
		busywait grep -q carried "$TMP/carried"
		[ "$who" = server ] && check "the server has ended its way" busywait half_closed "$1"
		check "seen while the $who's turn has come" busywait carries "${@:3}"
		exec {go}>&-
		check "it is gone" busywait carries
	done
}
check "port 9100 becomes direct" busywait turns_direct ends server client close
to_the_byte server direct direct 1000 3000 direct 1000 3000
to_the_byte stranger passthrough passthrough 1000 3000

# Where direct ways are switched off
tunnels() { # WHAT COMMAND...
	check "$1" busywait goes mutual_tls "${@:2}"
	check "$1, the second too" goes mutual_tls "${@:2}"
}
note() { pod_document "$1" | sed "s|^  annotations:|&\n    $2|" | manifest "pod-$1"; }
joins() { grep -c "pod demo/$1: joined" "$(agent_log a)"; }
joined_again() { [ "$(joins "$1")" -gt "$2" ]; }
before=$(joins client)
note client 'ambientd.io/always-tunnel: "true"'
busywait joined_again client "$before"
tunnels "annotation of the source" fetches client "$URL/"
tunnels "by a service" fetches client http://10.96.0.1:8080/
before=$(joins client)
pod_manifest client
busywait joined_again client "$before"
check "without it" busywait turns_direct fetch client "$URL/"
before=$(joins server)
note server 'ambientd.io/always-tunnel: "true"'
busywait joined_again server "$before"
tunnels "annotation of the destination" fetches client "$URL/"
before=$(joins server)
note server 'ambient.istio.io/bypass-inbound-capture: "true"'
busywait joined_again server "$before"
from=$(opened source node_local)
check "a pod whose inbound is left alone answers" busywait fetches client "$URL/"
check "again" busywait fetches client "$URL/"
is "without direct ways" "$(opened source node_local)" "$from"
before=$(joins server)
pod_manifest server
busywait joined_again server "$before"
check "and with them" busywait turns_direct fetch client "$URL/"
before=$(joins server)
manifest 00-namespace <<-YAML
	apiVersion: v1
	kind: Namespace
	metadata:
	  name: demo
	  labels: {istio.io/dataplane-mode: ambient}
	  annotations: {ambientd.io/always-tunnel: "true"}
YAML
busywait joined_again server "$before"
tunnels "annotation of the namespace" busywait fetches client "$URL/"
mesh_defaults
agent_stop a
agents_start --always-tunnel
tunnels "option of the agent" fetches client "$URL/"
finish
