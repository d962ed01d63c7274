"""What `deploy/` describes starts, on PostgreSQL, and exports a campaign; only the container engine is missing."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import psycopg2
import pytest

from tests.deploy.machine import USER, isolates
from tests.deploy.service import passes
from tests.e2e.stack import WORKSPACE, poll
from vfexport_core.catalog import all_specs, find_spec
from vfexport_core.embedded.process import HOST
from vfexport_core.embedded.synthetic.awards import DATE_KEYS

if TYPE_CHECKING:
    from pymongo.database import Database

    from tests.deploy.cluster import Cluster
    from tests.deploy.postgres import Postgres
    from tests.deploy.service import Service
    from vfexport_core.catalog import ExportSpec

pytestmark = pytest.mark.timeout(1200)

EXPORT_SECONDS = 300
IDLE_SECONDS = 20.0
# Half of the 57.6 that it was; it is 15, and a tick of a sensor more or less is 1.
MOST_COMMITS = 28


def request(service: Service, campaign: str, spec: ExportSpec) -> dict[str, Any]:
    body = {"exportType": spec.type} | ({"dateKey": DATE_KEYS[0]} if spec.needs_date_key else {})
    answer = service.api.post(f"/campaigns/{campaign}/exports", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()


def ended(service: Service, export: dict[str, Any]) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = service.api.get(f"/campaigns/{export['campaignId']}/exports/{export['id']}").raise_for_status().json()
        return None if found["status"] in {"PENDING", "TRIGGERED"} else found

    return poll(look, EXPORT_SECONDS, f"{export['exportType']} to end")


def succeeded(service: Service, export: dict[str, Any]) -> list[str]:
    """Return the jobs of an export's runs that Dagster has down as successful."""
    return [run["jobName"] for run in service.web.runs_with(export["id"]) if run["status"] == "SUCCESS"]


def test_init_has_made_the_indexes(service: Service, data: Database[dict[str, Any]]) -> None:
    assert {"one_triggered", "queue_order"} <= data["exports"].index_information().keys()


def test_every_check_passes(service: Service) -> None:
    checks = {
        f"{process.name} {name}": passes(service.machine, process, check)
        for process in service.processes
        for name, check in process.checks.items()
    }
    assert checks
    assert [name for name, passed in checks.items() if not passed] == []


def test_every_process_has_the_user_of_the_image_and_can_write_to_its_volumes_alone(service: Service) -> None:
    if not isolates():
        pytest.skip("needs root on Linux: the processes are this user's, and write where that one may")
    for process in service.processes:
        assert psutil.Process(service.machine.running[process.name].pid).uids().real == USER
        home = service.machine.home(process)
        tried = service.machine.run(process, ["sh", "-c", f"touch {home}/written {service.machine.image.root}/written"])
        assert tried.stderr.count("Read-only file system") == 2, tried


def test_the_web_server_sees_the_code_location_and_every_sensor_on(service: Service) -> None:
    (location,) = service.web.graphql(WORKSPACE)["workspaceOrError"]["locationEntries"]
    (repository,) = location["locationOrLoadError"]["repositories"]
    sensors = {sensor["name"]: sensor["sensorState"]["status"] for sensor in repository["sensors"]}
    assert sensors
    assert set(sensors.values()) == {"RUNNING"}


