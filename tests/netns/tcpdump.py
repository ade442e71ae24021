# SPDX-License-Identifier: GPL-3.0-or-later
"""tcpdump in a namespace, stamping in nanoseconds, with nothing dropped: the captures of tests."""
import subprocess
import time


class Capture:
    """One tcpdump at @ifname of @ns, @snap bytes of each packet into @path, from now until stop()."""
    running = []

    def __init__(self, ns, ifname, path, snap):
        self.path = path
        self.p = subprocess.Popen(
            ['ip', 'netns', 'exec', ns, 'tcpdump', '-i', ifname, '-s', str(snap), '-w', path, '-U',
             '--time-stamp-precision=nano', '-B', '32768'],
            stderr=subprocess.PIPE, text=True)
        Capture.running.append(self)
        assert 'listening' in self.p.stderr.readline()

    def stop(self, wait=1.5):
        time.sleep(wait)  # its buffer is handed over once a second
        self.p.terminate()
        said = self.p.communicate(timeout=10)[1]
        assert '\n0 packets dropped by kernel' in said, said
