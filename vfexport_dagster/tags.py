"""Dagster's own tags: in which place a run waits in Dagster's queue, how long it may take, and what its pod gets."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from vfexport_core.services.run_resources import container_config
from vfexport_core.services.run_tags import LAST_PRIORITY, RunTags, export_tags, longest_run, priority_of

if TYPE_CHECKING:
    from datetime import datetime

    import dagster as dg

    from vfexport_core.queue.models import Export
    from vfexport_core.settings import RunResources

MAX_RUNTIME = "dagster/max_runtime"
PRIORITY = "dagster/priority"
POD = "dagster-k8s/config"
"""Read where each run is a Job of its own; every other launcher ignores it."""

LAST = str(LAST_PRIORITY)


def read_tags(run: dg.DagsterRun) -> RunTags:
    """Return the tags that core reads."""
    return RunTags(run.run_id, run.tags, run.run_config, run.parent_run_id is not None)


def requested_tags(export: Export, max_runtime: float) -> dict[str, str]:
    """Return the tags of a run for this export, which Dagster ends after `max_runtime` seconds."""
    limit = str(math.ceil(max_runtime))
    return export_tags(export) | {MAX_RUNTIME: limit, PRIORITY: str(priority_of(export.date.created))}


def placed_tags(run: dg.DagsterRun, asked: datetime | None, export: Export | None, seconds: float) -> dict[str, str]:
    """Return the tags that give a launched run its place: that of its export, or of when it was asked for."""
    place = {} if asked is None else {PRIORITY: str(priority_of(asked))}
    return (place if export is None else requested_tags(export, longest_run(seconds))) | read_tags(run).placed(export)


def pod_tags(resources: RunResources | None) -> dict[str, str]:
    """Return the tags of the job of a type that has resources of its own."""
    return {} if resources is None else {POD: json.dumps({"container_config": container_config(resources)})}
