#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The direct way past a CNI's rules, which stay as they are: identity, policy, telemetry and cuts
# as in pods that programs capture, and all else as the rules have it. The pod remote is of the
# mesh, on a node without agent, and would answer in clear: nobody may ever see its page.
#
#   client, other (mesh, CNI), stranger (no mesh) --> server (mesh, CNI): 80, echo 9000    node a
#   client --nothing--> remote                                                             node b
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/ways.sh
. "$LIB_DIR/ways.sh"

CAPTURE=cni
need_agent
need nginx nsenter iptables-nft iptables-legacy bpftool dig
nodes a b
for p in client other server stranger; do
	pod a $p
done
pod b remote
mesh_defaults
for p in client other server remote; do
	pod_manifest $p
done
pod_manifest stranger demo stranger "app: stranger, istio.io/dataplane-mode: none"
service_manifest web 10.96.0.1,fd96::1 "app: server" "{name: h, port: 8080, targetPort: 80}"
http_server server 80 hello
http_server remote 80 clear
http_server stranger 80 stranger
traffic_server server 9000 8
URL="http://${P4[server]}"
REMOTE="http://${P4[remote]}"
is "nobody is captured: remote answers in clear" "$(fetch client "$REMOTE/")" clear
zds_start a
for p in client other server; do
	cni_rules $p nft
	zds_pod register $p >/dev/null
done
before_client=$(cni_state client) before_server=$(cni_state server)
agent_start a --zds "$(zds_socket a)"
agent_ready a
for p in client other server; do wait_enrolled $p; done
like "capture is the CNI's" "$(ctl a status)" "capture +cni"

# First by a tunnel, then direct
first_by_tunnel
line="src\.identity=\"?$SPIFFE/client.*dst\.addr=${P4[server]}:80 .*dst\.identity=\"?$SPIFFE/server"
check "access log: outbound" wait_log a "$line.*direction=\"outbound\""
check "access log: inbound" wait_log a "$line.*direction=\"inbound\""
is "the application sees the real peer" "$(fetch client "$URL/from")" "${P4[client]}"
check "IPv6 after its first" busywait turns_direct fetch client "http://[${P6[server]}]/"
is "with the real peer" "$(fetch client "http://[${P6[server]}]/from")" "${P6[client]}"
check "v4-mapped" goes_direct fetches client "http://[::ffff:${P4[server]}]/"
check "by the service's address" busywait turns_direct fetch client http://10.96.0.1:8080/
check "by its IPv6 address" busywait turns_direct fetch client "http://[fd96::1]:8080/"
is "the client's rules are as they were" "$(cni_state client)" "$before_client"
is "the server's too" "$(cni_state server)" "$before_server"

# A live one: lists, bytes, and the CNI writes its rules anew under it
check "port 9000 becomes direct" busywait turns_direct echo_once
hold client "${P4[server]}"
check "a connection is held" busywait held 1
check "ctl connections: once for each end, with both identities" busywait live_is 9000 "$(both_ends)"
for flavour in iptables-nft iptables-legacy "iptables-legacy nft" "iptables-nft iptables-legacy" \
	nft; do
	cni_unrule client server
	# shellcheck disable=SC2086
	cni_rules client $flavour
	# shellcheck disable=SC2086
	cni_rules server $flavour
	before_client=$(cni_state client) before_server=$(cni_state server)
	at_least "$flavour: rules that are compared" "$(grep -Ec 'to.*15001' <<<"$before_client")" \
		$((2 * $(wc -w <<<"$flavour")))
	check "$flavour: the held one lives" held 1
	check "$flavour: direct" goes_direct fetches client "$URL/"
	check "$flavour: IPv6" goes_direct fetches client "http://[${P6[server]}]/"
	is "$flavour: in clear from outside of the mesh" "$(fetch stranger "$URL/from")" \
		"${P4[stranger]}"
	is "$flavour: to outside of the mesh" "$(fetch client "http://${P4[stranger]}/")" stranger
	check "$flavour: not in clear to a node without agent" refused client "$REMOTE/"
	like "$flavour: names are answered" "$(pod_exec client dig +short +tries=1 \
		"@${P4[stranger]}" web.demo.svc.cluster.local)" "^10\.96\.0\.1$"
	is "$flavour: the client's rules are as they were" "$(cni_state client)" "$before_client"
	is "$flavour: the server's too" "$(cni_state server)" "$before_server"
done
check "the held one moved all the time" busywait grows "$(bytes)"
is "plaintext from outside is told of by the agent alone" \
	"$(ctl a connections -o json | jq '[.[] | select(.way == "passthrough")] | length')" 0

# kubelet's probes
ip -n "$(node_ns a)" addr add 169.254.7.127/32 dev br0
pod_exec server ip route add 169.254.7.127/32 dev eth0
probe() { node_exec a curl -s -m 20 --interface 169.254.7.127 "$1"; }
is "a probe reaches the application" "$(probe "$URL/from")" 169.254.7.127

# Policy
policy cut DENY "app: server" "$(from_principal cluster.local/ns/demo/sa/other)"
wait_policy a cut
check "a policy against others leaves it alone" held 1
check "others are refused" busywait denied other "$URL/"
policy_cuts
manifest_remove policy-cut
wait_no_policy a cut
check "without the policy it is direct again" busywait turns_direct fetch client "$URL/"
strict STRICT
check "STRICT refuses the stranger" busywait refused stranger "$URL/"
check "who is not refused by what is direct" busywait turns_direct fetch client "$URL/"
manifest_remove peerauth
check "and lets him in again" busywait fetches stranger "$URL/"

