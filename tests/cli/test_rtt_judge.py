#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope rtt sample by sample: against a slow judge, against the generator's truth, and against
Strowes' loop over tshark's fields. argv: vnetscope, vns-gencap.

The three share no code with lib/: the judge reads the file itself, the truth is the simulated
hosts' own state, tshark has its own dissectors.
"""
import collections
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import rtt_ref  # noqa: E402
import seq_ref  # noqa: E402

VNETSCOPE = GENCAP = None

# Seeds and shapes: plain, all IPv6 in VLANs, microseconds, pcapng, heavy loss, reordering,
# short flows, few long ones, snap length, many flows without timestamps or in one direction.
CASES = [
    ['--seed', '1'],
    ['--seed', '2', '--ipv6', '100', '--vlan', '100'],
    ['--seed', '3', '--microsecond'],
    ['--seed', '4', '--pcapng', '--loss', '5'],
    ['--seed', '5', '--reorder', '3', '--loss', '2'],
    ['--seed', '6', '--flows', '4000', '--packets', '40000'],
    ['--seed', '7', '--flows', '5', '--rtt-left', '100000:400000'],
    ['--seed', '9', '--sack', '--loss', '3', '--reorder', '1', '--no-ts', '50'],
    ['--seed', '8', '--snap', '128', '--no-ts', '30', '--one-way', '30'],
]
# The snap length cuts TCP's options, of SYNs and SACKs or all. Not held against the generator's truth: a TSval that
# was cut away may have been echoed first, and who reads the capture cannot know.
CUT = [
    ['--seed', '10', '--snap', '96', '--ipv6', '100', '--vlan', '100', '--sack', '--loss', '2'],
    ['--seed', '11', '--snap', '68', '--ipv6', '50', '--vlan', '0', '--loss', '1'],
]


def run(*argv, code=0):
    r = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=900)
    if r.returncode != code:
        raise AssertionError(f'{argv}: exit {r.returncode}: {r.stderr}')
    return r.stdout


def engine_samples(path, *more, method='ts'):
    out = []
    argv = [VNETSCOPE, 'rtt', '-r', path, '--kinds', 'tcp', '--method', method, '--samples',
            '--json', *more]
    for line in run(*argv).splitlines():
        s = json.loads(line)
        if s.get('method') == method:
            out.append((s['at_ns'], s['src'], s['sport'], s['dst'], s['dport'], s['rtt_ns'],
                        s['id']))
    return out


def tshark_samples(path):
    """Strowes by dictionaries over tshark's fields."""
    fields = ['frame.time_epoch', 'ip.src', 'ipv6.src', 'tcp.srcport', 'ip.dst', 'ipv6.dst',
              'tcp.dstport', 'tcp.options.timestamp.tsval', 'tcp.options.timestamp.tsecr',
              'tcp.len', 'tcp.flags']
    text = run('tshark', '-r', path, '-Y', 'tcp.options.timestamp.tsval', '-T', 'fields',
               '-o', 'tcp.analyze_sequence_numbers:FALSE',
               *[x for f in fields for x in ('-e', f)])
    waiting, highest, out = {}, {}, []
    for line in text.splitlines():
        w = line.split('\t')
        sec, _, frac = w[0].partition('.')
        at = int(sec) * 10**9 + int(frac.ljust(9, '0')[:9])
        src, dst = (w[1] or w[2], int(w[3])), (w[4] or w[5], int(w[6]))
        tsval, tsecr, size, flags = int(w[7]), int(w[8]), int(w[9]), int(w[10], 16)
        seen = waiting.get((dst, src), {}).pop(tsecr, None) if flags & 16 else None
        if seen is not None:
            out.append((at, *dst, *src, at - seen, tsecr))
        if (src, dst) not in highest or 0 < (tsval - highest[src, dst]) % 2**32 < 2**31:
            highest[src, dst] = tsval
            if size or flags & 3:
                waiting.setdefault((src, dst), {})[tsval] = at
    return out


def by_direction(samples):
    out = collections.defaultdict(list)
    for s in samples:
        out[s[1:5]].append(s[5])
    return out


