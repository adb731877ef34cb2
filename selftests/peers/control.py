# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands to a peer that runs: a JSON line each way, over a unix socket."""

import json
import os
import socket
import sys
import threading


def listen(path, answer):
    """Answers with what answer(request) returns, or what it raises, for good."""
    control = socket.socket(socket.AF_UNIX)
    if os.path.exists(path):
        os.unlink(path)
    control.bind(path)
    control.listen()
    while True:
        threading.Thread(target=_serve, args=(control.accept()[0], answer), daemon=True).start()


def _serve(connection, answer):
    with connection, connection.makefile("rw") as f:
        try:
            reply = {"ok": answer(json.loads(f.readline()))}
        except Exception as e:
            reply = {"error": "%s: %s" % (type(e).__name__, e)}
        f.write(json.dumps(reply) + "\n")


def ask(path, request):
    """Prints the answer; an error ends this process."""
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    with s.makefile("rw") as f:
        f.write(json.dumps(request) + "\n")
        f.flush()
        reply = json.loads(f.readline())
    if "error" in reply:
        sys.exit(reply["error"])
    print(json.dumps(reply["ok"]))
