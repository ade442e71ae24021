#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent is small, static, and made of the folders it may be made of.

in: AGENT MAP [ARM64_AGENT]; reads the linker's map and the ELF headers.
A build with sanitisers is linked dynamically: then only the map is judged.
"""
import os
import re
import struct
import sys

MAX_BYTES = 2 * 1000 * 1000
FOLDERS = {"base", "packet", "source", "wire", "probe", "load", "counters"}
# Of these folders the agent has the parts without libpcap, and its own end of the protocol.
NOT_IN_IT = {"lib_source_file", "lib_source_filter", "lib_source_live", "lib_source_stream",
             "lib_wire_client", "lib_wire_calls"}
MACHINES = {62: "x86-64", 183: "arm64"}
failures = []


def check(ok, sentence):
    if not ok:
        failures.append(sentence)


def elf(path):
    """(machine, has an interpreter) of an ELF file"""
    with open(path, "rb") as f:
        head = f.read(64)
        machine = struct.unpack_from("<H", head, 18)[0]
        phoff, = struct.unpack_from("<Q", head, 32)
        phentsize, phnum = struct.unpack_from("<HH", head, 54)
        f.seek(phoff)
        table = f.read(phentsize * phnum)
    kinds = [struct.unpack_from("<I", table, i * phentsize)[0] for i in range(phnum)]
    return machine, 3 in kinds  # PT_INTERP


def check_map(path):
    text = open(path).read()
    objects = set(re.findall(r"\S*vnetscope-agent\.p/(\S+?)\.c\.o", text))
    check(objects, "the map names none of our objects: wrong file?")
    for o in sorted(objects):
        m = re.fullmatch(r"\.\._lib_([a-z]+)_\w+", o)
        if m:
            check(m.group(1) in FOLDERS, f"lib/{m.group(1)} is in the agent ({o})")
            check(not any(("_" + n) in o for n in NOT_IN_IT), f"{o} is in the agent")
        else:
            check("_" not in o, f"{o} is of no folder the agent may have")
    for name in ("libpcap", "libjansson", "libz.", "libzstd", "libvnetscope"):
        check(name not in text, f"{name} is linked into the agent")


agent, link_map = sys.argv[1:3]
check_map(link_map)
static = not elf(agent)[1]
if static:
    check(os.path.getsize(agent) < MAX_BYTES, f"{agent} has {os.path.getsize(agent)} bytes")
    check(elf(agent)[0] in MACHINES, f"{agent} is for an unknown machine")
for other in sys.argv[3:]:
    machine, dynamic = elf(other)
    check(MACHINES.get(machine) == "arm64", f"{other} is not for arm64")
    check(not dynamic, f"{other} is not static")
    check(os.path.getsize(other) < MAX_BYTES, f"{other} has {os.path.getsize(other)} bytes")
for sentence in failures:
    print(sentence)
print(f"{len(failures)} failures; {os.path.getsize(agent)} bytes{'' if static else ', dynamic'}")
sys.exit(1 if failures else 0)
