#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A ZDS server that behaves as istio-cni does (ztunnel-interop 3.1 to 3.3), or does not.

    zds_server.py serve PATH             listens at PATH, and for commands at PATH.ctl
    zds_server.py ask PATH KEY=VALUE...  one command; prints the answer as JSON

Its messages are made by hand, so that nothing is shared with the agent. A new connection hears
a snapshot: add for each pod, keep for those whose namespace is not at hand, snapshot_sent. Adds
go to the newest connection, deletes to all. It waits 5 s for each answer, and reads 10 ms after
5 s of silence: whatever comes then was not asked for, and ends the connection.

do=...
  add, register uid= ns= name= sa= netns=   a pod; register only counts for the next snapshot
  del, forget uid=                  gone; forget tells nobody until the next snapshot
  hide uid=                         its namespace is not at hand any more: keep
  rules, unrules netns= [flavour= ingress=1 nodns=1]   see cni_rules.py
  mode mode=                        of new connections: normal, nosnapshot (hears the hello, says
                                    nothing), silent (does not even read), refuse (closes)
  send what=                        to the newest connection at once, see ODD and pipelined, half
  drop                              ends all connections
  down, up                          as if the CNI were stopped and started: the socket goes
  status                            connections and what is known of them
"""
import json
import os
import queue
import socket
import struct
import sys
import threading
import time

import cni_rules

PACKET = 1024  # buffer size of both sides
ANSWER_SECONDS = 5.0
LIVENESS_SECONDS = 5.0
LIVENESS_READ = 0.01
ACCEPT_EACH = 0.2  # at most 5 connections a second


# --- messages --------------------------------------------------------------------------------

def varint(n):
    out = b""
    while n > 0x7f:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(data):
    """(number, value) of a message's fields."""
    at = 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return n

    while at < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        elif key & 7 == 2:
            n = number()
            yield key >> 3, data[at:at + n]
            at += n
        else:
            raise ValueError("wire type %d" % (key & 7))


def add_message(pod):
    info = field(1, pod["name"]) + field(2, pod["ns"]) + field(3, pod["sa"])
    return field(1, field(1, pod["uid"]) + field(2, info))


def del_message(uid):
    return field(2, field(2, uid))


def keep_message(uid):
    return field(5, field(1, uid))


SNAPSHOT_SENT = field(3, b"")
POD = {"uid": "odd-1", "ns": "demo", "name": "odd", "sa": "odd"}

# name: (packet, number of descriptors of this process's own netns)
ODD = {
    "add-without-fd": (add_message(POD), 0),
    "add-two-fds": (add_message(POD), 2),
    "add-eight-fds": (add_message(POD), 8),
    "add-no-info": (field(1, field(1, "odd-1")), 1),
    "add-bad-name": (add_message(dict(POD, sa="a/b")), 1),
    "add-no-uid": (add_message(dict(POD, uid="")), 1),
    "keep-with-fd": (keep_message("odd-1"), 1),
    "del-with-fd": (del_message("odd-1"), 1),
    "late-keep": (keep_message("odd-1"), 0),
    "second-snapshot": (SNAPSHOT_SENT, 0),
    "del-unknown": (del_message("nobody"), 0),
    "unknown": (field(9, b"\x08\x01"), 0),
    "unknown-with-fd": (field(9, b"\x08\x01"), 1),
    "newer": (del_message("nobody") + field(17, "later"), 0),
    "garbage": (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 0),
    "cut": (add_message(POD)[:-3], 1),
    "empty": (b"", 0),
    "long": (add_message(dict(POD, name="x" * 2000)), 1),
}


# --- connections -----------------------------------------------------------------------------

class Gone(Exception):
    pass


