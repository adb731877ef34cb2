#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# ServiceEntry with endpoints of its own, WorkloadEntry by selector, EndpointSlice by hand.
#
#   client (a) --> three services --> server, near (in the mesh)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
pod a near
pod_manifest near
http_server near 80
wait_enrolled near
manifest entry <<-YAML
	apiVersion: networking.istio.io/v1
	kind: ServiceEntry
	metadata: {name: inline, namespace: demo}
	spec:
	  hosts: [inline.example]
	  addresses: [10.97.0.1]
	  ports: [{number: 8000, name: http, protocol: HTTP, targetPort: 80}]
	  resolution: STATIC
	  endpoints: [{address: ${P4[server]}}]
	---
	apiVersion: networking.istio.io/v1
	kind: ServiceEntry
	metadata: {name: selected, namespace: demo}
	spec:
	  hosts: [selected.example]
	  addresses: [10.97.0.2]
	  ports: [{number: 8000, name: http, protocol: HTTP, targetPort: 80}]
	  resolution: STATIC
	  workloadSelector: {labels: {app: near}}
	---
	apiVersion: v1
	kind: Service
	metadata: {name: manual, namespace: demo}
	spec:
	  clusterIP: 10.97.0.3
	  ports: [{name: http, port: 8000, targetPort: 80}]
	---
	apiVersion: discovery.k8s.io/v1
	kind: EndpointSlice
	metadata: {name: manual-1, namespace: demo, labels: {kubernetes.io/service-name: manual}}
	addressType: IPv4
	ports: [{name: http, port: 80}]
	endpoints: [{addresses: ["${P4[stranger]}"]}]
YAML
http_server stranger 80
check "endpoints of its own" busywait fetches client http://10.97.0.1:8000/
is "the right one" "$(fetch client http://10.97.0.1:8000/)" hello
is "pods by selector" "$(fetch client http://10.97.0.2:8000/)" near
is "an EndpointSlice by hand" "$(fetch client http://10.97.0.3:8000/)" stranger
check "the selected pod by mutual TLS" metric_at_least 1 a istio_tcp_connections_opened_total \
	destination_service=selected.example connection_security_policy=mutual_tls
finish
