#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live capture on a veth pair in two namespaces of our own, against tcpdump on the same device.

Checked: the same packets, stamps within a few microseconds of tcpdump's (both are the kernel's) and each between
those of the packets before and after, directions, the filter, VLAN tags that the kernel takes out, each packet once on loopback, drops
reported when the ring is tiny, an interface that goes away, and all interfaces of a router at once.

usage: test_live.py PKTDUMP VNETSCOPE
"""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from nettest import frozen, inside, remove, sh, veth_pair, wait_capture
from tcpdump import Capture

A, B, C = (f"vnslive{os.getpid()}{x}" for x in "abc")
PER_PROCESSOR = ("-F", "65534", "-B", str(16 << 20))  # VNS_FANOUT_CPU
STAMP_DIFFERENCE_NS = 20_000  # one packet, two sockets, each of which may read the clock for itself

failures = []


def check(what, ok, detail=""):
    print(f"{'ok' if ok else 'FAIL'}: {what} {detail}".rstrip())
    if not ok:
        failures.append(what)


def up():
    veth_pair({A: "10.91.0.1", B: "10.91.0.2"}, ipv6=False)
    sh(*inside(A, "ping", "-c", "1", "-W", "2", "10.91.0.2"))


def down():
    remove(A, B, C)


class Dump:
    """pktdump running on a namespace's device until stop(); its output goes to a file, since a
    full pipe would stop it."""

    def __init__(self, pktdump, *args, ns=A):
        cmd = [pktdump, "-N", f"/run/netns/{ns}", "-t", "200", *args]
        self.out = tempfile.TemporaryFile("w+")
        self.proc = subprocess.Popen(cmd, stdout=self.out, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 60
        while os.fstat(self.out.fileno()).st_size == 0 and time.monotonic() < end and self.proc.poll() is None:
            time.sleep(0.01)  # until the header says that the socket is open

    def stop(self, interrupt=True):
        if interrupt:
            time.sleep(0.15)  # longer than the ring holds packets back
            self.proc.send_signal(signal.SIGINT)
        _, err = self.proc.communicate(timeout=60)
        self.out.seek(0)
        rows = [line.rstrip("\n").split("\t") for line in self.out][1:]
        stats = {k: int(v) for k, v in re.findall(r"(\w+) (\d+)", err.split("\n")[0])}
        return rows, stats, err


def send_udp(ns, count, size, dst=("10.91.0.2", 9), gap=0.0):
    """Datagrams from @ns, sent by a child that enters the namespace."""
    code = (f"import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
            f"for i in range({count}):\n s.sendto(i.to_bytes(4,'big')+bytes({size}-4),{dst})\n"
            f" time.sleep({gap}) if {gap} else None\n")
    sh(*inside(ns, sys.executable, "-c", code))


@contextlib.contextmanager
def one_processor():
    """Whatever is started in here runs on one processor, and so does what the kernel does with its packets."""
    all_of = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_of)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of)


def against_tcpdump(pktdump, tmp):
    path = f"{tmp}/t.pcap"
    td = Capture(A, "v0", path, 128, "icmp or udp")
    d = Dump(pktdump, "-i", "v0", "-f", "icmp or udp")  # ARP comes when it will, also before the second starts
    with one_processor():  # on two, a packet of each way at once may come to one socket first and to the other last
        sh(*inside(A, "ping", "-q", "-c", "50", "-i", "0.01", "10.91.0.2"))
        send_udp(A, 500, 200, gap=0.0002)
        send_udp(B, 500, 60, ("10.91.0.1", 9), gap=0.0002)
    rows, stats, _ = d.stop()
    td.stop()
    out = subprocess.run([pktdump, path], capture_output=True, text=True, check=True)
    theirs = [line.split("\t") for line in out.stdout.splitlines()[1:]]
    key = lambda r: r[2:24] + r[25:28]  # all but time, point and flags
    for r in rows + theirs if len(rows) != len(theirs) else ():
        if list(map(key, rows)).count(key(r)) != list(map(key, theirs)).count(key(r)):
            print("    not the same number of times:", *r)
    check("as many packets as tcpdump", len(rows) == len(theirs) >= 1100,
          f"({len(rows)}, {len(theirs)})")
    check("the same packets in the same order", [key(r) for r in rows] == [key(r) for r in theirs])
    diffs = sorted(abs(int(a[0]) - int(b[0])) for a, b in zip(rows, theirs))
    # Between its two readings a machine may give the processor away for as long as it likes; the next packet is not
    # under way before both.
    check("stamps as tcpdump's", diffs[len(diffs) // 2] <= STAMP_DIFFERENCE_NS,
          f"(median {diffs[len(diffs) // 2]} ns, largest {diffs[-1]} ns apart)")
    crossed = [i for i in range(len(rows) - 1) if len(rows) == len(theirs) and
               (int(rows[i][0]) >= int(theirs[i + 1][0]) or int(theirs[i][0]) >= int(rows[i + 1][0]))]
    check("... each before tcpdump's of the next packet, and after that of the one before", not crossed, f"{crossed[:5]}")
    check("nothing dropped", stats["dropped"] == 0)
    now = time.time_ns()
    check("stamps are of the real-time clock", all(0 < now - int(r[0]) < 60e9 for r in rows))
    wrong = [r for r in rows if r[4] and bool(int(r[24], 16) & 0x20) != (r[4] == "10.91.0.1")]
    check("sent packets are marked so", not wrong)


def filters_and_snap(pktdump):
    d = Dump(pktdump, "-i", "v0", "-f", "icmp[0] = 8 or icmp[0] = 0", "-s", "60")
    sh(*inside(A, "ping", "-q", "-c", "5", "-i", "0.01", "10.91.0.2"))
    send_udp(A, 20, 100)
    rows, _, _ = d.stop()
    check("the filter holds", len(rows) == 10 and all(r[3] == "icmp" for r in rows))
    check("the snap length holds", all(r[26] == "60" and r[25] == "98" for r in rows))


def vlan(pktdump):
    """Tagged frames from a raw socket; the receiving side's kernel takes the tag out."""
    frame = ("bytes.fromhex('ffffffffffff020000000001810060050800"
             "4500002000010000401100000a5b00010a5b0002"
             "9c409c41000c0000')+b'abcd'+bytes(20)")
    d = Dump(pktdump, "-i", "v1", "-f", "udp port 40001", ns=B)
    sh(*inside(A, sys.executable, "-c",
               "import socket\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\n"
               f"s.bind(('v0',0))\nfor i in range(3): s.send({frame})"))
    rows, _, _ = d.stop()
    check("VLAN tags that the kernel took out", len(rows) == 3 and all(
        r[22] == "5" and int(r[24], 16) & 8 and r[14] == "4" for r in rows),
        f"({len(rows)} packets)")


