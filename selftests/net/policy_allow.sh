#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An ALLOW policy admits those it names and nobody else; the refused get a closed connection.
#
#   client, other (a) --> server (b): ALLOW client
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
pod a other
pod_manifest other
wait_enrolled other
is "without a policy everybody may" "$(fetch other "http://${P4[server]}/")" hello
policy server-callers ALLOW "app: server" "$(from_principal cluster.local/ns/demo/sa/client)"
check "the policy refuses others" busywait refused other "http://${P4[server]}/"
is "it stays so" "$(fetch other "http://${P4[server]}/")" ""
is "the client may" "$(fetch client "http://${P4[server]}/")" hello
is "a stranger without identity may not" "$(fetch stranger "http://${P4[server]}/")" ""
check "refusals are counted at the server's node" metric_at_least 1 b \
	istio_tcp_connections_failed_total reporter=destination response_flags=DENY
check "and at the caller's, as a failed connect" metric_at_least 1 a \
	istio_tcp_connections_failed_total reporter=source response_flags=CONNECT
check "the access log says that no policy allowed it" wait_log b 'not allowed'
policy server-callers ALLOW "app: server" "[{from: [{source: {namespaces: [demo]}}]}]"
check "an edit admits the namespace" busywait fetches other "http://${P4[server]}/"
manifest_remove policy-server-callers
check "without it the stranger may again" busywait fetches stranger "http://${P4[server]}/"
finish
