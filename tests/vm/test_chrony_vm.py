#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""chrony as a peer: chronyd in a lab guest against chronyd on the lab's host, drift in the same span.

Both estimate how far the guest's clock is from the host's; the shared page (mode shm) is the truth.
chronyd runs with -x: it estimates and leaves both clocks alone. The package is unpacked into a
temporary folder and never installed, since that would replace the machine's own time daemon.
doc/clock-peers.md has a table that this printed.

usage: test_chrony_vm.py VNETSCOPE AGENT
VNS_CHRONY_RUNS (default 3) sets the number of runs for each kind of load.
"""
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
from nettest import down_at_once, skip  # noqa: E402

LAB = f"chr{os.getpid()}"
RUNS = int(os.environ.get("VNS_CHRONY_RUNS", "3"))
HOST = "10.77.0.1"

failures = []


def check(what, ok, detail=""):
    if not ok:
        failures.append(what)
        print(f"FAIL: {what} {detail}".rstrip(), flush=True)


def fetch(folder):
    """(chronyd, chronyc) of Debian's package, unpacked in @folder."""
    installed = [shutil.which(n, path="/usr/sbin:/usr/bin") for n in ("chronyd", "chronyc")]
    if all(installed):
        return installed
    os.chmod(folder, 0o777)  # apt fetches as a user of its own
    p = subprocess.run(["apt-get", "download", "chrony"], cwd=folder, capture_output=True, text=True,
                       timeout=120, check=False)
    packages = glob.glob(f"{folder}/chrony_*.deb")
    if p.returncode or not packages:
        skip("the package chrony cannot be fetched: " + p.stderr.strip().replace("\n", " ")[:150])
    subprocess.run(["dpkg-deb", "-x", packages[0], f"{folder}/x"], check=True)
    return [f"{folder}/x/usr/sbin/chronyd", f"{folder}/x/usr/bin/chronyc"]


