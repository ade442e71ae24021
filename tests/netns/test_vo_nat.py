#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vo through the kernel's own NAT and VXLAN: captures outside the host and in the guest.

argv: vnetscope, twindump. A client, a router and a guest are namespaces, joined by veth; nftables in
the router masquerades what the guest begins and forwards two ports to it. Truth is the payload: the
bytes at both ends of every pair must be the same.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import nat_judge  # noqa: E402
import pcapread  # noqa: E402
from echo import serve, settled, talk  # noqa: E402
from nettest import remove, script, skip  # noqa: E402
from tcpdump import Capture  # noqa: E402

VNETSCOPE, TWINDUMP = sys.argv[1:3]
NAME = 'vnsnat%d' % os.getpid()
CLIENT, ROUTER, GUEST = (NAME + x for x in 'crg')
RULES = '''
table ip t {
  chain pre { type nat hook prerouting priority -100;
    tcp dport 8080 dnat to 10.87.2.2:80
    udp dport 5353 dnat to 10.87.2.2:53
  }
  chain post { type nat hook postrouting priority 100; oifname "wan0" masquerade; }
}
'''


def build():
    """
    The tunnel's ends have no IPv6: whenever their kernels would report to multicast groups, vo counts what is
    inside as sent to the guest; the reference reads the outside.
    """
    script(f'''
ip netns add {CLIENT}; ip netns add {ROUTER}; ip netns add {GUEST}
ip -n {CLIENT} link add c0 type veth peer name wan0 netns {ROUTER}
ip -n {ROUTER} link add lan0 type veth peer name g0 netns {GUEST}
ip -n {CLIENT} addr add 10.87.1.1/24 dev c0
ip -n {ROUTER} addr add 10.87.1.2/24 dev wan0
ip -n {ROUTER} addr add 10.87.2.1/24 dev lan0
ip -n {GUEST} addr add 10.87.2.2/24 dev g0
for l in "{CLIENT} c0" "{ROUTER} wan0" "{ROUTER} lan0" "{GUEST} g0"; do
  set -- $l; ip -n $1 link set $2 up; ip -n $1 link set lo up; done
ip -n {GUEST} route add default via 10.87.2.1
ip -n {CLIENT} link add vx0 type vxlan id 7 remote 10.87.1.2 dstport 4789 dev c0
ip -n {ROUTER} link add vx0 type vxlan id 7 remote 10.87.1.1 dstport 4789 dev wan0
for n in {CLIENT} {ROUTER}; do ip netns exec $n sysctl -qw net.ipv6.conf.vx0.disable_ipv6=1; done
ip -n {CLIENT} addr add 10.87.3.1/24 dev vx0; ip -n {CLIENT} link set vx0 up
ip -n {ROUTER} addr add 10.87.3.2/24 dev vx0; ip -n {ROUTER} link set vx0 up
ip -n {CLIENT} route add 10.87.2.0/24 via 10.87.3.2
ip netns exec {ROUTER} sysctl -qw net.ipv4.ip_forward=1
''')


def tear_down():
    remove(CLIENT, ROUTER, GUEST)


def traffic(client, to, ports):
    """Connections both ways; @client: its address for the guest; @to, @ports: what it asks."""
    ready, rng = threading.Semaphore(0), random.Random(5)
    servers = [serve('/run/netns/' + ns, kind, port, ready, 3) for ns, kind, port in
               ((CLIENT, 'tcp', 7001), (CLIENT, 'udp', 7002), (GUEST, 'tcp', 80), (GUEST, 'udp', 53))]
    for _ in servers:
        assert ready.acquire(timeout=60)
    clients = [talk('/run/netns/' + ns, addr, kind, port, rng, 3, 20, 30000, 40) for ns, addr, kind, port in
               ((GUEST, client, 'tcp', 7001), (GUEST, client, 'udp', 7002),
                (CLIENT, to, 'tcp', ports[0]), (CLIENT, to, 'udp', ports[1]))]
    for t in clients + servers:
        t.join(60)
        assert not t.is_alive()
    settled('/run/netns/' + CLIENT, '/run/netns/' + GUEST)


def pairs(host, guest):
    """Hold each sample of the engine to the bytes of both packets. Return: their number."""
    out = subprocess.run([TWINDUMP, host, guest, '0', '5000000000', '64', '10.87.2.2', 'nat'],
                         capture_output=True, text=True, timeout=60, check=True).stdout
    at = [{}, {}]
    for where, path in zip(at, (host, guest)):
        for p in pcapread.read(path):
            where.setdefault(p.time_ns, []).append(p)
    n = 0
    for line in out.splitlines():
        c = line.split()
        if c[0] != 'S' or c[2] == 'icmp':
            continue
        n += 1
        a, b = at[0][int(c[3])], at[1][int(c[4])]
        up, down = (a, b) if c[1] == 'h2g' else (b, a)
        assert any(same(u, d) for u in up for d in down), line
    return n


