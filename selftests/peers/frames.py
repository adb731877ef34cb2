# SPDX-License-Identifier: GPL-2.0-or-later
"""HTTP/2 frames by hand (RFC 9113 section 4), for what a well-behaved library refuses to send."""

import struct

import hpack

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, \
    CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, \
    FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, \
    ENHANCE_YOUR_CALM = range(12)


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """One frame; @length lies about the payload's size."""
    n = len(payload) if length is None else length
    return struct.pack(">BHBBI", n >> 16, n & 0xffff, kind, flags, stream) + payload


def settings(**values):
    ids = {"header_table_size": 1, "enable_push": 2, "max_streams": 3, "window": 4,
           "frame_size": 5, "header_list": 6}
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", ids[k], v)
                                            for k, v in values.items()))


def window_update(stream, n):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", n))


def rst(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def connect(encoder, stream, authority, extra=(), method="CONNECT", flags=END_HEADERS):
    fields = [(":method", method)]
    if authority is not None:
        fields.append((":authority", authority))
    return frame(HEADERS, flags, stream, encoder.encode(fields + list(extra)))


class Reader:
    """Takes bytes apart into (kind, flags, stream, payload)."""

    def __init__(self):
        self.buffer = b""
        self.decoder = hpack.Decoder()

    def feed(self, data):
        self.buffer += data
        while len(self.buffer) >= 9:
            high, low, kind, flags, stream = struct.unpack(">BHBBI", self.buffer[:9])
            n = (high << 16) + low
            if len(self.buffer) < 9 + n:
                return
            payload, self.buffer = self.buffer[9:9 + n], self.buffer[9 + n:]
            yield kind, flags, stream & 0x7fffffff, payload
