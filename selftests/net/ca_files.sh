#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The CA's files: modes, a key that others can read is refused, a full disk leaves what was
# there, and a running agent goes on.
#
#   client (a) --> server (b), the CA on a small file system
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods_alone
mkdir "$CA"
mount -t tmpfs -o size=256k ambient-ca "$CA" || skip_all "needs to mount a tmpfs"
CA=$CA/here
ca_init
is "the root key's mode" "$(stat -c %a "$CA/root.key")" 600
is "a node key's mode" "$(stat -c %a "$CA/nodes/a.key")" 600
check_fails "a root is not made twice" "$AMBIENTCTL" ca init "$CA"
agents_start --cert-ttl 6s
is "traffic passes" "$(fetch client "http://${P4[server]}/")" hello
dd if=/dev/zero of="$CA/../filler" bs=4k 2>/dev/null
sum() { cat "$CA"/root.* "$CA"/nodes/* | sha256sum; }
before=$(sum)
check_fails "on a full disk no new root is made" "$AMBIENTCTL" ca rotate "$CA"
check_fails "nor an intermediate" "$AMBIENTCTL" ca node "$CA" c
like "the error names the file and the reason" "$("$AMBIENTCTL" ca node "$CA" c 2>&1)" \
	"nodes/c.*[Nn]o space"
is "what was there is as it was" "$(sum)" "$before"
is "and nothing else" "$(ls "$CA/nodes" | tr '\n' ' ')" "a.key b.key "
old=$(serial a client)
renewed() { differs "$old" serial a client; }
check "the agent renews its certificates meanwhile" busywait renewed
is "traffic passes" "$(fetch client "http://${P4[server]}/")" hello
rm "$CA/../filler"
check "with room again it works" "$AMBIENTCTL" ca node "$CA" c
agent_stop a
chmod 644 "$CA/nodes/a.key"
from=$(log_lines a)
agent_start a
check "a key that others can read is refused" wait_log a \
	'nodes/a\.key.*(others|mode|readable|permission)'
check "the pod is in the mesh again" wait_log a 'pod demo/client: joined the mesh' "$from"
check "no certificate, no connection, nothing in clear" refused client "http://${P4[server]}/" 5
chmod 600 "$CA/nodes/a.key"
check "mended while running" busywait fetches client "http://${P4[server]}/"
finish
