#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""`vnetscope lab` with real guests under emulation: boot, reach, exec, console, crashes.

usage: test_lab_vm.py VNETSCOPE AGENT [CASE...]
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
from labtest import (AGENT, VNETSCOPE, assert_nothing_left, gone, kill, main, ok, pids_of, run,
                     skip, status, wait_until)
from nettest import InGuest, wait_sleeps

LAB = f"t-vm{os.getpid() % 10**8}"
NOBODY = 65534


def up(*options, accel="tcg"):
    start = time.monotonic()
    r = run("lab", "up", "--name", LAB, "--agent", AGENT, "--accel", accel, *options, timeout=300)
    print(f"     up {' '.join(options)}: {time.monotonic() - start:.1f} s")
    return r


def guest(name, *command):
    return run("lab", "exec", "--name", LAB, name, "--", *command, timeout=60)


def ping(node, address):
    r = run("lab", "exec", "--name", LAB, node, "--", "ping", "-c", "2", "-W", "30", address)
    assert r.returncode == 0, f"{node} to {address}: {r.stdout}{r.stderr}"


def qmp(lab, name, command):
    """Ask QEMU itself."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(f"{lab['folder']}/{name}.qmp")
    f = s.makefile("rw")
    f.readline()
    for c in ("qmp_capabilities", command):
        f.write(json.dumps({"execute": c}) + "\n")
        f.flush()
        answer = json.loads(f.readline())
        while "event" in answer:
            answer = json.loads(f.readline())
    s.close()
    return answer["return"]


def boots_and_answers():
    ok(up("-n", "2", "--memory", "112", "--no-tso"))
    lab = status(LAB)
    assert lab["accel"] == "tcg" and lab["state"] == "running", lab
    for i, g in enumerate(lab["guests"], 1):
        release = ok(guest(g["name"], "uname", "-r")).stdout.strip()
        assert g["clocksource"] and release and release in g["kernel"], g
        ping("client", f"10.77.0.{10 + i}")
        ping("client", f"fd77::{10 + i}")
    assert guest("vm1", "ping", "-c", "1", "-W", "30", "10.77.0.12").returncode == 0
    assert guest("vm2", "hostname").stdout.strip() == "vm2"
    r = guest("vm1", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (r.returncode, r.stdout, r.stderr) == (7, "out\n", "err\n"), r
    assert qmp(lab, "vm1", "query-status")["running"]
    assert os.path.getsize(f"/dev/shm/vnetscope-0-{LAB}-vm1") == 1 << 20
    # The card has the offloads that were asked for: VIRTIO_NET_F_GUEST_TSO4 is feature bit 7.
    bits = guest("vm1", "sh", "-c", "cat /sys/class/net/eth0/device/features").stdout
    assert bits[7] == "0" and bits[0] == "1", bits
    assert guest("vm1", "modprobe", "sch_netem").returncode == 0
    assert "already" in ok(up("-n", "2", "--memory", "112", "--no-tso")).stdout


def dead_guest_shows():
    ok(up("-n", "2"))
    first = status(LAB)
    kill(first["guests"][0]["pid"])
    wait_until("status tells", lambda: "signal 9" in status(LAB)["guests"][0].get("why", ""))
    assert status(LAB)["guests"][0]["state"] == "exited"
    r = guest("vm1", "true")
    assert r.returncode == 3 and "has ended" in r.stderr and r.stderr.count("\n") == 1, r
    ping("client", "10.77.0.12")
    # A guest that ends by itself leaves its last words.
    guest("vm2", "sh", "-c", "echo c > /proc/sysrq-trigger")
    wait_until("status tells", lambda: "exited with" in status(LAB)["guests"][1].get("why", ""))
    assert "console" in status(LAB)["guests"][1]["why"], status(LAB)["guests"][1]
    pids = pids_of(first)
    kill(pids[0])
    ok(run("lab", "down", "--name", LAB))
    assert_nothing_left(LAB, pids)


def holds(pid, lock):
    """The kernel says so: whoever tries to take it to see that may be the reason why @pid does not get it."""
    inode = os.stat(lock).st_ino
    with open("/proc/locks", encoding="ascii") as f:
        rows = [line.split() for line in f]
    return any("FLOCK" in row and "->" not in row and str(pid) in row and row[-3].endswith(f":{inode}") for row in rows)


def hung_guest_is_named():
    """A kernel that panicked and stays so: its process lives, nothing answers. The others are asked at once with it."""
    ok(up("-n", "3"))
    panics = InGuest(VNETSCOPE, LAB, "echo 0 > /proc/sys/kernel/panic; echo c > /proc/sysrq-trigger", 2)
    panics.now("begun")

    def states():
        # one that a busy machine starves may be silent for once
        return [g["state"] for g in status(LAB)["guests"]]
    wait_until("status tells", lambda: states() == ["running", "silent", "running"])
    lab = status(LAB)
    assert lab["state"] == "degraded" and "Kernel panic" in lab["guests"][1]["why"], lab["guests"][1]
    assert f"process {lab['guests'][1]['pid']} runs" in lab["guests"][1]["why"], lab["guests"][1]
    assert "degraded (vm2 silent" in ok(run("lab", "status", "--name", LAB)).stdout
    # paused, it is silent too; all of them are asked at once, not one after the other: who asks has all their locks
    for name in ("vm1", "vm3"):
        qmp(lab, name, "stop")
    locks = [f"{lab['folder']}/vm{i}.lock" for i in (1, 2, 3)]
    wait_until("one status asks all three at once", lambda: asks_at_once(locks))
    # and who comes while status asks waits for its turn
    asking = subprocess.Popen([VNETSCOPE, "lab", "status", "--json", "--name", LAB], stdout=subprocess.PIPE)
    wait_until("it asks", lambda: holds(asking.pid, locks[0]) or asking.poll() is not None)
    for name in ("vm1", "vm3"):
        qmp(lab, name, "cont")
    assert "in use" not in guest("vm1", "true").stderr
    assert json.loads(asking.communicate(timeout=90)[0])["labs"], "no document"
    wait_until("vm1 answers again", lambda: status(LAB)["guests"][0]["state"] == "running")


def asks_at_once(locks):
    """Is there an instant at which a status holds all @locks?"""
    asking = subprocess.Popen([VNETSCOPE, "lab", "status", "--json", "--name", LAB], stdout=subprocess.DEVNULL)
    seen = False
    while asking.poll() is None and not seen:
        seen = all(holds(asking.pid, lock) for lock in locks)
    asking.wait(90)
    return seen


def killed_holder_then_up():
    ok(up("-n", "1"))
    pids = pids_of(status(LAB))
    kill(pids[0])
    wait_until("QEMU ends with the holder", lambda: gone(pids))
    ok(up("-n", "1"))
    ping("client", "10.77.0.11")
    pids += pids_of(status(LAB))
    ok(run("lab", "down", "--name", LAB))
    assert_nothing_left(LAB, pids)


def killed_up_while_booting():
    before = qemus()
    p = subprocess.Popen([VNETSCOPE, "lab", "up", "--name", LAB, "--agent", AGENT, "--accel",
                          "tcg", "-n", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until("QEMU starts", lambda: qemus() - before)
    p.kill()
    p.wait()
    wait_until("QEMU ends again", lambda: not qemus() - before)
    run("lab", "down", "--name", LAB)
    assert_nothing_left(LAB, [])


def qemus():
    """QEMUs of our lab, by their command line."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read()
        except OSError:
            continue
        if b"qemu-system" in words and f"/{LAB}/".encode() in words:
            found.add(int(pid))
    return found


