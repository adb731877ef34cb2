#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The agent under valgrind: traffic, policy, refusals, a foreign peer; no error, no leak.
#
#   client (a) --> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need valgrind
need_peers
AMB_WRAP="valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,possible
	--errors-for-leak-kinds=definite,possible --num-callers=20 --fair-sched=yes
	--suppressions=$LIB_DIR/valgrind.supp"
DEADLINE=120
two_pods
is "traffic" "$(fetch client "http://${P4[server]}/" 20)" hello
is "plain" "$(fetch stranger "http://${P4[server]}/" 20)" hello
fetch client "http://${P4[server]}:81/" 20 >/dev/null
fetch client "http://192.0.2.1:81/" 2 >/dev/null
hbone_client stranger --to "${P4[server]}" --timeout 20 status >/dev/null
hbone_client stranger --to "${P4[server]}" --timeout 20 --cert expired status >/dev/null
hbone_client stranger --to "${P4[server]}" --timeout 20 --bad ping-length bad-frame >/dev/null
policy nobody ALLOW "app: server" "$(from_principal cluster.local/ns/demo/sa/nobody)"
check "policy" busywait refused client "http://${P4[server]}/" 20
manifest bad <<<"kind: [what"
metrics a >/dev/null
config_dump b >/dev/null
check "status" ctl a status
check "connections" ctl b connections
for n in a b; do
	agent_stop $n
	is "agent $n: no error, no leak" "${AGENT_EXIT[$n]}" 0
	grep -A 25 '^==[0-9]*==' "$(agent_log $n)" | head -n 60 | sed 's/^/# /'
done
finish
