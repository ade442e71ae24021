#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ssh target against a real sshd, in namespaces that this test makes for itself.

usage: test_ssh.py VNETSCOPE AGENT [CASE...]

The test starts itself again in private mount, network and process-id namespaces: users, sudoers,
temporary folders and keys exist only there. The far machine is a network namespace behind a
bridge port, with sshd in it:

    br0 10.91.0.1 --- port1 === eth0 10.91.0.2, sshd on port 2222

Skipped without root, sshd, ssh or sudo.
"""
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from nettest import wait_reading, wait_written  # noqa: E402

WORK = "/run/vns-ssh"
FAR = "10.91.0.2"
PORT = 2222
TMPS = ["/tmp", "/var/tmp", "/dev/shm"]
USERS = {"vnsplain": 4711, "vnssudo": 4712, "vnsfalse": 4713}
PREFIX = "ssh:"


def sh(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


def skip(reason):
    print(reason)
    sys.exit(77)


def private_file(path, extra):
    """Cover @path with a copy that has @extra at its end; only this mount namespace sees it."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    copy = f"{WORK}/etc/{os.path.basename(path)}"
    write(copy, text + extra, os.stat(path).st_mode & 0o777)
    shutil.chown(copy, 0, os.stat(path).st_gid)
    sh("mount", "--bind", copy, path)


