#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to guests while `vo` measures them: paused and resumed, rebooted, the clock set,
saved and restored in another QEMU, the tap renamed and removed.

Each must be named with its time, the run must go on, and no latency of packets before may be
corrected by a clock relation of after: a pause of two seconds would show as one.

Then connections that are closed on purpose at every stage of a run, by a relay between vo and the guest's port.

usage: test_vo_events.py VNETSCOPE AGENT [CASE...]
"""
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
from labtest import AGENT, VNETSCOPE, frozen, main, ok, run, skip, status, wait_until
from nettest import InGuest

LAB = f"t-ev{os.getpid() % 10**8}"
CLASSES = ("matched", "missing", "ambiguous", "outside_window", "undecodable")


def node(name, *words):
    return run("lab", "exec", "--name", LAB, name, "--", *words, timeout=60)


def up(guests):
    ok(run("lab", "up", "--name", LAB, "--agent", AGENT, "--accel", "tcg", "-n", str(guests),
           timeout=300))


def qmp(name, *commands):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(f"{status(LAB)['folder']}/{name}.qmp")
    f = s.makefile("rw")
    f.readline()
    answers = []
    for c in ({"execute": "qmp_capabilities"}, *commands):
        f.write(json.dumps(c) + "\n")
        f.flush()
        while True:
            answer = json.loads(f.readline())
            if "event" not in answer:
                break
        assert "return" in answer, (c, answer)
        answers.append(answer["return"])
    s.close()
    return answers[1:]


def start_vo(*targets, holder=None):
    holder = holder or status(LAB)["holder_pid"]
    vo = subprocess.Popen([VNETSCOPE, "vo", *[f"lab:{LAB}/{t}" for t in targets], "--json", "-t", "90"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until("the captures open", lambda: len(subprocess.run(
        ["nsenter", f"--net=/proc/{holder}/ns/net", "cat", "/proc/net/packet"],
        capture_output=True, text=True, check=True).stdout.splitlines()) > 3)
    time.sleep(1.5)
    return vo


def finish(vo, pings):
    for p in pings:
        p.terminate()
        p.wait()
    time.sleep(0.3)
    vo.send_signal(2)
    try:
        out, err = vo.communicate(timeout=40)
    finally:
        vo.kill()
    assert vo.returncode == 0, err
    doc = json.loads(out)
    for t in doc["targets"]:
        for point, acc in t["accounting"].items():
            assert sum(acc[c] for c in CLASSES) == acc["read"], (t["name"], point, acc)
        # the books of the main point are those of its hop inwards, also while the guest was away: but for
        # packets under way where an epoch ends
        for hop in t["hops"]:
            if hop["to"] == "tap" and hop["from"] == (t.get("from_point") or "uplink"):
                here, there = t["accounting"]["host"]["read"], hop["accounting"]["from"]["read"]
                assert abs(here - there) <= 0.02 * there + 10, (t["name"], here, there)
        # nothing below 0 without its reason, and whatever the clocks did nothing impossible
        least = [f["latency_ns"]["min"] for d in t["directions"].values() for f in d.values()] + \
            [s["min"] for s in t["sum_ns"].values()]
        assert t["negative"] or all(x is None or x >= -2 for x in least), (t["name"], least)
        assert not any(n["impossible"] for n in t["negative"]), (t["name"], t["negative"])
    return {t["name"]: t for t in doc["targets"]}


def ping(last, interval="0.05"):
    return subprocess.Popen([VNETSCOPE, "lab", "exec", "--name", LAB, "client", "--", "ping", "-q", "-i",
                             interval, f"10.77.0.{last}"], stdout=subprocess.DEVNULL)


def answers(last):
    return node("client", "ping", "-c", "1", "-W", "1", f"10.77.0.{last}").returncode == 0


def event(t, kind):
    found = [e for e in t["events"] if e["kind"] == kind]
    assert found, (kind, t["events"])
    return found[0]


def no_relation_crossed(t, limit_ns=1.5e9):
    """Latencies without the seconds by which the relation changed."""
    for direction in t["directions"].values():
        f = direction["icmp"]["latency_ns"]
        assert f["min"] + f["err_plus_ns"] >= 0, f
        assert f["max"] < limit_ns, f


def pause_reboot_and_clock_set():
    up(2)
    qmp("vm1", {"execute": "set-action", "arguments": {"reboot": "reset"}})
    told = InGuest(VNETSCOPE, LAB, "date -s @$(($(date +%s) + 5))", 2)
    began = time.monotonic()
    vo = start_vo("vm1", "vm2")
    pings = [ping(11), ping(12)]
    time.sleep(1)
    reset_ns = time.time_ns()
    qmp("vm1", {"execute": "system_reset"})
    paused_ns = time.time_ns()
    qmp("vm2", {"execute": "stop"})
    least = time.monotonic()
    time.sleep(2)
    least = time.monotonic() - least
    qmp("vm2", {"execute": "cont"})
    most = (time.time_ns() - paused_ns) / 1e9
    wait_until("vm1 is back", lambda: answers(11), 40)
    time.sleep(max(0.0, 15 - (time.monotonic() - began)))
    told.now()
    time.sleep(4)
    t = finish(vo, pings)
    e = event(t["vm1"], "lost")
    assert abs(e["at_ns"] - reset_ns) < 2e9, (e, reset_ns)
    assert "rebooted" in event(t["vm1"], "reboot")["text"]
    no_relation_crossed(t["vm1"])
    e = event(t["vm2"], "stood_still")
    assert abs(e["at_ns"] - paused_ns) < 1e9, (e, paused_ns)
    said = float(re.search(r"for about ([\d.]+) s", e["text"]).group(1))
    assert least - 0.15 < said < most + 0.15, (e, least, most)  # two pings, one unit of what is printed
    e = event(t["vm2"], "clock_step")
    assert "+4." in e["text"] or "+5." in e["text"], e
    no_relation_crossed(t["vm2"])
    # both sides of each break are in the figures: 20 a second, of more than ten seconds
    assert t["vm2"]["directions"]["host_to_guest"]["icmp"]["matched"] > 150, t["vm2"]["directions"]
    assert not t["vm1"]["ended_early"] and not t["vm2"]["ended_early"], t


def a_stopped_process_is_named():
    """SIGSTOP of QEMU: nothing steps, since the guest's clock follows the host's; still it stood still."""
    up(1)
    pid = status(LAB)["guests"][0]["pid"]
    vo = start_vo("vm1")
    pings = [ping(11)]
    time.sleep(1.5)
    stopped_ns = time.time_ns()
    with frozen(pid):
        time.sleep(3)
    time.sleep(3)
    t = finish(vo, pings)["vm1"]
    e = event(t, "stood_still")
    assert abs(e["at_ns"] - stopped_ns) < 1e9, (e, stopped_ns)
    assert "stopped by a signal" in e["text"], e
    assert not t["ended_early"], t["ended_early"]


def in_host(*words):
    holder = status(LAB)["holder_pid"]
    return ok(subprocess.run(["nsenter", f"--net=/proc/{holder}/ns/net", *words], capture_output=True,
                             text=True, timeout=20))


def restore_elsewhere(name, folder):
    """Save the guest's state, end its QEMU, restore it in another one: what a migration does."""
    lab = status(LAB)
    pid = next(g["pid"] for g in lab["guests"] if g["name"] == name)
    with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
        words = f.read().split("\0")[:-1]
    qmp(name, {"execute": "stop"}, {"execute": "migrate", "arguments": {"uri": f"exec:cat>{folder}/state"}})
    wait_until("the state is saved", lambda: qmp(name, {"execute": "query-migrate"})[0].get("status")
               == "completed", 20)
    qmp(name, {"execute": "quit"})
    wait_until("it has ended", lambda: status(LAB)["guests"][0]["state"] == "exited")
    qemu = subprocess.Popen(["nsenter", f"--net=/proc/{lab['holder_pid']}/ns/net", *words, "-incoming",
                             f"exec:cat {folder}/state"], stdout=subprocess.DEVNULL)
    wait_until("the state is restored", lambda: restored(name), 20)
    qmp(name, {"execute": "cont"})
    return qemu


