#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""`vnetscope vo --sample` live, on what the points see otherwise: UDP frames of many datagrams (UDP_SEGMENT) that the
tap cuts, and datagrams in fragments. The agent in the guest chooses by itself.

usage: test_vo_sample.py VNETSCOPE AGENT [CASE...]
"""
import json
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from labtest import AGENT, VNETSCOPE, main, ok, run, skip, wait_traffic

LAB = f"t-vs{os.getpid() % 10**8}"
N = 4
# argv: datagrams, their size, size of the pieces that the stack is to cut (0: none); each begins otherwise.
SEND = ("import os,socket,sys,time\n"
        "n,size,segment=map(int,sys.argv[1:])\n"
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
        "s.setsockopt(socket.IPPROTO_IP,10,0)\n"  # IP_MTU_DISCOVER: may be fragmented
        "segment and s.setsockopt(17,103,segment)\n"
        "s.connect(('10.77.0.11',5001))\n"
        "sent=0\n"
        "while sent<n:\n"
        "  try: s.send(os.urandom(size)); sent+=1\n"
        "  except ConnectionRefusedError: pass\n"
        "  time.sleep(0.002)\n")


def node(name, *words):
    return subprocess.run([VNETSCOPE, "lab", "exec", "--name", LAB, name, "--", *words],
                          capture_output=True, text=True, timeout=60)


def sampled(count, size, segment):
    """Accounting of both points, hops to the guest, and the note, with 1 in N of @count sends."""
    vo = subprocess.Popen([VNETSCOPE, "vo", f"lab:{LAB}/vm1", "--json", "-t", "60", "--sample", f"1/{N}", "-f",
                           "ip proto 17"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_traffic(LAB, vo, 20)
    ok(node("client", "python3", "-c", SEND, str(count), str(size), str(segment)))
    vo.send_signal(signal.SIGINT)
    out, err = vo.communicate(timeout=60)
    assert vo.returncode == 0, err
    t = json.loads(out)["targets"][0]
    books = t["accounting"]
    print(f"     {count} sends: " + "; ".join("%s read %d of %d, matched %d, missing %d, ambiguous %d" % (
        p, c["read"], c["read"] + c["not_sampled"], c["matched"], c["missing"], c["ambiguous"])
        for p, c in books.items()))
    for c in books.values():
        assert c["capture_lost"] == 0 and c["missing"] == 0, books
    hops = {(h["from"], h["to"]): h["directions"]["host_to_guest"] for h in t["hops"]}
    for h in t["hops"]:
        a, b = (h["accounting"][e] for e in ("from", "to"))
        print(f"     {h['from']} to {h['to']}: missing {a['missing']} and {b['missing']}, ambiguous {a['ambiguous']} and "
              f"{b['ambiguous']}")
        assert a["missing"] == b["missing"] == 0, h
    return books["host"], books["guest"], hops, t["note"]


def about(n, of, pieces=1):
    """1 in N of @of, to within five standard deviations: chance exceeds that once in a million runs."""
    mean, deviation = of / N, (of / N * (1 - 1 / N)) ** 0.5
    return abs(n / pieces - mean) <= 5 * deviation


def frames_that_the_interface_cuts():
    """The uplink sees frames, the tap and the guest their datagrams."""
    ok(run("lab", "up", "--name", LAB, "--backend", "netns", "--agent", AGENT, "-n", "1"))
    ok(node("host", "ethtool", "-K", "tapvm1", "tx-udp-segmentation", "off"))
    host, guest, hops, note = sampled(400, 12000, 1200)
    hop = hops["uplink", "tap"]["udp"]["matched"]
    print(f"     uplink to tap: {hop} frames matched")
    total = host["read"] + host["not_sampled"]
    assert total > 400 and about(host["read"], total), host
    assert all(c["matched"] == c["read"] - c["outside_window"] for c in (host, guest)), (host, guest)
    if hop >= total / 10:
        skip("this kernel cuts frames before the uplink: the points see the same")
    assert "joined or cut" in (note or ""), note
    # Each frame that was chosen has its twin there, and no other.
    assert about(hop, total / 10), (hop, host, guest)


def datagrams_in_fragments():
    ok(run("lab", "up", "--name", LAB, "--backend", "netns", "--agent", AGENT, "-n", "1"))
    host, guest, _, note = sampled(800, 4000, 0)
    total = host["read"] + host["not_sampled"]
    assert total > 300 and about(host["read"], total / 3, 3), host
    assert all(c["matched"] == c["read"] - c["outside_window"] for c in (host, guest)), (host, guest)
    assert "joined or cut" not in (note or ""), note


if os.geteuid() != 0:
    skip("needs root")
if not shutil.which("ethtool"):
    skip("ethtool is not there")
main((datagrams_in_fragments, frames_that_the_interface_cuts), [LAB])