class Bench:
    """The near and the far machine."""

    def __init__(self, program, agent):
        sh("mount", "-t", "tmpfs", "tmpfs", "/run")
        os.makedirs(f"{WORK}/bin")
        # /tmp is about to be covered, and what is tested may stand in it.
        self.program = shutil.copy(program, f"{WORK}/bin/vnetscope")
        self.agent = shutil.copy(agent, f"{WORK}/bin/vnetscope-agent")
        for folder in TMPS:
            sh("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", folder)
        self.make_users()
        self.make_keys()
        self.make_network()
        self.sshd = None
        self.start_sshd()

    def make_users(self):
        lines = groups = shadow = ""
        for name, uid in USERS.items():
            shell = "/bin/false" if name == "vnsfalse" else "/bin/sh"
            lines += f"{name}:x:{uid}:{uid}::{WORK}/home/{name}:{shell}\n"
            groups += f"{name}:x:{uid}:\n"
            shadow += f"{name}:*:19000:0:99999:7:::\n"
        private_file("/etc/passwd", lines)
        private_file("/etc/group", groups)
        private_file("/etc/shadow", shadow)
        write(f"{WORK}/etc/sudoers", "Defaults use_pty\nroot ALL=(ALL) ALL\n"
              "vnssudo ALL=(ALL) NOPASSWD: ALL\n", 0o440)
        sh("mount", "--bind", f"{WORK}/etc/sudoers", "/etc/sudoers")
        for name, uid in USERS.items():
            home = f"{WORK}/home/{name}"
            # A login that talks: what it prints must not be taken for the agent.
            write(f"{home}/.ssh/rc", "echo welcome to this machine; echo and a complaint >&2\n")
            for path in (home, f"{home}/.ssh", f"{home}/.ssh/rc"):
                os.chown(path, uid, uid)

    def make_keys(self):
        for name in ("host", "client", "stranger"):
            sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{WORK}/key_{name}")
        with open(f"{WORK}/key_host.pub", encoding="utf-8") as f:
            public = " ".join(f.read().split()[:2])
        write(f"{WORK}/known", f"[{FAR}]:{PORT} {public}\n")
        write(f"{WORK}/unknown", "")
        os.makedirs(f"{WORK}/auth")
        shutil.copy(f"{WORK}/key_client.pub", f"{WORK}/auth/keys")
        os.chmod(f"{WORK}/auth/keys", 0o644)
        # The program runs plain "ssh"; this one has the test's configuration.
        self.ssh_settings("client", "known")
        write(f"{WORK}/bin/ssh", f'#!/bin/sh\nexec {shutil.which("ssh")} -F {WORK}/ssh_config "$@"\n',
              0o755)

    def ssh_settings(self, key, known, strict="yes"):
        write(f"{WORK}/ssh_config", f"IdentityFile {WORK}/key_{key}\nIdentitiesOnly yes\n"
              f"UserKnownHostsFile {WORK}/{known}\nGlobalKnownHostsFile /dev/null\n"
              f"StrictHostKeyChecking {strict}\nRemoteCommand echo wrong\n")

    def make_network(self):
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "link", "add", "br0", "type", "bridge")
        self.holder = subprocess.Popen(["unshare", "-n", "sleep", "infinity"])
        self.far = f"/proc/{self.holder.pid}/ns/net"
        while os.stat(self.far).st_ino == os.stat("/proc/self/ns/net").st_ino:
            time.sleep(0.01)
        sh("ip", "link", "add", "port1", "type", "veth", "peer", "name", "eth0", "netns",
           str(self.holder.pid))
        for command in ("addr add 10.91.0.1/24 dev br0", "link set br0 up",
                        "link set port1 master br0 up"):
            sh("ip", *command.split())
        for command in ("link set lo up", f"addr add {FAR}/24 dev eth0", "link set eth0 up"):
            sh("nsenter", f"--net={self.far}", "ip", *command.split())

    def start_sshd(self):
        write(f"{WORK}/sshd_config", f"Port {PORT}\nListenAddress {FAR}\nHostKey {WORK}/key_host\n"
              f"AuthorizedKeysFile {WORK}/auth/keys\nUsePAM no\nStrictModes no\n"
              "PermitRootLogin prohibit-password\nPasswordAuthentication no\n"
              "KbdInteractiveAuthentication no\nPidFile none\nPermitUserRC yes\n")
        os.makedirs("/run/sshd", exist_ok=True)
        self.sshd = subprocess.Popen(
            ["nsenter", f"--net={self.far}", shutil.which("sshd", path="/usr/sbin:/usr/bin"), "-D",
             "-e", "-f", f"{WORK}/sshd_config"],
            stderr=open(f"{WORK}/sshd.log", "w", encoding="utf-8"))
        for _ in range(200):
            if f":{PORT:04X}" in sh("nsenter", f"--net={self.far}", "cat", "/proc/net/tcp"):
                return
            time.sleep(0.02)
        raise RuntimeError("sshd did not start: " + open(f"{WORK}/sshd.log").read())

    def environment(self):
        return {"PATH": f"{WORK}/bin:{os.environ['PATH']}", "HOME": WORK, "LC_ALL": "C",
                **{k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}}

    def run(self, *arguments, limit=60):
        return subprocess.run([self.program, *arguments], capture_output=True, text=True,
                              env=self.environment(), timeout=limit, stdin=subprocess.DEVNULL)

    def doctor(self, user, *more):
        done = self.run("doctor", "--json", f"{PREFIX}{user}@{FAR}:{PORT}", *more)
        try:
            document = json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"exit {done.returncode}, no JSON: {done.stdout}{done.stderr}")
        checks = {c["name"]: c for c in document["checks"] if c["group"] == "target"}
        return done, checks

    def far_processes(self):
        """Everything in the far namespace but the listening sshd and the namespace's holder."""
        found = []
        inode = os.stat(self.far).st_ino
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.stat(f"/proc/{pid}/ns/net").st_ino != inode:
                    continue
                with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
                    line = f.read().replace("\0", " ").strip()
            except OSError:
                continue
            if line and int(pid) not in (self.holder.pid, self.sshd.pid):
                found.append((int(pid), line))
        return found

    def left_behind(self):
        """Files in every folder that the agent may have been stored in, and processes."""
        places = TMPS + [f"{WORK}/home/{u}" for u in USERS] + [f"{WORK}/home/{u}/.cache" for u in USERS]
        files = [os.path.join(p, n) for p in places if os.path.isdir(p) for n in os.listdir(p)
                 if n.startswith("vnetscope")]
        return files + [line for _, line in self.far_processes()]

    def expect_nothing_left(self, within=60.0):
        deadline = time.monotonic() + within
        while self.left_behind() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not self.left_behind(), f"left behind: {self.left_behind()}"


def expect_capture(bench, user):
    done, checks = bench.doctor(user)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr} {checks}"
    assert checks["capture"]["verdict"] == "yes", checks["capture"]
    bench.expect_nothing_left()
    return checks


def case_root(b):
    """A root login captures; the place on our bridge is found; our own connection is left out."""
    checks = expect_capture(b, "root")
    assert checks["host_points"]["detail"] == "bridge br0, tap port1", checks["host_points"]
    own = checks["own_traffic"]["detail"]
    assert f"host 10.91.0.1 and host {FAR}" in own and f"port {PORT}" in own, own


def case_plain_user(b):
    """Without privilege the agent runs, and says why it cannot capture."""
    done, checks = b.doctor("vnsplain")
    assert done.returncode == 1, done.returncode
    assert checks["agent"]["verdict"] == "yes" and checks["capture"]["verdict"] == "no", checks
    assert "Operation not permitted" in checks["capture"]["detail"] or \
        "privilege" in checks["capture"]["detail"] or "root" in checks["capture"]["detail"], checks
    b.expect_nothing_left()


def case_sudo(b):
    """A login that may use sudo without a password captures."""
    expect_capture(b, "vnssudo")


def remount(option, folders):
    for folder in folders:
        sh("mount", "-o", f"remount,{option}", folder)


