#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Agents as the DaemonSet starts ztunnel, with its environment and nothing else: istiod says what
# the mesh is, the CNI which pods there are, and neither being away stops traffic.
#
#   client (a) ==15008==> server (b), service web 10.96.0.1      istiod (pod on a), a CNI a node
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/cluster.sh
. "$LIB_DIR/cluster.sh"

need_plane
need nginx nsenter iptables-nft dig
nodes a b
pod a client
pod b server
pod a istiod
http_server server 8080 hello
traffic_server server 9000 8
plane_root rsa
PLANE_CA=$ISTIOD/ca
zds_start a b
cni_rules client nft
cni_rules server iptables-nft
zds_pod register client >/dev/null
# Pods come before istiod is there, as after a reboot: they are served, and refused.
cluster_agent_start a INPOD_UDS="$(zds_socket a)" RUST_LOG=info,dns=debug
cluster_agent_start b INPOD_UDS="$(zds_socket b)"
check "a pod is served before istiod is there" busywait enrolled client
check "the agent is not ready" busywait eval 'node_exec a curl -s -m 5 \
	http://127.0.0.1:15021/healthz/ready | grep -q "pending: state manager"'
like "its DNS gets an error" "$(pod_exec client dig +tries=1 +time=20 @192.0.2.53 \
	web.demo.svc.cluster.local)" "status: SERVFAIL"
check "for nobody knows who asks" wait_log a 'result="unknown source"'
plane_start
put "$(workload client)" "$(workload server "$(member web 80 8080)")" \
	"$(vip_service web 10.96.0.1 80 8080)"
agent_ready a b
check "ready" knows_workload a server
is "that istiod knows a pod is not enough to serve it" "$(enrolled server && echo served)" ""
is "the CNI adds it" "$(zds_pod add server)" '{"answer": ""}'
is "the service is reached" "$(fetch client http://10.96.0.1/)" hello
check "with mutual TLS" metric_at_least 1 b istio_tcp_connections_opened_total \
	reporter=destination connection_security_policy=mutual_tls
like "config_dump has its state by the CNI's uid" "$(config_dump b | jq -c .workloadState)" \
	'"uid-server":\{"state":"Up"'
like "capture is the CNI's" "$(ctl b status)" "capture +cni"

# The CNI goes and comes; what it deletes is gone, whatever istiod knows.
pod_spawn client "$TRAFFIC" rr -s 300 "${P4[server]}"
held=$LAST_PID
zds b do=down >/dev/null
check "without a CNI the agent is not ready" busywait eval '! ready b'
check "a connection is carried" kill -0 "$held"
zds b do=up >/dev/null
check "the CNI is back" busywait ready b
check "the pod is served all the time" enrolled server
kill_app "$held"
is "a delete" "$(zds b do=del uid=uid-server)" '{"answers": [{"answer": ""}]}'
check "is obeyed at once" not_enrolled server
check "though istiod still knows it" knows_workload b server
is "nothing was sent unasked" "$(zds_status b '[.open[], .past[]] | map(.why) | .[]' |
	grep -c asked)" 0
cni_unrule client server
finish
