#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a peer with a good certificate is told: 400, 401, 503 as the protocol has it.
#
#   stranger (foreign HBONE client) ==15008== server
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_peers
two_pods
A=${P4[server]}
code() { hbone_client stranger --to "$A" --timeout 15 "$@" | jq '.status // .rst // .closed'; }
is "200 for the pod's own address" "$(code --authority "$A:80" status)" 200
is "400 for a method that is not CONNECT" "$(code --authority "$A:80" method)" 400
is "400 without an authority" "$(code no-authority)" 400
is "400 without a port" "$(code --authority "$A" status)" 400
is "400 for a port that is none" "$(code --authority "$A:70000" status)" 400
is "400 for port 0" "$(code --authority "$A:0" status)" 400
is "400 for another pod's address" "$(code --authority "${P4[client]}:80" status)" 400
is "400 for an unknown address" "$(code --authority 192.0.2.1:80 status)" 400
is "400 for garbage" "$(code --authority '[::1:80' status)" 400
is "503 for an unknown host name" "$(code --authority no.such.host:80 status)" 503
is "503 for a port where nobody listens" "$(code --authority "$A:4444" status)" 503
is "by IPv6 too" "$(code --to "${P6[server]}" --authority "[${P6[server]}]:4445" status)" 503
# Not because it gave up waiting: the kernel's reset goes to the caller's address.
for port in 4444 4445; do
	check "the agent has heard the refusal of port $port" \
		wait_log b ":$port .*connection to the application failed: Connection refused"
done
for port in 15001 15006 15008; do
	is "503 for the agent's own port $port" "$(code --authority "$A:$port" status)" 503
done
policy nobody ALLOW "app: server" "$(from_principal cluster.local/ns/demo/sa/nobody)"
denied() { [ "$(code --authority "$A:80" status)" = 401 ]; }
check "401 when the policy says no" busywait denied
manifest_remove policy-nobody
service_manifest web 10.96.0.1 "app: server" "{port: 8000, targetPort: 80}"
by_name() { [ "$(code --authority web.demo.svc.cluster.local:8000 status)" = 200 ]; }
check "200 for a service's host name and port" busywait by_name
is "503 for a port that the service has not" \
	"$(code --authority web.demo.svc.cluster.local:8001 status)" 503
is "the agent goes on" "$(fetch client "http://$A/")" hello
finish
