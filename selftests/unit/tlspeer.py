#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""OpenSSL as a TLS peer on descriptor 3: handshake, then what comes in goes back.

tlspeer.py server|client DIR CERT|- [alpn=h2] [max=1.2] [ca=root]
Says "ok VERSION ALPN CIPHER" or "failed REASON" on its output, and "ticket" when one came.
"""
import socket
import ssl
import sys

role, folder, cert = sys.argv[1:4]
options = dict(a.split("=", 1) for a in sys.argv[4:])

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if role == "server" else ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_REQUIRED
context.load_verify_locations(f"{folder}/{options.get('ca', 'root')}.crt")
if options.get("max") == "1.2":
    context.maximum_version = ssl.TLSVersion.TLSv1_2
if cert != "-":
    context.load_cert_chain(f"{folder}/{cert}.pem", f"{folder}/{cert}.key")
if options.get("alpn", "h2"):
    context.set_alpn_protocols(options.get("alpn", "h2").split(","))

sock = socket.socket(fileno=3)
sock.settimeout(60)
try:
    tls = context.wrap_socket(sock, server_side=role == "server")
    print("ok", tls.version(), tls.selected_alpn_protocol(), tls.cipher()[0], flush=True)
    while data := tls.recv(65536):
        tls.sendall(data)
    if role == "client" and tls.session and tls.session.has_ticket:
        print("ticket", flush=True)
except (ssl.SSLError, OSError) as e:
    print("failed", getattr(e, "reason", None) or e, flush=True)
