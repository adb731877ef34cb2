# SPDX-License-Identifier: GPL-2.0-or-later
# For namespace tests in a cluster: a control plane in Python (peers/control_plane.py) in a pod
# of its own outside of the mesh, agents started with ztunnel's environment. Sourced after lib.sh.
#
#   nodes a b; pod a client; pod b server
#   pod a istiod; plane_start
#   workload client | plane put
#   cluster_agents_start
#   enroll client
#
# The control plane's certificate is of a root of its own, as a mesh with its own CA has it.

ISTIOD=$TMP/istiod
PLANE_PORT=15012
# What the agents' tokens say; the file is there for rotation.
mkdir -p "$ISTIOD"
echo token-1 >"$ISTIOD/token"

need_plane() {
	need_agent
	need_python grpc google.protobuf cryptography
}

# plane_root [rsa]: another root for the control plane's own certificate, which the agents are
# told. The second kind, RSA and no names, is what istiod makes for itself.
plane_root() {
	rm -rf "$ISTIOD/ca"
	if [ "${1:-}" = rsa ]; then
		mkdir "$ISTIOD/ca"
		openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /O=cluster.local \
			-keyout "$ISTIOD/ca/key" -out "$ISTIOD/ca/root.pem" 2>>"$TMP/ca.log" ||
			bail "no root for istiod"
		cat "$ISTIOD/ca/key" "$ISTIOD/ca/root.pem" >"$ISTIOD/ca/root.key"
	else
		"$AMBIENTCTL" ca init "$ISTIOD/ca" >>"$TMP/ca.log" 2>&1 || bail "no root for istiod"
	fi
	# As a volume of Kubernetes does it: the file is replaced by renaming.
	cp "$ISTIOD/ca/root.pem" "$ISTIOD/.new" && mv "$ISTIOD/.new" "$ISTIOD/root-cert.pem"
}

# plane_start [OPTIONS]: in pod istiod; returns when it listens. Workloads' certificates are
# of $PLANE_CA, by default the CA that standalone tests use too.
plane_start() {
	[ -d "$CA" ] || ca_init
	[ -d "$ISTIOD/ca" ] || plane_root
	ip netns exec "$(pod_ns istiod)" "$PYTHON" "$PEERS/control_plane.py" serve \
		--proto "$TOP/agent/control/proto" --proto "$TOP/agent/mesh/proto" \
		--listen "${P4[istiod]}:$PLANE_PORT" --control "$ISTIOD/control" \
		--ca "${PLANE_CA:-$CA}/root.key" --roots "${PLANE_CA:-$CA}/root.pem" --tls-issuer "$ISTIOD/ca/root.key" \
		--host "${PLANE_HOST:-istiod.istio-system.svc}" "$@" >>"$ISTIOD/log" 2>>"$ISTIOD/errors" &
	PLANE_PID=$!
	APP_PIDS+=("$PLANE_PID")
	busywait plane_listens || bail "no control plane: $(tail -n 3 "$ISTIOD/errors")"
}
plane_listens() { listening istiod $PLANE_PORT && [ -S "$ISTIOD/control" ]; }
plane_stop() {
	kill_app "$PLANE_PID"
	rm -f "$ISTIOD/control"
}

# plane COMMAND [ARGUMENTS]: prints the answer. plane_says: the same, to standard error no more.
plane() { "$PYTHON" "$PEERS/control_plane.py" ask "$ISTIOD/control" "$@"; }
plane_stat() { plane stats | jq -r ".$1"; }
# plane_event JQ-FILTER: what the control plane told and the filter selects, one line each.
plane_event() { jq -c "$@" "$ISTIOD/log" 2>/dev/null; }
# plane_told FILTER [FROM]: is there an event of which FILTER is true, from line FROM on?
plane_told() { [ -n "$(tail -n "+${2:-1}" "$ISTIOD/log" | jq -c "select($1)")" ]; }
wait_plane() { busywait plane_told "$@"; }
plane_lines() { echo $(($(wc -l <"$ISTIOD/log") + 1)); }

# addr_base64 IPV4
addr_base64() {
	# shellcheck disable=SC2046,SC2059
	printf "$(printf '\\x%02x' $(tr . ' ' <<<"$1"))" | base64
}

