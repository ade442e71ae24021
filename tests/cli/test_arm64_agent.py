#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arm64 agent runs and speaks the protocol: under QEMU's user-mode emulation, as a target.

usage: test_arm64_agent.py VNETSCOPE [AGENT]     without AGENT: there was no cross compiler
"""
import json
import shutil
import subprocess
import sys


def main(argv):
    if len(argv) < 3:
        print("there was no arm64 cross compiler when this was built")
        return 77
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if not emulator:
        print("qemu-aarch64-static is not there (package qemu-user-static)")
        return 77
    done = subprocess.run([argv[1], "doctor", "--json", f"pipe:exec {emulator} {argv[2]} --stdio"],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900)
    document = json.loads(done.stdout)
    checks = {c["name"]: c for c in document["checks"] if c["group"] == "target"}
    said = checks.get("agent", checks.get("open"))["detail"]
    print(said)
    exchanges = document["measured"].get("channel_round_trip_ns", {}).get("n")
    return 0 if "aarch64" in said and exchanges and exchanges > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
