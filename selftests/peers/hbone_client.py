#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A foreign HBONE client that can misbehave on command; tells as JSON what the server did.

    hbone_client.py --to 10.12.0.10 --issuer CA/root.key --roots CA/root.pem [MODE]

The result has, as far as they came: handshake ("ok" or the error), peer (SPIFFE id), status,
headers, body, echoed, rst (code by stream), goaway (code), closed (true when the server ended
the connection), seconds, frames (count by kind).
"""

import argparse
import json
import os
import select
import socket
import ssl
import struct
import sys
import time

import hpack

import certs
import frames as f
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded,
                       StreamReset)

MODES = {}


def mode(fn):
    MODES[fn.__name__.replace("_", "-")] = fn
    return fn


class Session:
    """A TLS connection with raw frames; collects everything the server says."""

    def __init__(self, args):
        self.args = args
        self.result = {"rst": {}, "frames": {}, "closed": False}
        self.reader = f.Reader()
        self.encoder = hpack.Encoder()
        self.begin = time.monotonic()
        self.sock = None

    def tcp(self):
        s = socket.create_connection((self.args.to, self.args.port), timeout=self.args.timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def context(self):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.check_hostname = False
        c.minimum_version = ssl.TLSVersion.TLSv1_3
        if self.args.tls12:
            c.minimum_version = c.maximum_version = ssl.TLSVersion.TLSv1_2
        c.load_verify_locations(cafile=self.args.roots)
        if self.args.alpn:
            c.set_alpn_protocols(self.args.alpn.split(","))
        if not self.args.no_cert:
            issuer = certs.Issuer.load(self.args.issuer)
            certs.into_context(c, *certs.leaf(issuer, self.args.id, self.args.cert))
        return c

    def handshake(self):
        """True when TLS is up. With TLS 1.3 a refusal of our certificate comes only later."""
        try:
            self.sock = self.context().wrap_socket(self.tcp())
            self.result["handshake"] = "ok"
            self.result["peer"] = certs.identity_of(self.sock)
            self.result["alpn"] = self.sock.selected_alpn_protocol()
            self.result["cipher"] = self.sock.cipher()[0]
            self.sock.setblocking(False)
            return True
        except OSError as e:
            self.result["handshake"] = str(e)
            return False

    def start(self, **settings):
        self.send(f.PREFACE + f.settings(**settings))

    def send(self, data, seconds=None):
        """Sends all, reading meanwhile so that neither side can block. False: server is gone."""
        end = time.monotonic() + (seconds or self.args.timeout)
        view = memoryview(data)
        while view and time.monotonic() < end and not self.result["closed"]:
            try:
                view = view[self.sock.send(view):]
            except ssl.SSLWantWriteError:
                self.read(0.05)
            except ssl.SSLWantReadError:
                self.read(0.05)
            except OSError as e:
                self.result["closed"] = True
                self.result.setdefault("end", str(e))
        return not view

    def read(self, seconds, until=None):
        """Takes what comes for @seconds, or until @until() holds, or until the end."""
        end = time.monotonic() + seconds
        while not self.result["closed"]:
            if until and until():
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            if not self.sock.pending():
                select.select([self.sock], [], [], left)
            try:
                data = self.sock.recv(1 << 16)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                continue
            except OSError as e:
                # An alert that refuses our certificate belongs to the handshake.
                self.result["end"] = str(e)
                data = b""
            if not data:
                self.result["closed"] = True
                break
            for one in self.reader.feed(data):
                self.take(*one)
        return bool(until and until())

    def take(self, kind, flags, stream, payload):
        r = self.result
        r["frames"][kind] = r["frames"].get(kind, 0) + 1
        if kind == f.HEADERS:
            fields = dict(self.reader.decoder.decode(payload))
            r.setdefault("status", int(fields.pop(":status", 0)))
            r.setdefault("statuses", {})[stream] = r["status"]
            r["headers"] = fields
            if flags & f.END_STREAM:
                r["ended"] = True
        elif kind == f.DATA:
            if flags & f.PADDED:
                payload = payload[1:len(payload) - payload[0]]
            r["body"] = r.get("body", "") + payload.decode("latin-1")
            if flags & f.END_STREAM:
                r["ended"] = True
            if payload and not self.args.no_window:
                self.send(f.window_update(0, len(payload)) + f.window_update(stream, len(payload)))
        elif kind == f.RST_STREAM:
            r["rst"][stream] = struct.unpack(">I", payload)[0]
        elif kind == f.GOAWAY:
            r["goaway"] = struct.unpack(">I", payload[4:8])[0]
            r["goaway_text"] = payload[8:].decode("latin-1")
        elif kind == f.SETTINGS and not flags & f.ACK:
            r["settings"] = {struct.unpack(">H", payload[i:i + 2])[0]:
                             struct.unpack(">I", payload[i + 2:i + 6])[0]
                             for i in range(0, len(payload), 6)}
            self.send(f.frame(f.SETTINGS, f.ACK))
        elif kind == f.PING and not flags & f.ACK and not self.args.no_pong:
            self.send(f.frame(f.PING, f.ACK, payload=payload))

    def open(self, stream=1, **kw):
        self.send(f.connect(self.encoder, stream, self.args.authority, self.extra(), **kw))

    def extra(self):
        return [tuple(h.split("=", 1)) for h in self.args.header]

    def answered(self):
        return "status" in self.result or self.result["rst"] or "goaway" in self.result

    def open_ok(self, stream=1):
        """Preface, CONNECT, and the 200."""
        self.start()
        self.open(stream)
        self.read(self.args.timeout, self.answered)
        return self.result.get("status") == 200

    def settle(self, seconds=None):
        """Waits for the server's verdict: the connection's end, or a GOAWAY and a moment."""
        self.read(seconds or self.args.timeout, lambda: "goaway" in self.result)
        if "goaway" in self.result:
            self.read(1)


# --- well behaved ----------------------------------------------------------------------------

@mode
def get(s):
    """CONNECT, then one HTTP request, with the library doing everything."""
    conn = H2Connection(H2Configuration(client_side=True, validate_outbound_headers=False,
                                        normalize_outbound_headers=False, header_encoding="utf-8"))
    conn.initiate_connection()
    conn.send_headers(1, [(":method", "CONNECT"), (":authority", s.args.authority)] + s.extra())
    s.send(conn.data_to_send())
    body, ended, end = b"", False, time.monotonic() + s.args.timeout
    while not ended and time.monotonic() < end:
        if not s.sock.pending():
            select.select([s.sock], [], [], 0.2)
        try:
            data = s.sock.recv(1 << 16)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            continue
        except OSError as e:
            s.result["end"] = str(e)
            data = b""
        if not data:
            s.result["closed"] = True
            break
        for e in conn.receive_data(data):
            if isinstance(e, ResponseReceived):
                fields = dict(e.headers)
                s.result["status"] = int(fields.pop(":status"))
                s.result["headers"] = fields
                if s.result["status"] == 200:
                    conn.send_data(1, f"GET {s.args.path} HTTP/1.1\r\nHost: x\r\n"
                                      "Connection: close\r\n\r\n".encode())
            elif isinstance(e, DataReceived):
                body += e.data
                conn.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            elif isinstance(e, StreamReset):
                s.result["rst"][e.stream_id], ended = int(e.error_code), True
            elif isinstance(e, StreamEnded):
                ended = s.result["ended"] = True
            elif isinstance(e, ConnectionTerminated):
                s.result["goaway"], ended = int(e.error_code), True
        s.send(conn.data_to_send())
    s.result["body"] = body.decode("latin-1")


@mode
def status(s):
    """CONNECT only; tells the answer."""
    s.open_ok()
    s.read(0.2)


@mode
def echo(s):
    """Sends --bytes in odd pieces, some padded, to an echo server, half-closes, wants all back."""
    if not s.open_ok():
        return
    data = bytes(range(256)) * (s.args.bytes // 256 + 1)
    data = data[:s.args.bytes]
    window, at, step = 65535, 0, 1
    granted = s.result.get("settings", {}).get(4, window)
    while at < len(data) and not s.result["closed"]:
        piece = data[at:at + min(step, 8000, granted)]
        if step % 3:
            s.send(f.frame(f.DATA, 0, 1, piece))
        else:
            s.send(f.frame(f.DATA, f.PADDED, 1, bytes([200]) + piece + b"\0" * 200))
        at += len(piece)
        step = step * 2 + 1 if step < 8000 else 1
        s.read(0, lambda: False)
        s.read(s.args.timeout, lambda: len(s.result.get("body", "")) > at - 30000)
    s.send(f.frame(f.DATA, f.END_STREAM, 1))
    s.read(s.args.timeout, lambda: s.result.get("ended"))
    s.result["echoed"] = s.result.pop("body", "").encode("latin-1") == data


@mode
def half_close(s):
    """END_STREAM with the request's last byte; the answer must still come, then its end."""
    if not s.open_ok():
        return
    s.send(f.frame(f.DATA, f.END_STREAM, 1, s.args.send.encode()))
    s.read(s.args.timeout, lambda: s.result.get("ended") or s.result["rst"])


