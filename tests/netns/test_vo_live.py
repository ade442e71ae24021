#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""`vnetscope vo TARGET...` on namespace guests, whose clock is the host's: known packet counts, a
known queueing delay, bulk TCP with offloads, every clock mode that works here, interrupts and
deaths in mid-run.

usage: test_vo_live.py VNETSCOPE AGENT [CASE...]
"""
import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "ref")]
import pcapread  # noqa: E402
from labtest import AGENT, VNETSCOPE, frozen, kill, main, ok, run, skip, status, wait_traffic, wait_until  # noqa: E402
from nettest import same_percentiles, wait_written  # noqa: E402
from tcpdump import Capture  # noqa: E402

LAB = f"t-vo{os.getpid() % 10**8}"
SAID = f"/tmp/{LAB}.said"
CLASSES = ("matched", "missing", "ambiguous", "outside_window", "undecodable")
BUSY = ("drops", "behind", "late", "agent_silent", "stood_still")  # events of a machine that is short of processors


def up(guests):
    ok(run("lab", "up", "--name", LAB, "--backend", "netns", "--agent", AGENT, "-n", str(guests)))


def node(name, *words, **more):
    return subprocess.run([VNETSCOPE, "lab", "exec", "--name", LAB, name, "--", *words],
                          capture_output=True, text=True, timeout=60, **more)


@atexit.register
def forget_said():
    if os.path.exists(SAID):
        os.unlink(SAID)


def begin_vo(*words, targets=("vm1",), seconds=600):
    """What it says is in a file: see said()."""
    with open(SAID, "w", encoding="utf-8") as err:
        return subprocess.Popen([VNETSCOPE, "vo", *[f"lab:{LAB}/{t}" for t in targets], "--json", "-t",
                                 str(seconds), *words], stdout=subprocess.PIPE, stderr=err, text=True)


def said():
    """What the latest vo has said so far."""
    with open(SAID, encoding="utf-8") as f:
        return f.read()


def start_vo(*words, **how):
    """One that runs until finish(), when the traffic is over, however long a busy machine takes for that."""
    vo = begin_vo(*words, **how)
    wait_traffic(LAB, vo, 20)
    return vo


def finish(vo, code=0, interrupt=True):
    """@interrupt: else it is to end by itself."""
    if interrupt:
        vo.send_signal(signal.SIGINT)
    out, err = vo.communicate(timeout=90)[0], said()
    assert vo.returncode == code, f"ended with {vo.returncode}: {err}"
    doc = json.loads(out)
    for target in doc["targets"]:
        for point, acc in target["accounting"].items():
            total = sum(acc[c] for c in CLASSES)
            assert total == acc["read"], f"{point}: classes add up to {total}, read {acc['read']}"
    return doc, err


# Without neighbour discovery, and without what a kernel tells its link's multicast groups, at times twice in the same bytes
# within 20 ms: rightly ambiguous.
ECHOES = "icmp or (icmp6 and (ip6[40] == 128 or ip6[40] == 129))"  # `and` binds no closer than `or`


def figure(target, direction, proto):
    return target["directions"][direction][proto]


def kinds(target):
    """Of its events, but those of a busy machine."""
    return [e["kind"] for e in target["events"] if e["kind"] not in BUSY]


def every_echo_is_found_once(*words):
    up(2)
    vo = start_vo("-f", ECHOES, *words, targets=("vm1", "vm2"))
    for address in ("10.77.0.11", "fd77::12"):
        ok(node("client", "ping", "-q", "-c", "100", "-i", "0.005", address))
    doc, _ = finish(vo)
    for target in doc["targets"]:
        assert target["clock"]["mode"] == "same" and target["clock"]["offset_ns"] == 0, target
        assert target["from_point"] == "uplink", target["from_point"]
        for direction in ("host_to_guest", "guest_to_host"):
            f = figure(target, direction, "icmp")
            assert f["matched"] == 100, (target["name"], direction, f)
            assert 0 <= f["latency_ns"]["min"] <= f["latency_ns"]["p50"] <= f["latency_ns"]["max"], f
        assert target["accounting"]["host"]["missing"] == 0, target["accounting"]
        assert target["accounting"]["guest"]["ambiguous"] == 0, target["accounting"]


def the_same_by_programs_in_the_kernel():
    probe = run("rtt", "-i", "lo", "-d", "0.01", "--capture", "ebpf")
    if probe.returncode == 3:
        print("     left out:", probe.stderr.strip())
        return
    every_echo_is_found_once("--capture", "ebpf")


def start_server():
    """iperf3 in vm1, for one client, listening."""
    server = subprocess.Popen([VNETSCOPE, "lab", "exec", "--name", LAB, "vm1", "--", "iperf3", "-s", "-1"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until("iperf3 listens", lambda: ":1451 " in node("vm1", "cat", "/proc/net/tcp", "/proc/net/tcp6").stdout, 40)
    return server


def bulk_tcp_with_offloads():
    if not shutil.which("iperf3"):
        skip("iperf3 is not installed")
    up(1)
    server = start_server()
    vo = start_vo("-f", "tcp")
    r = node("client", "iperf3", "-c", "10.77.0.11", "-n", "50M", "-b", "200M", "-J", "--connect-timeout", "5000")
    doc, _ = finish(vo)
    server.wait(60)
    assert r.returncode == 0, r.stdout + r.stderr
    sent = json.loads(r.stdout)["end"]["sum_sent"]["bytes"]
    target = doc["targets"][0]
    acc = target["accounting"]
    assert acc["host"]["read"] > 500 and sent > 10e6, (acc, sent)
    for point in ("host", "guest"):
        assert acc[point]["capture_lost"] == 0, acc
        assert acc[point]["matched"] >= 0.999 * (acc[point]["read"] - acc[point]["outside_window"]), acc
    f = figure(target, "host_to_guest", "tcp")
    assert f["last_byte_ns"]["n"] == f["matched"], f
    assert f["latency_ns"]["min"] >= 0, f
    assert target["rtt"]["guest_side_ns"]["n"] > 100, target["rtt"]


def net_of(name):
    lab = status(LAB)
    return f"/proc/{lab['holder_pid'] if name == 'host' else lab['guests'][0]['pid']}/ns/net"


def stamps(path):
    """{payload's first 8 bytes: ns} of the datagrams in a capture."""
    return {data[42:50]: at for at, _, data in pcapread.frames(path)}


def a_known_queue_is_seen():
    """
    Bursts of 10 datagrams of 1042 B through tbf at 8 Mbit/s: the last waits about 8.8 ms, if the sender is not held up
    meanwhile. Truth is what the kernel's own captures at uplink, tap and guest say of the same datagrams.
    """
    up(1)
    ok(node("host", "tc", "qdisc", "add", "dev", "tapvm1", "root", "tbf", "rate", "8mbit", "burst",
            "1600", "latency", "400ms"))
    script = ("import socket,time\n"
              "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
              "for i in range(20):\n"
              "  for k in range(10): s.sendto(b'%4d%4d'%(i,k)+bytes(992),('10.77.0.11',9))\n"
              "  time.sleep(0.1)\n")
    with tempfile.TemporaryDirectory() as folder:
        captures = [Capture(net_of(name), at, f"{folder}/{at}", 64, "udp", "dst", "port", "9")
                    for name, at in (("host", "up0"), ("host", "tapvm1"), ("vm1", "eth0"))]
        vo = start_vo()
        ok(node("client", "python3", "-c", script))
        doc, _ = finish(vo)
        for c in captures:
            c.stop()
        uplink, tap, guest = (stamps(c.path) for c in captures)
    assert len(uplink) == len(tap) == len(guest) == 200, (len(uplink), len(tap), len(guest))
    for i in range(20):  # the queue is there: 10 datagrams, but for its burst, at 1 B/us
        first, last = b"%4d%4d" % (i, 0), b"%4d%4d" % (i, 9)
        assert tap[last] - uplink[first] >= 0.98 * (10420 - 1600) * 1000, (i, tap[last] - uplink[first])
    f = figure(doc["targets"][0], "host_to_guest", "udp")
    hops = {(h["from"], h["to"]): h["directions"]["host_to_guest"]["udp"] for h in doc["targets"][0]["hops"]}
    for seen, a, b in ((f, uplink, guest), (hops["uplink", "tap"], uplink, tap), (hops["tap", "guest"], tap, guest)):
        assert seen["matched"] == 200, seen
        same_percentiles(seen["latency_ns"], [b[k] - a[k] for k in a])
    print(f"     p50 {f['latency_ns']['p50']} ns, most {f['latency_ns']['max']} ns, by the kernel's own captures "
          f"{max(guest[k] - uplink[k] for k in uplink)} ns")


def other_clock_modes_hold_the_truth():
    up(1)
    for mode, *words in (("channel",), ("exchange",), ("exchange", "--assume-symmetric")):
        vo = start_vo("--clock", mode, "-f", ECHOES, *words)
        ok(node("client", "ping", "-q", "-c", "100", "-i", "0.01", "10.77.0.11"))
        doc, _ = finish(vo)
        target = doc["targets"][0]
        clock = target["clock"]
        assert clock["mode"] == mode, clock
        assert clock["lower_ns"] <= 0 <= clock["upper_ns"], f"{mode}: truth 0 outside {clock}"
        f = figure(target, "host_to_guest", "icmp")
        # probes of our own are not traffic
        assert f["matched"] == 100, f
        if words:
            assert clock["split"] == "assumed symmetric" and f["latency_ns"]["min"] > 0, (f, clock)
        elif mode == "exchange":  # shares the path: the split of the directions is withheld
            assert f["latency_ns"]["min"] is None and clock["offset_ns"] is None, (f, clock)
            assert clock["split"] == "not identifiable", clock
            lower, upper = f["interval_ns"]["min"]
            both = target["sum_ns"]["icmp"]["min"]
            assert 0 <= lower <= upper <= both + clock["upper_ns"] - clock["lower_ns"], (f, both)
            assert f["excess_ns"]["p50"] >= 0 and both > 0, (f, both)
        else:
            assert f["latency_ns"]["min"] + f["latency_ns"]["err_plus_ns"] >= 0, f


def interrupt_keeps_the_results():
    up(1)
    vo = start_vo()  # for longer than finish() has patience: the interrupt ends it
    ok(node("client", "ping", "-q", "-c", "50", "-i", "0.01", "10.77.0.11"))
    doc, _ = finish(vo)
    assert doc["interrupted"] is True
    f = figure(doc["targets"][0], "host_to_guest", "icmp")
    assert f["matched"] >= 50, (f, doc["targets"][0]["accounting"])


def a_death_ends_one_target_only():
    up(2)
    vo = start_vo(targets=("vm1", "vm2"))
    ok(node("client", "ping", "-q", "-c", "30", "-i", "0.01", "10.77.0.12"))
    # three signs of life later its agent has told what it had captured
    wait_written(agent_pid(1), 3)
    kill(status(LAB)["guests"][1]["pid"])
    ok(node("client", "ping", "-q", "-c", "100", "-i", "0.01", "10.77.0.11"))
    doc, err = finish(vo, 3)
    one, two = doc["targets"]
    assert "vm2 ended early" in err, err
    assert two["ended_early"] and not one["ended_early"], doc
    # its tap went with it: said once, with its time
    assert kinds(two) == ["removed"] and not two["note"], (two["events"], two["note"])
    assert 1000 < two["overhead"]["agent_bytes"] < 1 << 30, two["overhead"]
    assert figure(one, "host_to_guest", "icmp")["matched"] >= 100, one["accounting"]
    assert figure(two, "host_to_guest", "icmp")["matched"] >= 25, two["accounting"]


def agent_pid(guest=0):
    """The agent of vm1, or another: the child of its namespace's keeper. It runs while it is connected."""
    keeper = status(LAB)["guests"][guest]["pid"]
    found = []

    def look():
        for path in os.listdir("/proc"):
            try:
                with open(f"/proc/{path}/stat", encoding="utf-8") as f:
                    words = f.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[1]) == keeper:
                found.append(int(path))
        return found
    wait_until("its agent runs", look)
    return found[0]


