#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The twin engine against the truth of vns-gencap, which shares no code with it.

Every sample must be true (the two times belong to the same byte), every packet whose twin the wire
tells for sure must have its sample, and each point's classes must be within what the truth allows.

argv: paths of vns-gencap and twindump; then, optional, how many more draws. The draws are the same each time unless
VNS_SEED, from which they are counted, is set.
"""
import os
import random
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import truth  # noqa: E402

GENCAP = TWINDUMP = None
EXTRA_SEEDS = 0
FIRST_SEED = int(os.environ.get('VNS_SEED', '1'))
GUEST = ('100.0.0.11', 'fd00:0:0:8::b')
CLASSES = ('matched', 'missing', 'ambiguous', 'outside_window', 'undecodable')


def dump(a, b, offset=0, window=0, batch=64):
    r = subprocess.run([TWINDUMP, a, b, str(offset), str(window), str(batch), *GUEST],
                       capture_output=True, text=True, timeout=900, check=True)
    samples, counts = [], {}
    for line in r.stdout.splitlines():
        c = line.split()
        if c[0] == 'S':
            samples.append((c[1], c[2], int(c[3]), int(c[4]), c[6], c[7]))
        else:
            counts[c[1]] = dict(zip(('read',) + CLASSES, map(int, c[2:])))
    return samples, counts


class Judge(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.a, self.b, self.csv = (os.path.join(tmp.name, n) for n in ('a', 'b', 'truth'))

    def make(self, *args):
        truth.gencap(GENCAP, 'twin', '--host', self.a, '--guest', self.b, '--truth', self.csv,
                     '--packets', '20000', '--flows', '40', '--snap', '128', *args)
        return truth.twin(self.csv)

    def judge(self, *args, offset=0, coarse=None, batch=64):
        points, known = self.make('--offset-ns', str(offset), *args)
        samples, counts = dump(self.a, self.b, offset if coarse is None else coarse, batch=batch)
        found = {s[:4] for s in samples}
        self.assertEqual(len(found), len(samples), args)
        wrong = found - set(known)
        sure = {k for k, row in known.items() if row[8] == '-'}
        lost = sure - found
        self.assertFalse(wrong, '%s: %d samples are not true' % (args, len(wrong)))
        self.assertFalse(lost, '%s: %d sure twins not found' % (args, len(lost)))
        for s in samples:
            row = known.get(s[:4])
            if row and s[4] != '-' and row[8] == '-':
                self.assertEqual((s[4], s[5]), (row[12], row[13]), (args, row))
        for name, rows, others, sign in zip('AB', points, points[::-1], (1, -1)):
            c = counts[name]
            # The truth knows when the other capture ended; we only know its last packet.
            first, last = (int(others[i][3]) - sign * offset for i in (0, -1))
            for row in rows:
                if row[7] == 'missing' and not first + 10**7 < int(row[3]) < last - 10**7:
                    row[8] += '|outside_window'
            self.assertEqual(c['read'], len(rows))
            self.assertEqual(sum(c[k] for k in CLASSES), c['read'])
            bounds = truth.class_bounds(rows)
            for k in CLASSES:
                low, high = bounds.get(k, (0, 0))
                self.assertTrue(low <= c[k] <= high, (args, name, k, low, c[k], high))
        return samples, counts

    def test_quiet_path(self):
        samples, counts = self.judge('--loss', '0', '--retrans', '0', '--foreign', '0',
                                     '--ipv6', '0')
        self.assertGreater(len(samples), 15000)
        for p in 'AB':
            self.assertEqual(counts[p]['matched'], counts[p]['read'])

    def test_loss(self):
        self.judge('--loss', '2')
        self.judge('--loss', '2', offset=-3600 * 10**9)
        self.judge('--loss', '2', '--drift-ppm', '50', offset=12345)

    def test_coarse_is_only_coarse(self):
        self.judge('--loss', '1', coarse=8 * 10**6)
        self.judge('--loss', '1', coarse=-8 * 10**6)

    def test_duplicates_and_order(self):
        self.judge('--loss', '1', '--dup', '2')
        self.judge('--reorder', '5')

    def test_segmentation(self):
        for kind in ('same', 'split', 'gro', 'regroup'):
            self.judge('--offload', kind, '--seed', '9', '--retrans', '10', '--loss', '2')

    def test_no_identification(self):
        self.judge('--id-zero', '--loss', '2', '--retrans', '10', '--identical', '50')

    def test_cut_ends(self):
        _, counts = self.judge('--cut', '0.5', '--vlan', '50', '--pcapng')
        self.assertGreater(counts['A']['outside_window'], 1000)

    def test_batches(self):
        samples, _ = self.judge('--loss', '1', batch=1)
        self.assertEqual(set(samples), set(self.judge('--loss', '1', batch=4096)[0]))

    def test_random(self):
        for seed in range(FIRST_SEED, FIRST_SEED + 2 + EXTRA_SEEDS):
            rng = random.Random(seed)
            args = ['--seed', seed, '--loss', rng.choice(['0', '0.5', '5', '20']),
                    '--dup', rng.choice(['0', '0', '1']), '--retrans', rng.choice(['0', '2', '20']),
                    '--reorder', rng.choice(['0', '0', '3']),
                    '--identical', rng.choice(['0', '20', '80']),
                    '--offload', rng.choice(['mix', 'split', 'gro', 'regroup', 'same']),
                    '--duration', rng.choice(['1', '10', '60'])]
            if rng.random() < 0.3:
                args.append('--id-zero')
            with self.subTest(args=' '.join(map(str, args))):
                self.judge(*args, batch=rng.choice([1, 64, 1000]))


if __name__ == '__main__':
    GENCAP, TWINDUMP = sys.argv[1:3]
    if len(sys.argv) > 3 and sys.argv[3].isdigit():
        EXTRA_SEEDS = int(sys.argv.pop(3))
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
