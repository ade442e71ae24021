#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that do nothing are refused, generated from the program's own tables.

`vnetscope --tables` names each command's modes, its options, and which of them a mode has no use for.
Every pair of option and mode is tried: where the table says "without", the program must end with 2 and
name both; elsewhere it must not complain. A new option or mode without a sample here fails, so that
none escapes. No pair measures anything: each command line ends in another error right after.

No line of any `--help` is wider than 120 columns.

usage: test_options.py VNETSCOPE
"""
import subprocess
import sys

# Words that put a command in a mode, and nothing else; what they need to end early comes from ENDING.
MODES = {
    "lab": {"up": ["up"], "status": ["status"], "exec": ["exec"], "down": ["down"],
            "netns": ["up", "--backend", "netns"]},
    "drift": {"json": ["--json"], "csv": ["--csv"], "list": ["--modes", "exchange"],
              "timed": ["-t", "1"], "other-clock": ["-m", "channel"],
              "running-agent": ["pipe:false"], "same": ["-m", "same"]},
    "vo": {"live": ["moon:x"], "offline": ["--host", "/nonexistent"], "json": ["--json"],
           "csv": ["--csv"], "offset": ["--offset-ns", "0"], "drift-file": ["--drift-file", "x"],
           "other-clock": ["-m", "channel"], "running-agent": ["pipe:false"], "same": ["-m", "same"]},
    "rtt": {"live": ["-i", "noif0"], "file": ["-r", "/nonexistent"], "json": ["--json"],
            "csv": ["--csv"], "samples": ["--samples"], "csv-groups": ["--csv", "--by", "host"],
            "totals": ["-r", "/nonexistent"], "halves": ["--halves"], "timestamps": ["-m", "ts"],
            "no-tcp": ["--kinds", "dns"], "part": ["-r", "-"], "ebpf": ["--capture", "ebpf"]},
    "demo": {"netns": ["--backend", "netns"]},
    "self-test": {"netns": ["--backend", "netns"]},
    "doctor": {"host": [], "running-agent": ["pipe:false"]},
}
# A valid value of an argument that is called so, or of one option.
VALUES = {"N": "1", "TIME": "1", "FILE": "/nonexistent", "DIR": "/nonexistent", "LIST": "default",
          "MODE,MODE": "exchange", "1/N": "1/2", "PERCENT": "1", "NS": "1", "EXPR": "tcp",
          "ADDR": "10.0.0.1", "IFACE": "noif0", "BYTES": "128", "SIZE": "256M", "VIEW": "host", "LAB": "t-options",
          "MB": "128", "PPM": "1", "PROGRAM": "true", "PURPOSE": "live"}
SPECIAL = {("demo", "--exchanges"): "2", ("rtt", "--kinds"): "tcp", ("vo", "--points"): "a,b"}
# What makes each command fail behind the check of its options, whatever they are.
ENDING = {"lab": ["-", "-"], "demo": ["surplus"], "self-test": ["surplus"]}
# Commands that measure when they can take their TARGET to be this machine.
NO_RUN = {("doctor", "host")}


def tables(program):
    """(modes {(command, mode): what}, options [(command, name, arg, choices)], without {...})"""
    modes, options, without = {}, [], set()
    text = subprocess.run([program, "--tables"], check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        kind, command, *rest = line.split(" ", 3)
        if kind == "mode":
            modes[command, rest[0]] = rest[1]
        elif kind == "option":
            _, arg, choices = rest[1].split()
            options.append((command, rest[0], arg, choices))
        elif kind == "without":
            without.add((command, rest[0], rest[1]))
    return modes, options, without


def value(command, name, arg, choices):
    if arg == "-":
        return []
    if (command, name) in SPECIAL:
        return [SPECIAL[command, name]]
    return [choices.split("|")[0] if choices != "-" else VALUES[arg]]


def run(program, *words):
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=900,
                          stdin=subprocess.DEVNULL, check=False)


def sentence(name, what):
    return f"{name} and {what} exclude each other" if what[0] == "-" else \
        f"{name} does not apply to {what}"


def try_pair(program, option, mode, modes, without):
    """Return: what is wrong, or None."""
    command, name, arg, choices = option
    refused = (command, name, mode) in without
    what = modes[command, mode]
    words = MODES[command][mode]
    if name in words:
        return None
    done = run(program, command, *words, name, *value(command, name, arg, choices),
               *ENDING.get(command, []))
    line = done.stderr.strip().split("\n")[0]
    # Two that exclude each other: either may be the one that is named.
    named = {sentence(name, what)} | {sentence(words[0], modes[command, m])
                                      for c, o, m in without if c == command and o in words}
    if refused and (done.returncode != 2 or
                    line not in {f"vnetscope {command}: {s}" for s in named}):
        return f"{command} {mode} {name}: exit {done.returncode}, '{line}'"
    if not refused and sentence(name, what) in done.stderr:
        return f"{command} {mode} {name}: refused, against its table"
    return None


def main(argv):
    program = argv[1]
    modes, options, without = tables(program)
    wrong = [f"no command line is known for mode {m} of {c}" for c, m in modes
             if m not in MODES.get(c, {})]
    wrong += [f"mode {m} of {c} is gone" for c in MODES for m in MODES[c] if (c, m) not in modes]
    wrong += [f"no value is known for {o[1]} of {o[0]} ({o[2]})" for o in options
              if o[2] != "-" and o[3] == "-" and o[2] not in VALUES and o[:2] not in SPECIAL]
    tried = 0
    for option in options if not wrong else []:
        for command, mode in modes:
            if command != option[0] or \
               ((command, mode) in NO_RUN and (*option[:2], mode) not in without):
                continue
            tried += 1
            complaint = try_pair(program, option, mode, modes, without)
            wrong += [complaint] if complaint else []
    for command, words in (("vo", ["--window", "1", "--window", "2"]), ("rtt", ["-d", "1", "-d", "2"]),
                           ("drift", ["-n", "1", "-n", "1"])):
        done = run(program, command, *words, "x")
        if done.returncode != 2 or "stands twice" not in done.stderr:
            wrong.append(f"{command} {words}: exit {done.returncode}, '{done.stderr.strip()}'")
    done = run(program, "vo", "vm1", "lab:vm1")
    if done.returncode != 2 or "lab:vm1 stands twice" not in done.stderr:
        wrong.append(f"the same target twice: '{done.stderr.strip()}'")
    for words in [[], *([c] for c in sorted({o[0] for o in options}))]:
        wrong += [f"{' '.join(words)} --help: {len(line)} columns: {line}"
                  for line in run(program, *words, "--help").stdout.splitlines() if len(line) > 120]
    for line in wrong:
        print(line)
    print(f"{tried} pairs of option and mode, {len(wrong)} complaints")
    return 1 if wrong or not tried else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
