#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends bytes through kernel TLS: keys are installed at both ends of a connection over loopback,
for each cipher that the agent uses, and the kernel's own counters must have moved."""
import socket
import struct
import sys

TCP_ULP, SOL_TLS, TLS_TX, TLS_RX = 31, 282, 1, 2
TLS_1_3 = 0x0304
# Name, number, lengths of salt and key (linux/tls.h).
CIPHERS = (("AES-128-GCM", 51, 4, 16), ("AES-256-GCM", 52, 4, 32))
DATA = bytes(range(256)) * 200


def keys(number, salt, key):
    """struct tls12_crypto_info_*: iv, key, salt, record number."""
    return struct.pack("=HH", TLS_1_3, number) + bytes(8) + b"k" * key + b"s" * salt + bytes(8)


def counters():
    with open("/proc/net/tls_stat") as f:
        return {name: int(value) for name, value in (line.split() for line in f)}


def carry(info):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tx = socket.create_connection(listener.getsockname())
        rx = listener.accept()[0]
    with tx, rx:
        rx.settimeout(60)
        for s, direction in ((tx, TLS_TX), (rx, TLS_RX)):
            s.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
            s.setsockopt(SOL_TLS, direction, info)
        tx.sendall(DATA)
        got = b""
        while len(got) < len(DATA):
            more = rx.recv(65536)
            if not more:
                break
            got += more
        return got == DATA


def main():
    for name, number, salt, key in CIPHERS:
        before = counters()
        if not carry(keys(number, salt, key)):
            sys.exit("%s: other bytes arrived than were sent" % name)
        after = counters()
        for counter in ("TlsTxSw", "TlsRxSw"):
            if after[counter] != before[counter] + 1:
                sys.exit("%s: %s is %d after %d" % (name, counter, after[counter], before[counter]))


main()
