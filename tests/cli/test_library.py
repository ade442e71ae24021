#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared library against its promises: it exports exactly what the installed headers declare (as
the compiler reads them), under one version; it ends no process and writes to nobody's standard
output; the headers stand alone, in C and C++; section 3 of the manual names every function.

usage: test_library.py LIBRARY MAN_FOLDER HEADER...
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

# What a library must not call, and the streams that it does not own. _exit() in its children stays.
FORBIDDEN = re.compile(r"(exit|quick_exit|abort|printf|vprintf|puts|putchar|perror|psignal|syslog|"
                       r"v?errx?|v?warnx?|error|__assert_fail|__printf_chk|stdout|stderr)$")


def symbols(library, *flags):
    out = subprocess.run(["nm", "-D", *flags, library], check=True, capture_output=True, text=True)
    return [line.split()[-1] for line in out.stdout.splitlines() if line.split()]


def declared(headers):
    """Functions of the headers without a body there, by gcc's own list of prototypes."""
    names = set()
    with tempfile.TemporaryDirectory() as work:
        source, out = os.path.join(work, "all.c"), os.path.join(work, "prototypes")
        with open(source, "w", encoding="utf-8") as f:
            f.writelines(f'#include "{h}"\n' for h in headers)
        subprocess.run(["gcc", "-I", os.path.join(os.path.dirname(headers[0]), ".."), "-aux-info", out,
                        "-fsyntax-only", source], check=True)
        with open(out, encoding="utf-8") as f:
            for line in f:
                where = re.match(r"/\* (.+?):\d+:([NIO])([CF]) \*/ extern .*?\b(vns_\w+) \(", line)
                if where and where[3] == "C":
                    names.add(where[4])
    return names


def alone(headers):
    """Each header by itself, in C and, where a compiler is there, in C++."""
    for header in headers:
        include = ["-I", os.path.join(os.path.dirname(header), ".."), "-Wall", "-Wextra", "-Werror"]
        for compiler in (["gcc", "-std=c11", "-x", "c"], ["g++", "-std=c++11", "-x", "c++"],
                         ["clang++", "-std=c++11", "-x", "c++"]):
            if not shutil.which(compiler[0]):
                continue
            done = subprocess.run([*compiler, *include, "-fsyntax-only", "-"], text=True,
                                  capture_output=True,
                                  input=f'#include "{os.path.abspath(header)}"\n')
            if done.returncode:
                yield f"{header} by {compiler[0]}: {done.stderr.splitlines()[0]}"


def main(argv):
    library, man, headers = argv[1], argv[2], argv[3:]
    wrong = []
    public = declared(headers)
    exported = symbols(library, "--defined-only")
    versions = {n.rpartition("@")[2] for n in exported if "@" in n and n.startswith("vns_")}
    names = {n.partition("@")[0] for n in exported if n.startswith("vns_")}
    foreign = [n for n in exported if not n.startswith(("vns_", "VNETSCOPE_"))]
    wrong += [f"not exported: {n}" for n in sorted(public - names)]
    wrong += [f"exported, in no installed header: {n}" for n in sorted(names - public)]
    # a sanitizer's run time adds names of its own
    wrong += [f"exported: {n}" for n in foreign if not re.match(r"_?_?(asan|ubsan|odr|sanitizer)", n)]
    if len(versions) != 1 or not re.fullmatch(r"VNETSCOPE_\d+\.\d+", next(iter(versions))):
        wrong.append(f"versions: {versions}")
    wrong += [f"calls {n}" for n in symbols(library, "--undefined-only")
              if FORBIDDEN.match(n.partition("@")[0])]
    wrong += alone(headers)
    pages = ""
    for name in glob.glob(os.path.join(man, "*.3")):
        with open(name, encoding="utf-8") as f:
            pages += f.read()
    described = set(re.findall(r"^\.F[no] (vns_\w+)", pages, re.M))
    wrong += [f"no page of section 3 names {n}" for n in sorted(public - described)]
    wrong += [f"section 3 names {n}, which is not there" for n in sorted(described - public)]
    for line in wrong:
        print(line)
    print(f"{len(public)} functions in {len(headers)} headers, {len(wrong)} complaints")
    return 1 if wrong or not public else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
