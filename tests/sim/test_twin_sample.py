#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples of 1 in N against vns-gencap's truth: both points choose the same, and what they chose is paired.

argv: vns-gencap, twindump. UDP datagrams joined into frames or cut from them between the points, IP fragments
of one side or both, NAT. Truth says which packet of A and which of B hold the same first byte; twindump, what each
point chose, knowing nothing of the other.
"""
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import truth  # noqa: E402

GENCAP = DUMP = None
CLASSES = ('read', 'matched', 'missing', 'ambiguous', 'outside_window', 'undecodable')
ONLY_UDP = ['--udp', '100', '--icmp', '0', '--identical', '0', '--foreign', '0']
CASES = {
    'frames cut': ['--frames', '60', '--frame-kind', 'cut'],
    'frames cut, IPv6': ['--frames', '60', '--frame-kind', 'cut', '--ipv6', '100'],
    'frames joined': ['--frames', '60', '--frame-kind', 'joined'],
    'frames joined, no identification': ['--frames', '60', '--frame-kind', 'joined', '--id-zero'],
    'frames, disorder': ['--frames', '60', '--loss', '2', '--dup', '1', '--reorder', '3'],
    'frames, NAT': ['--frames', '60', '--nat', 'masquerade', '--ipv6', '0', '--loss', '1'],
    'fragments at one point': ['--fragments', '60', '--one-sided', '100', '--ipv6', '40', '--loss', '0'],
    'fragments at both': ['--fragments', '60', '--one-sided', '0', '--ipv6', '0', '--loss', '0'],
    'fragments, loss': ['--fragments', '60', '--one-sided', '60', '--ipv6', '40', '--loss', '2'],
    'fragments, NAT': ['--fragments', '60', '--one-sided', '60', '--ipv6', '0', '--nat', 'masquerade',
                       '--loss', '0'],
    'fragments, overtaken and doubled': ['--fragments', '60', '--one-sided', '0', '--ipv6', '0', '--udp', '90',
                                         '--icmp', '5', '--loss', '2', '--dup', '6', '--reorder', '8'],
    'all in pieces, snap 96': ['--frames', '30', '--fragments', '20', '--one-sided', '80', '--ipv6', '30',
                               '--loss', '2', '--reorder', '2', '--snap', '96', '--vlan', '0',
                               '--drift-ppm', '-60', '--offset-ns', '5000000000'],
}


def run(args, one_in):
    """([P rows of A], [of B]), truth's samples, {key: last}, counts, ({stamps chosen at A}, {at B})."""
    with tempfile.TemporaryDirectory() as tmp:
        a, b, csv = (os.path.join(tmp, n) for n in ('a', 'b', 'truth'))
        truth.gencap(GENCAP, 'twin', '--host', a, '--guest', b, '--truth', csv, '--seed', 7, '--packets', 12000,
                     '--duration', 6, '--flows', 40, *ONLY_UDP, *args)
        offset = args[args.index('--offset-ns') + 1] if '--offset-ns' in args else '0'
        out = subprocess.run([DUMP, a, b, offset, '5000000000', '64', '100.0.0.11', 'fd00:0:0:8::b',
                              *(['nat'] if '--nat' in args else []), '1/%d' % one_in],
                             capture_output=True, text=True, timeout=900, check=True).stdout
        points, known = truth.twin(csv)
    got, counts, chosen = {}, ({}, {}), ([], [])
    for line in out.splitlines():
        c = line.split()
        if c[0] == 'S':
            got[c[1], c[2], int(c[3]), int(c[4])] = c[6:] if c[6] != '-' else []
        elif c[0] == 'P':
            chosen['AB'.index(c[1])].append(int(c[2]))
        elif c[0] == 'C':
            counts['AB'.index(c[1])].update(zip(CLASSES, map(int, c[2:])))
    return points, known, got, counts, tuple(map(set, chosen))


class Samples(unittest.TestCase):
    def judge(self, name, one_in):
        points, known, got, counts, chosen = run(CASES[name], one_in)
        case = '%s, 1 in %d: ' % (name, one_in)
        # Right, the last byte's too.
        self.assertFalse(set(got) - set(known), case + 'wrong')
        for key, last in got.items():
            if last:
                self.assertEqual(last, known[key][12:14], case + str(known[key]))
        # The two ends of one first byte: both or none.
        sure = {k for k, row in known.items() if row[8] == '-'}
        halves = [k for k in sure if (k[2] in chosen[0]) != (k[3] in chosen[1])]
        both = {k for k in sure if k[2] in chosen[0] and k[3] in chosen[1]}
        print('%s%d packets hold a first byte for sure, %d are chosen (%.4f), %d at one point only; %d samples' %
              (case, len(sure), len(both), len(both) / len(sure), len(halves), len(got)))
        # But for later fragments whose first one was lost between the points: those were not to be chosen behind it.
        lossy = 'fragments' in ' '.join(CASES[name]) and '0' not in self.of(name, '--loss')
        # Where many overtake their first one, that is so for each of these datagrams.
        most = 0.15 if 'overtaken' in name else 0.05 if lossy else 0
        self.assertLessEqual(len(halves), most * len(both), case + 'chosen at one point only')
        # And they are found, whatever was not chosen around them. Of NAT it takes more of a flow to learn of it.
        if not ('NAT' in name and one_in == 100):
            self.assertGreaterEqual(len(both & set(got)), 0.999 * len(both), case + 'not found')
        # 1 in N: five standard deviations; fragments of a datagram, at most 7, are chosen together.
        deviation = (len(sure) * (1 / one_in) * (1 - 1 / one_in) * (7 if '--fragments' in CASES[name] else 1)) ** 0.5
        self.assertLess(abs(len(both) + len(halves) / 2 - len(sure) / one_in), 5 * deviation, case)
        for point in (0, 1):
            n, rows = counts[point], [r for r in points[point] if int(r[3]) in chosen[point]]
            self.assertEqual((sum(n.values()), n['read']), (2 * len(rows), len(rows)), case)
            # Frames' other datagrams are vo's to doubt; else nothing is missing by what was not chosen.
            if '--frames' not in CASES[name]:
                most = truth.class_bounds(rows).get('missing', (0, 0))[1]
                self.assertLessEqual(n['missing'], most, case + 'AB'[point])

    @staticmethod
    def of(name, option):
        args = CASES[name]
        return args[args.index(option) + 1:][:1] if option in args else []


def add_case(name):
    def test(self):
        for one_in in (2, 10, 100):
            self.judge(name, one_in)
    setattr(Samples, 'test_' + name.replace(' ', '_').replace(',', ''), test)


for _name in CASES:
    add_case(_name)

if __name__ == '__main__':
    DUMP = sys.argv.pop(2)
    GENCAP = sys.argv.pop(1)
    unittest.main()