def start_ping(gap="0.02"):
    return subprocess.Popen([VNETSCOPE, "lab", "exec", "--name", LAB, "client", "--", "ping", "-q", "-i", gap,
                             "10.77.0.11"], stdout=subprocess.DEVNULL)


def a_frozen_agent_is_named():
    """Only the agent stands still, the guest answers pings: told at once, and by an event."""
    up(1)
    vo = start_vo()
    ping = start_ping()
    agent = agent_pid()
    wait_written(agent, 3)
    with frozen(agent):
        wait_until("it is said", lambda: "no sign of life for" in said())
        time.sleep(1)
    # That it speaks again is seen between two exchanges, four of which are made in a second; its signs of life are as many.
    wait_written(agent, 12)
    doc, err = finish(vo)
    ping.terminate()
    ping.wait(60)
    target = doc["targets"][0]
    assert "vm1: no sign of life for" in err and "after 15 s it is given up" in err, err
    events = [e for e in target["events"] if e["kind"] == "agent_silent"]
    assert events and "packets of the guest came at" in events[0]["text"], target["events"]
    assert not target["ended_early"], target["ended_early"]
    acc = target["accounting"]
    # its ring went on, for as long as it holds; what did not fit is counted
    assert acc["host"]["missing"] <= acc["guest"]["capture_lost"], acc


