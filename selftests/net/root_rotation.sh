#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The root changes under load, in three steps, without a lost connection: both roots trusted,
# new intermediates, the old root gone.
#
#   client (a) --held and new connections--> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods --cert-ttl 10s
traffic_server server 9000 32
load_start client "${P4[server]}"
chain() { certificate "$1" "$2" '.certChain[1].serialNumber // empty'; }
before=$(roots a client) old_a=$(chain a client) old_b=$(chain b server)
check "a new root beside the old" "$AMBIENTCTL" ca rotate "$CA"
check "both agents trust both" busywait n_roots 2
check "new connections pass" fetches client "http://${P4[server]}/"
check "a new intermediate for node a" "$AMBIENTCTL" ca node "$CA" a
signed_a() { differs "$old_a" chain a client; }
check "node a's leafs are of the new intermediate" busywait signed_a
check "old and new understand each other" fetches client "http://${P4[server]}/"
check "a new intermediate for node b" "$AMBIENTCTL" ca node "$CA" b
signed_b() { differs "$old_b" chain b server; }
check "node b's leafs are of the new intermediate" busywait signed_b
check "the old root is retired" "$AMBIENTCTL" ca retire "$CA"
check "both agents trust the new one only" busywait n_roots 1
check "which is another than before" differs "$before" roots a client
check "new connections pass" fetches client "http://${P4[server]}/"
load_end client
finish
