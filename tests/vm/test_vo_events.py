#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to guests while `vo` measures them: paused and resumed, rebooted, the clock set,
saved and restored in another QEMU, the tap renamed and removed.

Each must be named with its time, the run must go on, and no latency of packets before may be
corrected by a clock relation of after: a pause of two seconds would show as one.

Nothing is waited for by the clock: vo's own table says how far it is, and times that it tells are held against what
this test did before and after. A guest that gets no processor may give no sign of life for a while,
which vo names: such events may stand between those that are looked for.

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
from labtest import AGENT, VNETSCOPE, Live, frozen, gone, main, ok, run, skip, status, wait_until
from nettest import InGuest

LAB = f"t-ev{os.getpid() % 10**8}"
CLASSES = ("matched", "missing", "ambiguous", "outside_window", "undecodable")


def node(name, *words):
    return run("lab", "exec", "--name", LAB, name, "--", *words, timeout=60)


def up(guests, *words):
    """Return: the lab's object; asked again it would ask the guests, too, by connections of its own."""
    ok(run("lab", "up", "--name", LAB, "--agent", AGENT, "--accel", "tcg", "-n", str(guests), *words, timeout=300))
    return status(LAB)


def open_qmp(lab, name):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(f"{lab['folder']}/{name}.qmp")
    f = s.makefile("rw")
    f.readline()
    return s, f


def qmp(lab, name, *commands):
    s, f = open_qmp(lab, name)
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


def start_vo(*targets, words=()):
    vo = Live(*[f"lab:{LAB}/{t}" for t in targets], *words)
    vo.traffic()
    return vo


def finish(vo, pings):
    for p in pings:
        p.terminate()
        p.wait()
    doc = vo.finish()
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


def events(t, *kinds):
    return [e for e in t["events"] if e["kind"] in kinds]


def event(t, kind, words=""):
    found = [e for e in events(t, kind) if words in e["text"]]
    assert found, (kind, words, t["events"])
    return found[0]


def at_between(t, kind, from_ns, to_ns, words=""):
    """The event of @kind (with @words) that is told for a time between these two."""
    found = [e for e in events(t, kind) if words in e["text"] and from_ns <= e["at_ns"] <= to_ns]
    assert found, (kind, words, from_ns, to_ns, t["events"])
    return found[0]


def is_told(e, form, low, high):
    """Seconds after @form in the event's text, and their bounds in parentheses, which meet @low .. @high."""
    number = r"([-+]?[\d.]+)"
    about, least, most = map(float, re.search(form + number + rf" s \({number} to {number}\)", e["text"]).groups())
    unit = 0.001  # of what is printed
    assert least - unit <= about <= most + unit and least <= high + unit and most >= low - unit, (e, low, high)


def no_relation_crossed(t, limit_ns=1.5e9):
    """Latencies without the seconds by which the relation changed."""
    for direction in t["directions"].values():
        f = direction["icmp"]["latency_ns"]
        assert f["min"] + f["err_plus_ns"] >= 0, f
        assert f["max"] < limit_ns, f


