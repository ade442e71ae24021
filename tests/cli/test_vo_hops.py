#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope vo hop by hop through one pcapng file of several interfaces, with known latencies of
each hop. argv: vnetscope."""
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
from pcapmake import ACK, PSH, ethernet, ip, pcapng, tcp  # noqa: E402

VNETSCOPE = None
T0, US, MS = 1700000000 * 10**9, 1000, 10**6
GUEST, PEER = '10.0.0.2', '10.0.0.9'
# us from one point to the next: to the guest, from it
PATH = (('up0', 5, 9), ('br0', 7, 3), ('tap0', 30, 20), ('eth0', 0, 0))
OFFSET = 3 * MS + 17


def udp(src, dst, payload):
    return ethernet(ip(src, dst, 17, struct.pack('>HHHH', 53, 53, 8 + len(payload), 0) + payload), False)


def records(n=60, offset=OFFSET):
    """(time, frame, place in PATH) of n datagrams and segments each way."""
    out = []
    for k in range(n):
        frames = ((udp(PEER, GUEST, b'to %4d' % k), 0), (udp(GUEST, PEER, b'from %4d' % k), 1),
                  (tcp(PEER, 4000, GUEST, 80, ACK | PSH, 100 + k, 50, 10, seq=1 + 10 * k, ack=1), 0))
        for i, (frame, outward) in enumerate(frames):
            t = T0 + k * 10 * MS + i * MS
            for place in (3, 2, 1, 0) if outward else (0, 1, 2, 3):
                out.append((t + (offset if place == 3 else 0), frame, place))
                if outward:
                    t += PATH[place - 1][2] * US if place else 0
                else:
                    t += PATH[place][1] * US
    return sorted(out)


class Hops(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def file(self, name, places, order=None, offset=OFFSET):
        """A pcapng of the points @places; @order: how its interfaces are numbered."""
        order = order or places
        data = pcapng([(t, f, order.index(p)) for t, f, p in records(offset=offset) if p in places],
                      [PATH[p][0] for p in order])
        path = os.path.join(self.dir.name, name)
        with open(path, 'wb') as f:
            f.write(data)
        return path

    def vo(self, *args, code=0, says=None):
        r = subprocess.run([VNETSCOPE, 'vo', *args], capture_output=True, text=True, timeout=900)
        self.assertEqual(r.returncode, code, r.stderr + r.stdout)
        if says:
            self.assertIn(says, r.stderr)
            self.assertEqual(r.stderr.count('\n'), 1)
        return r.stdout

    def hops(self, *args):
        target = json.loads(self.vo(*args, '--json'))['targets'][0]
        for h in target['hops']:
            for end in ('from', 'to'):
                a = h['accounting'][end]
                self.assertEqual(a['read'], sum(v for k, v in a.items() if k != 'read'))
                self.assertEqual(a['matched'], a['read'])
                self.assertEqual(a['read'], 180)
        return target, {(h['from'], h['to']): h for h in target['hops']}

    def check(self, hop, inward_us, outward_us):
        for direction, us in (('host_to_guest', inward_us), ('guest_to_host', outward_us)):
            f = hop['directions'][direction]['udp']
            self.assertEqual(f['matched'], 60)
            self.assertEqual((f['latency_ns']['min'], f['latency_ns']['max']), (us * US, us * US))

    def test_all_points_of_the_host(self):
        target, hops = self.hops('--host', self.file('a', [0, 1, 2]))
        self.assertEqual(list(hops), [('up0', 'br0'), ('br0', 'tap0')])
        self.check(hops['up0', 'br0'], 5, 9)
        self.check(hops['br0', 'tap0'], 7, 3)
        self.check(target, 12, 12)
        self.assertEqual(target['from_point'], 'up0')

    def test_points_by_name_in_any_order(self):
        path = self.file('b', [0, 1, 2], [2, 0, 1])
        _, hops = self.hops('--host', path, '--points', 'up0,br0,tap0')
        self.check(hops['br0', 'tap0'], 7, 3)
        _, hops = self.hops('--host', path, '--points', '1,0')
        self.check(hops['up0', 'tap0'], 12, 12)

    def test_guest_in_the_same_file(self):
        target, hops = self.hops('--host', self.file('c', [0, 1, 2, 3]), '--points', 'up0,tap0,eth0',
                                 '--offset-ns', str(OFFSET))
        self.check(hops['up0', 'tap0'], 12, 12)
        self.check(hops['tap0', 'eth0'], 30, 20)
        self.check(target, 42, 32)

    def test_guest_in_its_own_file(self):
        target, hops = self.hops('--host', self.file('d', [0, 1, 2]), '--guest', self.file('e', [3]),
                                 '--points', 'up0,br0,tap0', '--offset-ns', str(OFFSET))
        self.assertEqual(list(hops), [('up0', 'br0'), ('br0', 'tap0'), ('tap0', 'guest')])
        self.check(hops['tap0', 'guest'], 30, 20)
        self.check(target, 42, 32)

    def test_one_relation_for_all_of_the_way(self):
        """The clock of the guest's own file is not known to be the host's; the last hop bounds it best."""
        host = self.file('h', [0, 1, 2])
        for offset_us, mode in ((10, 'same'), (25, 'traffic')):  # of 25 the whole way would allow 0
            guest = self.file('i%d' % offset_us, [3], offset=offset_us * US)
            args = ('--host', host, '--guest', guest, '--points', 'up0,br0,tap0')
            target, hops = self.hops(*args)
            self.assertEqual(target['clock']['mode'], mode)
            self.assertEqual([h['clock_free'] for h in hops.values()], [True, True, False])
            bounds = (offset_us * US - 20 * US, offset_us * US + 30 * US)
            for known, true in zip((target['clock']['lower_ns'], target['clock']['upper_ns']), bounds):
                self.assertAlmostEqual(known, true, delta=100)
            self.assertNotIn('The clocks of', target['note'])
            self.assertEqual('Assumed: one clock' in target['note'], mode == 'same')
            text = self.vo(*args)
            self.assertEqual(text.count('exact (one clock)'), 6)
            self.assertEqual(text.count('as above' if mode == 'same' else 'above its floor only'), 3)
            if mode == 'same':
                for d in 'host_to_guest', 'guest_to_host':
                    ways = [h['directions'][d]['udp']['latency_ns']['mean'] for h in hops.values()]
                    self.assertAlmostEqual(sum(ways), target['directions'][d]['udp']['latency_ns']['mean'], delta=3)

    def test_text_and_bad_input(self):
        path = self.file('f', [0, 1, 2])
        self.assertIn('br0 > tap0', self.vo('--host', path))
        self.vo('--host', path, '--points', 'up0,tap7', code=3, says="'tap7'; there are: 0 up0, 1 br0")
        for one in 'up0', '0':  # the file has more: it is the command line that is short
            self.vo('--host', path, '--points', one, code=2, says='names only one capture point, up0')
        self.vo('--host', self.file('g', [2]), code=3, says='one capture point')
        self.vo('--host', '-', code=2, says='standard input')
        for twice in ('0,0', 'up0,br0,0'):  # a point compared with itself
            self.vo('--host', path, '--points', twice, code=2, says="'up0' is named twice")
        bare = os.path.join(self.dir.name, 'bare')
        with open(bare, 'wb') as f:  # points without names
            f.write(pcapng([(t, frame, p) for t, frame, p in records() if p < 2], ['', '']))
        self.vo('--host', bare, '--points', '0,0', code=2, says='capture point 0 is named twice')
        self.vo('--host', bare, '--points', '0', code=2, says='names only one capture point, point 0')
        fifo = os.path.join(self.dir.name, 'fifo')  # nobody writes: to open it would wait for ever
        os.mkfifo(fifo)
        for args in ('--points', '0,1'), ():
            self.vo('--host', fifo, *args, code=2, says='must be a regular file')
        guest = self.file('e', [3])
        for drift in fifo, '-':
            self.vo('--host', path, '--points', '0,1', '--guest', guest, '--drift-file', drift, code=2,
                    says="--drift-file is read once for each hop")


if __name__ == '__main__':
    VNETSCOPE = sys.argv.pop(1)
    unittest.main()
