#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An HBONE client whose TLS is openssl s_client, which updates its keys on command.

    key_update.py --to 10.12.0.10 --authority 10.12.0.10:9000 --issuer CA/root.key --roots
                  CA/root.pem --id SPIFFE-ID

Bytes go to an echo server and back before an update, after one, and after one that asks for the
same. Prints JSON: echoed (how many of the three came back), closed (the server ended the
connection), goaway (its code).
"""

import argparse
import fcntl
import json
import os
import select
import struct
import subprocess
import tempfile
import termios
import time

import hpack

import certs
import frames as f

PIECE = bytes(range(256)) * 8
# s_client takes a read that begins with one of these letters for a command.
UPDATE, UPDATE_AND_ASK = b"k\n", b"K\n"


class Client:
    def __init__(self, args, where):
        paths = {"cert": os.path.join(where, "chain"), "key": os.path.join(where, "key")}
        pems = certs.leaf(certs.Issuer.load(args.issuer), args.id)
        for path, pem in zip(paths.values(), pems):
            with open(path, "wb") as out:
                out.write(pem)
        self.args = args
        self.tls = subprocess.Popen(
            ["openssl", "s_client", "-connect", args.to + ":15008", "-tls1_3", "-brief", "-alpn",
             "h2", "-cert", paths["cert"], "-key", paths["key"], "-CAfile", args.roots],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        self.reader = f.Reader()
        self.status, self.body, self.goaway, self.closed = None, b"", None, False

    def send(self, data):
        try:
            self.tls.stdin.write(data)
        except BrokenPipeError:
            self.closed = True

    def command(self, letter):
        """Alone in a read of its own: what was sent before it is gone from the pipe."""
        pipe = self.tls.stdin.fileno()
        end = time.monotonic() + self.args.timeout
        while self.unread(pipe) and time.monotonic() < end and not self.closed:
            self.read(0.05, lambda: False)
        self.send(letter)
        while self.unread(pipe) and time.monotonic() < end and not self.closed:
            self.read(0.05, lambda: False)

    @staticmethod
    def unread(pipe):
        return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0]

    def read(self, seconds, until):
        end = time.monotonic() + seconds
        while not until() and not self.closed:
            left = end - time.monotonic()
            if left <= 0:
                return False
            if not select.select([self.tls.stdout], [], [], left)[0]:
                continue
            data = os.read(self.tls.stdout.fileno(), 1 << 16)
            self.closed = not data
            for kind, flags, stream, payload in self.reader.feed(data):
                self.take(kind, flags, stream, payload)
        return until()

    def take(self, kind, flags, stream, payload):
        if kind == f.HEADERS:
            self.status = int(dict(self.reader.decoder.decode(payload))[":status"])
        elif kind == f.DATA:
            self.body += payload
            self.send(f.window_update(0, len(payload)) + f.window_update(stream, len(payload)))
        elif kind == f.SETTINGS and not flags & f.ACK:
            self.send(f.frame(f.SETTINGS, f.ACK))
        elif kind == f.PING and not flags & f.ACK:
            self.send(f.frame(f.PING, f.ACK, payload=payload))
        elif kind == f.GOAWAY:
            self.goaway = struct.unpack(">I", payload[4:8])[0]

    def echo(self):
        self.body = b""
        self.send(f.frame(f.DATA, 0, 1, PIECE))
        self.read(self.args.timeout, lambda: len(self.body) >= len(PIECE))
        return self.body == PIECE


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--to", required=True)
    p.add_argument("--authority", required=True)
    p.add_argument("--issuer", required=True)
    p.add_argument("--roots", required=True)
    p.add_argument("--id", required=True)
    p.add_argument("--timeout", type=float, default=60)
    args = p.parse_args()
    echoed = 0
    with tempfile.TemporaryDirectory() as where:
        c = Client(args, where)
        c.send(f.PREFACE + f.settings() + f.connect(hpack.Encoder(), 1, args.authority))
        if c.read(args.timeout, lambda: c.status) and c.status == 200:
            for letter in (None, UPDATE, UPDATE_AND_ASK):
                if letter:
                    c.command(letter)
                echoed += c.echo()
        c.tls.kill()
        c.tls.wait()
    print(json.dumps({"echoed": echoed, "status": c.status, "closed": c.closed,
                      "goaway": c.goaway}))


main()
