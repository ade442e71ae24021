#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope rtt from the outside: contract of its outputs, bad input, exit codes. argv: vnetscope."""
import csv
import gzip
import io
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'ref'))
from pcapmake import ACK, PSH, dns, echo, ethernet, pcap, pcapng, tcp, udp  # noqa: E402

VNETSCOPE = None
T0 = 1700000000 * 10**9
A, B, C = ('10.0.0.1', 40000), ('10.0.0.2', 80), ('10.0.0.3', 81)
FIGURES = ['min', 'mean', 'p50', 'p95', 'p99', 'max', 'stddev']


def exchange(n, a=A, b=B, rtt_us=100, t0=T0):
    out = []
    for i in range(n):
        t = t0 + i * 5_000_000
        out.append((t, tcp(*a, *b, ACK | PSH, 100 + i, 50 + i, 10)))
        out.append((t + (rtt_us + i) * 1000, tcp(*b, *a, ACK, 51 + i, 100 + i)))
    return out


class Rtt(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()

    def tearDown(self):
        self.dir.cleanup()

    def file(self, data, name='x.pcap'):
        path = os.path.join(self.dir.name, name)
        with open(path, 'wb') as f:
            f.write(data)
        return path

    def run_rtt(self, *args, code=0, says=None, **more):
        r = subprocess.run([VNETSCOPE, 'rtt', *args], capture_output=True, text=True, timeout=900,
                           **more)
        self.assertEqual(r.returncode, code, r.stderr + r.stdout)
        if says is None:
            self.assertEqual(r.stderr, '')
        else:
            self.assertIn(says, r.stderr)
            self.assertEqual(r.stderr.count('\n'), 1, 'one sentence: ' + r.stderr)
        return r.stdout

    def test_json_contract(self):
        path = self.file(pcap(sorted(exchange(20) + exchange(3, A, C, 300))))
        doc = json.loads(self.run_rtt('-r', path, '--json', '--flows'))
        self.assertEqual(list(doc)[:6],
                         ['schema', 'program', 'version', 'argv', 'run_id', 'time'])
        self.assertEqual(doc['schema'], 'vnetscope.rtt/2')
        self.assertEqual(doc['argv'][1:], ['rtt', '-r', path, '--json', '--flows'])
        self.assertLessEqual(doc['percentile_max_rel_error'], 0.01)
        self.assertEqual([(f['src'], f['sport'], f['dst'], f['dport']) for f in doc['flows']],
                         [(*A, *B), (*A, *C)])
        for f in doc['flows']:
            self.assertEqual(f['method'], 'ts')
            self.assertEqual(list(f['rtt_ns']), FIGURES)
            self.assertIn('tsval_clock', f)
            for name in ('min', 'p50', 'p95', 'p99', 'max'):
                self.assertIsInstance(f['rtt_ns'][name], int)
        # 23 samples, each longer than the one before: hardly more than one independent one
        self.assertIsNone(doc['totals']['methods']['ts']['sampling_interval_ns']['p50'])
        self.assertEqual(list(doc['totals']['methods']['ts']['sampling_interval_ns']),
                         ['mean', 'p50', 'p95', 'p99'])
        first = doc['flows'][0]
        self.assertEqual((first['samples'], first['rtt_ns']['min'], first['rtt_ns']['max']),
                         (20, 100000, 119000))
        self.assertAlmostEqual(first['rtt_ns']['mean'], 109500, delta=0.001)
        self.assertAlmostEqual(first['rtt_ns']['stddev'], 5916.08, delta=0.01)
        self.assertEqual(doc['totals']['methods']['ts']['samples'], 23)
        self.check_accounting(doc['accounting'], 46)
        self.assertNotIn('flows', json.loads(self.run_rtt('-r', path, '--json')))

    def check_accounting(self, a, read):
        self.assertEqual(a['read'], read)
        self.assertEqual(a['read'], a['other_point'] + a['not_tcp'] + a['undecodable'] +
                         a['options_cut'] + a['no_timestamp'] + a['timestamp_not_read'] +
                         a['with_timestamp'])
        self.assertEqual(a['read'], a['other_point'] + a['not_tcp'] + a['undecodable'] +
                         a['seq_not_read'] + a['with_sequence'])
        self.assertEqual(a['with_sequence'], a['seq_stored'] + a['seq_repeated'] + a['seq_late'] +
                         a['seq_probe'] + a['seq_old'] + a['seq_pure_acks'])
        self.assertEqual(a['with_timestamp'], a['tsval_stored'] + a['tsval_repeated'] +
                         a['tsval_backwards'] + a['pure_acks'])

    def test_every_packet_is_accounted_for(self):
        arp = ethernet(bytes(28))[:12] + b'\x08\x06' + bytes(28)
        frames = [arp, udp('10.0.0.1', 1, '10.0.0.2', 2), tcp(*A, *C, ACK, None),
                  tcp(*A, *C, ACK, 1)[:40], tcp(*A, *C, ACK, 1)[:60], b'']
        records = [(T0 + i, f) for i, f in enumerate(frames)]
        path = self.file(pcap(records + exchange(2, t0=T0 + 1000)))
        a = json.loads(self.run_rtt('-r', path, '--json'))['accounting']
        self.check_accounting(a, 10)
        self.assertEqual((a['not_tcp'], a['no_timestamp'], a['options_cut'],
                          a['undecodable']), (2, 1, 0, 3))

    def test_text_and_sorting(self):
        path = self.file(pcap(sorted(exchange(20) + exchange(3, A, C, 300))))
        lines = self.run_rtt('-r', path, '--flows').splitlines()
        self.assertRegex(lines[1], r'^10.0.0.1:40000 +10.0.0.2:80 +20 +100.0 us +109.5 us ')
        lines = self.run_rtt('-r', path, '--flows', '--sort', 'p50').splitlines()
        self.assertRegex(lines[1], r'^10.0.0.1:40000 +10.0.0.3:81 +3 ')
        lines = self.run_rtt('-r', path, '--flows', '--min-samples', '4').splitlines()
        self.assertFalse([x for x in lines if ':81' in x])
        self.assertTrue([x for x in lines if '1 direction not listed' in x])

    def test_text_fits(self):
        """No line above 120 columns, whatever the addresses; every figure is still there."""
        six = [('2001:db8:1234:5678:9abc:def0:%x:1111' % (0x1000 + i), 54321 + i) for i in range(2)]
        wide = ('2001:db8:ffff:eeee:dddd:cccc:bbbb:aaaa', 65000)
        four = [('192.168.100.%d' % (100 + i), 54321 + i) for i in range(2)]
        records = []
        for k, host in enumerate(six + four):
            to = wide if ':' in host[0] else ('192.168.200.200', 28443)
            for i in range(40):  # data both ways: both halves
                t = T0 + i * 3 * 10**9 + k * 1000
                records += [(t, tcp(*host, *to, ACK | PSH, 100 + 2 * i, 50 + i, 10, seq=1 + 10 * i)),
                            (t + 998_250 + i % 7 * 1000, tcp(*to, *host, ACK | PSH, 51 + i, 100 + 2 * i, 10,
                                                             seq=1 + 10 * i, ack=11 + 10 * i)),
                            (t + 1_998_250, tcp(*host, *to, ACK, 101 + 2 * i, 51 + i, 0, seq=11 + 10 * i,
                                                ack=11 + 10 * i))]
        path = self.file(pcap(sorted(records)))
        for args in (['--flows'], ['--halves'], ['--flows', '-m', 'both'], ['--by', 'host'], [],
                     ['--halves', '-m', 'seq'], ['--by', 'prefix', '-m', 'both']):
            out = self.run_rtt('-r', path, *args)
            self.assertLessEqual(max(map(len, out.splitlines())), 120, out)
            if '--flows' in args or '--halves' in args:
                for host in six + four:
                    self.assertIn('%s]:%d' % host if ':' in host[0] else '%s:%d' % host, out)
        lines = self.run_rtt('-r', path, '--flows', '-m', 'ts').splitlines()
        at = lines.index('[%s]:%d  [%s]:%d' % (*six[0], *wide))
        # samples, seven figures and the clock's rate
        self.assertEqual(len(lines[at + 1].split()), 1 + 7 * 2 + 4, lines[at + 1])
        lines = self.run_rtt('-r', path, '--halves', '-m', 'ts', 'ip').splitlines()
        at = [i for i, x in enumerate(lines) if x.startswith('client 192.168.100.100:54321 (ports)')][0]
        self.assertRegex(lines[at + 1], r'^server 192.168.200.200:28443 ')
        self.assertRegex(lines[at + 2], r'^ +whole path: sum min, sum mean ')

    def test_only_what_there_is(self):
        """No row and no count of what the capture has nothing of, not even when it is asked for."""
        path = self.file(pcap(exchange(20)))
        out = self.run_rtt('-r', path, '--kinds', 'tcp,icmp,dns,quic')
        self.assertEqual({x.split(',')[0] for x in out.splitlines() if 'all flows' in x}, {'TCP timestamps'})
        self.assertNotRegex(out, r'(^|[ ,])0 |seq/ack|by ACK|DNS|echo  |QUIC')
        self.assertIn('40 read over', out)
        self.assertIn('20 timestamp values passed on data, SYN or FIN, and 20 of them came back', out)
        doc = json.loads(self.run_rtt('-r', path, '--kinds', 'tcp,icmp,dns,quic', '--json'))
        self.assertEqual(doc['totals']['methods']['dns']['samples'], 0)  # asked for by name

    def test_csv(self):
        path = self.file(pcap(exchange(20)))
        rows = list(csv.DictReader(io.StringIO(self.run_rtt('-r', path, '--csv'))))
        self.assertEqual(len(rows), 1)
        self.assertEqual((rows[0]['src'], rows[0]['dport'], rows[0]['samples'],
                          rows[0]['min_ns'], rows[0]['max_ns']),
                         ('10.0.0.1', '80', '20', '100000', '119000'))

    def test_samples(self):
        path = self.file(pcap(exchange(3)))
        lines = [json.loads(x)
                 for x in self.run_rtt('-r', path, '--samples', '--json').splitlines()]
        self.assertEqual(lines[0]['schema'], 'vnetscope.rtt.samples/2')
        self.assertEqual([x['rtt_ns'] for x in lines[1:-1]], [100000, 101000, 102000])
        self.assertEqual(lines[1]['at_ns'], T0 + 100000)
        self.assertEqual((lines[1]['src'], lines[1]['dport']), ('10.0.0.1', 80))
        self.assertEqual(lines[-1]['totals']['methods']['ts']['samples'], 3)
        self.check_accounting(lines[-1]['accounting'], 6)
        rows = list(csv.DictReader(io.StringIO(self.samples_csv(path))))
        self.assertEqual([r['rtt_ns'] for r in rows], ['100000', '101000', '102000'])

    def samples_csv(self, path):
        r = subprocess.run([VNETSCOPE, 'rtt', '-r', path, '--samples', '--csv'],
                           capture_output=True, text=True, timeout=900)
        self.assertEqual(r.returncode, 0)
        self.assertIn('TCP timestamps, all flows', r.stderr)  # totals stand on stderr
        return r.stdout

    def test_count_and_duration(self):
        path = self.file(pcap(exchange(20)))
        doc = json.loads(self.run_rtt('-r', path, '--json', '--count', '7'))
        self.assertEqual(doc['totals']['methods']['ts']['samples'], 7)
        self.assertEqual((doc['totals']['from_ns'], doc['totals']['to_ns']),
                         (T0, T0 + 30_106_000))
        self.check_accounting(doc['accounting'], 14)
        doc = json.loads(self.run_rtt('-r', path, '--json', '--duration', '21ms'))
        self.assertEqual(doc['totals']['methods']['ts']['samples'], 5)
        self.check_accounting(doc['accounting'], 10)

    def test_tsval_clock(self):
        # a value every 5 ms: 200 Hz, and the round trip is far below a tick
        path = self.file(pcap(exchange(200)))
        f = json.loads(self.run_rtt('-r', path, '--json', '--flows'))['flows'][0]
        clock = f['tsval_clock']
        self.assertEqual((clock['hz'], clock['coarser_than_rtt']), (None, True))
        self.assertAlmostEqual(clock['estimate_hz'], 200, delta=clock['error_hz'])
        lines = self.run_rtt('-r', path, '--flows').splitlines()
        self.assertRegex(lines[1], r'about 200 Hz \*$')
        self.assertRegex(lines[2], r'1 directions: a tick is longer than the median')

    def test_methods(self):
        """Two exchanges with timestamps, two without."""
        plain = []
        for i in range(2):
            t = T0 + i * 5_000_000
            plain += [(t, tcp(*A, *C, ACK | PSH, None, size=10, seq=10 * i, ack=1)),
                      (t + 70_000, tcp(*C, *A, ACK, None, seq=1, ack=10 * i + 10))]
        path = self.file(pcap(sorted(exchange(2) + plain)))
        for method, ts, seq in (('auto', 2, 2), ('ts', 2, None), ('seq', None, 2),
                                ('both', 2, 2)):
            doc = json.loads(self.run_rtt('-r', path, '--json', '--flows', '-m', method))
            got = doc['totals']['methods']
            self.assertEqual({k: v['samples'] for k, v in got.items()},
                             {k: v for k, v in (('ts', ts), ('seq', seq)) if v})
            self.assertEqual([f['method'] for f in doc['flows']],
                             ['ts'] * bool(ts) + ['seq'] * bool(seq))
            self.check_accounting(doc['accounting'], 8)
            if method == 'auto':
                self.assertEqual(got['seq']['rtt_ns']['max'], 70000)
        self.run_rtt('-r', path, '-m', 'karn', code=2, says='karn')

    def test_filter(self):
        path = self.file(pcap(sorted(exchange(20) + exchange(3, A, C, 300))))
        doc = json.loads(self.run_rtt('-r', path, '--json', 'port', '81'))
        self.assertEqual((doc['totals']['methods']['ts']['samples'], doc['accounting']['filtered']), (3, 40))
        out = self.run_rtt('-r', path, '--json', 'udp', code=4, says='matches the filter')
        self.assertEqual(json.loads(out)['totals']['methods']['ts']['rtt_ns']['min'], None)
        self.run_rtt('-r', path, 'port', 'banana', code=2, says='banana')

    def test_points(self):
        both = sorted((t + d, f, p) for t, f in exchange(5) for p, d in ((0, 0), (3, 7000)))
        path = self.file(pcapng(both, 4), 'x.pcapng')
        out = self.run_rtt('-r', path, '--json', says='2 capture points')
        self.assertEqual([(p['point'], p['methods']['ts']['samples']) for p in json.loads(out)['totals']['points']],
                         [(0, 5), (3, 5)])
        doc = json.loads(self.run_rtt('-r', path, '--json', '--point', '3'))
        self.assertEqual(doc['totals']['methods']['ts']['samples'], 5)
        self.check_accounting(doc['accounting'], 20)
        self.run_rtt('-r', path, '--json', '--point', '2', code=4, says='no capture point 2')

    def test_one_file(self):
        a, b = self.file(pcap(exchange(3)), 'a'), self.file(pcap(exchange(5)), 'b')
        self.run_rtt('-r', a, '-r', b, code=2, says='takes one file')

    def test_every_packet_twice(self):
        """Two interfaces in one file: figures vanish, and a sentence says why; losses are no such."""
        tcp_ = [x for i in range(30) for x in (
            (T0 + i * 10**6, tcp(*A, *C, ACK | PSH, size=10, seq=1 + 10 * i)),
            (T0 + i * 10**6 + 70_000, tcp(*C, *A, ACK, ack=11 + 10 * i)))]
        icmp = [x for i in range(10) for x in (
            (T0 + i * 10**6, echo(A[0], B[0], 7, i)),
            (T0 + i * 10**6 + 90_000, echo(B[0], A[0], 7, i, reply=True)))]
        for once in (tcp_, icmp):
            path = self.file(pcap(once))
            doc = json.loads(self.run_rtt('-r', path, '--json'))
            self.assertIs(doc['accounting']['seems_doubled'], False)
            path = self.file(pcap(sorted(once + [(t + 2000, f) for t, f in once])))
            doc = json.loads(self.run_rtt('-r', path, '--json', code=4, says='every packet twice'))
            self.assertIs(doc['accounting']['seems_doubled'], True)
            path = self.file(pcap(sorted(once + [(t + 2000, f) for t, f in once] +
                                         exchange(3, A, B))))
            self.run_rtt('-r', path, says='every packet twice')
        # requests and segments sent again, answered once; every second one of the segments
        again = sorted(icmp + [(t + 2000, f) for t, f in icmp[::2]] +
                       tcp_ + [(t + 2000, f) for t, f in tcp_[::4]])
        doc = json.loads(self.run_rtt('-r', self.file(pcap(again)), '--json'))
        self.assertIs(doc['accounting']['seems_doubled'], False)

    def test_cut_file_keeps_its_figures(self):
        whole = pcap(exchange(20))
        path = self.file(whole[:-30])
        doc = json.loads(self.run_rtt('-r', path, '--json', says='cut'))
        self.assertEqual(doc['totals']['methods']['ts']['samples'], 19)
        self.assertTrue(doc['accounting']['file_cut'])

    def test_any_sees_packets_twice(self):
        """tcpdump -i any with a bridge and a tap: points by interface, and over all each round trip once."""
        def cooked(frame, index, out):  # LINKTYPE_LINUX_SLL2
            return frame[12:14] + b'\0\0' + index.to_bytes(4, 'big') + b'\0\1' + (b'\4' if out else b'\0') + \
                b'\6' + frame[6:12] + b'\0\0' + frame[14:]
        once = [x for i in range(30) for x in (
            (T0 + i * 10**7, tcp(*A, *B, ACK | PSH, 100 + i, 50 + i, 10, seq=1 + 10 * i)),
            (T0 + i * 10**7 + 400_000, tcp(*B, *A, ACK, 51 + i, 100 + i, ack=11 + 10 * i)),
            (T0 + i * 10**7 + 5000, tcp(*A, *C, ACK | PSH, size=10, seq=1 + 10 * i)),
            (T0 + i * 10**7 + 170_000, tcp(*C, *A, ACK, ack=11 + 10 * i)),
            (T0 + i * 10**7 + 7000, echo(A[0], B[0], 7, i)),
            (T0 + i * 10**7 + 390_000, echo(B[0], A[0], 7, i, reply=True)))]
        # requests pass the bridge (4) first and the tap (9) 10 us later, answers the other way; one flow the tap alone
        twice = [(t + d, cooked(f, index, out)) for k, (t, f) in enumerate(once)
                 for d, index, out in (((0, 4, False), (10_000, 9, True)) if k % 2 == 0 else
                                       ((-7_000, 9, False), (0, 4, True)))]
        alone = [(t, cooked(f, 9, False)) for t, f in exchange(5, A, ('10.0.0.9', 90), 250, T0 + 1000)]
        path = self.file(pcap(sorted(twice + alone), linktype=276))
        seen = []
        for more in ([], ['-j', '2'], ['--max-memory', '64M']):
            doc = json.loads(self.run_rtt('-r', path, '--json', '--flows', *more, says='2 capture points'))
            self.assertEqual(doc['accounting']['seen_again'], len(once))
            self.assertIs(doc['accounting']['seems_doubled'], False)
            all_ = doc['totals']['methods']
            self.assertEqual({k: m['samples'] for k, m in all_.items()}, {'ts': 35, 'seq': 30, 'icmp': 30})
            points = {p['point']: p['methods'] for p in doc['totals']['points']}
            self.assertEqual({k: m['ts']['samples'] for k, m in points.items()}, {4: 30, 9: 35})
            # at the tap, where answers pass first: 17 us less than at the bridge
            self.assertEqual((points[4]['seq']['rtt_ns']['min'], points[9]['seq']['rtt_ns']['max']), (165_000, 148_000))
            for k in ('seq', 'icmp'):
                self.assertEqual(all_[k]['rtt_ns'], points[9][k]['rtt_ns'])
            self.assertEqual(all_['ts']['rtt_ns'], points[9]['ts']['rtt_ns'])
            self.assertEqual(len(doc['flows']), 7)
            seen.append([doc['totals'], doc['flows']])
        self.assertEqual(seen[0], seen[1])
        self.assertEqual(seen[0], seen[2])
        self.assertIn('%d seen again at another interface' % len(once),
                      self.run_rtt('-r', path, says='2 capture points').replace('\n         ', ' '))
        doc = json.loads(self.run_rtt('-r', path, '--json', '--point', '4'))
        self.assertEqual({k: m['samples'] for k, m in doc['totals']['methods'].items()}, {'ts': 30, 'seq': 30, 'icmp': 30})
        # one flow after the other at two interfaces is no copy
        doc = json.loads(self.run_rtt('-r', self.file(pcap(sorted(
            [(t, cooked(f, 4, False)) for t, f in exchange(20)] +
            [(t + 3, cooked(f, 9, False)) for t, f in exchange(20, A, C)]), linktype=276)), '--json', says='2 capture'))
        self.assertEqual((doc['accounting']['seen_again'], doc['totals']['methods']['ts']['samples']), (0, 40))
        # captures on any of two hosts, merged: both ends' round trips are round trips of their own
        doc = json.loads(self.run_rtt('-r', self.file(pcapng(
            [(t + host * 9000, cooked(f, 2, not host), host) for t, f in exchange(20) for host in range(2)], 2, 276)),
            '--json', says='2 capture'))
        self.assertEqual((doc['accounting']['seen_again'], doc['totals']['methods']['ts']['samples']), (0, 40))

    def test_doubled_with_timestamps(self):
        """Merged captures have no interfaces: that every packet is there twice is told, also with timestamps."""
        once = exchange(60)
        path = self.file(pcap(sorted(once + [(t + 9000, f) for t, f in once])))
        doc = json.loads(self.run_rtt('-r', path, '--json', says='every packet twice'))
        self.assertIs(doc['accounting']['seems_doubled'], True)
        again = sorted(once + [(t + 250_000_000, f) for t, f in once])  # sent again after a time-out
        self.assertIs(json.loads(self.run_rtt('-r', self.file(pcap(again)), '--json'))['accounting']['seems_doubled'],
                      False)

    def test_cut_before_the_first_packet(self):
        """Nothing of it can be read: the same exit code and one sentence, whatever it is packed in."""
        def zstd(data):  # RFC 8878: magic, a window of 1 KiB, one raw block
            return b'\x28\xb5\x2f\xfd\0\0' + (1 | len(data) << 3).to_bytes(3, 'little') + data
        whole = pcap(exchange(1))
        for kind, data in (('pcap', whole[:60]), ('cut header', whole[:20]),
                           ('pcapng', pcapng([(t, f, 0) for t, f in exchange(1)])[:80]),
                           ('gzip', gzip.compress(whole)[:30]), ('gzip header', gzip.compress(whole)[:12]),
                           ('zstd', zstd(whole)[:69]), ('zstd header', zstd(whole)[:12])):
            with self.subTest(kind):
                self.run_rtt('-r', self.file(data), code=3, says='cut')
        self.run_rtt('-r', self.file(zstd(whole)))
        self.run_rtt('-r', self.file(whole[:24]), code=4, says='no packets in')  # whole, and empty

    def test_seconds_wrap(self):
        """32 bits of seconds end in 2106 and begin anew: the capture goes on, and lasts as long as it does."""
        end = 2**32 * 10**9
        records = [(t % end, f) for t, f in exchange(400, t0=end - 10**9)]
        path = self.file(pcap(records))
        for more in ([], ['-j', '2']):
            doc = json.loads(self.run_rtt('-r', path, '--json', *more))
            self.assertEqual(doc['totals']['to_ns'] - doc['totals']['from_ns'], 399 * 5_000_000 + 499_000)
            self.assertEqual(doc['accounting']['time_backwards'], 0)
        self.assertIn('800 read over 1.995 s:', self.run_rtt('-r', path))
        doc = json.loads(self.run_rtt('-r', path, '--json', '--duration', '1500ms'))
        self.assertEqual(doc['accounting']['read'], 600)

    def test_samples_join_flows(self):
        """The key columns of a sample are those of its flow, of every kind."""
        records = exchange(20)
        for i in range(30):
            t = T0 + i * 10**7
            records += [(t, echo(A[0], B[0], 7 + i % 3, i)), (t + 90_000 + i, echo(B[0], A[0], 7 + i % 3, i, reply=True)),
                        (t + 5000, udp(A[0], 5000 + i, B[0], 53, data=dns(i))),
                        (t + 75_000 + i, udp(B[0], 53, A[0], 5000 + i, data=dns(i, response=True)))]
        path = self.file(pcap(sorted(records)))
        key = ('src', 'sport', 'dst', 'dport', 'method')
        for form in ('--json', '--csv'):
            flows, every = {}, {}
            if form == '--json':
                samples = [s for s in map(json.loads, self.run_rtt('-r', path, '--samples', form).splitlines())
                           if 'at_ns' in s]
                rows = [{**f, **{k + '_ns': v for k, v in f['rtt_ns'].items()}} for f in
                        json.loads(self.run_rtt('-r', path, '--flows', form))['flows']]
            else:
                samples = list(csv.DictReader(io.StringIO(self.samples_csv(path))))
                rows = list(csv.DictReader(io.StringIO(self.run_rtt('-r', path, form))))
            for s in samples:
                every.setdefault(tuple(s[k] for k in key), []).append(int(s['rtt_ns']))
            for f in rows:
                flows[tuple(f[k] for k in key)] = [int(f[k]) for k in ('samples', 'min_ns', 'max_ns')]
            self.assertEqual({k: [len(v), min(v), max(v)] for k, v in every.items()}, flows)
            self.assertEqual({k[4] for k in flows}, {'ts', 'icmp', 'dns'})
            # what the key leaves out: three processes' identifiers, thirty ports
            self.assertEqual({int(s['ident']) for s in samples if s['method'] == 'icmp'}, {7, 8, 9})
            self.assertEqual({int(s['ident']) for s in samples if s['method'] == 'dns'}, set(range(5000, 5030)))

    def test_cuts_end_well(self):
        """Cut in headers, records and blocks: an exit code we know, few words, never a hang."""
        for whole in (pcap(exchange(2)), pcapng([(t, f, 0) for t, f in exchange(2)])):
            for n in (*range(0, 64, 5), *range(64, len(whole), 17)):
                r = subprocess.run([VNETSCOPE, 'rtt', '-r', self.file(whole[:n]), '--json'],
                                   capture_output=True, text=True, timeout=900)
                self.assertIn(r.returncode, (0, 3, 4), (n, r.stderr))
                self.assertLessEqual(r.stderr.count('\n'), 2, r.stderr)

    def test_nothing_to_measure(self):
        self.run_rtt('-r', self.file(pcap([])), code=4, says='no packets in')
        self.run_rtt('-r', self.file(pcap([(T0, udp('10.0.0.1', 1, '10.0.0.2', 2))])), code=4,
                     says='no TCP, ICMP echo, DNS or QUIC among the 1 packet of ')
        self.run_rtt('-r', self.file(pcap([(T0, tcp(*A, *B, ACK, None, size=5))])), code=4,
                     says='one direction only')
        self.run_rtt('-r', self.file(pcap([(T0, tcp(*A, *B, ACK, None, size=5))])), '--method',
                     'ts', code=4, says='no TCP timestamps')
        one_way = [r for r in exchange(10) if len(r[1]) > 70]
        self.run_rtt('-r', self.file(pcap(one_way)), code=4, says='one direction only')
        r = subprocess.run([VNETSCOPE, 'rtt', '-r', self.file(pcap(exchange(3), linktype=147))],
                           capture_output=True, text=True, timeout=900)
        self.assertIn(r.returncode, (3, 4))
        self.assertRegex(r.stderr, 'link')

    def test_counts_and_nouns_agree(self):
        for n, says in ((1, 'the 1 packet of'), (2, 'none of the 2 packets of')):
            one = self.file(pcap([(T0 + i, udp('10.0.0.1', 1, '10.0.0.2', 2)) for i in range(n)]))
            self.run_rtt('-r', one, 'tcp', code=4, says=says)
            self.run_rtt('-r', one, '--kinds', 'icmp,dns', code=4, says=f'no icmp,dns among the {n} packet')
        once = [(T0, tcp(*A, *B, ACK, None, size=5, seq=1)), (T0 + 1000, tcp(*A, *B, ACK, None, size=5, seq=1)),
                (T0 + 2000, tcp(*B, *A, ACK, None, size=0, seq=9, ack=6))]
        said = self.run_rtt('-r', self.file(pcap(once)), '--method', 'seq', code=4, says='certain')
        self.assertIn('1 segment was sent again, 1 acknowledgement of such gives none', ' '.join(said.split()))

    def test_what_cannot_be_is_told(self):
        two = self.file(pcapng([(t, f, 0) for t, f in exchange(6)]))
        self.run_rtt('-r', two, '--point', '7', code=4, says='has no capture point 7: its capture points are 0')
        self.run_rtt('-r', two, '--max-memory', '1K', code=2, says='1 KiB are too small, 12 MiB is the least here')
        self.run_rtt('-i', 'lo', '--capture', 'ebpf', '--snaplen', '1000', code=2, says='256 bytes of a packet at most')
        r = subprocess.run([VNETSCOPE, 'rtt', '-i', 'any', 'vlan'], capture_output=True, text=True, timeout=60)
        if r.returncode != 3:  # 3: not allowed to capture at all
            self.assertEqual((r.returncode, 'any has no link layer to look at' in r.stderr), (2, True), r.stderr)
        r = subprocess.run(['prlimit', '--as=60000000', VNETSCOPE, 'rtt', '-r', two], capture_output=True, text=True,
                           timeout=60)
        if 'no memory for' in r.stderr:  # a sanitised program does not even start
            self.assertIn('--max-flows takes fewer', r.stderr)

    def test_bad_files(self):
        missing = os.path.join(self.dir.name, 'missing.pcap')
        self.run_rtt('-r', missing, code=3, says=missing)
        self.run_rtt('-r', self.dir.name, code=3, says=self.dir.name)
        self.run_rtt('-r', self.file(b''), code=3, says='x.pcap')
        self.run_rtt('-r', self.file(b'this is not a capture file, but it is long enough' * 9),
                     code=3, says='x.pcap')

    @unittest.skipIf(os.geteuid() == 0 and not os.path.exists('/usr/bin/setpriv'), 'needs setpriv')
    def test_unreadable_and_unprivileged(self):
        path = self.file(pcap(exchange(3)))
        os.chmod(path, 0)
        os.chmod(self.dir.name, 0o755)
        drop = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] \
            if os.geteuid() == 0 else []
        probe = subprocess.run([*drop, VNETSCOPE, '--version'], capture_output=True)
        if probe.returncode:
            self.skipTest('the program cannot be run by another user from here')
        for args, what in ((['-r', path], 'x.pcap'), (['-i', 'lo', '-d', '1'], 'CAP_NET_RAW'),
                           (['-i', 'lo', '-d', '1', '--capture', 'ebpf'], 'CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW')):
            r = subprocess.run([*drop, VNETSCOPE, 'rtt', *args], capture_output=True, text=True,
                               timeout=900)
            self.assertEqual(r.returncode, 3, r.stderr)
            self.assertIn(what, r.stderr)

    def test_usage(self):
        path = self.file(pcap(exchange(3)))
        for args, what in ((['--bogus'], '--bogus'), ([], '-i IFACE or -r FILE'),
                           (['-r', path, '-i', 'lo'], '-i IFACE or -r FILE'),
                           (['-r', path, '--json', '--csv'], 'exclude'),
                           (['-r', path, '--sort', 'colour'], 'colour'),
                           (['-i', 'any', '-p'], '--promiscuous is one interface'),
                           (['-i', 'any', '--capture', 'ebpf'], '--capture ebpf is one interface'),
                           (['-r', path, '--count', '-3'], 'whole number')):
            self.run_rtt(*args, code=2, says=what)
        self.run_rtt('-i', 'nosuchif0', code=3, says='nosuchif0')
        self.assertIn('usage: vnetscope rtt', self.run_rtt('--help'))

    def test_full_disk(self):
        path = self.file(pcap(exchange(3)))
        for args in (['--json', '--flows'], ['--csv'], [], ['--samples'], ['--samples', '--json']):
            with open('/dev/full', 'w') as full:
                r = subprocess.run([VNETSCOPE, 'rtt', '-r', path, *args], stdout=full,
                                   stderr=subprocess.PIPE, text=True, timeout=900)
            self.assertEqual(r.returncode, 3, args)
            self.assertIn('cannot write', r.stderr)

    def test_standard_input_and_unsorted(self):
        whole = pcap(exchange(20))
        r = subprocess.run([VNETSCOPE, 'rtt', '-r', '-', '--json'], input=whole,
                           capture_output=True, timeout=900)
        self.assertEqual(json.loads(r.stdout)['totals']['methods']['ts']['samples'], 20)
        mixed = exchange(20)
        mixed[4], mixed[5] = mixed[5], mixed[4]
        doc = json.loads(self.run_rtt('-r', self.file(pcap(mixed)), '--json'))
        self.assertEqual(doc['totals']['methods']['ts']['samples'], 19)
        self.assertEqual(doc['totals']['methods']['ts']['rtt_ns']['min'], 100000)
        self.assertEqual(doc['accounting']['time_backwards'], 1)

    def test_clock_set_back(self):
        """An hour back in mid-file: said, the samples before and behind stand, no negative length."""
        path = self.file(pcap(exchange(400) + exchange(400, A, C, t0=T0 - 3600 * 10**9)))
        doc = json.loads(self.run_rtt('-r', path, '--json'))
        self.assertEqual(doc['accounting']['time_backwards'], 1)
        self.assertEqual(doc['totals']['methods']['ts']['samples'], 800)
        said = self.run_rtt('-r', path)
        self.assertIn('1 with time running back', said)
        self.assertNotIn('over -', said)

    def test_time_leaps(self):
        """One stamp 80 years ahead, one in 1970: what they belong to suffers, the rest goes on."""
        packets = exchange(400)
        for i, t in ((300, T0 + 80 * 31536000 * 10**9), (501, 10**9)):
            packets[i] = (t, packets[i][1])
        doc = json.loads(self.run_rtt('-r', self.file(pcap(packets)), '--json'))
        self.assertEqual(doc['accounting']['time_backwards'], 2)
        self.assertGreaterEqual(doc['totals']['methods']['ts']['samples'], 398)
        self.assertLess(doc['totals']['methods']['ts']['rtt_ns']['max'], 10**6)

    def test_table_limit(self):
        flows = [r for i in range(50) for r in exchange(1, ('10.0.1.%d' % i, 1000), B, 10,
                                                         T0 + i * 10**6)]
        doc = json.loads(self.run_rtt('-r', self.file(pcap(flows)), '--json', '--flows',
                                      '--max-flows', '8'))
        self.assertEqual(doc['totals']['flows']['evicted_full'], 42)
        self.assertEqual(len(doc['flows']), 50)  # pushed out, not lost

    def test_any_with_a_late_interface(self):
        """A second interface is described behind packets of 'any': no point of one capture joins the other's."""
        def cooked(frame, index):
            return struct.pack('>HHIHBB8s', 0x800, 0, index, 1, 0, 6, bytes(8)) + frame[14:]
        records = [(t, cooked(f, 1)) for t, f in exchange(20)]
        late = [(t + 10**9, cooked(f, 9)) for t, f in exchange(30, A, C, 300)]
        both = pcapng([(t, f, 0) for t, f in records] + [(t, f, 1) for t, f in late], ['first', 'late'], 276)
        # its second interface block, moved behind the packets of the first
        size = struct.unpack_from('<I', both, 4)[0]
        first = struct.unpack_from('<I', both, size + 4)[0]
        second = struct.unpack_from('<I', both, size + first + 4)[0]
        block = both[size + first:size + first + second]
        rest = both[size + first + second:]
        at = 0
        for _ in records:
            at += struct.unpack_from('<I', rest, at + 4)[0]
        path = self.file(both[:size + first] + rest[:at] + block + rest[at:], 'late.pcapng')
        for more in ([], ['-j', '2']):
            doc = json.loads(self.run_rtt('-r', path, '--json', *more, says='2 capture points'))
            points = {p['point']: p['methods']['ts']['samples'] for p in doc['totals']['points']}
            self.assertEqual(points, {1: 20, 65533: 30})
            self.assertEqual([p.get('name') for p in doc['totals']['points']], [None, 'late'])
            self.assertEqual(doc['totals']['methods']['ts']['samples'], 50)
            self.assertEqual(doc['accounting']['seen_again'], 0)

    def test_part_of_a_second(self):
        """A field of nanoseconds (or micro-) that holds a second and more: taken as it stands, counted, said."""
        whole = pcap(exchange(20))
        for magic, field in ((0xa1b23c4d, 1_000_000_000), (0xa1b2c3d4, 1_000_000)):
            for value, many in ((field - 1, 0), (field, 1), (0xffffffff, 1)):
                data = bytearray(whole)
                struct.pack_into('<I', data, 0, magic)
                at = 24
                while at < len(data):  # of the file of microseconds all else is well below
                    struct.pack_into('<I', data, at + 4, 5)
                    at += 16 + struct.unpack_from('<I', data, at + 8)[0]
                struct.pack_into('<I', data, 28, value)
                path = self.file(bytes(data))
                for more in ([], ['tcp']):
                    self.run_rtt('-r', path, *more, says='the time of 1 record of' if many else None)

    def test_no_packets(self):
        out = self.run_rtt('-r', self.file(pcap([])), code=4, says='no packets in')
        self.assertEqual(out.strip(), 'packets  0 read')

    def test_cost_of_evictions(self):
        """All flows come twice, the table has room for 8 of 50; of every fifth the answer never came."""
        flows = []
        for again in range(2):
            for i in range(50):
                x = exchange(1, ('10.0.1.%d' % i, 1000), B, 10, T0 + again * 10**9 + i * 10**6)
                flows += x[:1] if i % 5 == 0 else x
        path = self.file(pcap(flows))
        args = ('-r', path, '--max-flows', '8')
        doc = json.loads(self.run_rtt(*args, '--json', says='19 timestamp values and 0 segments waited'))
        f, a = doc['totals']['flows'], doc['accounting']
        self.assertEqual((f['opened'], f['evicted_full'], f['returned']), (100, 92, 50))
        self.assertEqual((a['tsval_stored'], a['echo_matched']), (100, 80))
        self.assertEqual(a['tsval_pushed_out'] + a['tsval_waiting'], 20)
        self.assertEqual(a['tsval_waiting'], 1)  # of flow 45; those of 42 to 49 are in the table
        text = ' '.join(self.run_rtt(*args, says='at least 50 of the flows came back').split())
        self.assertIn('50 of them CAME BACK', text)
        line = re.search(r'by time (.*?) flows \d', text).group(1)
        first, *rest = map(int, re.findall(r'\d+', line))
        self.assertEqual(first, sum(rest), line)  # every value is in a class


if __name__ == '__main__':
    VNETSCOPE = sys.argv[1]
    unittest.main(argv=sys.argv[:1])
