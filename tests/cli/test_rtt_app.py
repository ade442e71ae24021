#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope rtt beyond TCP: ICMP, DNS, QUIC and the views, against tshark and simulated truth.

Pings and DNS queries with losses, duplicates and repetitions: tshark's icmp.resptime and dns.time give
the same samples, and those it has alone are answers to what was sent again (Karn) or second answers.
QUIC: a client and a server that follow RFC 9000 section 17.4 exchange packets through an observer in
the middle, with reordering and loss on both sides of it; no sample may be below what its part of the
path took, and undisturbed all are equal to what tshark's quic.spin_bit gives. Groups and halves are held
against figures from the single samples. The draws are the same each time unless VNS_SEED is set.

usage: test_rtt_app.py VNETSCOPE
"""
import collections
import heapq
import json
import math
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import pcapmake as pm

MS = 10**6
T0 = 1_700_000_000 * 10**9
VNETSCOPE = None
SEED = int(os.environ.get('VNS_SEED', 1))


def rtt(path, *args, code=0):
    r = subprocess.run([VNETSCOPE, 'rtt', '-r', path, *args], capture_output=True, text=True,
                       timeout=900)
    if r.returncode != code:
        raise AssertionError('%s: exit %d: %s' % (args, r.returncode, r.stderr))
    return r.stdout


def samples(path, *args):
    out = [json.loads(line) for line in rtt(path, '--samples', '--json', *args).splitlines()]
    return [s for s in out if 'rtt_ns' in s]


def tshark(path, fields, display):
    cmd = ['tshark', '-n', '-r', path, '-Y', display, '-T', 'fields', '-E', 'separator=/t',
           '-E', 'occurrence=f', '-d', 'udp.port==443,quic']
    for f in fields:
        cmd += ['-e', f]
    out = subprocess.run(cmd, capture_output=True, text=True, check=True).stdout
    return [dict(zip(fields, line.split('\t'))) for line in out.splitlines()]


def epoch_ns(text):
    sec, frac = text.split('.')
    return int(sec) * 10**9 + int(frac.ljust(9, '0'))


class Case(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory(prefix='vns-rtt-app-')
        self.addCleanup(self.tmp.cleanup)
        self.rng = random.Random(SEED)

    def write(self, records, snap=262144):
        path = os.path.join(self.tmp.name, 'a.pcap')
        with open(path, 'wb') as f:
            f.write(pm.pcap(sorted(records, key=lambda r: r[0]), snap=snap))
        return path


def exchanges(rng, make, count):
    """Requests (some repeated) and replies (some lost or doubled). Return: records, clean ones."""
    records, clean = [], {}
    for i in range(count):
        at, rtt_ns = T0 + i * 3 * MS, rng.randrange(MS // 10, 40 * MS)
        request, reply = make(i)
        records.append((at, request))
        kind = rng.random()
        if kind < 0.1:
            continue  # lost
        if kind < 0.2:
            records.append((at + rtt_ns // 2, request))
        elif kind < 0.3:
            records.append((at + rtt_ns + rng.randrange(MS), reply))
            clean[i] = rtt_ns
        else:
            clean[i] = rtt_ns
        records.append((at + rtt_ns, reply))
    return records, clean


class Queries(Case):
    def compare(self, records, clean, name, fields, scale):
        path = self.write(records)
        mine = samples(path)
        self.assertEqual({s['method'] for s in mine}, {name})
        self.assertEqual({s['id']: s['rtt_ns'] for s in mine}, clean)
        self.assertEqual(len(mine), len(clean))
        if not shutil.which('tshark'):
            self.skipTest('tshark is not installed')
        shark = {}
        for t in tshark(path, ['frame.time_epoch'] + fields, fields[0]):
            ident = next(int(t[f], 0) for f in fields[1:] if t[f])
            shark[epoch_ns(t['frame.time_epoch']), ident] = float(t[fields[0]]) * scale
        for s in mine:
            self.assertAlmostEqual(shark.pop((s['at_ns'], s['id'])), s['rtt_ns'], delta=1000)
        # what only tshark has: ambiguous answers and second ones
        others = {i for _, i in shark} - set(clean)
        counts = json.loads(rtt(path, '--json'))['accounting']['beyond_tcp'][name]
        self.assertLessEqual(len(others), counts['ambiguous'])
        return counts

    def test_echo(self):
        for a, b in (('10.0.0.1', '10.0.0.2'), ('fd00::1', 'fd00::2')):
            records, clean = exchanges(self.rng, lambda i: (
                pm.echo(a, b, 99, i), pm.echo(b, a, 99, i, True)), 400)
            fields = ['icmp.resptime', 'icmp.seq'] if '.' in a else \
                ['icmpv6.resptime', 'icmpv6.echo.sequence_number']
            c = self.compare(records, clean, 'icmp', fields, 1e6)
            self.assertEqual(c['requests'] - c['repeated'],
                             c['samples'] + c['ambiguous'] + c['unanswered'])

    def test_no_row_of_tcp_where_there_is_none(self):
        ping = (0, pm.echo('10.0.0.1', '10.0.0.2', 99, 1)), (MS, pm.echo('10.0.0.2', '10.0.0.1', 99, 1, True))
        out = rtt(self.write([(T0 + at, frame) for at, frame in ping]))
        self.assertIn('ICMP echo, all flows', out)
        self.assertNotIn('TCP', out.split('\n\n')[0])

    def test_dns(self):
        c = self.compare(*exchanges(self.rng, lambda i: (
            pm.udp('10.0.0.1', 40000 + i % 7, '192.0.2.53', 53, data=pm.dns(i)),
            pm.udp('192.0.2.53', 53, '10.0.0.1', 40000 + i % 7, data=pm.dns(i, True))), 400),
            'dns', ['dns.time', 'dns.id'], 1e9)
        self.assertEqual(c['replies'], c['samples'] + c['ambiguous'] + c['repeated_replies'])

    def test_dns_over_tcp(self):
        """Several queries of one connection under way, answered out of turn, with and without timestamps
        (two ways through the decoder), one sent again; tshark's dns.time for each."""
        for a, b, ts in (('10.0.0.1', '192.0.2.53', (7, 9)), ('fd00::1', 'fd00::53', None)):
            records, clean, seq = [], {}, {}

            def segment(at, src, sport, dst, dport, message):
                data = struct.pack('>H', len(message)) + message
                sent = seq.get((src, sport, dport), 1)
                seq[src, sport, dport] = sent + len(data)
                frame = pm.tcp_data(src, sport, dst, dport, sent, seq.get((dst, dport, sport), 1),
                                    data, ts)
                records.append((at, frame))
                return frame

            for burst in range(60):
                at, port = T0 + burst * 10 * MS, 40000 + burst % 5
                ids = [burst * 8 + k for k in range(self.rng.choice([1, 2, 5]))]
                for k, i in enumerate(ids):
                    query = segment(at + k * 1000, a, port, b, 53, pm.dns(i))
                self.rng.shuffle(ids)
                for k, i in enumerate(ids):
                    answered = at + 2 * MS + k * 3 * MS // 2 + self.rng.randrange(MS)
                    segment(answered, b, 53, a, port, pm.dns(i, True))
                    clean[i] = answered - (at + (i - burst * 8) * 1000)
            records.append((at + MS, query))  # the last one again: which was answered is not known
            del clean[burst * 8 + len(ids) - 1]
            path = self.write(records)
            mine = [s for s in samples(path, '--kinds', 'dns')]
            self.assertEqual({s['id']: s['rtt_ns'] for s in mine}, clean)
            self.assertTrue(all((s['src'], s['dst'], s['dport']) == (a, b, 53) for s in mine))
            doc = json.loads(rtt(path, '--json', '--kinds', 'dns', '--flows'))
            c = doc['accounting']['beyond_tcp']['dns']
            self.assertEqual((c['requests'], c['samples'], c['ambiguous'], c['repeated']),
                             (len(clean) + 2, len(clean), 1, 1))
            self.assertEqual([f['method'] for f in doc['flows']], ['dns'])
            if not shutil.which('tshark'):
                continue
            shark = {int(t['dns.id'], 0): float(t['dns.time']) * 1e9
                     for t in tshark(path, ['dns.time', 'dns.id'], 'dns.time')}
            for i, ns in clean.items():
                self.assertAlmostEqual(shark[i], ns, delta=1000)

    def test_dns_over_tcp_is_not_guessed(self):
        """What does not begin with a message: zeros, a length of its own, an answer from the client's
        side, a message on another port."""
        whole = struct.pack('>H', len(pm.dns(1))) + pm.dns(1)
        for port, data in ((53, bytes(200)), (53, whole[:2]), (53, pm.dns(1)),
                           (53, struct.pack('>H', 5) + pm.dns(1)),
                           (53, struct.pack('>H', 45) + pm.dns(1, True)), (5300, whole)):
            path = self.write([(T0, pm.tcp_data('10.0.0.1', 40000, '10.0.0.2', port, 1, 1, data))])
            c = json.loads(rtt(path, '--json', '--kinds', 'dns', code=4))['accounting']['beyond_tcp']
            self.assertEqual((c['other'], c['dns']['requests'] + c['dns']['replies']), (1, 0), data)

    @staticmethod
    def prefixed(message):
        return struct.pack('>H', len(message)) + message

    def stream(self, parts, gap=MS // 10):
        """Segments of (True: of the server, payload), each direction's sequence numbers following on."""
        records, seq = [], {True: 1000, False: 2000}
        for k, (server, data) in enumerate(parts):
            ends = [('10.0.0.1', 40000), ('192.0.2.53', 53)][::-1 if server else 1]
            records.append((T0 + k * gap, pm.tcp_data(*ends[0], *ends[1], seq[server], seq[not server], data)))
            seq[server] += len(data)
        return records

    def books(self, path, code=0):
        c = json.loads(rtt(path, '--json', '--kinds', 'dns', code=code))['accounting']
        beyond = c['beyond_tcp']
        self.assertEqual(c['read'], beyond['other'] + beyond['cut'] + beyond['dns']['requests'] +
                         beyond['dns']['replies'])
        return beyond

    def test_dns_over_tcp_lengths_apart(self):
        """Both sides write the length first: the message counts from its own segment, as tshark's does."""
        parts = []
        for i in range(40):
            for server in (False, True):
                whole = self.prefixed(pm.dns(i, server))
                parts += [(server, whole[:2]), (server, whole[2:])] if i % 3 else [(server, whole)]
        path = self.write(self.stream(parts))
        mine = {s['id']: s['rtt_ns'] for s in samples(path, '--kinds', 'dns')}
        self.assertEqual(mine, {i: MS // 10 * (2 if i % 3 else 1) for i in range(40)})
        c = self.books(path)
        self.assertEqual(c['dns_tcp'], {'lengths': 52, 'continued': 0, 'unread': 0, 'inside': 0})
        self.assertIn('52 segments beside those that begin a message, 52 a length alone', rtt(path))
        if shutil.which('tshark'):
            shark = {int(t['dns.id'], 0): float(t['dns.time']) * 1e9
                     for t in tshark(path, ['dns.time', 'dns.id'], 'dns.time')}
            for i, ns in mine.items():
                self.assertAlmostEqual(shark[i], ns, delta=1000)

    def test_dns_over_tcp_what_is_not_read(self):
        """Every segment of port 53 with payload has a class, and messages within one are counted."""
        q, a = [[self.prefixed(pm.dns(i, server)) for i in range(9)] for server in (False, True)]
        long = self.prefixed(pm.dns(1, True) + bytes(3000))
        zero = {'lengths': 0, 'continued': 0, 'unread': 0, 'inside': 0}
        for parts, want, messages in (
                ([(False, q[0] + q[1] + q[2]), (True, a[0])], {'inside': 2}, (1, 1)),
                ([(False, q[1]), (True, long[:1400]), (True, long[1400:2800]), (True, long[2800:])],
                 {'continued': 2}, (1, 1)),
                ([(False, q[1]), (True, long[:1400]), (True, long[1400:] + a[2]), (True, a[3])],
                 {'continued': 1, 'inside': 1}, (1, 2)),
                ([(False, q[1]), (True, long[:2]), (True, long[2:1400]), (True, long[1400:]), (True, a[3])],
                 {'lengths': 1, 'continued': 1}, (1, 2)),
                ([(False, q[1][:2]), (False, q[1][2:] + q[2])], {'lengths': 1, 'inside': 1}, (1, 0)),
                ([(True, bytes([255]) * 600), (True, bytes([255]) * 600)], {'unread': 2}, (0, 0)),
                ([(False, q[1][:2]), (False, bytes([255]) * 45)], {'lengths': 1, 'unread': 1}, (0, 0))):
            with self.subTest(want=want):
                path = self.write(self.stream(parts))
                c = self.books(path, 0 if (messages[0] and messages[1]) else 4)
                self.assertEqual(c['dns_tcp'], {**zero, **want})
                self.assertEqual((c['dns']['requests'], c['dns']['replies']), messages)
        # sent again it is the same message, with its length before it and without
        records = self.stream([(False, q[1][:2]), (False, q[1][2:])])
        path = self.write(records + [(T0 + 5 * MS, records[1][1])])
        c = self.books(path, 4)
        self.assertEqual((c['dns']['requests'], c['dns']['repeated']), (2, 1))
        # cut before the first words: 14 + 20 + 20 bytes of headers
        for snap, cut in ((54, 2), (59, 2), (60, 0)):
            c = self.books(self.write(self.stream([(False, q[0]), (True, a[0])]), snap), 4 if cut else 0)
            self.assertEqual((c['cut'], c['dns']['samples']), (cut, 1 - cut // 2), snap)

    def test_snap_68(self):
        records, clean = exchanges(self.rng, lambda i: (
            pm.udp('fd00::1', 40000, 'fd00::53', 53, data=pm.dns(i)),
            pm.udp('fd00::53', 53, 'fd00::1', 40000, data=pm.dns(i, True))), 50)
        self.assertEqual({s['id']: s['rtt_ns'] for s in samples(self.write(records, 68))}, clean)
        beyond = json.loads(rtt(self.write(records, 64), '--json', '--kinds', 'dns',
                                code=4))['accounting']['beyond_tcp']
        self.assertEqual(beyond['cut'], len(records))


class Spin:
    """Client, observer and server of one QUIC connection; delays in ns, one way."""

    def __init__(self, rng, client_ns=3 * MS, server_ns=5 * MS, gap_ns=MS // 4, jitter_ns=0, late=1, loss=0,
                 port=40000, until_ns=600 * MS, random_bits=False):
        self.rng, self.delay, self.loss = rng, (client_ns, server_ns), loss
        self.jitter, self.late = jitter_ns, late  # so many of the packets are late
        self.seen, self.queue, self.order, self.port = [], [], 0, port
        self.random_bits = random_bits
        self.cid = [rng.randbytes(8), rng.randbytes(8)]  # chosen by client, server
        self.bit, self.largest, self.number = [0, 0], [-1, -1], [0, 0]
        self.handshake()
        t = 30 * MS
        while t < until_ns:
            for side in (0, 1):
                self.at(t + rng.randrange(gap_ns), self.send, side)
            t += gap_ns
        while self.queue:
            when, _, call, args = heapq.heappop(self.queue)
            call(when, *args)

    def at(self, when, call, *args):
        self.order += 1
        heapq.heappush(self.queue, (when, self.order, call, args))

    def record(self, when, side, data):
        a, b = ('10.0.0.1', self.port), ('192.0.2.1', 443)
        src, dst = (a, b) if side == 0 else (b, a)
        self.seen.append((T0 + when, pm.udp(*src, *dst, data=data), side,
                          data[0] >> 5 & 1 if not data[0] & 0x80 else None))

    def handshake(self):
        first = self.rng.randbytes(8)
        c, s = self.delay
        self.record(c, 0, pm.quic_long(pm.INITIAL, first, self.cid[0], 1200))
        self.record(c + 2 * s, 1, pm.quic_long(pm.INITIAL, self.cid[0], self.cid[1], 1200))
        self.record(3 * c + 2 * s, 0, pm.quic_long(pm.HANDSHAKE, self.cid[1], self.cid[0], 300))

    def hop(self, part):
        late = self.jitter and self.rng.random() < self.late
        return self.delay[part] + (self.rng.randrange(self.jitter) if late else 0)

    def send(self, now, side):
        number, self.number[side] = self.number[side], self.number[side] + 1
        bit = self.rng.randrange(2) if self.random_bits else self.bit[side]
        if self.rng.random() < self.loss:
            return
        self.at(now + self.hop(side), self.observe, side, number, bit)

    def observe(self, now, side, number, bit):
        self.record(now, side, pm.quic_short(bit, self.cid[1 - side], 80))
        if self.rng.random() >= self.loss:
            self.at(now + self.hop(1 - side), self.receive, 1 - side, number, bit)

    def receive(self, now, side, number, bit):
        if number > self.largest[side]:  # RFC 9000 17.4: only the largest packet number counts
            self.largest[side] = number
            self.bit[side] = bit if side == 1 else 1 - bit


def edges_by_tshark(path):
    """Time between an edge of one direction and the one it causes: (at, to the server?, ns)."""
    last, when, out = {}, {}, []
    for t in tshark(path, ['frame.time_epoch', 'udp.dstport', 'quic.spin_bit'], 'quic.spin_bit'):
        at, side = epoch_ns(t['frame.time_epoch']), int(t['udp.dstport'] == '443')
        bit = t['quic.spin_bit'] in ('1', 'True')
        if last.get(side, bit) != bit:
            if 1 - side in when:
                out.append((at, 1 - side, at - when[1 - side]))
            when[side] = at
        last[side] = bit
    return out


class Quic(Case):
    def spin_samples(self, sim, *args):
        path = self.write([(t, f) for t, f, _, _ in sim.seen])
        return path, [s for s in samples(path, *args) if s['method'] == 'quic_spin']

    def test_undisturbed(self):
        sim = Spin(self.rng)
        path, mine = self.spin_samples(sim)
        shakes = [(s['dport'] == 443, s['rtt_ns']) for s in samples(path)
                  if s['method'] == 'quic_handshake']
        self.assertEqual(shakes, [(True, 10 * MS), (False, 6 * MS)])
        self.assertGreater(len(mine), 50)
        for s in mine:  # both sides send every 250 us: at most two gaps late
            floor = 10 * MS if s['dport'] == 443 else 6 * MS
            self.assertGreaterEqual(s['rtt_ns'], floor)
            self.assertLess(s['rtt_ns'], floor + MS)
        if not shutil.which('tshark'):
            self.skipTest('tshark is not installed')
        shark = edges_by_tshark(path)
        ours = [(s['at_ns'], int(s['dport'] == 443), s['rtt_ns']) for s in mine]
        self.assertEqual(ours, shark[:-1])  # the last one waits for its confirmation

    def test_reordering_and_loss(self):
        total = 0
        for client, server, jitter, late, loss in (
                (3, 5, 1, 1, 0), (3, 5, 4, 1, 0), (3, 5, 4, 0.02, 0), (3, 5, 8, 0.01, 0.02),
                (3, 5, 0, 0, 0.05), (1, 1, 1, 1, 0), (1, 1, 3, 1, 0)):
            _, mine = self.spin_samples(Spin(self.rng, client * MS, server * MS,
                                             jitter_ns=jitter * MS, late=late, loss=loss))
            low = [s for s in mine
                   if s['rtt_ns'] < 2 * MS * (server if s['dport'] == 443 else client)]
            self.assertEqual(low, [], 'jitter %d ms of %g, loss %g' % (jitter, late, loss))
            total += len(mine)
        self.assertGreater(total, 60)

    def test_late_by_more_than_the_round_trip(self):
        """What no observer can tell: a few may be low, but not by far."""
        low, total = [], 0
        for _ in range(6):
            _, mine = self.spin_samples(Spin(self.rng, MS, MS, jitter_ns=6 * MS, late=0.01))
            total += len(mine)
            low += [s['rtt_ns'] for s in mine if s['rtt_ns'] < 2 * MS]
        self.assertGreater(total, 100)
        self.assertLess(len(low), 10)
        self.assertGreater(min(low, default=2 * MS), MS // 4)

    def test_bits_by_chance(self):
        given = 0
        for port in range(20):
            sim = Spin(self.rng, port=41000 + port, random_bits=True, until_ns=300 * MS)
            given += len(self.spin_samples(sim)[1])
        self.assertEqual(given, 0)

    def test_label(self):
        path, _ = self.spin_samples(Spin(self.rng))
        self.assertIn('upper estimate', rtt(path))
        doc = json.loads(rtt(path, '--json'))
        self.assertIn('10 %', doc['totals']['methods']['quic_spin']['note'])


def quantile(values, q):
    v = sorted(values)
    return v[max(0, math.ceil(q * len(v) * (1 - 1e-12)) - 1)]


class Views(Case):
    def traffic(self):
        """TCP with and without its SYN, pings, DNS, from 40 clients to 6 servers."""
        records, rng = [], self.rng
        for i in range(40):
            c, s = '10.0.%d.%d' % (i % 4, i + 1), '192.0.%d.%d' % (i % 3, i % 6 + 1)
            t, sport, near, far = T0 + i * 7 * MS, 33001 + i, rng.randrange(1, 5), rng.randrange(5, 60)
            if i % 2:
                records += [(t - 30 * MS, pm.tcp(c, sport, s, 443, pm.SYN, 900, 0)),
                            (t - 20 * MS, pm.tcp(s, 443, c, sport, pm.SYN | pm.ACK, 900, 900))]
            for k in range(rng.choice([5, 80])):
                at = t + k * 100 * MS
                jit = rng.randrange(MS)
                records += [
                    (at, pm.tcp(c, sport, s, 443, pm.ACK, 1000 + k, 2000 + k - 1, 100)),
                    (at + far * MS + jit, pm.tcp(s, 443, c, sport, pm.ACK, 2000 + k, 1000 + k, 100)),
                    (at + (far + near) * MS + 2 * jit,
                     pm.tcp(c, sport, s, 443, pm.ACK, 1000 + k, 2000 + k, 0))]
            for k in range(70):
                at = t + k * 50 * MS
                records += [(at, pm.echo(c, s, i, k)),
                            (at + far * MS + rng.randrange(MS), pm.echo(s, c, i, k, True))]
        return records

    def test_groups(self):
        path = self.write(self.traffic())
        every = samples(path)
        for by, key in (('host', lambda a: a), ('prefix', lambda a: a.rsplit('.', 1)[0] + '.0/24'),
                        ('prefix=8,64', lambda a: a.split('.')[0] + '.0.0.0/8')):
            want = collections.defaultdict(list)
            for s in every:
                want[s['method'], key(s['dst'])].append(s['rtt_ns'])
            groups = json.loads(rtt(path, '--by', by, '--json'))['groups']
            self.assertEqual({(g['method'], g['to']): g['samples'] for g in groups},
                             {k: len(v) for k, v in want.items()})
            for g in groups:
                v, f = want[g['method'], g['to']], g['rtt_ns']
                self.assertEqual((f['min'], f['max']), (min(v), max(v)))
                self.assertAlmostEqual(f['mean'], sum(v) / len(v), delta=1)
                for name, q in (('p50', 0.5), ('p95', 0.95), ('p99', 0.99)):
                    self.assertLessEqual(abs(f[name] - quantile(v, q)), 0.01 * quantile(v, q))

    def test_worst(self):
        path = self.write(self.traffic())
        doc = json.loads(rtt(path, '--worst', '3', '--json', '--kinds', 'tcp'))
        every = collections.defaultdict(list)
        for s in samples(path, '--kinds', 'tcp'):
            every[s['method'], s['src'], s['sport'], s['dst'], s['dport']].append(s['rtt_ns'])
        for method in {k[0] for k in every}:
            able = {k: quantile(v, 0.95) for k, v in every.items()
                    if k[0] == method and len(v) >= 59}
            got = [f for f in doc['flows'] if f['method'] == method]
            self.assertEqual(len(got), min(3, len(able)))
            order = [f['rtt_ns']['p95'] for f in got]
            self.assertEqual(order, sorted(order, reverse=True))
            for f, v in zip(got, sorted(able.values(), reverse=True)):
                self.assertGreaterEqual(f['samples'], 59)
                self.assertLessEqual(abs(f['rtt_ns']['p95'] - v), 0.021 * v)
        self.assertEqual(len(json.loads(rtt(path, '--worst', '2', '--by', 'host', '--json',
                                            '--kinds', 'icmp'))['groups']), 2)

    def test_halves(self):
        path = self.write(self.traffic())
        every = collections.defaultdict(list)
        for s in samples(path, '--kinds', 'tcp'):
            every[s['method'], s['src'], s['sport'], s['dst'], s['dport']].append(s['rtt_ns'])
        paths = json.loads(rtt(path, '--halves', '--json'))['paths']
        self.assertEqual(len([p for p in paths if p['method'] == 'ts']), 40)
        for p in paths:
            self.assertEqual(p['sport'], 443)
            self.assertEqual(p['client_known_by'], 'opened' if p['cport'] % 2 == 0 else 'ports')
            c, s = (p['client'], p['cport']), (p['server'], p['sport'])
            to_server, to_client = (every[p['method'], *x, *y] for x, y in ((c, s), (s, c)))
            self.assertEqual(p['server_side_ns']['min'], min(to_server, default=None))
            self.assertEqual(p['client_side_ns']['min'], min(to_client, default=None))
            if to_server and to_client:
                self.assertEqual(p['sum_min_ns'], min(to_server) + min(to_client))
                self.assertAlmostEqual(p['sum_mean_ns'], sum(to_server) / len(to_server) +
                                       sum(to_client) / len(to_client), delta=1)
        self.assertIn('sum mean', rtt(path, '--halves'))
        sums = sorted((p['sum_mean_ns'] for p in paths if p['method'] == 'ts' and
                       min(p['client_side_ns']['samples'], p['server_side_ns']['samples']) >= 59),
                      reverse=True)
        worst = json.loads(rtt(path, '--halves', '--worst', '4', '--json'))['paths']
        self.assertEqual([p['sum_mean_ns'] for p in worst if p['method'] == 'ts'], sums[:4])

    def test_usage(self):
        path = self.write(self.traffic()[:10])
        for args in (['--kinds', 'smtp'], ['--kinds', ''], ['--by', 'prefix=33'], ['--by', 'net'],
                     ['--by', 'prefix=24,129'], ['--by', 'prefix=24x']):
            rtt(path, *args, code=2)


if __name__ == '__main__':
    VNETSCOPE = sys.argv.pop(1)
    print('seed', SEED)
    unittest.main(verbosity=1)