def pause_reboot_and_clock_set():
    """By exchanges over the port: the first one after a pause was asked for before it and spans it."""
    lab = up(2)
    qmp(lab, "vm1", {"execute": "set-action", "arguments": {"reboot": "reset"}})
    told = InGuest(VNETSCOPE, LAB, "date -s @$(($(date +%s) + 5))", 2)
    vo = start_vo("vm1", "vm2", words=("-m", "channel"))
    pings = [ping(11), ping(12)]
    alive_ns = vo.goes_on("vm1")
    vo.goes_on("vm2", 120)
    qmp(lab, "vm1", {"execute": "system_reset"})
    pausing_ns = time.time_ns()
    qmp(lab, "vm2", {"execute": "stop"})
    paused_ns = time.time_ns()
    time.sleep(2)
    resuming_ns = time.time_ns()
    qmp(lab, "vm2", {"execute": "cont"})
    resumed_ns = time.time_ns()
    vo.goes_on("vm1", 100)
    vo.goes_on("vm2", 120)
    setting = time.monotonic()
    told.now()
    setting = time.monotonic() - setting
    vo.goes_on("vm2", 120)
    t = finish(vo, pings)
    back = event(t["vm1"], "reboot", "rebooted")
    at_between(t["vm1"], "lost", alive_ns, back["at_ns"])
    no_relation_crossed(t["vm1"])
    e = at_between(t["vm2"], "stood_still", alive_ns, resuming_ns, "its clock fell behind by that")
    is_told(e, "stood still for about ", (resuming_ns - paused_ns) / 1e9, (resumed_ns - pausing_ns) / 1e9)
    within = float(re.search(r"within the ([\d.]+) s from here", e["text"]).group(1))
    assert e["at_ns"] + within * 1e9 >= resuming_ns - 1e6, (e, resuming_ns)  # printed in ms
    # date cuts off what there is of a second, and takes its time
    e = event(t["vm2"], "clock_step", "stepped by +")
    is_told(e, "stepped by ", 4 - setting, 5)
    no_relation_crossed(t["vm2"])
    # what was matched before, between and after the breaks is in the figures, but for seconds around the breaks
    matched = sum(d["icmp"]["matched"] for d in t["vm2"]["directions"].values())
    assert matched > 3 * 120 - 60, (matched, t["vm2"]["directions"])
    assert not t["vm1"]["ended_early"] and not t["vm2"]["ended_early"], t


def a_stopped_process_is_named():
    """SIGSTOP of QEMU: nothing steps, since the guest's clock follows the host's; still it stood still."""
    lab = up(1)
    vo = start_vo("vm1")
    pings = [ping(11)]
    alive_ns = vo.goes_on("vm1", 60)
    said = vo.said.count("vm1: no sign of life")
    with frozen(lab["guests"][0]["pid"]):
        # one that is silent already is not told anew, but is taken for lost after 5 s
        end = time.monotonic() + 8
        vo.wait("it says that vm1 is silent",
                lambda: vo.said.count("vm1: no sign of life") > said or time.monotonic() > end)
        told_ns = time.time_ns()
    vo.goes_on("vm1", 200)
    t = finish(vo, pings)["vm1"]
    # silent for a second when it is said; frozen for more than five it is taken for lost and reached anew
    e = [e for e in events(t, "stood_still", "lost") if "stopped by a signal" in e["text"]]
    assert len(e) == 1 and alive_ns <= e[0]["at_ns"] <= told_ns - 1e9, (alive_ns, told_ns, t["events"])
    assert not t["ended_early"], t["ended_early"]


def in_host(lab, *words):
    return ok(subprocess.run(["nsenter", f"--net=/proc/{lab['holder_pid']}/ns/net", *words], capture_output=True,
                             text=True, timeout=60)).stdout


def restore_elsewhere(lab, name, folder):
    """Save the guest's state, end its QEMU, restore it in another one: what a migration does."""
    pid = next(g["pid"] for g in lab["guests"] if g["name"] == name)
    with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
        words = f.read().split("\0")[:-1]
    qmp(lab, name, {"execute": "stop"}, {"execute": "migrate", "arguments": {"uri": f"exec:cat>{folder}/state"}})
    wait_until("the state is saved", lambda: qmp(lab, name, {"execute": "query-migrate"})[0].get("status")
               == "completed", 90)
    qmp(lab, name, {"execute": "quit"})
    wait_until("it has ended", lambda: gone([pid]), 90)
    qemu = subprocess.Popen(["nsenter", f"--net=/proc/{lab['holder_pid']}/ns/net", *words, "-incoming",
                             f"exec:cat {folder}/state"], stdout=subprocess.DEVNULL)
    wait_until("the state is restored", lambda: restored(lab, name), 90)
    qmp(lab, name, {"execute": "cont"})
    return qemu


def holds(pid, name, lab):
    """The kernel says so: to try the lock would hold it, too."""
    inode = os.stat(f"{lab['folder']}/{name}.lock").st_ino
    with open("/proc/locks", encoding="ascii") as f:
        rows = [line.split() for line in f]
    return any("FLOCK" in r and "->" not in r and str(pid) in r and r[-3].endswith(f":{inode}") for r in rows)


