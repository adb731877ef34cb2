#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# PROXY_MODE=dedicated: an agent for one workload, in its pod, behind rules that somebody else
# wrote; its certificate is for who its token says.
#
#   client with its agent (a) --> 10.96.0.1 --> server (b)          istiod (a)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/cluster.sh
. "$LIB_DIR/cluster.sh"

need_plane
need nginx
need nft
nodes a b
pod a client
pod b server
pod a istiod
http_server server 8080 hello
http_server client 8080 mine
plane_start
put "$(workload client "$(member own 80 8080)")" "$(workload server "$(member web 80 8080)")" \
	"$(vip_service web 10.96.0.1 80 8080)" "$(vip_service own 10.96.0.2 80 8080)"
cluster_agent_start b
agent_ready b
enroll server

# What an init container would do: all but the agent's own sockets, which have the mark, and its
# way to istiod. Nor do they bring answers to foreign addresses back, so connections to the
# application come from the pod itself.
pod_exec client nft -f - <<NFT || bail "no rules in the pod"
table ip dedicated {
	chain output {
		type nat hook output priority -100;
		meta mark 0x539 accept
		ip daddr { 127.0.0.0/8, ${P4[istiod]} } accept
		ip protocol tcp redirect to :15001
	}
}
NFT
[ -z "${AMB_SANITIZED:-}$AMB_WRAP" ] || privileged=--privileged
# shellcheck disable=SC2086
nsenter --net="$(pod_nspath client)" env "XDS_ADDRESS=https://${P4[istiod]}:$PLANE_PORT" \
	"CA_ADDRESS=https://${P4[istiod]}:$PLANE_PORT" \
	ALT_XDS_HOSTNAME=istiod.istio-system.svc ALT_CA_HOSTNAME=istiod.istio-system.svc \
	"XDS_ROOT_CA=$ISTIOD/root-cert.pem" "CA_ROOT_CA=$ISTIOD/root-cert.pem" \
	"AUTH_TOKEN=$ISTIOD/token" CLUSTER_ID=cluster1 NODE_NAME=a INSTANCE_IP=10.9.9.9 \
	ENABLE_ORIG_SRC=false PROXY_MODE=dedicated PROXY_WORKLOAD_INFO=demo/client/client \
	$AMB_WRAP "$AMBIENTD" proxy ztunnel --socket "$TMP/dedicated.sock" ${privileged:-} \
	>>"$TMP/dedicated.log" 2>&1 &
AGENT=$!
APP_PIDS+=("$AGENT")
up() { pod_exec client curl -sf -m 20 -o /dev/null http://127.0.0.1:15021/healthz/ready; }
check "it becomes ready" busywait up || diag "$(tail -n 5 "$TMP/dedicated.log")"
wait_enrolled client
is "the service is reached" "$(fetch client http://10.96.0.1/)" hello
check "with mutual TLS, as who it is" metric_at_least 1 b istio_tcp_connections_opened_total \
	reporter=destination connection_security_policy=mutual_tls \
	source_principal="$SPIFFE/client"
check "no one was impersonated" plane_told \
	".event == \"request\" and .identity == \"\" and .uris == [\"$SPIFFE/client\"]"
is "the other way round too" "$(fetch server http://10.96.0.2/)" mine
is "status" "$("$AMBIENTCTL" status --socket "$TMP/dedicated.sock" --output json |
	jq -c '[.capture, .pods[].name]')" '["none","client"]'
is "it does not capture the machine" "$(PROXY_MODE=dedicated PROXY_WORKLOAD_INFO=a/b/c NODE_NAME=x \
	"$AMBIENTD" proxy ztunnel --capture nft 2>&1 | head -n 1)" \
	"ambientd: PROXY_MODE=dedicated goes with --capture none"
kill "$AGENT"
wait "$AGENT"
is "it ends in order" $? 0
pod_exec client nft delete table ip dedicated
finish
