#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What being measured costs: TCP transactions and throughput of a lab guest with `vo` running
against without, for each capture kind, beside two tcpdumps (tap and guest) in the same run.

Every round runs every observer once, in another order each round, after a run without any; a
figure is the geometric mean of the rounds' ratios with its 95 % t interval. --backend netns takes
a namespace for the guest (wake-ups cost little there, so what we add weighs most), qemu a real guest.
Needs root, and a lab of its own, which it removes.
"""
import argparse
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import time

T95 = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262,
       10: 2.228, 12: 2.179, 15: 2.131, 20: 2.086, 30: 2.042}
PORT, GUEST = "7071", "10.77.0.11"


class Lab:
    def __init__(self, opts, backend):
        self.opts, self.name = opts, f"overhead{os.getpid()}"
        words = ["lab", "up", "--name", self.name, "-n", "1", "--backend", backend, "--agent",
                 opts.agent]
        if backend == "qemu":
            words += ["--with", os.path.abspath(opts.rr), "--with", "/usr/bin/tcpdump"]
        subprocess.run([opts.vnetscope, *words], check=True, capture_output=True, timeout=120)
        self.target = f"lab:{self.name}/vm1"
        guest_rr = os.path.basename(opts.rr) if backend == "qemu" else os.path.abspath(opts.rr)
        if backend == "qemu":  # tcpdump wants to know who root is
            self.run("vm1", "sh", "-c", "mkdir -p /etc; echo root:x:0:0::/:/bin/sh >/etc/passwd")
        self.behind("vm1", guest_rr, "serve", PORT)
        time.sleep(1)  # until it listens

    def behind(self, node, *words):
        """Start what goes on by itself: a guest's agent serves one of us at a time. Return: pid."""
        line = " ".join(words) + " </dev/null >/tmp/said 2>&1 & echo $!"
        return self.run(node, "sh", "-c", line).strip()

    def run(self, node, *words):
        r = subprocess.run(self.command(node, *words), check=False, capture_output=True, text=True,
                           timeout=60)
        if r.returncode:
            raise RuntimeError(f"{node}: {' '.join(words)}: {r.stderr.strip()}")
        return r.stdout

    def command(self, node, *words):
        return [self.opts.vnetscope, "lab", "exec", "--name", self.name, node, "--", *words]

    def load(self, kind):
        """Transactions or bytes per second as the client saw them."""
        return float(self.run("client", os.path.abspath(self.opts.rr), PORT, GUEST, kind,
                              str(self.opts.seconds)))

    def down(self):
        subprocess.run([self.opts.vnetscope, "lab", "down", "--name", self.name], check=False,
                       capture_output=True, timeout=60)


class Vo:
    """vo on the guest until stop()."""

    def __init__(self, lab, kind):
        self.proc = subprocess.Popen([lab.opts.vnetscope, "vo", lab.target, "-t", "60", "--json",
                                      "--capture", kind], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
        time.sleep(1.5)  # its exchanges before the traffic are made

    def stop(self):
        """Return: what it says about itself, for the table."""
        self.proc.send_signal(signal.SIGINT)
        out, err = self.proc.communicate(timeout=60)
        if self.proc.returncode not in (0, 1):
            raise RuntimeError("vo: " + err.strip())
        t = json.loads(out)["targets"][0]
        lost = sum(a["capture_lost"] for a in t["accounting"].values())
        return {"lost": lost, "read": t["accounting"]["host"]["read"]}


class Tcpdumps:
    """One at the tap, one in the guest, headers only, to /dev/null."""

    def __init__(self, lab, _):
        common = ["-Z", "root", "-s", "128", "-n", "-w", "/dev/null"]
        self.lab = lab
        self.pids = [(node, lab.behind(node, "tcpdump", "-i", dev, *common))
                     for node, dev in (("host", "tapvm1"), ("vm1", "eth0"))]
        time.sleep(1.0)

    def stop(self):
        for node, pid in self.pids:
            self.lab.run(node, "sh", "-c", f"kill {pid} || {{ cat /tmp/said >&2; exit 1; }}")
        return {}


OBSERVERS = {"vo --capture afpacket": (Vo, "afpacket"), "vo --capture ebpf": (Vo, "ebpf"),
             "two tcpdumps": (Tcpdumps, None)}


def one(lab, name, kind):
    observer = OBSERVERS[name][0](lab, OBSERVERS[name][1]) if name else None
    try:
        rate = lab.load(kind)
    finally:
        said = observer.stop() if observer else {}
    return rate, said


def summary(ratios):
    logs = [math.log(r) for r in ratios]
    mid = statistics.mean(logs)
    if len(logs) < 2:
        return math.exp(mid), float("nan"), float("nan")
    df = len(logs) - 1
    t = T95[max(k for k in T95 if k <= df)]
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mid), math.exp(mid - half), math.exp(mid + half)


