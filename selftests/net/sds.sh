#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Certificates of a secret discovery service on a unix socket, as SPIRE's agent has it: taken,
# pushed anew under load, refused when they are wrong; a service that says no, or goes away.
#
#   agents of a and b --unix socket--> sds_server.py
#   client (a) --held and new connections--> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
need_python grpc google.protobuf cryptography

SDS=$TMP/sds
two_pods_alone
ca_init
sds_start() {
	"$PYTHON" "$PEERS/sds_server.py" serve --proto "$TOP/agent/control/proto" --socket "$SDS" \
		--control "$SDS.control" --ca "$CA/root.key" --roots "$CA/root.pem" "$@" \
			>>"$SDS.log" 2>>"$SDS.errors" &
	SDS_PID=$!
	APP_PIDS+=("$SDS_PID")
	busywait test -S "$SDS.control" || bail "no server: $(tail -n 3 "$SDS.errors")"
}
sds() { "$PYTHON" "$PEERS/sds_server.py" ask "$SDS.control" "$@" >/dev/null; }
# told JQ-CONDITION: a request that is so.
told() { jq -se "any(.[]; $1)" "$SDS.log" >/dev/null; }

# --- from the beginning
sds_start
agents_start --sds "$SDS" --ca /nowhere
check "a connection" busywait fetches client "http://${P4[server]}/"
is "goes through the tunnel" "$(fetch client "http://${P4[server]}/")" hello
is "with its identity" "$(certificate a client .state)" Available
check "asked as SPIRE wants it, by the SPIFFE ID" told \
	".names == [\"$SPIFFE/client\"] and .node == \"a\" and (.type | endswith(\"v3.Secret\"))"
check "the roots too" told '.names == ["ROOTCA"]'
check "acknowledged" told ".names == [\"$SPIFFE/client\"] and .nonce == \"n1\" and .error == \"\""

# --- pushed anew, under load
traffic_server server 9000 16
load_start client "${P4[server]}"
seen=
changed() { differs "$3" serial "$1" "$2"; }
for i in 1 2 3; do
	old=$(serial a client)
	sds rotate
	busywait changed a client "$old" && seen="$seen $i"
done
is "each push is taken over" "$seen" " 1 2 3"
load_end client
old=$(serial a client) from=$(log_lines a)
sds again
busywait told ".names == [\"$SPIFFE/client\"] and .nonce == \"n5\""
is "the same once more is no news" "$(serial a client)" "$old"

# --- wrong ones
for kind in key:"its key is not that of its certificate" \
	other:"its certificate is for spiffe://cluster.local/ns/x/sa/x" \
	garbage:"its certificate cannot be read" no-key:"it has no inline key" \
	rsa:"its key is none of P-256 or P-384" type:"it is of type x.example/Other"; do
	sds bad "${kind%%:*}"
	sds rotate "$SPIFFE/client"
	check "${kind%%:*}: refused with the reason" busywait told ".code == 3 and .error == \"${kind#*:}\""
done
is "the good one stays" "$(serial a client)" "$old"
is "and serves" "$(fetch client "http://${P4[server]}/")" hello
check "the log says so" wait_log a "key is not that of its certificate; the present one is used" "$from"
sds bad none
sds rotate "$SPIFFE/client"
check "a good one is taken again" busywait changed a client "$old"

# --- roots
"$AMBIENTCTL" ca init "$TMP/ca2" >/dev/null
cat "$CA/root.pem" "$TMP/ca2/root.pem" >"$TMP/both.pem"
sds roots "$TMP/both.pem"
check "new roots are taken over" busywait n_roots 2
is "connections go on" "$(fetch client "http://${P4[server]}/")" hello

# --- a service that goes away
old=$(serial a client)
kill_app "$SDS_PID"
rm -f "$SDS.control"
check "its end is told once" wait_log a 'ROOTCA: UNAVAILABLE'
is "what is there serves on" "$(fetch client "http://${P4[server]}/")" hello
sds_start --life 8
check "it is asked again, and what is new taken" busywait changed a client "$old"
is "told once" "$(grep -c 'ROOTCA: UNAVAILABLE' "$(agent_log a)")" 1
sds end INTERNAL
old=$(serial a client)
sds rotate
check "streams that end are opened again" busywait changed a client "$old"

# --- one that says no
sds deny "$SPIFFE/client"
sds end CANCELLED
says_no() { [[ $(certificate a client .state) == *"not authorized for the requested"* ]]; }
check "without a newer one the old one ends, with the reason" busywait says_no
check "which the log has too" wait_log a 'client: no new certificate: .*not authorized for the'
sds allow "$SPIFFE/client"
sds life 3600
sds rotate
check "until it says yes" busywait fetches client "http://${P4[server]}/" 8
"$AMBIENTD" --standalone "$MANIFESTS" --node a --sds relative/path >"$TMP/bad" 2>&1
like "a path that is none" "$(cat "$TMP/bad")" '--sds relative/path: Invalid argument'
finish
