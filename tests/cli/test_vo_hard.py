#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope vo on captures that are not what they should be: NAT, doubled, one direction, a sample.

argv: vnetscope, vns-gencap.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import pcapmake  # noqa: E402
import truth  # noqa: E402

VNETSCOPE = GENCAP = None
CLASSES = ('matched', 'missing', 'ambiguous', 'outside_window', 'undecodable')
DIRECTIONS = {'host_to_guest': 'h2g', 'guest_to_host': 'g2h'}


def records(path):
    """File header and records (header, bytes) of a little-endian pcap."""
    with open(path, 'rb') as f:
        data = f.read()
    at, out = 24, []
    while at < len(data):
        size = struct.unpack_from('<I', data, at + 8)[0]
        out.append((data[at:at + 16], data[at + 16:at + 16 + size]))
        at += 16 + size
    return data[:24], out


def write(path, head, recs):
    with open(path, 'wb') as f:
        f.write(head + b''.join(h + d for h, d in recs))


class Hard(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.host, self.guest, self.csv = (os.path.join(tmp.name, n) for n in 'hgt')

    def generate(self, *args):
        truth.gencap(GENCAP, 'twin', '--host', self.host, '--guest', self.guest, '--truth', self.csv,
                     '--packets', 8000, '--duration', 5, '--flows', 50, *args)
        self.points, self.samples = truth.twin(self.csv)
        self.sure = sum(row[8] == '-' for row in self.samples.values())

    def vo(self, *args, code=0):
        r = subprocess.run([VNETSCOPE, 'vo', '--host', self.host, '--guest', self.guest, '--json',
                            *args], capture_output=True, text=True, timeout=900)
        self.assertEqual(r.returncode, code, r.stderr)
        t = json.loads(r.stdout)['targets'][0]
        for c in t['accounting'].values():
            self.assertEqual(sum(c[k] for k in CLASSES), c['read'])
            self.assertEqual(sum(c['by_direction'].values()), c['read'] - c['undecodable'])
        return t

    def found(self, t):
        return sum(f['matched'] for d in t['directions'].values() for f in d.values())

    def minima(self, t, margin=0):
        """No latency is below truth's least."""
        for name, short in DIRECTIONS.items():
            for proto, f in t['directions'][name].items():
                known = [int(r[11]) for k, r in self.samples.items() if k[:2] == (short, proto)]
                if f['matched']:
                    self.assertGreaterEqual(f['latency_ns']['min'], min(known) - margin)

    def test_masquerade(self):
        self.generate('--nat', 'masquerade', '--ipv6', '0')
        t = self.vo('--offset-ns', '0')
        self.assertTrue(self.sure <= self.found(t) <= len(self.samples), (self.sure, self.found(t)))
        self.minima(t)
        maps = t['nat']['mappings']
        self.assertEqual({(m['at_host']['address'], m['at_guest']['address']) for m in maps},
                         {('192.168.0.1', '100.0.0.11')})
        self.assertGreater(t['nat']['translated'], 7000)
        self.assertEqual(t['nat']['translated'], t['accounting']['host']['matched'])
        off = self.vo('--offset-ns', '0', '--nat', 'off', '--guest-addr', '100.0.0.11', code=4)
        self.assertEqual((self.found(off), off['nat']['mappings']), (0, []))

    def clients_masqueraded(self, one_way=False, data=bytes(300)):
        """Three flows of two clients, a packet each way every ms, 50 us to the guest and 30 us from it."""
        host, guest = [], []
        for i in range(60):
            for at, late, back in ((0, 50000, False), (500000, -30000, True)):
                t = 10**18 + i * 10**6 + at
                for recs, peer, when in ((host, '10.1.0.%d' % (2 + i // 30), t), (guest, '10.2.0.1', t + late)):
                    ends = (peer, 4000 + i // 20, '10.2.0.2', 80)
                    seq = (1 + 400 * (i % 20), 7000 + 400 * (i % 20))
                    if not (back and one_way):
                        recs.append((when, pcapmake.tcp_data(*(ends[2:] + ends[:2] if back else ends),
                                                             *(seq[::-1] if back else seq), data, (i, 7))))
            # Of an address that is not translated: IPv6.
            for recs, when in ((host, 10**18 + i * 10**6 + 250000), (guest, 10**18 + i * 10**6 + 290000)):
                if not one_way:
                    recs.append((when, pcapmake.udp('fd01::2', 9, 'fd02::2', 7, data=b'plain %d' % i)))
        for path, recs in ((self.host, host), (self.guest, guest)):
            with open(path, 'wb') as f:
                f.write(pcapmake.pcap(sorted(recs)))

    def test_masqueraded_clients(self):
        """The translated peer is not the guest: the directions stay what they are."""
        self.clients_masqueraded()
        for args in (), ('--guest-addr', '10.2.0.2', '--guest-addr', 'fd02::2'), ('--offset-ns', '0'):
            t = self.vo(*args)
            got = {d: (f['tcp']['matched'], f['tcp']['latency_ns']['min'], f['tcp']['latency_ns']['max'])
                   for d, f in t['directions'].items()}
            self.assertEqual(got, {'host_to_guest': (60, 50000, 50000),
                                   'guest_to_host': (60, 30000, 30000)}, args)
            for name in ('host', 'guest'):
                self.assertEqual(t['accounting'][name]['missing'], 0, (args, name))
            self.assertEqual({m['at_guest']['address'] for m in t['nat']['mappings']}, {'10.2.0.1'})
            self.assertEqual(t['nat']['translated'], 120)

    def test_masqueraded_clients_one_way(self):
        """Which end is the guest's follows from the sign of the times alone, and is said."""
        self.clients_masqueraded(one_way=True)
        t = self.vo('--offset-ns', '0')
        self.assertEqual(t['directions']['host_to_guest']['tcp']['latency_ns']['min'], 50000)
        self.assertIn("10.2.0.2 is taken to be the guest's address from the sign", t['note'])
        self.assertIn('--guest-addr', t['note'])

    def test_cut_at_one_point(self):
        """The host's snap length cuts TCP's options behind IPv6 only: the guest is learnt all the same."""
        host, guest = [], []
        for i in range(40):
            for k, (peer, own) in enumerate((('10.1.0.2', '10.2.0.2'), ('fd01::2', 'fd02::2'))):
                for to_guest, late in ((True, 50000), (False, -30000)):
                    t = 10**18 + i * 10**6 + k * 100000 + to_guest * 300000
                    ends = (peer, 4000, own, 80) if to_guest else (own, 80, peer, 4000)
                    frame = pcapmake.tcp_data(*ends, 1 + 400 * i, 7 + 400 * i, bytes(400), (i, 7))
                    host.append((t, frame))
                    guest.append((t + late, frame))
        for path, recs, snap in ((self.host, host, 80), (self.guest, guest, 262144)):
            with open(path, 'wb') as f:
                f.write(pcapmake.pcap(sorted(recs), snap=snap))
        for args, n in ((), 80), (('--filter', 'ip6'), 40), (('--guest-addr', '10.2.0.2'), 40):
            t = self.vo(*args)
            got = {d: (f['tcp']['matched'], f['tcp']['latency_ns']['min'], f['tcp']['latency_ns']['max'])
                   for d, f in t['directions'].items()}
            self.assertEqual(got, {'host_to_guest': (n, 50000, 50000),
                                   'guest_to_host': (n, 30000, 30000)}, args)
            said = "Which IPv6 addresses are the guest's could not be told of all traffic: of the " \
                'packets at the start, 80 at the host and 80 at the guest count as undecodable'
            self.assertEqual(said in t['note'], bool(args) and args[0] == '--guest-addr', t['note'])
            self.assertNotIn('IPv4 addresses', t['note'])

    def test_frames_of_many_datagrams_behind_nat(self):
        """
        Alike, so not told apart: the pieces of a flow that is known are ambiguous; those of one with too few
        frames bear other addresses at the host and nothing is lost.
        """
        for frames, undecodable, ambiguous in (20, 0, 200), (2, 20, 0):
            host, guest = [], []
            for i in range(20):
                t, data = 10**18 + i * 10**6, bytes([i + 1])
                guest.append((t, pcapmake.udp('10.2.0.2', 6, '10.9.9.9', 5, data=data * 300)))
                host.append((t + 20000, pcapmake.udp('10.1.0.1', 6, '10.9.9.9', 5, data=data * 300)))
                if i >= frames:
                    continue
                guest.append((t + 300000, pcapmake.udp('10.2.0.2', 7, '10.9.9.9', 7, data=data * 12000)))
                host += [(t + 320000 + k * 1000, pcapmake.udp('10.1.0.1', 7, '10.9.9.9', 7, data=data * 1200))
                         for k in range(10)]
            for path, recs in ((self.host, host), (self.guest, guest)):
                with open(path, 'wb') as f:
                    f.write(pcapmake.pcap(recs))
            books = self.vo('--offset-ns', '0', '--guest-addr', '10.2.0.2')['accounting']
            self.assertEqual([books['guest'][c] for c in ('matched', 'missing')], [20, 0], books)
            self.assertEqual([books['host'][c] for c in ('matched', 'missing', 'undecodable', 'ambiguous')],
                             [20, 0, undecodable, ambiguous])
            self.assertGreaterEqual(books['guest']['ambiguous'], frames - 1)

    def test_forwarded_port_hours_apart(self):
        self.generate('--nat', 'dnat', '--identical', '0', '--ipv6', '0', '--icmp', '0', '--offset-ns',
                      '-7200000000000')
        t = self.vo('--offset-ns', '-7200000000000')
        self.assertTrue(self.sure <= self.found(t) <= len(self.samples), (self.sure, self.found(t)))
        ports = {(m['at_host']['port'], m['at_guest']['port']) for m in t['nat']['mappings']
                 if m['kind'] == 'forward' and m['ip_protocol'] == 17}
        self.assertEqual(ports, {(8053, 6053)})

    def test_no_nat_where_none_is(self):
        self.generate('--foreign', '40')
        t = self.vo('--offset-ns', '0', '--nat', 'on')
        self.assertEqual(t['nat'], {'translated': 0, 'mappings': []})

    def test_bridge_and_tap_in_one_file(self):
        self.generate('--loss', '0.1')
        once = self.vo('--offset-ns', '0')
        head, recs = records(self.host)
        stamps = [struct.unpack_from('<II', h) + (h, d) for h, d in recs]
        later = [(s + (n + 9000) // 10**9, (n + 9000) % 10**9,
                  struct.pack('<II', s + (n + 9000) // 10**9, (n + 9000) % 10**9) + h[8:], d)
                 for s, n, h, d in stamps]
        write(self.host, head, [(h, d) for _, _, h, d in sorted(stamps + later,
                                                                key=lambda x: x[:2])])
        twice = self.vo('--offset-ns', '0')
        books = twice['accounting']['host']
        self.assertIn('holds packets twice', twice['note'])
        self.assertLess(abs(books['doubled'] - len(recs)), len(recs) // 100)
        self.assertEqual(books['read'] + books['doubled'], 2 * len(recs))
        self.assertLess(abs(self.found(twice) - self.found(once)), len(recs) // 100)
        self.minima(twice, margin=9000)  # what leaves the guest is met at the inner point first
        part = self.vo('--offset-ns', '0', '--sample', '1/4')['accounting']['host']
        self.assertEqual(part['read'] + part['not_sampled'], books['read'])
        self.assertEqual(part['doubled'], books['doubled'])

    def test_steps_of_the_clock(self):
        for step in (3600 * 10**9, -3600 * 10**9, 10**9, -3 * 10**9):
            self.generate('--step-ns', step, '--loss', '1')
            t = self.vo()
            events = [e for e in t['events'] if e['kind'] == 'clock_step']
            self.assertEqual(len(events), 1, (step, events))
            self.assertLess(abs(events[0]['at_ns'] - 1700000002500000000), 10**8)
            self.assertIn('%.3f' % (abs(step) / 1e9), '%.3f' % float(
                events[0]['text'].split("guest's is ")[1].split()[0]))
            self.assertIn('ahead' if step > 0 else 'behind', events[0]['text'])
            # what is said of the clock is of before the step
            self.assertLess(t['clock']['at_ns'], 1700000002000000000)
            self.assertTrue(t['clock']['lower_ns'] <= 0 <= t['clock']['upper_ns'], t['clock'])
            self.assertIn('that of before the first step', t['note'])
            # all but what was under way in the step has its twin, and its latency is no hour
            self.assertGreater(self.found(t) + t['unrelated'], self.sure - 30, step)
            self.assertLess(t['unrelated'], 200)  # 40 ms of 5 s
            for d in t['directions'].values():
                for f in d.values():
                    self.assertLess(f['excess_ns']['max'], 3 * 10**7, step)
            if step > 0:
                # A given offset is that of before the step; what comes after is in no figure.
                given = self.vo('--offset-ns', '0')
                self.assertGreater(given['unrelated'], self.sure // 3)
                tcp = given['directions']['host_to_guest']['tcp']['latency_ns']
                self.assertLess(tcp['max'], 10**8)

    def test_one_direction_only(self):
        self.generate()
        head, recs = records(self.host)
        write(self.host, head, [r for r, row in zip(recs, self.points[0]) if row[4] != 'g2h'])
        t = self.vo('--offset-ns', '0')
        self.assertIn("host's capture has no packet from the guest", t['note'])
        self.assertEqual(t['accounting']['host']['by_direction']['guest_to_host'], 0)
        self.assertGreater(t['directions']['host_to_guest']['tcp']['matched'], 1000)

    def test_frames_of_many_datagrams_and_fragments(self):
        """One point has the whole and the other the pieces: paired, and counted so."""
        host = [(10**9 + i * 10**6, pcapmake.udp('10.9.9.9', 5, '100.0.0.11', 7, data=bytes([i]) * (
            20000 if i % 2 else 50 + i))) for i in range(20)]
        guest = [(t + 20000 + k * 1000, pcapmake.udp('10.9.9.9', 5, '100.0.0.11', 7, data=data[:size] if k == 0
                                                     else bytes([k + 100]) * size))
                 for t, f in host for data in [f[42:]] for k, size in enumerate(
                     [1000] * 20 if len(f) > 9000 else [len(data)])]
        for path, recs in ((self.host, host), (self.guest, guest)):
            with open(path, 'wb') as f:
                f.write(pcapmake.pcap(recs))
        t = self.vo('--offset-ns', '0', '--guest-addr', '100.0.0.11')
        self.assertEqual(self.found(t), 20)
        books = t['accounting']
        self.assertEqual(books['host']['in_pieces'], {'wholes': 10, 'partly': 0, 'pieces': 0})
        self.assertEqual(books['guest']['in_pieces'], {'wholes': 0, 'partly': 0, 'pieces': 200})
        self.assertEqual(books['guest']['matched'], 210)
        latency = t['directions']['host_to_guest']['udp']['latency_ns']
        self.assertEqual((latency['min'], latency['max']), (20000, 20000))
        self.generate('--udp', '80', '--fragments', '40', '--one-sided', '100', '--loss', '0')
        books = self.vo('--offset-ns', '0')['accounting']
        self.assertGreater(books['host']['in_pieces']['wholes'], 20)
        self.assertGreater(books['guest']['in_pieces']['wholes'], 20)
        for point in ('host', 'guest'):
            self.assertEqual(books[point]['in_pieces']['partly'], 0)
            self.assertEqual(books[point]['missing_by_protocol']['udp'],
                             sum(r[5] == '17' and r[7] == 'missing' for r in self.points[point == 'guest']))

    def test_sample(self):
        self.generate('--packets', '30000', '--flows', '300')
        whole, t = self.vo('--offset-ns', '0'), self.vo('--offset-ns', '0', '--sample', '1/4')
        self.assertEqual(t['sample'], {'first_one_in': 4, 'last_one_in': 4})
        for proto in ('tcp', 'udp', 'icmp'):  # a request and its reply are chosen together in TCP only
            s, all_of = t['sum_ns'][proto], whole['sum_ns'][proto]
            self.assertIsNone(all_of['withheld'])
            self.assertGreater(all_of['n'], 0)
            if proto == 'tcp':
                self.assertIsNone(s['withheld'])
                self.assertGreater(s['n'], 0)
            else:
                self.assertIn('one by one', s['withheld'])
                figures = {**s, **s.pop('sampling_interval_ns')}
                self.assertEqual({v for k, v in figures.items() if k not in (
                    'n', 'withheld', 'sampling_interval_ns')}, {None})
        for p in ('host', 'guest'):
            a = t['accounting'][p]
            self.assertEqual(a['read'] + a['not_sampled'], whole['accounting'][p]['read'])
            # the same packets on both sides: as few are missing as without sampling
            self.assertLess(a['missing'], 0.06 * a['read'])
            self.assertTrue(0.1 < a['read'] / whole['accounting'][p]['read'] < 0.45, a)
        self.minima(t)
        self.assertGreater(a['missing_by_protocol']['udp'], 0)
        for word in ('2/4', '1/0', '1/x', '1/4x', '1/', '1/9999999'):
            r = subprocess.run([VNETSCOPE, 'vo', '--host', self.host, '--guest', self.guest,
                                '--sample', word], capture_output=True, text=True, timeout=900)
            self.assertEqual((r.returncode, '--sample' in r.stderr), (2, True), word)

    def test_sample_of_one_point_of_several(self):
        """What was not chosen is told of the point that is read, not of all points of the file."""
        self.generate()
        recs = [(struct.unpack_from('<II', h), d) for h, d in records(self.host)[1]]
        recs = [(s * 10**9 + n, d, 0) for (s, n), d in recs]
        with open(self.host, 'wb') as f:
            f.write(pcapmake.pcapng(sorted(recs + [(t + 3000, d, 1) for t, d, _ in recs[:-10]]), ['br0', 'tap0']))
        whole, part = self.vo('--offset-ns', '0'), self.vo('--offset-ns', '0', '--sample', '1/4')
        self.assertEqual(whole['accounting']['host']['read'], len(recs))
        for p in ('host', 'guest'):
            books = part['accounting'][p]
            self.assertEqual(books['read'] + books['not_sampled'], whole['accounting'][p]['read'])
        for t in (whole, part):
            self.assertIn('%d packets of others are left out' % (len(recs) - 10), t['note'])

    def test_sample_of_what_one_point_joins(self):
        """Datagrams that one point did not choose, as it saw them joined or cut, are not called missing."""
        for kind in ('cut', 'joined'):
            self.generate('--udp', '80', '--frames', '60', '--frame-kind', kind, '--loss', '0')
            for part in ('1/2', '1/4'):
                t = self.vo('--offset-ns', '0', '--sample', part)
                for p in ('host', 'guest'):
                    self.assertEqual(t['accounting'][p]['missing_by_protocol']['udp'], 0, (kind, part, p))
                self.assertIn('joined or cut between the points', t['note'])

    def one_point_longer(self, host, guest):
        """vo on those of 2000 datagrams, 1 in 2, that @host and @guest name; every hundredth is long."""
        frames = [pcapmake.udp('10.9.9.9', 40000, '100.0.0.11', 5000, data=struct.pack('>I', i * 2654435761 % 2**32) + (
            bytes(1400 if i % 100 == 7 else 100))) for i in range(2000)]
        for path, sees, late in ((self.host, host, 0), (self.guest, guest, 20000)):
            with open(path, 'wb') as f:
                f.write(pcapmake.pcap([(10**9 + i * 10**6 + late, frames[i]) for i in range(2000) if sees(i)]))
        return self.vo('--offset-ns', '0', '--guest-addr', '100.0.0.11', '--sample', '1/2')

    def test_sample_of_which_long_ones_are_lost(self):
        """That one point has no long datagram is no sign of frames where nothing was found in pieces."""
        t = self.one_point_longer(lambda i: True, lambda i: i % 100 != 7 and i % 50 != 3)
        books = t['accounting']['host']
        self.assertNotIn('joined or cut', t['note'] or '')
        self.assertEqual((books['ambiguous'], books['in_pieces']['wholes']), (0, 0))
        self.assertEqual(books['missing'], books['missing_by_protocol']['udp'])
        self.assertTrue(10 < books['missing'] < 60, books)


if __name__ == '__main__':
    GENCAP = sys.argv.pop(2)
    VNETSCOPE = sys.argv.pop(1)
    unittest.main()
