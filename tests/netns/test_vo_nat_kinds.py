#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vo through more kinds of the kernel's NAT: IPv6 and its prefixes, echo identifiers, joined and cut frames.

argv: vnetscope, twindump, names of cases. Namespaces as in natnet.py; nftables in the router translates.
Truth is the slow reference (tests/ref/nat_ref.py), packet by packet, and that every packet
of the traffic is matched.
"""
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
import nat_judge  # noqa: E402
import pcapread  # noqa: E402
from echo import inside, serve, settled, sink, talk  # noqa: E402
from natnet import GUEST, GUEST6, OUT, OUT6, PEER, PEER6, Net, needs  # noqa: E402
from nettest import script  # noqa: E402

VNETSCOPE, TWINDUMP = sys.argv[1:3]
NET = Net('vnsnk%d' % os.getpid())
TWO = '10.87.2.3'  # another address of the guest
SOL_UDP, UDP_SEGMENT = 17, 103


def nat(family, pre, post):
    return f'''
table {family} t {{
  chain pre {{ type nat hook prerouting priority -100; {pre}; }}
  chain post {{ type nat hook postrouting priority 100; {post}; }}
}}
'''


def measure(name, files, guests, kinds=('tcp', 'udp'), sample=1):
    """
    All packets of @kinds and of the guest are matched (of 1 in @sample), and the reference agrees. Return: the rules, kind,
    protocol, address at the host, and the result.
    """
    r = subprocess.run([VNETSCOPE, 'vo', '--host', files[0], '--guest', files[1], '--json',
                        '--offset-ns', '0', *(['--sample', '1/%d' % sample] if sample > 1 else [])],
                       capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, (name, r.returncode, r.stderr)
    t = json.loads(r.stdout)['targets'][0]
    ref, n = nat_judge.judge(TWINDUMP, *files, guests, 0, name)
    for path, at in zip(files, ('host', 'guest')):
        books = t['accounting'][at]
        of_kinds = sum(p.kind in kinds for p in pcapread.read(path)) if sample == 1 else 0
        lost = sum(books['missing_by_protocol'][k] for k in kinds)
        assert lost == books['ambiguous'] == 0 and books['matched'] >= max(of_kinds, 60), (name, of_kinds, books)
    print('%s: %d pairs, all matched; the slow reference agrees, %d of them certain' %
          (name, n, len(ref.sure)))
    return {(m['kind'], m['ip_protocol'], m['at_host']['address']) for m in t['nat']['mappings']}, t


def conversations(to_client, to_guest, ports, family, times=10, n=2):
    """TCP, @n connections, and UDP both ways."""
    ready, rng = threading.Semaphore(0), random.Random(5)
    servers = [serve('/run/netns/' + ns, kind, port, ready, n, family=family) for ns, kind, port in
               ((NET.client, 'tcp', 7001), (NET.client, 'udp', 7002), (NET.guest, 'tcp', 80),
                (NET.guest, 'udp', 53))]
    for _ in servers:
        assert ready.acquire(timeout=60)
    clients = [talk('/run/netns/' + ns, to, kind, port, rng, n, times, 30000, 30) for ns, to, kind, port in
               ((NET.guest, to_client, 'tcp', 7001), (NET.guest, to_client, 'udp', 7002),
                (NET.client, to_guest, 'tcp', ports[0]), (NET.client, to_guest, 'udp', ports[1]))]
    for t in clients + servers:
        t.join(60)
        assert not t.is_alive()
    settled('/run/netns/' + NET.client, '/run/netns/' + NET.guest)


def ipv6(tmp):
    """Addresses of the router, and the guest's ports behind others (RFC 3022 for IPv6)."""
    NET.rules(nat('ip6', f'''iifname "wan0" tcp dport 8080 dnat to [{GUEST6}]:80
        iifname "wan0" udp dport 5353 dnat to [{GUEST6}]:53''', 'oifname "wan0" masquerade'))
    files = NET.captured(tmp, 'ipv6', lambda: conversations(PEER6, OUT6, (8080, 5353), socket.AF_INET6))
    rules, _ = measure('IPv6', files, (GUEST6,))
    assert rules == {(kind, proto, OUT6) for kind in ('masquerade', 'forward') for proto in (6, 17)}, rules


def prefix(tmp):
    """The guest's IPv6 prefix is another one outside (as RFC 6296 has it)."""
    script(f'ip -n {NET.client} route replace fd87:9::/64 via {OUT6}')
    NET.rules(nat('ip6', 'iifname "wan0" dnat ip6 prefix to ip6 daddr map { fd87:9::/64 : fd87:2::/64 }',
                  'oifname "wan0" snat ip6 prefix to ip6 saddr map { fd87:2::/64 : fd87:9::/64 }'))
    files = NET.captured(tmp, 'prefix', lambda: conversations(PEER6, 'fd87:9::2', (80, 53), socket.AF_INET6))
    rules, _ = measure('IPv6 prefix', files, (GUEST6,))
    assert rules == {(kind, proto, 'fd87:9::2') for kind in ('masquerade', 'forward')
                     for proto in (6, 17)}, rules