def bench(opts, backend):
    lab = Lab(opts, backend)
    rows, base = {}, {}
    try:
        for kind in opts.loads:
            for r in range(opts.rounds):
                names = [n for n in OBSERVERS if not opts.only or opts.only in n]
                random.Random(r).shuffle(names)
                for name in names:
                    alone, _ = one(lab, None, kind)
                    rate, said = one(lab, name, kind)
                    again, _ = one(lab, None, kind)
                    base.setdefault(kind, []).append(alone)
                    rows.setdefault((kind, name), []).append((rate / math.sqrt(alone * again), said))
                    if sys.stderr.isatty():
                        print(f"round {r + 1} of {opts.rounds}: {name}", file=sys.stderr)
    finally:
        lab.down()
    return report(opts, backend, rows, base)


def report(opts, backend, rows, base):
    what = {"r": "transactions a second", "s": "Mbit/s"}
    out = []
    for kind, alone in base.items():
        mid = statistics.median(alone) / (1 if kind == "r" else 125e3)
        print(f"\n{backend} guest, {mid:.0f} {what[kind]} unobserved (spread "
              f"{100 * (max(alone) - min(alone)) / statistics.median(alone):.0f} %)")
        for (k, name), runs in rows.items():
            if k != kind:
                continue
            mean, low, high = summary([x for x, _ in runs])
            lost = sum(s.get("lost", 0) for _, s in runs)
            read = sum(s.get("read", 0) for _, s in runs)
            print(f"  {name:24} {100 * (1 - mean):6.1f} % less, 95 % interval "
                  f"{100 * (1 - high):.1f} to {100 * (1 - low):.1f}, {len(runs)} rounds" +
                  (f"; {read} packets read at the host, {lost} lost" if read else ""), flush=True)
            out.append({"backend": backend, "load": kind, "observer": name, "ratio": mean,
                        "low": low, "high": high, "rounds": len(runs), "lost": lost})
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("vnetscope", "agent", "rr"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--backend", choices=("netns", "qemu"), action="append")
    p.add_argument("--rounds", type=int, default=6)
    p.add_argument("--seconds", type=float, default=1.5)
    p.add_argument("--loads", default="rs", help="r: transactions, s: stream")
    p.add_argument("--only", help="observers whose name contains this")
    p.add_argument("--realtime", action="store_true",
                   help="guest, client and observers all in the real-time class (round robin), so that "
                   "neighbours of a shared machine do not decide the figures")
    p.add_argument("--json", metavar="FILE")
    opts = p.parse_args(os.environ.get("BENCH_ARGS", "").split() + sys.argv[1:])
    if os.geteuid() != 0:
        print("needs root: a lab and captures")
        return 77
    results = []
    if opts.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    for backend in opts.backend or ["netns", "qemu"]:
        results += bench(opts, backend)
    if opts.json:
        with open(opts.json, "w", encoding="utf-8") as f:
            json.dump({"schema": "vnetscope.overhead/1", "results": results}, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
