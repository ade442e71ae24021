#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""--max-memory: a million flows at once under limits below what they need. The kernel's own figure of the
peak (ru_maxrss of wait4) stays below, counts add up, what was given up is said, too small a limit is
refused with the least that will do; what the stores count is what the kernel counts within 10 %, and
the same run prints the same. argv: vnetscope, vns-gencap."""
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest

VNETSCOPE = GENCAP = None
FLOWS = 1000000
MIB = 1 << 20
CLASSES = ('matched', 'missing', 'ambiguous', 'outside_window', 'undecodable')


def ether(src, dst, sport, dport, seq, ack, flags, payload=b''):
    ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 40 + len(payload), 0, 0, 64, 6, 0, src, dst)
    tcp = struct.pack('>HHIIBBHHH', sport, dport, seq, ack, 5 << 4, flags, 1000, 0, 0)
    return bytes(12) + b'\x08\x00' + ip + tcp + payload


def handshakes(path, n):
    """n flows, each a SYN and after 1000 + i % 1000 us its SYN-ACK; none of them ends."""
    there = ether(b'\x0a\0\0\0', b'\x0b\0\0\1', 1000, 80, 7, 0, 2)
    back = ether(b'\x0b\0\0\1', b'\x0a\0\0\0', 80, 1000, 9, 8, 18)
    record = struct.Struct('<IIII')
    size = 16 + len(there)
    pair = bytearray(record.pack(0, 0, len(there), len(there)) + there +
                     record.pack(0, 0, len(back), len(back)) + back)
    stamp = struct.Struct('<II')
    with open(path, 'wb') as f:
        f.write(struct.pack('<IHHIIII', 0xa1b23c4d, 2, 4, 0, 0, 65535, 1))
        chunk = bytearray()
        for i in range(n):
            at = i * 20000
            stamp.pack_into(pair, 0, at // 10**9, at % 10**9)
            at += 1000 + i % 1000
            stamp.pack_into(pair, size, at // 10**9, at % 10**9)
            pair[16 + 26:16 + 30] = pair[size + 16 + 30:size + 16 + 34] = struct.pack('>I', i)
            chunk += pair
            if len(chunk) > MIB:
                f.write(chunk)
                chunk.clear()
        f.write(chunk)


# A child's peak begins with the memory of whom it was forked from: started by a small process.
STARTER = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
with open(3, 'w') as f:
    print(os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024, file=f)
"""


def run(*argv):
    """(exit status, stdout, stderr, peak in bytes)"""
    told, tell = os.pipe()
    r = subprocess.run(['sh', '-c', f'exec 3>&{tell} "$@"', 'sh', sys.executable, '-S', '-c', STARTER,
                        VNETSCOPE, *argv], capture_output=True, text=True, timeout=900,
                       pass_fds=[tell])
    os.close(tell)
    with open(told) as f:
        code, peak = map(int, f.read().split())
    return code, r.stdout, r.stderr, peak


