#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Certificates from a foreign istiod: what a request says, chains with and without an
# intermediate, renewal at half of life under traffic, failures and bad answers, roots that
# change, an identity that goes.
#
#   client (a) --> server (b)          istiod (pod on a, outside of the mesh)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/cluster.sh
. "$LIB_DIR/cluster.sh"

need_plane
need nginx
nodes a b
pod a client
pod b server
pod a istiod
http_server server 80 hello
traffic_server server 9000 32
plane_start
put "$(workload client)" "$(workload server)"
plane certs fail=UNAUTHENTICATED count=2 >/dev/null
cluster_agents_start SECRET_TTL=1h CA_HEADER_x-test=yes
enroll client
enroll server

requests() { plane_event 'select(.event == "request")' "$@"; }
asked() { requests | jq -c --arg id "$SPIFFE/$1" 'select(.identity == $id)'; }
check "a refused request is tried again" busywait fetches client "http://${P4[server]}/"
is "what failed is what was said" "$(log_has a 'UNAUTHENTICATED: refused on command' &&
	log_has b 'UNAUTHENTICATED: refused on command' && echo both || echo one)" both
r=$(asked client | tail -n 1)
is "a request: subject, names, curve, hash, signature" \
	"$(jq -c '[.subject, .uris, .names, .curve, .hash, .valid]' <<<"$r")" \
	"[\"\",[\"$SPIFFE/client\"],1,\"secp256r1\",\"sha256\",true]"
is "the life that was asked for" "$(jq .seconds <<<"$r")" 3600
is "the headers of the call" "$(plane_event 'select(.event == "csr") |
	[.token, .cluster, .headers["x-test"]]' | sort -u)" '["Bearer token-1","cluster1","yes"]'
is "no key twice" "$(requests | jq -r .key | sort | uniq -d)" ""
is "the chain: leaf and intermediate" "$(certificate a client '.certChain | length')" 2
is "the root" "$(certificate a client '.rootCerts | length')" 1

# Without an intermediate; short lives.
plane certs direct=1 ttl=8 >/dev/null
agent_stop b
cluster_agent_start b
agent_ready b
enroll server
certified() { [ -n "$(serial b server)" ]; }
check "the new agent gets a certificate" busywait certified
is "a leaf of the root itself" "$(certificate b server '.certChain | length')" 1
check "understands the others" busywait fetches client "http://${P4[server]}/"
pod_spawn client "$TRAFFIC" crr -t 1 -s 3600 "${P4[server]}"; new=$LAST_PID
first=$(serial b server)
renewed() { differs "$first" serial b server; }
check "it is renewed at half of its life" busywait renewed

# Answers that must not be taken: the present certificate stays.
bad() { # DESCRIPTION LOG CERTS...
	local from what=$1 text=$2
	shift 2
	from=$(log_lines b)
	plane certs "$@" >/dev/null
	check "$what is refused" wait_log b "$text.*still valid, continuing" "$from"
	plane certs direct=1 ttl=8 >/dev/null
	first=$(serial b server)
	check "and the next is taken" busywait renewed
}
bad "a certificate for another" 'its certificate is for .*server-other' direct=1 ttl=8 other=1
bad "one without a root" 'no root among them' direct=1 ttl=8 roots=0
bad "one of another key" 'no new certificate: .*key' direct=1 ttl=8 key=1

# The token is read for each request; the roots of the channel when they change.
echo token-2 >"$ISTIOD/token.new" && mv "$ISTIOD/token.new" "$ISTIOD/token"
plane tokens token-2 >/dev/null
first=$(serial b server)
check "a new token is used" busywait renewed
from=$(log_lines b)
cp "$ISTIOD/root-cert.pem" "$ISTIOD/.new" && mv "$ISTIOD/.new" "$ISTIOD/root-cert.pem"
check "a change of the roots is seen" wait_log b 'root-cert.pem changed' "$from"
first=$(serial b server)
check "and certificates are renewed over another connection" busywait renewed
is "traffic had no break" "$(kill -0 "$new" 2>&1 && echo none)" none
kill_app "$new"
is "connections had no error" "$(grep '"crr"' "$TMP/app-client.log" |
	jq -r '.errors, .error // ""' | tr '\n' ' ')" "0  "

# An identity that no pod of the node has any more.
plane remove address cluster1//Pod/demo/server >/dev/null
forgotten() { [ -z "$(certificate b server .state)" ]; }
check "a certificate that nobody needs is forgotten" busywait forgotten
check "the pod is let go" busywait not_enrolled server
count=$(asked server | wc -l)
asked_again() { [ "$(asked server | wc -l)" != "$count" ]; }
# It lived 8 s, so that its renewal would have come within 4.
check_fails "nor renewed" eval "DEADLINE=6 busywait asked_again"
finish
