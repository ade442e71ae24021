#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How readings end that do not simply end: Ctrl-C, a damaged record, files behind each other, a full disk.

What was read stays; the exit code and one sentence tell what became of the rest. Truth is how many
records of the file stand before the place, counted here from the bytes.

usage: test_ends.py VNETSCOPE GENCAP
"""
import fcntl
import gzip
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

VNETSCOPE, GENCAP = sys.argv[1:3]
HEADER, RECORD = 24, 16
RECORDS = 3000
KNOWN = ["--offset-ns", "0"] # a clock that is known: no file is read twice, and a pipe can stand for one


def records(data):
    """Offset of each record of a pcap file in this machine's byte order, and of its end."""
    at, found = HEADER, [HEADER]
    while at < len(data):
        at += RECORD + struct.unpack_from("=I", data, at + 8)[0]
        found.append(at)
    return found


class Ends(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.rtt, cls.host, cls.guest = (f"{cls.folder.name}/{n}.pcap" for n in ("rtt", "host", "guest"))
        for words in (["--out", cls.rtt, "--flows", "60", "--packets", "6000"],
                      ["twin", "--host", cls.host, "--guest", cls.guest, "--packets", "6000"]):
            subprocess.run([GENCAP, *words, "--snap", "96", "--seed", "5"], check=True,
                           capture_output=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def bytes_of(self, path):
        with open(path, "rb") as f:
            return f.read()

    def write(self, data):
        path = f"{self.folder.name}/written"
        with open(path, "wb") as f:
            f.write(data)
        return path

    def run_json(self, *words, code=0):
        done = subprocess.run([VNETSCOPE, *words, "--json"], capture_output=True, text=True, timeout=900,
                              check=False)
        self.assertEqual(done.returncode, code, (words, done.stderr))
        return json.loads(done.stdout), done.stderr

    def interrupted(self, words, data):
        """Run with @data on a pipe that stays open; Ctrl-C when all of it has been read."""
        p = subprocess.Popen([VNETSCOPE, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        p.stdin.write(data)
        p.stdin.flush()
        end = time.monotonic() + 900
        while struct.unpack("i", fcntl.ioctl(p.stdin, termios.FIONREAD, b"\0" * 4))[0] or \
                self.state(p.pid) != "S":
            self.assertLess(time.monotonic(), end, "it does not read")
            time.sleep(0.01)
        p.send_signal(signal.SIGINT)
        out, err = p.stdout.read(), p.stderr.read()
        self.assertEqual(p.wait(timeout=900), 0, err)
        for f in (p.stdin, p.stdout, p.stderr):
            f.close()
        return out.decode(), err.decode()

    @staticmethod
    def state(pid):
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(") ")[2][0]

    def test_interrupted_before_the_first_byte(self):
        for words in (["rtt", "-r", "-"], ["vo", "--host", "-", "--guest", self.guest],
                      ["vo", "--host", self.host, "--guest", "-"]):
            p = subprocess.Popen([VNETSCOPE, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
            end = time.monotonic() + 900
            while True:  # number of read() on x86-64 or arm64, of descriptor 0
                with open(f"/proc/{p.pid}/syscall", encoding="ascii") as f:
                    call = f.read().split()
                if call[0] in ("0", "63") and call[1] == "0x0":
                    break
                self.assertLess(time.monotonic(), end, "it does not read")
                time.sleep(0.01)
            p.send_signal(signal.SIGINT)
            out, err = p.stdout.read(), p.stderr.read()
            self.assertEqual(p.wait(timeout=900), 4, err)
            for f in (p.stdin, p.stdout, p.stderr):
                f.close()
            self.assertTrue(err.startswith(f"vnetscope {words[0]}: interrupted: these are the results so far\n"), err)
            self.assertIn("packets  0 read" if words[0] == "rtt" else "clock: not known", out)

    def test_interrupted_rtt(self):
        data = self.bytes_of(self.rtt)
        part = data[:records(data)[RECORDS]]
        doc = json.loads(self.interrupted(["rtt", "-r", "-", "--json"], part)[0])
        self.assertTrue(doc["totals"]["interrupted"])
        self.assertEqual(doc["accounting"]["read"], RECORDS)
        out, err = self.interrupted(["rtt", "-r", "-"], part)
        self.assertIn("TCP timestamps", out)
        self.assertEqual(err, "vnetscope rtt: interrupted: these are the results so far\n")

    def test_interrupted_vo(self):
        data = self.bytes_of(self.host)
        part = data[:records(data)[RECORDS]]
        words = ["vo", "--host", "-", "--guest", self.guest, *KNOWN]
        doc = json.loads(self.interrupted([*words, "--json"], part)[0])
        books = doc["targets"][0]["accounting"]
        self.assertTrue(doc["interrupted"])
        self.assertEqual(books["host"]["read"], RECORDS)
        self.assertGreater(books["host"]["matched"], 0)
        for point in books.values():
            self.assertEqual(point["read"], sum(point[k] for k in (
                "matched", "missing", "ambiguous", "outside_window", "undecodable")))
        out, err = self.interrupted(words, part)
        self.assertIn("to guest\n", out.splitlines(keepends=True)[0])
        self.assertEqual(err, "vnetscope vo: interrupted: these are the results so far\n")

    def test_interrupted_vo_behind_its_beginnings(self):
        """Where threads may read; all that came is in the results, with any number of them."""
        data, guest, n = *self.long_pair(), 50000
        part = data[:records(data)[n]]
        for threads in "12":
            out, _ = self.interrupted(["vo", "--host", "-", "--guest", guest, *KNOWN, "-j", threads, "--json"],
                                      part)
            doc = json.loads(out)
            self.assertTrue(doc["interrupted"])
            self.assertEqual(doc["targets"][0]["accounting"]["host"]["read"], n)

    def test_reads_of_any_size(self):
        """Where reads end makes no difference: a file, and a pipe that brings it in small pieces."""
        data, guest = self.long_pair()
        expected = None
        for size, threads in ((None, "1"), (len(data), "1"), (3001, "1"), (700, "2")):
            words = [VNETSCOPE, "vo", "--host", "-", "--guest", guest, *KNOWN, "-j", threads, "--json"]
            if size is None:
                words[3] = self.write(data)
            p = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            sender = threading.Thread(target=self.send, args=(p.stdin, data if size else b"", size or 1))
            sender.start()
            doc = json.loads(p.stdout.read())
            sender.join()
            p.stdout.close()
            self.assertEqual(p.wait(timeout=900), 0)
            expected = expected or doc["targets"]
            self.assertEqual(doc["targets"], expected, (size, threads))

    @staticmethod
    def send(pipe, data, size):
        for at in range(0, len(data), size):
            pipe.write(data[at:at + size])
            pipe.flush()
        pipe.close()

    def long_pair(self):
        """A host's capture and the path of the guest's, longer than what is read to begin with."""
        host, guest = (f"{self.folder.name}/long-{n}" for n in ("host", "guest"))
        if not os.path.exists(host):
            subprocess.run([GENCAP, "twin", "--host", host, "--guest", guest, "--packets", "60000",
                            "--snap", "96", "--seed", "6", "--duration", "3", "--retrans", "10"],
                           check=True, capture_output=True)
        return self.bytes_of(host), guest

    def test_damaged(self):
        for name, words in (("rtt", ["rtt", "-r"]), ("host", ["vo", "--guest", self.guest, "--host"])):
            data = bytearray(self.bytes_of(getattr(self, name)))
            struct.pack_into("=I", data, records(data)[RECORDS] + 8, 0x7fffffff)
            doc, err = self.run_json(*words, self.write(data), code=3)
            self.assertIn(f"record {RECORDS + 1} at byte", err)
            books = doc["accounting"] if name == "rtt" else doc["targets"][0]["accounting"]["host"]
            self.assertEqual(books["read"], RECORDS)
            self.assertTrue(books["file_damaged"] if name == "rtt" else doc["targets"][0]["ended_early"])
            squeezed = bytearray(gzip.compress(self.bytes_of(getattr(self, name))))
            for i in range(8):
                squeezed[len(squeezed) // 2 + i] ^= 0xa5
            self.run_json(*words, self.write(squeezed), code=3)

    def test_cut_is_no_damage(self):
        data = self.bytes_of(self.rtt)
        doc, err = self.run_json("rtt", "-r", self.write(data[:records(data)[RECORDS] + 9]))
        self.assertEqual(doc["accounting"]["read"], RECORDS)
        self.assertIn("is cut", err)

    def test_behind_each_other(self):
        first, second = self.bytes_of(self.rtt), bytearray(self.bytes_of(self.host))
        n = len(records(first)) - 1
        both = n + len(records(second)) - 1
        for packed in (first + second, gzip.compress(first) + gzip.compress(bytes(second))):
            doc, err = self.run_json("rtt", "-r", self.write(packed))
            self.assertEqual(doc["accounting"]["read"], both)
            self.assertIn("holds 2 pcap files", err)
        doc, _ = self.run_json("rtt", "-r", self.write(first + second), "tcp", "or", "not", "tcp")
        self.assertEqual(doc["accounting"]["read"], both)
        _, err = self.run_json("rtt", "-r", self.write(first + second[:9]))
        self.assertIn("is cut", err)
        struct.pack_into("=I", second, 20, 101)
        doc, err = self.run_json("rtt", "-r", self.write(first + second), code=3)
        self.assertEqual(doc["accounting"]["read"], n)
        self.assertIn("link type 101 and not 1", err)
        # the other byte order and another resolution: times in the second file are those it says
        swapped = struct.pack(">IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 96, 1) + \
            struct.pack(">IIII", 1800000000, 7, 14, 14) + b"\0" * 14
        doc, _ = self.run_json("rtt", "-r", self.write(first + swapped))
        self.assertEqual(doc["totals"]["to_ns"], 1800000000000007000)
        doc, err = self.run_json("rtt", "-r", self.write(first + struct.pack(
            "=IIIIQI", 0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 2**64 - 1, 28)), code=3)
        self.assertIn("a pcapng file begins", err)
        self.assertEqual(doc["accounting"]["read"], n)

    def test_full_disk(self):
        for words in (["rtt", "-r", self.rtt], ["rtt", "-r", self.rtt, "--samples"],
                      ["rtt", "-r", self.rtt, "--flows", "--json"], ["rtt", "-r", self.rtt, "--csv"],
                      *(["vo", "--host", self.host, "--guest", self.guest, *more]
                        for more in ([], ["--json"], ["--csv"])), ["--tables"], ["vo", "--help"]):
            with open("/dev/full", "w", encoding="utf-8") as full:
                done = subprocess.run([VNETSCOPE, *words], stdout=full, stderr=subprocess.PIPE, text=True,
                                      timeout=900, check=False)
            self.assertEqual(done.returncode, 3, words)
            self.assertIn("No space left on device", done.stderr, words)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
