"""What is recorded of a delivered export as its type's asset."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest

from vfexport_core.queue.models import Export, ExportDates, ExportStatus
from vfexport_core.services.describe import CheckResult, Description, FileText
from vfexport_dagster.assets import delivered_events

EXPORT = Export(
    id="c" * 24,
    campaign_id="a" * 24,
    campaign_name="Tour",
    export_type="codeWaves",
    status=ExportStatus.FINISHED,
    requester_user_id="u",
    correlation_id="c",
    source="api",
    date=ExportDates(created=datetime(2026, 1, 1, tzinfo=UTC)),
    attempt=1,
)


def test_the_files_are_recorded_before_the_store_is_asked_for_them() -> None:
    def fail() -> list[CheckResult]:
        raise ConnectionError("whatever the store's client raises")

    events = delivered_events(EXPORT, Description({"rows": 1}, [FileText("k.csv", 1, "ff", None)], [], fail), None)
    recorded = next(events)
    assert isinstance(recorded, dg.AssetMaterialization)
    with pytest.raises(ConnectionError):
        next(events)
