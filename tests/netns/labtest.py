# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab's tests share: run the program, look at what exists, leave nothing behind.

Truth is the kernel's: /proc, /dev/shm, and `ip` or `ping` run by nsenter(1) in the namespaces of
the processes that the lab names.
"""
import glob
import json
import math
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
import traceback

from nettest import down_at_once, frozen, wait_reading  # noqa: F401 pylint: disable=unused-import

VNETSCOPE = os.path.abspath(sys.argv[1])
AGENT = os.path.abspath(sys.argv[2])


def skip(reason):
    print(reason)
    sys.exit(77)


def run(*words, timeout=120, env=None, user=None, **more):
    """Run `vnetscope WORDS`; never raises on its exit status."""
    command = [VNETSCOPE, *words]
    if user is not None:
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, env=env, **more)


def ok(result):
    assert result.returncode == 0, \
        f"{result.args} ended with {result.returncode}: {result.stdout}{result.stderr}"
    return result


def status(lab, **more):
    """The lab's object of `lab status --json`, or None."""
    labs = json.loads(ok(run("lab", "status", "--json", "--name", lab, **more)).stdout)["labs"]
    return labs[0] if labs else None


def processes():
    """{pid: name} of all processes that are not zombies."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                text = f.read()
        except OSError:
            continue
        name, _, rest = text[text.index("(") + 1:].rpartition(") ")
        if rest[0] not in "ZX":
            found[int(path.split("/")[2])] = name
    return found


def pids_of(lab_object):
    nodes = [lab_object["client"], *lab_object["guests"]]
    return [lab_object["holder_pid"], *[n["pid"] for n in nodes]]


def wait_until(what, condition, seconds=60.0):  # inf: where the test's own time limit ends what hangs
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain: {what}"
        time.sleep(0.05)


def wait_traffic(lab, vo, settle=2.5):
    """A vo on @lab has opened its captures and, within @settle s from then, made the clock exchanges that come next."""
    holder = status(lab)["holder_pid"]
    wait_until("the captures open", lambda: len(ok(subprocess.run(
        ["nsenter", f"--net=/proc/{holder}/ns/net", "cat", "/proc/net/packet"],
        capture_output=True, text=True)).stdout.splitlines()) > 3 or vo.poll() is not None, math.inf)
    wait_reading(vo, settle)


class Live:
    """A vo that has a terminal to write to, as users see it: there it says once a second how much it has matched, so that
    who waits need not guess how long a busy machine takes. It runs until finish()."""

    def __init__(self, *words):
        self.said = ""
        ours, theirs = pty.openpty()
        self.process = subprocess.Popen([VNETSCOPE, "vo", *words, "--json", "-t", "600"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=theirs, text=True)
        os.close(theirs)
        self.listener = threading.Thread(target=self._listen, args=(ours,), daemon=True)
        self.listener.start()

    def _listen(self, fd):
        data = b"."
        while data:
            try:
                data = os.read(fd, 65536)
            except OSError:  # it has ended
                break
            self.said += data.decode(errors="replace")
        os.close(fd)

    def wait(self, what, condition, seconds=90):
        def over():
            assert self.process.poll() is None, f"vo ended before {what}: {self.said[-300:]}"
            return condition()
        wait_until(what, over, seconds)

    def matched(self, name):
        """What it said last of @name: packets matched until then; None: its traffic has not begun."""
        said = re.findall(rf"\n  {name} +([\d,]+) matched.*\n", self.said)
        return int(said[-1].replace(",", "")) if said else None

    def traffic(self):
        """The traffic has begun."""
        self.wait("the traffic begins", lambda: re.search(r" matched.*\n", self.said))

    def goes_on(self, name, packets=20):
        """So many packets more of @name have been matched. Return: when this was called, ns."""
        began_ns, before = time.time_ns(), self.matched(name)
        self.wait(f"{packets} packets more of {name} than {before} are matched",
                  lambda: self.matched(name) >= before + packets)
        return began_ns

    def finish(self, code=0):
        """Interrupt it. Return: its document."""
        self.process.send_signal(signal.SIGINT)
        try:
            out, _ = self.process.communicate(timeout=90)
        finally:
            self.kill()
        assert self.process.returncode == code, f"vo ended with {self.process.returncode}: {self.said[-300:]}"
        return json.loads(out)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.listener.join(10)


def gone(pids):
    return not set(pids) & set(processes())


def assert_nothing_left(lab, pids, uid=0, base="/run/vnetscope"):
    wait_until(f"processes {pids} of lab {lab} end", lambda: gone(pids))
    left = glob.glob(f"/dev/shm/vnetscope-{uid}-{lab}-*")
    assert not left, f"left over: {left}"
    assert not os.path.exists(f"{base}/{lab}"), f"{base}/{lab} is still there"


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    wait_until(f"process {pid} ends", lambda: gone([pid]))


def main(cases, labs, prefix="e"):
    """Run all cases (or those named on the command line); end every lab whatever happens."""
    wanted = sys.argv[3:]
    failed = 0
    down_at_once(VNETSCOPE, *labs)
    for case in cases:
        if wanted and case.__name__ not in wanted:
            continue
        start = time.monotonic()
        try:
            case()
            print(f"ok   {case.__name__} ({time.monotonic() - start:.1f} s)")
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"FAIL {case.__name__}")
            traceback.print_exc(file=sys.stdout)
        finally:
            for lab in labs:
                run("lab", "down", "--name", lab)
        sys.stdout.flush()
    sys.exit(1 if failed else 0)
