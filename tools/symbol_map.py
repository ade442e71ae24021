#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public headers -> the linker's version script of libvnetscope: what they declare is exported under
one version, everything else stays inside.

usage: symbol_map.py VERSION HEADER... >MAP      (VERSION: 0.1)
tests/cli/test_library.py holds the result against what the compiler sees in the headers.
"""
import re
import sys


def functions(text):
    """Names of the functions that a header declares; static inline ones are no symbols."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S)
    text = re.sub(r"^\s*#(?:.*\\\n)*.*$", "", text, flags=re.M)
    text = re.sub(r"^static inline.*?^}", "", text, flags=re.S | re.M)
    return set(re.findall(r"\b(vns_\w+)\s*\((?!\s*\*)", text)) - \
        set(re.findall(r"typedef[^;]*\(\*\s*(\w+)\)", text))


def main(argv):
    names = set()
    for path in argv[2:]:
        with open(path, encoding="utf-8") as f:
            names |= functions(f.read())
    if not names:
        sys.exit("no function in " + " ".join(argv[2:]))
    print(f"VNETSCOPE_{argv[1]} {{\nglobal:")
    for name in sorted(names):
        print(f"\t{name};")
    print("local:\n\t*;\n};")


if __name__ == "__main__":
    main(sys.argv)
