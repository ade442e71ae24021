# SPDX-License-Identifier: GPL-3.0-or-later
"""Twins by brute force: for every packet of one capture, look at every packet of the other.

Follows the definitions of include/vnetscope/twin.h word by word, slowly and for small captures
only. match(a, b, guest, offset_ns) returns (class_a, class_b, samples): a class name per packet
of each capture, and (direction, proto, t_a, t_b) of the first byte of every matched upstream
packet. Times are the captures' own; offset_ns is what B's clock is ahead.
"""
from collections import defaultdict

WINDOW_NS = 10**9


def identity(p):
    """What two sightings of a packet without TCP payload have in common."""
    if p.kind == 'tcp':
        return p.flow + (p.seq, p.ack, p.flags, p.window, p.tsval, p.tsecr)
    if p.kind == 'udp':
        return p.flow + (bytes(p.payload), p.payload_len)
    return (p.src, p.dst, p.type, p.code, p.icmp_id, p.icmp_seq, bytes(p.payload))


def segments(p):
    """IP IDs that the wire segments of a frame may carry: one per 500 bytes at the most."""
    return 1 + p.payload_len // 500


def told_apart(up, down):
    """True/False when the IP IDs say whether @down holds wire segments of @up; None: no saying."""
    if up.v6 or (up.ip_id == 0 and down.ip_id == 0):
        return None
    if up.payload_len == down.payload_len:
        return up.ip_id == down.ip_id
    return (down.ip_id - up.ip_id) % 65536 < segments(up) or \
        (up.ip_id - down.ip_id) % 65536 < segments(down)


def possible(up, down, lag):
    return -10**6 <= lag(up, down) <= WINDOW_NS


class Direction:
    """One direction: @up and @down are the packets at the upstream and downstream points."""

    def __init__(self, name, up, down, lag):
        self.name, self.lag = name, lag
        self.up, self.down = up, down
        self.first = {}      # index of upstream packet -> downstream packet of its first byte
        self.doubt_up, self.doubt_down, self.seen = set(), set(), set()

    def run(self):
        whole_up, whole_down = defaultdict(list), defaultdict(list)
        bytes_up, bytes_down = defaultdict(list), defaultdict(list)
        for packets, whole, ranges in ((self.up, whole_up, bytes_up),
                                       (self.down, whole_down, bytes_down)):
            for p in packets:
                if p.kind == 'tcp' and p.payload_len:
                    ranges[p.flow + (p.tsval,)].append(p)
                else:
                    whole[identity(p)].append(p)
        for key, ups in whole_up.items():
            self.pair(ups, whole_down[key])
        for key, ups in bytes_up.items():
            self.overlap(ups, bytes_down[key])

    def take(self, up, down):
        self.first[up.index] = down
        self.seen.add(down.index)

    def pair(self, ups, downs):
        """Identical packets: the IP ID tells, else the order if all are there."""
        downs = [d for d in downs if any(possible(u, d, self.lag) for u in ups)]
        fits = {u.index: [d for d in downs if possible(u, d, self.lag) and
                          told_apart(u, d) is not False] for u in ups}
        rivals = defaultdict(int)
        for ds in fits.values():
            for d in ds:
                rivals[d.index] += 1
        if all(len(ds) <= 1 for ds in fits.values()) and all(n <= 1 for n in rivals.values()):
            for u in ups:
                for d in fits[u.index]:
                    self.take(u, d)
        elif len(ups) == len(downs):
            for u, d in zip(ups, downs):
                self.take(u, d)
        else:
            self.doubt_up.update(u.index for u in ups if fits[u.index])
            self.doubt_down.update(d.index for d in downs)

    def overlap(self, ups, downs):
        def holds(p, seq):
            return (seq - p.seq) % 2**32 < p.payload_len

        for u in ups:
            rivals = [v for v in ups if holds(v, u.seq)]
            ds = [d for d in downs if holds(d, u.seq) and possible(u, d, self.lag)]
            if len(rivals) > 1 or len(ds) > 1:
                same = [v for v in rivals if v.seq == u.seq and v.payload_len == u.payload_len]
                if u is same[0]:
                    self.pair(same, ds)
            elif ds:
                self.take(u, ds[0])
            if len(rivals) > 1:
                continue
            for d in downs:
                if (holds(d, u.seq) or holds(u, d.seq)) and possible(u, d, self.lag):
                    if u.index in self.first:
                        self.seen.add(d.index)
                    elif u.index in self.doubt_up:
                        self.doubt_down.add(d.index)


def match(a, b, guest, offset_ns):
    classes = [[None] * len(a), [None] * len(b)]
    samples = set()
    spans = [(p[0].time_ns, p[-1].time_ns) for p in (a, b)]

    def side(packets, to_guest):
        return [p for p in packets if p.kind in ('tcp', 'udp', 'icmp') and
                (p.dst if to_guest else p.src) in guest]

    for name, up, down in (('h2g', 0, 1), ('g2h', 1, 0)):
        sets = (a, b)
        sign = 1 if up == 0 else -1
        d = Direction(name, side(sets[up], name == 'h2g'), side(sets[down], name == 'h2g'),
                      lambda u, v: v.time_ns - u.time_ns - sign * offset_ns)
        d.run()
        for p in d.up:
            classes[up][p.index] = 'matched' if p.index in d.first else \
                'ambiguous' if p.index in d.doubt_up else 'missing'
            if p.index in d.first:
                pair = (p, d.first[p.index])[::sign]
                samples.add((name, p.kind, pair[0].time_ns, pair[1].time_ns))
        for p in d.down:
            classes[down][p.index] = 'matched' if p.index in d.seen else \
                'ambiguous' if p.index in d.doubt_down else 'missing'
    for point, packets in enumerate((a, b)):
        low, high = spans[not point]
        shift = -offset_ns if point else offset_ns
        for p in packets:
            if classes[point][p.index] is None:
                classes[point][p.index] = 'undecodable'
            elif classes[point][p.index] == 'missing' and not \
                    low <= p.time_ns + shift <= high:
                classes[point][p.index] = 'outside_window'
    return classes[0], classes[1], samples
