# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures and engines: the library works on whole batches, Python sees their results."""
from __future__ import annotations

import ctypes
import ipaddress
import math
import os
import threading
import time
from types import TracebackType
from typing import Any, Callable, Generic, Iterable, Iterator, Optional, TypeVar, Union

from . import _abi
from .rows import (Packet, RttSample, Rows, TwinSample, address, packets, rtt_samples, twin_samples)

BATCH = 4096  # packets decoded at once: 512 KiB, half of a common second-level cache
_EOF = -0x10000
T = TypeVar("T")
E = TypeVar("E", bound="_Engine[Any]")
METHODS = ("auto", "ts", "seq", "both")  # enum vns_rtt_method

_P = ctypes.c_void_p
_SIZE = ctypes.c_size_t
_open = _abi.declare("vns_source_open_file", ctypes.c_int, _P, ctypes.c_char_p, _P, _P)
_live = _abi.declare("vns_source_open_live", ctypes.c_int, _P, ctypes.c_char_p, _P, _P)
_next = _abi.declare("vns_source_next", ctypes.c_int, _P, _P, _SIZE, _P)
_stats = _abi.declare("vns_source_stats", None, _P, _P)
_sentence = _abi.declare("vns_source_sentence", ctypes.c_char_p, _P)
_close = _abi.declare("vns_source_close", None, _P)
_of_point = _abi.declare("vns_packets_of_point", _SIZE, _P, _SIZE, ctypes.c_uint16)
_collector_new = _abi.declare("vns_collector_new", ctypes.c_int, _P, _SIZE)
_collector_free = _abi.declare("vns_collector_free", None, _P)
_collector_take = _abi.declare("vns_collector_take", ctypes.c_int, _P, _P, _P)
_rtt = {name: _abi.declare("vns_" + name, result, *arguments) for name, result, arguments in (
    ("rtt_new", ctypes.c_int, (_P, _P, _P)), ("rtt_free", None, (_P,)),
    ("rtt_feed", ctypes.c_int, (_P, _P, _SIZE)), ("rtt_finish", None, (_P,)),
    ("rtt_get_counts", None, (_P, _P)), ("rtt_app_new", ctypes.c_int, (_P, _P, _P)),
    ("rtt_app_free", None, (_P,)), ("rtt_app_feed", ctypes.c_int, (_P, _P, _SIZE)),
    ("rtt_app_finish", None, (_P,)))}
_twin = {name: _abi.declare("vns_twin_" + name, result, *arguments) for name, result, arguments in (
    ("new", ctypes.c_int, (_P, _P, _P, _P, _P)), ("free", None, (_P,)),
    ("feed", ctypes.c_int, (_P, ctypes.c_int, _P, _SIZE)), ("finish", None, (_P,)),
    ("get_counts", None, (_P, ctypes.c_int, _P)), ("evicted", ctypes.c_uint64, (_P,)))}
_strange = _abi.declare("vns_vo_senders_filter", ctypes.c_uint64, _P, _P, _SIZE)
_learn = _abi.declare("vns_measure_vo_learn", ctypes.c_int, _P, ctypes.c_char_p, _P, _P)

_NAT_ON, _NAT_OFF = 1, 2  # enum vns_nat_mode
_GUESTS = 64    # addresses of one guest at most
_WINDOW_NS = 5 * 10**9  # the longest latency looked for, unless told
_COARSE_NS = 10**9      # how far an offset may be wrong that is given "to about a second"


class Unlearnt(_abi.Error, ValueError):
    """The captures do not show what was not given: the sentence tells which argument is wanted."""


def _pointer(buffer: Any) -> Any:
    return (ctypes.c_char * len(buffer)).from_buffer(buffer)


def _taken(at: Any, size: int) -> bytearray:
    """The library's bytes, copied once."""
    data = bytearray(size)
    if size:
        ctypes.memmove(_pointer(data), at, size)
    return data


