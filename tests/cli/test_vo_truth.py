#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope vo on two files against vns-gencap's truth: every figure, class and interval.

argv: vnetscope, vns-gencap.
"""
import json
import math
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import truth  # noqa: E402

VNETSCOPE = GENCAP = None
DIRECTIONS = {'h2g': 'host_to_guest', 'g2h': 'guest_to_host'}
START_NS = 1700000000 * 10**9


class Pair:
    """Two captures, their truth, and what vo makes of them."""

    def __init__(self, case, *args):
        tmp = tempfile.TemporaryDirectory()
        case.addCleanup(tmp.cleanup)
        self.dir, self.case = tmp.name, case
        self.host, self.guest, csv = (os.path.join(tmp.name, n) for n in ('h', 'g', 'truth'))
        truth.gencap(GENCAP, 'twin', '--host', self.host, '--guest', self.guest, '--truth', csv,
                     '--packets', 8000, '--duration', 5, '--flows', 50, *args)
        self.points, self.samples = truth.twin(csv)

    def vo(self, *args, code=0):
        r = subprocess.run([VNETSCOPE, 'vo', '--host', self.host, '--guest', self.guest, '--json',
                            *args], capture_output=True, text=True, timeout=900)
        self.case.assertEqual(r.returncode, code, r.stderr)
        self.stderr = r.stderr
        return json.loads(r.stdout)['targets'][0]

    def latencies(self, direction, proto, column=11):
        """True latencies (sure ones, all): sorted lists."""
        rows = [(row[8] == '-', int(row[column])) for key, row in self.samples.items()
                if key[:2] == (direction, proto) and row[column]]
        return sorted(v for sure, v in rows if sure), sorted(v for _, v in rows)


class Vo(unittest.TestCase):
    def figure(self, got, sure, every, slack=0.0):
        """A distribution against truth; @slack: how far the clock relation may be off."""
        n, spare = got['n'], len(every) - len(sure)
        self.assertTrue(len(sure) <= n <= len(every), (n, len(sure), len(every)))
        self.between(got['min'], every[0], sure[0], slack)
        self.between(got['max'], sure[-1], every[-1], slack)
        self.between(got['mean'] * n, sum(sure), sum(every), (slack + 0.01) * n)
        for name, q in (('p50', 0.5), ('p95', 0.95), ('p99', 0.99)):
            rank = math.ceil(q * len(every)) - 1
            low, high = every[max(rank - spare - 1, 0)], every[min(rank + spare + 1, len(every) - 1)]
            self.between(got[name], low * 0.99, high * 1.01, slack)

    def between(self, v, low, high, slack):
        self.assertTrue(low - slack <= v <= high + slack, (v, low, high, slack))

    def figures(self, pair, target, slack=0.0):
        for short, name in DIRECTIONS.items():
            for proto in ('tcp', 'udp', 'icmp'):
                sure, every = pair.latencies(short, proto)
                got = target['directions'][name][proto]
                self.assertEqual(got['matched'], got['latency_ns']['n'])
                self.figure(got['latency_ns'], sure, every, slack)
        # a last byte may go unfound where a segment was lost; what is found is right
        got = target['directions']['guest_to_host']['udp']['last_byte_ns']
        self.figure(got, *pair.latencies('g2h', 'udp', 14), slack)

    def accounting(self, pair, target):
        for point, name in enumerate(('host', 'guest')):
            got = dict(target['accounting'][name])
            self.assertEqual(got['read'], len(pair.points[point]))
            self.assertEqual(got['capture_lost'], 0)
            classes = {k: got[k] for k in ('matched', 'missing', 'ambiguous', 'outside_window',
                                           'undecodable')}
            self.assertEqual(sum(classes.values()), got['read'])
            bounds = truth.class_bounds(pair.points[point])
            for k, n in classes.items():
                low, high = bounds.get(k, (0, 0))
                self.assertTrue(low <= n <= high, (name, k, n, low, high))

    def test_known_offset(self):
        for offset, args in ((0, []), (123456789, ['--loss', '2']), (-10**12, ['--dup', '1']),
                             (-5, ['--microsecond', '--pcapng']), (10**9, ['--cut', '0.7'])):
            with self.subTest(offset=offset, args=args):
                pair = Pair(self, '--offset-ns', offset, *args)
                target = pair.vo('--offset-ns', str(offset))
                self.assertEqual((target['clock']['offset_ns'], target['clock']['lower_ns'],
                                  target['clock']['upper_ns']), (offset, offset, offset))
                self.figures(pair, target, 1000 if '--microsecond' in args else 0)
                self.accounting(pair, target)
                for proto in ('tcp', 'udp', 'icmp'):
                    c = target['sum_ns'][proto]['check']  # 95 % of them hold 0; all but 1 in 1000:
                    self.assertTrue(c is None or abs(c['difference_ns']) <=
                                    c['upper_ns'] - c['lower_ns'], (proto, c))

    def test_drifting_clock(self):
        """The relation from a drift document; the truth lies in every interval."""
        offset, ppm = 250000000, 80
        pair = Pair(self, '--offset-ns', offset, '--drift-ppm', ppm, '--loss', '1')
        path = os.path.join(pair.dir, 'drift.json')
        piece = {'from_ns': START_NS, 'to_ns': START_NS + 6 * 10**9, 'offset_ns': offset,
                 'drift_ppm': ppm}
        with open(path, 'w') as f:
            json.dump({'schema': 'vnetscope.drift/1', 'target': 'x', 'mode': 'channel',
                       'at_ns': START_NS, 'offset_ns': offset, 'lower_ns': offset - 1000,
                       'upper_ns': offset + 3000, 'drift_ppm': ppm, 'pieces': [piece]}, f)
        target = pair.vo('--drift-file', path)
        # the piece is in the host's time, the generator's drift in true time: 0.5 ns apart
        self.figures(pair, target, 2)
        self.accounting(pair, target)
        # host to guest is raw - offset: the guest further ahead means a shorter latency
        for name, minus, plus in (('host_to_guest', 3000, 1000), ('guest_to_host', 1000, 3000)):
            got = target['directions'][name]['udp']['latency_ns']
            self.assertAlmostEqual(got['err_minus_ns'], minus, delta=2)
            self.assertAlmostEqual(got['err_plus_ns'], plus, delta=2)

    def test_unknown_offset(self):
        """Nothing given: the traffic bounds the offset, and the bound holds the truth."""
        for offset in (0, 3 * 10**6, -7200 * 10**9):
            pair = Pair(self, '--offset-ns', offset, '--loss', '1')
            target = pair.vo()
            clock = target['clock']
            if offset == 0:
                self.assertEqual(clock['mode'], 'same')
                self.figures(pair, target)
                continue
            self.assertTrue(clock['lower_ns'] <= offset <= clock['upper_ns'], clock)
            self.assertLess(clock['upper_ns'] - clock['lower_ns'], 100000)
            for short, name in DIRECTIONS.items():
                sure, every = pair.latencies(short, 'icmp')
                v = target['directions'][name]['icmp']
                low, high = v['interval_ns']['min']
                self.assertTrue(low <= sure[0] and every[0] <= high, (v, sure[0], every[0]))
                self.assertIsNone(v['latency_ns']['min'])
            self.accounting(pair, target)

    def test_unknown_drift(self):
        """Nothing given and the clocks run apart by more than packets take: whose address is whose?"""
        for ppm, seconds in ((20, 300), (200, 60), (-150, 10)):
            pair = Pair(self, '--drift-ppm', ppm, '--duration', seconds, '--packets', 12000,
                        '--seed', 3)
            target = pair.vo()
            middle = ppm * 1e-6 * seconds / 2 * 1e9
            clock = target['clock']
            # the captures do not last to the last second: 1 % of the drift
            self.assertLessEqual(clock['lower_ns'], middle + abs(middle) / 100)
            self.assertGreaterEqual(clock['upper_ns'], middle - abs(middle) / 100)
            self.assertAlmostEqual(clock['drift_ppm'], ppm, delta=1)
            for short, name in DIRECTIONS.items():
                for proto in ('tcp', 'udp', 'icmp'):
                    sure, every = pair.latencies(short, proto)
                    n = target['directions'][name][proto]['matched']
                    self.assertTrue(len(sure) <= n <= len(every), (ppm, name, proto, n, len(every)))

    def test_no_figure_below_the_least(self):
        """Long latencies at a time when the clock is known badly: no interval goes below the minimum's."""
        pair = Pair(self, '--packets', '50000', '--snap', '128', '--offset-ns', 7200 * 10**9,
                    '--drift-ppm', '200', '--step-ns', 3600 * 10**9)
        target = pair.vo()
        for name in DIRECTIONS.values():
            for proto in ('tcp', 'udp', 'icmp'):
                spans = target['directions'][name][proto]['interval_ns']
                for figure, (low, high) in spans.items():
                    self.assertLessEqual(0, low, (name, proto, figure))
                    self.assertLessEqual(spans['min'][0], low, (name, proto, figure))
                    self.assertLess(low, high)

    def test_small_steps(self):
        """A step that the latencies of packets may equal: one bound, finite, on both sides of it."""
        ms = 10**6
        for step in (ms, -ms, 5 * ms, -5 * ms, 50 * ms, -50 * ms, 500 * ms, -500 * ms):
            with self.subTest(step=step):
                pair = Pair(self, '--step-ns', step, '--snap', 128, '--seed', 103)
                target = pair.vo()
                clock = target['clock']
                self.assertNotIn(None, (clock['lower_ns'], clock['upper_ns']))
                self.assertLessEqual(clock['lower_ns'], max(step, 0))
                self.assertGreaterEqual(clock['upper_ns'], min(step, 0))
                steps = [e for e in target['events'] if e['kind'] == 'clock_step']
                # below half of the twins' slack it is the relation's to show, and told as one of its own
                self.assertEqual(len(steps), 1, steps)
                for e in steps:
                    by = float(e['text'].split("the guest's is ")[1].split()[0])
                    self.assertAlmostEqual(by * 1e9, abs(step), delta=ms)
                    self.assertIn('ahead' if step > 0 else 'behind', e['text'])
                    self.assertAlmostEqual(int(e['at_ns']), START_NS + 2500 * ms, delta=100 * ms)
                self.assertFalse([n for n in target['negative'] if n['impossible']])
                for short, name in DIRECTIONS.items():
                    for proto in ('tcp', 'udp', 'icmp'):
                        sure, every = pair.latencies(short, proto)
                        v, spare = target['directions'][name][proto], target['unrelated']
                        self.assertTrue(len(sure) - spare <= v['matched'] <= len(every))
                        low, high = v['interval_ns']['min']
                        self.assertTrue(low <= sure[spare] and every[0] <= high,
                                        (v['interval_ns'], sure[0], every[0]))

    def test_wrong_offset_is_told(self):
        """An offset that makes latencies negative: figures as asked, a sentence, exit 1."""
        pair = Pair(self, '--offset-ns', 0)
        target = pair.vo('--offset-ns', '500000', code=1)
        self.assertLess(target['directions']['host_to_guest']['udp']['latency_ns']['min'], 0)
        self.assertIn('contradicts', pair.stderr)

    def test_threads_change_nothing(self):
        for args in ([], ['--offset-ns', 3600 * 10**9, '--loss', '2', '--dup', '1'],
                     ['--pcapng', '--cut', '0.7', '--reorder', '3']):
            pair = Pair(self, *args)
            one = pair.vo()
            for jobs in ('2', '4', '9'):
                self.assertEqual(pair.vo('-j', jobs), one, (args, jobs))

    def test_filter(self):
        pair = Pair(self, '--vlan', '0')
        target = pair.vo('--offset-ns', '0', '--filter', 'udp')
        self.assertEqual(target['directions']['host_to_guest']['tcp']['matched'], 0)
        sure, every = pair.latencies('h2g', 'udp')
        self.figure(target['directions']['host_to_guest']['udp']['latency_ns'], sure, every)


if __name__ == '__main__':
    GENCAP = sys.argv.pop(2)
    VNETSCOPE = sys.argv.pop(1)
    unittest.main()
