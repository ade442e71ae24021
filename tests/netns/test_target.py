#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets that need no guest: namespaces of this machine and nodes of a namespace lab; what is
found of the host's side, and the sentences for what is not there.

usage: test_target.py VNETSCOPE AGENT [CASE...]

Starts itself again in private mount and network namespaces, so that /run/netns and the bridge
exist only there.
"""
import json
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from labtest import AGENT, VNETSCOPE, main, ok, run, skip
from nettest import sh

LAB = f"t-tg{os.getpid() % 10**8}"


def near_side():
    """A namespace behind a bridge port, one with a veth pair only, and one without anything."""
    sh("mount", "-t", "tmpfs", "none", "/run/netns")
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", "br7", "type", "bridge")
    sh("ip", "link", "set", "br7", "up")
    for i, name in enumerate(("t-bridged", "t-plain", "t-empty")):
        sh("ip", "netns", "add", name)
        sh("ip", "-n", name, "link", "set", "lo", "up")
        if name == "t-empty":
            continue
        sh("ip", "link", "add", f"vp{i}", "type", "veth", "peer", "name", "eth0", "netns", name)
        sh("ip", "link", "set", f"vp{i}", "up")
        sh("ip", "-n", name, "link", "set", "eth0", "up")
        sh("ip", "-n", name, "addr", "add", f"10.98.{i}.2/24", "dev", "eth0")
    sh("ip", "link", "set", "vp0", "master", "br7")


def to_start(spec):
    """A lab's agents run already: --agent is refused there."""
    return [] if spec.startswith("lab:") else ["--agent", AGENT]


def points(spec):
    checks = json.loads(run("doctor", "--json", *to_start(spec), spec).stdout)["checks"]
    return json.dumps([c for c in checks if c["name"] == "host_points"])


def drift(spec):
    return run("drift", "--json", "-n", "3", *to_start(spec), spec)


def namespaces_and_their_wires():
    assert "bridge br7" in points("netns:t-bridged"), points("netns:t-bridged")
    assert "tap vp0" in points("netns:t-bridged")
    assert "uplink" not in points("netns:t-bridged"), "no port leads out of br7, and no route"
    for name, metric in (("wan1", "50"), ("wan0", "10")):
        sh("ip", "link", "add", name, "type", "veth", "peer", "name", "far" + name)
        sh("ip", "link", "set", name, "up")
        sh("ip", "route", "add", "default", "dev", name, "metric", metric)
    assert "uplink wan0, bridge br7" in points("netns:t-bridged"), points("netns:t-bridged")
    sh("ip", "link", "del", "wan0")
    assert "uplink wan1, bridge br7" in points("netns:t-bridged"), points("netns:t-bridged")
    sh("ip", "link", "del", "wan1")
    assert "tap vp1" in points("netns:t-plain"), points("netns:t-plain")
    assert "br7" not in points("netns:t-plain")
    d = json.loads(ok(drift("netns:t-plain")).stdout)
    assert d["mode"] == "same" and d["offset_ns"] == 0, d
    assert json.loads(ok(drift("netns:/run/netns/t-plain")).stdout)["mode"] == "same"


def lab_nodes():
    r = subprocess.run(["setpriv", "--reuid=0", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin",
                        VNETSCOPE, "drift", "-n", "3", "--agent", AGENT, "netns:t-plain"],
                       capture_output=True, text=True, timeout=60)
    assert r.returncode == 3 and "enter the network namespace" in r.stderr and "root" in r.stderr, r
    ok(run("lab", "up", "--name", LAB, "--backend", "netns", "-n", "2", "--agent", AGENT))
    text = points(f"lab:{LAB}/vm2")
    assert all(word in text for word in ("up0", "br0", "tapvm2")), text
    for node in ("vm1", "client", "host"):
        assert json.loads(ok(drift(f"lab:{LAB}/{node}")).stdout)["mode"] == "same"
    results = []
    threads = [threading.Thread(target=lambda: results.append(drift(f"lab:{LAB}/vm1")))
               for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for r in results:
        ok(r)


def sentences():
    for spec, word in (("netns:nowhere", "/run/netns/nowhere"), ("netns:a/b", "a/b"),
                       ("netns:", "name"), ("lab:nolab/vm1", "nolab"),
                       (f"lab:{LAB}/vm1", LAB), ("what:ever", "no target")):
        r = drift(spec)
        assert r.returncode in (2, 3), (spec, r)
        assert word in r.stderr and r.stderr.count("\n") == 1, (spec, r)
    ok(run("lab", "up", "--name", LAB, "--backend", "netns", "-n", "1", "--agent", AGENT))
    r = drift(f"lab:{LAB}/vm2")
    assert r.returncode == 3 and "vm2" in r.stderr, r


if __name__ == "__main__":
    if os.geteuid() != 0:
        skip("needs root: makes network namespaces")
    if os.environ.get("VNS_TEST_PRIVATE") != "1":
        os.makedirs("/run/netns", exist_ok=True)
        os.environ["VNS_TEST_PRIVATE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--net", sys.executable, *sys.argv])
    near_side()
    main([namespaces_and_their_wires, lab_nodes, sentences], [LAB])
