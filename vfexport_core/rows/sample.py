"""The first rows per locale and market: which these are depends on all the rows before."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from vfexport_core.catalog.reminders import HELD_CODE_MARKET, SFMC_LOCALE
from vfexport_core.rows.comparable_ids import key_texts
from vfexport_core.rows.evaluate import evaluate

if TYPE_CHECKING:
    from vfexport_core.rows.frame import Frame
    from vfexport_core.rows.reminder_rules import ReminderRules


@dataclass(slots=True)
class Sampler:
    """Keeps the first `rows_per_group` rows per locale and market. Takes frames in the order of the scan."""

    rules: ReminderRules
    rows_per_group: int
    _taken: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)

    def apply(self, frame: Frame) -> None:
        """Leave the frame those rows that belong to the sample."""
        locales = evaluate(SFMC_LOCALE, frame, self.rules).text.to_pylist()
        markets = key_texts(frame.cells(HELD_CODE_MARKET)).to_pylist()
        keep = np.zeros(frame.rows, dtype=np.bool_)
        for row, group in enumerate(zip(locales, markets, strict=True)):
            if self._taken[group] < self.rows_per_group:
                self._taken[group] += 1
                keep[row] = True
        if not keep.all():
            frame.choose_rows(np.flatnonzero(keep))
