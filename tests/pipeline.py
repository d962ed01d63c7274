"""Runs the real pipeline on a reference campaign, and gives its files in the reference's form."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from bson.raw_bson import RawBSONDocument

from tests.reference import Campaign, ReferenceExport, decode, export
from tests.strategies.loading import COLLECTIONS
from tests.strategies.loading import load as load_documents
from vfexport_core.catalog import find_spec
from vfexport_core.embedded.synthetic.indexes import create_source_indexes
from vfexport_core.pipeline.export_pipeline import ExportPipeline
from vfexport_core.pipeline.export_plan import ExportPlan
from vfexport_core.pipeline.run import write_rows
from vfexport_core.sources.campaigns import find_campaign

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from vfexport_core.settings import Settings


@dataclass
class Exported:
    files: dict[Any, bytes]
    rows: int
    warnings: dict[str, int]
    skipped: dict[str, int]


def load(database: Database[Any], bundle: Campaign) -> str:
    """Put the bundle's documents and the expected indexes into the database; gives the campaign's id."""
    create_source_indexes(database)
    load_documents(database, bundle)
    return str(decode(bundle.campaign)["_id"])


def bundle_of(database: Database[Any], campaign_id: str) -> Campaign:
    """Return a campaign as it is in the database, with whatever else is in its collections, for the reference."""
    raw = database.with_options(codec_options=database.codec_options.with_options(document_class=RawBSONDocument))
    (campaign,) = raw["campaigns"].find({"_id": ObjectId(campaign_id)})
    collections = {field: list(raw[name].find()) for field, name in COLLECTIONS.items()}
    return Campaign(campaign, **collections)


def run_pipeline(
    database: Database[Any],
    campaign_id: str,
    export_type: str,
    settings: Settings,
    *,
    watch: Callable[[ExportPipeline], object] = lambda _: None,
    pipeline_class: type[ExportPipeline] = ExportPipeline,
    **options: Any,
) -> Exported:
    """Export through the pipeline into memory; `watch` is called after every batch."""
    spec = find_spec(export_type)
    plan = ExportPlan.load(spec, find_campaign(database, campaign_id), database, settings, **options)
    pipeline = pipeline_class(plan, database)
    out = io.BytesIO()
    seen: list[tuple[int, int, int]] = []

    def on_progress(*figures: int) -> None:
        seen.append(figures)  # pyright: ignore[reportArgumentType] three of them
        watch(pipeline)

    size = write_rows(pipeline, out, on_progress)
    assert size == len(out.getvalue())
    assert seen == sorted(seen), "progress never goes back"
    files: dict[Any, bytes] = {"": out.getvalue()}
    if out.getvalue().startswith(b"PK"):
        with zipfile.ZipFile(out) as archive:
            assert archive.testzip() is None
            files = {name: archive.read(name) for name in archive.namelist()}
    counters = pipeline.counters
    return Exported(files, counters.rows, dict(counters.warnings.counts), dict(counters.skipped.counts))


def expected(bundle: Campaign, export_type: str, **options: Any) -> ReferenceExport:
    """Export by the reference; parts are named as they are inside an archive."""
    result = export(bundle, export_type, **options)
    if export_type == "autoReminderEmail":
        result.files = {
            f"{region}/{locale}-{part:03}.csv": data for (region, locale, part), data in result.files.items()
        }
    return result
