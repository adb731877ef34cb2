#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How long an agent takes to enrol a pod: milliseconds from the command until it says "up".

enrol.py SOCKET (NAMESPACE/POD NETNS)...: one line a pod. Each pod has to be up, and is taken
out first. It is asked as the CNI plugin asks: what is counted is the agent's share and some short
questions and answers on its socket.
"""

import json
import socket
import sys
import time

LIMIT_S = 20
PAUSE_S = 0.0002  # between questions


def ask(path, request):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(LIMIT_S)
        s.connect(path)
        s.sendall(json.dumps(request).encode() + b"\n")
        text = b""
        while piece := s.recv(65536):
            text += piece
    reply = json.loads(text)
    if "error" in reply:
        sys.exit(reply["error"])
    return reply


def look(path, pod):
    for p in ask(path, {"command": "status"})["pods"]:
        if f"{p['namespace']}/{p['name']}" == pod:
            return p
    sys.exit(f"{pod}: unknown")


def wait_down(path, pod):
    end = time.monotonic() + LIMIT_S
    while (p := look(path, pod))["up"]:
        if time.monotonic() > end:
            sys.exit(f"{pod}: {p['state']}, {p['error']}, after {LIMIT_S} s")


def attach(path, pod, netns):
    end = time.monotonic() + LIMIT_S
    while not (a := ask(path, {"command": "attach", "pod": pod, "netns": netns}))["up"]:
        if a["failed"] or time.monotonic() > end:
            sys.exit(f"{pod}: {a['reason'] or 'not up'}")
        time.sleep(PAUSE_S)


def main():
    path, args = sys.argv[1], sys.argv[2:]
    for pod, netns in zip(args[::2], args[1::2]):
        ask(path, {"command": "unenroll", "pod": pod})
        wait_down(path, pod)
        # What leaving a namespace leaves to the kernel's own threads is not part of joining.
        time.sleep(0.02)
        begun = time.perf_counter()
        attach(path, pod, netns)
        print(f"{(time.perf_counter() - begun) * 1000:.3f}", flush=True)


if __name__ == "__main__":
    main()
