#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU and memory of offline commands on generated captures, beside floors and peers, as ratios.

Every command runs once per round, in another order each round; user + system CPU and peak memory
come from wait4 (usage.c). Medians are printed. A machine's figures say little; ratios within one run do.
Captures are made once and kept in a cache folder (about 1.2 GB; delete it at will).
"""
import argparse
import glob
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys

# One run may take so long; what takes longer has failed.
LIMIT_S = 120
CACHE = os.path.join(os.environ.get('XDG_CACHE_HOME', os.path.expanduser('~/.cache')),
                     'vnetscope', 'bench')


class Capture:
    """Files made by vns-gencap with @args; named by what they depend on."""

    def __init__(self, opts, name, *args):
        with open(opts.gencap, 'rb') as f:
            seed = f.read() + repr(args).encode()
        self.stem = os.path.join(opts.cache, name + '-' + hashlib.sha256(seed).hexdigest()[:12])
        self.twin = args[0] == 'twin'
        self.files = [self.stem + s for s in ('.host.pcap', '.guest.pcap')] if self.twin else \
            [self.stem + '.pcap']
        if not all(map(os.path.exists, self.files)):
            self.make(opts, args)
        count = subprocess.run([opts.pcapcount, *self.files], check=True, capture_output=True)
        self.packets = int(count.stdout)  # also warms the page cache

    def make(self, opts, args):
        os.makedirs(opts.cache, exist_ok=True)
        print('generating %s ...' % os.path.basename(self.stem), file=sys.stderr, flush=True)
        new = [f + '.new' for f in self.files]
        where = ['--host', new[0], '--guest', new[1]] if self.twin else ['--out', new[0]]
        r = subprocess.run([opts.gencap, *args, *where], stderr=subprocess.PIPE, text=True)
        if r.returncode:
            sys.exit(r.stderr.strip())
        for f, final in zip(new, self.files):
            os.rename(f, final)
        for old in glob.glob(self.stem[:-12] + '?' * 12 + '*.pcap'):
            if old not in self.files:
                os.unlink(old)  # made by another generator or with other options


def run(opts, argv):
    """Return: (CPU seconds, peak MB) of one run; None when it failed."""
    r = subprocess.run([opts.usage, str(LIMIT_S), *argv], stdout=subprocess.PIPE, text=True)
    if r.returncode:
        return None
    cpu, kb = r.stdout.split()
    return float(cpu), int(kb) / 1024


def installed(*commands):
    """Those whose program is there."""
    return [(name, argv) for name, argv in commands if shutil.which(argv[0])]


def bench(title, capture, commands, opts):
    """Interleaved rounds. Return: the rows printed."""
    rows = {name: [] for name, _ in commands}
    failed = set()
    for r in range(opts.rounds):
        order = list(commands)
        random.Random(r).shuffle(order)
        for name, argv in order:
            if opts.progress:
                print('round %d of %d: %s' % (r + 1, opts.rounds, name), file=sys.stderr)
            result = run(opts, argv) if name not in failed else None
            if result is None:
                failed.add(name)
            else:
                rows[name].append(result)
    return report(title, capture, rows, failed)


def report(title, capture, rows, failed):
    size = sum(map(os.path.getsize, capture.files)) / 1e6
    print('\n%s: %.2f M packets, %.0f MB' % (title, capture.packets / 1e6, size))
    print('  %-34s %9s %9s %11s %9s %9s' % ('', 'CPU s', 'spread', 'M pkt/CPU s', 'of libpcap',
                                            'peak MB'))
    base = statistics.median(c for c, _ in rows['libpcap, count only'])
    out = []
    for name, runs in rows.items():
        if name in failed:
            print('  %-34s failed' % name)
            continue
        cpu = [c for c, _ in runs]
        mid, peak = statistics.median(cpu), max(m for _, m in runs)
        print('  %-34s %9.2f %8.0f%% %11.2f %9.2fx %9.0f' % (
            name, mid, 100 * (max(cpu) - min(cpu)) / mid, capture.packets / mid / 1e6,
            base / mid, peak), flush=True)
        out.append({'command': name, 'cpu_s': mid, 'all_cpu_s': cpu, 'peak_mb': peak,
                    'packets_per_cpu_s': capture.packets / mid, 'speed_of_libpcap': base / mid})
    return {'title': title, 'packets': capture.packets, 'rows': out}


def floors(opts, capture):
    return [('mapped walk (floor)', [opts.floor, *capture.files]),
            ('libpcap, count only', [opts.pcapcount, *capture.files])]


def bench_rtt(opts):
    capture = Capture(opts, 'rtt', 'rtt', '--packets', str(opts.packets), '--flows',
                      str(max(opts.packets // 100, 1)), '--snap', '96', '--microsecond')
    f = capture.files[0]
    commands = floors(opts, capture) + [
        ('vnetscope rtt -r', [opts.vnetscope, 'rtt', '-r', f]),
        ('vnetscope rtt -r --json --flows', [opts.vnetscope, 'rtt', '-r', f, '--json', '--flows']),
    ] + installed(('tcpdump -w /dev/null', ['tcpdump', '-r', f, '-w', '/dev/null']))
    results = [bench('rtt, snap 96, one flow per 100 packets', capture, commands, opts)]
    small = Capture(opts, 'small', 'rtt', '--packets', '200000', '--flows', '2000', '--snap', '96',
                    '--microsecond')
    f = small.files[0]
    slow = installed(
        ('tcptrace -n -r -l', ['tcptrace', '-n', '-r', '-l', f]),
        ('tshark ack_rtt', ['tshark', '-n', '-r', f, '-Y', 'tcp.analysis.ack_rtt', '-T', 'fields',
                            '-e', 'tcp.analysis.ack_rtt']))
    if slow and opts.peers:
        commands = floors(opts, small) + [('vnetscope rtt -r', [opts.vnetscope, 'rtt', '-r', f])]
        results.append(bench('rtt, small enough for the slow', small, commands + slow, opts))
    return results


def bench_vo(opts):
    results = []
    for name, more in (('default offloads', ['--offload', 'same']),
                       ('other segmentation on either side', ['--offload', 'regroup'])):
        capture = Capture(opts, 'vo-' + more[1], 'twin', '--packets', str(opts.packets // 5),
                          '--flows', '2000', '--duration', '60', '--snap', '96', *more)
        a, b = capture.files
        commands = floors(opts, capture) + [
            ('vnetscope vo --host --guest', [opts.vnetscope, 'vo', '--host', a, '--guest', b,
                                             '--offset-ns', '0'])]
        results.append(bench('vo, snap 96, 2000 flows, ' + name, capture, commands, opts))
    return results


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ('vnetscope', 'gencap', 'floor', 'pcapcount', 'usage'):
        p.add_argument('--' + name, required=True)
    p.add_argument('--cache', default=CACHE, help='folder of the captures')
    p.add_argument('--packets', type=int, default=10**7, help='of the large capture')
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--only', choices=('rtt', 'vo'))
    p.add_argument('--no-peers', dest='peers', action='store_false',
                   help='leave out tcptrace and tshark')
    p.add_argument('--json', metavar='FILE', help='also write the results there')
    opts = p.parse_args(os.environ.get('BENCH_ARGS', '').split() + sys.argv[1:])
    opts.progress = sys.stderr.isatty()
    print('CPU is user + system, median of %d interleaved rounds; "of libpcap" is the speed in '
          'libpcap counts.\nA mapped file counts as memory of whoever maps it.' % opts.rounds)
    results = []
    for name, what in (('rtt', bench_rtt), ('vo', bench_vo)):
        if opts.only in (None, name):
            results += what(opts)
    if opts.json:
        with open(opts.json, 'w') as f:
            json.dump({'schema': 'vnetscope.bench/1', 'cpus': os.cpu_count(),
                       'results': results}, f, indent=1)
    return 0


if __name__ == '__main__':
    sys.exit(main())
