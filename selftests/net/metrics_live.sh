#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Bytes of a connection count while it lives, never go back, and are whole at its end.
#
#   client (a) --one long connection--> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
traffic_server server 9000 4
sent() { metric "$1" istio_tcp_received_bytes_total "reporter=$2"; }
pod_spawn client "$TRAFFIC" rr -s 300 "${P4[server]}"
load=$LAST_PID
check "source: they move" busywait metric_at_least 1000 a istio_tcp_received_bytes_total \
	reporter=source
check "destination: they move" busywait metric_at_least 1000 b istio_tcp_received_bytes_total \
	reporter=destination
is "nothing has ended" "$(metric a istio_tcp_connections_closed_total reporter=source)" 0
last=0
back=0
for _ in 1 2 3 4 5; do
	now=$(sent a source)
	[ "$now" -ge "$last" ] || back=1
	last=$now
done
is "they never go back" "$back" 0
kill_app "$load"
check "it ends" busywait metric_at_least 1 a istio_tcp_connections_closed_total reporter=source
at_least "the end takes nothing away" "$(sent a source)" "$last"
same() { [ "$(sent a source)" = "$(sent b destination)" ]; }
check "both agents agree" busywait same
finish
