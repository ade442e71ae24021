# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared library, loaded, and the layouts of its structs.

Layouts are not written down here: the library tells them (vnetscope/abi.h), so that a module and a
library of different versions cannot misread each other. A field that is gone is one clear error.
"""
from __future__ import annotations

import ctypes
import math
import numbers
import operator
import os
import struct
from typing import Any, Iterator, NamedTuple, NoReturn

try:
    from ._where import LIBRARY  # written by the installation
except ImportError:
    LIBRARY = ""

_CODES = {("i", 1): "b", ("i", 2): "h", ("i", 4): "i", ("i", 8): "q",
          ("u", 1): "B", ("u", 2): "H", ("u", 4): "I", ("u", 8): "Q",
          ("f", 8): "d", ("b", 1): "?", ("p", 8): "Q"}


class Error(Exception):
    """What the library says: one sentence that names the object. errno: positive, or 0."""

    def __init__(self, text: str, errno: int = 0) -> None:
        super().__init__(text)
        self.errno = errno


class Owner:
    """Owns what the library opened or allocated: a copy would own it a second time."""

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} can be neither copied nor pickled: it owns what the library "
                        "holds for it (Rows and samples can)")


def whole(name: str, value: Any, low: int = 0, high: int = 2**63 - 1) -> int:
    """An argument that is a whole number (of numpy's, too) of this range, else a ValueError that names it."""
    try:
        n = operator.index(value)
    except TypeError:
        n = low - 1
    if not low <= n <= high:
        raise ValueError(f"{name}: {value!r} is not a number that fits ({low} to {high})")
    return n


def real(name: str, value: Any, unit: str, above: float = -math.inf) -> float:
    """An argument that is a number, not a NaN, above a bound."""
    if not isinstance(value, numbers.Real) or not float(value) > above:
        raise ValueError(f"{name}: {value!r} is not a number of {unit}" +
                         (f" above {above:g}" if above > -math.inf else ""))
    return float(value)


def nearest(name: str, value: Any) -> int:
    """An argument in ns that may have a fraction."""
    if not isinstance(value, numbers.Integral):
        value = real(name, value, "ns")
        value = round(value) if math.isfinite(value) else value
    return whole(name, value, -2**62, 2**62)


def word(name: str, value: Any) -> bytes:
    """An argument that is text, or a path, as C has it: its NUL would be the end."""
    try:
        raw = os.fsencode(value)
    except TypeError:
        raise ValueError(f"{name}: {value!r} is not a text") from None
    if b"\0" in raw:
        raise ValueError(f"{name}: {value!r} has a NUL character")
    return raw


class _Row(ctypes.Structure):
    _fields_ = [("of", ctypes.c_char_p), ("name", ctypes.c_char_p), ("offset", ctypes.c_uint32),
                ("size", ctypes.c_uint32), ("width", ctypes.c_uint32), ("kind", ctypes.c_char)]


class Field(NamedTuple):
    """One field. code: of struct(3), of one element; count: elements."""
    name: str
    offset: int
    size: int
    code: str
    count: int


class Layout:
    """One struct of the library: reads and writes it in a buffer, describes it to numpy."""

    def __init__(self, name: str, size: int, fields: dict[str, Field]) -> None:
        self.name, self.size, self.fields = name, size, fields

    def field(self, name: str) -> Field:
        try:
            return self.fields[name]
        except KeyError:
            raise Error(f"struct vns_{self.name} of the library has no field {name}: module and "
                        f"library (version {version()}) do not belong together") from None

    def pack(self, **values: Any) -> bytearray:
        """A struct with these fields set and zero elsewhere."""
        buffer = bytearray(self.size)
        for name, value in values.items():
            f = self.field(name)
            try:
                struct.pack_into("=" + f.code, buffer, f.offset, value)
            except struct.error:
                bits = 8 * struct.calcsize("=" + f.code)
                low, high = (-2**(bits - 1), 2**(bits - 1) - 1) if f.code.islower() else (0, 2**bits - 1)
                raise ValueError(f"{name}: {value!r} is not a number that fits ({low} to {high})") from None
        return buffer

    def unpack(self, buffer: Any) -> dict[str, Any]:
        """Its fields by name; arrays as tuples, but bytes as bytes."""
        out = {}
        for f in self.fields.values():
            if f.code in "sB" and f.count > 1:
                out[f.name] = bytes(buffer[f.offset:f.offset + f.size])
                continue
            found = struct.unpack_from(f"={f.count}{f.code}", buffer, f.offset)
            out[f.name] = found if f.count > 1 else found[0]
        return out

    def reader(self, names: list[str]) -> struct.Struct:
        """For iter_unpack(): these fields of each struct, which must be in order of offset."""
        text, at = "=", 0
        for name in names:
            f = self.field(name)
            if f.offset < at:
                raise Error(f"{self.name}.{name} is out of order")
            whole_bytes = f.count > 1 and f.code in "sB"
            text += f"{f.offset - at}x" + (f"{f.size}s" if whole_bytes else f"{f.count}{f.code}")
            at = f.offset + f.size
        return struct.Struct(text + f"{self.size - at}x")

    def dtype(self) -> Any:
        """numpy's description; fields of a union overlap, dots in names become underscores."""
        import numpy
        names, formats, offsets = [], [], []
        for f in self.fields.values():
            kind = {"?": "?", "d": "f8", "s": f"S{f.size}"}.get(f.code) or \
                ("i" if f.code.islower() else "u") + str(f.size // f.count)
            names.append(f.name.replace(".", "_"))
            formats.append((kind, (f.count,)) if f.count > 1 and f.code != "s" else kind)
            offsets.append(f.offset)
        return numpy.dtype({"names": names, "formats": formats, "offsets": offsets,
                            "itemsize": self.size})


def _candidates() -> Iterator[str]:
    if os.environ.get("VNETSCOPE_LIBRARY"):
        yield os.environ["VNETSCOPE_LIBRARY"]
        return
    if LIBRARY:
        yield LIBRARY
    yield "libvnetscope.so.0"


def _load() -> ctypes.CDLL:
    why = ""
    for name in _candidates():
        try:
            found = ctypes.CDLL(name)
            found.vns_abi_fields
            return found
        except OSError as e:
            why = str(e)
        except AttributeError:
            why = f"{name} is older than this module"
    raise Error(f"libvnetscope cannot be loaded: {why} (VNETSCOPE_LIBRARY names its file)")


def _layouts(lib: ctypes.CDLL) -> dict[str, Layout]:
    n = ctypes.c_size_t()
    lib.vns_abi_fields.restype = ctypes.POINTER(_Row)
    rows = lib.vns_abi_fields(ctypes.byref(n))
    out: dict[str, Layout] = {}
    for row in rows[:n.value]:
        of, name = row.of.decode(), row.name.decode()
        if not name:
            out[of] = Layout(of, row.size, {})
            continue
        kind = row.kind.decode()
        code = _CODES.get((kind, row.width)) if kind != "x" else "s"
        if code is None:
            raise Error(f"struct vns_{of}.{name}: kind {kind} of {row.width} bytes is unknown here")
        count = row.size if code == "s" else row.size // row.width
        out[of].fields[name] = Field(name, row.offset, row.size, code, count)
    return out


lib = _load()
layouts = _layouts(lib)


def version() -> str:
    """Of the library that is loaded."""
    lib.vns_abi_version.restype = ctypes.c_char_p
    return lib.vns_abi_version().decode()


def layout(name: str) -> Layout:
    try:
        return layouts[name]
    except KeyError:
        raise Error(f"the library (version {version()}) does not know struct vns_{name}: module and "
                    "library do not belong together") from None


def address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


class Sentence:
    """Room for a struct vns_err; raise_for() turns a negative result into an Error."""

    def __init__(self) -> None:
        self.buffer = ctypes.create_string_buffer(layout("err").size)

    def raise_for(self, code: int) -> int:
        if code < 0:
            raise Error(self.buffer.value.decode(errors="replace") or os.strerror(-code), -code)
        return code


def declare(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the library with its types; missing: one clear error."""
    try:
        f = getattr(lib, name)
    except AttributeError:
        raise Error(f"the library (version {version()}) has no {name}()") from None
    f.restype = result
    f.argtypes = arguments
    return f