class Lab:
    def __init__(self, program, agent, folder):
        self.program, self.agent, self.folder = program, agent, folder
        self.server = None

    def run(self, *args, timeout=170):
        return subprocess.run([self.program, *args], capture_output=True, text=True,
                              timeout=timeout, check=False, stdin=subprocess.DEVNULL)

    def guest(self, command):
        p = self.run("lab", "exec", "--name", LAB, "vm1", "--", "sh", "-c", command)
        check(f"in the guest: {command[:60]}", p.returncode == 0, p.stderr + p.stdout)
        return p.stdout

    def up(self, chronyd, chronyc):
        p = self.run("lab", "up", "--name", LAB, "--guests", "1", "--agent", self.agent,
                     "--with", chronyd, "--with", chronyc, timeout=150)
        check("lab up", p.returncode == 0, p.stderr)
        conf = f"{self.folder}/server.conf"
        with open(conf, "w", encoding="ascii") as f:
            f.write(f"local stratum 1\nallow 10.77.0.0/16\nbindcmdaddress /\ncmdport 0\n"
                    f"pidfile {self.folder}/server.pid\n")
        self.server = subprocess.Popen(
            [self.program, "lab", "exec", "--name", LAB, "host", "--", chronyd, "-x", "-u", "root",
             "-d", "-f", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.guest("mkdir -p /etc /run /var/lib/chrony && echo root:x:0:0:root:/:/bin/sh > /etc/passwd && "
                   f"printf 'server {HOST} minpoll -4 maxpoll -4 iburst\\ncmdallow 127.0.0.1\\n' "
                   "> /c.conf && ifconfig lo up && "
                   "(chronyd -x -u root -d -f /c.conf > /chronyd.log 2>&1 &)")

    def down(self):
        if self.server:
            self.server.terminate()
            self.server.wait()
        self.run("lab", "down", "--name", LAB)

    def chrony(self):
        """(host time ns, guest minus host ns, stated error ns) as chronyd sees it now."""
        begin = time.time_ns()
        out = self.guest("chronyc -c tracking")
        end = time.time_ns()
        f = out.strip().split(",")
        # System time: positive when the guest is slow. Maximum error: half the root delay plus dispersion.
        return ((begin + end) // 2, -float(f[4]) * 1e9,
                (float(f[10]) / 2 + float(f[11])) * 1e9)

    def drift(self):
        p = self.run("drift", f"lab:{LAB}/vm1", "--modes", "shm,channel,exchange",
                     "--assume-symmetric", "-t", "2", "--json")
        check("drift", p.returncode == 0, p.stderr)
        return {m["mode"]: m for m in json.loads(p.stdout)["modes"]}


def truth_at(shm, at_ns):
    """The page's relation at @at_ns, just after its span: (estimate, half its bound)."""
    half = (shm["upper_ns"] - shm["lower_ns"]) / 2
    later = at_ns - shm["at_ns"]
    piece = shm["pieces"][-1]
    slope = max(piece["drift_upper_ppm"] - piece["drift_ppm"],
                piece["drift_ppm"] - piece["drift_lower_ppm"])
    return shm["offset_ns"] + piece["drift_ppm"] * 1e-6 * later, half + slope * 1e-6 * later


def measure(lab, kind, table):
    if kind == "loaded":
        lab.guest("(timeout 5 md5sum /dev/zero >/dev/null 2>&1 &)")
    modes = lab.drift()
    at, chrony, stated = lab.chrony()
    shm = modes["shm"]
    truth, half = truth_at(shm, at)
    if abs(truth) > 2 * (stated + half):  # else it does not claim to know that
        check("chrony's sign and order of size", abs(chrony - truth) < abs(truth) / 2, f"{chrony} {truth} {stated}")
    table.append((kind, "chrony", chrony - truth, stated, abs(chrony - truth) <= stated + half))
    for name in ("channel", "exchange"):
        m = modes[name]
        error = m["offset_ns"] - shm["offset_ns"]
        bound = (m["upper_ns"] - m["lower_ns"]) / 2
        inside = m["lower_ns"] <= shm["upper_ns"] and m["upper_ns"] >= shm["lower_ns"]
        check(f"{kind}: {name}'s bound holds the truth", inside, str(m)[:300])
        table.append((kind, name, error, bound, inside))
    table.append((kind, "shm (truth)", 0, (shm["upper_ns"] - shm["lower_ns"]) / 2, True))


def show(table):
    print(f"{'load':8}{'estimate':13}{'runs':>5}{'median |error|':>16}{'worst':>11}"
          f"{'stated, median':>16}{'truth inside':>14}")
    for key in dict.fromkeys((r[0], r[1]) for r in table):
        rows = [r for r in table if (r[0], r[1]) == key]
        errors = [abs(r[2]) / 1e3 for r in rows]
        print(f"{key[0]:8}{key[1]:13}{len(rows):5}{statistics.median(errors):13.1f} us"
              f"{max(errors):8.1f} us{statistics.median(r[3] for r in rows) / 1e3:13.1f} us"
              f"{sum(r[4] for r in rows):10}/{len(rows)}")


def main(argv):
    if not shutil.which("qemu-system-x86_64"):
        skip("qemu-system-x86_64 is not installed")
    if os.geteuid() != 0:
        skip("the host's side of the lab can only serve port 123 as root")
    with tempfile.TemporaryDirectory() as folder:
        chronyd, chronyc = fetch(folder)
        lab, table = Lab(*argv[1:3], folder), []
        down_at_once(lab.program, LAB)
        try:
            lab.up(chronyd, chronyc)
            if not failures:
                # its regression wants samples: until it knows the rate to 100 ppm
                lab.guest("chronyc waitsync 1000 0 100 0.1 >/dev/null")
            for kind in ("idle", "loaded"):
                for _ in range(0 if failures else RUNS):
                    measure(lab, kind, table)
        finally:
            lab.down()
        if table:
            show(table)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
