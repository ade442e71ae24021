#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A live `vo` whose agent's clock steps, or lies once: a relay in the agent's place moves the stamps that it sends.

The guest is a namespace, whose clock is the host's, so what the relay adds is the truth. A clock that steps moves the
replies to clock requests and the packets alike, for good; a wrong exchange is one reply.

usage: test_vo_clock.py VNETSCOPE AGENT [CASE...]
"""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from labtest import AGENT, VNETSCOPE, Live, main, ok, run, skip, wait_until

LAB = f"t-vc{os.getpid() % 10**8}"
SCRIPT, LIE, STEP, LOG = (f"/tmp/{LAB}.{what}" for what in ("agent", "lie", "step", "log"))
CLASSES = ("matched", "missing", "ambiguous", "outside_window", "undecodable")
MS = 10**6

# Frames: u32 magic, u32 length, u16 type, u16 flags, u32 request (doc/agent-protocol.md). A step is of the clock that the
# stamps are read from: the relay chooses the instant, the present one when it finds that it is to step, and what is stamped
# later than that is moved, however late it is forwarded and whatever else is in its batch. It writes down, in the order
# of the stream, what it sent: a list for each reply (its times, its lie) and batch (the stamps in it), moved or not.
RELAY = f"""#!{sys.executable}
import json, os, struct, subprocess, sys, time
agent = subprocess.Popen([{AGENT!r}, *sys.argv[1:]], stdout=subprocess.PIPE)
steps = [(0, 0)]  # since when, by how much

def told(path):
    try:
        with open(path) as f:
            return int(f.read() or 0)
    except FileNotFoundError:
        return 0

def moved(ns):
    return ns + [by for since, by in steps if since <= ns][-1]

def varint(body, at):
    value = shift = 0
    while True:
        value |= (body[at] & 127) << shift
        shift += 7
        at += 1
        if body[at - 1] < 128:
            return value, at

def put(value):
    value = value << 1 if value >= 0 else ~(value << 1)
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return out + bytes([value])

def batch(body):
    head, n, dropped, complete, base = struct.unpack_from("<IIQqq", body)
    out, at, prev, there, stamps = bytearray(), 32, base, moved(base), []
    out += struct.pack("<IIQqq", head, n, dropped, moved(complete), there)
    for _ in range(n):
        mask, = struct.unpack_from("<H", body, at)
        assert not mask & ~9, mask  # IPv4, ICMP
        delta, rest = varint(body, at + 2)
        prev += delta >> 1 ^ -(delta & 1)
        stamps.append(prev)
        out += body[at:at + 2] + put(moved(prev) - there)
        there = moved(prev)
        at = rest + 16 + (8 if mask & 1 else 32) + 4 + 6 + 2
        at = varint(body, varint(body, at)[1])[1] + 2 + (6 if mask & 8 else 0)
        out += body[rest:at]
    assert at == len(body), (at, len(body))
    return out, stamps

log = open({LOG!r}, "a", buffering=1)
while len(head := agent.stdout.read(16)) == 16:
    magic, size, kind, flags, request = struct.unpack("<IIHHI", head)
    body = bytearray(agent.stdout.read(size))
    if told({STEP!r}) != steps[-1][1]:
        steps.append((time.time_ns(), told({STEP!r})))
        print(json.dumps([os.getpid(), "step", *steps[-1]]), file=log)
    if kind == 7:     # CLOCK_REPLY: T2, T3
        lie = told({LIE!r})
        if lie:
            os.unlink({LIE!r})
        stamps = struct.unpack("<qq", body)
        body = struct.pack("<qq", *(moved(ns) + lie for ns in stamps))
        print(json.dumps([os.getpid(), "reply", *stamps, lie]), file=log)
    elif kind == 15:  # CAPTURE_BATCH
        body, stamps = batch(body)
        print(json.dumps([os.getpid(), "batch", *stamps]), file=log)
    left = memoryview(struct.pack("<IIHHI", magic, len(body), kind, flags, request) + body)
    while left:
        left = left[os.write(1, left):]
