"""From documents to rows: who has none, who has several, and what is counted on the way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vfexport_core.catalog.collections import Collection
from vfexport_core.catalog.contact import ADDITIONAL_MARKETS, EMAIL, PROMOTER_OPT_INS
from vfexport_core.catalog.reminders import CODES_HELD, COUNTRY_CODE, HELD_CODE_ID, HELD_CODE_MARKET, SFMC_LOCALE
from vfexport_core.catalog.spec import Expansion, Shape
from vfexport_core.rows.cells import cells_of_values
from vfexport_core.rows.evaluate import evaluate
from vfexport_core.rows.expand import fan_markets, promoter_rows
from vfexport_core.rows.keys import key_texts, unmatched
from vfexport_core.rows.reminders import held_codes, normal_email
from vfexport_core.sources.batch import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.rows.frame import Frame
    from vfexport_core.rows.members import MemberSet
    from vfexport_core.rows.reminders import ReminderRules


@dataclass(slots=True)
class RowSelection:
    """Chooses the rows of one export; `warnings` and `skipped` grow with every frame.

    `promoters` are the keys of the campaign's promoters, `excluded` the members that get no row.
    """

    spec: ExportSpec
    rules: ReminderRules
    include_all_markets: bool
    sample_rows: int
    promoters: pa.Array
    excluded: MemberSet | None
    left_out: Callable[[Frame], npt.NDArray[np.bool_]] | None = None
    """Tells which documents are those of users whose data is being deleted."""
    left_out_documents: int = 0
    warnings: Tally = field(default_factory=Tally)
    skipped: Tally = field(default_factory=Tally)
    _sampled: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)

    def apply(self, frame: Frame) -> npt.NDArray[np.int64] | None:
        """Give the frame its rows; for an export by promoter, the promoter of each row."""
        # Expansions first: they read lists by document, so they need the frame as it was scanned.
        promoter = self._expand(frame)
        kept = self._wanted(frame)
        if not kept.all():
            frame.choose_rows(np.flatnonzero(kept))
            promoter = None if promoter is None else promoter[kept]
        if self.spec.shape is Shape.SAMPLE:
            self._sample(frame)
        self._count(frame)
        return promoter

    def _wanted(self, frame: Frame) -> npt.NDArray[np.bool_]:
        """Tell which rows stay: those with what the type requires, and of no excluded member."""
        kept = np.ones(frame.rows, dtype=np.bool_)
        for lookup in self.spec.lookups:
            if lookup.required:
                kept &= frame.of_documents(np.asarray(frame.related[lookup.collection].index.is_valid()))
        if self.spec.required is not None:
            kept &= ~np.asarray(evaluate(self.spec.required, frame, self.rules).blank())
        if self.excluded is not None and self.spec.not_in_scheduled_wave is not None:
            kept &= ~self.excluded.holds(key_texts(frame.cells(self.spec.not_in_scheduled_wave)))
        if self.left_out is not None:
            named = kept & frame.of_documents(self.left_out(frame))
            self.left_out_documents += frame.count_documents(named)
            kept &= ~named
        return kept

    def _expand(self, frame: Frame) -> npt.NDArray[np.int64] | None:
        promoter = None
        if self.spec.expansion is Expansion.HELD_CODES:
            self._hold_codes(frame)
        elif self.spec.expansion is Expansion.PROMOTERS:
            rows, promoter = promoter_rows(frame.documents.columns[PROMOTER_OPT_INS], self.promoters)
            frame.choose_rows(rows)
        if self.spec.market is not None:
            frame.market_index = frame.markets.index_of(key_texts(frame.cells(self.spec.market)))
        if self.spec.expansion is Expansion.MARKETS_IF_ASKED and self.include_all_markets:
            additional = frame.documents.columns[ADDITIONAL_MARKETS]
            rows, market, unknown = fan_markets(frame.market_index, additional, frame.markets)
            self.warnings.add("unknownAdditionalMarket", unknown)
            frame.choose_rows(rows)
            frame.market_index = pa.array(market, mask=market < 0)
        return promoter

    def _hold_codes(self, frame: Frame) -> None:
        emails = evaluate(EMAIL, frame, self.rules).text.to_pylist()
        rows: list[int] = []
        held: list[tuple[object, object]] = []
        values = [value for chunk in frame.documents.columns[CODES_HELD] for value in chunk]
        for row, (email, value) in enumerate(zip(emails, values, strict=True)):
            codes = held_codes(value)
            reachable = bool(normal_email(email or ""))
            self.skipped.add("missingCode", not codes)
            self.skipped.add("missingEmail", not reachable)
            if reachable:
                rows.extend([row] * len(codes))
                held.extend(codes)
        frame.choose_rows(np.array(rows, dtype=np.int64))
        frame.held = {
            HELD_CODE_ID: cells_of_values([code for code, _ in held]),
            HELD_CODE_MARKET: cells_of_values([market for _, market in held]),
        }

    def _sample(self, frame: Frame) -> None:
        locales = evaluate(SFMC_LOCALE, frame, self.rules).text.to_pylist()
        markets = key_texts(frame.cells(HELD_CODE_MARKET)).to_pylist()
        keep = np.zeros(frame.rows, dtype=np.bool_)
        for row, group in enumerate(zip(locales, markets, strict=True)):
            if self._sampled[group] < self.sample_rows:
                self._sampled[group] += 1
                keep[row] = True
        if not keep.all():
            frame.choose_rows(np.flatnonzero(keep))

    def _count(self, frame: Frame) -> None:
        """Count what was odd about the documents that have rows."""
        if Collection.USERS in frame.related:
            self.warnings.add("unknownUser", frame.count_documents(self._without_user(frame)))
        if self.spec.market is not None:
            unknown = unmatched(key_texts(frame.cells(self.spec.market)), frame.market_index)
            self.warnings.add("unknownMarket", frame.count_documents(unknown))
        if self.spec.expansion is Expansion.HELD_CODES:
            nowhere = np.asarray(pc.equal(evaluate(COUNTRY_CODE, frame, self.rules).text, ""))
            self.warnings.add("unknownRegion", frame.count_documents(nowhere.astype(np.bool_)))

    def _without_user(self, frame: Frame) -> npt.NDArray[np.bool_]:
        """Tell whose user does not exist: an entry always has one, another document only when it names one."""
        (key,) = (lookup.key for lookup in self.spec.lookups if lookup.collection is Collection.USERS)
        without = np.asarray(frame.related[Collection.USERS].index.is_null())
        if frame.collection is not Collection.ENTRIES:
            without = without & np.asarray(key_texts(frame.document_cells(key)).is_valid())
        return frame.of_documents(without)
