#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A foreign control plane as istiod is one: delta ADS and CreateCertificate over TLS, with
grpcio; and one that can misbehave on command.

    control_plane.py serve --proto DIR... --listen HOST:PORT --control SOCKET --ca FILE
                           --roots FILE --tls-issuer FILE --host NAME...
    control_plane.py ask SOCKET COMMAND [ARGUMENTS]      input of "put" on standard input

The second prints the answer of the first, JSON. Every event (stream, request, CSR) is a JSON
line on standard output. Commands:

    put                  a JSON list of {"workload": {..}}, {"service": {..}}, {"policy": {..}}
                         (protobuf's JSON form): stored, and pushed to who is subscribed
    remove TYPE NAME     TYPE: address, policy
    many N M             N workloads in M services, stored and pushed in one answer
    churn RATE SECONDS   changes that many workloads a second, one in five by removal and return
    calm                 ends it
    forget TYPE NAME     drops from the store without a push: a removal that is not told
    answer JSON          sends the DeltaDiscoveryResponse in protobuf's JSON form as it is
    raw TYPE NAME HEX    pushes a resource of these bytes, stored nowhere
    huge NAME BYTES      pushes a workload of that size
    giant N BYTES        pushes N workloads that fill BYTES, in one answer
    cut TYPE             sends half a message and ends the stream
    reset CODE [TEXT]    ends all streams with the gRPC status of that name; OK ends them in order
    refuse N CODE        ends the next N streams so, at once
    silent on|off        streams are taken and not answered
    slow MS              waits before each answer
    prepare              builds what a client gets who has nothing and asks for all, and sends it as
                         it is now to every such one: what is measured is not this program
    tokens TEXT...       takes only these tokens (none: any)
    certs KEY=VALUE...   how CSRs are answered: fail=CODE, count=N, ttl=SECONDS, wait=MS, roots=0,
                         other=1 (for another identity), key=1 (for another key), direct=1
                         (no intermediate)
    stats                what was counted
"""

import argparse
import datetime
import glob
import hashlib
import json
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time

import control

ADDRESS = "type.googleapis.com/istio.workload.Address"
POLICY = "type.googleapis.com/istio.security.Authorization"
TYPES = {"address": ADDRESS, "policy": POLICY}
PRINT = threading.Lock()


def tell(**what):
    with PRINT:
        print(json.dumps(what), flush=True)


class Protos:
    """Message classes out of the project's own .proto files."""

    def __init__(self, folders):
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
        with tempfile.NamedTemporaryFile() as out:
            command = ["protoc-c", "--include_imports", "--descriptor_set_out=" + out.name,
                       "--proto_path=/usr/include"] + ["--proto_path=" + f for f in folders]
            subprocess.run(command + [p for f in folders for p in glob.glob(f + "/*.proto")],
                           check=True)
            files = descriptor_pb2.FileDescriptorSet.FromString(open(out.name, "rb").read())
        self.pool = descriptor_pool.DescriptorPool()
        for f in files.file:
            self.pool.Add(f)
        self.factory = message_factory.MessageFactory(self.pool)

    def __getitem__(self, name):
        return self.factory.GetPrototype(self.pool.FindMessageTypeByName(name))


class Stream:
    """One ADS stream: what it subscribed to, what it was sent."""

    def __init__(self, number, peer):
        self.number, self.peer = number, peer
        self.out = queue.Queue()
        self.wild, self.names, self.node = set(), {}, ""
        self.nonces, self.count = {}, 0
        self.alive = True


class Store:
    def __init__(self, protos):
        self.lock = threading.RLock()
        self.types = {ADDRESS: {}, POLICY: {}}  # name -> (version, value)
        self.streams = []
        self.pool = protos.pool
        self.Address = protos["istio.workload.Address"]
        self.Authorization = protos["istio.security.Authorization"]
        self.Response = protos["discovery.DeltaDiscoveryResponse"]
        self.Request = protos["discovery.DeltaDiscoveryRequest"]
        self.counts = {"streams": 0, "acks": 0, "nacks": 0, "requests": 0, "csrs": 0,
                       "certificates": 0}
        self.last_nack = ""
        self.silent, self.slow, self.refuse = False, 0, [0, ""]
        self.prepared = {}  # type -> serialized answer
        self.tokens = []
        self.certs = {}
        self.number = 0

    def resource(self, url, name, version, value):
        r = self.Response().resources.add()
        r.name, r.version = name, version
        r.resource.type_url, r.resource.value = url, value
        return r

    def response(self, url, resources=(), removed=()):
        m = self.Response(type_url=url, removed_resources=list(removed),
                          system_version_info="test")
        m.resources.extend(resources)
        return m

    def add(self, item):
        """Stores an item of "put"; returns its type and name."""
        from google.protobuf import json_format
        if "policy" in item:
            m = json_format.ParseDict(item["policy"], self.Authorization())
            name = "%s/%s" % (m.namespace, m.name)
            return self.keep(POLICY, name, m)
        m = json_format.ParseDict(item, self.Address())
        name = (m.workload.uid if m.HasField("workload") else
                "%s/%s" % (m.service.namespace, m.service.hostname))
        return self.keep(ADDRESS, name, m)

    def keep(self, url, name, message):
        value = message.SerializeToString(deterministic=True)
        # Policies have no versions with istiod.
        version = "" if url == POLICY else hashlib.sha256(value).hexdigest()[:16]
        self.types[url][name] = (version, value)
        return url, name

    def aliases(self, value):
        m = self.Address.FromString(value)
        addresses = m.workload.addresses if m.HasField("workload") else \
            [a.address for a in m.service.addresses]
        network = m.workload.network if m.HasField("workload") else ""
        for a in addresses:
            family = socket.AF_INET if len(a) == 4 else socket.AF_INET6
            yield "%s/%s" % (network, socket.inet_ntop(family, a))

    def wanted(self, s, url, name, value):
        if url in s.wild:
            return True
        return url == ADDRESS and (self.near(s, value) or
                                   self.stands_for(s.names.get(url, ()), name, value))

    def near(self, s, value):
        """Workloads of the client's own node come without being asked for, as istiod does it."""
        return s.node != "" and self.Address.FromString(value).workload.node == s.node

    def stands_for(self, names, name, value):
        """Is it of one of these names: its own, an address's, a service that it is behind?"""
        if not names:
            return False
        if name in names or any(a in names for a in self.aliases(value)):
            return True
        for service in self.Address.FromString(value).workload.services:
            _, of = self.types[ADDRESS].get(service, ("", b""))
            if of and (service in names or any(a in names for a in self.aliases(of))):
                return True
        return False

    def found(self, s, url, name):
        version, value = self.types[url][name]
        r = self.resource(url, name, version, value)
        if url not in s.wild and url == ADDRESS:
            r.aliases.extend(a for a in self.aliases(value) if a in s.names.get(url, ()))
            # What was found by another name is subscribed to by its own.
            s.names.setdefault(url, set()).add(name)
        return r

    def push(self, changed=(), removed=()):
        """Sends what changed to who wants it: pairs of type and name."""
        for s in self.streams:
            for url in (ADDRESS, POLICY):
                rs = [self.found(s, url, n) for u, n in changed
                      if u == url and self.wanted(s, u, n, self.types[u][n][1])]
                gone = [n for u, n in removed if u == url and
                        (url in s.wild or n in s.names.get(url, ()))]
                if rs or gone:
                    s.out.put(self.response(url, rs, gone))

    # Requests of clients

    def first(self, s, m):
        """The answer to a subscription: all that it has not, and what is gone."""
        url, held = m.type_url, dict(m.initial_resource_versions)
        s.node = m.node.metadata.fields["NODE_NAME"].string_value
        rs, gone = [], []
        names = list(m.resource_names_subscribe)
        wild = (not names and not m.resource_names_unsubscribe) or \
            ("*" in names and "*" not in m.resource_names_unsubscribe)
        if wild:
            s.wild.add(url)
        s.names.setdefault(url, set()).update(n for n in names if n != "*")
        s.names[url].update(held)
        if wild and not held and url in self.prepared:
            s.nonces[url] = "prepared"
            return self.prepared[url]
        for name, (version, value) in self.types.get(url, {}).items():
            if self.wanted(s, url, name, value) and (not version or held.get(name) != version):
                rs.append(self.found(s, url, name))
        gone = [n for n in held if n not in self.types.get(url, {})]
        gone += self.missing(url, names)
        tell(event="subscribe", stream=s.number, type=url, wildcard=wild, names=names,
             held=len(held), sent=len(rs), removed=len(gone), node=m.node.id)
        return self.response(url, rs, gone)

    def missing(self, url, names):
        have = self.types.get(url, {})
        known = set(have) | {a for _, v in have.values() for a in self.aliases(v)} \
            if url == ADDRESS and names else set()
        return [n for n in names if n != "*" and n not in known]

    def more(self, s, m):
        url, names = m.type_url, list(m.resource_names_subscribe)
        s.names.setdefault(url, set()).update(names)
        s.names[url].difference_update(m.resource_names_unsubscribe)
        rs = [self.found(s, url, n) for n, (_, value) in self.types.get(url, {}).items()
              if self.stands_for(names, n, value)]
        tell(event="more", stream=s.number, type=url, names=names, sent=len(rs),
             dropped=list(m.resource_names_unsubscribe))
        return self.response(url, rs, self.missing(url, names))

    def request(self, s, m):
        self.counts["requests"] += 1
        if m.response_nonce:
            stale = m.response_nonce != s.nonces.get(m.type_url)
            nack = m.HasField("error_detail")
            self.counts["nacks" if nack else "acks"] += 1
            if nack:
                self.last_nack = m.error_detail.message
            tell(event="nack" if nack else "ack", stream=s.number, type=m.type_url,
                 nonce=m.response_nonce, stale=stale, text=m.error_detail.message,
                 code=m.error_detail.code)
            return None
        if m.type_url not in s.nonces:
            from google.protobuf import json_format
            s.nonces[m.type_url] = ""
            tell(event="node", stream=s.number, id=m.node.id,
                 metadata=json_format.MessageToDict(m.node.metadata))
            return self.first(s, m)
        return self.more(s, m)


class Plane:
    """The two services."""

    def __init__(self, args, store, protos):
        import certs
        self.args, self.store = args, store
        self.CsrRequest = protos["istio.v1.auth.IstioCertificateRequest"]
        self.CsrResponse = protos["istio.v1.auth.IstioCertificateResponse"]
        self.issuer = certs.Issuer.load(args.ca)
        self.middle = self.intermediate()

    def intermediate(self):
        import certs
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.utcnow()
        cert = (x509.CertificateBuilder()
                .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "istiod")]))
                .issuer_name(self.issuer.cert.subject).public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(hours=1))
                .not_valid_after(now + datetime.timedelta(days=30))
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
                .sign(self.issuer.key, hashes.SHA256()))
        return certs.Issuer(cert, key, cert.public_bytes(certs.PEM))

    def admitted(self, context, what):
        """Checks what every RPC must carry; ends it when that is missing."""
        import grpc
        meta = dict(context.invocation_metadata())
        token = meta.get("authorization", "")
        tell(event=what, peer=context.peer(), token=token, cluster=meta.get("clusterid"),
             headers={k: v for k, v in meta.items() if k.startswith("x-")})
        tokens = self.store.tokens
        if not token.startswith("Bearer ") or (tokens and token[7:] not in tokens):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "token is not valid: 100%\n\u00e9")

    def read(self, s, requests):
        """Requests of one stream, on a thread of its own."""
        store = self.store
        try:
            for m in requests:
                with store.lock:
                    answer = store.request(s, m)
                    if answer is not None and not store.silent:
                        s.out.put(answer)
        except Exception as e:  # the stream ended
            tell(event="read-end", stream=s.number, text=type(e).__name__)
        s.out.put(None)

    def ads(self, requests, context):
        import grpc
        store = self.store
        self.admitted(context, "stream")
        with store.lock:
            store.number += 1
            store.counts["streams"] += 1
            s = Stream(store.number, context.peer())
            refused = store.refuse[0] > 0
            store.refuse[0] -= refused
        if refused:
            context.abort(grpc.StatusCode[store.refuse[1]], "refused on command")
        with store.lock:
            store.streams.append(s)
        context.add_callback(lambda: s.out.put(None))
        threading.Thread(target=self.read, args=(s, requests), daemon=True).start()
        try:
            yield from self.answers(s, context)
        finally:
            with store.lock:
                store.streams.remove(s)
            tell(event="end", stream=s.number)

    def answers(self, s, context):
        import grpc
        while True:
            item = s.out.get()
            if item is None:
                return
            if isinstance(item, tuple):
                code, text = item
                if code == "OK":
                    return
                context.abort(grpc.StatusCode[code], text)
            if isinstance(item, bytes):
                yield item
                continue
            if not item.nonce:
                s.count += 1
                item.nonce = "%d-%d" % (s.number, s.count)
            s.nonces[item.type_url] = item.nonce
            time.sleep(self.store.slow / 1000)
            yield item.SerializeToString()

    # Certificates

    def csr(self, request, context):
        from cryptography import x509
        import grpc
        how, store = self.store.certs, self.store
        self.admitted(context, "csr")
        store.counts["csrs"] += 1
        csr = x509.load_pem_x509_csr(request.csr.encode())
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        meta = request.metadata.fields
        identity = meta["ImpersonatedIdentity"].string_value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        tell(event="request", identity=identity, uris=uris, names=len(names),
             subject=csr.subject.rfc4514_string(), valid=csr.is_signature_valid,
             curve=csr.public_key().curve.name, hash=csr.signature_hash_algorithm.name,
             seconds=request.validity_duration, key=hashlib.sha256(
                 csr.public_key().public_numbers().x.to_bytes(32, "big")).hexdigest())
        time.sleep(how.get("wait", 0) / 1000)
        if "fail" in how and how.get("count", 1) > 0:
            how["count"] = how.get("count", 1) - 1
            context.abort(grpc.StatusCode[how["fail"]], "refused on command")
        # Nobody is impersonated: it is for who the token says, whom nobody checks here.
        if not identity and len(uris) == 1:
            identity = uris[0]
        if uris != [identity] or not csr.is_signature_valid:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not what was agreed")
        store.counts["certificates"] += 1
        return self.sign(csr, identity, min(request.validity_duration, how.get("ttl", 1 << 40)),
                         how)

    def sign(self, csr, identity, ttl, how):
        import certs
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID
        issuer = self.issuer if how.get("direct") else self.middle
        now = datetime.datetime.utcnow()
        key = ec.generate_private_key(ec.SECP256R1()).public_key() if how.get("key") else \
            csr.public_key()
        uri = identity + "-other" if how.get("other") else identity
        cert = (x509.CertificateBuilder().subject_name(x509.Name([]))
                .issuer_name(issuer.cert.subject).public_key(key)
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(minutes=2))
                .not_valid_after(now + datetime.timedelta(seconds=ttl))
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
                .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH,
                                                      ExtendedKeyUsageOID.CLIENT_AUTH]), False)
                .add_extension(x509.SubjectAlternativeName(
                    [x509.UniformResourceIdentifier(uri)]), True)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    issuer.key.public_key()), False)
                .sign(issuer.key, hashes.SHA256()))
        chain = [cert.public_bytes(certs.PEM).decode()]
        chain += [issuer.chain.decode()] if issuer.chain else []
        if how.get("roots", 1):
            with open(self.args.roots) as f:
                chain.append(f.read())
        else:
            chain = chain[:1]
        return self.CsrResponse(cert_chain=chain)

    def server(self):
        import certs
        import grpc
        from concurrent import futures
        bytes_as_they_are = lambda m: m
        handlers = (
            grpc.method_handlers_generic_handler(
                "envoy.service.discovery.v3.AggregatedDiscoveryService",
                {"DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(
                    self.ads, self.store.Request.FromString, bytes_as_they_are)}),
            grpc.method_handlers_generic_handler(
                "istio.v1.auth.IstioCertificateService",
                {"CreateCertificate": grpc.unary_unary_rpc_method_handler(
                    self.csr, self.CsrRequest.FromString,
                    self.CsrResponse.SerializeToString)}))
        age = (("grpc.max_connection_age_ms", self.args.age),
               ("grpc.max_connection_age_grace_ms", 500)) if self.args.age else ()
        server = grpc.server(futures.ThreadPoolExecutor(64), handlers, options=age + (
            ("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", 4 << 20),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 15000),
            ("grpc.so_reuseport", 0)))
        issuer = certs.Issuer.load(self.args.tls_issuer)
        chain, key = certs.leaf(issuer, "", self.args.cert, self.args.host)
        if not server.add_secure_port(self.args.listen,
                                      grpc.ssl_server_credentials([(key, chain)])):
            sys.exit("cannot listen on " + self.args.listen)
        server.start()
        return server


