#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The eBPF source on a veth pair in namespaces of our own, beside AF_PACKET on the same device.

Checked, for TCX links and for tc filters: the same packets in the same order field by field (also
VLAN tags that the kernel keeps outside of the bytes, superframes, fragments, loopback once), a
filter, losses counted when the ring is tiny, an interface that goes away; that filters of others
still run and stay, that nothing of ours stays on exit, that what kill -9 leaves is removed by
the next start and only that, also beside a limit, and that an ingress qdisc of others is named and
left alone; that nothing is seen before both directions can be.

usage: test_ebpf_live.py PKTDUMP VNETSCOPE
"""
import collections
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

from nettest import frozen, inside, remove, sh, veth_pair

A, B = f"vnsebpf{os.getpid()}a", f"vnsebpf{os.getpid()}b"
failures = []


def check(what, ok, detail=""):
    print(f"{'ok' if ok else 'FAIL'}: {what} {detail}".rstrip(), flush=True)
    if not ok:
        failures.append(what)


def up():
    veth_pair({A: "10.92.0.1", B: "10.92.0.2"})
    for ns, dev, n in ((A, "v0", 1), (B, "v1", 2)):
        sh("ip", "-n", ns, "addr", "add", f"fd92::{n}/64", "dev", dev, "nodad")
    sh(*inside(A, "ping", "-c", "1", "-W", "2", "10.92.0.2"))
    sh(*inside(A, "ping", "-c", "20", "-i", "0.2", "-w", "5", "-q", "fd92::2"), fail=False)


def down():
    remove(A, B)


class Dump:
    """pktdump on a namespace's device; its output goes to a file, since a full pipe would stop it."""

    def __init__(self, *args, ns=A, dev="v0"):
        self.out = tempfile.TemporaryFile("w+")
        self.proc = subprocess.Popen([sys.argv[1], "-N", f"/run/netns/{ns}", "-t", "200", "-i", dev,
                                      *args], stdout=self.out, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 60
        while os.fstat(self.out.fileno()).st_size == 0 and time.monotonic() < end and \
                self.proc.poll() is None:
            time.sleep(0.01)  # until the header says that it captures

    def rows(self):
        """Written so far, by whole blocks of the program's."""
        return os.pread(self.out.fileno(), os.fstat(self.out.fileno()).st_size, 0).count(b"\n")

    def stop(self, sig=signal.SIGINT):
        time.sleep(0.2)  # longer than packets are held back
        if sig:
            self.proc.send_signal(sig)
        _, err = self.proc.communicate(timeout=60)
        self.out.seek(0)
        rows = [line.rstrip("\n").split("\t") for line in self.out][1:]
        stats = {k: int(v) for k, v in re.findall(r"(\w+) (\d+)", err.split("\n")[0])}
        return rows, stats, err


TRAFFIC = """
import socket, sys, threading, time
def udp(dst, port, size, n, family=socket.AF_INET):
    s = socket.socket(family, socket.SOCK_DGRAM)
    for i in range(n):
        s.sendto((bytes([i * 37 % 256]) + i.to_bytes(4, "big") + bytes(size))[:size], (dst, port))
for size in (0, 1, 20, 24, 25, 200, 1472, 4000):
    udp("10.92.0.2", 9999, size, 4)
udp("10.92.0.2", 53, 40, 4); udp("10.92.0.2", 443, 60, 8)
udp("fd92::2", 9999, 100, 5, socket.AF_INET6)
udp("fd92::2", 9999, 3000, 2, socket.AF_INET6)
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("v0", 0))
ip = bytes.fromhex("4500002d12340000401100000a5d00010a5d0002" "1234270f00190000") + bytes(17)
for tags in ("81000007", "88a8000981000007", "88a80009810000078100000b"):
    for i in range(3):
        raw.send(bytes.fromhex("ff" * 6 + "02" * 6 + tags + "0800") + ip)
"""
SERVER = """
import socket
s = socket.create_server(("10.92.0.2", 7001)); print("up", flush=True)
c, _ = s.accept()
n = 0
while True:
    d = c.recv(65536)
    if not d: break
    n += len(d)
c.sendall(b"x" * 1000); c.close()
"""
CLIENT = """
import socket
c = socket.create_connection(("10.92.0.2", 7001))
for i in range(40): c.sendall(bytes(100000))
c.shutdown(socket.SHUT_WR)
while c.recv(65536): pass
"""


def traffic():
    server = subprocess.Popen(inside(B, sys.executable, "-c", SERVER), stdout=subprocess.PIPE)
    server.stdout.readline()
    sh(*inside(A, sys.executable, "-c", TRAFFIC))
    sh(*inside(A, sys.executable, "-c", CLIENT))
    for dst in ("10.92.0.2", "fd92::2"):
        sh(*inside(A, "ping", "-q", "-c", "30", "-i", "0.005", dst))
    sh(*inside(A, "ping", "-q", "-c", "2", "-s", "3000", "10.92.0.2"))
    server.wait(timeout=60)


def same_packets(how):
    """All fields but time and, as TCP's stack may be quicker on another core, the exact order."""
    kernel, packet = Dump("-c", how, ns=B, dev="v1"), Dump("-c", "afpacket", ns=B, dev="v1")
    traffic()
    rows, stats, _ = kernel.stop()
    theirs, _, _ = packet.stop()
    # ARP and neighbour discovery come when they will, also between the two starts
    rows, theirs = ([r for r in x if r[17] not in ("133", "134", "135", "136", "143") and
                     r[2] != "not_ip"] for x in (rows, theirs))
    sent = [r[1:] for r in rows if int(r[24], 16) & 0x20], \
        [r[1:] for r in theirs if int(r[24], 16) & 0x20]
    got = [r[1:] for r in rows if not int(r[24], 16) & 0x20], \
        [r[1:] for r in theirs if not int(r[24], 16) & 0x20]
    for what, (ours, other) in (("sent", sent), ("received", got)):
        check(f"{how}: the same packets {what} as by AF_PACKET, in every field",
              sorted(ours) == sorted(other) and len(ours) > 100, f"({len(ours)}, {len(other)})")
        ours, other = (collections.Counter(map(tuple, x)) for x in (ours, other))
        for side, rest in (("eBPF only", ours - other), ("AF_PACKET only", other - ours)):
            for r in list(rest)[:4]:
                print(f"    {side}:", *r)
    check(f"{how}: nothing lost", stats["dropped"] == 0)
    check(f"{how}: VLAN tags, fragments and IPv6 were among them",
          any(r[22] == "7" for r in rows) and stats["fragment"] > 4 and
          any(":" in r[4] for r in rows))
    late = sorted(int(a[0]) - int(b[0]) for a, b in zip(
        [r for r in rows if not int(r[24], 16) & 0x20],
        [r for r in theirs if not int(r[24], 16) & 0x20]))
    check(f"{how}: stamps of what is received agree with the kernel's own",
          -20_000 < late[len(late) // 2] < 200_000,
          f"(median {late[len(late) // 2]} ns later)")


def common_start(how):
    """Hooks are hung one after the other; nothing may be seen that only the first could see.
    Return: how many packets passed in between."""
    flood = subprocess.Popen(inside(B, "ping", "-q", "-f", "10.92.0.1"), stdout=subprocess.DEVNULL)
    time.sleep(0.2)
    d = Dump("-c", how, "-f", "icmp")
    end = time.monotonic() + 60
    while d.rows() < 400 and time.monotonic() < end:
        time.sleep(0.05)
    flood.send_signal(signal.SIGINT)
    flood.wait(timeout=60)
    rows, stats, _ = d.stop()
    asked = [r[20] for r in rows if r[17] == "8"]
    answered = {r[20] for r in rows if r[17] == "0"}
    missing = [i for i, n in enumerate(asked) if n not in answered]
    check(f"{how}: every request seen is seen to be answered, from the first",
          len(asked) > 100 and not missing, f"({len(asked)} requests, without answer: {missing[:5]})")
    return stats["early"]


def filters(how):
    d = Dump("-c", how, "-f", "udp port 9999 and not vlan")
    traffic()
    rows, stats, _ = d.stop()
    check(f"{how}: the filter leaves only what it names",
          len(rows) > 30 and all(r[3] == "udp" and "9999" in (r[5], r[7]) for r in rows),
          f"({len(rows)} packets)")


def loopback():
    d = Dump("-c", "ebpf", "-f", "icmp", dev="lo")
    sh(*inside(A, "ping", "-q", "-c", "5", "-i", "0.01", "127.0.0.1"))
    rows, _, _ = d.stop()
    check("each packet once on loopback", len(rows) == 10, f"({len(rows)})")


def bare_device():
    """A device without link header (a tun); skipped where none can be made."""
    made = sh("ip", "-n", A, "tuntap", "add", "tun9", "mode", "tun", fail=False)
    check("a tun device can be made", made == "")
    sh("ip", "-n", A, "addr", "add", "10.94.0.1/24", "dev", "tun9")
    sh("ip", "-n", A, "link", "set", "tun9", "up")
    d = Dump("-c", "ebpf", "-f", "ip", dev="tun9")
    check("a device without link header can be captured on", d.proc.poll() is None)
    _, stats, _ = d.stop()
    check("... and nothing malformed is seen", stats.get("malformed") == 0)
    sh("ip", "-n", A, "link", "del", "tun9")


def small_ring():
    d = Dump("-c", "ebpf", "-B", "65536", "-f", "udp")
    code = ("import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
            "for i in range(3000): s.sendto(bytes(50),('10.92.0.2',9))\n")
    with frozen(d.proc.pid):
        sh(*inside(A, sys.executable, "-c", code))
    rows, stats, _ = d.stop()
    check("what found no room in the ring is counted as dropped",
          stats["dropped"] > 1000 and len(rows) + stats["dropped"] == 3000,
          f"({len(rows)} + {stats['dropped']})")


def gone():
    sh("ip", "-n", A, "link", "add", "d0", "type", "veth", "peer", "name", "d1")
    sh("ip", "-n", A, "link", "set", "d0", "up")
    d = Dump("-c", "ebpf", dev="d0")
    sh("ip", "-n", A, "link", "set", "d0", "down")
    _, _, err = d.stop(sig=None)
    check("an interface that goes down is named", "d0 went down" in err, err.strip().split(chr(10))[-1])
    sh("ip", "-n", A, "link", "set", "d0", "up")
    d = Dump("-c", "ebpf", dev="d0")
    sh("ip", "-n", A, "link", "del", "d0")
    _, _, err = d.stop(sig=None)
    check("a removed interface is named", "d0 was removed" in err, err.strip().split(chr(10))[-1])


def tc_state():
    return sh("tc", "-n", A, "qdisc", "show", "dev", "v0"), \
        sh("tc", "-n", A, "filter", "show", "dev", "v0", "ingress"), \
        sh("tc", "-n", A, "filter", "show", "dev", "v0", "egress")


def clean_up():
    before = tc_state()
    Dump("-c", "tc").stop()
    check("tc: qdisc and filters are gone on exit", tc_state() == before)
    Dump("-c", "tc").stop(sig=signal.SIGKILL)
    left = tc_state()
    check("tc: kill -9 leaves filters behind", "vns_in" in left[1] and "vns_out" in left[2])
    d = Dump("-c", "tc")
    second = Dump("-c", "tc")
    check("tc: the next start removes them, two captures stand beside each other",
          tc_state()[1].count("vns_in:") == 2 and tc_state()[2].count("vns_out:") == 2)
    third_state = second.stop()[0], tc_state()
    check("tc: the end of one leaves the other", third_state[1][1].count("vns_in:") == 1)
    d.stop()
    check("tc: no filter of ours stays", "vns_" not in "".join(tc_state()))
    sh("tc", "-n", A, "qdisc", "del", "dev", "v0", "clsact")


def others():
    """A filter of somebody else drops some packets behind ours: it still does, and stays."""
    sh("tc", "-n", A, "qdisc", "add", "dev", "v0", "clsact")
    # classic BPF of one instruction: return TC_ACT_SHOT
    sh("tc", "-n", A, "filter", "add", "dev", "v0", "egress", "pref", "20", "bpf", "bytecode",
       "1,6 0 0 2", "direct-action")
    before = tc_state()
    for how in ("tcx", "tc"):
        inner = Dump("-f", "udp port 7777", ns=B, dev="v1")
        d = Dump("-c", how, "-f", "udp port 7777")
        sh(*inside(A, sys.executable, "-c", "import socket\ns=socket.socket(socket.AF_INET,"
                   "socket.SOCK_DGRAM)\nfor i in range(10): s.sendto(b'x',('10.92.0.2',7777))"))
        rows, _, _ = d.stop()
        through, _, _ = inner.stop()
        check(f"{how}: another's filter still drops behind ours", len(rows) == 10 and not through,
              f"({len(rows)}, {len(through)})")
        check(f"{how}: and stays as it was",
              re.sub(r"\d+ bytes.*|Sent.*", "", str(tc_state())) ==
              re.sub(r"\d+ bytes.*|Sent.*", "", str(before)))
    sh("tc", "-n", A, "qdisc", "del", "dev", "v0", "clsact")
    sh("tc", "-n", A, "qdisc", "add", "dev", "v0", "ingress")
    before = tc_state()
    d = Dump("-c", "tc")
    _, _, err = d.stop(sig=None)
    check("tc: an ingress qdisc of others is named and left alone",
          "v0 has an ingress qdisc" in err and tc_state() == before, err.strip().split(chr(10))[-1])
    rows, _, _ = Dump("-c", "tcx").stop()
    check("tcx: it does not stand in the way of links", tc_state() == before)
    sh("tc", "-n", A, "qdisc", "del", "dev", "v0", "ingress")


def match_all(*where):
    """Somebody's filter that takes every packet; matchall where the kernel has it."""
    redirect = ("action", "mirred", "egress", "redirect", "dev", "ifb9")
    base = ("tc", "-n", A, "filter", "add", *where, "protocol", "all")
    return "matchall" if subprocess.run([*base, "matchall", *redirect], capture_output=True,
                                        check=False).returncode == 0 else \
        sh(*base, "u32", "match", "u32", "0", "0", *redirect) or "u32"


def shaped_by(dev):
    return json.loads(sh("ip", "-n", A, "-s", "-j", "link", "show", "dev", dev))[0][
        "stats64"]["tx"]["packets"]


def limits():
    """A limit in both directions, as tc makes it: a shaper at the root for what v0 sends; for what
    it receives a filter that takes all in a clsact qdisc, to another device with a shaper."""
    sh("ip", "-n", A, "link", "add", "ifb9", "type", "ifb")
    sh("ip", "-n", A, "link", "set", "ifb9", "up")
    for dev in ("v0", "ifb9"):
        sh("tc", "-n", A, "qdisc", "add", "dev", dev, "root", "tbf", "rate", "50mbit", "burst",
           "64kb", "latency", "50ms")
    sh("tc", "-n", A, "qdisc", "add", "dev", "v0", "clsact")
    kind = match_all("dev", "v0", "ingress", "pref", "20")
    before = tc_state()

    def goes_on(what, how):
        d = Dump("-c", how, "-f", "icmp and ip")
        shaped = shaped_by("ifb9")
        sh(*inside(A, "ping", "-q", "-c", "20", "-i", "0.005", "10.92.0.2"))
        rows, _, _ = d.stop()
        shaped = shaped_by("ifb9") - shaped
        check(f"{how}: {what}: each packet once, and {kind} still sends all that comes through the "
              "limit", len(rows) == 40 and shaped >= 20, f"({len(rows)} packets, {shaped} limited)")

    for how in ("tcx", "tc"):
        goes_on("beside a limit", how)
        check(f"{how}: the limit is as it was", tc_state() == before)
    Dump("-c", "tc").stop(sig=signal.SIGKILL)
    left = tc_state()
    check("tc: kill -9 leaves our filters beside the limit's", "vns_in" in left[1] and
          f"pref 20 {kind}" in left[1])
    goes_on("after a kill", "tc")
    check("tc: the next start removed ours, and the limit is as it was", tc_state() == before)
    for dev in ("v0", "ifb9"):
        sh("tc", "-n", A, "qdisc", "del", "dev", dev, "root")
    sh("tc", "-n", A, "qdisc", "del", "dev", "v0", "clsact")
    sh("ip", "-n", A, "link", "del", "ifb9")


def rtt_command():
    server = subprocess.Popen(inside(B, sys.executable, "-c", SERVER), stdout=subprocess.PIPE)
    server.stdout.readline()
    with tempfile.TemporaryFile("w+") as out:
        p = subprocess.Popen(inside(A, sys.argv[2], "rtt", "-i", "v0", "-d", "200", "--json", "--samples",
                                    "--capture", "ebpf"), stdout=out, text=True, stderr=subprocess.PIPE)
        ping = subprocess.Popen(inside(A, "ping", "-q", "-i", "0.05", "10.92.0.2"), stdout=subprocess.DEVNULL)

        def samples():
            out.seek(0)
            return [line for line in out if '"rtt_ns"' in line]
        end = time.monotonic() + 60
        while not samples() and p.poll() is None and time.monotonic() < end:
            time.sleep(0.05)  # until its programs hang
        sh(*inside(A, sys.executable, "-c", CLIENT))
        ping.terminate()
        ping.wait()
        p.send_signal(signal.SIGINT)
        err = p.communicate(timeout=60)[1]
        server.wait(timeout=60)
        tcp = [s for s in map(json.loads, samples()) if 7001 in (s.get("sport"), s.get("dport"))]
        check("rtt --capture ebpf finds samples", p.returncode == 0 and tcp,
              f"({len(tcp)}) {err.strip()[-100:]}")


def main():
    if os.geteuid() != 0 or not hasattr(socket, "AF_PACKET"):
        print("SKIP: needs root")
        return 77
    try:
        up()
        probe = Dump("-c", "ebpf")
        if probe.proc.poll() is not None:
            print("SKIP:", probe.stop(sig=None)[2].strip().splitlines()[-1])
            return 77
        probe.stop()
        for how in ("tcx", "tc"):
            same_packets(how)
            early = [common_start(how) for _ in range(3)]
            # tc hangs them within microseconds; TCX waits for all processors in between. Whether the flood has one
            # just then is chance where others want it too.
            while how == "tcx" and not any(early) and len(early) < 20:
                early.append(common_start(how))
            check(f"{how}: what passed while the hooks were being hung is counted",
                  how == "tc" or any(early), f"({early})")
            filters(how)
        loopback()
        bare_device()
        small_ring()
        gone()
        clean_up()
        others()
        limits()
        rtt_command()
    finally:
        down()
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
