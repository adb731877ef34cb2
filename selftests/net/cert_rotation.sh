#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Certificates of 6 s life under load: renewed at half life, pooled tunnels retire, not one
# connection notices.
#
#   client (a) --held and new connections--> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods --cert-ttl 6s
traffic_server server 9000 32
seen=
watch() {
	local s
	s=$(serial a client)
	[[ -z $s || $seen == *" $s "* ]] || seen="$seen $s "
}
watch
load_start client "${P4[server]}"
changed() { watch; [ "$(wc -w <<<"$seen")" -ge 5 ]; }
end=$((SECONDS + 90))
until changed || [ $SECONDS -ge $end ]; do
	sleep 0.3
done
load_end client
at_least "the certificate changed at least four times" "$(wc -w <<<"$seen")" 5
few() { [ "$(pod_exec client ss -Htn state established "dport = :15008" | wc -l)" -le 3 ]; }
check "retired tunnels are gone" busywait few
finish
