#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live `vo` through NAT on the lab's host: nftables masquerades what the guests begin and forwards
ports to vm1, between the uplink and the bridge.

Truth is the kernel's own captures at uplink and guest, paired by the slow reference
(tests/ref/nat_ref.py): the same packets by the same clock, so all are found and latencies are alike to
what the captures' sockets are apart.

usage: test_vo_nat_live.py VNETSCOPE AGENT [CASE...]
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "ref")]
import nat_ref  # noqa: E402
import pcapread  # noqa: E402
from echo import serve, settled, talk  # noqa: E402
from labtest import AGENT, VNETSCOPE, main, ok, run, skip, status, wait_traffic  # noqa: E402
from nettest import same_percentiles  # noqa: E402
from tcpdump import Capture  # noqa: E402

LAB = f"t-nl{os.getpid() % 10**8}"
CLASSES = ("matched", "missing", "ambiguous", "outside_window", "undecodable")
OUT, PEER, GUEST = "10.88.0.1", "10.88.0.9", "10.77.0.11"
RULES = """
table ip t {
  chain pre { type nat hook prerouting priority -100;
    iifname "up0" tcp dport 8080 dnat to 10.77.0.11:80
    iifname "up0" udp dport 5353 dnat to 10.77.0.11:53
  }
  chain post { type nat hook postrouting priority 100; oifname "up0" masquerade; }
}
"""
CLIENTS = """
table ip t {
  chain post { type nat hook postrouting priority 100; oifname "br0" ip saddr 10.88.0.0/24 masquerade; }
}
"""


def node(name, *words, **more):
    return subprocess.run([VNETSCOPE, "lab", "exec", "--name", LAB, name, "--", *words],
                          capture_output=True, text=True, timeout=60, **more)


def up(rules=RULES):
    """A lab whose host routes and translates between uplink and bridge."""
    ok(run("lab", "up", "--name", LAB, "--backend", "netns", "--agent", AGENT, "-n", "2"))
    gateway = next(a["local"] for i in json.loads(ok(node("host", "ip", "-j", "addr")).stdout)
                   if i["ifname"] == "br0" for a in i["addr_info"] if a["family"] == "inet")
    ok(node("host", "sh", "-ec", "ip link set up0 nomaster; ip link set up0 up; ip addr add "
            f"{OUT}/24 dev up0; sysctl -qw net.ipv4.ip_forward=1"))
    ok(node("client", "ip", "addr", "add", PEER + "/24", "dev", "eth0"))
    for vm in ("vm1", "vm2"):
        ok(node(vm, "ip", "route", "replace", "default", "via", gateway))
    if not rules:
        return
    r = node("host", "nft", "-f", "-", input=rules)
    if r.returncode:
        skip("this kernel has no NAT by nftables: " + r.stderr.strip())


def pid_of(name):
    lab = status(LAB)
    return lab["holder_pid"] if name == "host" else \
        next(g["pid"] for g in (lab["client"], *lab["guests"]) if g.get("name", "client") == name)


def net_of(name):
    return f"/proc/{pid_of(name)}/ns/net"


def traffic(pause=0.005, n=3, to=OUT, ports=(8080, 5353), datagrams=60):
    ready, rng = threading.Semaphore(0), random.Random(7)
    servers = [serve(net_of(name), kind, port, ready, n) for name, kind, port in
               (("client", "tcp", 7001), ("client", "udp", 7002), ("vm1", "tcp", 80), ("vm1", "udp", 53))]
    for _ in servers:
        assert ready.acquire(timeout=60)
    clients = [talk(net_of(name), to, kind, port, rng, n, 10, 8000, datagrams, pause)
               for name, to, kind, port in
               (("vm1", PEER, "tcp", 7001), ("vm1", PEER, "udp", 7002),
                ("client", to, "tcp", ports[0]), ("client", to, "udp", ports[1]))]
    for t in clients + servers:
        t.join(60)
        assert not t.is_alive()
    settled(net_of("client"), net_of("vm1"))


class Truth:
    """The kernel's captures at the uplink and in vm1 while `vo` runs."""

    def __init__(self, folder):
        self.at = {name: Capture(net_of(name), ifname, os.path.join(folder, name), 262144)
                   for name, ifname in (("host", "up0"), ("vm1", "eth0"))}

    def packets(self):
        """{name: packets} of both, ended."""
        for c in self.at.values():
            c.stop()
        return {name: pcapread.read(c.path) for name, c in self.at.items()}

    def end(self):
        at = self.packets()
        return nat_ref.Judge(at["host"], at["vm1"], (GUEST,))


