#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Two ends of TCP connections that carry 1000 bytes there and 3000 back, and end in a way that the
caller chooses: who ends first, and whether by FIN or by RST.

    ends.py serve PORT
    ends.py ADDRESS PORT WHO HOW [wait]     WHO: client or server; HOW: close or reset

With "wait" the client, when all was carried, prints a line and does nothing more until its standard
input ends.
"""
import socket
import struct
import sys

THERE = 1000
BACK = 3000


def read(sock, n):
    while n > 0:
        got = len(sock.recv(n))
        if not got:
            sys.exit("the connection ended early")
        n -= got


def end(sock, first, how):
    """Ends the connection, or waits for the other side's end and follows it."""
    if first and how == "r":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif first:
        sock.shutdown(socket.SHUT_WR)
    if not first or how == "c":
        try:
            sock.recv(1)
        except ConnectionResetError:
            pass
    sock.close()


def serve(port):
    listener = socket.create_server(("", port))
    while True:
        sock, _ = listener.accept()
        sock.settimeout(60)
        who, how = sock.recv(2, socket.MSG_WAITALL).decode()
        read(sock, THERE - 2)
        sock.sendall(bytes(BACK))
        end(sock, who == "s", how)


def call(address, port, who, how, wait=None):
    sock = socket.create_connection((address, port), timeout=60)
    sock.sendall((who[0] + how[0]).encode() + bytes(THERE - 2))
    read(sock, BACK)
    if wait:
        print("carried", flush=True)
        sys.stdin.read()
    end(sock, who == "client", how[0])


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    call(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
