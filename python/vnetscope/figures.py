# SPDX-License-Identifier: GPL-3.0-or-later
"""Clock relations and distributions: the library's engines, with exchanges, bounds or values in and figures
out. Times are ns; an offset above 0 means that the guest is ahead."""
from __future__ import annotations

import array
import ctypes
import numbers
import threading
from typing import Any, Iterable, NamedTuple, Optional

from . import _abi

_P = ctypes.c_void_p
_I64 = ctypes.c_int64
_clock = {name: _abi.declare("vns_clock_" + name, result, *arguments) for name, result, arguments in (
    ("mode_parse", ctypes.c_int, (ctypes.c_char_p, _P)), ("mode_name", ctypes.c_char_p, (ctypes.c_int,)),
    ("new", ctypes.c_int, (_P, ctypes.c_int)),
    ("free", None, (_P,)), ("add", ctypes.c_int, (_P, _P)),
    ("add_bound", ctypes.c_int, (_P, _I64, _I64, ctypes.c_bool)),
    ("solve", ctypes.c_int, (_P,)), ("eval", ctypes.c_int, (_P, _I64, _P)),
    ("pieces", _P, (_P, _P)))}
_dist = {name: _abi.declare("vns_dist_" + name, result, *arguments) for name, result, arguments in (
    ("init", None, (_P,)), ("fini", None, (_P,)), ("add_many", None, (_P, _P, ctypes.c_size_t)),
    ("merge", None, (_P, _P)), ("stddev", ctypes.c_double, (_P,)),
    ("quantile", _I64, (_P, ctypes.c_double)))}
_BUCKET = ctypes.CFUNCTYPE(None, _P, _I64, _I64, ctypes.c_uint64)
_buckets = _abi.declare("vns_dist_buckets", None, _P, _BUCKET, _P)


def _modes() -> list[str]:
    """The library's names of clock modes; behind the last one it says "unknown"."""
    names: list[str] = []
    while (name := _clock["mode_name"](len(names)).decode()) != "unknown":
        names.append(name)
    return names


class ClockAt(NamedTuple):
    """The relation at one instant, ns; offset above zero: the guest is ahead. lower and upper: the
    causality bound; ci_*: the 95 % interval; drift_lower and _upper: rates that the bound leaves feasible."""
    offset_ns: float
    lower_ns: float
    upper_ns: float
    ci_lower_ns: float
    ci_upper_ns: float
    drift_ppm: float
    extrapolated: bool
    drift_lower_ppm: float
    drift_upper_ppm: float


class ClockPiece(NamedTuple):
    """A stretch of the host's time, ns since 1970, in which the clock is taken to be linear; offset_ns is that of
    its start. step_after: it ends with a step."""
    from_ns: int
    to_ns: int
    offset_ns: float
    drift_ppm: float
    drift_lower_ppm: float
    drift_upper_ppm: float
    step_after: bool


class Clock(_abi.Owner):
    """Offset and drift from exchanges of four stamps (t1, t4 host; t2, t3 guest; ns since 1970).

    mode: where they come from, as of vnetscope drift: "exchange", "channel", "shm", ...
    """

    def __init__(self, mode: str = "exchange") -> None:
        number = ctypes.c_int()
        self._clock = _P()
        self._lock = threading.Lock()
        if _clock["mode_parse"](_abi.word("mode", mode), ctypes.byref(number)):
            raise ValueError(f"mode: {mode!r} is none of {', '.join(_modes())}")
        if _clock["new"](ctypes.byref(self._clock), number):
            raise MemoryError
        self._solved = False

    def __del__(self) -> None:
        if getattr(self, "_clock", None):
            _clock["free"](self._clock)

    def add(self, t1_ns: int, t2_ns: int, t3_ns: int, t4_ns: int) -> bool:
        """One exchange, in order of t1. Return: whether it was accepted."""
        x = _abi.layout("exchange").pack(t1_ns=t1_ns, t2_ns=t2_ns, t3_ns=t3_ns, t4_ns=t4_ns)
        with self._lock:
            code = _clock["add"](self._clock, (ctypes.c_char * len(x)).from_buffer(x))
            if code < 0:
                raise MemoryError
            self._solved = False
        return code == 0

    def add_bound(self, at_ns: int, value_ns: int, upper: bool) -> None:
        """One packet's word: at this instant of the host's clock the offset is at most (upper) or at least so
        many ns."""
        at, value = _abi.whole("at_ns", at_ns, -2**63), _abi.whole("value_ns", value_ns, -2**63)
        with self._lock:
            if _clock["add_bound"](self._clock, at, value, bool(upper)) < 0:
                raise MemoryError
            self._solved = False

    def _solve(self) -> None:
        if not self._solved and _clock["solve"](self._clock) < 0:
            raise MemoryError
        self._solved = True

    def at(self, at_ns: float) -> ClockAt:
        """The relation at this instant of the host's clock."""
        at = _abi.nearest("at_ns", at_ns)
        layout = _abi.layout("clock_at")
        out = bytearray(layout.size)
        with self._lock:
            self._solve()
            if _clock["eval"](self._clock, at, (ctypes.c_char * len(out)).from_buffer(out)):
                raise _abi.Error("no exchange was added")
        found = layout.unpack(out)
        return ClockAt(*(found[name] for name in ClockAt._fields))

    @property
    def pieces(self) -> list[ClockPiece]:
        """In order of time."""
        layout, n = _abi.layout("clock_piece"), ctypes.c_size_t()
        with self._lock:
            self._solve()
            at = _clock["pieces"](self._clock, ctypes.byref(n))
            raw = ctypes.string_at(at, n.value * layout.size) if n.value else b""
        found = [layout.unpack(raw[i:i + layout.size]) for i in range(0, len(raw), layout.size)]
        return [ClockPiece(*(f[name] for name in ClockPiece._fields)) for f in found]


