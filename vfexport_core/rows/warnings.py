"""What does not conform in the documents that have rows, counted by the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vfexport_core.catalog.collections import Collection
from vfexport_core.catalog.reminders import COUNTRY_CODE
from vfexport_core.catalog.spec import Expansion
from vfexport_core.rows.comparable_ids import key_texts, unmatched
from vfexport_core.rows.evaluate import evaluate
from vfexport_core.sources.arrow_functions import pc

if TYPE_CHECKING:
    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.rows.frame import Frame
    from vfexport_core.rows.reminder_rules import ReminderRules


def count_warnings(frame: Frame, spec: ExportSpec, rules: ReminderRules) -> None:
    """Add to the frame's counters how many of its documents with rows refer to what is not there."""
    warnings = frame.counters.warnings
    if Collection.USERS in frame.related:
        warnings.add("unknownUser", frame.count_documents(_without_user(frame, spec)))
    if spec.market is not None:
        unknown = unmatched(key_texts(frame.cells(spec.market)), frame.market_index)
        warnings.add("unknownMarket", frame.count_documents(unknown))
    if spec.expansion is Expansion.HELD_CODES:
        nowhere = np.asarray(pc.equal(evaluate(COUNTRY_CODE, frame, rules).text, ""))
        warnings.add("unknownRegion", frame.count_documents(nowhere.astype(np.bool_)))


def _without_user(frame: Frame, spec: ExportSpec) -> npt.NDArray[np.bool_]:
    """Return whose user does not exist: an entry always has one, another document only when it names one."""
    (key,) = (lookup.key for lookup in spec.lookups if lookup.collection is Collection.USERS)
    without = np.asarray(frame.related[Collection.USERS].index.is_null())
    if frame.collection is not Collection.ENTRIES:
        without = without & np.asarray(key_texts(frame.document_cells(key)).is_valid())
    return frame.of_documents(without)
