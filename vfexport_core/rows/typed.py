"""The cell rules of 03 for whole Arrow arrays of one type: the fast path."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from bson import Decimal128

from vfexport_core.rows.values import MAX_DATE_MILLIS, MIN_DATE_MILLIS
from vfexport_core.sources.arrow_functions import pc

_HEX_PAIRS = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint16)
_OBJECT_ID_BYTES = 12
_DECIMAL_BYTES = 16
_DECIMAL_DIGITS = 38
# Where a Decimal128 has its sign and its exponent, in the upper of two words; infinities, NaNs and the largest
# coefficients have exponents of no size by this.
_SIGN_AT = 63
_EXPONENT_AT = 49
_EXPONENTS = 2**14
_EXPONENT_BIAS = 6_176
_LEAST_PLAIN_EXPONENT = -6  # below, bson may write an exponent
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
        return object_id_hex(array) if arrow_type.byte_width == _OBJECT_ID_BYTES else _decimals(array)
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
    inexact = ~(integral | ((size >= _SAME_AS_REPR_FROM) & (size < _SAME_AS_REPR_TO)))
    return _rewrite(text, values, inexact) if inexact.any() else text


def _rewrite(text: pa.Array, values: npt.NDArray[np.float64], inexact: npt.NDArray[np.bool_]) -> pa.Array:
    """Write the few doubles of extreme size one by one."""
    exact = [str(int(value)) if value.is_integer() else repr(value) for value in values[inexact].tolist()]
    return pc.replace_with_mask(text, pa.array(inexact), pa.array(exact, pa.string()))


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


def _decimals(array: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Write Decimal128 (16 bytes each, as BSON has them) as bson does: those of a common form by their exponents."""
    count = len(array)
    data = np.frombuffer(array.buffers()[1] or b"", dtype="<u8", count=2 * count, offset=array.offset * _DECIMAL_BYTES)
    low, high = data[0::2], data[1::2]
    exponent = (high >> np.uint64(_EXPONENT_AT)).astype(np.int64) % _EXPONENTS - _EXPONENT_BIAS
    negative = high >> np.uint64(_SIGN_AT) != 0
    # The coefficient is in the lower word alone and positive as an int64; a negative zero is none of those.
    common = (high % np.uint64(2**_EXPONENT_AT) == 0) & (low < np.uint64(2**63)) & ~(negative & (low == 0))
    common &= (exponent <= 0) & (exponent >= _LEAST_PLAIN_EXPONENT)
    valid = np.asarray(array.is_valid())
    rows = [np.flatnonzero(valid & ~common)]
    texts = [pa.array([str(Decimal128.from_bid(array[row].as_py())) for row in rows[0].tolist()], pa.string())]
    coefficients = np.where(negative, -low.astype(np.int64), low.astype(np.int64))
    for each in np.unique(exponent[valid & common]).tolist():
        of_this = np.flatnonzero(valid & common & (exponent == each))
        rows.append(of_this)
        texts.append(_scaled(coefficients[of_this], -each))
    places = np.full(count, -1, dtype=np.int64)
    places[np.concatenate(rows)] = np.arange(sum(map(len, rows)))
    return pa.concat_arrays(texts).take(pa.array(places, mask=places < 0))


def _scaled(coefficients: npt.NDArray[np.int64], scale: int) -> pa.StringArray:
    """Write the numbers, `scale` of whose digits are behind the point."""
    wide = np.stack([coefficients, coefficients >> 63], axis=1)
    type_ = pa.decimal128(_DECIMAL_DIGITS, scale)
    return pa.Array.from_buffers(type_, len(coefficients), [None, pa.py_buffer(wide)]).cast(pa.string())
