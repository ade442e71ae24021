# SPDX-License-Identifier: GPL-3.0-or-later
"""A slow judge of round trips by sequence numbers: packets -> samples, with lists and no limits.

Written from the definition in vnetscope-rtt(1), RFC 9293, RFC 2018 and Karn and Partridge (1987), not
from lib/: every range of a direction is kept for ever and all are searched for each ACK; numbers are
counted on beyond 32 bits. Samples are tuples (at_ns, src, sport, dst, dport, rtt_ns, end): the segment
of src to dst that ends at number end, and its acknowledgement.

usage: seq_ref.py FILE    prints the samples as CSV
"""
import sys

import rtt_ref
from rtt_ref import ACK, FIN, RST, SYN

FAR = 1 << 30


class Range:
    def __init__(self, begin, end, ns, spent):
        self.begin, self.end, self.ns, self.spent, self.sacked = begin, end, ns, spent, False


class Sender:
    """What one side sent and what of it was acknowledged, as the capture point saw it."""

    def __init__(self):
        self.ranges, self.una, self.high, self.closed_window = [], None, None, False

    def number(self, n):
        """The 32-bit number n, counted on from the highest sent."""
        ahead = (n - self.high) % 2**32
        return self.high + (ahead - 2**32 if ahead >= 2**31 else ahead)

    def begin_at(self, n):
        self.ranges, self.una, self.high = [], n, n

    def send(self, p, size):
        probe = self.closed_window and size == 1 and not p.flags & (SYN | FIN)
        if self.high is None:
            self.begin_at(p.seq)
        begin = self.number(p.seq)
        if abs(begin - self.high) > FAR:
            self.begin_at(p.seq)
            begin = p.seq
        end = begin + size
        if begin > self.high:  # a hole: when it was filled, nobody knows yet
            self.ranges.append(Range(self.high, begin, float('inf'), True))
        for r in self.ranges:
            if max(begin, self.una) < r.end and r.begin < end and begin < self.high:
                r.ns, r.spent = p.time_ns, True
        begin = max(begin, self.high)
        if end > begin:
            self.ranges.append(Range(begin, end, p.time_ns, probe))
            self.high = end

    def acknowledge(self, p, inside):
        """What the acknowledgement came to, and the range that it gives a sample for, or would."""
        if self.high is None:
            return 'no_data', None
        n = self.number(p.ack)
        if n > self.high:
            self.begin_at(n)
            return 'unseen', None
        if n > self.una:
            found = self.rise_to(n, inside)
            if p.sack:
                self.sack(p)
            return found
        return self.sack(p) if p.sack and n == self.una else \
            ('repeated' if n == self.una else 'old', None)

    def rise_to(self, n, inside):
        new = [r for r in self.ranges if r.end <= n]
        self.ranges = [r for r in self.ranges if r.end > n]
        self.una = n
        newest = max((r.ns for r in new), default=0)
        if new and new[-1].end == n:
            last = new[-1]
        elif self.ranges:
            last = Range(self.ranges[0].begin, n, self.ranges[0].ns, self.ranges[0].spent)
            last.sacked = self.ranges[0].sacked
            if not inside:
                return 'inside', last
        else:
            return 'unseen', None
        return ('after_sack' if last.sacked else 'ambiguous' if last.spent else
                'behind_hole' if newest > last.ns else 'matched'), last

    def sack(self, p):
        left, right = self.number(p.sack[0]), self.number(p.sack[1])
        if not self.una < left < right <= self.high:
            return 'repeated', None
        new = [r for r in self.ranges
               if left <= max(r.begin, self.una) and r.end <= right and not r.sacked]
        for r in new:
            r.sacked = True
        last = max(new, key=lambda r: (r.ns, r.end), default=None)
        return ('repeated' if not last else 'ambiguous' if last.spent else 'sacked'), last


def verdicts(packets, inside=False, idle_ns=300 * 10**9):
    """Each TCP packet that may acknowledge, the word for what it came to, its range or None."""
    connections = {}
    for p in packets:
        if p.kind != 'tcp':
            continue
        c = rtt_ref.connection_of(connections, p, idle_ns)
        if not hasattr(c, 'sender'):
            c.sender = {p.flow: Sender(), rtt_ref.back(p): Sender()}
        if p.flags & RST:
            yield p, 'reset', None
            continue
        if p.flags & ACK:
            peer = c.sender[rtt_ref.back(p)]
            yield p, *peer.acknowledge(p, inside)
            peer.closed_window = p.window == 0
        size = p.payload_len + bool(p.flags & SYN) + bool(p.flags & FIN)
        if size:
            c.sender[p.flow].send(p, size)


def samples(packets, **options):
    for p, word, r in verdicts(packets, **options):
        if word in ('matched', 'sacked') and p.time_ns >= r.ns:
            yield (p.time_ns, p.dst, p.dport, p.src, p.sport, p.time_ns - r.ns, r.end % 2**32)


def read(path, **options):
    return rtt_ref.read(path, of=samples, **options)


if __name__ == '__main__':
    for s in read(sys.argv[1]):
        print(*s, sep=',')
