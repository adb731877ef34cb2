# SPDX-License-Identifier: GPL-2.0-or-later
# Shared by all namespace tests, the demo and the bench: a topology of nodes and pods made of
# network namespaces, agents on the nodes, TAP output, and the proof that nothing is left.
#
#   pod (netns)       pod             node (netns)           node              pod
#   10.11.0.10 --eth0--br0--------.  .-----------------.  .--------br0--eth0-- 10.12.0.10
#   fd11::10   --eth0--'   node a |--| 10.10.0.1  .0.2 |--| node b   '--eth0-- ...
#
# A test sources this file, builds what it needs and checks:
#
#   . "$(dirname "$0")/../lib.sh"
#   nodes a b
#   pod a client; pod b server
#   mesh_defaults; pod_manifest client; pod_manifest server
#   agents_start
#   check "curl gets the page" pod_exec client curl -sf "http://${P4[server]}/"
#   finish
#
# Every name begins with $RUN, by default made of the pid, so tests run side by side. The exit
# trap removes processes, namespaces and files whatever happened. All traffic of a pod uses cubic
# by its routes (kernel-facts 3: hosts that default to bbr are slow on veth), nothing of the host
# is changed.

set -uo pipefail
shopt -s extglob

LIB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(cd "$LIB_DIR/.." && pwd)
BUILD=${AMB_BUILD:-$TOP/build}
AMBIENTD=${AMBIENTD:-$BUILD/ambientd}
AMBIENTCTL=${AMBIENTCTL:-$BUILD/ambientctl}
TRAFFIC=${TRAFFIC:-$BUILD/selftests/tools/amb-traffic}
PEERS=$LIB_DIR/peers
# The distribution's python, which has the distribution's h2.
PYTHON=${PYTHON:-/usr/bin/python3}
# How agents capture: ebpf, nft, or what they find best.
CAPTURE=${CAPTURE:-}
# What to run the agents under, for instance "valgrind -q".
AMB_WRAP=${AMB_WRAP:-}
# Waits are long enough for a loaded machine under a sanitizer; they end when the condition holds.
DEADLINE=${DEADLINE:-60}
KSFT_SKIP=4

RUN=${RUN:-amb$$}
TMP=$(mktemp -d "/tmp/$RUN.XXXXXX")
MANIFESTS=$TMP/manifests
CA=$TMP/ca
mkdir -p "$MANIFESTS" "$TMP/stage"

declare -A P4=() P6=() NODE_OF=() NODE_NUMBER=() NODE_NEXT=() AGENT_PID=() AGENT_EXIT=()
declare -a NODES=() PODS=() APP_PIDS=() NETNS_INODES=()
AGENT_BAD=
FINISHED=0

# shellcheck source=selftests/tap.sh
. "$LIB_DIR/tap.sh"
# shellcheck source=selftests/left
. "$LIB_DIR/left"

# The whole file cannot run here.
skip_all() {
	FINISHED=1
	echo "1..0 # SKIP $*"
	exit $KSFT_SKIP
}

bail() {
	diag "cannot go on: $*"
	not_ok "$*"
	finish
}

