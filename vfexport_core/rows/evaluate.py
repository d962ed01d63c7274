"""Expressions over a frame: from the declaration of a column to its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard, assert_never

import numpy as np
import pyarrow as pa

from vfexport_core.catalog.collections import Collection, Field
from vfexport_core.catalog.expressions import (
    ARRAY_SEPARATOR,
    ArtistName,
    Column,
    Constant,
    FalseIfMissing,
    FirstOf,
    Joined,
    MarketNames,
    Region,
    SfmcLocale,
    ShowLabel,
    SubscriberKey,
    Territory,
    UpperCase,
)
from vfexport_core.rows.cells import Cells, missing
from vfexport_core.rows.comparable_ids import key_texts
from vfexport_core.rows.expand import fan_markets
from vfexport_core.rows.values import GUARDED, PRESENT, REPAIRED
from vfexport_core.sources.arrow_functions import pc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vfexport_core.catalog.expressions import Expression
    from vfexport_core.rows.frame import Frame
    from vfexport_core.rows.reminder_rules import ReminderRules

_MARKET_NAME = Field(Collection.MARKETS, ("name",))


def fields_of(expressions: Iterable[Expression], collection: Collection) -> tuple[Field, ...]:
    """List the fields of one collection that the expressions need, each once."""
    return tuple(
        dict.fromkeys(field for item in expressions for field in _fields(item) if field.collection is collection)
    )


def expressions_of(columns: Iterable[Column]) -> tuple[Expression, ...]:
    """Return what stands in the columns, without their headers."""
    return tuple(column.expression for column in columns)


def _fields(expression: Expression) -> tuple[Field, ...]:
    match expression:
        case Field():
            return (expression,)
        case FirstOf():
            return tuple(field for option in expression.options for field in _fields(option))
        case Joined() | FalseIfMissing():
            return (expression.field,)
        case MarketNames():
            return (expression.own, expression.additional)
        case Territory() | UpperCase() | Region() | SfmcLocale() | SubscriberKey():
            return tuple(field for item in expression.inputs for field in _fields(item))
        case ShowLabel() | ArtistName() | Constant():
            return ()
        case _:
            assert_never(expression)


def is_of_market(expression: Expression) -> TypeGuard[Field | Joined | ShowLabel]:
    """Return whether an expression depends on the market alone."""
    if isinstance(expression, Field):
        return expression.collection is Collection.MARKETS
    return isinstance(expression, (Joined, ShowLabel))


def evaluate(expression: Expression, frame: Frame, rules: ReminderRules) -> Cells:
    """Return an expression's cells, one per row of the frame."""
    match expression:
        case Field():
            return frame.cells(expression)
        case FirstOf():
            cells = evaluate(expression.options[0], frame, rules)
            for option in expression.options[1:]:
                cells = cells.or_else(evaluate(option, frame, rules))
            return cells
        case FalseIfMissing():
            return frame.cells(expression.field).filled("false")
        case MarketNames():
            return _market_names(expression, frame)
        case Territory() | UpperCase() | Region() | SfmcLocale() | SubscriberKey():
            return rules.derive(expression, [evaluate(item, frame, rules) for item in expression.inputs])
        case Joined() | ShowLabel() | ArtistName() | Constant():
            raise AssertionError(f"{type(expression).__name__} is rendered once, not per row")
        case _:
            assert_never(expression)


def _market_names(expression: MarketNames, frame: Frame) -> Cells:
    """Write the names as an array's cell: per document, the known markets' names, joined."""
    size = frame.documents.size
    if not len(frame.markets):
        return missing(frame.rows)
    own = frame.markets.index_of(key_texts(frame.document_cells(expression.own)))
    documents, market, _ = fan_markets(own, frame.documents.columns[expression.additional], frame.markets)
    documents, market = documents[market >= 0], market[market >= 0]
    names = frame.markets.cells(_MARKET_NAME).take(pa.array(market))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(documents, minlength=size))]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pc.fill_null(names.text, ""))
    flags = np.full(size, GUARDED | PRESENT, dtype=np.uint8)
    if not isinstance(names.flags, int):
        flags[documents[(names.flags & REPAIRED) != 0]] |= REPAIRED
    return frame.by_row(Cells(pc.binary_join(lists, ARRAY_SEPARATOR), flags))
