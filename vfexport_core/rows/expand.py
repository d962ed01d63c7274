"""Lists to rows: one per market of a fan, one per promoter that the fan opted in to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vfexport_core.rows.comparable_ids import id_keys, index_by_key, unmatched
from vfexport_core.rows.texts import without_nul
from vfexport_core.rows.values import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vfexport_core.rows.markets import Markets
    from vfexport_core.sources.batch import ColumnValues


def fan_markets(
    own: pa.Array, additional: Sequence[ColumnValues], markets: Markets
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Return, per row, the document it belongs to and its market (-1: none), and how many ids were of no market.

    `own` points from document to market, null where it has none that is known; its row comes first. Unknown additional
    markets, the own one again and repetitions are skipped.
    """
    keys, parents = flat_keys(additional)
    index = markets.index_of(keys)
    unknown = int(np.count_nonzero(unmatched(keys, index)))
    own_market, market = _plain(own), _plain(index)
    wanted = (market >= 0) & (market != own_market[parents])
    parents, market = _each_once(parents[wanted], market[wanted])
    documents = np.concatenate([np.arange(len(own), dtype=np.int64), parents])
    rows = np.argsort(documents, kind="stable")  # an own market was put before the additional ones
    return documents[rows], np.concatenate([own_market, market])[rows], unknown


def promoter_rows(
    opt_ins: Sequence[ColumnValues], promoters: pa.Array
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return, per row, the document and the promoter (by its place in `promoters`, keys) that the fan opted in to."""
    keys, parents = flat_keys(opt_ins)
    promoter = _plain(index_by_key(keys, promoters))
    return _each_once(parents[promoter >= 0], promoter[promoter >= 0])


def _plain(index: pa.Array) -> npt.NDArray[np.int64]:
    return np.asarray(index.fill_null(-1), dtype=np.int64)


def _each_once(
    parents: npt.NDArray[np.int64], values: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Drop repetitions of a pair; what remains keeps its order."""
    if not len(parents):
        return parents, values
    _, first = np.unique(np.stack([parents, values]), axis=1, return_index=True)
    first.sort()
    return parents[first], values[first]


def flat_keys(columns: Sequence[ColumnValues]) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Return all elements of the lists as keys (null: no id), and for each the document that it came from, in order."""
    texts: list[pa.Array] = [pa.array([], pa.string())]
    parents: list[npt.NDArray[np.int64]] = [np.array([], dtype=np.int64)]
    start = 0
    for column in columns:
        flat, owners = _flat(column)
        texts.append(flat)
        parents.append(owners + start)
        start += len(column)
    return id_keys(without_nul(pa.concat_arrays(texts))), np.concatenate(parents)


def _flat(column: ColumnValues) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Return all elements of a column's lists as text, and for each the document that it came from, in order."""
    parts = [_lists_of_texts(part) if isinstance(part, list) else part for part in column.parts]
    lists = parts[0] if len(parts) == 1 else pa.concat_arrays([_lists_of_texts([]), *parts])
    texts, values = lists.flatten(), np.asarray(lists.value_parent_indices(), dtype=np.int64)
    if column.places is None:
        return texts, values
    parents = column.documents()[values]
    order = np.argsort(parents, kind="stable")
    order = order[parents[order] >= 0]
    return texts.take(pa.array(order)), parents[order]


def _lists_of_texts(values: list[Any]) -> pa.ListArray:
    return pa.array([[text_of(item) for item in elements(value)] for value in values], pa.list_(pa.string()))


def elements(value: Any) -> list[Any]:
    """Return the elements of a list that may be no list: a value stands for itself, as it does in MongoDB's queries."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