def what_users_do_meanwhile():
    """A guest reboots from inside, its console says it; another gets an address that nobody told and loses its
    tap; who holds a guest is named. The run ends in its time all the same."""
    up(2)
    busy = subprocess.Popen([VNETSCOPE, "lab", "exec", "--name", LAB, "vm2", "--", "sleep", "3"])
    time.sleep(1)
    for words in (("drift", f"lab:{LAB}/vm2"), ("vo", f"lab:{LAB}/vm2"), ("lab", "exec", "--name", LAB, "vm2", "true")):
        r = run(*words)
        assert r.returncode == 3 and f"process {busy.pid}: " in r.stderr and "vm2 -- sleep 3" in r.stderr, r
    busy.wait(20)
    qmp("vm1", {"execute": "set-action", "arguments": {"reboot": "reset"}})
    told = InGuest(VNETSCOPE, LAB, "reboot -f")
    vo = start_vo("vm1", "vm2")
    began = time.monotonic()
    pings = [ping(11), ping(12)]
    told.now("begun")
    wait_until("vm1 has gone", lambda: not answers(11), 20)
    wait_until("vm1 is back", lambda: answers(11), 60)
    time.sleep(5)
    in_host("ip", "link", "del", "tapvm2")
    time.sleep(2)
    for p in pings:
        p.terminate()
        p.wait()
    stopped = time.monotonic()
    t = finish(vo, [])
    print(f"     ran {stopped - began:.0f} s, ended {time.monotonic() - stopped:.1f} s after the interrupt")
    assert time.monotonic() - stopped < 8
    vm1, vm2 = t["vm1"], t["vm2"]
    assert "reboot: Restarting system" in event(vm1, "lost")["text"], vm1["events"]
    assert "rebooted" in event(vm1, "reboot")["text"] and not vm1["ended_early"], vm1
    no_relation_crossed(vm1)
    assert [e["kind"] for e in vm2["events"] if e["kind"] not in ("clock_step", "clock_changed")] == ["removed"], \
        vm2["events"]
    assert not vm2["ended_early"] and "tapvm2 was removed" in vm2["note"], vm2["note"]


