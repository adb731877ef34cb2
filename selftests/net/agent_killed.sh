#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The agent of the callee is killed and started again: no clear text meanwhile, service after.
#
#   client (a) --> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
is "before" "$(fetch client "http://${P4[server]}/")" hello
agent_stop b KILL
is "while it is dead nothing passes" "$(fetch client "http://${P4[server]}/" 3)" ""
agent_start b
agent_ready b
wait_enrolled server
check "the caller finds the new one" busywait fetches client "http://${P4[server]}/"
agent_stop a KILL
is "a captured pod without its agent sends nothing in clear" \
	"$(fetch client "http://${P4[server]}/" 3)" ""
agent_start a
agent_ready a
wait_enrolled client
check "and works again" busywait fetches client "http://${P4[server]}/"
finish
