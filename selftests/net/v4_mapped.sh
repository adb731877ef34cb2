#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An application that reaches IPv4 through an AF_INET6 socket (::ffff:a.b.c.d) is in the mesh too.
#
#   client, v4-mapped socket ==15008== server
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
traffic_server server 9000 4
is "amb-traffic over a mapped address" "$(pod_exec client "$TRAFFIC" crr -n 3 \
	"::ffff:${P4[server]}" | jq '.count, .errors' | tr '\n' ' ')" "3 0 "
check "through the tunnel" metric_at_least 3 b istio_tcp_connections_opened_total \
	reporter=destination connection_security_policy=mutual_tls source_workload=client
finish
