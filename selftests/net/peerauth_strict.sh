#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# PeerAuthentication STRICT: who comes in plain is refused, who comes by mutual TLS is not;
# for a namespace, a selector and a port.
#
#   client (mesh), stranger (no mesh) --> server ports 80, 8080
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

peerauth() {
	manifest peerauth <<-YAML
		apiVersion: security.istio.io/v1
		kind: PeerAuthentication
		metadata: {name: strict, namespace: $1}
		spec: $2
	YAML
}
two_pods
http_server server 8080 second
server="selector: {matchLabels: {app: server}}"
URL="http://${P4[server]}"
is "before, a stranger may" "$(fetch stranger "$URL/")" hello
peerauth demo '{mtls: {mode: STRICT}}'
check "namespace STRICT refuses the stranger" busywait refused stranger "$URL/"
is "over v6 too" "$(fetch stranger "http://[${P6[server]}]/")" ""
is "the client may" "$(fetch client "$URL/")" hello
peerauth demo "{$server, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: PERMISSIVE}}}"
check "a port that is PERMISSIVE again admits the stranger" busywait fetches stranger "$URL:8080/"
is "the other port does not" "$(fetch stranger "$URL/")" ""
peerauth demo "{$server, portLevelMtls: {8080: {mode: STRICT}}}"
check "STRICT for one port only" busywait refused stranger "$URL:8080/"
check "leaves the other open" busywait fetches stranger "$URL/"
is "mutual TLS passes everywhere" "$(fetch client "$URL:8080/")" second
peerauth istio-system '{mtls: {mode: STRICT}}'
check "mesh-wide STRICT" busywait refused stranger "$URL/"
is "the client may" "$(fetch client "$URL/")" hello
finish
