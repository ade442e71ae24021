#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""`vnetscope vo` in a flood that outruns it: it ends when it is to end, and every packet stays in the books.

Two generators send small datagrams to a namespace guest as fast as they can. How fast `vo` reads is no
matter here; that a run of 2 s or an interrupt ends while the flood goes on is, and that what was read and what
was lost add up to what the kernel says has passed.

usage: test_vo_flood.py VNETSCOPE AGENT LIVE_GEN [CASE...]
"""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
GENERATOR = os.path.abspath(sys.argv.pop(3))
from labtest import AGENT, VNETSCOPE, main, ok, run, skip, wait_traffic  # noqa: E402

LAB = f"t-fl{os.getpid() % 10**8}"
# On the generators' processor, of which it gets a seventh beside them: so it is outrun, and needs as much longer for its end.
HERE = ("taskset", "-c", str(min(os.sched_getaffinity(0))))
CLASSES = ("matched", "missing", "ambiguous", "outside_window", "undecodable")
FLOOD = 150  # seconds, if it is not ended before


def up():
    ok(run("lab", "up", "--name", LAB, "--backend", "netns", "--agent", AGENT, "-n", "1"))


def start(node, *words):
    return subprocess.Popen([VNETSCOPE, "lab", "exec", "--name", LAB, node, "--", *words],
                            stdout=subprocess.PIPE, text=True)


def start_flood(seconds=FLOOD):
    return [start("client", *HERE, GENERATOR, "10.77.0.11", "2000000", str(seconds)) for _ in range(2)]


def ends_in(flood, vo):
    """Wait for @vo and take what it says; how long it takes is the machine's matter, that the flood goes on is not."""
    said = vo.communicate(timeout=FLOOD - 10)
    assert all(p.poll() is None for p in flood), "the flood was over before"
    return said


def end_flood(flood):
    for p in flood:
        p.terminate()
    for p in flood:
        p.communicate(timeout=30)


def start_vo(seconds, *words):
    vo = subprocess.Popen([*HERE, "nice", "-n", "5", VNETSCOPE, "vo", f"lab:{LAB}/vm1", "--json", "-t", str(seconds), *words],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_traffic(LAB, vo)
    return vo


def finish(vo, said):
    out, err = said
    assert vo.returncode == 0, f"ended with {vo.returncode}: {err}"
    target = json.loads(out)["targets"][0]
    for point, acc in target["accounting"].items():
        total = sum(acc[c] for c in CLASSES)
        assert total == acc["read"], f"{point}: classes add up to {total}, read {acc['read']}"
    lost = target["accounting"]["host"]["capture_lost"]
    told = [e["kind"] for e in target["events"] if e["kind"] in ("drops", "behind")]
    print(f"     read {target['accounting']['host']['read']}, lost {lost} {told}")
    assert not lost or told, (lost, target["events"])
    return target


def a_run_ends_in_the_flood():
    up()
    vo = start_vo(2)
    began = time.monotonic()
    flood = start_flood()
    try:
        said = ends_in(flood, vo)
        took = time.monotonic() - began
    finally:
        vo.kill()
        end_flood(flood)
    print(f"     -t 2 ended after {took:.1f} s")
    target = finish(vo, said)
    assert target["accounting"]["host"]["read"] > 0, target["accounting"]


def programs():
    """Programs in the kernel where it takes them."""
    probe = run("rtt", "-i", "lo", "-d", "0.01", "--capture", "ebpf")
    if probe.returncode == 3:
        print("     packet sockets instead:", probe.stderr.strip())
    return () if probe.returncode == 3 else ("--capture", "ebpf")


def an_interrupt_ends_it():
    """The flood is there before: what comes before the traffic has its bounds, too."""
    up()
    flood = start_flood()
    try:
        time.sleep(0.5)
        vo = start_vo(60, *programs())
        time.sleep(1)
        began = time.monotonic()
        vo.send_signal(signal.SIGINT)
        said = ends_in(flood, vo)
        took = time.monotonic() - began
    finally:
        vo.kill()
        end_flood(flood)
    print(f"     ended {took:.1f} s after the interrupt")
    finish(vo, said)


def passed():
    """Packets that the kernel has received at the host's outer interface, and those it had no room for."""
    out = ok(subprocess.run([VNETSCOPE, "lab", "exec", "--name", LAB, "host", "--", "ip", "-j", "-s", "link", "show",
                             "up0"], capture_output=True, text=True, timeout=60)).stdout
    rx = json.loads(out)[0]["stats64"]["rx"]
    return rx["packets"], rx["dropped"]


def every_packet_is_in_the_books():
    """A flood that is over before the run is: read and lost make what has passed."""
    up()
    vo = start_vo(100)
    try:
        before = passed()
        flood = start_flood(1.5)
        sent = sum(int(p.communicate(timeout=60)[0].split()[0]) for p in flood)
        after = passed()
        vo.send_signal(signal.SIGINT)
        said = vo.communicate(timeout=60)
    finally:
        vo.kill()
    target = finish(vo, said)
    came, dropped = (a - b for a, b in zip(after, before))
    acc = target["accounting"]["host"]
    assert target["from_point"] == "uplink", target["from_point"]
    print(f"     sent {sent}, received {came}, no room for {dropped}; read {acc['read']}, lost {acc['capture_lost']}")
    # a few are not IP (ARP), or come after the count was taken
    assert abs(acc["read"] + acc["capture_lost"] - came) <= 40, (acc, came)


if os.geteuid() != 0:
    skip("needs root")
main([a_run_ends_in_the_flood, an_interrupt_ends_it, every_packet_is_in_the_books], [LAB])
