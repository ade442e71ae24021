#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker of the tree must find each kind of violation, planted in a small tree of its own."""
import os
import subprocess
import sys
import tempfile

CHECKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools",
                       "check_layers.py")
LGPL = "/* SPDX-License-Identifier: LGPL-2.1-or-later */\n"
GPL = "/* SPDX-License-Identifier: GPL-3.0-or-later */\n"
CLEAN = {
    "include/vnetscope/base.h": LGPL,
    "include/vnetscope/source.h": LGPL + "#include <vnetscope/base.h>\n",
    "lib/base/cursor.h": LGPL,
    "lib/source/ring.h": LGPL,
    "lib/engine/rtt/rtt.c": LGPL + '#include "base/cursor.h"\n#include <errno.h>\n',
    "cli/main.c": GPL + '#include "cli/cli.h"\n#include <vnetscope/source.h>\n',
    "cli/cli.h": GPL,
    "target/target.h": GPL,
    "tests/unit/test_x.c": GPL + '#include "lib/source/ring.h"\n',
}
# name: (files that are added or replaced, text that must stand in the report)
PLANTED = {
    "an engine reads a source": (
        {"lib/engine/rtt/rtt.c": LGPL + "#include <vnetscope/source.h>\n"},
        "lib/engine/rtt/rtt.c:2: engine/rtt may not include include/vnetscope/source.h"),
    "the same through a relative path": (
        {"lib/engine/rtt/rtt.c": LGPL + '#include "../../source/ring.h"\n'},
        "engine/rtt may not include lib/source/ring.h"),
    "a command looks inside the library": (
        {"cli/main.c": GPL + '#include "lib/base/cursor.h"\n'},
        "cli may not include lib/base/cursor.h"),
    "upwards: a target includes a command's header": (
        {"target/target.c": GPL + '#include "cli/cli.h"\n'},
        "target may not include cli/cli.h"),
    "a folder nobody listed": ({"lib/magic/m.c": LGPL}, "lib/magic/m.c: its folder"),
    "no licence line": ({"lib/base/x.c": "int x;\n"}, "lib/base/x.c: no SPDX"),
    "GPL in the library": ({"lib/base/x.c": GPL}, "lib/base/x.c: SPDX says GPL"),
    "a long file": ({"lib/base/x.c": LGPL + "\n" * 800}, "801 lines"),
    "a long function": ({"lib/base/x.c": LGPL + "int f(void)\n{\n" + "\t;\n" * 80 + "}\n"},
                        "a function of 82 lines"),
}


def report(files):
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        done = subprocess.run([sys.executable, CHECKER, root], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


def main():
    bad = 0
    status, text = report(CLEAN)
    if status != 0:
        print(f"a clean tree is refused:\n{text}")
        bad += 1
    for name, (files, want) in PLANTED.items():
        status, text = report({**CLEAN, **files})
        if status != 1 or want not in text:
            print(f"{name}: not found (exit {status}):\n{text}")
            bad += 1
    print(f"{len(PLANTED) + 1} trees, {bad} judged wrongly")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
