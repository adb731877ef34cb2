#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The agent as a secret discovery service: certificates and roots for an Envoy beside it, pushed
# when they change, to the users that may have them.
#
#   sds_client.py (grpcio) --unix socket--> agent of a, with pod client
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
need_agent
need_python grpc google.protobuf cryptography

nodes a
pod a client
mesh_defaults
pod_manifest client
SOCKET=$TMP/secrets/sds
chmod 711 "$TMP"
agents_start --sds-server "$SOCKET" --sds-uid 1337 --cert-ttl 8s

# client NAME [OPTIONS] SECRETS...: in the background, LAST_PID; it tells in NAME.
client() {
	local log=$TMP/$1
	shift
	"$PYTHON" "$PEERS/sds_client.py" --proto "$TOP/agent/control/proto" --socket "$SOCKET" \
		"$@" >"$log" 2>>"$log.errors" &
	LAST_PID=$!
	APP_PIDS+=("$LAST_PID")
}
got() { jq -se "$2" "$TMP/$1" >/dev/null; }
is "anybody may knock at the socket" "$(stat -c %a "$SOCKET")" 666

client cert "$SPIFFE/client"; CERT=$LAST_PID
check "a certificate is served" busywait got cert 'length > 0'
check "with its type, key, identity and chain" got cert ".[0] | .types == [\"type.googleapis.com/\
envoy.extensions.transport_sockets.tls.v3.Secret\"] and .secrets[0].key and .secrets[0].chain == 2 \
and .secrets[0].uri == [\"$SPIFFE/client\"]"
check "it is the one that tunnels use" got cert \
	"map(.secrets[0].serial) | index(\"$(serial a client)\") != null"
check "renewals are pushed" busywait got cert \
	'(map(.secrets[0].serial) | unique | length) >= 3 and length <= 8'
client roots ROOTCA
check "roots are served" busywait got roots '.[0].secrets == [{"name": "ROOTCA", "roots": 1}]'
client both "$SPIFFE/client" ROOTCA
check "both in one answer" busywait got both '.[0].secrets | length == 2'
client other --uid 1337 ROOTCA
check "another user who may" busywait got other 'length == 1'
client stranger --uid 1338 ROOTCA
check "one who may not gets nothing" busywait got stranger \
	'length == 1 and .[0].error == "UNAVAILABLE"'
check "and is named" wait_log a 'process [0-9]* of user 1338 may not have secrets'
client method --method DeltaSecrets ROOTCA
check "a method that is not there" busywait got method '.[0].error == "UNIMPLEMENTED"'
client refuse --refuse ROOTCA
check "a refusal is logged" wait_log a 'a client refuses its secrets: not to my taste'
# shellcheck disable=SC2046
client many ROOTCA $(seq 64)
check "too many names are refused" busywait got many '.[0].error == "INVALID_ARGUMENT"'

client later "$SPIFFE/later"
"$AMBIENTCTL" ca rotate "$CA" >/dev/null
check "new roots are pushed" busywait got roots '.[-1].secrets[0].roots == 2'
# A pod that comes later: its certificate goes to who waits for it.
pod a later
pod_manifest later
check "a name that is not known yet is waited for" busywait got later \
	".[0].secrets[0].uri == [\"$SPIFFE/later\"]"
check "nobody else is told of it" got roots 'all(.[]; .secrets | length == 1)'
kill_app "$CERT"
is "it goes on without one of them" "$(certificate a client .state)" Available
# More connections than there may be: those over it wait, and are served when others end.
for i in $(seq 40); do
	"$PYTHON" - "$SOCKET" <<-'PY' &
		import socket, sys, time
		s = socket.socket(socket.AF_UNIX)
		s.connect(sys.argv[1])
		time.sleep(3)
	PY
	APP_PIDS+=("$!")
done
client last ROOTCA
check "idle connections do not shut others out for ever" busywait got last 'length > 0'
printf 'GET / HTTP/1.1\r\n\r\n' | timeout 5 "$PYTHON" -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.stdin.buffer.read())
while s.recv(4096): pass' "$SOCKET"
is "nonsense ends its own connection" "$?" 0
finish
