#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope drift on a real guest: exchange against shm, which does not share its path.

Both bounds are certain, so they must have a common point at one instant in every run: idle and
loaded, with the guest's clock at its own rate, 100 ppm faster, and stepped in the middle of the
measurement. The shm clock (RTT below a microsecond) judges the injected rate and step.

usage: test_drift_vm.py VNETSCOPE AGENT
VNS_DRIFT_RUNS (default 12) sets the number of runs; 50 takes about three minutes.
"""
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
from nettest import down_at_once, drift_amid  # noqa: E402

LAB = f"dvm{os.getpid()}"
RUNS = int(os.environ.get("VNS_DRIFT_RUNS", "12"))
PPM = 100
STEP_S = 7

failures = []


def check(what, ok, detail=""):
    if not ok:
        failures.append(what)
        print(f"FAIL: {what} {detail}".rstrip(), flush=True)


class Guest:
    def __init__(self, program, agent):
        self.program, self.agent = program, agent

    def run(self, *args):
        return subprocess.run([self.program, *args], capture_output=True, text=True, check=False)

    def up(self):
        return self.run("lab", "up", "--name", LAB, "--guests", "1", "--agent", self.agent)

    def down(self):
        self.run("lab", "down", "--name", LAB)

    def shell(self, command):
        p = self.run("lab", "exec", "--name", LAB, "vm1", "--", "sh", "-c", command)
        check(f"in the guest: {command}", p.returncode == 0, p.stderr + p.stdout)
        return p.stdout

    def drift(self, *args, amid=None):
        """@amid: a command that the guest runs in the middle."""
        how = ("--modes", "exchange,shm", "--assume-symmetric", *args)
        p = drift_amid(self.program, LAB, amid, *how) if amid else \
            self.run("drift", f"lab:{LAB}/vm1", "--json", *how)
        check("exit code 0", p.returncode == 0, f"{p.returncode} {p.stderr}")
        return json.loads(p.stdout) if p.stdout else None


def widths(doc):
    return {m["mode"]: (m["upper_ns"] - m["lower_ns"]) / 1e3 for m in doc["modes"]}


def rates(piece):
    return piece["drift_lower_ppm"], piece["drift_ppm"], piece["drift_upper_ppm"]


def check_rate(run, shm, base):
    """The injected rate, above the guest's own of which the range is known as well, lies in the feasible range, and the
    estimate in that: to 1 ppm, by which an emulated guest's clock wanders."""
    low, got, high = rates(shm["pieces"][-1])
    check(f"run {run}: {PPM} ppm feasible", low - 1 <= base[2] + PPM and base[0] + PPM <= high + 1,
          f"{low:.2f} {high:.2f}, own {base}")
    check(f"run {run}: the estimate is feasible", low <= got <= high, f"{low:.3f} {got:.3f} {high:.3f}")


def check_step(run, modes):
    """Found by both modes, as large as it was: STEP_S to STEP_S + 4 s back, since date cuts seconds
    and takes its time in a loaded guest."""
    for name, m in modes.items():
        pieces = m["pieces"]
        big = [i for i in range(len(pieces) - 1)
               if abs(pieces[i + 1]["offset_ns"] - pieces[i]["offset_ns"]) > 1e9]
        check(f"run {run}: {name} found one step", len(big) == 1, f"{len(pieces)} pieces")
        if len(big) == 1:
            i = big[0]
            size = (pieces[i + 1]["offset_ns"] - pieces[i]["offset_ns"]) / 1e9
            check(f"run {run}: {name} calls it a step", pieces[i]["step_after"])
            check(f"run {run}: {name} step size", -STEP_S - 4 < size < -STEP_S + 0.01,
                  f"{size:.6f} s")


def own_drift(guest):
    """The rate before anything is injected: (least, estimate, most), of the run in which shm knows it best."""
    found = []
    for _ in range(10):
        doc = guest.drift("-n", "60")
        found.append(rates([m for m in doc["modes"] if m["mode"] == "shm"][0]["pieces"][-1]))
        if found[-1][2] - found[-1][0] < 4:
            break
    return min(found, key=lambda r: r[2] - r[0])


def measure(guest, run, kind, base):
    loaded = run % 2 == 1
    if loaded:
        guest.shell("timeout 6 md5sum /dev/zero >/dev/null 2>&1 &")
    if kind == "step":
        doc = guest.drift(amid=f"date -s @$(( $(date +%s) - {STEP_S} ))")
    else:
        doc = guest.drift("-n", "40")
    if not doc:
        return None
    modes = {m["mode"]: m for m in doc["modes"]}
    w = widths(doc)
    gap = (modes["exchange"]["offset_ns"] - modes["shm"]["offset_ns"]) / 1e3
    print(f"run {run:2} {kind:5} {'loaded' if loaded else 'idle  '}: bounds "
          f"{'intersect' if doc['agree'] else 'DO NOT INTERSECT'}; width exchange "
          f"{w['exchange']:.1f} us, shm {w['shm']:.2f} us; exchange - shm {gap:+.1f} us; shm drift "
          f"{modes['shm']['drift_ppm']:+.3f} ppm in {len(modes['shm']['pieces'])} piece(s)",
          flush=True)
    check(f"run {run}: bounds intersect", doc["agree"])
    if kind == "rate":
        check_rate(run, modes["shm"], base)
    if kind == "step":
        check_step(run, modes)
    return modes["shm"]


def main(argv):
    guest = Guest(*argv[1:3])
    down_at_once(guest.program, LAB)
    p = guest.up()
    if p.returncode == 3 and not shutil.which("qemu-system-x86_64"):
        print(f"no lab: {p.stderr.strip().splitlines()[-1] if p.stderr else 'exit code 3'}")
        guest.down()
        return 77
    try:
        check("lab up", p.returncode == 0, p.stderr)
        if not failures:
            # the guest's clock is calibrated again 1.8 s after its start
            guest.shell("while read up _ < /proc/uptime; [ ${up%.*} -lt 4 ]; do sleep 0.2; done")
            kinds = ["own"] * (RUNS - 2 * (RUNS // 3)) + ["rate"] * (RUNS // 3)
            kinds += ["step"] * (RUNS // 3)
            base = own_drift(guest)
            print(f"the guest's own drift: {base[1]:+.3f} ppm ({base[0]:+.3f} to {base[2]:+.3f})")
            for run, kind in enumerate(kinds):
                if kind == "rate" and kinds[run - 1] == "own":
                    # the kernel takes it over at the next second, of its own
                    guest.shell(f"adjtimex -f {PPM * 65536} >/dev/null; sleep 1.2")
                measure(guest, run, kind, base)
    finally:
        guest.down()
    print(f"{RUNS} runs, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
