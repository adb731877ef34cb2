#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Foreign HBONE servers that misbehave: the caller's connection ends, in time, and the agent
# lives; those that are merely different are understood.
#
#   client (a, mesh) ==15008== foreign (b, Python, speaks HBONE itself)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_peers
need_agent
nodes a b
pod a client
pod b foreign
mesh_defaults
pod_manifest client
pod_manifest foreign demo foreign \
	"app: foreign, networking.istio.io/tunnel: http, istio.io/dataplane-mode: none"
agents_start
A=${P4[foreign]}
traffic_server foreign 9000 8
serve() { # OPTIONS: a fresh server
	[ -z "${SERVER_PID:-}" ] || kill_app "$SERVER_PID"
	: >"$TMP/app-foreign.log"
	hbone_server foreign --id $SPIFFE/foreign "$@"
	SERVER_PID=$LAST_PID
}
ask() { pod_exec client timeout 15 "$TRAFFIC" crr -n 1 "$A" 2>/dev/null | jq -r \
	'.errors // "none"'; }
answered() { [ "$(ask)" = 0 ]; }
serve --backend authority
check "a good server is understood" answered
is "it sees the caller's identity" \
	"$(peer_log foreign | jq -rs 'map(select(.authority))[0].peer')" $SPIFFE/client
is "the authority is the pod's address" \
	"$(peer_log foreign | jq -rs 'map(select(.authority))[0].authority')" "$A:9002"
like "baggage tells the caller's namespace" \
	"$(peer_log foreign | jq -rs 'map(select(.authority))[0].headers.baggage')" \
		'k8s\.namespace\.name=demo'
like "forwarded tells the caller's address" \
	"$(peer_log foreign | jq -rs 'map(select(.authority))[0].headers.forwarded')" \
		"${P4[client]}"
like "traceparent is well formed" \
	"$(peer_log foreign | jq -rs 'map(select(.authority))[0].headers.traceparent')" \
	'^00-[0-9a-f]{32}-[0-9a-f]{16}-00$'
for good in "--do padded" "--do continue" "--tickets 4" "--max-streams 1" "--window 1024"; do
	# shellcheck disable=SC2086
	serve --backend authority $good
	check "understood: $good" answered
done
serve --backend authority --max-streams 2
pod_spawn client "$TRAFFIC" rr -t 6 -s 2 "$A"
wait "$LAST_PID"
is "six connections over a server that takes two streams a tunnel" \
	"$(tail -n 1 "$TMP/app-client.log" | jq -r .errors)" 0
for bad in "--status 403" "--status 503" "--do rst" "--do close" "--do goaway-first" \
	"--do bad-frame" \
	"--do push-promise" "--do huge-headers" "--do data-before-headers" "--do plain" \
	"--do ping-flood" "--do settings-flood" "--do window-overrun" "--alpn http/1.1" \
	"--cert expired" "--cert stranger" "--cert self-signed" "--cert no-uri" \
	"--id spiffe://cluster.local/ns/demo/sa/other" \
		"--id spiffe://elsewhere/ns/demo/sa/foreign"; do
	# shellcheck disable=SC2086
	serve --backend authority $bad
	got=$(ask)
	case $bad in
	*flood*) check "survived: $bad" ready a ;;
	# Neither served nor a caller that waits until somebody ends it.
	*) is "refused: $bad" "$got" 1 ;;
	esac
done
check "a wrong identity is counted as such" metric_at_least 1 a \
	istio_tcp_connections_failed_total reporter=source response_flags=IDENTITY_ERROR
serve --backend authority
check "a good server is understood again" busywait answered
finish