class Rtt(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory()
        cls.pcap = os.path.join(cls.dir.name, 'c.pcap')
        handshakes(cls.pcap, FLOWS)

    @classmethod
    def tearDownClass(cls):
        cls.dir.cleanup()

    def test_peak_and_counts(self):
        figures = set()
        for limit, more in ((0, []), (128, []), (64, []), (32, []), (64, ['-j', '2']),
                            (256, ['--flows']), (96, ['--by', 'host'])):
            at_most = ['--max-memory', f'{limit}M'] if limit else []
            code, out, err, peak = run('rtt', '-r', self.pcap, '--json', *at_most, *more)
            with self.subTest(limit=limit, more=more):
                self.assertEqual(code, 0, err)
                doc = json.loads(out)
                print(f'limit {limit} MiB {more}: peak {peak / MIB:.1f} MiB', file=sys.stderr)
                f = doc['totals']['flows']
                self.assertEqual(f['opened'], FLOWS)
                self.assertEqual(f['opened'], f['live'] + f['closed'] + f['evicted_idle'] +
                                 f['evicted_full'] + f['ports_reused'])
                hand = doc['totals']['methods']['handshake']
                self.assertEqual(hand['samples'], FLOWS)
                figures.add(json.dumps(hand))
                left = doc['accounting']['flows_out_of_memory']
                said = re.search(r'--max-memory was reached ([\d.]+) s after the first packet: '
                                 r'(\d+) flows', err)
                if not limit:
                    self.assertGreater(peak, 130 * MIB)  # else the limits below are none
                    self.assertEqual((left, said), (0, None))
                    continue
                self.assertLess(peak, limit * MIB)
                self.assertGreater(peak, limit * MIB / 4)  # and it is made use of
                self.assertEqual(left, f['evicted_full'])
                self.assertGreater(left, 0)
                self.assertEqual(int(said.group(2)), left)
                # whoever left after its SYN-ACK had that one waiting, by number; none came back
                cost = re.search(r'(\d+) timestamp values and (\d+) segments waited in them for an answer and give '
                                 r'no round trip; (\d+) of the flows came back', err)
                self.assertEqual(tuple(map(int, cost.groups())), (0, doc['accounting']['seq_pushed_out'], 0))
                self.assertLessEqual(left, doc['accounting']['seq_pushed_out'])
                self.assertEqual(f['returned'], 0)
                if '--flows' in more:
                    # a row has one sample: the handshake's, or the SYN's by its sequence number
                    self.assertEqual(len(doc['flows']) + doc['accounting']['flows_hidden'],
                                     2 * FLOWS)
                if '--by' in more:
                    held = sum(g['samples'] for g in doc['groups'])
                    self.assertEqual(held + doc['groups_lost_samples'], 2 * FLOWS)
        self.assertEqual(len(figures), 1)  # the totals lose nothing

    def test_the_same_twice(self):
        """Decided by counted bytes: the same rows, groups and figures, by one thread and by two."""
        capture = os.path.join(self.dir.name, 'mixed.pcap')
        subprocess.run([GENCAP, '--out', capture, '--flows', '40000', '--packets', '400000', '--snap', '96',
                        '--icmp', '5', '--udp', '10', '--duration', '20'], check=True, timeout=900,
                       capture_output=True)
        for limit, more in ((40, ['--flows']), (32, ['--by', 'host']), (20, [])):
            docs = set()
            for threads in ('1', '2', '1'):
                code, out, err, peak = run('rtt', '-r', capture, '--json', '-j', threads, '--max-memory',
                                           f'{limit}M', *more)
                self.assertEqual(code, 0, err)
                self.assertIn('--max-memory was reached', err)
                self.assertLess(peak, limit * MIB)
                docs.add(re.sub(r'"(argv|run_id|time)": ?(\[.*?\]|"[^"]*")', '', out, flags=re.S))
            self.assertEqual(len(docs), 1, (limit, more))

    def test_counted_is_resident(self):
        small = os.path.join(self.dir.name, 'small.pcap')
        handshakes(small, FLOWS // 10)
        for path, more in ((small, []), (small, ['--flows']), (small, ['--by', 'host']), (self.pcap, [])):
            code, out, err, peak = run('rtt', '-r', path, '--json', '--max-memory', '8G', *more)
            self.assertEqual(code, 0, err)
            counted = json.loads(out)['accounting']['memory_bytes']
            print(f'{os.path.basename(path)} {more}: counted {counted / MIB:.1f} MiB, resident '
                  f'{peak / MIB:.1f} MiB, {counted / peak:.3f}', file=sys.stderr)
            self.assertLess(abs(counted / peak - 1), 0.1, (path, more))

    def test_refused(self):
        code, _, err, _ = run('rtt', '-r', self.pcap, '--max-memory', '8M')
        least = re.search(r'8 MiB are too small, (\d+) MiB is the least here', err)
        self.assertTrue(code == 2 and least, (code, err))
        for more in ([], ['-j', '2'], ['--flows']):
            code, _, err, peak = run('rtt', '-r', self.pcap, '--json', '--max-memory',
                                     f'{least.group(1)}M', *more)
            self.assertEqual(code, 0, err)
            self.assertLess(peak, int(least.group(1)) * MIB)
            self.assertLess(int(least.group(1)) * MIB, peak + 8 * MIB, more)  # no more than it takes
        for bad in ('x', '1T', '-1M', '1MB'):
            code, _, err, _ = run('rtt', '-r', self.pcap, '--max-memory', bad)
            self.assertTrue(code == 2 and 'is not a size' in err, (bad, code, err))


class Vo(unittest.TestCase):
    """A million packets at the host within the window, one in a thousand of them at the guest."""

    def test_peak_and_counts(self):
        with tempfile.TemporaryDirectory() as folder:
            files = [os.path.join(folder, n) for n in ('host', 'guest')]
            self.write(*files)
            argv = ['vo', '--host', files[0], '--guest', files[1], '--guest-addr', '11.0.0.1',
                    '--offset-ns', '0', '--json']
            matched = set()
            for limit, more in ((0, []), (110, []), (72, []), (72, ['-j', '2'])):
                at_most = ['--max-memory', f'{limit}M'] if limit else []
                code, out, err, peak = run(*argv, *at_most, *more)
                self.assertEqual(code, 0, err)
                print(f'vo, limit {limit} MiB {more}: peak {peak / MIB:.1f} MiB', file=sys.stderr)
                t = json.loads(out)['targets'][0]
                for point, n in (('host', FLOWS), ('guest', FLOWS // 1000)):
                    c = t['accounting'][point]
                    self.assertEqual(c['read'], n)
                    self.assertEqual(sum(c[k] for k in CLASSES), n)
                matched.add(t['accounting']['guest']['matched'])
                if not limit:
                    self.assertGreater(peak, 130 * MIB)
                    self.assertEqual(t['evicted'], 0)
                    continue
                self.assertLess(peak, limit * MIB)
                self.assertGreater(t['evicted'], 1000)
                self.assertIn('--max-memory', t['note'])
            self.assertEqual(matched, {FLOWS // 1000})  # twins are near each other
            code, _, err, _ = run(*argv, '--max-memory', '8M')
            self.assertEqual(code, 2, err)
            self.assertRegex(err, r'8 MiB are too small, \d+ MiB is the least here')

    @staticmethod
    def write(host, guest):
        frame = ether(b'\x0a\0\0\0', b'\x0b\0\0\1', 1000, 80, 7, 0, 2)
        record = bytearray(struct.pack('<IIII', 0, 0, len(frame), len(frame)) + frame)
        with open(host, 'wb') as h, open(guest, 'wb') as g:
            for f in (h, g):
                f.write(struct.pack('<IHHIIII', 0xa1b23c4d, 2, 4, 0, 0, 65535, 1))
            for i in range(FLOWS):
                record[16 + 26:16 + 30] = struct.pack('>I', 0x0a000000 + i)
                struct.pack_into('<II', record, 0, *divmod(10**18 + i * 4000, 10**9))
                h.write(record)
                if i % 1000 == 0:
                    struct.pack_into('<II', record, 0, *divmod(10**18 + i * 4000 + 50000, 10**9))
                    g.write(record)


if __name__ == '__main__':
    VNETSCOPE, GENCAP = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