def echoes(tmp):
    """Two senders with one identifier, so one gets another; and identifiers made at random."""
    for how, ident in (('', 77), (' random', 81)):
        NET.rules(nat('ip', '', 'oifname "wan0" masquerade' + how))

        def ping(ident=ident):
            all_of = [subprocess.Popen(['ip', 'netns', 'exec', NET.guest, 'ping', '-q', '-c', '20', '-i', '0.01',
                                        '-e', str(i), '-I', src, PEER], stdout=subprocess.DEVNULL)
                      for i in (ident, ident + 1) for src in (GUEST, TWO)]
            assert [p.wait(timeout=60) for p in all_of] == [0] * 4
        files = NET.captured(tmp, 'echo%d' % ident, ping)
        idents = [{p.icmp_id for p in pcapread.read(f) if p.kind == 'icmp' and not p.v6} for f in files]
        assert len(idents[0]) == 4 and len(idents[1]) == 2, idents  # they are rewritten
        _, t = measure('echo, masquerade' + how, files, (GUEST, TWO), ())
        found = [d['icmp']['matched'] for d in t['directions'].values()]
        assert found == [80, 80] and t['accounting']['host']['missing_by_protocol']['icmp'] == 0, (found, t)


def send_frames(ns, to, sizes):
    def work():
        rng = random.Random(9)
        with socket.socket(socket.AF_INET6 if ':' in to else socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setsockopt(SOL_UDP, UDP_SEGMENT, 1200)
            s.connect((to, 5001))
            for size in sizes:
                s.send(rng.randbytes(size))
                time.sleep(0.001)
    t = inside('/run/netns/' + ns, work)
    t.join(60)
    assert not t.is_alive()


def offload(ns, ifname, *words):
    return subprocess.run(['ip', 'netns', 'exec', ns, 'ethtool', '-K', ifname, *words],
                          capture_output=True, timeout=30).returncode == 0


def frames(tmp):
    """
    Whole in the guest and cut outside; then cut outside and joined in the guest: UDP, of which there is nothing
    but frames, and TCP.
    """
    rng = random.Random(1)
    sizes = [rng.choice((9600, 12000, rng.randrange(1201, 30000))) for _ in range(60)]
    NET.rules(nat('ip', f'iifname "wan0" udp dport 5001 dnat to {GUEST}; iifname "wan0" tcp dport 8080 dnat '
                  f'to {GUEST}:80; iifname "wan0" udp dport 5353 dnat to {GUEST}:53',
                  'oifname "wan0" masquerade') +
              nat('ip6', f'iifname "wan0" udp dport 5001 dnat to {GUEST6}', 'oifname "wan0" masquerade'))
    sink('/run/netns/' + NET.client, 5001)
    sink('/run/netns/' + NET.guest, 5001)
    assert offload(NET.router, 'wan0', 'tx-udp-segmentation', 'off', 'tso', 'off')
    through(tmp, 'cut', NET.guest, (PEER, PEER6), sizes)
    if not offload(NET.guest, 'g0', 'gro', 'on'):
        print('frames joined: this kernel has no GRO on veth')
        return
    for ns, ifname in ((NET.client, 'c0'), (NET.router, 'lan0')):
        assert offload(ns, ifname, 'tx-udp-segmentation', 'off', 'tso', 'off')
    through(tmp, 'joined', NET.client, (OUT, OUT6), sizes)


def through(tmp, what, sender, to, sizes):
    """Frames of UDP alone, by IPv4 and, cut by the snap length, by IPv6; then TCP."""
    for addr, snap in zip(to, (262144, 96)):
        name = '%s%d' % (what, 6 if ':' in addr else 4)
        files = NET.captured(tmp, name, lambda addr=addr: send_frames(sender, addr, sizes), snap)
        _, t = measure('UDP frames %s, snap %d' % (name, snap), files, (GUEST, GUEST6))
        frame, piece = (t['accounting'][at]['in_pieces'] for at in ('guest', 'host'))
        assert frame['wholes'] == len(sizes) and not frame['partly'] and piece['pieces'] > 300, t
    files = NET.captured(tmp, what, lambda: conversations(PEER, OUT, (8080, 5353), socket.AF_INET))
    measure('TCP ' + what, files, (GUEST,))


def sampled(tmp):
    """The points choose the same connections, though one sees them under another of the server's ports."""
    NET.rules(nat('ip', f'iifname "wan0" tcp dport 8080 dnat to {GUEST}:80; iifname "wan0" udp dport 5353 dnat '
                  f'to {GUEST}:53', 'oifname "wan0" masquerade'))
    files = NET.captured(tmp, 'sampled', lambda: conversations(PEER, OUT, (8080, 5353), socket.AF_INET, 2, 48))
    rules, t = measure('1 of 4', files, (GUEST,), sample=4)
    assert ('forward', 6, OUT) in rules and ('masquerade', 6, OUT) in rules, rules
    assert 'clients\' ports' in t['note'], t['note']
    flows = sum(m['flows'] for m in t['nat']['mappings'] if m['ip_protocol'] == 6)
    # 24 of 96, five standard deviations of 4.2; that none of 48 is chosen, so that a rule is not seen, is one run in 10^6
    assert 3 <= flows <= 45, flows


def main():
    needs('nft', 'tcpdump', 'ip', 'ping', 'ethtool')
    cases = [ipv6, prefix, echoes, sampled, frames]
    try:
        NET.build()
        script(f'ip -n {NET.guest} addr add {TWO}/24 dev g0')
        with tempfile.TemporaryDirectory() as tmp:
            for case in cases:
                if not sys.argv[3:] or case.__name__ in sys.argv[3:]:
                    case(tmp)
    finally:
        NET.tear_down()


if __name__ == '__main__':
    main()
