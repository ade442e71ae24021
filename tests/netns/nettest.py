# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests in namespaces of their own share: run a command, run it inside one, or say why not."""
import subprocess
import sys


def sh(*argv, fail=True):
    """Run @argv. Return: its standard output; raises CalledProcessError with its words, if @fail."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    if fail and done.returncode:
        print(f"{' '.join(argv)}: {done.stderr.strip()}", file=sys.stderr)
        done.check_returncode()
    return done.stdout


def script(text):
    """Run @text, lines of sh, to its first failure, which raises CalledProcessError."""
    subprocess.run(["sh", "-ec", text], check=True, timeout=30)


def inside(ns, *argv):
    """The words that run @argv in namespace @ns."""
    return ["nsenter", f"--net=/run/netns/{ns}", *argv]


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(77)