def test_a_campaign_is_exported_as_every_type(
    service: Service, campaign: str, postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    size = f"SELECT pg_database_size('{postgres.user}')"
    before = asked(postgres, size)
    requested = [request(service, campaign, spec) for spec in all_specs()]
    done = [ended(service, export) for export in requested]
    with capsys.disabled():
        print(f"  PostgreSQL: {(asked(postgres, size) - before) / len(done) / 1024:.0f} KiB per export")  # noqa: T201
    assert [(export["exportType"], export["status"]) for export in done] == [
        (spec.type, "FINISHED") for spec in all_specs()
    ]
    for spec, export in zip(all_specs(), done, strict=True):
        if "path" in export:
            assert len(httpx.get(export["path"], timeout=60).raise_for_status().content) == export["bytes"]
        assert poll(lambda export=export: succeeded(service, export)) == [spec.job_name]


def test_in_a_cluster_each_run_is_a_job_that_gets_what_its_type_needs(
    service: Service, cluster: Cluster | None, campaign: str
) -> None:
    if cluster is None:
        pytest.skip("runs are forked from the code location here")
    jobs = {job.run_id: job.manifest for job in cluster.jobs.values()}
    assert len(jobs) >= len(all_specs())
    for manifest in jobs.values():
        pod = manifest["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["args"][:3] == ["dagster", "api", "execute_run"]
        assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("run", False)
        assert container["securityContext"]["readOnlyRootFilesystem"]
        is_sample = manifest["metadata"]["labels"]["dagster/job"] == find_spec("reminderEmailSample").job_name
        assert container["resources"]["limits"]["cpu"] == ("1" if is_sample else "2")


def test_replacing_every_other_process_does_not_touch_a_run_of_its_own(
    service: Service, cluster: Cluster | None, campaign: str
) -> None:
    """Code location and daemon go and come back while a run stands still; it goes on, in its only attempt."""
    if cluster is None:
        pytest.skip("runs are forked from the code location here: replacing that ends them")
    before = set(cluster.jobs)
    export = request(service, campaign, find_spec("entries"))
    (name,) = poll(lambda: set(cluster.jobs) - before, EXPORT_SECONDS, "a Job")
    run = psutil.Process(cluster.jobs[name].pid)
    run.suspend()
    for process in service.processes:
        if process.name.startswith(("code/", "daemon/", "webserver/")):
            service.restart(process)
    assert run.status() == psutil.STATUS_STOPPED
    run.resume()
    assert (ended(service, export)["status"], ended(service, export)["attempt"]) == ("FINISHED", 1)
    assert set(cluster.jobs) - before == {name}


def test_an_idle_service_costs_little(service: Service, postgres: Postgres, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing waits and nothing runs: what it costs all the same, for docs/capacity.md."""
    before = idle_figures(service, postgres)
    time.sleep(IDLE_SECONDS)
    after = idle_figures(service, postgres)
    rates = {name: (after[name] - before[name]) / IDLE_SECONDS for name in after}
    with capsys.disabled():
        print("  idle:", ", ".join(f"{name} {rate:.3f}/s" for name, rate in rates.items()))  # noqa: T201
    assert rates["commits"] < MOST_COMMITS
    # So large a bound that a crowded machine does not reach it.
    assert sum(rate for name, rate in rates.items() if name != "commits") < 0.3


def idle_figures(service: Service, postgres: Postgres) -> dict[str, float]:
    """Return commits in Dagster's database, and the processor seconds of each process with its children."""
    commits = asked(postgres, f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{postgres.user}'")
    return {"commits": commits} | {process.name: service.machine.cpu_seconds(process) for process in service.processes}


def asked(postgres: Postgres, query: str) -> float:
    """Return the one number that Dagster's database answers."""
    login = {"user": postgres.user, "password": postgres.password, "dbname": postgres.user}
    with closing(psycopg2.connect(host=HOST, port=postgres.port, **login)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        (number,) = cursor.fetchone() or (0,)
        return float(number)


def test_processes_end_when_they_are_told_to_and_have_complained_of_nothing(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last test: afterwards the service is down."""
    with capsys.disabled():
        for process in service.processes:
            print(f"  {process.name}: {service.machine.memory(process)} MiB")  # noqa: T201
    for process in reversed(service.processes):
        service.machine.end(process)
    for process in service.processes:
        log = service.machine.log(process)
        assert "Traceback" not in log, log
        for line in log.splitlines():
            assert {"time", "level", "logger", "message"} <= json.loads(line).keys(), f"{process.name}: {line}"
