#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent on a virtio port that hosts leave in every bad way: the next host always gets through.

A port holds what an earlier host left, opens once at a time and does not close for the guest. This
host is written from doc/agent-protocol.md alone and shares no code with the program.

usage: test_agent_port.py VNETSCOPE AGENT
"""
import os
import shutil
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
from labtest import AGENT, main, ok, run, skip, status

LAB = f"t-port{os.getpid() % 10**8}"
VERSION = 4  # of the protocol (doc/agent-protocol.md)
HELLO, REPLY, OK, ERROR, CLOCK, CLOCK_REPLY = 1, 2, 3, 4, 6, 7
CAPTURE_START, LOAD_START, LOAD_STARTED, LOAD_STATS, LOAD_STOP, LOAD_REPORT = 13, 16, 17, 18, 19, 20
EXEC, EXEC_OUTPUT, EXEC_DONE = 23, 24, 25
MAX_ATTACH_S = 90  # for what never comes: 2 s until half a frame is given up, and what a loaded machine takes


def frame(kind, body=b"", request=1, length=None):
    return b"VNSA" + struct.pack("<IHHI", len(body) if length is None else length, kind, 0,
                                 request) + body


def text(s):
    return struct.pack("<H", len(s)) + s


def hello(nonce):
    return frame(HELLO, struct.pack("<QI", nonce, VERSION) + text(b"test"), 0)


def argv(*words):
    return struct.pack("<H", len(words)) + b"".join(text(w.encode()) for w in words)


class Host:
    def __init__(self, lab):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(f"{lab['folder']}/vm1.ctl")
        self.s.settimeout(0.25)
        self.buf = b""

    def more(self):
        try:
            data = self.s.recv(65536)
        except TimeoutError:
            return False
        assert data, "the port's socket closed"
        self.buf += data
        return True

    def attach(self):
        nonce = int.from_bytes(os.urandom(8), "little")
        mark = struct.pack("<Q", nonce)
        end = time.monotonic() + MAX_ATTACH_S
        while mark not in self.buf:
            assert time.monotonic() < end, f"no hello reply; {len(self.buf)} other bytes"
            try:
                self.s.sendall(hello(nonce))
            except TimeoutError:
                pass
            while self.more() and mark not in self.buf:
                self.buf = self.buf[-8192:]
        self.buf = self.buf[self.buf.index(mark) - 16:]
        kind, body, _ = self.next()
        assert kind == REPLY and struct.unpack_from("<I", body, 8)[0] == VERSION, (kind, body)
        return self

    def next(self):
        end = time.monotonic() + MAX_ATTACH_S
        while True:
            if len(self.buf) >= 16:
                magic, length, kind, flags, request = struct.unpack_from("<4sIHHI", self.buf)
                assert magic == b"VNSA" and flags == 0, self.buf[:32]
                if len(self.buf) >= 16 + length:
                    body, self.buf = self.buf[16:16 + length], self.buf[16 + length:]
                    return kind, body, request
            assert time.monotonic() < end, "no answer"
            self.more()

    def ask(self, kind, body, want):
        self.s.sendall(frame(kind, body, 77))
        while True:
            got, answer, request = self.next()
            if request == 77:
                assert got in (want, ERROR), got
                return answer if got == want else None

    def clock(self):
        before = time.time_ns()
        t2, t3 = struct.unpack("<qq", self.ask(CLOCK, b"", CLOCK_REPLY))
        after = time.time_ns()
        assert t2 <= t3 and t3 - t2 <= after - before, (t2, t3)

    def close(self):
        self.s.close()


def md5_load(persist):
    return struct.pack("<I16sHHIIdQqB", 1, b"", 0, 1, 65536, 5, 0.0, 0, 0, persist)


def left_in_every_bad_way():
    lab = status(LAB)

    def leave(what, *parts, wait=0.2, greet=True):
        h = Host(lab)
        if greet:
            h.attach()
        for p in parts:
            try:
                h.s.sendall(p)
            except TimeoutError:
                pass
            time.sleep(wait)
        h.close()
        start = time.monotonic()
        h = Host(lab).attach()
        h.clock()
        h.close()
        print(f"     after {what}: {time.monotonic() - start:.2f} s", flush=True)

    leave("a clean end")
    leave("half a header", b"VNSA\x04\0")
    leave("half a message", frame(CAPTURE_START, b"x" * 10, length=30000), wait=0)
    leave("a header without its body", frame(EXEC, b"", length=16384), wait=0)
    leave("noise", os.urandom(100000), greet=False)
    leave("a forged hello", frame(HELLO, b"", length=256), greet=False, wait=0)
    leave("an unknown message", frame(999))
    leave("output that nobody read", frame(EXEC, argv("sh", "-c", "yes")), wait=1)
    leave("requests that nobody read", frame(CLOCK) * 50000)


def what_a_session_began_ends_with_it():
    lab = status(LAB)
    h = Host(lab).attach()
    own = h.ask(LOAD_START, md5_load(0), LOAD_STARTED)
    kept = h.ask(LOAD_START, md5_load(1), LOAD_STARTED)
    assert h.ask(LOAD_STATS, own, LOAD_REPORT) and h.ask(LOAD_STATS, kept, LOAD_REPORT)
    h.s.sendall(frame(EXEC, argv("sleep", "1000"), 5))
    assert h.next()[0] == OK
    h.close()
    h = Host(lab).attach()
    assert h.ask(LOAD_STATS, own, LOAD_REPORT) is None, "a load outlived its session"
    assert h.ask(LOAD_STOP, kept, LOAD_REPORT), "a load that was to persist is gone"
    h.s.sendall(frame(EXEC, argv("ps"), 6))
    out = b""
    while True:
        kind, body, _ = h.next()
        if kind == EXEC_OUTPUT:
            out += body[4:]
        if kind == EXEC_DONE:
            break
    assert b"ps" in out and b"sleep 1000" not in out, out.decode()
    h.close()


def jiffies(line, first, last):
    return sum(map(int, line.split()[first:last]))


def used_alone(lab, absent):
    """Lines of the guest's own measurement, while no host was there for @absent s; fewer than 4: it had not ended."""
    h = Host(lab).attach()
    look = "cat /proc/1/stat; head -n 1 /proc/stat; "
    h.s.sendall(frame(EXEC, argv("sh", "-c", f"(sleep 1; {look} sleep 2; {look}) >/tmp/used{absent} 2>&1 "
                                 "</dev/null &"), 5))
    while h.next()[0] != EXEC_DONE:
        pass
    h.close()
    time.sleep(absent)
    h = Host(lab).attach()
    h.s.sendall(frame(EXEC, argv("cat", f"/tmp/used{absent}"), 6))
    out = b""
    while (answer := h.next())[0] != EXEC_DONE:
        out += answer[1][4:] if answer[0] == EXEC_OUTPUT else b""
    h.close()
    return out.decode().splitlines()


