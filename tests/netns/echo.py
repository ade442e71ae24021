# SPDX-License-Identifier: GPL-3.0-or-later
"""Echo servers and their clients as threads in network namespaces: conversations of known size, TCP and UDP.

@net is the path of a namespace (/run/netns/NAME, /proc/PID/ns/net). Threads are daemons: join them.
"""
import ctypes
import random
import socket
import subprocess
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
UDP_GRO = 104


def inside(net, work):
    """Call work() in a thread whose network is @net. Return: the thread, started."""
    def enter():
        with open(net, encoding="ascii") as f:
            if LIBC.setns(f.fileno(), CLONE_NEWNET):
                raise OSError("setns")
        work()
    t = threading.Thread(target=enter, daemon=True)
    t.start()
    return t


def settled(*nets, seconds=60):
    """
    No TCP connection there can send anything more by itself: its last segment, too, has been acknowledged. (A thread
    that closed its socket is through earlier than the kernel.)
    """
    quiet = {"06", "0A"}  # TIME_WAIT, LISTEN
    end = time.monotonic() + seconds
    for net in nets:
        while True:
            rows = subprocess.run(["nsenter", f"--net={net}", "cat", "/proc/net/tcp", "/proc/net/tcp6"], text=True,
                                  capture_output=True, timeout=60).stdout.splitlines()
            alive = [row for row in (line.split() for line in rows) if row[0] != "sl" and row[3] not in quiet]
            if not alive:
                break
            assert time.monotonic() < end, f"connections of {net} do not end: {alive}"
            time.sleep(0.02)


def serve(net, kind, port, ready, connections, timeout=60, family=socket.AF_INET):
    """Echo: of TCP so many connections until they end, of UDP until a datagram of one byte."""
    any_address = "::" if family == socket.AF_INET6 else "0.0.0.0"

    def tcp():
        with socket.create_server((any_address, port), family=family) as s:
            s.settimeout(timeout)
            ready.release()
            for _ in range(connections):
                c, _ = s.accept()
                with c:
                    while data := c.recv(65536):
                        c.sendall(data)

    def udp():
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.bind((any_address, port))
            s.settimeout(timeout)
            ready.release()
            data = b".."
            while len(data) > 1:
                data, peer = s.recvfrom(65536)
                s.sendto(data, peer)
    return inside(net, tcp if kind == "tcp" else udp)


def talk(net, to, kind, port, rng, connections, times, most, datagrams, pause=0, timeout=60):
    """
    Ask an echo server. TCP: in each of @connections @times up to @most bytes. UDP: @datagrams and the last of
    one byte, another for each port: conversations end at the same time. No other datagram ends in that byte, or the
    last could as well be a part of it (a frame's rest). A TCP exchange is followed by @pause seconds, a UDP one by
    half of that. What is sent depends on @rng and the order of the calls, not on how the threads take turns.
    """
    rng = random.Random(rng.getrandbits(64))

    def tcp():
        for _ in range(connections):
            with socket.create_connection((to, port), timeout=timeout) as s:
                for _ in range(times):
                    data, got = rng.randbytes(rng.randrange(1, most)), 0
                    s.sendall(data)
                    while got < len(data):
                        got += len(s.recv(65536))
                    time.sleep(pause)

    def udp():
        family, end = socket.AF_INET6 if ":" in to else socket.AF_INET, bytes([port % 256])
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.settimeout(timeout)
            for i in range(datagrams + 1):
                data = rng.randbytes(rng.randrange(29, 899)) + bytes([(end[0] + rng.randrange(1, 256)) % 256])
                s.sendto(data if i < datagrams else end, (to, port))
                s.recv(65536)
                time.sleep(pause / 2)
    return inside(net, tcp if kind == "tcp" else udp)


def sink(net, port):
    """Take UDP of both families, joined by the kernel where it can (UDP_GRO), until a datagram of one byte."""
    def work():
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            s.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
            s.bind(("::", port))
            s.settimeout(60)
            while len(s.recv(65536)) != 1:
                pass
    return inside(net, work)
