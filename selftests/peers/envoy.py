#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes what an Envoy is started with, into a directory: config.json and its certificate. The
parts have istiod's names and do what istiod has a waypoint or gateway do; any of them go together.

    envoy.py --dir DIR --id spiffe://... [--issuer FILE --roots FILE | --sds SOCKET] PARTS

    --app HOST:PORT           HBONE (15008) ends here, every tunnel is joined to HOST:PORT
    --relay AUTHORITY=HOST:PORT   so are those that ask for AUTHORITY (a gateway of networks)
    --waypoint                HBONE ends here, what is in it goes by --service
    --sandwich PORT           as --waypoint, but an agent beside it ended HBONE: PROXY protocol
                              on loopback, and plain TCP to the pods, which the agent tunnels
    --service JSON            {"at": "VIP:PORT", "rules": [RULE...]}, for HTTP; the first RULE that
                              matches counts: {"prefix": "/x", "header": ["name", "value"],
                              "rewrite": "/", "set": {"name": "value"}, "to": ["POD:PORT"...]};
                              all but "to" may be left out. "tcp": true for bytes. VIP may be a
                              name, as other networks ask for it
    --originate PORT=POD:PORT     what is said to PORT is tunnelled to POD:PORT
    --expect ID               who has to be at the other end of tunnels from here
    --only ID                 others are answered 403
    --http JSON, --http2 JSON     more of the server's HttpProtocolOptions and Http2ProtocolOptions

