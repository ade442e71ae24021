#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope rtt, live, on ping, DNS and QUIC of real peers over a veth link.

ping and a DNS client against a responder that waits a known time: no sample may be below that time nor
above what the peer itself measured around it. QUIC with ngtcp2's client and server on port 443: a plain
connection, one behind a Retry, one begun in a version that the server does not know (the client
tries again from another port); every handshake gives its round trips, and tshark sees the same on tcpdump's file of the interface.

argv: vnetscope. Exit 77 when namespaces cannot be made or ngtcp2 is not installed.
"""
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from nettest import inside, remove, sh, skip, veth_pair, wait_capture
from tcpdump import Capture

A, B = f'vnsapp{os.getpid()}a', f'vnsapp{os.getpid()}b'
ADDR_A, ADDR_B = '10.98.0.1', '10.98.0.2'
ECHO_NS, DNS_NS = 20_000_000, 15_000_000
COUNT = 20


def checksum(data):
    s = sum(struct.unpack('>%dH' % (len(data) // 2), data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return s ^ 0xffff


def wait_ns(ns):
    end = time.monotonic_ns() + ns
    while time.monotonic_ns() < end:
        time.sleep(max(0, (end - time.monotonic_ns()) / 1e9))


def respond_echo():
    """ICMP echo replies ECHO_NS after the request; the kernel's own are switched off."""
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    print('ready', flush=True)
    while True:
        data, peer = s.recvfrom(4096)
        data = data[(data[0] & 15) * 4:]
        if data[0] == 8:
            wait_ns(ECHO_NS)
            data = b'\0\0\0\0' + data[4:]
            s.sendto(data[:2] + struct.pack('>H', checksum(data)) + data[4:], peer)


def respond_dns():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((ADDR_B, 53))
    print('ready', flush=True)
    while True:
        data, peer = s.recvfrom(4096)
        wait_ns(DNS_NS)
        s.sendto(data[:2] + struct.pack('>H', 0x8180) + data[4:], peer)


