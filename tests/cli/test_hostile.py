#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope rtt on tcpdump's own test captures, hundreds of them cut, contradictory or made to crash
dissectors. argv: vnetscope. None is kept in this repository: they come from Debian's source
package, fetched once into the cache folder with package lists of our own; $VNETSCOPE_HOSTILE names
another folder of captures. Exit 77 when they cannot be had.

Each file: an exit code that we know, at most two sentences, no report of a sanitizer, valid JSON
whose classes add up, and the same from a pipe and compressed; where there are samples and the slow
judge can read the file, the same ones.
"""
import atexit
import collections
import concurrent.futures
import glob
import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import rtt_ref  # noqa: E402

CACHE = os.path.join(os.environ.get('XDG_CACHE_HOME', os.path.expanduser('~/.cache')),
                     'vnetscope', 'tcpdump-captures')
# The judge reads no tunnels; these hold TCP inside one.
TUNNELLED = {'geneve.pcap'}


def skip(why):
    print(f'SKIP: {why}')
    sys.exit(77)


def mirror():
    """Where this machine's packages come from."""
    for path in sorted(glob.glob('/etc/apt/sources.list*') + glob.glob('/etc/apt/sources.list.d/*')):
        if not os.path.isfile(path):
            continue
        with open(path, errors='replace') as f:
            for line in f:
                w = line.split()
                if w[:1] == ['URIs:'] and 'security' not in w[1]:
                    return w[1]
                if w[:1] == ['deb'] and 'security' not in line:
                    return next((x for x in w[1:] if x.startswith('http')), None)
    return None


def fetch(folder):
    """The captures of tcpdump's source package into @folder; nothing of the system is changed. Return: where they are"""
    release = {}
    with open('/etc/os-release') as f:
        release = dict(x.rstrip().split('=', 1) for x in f if '=' in x)
    uri = mirror()
    if not uri or not shutil.which('apt-get'):
        skip('no apt-get with a package source here')
    with tempfile.TemporaryDirectory() as work:
        os.makedirs(os.path.join(work, 'lists', 'partial'))
        os.makedirs(os.path.join(work, 'cache', 'archives', 'partial'))
        with open(os.path.join(work, 'sources.list'), 'w') as f:
            f.write(f'deb-src {uri} {release.get("VERSION_CODENAME", "stable")} main\n')
        apt = ['apt-get', '-qq', '-o', f'Dir::Etc::sourcelist={work}/sources.list',
               '-o', 'Dir::Etc::sourceparts=-', '-o', f'Dir::State::lists={work}/lists',
               '-o', f'Dir::Cache={work}/cache', '-o', 'Debug::NoLocking=1']
        for more in (['update'], ['source', '--download-only', 'tcpdump']):
            try:
                r = subprocess.run(apt + more, cwd=work, capture_output=True, text=True, timeout=240)
            except subprocess.TimeoutExpired:
                skip('the captures cannot be fetched: nothing came within 240 s')
            if r.returncode:
                skip('the captures cannot be fetched: ' + (r.stderr.strip() or 'apt-get failed').splitlines()[-1])
        new = os.path.join(work, 'captures')
        os.mkdir(new)
        with tarfile.open(glob.glob(os.path.join(work, 'tcpdump_*.orig.tar.*z'))[0]) as tar:
            for m in tar:
                if m.isfile() and m.name.endswith(('.pcap', '.pcapng', '.cap')):
                    with open(os.path.join(new, os.path.basename(m.name)), 'wb') as f:
                        f.write(tar.extractfile(m).read())
        return keep(new, folder)


