#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Between nodes nothing of the mesh can be read: only TLS on port 15008.
#
#   client --- node a ==eth0 (captured)== node b --- server
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need tcpdump
MARKER=can-this-be-read
two_pods
http_server server 8080 $MARKER
ip netns exec "$(node_ns a)" tcpdump --immediate-mode -U -i eth0 -w "$TMP/wire" tcp >"$TMP/tcpdump.log" 2>&1 &
APP_PIDS+=("$!")
busywait test -s "$TMP/wire"
like "a path that can be searched for is asked for" \
	"$(fetch client "http://${P4[server]}:8080/$MARKER-path")" "404 Not Found"
is "the page arrives" "$(fetch client "http://${P4[server]}:8080/")" $MARKER
is "the plain page of a stranger arrives too" \
	"$(fetch stranger "http://${P4[server]}:8080/?plain")" \
	$MARKER
seen() { tcpdump -nnr "$TMP/wire" "$@" 2>/dev/null; }
busywait sh -c "grep -qa 'GET /?plain' '$TMP/wire'"
sleep 0.2
is "of the client only packets of port 15008 cross" \
	"$(seen "host ${P4[client]} and tcp and not port 15008")" ""
at_least "and they do" "$(seen "host ${P4[client]} and port 15008" | wc -l)" 4
check "the capture can read what is not encrypted" grep -qa 'GET /?plain' "$TMP/wire"
is "but of the client's request nothing" "$(grep -ac "$MARKER-path" "$TMP/wire")" 0
finish
