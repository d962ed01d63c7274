"""All that the stages of one export have to know before the first document is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

from vfexport_core.catalog.contact import ADDITIONAL_MARKETS, EMAIL, PROMOTER_OPT_INS
from vfexport_core.catalog.reminders import CODES_HELD, COUNTRY_CODE, REGION, SFMC_LOCALE
from vfexport_core.catalog.spec import Expansion, GroupBy
from vfexport_core.files.formats import open_format
from vfexport_core.files.grouping import ByPromoter, ByRegionAndLocale
from vfexport_core.pipeline.plan_settings import PlanSettings
from vfexport_core.pipeline.reference_data import ReferenceData
from vfexport_core.rows.evaluate import expressions_of, fields_of
from vfexport_core.rows.reminder_rules import artist_name
from vfexport_core.rows.render import resolve_columns
from vfexport_core.sources.conditions import condition_expression
from vfexport_core.sources.scan import BATCH_DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pymongo.database import Database

    from vfexport_core.catalog.collections import Collection, Field
    from vfexport_core.catalog.expressions import Column, Expression
    from vfexport_core.catalog.spec import Condition, ExportSpec
    from vfexport_core.ccpa.person_keys import PersonHasher
    from vfexport_core.ccpa.suppression import SuppressionList
    from vfexport_core.files.formats import FileFormat
    from vfexport_core.mongo.document import Document
    from vfexport_core.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """One export of one campaign. Holds no connection and never changes: it can be handed to another process."""

    spec: ExportSpec
    campaign: Mapping[str, Any]
    columns: tuple[Column, ...]
    reference: ReferenceData
    settings: PlanSettings
    include_all_markets: bool
    date_key: str | None
    suppression: SuppressionList | None
    people: PersonHasher | None
    """Makes the keys of the people whose rows are written; None when nobody keeps them."""
    batch_documents: int
    reply_batches: int | None
    """How many batches a reply has; None for some, and more where replies come too late."""

    @classmethod
    def load(
        cls,
        spec: ExportSpec,
        campaign: Mapping[str, Any],
        database: Database[Document],
        settings: Settings,
        *,
        include_all_markets: bool = False,
        date_key: str | None = None,
        suppression: SuppressionList | None = None,
        people: PersonHasher | None = None,
        batch_documents: int = BATCH_DOCUMENTS,
        reply_batches: int | None = None,
    ) -> ExportPlan:
        """Read what is small (markets, promoters); raises NoMarketsFound, PromotersNotFound, SourceUnavailable."""
        return cls(
            spec=spec,
            campaign=campaign,
            columns=resolve_columns(spec, campaign),
            reference=ReferenceData.load(spec, campaign, database, settings),
            settings=PlanSettings.of(settings),
            include_all_markets=include_all_markets,
            date_key=date_key,
            suppression=suppression,
            people=people,
            batch_documents=batch_documents,
            reply_batches=reply_batches,
        )

    @property
    def artist(self) -> str:
        """The artist's name as the reminders write it."""
        return artist_name(self.campaign)[0] or ""

    @property
    def formula_guard(self) -> bool:
        return self.spec.for_people and self.settings.formula_guard

    def open_format(self) -> FileFormat:
        """Return the format of the export's files."""
        return open_format(self.spec.format, (column.header for column in self.columns))

    def partition(self) -> ByPromoter | ByRegionAndLocale | None:
        """Return what says which file a row belongs to, as before the first row; None when there is one file."""
        group_by = self.spec.shape.group_by
        match group_by:
            case GroupBy.PROMOTER:
                return ByPromoter([promoter.name for promoter in self.reference.promoters], self.spec.format)
            case GroupBy.REGION_AND_LOCALE:
                return ByRegionAndLocale(self.settings.max_rows_per_file, self.spec.format)
            case None:
                return None
            case _:
                assert_never(group_by)

    def scanned_fields(self) -> tuple[Field, ...]:
        """Return the fields that are read of a scanned document, each once and always in the same order."""
        collection = self.spec.scan.collection
        asked = self.suppression is not None or self.people is not None
        personal = collection.personal_fields if asked else ()
        return tuple(dict.fromkeys((*self.fields(collection), *self._expanded_fields(), *personal)))

    def fields(self, collection: Collection) -> tuple[Field, ...]:
        """Return the fields of one collection that are evaluated, each once and always in the same order."""
        return fields_of(self._expressions(), collection)

    def condition(self, condition: Condition | None) -> Any:
        """Return a condition as an aggregation expression; None for none."""
        return None if condition is None else condition_expression(condition, self.date_key)

    def _expressions(self) -> Iterator[Expression]:
        """Yield all that is evaluated, be it for a column, the selection of rows or their groups."""
        spec = self.spec
        yield from expressions_of(self.columns)
        yield from (lookup.key for lookup in spec.lookups)
        yield from (item for item in (spec.market, spec.required, spec.not_in_scheduled_wave) if item is not None)
        if spec.expansion is Expansion.HELD_CODES:
            yield from (EMAIL, COUNTRY_CODE)
        if spec.shape.group_by is GroupBy.REGION_AND_LOCALE or spec.shape.sample is not None:
            yield from (REGION, SFMC_LOCALE)

    def _expanded_fields(self) -> tuple[Field, ...]:
        """Return what an expansion needs of the scanned document beside the columns."""
        expansion = self.spec.expansion
        match expansion:
            case Expansion.MARKETS_IF_ASKED:
                return (ADDITIONAL_MARKETS,) if self.include_all_markets else ()
            case Expansion.HELD_CODES:
                return (CODES_HELD,)
            case Expansion.PROMOTERS:
                return (PROMOTER_OPT_INS,)
            case None:
                return ()
            case _:
                assert_never(expansion)
