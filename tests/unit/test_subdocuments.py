"""Documents in a field: those that are made alike are taken apart together, and become the JSON of one by one."""

from __future__ import annotations

import random
import struct
from typing import Any

import bson
import pytest
from bson.dbref import DBRef

from tests.bson_bytes import TYPES, Values, document, string
from vfexport_core.catalog.collections import Collection, Field, FieldType
from vfexport_core.mongo.client import SOUND_CODEC
from vfexport_core.rows.cells import cells_of_columns
from vfexport_core.rows.values import REPAIRED, render
from vfexport_core.sources.decode import Decoder

ROUNDS = 60
DOCUMENTS = 60
NAMES = [b"a", b"zip", b"street", b"Stra\xc3\x9fe", b"exactly", b"eight888", b'of "nine"', b"seventeen letters", b""]
FIELD = Field(Collection.ENTRIES, ("address",), FieldType.TEXT)
DECODER = Decoder([FIELD])


def of_documents(values: list[bytes | None]) -> bytes:
    """Return a batch of documents, each with one of these documents in its field."""
    name = DECODER.names[FIELD].encode()
    return b"".join(document([] if value is None else [(0x03, name, value)]) for value in values)


def check(values: list[bytes | None]) -> int:
    """Check the cells of these documents against those made one by one; gives how many were decoded singly."""
    batch = DECODER.decode(of_documents(values))
    cells = cells_of_columns(batch.columns[FIELD])
    expected = [render(None if value is None else bson.decode(value, SOUND_CODEC)) for value in values]
    assert cells.text.to_pylist() == [text for text, _ in expected]
    assert cells.repaired() == sum(bool(flags & REPAIRED) for _, flags in expected)
    return batch.slow_documents


def round_of(number: int) -> list[bytes | None]:
    """Make documents as one program might write them: the same names in the same order, but for a few."""
    chance = random.Random(number)
    values = Values(chance)
    names = chance.sample(NAMES, chance.randrange(1, len(NAMES)))
    usual = [chance.choice([0x01, 0x02, 0x02, 0x03, 0x07, 0x08, 0x09, 0x0A, 0x10, 0x12, 0x13]) for _ in names]
    missing, null, dirty, absent = (chance.choice([0, 0, 0.02, 0.4]) for _ in range(4))

    def one() -> bytes | None:
        if chance.random() < absent:
            return None
        found: list[tuple[int, bytes, bytes]] = []
        for name, type_ in zip(names, usual, strict=True):
            if chance.random() >= missing:
                kind = 0x0A if chance.random() < null else chance.choice(TYPES) if chance.random() < dirty else type_
                found.append((kind, name, values.value(kind)))
        if chance.random() < dirty / 4:
            chance.shuffle(found)
            found.append((0x02, chance.choice([*names, b"$ref"]), string(b"x")))
        return document(found)

    return [one() for _ in range(DOCUMENTS)]


def test_documents_that_are_made_alike_become_what_they_are_one_by_one() -> None:
    slow = sum(check(round_of(number)) for number in range(ROUNDS))
    assert 0 < slow < 0.8 * ROUNDS * DOCUMENTS, "both ways are needed"


def encoded(*values: dict[str, Any]) -> list[bytes | None]:
    return [bson.encode(value) for value in values]


ALIKE = {"street": "Main Street", "city": "Köln", "zip": 50667, "ok": True}


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"city": "Austin"},
        {"street": None, "city": "Austin", "zip": 1, "ok": None},
        {"street": 'a "quoted" \\ one\n\t\x00\x1f\x7f', "city": "", "zip": -1, "ok": False},
    ],
    ids=["nothing", "one name", "nulls", "escapes"],
)
@pytest.mark.parametrize("at", [0, 20])
def test_some_names_may_be_missing_or_null(other: dict[str, Any], at: int) -> None:
    values = encoded(*[ALIKE] * 50)
    values[at : at + 5] = encoded(other) * 5
    assert check(values) == 0


@pytest.mark.parametrize(
    "other",
    [
        {"ok": True, "street": "x"},
        {**ALIKE, "zip": "50667"},
        {**ALIKE, "street": {"name": "Main Street"}},
        {"$ref": "streets", "$id": 1},
        {"$name": "x"},
    ],
    ids=["another order", "another type", "deeper", "a reference", "like a reference"],
)
@pytest.mark.parametrize("at", [0, 20])
def test_those_that_are_not_like_the_others_are_decoded_singly(other: dict[str, Any], at: int) -> None:
    values = encoded(*[ALIKE] * 50)
    values[at : at + 5] = encoded(other) * 5
    assert check(values) == 5


@pytest.mark.parametrize("at", [0, 7])
@pytest.mark.parametrize(
    "text",
    [b"K\xf6ln", b'K\xf6"ln', b"K\xf6\nln", b"K\xf6\\"],
    ids=["nothing to escape", "a quotation mark", "a control character", "a backslash"],
)
def test_a_text_that_is_not_utf8_is_repaired_in_its_document_alone(text: bytes, at: int) -> None:
    values = encoded(*[{"city": "Köln"}] * 50)
    values[at] = document([(0x02, b"city", string(text))])
    assert check(values) == 1
    values[at + 1] = encoded({"city": None})[0]  # then each value is one of a struct
    assert check(values) == 1


def test_a_name_may_not_stand_twice() -> None:
    twice = document([(0x10, b"a", struct.pack("<i", 1)), (0x10, b"a", struct.pack("<i", 2))])
    assert check([twice] * 50) == 50
    assert check([twice, *encoded({"a": 3}) * 50]) == 1


def test_a_reference_is_one_value() -> None:
    assert check(encoded(*[{"to": DBRef("fans", 5)}] * 50)) == 50