_blocks = {name: _abi.declare("vns_blocks_" + name, None, *arguments) for name, arguments in (
    ("add_many", (_P, _P, _P, ctypes.c_size_t)), ("total", (_P, _P)), ("intervals", (_P, _P, _P)),
    ("fini", (_P,)))}


def _int64(name: str, values: Any) -> memoryview:
    """As a writable view of int64; in place where it is one."""
    try:
        view = memoryview(values)
    except (TypeError, ValueError):  # no buffer, or numpy's dates
        view = None
    try:
        if view is None:
            view = memoryview(array.array("q", values))
        if view.ndim != 1:
            raise ValueError(f"{view.ndim} dimensions")
        if view.itemsize != 8 or view.format not in ("q", "l") or not view.c_contiguous:
            view = memoryview(array.array("q", view.tolist()))
    except (TypeError, ValueError, OverflowError, NotImplementedError) as e:
        raise ValueError(f"{name}: whole numbers of 64 bits are wanted ({e})") from None
    if view.readonly and view.nbytes:
        view = memoryview(bytearray(view.cast("B")))
    return view


def _address(view: memoryview) -> Any:
    return (ctypes.c_char * view.nbytes).from_buffer(view) if view.nbytes else None


def intervals(at_ns: Iterable[int], values: Iterable[int]) -> dict[str, Optional[tuple[int, int]]]:
    """95 % sampling intervals of mean, p50, p95 and p99 of values (their unit) at these times (ns), which may be
    correlated (vns_dist(3)); None where the samples do not suffice. In any order."""
    at, value = _int64("at_ns", at_ns), _int64("values", values)
    if at.nbytes != value.nbytes:
        raise ValueError(f"{at.nbytes // 8} times of {value.nbytes // 8} values")
    blocks = ctypes.create_string_buffer(_abi.layout("blocks").size)
    total = ctypes.create_string_buffer(_abi.layout("dist").size)
    layout = _abi.layout("intervals")
    out = ctypes.create_string_buffer(layout.size)
    try:
        _blocks["add_many"](blocks, _address(at), _address(value), at.nbytes // 8)
        _blocks["total"](blocks, total)
        _blocks["intervals"](blocks, total, out)
    finally:
        _blocks["fini"](blocks)
        _dist["fini"](total)
    found = layout.unpack(out.raw)
    return {name: ends if any(ends) else None for name, ends in (
        (name, (found[name + ".lower"], found[name + ".upper"]))
        for name in ("mean", "p50", "p95", "p99"))}


class Distribution(_abi.Owner):
    """Exact count, extremes, mean and deviation; percentiles within 1 %, in bounded memory. Figures are in the
    unit of the values, ns mostly."""

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._layout = _abi.layout("dist")
        self._lock = threading.RLock()
        self._data = ctypes.create_string_buffer(self._layout.size)
        _dist["init"](self._data)
        self.add(values)

    def __del__(self) -> None:
        if getattr(self, "_data", None):
            _dist["fini"](self._data)

    def add(self, values: Iterable[int]) -> None:
        """Samples: any iterable of integers; an int64 array (numpy or array('q')) is read in place."""
        view = _int64("values", values)
        if view.nbytes:
            with self._lock:
                _dist["add_many"](self._data, _address(view), view.nbytes // 8)

    def merge(self, other: Distribution) -> None:
        """All of other's samples, too."""
        if not isinstance(other, Distribution) or other is self:
            raise ValueError(f"other: {other!r} is not another Distribution")
        first, second = sorted((self._lock, other._lock), key=id)  # so that two cannot wait for each other
        with first, second:
            _dist["merge"](self._data, other._data)

    def _get(self, name: str) -> Any:
        with self._lock:
            found = self._layout.unpack(self._data.raw)
        if not found["n"] and name != "n":
            raise ValueError(f"no {name} of no samples")
        return found[name]

    @property
    def n(self) -> int:
        """Samples."""
        return self._get("n")

    @property
    def min(self) -> int:
        """The least; ValueError of no samples, as all that follow."""
        return self._get("min")

    @property
    def max(self) -> int:
        """The greatest."""
        return self._get("max")

    @property
    def mean(self) -> float:
        """Their mean, exact but for rounding."""
        return self._get("mean")

    @property
    def stddev(self) -> float:
        """Of the sample (n - 1); 0 of one."""
        self._get("mean")
        with self._lock:
            return _dist["stddev"](self._data)

    def quantile(self, q: float) -> int:
        """Nearest rank, 0 <= q <= 1, within 1 %; ValueError otherwise, and of no samples."""
        if not isinstance(q, numbers.Real) or not 0 <= q <= 1:
            raise ValueError(f"quantile {q} is not within 0 and 1")
        with self._lock:
            if not self.n:
                raise ValueError("no quantile of no samples")
            return _dist["quantile"](self._data, q)

    def buckets(self) -> list[tuple[int, int, int]]:
        """The histogram: (lowest, highest, count), both included, ascending; empty ones are left out."""
        out: list[tuple[int, int, int]] = []
        with self._lock:
            _buckets(self._data, _BUCKET(lambda ctx, lo, hi, n: out.append((lo, hi, n))), None)
        return out

    def __repr__(self) -> str:
        with self._lock:
            if not self.n:
                return "<0 samples>"
            return (f"<{self.n} samples, min {self.min}, median {self.quantile(0.5)}, "
                    f"p99 {self.quantile(0.99)}, max {self.max} ns>")
