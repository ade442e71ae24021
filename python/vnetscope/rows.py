# SPDX-License-Identifier: GPL-3.0-or-later
"""Many structs of one kind in one buffer (packets, samples) -> named tuples one by one, or whole columns
without a copy (memoryview, numpy). The layout of a struct is the library's own word (_abi.layout)."""
from __future__ import annotations

import array
import functools
import ipaddress
import operator
from typing import Any, Callable, Generic, Iterator, NamedTuple, TypeVar, Union, overload

from . import _abi

T = TypeVar("T")


@functools.lru_cache(maxsize=65536)
def address_text(raw: bytes) -> str:
    a = ipaddress.IPv6Address(raw)
    return str(a.ipv4_mapped or a)


def address(raw: Any) -> str:
    """16 bytes, IPv4 in its mapped form, as text: those of an end in a column key_addr, which has 32."""
    if isinstance(raw, int) or len(raw) != 16:
        raise ValueError(f"raw: {raw!r} is no address, which has 16 bytes")
    return address_text(bytes(raw))


class Rows(Generic[T]):
    """A copy of structs made by the library, taken in one piece.

    len(rows), iteration (one object each, as often as wanted), rows[i], rows[i:k] and rows + rows (Rows
    again, copies), rows.array() (a structured numpy array on the same memory), rows.column(name)
    (array.array, without numpy), rows.data (the bytes). May be pickled.
    """

    def __init__(self, kind: str, data: bytearray, make: Callable[[Any, bytearray], Iterator[T]]) -> None:
        self.layout = _abi.layout(kind)
        self.data = data
        self._make = make

    def __len__(self) -> int:
        return len(self.data) // self.layout.size

    def __iter__(self) -> Iterator[T]:
        return self._make(self.layout, self.data)

    @overload
    def __getitem__(self, i: int) -> T: ...

    @overload
    def __getitem__(self, i: slice) -> Rows[T]: ...

    def __getitem__(self, i: Union[int, slice]) -> Union[T, Rows[T]]:
        """The object of one struct, below zero from the end; of a slice: Rows."""
        size = self.layout.size
        if isinstance(i, slice):
            r = range(len(self))[i]
            data = self.data[r.start * size:r.stop * size] if r.step == 1 else \
                bytearray().join(self.data[k * size:(k + 1) * size] for k in r)
            return Rows(self.layout.name, data, self._make)
        i = range(len(self))[operator.index(i)]  # IndexError outside
        return next(self._make(self.layout, self.data[i * size:(i + 1) * size]))

    def __repr__(self) -> str:
        return f"<{len(self)} rows of {self.layout.name}: {', '.join(self.layout.fields)}>"

    @property
    def dtype(self) -> Any:
        """numpy's description of one struct; dots in names are underscores there."""
        return self.layout.dtype()

    def array(self) -> Any:
        """numpy.ndarray over this memory, no copy: what is written there is in the Rows."""
        import numpy
        return numpy.frombuffer(self.data, dtype=self.dtype) if self.data else numpy.empty(0, self.dtype)

    def column(self, name: str) -> array.array[Any]:
        """One number of each struct."""
        if name not in self.layout.fields:
            raise KeyError(f"no column {name}: there are {', '.join(self.layout.fields)}")
        f = self.layout.field(name)
        if f.count > 1:
            raise ValueError(f"name: {name} is {f.count} numbers of each struct, array() has them")
        return array.array(f.code if f.code != "?" else "B",
                           (v[0] for v in self.layout.reader([name]).iter_unpack(self.data)))

    def __add__(self, other: Rows[T]) -> Rows[T]:
        """Those of both, of one kind."""
        if not isinstance(other, Rows):
            return NotImplemented
        if other.layout.name != self.layout.name:
            raise ValueError(f"other: rows of {other.layout.name} do not go with rows of {self.layout.name}")
        joined = Rows[T](self.layout.name, self.data + other.data, self._make)
        return joined


