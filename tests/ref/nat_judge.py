# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold what twindump says of two captures with NAT between them to nat_ref, packet by packet."""
import subprocess

import nat_ref
import pcapread


def run(twindump, host, guest, addresses, offset_ns):
    """(samples, {kind, protocol, both ends: flows}, {point: classes}) of the engine."""
    out = subprocess.run([twindump, host, guest, str(offset_ns), '5000000000', '64', *addresses, 'nat'],
                         capture_output=True, text=True, timeout=900, check=True).stdout
    samples, maps, counts = [], {}, {}
    for line in out.splitlines():
        c = line.split()
        if c[0] == 'S':
            samples.append((c[1], c[2], int(c[3]), int(c[4])))
        elif c[0] == 'M':
            maps[c[6], int(c[1]), (c[2], int(c[3])), (c[4], int(c[5]))] = int(c[7])
        elif c[0] == 'C':
            counts[c[1]] = dict(zip(('read', 'matched', 'missing', 'ambiguous', 'outside_window',
                                     'undecodable'), map(int, c[2:])))
    return samples, maps, counts


def expected_maps(flows):
    """One rule per protocol, addresses and way; forwarded ones by port; ports where all flows agree."""
    rules = {}
    for f in flows:
        kind = 'forward' if f.forwarded else 'masquerade'
        ports = (0, 0) if f.proto in (1, 58) else (f.outer[1], f.inner[1])  # an echo has no port
        key = (kind, f.proto, f.outer[0], f.inner[0], ports[1] if f.forwarded else None)
        rules.setdefault(key, []).append(ports)
    maps = {}
    for (kind, proto, a, b, _), ports in rules.items():
        port = [at[0] if len(set(at)) == 1 else 0 for at in zip(*ports)]
        maps[kind, proto, (a, port[0]), (b, port[1])] = len(ports)
    return maps


def judge(twindump, host, guest, addresses, offset_ns, case):
    """Raise AssertionError where the engine is wrong. Return: the reference, number of samples."""
    ref = nat_ref.Judge(pcapread.read(host), pcapread.read(guest), addresses, offset_ns)
    samples, maps, counts = run(twindump, host, guest, addresses, offset_ns)
    got = {s for s in samples if s[1] in nat_ref.KINDS}
    wrong, lost = got - ref.possible, ref.sure - got
    assert not wrong, '%s: %d of %d samples are no pair, as %s' % (case, len(wrong), len(got),
                                                                   sorted(wrong)[:2])
    assert not lost, '%s: %d of %d sure pairs are not found, as %s' % (case, len(lost), len(ref.sure),
                                                                       sorted(lost)[:2])
    sure = expected_maps(f for f in ref.flows.values() if f.sure)
    every = expected_maps(ref.flows.values())
    assert {k[:2] + (k[2][0], k[3][0]) for k in maps} == {k[:2] + (k[2][0], k[3][0]) for k in every}, \
        '%s: rules %s, expected %s' % (case, maps, every)
    assert sum(sure.values()) <= sum(maps.values()) <= sum(every.values()), (case, maps, sure, every)
    assert all(sum(n for k, n in c.items() if k != 'read') == c['read'] for c in counts.values())
    # the host's packets that are nobody's: those of flows not mapped, and no others
    maybe = sum(len(ref.strangers[name]) for name, f in ref.flows.items() if not f.sure)
    assert len(ref.foreign) <= counts['A']['undecodable'] <= len(ref.foreign) + maybe, \
        (case, counts['A'], len(ref.foreign), maybe)
    return ref, len(got)
