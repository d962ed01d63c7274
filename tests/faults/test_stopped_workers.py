"""A worker is stopped past its lease at every point of its run, another runs its export, and it goes on: too late.

What it had sent when it was stopped arrives before it goes on. The buckets keep versions: whatever it wrote would show.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.delivered import BUCKETS
from tests.faults.scenes import POINTS, REACHED_SECONDS
from vfexport_core.queue.models import ExportStatus
from vfexport_core.services.run_attempt import STUCK
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from tests.faults.scenes import Point, Scene
    from vfexport_core.queue.models import Export


@pytest.fixture(autouse=True)
def _versions_are_kept(scene: Scene) -> None:
    with BucketClients(scene.checker.settings) as buckets:
        for target in map(buckets.bucket, BUCKETS):
            target.call("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled"}})


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_stopped_at_any_point_it_changes_nothing_when_it_goes_on(scene: Scene, point: Point) -> None:
    held = point.arm(scene)
    with scene.worker(point.export_type) as worker:
        assert held.reached.wait(REACHED_SECONDS), worker.stderr
        worker.child.send_signal(signal.SIGSTOP)
        lost = scene.watch_until_released()
        scene.checker.run_again(lost.id)
        finished = scene.checker.store.get(lost.id)
        held.gate.set()
        worker.child.send_signal(signal.SIGCONT)
        assert worker.end() in {1, STUCK}
        assert "no longer owns" in worker.stderr
    assert finished.status is ExportStatus.FINISHED
    assert _but_for_its_word(scene.checker.store.get(lost.id)) == finished
    scene.checker.assert_all_well([lost.id])


def _but_for_its_word(export: Export) -> Export:
    """Return an export as it is, but for the worker's word that it has nothing under way any more."""
    first, *others = export.attempts
    return replace(export, attempts=(replace(first, drained=False), *others))
