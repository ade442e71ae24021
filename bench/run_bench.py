#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU and memory of offline commands on generated captures, beside floors and peers, as ratios.

Every command runs once per round, in another order each round; user + system CPU, wall time and peak
memory come from wait4 (usage.c). Medians are printed, and written as Markdown with plots to --doc.
A machine's figures say little; ratios within one run do. Captures are made once and kept in a
cache folder (about 4 GB; delete it at will).
"""
import json
import os
import sys

import plot
from common import (Generated, bench, floors, has_option, installed, machine, noise, options, parse,
                    table, write)

GROWTH = (10**5, 3 * 10**5, 10**6, 3 * 10**6, 10**7)
FLOWS = (10**2, 10**3, 10**4, 10**5, 10**6)
ROUND_TRIP_US = (10**3, 10**4, 10**5, 10**6)
# M packets / CPU s of libpcap's count on the machine that the goals of speed were set on.
LIBPCAP_M = 22

HEAD = '''# Performance

Written by `make bench` (bench/run_bench.py); do not edit. %s; load average at the start: %s.

CPU is user and system time together, the median of %d interleaved rounds with the captures in the
page cache; spread is (highest - lowest) / median. Peak memory is the process's; a mapped file counts as memory of
whoever maps it. Absolute figures are this machine's: compare the ratios within one table. `libpcap,
count only` is a loop over `pcap_next_ex()`; the floor maps the file and touches every byte. The goals
of speed were set on a machine where that loop made 22 M packets / CPU s: each stands as a ratio as well.
'''


def rtt(opts, f, *more):
    return [opts.vnetscope, 'rtt', '-r', f, *more]


def rows_of(results):
    base = results['libpcap, count only'].cpu_s
    out = []
    for r in results.values():
        out.append([r.name, 'failed'] + [''] * 5 if r.failed else
                   [r.name, '%.2f' % r.cpu_s, '%.0f %%' % (100 * r.spread), '%.2f' % r.wall_s,
                    '%.2f' % (r.speed / 1e6), '%.2f' % (base / r.cpu_s), '%.0f' % r.peak_mb])
    return out


def section(title, capture, results):
    """Markdown and the rows for --json."""
    text = '\n## %s\n\n%.2f M packets, %.0f MB: `vns-gencap %s`\n\n' % (
        title, capture.packets / 1e6, capture.bytes / 1e6, ' '.join(capture.args))
    text += table(['command', 'CPU s', 'spread', 'wall s', 'M packets / CPU s', 'speed of libpcap',
                   'peak MB'], rows_of(results))
    print(text, flush=True)
    return text, {'title': title, 'packets': capture.packets,
                  'rows': [r.as_dict() for r in results.values()]}


def large(opts, flows, peers):
    capture = Generated(opts, 'rtt-%d' % flows, 'rtt', '--packets', str(opts.packets), '--flows',
                      str(flows), '--snap', '96', '--microsecond')
    f = capture.files[0]
    commands = floors(opts, capture) + [
        ('vnetscope rtt -r', rtt(opts, f)), ('vnetscope rtt -r -j 2', rtt(opts, f, '-j', '2')),
        ('vnetscope rtt -r --json --flows', rtt(opts, f, '--json', '--flows'))]
    if peers:
        commands += installed(('tcpdump -w /dev/null', ['tcpdump', '-r', f, '-w', '/dev/null']),
                              ('tcptrace -n -r -l', ['tcptrace', '-n', '-r', '-l', f]))
    return capture, bench(opts, capture.packets, commands, slow=('tcptrace -n -r -l',))


def bench_rtt(opts, doc):
    capture, results = large(opts, opts.packets * 96 // 10000, opts.peers)
    doc.add(section('rtt, 96,000 flows, snap length 96', capture, results))
    doc.goal('rtt -r, 96,000 flows: M packets / CPU s', 15, results['vnetscope rtt -r'].speed / 1e6)
    doc.relative(results, 'vnetscope rtt -r', 15)
    doc.goal('the same: peak MB', -150, results['vnetscope rtt -r'].peak_mb)
    one, two = results['vnetscope rtt -r'], results['vnetscope rtt -r -j 2']
    doc.goal('-j 2: times faster in wall time', 1.5, one.wall_s / two.wall_s)
    capture, results = large(opts, opts.packets // 10, False)
    doc.add(section('rtt, one flow per 10 packets', capture, results))
    doc.goal('rtt -r, 1 M flows: M packets / CPU s', 6, results['vnetscope rtt -r'].speed / 1e6)
    doc.relative(results, 'vnetscope rtt -r', 6)
    doc.goal('the same: peak MB', -1024, results['vnetscope rtt -r'].peak_mb)


def bench_vo(opts, doc):
    for name, more in (('default offloads', ['--offload', 'same']),
                       ('other segmentation on either side', ['--offload', 'regroup'])):
        capture = Generated(opts, 'vo-' + more[1], 'twin', '--packets', str(opts.packets // 5),
                          '--flows', '2000', '--duration', '60', '--snap', '96', *more)
        a, b = capture.files
        vo = [opts.vnetscope, 'vo', '--host', a, '--guest', b, '--offset-ns', '0']
        commands = floors(opts, capture) + [('vnetscope vo --host --guest', vo),
                                            ('vnetscope vo -j 2', vo + ['-j', '2'])]
        results = bench(opts, capture.packets, commands)
        doc.add(section('vo, 2000 flows, snap length 96, ' + name, capture, results))
        one, two = results['vnetscope vo --host --guest'], results['vnetscope vo -j 2']
        what = 'vo, both files together' if more[1] == 'same' else 'vo, cut differently at the points'
        if not one.failed:
            doc.goal(what + ': M packets / CPU s', 8, one.speed / 1e6)
            doc.relative(results, one.name, 8)
            doc.goal('the same: peak MB', -128, one.peak_mb)
            doc.goal('the same, -j 2: times faster in wall time', 1.5, one.wall_s / two.wall_s)


def grow(opts, doc, name, title, x_label, captures):
    """ns per packet and MB against what grows. @captures: [(x, capture)]."""
    methods = [('rtt', [])]
    if has_option(opts, 'rtt', '--method'):
        methods = [('ts', ['--method', 'ts']), ('seq', ['--method', 'seq'])]
    ns, mb, rows = {}, {}, []
    for x, capture in captures:
        f = capture.files[0]
        commands = [(m, rtt(opts, f, *more)) for m, more in methods]
        commands.append(('libpcap, count only', [opts.pcapcount, f]))
        results = bench(opts, capture.packets, commands)
        row = [plot.si(x)] + ([] if name == 'packets' else [plot.si(capture.packets)])
        for m, _ in methods + [('libpcap, count only', [])]:
            r = results[m]
            ns.setdefault(m, []).append((x, 1e9 / r.speed))
            row.append('%.0f' % (1e9 / r.speed))
            if m != 'libpcap, count only':
                mb.setdefault(m, []).append((x, r.peak_mb))
                row.append('%.0f' % r.peak_mb)
        rows.append(row)
    head = [x_label] + ([] if name == 'packets' else ['packets'])
    for m, _ in methods:
        head += [m + ': ns per packet', 'peak MB']
    doc.plot('performance-%s.svg' % name, plot.lines(title, x_label, 'CPU ns per packet',
                                                     list(ns.items())))
    doc.plot('performance-%s-memory.svg' % name, plot.lines(title, x_label, 'peak MB',
                                                            list(mb.items())))
    text = '\n## %s\n\n`vnetscope rtt -r FILE`.\n\n' % title
    text += table(head + ['libpcap: ns per packet'], rows)
    text += '\n![CPU](performance-%s.svg)\n![memory](performance-%s-memory.svg)\n' % (name, name)
    print(text, flush=True)
    doc.add((text, {'title': title, 'rows': rows}))


def bench_growth(opts, doc):
    def rtt_capture(name, packets, flows, *more):
        return Generated(opts, name, 'rtt', '--packets', str(packets), '--flows', str(flows),
                       '--snap', '96', '--microsecond', *more)
    sizes = [n for n in GROWTH if n <= opts.packets]
    grow(opts, doc, 'packets', 'How cost grows with packets', 'packets',
         [(n, rtt_capture('grow-%d' % n, n, max(n // 100, 1))) for n in sizes])
    packets = min(4 * 10**6, opts.packets)
    grow(opts, doc, 'flows', 'How cost grows with flows', 'flows',
         [(n, rtt_capture('flows-%d' % n, packets, n)) for n in FLOWS if n <= packets])
    packets = min(10**6, opts.packets)
    grow(opts, doc, 'outstanding', 'How cost grows with outstanding data', 'round trip, us',
         [(us, rtt_capture('wait-%d' % us, packets, 200, '--duration', '20', '--rtt-left',
                           '%d:%d' % (us, us))) for us in ROUND_TRIP_US])


class Document:
    """What is written: sections in order, plots beside, goals in front."""

    def __init__(self):
        self.sections, self.plots, self.goals, self.json = [], {}, [], []

    def add(self, section_and_rows):
        self.sections.append(section_and_rows[0])
        self.json.append(section_and_rows[1])

    def plot(self, name, svg):
        self.plots[name] = svg

    def goal(self, what, bound, value):
        """@bound > 0: at least so much; < 0: at most."""
        met = value >= bound if bound > 0 else value <= -bound
        self.goals.append([what, ('at least %g' if bound > 0 else 'at most %g') % abs(bound),
                           '%.3g' % value, 'yes' if met else '**no**'])

    def relative(self, results, name, goal):
        """The same goal as a ratio, for machines other than the one it was set on."""
        self.goal('the same: speed of libpcap counting', round(goal / LIBPCAP_M, 2),
                  results[name].speed / results['libpcap, count only'].speed)

    def write(self, path, opts, load):
        text = HEAD % (machine(), load, opts.rounds)
        if self.goals:
            text += '\n## Against the goals\n\n' + table(['', 'goal', 'here', 'met'], self.goals)
        write(path, text + ''.join(self.sections) +
              '\nBeside peers, with their samples held against the truth: [comparison](comparison.md).\n')
        for name, svg in self.plots.items():
            write(os.path.join(os.path.dirname(path), name), svg)


def main():
    p = options(__doc__)
    p.add_argument('--packets', type=int, default=10**7, help='of the largest captures')
    p.add_argument('--only', choices=('rtt', 'vo', 'growth'))
    p.add_argument('--no-peers', dest='peers', action='store_false',
                   help='leave out tcpdump and tcptrace')
    p.add_argument('--json', metavar='FILE', help='also write the results there')
    p.add_argument('--doc', metavar='FILE', help='write Markdown there, plots beside it')
    opts = parse(p)
    load, doc = noise(opts), Document()
    for name, what in (('rtt', bench_rtt), ('vo', bench_vo), ('growth', bench_growth)):
        if opts.only in (None, name):
            what(opts, doc)
        if opts.doc:  # after each part: what is broken off leaves what it has
            doc.write(opts.doc, opts, load)
    print(table(['', 'goal', 'here', 'met'], doc.goals))
    if opts.json:
        with open(opts.json, 'w') as f:
            json.dump({'schema': 'vnetscope.bench/2', 'machine': machine(), 'load': load,
                       'results': doc.json, 'goals': doc.goals}, f, indent=1)
    return 0


if __name__ == '__main__':
    sys.exit(main())