class Capture(_abi.Owner):
    """A capture file being read: pcap or pcapng, also compressed; or, made by live(), an interface. Use
    it once, in a `with`.

    Iterate for one Packet at a time (about 2 us each), or take batches() for arrays: these hold the
    packets of all capture points, or of `point` where one is chosen. Engines read one point: that one,
    else that of the first packet. other_points counts what was passed over for it. A point that the
    file has no packet of is an error at its end.
    """

    def __init__(self, path: Union[str, os.PathLike[str]], filter: str = "",
                 point: Optional[int] = None) -> None:
        name = _abi.word("path", path)
        self._begin(os.fsdecode(name), point)
        self._open(_open, name, filter)

    @classmethod
    def live(cls, interface: str, filter: str = "", *, duration: Optional[float] = None,
             promiscuous: bool = False, snaplen: int = 0, ring_bytes: int = 0) -> Capture:
        """See vnetscope.live()."""
        name = _abi.word("interface", interface)
        seconds = math.inf if duration is None else _abi.real("duration", duration, "seconds", 0)
        self = cls.__new__(cls)
        self._begin(os.fsdecode(name), None)
        self._open(_live, name, filter, promisc=promiscuous, snaplen=snaplen, ring_bytes=ring_bytes)
        self._is_live = True
        self._until = time.monotonic() + seconds
        return self

    def _begin(self, name: str, point: Optional[int]) -> None:
        self._source = _P()
        self._lock = threading.RLock()  # what is read is in one place; closed is closed for all
        self._reader: Optional[object] = None
        self.point = None if point is None else _abi.whole("point", point, 0, 2**16 - 1)
        self._chosen, self._kept, self.other_points, self._first = point is not None, 0, 0, 0
        self.name = name
        self._is_live, self._ended, self._until = False, False, float("inf")
        self._late_ns, self._passed = 0, False
        self._last: Optional[tuple[dict[str, Any], Optional[str]]] = None
        self._err = _abi.Sentence()
        self._room = ctypes.create_string_buffer(BATCH * _abi.layout("packet").size + 64)
        # the library wants packets on a cache line
        self._at = (ctypes.addressof(self._room) + 63) & ~63

    def _open(self, how: Any, name: bytes, filter: str, **more: Any) -> None:
        self._filter = _abi.word("filter", filter)
        text = ctypes.c_char_p(self._filter)
        options = _abi.layout("source_opts").pack(filter=ctypes.cast(text, _P).value, **more)
        self._err.raise_for(how(ctypes.byref(self._source), name, _pointer(options),
                                self._err.buffer))

    def stop(self) -> None:
        """A live capture: hand out what is there and end. From any thread or a signal's handler."""
        self._until = 0.0

    def close(self) -> None:
        """Ends reading; again: nothing. stats and sentence stay."""
        with self._lock:
            if self._source:
                self._last = self.stats, self.sentence
                _close(self._source)
                self._source = _P()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_source", None):
            _close(self._source)

    def _check(self) -> None:
        if not self._source:
            raise _abi.Error(f"{self.name} is closed")
        if self._ended:
            raise _abi.Error(f"{self.name} was read to its end: open it again")

    def _again(self) -> bool:
        """Can its file be opened once more and is from its start then?"""
        return not self._is_live and os.path.isfile(os.fsencode(self.name))

    def _claim(self, reader: object) -> None:
        """From now on only this engine reads: what others took would be missing there."""
        with self._lock:
            self._check()
            if self._reader is not None:
                raise _abi.Error(f"{self.name} is read by an engine already: open it again")
            self._reader = reader

    def _look(self, reader: Optional[object]) -> Optional[int]:
        """Decodes what is there to self._at. Return: packets, 0 at the end; None: nothing yet."""
        self._check()
        if self._reader is not reader:
            raise _abi.Error(f"{self.name} is read by an engine: open it again")
        if self._is_live and not self._late_ns and time.monotonic() >= self._until:
            self._late_ns = time.time_ns()
        n = _EOF if self._passed else _next(self._source, self._at, BATCH, self._err.buffer)
        if n == _EOF or (self._late_ns and n == 0):
            self._ended = True
            return 0
        if not self._err.raise_for(n):
            return None
        # what waits was captured in time, but traffic may never cease
        self._passed = 0 < self._late_ns < self._stamp(n - 1)
        return n

    def _stamp(self, i: int) -> int:
        layout = _abi.layout("packet")
        return ctypes.c_int64.from_address(
            self._at + i * layout.size + layout.field("time_ns").offset).value

    def _one_point(self, n: int) -> Optional[int]:
        """Of these packets those of the point that is read, to the front. Return: as _look()."""
        if n and (self.point is None or not self._kept + self.other_points):
            f = _abi.layout("packet").field("point")
            self._first = ctypes.c_uint16.from_address(self._at + f.offset).value
            self.point = self._first if self.point is None else self.point
        kept = _of_point(self._at, n, self.point or 0) if n else 0
        self._kept += kept
        self.other_points += n - kept
        if not n and not self._kept and self.other_points:
            raise _abi.Error(f"point: {self.name} has no packet of point {self.point} among {self.other_points}; "
                             f"its first one is of point {self._first}")
        return kept if kept or not n else None

    def _fill(self, take: Callable[[int], T], reader: Optional[object] = None) -> T:
        """Waits for packets and gives their number to `take`: to copy them, unless only `reader` reads."""
        while True:
            with self._lock:
                n = self._look(reader)
                if n is not None and (self._chosen or reader is not None):
                    n = self._one_point(n)
                if n is not None:
                    return take(n)
            time.sleep(1e-4)  # other threads' turn: stats, close()

    def _fill_point(self, reader: object) -> int:
        return self._fill(int, reader)

    def _copy(self, n: int) -> bytearray:
        return _taken(self._at, n * _abi.layout("packet").size)

    def batches(self, size: int = BATCH) -> Iterator[Rows[Packet]]:
        """Packets in copies of about `size` (a file's last one may be shorter). Live: as they come."""
        enough = _abi.whole("size", size, 1) * _abi.layout("packet").size
        return self._batches(enough)

    def _batches(self, enough: int) -> Iterator[Rows[Packet]]:
        held = bytearray()
        more = self._fill(self._copy)
        while more:
            held = held + more if held else more
            if len(held) >= enough or self._is_live:
                yield Rows("packet", held, packets)
                held = bytearray()
            more = self._fill(self._copy)
        if held:
            yield Rows("packet", held, packets)

    def __iter__(self) -> Iterator[Packet]:
        for batch in self.batches():
            yield from batch

    @property
    def stats(self) -> dict[str, Any]:
        """What was read and what was lost so far, as struct vns_source_stats (vns_source(3)): packets, bytes."""
        with self._lock:
            if not self._source:
                return self._last[0] if self._last else {}
            layout = _abi.layout("source_stats")
            buffer = bytearray(layout.size)
            _stats(self._source, _pointer(buffer))
            return layout.unpack(buffer)

    @property
    def sentence(self) -> Optional[str]:
        """What is to be said about the end of the file ("... is cut in the middle of record 17")."""
        with self._lock:
            if not self._source:
                return self._last[1] if self._last else None
            said = _sentence(self._source)
            return said.decode(errors="replace") if said else None


