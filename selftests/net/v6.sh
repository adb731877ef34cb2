#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# IPv6 end to end: captured, tunnelled to the pod's v6 address, source address kept.
#
#   client fd11::10 ==15008== server fd12::10
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
URL="http://[${P6[server]}]"
is "curl over v6 gets the page" "$(fetch client "$URL/")" hello
is "the server sees the client's v6 address" "$(fetch client "$URL/from")" "${P6[client]}"
check "through the tunnel" metric_at_least 2 b istio_tcp_connections_opened_total \
	reporter=destination connection_security_policy=mutual_tls
at_least "of which the outer addresses are v6" \
	"$(pod_exec client ss -6 -Htn state established "dport = :15008" | wc -l)" 1
finish