def start_vo(*words, seconds=600):
    vo = subprocess.Popen([VNETSCOPE, "vo", f"lab:{LAB}/vm1", "--json", "-t", str(seconds), *words],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_traffic(LAB, vo, 20)
    return vo


def finish(vo, interrupt=True):
    """@interrupt: else it ends by itself."""
    if interrupt:
        vo.send_signal(signal.SIGINT)
    out, err = vo.communicate(timeout=60)
    assert vo.returncode == 0, f"ended with {vo.returncode}: {err}"
    t = json.loads(out)["targets"][0]
    for point, acc in t["accounting"].items():
        assert sum(acc[c] for c in CLASSES) == acc["read"], (point, acc)
    return t


def rules_of(t):
    return {(m["kind"], m["ip_protocol"], m["at_host"]["address"], m["at_guest"]["address"],
             m["at_host"]["port"] if m["kind"] == "forward" else 0,
             m["at_guest"]["port"] if m["kind"] == "forward" else 0) for m in t["nat"]["mappings"]}


def check(t, ref):
    """Every packet of the traffic is matched, with the latency that the kernel's stamps say."""
    assert rules_of(t) == {("masquerade", 6, OUT, GUEST, 0, 0), ("masquerade", 17, OUT, GUEST, 0, 0),
                           ("forward", 6, OUT, GUEST, 8080, 80), ("forward", 17, OUT, GUEST, 5353, 53)}, t["nat"]
    flows = {kind: sum(m["flows"] for m in t["nat"]["mappings"] if m["ip_protocol"] == kind)
             for kind in (6, 17)}
    assert flows == {k: sum(f.proto == k for f in ref.flows.values())
                     for k in (6, 17)}, flows
    check_figures(t, ref.sure, ref.possible)
    assert t["nat"]["translated"] == sum(f[p]["matched"] for f in t["directions"].values() for p in f), t["nat"]
    hops = {(h["from"], h["to"]): h for h in t["hops"]}
    assert hops["uplink", "tap"]["directions"]["host_to_guest"]["udp"]["matched"] > 100, hops.keys()
    assert hops["tap", "guest"]["directions"]["host_to_guest"]["udp"]["matched"] > 100, hops.keys()


def check_figures(t, sure, possible):
    """Pairs (way, protocol, time at the host, in the guest) that must be found and that may be."""
    assert t["from_point"] == "uplink", t["from_point"]
    for way, name in (("h2g", "host_to_guest"), ("g2h", "guest_to_host")):
        for proto in ("tcp", "udp"):
            true = [(b - a) if way == "h2g" else (a - b) for w, p, a, b in sure
                    if (w, p) == (way, proto)]
            most = len({(a if way == "h2g" else b) for w, p, a, b in possible if (w, p) == (way, proto)})
            f = t["directions"][name][proto]
            assert len(true) <= f["matched"] <= most and len(true) > 50, (name, proto, len(true), most, f)
            assert proto == "tcp" or len(true) == most, (len(true), most)  # no two datagrams are alike
            lat = f["latency_ns"]
            # each capture socket reads the clock for itself, so the stamps are some hundred ns apart
            least = min(b - a if way == "h2g" else a - b for w, p, a, b in possible if (w, p) == (way, proto))
            assert least - 5000 < lat["min"] < min(true) + 5000, (lat, least, min(true))
            if len(true) == most:
                same_percentiles(lat, true)
            print(f"     {name} {proto}: {f['matched']} of {most} matched, p50 {lat['p50'] / 1e3:.1f} us, "
                  f"least {lat['min']} ns, by the kernel's own captures {min(true)}")
    for point in ("host", "guest"):
        acc = t["accounting"][point]
        lost = acc["missing_by_protocol"]
        assert lost["tcp"] == lost["udp"] == acc["ambiguous"] == acc["capture_lost"] == 0, (point, acc)


def rules_are_learnt_live():
    up()
    with tempfile.TemporaryDirectory() as tmp:
        truth = Truth(tmp)
        vo = start_vo()
        traffic()
        t = finish(vo)
        check(t, truth.end())
    assert not t["note"], t["note"]


def clients_are_translated_live():
    """
    Towards the guests the host puts its own address in the client's place; what they begin stays as it is.
    The reference is told that the client is the one behind the translation, and its capture the inner one.
    """
    up(CLIENTS)
    ok(node("client", "ip", "route", "replace", "10.77.0.0/24", "via", OUT))
    with tempfile.TemporaryDirectory() as tmp:
        truth = Truth(tmp)
        vo = start_vo()
        traffic(to=GUEST, ports=(80, 53))
        t = finish(vo)
        at = truth.packets()
        ref = nat_ref.Judge(at["vm1"], at["host"], (PEER,))
    hidden = {f.outer[0] for f in ref.flows.values()}
    assert len(hidden) == 1 and rules_of(t) == {("masquerade", kind, PEER, *hidden, 0, 0) for kind in (6, 17)}, \
        (hidden, t["nat"])
    check_figures(t, [("g2h" if w == "h2g" else "h2g", p, b, a) for w, p, a, b in ref.sure],
                  [("g2h" if w == "h2g" else "h2g", p, b, a) for w, p, a, b in ref.possible])


def text_lists_the_rules():
    """As people see it: rules learnt, and the bridge as a part of the way from the uplink."""
    up()
    vo = subprocess.Popen([VNETSCOPE, "vo", f"lab:{LAB}/vm1", "-t", "600"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    wait_traffic(LAB, vo, 20)
    traffic(n=1)
    vo.send_signal(signal.SIGINT)
    out, err = vo.communicate(timeout=60)
    assert vo.returncode == 0, err
    for line in ("NAT, learnt: masqueraded, 10.88.0.1 port ", "NAT, learnt: forwarded, 10.88.0.1 port 8080 at the "
                 "host is 10.77.0.11 port 80 in the guest (IP protocol 6, 1 flows)"):
        assert line in out, out
    shares = {}
    for words in (line.split() for line in out.splitlines()):
        # a share has its percent sign; the rows of the same names in the table of intervals have "LOW..HIGH"
        if words[1:2] == [">"] and "udp" in words and ("%" in words or "%)" in words) \
                and not any(".." in w for w in words):
            shares[words[0]] = words[words.index("%") - 1] if "%" in words else \
                next(w for w in words if w.startswith("("))
    assert shares["bridge"].startswith("("), (shares, out)
    assert abs(float(shares["uplink"]) + float(shares["tap"]) - 100) < 0.2, (shares, out)


def rules_survive_an_epoch():
    """The tap's interface is made anew, and the share changes: the same flows go on, still known."""
    up()
    # Far below what this takes: looking at the rings alone costs more. In the second before the first change and in
    # what is looked at after it there is enough of each flow to know it.
    vo = start_vo("--max-cpu", "0.1%")
    traffic(pause=0.02, n=4, datagrams=600)
    t = finish(vo)
    said = [e["kind"] for e in t["events"]]
    assert "sampling" in said, t["events"]
    acc = t["accounting"]
    assert acc["host"]["matched"] > 20 and t["nat"]["mappings"], (acc, t["nat"])
    udp = [m for m in t["nat"]["mappings"] if m["ip_protocol"] == 17]
    # one flow each way, chosen packet by packet: known before and after, and counted once
    assert sorted((m["kind"], m["flows"]) for m in udp) == [("forward", 1), ("masquerade", 1)], udp
    for point in ("host", "guest"):
        assert acc[point]["missing_by_protocol"]["udp"] == 0, acc


def off_and_on():
    up(rules=None)
    ok(node("client", "sh", "-ec", "ip -4 addr flush dev eth0; ip addr add 10.88.0.9/24 dev eth0; "
            "ip route add 10.77.0.0/24 via 10.88.0.1"))
    for words, strangers, rules in (((), 0, False), (("--nat", "on"), 100, False), ((), 100, True),
                                    (("--nat", "off"), 0, True)):
        if rules and not words:
            ok(node("host", "nft", "-f", "-", input=RULES))
        vo = start_vo("-f", "icmp", *words)  # not what the links' ends say among themselves, whenever they like
        ok(node("client", "ping", "-q", "-c", "50", "-i", "0.01", GUEST))
        ok(node("client", "ping", "-q", "-c", "50", "-i", "0.01", OUT))
        t = finish(vo)
        acc = t["accounting"]["host"]
        # no rules in the kernel: the uplink's other packets are not even read
        assert t["from_point"] == "uplink" and acc["matched"] == 100, (words, acc)
        assert acc["undecodable"] == strangers, (words, acc)
        assert not t["nat"]["mappings"], t["nat"]
        assert ("--nat off spares that" in (t["note"] or "")) == (rules and not words), t["note"]


if os.geteuid() != 0:
    skip("needs root")
for tool in ("nft", "tcpdump", "ip", "nsenter"):
    if not shutil.which(tool):
        skip(f"{tool} is not there")
main([rules_are_learnt_live, clients_are_translated_live, text_lists_the_rules, rules_survive_an_epoch, off_and_on], [LAB])
