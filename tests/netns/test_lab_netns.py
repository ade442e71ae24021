#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""`vnetscope lab` with namespace guests: up, status, exec, idempotence, crashes, two at once,
without root.

usage: test_lab_netns.py VNETSCOPE AGENT [CASE...]
"""
import json
import os
import signal
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from labtest import (AGENT, VNETSCOPE, assert_nothing_left, gone, kill, main, ok, pids_of,
                     processes, run, skip, status, wait_until)

LAB = f"t-ns{os.getpid() % 10**8}"
OTHER = LAB + "b"
NOBODY = 65534


def up(*options, name=LAB, **more):
    return run("lab", "up", "--name", name, "--backend", "netns", "--agent", AGENT, *options,
               **more)


def ns_link_names(pid):
    text = subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-j", "link"],
                          check=True, capture_output=True, text=True).stdout
    return {link["ifname"]: link for link in json.loads(text)}


def up_status_down():
    before = set(os.listdir("/sys/class/net"))
    ok(up("-n", "2"))
    lab = status(LAB)
    assert lab["state"] == "running" and lab["backend"] == "netns", lab
    assert [g["name"] for g in lab["guests"]] == ["vm1", "vm2"], lab
    assert all(n["state"] == "running" and n["agent_version"] for n in lab["guests"]), lab
    assert gone([]) and all(p in processes() for p in pids_of(lab))
    host = ns_link_names(lab["holder_pid"])
    assert {"br0", "up0", "tapvm1", "tapvm2"} <= set(host), host
    assert all(host[p]["master"] == "br0" for p in ("up0", "tapvm1", "tapvm2")), host
    guest = ns_link_names(lab["guests"][1]["pid"])
    assert guest["eth0"]["address"] == lab["guests"][1]["mac"], guest
    assert set(os.listdir("/sys/class/net")) == before, "the machine's own network was touched"
    pids = pids_of(lab)
    ok(run("lab", "down", "--name", LAB))
    assert_nothing_left(LAB, pids)
    assert "nothing to remove" in ok(run("lab", "down", "--name", LAB)).stdout


def everybody_reaches_everybody():
    ok(up("-n", "2"))
    for node in ("host", "client", "vm1"):
        for address in ("10.77.0.12", "fd77::12"):
            r = run("lab", "exec", "--name", LAB, node, "--", "ping", "-c", "1", "-W", "2", address)
            assert r.returncode == 0, f"{node} to {address}: {r.stdout}{r.stderr}"


def exec_passes_everything():
    ok(up("-n", "1"))
    r = run("lab", "exec", "--name", LAB, "vm1", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (r.returncode, r.stdout, r.stderr) == (7, "out\n", "err\n"), r
    r = subprocess.run([VNETSCOPE, "lab", "exec", "--name", LAB, "client", "cat", "-"],
                       input="in", capture_output=True, text=True, timeout=20)
    assert r.stdout == "in", r
    assert run("lab", "exec", "--name", LAB, "vm9", "--", "true").returncode == 3
    assert run("lab", "exec", "--name", LAB, "vm1", "--", "/nonexistent").returncode == 127
    assert run("lab", "exec", "--name", LAB, "vm1").returncode == 2


def idempotent():
    ok(up("-n", "2"))
    first = status(LAB)["holder_pid"]
    r = ok(up("-n", "2"))
    assert "already" in r.stdout, r.stdout
    assert status(LAB)["holder_pid"] == first
    r = up("-n", "3")
    assert r.returncode == 3 and "lab down" in r.stderr, r
    assert status(LAB)["holder_pid"] == first


def killed_holder():
    for cleaner in ("down", "up"):
        ok(up("-n", "2"))
        pids = pids_of(status(LAB))
        kill(pids[0])
        wait_until("the children end with the holder", lambda: gone(pids))
        assert status(LAB)["state"] == "stale"
        if cleaner == "up":
            ok(up("-n", "2"))
            assert status(LAB)["state"] == "running"
            pids = pids_of(status(LAB))
        ok(run("lab", "down", "--name", LAB))
        assert_nothing_left(LAB, pids)


def killed_guest():
    ok(up("-n", "2"))
    first = status(LAB)
    kill(first["guests"][0]["pid"])
    wait_until("status tells", lambda: "signal 9" in status(LAB)["guests"][0].get("why", ""))
    now = status(LAB)
    assert now["state"] == "degraded" and now["guests"][1]["state"] == "running"
    ok(up("-n", "2"))
    assert status(LAB)["guests"][0]["state"] == "running"
    assert gone(pids_of(first))


def deleted_tap():
    """A port that is gone is no running guest: said in the head line, by its state, and mended by `up`."""
    ok(up("-n", "2"))
    lab = status(LAB)
    subprocess.run(["nsenter", f"--net=/proc/{lab['holder_pid']}/ns/net", "ip", "link", "delete", "tapvm2"],
                   check=True, capture_output=True)
    lab = status(LAB)
    assert lab["state"] == "degraded", lab
    assert [g["state"] for g in lab["guests"]] == ["running", "unplugged"], lab
    assert "tapvm2" in lab["guests"][1]["why"], lab
    kill(lab["guests"][0]["pid"])
    text = ok(run("lab", "status", "--name", LAB)).stdout
    assert "degraded (vm1 exited, vm2 unplugged)" in text.splitlines()[0], text
    r = ok(up("-n", "2"))
    assert "already" not in r.stdout and status(LAB)["state"] == "running", r


def stopped_guest():
    """A process that a signal stopped does not run."""
    ok(up("-n", "2"))
    pid = status(LAB)["guests"][0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until("status tells", lambda: status(LAB)["guests"][0]["state"] == "stopped")
        lab = status(LAB)
        assert lab["state"] == "degraded" and str(pid) in lab["guests"][0]["why"], lab
        assert lab["guests"][1]["state"] == "running", lab
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until("it runs again", lambda: status(LAB)["state"] == "running")


def killed_up():
    """kill -9 of `up` at many instants: nothing remains alive, and the next `up` works."""
    for delay_ms in (0, 1, 2, 3, 5, 8, 12, 16, 20, 25, 30, 40):
        p = subprocess.Popen([VNETSCOPE, "lab", "up", "--name", LAB, "--backend", "netns",
                              "--agent", AGENT, "-n", "2"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        time.sleep(delay_ms / 1000)
        p.kill()
        finished = p.wait() == 0
        lab = status(LAB)
        if lab and lab["state"] == "running":
            pids = pids_of(lab)  # it was through, or all but
        elif not finished:
            wait_until("no holder lives on", lambda: not [
                p for p, name in processes().items() if name in ("vns-holder", "vns-keeper")
                and f"/{LAB}/" in holder_log(p)])
            pids = []
        ok(up("-n", "2"))
        pids += pids_of(status(LAB))
        ok(run("lab", "down", "--name", LAB))
        assert_nothing_left(LAB, pids)


def holder_log(pid):
    """Path of the log that a holder or keeper writes: tells whose it is."""
    try:
        return os.readlink(f"/proc/{pid}/fd/2")
    except OSError:
        return ""


def visitors_end_with_the_lab():
    ok(up("-n", "1"))
    p = subprocess.Popen([VNETSCOPE, "lab", "exec", "--name", LAB, "client", "--", "sleep", "100"])
    try:
        wait_until("sleep runs", lambda: processes().get(p.pid) == "sleep")
        ok(run("lab", "down", "--name", LAB))
        assert p.wait(timeout=5) == -9
    finally:
        p.kill()


def two_labs_at_once():
    results = {}

    def start(name):
        results[name] = up("-n", "2", name=name)

    threads = [threading.Thread(target=start, args=(n,)) for n in (LAB, OTHER)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for name in (LAB, OTHER):
        ok(results[name])
    a, b = status(LAB), status(OTHER)
    assert not set(pids_of(a)) & set(pids_of(b))
    ok(run("lab", "down", "--name", LAB))
    assert gone(pids_of(a)) and not gone(pids_of(b)[:1])
    ok(run("lab", "exec", "--name", OTHER, "client", "ping", "-c", "1", "-W", "2", "10.77.0.12"))


def same_lab_twice_at_once():
    results = []
    threads = [threading.Thread(target=lambda: results.append(up("-n", "2"))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for r in results:
        ok(r)
    assert sum("already" in r.stdout for r in results) == 3, results
    holders = [p for p, name in processes().items()
               if name == "vns-holder" and f"/{LAB}/" in holder_log(p)]
    assert len(holders) == 1, holders


def bad_input():
    assert run("lab", "up", "--name", "Bad_Name").returncode == 2
    assert run("lab", "up", "--name", LAB, "-n", "33").returncode == 2
    assert run("lab", "up", "--name", LAB, "--offloads", "magic").returncode == 2
    assert run("lab", "up", "--name", LAB, "--kernel", "/etc/hostname").returncode == 2
    assert run("lab", "fly").returncode == 2
    r = run("lab", "up", "--name", LAB, "--backend", "netns", "--agent", "/nonexistent")
    assert r.returncode == 3 and r.stderr.count("\n") == 1, r
    r = run("lab", "up", "--name", LAB, "--backend", "netns", "--agent", "/bin/true")
    assert r.returncode == 3 and r.stderr.count("\n") == 1, r
    assert_nothing_left(LAB, [])


def without_root():
    home = tempfile.mkdtemp(prefix="vns-lab-", dir="/tmp")
    os.chown(home, NOBODY, NOBODY)
    agent = shutil.copy(AGENT, f"{home}/agent")
    program = shutil.copy(VNETSCOPE, f"{home}/program")
    env = dict(os.environ, HOME=home, XDG_RUNTIME_DIR=home)

    def as_user(*words):
        return subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
                               "--clear-groups", program, "lab", words[0], "--name", LAB,
                               *words[1:]], capture_output=True, text=True, timeout=60, env=env,
                              stdin=subprocess.DEVNULL)

    try:
        hint = "root has a lab, in /run/vnetscope"
        ok(up("-n", "1", name=OTHER))
        assert hint in ok(as_user("status")).stdout and hint in ok(as_user("down")).stdout
        assert hint in as_user("exec", "vm1", "--", "true").stderr
        ok(run("lab", "down", "--name", OTHER))
        r = as_user("up", "--backend", "netns", "-n", "2", "--agent", agent)
        if r.returncode == 3 and "user namespace" in r.stderr:
            print("     (this kernel gives no user namespaces to users)")
            return
        ok(r)
        lab = json.loads(ok(as_user("status", "--json")).stdout)["labs"][0]
        assert lab["rootless"] and lab["state"] == "running", lab
        ok(as_user("exec", "client", "--", "ping", "-c", "1", "-W", "2", "10.77.0.12"))
        ok(as_user("exec", "host", "--", "ip", "address", "add", "10.99.0.1/32", "dev", "lo"))
        spec = f"lab:{LAB}/vm1"
        r = subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                            program, "drift", "--json", spec], capture_output=True, text=True,
                           timeout=60, env=env, stdin=subprocess.DEVNULL)
        assert json.loads(ok(r).stdout)["mode"] == "same", r
        kill(lab["holder_pid"])
        wait_until("all end with the holder", lambda: gone(pids_of(lab)))
        ok(as_user("up", "--backend", "netns", "-n", "2", "--agent", agent))
        lab = json.loads(ok(as_user("status", "--json")).stdout)["labs"][0]
        ok(as_user("down"))
        assert_nothing_left(LAB, pids_of(lab), uid=NOBODY, base=f"{home}/vnetscope")
        assert not os.path.exists(f"{home}/vnetscope"), "the folder of a user's labs stays behind the last"
    finally:
        as_user("down")
        shutil.rmtree(home)


if __name__ == "__main__":
    if os.geteuid() != 0:
        skip("needs root: looks into namespaces and becomes another user")
    if not shutil.which("ip") or not shutil.which("ping") or not shutil.which("setpriv"):
        skip("needs ip (iproute2), ping (iputils-ping) and setpriv (util-linux)")
    main([up_status_down, everybody_reaches_everybody, exec_passes_everything, idempotent,
          killed_holder, killed_guest, deleted_tap, stopped_guest, killed_up, visitors_end_with_the_lab,
          two_labs_at_once,
          same_lab_twice_at_once, bad_input, without_root], [LAB, OTHER])
