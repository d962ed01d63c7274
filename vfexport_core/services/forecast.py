"""What an export would do: what it reads, by which indexes, how long that takes, and where its file goes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

from vfexport_core.catalog.spec import Container
from vfexport_core.errors import ConfigurationError
from vfexport_core.queue.models import ExportStatus
from vfexport_core.settings import DEFAULT_SFMC_PREFIX
from vfexport_core.sources.campaigns import check_markets
from vfexport_core.sources.needed_indexes import missing_source_indexes, needed_indexes
from vfexport_core.sources.ranges import range_of
from vfexport_core.storage.object_keys import key_text, object_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from vfexport_core.catalog import ExportSpec
    from vfexport_core.queue.models import Export
    from vfexport_core.services.bootstrap import Backend
    from vfexport_core.sources.needed_indexes import NeededIndex

_PAST_EXPORTS = 20
_MOMENT = "{moment}"
_EXPORT_ID = "{exportId}"


@dataclass(frozen=True, slots=True)
class IndexUse:
    """A collection that is read, and the index for that; without it the whole collection is read."""

    collection: str
    index: str
    is_there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """See the module. `documents` and `seconds` are None when nothing tells them; `bucket` when none is configured.

    Where the type has a condition, `documents` are those before it: how many meet it is known when they are read.
    `key` is a pattern: the moment of the request and the id of the export are in it by their names.
    """

    campaign_name: str
    spec: ExportSpec
    reads: tuple[IndexUse, ...]
    documents: int | None
    seconds: float | None
    past_exports: int
    bucket: str | None
    key: str


def forecast(backend: Backend, campaign_id: str, spec: ExportSpec) -> Forecast:
    """Look ahead; nothing is written and no entry read. Raises CampaignNotFound, NoMarketsFound, SourceUnavailable."""
    from vfexport_core.pipeline.counting import count_rows  # noqa: PLC0415 slow to load, and a wrong campaign is told before

    campaign = backend.campaign(campaign_id)
    check_markets(spec, campaign_id, backend.database)
    documents = count_rows(spec, campaign_id, backend.database, backend.settings)
    past = backend.queue.list(export_type=spec.type, status=ExportStatus.FINISHED, limit=_PAST_EXPORTS)
    return Forecast(
        campaign_name=str(campaign.get("name") or ""),
        spec=spec,
        reads=_reads(backend, campaign_id, spec),
        documents=documents,
        seconds=expected_seconds(past, documents if spec.scan.where is None else None),
        past_exports=len(past),
        bucket=_bucket(backend, spec),
        key=_key(backend, campaign_id, campaign, spec),
    )


def expected_seconds(past: Sequence[Export], documents: int | None) -> float | None:
    """Guess how long an export of so many documents takes by how long others of its type did; None without any."""
    took = [(export.seconds, (export.meta or {}).get("read", 0)) for export in past if export.seconds is not None]
    if not took:
        return None
    paces = [seconds / read for seconds, read in took if read]
    if documents is not None and paces:
        return median(paces) * documents
    return median(seconds for seconds, _ in took)


def _reads(backend: Backend, campaign_id: str, spec: ExportSpec) -> tuple[IndexUse, ...]:
    missing = {found.index for found in missing_source_indexes(backend.database, [spec])}
    scanned = spec.scan.collection
    in_use = "{" + ", ".join(f'"{key}": 1' for key in range_of(backend.database, scanned, campaign_id).sort) + "}"

    def index(needed: NeededIndex) -> str:
        by_id = needed.keys == ("_id",) and needed.collection == scanned.spec.name
        return in_use if by_id else needed.specification

    return tuple(IndexUse(one.collection, index(one), one not in missing) for one in needed_indexes([spec]))


def _bucket(backend: Backend, spec: ExportSpec) -> str | None:
    try:
        return backend.buckets.store(spec.bucket).name
    except ConfigurationError:
        return None


def _key(backend: Backend, campaign_id: str, campaign: Mapping[str, Any], spec: ExportSpec) -> str:
    """Return the key of the file, with what is not known yet in braces."""
    if spec.shape.container is Container.OBJECTS:
        from vfexport_core.rows.reminder_rules import artist_name  # noqa: PLC0415 as above

        prefix = next(iter(backend.settings.sfmc_prefixes.values()), DEFAULT_SFMC_PREFIX)
        artist = key_text(artist_name(campaign)[0] or "")
        return f"{prefix}_{artist}_{{locale}}_{campaign_id}_{_MOMENT}_{{part}}.{spec.extension}"
    now = datetime.now(UTC)
    key = object_key(campaign_id, str(campaign.get("name") or ""), spec.type, now, _EXPORT_ID, 1, spec.extension)
    return key.replace(now.strftime("%Y%m%dT%H%M%SZ"), _MOMENT)
