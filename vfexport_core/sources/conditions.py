"""Conditions to MongoDB expressions: exact ones.

A query like ``{"fields.allowSms": true}`` would also match an array that holds true; an aggregation expression does
not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from vfexport_core.catalog.spec import IsDateKey, IsNotTrue, IsOneOf, IsTrue
from vfexport_core.sources.projection import field_expression

if TYPE_CHECKING:
    from vfexport_core.catalog.spec import Condition

_INT64_MAX = 2**63 - 1


def condition_expression(condition: Condition, date_key: str | None) -> Any:
    """Return the aggregation expression that is true for the documents which meet the condition."""
    field = field_expression(condition.field)
    match condition:
        case IsTrue():
            return {"$eq": [field, True]}
        case IsNotTrue():
            return {"$ne": [field, True]}
        case IsOneOf():
            return {"$in": [field, {"$literal": list(condition.values)}]}
        case IsDateKey():
            return {"$in": [field, {"$literal": stored_date_keys(date_key)}]}
        case _:
            assert_never(condition)


def stored_date_keys(date_key: str | None) -> list[str | int]:
    """Return the forms in which a wave's key may be stored: its digits, or (dirty) the number that they write."""
    if date_key is None:
        return []
    number = int(date_key)
    as_stored = str(number) == date_key and number <= _INT64_MAX
    return [date_key, number] if as_stored else [date_key]
