# SPDX-License-Identifier: GPL-3.0-or-later
"""A slow judge of passive RTT: capture file -> list of samples, with dictionaries and no limits.

Written from Strowes (ACM Queue 2013), RFC 7323 and the definitions in doc and header, not from
lib/: everything is kept for ever, nothing is a ring, a hash or a batch. Samples are tuples
(at_ns, src, sport, dst, dport, rtt_ns, tsval): data of src to dst and its echo.

usage: rtt_ref.py FILE    prints the samples as CSV
"""
import sys

import pcapread

FIN, SYN, RST, ACK = 1, 2, 4, 16
CLOSED_NS = 10 * 10**9


def back(p):
    """The flow of what answers @p."""
    return p.dst, p.dport, p.src, p.sport


def later(a, b):
    """a after b on a clock of 32 bits."""
    return a != b and (a - b) % 2**32 < 2**31


class Connection:
    def __init__(self):
        self.highest = {}   # direction -> highest TSval on any segment
        self.waiting = {}   # direction -> {TSval: time first seen}, of data, SYN, FIN
        self.isn = {}       # direction -> initial sequence number
        self.fins = set()
        self.reset = False
        self.only_syn = True
        self.last = None

    def over(self, now, idle_ns):
        closed = self.reset or len(self.fins) == 2
        return now - self.last > (min(idle_ns, CLOSED_NS) if closed else idle_ns)

    def is_new_connection(self, p):
        if p.flags & (SYN | ACK) != SYN:
            return False
        if p.flow in self.isn:
            return self.isn[p.flow] != p.seq
        return not self.only_syn

    def echo(self, p, back):
        """Time when the echoed TSval was seen, if this is its first echo and none passed it."""
        if back not in self.highest or later(p.tsecr, self.highest[back]):
            return None
        waiting = self.waiting.setdefault(back, {})
        seen = waiting.pop(p.tsecr, None)
        for old in [t for t in waiting if later(p.tsecr, t)]:
            del waiting[old]
        return seen

    def remember(self, p):
        here = p.flow
        if here in self.highest and not later(p.tsval, self.highest[here]):
            return
        self.highest[here] = p.tsval
        if p.payload_len or p.flags & (SYN | FIN):
            self.waiting.setdefault(here, {})[p.tsval] = p.time_ns


def connection_of(connections, p, idle_ns):
    """The connection that @p belongs to: an earlier one, or a new one in @connections."""
    name = frozenset((p.flow, back(p)))
    c = connections.get(name)
    if c is None or c.over(p.time_ns, idle_ns) or c.is_new_connection(p):
        c = connections[name] = Connection()
    c.last = p.time_ns
    if p.flags & SYN:
        c.isn[p.flow] = p.seq
    else:
        c.only_syn = False
    if p.flags & FIN:
        c.fins.add(p.flow)
    if p.flags & RST:
        c.reset = True
    return c


def samples(packets, idle_ns=300 * 10**9):
    connections = {}
    for p in packets:
        if p.kind != 'tcp':
            continue
        if p.tsval is None:
            c = connections.get(frozenset((p.flow, back(p))))
            if c and p.flags & RST:
                c.reset = True
            continue
        c = connection_of(connections, p, idle_ns)
        if p.flags & ACK:
            seen = c.echo(p, back(p))
            if seen is not None and p.time_ns >= seen:
                yield (p.time_ns, *back(p), p.time_ns - seen, p.tsecr)
        c.remember(p)


def read(path, of=samples, **options):
    return list(of(pcapread.read(path), **options))


if __name__ == '__main__':
    for s in read(sys.argv[1]):
        print(*s, sep=',')
