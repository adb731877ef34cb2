#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# While no agent runs what needs one is refused, or waits for the next (--absent wait); either way
# nothing goes in clear: the router of node b counts what would.
#
#   client (a) ==tunnel== server (b) --clear-- stranger (b)        client --direct-- near (a)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/ways.sh
. "$LIB_DIR/ways.sh"

CAPTURE=ebpf
need_agent
need nginx bpftool tc
nodes a b
pod a client
pod a near
pod b server
pod b stranger
mesh_defaults
for p in client near server; do pod_manifest $p; done
pod_manifest stranger demo stranger "app: stranger, istio.io/dataplane-mode: none"
service_manifest web 10.96.0.1 "app: server" "{name: h, port: 80}"
http_server server 80 hello
http_server near 80 near
http_server stranger 80 stranger
traffic_server server 9000 8
S4=${P4[server]} S6=${P6[server]}

node_exec b nft -f - <<-EOF
	table inet watch {
		counter clear { }
		chain forward {
			type filter hook forward priority 0
			ip saddr ${P4[client]} ip daddr $S4 tcp dport != 15008 counter name clear
			ip6 saddr ${P6[client]} ip6 daddr $S6 tcp dport != 15008 counter name clear
		}
	}
EOF
clear_packets() { node_exec b nft -j "$1" counter inet watch clear | jq '.. | .packets? // empty'; }
is "before: the page in clear" "$(fetch client "http://$S4/")$(fetch client "http://[$S6]/")" hellohello
at_least "and what goes in clear is counted" "$(clear_packets reset)" 6

# One pod has a use of its own for what the filter at its loopback interface needs.
pod_exec near tc qdisc add dev lo clsact
at_lo() { # POD: disciplines, and programs
	pod_exec "$1" tc qdisc show dev lo | grep -o clsact
	pod_exec "$1" tc filter show dev lo ingress | grep -o 'amb_[a-z]*' | sort -u
	return 0
}
has_filter() { [ "$(at_lo "$1" | paste -sd' ')" = "clsact amb_lo" ]; }
dump() { bpftool -j map dump pinned "$(agent_pins "$1")/$2"; }
waiting_set() { dump "$1" amb_meta | jq -r '.[0].formatted.value.flags / 8 % 2 | floor'; }
# Answers of the kernel of node NODE that were held back.
kept() { dump "$1" amb_stat | jq '[.[].formatted | select(.key == 50).values[].value.dropped] | add'; }
more_kept() { [ "$(kept "$1")" -ge "$2" ]; }
asks_again() { # NODE N: waits for N more
	busywait more_kept "$1" $(($(kept "$1") + $2))
}
# ask NAME POD URL: asks for a page, with patience; ends NAME: with which status curl did.
ask() {
	rm -f "$TMP/end-$1"
	pod_spawn "$2" bash -c "curl -gs -m 300 -o $TMP/got-$1 '$3'; echo \$? >$TMP/end-$1.new
		mv $TMP/end-$1.new $TMP/end-$1"
}
unended() { [ ! -e "$TMP/end-$1" ]; }
status_of() { busywait test -e "$TMP/end-$1" && cat "$TMP/end-$1"; }
asking() { [ "$(pod_exec "$1" ss -Htn state syn-sent | wc -l)" -ge "$2" ]; }
page() { # NAME: what it got, once it did
	[ "$(status_of "$1")" = 0 ] && cat "$TMP/got-$1"
}
alone() { # NODE POD [OPTIONS]: its agent, up, and serving the pod
	agent_start "$1" "${@:3}"
	agent_ready "$1"
	wait_enrolled "$2"
}

# --- refused
agents_start
is "with agents: the page, v4 and v6" "$(fetch client "http://$S4/")$(fetch client "http://[$S6]/")" \
	hellohello
is "nothing hangs at the loopback interface" "$(at_lo client)" ""
is "amb_meta says so" "$(waiting_set a)" 0
agent_stop a KILL
check "no agent: refused" denied client "http://$S4/"
check "by IPv6, too" denied client "http://[$S6]/"
agent_stop b KILL
check "no agent there: clear text that nobody has judged is refused" denied stranger "http://$S4/"
check "and tunnels are" denied stranger "http://$S4:15008/"
is "nothing was held back" "$(kept a) $(kept b)" "0 0"

# --- waits
alone b server --absent wait
alone a client --absent wait
wait_enrolled near
check "the next agent has a filter there" has_filter client
check "in each pod" has_filter near
is "and amb_meta says so" "$(waiting_set a)" 1
is "pages come" "$(fetch client "http://$S4/")$(fetch client "http://[$S6]/")" hellohello
check "a port where nobody listens is refused" refused client "http://$S4:4/"
check "within the node it goes direct" busywait turns_direct fetch client "http://${P4[near]}/"
is "with agents nothing is held back" "$(kept a) $(kept b)" "0 0"
opened_before=$(metric b istio_tcp_connections_opened_total reporter=destination \
	connection_security_policy=mutual_tls)

