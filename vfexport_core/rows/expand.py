"""One row per market of a fan: the own market first, then the additional ones in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vfexport_core.rows.frame import count_unmatched
from vfexport_core.rows.values import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vfexport_core.rows.markets import Markets
    from vfexport_core.sources.batch import Chunk


def expand_markets(own: pa.Array, additional: Sequence[Chunk], markets: Markets) -> tuple[pa.Array, pa.Array, int]:
    """Give, per row, the document it belongs to and its market, and the number of unknown additional markets.

    `own` points from document to market, null where it has none that is known. Unknown markets, the own one again and
    repetitions are skipped.
    """
    texts, parents = _flatten(additional)
    index = markets.index_of(texts)
    unknown = count_unmatched(texts, index)
    market = _plain(index)
    own_market = _plain(own)
    wanted = (market >= 0) & (market != own_market[parents])
    parents, market = parents[wanted], market[wanted]
    first = _first_of_each(parents * np.int64(len(markets) + 1) + market)
    parents, market = parents[first], market[first]
    documents = np.concatenate([np.arange(len(own), dtype=np.int64), parents])
    rows = np.argsort(documents, kind="stable")  # an own market stands before the additional ones: it was put first
    chosen = np.concatenate([own_market, market])[rows]
    return pa.array(documents[rows]), pa.array(chosen, mask=chosen < 0), unknown


def _plain(index: pa.Array) -> npt.NDArray[np.int64]:
    return np.asarray(index.fill_null(-1), dtype=np.int64)


def _first_of_each(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Give the places at which a value occurs for the first time, in their order."""
    _, first = np.unique(values, return_index=True)
    return np.sort(first)


def _flatten(chunks: Sequence[Chunk]) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Give all elements of the lists as text, and for each the document that it came from."""
    texts: list[pa.Array] = [pa.array([], pa.string())]
    parents: list[npt.NDArray[np.int64]] = [np.array([], dtype=np.int64)]
    start = 0
    for chunk in chunks:
        if isinstance(chunk, list):
            lists = pa.array([_elements(value) for value in chunk], pa.list_(pa.string()))
        else:
            lists = chunk
        texts.append(lists.flatten())
        parents.append(np.asarray(lists.value_parent_indices(), dtype=np.int64) + start)
        start += len(lists)
    return pa.concat_arrays(texts), np.concatenate(parents)


def _elements(value: object) -> list[str]:
    """Give the elements of a list that may be no list: one value stands for itself, as it does in MongoDB's queries."""
    if value is None:
        return []
    elements = value if isinstance(value, list) else [value]
    return [text for element in elements if (text := text_of(element))]
