# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates for foreign peers: good ones signed by the mesh's CA, and every kind of bad one."""

import datetime
import ipaddress
import os
import re
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
# How a leaf may be wrong; "good" is not.
FLAWS = ("good", "expired", "not-yet", "self-signed", "stranger", "no-uri", "two-uris", "dns-only",
         "bad-spiffe", "no-client-eku", "no-server-eku", "ca-leaf")


def _load(path):
    with open(path, "rb") as f:
        return f.read()


def split_pem(data):
    """The certificates of a PEM bundle, each as PEM bytes."""
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    return [c[c.index(begin):] + end + b"\n" for c in data.split(end)[:-1]]


class Issuer:
    """A CA certificate with its key; chain is what a leaf presents besides itself."""

    def __init__(self, cert, key, chain=b""):
        self.cert, self.key, self.chain = cert, key, chain

    @classmethod
    def load(cls, path):
        """A file of the mesh's CA: key and certificate. A root is not presented with the leaf."""
        data = _load(path)
        pems = split_pem(data)
        cert = x509.load_pem_x509_certificate(pems[0])
        pem = re.search(rb"-----BEGIN (\w+ )?PRIVATE KEY-----.*?PRIVATE KEY-----", data, re.S)
        key = serialization.load_pem_private_key(pem.group(0), None)
        chain = b"" if cert.issuer == cert.subject else pems[0]
        return cls(cert, key, chain)

    @classmethod
    def stranger(cls):
        """A CA that nobody trusts."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "stranger")])
        now = datetime.datetime.utcnow()
        cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
                .public_key(key.public_key()).serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(hours=1))
                .not_valid_after(now + datetime.timedelta(days=1))
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
                .sign(key, hashes.SHA256()))
        return cls(cert, key)


def host_names(hosts):
    """Names of a server: addresses where they are such, else DNS names."""
    for h in hosts:
        try:
            yield x509.IPAddress(ipaddress.ip_address(h))
        except ValueError:
            yield x509.DNSName(h)


def leaf(issuer, identity, flaw="good", hosts=(), life=3600):
    """Returns (chain PEM, key PEM) for the SPIFFE identity, or for the names of a server, with
    the flaw asked for. A server has a key of its issuer's kind."""
    if flaw == "stranger":
        issuer = Issuer.stranger()
    key = ec.generate_private_key(ec.SECP256R1())
    if hosts and isinstance(issuer.key, rsa.RSAPrivateKey):
        key = rsa.generate_private_key(65537, 2048)
    now = datetime.datetime.utcnow()
    hour = datetime.timedelta(hours=1)
    begin, end = now - hour, now + datetime.timedelta(seconds=life)
    if flaw == "expired":
        begin, end = now - 2 * hour, now - datetime.timedelta(minutes=5)
    if flaw == "not-yet":
        begin, end = now + hour, now + 2 * hour
    names = list(host_names(hosts)) or {
        "no-uri": None,
        "dns-only": [x509.DNSName("client.example")],
        "bad-spiffe": [x509.UniformResourceIdentifier("spiffe://cluster.local/workload/x")],
        "two-uris": [x509.UniformResourceIdentifier(identity),
                     x509.UniformResourceIdentifier(identity + "-other")],
    }.get(flaw, [x509.UniformResourceIdentifier(identity)])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    if flaw == "no-client-eku":
        usages = usages[:1]
    if flaw == "no-server-eku":
        usages = usages[1:]
    self_signed = flaw == "self-signed"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self")] if self_signed else [])
    builder = (x509.CertificateBuilder().subject_name(subject)
               .issuer_name(subject if self_signed else issuer.cert.subject)
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(begin).not_valid_after(end)
               .add_extension(x509.BasicConstraints(ca=flaw == "ca-leaf", path_length=None), True)
               .add_extension(x509.ExtendedKeyUsage(usages), False))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), True)
    if not self_signed:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False)
    cert = builder.sign(key if self_signed else issuer.key, hashes.SHA256())
    key_pem = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())
    chain = b"" if flaw in ("stranger", "self-signed") else issuer.chain
    return cert.public_bytes(PEM) + chain, key_pem


def into_context(context, chain, key):
    """The ssl module takes files only."""
    with tempfile.TemporaryDirectory() as d:
        chain_file, key_file = os.path.join(d, "chain"), os.path.join(d, "key")
        for path, data in ((chain_file, chain), (key_file, key)):
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
                f.write(data)
        context.load_cert_chain(chain_file, key_file)


def identity_of(ssl_socket):
    """First SPIFFE URI of the peer's certificate, or None."""
    names = (ssl_socket.getpeercert() or {}).get("subjectAltName", ())
    return next((v for k, v in names if k == "URI"), None)
