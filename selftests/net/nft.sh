#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The interception rules alone, without an agent: what they capture, what they let pass, and that
# nothing is left of them.
#
#   pod client --.            .-- amb-nft listens on 15001 (client), 15006, 15008 (server)
#                br0 (node a)
#   pod server --'            '-- nginx listens on 80 in both
#   pod v4only: IPv6 switched off
. "$(dirname "$0")/../lib.sh"
need_root
need ip nft
NFT_TOOL=$BUILD/selftests/tools/amb-nft
[ -x "$NFT_TOOL" ] || skip_all "needs $NFT_TOOL (make tools)"

nodes a
pod a client
pod a server
pod a v4only v4
C4=${P4[client]} C6=${P6[client]} S4=${P4[server]} S6=${P6[server]}

rules() { "$NFT_TOOL" "$1" "$(pod_nspath "$2")" "${@:3}"; }
listener() {
	pod_spawn "$1" "$NFT_TOOL" listen "$(pod_nspath "$1")" "$2"
	wait_listen "$1" "$2"
}
# one_line POD ADDRESS PORT: connects and prints the line that the other side sends.
one_line() {
	# shellcheck disable=SC2016
	pod_exec "$1" timeout 20 bash -c \
		'exec 3<>"/dev/tcp/$1/$2" && read -r line <&3 && echo "$line"' _ "$2" "$3" 2>&1
}
from() { pod_exec "$1" curl -gsS -m 20 "http://$2/from" 2>&1; }
everything() {
	pod_exec "$1" nft list ruleset
	ip -n "$(pod_ns "$1")" rule show priority 32764
	ip -n "$(pod_ns "$1")" -6 rule show priority 32764 2>/dev/null
	ip -n "$(pod_ns "$1")" route show table 100 2>/dev/null
	ip -n "$(pod_ns "$1")" -6 route show table 100 2>/dev/null
}

http_server server
http_server client
listener client 15001
listener client 15006
listener client 15008
listener server 15006
listener server 15008
is "before: plain connection" "$(from client "$S4")" "$C4"

# --- outbound
check "install in client" rules install client
once=$(everything client)
check "install again" rules install client
is "installing twice is installing once" "$(everything client)" "$once"
is "outbound IPv4 is captured" "$(one_line client "$S4" 80)" "$S4:80"
is "outbound IPv6 is captured" "$(one_line client "$S6" 80)" "[$S6]:80"
is "outbound to a port nobody has is captured" "$(one_line client 10.11.0.99 4242)" \
	"10.11.0.99:4242"
is "outbound to HBONE's port is captured" "$(one_line client "$S4" 15008)" "$S4:15008"
is "to its own address: not captured" "$(from client "$C4")" "$C4"
is "to its own IPv6 address: not captured" "$(from client "[$C6]")" "$C6"
is "to 127.0.0.1: not captured" "$(from client 127.0.0.1)" "127.0.0.1"
is "to ::1: not captured" "$(from client '[::1]')" "::1"
is "the agent's own IPv4 connection leaves" \
	"$(pod_exec client "$NFT_TOOL" dial "$(pod_nspath client)" "$S4:15008")" "$S4:15008"
is "the agent's own IPv6 connection leaves" \
	"$(pod_exec client "$NFT_TOOL" dial "$(pod_nspath client)" "[$S6]:15008")" "[$S6]:15008"

# --- inbound
check "install in server" rules install server
is "remove from client" "$(rules remove client; everything client)" ""
is "removed: nothing is captured" "$(one_line client "$S4" 15008)" "$S4:15008"
is "inbound IPv4 is captured" "$(one_line client "$S4" 80)" "$S4:80"
is "inbound IPv6 is captured" "$(one_line client "$S6" 80)" "[$S6]:80"
is "inbound to a port nobody has is captured" "$(one_line client "$S4" 4242)" "$S4:4242"
# Tunnels are not tracked; a stranger who takes their port as his own must not profit.
check_fails "from port 15008 nobody gets past the capture" \
	pod_exec v4only curl -sf -m 5 --local-port 15008 "http://$S4/from"
