#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# config_dump has the keys that istioctl and people read, and /logging and readiness answer.
#
#   client (a) --> web (service) --> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
service_manifest web 10.96.0.1,fd96::1 "app: server" "{name: http, port: 8000, targetPort: 80}"
policy one ALLOW "app: server" "$(from_principal cluster.local/ns/demo/sa/client)"
wait_policy a one
busywait fetches client http://10.96.0.1:8000/
dump=$(config_dump a)
q() { jq -r "$1" <<<"$dump"; }
for key in workloads services policies stagedServices staticConfig version config certificates \
	workloadState; do
	check "has $key" jq -e "has(\"$key\")" <<<"$dump"
done
is "a workload's uid" "$(q '.workloads[] | select(.name == "server").uid')" \
	"Kubernetes//Pod/demo/server"
is "its addresses" \
	"$(q '.workloads[] | select(.name == "server").workloadIps | sort | join(" ")')" \
	"${P4[server]} ${P6[server]}"
is "its protocol" "$(q '.workloads[] | select(.name == "server").protocol')" HBONE
is "its account" "$(q '.workloads[] | select(.name == "server").serviceAccount')" server
is "its node" "$(q '.workloads[] | select(.name == "server").node')" b
is "its policies" \
	"$(q '.workloads[] | select(.name == "server").authorizationPolicies | join(" ")')" demo/one
is "a service's VIPs" "$(q '.services[] | select(.name == "web").vips | sort | join(" ")')" \
	"/10.96.0.1 /fd96::1"
is "its ports" "$(q '.services[] | select(.name == "web").ports | tojson')" '{"8000":80}'
is "its endpoints" "$(q '.services[] | select(.name == "web").endpoints | keys | join(" ")')" \
	"Kubernetes//Pod/demo/server"
is "a policy's scope" "$(q '.policies[] | select(.name == "one").scope')" WorkloadSelector
is "its match" "$(q '.policies[] | select(.name == "one").rules[0][0][0].principals[0].Exact')" \
	cluster.local/ns/demo/sa/client
is "a certificate" "$(certificate a client .state)" Available
like "its PEM" "$(certificate a client '.certChain[0].pem' | base64 -d)" 'BEGIN CERTIFICATE'
like "its end" "$(certificate a client '.certChain[0].expirationTime')" '^20[0-9-]+T[0-9:]+'
unlike "no private key anywhere" "$dump$(grep -o '"pem": *"[^"]*"' <<<"$dump" | cut -d'"' -f4 |
	while read -r p; do base64 -d <<<"$p"; done 2>/dev/null)" 'PRIVATE KEY'
is "a pod's state" "$(q '.workloadState[] | select(.info.name == "client").state')" Up
is "logging tells the filter" \
	"$(node_exec a curl -s -X POST http://127.0.0.1:15000/logging | grep -c info)" 1
is "a bad level is refused" "$(node_exec a curl -s -o /dev/null -w '%{http_code}' -X POST \
	'http://127.0.0.1:15000/logging?level=loudly')" 400
is "GET is not for logging" "$(node_exec a curl -s -o /dev/null -w '%{http_code}' \
	http://127.0.0.1:15000/logging)" 405
is "readiness elsewhere is 404" "$(node_exec a curl -s -o /dev/null -w '%{http_code}' \
	http://127.0.0.1:15021/other)" 404
check_fails "the dump is on loopback only" node_exec b curl -s -m 3 \
	http://10.10.0.1:15000/config_dump
check "metrics are everywhere" node_exec b curl -sf -m 3 -o /dev/null http://10.10.0.1:15020/metrics
code=$(node_exec a curl -s -m 20 -o "$TMP/quit" -w '%{http_code}' -X POST \
	http://127.0.0.1:15000/quitquitquit)
is "quitquitquit answers" "$code $(cat "$TMP/quit")" "200 shutdown now"
wait "${AGENT_PID[a]}"
AGENT_EXIT[a]=$?
unset "AGENT_PID[a]"
is "and the agent ends" "${AGENT_EXIT[a]}" 0
finish
