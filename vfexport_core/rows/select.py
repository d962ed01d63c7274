"""From documents to rows: who has none, who has several. What one batch becomes does not depend on any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vfexport_core.catalog.contact import ADDITIONAL_MARKETS, EMAIL, PROMOTER_OPT_INS
from vfexport_core.catalog.reminders import CODES_HELD, HELD_CODE_ID, HELD_CODE_MARKET
from vfexport_core.catalog.spec import Expansion
from vfexport_core.rows.cells import cells_of_values
from vfexport_core.rows.comparable_ids import key_texts
from vfexport_core.rows.evaluate import evaluate
from vfexport_core.rows.expand import fan_markets, promoter_rows
from vfexport_core.rows.reminder_rules import held_codes, normal_email

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.rows.frame import Frame
    from vfexport_core.rows.members import MemberSet
    from vfexport_core.rows.reminder_rules import ReminderRules


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSelection:
    """Chooses the rows of one export.

    `promoters` are the keys of the campaign's promoters (strings, none null), `wave_members` those who get no row of a
    type that leaves out scheduled waves.
    """

    spec: ExportSpec
    rules: ReminderRules
    include_all_markets: bool
    promoters: pa.StringArray
    wave_members: MemberSet | None
    suppressed: Callable[[Frame], npt.NDArray[np.bool_]] | None = None
    """Returns, per scanned document, whether it is one of a user whose data is being deleted."""

    def apply(self, frame: Frame) -> None:
        """Choose the rows of the frame, and count what has none."""
        # Expansions first: they read lists by document, so they need the frame as it was scanned.
        self._expand(frame)
        kept = self._kept(frame)
        if not kept.all():
            frame.choose_rows(np.flatnonzero(kept))

    def _expand(self, frame: Frame) -> None:
        expansion = self.spec.expansion
        match expansion:
            case Expansion.HELD_CODES:
                self._hold_codes(frame)
                self._find_markets(frame)
            case Expansion.PROMOTERS:
                rows, promoters = promoter_rows(frame.documents.columns[PROMOTER_OPT_INS], self.promoters)
                frame.choose_rows(rows)
                frame.promoter_index = promoters
                self._find_markets(frame)
            case Expansion.MARKETS_IF_ASKED:
                self._find_markets(frame)
                if self.include_all_markets:
                    self._add_markets(frame)
            case None:
                self._find_markets(frame)
            case _:
                assert_never(expansion)

    def _find_markets(self, frame: Frame) -> None:
        if self.spec.market is not None:
            frame.market_index = frame.markets.index_of(key_texts(frame.cells(self.spec.market)))

    def _add_markets(self, frame: Frame) -> None:
        additional = frame.documents.columns[ADDITIONAL_MARKETS]
        rows, market, unknown = fan_markets(frame.market_index, additional, frame.markets)
        frame.counters.warnings.add("unknownAdditionalMarket", unknown)
        frame.choose_rows(rows)
        frame.market_index = pa.array(market, mask=market < 0)

    def _hold_codes(self, frame: Frame) -> None:
        emails = evaluate(EMAIL, frame, self.rules).text.to_pylist()
        rows: list[int] = []
        held: list[tuple[object, object]] = []
        values = [value for column in frame.documents.columns[CODES_HELD] for value in column.parts[0]]
        for row, (email, value) in enumerate(zip(emails, values, strict=True)):
            codes = held_codes(value)
            reachable = bool(normal_email(email or ""))
            frame.counters.skipped.add("missingCode", not codes)
            frame.counters.skipped.add("missingEmail", not reachable)
            if reachable:
                rows.extend([row] * len(codes))
                held.extend(codes)
        frame.choose_rows(np.array(rows, dtype=np.int64))
        frame.held = {
            HELD_CODE_ID: cells_of_values([code for code, _ in held]),
            HELD_CODE_MARKET: cells_of_values([market for _, market in held]),
        }

    def _kept(self, frame: Frame) -> npt.NDArray[np.bool_]:
        """Return which rows stay: those with what the type requires, and of nobody who is left out."""
        kept = np.ones(frame.rows, dtype=np.bool_)
        for lookup in self.spec.lookups:
            if lookup.required:
                kept &= frame.of_documents(np.asarray(frame.related[lookup.collection].index.is_valid()))
        if self.spec.required is not None:
            kept &= ~np.asarray(evaluate(self.spec.required, frame, self.rules).blank())
        if self.wave_members is not None and self.spec.not_in_scheduled_wave is not None:
            kept &= ~self.wave_members.holds(key_texts(frame.cells(self.spec.not_in_scheduled_wave)))
        if self.suppressed is not None:
            named = kept & frame.of_documents(self.suppressed(frame))
            frame.counters.suppressed += frame.count_documents(named)
            kept &= ~named
        return kept
