#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The wall clock jumps: two days on (certificates expire: new ones are made) and back again.
#
#   client (a) --> server (b), both agents under a false clock
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need gcc
need_agent
gcc -shared -fPIC -O1 -Wall -D_GNU_SOURCE -o "$TMP/clock.so" "$LIB_DIR/slow/clock_shim.c" ||
	skip_all "cannot compile the false clock"
echo 0 >"$TMP/clock"
AMB_WRAP="env LD_PRELOAD=$TMP/clock.so AMB_CLOCK_OFFSET=$TMP/clock"
jump() { echo "$1" >"$TMP/stage/clock" && mv "$TMP/stage/clock" "$TMP/clock"; }
two_pods
traffic_server server 9000 8
pod_spawn client "$TRAFFIC" rr -t 2 -s 300 "${P4[server]}"
held=$LAST_PID
first=$(serial a client)
jump 172800
renewed() { differs "$first" serial a client; }
check "two days on, the certificate is renewed" busywait renewed
check "new connections pass" busywait fetches client "http://${P4[server]}/"
check "the held connection lives" kill -0 "$held"
second=$(serial a client)
jump 0
first=$second
check "two days back, certificates from the future are replaced" busywait renewed
check "new connections pass again" busywait fetches client "http://${P4[server]}/"
check "the held connection lives still" kill -0 "$held"
check "the agents live" ready a
kill_app "$held"
seen=$(at_work a)
check "and do not spin (at work in $seen of 20 looks)" test "$seen" -le 15
finish
