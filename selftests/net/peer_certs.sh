#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Certificates of callers: only a valid one of the mesh's trust domain gets a stream.
#
#   stranger (Python ssl) ==15008== server
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_peers
two_pods
A=${P4[server]}
try() { hbone_client stranger --to "$A" --timeout 10 "$@" status; }
# No answer, and the connection is ended.
turned_away() {
	local out
	out=$(try "$@")
	jq -e '(has("status") | not) and (.closed or .handshake != "ok")' <<<"$out" || { echo \
		"$out"; false; }
}
is "a good certificate is served" "$(try | jq .status)" 200
before=$(metric b istio_tcp_connections_opened_total reporter=destination)
for flaw in expired not-yet self-signed stranger no-uri dns-only bad-spiffe no-client-eku; do
	check "certificate: $flaw" turned_away --cert $flaw
done
check "no certificate" turned_away --no-cert
check "another trust domain" turned_away --id spiffe://elsewhere.example/ns/demo/sa/stranger
check "no ALPN" turned_away --alpn ""
check "ALPN http/1.1" turned_away --alpn http/1.1
check "TLS 1.2" turned_away --tls12
is "no byte reached the application" \
	"$(metric b istio_tcp_connections_opened_total reporter=destination)" "$before"
is "a good certificate is still served" "$(try | jq .status)" 200
finish
