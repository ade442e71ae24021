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

from nettest import down_at_once

LAB = f"slf{os.getpid()}"
EVERYWHERE = {("offset", "channel"), ("offset", "exchange"), ("offset, one way delayed", "exchange"),
              ("least delay to the guest", "exchange"), ("least delay from the guest", "exchange"),
              ("sum of both least delays", "exchange")}
GUEST_ONLY = {("change of the rate", m) for m in ("shm", "channel", "exchange")}
GUEST_ONLY |= {("step", m) for m in ("shm", "channel", "exchange")}

BUSY = ("too busy", "hardly ran", "changed its clock source")  # why a row may be left out

failures = []


def check(what, ok, detail=""):
    if not ok:
        failures.append((what, str(detail)))


def show(doc):
    """All rows, a line each; then what failed, the shortest last, as a log may be cut at its front."""
    for lab in doc.get("labs", []):
        print(f"{lab['backend']}: failed {lab['failed']}; skipped {lab['skipped']}; "
              f"symmetric error {lab['symmetric_error_ns']}")
        for r in lab["estimates"]:
            print(row_text(r))
    for what, detail in failures:
        print(f"FAIL: {what}: {detail}")
    print("FAILED: " + "; ".join(what for what, _ in failures))


def row_text(r):
    return (f"{'ok ' if r['inside'] else 'OUT'} {r['estimate']} {r['mode']} ({r['rule']}): truth "
            f"{r['truth_lower']}..{r['truth_upper']} value {r['value']} in {r['lower']}..{r['upper']}")


def check_row(what, mode, r):
    """One value is that truth's where the two intervals, which both are certain, have one in common."""
    text = row_text(r)
    ends = [r[k] for k in ("truth_lower", "truth_upper", "lower", "upper")]
    check(f"{what} {mode}: has its ends", all(isinstance(x, (int, float)) for x in ends), text)
    if None in ends:
        return
    right = r["truth_lower"] <= r["upper"] and r["lower"] <= r["truth_upper"]
    check(f"{what} {mode}: inside says what the numbers say", r["inside"] == right, text)
    check(f"{what} {mode}: one value lies within, an interval holds",
          r["rule"] == "holds" or (r["rule"] == "within" and r["lower"] == r["upper"]), text)
    if r["injected"] is not None and r["unit"] == "ns" and what != "step":
        check(f"{what} {mode}: a tolerance well below what was put in",
              r["truth_upper"] - r["truth_lower"] <= 1.5e6, text)
    elif r["rule"] == "holds":
        check(f"{what} {mode}: its truth is known better",
              r["truth_upper"] - r["truth_lower"] <= r["upper"] - r["lower"], text)
    check(f"{what} {mode}: inside", r["inside"], text)


def check_delays(rows, lab):
    """The delay is in one direction, by a truth that knows nothing of it."""
    to_guest = rows.get(("least delay to the guest", "exchange"))
    from_guest = rows.get(("least delay from the guest", "exchange"))
    if to_guest:
        check("3 ms to the guest", to_guest["truth_upper"] >= 3.0e6, row_text(to_guest))
    if to_guest and from_guest:
        check("none from it", middle(from_guest) < middle(to_guest),
              row_text(from_guest) + "; " + row_text(to_guest))
    check("the middle would be half of it off", lab["symmetric_error_ns"] > 0.5e6, lab["symmetric_error_ns"])


def middle(r):
    return (r["truth_lower"] + r["truth_upper"]) / 2


def check_rows(lab, backend):
    rows = {(r["estimate"], r["mode"]): r for r in lab["estimates"]}
    wanted = EVERYWHERE | (GUEST_ONLY if backend == "qemu" else set())
    why = any(x in (lab["skipped"] or "") for x in BUSY)
    check("every estimate is there, or why not", wanted <= set(rows) or why, f"{wanted - set(rows)} {lab['skipped']}")
    for (what, mode), r in rows.items():
        check_row(what, mode, r)
        if what == "offset" and mode == "exchange":
            check("its midpoint is withheld", r["value"] is None, row_text(r))
    check("latencies are tested, or why not", why or ("vo uplink to tap, least", "same") in rows, lab["skipped"])
    check_delays(rows, lab)
    step = rows.get(("step", "shm"))
    if step:
        check("the step is seen", step["upper"] < 0, row_text(step))
    if backend != "qemu":
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
                              text=True, check=True)
        return [x for x in json.loads(done.stdout)["labs"] if x["state"] == "running"]

    def await_(what, condition):
        """However long it takes here: what never comes is ended by this test's own time limit."""
        print(f"killed: {what}", flush=True)
        while not (there := condition()):
            time.sleep(0.05)
        return there

    try:
        labs = await_("its lab runs", lambda: lab() or ([] if p.poll() is None else ["it has ended"]))
        check("its lab runs", labs != ["it has ended"], p.returncode)
        pids = [n["pid"] for x in labs if "guests" in x for n in (x["client"], *x["guests"])]
    finally:
        p.kill()
        p.wait()
    await_("its lab is gone", lambda: not os.path.exists(folder))
    await_("and its processes", lambda: not any(map(runs, pids)))


def main(argv):
    program, agent, backend = argv[1:4]
    if os.geteuid() != 0:
        print("the path of a lab can only be delayed by root")
        return 77
    if backend == "qemu" and not shutil.which("qemu-system-x86_64"):
        print("qemu-system-x86_64 is not installed")
        return 77
    down_at_once(program, LAB)
    p = subprocess.run([program, "self-test", "--backend", backend, "--name", LAB, "--agent", agent,
                        "--json", "-q"], capture_output=True, text=True, check=False)
    doc = json.loads(p.stdout) if p.stdout else {"labs": []}
    check("one lab", len(doc["labs"]) == 1 and doc["labs"][0]["failed"] is None, p.stdout[:500])
    if not failures:
        check_rows(doc["labs"][0], backend)
        check("the verdict is of all", doc["outside"] == 0 and "no interval contradicts" in doc["verdict"],
              doc["verdict"])
    check("exit code 0", p.returncode == 0, f"{p.returncode} {p.stderr}")
    check("nothing is left", not os.path.exists(f"/run/vnetscope/{LAB}"))
    if backend == "netns":
        check_killed(program, agent)
    p = subprocess.run([program, "self-test", "--backend", "moon"], capture_output=True, text=True,
                       check=False)
    check("usage: exit 2", p.returncode == 2)
    p = subprocess.run([program, "self-test", "--name", "B_"], capture_output=True, text=True,
                       check=False)
    check("a bad name: exit 2, one sentence", (p.returncode, p.stdout, p.stderr.count("\n")) == (2, "", 1))
    print(f"{len(failures)} failures")
    if failures:
        show(doc)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
