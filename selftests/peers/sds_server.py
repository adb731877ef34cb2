#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A secret discovery service as SPIRE's agent is one: StreamSecrets over a unix socket, a stream
that asks for an identity which it does not give out ends with INVALID_ARGUMENT, new secrets are
pushed. And one that can misbehave on command.

    sds_server.py serve --proto DIR --socket PATH --control PATH --ca FILE --roots FILE
    sds_server.py ask PATH COMMAND [ARGUMENTS]

Every request is a JSON line on standard output. Commands:

    life SECONDS         of certificates from now on
    rotate [NAME]        new certificates, pushed
    again                pushes what is there once more
    roots FILE           other roots, pushed
    deny NAME | allow NAME
    bad KIND             certificates from now on are wrong: key (of another), other (identity),
                         garbage, no-key, rsa, type, stranger, none
    end CODE             ends all streams
"""

import argparse
import os
import queue
import threading
from concurrent import futures

import certs
import control
from control_plane import Protos, tell

TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
METHOD = ("envoy.service.secret.v3.SecretDiscoveryService", "StreamSecrets")


class Server:
    def __init__(self, args):
        import grpc
        self.grpc = grpc
        self.args = args
        self.protos = Protos([args.proto])
        self.issuer = certs.Issuer.load(args.ca)
        self.roots = open(args.roots, "rb").read()
        self.life, self.bad, self.denied = args.life, "none", set()
        self.lock = threading.Lock()
        self.made = {}  # name: (version, Secret)
        self.version = 0
        self.streams = {}  # queue: name

    def start(self):
        g = self.grpc
        handler = g.stream_stream_rpc_method_handler(
            self.stream, request_deserializer=self.protos["sds.DiscoveryRequest"].FromString,
            response_serializer=lambda m: m.SerializeToString())
        server = g.server(futures.ThreadPoolExecutor(64))
        server.add_generic_rpc_handlers(
            (g.method_handlers_generic_handler(METHOD[0], {METHOD[1]: handler}),))
        if os.path.exists(self.args.socket):
            os.unlink(self.args.socket)
        server.add_insecure_port("unix:" + self.args.socket)
        server.start()
        return server

    def secret(self, name):
        if name in self.made:
            return self.made[name]
        m = self.protos["sds.Secret"](name=name)
        if name == "ROOTCA" or name.count("/") == 2:
            m.validation_context.trusted_ca.inline_bytes = self.roots
        else:
            identity = name if self.bad != "other" else "spiffe://cluster.local/ns/x/sa/x"
            flaw = "stranger" if self.bad == "stranger" else "good"
            chain, key = certs.leaf(self.issuer, identity, flaw, life=self.life)
            if self.bad == "key":
                key = certs.leaf(self.issuer, identity)[1]
            if self.bad == "rsa":
                from cryptography.hazmat.primitives.asymmetric import rsa
                from cryptography.hazmat.primitives import serialization as s
                key = rsa.generate_private_key(65537, 2048).private_bytes(
                    s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
            m.tls_certificate.certificate_chain.inline_bytes = (
                b"garbage" if self.bad == "garbage" else chain)
            if self.bad != "no-key":
                m.tls_certificate.private_key.inline_bytes = key
        self.version += 1
        self.made[name] = (self.version, m)
        return self.made[name]

    def response(self, name, nonce):
        version, secret = self.secret(name)
        r = self.protos["sds.DiscoveryResponse"](version_info=str(version), nonce=nonce,
                                                 type_url=TYPE)
        r.resources.add(type_url="x.example/Other" if self.bad == "type" else TYPE,
                        value=secret.SerializeToString())
        return r

    def read(self, requests, q):
        try:
            for r in requests:
                q.put(r)
        except Exception:
            pass
        q.put(None)

    def stream(self, requests, context):
        q, name, n = queue.Queue(), None, 0
        threading.Thread(target=self.read, args=(requests, q), daemon=True).start()
        self.streams[q] = None
        try:
            while True:
                what = q.get()
                if what is None:
                    return
                if isinstance(what, str):
                    context.abort(getattr(self.grpc.StatusCode, what), "told to")
                if what != ():
                    tell(event="request", names=list(what.resource_names), node=what.node.id,
                         version=what.version_info, nonce=what.response_nonce,
                         type=what.type_url, error=what.error_detail.message,
                         code=what.error_detail.code)
                    if what.response_nonce:
                        continue
                    name = what.resource_names[0]
                    if name in self.denied:
                        context.abort(
                            self.grpc.StatusCode.INVALID_ARGUMENT,
                            "workload is not authorized for the requested identities [%s]" % name)
                    self.streams[q] = name
                if name:
                    n += 1
                    with self.lock:
                        r = self.response(name, "n%d" % n)
                    yield r
        finally:
            del self.streams[q]

    def command(self, name, args):
        with self.lock:
            if name == "life":
                self.life = float(args[0])
            elif name == "bad":
                self.bad = args[0]
            elif name in ("deny", "allow"):
                (self.denied.add if name == "deny" else self.denied.discard)(args[0])
            elif name == "rotate":
                for n in args or [n for n in self.made if n != "ROOTCA"]:
                    self.made.pop(n, None)
            elif name == "roots":
                self.roots = open(args[0], "rb").read()
                self.made.pop("ROOTCA", None)
            elif name not in ("end", "again"):
                raise ValueError("no command " + name)
        for q, of in list(self.streams.items()):
            if name == "end":
                q.put(args[0])
            elif name == "again" or (name == "roots" and of == "ROOTCA") or (
                    name == "rotate" and of != "ROOTCA" and (not args or of in args)):
                q.put(())
        return len(self.streams)


def serve(args):
    server = Server(args)
    listening = server.start()
    try:
        control.listen(args.control, lambda words: server.command(words[0], words[1:]))
    finally:
        listening.stop(0)


def ask(args):
    control.ask(args.control, [args.command] + args.args)


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(required=True)
    a = sub.add_parser("serve")
    a.set_defaults(run=serve)
    a.add_argument("--proto", required=True)
    a.add_argument("--socket", required=True)
    a.add_argument("--control", required=True)
    a.add_argument("--ca", required=True)
    a.add_argument("--roots", required=True)
    a.add_argument("--life", type=float, default=3600)
    a = sub.add_parser("ask")
    a.set_defaults(run=ask)
    a.add_argument("control")
    a.add_argument("command")
    a.add_argument("args", nargs="*")
    args = p.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
