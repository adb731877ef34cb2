#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A DNS client for what dig does not do: floods, pipelines, nonsense. Prints JSON.

  flood NAME COUNT      so many queries by UDP from a few ports, answers by code
  pipeline NAME...      all in one TCP connection without waiting, in one piece
  bytewise NAME         one query by TCP, byte by byte
  connections COUNT     so many idle TCP connections: how many stay, how long
  stuck NAME COUNT      asks by TCP and does not read until it is let go, at most --wait seconds:
                        whether it was, and the bytes that came till then
  nonsense              what is no query: how many answers came
"""
import argparse
import collections
import json
import random
import select
import socket
import struct
import time

import dns.flags
import dns.message
import dns.rcode


def query(name, kind="A"):
    return dns.message.make_query(name, kind)


def tcp(options):
    return socket.create_connection((options.server, 53), timeout=10)


def framed(message):
    wire = message.to_wire()
    return struct.pack("!H", len(wire)) + wire


def exactly(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def read_reply(sock):
    return dns.message.from_wire(exactly(sock, struct.unpack("!H", exactly(sock, 2))[0]))


def flood(options):
    socks = []
    for _ in range(8):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setblocking(False)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        s.connect((options.server, 53))
        socks.append(s)
    wire = bytearray(query(options.args[0]).to_wire())
    codes = collections.Counter()

    def take(wait):
        ready = select.select(socks, [], [], wait)[0]
        for s in ready:
            try:
                while True:
                    codes[dns.rcode.to_text(s.recv(65535)[3] & 15)] += 1
            except (BlockingIOError, ConnectionError):
                pass
        return ready

    for i in range(int(options.args[1])):
        struct.pack_into("!H", wire, 0, i & 0xffff)
        try:
            socks[i % 8].send(wire)
        except (BlockingIOError, ConnectionError):
            pass
        if i % 64 == 0:
            take(0)
    end = time.monotonic() + options.wait
    while time.monotonic() < end:
        take(0.2)
    return dict(codes)


def pipeline(options):
    sock = tcp(options)
    queries = {}
    for name in options.args:
        q = query(name)
        q.id = random.randrange(65536)
        queries[q.id] = q
    sock.sendall(b"".join(framed(q) for q in queries.values()))
    order = []
    for _ in range(len(queries)):
        r = read_reply(sock)
        q = queries.pop(r.id)
        order.append(q.question[0].name.to_text())
    return {"order": order, "left": len(queries)}


def bytewise(options):
    sock = tcp(options)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for b in framed(query(options.args[0])):
        sock.send(bytes([b]))
        time.sleep(0.002)
    # No more from here: the answer comes all the same.
    sock.shutdown(socket.SHUT_WR)
    r = read_reply(sock)
    return {"answers": sum(len(a) for a in r.answer), "end": sock.recv(1) == b""}


def connections(options):
    socks = [tcp(options) for _ in range(int(options.args[0]))]
    start = time.monotonic()
    time.sleep(0.5)
    closed = select.select(socks, [], [], 0)[0]
    open_ = [s for s in socks if s not in closed]
    kept = len(open_)
    for s in open_:
        s.settimeout(15)
        try:
            s.recv(1)
        except ConnectionError:
            pass
    return {"kept": kept, "seconds": time.monotonic() - start}


def stuck(options):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((options.server, 53))
    sock.settimeout(1)
    sent = 0
    try:
        for _ in range(int(options.args[1])):
            sock.sendall(framed(query(options.args[0])))
            sent += 1
    except (TimeoutError, ConnectionError):
        pass
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    let_go = bool(poll.poll(options.wait * 1000))
    got = 0
    try:
        while True:
            data = sock.recv(65536)
            if not data:
                break
            got += len(data)
    except (TimeoutError, ConnectionError):
        pass
    return {"sent": sent, "bytes": got, "let_go": let_go}


def nonsense(options):
    good = query("x.ok.test").to_wire()
    answer = dns.message.make_response(dns.message.from_wire(good)).to_wire()
    messages = [b"", b"x", good[:11], answer, bytes(65000)]
    refused = [good[:14], good + b"more", good[:4] + b"\xff\xff" + good[6:],
               good[:2] + b"\x29" + good[3:]]
    codes = collections.Counter()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(0.5)
    sock.connect((options.server, 53))
    for m in messages + refused:
        sock.send(m)
        try:
            codes[dns.rcode.to_text(sock.recv(65535)[3] & 15)] += 1
        except TimeoutError:
            codes["nothing"] += 1
    # By TCP a length that no query has ends the connection.
    for head in (b"\0\0", b"\0\5", b"\xff\xff"):
        s = tcp(options)
        s.send(head)
        try:
            codes["closed" if s.recv(1) == b"" else "answered"] += 1
        except ConnectionError:
            codes["closed"] += 1
    return dict(codes)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="192.0.2.53")
    parser.add_argument("--wait", type=float, default=1)
    parser.add_argument("mode", choices=["flood", "pipeline", "bytewise", "connections", "stuck",
                                         "nonsense"])
    parser.add_argument("args", nargs="*")
    options = parser.parse_args()
    print(json.dumps(globals()[options.mode](options)))


if __name__ == "__main__":
    main()
