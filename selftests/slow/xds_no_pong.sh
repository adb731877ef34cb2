#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A control plane that stands still: its connections stay, nothing is answered. The ping after
# 30 s tells, another stream is opened when it goes on, and traffic never notices.
#
#   client (a) --held connection--> server (b)          istiod (pod on a)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/cluster.sh
. "$LIB_DIR/cluster.sh"

need_plane
nodes a b
pod a client
pod b server
pod a istiod
plane_start
put "$(workload client)" "$(workload server)"
cluster_agents_start
traffic_server server 9000 32
enroll client
enroll server
pod_spawn client "$TRAFFIC" rr -t 1 -s 3600 "${P4[server]}"; held=$LAST_PID
# Not before both have their certificates: nobody issues any once the plane stands still.
carried() { [ "$(ctl a connections -o json | jq '[.[] | select(.bytesToDst > 0)] | length')" -ge 1 ]; }
check "a connection is carried" busywait carried
seen=$(log_lines a)
kill -STOP "$PLANE_PID"
DEADLINE=90
check "a ping without an answer ends the stream" wait_log a 'no answer to a ping within 10 s' "$seen"
check "the agent stays ready" ready a
seen=$(log_lines a)
kill -CONT "$PLANE_PID"
check "it is back when the other is" wait_log a 'xds.*: connected' "$seen"
put "$(workload client "" '{"uid": "news", "name": "news", "node": "far"}')"
check "and hears what is new" busywait knows_workload a news
check "the held connection was carried all the time" kill -0 "$held"
kill_app "$held"
is "without an error" "$(grep '"rr"' "$TMP/app-client.log" | jq -r '.errors')" 0
finish
