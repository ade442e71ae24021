#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The twin engine against vns-gencap's truth: every sample right, every packet in a right class.

argv: vns-gencap, twindump. The seed of a failing case is in its message; TWIN_SEEDS in the
environment asks for more of them.
"""
import os
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import truth  # noqa: E402

GENCAP = DUMP = None
CLASSES = ('read', 'matched', 'missing', 'ambiguous', 'outside_window', 'undecodable')

CASES = {
    'quiet': ['--loss', '0', '--retrans', '0', '--foreign', '0'],
    'loss': ['--loss', '2'],
    'much loss': ['--loss', '10', '--retrans', '10'],
    'guest an hour behind': ['--loss', '1', '--offset-ns', str(-3600 * 10**9)],
    'guest ahead, drifting': ['--loss', '1', '--offset-ns', '123456789', '--drift-ppm', '100'],
    'an hour of 200 ppm': ['--loss', '2', '--offset-ns', '-7200000000000', '--drift-ppm', '200',
                           '--duration', '3600', '--retrans', '10', '--packets', '20000'],
    'a day of -200 ppm': ['--drift-ppm', '-200', '--duration', '86400', '--packets', '40000'],
    'masquerade': ['--nat', 'masquerade', '--ipv6', '0', '--loss', '1', '--retrans', '5'],
    'port forward': ['--nat', 'dnat', '--identical', '0', '--loss', '1', '--retrans', '5'],
    'NAT, all but clean': ['--nat', 'dnat', '--identical', '0', '--loss', '2', '--dup', '1',
                           '--reorder', '2', '--offset-ns', '-3600000000000', '--drift-ppm', '100',
                           '--snap', '96', '--foreign', '30', '--fragments', '20'],
    'duplicates': ['--loss', '1', '--dup', '3'],
    'reordered': ['--loss', '1', '--reorder', '5'],
    'reordered and doubled': ['--loss', '0.5', '--dup', '1', '--reorder', '2', '--packets', '20000',
                              '--duration', '10'],
    'same': ['--offload', 'same', '--retrans', '10'],
    'split': ['--offload', 'split', '--retrans', '10'],
    'gro': ['--offload', 'gro', '--retrans', '10'],
    'regroup': ['--offload', 'regroup', '--retrans', '10'],
    'no identification': ['--id-zero', '--loss', '2', '--retrans', '10', '--identical', '50'],
    'loss over IPv6, SACK': ['--loss', '2', '--sack', '--ipv6', '100', '--retrans', '10'],
    'loss without identification, SACK, snap 96': ['--loss', '2', '--sack', '--id-zero', '--snap', '96',
                                                   '--retrans', '10', '--vlan', '0', '--ipv6', '0'],
    'a step of 3 ms': ['--loss', '0', '--dup', '1', '--step-ns', '-3000000', '--ipv6', '50', '--udp',
                       '0', '--icmp', '40'],
    'cut ends': ['--cut', '1', '--loss', '1'],
    'IPv6 in VLANs, snap 96': ['--ipv6', '100', '--vlan', '100', '--snap', '96', '--loss', '1'],
    'microseconds, pcapng': ['--microsecond', '--pcapng', '--loss', '1'],
    'identical datagrams': ['--udp', '100', '--identical', '100', '--loss', '0'],
    'identical datagrams, loss': ['--udp', '100', '--identical', '100', '--loss', '3'],
    'fragments': ['--udp', '80', '--fragments', '50', '--ipv6', '10', '--loss', '1'],
    'strangers': ['--foreign', '40'],
    'frames cut': ['--udp', '80', '--frames', '40', '--frame-kind', 'cut', '--loss', '0'],
    'frames cut, loss': ['--udp', '80', '--frames', '40', '--frame-kind', 'cut', '--loss', '3'],
    'frames cut, IPv6, snap 96': ['--udp', '80', '--frames', '40', '--frame-kind', 'cut', '--loss',
                                  '2', '--ipv6', '100', '--snap', '96', '--drift-ppm', '100'],
    'frames cut, disorder': ['--udp', '80', '--frames', '40', '--frame-kind', 'cut', '--loss', '2',
                             '--dup', '2', '--reorder', '5', '--snap', '96'],
    'frames joined': ['--udp', '80', '--frames', '40', '--frame-kind', 'joined', '--loss', '0'],
    'frames joined, loss': ['--udp', '80', '--frames', '40', '--frame-kind', 'joined', '--loss',
                            '2', '--ipv6', '50', '--snap', '96', '--drift-ppm', '-100'],
    'frames joined, disorder': ['--udp', '80', '--frames', '40', '--frame-kind', 'joined',
                                '--loss', '2', '--dup', '2', '--reorder', '5'],
    'frames, no identification': ['--udp', '80', '--frames', '40', '--id-zero', '--loss', '2',
                                  '--dup', '2', '--reorder', '2', '--offset-ns', '5000000000'],
    'frames of zeros': ['--udp', '80', '--frames', '40', '--identical', '100', '--loss', '2',
                        '--cut', '0.6'],
    'frames of zeros, few doubled': ['--udp', '80', '--frames', '40', '--identical', '100', '--loss',
                                     '2', '--cut', '0.6', '--dup', '1'],
    'frames, no identification, few doubled': ['--udp', '80', '--frames', '40', '--id-zero', '--loss',
                                               '2', '--dup', '1', '--reorder', '2', '--offset-ns',
                                               '5000000000'],
    'frames joined, loss, few doubled': ['--udp', '80', '--frames', '40', '--frame-kind', 'joined',
                                         '--loss', '2', '--dup', '0.1', '--ipv6', '50', '--snap',
                                         '96', '--drift-ppm', '-100'],
    'fragments at one point': ['--udp', '80', '--fragments', '60', '--one-sided', '100', '--ipv6',
                               '40', '--loss', '1'],
    'fragments at one or both, disorder': ['--udp', '80', '--fragments', '60', '--one-sided', '70',
                                           '--ipv6', '40', '--loss', '2', '--dup', '1',
                                           '--reorder', '5', '--snap', '96', '--vlan', '0',
                                           '--drift-ppm', '50'],
    'all in pieces': ['--udp', '60', '--frames', '30', '--fragments', '20', '--one-sided', '80',
                      '--ipv6', '30', '--loss', '2', '--reorder', '2', '--cut', '0.6',
                      '--snap', '96', '--vlan', '0', '--drift-ppm', '-60', '--offset-ns',
                      '5000000000'],
    'all in pieces, few doubled': ['--udp', '60', '--frames', '30', '--fragments', '20', '--one-sided',
                                   '80', '--ipv6', '30', '--loss', '2', '--reorder', '2', '--cut',
                                   '0.6', '--snap', '96', '--vlan', '0', '--drift-ppm', '-60',
                                   '--offset-ns', '5000000000', '--dup', '0.5'],
    'all in pieces, more doubled': ['--udp', '60', '--frames', '30', '--fragments', '20', '--one-sided',
                                    '80', '--ipv6', '30', '--loss', '2', '--reorder', '2', '--cut',
                                    '0.6', '--snap', '96', '--vlan', '0', '--drift-ppm', '-60',
                                    '--offset-ns', '5000000000', '--dup', '1'],
    'everything': ['--loss', '2', '--dup', '1', '--reorder', '2', '--retrans', '5', '--cut', '0.6',
                   '--drift-ppm', '-60', '--offset-ns', '5000000000'],
}


VXLAN = bytes.fromhex('0277000000030277000000040800' '4500000000000000401100000a0000010a000002'
                      '13f012b500000000' '0800000000000700')


def shorten(path, snap, head):
    """Keep @snap bytes of each frame, behind @head."""
    with open(path, 'rb') as f:
        data = f.read()
    out, at = [data[:24]], 24
    while at < len(data):
        sec, sub, cap, wire = struct.unpack_from('<IIII', data, at)
        outer = bytearray(head)
        if head:
            struct.pack_into('>H', outer, 16, min(wire + 36, 65535))
            struct.pack_into('>H', outer, 38, min(wire + 16, 65535))
        frame = (bytes(outer) + data[at + 16:at + 16 + cap])[:snap]
        out += [struct.pack('<IIII', sec, sub, len(frame), wire + len(head)), frame]
        at += 16 + cap
    with open(path, 'wb') as f:
        f.write(b''.join(out))


class Twins(unittest.TestCase):
    window = '5000000000'

    def judge(self, name, args, seed):
        with tempfile.TemporaryDirectory() as tmp:
            a, b, csv = (os.path.join(tmp, n) for n in ('a', 'b', 'truth'))
            truth.gencap(GENCAP, 'twin', '--host', a, '--guest', b, '--truth', csv, '--seed',
                         seed, '--packets', 5000, '--duration', 4, '--flows', 40, *args)
            offset = args[args.index('--offset-ns') + 1] if '--offset-ns' in args else '0'
            out = subprocess.run([DUMP, a, b, offset, self.window, '64', '100.0.0.11',
                                  'fd00:0:0:8::b', *(['nat'] if '--nat' in args else [])],
                                 capture_output=True, text=True,
                                 timeout=900, check=True).stdout
            points, known = truth.twin(csv)
        got, last, counts = set(), {}, ({}, {})
        for line in out.splitlines():
            c = line.split()
            if c[0] == 'S':
                key = (c[1], c[2], int(c[3]), int(c[4]))
                got.add(key)
                last[key] = c[6:] if c[6] != '-' else []
            elif c[0] == 'C':
                counts['AB'.index(c[1])].update(zip(CLASSES, map(int, c[2:])))
        case = '%s, seed %s: ' % (name, seed)
        self.samples(case, got, last, known)
        self.classes(case, counts, points, got)

    def test_in_pieces_while_it_streams(self):
        """A window much shorter than the captures: trains across the batches' ends are found as well."""
        self.window = '1000000000'
        for name in ('frames cut, loss', 'frames joined', 'fragments at one point', 'all in pieces'):
            self.judge(name, CASES[name], 1)
        self.window = '400000000'
        for name in ('frames cut', 'frames joined, loss'):
            self.judge(name, CASES[name], 1)

    def test_tunnel_or_tag_at_one_point(self):
        """VXLAN, or a VLAN tag, at the host: what a short snap length then cuts is never called missing."""
        for snap, head, everything in ((96, VXLAN, False), (104, VXLAN, False), (116, VXLAN, True),
                                       (68, b'', False), (96, b'', True)):
            with tempfile.TemporaryDirectory() as tmp:
                a, b, csv = (os.path.join(tmp, n) for n in ('a', 'b', 'truth'))
                truth.gencap(GENCAP, 'twin', '--host', a, '--guest', b, '--truth', csv, '--ipv6', 0,
                             '--vlan', 0 if head else 100, '--packets', 5000, '--duration', 4, '--loss', 1,
                             '--foreign', 0, '--snap', 400)
                shorten(a, snap, head)
                shorten(b, snap, b'')
                out = subprocess.run([DUMP, a, b, '0', '5000000000', '64', '100.0.0.11'],
                                     capture_output=True, text=True, timeout=900, check=True).stdout
                points, known = truth.twin(csv)
            lines = [line.split() for line in out.splitlines()]
            got = {(c[1], c[2], int(c[3]), int(c[4])) for c in lines if c[0] == 'S'}
            self.assertFalse(got - set(known), 'snap %d' % snap)
            sure = {k for k, row in known.items() if row[8] == '-'}
            if everything:
                self.assertFalse(sure - got)
            for c in lines:
                if c[0] != 'C':
                    continue
                counts = dict(zip(CLASSES, map(int, c[2:])))
                rows = points['AB'.index(c[1])]
                self.assertEqual(sum(counts.values()), 2 * counts['read'])
                most = truth.class_bounds(rows).get('missing', (0, 0))[1]
                self.assertLessEqual(counts['missing'], most, 'snap %d: %s' % (snap, counts))
                if not everything and c[1] == 'A':
                    self.assertGreater(counts['undecodable'], len(rows) // 10)

    def samples(self, case, got, last, known):
        wrong = got - set(known)
        self.assertTrue(not wrong, case + '%d of %d samples are wrong, as %s' %
                        (len(wrong), len(got), sorted(wrong)[:2]))
        sure = {k for k, row in known.items() if row[8] == '-'}
        lost = sure - got
        self.assertTrue(not lost, case + '%d of %d sure samples are lost, as %s' %
                        (len(lost), len(sure), [known[k] for k in sorted(lost)[:2]]))
        for key in got:
            if last[key]:
                self.assertEqual(last[key], known[key][12:14], case + str(known[key]))
        with_last = {k for k in sure if known[k][12]}
        unknown = [k for k in with_last if not last[k]]
        self.assertLessEqual(len(unknown), len(with_last) // 50, case + 'last bytes not found')

    def classes(self, case, counts, points, got):
        for point in (0, 1):
            self.assertEqual(counts[point].pop('read'), len(points[point]))
            self.assertEqual(sum(counts[point].values()), len(points[point]))
            bounds = truth.class_bounds(points[point])
            for name, n in counts[point].items():
                low, high = bounds.get(name, (0, 0))
                self.assertTrue(low <= n <= high, case + 'point %s: %d %s, truth %d to %d' %
                                ('AB'[point], n, name, low, high))
            # What passed both points and may be nothing but ambiguous instead is no sample only if it is.
            silent = sum(1 for row in points[point] if row[9] and row[8] == 'ambiguous' and
                         (row[4], truth.proto(row), int(row[9]), int(row[10])) not in got)
            self.assertLessEqual(silent, counts[point]['ambiguous'], case + 'frames in no book')


def add_case(name, args):
    def test(self):
        for seed in range(1, 1 + int(os.environ.get('TWIN_SEEDS', '3' if 'step' in name else '1'))):
            self.judge(name, args, seed)
    setattr(Twins, 'test_' + name.replace(' ', '_').replace(',', ''), test)


for _name, _args in CASES.items():
    add_case(_name, _args)

if __name__ == '__main__':
    DUMP = sys.argv.pop(2)
    GENCAP = sys.argv.pop(1)
    unittest.main()