def ask_dns():
    """COUNT queries; prints id and the time of each as the client sees it."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for i in range(COUNT):
        query = struct.pack('>HHHHHH', 1000 + i, 0x0100, 1, 0, 0, 0) + b'\4test\0\0\1\0\1'
        before = time.monotonic_ns()
        s.sendto(query, (ADDR_B, 53))
        s.recvfrom(4096)
        print(1000 + i, time.monotonic_ns() - before)


def make_link():
    try:
        veth_pair({A: ADDR_A, B: ADDR_B}, devices=('v0', 'v0'))
        sh(*inside(A, 'ping', '-c', '1', ADDR_B))
        sh(*inside(B, sys.executable, '-c', 'open("/proc/sys/net/ipv4/icmp_echo_ignore_all", "w")'
                                            '.write("1")'))
    except subprocess.CalledProcessError as e:
        skip(f'no namespaces or veth here: {e.stderr.strip()}')


def remove_link():
    remove(A, B)


class Running:
    """A program in a namespace until the end of the block; @word on its output: it is ready."""

    def __init__(self, ns, *argv, word=None, out=None):
        self.p = subprocess.Popen(inside(ns, *argv), text=True, stderr=subprocess.STDOUT,
                                  stdout=out or subprocess.PIPE)
        if word:
            for line in self.p.stdout:
                if word in line:
                    break

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGINT)
            try:
                self.p.wait(60)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()


def captured(vnetscope, traffic, folder):
    """Live samples of @traffic(): (samples, the last line's document)."""
    path = os.path.join(folder, 'samples')
    with open(path, 'w') as out, \
            Running(A, vnetscope, 'rtt', '-i', 'v0', '--samples', '--json', out=out):
        wait_capture(A, 60)
        result = traffic()
    with open(path) as f:
        lines = [json.loads(line) for line in f if line.startswith('{')]
    return [x for x in lines if 'rtt_ns' in x], lines[-1], result


def check(truth, what):
    if not truth:
        raise AssertionError(what)


def between(samples, kind, low, high):
    """Each sample at least @low and at most what the peer saw, @high by id."""
    mine = {s['id']: s['rtt_ns'] for s in samples if s['method'] == kind}
    check(set(mine) == set(high), f'{kind}: {len(mine)} samples of {len(high)} exchanges')
    for ident, ns in mine.items():
        check(low <= ns <= high[ident], f'{kind} {ident}: {low} <= {ns} <= {high[ident]} fails')
    print(f'{kind}: {len(mine)} samples, each between {low / 1e6:g} ms and the peer\'s own; least '
          f'{min(mine.values()) / 1e6:.3f} ms')


def ping():
    out = sh(*inside(A, 'ping', '-c', str(COUNT), '-i', '0.03', ADDR_B))
    # ping prints three digits: the last one, 1 ms from 100 ms on, is what its figure may be short of
    return {int(n): int(float(ms) * 1e6) + 10 ** (6 - len(ms.partition('.')[2]))
            for n, ms in re.findall(r'icmp_seq=(\d+) .*time=([\d.]+) ms', out)}


def dns():
    out = sh(*inside(A, sys.executable, __file__, '--ask-dns'))
    return {int(a): int(b) for a, b in (line.split() for line in out.splitlines())}


def quic(folder, *client):
    def traffic():
        dump = os.path.join(folder, 'q.pcap')
        capture = Capture(A, 'v0', dump, 262144, 'udp', 'port', '443')
        subprocess.run(inside(A, 'gtlsclient', '-q', '--exit-on-all-streams-close', *client,
                              ADDR_B, '443', f'https://{ADDR_B}/file'), timeout=60,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        capture.stop()
        return dump
    return traffic


def judge_quic(samples, doc, dump, want, name):
    mine = [s for s in samples if s['method'] == 'quic_handshake']
    q = doc['accounting']['beyond_tcp']['quic']
    got = (len(mine), q['connections'], q['retries'], q['negotiations'])
    check(got == want, f'{name}: (samples, connections, retries, negotiations) {got}, not {want}')
    # tshark: the first datagram of each side after the other's, by the bytes: it takes a greased long
    # header (RFC 9287) for a short one
    out = subprocess.run(['tshark', '-n', '-r', dump, '-T', 'fields', '-e', 'frame.time_epoch', '-e',
                          'udp.dstport', '-e', 'udp.payload'], capture_output=True, text=True,
                         check=True).stdout
    turns = []
    for when, port, data in (line.split('\t') for line in out.splitlines()):
        if int(data[:2], 16) & 0x80 and (not turns or turns[-1][1] != port):
            sec, frac = when.split('.')
            turns.append((int(sec) * 10**9 + int(frac), port))
    gaps = [b[0] - a[0] for a, b in zip(turns, turns[1:])]
    # each socket stamps for itself
    near = [min(abs(s['rtt_ns'] - g) for g in gaps) for s in mine]
    check(all(n < s['rtt_ns'] / 10 + 50_000 for n, s in zip(near, mine)),
          f'{name}: {[s["rtt_ns"] for s in mine]}, tshark {gaps}')
    print(f'QUIC {name}: ' + ', '.join(f'{s["rtt_ns"] / 1e6:.3f} ms' for s in mine))


def wait_bound():
    """The server has its port."""
    end = time.monotonic() + 60
    while ':01BB ' not in sh(*inside(B, 'cat', '/proc/net/udp')):
        check(time.monotonic() < end, 'the QUIC server does not begin')
        time.sleep(0.02)


def run_quic(vnetscope, folder):
    key, cert = os.path.join(folder, 'k.pem'), os.path.join(folder, 'c.pem')
    sh('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1',
       '-nodes', '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=test')
    with open(os.path.join(folder, 'file'), 'wb') as f:
        f.write(bytes(200_000))
    for name, server, client, want in (('plain', [], [], (2, 1, 0, 0)),
                                       ('Retry', ['-V'], [], (3, 1, 1, 0)),
                                       ('negotiation', [], ['-v', '0x1a2a3a4a', '--preferred-versions', 'v1'], (3, 2, 0, 1))):
        with Running(B, 'gtlsserver', '-q', *server, '-d', folder, ADDR_B, '443', key, cert,
                     out=subprocess.DEVNULL):
            wait_bound()
            judge_quic(*captured(vnetscope, quic(folder, *client), folder), want, name)


def main(vnetscope):
    for tool in ('gtlsclient', 'gtlsserver', 'tcpdump', 'tshark', 'openssl'):
        if not shutil.which(tool):
            skip(f'{tool} is not installed')
    try:
        make_link()
        with tempfile.TemporaryDirectory(prefix='vns-app-live-') as folder, \
                Running(B, sys.executable, __file__, '--respond-echo', word='ready'), \
                Running(B, sys.executable, __file__, '--respond-dns', word='ready'):
            samples, _, high = captured(vnetscope, ping, folder)
            between(samples, 'icmp', ECHO_NS, high)
            samples, _, high = captured(vnetscope, dns, folder)
            between(samples, 'dns', DNS_NS, high)
            run_quic(vnetscope, folder)
    finally:
        for c in Capture.running:
            c.p.kill()
        remove_link()


if __name__ == '__main__':
    roles = {'--respond-echo': respond_echo, '--respond-dns': respond_dns, '--ask-dns': ask_dns}
    try:
        roles[sys.argv[1]]() if sys.argv[1] in roles else main(sys.argv[1])
    except KeyboardInterrupt:
        pass