def an_interrupt_does_not_wait_for_the_frozen():
    """Just frozen, frozen for long, frozen before the traffic: each time one Ctrl-C is enough."""
    up(1)
    for traffic, seconds in ((True, 0.3), (True, 2), (False, 1)):
        vo = begin_vo()
        agent = agent_pid()
        try:
            if traffic:
                wait_traffic(LAB, vo, 20)
                ok(node("client", "ping", "-q", "-c", "50", "-i", "0.01", "10.77.0.11"))
            with frozen(agent):
                time.sleep(seconds)
                began = time.monotonic()
                vo.send_signal(signal.SIGINT)
                out, err = vo.communicate(timeout=60)[0], said()
                took = time.monotonic() - began
        finally:
            vo.kill()
            vo.wait()
            wait_until("the agent ends", lambda: not os.path.exists(f"/proc/{agent}"))
        print(f"     frozen for {seconds} s: ended {took:.2f} s after the interrupt")
        # not because the agent had been silent for 15 s by then, as once
        assert "silent for 15" not in err, err
        if traffic:
            target = json.loads(out)["targets"][0]
            assert vo.returncode == 3 and "last packets are missing" in err, (vo.returncode, err)
            assert err.count("ended early") == 1 and "ended early" in target["ended_early"], err
            assert figure(target, "host_to_guest", "icmp")["matched"] >= 40, target["accounting"]