def case_noexec_tmp(b):
    """/tmp does not let programs run: another folder is taken."""
    remount("noexec", ["/tmp"])
    try:
        expect_capture(b, "root")
        expect_capture(b, "vnssudo")
    finally:
        remount("exec", ["/tmp"])


def case_noexec_everywhere(b):
    """No folder lets programs run: one sentence, nothing left."""
    home = f"{WORK}/home/vnsplain"
    sh("mount", "-t", "tmpfs", "-o", "noexec,mode=755,uid=4711", "tmpfs", home)
    remount("noexec", TMPS)
    try:
        done, _ = b.doctor("vnsplain")
        assert done.returncode == 3, done.returncode
        assert "no folder there lets a program be stored and run" in done.stderr, done.stderr
        b.expect_nothing_left()
    finally:
        remount("exec", TMPS)
        sh("umount", home)


def case_full_disk(b):
    """The agent does not fit: one sentence with the folder."""
    for folder in TMPS:
        sh("mount", "-t", "tmpfs", "-o", "mode=1777,size=64k", "tmpfs", folder)
    try:
        done, _ = b.doctor("root")
        assert done.returncode == 3, done.returncode
        assert "bytes of the agent could be stored in /tmp" in done.stderr, done.stderr
        b.expect_nothing_left()
    finally:
        for folder in TMPS:
            sh("umount", folder)


def expect_refusal(b, words, user="root", port=PORT):
    done = b.run("doctor", "--json", f"{PREFIX}{user}@{FAR}:{port}")
    assert done.returncode == 3, f"exit {done.returncode}: {done.stderr}"
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and words in lines[0], lines


def case_wrong_key(b):
    """ssh's own sentence reaches the user."""
    b.ssh_settings("stranger", "known")
    try:
        expect_refusal(b, "Permission denied (publickey)")
    finally:
        b.ssh_settings("client", "known")


def case_unknown_host(b):
    b.ssh_settings("client", "unknown")
    try:
        expect_refusal(b, "Host key verification failed")
    finally:
        b.ssh_settings("client", "known")


def case_prompt(b):
    """On a terminal ssh asks its own question there, and the answer is taken."""
    b.ssh_settings("client", "unknown", strict="ask")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(b.program, [b.program, "doctor", f"{PREFIX}root@{FAR}:{PORT}"], b.environment())
    shown, answered, deadline = "", False, time.monotonic() + 100
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                shown += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # the far end of the terminal is closed
                break
            if not answered and "continue connecting" in shown:
                os.write(terminal, b"yes\n")
                answered = True
        else:
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert answered and status == 0, (answered, status, shown[-600:])
        b.expect_nothing_left()
    finally:
        os.close(terminal)
        write(f"{WORK}/unknown", "")
        b.ssh_settings("client", "known")


def case_other_machine(b):
    """A machine type without an agent is named; so is an agent that the far kernel refuses."""
    real = shutil.which("uname")
    for machine, words in (("riscv64", "no agent for machine type 'riscv64'"),
                           ("aarch64", "xec format error")):
        write(f"{WORK}/bin/vnetscope-agent-arm64", "\x7fELF of another machine\n", 0o755)
        write(f"{WORK}/uname", f"#!/bin/sh\necho {machine}\n", 0o755)
        sh("mount", "--bind", f"{WORK}/uname", real)
        try:
            expect_refusal(b, words)
            b.expect_nothing_left()
        finally:
            sh("umount", real)


def case_refused_port(b):
    expect_refusal(b, "Connection refused", port=PORT + 1)


def case_bad_place(b):
    """What is no place, or would be an option of ssh, is refused before ssh is started."""
    for place in ("", "user@", "-oProxyCommand=id", "x@-oProxyCommand=id", "host:0", "host:99999",
                  "host:2x", "a b", "[::1", "@host"):
        done = b.run("doctor", "--json", PREFIX + place)
        assert done.returncode == 3 and "is not [USER@]HOST[:PORT]" in done.stderr, \
            f"{place!r}: exit {done.returncode}: {done.stderr}"


def case_dead_login(b):
    """An account whose shell ends at once is an error that says so: no wait, whose end would say that nothing answered."""
    expect_refusal(b, "the connection ended", user="vnsfalse")


