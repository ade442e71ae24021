# SPDX-License-Identifier: GPL-3.0-or-later
"""tcpdump in a namespace, stamping in nanoseconds, with nothing dropped: the captures of tests."""
import re
import signal
import subprocess
import time

from nettest import inside


class Capture:
    """One tcpdump at @ifname of @ns (its name, or the path of a namespace), @snap bytes of each packet into @path, from
    now until stop(). What the words of @expression select; OSError with tcpdump's when it does not run."""
    running = []

    def __init__(self, ns, ifname, path, snap, *expression):
        self.path = path
        self.p = subprocess.Popen(
            [*(['nsenter', '--net=' + ns] if '/' in ns else inside(ns)), 'tcpdump', '-i', ifname, '-s', str(snap),
             '-w', path, '-U', '--time-stamp-precision=nano', '-B', '32768', *expression],
            stderr=subprocess.PIPE, text=True)
        Capture.running.append(self)
        said = self.p.stderr.readline()
        if 'listening' not in said:
            raise OSError(said.strip() or 'tcpdump ended')

    def counts(self):
        """(written to the file, taken by the kernel), as tcpdump itself says when it is asked to."""
        self.p.send_signal(signal.SIGUSR1)
        said = self.p.stderr.readline()
        found = re.search(r'(\d+) packets? captured, (\d+) packets? received', said)
        if not found:
            raise OSError(said.strip() or 'tcpdump ended')
        return tuple(map(int, found.groups()))

    def stop(self, quiet=0.3):
        """Once nothing more has come for @quiet s, and all that came is in the file: the kernel hands its buffer over
        once a second, and a busy machine later. Of what came before the filter stood nothing is written: 3 s for that."""
        before, since = None, time.monotonic()
        while True:
            now = self.counts()
            if now != before:
                before, since = now, time.monotonic()
            still = time.monotonic() - since
            if still >= quiet and now[0] == now[1] or still >= 3:
                break
            time.sleep(0.05)
        self.p.terminate()
        said = self.p.communicate(timeout=10)[1]
        assert '\n0 packets dropped by kernel' in said, said