def one_user_at_a_time():
    ok(up("-n", "1"))
    spec = f"lab:{LAB}/vm1"
    p = subprocess.Popen([VNETSCOPE, "drift", "--json", "-t", "600", spec], stdout=subprocess.DEVNULL)
    try:
        lock = f"/run/vnetscope/{LAB}/vm1.lock"
        wait_until("the first one holds the guest", lambda: os.path.exists(lock) and holds(p.pid, lock))
        r = run("drift", spec)
        assert r.returncode == 3 and f"process {p.pid}" in r.stderr, r
        wait_sleeps(p, 100)  # it measures
        p.send_signal(signal.SIGINT)
        code = p.wait(timeout=90)
        assert code == 0, code
    finally:
        p.kill()
    ok(run("drift", "-n", "5", spec))


def without_root():
    """A user's lab, with a private /dev/net/tun that the user may open (Debian's default)."""
    home = tempfile.mkdtemp(prefix="vns-lab-", dir="/tmp")
    os.chown(home, NOBODY, NOBODY)
    agent = shutil.copy(AGENT, f"{home}/agent")
    program = shutil.copy(VNETSCOPE, f"{home}/program")
    env = dict(os.environ, HOME=home, XDG_RUNTIME_DIR=home, XDG_CACHE_HOME=f"{home}/cache")

    def as_user(*words):
        command = " ".join([f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups", program,
                            *words])
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /dev/net && "
             "mknod -m 666 /dev/net/tun c 10 200 && exec " + command],
            capture_output=True, text=True, timeout=300, env=env, stdin=subprocess.DEVNULL)

    try:
        r = as_user("lab", "up", "--name", LAB, "-n", "1", "--accel", "tcg", "--agent", agent)
        if r.returncode == 3 and "user namespace" in r.stderr:
            print("     (this kernel gives no user namespaces to users)")
            return
        ok(r)
        lab = json.loads(ok(as_user("lab", "status", "--json")).stdout)["labs"][0]
        assert lab["rootless"], lab
        ok(as_user("lab", "exec", "--name", LAB, "client", "--", "ping", "-c", "1", "-W", "30",
                   "10.77.0.11"))
        # Packets are captured at the tap, inside the user namespace, and by the agent.
        r = ok(as_user("drift", "--json", "-n", "20", "-m", "exchange", f"lab:{LAB}/vm1"))
        drift = json.loads(r.stdout)
        assert drift["mode"] == "exchange" and drift["exchanges"]["used"] >= 5, r.stdout[:2000]
        assert drift["lower_ns"] < drift["upper_ns"], drift
        assert drift["offset_ns"] is None and drift["split"] == "not identifiable", drift
        ok(as_user("lab", "down", "--name", LAB))
        assert_nothing_left(LAB, pids_of(lab), uid=NOBODY, base=f"{home}/vnetscope")
        assert not os.path.exists(f"{home}/vnetscope"), "the folder of a user's labs stays behind the last"
    finally:
        as_user("lab", "down", "--name", LAB)
        shutil.rmtree(home)


def bad_input():
    r = run("lab", "up", "--name", LAB, "--agent", AGENT, "--kernel", "/nonexistent",
            "--modules", "/lib")
    assert r.returncode == 3 and "/nonexistent" in r.stderr, r
    r = run("lab", "up", "--name", LAB, "--agent", AGENT, "--kernel", "/bin/true",
            "--modules", "/usr/share/doc")
    assert r.returncode == 3 and "virtio_pci" in r.stderr, r


if __name__ == "__main__":
    if os.geteuid() != 0:
        skip("needs root: looks into namespaces")
    for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("ip", "iproute2"),
                             ("ping", "iputils-ping"), ("busybox", "busybox-static")):
        if not shutil.which(program):
            skip(f"{program} is missing (Debian package {package})")
    first = up("-n", "1")
    if first.returncode == 3 and ("fetch" in first.stderr or "apt" in first.stderr):
        skip(f"no guest kernel: {first.stderr.strip()}")
    run("lab", "down", "--name", LAB)
    main([boots_and_answers, dead_guest_shows, hung_guest_is_named, killed_holder_then_up, killed_up_while_booting,
          one_user_at_a_time, without_root, bad_input], [LAB])
