# SPDX-License-Identifier: GPL-3.0-or-later
"""95 % intervals from a list of (at_ns, value), slowly: by the definitions at the head of
lib/stat/intervals.c, with lists, and order statistics by the incomplete beta function instead of an
expansion. Shares no code with lib/."""
import math

T975 = {5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 11: 2.201, 12: 2.179,
        13: 2.160, 14: 2.145, 15: 2.131, 16: 2.120, 17: 2.110, 18: 2.101, 19: 2.093}


def bucket(v):
    """(lowest, highest) of the log-linear histogram's bucket of a value >= 0."""
    if v < 64:
        return v, v
    width = 1 << (v.bit_length() - 7)
    return v // width * width, v // width * width + width - 1


def nearest_rank(values, q):
    """As the figures are read: extremes exactly, the rest from the middle of the bucket."""
    n = len(values)
    rank = min(max(math.ceil(q * n * (1 - 1e-12)), 1), n)
    if rank in (1, n):
        return values[rank - 1]
    lo, hi = bucket(values[rank - 1])
    return min(max((lo + hi) // 2, values[0]), values[-1])


def batches(samples):
    """At most 64 aligned blocks of time as short as can be, joined to 20 of about equal mass."""
    shift = 10
    while len({at >> shift for at, _ in samples}) > 64:
        shift += 1
    blocks = {}
    for at, v in samples:
        blocks.setdefault(at >> shift, []).append(v)
    n, before, out = len(samples), 0, {}
    want = n // 2 if n < 40 else 20
    for _, values in sorted(blocks.items()):
        out.setdefault(int(want * (before + len(values) / 2) / n), []).extend(values)
        before += len(values)
    return list(out.values())


def variance(groups, figure, of):
    """Of the ratio sum(of(v)) / n, and the skewness of the residuals."""
    n, k = sum(map(len, groups)), len(groups)
    r = [sum(map(of, g)) - figure * len(g) for g in groups]
    square = sum(x * x for x in r)
    if not square:
        return 0, 0
    phi = min(max(sum(a * b for a, b in zip(r, r[1:])) / square - 0.1, 0), 0.8)
    skew = sum(x**3 for x in r) / k / (square / k)**1.5
    return k / (k - 1) * square / n**2 * (1 + phi) / (1 - phi), skew


def beta(a, b, x):
    """The regularised incomplete beta function, by Simpson's rule on a substitution that has no
    singular ends: x = sin(u)**2."""
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)

    def f(u):
        s, c = math.sin(u), math.cos(u)
        if s <= 0 or c <= 0:
            return 0.0
        return 2 * math.exp(scale + (2 * a - 1) * math.log(s) + (2 * b - 1) * math.log(c))

    top, steps = math.asin(math.sqrt(x)), 400 if a + b < 2000 else 2000
    h = top / steps
    return h / 3 * sum((1 if i in (0, steps) else 4 if i % 2 else 2) * f(i * h)
                       for i in range(steps + 1))


def rank(n, q, p):
    """The real r for which the r-th of n is below the quantile with probability p."""
    lo, hi = 1e-3, n + 1 - 1e-3
    for _ in range(26):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if beta(mid, n - mid + 1, q) > p else (lo, mid)
    return lo


def intervals(samples):
    """{"mean": (lower, upper) or None; "p50", "p95", "p99": the ranges in which lower and upper may
    lie, or None; "tail": the effective samples on each percentile's thin side}."""
    out = {'mean': None, 'p50': None, 'p95': None, 'p99': None, 'tail': {}}
    n = len(samples)
    if n < 16:
        return out
    values = sorted(v for _, v in samples)
    groups = batches(samples)
    effective = n * n / sum(len(g)**2 for g in groups)
    if effective < 6:
        return out
    t, k = T975[int(effective) - 1], len(groups)
    mean = sum(values) / n
    v, skew = variance(groups, mean, lambda x: x)
    b, t_mean = 1.4 * skew / 6 / math.sqrt(k), 1.03 * t

    def g(z):
        y = 1 + 6 * b * (z - b)
        return z if abs(b) < 1e-6 else (math.copysign(abs(y)**(1 / 3), y) - 1) / (2 * b)

    out['mean'] = max(mean - g(t_mean) * math.sqrt(v), values[0]), mean - g(-t_mean) * math.sqrt(v)
    median = None
    for name, q in (('p50', 0.50), ('p95', 0.95), ('p99', 0.99)):
        top = bucket(nearest_rank(values, q))[1]
        p = sum(x > top for x in values) / n
        v, _ = variance(groups, p, lambda x: x > top)
        deff = v / (p * (1 - p) / n) if v > 0 else 1
        median = deff if median is None else median
        out['tail'][name] = n / max(deff, median, 1) * min(q, 1 - q)
        if out['tail'][name] < 8:
            continue
        ne = n / deff * (1.96 / t)**2
        if ne > 1e5:  # Simpson's steps would not do
            half = 1.96 * math.sqrt(q * (1 - q) / ne)
            shares = q - half, q + half
        else:
            shares = rank(ne, q, 0.975) / (ne + 1), rank(ne, q, 0.025) / (ne + 1)
        room = 0.15 / (ne + 1) + 0.1 / n  # what an expansion of the rank may be off by
        ends = [[bucket(nearest_rank(values, min(max(s + d, 0), 1)))[i] for d in (-room, room)]
                for i, s in enumerate(shares)]
        out[name] = tuple([min(max(v, values[0]), values[-1]) for v in end] for end in ends)
    return out