def rests_while_no_host_is_there():
    """What PID 1 used of the guest's processor in 2 s without a host, and of the time since boot. A guest that had
    not come to its second look when the host was back is asked again, with more time."""
    lab = status(LAB)
    lines = next(filter(lambda x: len(x) >= 4, (used_alone(lab, absent) for absent in (4, 8, 16))), None)
    assert lines, "the guest did not look twice in 16 s"
    used = jiffies(lines[2], 13, 15) - jiffies(lines[0], 13, 15)
    of = jiffies(lines[3], 1, 9) - jiffies(lines[1], 1, 9)
    assert of > 100 and used < of / 5, f"the agent used {used} of {of} ticks while it had nothing to do"
    print(f"     {used} of {of} ticks used without a host", flush=True)


def one_boot():
    left_in_every_bad_way()
    what_a_session_began_ends_with_it()
    rests_while_no_host_is_there()


if __name__ == "__main__":
    if os.geteuid() != 0:
        skip("needs root: the lab's sockets are root's")
    if not shutil.which("qemu-system-x86_64"):
        skip("qemu-system-x86_64 is missing (Debian package qemu-system-x86)")
    up = run("lab", "up", "--name", LAB, "--agent", AGENT, "--guests", "1", "--accel", "tcg",
             timeout=300)
    if up.returncode == 3 and ("fetch" in up.stderr or "apt" in up.stderr):
        skip(f"no guest kernel: {up.stderr.strip()}")
    main([one_boot], [LAB])
