#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest whose kernel changes its clock source, or whose clock is steered, while it is measured: drift
and vo say so and let the bounds allow for it; where nothing changes they say nothing.

usage: test_clock_source_vm.py VNETSCOPE AGENT
"""
import json
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
from labtest import wait_traffic  # noqa: E402
from nettest import InGuest, down_at_once, drift_amid  # noqa: E402

LAB = f"csv{os.getpid()}"
FOLDER = "/sys/devices/system/clocksource/clocksource0"

failures = []


def check(what, ok, detail=""):
    if not ok:
        failures.append(what)
        print(f"FAIL: {what} {detail}".rstrip(), flush=True)


def run(*args):
    return subprocess.run(args, capture_output=True, text=True, check=False)


def shell(program, command):
    p = run(program, "lab", "exec", "--name", LAB, "vm1", "--", "sh", "-c", command)
    check(f"in the guest: {command}", p.returncode == 0, p.stderr + p.stdout)
    return p.stdout.strip()


def drift(program, *args, amid=None):
    """@amid: a command that the guest runs in the middle."""
    p = drift_amid(program, LAB, amid, "-m", "shm", *args) if amid else \
        run(program, "drift", f"lab:{LAB}/vm1", "-m", "shm", "--json", *args)
    check("drift: exit code 0", p.returncode == 0, p.stderr)
    doc = json.loads(p.stdout) if p.stdout else {}
    return doc.get("note") or "", doc.get("max_wander_ppm", -1), doc


def measure(program):
    # A kernel that has just begun takes tsc-early for tsc within two seconds: a change as any other. So is it that a
    # busy host makes it find tsc unstable, at any time: of two others none is taken from it.
    sources = shell(program, f"sleep 3; cat {FOLDER}/available_clocksource").split()
    source, other = (sorted(sources, key=lambda s: s.startswith("tsc")) + [None])[:2]
    shell(program, f"echo {source} > {FOLDER}/current_clocksource")
    note, wander, _ = drift(program, "-t", "1")
    check("nothing changed, nothing said", "clock source" not in note and "steered" not in note and wander == 0,
          f"{note} {wander}")
    note, wander, _ = drift(program, "-t", "1", "--max-wander", "7")
    check("the user's wander stands", wander == 7, wander)
    if other is None:
        check("the guest has two clock sources", False, sources)
        return
    note, wander, doc = drift(program, amid=f"echo {other} > {FOLDER}/current_clocksource")
    check("drift: the change is said", f"changed its clock source from {source} to {other}" in note, note)
    check("drift: and allowed for", wander >= 250, wander)
    check("drift: the bound is wider for it", doc["pieces"][0]["widened_ns"] > 0, str(doc["pieces"][0])[:300])
    note, wander, _ = drift(program, amid="/init --adjust-clock ppm=40")
    check("drift: steered", "steered" in note and "+40.000 ppm" in note and 20 <= wander < 21, f"{note} {wander}")
    note, wander, _ = drift(program, "-t", "1")
    check("drift: a steered clock is allowed for by default", wander == 15 and
          "The guest's clock is steered (not marked as synchronised, frequency +40.000 ppm)" in note, f"{note} {wander}")
    note, wander, _ = drift(program, "-t", "1", "--max-wander", "0")
    check("drift: unless the user wants a straight line", wander == 0 and "--max-wander says" in note, f"{note} {wander}")
    told = InGuest(program, LAB, f"echo {source} > {FOLDER}/current_clocksource")
    p = subprocess.Popen([program, "vo", f"lab:{LAB}/vm1", "-t", "60", "--json"], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    try:
        wait_traffic(LAB, p, 20)
        told.now()
        p.send_signal(signal.SIGINT)
        out, err = p.communicate()
    finally:
        p.kill()
    events = json.loads(out)["targets"][0]["events"] if out else []
    check("vo: an event", any(e["kind"] == "clock_changed" and f"from {other} to {source}" in e["text"]
                              for e in events), f"{events} {err}")


def main(argv):
    program, agent = argv[1:3]
    if os.geteuid() != 0 or not shutil.which("qemu-system-x86_64"):
        print("needs root and qemu-system-x86_64")
        return 77
    down_at_once(program, LAB)
    p = run(program, "lab", "up", "--name", LAB, "--guests", "1", "--agent", agent)
    try:
        check("lab up", p.returncode == 0, p.stderr)
        if not failures:
            measure(program)
    finally:
        run(program, "lab", "down", "--name", LAB)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