SEND = ("import socket,time,sys\n"
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
        "for i in range(int(sys.argv[1])):\n"
        "  s.sendto(b'%8d'%i+bytes(40),('10.77.0.11',9))\n"
        "  if i%20==19: time.sleep(0.01 if sys.argv[2:]==[] else float(sys.argv[2]))\n")


# What it says passes at 600 B/s, in order, once told: a guest that gets little CPU, whose agent speaks all the while.
SLOW = f"/tmp/{LAB}.slow"
SLOW_AGENT = f"""#!{sys.executable}
import os, subprocess, sys, time
p = subprocess.Popen([{AGENT!r}, *sys.argv[1:]], stdout=subprocess.PIPE)
while data := os.read(p.stdout.fileno(), 150):
    os.write(1, data)
    if os.path.exists({SLOW!r}):
        time.sleep(0.25)
"""


def a_lagging_agent_does_not_hold_up_the_end():
    """Its packets of many seconds wait when the run ends: outside the window, said, none missing."""
    script = f"/tmp/{LAB}.agent"
    with open(script, "w", encoding="utf-8") as f:
        f.write(SLOW_AGENT)
    os.chmod(script, 0o755)
    ok(run("lab", "up", "--name", LAB, "--backend", "netns", "--agent", script, "-n", "1"))
    ping = subprocess.Popen([VNETSCOPE, "lab", "exec", "--name", LAB, "client", "--", "ping", "-q", "-i",
                             "0.002", "10.77.0.11"], stdout=subprocess.DEVNULL)
    try:
        for sig in (None, signal.SIGTERM):
            vo = start_vo(seconds=15 if sig is None else 600)
            with open(SLOW, "w", encoding="utf-8"):
                pass
            if sig is not None:
                time.sleep(4)
                vo.send_signal(sig)
            doc, err = finish(vo, interrupt=False)
            os.unlink(SLOW)
            target = doc["targets"][0]
            assert doc["interrupted"] is (sig is not None)
            assert "s late; the rest is waited for" in err, err
            assert [e for e in target["events"] if e["kind"] == "late"], target["events"]
            assert target["accounting"]["host"]["missing"] == 0, target["accounting"]
    finally:
        ping.terminate()
        ping.wait(60)
        os.unlink(script)
        if os.path.exists(SLOW):
            os.unlink(SLOW)