def _same_point(host: Capture, guest: Capture) -> bool:
    """One file, and not two points of it: its packets would be paired with themselves."""
    if host._is_live or guest._is_live or (host.point is not None and guest.point not in (None, host.point)):
        return False
    return os.path.isfile(os.fsencode(host.name)) and os.path.samefile(os.fsencode(host.name), os.fsencode(guest.name))


class _Collector:
    """Samples of an engine, in the library's memory until taken."""

    def __init__(self, kind: str) -> None:
        self.kind, self.width = kind, _abi.layout(kind).size
        self.handle = _P()
        if _collector_new(ctypes.byref(self.handle), self.width):
            raise MemoryError

    def take(self) -> bytearray:
        rows, n = _P(), _SIZE()
        if _collector_take(self.handle, ctypes.byref(rows), ctypes.byref(n)):
            raise MemoryError("samples were lost")
        return _taken(rows, n.value * self.width)

    def free(self) -> None:
        _collector_free(self.handle)
        self.handle = _P()


class _Engine(_abi.Owner, Generic[T]):
    """What Rtt and Twin have in common: they read their captures once."""
    _kind = ""
    _make: Any = None

    def _started(self) -> None:
        if self._used:
            raise _abi.Error("the captures were read already: samples come once (all() keeps them)")
        for c in self._captures:
            c._claim(self._reader)
        self._used = True

    def _begin(self, *captures: Capture) -> None:
        self._used, self._all = False, None
        self._captures = captures
        self._reader = object()  # not self: a capture that is not used any more is closed at once

    def batches(self) -> Iterator[Rows[T]]:
        """Samples in Rows, as they are found."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes the captures."""
        for c in self._captures:
            c.close()

    def __enter__(self: E) -> E:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        for batch in self.batches():
            yield from batch

    def all(self) -> Rows[T]:
        """Every sample; asked again, the same Rows."""
        if self._all is None:
            data = bytearray()
            for batch in self.batches():
                data += batch.data
            self._all = Rows(self._kind, data, type(self)._make)
        return self._all