def reset_seen(f):
    """QEMU says on @f that the guest has been reset."""
    while json.loads(f.readline()).get("event") != "RESET":
        pass


def what_users_do_meanwhile():
    """A guest reboots from inside, its console says it; another gets an address that nobody told and loses its
    tap; who holds a guest is named. The run ends in its time all the same."""
    lab = up(2)
    busy = subprocess.Popen([VNETSCOPE, "lab", "exec", "--name", LAB, "vm2", "--", "sleep", "999"])
    wait_until("it holds vm2", lambda: holds(busy.pid, "vm2", lab), 60)
    for words in (("drift", f"lab:{LAB}/vm2"), ("vo", f"lab:{LAB}/vm2"), ("lab", "exec", "--name", LAB, "vm2", "true")):
        r = run(*words)
        assert r.returncode == 3 and f"process {busy.pid}: " in r.stderr and "vm2 -- sleep 999" in r.stderr, r
    busy.terminate()
    busy.wait(60)
    qmp(lab, "vm1", {"execute": "set-action", "arguments": {"reboot": "reset"}})
    told = InGuest(VNETSCOPE, LAB, "reboot -f")
    vo = start_vo("vm1", "vm2")
    pings = [ping(11), ping(12)]
    alive_ns = vo.goes_on("vm1")
    vo.goes_on("vm2")
    s, f = open_qmp(lab, "vm1")
    f.write('{"execute": "qmp_capabilities"}\n')
    f.flush()
    told.now("begun")
    reset_seen(f)
    s.close()
    vo.goes_on("vm1", 100)
    in_host(lab, "ip", "link", "del", "tapvm2")
    vo.goes_on("vm1")
    for p in pings:
        p.terminate()
        p.wait()
    stopped = time.monotonic()
    t = finish(vo, [])
    print(f"     ended {time.monotonic() - stopped:.1f} s after the interrupt")
    vm1, vm2 = t["vm1"], t["vm2"]
    back = event(vm1, "reboot", "rebooted")
    e = at_between(vm1, "lost", alive_ns, back["at_ns"], "reboot: Restarting system")
    assert not vm1["ended_early"], (e, vm1["ended_early"])
    no_relation_crossed(vm1)
    assert len(events(vm2, "removed")) == 1 and not events(vm2, "lost", "back", "reboot", "renamed", "returned"), \
        vm2["events"]
    assert not vm2["ended_early"] and "tapvm2 was removed" in vm2["note"], vm2["note"]


def restored(lab, name):
    try:
        return qmp(lab, name, {"execute": "query-status"})[0]["status"] == "paused"
    except OSError:
        return False


def captured(lab, name):
    """Packet sockets on interface @name of the lab's host."""
    index = in_host(lab, "ip", "-o", "link", "show", name).split(":")[0]
    return sum(row.split()[4] == index for row in in_host(lab, "cat", "/proc/net/packet").splitlines()[1:])


