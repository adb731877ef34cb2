#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Floods, bombs and malformed frames from a peer with a good certificate: the connection ends
# or the flood is absorbed, memory stays bounded, others are served meanwhile and afterwards.
#
#   stranger (Python, frames by hand) ==15008== server;  client (a) --> server
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_peers
two_pods
traffic_server server 9000 8
A=${P4[server]}
hc() { hbone_client stranger --to "$A" --authority "$A:80" --timeout 15 "$@"; }
rss() { awk '/^VmRSS/ { print $2 }' "/proc/${AGENT_PID[b]}/status"; }
LIMIT_KB=24000
[ -z "${AMB_SANITIZED:-}" ] || LIMIT_KB=$((LIMIT_KB * 8))
pod_spawn client "$TRAFFIC" rr -t 2 -s 300 "$A"
innocent=$LAST_PID
busywait agent_settled b
start=$(rss)
for flood in ping-flood settings-flood rapid-reset rst-storm continuation-flood \
	continuation-empty empty-data padding-flood priority-flood window-flood window-overrun; do
	got=$(hc $flood --count 60000)
	diag "$flood: $(jq -c '{sent, closed, goaway, goaway_text, seconds}' <<<"$got")"
	is "$flood: others are served" "$(fetch client "http://$A/")" hello
done
for bomb in header-bomb big-header window-overflow; do
	got=$(hc $bomb)
	check "$bomb ends the connection or the stream" \
		jq -e '.closed or has("goaway") or (.rst | length > 0) or .status != 200' <<<"$got"
done
for bad in $("$PYTHON" "$PEERS/hbone_client.py" --list-bad); do
	got=$(hc bad-frame --bad "$bad")
	case $bad in
	half-frame | lower-stream | window-idle-stream | rst-length | headers-interrupted | pad-too-long) ;;
	*) check "$bad: ended with an error" jq -e \
		'.closed or (.goaway // 0) > 0 or (.rst | length > 0)' <<<"$got" ;;
	esac
done
got=$(hc no-read --authority "$A:80" --send $'GET / HTTP/1.0\r\n\r\n')
is "a peer that grants no window: others are served" "$(fetch client "http://$A/")" hello
check "the innocent connections were carried through all of it" kill -0 "$innocent"
grown=$(($(rss) - start))
check "memory is bounded: $grown kB more" test "$grown" -lt "$LIMIT_KB"
finish
