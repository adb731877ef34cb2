#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Rules of nftables in pods: removed on exit, kept with --keep, taken over after a crash.
#
#   client (a) --> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

CAPTURE=nft

two_pods
agent_stop b
is "a clean exit removes the rules" "$(pod_exec server nft list tables)" ""
is "and the route rule" "$(ip -n "$(pod_ns server)" rule show priority 32764)" ""
is "status 0" "${AGENT_EXIT[b]}" 0
agent_start b --keep
agent_ready b
wait_enrolled server
agent_stop b
like "--keep leaves them" "$(pod_exec server nft list tables)" ambientd
agent_start b
agent_ready b
wait_enrolled server
is "the next agent works with them" "$(fetch client "http://${P4[server]}/")" hello
rules=$(pod_exec server nft list ruleset | grep -c redirect)
agent_stop b KILL
like "a killed agent leaves its rules" "$(pod_exec server nft list tables)" ambientd
is "so that a captured pod fails closed" "$(fetch stranger "http://${P4[server]}/")" ""
agent_start b
agent_ready b
wait_enrolled server
is "the next agent takes over" "$(fetch client "http://${P4[server]}/")" hello
is "and has not doubled them" "$(pod_exec server nft list ruleset | grep -c redirect)" "$rules"
finish
