"""BSON documents byte by byte: every type there is, also what no driver encodes and no server would store."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vfexport_core.catalog.collections import FieldType

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

DOUBLES = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    0.1,
    1e-7,
    1e16,
    2.0**53,
    -(2.0**63),
    5e-324,
    1.7e308,
    78_701.0,
    float("inf"),
    -float("inf"),
]
NANS = [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF0000000000001, 0x7FFFFFFFFFFFFFFF]
INTEGERS = [0, 1, -1, 2**31 - 1, -(2**31), 14_155_550_123, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]
DATES = [
    0,
    -1,
    999,
    -62_135_596_800_000,
    -62_135_596_800_001,
    253_402_300_799_999,
    253_402_300_800_000,
    2**63 - 1,
    -(2**63),
]
TEXTS = [
    *(b"", b"a", b"\0", b"a\0b", "Zoë 🎸".encode(), b"\xff", b"ab\xed\xa0\x80", b"\xc0\x80\xe2\x82", b"=1+1"),
    *(b"+1 (555) 010", b"65A1b2c3d4e5f60718293a4b", b"a;b", b'\n,"', b"x" * 3_000, b"\x02A0\0\x05\0\0\0"),
    *(b'\xff"', b"\xed\xa0\x80\n"),
]
USUAL = {
    FieldType.TEXT: 0x02,
    FieldType.DATE: 0x09,
    FieldType.NUMBER: 0x01,
    FieldType.BOOLEAN: 0x08,
    FieldType.TEXT_LIST: 0x04,
    FieldType.OBJECT_ID: 0x07,
    FieldType.ANY: 0x04,
}
TYPES = (
    *(0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F),
    *(0x10, 0x11, 0x12, 0x13, 0x7F, 0xFF),
)
_DEEPEST = 3


def document(elements: Iterable[tuple[int, bytes, bytes]]) -> bytes:
    """Encode (type, name, value) one behind the other: names may repeat, values may be anything."""
    body = b"".join(bytes([type_]) + name + b"\0" + value for type_, name, value in elements)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def string(text: bytes) -> bytes:
    return struct.pack("<i", len(text) + 1) + text + b"\0"


def _code_with_scope() -> bytes:
    body = string(b"f()") + document([(0x10, b"x", struct.pack("<i", 5))])
    return struct.pack("<i", len(body) + 4) + body


class Values:
    """Random values, encoded."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def value(self, type_: int, depth: int = 0) -> bytes:
        """Encode a random value of this type."""
        chance = self.chance
        return {
            0x01: self._double,
            0x02: lambda: string(self.text()),
            0x03: lambda: self._document(depth),
            0x04: lambda: self._array(depth),
            0x05: self._binary,
            0x07: lambda: chance.randbytes(12),
            0x08: lambda: bytes([chance.randrange(2)]),
            0x09: lambda: struct.pack("<q", chance.choice([*DATES, chance.randrange(-(10**13), 10**13)])),
            0x0B: lambda: self.text().replace(b"\0", b"") + b"\0" + chance.choice([b"", b"im", b"x"]) + b"\0",
            0x0C: lambda: string(b"collection") + chance.randbytes(12),
            0x0D: lambda: string(self.text()),
            0x0E: lambda: string(self.text()),
            0x0F: _code_with_scope,
            0x10: lambda: struct.pack("<i", chance.choice([0, -1, 2**31 - 1, -(2**31), chance.randrange(100_000)])),
            0x11: lambda: struct.pack("<II", chance.randrange(5), chance.choice([0, 1, 2**31, 2**32 - 1])),
            0x12: lambda: struct.pack("<q", chance.choice([*INTEGERS, chance.randrange(-(10**15), 10**15)])),
            0x13: self._decimal,
        }.get(type_, bytes)()

    def text(self) -> bytes:
        if self.chance.random() < 0.3:
            return self.chance.choice(TEXTS)
        return "".join(self.chance.choices("abcé0123 =-", k=self.chance.randrange(9))).encode()

    def texts(self) -> bytes:
        """Encode an array of strings."""
        count = (
            self.chance.choice([0, 1, 2, 3, 9, 10, 11, 12, 65])
            if self.chance.random() < 0.3
            else self.chance.randrange(4)
        )
        return document((0x02, b"%d" % index, string(self.text())) for index in range(count))

    def _double(self) -> bytes:
        if self.chance.random() < 0.1:
            return struct.pack("<Q", self.chance.choice(NANS))
        number = self.chance.choice(DOUBLES) if self.chance.random() < 0.5 else self.chance.uniform(-1e6, 1e6)
        return struct.pack("<d", number)

    def _document(self, depth: int) -> bytes:
        if self.chance.random() < 0.2:
            return document([(0x02, b"$ref", string(b"c")), (0x07, b"$id", self.chance.randbytes(12))])
        return document(
            (type_, name, self.value(type_, depth + 1))
            for name, type_ in zip(b"ab.", self._types(depth), strict=False)
            for name in [bytes([name])]
        )

    def _array(self, depth: int) -> bytes:
        if self.chance.random() < 0.7:
            return self.texts()
        return document(
            (type_, b"%d" % index, self.value(type_, depth + 1)) for index, type_ in enumerate(self._types(depth))
        )

    def _types(self, depth: int) -> list[int]:
        usable = [type_ for type_ in TYPES if depth < _DEEPEST or type_ not in (0x03, 0x04)]
        return self.chance.choices(usable, k=self.chance.randrange(4))

    def _binary(self) -> bytes:
        data, subtype = self.chance.randbytes(self.chance.choice([0, 3, 16])), self.chance.choice([0, 2, 5, 0x80])
        if self.chance.random() < 0.3:
            data, subtype = self.chance.randbytes(16), 4
        if subtype == 2:
            data = struct.pack("<i", len(data)) + data
        return struct.pack("<i", len(data)) + bytes([subtype]) + data

    def _decimal(self) -> bytes:
        if self.chance.random() < 0.2:  # infinities, NaN
            return bytes(15) + self.chance.choice([b"\x78", b"\xf8", b"\x7c"])
        if self.chance.random() < 0.1:
            return self.chance.randbytes(16)
        exponent = 6176 + self.chance.choice([-2, -1, 0, 3, -6, -7, -20, 30])
        coefficient = self.chance.choice([0, 1, 99, 10**18, 2**63 - 1, 2**63, 2**70, self.chance.randrange(10**6)])
        negative = self.chance.randrange(2) << 63
        return struct.pack("<QQ", coefficient % 2**64, negative | exponent << 49 | coefficient >> 64)
