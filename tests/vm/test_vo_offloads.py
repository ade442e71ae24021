#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""`vo` under every combination of offloads: card with and without guest_tso4, and in the guest
GRO, TSO and GSO on and off; bulk TCP and UDP both ways, the clock related over shared memory.

Every packet of both captures must be paired, no latency may contradict the clock interval, and
the same bytes must be found whatever the frames were cut into. VNS_OFFLOAD_MATRIX=full takes all
twelve combinations, else four.

usage: test_vo_offloads.py VNETSCOPE AGENT [CASE...]
"""
import json
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
from labtest import AGENT, VNETSCOPE, Live, main, ok, run, skip

LAB = f"t-off{os.getpid() % 10**8}"
CLASSES = ("matched", "missing", "ambiguous", "outside_window", "undecodable")
FULL = os.environ.get("VNS_OFFLOAD_MATRIX") == "full"
# (gro, tso, gso) in the guests; vm1's card takes uncut frames, vm2's does not
STATES = [(g, t, s) for g in ("on", "off") for t, s in (("on", "on"), ("off", "on"), ("off", "off"))]
QUICK = [("on", "on", "on"), ("off", "off", "off")]


def node(name, *words, timeout=60):
    return run("lab", "exec", "--name", LAB, name, "--", *words, timeout=timeout)


def traffic():
    """TCP and UDP in both directions at once, one guest after the other: so many bytes, however long that takes."""
    for last in (11, 12):
        jobs = [subprocess.Popen([VNETSCOPE, "lab", "exec", "--name", LAB, "client", "--", "iperf3", "-c",
                                  f"10.77.0.{last}", "--bidir", "--connect-timeout", "60000",
                                  *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                for words in (("-p", "5201", "-b", "40M", "-n", "5M"), ("-p", "5202", "-u", "-b", "2M", "-n", "250K"))]
        for j in jobs:
            out, _ = j.communicate(timeout=90)
            assert j.returncode == 0, out


def measure_once(mode):
    vo = Live(f"lab:{LAB}/vm1", f"lab:{LAB}/vm2", "-m", mode)
    try:
        vo.traffic()
        traffic()
        return vo.finish()
    finally:
        vo.kill()


def measure(mode):
    """A run in which the captures kept up: where a ring ran over (counted) nobody knows what is missing."""
    for _ in range(4):
        doc = measure_once(mode)
        lost = [acc["capture_lost"] for t in doc["targets"] for acc in t["accounting"].values()]
        if not any(lost):
            return doc
        print(f"     once more: the captures lost {lost} packets")
    raise AssertionError(f"the captures never kept up: {lost}")


def check_target(state, t):
    what = (t["name"], state)
    for point, acc in t["accounting"].items():
        assert sum(acc[c] for c in CLASSES) == acc["read"], (what, point, acc)
        assert acc["read"] > 100, (what, point, acc)
        # equal acknowledgements that nothing tells apart are not guessed at: the rest of 0.1 %
        assert acc["matched"] >= 0.999 * (acc["read"] - acc["outside_window"]), (what, point, acc)
    for direction, protocols in t["directions"].items():
        for proto in ("tcp", "udp"):
            f = protocols[proto]["latency_ns"]
            at = (what, direction, proto, f)
            assert f["n"] > 10, at
            # the true clock is inside the interval, so no latency can be negative beyond it
            assert f["min"] + f["err_plus_ns"] >= 0, at
            # a pair of two different packets is off by a round trip and more in one direction
            assert f["max"] < 3e9, at
            last = protocols[proto]["last_byte_ns"]
            assert last["n"] == f["n"] and last["min"] + last["err_plus_ns"] >= 0, (at, last)
    for proto in ("tcp", "udp"):
        assert t["sum_ns"][proto]["n"] == 0 or t["sum_ns"][proto]["min"] > 0, (what, t["sum_ns"][proto])
    assert not t["note"] or "within this host" not in t["note"], (what, t["note"])
    assert not t["ended_early"], what


def frames(t, point):
    return t["accounting"][point]["read"]


def up_again():
    ok(run("lab", "up", "--name", LAB, "--agent", AGENT, "--accel", "tcg", "-n", "2", "--offloads",
           "vm2:no-guest-tso", "--with", "ethtool", "--with", "iperf3", timeout=300))
    for g in ("vm1", "vm2"):
        for port in ("5201", "5202"):
            ok(node(g, "iperf3", "-s", "-D", "-p", port))


def every_combination():
    up_again()
    cut = 0
    for state in STATES if FULL else QUICK:
        gro, tso, gso = state
        for g in ("vm1", "vm2"):
            ok(node(g, "ethtool", "-K", "eth0", "gro", gro, "tso", tso, "gso", gso))
        began = time.monotonic()
        doc = measure("shm")
        for t in doc["targets"]:
            check_target(state, t)
        vm1, vm2 = doc["targets"]
        # the host cuts frames for vm2 only: more of them at its tap than at the uplink
        hop = {(h["from"], h["to"]): h for h in vm2["hops"]}[("uplink", "tap")]["accounting"]
        cut += hop["to"]["read"] > hop["from"]["read"]
        print(f"     gro {gro}, tso {tso}, gso {gso}: {frames(vm1, 'host')}/{frames(vm1, 'guest')} and "
              f"{frames(vm2, 'host')}/{frames(vm2, 'guest')} frames, {time.monotonic() - began:.1f} s")
    assert cut, "no frame was ever cut on its way to vm2: the option has no effect"


def true_offset(guest):
    """(time, lowest, highest offset) by the page that the guest shares with the host."""
    doc = json.loads(ok(run("drift", "--json", "-m", "shm", "-n", "30", f"lab:{LAB}/{guest}")).stdout)
    return doc["at_ns"], doc["lower_ns"], doc["upper_ns"]


def traffic_bounds_hold_the_true_clock():
    """The relation by the slow channel is narrowed by every pair of packets: one pair of different
    packets would put it beside the truth, which shared memory tells just before and after."""
    up_again()
    for g in ("vm1", "vm2"):
        ok(node(g, "ethtool", "-K", "eth0", "gro", "off", "tso", "on", "gso", "on"))
    before = {g: true_offset(g) for g in ("vm1", "vm2")}
    doc = measure("channel")
    for t in doc["targets"]:
        check_target("mode channel", t)
        (t0, low0, high0), (t1, low1, high1) = before[t["name"]], true_offset(t["name"])
        clock = t["clock"]
        share = (clock["at_ns"] - t0) / (t1 - t0)
        low, high = low0 + (low1 - low0) * share, high0 + (high1 - high0) * share
        # an emulated guest's clock is no straight line to the nanosecond
        assert clock["lower_ns"] - 2000 <= high and clock["upper_ns"] + 2000 >= low, (clock, low, high)
        assert clock["upper_ns"] - clock["lower_ns"] < 1e6, clock
        print(f"     {t['name']}: true {low:.0f} .. {high:.0f}, by channel and traffic "
              f"{clock['lower_ns']} .. {clock['upper_ns']} ns")


if os.geteuid() != 0:
    skip("needs root: looks into namespaces")
for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("ethtool", "ethtool"),
                         ("iperf3", "iperf3")):
    if not shutil.which(program):
        skip(f"{program} is missing (Debian package {package})")
main([every_combination, traffic_bounds_hold_the_true_clock], [LAB])
