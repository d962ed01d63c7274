"""Rows by group, and groups to files.

Which group a row belongs to is a matter of the row (`split`). Which file it goes to also depends on the rows before it
(`Partition`): so that is decided once, where the batches are in order again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, TypeVar, assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vfexport_core.catalog.reminders import REGION, SFMC_LOCALE
from vfexport_core.catalog.spec import GroupBy
from vfexport_core.files.names import folder_name, unique_names
from vfexport_core.rows.evaluate import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vfexport_core.rows.frame import Frame
    from vfexport_core.rows.reminder_rules import ReminderRules
    from vfexport_core.rows.row_counters import RowCounters

GroupKey: TypeAlias = "int | tuple[str, str] | None"
"""A promoter's place in the campaign's list, the folders of region and locale, or None for all rows together."""

_File = TypeVar("_File")


class PartName(NamedTuple):
    """One file of a split by region: parts of a region and locale are counted from 1."""

    region: str
    locale: str
    number: int

    def path(self, extension: str) -> str:
        """Return the part's place in an archive."""
        return f"{self.region}/{self.locale}-{self.number:03}.{extension}"


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Some rows of one batch that have their key in common, in their order: one string each, none null."""

    key: GroupKey
    rows: pa.StringArray


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """What one batch of documents became: its rows by group, and what was counted. It refers to nothing else.

    `people` (uint64, in no order) are the keys of those whose rows these are; None when nobody keeps them.
    """

    groups: tuple[RowGroup, ...]
    counters: RowCounters
    people: npt.NDArray[np.uint64] | None = None


def encoded_bytes(batch: EncodedBatch) -> int:
    """Return the memory that the batch's rows take."""
    return sum(group.rows.nbytes for group in batch.groups)


def split(group_by: GroupBy | None, rows: pa.StringArray, frame: Frame, rules: ReminderRules) -> tuple[RowGroup, ...]:
    """Return the encoded rows of a frame by group."""
    if group_by is None:
        return (RowGroup(None, rows),)
    places: dict[GroupKey, list[int]] = {}
    for place, key in enumerate(_keys(group_by, frame, rules)):
        places.setdefault(key, []).append(place)
    return tuple(
        RowGroup(key, rows.take(pa.array(np.array(members, dtype=np.int64)))) for key, members in places.items()
    )


def _keys(group_by: GroupBy, frame: Frame, rules: ReminderRules) -> Sequence[GroupKey]:
    match group_by:
        case GroupBy.PROMOTER:
            assert frame.promoter_index is not None
            return frame.promoter_index.tolist()
        case GroupBy.REGION_AND_LOCALE:
            folders = (_folders(evaluate(item, frame, rules).text) for item in (REGION, SFMC_LOCALE))
            return list(zip(*folders, strict=True))
        case _:
            assert_never(group_by)


def _folders(names: pa.StringArray) -> list[str]:
    """Return the folder of each name; there are few names and many rows."""
    distinct = names.dictionary_encode()
    folders = [folder_name(name) for name in distinct.dictionary.to_pylist()]
    return [folders[index] for index in distinct.indices.to_pylist()]


class Partition(Protocol[_File]):
    """Says which file each row belongs to. Takes groups in the order of the scan."""

    def place(self, group: RowGroup) -> Iterator[tuple[_File, pa.StringArray]]:
        """Yield the group's rows with the file that they are the next ones of."""
        ...

    def files(self) -> Mapping[_File, str]:
        """Return the files in their order, each with its path in an archive."""
        ...


class ByPromoter:
    """A file per promoter, also for one without rows; files are named by the promoters' places in the list."""

    def __init__(self, names: Sequence[str], extension: str) -> None:
        self._names = names
        self._extension = extension

    def place(self, group: RowGroup) -> Iterator[tuple[GroupKey, pa.StringArray]]:
        yield group.key, group.rows

    def files(self) -> Mapping[GroupKey, str]:
        return dict(enumerate(unique_names(self._names, self._extension)))


class ByRegionAndLocale:
    """Files of at most `max_rows` rows each per region and locale; `rows` are those of each so far."""

    def __init__(self, max_rows: int, extension: str) -> None:
        self.rows: Counter[PartName] = Counter()
        self._max_rows = max_rows
        self._extension = extension
        self._before: Counter[tuple[str, str]] = Counter()

    def place(self, group: RowGroup) -> Iterator[tuple[PartName, pa.StringArray]]:
        assert isinstance(group.key, tuple)
        start = 0
        while start < len(group.rows):
            number, filled = divmod(self._before[group.key], self._max_rows)
            length = min(self._max_rows - filled, len(group.rows) - start)
            part = PartName(*group.key, number + 1)
            yield part, group.rows.slice(start, length)
            self.rows[part] += length
            self._before[group.key] += length
            start += length

    def files(self) -> Mapping[PartName, str]:
        return {part: part.path(self._extension) for part in sorted(self.rows)}
