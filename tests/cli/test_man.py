#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Man pages against the program: every command has a page, every option stands in it, every
option in it exists; the pages are clean for mandoc's linter.

usage: test_man.py VNETSCOPE MAN_FOLDER
"""
import glob
import os
import re
import shutil
import subprocess
import sys


def read_tables(program):
    """{command: {"--name", ...}} from `vnetscope --tables`."""
    commands = {}
    out = subprocess.run([program, "--tables"], check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        words = line.split()
        if words[0] == "command":
            commands[words[1]] = set()
        else:
            commands[words[1]].add(words[2])
    return commands


def documented(text):
    """Long options that the page marks up: `.Fl -name`, `.It Fl x , -name`, `.Op Fl -name`."""
    found = set()
    for line in text.splitlines():
        if line.startswith(".") and re.search(r"\bFl\b", line):
            for name in re.findall(r"(?:\bFl|[|,])\s+\\?-\s*([a-z][a-z0-9-]*)", line):
                found.add("--" + name)
    return found


def judge(commands, pages):
    """Yields one sentence per disagreement. pages: {file name: text}."""
    for command, options in sorted(commands.items()):
        page = f"vnetscope-{command}.1"
        if page not in pages:
            yield f"{page} is missing"
            continue
        there = documented(pages[page])
        for name in sorted(options - there):
            yield f"{page} does not mention {name}"
        for name in sorted(there - options - {"--help"}):
            yield f"{page} documents {name}, which vnetscope {command} does not have"
    overview = pages.get("vnetscope.1", "")
    for command in sorted(commands):
        if not re.search(rf"^\.It Cm {command}\b", overview, re.M):
            yield f"vnetscope.1 does not list {command}"


def test_judge():
    """The judge must see what is wrong; returns the wrongs it overlooked."""
    commands = {"x": {"--one", "--two"}}
    good = {"vnetscope-x.1": ".It Fl o , -one\n.It Fl -two Ar N\n", "vnetscope.1": ".It Cm x\n"}
    cases = [(good, 0), ({**good, "vnetscope.1": ""}, 1),
             ({**good, "vnetscope-x.1": ".It Fl -one\n"}, 1),
             ({**good, "vnetscope-x.1": ".It Fl -one\n.It Fl -two\n.Op Fl -three\n"}, 1),
             ({"vnetscope.1": ".It Cm x\n"}, 1)]
    return [c for c in cases if len(list(judge(commands, c[0]))) != c[1]]


def main(argv):
    program, folder = argv[1:3]
    blind = test_judge()
    if blind:
        print(f"the check itself is wrong about: {blind}")
        return 1
    files = sorted(glob.glob(os.path.join(folder, "*.[1-8]")))
    pages = {}
    for name in files:
        with open(name, encoding="utf-8") as f:
            pages[os.path.basename(name)] = f.read()
    complaints = list(judge(read_tables(program), pages))
    if shutil.which("mandoc"):
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *files],
                              capture_output=True, text=True)
        complaints += (done.stdout + done.stderr).splitlines()
    for line in complaints:
        print(line)
    print(f"{len(files)} pages, {len(complaints)} complaints")
    if not complaints and not shutil.which("mandoc"):
        print("mandoc is not there: the pages were not linted")
        return 77
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
