#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A stranger without a certificate may call a pod of the mesh while nothing says STRICT.
#
#   stranger (no mesh) --15006--> server
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
is "plain over v4" "$(fetch stranger "http://${P4[server]}/")" hello
is "plain over v6" "$(fetch stranger "http://[${P6[server]}]/")" hello
check "counted as not mutual TLS" metric_at_least 2 b istio_tcp_connections_opened_total \
	reporter=destination connection_security_policy=unknown
is "the address of the stranger is in the access log" \
	"$(busywait log_has b "src.addr=${P4[stranger]}:" && echo yes)" yes
finish
