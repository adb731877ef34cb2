#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A name server for "test." that does what a name says, by UDP and TCP, and logs each query as
a line of JSON.

  ANY.ok.test           A 192.0.2.1, AAAA 2001:db8::1
  n-COUNT.test          COUNT addresses
  rude-COUNT.test       the same, by UDP longer than the client allows
  slow-MS.test          answers as ok.test after so many milliseconds
  never.test            no answer; by TCP it reads and keeps still
  wrong.test            answers of a wrong number, a wrong question, then the right one
  servfail.test, refused.test, txt.test (what was seen of the query)

Any other name does not exist.
"""
import argparse
import json
import socket
import struct
import sys
import threading
import time

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

options = None


def log(**what):
    print(json.dumps(what), flush=True)


def addresses(reply, question, count):
    kind = dns.rdatatype.to_text(question.rdtype)
    texts = []
    if kind == "A":
        texts = ["192.0.%d.%d" % (2 + (i + 1) // 256, (i + 1) % 256) for i in range(count)]
    elif kind == "AAAA":
        texts = ["2001:db8::%x" % (i + 1) for i in range(count)]
    if texts:
        reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *texts))


def answer(query, proto, source):
    """(delay in seconds, reply or None, longest reply by UDP)"""
    question = query.question[0]
    labels = [l.decode() for l in question.name.labels[:-1]]
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.RA
    limit = max(512, query.payload if query.edns >= 0 else 512)
    delay = options.delay
    name = labels[-2].lower() if len(labels) > 1 and labels[-1].lower() == "test" else ""
    word, _, number = name.partition("-")
    number = int(number) if number.isdigit() else 0
    if options.silent or word == "never":
        return 0, None, 0
    if options.rcode:
        reply.set_rcode(dns.rcode.from_text(options.rcode))
    elif word in ("ok", "wrong"):
        addresses(reply, question, 1)
    elif word == "slow":
        delay = number / 1000
        addresses(reply, question, 1)
    elif word in ("n", "rude"):
        addresses(reply, question, number)
        limit = 65535 if word == "rude" else limit
    elif word in ("servfail", "refused"):
        reply.set_rcode(dns.rcode.from_text(word.upper()))
    elif word == "txt":
        seen = "proto=%s edns=%d size=%d from=%s server=%s" % (
            proto, query.edns, query.payload, source, options.name)
        reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", "TXT", '"%s"' % seen))
    else:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    return delay, reply, limit


def to_udp(reply, limit):
    wire = reply.to_wire(max_size=65535)
    if len(wire) <= limit:
        return wire
    reply.flags |= dns.flags.TC
    reply.answer = []
    return reply.to_wire()


def wrong_ones(reply, limit):
    """What nobody may take for the answer."""
    wire = bytearray(to_udp(reply, limit))
    other_id = bytes([wire[0] ^ 1]) + bytes(wire[1:])
    other_name = bytes(wire[:13]) + bytes([wire[13] ^ 1]) + bytes(wire[14:])
    a_query = bytes(wire[:2]) + bytes([wire[2] & 0x7f]) + bytes(wire[3:])
    return [other_id, other_name, a_query, b"", b"x"]


def seen(query, proto, source):
    question = query.question[0]
    log(proto=proto, name=question.name.to_text(), type=dns.rdatatype.to_text(question.rdtype),
        source=source[0], port=source[1], id=query.id, edns=query.edns, size=query.payload,
        server=options.name)


def serve_udp(sock):
    while True:
        data, source = sock.recvfrom(65535)
        try:
            query = dns.message.from_wire(data)
        except Exception as e:
            log(proto="udp", bad=str(e), source=source[0])
            continue
        seen(query, "udp", source)
        delay, reply, limit = answer(query, "udp", source[0])
        if reply is None:
            continue
        if b"wrong" in query.question[0].name.labels:
            for wire in wrong_ones(reply, limit):
                sock.sendto(wire, source)
        wire = to_udp(reply, limit)
        if delay:
            threading.Timer(delay, sock.sendto, (wire, source)).start()
        else:
            sock.sendto(wire, source)


def exactly(conn, n):
    data = b""
    while len(data) < n:
        more = conn.recv(n - len(data))
        if not more:
            return None
        data += more
    return data


def serve_client(conn, source):
    with conn:
        while True:
            head = exactly(conn, 2)
            data = head and exactly(conn, struct.unpack("!H", head)[0])
            if not data:
                return
            query = dns.message.from_wire(data)
            seen(query, "tcp", source)
            delay, reply, _ = answer(query, "tcp", source[0])
            if reply is None:
                continue
            time.sleep(delay)
            wire = reply.to_wire(max_size=65535)
            wire = struct.pack("!H", len(wire)) + wire
            # In pieces, as TCP may have it.
            for piece in (wire[:1], wire[1:5], wire[5:]):
                conn.sendall(piece)
                time.sleep(0.001)


def serve_tcp(sock):
    while True:
        conn, source = sock.accept()
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve_client, args=(conn, source), daemon=True).start()


def bind(kind, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, options.port))
    return sock


def main():
    global options
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="+")
    parser.add_argument("--port", type=int, default=53)
    parser.add_argument("--name", default="first", help="what txt.test says")
    parser.add_argument("--silent", action="store_true", help="never answer")
    parser.add_argument("--no-tcp", action="store_true")
    parser.add_argument("--rcode", help="answer everything with this error")
    parser.add_argument("--delay", type=float, default=0)
    options = parser.parse_args()
    threads = []
    for address in options.address:
        threads.append(threading.Thread(target=serve_udp, args=(bind(socket.SOCK_DGRAM, address),)))
        if not options.no_tcp:
            tcp = bind(socket.SOCK_STREAM, address)
            tcp.listen(64)
            threads.append(threading.Thread(target=serve_tcp, args=(tcp,)))
    for t in threads:
        t.start()
    log(ready=True, server=options.name)
    for t in threads:
        t.join()


if __name__ == "__main__":
    sys.exit(main())
