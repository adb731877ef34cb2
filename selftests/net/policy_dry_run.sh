#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A policy marked dry-run decides nothing.
#
#   client (a) --> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
policy dry DENY "app: server" "[{}]" 'istio.io/dry-run: "true"'
wait_policy b dry
is "a dry-run DENY of everything" "$(fetch client "http://${P4[server]}/")" hello
policy dry ALLOW "app: server" "$(from_principal cluster.local/ns/demo/sa/nobody)" \
	'istio.io/dry-run: "true"'
check "the ALLOW is known" busywait sh -c "ip netns exec $(node_ns b) curl -s http://127.0.0.1:15000/config_dump |
	jq -e '.policies[] | select(.name == \"dry\" and .action == \"Allow\")'"
is "a dry-run ALLOW of somebody else" "$(fetch client "http://${P4[server]}/")" hello
policy dry DENY "app: server" "[{}]"
check "the same policy in earnest" busywait refused client "http://${P4[server]}/"
finish
