#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decoder against tshark, field by field.

A few hundred frames are made at random (the same each time unless argument 2 is another seed): link
layer, VLAN and MPLS tags, tunnels, IP options and extension headers, fragments, transports with
and without options, padding. pktdump and tshark read the same file; every field that both know
must agree. Extra arguments are capture files to compare in the same way.

usage: test_pktdump_tshark.py PKTDUMP [SEED] [FILE...]
"""
import ipaddress
import random
import shutil
import struct
import subprocess
import sys
import tempfile

FIELDS = """ip.src ip.dst ipv6.src ipv6.dst tcp.srcport tcp.dstport udp.srcport udp.dstport
tcp.seq_raw tcp.ack_raw tcp.flags tcp.window_size_value tcp.options.timestamp.tsval
tcp.options.timestamp.tsecr tcp.len udp.length ip.id ipv6.fraghdr.ident ip.ttl ipv6.hlim vlan.id
icmp.type icmp.code icmp.ident icmp.seq icmpv6.type icmpv6.code icmpv6.echo.identifier
icmpv6.echo.sequence_number frame.protocols frame.time_epoch frame.len frame.cap_len
ip.frag_offset""".split()


def tcp(rng):
    options = rng.choice([
        b"", b"\1\1\x08\x0a" + rng.randbytes(8), b"\1\1\x08\x0a" + rng.randbytes(8),
        b"\2\4\5\xb4\4\2\x08\x0a" + rng.randbytes(8) + b"\1\3\3\7",
        b"\1\1\5\x0a" + rng.randbytes(8) + b"\1\1\x08\x0a" + rng.randbytes(8),
        b"\x08\x0a" + rng.randbytes(8) + b"\1\1"])
    return 6, struct.pack(">HHIIBBHHH", rng.randrange(1, 65536), rng.randrange(1, 65536),
                          rng.getrandbits(32), rng.getrandbits(32),
                          (5 + len(options) // 4) << 4, rng.choice([2, 16, 17, 18, 24, 4, 20]),
                          rng.getrandbits(16), rng.getrandbits(16), 0) + options + \
        rng.randbytes(rng.choice([0, 0, 1, 5, 100, 1000]))


def udp(rng):
    data = rng.randbytes(rng.choice([0, 1, 18, 500]))
    # ports without a dissector of tshark's that would add layers
    return 17, struct.pack(">HHHH", rng.randrange(40000, 40100), rng.randrange(41000, 41100),
                           8 + len(data), rng.getrandbits(16)) + data


def icmp(rng, v6):
    types = [128, 129] if v6 else [8, 0]
    return 58 if v6 else 1, struct.pack(">BBHHH", rng.choice(types), 0, rng.getrandbits(16),
                                        rng.getrandbits(16), rng.getrandbits(16)) + \
        rng.randbytes(rng.choice([0, 8, 56]))


def sctp(rng):
    return 132, rng.randbytes(12) + b"\x0b\0\0\4"


def ip4(rng, proto, data):
    options = rng.choice([b""] * 5 + [b"\x94\4\0\0", b"\1\1\1\0"])
    frag = rng.choice([0x4000] * 8 + [0, 0x2000, 0x2010, 0x00b9])
    head = struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, rng.getrandbits(8),
                       20 + len(options) + len(data), rng.getrandbits(16), frag,
                       rng.randrange(1, 256), proto, rng.getrandbits(16))
    return 0x0800, head + bytes([10, rng.randrange(256), 0, 1 + rng.randrange(200)]) + \
        bytes([rng.choice([10, 192, 239]), 0, 0, 1 + rng.randrange(200)]) + options + data


def ip6(rng, proto, data):
    for _ in range(rng.choice([0, 0, 0, 1, 2, 3])):
        kind = rng.choice([60, 43, 44])
        if kind == 44:
            data = struct.pack(">BBHI", proto, 0, rng.choice([0, 1]), rng.getrandbits(32)) + data
        elif kind == 43:
            data = bytes([proto, 2, 4, 0]) + bytes(20) + data
        else:
            data = bytes([proto, 0, 1, 4, 0, 0, 0, 0]) + data
        proto = kind
    if rng.random() < 0.2:
        data = bytes([proto, 0, 5, 2, 0, 0, 1, 0]) + data
        proto = 0
    addr = lambda: b"\xfd" + bytes(7) + rng.choice([bytes(4), rng.randbytes(4)]) + rng.randbytes(4)
    return 0x86dd, struct.pack(">IHBB", 0x60000000 | rng.getrandbits(20), len(data), proto,
                               rng.randrange(1, 256)) + addr() + addr() + data


def packet(rng):
    v6 = rng.random() < 0.4
    make = rng.choice([tcp, tcp, tcp, udp, udp, sctp, lambda r: icmp(r, v6)])
    return (ip6 if v6 else ip4)(rng, *make(rng))


def ethernet(rng, ethertype, data):
    head = b"\x02" + rng.randbytes(5) + b"\x02" + rng.randbytes(5)
    for tag in rng.choice([[], [], [], [0x8100], [0x88a8, 0x8100]]):
        head += struct.pack(">HH", tag, rng.getrandbits(16))
    if rng.random() < 0.1:
        label = lambda bottom: struct.pack(">I", rng.randrange(16, 1 << 20) << 12 | bottom << 8 | 64)
        return head + b"\x88\x47" + label(0) + label(1) + data
    if rng.random() < 0.05:
        ppp = b"\0\x21" if ethertype == 0x0800 else b"\0\x57"
        return head + b"\x88\x64\x11\0\0\1" + struct.pack(">H", len(data) + 2) + ppp + data
    frame = head + struct.pack(">H", ethertype) + data
    return frame + bytes(max(0, 60 - len(frame)))


def whole_ip4(rng, proto, data):
    while True:
        ethertype, d = ip4(rng, proto, data)
        if not d[6] & 0x3f and not d[7]:
            return ethertype, d


def tunnel(rng, ethertype, data):
    kind = rng.choice(["vxlan", "geneve", "gre", "teb", "ipip"])
    if kind == "ipip":
        return whole_ip4(rng, 4 if ethertype == 0x0800 else 41, data)
    if kind == "gre":
        return whole_ip4(rng, 47, struct.pack(">HH", 0, ethertype) + data)
    if kind == "teb":
        return whole_ip4(rng, 47, b"\x20\0\x65\x58KEYS" + ethernet(rng, ethertype, data))
    head = b"\x08\0\0\0\0\0\7\0" if kind == "vxlan" else b"\1\0\x65\x58\0\0\7\0\1\2\3\0"
    inner = head + ethernet(rng, ethertype, data)
    return whole_ip4(rng, 17, struct.pack(">HHHH", 50000, 4789 if kind == "vxlan" else 6081,
                                          8 + len(inner), 0) + inner)


def framed(rng, linktype, ethertype, data):
    """A packet below the header of a link type other than Ethernet."""
    v6 = ethertype == 0x86dd
    if linktype == SLL:
        return struct.pack(">HHH8sH", rng.choice([0, 4]), 1, 6, rng.randbytes(8), ethertype) + data
    if linktype == SLL2:
        return struct.pack(">HHIHBB8s", ethertype, 0, 2, 1, rng.choice([0, 4]), 6,
                           rng.randbytes(8)) + data
    if linktype == NULL:  # in the writer's byte order
        return struct.pack(rng.choice("<>") + "I", rng.choice([24, 28, 30]) if v6 else 2) + data
    if linktype == LOOP:
        return struct.pack(">I", 24 if v6 else 2) + data
    return data


ETHERNET, NULL, RAW, LOOP, SLL, SLL2 = 1, 0, 101, 108, 113, 276


def make_capture(path, rng, count, snaplen, linktype=ETHERNET):
    with open(path, "wb") as to:
        to.write(struct.pack("<IHHiIII", 0xa1b23c4d, 2, 4, 0, 0, snaplen, linktype))
        for i in range(count):
            layer = packet(rng)
            for _ in range(rng.choice([0] * 6 + [1, 1, 2])):
                layer = tunnel(rng, *layer)
            frame = ethernet(rng, *layer) if linktype == ETHERNET else \
                framed(rng, linktype, *layer)
            to.write(struct.pack("<IIII", 1700000000 + i, rng.randrange(10**9),
                                 min(len(frame), snaplen), len(frame)) + frame[:snaplen])


def run_tshark(path):
    cmd = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=;",
           "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
           "-o", "tcp.desegment_tcp_streams:FALSE", "-o", "tcp.analyze_sequence_numbers:FALSE"]
    for f in FIELDS:
        cmd += ["-e", f]
    out = subprocess.run(cmd, capture_output=True, text=True, check=False, timeout=900)
    return [dict(zip(FIELDS, line.split("\t"))) for line in out.stdout.splitlines()]


def run_pktdump(pktdump, path):
    out = subprocess.run([pktdump, path], capture_output=True, text=True, check=True, timeout=900)
    names, *lines = out.stdout.splitlines()
    return [dict(zip(names.split("\t"), line.split("\t"))) for line in lines]


def last(row, name):
    """Innermost value of a field as an integer; None when tshark shows none."""
    v = row[name].split(";")[-1]
    return None if v == "" else int(v, 0)


def expected(t, with_net):
    """What tshark says, in pktdump's columns; only what it shows."""
    protocols = t["frame.protocols"].split(":")
    inner = next((p for p in reversed(protocols) if p in ("ip", "ipv6")), None)
    e = {"wire_len": last(t, "frame.len"), "cap_len": last(t, "frame.cap_len"),
         "vlan": None}
    sec, frac = t["frame.time_epoch"].split(".")
    e["time_ns"] = int(sec) * 10**9 + int(frac.ljust(9, "0"))
    if inner and with_net:
        e["src"], e["dst"] = (ipaddress.ip_address(t[inner + k].split(";")[-1])
                              for k in (".src", ".dst"))
        e["ttl"] = last(t, "ip.ttl" if inner == "ip" else "ipv6.hlim")
        e["ip_id"] = last(t, "ip.id" if inner == "ip" else "ipv6.fraghdr.ident")
    return e


