#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many small packets a second each kind of capture takes without loss, next to the load itself.

A veth pair in two namespaces; live_gen sends datagrams of 60 bytes at rising rates through one end,
the reader captures on the other, where the kernel then drops them (no socket listens). Printed:
what was sent and seen, what was lost, the reader's CPU, for nobody (the generator's own ceiling), one packet
socket, two by fanout, a socket for each processor (as `vo` has), eBPF, `rtt -i` with its engine, and `tcpdump -w
/dev/null`. --seconds 30 --rates 500000 is the long run. For eBPF also the
cost of the kernel's program per packet by bpf_stats, in runs of their own, since counting costs too:
"rejected" is a filter that takes nothing, nearly all of which is the counting.
"""
import argparse
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "netns"))
from nettest import inside, remove, sh, veth_pair  # noqa: E402

COUNTED = ("ebpf counted", "ebpf rejected")
A, B = f"vnsbench{os.getpid()}a", f"vnsbench{os.getpid()}b"


def up():
    veth_pair({A: "10.95.0.1", B: "10.95.0.2"}, ipv6=False)
    sh(*inside(A, "ping", "-c", "1", "-W", "2", "10.95.0.2"))


def down():
    remove(A, B)


def reader(opts, kind):
    if kind == "nobody":
        return ["sh", "-c", "echo reading; exec sleep 1000"]
    if kind == "rtt":
        return inside(B, opts.vnetscope, "rtt", "-i", "v1", "--json")
    if kind == "tcpdump":
        return inside(B, "tcpdump", "-i", "v1", "-n", "-s", "128", "-w", "/dev/null", "-Q", "in",
                      "-Z", "root")
    capture, sockets = {"afpacket": ("afpacket", 1), "fanout 2": ("afpacket", 2),
                        "per cpu": ("afpacket", "cpu")}.get(kind, ("ebpf", 1))
    return inside(B, opts.reader, "v1", capture, str(sockets), *kind.split()[1:] * (kind in COUNTED))


def wait_for_start(proc, kind):
    if kind == "rtt":
        time.sleep(0.5)  # it says nothing when it is not at a terminal
        return
    while True:
        line = (proc.stderr if kind == "tcpdump" else proc.stdout).readline()
        if not line:
            raise RuntimeError(f"{kind}: {proc.stderr.read()}")
        if "listening" in line or "reading" in line:
            return


def one(opts, kind, rate):
    proc = subprocess.Popen(reader(opts, kind), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)
    wait_for_start(proc, kind)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    gen = subprocess.run(inside(A, opts.generator, "10.95.0.2", str(rate), str(opts.seconds)),
                         capture_output=True, text=True, check=True)
    loaded = resource.getrusage(resource.RUSAGE_CHILDREN)
    time.sleep(0.3)
    proc.send_signal(signal.SIGTERM)
    out, err = proc.communicate(timeout=30)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    sent, took, _ = gen.stdout.split()
    r = {"kind": kind, "asked": rate, "sent": int(sent), "rate": int(sent) / float(took)}
    r["cpu"] = (after.ru_utime + after.ru_stime - loaded.ru_utime - loaded.ru_stime) / float(took)
    r["load_cpu"] = (loaded.ru_utime + loaded.ru_stime - before.ru_utime - before.ru_stime) / \
        float(took)
    if kind == "tcpdump":
        r["seen"] = int(re.search(r"(\d+) packets? captured", err).group(1))
        r["dropped"] = int(re.search(r"(\d+) packets? dropped by kernel", err).group(1))
    elif kind == "nobody":
        r["seen"], r["dropped"] = r["sent"], 0
    elif kind == "rtt":
        said = json.loads(out)["accounting"]
        r["seen"], r["dropped"] = said["read"], said["capture_lost"]
    else:
        said = json.loads(out)
        r["seen"], r["dropped"] = said["frames"], said["dropped"]
        r["run_ns"], r["runs"] = said["run_ns"], said["runs"]
    return r


def show(r):
    lost = 0 if r["kind"] == "ebpf rejected" else 1 - r["seen"] / r["sent"]
    cost = f", program {r['run_ns']:.0f} ns a packet ({r['runs']} runs)" if r.get("runs") else ""
    print(f"  {r['kind']:14} asked {r['asked']:8.0f}/s, sent {r['rate']:8.0f}/s, seen {r['seen']:9}, "
          f"lost {max(lost, 0) * 100:6.3f} %, said to be dropped {r['dropped']:8}, reader "
          f"{100 * r['cpu']:3.0f} % of a core, load {100 * r['load_cpu']:3.0f} %{cost}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--reader", required=True)
    p.add_argument("--generator", required=True)
    p.add_argument("--vnetscope", required=True)
    p.add_argument("--rates", default="100000,300000,500000,800000")
    p.add_argument("--seconds", type=float, default=3)
    p.add_argument("--kinds", default="nobody,afpacket,fanout 2,per cpu,ebpf,rtt,tcpdump,ebpf counted,"
                   "ebpf rejected")
    p.add_argument("--json", metavar="FILE")
    opts = p.parse_args(os.environ.get("BENCH_ARGS", "").split() + sys.argv[1:])
    opts.reader, opts.generator, opts.vnetscope = map(os.path.abspath, (opts.reader, opts.generator,
                                                                        opts.vnetscope))
    if os.geteuid() != 0:
        print("needs root: namespaces and captures")
        return 77
    results = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the namespaces go all the same
    try:
        up()
        for rate in map(float, opts.rates.split(",")):
            for kind in opts.kinds.split(","):
                r = one(opts, kind, rate)
                show(r)
                results.append(r)
    finally:
        down()
    if opts.json:
        with open(opts.json, "w", encoding="utf-8") as f:
            json.dump({"schema": "vnetscope.live/1", "cpus": os.cpu_count(), "results": results}, f,
                      indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
