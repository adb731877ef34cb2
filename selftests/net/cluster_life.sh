#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A cluster's day, with real applications that may not notice it: two agents with ztunnel's
# environment, pods that come and go, policies and services too, a control plane that restarts,
# roots that are rotated, a certificate that is revoked.
#
#   client (a) --wrk, curl, redis, held and new connections--> web 10.96.0.1 = server (b)
#   spare (b): comes, is denied, is revoked, goes       istiod (pod on a), a CNI a node
#
# What an application sees and would see with ztunnel: nothing. (Of spare: that it is refused.)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/cluster.sh
. "$LIB_DIR/cluster.sh"
# shellcheck source=selftests/crl.sh
. "$LIB_DIR/crl.sh"

need_plane
need nginx wrk redis-server redis-cli nsenter iptables-nft
nodes a b
pod a client
pod b server
pod b spare
pod a istiod
http_server server 8080 hello
http_server client 8081 client
traffic_server server 9000 32
pod_spawn server redis-server --port 6379 --protected-mode no --save "" --dir "$TMP"
wait_listen server 6379
zds_start a b
for p in client server spare; do cni_rules $p nft; done
zds_pod register client >/dev/null
zds_pod register server >/dev/null
mesh() {
	workload client
	workload server "$(member web 80 8080)"
	vip_service web 10.96.0.1 80 8080
}
mesh | jq -s . >"$ISTIOD/state"
# Leafs of a root itself, with a life that is renewed several times here.
ISSUED=(--certs direct=1 --certs ttl=20)
# istiod ROOT-OF-LEAFS ROOTS: one that signs with the first and tells the second.
istiod() {
	[ ! -S "$ISTIOD/control" ] || plane_stop
	PLANE_CA=$1 plane_start --state "$ISTIOD/state" --roots "$2" "${ISSUED[@]}"
}
ca_init
NEW=$TMP/new-ca
"$AMBIENTCTL" ca init "$NEW" >>"$TMP/ca.log" 2>&1 || bail "no second root"
cat "$CA/root.pem" "$NEW/root.pem" >"$TMP/both.pem"
istiod "$CA" "$CA/root.pem"
cluster_agent_start a INPOD_UDS="$(zds_socket a)" CRL_PATH="$CRL"
cluster_agent_start b INPOD_UDS="$(zds_socket b)" CRL_PATH="$CRL"
agent_ready a b
check "pods are served" busywait enrolled client
check "both" busywait enrolled server
check "the service is reached" busywait fetches client http://10.96.0.1/

# Applications, until the end.
load_start client "${P4[server]}"
pod_spawn client wrk -t 1 -c 4 -d 600s --timeout 20s http://10.96.0.1/; wrk=$LAST_PID
pod_spawn client bash -c 'trap "echo curls \$n failed \$bad; exit 0" TERM
	n=0 bad=0
	while :; do curl -sf -m 20 -o /dev/null "$1" || bad=$((bad + 1)); n=$((n + 1)); sleep 0.05; done' \
	_ http://10.96.0.1/
curls=$LAST_PID
pod_spawn client bash -c 'trap "echo sets \$n failed \$bad; exit 0" TERM
	n=0 bad=0
	while :; do
		[ "$(redis-cli -h "$1" set "key$n" "$n" 2>&1)" = OK ] || bad=$((bad + 1))
		n=$((n + 1)); sleep 0.05
	done' _ "${P4[server]}"
sets=$LAST_PID

# Pods come and go.
put "$(workload spare)"
is "the CNI adds a pod" "$(zds_pod add spare)" '{"answer": ""}'
check "it is served" busywait enrolled spare
check "and reaches the others" busywait fetches spare "http://${P4[client]}:8081/"
is "and it goes" "$(zds b do=del uid=uid-spare)" '{"answers": [{"answer": ""}]}'
check "it is not served" busywait not_enrolled spare
is "and comes again" "$(zds_pod add spare)" '{"answer": ""}'
check "it reaches the others again" busywait fetches spare "http://${P4[client]}:8081/"

# Policies and services.
put '{"policy": {"name": "no-spare", "namespace": "demo", "scope": "NAMESPACE", "action": "DENY",
	"rules": [{"clauses": [{"matches": [{"principals": [
		{"exact": "cluster.local/ns/demo/sa/spare"}]}]}]}]}}'
check "a policy arrives" busywait knows_policy a no-spare
check "who it names is refused" busywait refused spare "http://${P4[client]}:8081/"
plane remove policy demo/no-spare >/dev/null
check "it goes" busywait knows_no policy a no-spare
check "and he is not refused any more" busywait fetches spare "http://${P4[client]}:8081/"
put "$(vip_service late 10.96.0.2 80 8080)" \
	"$(workload server "$(jq -n --argjson a "$(member web 80 8080)" \
		--argjson b "$(member late 80 8080)" '$a + $b')")"
check "a new service is reached" busywait fetches client http://10.96.0.2/
put "$(workload server "$(member web 80 8080)")"
plane remove address demo/late.demo.svc.cluster.local >/dev/null
check "it goes" busywait knows_no service a late

# The control plane restarts, and three times more with other roots.
issued_by() { # ROOT-OF-LEAFS NODE ACCOUNT
	certificate "$2" "$3" '.certChain[0].pem' | base64 -d >"$TMP/leaf" &&
		openssl verify -CAfile "$1/root.pem" "$TMP/leaf"
}
mesh2() { mesh; workload spare; }
mesh2 | jq -s . >"$ISTIOD/state"
before=$(roots a client)
istiod "$CA" "$TMP/both.pem"
check "a second root is trusted" busywait n_roots 2
check "client's certificate is of the old one" busywait issued_by "$CA" a client
istiod "$NEW" "$TMP/both.pem"
check "then of the new one" busywait issued_by "$NEW" a client
check "server's too" busywait issued_by "$NEW" b server
istiod "$NEW" "$NEW/root.pem"
check "the old root is gone" busywait n_roots 1
check "client's agent trusts the other one" differs "$before" roots a client
check "and server's" differs "$before" roots b server
check "new connections pass" fetches client http://10.96.0.1/

# Revocation: of who has done nothing else.
check "spare is there" busywait fetches spare "http://${P4[client]}:8081/"
plane certs direct=1 ttl=3600 >/dev/null
# A renewal with the short life may be under way.
stays() {
	[ "$(date -d "$(certificate b spare '.certChain[0].expirationTime')" +%s)" -gt \
		$(($(date +%s) + 600)) ]
}
check "with a certificate that stays" busywait stays
crl "$NEW/root.key" "$(hex_serial b spare 0)" | install_crl
check "it is revoked" wait_log a "$CRL: 1 certificates are revoked"
check "and refused" busywait refused spare "http://${P4[client]}:8081/"

# What the applications say.
load_end client
kill "$curls" "$sets"
kill -INT "$wrk"
wait "$curls" "$sets" "$wrk" 2>/dev/null
said() { grep -Eo "$1 [0-9]+ failed [0-9]+" "$TMP/app-client.log"; }
like "curl had no error" "$(said curls)" '^curls [0-9]{2,} failed 0$'
like "redis had none" "$(said sets)" '^sets [0-9]{2,} failed 0$'
at_least "wrk made many requests" "$(awk '/requests in/ { print $1 }' "$TMP/app-client.log")" 100
unlike "and had no error" "$(cat "$TMP/app-client.log")" 'Socket errors|Non-2xx'
cni_unrule client server spare
finish
