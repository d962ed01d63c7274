"""A 16th type, as docs/adding-an-export-type.md declares it, all the way: only the catalog knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from tests.api_client import running_api
from tests.builders import ABSENT, make_campaign, make_entry, make_market, make_user
from tests.delivered import InBuckets, load
from tests.reference import Campaign
from tests.unit.docs_helpers import ROOT, blocks
from vfexport_core.catalog import CATALOG
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.initialise import initialise
from vfexport_core.storage.buckets import BucketClients
from vfexport_dagster.jobs import build_export_job
from vfexport_dagster.sensors import plan_requests

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.catalog import ExportSpec
    from vfexport_core.settings import Settings

BUNDLE = Campaign(
    campaign=make_campaign(),
    markets=[make_market()],
    users=[make_user(1), make_user(2)],
    entries=[
        make_entry(1),
        make_entry(2, date={"phoneConfirmed": ABSENT}),
        make_entry(3, fields={"phone": 5125550103, "first_name": "=SUM(A1)"}),
    ],
)
EXPECTED = b"""\
user_id,phone,first_name,last_name,market,confirmed_at
000000000000000000000001,5125550001,First1,Last1,Market 1,2024-01-02 03:05:00
000000000000000000000003,5125550103,'=SUM(A1),Family3,Market 1,2024-01-02 03:05:00
"""


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> ExportSpec:
    """Register the type for one test."""
    (source,) = blocks(ROOT / "docs" / "adding-an-export-type.md", "python")
    names: dict[str, Any] = {}
    exec(source, names)
    monkeypatch.setattr(CATALOG, "_specs", {item.type: item for item in CATALOG.all()})
    CATALOG.register(names["PHONE_CONFIRMED"])
    return names["PHONE_CONFIRMED"]


@pytest.fixture
def environment(settings_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings_environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("environment")
def test_a_type_that_is_only_declared_is_requested_over_the_api_and_run_by_its_job(
    spec: ExportSpec, settings: Settings, database: Database[Any]
) -> None:
    store = ExportRepository(database)
    initialise(database)
    campaign_id = load(database, BUNDLE)
    job = build_export_job(spec)
    with running_api(settings) as api, dg.DagsterInstance.ephemeral() as instance:
        token = api.token(campaign_id)
        assert "phoneConfirmed" in [item["type"] for item in api.get("/export-types", token=token).json()]
        path = f"/campaigns/{campaign_id}/exports"
        requested = api.post(path, token=token, json={"exportType": "phoneConfirmed"})
        assert requested.status_code == 202

        (request,) = plan_requests([(export, 0) for export in store.pending(1)], {spec.type: job.name}, 60)
        assert request.job_name == "phone_confirmed_export"
        result = job.execute_in_process(request.run_config, tags=request.tags, instance=instance)
        assert result.success

        finished = api.get(f"{path}/{requested.json()['id']}", token=token).json()
    assert (finished["status"], finished["count"], finished["meta"]["warnings"]) == ("FINISHED", 2, {"unknownUser": 1})
    with BucketClients(settings) as clients:
        assert InBuckets(clients).read(spec.bucket, finished["key"]) == EXPECTED
        assert InBuckets(clients).head(spec.bucket, finished["key"])["Metadata"]["export-type"] == "phoneConfirmed"
