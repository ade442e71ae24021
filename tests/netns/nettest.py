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


def veth_pair(ends, devices=("v0", "v1"), ipv6=True):
    """Two namespaces and a veth pair between them. @ends: {name: its IPv4 address, of a /24}"""
    (a, dev), (b, peer) = zip(ends, devices)
    for ns in ends:
        sh("ip", "netns", "add", ns)
        sh("ip", "-n", ns, "link", "set", "lo", "up")
        if not ipv6:
            sh(*inside(ns, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"))
    sh("ip", "-n", a, "link", "add", dev, "type", "veth", "peer", "name", peer, "netns", b)
    for ns, dev in zip(ends, devices):
        sh("ip", "-n", ns, "addr", "add", ends[ns] + "/24", "dev", dev)
        sh("ip", "-n", ns, "link", "set", dev, "up")


def remove(*namespaces):
    """Of those, what is there."""
    for ns in namespaces:
        sh("ip", "netns", "del", ns, fail=False)


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(77)
