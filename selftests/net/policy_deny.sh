#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# DENY comes before ALLOW, by principal, port, address; the other port stays open.
#
#   client, other (a) --> server (b) ports 80 and 8080
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
http_server server 8080 second
pod a other
pod_manifest other
wait_enrolled other
policy all ALLOW "app: server" "[{}]"
policy no-other DENY "app: server" "$(from_principal cluster.local/ns/demo/sa/other)"
check "the denied principal is refused" busywait refused other "http://${P4[server]}/"
is "others are not" "$(fetch client "http://${P4[server]}/")" hello
# The first refusal may have been of a live connection, which has another reason.
is "it stays so" "$(fetch other "http://${P4[server]}/")" ""
check "the access log names the policy" wait_log b 'demo/no-other'
policy no-other DENY "app: server" '[{to: [{operation: {ports: ["8080"]}}]}]'
check "a denied port is refused" busywait refused client "http://${P4[server]}:8080/"
is "the other port is open" "$(fetch client "http://${P4[server]}/")" hello
policy no-other DENY "app: server" "[{from: [{source: {ipBlocks: [\"${P4[other]}/32\"]}}]}]"
check "a denied address is refused" busywait refused other "http://${P4[server]}/"
check "its neighbour is not" busywait fetches client "http://${P4[server]}:8080/"
finish
