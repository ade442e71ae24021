# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests in namespaces of their own share: run a command, run it inside one, or say why not.

Whoever imports this ends by an exception when told to end (SIGTERM), so that what it made is removed. Meson kills
the session of a test half a second later: what may take longer begins at once, in a session of its own.
"""
import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import time

AT_ONCE = []  # commands; see down_at_once()


def _end(signum, _):
    for words in AT_ONCE:
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         start_new_session=True)
    sys.exit(128 + signum)


def down_at_once(program, *labs):
    """When this test is told to end, @program removes these labs, whatever else there is to do."""
    AT_ONCE.extend([program, "lab", "down", "--name", lab] for lab in labs)


signal.signal(signal.SIGTERM, _end)


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
    """Of those, what is there; to the end, whoever kills this process meanwhile."""
    subprocess.run(["sh", "-c", "for ns; do ip netns del $ns; done", "sh", *namespaces], capture_output=True,
                   timeout=60, start_new_session=True, check=False)


def wait_capture(ns, seconds=60):
    """A packet socket in namespace @ns takes packets, or @seconds are over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rows = [line.split() for line in sh(*inside(ns, "cat", "/proc/net/packet")).splitlines()[1:]]
        if any(row[5] == "1" for row in rows):  # column R: bound and running
            return
        time.sleep(0.02)


@contextlib.contextmanager
def first_of_all():
    """This process comes before all others as soon as it wakes, where the kernel lets it."""
    before = os.sched_getscheduler(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(90))
    except OSError:
        pass
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))


def wait_reading(vo, settle=20):
    """
    The traffic of the process @vo has begun, at the latest after @settle s: it says so by its scheduling class, as it
    reads in the idle class, where it may. On a busy machine it leaves that class after a tenth of a second: so this one
    looks with the highest priority.
    """
    end = time.monotonic() + settle
    with first_of_all():
        while time.monotonic() < end and vo.poll() is None and os.sched_getscheduler(vo.pid) != os.SCHED_IDLE:
            time.sleep(0.005)


def wait_written(pid, times, seconds=60):
    """Process @pid, an agent, has written so often from now: a reply each, to requests that wait for the one before.
    What its children wrote, and itself before it became the agent, is in the count when this begins."""
    def written():
        with open(f"/proc/{pid}/io", encoding="ascii") as f:
            return int(re.search(r"syscw: (\d+)", f.read()).group(1))
    end, before = time.monotonic() + seconds, written()
    while written() < before + times:
        assert time.monotonic() < end, f"process {pid} wrote less than {times} times in {seconds} s"
        time.sleep(0.02)


def sleeps(process):
    """How often it has slept: between its exchanges, when it is more often than a `drift` does to begin."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as f:
        return int(re.search(r"\nvoluntary_ctxt_switches:\s*(\d+)", f.read()).group(1))


def wait_sleeps(process, times, seconds=60):
    end = time.monotonic() + seconds
    while sleeps(process) < times:
        assert process.poll() is None, "it has ended before"
        assert time.monotonic() < end, f"it slept less than {times} times in {seconds} s"
        time.sleep(0.05)


class InGuest:
    """A command that a lab's guest begins not before it is told to, by its network: who measures holds its port."""
    HEAR = "(nc -l -p 7; {}; echo done | nc -l -p 7) >/dev/null 2>&1 </dev/null &"
    TELL = """
import socket, sys, time
heard, end = [], time.monotonic() + 40
while b"done\\n" not in heard and not (heard and sys.argv[2] == "begun"):
    try:
        with socket.create_connection((sys.argv[1], 7), timeout=5) as s:
            if not heard:
                s.shutdown(socket.SHUT_WR)
            s.settimeout(40)
            heard.append(s.recv(99))
    except ConnectionError:
        time.sleep(0.05)
    if time.monotonic() > end:
        sys.exit("the guest did not hear, or did not do it")
"""

    def __init__(self, program, lab, command, guest=1):
        self.lab_exec, self.address = [program, "lab", "exec", "--name", lab], f"10.77.0.{10 + guest}"
        sh(*self.lab_exec, f"vm{guest}", "--", "sh", "-c", self.HEAR.format(command))

    def now(self, until="done"):
        """Tell it; the command has ended when this returns, or, where no guest is left to say so, has "begun"."""
        subprocess.run([*self.lab_exec, "client", "--", sys.executable, "-c", self.TELL, self.address, until],
                       check=True, timeout=60)


def drift_amid(program, lab, command, *args):
    """`drift` of vm1 that measures before, while and after @command runs there. Return: as of subprocess.run()."""
    told = InGuest(program, lab, command)
    p = subprocess.Popen([program, "drift", f"lab:{lab}/vm1", "--json", "-t", "60", *args], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    try:
        wait_sleeps(p, 100)
        told.now()
        wait_sleeps(p, sleeps(p) + 100)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
    finally:
        p.kill()
    return subprocess.CompletedProcess(p.args, p.returncode, out, err)


def same_percentiles(figures, true):
    """
    The percentiles @figures are those of @true, from captures by others of the same packets: of ranks next to theirs,
    since what comes between two sockets' readings of the clock (an interrupt, a machine that gives the processor away)
    moves single packets as far as it likes, and the mean with them. Else stamps are up to 5 us apart; buckets are 1.6 % wide.
    """
    true = sorted(true)
    assert figures["p50"] is not None, figures
    for name, q in (("p50", 0.5), ("p95", 0.95)):
        if figures[name] is None:
            continue
        low = true[max(0, math.ceil((q - 0.03) * len(true)) - 1)]
        high = true[min(len(true) - 1, math.ceil((q + 0.03) * len(true)))]
        assert low / 1.02 - 5000 <= figures[name] <= high * 1.02 + 5000, (name, figures, low, high)


@contextlib.contextmanager
def frozen(pid):
    """The process stands still inside the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(77)