query() { # asks the agent of POD for web's address each second, until it is there
	pod_exec "$1" "$PYTHON" - <<-'PY'
		import socket, struct
		name = b"".join(bytes([len(l)]) + l for l in b"web.demo.svc.cluster.local".split(b".")) + b"\0"
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.connect(("192.0.2.53", 53))
		s.settimeout(1)
		for i in range(120):
		    s.send(struct.pack("!6H", i, 0x100, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1))
		    try:
		        print(socket.inet_ntoa(s.recv(512)[-4:]))
		        break
		    except socket.timeout:
		        pass
	PY
}
agent_stop a KILL
ask one client "http://$S4/"
ask two client "http://[$S6]/"
query client >"$TMP/answer" 2>&1 &
APP_PIDS+=("$!")
QUERY=$!
check "no agent: two are on their way" busywait asking client 2
check "and ask again" asks_again a 6
check "they have not ended" unended one
check "neither has" unended two
is "nor has the query an answer" "$(cat "$TMP/answer")" ""
check "what was decided goes on" fetches client "http://${P4[near]}/"
check "what is not of the mesh, too" fetches client "http://${P4[stranger]}/"
check "a program's own talk is refused as ever" denied client "http://127.0.0.1:15001/"
ask three client "http://$S4/"
check "one more" busywait asking client 3
alone a client --absent wait
is "the next agent: the page" "$(page one)" hello
is "that by IPv6" "$(page two)" hello
is "that asked for last" "$(page three)" hello
wait "$QUERY"
is "and the query's answer" "$(cat "$TMP/answer")" 10.96.0.1
is "all three through tunnels" "$(metric b istio_tcp_connections_opened_total reporter=destination \
	connection_security_policy=mutual_tls)" $((opened_before + 3))
is "not a packet in clear" "$(clear_packets list)" 0

# Killed while it starts
agent_stop a KILL
ask early client "http://$S4/"
check "one more on its way" busywait asking client 1
ended=
for i in 1 5 14 23 32 46 60 80 120 200 300; do
	agent_start a --absent wait
	sleep "$(printf '0.%03d' "$i")"
	# Then an agent that is there has answered.
	! listening client 15001 || break
	agent_stop a KILL
	unended early || ended="$ended $i"
done
agent_stop a KILL
is "an agent that is killed while it starts: it goes on waiting" "$ended" ""
ask late client "http://[$S6]/"
alone a client --absent wait
is "the one that lives brings the page" "$(page early)" hello
is "both pages" "$(page late)" hello

# Ended, by the book
agent_stop a
is "ended without --keep: no filter is left" "$(at_lo client)" ""
is "but the pod's own discipline" "$(at_lo near)" clsact
check "(the pod talks in clear then)" fetches client "http://$S4/"
at_least "(which is counted)" "$(clear_packets reset)" 1
alone a client --absent wait --keep
agent_stop a
ask kept client "http://$S4/"
check "ended with --keep: one waits" busywait asking client 1
alone a client --absent wait
is "until the next agent" "$(page kept)" hello
pod_spawn client bash -c "exec 3<>/dev/tcp/$S4/9000; sleep 1000"
HELD=$LAST_PID
check "a tunnel holds the agent up" busywait pod_exec server sh -c \
	'ss -Htn state established "sport = :9000" | grep -q .'
kill -TERM "${AGENT_PID[a]}"
check "it drains" busywait not_enrolled client
ask drained client "http://$S4/"
check "a new connection waits meanwhile" busywait asking client 1
agent_stop a
is "and is refused in the end" "$(status_of drained)" 7
is "for it does not go in clear" "$(clear_packets list)" 0
kill_app "$HELD"

# --- from outside
agent_stop b KILL
alone b server --absent wait
agent_stop b KILL
ask plain stranger "http://$S4/"
ask plain6 stranger "http://[$S6]/"
node_exec a bash -c "exec 3<>/dev/tcp/$S4/15008; echo \$? >$TMP/tunnel" 2>/dev/null &
APP_PIDS+=("$!")
check "no agent there: clear text that nobody has judged waits" busywait asking stranger 2
check "and asks again" asks_again b 6
check "it has not ended" unended plain
check "a tunnel has not begun" [ ! -e "$TMP/tunnel" ]
alone b server --absent wait
is "the next agent lets them in" "$(page plain)" hello
is "by IPv6, too" "$(page plain6)" hello
check "and the tunnel" busywait grep -qx 0 "$TMP/tunnel"
check "nobody listens on a port" refused stranger "http://$S4:81/"
agent_stop b KILL
is "no agent: what was judged goes on" "$(fetch stranger "http://$S4/")" hello
check "where nobody listens is refused at once" denied stranger "http://$S4:81/"
alone b server

# --- not any more
alone a client --absent wait
check "a filter is there" has_filter client
agent_stop a KILL
alone a client
wait_enrolled near
is "an agent that does not want it takes the filter away" "$(at_lo client)" ""
is "but not the pod's own discipline" "$(at_lo near)" clsact
is "amb_meta says so" "$(waiting_set a)" 0
agent_stop a KILL
check "no agent: refused" denied client "http://$S4/"

# --- removed
alone a client --absent wait
agent_stop a KILL
ask last client "http://$S4/"
check "one waits" busywait asking client 1
clear_packets reset >/dev/null
like "uninstall removes all of it" "$(uninstall a)" "^removed: "
is "the filter too" "$(at_lo client)" ""
is "but for the pod's own discipline" "$(at_lo near)" clsact
is "what waited is refused" "$(status_of last)" 7
is "for it does not go in clear" "$(clear_packets list)" 0
AGENT_EXIT=([a]=0)

# --- where it cannot be
"$AMBIENTD" --standalone "$MANIFESTS" --node a --absent wait --capture nft 2>"$TMP/usage"
is "by rules nothing waits: status 64" $? 64
like "and the reason" "$(cat "$TMP/usage")" "--absent wait .* goes with --capture ebpf"
AMBIENT_ABSENT=hope "$AMBIENTD" --standalone "$MANIFESTS" --node a 2>"$TMP/usage"
is "neither refuse nor wait: status 64" $? 64
like "by its name" "$(cat "$TMP/usage")" "AMBIENT_ABSENT: 'hope' is neither refuse nor wait"
pod_exec near tc qdisc del dev lo clsact
finish
