"""The campaign's markets as one small table: rendered once, joined to every batch by index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

import pyarrow as pa
from bson import DatetimeMS

from vfexport_core.catalog.collections import Field
from vfexport_core.catalog.expressions import Joined, ShowLabel
from vfexport_core.rows.cells import Cells, cells_of_rendered, cells_of_values
from vfexport_core.rows.comparable_ids import index_by_key
from vfexport_core.rows.values import (
    GUARDED,
    MAX_DATE_MILLIS,
    MIN_DATE_MILLIS,
    PRESENT,
    REPAIRED,
    date_text,
    id_key,
    is_blank,
    render,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vfexport_core.catalog.expressions import Expression

_MONTH_AND_DAY = slice(5, 10)


class Markets:
    """The markets of one campaign; a row refers to them by their place in the list."""

    def __init__(self, documents: Sequence[Mapping[str, Any]]) -> None:
        self._documents = documents
        self._keys = pa.array([id_key(document["_id"]) for document in documents], pa.string())
        self._rendered: dict[Expression, Cells] = {}

    def __len__(self) -> int:
        return len(self._documents)

    def index_of(self, keys: pa.Array) -> pa.Array:
        """Return, per key, the place of its market in the list (int32); null where there is no such market."""
        return index_by_key(keys, self._keys)

    def cells(self, expression: Field | Joined | ShowLabel) -> Cells:
        """Return the cells of an expression over the market (M), one per market in the list's order; rendered once."""
        cells = self._rendered.get(expression)
        if cells is None:
            cells = self._rendered[expression] = self._render(expression)
        return cells

    def _render(self, expression: Field | Joined | ShowLabel) -> Cells:
        match expression:
            case Joined():
                return cells_of_rendered(
                    [_joined(value_at(d, expression.field.path), expression.separator) for d in self._documents]
                )
            case ShowLabel():
                return cells_of_rendered([show_label(document) for document in self._documents])
            case Field():
                return cells_of_values([value_at(document, expression.path) for document in self._documents])
            case _:
                assert_never(expression)


def value_at(document: Any, path: Sequence[str]) -> Any:
    """Follow a path through documents; None where it leads nowhere."""
    for name in path:
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def show_label(market: Mapping[str, Any]) -> tuple[str | None, int]:
    """Write the show as fans choose it: ``7/04 - Austin, TX``, without the parts that the market lacks."""
    date, *places = (value_at(market, path) for path in (("event", "date"), ("city",), ("state",)))
    shown = [place for place in places if not is_blank(place)]
    label = ", ".join(map(text_of, shown))
    if not is_blank(date):
        label = f"{_month_and_day(date)} - {label}" if shown else _month_and_day(date)
    flags = GUARDED | PRESENT
    for value in (date, *places):
        flags |= render(value)[1] & REPAIRED
    return (label, flags) if label else (None, 0)


def _month_and_day(date: Any) -> str:
    """Write the month without and the day with a leading zero; what is no date of a calendar as its cell text."""
    if isinstance(date, DatetimeMS) and MIN_DATE_MILLIS <= int(date) <= MAX_DATE_MILLIS:
        month, day = date_text(int(date))[_MONTH_AND_DAY].split("-")
        return f"{int(month)}/{day}"
    return text_of(date)


def _joined(value: Any, separator: str) -> tuple[str | None, int]:
    if not isinstance(value, list):
        return render(value)
    rendered = [render(element) for element in value]
    flags = GUARDED | PRESENT
    for _, element_flags in rendered:
        flags |= element_flags & REPAIRED
    return separator.join(text or "" for text, _ in rendered), flags
