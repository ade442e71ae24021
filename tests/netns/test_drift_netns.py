#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope drift against a namespace: host and "guest" share one clock, so the true offset is 0
and every bound must hold 0, whatever the load.

usage: test_drift_netns.py VNETSCOPE AGENT
"""
import csv
import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from nettest import inside, remove, sh, wait_written  # noqa: E402

NS = f"vnsdrift{os.getpid()}"
HOST, GUEST = f"vd{os.getpid()}"[:15], "eth0"
RUNS = int(os.environ.get("VNS_DRIFT_RUNS", "10"))
CONTRACT = ("schema", "target", "mode", "at_ns", "offset_ns", "lower_ns", "upper_ns", "drift_ppm",
            "pieces", "exchanges", "samples")

failures = []


def check(what, ok, detail=""):
    if not ok:
        failures.append(what)
    if not ok or detail:
        print(f"{'ok' if ok else 'FAIL'}: {what} {detail}".rstrip())


def up():
    sh("ip", "netns", "add", NS)
    sh("ip", "link", "add", HOST, "type", "veth", "peer", "name", GUEST, "netns", NS)
    sh("ip", "addr", "add", "10.94.7.1/24", "dev", HOST)
    sh("ip", "link", "set", HOST, "up")
    sh("ip", "-n", NS, "addr", "add", "10.94.7.2/24", "dev", GUEST)
    sh("ip", "-n", NS, "link", "set", GUEST, "up")
    sh("ip", "-n", NS, "link", "set", "lo", "up")


def down():
    remove(NS)
    sh("ip", "link", "del", HOST, fail=False)


def drift(program, agent, *args, target=f"netns:{NS}"):
    return subprocess.run([program, "drift", target, "--agent", agent, *args], capture_output=True,
                          text=True, timeout=60, check=False)


def bound_at(knots, at, left, right):
    """A bound in pieces[] at @at: between its vertices, beyond them with these slopes (ppm). No vertex: none."""
    if not knots:
        return math.inf if left < right else -math.inf
    (t0, v0), (t1, v1) = knots[0], knots[-1]
    if at <= t0:
        return v0 + left * 1e-6 * (at - t0)
    if at >= t1:
        return v1 + right * 1e-6 * (at - t1)
    for (ta, va), (tb, vb) in zip(knots, knots[1:]):
        if at <= tb:
            return va + (vb - va) * (at - ta) / (tb - ta)
    return v1


def widest(m):
    """How far the bounds are apart where they are most: at an end of a piece, or at a stamp."""
    most = 0
    for p in m["pieces"]:
        lo, hi = p["drift_lower_ppm"], p["drift_upper_ppm"]
        for at in (p["from_ns"], p["to_ns"], *(s["at_ns"] + half * s["rtt_ns"] / 2 for s in m["samples"] for half in (-1, 1))):
            most = max(most, bound_at(p["upper"], at, lo, hi) - bound_at(p["lower"], at, hi, lo))
    return most


def check_withheld(m):
    """The offset is 0, so what the exchanges' packets took is known: their own stamps' differences. What the estimate
    is off by is at most what its bounds leave open, at any instant: they hold 0 and it."""
    check("split not identifiable", (m["split"], m["offset_ns"], m["ci_lower_ns"])
          == ("not identifiable", None, None))
    open_ns, truth = widest(m) + 10, {}
    for way, delays in (("host_to_guest", [s["upper_ns"] for s in m["samples"]]),
                        ("guest_to_host", [-s["lower_ns"] for s in m["samples"]])):
        w = m["ways"][way]
        least, spread = min(delays), max(delays) - min(delays)
        truth[way] = least
        check(f"{way}: least delay inside", w["floor_lower_ns"] <= least <= w["floor_upper_ns"],
              "" if w["floor_lower_ns"] <= least <= w["floor_upper_ns"] else f"{w} {least}")
        check(f"{way}: excess", abs(w["excess_ns"]["max"] - spread) <= 2 * open_ns, "" if
              abs(w["excess_ns"]["max"] - spread) <= 2 * open_ns else f"{w} {spread} {open_ns}")
    floor, said = sum(truth.values()), m["ways"]["floor_sum_ns"]
    good = floor <= m["ways"]["floor_sum_upper_ns"] and abs(said - floor) <= 2 * open_ns
    check("sum of the least delays", good, "" if good else f'{m["ways"]} {floor} {open_ns}')


def check_truth(program, agent):
    """0 inside every bound; counts how often it is inside the 95 % interval of channel."""
    covered = 0
    for run in range(RUNS):
        hog = subprocess.Popen(["md5sum", "/dev/zero"]) if run % 2 else None
        try:
            p = drift(program, agent, "--modes", "exchange,channel,same", "-n", "30", "-i", "5ms",
                      "--json")
        finally:
            if hog:
                hog.terminate()
                hog.wait()
        check("exit code 0", p.returncode == 0, p.stderr)
        if p.returncode:
            continue
        doc = json.loads(p.stdout)
        check("modes agree", doc["agree"] is True, "" if doc["agree"] else p.stdout[:2000])
        for m in doc["modes"]:
            name = m["mode"]
            check(f"run {run}: 0 in the bound of {name}", m["lower_ns"] <= 0 <= m["upper_ns"],
                  "" if m["lower_ns"] <= 0 <= m["upper_ns"] else f'{m["lower_ns"]} {m["upper_ns"]}')
            if name == "exchange":
                check_withheld(m)
            else:
                check("interval in the bound", m["lower_ns"] <= m["ci_lower_ns"]
                      <= m["offset_ns"] <= m["ci_upper_ns"] <= m["upper_ns"])
            if name == "same":
                check("same is exactly 0", m["lower_ns"] == m["upper_ns"] == m["offset_ns"] == 0)
                continue
            check("30 exchanges", len(m["samples"]) >= 30)
            check("every sample bounds 0", all(s["lower_ns"] <= 0 <= s["upper_ns"]
                                               for s in m["samples"]))
            if name == "channel":
                covered += m["ci_lower_ns"] <= 0 <= m["ci_upper_ns"]
    print(f"0 in the 95 % interval of channel in {covered} of {RUNS} runs (its ways are not alike)")


def check_outputs(program, agent):
    p = drift(program, agent, "--json")
    doc = json.loads(p.stdout)
    check("auto is same", doc["mode"] == "same" and doc["offset_ns"] == 0)
    p = drift(program, agent, "-m", "channel", "-n", "20", "-i", "2ms", "--max-wander", "15", "--json")
    doc = json.loads(p.stdout)
    check("wander allowed for", doc["max_wander_ppm"] == 15 and doc["pieces"][-1]["widened_ns"] > 0, p.stdout[:800])
    check("of twice as much at any instant", doc["pieces"][0]["drift_upper_ppm"]
          - doc["pieces"][0]["drift_lower_ppm"] >= 60 or doc["pieces"][0]["drift_upper_ppm"] == 500)
    p = drift(program, agent, "-m", "exchange", "-n", "20", "-i", "2ms", "--json")
    doc = json.loads(p.stdout)
    check("offset withheld", doc["offset_ns"] is None)
    p = drift(program, agent, "-m", "exchange", "-n", "20", "-i", "2ms")
    check("text says so", "split not identifiable" in p.stdout and "least delay" in p.stdout)
    p = drift(program, agent, "-m", "exchange", "-n", "20", "-i", "2ms", "--assume-symmetric")
    check("assumed is marked", "ASSUMED SYMMETRIC" in p.stdout)
    p = drift(program, agent, "-m", "exchange", "-n", "20", "-i", "2ms", "--assume-symmetric",
              "--json")
    doc = json.loads(p.stdout)
    check("assumed is marked in JSON", doc["split"] == "assumed symmetric"
          and doc["lower_ns"] <= doc["ci_lower_ns"] <= doc["offset_ns"] <= doc["upper_ns"])
    for name in CONTRACT:
        check(f"JSON has {name}", name in doc)
    check("used and rejected", doc["exchanges"]["used"] + doc["exchanges"]["rejected"] >= 20)
    for name in ("from_ns", "to_ns", "offset_ns", "drift_ppm"):
        check(f"pieces have {name}", name in doc["pieces"][0])
    p = drift(program, agent, "-m", "channel", "-n", "20", "-i", "2ms", "--csv")
    rows = list(csv.DictReader(io.StringIO(p.stdout)))
    check("CSV has a line per exchange", len(rows) == 20, f"{len(rows)}")
    check("CSV adds up", all(int(r["lower_ns"]) <= int(float(r["offset_ns"])) <= int(r["upper_ns"])
                             for r in rows))
    p = drift(program, agent, "-m", "channel", "-n", "20", "-i", "2ms", "--plot")
    check("text has bound and plot", "bound" in p.stdout and "  |" in p.stdout)


def check_refusals(program, agent):
    for args, code, word in (
            (("-m", "sundial"), 2, "sundial"), (("--modes", "channel,sundial"), 2, "sundial"),
            (("--modes", "channel,channel"), 2, "twice"), (("--json", "--csv"), 2, "exclude"),
            (("-m", "shm"), 3, "shm"), (("-m", "ptp_kvm"), 3, "ptp_kvm"),
            (("-m", "tsc"), 3, "tsc"), (("-n", "0"), 2, "0")):
        p = drift(program, agent, *args)
        check(f"{' '.join(args)}: exit {code}", p.returncode == code, f"got {p.returncode}"
              if p.returncode != code else "")
        check(f"{' '.join(args)}: one sentence", p.stderr.count("\n") == 1 and word in p.stderr,
              "" if word in p.stderr else p.stderr)
    p = drift(program, agent, target="foo:x")
    check("no kind of target: exit 2", p.returncode == 2 and p.stderr.count("\n") == 1, p.stderr)
    p = drift(program, agent, target="netns:no-such-place")
    check("no such namespace: exit 3", p.returncode == 3 and p.stderr.count("\n") == 1, "")
    p = subprocess.run([program, "drift"], capture_output=True, text=True, check=False)
    check("no target: exit 2", p.returncode == 2)


LATE_NS = 1_500_000_000
RESPONDER = r"""
import collections, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
print("ready", flush=True)
due = collections.deque()
while True:
    s.settimeout(max(0.0001, due[0][0] - time.monotonic()) if due else None)
    try:
        packet, (peer, _) = s.recvfrom(2048)
        message = packet[4 * (packet[0] & 15):]
        if message[0] == 8:
            due.append((time.monotonic() + int(sys.argv[1]) / 1e9, peer, message))
    except TimeoutError:
        pass
    while due and due[0][0] <= time.monotonic():
        _, peer, message = due.popleft()
        total = int.from_bytes(message[2:4], "big") + 0x800  # of the type, 8, that becomes 0
        total = (total & 0xffff) + (total >> 16)
        s.sendto(b"\0" + message[1:2] + total.to_bytes(2, "big") + message[4:], (peer, 0))