def loopback(pktdump):
    d = Dump(pktdump, "-i", "lo")
    sh(*inside(A, "ping", "-q", "-c", "5", "-i", "0.01", "127.0.0.1"))
    rows, _, _ = d.stop()
    check("each packet once on loopback", len(rows) == 10, f"({len(rows)})")


def tiny_ring(pktdump):
    d = Dump(pktdump, "-i", "v0", "-f", "udp", "-B", "8192", "-q")
    with frozen(d.proc.pid):
        send_udp(A, 2000, 1000)
    _, stats, _ = d.stop()
    check("a tiny ring reports its drops", stats["dropped"] > 0 and
          stats["frames"] + stats["dropped"] == 2000,
          f"({stats['frames']} read, {stats['dropped']} dropped)")


def going_down(pktdump, *how):
    d = Dump(pktdump, "-i", "v1", "-f", "udp", *how, ns=B)
    send_udp(A, 10, 100)
    sh("ip", "-n", B, "link", "set", "v1", "down")
    rows, _, err = d.stop(interrupt=False)
    check("what came before is handed out", len(rows) == 10, f"({len(rows)})")
    check("going down is said", "v1 went down" in err, err.strip().split("\n")[-1])
    sh("ip", "-n", B, "link", "set", "v1", "up")


def going_away(pktdump):
    d = Dump(pktdump, "-i", "v1", "-f", "udp", ns=B)
    sh("ip", "-n", B, "link", "del", "v1")
    _, _, err = d.stop(interrupt=False)
    check("removal is said", "v1 was removed" in err, err.strip().split("\n")[-1])
    r = subprocess.run([pktdump, "-N", f"/run/netns/{B}", "-i", "v1"], capture_output=True,
                       text=True, check=False)
    check("no such interface", r.returncode == 3 and "no interface v1" in r.stderr)


def shared_out(pktdump):
    """Two captures of one fanout number: every packet in one, both directions of a flow in the same."""
    number = str(os.getpid() % 65533 + 1)  # those above have another meaning
    dumps = [Dump(pktdump, "-i", "v0", "-F", number, "-f", "udp") for _ in range(2)]
    echo = subprocess.Popen(inside(B, sys.executable, "-c", "import socket\n"
                                   "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
                                   "s.bind(('10.91.0.2',7007)); print('up',flush=True)\n"
                                   "while True: s.sendto(*s.recvfrom(99))"),
                            stdout=subprocess.PIPE)
    echo.stdout.readline()
    sh(*inside(A, sys.executable, "-c", "import socket\n"
               "for i in range(200):\n s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
               " for k in range(2):\n  s.sendto(bytes(40),('10.91.0.2',7007)); s.recv(99)"))
    echo.kill()
    echo.communicate()
    rows = [d.stop()[0] for d in dumps]
    flows = [{r[28] for r in part} for part in rows]
    check("captures of one fanout number see every packet once", sum(map(len, rows)) == 800,
          f"({len(rows[0])} + {len(rows[1])})")
    check("... both have a share, and every flow is in one alone",
          all(len(f) > 40 for f in flows) and not flows[0] & flows[1] and
          len(flows[0] | flows[1]) > 150, f"({len(flows[0])}, {len(flows[1])} flows)")