# workload POD [SERVICES-JSON] [EXTRA-JSON]: the item of "put" for a pod of namespace demo.
workload() {
	jq -n --arg n "$1" --arg a "$(addr_base64 "${P4[$1]}")" --arg node "${NODE_OF[$1]}" \
		--argjson services "${2:-{\}}" --argjson extra "${3:-{\}}" '{workload: ({
			uid: "cluster1//Pod/demo/\($n)", name: $n, namespace: "demo",
			serviceAccount: $n, node: $node, addresses: [$a], tunnelProtocol: "HBONE",
			trustDomain: "cluster.local", clusterId: "cluster1", canonicalName: $n,
			canonicalRevision: "v1", workloadType: "POD", workloadName: $n,
			services: $services} + $extra)}'
}

# vip_service NAME VIP PORT TARGET
vip_service() {
	jq -n --arg n "$1" --arg a "$(addr_base64 "$2")" --argjson p "$3" --argjson t "$4" \
		'{service: {name: $n, namespace: "demo", canonical: true,
			hostname: "\($n).demo.svc.cluster.local", addresses: [{address: $a}],
			ports: [{servicePort: $p, targetPort: $t}]}}'
}
# member NAME PORT TARGET: the services of a workload that is behind it.
member() {
	jq -n --arg n "demo/$1.demo.svc.cluster.local" --argjson p "$2" --argjson t "$3" \
		'{($n): {ports: [{servicePort: $p, targetPort: $t}]}}'
}

# put ITEM...: stored and pushed.
put() { printf '%s\n' "$@" | jq -s . | plane put >/dev/null; }

# cluster_agent_start NODE [VARIABLE=VALUE]... [-- OPTIONS]: as the DaemonSet starts ztunnel. Where
# INPOD_UDS names no CNI, ambientctl enroll says where pods are.
cluster_agent_start() {
	local node=$1 vars=()
	shift
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		vars+=("$1")
		shift
	done
	[ "${1:-}" != -- ] || shift
	[[ " ${vars[*]-}" == *" INPOD_UDS="* ]] || set -- --zds "" "$@"
	mkdir -p "$TMP/run-$node"
	[ -z "${AMB_SANITIZED:-}$AMB_WRAP" ] || set -- --privileged "$@"
	# shellcheck disable=SC2086
	ip netns exec "$(node_ns "$node")" env "XDS_ADDRESS=https://${P4[istiod]}:$PLANE_PORT" \
		"CA_ADDRESS=https://${P4[istiod]}:$PLANE_PORT" \
		ALT_XDS_HOSTNAME=istiod.istio-system.svc ALT_CA_HOSTNAME=istiod.istio-system.svc \
		"XDS_ROOT_CA=$ISTIOD/root-cert.pem" "CA_ROOT_CA=$ISTIOD/root-cert.pem" \
		"AUTH_TOKEN=$ISTIOD/token" CLUSTER_ID=cluster1 "NODE_NAME=$node" \
		"POD_NAME=ztunnel-$node" POD_NAMESPACE=istio-system SERVICE_ACCOUNT=ztunnel \
		INSTANCE_IP=10.9.9.9 ISTIO_META_CLUSTER_ID=cluster1 ISTIO_META_ISTIO_VERSION=1.31.0 \
		"${vars[@]}" $AMB_WRAP "$AMBIENTD" proxy ztunnel --socket "$(agent_socket "$node")" \
		"$@" >>"$(agent_log "$node")" 2>&1 &
	AGENT_PID[$node]=$!
}

cluster_agents_start() {
	local n
	for n in "${NODES[@]}"; do
		cluster_agent_start "$n" "$@"
	done
	agent_ready "${NODES[@]}"
}

# enroll POD: as a CNI would say where it is. The agent may have heard of it a moment later.
enroll() {
	busywait ctl "${NODE_OF[$1]}" enroll "demo/$1" --netns "$(pod_nspath "$1")" \
		>/dev/null 2>&1 || bail "pod $1 cannot be enrolled"
	wait_enrolled "$1"
}

knows() { config_dump "$1" | jq -e "$2" >/dev/null; }
# knows_workload NODE NAME, knows_service, knows_policy
knows_workload() { knows "$1" ".workloads[] | select(.name == \"$2\")"; }
knows_service() { knows "$1" ".services[] | select(.name == \"$2\")"; }
knows_policy() { knows "$1" ".policies[] | select(.name == \"$2\")"; }
knows_no() { ! "knows_$1" "$2" "$3"; }