def the_same_samples_at_every_point():
    up(1)
    vo = start_vo("--sample", "1/8", "-f", "not ip6")  # nor what a kernel tells its link's groups twice in the same bytes
    ok(node("client", "python3", "-c", SEND, "4000"))
    doc, _ = finish(vo)
    target = doc["targets"][0]
    assert target["sample"] == {"first_one_in": 8, "last_one_in": 8}, target["sample"]
    f = figure(target, "host_to_guest", "udp")
    assert 390 <= f["matched"] <= 610, f  # 500, standard deviation 21
    s = target["sum_ns"]
    assert s["udp"]["withheld"] and s["udp"]["mean"] is None and not s["tcp"]["withheld"], s
    for point in ("host", "guest"):
        acc = target["accounting"][point]
        assert acc["missing"] == 0 and acc["ambiguous"] == 0, acc
        assert acc["read"] <= 800, acc


def flooded(rate):
    """A run of vo with more packets than wait for one clock relation: its target, and how many were sent."""
    server = start_server()
    vo = start_vo("--clock", "channel", "-f", "not ip6")
    r = node("client", "iperf3", "-u", "-c", "10.77.0.11", "-b", rate, "-l", "100", "-k", "160000", "-J")
    doc, _ = finish(vo)
    server.wait(60)
    assert r.returncode == 0, r.stdout + r.stderr
    return doc["targets"][0], json.loads(r.stdout)["end"]["sum"]["packets"]


def a_full_window_goes_over_into_the_next():
    """More packets than wait for one clock relation: every one is in the figures all the same, but for those that
    a capture has lost, as it says."""
    up(1)
    for rate in ("30M", "15M", "8M", "5M"):  # one window lasts up to 60 s
        target, sent = flooded(rate)
        lost = {point: acc["capture_lost"] for point, acc in target["accounting"].items()}
        if not any(lost.values()):
            break
        print(f"     {lost} lost for want of room at {rate}: the machine is busy, once more and slower")
    f = figure(target, "host_to_guest", "udp")
    acc = target["accounting"]["host"]
    print(f"     {f['matched']} of {sent} matched")
    assert f["matched"] > 131072 and f["matched"] >= sent - sum(lost.values()), (sent, lost, f)  # that many a window holds
    sampled = sum(p[proto]["matched"] for p in target["directions"].values() for proto in p)
    assert sampled == acc["matched"] and target["unrelated"] == 0, (sampled, acc)
    assert f["latency_ns"]["min"] + f["latency_ns"]["err_plus_ns"] >= 0, f
    assert not kinds(target), target["events"]
    assert target["clock"]["lower_ns"] <= 0 <= target["clock"]["upper_ns"], target["clock"]


