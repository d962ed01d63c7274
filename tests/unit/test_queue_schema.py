"""What MongoDB 6 would refuse and the embedded server takes: the tests on the server cannot see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from vfexport_core.ccpa import schema as ccpa
from vfexport_core.queue.schema import INDEXES, VALIDATOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo import IndexModel

PARTIAL_FILTER_OPERATORS = {"$exists", "$gt", "$gte", "$lt", "$lte", "$type", "$and", "$or", "$in", "$eq"}
# https://www.mongodb.com/docs/manual/reference/operator/query/jsonSchema/#available-keywords, as far as it is used here
SCHEMA_KEYWORDS = {
    *("bsonType", "required", "additionalProperties", "properties", "enum", "pattern", "minimum", "items", "anyOf"),
}


def operators(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name.startswith("$"):
                yield name
            yield from operators(value)
    elif isinstance(node, list):
        for item in node:
            yield from operators(item)


@pytest.mark.parametrize("index", [*INDEXES, *ccpa.INDEXES], ids=lambda index: index.document["name"])
def test_partial_indexes_use_what_mongodb_6_knows(index: IndexModel) -> None:
    assert {*operators(index.document.get("partialFilterExpression", {}))} <= PARTIAL_FILTER_OPERATORS


def keywords(schema: dict[str, Any]) -> Iterator[str]:
    yield from schema
    for inner in [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]:
        yield from keywords(inner)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from keywords(schema[name])


@pytest.mark.parametrize("validator", [VALIDATOR, ccpa.VALIDATOR], ids=["exports", "ccpaDeletions"])
def test_the_validators_use_what_mongodb_knows(validator: dict[str, Any]) -> None:
    assert {*keywords(validator["$jsonSchema"])} <= SCHEMA_KEYWORDS
    assert list(validator) == ["$jsonSchema"]


def test_every_document_of_named_fields_is_closed() -> None:
    def check(schema: dict[str, Any]) -> int:
        found = 0
        if "properties" in schema:
            assert schema["additionalProperties"] is False
            found += 1
        inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", []), schema.get("items")]
        return found + sum(check(item) for item in inner if item)

    assert check(VALIDATOR["$jsonSchema"]) == 6  # the export, its dates, attempts and their errors, progress, error
