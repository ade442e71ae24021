# SPDX-License-Identifier: GPL-3.0-or-later
"""Truth files of vns-gencap -> Python. The format is described in vns-gencap(1)."""
import subprocess


def gencap(program, *args):
    r = subprocess.run([program, *map(str, args)], capture_output=True, text=True, timeout=900)
    if r.returncode:
        raise AssertionError('vns-gencap %s: exit %d: %s' % (args, r.returncode, r.stderr))


def rows(path):
    with open(path) as f:
        for line in f:
            yield line.rstrip('\n').split(',')


def rtt(path):
    """{(src, sport, dst, dport, at_ns): (rtt_ns, tsval, net_ns, kind)}, [F rows]."""
    samples, flows = {}, []
    for c in rows(path):
        if c[0] == 'S':
            key = (c[1], int(c[2]), c[3], int(c[4]), int(c[5]))
            samples[key] = (int(c[6]), int(c[7]), int(c[8]), c[9])
        elif c[0] == 'F':
            flows.append(c)
    return samples, flows


def twin(path):
    """([P rows of A], [of B]), {(dir, proto, t_a, t_b): row of the first byte's sample}."""
    points, samples = ([], []), {}
    for c in rows(path):
        if c[0] != 'P':
            continue
        points['AB'.index(c[1])].append(c)
        if c[9]:
            samples[c[4], proto(c), int(c[9]), int(c[10])] = c
    return points, samples


def proto(row):
    return {'6': 'tcp', '17': 'udp', '1': 'icmp', '58': 'icmp'}.get(row[5], 'none')


def class_bounds(point_rows):
    """{class: (lowest, highest count)} that a right engine may report for one point."""
    low, high = {}, {}
    for row in point_rows:
        others = set(row[8].split('|')) - {'-', row[7]}
        if not others:
            low[row[7]] = low.get(row[7], 0) + 1
        for name in others | {row[7]}:
            high[name] = high.get(name, 0) + 1
    return {name: (low.get(name, 0), n) for name, n in high.items()}