def a_budget_raises_the_share():
    up(1)
    vo = start_vo("--max-cpu", "0.1%")  # looking at the rings alone costs more
    ok(node("client", "python3", "-c", SEND, "8000"))
    doc, _ = finish(vo)
    target = doc["targets"][0]
    assert target["sample"]["first_one_in"] == 1 and target["sample"]["last_one_in"] > 1, target["sample"]
    told = [e["text"] for e in target["events"] if e["kind"] == "sampling"]
    assert told and "budget is 0.1 %" in told[0], target["events"]
    for point in ("host", "guest"):
        # what was under way when the share changed is outside the window, not missing
        assert target["accounting"][point]["missing"] == 0, target["accounting"]


def a_share_that_changes_amid_traffic():
    """Packets all the while, both ways: those of before and after the change are told apart."""
    up(1)
    ping = start_ping("0.002")
    doc, _ = finish(start_vo("--max-cpu", "0.1%", "-f", "icmp", seconds=8), interrupt=False)
    ping.terminate()
    ping.wait(60)
    target = doc["targets"][0]
    acc = target["accounting"]
    told = [e["at_ns"] for e in target["events"] if e["kind"] == "sampling"]
    assert told and target["sample"]["last_one_in"] > 1, target["sample"]
    assert acc["host"]["matched"] > 100 and acc["guest"]["matched"] > 100, acc
    for point in ("host", "guest"):
        assert acc[point]["missing"] == 0 and acc[point]["ambiguous"] == 0, acc


def links_that_go_and_come():
    up(2)
    vo = start_vo(targets=("vm1", "vm2"))
    ok(node("client", "ping", "-q", "-i", "0.02", "-c", "60", "10.77.0.12"))
    with frozen(vo.pid):  # it is late: what the interface did and all packets are there to be read at once
        ok(node("host", "ip", "link", "set", "up0", "down"))
        ok(node("host", "ip", "link", "set", "up0", "up"))
        ok(node("client", "ping", "-q", "-i", "0.02", "-c", "60", "-w", "60", "10.77.0.12"))
    ok(node("host", "ip", "link", "del", "tapvm1"))
    doc, err = finish(vo, 3)
    one, two = doc["targets"]
    assert "eth0 was removed" in err and "eth0 was removed" in one["ended_early"], (err, one)
    assert "removed" in kinds(one), one["events"]
    assert kinds(two) == ["link_down", "link_up"], two["events"]
    assert not two["ended_early"] and figure(two, "host_to_guest", "icmp")["matched"] > 100, two


def an_end_with_little_processor_reads_all_that_came():
    """vo has stood still; from its interrupt on it gets 2 ms of a processor, then none for 0.2 s, for a while."""
    up(1)
    for _ in range(5):
        vo = start_vo("-f", "udp")
        with frozen(vo.pid):
            ok(node("client", "python3", "-c", SEND, "20000", "0"))
            vo.send_signal(signal.SIGINT)
        began = time.monotonic()
        for _ in range(3):
            time.sleep(0.002)
            with frozen(vo.pid):
                time.sleep(0.2)
        took = time.monotonic() - began
        doc, _ = finish(vo, interrupt=False)
        if took < 0.9:  # 1 s by the clock is what the end has
            break
        print(f"     {took:.1f} s without a processor: once more")
    target = doc["targets"][0]
    assert target["accounting"]["host"]["capture_lost"] == 0, (target["accounting"], target["events"])
    assert figure(target, "host_to_guest", "udp")["matched"] == 20000, target["accounting"]


def a_card_taken_from_the_guest_ends_it_at_once():
    """Its capture is over, and no sign of life comes any more: said as what it is, not as a silence of 15 s."""
    up(1)
    vo = start_vo()
    ok(node("client", "ping", "-q", "-c", "30", "-i", "0.01", "10.77.0.11"))
    began = time.monotonic()
    ok(node("host", "ip", "link", "del", "tapvm1"))
    doc, err = finish(vo, 3, interrupt=False)
    print(f"     ended {time.monotonic() - began:.1f} s after its interface was removed")
    target = doc["targets"][0]
    # before, 15 s and more later: "silent for 15 s while capturing"
    assert "eth0 was removed" in target["ended_early"] and "silent" not in err, (err, target["ended_early"])
    assert kinds(target) == ["removed"], target["events"]
    assert figure(target, "host_to_guest", "icmp")["matched"] >= 30, target["accounting"]
    assert target["accounting"]["host"]["missing"] == 0, target["accounting"]


