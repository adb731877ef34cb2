#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two pods of one node: still mutual TLS between them.
#
#   client (a) ==15008== near (a)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_agent
need nginx
nodes a
pod a client
pod a near
mesh_defaults
pod_manifest client
pod_manifest near
http_server near 80
agents_start
is "the page arrives" "$(fetch client "http://${P4[near]}/")" near
for r in source destination; do
	check "counted as mutual TLS by the $r" metric_at_least 1 a \
		istio_tcp_connections_opened_total reporter=$r connection_security_policy=mutual_tls
done
finish
