#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What an application may do with a TCP stream, tried end to end: serve PORT | try ADDRESS PORT.

The server looks at the first byte of a connection to know its part. Each trial prints a TAP
line without a number ("ok - text"); the caller counts.
"""

import hashlib
import os
import select
import socket
import struct
import sys
import threading
import time

SIZE = 8 << 20


def read_all(s):
    parts = []
    while True:
        data = s.recv(1 << 16)
        if not data:
            return b"".join(parts)
        parts.append(data)


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def pattern(n, seed):
    return (hashlib.sha256(seed).digest() * (n // 32 + 1))[:n]


# --- the server's parts ----------------------------------------------------------------------

def part_digest(s):
    """Reads to the end, answers with the digest: half-close towards the server."""
    s.sendall(hashlib.sha256(read_all(s)).digest())


def part_source(s):
    """Sends, then ends; reads what the client says after it saw the end."""
    s.sendall(pattern(SIZE, b"source"))
    s.shutdown(socket.SHUT_WR)
    last = read_all(s)
    if last != b"heard the end":
        reset(s)


def part_both(s):
    """Full duplex: echoes everything."""
    while True:
        data = s.recv(1 << 16)
        if not data:
            return
        s.sendall(data)


def part_first(s):
    """Speaks first."""
    s.sendall(b"220 hello\r\n")
    read_all(s)


def part_reset(s):
    s.recv(1)
    reset(s)


def part_stuck(s):
    """Reads nothing for a while, then everything."""
    time.sleep(1.5)
    s.sendall(struct.pack(">Q", len(read_all(s))))


def part_gone(s):
    """Waits for a reset of the client and remembers it."""
    try:
        read_all(s)
        PART_GONE.append("end")
    except ConnectionResetError:
        PART_GONE.append("reset")


def part_ask(s):
    s.sendall((PART_GONE.pop() if PART_GONE else "nothing").encode())


PART_GONE = []
PARTS = {b"d": part_digest, b"s": part_source, b"b": part_both, b"f": part_first,
         b"r": part_reset, b"k": part_stuck, b"g": part_gone, b"a": part_ask}


def serve_one(s):
    with s:
        try:
            part = PARTS.get(s.recv(1))
            if part:
                part(s)
        except OSError:
            pass


def serve(port):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, backlog=128,
                                    dualstack_ipv6=True)
    while True:
        s, _ = listener.accept()
        threading.Thread(target=serve_one, args=(s,), daemon=True).start()


# --- the client's trials ---------------------------------------------------------------------

def dial(where, part):
    s = socket.create_connection(where, timeout=30)
    s.sendall(part)
    return s


def trial_digest(where):
    """8 MiB to the server, its end, then an answer"""
    s, data = dial(where, b"d"), os.urandom(SIZE)
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    return read_all(s) == hashlib.sha256(data).digest()


def trial_source(where):
    """8 MiB from the server, its end, and still something back"""
    s = dial(where, b"s")
    good = read_all(s) == pattern(SIZE, b"source")
    s.sendall(b"heard the end")
    s.shutdown(socket.SHUT_WR)
    return good and s.recv(1) == b""


def trial_both(where):
    """8 MiB both ways at once in odd pieces"""
    s, data, got = dial(where, b"b"), os.urandom(SIZE), bytearray()
    s.setblocking(False)
    at, step = 0, 1
    while len(got) < len(data):
        r, w, _ = select.select([s], [s] if at < len(data) else [], [], 30)
        if not r and not w:
            return False
        if w:
            step = step * 3 % 70001 + 1
            at += s.send(data[at:at + step])
        if r:
            got += s.recv(1 << 16)
    return bytes(got) == data


def trial_empty(where):
    """a connection that only opens and closes"""
    s = socket.create_connection(where, timeout=30)
    s.shutdown(socket.SHUT_WR)
    return s.recv(1) == b""


def trial_first(where):
    """the server speaks first"""
    return dial(where, b"f").recv(100).startswith(b"220")


def trial_reset(where):
    """a reset of the server arrives as one"""
    s = dial(where, b"rx")
    try:
        s.recv(1)
    except ConnectionResetError:
        return True
    return False


def trial_gone(where):
    """a reset of the client arrives as one"""
    s = dial(where, b"g")
    time.sleep(0.3)
    reset(s)
    for _ in range(100):
        answer = read_all(dial(where, b"a"))
        if answer != b"nothing":
            return answer == b"reset"
        time.sleep(0.1)
    return False


def trial_stuck(where):
    """a server that does not read stops the client, and nothing is lost"""
    s = dial(where, b"k")
    s.setblocking(False)
    sent, blocked, end = 0, False, time.monotonic() + 1
    chunk = bytes(1 << 16)
    while time.monotonic() < end:
        try:
            sent += s.send(chunk)
        except BlockingIOError:
            blocked = True
            time.sleep(0.01)
    s.setblocking(True)
    s.settimeout(30)
    s.shutdown(socket.SHUT_WR)
    return blocked and struct.unpack(">Q", read_all(s))[0] == sent


def trial_many(where):
    """60 connections at once, each with its own bytes"""
    good = []

    def one(i):
        s, data = dial(where, b"d"), pattern(200000 + i, b"%d" % i)
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        good.append(read_all(s) == hashlib.sha256(data).digest())

    threads = [threading.Thread(target=one, args=(i,)) for i in range(60)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return len(good) == 60 and all(good)


def main():
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    where = (sys.argv[2], int(sys.argv[3]))
    for name, fn in list(globals().items()):
        if not name.startswith("trial_"):
            continue
        try:
            good, why = fn(where), ""
        except OSError as e:
            good, why = False, f" ({e})"
        print(f"{'ok' if good else 'not ok'} - {fn.__doc__}{why}", flush=True)


if __name__ == "__main__":
    main()
