#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""bash completion offers what the program's tables say, checked in a real bash.

usage: test_completion.py VNETSCOPE COMPLETION_FILE
"""
import shlex
import subprocess
import sys

DRIVER = """
. {file}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_vnetscope
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def complete(program, file, *words):
    script = DRIVER.format(file=shlex.quote(file),
                           words=" ".join(shlex.quote(w) for w in (program, *words)))
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    return {line for line in done.stdout.split("\n") if line}, done.stderr


def main(argv):
    program, file = argv[1:3]
    tables = [line.split() for line in subprocess.run(
        [program, "--tables"], check=True, capture_output=True, text=True).stdout.splitlines()]
    bad = 0

    def expect(want, *words):
        nonlocal bad
        got, said = complete(program, file, *words)
        if got != want or said:
            print(f"{words}: offered {sorted(got)}, expected {sorted(want)} {said}")
            bad += 1

    commands = {t[1] for t in tables if t[0] == "command"}
    expect(commands | {"--help", "--version"}, "")
    expect({"doctor"}, "doc")
    for _, command, verbs in (t for t in tables if t[0] == "command"):
        options = {t[2] for t in tables if t[0] == "option" and t[1] == command}
        expect(options | {"--help"}, command, "-")
        if verbs != "-":
            expect(set(verbs.split("|")), command, "")
    for _, command, option, letter, _, choices in (t for t in tables if t[0] == "option"):
        if choices != "-":
            expect(set(choices.split("|")), command, option, "")
            if letter != "-":
                expect(set(choices.split("|")), command, "-" + letter, "")
    print(f"{len(commands)} commands, {bad} wrong offers")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
