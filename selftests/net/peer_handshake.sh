#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What is no TLS, or never ends: refused or cut by a deadline, and nobody else waits for it.
#
#   stranger --15008--> server
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_peers
two_pods
A=${P4[server]}
hc() { hbone_client stranger --to "$A" --authority "$A:80" "$@"; }
got=$(hc plain-http)
is "plain HTTP: the connection is closed" "$(jq .closed <<<"$got")" true
unlike "and nothing is served" "$(jq -r .body <<<"$got")" 'hello|HTTP'
is "plain HTTP/2: closed" "$(hc plain-h2 | jq .closed)" true
is "garbage: closed" "$(hc garbage | jq .closed)" true
is "another preface than HTTP/2's: closed" "$(hc wrong-preface | jq .closed)" true
got=$(hc silent --timeout 20)
is "silence: closed by the deadline" "$(jq .closed <<<"$got")" true
at_least "which is not at once" "$(jq .seconds <<<"$got")" 3
got=$(hc slow-handshake --timeout 25)
is "a ClientHello byte by byte: closed by the deadline" "$(jq .closed <<<"$got")" true ||
	diag "$got"
late() { [ "$(grep -c 'handshake timed out' "$(agent_log b)")" -eq 2 ]; }
check "both are told" busywait late
got=$(hc crowd --count 300)
is "300 unfinished handshakes: others are served" "$(fetch client "http://$A/")" hello
diag "$(jq -c . <<<"$got" | cut -c1-300)"
served() { [ "$(hc status | jq .status)" = 200 ]; }
check "and the one who crowded, once the deadline has passed" busywait served
finish
