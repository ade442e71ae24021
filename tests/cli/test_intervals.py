#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sampling intervals of vnetscope rtt against a slow reference that works on the printed samples, for
totals, flows, halves, hosts and prefixes; and that they depend on the packets alone.
argv: vnetscope, vns-gencap."""
import collections
import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import intervals_ref  # noqa: E402

VNETSCOPE = GENCAP = None
NAMES = ('mean', 'p50', 'p95', 'p99')


def run(*argv):
    r = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=900)
    if r.returncode:
        raise AssertionError(f'{argv}: exit {r.returncode}: {r.stderr}')
    return r.stdout


class Intervals(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory()
        cls.pcap = os.path.join(cls.dir.name, 'c.pcap')
        run(GENCAP, '--out', cls.pcap, '--seed', '31', '--packets', '60000', '--flows', '60',
            '--no-ts', '30', '--loss', '1')
        cls.samples = collections.defaultdict(list)  # kind, src, sport, dst, dport
        text = run(VNETSCOPE, 'rtt', '-r', cls.pcap, '--samples', '--csv')
        for s in csv.DictReader(io.StringIO(text)):
            # figures of ICMP are by hosts, of DNS by client and server
            sport = '0' if s['method'] in ('icmp', 'dns') else s['sport']
            dport = '0' if s['method'] == 'icmp' else s['dport']
            cls.samples[s['method'], s['src'], sport, s['dst'], dport].append(
                (int(s['at_ns']), int(s['rtt_ns'])))

    @classmethod
    def tearDownClass(cls):
        cls.dir.cleanup()

    def rtt(self, *more):
        return json.loads(run(VNETSCOPE, 'rtt', '-r', self.pcap, '--json', *more))

    def compare(self, mine, samples, what):
        want = intervals_ref.intervals(sorted(samples))
        known = 0
        for name in NAMES:
            got, ref = mine[name], want[name]
            if name in want['tail'] and abs(want['tail'][name] - 8) < 0.01:
                continue  # at the limit: a rounding decides
            self.assertEqual(got is None, ref is None, (what, name, got, ref, want['tail']))
            if got is None:
                continue
            known += 1
            if name == 'mean':  # the reference has no 24-bit values
                room = 2 + 1e-3 * (ref[1] - ref[0])
                ref = [(r - room, r + room) for r in ref]
            for end, (lowest, highest) in zip(got, ref):
                self.assertTrue(lowest <= end <= highest, (what, name, got, ref))
        return known

    def test_totals(self):
        known = 0
        for kind, m in self.rtt()['totals']['methods'].items():
            all_of = [s for k, v in self.samples.items() if k[0] == kind for s in v]
            self.assertEqual(len(all_of), m['samples'])
            known += self.compare(m['sampling_interval_ns'], all_of, kind)
        self.assertGreaterEqual(known, 8)  # ts and seq have all four

    def test_flows_and_csv(self):
        doc = self.rtt('--flows')
        known = collections.Counter()
        for f in doc['flows']:
            key = f['method'], f['src'], str(f['sport']), f['dst'], str(f['dport'])
            n = self.compare(f['sampling_interval_ns'], self.samples[key], key)
            known[n] += 1
            if f['samples'] < 16:
                self.assertEqual(n, 0)
        print(f'flows by number of intervals known: {dict(known)}', file=sys.stderr)
        self.assertGreater(known[0], 0)
        self.assertGreater(known[2] + known[3] + known[4], 20)
        lines = list(csv.DictReader(io.StringIO(
            run(VNETSCOPE, 'rtt', '-r', self.pcap, '--csv'))))
        for f, line in zip(doc['flows'], lines, strict=True):
            for name in NAMES:
                got = line[f'{name}_lower_ns'], line[f'{name}_upper_ns']
                want = f['sampling_interval_ns'][name] or ('', '')
                self.assertEqual(got, tuple(map(str, want)))

    def test_groups(self):
        for by in ('host', 'prefix=16,48'):
            groups = collections.defaultdict(list)
            doc = self.rtt('--by', by)
            self.assertGreater(len(doc['groups']), 3)
            for (kind, _, _, dst, _), v in self.samples.items():
                for g in doc['groups']:
                    if g['method'] == kind and self.holds(g['to'], dst):
                        groups[g['to'], kind] += v
            known = 0
            for g in doc['groups']:
                mine = groups[g['to'], g['method']]
                self.assertEqual(len(mine), g['samples'])
                if g['method'] != 'handshake':  # whose times the flow does not keep
                    known += self.compare(g['sampling_interval_ns'], mine, g['to'])
            self.assertGreater(known, 10)

    @staticmethod
    def holds(group, address):
        import ipaddress
        return ipaddress.ip_address(address) in ipaddress.ip_network(group)

    def test_halves(self):
        both = 0
        for p in self.rtt('--halves')['paths']:
            c, s = (p['client'], str(p['cport'])), (p['server'], str(p['sport']))
            known = []
            for side, to in (('client_side_ns', s + c), ('server_side_ns', c + s)):
                mine = p[side]['sampling_interval_ns']
                if p[side]['samples'] > 1:
                    self.compare(mine, self.samples[(p['method'], *to)], (side, to))
                known.append(mine['mean'])
            want = None if None in known else [known[0][i] + known[1][i] for i in (0, 1)]
            both += want is not None
            self.assertEqual(p['sum_mean_interval_ns'], want)
        self.assertGreater(both, 5)

    def test_packets_alone_decide(self):
        """Compressed, piped, in one point of two, by threads: the same numbers."""
        packed = self.pcap + '.gz'
        with open(self.pcap, 'rb') as f, gzip.open(packed, 'wb') as g:
            g.write(f.read())
        texts = set()
        for argv in ([self.pcap], [packed], [self.pcap, '-j', '2'], [packed, '-j', '3']):
            text = run(VNETSCOPE, 'rtt', '-r', *argv, '--json', '--flows')
            texts.add(re.sub(r'"(argv|run_id|time)": ?(\[.*?\]|"[^"]*")', '', text, flags=re.S))
        with open(self.pcap, 'rb') as f:
            r = subprocess.run([VNETSCOPE, 'rtt', '-r', '-', '--json', '--flows'], stdin=f,
                               capture_output=True, text=True, timeout=900)
        texts.add(re.sub(r'"(argv|run_id|time)": ?(\[.*?\]|"[^"]*")', '', r.stdout, flags=re.S))
        self.assertEqual(len(texts), 1)

    def test_text(self):
        text = run(VNETSCOPE, 'rtt', '-r', self.pcap, '--worst', '3')
        heads = [line for line in text.splitlines() if line.startswith('within (95 %)')]
        self.assertEqual([h.split()[-4:] for h in heads], [list(NAMES)] * len(heads))
        self.assertGreaterEqual(len(heads), 3)  # of flows by two methods, and of the totals


if __name__ == '__main__':
    VNETSCOPE, GENCAP = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
