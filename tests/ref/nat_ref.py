# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairing through NAT by brute force, to judge the engine's packet by packet.

Written from vnetscope-vo(1), "What is a twin", RFC 3022 and RFC 6296; shares nothing with lib/. For small
captures only: every packet of the host is held against every packet of the guest.

Judge(host, guest, guest_addresses, offset_ns) knows, of a capture outside the translation and one in the
guest:
  flows     {flow at the host: Flow}: what each of the host's strange flows is at the guest
  possible  {(dir, proto, t_host, t_guest)}: every pair that a sample may be
  sure      those of them that must be found: no other packet at either point could be meant
  foreign   indices of the host's packets that belong to no flow of the guest's
"""
import ipaddress
from collections import Counter, defaultdict
from types import SimpleNamespace

WINDOW_NS = 5 * 10**9
SLACK_NS = 20 * 10**6   # a latency may be negative by so much while the clocks are not known
ENOUGH, ENOUGH_BARE = 3, 6
KINDS = ('tcp', 'udp', 'icmp')
COMPARED = 32           # payload bytes that make a packet itself
BEGIN = 24              # ... that make a datagram the beginning of a frame


def ends(p):
    """Both ends, sender first. An echo's ends have its identifier in place of a port."""
    port = (p.icmp_id, p.icmp_id) if p.kind == 'icmp' else (p.sport, p.dport)
    return (p.src, port[0]), (p.dst, port[1])


def flow(p):
    return (p.kind,) + tuple(sorted(ends(p)))


def same(kind, end_a, end_b):
    """Is it one end at both points? An echo's identifier may be translated as a port may."""
    return end_a[0] == end_b[0] if kind == 'icmp' else end_a == end_b


def look(p):
    """What a packet has in common with all that may be it elsewhere."""
    return content(p)[4:] if p.kind == 'tcp' else (p.kind, bytes(p.payload[:BEGIN]))


def begins(p, q):
    """Is one datagram a frame of several (UDP GSO, GRO), and the other the first of them?"""
    n = min(len(p.payload), len(q.payload), COMPARED)
    return p.kind == q.kind == 'udp' and min(p.payload_len, q.payload_len) > BEGIN and \
        p.payload_len != q.payload_len and p.ip_id == q.ip_id and p.payload[:n] == q.payload[:n]


def inside(p, frame):
    """May a datagram be one of those that were joined to @frame? Captures cut its payload."""
    if not p.kind == frame.kind == 'udp' or not 0 < p.payload_len < frame.payload_len:
        return False
    mine, all_of_it = bytes(p.payload), bytes(frame.payload)
    return len(all_of_it) < frame.payload_len or all_of_it.endswith(mine) or \
        (p.payload_len > BEGIN and mine in all_of_it)


def content(p):
    """What address translation leaves of a packet; the IP ID is no router's to change."""
    what = (p.kind, p.payload_len, bytes(p.payload[:COMPARED]), p.ip_id)
    if p.kind == 'tcp':
        return what + (p.seq, p.ack, p.flags, p.window, p.tsval, p.tsecr)
    if p.kind == 'icmp':
        return what + (p.type, p.code, p.icmp_seq)
    return what


def same_bytes(up, down):
    """Does @down hold the first byte of @up (TCP), or is it the same packet?"""
    if up.kind != down.kind:
        return False
    if up.kind == 'udp' and (begins(up, down) or inside(up, down)):
        return True
    if up.kind != 'tcp' or not (up.payload_len or up.flags & 3):
        return content(up) == content(down)
    if up.tsval != down.tsval or (up.flags ^ down.flags) & 2 or \
            not (down.payload_len or down.flags & 3):
        return False
    skip = (up.seq - down.seq) % 2**32
    if skip >= max(down.payload_len, 1):
        return False
    if up.payload_len == down.payload_len and not skip and up.ip_id and down.ip_id and \
            up.ip_id != down.ip_id:
        return False
    n = min(len(up.payload), len(down.payload) - skip, COMPARED)
    return n <= 0 or bytes(up.payload[:n]) == bytes(down.payload[skip:skip + n])


def overlap(p, q):
    return (p.seq - q.seq) % 2**32 < q.payload_len or (q.seq - p.seq) % 2**32 < p.payload_len


def contested(up, ups, downs):
    """Were bytes of @up sent twice, or do they arrive twice? Then it may be ambiguous."""
    if up.kind != 'tcp' or not up.payload_len:
        return False
    mine = [d for d in downs if d.payload_len and overlap(up, d)]
    return any(u is not up and u.payload_len and overlap(u, up) for u in ups) or \
        any(overlap(d, e) for d in mine for e in mine if d is not e)


def flooded(p):
    """Multicast of a sender that has an address: the guest's too, as vnetscope-vo(1) says."""
    return bool(p.src) and ipaddress.ip_address(p.dst).is_multicast and \
        not ipaddress.ip_address(p.src).is_unspecified