# Sockets with marks of their own, and sockets that connect twice
SOCKET='import ctypes, socket, sys
def page(s, host):
    s.settimeout(20)
    s.connect((host, 80))
    s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    data = b""
    while (some := s.recv(4096)):
        data += some
    return data.decode().splitlines()[-1]
s = socket.socket()
'
MARKED="$SOCKET"'s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, int(sys.argv[2]))
print(page(s, sys.argv[1]), s.getsockopt(socket.SOL_SOCKET, socket.SO_MARK))'
from=$(opened source node_local)
is "a mark of the application stays" "$(pod_exec client "$PYTHON" -c "$MARKED" "${P4[server]}" 7)" \
	"hello 7"
is "and has its connection tunnelled" "$(opened source node_local)" "$from"
AGAIN="$SOCKET"'print(page(s, sys.argv[1]))
ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16)
try:
    print(page(s, sys.argv[2]))
except (OSError, IndexError):
    print("refused", s.getsockopt(socket.SOL_SOCKET, socket.SO_MARK))'
again() { pod_exec client "$PYTHON" -c "$AGAIN" "${P4[server]}" "$1"; }
is "a socket that was direct and connects to the mesh elsewhere is not in clear" \
	"$(again "${P4[remote]}" | tr '\n' ' ')" "hello refused 0 "
is "to outside of the mesh it gets there" "$(again "${P4[stranger]}" | tr '\n' ' ')" \
	"hello stranger "
# Without the program there is nothing to undo a mark; here somebody sets it by himself.
is "our mark alone opens nothing" "$(pod_exec client "$PYTHON" -c "$MARKED" "${P4[remote]}" \
	$((0x13a)) 2>&1 | grep -c clear)" 0
LISTENER='import socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x42)
s.bind(("0.0.0.0", 7000)); s.listen()
while True:
    c, _ = s.accept(); c.recv(1000); c.sendall(b"HTTP/1.0 200 OK\r\n\r\nmarked\n"); c.close()'
pod_spawn server "$PYTHON" -c "$LISTENER"
wait_listen server 7000
check "a listener with a mark of its own" busywait turns_direct fetch client "$URL:7000/"
is "answers" "$(fetch client "$URL:7000/")" marked

# Who takes the pod's share away has his connections carried by the agent, not in clear or astray
check "port 9000 is direct" busywait turns_direct echo_once
pod_exec server tc qdisc del dev eth0 clsact
hold client "${P4[server]}"
check "without the filter in the server: by the agent" busywait eval \
	'[ "$(pod_exec server ss -Htn state established "sport = :15006" | wc -l)" = 1 ]'
check "to the application" busywait eval \
	'[ -n "$(pod_exec server ss -Htn state established "dport = :9000")" ]'
is "as the client's" "$(fetch client "$URL/from")" "${P4[client]}"
kill_app "$HELD"
pod_exec client nft delete table inet ambientd-direct
check "without the table in the client: by tunnel" goes mutual_tls fetches client "$URL/"

# Addresses
spoofed() { bpftool -j map dump pinned "$(agent_pins a)/amb_stat" |
	jq '[.[] | .formatted | select(.key == 42) | .values[].value.dropped] | add'; }
more_spoofed() { [ "$(spoofed)" -gt "$1" ]; }
SPOOF='import socket, struct, sys
src, dst = map(socket.inet_aton, sys.argv[1:3])
mac = bytes.fromhex(sys.argv[3].replace(":", ""))
def checksum(b):
    n = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    n = (n >> 16) + (n & 0xffff)
    return 0xffff ^ (n + (n >> 16))
tcp = struct.pack("!HHLLBBHHH", 40000, 80, 1, 0, 0x50, 2, 64000, 0, 0)
c = checksum(src + dst + struct.pack("!HH", 6, len(tcp)) + tcp)
tcp = tcp[:16] + struct.pack("!H", c) + tcp[18:]
ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0) + src + dst
ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
s.send(mac + s.getsockname()[4] + b"\x08\x00" + ip + tcp)'
mac=$(pod_exec server cat /sys/class/net/eth0/address)
spoof() { pod_exec other "$PYTHON" -c "$SPOOF" "$1" "${P4[server]}" "$mac"; }
before=$(spoofed)
spoof "${P4[client]}"
check "a pod that speaks with another's address is not heard" busywait more_spoofed "$before"
before=$(spoofed)
spoof "${P4[other]}"
is "with its own it is" "$(spoofed)" "$before"

# Gone from the mesh, not from the node
is "a delete" "$(zds a do=del uid=uid-other)" '{"answers": [{"answer": ""}]}'
check "is obeyed" not_enrolled other
is "nothing is left there" "$(ours_beside other)" ""
agent_stop a
for p in client server; do
	is "the agent ends: nothing is left in $p" "$(ours_beside $p)" ""
done
is "and the client's rules are as they were" "$(cni_state client)" "$before_client"
is "the server's too" "$(cni_state server)" "$before_server"
cni_unrule client server other
finish
