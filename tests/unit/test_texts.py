"""Guarding and quoting touch only the cells that need it; a plain loop says which these are."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vfexport_core.files.csv import encode_header, encode_rows, quoted
from vfexport_core.rows.cells import Cells
from vfexport_core.rows.guard import guarded
from vfexport_core.rows.texts import are_phone_numbers, contains_byte, rows_beginning_with, rows_holding, text_bytes
from vfexport_core.rows.values import GUARDED, PRESENT

SPECIAL = '=+-@\t\r\n",;\0 0123456789().é🎸ab\uff1d\uff0b\uff0d\uff20\ufeff'
texts = st.none() | st.text(st.sampled_from(SPECIAL), max_size=6) | st.text(max_size=4)
columns = st.lists(texts, max_size=12)
characters = st.sets(st.sampled_from('=+-@\t\r\n",\0 a'), min_size=1).map(lambda chosen: "".join(sorted(chosen)))


def sliced(column: list[str | None], data: st.DataObject) -> tuple[pa.Array, list[str | None]]:
    """Return the column as an Arrow array that may have an offset, and what stands in it."""
    before, behind = data.draw(st.lists(texts, max_size=2)), data.draw(st.lists(texts, max_size=2))
    array = pa.array([*before, *column, *behind], pa.string()).slice(len(before), len(column))
    assert array.to_pylist() == column
    return array, column


def safe(text: str) -> str:
    """Guard one string, by the words of the rule."""
    guarded_text = text[:1]
    for before, letter, rest in ((text[at - 1], text[at], text[at:]) for at in range(1, len(text))):
        piece = re.split("[;\t\r\n]", rest, maxsplit=1)[0]
        guarded_text += "'" * (before in ";\t\r\n" and begins_like_a_formula(piece)) + letter
    return "'" * (text[:1] in tuple("\t\r\n") or begins_like_a_formula(text)) + guarded_text


def begins_like_a_formula(text: str) -> bool:
    return text[:1] in tuple("=+-@\uff1d\uff0b\uff0d\uff20") and not re.fullmatch(r"[+-]?[0-9][0-9 ().-]*", text)


def in_csv(text: str | None) -> str:
    text = text or ""
    return '"' + text.replace('"', '""') + '"' if re.search('[,"\n\r]', text) else text


@given(columns, characters, st.data())
def test_rows_are_found_as_a_loop_finds_them(column, chosen, data):
    array, column = sliced(column, data)
    beginning = [row for row, text in enumerate(column) if text and text[0] in chosen]
    holding = [row for row, text in enumerate(column) if text and any(letter in text for letter in chosen)]
    assert rows_beginning_with(array, chosen.encode()).tolist() == beginning
    assert rows_holding(array, chosen.encode()).tolist() == holding
    assert text_bytes(array) == "".join(text or "" for text in column).encode()
    assert contains_byte(array, chosen[0].encode()) == any(chosen[0] in (text or "") for text in column)


phones = st.text(st.sampled_from("+0123456789 ().-"), max_size=5) | st.from_regex(r"\A\+[0-9 ().-]{1,4}\Z")


@given(
    st.lists(phones | st.sampled_from(["+1", "+x", "++1", "+1+", "+", "", "1", "+1\n", "+1٣"]), max_size=6), st.data()
)
@example(["+1 (555) 010-2030", "+49 30 123"], None)
def test_phone_numbers_are_known_as_a_pattern_knows_them(column, data):
    array = pa.array(column, pa.string())
    if data is not None:
        array, column = sliced(column, data)
    wanted = bool(column) and all(re.fullmatch(r"\+[0-9][0-9 ().-]*", text) for text in column)
    assert are_phone_numbers(array) == wanted


def test_a_column_of_phone_numbers_is_guarded_without_being_written_again():
    array = pa.array(["+1 (555) 010-2030", None, "Anna", "+49 30 123"], pa.string())
    assert guarded(Cells(array, GUARDED)).text is array


def test_the_bytes_below_a_null_mean_nothing():
    whole = pa.array(["=1", ",", "=2,"], pa.string())
    masked = pa.Array.from_buffers(pa.string(), 3, [pa.py_buffer(b"\x04"), *whole.buffers()[1:]])
    assert masked.to_pylist() == [None, None, "=2,"]
    assert rows_beginning_with(masked, b"=").tolist() == [2]
    assert rows_holding(masked, b",").tolist() == [2]
    assert quoted(masked).to_pylist() == [None, None, '"=2,"']
    assert guarded(Cells(masked, GUARDED)).text.to_pylist() == [None, None, "'=2,"]


@given(columns, st.data())
@example(
    [
        "+1 (555) 010-2030",
        "-5",
        "+",
        "=1",
        "--1",
        "1+1",
        "+1\n",
        "-1,5",
        "\t",
        "@a",
        "",
        None,
        "\n=1",
        "x;=1",
        "x;-5;=1",
        "-1;2",
        "x;+1 (5)",
        "\uff1d1",
        "\ufeff=1",
    ],
    st.data(),
)
def test_formulas_are_guarded_by_the_words_of_the_rule(column, data):
    if not isinstance(data, st.DataObject):
        array = pa.array(column, pa.string())
    else:
        array, column = sliced(column, data)
    wanted = [None if text is None else safe(text) for text in column]
    assert guarded(Cells(array, GUARDED)).text.to_pylist() == wanted
    assert guarded(Cells(array, GUARDED | PRESENT)).text.to_pylist() == wanted
    assert guarded(Cells(array, PRESENT)).text.to_pylist() == column


@given(st.lists(st.tuples(texts, st.sampled_from([0, GUARDED, PRESENT, GUARDED | PRESENT])), max_size=12))
def test_only_what_was_text_is_guarded(cells):
    column = [text for text, _ in cells]
    flags = np.array([flag for _, flag in cells], dtype=np.uint8)
    found = guarded(Cells(pa.array(column, pa.string()), flags))
    assert found.text.to_pylist() == [safe(text) if text and flag & GUARDED else text for text, flag in cells]
    assert found.flags is flags


@given(columns, st.data())
def test_what_needs_quotes_is_quoted_and_nothing_else(column, data):
    array, column = sliced(column, data)
    assert quoted(array).to_pylist() == [None if text is None else in_csv(text) for text in column]


@given(st.integers(0, 5).flatmap(lambda rows: st.lists(st.lists(texts, min_size=rows, max_size=rows), min_size=1)))
def test_lines_are_their_cells(table):
    rows = len(table[0])
    lines = encode_rows([pa.array(column, pa.string()) for column in table], rows)
    wanted = [",".join(in_csv(cell) for cell in row) + "\n" for row in zip(*table, strict=True)]
    assert lines.to_pylist() == wanted
    assert text_bytes(lines) == "".join(wanted).encode()


@given(texts, texts, st.integers(0, 4), st.data())
def test_one_text_for_all_rows_and_one_per_market_are_written_on_every_row(text, other, rows, data):
    scalar = pa.scalar(text, pa.string())
    indices = data.draw(st.lists(st.none() | st.integers(0, 1), min_size=rows, max_size=rows))
    markets = pa.DictionaryArray.from_arrays(pa.array(indices, pa.int64()), pa.array([text, other], pa.string()))
    one = in_csv(text)
    many = ["" if index is None else in_csv((text, other)[index]) for index in indices]
    assert encode_rows([scalar, scalar], rows).to_pylist() == [f"{one},{one}\n"] * rows
    assert encode_rows([scalar], rows).to_pylist() == [f"{one}\n"] * rows
    assert encode_rows([markets, scalar], rows).to_pylist() == [f"{cell},{one}\n" for cell in many]
    assert encode_rows([scalar, markets], rows).to_pylist() == [f"{one},{cell}\n" for cell in many]


@pytest.mark.parametrize("names", [["id"], ["a,b", 'c"d', "", "#text.x\ny"]])
def test_the_header_is_quoted_like_the_cells(names):
    assert encode_header(names) == (",".join(map(in_csv, names)) + "\n").encode()