def case_vo(b):
    """vo over ssh: found on our bridge; ping is matched both ways, the ssh connection left out."""
    vo = subprocess.Popen([b.program, "vo", "--json", "--duration", "600", f"{PREFIX}root@{FAR}:{PORT}"],
                          env=b.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True)
    try:
        wait_reading(vo)
        sh("ping", "-q", "-c", "60", "-i", "0.02", FAR)
        vo.send_signal(signal.SIGINT)
        out, said = vo.communicate(timeout=60)
    finally:
        vo.kill()
    target = json.loads(out)["targets"][0]
    assert vo.returncode == 0, f"exit {vo.returncode}: {said}"
    for way, figures in target["directions"].items():
        assert figures["icmp"]["matched"] > 50, (way, figures["icmp"]["matched"])
        assert not figures.get("tcp") or figures["tcp"]["matched"] == 0, (way, figures["tcp"])
    b.expect_nothing_left()


def session_pids(bench, word):
    return [pid for pid, line in bench.far_processes() if word in line]


def start_drift(bench, seconds):
    return subprocess.Popen(
        [bench.program, "drift", "--json", "--mode", "channel", "--duration", str(seconds),
         f"{PREFIX}root@{FAR}:{PORT}"], env=bench.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_agent(bench, process, answers=0):
    """The far agent's process id: the only one there that runs from an open descriptor. @answers: once it gave these."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        pids = session_pids(bench, "--stdio")
        if pids:
            wait_written(pids[0], answers)
            return pids[0]
        time.sleep(0.02)
    raise AssertionError(f"no agent came up: {process.communicate(timeout=5)}")


def case_killed_sshd(b):
    """The connection's sshd dies in mid-run: what was measured is kept, and says so."""
    process = start_drift(b, 600)
    wait_for_agent(b, process, 12)
    for pid in session_pids(b, "sshd: root"):
        os.kill(pid, signal.SIGKILL)
    out, said = process.communicate(timeout=60)
    document = json.loads(out)
    assert process.returncode == 3, (process.returncode, said)
    assert "closed by remote host" in document["ended_early"], (document["ended_early"], said)
    assert document["exchanges"]["used"] > 0, document["exchanges"]
    b.expect_nothing_left()


def case_killed_agent(b):
    """The agent dies, perhaps before the first exchange: an end in time that says so."""
    process = start_drift(b, 600)
    os.kill(wait_for_agent(b, process), signal.SIGKILL)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 3 and said.strip(), (process.returncode, said, out[:500])
    b.expect_nothing_left()


def case_killed_vnetscope(b):
    """We die ourselves, by kill -9: the far machine is clean all the same."""
    process = start_drift(b, 600)
    wait_for_agent(b, process)
    process.kill()
    process.communicate()
    b.expect_nothing_left()


def ignores_interrupts(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        ignored = next(line for line in f if line.startswith("SigIgn:")).split()[1]
    return bool(int(ignored, 16) >> (signal.SIGINT - 1) & 1)


def case_interrupt(b):
    """Ctrl-C reaches the whole foreground group; the connection must outlive it for the result."""
    process = start_drift(b, 600)
    wait_for_agent(b, process, 12)
    children = sh("pgrep", "-P", str(process.pid)).split()
    assert children and all(map(ignores_interrupts, children)), children
    os.killpg(process.pid, signal.SIGINT)
    out, said = process.communicate(timeout=60)
    document = json.loads(out)
    assert process.returncode in (0, 4), (process.returncode, said)
    assert document["interrupted"] and not document["ended_early"], document["ended_early"]
    assert document["exchanges"]["used"] > 0, document["exchanges"]
    b.expect_nothing_left()


def main(argv):
    if "VNS_SSH_INSIDE" not in os.environ:
        if os.geteuid() != 0:
            skip("root is needed to make users that exist only in a mount namespace")
        for name in ("ssh", "sudo", "ssh-keygen", "unshare", "nsenter", "ip", "/usr/sbin/sshd"):
            if not shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
                skip(f"{name} is not installed")
        # --kill-child: with this process everything inside ends, whatever happens.
        os.environ["VNS_SSH_INSIDE"] = "1"
        os.execvp("setsid", ["setsid", "-w", "unshare", "--mount", "--net", "--pid", "--fork",
                             "--kill-child", "--mount-proc", "--propagation", "private",
                             sys.executable, *argv])
    bench = Bench(os.path.abspath(argv[1]), os.path.abspath(argv[2]))
    cases = {n[5:]: f for n, f in globals().items() if n.startswith("case_")}
    wanted = argv[3:] or list(cases)
    failed = 0
    for name in wanted:
        start = time.monotonic()
        try:
            cases[name](bench)
            verdict = "ok"
        except Exception as e:  # the other cases still run
            failed += 1
            verdict = f"FAILED: {type(e).__name__}: {e}"
            if not isinstance(e, AssertionError):
                traceback.print_exc()
        print(f"{name}: {verdict} ({time.monotonic() - start:.1f} s)", flush=True)
    bench.sshd.kill()
    bench.holder.kill()
    print(f"{len(wanted)} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