class Connection:
    def __init__(self, server, sock, number):
        self.server = server
        self.sock = sock
        self.info = {"number": number, "hello": None, "snapshot": False, "answers": 0,
                     "slowest": 0.0, "open": True, "why": ""}
        self.work = queue.Queue()
        threading.Thread(target=self.run, daemon=True).start()

    def close(self, why):
        if self.info["open"]:
            self.info["open"] = False
            self.info["why"] = why
        self.server.lost(self)
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def put(self, packet, fds=()):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("%di" % len(fds), *fds))]
        try:
            self.sock.sendmsg([packet], rights if fds else [])
        except OSError as e:
            raise Gone("send: %s" % e)

    def get(self, seconds):
        """A packet; None when there is none in that time."""
        self.sock.settimeout(seconds)
        try:
            data = self.sock.recv(PACKET)
        except socket.timeout:
            return None
        except OSError as e:
            raise Gone("receive: %s" % e)
        if not data:
            raise Gone("the agent hung up")
        return data

    def answer(self):
        """The text of the answer's error."""
        begin = time.monotonic()
        data = self.get(ANSWER_SECONDS)
        if data is None:
            raise Gone("no answer in %g s" % ANSWER_SECONDS)
        self.info["answers"] += 1
        self.info["slowest"] = max(self.info["slowest"], time.monotonic() - begin)
        (number, ack), = fields(data)
        if number != 1:
            raise Gone("an answer that is none")
        return "".join(v.decode() for n, v in fields(ack) if n == 1)

    def request(self, packet, fds=()):
        self.put(packet, fds)
        return self.answer()

    def add(self, pod):
        fd = os.open(pod["netns"], os.O_RDONLY)
        try:
            return self.request(add_message(pod), [fd])
        finally:
            os.close(fd)

    def snapshot(self):
        for pod in self.server.known():
            # A refused pod is the agent's to see to; istio-cni goes on as well.
            if pod["netns"]:
                self.add(pod)
            else:
                self.request(keep_message(pod["uid"]))
        self.request(SNAPSHOT_SENT)
        self.info["snapshot"] = True

    def odd(self, what):
        if what == "pipelined":
            for uid in "a", "b", "c":
                self.put(del_message("nobody-" + uid))
            self.put(ODD["unknown"][0])
            return [self.answer() for _ in range(4)]
        if what == "half":
            pod = next(p for p in self.server.known() if p["netns"])
            fd = os.open(pod["netns"], os.O_RDONLY)
            self.put(add_message(pod), [fd])
            os.close(fd)
            raise Gone("closed in the middle")
        if what == "add-no-netns":
            with open("/dev/null", "rb") as f:
                return self.request(add_message(POD), [f.fileno()])
        packet, count = ODD[what]
        fds = [os.open("/proc/self/ns/net", os.O_RDONLY) for _ in range(count)]
        try:
            return self.request(packet, fds)
        finally:
            for fd in fds:
                os.close(fd)

    def serve(self):
        mode = self.server.mode
        if mode == "refuse":
            raise Gone("refused")
        if mode == "silent":
            while self.info["open"]:
                time.sleep(0.1)
            return
        hello = self.get(ANSWER_SECONDS)
        if hello is None:
            raise Gone("no hello")
        self.info["hello"] = dict(fields(hello)).get(1)
        if mode != "nosnapshot":
            self.snapshot()
        while True:
            try:
                call, done = self.work.get(timeout=LIVENESS_SECONDS)
            except queue.Empty:
                if self.get(LIVENESS_READ) is not None:
                    raise Gone("something nobody asked for")
                continue
            try:
                done.put({"answer": call(self)})
            except Gone as e:
                done.put({"closed": str(e)})
                raise

    def run(self):
        try:
            self.serve()
        except Gone as e:
            self.close(str(e))
        except (OSError, ValueError) as e:
            self.close("%s: %s" % (type(e).__name__, e))
        self.close("ended")
        self.sock.close()
        while True:
            try:
                self.work.get_nowait()[1].put({"closed": self.info["why"]})
            except queue.Empty:
                return

    def ask(self, call):
        done = queue.Queue()
        self.work.put((call, done))
        try:
            return done.get(timeout=ANSWER_SECONDS * 3)
        except queue.Empty:
            return {"closed": "no answer at all"}


# --- the server ------------------------------------------------------------------------------

class Server:
    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.pods = {}
        self.open = []  # oldest first
        self.past = []
        self.mode = "normal"
        self.count = 0
        self.listener = None
        self.up()

    def known(self):
        with self.lock:
            return [dict(p) for p in self.pods.values()]

    def up(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen(16)
        threading.Thread(target=self.accept, args=[self.listener], daemon=True).start()

    def down(self):
        listener, self.listener = self.listener, None
        if listener:
            os.unlink(self.path)
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.drop()

    def drop(self):
        with self.lock:
            victims = list(self.open)
        for c in victims:
            c.close("dropped")

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.count += 1
                c = Connection(self, sock, self.count)
                self.open.append(c)
            time.sleep(ACCEPT_EACH)

    def lost(self, c):
        with self.lock:
            if c in self.open:
                self.open.remove(c)
                self.past.append(c)

    def newest(self, call):
        with self.lock:
            c = self.open[-1] if self.open else None
        return c.ask(call) if c else {"closed": "nobody is connected"}

    def command(self, q):
        do, uid = q.get("do"), q.get("uid")
        if do in ("add", "register"):
            pod = {k: q[k] for k in ("uid", "ns", "name", "sa", "netns")}
            with self.lock:
                self.pods[uid] = pod
            return self.newest(lambda c: c.add(pod)) if do == "add" else {}
        if do in ("del", "forget"):
            with self.lock:
                self.pods.pop(uid, None)
                targets = list(self.open)
            if do == "forget":
                return {}
            return {"answers": [c.ask(lambda c: c.request(del_message(uid))) for c in targets]}
        if do == "hide":
            with self.lock:
                self.pods[uid]["netns"] = ""
            return {}
        if do == "rules":
            cni_rules.add(q["netns"], q["flavour"], "ingress" in q, "nodns" not in q)
            return {}
        if do == "unrules":
            cni_rules.remove(q["netns"])
            return {}
        if do == "mode":
            self.mode = q["mode"]
            return {}
        if do == "send":
            return self.newest(lambda c: c.odd(q["what"]))
        if do in ("drop", "down", "up"):
            getattr(self, do)()
            return {}
        if do == "status":
            with self.lock:
                return {"pods": sorted(self.pods), "open": [c.info for c in self.open],
                        "past": [c.info for c in self.past]}
        return {"error": "unknown command %s" % do}

    def control(self, sock):
        with sock, sock.makefile("rw") as f:
            try:
                reply = self.command(json.loads(f.readline()))
            except (KeyError, ValueError, OSError, StopIteration, SystemExit) as e:
                reply = {"error": "%s: %s" % (type(e).__name__, e)}
            f.write(json.dumps(reply) + "\n")


def serve(path):
    server = Server(path)
    ctl = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    ctl.bind(path + ".ctl")
    ctl.listen(16)
    while True:
        sock, _ = ctl.accept()
        threading.Thread(target=server.control, args=[sock], daemon=True).start()


def ask(path, words):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(60)
        s.connect(path + ".ctl")
        with s.makefile("rw") as f:
            f.write(json.dumps(dict(w.split("=", 1) for w in words)) + "\n")
            f.flush()
            reply = json.loads(f.readline())
    print(json.dumps(reply))
    sys.exit(1 if "error" in reply else 0)


def main():
    if len(sys.argv) >= 3 and sys.argv[1] == "serve":
        serve(sys.argv[2])
    elif len(sys.argv) >= 4 and sys.argv[1] == "ask":
        ask(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
