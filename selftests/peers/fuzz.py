#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Malicious HBONE peers: good handshakes, then frames and records at random, broken and not.

    fuzz.py client --to 10.12.0.10 --authority 10.12.0.10:9000 --issuer FILE --roots FILE
                   --id SPIFFE-ID [--seconds 60] [--seed 1] [--first 0] [--count N]
    fuzz.py server --issuer ... --id ... [--seed 1] [--first 0]     serves port 15008
    fuzz.py call --to 10.12.0.11:9000 [--seconds 60]     applications whose agent meets the server

What connection N says is made of the seed and N alone (and the authority), before it begins:
`--first N --count 1` says it once more. Which ones were under way is printed as they begin, so that the last line before
a crash names it. In the end client and call print a line of JSON: how many connections there were,
how many got their 200 (or any byte), how many the other side ended.
"""

import argparse
import json
import random
import select
import socket
import ssl
import struct
import sys
import threading
import time

import hpack

import certs
import frames as f

PORT = 15008
AT_ONCE = 4
LIMIT_S = 10  # for an answer
PIECES_S = 20  # for all that a connection says
# Around limits of frames, windows and records.
SIZES = (0, 1, 2, 8, 9, 63, 255, 256, 1000, 4095, 4096, 16375, 16376, 16383, 16384, 16385, 20000)
NUMBERS = (0, 1, 2, 100, 16383, 16384, 65535, 65536, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


def say(line):
    """Whole lines, of whatever thread."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# --- what is said ----------------------------------------------------------------------------