"""


def log():
    """What the relay of the measured agent wrote down: lists (RELAY), in the order of the stream."""
    of = {}
    if os.path.exists(LOG):
        with open(LOG, encoding="utf-8") as f:
            for line in f.read().splitlines():
                pid, *entry = json.loads(line)
                of.setdefault(pid, []).append(entry)
    return max(of.values(), key=lambda entries: sum(e[0] == "reply" for e in entries), default=[])


def replies():
    return sum(e[0] == "reply" for e in log())


def move(path, ns):
    """At once: the relay must not read half of it. Return when the relay has made it so."""
    def made():
        return any(e[0] == "step" and e[2] == ns for e in log()) if path == STEP else not os.path.exists(path)
    with open(path + "~", "w", encoding="utf-8") as f:
        f.write(str(ns))
    os.replace(path + "~", path)
    wait_until(f"the relay tells {ns}", made)


def measure(pings, *moves):
    """Run `vo` over so many pings. @moves: (replies to clock requests that come first, place, ns), and at the end how many
    come after. Return: its target, the relay's log of the traffic's time, and the longest ping, ns."""
    *moves, (after, _, _) = moves
    ok(run("lab", "up", "--name", LAB, "--backend", "netns", "--agent", SCRIPT, "-n", "1"))
    vo = Live(f"lab:{LAB}/vm1", "--clock", "channel", "-f", "icmp")
    try:
        vo.traffic()
        ping = subprocess.Popen([VNETSCOPE, "lab", "exec", "--name", LAB, "client", "--", "ping", "-q", "-i", "0.02",
                                 "-c", str(pings), "10.77.0.11"], stdout=subprocess.PIPE, text=True)
        for first, place, ns in moves:
            had = replies()
            wait_until(f"{first} clock replies", lambda: replies() >= had + first)  # pylint: disable=cell-var-from-loop
            move(place, ns)
        had = replies()
        wait_until(f"{after} clock replies", lambda: replies() >= had + after)
        said, _ = ping.communicate(timeout=90)
        entries = log()
        doc = vo.finish()
    finally:
        vo.kill()
        for path in (LIE, STEP, LOG):
            if os.path.exists(path):
                os.unlink(path)
    t = doc["targets"][0]
    assert not t["ended_early"], t["ended_early"]
    for point, acc in t["accounting"].items():
        assert sum(acc[c] for c in CLASSES) == acc["read"], (point, acc)
    host, guest = t["accounting"]["host"], t["accounting"]["guest"]
    assert host["read"] == 2 * pings, host
    # each packet is in the books of both ends once
    assert guest["read"] + guest["clock_ahead"] + guest["other_epoch"] == 2 * pings, guest
    assert host["missing"] == 0, (host, guest, t["events"])
    slowest = re.search(r"= [\d.]+/[\d.]+/([\d.]+)/", said)
    return t, entries, 1e6 * float(slowest.group(1))


def no_worse(t, slowest_ping_ns):
    """No latency is corrected by the relation of another epoch: none is longer than the ping that it is a part of."""
    for direction in t["directions"].values():
        f = direction["icmp"]["latency_ns"]
        assert f["min"] + f["err_plus_ns"] >= 0, f
        assert f["max"] - f["err_minus_ns"] <= slowest_ping_ns + 2000, (f, slowest_ping_ns)  # ping cuts off, twice, 1 us
    assert not any(n["impossible"] for n in t["negative"]), t["negative"]


def steps_of(t):
    return [e for e in t["events"] if e["step"] or e["kind"] == "clock_step"]


def is_told(e, entry, t, entries):
    """By the relay's own word: the event's bounds hold when the clock stepped and by how much, and are no wider than the
    round trips of two exchanges, and what clocks may drift meanwhile, make them."""
    _, since, all_in_all = entry
    step, before = e["step"], [x[2] for x in entries[:entries.index(entry)] if x[0] == "step"]
    by = all_in_all - (before[-1] if before else 0)
    assert e["at_ns"] <= since <= e["at_ns"] + step["within_ns"], (e, since)
    assert step["lower_ns"] <= by <= step["upper_ns"], (e, by)
    assert step["lower_ns"] <= step["by_ns"] <= step["upper_ns"], e
    few, many = sorted(abs(1e9 * float(x)) for x in re.search(r"\(([-+\d.]+) to ([-+\d.]+)\)", e["text"]).groups())
    assert few - 1 <= min(abs(step["lower_ns"]), abs(step["upper_ns"])), e  # what is printed holds it too
    assert max(abs(step["lower_ns"]), abs(step["upper_ns"])) <= many + 1, e
    slowest = t["clock"]["slowest_exchange_ns"]
    decided = [x[1] for x in entries if x[0] == "reply" and x[1] >= since][:16]
    drift = 2 * 500e-6 * (decided[-1] + slowest - e["at_ns"])
    assert step["upper_ns"] - step["lower_ns"] <= 2 * slowest + drift, (e, t["clock"])


def surely_of_an_epoch(entries, agreeing):
    """Packets of the guest's that came well before a step or well after it: before the last exchange but one that was made
    before it, or after @agreeing exchanges made after it, which decide."""
    sure = []
    for i, entry in enumerate(entries):
        if entry[0] != "batch":
            continue
        near = False
        for _, since, _ in (e for e in entries if e[0] == "step"):
            later = [e for e in entries[i:] if e[0] == "reply" and e[2] < since]
            sooner = [e for e in entries[:i] if e[0] == "reply" and e[1] >= since]
            near |= len(later) < 2 and len(sooner) < agreeing
        sure += [] if near else entry[1:]
    return sure


def one_wrong_exchange_is_no_step():
    """By a second, by some ms, by less than what a step is told for: left out and counted, and no packet is lost."""
    lies = (1000 * MS, -40 * MS, 3 * MS)
    t, entries, slowest_ping = measure(210, (6, LIE, lies[0]), (6, LIE, lies[1]), (6, LIE, lies[2]), (6, None, 0))
    assert [e[3] for e in entries if e[0] == "reply" and e[3]] == list(lies), entries
    assert steps_of(t) == [], t["events"]
    clock = t["clock"]
    assert clock["lower_ns"] <= 0 <= clock["upper_ns"], clock
    # a lie that is smaller than its exchange's own delays is none: it says no more than is true
    open_ns = clock["slowest_exchange_ns"] + 2 * max(-clock["lower_ns"], clock["upper_ns"])
    seen = sum(abs(lie) > open_ns for lie in lies)
    assert seen <= clock["contradicting"] <= len(lies) and clock["undecided"] == 0, (seen, clock)
    print(f"     {clock['contradicting']} wrong exchanges left out, {seen} certain to be seen")
    host, guest = t["accounting"]["host"], t["accounting"]["guest"]
    assert guest["clock_ahead"] == guest["other_epoch"] == t["unrelated"] == 0, (guest, t["unrelated"])
    assert guest["missing"] == 0, guest
    assert host["matched"] == guest["matched"] == host["read"], (host, guest)
    no_worse(t, slowest_ping)


def a_step_is_followed():
    """Forth and back: each told with its size and place, each side with its own relation, the books whole."""
    t, entries, slowest_ping = measure(245, (8, STEP, 80 * MS), (10, STEP, -820 * MS), (8, None, 0))
    told, made = steps_of(t), [e for e in entries if e[0] == "step"]
    assert len(told) == len(made) == 2, (t["events"], made)
    for e, entry in zip(told, made):
        is_told(e, entry, t, entries)
    assert t["clock"]["contradicting"] == t["clock"]["undecided"] == 0, t["clock"]
    # three exchanges that are faster than the step is large decide, sixteen in any case
    sure = surely_of_an_epoch(entries, 4 if t["clock"]["slowest_exchange_ns"] < 70 * MS else 17)
    host = t["accounting"]["host"]
    print(f"     {host['matched']} of {host['read']} matched, {len(sure)} of them certain, {host['outside_window']} outside")
    assert host["matched"] >= len(sure), (host, len(sure))
    no_worse(t, slowest_ping)


def a_small_step_is_told():
    """Where exchanges as slow as any of the run would show it, and both sides hold for ten times what is open between."""
    t, entries, slowest_ping = measure(385, (24, STEP, 2 * MS), (26, None, 0))
    told, made = steps_of(t), [e for e in entries if e[0] == "step"]
    assert len(made) == 1 and len(told) <= 1, (t["events"], made)
    for e in told:
        is_told(e, made[0], t, entries)
        assert e["step"]["lower_ns"] > 0, e
    slowest, since = t["clock"]["slowest_exchange_ns"], made[0][1]
    at = [e[1] for e in entries if e[0] == "reply"]
    gap = min(ns for ns in at if ns >= since) - max(ns for ns in at if ns < since) + 2 * slowest
    must = slowest < MS and 10 * gap < min(since - min(at), max(at) - since)
    print(f"     {'told' if told else 'not told'}, the slowest exchange took {slowest / MS:.3f} ms")
    assert told or not must, (t["clock"], t["events"], t["note"])
    no_worse(t, slowest_ping)


if os.geteuid() != 0:
    skip("needs root: makes network namespaces")
with open(SCRIPT, "w", encoding="utf-8") as script:
    script.write(RELAY)
os.chmod(SCRIPT, 0o755)
try:
    main([one_wrong_exchange_is_no_step, a_step_is_followed, a_small_step_is_told], [LAB])
finally:
    os.unlink(SCRIPT)