@mode
def many(s):
    """--count streams at once, each must get an answer; counts them."""
    s.start()
    for i in range(s.args.count):
        s.open(1 + 2 * i)
    total = s.args.count
    s.read(s.args.timeout,
           lambda: len(s.result.get("statuses", {})) + len(s.result["rst"]) >= total)
    s.result["answers"] = len(s.result.get("statuses", {}))


# --- before HTTP/2 ---------------------------------------------------------------------------

@mode
def plain_http(s):
    """No TLS at all."""
    raw = s.tcp()
    raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    s.result["body"] = read_raw(s, raw)


@mode
def plain_h2(s):
    """HTTP/2 with prior knowledge, without TLS."""
    raw = s.tcp()
    raw.sendall(f.PREFACE + f.settings() + f.connect(s.encoder, 1, s.args.authority))
    s.result["body"] = read_raw(s, raw)


def read_raw(s, raw):
    got = b""
    try:
        while True:
            data = raw.recv(4096)
            if not data:
                s.result["closed"] = True
                break
            got += data
    except socket.timeout:
        pass
    except OSError:
        s.result["closed"] = True
    return got.decode("latin-1")


@mode
def silent(s):
    """Connects and says nothing: how long does the server wait?"""
    raw = s.tcp()
    raw.settimeout(s.args.timeout)
    read_raw(s, raw)