is "inbound HBONE arrives as it is" "$(one_line client "$S4" 15008)" "$S4:15008"
is "inbound HBONE over IPv6 arrives as it is" "$(one_line client "$S6" 15008)" "[$S6]:15008"

# Two connections of one port to different places look the same once they are redirected; then the
# kernel gives one of them another port, by chance also HBONE's. Here it is made to.
clash() {
	pod_exec "$1" nft -f - <<-EOF
		table inet clash {
			chain $2 {
				type nat hook $2 priority 100
				meta nfproto ipv4 tcp dport $3 snat ip to $C4:15008
				meta nfproto ipv6 tcp dport $3 snat ip6 to [$C6]:15008
			}
		}
	EOF
}
check "ports clash at the server" clash server input 15006
is "inbound is captured then" "$(one_line client "$S4" 80)" "$S4:80"
is "inbound over IPv6, too" "$(one_line client "$S6" 80)" "[$S6]:80"
pod_exec server nft delete table inet clash
check "install in client" rules install client
check "ports clash at the client" clash client postrouting 15001
is "outbound is captured then" "$(one_line client "$S4" 80)" "$S4:80"
is "outbound over IPv6, too" "$(one_line client "$S6" 80)" "[$S6]:80"
pod_exec client nft delete table inet clash
check "remove from client again" rules remove client

# The agent speaks to the app with the client's address; replies find back to the agent.
spoofed() { # SOURCE TARGET [PORT [SOURCE-PORT]]; with that it is held until $TMP/go is there
	pod_exec server /usr/bin/python3 - "$1" "$2" "${3:-80}" "${4:-0}" "$TMP" <<-'PY'
		import os, socket, sys, time
		source, target, port, source_port, tmp = sys.argv[1:]
		family = socket.AF_INET6 if ":" in target else socket.AF_INET
		s = socket.socket(family)
		s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x539)
		level, option = (socket.IPPROTO_IPV6, 75) if ":" in target else (socket.IPPROTO_IP, 19)
		s.setsockopt(level, option, 1)  # IP_TRANSPARENT
		s.settimeout(20)
		s.bind((source, int(source_port)))
		s.connect((target, int(port)))
		if int(source_port):
		    open(tmp + "/held", "w")
		    while not os.path.exists(tmp + "/go"):
		        time.sleep(0.05)
		s.sendall(b"GET /from HTTP/1.0\r\n\r\n")
		answer = b""
		while chunk := s.recv(4096):
		    answer += chunk
		print(answer.decode().rstrip().splitlines()[-1])
	PY
}
is "the app sees the client's IPv4 address" "$(spoofed "$C4" "$S4")" "$C4"
is "the app sees the client's IPv6 address" "$(spoofed "$C6" "$S6")" "$C6"
check_fails "a port of the app where nobody listens is refused" spoofed "$C4" "$S4" 81
like "at once" "$(spoofed "$C4" "$S4" 81 2>&1)" "Connection refused"
like "by IPv6, too" "$(spoofed "$C6" "$S6" 81 2>&1)" "Connection refused"

# It took a port that the client has not; when he binds it himself he must not wait for nothing.
for pair in "$C4 $S4" "$C6 $S6"; do
	read -r c s <<<"$pair"
	rm -f "$TMP/held" "$TMP/go"
	spoofed "$c" "$s" 80 40123 >"$TMP/late" 2>&1 &
	LEG=$!
	check "a connection of the agent from $c is held" busywait test -e "$TMP/held"
	host=$s
	[[ $s != *:* ]] || host="[$s]"
	pod_exec client curl -gs -m 20 --local-port 40123 "http://$host/from"
	is "a caller from its port is refused" $? 7
	is "not from another one" "$(one_line client "$s" 80)" "$host:80"
	touch "$TMP/go"
	wait "$LEG"
	is "the agent's goes on" "$(cat "$TMP/late")" "$c"
done

