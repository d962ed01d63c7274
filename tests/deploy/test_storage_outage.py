"""PostgreSQL is away in the middle of an export, with all that Dagster stores: the export is FINISHED all the same."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import yaml

from tests.api_client import wait_for
from tests.dagster.conftest import Runner
from tests.integration.queue_helpers import new_export
from tests.proxy import Proxy
from vfexport_core.embedded.process import HOST
from vfexport_core.embedded.synthetic import seed_campaign
from vfexport_core.pipeline import run as pipeline
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.initialise import initialise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from tests.deploy.postgres import Postgres
    from vfexport_core.queue.models import Export

pytestmark = pytest.mark.timeout(600)
SECONDS = 120


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[Proxy]:
    with Proxy((HOST, postgres.port)) as proxy:
        yield proxy


@pytest.fixture
def instance(proxy: Proxy, postgres: Postgres, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    address = {"hostname": proxy.host, "port": proxy.port, "db_name": postgres.user}
    login = {"username": postgres.user, "password": postgres.password, "scheme": "postgresql+psycopg2"}
    configuration = {"storage": {"postgres": {"postgres_db": address | login}}, "telemetry": {"enabled": False}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(configuration))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def store(database: Database[dict[str, Any]]) -> ExportRepository:
    store = ExportRepository(database)
    initialise(database)
    return store


@pytest.fixture
def export(store: ExportRepository, database: Database[dict[str, Any]]) -> Export:
    return store.request(new_export(campaign_id=seed_campaign(database, entries=200)))[0]


@pytest.mark.parametrize("seconds", [5, 30, 120])
def test_an_export_is_finished_while_postgresql_is_away(
    seconds: int,
    instance: dg.DagsterInstance,
    store: ExportRepository,
    export: Export,
    *,
    proxy: Proxy,
    settings_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in settings_environment.items():
        monkeypatch.setenv(name, value)
    run_export = pipeline.run_export
    finished: list[bool] = []

    def bring_back() -> None:
        began = time.monotonic()
        finished.append(wait_for(lambda: store.get(export.id).status is ExportStatus.FINISHED, SECONDS))
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        proxy.restore()

    returning = threading.Thread(target=bring_back)

    def strike_and_run(*arguments: Any, **options: Any) -> Any:
        proxy.refuse()
        proxy.cut()
        returning.start()
        return run_export(*arguments, **options)

    monkeypatch.setattr(pipeline, "run_export", strike_and_run)
    result = Runner(instance).run_requested(export)
    returning.join()
    assert finished == [True], "it was FINISHED while the storage was away"
    assert result.success
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.SUCCESS
    kinds = [entry.dagster_event_type for entry in instance.all_logs(result.run_id) if entry.is_dagster_event]
    assert kinds.count(dg.DagsterEventType.STEP_SUCCESS) == 4