class Plan:
    """A list of what to do: ("send", bytes), ("raw", bytes) below TLS, ("break", how, where) the
    next record, ("read", seconds), ("end", how)."""

    def __init__(self, seed, number, authority):
        self.rng = random.Random(f"{seed}/{number}")
        self.authority = authority  # what a side that begins streams asks for, else None
        self.encoder = hpack.Encoder()
        self.next = 3
        self.steps = []
        self.early = self.rng.random() < 0.25  # before an answer, so that the agent has read it
        self.greedy = self.rng.random() < 0.8  # takes what comes
        self.hello = f.settings(window=1 << 20) if self.greedy else f.settings()
        if authority:
            self.hello = f.PREFACE + self.hello + f.connect(self.encoder, 1, authority)
        self.mood = self.rng.choices(("mild", "wild", "noise"), (6, 3, 1))[0]
        count = self.rng.randrange(1, 200 if self.mood == "mild" else 60)
        data = b"".join(getattr(self, self.mood)() for _ in range(count))
        if self.mood == "wild" or self.rng.random() < 0.1:
            data = self.mutate(data)
        self.cut(data)
        self.steps.append(("end", self.rng.choice(("reset", "close", "bye", "wait", "half"))))

    def number(self):
        r = self.rng
        return r.choice(NUMBERS) if r.random() < 0.6 else r.getrandbits(32)

    def stream(self):
        """Mostly one that is open, or was."""
        r = self.rng
        if self.mood == "mild":
            return r.choice(range(1, self.next, 2)[-8:])
        if r.random() < 0.8:
            return r.choice((1, 1, 3, 5, max(1, self.next - 2)))
        return r.choice((0, 2, self.next, self.next + 100, 0x7fffffff, 0x80000001, 0xffffffff))

    def payload(self, most=2000):
        r = self.rng
        return r.randbytes(r.choice(SIZES) if r.random() < 0.2 else r.randrange(most))

    # Each gives the bytes of one frame, or of a few.

    def data(self):
        r, flags, payload = self.rng, 0, self.payload()
        if self.mood == "mild":
            payload = payload[:16128]
        if r.random() < 0.3:
            pad = r.randrange(min(255, len(payload)) + 1)
            if self.mood != "mild" and r.random() < 0.1:
                pad = 255
            payload, flags = bytes([pad]) + payload, f.PADDED
        if r.random() < 0.03:
            flags |= f.END_STREAM
        return f.frame(f.DATA, flags, self.stream(), payload)

    def window(self):
        sane = self.mood == "mild" or self.rng.random() < 0.9
        return f.window_update(self.rng.choice((0, self.stream())),
                               self.rng.randrange(1, 70000) if sane else self.number())

    def settings(self):
        r = self.rng
        if r.random() < 0.2:
            return f.frame(f.SETTINGS, f.ACK)
        pairs = [(r.choice((1, 2, 3, 4, 4, 5, 6, 8, r.getrandbits(16))), self.number())
                 for _ in range(r.randrange(4))]
        if self.mood == "mild" or r.random() < 0.8:
            pairs = [(3, r.randrange(200)), (4, r.choice((0, 1, 65535, 1 << 20)))][:len(pairs)]
        return f.frame(f.SETTINGS, 0, 0, b"".join(struct.pack(">HI", *p) for p in pairs))

    def ping(self):
        return f.frame(f.PING, self.rng.randrange(2), 0, self.rng.randbytes(8))

    def reset(self):
        return f.rst(self.stream(), self.number())

    def goaway(self):
        return f.frame(f.GOAWAY, 0, 0, struct.pack(">II", self.number(), self.number())
                       + self.payload(50))

    def headers(self):
        """A new stream, trailers, or an answer."""
        r = self.rng
        flags = f.END_HEADERS | (f.END_STREAM if r.random() < 0.1 else 0)
        if self.authority and r.random() < 0.8:
            stream, self.next = self.next, self.next + 2
            where = self.authority if r.random() < 0.9 else "nowhere:1"
            return f.connect(self.encoder, stream, where, flags=flags)
        block = self.encoder.encode([(":status", "200")] if r.random() < 0.5 else [("x", "y")])
        return f.frame(f.HEADERS, flags, self.stream(), block)

    def block(self):
        """Headers that nobody can read, or that do not end."""
        r = self.rng
        kind = r.choice((f.HEADERS, f.HEADERS, f.CONTINUATION, f.PUSH_PROMISE))
        return f.frame(kind, r.choice((0, 4, 5, 8, 0x24, 0x2c)), self.stream(), self.payload(200))

    def odd(self):
        """Any kind, any flags."""
        r = self.rng
        return f.frame(r.choice((f.PRIORITY, f.PRIORITY, r.randrange(256))), r.randrange(256),
                       self.stream(), self.payload(50))

    def liar(self):
        """A length that is not so."""
        r = self.rng
        payload = self.payload(100)
        return f.frame(r.randrange(10), r.randrange(16), self.stream(), payload,
                       r.choice((0, 1, len(payload) + 1, 16384, 16385, (1 << 24) - 1)))

    def mild(self):
        """What a connection bears, but for now and then."""
        kinds = (self.data, self.window, self.settings, self.ping, self.headers, self.reset,
                 self.unknown, self.odd, self.goaway, self.block)
        return self.rng.choices(kinds, (40, 20, 2, 3, 10, 2, 1, 0.1, 0.1, 0.1))[0]()

    def unknown(self):
        return f.frame(self.rng.randrange(0x10, 0x100), self.rng.randrange(256), self.stream(),
                       self.payload(50))

    def wild(self):
        kinds = (self.data, self.window, self.settings, self.ping, self.headers, self.reset,
                 self.odd, self.goaway, self.block, self.liar)
        return self.rng.choices(kinds, (20, 10, 6, 6, 10, 8, 6, 3, 3, 1))[0]()

    def noise(self):
        return self.rng.randbytes(self.rng.randrange(1, 300))

    def mutate(self, data):
        """A few bytes change, a piece is lost, or comes twice."""
        r, data = self.rng, bytearray(data)
        for _ in range(r.randrange(1, 4)):
            if not data:
                break
            at, n = r.randrange(len(data)), r.randrange(1, 30)
            how = r.choice(("bit", "byte", "lost", "twice", "end"))
            if how == "bit":
                data[at] ^= 1 << r.randrange(8)
            elif how == "byte":
                data[at] = r.randrange(256)
            elif how == "lost":
                del data[at:at + n]
            elif how == "twice":
                data[at:at] = data[at:at + n]
            elif r.random() < 0.2:
                del data[at:]
        return bytes(data)

    def cut(self, data):
        """Into records of any size, with pauses; now and then one is broken."""
        r, at = self.rng, 0
        fault = r.randrange(len(data) + 1) if r.random() < 0.25 else len(data)
        most = r.choice((1, 9, 100, 3000, 16384, 40000))
        # Byte by byte only so far.
        least = len(data) // 300
        while at < len(data):
            n = least + r.randrange(1, most + 1)
            if at <= fault < at + n and fault < len(data):
                how = r.choice(("bit", "type", "short", "long", "raw"))
                self.steps.append(("raw", r.randbytes(r.randrange(1, 100))) if how == "raw"
                                  else ("break", how, r.getrandbits(16)))
            self.steps.append(("send", data[at:at + n]))
            if r.random() < 0.1:
                self.steps.append(("read", r.choice((0, 0, 0.01, 0.1))))
            at += n


# --- how it is said --------------------------------------------------------------------------