# --- kubelet's probes
ip -n "$(node_ns a)" addr add 169.254.7.127/32 dev br0
ip -n "$(node_ns a)" addr add fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128 dev br0 nodad
probe() { node_exec a curl -gsS -m 20 --interface "$1" "http://$2/from" 2>&1; }
is "a probe reaches the app" "$(probe 169.254.7.127 "$S4")" "169.254.7.127"
is "a probe over IPv6 reaches the app" \
	"$(probe fd16:9254:7127:1337:ffff:ffff:ffff:ffff "[$S6]")" \
	"fd16:9254:7127:1337:ffff:ffff:ffff:ffff"

# --- modes
check "install in ingress mode, in place of the other" rules install server ingress
is "ingress mode: inbound is not captured" "$(from client "$S4")" "$C4"
is "ingress mode: outbound would be" \
	"$(pod_exec server nft list ruleset | grep -c 'redirect to :15001')" "2"

check "install for IPv4 only" rules install client ipv4
is "IPv4 only: IPv4 is captured" "$(one_line client "$S4" 80)" "$S4:80"
is "IPv4 only: IPv6 is not" "$(from client "[$S6]")" "$C6"

# echo_dns POD: an UDP and a TCP "DNS proxy" on 15053 of the loopbacks that says who it is.
echo_dns() {
	pod_spawn "$1" /usr/bin/python3 -c '
import socket, threading
def udp(s):
    while True:
        _, who = s.recvfrom(512); s.sendto(b"proxy", who)
def tcp(s):
    while True:
        c, _ = s.accept(); c.sendall(b"proxy\n"); c.close()
for family, address in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
    u = socket.socket(family, socket.SOCK_DGRAM); u.bind((address, 15053))
    t = socket.create_server((address, 15053), family=family)
    for fn, s in (udp, u), (tcp, t):
        threading.Thread(target=fn, args=(s,)).start()
'
	wait_listen "$1" 15053
}
ask() {
	pod_exec client timeout 30 /usr/bin/python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
if len(sys.argv) > 2:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x539)
s.settimeout(0.5 if len(sys.argv) > 2 else 20); s.connect((sys.argv[1], 53)); s.send(b"?")
try:
    print(s.recv(512).decode())
except OSError as e:
    print("no answer")
' "$@" 2>&1
}
check "install with DNS capture" rules install client dns
echo_dns client
is "a DNS query is captured" "$(ask "$S4")" "proxy"
is "a DNS query over IPv6 is captured" "$(ask "$S6")" "proxy"
is "a DNS query over TCP is captured" "$(one_line client "$S4" 53)" "proxy"
is "a DNS query over TCP and IPv6 is captured" "$(one_line client "$S6" 53)" "proxy"
is "the agent's own DNS query leaves" "$(ask "$S4" marked)" "no answer"
check "install without DNS capture" rules install client
is "DNS capture is gone" "$(pod_exec client nft list ruleset | grep -cE ':15053|dport 53')" "0"

# --- where IPv6 is switched off
pod_exec v4only sysctl -qw net.ipv6.conf.all.disable_ipv6=1
check "install without IPv6 in the pod" rules install v4only
listener v4only 15001
is "IPv4 is captured there" "$(one_line v4only "$S4" 80)" "$S4:80"

# --- the end
pod_exec v4only nft add table inet istio-ambient-nat
for p in client server v4only; do
	check "remove from $p" rules remove $p
done
is "nothing is left in client" "$(everything client)" ""
is "nothing is left in server" "$(everything server)" ""
is "somebody else's table stays" "$(everything v4only)" "$(printf '%s\n' \
	'table inet istio-ambient-nat {' '}')"
check "remove where nothing is" rules remove client
like "a namespace that is none is refused" "$("$NFT_TOOL" install /dev/null 2>&1)" \
	"Invalid argument"
# shellcheck disable=SC2016
like "without the right to: a reason" "$(setpriv --inh-caps=-all --bounding-set=-net_admin \
	"$NFT_TOOL" install "$(pod_nspath client)" 2>&1)" "not permitted"
is "a failed install leaves nothing" "$(everything client)" ""
finish
