#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A foreign HBONE client that behaves: bytes are right, half-close is carried, many streams,
# split frames, padding, unknown frames, baggage both ways.
#
#   stranger (Python h2) ==15008== server
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_peers
two_pods
traffic_server server 9000 32
A=${P4[server]}
hc() { hbone_client stranger --to "$A" --authority "$A:80" "$@"; }
got=$(hc get)
is "GET through CONNECT" "$(jq -r .status <<<"$got")" 200
like "the page arrives" "$(jq -r .body <<<"$got")" hello
is "the server shows its identity" "$(jq -r .peer <<<"$got")" $SPIFFE/server
is "ALPN is h2" "$(jq -r .alpn <<<"$got")" h2
like "the answer carries baggage" "$(jq -r .headers.baggage <<<"$got")" 'k8s\.namespace\.name=demo'
got=$(hc status)
is "settings: streams" "$(jq -r '.settings["3"]' <<<"$got")" 200
is "settings: window" "$(jq -r '.settings["4"]' <<<"$got")" 4194304
is "settings: frame size" "$(jq -r '.settings["5"]' <<<"$got")" 1048576
is "settings: header list" "$(jq -r '.settings["6"]' <<<"$got")" 65536
is "300 kB come back as they went, in odd and padded frames" \
	"$(hc --authority "$A:9000" --bytes 300000 echo | jq .echoed)" true
is "after END_STREAM the answer still comes, and its end" "$(hc half-close \
	--send $'GET / HTTP/1.0\r\n\r\n' | jq '[.ended, (.body | contains("hello"))] | all')" true
is "30 streams at once are answered" "$(hc many --count 30 | jq .answers)" 30
is "a request in records of one byte" "$(hc split | jq .status)" 200
is "unknown frames are ignored" "$(hc unknown-frame | jq .status)" 200
is "a reset stream does not hurt the next" "$(hc reset-mid | jq .status)" 200
# A pod of which the manifests say nothing.
pod a unknown
hbone_client unknown --to "$A" get --header \
	"baggage=k8s.cluster.name=far,k8s.namespace.name=elsewhere,k8s.deployment.name=caller" \
	--header "forwarded=for=\"192.0.2.9:1234\"" --header x-envoy-unknown=1 >/dev/null
check "baggage of an unknown caller is used in metrics" busywait metric_at_least 1 b \
	istio_tcp_connections_opened_total reporter=destination source_workload=caller \
	source_workload_namespace=elsewhere
finish
