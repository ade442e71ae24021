# SPDX-License-Identifier: GPL-3.0-or-later
"""A client, a router that translates and a guest as namespaces joined by veth, with IPv4 and IPv6.

The client's c0 leads to the router's wan0, the router's lan0 to the guest's g0. Tests of `vo` capture at
wan0, outside the translation, and at g0.
"""
import os
import shutil
import subprocess

from nettest import remove, script, skip
from tcpdump import Capture

PEER, OUT, GATE, GUEST = '10.87.1.1', '10.87.1.2', '10.87.2.1', '10.87.2.2'
PEER6, OUT6, GATE6, GUEST6 = 'fd87:1::1', 'fd87:1::2', 'fd87:2::1', 'fd87:2::2'


class Net:
    def __init__(self, name):
        self.client, self.router, self.guest = (name + x for x in 'crg')

    def build(self):
        script(f'''
ip netns add {self.client}; ip netns add {self.router}; ip netns add {self.guest}
for n in {self.client} {self.router} {self.guest}; do
  ip netns exec $n sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0; done
ip -n {self.client} link add c0 type veth peer name wan0 netns {self.router}
ip -n {self.router} link add lan0 type veth peer name g0 netns {self.guest}
ip -n {self.client} addr add {PEER}/24 dev c0; ip -n {self.client} addr add {PEER6}/64 dev c0 nodad
ip -n {self.router} addr add {OUT}/24 dev wan0; ip -n {self.router} addr add {OUT6}/64 dev wan0 nodad
ip -n {self.router} addr add {GATE}/24 dev lan0; ip -n {self.router} addr add {GATE6}/64 dev lan0 nodad
ip -n {self.guest} addr add {GUEST}/24 dev g0; ip -n {self.guest} addr add {GUEST6}/64 dev g0 nodad
for l in "{self.client} c0" "{self.router} wan0" "{self.router} lan0" "{self.guest} g0"; do
  set -- $l; ip -n $1 link set $2 up; ip -n $1 link set lo up; done
ip -n {self.guest} route add default via {GATE}; ip -n {self.guest} -6 route add default via {GATE6}
ip netns exec {self.router} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
''')

    def rules(self, text):
        """Only these from now on, in file syntax of nft; flows that are known are forgotten."""
        r = subprocess.run(['ip', 'netns', 'exec', self.router, 'nft', '-f', '-'], text=True,
                           input='flush ruleset\n' + text, capture_output=True, timeout=30)
        if r.returncode:
            skip('this kernel has no NAT by nftables: ' + r.stderr.strip())

    def tear_down(self):
        for c in Capture.running:
            c.p.kill()
        remove(self.client, self.router, self.guest)

    def captured(self, folder, name, work, snap=262144):
        """
        @work() while both ends are captured, without the links' own listener reports and solicitations: vo
        counts multicast at the host as sent to the guest, and rightly misses there what stays on a link.
        Return: the files, host and guest.
        """
        paths = [os.path.join(folder, '%s-%s-%d' % (name, end, snap)) for end in ('host', 'guest')]
        caps = [Capture(ns, at, path, snap, 'not ip6 multicast')
                for ns, at, path in ((self.router, 'wan0', paths[0]), (self.guest, 'g0', paths[1]))]
        work()
        for c in caps:
            c.stop()
        return paths


def needs(*tools):
    if os.geteuid() != 0:
        skip('needs root')
    for tool in tools:
        if not shutil.which(tool):
            skip('%s is not there' % tool)
