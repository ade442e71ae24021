# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel TCP through a narrow queue: a capture with real losses, repetitions and SACKs.

Three namespaces in a row, a - r - b. tbf on r's way to b drops what its short queue cannot hold; the
capture stands on r's side of a's link, so that segments pass it before they are lost and their
repetitions pass it too. prefix names the namespaces, which are gone afterwards.
"""
import os
import subprocess
import sys

from nettest import inside, remove, sh
from tcpdump import Capture

SERVER = r"""
import socket, sys, threading
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('10.98.2.2', 5001)); s.listen(16); print('ready', flush=True)
def serve(c):
    while c.recv(65536): pass
    c.sendall(b'x' * 20000); c.close()
for i in range(int(sys.argv[1])):
    threading.Thread(target=serve, args=(s.accept()[0],)).start()
"""
CLIENT = r"""
import socket, sys, threading
def talk(size):
    c = socket.create_connection(('10.98.2.2', 5001))
    c.sendall(b'y' * size); c.shutdown(socket.SHUT_WR)
    while c.recv(65536): pass
    c.close()
for size in map(int, sys.argv[1:]):
    threading.Thread(target=talk, args=(size,)).start()
"""


def _build(a, r, b, timestamps):
    for ns in (a, r, b):
        sh('ip', 'netns', 'add', ns)
        sh('ip', '-n', ns, 'link', 'set', 'lo', 'up')
    for ns, left, right, net in ((a, 'a0', 'ra', 1), (b, 'b0', 'rb', 2)):
        sh('ip', '-n', ns, 'link', 'add', left, 'type', 'veth', 'peer', 'name', right, 'netns', r)
        sh('ip', '-n', ns, 'addr', 'add', f'10.98.{net}.2/24', 'dev', left)
        sh('ip', '-n', r, 'addr', 'add', f'10.98.{net}.1/24', 'dev', right)
        sh('ip', '-n', ns, 'link', 'set', left, 'up')
        sh('ip', '-n', r, 'link', 'set', right, 'up')
        sh('ip', '-n', ns, 'route', 'add', 'default', 'via', f'10.98.{net}.1')
        sh(*inside(ns, 'sysctl', '-qw', f'net.ipv4.tcp_timestamps={int(timestamps)}'))
    sh(*inside(r, 'sysctl', '-qw', 'net.ipv4.ip_forward=1'))
    sh(*inside(r, 'tc', 'qdisc', 'add', 'dev', 'rb', 'root', 'tbf', 'rate', '80mbit', 'burst',
               '20kb', 'limit', '60kb'))


def capture(path, prefix, timestamps, sizes, snap=128, offload=True):
    """Write path; raises CalledProcessError or OSError where namespaces cannot be made."""
    a, r, b = (prefix + x for x in 'arb')
    running = []
    try:
        _build(a, r, b, timestamps)
        if not offload:
            for ns, dev in ((a, 'a0'), (r, 'ra'), (r, 'rb'), (b, 'b0')):
                sh('ip', '-n', ns, 'link', 'set', dev, 'gso_max_segs', '1', 'gro_max_size', '2000')
        dump = Capture(r, 'ra', path, snap, 'tcp')
        running.append(dump.p)
        server = subprocess.Popen(inside(b, sys.executable, '-c', SERVER, str(len(sizes))),
                                  stdout=subprocess.PIPE)
        running.append(server)
        server.stdout.readline()
        subprocess.run(inside(a, sys.executable, '-c', CLIENT, *map(str, sizes)), check=True,
                       timeout=60)
        dump.stop()
    finally:
        for process in running:
            process.kill()
            process.wait()
        remove(a, r, b)


if __name__ == '__main__':
    capture(sys.argv[1], f'vnslossy{os.getpid()}', sys.argv[2:] == ['ts'],
            [2_000_000] * 3)
