#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes into a pod's network namespace what istio-cni writes there, and takes it away again.

    cni_rules.py add NETNS iptables-nft|iptables-legacy|nft [--ingress] [--no-dns] [--no-ipv6]
    cni_rules.py remove NETNS

Rules of ztunnel-interop 3.7 (iptables, which the kernel sees as legacy tables or as nftables) and
3.8 (native nftables), with the policy routing that belongs to them. Several flavours may be
added to one pod: the real istio-cni does that on hosts that have both iptables.
"""
import argparse
import os
import subprocess
import sys

PROBE = {4: "169.254.7.127", 6: "fd16:9254:7127:1337:ffff:ffff:ffff:ffff"}
LOOPBACK = {4: "127.0.0.1/32", 6: "::1/128"}
MARK = "0x539/0xfff"
CONNMARK = "0x111/0xfff"
TABLES = ("istio-ambient-nat", "istio-ambient-mangle", "istio-ambient-raw")


def run(netns, *command, stdin=None, check=True):
    """Runs a command inside of NETNS."""
    done = subprocess.run(["nsenter", "--net=" + netns, "--", *command], input=stdin, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if check and done.returncode:
        raise SystemExit("%s: %s" % (" ".join(command), done.stdout.strip()))
    return done.stdout


def iptables_text(family, dns, ingress):
    """What goes to iptables-restore --noflush for one family."""
    lo, probe = LOOPBACK[family], PROBE[family]
    chains = [":ISTIO_PRERT - [0:0]", ":ISTIO_OUTPUT - [0:0]",
              "-A PREROUTING -j ISTIO_PRERT", "-A OUTPUT -j ISTIO_OUTPUT"]
    mangle = ["*mangle", *chains,
              "-A ISTIO_PRERT -m mark --mark %s -j CONNMARK --set-xmark %s" % (MARK, CONNMARK),
              "-A ISTIO_OUTPUT -m connmark --mark %s -j CONNMARK --restore-mark "
              "--nfmask 0xffffffff --ctmask 0xffffffff" % CONNMARK, "COMMIT"]
    nat = ["*nat", *chains]
    if not ingress:
        nat += ["-A ISTIO_PRERT -s %s -p tcp -m tcp -j ACCEPT" % probe,
                "-A ISTIO_PRERT ! -d %s -p tcp ! --dport 15008 -m mark ! --mark %s "
                "-j REDIRECT --to-ports 15006" % (lo, MARK)]
    nat += ["-A ISTIO_OUTPUT -d %s -p tcp -m tcp -j ACCEPT" % probe]
    if dns:
        nat += ["-A ISTIO_OUTPUT ! -o lo -p udp -m mark ! --mark %s -m udp --dport 53 "
                "-j REDIRECT --to-ports 15053" % MARK,
                "-A ISTIO_OUTPUT ! -d %s -p tcp -m mark ! --mark %s -m tcp --dport 53 "
                "-j REDIRECT --to-ports 15053" % (lo, MARK)]
    nat += ["-A ISTIO_OUTPUT -p tcp -m mark --mark %s -j ACCEPT" % CONNMARK,
            "-A ISTIO_OUTPUT ! -d %s -o lo -j ACCEPT" % lo,
            "-A ISTIO_OUTPUT ! -d %s -p tcp -m mark ! --mark %s -j REDIRECT --to-ports 15001"
            % (lo, MARK), "COMMIT"]
    raw = ["*raw", *chains,
           "-A ISTIO_PRERT -p udp -m mark ! --mark %s -m udp --sport 53 -j CT --zone 1" % MARK,
           "-A ISTIO_OUTPUT -p udp -m mark --mark %s -m udp --dport 53 -j CT --zone 1" % MARK,
           "COMMIT"]
    return "\n".join(mangle + nat + (raw if dns else [])) + "\n"


def nft_text(families, dns, ingress):
    """The three tables of the native backend."""
    marked, unmarked = "meta mark & 0xfff == 0x539", "meta mark & 0xfff != 0x539"
    pre, out = [], []
    for f in families:
        ip = "ip" if f == 4 else "ip6"
        here = LOOPBACK[f].split("/")[0]
        if not ingress:
            pre += ["%s saddr %s meta l4proto tcp counter accept" % (ip, PROBE[f]),
                    "%s daddr != %s tcp dport != 15008 %s counter redirect to :15006"
                    % (ip, here, unmarked)]
        out += ["meta l4proto tcp %s daddr %s counter accept" % (ip, PROBE[f])]
    for f in families:
        ip = "ip" if f == 4 else "ip6"
        here = LOOPBACK[f].split("/")[0]
        if dns:
            out += ["meta nfproto ipv%d oifname != lo udp dport 53 %s counter redirect to :15053"
                    % (f, unmarked),
                    "%s daddr != %s tcp dport 53 %s counter redirect to :15053"
                    % (ip, here, unmarked)]
    out += ["meta l4proto tcp meta mark & 0xfff == 0x111 counter accept"]
    for f in families:
        ip = "ip" if f == 4 else "ip6"
        here = LOOPBACK[f].split("/")[0]
        out += ["oifname lo %s daddr != %s counter accept" % (ip, here)]
    for f in families:
        ip = "ip" if f == 4 else "ip6"
        here = LOOPBACK[f].split("/")[0]
        out += ["meta l4proto tcp %s daddr != %s %s counter redirect to :15001"
                % (ip, here, unmarked)]

    def table(name, kind_out, priority, prerouting, output, kind):
        return "\n".join(
            ["table inet %s {" % name,
             "chain prerouting { type %s hook prerouting priority %d; jump istio-prerouting; }"
             % (kind, priority),
             "chain output { type %s hook output priority %d; jump istio-output; }"
             % (kind_out, priority),
             "chain istio-prerouting {", *prerouting, "}",
             "chain istio-output {", *output, "}", "}"])

    text = [table(TABLES[0], "nat", -100, pre, out, "nat"),
            table(TABLES[1], "route", -150,
                  [marked + " counter ct mark set ct mark & 0xfffff000 | 0x111"],
                  ["ct mark & 0xfff == 0x111 counter meta mark set ct mark"], "filter")]
    if dns:
        text.append(table(TABLES[2], "filter", -300,
                          [unmarked + " udp sport 53 counter ct zone set 1"],
                          [marked + " udp dport 53 counter ct zone set 1"], "filter"))
    # A chain must stand before who jumps to it; nft takes a file as one transaction.
    return "\n".join(text) + "\n"


def add_routes(netns, families):
    for f in families:
        ip = ["ip", "-%d" % f]
        rules = run(netns, *ip, "rule", "show", "priority", "32764")
        if not rules.strip():
            run(netns, *ip, "rule", "add", "fwmark", "0x111/0xfff", "priority", "32764",
                "lookup", "100")
        run(netns, *ip, "route", "replace", "local", "0.0.0.0/0" if f == 4 else "::/0",
            "dev", "lo", "table", "100")


def families_of(netns, ipv6):
    return (4, 6) if ipv6 and run(netns, "ip", "-6", "addr", "show", "dev", "lo").strip() else (4,)


def add(netns, flavour, ingress=False, dns=True, ipv6=True):
    families = families_of(netns, ipv6)
    add_routes(netns, families)
    if flavour == "nft":
        run(netns, "nft", "-f", "-", stdin=nft_text(families, dns, ingress))
        return
    backend = flavour.split("-")[1]
    for f in families:
        run(netns, "ip%stables-%s-restore" % ("" if f == 4 else "6", backend), "--noflush",
            stdin=iptables_text(f, dns, ingress))


def remove(netns):
    for name in TABLES:
        run(netns, "nft", "delete", "table", "inet", name, check=False)
    for backend in "nft", "legacy":
        for prefix in "ip", "ip6":
            program = "%stables-%s" % (prefix, backend)
            for table in "nat", "mangle", "raw":
                for chain, ours in (("PREROUTING", "ISTIO_PRERT"), ("OUTPUT", "ISTIO_OUTPUT")):
                    for args in (["-D", chain, "-j", ours], ["-F", ours], ["-X", ours]):
                        run(netns, program, "-t", table, *args, check=False)
    # What iptables-nft leaves are tables without rules.
    for family in "ip", "ip6":
        for table in "nat", "mangle", "raw":
            run(netns, "nft", "delete", "table", family, table, check=False)
    for f in 4, 6:
        ip = ["ip", "-%d" % f]
        run(netns, *ip, "rule", "del", "priority", "32764", check=False)
        run(netns, *ip, "route", "flush", "table", "100", check=False)


def legacy_works():
    """Whether this kernel has the old tables at all (asked in a namespace of its own)."""
    return subprocess.run(["unshare", "--net", "iptables-legacy", "-t", "nat", "-S"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["add", "remove", "legacy-works"])
    parser.add_argument("netns", nargs="?")
    parser.add_argument("flavour", nargs="?", choices=["iptables-nft", "iptables-legacy", "nft"])
    parser.add_argument("--ingress", action="store_true")
    parser.add_argument("--no-dns", action="store_true")
    parser.add_argument("--no-ipv6", action="store_true")
    a = parser.parse_args()
    if a.command == "legacy-works":
        sys.exit(0 if legacy_works() else 1)
    if not a.netns or not os.path.exists(a.netns):
        parser.error("a network namespace is needed")
    if a.command == "remove":
        remove(a.netns)
    elif not a.flavour:
        parser.error("a flavour is needed")
    else:
        add(a.netns, a.flavour, a.ingress, not a.no_dns, not a.no_ipv6)


if __name__ == "__main__":
    main()
