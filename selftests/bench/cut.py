#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a live connection outlives the policy that denies it.

cut.py TIMES POLICY DIRECTORY NETNS (WAY SOCKET ADDRESS PORT)...: each time a connection of each
WAY is made in NETNS, proven by an echo, and looked up at the agent of SOCKET, its destination's.
Then the manifest POLICY, a file of the same file system that denies them all, appears in
DIRECTORY. A line for each:

    WAY MS MS-FROM-THE-WRITE

until the application is told of the reset. The first counts from the last time that the agent was
asked for its policies and did not tell of this one, so it may be too much, never too little.
"""

import ctypes
import os
import socket
import sys
import threading
import time

from enrol import LIMIT_S, ask

CLONE_NEWNET = 0x40000000
POLL_S = 0.002


def patiently(what, test):
    end = time.monotonic() + LIMIT_S
    while not (result := test()):
        if time.monotonic() > end:
            sys.exit(f"{what}: not in {LIMIT_S} s")
        time.sleep(POLL_S)
    return result


def in_force(path):
    return bool(ask(path, {"command": "policies"})["policies"])


def inbound(path, to):
    return [c for c in ask(path, {"command": "connections"})["connections"]
            if c["actualDst"] == to and c["direction"] == "inbound"]


def hold(way, path, host, port):
    """A connection, the only one to there, if it goes the way: that is known when it lives."""
    to = f"{host}:{port}"
    patiently(f"nobody at {to}", lambda: not inbound(path, to))
    s = socket.create_connection((host, port), timeout=LIMIT_S)
    s.sendall(b"cut?")
    s.recv(4, socket.MSG_WAITALL)
    if patiently(to, lambda: inbound(path, to))[0]["way"] == way:
        return s
    s.close()
    return None


class Held:
    def __init__(self, way, path, host, port):
        self.way, self.path = way, path
        self.socket = patiently(way, lambda: hold(way, path, host, int(port)))
        self.reset = self.asked = None
        self.threads = [threading.Thread(target=f) for f in (self.watch, self.poll)]
        for t in self.threads:
            t.start()

    def watch(self):
        try:
            self.socket.recv(1)
        except ConnectionResetError:
            self.reset = time.perf_counter()
        except TimeoutError:
            pass

    def poll(self):
        self.asked = asked = time.perf_counter()
        while not in_force(self.path):
            time.sleep(POLL_S)
            self.asked, asked = asked, time.perf_counter()

    def told(self, written):
        for t in self.threads:
            t.join()
        if not self.reset:
            sys.exit(f"{self.way}: the connection was not reset")
        self.socket.close()
        print(self.way, f"{(self.reset - self.asked) * 1000:.3f}",
              f"{(self.reset - written) * 1000:.3f}", flush=True)


def main():
    times, policy, directory, netns, args = (int(sys.argv[1]), *sys.argv[2:5], sys.argv[5:])
    ways = list(zip(*[iter(args)] * 4))
    with open(netns, encoding="utf-8") as f:
        if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET):
            sys.exit(f"{netns}: {os.strerror(ctypes.get_errno())}")
    there = os.path.join(directory, os.path.basename(policy))
    for _ in range(times):
        held = [Held(*w) for w in ways]
        written = time.perf_counter()
        os.link(policy, there)
        for h in held:
            h.told(written)
        os.unlink(there)
        for _, path, _, _ in ways:
            patiently(path, lambda p=path: not in_force(p))


if __name__ == "__main__":
    main()
