#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the tree against its own rules. Reads only; usage: check_layers.py [ROOT]

1. layers: every #include of ours against the allow-list below (ARCHITECTURE.md, "Who may include
   what"). Only direct includes count; a public header belongs to the folder that implements it.
2. licences: an SPDX line in every source file, LGPL for the library's folders, GPL elsewhere.
3. sizes: a C file over 800 lines fails; a function over 80 lines fails unless a comment that
   contains "long function:" and the reason stands within or right above it.

Exit: 0 clean, 1 with one line per violation.
"""
import os
import re
import subprocess
import sys

MAX_FILE_LINES = 800
MAX_FUNCTION_LINES = 80

# Public header -> folder of lib/ that implements it.
PUBLIC = {
    "base.h": "base", "stat.h": "stat", "packet.h": "packet", "clock.h": "engine/clock",
    "rtt.h": "engine/rtt", "rtt_app.h": "engine/rtt", "rtt_views.h": "measure",
    "twin.h": "engine/twin", "source.h": "source", "agent.h": "wire",
    "measure.h": "measure", "output.h": "output", "flow.h": "flow", "probe.h": "probe",
    "load.h": "load", "counters.h": "counters", "doctor.h": "measure",
    "abi.h": "measure",
}
ENGINE = {"base", "stat", "packet", "flow"}
SERVICE = {"base", "packet", "flow"}
LIB_ALL = set(PUBLIC.values())
# Folder of lib/ -> folders it may include, itself aside.
LIB_ALLOW = {
    "base": set(),
    "stat": {"base"},
    "packet": {"base"},
    "flow": {"base", "packet"},
    "engine/clock": ENGINE,
    "engine/rtt": ENGINE,
    "engine/twin": ENGINE,
    "source": SERVICE,
    "wire": SERVICE | {"source", "public:engine/clock"},  # an exchange is four stamps: plain data
    "probe": SERVICE | {"public:wire"},                   # what a load is stands in agent.h
    "load": SERVICE | {"public:wire", "stat", "probe"},   # a client is a load too
    "counters": SERVICE | {"public:wire"},
    "control": SERVICE,
    "measure": LIB_ALL,
    "output": LIB_ALL,
}
PUBLIC_ONLY = {"public:" + f for f in LIB_ALL}
# Programs and what stands beside them: the library's public headers, and each other downwards.
TOP_ORDER = ["cli", "monitor", "experiment", "report", "lab", "target", "store", "analysis"]
AGENT_ALLOW = {"base", "packet", "source", "wire", "probe", "load", "counters",
               "public:engine/clock", "stat"}
BPF_ALLOW = {"public:base", "public:packet", "packet"}  # kernel programs; source reads their records
FREE = ("tests", "bench", "tools", "examples")  # they look at everything

LGPL = ("include/", "lib/", "agent/", "bpf/")
SOURCE_NAMES = re.compile(r"(\.(c|h|py|sh|1|3|5|7|8)|meson\.build|Makefile|\.ci/run|completions/.*)$")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^">]+)[">]', re.M)


def our_files(root):
    """Tracked and new files when this is a git checkout, else everything but build folders."""
    try:
        out = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"],
                             check=True, capture_output=True, text=True).stdout
        names = out.splitlines()
    except (OSError, subprocess.CalledProcessError):
        names = [os.path.relpath(os.path.join(d, f), root)
                 for d, _, files in os.walk(root) for f in files
                 if not os.path.relpath(d, root).startswith((".git", "build"))]
    return sorted({n for n in names if os.path.isfile(os.path.join(root, n))})


def layer_of(path):
    """'lib:base', 'top:cli', 'agent', None for what may include anything."""
    if path.startswith("include/vnetscope/"):
        name = os.path.basename(path)
        return "lib:" + PUBLIC[name] if name in PUBLIC else "unknown"
    parts = path.split("/")
    if parts[0] == "lib":
        folder = "/".join(parts[1:3]) if parts[1] == "engine" else parts[1]
        return "lib:" + folder if folder in LIB_ALLOW else "unknown"
    if parts[0] in ("agent", "bpf"):
        return parts[0]
    if parts[0] in TOP_ORDER:
        return "top:" + parts[0]
    return None if parts[0] in FREE else "unknown"


def resolve(root, path, quote, name):
    """The included file's path in the tree, or None for a system or generated header."""
    if name.startswith("vnetscope/"):
        return "include/" + name
    if quote == "<":
        return None
    for base in (os.path.dirname(path), "", "lib", "include"):
        candidate = os.path.normpath(os.path.join(base, name))
        if os.path.isfile(os.path.join(root, candidate)):
            return candidate
    return None


def allowed(layer, path, target):
    there = layer_of(target)
    if layer == there or (layer == "lib:source" and there == "bpf"):
        return True
    if layer.startswith("lib:"):
        names = LIB_ALLOW[layer[4:]]
    elif layer == "agent":
        names = AGENT_ALLOW
    elif layer == "bpf":
        names = BPF_ALLOW
    else:
        names = PUBLIC_ONLY
        if there and there.startswith("top:"):
            return TOP_ORDER.index(there[4:]) > TOP_ORDER.index(layer[4:])
    if not there or not there.startswith("lib:"):
        return False
    folder = there[4:]
    is_public = target.startswith("include/")
    return folder in names or (is_public and "public:" + folder in names)


def check_includes(root, path, text):
    layer = layer_of(path)
    if layer is None:
        return
    if layer == "unknown":
        yield f"{path}: its folder or header is not in the layer list of tools/check_layers.py"
        return
    for match in INCLUDE.finditer(text):
        target = resolve(root, path, match.group(1), match.group(2))
        if target and not allowed(layer, path, target):
            line = text.count("\n", 0, match.start(2)) + 1
            yield f"{path}:{line}: {layer.split(':')[-1]} may not include {target}"


def check_licence(path, text):
    head = "\n".join(text.splitlines()[:3])
    want = "LGPL-2.1-or-later" if path.startswith(LGPL) else "GPL-3.0-or-later"
    found = re.search(r"SPDX-License-Identifier: (.*?)\s*(\*/)?$", head, re.M)
    if not found:
        yield f"{path}: no SPDX-License-Identifier in its first three lines"
    elif want not in found.group(1).split():
        yield f"{path}: SPDX says {found.group(1)}, this folder is {want}"


def check_sizes(path, text):
    lines = text.splitlines()
    if len(lines) > MAX_FILE_LINES:
        yield f"{path}: {len(lines)} lines, at most {MAX_FILE_LINES}"
    start = None
    for i, line in enumerate(lines):
        if line == "{":
            start = i
        elif line == "}" and start is not None:
            length = i - start + 1
            about = "\n".join(lines[max(0, start - 12):i])
            if length > MAX_FUNCTION_LINES and "long function:" not in about:
                yield f"{path}:{start}: a function of {length} lines, at most {MAX_FUNCTION_LINES}"
            start = None


def check(root):
    for path in our_files(root):
        if not SOURCE_NAMES.search(path):
            continue
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
            text = f.read()
        yield from check_licence(path, text)
        if path.endswith((".c", ".h")):
            yield from check_includes(root, path, text)
            yield from check_sizes(path, text)


def main(argv):
    root = argv[1] if len(argv) > 1 else os.path.join(os.path.dirname(__file__), "..")
    violations = list(check(os.path.abspath(root)))
    for line in violations:
        print(line)
    print(f"{len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
