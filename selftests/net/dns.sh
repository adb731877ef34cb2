#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# DNS of pods: names of the mesh are answered by the agent, others by the name servers of its
# resolv.conf, with every way to ask and every way to fail.
#
#   pod client --.                  .-- dns_server.py first:  10.11.0.1, fd11::1
#   pod other  --+-- br0 (node a) --+-- dns_server.py second: 10.11.0.2
#   pod custom --'     :            '-- dns_server.py local:  127.0.0.1 of the node
#                      '-- node b -- pod server, service web
#
# Pods ask 192.0.2.53, which nobody has.
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
need_agent
need dig nginx getent
need_python dns

nodes a b
pod a client
pod a other
pod a custom
pod b server
mesh_defaults
for p in client other server; do
	pod_manifest $p
done
# A pod as a container runtime makes it: a process with its own mounts.
printf 'search found.example\n' >"$TMP/custom-resolv"
pod_spawn custom sh -c "mount --bind $TMP/custom-resolv /etc/resolv.conf && exec sleep 1000"
CUSTOM=$LAST_PID
busywait grep -q found "/proc/$CUSTOM/root/etc/resolv.conf"
pod_document custom | sed "s|$(pod_nspath custom)|/proc/$CUSTOM/ns/net|" | manifest pod-custom
service_manifest web 10.96.0.1 "app: server" "{port: 80}"
service_manifest dual 10.96.0.2,fd96::2 "app: server" "{port: 80}" demo "  ipFamilies: [IPv4, IPv6]"
service_manifest nodes None "app: server" "{port: 80}"
ip -n "$(node_ns a)" addr add 10.11.0.2/24 dev br0
http_server server 80 hello

node_spawn() {
	ip netns exec "$(node_ns "$1")" "${@:3}" >>"$TMP/app-$2.log" 2>&1 &
	LAST_PID=$!
	APP_PIDS+=("$LAST_PID")
}
# dns_server NAME ADDRESS... [-- OPTIONS]: LAST_PID.
dns_server() {
	local name=$1
	shift
	: >"$TMP/app-$name.log"
	node_spawn a "$name" "$PYTHON" "$PEERS/dns_server.py" --name "$name" "$@"
	busywait grep -q ready "$TMP/app-$name.log" || bail "no name server $name"
}
# asked SERVER JQ-FILTER: how many queries it saw that are so.
asked() { grep -h '^{' "$TMP/app-$1.log" | jq -s "[.[] | select(.name) | select($2)] | length"; }
# servers ADDRESS...: becomes the agents' resolv.conf, which they look at once a second.
servers() {
	printf 'nameserver %s\n' "$@" >"$TMP/resolv.new"
	mv "$TMP/resolv.new" "$TMP/resolv.conf"
}

dns_server first 10.11.0.1 fd11::1
FIRST=$LAST_PID
servers 10.11.0.1
agent_start a --resolv-conf "$TMP/resolv.conf" --log info,dns=debug
ISTIO_META_DNS_CAPTURE=false agent_start b
agent_ready a b
for p in client other custom server; do
	wait_enrolled $p
done

ask() { pod_exec "$1" dig +tries=1 +time=8 @192.0.2.53 "${@:2}"; }
short() { ask "$@" +short | sort | tr '\n' ' '; }
# For what is waited for: a pod that just now leaves and joins again loses a packet.
becomes() { [ "$(short "$1" "$2" +time=1)" = "$3" ]; }
flags() { ask "$@" | sed -n 's/.*flags: \([a-z ]*\);.*/\1/p'; }
status() { ask "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
busywait becomes client web.demo.svc.cluster.local "10.96.0.1 "

# --- the mesh's own names
is "full name" "$(short client web.demo.svc.cluster.local)" "10.96.0.1 "
is "name.namespace" "$(short client web.demo)" "10.96.0.1 "
is "short name" "$(short client web)" "10.96.0.1 "
is "by TCP" "$(short client web.demo +tcp)" "10.96.0.1 "
is "asked over IPv6" "$(pod_exec client dig +short +time=8 @2001:db8::53 web.demo)" 10.96.0.1
is "asked over IPv6 by TCP" "$(pod_exec client dig +short +tcp +time=8 @2001:db8::53 web.demo)" \
	10.96.0.1
like "authoritative, recursion available" "$(flags client web.demo)" '^qr aa rd ra'
like "lives 30 s" "$(ask client web.demo +noall +answer)" 'web\.demo\.[[:space:]]+30[[:space:]]+IN'
is "IPv6" "$(short client dual.demo AAAA)" "fd96::2 "
is "no IPv6: no error, no records" "$(status client web.demo AAAA)$(short client web.demo AAAA)" \
	NOERROR
is "headless: the pod's address" "$(short client nodes.demo.svc.cluster.local)" "${P4[server]} "
is "headless, IPv6" "$(short client nodes.demo.svc.cluster.local AAAA)" "${P6[server]} "
is "a pod of it" "$(short client server.nodes.demo.svc.cluster.local)" "${P4[server]} "
is "other letters" "$(ask client WEB.Demo.SVC.cluster.local +noall +answer | awk '{ print $1, $5 }')" \
	"WEB.Demo.SVC.cluster.local. 10.96.0.1"
is "search domain: an alias" "$(ask client web.demo.demo.svc.cluster.local +noall +answer |
	awk '{ print $4, $5 }' | tr '\n' ' ')" "CNAME web.demo.svc.cluster.local. A 10.96.0.1 "
