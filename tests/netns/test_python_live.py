#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python module captures live on a veth pair of our own: pings seen as they pass and equal to what ping
says, the end by duration, by stop() from another thread, and under traffic that never ceases.

usage: test_python_live.py LIBRARY MODULE_FOLDER
"""
import json
import os
import re
import subprocess
import sys

from nettest import inside, remove, sh, veth_pair

A, B = f"vnspy{os.getpid()}a", f"vnspy{os.getpid()}b"
SAMPLES = """
import json, sys, threading, vnetscope as v
rtt = v.Rtt(v.live('v0'), apps=True)
print('ready', flush=True)
threading.Thread(target=lambda: (sys.stdin.readline(), rtt.capture.stop())).start()  # when it is told to
print(json.dumps([(s.kind, s.src, s.dst, s.id, s.rtt_ns) for s in rtt]))
print(json.dumps([rtt.counts['packets'], rtt.capture.stats['frames'], rtt.capture.stats['dropped']]))
"""
STOP = """
import threading, vnetscope as v
with v.live('v0', 'icmp') as c:
    print('ready', flush=True)
    n = 0
    for p in c:
        n += 1
        if n == 20:
            threading.Thread(target=c.stop).start()
print(n >= 20, c.stats['frames'] == n)
"""
BUSY = """
import socket, vnetscope as v
c = v.live('v0', duration=1)
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('10.93.0.2', 9))  # one at least, whatever the others do
print('ready', flush=True)
print(sum(len(b) for b in c.batches()) > 0)
"""
failures = []


def check(what, ok, detail=""):
    print(f"{'ok' if ok else 'FAIL'}: {what} {detail}".rstrip())
    if not ok:
        failures.append(what)


def start(code):
    """The code in namespace A, once it captures."""
    env = {**os.environ, "PYTHONPATH": MODULE, "VNETSCOPE_LIBRARY": LIBRARY}
    p = subprocess.Popen(inside(A, sys.executable, "-c", code), stdout=subprocess.PIPE,
                         stdin=subprocess.PIPE, text=True, env=env)
    check("starts", p.stdout.readline() == "ready\n")
    return p


def samples():
    p = start(SAMPLES)
    said = sh(*inside(A, "ping", "-n", "-c", "60", "-i", "0.02", "10.93.0.2"))
    theirs = {int(s): float(ms) for s, ms in re.findall(r"icmp_seq=(\d+) .*time=([\d.]+) ms", said)}
    rows, counts = map(json.loads, p.communicate("over\n", timeout=60)[0].splitlines())
    mine = {i: ns / 1e6 for kind, src, dst, i, ns in rows
            if (kind, src, dst) == ("icmp", "10.93.0.1", "10.93.0.2")}
    check("one sample for each echo", sorted(mine) == sorted(theirs), f"{len(mine)}, {len(theirs)}")
    check("none above ping's own time", all(mine[i] <= theirs[i] + 0.01 for i in mine))
    check("counts", counts[0] == counts[1] >= 120 and counts[2] == 0, str(counts))


def endless(code, *what):
    ping = subprocess.Popen(inside(A, "ping", "-n", "-q", "-f", "-i", "0.002", "10.93.0.2"),
                            stdout=subprocess.DEVNULL)
    p = start(code)
    try:
        check(what[0], p.communicate(timeout=60)[0] == what[1])
    finally:
        ping.kill()
        ping.wait()
        p.kill()


def main():
    try:
        veth_pair({A: "10.93.0.1", B: "10.93.0.2"})
        sh(*inside(A, "ping", "-c", "1", "-W", "2", "10.93.0.2"))
        samples()
        endless(STOP, "stop() ends it", "True True\n")
        endless(BUSY, "the duration ends it under traffic", "True\n")
    finally:
        remove(A, B)
    return 1 if failures else 0


if __name__ == "__main__":
    LIBRARY, MODULE = (os.path.abspath(a) for a in sys.argv[1:3])
    if os.geteuid():
        print("needs root for network namespaces")
        sys.exit(77)
    sys.exit(main())