def compare_transport(t, d, e):
    if d["proto"] == "tcp":
        e |= {"sport": last(t, "tcp.srcport"), "dport": last(t, "tcp.dstport"),
              "seq": last(t, "tcp.seq_raw"), "ack": last(t, "tcp.ack_raw"),
              "window": last(t, "tcp.window_size_value"), "payload_len": last(t, "tcp.len")}
        flags = last(t, "tcp.flags")
        e["tcp_flags"] = None if flags is None else flags & 0xff
        if not int(d["flags"], 16) & 0x40:  # options not cut
            e["tsval"] = last(t, "tcp.options.timestamp.tsval") or 0
            e["tsecr"] = last(t, "tcp.options.timestamp.tsecr") or 0
    elif d["proto"] == "udp":
        length = last(t, "udp.length")
        e |= {"sport": last(t, "udp.srcport"), "dport": last(t, "udp.dstport")}
        if length is not None and not int(d["flags"], 16) & 0x02:
            e["payload_len"] = length - 8
    elif d["proto"] == "icmp":
        v6 = ":" in d["src"]
        e |= {"icmp_type": last(t, "icmpv6.type" if v6 else "icmp.type"),
              "icmp_code": last(t, "icmpv6.code" if v6 else "icmp.code")}
        if e["icmp_type"] in ((128, 129) if v6 else (0, 8)):
            e["icmp_id"] = last(t, "icmpv6.echo.identifier") if v6 else \
                int(t["icmp.ident"].split(";")[0] or 0)
            e["icmp_seq"] = last(t, "icmpv6.echo.sequence_number") if v6 else \
                int(t["icmp.seq"].split(";")[0] or 0)


