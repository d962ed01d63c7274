"""Where the documents of a batch begin: chains that are followed side by side agree with a walk one by one."""

from __future__ import annotations

from itertools import accumulate

import bson
import pytest
from bson.errors import InvalidBSON
from hypothesis import example, given
from hypothesis import strategies as st

from vfexport_core.sources.documents import document_bounds, last_document

# Enough bytes for chains to be followed side by side.
MANY = 20_000

documents = st.lists(
    st.fixed_dictionaries({}, optional={"A0": st.text(max_size=40), "A1": st.text(max_size=40)}),
    min_size=1,
    max_size=12,
)


def bounds_of(raw: list[bytes]) -> list[int]:
    return list(accumulate(map(len, raw), initial=0))


@given(documents, st.booleans())
@example([{}], True)
@example([{"A1": "x"}, {"A0": "y"}, {}], True)
@example([{"A0": "\x02A0"}], True)
@example([{"A0": "x" * 30_000}, {"A0": "y"}], True)
def test_bounds_are_where_documents_begin_and_end(documents, many):
    raw = [bson.encode(document) for document in documents] * (MANY // len(documents) if many else 1)
    raw = raw[:300] if max(map(len, raw)) > 1_000 else raw
    assert document_bounds(b"".join(raw)).tolist() == bounds_of(raw)
    assert last_document(b"".join(raw)).raw == raw[-1]


def test_texts_that_look_like_documents_mislead_nobody():
    """Every guess finds the middle of a text, where a document of the right length seems to begin."""
    decoy = bson.encode({"A0": "x" * 100})
    raw = [
        bson.encode({"A0": "", "A1": (decoy * 20).decode("latin-1"), "A2": b"\x02A0\0" * number})
        for number in range(300)
    ]
    assert document_bounds(b"".join(raw)).tolist() == bounds_of(raw)


@pytest.mark.parametrize("junk", [b"\0\0\0\0\0", b"\x04\0\0\0", b"\x06\0\0\0\0", b"\xff\xff\xff\xff\0", b"\x05"])
@pytest.mark.parametrize("count", [1, MANY])
def test_lengths_that_cannot_be_are_refused(junk, count):
    good = bson.encode({"A0": "x" * 20})
    with pytest.raises(InvalidBSON):
        document_bounds(good * count + junk)
    if count > 1:
        with pytest.raises(InvalidBSON):
            document_bounds(good * count + junk + good * count)