like "EDNS is answered with EDNS" "$(ask client web.demo +bufsize=1400 +dnssec)" \
	'EDNS: version: 0, flags: do; udp: 4096'
unlike "no EDNS without" "$(ask client web.demo +noedns)" 'EDNS: version'
is "a version of EDNS that is not there yet" \
	"$(status client web.demo +edns=1 +noednsnegotiation)" BADVERS
is "nothing of this was asked elsewhere" "$(asked first '.name | test("web|dual|nodes"; "i")')" 0
is "a program finds it" "$(pod_exec client sh -c "printf 'nameserver 192.0.2.53\nsearch \
demo.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n' >$TMP/pod-resolv &&
	mount --bind $TMP/pod-resolv /etc/resolv.conf && getent ahostsv4 web" |
	awk '/STREAM/ { print $1 }')" 10.96.0.1
is "... and gets its page through the tunnel" "$(pod_exec client sh -c "mount --bind \
	$TMP/pod-resolv /etc/resolv.conf && curl -s -m 10 http://web/")" hello

# from ADDRESS [connect]: who a program hears the answer from, and, connected, who its peer is.
from() {
	pod_exec client "$PYTHON" - "$@" <<-'PY'
		import socket, sys
		import dns.message
		family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
		s = socket.socket(family, socket.SOCK_DGRAM)
		s.settimeout(8)
		query = dns.message.make_query("web.demo", "A").to_wire()
		if len(sys.argv) > 2:
		    s.connect((sys.argv[1], 53))
		    s.send(query)
		    print(*s.getpeername()[:2], end=" ")
		else:
		    s.sendto(query, (sys.argv[1], 53))
		print(*s.recvfrom(512)[1][:2])
	PY
}
is "answers come from who was asked" "$(from 192.0.2.53)" "192.0.2.53 53"
is "connected" "$(from 192.0.2.53 connect)" "192.0.2.53 53 192.0.2.53 53"
is "over IPv6" "$(from 2001:db8::53)" "2001:db8::53 53"
is "connected" "$(from 2001:db8::53 connect)" "2001:db8::53 53 2001:db8::53 53"
is "IPv4 by a socket of IPv6" "$(from ::ffff:192.0.2.53)" "::ffff:192.0.2.53 53"
is "connected" "$(from ::ffff:192.0.2.53 connect)" "::ffff:192.0.2.53 53 ::ffff:192.0.2.53 53"

# --- names of others
is "forwarded" "$(short client x.ok.test)" "192.0.2.1 "
is "forwarded, IPv6" "$(short client x.ok.test AAAA)" "2001:db8::1 "
is "forwarded by TCP" "$(short client y.ok.test +tcp)" "192.0.2.1 "
is "TCP stays TCP" "$(asked first '.name == "y.ok.test." and .proto == "tcp"')" 1
is "in the pod's name" "$(asked first ".name == \"x.ok.test.\" and .source == \"${P4[client]}\"")" 2
is "other types" "$(ask client z.txt.test TXT +short +bufsize=1300 | tr -d '"' | cut -d' ' -f1-3)" \
	"proto=udp edns=0 size=1300"
