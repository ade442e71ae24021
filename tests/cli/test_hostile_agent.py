#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""An agent that lies in every string it may send: escape sequences, control characters in both their
forms, bytes that are no UTF-8. argv: vnetscope. As "pipe:COMMAND" the file is that agent itself.

Whatever a command then prints, on either stream, is UTF-8 without control characters; its JSON can be
read, and what the agent said stands in it (a string that JSON refuses must not take its member along).
"""
import json
import shlex
import struct
import subprocess
import sys
import time
import unicodedata

VILE = b"\x1b[2J\x1b]0;t\x07 \x9b31m \xc2\x9b31m \xff\xfe\xc0\x80 \xe2\x80\xae txt \xed\xa0\x80 k\xc3\xb6ln \xe2\x82"
HELLO, HELLO_REPLY, ERROR, NOTE, CLOCK, CLOCK_REPLY, BYE = 1, 2, 4, 5, 6, 7, 28
CLOCK_REPLIES = 20  # then it errs there, too
COMMANDS = (["doctor"], ["drift", "--mode", "channel"], ["drift", "--mode", "ptp_kvm"])
HEADER = struct.Struct("<IIHHI")
MAGIC = struct.unpack("<I", b"VNSA")[0]
TELLING = COMMANDS[:2]  # they print a document that quotes the agent


def text(more=b""):
    """A str of the protocol."""
    return struct.pack("<H", len(VILE + more)) + VILE + more


def agent(capabilities):
    """Answers HELLO and some requests for the time properly, all else with a note and an error."""
    replies = 0

    def send(kind, request, body):
        sys.stdout.buffer.write(HEADER.pack(MAGIC, len(body), kind, 0, request) + body)
        sys.stdout.buffer.flush()

    read = sys.stdin.buffer.read
    while True:
        head = read(HEADER.size)
        if len(head) < HEADER.size:
            return
        _, size, kind, _, request = HEADER.unpack(head)
        body = read(size)
        if kind == HELLO:
            send(HELLO_REPLY, request, body[:8] + struct.pack("<I", 4) + text(b"v") +
                 struct.pack("<I", capabilities) + text(b"h") + text(b"k") + text(b"b") + text(b"c") +
                 struct.pack("<H", 1) + text(b"w") + b"\1" + text(b"i") + bytes(6) + b"\1\1" +
                 bytes(10) + b"\xff\xff\x0a\x00\x00\x07")
        elif kind == BYE:
            return
        elif kind == CLOCK and replies < CLOCK_REPLIES:
            replies += 1
            send(CLOCK_REPLY, request, struct.pack("<QQ", time.time_ns(), time.time_ns()))
        else:
            send(NOTE, 0, text(b"n"))
            send(ERROR, request, struct.pack("<I", 5) + text(b"e"))


def wrong(stream):
    """What must not be in @stream, bytes. Return: a sentence or None"""
    try:
        said = stream.decode("utf-8")
    except UnicodeDecodeError as e:
        return f"no UTF-8: {e}"
    bad = {c for c in said if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    return f"control characters {sorted(map(ascii, bad))}" if bad else None


def told(stream):
    """Does the JSON document tell what the agent said, and in a member of its own?"""
    said = []

    def collect(value):
        for inner in value.values() if isinstance(value, dict) else value:
            if isinstance(inner, str):
                said.append(inner)
            elif isinstance(inner, (dict, list)):
                collect(inner)
    collect(json.loads(stream))
    return any("k\u00f6ln" in s for s in said)


def main(argv):
    if argv[1] == "agent":
        agent(int(argv[2]))
        return 0
    complaints = []
    target = "pipe:exec " + shlex.join([sys.executable, __file__, "agent", str(0x15)])
    for command in COMMANDS:
        for mode in ([], ["--json"]):
            done = subprocess.run([argv[1], *command, *mode, target], capture_output=True,
                                  stdin=subprocess.DEVNULL, timeout=900)
            label = " ".join([*command, *mode])
            print(f"{label}: exit {done.returncode}, {len(done.stdout)} bytes, {done.stderr}")
            complaints += [f"{label}, {name}: {why}" for name, why in
                           (("output", wrong(done.stdout)), ("messages", wrong(done.stderr))) if why]
            if mode and done.stdout:
                if not told(done.stdout) and command in TELLING:
                    complaints.append(f"{label}: the document does not tell what the agent said")
            elif command in TELLING and not done.stdout:
                complaints.append(f"{label}: no output")
    # a command that is none is named as it was given, of a long one the end
    for command, name in (("/nonexistent", "pipe:/nonexistent:"),
                          ("/nowhere" * 20 + "/agent --stdio", "/nowhere/nowhere/agent:")):
        said = subprocess.run([argv[1], "drift", "pipe:" + command], capture_output=True, text=True,
                              timeout=900).stderr
        if name not in said or said.count("\n") != 1:
            complaints.append(f"drift pipe:{command[:20]}: {said}")
    print("\n".join(complaints) or "nothing of it came through")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
