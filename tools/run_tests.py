#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Meson's tests of one or several build folders and sums them up.

usage: run_tests.py BUILD[:SUITE,SUITE...] ...

In two stages, since most tests of namespaces and guests sleep most of the time, while those of the suites
unit, sim, cli and fuzz only compute:

 1. what computes, of all builds, at a lower priority, and beside it what waits and claims nothing of times
    (suite "waits"), as many at once as there are cores;
 2. what measures: one test at a time where Meson is told so (is_parallel), and nothing beside it.

After the runs: every failure with the end of its output and all their names, every skip with its reason (the last
line that the test printed), and as last line "N passed, N failed, N skipped". A test that runs
into its time-out, or that could not start, is a failure. So is a run that finds no test at all.
Exit: 0 when nothing failed, else 1.
"""
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

FAILURE_LINES = 40
LINE_CHARACTERS = 400  # a document on one line would bury the rest


def tests_of(build):
    """{suites of a test} for each that is there."""
    text = subprocess.run(["meson", "introspect", "--tests", build], check=True,
                          capture_output=True, text=True).stdout
    return [{s.split(":", 1)[-1] for s in t["suite"]} for t in json.loads(text)]


COMPUTES = ("unit", "sim", "cli", "fuzz")
WAITS = "waits"
NICE = 10          # of what computes: the others, which wait for packets and guests, go first
PATIENCE = "3"     # times a test's time-out where others run beside it
printing = threading.Lock()
running, stopped = set(), []


def stop(signum, _):
    """Meson ends its tests, which have sessions of their own; until it has, it is heard."""
    stopped.append(signum)
    for meson in list(running):
        meson.terminate()


def run(build, part, options, processes, niceness=0):
    """One `meson test`. Returns the records of its JSON log, one per test."""
    if stopped:
        return []
    log = os.path.join(build, "meson-logs", f"testlog-{part}.json")
    if os.path.exists(log):
        os.unlink(log)
    command = ["nice", "-n", str(niceness), "meson", "test", "-C", build, "--no-rebuild", "--logbase", f"testlog-{part}",
               "--num-processes", str(processes), *options]
    meson = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                             errors="replace")
    running.add(meson)
    if stopped:  # just now
        meson.terminate()
    summary = False
    for line in meson.stdout:
        summary |= line.startswith("Ok:") or line.startswith("Summary of Failures")
        if line.strip() and not summary and not re.match("(ninja|Full log)", line):
            with printing:
                print(line, end="", flush=True)
    status = meson.wait()
    running.discard(meson)
    if not os.path.exists(log):
        return [{"name": "meson test", "result": "ERROR", "duration": 0.0,
                 "stdout": f"meson test ended with {status} and wrote no log"}]
    with open(log, encoding="utf-8", errors="replace") as f:
        return [json.loads(line) for line in f if line.strip()]


class Build:
    """One word of the command line, in the parts that the stages run."""

    def __init__(self, word):
        self.folder, _, suites = word.partition(":")
        tests = tests_of(self.folder)
        there = set().union(*tests)  # asking Meson for a suite that has no tests is an error there
        wanted = {s for s in suites.split(",") if s} or there
        self.word, self.records = word, []
        self.expected = sum(1 for t in tests if t & wanted)
        self.computes = self.suite_options((wanted & there).intersection(COMPUTES))
        others = (wanted & there).difference(COMPUTES, [WAITS])
        # a test is left out by any of its suites: those of the suites that are not asked for
        unasked = [w for s in there.difference(COMPUTES, [WAITS], others) for w in ("--no-suite", s)]
        self.waits = []
        if WAITS in there and (others or WAITS in wanted):
            self.waits = ["--suite", WAITS, *([] if WAITS in wanted else unasked)]
        self.measures = self.suite_options(others) + (["--no-suite", WAITS] if WAITS in there else []) \
            if others else []

    @staticmethod
    def suite_options(suites):
        return [w for s in sorted(suites) for w in ("--suite", s)]


def run_all(builds):
    """Both stages. Fills every build's records; returns what each part took, [(name, tests, s)]."""
    cores = os.cpu_count() or 1
    took = []

    def part(name, attribute, processes, *more, niceness=0):
        start, n = time.monotonic(), 0
        for b in builds:
            if getattr(b, attribute):
                records = run(b.folder, name, [*getattr(b, attribute), *more], processes, niceness)
                b.records += records
                n += len(records)
        if n:
            took.append((name, n, time.monotonic() - start))

    beside = ["--timeout-multiplier", PATIENCE]
    waiting = threading.Thread(target=part, args=("waits", "waits", cores, *beside))
    waiting.start()
    part("computes", "computes", cores + 1, *beside, niceness=NICE)
    waiting.join()
    part("measures", "measures", cores)
    return took


def output_lines(record):
    text = (record.get("stdout") or "") + "\n" + (record.get("stderr") or "")
    return [line.rstrip() if len(line) <= LINE_CHARACTERS else line[:LINE_CHARACTERS] + " ..."
            for line in text.splitlines() if line.strip()]


def main(argv):
    if len(argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    # Undefined behaviour fails the test, as other sanitisers' findings do; by default it would only be said.
    os.environ.setdefault("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1")
    start = time.monotonic()
    passed, failures, skips = 0, [], []
    builds = [Build(word) for word in argv[1:]]
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)
    took = run_all(builds)
    if stopped:
        print("stopped before all tests had run")
        return 128 + stopped[0]
    for b in builds:
        label = "" if b is builds[0] else os.path.basename(b.folder.rstrip("/")) + ": "
        if not b.records:
            failures.append((b.word, ["no tests were found"]))
        elif len(b.records) != b.expected:
            failures.append((b.word, [f"{len(b.records)} tests ran, {b.expected} are there"]))
        for r in b.records:
            name = label + r["name"]
            if r["result"] in ("OK", "EXPECTEDFAIL"):
                passed += 1
            elif r["result"] == "SKIP":
                skips.append((name, (output_lines(r) or ["no reason was printed"])[-1]))
            else:
                failures.append((f"{name} ({r['result']} after {r['duration']:.1f} s)",
                                 output_lines(r)[-FAILURE_LINES:]))
    print()
    for name, lines in failures:
        print(f"FAILED  {name}")
        for line in lines:
            print(f"        {line}")
    for name, reason in skips:
        print(f"SKIPPED {name}: {reason}")
    parts = ", ".join(f"{name} {n} in {s:.0f} s" for name, n, s in took)
    if failures:  # once more, where the tail of a long log shows it
        print("failed: " + "; ".join(name for name, _ in failures))
    print(f"tests took {time.monotonic() - start:.0f} s ({parts})")
    print(f"{passed} passed, {len(failures)} failed, {len(skips)} skipped")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
