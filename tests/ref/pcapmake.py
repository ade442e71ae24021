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


def udp(src, sport, dst, dport, size=8):
    return ethernet(ip(src, dst, 17, struct.pack('>HHHH', sport, dport, 8 + size, 0) + bytes(size)))


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


def pcapng(records, interfaces=1):
    """records: (time_ns, frame, interface). Nanosecond resolution."""
    out = [_block(0x0a0d0d0a, struct.pack('<IHHq', 0x1a2b3c4d, 1, 0, -1))]
    for _ in range(interfaces):
        out.append(_block(1, struct.pack('<HHI', 1, 0, 0) + struct.pack('<HHB3xHH', 9, 1, 9, 0, 0)))
    for t, frame, interface in records:
        out.append(_block(6, struct.pack('<IIIII', interface, t >> 32, t & 0xffffffff, len(frame),
                                         len(frame)) + frame))
    return b''.join(out)
