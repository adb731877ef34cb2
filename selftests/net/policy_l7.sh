#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Rules with L7 fields are treated as istiod treats them for a node proxy: an ALLOW rule with
# them is dropped (so it allows nobody), a DENY rule keeps its L4 part.
#
#   client (a) --> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
policy l7 ALLOW "app: server" '[{to: [{operation: {methods: ["GET"]}}]}]'
check "an ALLOW of methods only allows nobody" busywait refused client "http://${P4[server]}/"
policy l7 DENY "app: server" '[{to: [{operation: {methods: ["POST"]}}]}]'
check "a DENY of methods only denies nobody" busywait fetches client "http://${P4[server]}/"
policy l7 DENY "app: server" '[{to: [{operation: {methods: ["POST"], ports: ["80"]}}]}]'
check "a DENY of methods and a port denies the port" busywait refused client "http://${P4[server]}/"
finish