def an_address_that_nobody_told_is_counted():
    up(1)
    vo = start_vo("-f", ECHOES)
    for words in (("addr", "add", "10.77.0.99/24", "dev", "eth0"),
                  ("-6", "addr", "add", "fd77::99/64", "dev", "eth0", "nodad")):
        ok(node("vm1", "ip", *words))
    ok(node("client", "ping", "-q", "-c", "20", "-i", "0.01", "10.77.0.11"))
    ok(node("client", "ping", "-q", "-c", "20", "-i", "0.01", "10.77.0.99"))
    ok(node("client", "ping", "-q", "-c", "20", "-i", "0.01", "fd77::99"))
    doc, _ = finish(vo)
    target = doc["targets"][0]
    n = target["accounting"]["host"]["unknown_address"]
    assert n == 40, target["accounting"]
    assert f"{n} packets from the guest at tapvm1 are of no address that is known of it" in target["note"]
    assert "(such as fd77::99)" in target["note"], target["note"]
    assert figure(target, "host_to_guest", "icmp")["matched"] == 20, target["accounting"]


def bad_input_is_one_sentence():
    up(1)
    for words, code, text in (
            ((f"lab:{LAB}/vm7",), 3, "vm7"),
            ((f"lab:{LAB}/vm1", "--filter", "tcp and ("), 2, "tcp and ("),
            ((f"lab:{LAB}/vm1", "--clock", "shm"), 3, "shm"),
            ((f"lab:{LAB}/vm1", "--host", "x"), 2, "--host"),
            ((f"lab:{LAB}/vm1", "-t", "0"), 2, "duration"),
            ((f"lab:{LAB}/vm1", "--sample", "2/3"), 2, "--sample"),
            ((f"lab:{LAB}/vm1", "--max-cpu", "0"), 2, "--max-cpu"),
            (("nolab:vm1",), 2, "nolab")):
        r = run("vo", *words)
        assert r.returncode == code, (words, r)
        lines = r.stderr.strip().splitlines()
        assert len(lines) == 1 and text in lines[0], (words, r.stderr)


if os.geteuid() != 0:
    skip("needs root")
# Cases that mostly wait, in labs of their own and at the same time; then those that need a processor for themselves.
BESIDE = ((a_frozen_agent_is_named, an_interrupt_does_not_wait_for_the_frozen, bad_input_is_one_sentence),
          (a_lagging_agent_does_not_hold_up_the_end, links_that_go_and_come, an_end_with_little_processor_reads_all_that_came,
           a_card_taken_from_the_guest_ends_it_at_once),
          (every_echo_is_found_once, the_same_by_programs_in_the_kernel, a_death_ends_one_target_only,
           interrupt_keeps_the_results),
          (other_clock_modes_hold_the_truth, the_same_samples_at_every_point, an_address_that_nobody_told_is_counted))
ALONE = [bulk_tcp_with_offloads, a_known_queue_is_seen, a_full_window_goes_over_into_the_next,
         a_budget_raises_the_share, a_share_that_changes_amid_traffic]


def run_beside():
    """Return: did all end well?"""
    children = [subprocess.Popen([sys.executable, os.path.abspath(__file__), VNETSCOPE, AGENT,
                                  *[case.__name__ for case in cases]], stdout=subprocess.PIPE, text=True)
                for cases in BESIDE]
    for child in children:
        print(child.communicate()[0], end="", flush=True)
    return not any(child.returncode for child in children)


if sys.argv[3:]:
    main([case for cases in BESIDE for case in cases] + ALONE, [LAB])
beside = run_beside()
try:
    main(ALONE, [LAB])
except SystemExit as end:
    sys.exit(end.code or not beside)
