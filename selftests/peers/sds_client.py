#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An Envoy as far as its secret discovery goes, with grpcio: asks a unix socket for secrets, tells
each answer as a line of JSON, and acknowledges it, until it is ended.

    sds_client.py --proto DIR --socket PATH [--refuse] [--method NAME] [--uid UID] NAME...
"""

import argparse
import os
import queue
import sys

from cryptography import x509
from cryptography.hazmat.primitives import serialization

import certs
from control_plane import Protos, tell

TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


def show(secret):
    out = {"name": secret.name}
    if secret.HasField("tls_certificate"):
        chain = certs.split_pem(secret.tls_certificate.certificate_chain.inline_bytes)
        leaf = x509.load_pem_x509_certificate(chain[0])
        key = serialization.load_pem_private_key(
            secret.tls_certificate.private_key.inline_bytes, None)
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        out.update(serial=str(leaf.serial_number), chain=len(chain),
                   uri=san.get_values_for_type(x509.UniformResourceIdentifier),
                   key=key.public_key().public_numbers() ==
                   leaf.public_key().public_numbers())
    else:
        out.update(roots=len(certs.split_pem(secret.validation_context.trusted_ca.inline_bytes)))
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--proto", required=True)
    p.add_argument("--socket", required=True)
    p.add_argument("--refuse", action="store_true")
    p.add_argument("--uid", type=int)
    p.add_argument("--method", default="StreamSecrets")
    p.add_argument("names", nargs="*")
    args = p.parse_args()
    protos = Protos([args.proto])
    if args.uid is not None:
        os.setgroups([])
        os.setgid(args.uid)
        os.setuid(args.uid)
    import grpc
    requests = queue.Queue()

    def ask(nonce="", version="", error=""):
        r = protos["sds.DiscoveryRequest"](resource_names=args.names, type_url=TYPE,
                                           response_nonce=nonce, version_info=version)
        if error:
            r.error_detail.code, r.error_detail.message = 3, error
        requests.put(r)

    channel = grpc.insecure_channel("unix:" + args.socket)
    call = channel.stream_stream(
        "/envoy.service.secret.v3.SecretDiscoveryService/" + args.method,
        request_serializer=lambda m: m.SerializeToString(),
        response_deserializer=protos["sds.DiscoveryResponse"].FromString)
    ask()
    try:
        for answer in call(iter(requests.get, None)):
            secrets = [protos["sds.Secret"].FromString(r.value) for r in answer.resources]
            tell(version=answer.version_info, nonce=answer.nonce,
                 types=sorted({r.type_url for r in answer.resources}),
                 secrets=[show(s) for s in secrets])
            ask(answer.nonce, answer.version_info, "not to my taste" if args.refuse else "")
    except grpc.RpcError as e:
        tell(error=e.code().name, text=e.details())
        sys.exit(1)


main()
