#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope vo on two capture files from the outside: contract, signs, formats, bad input, exit codes.

The captures are made here from a list of packets with known latencies. argv: vnetscope.
"""
import csv
import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
from pcapmake import ACK, PSH, ethernet, ip, pcap, pcapng, tcp  # noqa: E402

VNETSCOPE = None
T0 = 1700000000 * 10**9
US, MS, HOUR = 1000, 10**6, 3600 * 10**9
GUEST, PEER = '10.0.0.2', '10.0.0.9'
FIGURES = ['min', 'mean', 'p50', 'p95', 'p99', 'max', 'stddev']
CLASSES = ['matched', 'missing', 'ambiguous', 'outside_window', 'undecodable']


def udp(src, sport, dst, dport, payload):
    return ethernet(ip(src, dst, 17, struct.pack('>HHHH', sport, dport, 8 + len(payload), 0) +
                       payload), ':' in src)


def ping(src, dst, kind, seq):
    return ethernet(ip(src, dst, 1, struct.pack('>BBHHH', kind, 0, 0, 77, seq) + bytes(range(56))))


def arp():
    return bytes.fromhex('ffffffffffff525400000001080600010800060400015254000000010a000009') + \
        bytes(6) + socket.inet_aton(GUEST)


def pcap_file(records, order='<', nano=True, linktype=1):
    """records: (time_ns, frame)."""
    magic, unit = (0xa1b23c4d, 1) if nano else (0xa1b2c3d4, 1000)
    out = [struct.pack(order + 'IHHiIII', magic, 2, 4, 0, 0, 262144, linktype)]
    for t, frame in records:
        out.append(struct.pack(order + 'IIII', t // 10**9, t % 10**9 // unit, len(frame),
                               len(frame)) + frame)
    return b''.join(out)


def traffic(n=50, inward=(30, 1), outward=(12, 1), offset=0, step=10 * MS):
    """n rounds of ping, UDP and TCP, both ways. The k-th takes inward[0] + k * inward[1] us to the
    guest and outward likewise from it. Return: (host's records, guest's)."""
    host, guest = [], []

    def inbound(t, frame, k):
        host.append((t, frame))
        guest.append((t + (inward[0] + k * inward[1]) * US + offset, frame))

    def outbound(t, frame, k):
        guest.append((t + offset, frame))
        host.append((t + (outward[0] + k * outward[1]) * US, frame))

    for k in range(n):
        t = T0 + k * step
        inbound(t, ping(PEER, GUEST, 8, k), k)
        outbound(t + 500 * US, ping(GUEST, PEER, 0, k), k)
        inbound(t + MS, udp(PEER, 5000, GUEST, 6000, b'request %4d' % k), k)
        outbound(t + 3 * MS // 2, udp(GUEST, 6000, PEER, 5000, b'reply %4d' % k), k)
        inbound(t + 2 * MS, tcp(PEER, 40000, GUEST, 80, ACK | PSH, 100 + k, 50 + k, 10,
                                seq=1 + 10 * k, ack=1 + 20 * k), k)
        outbound(t + 5 * MS // 2, tcp(GUEST, 80, PEER, 40000, ACK | PSH, 51 + k, 100 + k, 20,
                                      seq=1 + 20 * k, ack=11 + 10 * k), k)
    return sorted(host), sorted(guest)


class Offline(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def file(self, data, name):
        path = os.path.join(self.dir.name, name)
        with open(path, 'wb') as f:
            f.write(data)
        return path

    def files(self, host, guest):
        return ('--host', self.file(host, 'host'), '--guest', self.file(guest, 'guest'))

    def pair(self, records):
        return self.files(pcap_file(records[0]), pcap_file(records[1]))

    def vo(self, *args, code=0, says=None, **more):
        r = subprocess.run([VNETSCOPE, 'vo', *args], capture_output=True, text=True, timeout=900,
                           **more)
        self.assertEqual(r.returncode, code, r.stderr + r.stdout)
        if says is not None:
            self.assertIn(says, r.stderr)
        elif code == 0 and '--json' not in args:
            self.assertEqual(r.stderr, '')
        return r.stdout

    def target(self, *args, **more):
        doc = json.loads(self.vo(*args, '--json', **more))
        self.assertEqual(doc['schema'], 'vnetscope.vo/1')
        self.assertEqual(len(doc['targets']), 1)
        t = doc['targets'][0]
        self.assertEqual(t['name'], 'offline')
        for point in ('host', 'guest'):
            a = t['accounting'][point]
            self.assertEqual(a['read'], sum(a[k] for k in CLASSES))
            self.assertIn('capture_lost', a)
        return t

    def check_latencies(self, t, inward=(30, 1), outward=(12, 1), n=50, delta=0, shift=0):
        for direction, (base, slope), sign in (('host_to_guest', inward, 1),
                                               ('guest_to_host', outward, -1)):
            for proto in ('icmp', 'udp', 'tcp'):
                f = t['directions'][direction][proto]
                self.assertEqual(f['matched'], n, (direction, proto))
                for kind in ('latency_ns', 'last_byte_ns'):
                    low, high = base * US, (base + (n - 1) * slope) * US
                    self.assertAlmostEqual(f[kind]['min'], low + sign * shift, delta=delta)
                    self.assertAlmostEqual(f[kind]['max'], high + sign * shift, delta=delta)
                    self.assertAlmostEqual(f[kind]['mean'], (low + high) / 2 + sign * shift,
                                           delta=delta + 1)
                    self.assertLessEqual(set(FIGURES), set(f[kind]))

    def test_contract_and_signs(self):
        t = self.target(*self.pair(traffic(offset=5 * MS)), '--offset-ns', str(5 * MS))
        self.check_latencies(t)
        c = t['clock']
        self.assertEqual((c['mode'], c['offset_ns'], c['lower_ns'], c['upper_ns']),
                         ('given', 5 * MS, 5 * MS, 5 * MS))
        self.assertTrue(T0 <= c['at_ns'] <= T0 + 10**9)
        self.assertEqual(c['drift_ppm'], 0)
        self.assertEqual(list(t['directions']), ['host_to_guest', 'guest_to_host'])
        for point in ('host', 'guest'):
            a = t['accounting'][point]
            self.assertEqual((a['read'], a['matched'], a['capture_lost']), (300, 300, 0))
        for proto in ('icmp', 'udp', 'tcp'):
            s = t['sum_ns'][proto]
            self.assertEqual((s['n'], s['min'], s['max']), (50, 42 * US, 140 * US))

    def test_second_reading_finds_no_sample_late(self):
        for known in ((), ('--offset-ns', str(5 * MS))):
            t = self.target(*self.pair(traffic(offset=5 * MS)), *known)
            self.assertEqual(t['clock']['mode'], 'given' if known else 'traffic')
            self.assertEqual(t['late_samples'], 0)
            self.assertEqual([t['sum_ns'][p]['n'] for p in ('icmp', 'udp', 'tcp')], [50] * 3)

    def test_check_of_the_clock_can_fail(self):
        host, guest = traffic(n=100, inward=(30, 0), outward=(12, 0), offset=5 * MS)

        def checks(records, offset):
            t = self.target(*self.pair((host, records)), '--offset-ns', str(offset))
            return [t['sum_ns'][p]['check'] for p in ('icmp', 'udp', 'tcp')]

        for c in checks(guest, 5 * MS):
            self.assertTrue(c['inside'] and c['lower_ns'] <= 0 <= c['upper_ns'], c)
        # 40 ppm that the offset given knows nothing of: 40 us of the second, 20 from half to half
        drifting = [(t + (t - T0) // 25000, f) for t, f in guest]
        for c in checks(drifting, 5 * MS + 29 * US):
            self.assertFalse(c['inside'], c)
            self.assertAlmostEqual(c['difference_ns'], -20 * US, delta=US)
            self.assertGreaterEqual(c['blocks'], 8)
        # a step of 10 us half way
        stepped = [(t + (10 * US if t > T0 + 500 * MS else 0), f) for t, f in guest]
        self.assertFalse(any(c['inside'] for c in checks(stepped, 5 * MS)))
        # an offset wrong by a constant cancels: the check cannot see it
        self.assertTrue(all(c['inside'] for c in checks(guest, 5 * MS + 8 * US)))
        self.assertIn('NOT THE SAME', self.vo(*self.pair((host, drifting)), '--offset-ns',
                                              str(5 * MS + 29 * US)))

    def test_guest_behind(self):
        t = self.target(*self.pair(traffic(offset=-2 * HOUR)), '--offset-ns', str(-2 * HOUR))
        self.check_latencies(t)
        self.assertEqual(t['clock']['offset_ns'], -2 * HOUR)

    def test_one_clock_is_assumed_where_it_fits(self):
        t = self.target(*self.pair(traffic()), says='ssumed')
        self.check_latencies(t)
        c = t['clock']
        self.assertEqual((c['mode'], c['offset_ns'], c['lower_ns'], c['upper_ns']),
                         ('same', 0, -12 * US, 30 * US))
        h2g = t['directions']['host_to_guest']['udp']['latency_ns']
        self.assertEqual((h2g['err_minus_ns'], h2g['err_plus_ns']), (30 * US, 12 * US))
        g2h = t['directions']['guest_to_host']['udp']['latency_ns']
        self.assertEqual((g2h['err_minus_ns'], g2h['err_plus_ns']), (12 * US, 30 * US))

    def test_sampling_interval_of_the_median(self):
        """Too few to say: null, and "-" for people, never the range."""
        known = set()
        for n in (8, 2000):
            slope = int(n == 8)
            pair = self.pair(traffic(n, inward=(30, slope), outward=(12, slope)))
            t = self.target(*pair, says='ssumed')
            text = self.vo(*pair)
            for way in t['directions'].values():
                for f in way.values():
                    p50 = f['sampling_interval_ns']['p50']
                    self.assertIsNotNone(f['latency_ns']['err_minus_ns'])
                    self.assertEqual(f['last_byte_ns']['sampling_interval_ns'], f['sampling_interval_ns'])
                    above = f['excess_ns']['sampling_interval_ns']['p50']
                    self.assertEqual(above, p50 and [v - f['latency_ns']['min'] for v in p50])
                    known.add((n, p50 is not None))
            within = text[text.index('within (95 %)'):]
            row = next(r for r in within.splitlines() if re.match(r' *host to guest +udp +first', r))
            self.assertEqual(bool(re.search(r' first( +-){4}  -[\d.]+ us \+', row)), n == 8, row)
            self.assertLessEqual(max(map(len, text.splitlines())), 120)
        self.assertEqual(known, {(8, False), (2000, True)})

    def test_copy_under_another_name(self):
        host, _ = traffic()
        says = 'Both captures hold the same stamps: a copy?'
        self.target(*self.pair((host, host)), says=says)
        host, guest = traffic(inward=(30, 0), outward=(12, 0))
        self.assertNotIn(says, self.target(*self.pair((host, guest)))['note'])
        us = pcap_file(host, nano=False)
        moved = pcap_file([(t + 7000 * US, f) for t, f in host], nano=False)
        note = self.target(*self.files(us, moved), '--offset-ns', str(7 * MS))['note'] or ''
        self.assertNotIn(says, note)  # only equal stamps are a copy's

    def test_nothing_paired_and_why(self):
        host, guest = traffic()
        late = [(t + 24 * HOUR, f) for t, f in guest]
        for first, second, says in (
                (pcap_file(host + host), pcap_file(late), 'host goes back'),
                (pcap_file(host), pcap_file(late, linktype=147), 'have a link type that is not supported.'),
                (pcap_file(host), pcap_file(late), 'No packet of one capture is in the other')):
            t = self.target(*self.files(first, second), '--offset-ns', '0', code=4, says=says)
            self.assertEqual('No packet of one' in t['note'], says.startswith('No packet'))

    def test_headers_cut_by_the_capture(self):
        """Not a question of time or of order, whatever else is odd in the files."""
        host, guest = traffic()
        for first, second, where in ((pcap(host, snap=30), pcap(guest), 'host'),
                                     (pcap(host + host), pcap(guest + guest, snap=30), 'guest')):
            files = self.files(first, second)
            t = self.target(*files, code=4, says='no packet was found')
            n = 300 if where == 'host' else 600
            self.assertIn('in %s the headers of %d of %d packets are cut' % (files[1 if where == 'host' else 3], n, n),
                          t['note'])
            self.assertEqual(t['note'].count('Nothing was paired'), 1)
            self.assertNotIn('made at the same time', t['note'])

    def check_withheld(self, t, floors_us, wobble_us):
        """No figure that holds half of the split; the intervals, the excesses and the sum stand."""
        c = t['clock']
        self.assertEqual((c['split'], c['offset_ns']), ('not identifiable', None))
        for name, floor in zip(('host_to_guest', 'guest_to_host'), floors_us):
            f = t['directions'][name]['tcp']
            for member in ('min', 'mean', 'p50', 'p95', 'p99', 'max', 'err_minus_ns'):
                self.assertIsNone(f['latency_ns'][member], member)
            lower, upper = f['interval_ns']['min']
            self.assertTrue(-2 <= lower <= floor * US <= upper <= sum(floors_us) * US + US,
                            (lower, upper))
            self.assertLessEqual(f['excess_ns']['max'], 1000 * US * max(wobble_us))
            self.assertGreaterEqual(f['excess_ns']['p50'], 0)
        self.assertEqual(t['sum_ns']['tcp']['min'], sum(floors_us) * US)

    def test_hours_of_offset_that_nobody_gave(self):
        for offset in (3 * HOUR, -30 * MS, 200 * US):
            t = self.target(*self.pair(traffic(offset=offset)), says='contradicts')
            c = t['clock']
            self.assertEqual(c['mode'], 'traffic')
            self.assertTrue(c['lower_ns'] <= offset <= c['upper_ns'], c)
            self.check_withheld(t, (30, 12), (1, 1))
            t = self.target(*self.pair(traffic(offset=offset)), '--assume-symmetric',
                            says='contradicts')
            self.assertEqual(t['clock']['split'], 'assumed symmetric')
            # The middle makes the floors equal: 21 us each way; the sum is exact.
            self.check_latencies(t, shift=-9 * US, delta=300)
            self.assertEqual(t['sum_ns']['tcp']['min'], 42 * US)
            h2g = t['directions']['host_to_guest']['tcp']['latency_ns']
            self.assertTrue(h2g['min'] - h2g['err_minus_ns'] <= 30 * US <=
                            h2g['min'] + h2g['err_plus_ns'])

    def test_wrong_offset_is_told(self):
        args = self.pair(traffic(offset=5 * MS))
        out = self.vo(*args, '--offset-ns', str(4 * MS), code=1, says='negative latency')
        self.assertIn('guest to host', out)
        self.vo(*args, '--offset-ns', str(6 * MS), code=1, says='host to guest')

    def test_drift_file(self):
        doc = {'schema': 'vnetscope.drift/1', 'target': 'vm', 'mode': 'shm', 'at_ns': T0,
               'offset_ns': 5 * MS, 'lower_ns': 5 * MS - 400, 'upper_ns': 5 * MS + 300,
               'drift_ppm': 0.0,
               'pieces': [{'from_ns': T0 - 10**9, 'to_ns': T0 + 10 * 10**9, 'offset_ns': 5 * MS,
                           'drift_ppm': 0.0}],
               'exchanges': {'used': 9, 'rejected': 0}, 'samples': []}
        drift = self.file(json.dumps(doc).encode(), 'drift.json')
        t = self.target(*self.pair(traffic(offset=5 * MS)), '--drift-file', drift)
        self.check_latencies(t, delta=2)
        self.assertEqual(t['clock']['mode'], 'shm')
        self.assertGreaterEqual(t['directions']['host_to_guest']['tcp']['latency_ns']['err_minus_ns'],
                                300)
        doc['mode'] = 'exchange'  # its probes crossed the path: the document's offset is no split
        doc['offset_ns'], piece = None, doc['pieces'][0]
        piece['lower'] = [[T0, 5 * MS - 12 * US]]
        piece['upper'] = [[T0, 5 * MS + 30 * US]]
        piece['drift_lower_ppm'] = piece['drift_upper_ppm'] = 0.0
        drift = self.file(json.dumps(doc).encode(), 'drift.json')
        self.check_withheld(self.target(*self.pair(traffic(offset=5 * MS)), '--drift-file', drift),
                            (30, 12), (1, 1))
        t = self.target(*self.pair(traffic(offset=5 * MS)), '--drift-file', drift,
                        '--assume-symmetric')
        self.assertEqual(t['clock']['offset_ns'], 5 * MS)
        bad = self.file(b'{"schema": 1}', 'bad.json')
        self.vo(*self.pair(traffic()), '--drift-file', bad, code=3, says='bad.json')

    def test_formats(self):
        host, guest = traffic()
        ng = pcapng([(t, f, 0) for t, f in guest])
        for order in '<>':
            for nano in (True, False):
                t = self.target(*self.files(pcap_file(host, order, nano), pcap_file(guest, '<')),
                                '--offset-ns', '0')
                self.check_latencies(t, delta=0 if nano else 1000)
                t = self.target(*self.files(pcap_file(host, order, nano), ng), '--offset-ns', '0')
                self.check_latencies(t, delta=0 if nano else 1000)

    def test_microseconds_on_both_sides_are_no_contradiction(self):
        host, guest = traffic(inward=(0, 1), outward=(0, 1))
        self.target(*self.files(pcap_file(host, nano=False), pcap_file(guest, nano=False)),
                    '--offset-ns', '900')

    def test_microseconds_widen_the_intervals(self):
        # 100 us each way, the host's stamps cut to 1 us: the truth lies in every interval
        host, guest = traffic(inward=(100, 0), outward=(100, 0), step=10 * MS + 333)
        t = self.target(*self.files(pcap_file(host, nano=False), pcap_file(guest)),
                        '--offset-ns', '0')
        for direction in ('host_to_guest', 'guest_to_host'):
            f = t['directions'][direction]['udp']['latency_ns']
            self.assertNotEqual(f['min'], f['max'])  # the cut shows
            for figure in ('min', 'max', 'mean'):
                self.assertLessEqual(f[figure] - f['err_minus_ns'], 100 * US, direction)
                self.assertGreaterEqual(f[figure] + f['err_plus_ns'], 100 * US, direction)
            self.assertEqual(f['err_minus_ns'] + f['err_plus_ns'], 1000, direction)

    def test_segmentation_differs(self):
        """One superframe at the host, segments in the guest; and the reverse."""
        host, guest = [], []
        for k in range(20):
            t, seq = T0 + k * 10 * MS, 1 + k * 14480
            host.append((t, tcp(PEER, 4, GUEST, 80, ACK, 9 + k, 1, 14480, seq=seq)))
            for i in range(10):
                guest.append((t + 40 * US + i * US, tcp(PEER, 4, GUEST, 80, ACK, 9 + k, 1, 1448,
                                                        seq=seq + 1448 * i)))
                guest.append((t + MS + i * US, tcp(GUEST, 80, PEER, 4, ACK, 5 + k, 1, 1448,
                                                   seq=seq + 1448 * i)))
            host.append((t + MS + 50 * US, tcp(GUEST, 80, PEER, 4, ACK, 5 + k, 1, 14480, seq=seq)))
        t = self.target(*self.pair((sorted(host), sorted(guest))), '--offset-ns', '0',
                        '--guest-addr', GUEST)
        f = t['directions']['host_to_guest']['tcp']
        self.assertEqual((f['matched'], f['latency_ns']['min'], f['latency_ns']['max']),
                         (20, 40 * US, 40 * US))
        self.assertEqual((f['last_byte_ns']['min'], f['last_byte_ns']['max']), (49 * US, 49 * US))
        f = t['directions']['guest_to_host']['tcp']
        self.assertEqual((f['matched'], f['latency_ns']['min'], f['latency_ns']['max']),
                         (200, 41 * US, 50 * US))
        self.assertEqual(t['accounting']['host']['matched'], 40)
        self.assertEqual(t['accounting']['guest']['matched'], 400)

    def test_accounting(self):
        host, guest = traffic()
        host = sorted(host + [(T0 + 95 * MS, arp()),
                              (T0 + 96 * MS, udp(PEER, 1, '10.0.0.77', 2, b'for another'))])
        lost = [r for r in guest if b'request   10' in r[1]]
        self.assertEqual(len(lost), 1)
        guest.remove(lost[0])
        t = self.target(*self.pair((host, guest)), '--offset-ns', '0')
        a = t['accounting']
        self.assertEqual([a['host'][k] for k in CLASSES], [299, 1, 0, 0, 2])
        self.assertEqual([a['guest'][k] for k in CLASSES], [299, 0, 0, 0, 0])
        self.assertEqual(a['host']['missing_by_protocol']['udp'], 1)

    def test_one_capture_is_shorter(self):
        host, guest = traffic()
        guest = [r for r in guest if T0 + 100 * MS <= r[0] < T0 + 400 * MS]
        t = self.target(*self.pair((host, guest)), '--offset-ns', '0')
        a = t['accounting']['host']
        self.assertEqual((a['matched'], a['missing'], a['outside_window']), (180, 0, 120))

    def test_host_capture_began_much_earlier(self):
        host, guest = traffic(n=200)
        early = [(T0 - 200 * 10**9 + k * MS, udp('10.0.0.5', 9, '10.0.0.6', 9, b'%08d' % k))
                 for k in range(40000)]
        t = self.target(*self.pair((early + host, guest)))
        self.assertEqual(t['accounting']['host']['matched'], 1200)
        self.assertEqual(t['clock']['mode'], 'same')

    def test_unsorted(self):
        host, guest = traffic()
        for i in range(0, len(host) - 4, 4):
            host[i], host[i + 3] = host[i + 3], host[i]
        t = self.target(*self.pair((host, guest)), '--offset-ns', '0', says='not in order of time')
        self.check_latencies(t)

    def test_stray_stamps(self):
        """One record with a wrong time is not the time of all that follow; a clock that was set is."""
        host, guest = traffic(n=100)
        whole = self.target(*self.pair((host, guest)))
        for at, by in ((0, 60), (10, 60), (300, -60), (300, 86400), (10, -7 * 86400), (len(host) - 1, 60), (len(host) - 3, 60)):
            for end in (0, 1):
                with self.subTest(at=at, by=by, end=end):
                    records = [list(host), list(guest)]
                    t, frame = records[end][at]
                    records[end][at] = t + by * 10**9, frame
                    t = self.target(*self.pair(records))
                    last = at == len(host) - 1  # nothing shows that time did not go on
                    name, other = ('host', 'guest') if end == 0 else ('guest', 'host')
                    self.assertEqual(t['accounting'][name]['stray_stamps'], 0 if last else 1)
                    self.assertEqual(t['accounting'][other]['stray_stamps'], 0)
                    self.assertEqual(t['accounting'][name]['matched'], len(host) - 1)
                    if not last:
                        self.assertEqual(t['accounting'][name]['undecodable'], 1)
                        self.assertIn('1 packet has a time more than 1 s off', t['note'])
                        self.assertNotIn('not in order', t['note'])
                    for key in 'mode', 'lower_ns', 'upper_ns':
                        self.assertAlmostEqual(t['clock'][key], whole['clock'][key], delta=2000) if key != 'mode' else \
                            self.assertEqual(t['clock'][key], whole['clock'][key])
        self.assertNotIn('stray', whole['note'] or '')

    def test_times_that_are_no_stray_stamps(self):
        host, guest = traffic(n=100)
        pause = [[(t + (60 * 10**9 if t > T0 + 500 * MS else 0), f) for t, f in r] for r in (host, guest)]
        sparse = traffic(n=20, step=7 * 10**9)
        set_back = [host, [(t - (3000 * MS if t > T0 + 500 * MS else 0), f) for t, f in guest]]
        for records in (pause, sparse, set_back):
            t = self.target(*self.pair(records))
            self.assertEqual([t['accounting'][p]['stray_stamps'] for p in ('host', 'guest')], [0, 0])
            self.assertGreater(t['accounting']['host']['matched'], 0.95 * len(records[0]))
        # every third packet by another clock: no order, and no stray stamps beyond a few
        mixed = [(t + 100 * 10**9 * (i % 3 == 2), f) for i, (t, f) in enumerate(host)]
        t = self.target(*self.pair((mixed, guest)), '--offset-ns', '0')
        self.assertLess(t['accounting']['host']['stray_stamps'], 20)
        self.assertIn('not in order of time', t['note'])

    def test_several_points_in_one_file(self):
        host, guest = traffic()
        both = sorted([(t, f, 1) for t, f in host] + [(t + 3000, f, 0) for t, f in host[:-10]])
        t = self.target(*self.files(pcapng(both, 2), pcap_file(guest)), '--offset-ns', '0',
                        says='several capture points')
        self.check_latencies(t)
        self.assertEqual(t['accounting']['host']['read'], 300)
        self.assertIn('290 packets', t['note'])

    def test_cut_file(self):
        host, guest = traffic()
        data = pcap_file(guest)
        args = self.files(pcap_file(host), data[:-20])
        t = self.target(*args, '--offset-ns', '0', says='cut')
        self.assertEqual(t['accounting']['guest']['read'], 299)
        self.assertIn('cut', t['note'])
        self.assertIn('cut', self.vo(*args, '--offset-ns', '0'))

    def test_address_of_the_guest(self):
        host, guest = traffic()
        args = self.pair((host, guest)) + ('--offset-ns', '0')
        self.check_latencies(self.target(*args, '--guest-addr', GUEST))
        t = self.target(*args, '--guest-addr', '10.9.9.9', code=4, says='no packet was found')
        self.assertEqual(t['accounting']['host']['undecodable'], 300)
        self.vo(*args, '--guest-addr', 'nonsense', code=2, says='nonsense')

    def test_one_way_traffic(self):
        host, guest = traffic()
        only = [[r for r in x if b'request' in r[1]] for x in (host, guest)]
        t = self.target(*self.pair(only), '--guest-addr', GUEST)
        c = t['clock']
        self.assertEqual((c['mode'], c['lower_ns'], c['upper_ns']), ('same', None, 30 * US))
        self.assertIsNone(t['directions']['host_to_guest']['udp']['latency_ns']['err_plus_ns'])
        t = self.target(*self.pair(only), says='taken to be')
        self.assertEqual(t['directions']['host_to_guest']['udp']['matched'], 50)
        self.vo(*self.pair([only[1], only[0]]), '--guest-addr', GUEST, code=4, says='one way')

    def test_zero_contradicts_only_what_excludes_it(self):
        """A clock that stepped is bounded by the traffic, too: whether 0 fits is told by the bound."""
        host, guest = traffic(n=200)
        half = T0 + 100 * 10 * MS
        for step, offset in ((3000 * MS, 0), (0, HOUR), (3000 * MS, HOUR), (0, 0)):
            with self.subTest(step=step, offset=offset):
                t = self.target(*self.pair((host, [(t + offset + step * (t >= half), f) for t, f in guest])))
                self.assertEqual([e['kind'] for e in t['events']], ['clock_step'] if step else [])
                self.assertEqual(t['clock']['mode'], 'traffic' if step or offset else 'same')
                holds = t['clock']['lower_ns'] <= 0 <= t['clock']['upper_ns']
                self.assertEqual(holds, offset == 0)
                self.assertEqual('0 contradicts the traffic' in t['note'], not holds, t['note'])
                self.assertEqual('and a clock stepped: ' in t['note'], bool(step) and holds, t['note'])

    def test_zero_contradicts_where_the_clock_passes_it(self):
        """Clocks that drift through 0: no constant offset fits, and the bound half way holds 0."""
        host, guest = traffic(n=200)
        mid = T0 + 100 * 10 * MS
        t = self.target(*self.pair((host, sorted((t + (t - mid) // 2500, f) for t, f in guest))))
        self.assertEqual((t['clock']['mode'], t['events']), ('traffic', []))
        self.assertTrue(t['clock']['lower_ns'] <= 0 <= t['clock']['upper_ns'])
        self.assertIn('and 0 throughout contradicts the traffic: ', t['note'])

    def test_late_multicast_of_an_address_that_was_not_learnt(self):
        """The guest asks for routers from a link-local address long after the beginning: no packet to the guest."""
        def late(n):
            host, guest = traffic(n, (30, 0), (30, 0), step=MS * 10)
            frame = bytes.fromhex('333300000002') + udp('fe80::1', 546, 'ff02::2', 547, b'who routes')[6:]
            at = T0 + (n - 5) * 10 * MS + 4 * MS
            return sorted(host + [(at + 40 * US, frame)]), sorted(guest + [(at, frame)])
        for n, strange in ((300, 0), (6000, 1)):
            host, guest = late(n)
            t = self.target('--host', self.file(pcap_file(host), f'h{n}.pcap'),
                            '--guest', self.file(pcap_file(guest), f'g{n}.pcap'))
            clock = t['clock']
            self.assertLessEqual(clock['lower_ns'], 0)
            self.assertGreaterEqual(clock['upper_ns'], 0)
            for point in ('host', 'guest'):
                self.assertEqual(t['accounting'][point]['undecodable'], strange)
                self.assertEqual(t['accounting'][point]['matched'], len(host) - strange)
            self.assertEqual('1 multicast or broadcast packets at the host and 1 at the guest' in (t['note'] or ''),
                             bool(strange))

    def multicast(self, inward, outward):
        """Router advertisements to the guest, 30 us, and its solicitations, 12 us; nothing else."""
        def icmp6(src, dst, kind, k):
            body = struct.pack('>BBH', kind, 0, 0) + bytes([k, kind]) * 8
            return bytes.fromhex('333300000001') + ethernet(ip(src, dst, 58, body), True)[6:]
        host, guest = [], []
        for k in range(40):
            t = T0 + k * 50 * MS
            if inward:
                frame = icmp6('fe80::9', 'ff02::1', 134, k)
                host.append((t, frame))
                guest.append((t + 30 * US, frame))
            if outward:
                frame = icmp6('fe80::2', 'ff02::2', 133, k)
                host.append((t + 5 * MS + 12 * US, frame))
                guest.append((t + 5 * MS, frame))
        return self.pair((sorted(host), sorted(guest)))

    def test_multicast_alone_does_not_tell_the_guest(self):
        """Then it is not the clocks that are at fault; and a group is nobody's address."""
        args = self.multicast(True, True)
        self.vo(*args, code=4, says='does not tell which address is the guest')
        self.vo(*args, '--guest-addr', '10.0.0.2', code=4,
                says='guest is from or to 10.0.0.2: only multicast was paired')
        t = self.target(*args, '--guest-addr', 'fe80::2')
        self.assertEqual(t['accounting']['guest']['matched'], 80)
        t = self.target(*self.multicast(True, False))
        self.assertIn("Which address is the guest's cannot be told", t['note'])
        self.assertNotIn('ff02::', t['note'])
        t = self.target(*self.multicast(False, True))
        self.assertIn('fe80::2 is taken', t['note'])

    def test_address_that_no_packet_bears(self):
        t = self.target(*self.pair(traffic()), '--guest-addr', '10.0.0.77', code=4, says='no packet was found')
        self.assertTrue(t['note'].startswith('Nothing was paired, since no packet of either capture is from or to '
                                             '10.0.0.77 (--guest-addr).'), t['note'])
        self.assertNotIn('No packet of one capture is in the other', t['note'])
        given = ('--guest-addr', '10.0.0.77', '--guest-addr', '10.0.0.78')
        self.assertIn('an address that was given (--guest-addr)', self.target(*self.multicast(True, False), *given)['note'])
        t = self.target(*self.pair(traffic()), *given, '--guest-addr', GUEST)
        self.assertNotIn('--guest-addr', t['note'])

    def test_filter(self):
        args = self.pair(traffic())
        t = self.target(*args, '--filter', 'udp')
        self.assertEqual(t['accounting']['host']['read'], 100)
        self.vo(*args, '--filter', 'udp and and', code=2, says='udp and and')
        self.vo(*args, '--filter', 'port 1', code=4, says='no packet was found')

    def test_filter_where_one_side_has_tags(self):
        """The same filter means the same packets with VLAN tags and without, as in a live capture."""
        host, guest = traffic()
        tagged = [(t, f[:12] + b'\x81\0\0\x05' + f[12:]) for t, f in host]
        plain = self.target(*self.pair((host, guest)), '--filter', 'tcp')
        t = self.target(*self.pair((tagged, guest)), '--filter', 'tcp')
        self.assertGreater(t['accounting']['host']['matched'], 0)
        self.assertEqual(t['accounting'], plain['accounting'])
        t = self.target(*self.pair((tagged, guest)), '--filter', 'vlan 5', code=4, says='no packet was found')
        self.assertEqual((t['accounting']['host']['read'], t['accounting']['guest']['read']), (len(host), 0))

    def test_cut_before_the_first_packet(self):
        """Nothing of it can be read: exit 3, as of rtt; no packet at all is exit 4."""
        host, guest = traffic()
        none = pcap_file([])
        for first, second in ((none + b'123', none + b'456'), (pcap_file(host), none + b'7')):
            t = self.target(*self.files(first, second), code=3, says='is cut in the middle of record 1')
            self.assertIn('is cut in the middle of record 1', t['ended_early'])

    def test_nothing_in_common(self):
        host, guest = traffic()
        other = [(t, udp(PEER, 1, GUEST, 2, b'%d' % i)) for i, (t, _) in enumerate(host)]
        t = self.target(*self.pair((other, guest)), code=4, says='no packet was found')
        self.assertIn('Were both made at the same time', t['note'])
        self.assertNotIn('Assumed', t['note'])  # nothing shows whether the clocks are one
        for key in 'mode', 'split', 'offset_ns', 'lower_ns', 'upper_ns', 'drift_ppm', 'drift_upper_ppm':
            self.assertIsNone(t['clock'][key], key)
        self.assertIn('clock: not known (no', self.vo(*self.pair((other, guest)), code=4))
        t = self.target(*self.pair((other, guest)), '--offset-ns', '7', code=4, says='no packet was found')
        self.assertEqual([t['clock'][k] for k in ('mode', 'split', 'offset_ns')], ['given', 'identifiable', 7])
        self.assertEqual(t['accounting']['host']['matched'], 0)
        self.vo(*self.files(pcap_file([]), pcap_file([])), code=4,
                says='no packet was found at both points: none passed')
        self.vo(*self.files(pcap_file(host), pcap_file([])), code=4, says='no packet was found')

    def test_absurd_numbers(self):
        """Any 64-bit stamp may be in a pcapng file, and any offset on the command line."""
        host, guest = traffic(n=5)
        far = pcapng([(t if i % 2 else 2**63 + t, f, 0) for i, (t, f) in enumerate(guest)])
        for offset in ((), ('--offset-ns', str(-9 * 10**18)), ('--offset-ns', str(9 * 10**18))):
            r = subprocess.run([VNETSCOPE, 'vo', *self.files(pcap_file(host), far), *offset],
                               capture_output=True, text=True, timeout=900)
            self.assertIn(r.returncode, (0, 1, 4), r.stderr)
            self.assertNotIn('runtime error', r.stderr)

    def test_wrong_link_type(self):
        host, guest = traffic()
        out = self.vo(*self.files(pcap_file(host, linktype=147), pcap_file(guest)), code=4,
                      says='no packet was found')
        self.assertIn('link type', out)

    def test_files_that_are_none(self):
        host = self.file(pcap_file(traffic()[0]), 'host')
        self.vo('--host', host, '--guest', '/nonexistent', code=3, says='/nonexistent')
        self.vo('--host', host, '--guest', self.file(b'hello', 'text'), code=3, says='text')
        self.vo('--host', host, '--guest', self.file(b'', 'empty'), code=3, says='empty')

    def test_standard_input(self):
        host, guest = traffic()
        path = self.file(pcap_file(guest), 'guest')
        r = subprocess.run([VNETSCOPE, 'vo', '--host', '-', '--guest', path, '--json'],
                           input=pcap_file(host), capture_output=True, timeout=900)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.check_latencies(json.loads(r.stdout)['targets'][0])

    def test_files_that_can_be_read_once(self):
        """A FIFO is read where once is enough; else it is refused, not opened again and waited for."""
        fifo = os.path.join(self.dir.name, 'fifo')
        os.mkfifo(fifo)
        for offset, code, says in ((0, 0, None), (3 * HOUR, 3, fifo + ' must be read twice here, and is no regular')):
            host, guest = (pcap_file(r) for r in traffic(offset=offset))
            args = self.files(host, guest)
            for at in 1, 3:
                with self.subTest(offset=offset, at=args[at - 1]):
                    with subprocess.Popen(['timeout', '900', 'cp', args[at], fifo]) as writer:
                        self.vo(*args[:at], fifo, *args[at + 1:], code=code, says=says)
                        self.assertEqual(writer.wait(), 0)
        read, write = os.pipe()  # as process substitution
        os.write(write, host[:4096])
        os.close(write)
        self.addCleanup(os.close, read)
        self.vo('--host', '/dev/fd/%d' % read, '--guest', args[3], code=3, pass_fds=[read],
                says='must be read twice here')

    def test_csv(self):
        rows = list(csv.DictReader(io.StringIO(
            self.vo(*self.pair(traffic()), '--offset-ns', '0', '--csv'))))
        self.assertEqual(len(rows), 12)
        first = [r for r in rows if r['direction'] == 'host_to_guest' and r['protocol'] == 'tcp' and
                 r['byte'] == 'first'][0]
        self.assertEqual((first['matched'], first['min_ns'], first['clock_mode'], first['offset_ns']),
                         ('50', str(30 * US), 'given', '0'))

    def test_text(self):
        out = self.vo(*self.pair(traffic()))
        for words in ('note: Assumed: one clock', 'host to guest  tcp', "free of the clock's offset: tcp",
                      'ambiguous', 'outside window', 'clock interval'):
            self.assertIn(words, out)
        self.assertNotIn('its rate', out)
        out = self.vo(*self.pair(traffic()), '--offset-ns', '0')
        self.assertIn('its rate is corrected, off by at most', out)

    def test_usage(self):
        for args, says in (((), 'host'), (('--guest', 'x'), '--host'),
                           (('--host', '-', '--guest', '-'), 'standard input'),
                           (('--host', 'a', '--guest', 'b', '--json', '--csv'), 'exclude'),
                           (('--host', 'a', '--guest', 'b', '--offset-ns', '1', '--drift-file', 'c'),
                            'exclude'),
                           (('--host', 'a', '--guest', 'b', '--offset-ns', 'x'), 'whole number')):
            self.vo(*args, code=2, says=says)

    def test_the_same_file_twice(self):
        args = self.pair(traffic())
        link = args[1] + '.link'
        os.symlink(args[1], link)
        for guest in (args[1], link):
            self.vo('--host', args[1], '--guest', guest, code=2, says='the same file')

    def test_one_packet_has_no_percentiles(self):
        f = self.target(*self.pair(traffic(n=1)), '--offset-ns', '0')['directions']['host_to_guest']['udp']
        self.assertEqual((f['matched'], f['latency_ns']['min'], f['latency_ns']['max']), (1, 30000, 30000))
        for percentile in ('p50', 'p95', 'p99'):
            self.assertIsNone(f['latency_ns'][percentile])
            self.assertIsNone(f['interval_ns'][percentile])

    def test_full_disk(self):
        with open('/dev/full', 'w') as full:
            r = subprocess.run([VNETSCOPE, 'vo', *self.pair(traffic())], stdout=full,
                               stderr=subprocess.PIPE, text=True, timeout=900)
        self.assertEqual(r.returncode, 3)
        self.assertIn('cannot write', r.stderr)


if __name__ == '__main__':
    VNETSCOPE = sys.argv.pop(1)
    unittest.main()