class Judge(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.pcap = os.path.join(self.dir.name, 'c.pcap')
        self.truth = os.path.join(self.dir.name, 'c.csv')

    def tearDown(self):
        self.dir.cleanup()

    def generate(self, args):
        args = list(args)
        if '--packets' not in args:
            args += ['--packets', '20000']
        if '--flows' not in args:
            args += ['--flows', '200']
        run(GENCAP, '--out', self.pcap, '--truth', self.truth, *args)

    def test_against_slow_judge(self):
        for case in CASES + CUT:
            with self.subTest(case=case):
                self.generate(case)
                mine, judge = engine_samples(self.pcap), rtt_ref.read(self.pcap)
                self.assertGreater(len(judge), 500)
                self.assertEqual(mine, judge)

    def test_threads_change_nothing(self):
        """Samples in their order, figures, evictions: byte by byte, but for what names the run."""
        cases = (['--flows', '2000', '--packets', '50000', '--duration', '900'],
                 ['--flows', '300', '--pcapng', '--snap', '96', '--reorder', '2'])
        for case in cases:
            self.generate(case)
            for more in (['--samples', '--json'], ['--json', '--flows', '--idle', '5'],
                         ['--csv', '--flows', '--max-flows', '100'], ['ip6']):
                outputs = set()
                for jobs in ('1', '2', '5'):
                    text = run(VNETSCOPE, 'rtt', '-r', self.pcap, '-j', jobs, *more)
                    outputs.add(re.sub(r'"(argv|run_id|time)": ?(\[.*?\]|"[^"]*")', '', text,
                                       flags=re.S))
                self.assertEqual(len(outputs), 1, (case, more))
                self.assertGreater(len(text), 100)

    def test_sequence_against_slow_judge(self):
        for case in CASES + CUT:
            with self.subTest(case=case):
                self.generate(case)
                more = ['--inside'] if '7' in case else []
                mine = engine_samples(self.pcap, *more, method='seq')
                judge = seq_ref.read(self.pcap, inside=bool(more))
                self.assertGreater(len(judge), 500)
                self.assertEqual(mine, judge)

    def test_against_truth(self):
        for case in CASES:
            with self.subTest(case=case):
                self.generate(case)
                self.compare_with_truth(engine_samples(self.pcap), '--microsecond' in case)

    def compare_with_truth(self, mine, microseconds):
        must, allowed, net, floor = {}, {}, {}, {}
        with open(self.truth) as f:
            for c in (line.rstrip('\n').split(',') for line in f):
                if c[0] == 'S':
                    key = (int(c[5]), c[1], int(c[2]), c[3], int(c[4]), int(c[6]), int(c[7]))
                    allowed[key] = net[key] = int(c[8])
                    if c[9] == 'must':
                        must[key] = True
                elif c[0] == 'F' and int(c[9]):
                    floor[c[2], int(c[3]), c[4], int(c[5])] = int(c[10])
        got = set(mine)
        if microseconds:
            # stamps were cut after the truth was noted: compare what survives that
            self.assertAlmostEqual(len(got), len(must), delta=len(must) // 200)
            low = {k: min(v) for k, v in by_direction(mine).items()}
            for k, ns in floor.items():
                self.assertLessEqual(abs(low[k] - ns), 1000)
            return
        self.assertEqual(len(got), len(mine))
        self.assertEqual(sorted(set(must) - got), [], 'samples that were owed')
        self.assertEqual(sorted(got - set(allowed)), [], 'samples that nothing owed')
        below = [k for k in got if k[5] < net[k]]
        self.assertEqual(below, [], 'samples below what the network took')
        low = {k: min(v) for k, v in by_direction(mine).items()}
        self.assertEqual({k: low.get(k) for k in floor}, floor)

    def test_sequence_against_truth(self):
        """Each sample is the time since the very segment that caused the ACK passed, as the simulated
        receiver knows it, but for a few in which an ACK or its SACK was lost or overtaken."""
        for args in (['--seed', '21', '--loss', '2', '--reorder', '1'],
                     ['--seed', '22', '--loss', '0', '--no-ts', '100']):
            self.generate([*args, '--sack', '--one-way', '0', '--packets', '40000'])
            truth = {}
            with open(self.truth) as f:
                for c in (line.rstrip('\n').split(',') for line in f):
                    if c[0] == 'Q':
                        truth[int(c[5]), c[1], int(c[2]), c[3], int(c[4]), int(c[7])] = \
                            int(c[6]), c[8]
            right, mine = collections.Counter(), engine_samples(self.pcap, method='seq')
            for s in mine:
                rtt, how = truth.get((*s[:5], s[6]), (None, None))
                right[how] += rtt == s[5]
            owed = collections.Counter(how for _, how in truth.values())
            print(f'{len(mine)} samples, right {dict(right)}, told by ACKs {dict(owed)}',
                  file=sys.stderr)
            self.assertGreaterEqual(right['end'] + right['block'], 0.999 * len(mine))
            self.assertGreaterEqual(right['end'], 0.95 * owed['end'])
            self.assertGreaterEqual(right['block'], 0.9 * owed['block'])
            if '0' in args:
                self.assertEqual(len(mine), right['end'])

    def test_flow_figures(self):
        """Figures of each direction from its own samples."""
        self.generate(['--seed', '11', '--flows', '40'])
        doc = json.loads(run(VNETSCOPE, 'rtt', '-r', self.pcap, '--kinds', 'tcp', '--method',
                             'ts', '--flows',
                             '--json'))
        judge = by_direction(rtt_ref.read(self.pcap))
        doc['flows'] = [f for f in doc['flows'] if f['method'] == 'ts']  # not the handshakes
        self.assertEqual(len(doc['flows']), len(judge))
        for f in doc['flows']:
            v = sorted(judge[f['src'], f['sport'], f['dst'], f['dport']])
            r = f['rtt_ns']
            self.assertEqual((f['samples'], r['min'], r['max']), (len(v), v[0], v[-1]))
            self.assertAlmostEqual(r['mean'], statistics.mean(v), delta=0.01)
            self.assertAlmostEqual(r['stddev'], statistics.stdev(v) if len(v) > 1 else 0,
                                   delta=0.01 + 1e-9 * r['stddev'])
            for name, q in (('p50', 50), ('p95', 95), ('p99', 99)):
                exact = v[-(-len(v) * q // 100) - 1]
                self.assertLessEqual(abs(r[name] - exact), 0.01 * exact)
        total = doc['totals']['methods']['ts']
        self.assertEqual(total['samples'], sum(len(v) for v in judge.values()))
        self.assertEqual(total['rtt_ns']['min'], min(min(v) for v in judge.values()))

    @unittest.skipUnless(shutil.which('tshark'), 'tshark is not installed')
    def test_against_tshark(self):
        self.generate(['--seed', '12'])
        self.assertEqual(sorted(engine_samples(self.pcap)), sorted(tshark_samples(self.pcap)))

    @unittest.skipUnless(shutil.which('tshark'), 'tshark is not installed')
    def test_minimum_against_ack_rtt(self):
        """tcp.analysis.ack_rtt is another definition (by sequence numbers): over many samples the
        minimum of a direction agrees. A timestamp sample may only be higher (delayed ACK, tick)."""
        self.generate(['--seed', '13', '--flows', '10', '--loss', '0'])
        text = run('tshark', '-r', self.pcap, '-Y', 'tcp.analysis.ack_rtt', '-T', 'fields',
                   *[x for f in ('ip.dst', 'ipv6.dst', 'tcp.dstport', 'ip.src', 'ipv6.src',
                                 'tcp.srcport', 'tcp.analysis.ack_rtt') for x in ('-e', f)])
        theirs = collections.defaultdict(list)
        for line in text.splitlines():
            w = line.split('\t')
            theirs[w[0] or w[1], int(w[2]), w[3] or w[4], int(w[5])].append(float(w[6]) * 1e9)
        mine = by_direction(engine_samples(self.pcap))
        close = [abs(min(v) - min(theirs[k])) <= 0.01 * min(v) + 1000
                 for k, v in mine.items() if len(v) >= 50 and k in theirs]
        print(f'{sum(close)} of {len(close)} minima within 1 % of tcp.analysis.ack_rtt',
              file=sys.stderr)
        self.assertGreaterEqual(len(close), 4)
        self.assertGreaterEqual(sum(close), 0.8 * len(close))


if __name__ == '__main__':
    VNETSCOPE, GENCAP = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
