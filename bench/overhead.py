#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What being measured costs: TCP transactions and throughput of a lab guest with `vo` running
against without, for each capture kind, beside two tcpdumps (tap and guest) in the same run.

A block is ABBA: without, with, with, without an observer, each for --seconds; its ratio is that of
the sums. A figure is the median of the blocks' ratios with the 95 % interval that the binomial
distribution gives for it (no assumption about noise; fewer than six blocks give none). --save adds
the blocks to a file, --report prints what such files hold together, so that a long measurement may be made
of short ones. --backend netns takes a namespace for the guest (wake-ups cost little there, so what
we add weighs most), qemu a real guest. Needs root, and a lab of its own, which it removes.

A transaction is a chain of wake-ups (client, QEMU's main loop, vCPU and back), so three things are kept
equal in both arms that an observer changes besides what it costs:
- beside busy neighbours each link waits for the scheduler: client and guest run in the real-time class
  (SCHED_RR), which a neighbour does not delay. Observers on the host run in the ordinary class, as somebody would
  start them: what they take of a processor that the load wants at the same moment is therefore not in the
  figure. `vo` reads in the idle class and gives way to ordinary load too; tcpdump does not, so that
  this favours tcpdump;
- on an idle machine each link waits for a processor to wake, less so when an observer keeps it from
  sleeping: every processor has a spinner of the idle class;
- client and server are quicker on one processor than on two, and an observer that takes one drives
  them together: the client is kept to the first, a namespace's server to the last.
--plain leaves out the first two; --observers "wake-ups alone" shows what wake-ups without a capture do.
"""
import argparse
import ctypes
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import time

PORT, GUEST = "7071", "10.77.0.11"


def pinned(which):
    """The words before a command that keep it on the first (0) or last (-1) processor."""
    return ["taskset", "-c", str(sorted(os.sched_getaffinity(0))[which])]


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
        self.backend = backend
        if backend == "qemu":  # tcpdump wants to know who root is
            self.run("vm1", "sh", "-c", "mkdir -p /etc; echo root:x:0:0::/:/bin/sh >/etc/passwd")
        self.behind("vm1", *(pinned(-1) if backend == "netns" else []), guest_rr, "serve", PORT)
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
        return float(self.run("client", *pinned(0), os.path.abspath(self.opts.rr), PORT, GUEST,
                              kind, str(self.opts.seconds)))

    def down(self):
        subprocess.run([self.opts.vnetscope, "lab", "down", "--name", self.name], check=False,
                       capture_output=True, timeout=60)


ORDINARY = ["chrt", "-o", "0"]  # the words before a command that is not to inherit the real-time class


class Vo:
    """vo on the guest until stop()."""

    def __init__(self, lab, kind):
        self.proc = subprocess.Popen([*ORDINARY, lab.opts.vnetscope, "vo", lab.target, "-t", "60", "--json",
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
        self.pids = [(node, lab.behind(node, *(ORDINARY if self.on_host(node) else []), "tcpdump", "-i",
                                       dev, *common))
                     for node, dev in (("host", "tapvm1"), ("vm1", "eth0"))]
        time.sleep(1.0)

    def on_host(self, node):
        return node == "host" or self.lab.backend == "netns"

    def stop(self):
        for node, pid in self.pids:
            self.lab.run(node, "sh", "-c", f"kill {pid} || {{ cat /tmp/said >&2; exit 1; }}")
        return {}


class WakeUps:
    """As many wake-ups as vo has, and nothing else: what is due to them alone."""

    def __init__(self, _lab, per_second):
        self.pid = child(lambda: wake_up(per_second))

    def stop(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return {}


OBSERVERS = {"vo --capture afpacket": (Vo, "afpacket"), "vo --capture ebpf": (Vo, "ebpf"),
             "two tcpdumps": (Tcpdumps, None), "wake-ups alone": (WakeUps, 400)}


def child(work):
    """A process that does @work and dies with us, whatever ends us. Return: its pid."""
    pid = os.fork()
    if pid:
        return pid
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    os.closerange(3, 1024)  # a lock that we were started under is not ours to keep
    try:
        work()
    finally:
        os._exit(1)


def wake_up(per_second):
    while True:
        time.sleep(1 / per_second)


def spin(cpu):
    os.setsid()  # a scheduling group of its own, which gives way to neighbours
    try:
        with open("/proc/self/autogroup", "w", encoding="ascii") as f:
            f.write("19")
    except OSError:
        pass  # this kernel has none
    os.sched_setaffinity(0, {cpu})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        pass


def block(lab, name, kinds):
    """One ABBA block. Return: {kind: (without, with)} as sums, and what the observer said."""
    without, observed = ({k: 0.0 for k in kinds} for _ in range(2))

    def measure(into, order):
        for k in order:
            into[k] += lab.load(k)

    measure(without, kinds)
    kind, arg = OBSERVERS[name]
    observer = kind(lab, arg)
    try:
        measure(observed, kinds + kinds[::-1])
    finally:
        said = observer.stop()
    measure(without, kinds[::-1])
    return {k: (without[k], observed[k]) for k in kinds}, said


def bench(opts, backend):
    lab = Lab(opts, backend)
    end, rows, number = time.monotonic() + opts.budget, [], 0
    random.seed(time.time_ns())
    try:
        while number < opts.rounds and time.monotonic() < end:
            number += 1
            names = list(opts.observers)
            random.shuffle(names)
            for name in names:
                if time.monotonic() >= end:
                    break
                sums, said = block(lab, name, opts.loads)
                for kind, (without, observed) in sums.items():
                    rows.append({"backend": backend, "plain": opts.plain, "load": kind,
                                 "observer": name, "without": without / 2, "with": observed / 2,
                                 **said})
                    if opts.save:
                        with open(opts.save, "a", encoding="utf-8") as f:
                            f.write(json.dumps(rows[-1]) + "\n")
                if sys.stderr.isatty():
                    print(f"block {number}: {name}", file=sys.stderr)
    finally:
        lab.down()
    return rows


def median_interval(values):
    """Median, and the order statistics that hold it with at least 95 % (None: too few values)."""
    v, n = sorted(values), len(values)
    k, below = 0, 0.5 ** n
    while below + math.comb(n, k + 1) * 0.5 ** n <= 0.025:
        k += 1
        below += math.comb(n, k) * 0.5 ** n
    holds = below <= 0.025
    return statistics.median(v), v[k] if holds else None, v[n - 1 - k] if holds else None


def report(rows):
    what = {"r": ("TCP transactions a second", 1), "s": ("Mbit/s of TCP", 125e3)}
    out = []
    groups = {}
    for r in rows:
        groups.setdefault((r["backend"], r["plain"], r["load"]), {}).setdefault(
            r["observer"], []).append(r)
    for (backend, plain, load), observers in sorted(groups.items()):
        base = [r["without"] for runs in observers.values() for r in runs]
        print(f"\n{backend} guest{', nothing kept equal' if plain else ''}: "
              f"{statistics.median(base) / what[load][1]:.0f} {what[load][0]} unobserved "
              f"({min(base) / what[load][1]:.0f} to {max(base) / what[load][1]:.0f})")
        for name, runs in observers.items():
            mid, low, high = median_interval([r["with"] / r["without"] for r in runs])
            between = f"95 % interval {100 * (1 - high):.1f} to {100 * (1 - low):.1f}" if low \
                else "too few blocks for an interval"
            read, lost = (sum(r.get(k, 0) for r in runs) for k in ("read", "lost"))
            print(f"  {name:24} {100 * (1 - mid):6.1f} % less, {between}, {len(runs)} blocks" +
                  (f"; {read} packets read at the host, {lost} lost" if read else ""), flush=True)
            out.append({"backend": backend, "plain": plain, "load": load, "observer": name,
                        "ratio": mid, "low": low, "high": high, "blocks": len(runs),
                        "unobserved": statistics.median(base), "lost": lost})
    return out


def prepare(opts):
    """The same conditions with and without an observer; see above."""
    if opts.plain:
        return
    for cpu in os.sched_getaffinity(0):
        child(lambda cpu=cpu: spin(cpu))
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("vnetscope", "agent", "rr"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--backend", choices=("netns", "qemu"), action="append")
    p.add_argument("--rounds", type=int, default=8, help="blocks of each observer")
    p.add_argument("--budget", type=float, default=1e9, help="begin no block after so many seconds")
    p.add_argument("--seconds", type=float, default=0.5)
    p.add_argument("--loads", default="rs", help="r: transactions, s: stream")
    p.add_argument("--observers", default=",".join(list(OBSERVERS)[:3]),
                   type=lambda words: words.split(","), help=", ".join(OBSERVERS))
    p.add_argument("--plain", action="store_true", help="ordinary class, no spinners")
    p.add_argument("--save", metavar="FILE", help="add the blocks to FILE, a line each")
    p.add_argument("--report", metavar="FILE", nargs="+", help="measure nothing: report these")
    p.add_argument("--json", metavar="FILE")
    opts = p.parse_args(os.environ.get("BENCH_ARGS", "").split() + sys.argv[1:])
    unknown = set(opts.observers) - set(OBSERVERS)
    if unknown:
        p.error(f"no such observer: {', '.join(unknown)}")
    return opts


def main():
    opts = arguments()
    rows = []
    for name in opts.report or []:
        with open(name, encoding="utf-8") as f:
            rows += map(json.loads, f)
    if not opts.report:
        if os.geteuid() != 0:
            print("needs root: a lab and captures")
            return 77
        prepare(opts)
        for backend in opts.backend or ["netns", "qemu"]:
            rows += bench(opts, backend)
    results = report(rows)
    if opts.json:
        with open(opts.json, "w", encoding="utf-8") as f:
            json.dump({"schema": "vnetscope.overhead/2", "results": results}, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
