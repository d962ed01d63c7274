"""A worker is killed at every point of its run: nothing half-written stays, its export can be run again.

What it had sent when it died arrives after its export was ended, which is the worst time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.scenes import FINISHED_UNTOLD, POINTS, REACHED_SECONDS, SINGLE, MongoPoint
from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    from tests.faults.scenes import Held, Point, Scene


def kill_at(scene: Scene, point: Point) -> Held:
    """Return what the dead worker had sent: it waits to be let go."""
    held = point.arm(scene)
    with scene.worker(point.export_type) as worker:
        assert held.reached.wait(REACHED_SECONDS), worker.stderr
        worker.child.kill()
    return held


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_killed_at_any_point_it_loses_its_export_and_leaves_nothing(scene: Scene, point: Point) -> None:
    held = kill_at(scene, point)
    lost = scene.watch_until_released()
    assert (lost.status, lost.error and lost.error["code"]) == (ExportStatus.FAILED, "WorkerLost")
    held.gate.set()
    scene.wait_until_unused()
    assert scene.export().status is ExportStatus.FAILED
    scene.checker.run_again(lost.id)
    scene.checker.assert_all_well([lost.id])
    assert [attempt.status for attempt in scene.checker.store.get(lost.id).attempts] == ["FAILED", "FINISHED"]


def test_killed_while_its_finish_is_on_the_way_it_has_finished(scene: Scene) -> None:
    held = kill_at(scene, next(point for point in POINTS if point.name == "before it finishes"))
    held.gate.set()
    scene.wait_until_unused()
    assert scene.export().status is ExportStatus.FINISHED
    scene.checker.assert_all_well([scene.export().id])


def test_killed_before_it_learns_that_it_finished_it_has_finished(scene: Scene) -> None:
    held = kill_at(scene, FINISHED_UNTOLD)
    held.gate.set()
    assert scene.watch().ended is None
    scene.checker.assert_all_well([scene.export().id])


def test_killed_before_its_claim_its_export_waits_for_the_next(scene: Scene) -> None:
    kill_at(scene, MongoPoint("before its claim", SINGLE, (b"findAndModify", b"TRIGGERED"))).gate.set()
    scene.wait_until_unused()
    export = scene.export()
    if export.status is ExportStatus.PENDING:  # what it had sent was lost with it
        scene.checker.take_up(export.id)
    else:
        scene.watch_until_released()
        scene.checker.run_again(export.id)
    scene.checker.assert_all_well([export.id])


def test_killed_it_is_tried_again_by_itself_whoever_comes_by(scene: Scene) -> None:
    scene.checker.history.retries = True
    scene.cli.environment |= {"VFEXPORT_AUTO_RETRIES": "2", "VFEXPORT_AUTO_RETRY_SECONDS": "0.2"}
    held = kill_at(scene, next(point for point in POINTS if point.name == "before it completes"))
    held.gate.set()
    with scene.worker(SINGLE) as other:
        assert other.end() == 0, other.stderr
    scene.wait_until_unused()
    export = scene.export()
    assert [attempt.status for attempt in export.attempts] == ["FAILED", "FINISHED"]
    lost = export.attempts[0].error
    assert lost is not None
    assert lost["code"] == "WorkerLost"
    scene.checker.assert_all_well([export.id])