is "no such name" "$(status client nowhere.test)" NXDOMAIN
is "other classes too" "$(status client version.bind TXT CH)" NXDOMAIN
is "its error" "$(status client x.servfail.test)" SERVFAIL
is "its refusal" "$(status client x.refused.test)" REFUSED
is "no zone transfers" "$(status client test AXFR +tcp 2>&1; asked first '.type == "AXFR"')" 0
is "wrong answers do not count" "$(short client x.wrong.test)" "192.0.2.1 "
is "numbers are not the client's" \
	"$(for i in 1 2 3 4; do ask client i$i.ok.test +qid=4711 >/dev/null; done
	asked first '.id == 4711 and (.name | startswith("i"))')" 0
at_least "and not the same twice" "$(grep -h '"i[1-4].ok' "$TMP/app-first.log" | jq .id | sort -u |
	wc -l)" 3
at_least "nor are ports" "$(grep -h '"i[1-4].ok' "$TMP/app-first.log" | jq .port | sort -u |
	wc -l)" 3

# --- long answers
many() { ask client "$@" +noall +answer | grep -c IN; }
is "200 addresses by EDNS" "$(many x.n-200.test +bufsize=4096 +ignore)" 200
is "cut by UDP, whole by TCP" "$(many x.n-200.test +noedns)" 200
like "cut is said" "$(flags client x.n-200.test +noedns +ignore)" 'tc'
like "a server that does not keep to 512 is cut" "$(flags client x.rude-200.test +noedns +ignore)" tc
is "... and asked again by TCP" "$(many x.rude-200.test +noedns)" 200
is "one of 64 KB by TCP" "$(many x.n-4000.test +tcp)" 4000

# --- TCP
peer() { pod_exec "$1" "$PYTHON" "$PEERS/dns_client.py" "${@:2}"; }
is "pipelined: the quick ones first" "$(peer client pipeline x.slow-700.test web.demo x.ok.test |
	jq -c .)" '{"order":["web.demo.","x.ok.test.","x.slow-700.test."],"left":0}'
is "more than may wait" "$(peer client pipeline a.slow-50.test b.slow-50.test c.slow-50.test \
	d.slow-50.test e.slow-50.test f.slow-50.test g.ok.test web | jq .left)" 0
is "byte by byte, then no more" "$(peer client bytewise x.ok.test | jq -c .)" \
	'{"answers":1,"end":true}'

# --- servers that are slow, dead, many
is "slow" "$(short client x.slow-2500.test)" "192.0.2.1 "
is "slow by TCP" "$(short client x.slow-2500.test +tcp)" "192.0.2.1 "
start=$SECONDS
is "never: an error, not silence" "$(status client x.never.test)" SERVFAIL
at_least "after 5 s" $((SECONDS - start)) 4
is "never by TCP" "$(status client x.never.test +tcp)" SERVFAIL
busywait metric_at_least 2 a istio_dns_upstream_failures_total source_canonical_service=client
is "counted" "$(metric a istio_dns_upstream_failures_total source_canonical_service=client)" 2

dns_server second 10.11.0.2
SECOND=$LAST_PID
ip -n "$(node_ns a)" addr add 10.11.0.9/24 dev br0
dns_server dead 10.11.0.9 --silent
servers 10.11.0.9 10.11.0.2
# taken from now on: 10.11.0.9 says nothing, so there is no answer before the second is asked
changed() { [ "$(ask client c$RANDOM.txt.test TXT +short | grep -o 'server=[a-z]*')" = \
	"server=$1" ]; }
