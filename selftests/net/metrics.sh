#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Metrics: names, labels, rules; bytes are right; content type by Accept.
#
#   client (a) --> web (service) --> server (b);  stranger --> server
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
service_manifest web 10.96.0.1 "app: server" "{port: 80}"
busywait fetches client http://10.96.0.1/
text=$(metrics a)
is "OpenMetrics ends with EOF" "$(tail -n 1 <<<"$text")" "# EOF"
type() { node_exec a curl -s -o /dev/null -w '%{content_type}' -H "Accept: $1" \
	http://127.0.0.1:15020/metrics; }
like "content type for OpenMetrics" \
	"$(type 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5')" \
	'^application/openmetrics-text'
like "content type otherwise" "$(type 'text/plain')" '^text/plain'
is "/stats/prometheus is the same" \
	"$(node_exec a curl -s http://127.0.0.1:15020/stats/prometheus | tail -n 1)" "# EOF"
# As Prometheus asks: what curl makes of it, and what went over the wire.
gzipped() { node_exec a curl -s "$@" -o "$TMP/body" -w '%{size_download} %header{content-encoding}' \
	http://127.0.0.1:15020/metrics; }
plain=$(gzipped)
packed=$(gzipped --compressed)
is "who does not ask gets text" "${plain#* }" ""
is "who asks gets gzip" "${packed#* }" gzip
is "whole" "$(tail -n 1 "$TMP/body")" "# EOF"
at_least "a quarter as large" "${plain% *}" $((${packed% *} * 4))
is "by another hand, too" "$(node_exec a curl -s -H 'Accept-Encoding: br;q=1, gzip;q=0.5' \
	http://127.0.0.1:15020/metrics | gunzip | tail -n 1)" "# EOF"
is "not to who refuses it" "$(node_exec a curl -s -H 'Accept-Encoding: gzip;q=0, *;q=0' \
	http://127.0.0.1:15020/metrics | tail -n 1)" "# EOF"
like "istio_build" "$text" '^istio_build\{component="ztunnel",tag="[^"]+"\} 1'
for l in 'reporter="source"' 'source_workload="client"' 'source_canonical_service="client"' \
	'source_workload_namespace="demo"' "source_principal=\"$SPIFFE/client\"" \
	'source_app="client"' 'source_cluster="Kubernetes"' \
	'destination_service="web.demo.svc.cluster.local"' 'destination_service_namespace="demo"' \
	'destination_service_name="web"' 'destination_workload="server"' \
	"destination_principal=\"$SPIFFE/server\"" 'request_protocol="tcp"' 'response_flags="-"' \
	'connection_security_policy="mutual_tls"'; do
	check "label $l" grep -qF "$l" <(grep '^istio_tcp_connections_opened_total' <<<"$text")
done
opened=$(metric a istio_tcp_connections_opened_total reporter=source)
fetch client http://10.96.0.1/ >/dev/null
is "one connection is counted once" \
	"$(metric a istio_tcp_connections_opened_total reporter=source)" $((opened + 1))
check "it is closed too" busywait metric_at_least $((opened + 1)) a \
	istio_tcp_connections_closed_total reporter=source
traffic_server server 9000 4
before=$(metric b istio_tcp_received_bytes_total reporter=destination)
pod_exec client "$TRAFFIC" bulk -s 0.3 -b 65536 "${P4[server]}" >"$TMP/bulk"
sent=$(jq .bytes "$TMP/bulk")
exactly() { [ "$(metric b istio_tcp_received_bytes_total reporter=destination)" = \
	$((before + sent)) ]; }
check "bytes to the server are counted exactly ($sent)" busywait exactly
check "on the other side too" busywait metric_at_least "$sent" a istio_tcp_received_bytes_total \
	reporter=source
fetch stranger "http://${P4[server]}/" >/dev/null
check "plain is of unknown security and identity" busywait metric_at_least 1 b \
	istio_tcp_connections_opened_total reporter=destination connection_security_policy=unknown \
	source_principal=unknown
is "pods served" "$(metric b workload_manager_active_proxy_count)" 1
pod_exec client curl -s -m 3 "http://${P4[server]}:81/" >/dev/null
check "a refused connect is flagged CONNECT" busywait metric_at_least 1 b \
	istio_tcp_connections_failed_total reporter=destination response_flags=CONNECT
finish
