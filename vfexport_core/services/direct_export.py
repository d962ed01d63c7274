"""An export into a stream: without the queue and without a store, for whoever asks for it here and now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from vfexport_core.pipeline.counting import count_rows
from vfexport_core.pipeline.export_pipeline import ExportPipeline
from vfexport_core.pipeline.export_plan import ExportPlan
from vfexport_core.pipeline.run import write_rows
from vfexport_core.services import exports

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.pipeline.sinks import ByteStream
    from vfexport_core.services.bootstrap import Backend


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: rows and bytes, and how many rows have which warning."""

    rows: int
    bytes: int
    warnings: dict[str, int]


@dataclass(frozen=True, slots=True)
class DirectExport:
    """One export, all of whose reference data is read; to be written once."""

    backend: Backend
    plan: ExportPlan
    campaign_id: str

    @classmethod
    def load(
        cls, backend: Backend, spec: ExportSpec, campaign_id: str, *, date_key: str | None, include_all_markets: bool
    ) -> Self:
        """Read what must be known beforehand.

        Raises InvalidRequest for a wave that the campaign does not have, CampaignNotFound, NoMarketsFound,
        PromotersNotFound, SourceUnavailable.
        """
        campaign = backend.campaign(campaign_id)
        exports.check_wave(backend, spec, campaign_id, date_key)
        plan = ExportPlan.load(
            spec,
            campaign,
            backend.database,
            backend.settings,
            include_all_markets=include_all_markets,
            date_key=date_key,
        )
        return cls(backend, plan, campaign_id)

    def count(self) -> int | None:
        """Return how many documents will be read, for the types with a preliminary count."""
        return count_rows(self.plan.spec, self.campaign_id, self.backend.database, self.backend.settings)

    def write(
        self, out: ByteStream, on_progress: Callable[[int, int, int], object], *, expected: int | None
    ) -> Written:
        """Write the file; several files become one ZIP. Raises SourceUnavailable, SpoolFull, what `out` raises."""
        pipeline = ExportPipeline(self.plan, self.backend.database)
        pipeline.expected = expected
        size = write_rows(pipeline, out, on_progress)
        return Written(pipeline.counters.rows, size, pipeline.counters.warnings.counts)