def restored(name):
    try:
        return qmp(name, {"execute": "query-status"})[0]["status"] == "paused"
    except OSError:
        return False


def migration_and_changing_taps():
    ok(run("lab", "up", "--name", LAB, "--agent", AGENT, "--accel", "tcg", "-n", "2", "--queues", "2",
           "--vcpus", "2", timeout=300))
    vo = start_vo("vm1", "vm2")
    pings = [ping(11), ping(12)]
    folder = tempfile.mkdtemp(prefix="vns-ev-")
    qemu = None
    try:
        in_host("ip", "link", "set", "tapvm2", "name", "tapother")
        moved_ns = time.time_ns()
        qemu = restore_elsewhere("vm1", folder)
        wait_until("vm1 is back", lambda: answers(11), 40)
        in_host("ip", "link", "del", "tapother")
        time.sleep(0.5)
        in_host("ip", "tuntap", "add", "dev", "tapother", "mode", "tap", "vnet_hdr")
        in_host("ip", "link", "set", "tapother", "master", "br0", "up")
        time.sleep(5)
        t = finish(vo, pings)
    finally:
        vo.kill()
        if qemu:
            qemu.kill()
            qemu.wait()
        shutil.rmtree(folder)
    vm1, vm2 = t["vm1"], t["vm2"]
    e = event(vm1, "lost")
    assert abs(e["at_ns"] - moved_ns) < 5e9, (e, moved_ns)
    assert "has not rebooted" in event(vm1, "back")["text"]
    no_relation_crossed(vm1)
    assert vm1["directions"]["host_to_guest"]["icmp"]["matched"] > 50, vm1["accounting"]
    assert "tapvm1 has 2 queues" in (vm1["note"] or ""), vm1["note"]
    assert "tapother" in event(vm2, "renamed")["text"]
    event(vm2, "removed")
    event(vm2, "returned")
    no_relation_crossed(vm2)
    hops = {(h["from"], h["to"]): h["accounting"] for h in vm2["hops"]}
    # renamed, its tap was still captured; nothing is missing there since it is gone
    assert hops[("tap", "guest")]["from"]["matched"] > 20, hops
    assert hops[("tap", "guest")]["from"]["missing"] <= 2, hops


