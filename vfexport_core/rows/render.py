"""Expressions to guarded text: what stands in each column of a frame's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa

from vfexport_core.catalog.collections import Collection, Field
from vfexport_core.catalog.expressions import ArtistName, Column, Constant, FalseIfMissing, PreferenceColumns
from vfexport_core.rows.cells import Cells, cells_of_rendered, cells_of_values
from vfexport_core.rows.evaluate import evaluate, is_of_market
from vfexport_core.rows.expand import elements
from vfexport_core.rows.guard import guarded
from vfexport_core.rows.markets import value_at
from vfexport_core.rows.reminder_rules import artist_name
from vfexport_core.rows.values import REPAIRED, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from vfexport_core.catalog.expressions import Expression
    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.rows.frame import Frame
    from vfexport_core.rows.markets import Markets
    from vfexport_core.rows.reminder_rules import ReminderRules

TextColumn: TypeAlias = "pa.StringArray | pa.DictionaryArray | pa.StringScalar"
"""A column of text: one string per row, a dictionary of strings over the markets, or one string for all rows.

A null, in the array, among the indices (int64, one per row), in the dictionary or as the scalar, is an empty cell.
"""


def resolve_columns(spec: ExportSpec, campaign: Mapping[str, Any]) -> tuple[Column, ...]:
    """Return the columns of this campaign's file: the declared ones, with those of its preferences in place."""
    columns: list[Column] = []
    for column in spec.columns:
        if isinstance(column, PreferenceColumns):
            columns.extend(_preference_columns(campaign))
        else:
            columns.append(column)
    return tuple(columns)


def _preference_columns(campaign: Mapping[str, Any]) -> list[Column]:
    columns: list[Column] = []
    for preference in elements(campaign.get("preferences")):
        if isinstance(preference, dict):
            identity = preference.get("id")
            answer = Field(Collection.ENTRIES, ("fields", text_of(identity)))
            header = f"#{text_of(preference.get('type'))}.{text_of(identity)}"
            columns.append(Column(header, Constant("false") if identity is None else FalseIfMissing(answer)))
    return columns


class Renderer:
    """Renders the columns of one export; what does not change from row to row is rendered once."""

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        campaign: Mapping[str, Any],
        markets: Markets,
        rules: ReminderRules,
        formula_guard: bool,
    ) -> None:
        self.columns = tuple(columns)
        self._guard = formula_guard
        self._rules = rules
        self._of_market: dict[Expression, Cells] = {}
        self._of_campaign: dict[Expression, Cells] = {}
        for expression in (column.expression for column in self.columns):
            if is_of_market(expression):
                self._of_market[expression] = self._guarded(markets.cells(expression))
            elif isinstance(expression, Constant):
                self._of_campaign[expression] = cells_of_values([expression.text])
            elif isinstance(expression, ArtistName):
                self._of_campaign[expression] = self._guarded(cells_of_rendered([artist_name(campaign)]))
            elif isinstance(expression, Field) and expression.collection is Collection.CAMPAIGNS:
                self._of_campaign[expression] = self._guarded(cells_of_values([value_at(campaign, expression.path)]))

    def render(self, frame: Frame) -> list[TextColumn]:
        """Return one text column per column of the export, for all rows of the frame.

        Cells that held bytes which are not UTF-8 are counted in the frame's warnings.
        """
        rendered = [self._column(column.expression, frame) for column in self.columns]
        frame.counters.warnings.add("invalidUtf8", sum(repaired for _, repaired in rendered))
        return [column for column, _ in rendered]

    def _column(self, expression: Expression, frame: Frame) -> tuple[TextColumn, int]:
        """Return a column, and how many of its cells are repaired."""
        if expression in self._of_campaign:
            cells = self._of_campaign[expression]
            return cells.text[0], cells.repaired() * frame.rows
        if expression in self._of_market:
            cells = self._of_market[expression]
            return pa.DictionaryArray.from_arrays(frame.market_index, cells.text), _repaired_by_market(cells, frame)
        cells = self._guarded(evaluate(expression, frame, self._rules))
        return cells.text, cells.repaired()

    def _guarded(self, cells: Cells) -> Cells:
        return guarded(cells) if self._guard else cells


def _repaired_by_market(cells: Cells, frame: Frame) -> int:
    """Count the rows whose market has a repaired cell."""
    if isinstance(cells.flags, int) or not np.any(cells.flags & REPAIRED):
        return 0
    known = np.asarray(frame.market_index.drop_null(), dtype=np.int64)
    return int(np.count_nonzero(cells.flags[known] & REPAIRED))
