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

GENCAP = None


def gencap(*args, ok=True):
    r = subprocess.run([GENCAP, *args], capture_output=True, text=True, timeout=120)
    if ok and r.returncode:
        raise AssertionError('%s: exit %d: %s' % (args, r.returncode, r.stderr))
    return r


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


def truth(path):
    samples, flows = {}, []
    with open(path) as f:
        for line in f:
            c = line.rstrip('\n').split(',')
            if c[0] == 'S':
                key = (c[1], int(c[2]), c[3], int(c[4]), int(c[5]))
                samples[key] = (int(c[6]), int(c[7]), int(c[8]), c[9])
            elif c[0] == 'F':
                flows.append(c)
    return samples, flows


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
            known, flows = truth(self.csv)
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
        known, _ = truth(self.csv)
        must = {k: v[:2] for k, v in known.items() if v[3] == 'must'}
        self.assertGreater(len(must), 1000)
        self.assertEqual({k: wire.get(k) for k in must}, must)

    def test_one_way_flows_have_no_samples(self):
        self.make('--one-way', '100', '--flows', '50', '--packets', '3000')
        known, flows = truth(self.csv)
        self.assertFalse(known)
        pairs = {}
        for c in flows:
            pairs.setdefault(frozenset([(c[2], c[3]), (c[4], c[5])]), []).append(int(c[7]))
        self.assertTrue(all(0 in p for p in pairs.values()))

    def test_same_seed_same_bytes(self):
        self.make('--seed', '5', '--packets', '2000')
        first = open(self.cap, 'rb').read(), open(self.csv, 'rb').read()
        self.make('--seed', '5', '--packets', '2000')
        self.assertEqual(first, (open(self.cap, 'rb').read(), open(self.csv, 'rb').read()))
        self.make('--seed', '6', '--packets', '2000')
        self.assertNotEqual(first[0], open(self.cap, 'rb').read())

    def test_snap_cuts_frames(self):
        whole = self.make('--packets', '2000')
        cut = self.make('--packets', '2000', '--snap', '60')
        self.assertEqual([p.data[:60] for p in whole], [p.data for p in cut])
        self.assertEqual([p.wire_len for p in whole], [p.wire_len for p in cut])


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
