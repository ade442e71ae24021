#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Man pages against the programs: every command has a page, every option stands in it and in the
synopsis of each form that it applies to (and of no other), every option in it exists; the same of
programs that have only a usage text; the pages are clean for mandoc's linter.

usage: test_man.py VNETSCOPE MAN_FOLDER [PROGRAM...]
"""
import glob
import os
import re
import shutil
import subprocess
import sys


# The forms of a synopsis, in order, each by the mode of `vnetscope --tables` that it is in.
FORMS = {"vo": ["live", "offline"], "lab": ["up", "status", "exec", "down"]}


def read_tables(program):
    """({command: {"--name": letter, ...}}, {(command, "--name", mode without it)})"""
    commands, without = {}, set()
    out = subprocess.run([program, "--tables"], check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        words = line.split()
        if words[0] == "command":
            commands[words[1]] = {}
        elif words[0] == "option":
            commands[words[1]][words[2]] = words[3]
        elif words[0] == "without":
            without.add(tuple(words[1:]))
    return commands, without


def documented(text):
    """Long options that the page marks up: `.Fl -name`, `.It Fl x , -name`, `.Op Fl -name`."""
    found = set()
    for line in text.splitlines():
        if line.startswith(".") and re.search(r"\bFl\b", line):
            for name in re.findall(r"(?:\bFl|[|,])\s+\\?-\s*([a-z][a-z0-9-]*)", line):
                found.add("--" + name)
    return found


def synopsis(text):
    """One set of flags per form: "--name", or "x" of a letter (`Fl f`, `Fl fjs`)."""
    forms = []
    section = re.search(r"^\.Sh SYNOPSIS\n(.*?)^\.Sh", text, re.M | re.S)
    for line in section[1].splitlines() if section else []:
        if line.startswith(".Nm"):
            forms.append(set())
        for name, letters in re.findall(r"\bFl (?:\\?-([a-z][a-z0-9-]*)|([a-zA-Z]+))", line):
            forms[-1] |= {"--" + name} if name else set(letters)
    return forms


def judge_synopsis(command, options, without, text):
    forms = synopsis(text)
    modes = FORMS.get(command, [None])
    if len(forms) != len(modes):
        yield f"the synopsis of vnetscope-{command}.1 has {len(forms)} forms, not {len(modes)}"
        return
    for mode, there in zip(modes, forms):
        where = f"vnetscope-{command}.1, synopsis{' of ' + mode if mode else ''}"
        for name, letter in sorted(options.items()):
            stands = name in there or letter in there
            if stands == ((command, name, mode) in without):
                yield f"{where}: {name} {'does not apply' if stands else 'is missing'}"


def usage_of(program, name):
    """`--help`, also of each form that it tells of (`name [word] ...`)."""
    def ask(*words):
        done = subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr
    text = ask()
    return text + "".join(ask(word) for word in set(re.findall(rf"{name} \[?([a-z]+)\]? ", text)))


def judge_usage(program, usage, page):
    """A program whose options are in its usage text only."""
    there = documented(page)
    wanted = set(re.findall(r"--[a-z][a-z0-9-]*", usage))
    for name in sorted(wanted - there - {"--help"}):
        yield f"the page of {program} does not mention {name}"
    for name in sorted(there - wanted - {"--help"}):
        yield f"the page of {program} documents {name}, which its usage does not have"


def judge(commands, without, pages):
    """Yields one sentence per disagreement. pages: {file name: text}."""
    for command, table in sorted(commands.items()):
        options = set(table)
        page = f"vnetscope-{command}.1"
        if page not in pages:
            yield f"{page} is missing"
            continue
        there = documented(pages[page])
        for name in sorted(options - there):
            yield f"{page} does not mention {name}"
        for name in sorted(there - options - {"--help"}):
            yield f"{page} documents {name}, which vnetscope {command} does not have"
        yield from judge_synopsis(command, table, without, pages[page])
    overview = pages.get("vnetscope.1", "")
    for command in sorted(commands):
        if not re.search(rf"^\.It Cm {command}\b", overview, re.M):
            yield f"vnetscope.1 does not list {command}"


def test_judge():
    """The judge must see what is wrong; returns the wrongs it overlooked."""
    commands = {"x": {"--one": "o", "--two": "-"}}
    head = ".Sh SYNOPSIS\n.Nm x\n.Op Fl o\n.Op Fl -two Ar N\n.Sh DESCRIPTION\n"
    page = head + ".It Fl o , -one\n.It Fl -two Ar N\n"
    good = {"vnetscope-x.1": page, "vnetscope.1": ".It Cm x\n"}
    cases = [(good, 0), ({**good, "vnetscope.1": ""}, 1),
             ({**good, "vnetscope-x.1": head + ".It Fl -one\n"}, 0),
             ({**good, "vnetscope-x.1": page.replace(".It Fl o , -one\n", "")}, 1),
             ({**good, "vnetscope-x.1": page.replace(".Op Fl o\n", "")}, 1),
             ({**good, "vnetscope-x.1": page + ".Op Fl -three\n"}, 1),
             ({"vnetscope.1": ".It Cm x\n"}, 1)]
    wrong = [c for c in cases if len(list(judge(commands, set(), c[0]))) != c[1]]
    if len(list(judge(commands, {("x", "--two", None)}, good))) != 1:
        wrong.append("an option in a form that it does not apply to")
    if len(list(judge_usage("y", "--a N\n--b", ".It Fl -a\n.It Fl -c\n"))) != 2:
        wrong.append("a usage text")
    return wrong


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
    complaints = list(judge(*read_tables(program), pages))
    for other in argv[3:]:
        name = os.path.basename(other)
        page = [text for file, text in pages.items() if file.rpartition(".")[0] == name]
        complaints += judge_usage(name, usage_of(other, name), page[0]) if page else \
            [f"{name} has no page"]
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
