#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A stranger without a certificate may call a pod of the mesh while nothing says STRICT.
#
#   stranger (no mesh), node b --15006--> server
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
is "plain over v4" "$(fetch stranger "http://${P4[server]}/")" hello
is "plain over v6" "$(fetch stranger "http://[${P6[server]}]/")" hello
check "counted as not mutual TLS" metric_at_least 2 b istio_tcp_connections_opened_total \
	reporter=destination connection_security_policy=unknown
is "the address of the stranger is in the access log" \
	"$(busywait log_has b "src.addr=${P4[stranger]}:" && echo yes)" yes

# kubelet's probes come from the node, by whatever way the pod is captured; nft.sh has those of the
# address that istio-cni gives them
for CAPTURE in ebpf nft; do
	agent_stop b
	agent_start b
	agent_ready b
	wait_enrolled server
	is "$CAPTURE captures" "$(ctl b status -o json | jq -r .capture)" $CAPTURE
	is "a probe of the node over v4, as itself" \
		"$(node_exec b curl -s -m 20 "http://${P4[server]}/from")" 10.12.0.1
	is "over v6" "$(node_exec b curl -s -m 20 "http://[${P6[server]}]/from")" fd12::1
done
finish