def compare(n, t, d):
    """Differences of one packet, as sentences; and the number of fields compared."""
    layers = t["frame.protocols"].split(":")
    # behind an ICMP error tshark shows the packet that caused it
    quotes = any(p in ("ip", "ipv6") for i, p in enumerate(layers)
                 if {"icmp", "icmpv6"} & set(layers[:i]))
    e = expected(t, d["verdict"] in ("ok", "fragment", "other_l4") and not quotes)
    if d["verdict"] == "ok" and not quotes:
        compare_transport(t, d, e)
    if int(d["vlan"]) and int(d["tunnel_depth"]) == 0:
        e["vlan"] = last(t, "vlan.id")
    wrong = []
    for name, want in e.items():
        if want is None:
            continue
        got = ipaddress.ip_address(d[name]) if name in ("src", "dst") else int(d[name])
        if got != want:
            wrong.append(f"packet {n} ({t['frame.protocols']}, {d['verdict']}): "
                         f"{name} is {got}, tshark says {want}")
    return wrong, len(e)


def compare_files(pktdump, path, strict):
    shark, ours = run_tshark(path), run_pktdump(pktdump, path)
    if len(shark) != len(ours):
        return [f"{path}: {len(ours)} packets, tshark sees {len(shark)}"], 0, 0
    wrong, fields, ok = [], 0, 0
    for n, (t, d) in enumerate(zip(shark, ours), 1):
        w, k = compare(n, t, d)
        wrong += w
        fields += k
        ok += d["verdict"] == "ok"
        transport = t["frame.protocols"].split(":")[-1] in ("tcp", "udp", "icmp", "icmpv6")
        if strict and d["verdict"] in ("not_ip", "malformed", "bad_linktype"):
            wrong.append(f"packet {n} ({t['frame.protocols']}): verdict {d['verdict']}")
        if strict and transport and d["verdict"] == "other_l4":
            wrong.append(f"packet {n} ({t['frame.protocols']}): verdict other_l4")
    return [f"{path}: {w}" for w in wrong], fields, ok


def main():
    if not shutil.which("tshark"):
        print("SKIP: tshark is not installed")
        return 77
    pktdump = sys.argv[1]
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print(f"seed {seed}")
    wrong = []
    with tempfile.TemporaryDirectory(prefix="vns-tshark-") as tmp:
        for snaplen, link, count in ((65535, ETHERNET, 600), (128, ETHERNET, 600),
                                     (68, ETHERNET, 600), (65535, NULL, 200), (65535, RAW, 200),
                                     (65535, LOOP, 200), (65535, SLL, 200), (65535, SLL2, 200)):
            path = f"{tmp}/snap{snaplen}-{link}.pcap"
            make_capture(path, random.Random(seed), count, snaplen, link)
            w, fields, ok = compare_files(pktdump, path, snaplen == 65535)
            print(f"link type {link}, snap length {snaplen}: {count} packets, {ok} ok, "
                  f"{fields} fields compared, {len(w)} differ")
            wrong += w
            # at 68 bytes what is in a tunnel or behind IPv6 extensions is cut
            if ok < count // (2 if snaplen > 68 else 4) or fields < 6 * count:
                wrong.append("too little was compared for a verdict")
    for path in sys.argv[3:]:
        wrong += compare_files(pktdump, path, False)[0]
    print("\n".join(wrong[:40]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
