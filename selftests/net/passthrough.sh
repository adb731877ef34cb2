#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What is not in the mesh is reached as ever: plain, with the pod's own address.
#
#   client (mesh) --> stranger (no mesh), and an address that nobody told the mesh
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
http_server stranger 80 outside
is "a pod outside of the mesh" "$(fetch client "http://${P4[stranger]}/")" outside
is "sees the client's address" "$(fetch client "http://${P4[stranger]}/from")" "${P4[client]}"
ip -n "$(pod_ns stranger)" addr add 192.0.2.7/32 dev lo
ip -n "$(node_ns a)" route add 192.0.2.7/32 via "${P4[stranger]}"
is "an unknown address" "$(fetch client http://192.0.2.7/)" outside
is "over v6" "$(fetch client "http://[${P6[stranger]}]/")" outside
check "counted without mutual TLS" metric_at_least 3 a istio_tcp_connections_opened_total \
	reporter=source connection_security_policy=unknown
check_fails "a port where nobody listens is refused" \
	pod_exec client curl -s -m 5 "http://${P4[stranger]}:81/"
finish
