"""`/metrics`: true figures in Prometheus' text format, without an id in it, also when MongoDB is away."""

from __future__ import annotations

import platform
import re
from datetime import UTC, datetime, timedelta
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from bson import ObjectId
from prometheus_client.parser import text_string_to_metric_families

from tests.api_client import Api, api_without_mongodb, insert_campaign, run_to_end, running_api, wait_for
from tests.api_tokens import make_settings
from tests.integration.queue_helpers import ERROR, triggered
from tests.unit.docs_helpers import OPERATIONS, ROOT, table
from vfexport_core.catalog import all_specs
from vfexport_core.queue.statistics.counters import ExportCounters

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from prometheus_client import Metric
    from pymongo.database import Database

    from vfexport_core.settings import Settings

Labels = dict[str, str]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"


class Scrape:
    """What one scrape gave."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.status_code == 200
        self.text = response.text
        self.families: dict[str, Metric] = {found.name: found for found in text_string_to_metric_families(self.text)}

    def value(self, name: str, **labels: str) -> float | None:
        """Return the sample of this name and exactly these labels."""
        samples = [sample for family in self.families.values() for sample in family.samples if sample.name == name]
        return next((sample.value for sample in samples if sample.labels == labels), None)

    @property
    def sample_names(self) -> set[str]:
        return {sample.name for family in self.families.values() for sample in family.samples}

    @property
    def labels(self) -> list[Labels]:
        return [sample.labels for family in self.families.values() for sample in family.samples]


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    with running_api(settings) as api:
        api.services.backend.initialise()
        yield api


def scrape(api: Api) -> Scrape:
    return Scrape(api.get("/metrics"))


def test_requests_are_counted_by_route_and_class(api: Api) -> None:
    campaign = str(ObjectId())
    for _ in range(3):
        api.get("/heartbeat")
    api.get(f"/campaigns/{campaign}/exports")
    api.get(f"/no/such/{campaign}")
    api.call("BREW", f"/coffee/{campaign}")
    found = scrape(api)
    counted = {
        ("GET", "/heartbeat", "2xx"): 3,
        ("GET", "/campaigns/{campaignId}/exports", "4xx"): 1,
        ("GET", "other", "4xx"): 1,
        ("other", "other", "4xx"): 1,
    }
    for (method, route, status), times in counted.items():
        labels = {"method": method, "route": route}
        assert found.value("vfexport_http_requests_total", **labels, status=status) == times
        assert found.value("vfexport_http_request_seconds_count", **labels) == times
    assert campaign not in found.text


def test_exports_are_counted_and_no_label_names_one(api: Api, database: Database[dict[str, Any]]) -> None:
    store, campaign = api.services.queue, insert_campaign(database)
    token = api.token("*", user_id="user-in-no-label")
    for export_type in ("entries", "codes"):
        api.post(f"/campaigns/{campaign}/exports", token=token, json={"exportType": export_type})
    run_to_end(api, store.pending(1)[0], "key-in-no-label.csv")
    store.claimed(triggered(store, export_type="scoring")).fail(ERROR)
    ExportCounters(database, lag_seconds=0).read()
    found = scrape(api)
    assert found.value("vfexport_mongodb_up") == 1
    assert found.value("vfexport_queue_exports", status="PENDING") == 1
    assert found.value("vfexport_queue_due") == 1
    assert found.value("vfexport_queue_exports", status="TRIGGERED") == 0
    assert found.value("vfexport_exports_ended_total", type="entries", outcome="FINISHED") == 1
    assert found.value("vfexport_exports_ended_total", type="scoring", outcome="FAILED") == 1
    assert found.value("vfexport_export_rows_total", type="entries") == 41
    assert found.value("vfexport_export_bytes_total", type="entries") == 5_000
    assert found.value("vfexport_export_seconds_count", type="entries") == 1
    assert found.value("vfexport_export_seconds_bucket", type="entries", le="+Inf") == 1
    assert found.value("vfexport_queue_wait_seconds_count") == 2
    assert found.value("vfexport_lease_losses_total", reason="LeaseLost") == 0
    ids = [str(document["_id"]) for document in database.exports.find()]
    for name in (*ids, campaign, "user-in-no-label", "key-in-no-label"):
        assert name not in found.text
    assert {name for labels in found.labels for name in labels} <= {
        *("method", "route", "status", "le", "type", "outcome", "reason", "bucket", "check", "version", "python")
    }


def test_counters_are_there_before_anything_has_ended(api: Api) -> None:
    """Prometheus sees no increase in a series that begins with one."""
    found = scrape(api)
    for spec in all_specs():
        for outcome in ("FINISHED", "FAILED", "EXPIRED", "CANCELED"):
            assert found.value("vfexport_exports_ended_total", type=spec.type, outcome=outcome) == 0
        assert found.value("vfexport_exports_retried_total", type=spec.type) == 0
        assert found.value("vfexport_export_rows_total", type=spec.type) == 0
        assert found.value("vfexport_export_seconds_count", type=spec.type) == 0


def test_it_says_what_runs_and_what_is_ready(api: Api) -> None:
    (build,) = [labels for labels in scrape(api).labels if "version" in labels]
    assert build == {"version": metadata.version("vfexport"), "python": platform.python_version()}
    wait_for(lambda: scrape(api).value("vfexport_ready", check="exportsS3") == 1)
    assert scrape(api).value("vfexport_ready", check="mongodb") == 1


def test_ages_are_those_of_the_oldest(api: Api, database: Database[dict[str, Any]]) -> None:
    campaign, token = insert_campaign(database), api.token("*")
    for export_type in ("entries", "codes"):
        api.post(f"/campaigns/{campaign}/exports", token=token, json={"exportType": export_type})
    hours = timedelta(hours=1)
    now = datetime.now(UTC)
    database.exports.update_one({"exportType": "codes"}, {"$set": {"date.created": now - 2 * hours}})
    database["ccpaDeletions"].insert_one(
        {"status": "OPEN", "date": {"requested": now - 3 * hours}}, bypass_document_validation=True
    )
    database["ccpaDeletions"].insert_many(
        [{"status": "OPEN", "date": {"requested": now}, "leaseUntil": now + sign * hours} for sign in (1, -1)],
        bypass_document_validation=True,
    )
    found = scrape(api)
    assert (found.value("vfexport_ccpa_open"), found.value("vfexport_ccpa_at_work")) == (3, 1)
    assert found.value("vfexport_queue_oldest_pending_seconds") == pytest.approx(7_200, abs=120)
    assert found.value("vfexport_ccpa_oldest_open_seconds") == pytest.approx(10_800, abs=120)


def test_without_mongodb_it_answers_all_the_same() -> None:
    with api_without_mongodb(make_settings(dev_mode=True)) as api:
        api.get("/heartbeat")
        found = scrape(api)
    assert found.value("vfexport_mongodb_up") == 0
    assert found.value("vfexport_http_requests_total", method="GET", route="/heartbeat", status="2xx") == 1
    assert found.value("vfexport_api_processes") == 1
    assert (found.value("process_resident_memory_bytes") or 0) > 1_000_000
    assert not [name for name in found.families if name.startswith(("vfexport_queue", "vfexport_export"))]


def test_the_figures_come_back_with_mongodb(api: Api, database: Database[dict[str, Any]]) -> None:
    """The queue may be younger than the first scrape, or its figures deleted: they begin anew."""
    database.drop_collection("exportFigures")
    assert scrape(api).value("vfexport_mongodb_up") == 1
    assert database["exportFigures"].count_documents({}) == 1


def test_a_bucket_that_hangs_is_named_by_metrics_readiness_and_exports_that_wait(
    api: Api, database: Database[dict[str, Any]]
) -> None:
    export = api.post(
        path := f"/campaigns/{insert_campaign(database)}/exports", token=api.token("*"), json={"exportType": "entries"}
    ).json()
    assert export["queue"] == {"position": 1, "startsInSeconds": 0}
    assert scrape(api).value("vfexport_bucket_hangs", bucket="exportsS3") == 0
    api.services.queue.breakers.trip("exportsS3")
    wait_for(lambda: scrape(api).value("vfexport_bucket_hangs", bucket="exportsS3") == 1)
    assert scrape(api).value("vfexport_bucket_hangs", bucket="scoringS3") == 0
    queue = api.get(f"{path}/{export['id']}", token=api.token("*")).json()["queue"]
    assert queue["position"] == 1
    assert queue["reason"].startswith("bucket exportsS3 has hung since ")
    ready = wait_for(lambda: found if (found := api.get("/ready")).json()["status"] == "degraded" else None)
    assert (ready.status_code, ready.json()["checks"]["exportsS3"]) == (200, "failed")
    assert scrape(api).value("vfexport_ready", check="exportsS3") == 0


@pytest.fixture
def complete(api: Api, database: Database[dict[str, Any]]) -> Scrape:
    """A scrape that has every metric there is."""
    campaign = insert_campaign(database)
    api.post(f"/campaigns/{campaign}/exports", token=api.token("*"), json={"exportType": "entries"})
    run_to_end(api, api.services.queue.pending(1)[0], "a.csv")
    ExportCounters(database, lag_seconds=0).read()
    return wait_for(lambda: found if "vfexport_export_rows_total" in (found := scrape(api)).sample_names else None)


def test_every_metric_that_the_alert_rules_name_exists(complete: Scrape) -> None:
    of_dagster = {
        cells[0].strip("`") for cells in table(OPERATIONS, "Dagster metric")
    }  # tests/dagster/test_exporter.py
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 5
    for rule in rules:
        names = set(re.findall(r"\b(?:vfexport|process)_[a-z_]+\b", rule["expr"]))
        assert names, rule["alert"]
        assert names <= complete.sample_names | of_dagster, rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_every_metric_is_documented_and_no_other(complete: Scrape) -> None:
    documented = {cells[0].strip("`") for cells in table(OPERATIONS, "metric")}
    derived = re.compile(r"_(?:bucket|count|sum)$")
    assert documented == {derived.sub("", name) for name in complete.sample_names}


def test_every_alert_is_documented_and_no_other() -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert {cells[0].strip("`") for cells in table(OPERATIONS, "alert")} == {rule["alert"] for rule in rules}
