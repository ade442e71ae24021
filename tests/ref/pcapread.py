# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain reader of capture files: pcap or pcapng (Ethernet) -> one Packet per frame.

Slow, standard library only, and independent: shares nothing with lib/ or with vns-gencap, so
that it can judge both. Written from RFC 791, 8200, 9293, 768, 792, 4443, 7323, IEEE 802.1Q,
draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""
import struct
from types import SimpleNamespace


class Packet(SimpleNamespace):
    """index, time_ns, wire_len, data; after decode(): kind is 'tcp', 'udp', 'icmp', 'other'
    (an IP packet of another protocol or a later fragment), 'not_ip' or 'bad'."""

    @property
    def flow(self):
        return (self.src, self.sport, self.dst, self.dport)


def frames(path):
    """Yield (time_ns, wire_len, bytes) of each record."""
    with open(path, 'rb') as f:
        data = f.read()
    if data[:4] == b'\x0a\x0d\x0d\x0a':
        yield from _pcapng(data)
        return
    magics = {b'\xd4\xc3\xb2\xa1': ('<', 1000), b'\xa1\xb2\xc3\xd4': ('>', 1000),
              b'\x4d\x3c\xb2\xa1': ('<', 1), b'\xa1\xb2\x3c\x4d': ('>', 1)}
    if data[:4] not in magics:
        raise ValueError('%s is not a capture file' % path)
    end, unit = magics[data[:4]]
    if struct.unpack(end + 'I', data[20:24])[0] & 0x0fffffff != 1:
        raise ValueError('%s: not Ethernet' % path)
    at, record = 24, struct.Struct(end + 'IIII')
    while at + 16 <= len(data):
        sec, sub, cap, wire = record.unpack_from(data, at)
        yield sec * 10**9 + sub * unit, wire, data[at + 16:at + 16 + cap]
        at += 16 + cap


def _pcapng(data):
    at, end, resolution = 0, '<', []
    while at + 12 <= len(data):
        if data[at:at + 4] == b'\x0a\x0d\x0d\x0a':
            end = '<' if data[at + 8:at + 12] == b'\x4d\x3c\x2b\x1a' else '>'
            resolution = []
        kind, size = struct.unpack_from(end + 'II', data, at)
        body = data[at + 8:at + size - 4]
        if kind == 1:
            resolution.append(_resolution(body[8:], end))
        elif kind == 6:
            iface, high, low, cap, wire = struct.unpack_from(end + 'IIIII', body)
            ticks = high << 32 | low
            yield ticks * 10**9 // resolution[iface], wire, body[20:20 + cap]
        at += size


def _resolution(options, end):
    at = 0
    while at + 4 <= len(options):
        code, size = struct.unpack_from(end + 'HH', options, at)
        if code == 9:
            v = options[at + 4]
            return 1 << (v & 127) if v & 128 else 10 ** v
        if code == 0:
            break
        at += 4 + (size + 3 & ~3)
    return 10**6


def _address(raw):
    if len(raw) == 4:
        return '.'.join(str(b) for b in raw)
    import ipaddress
    return str(ipaddress.IPv6Address(raw))


def decode(index, time_ns, wire_len, data):
    p = Packet(index=index, time_ns=time_ns, wire_len=wire_len, data=data, kind='bad', vlan=0,
               src='', dst='', sport=0, dport=0, ip_id=0, v6=False, tsval=None, tsecr=None,
               sack=None,
               payload=b'', payload_len=0)
    try:
        _link(p)
    except (struct.error, IndexError):
        p.kind = 'bad'
    return p


def _link(p):
    at, d = 12, p.data
    kind = struct.unpack_from('>H', d, at)[0]
    while kind in (0x8100, 0x88a8):
        p.vlan = struct.unpack_from('>H', d, at + 2)[0] & 0xfff
        at += 4
        kind = struct.unpack_from('>H', d, at)[0]
    at += 2
    if kind == 0x0800:
        _ipv4(p, at)
    elif kind == 0x86dd:
        _ipv6(p, at)
    else:
        p.kind = 'not_ip'


def _ipv4(p, at):
    d = p.data
    total, p.ip_id, fragment = struct.unpack_from('>HHH', d, at + 2)
    header = (d[at] & 15) * 4
    p.src, p.dst = _address(d[at + 12:at + 16]), _address(d[at + 16:at + 20])
    proto = d[at + 9]
    p.ip_header = d[at:at + header]
    if fragment & 0x1fff:
        p.kind = 'other'
        return
    _transport(p, proto, at + header, total - header)


def _ipv6(p, at):
    d = p.data
    size, proto = struct.unpack_from('>HB', d, at + 4)
    p.v6 = True
    p.src, p.dst = _address(d[at + 8:at + 24]), _address(d[at + 24:at + 40])
    if size == 0:  # RFC 2675: too long for the field
        size = p.wire_len - at - 40
    _transport(p, proto, at + 40, size)


def _transport(p, proto, at, size):
    d = p.data
    p.l4 = d[at:at + size]
    p.l4_len, p.proto = size, proto
    if proto == 6:
        p.sport, p.dport, p.seq, p.ack, off, p.flags = struct.unpack_from('>HHIIBB', d, at)
        p.window = struct.unpack_from('>H', d, at + 14)[0] if len(d) >= at + 16 else None
        header = (off >> 4) * 4
        _tcp_options(p, d[at + 20:at + header], header - 20)
        p.kind = 'tcp'
    elif proto == 17:
        p.sport, p.dport = struct.unpack_from('>HH', d, at)
        header, p.kind = 8, 'udp'
    elif proto in (1, 58):
        p.type, p.code, _, p.icmp_id, p.icmp_seq = struct.unpack_from('>BBHHH', d, at)
        header, p.kind = 8, 'icmp'
    else:
        p.kind = 'other'
        return
    p.payload_len = size - header
    p.payload = d[at + header:at + size]


def _tcp_options(p, raw, length):
    """Of the @length bytes those that the capture kept: what they hold whole counts, also where the rest is cut
    (sequence numbers and flags stand before them anyway)."""
    at, cut = 0, len(raw) < length
    while at < len(raw) and raw[at] != 0:
        if raw[at] == 1:
            at += 1
            continue
        if cut and (at + 1 == len(raw) or (raw[at] in (5, 8) and at + 10 > len(raw))):
            return
        size = raw[at + 1]
        if size < 2:
            raise IndexError
        if raw[at] == 8 and size == 10:
            p.tsval, p.tsecr = struct.unpack_from('>II', raw, at + 2)
        if raw[at] == 5 and size >= 10:
            p.sack = struct.unpack_from('>II', raw, at + 2)
        at += size


def read(path):
    """All packets of a capture, decoded, in file order."""
    return [decode(i, *frame) for i, frame in enumerate(frames(path))]


def ones_sum(data):
    if len(data) % 2:
        data += b'\0'
    s = sum(struct.unpack('>%dH' % (len(data) // 2), data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return s


def checksums_right(p):
    """IP header and transport checksums of a completely captured packet (RFC 1071)."""
    import ipaddress
    if not p.v6 and ones_sum(p.ip_header) != 0xffff:
        return False
    pseudo = b''
    if p.proto != 1:
        pseudo = ipaddress.ip_address(p.src).packed + ipaddress.ip_address(p.dst).packed + \
            struct.pack('>IHBB', p.l4_len, 0, 0, p.proto)
    return ones_sum(pseudo + p.l4) == 0xffff
