#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A Service's address: connections spread over its pods on both nodes, over both families.
#
#   client --> 10.96.0.1:8000, [fd96::1]:8000 --> web-1 (a), web-2 (b), web-3 (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_agent
need nginx
nodes a b
pod a client
pod a web-1
pod b web-2
pod b web-3
mesh_defaults
pod_manifest client
for p in web-1 web-2 web-3; do
	pod_manifest $p demo web "app: web"
	http_server $p 80 $p
done
service_manifest web 10.96.0.1,fd96::1 "app: web" "{name: http, port: 8000, targetPort: 80}"
agents_start
spread() { # URL
	local i
	for i in $(seq 60); do
		fetch client "$1"
	done | sort | uniq -c | awk '{ printf "%s %s\n", $2, $1 }'
}
for url in http://10.96.0.1:8000/ "http://[fd96::1]:8000/"; do
	got=$(spread "$url")
	diag "$got"
	is "all 60 of $url are answered" "$(awk '{ s += $2 } END { print s }' <<<"$got")" 60
	for p in web-1 web-2 web-3; do
		at_least "$p answers some" "$(awk -v p=$p '$1 == p { print $2 }' <<<"$got")" 5
	done
done
check "they are counted for the service" metric_at_least 100 a \
	istio_tcp_connections_opened_total destination_service=web.demo.svc.cluster.local \
	destination_service_name=web destination_service_namespace=demo
pod_document web-2 demo web "app: other" | manifest pod-web-2
pod_document web-3 demo web "app: web" | sed 's/status: "True"/status: "False"/' | manifest \
	pod-web-3
only_one() { [ "$(spread http://10.96.0.1:8000/)" = "web-1 60" ]; }
check "a pod that is not ready or no longer selected gets nothing" busywait only_one
finish
