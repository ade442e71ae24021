#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed is complete and works: programs, library, headers, man pages, completion; and
a small C program builds against the installed headers by pkg-config and runs; so do the examples, in
every way that vnetscope(3) names: with the shared library, with the archive, with nothing shared; and by
both of the module's names.

usage: test_install.py BUILD SOURCE
"""
import json
import os
import shlex
import struct
import subprocess
import sys
import tempfile

# Serve the programs of the suite only and are not installed.
OWN_HEADERS = {"doctor.h", "output.h"}
MODULES = ("vnetscope", "libvnetscope")  # of pkg-config: one thing by two names
PROGRAM = r"""
#include <stdio.h>
#include <vnetscope/base.h>
#include <vnetscope/clock.h>
%s
int main(void)
{
	struct vns_addr a;
	char text[VNS_ADDR_STRLEN];

	if (vns_now_ns() <= 0 || vns_addr_parse("192.0.2.7", &a))
		return 1;
	printf("%%s %%s\n", vns_addr_format(&a, text), vns_clock_mode_name(VNS_CLOCK_SAME));
	return 0;
}
"""


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **more)
    if done.returncode:
        print(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        sys.exit(1)
    return done.stdout


def capture(path, packets):
    """A pcap file of ns stamps; packets: (ns, source byte, destination byte, TSval, TSecr)"""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHIIII", 0xa1b23c4d, 2, 4, 0, 0, 65535, 1))
        for ns, src, dst, tsval, tsecr in packets:
            options = struct.pack(">BBBBII", 1, 1, 8, 10, tsval, tsecr)
            tcp = struct.pack(">HHIIBBHHH", 1000 + src, 1000 + dst, tsval, tsecr, 0x80, 0x18, 99, 0, 0)
            size = 20 + len(tcp) + len(options) + 4
            ip = struct.pack(">BBHHHBBH4B4B", 0x45, 0, size, tsval, 0, 64, 6, 0,
                             10, 0, 0, src, 10, 0, 0, dst)
            frame = bytes(12) + b"\x08\0" + ip + tcp + options + b"data"
            f.write(struct.pack("<IIII", ns // 10 ** 9, ns % 10 ** 9, len(frame), len(frame)) + frame)


def manual_commands(source):
    """The commands of vnetscope(3) that compile program.c, as one line each."""
    with open(os.path.join(source, "man/vnetscope.3"), encoding="utf-8") as f:
        text = f.read().replace("\\e\n", " ")
    return [line for line in text.splitlines() if line.startswith("cc ")]


def examples(source, root, compile_line, environment):
    """Builds both by a line of the manual and runs them. Return: what is wrong, or None"""
    exe = {}
    for name in ("rtt", "pair"):
        exe[name] = os.path.join(root, name)
        text = os.path.join(source, "examples", name + ".c")
        with open(text, encoding="utf-8") as f:
            if len(f.readlines()) > 41:
                return f"{name}.c is no longer short"
        line = compile_line.replace("cc ", "cc -Wall -Wextra -Werror ", 1)
        run(["sh", "-c", f"{line.replace('program.c', shlex.quote(text))} -o {shlex.quote(exe[name])}"], env=environment)
        if "libvnetscope.so" in run(["readelf", "-d", exe[name]]) and ".a" in compile_line:
            return "it wants the shared library all the same"
    host, guest = os.path.join(root, "host.pcap"), os.path.join(root, "guest.pcap")
    start = 1_700_000_000 * 10 ** 9
    exchange = [(0, 1, 2, 5, 0), (250_000, 2, 1, 7, 5)]
    capture(host, [(start + t, *rest) for t, *rest in exchange])
    # 40 us into the guest, 60 us out of it
    capture(guest, [(start + t + (40_000 if rest[1] == 2 else -60_000), *rest) for t, *rest in exchange])
    said = run([exe["rtt"], host], env=environment)
    if said != "10.0.0.1:1001 10.0.0.2:1002 250.000 us\n":
        return f"examples/rtt.c said {said!r}"
    said = run([exe["pair"], host, guest, "10.0.0.2"], env=environment)
    if said != "to guest 40.000 us\nfrom guest 60.000 us\n":
        return f"examples/pair.c said {said!r}"
    return None


def main(argv):
    build, source = (os.path.abspath(p) for p in argv[1:3])
    options = {o["name"]: o["value"] for o in
               json.loads(run(["meson", "introspect", "--buildoptions", build]))}
    prefix = options["prefix"].lstrip("/")
    with tempfile.TemporaryDirectory() as root:
        run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", root])
        base = os.path.join(root, prefix)
        lib = os.path.join(base, options["libdir"])
        headers = sorted(h for h in os.listdir(os.path.join(source, "include", "vnetscope"))
                         if h.endswith(".h") and h not in OWN_HEADERS)
        pages = sorted(n for n in os.listdir(os.path.join(source, "man")) if n[-2:] in (".1", ".3", ".8"))
        wanted = ["bin/vnetscope", "share/bash-completion/completions/vnetscope",
                  os.path.join(options["libexecdir"], "vnetscope", "vnetscope-agent"),
                  os.path.join(options["libdir"], "libvnetscope.so"),
                  os.path.join(options["libdir"], "libvnetscope.a"),
                  *(os.path.join(options["libdir"], "pkgconfig", m + ".pc") for m in MODULES)]
        wanted += [f"include/vnetscope/{h}" for h in headers]
        wanted += [f"share/doc/vnetscope/examples/{n}.c" for n in ("pair", "rtt")]
        wanted += [f"share/man/man{p[-1]}/{p}" for p in pages]
        missing = [w for w in wanted if not os.path.exists(os.path.join(base, w))]
        for name in missing:
            print(f"not installed: {name}")
        if missing:
            return 1

        environment = {**os.environ, "PKG_CONFIG_PATH": os.path.join(lib, "pkgconfig"),
                       "PKG_CONFIG_SYSROOT_DIR": root, "LD_LIBRARY_PATH": lib,
                       # a sanitised library wants its run time loaded first
                       "ASAN_OPTIONS": "verify_asan_link_order=0"}
        flags = run(["pkg-config", "--cflags", "--libs", "vnetscope"], env=environment).split()
        program = os.path.join(root, "small.c")
        every = "\n".join(f"#include <vnetscope/{h}>" for h in headers)
        with open(program, "w", encoding="utf-8") as f:
            f.write(PROGRAM % every)
        exe = os.path.join(root, "small")
        run(["cc", "-Wall", "-Wextra", "-Werror", "-o", exe, program, *flags], env=environment)
        said = run([exe], env=environment)
        if said != "192.0.2.7 same\n":
            print(f"the small program said {said!r}")
            return 1
        sanitised = not subprocess.run(["grep", "-q", "__asan_init",
                                        os.path.join(lib, "libvnetscope.so")]).returncode
        commands = manual_commands(source)
        if len(commands) != 3:
            print(f"the manual compiles in {len(commands)} ways, not shared, by the archive, static")
            return 1
        for command in commands[:1] if sanitised else commands:
            for module in MODULES:
                command = command.replace(" vnetscope)", f" {module})")
                complaint = "does not name it" if f" {module})" not in command else \
                    examples(source, root, command, environment)
                if complaint:
                    print(f"{command}: {complaint}")
                    return 1
        folder, again = (run(["pkg-config", "--variable=pythondir", m], env=environment).strip()
                         for m in MODULES)
        if folder != again:
            print(f"{MODULES} say other folders: {folder}, {again}")
            return 1
        if not folder.startswith(root):  # pkgconf puts the sysroot before variables, pkg-config not
            folder = root + folder
        if not sanitised:
            said = run([sys.executable, "-c", "import vnetscope; print(vnetscope.__file__)"],
                       env={**environment, "PYTHONPATH": folder,
                            "VNETSCOPE_LIBRARY": os.path.join(lib, "libvnetscope.so.0")})
            if os.path.realpath(os.path.dirname(said.strip())) != \
                    os.path.realpath(os.path.join(folder, "vnetscope")):
                print(f"the Python module is not the installed one: {said!r}")
                return 1
        said = run([os.path.join(base, "bin/vnetscope"), "--version"], env=environment)
        if not said.startswith("vnetscope "):
            print(f"the installed program said {said!r}")
            return 1
    print(f"{len(wanted)} files in place; a program built against them runs")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
