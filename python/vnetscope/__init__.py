# SPDX-License-Identifier: GPL-3.0-or-later
"""vnetscope's engines in Python: captures to packets, round-trip times, latencies between two captures,
clock relations, distributions. No compiler and no numpy needed; with numpy, arrays without copies.

    import vnetscope
    with vnetscope.open("capture.pcap.gz") as capture:
        for packet in capture:
            print(packet.time_ns, packet.src, packet.dst)
    rtt = vnetscope.Rtt("capture.pcap").all().array()["rtt_ns"]

doc/python.md shows more. Times are nanoseconds in int: of packets since 1970 (UTC), as captured.

An argument that does not fit is a ValueError that names it; what cannot be done is an Error with the
library's sentence. Objects may be used from several threads, one at a time; stop() from any.
"""
from __future__ import annotations

import os
from typing import Optional, Union

from ._abi import Error, version
from .engines import Capture, Rtt, Twin
from .figures import Clock, ClockAt, ClockPiece, Distribution, intervals
from .rows import Packet, Rows, RttSample, TwinSample, address, kind_name

__all__ = ["Capture", "Clock", "ClockAt", "ClockPiece", "Distribution", "Error", "Packet", "Rows",
           "Rtt", "RttSample", "Twin", "TwinSample", "address", "intervals", "kind_name", "live", "open",
           "version"]


def open(path: Union[str, os.PathLike[str]], filter: str = "",
         point: Optional[int] = None) -> Capture:
    """A capture file, to be used in a `with`.

    filter: an expression of pcap-filter(7). point: of a pcapng with several interfaces the number of the
    one that is read (0: the first); without, iteration gives the packets of all, and engines read
    that of the first packet.
    """
    return Capture(path, filter, point)


def live(interface: str, filter: str = "", *, duration: Optional[float] = None,
         promiscuous: bool = False, snaplen: int = 0, ring_bytes: int = 0) -> Capture:
    """A live capture on an interface of this host (CAP_NET_RAW): ends after `duration` seconds, by stop()
    from any thread, or never. Iterate over it, or give it to Rtt, whose samples come as they are seen.

    snaplen: bytes kept of each packet (0: 128); ring_bytes: room for packets that wait (0: 16 MiB);
    stats["dropped"] says what the kernel lost.
    """
    return Capture.live(interface, filter, duration=duration, promiscuous=promiscuous,
                        snaplen=snaplen, ring_bytes=ring_bytes)
