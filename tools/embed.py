#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file -> a C header with its bytes as an aligned array. usage: embed.py FILE HEADER NAME"""
import sys


def main():
    path, header, name = sys.argv[1:]
    with open(path, "rb") as f:
        data = f.read()
    lines = [",".join(map(str, data[i:i + 24])) for i in range(0, len(data), 24)]
    with open(header, "w", encoding="ascii") as f:
        f.write(f"/* generated from {path.split('/')[-1]} */\n"
                f"static const unsigned char {name}[] __attribute__((aligned(8))) = {{\n"
                + ",\n".join(lines) + "\n};\n")


main()