@mode
def slow_handshake(s):
    """A ClientHello byte by byte, never finished."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        s.context().wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello, raw = outgoing.read(), s.tcp()
    raw.settimeout(0.25)
    end = time.monotonic() + s.args.timeout
    for b in hello[:-1]:
        # A machine that stood still meanwhile owes the other side a moment to act.
        last = time.monotonic() > end
        if last:
            raw.settimeout(10)
        try:
            raw.sendall(bytes([b]))
            if not raw.recv(1):
                s.result["closed"] = True
                return
        except socket.timeout:
            if last:
                info = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 48)
                s.result["tcp"] = {"state": info[0], "retransmits": info[2],
                                   "unacked": struct.unpack_from("=I", info, 24)[0]}
                return
        except OSError:
            s.result["closed"] = True
            return


@mode
def garbage(s):
    """Random bytes instead of a ClientHello."""
    raw = s.tcp()
    raw.sendall(os.urandom(4096))
    s.result["body"] = read_raw(s, raw)


@mode
def handshake_only(s):
    """TLS and nothing more: is the certificate accepted?"""
    s.read(min(s.args.timeout, 3))


@mode
def wrong_preface(s):
    s.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    s.settle()


@mode
def crowd(s):
    """--count handshakes from this address that never finish, then an honest client."""
    held = []
    for _ in range(s.args.count):
        try:
            held.append(s.tcp())
        except OSError:
            break
    s.result["held"] = len(held)
    if s.handshake():
        s.open_ok()
    for raw in held:
        raw.close()


# --- HTTP/2 abuse ----------------------------------------------------------------------------

def flood(s, make, batch=500):
    """Sends until the server has had enough or --count is reached."""
    sent = 0
    while sent < s.args.count and not s.result["closed"] and "goaway" not in s.result:
        if not s.send(b"".join(make(sent + i) for i in range(batch)), 5):
            break
        sent += batch
        s.read(0.001)
    s.result["sent"] = sent
    s.settle(3)


@mode
def ping_flood(s):
    s.start()
    flood(s, lambda i: f.frame(f.PING, payload=struct.pack(">Q", i)))


@mode
def settings_flood(s):
    s.start()
    flood(s, lambda i: f.settings(window=65535 + i % 7))


@mode
def rapid_reset(s):
    """CVE-2023-44487: open and reset, for ever."""
    s.start()
    flood(s, lambda i: f.connect(s.encoder, 1 + 2 * i, s.args.authority) + f.rst(1 + 2 * i), 50)


@mode
def rst_storm(s):
    """RST_STREAM for streams that were never opened."""
    s.start()
    flood(s, lambda i: f.rst(1 + 2 * i))


@mode
def continuation_flood(s):
    """CVE-2024-27316: a header block that never ends."""
    s.start()
    block = s.encoder.encode([(":method", "CONNECT"), (":authority", s.args.authority)])
    s.send(f.frame(f.HEADERS, 0, 1, block))
    flood(s, lambda i: f.frame(f.CONTINUATION, 0, 1, b"\x00\x01a" + bytes([100]) + b"b" * 100))


@mode
def continuation_empty(s):
    s.start()
    s.send(f.frame(f.HEADERS, 0, 1, b""))
    flood(s, lambda i: f.frame(f.CONTINUATION, 0, 1, b""))


@mode
def empty_data(s):
    """DATA frames without a byte, on an open stream."""
    if s.open_ok():
        flood(s, lambda i: f.frame(f.DATA, 0, 1, b""))


@mode
def padding_flood(s):
    """DATA frames of padding only: windows must not leak."""
    if s.open_ok():
        flood(s, lambda i: f.frame(f.DATA, f.PADDED, 1, b"\xff" + b"\0" * 255), 100)


@mode
def priority_flood(s):
    s.start()
    flood(s, lambda i: f.frame(f.PRIORITY, 0, 1 + 2 * (i % 1000), struct.pack(">IB", 0, 1)))


@mode
def window_flood(s):
    if s.open_ok():
        flood(s, lambda i: f.window_update(1, 1))


@mode
def header_bomb(s):
    """One long value in the dynamic table, then a block of references to it."""
    s.start()
    fields = [(":method", "CONNECT"), (":authority", s.args.authority)]
    value = ("x", "y" * 3900)
    s.send(f.frame(f.HEADERS, f.END_HEADERS, 1, s.encoder.encode(fields + [value])))
    s.send(f.frame(f.HEADERS, f.END_HEADERS, 3, s.encoder.encode(fields) + b"\xbe" * 16000))
    s.settle(3)


@mode
def big_header(s):
    """A header list beyond what the server says it takes (64 KiB)."""
    s.start()
    s.read(1, lambda: "settings" in s.result)
    block = s.encoder.encode([(":method", "CONNECT"), (":authority", s.args.authority)] +
                             [(f"x-{i}", "v" * 1000) for i in range(200)])
    parts = [block[i:i + 16000] for i in range(0, len(block), 16000)]
    s.send(f.frame(f.HEADERS, 0, 1, parts[0]))
    for p in parts[1:-1]:
        s.send(f.frame(f.CONTINUATION, 0, 1, p))
    s.send(f.frame(f.CONTINUATION, f.END_HEADERS, 1, parts[-1]))
    s.settle(3)


@mode
def window_overrun(s):
    """More DATA than the stream's window allows, to an application that does not read."""
    if not s.open_ok():
        return
    chunk = f.frame(f.DATA, 0, 1, b"w" * 16384)
    flood(s, lambda i: chunk, 64)


