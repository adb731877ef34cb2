# SPDX-License-Identifier: GPL-2.0-or-later
# For tests with a real Envoy as foreign peer: HBONE server, client, waypoint or gateway. Sourced
# after lib.sh. scripts/setup fetches the binary; peers/envoy.py knows the parts it is made of.
#
#   need_envoy
#   nodes a b; pod b waypoint
#   envoy waypoint --waypoint --service '{"at": "10.96.0.1:80", "rules": [{"to": ["10.12.0.10:80"]}]}'
#   is "it saw the client" "$(envoy_hop waypoint connect_terminate .peer)" $SPIFFE/client

# The user that Envoys run as, as in Istio's images.
ENVOY_UID=1337
ENVOY=${ENVOY:-}
declare -A ENVOY_PID=()

need_envoy() {
	local dir

	need setpriv jq
	need_python cryptography
	for dir in ${AMBIENT_CACHE:+"$AMBIENT_CACHE"} /var/cache/ambient "$HOME/.cache/ambient"; do
		[ -n "$ENVOY" ] || [ ! -x "$dir/envoy/envoy" ] || ENVOY=$dir/envoy/envoy
	done
	# One that set-up could not have; any other lack is none that CI accepts.
	for dir in ${AMBIENT_CACHE:+"$AMBIENT_CACHE"} /var/cache/ambient "$HOME/.cache/ambient"; do
		[ -n "$ENVOY" ] || [ ! -s "$dir/envoy.none" ] ||
			skip_all "set-up could not have an Envoy: $(cat "$dir/envoy.none")"
	done
	[ -n "$ENVOY" ] || skip_all "needs an Envoy (scripts/setup, see envoy.log in the cache)"
	"$ENVOY" --version >/dev/null 2>&1 || skip_all "needs an Envoy that runs here: $ENVOY"
}

envoy_dir() { echo "$TMP/envoy-$1"; }
envoy_admin() { curl -s -m 20 --unix-socket "$(envoy_dir "$1")/admin" "http://envoy/$2" "${@:3}"; }
envoy_ready() { [ "$(envoy_admin "$1" ready)" = LIVE ]; }
envoy_ready_or_dead() { envoy_ready "$1" || ! kill -0 "${ENVOY_PID[$1]}"; }

# envoy POD PARTS...: starts one in the pod, with the identity of the service account POD unless
# told otherwise, and a certificate of the mesh's CA, or of --sds SOCKET; see peers/envoy.py.
envoy() {
	local name=$1 dir
	shift
	dir=$(envoy_dir "$name")
	[[ " $* " == *" --id "* ]] || set -- --id "$SPIFFE/$name" "$@"
	[[ " $* " == *" --sds "* ]] || set -- --issuer "$CA/root.key" --roots "$CA/root.pem" "$@"
	[ -d "$CA" ] || ca_init
	mkdir -p "$dir"
	# It has to reach its own files.
	chmod 711 "$TMP"
	"$PYTHON" "$PEERS/envoy.py" --dir "$dir" "$@" || bail "no configuration for $name's Envoy"
	chown -R $ENVOY_UID:$ENVOY_UID "$dir"
	pod_spawn "$name" setpriv --reuid $ENVOY_UID --regid $ENVOY_UID --clear-groups \
		"$ENVOY" -c "$dir/config.json" --concurrency 1 --disable-hot-restart \
		--log-level warning --file-flush-interval-msec 50 --drain-time-s 1
	ENVOY_PID[$name]=$LAST_PID
	busywait envoy_ready_or_dead "$name"
	envoy_ready "$name" || bail "no Envoy in $name: $(tail -n 5 "$TMP/app-$name.log")"
}

envoy_stop() {
	kill_app "${ENVOY_PID[$1]}"
	unset "ENVOY_PID[$1]"
}

# envoy_lines POD: the number of the next line of its access log.
envoy_lines() { echo $(($(wc -l <"$(envoy_dir "$1")/access.log") + 1)); }
# envoy_saw POD HOP FILTER [FROM]: is there a line of the hop of which FILTER is true, from line
# FROM of the access log on? A tunnel's line is there when it has ended.
envoy_saw() {
	tail -n "+${4:-1}" "$(envoy_dir "$1")/access.log" 2>/dev/null |
		jq -se --arg hop "$2" "any(.[] | select(.hop | startswith(\$hop)); $3)" >/dev/null
}
wait_envoy() { busywait envoy_saw "$@"; }
# envoy_stat POD NAME: one of its counters.
envoy_stat() { envoy_admin "$1" "stats?filter=^${2//./\\.}$" | sed -n 's/.*: //p'; }