def by_threads(pktdump):
    """Two threads with a socket each: the same packets, in the order of time."""
    one = Dump(pktdump, "-i", "v0", "-f", "udp")
    two = Dump(pktdump, "-i", "v0", "-f", "udp", "-j", "2")
    for _ in range(3):
        send_udp(A, 2000, 60)
    send_udp(B, 300, 60, ("10.91.0.1", 9), gap=0.0002)
    time.sleep(0.6)  # merged packets come later
    (rows, _, _), (merged, stats, _) = one.stop(), two.stop()
    times = [int(r[0]) for r in merged]
    check("two threads give the same packets as one",
          sorted(r[1:] for r in rows) == sorted(r[1:] for r in merged) and len(rows) == 6300,
          f"({len(rows)}, {len(merged)})")
    check("... in the order of time", times == sorted(times) and stats["backwards"] == 0)


def by_processors(pktdump):
    """A socket for each processor: the same packets, in the order of time, sent from all at once."""
    one = Dump(pktdump, "-i", "v0", "-f", "udp")
    each = Dump(pktdump, "-i", "v0", "-f", "udp", *PER_PROCESSOR)
    code = ("import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
            "for i in range(3000):\n s.sendto(i.to_bytes(4,'big')+bytes(56),('10.91.0.2',9))\n"
            " if i % 50 == 0: time.sleep(0.002)\n")
    senders = [subprocess.Popen(["taskset", "-c", str(cpu), *inside(A, sys.executable, "-c", code)])
               for cpu in sorted(os.sched_getaffinity(0))[:2]]
    for p in senders:
        p.wait()
    time.sleep(0.3)  # merged packets come later
    (rows, _, _), (merged, stats, _) = one.stop(), each.stop()
    times = [int(r[0]) for r in merged]
    check("a socket for each processor gives the same packets as one",
          sorted(r[1:] for r in rows) == sorted(r[1:] for r in merged) and
          len(rows) == 3000 * len(senders), f"({len(rows)}, {len(merged)})")
    check("... in the order of time", times == sorted(times) and stats["backwards"] == 0)


def a_router():
    """A - v1 B w0 - C, B forwards. Return: the indices of v1 and w0."""
    sh("ip", "netns", "add", C)
    sh("ip", "-n", B, "link", "add", "w0", "type", "veth", "peer", "name", "w1", "netns", C)
    for ns, dev, address in ((B, "w0", "10.93.0.1"), (C, "w1", "10.93.0.2")):
        sh(*inside(ns, "sysctl", "-qw", "net.ipv4.ip_forward=1",
                   "net.ipv6.conf.all.disable_ipv6=1"))
        sh("ip", "-n", ns, "addr", "add", address + "/24", "dev", dev)
        sh("ip", "-n", ns, "link", "set", dev, "up")
    sh("ip", "-n", A, "route", "add", "10.93.0.0/24", "via", "10.91.0.2")
    sh("ip", "-n", C, "route", "add", "10.91.0.0/24", "via", "10.93.0.1")
    sh(*inside(A, "ping", "-c", "1", "-W", "2", "10.93.0.2"))
    return [str(json.loads(subprocess.run(
        ["ip", "-n", B, "-j", "link", "show", "dev", dev], text=True, check=True,
        capture_output=True).stdout)[0]["ifindex"]) for dev in ("v1", "w0")]


def forwarded_traffic():
    sh(*inside(A, "ping", "-q", "-c", "50", "-i", "0.005", "10.93.0.2"))
    sh(*inside(B, "ping", "-q", "-c", "5", "-i", "0.005", "127.0.0.1"))
    send_udp(A, 30, 100, ("10.93.0.2", 9))
    sh(*inside(A, sys.executable, "-c",  # tagged: the kernel takes the tag out of the bytes
               "import socket\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(('v0',0))\n"
               "for i in range(3): s.send(bytes.fromhex('ffffffffffff020000000001810060050800'"
               "'4500002000010000401100000a5b00010a5b00029c409c41000c0000')+b'abcd'+bytes(20))"))


