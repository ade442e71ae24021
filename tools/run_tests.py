#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Meson's tests of one or several build folders and sums them up.

usage: run_tests.py BUILD[:SUITE,SUITE...] ...

After the runs: every failure with the end of its output, every skip with its reason (the last
line that the test printed), and as last line "N passed, N failed, N skipped". A test that runs
into its time-out, or that could not start, is a failure. So is a run that finds no test at all.
Exit: 0 when nothing failed, else 1.
"""
import json
import os
import subprocess
import sys
import time

FAILURE_LINES = 40
LINE_CHARACTERS = 400  # a document on one line would bury the rest


def suites_of(build):
    """Suites that really exist: asking Meson for one that has no tests is an error there."""
    text = subprocess.run(["meson", "introspect", "--tests", build], check=True,
                          capture_output=True, text=True).stdout
    return {s.split(":", 1)[-1] for t in json.loads(text) for s in t["suite"]}


def run(build, suites):
    """Returns the records of Meson's JSON log, one per test."""
    there = suites_of(build)
    wanted = [s for s in suites if s in there] if suites else []
    if suites and not wanted:
        return []
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    command = ["meson", "test", "-C", build, "--no-rebuild"]
    for s in wanted:
        command += ["--suite", s]
    status = subprocess.run(command, stdin=subprocess.DEVNULL).returncode
    if not os.path.exists(log):
        return [{"name": "meson test", "result": "ERROR", "duration": 0.0,
                 "stdout": f"meson test ended with {status} and wrote no log"}]
    with open(log, encoding="utf-8", errors="replace") as f:
        return [json.loads(line) for line in f if line.strip()]


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
    for word in argv[1:]:
        build, _, suites = word.partition(":")
        label = "" if word == argv[1] else os.path.basename(build.rstrip("/")) + ": "
        records = run(build, [s for s in suites.split(",") if s])
        if not records:
            failures.append((f"{word}", ["no tests were found"]))
        for r in records:
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
    print(f"tests took {time.monotonic() - start:.0f} s")
    print(f"{passed} passed, {len(failures)} failed, {len(skips)} skipped")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