class Gone(Exception):
    """The other side ended the connection, or broke it."""


class Wire:
    """TLS over memory, so that what is on the wire can be touched."""

    def __init__(self, sock, context, server):
        self.sock = sock
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.into, self.out, server_side=server)
        self.reader = f.Reader()
        self.skip = len(f.PREFACE) if server else 0  # of what comes
        self.broken = None
        self.ended = False

    def wait(self, events, seconds):
        ready = select.select([self.sock], [self.sock] if events == "w" else [], [],
                              max(0, seconds))
        return ready[0] or ready[1]

    def fill(self):
        """What there is; False: nothing now."""
        try:
            data = self.sock.recv(1 << 16)
        except BlockingIOError:
            return False
        except OSError as e:
            self.ended = True
            raise Gone(str(e)) from None
        if not data:
            self.ended = True
            raise Gone("end")
        self.into.write(data)
        return True

    def put(self, data):
        """To the socket; reads meanwhile, or both sides could wait for each other."""
        end = time.monotonic() + LIMIT_S
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view):]
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Gone("it takes nothing") from None
                if self.wait("w", 1):
                    self.fill()
            except OSError as e:
                self.ended = True
                raise Gone(str(e)) from None

    def flush(self):
        data = self.out.read()
        if data and self.broken:
            data = self.damage(bytearray(data), *self.broken)
            self.broken = None
        if data:
            self.put(data)

    @staticmethod
    def damage(data, how, where):
        if how == "bit":
            data[5 + where % max(1, len(data) - 5)] ^= 1 << where % 8
        elif how == "type":
            data[0] = where & 0xff
        elif how == "short":
            data[3:5] = struct.pack(">H", where % 30)
        elif how == "long":
            data[3:5] = struct.pack(">H", 0x4000 + where % 0x800)
        return bytes(data)

    def handshake(self):
        end = time.monotonic() + LIMIT_S
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                if not self.wait("r", end - time.monotonic()):
                    raise Gone("no handshake") from None
                self.fill()
        self.flush()

    def send(self, data):
        if data:
            self.tls.write(data)
            self.flush()

    def frames(self):
        """What has come, without waiting."""
        try:
            while data := self.tls.read(1 << 16):
                n = min(self.skip, len(data))
                self.skip -= n
                yield from self.reader.feed(data[n:])
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as e:
            self.ended = True
            raise Gone(str(e)) from None

    def close(self, how):
        try:
            if how == "bye":
                self.tls.unwrap()
        except ssl.SSLError:
            pass
        try:
            if how == "bye":
                self.flush()
            if how == "half":
                self.sock.shutdown(socket.SHUT_WR)
            if how in ("half", "wait"):
                end = time.monotonic() + 1
                while self.wait("r", end - time.monotonic()):
                    self.fill()
        except (OSError, Gone):
            pass
        if how == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Talk:
    """A connection from its handshake to its end."""

    def __init__(self, args, number):
        """Before there is a connection: on an emulated CPU a plan takes its time."""
        self.plan = Plan(args.seed, number, args.authority)
        self.number, self.wire = number, None
        self.answered = self.told = False
        self.done = 0

    def take(self, frames):
        """Is polite, for what comes beside it; of DATA only if it feels like it."""
        for kind, flags, stream, payload in frames:
            answer = b""
            if kind == f.SETTINGS and not flags & f.ACK:
                answer = f.frame(f.SETTINGS, f.ACK)
                self.told = True
            elif kind == f.PING and not flags & f.ACK:
                answer = f.frame(f.PING, f.ACK, payload=payload)
            elif kind == f.HEADERS and self.plan.authority:
                self.answered = True
            elif kind == f.HEADERS:
                self.answered = True
                answer = f.frame(f.HEADERS, f.END_HEADERS, stream,
                                 self.plan.encoder.encode([(":status", "200")]))
            elif kind == f.DATA and payload and self.plan.greedy:
                answer = f.window_update(0, len(payload)) + f.window_update(stream, len(payload))
            self.wire.send(answer)

    def read(self, seconds, until=lambda: False):
        end = time.monotonic() + seconds
        while True:
            self.take(self.wire.frames())
            left = end - time.monotonic()
            if until() or left < 0 or not self.wire.wait("r", left):
                return
            self.wire.fill()

    def step(self, what, *with_):
        if what == "send":
            self.wire.send(with_[0])
        elif what == "raw":
            self.wire.put(with_[0])
        elif what == "break":
            self.wire.broken = with_
        elif what == "read":
            self.read(*with_)

    def run(self, wire):
        """Tells what became of it, too."""
        self.wire = wire
        begun, how, why = time.monotonic(), "close", "all said"
        try:
            self.wire.handshake()
            self.wire.send(self.plan.hello)
            if not self.plan.early:
                self.read(LIMIT_S, lambda: self.answered and self.told)
            end = time.monotonic() + PIECES_S
            for step in self.plan.steps[:-1]:
                self.step(*step)
                self.done += 1
                if time.monotonic() > end:
                    break
            how = self.plan.steps[-1][1]
        except Gone as e:
            why = str(e)
        except (ValueError, hpack.HPACKError, OSError) as e:
            # Of what we wrote ourselves nothing is to be trusted.
            why = f"{type(e).__name__}: {e}"
        self.wire.close(how)
        say(f"# connection {self.number}: {self.done} of {len(self.plan.steps) - 1} steps in"
            f" {time.monotonic() - begun:.1f} s; {why}; {how}")


