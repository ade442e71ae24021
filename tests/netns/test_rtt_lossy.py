#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope rtt --method seq on kernel TCP with real losses, repetitions and SACKs, with and without
segmentation offload and timestamps, against the slow judge. argv: vnetscope. Exit 77: no namespaces."""
import collections
import os
import subprocess
import sys
import tempfile

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)),
                os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref')]
import lossy  # noqa: E402
import pcapread  # noqa: E402
import seq_ref  # noqa: E402


def mine(vnetscope, path, *more):
    text = subprocess.run([vnetscope, 'rtt', '-r', path, '--method', 'seq', '--samples', '--csv', *more],
                          check=True, capture_output=True, text=True, timeout=60).stdout
    return [(int(x[0]), x[1], int(x[2]), x[3], int(x[4]), int(x[6]), int(x[7]))
            for x in (line.split(',') for line in text.splitlines()) if x[5] == 'seq']


def check(vnetscope, path, offload):
    packets = pcapread.read(path)
    words = collections.Counter(w for _, w, _ in seq_ref.verdicts(packets))
    assert words['sacked'] > 5 and words['ambiguous'] + words['after_sack'] > 0, words
    for more in ([], ['--inside']):
        got = mine(vnetscope, path, *more)
        want = list(seq_ref.samples(packets, inside=bool(more)))
        assert got == want, f'{len(got)} samples, {len(want)} wanted'
        print(f'offload {offload} {more}: {len(got)} samples as the judge says')
    print(dict(words))


def main():
    with tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o777)  # tcpdump gives up its privileges
        for offload in (False, True):
            path = os.path.join(d, f'{offload}.pcap')
            try:
                lossy.capture(path, f'vnslossy{os.getpid()}', not offload, [1_500_000] * 3,
                              offload=offload)
            except (OSError, subprocess.SubprocessError) as e:
                print(f'SKIP: {getattr(e, "stderr", None) or e}')
                return 77
            check(sys.argv[1], path, offload)
    return 0


if __name__ == '__main__':
    sys.exit(main())
