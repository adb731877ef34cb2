#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The OCI image, started as our DaemonSet says: nothing else in it, no right more, a root file
# system that cannot be written; istiod and the CNI are there, and pods talk.
#
#   client (a) ==15008==> server (b)       istiod (pod on a), a CNI a node
#   client (a) ---------> near (a)         with the patch for direct ways
#
# The agent of node a runs from the image, that of node b from the build.
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/cluster.sh
. "$LIB_DIR/cluster.sh"
# shellcheck source=selftests/podman.sh
. "$LIB_DIR/podman.sh"
# shellcheck source=selftests/ways.sh
. "$LIB_DIR/ways.sh"

need_plane
need_python yaml
IMAGE=$BUILD/ambientd.oci.tar
DAEMONSET=$TOP/scripts/daemonset.yaml
[ -r "$IMAGE" ] || skip_all "needs $IMAGE (make image)"
# As the manifest mounts it.
zds_socket() { echo "$TMP/cni-$1/ztunnel.sock"; }

nodes a b
mkdir -p "$TMP/bpf"
mount -t bpf bpf "$TMP/bpf" || bail "no bpffs"
podman_set_up a
pod a client
pod a near
pod b server
pod a istiod
http_server server 8080 hello
http_server near 8080 near
mkdir -p "$TMP"/cni-{a,b} "$TMP/run-a" "$TMP"/secrets/{ca,token}
zds_start a b
for p in client near server; do
	cni_rules $p nft
	zds_pod register $p >/dev/null
done
plane_start
put "$(workload client)" "$(workload near)" "$(workload server)"

# The volumes, as a kubelet fills them.
cp "$ISTIOD/root-cert.pem" "$TMP/secrets/ca/"
cp "$ISTIOD/token" "$TMP/secrets/token/istio-token"
# kubelet FILE...: sets OPTIONS for podman and ARGS for the agent.
kubelet() {
	"$PYTHON" "$PEERS/kubelet.py" "$@" istiod-ca-cert="$TMP/secrets/ca" \
		istio-token="$TMP/secrets/token" cni-ztunnel-sock-dir="$TMP/cni-a" \
		run="$TMP/run-a" bpf="$TMP/bpf" cgroup=/sys/fs/cgroup spec.nodeName=a \
		metadata.name=ztunnel-a metadata.namespace=istio-system status.podIP=10.9.9.9 \
		spec.serviceAccountName=ztunnel >"$TMP/options" 2>"$TMP/options.error" ||
		bail "the manifest: $(cat "$TMP/options.error")"
	mapfile -t OPTIONS < <(sed '/^--$/,$d' "$TMP/options")
	mapfile -t ARGS < <(sed '1,/^--$/d' "$TMP/options")
}

out=$(pod_man load -i "$IMAGE") || bail "podman does not take the image: $out"
NAME=$(sed -n 's/^Loaded image: *//p' <<<"$out")
like "the image has a name" "$NAME" "/ambientd:"
run_image() {
	pod_man run "${PODMAN_RUN[@]}" --security-opt seccomp=unconfined "$@"
}
out=$(run_image --rm --network none "$NAME" --version) || skip_all "podman cannot start a container: $out"
is "it says the version of the build" "$out" "$("$AMBIENTD" --version)"
unlike "there is no shell in it" "$(run_image --rm --network none --entrypoint /bin/sh "$NAME" -c 'echo sh')" '^sh$'

start_image() {
	run_image --name agent --network host \
		--add-host "istiod.istio-system.svc:${P4[istiod]}" "${OPTIONS[@]}" "$NAME" \
		"${ARGS[@]}" >>"$(agent_log a)" 2>&1 &
	AGENT_PID[a]=$!
}
# The kubelet's end of it; podman's own process, which waits, says nothing of the agent.
stop_image() {
	unset "AGENT_PID[a]"
	pod_man kill -s TERM agent >/dev/null
	is "it ends well" "$(pod_man wait agent)" 0
	pod_man rm agent >/dev/null
}
kubelet "$DAEMONSET"
start_image
cluster_agent_start b INPOD_UDS="$(zds_socket b)"
agent_ready a b
check "ready" knows_workload a server
unlike "it knows all variables of the manifest" "$(cat "$(agent_log a)")" "variables without effect"
check "a pod is served" busywait enrolled client
is "the server is reached" "$(fetch client "http://${P4[server]}:8080/")" hello
check "with mutual TLS" metric_at_least 1 a istio_tcp_connections_opened_total \
	reporter=source connection_security_policy=mutual_tls
like "capture is the CNI's" "$(ctl a status)" "capture +cni"
like "ambientctl works within" "$(pod_man exec agent /usr/bin/ambientctl status)" "capture +cni"
is "nothing was written but the socket" "$(pod_man diff agent | grep -v '^C \|/\(dev\|proc\|sys\|run\|etc\|var\)\(/\|$\)')" ""
stop_image
like "in the manifest's time" "$(cat "$(agent_log a)")" "connections have 25 s to end"

kubelet "$DAEMONSET" "$TOP/scripts/daemonset-direct.yaml"
start_image
agent_ready a
check "with the patch a pod is served" busywait enrolled client
check "and another" busywait enrolled near
check "connections within the node become direct" busywait turns_direct fetch client \
	"http://${P4[near]}:8080/"
check "its rows are the node's, not the container's" test -e "$TMP/bpf/ambient/amb_pod"
is "the server is reached by a tunnel" "$(fetch client "http://${P4[server]}:8080/")" hello
stop_image
is "no row is left" "$(ls "$TMP/bpf/ambient" 2>/dev/null)" ""
cni_unrule client near server
finish