def all_interfaces(pktdump, index):
    """What "any" sees at each interface is what a capture on that interface alone sees."""
    names, filt = ("v1", "w0", "lo"), "ip and (icmp or udp)"
    every = [Dump(pktdump, "-i", "any", "-f", filt, *more, ns=B) for more in ([], ["-j", "2"])]
    single = [Dump(pktdump, "-i", dev, "-f", filt, ns=B) for dev in names]
    forwarded_traffic()
    time.sleep(0.6)  # merged packets come later
    alone = [d.stop()[0] for d in single]
    # all but point and the lengths, in which the link header counts
    seen = lambda rows: sorted(r[:1] + r[2:25] + r[27:] for r in rows)
    for threads, rows in enumerate([d.stop()[0] for d in every], 1):
        for dev, number, own in zip(names, [*index, "1"], alone):
            at = [r for r in rows if r[1] == number]
            check(f"any, {threads} thread(s): {dev} as by itself, in every field and stamp",
                  seen(at) == seen(own) and len(at) >= 10, f"({len(at)}, {len(own)})")
        check(f"any, {threads} thread(s): nothing else", len(rows) == sum(map(len, alone)))
    check("... tags that the kernel took out among them", any(r[22] == "5" for r in alone[0]))


def rtt_on_any(pktdump, vnetscope, index):
    """A forwarded packet passes two interfaces: two points with figures of their own."""
    p = subprocess.Popen(inside(B, vnetscope, "rtt", "-i", "any", "--json", "-d", "200", "icmp"),
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_capture(B, 60)
    sh(*inside(A, "ping", "-q", "-c", "40", "-i", "0.005", "10.93.0.2"))
    time.sleep(0.2)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    doc = json.loads(out)
    points = {x["name"]: x for x in doc["totals"]["points"]}
    samples = {n: x["methods"]["icmp"]["samples"] for n, x in points.items()}
    check("rtt -i any has a point for each interface, with its name, each round trip once there",
          samples == {"v1": 40, "w0": 40} and
          [str(points[n]["point"]) for n in ("v1", "w0")] == index, f"({samples})")
    check("... and does not call them doubled", not doc["accounting"].get("seems_doubled") and
          "twice" not in err)
    for more, word in ((["-p"], "promiscuous"), (["--capture", "ebpf"], "one interface")):
        r = subprocess.run(inside(B, vnetscope, "rtt", "-i", "any", *more), capture_output=True,
                           text=True, check=False, timeout=20)
        check(f"rtt -i any {' '.join(more)} is refused in one sentence",
              r.returncode == 2 and word in r.stderr and r.stderr.count("\n") == 1, r.stderr.strip())


def rtt_reads_what_came_before_its_end(vnetscope):
    """The process has no processor from before the packets until after Ctrl-C: they are in its ring all the same."""
    for more in ([], ["-j", "2"]):
        p = subprocess.Popen(inside(B, vnetscope, "rtt", "-i", "v1", "--json", "-d", "200", *more, "icmp"),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            wait_capture(B, 60)
            with frozen(p.pid):
                sh(*inside(A, "ping", "-q", "-c", "40", "-i", "0.005", "10.91.0.2"))
                p.send_signal(signal.SIGINT)
            out, _ = p.communicate(timeout=60)
        finally:
            p.kill()
        doc = json.loads(out)
        n = doc["totals"].get("methods", {}).get("icmp", {}).get("samples", 0)
        check(f"rtt {' '.join(more)} reads what came before it was interrupted",
              (n, doc["accounting"]["capture_lost"]) == (40, 0), f"({n} samples)")


def main():
    if os.geteuid() != 0:
        print("SKIP: needs root for namespaces")
        return 77
    for program in ("ip", "nsenter", "ping", "tcpdump", "sysctl", "taskset"):
        if not shutil.which(program):
            print(f"SKIP: {program} is not installed")
            return 77
    try:
        up()
    except subprocess.CalledProcessError as e:
        down()
        print(f"SKIP: cannot make namespaces: {e.stderr.strip()}")
        return 77
    try:
        with tempfile.TemporaryDirectory(prefix="vns-live-") as tmp:
            against_tcpdump(sys.argv[1], tmp)
            shared_out(sys.argv[1])
            by_threads(sys.argv[1])
            by_processors(sys.argv[1])
        filters_and_snap(sys.argv[1])
        vlan(sys.argv[1])
        loopback(sys.argv[1])
        tiny_ring(sys.argv[1])
        rtt_reads_what_came_before_its_end(sys.argv[2])
        index = a_router()
        all_interfaces(sys.argv[1], index)
        rtt_on_any(sys.argv[1], sys.argv[2], index)
        going_down(sys.argv[1])
        going_down(sys.argv[1], *PER_PROCESSOR)
        going_away(sys.argv[1])
    finally:
        for c in Capture.running:
            c.p.kill()
        down()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