check "resolv.conf is read again; the second server after the first" busywait changed second
at_least "the first was asked" "$(asked dead '.name | endswith("txt.test.")')" 1
is "the next time there is an answer" "$(short client d.ok.test)" "192.0.2.1 "
is "... without asking the dead one" "$(asked dead '.name == "d.ok.test."')" 0
servers 10.11.0.3 fd11::1
ip -n "$(node_ns a)" addr add 10.11.0.3/24 dev br0
check "one that is not there, at once; one with IPv6" busywait changed first
kill_app "$SECOND"
dns_server second 10.11.0.2 --rcode SERVFAIL
servers 10.11.0.2 10.11.0.1
check "one that cannot, then one that can" busywait eval 'changed first &&
	[ "$(asked second ".name | endswith(\"txt.test.\")")" -gt 0 ]'
is "by TCP too" "$(short client e.ok.test +tcp)" "192.0.2.1 "
dns_server local 127.0.0.1
servers 127.0.0.1
check "a loopback address is the agent's, not the pod's" busywait changed local
is "... by TCP too" "$(short client f.ok.test +tcp)" "192.0.2.1 "
kill_app "$FIRST"
servers 10.11.0.1
nobody() { [ "$(status client g$RANDOM.ok.test)" = SERVFAIL ]; }
check "nobody there: an error at once" busywait nobody
is "by TCP" "$(status client h.ok.test +tcp)" SERVFAIL
is "the mesh's names go on" "$(short client web.demo)" "10.96.0.1 "
dns_server first 10.11.0.1 fd11::1

# --- which pods, which search domains
policy_of() { pod_document "$1" | sed "s|  annotations:|&\n    $2|" | manifest "pod-$1"; }
outside() { [ -z "$(pod_exec "$1" dig +short +tries=1 +time=1 @10.11.0.1 web.demo)" ]; }
policy_of other 'ambient.istio.io/dns-capture: "false"'
check "a pod that does not want it asks for itself" busywait outside other
is "... its own server" "$(pod_exec other dig +short @10.11.0.1 x.ok.test)" 192.0.2.1
policy_of other 'ambient.istio.io/dns-capture: "true"'
check "and back" busywait becomes other web.demo "10.96.0.1 "
is "domains it does not search" "$(status other web.demo.lab.example)" NXDOMAIN
policy_of other 'ambientd.io/dns-search: lab.example, corp.example'
check "domains of its annotation" busywait becomes other web.demo.corp.example \
	"10.96.0.1 web.demo.svc.cluster.local. "
is "... and no others" "$(status other web.demo.svc.cluster.local.svc.cluster.local)" NXDOMAIN
pod_document other | sed 's|^spec:|&\n  dnsConfig: {searches: [corp.example]}|' | manifest pod-other
check "domains of dnsConfig are besides the usual" busywait becomes other web.demo.cluster.local \
	"10.96.0.1 web.demo.svc.cluster.local. "
is "... the own ones" "$(short other web.corp.example)" "10.96.0.1 web.demo.svc.cluster.local. "
is "domains of the pod's own resolv.conf" "$(short custom web.demo.found.example)" \
	"10.96.0.1 web.demo.svc.cluster.local. "
is "... and no others" "$(status custom web.demo.demo.svc.cluster.local)" NXDOMAIN

# --- switches
udp_listens() { [ -n "$(pod_exec "$1" ss -Hlun "sport = :15053")" ]; }
check "ports of a pod with DNS" udp_listens client
check_fails "no ports where the environment says no" udp_listens server
[ "$CAPTURE" != nft ] || unlike "and no rules" "$(pod_exec server nft list ruleset)" "redirect to :15053"
pod_document server | sed 's|  annotations:|&\n    ambient.istio.io/dns-capture: "true"|' |
	manifest pod-server
check "but a pod's own wish counts" busywait udp_listens server
for bad in foo localhost: 10.0.0.1 localhost:15054; do
	ISTIO_META_DNS_PROXY_ADDR=$bad "$AMBIENTD" --standalone "$MANIFESTS" --node a >"$TMP/bad" 2>&1
	is "ISTIO_META_DNS_PROXY_ADDR=$bad is refused" "$? $(grep -c DNS_PROXY_ADDR "$TMP/bad")" "64 1"
done

# --- telemetry
text=$(metrics a)
for want in \
	'istio_dns_requests_total{request_query_type="a",request_protocol="udp",source_canonical_service="client",source_canonical_revision="latest"} [1-9]' \
	'istio_dns_upstream_requests_total{request_query_type="a",request_protocol="tcp",source_canonical_service="client",.*} [1-9]' \
	'istio_dns_upstream_request_duration_seconds_bucket{request_query_type="txt",.*,le="\+Inf"} [1-9]' \
	'istio_dns_upstream_request_duration_seconds_sum{request_query_type="a",.*} [0-9.]+'; do
	like "metric ${want%%\{*}" "$text" "^${want//\{/\\\{}"
done
log=$(grep -E 'dns.*web\.demo\.svc' "$(agent_log a)" | head -n 1)
like "log line" "$log" 'debug.*dns.*src\.workload="client" src\.namespace="demo" query="a" domain="web\.demo\.svc\.cluster\.local" result="success" endpoints=1'
finish
