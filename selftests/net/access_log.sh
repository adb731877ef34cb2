#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The access log: fields in order, text and JSON.
#
#   client (a) --> web (service) --> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
service_manifest web 10.96.0.1 "app: server" "{port: 80}"
busywait fetches client http://10.96.0.1/
fetch client http://10.96.0.1/ >/dev/null
# Values may be quoted or not.
line="src\.addr=${P4[client]}:[0-9]+ src\.workload=Qclient src\.namespace=Qdemo"
line="$line src\.identity=Q$SPIFFE/client .*dst\.addr=${P4[server]}:15008"
line="$line dst\.hbone_addr=Q${P4[server]}:80 dst\.service=Qweb\.demo\.svc\.cluster\.local"
line="$line dst\.workload=Qserver dst\.namespace=Qdemo dst\.identity=Q$SPIFFE/server"
line="$line .*direction=\"outbound\" bytes_sent=[0-9]+ bytes_recv=[0-9]+ duration=\"[0-9]+ms\""
check "outbound, in order" wait_log a "$(sed -E 's/Q([^ ]*)/"?\1"?/g' <<<"$line")"
line="src\.addr=${P4[client]}:[0-9]+ .*src\.identity=Q$SPIFFE/client"
line="$line .*dst\.addr=${P4[server]}:15008 dst\.hbone_addr=Q${P4[server]}:80"
line="$line .*direction=\"inbound\""
check "inbound" wait_log b "$(sed -E 's/Q([^ ]*)/"?\1"?/g' <<<"$line")"
check "level, target, message" log_has b $'\tinfo\taccess\tconnection complete\t'
pod_exec client curl -s -m 3 "http://${P4[server]}:81/" >/dev/null
check "an error is told" wait_log b $'\terror\taccess\tconnection complete\t.*error="'
agent_stop a
agent_start a --log-json
agent_ready a
wait_enrolled client
from=$(log_lines a)
busywait fetches client http://10.96.0.1/
json() { tail -n "+$from" "$(agent_log a)" | grep '"connection complete"' | tail -n 1; }
busywait sh -c "tail -n +$from '$(agent_log a)' | grep -q '\"connection complete\"'"
is "JSON: scope" "$(json | jq -r .scope)" access
is "JSON: source" "$(json | jq -r '."src.identity"')" $SPIFFE/client
is "JSON: bytes are numbers" "$(json | jq -r '.bytes_sent | type')" number
from=$(log_lines a)
node_exec a curl -s -X POST 'http://127.0.0.1:15000/logging?level=access=off' >/dev/null
fetch client http://10.96.0.1/ >/dev/null
is "access=off silences it" \
	"$(tail -n "+$from" "$(agent_log a)" | grep -c 'connection complete')" 0
finish
