# SPDX-License-Identifier: GPL-3.0-or-later
"""Small captures by hand: frames from a few words, pcap and pcapng files. Standard library only."""
import socket
import struct

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def tcp(src, sport, dst, dport, flags, tsval=None, tsecr=0, size=0, seq=1, ack=1, vlan=None):
    """An Ethernet frame; checksums are zero, the payload is zeros."""
    options = b'' if tsval is None else struct.pack('>BBBBII', 1, 1, 8, 10, tsval, tsecr)
    segment = struct.pack('>HHIIBBHHH', sport, dport, seq, ack, (20 + len(options)) // 4 << 4,
                          flags, 1000, 0, 0) + options + bytes(size)
    return ethernet(ip(src, dst, 6, segment), ':' in src, vlan)


def tcp_data(src, sport, dst, dport, seq, ack, data, ts=None):
    """A segment with this payload; ts: (TSval, TSecr)."""
    options = b'' if ts is None else struct.pack('>BBBBII', 1, 1, 8, 10, *ts)
    segment = struct.pack('>HHIIBBHHH', sport, dport, seq, ack, (20 + len(options)) // 4 << 4,
                          PSH | ACK, 1000, 0, 0) + options + data
    return ethernet(ip(src, dst, 6, segment), ':' in src)


def udp(src, sport, dst, dport, size=8, data=None, vlan=None):
    data = bytes(size) if data is None else data
    return ethernet(ip(src, dst, 17, struct.pack('>HHHH', sport, dport, 8 + len(data), 0) + data),
                    ':' in src, vlan)


def echo(src, dst, ident, seqno, reply=False, size=56):
    """ICMP or ICMPv6 echo, with its checksum: without, tshark pairs none."""
    v6 = ':' in src
    kind = (129 if reply else 128) if v6 else (0 if reply else 8)
    message = struct.pack('>BBHHH', kind, 0, 0, ident, seqno) + bytes(size)
    pseudo = b''.join(socket.inet_pton(socket.AF_INET6, a) for a in (src, dst)) + \
        struct.pack('>II', len(message), 58) if v6 else b''
    words = struct.unpack('>%dH' % (len(pseudo + message) // 2), pseudo + message)
    total = sum(words)
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    message = message[:2] + struct.pack('>H', total ^ 0xffff) + message[4:]
    return ethernet(ip(src, dst, 58 if v6 else 1, message), v6)


def dns(ident, response=False, name='example.org', flags=0x0100, questions=1):
    """A DNS message with one A question (RFC 1035), and one answer if it is a response."""
    question = b''.join(bytes([len(w)]) + w.encode() for w in name.split('.')) + b'\0\0\1\0\1'
    head = struct.pack('>HHHHHH', ident, flags | (0x8080 if response else 0), questions,
                       int(response), 0, 0)
    answer = b'\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1' if response else b''
    return head + question * questions + answer


INITIAL, ZERO_RTT, HANDSHAKE, RETRY = 0, 1, 2, 3


def quic_long(kind, dcid, scid, size, version=1, fill=b'\x5a'):
    """A datagram of `size` bytes that begins with a QUIC long header (RFC 9000 17.2), version 1."""
    bits = (kind + 1) % 4 if version == 0x6b3343cf else kind
    head = struct.pack('>BI', 0xc0 | bits << 4, version) + bytes([len(dcid)]) + dcid + \
        bytes([len(scid)]) + scid
    if kind == INITIAL:
        head += b'\0'  # no token
    if kind != RETRY:
        head += struct.pack('>H', 0x4000 | size - len(head) - 2)
    return head + fill * (size - len(head))


def quic_negotiation(dcid, scid, versions):
    return struct.pack('>BI', 0xca, 0) + bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid + \
        b''.join(struct.pack('>I', v) for v in versions)


def quic_short(spin, dcid, size=60, fill=b'\xa5'):
    return bytes([0x40 | spin << 5]) + dcid + fill * (size - 1 - len(dcid))


def ip(src, dst, proto, payload):
    if ':' in src:
        return struct.pack('>IHBB', 6 << 28, len(payload), proto, 64) + \
            socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + payload
    return struct.pack('>BBHHHBBH', 0x45, 0, 20 + len(payload), 0, 0x4000, 64, proto, 0) + \
        socket.inet_aton(src) + socket.inet_aton(dst) + payload


def ethernet(packet, v6=False, vlan=None):
    tag = b'' if vlan is None else struct.pack('>HH', 0x8100, vlan)
    return bytes.fromhex('525400000001525400000002') + tag + \
        struct.pack('>H', 0x86dd if v6 else 0x0800) + packet


def pcap(records, linktype=1, snap=262144):
    """records: (time_ns, frame). A nanosecond pcap file, little-endian."""
    out = [struct.pack('<IHHiIII', 0xa1b23c4d, 2, 4, 0, 0, snap, linktype)]
    for t, frame in records:
        out.append(struct.pack('<IIII', t // 10**9, t % 10**9, min(len(frame), snap), len(frame)))
        out.append(frame[:snap])
    return b''.join(out)


def _block(kind, body):
    body += bytes(-len(body) % 4)
    return struct.pack('<II', kind, len(body) + 12) + body + struct.pack('<I', len(body) + 12)


def pcapng(records, interfaces=1, linktype=1):
    """records: (time_ns, frame, interface). Nanosecond resolution. interfaces: number, or names."""
    out = [_block(0x0a0d0d0a, struct.pack('<IHHq', 0x1a2b3c4d, 1, 0, -1))]
    for name in [''] * interfaces if isinstance(interfaces, int) else interfaces:
        text = name.encode()
        label = struct.pack('<HH', 2, len(text)) + text + bytes(-len(text) % 4) if text else b''
        out.append(_block(1, struct.pack('<HHI', linktype, 0, 0) + label +
                          struct.pack('<HHB3xHH', 9, 1, 9, 0, 0)))
    for t, frame, interface in records:
        out.append(_block(6, struct.pack('<IIIII', interface, t >> 32, t & 0xffffffff, len(frame),
                                         len(frame)) + frame))
    return b''.join(out)
