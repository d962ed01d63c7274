"""A thousand batches of arbitrary BSON, decoded by three ways that share no code: the cells must be the same.

The own decoder is compared with the one by pymongoarrow that it replaced, and with values that bson decodes and the
rules for one value write. A failure names the round; `batch_of(round)` makes its batch again.
"""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import bson
import numpy as np
import pytest
from bson.errors import InvalidBSON

from tests.arrow_decoder.decode import ArrowDecoder
from tests.bson_bytes import TYPES, USUAL, Values, document
from vfexport_core.catalog.collections import Collection, Field, FieldType
from vfexport_core.mongo.client import SOUND_CODEC
from vfexport_core.rows.cells import Cells, cells_of_columns
from vfexport_core.rows.expand import elements, flat_keys
from vfexport_core.rows.values import PRESENT, REPAIRED, id_key, render
from vfexport_core.sources.decode import Decoder
from vfexport_core.sources.projection import RESUME_NAME

if TYPE_CHECKING:
    from vfexport_core.sources.batch import Batch

ROUNDS = 1_000
ROUNDS_AT_ONCE = 100
MOST_DOCUMENTS, MOST_DAMAGED = 120, 12


def batch_of(number: int, most: int = MOST_DOCUMENTS) -> tuple[Decoder, list[bytes]]:
    """Make the batch of a round: a decoder for some fields, and documents as the server might send them for it."""
    chance = random.Random(number)
    values = Values(chance)
    types = chance.choices(list(FieldType), k=chance.randrange(1, 8))
    decoder = Decoder([Field(Collection.ENTRIES, (f"f{index}",), type_) for index, type_ in enumerate(types)])
    # Per field: how many values are missing, how many are of any type, and the type of the others.
    plans = [
        (
            chance.choice([0, 0, 0.1, 0.6, 1]),
            chance.choice([0, 0, 0.02, 0.3, 1]),
            USUAL[type_] if chance.random() < 0.7 else chance.choice(TYPES),
        )
        for type_ in types
    ]
    names = [name.encode() for name in decoder.names.values()]
    odd_order = chance.random() < 0.1

    def one() -> bytes:
        found: list[tuple[int, bytes, bytes]] = []
        for name, (missing, dirty, usual) in zip(names, plans, strict=True):
            if chance.random() >= missing:
                type_ = chance.choice(TYPES) if chance.random() < dirty else usual
                found.append((type_, name, values.value(type_)))
        found.append((0x07, RESUME_NAME.encode(), chance.randbytes(12)))
        if odd_order and chance.random() < 0.3:
            chance.shuffle(found)
            found.append((0x02, b"unknown", b"\x02\0\0\0x\0"))
        return document(found)

    return decoder, [one() for _ in range(chance.choice([1, 2, 7, most // 3, most]))]


def flags_of(cells: Cells) -> tuple[list[bool], list[bool]]:
    """Return per cell whether it was repaired, and whether `a | b` passes over it."""
    repaired = np.broadcast_to(np.asarray(cells.flags) & REPAIRED != 0, len(cells)).tolist()
    return repaired, cells.blank().to_pylist()


def lists_of(batch: Batch, field: Field) -> tuple[list[str | None], list[int]]:
    texts, parents = flat_keys(batch.columns[field])
    return texts.to_pylist(), parents.tolist()


def compare(where: str, decoder: Decoder, raw: bytes) -> tuple[Batch, dict[Field, Cells]]:
    """Compare the cells of a batch with those that the rules for one value write of what bson decodes.

    Returns the batch and its cells, but for those of lists.
    """
    batch, cells = decoder.decode(raw), {}
    documents = bson.decode_all(raw, SOUND_CODEC)
    assert (batch.size, batch.source_bytes) == (len(documents), len(raw)), where
    for field, name in decoder.names.items():
        values = [document.get(name) for document in documents]
        if field.type is FieldType.TEXT_LIST:
            keys = [(row, id_key(item)) for row, value in enumerate(values) for item in elements(value)]
            texts, parents = lists_of(batch, field)
            found = [(row, text or "") for row, text in zip(parents, texts, strict=True)]
            assert found == keys, f"{where}, field {name} ({field.type})"
        else:
            cells[field] = cells_of_columns(batch.columns[field])
            compare_cells(f"{where}, field {name} ({field.type})", cells[field], values)
    return batch, cells


def compare_cells(where: str, found: Cells, values: list[Any]) -> None:
    rendered = [render(value) for value in values]
    assert found.text.to_pylist() == [text for text, _ in rendered], where
    repaired, blank = flags_of(found)
    assert repaired == [flags & REPAIRED != 0 for _, flags in rendered], where
    assert blank == [not text and not flags & PRESENT for text, flags in rendered], where
    assert found.repaired() == sum(repaired), where


def compare_with_arrow(where: str, ours: Batch, cells: dict[Field, Cells], theirs: Batch) -> None:
    assert ours.size == theirs.size, where
    for field in ours.columns:
        if field.type is FieldType.TEXT_LIST:
            assert lists_of(ours, field) == lists_of(theirs, field), f"{where}, {field}"
        else:
            found, wanted = cells[field], cells_of_columns(theirs.columns[field])
            assert found.text.equals(wanted.text), f"{where}, {field}"
            assert flags_of(found) == flags_of(wanted), f"{where}, {field}"


@pytest.mark.parametrize("first", range(0, ROUNDS, ROUNDS_AT_ONCE))
def test_three_ways_to_decode_give_the_same_cells(first):
    for number in range(first, first + ROUNDS_AT_ONCE):
        decoder, documents = batch_of(number)
        raw = b"".join(documents)
        batch, cells = compare(f"round {number}", decoder, raw)
        compare_with_arrow(f"round {number}", batch, cells, ArrowDecoder(decoder.fields).decode(raw))


def corrupt(chance: random.Random, documents: list[bytes]) -> bytes:
    """Damage a batch in one place: cut it, overwrite bytes, write an impossible length, or repeat elements."""
    raw = bytearray(b"".join(documents))
    place = chance.randrange(len(raw))
    match chance.randrange(5):
        case 0:
            return bytes(raw[:place])
        case 1:
            raw[place] = chance.randrange(256)
        case 2:
            raw[place : place + 4] = struct.pack("<i", chance.choice([0, -1, 1, 4, 2**31 - 1, -(2**31), len(raw)]))
        case 3:
            one, other = chance.choice(documents), chance.choice(documents)
            both = one[4:-1] + other[4:]
            raw += struct.pack("<i", len(both) + 4) + both
        case _:
            raw[place : place + chance.randrange(1, 9)] = chance.randbytes(chance.randrange(9))
    return bytes(raw)


@pytest.mark.parametrize("first", range(0, ROUNDS, ROUNDS_AT_ONCE))
def test_damaged_batches_are_refused_or_read_as_bson_reads_them(first):
    """Nothing is read that is not of the batch: what bson refuses is refused, and what it reads is read alike."""
    for number in range(first, first + ROUNDS_AT_ONCE):
        decoder, documents = batch_of(number, most=MOST_DAMAGED)
        raw = corrupt(random.Random(number), documents)
        try:
            bson.decode_all(raw, SOUND_CODEC)
        except InvalidBSON:
            with pytest.raises(InvalidBSON):
                decoder.decode(raw)
        else:
            compare(f"round {number}", decoder, raw)