class Judge:
    def __init__(self, host, guest, addresses, offset_ns=0):
        self.addresses, self.offset = set(addresses), offset_ns
        self.a = [p for p in host if p.kind in KINDS]
        self.b = [p for p in guest if p.kind in KINDS and self.addresses & {p.src, p.dst}]
        self.others = [p.index for p in host if p.kind not in KINDS and not flooded(p)]
        self.strangers = defaultdict(list)
        for p in self.a:
            if not self.addresses & {p.src, p.dst} and not flooded(p):
                self.strangers[flow(p)].append(p)
        self.flows = self.learn()
        self.foreign = {p.index for f, packets in self.strangers.items() if f not in self.flows
                        for p in packets} | set(self.others)
        self.possible, self.sure = self.pairs()

    def lag(self, a, b, to_guest):
        diff = b.time_ns - a.time_ns - self.offset
        return diff if to_guest else -diff

    def evidence(self):
        """{flow at A: {flow at B, with the end that both have: packets that agree}}"""
        at_b = defaultdict(list)
        for b in self.b:
            at_b[look(b)].append(b)
        found = defaultdict(lambda: defaultdict(set))
        for name, packets in self.strangers.items():
            for a in packets:
                for to_guest in (True, False):
                    mine = [b for b in at_b.get(look(a), ()) if (content(a) == content(b) or begins(a, b)) and
                            self.may_become(a, b, to_guest)]
                    # one flow of that end's, or it tells nothing
                    if len({flow(b) for b in mine}) != 1:
                        continue
                    if any(-SLACK_NS <= self.lag(a, b, to_guest) <= WINDOW_NS for b in mine):
                        (peer_a, peer_b), _ = self.parts(a, mine[0], to_guest)
                        found[name][flow(mine[0]), peer_a, peer_b].add((content(a), to_guest))
        return found

    @staticmethod
    def parts(a, b, to_guest):
        """Both points' view of the peer's end, and of the guest's."""
        (src_a, dst_a), (src_b, dst_b) = ends(a), ends(b)
        both = (src_a, src_b), (dst_a, dst_b)
        return both if to_guest else both[::-1]

    def may_become(self, a, b, to_guest):
        """One end is the same and plays the same part; the other is the guest's."""
        if a.v6 != b.v6 or (b.dst if to_guest else b.src) not in self.addresses:
            return False
        (peer_a, peer_b), (outer, inner) = self.parts(a, b, to_guest)
        return same(a.kind, peer_a, peer_b) and not same(a.kind, outer, inner) and \
            not same(a.kind, outer, peer_b) and not same(a.kind, peer_a, inner)

    def learn(self):
        """Which flows are translated, and how. @sure: whatever else was learnt before."""
        found = self.evidence()
        claims = Counter((c, peer[0], peer[1] if name[0] != 'icmp' else 0)
                         for name, by in found.items() for (_, peer, _), cs in by.items() for c in cs)
        flows = {}
        for name, by in found.items():
            first = self.strangers[name][0]
            if len(by) != 1:
                continue  # contradictions: never
            (at_b, peer, peer_b), contents = next(iter(by.items()))
            if any(claims[c, peer[0], peer[1] if name[0] != 'icmp' else 0] > 1 for c in contents):
                continue
            bare = name[0] != 'tcp' and any(not c[0][3] for c in contents)
            mine = [e for e in name[1:] if e != peer][0]
            inner = [e for e in at_b[1:] if e != peer_b][0]
            flows[name] = SimpleNamespace(
                at_b=at_b, peer=peer, peer_b=peer_b, outer=mine, inner=inner, n=len(contents),
                bare=bare, forwarded=ends(first)[0] == peer, proto=first.proto,
                sure=len(contents) >= (ENOUGH_BARE if bare else ENOUGH))
        known = {(f.outer[0], f.inner[0]) for f in flows.values() if f.sure}
        return {name: f for name, f in flows.items() if f.sure or (f.outer[0], f.inner[0]) in known}

    def translated(self, p):
        """The packet's ends as the guest's side has them; None: no packet of the guest's."""
        if self.addresses & {p.src, p.dst}:
            return ends(p)
        f = self.flows.get(flow(p))
        return f and tuple(f.inner if e == f.outer else f.peer_b for e in ends(p))

    def pairs(self):
        way = defaultdict(lambda: ([], []))  # flow direction at the guest: packets of A, of B
        for a in self.a:
            there = self.translated(a)
            if there:
                way[a.kind, there][0].append(a)
        for b in self.b:
            way[b.kind, ends(b)][1].append(b)
        found, rivals = [], Counter()
        for (kind, (_, dst)), (host, guest) in way.items():
            to_guest = dst[0] in self.addresses
            ups, downs = (host, guest) if to_guest else (guest, host)
            for up in ups:
                torn = contested(up, ups, downs)
                for down in downs:
                    a, b = (up, down) if to_guest else (down, up)
                    if not same_bytes(up, down) or \
                            not -SLACK_NS <= self.lag(a, b, to_guest) <= WINDOW_NS:
                        continue
                    f = self.flows.get(flow(a))
                    claims = ('of', to_guest, up.index), \
                        ('on', to_guest, down.index, up.seq if kind == 'tcp' else 0)
                    rivals.update(claims)
                    found.append((('h2g' if to_guest else 'g2h', kind, a.time_ns, b.time_ns), claims,
                                  not torn and (not f or f.sure)))
        return {key for key, _, _ in found}, \
            {key for key, claims, sure in found if sure and all(rivals[c] == 1 for c in claims)}