@mode
def window_overflow(s):
    """WINDOW_UPDATE past 2^31-1 on the connection."""
    s.start()
    s.send(f.window_update(0, 0x7fffffff) * 2)
    s.settle(3)


@mode
def no_read(s):
    """Asks for much and never grants window: the server must keep it bounded and stay well."""
    if not s.open_ok():
        return
    s.args.no_window = True
    s.send(f.frame(f.DATA, 0, 1, s.args.send.encode()))
    s.read(min(s.args.timeout, 3))
    s.result["body"] = len(s.result.get("body", ""))


BAD = {
    "data-stream-0": lambda s: f.frame(f.DATA, 0, 0, b"x"),
    "headers-stream-0": lambda s: f.connect(s.encoder, 0, s.args.authority),
    "even-stream": lambda s: f.connect(s.encoder, 2, s.args.authority),
    "lower-stream": lambda s: (f.connect(s.encoder, 5, s.args.authority) +
                               f.connect(s.encoder, 3, s.args.authority)),
    "data-idle-stream": lambda s: f.frame(f.DATA, 0, 7, b"x"),
    "window-zero": lambda s: f.window_update(0, 0),
    "window-idle-stream": lambda s: f.window_update(9, 1),
    "ping-length": lambda s: f.frame(f.PING, payload=b"1234567"),
    "ping-stream": lambda s: f.frame(f.PING, 0, 1, b"12345678"),
    "settings-length": lambda s: f.frame(f.SETTINGS, payload=b"12345"),
    "settings-stream": lambda s: f.frame(f.SETTINGS, 0, 1),
    "settings-ack-body": lambda s: f.frame(f.SETTINGS, f.ACK, payload=b"123456"),
    "settings-window": lambda s: f.settings(window=0x80000000),
    "settings-frame-size": lambda s: f.settings(frame_size=1),
    "rst-length": lambda s: f.frame(f.RST_STREAM, 0, 1, b"123"),
    "rst-stream-0": lambda s: f.rst(0),
    "goaway-stream": lambda s: f.frame(f.GOAWAY, 0, 1, b"\0" * 8),
    "push-promise": lambda s: f.frame(f.PUSH_PROMISE, f.END_HEADERS, 1, b"\0\0\0\2"),
    "continuation-alone": lambda s: f.frame(f.CONTINUATION, f.END_HEADERS, 1, b""),
    "headers-interrupted": lambda s: (f.frame(f.HEADERS, 0, 1, b"\x82") +
                                      f.frame(f.PING, payload=b"12345678")),
    "huge-frame": lambda s: f.frame(f.DATA, 0, 1, b"", length=0xffffff) + b"x" * 65536,
    "bad-hpack": lambda s: f.frame(f.HEADERS, f.END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"),
    "pad-too-long": lambda s: f.frame(f.HEADERS, f.END_HEADERS | f.PADDED, 1, b"\xff\x82"),
    "half-frame": lambda s: f.frame(f.HEADERS, f.END_HEADERS, 1, b"\x82", length=100),
}


@mode
def bad_frame(s):
    """--bad NAME: one malformed frame after the preface."""
    s.start()
    s.read(1, lambda: "settings" in s.result)
    s.send(BAD[s.args.bad](s))
    s.settle(3)


@mode
def unknown_frame(s):
    """Frames of unknown kinds must be ignored (RFC 9113 section 5.5)."""
    s.start()
    s.send(f.frame(0x42, 0xff, 0, b"whatever") + f.frame(0x43, 0, 3, b"x" * 1000))
    s.open()
    s.read(s.args.timeout, s.answered)


@mode
def method(s):
    """--method instead of CONNECT."""
    s.start()
    fields = [(":method", s.args.method), (":scheme", "https"), (":path", "/"),
              (":authority", s.args.authority)]
    s.send(f.frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, 1, s.encoder.encode(fields)))
    s.read(s.args.timeout, s.answered)


