# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks share: generated captures, runs with CPU, memory and wall time, the machine."""
import argparse
import datetime
import glob
import hashlib
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


def options(doc):
    p = argparse.ArgumentParser(description=doc.splitlines()[0])
    for name in ('vnetscope', 'gencap', 'floor', 'pcapcount', 'usage'):
        p.add_argument('--' + name, required=True)
    p.add_argument('--cache', default=CACHE, help='folder of the captures')
    p.add_argument('--rounds', type=int, default=3)
    return p


def parse(p):
    opts = p.parse_args(sys.argv[1:] + os.environ.get('BENCH_ARGS', '').split())
    opts.progress = sys.stderr.isatty()
    return opts


class Generated:
    """Files made by vns-gencap with @args; named by what they depend on."""

    def __init__(self, opts, name, *args, truth=False):
        with open(opts.gencap, 'rb') as f:
            seed = f.read() + repr((args, truth)).encode()
        self.name = name
        self.args = args
        self.stem = os.path.join(opts.cache, name + '-' + hashlib.sha256(seed).hexdigest()[:12])
        self.twin = args[0] == 'twin'
        self.files = [self.stem + s for s in ('.host.pcap', '.guest.pcap')] if self.twin else \
            [self.stem + '.pcap']
        self.truth = self.stem + '.csv' if truth else None
        made = self.files + ([self.truth] if truth else [])
        if not all(map(os.path.exists, made)):
            self.make(opts, args, made)
        count = subprocess.run([opts.pcapcount, *self.files], check=True, capture_output=True)
        self.packets = int(count.stdout)  # also warms the page cache
        self.bytes = sum(map(os.path.getsize, self.files))

    def make(self, opts, args, made):
        os.makedirs(opts.cache, exist_ok=True)
        print('generating %s ...' % os.path.basename(self.stem), file=sys.stderr, flush=True)
        new = [f + '.new' for f in made]
        where = ['--host', new[0], '--guest', new[1]] if self.twin else ['--out', new[0]]
        if self.truth:
            where += ['--truth', new[-1]]
        r = subprocess.run([opts.gencap, *args, *where], stderr=subprocess.PIPE, text=True)
        if r.returncode:
            sys.exit(r.stderr.strip())
        for f, final in zip(new, made):
            os.rename(f, final)
        for old in glob.glob(glob.escape(self.stem[:-12]) + '?' * 12 + '.*'):
            if old not in made:
                os.unlink(old)  # made by another generator or with other options


class Result:
    """Runs of one command on one capture."""

    def __init__(self, name, packets):
        self.name, self.packets = name, packets
        self.cpu, self.wall, self.peaks = [], [], []
        self.failed = False

    cpu_s = property(lambda self: statistics.median(self.cpu))
    wall_s = property(lambda self: statistics.median(self.wall))
    peak_mb = property(lambda self: max(self.peaks))
    speed = property(lambda self: self.packets / self.cpu_s)
    spread = property(lambda self: (max(self.cpu) - min(self.cpu)) / self.cpu_s)

    def as_dict(self):
        return {'command': self.name, 'failed': True} if self.failed else {
            'command': self.name, 'cpu_s': self.cpu_s, 'all_cpu_s': self.cpu,
            'wall_s': self.wall_s, 'peak_mb': self.peak_mb, 'packets_per_cpu_s': self.speed}


def run(opts, argv, result):
    """One run of @argv into @result."""
    r = subprocess.run([opts.usage, str(LIMIT_S), *argv], stdout=subprocess.PIPE, text=True)
    if r.returncode:
        result.failed = True
        return
    cpu, kb, wall = r.stdout.split()
    result.cpu.append(float(cpu))
    result.peaks.append(int(kb) / 1024)
    result.wall.append(float(wall))


def bench(opts, packets, commands, slow=()):
    """Interleaved rounds, each in another order; commands named in @slow run once."""
    results = {name: Result(name, packets) for name, _ in commands}
    for r in range(opts.rounds):
        order = [c for c in commands if r == 0 or c[0] not in slow]
        random.Random(r).shuffle(order)
        for name, argv in order:
            if opts.progress:
                print('round %d of %d: %s' % (r + 1, opts.rounds, name), file=sys.stderr)
            if not results[name].failed:
                run(opts, argv, results[name])
    return results


def installed(*commands):
    """Those whose program is there."""
    return [(name, argv) for name, argv in commands if shutil.which(argv[0])]


def floors(opts, capture):
    return [('mapped walk (floor)', [opts.floor, *capture.files]),
            ('libpcap, count only', [opts.pcapcount, *capture.files])]


def has_option(opts, command, option):
    out = subprocess.run([opts.vnetscope, command, '--help'], capture_output=True, text=True)
    return option in out.stdout + out.stderr


def machine():
    """One line: processor, cores, memory, kernel; and the day."""
    def grep(path, key):
        with open(path) as f:
            for line in f:
                if line.startswith(key):
                    return line.split(':', 1)[1].strip()
        return 'unknown'
    kb = int(grep('/proc/meminfo', 'MemTotal').split()[0])
    system = ''
    try:
        with open('/etc/os-release') as f:
            system = dict(x.rstrip().split('=', 1) for x in f if '=' in x)['PRETTY_NAME'].strip('"')
    except (OSError, KeyError):
        pass
    return '%s, %d cores, %.0f GB, Linux %s, %s; %s' % (
        grep('/proc/cpuinfo', 'model name'), len(os.sched_getaffinity(0)), kb / 1024**2,
        os.uname().release, system, datetime.date.today().isoformat())


def noise(opts):
    """How busy the machine was: load average at start, told in the documents."""
    return '%.1f' % os.getloadavg()[0]


def table(head, rows, align=None):
    """A Markdown table."""
    align = align or ['l'] + ['r'] * (len(head) - 1)
    bar = {'l': ':--', 'r': '--:'}
    lines = ['| ' + ' | '.join(head) + ' |', '| ' + ' | '.join(bar[a] for a in align) + ' |']
    lines += ['| ' + ' | '.join(row) + ' |' for row in rows]
    return '\n'.join(lines) + '\n'


def write(path, text):
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    with open(path + '.new', 'w') as f:
        f.write(text)
    os.rename(path + '.new', path)
