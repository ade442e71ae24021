#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vns-gencap: frames valid, truth agrees with a slow independent reading of the wire, errors told.

argv: path of vns-gencap.
"""
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import pcapread  # noqa: E402
import truth  # noqa: E402
import twin_ref  # noqa: E402

GENCAP = None


def gencap(*args, ok=True):
    r = subprocess.run([GENCAP, *args], capture_output=True, text=True, timeout=900)
    if ok and r.returncode:
        raise AssertionError('%s: exit %d: %s' % (args, r.returncode, r.stderr))
    return r


def content(path):
    with open(path, 'rb') as f:
        return f.read()


def strowes(packets):
    """First TSval on data, SYN or FIN to its first echo; TSvals must rise.

    Return: {(src, sport, dst, dport, at_ns): (rtt_ns, tsval)} by flow direction of the data.
    """
    highest, waiting, samples = {}, {}, {}
    for p in packets:
        if p.kind != 'tcp' or p.tsval is None:
            continue
        back = (p.dst, p.dport, p.src, p.sport)
        if p.flags & 16 and (back, p.tsecr) in waiting:
            t = waiting.pop((back, p.tsecr))
            samples[back + (p.time_ns,)] = (p.time_ns - t, p.tsecr)
        if not p.payload_len and not p.flags & 3:
            continue
        if p.flow not in highest or 0 < (p.tsval - highest[p.flow]) % 2**32 < 2**31:
            highest[p.flow] = p.tsval
            waiting[p.flow, p.tsval] = p.time_ns
    return samples


class Rtt(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.dir = tmp.name
        self.cap = os.path.join(tmp.name, 'a.pcap')
        self.csv = os.path.join(tmp.name, 'a.csv')

    def make(self, *args):
        gencap('--out', self.cap, '--truth', self.csv, *args)
        return pcapread.read(self.cap)

    def test_frames_are_valid(self):
        for args in (['--seed', '3'], ['--seed', '4', '--pcapng', '--vlan', '50', '--ipv6', '60']):
            packets = self.make('--flows', '60', '--packets', '4000', '--udp', '20', '--icmp',
                                '20', *args)
            self.assertGreater(len(packets), 3000)
            kinds = {p.kind for p in packets}
            self.assertEqual(kinds, {'tcp', 'udp', 'icmp'})
            for p in packets:
                self.assertTrue(pcapread.checksums_right(p), 'frame %d of %s' % (p.index, args))
                self.assertEqual(p.wire_len, len(p.data))
            times = [p.time_ns for p in packets]
            self.assertEqual(times, sorted(times))

    def test_truth_agrees_with_the_wire(self):
        for args in ([], ['--loss', '5'], ['--microsecond', '--pcapng'], ['--loss', '0'],
                     ['--snap', '96', '--ipv6', '100', '--vlan', '100'],
                     ['--rtt-right', '5000:60000', '--loss', '2']):
            wire = strowes(self.make('--seed', '7', '--flows', '150', '--packets', '15000', *args))
            known, flows = truth.rtt(self.csv)
            self.assertGreater(len(known), 1000)
            self.assertEqual(set(wire), set(known), args)
            floor = {(c[2], int(c[3]), c[4], int(c[5])): int(c[6]) for c in flows}
            for key, (rtt, tsval, net, kind) in known.items():
                self.assertEqual(wire[key], (rtt, tsval))
                if kind == 'must':
                    self.assertGreaterEqual(rtt, floor[key[:4]])
                    self.assertGreaterEqual(rtt + 1000, net)

    def test_reordering_keeps_the_must_samples(self):
        wire = strowes(self.make('--seed', '8', '--flows', '150', '--packets', '15000',
                                 '--reorder', '5', '--loss', '1'))
        known, _ = truth.rtt(self.csv)
        must = {k: v[:2] for k, v in known.items() if v[3] == 'must'}
        self.assertGreater(len(must), 1000)
        self.assertEqual({k: wire.get(k) for k in must}, must)

    def test_one_way_flows_have_no_samples(self):
        self.make('--one-way', '100', '--flows', '50', '--packets', '3000')
        known, flows = truth.rtt(self.csv)
        self.assertFalse(known)
        pairs = {}
        for c in flows:
            pairs.setdefault(frozenset([(c[2], c[3]), (c[4], c[5])]), []).append(int(c[7]))
        self.assertTrue(all(0 in p for p in pairs.values()))

    def test_same_seed_same_bytes(self):
        self.make('--seed', '5', '--packets', '2000')
        first = content(self.cap), content(self.csv)
        self.make('--seed', '5', '--packets', '2000')
        self.assertEqual(first, (content(self.cap), content(self.csv)))
        self.make('--seed', '6', '--packets', '2000')
        self.assertNotEqual(first[0], content(self.cap))

    def test_snap_cuts_frames(self):
        whole = self.make('--packets', '2000')
        cut = self.make('--packets', '2000', '--snap', '60')
        self.assertEqual([p.data[:60] for p in whole], [p.data for p in cut])
        self.assertEqual([p.wire_len for p in whole], [p.wire_len for p in cut])


class Twin(unittest.TestCase):
    GUEST = {'100.0.0.11', 'fd00:0:0:8::b'}

    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.a, self.b, self.csv = (os.path.join(tmp.name, n) for n in ('a', 'b', 'truth'))

    def make(self, *args):
        gencap('twin', '--host', self.a, '--guest', self.b, '--truth', self.csv,
               '--packets', '2500', '--duration', '3', '--flows', '25', *args)
        return pcapread.read(self.a), pcapread.read(self.b)

    def agree(self, args, offset=0):
        a, b = self.make('--offset-ns', str(offset), *args)
        for p in a + b:
            self.assertNotEqual(p.kind, 'bad')
            if p.kind != 'not_ip':
                self.assertTrue(pcapread.checksums_right(p), (args, p.index))
        class_a, class_b, found = twin_ref.match(a, b, self.GUEST, offset)
        rows, known = truth.twin(self.csv)
        for point, classes in enumerate((class_a, class_b)):
            self.assertEqual(len(classes), len(rows[point]))
            for got, row in zip(classes, rows[point]):
                self.assertIn(got, [row[7]] + row[8].split('|'), (args, row))
        self.assertGreater(len(found), 800)
        self.assertFalse(found - set(known), args)
        sure = {k for k, row in known.items() if row[8] == '-'}
        self.assertFalse(sure - found, args)
        for key, row in known.items():
            sign = 1 if row[4] == 'h2g' else -1
            if '--drift-ppm' not in args:
                self.assertEqual(sign * (key[3] - key[2] - offset), int(row[11]))
            self.assertGreaterEqual(int(row[11]), 15000)
        return rows

    def test_quiet_path_matches_everything(self):
        rows = self.agree(['--loss', '0', '--retrans', '0', '--foreign', '0'])
        self.assertEqual({r[7] for r in rows[0] + rows[1]}, {'matched'})

    def test_loss_and_clock(self):
        self.agree(['--loss', '2'])
        self.agree(['--loss', '2'], offset=-3600 * 10**9)
        self.agree(['--loss', '2', '--drift-ppm', '50'], offset=12345)

    def test_duplicates_and_order(self):
        self.agree(['--loss', '1', '--dup', '2'])
        self.agree(['--reorder', '5'])

    def test_segmentation(self):
        for kind in ('same', 'split', 'gro', 'regroup'):
            self.agree(['--offload', kind, '--seed', '9', '--retrans', '10'])

    def test_no_identification(self):
        self.agree(['--id-zero', '--loss', '2', '--retrans', '10', '--identical', '50'])

    def test_cut_ends(self):
        rows = self.agree(['--cut', '0.5', '--vlan', '50', '--pcapng'])
        self.assertGreater(sum(r[7] == 'outside_window' for r in rows[0]), 300)

    def test_superframes_and_strangers_are_there(self):
        a, b = self.make('--vlan', '50')
        self.assertTrue(any(p.wire_len > 9000 for p in a) and any(p.wire_len > 9000 for p in b))
        self.assertTrue(any(p.vlan for p in a))
        self.assertFalse(any(p.vlan for p in b))
        self.assertTrue(any(p.kind == 'not_ip' for p in a))


class Errors(unittest.TestCase):
    def one_sentence(self, r, code, *words):
        self.assertEqual(r.returncode, code, r.stderr)
        self.assertEqual(r.stderr.count('\n'), 1, r.stderr)
        for w in words:
            self.assertIn(w, r.stderr)

    def test_usage(self):
        self.one_sentence(gencap(ok=False), 2, '--out')
        self.one_sentence(gencap('--bogus', ok=False), 2, '--bogus')
        self.one_sentence(gencap('--out', ok=False), 2, '--out')
        self.one_sentence(gencap('--out', '/dev/null', '--loss', '99', ok=False), 2, '--loss')
        self.one_sentence(gencap('--out', '/dev/null', '--flows', '1x', ok=False), 2, '1x')
        self.one_sentence(gencap('--out', '/dev/null', '--rtt-left', '9:1', ok=False), 2, '9:1')

    def test_twin_usage(self):
        self.one_sentence(gencap('twin', '--host', 'x', ok=False), 2, '--guest')
        pair = ('twin', '--host', '/dev/null', '--guest', '/dev/null')
        self.one_sentence(gencap(*pair, '--offload', 'x', ok=False), 2, '--offload')
        self.one_sentence(gencap(*pair, '--cut', '5', ok=False), 2, '--cut')
        self.one_sentence(gencap(*pair, '--out', 'x', ok=False), 2, '--out')
        self.one_sentence(gencap('twin', '--host', '/dev/full', '--guest', '/dev/null',
                                 ok=False), 3, '/dev/full')

    def test_help_names_every_option(self):
        text = gencap('--help').stdout
        for name in ('--out', '--truth', '--seed', '--flows', '--packets', '--loss', '--pcapng'):
            self.assertIn(name, text)

    def test_full_disk_and_bad_folder(self):
        self.one_sentence(gencap('--out', '/dev/full', ok=False), 3, '/dev/full', 'No space')
        self.one_sentence(gencap('--out', '/nonexistent/x', ok=False), 3, '/nonexistent/x')


if __name__ == '__main__':
    GENCAP = sys.argv.pop(1)
    unittest.main()
