"""Format processes of a run that Dagster has forked: it is daemonic, which `multiprocessing` allows no children."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.dagster.conftest import Buckets, Runner, reference_bytes
from tests.format_processes import HelpedPipeline, from_the_first
from tests.integration.queue_helpers import new_export
from tests.pipeline import run_pipeline
from vfexport_core.embedded.synthetic import seed_campaign
from vfexport_core.mongo.client import opened
from vfexport_core.pipeline import run
from vfexport_core.queue.models import ExportStatus
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.pipeline.export_plan import ExportPlan
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.settings import Settings

BATCH = 10

FORK = """
import multiprocessing, sys
from tests.dagster.test_format_processes import export
from vfexport_dagster.startup import forking
if sys.argv[1] == "forked":
    forking.fork_runs()
context = multiprocessing.get_context("spawn")
queue = context.Queue()
process = context.Process(target=export, args=(queue, sys.argv[2]), daemon=True)
process.start()
print(queue.get(timeout=200))
process.join()
"""


def export(answers: Any, campaign_id: str) -> None:
    """Do as a run does: all batches but the first are transformed by another process."""
    settings = load_settings(None)
    with opened(settings) as database:
        answers.put(digest(database, campaign_id, from_the_first(settings, 2), pipeline_class=HelpedPipeline))


def digest(database: Database[Any], campaign_id: str, settings: Settings, **options: Any) -> str:
    exported = run_pipeline(database, campaign_id, "entries", settings, batch_documents=BATCH, **options)
    return hashlib.sha256(exported.files[""]).hexdigest()


@pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux only")
@pytest.mark.parametrize("way", ["forked", "spawned"])
def test_a_run_of_dagster_has_format_processes(
    database: Database[Any], settings: Settings, settings_environment: dict[str, str], way: str
) -> None:
    campaign_id = seed_campaign(database, entries=60, dirty_share=0.015)
    environment = {**os.environ, **settings_environment}
    command = [sys.executable, "-c", FORK, way, campaign_id]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=True, env=environment)
    assert done.stdout.strip() == digest(database, campaign_id, settings)
    assert "is lost" not in done.stderr


def test_a_job_delivers_what_another_process_has_made(
    runner: Runner,
    store: ExportRepository,
    buckets: Buckets,
    *,
    database: Database[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    campaign_id = seed_campaign(database, entries=60)
    made: list[HelpedPipeline] = []

    def in_small_batches(plan: ExportPlan, *arguments: Any) -> HelpedPipeline:
        made.append(HelpedPipeline(replace(plan, batch_documents=BATCH), *arguments))
        return made[-1]

    monkeypatch.setenv("VFEXPORT_FORMAT_PROCESSES", "2")
    monkeypatch.setenv("VFEXPORT_FORMAT_PROCESSES_FROM", "0")
    monkeypatch.setattr(run, "ExportPipeline", in_small_batches)
    queued, _ = store.request(new_export(campaign_id=campaign_id, export_type="scoring"))
    assert runner.run_requested(queued).success
    finished = store.get(queued.id)
    assert (finished.status, finished.count) == (ExportStatus.FINISHED, 60)
    assert [pipeline.helped for pipeline in made] == [60 / BATCH - 1]
    (key,) = finished.keys
    assert finished.bucket is not None
    assert buckets.read(finished.bucket, key) == reference_bytes(database, campaign_id, "scoring")
