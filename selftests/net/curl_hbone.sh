#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# One curl through a tunnel between two agents; what both sides tell about it.
#
#   client (node a) --15001-- agent a ==15008== agent b -- server:80 (node b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
for i in 1 2 3; do
	is "curl $i gets the page" "$(fetch client "http://${P4[server]}/")" hello
done
check "node a reports them as mutual TLS" metric_at_least 3 a istio_tcp_connections_opened_total \
	reporter=source connection_security_policy=mutual_tls destination_workload=server
check "node b reports them as mutual TLS" metric_at_least 3 b istio_tcp_connections_opened_total \
	reporter=destination connection_security_policy=mutual_tls source_workload=client
tunnels=$(pod_exec client ss -Htn state established "dport = :15008" | wc -l)
check "a tunnel a worker at most carried them ($tunnels)" test "$tunnels" -ge 1 -a "$tunnels" -le 2
is "nothing was counted as failed" "$(metric a istio_tcp_connections_failed_total)" 0
finish
