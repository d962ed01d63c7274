"""What Dagster loads: everywhere, completely, and by the repository's own instance and workspace files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.snap.snap_to_yaml import default_values_yaml_from_type_snap

from vfexport_core.catalog import all_specs, find_spec
from vfexport_dagster.assets import CAMPAIGNS
from vfexport_dagster.definitions import defs
from vfexport_dagster.jobs import build_export_job

ROOT = Path(__file__).parents[2]
JOBS = [
    "artist_opt_in_export",
    "artist_sms_opt_in_export",
    "auto_reminder_email_export",
    "ccpa_deletion",
    "code_assignments_export",
    "code_waves_export",
    "codes_export",
    "entries_export",
    "fanlist_export",
    "livenation_opt_in_export",
    "promoter_email_opt_in_export",
    "reminder_email_export",
    "reminder_email_sample_export",
    "retention",
    "scoring_export",
    "verified_entries_export",
    "waitlist_export",
]
SENSORS = ["ccpa_deletions", "export_watchdog", "notifications", "pending_exports", "run_outcome"]

NAMES = """
import json, sys
from vfexport_dagster.assets import CAMPAIGNS
from vfexport_dagster.definitions import defs
repository = defs.get_repository_def()
print(json.dumps({
    "jobs": sorted(name for name in repository.job_names if not name.startswith("__")),
    "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
    "loaded": sorted({"boto3", "botocore", "dagster_aws", "pandas", "pyarrow", "pymongo"} & set(sys.modules)),
}))
"""
SIXTEENTH = """
import dataclasses
from vfexport_core.catalog import CATALOG, find_spec
CATALOG.register(dataclasses.replace(find_spec("entries"), type="sixteenthType"))
"""


def load(program: str) -> dict[str, list[str]]:
    """Load the definitions in a fresh interpreter, with nothing in its environment, warnings being errors."""
    command = [sys.executable, "-W", "error", "-c", program]
    return json.loads(subprocess.run(command, cwd=ROOT, env={}, check=True, stdout=subprocess.PIPE).stdout)


def test_definitions_load_in_a_fresh_interpreter_without_any_setting() -> None:
    found = load(NAMES)
    assert found["jobs"] == JOBS
    assert found["sensors"] == SENSORS
    assert found["loaded"] == [], "a run starts only as fast as its imports"


def test_a_registered_type_has_its_job_without_touching_ops_or_sensors() -> None:
    assert load(SIXTEENTH + NAMES)["jobs"] == sorted([*JOBS, "sixteenth_type_export"])


def test_all_jobs_are_made_of_the_same_ops() -> None:
    dg.Definitions.validate_loadable(defs)
    jobs = [build_export_job(spec) for spec in all_specs()]
    assert {tuple(node.name for node in job.nodes_in_topological_order) for job in jobs} == {
        ("claim", "count", "deliver", "finish")
    }
    assert len({id(job.graph) for job in jobs}) == 1


def test_sensors_run_by_default_and_every_type_has_an_asset() -> None:
    repository = defs.get_repository_def()
    assert {sensor.default_status for sensor in repository.sensor_defs} == {dg.DefaultSensorStatus.RUNNING}
    keys = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert keys == {f"exports/{spec.type}" for spec in all_specs()}
    checked = {key.asset_key.to_user_string() for key in repository.asset_graph.asset_check_keys}
    assert checked == keys
    assert all(spec.owners and spec.partitions_def is CAMPAIGNS for spec in defs.resolve_all_asset_specs())


@pytest.mark.parametrize(
    ("export_type", "prefilled"),
    [
        ("entries", {"campaign_id": "", "include_all_markets": False}),
        ("codeWaves", {"campaign_id": "", "date_key": ""}),
        ("scoring", {"campaign_id": ""}),
    ],
)
def test_the_launchpad_has_the_fields_of_the_type_explains_each_and_fills_them_in(
    export_type: str, prefilled: dict[str, Any]
) -> None:
    job = build_export_job(find_spec(export_type))
    described = {name: field.description for name, field in job.run_config_schema.config_type.fields.items()}
    assert described.keys() == prefilled.keys() | {"export_id"}
    assert all(re.match(r".{20,}", text or "") for text in described.values()), described
    snapshot = job.get_job_snapshot()
    (mode,), schema = snapshot.mode_def_snaps, snapshot.config_schema_snapshot
    shown = default_values_yaml_from_type_snap(schema, schema.get_config_snap(mode.root_config_key))
    assert yaml.safe_load(shown) == prefilled


def test_a_launch_cannot_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "the password")
    config = {"campaign_id": {"env": "SECRET"}}
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(dg.DagsterInvalidConfigError) as refused:
        defs.resolve_job_def("entries_export").execute_in_process(run_config=config, instance=instance)
    assert "the password" not in str(refused.value)


def test_the_repositorys_dagster_yaml_is_a_valid_instance_that_holds_its_promises(tmp_path: Path) -> None:
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        queue = instance.get_concurrency_config().run_queue_config
        assert queue.max_concurrent_runs == 1
        assert queue.max_user_code_failure_retries * queue.user_code_failure_retry_delay >= 600
        assert instance.run_coordinator.dequeue_interval_seconds <= 1
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_poll_interval_seconds == 10
        assert not instance.telemetry_enabled
        assert instance.get_sensor_settings()["use_threads"]
        retention = instance.get_tick_retention_settings(dg._core.definitions.run_request.InstigatorType.SENSOR)
        assert min(retention.values()) > 0, "ticks are not kept for ever"


def test_the_workspace_loads_the_definitions() -> None:
    (entry,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert entry["python_module"]["module_name"] == "vfexport_dagster.definitions"