def migration_and_changing_taps():
    lab = up(2, "--queues", "2", "--vcpus", "2")
    vo = start_vo("vm1", "vm2")
    pings = [ping(11), ping(12)]
    folder = tempfile.mkdtemp(prefix="vns-ev-")
    qemu = None
    try:
        alive_ns = vo.goes_on("vm1", 120)
        in_host(lab, "ip", "link", "set", "tapvm2", "name", "tapother")
        qemu = restore_elsewhere(lab, "vm1", folder)
        vo.goes_on("vm1", 100)
        vo.goes_on("vm2", 60)
        # nothing is under way to vm2 when its tap goes: whoever answers has read all that came before
        pings[1].terminate()
        pings[1].wait()
        ok(node("client", "ping", "-c", "1", "-W", "50", "10.77.0.12"))
        in_host(lab, "ip", "link", "del", "tapother")
        pings[1] = ping(12)
        vo.goes_on("vm1")
        in_host(lab, "ip", "tuntap", "add", "dev", "tapother", "mode", "tap", "vnet_hdr")
        in_host(lab, "ip", "link", "set", "tapother", "master", "br0", "up")
        vo.wait("it captures at the new tap", lambda: captured(lab, "tapother"))
        vo.goes_on("vm1")
        t = finish(vo, pings)
    finally:
        vo.kill()
        if qemu:
            qemu.kill()
            qemu.wait()
        shutil.rmtree(folder)
    vm1, vm2 = t["vm1"], t["vm2"]
    at_between(vm1, "lost", alive_ns, event(vm1, "back", "has not rebooted")["at_ns"])
    no_relation_crossed(vm1)
    matched = sum(d["icmp"]["matched"] for d in vm1["directions"].values())
    assert matched > 120 + 100 - 60, (matched, vm1["accounting"])  # before and after, but for seconds around it
    assert "tapvm1 has 2 queues" in (vm1["note"] or ""), vm1["note"]
    event(vm2, "renamed", "tapother")
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
    stands for all that follow, None: never. A request is what vo writes at once. @opened_ns: when each connection
    was; @said_ns: when the last words of the guest's were passed on there.
    """

    def __init__(self, lab, *limits):
        self.limits, self.opened_ns, self.said_ns, self.closed, self.over = list(limits), [], [], 0, False
        self.place = f"{lab['folder']}/vm1.ctl"
        os.rename(self.place, self.place + ".real")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.place)
        self.listener.listen(1)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.over:
            host, _ = self.listener.accept()
            limit = self.limits[min(len(self.opened_ns), len(self.limits) - 1)]
            self.opened_ns.append(time.time_ns())
            self.said_ns.append(None)
            guest = socket.socket(socket.AF_UNIX)
            guest.connect(self.place + ".real")
            self.passes(host, guest, limit)
            host.close()
            guest.close()
            self.closed += 1

    def passes(self, host, guest, limit):
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
                if end is guest:
                    self.said_ns[-1] = time.time_ns()  # just before vo can hear it
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
    lab = up(1)
    relay = Relay(lab, 12, 1, 60, 1, 2, None)
    vo = Live(f"lab:{LAB}/vm1")
    pings = [ping(11)]
    try:
        vo.wait("the last connection", lambda: len(relay.opened_ns) == 6)
        vo.traffic()
        vo.goes_on("vm1", 100)
        t = finish(vo, pings)["vm1"]
    finally:
        vo.kill()
        relay.end()
    told = events(t, "lost", "back", "reboot")
    assert [e["kind"] for e in told] == ["lost", "back", "lost", "back"], t["events"]
    first, second = (e for e in told if e["kind"] == "lost")
    assert "Before the traffic began" in first["text"] and "closed the connection" in first["text"], first
    assert "closed the connection" in second["text"], second
    # from when the guest spoke last: before vo came again
    for e, k in ((first, 0), (second, 2)):
        assert relay.said_ns[k] <= e["at_ns"] <= relay.opened_ns[k + 1], (e, k, relay.said_ns, relay.opened_ns)
    assert all("has not rebooted" in e["text"] for e in told if e["kind"] == "back"), t["events"]
    assert not t["ended_early"], t["ended_early"]
    assert sum(d["icmp"]["matched"] for d in t["directions"].values()) > 50, t["accounting"]
    no_relation_crossed(t)


def a_port_that_is_gone():
    """Nobody takes connections any more: named, and no longer waited for than it is said."""
    lab = up(1)
    relay = Relay(lab, 12, None)
    vo = subprocess.Popen([VNETSCOPE, "vo", f"lab:{LAB}/vm1", "--json", "-t", "600"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    try:
        relay.over = True  # no second connection
        wait_until("the connection is closed", lambda: relay.closed, 90)
        relay.listener.close()
        err = vo.communicate(timeout=90)[1]  # 10 s are waited for, not the 600 s of the run
    finally:
        vo.kill()
        relay.end()
    assert vo.returncode == 3 and re.search("vm1 ended early: .*Connection refused$", err.strip()), (vo.returncode, err)


if os.geteuid() != 0:
    skip("needs root: looks into namespaces")
for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static")):
    if not shutil.which(program):
        skip(f"{program} is missing (Debian package {package})")
main([pause_reboot_and_clock_set, a_stopped_process_is_named, migration_and_changing_taps,
      closed_connections, a_port_that_is_gone, what_users_do_meanwhile], [LAB])