_File = Union[str, "os.PathLike[str]", Capture]


def _source(name: str, capture: _File, point: Optional[int] = None) -> Capture:
    if not isinstance(capture, Capture):
        return Capture(os.fsdecode(_abi.word(name, capture)), point=point)
    if point is not None:
        raise ValueError("point: of a Capture it is chosen by open()")
    return capture


def _addresses(given: Iterable[str]) -> list[Any]:
    if isinstance(given, (str, bytes)):
        raise ValueError(f"addresses: a list is wanted, not {given!r} alone")
    found = []
    for a in given:
        try:
            found.append(ipaddress.ip_address(str(a)))
        except ValueError:
            raise ValueError(f"addresses: {a!r} is no IPv4 or IPv6 address") from None
    if len(found) > _GUESTS:
        raise ValueError(f"addresses: {len(found)} are more than {_GUESTS}")
    return found


class Rtt(_Engine[RttSample]):
    """Round-trip times of a capture: TCP, and with `apps` ICMP echo, DNS and QUIC.

    method: what TCP segments are read by, "auto" (timestamps where a flow has them, else sequence
    numbers), "ts", "seq" or "both"; handshakes are read in any case. Samples of different kinds
    (RttSample.kind, or kind_name() of the number in arrays) are different figures: keep them apart.

    capture: a file's name (point: which interface of a pcapng with several, as in open()), a Capture, or
    instead live="eth0" with a duration in seconds (live() has more options): samples then come as
    they are seen, and stop() of `capture` ends it.
    max_flows: live at most (0: 1,048,576); idle_ns: silent for longer in packet time, a flow is over
    (0: 300 s).
    Iterate for one RttSample at a time; batches() gives Rows as they come, all() all of them. What
    the engine counted of TCP stands in `counts` (struct vns_rtt_counts, vns_rtt(3)) once it is read
    to its end.
    """

    _kind, _make = "rtt_row", staticmethod(rtt_samples)

    def __init__(self, capture: Optional[_File] = None, *, live: Optional[str] = None,
                 duration: Optional[float] = None, point: Optional[int] = None, apps: bool = False,
                 method: str = "auto", max_flows: int = 0, idle_ns: int = 0) -> None:
        if method not in METHODS:
            raise ValueError(f"method: {method!r} is none of {', '.join(METHODS)}")
        if (capture is None) == (live is None):
            raise _abi.Error("either a capture or live=INTERFACE")
        if duration is not None and live is None:
            raise _abi.Error("duration is for live=INTERFACE")
        if point is not None and live is not None:
            raise ValueError("point: an interface is one point")
        self.counts: dict[str, Any] = {}
        self._apps = bool(apps)
        self._options = {"max_flows": max_flows, "idle_ns": _abi.whole("idle_ns", idle_ns),
                         "on_sample": _abi.address(_abi.lib.vns_collect_rtt)}
        self._tcp = {"method": METHODS.index(method)}
        _abi.layout("rtt_opts").pack(**self._options)  # what does not fit is an error here
        self.capture = Capture.live(live, duration=duration) if capture is None else \
            _source("capture", capture, point)
        self._begin(self.capture)

    def batches(self) -> Iterator[Rows[RttSample]]:
        """Samples in the order in which packets show them, some thousand packets' at a time."""
        self._started()
        err, found = _abi.Sentence(), _Collector("rtt_row")
        engines = []
        try:
            for prefix in ["rtt"] + ["rtt_app"] * self._apps:
                opts = _abi.layout(prefix + "_opts").pack(
                    ctx=found.handle.value, **self._options, **(self._tcp if prefix == "rtt" else {}))
                engine = _P()
                err.raise_for(_rtt[prefix + "_new"](ctypes.byref(engine), _pointer(opts), err.buffer))
                engines.append((prefix, engine))
            n = self.capture._fill_point(self._reader)
            while n:
                for prefix, engine in engines:
                    if _rtt[prefix + "_feed"](engine, self.capture._at, n):
                        raise MemoryError
                data = found.take()
                if data:
                    yield Rows("rtt_row", data, rtt_samples)
                n = self.capture._fill_point(self._reader)
            for prefix, engine in engines:
                _rtt[prefix + "_finish"](engine)
            buffer = bytearray(_abi.layout("rtt_counts").size)
            _rtt["rtt_get_counts"](engines[0][1], _pointer(buffer))
            self.counts = _abi.layout("rtt_counts").unpack(buffer)
            data = found.take()
            if data:
                yield Rows("rtt_row", data, rtt_samples)
        finally:
            for prefix, engine in engines:
                _rtt[prefix + "_free"](engine)
            found.free()


