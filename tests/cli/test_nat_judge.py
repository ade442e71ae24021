#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The twin engine's NAT against the slow reference (tests/ref/nat_ref.py), packet by packet.

Generated captures, masqueraded and forwarded, whole and at snap 96, for which the reference itself is
held against the generator's truth first; and captures made by hand of what must not be learnt. argv: vns-gencap, twindump; TWIN_SEEDS asks for more seeds.
"""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import nat_judge  # noqa: E402
import pcapmake  # noqa: E402
import truth  # noqa: E402

GENCAP = TWINDUMP = None
GUEST = ('100.0.0.11',)
CASES = {
    'masquerade': ['--nat', 'masquerade'],
    'masquerade_loss': ['--nat', 'masquerade', '--loss', '2', '--retrans', '5'],
    'forward': ['--nat', 'dnat', '--identical', '0'],
    'forward_loss': ['--nat', 'dnat', '--identical', '0', '--loss', '2', '--retrans', '5'],
    'clocks_apart': ['--nat', 'dnat', '--identical', '0', '--loss', '1', '--offset-ns', '-3600000000000'],
    'strangers_snap_96': ['--nat', 'masquerade', '--foreign', '40', '--snap', '96'],
    'reordered_doubled': ['--nat', 'dnat', '--identical', '0', '--reorder', '2', '--dup', '1'],
}


class Judge(unittest.TestCase):
    def judge(self, name, args, seed):
        with tempfile.TemporaryDirectory() as tmp:
            a, b, csv = (os.path.join(tmp, n) for n in ('a', 'b', 'truth'))
            truth.gencap(GENCAP, 'twin', '--host', a, '--guest', b, '--truth', csv, '--seed', seed,
                         '--packets', 3000, '--duration', 4, '--flows', 30, '--ipv6', '0', *args)
            offset = int(args[args.index('--offset-ns') + 1]) if '--offset-ns' in args else 0
            known = truth.twin(csv)[1]
            case = '%s, seed %d' % (name, seed)
            ref, n = nat_judge.judge(TWINDUMP, a, b, GUEST, offset, case)
        self.assertTrue(ref.sure <= set(known), case + ': the reference itself is wrong')
        self.assertGreater(n, 1000, case)
        self.assertGreater(len(ref.flows), 5, case)


class Made(unittest.TestCase):
    """Peers in 10.0.0.0/8, the guest 100.0.0.11 behind 192.168.0.1."""
    OUT = '192.168.0.1'

    def rules(self, host, guest):
        """What is learnt of frames sent 1 ms apart, 50 us earlier at the host; the judge agrees."""
        with tempfile.TemporaryDirectory() as tmp:
            paths = [os.path.join(tmp, n) for n in 'ab']
            for path, frames, late in zip(paths, (host, guest), (0, 50000)):
                with open(path, 'wb') as f:
                    f.write(pcapmake.pcap([(10**18 + i * 10**6 + late, x) for i, x in frames]))
            ref, n = nat_judge.judge(TWINDUMP, *paths, GUEST, 0, self.id())
        return {(f.outer, f.inner) for f in ref.flows.values()}, n

    @staticmethod
    def segments(src, dst, n, sport=4000, dport=80, first=0):
        return [(first + i, pcapmake.tcp(src, sport, dst, dport, 24, 100 + i, 7, 100, 1000 + 100 * i))
                for i in range(n)]

    @staticmethod
    def datagrams(src, dst, n, dport=53):
        return [(i, pcapmake.udp(src, 4000, dst, dport, data=b'datagram number %d' % i))
                for i in range(n)]

    def test_how_much_is_enough(self):
        for n, make, enough in ((2, self.segments, False), (3, self.segments, True),
                                (5, self.datagrams, False), (6, self.datagrams, True)):
            rules, found = self.rules(make('10.0.0.1', self.OUT, n), make('10.0.0.1', *GUEST, n))
            self.assertEqual((len(rules), found), (1, n) if enough else (0, 0), (n, make))

    def test_known_addresses_need_less(self):
        host = self.segments('10.0.0.1', self.OUT, 5) + self.segments('10.0.0.2', self.OUT, 1, first=9)
        guest = self.segments('10.0.0.1', *GUEST, 5) + self.segments('10.0.0.2', *GUEST, 1, first=9)
        host += [(12, pcapmake.tcp('10.0.0.2', 4000, self.OUT, 80, 24, 900, 7, 50, 5000))]
        guest += [(12, pcapmake.tcp('10.0.0.2', 4000, *GUEST, 80, 24, 900, 7, 50, 5000))]
        self.assertEqual(self.rules(host, guest)[1], 7)

    def test_two_flows_that_claim_one(self):
        """The same packets came to two ports of the host, and to one of the guest: whose are they?"""
        host = sorted(self.segments('10.0.0.1', self.OUT, 5, dport=8080) +
                      self.segments('10.0.0.1', self.OUT, 5, dport=9090))
        self.assertEqual(self.rules(host, self.segments('10.0.0.1', *GUEST, 5)), (set(), 0))

    def test_one_flow_that_is_two(self):
        """A flow of the host agrees with one of the guest's, then with another."""
        host = self.segments('10.0.0.1', self.OUT, 4)
        guest = self.segments('10.0.0.1', *GUEST, 2) + self.segments('10.0.0.1', *GUEST, 4, dport=81)[2:]
        self.assertEqual(self.rules(host, guest), (set(), 0))

    def test_both_ends_translated(self):
        self.assertEqual(self.rules(self.segments('10.0.0.1', self.OUT, 5),
                                    self.segments('10.9.9.9', *GUEST, 5)), (set(), 0))

    def test_other_ways(self):
        """The end in common sends here and receives there."""
        self.assertEqual(self.rules(self.segments(self.OUT, '10.0.0.1', 5, sport=80, dport=4000),
                                    self.segments('10.0.0.1', *GUEST, 5)), (set(), 0))

    def test_too_late(self):
        guest = self.segments('10.0.0.1', *GUEST, 5, first=5500)
        host = self.segments('10.0.0.1', self.OUT, 5) + self.segments('10.0.0.1', '10.0.0.7', 2, first=9000)
        guest = [(i, pcapmake.tcp('10.0.0.1', 4000, *GUEST, 80, 24, 100 + i - 5500, 7, 100,
                                  1000 + 100 * (i - 5500))) for i, _ in guest]
        self.assertEqual(self.rules(host, guest), (set(), 0))


def add_case(name, args):
    def test(self):
        for seed in range(1, 1 + int(os.environ.get('TWIN_SEEDS', '1'))):
            self.judge(name, args, seed)
    setattr(Judge, 'test_' + name, test)


for _name, _args in CASES.items():
    add_case(_name, _args)

if __name__ == '__main__':
    TWINDUMP = sys.argv.pop(2)
    GENCAP = sys.argv.pop(1)
    unittest.main()
