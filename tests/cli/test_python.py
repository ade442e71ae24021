#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python module against the program, the generator's truth and plain struct(3), without numpy
and, where a python3 with numpy is there, with it; its errors; and the example of doc/python.md.

usage: test_python.py LIBRARY MODULE_FOLDER VNETSCOPE VNS_GENCAP DOC
"""
import csv
import gzip
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ref"))
from pcapmake import ACK, PSH, pcap, tcp, udp  # noqa: E402

T0 = 1700000000 * 10**9

LIBRARY = MODULE = VNETSCOPE = GENCAP = DOC = None
PYTHONS = []  # (command, has numpy)


def run(*argv, **more):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=900, **more)
    if done.returncode:
        raise AssertionError(f"{argv}: exit {done.returncode}: {done.stderr}")
    return done.stdout


def environment(**more):
    env = {**os.environ, "PYTHONPATH": MODULE, "VNETSCOPE_LIBRARY": LIBRARY, **more}
    with open(LIBRARY, "rb") as f:
        if b"__asan_init" in f.read():  # a sanitised library wants its run time loaded first
            env["LD_PRELOAD"] = run("gcc", "-print-file-name=libasan.so").strip()
            env["ASAN_OPTIONS"] = "detect_leaks=0"
    return env


def python(code, *args, numpy=False, **env):
    """What the code prints, by each interpreter that can; without numpy it must not be imported."""
    block = "" if numpy else "import sys; sys.modules['numpy'] = None\n"
    said = {run(*command, "-c", block + code, *args, env=environment(**env))
            for command, has in PYTHONS if has or not numpy}
    if len(said) > 1:
        raise AssertionError("interpreters disagree")
    return said.pop() if said else None


class Module(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tmp = tempfile.TemporaryDirectory()
        cls.files = {n: os.path.join(cls.tmp.name, n) for n in ("rtt", "small", "host", "guest", "truth")}
        run(GENCAP, "rtt", "--out", cls.files["rtt"], "--packets", 20000, "--flows", 100, "--ipv6", 40)
        run(GENCAP, "rtt", "--out", cls.files["small"], "--packets", 4000, "--flows", 40)
        run(GENCAP, "twin", "--host", cls.files["host"], "--guest", cls.files["guest"], "--truth",
            cls.files["truth"], "--packets", 6000)

    @classmethod
    def tearDownClass(cls):
        cls.tmp.cleanup()

    def test_packets(self):
        said = python("import sys, vnetscope as v\n"
                      "with v.open(sys.argv[1], 'tcp') as c:\n"
                      "    rows = list(c)\n"
                      "    print(c.stats['frames'], c.stats['filtered'], c.sentence)\n"
                      "print(len(rows), sum(p.wire_len for p in rows), rows[5].time_ns,\n"
                      "      {p.proto for p in rows}, rows[5].src, rows[5].sport, rows[5].seq)\n"
                      "with v.open(sys.argv[1]) as c:\n"
                      "    print([len(b) for b in c.batches(8192)][0])\n", self.files["rtt"])
        stats, row, sizes = said.splitlines()
        frames, filtered, sentence = stats.split()
        self.assertEqual(sentence, "None")
        self.assertEqual(row.split()[0], frames)
        out = run("tcpdump", "-nn", "-r", self.files["rtt"], "tcp", "-c", "6", "-tt", "-S",
                  "--nano").splitlines() if self.have_tcpdump() else None
        if out:  # another reader of the same packet
            stamp, _, src = re.match(r"(\S+) (IP6?) (\S+) >", out[5]).groups()
            words = row.split()
            self.assertEqual(words[2], stamp.replace(".", ""))
            self.assertEqual(f"{words[-3]}.{words[-2]}", src)
        self.assertIn(int(sizes.split()[0]), range(8192, 8192 + 4096))

    @staticmethod
    def have_tcpdump():
        return subprocess.run(["sh", "-c", "command -v tcpdump"], capture_output=True).returncode == 0

    def test_rtt_is_the_programs(self):
        lines = run(VNETSCOPE, "rtt", "-r", self.files["rtt"], "--samples", "--json").splitlines()
        want = sorted((s["at_ns"], s["rtt_ns"], s["method"], s["src"], s["sport"], s["dst"], s["dport"])
                      for s in map(json.loads, lines) if "rtt_ns" in s)
        said = python("import sys, json, vnetscope as v\n"
                      "r = v.Rtt(sys.argv[1], apps=True)\n"
                      "print(json.dumps(sorted(s[:7] for s in r)))\n"
                      "print(r.counts['packets'], sum(r.counts['samples']))\n", self.files["rtt"])
        got, counts = said.splitlines()
        self.assertEqual([tuple(s) for s in json.loads(got)], want)
        self.assertGreater(len(want), 1000)
        self.assertGreater(int(counts.split()[1]), 1000)

    def test_twin_is_the_truth(self):
        truth = {}
        with open(self.files["truth"], encoding="utf-8") as f:
            for row in csv.reader(f):
                if row[0] == "P" and len(row) > 11 and row[11]:
                    truth[int(row[3]), row[4]] = int(row[11])
        said = python("import sys, json, vnetscope as v\n"
                      "t = v.Twin(sys.argv[1], sys.argv[2])\n"
                      "print(json.dumps([(s.host_ns, s.to_guest, s.latency_ns(0)) for s in t]))\n"
                      "print(json.dumps(t.counts))\n", self.files["host"], self.files["guest"])
        pairs, counts = (json.loads(line) for line in said.splitlines())
        found = 0
        for host_ns, to_guest, latency in pairs:
            upstream = host_ns if to_guest else host_ns - latency
            true = truth.get((int(upstream), "h2g" if to_guest else "g2h"))
            found += true == latency
        # the capture stamps of packets in pieces are those of the first piece: all but a few
        self.assertGreater(found, 0.97 * len(pairs))
        self.assertGreater(len(pairs), 4000)
        for point in ("host", "guest"):
            c = counts[point]
            self.assertEqual(c["read"], sum(v for k, v in c.items() if k != "read"))

    def test_twin_learns_where_the_guests_capture_starts_late(self):
        hours = 7200 * 10**9
        for more in (("--cut", 1, "--offset-ns", hours), ("--cut", 1, "--offset-ns", 0), ("--cut", 0.7, "--offset-ns", hours),
                     ("--cut", 0.5, "--offset-ns", hours), ("--cut", 2, "--offset-ns", 0), ("--cut", 1, "--seed", 3)):
            with self.subTest(more=more), tempfile.TemporaryDirectory() as tmp:
                host, guest, truth = (os.path.join(tmp, n) for n in ("host", "guest", "truth"))
                run(GENCAP, "twin", "--host", host, "--guest", guest, "--truth", truth, "--packets", 100000, *more)
                with open(truth, encoding="utf-8") as f:
                    true = [row for row in csv.reader(f) if row[0] == "P" and row[7] == "matched"]
                target = json.loads(run(VNETSCOPE, "vo", "--host", host, "--guest", guest, "--json"))["targets"][0]
                said = python("import sys, json, vnetscope as v\n"
                              "t = v.Twin(*sys.argv[1:3]); s = t.all()\n"
                              "print(json.dumps([t.offset_ns, t.counts['host'], t.counts['guest'],\n"
                              "                  [(x.host_ns, x.latency_ns(0) * (1 if x.to_guest else -1)) for x in s]]))\n", host, guest)
                offset, *counts, pairs = json.loads(said)
                self.check_late(offset, counts, pairs, true, target)

    def check_late(self, offset, counts, pairs, true, target):
        both = {(int(row[9]), int(row[10]) - int(row[9])) for row in true if row[9] and row[10]}
        middle = sorted(raw for _, raw in both)[len(both) // 2]
        self.assertLess(abs(offset - middle), 2 * 10**6)
        for point, name, c in zip("AB", ("host", "guest"), counts):
            self.assertEqual(c, {k: target["accounting"][name][k] for k in c})  # the program's
            self.assertGreater(c["matched"], 0.98 * sum(row[1] == point for row in true))
        self.assertGreater(len(pairs), 20000)
        # stamps of packets in pieces are those of the first piece: all but a few
        self.assertGreater(sum((at, raw) in both for at, raw in pairs), 0.97 * len(pairs))
        self.assertLess(max(abs(raw - middle) for _, raw in pairs), 10**8)  # none is the false one

    def test_twin_asks_for_what_it_cannot_learn(self):
        paths = [os.path.join(self.tmp.name, n) for n in ("apart_h", "apart_g")]
        for k, path in enumerate(paths):  # other connections, other bytes
            with open(path, "wb") as f:
                f.write(pcap([(T0 + 1000 * i, tcp(f"10.0.{k}.1", 80, f"10.0.{k}.2", 4000, ACK | PSH, i, i, 10 + k,
                                                  seq=10**6 * k + 11 * i, ack=1)) for i in range(50)]))
        said = python("import sys, vnetscope as v\n"
                      "for more in ({}, {'addresses': ['10.0.1.2']}):\n"
                      "    try: print(len(v.Twin(*sys.argv[1:3], **more).all()))\n"
                      "    except ValueError as e: print('give offset_ns' in str(e), all(p in str(e) for p in sys.argv[1:3]))\n"
                      "t = v.Twin(*sys.argv[1:3], addresses=['10.0.1.2'], offset_ns=0); t.all()\n"
                      "print(t.counts['host']['matched'])\n", *paths)
        self.assertEqual(said, "True True\nTrue True\n0\n")

    def test_choices_are_named(self):
        said = python("import sys, vnetscope as v\n"
                      "for call in (lambda: v.Rtt(sys.argv[1], method='guess'), lambda: v.Clock('x')):\n"
                      "    try: call()\n"
                      "    except ValueError as e: print(e)\n"
                      "print(*(v.Clock(m) is not None for m in ('exchange', 'shm', 'traffic')))\n", self.files["rtt"]).splitlines()
        self.assertEqual(said[0], "method: 'guess' is none of auto, ts, seq, both")
        self.assertRegex(said[1], "^mode: 'x' is none of .*exchange.*, shm,.*traffic")
        self.assertNotIn("unknown", said[1])
        self.assertEqual(said[2], "True True True")

    def conversation(self, n, *more):
        """A connection of n requests and answers, 20 us either way, at host and guest; and more of both."""
        host, guest = [list(m) for m in more] or ([], [])
        for k in range(n):
            for way, (src, sp, dst, dp, at) in enumerate((("10.0.0.1", 4000, "10.0.0.2", 80, 0),
                                                           ("10.0.0.2", 80, "10.0.0.1", 4000, 300000))):
                frame = tcp(src, sp, dst, dp, ACK | PSH, 100 + k, 100 + k, 10 + way, seq=1 + (10 + way) * k, ack=1)
                host.append((T0 + k * 10**7 + at + 20000 * way, frame))
                guest.append((T0 + k * 10**7 + at + 20000 * (not way), frame))
        return sorted(host), sorted(guest)

    def pair_of(self, name, host, guest):
        paths = [os.path.join(self.tmp.name, name + p) for p in "hg"]
        for path, records in zip(paths, (host, guest)):
            with open(path, "wb") as f:
                f.write(pcap(records))
        return paths

    def test_twin_of_an_offset_that_leaves_no_common_time(self):
        paths = self.pair_of("far", *self.conversation(200))
        said = python("import sys, vnetscope as v\n"
                      "for offset in (0, -3 * 10**9, 9 * 10**9, -2**61):\n"
                      "    t = v.Twin(*sys.argv[1:3], offset_ns=offset, addresses=['10.0.0.2'])\n"
                      "    try: print(len(t.all()))\n"
                      "    except ValueError as e: print(e)\n", *paths).splitlines()
        self.assertEqual(said[0], "400")
        self.assertRegex(said[1], "^[0-9]+$")
        self.assertRegex(said[2], r"^offset_ns: with 9000000000 \S+farh and \S+farg are 7\.0\d\d s apart: no packet can be paired")
        self.assertRegex(said[3], r"^offset_ns: with -2305843009213693952 ")

    def test_late_multicast_of_an_address_that_was_not_learnt(self):
        """As the program: a packet to a group that may be the guest's bounds no clock."""
        for n, strange in ((300, 0), (17000, 1)):
            at = T0 + (n - 5) * 10**7 + 4 * 10**6
            frame = bytes.fromhex("333300000002") + udp("fe80::1", 546, "ff02::2", 547, b"who routes")[6:]
            paths = self.pair_of("late", *self.conversation(n, [(at + 40000, frame)], [(at, frame)]))
            said = json.loads(python(
                "import sys, json, vnetscope as v\n"
                "t = v.Twin(*sys.argv[1:3]); s = t.all()\n"
                "given = v.Twin(*sys.argv[1:3], addresses=['10.0.0.2'], offset_ns=0); given.all()\n"
                "print(json.dumps([list(t.strange), given.strange, t.counts['host'], t.counts['guest'],\n"
                "                  min(x.latency_ns(0) for x in s)]))\n", *paths))
            self.assertEqual(said[:2], [[strange] * 2, [0, 0]])
            target = json.loads(run(VNETSCOPE, "vo", "--host", paths[0], "--guest", paths[1], "--json"))["targets"][0]
            for name, c in zip(("host", "guest"), said[2:4]):
                self.assertEqual(c, {k: target["accounting"][name][k] for k in c})
                self.assertEqual((c["undecodable"], c["matched"]), (strange, 2 * n + 1 - strange))
            if strange:
                self.assertEqual(said[4], 20000)

    def test_twin_through_nat_finds_clocks_an_hour_apart(self):
        hour, host, guest = 3600 * 10**9, [], []
        for k in range(200):
            for end, records, t in (("10.0.0.2", guest, hour + 5000), ("192.0.2.7", host, 0)):
                back = 9000 if records is guest else 0  # towards the guest 5 us, from it 4 us
                records.append((k * 10**6 + t, tcp("198.51.100.9", 80, end, 40000, ACK | PSH, 100 + k, 50 + k, 10,
                                                   seq=1 + 10 * k, ack=1 + 10 * k)))
                records.append((k * 10**6 + 500000 + t - back, tcp(
                    end, 40000, "198.51.100.9", 80, ACK | PSH, 51 + k, 100 + k, 10, seq=1 + 10 * k, ack=11 + 10 * k)))
        paths = [os.path.join(self.tmp.name, n) for n in ("nat_h", "nat_g")]
        for path, records in zip(paths, (host, guest)):
            with open(path, "wb") as f:
                f.write(pcap([(T0 + t, frame) for t, frame in records]))
        said = python("import sys, vnetscope as v\n"
                      "t = v.Twin(*sys.argv[1:3], nat=True, addresses=['10.0.0.2']); s = t.all()\n"
                      "print(len(s), t.counts['host']['matched'],\n"
                      "      sorted({(x.to_guest, x.latency_ns(3600 * 10**9)) for x in s}))\n"
                      "try: v.Twin(sys.argv[1], sys.argv[3], nat=True, addresses=['10.0.0.2']).all()\n"
                      "except v.Error as e: print('give offset_ns' in str(e))\n",
                      *paths, self.files["guest"])
        self.assertEqual(said.splitlines(), ["400 400 [(False, 4000), (True, 5000)]", "True"])
        # one peer, and the guest's address not given: both directions tell it, as they do vnetscope vo
        said = python("import sys, vnetscope as v\n"
                      "t = v.Twin(*sys.argv[1:3], nat=True); s = t.all()\n"
                      "print(len(s), t.counts['host']['matched'], t.addresses, abs(t.offset_ns - 3600 * 10**9) < 10**6,\n"
                      "      sorted({(x.to_guest, x.latency_ns(3600 * 10**9)) for x in s}))\n", *paths)
        self.assertEqual(said, "400 400 ['10.0.0.2'] True [(False, 4000), (True, 5000)]\n")

    def test_clock_and_distribution(self):
        said = python(
            "import vnetscope as v\n"
            "c = v.Clock()\n"
            "for i in range(200):\n"
            "    t = i * 10**9; o = 5000 + i * 20000\n"
            "    assert c.add(t, t + 1000 + o, t + 2000 + o, t + 3000)\n"
            "a = c.at(100 * 10**9)\n"
            "print(len(c.pieces), round(c.pieces[0].drift_ppm, 3), round(a.offset_ns, -1),\n"
            "      a.lower_ns <= 2005000 <= a.upper_ns)\n"
            "d = v.Distribution(range(-1000, 1001)); d.merge(v.Distribution([5000]))\n"
            "print(d.n, d.min, d.max, abs(d.quantile(0.5)) <= 1, round(d.mean, 3),\n"
            "      sum(n for _, _, n in d.buckets()))\n"
                        "try: v.Clock().at(0)\n"
            "except v.Error as e: print(e)\n")
        self.assertEqual(said.splitlines(), [
            "1 20.0 2005000.0 True", "2002 -1000 5000 True 2.498 2002",
            "no exchange was added"])

    def test_errors(self):
        junk = os.path.join(self.tmp.name, "junk")
        with open(junk, "wb") as f:
            with open(self.files["rtt"], "rb") as whole:
                f.write(gzip.compress(whole.read(2_000_000))[:50000])
        said = python("import sys, vnetscope as v\n"
                      "for a in (('/nowhere',), (sys.argv[1], 'tcp prt 5')):\n"
                      "    try: v.open(*a)\n"
                      "    except v.Error as e: print(e.errno, e)\n"
                      "with v.open(sys.argv[2]) as c:\n"
                      "    n = sum(1 for p in c)\n"
                      "    print(n == c.stats['frames'] > 10, c.stats['truncated'], c.sentence)\n"
                      "try: next(iter(c))\n"
                      "except v.Error as e: print(e)\n"
                      "from vnetscope import _abi\n"
                      "try: _abi.layout('packet').field('colour')\n"
                      "except v.Error as e: print(e)\n", self.files["rtt"], junk).splitlines()
        self.assertEqual(said[0], "2 cannot open /nowhere: No such file or directory")
        self.assertIn("tcp prt 5", said[1])
        self.assertRegex(said[2], "^True 1 .*junk: its gzip stream is cut at byte 50000; the")
        self.assertIn("is closed", said[3])
        self.assertRegex(said[4], "vns_packet of the library has no field colour: module and library")

    def test_used_up(self):
        """What can be read once says so, instead of being empty; what was kept comes again."""
        said = python("import sys, vnetscope as v\n"
                      "c = v.open(sys.argv[1]); n = sum(1 for p in c)\n"
                      "try: list(c)\n"
                      "except v.Error as e: print(e)\n"
                      "with v.Rtt(sys.argv[1]) as r:\n"
                      "    a = r.all(); print(len(a) > 1000, r.all() is a)\n"
                      "    try: next(iter(r))\n"
                      "    except v.Error as e: print(e)\n"
                      "try: next(iter(v.Rtt(r.capture)))\n"
                      "except v.Error as e: print(e)\n"
                      "print(r.capture.stats['frames'] == n, r.capture.sentence)\n"
                      "with v.Twin(sys.argv[2], sys.argv[3]) as t:\n"
                      "    list(t)\n"
                      "    try: t.all()\n"
                      "    except v.Error as e: print(e)\n"
                      "for q in (2, -0.1, float('nan')):\n"
                      "    try: v.Distribution([1]).quantile(q)\n"
                      "    except ValueError as e: print(e)\n"
                      "try: v.Distribution().quantile(0.5)\n"
                      "except ValueError as e: print(e, v.Distribution())\n"
                      "for more in ({}, {'duration': 1, 'capture': 'x'}):\n"
                      "    try: v.Rtt(**more)\n"
                      "    except v.Error as e: print(e)\n"
                      "try: v.live('noif0')\n"
                      "except v.Error as e: print(e)\n",
                      self.files["rtt"], self.files["host"], self.files["guest"]).splitlines()
        once = "the captures were read already: samples come once (all() keeps them)"
        self.assertEqual(said[:-1], [
            f"{self.files['rtt']} was read to its end: open it again", "True True", once,
            f"{self.files['rtt']} is closed", "True None", once, "quantile 2 is not within 0 and 1",
            "quantile -0.1 is not within 0 and 1", "quantile nan is not within 0 and 1",
            "no quantile of no samples <0 samples>", "either a capture or live=INTERFACE",
            "duration is for live=INTERFACE"])
        self.assertIn("noif0", said[-1])

    def test_rows_and_arguments(self):
        """One of many rows; what is no column, number or address is an error where it is given."""
        said = python("import sys, vnetscope as v\n"
                      "rows = v.Rtt(sys.argv[1]).all(); a = list(rows)\n"
                      "print(rows[0] == a[0], rows[-1] == a[-1], rows[7] == a[7], repr(rows)[:30])\n"
                      "raw = rows.data[rows.layout.field('key.addr').offset:][:32]\n"
                      "print({v.address(raw[:16]), v.address(raw[16:])} == {a[0].src, a[0].dst})\n"
                      "for f in (lambda: rows[len(a)], lambda: rows.column('colour'),\n"
                      "          lambda: v.Rtt(sys.argv[1], max_flows=-1),\n"
                      "          lambda: v.Rtt(sys.argv[1], idle_ns='1s'),\n"
                      "          lambda: v.Twin(*sys.argv[1:3], max_pending=1 << 70),\n"
                      "          lambda: v.Twin(*sys.argv[1:3], addresses='10.0.0.1')):\n"
                      "    try: print(f())\n"
                      "    except (IndexError, KeyError, ValueError) as e: print(type(e).__name__, e)\n"
                      "print(list(rows[2:5]) == a[2:5], list(rows[-1:0:-7]) == a[-1:0:-7], len(rows[9:3]),\n"
                      "      list(rows[:2] + rows[5:6]) == a[:2] + a[5:6])\n",
                      self.files["rtt"], self.files["small"]).splitlines()
        self.assertRegex(said[0], r"^True True True <\d+ rows of rtt_row: at_ns")
        self.assertEqual(said[1], "True")
        self.assertRegex(said[2], "^IndexError")
        self.assertRegex(said[3], "^KeyError .no column colour: there are at_ns, rtt_ns, ")
        self.assertEqual(said[4], f"ValueError max_flows: -1 is not a number that fits (0 to {2**64 - 1})")
        self.assertEqual(said[5], f"ValueError idle_ns: '1s' is not a number that fits (0 to {2**63 - 1})")
        self.assertRegex(said[6], r"^ValueError max_pending: \d+ is not a number that fits")
        self.assertEqual(said[7], "ValueError addresses: a list is wanted, not '10.0.0.1' alone")
        self.assertEqual(said[8], "True True 0 True")

    def test_arguments_are_named(self):
        """Each argument that does not fit is one ValueError that begins with its name, where it is given."""
        calls = [line.split("  # ") for line in (
            "v.open(f, point=-1)  # point",
            "v.open(f, point=65536)  # point",
            "v.open(f + '\\0x')  # path",
            "v.open(7)  # path",
            "v.open(f, 'tcp\\0')  # filter",
            "v.open(f, None)  # filter",
            "v.live('lo\\0')  # interface",
            "v.live('lo', duration=float('nan'))  # duration",
            "v.live('lo', duration='5')  # duration",
            "v.live('lo', duration=-1)  # duration",
            "v.live('lo', snaplen=-1)  # snaplen",
            "v.live('lo', ring_bytes=1 << 40)  # ring_bytes",
            "v.open(f).batches(0)  # size",
            "v.Rtt(f + '\\0')  # capture",
            "v.Rtt(live='lo', point=1)  # point",
            "v.Rtt(v.open(f), point=1)  # point",
            "v.Rtt(f, idle_ns=-1)  # idle_ns",
            "v.Rtt(f, method='guess')  # method",
            "v.Rtt(f, method=['ts'])  # method",
            "v.Twin(f, f)  # guest",
            "v.Twin(f, v.open(f))  # guest",
            "v.Twin(v.open(f, point=1), v.open(f, point=1))  # guest",
            "v.Twin(v.open(f, point=1), f)  # guest",
            "v.Clock('x')  # mode",
            "v.Rtt(f, max_flows=1.5)  # max_flows",
            "v.Twin(f, 3)  # guest",
            "v.Twin(f, f, window_ns=-5)  # window_ns",
            "v.Twin(f, f, max_pending=-1)  # max_pending",
            "v.Twin(f, f, offset_ns='1')  # offset_ns",
            "v.Twin(f, f, offset_ns=float('inf'))  # offset_ns",
            "v.Twin(f, f, addresses=['10.0.0.300'])  # addresses",
            "v.Twin(f, f, addresses=['10.0.0.1'] * 65)  # addresses",
            "v.Twin(*[v.open(f)] * 2)  # guest",
            "v.Clock('exchange\\0')  # mode",
            "v.Clock().add(0, 0.5, 0, 0)  # t2_ns",
            "v.Clock().add_bound(1 << 63, 0, True)  # at_ns",
            "v.Clock().add_bound(0, 'x', True)  # value_ns",
            "v.Clock().at(float('nan'))  # at_ns",
            "v.Distribution([0.5])  # values",
            "v.Distribution([1 << 63])  # values",
            "v.Distribution(5)  # values",
            "v.Distribution().merge([1])  # other",
            "d.merge(d)  # other",
            "v.intervals([1], ['x'])  # values",
            "v.intervals(['x'], [1])  # at_ns",
            "v.address(bytes(32))  # raw",
            "v.address(16)  # raw",
            "v.kind_name(-1)  # kind",
            "rows.column('key.addr')  # name",
            "rows + next(v.open(f).batches())  # other")]
        said = python("import sys, vnetscope as v\n"
                      "f = sys.argv[1]; rows = v.Rtt(f).all(); d = v.Distribution([1])\n"
                      "for text in sys.argv[2:]:\n"
                      "    try: print(eval(text))\n"
                      "    except ValueError as e: print(e)\n",
                      self.files["rtt"], *[text for text, _ in calls]).splitlines()
        self.assertEqual([(text, one.partition(": ")[0]) for (text, _), one in zip(calls, said)],
                         [(text, name) for text, name in calls])
        said = python("import vnetscope as v\n"
                      "for what in ('min', 'max', 'mean', 'stddev'):\n"
                      "    try: getattr(v.Distribution(), what)\n"
                      "    except ValueError as e: print(e)\n"
                      "print(v.Distribution().n, v.Distribution([5]).stddev)\n").splitlines()
        self.assertEqual(said, ["no min of no samples", "no max of no samples", "no mean of no samples",
                                "no mean of no samples", "0 0.0"])

    def test_one_owner(self):
        """What the library holds is not copied or pickled, else it would be freed twice; what was taken is."""
        said = python("import copy, pickle, sys, vnetscope as v\n"
                      "r = v.Rtt(sys.argv[1]); rows = r.all(); clock = v.Clock()\n"
                      "for o in (r, r.capture, v.Twin(*sys.argv[1:3]), clock, v.Distribution([1])):\n"
                      "    for how in (copy.copy, copy.deepcopy, pickle.dumps):\n"
                      "        try: how(o); print('taken')\n"
                      "        except TypeError as e: print(str(e)[:30])\n"
                      "again = pickle.loads(pickle.dumps(rows))\n"
                      "print(list(again) == list(rows), again.column('rtt_ns') == rows.column('rtt_ns'),\n"
                      "      pickle.loads(pickle.dumps(rows[3])) == rows[3])\n"
                      "try: v.open('/nowhere')\n"
                      "except v.Error as e: e = pickle.loads(pickle.dumps(e)); print(type(e) is v.Error, e.errno, e)\n",
                      self.files["rtt"], self.files["small"]).splitlines()
        names = [n for n in ("Rtt", "Capture", "Twin", "Clock", "Distribution") for _ in range(3)]
        self.assertEqual(said[:15], [f"a {n} can be neither copied nor pickled"[:30] for n in names])
        self.assertEqual(said[15:], ["True True True",
                                     "True 2 cannot open /nowhere: No such file or directory"])

    def test_threads(self):
        """One object in several threads: every packet comes once, no sample is lost, close() is safe."""
        said = python("import sys, threading, vnetscope as v\n"
                      "def at_once(*work):\n"
                      "    many = [threading.Thread(target=w) for w in work]\n"
                      "    [t.start() for t in many]; [t.join() for t in many]\n"
                      "want = sorted(p.digest for p in v.open(sys.argv[1])); got = []\n"
                      "c = v.open(sys.argv[1])\n"
                      "def read():\n"
                      "    try:\n"
                      "        for b in c.batches(1): got.extend(p.digest for p in b); c.stats\n"
                      "    except v.Error as e: assert 'read to its end' in str(e), e\n"
                      "at_once(*[read] * 4)\n"
                      "print(sorted(got) == want)\n"
                      "d, e = v.Distribution(), v.Distribution()\n"
                      "def add():\n"
                      "    for i in range(200): d.add(range(i, i + 500)); e.add([i])\n"
                      "def join():\n"
                      "    for i in range(50): d.merge(e); e.merge(d) if i == 7 else e.buckets()\n"
                      "at_once(*[add] * 4); n = d.n\n"
                      "at_once(*[join] * 4, add)\n"
                      "print(n, sum(b[2] for b in d.buckets()) == d.n)\n"
                      "def close():\n"
                      "    c.close()\n"
                      "c = v.open(sys.argv[1]); said = []\n"
                      "def until():\n"
                      "    try: list(c); said.append('all')\n"
                      "    except v.Error as e: said.append('is closed' in str(e))\n"
                      "at_once(until, close)\n"
                      "print(said[0] in ('all', True))\n", self.files["small"]).splitlines()
        self.assertEqual(said, ["True", "400000 True", "True"])

    def test_intervals(self):
        """Those of the program, from the samples that it prints; nothing of a few."""
        doc = json.loads(run(VNETSCOPE, "rtt", "-r", self.files["rtt"], "--json"))
        want = doc["totals"]["methods"]["ts"]["sampling_interval_ns"]
        said = python("import sys, json, vnetscope as v\n"
                      "s = [s for s in v.Rtt(sys.argv[1]) if s.kind == 'ts']\n"
                      "print(json.dumps(v.intervals([x.at_ns for x in s], [x.rtt_ns for x in s])))\n"
                      "print(v.intervals([1, 2], [3, 4]), v.intervals([], []))\n"
                      "try: v.intervals([1], [])\n"
                      "except ValueError as e: print(e)\n", self.files["rtt"]).splitlines()
        self.assertEqual(json.loads(said[0]), want)
        self.assertIsNotNone(want["mean"])
        none = str(dict.fromkeys(("mean", "p50", "p95", "p99")))
        self.assertEqual(said[1:], [f"{none} {none}", "1 times of 0 values"])

    def test_other_library(self):
        for command, _ in PYTHONS:
            for name, say in (("/nowhere.so", "cannot be loaded"), ("libc.so.6", "is older than")):
                done = subprocess.run([*command, "-c", "import vnetscope"], text=True,
                                      capture_output=True, env=environment(VNETSCOPE_LIBRARY=name))
                self.assertEqual(done.returncode, 1)
                self.assertIn(say, done.stderr.splitlines()[-1])

    def test_points_are_kept_apart(self):
        """Two interfaces in one pcapng: each packet twice, one point's samples."""
        both = os.path.join(self.tmp.name, "both")
        if subprocess.run(["sh", "-c", "command -v mergecap"], capture_output=True).returncode:
            self.skipTest("no mergecap")
        run("mergecap", "-I", "none", "-w", both, self.files["small"], self.files["small"])
        said = python("import sys, vnetscope as v\n"
                      "one, two = (v.open(f) for f in sys.argv[1:])\n"
                      "a, b = v.Rtt(one).all(), v.Rtt(two).all()\n"
                      "print(a.data == b.data, len(a) > 100, one.other_points,\n"
                      "      two.other_points == one.stats['frames'])\n", self.files["small"], both)
        self.assertEqual(said, "True True 0 True\n")
        # the point that is asked for, and that alone; one that is not there is an error, not nothing
        said = python("import sys, vnetscope as v\n"
                      "a, both = (list(v.open(f)) for f in sys.argv[1:])\n"
                      "for point in (0, 1):\n"
                      "    with v.open(sys.argv[2], point=point) as c:\n"
                      "        rows = list(c)\n"
                      "        print([p.digest for p in rows] == [p.digest for p in a], {p.point for p in rows},\n"
                      "              c.other_points == len(a), len(both) == 2 * len(a))\n"
                      "    print(v.Rtt(sys.argv[2], point=point).all().data == v.Rtt(sys.argv[1]).all().data)\n"
                      "for f in (lambda: list(v.open(sys.argv[2], point=9)),\n"
                      "          lambda: v.Rtt(v.open(sys.argv[2], point=9)).all(),\n"
                      "          lambda: list(v.Rtt(sys.argv[2], point=9)),\n"
                      "          lambda: v.Twin(sys.argv[1], v.open(sys.argv[2], point=9)).all()):\n"
                      "    try: f()\n"
                      "    except v.Error as e: print(str(e).replace(sys.argv[2], 'F'), len(both))\n"
                      "t = v.Twin(v.open(sys.argv[2], point=0), v.open(sys.argv[2], point=1)); s = t.all()\n"
                      "print({x.raw_ns for x in s}, t.counts['host']['read'] == len(a))\n"
                      "c = v.open(sys.argv[1]); i = iter(v.Rtt(c)); next(i)\n"
                      "for f in (lambda: next(iter(c)), lambda: v.Rtt(c).all()):\n"
                      "    try: f()\n"
                      "    except v.Error as e: print(str(e).replace(sys.argv[1], 'F'))\n",
                      self.files["small"], both).splitlines()
        self.assertEqual(said[:4], ["True {0} True True", "True", "True {1} True True", "True"])
        for line in said[4:8]:
            self.assertRegex(line, r"^point: F has no packet of point 9 among (\d+); its first one is of point [01] \1$")
        self.assertEqual(said[8:], ["{0} True", "F is read by an engine: open it again",
                                    "F is read by an engine already: open it again"])

    def test_numpy(self):
        said = python(
            "import sys, numpy, vnetscope as v\n"
            "rows = v.Rtt(sys.argv[1]).all(); a = rows.array()\n"
            "print(len(a) == len(rows), a['rtt_ns'].tolist() == list(rows.column('rtt_ns')),\n"
            "      [s.rtt_ns for s in rows] == a['rtt_ns'].tolist(), a.dtype.itemsize)\n"
            "with v.open(sys.argv[1]) as c: b = next(c.batches())\n"
            "p = list(b); x = b.array()\n"
            "print(all(x[f].tolist() == [getattr(q, f) for q in p] for f in v.Packet._fields\n"
            "          if f in x.dtype.names), x['key_port'][7].tolist() == list(p[7].ports))\n"
            "x['seq'][0] = 7; print(next(iter(b)).seq)\n"
            "d, e = v.Distribution(a['rtt_ns']), v.Distribution(numpy.ascontiguousarray(a['rtt_ns']))\n"
            "print(d.mean == e.mean and abs(d.mean - a['rtt_ns'].mean()) < 1, d.n == len(a))\n",
            self.files["rtt"], numpy=True)
        if said is None:
            self.skipTest("no python3 with numpy")
        self.assertEqual(said.splitlines(), ["True True True 64", "True True", "7", "True True"])
        said = python("import sys, numpy, pickle, vnetscope as v\n"
                      "rows = v.Rtt(sys.argv[1]).all(); a = rows.array()\n"
                      "print(rows[:0].array().shape, rows[:0].array().dtype == rows.dtype == a.dtype,\n"
                      "      (rows[5:90:3].array() == a[5:90:3]).all(), rows[numpy.int64(3)] == list(rows)[3])\n"
                      "v.Rtt(sys.argv[1], max_flows=numpy.uint32(9), idle_ns=numpy.int64(5))\n"
                      "print(v.Twin(*sys.argv[1:3], offset_ns=numpy.float64(2.6)).offset_ns)\n"
                      "for bad in (a['rtt_ns'] * 0.5, numpy.zeros((2, 2), 'i8'), numpy.zeros(3, '>i8'),\n"
                      "            numpy.zeros(2, 'M8[ns]'), numpy.array([2**63], 'u8')):\n"
                      "    try: print(v.Distribution(bad))\n"
                      "    except ValueError as e: print(str(e)[:7])\n"
                      "print(v.Distribution(numpy.arange(6, dtype='u2')).n, v.Distribution(numpy.arange(9)[::2]).max)\n",
                      self.files["rtt"], self.files["small"], numpy=True).splitlines()
        self.assertEqual(said, ["(0,) True True True", "3"] + ["values:"] * 5 + ["6 8"])

    def test_documentation(self):
        """The example of doc/python.md prints what stands there."""
        with open(DOC, encoding="utf-8") as f:
            blocks = re.findall(r"^```(\w+)\n(.*?)^```", f.read(), re.M | re.S)
        shell = "".join(text for kind, text in blocks if kind == "sh" and "vns-gencap" in text)
        code = "".join(text for kind, text in blocks if kind == "python")
        want = "".join(text for kind, text in blocks if kind == "text")
        work = os.path.join(self.tmp.name, "doc")
        os.mkdir(work)
        run("sh", "-c", f"vns_gencap() {{ {shlex.quote(GENCAP)} \"$@\" 2>/dev/null; }}\n" +
            shell.replace("vns-gencap", "vns_gencap"), cwd=work)
        said = python(f"import os; os.chdir({work!r})\n" + code, numpy=True)
        if said is None:
            self.skipTest("no python3 with numpy")
        self.assertEqual(said, want)


    def test_notebook(self):
        """The cells of doc/python.ipynb run, on a capture that is made as it says."""
        with open(os.path.join(os.path.dirname(DOC), "python.ipynb"), encoding="utf-8") as f:
            cells = json.load(f)["cells"]
        code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        how = re.search(r"`vns-gencap ([^`]*)`", "".join(cells[0]["source"])).group(1)
        run(GENCAP, *how.split(), cwd=self.tmp.name)
        said = python(f"import os; os.chdir({self.tmp.name!r})\n" + code, numpy=True)
        if said is None:
            self.skipTest("no python3 with numpy")
        self.assertRegex(said, r"ts <\d+ samples, .*\n   mean \(\d+, \d+\)\n   p50 \(")


def interpreters():
    """This one, and the system's if it differs."""
    for name in dict.fromkeys([os.path.realpath(sys.executable), "/usr/bin/python3"]):
        if os.path.exists(name):
            probe = subprocess.run([name, "-c", "import numpy"], capture_output=True)
            yield [name, "-W", "error", "-B"], probe.returncode == 0


if __name__ == "__main__":
    LIBRARY, MODULE, VNETSCOPE, GENCAP, DOC = (os.path.abspath(a) for a in sys.argv[1:6])
    PYTHONS = list(interpreters())
    print("interpreters:", PYTHONS)
    unittest.main(argv=sys.argv[:1] + sys.argv[6:])
