#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The wall clock jumps: two days on (certificates expire: new ones are made) and back again.
#
#   client (a) --> server (b), both agents under a false clock
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

FAKETIME=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1)
[ -n "$FAKETIME" ] || skip_all "needs libfaketime"
need_agent
echo +0 >"$TMP/clock"
chmod a+rx "$TMP"
AMB_WRAP="env LD_PRELOAD=$FAKETIME FAKETIME_TIMESTAMP_FILE=$TMP/clock"
AMB_WRAP="$AMB_WRAP FAKETIME_CACHE_DURATION=1 DONT_FAKE_MONOTONIC=1"
jump() { echo "$1" >"$TMP/stage/clock" && mv "$TMP/stage/clock" "$TMP/clock"; }
two_pods
traffic_server server 9000 8
pod_spawn client "$TRAFFIC" rr -t 2 -s 300 "${P4[server]}"
held=$LAST_PID
first=$(serial a client)
jump +2d
renewed() { [ -n "$(serial a client)" ] && [ "$(serial a client)" != "$first" ]; }
check "two days on, the certificate is renewed" busywait renewed
check "new connections pass" busywait fetches client "http://${P4[server]}/"
check "the held connection lives" kill -0 "$held"
second=$(serial a client)
jump +0
first=$second
check "two days back, certificates from the future are replaced" busywait renewed
check "new connections pass again" busywait fetches client "http://${P4[server]}/"
check "the held connection lives still" kill -0 "$held"
check "the agents live" ready a
calm=$(awk '{ print $14 + $15 }' "/proc/${AGENT_PID[a]}/stat")
kill_app "$held"
sleep 1
check "and do not spin" test $(($(awk '{ print $14 + $15 }' "/proc/${AGENT_PID[a]}/stat") - calm)) \
	-lt 50
finish
