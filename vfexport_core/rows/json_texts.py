"""Documents as JSON, a column at a time: what `rows.values` writes for one of them."""

from __future__ import annotations

import math

import pyarrow as pa

from vfexport_core.rows.texts import rewrite, rows_holding
from vfexport_core.rows.typed import render_array
from vfexport_core.rows.values import encode_json
from vfexport_core.sources.arrow_functions import pc

_ESCAPED = bytes(range(0x20)) + b'"\\'


def json_texts(documents: pa.StructArray) -> pa.StringArray:
    """Return the documents as compact JSON with sorted names, without those whose value is null; null where one is."""
    names = sorted(field.name for field in documents.type)
    members = [_member(name, documents.field(name)) for name in names]
    # Each begins with a comma, the first of which makes room for the bracket.
    inside = pc.binary_join_element_wise(*members, "", null_handling="replace", null_replacement="")
    text = pc.binary_join_element_wise(pc.binary_replace_slice(inside, 0, 1, "{"), "}", "")
    return pc.if_else(documents.is_valid(), text, None) if documents.null_count else text


def _member(name: str, values: pa.Array) -> pa.StringArray:
    """Return a comma, a name and its values; null where the document has no such name."""
    key = f",{encode_json(name)}:"
    if pa.types.is_struct(values.type):
        named = pc.fill_null(_member(name, values.field(0)), f"{key}null")
        return pc.if_else(values.is_valid(), named, None)
    if pa.types.is_float64(values.type):
        return pc.binary_join_element_wise(key, _numbers(values), "")
    if pa.types.is_boolean(values.type) or pa.types.is_integer(values.type):
        return pc.binary_join_element_wise(key, render_array(values), "")
    text = values if pa.types.is_string(values.type) else render_array(values)
    return pc.binary_join_element_wise(f'{key}"', rewrite(text, rows_holding(text, _ESCAPED), _escaped), '"', "")


def _numbers(values: pa.DoubleArray) -> pa.StringArray:
    """Write doubles as JSON does, 5.0 as that; those that JSON lacks are strings."""
    return pa.array([None if value is None else _number(value) for value in values.to_pylist()], pa.string())


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else f'"{value!r}"'


def _escaped(text: pa.Array) -> pa.Array:
    return pa.array([encode_json(one)[1:-1] for one in text.to_pylist()], pa.string())
