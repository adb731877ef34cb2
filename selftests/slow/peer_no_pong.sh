#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A peer that does not answer PING is let go: its connections end, new ones get a new tunnel.
#
#   client (a, mesh) ==15008== foreign (b, Python, speaks HBONE itself)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_peers
need_agent
DEADLINE=60
nodes a b
pod a client
pod b foreign
mesh_defaults
pod_manifest client
pod_manifest foreign demo foreign \
	"app: foreign, networking.istio.io/tunnel: http, istio.io/dataplane-mode: none"
agents_start
traffic_server foreign 9000 8
hbone_server foreign --id $SPIFFE/foreign --backend authority --do no-pong
pod_spawn client "$TRAFFIC" rr -s 300 "${P4[foreign]}"
held=$LAST_PID
carrying() { [ -n "$(pod_exec foreign ss -Htn state established "sport = :9000")" ]; }
check "a connection is held" busywait carrying
check "it ends when the peer has not answered for long" busywait eval '! kill -0 "$held"'
check "another is served" pod_exec client "$TRAFFIC" crr -n 1 "${P4[foreign]}"
finish