class Packet(NamedTuple):
    """One decoded packet, as struct vns_packet (vns_packet(3)); fields of a protocol are 0 for the others.

    time_ns: since 1970; wire_len, cap_len, payload_len: bytes; seq, ack, tsval, tsecr: as in the segment;
    window: unscaled; point: the interface's number in the file; verdict: 0 where it could be decoded.
    """
    time_ns: int
    digest: int
    flow_hash: int
    addresses: bytes
    ports: tuple[int, int]
    ipproto: int
    family: int
    wire_len: int
    cap_len: int
    seq: int
    ack: int
    tsval: int
    tsecr: int
    payload_len: int
    ip_id: int
    window: int
    frag_off: int
    icmp_ident: int
    icmp_seqno: int
    flags: int
    vlan: int
    tcp_flags: int
    icmp_type: int
    icmp_code: int
    dir: int
    proto: int
    verdict: int
    tunnel_depth: int
    ttl: int
    point: int

    @property
    def src(self) -> str:
        return address_text(self.addresses[16 * self.dir:16 * self.dir + 16])

    @property
    def dst(self) -> str:
        return address_text(self.addresses[16 * (1 - self.dir):16 * (1 - self.dir) + 16])

    @property
    def sport(self) -> int:
        return self.ports[self.dir]

    @property
    def dport(self) -> int:
        return self.ports[1 - self.dir]


_PACKET = [{"addresses": "key.addr", "ports": "key.port", "ipproto": "key.ipproto",
            "family": "key.family"}.get(name, name) for name in Packet._fields]


def packets(layout: _abi.Layout, data: bytearray) -> Iterator[Packet]:
    """Of structs vns_packet."""
    ordered = sorted(_PACKET, key=lambda n: layout.field(n).offset)
    # where each value is in what the reader gives: ports are two values
    at, where = 0, {}
    for name in ordered:
        where[name] = at
        at += 2 if name == "key.port" else 1
    port = where["key.port"]
    place = [where[name] for name in _PACKET]
    ports = _PACKET.index("key.port")
    for v in layout.reader(ordered).iter_unpack(data):
        row = [v[i] for i in place]
        row[ports] = v[port:port + 2]
        yield Packet(*row)


class RttSample(NamedTuple):
    """One round-trip time, seen in packets from src to dst, of the kind that `kind` names.

    at_ns: when the answer was captured, since 1970; id: what was answered (TSval, sequence
    number behind the segment, ICMP sequence, DNS id; spin bit: 0). sport, dport: 0 for ICMP and of DNS
    clients; ident has the ICMP identifier or the client's port.
    """
    at_ns: int
    rtt_ns: int
    kind: str
    src: str
    sport: int
    dst: str
    dport: int
    id: int
    ident: int = 0


_kind_name = _abi.declare("vns_rtt_kind_name", _abi.ctypes.c_char_p, _abi.ctypes.c_int)


@functools.lru_cache(maxsize=None)
def kind_name(kind: int) -> str:
    """"ts", "seq", "handshake", ...: of a number in a column kind."""
    return _kind_name(_abi.whole("kind", kind, 0, 255)).decode()


def rtt_samples(layout: _abi.Layout, data: bytearray) -> Iterator[RttSample]:
    """Of structs vns_rtt_row."""
    names = ["at_ns", "rtt_ns", "key.addr", "key.port", "id", "kind", "dir", "ident"]
    for at, rtt, addr, port0, port1, what, kind, d, ident in layout.reader(names).iter_unpack(data):
        a, b = address_text(addr[:16]), address_text(addr[16:])
        src, dst, sport, dport = (b, a, port1, port0) if d else (a, b, port0, port1)
        yield RttSample(at, rtt, kind_name(kind), src, sport, dst, dport, what, ident)


class TwinSample(NamedTuple):
    """One packet seen at both points.

    host_ns: its stamp at the host, since 1970; raw_ns: the guest's stamp less that, ns, clocks uncorrected;
    payload_len: bytes; flow_hash: its packet's, of ICMP echoes XOR the sequence number, so the same for a request
    and its reply and no other of its flow.
    """
    host_ns: int
    raw_ns: int
    to_guest: bool
    proto: int
    payload_len: int
    flow_hash: int

    def latency_ns(self, offset_ns: float) -> float:
        """The latency in ns under this clock offset in ns (above zero: the guest is ahead)."""
        d = self.raw_ns - offset_ns
        return d if self.to_guest else -d


def twin_samples(layout: _abi.Layout, data: bytearray) -> Iterator[TwinSample]:
    """Of structs vns_twin_sample."""
    names = ["host_ns", "first_raw_ns", "flow_hash", "payload_len", "proto", "direction"]
    for host, raw, flow, length, proto, direction in layout.reader(names).iter_unpack(data):
        yield TwinSample(host, raw, direction == 0, proto, length, flow)
