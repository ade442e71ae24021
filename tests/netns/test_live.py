#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live capture on a veth pair in two namespaces of our own, against tcpdump on the same device.

Checked: the same packets, stamps within a few microseconds of tcpdump's (both are the kernel's),
directions, the filter, VLAN tags that the kernel takes out, each packet once on loopback, drops
reported when the ring is tiny, and an interface that goes away.

usage: test_live.py PKTDUMP
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

A, B = f"vnslive{os.getpid()}a", f"vnslive{os.getpid()}b"
MAX_STAMP_DIFFERENCE_NS = 20_000  # one packet, two sockets: one stamp when both ask for it

failures = []


def check(what, ok, detail=""):
    print(f"{'ok' if ok else 'FAIL'}: {what} {detail}".rstrip())
    if not ok:
        failures.append(what)


def sh(*cmd):
    subprocess.run(cmd, check=True, capture_output=True, text=True, timeout=30)


def inside(ns, *cmd):
    return ["nsenter", f"--net=/run/netns/{ns}", *cmd]


def up():
    for ns in (A, B):
        sh("ip", "netns", "add", ns)
        sh("ip", "-n", ns, "link", "set", "lo", "up")
        sh(*inside(ns, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"))
    sh("ip", "-n", A, "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", B)
    sh("ip", "-n", A, "addr", "add", "10.91.0.1/24", "dev", "v0")
    sh("ip", "-n", B, "addr", "add", "10.91.0.2/24", "dev", "v1")
    sh("ip", "-n", A, "link", "set", "v0", "up")
    sh("ip", "-n", B, "link", "set", "v1", "up")
    sh(*inside(A, "ping", "-c", "1", "-W", "2", "10.91.0.2"))


def down():
    for ns in (A, B):
        subprocess.run(["ip", "netns", "del", ns], capture_output=True, check=False)


class Dump:
    """pktdump running on a namespace's device until stop(); its output goes to a file, since a
    full pipe would stop it."""

    def __init__(self, pktdump, *args, ns=A):
        cmd = [pktdump, "-N", f"/run/netns/{ns}", "-t", "20", *args]
        self.out = tempfile.TemporaryFile("w+")
        self.proc = subprocess.Popen(cmd, stdout=self.out, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 5
        while os.fstat(self.out.fileno()).st_size == 0 and time.monotonic() < end:
            time.sleep(0.01)  # until the header says that the socket is open

    def stop(self, interrupt=True):
        if interrupt:
            time.sleep(0.15)  # longer than the ring holds packets back
            self.proc.send_signal(signal.SIGINT)
        _, err = self.proc.communicate(timeout=25)
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


def against_tcpdump(pktdump, tmp):
    path = f"{tmp}/t.pcap"
    td = subprocess.Popen(inside(A, "tcpdump", "-i", "v0", "-w", path, "-U", "-n", "-j", "host",
                                 "--time-stamp-precision=nano", "-s", "128", "--immediate-mode"),
                          stderr=subprocess.PIPE, text=True)
    while "listening" not in td.stderr.readline():
        pass
    d = Dump(pktdump, "-i", "v0")
    sh(*inside(A, "ping", "-q", "-c", "50", "-i", "0.01", "10.91.0.2"))
    send_udp(A, 500, 200, gap=0.0002)
    send_udp(B, 500, 60, ("10.91.0.1", 9), gap=0.0002)
    rows, stats, _ = d.stop()
    time.sleep(0.3)
    td.send_signal(signal.SIGINT)
    td.communicate(timeout=10)
    out = subprocess.run([pktdump, path], capture_output=True, text=True, check=True)
    theirs = [line.split("\t") for line in out.stdout.splitlines()[1:]]
    key = lambda r: r[2:24] + r[25:28]  # all but time, point and flags
    check("as many packets as tcpdump", len(rows) == len(theirs) >= 1100,
          f"({len(rows)}, {len(theirs)})")
    check("the same packets in the same order", [key(r) for r in rows] == [key(r) for r in theirs])
    diffs = sorted(abs(int(a[0]) - int(b[0])) for a, b in zip(rows, theirs))
    check("stamps as tcpdump's", diffs[-1] <= MAX_STAMP_DIFFERENCE_NS,
          f"(median {diffs[len(diffs) // 2]} ns, largest {diffs[-1]} ns apart)")
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
    d = Dump(pktdump, "-i", "v0", "-f", "udp", "-B", "8192", "-d", "1000", "-q")
    time.sleep(0.2)
    send_udp(A, 2000, 1000)
    time.sleep(1.0)
    _, stats, _ = d.stop()
    check("a tiny ring reports its drops", stats["dropped"] > 0 and
          stats["frames"] + stats["dropped"] == 2000,
          f"({stats['frames']} read, {stats['dropped']} dropped)")


def going_away(pktdump):
    d = Dump(pktdump, "-i", "v1", "-f", "udp", ns=B)
    send_udp(A, 10, 100)
    sh("ip", "-n", B, "link", "set", "v1", "down")
    rows, _, err = d.stop(interrupt=False)
    check("what came before is handed out", len(rows) == 10, f"({len(rows)})")
    check("going down is said", "v1 went down" in err, err.strip().split("\n")[-1])
    sh("ip", "-n", B, "link", "set", "v1", "up")
    d = Dump(pktdump, "-i", "v1", "-f", "udp", ns=B)
    sh("ip", "-n", B, "link", "del", "v1")
    _, _, err = d.stop(interrupt=False)
    check("removal is said", "v1 was removed" in err, err.strip().split("\n")[-1])
    r = subprocess.run([pktdump, "-N", f"/run/netns/{B}", "-i", "v1"], capture_output=True,
                       text=True, check=False)
    check("no such interface", r.returncode == 3 and "no interface v1" in r.stderr)


def shared_out(pktdump):
    """Two captures of one fanout number: every packet in one, both directions of a flow in the same."""
    number = str(os.getpid() % 65535 + 1)
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


def main():
    if os.geteuid() != 0:
        print("SKIP: needs root for namespaces")
        return 77
    for program in ("ip", "nsenter", "ping", "tcpdump", "sysctl"):
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
        filters_and_snap(sys.argv[1])
        vlan(sys.argv[1])
        loopback(sys.argv[1])
        tiny_ring(sys.argv[1])
        going_away(sys.argv[1])
    finally:
        down()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
