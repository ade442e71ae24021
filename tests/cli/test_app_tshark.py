#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS and QUIC in the decoder against tshark, message by message.

Messages are made at random (the same each time unless argument 2 is another seed) on IPv4 and IPv6: DNS queries,
responses and what only looks like them; QUIC long headers of every type in versions 1, 2 and draft
29, version negotiations, short headers; plain UDP on other ports. pktdump and tshark read the same
file; every field both know must agree, at full length and at a snap length of 68.

usage: test_app_tshark.py PKTDUMP [SEED]
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import pcapmake as pm

FIELDS = """dns.id dns.flags.response quic.header_form quic.long.packet_type
quic.long.packet_type_v2 quic.version quic.spin_bit quic.dcid quic.scid""".split()
SHORT_0, SHORT_1, INITIAL, ZERO_RTT, HANDSHAKE, RETRY, NEGOTIATION = range(1, 8)
# tshark's numbers are those of version 1 and of version 2 on the wire
TYPE_V1 = {0: INITIAL, 1: ZERO_RTT, 2: HANDSHAKE, 3: RETRY}
TYPE_V2 = {1: INITIAL, 2: ZERO_RTT, 3: HANDSHAKE, 0: RETRY}


def quic_payload(rng):
    cids = rng.randbytes(rng.choice([0, 5, 8, 8, 8, 17, 20])), rng.randbytes(rng.choice([0, 4, 8, 20]))
    kind = rng.random()
    if kind < 0.4:
        return pm.quic_short(rng.randrange(2), rng.randbytes(rng.choice([0, 8, 20])), 60)
    if kind < 0.5:
        return pm.quic_negotiation(*cids, [1, 0x0a1a2a3a][:rng.choice([1, 2])])
    # tshark drops an Initial whose first DCID is too short to be a client's: keep 8 and more
    return pm.quic_long(rng.choice([pm.INITIAL, pm.ZERO_RTT, pm.HANDSHAKE, pm.RETRY]),
                        rng.randbytes(rng.choice([8, 8, 20])), cids[1], 1200,
                        rng.choice([1, 1, 0x6b3343cf, 0xff00001d]))


def make(path, rng, count, snap):
    records = []
    for i in range(count):
        v6 = rng.random() < 0.4
        # a client of its own for each: tshark remembers connections
        a, b = ('fd00::%x' % (i + 1), 'fd00::ffff') if v6 else \
            ('10.%d.%d.1' % (i >> 8, i & 255), '192.0.2.1')
        what, port, data = rng.random(), 443, b''
        if what < 0.3:
            port, response = 53, rng.random() < 0.5
            data = pm.dns(rng.getrandbits(16), response)
            if response:
                a, b, sport, dport = b, a, 53, 40000
                records.append((10**18 + i * 10**6, pm.udp(a, sport, b, dport, data=data)))
                continue
        elif what < 0.9:
            data = quic_payload(rng)
        else:
            port, data = 41000, bytes(rng.randrange(100))
        records.append((10**18 + i * 10**6, pm.udp(a, 40000, b, port, data=data)))
    with open(path, 'wb') as f:
        f.write(pm.pcap(records, snap=snap))


def tshark(path):
    cmd = ['tshark', '-n', '-r', path, '-T', 'fields', '-E', 'separator=/t', '-E', 'occurrence=f',
           '-d', 'udp.port==443,quic']
    for f in FIELDS:
        cmd += ['-e', f]
    out = subprocess.run(cmd, capture_output=True, text=True, check=True).stdout
    return [dict(zip(FIELDS, line.split('\t'))) for line in out.splitlines()]


def pktdump(exe, path):
    out = subprocess.run([exe, path], capture_output=True, text=True, check=True).stdout
    lines = [line.split('\t') for line in out.splitlines()]
    return [dict(zip(lines[0], line)) for line in lines[1:]]


def truth(value):
    return int(value in ('1', 'True'))


def prefix(cid):
    cid = bytes.fromhex(cid.replace(':', ''))
    return (cid + bytes(8))[:8].hex(), len(cid)


def expected_quic(t):
    """(type, version16, dcid, dcid_len, scid, scid_len), None where tshark does not say."""
    if not truth(t['quic.header_form']):
        return SHORT_1 if truth(t['quic.spin_bit']) else SHORT_0, 0, None, None, None, None
    version = int(t['quic.version'], 0)
    if version == 0:
        kind = NEGOTIATION
    elif version == 0x6b3343cf:
        kind = TYPE_V2[int(t['quic.long.packet_type_v2'] or t['quic.long.packet_type'], 0)]
    else:
        kind = TYPE_V1[int(t['quic.long.packet_type'], 0)]
    return (kind, (version >> 16 ^ version) & 0xffff, *prefix(t['quic.dcid']),
            *prefix(t['quic.scid']))


def compare(n, t, d):
    if t['dns.id']:
        want = ('dns', int(t['dns.id'], 0), truth(t['dns.flags.response']))
        got = (d['app'], int(d['dns_id'] or 0), int(d['dns_flags'] or '0', 0) >> 15)
        return [] if want == got else ['packet %d: %s, tshark says %s' % (n, got, want)]
    if not t['quic.header_form']:
        return ['packet %d: %s, tshark sees neither' % (n, d['app'])] if d['app'] else []
    if d['app'] != 'quic':
        return ['packet %d: "%s", tshark says quic' % (n, d['app'])]
    want = expected_quic(t)
    got = (int(d['quic_type']), int(d['quic_version16'], 0), d['quic_dcid'],
           int(d['quic_dcid_len']), d['quic_scid'], int(d['quic_scid_len']))
    bad = [(g, w) for g, w in zip(got, want) if w is not None and g != w]
    return ['packet %d: %s, tshark says %s' % (n, got, want)] if bad else []


def check_cut(whole, cut):
    """At snap 68 what is still known is the same; what is not says so."""
    bad = []
    for n, (a, b) in enumerate(zip(whole, cut), 1):
        same = ['dns_id', 'dns_flags', 'quic_type', 'quic_version16']
        wrong = a['app'] != b['app'] or any(a[k] != b[k] for k in same)
        if a['app'] == 'quic' and int(a['quic_type']) > SHORT_1:
            wrong |= b['quic_dcid_len'] != a['quic_dcid_len'] or \
                b['quic_scid_len'] not in (a['quic_scid_len'], '255')
        if wrong:
            bad.append('packet %d at snap 68: %s, whole: %s' % (n, b, a))
    return bad


def main():
    if not shutil.which('tshark'):
        print('SKIP: tshark is not installed')
        return 77
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print('seed', seed)
    with tempfile.TemporaryDirectory(prefix='vns-app-') as tmp:
        make(tmp + '/whole.pcap', random.Random(seed), 500, 65535)
        make(tmp + '/cut.pcap', random.Random(seed), 500, 68)
        shark, ours = tshark(tmp + '/whole.pcap'), pktdump(sys.argv[1], tmp + '/whole.pcap')
        bad = [w for n, (t, d) in enumerate(zip(shark, ours), 1) for w in compare(n, t, d)]
        bad += check_cut(ours, pktdump(sys.argv[1], tmp + '/cut.pcap'))
    kinds = {k: sum(d['app'] == k for d in ours) for k in ('dns', 'quic', '')}
    print('500 packets:', kinds, '%d wrong' % len(bad))
    print('\n'.join(bad[:20]))
    return 1 if bad or len(shark) != len(ours) or kinds['dns'] < 90 or kinds['quic'] < 200 else 0


if __name__ == '__main__':
    sys.exit(main())
