#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope doctor against a machine whose state this test made itself: a network namespace with
a bridge and a tap that this process holds, privileges taken away, programs out of reach.

usage: test_doctor.py VNETSCOPE
"""
import ctypes
import fcntl
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from nettest import sh  # noqa: E402

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
PR_CAPBSET_DROP, CAP_NET_RAW = 24, 13
OF_EBPF = (12, 13, 21, 38, 39)  # CAP_NET_ADMIN, NET_RAW, SYS_ADMIN, PERFMON, BPF
PROGRAM = ""


def doctor(*arguments, path=None, prepare=None):
    environment = dict(os.environ)
    if path is not None:
        environment["PATH"] = path
    done = subprocess.run([PROGRAM, "doctor", "--json", *arguments], capture_output=True, text=True,
                          env=environment, stdin=subprocess.DEVNULL, timeout=60,
                          preexec_fn=prepare)
    return done, json.loads(done.stdout)


def checks(document):
    return {c["name"]: c for c in document["checks"]}


def without_net_raw():
    """In the child: root without CAP_NET_RAW, which exec then cannot give back."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0)


def without_bpf():
    for capability in OF_EBPF:
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def state_of_machine():
    """What a doctor that changes nothing leaves as it was."""
    def lines(path):
        with open(path, encoding="utf-8") as f:
            # the third column counts users: sockets of others come and go
            return sorted(line.split()[0] for line in f)
    return (sh("ip", "-o", "link"), sh("ip", "addr"), sh("ip", "rule"), sh("tc", "qdisc"),
            lines("/proc/modules") if os.path.exists("/proc/modules") else [],
            sorted(os.listdir("/run")), sorted(os.listdir("/tmp")))


