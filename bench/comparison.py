#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope rtt beside tcptrace, tshark and tcpdump: the same captures, the same run, the same truth.

Speed and memory come from wait4 (usage.c). Samples are held against what vns-gencap knows: the
least round trip that each direction of each flow can show, so a minimum below it is an error, and
one far above it is no measurement of the path.
"""
import collections
import csv
import ipaddress
import json
import subprocess
import sys

from common import Generated, bench, installed, has_option, machine, noise, options, parse, table, write

CASES = (
    ('Mixed traffic', 'a fifth IPv6, 10 % in VLANs, 5 % without timestamps, 0.5 % lost on either '
     'side of the capture point', []),
    ('Losses and reordering', '3 % lost, 2 % reordered', ['--loss', '3', '--reorder', '2']),
    ('Without timestamps', 'no flow has TCP timestamps', ['--no-ts', '100']),
    ('IPv6 in VLANs', 'every packet', ['--ipv6', '100', '--vlan', '100']),
)
# A minimum counts as right within this of the least possible round trip.
CLOSE = 0.05
TCPTRACE_STEP_NS = 100000  # it prints 0.1 ms

HEAD = '''# Comparison

Written by `make comparison` (bench/comparison.py); do not edit. %s; load average at the start: %s.

The same captures for all, in one run: about %d packets and %d flows each, snap length 96, nanosecond
stamps, made by `vns-gencap` with the truth beside them. CPU is user and system time, page cache
warm. tcptrace, tshark and tcpdump are Debian's (%s).

- *directions*: of the flow directions that the generator says can show a round trip at all (TCP, both
  directions captured), those for which the tool gives one.
- *below truth*: directions whose minimum is lower than the least round trip possible.
- *minimum right*: of the directions given, those whose minimum is within 5 %% of that least round trip.
  tcptrace prints steps of 0.1 ms and gets half a step more either way, which for round trips of
  tens of microseconds forgives much.
- *minimum / truth*: median over the directions given.

tcptrace and tshark match sequence numbers with acknowledgements; tcpdump only shows what reading and
writing costs. Where methods differ in what they count as a sample: [rtt-peers](rtt-peers.md).
Cost against size: [performance](performance.md).
'''


def truth_of(path):
    """{(src, sport, dst, dport): least round trip, ns} of directions that can show one; ports used
    twice are left out, since peers that merge connections could not be held to either."""
    floor, seen = {}, collections.Counter()
    with open(path) as f:
        for c in (line.rstrip('\n').split(',') for line in f):
            if c[0] == 'F' and c[1] == '6':
                key = (plain(c[2]), int(c[3]), plain(c[4]), int(c[5]))
                seen[key] += 1
                if int(c[7]) and not int(c[12]):
                    floor[key] = int(c[6])
    return {k: v for k, v in floor.items() if seen[k] == 1 and
            seen[k[2], k[3], k[0], k[1]] == 1}


def plain(address):
    """One spelling of an address."""
    return ipaddress.ip_address(address).compressed


def stdout(argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True).stdout.splitlines()


def ours(opts, f, *more):
    """Return: samples, {direction: minimum}."""
    doc = json.loads('\n'.join(stdout([opts.vnetscope, 'rtt', '-r', f, '--json', '--flows', *more])))
    least, n = {}, 0
    for d in doc['flows']:
        if d.get('method', 'ts') not in ('ts', 'seq'):
            continue
        key = (plain(d['src']), d['sport'], plain(d['dst']), d['dport'])
        least[key] = min(d['rtt_ns']['min'], least.get(key, 1 << 62))
        n += d['samples']
    return n, least


def tcptrace(f):
    least, n = {}, 0
    lines = [x for x in stdout(['tcptrace', '-n', '-r', '-l', '--csv', f])
             if x.strip() and not x.startswith('#')]
    for row in csv.DictReader(lines):
        row = {k: (v or '').strip() for k, v in row.items() if k}
        a, b = ((plain(row['host_' + x]), int(row['port_' + x]))
                for x in 'ab')
        for src, dst, way in ((a, b, 'a2b'), (b, a, 'b2a')):
            samples = int(row['RTT_samples_' + way])
            n += samples
            if samples:
                least[src + dst] = int(float(row['RTT_min_' + way]) * 1e6)
    return n, least


TSHARK = ['-Y', 'tcp.analysis.ack_rtt', '-T', 'fields', '-E', 'separator=,']
for field in ('ip.src', 'ipv6.src', 'tcp.srcport', 'ip.dst', 'ipv6.dst', 'tcp.dstport',
              'tcp.analysis.ack_rtt'):
    TSHARK += ['-e', field]


def tshark(f):
    """ack_rtt stands on the acknowledgement: the direction is the other one."""
    least, n = {}, 0
    for line in stdout(['tshark', '-n', '-r', f, *TSHARK]):
        v4_from, v6_from, sport, v4_to, v6_to, dport, rtt = line.split(',')
        key = (plain(v4_to or v6_to), int(dport), plain(v4_from or v6_from), int(sport))
        ns = round(float(rtt) * 1e9)
        least[key] = min(ns, least.get(key, ns))
        n += 1
    return n, least


def judge(least, floor, step_ns):
    """Cells: directions, below truth, minimum right, minimum / truth."""
    given = {k: v for k, v in least.items() if k in floor}
    if not given:
        return ['0 %', '-', '-', '-']
    half = step_ns // 2
    below = sum(v + half < floor[k] for k, v in given.items())
    right = sum(abs(v - floor[k]) <= max(CLOSE * floor[k], half) for k, v in given.items())
    ratio = sorted(v / floor[k] for k, v in given.items())[len(given) // 2]
    return ['%.1f %%' % (100 * len(given) / len(floor)), str(below),
            '%.1f %%' % (100 * right / len(given)), '%.3f' % ratio]


def tools(opts, f):
    """[(name, command for speed, reader of samples or None, print step)]."""
    rtt = [opts.vnetscope, 'rtt', '-r', f]
    methods = [('vnetscope rtt', [])]
    if has_option(opts, 'rtt', '--method'):
        methods = [('vnetscope rtt --method ' + m, ['--method', m]) for m in ('ts', 'seq')]
    out = [(name, rtt + more, lambda more=more: ours(opts, f, *more), 0) for name, more in methods]
    peers = {'tcptrace': (['tcptrace', '-n', '-r', '-l', f], lambda: tcptrace(f), TCPTRACE_STEP_NS),
             'tshark': (['tshark', '-n', '-r', f, *TSHARK], lambda: tshark(f), 0),
             'tcpdump': (['tcpdump', '-r', f, '-w', '/dev/null'], None, 0)}
    names = {'tcptrace': 'tcptrace -n -r -l', 'tshark': 'tshark, tcp.analysis.ack_rtt',
             'tcpdump': 'tcpdump -w /dev/null'}
    for name, argv in installed(*((n, [n]) for n in peers)):
        out.append((names[name], *peers[name]))
    return out


def compare(opts, title, words, more):
    capture = Generated(opts, 'compare-' + title.split()[0].lower(), 'rtt', '--packets',
                      str(opts.packets), '--flows', str(opts.flows), '--snap', '96', *more,
                      truth=True)
    floor = truth_of(capture.truth)
    rows = tools(opts, capture.files[0])
    results = bench(opts, capture.packets, [(name, argv) for name, argv, _, _ in rows],
                    slow=('tshark, tcp.analysis.ack_rtt',))
    cells = []
    for name, _, read, step in rows:
        r = results[name]
        if r.failed:
            cells.append([name, 'failed'] + [''] * 6)
            continue
        speed = ['%.3g' % (r.speed / 1e6), '%.0f' % r.peak_mb]
        if not read:
            cells.append([name, *speed] + ['-'] * 5)
            continue
        n, least = read()
        cells.append([name, *speed, str(n), *judge(least, floor, step)])
    text = '\n## %s\n\n%s: %d packets, %d directions can show a round trip.\n\n`vns-gencap %s`\n\n' % (
        title, words[0].upper() + words[1:], capture.packets, len(floor), ' '.join(capture.args))
    text += table(['', 'M packets / CPU s', 'peak MB', 'samples', 'directions', 'below truth',
                   'minimum right', 'minimum / truth'], cells)
    print(text, flush=True)
    return text


def versions():
    """Debian's versions of the peers."""
    out = []
    for name in ('tcptrace', 'tshark', 'tcpdump'):
        r = subprocess.run(['dpkg-query', '-W', '-f', '${Version}', name], capture_output=True,
                           text=True)
        out.append('%s %s' % (name, r.stdout if r.returncode == 0 else 'not installed'))
    return ', '.join(out)


def main():
    p = options(__doc__)
    p.add_argument('--packets', type=int, default=250000)
    p.add_argument('--flows', type=int, default=1250)
    p.add_argument('--doc', metavar='FILE', help='write Markdown there')
    opts = parse(p)
    text = HEAD % (machine(), noise(opts), opts.packets, opts.flows, versions())
    text += ''.join(compare(opts, *case) for case in CASES)
    if opts.doc:
        write(opts.doc, text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