class Twin(_Engine[TwinSample]):
    """The same packets in two captures, the host's and the guest's: files' names or Captures, two of them.

    addresses: the guest's; without, they are learnt from both files, as by `vnetscope vo`, and stand here then.
    offset_ns: by how many ns the guest's clock is ahead of the host's, to about a second; without, it
    is learnt the same way and stands here then. What is wanted and cannot be learnt (files that do not
    show it; live captures and pipes, which cannot be read twice) is a ValueError that says what to give; one that
    leaves the captures no time in common is a ValueError at their end. nat: addresses or ports are translated in
    between. window_ns: the longest latency that is looked for (0: 5 s). max_pending: packets
    remembered of each point at most (0: 4 M); beyond, counts["evicted"].
    Iterate for one TwinSample at a time, or take batches() or all(); at the end counts["host"] and
    counts["guest"] tell what became of every packet read. Multicast of senders that the beginnings of the files
    do not have may be either end's: it is undecodable, as by `vnetscope vo`, and counted in strange (host's,
    guest's). Where addresses and offset_ns are both given nothing is learnt, so that it counts as the host side's.
    """

    _kind, _make = "twin_sample", staticmethod(twin_samples)

    def __init__(self, host: _File, guest: _File, *, addresses: Iterable[str] = (),
                 offset_ns: Optional[float] = None, nat: bool = False, window_ns: int = 0,
                 max_pending: int = 0) -> None:
        self._options = {"nat": nat, "window_ns": _abi.whole("window_ns", window_ns),
                         "max_pending": max_pending}
        _abi.layout("twin_opts").pack(**self._options)  # what does not fit is an error here
        guests = _addresses(addresses)
        self._known = b"".join(bytes(10) + b"\xff\xff" + a.packed if a.version == 4 else a.packed
                               for a in guests)
        self.addresses = [str(a) for a in guests]
        self.offset_ns = None if offset_ns is None else \
            _abi.nearest("offset_ns", offset_ns)
        if isinstance(host, Capture) and host is guest:
            raise ValueError("guest: it is the host's Capture; one for each point is wanted")
        self.captures = (_source("host", host), _source("guest", guest))
        if _same_point(*self.captures):
            raise ValueError(f"guest: {self.captures[1].name} is the host's file; two points of one file are two "
                             "Captures, open(..., point=N)")
        self.counts: dict[str, Any] = {}
        self.strange = [0, 0]
        self._senders: Optional[bytearray] = None
        self._begin(*self.captures)

    def _learn(self) -> bytearray:
        """Offset and guest's addresses as `vnetscope vo` learns them, unless both were given."""
        if self.offset_ns is not None and self._known:
            return bytearray(self._known)
        for c in self.captures:
            if not c._again():
                raise Unlearnt(f"{c.name} cannot be read twice, so nothing is learnt from it: give addresses and offset_ns")
        a, b = self.captures
        out = bytearray(_abi.layout("vo_learnt").size)
        err, word = _abi.Sentence(), ctypes.c_char_p
        texts = [word(os.fsencode(c.name)) for c in (a, b)] + [word(a._filter)] + \
            [None if c.point is None else word(b"%d" % c.point) for c in (a, b)]
        host, guest, host_filter, host_point, guest_point = (
            ctypes.cast(t, _P).value or 0 if t else 0 for t in texts)
        known = _pointer(bytearray(self._known)) if self._known else None
        opts = _abi.layout("vo_offline_opts").pack(
            host_file=host, guest_file=guest, filter=host_filter, host_point=host_point, guest_point=guest_point,
            have_offset=self.offset_ns is not None, offset_ns=self.offset_ns or 0,
            guest=ctypes.addressof(known) if known else 0, n_guest=len(self._known) // 16,
            nat=_NAT_ON if self._options["nat"] else _NAT_OFF)
        err.raise_for(_learn(_pointer(opts), b._filter, _pointer(out), err.buffer))
        learnt = _abi.layout("vo_learnt").unpack(out)
        if self.offset_ns is None and not learnt["offset_found"]:
            raise Unlearnt(f"{a.name} and {b.name} do not show how far their clocks are apart (no traffic in "
                           "common?): give offset_ns")
        if not learnt["n_guest"]:
            raise Unlearnt(f"{a.name} and {b.name} do not show which addresses are the guest's: give addresses")
        self.offset_ns = learnt["offset_ns"]
        self._options["nat_peers"] = learnt["nat_peers"]
        f = _abi.layout("vo_learnt").field("senders")
        self._senders = out[f.offset:f.offset + f.size]
        room = bytearray(learnt["guest"][:16 * learnt["n_guest"]])
        self.addresses = [address(room[i:i + 16]) for i in range(0, len(room), 16)]
        return room

    def batches(self) -> Iterator[Rows[TwinSample]]:
        """Samples as pairs are found, some thousand packets' at a time."""
        self._started()
        err, found, engine = _abi.Sentence(), _Collector("twin_sample"), _P()
        stamp = _abi.layout("packet").field("time_ns").offset
        width = _abi.layout("packet").size
        try:
            n = [c._fill_point(self._reader) for c in self.captures]
            guests = self._learn()
            offset_ns = self.offset_ns or 0
            senders = _pointer(self._senders) if self._senders else None
            first: list[Optional[int]] = [c._stamp(0) if k else None for c, k in zip(self.captures, n)]
            final = list(first)
            opts = _abi.layout("twin_opts").pack(
                coarse_offset_ns=offset_ns, guest=ctypes.addressof(_pointer(guests)),
                n_guest=len(guests) // 16, **self._options)
            err.raise_for(_twin["new"](ctypes.byref(engine), _pointer(opts),
                                       _abi.address(_abi.lib.vns_collect_twin), found.handle,
                                       err.buffer))
            while n[0] or n[1]:
                last = [ctypes.c_int64.from_address(
                    c._at + (k - 1) * width + stamp).value - (p and offset_ns) if k else 0
                    for p, (c, k) in enumerate(zip(self.captures, n))]
                # the one that is behind in time, so that little has to wait
                p = 0 if n[0] and (not n[1] or last[0] <= last[1]) else 1
                final[p] = self.captures[p]._stamp(n[p] - 1)
                if senders is not None:
                    self.strange[p] += _strange(senders, self.captures[p]._at, n[p])
                if _twin["feed"](engine, p, self.captures[p]._at, n[p]):
                    raise MemoryError
                n[p] = self.captures[p]._fill_point(self._reader)
                data = found.take()
                if data:
                    yield Rows("twin_sample", data, twin_samples)
            _twin["finish"](engine)
            self._count(engine)
            self._check_overlap(first, final)
            data = found.take()
            if data:
                yield Rows("twin_sample", data, twin_samples)
        finally:
            if engine:
                _twin["free"](engine)
            found.free()

    def _check_overlap(self, first: list[Optional[int]], final: list[Optional[int]]) -> None:
        """Where the offset leaves the captures no time in common, nothing can ever be paired."""
        if None in first or self.counts["host"]["matched"]:
            return
        start, end = max(first[0], first[1] - self.offset_ns), min(final[0], final[1] - self.offset_ns)
        if start - end > (self._options["window_ns"] or _WINDOW_NS) + _COARSE_NS:
            raise ValueError(f"offset_ns: with {self.offset_ns} {self.captures[0].name} and {self.captures[1].name} "
                             f"are {(start - end) / 1e9:.3f} s apart: no packet can be paired")

    def _count(self, engine: Any) -> None:
        layout = _abi.layout("twin_counts")
        for p, name in enumerate(("host", "guest")):
            buffer = bytearray(layout.size)
            _twin["get_counts"](engine, p, _pointer(buffer))
            counts = layout.unpack(buffer)
            classes = ("matched", "missing", "ambiguous", "outside_window", "undecodable")
            self.counts[name] = {"read": counts["read"], **dict(zip(classes, counts["in_class"]))}
        self.counts["evicted"] = _twin["evicted"](engine)