class Doctor(unittest.TestCase):
    def test_links_and_owner(self):
        done, document = doctor()
        self.assertEqual(done.returncode, 0, done.stderr)
        links = {link["name"]: link for link in document["links"]}
        self.assertEqual(sorted(links), ["brx", "tapx"])
        self.assertEqual(links["brx"]["kind"], "bridge")
        tap = links["tapx"]
        self.assertEqual((tap["kind"], tap["bridge"], tap["owner_pid"]), ("tap", "brx", os.getpid()))
        with open("/proc/self/comm", encoding="utf-8") as f:
            self.assertEqual(tap["owner"], f.read().strip())
        self.assertIs(tap["offloads"]["gro"], False)
        sh("ethtool", "-K", "tapx", "gro", "on")
        self.assertIs({x["name"]: x for x in doctor()[1]["links"]}["tapx"]["offloads"]["gro"], True)

    def test_measured_figures(self):
        _, document = doctor()
        measured = document["measured"]
        for name in ("clock_read_ns", "oversleep_ns", "send_to_stamp_ns", "stamp_to_reader_ns"):
            figure = measured[name]
            self.assertGreater(figure["n"], 50, name)
            self.assertLessEqual(figure["min"], figure["p50"], name)
            self.assertLessEqual(figure["p50"], figure["max"], name)
        self.assertGreater(measured["send_to_stamp_ns"]["min"], 0)
        modes = {p["mode"]: p for p in document["precision"]}
        self.assertEqual(modes["same"]["error_ns"], 0)
        self.assertEqual(modes["exchange"]["error_ns"], measured["send_to_stamp_ns"]["min"])
        self.assertTrue(all(p["origin"] for p in document["precision"]))

    def test_no_privilege(self):
        done, document = doctor("--for", "live", prepare=without_net_raw)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(document["missing"], "packet_socket")
        self.assertEqual(checks(document)["packet_socket"]["verdict"], "no")
        done, document = doctor("--for", "live")
        self.assertEqual((done.returncode, document["missing"]), (0, None))

    def test_no_privilege_for_ebpf(self):
        """One sentence that names what is missing; nothing of a library's inside."""
        _, document = doctor(prepare=without_bpf)
        found = checks(document)
        if "built without" in found["ebpf_capture"]["detail"]:
            self.skipTest("built without eBPF")
        self.assertEqual(found["ebpf_capture"]["detail"], "eBPF capture needs the capabilities CAP_BPF, "
                         "CAP_NET_ADMIN and CAP_NET_RAW, which root does not have here (a container, or a "
                         "locked-down kernel)")
        self.assertIn("needs root or CAP_BPF", found["bpf"]["detail"])
        done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", PROGRAM, "doctor", "--json"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(checks(json.loads(done.stdout))["ebpf_capture"]["detail"], "eBPF capture needs the "
                         "capabilities CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW: run as root")

    def test_no_qemu(self):
        done, document = doctor("--for", "lab", path="/nonexistent")
        self.assertEqual((done.returncode, document["missing"]), (1, "qemu"))
        self.assertEqual(doctor(path="/nonexistent")[0].returncode, 0)

    def test_devices(self):
        _, document = doctor()
        found = checks(document)
        for name, path in (("tun", "/dev/net/tun"), ("vhost_net", "/dev/vhost-net"),
                           ("btf", "/sys/kernel/btf/vmlinux")):
            want = "yes" if os.path.exists(path) else "no"
            self.assertEqual(found[name]["verdict"], want, found[name])

    def test_idle_states(self):
        """As sysfs has it, which this test reads itself."""
        said = checks(doctor()[1])["idle_states"]["detail"]
        try:
            with open("/sys/devices/system/cpu/cpuidle/current_driver", encoding="utf-8") as f:
                driver = f.read().strip()
        except OSError:
            driver = "none"
        if driver == "none":
            self.assertRegex(said, "^no cpuidle driver: an idle processor halts")
        else:
            self.assertRegex(said, f"^cpuidle driver {re.escape(driver)}, governor ")

    def test_qdisc_verdicts(self):
        """Truth by tc itself, on the loopback device of this namespace."""
        _, document = doctor()
        for kind, words in (("tbf", "rate 1mbit burst 10kb latency 10ms"), ("netem", "delay 1ms")):
            done = subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", kind, *words.split()],
                                  capture_output=True)
            if done.returncode == 0:
                sh("tc", "qdisc", "del", "dev", "lo", "root")
            self.assertEqual(checks(document)[kind]["verdict"],
                             "yes" if done.returncode == 0 else "no", kind)

    def test_targets(self):
        done, document = doctor("ssh:-x")
        self.assertEqual(done.returncode, 3)
        self.assertEqual(document["missing"], "open")
        self.assertEqual(doctor("nosuchguest")[0].returncode, 3)

    def test_usage(self):
        for arguments in (["--for", "fun"], ["a", "b"], ["--nope"]):
            done = subprocess.run([PROGRAM, "doctor", *arguments], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertEqual(done.stdout, "")
            self.assertTrue(done.stderr.startswith("vnetscope doctor: "), done.stderr)

    def test_changes_nothing_in_time(self):
        before, start = state_of_machine(), time.monotonic()
        doctor()
        self.assertLess(time.monotonic() - start, 60)
        self.assertEqual(state_of_machine(), before)


def make_network():
    sh("mount", "-t", "sysfs", "sysfs", "/sys")  # sysfs shows the namespace it was mounted in
    # other tests come and go in these two
    for folder in ("/run", "/tmp"):
        sh("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", folder)
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", "brx", "type", "bridge")
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"tapx", IFF_TAP | IFF_NO_PI))
    # no address of its own, which the kernel would keep tentative for up to two seconds and then change
    sh("ip", "link", "set", "tapx", "addrgenmode", "none")
    sh("ip", "link", "set", "tapx", "master", "brx", "up")
    sh("ethtool", "-K", "tapx", "gro", "off")
    return tap


def main(argv):
    global PROGRAM
    if "VNS_DOCTOR_INSIDE" not in os.environ:
        for name in ("ip", "tc", "ethtool", "unshare"):
            if not shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
                print(f"{name} is not installed")
                return 77
        if os.geteuid() != 0:
            print("root is needed to make a namespace with a tap")
            return 77
        # The program is copied: /tmp, in which it may stand, is covered.
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            os.chmod(folder, 0o755)
            os.environ["VNS_DOCTOR_INSIDE"] = shutil.copy(argv[1], folder)
            return subprocess.run(["unshare", "--net", "--mount", "--propagation", "private",
                                   sys.executable, *argv]).returncode
    PROGRAM = os.environ["VNS_DOCTOR_INSIDE"]
    tap = make_network()
    result = unittest.main(argv=[argv[0]], exit=False).result
    os.close(tap)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
