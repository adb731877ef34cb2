#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A real Envoy as HBONE server and as HBONE client, with its certificate from the mesh's CA and
# from the agent's secret discovery: identities seen from both ends, policies, its limits, its
# GOAWAYs and pings, and its sudden end.
#
#   client, other (a) ==HBONE== Envoy edge, still (b) --> nginx, amb-traffic
#   gate (b): curl --> Envoy ==HBONE== server (a)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/envoy.sh
. "$LIB_DIR/envoy.sh"

need_envoy
need_agent
need nginx
nodes a b
for p in client other server; do pod a $p; done
pod b edge
pod b gate
pod b still
mesh_defaults
for p in client other server; do pod_manifest $p; done
for p in edge gate still; do
	pod_manifest $p demo $p \
		"app: $p, networking.istio.io/tunnel: http, istio.io/dataplane-mode: none"
done
http_server server 80 hello
http_server edge 8080 behind-envoy
head -c 30000000 /dev/urandom >"$TMP/http-edge-8080/html/big"
traffic_server edge 9100 160
traffic_server still 9000
traffic_server server 9000 160
agents_start
E=${P4[edge]} E6=${P6[edge]}

# --- server ----------------------------------------------------------------------------------

# edge_start [PARTS]: the application's ports, each as a tunnel asks for it.
edge_start() {
	local port relays=()
	for port in 9000 9001 9002 9003; do
		relays+=(--relay "$E:$port=127.0.0.1:$((port + 100))")
	done
	envoy edge --app 127.0.0.1:8080 "${relays[@]}" "$@"
}
edge_start
# Envoy's pings come every second, and it waits 20 for the answer.
envoy still --relay "${P4[still]}:9003=127.0.0.1:9003"
pod_spawn client "$TRAFFIC" hold -n 1 "${P4[still]}"
IDLE=$LAST_PID
begun=$SECONDS
is "an Envoy ends the tunnel and its application answers" "$(fetch client "http://$E/")" behind-envoy
is "by IPv6 too" "$(fetch client "http://[$E6]/")" behind-envoy
check "Envoy saw the client's identity" wait_envoy edge connect_terminate \
	".peer == \"$SPIFFE/client\" and .from[:$((${#P4[client]} + 1))] == \"${P4[client]}:\""
check "was asked for the pod's address" wait_envoy edge connect_terminate \
	".authority == \"$E:80\" and .status == 200"
check "which is written as such" wait_envoy edge connect_terminate ".authority == \"[$E6]:80\""
check "and was told who calls" wait_envoy edge connect_terminate \
	'.baggage | contains("k8s.namespace.name=demo,k8s.pod.name=client")'
is "30 MB arrive as they were sent" "$(pod_exec client curl -s "http://$E/big" | sha256sum)" \
	"$(sha256sum <"$TMP/http-edge-8080/html/big")"
is "and the same way up, and back" "$(pod_exec client "$PYTHON" - "$E" 2>&1 <<-'PY'
	import hashlib, os, socket, sys, threading
	data = os.urandom(8 << 20)
	s = socket.create_connection((sys.argv[1], 9000), 60)
	def send():
	    s.sendall(data)
	    s.shutdown(socket.SHUT_WR)
	threading.Thread(target=send).start()
	got = b"".join(iter(lambda: s.recv(1 << 16), b""))
	print(got == data)
	PY
)" True

# Its SETTINGS allow a hundred streams: the others need another connection.
tunnels() { pod_exec "$1" ss -Htn state established "dport = :15008"; }
streams() { envoy_stat edge http.connect_terminate.downstream_cx_http2_active; }
active() { envoy_stat edge http.connect_terminate.downstream_rq_active; }
pod_spawn client "$TRAFFIC" hold -n 150 "$E"
HELD=$LAST_PID
all_held() { [ "$(active)" -ge 150 ]; }
check "150 connections at once are carried" busywait all_held
check "by more than one tunnel" test "$(streams)" -ge 2
kill_app $HELD
active_are() { [ "$(active)" = "$1" ]; }
check "and end with their applications" busywait active_are 0

envoy_stop edge

# GOAWAY once a second: tunnels are replaced, streams of old ones go on.
edge_start --http '{"max_connection_duration": "1s"}'
load_start client "$E"
aged() { [ "$(envoy_stat edge http.connect_terminate.downstream_cx_max_duration_reached)" -ge 4 ]; }
check "Envoy sends GOAWAY again and again" busywait aged
load_end client
envoy_stop edge
is "without an Envoy nothing answers" "$(fetch client "http://$E/")" ""

edge_start --id $SPIFFE/somebody
from=$(envoy_lines edge)
is "an Envoy of another identity gets nothing" "$(fetch client "http://$E/")" ""
check "and is named in the log" wait_log a "dst.addr=$E:15008 .*identity"
check "it has seen no request" eval "! envoy_saw edge connect_terminate .peer $from"
envoy_stop edge

