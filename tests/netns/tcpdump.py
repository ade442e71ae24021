# SPDX-License-Identifier: GPL-3.0-or-later
"""tcpdump in a namespace, stamping in nanoseconds, with nothing dropped: the captures of tests."""
import subprocess
import time

from nettest import inside


class Capture:
    """One tcpdump at @ifname of @ns, @snap bytes of each packet into @path, from now until stop(). What the
    words of @expression select; OSError with tcpdump's when it does not run."""
    running = []

    def __init__(self, ns, ifname, path, snap, *expression):
        self.path = path
        self.p = subprocess.Popen(
            inside(ns, 'tcpdump', '-i', ifname, '-s', str(snap), '-w', path, '-U',
                   '--time-stamp-precision=nano', '-B', '32768', *expression),
            stderr=subprocess.PIPE, text=True)
        Capture.running.append(self)
        said = self.p.stderr.readline()
        if 'listening' not in said:
            raise OSError(said.strip() or 'tcpdump ended')

    def stop(self, wait=1.5):
        time.sleep(wait)  # its buffer is handed over once a second
        self.p.terminate()
        said = self.p.communicate(timeout=10)[1]
        assert '\n0 packets dropped by kernel' in said, said
