#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope rtt beside ping over a quiet veth link: the thesis's validation (its table 3.1).

100 and 500 TCP exchanges, one every 10 ms, since Linux's TSval ticks once per millisecond and an
exchange within the tick of its predecessor is not a sample of its own; ping at the same pace
between them. Printed: ping's own figures (P), the same echoes as the capture point saw them (C), and
TCP's (T). P contains ping's own system calls, which on a link of some 10 us are most of it; C
and T stand at the same point. Then sample by sample: what rtt said live against the slow
judge on tcpdump's file of the same interface; each socket stamps for itself, so that the two differ
by some hundred ns.

argv: vnetscope. Exit 77 when namespaces cannot be made.
"""
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from echo import settled
from nettest import inside, remove, sh, skip, veth_pair, wait_capture
from tcpdump import Capture

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import pcapread  # noqa: E402
import rtt_ref  # noqa: E402

A, B = f'vnsrtt{os.getpid()}a', f'vnsrtt{os.getpid()}b'
ADDR_A, ADDR_B, PORT = '10.97.0.1', '10.97.0.2', 5001


def make_link():
    try:
        veth_pair({A: ADDR_A, B: ADDR_B}, devices=('v0', 'v0'))
    except subprocess.CalledProcessError as e:
        remove_link()
        skip(f'no namespaces or veth here: {e.stderr.strip()}')
    # acknowledge at once: neither a delayed ACK nor the receiver's wake-up is a property of the link
    sh('ip', '-n', B, 'route', 'change', '10.97.0.0/24', 'dev', 'v0', 'src', ADDR_B, 'quickack', '1')
    sh(*inside(A, 'ping', '-c', '2', '-i', '0.2', ADDR_B))


def remove_link():
    remove(A, B)


def socket_in(ns):
    """A TCP socket of namespace @ns: a socket stays where it was made."""
    own = os.open('/proc/self/ns/net', os.O_RDONLY)
    other = os.open(f'/run/netns/{ns}', os.O_RDONLY)
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.setns(other, 0x40000000):
            raise OSError(ctypes.get_errno(), 'setns')
        s = socket.socket()
        libc.setns(own, 0x40000000)
        return s
    finally:
        os.close(own)
        os.close(other)


def serve(listener):
    s, _ = listener.accept()
    with s:
        while True:
            if not s.recv(4096):
                return


def exchanges(n):
    listener = socket_in(B)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((ADDR_B, PORT))
    listener.listen(1)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    with socket_in(A) as s:
        s.connect((ADDR_B, PORT))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        time.sleep(0.02)
        due = time.monotonic()
        for _ in range(n):
            s.sendall(bytes(56))
            due = max(due + 0.01, time.monotonic() + 0.003)
            time.sleep(max(0, due - time.monotonic()))
    listener.close()


def icmp_rtts(path):
    sent, out = {}, []
    for i, (t, wire, data) in enumerate(pcapread.frames(path)):
        if data[12:14] == b'\x08\x00' and data[23] == 1 and len(data) >= 42:
            key = data[38:42]  # identifier and sequence number
            if data[34] == 8:
                sent[key] = t
            elif data[34] == 0 and key in sent:
                out.append(t - sent.pop(key))
    return out


def run(vnetscope, n, folder):
    path = os.path.join(folder, f'{n}.pcap')
    # to a file: a full pipe that nobody reads would hold the program up, and the ring overflow
    with open(path + '.json', 'w') as out:
        rtt = subprocess.Popen(inside(A, vnetscope, 'rtt', '-i', 'v0', '--kinds', 'tcp', '--method', 'ts',
                                      '--samples', '--json'), stdout=out, stderr=subprocess.PIPE, text=True)
    wait_capture(A, 60)
    dump = Capture(A, 'v0', path, 128)
    ping = subprocess.Popen(inside(A, 'ping', '-c', str(n), '-i', '0.01', ADDR_B),
                            stdout=subprocess.PIPE, text=True)
    exchanges(n)
    ping_text = ping.communicate(timeout=60)[0]
    settled(f'/run/netns/{A}', f'/run/netns/{B}')
    rtt.terminate()
    message = rtt.communicate(timeout=60)[1]
    with open(path + '.json') as f:
        lines = [json.loads(x) for x in f]
    dump.stop()
    assert rtt.returncode == 0, f'rtt ended with {rtt.returncode}: {message}'
    live = [(s['at_ns'], s['src'], s['sport'], s['dst'], s['dport'], s['rtt_ns'], s['id'])
            for s in lines if s.get('method') == 'ts']
    if lines[-1]['accounting']['capture_lost']:
        return None  # the machine was too busy: nothing to compare
    return figures_of_ping(ping_text), icmp_rtts(path), live, rtt_ref.read(path)


def figures_of_ping(text):
    m = re.search(r'= ([\d.]+)/([\d.]+)/([\d.]+)/([\d.]+) ms', text)
    return [float(x) for x in m.groups()]


def figures(ns):
    return [min(ns) / 1e6, statistics.mean(ns) / 1e6, max(ns) / 1e6, statistics.pstdev(ns) / 1e6]


def check(n, p, c, t, live, judge):
    # SYN and FIN are samples of this direction too
    assert n <= len(t) <= n + 2, f'{len(t)} samples of {n} exchanges'
    assert len(c) == n, f'{len(c)} echoes of {n} at the capture point'
    mine, theirs = {(s[1], s[2], s[6]): s[5] for s in live}, {(s[1], s[2], s[6]): s[5] for s in judge}
    assert set(mine) == set(theirs), f'live and judge differ: {set(mine) ^ set(theirs)}'
    apart = statistics.median(abs(mine[k] - theirs[k]) for k in mine)
    assert apart < 5000, f'live and judge differ by {apart} ns in the median'
    # One link, one point: what TCP and ICMP take there at least is of one size. How much longer most of them take
    # is the machine's: its medians are printed.
    ratio = min(t) / min(c)
    assert 1 / 3 < ratio < 3, f'minimum of TCP is {ratio:.2f} of that of ICMP at the same point'
    assert figures(t)[0] <= p[1], 'TCP minimum above ping average'
    return apart


def main(vnetscope):
    if os.geteuid() != 0:
        skip('needs root for namespaces')
    for tool in ('ip', 'nsenter', 'ping', 'tcpdump'):
        if not shutil.which(tool):
            skip(f'{tool} is not installed')
    make_link()
    try:
        columns = {}
        with tempfile.TemporaryDirectory() as folder:
            for n in (100, 500):
                result = next(filter(None, (run(vnetscope, n, folder) for _ in range(4))), None)
                if not result:
                    skip('captures lose packets here: the machine is too busy')
                p, c, live, judge = result
                t = [s[5] for s in live if s[1] == ADDR_A]
                columns[f'P{n}'], columns[f'C{n}'], columns[f'T{n}'] = p, figures(c), figures(t)
                apart = check(n, p, c, t, live, judge)
                print(f'{n}: {len(t)} samples, median TCP {statistics.median(t) / 1e3:.1f} us, '
                      f'ICMP at the same point {statistics.median(c) / 1e3:.1f} us; '
                      f'{len(live)} live samples are the judge\'s, {apart:.0f} ns apart')
        print('RTT, ms    ' + ''.join(f'{k:>9}' for k in columns))
        for i, name in enumerate(('Minimum', 'Average', 'Maximum', 'Std. Dev.')):
            print(f'{name:<11}' + ''.join(f'{v[i]:9.3f}' for v in columns.values()))
    finally:
        for c in Capture.running:
            c.p.kill()
        remove_link()


if __name__ == '__main__':
    main(sys.argv[1])
