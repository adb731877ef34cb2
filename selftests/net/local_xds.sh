#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# LOCAL_XDS_PATH: two agents with ztunnel's command line, no control plane, one file that says what
# the mesh is.
#
#   client (a) --> 10.96.0.1 --> server (b)
#                  10.96.0.2, by the name of its endpoint --> the same, in clear
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/cluster.sh
. "$LIB_DIR/cluster.sh"

need_agent
need nginx
nodes a b
pod a client
pod b server
P4[istiod]=none
http_server server 8080 hello
http_server server 9999 denied
ca_init
STATE=$TMP/state.yaml
cat >"$STATE" <<YAML
workloads:
- uid: cluster1//v1/Pod/demo/client
  name: client
  namespace: demo
  serviceAccount: client
  workloadIps: ["${P4[client]}"]
  protocol: HBONE
  node: a
  services: {}
- uid: cluster1//v1/Pod/demo/server
  name: server
  namespace: demo
  serviceAccount: server
  workloadIps: ["${P4[server]}"]
  protocol: HBONE
  node: b
  services:
    "demo/web.example":
      80: 8080
- uid: cluster1/networking.istio.io/ServiceEntry/demo/named/endpoint
  name: named
  namespace: demo
  serviceAccount: named
  workloadIps: []
  hostname: "${P4[server]}"
  protocol: TCP
  services:
    "demo/named.example":
      80: 8080
services:
- name: named
  namespace: demo
  hostname: named.example
  vips: ["/10.96.0.2"]
  ports:
    80: 8080
- name: web
  namespace: demo
  hostname: web.example
  vips: ["/10.96.0.1"]
  ports:
    80: 8080
  subjectAltNames: [$SPIFFE/server]
  canonical: true
policies:
- name: not-9999
  namespace: demo
  scope: Namespace
  action: Deny
  rules:
  - - - principals: [!Exact cluster.local/ns/demo/sa/client]
        destinationPorts: [9999]
  dryRun: false
YAML
LOCAL=(XDS_ADDRESS= CA_ADDRESS= "LOCAL_XDS_PATH=$STATE")
for n in a b; do
	cluster_agent_start "$n" "${LOCAL[@]}" -- --ca "$CA"
done
agent_ready a b
enroll client
enroll server
is "the service is reached" "$(fetch client http://10.96.0.1/)" hello
check "with mutual TLS" metric_at_least 1 b istio_tcp_connections_opened_total \
	reporter=destination connection_security_policy=mutual_tls source_workload=unknown \
	source_principal="$SPIFFE/client"
check "the policy is obeyed" refused client "http://${P4[server]}:9999/"
check "for its reason" wait_log b 'explicitly denied by policy: demo/not-9999'
# A name that needs no name server.
is "an endpoint without an address is reached by its name" "$(fetch client http://10.96.0.2/)" hello
is "the second time, too" "$(fetch client http://10.96.0.2/)" hello
is "each is counted, for whom it was and by which name" "$(metric a istio_on_demand_dns_total \
	source_workload_namespace=demo source_principal="$SPIFFE/client" \
	hostname="${P4[server]}")" 2
is "and nothing else" "$(metric a istio_on_demand_dns_total)" 2
like "the certificate is the embedded CA's" "$(certificate a client .identity)" "$SPIFFE/client"

# complains STATE MESSAGE: an agent with this state ends, and says that.
complains() {
	local text
	text=$(node_exec a env XDS_ADDRESS= CA_ADDRESS= "LOCAL_XDS=$1" NODE_NAME=x timeout 60 \
		"$AMBIENTD" proxy ztunnel --zds "" --ca "$CA" --capture none --privileged \
		--socket "$TMP/x.sock" --admin-port 16000 --metrics-port 16020 --ready-port 16021 2>&1)
	like "$1" "$text" "$2"
}
complains 'workloads: [{uid: u, namespace: n, workloadIps: [x]}]' \
	'LOCAL_XDS:1: workloads\[0\].workloadIps\[0\]: "x" is no address'
complains 'policies: {}' 'LOCAL_XDS:1: policies: has to be a list'
is "a file and a text are one too many" "$(LOCAL_XDS_PATH=/x LOCAL_XDS=x "$AMBIENTD" proxy ztunnel \
	2>&1)" "ambientd: only one of LOCAL_XDS_PATH and LOCAL_XDS may be set"
finish