@mode
def no_authority(s):
    s.args.authority = None
    s.start()
    s.open()
    s.read(s.args.timeout, s.answered)


@mode
def reset_mid(s):
    """RST_STREAM in the middle of a transfer; the connection must go on to serve."""
    if not s.open_ok():
        return
    s.send(f.frame(f.DATA, 0, 1, b"x" * 1000) + f.rst(1))
    s.result.pop("status")
    s.open(3)
    s.read(s.args.timeout, s.answered)


@mode
def split(s):
    """The whole request cut at each byte into records of its own."""
    s.start()
    for b in f.connect(s.encoder, 1, s.args.authority, s.extra()):
        s.send(bytes([b]))
    s.read(s.args.timeout, s.answered)


def options():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("mode", nargs="?", default="get", choices=sorted(MODES))
    p.add_argument("--to", required=True, help="address to connect to")
    p.add_argument("--port", type=int, default=15008)
    p.add_argument("--authority")
    p.add_argument("--issuer", help="key and certificate of the CA that signs ours")
    p.add_argument("--roots", help="what we trust")
    p.add_argument("--id", default="spiffe://cluster.local/ns/demo/sa/stranger")
    p.add_argument("--cert", default="good", choices=certs.FLAWS)
    p.add_argument("--no-cert", action="store_true")
    p.add_argument("--alpn", default="h2", help="comma separated; empty for none")
    p.add_argument("--tls12", action="store_true")
    p.add_argument("--header", action="append", default=[], help="name=value, may be repeated")
    p.add_argument("--path", default="/")
    p.add_argument("--method", default="GET")
    p.add_argument("--bad", choices=sorted(BAD))
    p.add_argument("--send", default="")
    p.add_argument("--bytes", type=int, default=200000)
    p.add_argument("--count", type=int, default=100000)
    p.add_argument("--timeout", type=float, default=10)
    p.add_argument("--no-window", action="store_true", help="never grant window")
    p.add_argument("--no-pong", action="store_true", help="never answer a PING")
    p.add_argument("--list-bad", action="store_true")
    return p


NO_HANDSHAKE = (plain_http, plain_h2, silent, slow_handshake, garbage, crowd)


def main():
    if "--list-bad" in sys.argv:
        print("\n".join(sorted(BAD)))
        return
    args = options().parse_args()
    if args.authority is None:
        args.authority = (f"[{args.to}]" if ":" in args.to else args.to) + ":80"
    s = Session(args)
    fn = MODES[args.mode]
    if fn in NO_HANDSHAKE or s.handshake():
        try:
            fn(s)
        except OSError as e:
            s.result["end"] = str(e)
    s.result["seconds"] = round(time.monotonic() - s.begin, 3)
    json.dump(s.result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
