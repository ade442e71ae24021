#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope rtt sample by sample beside tshark, tcptrace and a loop like pping's -> doc/rtt-peers.md.

vnetscope's samples come from the program; why an acknowledgement gave none comes from tests/ref, whose
samples are checked to be the same. Kernel captures need root (namespaces); without it they are left out
and the document says so.
"""
import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'tests')
sys.path[:0] = [os.path.join(TESTS, 'netns'), os.path.join(TESTS, 'ref')]
import lossy  # noqa: E402
import pcapread  # noqa: E402
import rtt_ref  # noqa: E402
import seq_ref  # noqa: E402

GENERATED = (
    ('generated', '0.5 % lost on either side of the capture point', ['--seed', '3']),
    ('generated, hard', '4 % lost on either side, 4 % reordered',
     ['--seed', '4', '--loss', '4', '--reorder', '4']),
)
KERNEL = (
    ('kernel, MTU frames', 'Linux TCP, losses behind the capture point, SACK', False),
    ('kernel, superframes', 'the same with segmentation offload', True),
)
WORDS = {
    'matched': 'its last byte is acknowledged',
    'sacked': 'a new SACK block holds it',
    'ambiguous': 'its bytes passed more than once, or late: Karn\'s rule',
    'behind_hole': 'the ACK filled a hole, behind which it had waited',
    'after_sack': 'a SACK had acknowledged it before',
    'inside': 'the ACK ends inside a segment',
    'repeated': 'the ACK says nothing new',
    'reset': 'a RST: anyone on the path may send one',
    'old': 'an overtaken ACK',
    'unseen': 'the ACK is of bytes that were not captured',
    'no_data': 'nothing of that direction was captured before',
    'bounds': 'its bytes filled a part of a hole, or were repeated with other bounds',
    'first_copy': 'another copy\'s time',
    'parted': 'acknowledged in parts before, which ends it for tcptrace',
    'post_loss': 'something earlier was repeated in between, without delaying it',
    'quadrant': 'the same, but tcptrace cuts segments at multiples of 2^30, the wrap among them',
    'unexplained': 'UNEXPLAINED',
}


def run(*argv, **more):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True,
                          timeout=300, **more).stdout


class Case:
    """One capture, its packets, vnetscope's samples and the judge's word for each ACK."""

    def __init__(self, opts, path):
        self.path = path
        self.packets = pcapread.read(path)
        self.word, self.mine, self.begins = {}, {}, {}
        self.parted, self.length = set(), {}
        for p, word, r in seq_ref.verdicts(self.packets):
            self.word[p.index] = word
            back = (p.dst, p.dport, p.src, p.sport)
            if r:
                self.begins[*back, r.begin % 2**32] = word
                if word == 'inside':
                    self.parted.add((*back, r.begin % 2**32))
            if word in ('matched', 'sacked'):
                self.length[p.index] = r.end - r.begin
                self.mine[p.index] = (back, r.begin % 2**32, p.time_ns - r.ns)
        self.at = {p.index: p.time_ns for p in self.packets}
        self.check(opts)

    def check(self, opts):
        lines = run(opts.vnetscope, 'rtt', '-r', self.path, '--method', 'seq', '--samples', '--csv')
        got = sorted(tuple(x) for x in (line.split(',') for line in lines.splitlines())
                     if x[5] == 'seq')
        want = sorted((str(at), src, str(sport), dst, str(dport), 'seq', str(rtt), str(end), '0')
                      for at, src, sport, dst, dport, rtt, end in seq_ref.samples(self.packets))
        if got != want:
            sys.exit(f'{self.path}: vnetscope and tests/ref differ')


def beside_tshark(case):
    count = collections.Counter()
    theirs = {}
    for line in run('tshark', '-n', '-r', case.path, '-Y', 'tcp.analysis.ack_rtt', '-T', 'fields',
                    '-e', 'frame.number', '-e', 'tcp.analysis.ack_rtt').splitlines():
        frame, rtt = line.split('\t')
        theirs[int(frame) - 1] = round(float(rtt) * 1e9)
    for i in theirs.keys() | case.mine.keys():
        if i not in case.mine:
            count['theirs', case.word.get(i, 'no_data')] += 1
        elif i not in theirs:
            count['ours', case.word[i]] += 1
        else:
            same = abs(theirs[i] - case.mine[i][2]) <= 1000
            count['same' if same else 'other', 'first_copy'] += 1
    return len(theirs), count


def why_not_tcptrace(case, index, flow, begin, rtt):
    if case.word[index] == 'sacked':
        return 'sacked'
    if case.length[index] > -begin % 2**30 > 0:
        return 'quadrant'
    if (*flow, begin) in case.parted:
        return 'parted'
    now = case.at[index]
    for p in case.packets:
        if now - rtt < p.time_ns < now and p.kind == 'tcp' and p.flow == flow and p.payload_len and \
                0 < (begin - p.seq) % 2**32 < 2**31:
            return 'post_loss'
    return 'unexplained'


def beside_tcptrace(case):
    """Its samples by direction and first byte, in steps of 1 ms, as it writes them."""
    theirs = collections.Counter()
    with tempfile.TemporaryDirectory() as d:
        text = run('tcptrace', '-n', '-l', '-Z', '-r',
                   os.path.abspath(case.path), cwd=d)
        host = {m[1]: (m[2], int(m[3])) for m in
                re.finditer(r'host (\w+): +(\S+):(\d+)\n', text)}
        for name in os.listdir(d):
            a, b = name.split('_')[0].split('2')
            with open(os.path.join(d, name)) as f:
                for line in f:
                    seq, ms = line.split()
                    theirs[*host[a], *host[b], int(seq), int(ms)] += 1
    mine = collections.Counter()
    for back, begin, rtt in case.mine.values():
        mine[(*back, begin)] += 1
    count = collections.Counter()
    total = sum(theirs.values())
    value = {(*back, begin): rtt for back, begin, rtt in case.mine.values()}
    for (*key, ms), n in theirs.items():
        key = tuple(key)
        took = min(n, mine[key])
        mine[key] -= took
        near = key in value and abs(value[key] / 1e6 - ms) <= 1.01
        if took:
            count['same' if near else 'other', 'first_copy'] += took
        if n > took:
            count['theirs', 'quadrant' if key[4] % 2**30 == 0 else
                  case.begins.get(key, 'bounds')] += n - took
    for i, (back, begin, rtt) in case.mine.items():
        if mine[(*back, begin)] > 0:
            mine[(*back, begin)] -= 1
            count['ours', why_not_tcptrace(case, i, back, begin, rtt)] += 1
    return total, count


def like_pping(packets):
    """{index of the echo: why vnetscope --method ts has no such sample, or 'same'}, by pping's rules: a
    TSval of any segment, once both directions were seen; its first echo."""
    seen, waiting, out = set(), {}, {}
    highest = {}
    for p in packets:
        if p.kind != 'tcp' or p.tsval is None:
            continue
        back = (p.dst, p.dport, p.src, p.sport)
        seen.add(p.flow)
        if back not in seen:
            continue
        if p.tsval and (p.flow, p.tsval) not in waiting:
            pure = p.payload_len == 0 and not p.flags & 3
            newer = p.flow not in highest or rtt_ref.later(p.tsval, highest[p.flow])
            waiting[p.flow, p.tsval] = 'pure' if pure else 'data' if newer else 'backwards'
        if p.flow not in highest or rtt_ref.later(p.tsval, highest[p.flow]):
            highest[p.flow] = p.tsval
        what = waiting.get((back, p.tsecr))
        if p.tsecr and what and what != 'used':
            waiting[back, p.tsecr] = 'used'
            out[p.index] = what
    return out


def beside_pping(case):
    at = {}
    mine = set()
    for p in case.packets:
        if p.kind == 'tcp':
            at.setdefault((p.time_ns, p.dst, p.dport, p.src, p.sport), p.index)
    for s in rtt_ref.samples(case.packets):
        mine.add(at[s[0], *s[1:5]])
    theirs = like_pping(case.packets)
    count = collections.Counter()
    for i in theirs.keys() | mine:
        count['same' if i in theirs and i in mine else
              'pping only: TSval of a pure ACK' if theirs.get(i) == 'pure' else
              'pping only: TSval went back, or was passed by a later echo' if i in theirs else
              'vnetscope only: handshake, before the other direction was seen'] += 1
    return len(theirs), len(mine), count


def table(title, cases, results):
    rows = collections.OrderedDict()
    for name, (total, count) in zip(cases, results):
        for (who, word), n in count.items():
            text = {'same': f'same sample, same time', 'other': f'both: {WORDS[word]}',
                    'theirs': f'{title} only: {WORDS[word]}',
                    'ours': f'vnetscope only: {WORDS[word]}'}[who]
            rows.setdefault(text, {})[name] = n
    order = ('same', 'both', title, 'vnetscope')
    out = [f'| | {" | ".join(cases)} |', '|---|' + '---:|' * len(cases)]
    out.append(f'| **{title}\'s samples** | ' + ' | '.join(str(t) for t, _ in results) + ' |')
    for text in sorted(rows, key=lambda t: ([t.startswith(o) for o in order].index(True),
                                            -sum(rows[t].values()))):
        out.append(f'| {text} | ' + ' | '.join(str(rows[text].get(c, 0)) for c in cases) + ' |')
    return '\n'.join(out)


def captures(opts, folder):
    """(name, what, path) of each that could be made, and a sentence about the others."""
    made = []
    for i, (name, what, args) in enumerate(GENERATED):
        path = os.path.join(folder, f'g{i}.pcap')
        run(opts.gencap, '--out', path, '--packets', '30000', '--flows', '150', '--ipv6', '0',
            '--vlan', '0', '--udp', '0', '--icmp', '0', *args)
        made.append((name, what, path))
    for i, (name, what, offload) in enumerate(KERNEL):
        path = os.path.join(folder, f'k{i}.pcap')
        try:
            lossy.capture(path, f'vnspeer{os.getpid()}', True, [3_000_000] * 4, offload=offload)
        except (OSError, subprocess.SubprocessError) as e:
            return made, f'Kernel captures could not be made here ({e}).\n\n'
        made.append((name, what, path))
    return made, ''


HEAD = '''# Samples beside the peers'

Written by bench/rtt_peers.py; do not edit. The same captures for all: %s.
A sample by sequence numbers is *same* when it stands on the same acknowledgement with the same time
(tshark: to 1 us; tcptrace writes whole milliseconds and the segment's number: the same segment, to
1 ms). Every difference is counted below with its reason; vnetscope's definition is in
vnetscope-rtt(1) and lib/engine/rtt/seq.h, and its samples are those of a slow judge that shares
no code with it (tests/ref/seq_ref.py).

'''


def document(opts, folder):
    made, sentence = captures(opts, folder)
    cases = [Case(opts, path) for _, _, path in made]
    names = [name for name, _, _ in made]
    out = [HEAD % '; '.join(f'*{n}*: {w} ({len(c.packets)} packets)'
                            for (n, w, _), c in zip(made, cases)), sentence]
    out.append('## tshark (`tcp.analysis.ack_rtt`)\n\n' +
               table('tshark', names, [beside_tshark(c) for c in cases]))
    out.append('\n\ntshark also counts segments that were repeated and what waited behind a hole, from the '
               'time of the copy that it remembers; SACKs give it none.\n\n')
    out.append('## tcptrace (`-Z`)\n\n' +
               table('tcptrace', names, [beside_tcptrace(c) for c in cases]))
    out.append('\n\ntcptrace keeps Karn\'s rule for repetitions that it saw, not for segments that came late; '
               'SACKs give it none.\n\n')
    out.append('## Timestamps: a loop like pping\'s\n\n'
               'pping takes the TSval of every segment, pure ACKs included, once both directions were '
               'seen, and asks no order of TSvals.\n\n')
    out.append(f'| | {" | ".join(names)} |\n|---|' + '---:|' * len(names) + '\n')
    results = [beside_pping(c) for c in cases]
    out.append('| **pping-like samples** | ' + ' | '.join(str(r[0]) for r in results) + ' |\n')
    out.append('| **vnetscope --method ts** | ' + ' | '.join(str(r[1]) for r in results) + ' |\n')
    for text in sorted({t for r in results for t in r[2]}, key=lambda t: (t != 'same', t)):
        out.append(f'| {text} | ' + ' | '.join(str(r[2][text]) for r in results) + ' |\n')
    out.append('\nThe echo of a pure ACK\'s TSval waits for the next data of the other side: its '
               '"round trip" holds an application\'s pause.\n')
    return ''.join(out)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--vnetscope', required=True)
    p.add_argument('--gencap', required=True)
    p.add_argument('--doc', required=True)
    opts = p.parse_args()
    for tool in ('tshark', 'tcptrace'):
        if not shutil.which(tool):
            sys.exit(f'{tool} is not installed')
    folder = tempfile.mkdtemp()
    try:
        os.chmod(folder, 0o777)
        text = document(opts, folder)
        with open(opts.doc, 'w') as f:
            f.write(text)
    except BaseException:
        shutil.rmtree(folder)
        raise
    if WORDS['unexplained'] in text:
        sys.exit(f'a difference is not explained; the captures are kept in {folder}')
    shutil.rmtree(folder)


if __name__ == '__main__':
    main()