class Relay:
    """Stands in the place of vm1's port and passes on what is said, one connection at a time.

    @limits: for each connection in its turn, after how many requests of vo it is closed; the last one
    stands for all that follow, None: never. A request is what vo writes at once.
    """

    def __init__(self, *limits):
        self.limits, self.opened, self.closed, self.over = list(limits), 0, [], False
        self.place = f"{status(LAB)['folder']}/vm1.ctl"
        os.rename(self.place, self.place + ".real")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.place)
        self.listener.listen(1)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.over:
            host, _ = self.listener.accept()
            limit = self.limits[min(self.opened, len(self.limits) - 1)]
            self.opened += 1
            guest = socket.socket(socket.AF_UNIX)
            guest.connect(self.place + ".real")
            self.passes(host, guest, limit)
            self.closed.append(time.time_ns())
            host.close()
            guest.close()

    @staticmethod
    def passes(host, guest, limit):
        requests = 0
        while limit is None or requests < limit:
            for end in select.select([host, guest], [], [])[0]:
                try:
                    data = end.recv(65536)
                except ConnectionError:
                    return
                if not data:
                    return
                requests += end is host
                (guest if end is host else host).sendall(data)

    def end(self):
        """The port is as it was before."""
        self.over = True
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(self.place)
            except OSError:
                pass
        self.thread.join(timeout=5)
        self.listener.close()
        os.rename(self.place + ".real", self.place)


def closed_connections():
    """Lost while the first clock exchanges are made, again just after the reply to hello, and in the traffic."""
    up(1)
    holder = status(LAB)["holder_pid"]  # behind the relay status would ask the guest, too, by a connection of its own
    relay = Relay(12, 1, 60, 1, 2, None)
    try:
        vo = start_vo("vm1", holder=holder)
        pings = [ping(11)]
        wait_until("the last connection", lambda: relay.opened == 6, 40)
        time.sleep(4)
        t = finish(vo, pings)["vm1"]
    finally:
        vo.kill()
        relay.end()
    kinds = [e["kind"] for e in t["events"]]
    assert kinds == ["lost", "back", "lost", "back"], t["events"]
    first, second = (e for e in t["events"] if e["kind"] == "lost")
    assert "Before the traffic began" in first["text"] and "closed the connection" in first["text"], first
    assert "closed the connection" in second["text"], second
    # by the relay's clock, which is the host's
    assert abs(first["at_ns"] - relay.closed[0]) < 1e9 and abs(second["at_ns"] - relay.closed[2]) < 1e9, \
        (first, second, relay.closed)
    assert all("has not rebooted" in e["text"] for e in t["events"] if e["kind"] == "back"), t["events"]
    assert not t["ended_early"], t["ended_early"]
    assert t["directions"]["host_to_guest"]["icmp"]["matched"] > 50, t["accounting"]
    no_relation_crossed(t)


def a_port_that_is_gone():
    """Nobody takes connections any more: named, and no longer waited for than it is said."""
    up(1)
    relay = Relay(12, None)
    try:
        began = time.monotonic()
        vo = subprocess.Popen([VNETSCOPE, "vo", f"lab:{LAB}/vm1", "--json", "-t", "3"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        relay.over = True  # no second connection
        wait_until("the connection is closed", lambda: relay.closed, 40)
        relay.listener.close()
        err = vo.communicate(timeout=60)[1]
    finally:
        vo.kill()
        relay.end()
    assert vo.returncode == 3 and re.search("vm1 ended early: .*Connection refused$", err.strip()), (vo.returncode, err)
    assert time.monotonic() - began < 35, time.monotonic() - began


if os.geteuid() != 0:
    skip("needs root: looks into namespaces")
for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static")):
    if not shutil.which(program):
        skip(f"{program} is missing (Debian package {package})")
main([pause_reboot_and_clock_set, a_stopped_process_is_named, migration_and_changing_taps,
      closed_connections, a_port_that_is_gone, what_users_do_meanwhile], [LAB])