# --- who -------------------------------------------------------------------------------------

def client_context(args):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.minimum_version = ssl.TLSVersion.TLSv1_3
    c.load_verify_locations(cafile=args.roots)
    c.set_alpn_protocols(["h2"])
    certs.into_context(c, *certs.leaf(certs.Issuer.load(args.issuer), args.id))
    return c


def server_context(args):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.minimum_version = ssl.TLSVersion.TLSv1_3
    c.verify_mode = ssl.CERT_REQUIRED
    c.load_verify_locations(cafile=args.roots)
    c.num_tickets = 0
    c.set_alpn_protocols(["h2"])
    certs.into_context(c, *certs.leaf(certs.Issuer.load(args.issuer), args.id))
    return c


class Turn:
    """Numbers for connections, until the time is over or enough had one."""

    def __init__(self, args):
        self.next, self.lock = args.first, threading.Lock()
        self.first, self.count = args.first, args.count
        self.end = time.monotonic() + args.seconds
        self.result = {"connections": 0, "answered": 0, "ended": 0}

    def take(self):
        with self.lock:
            if time.monotonic() > self.end or \
                    self.count and self.next >= self.first + self.count:
                return None
            say(f"# connection {self.next}")
            self.next += 1
            return self.next - 1

    def add(self, answered, ended):
        with self.lock:
            self.result["connections"] += 1
            self.result["answered"] += bool(answered)
            self.result["ended"] += bool(ended)


def client(args):
    context, turn = client_context(args), Turn(args)

    def one():
        while (number := turn.take()) is not None:
            t = Talk(args, number)
            try:
                s = socket.create_connection((args.to, PORT), timeout=LIMIT_S)
            except OSError as e:
                say(f"# connection {number}: {e}")
                continue
            t.run(Wire(s, context, False))
            turn.add(t.answered, t.wire.ended)

    at_once(one)
    say(json.dumps(turn.result))


def at_once(one):
    threads = [threading.Thread(target=one) for _ in range(AT_ONCE)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def server(args):
    context, turn = server_context(args), Turn(args)
    turn.end = float("inf")
    listener = socket.create_server(("::", PORT), family=socket.AF_INET6, backlog=128,
                                    dualstack_ipv6=True)
    while True:
        t = Talk(args, turn.take())
        s, _ = listener.accept()
        threading.Thread(target=t.run, args=(Wire(s, context, True),), daemon=True).start()


def call(args):
    """An application: says something, and takes what comes, for a moment."""
    turn = Turn(args)
    host, port = args.to.rsplit(":", 1)

    def one():
        while (number := turn.take()) is not None:
            r, answered, ended = random.Random(f"{args.seed}/{number}"), False, False
            try:
                with socket.create_connection((host, int(port)), timeout=LIMIT_S) as s:
                    s.settimeout(r.choice((0.3, 2, LIMIT_S)))
                    s.sendall(r.randbytes(r.choice(SIZES)))
                    if r.random() < 0.3:
                        s.shutdown(socket.SHUT_WR)
                    while s.recv(1 << 16):
                        answered = True
                ended = True
            except TimeoutError:
                pass
            except OSError:
                ended = True
            turn.add(answered, ended)

    at_once(one)
    say(json.dumps(turn.result))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("part", choices=("client", "server", "call"))
    p.add_argument("--to")
    p.add_argument("--authority")
    p.add_argument("--issuer")
    p.add_argument("--roots")
    p.add_argument("--id")
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--first", type=int, default=0)
    p.add_argument("--count", type=int, default=0)
    args = p.parse_args()
    {"client": client, "server": server, "call": call}[args.part](args)


if __name__ == "__main__":
    sys.exit(main())