def same(up, down):
    if up.kind != down.kind:
        return False
    if up.kind == 'udp':
        return up.payload_len == down.payload_len and bytes(up.payload) == bytes(down.payload)
    if not up.payload_len:
        return (up.seq, up.ack, up.flags, up.tsval) == (down.seq, down.ack, down.flags, down.tsval)
    skip = (up.seq - down.seq) % 2**32
    if skip >= max(down.payload_len, 1):
        return False
    n = min(len(up.payload), len(down.payload) - skip)
    return n <= 0 or bytes(up.payload[:n]) == bytes(down.payload[skip:skip + n])


def upstream(host, guest, guest_addr='10.87.2.2'):
    """TCP and UDP packets sent towards the other point: what can be paired."""
    to = [p for p in pcapread.read(host) if p.kind in ('tcp', 'udp') and p.src == '10.87.1.1' and
          p.dport != 4789]
    fro = [p for p in pcapread.read(guest) if p.kind in ('tcp', 'udp') and p.src == guest_addr]
    return len(to), len(fro)


def measure(host, guest, *args):
    r = subprocess.run([VNETSCOPE, 'vo', '--host', host, '--guest', guest, '--json', '--offset-ns', '0',
                        *args], capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, (r.returncode, r.stderr)
    return json.loads(r.stdout)['targets'][0]


def found(t, direction):
    return sum(t['directions'][direction][p]['matched'] for p in ('tcp', 'udp'))


def nat(tmp, snap):
    host, guest = (os.path.join(tmp, '%s%d' % (x, snap)) for x in ('host', 'guest'))
    caps = [Capture(ROUTER, 'wan0', host, snap), Capture(GUEST, 'g0', guest, snap)]
    traffic('10.87.1.1', '10.87.1.2', (8080, 5353))
    for c in caps:
        c.stop()
    t, (to, fro) = measure(host, guest), upstream(host, guest)
    maps = {(m['kind'], m['ip_protocol'], m['at_host']['address'], m['at_guest']['address'],
             m['at_host']['port'] if m['kind'] == 'forward' else 0) for m in t['nat']['mappings']}
    ends = ('10.87.1.2', '10.87.2.2')
    assert maps == {('masquerade', 6, *ends, 0), ('masquerade', 17, *ends, 0),
                    ('forward', 6, *ends, 8080), ('forward', 17, *ends, 5353)}, maps
    assert (found(t, 'host_to_guest'), found(t, 'guest_to_host')) == (to, fro), (to, fro, t)
    assert pairs(host, guest) >= to + fro
    ref, n = nat_judge.judge(TWINDUMP, host, guest, ('10.87.2.2',), 0, 'snap %d' % snap)
    print('     the slow reference agrees: %d pairs, %d of them certain, %d flows' %
          (n, len(ref.sure), len(ref.flows)))
    for name in ('host', 'guest'):
        books = t['accounting'][name]
        lost = books['missing_by_protocol']  # IPv6 solicitations of the link's own do not cross
        assert lost['tcp'] == lost['udp'] == books['ambiguous'] == 0, books
    assert min(f['latency_ns']['min'] for d in t['directions'].values() for f in d.values()
               if f['matched']) > 0
    off = subprocess.run([VNETSCOPE, 'vo', '--host', host, '--guest', guest, '--nat', 'off'],
                         capture_output=True, text=True, timeout=60)
    assert off.returncode == 4, off  # without it nothing is found
    return to + fro


def vxlan(tmp, snap):
    """The host's link is a VXLAN tunnel, the guest's is not."""
    host, guest = (os.path.join(tmp, 'vx%s%d' % (x, snap)) for x in ('host', 'guest'))
    caps = [Capture(ROUTER, 'wan0', host, snap), Capture(GUEST, 'g0', guest, snap)]
    traffic('10.87.3.1', '10.87.2.2', (80, 53))
    for c in caps:
        c.stop()
    t = measure(host, guest)
    assert not t['nat']['mappings'], t['nat']
    sent = [p for p in pcapread.read(guest) if p.kind in ('tcp', 'udp') and p.src == '10.87.2.2']
    assert found(t, 'guest_to_host') == len(sent) > 100, (found(t, 'guest_to_host'), len(sent))
    assert found(t, 'host_to_guest') > 100
    for name in ('host', 'guest'):
        books = t['accounting'][name]
        lost = books['missing_by_protocol']  # IPv6 solicitations of the link's own do not cross
        assert lost['tcp'] == lost['udp'] == books['ambiguous'] == 0, books
    return found(t, 'host_to_guest') + len(sent)


def main():
    if os.geteuid() != 0:
        skip('needs root')
    for tool in ('nft', 'tcpdump', 'ip'):
        if not shutil.which(tool):
            skip('%s is not there' % tool)
    try:
        build()
        r = subprocess.run(['ip', 'netns', 'exec', ROUTER, 'nft', '-f', '-'], input=RULES, text=True,
                           capture_output=True, timeout=30)
        if r.returncode:
            skip('this kernel has no NAT by nftables: ' + r.stderr.strip())
        with tempfile.TemporaryDirectory() as tmp:
            for snap in (262144, 96):
                print('NAT, snap %d: %d packets' % (snap, nat(tmp, snap)))
            for snap in (262144, 150):
                print('VXLAN at the host only, snap %d: %d packets' % (snap, vxlan(tmp, snap)))
    finally:
        for c in Capture.running:
            c.p.kill()
        tear_down()


if __name__ == '__main__':
    main()