edge_start --only $SPIFFE/client
is "Envoy's own policy lets the client in" "$(fetch client "http://$E/")" behind-envoy
is "and nobody else" "$(fetch other "http://$E/")" ""
check "its answer is in the log" wait_log a 'src.workload="other".*403'
: >"$TMP/app-client.log"
pod_spawn client "$TRAFFIC" rr -s 3600 "$E"
HELD=$LAST_PID
busywait active_are 1
kill -KILL "${ENVOY_PID[edge]}"
wait "${ENVOY_PID[edge]}" 2>/dev/null
wait $HELD
is "when Envoy is killed the connection ends" "$(traffic_result client rr .errors)" 1
edge_start
is "the next one serves" "$(fetch client "http://$E/")" behind-envoy

# --- client ----------------------------------------------------------------------------------

S=${P4[server]}
gate_start() {
	envoy gate --originate "8000=$S:80" --originate "8006=[${P6[server]}]:80" \
		--originate "9000=$S:9000" --originate "9003=$S:9003" --originate "8444=$S:4444" "$@"
}
gated() { pod_exec gate curl -s -m 20 "http://127.0.0.1:${1:-8000}/${2:-}"; }
gate_gets() { [ "$(gated)" = hello ]; }
gate_start --expect $SPIFFE/somebody
is "an Envoy that expects another identity gets nothing" "$(gated)" ""
check "as it says" wait_envoy gate connect_originate '.error | contains("CERTIFICATE_VERIFY_FAILED")'
envoy_stop gate
gate_start
is "an Envoy begins a tunnel and the pod answers" "$(gated)" hello
is "by IPv6 too" "$(gated 8006)" hello
is "the pod sees Envoy's address" "$(gated 8000 from)" "${P4[gate]}"
check "the agent sees its identity" busywait metric_at_least 1 a \
	istio_tcp_connections_opened_total reporter=destination source_principal=$SPIFFE/gate
check "and Envoy the pod's" wait_envoy gate connect_originate ".server == \"$SPIFFE/server\""
is "a port where nobody listens ends the connection" "$(gated 8444)" ""
check "at once" wait_log a "$S:4444 .*Connection refused"
pod_spawn gate "$TRAFFIC" hold -n 150 127.0.0.1
HELD=$LAST_PID
carried() { [ "$(pod_exec server ss -Htn state established "sport = :9003" | wc -l)" -ge "$1" ]; }
check "150 connections at once are carried" busywait carried 150
kill_app $HELD

policy gate DENY "app: server" "$(from_principal cluster.local/ns/demo/sa/gate)"
wait_policy a gate
gate_denied() { [ -z "$(gated)" ]; }
check "a policy denies it" busywait gate_denied
check "which the agent counts" busywait metric_at_least 1 a istio_tcp_connections_failed_total \
	reporter=destination response_flags=DENY source_principal=$SPIFFE/gate
manifest_remove policy-gate
wait_no_policy a gate
: >"$TMP/app-gate.log"
pod_spawn gate "$TRAFFIC" rr -s 3600 127.0.0.1
HELD=$LAST_PID
check "without the policy it is let in" busywait held 1
policy gate DENY "app: server" "$(from_principal cluster.local/ns/demo/sa/gate)"
wait $HELD
is "a policy that comes ends what is under way" "$(traffic_result gate rr .errors)" 1
manifest_remove policy-gate
wait_no_policy a gate
envoy_stop gate

SECRETS=$TMP/secrets/sds
# The same, with a certificate of the agent beside it, which is renewed while it is in use.
agent_stop b
agent_start b --sds-server "$SECRETS" --sds-uid $ENVOY_UID --cert-ttl 8s
agent_ready b
gate_start --sds "$SECRETS"
check "with a certificate of the agent's it is let in as well" busywait gate_gets
gate_cert() { envoy_admin gate certs | jq -r ".certificates[0].$1"; }
gate_serial() {
	"$PYTHON" -c 'import sys; print(int(sys.argv[1], 16))' "$(gate_cert 'cert_chain[0].serial_number')"
}
is "it has the workload's identity" "$(gate_cert 'cert_chain[0].subject_alt_names[0].uri')" \
	$SPIFFE/gate
same_serial() { [ "$(gate_serial)" = "$(serial b gate)" ]; }
check "and the certificate that the agent has for it" busywait same_serial
before=$(gate_serial)
check "renewals arrive there" busywait differs "$before" gate_serial
is "and are used" "$(gated)" hello
"$AMBIENTCTL" ca rotate "$CA" >/dev/null
two_roots() { [ "$(gate_cert 'ca_cert | length')" = 2 ]; }
check "so do new roots" busywait two_roots
check "and it goes on" gate_gets

old_enough() { [ $((SECONDS - begun)) -ge 25 ]; }
busywait old_enough
check "an idle connection from the beginning is still there" kill -0 "$IDLE"
is "in the Envoy too" "$(envoy_stat still http.connect_terminate.downstream_rq_active)" 1
is "since its pings were answered" "$(envoy_stat still http2.keepalive_timeout)" 0
finish