# busywait COMMAND...: until it succeeds; fails after $DEADLINE seconds.
busywait() {
	local end=$((SECONDS + DEADLINE))
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

# --- topology --------------------------------------------------------------------------------

# need_python MODULE...
need_python() {
	local modules="$*"
	"$PYTHON" -c "import ${modules// /, }" 2>/dev/null || skip_all "needs python3 with ${modules// /, }"
}

need_root() { [ "$(id -u)" -eq 0 ] || skip_all "needs root"; }

need() {
	local c

	for c in "$@"; do
		command -v "$c" >/dev/null || skip_all "needs $c"
	done
}

need_agent() {
	need_root
	need ip nft jq curl
	[ -x "$AMBIENTD" ] && [ -x "$AMBIENTCTL" ] || skip_all "needs a build (make)"
}

node_ns() { echo "$RUN-n-$1"; }
pod_ns() { echo "$RUN-p-$1"; }
pod_nspath() { echo "/run/netns/$(pod_ns "$1")"; }

netns_add() {
	ip netns add "$1" || bail "cannot create network namespace $1"
	NETNS_INODES+=("$(stat -Lc %i "/run/netns/$1")")
	ip -n "$1" link set lo up
	ip netns exec "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
		net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
		net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
}

# nodes NAME [NAME]: one node, or two joined by a link (eth0 of each). Again for more pairs, which
# do not reach each other.
nodes() {
	local n i=${#NODES[@]} h before ns

	need_root
	for n in "$@"; do
		i=$((i + 1))
		before=${h:-}
		printf -v h %x $i
		NODES+=("$n")
		NODE_NUMBER[$n]=$i
		NODE_NEXT[$n]=10
		ns=$(node_ns "$n")
		netns_add "$ns"
		ip -n "$ns" link add br0 type bridge
		ip -n "$ns" addr add "10.1$i.0.1/24" dev br0
		ip -n "$ns" addr add "fd1$h::1/64" dev br0 nodad
		ip -n "$ns" link set br0 up
	done
	[ $# -eq 2 ] || return 0
	local a b l=$((i - 2))
	a=$(node_ns "$1") b=$(node_ns "$2")
	ip -n "$a" link add eth0 type veth peer name eth0 netns "$b"
	ip -n "$a" addr add 10.10.$l.1/24 dev eth0
	ip -n "$b" addr add 10.10.$l.2/24 dev eth0
	ip -n "$a" addr add fd10:$l::1/64 dev eth0 nodad
	ip -n "$b" addr add fd10:$l::2/64 dev eth0 nodad
	ip -n "$a" link set eth0 up
	ip -n "$b" link set eth0 up
	ip -n "$a" route add 10.1$i.0.0/24 via 10.10.$l.2
	ip -n "$b" route add 10.1$((i - 1)).0.0/24 via 10.10.$l.1
	ip -n "$a" -6 route add fd1$h::/64 via fd10:$l::2
	ip -n "$b" -6 route add fd1$before::/64 via fd10:$l::1
}

# pod NODE NAME [v4|v6|dual]: a namespace with eth0 on the node's bridge.
pod() {
	local node=$1 name=$2 families=${3:-dual} ns nodens i h n
	i=${NODE_NUMBER[$node]} n=${NODE_NEXT[$node]}
	printf -v h %x "$i"
	NODE_NEXT[$node]=$((n + 1))
	ns=$(pod_ns "$name") nodens=$(node_ns "$node")
	PODS+=("$name")
	NODE_OF[$name]=$node
	netns_add "$ns"
	ip -n "$ns" link add eth0 type veth peer name "v$n" netns "$nodens"
	ip -n "$nodens" link set "v$n" master br0 up
	ip -n "$ns" link set eth0 up
	if [ "$families" != v6 ]; then
		P4[$name]=10.1$i.0.$n
		# No connected route, so that each route can name the congestion control.
		ip -n "$ns" addr add "${P4[$name]}/32" dev eth0
		ip -n "$ns" route add "10.1$i.0.0/24" dev eth0 src "${P4[$name]}" congctl cubic
		ip -n "$ns" route add default via "10.1$i.0.1" src "${P4[$name]}" congctl cubic
	fi
	if [ "$families" != v4 ]; then
		P6[$name]=fd1$h::$n
		ip -n "$ns" addr add "${P6[$name]}/128" dev eth0 nodad
		ip -n "$ns" -6 route add "fd1$h::/64" dev eth0 src "${P6[$name]}" congctl cubic
		ip -n "$ns" -6 route add default via "fd1$h::1" src "${P6[$name]}" congctl cubic
	fi
}

pod_exec() {
	local ns
	ns=$(pod_ns "$1")
	shift
	ip netns exec "$ns" "$@"
}

node_exec() {
	local ns
	ns=$(node_ns "$1")
	shift
	ip netns exec "$ns" "$@"
}

# pod_spawn POD COMMAND...: in the background, ended by the exit trap; LAST_PID tells the pid.
pod_spawn() {
	local name=$1
	shift
	ip netns exec "$(pod_ns "$name")" "$@" >>"$TMP/app-$name.log" 2>&1 &
	LAST_PID=$!
	APP_PIDS+=("$LAST_PID")
}

# kill_app PID: ends what pod_spawn started, and waits for it.
kill_app() {
	kill -TERM "$1" 2>/dev/null
	wait "$1" 2>/dev/null
	return 0
}

listening() { [ -n "$(ip netns exec "$(pod_ns "$1")" ss -Hltn "sport = :$2")" ]; }

# wait_listen POD PORT
wait_listen() { busywait listening "$1" "$2" || bail "nothing listens on port $2 of pod $1"; }

# http_server POD [PORT] [TEXT]: answers GET / with TEXT (by default the pod's name), /from with
# the caller's address, /heard with what the header x-mesh-client says.
http_server() {
	local name=$1 port=${2:-80} text=${3:-$1} dir
	dir=$TMP/http-$name-$port
	mkdir -p "$dir/html"
	printf '%s\n' "$text" >"$dir/html/index.html"
	cat >"$dir/nginx.conf" <<-CONF
		daemon off; master_process off; pid $dir/pid; error_log $dir/error.log warn;
		events { worker_connections 4096; }
		http {
			access_log $dir/access.log; sendfile on; tcp_nodelay on;
			keepalive_requests 100000000; keepalive_timeout 3600s;
			client_body_temp_path $dir; proxy_temp_path $dir; fastcgi_temp_path $dir;
			uwsgi_temp_path $dir; scgi_temp_path $dir;
			server {
				listen $port reuseport; $([ -n "${P6[$name]:-}" ] &&
					echo "listen [::]:$port reuseport ipv6only=on;")
				root $dir/html;
				location = /from { return 200 "\$remote_addr\n"; }
				location = /heard { return 200 "\$http_x_mesh_client\n"; }
			}
		}
	CONF
	pod_spawn "$name" nginx -e "$dir/error.log" -p "$dir" -c "$dir/nginx.conf"
	wait_listen "$name" "$port"
}

# traffic_server POD [PORT]: amb-traffic's server on PORT (echo), +1 (sink), +2 (once), +3 (hold).
traffic_server() {
	[ -x "$TRAFFIC" ] || skip_all "needs $TRAFFIC (make tools)"
	pod_spawn "$1" "$TRAFFIC" server --port "${2:-9000}" --threads "${3:-32}" "${@:4}"
	wait_listen "$1" $((${2:-9000} + 3))
}

# module_count NODE NAME: a counter of hbone.ko in the node's namespace.
module_count() { node_exec "$1" awk -v n="$2" '$1 == n { print $2 }' /proc/net/hbone_stat; }

# held N: so many connections to port 9000 of pod server are open there; held_min N: or more.
connections_held() { pod_exec server ss -Htn state established "sport = :9000" | wc -l; }
held() { [ "$(connections_held)" -eq "$1" ]; }
held_min() { [ "$(connections_held)" -ge "$1" ]; }

# traffic_result POD CASE FILTER: of what amb-traffic said in the end.
traffic_result() { grep -h "\"$2\"" "$TMP/app-$1.log" | jq -r "$3"; }
# traffic_gaps POD PID: of amb-traffic rr there, "MEDIAN WORST" of what its connections have waited for
# a round trip at most since they were asked before, in milliseconds.
gaps_told() { [ "$(grep -c '"gaps"' "$TMP/app-$1.log")" -gt "$2" ]; }
traffic_gaps() {
	local told
	told=$(grep -c '"gaps"' "$TMP/app-$1.log")
	kill -USR1 "$2" && busywait gaps_told "$1" "$told" || return
	traffic_result "$1" gaps '.longest_us | sort | map(. / 100 | round / 10) | "\(.[length / 2 | floor]) \(.[-1])"' |
		tail -n 1
}
# load_start POD ADDRESS [ADDRESS]: held connections and new ones (to the second address) all the
# time, until load_end POD, which checks that none failed and that they were many.
declare -A LOAD=()
load_start() {
	pod_spawn "$1" "$TRAFFIC" rr -t 2 -s 3600 "$2"
	LOAD[$1]=$LAST_PID
	pod_spawn "$1" "$TRAFFIC" crr -t 2 -s 3600 "${3:-$2}"
	LOAD[$1]+=" $LAST_PID"
}
load_end() {
	local p
	for p in ${LOAD[$1]}; do kill_app "$p"; done
	is "held connections had no error" "$(traffic_result "$1" rr '"\(.errors) \(.error // "")"')" "0 "
	is "new connections had no error" "$(traffic_result "$1" crr '"\(.errors) \(.error // "")"')" "0 "
	at_least "both were many" "$(traffic_result "$1" rr .count)" 100
	at_least "new ones too" "$(traffic_result "$1" crr .count)" 100
}

# --- manifests -------------------------------------------------------------------------------

# manifest NAME: standard input becomes NAME.yaml, whole or not at all.
manifest() {
	cat >"$TMP/stage/$1" && mv "$TMP/stage/$1" "$MANIFESTS/$1.yaml"
}

manifest_remove() { rm -f "$MANIFESTS/$1.yaml"; }

# The namespace "demo", in the mesh.
mesh_defaults() {
	manifest 00-namespace <<-YAML
		apiVersion: v1
		kind: Namespace
		metadata:
		  name: demo
		  labels:
		    istio.io/dataplane-mode: ambient
	YAML
}

# pod_document POD [NAMESPACE] [SERVICE-ACCOUNT] [LABELS] [PORTS]: the Pod as YAML.
# LABELS and PORTS in flow form: "app: web, tier: front" and "{name: http, containerPort: 80}".
pod_document() {
	local name=$1 ns=${2:-demo} sa=${3:-$1} labels=${4:-app: $1} ports=${5:-} ips=
	[ -z "${P4[$name]:-}" ] || ips="{ip: ${P4[$name]}}"
	[ -z "${P6[$name]:-}" ] || ips="${ips:+$ips, }{ip: \"${P6[$name]}\"}"
	cat <<-YAML
		apiVersion: v1
		kind: Pod
		metadata:
		  name: $name
		  namespace: $ns
		  labels: {$labels}
		  annotations:
		    ambientd.io/netns: $(pod_nspath "$name")
		spec:
		  nodeName: ${NODE_OF[$name]}
		  serviceAccountName: $sa
		  containers:
		  - name: main
		    ports: [$ports]
		status:
		  phase: Running
		  podIP: ${P4[$name]:-${P6[$name]:-}}
		  podIPs: [$ips]
		  conditions: [{type: Ready, status: "True"}]
	YAML
}

# pod_manifest: as pod_document, written to pod-NAME.yaml.
pod_manifest() { pod_document "$@" | manifest "pod-$1"; }

# service_manifest NAME VIP[,VIP6] SELECTOR PORTS [NAMESPACE] [EXTRA-SPEC-LINES], PORTS in flow
# form: "{name: http, port: 80, targetPort: 8080}".
service_manifest() {
	local name=$1 vips=$2 selector=$3 ports=$4 ns=${5:-demo} extra=${6:-}
	manifest "service-$name" <<-YAML
		apiVersion: v1
		kind: Service
		metadata:
		  name: $name
		  namespace: $ns
		spec:
		  clusterIP: "${vips%%,*}"
		  clusterIPs: [$(sed 's/[^,]*/"&"/g; s/,/, /g' <<<"$vips")]
		  selector: {$selector}
		  ports: [$ports]
		$extra
	YAML
}

# --- agents ----------------------------------------------------------------------------------

ca_init() {
	local n

	"$AMBIENTCTL" ca init "$CA" >>"$TMP/ca.log" 2>&1 ||
		bail "ambientctl ca init: $(tail -n 1 "$TMP/ca.log")"
	for n in "${NODES[@]}"; do
		"$AMBIENTCTL" ca node "$CA" "$n" >>"$TMP/ca.log" 2>&1 ||
			bail "ambientctl ca node $n: $(tail -n 1 "$TMP/ca.log")"
	done
}

agent_socket() { echo "$TMP/run-$1/ambientd.sock"; }
agent_log() { echo "$TMP/agent-$1.log"; }
# Each test has a bpffs of its own, so that tests and agents run side by side.
agent_pins() { echo "$TMP/bpf/$1"; }
pins_mount() {
	mountpoint -q "$TMP/bpf" || { mkdir -p "$TMP/bpf" && mount -t bpf bpf "$TMP/bpf"; }
}

# agent_start NODE [OPTIONS]: does not wait; see agent_ready.
agent_start() {
	local node=$1
	shift
	[ -d "$CA" ] || ca_init
	mkdir -p "$TMP/run-$node"
	# Leak checkers trace their own process, which the agent forbids itself otherwise.
	[ -z "${AMB_SANITIZED:-}$AMB_WRAP" ] || set -- --privileged "$@"
	pins_mount
	# Not by `ip netns exec`: that hides cgroups and bpffs of the host.
	# shellcheck disable=SC2086
	nsenter --net="/run/netns/$(node_ns "$node")" $AMB_WRAP "$AMBIENTD" \
		--standalone "$MANIFESTS" --node "$node" --ca "$CA" \
		--socket "$(agent_socket "$node")" --bpf-dir "$(agent_pins "$node")" \
		${CAPTURE:+--capture "$CAPTURE"} "$@" >>"$(agent_log "$node")" 2>&1 &
	AGENT_PID[$node]=$!
}

# Without curl, which takes an emulated CPU half a second to begin.
ready() {
	node_exec "$1" bash -c 'exec 3<>/dev/tcp/127.0.0.1/15021 &&
		printf "GET /healthz/ready HTTP/1.1\r\nHost: x\r\n\r\n" >&3 &&
		read -rt 20 -u 3 _ code _ && [ "$code" = 200 ]' 2>/dev/null
}

agent_ready() {
	local n
	for n in "$@"; do
		if ! busywait ready_or_dead "$n" || ! kill -0 "${AGENT_PID[$n]}" 2>/dev/null; then
			diag "$(tail -n 20 "$(agent_log "$n")" 2>/dev/null)"
			bail "agent of node $n does not become ready"
		fi
	done
}

ready_or_dead() { ready "$1" || ! kill -0 "${AGENT_PID[$1]}"; }

# All nodes, waited for.
agents_start() {
	local n
	for n in "${NODES[@]}"; do
		agent_start "$n" "$@"
	done
	agent_ready "${NODES[@]}"
	local p
	for p in "${PODS[@]}"; do
		[ -f "$MANIFESTS/pod-$p.yaml" ] || continue
		grep -q "dataplane-mode: none" "$MANIFESTS/pod-$p.yaml" && continue
		wait_enrolled "$p"
	done
}

# The agent listens in the pod: the pod is in the mesh.
enrolled() { listening "$1" 15001 && listening "$1" 15008; }
wait_enrolled() { busywait enrolled "$1" || bail "pod $1 is not enrolled"; }
not_enrolled() { ! listening "$1" 15001 && ! listening "$1" 15008; }

# agent_settled NODE: its start is over, and the memory of that given back (main.c, SETTLED_NS).
agent_settled() { [ "$(ps -o etimes= -p "${AGENT_PID[$1]}")" -ge 5 ]; }

# agent_stop NODE [SIGNAL]: AGENT_EXIT[NODE] is its exit status.
agent_stop() {
	local node=$1 pid=${AGENT_PID[$1]:-}
	[ -n "$pid" ] || return 0
	kill "-${2:-TERM}" "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	AGENT_EXIT[$node]=$?
	case ${2:-TERM}:${AGENT_EXIT[$node]} in
	TERM:0 | KILL:137) ;;
	*) AGENT_BAD="$AGENT_BAD $node(exit status ${AGENT_EXIT[$node]} after ${2:-TERM})" ;;
	esac
	unset "AGENT_PID[$node]"
}

# at_work NODE: of 20 looks at the agent, how many found a thread that runs or wants to. One that
# spins always does, however little of the CPU it gets.
at_work() {
	local i n=0
	for i in {1..20}; do
		! grep -qs '^State:.R' /proc/"${AGENT_PID[$1]}"/task/*/status || n=$((n + 1))
		sleep 0.05
	done
	echo $n
}

# ctl NODE COMMAND...: ambientctl, asking the agent of that node.
ctl() {
	"$AMBIENTCTL" "$2" --socket "$(agent_socket "$1")" "${@:3}"
}

# uninstall NODE: `ambientctl uninstall` in the agent's namespace, as on a real host, and with eyes
# for this test's namespaces only: it looks everywhere, and other tests run beside this one.
uninstall() {
	nsenter --net="/run/netns/$(node_ns "$1")" unshare --mount --pid --fork --mount-proc bash -c '
		run=$1; shift
		mkdir "$0/only"
		for n in /run/netns/$run-*; do
			touch "$0/only/${n##*/}" && mount --bind "$n" "$0/only/${n##*/}"
		done
		mount --rbind "$0/only" /run/netns
		"$@"; status=$?
		umount -R /run/netns; umount "$0"/only/*; rm -r "$0/only"
		exit $status' "$TMP" "$RUN" "$AMBIENTCTL" uninstall --bpf-dir "$(agent_pins "$1")" 2>&1
}

# Waits until the log of NODE has a line that matches, from line FROM on.
log_has() { grep -Eq -- "$2" <(tail -n "+${3:-1}" "$(agent_log "$1")"); }
# log_lines NODE: the number of its next line.
log_lines() { echo $(($(wc -l <"$(agent_log "$1")") + 1)); }
wait_log() { busywait log_has "$@"; }

metrics() { node_exec "$1" curl -sf -m 20 http://127.0.0.1:15020/metrics; }
config_dump() { node_exec "$1" curl -sf -m 20 http://127.0.0.1:15000/config_dump; }

# certificate NODE ACCOUNT FILTER: of the present certificate of demo's service account.
certificate() {
	config_dump "$1" | jq -r --arg id "$SPIFFE/$2" \
		".certificates[] | select(.identity == \$id) | $3"
}
serial() { certificate "$1" "$2" '.certChain[0].serialNumber // empty'; }
# roots NODE ACCOUNT: the serial numbers of what it trusts. n_roots N: client on node a and server on
# node b trust so many.
roots() { certificate "$1" "$2" '[.rootCerts[].serialNumber] | sort | join(" ")'; }
n_roots() { [ "$(roots a client | wc -w)" = "$1" ] && [ "$(roots b server | wc -w)" = "$1" ]; }
# differs OLD COMMAND...: it prints something, and that is another thing.
differs() {
	local now
	now=$("${@:2}")
	[ -n "$now" ] && [ "$now" != "$1" ]
}

# metric NODE NAME [LABEL=VALUE]...: sum over the series that have all the labels; 0 for none.
# Nothing where nobody answers.
metric() {
	local node=$1 name=$2 text l
	shift 2
	text=$(metrics "$node") || return 1
	text=$(grep -E "^$name(\{| )" <<<"$text")
	for l in "$@"; do
		text=$(grep -F "${l%%=*}=\"${l#*=}\"" <<<"$text")
	done
	awk '{ s += $NF } END { print s + 0 }' <<<"$text"
}

metric_at_least() { awk -v a="$(metric "${@:2}")" -v b="$1" 'BEGIN { exit !(a >= b) }'; }

# --- ready-made ------------------------------------------------------------------------------

# Two nodes; pods client on a and server on b, both of the mesh, nginx on the server. No agents.
two_pods_alone() {
	need_agent
	need nginx
	nodes a b
	pod a client
	pod b server
	mesh_defaults
	pod_manifest client
	pod_manifest server
	http_server server 80 hello
}

# The same with agents; stranger on a is outside of the mesh.
two_pods() {
	two_pods_alone
	pod a stranger
	pod_manifest stranger demo stranger "app: stranger, istio.io/dataplane-mode: none"
	agents_start "$@"
}

# policy NAME ACTION SELECTOR-LABELS RULES-YAML [ANNOTATIONS]: an AuthorizationPolicy of demo.
policy() {
	manifest "policy-$1" <<-YAML
		apiVersion: security.istio.io/v1
		kind: AuthorizationPolicy
		metadata:
		  name: $1
		  namespace: demo
		  annotations: {${5:-}}
		spec:
		  ${3:+selector: {matchLabels: {$3\}\}}
		  action: $2
		  rules: $4
	YAML
}

from_principal() { echo "[{from: [{source: {principals: [\"$1\"]}}]}]"; }
SPIFFE=spiffe://cluster.local/ns/demo/sa

# What curl of POD gets from URL; empty when it is refused, which is at once: the time limit is for
# machines that stand still now and then.
fetch() { pod_exec "$1" curl -s -m "${3:-20}" "$2"; }
fetches() { [ -n "$(fetch "$@")" ]; }
refused() { [ -z "$(fetch "$@")" ]; }

# Policies take effect a moment after the file is written.
wait_policy() { busywait has_policy "$@" || bail "node $1 does not hear of policy $2"; }
has_policy() { config_dump "$1" | jq -e --arg n "$2" '[.policies[].name] | index($n)' >/dev/null; }
has_no_policy() { config_dump "$1" | jq -e --arg n "$2" 'all(.policies[]?; .name != $n)' >/dev/null; }
wait_no_policy() { busywait has_no_policy "$@" || bail "node $1 still has policy $2"; }

need_peers() { need_python h2 cryptography; }

# Foreign peers get their certificates from the mesh's own CA.
peer_ca() {
	PEER_CA=(--issuer "$CA/root.key" --roots "$CA/root.pem")
}

# hbone_client POD OPTIONS...: prints its JSON.
hbone_client() {
	local name=$1
	shift
	peer_ca
	pod_exec "$name" "$PYTHON" "$PEERS/hbone_client.py" "${PEER_CA[@]}" "$@"
}

# hbone_key_update POD: to the echo server of pod "server", through changes of keys; prints JSON.
hbone_key_update() {
	peer_ca
	pod_exec "$1" "$PYTHON" "$PEERS/key_update.py" "${PEER_CA[@]}" --to "${P4[server]}" \
		--authority "${P4[server]}:9000" --id "$SPIFFE/$1" --timeout "$DEADLINE"
}

# hbone_server POD OPTIONS...: in the background; what it tells is in its log.
hbone_server() {
	local name=$1
	shift
	peer_ca
	pod_spawn "$name" "$PYTHON" "$PEERS/hbone_server.py" "${PEER_CA[@]}" "$@"
	wait_listen "$name" 15008
}
peer_log() { grep -h '^{' "$TMP/app-$1.log"; }

# --- a CNI -----------------------------------------------------------------------------------

# zds_start NODE...: a CNI for each, which speaks ZDS at zds_socket NODE (peers/zds_server.py).
zds_socket() { echo "$TMP/zds-$1"; }
zds_start() {
	local n
	for n in "$@"; do
		"$PYTHON" "$PEERS/zds_server.py" serve "$(zds_socket "$n")" >>"$TMP/app-zds-$n.log" 2>&1 &
		APP_PIDS+=($!)
	done
	for n in "$@"; do
		busywait test -S "$(zds_socket "$n").ctl" || bail "the CNI of node $n does not come up"
	done
}

# zds NODE KEY=VALUE...: tells the CNI what to do, prints its answer.
zds() { "$PYTHON" "$PEERS/zds_server.py" ask "$(zds_socket "$1")" "${@:2}"; }

# zds_pod COMMAND POD [UID]: "add" and "register" of a pod of namespace demo.
zds_pod() {
	zds "${NODE_OF[$2]}" do="$1" uid="${3:-uid-$2}" ns=demo name="$2" sa="$2" \
		netns="$(pod_nspath "$2")"
}

# cni_rules POD FLAVOUR... [--ingress] [--no-dns]: istio-cni's rules; cni_unrule POD...
cni_rules() {
	local f options=() flavours=()
	for f in "${@:2}"; do
		[[ $f == --* ]] && options+=("$f") || flavours+=("$f")
	done
	for f in "${flavours[@]}"; do
		"$PYTHON" "$PEERS/cni_rules.py" add "$(pod_nspath "$1")" "$f" "${options[@]}" ||
			bail "cannot write rules into pod $1"
	done
}
cni_unrule() {
	local p
	for p in "$@"; do
		"$PYTHON" "$PEERS/cni_rules.py" remove "$(pod_nspath "$p")"
	done
}

zds_status() { zds "$1" do=status | jq -r "$2"; }
zds_synced() { [ "$(zds_status "$1" '.open[-1].snapshot')" = true ]; }
# zds_connections NODE N: so many have been made so far, and the last one has its snapshot.
zds_connections() {
	[ "$(zds_status "$1" '[.open[], .past[]] | length')" -ge "$2" ] && zds_synced "$1"
}

# --- the end ---------------------------------------------------------------------------------

# Processes that live in one of our namespaces and that nobody ended.
stray_processes() {
	local inodes=" ${NETNS_INODES[*]:-} " p i

	# The number of one that a test has deleted may be another test's by now.
	while read -r i p; do
		[[ $p == "/run/netns/$RUN-"* ]] || inodes=${inodes/ $i / }
	done < <(stat -Lc "%i %n" /run/netns/* 2>/dev/null)
	while read -r i p; do
		p=${p#/proc/}
		[[ $inodes == *" $i "* ]] && echo "${p%/ns/net}"
	done < <(stat -Lc "%i %n" /proc/[0-9]*/ns/net 2>/dev/null)
	return 0
}

# A test with more to end than processes of its namespaces sets AT_END to a function that does it.
end_processes() {
	local p n

	[ -z "${AT_END:-}" ] || "$AT_END" >/dev/null 2>&1
	AT_END=
	for n in "${!AGENT_PID[@]}"; do
		kill -TERM "${AGENT_PID[$n]}" 2>/dev/null
	done
	for p in "${APP_PIDS[@]:-}"; do
		[ -z "$p" ] || kill -TERM "$p" 2>/dev/null
	done
	for n in "${!AGENT_PID[@]}"; do
		wait "${AGENT_PID[$n]}" 2>/dev/null
		AGENT_EXIT[$n]=$?
	done
	AGENT_PID=()
	for p in "${APP_PIDS[@]:-}"; do
		[ -z "$p" ] || wait "$p" 2>/dev/null
	done
	APP_PIDS=()
}

remove_all() {
	local n p

	end_processes
	for p in $(stray_processes); do
		kill -KILL "$p" 2>/dev/null
	done
	for n in $(ip netns list 2>/dev/null | awk -v r="$RUN-" 'index($1, r) == 1 { print $1 }'); \
		do
		ip netns del "$n"
	done
	# Links go with their pins, but not with the mount: what another test began meanwhile by
	# `ip netns exec` has a copy of it.
	find "$TMP/bpf" -mindepth 1 -delete 2>/dev/null
	for p in $(awk -v t="$TMP/" 'index($2, t) == 1 { print $2 }' /proc/mounts); do
		umount -l "$p"
	done
	[ -n "${KEEP_TMP:-}" ] || rm -rf "$TMP"
}

on_exit() {
	local rc=$?
	trap - EXIT INT TERM HUP
	if [ $FINISHED -eq 0 ]; then
		echo "not ok $((TAP_COUNT + 1)) - the test ended early (status $rc)"
		[ $rc -ne 0 ] || rc=1
	fi
	remove_all
	exit $rc
}
trap on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Pins of agents that were not asked to keep them.
pins_left() {
	local n
	for n in "${!AGENT_EXIT[@]}"; do
		[ -n "${KEEP_PINS:-}" ] || [ ! -e "$(agent_pins "$n")" ] ||
			printf ' %s(pins)' "$n"
	done
}

# Guards at the host's ends of pods' interfaces.
filters_left() {
	local n
	for n in "${!AGENT_EXIT[@]}"; do
		[ -n "${KEEP_PINS:-}" ] || [ -z "$(node_exec "$n" tc qdisc show |
			grep clsact)" ] || printf ' %s(clsact)' "$n"
	done
}

# Agents end cleanly and leave nothing in the pods; asserted by every test that started one.
leak_check() {
	local n p left= bad=$AGENT_BAD
	[ $((${#AGENT_PID[@]} + ${#AGENT_EXIT[@]})) -gt 0 ] || return 0
	for n in "${!AGENT_PID[@]}"; do
		kill -0 "${AGENT_PID[$n]}" 2>/dev/null || bad="$bad $n(died early)"
	done
	end_processes
	for n in "${!AGENT_EXIT[@]}"; do
		[ "${AGENT_EXIT[$n]}" -eq 0 ] || bad="$bad $n(exit status ${AGENT_EXIT[$n]})"
		grep -Eq 'ERROR: (Address|Leak|Thread|Undefined)|runtime error:|SUMMARY: .*Sanitizer' \
			"$(agent_log "$n")" && bad="$bad $n(sanitizer report)"
	done
	for p in "${PODS[@]:-}"; do
		[ -n "$p" ] && [ -e "$(pod_nspath "$p")" ] || continue
		# Also a table of others: a pod has none of its own.
		[ -z "$(pod_exec "$p" nft list tables 2>/dev/null)" ] || left="$left $p(nft)"
		[ -z "$(left_in pod_exec "$p" | grep -v ' = 0$')" ] ||
			left="$left $p($(left_in pod_exec "$p" | grep -v ' = 0$' | paste -sd';'))"
	done
	left="$left$(pins_left)$(filters_left)"
	for p in $(stray_processes); do
		left="$left process $p($(cat "/proc/$p/comm" 2>/dev/null))"
	done
	is "agents end with status 0" "$bad" ""
	is "nothing is left in the pods" "$left" ""
	[ -z "$bad$left" ] || for n in "${!AGENT_EXIT[@]}"; do
		diag "end of the log of node $n:"
		diag "$(tail -n 15 "$(agent_log "$n")")"
	done
}

# The last line of every test.
finish() {
	local n

	if [ $TAP_FAILED -gt 0 ]; then
		for n in "${NODES[@]:-}"; do
			[ -n "$n" ] && [ -s "$(agent_log "$n")" ] || continue
			diag "log of node $n:"
			diag "$(tail -n "${LOG_TAIL:-25}" "$(agent_log "$n")" | cut -c1-400)"
		done
	fi
	# For vm/kmod_net.sh: its tests do not look by themselves.
	[ "${AMBIENT_TIER:-}" != kmod ] || for n in "${NODES[@]}"; do
		diag "hbone.ko of node $n: streams: $(module_count "$n" StreamsCreated)"
	done
	[ -n "${NO_LEAK_CHECK:-}" ] || leak_check
	FINISHED=1
	tap_end
}
