"""The cell rules of 03 for whole Arrow arrays of one type: the fast path."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vfexport_core.rows.values import MAX_DATE_MILLIS, MIN_DATE_MILLIS

_HEX_PAIRS = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint16)
_OBJECT_ID_BYTES = 12
# Between these, Arrow writes a double that is no integer as Python's repr does; beyond, with other exponents.
_SAME_AS_REPR_FROM = 1e-3
_SAME_AS_REPR_TO = 1e9
_INT64_LIMIT = 2.0**63
_NEITHER_ROUND_NOR_ODD = 0.5


def render_array(array: pa.Array) -> pa.StringArray:
    """Return an array's values, which are no strings and no lists, as strings; null where the value is."""
    arrow_type = array.type
    if pa.types.is_timestamp(arrow_type):
        return _dates(array)
    if pa.types.is_float64(arrow_type):
        return _doubles(array)
    if pa.types.is_fixed_size_binary(arrow_type):
        return object_id_hex(array)
    return array.cast(pa.string())  # booleans and integers


def _dates(array: pa.Array) -> pa.Array:
    valid = np.asarray(array.is_valid())
    millis = np.asarray(array.cast(pa.int64()).fill_null(0))
    # Floor division cuts towards the past also before 1970; Arrow's own cast would cut towards 1970.
    seconds = pa.array(np.floor_divide(millis, 1000), mask=~valid).cast(pa.timestamp("s"))
    strange = (millis < MIN_DATE_MILLIS) | (millis > MAX_DATE_MILLIS)
    if not strange.any():
        return seconds.cast(pa.string())
    within = pc.if_else(pa.array(strange), pa.scalar(0, pa.timestamp("s")), seconds).cast(pa.string())
    return pc.if_else(pa.array(strange), pa.array(millis).cast(pa.string()), within)


def _doubles(array: pa.Array) -> pa.Array:
    values = np.asarray(array.fill_null(_NEITHER_ROUND_NOR_ODD))
    size = np.abs(values)
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN like others
        integral = (values == np.floor(values)) & (size < _INT64_LIMIT)
    text = array.cast(pa.string())
    if integral.any():
        whole = pa.array(np.where(integral, values, 0).astype(np.int64)).cast(pa.string())
        text = pc.if_else(pa.array(integral), whole, text)
    odd = ~(integral | ((size >= _SAME_AS_REPR_FROM) & (size < _SAME_AS_REPR_TO)))
    return _rewrite(text, values, odd) if odd.any() else text


def _rewrite(text: pa.Array, values: npt.NDArray[np.float64], odd: npt.NDArray[np.bool_]) -> pa.Array:
    """Write the few doubles of extreme size one by one."""
    exact = [str(int(value)) if value.is_integer() else repr(value) for value in values[odd].tolist()]
    return pc.replace_with_mask(text, pa.array(odd), pa.array(exact, pa.string()))


def object_id_hex(array: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Write ObjectIds (12 bytes each) as 24 hex digits."""
    count = len(array)
    data = np.frombuffer(
        array.buffers()[1] or b"",
        dtype=np.uint8,
        count=count * _OBJECT_ID_BYTES,
        offset=array.offset * _OBJECT_ID_BYTES,
    )
    digits = _HEX_PAIRS[data].tobytes()
    offsets = np.arange(count + 1, dtype=np.int32) * (2 * _OBJECT_ID_BYTES)
    text = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(digits))
    return pc.if_else(array.is_valid(), text, None) if array.null_count else text