"""


def check_late(program, agent):
    """Replies after 1.5 s, when five times the requests that were asked for are sent: late, not lost."""
    sh(*inside(NS, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1"))
    responder = subprocess.Popen(inside(NS, sys.executable, "-c", RESPONDER, str(LATE_NS)), stdout=subprocess.PIPE)
    try:
        responder.stdout.readline()
        p = drift(program, agent, "-m", "exchange", "-n", "30", "-i", "5ms", "--json")
    finally:
        responder.kill()
        responder.wait()
        responder.stdout.close()
        sh(*inside(NS, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=0"))
    check("late replies: exit 0", p.returncode == 0, p.stderr)
    if p.returncode:
        return
    doc = json.loads(p.stdout)
    check("late replies: 30 exchanges", len(doc["samples"]) == 30, f'{len(doc["samples"])}')
    fastest = min(s["rtt_ns"] for s in doc["samples"])
    check("late replies: their time is theirs", fastest >= LATE_NS, f"{fastest}")
    check("late replies: none lost", doc["exchanges"]["lost"] == 0, f'{doc["exchanges"]}')


def check_no_answer(program, agent):
    """Echo requests that nobody answers: exit 4, and it ends."""
    sh(*inside(NS, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1"))
    p = drift(program, agent, "-m", "exchange", "-n", "5", "-i", "5ms")
    check("no reply: exit 4", p.returncode == 4, f"got {p.returncode} {p.stderr}"
          if p.returncode != 4 else "")
    took = re.search(r"no clock exchange of mode exchange came back in (\d+\.\d) s\n", p.stderr)
    check("no reply: after how long it gave up, not before 3 s", took and float(took[1]) >= 3, p.stderr)
    sh(*inside(NS, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=0"))


def agent_of(p):
    """The one child of @p, once it has answered some exchanges."""
    end = time.monotonic() + 20
    while True:
        with open(f"/proc/{p.pid}/task/{p.pid}/children", encoding="ascii") as f:
            children = [int(w) for w in f.read().split()]
        if children or time.monotonic() > end:
            break
        time.sleep(0.02)
    check("the agent is our program's child", len(children) == 1, f"{len(children)}")
    wait_written(children[0], 12)
    return children[0]


def check_interrupt(program, agent):
    p = subprocess.Popen([program, "drift", f"netns:{NS}", "--agent", agent, "-m", "channel", "-t",
                          "50", "--json"], stdout=subprocess.PIPE, text=True)
    agent_of(p)
    p.send_signal(signal.SIGINT)
    out, _ = p.communicate(timeout=20)
    doc = json.loads(out)
    check("Ctrl-C gives what was measured", p.returncode == 0 and doc["interrupted"]
          and len(doc["samples"]) > 3, f"{len(doc['samples'])} samples")


def check_terminal_interrupt(program, agent):
    """A terminal interrupts all of its foreground at once: the agent stays for what is asked of it in the end."""
    p = subprocess.Popen([program, "drift", f"netns:{NS}", "--agent", agent, "-m", "exchange", "-t", "50", "-i", "5ms",
                          "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    agent_of(p)
    os.killpg(p.pid, signal.SIGINT)
    out, err = p.communicate()
    doc = json.loads(out)
    check("Ctrl-C of a terminal ends nothing early", (p.returncode, err, doc["interrupted"], doc["ended_early"])
          == (0, "", True, None), f'{p.returncode} {err}')


def check_death(program, agent):
    """The agent dies in the middle: what was measured is printed, one sentence, exit 3."""
    p = subprocess.Popen([program, "drift", f"netns:{NS}", "--agent", agent, "-m", "channel", "-t",
                          "50", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.kill(agent_of(p), signal.SIGKILL)
    out, err = p.communicate(timeout=30)
    check("death: exit 3", p.returncode == 3, f"got {p.returncode}")
    check("death: one sentence", err.count("\n") == 1, err.strip())
    doc = json.loads(out)
    check("death: nothing measured is lost", len(doc["samples"]) > 3 and doc["ended_early"],
          f"{len(doc['samples'])} samples")


def main(argv):
    program, agent = argv[1:3]
    if os.geteuid() != 0:
        print("namespaces need root")
        return 77
    for tool in ("ip", "nsenter", "sysctl"):
        if not shutil.which(tool):
            print(f"{tool} is not installed")
            return 77
    try:
        up()
        check_truth(program, agent)
        check_outputs(program, agent)
        check_refusals(program, agent)
        check_late(program, agent)
        check_no_answer(program, agent)
        check_interrupt(program, agent)
        check_terminal_interrupt(program, agent)
        check_death(program, agent)
    finally:
        down()
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
