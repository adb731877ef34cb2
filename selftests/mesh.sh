# SPDX-License-Identifier: GPL-2.0-or-later
# For namespace tests: parts of a mesh that take more than one resource. Sourced after lib.sh.

# far_network SERVICE-PORTS ENTRY-PORTS, in flow form: service web (10.96.0.1) with pod server on
# network far, behind pod gateway. Each side has its own view: $TMP/far has the service as it is,
# for $TMP/near its pod is beyond the gateway.
far_network() {
	mkdir -p "$TMP/near" "$TMP/far"
	cat >"$TMP/far/service.yaml" <<-YAML
		apiVersion: v1
		kind: Service
		metadata: {name: web, namespace: demo}
		spec:
		  clusterIP: 10.96.0.1
		  selector: {app: server}
		  ports: [$1]
	YAML
	cat >"$TMP/near/service.yaml" <<-YAML
		apiVersion: networking.istio.io/v1
		kind: ServiceEntry
		metadata: {name: web, namespace: demo}
		spec:
		  hosts: [web.demo.svc.cluster.local]
		  addresses: [10.96.0.1]
		  ports: [$2]
		  resolution: STATIC
		  location: MESH_INTERNAL
		  subjectAltNames: ["$SPIFFE/server"]
		  workloadSelector: {labels: {app: remote}}
		---
		apiVersion: networking.istio.io/v1
		kind: WorkloadEntry
		metadata:
		  name: remote
		  namespace: demo
		  labels: {app: remote, networking.istio.io/tunnel: http, topology.istio.io/network: far}
		spec:
		  network: far
		  labels: {app: remote}
		  serviceAccount: server
		---
		apiVersion: gateway.networking.k8s.io/v1
		kind: Gateway
		metadata:
		  name: far
		  namespace: demo
		  labels: {topology.istio.io/network: far}
		  annotations: {gateway.istio.io/service-account: gateway}
		spec:
		  gatewayClassName: istio-remote
		  addresses: [{type: IPAddress, value: ${P4[gateway]}}]
		  listeners: [{name: hbone, port: 15008, protocol: HBONE}]
	YAML
}

# sandwich: pod waypoint is the waypoint of service web (10.96.0.1, pods with app: web) and wants
# the agent of its node to end HBONE, and to tell by PROXY protocol at port 15088 who calls whom.
sandwich() {
	pod_manifest waypoint demo waypoint \
		"app: waypoint, gateway.networking.k8s.io/gateway-name: waypoint"
	service_manifest waypoint 10.96.0.15 "app: waypoint" "{name: mesh, port: 15008}"
	manifest waypoint <<-YAML
		apiVersion: gateway.networking.k8s.io/v1
		kind: Gateway
		metadata:
		  name: waypoint
		  namespace: demo
		  annotations: {ambient.istio.io/waypoint-inbound-binding: PROXY/15088}
		spec:
		  gatewayClassName: istio-waypoint
		  listeners:
		  - {name: mesh, port: 15008, protocol: HBONE}
		  - {name: proxy, port: 15088, protocol: istio.io/PROXY}
		---
		apiVersion: v1
		kind: Service
		metadata:
		  name: web
		  namespace: demo
		  labels: {istio.io/use-waypoint: waypoint}
		spec:
		  clusterIP: 10.96.0.1
		  clusterIPs: [10.96.0.1, "fd96::1"]
		  selector: {app: web}
		  ports: [{port: 80}]
	YAML
}
