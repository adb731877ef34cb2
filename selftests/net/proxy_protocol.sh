#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A waypoint that lets the agent terminate HBONE and wants a PROXY header (sandwich).
#
#   client (a) ==CONNECT 10.96.0.1:80==> agent b --PROXY v2--> 127.0.0.1:15088 of waypoint (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=selftests/mesh.sh
. "$LIB_DIR/mesh.sh"

need_agent
nodes a b
pod a client
pod b waypoint
mesh_defaults
pod_manifest client
sandwich
cat >"$TMP/sandwich.py" <<-'PY'
	import ipaddress, socket, struct
	l = socket.create_server(("127.0.0.1", 15088))
	while True:
	    s, peer = l.accept()
	    head = s.recv(16, socket.MSG_WAITALL)
	    body = s.recv(struct.unpack(">H", head[14:16])[0], socket.MSG_WAITALL)
	    src, dst = ipaddress.ip_address(body[0:4]), ipaddress.ip_address(body[4:8])
	    sport, dport = struct.unpack(">HH", body[8:12])
	    tlvs, at = {}, 12
	    while at < len(body):
	        kind, n = struct.unpack(">BH", body[at:at + 3])
	        tlvs[kind], at = body[at + 3:at + 3 + n].decode(), at + 3 + n
	    request = s.recv(4096)
	    text = f"{head[:12].hex()} {head[12]:x} {head[13]:x} {src} {dst}:{dport} {tlvs.get(0xd0)} {peer[0]}\n"
	    s.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + text.encode())
	    s.close()
PY
pod_spawn waypoint "$PYTHON" "$TMP/sandwich.py"
agents_start
check "the request gets through" busywait fetches client http://10.96.0.1/
read -r signature version family src dst identity peer < <(fetch client http://10.96.0.1/)
is "signature of version 2" "$signature" 0d0a0d0a000d0a515549540a
is "version and command" "$version" 21
is "TCP over IPv4" "$family" 11
is "source is the client" "$src" "${P4[client]}"
is "destination is what it asked for" "$dst" 10.96.0.1:80
is "the identity is told" "$identity" $SPIFFE/client
is "it comes over loopback" "$peer" 127.0.0.1
finish