Every tunnel and request is a line of JSON in access.log, with the part as "hop". A pod hears in
x-mesh-client whom the waypoint saw.
"""

import argparse
import ipaddress
import json
import os

import certs

TYPE = "type.googleapis.com/envoy."
PEER = "mesh.peer"
ORIGINAL = "envoy.filters.listener.original_dst"
PROXY = "envoy.filters.listener.proxy_protocol"
TLV = "envoy.network.proxy_protocol.tlv"
# More often than istiod's 10 s, so that tests see some.
KEEPALIVE = {"interval": "1s", "timeout": "20s"}
STREAMS = 100


def ext(name, kind, **config):
    return {"name": name, "typed_config": {"@type": TYPE + kind, **config}}


def http2(**options):
    """What makes a cluster speak it."""
    kind = "extensions.upstreams.http.v3.HttpProtocolOptions"
    return {"typed_extension_protocol_options": {"envoy." + kind: {
        "@type": TYPE + kind, "explicit_http_config": {"http2_protocol_options": options}}}}


def is_address(text):
    try:
        return bool(ipaddress.ip_address(text.rsplit(":", 1)[0].strip("[]")))
    except ValueError:
        return False


def socket_address(text):
    host, port = text.rsplit(":", 1)
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


class Bootstrap:
    def __init__(self, args):
        self.args = args
        self.listeners, self.clusters = [], []
        services = [json.loads(s) for s in args.service]
        self.named = [s for s in services if not is_address(s["at"])]
        self.addressed = [s for s in services if s not in self.named]
        # Who calls, as what was heard of it says.
        self.client = f"%FILTER_STATE({TLV}:FIELD:peer)%" if args.sandwich else \
            f"%FILTER_STATE({PEER}:PLAIN)%"

    def path(self, name):
        return os.path.join(self.args.dir, name)

    # --- what several parts use ---------------------------------------------------------------

    def access_log(self, hop):
        fields = {
            "hop": hop, "authority": "%REQ(:AUTHORITY)%", "path": "%REQ(:PATH)%",
            "peer": "%DOWNSTREAM_PEER_URI_SAN%", "client": self.client,
            "from": "%DOWNSTREAM_REMOTE_ADDRESS%", "to": "%UPSTREAM_HOST%",
            "server": "%UPSTREAM_PEER_URI_SAN%", "baggage": "%REQ(BAGGAGE)%",
            "local": "%DOWNSTREAM_LOCAL_ADDRESS%", "status": "%RESPONSE_CODE%",
            "flags": "%RESPONSE_FLAGS%", "received": "%BYTES_RECEIVED%", "sent": "%BYTES_SENT%",
            "serial": "%DOWNSTREAM_PEER_SERIAL%", "error": "%UPSTREAM_TRANSPORT_FAILURE_REASON%"}
        return [ext("file", "extensions.access_loggers.file.v3.FileAccessLog",
                    path=self.path("access.log"), log_format={"json_format": fields})]

    def secret(self, name):
        return {"name": name, "sds_config": {
            "resource_api_version": "V3", "api_config_source": {
                "api_type": "GRPC", "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "sds"}}]}}}

    def tls(self, expect):
        """expect: how to compare the other side's identity."""
        names = {"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": expect}]}
        common = {"tls_params": {"tls_minimum_protocol_version": "TLSv1_3",
                                 "tls_maximum_protocol_version": "TLSv1_3"},
                  "alpn_protocols": ["h2"]}
        if self.args.sds:
            common["tls_certificate_sds_secret_configs"] = [self.secret(self.args.id)]
            common["combined_validation_context"] = {
                "default_validation_context": names,
                "validation_context_sds_secret_config": self.secret("ROOTCA")}
        else:
            common["tls_certificates"] = [{"certificate_chain": {"filename": self.path("chain")},
                                           "private_key": {"filename": self.path("key")}}]
            common["validation_context"] = {"trusted_ca": {"filename": self.path("roots")}, **names}
        return common

    def cluster(self, name, addresses, **more):
        ends = [{"lb_endpoints": [{"endpoint": {"address": socket_address(a)}}
                                  for a in addresses]}]
        self.clusters.append({"name": name, "connect_timeout": "10s", "type": "STATIC",
                              "load_assignment": {"cluster_name": name, "endpoints": ends}, **more})

    def internal_cluster(self, name, listener, pods=(None,)):
        """To an internal listener, which hears whom it is for when there are pods."""
        ends = []
        for pod in pods:
            end = {"endpoint": {"address": {"envoy_internal_address": {
                "server_listener_name": listener, "endpoint_id": str(pod)}}}}
            if pod:
                end["metadata"] = {"filter_metadata": {ORIGINAL: {"local": pod}}}
            ends.append(end)
        inner = ext("raw", "extensions.transport_sockets.raw_buffer.v3.RawBuffer")
        metadata = [{"kind": {"host": {}}, "name": ORIGINAL}]
        self.clusters.append({
            "name": name, "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": ends}]},
            "transport_socket": ext(
                "internal",
                "extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
                transport_socket=inner, passthrough_metadata=metadata)})

    def pods_cluster(self, name, pods):
        if self.args.sandwich:
            self.cluster(name, pods)
        else:
            self.internal_cluster(name, "connect_originate", pods)

    def tcp(self, hop, cluster, **more):
        return ext("tcp", "extensions.filters.network.tcp_proxy.v3.TcpProxy", stat_prefix=hop,
                   cluster=cluster, access_log=self.access_log(hop), **more)

    def http(self, hop, virtual_hosts, filters=(), **more):
        router = ext("envoy.filters.http.router", "extensions.filters.http.router.v3.Router")
        return ext("http",
                   "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                   stat_prefix=hop, stream_idle_timeout="0s", access_log=self.access_log(hop),
                   route_config={"virtual_hosts": virtual_hosts},
                   http_filters=[*filters, router], **more)

    # --- parts --------------------------------------------------------------------------------

    def only(self):
        allow = {"permissions": [{"any": True}], "principals": [
            {"authenticated": {"principal_name": {"exact": self.args.only}}}]}
        return ext("rbac", "extensions.filters.http.rbac.v3.RBAC",
                   rules={"action": "ALLOW", "policies": {"only": allow}})

    def remember(self):
        """For whom a tunnel is and whose it is goes on with its bytes."""
        def state(key, text, **more):
            return {"object_key": key, "shared_with_upstream": "ONCE", **more,
                    "format_string": {"text_format_source": {"inline_string": text}}}
        return ext("state", "extensions.filters.http.set_filter_state.v3.Config",
                   on_request_headers=[
                       state(ORIGINAL + ".local_ip", "%REQ(:AUTHORITY)%"),
                       state(PEER, "%DOWNSTREAM_PEER_URI_SAN%", factory_key="envoy.string")])

    def terminate(self):
        def joined(cluster):
            connect = {"upgrade_type": "CONNECT", "connect_config": {}}
            return [{"match": {"connect_matcher": {}}, "route": {
                "cluster": cluster, "timeout": "0s", "upgrade_configs": [connect]}}]
        hosts = []
        for n, relay in enumerate(self.args.relay):
            authority, to = relay.split("=")
            self.cluster(f"forward_inner_connect_{n}", [to])
            hosts.append({"name": authority, "domains": [authority],
                          "routes": joined(f"forward_inner_connect_{n}")})
        if self.args.app:
            self.cluster("app", [self.args.app])
        if self.addressed:
            self.internal_cluster("main_internal", "main_internal")
        for service in self.named:
            self.internal_cluster(service["at"], service["at"])
            hosts.append({"name": service["at"], "domains": [service["at"]],
                          "routes": joined(service["at"])})
        if self.args.app or self.addressed:
            hosts.append({"name": "any", "domains": ["*"],
                          "routes": joined("app" if self.args.app else "main_internal")})
        filters = [self.only()] if self.args.only else []
        http = self.http(
            "connect_terminate", hosts, [*filters, self.remember()],
            upgrade_configs=[{"upgrade_type": "CONNECT"}],
            drain_timeout="1s", common_http_protocol_options=json.loads(self.args.http),
            http2_protocol_options={"allow_connect": True, "max_concurrent_streams": STREAMS,
                                    "connection_keepalive": KEEPALIVE,
                                    **json.loads(self.args.http2)})
        tls = ext("tls", "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                  require_client_certificate=True,
                  common_tls_context=self.tls({"prefix": "spiffe://cluster.local/"}))
        for n, host in enumerate(("0.0.0.0", "[::]")):
            self.listeners.append({"name": f"connect_terminate_{n}",
                                   "address": socket_address(host + ":15008"),
                                   "filter_chains": [{"filters": [http],
                                                      "transport_socket": tls}]})

    def originate(self):
        """As many tunnels as there are who ask for one, each to the pod that it is for."""
        self.listeners.append({
            "name": "connect_originate", "internal_listener": {},
            "listener_filters": [ext(ORIGINAL,
                                     "extensions.filters.listener.original_dst.v3.OriginalDst")],
            "filter_chains": [{"filters": [self.tcp(
                "connect_originate", "connect_originate",
                tunneling_config={"hostname": "%DOWNSTREAM_LOCAL_ADDRESS%"})]}]})
        match = {"exact": self.args.expect} if self.args.expect else \
            {"prefix": "spiffe://cluster.local/"}
        self.clusters.append({
            "name": "connect_originate", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED",
            "connect_timeout": "10s", "original_dst_lb_config": {"upstream_port_override": 15008},
            **http2(max_concurrent_streams=STREAMS, connection_keepalive=KEEPALIVE),
            "transport_socket": ext("tls",
                                    "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                                    common_tls_context=self.tls(match))})
        for plain in self.args.originate:
            port, pod = plain.split("=")
            self.internal_cluster("to_" + port, "connect_originate", [pod])
            self.listeners.append({"name": "from_" + port,
                                   "address": socket_address("0.0.0.0:" + port),
                                   "filter_chains": [{"filters": [
                                       self.tcp("encap", "to_" + port)]}]})

    def route(self, name, rule):
        match = {"prefix": rule.get("prefix", "/")}
        if "header" in rule:
            header, value = rule["header"]
            match["headers"] = [{"name": header, "string_match": {"exact": value}}]
        action = {"cluster": name}
        if "rewrite" in rule:
            action["prefix_rewrite"] = rule["rewrite"]
        headers = {"x-mesh-client": self.client, **rule.get("set", {})}
        self.pods_cluster(name, rule["to"])
        return {"match": match, "route": action, "request_headers_to_add": [
            {"header": {"key": k, "value": v}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for k, v in headers.items()]}

    def service_chain(self, service):
        at = service["at"]
        name = "inbound-vip|" + at
        rules = service["rules"]
        if service.get("tcp"):
            self.pods_cluster(name, rules[0]["to"])
            chain = self.tcp(name, name)
        else:
            routes = [self.route(f"{name}|{n}", r) for n, r in enumerate(rules)]
            chain = self.http(name, [{"name": "any", "domains": ["*"], "routes": routes}])
        return [chain]

    def matched_chain(self, service):
        host, port = service["at"].rsplit(":", 1)
        host = host.strip("[]")
        return {"filter_chain_match": {
            "destination_port": int(port), "prefix_ranges": [
                {"address_prefix": host, "prefix_len": 128 if ":" in host else 32}]},
            "filters": self.service_chain(service)}

    def services(self):
        chains = [self.matched_chain(s) for s in self.addressed]
        for s in self.named:
            self.listeners.append({"name": s["at"], "internal_listener": {},
                                   "filter_chains": [{"filters": self.service_chain(s)}]})
        if not chains:
            return
        if self.args.sandwich:
            heard = ext(PROXY, "extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
                        tlv_location="FILTER_STATE", rules=[
                            {"tlv_type": 0xd0, "on_tlv_present": {"key": "peer"}}])
            places = [{"address": socket_address(f"{host}:{self.args.sandwich}")}
                      for host in ("127.0.0.1", "[::1]")]
        else:
            heard = ext(ORIGINAL, "extensions.filters.listener.original_dst.v3.OriginalDst")
            places = [{"internal_listener": {}}]
        for n, place in enumerate(places):
            self.listeners.append({"name": "main_internal" + (f"_{n}" if n else ""), **place,
                                   "listener_filters": [heard], "filter_chains": chains})

    def whole(self):
        args = self.args
        if args.sds:
            end = {"endpoint": {"address": {"pipe": {"path": args.sds}}}}
            self.clusters.append({
                "name": "sds", "type": "STATIC", "connect_timeout": "10s",
                "load_assignment": {"cluster_name": "sds",
                                    "endpoints": [{"lb_endpoints": [end]}]}, **http2()})
        if args.app or args.relay or args.waypoint:
            self.terminate()
        if args.waypoint or args.sandwich:
            self.services()
        if not args.sandwich:
            self.originate()
        return {
            "node": {"id": args.id, "cluster": "mesh"},
            "admin": {"address": {"pipe": {"path": self.path("admin"), "mode": 0o600}}},
            "bootstrap_extensions": [ext(
                "envoy.bootstrap.internal_listener",
                "extensions.bootstrap.internal_listener.v3.InternalListener")],
            "static_resources": {"listeners": self.listeners, "clusters": self.clusters}}


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dir", required=True)
    p.add_argument("--id", required=True)
    for one in ("--issuer", "--roots", "--sds", "--app", "--expect", "--only"):
        p.add_argument(one)
    for options in ("--http", "--http2"):
        p.add_argument(options, default="{}")
    p.add_argument("--waypoint", action="store_true")
    p.add_argument("--sandwich", type=int)
    for many in ("--relay", "--service", "--originate"):
        p.add_argument(many, action="append", default=[])
    args = p.parse_args()

    def put(name, data):
        path = os.path.join(args.dir, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
            f.write(data)

    if args.issuer:
        chain, key = certs.leaf(certs.Issuer.load(args.issuer), args.id)
        put("chain", chain)
        put("key", key)
        with open(args.roots, "rb") as f:
            put("roots", f.read())
    put("config.json", json.dumps(Bootstrap(args).whole(), indent=1).encode())


if __name__ == "__main__":
    main()
