#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest whose kernel changes its clock source, or whose clock is steered, while it is measured: drift
and vo say so and let the bounds allow for it; where nothing changes they say nothing.

usage: test_clock_source_vm.py VNETSCOPE AGENT
"""
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
from nettest import down_at_once  # noqa: E402

LAB = f"csv{os.getpid()}"
FOLDER = "/sys/devices/system/clocksource/clocksource0"

failures = []


def check(what, ok, detail=""):
    if not ok:
        failures.append(what)
        print(f"FAIL: {what} {detail}".rstrip(), flush=True)


def run(*args, timeout=60):
    return subprocess.run(args, capture_output=True, text=True, timeout=timeout, check=False)


def shell(program, command):
    p = run(program, "lab", "exec", "--name", LAB, "vm1", "--", "sh", "-c", command)
    check(f"in the guest: {command}", p.returncode == 0, p.stderr + p.stdout)
    return p.stdout.strip()


def drift(program, *args):
    p = run(program, "drift", f"lab:{LAB}/vm1", "-m", "shm", "--json", *args)
    check("drift: exit code 0", p.returncode == 0, p.stderr)
    doc = json.loads(p.stdout) if p.stdout else {}
    return doc.get("note") or "", doc.get("max_wander_ppm", -1), doc


def measure(program):
    # a kernel that has just begun takes tsc-early for tsc within two seconds: a change as any other
    source = shell(program, f"sleep 3; cat {FOLDER}/current_clocksource")
    sources = shell(program, f"cat {FOLDER}/available_clocksource").split()
    other = next((s for s in sources if s != source), None)
    note, wander, _ = drift(program, "-t", "1")
    check("nothing changed, nothing said", "clock source" not in note and "steered" not in note and wander == 0,
          f"{note} {wander}")
    note, wander, _ = drift(program, "-t", "1", "--max-wander", "7")
    check("the user's wander stands", wander == 7, wander)
    if other is None:
        check("the guest has two clock sources", False, sources)
        return
    shell(program, f"(sleep 1; echo {other} > {FOLDER}/current_clocksource) >/dev/null 2>&1 &")
    note, wander, doc = drift(program, "-t", "3")
    check("drift: the change is said", f"changed its clock source from {source} to {other}" in note, note)
    check("drift: and allowed for", wander >= 250, wander)
    check("drift: the bound is wider for it", doc["pieces"][0]["widened_ns"] > 0, str(doc["pieces"][0])[:300])
    shell(program, "(sleep 1; /init --adjust-clock ppm=40) >/dev/null 2>&1 &")
    note, wander, _ = drift(program, "-t", "3")
    check("drift: steered", "steered" in note and "+40.000 ppm" in note and 20 <= wander < 21, f"{note} {wander}")
    note, wander, _ = drift(program, "-t", "1")
    check("drift: a steered clock is allowed for by default", wander == 15 and
          "The guest's clock is steered (not marked as synchronised, frequency +40.000 ppm)" in note, f"{note} {wander}")
    note, wander, _ = drift(program, "-t", "1", "--max-wander", "0")
    check("drift: unless the user wants a straight line", wander == 0 and "--max-wander says" in note, f"{note} {wander}")
    shell(program, f"(sleep 2; echo {source} > {FOLDER}/current_clocksource) >/dev/null 2>&1 &")
    p = run(program, "vo", f"lab:{LAB}/vm1", "-t", "3", "--json")
    events = json.loads(p.stdout)["targets"][0]["events"] if p.stdout else []
    check("vo: an event", any(e["kind"] == "clock_changed" and f"from {other} to {source}" in e["text"]
                              for e in events), f"{events} {p.stderr}")


def main(argv):
    program, agent = argv[1:3]
    if os.geteuid() != 0 or not shutil.which("qemu-system-x86_64"):
        print("needs root and qemu-system-x86_64")
        return 77
    down_at_once(program, LAB)
    p = run(program, "lab", "up", "--name", LAB, "--guests", "1", "--agent", agent, timeout=150)
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
