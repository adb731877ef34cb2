#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A foreign HBONE server: destination, waypoint or gateway, that can misbehave on command.

    hbone_server.py --issuer FILE --roots FILE --id spiffe://... --backend BACKEND

BACKEND is what a stream is joined to: "echo", "authority" (what was asked for), HOST:PORT in
plain TCP, or hbone:HOST:PORT (HBONE to that pod with our identity, as a waypoint does; a
gateway of double HBONE relays to plain HOST:15008). Every request is one JSON line on standard
output: peer, authority, headers, from.
"""

import argparse
import json
import select
import socket
import ssl
import sys
import threading
import time

import hpack

import certs
import frames as f
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (ConnectionTerminated, DataReceived, RequestReceived, StreamEnded,
                       StreamReset)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

PRINT = threading.Lock()


def tell(**what):
    with PRINT:
        print(json.dumps(what), flush=True)


def server_context(args):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.minimum_version = ssl.TLSVersion.TLSv1_3
    if args.tls12:
        c.minimum_version = c.maximum_version = ssl.TLSVersion.TLSv1_2
    c.verify_mode = ssl.CERT_REQUIRED
    c.load_verify_locations(cafile=args.roots)
    c.num_tickets = args.tickets
    if args.alpn:
        c.set_alpn_protocols([args.alpn])
    issuer = certs.Issuer.load(args.issuer)
    certs.into_context(c, *certs.leaf(issuer, args.id, args.cert))
    return c


def endpoint(text):
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


def dial_hbone(args, where):
    """Joins one end of a socket pair to a CONNECT stream; returns the other end, or None."""
    host, port = endpoint(where)
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.load_verify_locations(cafile=args.roots)
    c.set_alpn_protocols(["h2"])
    issuer = certs.Issuer.load(args.issuer)
    certs.into_context(c, *certs.leaf(issuer, args.id))
    sock = c.wrap_socket(socket.create_connection((host, 15008), timeout=10))
    sock.sendall(f.PREFACE + f.settings() + f.connect(hpack.Encoder(), 1, where.strip()))
    reader, ours, theirs = f.Reader(), *socket.socketpair()

    def pump():
        open_ = True
        try:
            while open_:
                ready = [sock] if sock.pending() else \
                    select.select([sock, theirs], [], [])[0]
                if theirs in ready:
                    data = theirs.recv(16000)
                    sock.sendall(f.frame(f.DATA, 0 if data else f.END_STREAM, 1, data))
                    if not data:
                        break
                if sock in ready:
                    open_ = take(sock.recv(1 << 16))
            while open_:
                open_ = take(sock.recv(1 << 16))
        except OSError:
            pass
        theirs.close()
        sock.close()

    def take(data):
        more = bool(data)
        for kind, flags, _, payload in reader.feed(data):
            if kind == f.SETTINGS and not flags & f.ACK:
                sock.sendall(f.frame(f.SETTINGS, f.ACK))
            elif kind == f.PING and not flags & f.ACK:
                sock.sendall(f.frame(f.PING, f.ACK, payload=payload))
            elif kind == f.HEADERS:
                answer = int(dict(reader.decoder.decode(payload))[":status"])
                tell(upstream=where, status=answer)
                more = more and answer == 200
            elif kind == f.DATA:
                if payload:
                    theirs.sendall(payload)
                    sock.sendall(f.window_update(0, len(payload)) +
                                 f.window_update(1, len(payload)))
                more = more and not flags & f.END_STREAM
            elif kind in (f.RST_STREAM, f.GOAWAY):
                more = False
        return more

    threading.Thread(target=pump, daemon=True).start()
    return ours


class Serving:
    """One client connection; streams joined to backends, all in one thread."""

    def __init__(self, args, sock, peer):
        self.args, self.sock, self.peer = args, sock, peer
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8",
                                               validate_inbound_headers=False))
        self.backend = {}  # stream: socket, or None for echo
        self.waiting = {}  # stream: bytes that the window did not take
        self.ended = set()
        self.requests = 0

    def flush(self):
        data = self.h2.data_to_send()
        if data and self.args.do == "no-pong":
            data = b"".join(f.frame(kind, flags, stream, payload)
                            for kind, flags, stream, payload in f.Reader().feed(data)
                            if kind != f.PING)
        if data:
            self.sock.sendall(data)

    def run(self):
        a = self.args
        if a.max_streams is not None:
            self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: a.max_streams})
        if a.window:
            self.h2.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = a.window
        self.h2.initiate_connection()
        self.flush()
        if a.do == "goaway-first":
            self.h2.close_connection()
            self.flush()
        if a.do == "ping-flood":
            self.raw(f.frame(f.PING, payload=b"12345678") * 200000)
        if a.do == "settings-flood":
            self.raw(f.settings(window=65535) * 200000)
        if a.do == "push-promise":
            self.raw(f.frame(f.PUSH_PROMISE, f.END_HEADERS, 1, b"\0\0\0\2"))
        if a.do == "bad-frame":
            self.raw(f.frame(f.PING, payload=b"1234567"))
        while self.turn():
            pass

    def raw(self, data):
        self.sock.sendall(data)

    def turn(self):
        socks = [b for s, b in self.backend.items() if b and s not in self.waiting]
        ready = [self.sock] if self.sock.pending() else \
            select.select([self.sock] + socks, [], [])[0]
        for stream, b in list(self.backend.items()):
            if b in ready:
                self.from_backend(stream, b)
        if self.sock in ready:
            data = self.sock.recv(1 << 16)
            if not data or not self.events(self.h2.receive_data(data)):
                return False
        self.flush()
        for stream in list(self.waiting):
            self.push(stream, b"")
        return True

    def from_backend(self, stream, b):
        try:
            data = b.recv(16000)
        except OSError:
            data = b""
        if data:
            self.push(stream, data)
            return
        self.backend.pop(stream).close()
        self.ended.add(stream)
        self.push(stream, b"")

    def push(self, stream, data):
        """DATA as far as the window goes; the rest waits."""
        data = self.waiting.pop(stream, b"") + data
        try:
            while data:
                n = min(len(data), self.h2.local_flow_control_window(stream), 16000)
                if n <= 0:
                    self.waiting[stream] = data
                    break
                if self.args.do == "padded":
                    n = min(n, 200)
                    self.h2.send_data(stream, data[:n], pad_length=55)
                else:
                    self.h2.send_data(stream, data[:n])
                data = data[n:]
            if stream in self.ended and stream not in self.waiting:
                self.h2.end_stream(stream)
                self.ended.discard(stream)
        except ProtocolError:
            self.waiting.pop(stream, None)
        self.flush()

    def events(self, events):
        for e in events:
            if isinstance(e, RequestReceived):
                self.request(e.stream_id, dict(e.headers))
            elif isinstance(e, DataReceived):
                self.data(e)
            elif isinstance(e, StreamEnded):
                self.half_closed(e.stream_id)
            elif isinstance(e, StreamReset):
                tell(reset=e.stream_id, code=int(e.error_code))
                b = self.backend.pop(e.stream_id, None)
                if b:
                    b.close()
            elif isinstance(e, ConnectionTerminated):
                tell(goaway=int(e.error_code))
                return False
        return True

    def data(self, e):
        if not self.args.no_window:
            self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
        if e.stream_id not in self.backend:
            return
        b = self.backend[e.stream_id]
        if b is None:
            self.push(e.stream_id, e.data)
            return
        try:
            b.sendall(e.data)
        except OSError:
            self.h2.reset_stream(e.stream_id, ErrorCodes.CANCEL)

    def half_closed(self, stream):
        if stream not in self.backend:
            return
        b = self.backend[stream]
        if b is None:
            self.backend.pop(stream)
            self.ended.add(stream)
            self.push(stream, b"")
        else:
            b.shutdown(socket.SHUT_WR)

    def request(self, stream, fields):
        a = self.args
        self.requests += 1
        authority = fields.get(":authority", "")
        tell(peer=certs.identity_of(self.sock), authority=authority, headers=fields,
             stream=stream, **{"from": self.peer})
        if a.delay:
            time.sleep(a.delay)
        if a.do == "no-answer":
            return
        if a.do == "rst" or (a.do == "rst-first" and self.requests == 1):
            self.h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            return
        if a.do == "goaway-after":
            self.h2.close_connection(last_stream_id=stream)
        if a.do == "close":
            self.flush()
            self.sock.close()
            raise OSError("closed on command")
        if a.do == "data-before-headers":
            self.raw(f.frame(f.DATA, 0, stream, b"early"))
        if a.do == "continue":
            self.h2.send_headers(stream, [(":status", "103")])
        if a.do == "huge-headers":
            self.raw(f.frame(f.HEADERS, 0, stream, b"\x88"))
            for _ in range(5000):
                self.raw(f.frame(f.CONTINUATION, 0, stream, b"\0\x01a" + b"\x64" + b"b" * 100))
            return
        status = a.status
        if status == 200:
            try:
                self.backend[stream] = self.connect(authority)
            except OSError as err:
                tell(error=str(err))
                status = 503
        headers = [(":status", str(status))] + [tuple(h.split("=", 1)) for h in a.header]
        self.h2.send_headers(stream, headers, end_stream=status != 200)
        if a.do == "window-overrun":
            self.raw(f.frame(f.DATA, 0, stream, b"w" * 16384) * 2000)

    def connect(self, authority):
        where = self.args.backend
        if where == "echo":
            return None
        if where == "authority":
            where = authority
        if where.startswith("hbone:"):
            return dial_hbone(self.args, where[6:])
        return socket.create_connection(endpoint(where), timeout=10)


def serve(args, context, raw, peer):
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if args.do == "no-handshake":
            time.sleep(3600)
        if args.do == "plain":
            raw.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            raw.close()
            return
        raw.settimeout(20)
        sock = context.wrap_socket(raw, server_side=True)
        sock.settimeout(None)
        tell(handshake="ok", peer=certs.identity_of(sock), alpn=sock.selected_alpn_protocol(),
             version=sock.version(), cipher=sock.cipher()[0])
        with sock:
            Serving(args, sock, peer).run()
    except (OSError, ProtocolError) as e:
        tell(error=str(e))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--port", type=int, default=15008)
    p.add_argument("--issuer", required=True)
    p.add_argument("--roots", required=True)
    p.add_argument("--id", required=True)
    p.add_argument("--cert", default="good", choices=certs.FLAWS)
    p.add_argument("--backend", default="echo")
    p.add_argument("--status", type=int, default=200)
    p.add_argument("--header", action="append", default=[])
    p.add_argument("--delay", type=float, default=0)
    p.add_argument("--max-streams", type=int)
    p.add_argument("--window", type=int)
    p.add_argument("--no-window", action="store_true")
    p.add_argument("--alpn", default="h2")
    p.add_argument("--tickets", type=int, default=2, help="session tickets after the handshake")
    p.add_argument("--tls12", action="store_true")
    p.add_argument("--do", default="", choices=(
        "", "goaway-first", "goaway-after", "ping-flood", "settings-flood", "push-promise",
        "bad-frame", "no-pong", "padded", "no-answer", "rst", "rst-first", "close", "continue",
        "data-before-headers", "huge-headers", "window-overrun", "no-handshake", "plain"))
    args = p.parse_args()
    context = server_context(args)
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", args.port))
    listener.listen(128)
    while True:
        raw, peer = listener.accept()
        threading.Thread(target=serve, args=(args, context, raw, peer[0]), daemon=True).start()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
