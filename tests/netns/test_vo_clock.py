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
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from labtest import AGENT, VNETSCOPE, main, ok, run, skip, wait_traffic

LAB = f"t-vc{os.getpid() % 10**8}"
SCRIPT, LIE, STEP = (f"/tmp/{LAB}.{what}" for what in ("agent", "lie", "step"))
CLASSES = ("matched", "missing", "ambiguous", "outside_window", "undecodable")
MS = 10**6

# Frames: u32 magic, u32 length, u16 type, u16 flags, u32 request (doc/agent-protocol.md).
RELAY = f"""#!{sys.executable}
import os, struct, subprocess, sys
agent = subprocess.Popen([{AGENT!r}, *sys.argv[1:]], stdout=subprocess.PIPE)

def told(path):
    try:
        with open(path) as f:
            return int(f.read() or 0)
    except FileNotFoundError:
        return 0

while len(head := agent.stdout.read(16)) == 16:
    _, size, kind, _, _ = struct.unpack("<IIHHI", head)
    body = bytearray(agent.stdout.read(size))
    step, places = told({STEP!r}), ()
    if kind == 7:     # CLOCK_REPLY: T2, T3
        places, lie = (0, 8), told({LIE!r})
        if lie:
            step += lie
            os.unlink({LIE!r})
    elif kind == 15:  # CAPTURE_BATCH: complete up to, base time
        places = (16, 24)
    for at in places:
        struct.pack_into("<q", body, at, struct.unpack_from("<q", body, at)[0] + step)
    os.write(1, head)
    sys.stdout.flush()
    left = memoryview(body)
    while left:
        left = left[os.write(1, left):]
"""


def move(path, ns):
    """At once: the relay must not read half of it."""
    with open(path + "~", "w", encoding="utf-8") as f:
        f.write(str(ns))
    os.replace(path + "~", path)


def measure(seconds, *moves):
    """Run `vo` for @seconds and until the client's pings are over. @moves: (s into the traffic, place, ns). Return: its
    target, and when they were made."""
    ok(run("lab", "up", "--name", LAB, "--backend", "netns", "--agent", SCRIPT, "-n", "1"))
    vo = subprocess.Popen([VNETSCOPE, "vo", f"lab:{LAB}/vm1", "--json", "--clock", "channel", "-f", "icmp", "-t", "600"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_traffic(LAB, vo, 20)
        time.sleep(0.5)  # its first packets must not be of before
        began = time.monotonic()
        ping = subprocess.Popen([VNETSCOPE, "lab", "exec", "--name", LAB, "client", "--", "ping", "-q", "-i", "0.02",
                                 "-c", str(int(35 * (seconds - 2))), "10.77.0.11"], stdout=subprocess.PIPE, text=True)
        moved = []
        for at, place, ns in moves:
            time.sleep(max(0.0, at - (time.monotonic() - began)))
            move(place, ns)
            moved.append(time.time_ns())
        ping.wait(60)
        time.sleep(max(0.0, seconds - 0.5 - (time.monotonic() - began)))
        vo.send_signal(signal.SIGINT)
        out, err = vo.communicate(timeout=60)
    finally:
        vo.kill()
        for path in (LIE, STEP):
            if os.path.exists(path):
                os.unlink(path)
    assert vo.returncode == 0, err
    t = json.loads(out)["targets"][0]
    assert not t["ended_early"], t["ended_early"]
    for point, acc in t["accounting"].items():
        assert sum(acc[c] for c in CLASSES) == acc["read"], (point, acc)
    return t, moved


def no_worse(t, limit_ns):
    """No latency is corrected by the relation of another epoch."""
    for direction in t["directions"].values():
        f = direction["icmp"]["latency_ns"]
        assert f["min"] + f["err_plus_ns"] >= 0 and f["max"] < limit_ns, f
    assert not any(n["impossible"] for n in t["negative"]), t["negative"]


def holds_place(e, at):
    """The event says from where on and within what time the clock moved: @at, when it was told to, is in that, but for the
    reply that was under way."""
    within = 1e9 * float(re.search(r"within the ([\d.]+) s from here", e["text"]).group(1))
    assert e["at_ns"] <= at <= e["at_ns"] + within + 100 * MS, (e, at)


def one_wrong_exchange_is_no_step():
    """By a second, by some ms, by less than what a step is told for: left out and counted, and no packet is lost."""
    t, _ = measure(8, (1.5, LIE, 1000 * MS), (3, LIE, -40 * MS), (4.5, LIE, 3 * MS))
    assert t["events"] == [], t["events"]
    assert t["clock"]["contradicting"] == 3 and t["clock"]["undecided"] == 0, t["clock"]
    assert t["clock"]["lower_ns"] <= 0 <= t["clock"]["upper_ns"], t["clock"]
    host, guest = t["accounting"]["host"], t["accounting"]["guest"]
    assert guest["clock_ahead"] == guest["other_epoch"] == t["unrelated"] == 0, (guest, t["unrelated"])
    assert host["missing"] == guest["missing"] == 0, (host, guest)
    assert host["matched"] == guest["matched"] == host["read"] == 2 * 210, (host, guest)
    no_worse(t, 30 * MS)


def a_step_is_followed():
    """Forth and back: each told with its size and place, each side with its own relation, the books whole."""
    t, moved = measure(9, (2, STEP, 80 * MS), (4.5, STEP, -820 * MS))
    steps = [e for e in t["events"] if e["kind"] in ("clock_step", "stood_still")]
    assert len(steps) == 2, t["events"]
    for e, at, by in zip(steps, moved, (80 * MS, -900 * MS)):
        holds_place(e, at)
        assert abs(1e9 * float(e["text"].split("stepped by ")[1].split()[0]) - by) < MS, e
    assert t["clock"]["contradicting"] == t["clock"]["undecided"] == 0, t["clock"]
    host, guest = t["accounting"]["host"], t["accounting"]["guest"]
    assert host["missing"] == 0, host
    # each packet is in the books of both ends once
    seen = guest["read"] + guest["clock_ahead"] + guest["other_epoch"]
    assert abs(host["read"] - seen) <= 4, (host, guest)
    # two stretches of a second or so have no relation
    assert host["read"] == 2 * 245 and host["matched"] >= 2 * 140, (host, guest)
    print(f"     {host['matched']} of {host['read']} matched, {host['outside_window']} outside")
    no_worse(t, 60 * MS)


def a_small_step_is_told():
    t, moved = measure(13, (6, STEP, 2 * MS))
    assert [e["kind"] for e in t["events"]] == ["clock_step"], t["events"]
    e = t["events"][0]
    lower, upper = (1e9 * float(s) for s in e["text"].split("(")[1].split(")")[0].split(" to "))
    assert 0 < lower <= 2 * MS + 1000 and 2 * MS - 1000 <= upper, e
    holds_place(e, moved[0])
    assert t["accounting"]["host"]["missing"] == 0, t["accounting"]
    no_worse(t, 30 * MS)


if os.geteuid() != 0:
    skip("needs root: makes network namespaces")
with open(SCRIPT, "w", encoding="utf-8") as script:
    script.write(RELAY)
os.chmod(SCRIPT, 0o755)
try:
    main([one_wrong_exchange_is_no_step, a_step_is_followed, a_small_step_is_told], [LAB])
finally:
    os.unlink(SCRIPT)
