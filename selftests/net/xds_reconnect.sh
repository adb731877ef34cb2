#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The stream to the control plane breaks in every way, under traffic: the state serves on, what
# is held is told with its versions, the token and the roots are read anew, and what was removed
# meanwhile goes.
#
#   client (a) --held and new connections--> 10.96.0.1 --> server (b)        istiod (pod on a)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/cluster.sh
. "$LIB_DIR/cluster.sh"

need_plane
nodes a b
pod a client
pod b server
pod a istiod
plane_start
deny='{"policy": {"name": "other", "namespace": "else", "scope": "NAMESPACE", "action": "DENY"}}'
put "$(workload client)" "$(workload server "$(member web 9000 9000)")" \
	"$(vip_service web 10.96.0.1 9000 9000)" "$deny" \
	"$(workload client "" '{"uid": "goes", "name": "goes", "node": "far"}')"
cluster_agents_start
traffic_server server 9000 32
enroll client
enroll server
load_start client 10.96.0.1 "${P4[server]}"

# subscribed LINE [HELD]: both agents have opened a stream of addresses since line LINE.
subscribed() {
	[ "$(tail -n "+$1" "$ISTIOD/log" | jq -c --argjson held "${2:-0}" 'select(
		.event == "subscribe" and (.type | endswith("Address")) and .held >= $held) |
		.node' | sort -u | wc -l)" = 2 ]
}
ended() { metric_at_least "$1" a istio_xds_connection_terminations_total "reason=$2"; }

from=$(plane_lines)
plane reset OK >/dev/null
check "after an orderly end both come back" busywait subscribed "$from" 4
last() {
	tail -n "+$from" "$ISTIOD/log" | jq -c "select(.event == \"subscribe\" and
		.node[:30] == \"$(node_id a)\" and (.type | endswith(\"$1\")))" | head -n 1
}
node_id() { echo "ztunnel~10.9.9.9~ztunnel-$1.istio-system" | cut -c1-30; }
is "what is held is not sent again" "$(last Address | jq -c '[.held, .sent, .removed]')" "[4,0,0]"
is "policies, which have no versions, are" \
	"$(last Authorization | jq -c '[.held, .sent, .removed]')" "[1,1,0]"
check "it is counted" busywait ended 1 Complete

from=$(plane_lines)
plane forget address goes >/dev/null
plane forget policy else/other >/dev/null
plane reset CANCELLED >/dev/null
check "after a cancelled stream too" busywait subscribed "$from" 4
check "what was removed meanwhile goes" busywait knows_no workload a goes
check "a policy too" busywait knows_no policy a other
check "it is counted" busywait ended 1 Reconnect

# An answer that ends within a resource.
from=$(plane_lines)
plane cut address >/dev/null
check "a torn answer ends the stream, another is opened" busywait subscribed "$from" 3
check "it is counted" busywait ended 1 Error
is "nothing was lost by it" "$(config_dump a | jq '.workloads | length')" 2

# The control plane refuses for a while.
plane refuse 6 UNAUTHENTICATED >/dev/null
from=$(plane_lines)
seen=$(log_lines a)
plane reset UNAVAILABLE "no upstream" >/dev/null
check "refused streams are tried again, later and later" busywait subscribed "$from" 3
check "the log says why" wait_log a 'UNAUTHENTICATED: refused on command' "$seen"

# Token and roots change; the old ones are no longer good.
echo token-2 >"$ISTIOD/token.new" && mv "$ISTIOD/token.new" "$ISTIOD/token"
plane tokens token-2 >/dev/null
from=$(plane_lines)
plane reset OK >/dev/null
check "the token is read for each stream" busywait subscribed "$from" 3
is "and it is the new one" "$(tail -n "+$from" "$ISTIOD/log" |
	jq -r 'select(.event == "stream") | .token' | sort -u)" "Bearer token-2"
plane_stop
seen=$(log_lines a)
check "it is gone: the log says so" wait_log a 'connect: Connection refused' "$seen"
like "and status" "$(ctl a status)" 'istiod .*no stream for .* 3 addresses'
check "the agent stays ready" ready a
plane_root
jq -s . <(workload client) <(workload server "$(member web 9000 9000)") \
	<(vip_service web 10.96.0.1 9000 9000) >"$ISTIOD/state"
from=$(plane_lines)
plane_start --state "$ISTIOD/state" --cert stranger
check "a control plane of another root is not believed" wait_log a \
	'certificate of .*not signed by our roots' "$seen"
is "it was told nothing" "$(tail -n "+$from" "$ISTIOD/log" | jq -c 'select(.event == "stream")')" ""
plane_stop
seen=$(log_lines a)
PLANE_HOST=somebody.else plane_start --state "$ISTIOD/state"
check "nor is one whose certificate has another name" wait_log a \
	"certificate is not for ${P4[istiod]} or istiod.istio-system.svc" "$seen"
plane_stop
from=$(plane_lines)
plane_start --state "$ISTIOD/state"
check "one of the new root is" busywait subscribed "$from" 3
like "status says so" "$(ctl a status)" 'istiod .*connected for .* 3 addresses'
plane_stop
from=$(plane_lines)
# Connections get GOAWAY after a second, and are cut half a second later.
plane_start --state "$ISTIOD/state" --age 1000
streams_of() { tail -n "+$from" "$ISTIOD/log" | grep -c '"event": "stream"'; }
many_streams() { [ "$(streams_of)" -ge 4 ]; }
check "connections that end by their age are made again" busywait many_streams
check "connections refused are counted" ended 1 ConnectionError
load_end client
finish
