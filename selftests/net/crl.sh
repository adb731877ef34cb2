#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Revocation lists made with openssl: a peer that they name is refused, and so are its tunnels that
# are there already; the file comes, changes, breaks and goes while agents run.
#
#   client (a) --held and new connections--> server, other (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/crl.sh
. "$LIB_DIR/crl.sh"

two_pods_alone
pod b other
pod_manifest other
http_server other 80 other
http_server client 81 client
agents_start --crl "$CRL"
check "there is no file yet: said" log_has a "$CRL: not there yet"
traffic_server server 9000 8
is "and nobody is revoked" "$(fetch client "http://${P4[server]}/")" hello
is "nor here" "$(fetch client "http://${P4[other]}/")" other
pod_spawn client "$TRAFFIC" rr -t 1 -s 3600 "${P4[server]}"
held=$LAST_PID
check "a connection is carried" busywait held 1

# The server's leaf.
leaf=$(hex_serial b server 0)
crl "$CA/nodes/b.key" "$leaf" | install_crl
check "the list is read" wait_log a "$CRL: 1 certificates are revoked"
gone() { ! kill -0 "$held" 2>/dev/null; }
check "the connection to the revoked one ends" busywait gone
check "for that reason" wait_log a 'certificate of the peer was revoked'
check "with the flag" busywait metric_at_least 1 a istio_tcp_connections_closed_total \
	reporter=source response_flags=CERT_REVOKED destination_workload=server
check "new ones are refused" refused client "http://${P4[server]}/"
check "and counted" busywait metric_at_least 1 a istio_crl_policy_rejections_total reporter=source
check "by reason too" metric_at_least 1 a amb_ended_total reason=cert_revoked
is "others of the same node are not" "$(fetch client "http://${P4[other]}/")" other
check "as a client it is refused alike, by the other node" refused server "http://${P4[client]}:81/"
check "which counts it" busywait metric_at_least 1 a istio_crl_policy_rejections_total \
	reporter=destination

# A file that cannot be read.
from=$(log_lines a)
echo "not a list" | install_crl
check "a bad file is said" wait_log a "$CRL: .*neither PEM nor DER" "$from"
check "and what was revoked stays so" refused client "http://${P4[server]}/"
from=$(log_lines a)
rm "$CRL"
check "so is one that is gone" wait_log a "$CRL: No such file" "$from"
check "with the same result" refused client "http://${P4[server]}/"

# Forgiven, then the intermediate.
crl "$CA/nodes/b.key" | install_crl
check "who is not on the list any more is reached" busywait fetches client "http://${P4[server]}/"
pod_spawn client "$TRAFFIC" rr -t 1 -s 3600 "${P4[server]}"
held=$LAST_PID
check "another connection" busywait held 1
"$AMBIENTCTL" ca revoke "$CA" b || bail "node b cannot be revoked"
{ crl "$CA/nodes/b.key"; cat "$CA/crl.pem"; } | install_crl
check "whose intermediate is revoked is cut" busywait gone
check "and everybody under it is refused" refused client "http://${P4[other]}/"
check "the reason says so" wait_log a 'an intermediate certificate of the peer was revoked'
: | install_crl
check "an empty file revokes nobody" busywait fetches client "http://${P4[other]}/"

# Forged: all is as in the issuer's own, its key identifier too, but for the key.
openssl ecparam -name prime256v1 -genkey -noout -out "$TMP/openssl/forged.key"
openssl x509 -in "$CA/nodes/b.key" -signkey "$TMP/openssl/forged.key" -out "$TMP/openssl/forged.crt" \
	2>>"$TMP/openssl/log"
cat "$TMP/openssl/forged.key" "$TMP/openssl/forged.crt" >"$TMP/openssl/forged"
pod_spawn client "$TRAFFIC" rr -t 1 -s 3600 "${P4[server]}"
held=$LAST_PID
check "a connection again" busywait held 1
from=$(log_lines a)
crl "$TMP/openssl/forged" "$leaf" | install_crl
check "a forged list is read" wait_log a "$CRL: 1 certificates are revoked" "$from"
check "it is said that it does not count" wait_log a \
	'revocation list 1 is not signed by the issuer of a certificate that it names' "$from"
is "whom it names is reached" "$(fetch client "http://${P4[server]}/")" hello
check "and its connection goes on" held 1
crl "$CA/nodes/b.key" "$leaf" | install_crl
check "the issuer's own, with the same content, ends it" busywait gone
check "and keeps it out" refused client "http://${P4[server]}/"
: | install_crl

# A text cut short by a NUL: the list behind it would be passed over.
crl "$CA/nodes/b.key" "$leaf" | install_crl
check "revoked once more" busywait refused client "http://${P4[server]}/"
from=$(log_lines a)
{ crl "$CA/nodes/b.key"; printf '\0'; crl "$CA/nodes/b.key" "$leaf"; } | install_crl
check "a file with a NUL in it is said" wait_log a "$CRL: list 0: there is a NUL" "$from"
check "and what was revoked stays so" refused client "http://${P4[server]}/"
: | install_crl

zero() { metrics "$1" | grep -qx "istio_crl_untracked_connections_total{reporter=\"$2\"} 0"; }
check "no connection out was ever out of their sight" zero a source
check "nor one in" zero b destination

# At the start there is no last good one to keep.
agent_stop a
echo nonsense | install_crl
is "an agent does not start with a bad file" "$(node_exec a "$AMBIENTD" --standalone "$MANIFESTS" \
	--node a --ca "$CA" --socket "$TMP/x.sock" --crl "$CRL" --capture none 2>&1 >/dev/null |
	grep -c 'revocation lists: .*neither PEM nor DER')" 1
finish