def keep(new, folder):
    """Copy @new to @folder, whole or not at all, unless another run was quicker. Return: the folder to use; a
    temporary one where there is no place to keep it."""
    try:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        beside = tempfile.mkdtemp(prefix=os.path.basename(folder) + '.', dir=os.path.dirname(folder))
    except OSError:
        temporary = tempfile.mkdtemp(prefix='vns-hostile-')
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        return shutil.copytree(new, temporary, dirs_exist_ok=True)
    try:
        shutil.copytree(new, beside, dirs_exist_ok=True)
        os.rename(beside, folder)
    except OSError:
        if not os.path.isdir(folder):
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def packed_differs(vnetscope, path, plain):
    """The same bytes, in two gzip members by a pipe. Return: what is wrong, or None"""
    with open(path, 'rb') as f:
        data = f.read()
    half = len(data) // 2
    r = subprocess.run([vnetscope, 'rtt', '-r', '-', '--json'], capture_output=True, timeout=900,
                       input=gzip.compress(data[:half], 1) + gzip.compress(data[half:], 1))
    if r.returncode != plain.returncode or b'Sanitizer' in r.stderr:
        return f'compressed: exit {r.returncode}: {r.stderr[:500]!r}'
    if plain.stdout:
        a, b = (json.loads(x)['accounting'] for x in (plain.stdout, r.stdout))
        if a != b:
            return f'compressed: {b}, plain: {a}'
    return None


def check(vnetscope, path):
    """Return: (exit code, what is wrong or None, samples compared with the judge or None)"""
    try:
        r = subprocess.run([vnetscope, 'rtt', '-r', path, '--json'], capture_output=True, text=True,
                           timeout=900)
    except subprocess.TimeoutExpired:
        return None, 'hangs', None
    if r.returncode not in (0, 3, 4) or 'Sanitizer' in r.stderr or 'runtime error' in r.stderr:
        return r.returncode, f'exit {r.returncode}: {r.stderr[:500]}', None
    why = packed_differs(vnetscope, path, r)
    if why:
        return r.returncode, why, None
    if r.stderr.count('\n') > 2 or (r.returncode and not r.stderr):
        return r.returncode, 'not one clear sentence: ' + r.stderr[:500], None
    if r.stdout:
        a = json.loads(r.stdout)['accounting']
        for of in (('options_cut', 'no_timestamp', 'timestamp_not_read', 'with_timestamp'),
                   ('seq_not_read', 'with_sequence')):
            if a['read'] != sum(a[k] for k in ('other_point', 'not_tcp', 'undecodable', *of)):
                return r.returncode, f'classes do not add up: {a}', None
        if a['with_sequence'] != sum(a['seq_' + k] for k in ('stored', 'repeated', 'late', 'probe',
                                                             'old', 'pure_acks')):
            return r.returncode, f'classes do not add up: {a}', None
        b = a.get('beyond_tcp')
        if b and a['read'] != a['other_point'] + b['other'] + b['cut'] + sum(
                b.get(k, {}).get(m, 0) for k in ('icmp', 'dns', 'quic')
                for m in ('requests', 'replies', 'long_headers', 'short_headers')):
            return r.returncode, f'classes beyond TCP do not add up: {b}', None
    if r.returncode or os.path.basename(path) in TUNNELLED:
        return r.returncode, None, None
    try:
        judge = rtt_ref.read(path)
    except ValueError:  # not Ethernet: the judge reads nothing else
        return r.returncode, None, None
    lines = subprocess.run([vnetscope, 'rtt', '-r', path, '--kinds', 'tcp', '--method', 'ts',
                            '--samples', '--json'],
                           text=True, capture_output=True, timeout=900).stdout.splitlines()
    mine = [(s['at_ns'], s['src'], s['sport'], s['dst'], s['dport'], s['rtt_ns'], s['id'])
            for s in map(json.loads, lines) if s.get('method') == 'ts']
    return r.returncode, None if mine == judge else 'samples differ from the judge\'s', len(mine)


def main(vnetscope):
    folder = os.environ.get('VNETSCOPE_HOSTILE', CACHE)
    if not os.path.isdir(folder):
        folder = fetch(folder)
    files = sorted(p for p in glob.glob(os.path.join(folder, '*')) if os.path.isfile(p))
    if len(files) < 100:
        skip(f'only {len(files)} captures in {folder}')
    codes, judged, wrong = collections.Counter(), [], []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for path, (code, why, n) in zip(files, pool.map(lambda p: check(vnetscope, p), files)):
            codes[code] += 1
            if why:
                wrong.append(f'{os.path.basename(path)}: {why}')
            if n is not None:
                judged.append(n)
    print(f'{len(files)} captures, exit codes {dict(codes)}; {len(judged)} with samples judged, '
          f'{sum(judged)} samples')
    if wrong:
        sys.exit('\n'.join(wrong))


if __name__ == '__main__':
    main(sys.argv[1])
