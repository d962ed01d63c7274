"""The decoder: whatever the fast path does, the cells are those of the value-by-value rules."""

import struct

import bson
import pytest
from bson import DatetimeMS, Decimal128, Int64, ObjectId
from bson.errors import InvalidBSON
from hypothesis import example, given
from hypothesis import strategies as st

from vfexport_core.catalog.collections import Collection, Field, FieldType
from vfexport_core.mongo.client import SOUND_CODEC
from vfexport_core.rows.cells import cells_of_columns
from vfexport_core.rows.expand import elements, flat_keys
from vfexport_core.rows.values import id_key, render
from vfexport_core.sources.decode import Decoder
from vfexport_core.sources.projection import RESUME_NAME

SCALAR_KINDS = [kind for kind in FieldType if kind is not FieldType.TEXT_LIST]
FIELDS = tuple(Field(Collection.ENTRIES, (kind.value,), kind) for kind in FieldType)

int64 = st.integers(-(2**63), 2**63 - 1)
values = st.recursive(
    st.one_of(
        st.none(),
        st.text(max_size=6),
        st.booleans(),
        st.integers(-(2**31), 2**31 - 1),
        int64.map(Int64),
        st.floats(),
        st.binary(min_size=8, max_size=8).map(lambda raw: struct.unpack("<d", raw)[0]),
        int64.map(DatetimeMS),
        st.binary(min_size=12, max_size=12).map(ObjectId),
        st.decimals(allow_nan=True, places=3, min_value=-1000, max_value=1000).map(Decimal128),
        st.binary(max_size=4),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
usual = {
    FieldType.TEXT: st.text(max_size=8),
    FieldType.DATE: st.integers(-(10**14), 10**15).map(DatetimeMS),
    FieldType.NUMBER: st.floats() | st.integers(-(2**31), 2**31 - 1),
    FieldType.BOOLEAN: st.booleans(),
    FieldType.TEXT_LIST: st.lists(st.text(max_size=4), max_size=3),
    FieldType.OBJECT_ID: st.binary(min_size=12, max_size=12).map(ObjectId),
    FieldType.ANY: st.lists(st.dictionaries(st.sampled_from("ab"), st.text(max_size=4), max_size=2), max_size=2),
}
names = Decoder(FIELDS).names
clean = st.fixed_dictionaries({}, optional={names[field]: usual[field.type] for field in FIELDS})
dirty = st.fixed_dictionaries({}, optional=dict.fromkeys(names.values(), values))


def expected(raw: bytes, name: str) -> list[str | None]:
    return [render(document.get(name))[0] for document in bson.decode_all(raw, SOUND_CODEC)]


def agree(decoder: Decoder, documents: list[dict]) -> None:
    raw = b"".join(bson.encode(document) for document in documents)
    batch = decoder.decode(raw)
    assert batch.size == len(documents)
    for field, name in decoder.names.items():
        if field.type is FieldType.TEXT_LIST:
            texts, parents = flat_keys(batch.columns[field])
            wanted = [
                (row, key)
                for row, document in enumerate(bson.decode_all(raw, SOUND_CODEC))
                for value in elements(document.get(name))
                if (key := id_key(value))
            ]
            assert [
                (row, text) for row, text in zip(parents.tolist(), texts.to_pylist(), strict=True) if text
            ] == wanted
        else:
            assert cells_of_columns(batch.columns[field]).text.to_pylist() == expected(raw, name)


@given(st.lists(clean | dirty, min_size=1, max_size=12))
@example([{names[FIELDS[0]]: float("nan")}])
@example([{name: True} for name in names.values()])
@example([{name: Int64(2**53 + 1)} for name in names.values()])
@example([{name: -0.0} for name in names.values()])
def test_cells_do_not_depend_on_the_path_taken(documents):
    agree(Decoder(FIELDS), documents)


@given(st.lists(clean, min_size=1, max_size=6))
def test_usual_values_take_the_fast_path_or_agree(documents):
    agree(Decoder(FIELDS), documents)


def test_clean_documents_take_the_fast_path():
    document = {
        names[field]: {
            "text": "x",
            "date": DatetimeMS(5),
            "number": 1.5,
            "boolean": True,
            "text list": ["a"],
            "object id": ObjectId(),
            "any": [{"id": "x"}],
        }[field.type]
        for field in FIELDS
    }
    assert Decoder(FIELDS).decode(bson.encode(document) * 500).slow_documents == 0


@pytest.mark.parametrize("value", [7, ["x"], {"a": "x"}, Decimal128("1.5"), b"x"], ids=lambda v: type(v).__name__)
def test_only_the_odd_documents_are_slow(value):
    good, bad = bson.encode({names[FIELDS[0]]: "x"}), bson.encode({names[FIELDS[0]]: value})
    batch = Decoder(FIELDS).decode((good * 1000 + bad) * 3 + good * 1000)
    assert batch.size == 4003
    assert 0 < batch.slow_documents <= 3
    assert cells_of_columns(batch.columns[FIELDS[0]]).text.to_pylist() == (["x"] * 1000 + [render(value)[0]]) * 3 + (
        ["x"] * 1000
    )


def test_only_the_columns_with_an_odd_value_have_parts():
    document = {names[field]: "x" for field in FIELDS if field.type is FieldType.TEXT}
    document |= {names[field]: DatetimeMS(5) for field in FIELDS if field.type is FieldType.DATE}
    odd = {**document, names[FIELDS[0]]: 7}
    batch = Decoder(FIELDS).decode(bson.encode(document) * 50 + bson.encode(odd) + bson.encode(document) * 50)
    columns = {field.type: column for field in FIELDS for column in batch.columns[field]}
    assert columns[FieldType.DATE].places is None
    assert [len(part) for part in columns[FieldType.TEXT].parts] == [100, 1]
    assert columns[FieldType.TEXT].places.tolist() == [*range(50), 100, *range(50, 100)]
    assert all(len(column) == 101 for column in columns.values())


@pytest.mark.parametrize(
    "value",
    [
        7,
        Int64(2**60),
        DatetimeMS(1),
        True,
        ObjectId("65a1b2c3d4e5f60718293a4b"),
        1.5,
        float("nan"),
        ["a", "b"],
        Decimal128("-12.50"),
    ],
    ids=lambda v: type(v).__name__,
)
@pytest.mark.parametrize("share", [1, 2, 5])
def test_many_values_of_one_other_type_are_read_together(value, share):
    """From the first batch on, whatever share of the values they are, and whatever batches came before."""
    field = Field(Collection.ENTRIES, ("phone",))
    decoder = Decoder([field])
    values = [value, *["x"] * (share - 1)] * 600
    batch = decoder.decode(b"".join(bson.encode({decoder.names[field]: value}) for value in values))
    assert batch.slow_documents == 0
    assert cells_of_columns(batch.columns[field]).text.to_pylist() == [render(value)[0] for value in values]


def test_what_a_batch_becomes_does_not_depend_on_those_before_it():
    field = Field(Collection.ENTRIES, ("phone",))
    numbers, texts = Decoder([field]), Decoder([field])
    name = numbers.names[field]
    numbers.decode(bson.encode({name: 7}) * 1000)
    raw = b"".join(map(bson.encode, [{name: "x"}, {name: 7}, {name: None}, {}, {name: True}, {name: float("nan")}]))
    found, other = numbers.decode(raw), texts.decode(raw)
    assert found.slow_documents == other.slow_documents == 3
    (column,), (other_column,) = found.columns[field], other.columns[field]
    assert [list(map(str, part)) for part in column.parts] == [list(map(str, part)) for part in other_column.parts]
    assert column.places.tolist() == other_column.places.tolist() == [0, 1, -1, -1, 2, 3]


@given(st.lists(st.tuples(clean | dirty, st.integers(1, 40)), min_size=1, max_size=8))
def test_runs_of_documents_change_how_they_are_read_and_no_cell(runs):
    """Long enough for values of other types to be read together, and to be read one by one."""
    decoder = Decoder(FIELDS)
    documents = [document for document, count in runs for _ in range(count)]
    agree(decoder, documents)
    agree(decoder, documents[::-1])


@given(st.binary(min_size=1, max_size=4))
def test_bytes_that_are_not_utf8_survive_as_replacement_characters(junk):
    filler = b"\x01" * len(junk)
    field = Field(Collection.ENTRIES, ("name",))
    decoder = Decoder([field])
    document = bson.encode({decoder.names[field]: "<" + filler.decode() + ">"}).replace(filler, junk)
    cells = cells_of_columns(decoder.decode(document).columns[field])
    assert cells.text.to_pylist() == ["<" + junk.decode("utf-8", "replace").replace("\0", "") + ">"]
    assert bool(cells.repaired()) == (junk.decode("utf-8", "replace") != junk.decode("utf-8", "surrogateescape"))


@given(st.binary(min_size=1, max_size=4), st.integers(0, 11))
def test_bytes_that_are_not_utf8_in_a_list_make_one_document_slow(junk, place):
    field = Field(Collection.ENTRIES, ("markets",), FieldType.TEXT_LIST)
    decoder = Decoder([field])
    name, filler = decoder.names[field], b"\x01" * len(junk)
    raw = [bson.encode({name: ["a", f"{number}"]}) for number in range(12)]
    raw[place] = bson.encode({name: ["b", filler.decode()]}).replace(filler, junk)
    batch = decoder.decode(b"".join(raw))
    assert batch.slow_documents == (junk.decode("utf-8", "replace") != junk.decode("utf-8", "ignore"))
    texts, parents = flat_keys(batch.columns[field])
    wanted = [part for number in range(12) for part in ("a", f"{number}")]
    wanted[2 * place : 2 * place + 2] = ["b", junk.decode("utf-8", "replace").replace("\0", "") or None]
    assert texts.to_pylist() == wanted
    assert parents.tolist() == [number for number in range(12) for _ in range(2)]


@pytest.mark.parametrize("elements", [0, 1, 9, 10, 11, 63, 64, 65, 130])
def test_lists_of_any_length_are_read_whole(elements):
    field = Field(Collection.ENTRIES, ("markets",), FieldType.TEXT_LIST)
    decoder = Decoder([field])
    agree(decoder, [{decoder.names[field]: ["x" * (number % 4) for number in range(elements)]}, {}] * 3)


@pytest.mark.parametrize("missing", [0, 1, 700, 999])
def test_a_batch_in_any_order_of_fields_is_read(missing):
    """A server that wrote fields in another order than the projection's costs time, never a value."""
    decoder = Decoder(FIELDS)
    plain = {decoder.names[field]: f"{field.type}" for field in FIELDS}
    turned = dict(reversed(plain.items()))
    agree(decoder, [plain if number < missing else turned for number in range(1_000)])


def test_more_fields_than_names_of_two_letters():
    fields = [Field(Collection.ENTRIES, (f"f{number}",)) for number in range(3_300)]
    decoder = Decoder(fields)
    names = list(decoder.names.values())
    assert len(set(names)) == len(names)
    assert names[:3_223] == sorted(names[:3_223])
    assert RESUME_NAME not in names
    agree(decoder, [{names[0]: "a", names[3_222]: "b", names[3_223]: "c", names[-1]: "d"}, {names[1]: "e"}])


@pytest.mark.parametrize(
    "raw",
    [b"\0\0\0\0\0", b"\x04\0\0\0", b"\x06\0\0\0\0", b"\xff\xff\xff\xff\0", b"\x05", b"\x05\0\0\0\x01"],
)
def test_documents_that_cannot_be_are_refused(raw):
    with pytest.raises(InvalidBSON):
        Decoder(FIELDS).decode(bson.encode({names[FIELDS[0]]: "x"}) + raw)
