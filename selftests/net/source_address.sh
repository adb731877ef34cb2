#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The application sees the address of the pod that called, not a proxy's: through the tunnel,
# in plain, on the same node and across nodes; and a pod may call itself by its service.
#
#   client (a) --> near (a), server (b);  stranger (a, no mesh) --> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
pod a near
http_server near 80
pod_manifest near
service_manifest self 10.96.0.9 "app: client" "{port: 80}"
http_server client 80
wait_enrolled near
is "tunnel across nodes" "$(fetch client "http://${P4[server]}/from")" "${P4[client]}"
is "tunnel on the same node" "$(fetch client "http://${P4[near]}/from")" "${P4[client]}"
is "plain from outside of the mesh" "$(fetch stranger "http://${P4[server]}/from")" \
	"${P4[stranger]}"
is "plain over v6" "$(fetch stranger "http://[${P6[server]}]/from")" "${P6[stranger]}"
is "its own service" "$(fetch client http://10.96.0.9/from)" "${P4[client]}"
finish