class Commands:
    def __init__(self, store):
        self.store = store

    def put(self, _, body):
        with self.store.lock:
            changed = [self.store.add(i) for i in json.loads(body)]
            self.store.push(changed)
        return len(changed)

    def remove(self, args, _):
        with self.store.lock:
            self.store.types[TYPES[args[0]]].pop(args[1], None)
            self.store.push(removed=[(TYPES[args[0]], args[1])])

    def forget(self, args, _):
        with self.store.lock:
            self.store.types[TYPES[args[0]]].pop(args[1], None)

    def workload(self, i, services, size=0, canonical="v1"):
        w = {"uid": "cluster1//Pod/many/w-%d" % i, "name": "w-%d" % i, "namespace": "many",
             "serviceAccount": "sa-%d" % (i % 50), "node": "node-%d" % (i % 100),
             "trustDomain": "cluster.local", "tunnelProtocol": "HBONE",
             "canonicalName": "app-%d" % (i % max(services, 1)), "canonicalRevision": canonical,
             "workloadType": "POD", "workloadName": "app-%d" % (i % max(services, 1)),
             "clusterId": "cluster1",
             "addresses": [self.address(bytes([10, 200 + i // 65536, i // 256 % 256, i % 256]))],
             "services": {"many/s-%d.many.svc.cluster.local" % (i % services):
                          {"ports": [{"servicePort": 80, "targetPort": 8080}]}}
             if services else {}}
        if size:
            w["extensions"] = [{"name": "x" * size}]
        return {"workload": w}

    @staticmethod
    def address(raw):
        import base64
        return base64.b64encode(raw).decode()

    def service(self, i):
        return {"service": {"name": "s-%d" % i, "namespace": "many",
                            "hostname": "s-%d.many.svc.cluster.local" % i,
                            "addresses": [{"address": self.address(
                                bytes([10, 199, i // 256, i % 256]))}],
                            "ports": [{"servicePort": 80, "targetPort": 8080}],
                            "canonical": True}}

    def many(self, args, _):
        n, m = int(args[0]), int(args[1])
        with self.store.lock:
            changed = [self.store.add(self.service(i)) for i in range(m)]
            changed += [self.store.add(self.workload(i, m)) for i in range(n)]
            self.store.push(changed)
        return len(changed)

    def churn(self, args, _):
        rate, seconds = int(args[0]), float(args[1])
        n = sum("//Pod/many/" in k for k in self.store.types[ADDRESS])
        m = sum(k.startswith("many/") for k in self.store.types[ADDRESS])
        end, i = time.monotonic() + seconds, 0
        began = time.monotonic()
        self.calmed = False
        while time.monotonic() < end and not self.calmed:
            with self.store.lock:
                for _ in range(max(rate // 20, 1)):
                    i += 1
                    item = self.workload(i % n, m, canonical="c%d" % i)
                    if i % 5 == 0:
                        self.store.push(removed=[(ADDRESS, item["workload"]["uid"])])
                    self.store.push([self.store.add(item)])
            time.sleep(max(0, began + i / rate - time.monotonic()))
        return i

    def calm(self, _, __):
        self.calmed = True

    def all(self, item):
        with self.store.lock:
            for s in self.store.streams:
                s.out.put(item)
            return len(self.store.streams)

    def answer(self, args, _):
        from google.protobuf import json_format
        return self.all(json_format.Parse(args[0], self.store.Response(),
                                          descriptor_pool=self.store.pool))

    def raw(self, args, _):
        url = TYPES.get(args[0], args[0])
        return self.all(self.store.response(
            url, [self.store.resource(url, args[1], "1", bytes.fromhex(args[2]))]))

    def sized(self, name, size):
        m = self.store.Address()
        m.workload.uid = m.workload.name = name
        m.workload.namespace = "many"
        m.workload.extensions.add(name="x" * size)
        return self.store.resource(ADDRESS, name, "1", m.SerializeToString())

    def huge(self, args, _):
        return self.all(self.store.response(ADDRESS, [self.sized(args[0], int(args[1]))]))

    def giant(self, args, _):
        n, size = int(args[0]), int(args[1])
        one = self.sized("giant", size // n)
        m = self.store.Response(type_url=ADDRESS)
        for i in range(n):
            one.name = "giant-%d" % i
            a = self.store.Address.FromString(one.resource.value)
            a.workload.uid = a.workload.name = one.name
            one.resource.value = a.SerializeToString()
            m.resources.append(one)
        self.all(m)
        return m.ByteSize()

    def cut(self, args, _):
        url = TYPES[args[0]]
        with self.store.lock:
            rs = [self.store.resource(url, n, v, b) for n, (v, b) in self.store.types[url].items()]
        whole = self.store.response(url, rs)
        whole.nonce = "cut"
        data = whole.SerializeToString()
        self.all(data[:len(data) // 2])
        return len(data)

    def reset(self, args, _):
        return self.all((args[0], " ".join(args[1:]) or "ended on command"))

    def refuse(self, args, _):
        self.store.refuse = [int(args[0]), args[1]]

    def silent(self, args, _):
        self.store.silent = args[0] == "on"

    def slow(self, args, _):
        self.store.slow = int(args[0])

    def prepare(self, _, __):
        store = self.store
        with store.lock:
            for url, all_of in store.types.items():
                m = store.response(url, [store.resource(url, n, v, b)
                                         for n, (v, b) in all_of.items()])
                m.nonce = "prepared"
                store.prepared[url] = m.SerializeToString()

    def tokens(self, args, _):
        self.store.tokens = args

    def certs(self, args, _):
        self.store.certs = {k: int(v) if v.isdigit() else v for k, v in
                            (a.split("=", 1) for a in args)}

    def stats(self, _, __):
        with self.store.lock:
            return dict(self.store.counts, open=len(self.store.streams),
                        last_nack=self.store.last_nack,
                        addresses=len(self.store.types[ADDRESS]),
                        policies=len(self.store.types[POLICY]))

    def run(self, request):
        return getattr(self, request["command"])(request["args"], request["body"])


def serve(args):
    protos = Protos(args.proto)
    store = Store(protos)
    if args.state:
        with open(args.state) as f:
            for item in json.load(f):
                store.add(item)
    commands = Commands(store)
    if args.many:
        commands.many(args.many, "")
    commands.certs(args.certs, "")
    server = Plane(args, store, protos).server()
    try:
        control.listen(args.control, commands.run)
    finally:
        server.stop(0)


def ask(args):
    body = sys.stdin.read() if args.command == "put" else ""
    control.ask(args.socket, {"command": args.command, "args": args.args, "body": body})


def main():
    p = argparse.ArgumentParser()
    sub = p.add_subparsers(required=True)
    a = sub.add_parser("serve")
    a.set_defaults(run=serve)
    a.add_argument("--proto", action="append", required=True)
    a.add_argument("--listen", required=True)
    a.add_argument("--control", required=True)
    a.add_argument("--ca", required=True, help="key and certificate that sign workloads'")
    a.add_argument("--roots", required=True, help="bundle that ends every chain")
    a.add_argument("--tls-issuer", required=True, help="key and certificate of our own")
    a.add_argument("--host", action="append", required=True)
    a.add_argument("--cert", default="good", help="flaw of our own certificate")
    a.add_argument("--age", type=int, help="milliseconds after which connections get GOAWAY")
    a.add_argument("--state", help="file as for put, stored at the start")
    a.add_argument("--many", nargs=2, help="as the command, at the start")
    a.add_argument("--certs", action="append", default=[], metavar="KEY=VALUE",
                   help="as the command, at the start")
    a = sub.add_parser("ask")
    a.set_defaults(run=ask)
    a.add_argument("socket")
    a.add_argument("command")
    a.add_argument("args", nargs="*")
    args = p.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
