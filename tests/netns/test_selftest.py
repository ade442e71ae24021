#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope self-test in its lab: every estimate inside, known errors where they belong, nothing left.

usage: test_selftest.py VNETSCOPE AGENT netns|qemu
"""
import json
import os
import shutil
import subprocess
import sys
import time

LAB = f"slf{os.getpid()}"
EVERYWHERE = {("offset", "channel"), ("offset", "exchange"), ("offset, one way delayed", "exchange"),
              ("least delay to the guest", "exchange"), ("least delay from the guest", "exchange"),
              ("sum of both least delays", "exchange")}
GUEST_ONLY = {("change of the rate", m) for m in ("shm", "channel", "exchange")}
GUEST_ONLY |= {("step", m) for m in ("shm", "channel", "exchange")}

failures = []


def check(what, ok, detail=""):
    if not ok:
        failures.append(what)
        print(f"FAIL: {what} {detail}".rstrip(), flush=True)


def check_rows(lab, backend):
    rows = {(r["estimate"], r["mode"]): r for r in lab["estimates"]}
    wanted = EVERYWHERE | (GUEST_ONLY if backend == "qemu" else set())
    check("every estimate is there", wanted <= set(rows), f"{wanted - set(rows)}")
    for (what, mode), r in rows.items():
        middle = (r["truth_lower"] + r["truth_upper"]) / 2
        right = (r["truth_lower"] <= r["lower"] and r["upper"] <= r["truth_upper"]
                 if r["rule"] == "within" else r["lower"] <= middle <= r["upper"])
        check(f"{what} {mode}: inside says what the numbers say", r["inside"] == right, r)
        check(f"{what} {mode}: a tolerance well below what was put in", r["rule"] == "holds"
              or r["truth_upper"] - r["truth_lower"] <= 1.5e6, r)
        check(f"{what} {mode}: inside", r["inside"], r)
        if what == "offset" and mode == "exchange":
            check("its midpoint is withheld", r["value"] is None)
    check("latencies are tested, or why not", "too busy" in (lab["skipped"] or "")
          or ("vo uplink to tap, least", "same") in rows, lab["skipped"])
    to_guest = rows[("least delay to the guest", "exchange")]
    from_guest = rows[("least delay from the guest", "exchange")]
    # The delay is in one direction, by a truth that knows nothing of it.
    check("3 ms to the guest", 3.0e6 <= to_guest["truth_lower"] < 60e6, to_guest)
    check("none from it", from_guest["truth_upper"] < to_guest["truth_lower"], from_guest)
    check("the middle would be half of it off", lab["symmetric_error_ns"] > 0.5e6, lab)
    if backend == "qemu":
        step = rows[("step", "shm")]
        check("the step is known", abs(step["value"] + 5e6) < 1e6, step)
    else:
        check("says what was not tested", "rate and step" in lab["skipped"], lab["skipped"])


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def check_killed(program, agent):
    """kill -9 in the middle: the lab's holder removes what the self-test cannot any more."""
    folder = f"/run/vnetscope/{LAB}"
    p = subprocess.Popen([program, "self-test", "--backend", "netns", "--name", LAB, "--agent", agent, "-q"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def lab():
        done = subprocess.run([program, "lab", "status", "--json", "--name", LAB], capture_output=True,
                              text=True, timeout=20, check=True)
        return json.loads(done.stdout)["labs"]

    def within(seconds, condition):
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            time.sleep(0.05)
        return condition()

    check("its lab runs", within(20, lambda: [x for x in lab() if x["state"] == "running"]))
    pids = [n["pid"] for x in lab() for n in (x["client"], *x["guests"])]
    p.kill()
    p.wait()
    check("killed: its lab is gone", within(15, lambda: not os.path.exists(folder)), lab())
    check("and its processes", pids and within(10, lambda: not any(map(runs, pids))), pids)


def main(argv):
    program, agent, backend = argv[1:4]
    if os.geteuid() != 0:
        print("the path of a lab can only be delayed by root")
        return 77
    if backend == "qemu" and not shutil.which("qemu-system-x86_64"):
        print("qemu-system-x86_64 is not installed")
        return 77
    p = subprocess.run([program, "self-test", "--backend", backend, "--name", LAB, "--agent", agent,
                        "--json", "-q"], capture_output=True, text=True, timeout=160, check=False)
    check("exit code 0", p.returncode == 0, f"{p.returncode} {p.stderr}")
    doc = json.loads(p.stdout) if p.stdout else {"labs": []}
    check("one lab", len(doc["labs"]) == 1 and doc["labs"][0]["failed"] is None, p.stdout[:500])
    if not failures:
        check_rows(doc["labs"][0], backend)
        check("the verdict is of all", doc["outside"] == 0 and "no interval contradicts" in doc["verdict"])
    check("nothing is left", not os.path.exists(f"/run/vnetscope/{LAB}"))
    if backend == "netns":
        check_killed(program, agent)
    p = subprocess.run([program, "self-test", "--backend", "moon"], capture_output=True, text=True,
                       timeout=10, check=False)
    check("usage: exit 2", p.returncode == 2)
    p = subprocess.run([program, "self-test", "--name", "B_"], capture_output=True, text=True, timeout=10,
                       check=False)
    check("a bad name: exit 2, one sentence", (p.returncode, p.stdout, p.stderr.count("\n")) == (2, "", 1))
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
